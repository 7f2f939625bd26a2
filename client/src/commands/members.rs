//! What hashes, sets and sorted sets have in common: members that expire.

use super::{ExpireCondition, Expiry};
use crate::{Command, Error, FromValue, Result, Value};

/// What has become of the expiry of a field or member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberOutcome {
    /// There's no such field or member.
    Absent,
    /// Nothing: the condition was not so, or there was no expiry to remove.
    Unchanged,
    /// What was asked for.
    Done,
    /// The time was over already: it is gone.
    Deleted,
}

impl FromValue for MemberOutcome {
    fn from_value(value: Value) -> Result<Self> {
        Ok(match i64::from_value(value)? {
            -2 => Self::Absent,
            -1 | 0 => Self::Unchanged,
            1 => Self::Done,
            2 => Self::Deleted,
            other => {
                return Err(Error::Unexpected { expected: "outcome for a member", found: other.to_string() });
            }
        })
    }
}

/// The words of the commands that say when members of a type expire.
#[derive(Clone, Copy)]
pub(super) struct MemberExpiry {
    /// In so many milliseconds.
    pub(super) within: &'static str,
    /// At a millisecond of Unix time.
    pub(super) at: &'static str,
    /// Before the members.
    pub(super) word: &'static str,
}

pub(super) fn expire_members<M: AsRef<[u8]>>(
    words: MemberExpiry,
    key: impl AsRef<[u8]>,
    expiry: Expiry,
    condition: Option<ExpireCondition>,
    members: impl IntoIterator<Item = M>,
) -> Command {
    let command = match expiry {
        Expiry::In(time) => Command::new(words.within).key(key).millis(time),
        Expiry::At(time) => Command::new(words.at).key(key).millis(time),
    };
    command.args(condition.map(ExpireCondition::word)).arg(words.word).counted_args(members)
}
