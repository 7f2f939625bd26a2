//! Commands on hashes.

pub(super) mod expire;
pub(super) mod number;
pub(super) mod read;
pub(super) mod some;
pub(super) mod write;

use annulus_storage::Entry;
use annulus_storage::value::Hash;

use super::errors::{self, Failure, fail};

/// The hash that an entry holds.
fn hash(entry: Entry<'_>) -> Result<&Hash, Failure> {
    entry.hash().ok_or(fail(errors::WRONG_TYPE))
}
