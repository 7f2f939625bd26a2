//! One Lua state on a native stack of its own: takes orders, and hands over control whenever a script wants a command run or
//! has worked for a while.
//!
//! Lua 5.1 can't suspend a script across `pcall` or a callback; a native stack can be set aside at any point. Everything
//! that touches the Lua state happens on that stack; outside there is only the [`Exchange`].

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use annulus_protocol::{Encoder, Version};
use bstr::BStr;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use mlua::chunk::ChunkMode;
use mlua::{Function, HookTriggers, Lua, MultiValue, Table, Value, VmState};

use super::convert::{FieldNames, from_reply, to_reply};
use super::exchange::Exchange;
use super::library::{Libraries, LibraryInfo, Registered};
use super::raise::{Raise, raised};
use super::sandbox::{self, Sandbox};
use super::{ByScript, INSTRUCTIONS_PER_SLICE, STACK_BYTES, ScriptId, redis};

pub(super) type SharedExchange = Rc<RefCell<Exchange>>;

/// Scripts that a machine keeps compiled; with more it begins anew.
const COMPILED_MAX: usize = 1000;

/// The name of the function that a hook calls to pause.
pub(super) const PAUSE: &str = "annulus.pause";

/// What a machine is for, and its bounds.
#[derive(Clone, Copy, Debug)]
pub struct MachineOptions {
    /// It runs functions of libraries, and not scripts of EVAL.
    pub functions: bool,
    /// Bytes that Lua may take, 0 for as many as it likes.
    pub memory_bytes_max: usize,
}

/// What a machine is to do.
#[derive(Clone, Debug)]
pub enum Order {
    /// Compile a script.
    Compile {
        /// Its name.
        id: ScriptId,
        /// Its text.
        text: Arc<[u8]>,
    },
    /// Run a script on the arguments in the exchange.
    Run {
        /// Its name.
        id: ScriptId,
        /// Its text, for a machine that does not know it yet.
        text: Arc<[u8]>,
        /// How many of the arguments are keys.
        keys: usize,
        /// In which version its reply is written.
        version: Version,
    },
    /// Load a library of functions, in place of one with the same name.
    Load {
        /// Its name.
        name: Arc<[u8]>,
        /// Its text.
        text: Arc<[u8]>,
    },
    /// Run a function on the arguments in the exchange.
    Call {
        /// Its name.
        name: Arc<[u8]>,
        /// How many of the arguments are keys.
        keys: usize,
        /// In which version its reply is written.
        version: Version,
    },
}

/// With what a machine goes on.
#[derive(Clone, Debug)]
pub enum Resume {
    /// An order, when it is idle.
    Order(Order),
    /// The reply to a command is in the exchange.
    Reply,
    /// On after a pause.
    Continue,
    /// The script ends here.
    Kill,
    /// The machine ends, when it is idle.
    Quit,
}

/// What comes next.
#[derive(Clone, Debug)]
pub enum Step {
    /// Run the command in the exchange, and put its reply there.
    Command,
    /// It has worked for a while.
    Pause,
    /// The reply to the client is in the exchange, in the version of the order.
    Reply,
    /// The script or library is compiled, with what the library consists of, or the error reply says why not.
    Loaded(Result<LibraryInfo, Vec<u8>>),
}

/// See the module's documentation.
pub struct Machine {
    coroutine: Coroutine<Resume, Step, ()>,
    exchange: SharedExchange,
    busy: bool,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("busy", &self.busy).finish_non_exhaustive()
    }
}

impl Machine {
    /// A machine without scripts.
    pub fn new(options: MachineOptions) -> std::io::Result<Self> {
        let exchange = SharedExchange::default();
        let shared = SharedExchange::clone(&exchange);
        let stack = DefaultStack::new(STACK_BYTES)?;
        let coroutine = Coroutine::with_stack(stack, move |yielder: &Yielder<Resume, Step>, first| {
            if let Err(error) = live(yielder, &shared, options, first) {
                refuse(yielder, &shared, &error);
            }
        });
        Ok(Machine { coroutine, exchange, busy: false })
    }

    /// What is handed over. Nobody else uses it until the next [`Machine::resume`].
    pub fn exchange(&self) -> std::cell::RefMut<'_, Exchange> {
        self.exchange.borrow_mut()
    }

    /// Goes on, until the next step.
    pub fn resume(&mut self, with: Resume) -> Step {
        let orders = matches!(with, Resume::Order(_));
        assert!(orders != self.busy, "a machine that is busy: {}, goes on with {with:?}", self.busy);
        let CoroutineResult::Yield(step) = self.coroutine.resume(with) else {
            unreachable!("a machine ends when it is told to, not before")
        };
        self.busy = matches!(step, Step::Command | Step::Pause);
        step
    }

    /// Ends the order that it is in the middle of, whatever the script thinks of that.
    pub fn abandon(&mut self) {
        while self.busy {
            self.resume(Resume::Kill);
        }
    }

    /// Whether it is in the middle of an order.
    pub fn is_busy(&self) -> bool {
        self.busy
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its stack holds values of both languages, and comes to its end by itself only. After a panic there it has.
        if !self.coroutine.done() {
            self.abandon();
        }
        if !self.coroutine.done() {
            let _ = self.coroutine.resume(Resume::Quit);
        }
    }
}

/// A machine that could not be built answers everything with the reason.
fn refuse(yielder: &Yielder<Resume, Step>, exchange: &SharedExchange, error: &mlua::Error) {
    let text = format!("ERR scripts cannot run: {error}");
    loop {
        let mut shared = exchange.borrow_mut();
        shared.reply.clear();
        Encoder::new(&mut shared.reply, Version::Resp2).error(&text);
        drop(shared);
        if let Resume::Quit = yielder.suspend(Step::Loaded(Err(text.clone().into_bytes()))) {
            return;
        }
    }
}

/// Bytes of Lua's memory that a byte of a reply can become: three of them, an empty string, are a table with a field.
const GROWTH_MAX: usize = 64;
/// Room beyond that, for what of its own the binding makes.
const SPARE_BYTES: usize = 64 << 10;

/// Makes Lua objects out of so many bytes of ours. While memory is bounded the binding guards each call that may find none, at several times
/// the price of the call; so where there is room for certain, the bound is taken away meanwhile.
fn with_room<T>(
    lua: &Lua,
    memory_bytes_max: usize,
    bytes: usize,
    make: impl FnOnce() -> mlua::Result<T>,
) -> mlua::Result<T> {
    let needed = bytes.saturating_mul(GROWTH_MAX).saturating_add(SPARE_BYTES);
    if memory_bytes_max == 0 || lua.used_memory().saturating_add(needed) > memory_bytes_max {
        return make();
    }
    lua.set_memory_limit(0)?;
    let made = make();
    lua.set_memory_limit(memory_bytes_max)?;
    made
}

/// What the callbacks of a machine share.
struct Wires<'a> {
    yielder: &'a Yielder<Resume, Step>,
    exchange: &'a SharedExchange,
    names: &'a FieldNames,
    memory_bytes_max: usize,
    killed: &'a Cell<bool>,
}

impl Wires<'_> {
    fn hand_over(&self, step: Step) -> mlua::Result<()> {
        if !self.killed.get()
            && let Resume::Kill = self.yielder.suspend(step)
        {
            self.killed.set(true);
        }
        if self.killed.get() { Err(Raise::Killed.into()) } else { Ok(()) }
    }

    /// `redis.call` and `redis.pcall`.
    fn command(&self, lua: &Lua, args: &MultiValue, raises: bool) -> mlua::Result<Value> {
        if let Err(error) = redis::take_command(lua, args.iter(), &mut self.exchange.borrow_mut()) {
            return match raised(&error) {
                Raise::Reply(text) if !raises => super::raise::error_table(lua, &text).map(Value::Table),
                _ => Err(error),
            };
        }
        self.hand_over(Step::Command)?;
        let reply = std::mem::take(&mut self.exchange.borrow_mut().reply);
        if raises && let Some(line) = reply.strip_prefix(b"-") {
            let text = line.strip_suffix(b"\r\n").unwrap_or(line);
            return Err(Raise::Reply(text.to_vec()).into());
        }
        let make = || from_reply(lua, self.names, &reply).map(|(value, _)| value);
        let value = with_room(lua, self.memory_bytes_max, reply.len(), make);
        self.exchange.borrow_mut().reply = reply;
        value
    }
}

/// A machine's life: from the first order to the last.
fn live(
    yielder: &Yielder<Resume, Step>,
    exchange: &SharedExchange,
    options: MachineOptions,
    first: Resume,
) -> mlua::Result<()> {
    let lua = sandbox::new_lua()?;
    let killed = Rc::new(Cell::new(false));
    let names = FieldNames::new(&lua)?;
    let memory_bytes_max = options.memory_bytes_max;
    let wires = Wires { yielder, exchange, names: &names, memory_bytes_max, killed: &killed };
    lua.scope(|scope| {
        let api = lua.create_table()?;
        let command = |raises| {
            let wires = &wires;
            scope.create_function(move |lua, args: MultiValue| wires.command(lua, &args, raises))
        };
        api.raw_set("call", command(true)?)?;
        api.raw_set("pcall", command(false)?)?;
        let pause = scope.create_function(|_, ()| wires.hand_over(Step::Pause))?;
        lua.set_named_registry_value(PAUSE, pause)?;
        redis::add_common(&lua, &api, exchange)?;
        let mut machine = Insides::new(&lua, &api, &wires, &killed, options.functions)?;
        lua.set_memory_limit(memory_bytes_max)?;
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(INSTRUCTIONS_PER_SLICE), |lua, _| {
            lua.named_registry_value::<Function>(PAUSE)?.call::<()>(())?;
            Ok(VmState::Continue)
        })?;
        let mut next = first;
        while let Resume::Order(order) = next {
            let step = machine.carry_out(&lua, order);
            machine.tidy(&lua)?;
            killed.set(false);
            next = yielder.suspend(step);
        }
        Ok(())
    })
}

/// What a machine has beside the state itself.
struct Insides<'a> {
    sandbox: Sandbox,
    names: &'a FieldNames,
    exchange: &'a SharedExchange,
    memory_bytes_max: usize,
    scripts: ByScript<Function>,
    libraries: Libraries,
}

impl<'a> Insides<'a> {
    fn new(
        lua: &Lua,
        api: &Table,
        wires: &Wires<'a>,
        killed: &Rc<Cell<bool>>,
        functions: bool,
    ) -> mlua::Result<Self> {
        let loading = lua.create_table()?;
        redis::add_for_loading(lua, &loading)?;
        let registered = Registered::default();
        loading.raw_set("register_function", registered.function(lua)?)?;
        let sandbox = sandbox::build(lua, loading, killed)?;
        redis::add_acl(lua, api)?;
        if !functions {
            redis::add_for_eval(lua, api)?;
            sandbox.globals.raw_set("__redis__err__handler", sandbox.handler.clone())?;
            for name in ["KEYS", "ARGV"] {
                sandbox.globals.raw_set(name, lua.create_table()?)?;
            }
        }
        let api: Table = sandbox.protect.call(api)?;
        sandbox.globals.raw_set("redis", api)?;
        Ok(Insides {
            sandbox,
            names: wires.names,
            exchange: wires.exchange,
            memory_bytes_max: wires.memory_bytes_max,
            scripts: ByScript::default(),
            libraries: Libraries::new(registered),
        })
    }

    fn carry_out(&mut self, lua: &Lua, order: Order) -> Step {
        match order {
            Order::Compile { id, text } => {
                Step::Loaded(self.script(lua, id, &text).map(|_| LibraryInfo::default()))
            }
            Order::Run { id, text, keys, version } => {
                let outcome = match self.script(lua, id, &text) {
                    Err(error) => Err(Failure::Refused(error)),
                    Ok(script) => self.run_script(lua, &script, keys),
                };
                self.reply(&outcome, &id, version)
            }
            Order::Load { name, text } => Step::Loaded(self.libraries.load(lua, &self.sandbox, &name, &text)),
            Order::Call { name, keys, version } => {
                let outcome = match self.libraries.function(&name) {
                    None => Err(Failure::Refused(b"ERR Function not found".to_vec())),
                    Some(function) => self.run_function(lua, &function, keys),
                };
                self.reply(&outcome, &name, version)
            }
        }
    }

    /// After an order: collects what it has left, if that is so much that the next one might miss it. Lua itself collects
    /// only while it makes new objects, and not when there is no more room for them.
    fn tidy(&mut self, lua: &Lua) -> mlua::Result<()> {
        if self.scripts.len() > COMPILED_MAX {
            self.scripts.clear();
        }
        let used = lua.used_memory();
        if self.memory_bytes_max > 0 && used > self.memory_bytes_max / 2 {
            lua.gc_collect()?;
        }
        Ok(())
    }

    /// A compiled script.
    fn script(&mut self, lua: &Lua, id: ScriptId, text: &[u8]) -> Result<Function, Vec<u8>> {
        if let Some(script) = self.scripts.get(&id) {
            return Ok(script.clone());
        }
        let body = without_first_line(text);
        match lua.load(body).set_name("@user_script").set_mode(ChunkMode::Text).into_function() {
            Ok(script) => {
                self.scripts.insert(id, script.clone());
                Ok(script)
            }
            Err(error) => {
                Err(format!("ERR Error compiling script (new function): {}", raised(&error)).into_bytes())
            }
        }
    }

    /// The arguments in the exchange as two tables.
    fn arguments(&self, lua: &Lua, keys: usize) -> mlua::Result<(Table, Table)> {
        let exchange = self.exchange.borrow();
        let args = exchange.args();
        let (keys, rest) = args.split_at(keys.min(args.len()));
        let table = |args: &[&[u8]]| lua.create_sequence_from(args.iter().map(BStr::new));
        // An empty argument takes more than the bytes that it has.
        let bytes = exchange.bytes() + args.len();
        with_room(lua, self.memory_bytes_max, bytes, || Ok((table(keys)?, table(rest)?)))
    }

    fn run_script(&self, lua: &Lua, script: &Function, keys: usize) -> Result<Value, Failure> {
        let (keys, args) = self.arguments(lua, keys)?;
        self.exchange.borrow_mut().version = Version::Resp2;
        outcome(self.sandbox.run.call((script, keys, args))?)
    }

    fn run_function(&self, lua: &Lua, function: &Function, keys: usize) -> Result<Value, Failure> {
        let (keys, args) = self.arguments(lua, keys)?;
        self.exchange.borrow_mut().version = Version::Resp2;
        outcome(self.sandbox.run_function.call((function, keys, args))?)
    }

    /// Writes the reply to the client.
    fn reply(&self, outcome: &Result<Value, Failure>, name: &[u8], version: Version) -> Step {
        let mut exchange = self.exchange.borrow_mut();
        exchange.shrink();
        let script_version = exchange.version;
        let mut out = Encoder::new(&mut exchange.reply, version);
        match outcome {
            Ok(value) => {
                let start = out.position();
                if let Err(error) = to_reply(self.names, value, script_version, &mut out, 0) {
                    out.truncate(start);
                    out.error(format!("ERR {}", raised(&error)));
                }
            }
            Err(Failure::Refused(text)) => out.error(text),
            Err(Failure::Raised(table)) => out.error(error_text(table, name)),
        }
        Step::Reply
    }
}

/// Why there is no result.
enum Failure {
    /// The error reply.
    Refused(Vec<u8>),
    /// What the error handler has made of the error.
    Raised(Table),
}

impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Self {
        Failure::Refused(format!("ERR {}", raised(&error)).into_bytes())
    }
}

fn outcome((ok, value): (bool, Value)) -> Result<Value, Failure> {
    match value {
        value if ok => Ok(value),
        Value::Table(table) => Err(Failure::Raised(table)),
        // The handler itself has failed: there was no room even for it.
        Value::Error(error) => Err((*error).into()),
        other => {
            let text = other.to_string().unwrap_or_else(|_| "unknown error".to_owned());
            Err(Failure::Refused(format!("ERR {text}").into_bytes()))
        }
    }
}

/// The text of an error reply: the error, and where it was raised.
fn error_text(table: &Table, name: &[u8]) -> Vec<u8> {
    let mut text = match table.raw_get::<Value>("err") {
        Ok(Value::String(text)) => text.as_bytes().to_vec(),
        _ => b"ERR unknown error".to_vec(),
    };
    let (source, line) = (table.raw_get::<String>("source"), table.raw_get::<i64>("line"));
    if let (Ok(source), Ok(line)) = (source, line) {
        text.extend_from_slice(b" script: ");
        text.extend_from_slice(name);
        text.extend_from_slice(format!(", on {source}:{line}.").as_bytes());
    }
    text
}

/// A text without its first line, if that is a header; lines keep their numbers.
pub(super) fn without_first_line(text: &[u8]) -> &[u8] {
    if !text.starts_with(b"#!") {
        return text;
    }
    memchr::memchr(b'\n', text).map_or(b"", |end| &text[end..])
}
