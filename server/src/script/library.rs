//! Libraries of functions within one machine.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, Table, Value, Variadic};

use super::convert::as_bytes;
use super::header::{Flags, NAME_RULE, is_name};
use super::machine::without_first_line;
use super::raise::{Raise, raised};
use super::sandbox::Sandbox;

/// What a library consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LibraryInfo {
    /// Its functions.
    pub functions: Vec<FunctionInfo>,
}

/// What a function says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Its name.
    pub name: Box<[u8]>,
    /// What it is for.
    pub description: Option<Box<[u8]>>,
    /// Its flags.
    pub flags: Flags,
}

/// What the running library has registered so far.
#[derive(Clone, Default)]
pub(super) struct Registered(Rc<RefCell<Vec<(FunctionInfo, Function)>>>);

fn fail<T>(text: &str) -> mlua::Result<T> {
    Err(Raise::Reply(format!("ERR {text}").into_bytes()).into())
}

impl Registered {
    /// `redis.register_function`.
    pub(super) fn function(&self, lua: &Lua) -> mlua::Result<Function> {
        let registered = self.clone();
        lua.create_function(move |lua, args: Variadic<Value>| {
            let (info, function) = match args.as_slice() {
                [Value::Table(named)] => by_name(lua, named)?,
                [_] => {
                    return fail(
                        "calling redis.register_function with a single argument is only applicable to Lua table \
                         (representing named arguments).",
                    );
                }
                [name, function] => by_place(lua, name, function)?,
                _ => return fail("wrong number of arguments to redis.register_function"),
            };
            if !is_name(&info.name) {
                return fail(NAME_RULE);
            }
            let mut known = registered.0.borrow_mut();
            if known.iter().any(|(it, _)| it.name == info.name) {
                return fail("Function already exists in the library");
            }
            known.push((info, function));
            Ok(())
        })
    }
}

fn by_place(lua: &Lua, name: &Value, function: &Value) -> mlua::Result<(FunctionInfo, Function)> {
    let Some(name) = as_bytes(lua, name) else {
        return fail("first argument to redis.register_function must be a string");
    };
    let Value::Function(function) = function else {
        return fail("second argument to redis.register_function must be a function");
    };
    let info = FunctionInfo { name: name.into(), description: None, flags: Flags::default() };
    Ok((info, function.clone()))
}

fn by_name(lua: &Lua, named: &Table) -> mlua::Result<(FunctionInfo, Function)> {
    let (mut name, mut description, mut function, mut flags) = (None, None, None, Flags::default());
    let mut entries: Vec<(Value, Value)> = Vec::new();
    named.for_each(|key: Value, value: Value| {
        entries.push((key, value));
        Ok(())
    })?;
    for (key, value) in &entries {
        let Value::String(key) = key else {
            return fail("unknown argument given to redis.register_function");
        };
        match &*key.as_bytes() {
            b"function_name" => {
                name = as_bytes(lua, value);
                if name.is_none() {
                    return fail("function_name argument given to redis.register_function must be a string");
                }
            }
            b"description" => {
                description = as_bytes(lua, value);
                if description.is_none() {
                    return fail("description argument given to redis.register_function must be a string");
                }
            }
            b"callback" => match value {
                Value::Function(value) => function = Some(value.clone()),
                _ => return fail("callback argument given to redis.register_function must be a function"),
            },
            b"flags" => flags = flags_from(value)?,
            _ => return fail("unknown argument given to redis.register_function"),
        }
    }
    let Some(name) = name else { return fail("redis.register_function must get a function name argument") };
    let Some(function) = function else {
        return fail("redis.register_function must get a callback argument");
    };
    Ok((FunctionInfo { name: name.into(), description: description.map(Into::into), flags }, function))
}

fn flags_from(value: &Value) -> mlua::Result<Flags> {
    let Value::Table(list) = value else {
        return fail("flags argument to redis.register_function must be a table representing function flags");
    };
    let mut flags = Flags::default();
    for index in 1.. {
        match list.raw_get::<Value>(index)? {
            Value::Nil => break,
            Value::String(name) => match Flags::named(&name.as_bytes()) {
                Some(flag) => flags = flags.with(flag),
                None => return fail("unknown flag given"),
            },
            _ => return fail("unknown flag given"),
        }
    }
    Ok(flags)
}

/// See the module's documentation.
pub(super) struct Libraries {
    registered: Registered,
    /// By library, the names of its functions.
    known: BTreeMap<Box<[u8]>, Vec<Box<[u8]>>>,
    functions: HashMap<Box<[u8]>, Function>,
}

impl Libraries {
    pub(super) fn new(registered: Registered) -> Self {
        Libraries { registered, known: BTreeMap::new(), functions: HashMap::new() }
    }

    pub(super) fn function(&self, name: &[u8]) -> Option<Function> {
        self.functions.get(name).cloned()
    }

    fn unload(&mut self, name: &[u8]) {
        for function in self.known.remove(name).unwrap_or_default() {
            self.functions.remove(&function);
        }
    }

    /// Runs the text of a library; if that succeeds its functions take the place of those of the library with the same
    /// name.
    pub(super) fn load(
        &mut self,
        lua: &Lua,
        sandbox: &Sandbox,
        name: &[u8],
        text: &[u8],
    ) -> Result<LibraryInfo, Vec<u8>> {
        self.registered.0.borrow_mut().clear();
        let outcome = run(lua, sandbox, text);
        let registered = std::mem::take(&mut *self.registered.0.borrow_mut());
        outcome?;
        if registered.is_empty() {
            return Err(b"ERR No functions registered".to_vec());
        }
        let own = self.known.get(name);
        for (info, _) in &registered {
            let is_own = own.is_some_and(|own| own.contains(&info.name));
            if !is_own && self.functions.contains_key(&info.name) {
                return Err([b"ERR Function ", &info.name[..], b" already exists"].concat());
            }
        }
        self.unload(name);
        let names = registered.iter().map(|(info, _)| info.name.clone()).collect();
        self.known.insert(name.into(), names);
        let mut functions = Vec::new();
        for (info, function) in registered {
            self.functions.insert(info.name.clone(), function);
            functions.push(info);
        }
        Ok(LibraryInfo { functions })
    }
}

fn run(lua: &Lua, sandbox: &Sandbox, text: &[u8]) -> Result<(), Vec<u8>> {
    let failed = |what: &str, why: &[u8]| Err([what.as_bytes(), why].concat());
    let chunk = lua.load(without_first_line(text)).set_name("@user_function").set_mode(ChunkMode::Text);
    let body = match chunk.set_environment(sandbox.library_front.clone()).into_function() {
        Ok(body) => body,
        Err(error) => {
            return failed("ERR Error compiling function: ", raised(&error).to_string().as_bytes());
        }
    };
    const REGISTERING: &str = "ERR Error registering functions: ";
    match sandbox.while_loading.call::<(bool, Value)>(body) {
        Ok((true, _)) => Ok(()),
        Ok((false, Value::Table(error))) => match error.raw_get::<Value>("err") {
            Ok(Value::String(text)) => failed(REGISTERING, &text.as_bytes()),
            _ => failed(REGISTERING, b"ERR unknown error"),
        },
        Ok((false, _)) => failed(REGISTERING, b"ERR unknown error"),
        Err(error) => failed(REGISTERING, raised(&error).to_string().as_bytes()),
    }
}
