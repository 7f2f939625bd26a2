//! Who wants one key, oldest first.
//!
//! What it answers costs little however many wait: only the front of a queue can be granted anything, and few of it hold anything.

use smallvec::SmallVec;

use super::{Age, Mode};

#[derive(Clone, Copy, Debug)]
struct Place {
    age: Age,
    mode: Mode,
    /// It has the key.
    holds: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// By age.
    places: SmallVec<[Place; 3]>,
    /// How many of them are exclusive.
    exclusive: usize,
    /// How many of them hold the key.
    holders: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn find(&self, age: Age) -> Result<usize, usize> {
        self.places.binary_search_by(|place| place.age.cmp(&age))
    }

    /// Adds one who is not in it.
    pub(super) fn add(&mut self, age: Age, mode: Mode, holds: bool) {
        let at = self.find(age).unwrap_or_else(|at| at);
        self.places.insert(at, Place { age, mode, holds });
        self.exclusive += usize::from(mode == Mode::Exclusive);
        self.holders += usize::from(holds);
    }

    pub(super) fn remove(&mut self, age: Age) {
        if let Ok(at) = self.find(age) {
            let place = self.places.remove(at);
            self.exclusive -= usize::from(place.mode == Mode::Exclusive);
            self.holders -= usize::from(place.holds);
        }
    }

    /// How one who is in it wants the key.
    pub(super) fn mode(&self, age: Age) -> Option<Mode> {
        self.find(age).ok().map(|at| self.places[at].mode)
    }

    /// One who is in it wants it otherwise.
    pub(super) fn set_mode(&mut self, age: Age, mode: Mode) {
        if let Ok(at) = self.find(age) {
            let before = std::mem::replace(&mut self.places[at].mode, mode);
            self.exclusive += usize::from(mode == Mode::Exclusive);
            self.exclusive -= usize::from(before == Mode::Exclusive);
        }
    }

    /// One who is in it has the key now, or has it no more.
    pub(super) fn set_holds(&mut self, age: Age, holds: bool) {
        if let Ok(at) = self.find(age) {
            let before = std::mem::replace(&mut self.places[at].holds, holds);
            self.holders += usize::from(holds);
            self.holders -= usize::from(before);
        }
    }

    /// Whether anybody is in it who conflicts with this.
    pub(super) fn conflicts(&self, mode: Mode) -> bool {
        if mode == Mode::Exclusive { !self.places.is_empty() } else { self.exclusive > 0 }
    }

    /// Whether anybody else is.
    pub(super) fn conflicts_with_others(&self, age: Age, mode: Mode) -> bool {
        self.places.iter().any(|place| place.age != age && place.mode.conflicts(mode))
    }

    /// Whether anybody older is.
    pub(super) fn conflicts_with_older(&self, age: Age, mode: Mode) -> bool {
        if self.exclusive == 0 && mode == Mode::Shared {
            return false;
        }
        let older = self.places.iter().take_while(|place| place.age < age);
        older.into_iter().any(|place| place.mode.conflicts(mode))
    }

    /// Those who are younger, hold the key, and conflict with this.
    pub(super) fn younger_holders(&self, age: Age, mode: Mode) -> impl Iterator<Item = Age> {
        let from = self.find(age).map_or_else(|at| at, |at| at + 1);
        // Holders stand at the front: with none left the rest need not be looked at.
        let mut left = self.holders;
        self.places[..from].iter().filter(|place| place.holds).for_each(|_| left -= 1);
        let mut places = self.places[from..].iter();
        std::iter::from_fn(move || {
            while left > 0 {
                let place = places.next()?;
                if place.holds {
                    left -= 1;
                    if place.mode.conflicts(mode) {
                        return Some(place.age);
                    }
                }
            }
            None
        })
    }

    /// Those who wait and could be next as far as this key goes: nobody gets past the first who wants it alone.
    pub(super) fn front(&self) -> impl Iterator<Item = Age> {
        let mut blocked = false;
        let front = self.places.iter().take_while(move |place| {
            let takes = !blocked;
            blocked |= place.mode == Mode::Exclusive;
            takes
        });
        front.filter(|place| !place.holds).map(|place| place.age)
    }

    /// Everybody.
    pub(super) fn iter(&self) -> impl Iterator<Item = Age> {
        self.places.iter().map(|place| place.age)
    }
}
