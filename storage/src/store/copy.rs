//! Copies of values, in the form that the original has.

use super::{Key, PIECE_BYTES, Store};
use crate::value::Shaping;
use crate::value::codec::{self, Encoded, Place};
use crate::{Change, DatabaseId, EffectSink, Kind};

impl<S: EffectSink> Store<S> {
    /// Makes a key hold what another one does, expiry included. False if that is absent. The keys are different.
    pub fn copy(&mut self, from: (DatabaseId, Key<'_>), to: (DatabaseId, Key<'_>)) -> bool {
        assert!(from != to, "a key copied to itself");
        let found = self.find(from.0, from.1);
        let Some(entry) = self.entry(from.0, &found) else { return false };
        let (expire_at_ms, form) = (entry.expire_at_ms(), entry.form());
        let kind = entry.value().kind();
        let mut elements = Vec::new();
        if kind == Kind::String {
            codec::encode_piece(entry.value(), &Place::START, PIECE_BYTES, &mut elements);
            self.put_value(to.0, to.1, Encoded { kind, elements: &elements }, expire_at_ms);
            self.keep_form(to.0, to.1, form);
            return true;
        }
        let mut place = Some(Place::START);
        let mut first = true;
        while let Some(from_place) = place {
            elements.clear();
            // Adding a key may have moved entries.
            let found = self.find(from.0, from.1);
            place = self.entry(from.0, &found).and_then(|entry| {
                codec::encode_piece(entry.value(), &from_place, PIECE_BYTES, &mut elements)
            });
            if !elements.is_empty() {
                self.change(to.0, to.1, Change::Load { kind, first, elements: &elements });
                first = false;
            }
        }
        self.keep_form(to.0, to.1, form);
        if expire_at_ms.is_some() {
            self.set_expiry(to.0, to.1, expire_at_ms);
        }
        true
    }

    /// A value that has just been put at a key is stored no smaller than this, the [form](crate::Entry::form) of its original. Nothing is
    /// logged: what comes from the log is stored as it asks for by itself.
    pub fn keep_form(&mut self, database: DatabaseId, key: Key<'_>, form: u8) {
        let found = self.find(database, key);
        let Some(at) = found.at.filter(|_| form > 0) else { return };
        let shaping =
            &Shaping { limits: &self.limits, hasher: &self.member_hasher, garbage: &mut self.garbage_values };
        self.databases[database.index()].table_mut(found.group).update(at, |entry| {
            match entry.collection_mut() {
                Some(collection) => collection.keep_form(form, shaping),
                None => entry.set_raw(),
            }
        });
    }
}
