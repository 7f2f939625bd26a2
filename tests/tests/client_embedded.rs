//! What embedding promises beside what any client does: who may open a directory, what a crash, a panic, a dropped or a
//! forgotten future leaves behind, and that nobody waits for ever.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    panic,
    path::Path,
    pin::pin,
    process::{Command as Process, Stdio},
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use annulus_client::{
    Client, Command, Durability, Embedded, EmbeddedOptions, Error, Pipeline, StoreError, Value, blocking,
    commands::*,
};
use annulus_tests::process::wait_for;
use annulus_tests::server::{DRIVERS, Setup, scratch_dir};
use bytes::Bytes;

fn open(dir: &Path, shards: usize) -> Embedded {
    Embedded::open(dir, super::embedded_options(shards)).expect("the store opens")
}

fn text(client: &blocking::Client, key: &str) -> Option<String> {
    client.get(key).unwrap().map(|value| String::from_utf8_lossy(&value).into_owned())
}

/// Wakes a thread, and counts how often.
struct Counting(thread::Thread, Mutex<usize>);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        *self.1.lock().unwrap() += 1;
        self.0.unpark();
    }
}

fn waker() -> (Arc<Counting>, Waker) {
    let counting = Arc::new(Counting(thread::current(), Mutex::new(0)));
    (Arc::clone(&counting), Waker::from(counting))
}

/// The plainest executor: no runtime of any kind is needed.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let (_, waker) = waker();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        thread::park();
    }
}

#[test]
fn the_same_directory_is_served_and_embedded_in_turn() {
    let dir = scratch_dir();
    let data = dir.path().join("data");
    let store = open(&data, 2);
    store.blocking().set("by", "program").unwrap();
    store.close().unwrap();

    let mut server = Setup::annulus().shards(1).dir(&data).start();
    let client = blocking::Client::connect(super::url(&server)).unwrap();
    assert_eq!(text(&client, "by").unwrap(), "program");
    client.set("by", "server").unwrap();
    client.sadd("set", ["a", "b"]).unwrap();
    assert!(server.stop().success());

    let store = open(&data, 3);
    assert_eq!(text(&store.blocking(), "by").unwrap(), "server");
    assert_eq!(store.blocking().scard("set"), Ok(2));
    // Dropped, it is closed in order too.
    drop(store);
    assert_eq!(text(&open(&data, 1).blocking(), "by").unwrap(), "server");
}

#[test]
fn a_program_may_serve_connections_too() {
    let dir = scratch_dir();
    let socket = dir.path().join("socket");
    let options = super::embedded_options(2).unix_socket(&socket);
    let store = Embedded::open(dir.path().join("data"), options).unwrap();
    let (inside, outside) =
        (store.blocking(), blocking::Client::connect(format!("unix://{}", socket.display())).unwrap());
    for index in 0..50 {
        let (key, other) = (format!("in:{index}"), format!("out:{index}"));
        inside.set(&key, &other).unwrap();
        assert_eq!(text(&outside, &key).unwrap(), other);
        outside.set(&other, &key).unwrap();
        assert_eq!(text(&inside, &other).unwrap(), key);
    }
    let mut subscriber = inside.subscriber().unwrap();
    subscriber.subscribe(["news"]).unwrap();
    assert_eq!(outside.publish("news", "hello"), Ok(1));
    assert_eq!(subscriber.next().unwrap().unwrap().payload, "hello");
    assert!(inside.client_list().unwrap().contains("addr=embedded:0 "));
    store.close().unwrap();
    assert!(!socket.exists());
    assert!(outside.get("in:1").unwrap_err().is_connection());
}

#[test]
fn a_directory_in_use_or_of_a_newer_version_is_a_typed_error() {
    let dir = scratch_dir();
    let data = dir.path().join("data");
    let store = open(&data, 1);
    let again = Embedded::open(&data, EmbeddedOptions::new()).unwrap_err();
    assert!(matches!(&again, StoreError::InUse { dir, .. } if *dir == data), "{again:?}");
    // The refusal leaves the store alone.
    store.blocking().set("k", "v").unwrap();
    store.close().unwrap();
    let mut server = Setup::annulus().dir(&data).start();
    let pid = server.pid();
    let served = Embedded::open(&data, EmbeddedOptions::new()).unwrap_err();
    assert!(matches!(served, StoreError::InUse { holder_pid: Some(holder), .. } if holder == pid));
    server.stop();

    let manifest = data.join("MANIFEST");
    let written = fs::read_to_string(&manifest).unwrap();
    let (covered, _) = written.rsplit_once("checksum").unwrap();
    let newer = covered.replace("format 1\n", "format 999\n");
    let checksum = crc32fast::hash(newer.as_bytes());
    fs::write(&manifest, format!("{newer}checksum {checksum:08x}\n")).unwrap();
    let refused = Embedded::open(&data, EmbeddedOptions::new()).unwrap_err();
    assert!(matches!(refused, StoreError::NewerFormat { found: 999, .. }), "{refused:?}");

    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("letter.txt"), "not ours").unwrap();
    let refused = Embedded::open(&foreign, EmbeddedOptions::new()).unwrap_err();
    assert!(matches!(refused, StoreError::NotAStore(_)), "{refused:?}");
    let none = Embedded::open(dir.path().join("new"), EmbeddedOptions::new().shards(0)).unwrap_err();
    assert!(matches!(none, StoreError::Settings(_)), "{none:?}");
}

#[test]
fn a_damaged_log_is_a_typed_error_and_leaves_nothing_behind() {
    let dir = scratch_dir();
    let data = dir.path().join("data");
    let options = super::embedded_options(2).durability(Durability::Always);
    let store = Embedded::open(&data, options).unwrap();
    for index in 0..200 {
        store.blocking().set(format!("k:{index}"), "v".repeat(500)).unwrap();
    }
    store.close().unwrap();
    let segment = data.join("epoch-0001/shard-001/000000000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    let whole = bytes.clone();
    bytes[20_000..20_100].fill(0xff);
    fs::write(&segment, bytes).unwrap();
    let refused = Embedded::open(&data, EmbeddedOptions::new().shards(2)).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Damaged(text) if text.contains("000000000001.log")),
        "{refused:?}"
    );
    // Not even a lock: repaired, it opens in the same process.
    fs::write(&segment, whole).unwrap();
    assert_eq!(open(&data, 2).blocking().dbsize(), Ok(200));
}

#[test]
fn threads_and_tasks_share_a_store_on_any_executor() {
    let dir = scratch_dir();
    let store = open(dir.path(), 2);
    let client = store.client();
    thread::scope(|scope| {
        for number in 0..4 {
            let own = store.blocking();
            let shared = client.clone();
            scope.spawn(move || {
                for round in 0..200 {
                    let key = format!("thread:{number}");
                    own.set(&key, round.to_string()).unwrap();
                    // An async command without any runtime.
                    let seen = block_on(shared.get(&key)).unwrap().unwrap();
                    assert_eq!(seen, round.to_string());
                    block_on(shared.incr("sum")).unwrap();
                }
            });
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        // More than the queues hold: some wait for room.
        let tasks: Vec<_> = (0..5000)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.incr("sum").await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        // And without a second thread that could help.
        let mut found = client.scan(annulus_client::ScanFilter::all());
        let mut keys = 0;
        while let Some(key) = found.next().await {
            key.unwrap();
            keys += 1;
        }
        assert_eq!(keys, 5);
        let session = client.session().await.unwrap();
        assert_eq!(session.get("sum").await.unwrap().unwrap(), "5800");
    });
}

#[test]
fn large_values_go_both_ways() {
    let dir = scratch_dir();
    let store = open(dir.path(), 2);
    let client = store.blocking();
    const LARGE: usize = 700_000;
    for bytes in [0, 1, 4095, 4096, 4097, 65_536, LARGE] {
        let value = Bytes::from((0..bytes).map(|index| index as u8).collect::<Vec<u8>>());
        client.command::<()>(Command::new("SET").key("large").bytes(value.clone())).unwrap();
        assert_eq!(client.get("large").unwrap().unwrap(), value);
        client.set("copied", &value).unwrap();
        assert_eq!(client.getrange("copied", 0, -1).unwrap(), value);
    }
    // A pipeline whose replies are more than a connection may have waiting.
    let pipeline = (0..20).fold(Pipeline::new(), |it, _| it.with(Command::new("GET").key("large")));
    for reply in client.pipeline(pipeline).unwrap() {
        assert!(matches!(reply, Ok(Value::Bulk(value)) if value.len() == LARGE));
    }
    let pipeline = (0..5000)
        .fold(Pipeline::new(), |it, index| it.with(Command::new("SET").key(format!("k:{index}")).arg("v")));
    assert!(client.pipeline(pipeline).unwrap().iter().all(Result::is_ok));
    assert_eq!(client.dbsize(), Ok(5002));
}

#[test]
fn a_dropped_future_gives_up_the_reply_and_a_forgotten_one_harms_nobody() {
    let dir = scratch_dir();
    let store = open(dir.path(), 1);
    let client = store.client();
    let (woken, waker) = waker();
    let mut context = Context::from_waker(&waker);
    for index in 0..600 {
        let mut call = Box::pin(client.incr("sum"));
        // Sent, and most likely not answered.
        while call.as_mut().poll(&mut context).is_pending() && index % 3 == 0 {
            thread::park();
        }
        if index % 3 == 1 {
            std::mem::forget(call);
        }
    }
    assert_eq!(block_on(client.incr("sum")), Ok(601));
    // One that was never polled was never sent.
    drop(client.incr("sum"));
    assert_eq!(block_on(client.incr("sum")), Ok(602));
    assert!(*woken.1.lock().unwrap() <= 600);

    // A forgotten client, and a forgotten session in the middle of waiting.
    let session = store.blocking().session().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| session.blpop(["none"], Some(Duration::from_millis(20))).unwrap());
    });
    std::mem::forget(session);
    std::mem::forget(store.client());
    std::mem::forget(client);
    store.close().unwrap();
    assert_eq!(text(&open(dir.path(), 1).blocking(), "sum").unwrap(), "602");
}

#[test]
fn a_panic_in_the_program_is_nothing_to_the_store() {
    let dir = scratch_dir();
    let store = open(dir.path(), 2);
    let client = store.blocking();
    let panicked = thread::spawn({
        let (client, shared) = (client.clone(), store.client());
        move || {
            client.set("before", "it").unwrap();
            let (_, waker) = waker();
            let mut call = Box::pin(shared.set("during", "it"));
            let _ = call.as_mut().poll(&mut Context::from_waker(&waker));
            panic::panic_any("a program's own mistake");
        }
    });
    assert!(panicked.join().is_err());
    assert_eq!(text(&client, "before").unwrap(), "it");
    wait_for("what was sent is carried out", || text(&client, "during").is_some());

    // A waker that panics, on the shard's own thread.
    struct Explosive(mpsc::Sender<()>);
    impl Wake for Explosive {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
            panic!("a waker that panics");
        }
    }
    let (exploded, heard) = mpsc::channel();
    let waker = Waker::from(Arc::new(Explosive(exploded)));
    let shared = store.client();
    let heard = (0..1000).any(|_| {
        let mut call = Box::pin(shared.set("k", "v"));
        if call.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return false;
        }
        heard.recv_timeout(Duration::from_secs(10)).is_ok()
    });
    assert!(heard, "no reply was ever waited for");
    assert_eq!(text(&client, "k").unwrap(), "v");
    store.close().unwrap();
}

#[test]
fn after_close_every_command_fails_and_nobody_hangs() {
    let dir = scratch_dir();
    let store = open(dir.path(), 2);
    let (client, waiting) = (store.blocking(), store.client());
    let session = client.session().unwrap();
    let mut subscriber = client.subscriber().unwrap();
    subscriber.subscribe(["news"]).unwrap();
    let acknowledged = thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let client = client.clone();
                scope.spawn(move || {
                    for round in 0.. {
                        if let Err(error) = client.set(format!("{writer}:{round}"), "v") {
                            assert!(error.is_connection(), "{error:?}");
                            return round;
                        }
                    }
                    0
                })
            })
            .collect();
        let sleeper = scope.spawn(|| session.blpop(["none"], None));
        let listener = scope.spawn(move || subscriber.next());
        wait_for("the writers are at it", || client.dbsize().unwrap() > 100);
        store.close().unwrap();
        assert!(sleeper.join().unwrap().is_err());
        assert!(listener.join().unwrap().unwrap().is_err());
        writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<u32>>()
    });
    let closed = client.get("k").unwrap_err();
    assert!(closed.is_connection() && !closed.maybe_applied(), "{closed:?}");
    assert!(block_on(waiting.get("k")).unwrap_err().is_connection());
    assert!(client.session().is_err());

    let reopened = open(dir.path(), 1).blocking();
    // That store was dropped at once, which closes it.
    assert!(reopened.ping().is_err());
    let store = open(dir.path(), 1);
    for (writer, rounds) in acknowledged.into_iter().enumerate() {
        for round in 0..rounds {
            assert_eq!(text(&store.blocking(), &format!("{writer}:{round}")).unwrap(), "v");
        }
    }
}

#[test]
fn a_slow_subscriber_is_cut_off_at_its_limit() {
    let dir = scratch_dir();
    let options = super::embedded_options(1)
        .setting("client-output-buffer-limit", "pubsub 1mb 0 0")
        .and_then(|options| options.setting("maxclients", "10"))
        .unwrap();
    let store = Embedded::open(dir.path(), options).unwrap();
    let client = store.blocking();
    let mut slow = client.subscriber().unwrap();
    slow.subscribe(["news"]).unwrap();
    let message = "x".repeat(100_000);
    wait_for("it's given up", || client.publish("news", &message).unwrap() == 0);
    // What was delivered before is still there; then it's told that something is missing, and goes on.
    let lost = (0..10_000).find_map(|_| slow.next().unwrap().err());
    assert!(lost.is_some_and(|error| error.is_connection()));
    slow.subscribe(["others"]).unwrap();
    assert_eq!(client.publish("news", "again"), Ok(1));
}

/// The program that embeds a store, and is killed; only when the test below starts it.
#[test]
fn host_of_a_store() {
    let Ok(dir) = env::var("ANNULUS_TEST_HOST_DIR") else { return };
    let driver = env::var("ANNULUS_TEST_HOST_DRIVER").unwrap();
    let options = super::embedded_options(2).durability(Durability::Always);
    let store = Embedded::open(dir, options.setting("io-driver", &driver).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let client: Client = store.client();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..16)
            .map(|writer| {
                let client = client.clone();
                tokio::spawn(async move { write_for_ever(&client, writer).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

async fn write_for_ever(client: &Client, writer: u32) {
    for round in 0_u32.. {
        let key = format!("{writer}:{round}");
        let transaction = Pipeline::new()
            .with(Command::new("SET").key(&key).arg("v"))
            .with(Command::new("SET").key(format!("twin:{key}")).arg("v"));
        if round.is_multiple_of(4) {
            client.transaction(transaction).await.unwrap();
        } else {
            client.set(&key, "v").await.unwrap();
        }
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "\nacknowledged {key}");
    }
}

#[test]
fn what_a_killed_program_was_told_is_there_when_its_store_is_opened_again() {
    for driver in DRIVERS {
        let dir = scratch_dir();
        let data = dir.path().join("data");
        for life in 1..=3 {
            let mut host = Process::new(env::current_exe().unwrap())
                .args(["--exact", "client_embedded::host_of_a_store", "--nocapture", "--test-threads=1"])
                .env("ANNULUS_TEST_HOST_DIR", &data)
                .env("ANNULUS_TEST_HOST_DRIVER", driver)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
            let acknowledged = |line: Result<String, _>| {
                line.ok().and_then(|line| line.strip_prefix("acknowledged ").map(str::to_owned))
            };
            let mut keys: Vec<String> = lines.by_ref().filter_map(acknowledged).take(300 * life).collect();
            host.kill().unwrap();
            host.wait().unwrap();
            // What it had said before it died, and had not been read.
            keys.extend(lines.filter_map(acknowledged));
            assert!(keys.len() >= 300 * life, "the host said {} only", keys.len());

            let store = open(&data, life);
            let client = store.blocking();
            for key in &keys {
                assert_eq!(text(&client, key).as_deref(), Some("v"), "{key} is missing");
                let round: u32 = key.split_once(':').unwrap().1.parse().unwrap();
                let twin = text(&client, &format!("twin:{key}"));
                assert_eq!(twin.is_some(), round.is_multiple_of(4), "{key} without its twin");
            }
            client.flushall().unwrap();
            store.close().unwrap();
        }
    }
}

#[test]
fn an_error_says_whether_a_command_may_have_been_carried_out() {
    let dir = scratch_dir();
    let store = open(dir.path(), 1);
    let client = store.blocking();
    client.set("text", "x").unwrap();
    let refused = client.incr("text").unwrap_err();
    assert!(matches!(refused, Error::Server { .. }) && !refused.maybe_applied());
    assert!(matches!(
        client.command::<Value>(Command::new("SUBSCRIBE").arg("c")),
        Err(Error::Unsupported(_))
    ));
    let wrong = client.command::<i64>(Command::new("GET").key("text")).unwrap_err();
    assert!(matches!(wrong, Error::Unexpected { .. }));
    let broken = Pipeline::new().with(Command::new("NOSUCH")).with(Command::new("SET").key("k").arg("v"));
    assert!(client.transaction(broken).is_err());
    assert_eq!(client.get("k"), Ok(None));
}
