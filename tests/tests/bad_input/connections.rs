//! Clients that stall, leave or never listen, and too many of them.

use std::time::Duration;

use annulus_tests::{
    process::{PATIENCE, wait_for},
    resp::{Connection, Value, encode},
    server::{DRIVERS, Server, Setup, target_is_redis},
};

const MIB: u64 = 1 << 20;

fn is_listed(connection: &mut Connection, name: &str) -> bool {
    connection.line("CLIENT LIST").text().contains(&format!(" name={name} "))
}

#[test]
fn client_that_finishes_sending_still_gets_every_reply() {
    for driver in DRIVERS {
        for shards in [1, 2] {
            let server = Setup::annulus().driver(driver).shards(shards).durability("always").start();
            let mut connection = server.connect();
            let mut bytes = Vec::new();
            for index in 0..2_000 {
                bytes.extend(encode(&["SET".to_owned(), format!("key:{index}"), index.to_string()]));
                bytes.extend(encode(&["GET".to_owned(), format!("key:{index}")]));
            }
            connection.send(&bytes).unwrap();
            connection.finish_sending().unwrap();
            for index in 0..2_000 {
                assert_eq!(connection.read().unwrap(), Value::ok(), "{driver}, {shards} shards, {index}");
                assert_eq!(connection.read().unwrap(), Value::bulk(index.to_string()));
            }
            assert_eq!(connection.read_to_end().unwrap(), b"", "the connection ends after the last reply");
        }
    }
}

#[test]
fn client_that_leaves_in_the_middle_harms_nobody() {
    for driver in DRIVERS {
        let server = Setup::annulus().driver(driver).shards(2).durability("always").start();
        let mut other = server.connect();
        for round in 0..50 {
            let mut leaver = server.connect();
            let mut bytes = Vec::new();
            for index in 0..200 {
                bytes.extend(encode(&["INCR".to_owned(), format!("left:{}", index % 10)]));
                bytes.extend(encode(&["SET".to_owned(), format!("large:{index}"), "v".repeat(2_000)]));
                bytes.extend(encode(&["GET".to_owned(), format!("large:{index}")]));
            }
            bytes.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$100\r\nhalf a key");
            leaver.send(&bytes).unwrap();
            drop(leaver);
            assert_eq!(other.line("INCR rounds"), Value::Integer(round + 1));
        }
        wait_for("only one client is left", || other.line("CLIENT LIST").text().lines().count() == 1);
    }
}

#[test]
fn client_that_stalls_in_the_middle_of_a_request_is_waited_for() {
    for driver in DRIVERS {
        let server = Setup::annulus().driver(driver).shards(2).start();
        let mut stalled: Vec<Connection> = (0..50).map(|_| server.connect()).collect();
        let request = encode(&["SET", "slow", "value"]);
        for (index, connection) in stalled.iter_mut().enumerate() {
            connection.send(&request[..=index % (request.len() - 1)]).unwrap();
        }
        let mut other = server.connect();
        for round in 0..100 {
            assert_eq!(other.line("INCR rounds"), Value::Integer(round + 1));
        }
        for (index, connection) in stalled.iter_mut().enumerate() {
            connection.send(&request[1 + index % (request.len() - 1)..]).unwrap();
            assert_eq!(connection.read().unwrap(), Value::ok());
        }
    }
}

#[test]
fn idle_client_is_closed_after_the_timeout_and_a_busy_one_is_not() {
    for driver in DRIVERS {
        let server = Setup::annulus().driver(driver).shards(2).arguments(&["--timeout", "1"]).start();
        let (mut idle, mut busy) = (server.connect(), server.connect());
        assert_eq!(idle.line("CLIENT SETNAME idle"), Value::ok());
        wait_for("the idle client is closed", || !is_listed(&mut busy, "idle"));
        assert!(idle.is_closed_by_server());
        assert_eq!(busy.line("PING"), Value::simple("PONG"));
    }
}

/// Asks for far more than fits any socket buffer and does not read: the writer's side of it.
fn ask_and_never_read(server: &Server, requests: usize) -> Connection {
    let mut deaf = server.connect();
    assert_eq!(deaf.line("CLIENT SETNAME deaf"), Value::ok());
    let bytes: Vec<u8> = (0..requests).flat_map(|_| encode(&["GET", "large"])).collect();
    deaf.set_patience(Duration::from_secs(2)).unwrap();
    // The server may stop taking requests, or close: both are right.
    let _ = deaf.send(&bytes);
    deaf
}

#[test]
fn client_that_never_reads_costs_little_and_holds_nobody_up() {
    for driver in DRIVERS {
        // redis-server keeps all replies until this limit and closes; ours holds the client's commands back before.
        let limit = ["--client-output-buffer-limit", "normal 8mb 0 0"];
        let server = Setup::annulus().driver(driver).shards(2).arguments(&limit).start();
        let mut other = server.connect();
        let large = vec![b'x'; MIB as usize];
        assert_eq!(other.command(&[b"SET".as_slice(), b"large", &large]), Value::ok());
        let before = server.resident_bytes();
        let mut deaf: Vec<Connection> = (0..4).map(|_| ask_and_never_read(&server, 300)).collect();
        let mut most = 0;
        for round in 0..300 {
            assert_eq!(other.line("INCR rounds"), Value::Integer(round + 1));
            most = most.max(server.resident_bytes());
        }
        let grown = most.saturating_sub(before) / MIB;
        // Four times 300 MiB were asked for.
        assert!(grown < 400, "{driver}: the server grew by {grown} MiB for clients that do not read");
        if is_listed(&mut other, "deaf") {
            // Now that it listens it gets all of it.
            let listener = &mut deaf[0];
            listener.set_patience(PATIENCE).unwrap();
            for _ in 0..300 {
                assert!(listener.read().unwrap() == Value::Bulk(large.clone()));
            }
            assert_eq!(listener.line("PING"), Value::simple("PONG"));
        }
    }
}

#[test]
fn clients_that_never_read_are_closed_at_their_output_limit() {
    for driver in DRIVERS {
        let limit = ["--client-output-buffer-limit", "normal 512kb 0 0"];
        let server = Setup::annulus().driver(driver).shards(2).arguments(&limit).start();
        let mut other = server.connect();
        let value = vec![b'x'; 64 << 10];
        assert_eq!(other.command(&[b"SET".as_slice(), b"large", &value]), Value::ok());
        let mut deaf: Vec<Connection> = (0..20).map(|_| ask_and_never_read(&server, 400)).collect();
        wait_for("they are all closed", || {
            assert_eq!(other.line("STRLEN large"), Value::Integer(64 << 10));
            !is_listed(&mut other, "deaf")
        });
        assert!(deaf.iter_mut().all(Connection::is_closed_by_server));
    }
}

#[test]
fn slow_reader_gets_everything_that_it_asked_for() {
    for driver in DRIVERS {
        let server = Setup::annulus().driver(driver).shards(2).start();
        let mut connection = server.connect();
        let large = vec![b'x'; 256 << 10];
        assert_eq!(connection.command(&[b"SET".as_slice(), b"large", &large]), Value::ok());
        let mut other = server.connect();
        // 64 MiB of replies wait while another client is served.
        let requests: Vec<u8> = (0..256).flat_map(|_| encode(&["GET", "large"])).collect();
        connection.send(&requests).unwrap();
        for round in 0..100 {
            assert_eq!(other.line("INCR rounds"), Value::Integer(round + 1));
        }
        for _ in 0..256 {
            assert!(connection.read().unwrap() == Value::Bulk(large.clone()));
        }
        assert_eq!(connection.line("PING"), Value::simple("PONG"));
    }
}

#[test]
fn one_client_too_many_is_told_so() {
    for driver in DRIVERS {
        for shards in [1, 2] {
            let server =
                Setup::annulus().driver(driver).shards(shards).arguments(&["--maxclients", "10"]).start();
            // The connection that looked whether the server is ready may still be closing.
            let mut first = server.connect();
            wait_for("one client is connected", || {
                first.line("INFO clients").text().contains("connected_clients:1\r\n")
            });
            let mut others: Vec<Connection> = (0..9).map(|_| server.connect()).collect();
            for connection in &mut others {
                assert_eq!(connection.line("PING"), Value::simple("PONG"));
            }
            let mut refused = server.connect();
            assert_eq!(refused.read().unwrap().text(), "ERR max number of clients reached");
            assert!(refused.is_closed_by_server());
            let stats = first.line("INFO stats").text();
            assert!(stats.contains("rejected_connections:1\r\n"), "{stats}");
            others.pop();
            wait_for("there is room for another client", || {
                server.connect().try_command(&["PING"]).is_ok_and(|reply| reply == Value::simple("PONG"))
            });
        }
    }
}

#[test]
fn server_without_free_files_serves_those_it_has_and_later_others() {
    for driver in DRIVERS {
        let server = Setup::annulus().driver(driver).shards(2).file_limit(200).start();
        let mut served = Vec::new();
        // As many as are answered, then as many again that are not.
        for _ in 0..300 {
            let Ok(mut connection) = Connection::tcp(server.port()) else { break };
            connection.set_patience(Duration::from_millis(500)).unwrap();
            if connection.try_command(&["PING"]).is_ok_and(|reply| reply == Value::simple("PONG")) {
                served.push(connection);
            } else {
                break;
            }
        }
        let answered = served.len();
        assert!((10..200).contains(&answered), "{driver}: {answered} connections with 200 files");
        let waiting: Vec<_> = (0..20).filter_map(|_| Connection::tcp(server.port()).ok()).collect();
        for (index, connection) in served.iter_mut().enumerate() {
            connection.set_patience(PATIENCE).unwrap();
            assert_eq!(connection.command(&["SET", &format!("key:{index}"), "v"]), Value::ok());
        }
        drop(waiting);
        served.truncate(answered / 2);
        wait_for("a later client is served", || {
            Connection::tcp(server.port()).is_ok_and(|mut connection| {
                connection.set_patience(Duration::from_millis(500)).unwrap();
                connection.try_command(&["PING"]).is_ok_and(|reply| reply == Value::simple("PONG"))
            })
        });
        assert_eq!(served[0].line("DBSIZE"), Value::Integer(answered as i64));
    }
}

/// The server fits `maxclients` to its limit of open files, so the kernel refuses a connection only if that limit shrinks later. Here it
/// grows, so that `maxclients` can, and shrinks again. It never is lower than at the start: with io_uring, an accept that is under way
/// keeps the limit of when it was queued.
#[test]
fn accepting_rests_while_the_kernel_has_no_files_and_goes_on_later() {
    // redis-server tries again at once, and uses a whole processor meanwhile.
    if target_is_redis() {
        return;
    }
    const FILES: u32 = 200;
    for driver in DRIVERS {
        let setup = Setup::annulus().driver(driver).shards(2).durability("always");
        let server = setup.soft_file_limit(FILES).arguments(&["--maxclients", "50"]).start();
        let mut first = server.connect();
        server.limit_files(10 * FILES);
        assert_eq!(first.line("CONFIG SET maxclients 1000"), Value::ok());
        server.limit_files(FILES);
        assert_eq!(first.line("SET key v"), Value::ok());
        let failures = || server.log().matches("connections cannot be accepted").count();
        // Many more than fit: the server opens and closes a file at times, and then one more is accepted.
        let mut connections: Vec<Connection> = (0..FILES + 100).map(|_| server.connect()).collect();
        for connection in &mut connections {
            connection.send(b"PING\r\n").unwrap();
        }
        wait_for("the kernel refuses", || failures() > 0);
        // The last one waits; whoever is there is served.
        let mut waiting = connections.pop().unwrap();
        for round in 0..100 {
            assert_eq!(first.command(&["SET", &format!("key:{round}"), "v"]), Value::ok());
        }
        // Accepting is tried again and again, but not all the time: this costs next to nothing.
        let (failures_before, ticks_before) = (failures(), server.processor_ticks());
        wait_for("it has tried again", || failures() > failures_before + 10);
        let tries = failures() - failures_before;
        let ticks = server.processor_ticks() - ticks_before;
        assert!(ticks <= 2 * tries as u64, "{driver}: {ticks} ticks for {tries} tries");
        waiting.set_patience(Duration::from_millis(100)).unwrap();
        let too_early = waiting.read();
        assert!(too_early.is_err(), "{driver}: {too_early:?} although there was no file for it");
        // As files become free, it goes on.
        connections.truncate(2);
        waiting.set_patience(PATIENCE).unwrap();
        assert_eq!(waiting.read().unwrap(), Value::simple("PONG"));
        server.limit_files(10 * FILES);
        for mut connection in (0..100).map(|_| server.connect()).collect::<Vec<_>>() {
            assert_eq!(connection.line("GET key"), Value::bulk("v"));
        }
        for mut connection in connections {
            assert_eq!(connection.read().unwrap(), Value::simple("PONG"));
        }
    }
}

#[test]
fn idle_server_uses_no_processor_time() {
    for driver in DRIVERS {
        let server = Setup::annulus().driver(driver).shards(2).durability("always").start();
        let mut connections: Vec<Connection> = (0..100).map(|_| server.connect()).collect();
        for (index, connection) in connections.iter_mut().enumerate() {
            assert_eq!(connection.command(&["SET", &format!("key:{index}"), "v"]), Value::ok());
        }
        // What the writes left to do (preparing a segment, say) comes to an end; then two seconds cost next to nothing. This is
        // processor time, not time on a clock: a busy machine does not add to it.
        let mut last = server.processor_ticks();
        wait_for("the server is idle", || {
            std::thread::sleep(Duration::from_secs(2));
            let used = server.processor_ticks() - last;
            last += used;
            used <= 4
        });
    }
}
