//! Libraries of functions in a store.

use super::Store;
use crate::libraries::Libraries;
use crate::{DatabaseId, Effect, EffectSink};

/// What stands for all libraries where gates, taints and suspended transactions know keys by their hashes. A key that has the same hash waits
/// a little longer than it must.
pub(super) const LIBRARIES: (DatabaseId, u64) = (DatabaseId(0), u64::MAX);

impl<S: EffectSink> Store<S> {
    /// The libraries; the running command depends on them.
    pub fn libraries(&self) -> &Libraries {
        self.gates.fold_key(LIBRARIES.0, LIBRARIES.1);
        &self.libraries
    }

    /// The libraries, for what is not told to any client.
    pub fn peek_libraries(&self) -> &Libraries {
        &self.libraries
    }

    /// The library of a name has this body, whatever it was.
    pub fn set_library(&mut self, name: &[u8], body: &[u8]) {
        self.log_libraries(Effect::Library { name, body: Some(body) });
        self.libraries.put(name, Some(body));
    }

    /// Removes a library. Returns whether it was there.
    pub fn delete_library(&mut self, name: &[u8]) -> bool {
        let known = self.libraries().body(name).is_some();
        if known {
            self.log_libraries(Effect::Library { name, body: None });
            self.libraries.put(name, None);
        }
        known
    }

    /// Removes all libraries.
    pub fn flush_libraries(&mut self) {
        if self.libraries().iter().len() > 0 {
            self.log_libraries(Effect::FlushLibraries);
            self.libraries.clear();
        }
    }

    fn log_libraries(&mut self, effect: Effect<'_>) {
        self.sink.spoil_undo();
        let lsn = self.sink.append(effect);
        self.wrote = true;
        self.gates.note_key(LIBRARIES.0, LIBRARIES.1, lsn);
    }
}
