//! Malformed RESP: the same answers as redis-server's, to the byte, and the same connections closed.

use std::{io::ErrorKind, time::Duration};

use annulus_tests::{
    resp::{Connection, Value, encode, escaped},
    server::{DRIVERS, Server, Setup},
};

/// Sends all, says that there is no more, and reads to the end.
fn exchange(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut connection = server.connect();
    connection.set_patience(Duration::from_secs(5)).unwrap();
    // The server may close while we still send: what it said before counts.
    let _ = connection.send(bytes);
    let _ = connection.finish_sending();
    let mut said = Vec::new();
    loop {
        match connection.read() {
            Ok(value) => said.extend_from_slice(format!("{value}\n").as_bytes()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                said.extend_from_slice(b"(and is not closed)");
                return said;
            }
            Err(_) => return said,
        }
    }
}

fn cases() -> Vec<Vec<u8>> {
    let mut cases: Vec<Vec<u8>> = [
        // Inline commands, well-formed.
        "PING\r\n",
        "PING\n",
        "\r\n\r\nPING\r\n",
        "   PING   \r\n",
        "\tPING\tx\t\r\n",
        "ECHO \"a\\x41\\n\\t\\\\\"\r\n",
        "ECHO 'it\\'s'\r\n",
        "ECHO 'a\\nb'\r\n",
        "ECHO \"\"\r\n",
        "SET k\"ey v\r\nPING\r\n",
        "PING\r\nPING\r\nPING\r\n",
        // And not.
        "ECHO \"a\r\nPING\r\n",
        "ECHO 'a\r\nPING\r\n",
        "ECHO \"a\"b\r\nPING\r\n",
        "ECHO 'a'b\r\nPING\r\n",
        "PING\r\nECHO \"a\r\nPING\r\n",
        // Arrays that are no commands.
        "*0\r\nPING\r\n",
        "*-1\r\nPING\r\n",
        "*-100\r\nPING\r\n",
        "*\r\nPING\r\n",
        "*x\r\nPING\r\n",
        "*1x\r\nPING\r\n",
        "* 1\r\nPING\r\n",
        "*2147483648\r\nPING\r\n",
        "*99999999999999999999\r\nPING\r\n",
        "*-99999999999999999999\r\nPING\r\n",
        "*1\r\nPING\r\n",
        "*1\r\n+PING\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n*1\r\n$4\r\nPING\r\n",
        "*1\r\n\r\n",
        "*1\r\n$\r\n",
        "*1\r\n$x\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n$-2\r\n",
        "*1\r\n$4x\r\nPING\r\n",
        "*1\r\n$536870913\r\n",
        "*1\r\n$99999999999999999999\r\n",
        "*1\r\n$+4\r\nPING\r\n",
        "*+1\r\n$4\r\nPING\r\n",
        "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
        "*1\r\n$0\r\n\r\n",
        // What came before the fault is answered, what comes after it is not run.
        "*3\r\n$3\r\nSET\r\n$1\r\nf\r\n$1\r\n1\r\n*1\r\n!oops\r\n*3\r\n$3\r\nSET\r\n$1\r\nf\r\n$1\r\n2\r\n",
        // Cut off in the middle.
        "*1",
        "*1\r\n$4\r\nPI",
        "*2\r\n$4\r\nECHO\r\n",
        "PING",
        "PING\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI",
        // Other protocols.
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST / HTTP/1.1\r\n\r\nPING\r\n",
        "Host: x\r\nPING\r\n",
        "\x16\x03\x01\r\n",
        "$4\r\nPING\r\n",
        "+PING\r\n",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    // Lines without end.
    cases.push(vec![b'a'; 70_000]);
    cases.push([b"*".as_slice(), &vec![b'1'; 70_000]].concat());
    cases.push([b"*1\r\n$".as_slice(), &vec![b'1'; 70_000]].concat());
    // A long inline command that is whole.
    cases.push([b"ECHO ".as_slice(), &vec![b'a'; 30_000], b"\r\n"].concat());
    cases
}

#[test]
fn malformed_requests_are_answered_as_redis_answers_them() {
    let oracle = Setup::redis().start();
    for driver in DRIVERS {
        let ours = Setup::annulus().driver(driver).shards(2).start();
        let mut differences = Vec::new();
        for case in cases() {
            if differences.len() == 10 {
                break;
            }
            let (expected, got) = (exchange(&oracle, &case), exchange(&ours, &case));
            if expected != got {
                let shown: String = escaped(&case).chars().take(120).collect();
                differences.push(format!(
                    "{shown}\n  redis: {}\n  ours:  {}",
                    escaped(&expected),
                    escaped(&got)
                ));
            }
        }
        assert!(
            differences.is_empty(),
            "{driver}: {} differ:\n{}",
            differences.len(),
            differences.join("\n")
        );
        assert_eq!(ours.connect().line("GET f"), Value::bulk("1"));
    }
}

#[test]
fn before_a_password_is_given_requests_are_small() {
    let password = ["--requirepass", "secret"];
    let (oracle, ours) =
        (Setup::redis().arguments(&password).start(), Setup::annulus().arguments(&password).start());
    let cases: [&[u8]; 6] = [
        b"*11\r\n",
        b"*10\r\n$16385\r\n",
        b"*2\r\n$4\r\nECHO\r\n$16384\r\n",
        b"PING\r\nGET k\r\n",
        b"AUTH wrong\r\nAUTH secret\r\nGET k\r\n",
        b"QUIT\r\n",
    ];
    for case in cases {
        let (expected, got) = (exchange(&oracle, case), exchange(&ours, case));
        assert_eq!(escaped(&expected), escaped(&got), "{}", escaped(case));
    }
    // Its text differs between versions of redis.
    assert!(
        ours.connect()
            .line("HELLO 3")
            .text()
            .starts_with("NOAUTH HELLO must be called with the client already")
    );
}

#[test]
fn bulk_longer_than_its_limit_is_refused_and_one_within_is_taken() {
    for driver in DRIVERS {
        let server = Setup::annulus().driver(driver).arguments(&["--proto-max-bulk-len", "1mb"]).start();
        let mut connection = server.connect();
        let within = vec![b'x'; 1 << 20];
        assert_eq!(connection.command(&[b"SET".as_slice(), b"key", &within]), Value::ok());
        connection.send(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1048577\r\n").unwrap();
        assert_eq!(connection.read().unwrap().text(), "ERR Protocol error: invalid bulk length");
        assert!(connection.is_closed_by_server());
        let mut connection = server.connect();
        assert_eq!(connection.line("STRLEN key"), Value::Integer(1 << 20));
        let refused = connection.command(&["APPEND", "key", "y"]);
        assert_eq!(refused.text(), "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        assert_eq!(connection.line("STRLEN key"), Value::Integer(1 << 20));
    }
}

#[test]
fn query_longer_than_the_query_buffer_limit_ends_its_connection_only() {
    for driver in DRIVERS {
        let limits = ["--client-query-buffer-limit", "2mb"];
        let server = Setup::annulus().driver(driver).arguments(&limits).start();
        let mut other = server.connect();
        let mut connection = server.connect();
        let mut query = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$100000000\r\n".to_vec();
        query.resize(16 << 20, b'x');
        // The server closes in the middle of this.
        let _ = connection.send(&query);
        assert!(connection.is_closed_by_server());
        assert_eq!(other.line("EXISTS key"), Value::Integer(0));
    }
}

#[test]
fn command_with_very_many_arguments_is_run() {
    for driver in DRIVERS {
        let server = Setup::annulus().driver(driver).shards(2).start();
        let mut connection = server.connect();
        let mut arguments = vec!["MSET".to_owned()];
        arguments.extend((0..200_000).flat_map(|index| [format!("key:{index}"), index.to_string()]));
        assert_eq!(connection.command(&arguments), Value::ok());
        assert_eq!(connection.line("DBSIZE"), Value::Integer(200_000));
        let mut arguments = vec!["MGET".to_owned()];
        arguments.extend((0..200_000).rev().map(|index| format!("key:{index}")));
        let reply = connection.command(&arguments);
        assert!(
            reply
                .items()
                .iter()
                .rev()
                .enumerate()
                .all(|(index, value)| *value == Value::bulk(index.to_string()))
        );
    }
}

#[test]
fn requests_split_at_every_byte_are_understood() {
    for driver in DRIVERS {
        let server = Setup::annulus().driver(driver).shards(2).start();
        let bytes =
            [encode(&["SET", "k", "v\r\n*1\r\n"]), encode(&["GET", "k"]), b"ECHO \"in line\"\r\n".to_vec()]
                .concat();
        for at in 1..bytes.len() {
            let mut connection = server.connect();
            let (first, second) = bytes.split_at(at);
            connection.send(first).unwrap();
            // Whatever was whole is answered before the rest is sent: so the server has seen the cut.
            let mut other = Connection::tcp(server.port()).unwrap();
            other.line("PING");
            connection.send(second).unwrap();
            assert_eq!(connection.read().unwrap(), Value::ok(), "cut at {at}");
            assert_eq!(connection.read().unwrap(), Value::bulk("v\r\n*1\r\n"), "cut at {at}");
            assert_eq!(connection.read().unwrap(), Value::bulk("in line"), "cut at {at}");
        }
    }
}
