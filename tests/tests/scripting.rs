//! Scripts on whole servers: keys of several shards, declared or not; scripts that take long or too much; many at once.

use std::{collections::BTreeMap, thread, time::Duration};

use annulus_tests::{
    process::wait_for,
    resp::{Connection, Value},
    server::{DRIVERS, Server, Setup, target_is_redis},
};

fn eval(connection: &mut Connection, script: &str, keys: &[&str], args: &[&str]) -> Value {
    let count = keys.len().to_string();
    let words: Vec<&str> = ["EVAL", script, &count].iter().chain(keys).chain(args).copied().collect();
    connection.command(&words)
}

fn number(value: &Value) -> i64 {
    value.text().parse().unwrap_or_else(|_| panic!("a number is wanted, and there is {value}"))
}

/// Moves an amount between accounts whose names it makes up itself.
const TRANSFER: &str = "
    local from, to, amount = 'account:' .. ARGV[1], 'account:' .. ARGV[2], tonumber(ARGV[3])
    local balance = tonumber(redis.call('get', from) or '0')
    if balance < amount then
        return redis.error_reply('POOR ' .. from)
    end
    redis.call('decrby', from, amount)
    redis.call('incrby', to, amount)
    return balance - amount";

#[test]
fn money_that_scripts_move_between_shards_is_neither_made_nor_lost() {
    const ACCOUNTS: usize = 7;
    const CLIENTS: usize = 6;
    const TRANSFERS: usize = 150;
    for (driver, shards) in DRIVERS.into_iter().zip([3, 2]) {
        let server = Setup::annulus().driver(driver).shards(shards).start();
        let mut connection = server.connect();
        for account in 0..ACCOUNTS {
            connection.line(&format!("SET account:{account} 100"));
        }
        let port = server.port();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                thread::spawn(move || {
                    let mut connection = Connection::tcp(port).unwrap();
                    for turn in 0..TRANSFERS {
                        let (from, to) = ((client + turn) % ACCOUNTS, (client * 3 + turn * 5 + 1) % ACCOUNTS);
                        let words = [from.to_string(), to.to_string(), (turn % 9).to_string()];
                        let reply = if turn % 10 == 9 {
                            // Everybody's money, at one moment.
                            let sum = "local s = 0 for i = 0, 6 do s = s + redis.call('get', 'account:' .. i) end return s";
                            let reply = eval(&mut connection, sum, &[], &[]);
                            assert_eq!(reply, Value::Integer(700));
                            continue;
                        } else if turn % 4 == 0 {
                            let keys = [format!("account:{from}"), format!("account:{to}")];
                            let words: Vec<&str> = words.iter().map(String::as_str).collect();
                            eval(&mut connection, TRANSFER, &[&keys[0], &keys[1]], &words)
                        } else {
                            let words: Vec<&str> = words.iter().map(String::as_str).collect();
                            eval(&mut connection, TRANSFER, &[], &words)
                        };
                        assert!(!reply.is_error() || reply.text().contains("POOR"), "{reply}");
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        let keys: Vec<String> = (0..ACCOUNTS).map(|account| format!("account:{account}")).collect();
        let reply = connection.line(&format!("MGET {}", keys.join(" ")));
        assert_eq!(reply.items().iter().map(number).sum::<i64>(), 700, "{reply}");
    }
}

#[test]
fn what_scripts_have_written_is_there_as_a_whole_after_a_kill() {
    if target_is_redis() {
        return;
    }
    let mut server = Setup::annulus().shards(3).durability("always").start();
    let mut connection = server.connect();
    let write = "for i = 1, 6 do redis.call('set', 'part:' .. i, ARGV[1]) end return 1";
    for round in 0..50 {
        assert_eq!(eval(&mut connection, write, &[], &[&round.to_string()]), Value::Integer(1));
    }
    server.kill();
    server.start_again();
    let reply = server.connect().line("MGET part:1 part:2 part:3 part:4 part:5 part:6");
    assert!(reply.items().iter().all(|item| item.number() == Some(49)), "{reply}");
}

/// A queue of jobs in the style of the usual libraries: the keys of single jobs are put together from a prefix.
const ADD_JOB: &str = "
    local id = redis.call('incr', KEYS[1] .. ':id')
    redis.call('set', KEYS[1] .. ':job:' .. id, cjson.encode({id = id, data = cjson.decode(ARGV[1])}))
    redis.call('lpush', KEYS[1] .. ':wait', id)
    return id";
const TAKE_JOB: &str = "
    local id = redis.call('rpoplpush', KEYS[1] .. ':wait', KEYS[1] .. ':active')
    if not id then
        return nil
    end
    redis.call('set', KEYS[1] .. ':lock:' .. id, ARGV[1], 'PX', 30000, 'NX')
    return {id, redis.call('get', KEYS[1] .. ':job:' .. id)}";
const FINISH_JOB: &str = "
    local lock = KEYS[1] .. ':lock:' .. ARGV[1]
    if redis.call('get', lock) ~= ARGV[2] then
        return redis.error_reply('LOCK lost')
    end
    redis.call('del', lock, KEYS[1] .. ':job:' .. ARGV[1])
    redis.call('lrem', KEYS[1] .. ':active', 1, ARGV[1])
    return redis.call('incr', KEYS[1] .. ':done')";
/// A limit of requests in a window of time.
const LIMIT: &str = "
    local count = redis.call('incr', KEYS[1])
    if count == 1 then
        redis.call('pexpire', KEYS[1], ARGV[2])
    end
    return {count <= tonumber(ARGV[1]) and 1 or 0, redis.call('pttl', KEYS[1]) > 0 and 1 or 0}";
/// A lock that only its owner gives back.
const UNLOCK: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";

#[test]
fn the_scripts_of_libraries_run_over_several_shards() {
    for (driver, shards) in [("uring", 1), ("uring", 3), ("epoll", 3)] {
        let server = Setup::annulus().driver(driver).shards(shards).start();
        let mut connection = server.connect();
        for job in 1..=30 {
            let data = format!("{{\"n\": {job}, \"tags\": [\"a\", \"b\"]}}");
            assert_eq!(eval(&mut connection, ADD_JOB, &["queue"], &[&data]), Value::Integer(job));
        }
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let port = server.port();
                thread::spawn(move || {
                    let (mut connection, token) =
                        (Connection::tcp(port).unwrap(), format!("worker-{worker}"));
                    let mut taken = Vec::new();
                    loop {
                        let job = eval(&mut connection, TAKE_JOB, &["queue"], &[&token]);
                        if job.is_null() {
                            return taken;
                        }
                        let [id, text] = job.items() else { panic!("a job is {job}") };
                        assert!(text.text().contains(&format!("\"n\":{}", id.text())), "{text}");
                        taken.push(number(id));
                        let done = eval(&mut connection, FINISH_JOB, &["queue"], &[&id.text(), &token]);
                        assert!(!done.is_error(), "{done}");
                    }
                })
            })
            .collect();
        let mut taken: Vec<i64> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
        taken.sort_unstable();
        assert_eq!(taken, (1..=30).collect::<Vec<_>>());
        assert_eq!(connection.line("GET queue:done").text(), "30");
        assert_eq!(connection.line("KEYS queue:*").items().len(), 2, "the counters");

        let limited = (0..5).map(|_| eval(&mut connection, LIMIT, &["limit:user"], &["3", "60000"]));
        let allowed: Vec<i64> = limited.map(|reply| reply.items()[0].number().unwrap()).collect();
        assert_eq!(allowed, [1, 1, 1, 0, 0]);
        connection.line("SET lock:x mine NX PX 60000");
        assert_eq!(eval(&mut connection, UNLOCK, &["lock:x"], &["other"]), Value::Integer(0));
        assert_eq!(eval(&mut connection, UNLOCK, &["lock:x"], &["mine"]), Value::Integer(1));
    }
}

/// Sends a script and does not wait for its reply.
fn send_eval(server: &Server, script: &str, keys: &[&str]) -> Connection {
    let mut connection = server.connect();
    let count = keys.len().to_string();
    let words: Vec<&str> = ["EVAL", script, &count].iter().chain(keys).copied().collect();
    connection.send(&annulus_tests::resp::encode(&words)).unwrap();
    connection
}

/// A script that had to wait for its key let what came behind it go first.
#[test]
fn scripts_run_in_their_place_among_pipelined_commands() {
    const SHORT: &str =
        "local old = redis.call('getset', KEYS[1], ARGV[1]) return {old, redis.call('get', KEYS[1])}";
    // It takes longer than a turn should.
    const LONG: &str = "redis.call('set', KEYS[1], ARGV[1]) for i = 1, 3000000 do end
        return {false, redis.call('get', KEYS[1])}";
    for (driver, shards) in DRIVERS.into_iter().zip([2, 3]) {
        let server = Setup::annulus().driver(driver).shards(shards).start();
        for round in 0..24 {
            // Another connection may live on another shard.
            let mut connection = server.connect();
            let key = format!("key:{}", round % 5);
            let script = if round % 8 == 7 { LONG } else { SHORT };
            let commands: [&[&str]; 4] = [
                &["MSET", "a", "1", "b", "2", "c", "3", &key, "old"],
                &["EVAL", script, "1", &key, "new"],
                &["DEL", "a", "b", "c", &key],
                &["EXISTS", "a", "b", "c", &key],
            ];
            let commands = commands.map(|words| words.iter().map(|word| word.as_bytes().to_vec()).collect());
            let replies = connection.pipeline(&commands).unwrap();
            assert_eq!(replies[1].items()[1], Value::bulk("new"), "{driver}, round {round}");
            assert_eq!(replies[2..], [Value::Integer(4), Value::Integer(0)], "{driver}, round {round}");
        }
    }
}

#[test]
fn what_asks_every_shard_about_itself_comes_after_what_its_connection_has_sent_before() {
    for driver in DRIVERS {
        let server = Setup::annulus().driver(driver).shards(3).start();
        let mut connection = server.connect();
        for round in 1..=40 {
            let keys: Vec<String> = (0..8).map(|key| format!("{round}:{key}")).collect();
            let mset = ["MSET"].into_iter().chain(keys.iter().flat_map(|key| [key.as_str(), "1"]));
            let load = "#!lua name=one\nredis.register_function('one', function() return 1 end)";
            let pipeline: Vec<Vec<&str>> = vec![
                mset.collect(),
                vec!["FUNCTION", "LOAD", load],
                vec!["FUNCTION", "STATS"],
                vec!["SUNION", "a", "b", "c"],
                vec!["FUNCTION", "DELETE", "one"],
                vec!["FUNCTION", "STATS"],
                vec!["INFO", "keyspace"],
            ];
            let replies = connection.pipeline(&pipeline).unwrap();
            let libraries = |reply: &Value| reply.to_string().contains("\"libraries_count\", :1");
            assert!(libraries(&replies[2]), "{}", replies[2]);
            assert!(!libraries(&replies[5]), "{}", replies[5]);
            let info = replies[6].text();
            assert!(info.contains(&format!("keys={},", round * 8)), "{info}");
        }
    }
}

#[test]
fn an_endless_script_holds_up_only_who_wants_its_keys_and_is_killed() {
    for driver in DRIVERS {
        let setup = Setup::annulus().driver(driver).shards(2).arguments(&["--busy-reply-threshold", "100"]);
        let server = setup.start();
        let mut connection = server.connect();
        assert_eq!(connection.line("SCRIPT KILL").text(), "NOTBUSY No scripts in execution right now.");
        connection.line("MSET mine 1 other 2 third 3");
        let mut endless = send_eval(&server, "redis.call('get', KEYS[1]) while true do end", &["mine"]);
        wait_for("who would wait is told", || {
            connection.line("SET mine 2").text().starts_with("BUSY Redis is busy running a script")
        });
        assert_eq!(connection.line("GET other").text(), "2");
        assert_eq!(connection.line("INCR third"), Value::Integer(4));
        assert_eq!(connection.line("PING").text(), "PONG");
        assert!(connection.line("MSET other 1 mine 2").text().starts_with("BUSY"), "over two shards");
        assert_eq!(eval(&mut connection, "return redis.call('incr', 'third')", &[], &[]), Value::Integer(5));
        assert_eq!(connection.line("SCRIPT KILL"), Value::ok());
        let reply = endless.read().unwrap().text();
        assert!(reply.starts_with("ERR Script killed by user with SCRIPT KILL... script: "), "{reply}");
        assert_eq!(connection.line("SET mine 2"), Value::ok());

        let mut wrote = send_eval(&server, "redis.call('set', KEYS[1], 'x') while true do end", &["mine"]);
        wait_for("the second one runs", || connection.line("SCRIPT KILL").text().starts_with("UNKILLABLE"));
        assert_eq!(connection.line("GET other").text(), "2");
        wait_for("who would wait is told", || connection.line("GET mine").text().starts_with("BUSY"));
        connection.send(b"SHUTDOWN NOSAVE\r\n").unwrap();
        assert!(wrote.read().map_or(true, |reply| reply.is_error()));
        let mut server = server;
        assert!(server.wait_end(Duration::from_secs(30)).success());
        server.start_again();
        assert_eq!(server.connect().line("GET mine").text(), "2", "what never ended has not happened");
    }
}

#[test]
fn scripts_that_take_long_go_on_beside_each_other() {
    let server = Setup::annulus().shards(2).arguments(&["--busy-reply-threshold", "120000"]).start();
    let long = "
        for round = 1, 30 do
            redis.call('incr', KEYS[1])
            for i = 1, 200000 do end
            redis.call('incr', 'shared')
        end
        return redis.call('get', KEYS[1])";
    let mut running: BTreeMap<&str, Connection> =
        ["a", "b", "c", "d"].into_iter().map(|key| (key, send_eval(&server, long, &[key]))).collect();
    let mut connection = server.connect();
    for _ in 0..200 {
        assert_eq!(connection.line("SET beside 1"), Value::ok());
    }
    for (key, connection) in &mut running {
        assert_eq!(connection.read().unwrap().text(), "30", "{key}");
    }
    assert_eq!(connection.line("GET shared").text(), "120");
}

#[test]
fn a_script_that_cannot_be_undone_goes_on_all_the_same() {
    let server = Setup::annulus().shards(3).start();
    let mut connection = server.connect();
    let large = "x".repeat(200_000);
    for key in ["big:1", "big:2", "big:3", "big:4"] {
        assert_eq!(connection.command(&["SET", key, &large]), Value::ok());
    }
    let append = "
        for i = 1, 4 do
            redis.call('append', 'big:' .. i, 'y')
            for i = 1, 20000 do end
            redis.call('incr', 'count:' .. i)
        end
        return 1";
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let port = server.port();
            thread::spawn(move || {
                let mut connection = Connection::tcp(port).unwrap();
                for _ in 0..15 {
                    let reply = eval(&mut connection, append, &[], &[]);
                    assert_eq!(reply, Value::Integer(1));
                    let reply = connection.line("MSET other:1 1 count:9 2 big:9 3");
                    assert_eq!(reply, Value::ok());
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    for key in ["big:1", "big:2", "big:3", "big:4"] {
        assert_eq!(connection.line(&format!("STRLEN {key}")), Value::Integer(200_060));
    }
    assert_eq!(connection.line("MGET count:1 count:4").items().iter().map(number).sum::<i64>(), 120);
}

#[test]
fn scripts_that_want_too_much_get_an_error_and_the_server_goes_on() {
    let server = Setup::annulus().shards(2).arguments(&["--script-memory-max", "16777216"]).start();
    let mut connection = server.connect();
    for (script, error) in [
        ("local t = {} while true do t[#t + 1] = string.rep('x', 10000) .. #t end", "not enough memory"),
        ("return string.rep('x', 1e9)", "not enough memory"),
        ("local function f() return 1 + f() end return f()", "stack overflow"),
        ("return cjson.decode(string.rep('[', 100000))", "too many nested"),
        ("return redis.call(unpack({}, 1, 1e7))", "too many results to unpack"),
        ("local t = {} t[1] = t return cjson.encode(t)", "excessive nesting"),
    ] {
        let reply = eval(&mut connection, script, &[], &[]).text();
        assert!(reply.contains(error), "{script}\n{reply}");
        assert_eq!(eval(&mut connection, "return 1", &[], &[]), Value::Integer(1));
    }
    // As with a plain script's text: gigabytes of it are not held.
    for number in 0..1200 {
        let reply = eval(&mut connection, &format!("return {number}"), &[], &[]);
        assert_eq!(reply, Value::Integer(number));
    }
}

#[test]
fn monitors_see_scripts_and_what_they_call() {
    let server = Setup::annulus().shards(1).start();
    let mut monitor = server.connect();
    assert_eq!(monitor.line("MONITOR"), Value::ok());
    let mut connection = server.connect();
    eval(&mut connection, "redis.call('set', KEYS[1], 1) return redis.call('ping')", &["k"], &[]);
    let lines: Vec<String> = (0..3).map(|_| monitor.read().unwrap().text()).collect();
    assert!(lines[0].contains("\"EVAL\" \"redis.call"), "{lines:?}");
    assert!(lines[1].ends_with("[0 lua] \"set\" \"k\" \"1\""), "{lines:?}");
    assert!(lines[2].ends_with("[0 lua] \"ping\""), "{lines:?}");
}

#[test]
fn messages_leave_with_the_end_of_their_script() {
    let server = Setup::annulus().shards(2).start();
    let mut listeners: Vec<Connection> = (0..4).map(|_| server.connect()).collect();
    for listener in &mut listeners {
        listener.line("SUBSCRIBE news");
    }
    let mut connection = server.connect();
    let script = "redis.call('publish', 'news', 'one') redis.call('set', 'p:1', 1) redis.call('set', 'p:2', 1) \
                  redis.call('set', 'p:3', 1) redis.call('publish', 'news', 'two') return 1";
    for _ in 0..3 {
        assert_eq!(eval(&mut connection, script, &[], &[]), Value::Integer(1));
        for listener in &mut listeners {
            for text in ["one", "two"] {
                assert_eq!(listener.read().unwrap().items()[2].text(), text);
            }
        }
    }
}

const COUNTER: &str = "#!lua name=counter
redis.register_function('count', function(keys, args)
    for i = 1, 6 do
        redis.call('incr', keys[1] .. ':' .. i)
    end
    return redis.call('incr', keys[1])
end)
redis.register_function{function_name = 'total', flags = {'no-writes'}, callback = function(keys)
    local sum = 0
    for i = 1, 6 do
        sum = sum + redis.call('get', keys[1] .. ':' .. i)
    end
    return sum
end}";

fn fcall(connection: &mut Connection, function: &str, key: &str) -> Value {
    connection.command(&["FCALL", function, "1", key])
}

#[test]
fn functions_outlive_kills_checkpoints_and_other_numbers_of_shards() {
    if target_is_redis() {
        return;
    }
    let mut server = Setup::annulus().shards(2).durability("always").start();
    let mut connection = server.connect();
    assert_eq!(connection.command(&["FUNCTION", "LOAD", COUNTER]).text(), "counter");
    let doomed = "#!lua name=doomed\nredis.register_function('doomed', function() return 1 end)";
    assert_eq!(connection.command(&["FUNCTION", "LOAD", doomed]).text(), "doomed");
    assert_eq!(fcall(&mut connection, "count", "n"), Value::Integer(1));
    server.kill();
    server.start_again();
    let mut connection = server.connect();
    assert_eq!(fcall(&mut connection, "count", "n"), Value::Integer(2));
    assert_eq!(connection.command(&["FUNCTION", "DELETE", "doomed"]), Value::ok());
    assert_eq!(connection.line("SAVE"), Value::ok());
    assert_eq!(fcall(&mut connection, "count", "n"), Value::Integer(3));
    server.kill();
    server.start_again();
    for shards in [3, 1, 2] {
        let mut connection = server.connect();
        for key in ["n", "a", "b", "c"] {
            assert!(!fcall(&mut connection, "count", key).is_error());
        }
        assert!(fcall(&mut connection, "doomed", "n").is_error());
        let stats = connection.line("FUNCTION STATS").to_string();
        assert!(
            stats.contains("\"libraries_count\", :1") && stats.contains("\"functions_count\", :2"),
            "{stats}"
        );
        server.kill();
        server.start_again_as(&Setup::annulus().shards(shards).durability("always"));
    }
    let mut connection = server.connect();
    assert_eq!(fcall(&mut connection, "total", "n"), Value::Integer(36));
    let payload = connection.line("FUNCTION DUMP").bytes().expect("a payload").to_vec();
    assert_eq!(connection.line("FUNCTION FLUSH"), Value::ok());
    assert!(fcall(&mut connection, "total", "n").is_error());
    assert_eq!(connection.command(&[&b"FUNCTION"[..], b"RESTORE", &payload]), Value::ok());
    assert_eq!(fcall(&mut connection, "total", "n"), Value::Integer(36));
}

#[test]
fn all_shards_have_a_library_at_once() {
    let server = Setup::annulus().shards(3).start();
    let version = |number: u32| {
        format!("#!lua name=lib\nredis.register_function('version', function(keys) return {number} end)")
    };
    let load = |connection: &mut Connection, number| {
        assert_eq!(connection.command(&["FUNCTION", "LOAD", "REPLACE", &version(number)]).text(), "lib");
    };
    load(&mut server.connect(), 0);
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let port = server.port();
            thread::spawn(move || {
                let mut connection = Connection::tcp(port).unwrap();
                let mut last = 0;
                // On whichever shard it looks, it never sees an older one than before.
                while last < 30 {
                    for key in ["a", "b", "c", "d"] {
                        let seen = fcall(&mut connection, "version", key).number().unwrap();
                        assert!(seen >= last, "{seen} after {last}");
                        last = seen;
                    }
                    let seen = connection.line("FCALL version 0").number().unwrap();
                    assert!(seen >= last, "{seen} after {last}");
                    last = seen;
                }
            })
        })
        .collect();
    let mut connection = server.connect();
    for number in 1..=30 {
        load(&mut connection, number);
    }
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn a_function_that_never_ends_is_killed_as_a_function() {
    let server = Setup::annulus().shards(2).arguments(&["--busy-reply-threshold", "50"]).start();
    let mut connection = server.connect();
    let endless = "#!lua name=endless\nredis.register_function('endless', function(keys) redis.call('get', keys[1]) while true do end end)";
    assert_eq!(connection.command(&["FUNCTION", "LOAD", endless]).text(), "endless");
    let mut running = server.connect();
    running
        .send(&annulus_tests::resp::encode(
            &["FCALL", "endless", "1", "mine"].map(|it| it.as_bytes().to_vec()),
        ))
        .unwrap();
    wait_for("who would wait is told", || connection.line("SET mine 1").text().contains("FUNCTION KILL"));
    let stats = connection.line("FUNCTION STATS").to_string();
    assert!(stats.contains("\"name\", \"endless\"") && stats.contains("\"FCALL\""), "{stats}");
    assert!(connection.line("SCRIPT KILL").text().starts_with("BUSY"));
    assert_eq!(connection.line("FUNCTION KILL"), Value::ok());
    assert!(running.read().unwrap().text().contains("Script killed by user"));
    assert_eq!(connection.line("SET mine 1"), Value::ok());
}
