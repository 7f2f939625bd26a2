//! Who has read which key of this shard, and is to be told when it changes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use annulus_storage::ShardId;

use super::super::pubsub::Seeded;
use crate::runtime::Rng;

/// The readers of one key, with their homes.
type Readers = BTreeMap<u64, ShardId>;

#[derive(Debug)]
struct Read {
    readers: Readers,
    /// Its place in `names`.
    place: usize,
}

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::shard) struct Table {
    keys: HashMap<Rc<[u8]>, Read, Seeded>,
    /// All keys, in no order, to choose one from.
    names: Vec<Rc<[u8]>>,
    /// Readers of all keys.
    items: usize,
}

impl Table {
    pub(super) fn new(seed: u64) -> Self {
        Table { keys: HashMap::with_hasher(Seeded(seed)), names: Vec::new(), items: 0 }
    }

    /// Remembers that a connection has read a key.
    pub(super) fn remember(&mut self, key: &[u8], client: u64, home: ShardId) {
        if let Some(read) = self.keys.get_mut(key) {
            self.items += usize::from(read.readers.insert(client, home).is_none());
            return;
        }
        let name: Rc<[u8]> = key.into();
        let read = Read { readers: Readers::from([(client, home)]), place: self.names.len() };
        self.names.push(Rc::clone(&name));
        self.keys.insert(name, read);
        self.items += 1;
    }

    /// Forgets a key. Returns who had read it.
    pub(super) fn forget(&mut self, key: &[u8]) -> Option<Readers> {
        let read = self.keys.remove(key)?;
        self.names.swap_remove(read.place);
        if let Some(moved) = self.names.get(read.place)
            && let Entry::Occupied(mut entry) = self.keys.entry(Rc::clone(moved))
        {
            entry.get_mut().place = read.place;
        }
        self.items -= read.readers.len();
        Some(read.readers)
    }

    /// Forgets some key if there are more than `max`. Returns it, and who had read it.
    pub(super) fn evict_over(&mut self, max: usize, random: &mut Rng) -> Option<(Rc<[u8]>, Readers)> {
        if self.names.len() <= max {
            return None;
        }
        let name = Rc::clone(&self.names[random.below(self.names.len() as u64) as usize]);
        let readers = self.forget(&name)?;
        Some((name, readers))
    }

    /// Forgets all keys.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.keys.shrink_to_fit();
        self.names = Vec::new();
        self.items = 0;
    }

    /// How many keys, and readers of keys.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.keys.len(), self.items)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::Rng;

    #[derive(Clone, Debug)]
    enum Step {
        Remember(u8, u64),
        Forget(u8),
        Evict(usize),
    }

    proptest! {
        #[test]
        fn readers_are_remembered_until_they_are_told(
            steps in proptest::collection::vec(
                prop_oneof![
                    4 => (0..8u8, 0..4u64).prop_map(|(key, client)| Step::Remember(key, client)),
                    2 => (0..8u8).prop_map(Step::Forget),
                    1 => (0..8usize).prop_map(Step::Evict),
                ],
                0..100,
            )
        ) {
            let mut table = Table::new(3);
            let mut random = Rng::from_seed(9);
            let mut model: BTreeMap<u8, Readers> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Remember(key, client) => {
                        table.remember(&[key], client, ShardId(client as u16));
                        model.entry(key).or_default().insert(client, ShardId(client as u16));
                    }
                    Step::Forget(key) => prop_assert_eq!(table.forget(&[key]), model.remove(&key)),
                    Step::Evict(max) => {
                        let before = model.len();
                        while let Some((key, readers)) = table.evict_over(max, &mut random) {
                            prop_assert_eq!(Some(readers), model.remove(&key[0]));
                        }
                        prop_assert_eq!(model.len(), before.min(max));
                    }
                }
                let items = model.values().map(BTreeMap::len).sum();
                prop_assert_eq!(table.sizes(), (model.len(), items));
            }
            for (key, readers) in model {
                prop_assert_eq!(table.forget(&[key]), Some(readers));
            }
        }
    }
}
