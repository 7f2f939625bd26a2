//! Scripts on a shard: who may run, where, and what becomes of one that takes long.
//!
//! A script goes to the shard of its first key and runs there at once, in the shard's turn, like a command ([`turn`]). Most
//! end so. One that needs a key of another shard, or a key that a transaction has, is undone and runs again as a transaction in
//! rounds ([`rounds`]); one that has worked for longer than a turn should take is set aside, as a transaction that has what it
//! has touched, and goes on in the next turn.
//!
//! - Whatever way it runs, its effects are kept back until its end and logged as one group: nobody else sees, and no crash leaves, a
//!   part of them.
//! - A script never waits for a lock while it has others. What it can't have at once sends it back to the beginning, where it
//!   asks for everything that it is known to need, in the order of age like any other transaction.
//! - A machine runs one script at a time; there are as many as scripts that are under way at one time.

mod calls;
mod functions;
mod rounds;
mod serve;
pub mod texts;
mod turn;

use std::collections::HashMap;
use std::sync::Arc;

use annulus_protocol::parse_i64;
use annulus_storage::{DatabaseId, TransactionId};
use rapidhash::v3::rapidhash_v3;

use self::functions::{Functions, Loaded};
use self::texts::{Origin, Script};
use super::Core;
use super::batch::{self, Call};
use super::interest::Kind;
use super::memory::OUT_OF_MEMORY;
use super::transactions::locks::{Age, LockKey, LockRequest, Mode};
use crate::commands::{Command, Flags, ScriptRun};
use crate::script::{
    ByScript, Flags as ScriptFlags, Header, Machine, MachineOptions, Order, Resume, ScriptId, Step, script_id,
};

pub(in crate::shard) use self::rounds::CallState;

/// Machines that are kept though nobody uses them.
const IDLE_MACHINES_MAX: usize = 4;

/// Scripts that a shard remembers beside the common ones.
const REMEMBERED_MAX: usize = 2000;

/// Slices of work (see [`crate::script::INSTRUCTIONS_PER_SLICE`]) after which a script makes room for other work: about a
/// millisecond.
const SLICES_PER_TURN: u32 = 3;

const WRITES: &str = "ERR Can not execute a script with write flag using *_ro command.";
const NO_FUNCTION: &str = "ERR Function not found";
const NOT_INTEGER: &str = "ERR value is not an integer or out of range";
const BAD_COUNT: &str = "ERR Bad number of keys provided";
const NO_SCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";

/// A message that leaves later: kind, channel, message.
pub(in crate::shard) type Message = (Kind, Vec<u8>, Vec<u8>);

/// What a shard has for scripts.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    idle: Vec<Machine>,
    /// Scripts that this shard has come across.
    known: ByScript<Arc<Script>>,
    /// The same by a hash of their texts: so that most need no SHA-1.
    by_text: HashMap<u64, Arc<Script>>,
    functions: Functions,
    /// The version of the common texts that these are of.
    version: u64,
    /// Operations whose script is under way here.
    under_way: Vec<u32>,
    /// Those that go on with the next turn.
    paused: Vec<u32>,
    /// The one whose command is being sent.
    driven: Option<u32>,
    /// The one that is about to run has waited, and has its locks.
    pub(super) granted: Option<Age>,
    /// Transactions of scripts that have taken too long, and have locks here; and whether they are functions.
    pub(super) overdue: Vec<(TransactionId, bool)>,
}

impl Scripts {
    /// Whether some script wants the next turn.
    pub(super) fn want_turn(&self) -> bool {
        !self.paused.is_empty()
    }
}

/// A script that is ready to run.
pub(super) struct Prepared {
    script: Arc<Script>,
    /// It came with EVAL, and the common texts don't have it yet.
    is_new: bool,
    keys: usize,
}

/// A script under way.
#[derive(Debug)]
pub(super) struct Running {
    machine: Machine,
    /// For a function: the libraries that the machine has.
    loaded: Option<Loaded>,
    script: Arc<Script>,
    order: Option<Order>,
    /// SELECT.
    database: DatabaseId,
    touches: bool,
    /// Whose it is.
    origin: batch::Origin,
    /// It may not write.
    reads_only: bool,
    /// It has run a command that may write.
    wrote: bool,
    /// One that may write was not refused.
    effective: bool,
    /// Memory was short when it began: it may not begin to write what needs some.
    out_of_memory: bool,
    /// It may need memory though there is none.
    may_exceed_memory: bool,
    /// The command in the exchange needs memory, and is to be refused where there's none.
    needs_memory: bool,
    /// It is to end.
    killed: bool,
    slices: u32,
    started_ns: u64,
    /// The locks that it has waited for, while it runs in one turn: they go when it has ended, so nobody gets before it.
    holds: Option<Age>,
    /// What it has locked or would have, while it runs in one turn.
    keys: Vec<(LockKey, Mode)>,
    whole: Option<Mode>,
    /// Messages that leave when it has ended.
    messages: Vec<Message>,
    /// A command of it that is under way elsewhere.
    call: CallState,
    /// The reply to it came while it was sent.
    ready: bool,
}

impl Running {
    /// Goes on, or begins.
    fn resume(&mut self, with: Resume) -> Step {
        let with = match self.order.take() {
            Some(order) => Resume::Order(order),
            None if self.killed => Resume::Kill,
            None => with,
        };
        self.machine.resume(with)
    }
}

impl Core {
    /// Reads the arguments of a command that runs a script; the error text if something is wrong with them.
    pub(super) fn prepare_script(&mut self, which: ScriptRun, args: &[&[u8]]) -> Result<Prepared, Vec<u8>> {
        self.refresh_texts();
        let known = match which {
            ScriptRun::Id => {
                let id = parse_id(args[1]).ok_or(NO_SCRIPT)?;
                // As in Redis, the number of keys is looked at first only if this may be the name of a script.
                let keys = count_keys(args)?;
                (self.known_script(&id).ok_or(NO_SCRIPT)?, false, keys)
            }
            ScriptRun::Function => {
                let function = self.known_function(args[1]).ok_or(NO_FUNCTION)?;
                let keys =
                    count_keys(args).map_err(|text| if text == NOT_INTEGER { BAD_COUNT } else { text })?;
                (function, false, keys)
            }
            ScriptRun::Text => {
                let keys = count_keys(args)?;
                let (script, is_new) = self.script_of(args[1])?;
                (script, is_new, keys)
            }
        };
        let (script, is_new, keys) = known;
        Ok(Prepared { script, is_new, keys })
    }

    /// Notices that the common texts were flushed.
    fn refresh_texts(&mut self) {
        let version = self.shared.scripts.version();
        if self.scripts.version != version {
            self.scripts.version = version;
            self.scripts.known.clear();
            self.scripts.by_text.clear();
            self.scripts.idle.clear();
        }
    }

    /// The script of a text, and whether nobody knows it yet.
    fn script_of(&mut self, text: &[u8]) -> Result<(Arc<Script>, bool), Vec<u8>> {
        if let Some(script) = self.scripts.by_text.get(&rapidhash_v3(text))
            && *script.text == *text
        {
            return Ok((Arc::clone(script), false));
        }
        let id = script_id(text);
        match self.known_script(&id) {
            Some(script) => Ok((script, false)),
            None => Ok((Script::new(id, text)?, true)),
        }
    }

    fn known_script(&mut self, id: &ScriptId) -> Option<Arc<Script>> {
        if let Some(script) = self.scripts.known.get(id) {
            return Some(Arc::clone(script));
        }
        let script = self.shared.scripts.find(id)?;
        self.remember(&script);
        Some(script)
    }

    fn remember(&mut self, script: &Arc<Script>) {
        if self.scripts.known.len() >= REMEMBERED_MAX {
            self.scripts.known.clear();
            self.scripts.by_text.clear();
        }
        self.scripts.known.insert(script.id, Arc::clone(script));
        self.scripts.by_text.insert(rapidhash_v3(&script.text), Arc::clone(script));
    }

    /// Makes a script known to all shards, if it compiles; otherwise the error text.
    fn learn(&mut self, script: Arc<Script>, origin: Origin) -> Result<Arc<Script>, Vec<u8>> {
        let mut machine = self.take_machine()?;
        let order = Order::Compile { id: script.id, text: Arc::clone(&script.text) };
        let step = machine.resume(Resume::Order(order));
        self.keep_machine(machine, None);
        match step {
            Step::Loaded(Ok(_)) => {
                let script = self.shared.scripts.add(script, origin);
                self.remember(&script);
                Ok(script)
            }
            Step::Loaded(Err(text)) => Err(text),
            other => unreachable!("compiling a script led to {other:?}"),
        }
    }

    fn take_machine(&mut self) -> Result<Machine, Vec<u8>> {
        match self.scripts.idle.pop() {
            Some(machine) => Ok(machine),
            None => self.new_machine(false),
        }
    }

    fn new_machine(&self, functions: bool) -> Result<Machine, Vec<u8>> {
        let memory_bytes_max = usize::try_from(self.settings.script_memory_max).unwrap_or(usize::MAX);
        let options = MachineOptions { functions, memory_bytes_max };
        Machine::new(options).map_err(|error| format!("ERR scripts cannot run: {error}").into_bytes())
    }

    fn keep_machine(&mut self, machine: Machine, loaded: Option<Loaded>) {
        let Scripts { idle, functions, .. } = &mut self.scripts;
        match loaded {
            _ if machine.is_busy() => {}
            None if idle.len() < IDLE_MACHINES_MAX => idle.push(machine),
            Some(loaded) if functions.is_current(&loaded) && functions.idle.len() < IDLE_MACHINES_MAX => {
                functions.idle.push((machine, loaded));
            }
            _ => {}
        }
    }

    /// Whether a script may begin, by what it says of itself; and whether memory is short for it.
    fn admit_script(
        &mut self,
        command: &Command,
        header: Header,
        args: &[&[u8]],
    ) -> Result<bool, &'static str> {
        let short = self.admit_memory(args).is_err() && !header.flags.contains(ScriptFlags::ALLOW_OOM);
        if header.present && !header.flags.contains(ScriptFlags::NO_WRITES) {
            if short {
                return Err(OUT_OF_MEMORY);
            }
            if command.flags.contains(Flags::READONLY) {
                return Err(WRITES);
            }
        }
        Ok(short)
    }

    /// A machine set up for a script.
    fn set_up(
        &mut self,
        prepared: &Prepared,
        command: &Command,
        args: &[&[u8]],
        call: Call,
    ) -> Result<Running, Vec<u8>> {
        let mut script = Arc::clone(&prepared.script);
        if prepared.is_new {
            script = self.learn(script, Origin::Evaluated)?;
        }
        let header = script.header;
        let out_of_memory = self.admit_script(command, header, args)?;
        let (machine, loaded) = match &script.function {
            None => (self.take_machine()?, None),
            Some(function) => {
                let (machine, loaded) = self.take_function_machine(&function.library, &script.text)?;
                (machine, Some(loaded))
            }
        };
        let mut exchange = machine.exchange();
        exchange.clear();
        args[3..].iter().for_each(|arg| exchange.push(arg));
        drop(exchange);
        let (keys, version) = (prepared.keys, call.version);
        let order = match &script.function {
            None => Order::Run { id: script.id, text: Arc::clone(&script.text), keys, version },
            Some(function) => Order::Call { name: Arc::clone(&function.name), keys, version },
        };
        let reads_only =
            command.flags.contains(Flags::READONLY) || header.flags.contains(ScriptFlags::NO_WRITES);
        Ok(Running {
            machine,
            loaded,
            script,
            order: Some(order),
            database: call.database,
            touches: call.touches,
            origin: call.origin,
            reads_only,
            wrote: false,
            effective: false,
            out_of_memory,
            may_exceed_memory: header.flags.contains(ScriptFlags::ALLOW_OOM),
            needs_memory: false,
            killed: false,
            slices: 0,
            started_ns: self.time.monotonic_ns,
            holds: None,
            keys: Vec::new(),
            whole: None,
            messages: Vec::new(),
            call: CallState::None,
            ready: false,
        })
    }

    /// Sends the messages of a script that has ended.
    pub(super) fn send_messages(&mut self, messages: Vec<Message>) {
        for (kind, channel, message) in messages {
            self.publish_unasked(kind, &channel, &message);
        }
    }
}

/// The name of a script, in either case.
fn parse_id(word: &[u8]) -> Option<ScriptId> {
    let id: ScriptId = word.try_into().ok()?;
    Some(id.map(|byte| byte.to_ascii_lowercase()))
}

/// How many keys a script's command names.
fn count_keys(args: &[&[u8]]) -> Result<usize, &'static str> {
    let count = parse_i64(args[2]).ok_or(NOT_INTEGER)?;
    let rest = args.len() - 3;
    match usize::try_from(count) {
        Err(_) => Err("ERR Number of keys can't be negative"),
        Ok(count) if count > rest => Err("ERR Number of keys can't be greater than number of args"),
        Ok(count) => Ok(count),
    }
}

/// The locks of the keys that a script's command names.
fn declared(command: &Command, args: &[&[u8]]) -> LockRequest {
    super::transactions::lock_request(None, command, args)
}
