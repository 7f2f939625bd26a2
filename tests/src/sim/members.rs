//! Fields and members that expire, in the [model](super::model).
//!
//! One whose time has passed reads as absent. It is there until the server removes it, which it does at any moment from then on, and the key
//! with the last: as keys that expire, but nobody removes it by looking.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::model::{Content, FAR_MS, Field};

/// When a field or member expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Life {
    /// The last millisecond of Unix time at which it exists.
    pub expires_ms: Option<u64>,
    /// As [`Stored::maybe_gone`](super::model::Stored::maybe_gone).
    pub maybe_gone: bool,
}

impl Life {
    pub(super) const fn until(at_ms: u64) -> Life {
        Life { expires_ms: Some(at_ms), maybe_gone: false }
    }

    fn is_over(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|at| now_ms > at)
    }
}

/// What has a life.
pub(super) trait Mortal: Clone {
    fn life(&self) -> &Life;
    fn life_mut(&mut self) -> &mut Life;
}

impl Mortal for Life {
    fn life(&self) -> &Life {
        self
    }

    fn life_mut(&mut self) -> &mut Life {
        self
    }
}

impl Mortal for Field {
    fn life(&self) -> &Life {
        &self.life
    }

    fn life_mut(&mut self) -> &mut Life {
        &mut self.life
    }
}

/// Runs a change that sees those whose time has not passed; the others are there behind it, unless it has put new ones in their place.
pub(super) fn with_live<M: Mortal, T>(
    members: &mut BTreeMap<usize, M>,
    now_ms: u64,
    change: impl FnOnce(&mut BTreeMap<usize, M>) -> T,
) -> T {
    let over: Vec<(usize, M)> = members.extract_if(.., |_, it| it.life().is_over(now_ms)).collect();
    let result = change(members);
    for (member, it) in over {
        members.entry(member).or_insert(it);
    }
    result
}

/// Whether any comes to an end that a clock may see.
pub(super) fn expire(content: &Content) -> bool {
    let soon = |life: &Life| life.expires_ms.is_some_and(|at| at < FAR_MS);
    match content {
        Content::Hash(fields) => fields.values().any(|it| soon(it.life())),
        Content::Set(members) => members.values().any(soon),
        Content::Text(_) | Content::List(_) => false,
    }
}

/// Those that may be gone.
pub(super) fn uncertain(content: &Content) -> Vec<usize> {
    fn of<M: Mortal>(members: &BTreeMap<usize, M>) -> Vec<usize> {
        members.iter().filter(|(_, it)| it.life().maybe_gone).map(|(member, _)| *member).collect()
    }
    match content {
        Content::Hash(fields) => of(fields),
        Content::Set(members) => of(members),
        Content::Text(_) | Content::List(_) => Vec::new(),
    }
}

/// One that may be gone is, or is not. True if nothing is left.
pub(super) fn decide(content: &mut Content, member: usize, gone: bool, now_ms: u64) -> bool {
    fn of<M: Mortal>(members: &mut Rc<BTreeMap<usize, M>>, member: usize, gone: bool, now_ms: u64) -> bool {
        let members = Rc::make_mut(members);
        if gone {
            members.remove(&member);
        } else if let Some(it) = members.get_mut(&member) {
            let life = it.life_mut();
            life.maybe_gone = life.is_over(now_ms);
        }
        members.is_empty()
    }
    match content {
        Content::Hash(fields) => of(fields, member, gone, now_ms),
        Content::Set(members) => of(members, member, gone, now_ms),
        Content::Text(_) | Content::List(_) => false,
    }
}

/// The clock has shown `now_ms`.
pub(super) fn pass(content: &mut Content, now_ms: u64) {
    fn of<M: Mortal>(members: &mut Rc<BTreeMap<usize, M>>, now_ms: u64) {
        let passes = |it: &M| it.life().is_over(now_ms) && !it.life().maybe_gone;
        if members.values().any(passes) {
            let all = Rc::make_mut(members).values_mut();
            all.filter(|it| passes(it)).for_each(|it| it.life_mut().maybe_gone = true);
        }
    }
    match content {
        Content::Hash(fields) => of(fields, now_ms),
        Content::Set(members) => of(members, now_ms),
        Content::Text(_) | Content::List(_) => {}
    }
}
