//! The tables of a shard's listeners: by name, who; by connection, what.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, Hasher};

use super::super::interest::Kind;
use crate::runtime::SocketId;

/// Hashes names with a seed of the runtime's: they come from clients, who must not be able to choose buckets.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::shard) struct Seeded(pub(in crate::shard) u64);

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

/// Who listens to one name: socket by client.
pub(in crate::shard) type Members = BTreeMap<u64, SocketId>;

/// Names of one kind, with their listeners. A name without any is not kept.
#[derive(Debug, Default)]
struct Names {
    members: HashMap<Box<[u8]>, Members, Seeded>,
}

/// All listeners of a shard, by name.
#[derive(Debug, Default)]
pub(in crate::shard) struct Listeners {
    kinds: [Names; Kind::ALL.len()],
}

impl Listeners {
    /// Nobody listens yet.
    pub(in crate::shard) fn new(seed: u64) -> Self {
        Listeners { kinds: std::array::from_fn(|_| Names { members: HashMap::with_hasher(Seeded(seed)) }) }
    }

    /// Adds a listener. True if it's the first of the name.
    pub(in crate::shard) fn add(&mut self, kind: Kind, name: &[u8], client: u64, socket: SocketId) -> bool {
        let names = &mut self.kinds[kind.index()].members;
        if let Some(members) = names.get_mut(name) {
            members.insert(client, socket);
            return false;
        }
        names.insert(name.into(), Members::from([(client, socket)]));
        true
    }

    /// Removes a listener. True if it was the last of the name.
    pub(in crate::shard) fn remove(&mut self, kind: Kind, name: &[u8], client: u64) -> bool {
        let names = &mut self.kinds[kind.index()].members;
        let Some(members) = names.get_mut(name) else { return false };
        let removed = members.remove(&client).is_some();
        let last = removed && members.is_empty();
        if last {
            names.remove(name);
        }
        last
    }

    /// The listeners to a name.
    pub(in crate::shard) fn members(&self, kind: Kind, name: &[u8]) -> Option<&Members> {
        self.kinds[kind.index()].members.get(name)
    }

    /// The names that somebody listens to.
    pub(in crate::shard) fn names(&self, kind: Kind) -> impl Iterator<Item = (&[u8], &Members)> {
        self.kinds[kind.index()].members.iter().map(|(name, members)| (&**name, members))
    }

    /// How many names somebody listens to.
    pub(in crate::shard) fn len(&self, kind: Kind) -> usize {
        self.kinds[kind.index()].members.len()
    }
}

/// What one connection listens to.
#[derive(Debug, Default)]
pub struct Listening {
    names: [BTreeSet<Box<[u8]>>; Kind::ALL.len()],
}

impl Listening {
    /// Adds a name. False if it was there.
    pub(super) fn add(&mut self, kind: Kind, name: &[u8]) -> bool {
        self.names[kind.index()].insert(name.into())
    }

    /// Removes a name. False if it was not there.
    pub(super) fn remove(&mut self, kind: Kind, name: &[u8]) -> bool {
        self.names[kind.index()].remove(name)
    }

    /// The names of a kind.
    pub(super) fn names(&self, kind: Kind) -> impl Iterator<Item = &[u8]> {
        self.names[kind.index()].iter().map(|name| &**name)
    }

    /// How many names of a kind.
    pub(in crate::shard) fn count(&self, kind: Kind) -> usize {
        self.names[kind.index()].len()
    }

    /// How many names.
    pub(super) fn total(&self) -> usize {
        self.names.iter().map(BTreeSet::len).sum()
    }

    /// The number that Redis puts into a confirmation: channels and patterns together, shard channels by themselves.
    pub(super) fn confirmed(&self, kind: Kind) -> usize {
        match kind {
            Kind::ShardChannel => self.count(kind),
            Kind::Channel | Kind::Pattern => self.count(Kind::Channel) + self.count(Kind::Pattern),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Add(usize, u8, u64),
        Remove(usize, u8, u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let place = || (0..3usize, 0..4u8, 0..5u64);
        let step = prop_oneof![
            place().prop_map(|(kind, name, client)| Step::Add(kind, name, client)),
            place().prop_map(|(kind, name, client)| Step::Remove(kind, name, client)),
        ];
        proptest::collection::vec(step, 0..80)
    }

    proptest! {
        #[test]
        fn listeners_are_what_was_added_and_not_removed(steps in steps()) {
            let mut listeners = Listeners::new(1);
            let mut model: BTreeSet<(usize, u8, u64)> = BTreeSet::new();
            for step in steps {
                let of = |model: &BTreeSet<(usize, u8, u64)>, kind: usize, name: u8| {
                    model.iter().filter(|it| (it.0, it.1) == (kind, name)).count()
                };
                match step {
                    Step::Add(kind, name, client) => {
                        let first = listeners.add(Kind::ALL[kind], &[name], client, SocketId(client as u32));
                        prop_assert_eq!(first, of(&model, kind, name) == 0);
                        model.insert((kind, name, client));
                    }
                    Step::Remove(kind, name, client) => {
                        let was = model.remove(&(kind, name, client));
                        let last = listeners.remove(Kind::ALL[kind], &[name], client);
                        prop_assert_eq!(last, was && of(&model, kind, name) == 0);
                    }
                }
                let mut all = BTreeSet::new();
                for kind in Kind::ALL {
                    for (name, members) in listeners.names(kind) {
                        prop_assert!(!members.is_empty(), "a name without listeners is kept");
                        all.extend(members.keys().map(|client| (kind.index(), name[0], *client)));
                    }
                }
                prop_assert_eq!(&all, &model);
            }
        }
    }
}
