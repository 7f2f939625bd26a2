//! Machines alone: commands are answered by a map of strings.

use std::collections::HashMap;
use std::sync::Arc;

use annulus_protocol::{Encoder, Version};

use super::*;

const OPTIONS: MachineOptions = MachineOptions { functions: false, memory_bytes_max: 64 << 20 };

/// A machine and the few commands that tests use.
struct Bench {
    machine: Machine,
    keys: HashMap<Vec<u8>, Vec<u8>>,
    pauses: u32,
    /// Pauses after which the script is killed.
    patience: u32,
}

impl Bench {
    fn new() -> Self {
        let machine = Machine::new(OPTIONS).unwrap();
        Bench { machine, keys: HashMap::new(), pauses: 0, patience: 20 }
    }

    fn eval(&mut self, text: &str) -> String {
        self.eval_with(text, &[], &[])
    }

    fn eval_with(&mut self, text: &str, keys: &[&str], args: &[&str]) -> String {
        let mut exchange = self.machine.exchange();
        exchange.clear();
        keys.iter().chain(args).for_each(|arg| exchange.push(arg.as_bytes()));
        drop(exchange);
        let order = Order::Run {
            id: script_id(text.as_bytes()),
            text: Arc::from(text.as_bytes()),
            keys: keys.len(),
            version: Version::Resp2,
        };
        let mut step = self.machine.resume(Resume::Order(order));
        self.pauses = 0;
        loop {
            let with = match step {
                Step::Command => {
                    self.command();
                    Resume::Reply
                }
                Step::Pause => {
                    self.pauses += 1;
                    if self.pauses > self.patience { Resume::Kill } else { Resume::Continue }
                }
                Step::Reply => break,
                Step::Loaded(_) => unreachable!("a script was run"),
            };
            step = self.machine.resume(with);
        }
        String::from_utf8_lossy(&self.machine.exchange().reply).into_owned()
    }

    fn command(&mut self) {
        let mut exchange = self.machine.exchange();
        let mut reply = Vec::new();
        let mut out = Encoder::new(&mut reply, exchange.version);
        match exchange.args().as_slice() {
            [b"get", key] => match self.keys.get(*key) {
                Some(value) => out.bulk(value),
                None => out.null(),
            },
            [b"set", key, value] => {
                self.keys.insert(key.to_vec(), value.to_vec());
                out.ok();
            }
            _ => out.error("ERR no such command"),
        }
        exchange.reply = reply;
    }
}

#[track_caller]
fn check(text: &str, reply: &str) {
    let got = Bench::new().eval(text);
    assert!(got.contains(reply), "{text}\nwanted: {reply}\ngot:    {got}");
}

#[test]
fn scripts_call_commands_and_return_values() {
    let mut bench = Bench::new();
    assert_eq!(bench.eval_with("return redis.call('set', KEYS[1], ARGV[1])", &["k"], &["v"]), "+OK\r\n");
    assert_eq!(bench.eval_with("return redis.call('get', KEYS[1])", &["k"], &[]), "$1\r\nv\r\n");
    assert_eq!(
        bench.eval("return {1, 2.9, 'a', {true, false}, nil, 5}"),
        "*4\r\n:1\r\n:2\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n"
    );
    let text = "return redis.call('nope')";
    let id = String::from_utf8(script_id(text.as_bytes()).to_vec()).unwrap();
    assert_eq!(bench.eval(text), format!("-ERR no such command script: {id}, on @user_script:1.\r\n"));
}

#[test]
fn errors_are_caught_as_redis_has_them() {
    check(
        "local ok, e = pcall(redis.call, 'nope') return {tostring(ok), type(e), e}",
        "$19\r\nERR no such command",
    );
    check("return redis.pcall('nope').err", "ERR no such command");
    check(
        "local ok, e = xpcall(function() redis.call('nope') end, function(e) return type(e) .. e.err end) return e",
        "tableERR no such command",
    );
    check("local t = coroutine.wrap(function() error('x') end) t()", "-ERR user_script:1: user_script:1: x");
    check("error({err = 'My own'})", "-My own script: ");
    check("local t = nil\n\nt.x = 1", "on @user_script:3.");
    check("redis.pcall({})", "$-1");
    check("redis.call({})", "-ERR Lua redis lib command arguments must be strings or integers script: ");
}

#[test]
fn nothing_shared_can_be_changed() {
    const READ_ONLY: &str = "Attempt to modify a readonly table";
    for text in [
        "x = 1",
        "redis.call = 1",
        "string.x = 1",
        "rawset(_G, 'x', 1)",
        "setmetatable(_G, {})",
        "setmetatable(redis, {})",
        "getmetatable('').__index = 1",
        "getmetatable(_G).__index = nil",
        "getmetatable('').__index.upper = 1",
        "for k, v in pairs(_G) do if k == 'math' then v.pi = 3 end end",
        "_G._G.x = 1",
        "loadstring('x = 1')()",
        "coroutine.wrap(function() x = 1 end)()",
        "local t = setmetatable({}, {__index = _G}) t._G.x = 1",
    ] {
        check(text, READ_ONLY);
    }
    check("return x", "Script attempted to access nonexistent global variable 'x'");
    let gone = [
        "print", "dofile", "loadfile", "require", "module", "getfenv", "setfenv", "newproxy", "debug", "os",
        "io",
    ];
    for name in gone {
        check(&format!("return {name}"), "nonexistent global variable");
    }
    check("return {type(getmetatable(redis)), tostring(_G._G == _G)}", "*2\r\n$3\r\nnil\r\n$4\r\ntrue");
    check("local n = 0 for k in pairs(redis) do n = n + 1 end return tostring(n > 15)", "true");
    check("return rawget(_G, 'nope') == nil and rawget(_G, 'redis') ~= nil", ":1");
}

#[test]
fn compiled_code_is_refused() {
    check("return {loadstring(string.dump(function() return 1 end))}", "*0");
    check("local f, e = loadstring('\\27Lua') return e", "binary chunk");
    check("local f, e = load(function() return nil end) return type(f)", "function");
    check("local n = 0 return load(function() n = n + 1 return ({'return ', '7'})[n] end)()", ":7");
}

#[test]
fn endless_scripts_can_be_ended_whatever_they_catch() {
    for text in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function(e) return e end) end",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "while true do coroutine.wrap(function() pcall(function() while true do end end) end)() end",
        "while true do redis.pcall('get', 'a') end",
        "repeat until false",
        "local function f() return f() end f()",
        "return string.find(string.rep('a', 40), string.rep('a-', 40) .. 'b')",
        "return string.gsub(string.rep('a', 4000), '.-.-.-.-b', '')",
        "table.sort({1, 2, 3}, function() while true do end end)",
        "string.gsub('a', 'a', function() while true do end end)",
        "setmetatable({}, {__index = function() while true do end end}).x = nil return ({})[setmetatable({}, {__eq = 1})], setmetatable({}, {__index = function() while true do end end}).x",
    ] {
        let mut bench = Bench::new();
        assert!(bench.eval(text).contains("Script killed by user") || text.contains("pcall('get'"), "{text}");
        if !text.contains("pcall('get'") {
            assert_eq!(bench.eval("return 1"), ":1\r\n", "the machine goes on after {text}");
        }
    }
}

#[test]
fn memory_and_depth_are_bounded() {
    check("local t = {} while true do t[#t + 1] = string.rep('x', 100000) .. #t end", "not enough memory");
    check("return string.rep('x', 1e10)", "not enough memory");
    check("local s = 'x' while true do s = s .. s end", "not enough memory");
    check("local function f() return 1 + f() end f()", "stack overflow");
    check("local function f(n) return pcall(f, n) end return f(1)", "");
    check("local function f() coroutine.wrap(f)() end f()", "C stack overflow");
    check("local function f() string.gsub('a', 'a', f) end f()", "C stack overflow");
    check("return string.find(string.rep('a', 100000), string.rep('a?', 100000))", "pattern too complex");
    check("return string.rep('(', 300) .. ''", "(((");
    check("return loadstring(string.rep('(', 10000))", "$-1");
    check("local t = {} for i = 1, 2000 do t = {t} end return t", "ERR reached lua stack limit");
    check("return cjson.encode(cjson.decode(string.rep('[', 1000) .. string.rep(']', 1000))) ~= nil", ":1");
    check("return cjson.decode(string.rep('[', 100000))", "too many nested data structures");
    check("local t = {} t[1] = t return cjson.encode(t)", "excessive nesting (1001)");
    check("return cmsgpack.unpack(string.rep('\\145', 100000))", "stack overflow");
    check("return unpack({}, 1, 1e8)", "too many results to unpack");
}

#[test]
fn a_script_that_ate_all_memory_leaves_it_to_the_next() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        let eater = "local t = {} while true do t[#t + 1] = string.rep('x', 100000) .. #t end";
        assert!(bench.eval(eater).contains("not enough memory"));
        assert_eq!(bench.eval("return #string.rep('x', 10000000)"), ":10000000\r\n");
    }
}

#[test]
fn patterns_match_as_in_lua() {
    for (text, reply) in [
        ("return {string.find('hello world', 'o w')}", "*2\r\n:5\r\n:7\r\n"),
        ("return {string.find('hello', 'l+')}", "*2\r\n:3\r\n:4\r\n"),
        ("return {string.find('a.b', '.', 2, true)}", "*2\r\n:2\r\n:2\r\n"),
        ("return {string.match('key=value', '(%w+)=(%w+)')}", "*2\r\n$3\r\nkey\r\n$5\r\nvalue\r\n"),
        ("return {string.match('  trim  ', '^%s*(.-)%s*$')}", "*1\r\n$4\r\ntrim\r\n"),
        ("return {string.match('abc', '()b()')}", "*2\r\n:2\r\n:3\r\n"),
        ("return {('x'):find('y')}", "*0\r\n"),
        ("return string.match('f(a(b)c)d', '%b()')", "$7\r\n(a(b)c)"),
        ("return string.match('THE (quick) fox', '%f[%a]%a+%f[%A]')", "$3\r\nTHE"),
        ("return string.match('aa bb', '(%a)%1 (%a)%2')", "$1\r\na"),
        ("return string.match('2024-01-02', '^(%d+)-')", "$4\r\n2024"),
        ("return string.match('a]b', '[]]')", "$1\r\n]"),
        ("return string.match('x-y', '[%-]')", "$1\r\n-"),
        ("return string.match('abc', '[^a-b]')", "$1\r\nc"),
        (
            "local t = {} for k, v in string.gmatch('a=1,b=2', '(%w+)=(%w+)') do t[#t+1] = k .. v end return t",
            "*2\r\n$2\r\na1\r\n$2\r\nb2\r\n",
        ),
        ("local n = 0 for _ in string.gmatch('abc', '') do n = n + 1 end return n", ":4"),
        ("return {string.gsub('hello world', 'o', '0')}", "*2\r\n$11\r\nhell0 w0rld\r\n:2\r\n"),
        ("return {string.gsub('abc', '%w', '%0%0', 2)}", "*2\r\n$5\r\naabbc\r\n:2\r\n"),
        ("return {string.gsub('$name is', '%$(%w+)', {name = 'Bob'})}", "*2\r\n$6\r\nBob is\r\n:1\r\n"),
        ("return {string.gsub('abc', 'b', function(c) return c:upper() end)}", "*2\r\n$3\r\naBc\r\n:1\r\n"),
        ("return {string.gsub('abc', '', '-')}", "*2\r\n$7\r\n-a-b-c-\r\n:4\r\n"),
        ("return {string.gsub('abc', '^a', 'x')}", "*2\r\n$3\r\nxbc\r\n:1\r\n"),
        ("return string.find('a', '[a')", "malformed pattern (missing ']')"),
        ("return string.find('a', '%')", "malformed pattern (ends with '%')"),
        ("return string.gsub('a', 'a', '%2')", "invalid capture index"),
        ("return string.gsub('a', 'a', true)", "bad argument #3 to 'gsub' (string/function/table expected)"),
        ("return string.find('a')", "bad argument #2 to 'find' (string expected, got no value)"),
    ] {
        check(text, reply);
    }
}

#[test]
fn libraries_of_functions_load_and_run() {
    let mut machine = Machine::new(MachineOptions { functions: true, ..OPTIONS }).unwrap();
    let load = |machine: &mut Machine, name: &str, body: &str| {
        let text = format!("#!lua name={name}\n{body}");
        let order = Order::Load { name: Arc::from(name.as_bytes()), text: Arc::from(text.as_bytes()) };
        match machine.resume(Resume::Order(order)) {
            Step::Loaded(Ok(info)) => Ok(info.functions.len()),
            Step::Loaded(Err(text)) => Err(String::from_utf8(text).unwrap()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        load(&mut machine, "one", "redis.register_function('f', function(k, a) return a[1] .. k[1] end)"),
        Ok(1)
    );
    let error = load(&mut machine, "two", "redis.register_function('f', function() end)");
    assert_eq!(error.unwrap_err(), "ERR Function f already exists");
    let error = load(&mut machine, "two", "redis.call('get', 'a')");
    assert_eq!(
        error.unwrap_err(),
        "ERR Error registering functions: ERR user_function:2: Script attempted to access nonexistent global variable 'call'"
    );
    let error = load(&mut machine, "two", "x = 1");
    assert_eq!(
        error.unwrap_err(),
        "ERR Error registering functions: ERR user_function:2: Attempt to modify a readonly table"
    );
    assert_eq!(load(&mut machine, "two", "return 1").unwrap_err(), "ERR No functions registered");
    assert_eq!(
        load(&mut machine, "two", "return 1 +").unwrap_err(),
        "ERR Error compiling function: user_function:2: unexpected symbol near '<eof>'"
    );
    let mut exchange = machine.exchange();
    exchange.clear();
    exchange.push(b"key");
    exchange.push(b"arg");
    drop(exchange);
    let order = Order::Call { name: Arc::from(&b"f"[..]), keys: 1, version: Version::Resp2 };
    assert!(matches!(machine.resume(Resume::Order(order)), Step::Reply));
    assert_eq!(machine.exchange().reply, b"$6\r\nargkey\r\n");
}

#[test]
fn a_machine_that_is_dropped_in_the_middle_ends() {
    for text in
        ["while true do end", "redis.call('get', 'a')", "while true do pcall(redis.call, 'get', 'a') end"]
    {
        let mut machine = Machine::new(OPTIONS).unwrap();
        let order = Order::Run {
            id: script_id(text.as_bytes()),
            text: Arc::from(text.as_bytes()),
            keys: 0,
            version: Version::Resp2,
        };
        assert!(matches!(machine.resume(Resume::Order(order)), Step::Pause | Step::Command));
        drop(machine);
    }
}
