//! A full disk: writes are refused and say why, reads go on, nothing acknowledged is lost, and writing goes on as soon as there
//! is room. On a small ext4 of its own, in a file, mounted through a loop device: that needs root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use annulus_tests::{
    process::{say_aloud, wait_for},
    resp::{Connection, Value},
    server::{DRIVERS, Server, Setup, scratch_dir, target_is_redis},
};
use tempfile::TempDir;

const DISK: &str = "64M";
const BALLAST_BYTES: usize = 24 << 20;
const VALUE_BYTES: usize = 32 << 10;

/// A mounted file system of its own; unmounted when dropped.
struct SmallDisk {
    home: TempDir,
}

impl SmallDisk {
    /// `None`, said aloud, where this is not permitted.
    fn new() -> Option<Self> {
        let disk = Self { home: scratch_dir() };
        let image = disk.home.path().join("image");
        fs::create_dir(disk.root()).expect("a mount point can be made");
        let image_text = image.display().to_string();
        let steps: [&[&str]; 3] = [
            &["truncate", "-s", DISK, &image_text],
            &["mkfs.ext4", "-q", "-F", "-m", "0", &image_text],
            &["mount", "-o", "loop", &image_text, &disk.root().display().to_string()],
        ];
        for step in steps {
            let output = Command::new(step[0]).args(&step[1..]).output();
            let said = match output {
                Ok(output) if output.status.success() => continue,
                Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
                Err(error) => error.to_string(),
            };
            say_aloud(&format!(
                "SKIPPED: the full-disk test needs a loop device: {}: {}",
                step.join(" "),
                said.trim()
            ));
            return None;
        }
        Some(disk)
    }

    fn root(&self) -> PathBuf {
        self.home.path().join("mnt")
    }

    fn ballast(&self) -> PathBuf {
        self.root().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that a failed test left behind is killed a moment later.
        let _ = Command::new("umount").arg("-l").arg(self.root()).output();
    }
}

fn value(number: usize) -> Vec<u8> {
    let mut value = format!("{number}:").into_bytes();
    value.resize(VALUE_BYTES, b'a' + (number % 26) as u8);
    value
}

fn set(connection: &mut Connection, number: usize) -> Value {
    connection.command(&[b"SET".as_slice(), format!("key:{number}").as_bytes(), &value(number)])
}

/// Writes until a write is refused; how many were acknowledged.
fn fill(connection: &mut Connection, from: usize) -> usize {
    for number in from.. {
        let reply = set(connection, number);
        if reply != Value::ok() {
            assert!(reply.text().starts_with("MISCONF "), "refused with {reply}");
            return number;
        }
        assert!(number * VALUE_BYTES < 64 << 20, "more was acknowledged than fits the disk");
    }
    unreachable!("the loop ends by returning");
}

fn all_there(connection: &mut Connection, written: usize) {
    for number in 0..written {
        let reply = connection.line(&format!("GET key:{number}"));
        assert!(reply == Value::Bulk(value(number)), "key:{number} of {written} is lost");
    }
}

fn start_on(root: &Path, ballast: &Path, driver: &'static str) -> Server {
    fs::write(ballast, vec![1; BALLAST_BYTES]).expect("the ballast fits");
    let setup =
        Setup::annulus().driver(driver).durability("always").segment_size("2mb").dir(&root.join("data"));
    setup.start()
}

#[test]
fn full_disk_refuses_writes_until_there_is_room() {
    // redis-server gives up in this state.
    if target_is_redis() {
        return;
    }
    for driver in DRIVERS {
        let Some(disk) = SmallDisk::new() else { return };
        let mut server = start_on(&disk.root(), &disk.ballast(), driver);
        let mut connection = server.connect();
        let written = fill(&mut connection, 0);
        assert!(written > 100, "the disk was full after {written} writes: {}", server.log());
        // What is smaller may still fit, until it does not either.
        let counted = (1..1_000_000)
            .find(|&count| connection.line("INCR counter") != Value::Integer(count))
            .expect("a disk is not without end")
            - 1;
        for command in ["INCR counter", "DEL key:1", "EXPIRE key:2 100", "MSET a 1 b 2", "FLUSHALL"] {
            let reply = server.connect().line(command);
            assert!(reply.is_error() && reply.text().starts_with("MISCONF "), "{command}: {reply}");
        }
        all_there(&mut connection, written);
        let keys = written as i64 + i64::from(counted > 0);
        assert_eq!(connection.line("DBSIZE"), Value::Integer(keys));
        fs::remove_file(disk.ballast()).expect("the ballast can be removed");
        wait_for("writes are taken again", || set(&mut connection, written) == Value::ok());
        assert_eq!(connection.line("INCR counter"), Value::Integer(counted + 1));
        for number in written + 1..written + 200 {
            assert_eq!(set(&mut connection, number), Value::ok());
        }
        server.kill();
        server.start_again();
        let mut connection = server.connect();
        all_there(&mut connection, written + 200);
        assert_eq!(connection.line("GET counter"), Value::bulk((counted + 1).to_string()));
        drop(server);
    }
}

#[test]
fn start_on_a_full_disk_serves_what_was_acknowledged() {
    if target_is_redis() {
        return;
    }
    let Some(disk) = SmallDisk::new() else { return };
    let mut server = start_on(&disk.root(), &disk.ballast(), "auto");
    let written = fill(&mut server.connect(), 0);
    server.kill();
    server.start_again();
    let mut connection = server.connect();
    all_there(&mut connection, written);
    fs::remove_file(disk.ballast()).expect("the ballast can be removed");
    wait_for("writes are taken again", || set(&mut connection, written) == Value::ok());
    assert!(server.stop().success());
}
