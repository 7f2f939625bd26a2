//! Functions of libraries on a shard: what FCALL runs.
//!
//! The libraries are in the store of each shard, which has them from the log. What is derived from them (which function is in which
//! library, machines that have loaded some) is void when they change, and made anew when it's needed next.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use annulus_protocol::{Encoder, Version, elements, parse_bulk_reply, parse_integer_reply};
use annulus_storage::{Lsn, TransactionId};

use super::rounds::Kill;
use super::texts::Script;
use crate::commands::{FunctionCommand, Merge};
use crate::runtime::{Rng, SocketId};
use crate::script::{Machine, decode_library, load_library};
use crate::shard::Core;
use crate::shard::batch::Work;
use crate::shard::transactions::participant::Waiter;

/// What a shard derives from its libraries.
#[derive(Debug, Default)]
pub(super) struct Functions {
    /// The version of the libraries that this is of.
    version: Option<u64>,
    /// By name in lower case: names differ by more than case.
    by_name: HashMap<Box<[u8]>, Arc<Script>>,
    libraries: usize,
    /// Machines that nobody uses.
    pub(super) idle: Vec<(Machine, Loaded)>,
}

/// What libraries a machine has loaded.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    version: Option<u64>,
    names: BTreeSet<Arc<[u8]>>,
}

impl Functions {
    /// Whether a machine may be used again.
    pub(super) fn is_current(&self, loaded: &Loaded) -> bool {
        loaded.version == self.version
    }
}

impl Core {
    fn refresh_functions(&mut self) {
        let libraries = self.store.peek_libraries();
        if self.scripts.functions.version == Some(libraries.version()) {
            return;
        }
        let mut functions = Functions {
            version: Some(libraries.version()),
            libraries: libraries.iter().len(),
            ..Functions::default()
        };
        for (name, body) in libraries.iter() {
            let Some(library) = decode_library(body) else {
                tracing::error!(library = %name.escape_ascii(), "a library of functions cannot be read");
                continue;
            };
            for function in self.shared.scripts.functions(name, library.text, &library.functions) {
                functions.by_name.insert(function.name().to_ascii_lowercase().into_boxed_slice(), function);
            }
        }
        self.scripts.functions = functions;
        self.shared.scripts.forget_unused_functions();
    }

    /// The function of a name.
    pub(super) fn known_function(&mut self, name: &[u8]) -> Option<Arc<Script>> {
        self.refresh_functions();
        if let Some(function) = self.scripts.functions.by_name.get(name) {
            return Some(Arc::clone(function));
        }
        self.scripts.functions.by_name.get(&*name.to_ascii_lowercase()).cloned()
    }

    /// A machine that has loaded a library.
    pub(super) fn take_function_machine(
        &mut self,
        library: &Arc<[u8]>,
        text: &[u8],
    ) -> Result<(Machine, Loaded), Vec<u8>> {
        let functions = &mut self.scripts.functions;
        let version = functions.version;
        let (mut machine, mut loaded) = match functions.idle.pop() {
            Some(idle) => idle,
            None => (self.new_machine(true)?, Loaded { version, names: BTreeSet::new() }),
        };
        if !loaded.names.contains(library) {
            load_library(&mut machine, library, text)?;
            loaded.names.insert(Arc::clone(library));
        }
        Ok((machine, loaded))
    }

    /// What a client must wait for that has learnt of the libraries.
    pub(super) fn gate_of_libraries(&mut self) -> Lsn {
        self.store.begin_command();
        self.store.libraries();
        self.store.end_command()
    }

    /// A script in rounds depends on the libraries as this shard has them.
    pub(super) fn depend_on_libraries(&mut self, id: TransactionId) {
        let Some(Waiter::Part(part)) = self.locks.work_mut(id.into()) else { return };
        let group = std::mem::take(&mut part.deferred);
        self.store.resume_transaction(group);
        self.store.libraries();
        let group = self.store.suspend_transaction();
        if let Some(Waiter::Part(part)) = self.locks.work_mut(id.into()) {
            part.deferred = group;
        }
    }

    /// How many libraries and functions there are.
    pub(in crate::shard) fn function_totals(&mut self) -> (usize, usize) {
        self.refresh_functions();
        (self.scripts.functions.libraries, self.scripts.functions.by_name.len())
    }

    /// Runs a subcommand of FUNCTION that is about what runs.
    pub(in crate::shard) fn function(&mut self, socket: SocketId, which: FunctionCommand, args: &[&[u8]]) {
        match which {
            FunctionCommand::Kill => {
                self.start_broadcast(socket, Work::Core(kill), Merge::Custom(super::serve::merge_kill), args);
            }
            FunctionCommand::Stats => {
                self.start_broadcast(socket, Work::Core(stats), Merge::Custom(merge_stats), args);
            }
        }
    }

    /// The script here that has run for longest: its name, command, and for how many milliseconds.
    fn running_script(&mut self) -> Option<(Vec<u8>, Vec<Vec<u8>>, u64)> {
        let now_ns = self.time.monotonic_ns;
        let &index = self.scripts.under_way.first()?;
        let program = self.take_program(index)?;
        let found = program.script.as_ref().map(|running| {
            let (_, args) = program.current();
            let milliseconds = now_ns.saturating_sub(running.started_ns) / 1_000_000;
            (running.script.name().to_vec(), args.clone(), milliseconds)
        });
        self.put_program(index, program);
        found
    }
}

fn kill(core: &mut Core, _: &[&[u8]], out: &mut Vec<u8>) {
    super::serve::write_kill(core.kill_scripts(true), out);
}

/// Libraries, functions, milliseconds or -1, name, command.
fn stats(core: &mut Core, _: &[&[u8]], out: &mut Vec<u8>) {
    let (libraries, functions) = core.function_totals();
    let running = core.running_script();
    let mut out = Encoder::new(out, Version::Resp2);
    let words = running.as_ref().map_or(0, |(_, args, _)| 1 + args.len());
    out.array_header(3 + words);
    out.integer(libraries as i64);
    out.integer(functions as i64);
    out.integer(running.as_ref().map_or(-1, |(.., milliseconds)| *milliseconds as i64));
    if let Some((name, args, _)) = &running {
        out.bulk(name);
        for arg in args {
            out.bulk(arg);
        }
    }
}

fn merge_stats(parts: &[Vec<u8>], out: &mut Encoder<'_>, _: &mut Rng) {
    let parts: Vec<Vec<&[u8]>> =
        parts.iter().map(|part| elements(part).into_iter().flatten().flatten().collect()).collect();
    let number = |part: &[&[u8]], index: usize| {
        part.get(index).and_then(|reply| parse_integer_reply(reply)).unwrap_or(0)
    };
    out.map_header(2);
    out.bulk("running_script");
    let longest = parts.iter().filter(|part| part.len() > 4).max_by_key(|part| number(part, 2));
    match longest {
        None => out.null(),
        Some(part) => {
            let words: Vec<&[u8]> =
                part.iter().skip(3).filter_map(|reply| parse_bulk_reply(reply).flatten()).collect();
            let (name, args) = words.split_first().map_or((&b""[..], &[][..]), |(name, args)| (*name, args));
            out.map_header(3);
            out.bulk("name");
            out.bulk(name);
            out.bulk("command");
            out.array_header(args.len());
            for arg in args {
                out.bulk(arg);
            }
            out.bulk("duration_ms");
            out.integer(number(part, 2));
        }
    }
    let first = parts.first().map(Vec::as_slice).unwrap_or_default();
    out.bulk("engines");
    out.map_header(1);
    out.bulk("LUA");
    out.map_header(2);
    out.bulk("libraries_count");
    out.integer(number(first, 0));
    out.bulk("functions_count");
    out.integer(number(first, 1));
}

impl Kill {
    /// As the reply of a shard.
    pub(super) fn number(self) -> i64 {
        match self {
            Kill::NoneRuns => 0,
            Kill::OtherKind(function) => 1 + i64::from(function),
            Kill::HasWritten => 3,
            Kill::Killed => 4,
        }
    }
}
