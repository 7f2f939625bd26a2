//! Libraries of functions: what a store keeps beside keys. Each shard has all of them, so that each can run their functions.
//!
//! What is in a library is not the storage's business: a name, and bytes. They belong to no database and no slot; a shard takes those of
//! every log that it reads, and since all logs have them alike, the order in which it reads the logs doesn't matter.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Libraries {
    by_name: BTreeMap<Box<[u8]>, Arc<[u8]>>,
    version: u64,
}

impl Libraries {
    /// Changes whenever they do.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &Arc<[u8]>)> {
        self.by_name.iter().map(|(name, body)| (&**name, body))
    }

    /// The one of a name.
    pub fn body(&self, name: &[u8]) -> Option<&Arc<[u8]>> {
        self.by_name.get(name)
    }

    /// The first one behind a name, or of all.
    pub(crate) fn after(&self, name: Option<&[u8]>) -> Option<(&[u8], &[u8])> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_name.range::<[u8], _>((from, Bound::Unbounded)).next().map(|(name, body)| (&**name, &**body))
    }

    /// Sets or removes one.
    pub(crate) fn put(&mut self, name: &[u8], body: Option<&[u8]>) {
        self.version += 1;
        match body {
            Some(body) => drop(self.by_name.insert(name.into(), body.into())),
            None => drop(self.by_name.remove(name)),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.version += 1;
        self.by_name.clear();
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.by_name.iter().map(|(name, body)| name.len() + body.len()).sum()
    }
}
