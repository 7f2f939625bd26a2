//! The texts of scripts, which all shards know by their SHA-1 once one of them has been given them.
//!
//! They change rarely and are read always: each shard keeps what it has come across, and asks here only for what it has not
//! seen, or when a flush has made its own copies void.
#![expect(
    clippy::disallowed_types,
    reason = "asked once for each script and shard; the request path reads a version number only"
)]

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::script::{FunctionInfo, Header, ScriptId, parse_header, script_id};

/// Scripts that came with EVAL and are kept for EVALSHA. As in Redis since 7.4 the oldest make room for new ones: clients send
/// the text again when they are told `NOSCRIPT`. What SCRIPT LOAD has loaded stays.
const EVALUATED_MAX: usize = 500;

/// Runs on one shard, one after the other, after which a script is taken for one that uses one shard only.
const NARROW_RUNS: u32 = 16;

/// A script as all shards share it.
#[derive(Debug)]
pub struct Script {
    /// The SHA-1 of its text.
    pub id: ScriptId,
    /// Its text.
    pub text: Arc<[u8]>,
    /// What its first line says, or a function of itself.
    pub header: Header,
    /// If it is a function: then it has no SHA-1, and the text is that of its library.
    pub function: Option<FunctionName>,
    /// It has used keys of several shards.
    wide: AtomicBool,
    /// How often it has not, since it last did; counts up to [`NARROW_RUNS`].
    narrow_runs: AtomicU32,
}

/// How a function is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionName {
    /// Its library.
    pub library: Arc<[u8]>,
    /// Its name.
    pub name: Arc<[u8]>,
}

impl Script {
    /// A function of a library.
    fn of_function(library: &Arc<[u8]>, text: &Arc<[u8]>, function: &FunctionInfo) -> Arc<Script> {
        let name = FunctionName { library: Arc::clone(library), name: (&*function.name).into() };
        Arc::new(Script {
            id: [0; 40],
            text: Arc::clone(text),
            header: Header { present: true, flags: function.flags },
            function: Some(name),
            wide: AtomicBool::new(false),
            narrow_runs: AtomicU32::new(0),
        })
    }

    /// What errors and statistics call it.
    pub fn name(&self) -> &[u8] {
        self.function.as_ref().map_or(&self.id, |function| &function.name)
    }

    /// A script, unless its first line is wrong: then the error reply.
    pub fn new(id: ScriptId, text: &[u8]) -> Result<Arc<Script>, Vec<u8>> {
        let header = parse_header(text)?;
        Ok(Arc::new(Script {
            id,
            text: text.into(),
            header,
            function: None,
            wide: AtomicBool::new(false),
            narrow_runs: AtomicU32::new(0),
        }))
    }

    /// Whether it has lately used keys of several shards.
    pub fn is_wide(&self) -> bool {
        self.wide.load(Ordering::Relaxed) && !self.is_narrow()
    }

    /// Whether it has often run, and long used one shard only.
    pub fn is_narrow(&self) -> bool {
        self.narrow_runs.load(Ordering::Relaxed) >= NARROW_RUNS
    }

    /// It has used keys of several shards.
    pub fn set_wide(&self) {
        self.wide.store(true, Ordering::Relaxed);
        self.narrow_runs.store(0, Ordering::Relaxed);
    }

    /// It has run, on one shard.
    #[inline]
    pub fn note_narrow(&self) {
        let runs = self.narrow_runs.load(Ordering::Relaxed);
        if runs < NARROW_RUNS {
            // Two at once may count as one.
            self.narrow_runs.store(runs + 1, Ordering::Relaxed);
        }
    }
}

#[derive(Debug, Default)]
struct Known {
    scripts: HashMap<ScriptId, Arc<Script>>,
    /// Those that came with EVAL, the oldest first.
    evaluated: VecDeque<ScriptId>,
    /// Functions that shards know, by the SHA-1 of the library's text and their names.
    functions: HashMap<(ScriptId, Box<[u8]>), Arc<Script>>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Texts {
    known: Mutex<Known>,
    /// Changes with every flush.
    version: AtomicU64,
}

/// How a script has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// SCRIPT LOAD.
    Loaded,
    /// EVAL.
    Evaluated,
}

impl Texts {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever what shards have kept is void.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The script of a name.
    pub fn find(&self, id: &ScriptId) -> Option<Arc<Script>> {
        self.known().scripts.get(id).cloned()
    }

    /// A script that has proved to compile. Returns the one to use: another shard may have been first.
    pub fn add(&self, script: Arc<Script>, origin: Origin) -> Arc<Script> {
        let mut guard = self.known();
        let known = &mut *guard;
        let kept = Arc::clone(known.scripts.entry(script.id).or_insert_with(|| {
            if origin == Origin::Evaluated {
                known.evaluated.push_back(script.id);
            }
            script
        }));
        if origin == Origin::Loaded {
            known.evaluated.retain(|id| *id != kept.id);
        }
        if known.evaluated.len() > EVALUATED_MAX
            && let Some(oldest) = known.evaluated.pop_front()
        {
            known.scripts.remove(&oldest);
        }
        kept
    }

    /// The functions of a library, the same ones for all shards: what one learns of them, all know.
    pub fn functions(&self, library: &[u8], text: &[u8], functions: &[FunctionInfo]) -> Vec<Arc<Script>> {
        let (id, library, text): (_, Arc<[u8]>, Arc<[u8]>) = (script_id(text), library.into(), text.into());
        let mut known = self.known();
        let interned = functions.iter().map(|function| {
            let entry = known.functions.entry((id, function.name.clone()));
            Arc::clone(entry.or_insert_with(|| Script::of_function(&library, &text, function)))
        });
        interned.collect()
    }

    /// Forgets functions that no shard knows any more.
    pub fn forget_unused_functions(&self) {
        self.known().functions.retain(|_, function| Arc::strong_count(function) > 1);
    }

    /// How many scripts there are, and bytes of their texts.
    pub fn totals(&self) -> (usize, usize) {
        let known = self.known();
        (known.scripts.len(), known.scripts.values().map(|script| script.text.len()).sum())
    }

    /// Forgets all.
    pub fn flush(&self) {
        let mut known = self.known();
        known.scripts.clear();
        known.evaluated.clear();
        self.version.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Arc<Script> {
        Script::new(script_id(text.as_bytes()), text.as_bytes()).unwrap()
    }

    #[test]
    fn what_was_loaded_stays_and_what_was_evaluated_makes_room() {
        let texts = Texts::default();
        let loaded = texts.add(script("return 'loaded'"), Origin::Loaded);
        let first = texts.add(script("return 'first'"), Origin::Evaluated);
        let kept = texts.add(script("return 'kept'"), Origin::Evaluated);
        texts.add(script("return 'kept'"), Origin::Loaded);
        for number in 0..EVALUATED_MAX {
            texts.add(script(&format!("return {number}")), Origin::Evaluated);
        }
        assert!(texts.find(&loaded.id).is_some() && texts.find(&kept.id).is_some());
        assert!(texts.find(&first.id).is_none());
        let version = texts.version();
        texts.flush();
        assert!(texts.find(&loaded.id).is_none() && texts.version() != version);
    }

    #[test]
    fn all_shards_use_one_script() {
        let texts = Texts::default();
        let first = texts.add(script("return 1"), Origin::Evaluated);
        let second = texts.add(script("return 1"), Origin::Evaluated);
        assert!(Arc::ptr_eq(&first, &second));
    }
}
