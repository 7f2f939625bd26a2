//! Where to read from, and how to add and trim.

use super::StreamId;
use crate::Command;

/// A position in a stream: what is read comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// From the first entry on.
    Beginning,
    /// Only what is added from now on: for those who wait, and for groups.
    Now,
    /// Behind this entry, whether it's there or not.
    Id(StreamId),
}

impl After {
    pub(super) fn word(self, command: Command) -> Command {
        match self {
            Self::Beginning => command.arg("0"),
            Self::Now => command.arg("$"),
            Self::Id(id) => command.arg(id.to_string()),
        }
    }
}

/// What stands behind the names of the streams that are read.
pub(crate) trait Position {
    fn add(self, command: Command) -> Command;
}

impl Position for After {
    fn add(self, command: Command) -> Command {
        self.word(command)
    }
}

/// Which entries are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    keep: Keep,
    is_rough: bool,
    limit: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Newest(u64),
    From(StreamId),
}

impl Trim {
    /// All but so many, the newest (MAXLEN).
    pub const fn max_len(entries: u64) -> Self {
        Self { keep: Keep::Newest(entries), is_rough: false, limit: None }
    }

    /// Those with lower ids (MINID).
    pub const fn min_id(id: StreamId) -> Self {
        Self { keep: Keep::From(id), is_rough: false, limit: None }
    }

    /// About so many: whole blocks of entries only, which is much quicker. Never too many.
    #[must_use]
    pub const fn roughly(mut self) -> Self {
        self.is_rough = true;
        self
    }

    /// Roughly, and no more than so many at a time.
    #[must_use]
    pub const fn limit(mut self, entries: u64) -> Self {
        self.is_rough = true;
        self.limit = Some(entries);
        self
    }

    pub(super) fn add(&self, command: Command) -> Command {
        let how = if self.is_rough { "~" } else { "=" };
        let command = match self.keep {
            Keep::Newest(entries) => command.arg("MAXLEN").arg(how).unsigned(entries),
            Keep::From(id) => command.arg("MINID").arg(how).arg(id.to_string()),
        };
        command.option("LIMIT", self.limit)
    }
}

/// The id of a new entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddId {
    /// The server's clock says it.
    #[default]
    Auto,
    /// This time in milliseconds, and the next free number in it.
    At(u64),
    /// This one, which must be higher than all before.
    Exactly(StreamId),
}

/// How to add an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddOptions {
    id: AddId,
    only_existing: bool,
    trim: Option<Trim>,
}

impl AddOptions {
    /// As XADD does without options.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this id.
    #[must_use]
    pub fn id(mut self, id: AddId) -> Self {
        self.id = id;
        self
    }

    /// Only if there's such a stream (NOMKSTREAM).
    #[must_use]
    pub fn only_existing(mut self) -> Self {
        self.only_existing = true;
        self
    }

    /// And trims the stream.
    #[must_use]
    pub fn trim(mut self, trim: Trim) -> Self {
        self.trim = Some(trim);
        self
    }

    pub(super) fn add(&self, command: Command) -> Command {
        let command = command.flag("NOMKSTREAM", self.only_existing);
        let command = match &self.trim {
            Some(trim) => trim.add(command),
            None => command,
        };
        match self.id {
            AddId::Auto => command.arg("*"),
            AddId::At(ms) => command.arg(format!("{ms}-*")),
            AddId::Exactly(id) => command.arg(id.to_string()),
        }
    }
}
