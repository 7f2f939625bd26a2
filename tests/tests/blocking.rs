//! Commands that wait: the same scenes on a real redis-server and on ours, whose clients must hear the same; and queues from which nothing
//! may be lost or taken twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use annulus_tests::{
    process::wait_for,
    resp::{Connection, Value, encode},
    server::{DRIVERS, Server, Setup, target_is_redis},
};

/// A server with clients by name, and what they have heard.
struct Stage {
    server: Server,
    watcher: Connection,
    clients: BTreeMap<&'static str, Connection>,
    waiting: usize,
    heard: Vec<String>,
}

impl Stage {
    fn new(setup: &Setup) -> Stage {
        let server = setup.start();
        let watcher = server.connect();
        Stage { server, watcher, clients: BTreeMap::new(), waiting: 0, heard: Vec::new() }
    }

    fn client(&mut self, name: &'static str) -> &mut Connection {
        let server = &self.server;
        self.clients.entry(name).or_insert_with(|| server.connect())
    }

    /// Sends a command that waits, and looks on until it does.
    fn waits(&mut self, name: &'static str, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        self.client(name).send(&encode(&words)).expect("the server listens");
        self.waiting += 1;
        let expected = format!("blocked_clients:{}", self.waiting);
        let watcher = &mut self.watcher;
        wait_for(&format!("{line} waits"), || {
            watcher.line("INFO clients").text().lines().any(|line| line == expected)
        });
    }

    /// Sends a command and hears the reply.
    fn says(&mut self, name: &'static str, line: &str) {
        let reply = self.client(name).line(line);
        self.heard.push(format!("{name}: {line} => {reply}"));
    }

    /// Hears the reply to a command that has waited.
    fn hears(&mut self, name: &'static str) {
        let reply = self.client(name).read();
        let reply =
            reply.unwrap_or_else(|error| panic!("{name} hears nothing ({error}), after {:#?}", self.heard));
        self.heard.push(format!("{name} hears {reply}"));
        self.waiting -= 1;
    }

    fn leaves(&mut self, name: &'static str) {
        self.clients.remove(name);
        self.waiting -= 1;
        let expected = format!("blocked_clients:{}", self.waiting);
        let watcher = &mut self.watcher;
        wait_for("the server has noticed", || {
            watcher.line("INFO clients").text().lines().any(|line| line == expected)
        });
    }
}

type Scene = (&'static str, fn(&mut Stage));

/// Keys of different shards where there are several: `a` to `f` are in all thirds of the slots.
const SCENES: &[Scene] = &[
    ("served by a push", |stage| {
        stage.waits("w", "BLPOP a 0");
        stage.says("p", "RPUSH a 1 2");
        stage.hears("w");
        stage.says("p", "LRANGE a 0 -1");
        stage.waits("w", "BRPOP b c d 0");
        stage.says("p", "RPUSH d 1 2");
        stage.hears("w");
        stage.says("p", "LRANGE d 0 -1");
    }),
    ("something is there at once", |stage| {
        stage.says("p", "RPUSH b 1 2 3");
        stage.says("p", "RPUSH c 4 5 6");
        stage.says("w", "BLPOP a b c 0");
        stage.says("w", "BRPOP a c b 0");
        stage.says("w", "BLMPOP 0 3 a b c LEFT COUNT 5");
        stage.says("w", "BLMOVE c d RIGHT LEFT 0");
        stage.says("w", "BRPOPLPUSH c e 0");
        stage.says("w", "EXISTS a b c d e");
        stage.says("p", "ZADD e{1} 1 x 2 y 3 z");
        stage.says("w", "BZPOPMIN a e{1} 0");
        stage.says("w", "BZPOPMAX a e{1} b 0");
        stage.says("w", "BZMPOP 0 2 a e{1} MIN");
    }),
    ("the first to come is the first to be served", |stage| {
        for name in ["w1", "w2", "w3"] {
            stage.waits(name, "BLPOP a 0");
        }
        stage.says("p", "RPUSH a 1 2");
        stage.hears("w1");
        stage.hears("w2");
        stage.says("p", "RPUSH a 3 4");
        stage.hears("w3");
        stage.says("p", "LRANGE a 0 -1");
    }),
    ("those who wait come before a pop that follows the push", |stage| {
        stage.waits("w", "BLPOP a 0");
        stage.says("p", "MULTI");
        stage.says("p", "RPUSH a 1");
        stage.says("p", "LLEN a");
        stage.says("p", "EXEC");
        stage.hears("w");
        stage.says("p", "LPOP a");
    }),
    ("a block that pops what it has pushed leaves nothing", |stage| {
        stage.waits("w", "BLPOP a 0");
        for line in ["MULTI", "RPUSH a 1", "DEL a", "EXEC"] {
            stage.says("p", line);
        }
        stage.says("p", "RPUSH a 2");
        stage.hears("w");
    }),
    ("the key that was written first, of one shard", |stage| {
        stage.waits("w", "BLPOP {x}1 {x}2 0");
        for line in ["MULTI", "RPUSH {x}2 2", "RPUSH {x}1 1", "EXEC"] {
            stage.says("p", line);
        }
        stage.hears("w");
    }),
    ("moves, and chains of them", |stage| {
        stage.waits("w1", "BLMOVE a b LEFT RIGHT 0");
        stage.waits("w2", "BLMOVE b c LEFT RIGHT 0");
        stage.waits("w3", "BRPOPLPUSH c d 0");
        stage.waits("w4", "BLPOP d 0");
        stage.says("p", "RPUSH a 1");
        for name in ["w1", "w2", "w3", "w4"] {
            stage.hears(name);
        }
        stage.says("p", "EXISTS a b c d");
        stage.waits("w1", "BLMOVE {x}1 {x}2 LEFT RIGHT 0");
        stage.waits("w2", "BLMOVE {x}2 {x}1 LEFT RIGHT 0");
        stage.says("p", "RPUSH {x}1 1");
        stage.hears("w1");
        stage.hears("w2");
        stage.says("p", "LRANGE {x}1 0 -1");
        stage.waits("w1", "BLMOVE e e LEFT RIGHT 0");
        stage.says("p", "RPUSH e 1 2 3");
        stage.hears("w1");
        stage.says("p", "LRANGE e 0 -1");
    }),
    ("a destination of another type", |stage| {
        stage.says("p", "SET b string");
        stage.says("p", "SET {x}2 string");
        stage.waits("w1", "BLMOVE a b LEFT RIGHT 0");
        stage.waits("w2", "BLMOVE {x}1 {x}2 LEFT RIGHT 0");
        stage.says("p", "RPUSH a 1");
        stage.hears("w1");
        stage.says("p", "RPUSH {x}1 1");
        stage.hears("w2");
        stage.says("p", "LLEN a");
        stage.says("p", "LLEN {x}1");
    }),
    ("keys of other types don't count", |stage| {
        stage.waits("w", "BLPOP a 0");
        stage.waits("z", "BZPOPMIN a 0");
        stage.says("p", "SET a string");
        stage.says("p", "DEL a");
        stage.says("p", "ZADD a 1 member");
        stage.hears("z");
        stage.says("p", "RPUSH a 1");
        stage.hears("w");
        stage.says("p", "SET b string");
        stage.says("w", "BLPOP b c 0");
        stage.says("w", "BLPOP c b 0");
        stage.says("w", "BZPOPMAX c b 0");
        stage.says("w", "BLMOVE b c LEFT LEFT 0");
        stage.says("w", "XREAD BLOCK 0 STREAMS c b 0 0");
    }),
    ("sorted sets", |stage| {
        stage.waits("w1", "BZPOPMIN a b c 0");
        stage.waits("w2", "BZPOPMAX b 0");
        stage.says("p", "ZADD b 1.5 x 2 y 3 z");
        stage.hears("w1");
        stage.hears("w2");
        stage.says("p", "ZRANGE b 0 -1");
        stage.waits("w1", "BZMPOP 0 3 a c d MAX COUNT 2");
        stage.says("p", "ZADD d 1 x 2 y 3 z");
        stage.hears("w1");
        stage.waits("w1", "BLMPOP 0 3 a c e RIGHT COUNT 2");
        stage.says("p", "RPUSH e 1 2 3");
        stage.hears("w1");
        stage.says("r", "HELLO 3");
        stage.heard.pop();
        stage.waits("r", "BZPOPMIN a f 0");
        stage.says("p", "ZADD f 1.5 x");
        stage.hears("r");
    }),
    ("timeouts", |stage| {
        for line in [
            "BLPOP a 0.01",
            "BLPOP a b c d 0.01",
            "BRPOP a 0.0001",
            "BLMOVE a b LEFT LEFT 0.01",
            "BLMOVE {x}1 {x}2 LEFT LEFT 0.01",
            "BRPOPLPUSH a b 0.01",
            "BLMPOP 0.01 2 a b LEFT",
            "BZPOPMIN a 0.01",
            "BZPOPMAX a b c 0.01",
            "BZMPOP 0.01 1 a MIN",
            "XREAD BLOCK 10 STREAMS a $",
            "XREAD BLOCK 10 STREAMS a b c $ $ 0",
        ] {
            stage.says("w", line);
        }
        stage.says("w", "RPUSH a 1");
        stage.says("w", "LRANGE a 0 -1");
        stage.says("w", "HELLO 3");
        stage.heard.pop();
        for line in ["BLPOP b c d 0.01", "BLMOVE b c LEFT LEFT 0.01", "XREAD BLOCK 1 STREAMS b $"] {
            stage.says("w", line);
        }
    }),
    ("wrong arguments", |stage| {
        for line in [
            "BLPOP a x",
            "BLPOP a -1",
            "BLPOP a nan",
            "BLPOP a inf",
            "BLPOP a 1e30",
            "BLPOP a b c -0.1",
            "BLPOP a",
            "BLMOVE a b LEFT X x",
            "BLMOVE a b LEFT LEFT x",
            "BLMOVE a b LEFT LEFT -1",
            "BRPOPLPUSH a b x",
            "BLMPOP x 0 a LEFT",
            "BLMPOP x 1 a LEFT",
            "BLMPOP -1 2 a b LEFT",
            "BLMPOP 1 2 a LEFT",
            "BLMPOP 1 1 a LEFT COUNT 0",
            "BZMPOP 1 1 a LEFT",
            "BZPOPMIN a x",
            "XREAD BLOCK x STREAMS a 0",
            "XREAD BLOCK -1 STREAMS a 0",
            "CLIENT UNBLOCK x",
            "CLIENT UNBLOCK 1 x",
            "CLIENT UNBLOCK 123456789",
        ] {
            stage.says("w", line);
        }
    }),
    ("within MULTI nothing waits", |stage| {
        stage.says("w", "RPUSH e 1");
        for line in [
            "MULTI",
            "BLPOP a 0",
            "BLPOP a b c d 0",
            "BLPOP d e 0",
            "BLMOVE a b LEFT LEFT 0",
            "BLMOVE {x}1 {x}2 LEFT LEFT 0",
            "BRPOPLPUSH a b 0",
            "BLMPOP 0 2 a b LEFT",
            "BZPOPMIN a 0",
            "BZMPOP 0 2 a b MIN",
            "XREAD BLOCK 0 STREAMS a $",
            "XREAD BLOCK 0 STREAMS a b $ $",
            "EXEC",
        ] {
            stage.says("w", line);
        }
    }),
    ("CLIENT UNBLOCK", |stage| {
        let id = |stage: &mut Stage, name| stage.client(name).line("CLIENT ID").number().expect("an id");
        for line in [
            "BLPOP a 0",
            "BLPOP a b c d 0",
            "BLMOVE a b LEFT LEFT 0",
            "XREAD BLOCK 0 STREAMS a $",
            "WAIT 1 0",
        ] {
            let client = id(stage, "w");
            for reason in ["", " TIMEOUT", " ERROR"] {
                stage.waits("w", line);
                let reply = stage.client("p").line(&format!("CLIENT UNBLOCK {client}{reason}"));
                stage.heard.push(format!("unblocked: {reply}"));
                stage.hears("w");
            }
            let reply = stage.client("p").line(&format!("CLIENT UNBLOCK {client}"));
            stage.heard.push(format!("not blocked: {reply}"));
        }
        stage.says("p", "RPUSH a 1");
        stage.says("p", "LLEN a");
    }),
    ("who has gone gets nothing", |stage| {
        stage.waits("w1", "BLPOP a 0");
        stage.waits("w2", "BLPOP a b c 0");
        stage.waits("w3", "BLPOP a 0");
        stage.leaves("w1");
        stage.leaves("w2");
        stage.says("p", "RPUSH b 1");
        stage.says("p", "LLEN b");
        stage.says("p", "RPUSH a 1");
        stage.hears("w3");
    }),
    ("what a waiting client sends waits", |stage| {
        let commands: &[&[&str]] =
            &[&["BLPOP", "a", "0"], &["SET", "k", "v"], &["BLPOP", "b", "c", "0"], &["GET", "k"]];
        let bytes: Vec<u8> = commands.iter().flat_map(|command| encode(command)).collect();
        stage.client("w").send(&bytes).expect("the server listens");
        stage.waiting += 1;
        stage.waits("x", "BLPOP unused 0");
        stage.says("p", "EXISTS k");
        stage.says("p", "RPUSH a 1");
        for _ in 0..2 {
            let reply = stage.client("w").read().expect("a reply");
            stage.heard.push(format!("w hears {reply}"));
        }
        stage.says("p", "RPUSH c 2");
        for _ in 0..2 {
            let reply = stage.client("w").read().expect("a reply");
            stage.heard.push(format!("w hears {reply}"));
        }
    }),
    ("keys that come in other ways", |stage| {
        stage.says("p", "RPUSH from 1 2");
        stage.waits("w", "BLPOP a 0");
        stage.says("p", "RENAME from a");
        stage.hears("w");
        stage.waits("w", "BLPOP b c 0");
        stage.says("p", "COPY a c");
        stage.hears("w");
        stage.waits("w", "BLPOP b d 0");
        stage.says("p", "SORT a STORE d");
        stage.hears("w");
        stage.waits("w", "BLPOP e 0");
        stage.says("p", "LMOVE a e LEFT LEFT");
        stage.hears("w");
        stage.says("p", "SELECT 1");
        stage.says("p", "RPUSH f 1");
        stage.says("p", "RPUSH g 1");
        stage.waits("w", "BLPOP f 0");
        stage.says("p", "MOVE f 0");
        stage.hears("w");
        stage.waits("w", "BLPOP g h 0");
        stage.says("p", "SWAPDB 0 1");
        stage.hears("w");
        stage.waits("w", "BZPOPMIN z 0");
        stage.says("p", "SELECT 0");
        stage.says("p", "GEOADD z 13 38 Palermo");
        stage.hears("w");
    }),
    ("streams", |stage| {
        stage.says("p", "XADD a 1-1 f v");
        stage.waits("w1", "XREAD BLOCK 0 STREAMS a $");
        stage.waits("w2", "XREAD COUNT 1 BLOCK 0 STREAMS a b 1-1 0");
        stage.waits("w3", "XREAD BLOCK 0 STREAMS a c d $ $ $");
        stage.waits("w4", "XREAD BLOCK 0 STREAMS a 2-5");
        stage.says("p", "XADD a 2-1 f v");
        for name in ["w1", "w2", "w3"] {
            stage.hears(name);
        }
        stage.says("p", "XADD a 3-1 f v");
        stage.hears("w4");
        stage.waits("w1", "XREAD BLOCK 0 STREAMS a b c $ 0 $");
        stage.says("p", "DEL a");
        stage.says("p", "XADD b 1-1 f v");
        stage.hears("w1");
        // Between shards a key of another type ends the wait when it is looked at, as in Redis since 7.2.
        stage.waits("w1", "XREAD BLOCK 0 STREAMS {b}1 b {b}2 $ $ $");
        stage.says("p", "SET {b}2 string");
        stage.says("p", "XADD b 2-1 f v");
        stage.hears("w1");
        stage.says("w1", "XREAD BLOCK 0 STREAMS a b 0 0");
    }),
    ("groups of streams", |stage| {
        for key in ["a", "b", "c"] {
            stage.says("p", &format!("XGROUP CREATE {key} g $ MKSTREAM"));
        }
        stage.waits("w1", "XREADGROUP GROUP g one BLOCK 0 STREAMS a >");
        stage.waits("w2", "XREADGROUP GROUP g two BLOCK 0 STREAMS a >");
        stage.says("p", "XADD a 1-1 f v");
        stage.hears("w1");
        stage.says("p", "XADD a 2-1 f v");
        stage.hears("w2");
        stage.says("p", "XPENDING a g");
        stage.waits("w1", "XREADGROUP GROUP g one BLOCK 0 STREAMS a b c > > >");
        stage.says("p", "XADD c 1-1 f v");
        stage.hears("w1");
        stage.waits("w1", "XREADGROUP GROUP g one BLOCK 0 STREAMS b >");
        stage.says("p", "XGROUP DESTROY b g");
        stage.hears("w1");
        stage.says("w1", "XREADGROUP GROUP g one BLOCK 0 STREAMS b >");
        for end in ["DEL a", "SET a string", "RENAME a renamed", "FLUSHDB"] {
            stage.says("p", "DEL a");
            stage.says("p", "XGROUP CREATE a g $ MKSTREAM");
            stage.waits("w1", "XREADGROUP GROUP g one BLOCK 0 STREAMS a >");
            stage.says("p", end);
            stage.hears("w1");
        }
        stage.says("w1", "XREADGROUP GROUP g one BLOCK 10 STREAMS a >");
    }),
];

fn play(setup: &Setup) -> Vec<(&'static str, Vec<String>)> {
    let mut scenes = Vec::new();
    for (name, scene) in SCENES {
        let mut stage = Stage::new(setup);
        scene(&mut stage);
        scenes.push((*name, stage.heard));
    }
    scenes
}

#[test]
fn clients_that_wait_hear_what_they_do_from_redis() {
    let oracle = play(&Setup::redis());
    if target_is_redis() {
        return;
    }
    for driver in DRIVERS {
        for shards in 1..=3 {
            let ours = play(&Setup::annulus().driver(driver).shards(shards));
            for ((name, expected), (_, heard)) in oracle.iter().zip(&ours) {
                assert_eq!(heard, expected, "{name}, on {shards} shards with {driver}");
            }
        }
    }
}

#[test]
fn a_timeout_is_not_over_before_its_time() {
    let server = Setup::annulus().shards(2).start();
    let mut connection = server.connect();
    for line in ["BLPOP a 0.25", "BLPOP a b c d 0.25"] {
        let begin = Instant::now();
        assert!(connection.line(line).is_null());
        assert!(begin.elapsed() >= Duration::from_millis(250), "{line}: {:?}", begin.elapsed());
    }
}

/// Producers push numbers, consumers wait for them in all ways: each number is taken once.
#[test]
fn nothing_is_lost_or_taken_twice_in_queues_over_shards() {
    const PRODUCERS: usize = 3;
    const EACH: usize = 400;
    const KEYS: [&str; 4] = ["a", "b", "c", "d"];
    for (driver, shards) in DRIVERS.into_iter().zip([2, 3]) {
        let server = Setup::annulus().durability("always").driver(driver).shards(shards).start();
        let taken = AtomicUsize::new(0);
        let found = std::thread::scope(|scope| {
            let consumers: Vec<_> = (0..6)
                .map(|consumer| {
                    let (server, taken) = (&server, &taken);
                    scope.spawn(move || consume(server, consumer, taken, PRODUCERS * EACH))
                })
                .collect();
            for producer in 0..PRODUCERS {
                let server = &server;
                scope.spawn(move || {
                    let mut connection = server.connect();
                    for index in 0..EACH {
                        let (key, value) = (KEYS[index % KEYS.len()], producer * EACH + index);
                        let line = if index % 7 == 0 {
                            format!("LPUSH {key} {value}")
                        } else {
                            format!("RPUSH {key} {value}")
                        };
                        assert!(connection.line(&line).number().is_some());
                    }
                });
            }
            let taken: Vec<Vec<i64>> =
                consumers.into_iter().map(|consumer| consumer.join().expect("a consumer ends")).collect();
            taken.concat()
        });
        let mut found = found;
        found.sort_unstable();
        let all: Vec<i64> = (0..(PRODUCERS * EACH) as i64).collect();
        assert_eq!(found, all, "on {shards} shards with {driver}");
    }
}

fn consume(server: &Server, consumer: usize, taken: &AtomicUsize, all: usize) -> Vec<i64> {
    let mut connection = server.connect();
    let mut found = Vec::new();
    let number = |value: &Value| value.text().parse::<i64>().expect("a number");
    while taken.load(Ordering::SeqCst) < all {
        let reply = match consumer % 6 {
            0 => connection.line("BLPOP a b c d 0.05"),
            1 => connection.line("BRPOP d c 0.05"),
            2 => connection.line("BLPOP a 0.05"),
            3 => connection.line("BLMPOP 0.05 3 b c d LEFT COUNT 2"),
            4 => connection.line("BLMOVE b moved LEFT RIGHT 0.05"),
            _ => connection.line("BLPOP moved c 0.05"),
        };
        if reply.is_null() {
            continue;
        }
        let values: Vec<i64> = match consumer % 6 {
            3 => reply.items()[1].items().iter().map(number).collect(),
            // It has only gone to another queue.
            4 => continue,
            _ => vec![number(&reply.items()[1])],
        };
        taken.fetch_add(values.len(), Ordering::SeqCst);
        found.extend(values);
    }
    found
}
