//! Commands on sets.

pub(super) mod algebra;
pub(super) mod between;
pub(super) mod members;
pub(super) mod some;

use annulus_protocol::Encoder;
use annulus_storage::Entry;
use annulus_storage::value::LiveSet;

use super::errors::{self, Failure, fail};

/// Takes the set that an entry holds, as it is at a time.
fn set<'s>(now_ms: u64) -> impl Fn(Entry<'s>) -> Result<LiveSet<'s>, Failure> {
    move |entry| entry.set().map(|set| set.at(now_ms)).ok_or(fail(errors::WRONG_TYPE))
}

/// Writes all members, or none if there is no set.
fn reply_with_all(set: Option<LiveSet<'_>>, out: &mut Encoder<'_>) {
    out.set_header(set.map_or(0, |set| set.len()));
    set.iter().flat_map(LiveSet::iter).for_each(|member| out.bulk(member));
}
