//! Hashes: fields with values, and per field an expiry or none.
//!
//! - Small: field and value alternate in one [`Packed`], in the order in which the fields came.
//! - Large, from the first field that expires or is beyond [`ValueLimits`](super::ValueLimits) on: [`Members`].
//! - A hash that became large stays so. Its encoding is that of Redis, which keeps hashes within the limits packed, also with expiries.
//! - A field whose time has passed reads as absent. Between commands the store searches for such fields and removes them.

use std::sync::Arc;

use super::Shaping;
use super::change::Parts;
use super::codec::{Elements, Fault, put_element, put_number};
use super::element::Element;
use super::members::{Members, name_of, value_of};
use super::packed::Packed;
use crate::entry::Entry;
use crate::table::Hasher;

/// A hash.
pub struct Hash(Form);

enum Form {
    Small(Packed),
    Large(Box<Members>, Reason),
}

/// Why a hash is large. What is said of its encoding follows from it: Redis keeps small hashes packed when their fields expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// Only because of fields that expire.
    Expiry,
    /// It is, or was, beyond the limits.
    Limits,
}

/// A change of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashChange<'a> {
    /// The field has this value, and this expiry or none.
    Set {
        /// The field, new or not.
        field: &'a [u8],
        /// Its value.
        value: &'a [u8],
        /// Absolute expiry, ms of Unix time.
        expire_at_ms: Option<u64>,
    },
    /// The field is gone.
    Delete {
        /// The field.
        field: &'a [u8],
    },
    /// The field expires then, or not any more. Its value stays.
    Expire {
        /// The field.
        field: &'a [u8],
        /// Absolute expiry, ms of Unix time.
        expire_at_ms: Option<u64>,
    },
}

const OP_SET: u8 = 0;
const OP_DELETE: u8 = 1;
const OP_EXPIRE: u8 = 2;

impl<'a> HashChange<'a> {
    pub(super) fn to_parts(self) -> Parts<'a> {
        match self {
            Self::Set { field, value, expire_at_ms } => {
                Parts::new(OP_SET, field, value).numbers(expire_at_ms.as_slice())
            }
            Self::Delete { field } => Parts::new(OP_DELETE, field, &[]),
            Self::Expire { field, expire_at_ms } => {
                Parts::new(OP_EXPIRE, field, &[]).numbers(expire_at_ms.as_slice())
            }
        }
    }

    pub(super) fn from_parts(parts: &Parts<'a>) -> Option<Self> {
        let expire_at_ms = match *parts.as_numbers() {
            [] => None,
            [at] => Some(at),
            _ => return None,
        };
        match (parts.op, parts.first, parts.second) {
            (OP_SET, field, value) => Some(Self::Set { field, value, expire_at_ms }),
            (OP_DELETE, field, []) if expire_at_ms.is_none() => Some(Self::Delete { field }),
            (OP_EXPIRE, field, []) => Some(Self::Expire { field, expire_at_ms }),
            _ => None,
        }
    }

    /// Whether an absent key becomes a hash by it.
    pub(super) const fn creates(self) -> bool {
        matches!(self, Self::Set { .. })
    }
}

/// A field with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The field's name.
    pub name: Element<'a>,
    /// Its value.
    pub value: Element<'a>,
    /// Absolute expiry, ms of Unix time.
    pub expire_at_ms: Option<u64>,
}

impl<'a> Field<'a> {
    fn of(entry: Entry<'a>) -> Field<'a> {
        Field { name: name_of(entry), value: value_of(entry), expire_at_ms: entry.expire_at_ms() }
    }
}

impl Hash {
    pub(super) fn new() -> Hash {
        Hash(Form::Small(Packed::default()))
    }

    /// Number of fields, those included whose time has passed and that nobody has come across.
    #[expect(clippy::len_without_is_empty, reason = "an empty hash does not exist")]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Small(packed) => packed.len() / 2,
            Form::Large(members, _) => members.len(),
        }
    }

    /// Number of fields whose time has not passed.
    pub fn live_len(&self, now_ms: u64) -> usize {
        match &self.0 {
            Form::Small(_) => self.len(),
            Form::Large(members, _) => members.live_len(now_ms),
        }
    }

    /// When the first field expires, ms of Unix time.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        match &self.0 {
            Form::Small(_) => None,
            Form::Large(members, _) => members.next_expiry_ms(),
        }
    }

    /// Whether the time of any field has passed that is there still.
    pub fn has_lapsed(&self, now_ms: u64) -> bool {
        self.next_expiry_ms().is_some_and(|next| next < now_ms)
    }

    /// The name of a field whose time has passed.
    pub(crate) fn first_lapsed(&self, now_ms: u64) -> Option<&[u8]> {
        match &self.0 {
            Form::Small(_) => None,
            Form::Large(members, _) => members.first_lapsed(now_ms).map(|entry| entry.key()),
        }
    }

    /// The value of a field, with its expiry.
    pub fn field(&self, name: &[u8], now_ms: u64) -> Option<Field<'_>> {
        match &self.0 {
            Form::Small(packed) => {
                let (name, value_at) = packed.at(packed.find(name, 2)?);
                Some(Field { name, value: packed.at(value_at).0, expire_at_ms: None })
            }
            Form::Large(members, _) => members.find_live(name, now_ms).map(Field::of),
        }
    }

    /// The value of a field.
    pub fn get(&self, name: &[u8], now_ms: u64) -> Option<Element<'_>> {
        self.field(name, now_ms).map(|field| field.value)
    }

    /// All fields.
    pub fn iter(&self, now_ms: u64) -> impl Iterator<Item = Field<'_>> {
        let (small, large) = match &self.0 {
            Form::Small(packed) => (Some(pairs(packed)), None),
            Form::Large(members, _) => (None, Some(members.iter_live(now_ms).map(Field::of))),
        };
        small.into_iter().flatten().chain(large.into_iter().flatten())
    }

    /// A field chosen almost evenly. None if the time of all has passed.
    pub fn sample(&self, now_ms: u64, random: &mut dyn FnMut() -> u64) -> Option<Field<'_>> {
        match &self.0 {
            Form::Small(packed) => {
                let index = random() % (packed.len() as u64 / 2);
                pairs(packed).nth(index as usize)
            }
            Form::Large(members, _) => members.sample_live(now_ms, random).map(Field::of),
        }
    }

    /// Visits about `count` fields from `cursor` on (0: the start). Returns where to go on; none at the end.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        now_ms: u64,
        each: &mut dyn FnMut(Field<'_>),
    ) -> Option<u64> {
        match &self.0 {
            Form::Small(packed) => {
                pairs(packed).for_each(each);
                None
            }
            Form::Large(members, _) => {
                members.scan_live(cursor, count, now_ms, |entry| each(Field::of(entry)))
            }
        }
    }

    /// As `OBJECT ENCODING` answers.
    pub(super) fn encoding(&self) -> &'static str {
        match &self.0 {
            Form::Small(_) => "listpack",
            Form::Large(_, Reason::Expiry) => "listpackex",
            Form::Large(_, Reason::Limits) => "hashtable",
        }
    }

    /// See [`Collection::form`](super::Collection::form).
    pub(super) fn form(&self) -> u8 {
        match &self.0 {
            Form::Small(_) => 0,
            Form::Large(_, Reason::Expiry) => 1,
            Form::Large(_, Reason::Limits) => 2,
        }
    }

    pub(super) fn keep_form(&mut self, form: u8, shaping: &Shaping<'_>) {
        if form > self.form() {
            let (_, reason) = self.enlarge(shaping.hasher);
            *reason = if form == 1 { Reason::Expiry } else { Reason::Limits };
        }
    }

    pub(super) fn elements_address(&self) -> *const u8 {
        match &self.0 {
            Form::Small(packed) => packed.address(),
            Form::Large(members, _) => (&raw const **members).cast(),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match &self.0 {
            Form::Small(packed) => packed.memory_bytes(),
            Form::Large(members, _) => members.memory_bytes(),
        }
    }

    /// Applies a change; returns how many fields it added, changed or removed.
    pub(super) fn apply(&mut self, change: HashChange<'_>, shaping: &Shaping<'_>) -> usize {
        match change {
            HashChange::Set { field, value, expire_at_ms } => {
                self.set(field, value, expire_at_ms, shaping);
                1
            }
            HashChange::Delete { field } => usize::from(self.remove(field)),
            HashChange::Expire { field, expire_at_ms } => {
                usize::from(self.set_expiry(field, expire_at_ms, shaping))
            }
        }
    }

    fn set(&mut self, field: &[u8], value: &[u8], expire_at_ms: Option<u64>, shaping: &Shaping<'_>) {
        let limits = shaping.limits;
        let short = field.len().max(value.len()) <= limits.hash_small_value_bytes;
        if let Form::Small(packed) = &mut self.0 {
            let found = packed.find(field, 2);
            let fits = expire_at_ms.is_none()
                && short
                && packed.has_room_for(field.len() + value.len())
                && packed.len() / 2 + usize::from(found.is_none()) <= limits.hash_small_entries;
            if fits {
                if let Some(at) = found {
                    packed.replace(packed.next(at), value);
                } else {
                    packed.push(field);
                    packed.push(value);
                }
                return;
            }
        }
        let (members, reason) = self.enlarge(shaping.hasher);
        members.put(field, value, expire_at_ms);
        if !short || members.len() > limits.hash_small_entries {
            *reason = Reason::Limits;
        }
    }

    fn set_expiry(&mut self, field: &[u8], expire_at_ms: Option<u64>, shaping: &Shaping<'_>) -> bool {
        match &self.0 {
            Form::Small(packed) if expire_at_ms.is_none() || packed.find(field, 2).is_none() => false,
            _ => self.enlarge(shaping.hasher).0.set_expiry(field, expire_at_ms),
        }
    }

    fn remove(&mut self, field: &[u8]) -> bool {
        match &mut self.0 {
            Form::Small(packed) => {
                let Some(at) = packed.find(field, 2) else { return false };
                packed.remove(at, 2);
                true
            }
            Form::Large(members, _) => members.remove(field),
        }
    }

    fn enlarge(&mut self, hasher: &Arc<Hasher>) -> (&mut Members, &mut Reason) {
        if let Form::Small(packed) = &self.0 {
            let mut members = Members::new(hasher);
            for field in pairs(packed) {
                members.put(&field.name, &field.value, None);
            }
            self.0 = Form::Large(Box::new(members), Reason::Expiry);
        }
        match &mut self.0 {
            Form::Large(members, reason) => (members, reason),
            Form::Small(_) => unreachable!("it has just become large"),
        }
    }

    /// Writes fields from `cursor` on: name, value, and its expiry or 0. Returns where to go on.
    pub(super) fn encode(&self, cursor: u64, budget: usize, out: &mut Vec<u8>) -> Option<u64> {
        let start = out.len();
        let mut put = |field: Field<'_>| {
            put_element(out, &field.name);
            put_element(out, &field.value);
            put_number(out, field.expire_at_ms.map_or(0, |at| at.saturating_add(1)));
            out.len() - start >= budget
        };
        match &self.0 {
            Form::Small(packed) => {
                pairs(packed).for_each(|field| {
                    put(field);
                });
                None
            }
            Form::Large(members, _) => members.walk(cursor, |entry| put(Field::of(entry))),
        }
    }

    /// Adds fields as [`Hash::encode`] wrote them.
    pub(super) fn load(&mut self, elements: &[u8], shaping: &Shaping<'_>) -> Result<(), Fault> {
        let mut elements = Elements::new(elements);
        while !elements.is_empty() {
            let (name, value) = (elements.take_element()?, elements.take_element()?);
            let expire_at_ms = elements.take_number()?.checked_sub(1);
            self.set(name, value, expire_at_ms, shaping);
        }
        Ok(())
    }

    /// Frees up to `budget` fields of a hash that nobody uses any more; returns what is left of the budget.
    pub(super) fn free(&mut self, budget: usize) -> usize {
        match &mut self.0 {
            Form::Small(_) => budget,
            Form::Large(members, _) => members.free(budget),
        }
    }

    pub(super) fn is_freed(&self) -> bool {
        match &self.0 {
            Form::Small(_) => true,
            Form::Large(members, _) => members.is_freed(),
        }
    }
}

fn pairs(packed: &Packed) -> impl Iterator<Item = Field<'_>> {
    let mut elements = packed.iter();
    std::iter::from_fn(move || {
        let (name, value) = (elements.next()?, elements.next()?);
        Some(Field { name, value, expire_at_ms: None })
    })
}

/// Checks fields as [`Hash::load`] takes them.
pub(super) fn check(elements: &[u8]) -> Result<(), Fault> {
    let mut elements = Elements::new(elements);
    while !elements.is_empty() {
        elements.take_element()?;
        elements.take_element()?;
        elements.take_number()?;
    }
    Ok(())
}
