//! Commands on sets.

pub(super) mod algebra;
pub(super) mod between;
pub(super) mod members;
pub(super) mod some;

use annulus_protocol::Encoder;
use annulus_storage::Entry;
use annulus_storage::value::Set;

use super::errors::{self, Failure, fail};

/// The set that an entry holds.
fn set(entry: Entry<'_>) -> Result<&Set, Failure> {
    entry.set().ok_or(fail(errors::WRONG_TYPE))
}

/// Writes all members, or none if there is no set.
fn reply_with_all(set: Option<&Set>, out: &mut Encoder<'_>) {
    out.set_header(set.map_or(0, Set::len));
    set.into_iter().flat_map(Set::iter).for_each(|member| out.bulk(member));
}
