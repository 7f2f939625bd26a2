//! Starts that cannot succeed: each ends by itself, not with success, and says what is wrong and where.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use annulus_tests::{
    binaries,
    process::{self, PATIENCE},
    resp::Value,
    server::{DRIVERS, Failed, Setup, free_port, scratch_dir, target_is_redis},
};

/// The start must fail, with this exit code, and say all of this.
#[track_caller]
fn refused(result: Result<annulus_tests::server::Server, Failed>, code: i32, said: &[&str]) {
    let Err(failed) = result else { panic!("the server started; it should have said {said:?}") };
    let status = failed.status.unwrap_or_else(|| panic!("the server hangs: {}", failed.log));
    assert_eq!(status.code(), Some(code), "{}", failed.log);
    for part in said {
        assert!(failed.log.contains(part), "{part:?} is not in:\n{}", failed.log);
    }
    assert!(!failed.log.contains("panicked"), "{}", failed.log);
}

fn run(arguments: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(binaries::annulus());
    process::without_our_settings(&mut command).args(arguments).current_dir(directory);
    process::run(&mut command, b"", PATIENCE)
}

#[test]
fn port_in_use_is_refused_by_its_number() {
    for driver in DRIVERS {
        let first = Setup::annulus().driver(driver).shards(2).start();
        let second = Setup::annulus().driver(driver).shards(2).port(first.port()).try_start();
        // The readiness probe would reach the first server, so the second must have ended by itself.
        let Err(failed) = second else {
            let mut second = second.unwrap();
            let status = second.wait_end(PATIENCE);
            assert_eq!(status.code(), Some(1), "{}", second.log());
            assert!(second.log().contains(&first.port().to_string()), "{}", second.log());
            assert!(second.log().to_lowercase().contains("in use"), "{}", second.log());
            continue;
        };
        refused(Err(failed), 1, &[&first.port().to_string(), "in use"]);
        assert_eq!(first.connect().line("PING"), Value::simple("PONG"));
    }
}

#[test]
fn directory_that_cannot_be_made_is_refused() {
    if target_is_redis() {
        return;
    }
    let home = scratch_dir();
    let file = home.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    for dir in [file.join("data"), file.clone(), Path::new("/proc/annulus-data").to_path_buf()] {
        let result = Setup::annulus().dir(&dir).try_start();
        refused(result, 1, &[&dir.display().to_string()]);
    }
    assert_eq!(fs::read(&file).unwrap(), b"not a directory");
}

#[test]
fn foreign_directory_is_refused_and_left_as_it_is() {
    if target_is_redis() {
        return;
    }
    let home = scratch_dir();
    fs::write(home.path().join("precious.txt"), "somebody's").unwrap();
    let result = Setup::annulus().dir(home.path()).try_start();
    refused(result, 1, &[&home.path().display().to_string(), "precious.txt"]);
    let names: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["precious.txt"]);
    assert_eq!(fs::read(home.path().join("precious.txt")).unwrap(), b"somebody's");
}

#[test]
fn directory_of_a_running_server_is_refused() {
    if target_is_redis() {
        return;
    }
    for driver in DRIVERS {
        let mut first = Setup::annulus().driver(driver).durability("always").start();
        assert_eq!(first.connect().line("SET key v"), Value::ok());
        let result = Setup::annulus().driver(driver).dir(first.data()).try_start();
        refused(result, 1, &[&first.data().display().to_string(), &first.pid().to_string()]);
        assert_eq!(first.connect().line("SET key w"), Value::ok());
        first.kill();
        first.start_again();
        assert_eq!(first.connect().line("GET key"), Value::bulk("w"));
    }
}

/// A text with the checksum line that the manifest ends with.
fn with_checksum(text: &str) -> String {
    format!("{text}checksum {:08x}\n", crc32fast::hash(text.as_bytes()))
}

#[test]
fn newer_format_is_refused() {
    if target_is_redis() {
        return;
    }
    let mut server = Setup::annulus().durability("always").start();
    server.connect().line("SET key v");
    server.stop();
    let manifest = server.data().join("MANIFEST");
    let ours = fs::read_to_string(&manifest).unwrap();
    let (covered, _) = ours.split_once("checksum ").expect("a manifest ends with its checksum");
    assert_eq!(with_checksum(covered), ours, "the test writes manifests as the server does");
    let newer = covered.replace("format 1\n", "format 999\n");
    assert_ne!(newer, covered);
    fs::write(&manifest, with_checksum(&newer)).unwrap();
    let result = Setup::annulus().dir(server.data()).try_start();
    refused(result, 1, &[&manifest.display().to_string(), "999", "newer"]);
    fs::write(&manifest, &ours).unwrap();
    server.start_again();
    assert_eq!(server.connect().line("GET key"), Value::bulk("v"));
}

#[test]
fn damaged_or_missing_manifest_is_refused() {
    if target_is_redis() {
        return;
    }
    let mut server = Setup::annulus().durability("always").start();
    server.connect().line("SET key v");
    server.stop();
    let manifest = server.data().join("MANIFEST");
    let whole = fs::read(&manifest).unwrap();
    let start = || Setup::annulus().dir(server.data()).try_start();
    for at in 0..whole.len() {
        // Every 7th byte keeps this short; every byte is flipped in the storage crate's own tests.
        if at % 7 == 0 {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x01;
            fs::write(&manifest, &damaged).unwrap();
            refused(start(), 1, &[&manifest.display().to_string()]);
        }
    }
    fs::write(&manifest, &whole[..whole.len() / 2]).unwrap();
    refused(start(), 1, &[&manifest.display().to_string()]);
    fs::write(&manifest, b"").unwrap();
    refused(start(), 1, &[&manifest.display().to_string()]);
    fs::remove_file(&manifest).unwrap();
    refused(start(), 1, &[&server.data().display().to_string(), "MANIFEST"]);
    fs::write(&manifest, &whole).unwrap();
    server.start_again();
    assert_eq!(server.connect().line("GET key"), Value::bulk("v"));
}

#[test]
fn wrong_arguments_are_refused_with_a_hint() {
    if target_is_redis() {
        return;
    }
    let home = scratch_dir();
    let cases: [(&[&str], &str); 10] = [
        (&["serve", "--prot", "6379"], "--port"),
        (&["serve", "--port", "x"], "port"),
        (&["serve", "--port", "70000"], "port"),
        (&["serve", "--durability", "sometimes"], "everysec"),
        (&["serve", "--io-driver", "kqueue"], "epoll"),
        (&["serve", "--shards", "0"], "shards"),
        (&["serve", "--shards", "100000"], "shards"),
        (&["serve", "--log-segment-size", "1"], "log-segment-size"),
        (&["serve", "--bind", "nowhere.invalid"], "bind"),
        (&["nonsense"], "nonsense"),
    ];
    for (arguments, hint) in cases {
        let output = run(arguments, home.path());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(hint), "{arguments:?}: {hint:?} is not in: {said}");
        assert!(!home.path().join("annulus-data").exists(), "{arguments:?} made a data directory");
    }
}

#[test]
fn wrong_configuration_file_is_refused_by_file_and_line() {
    if target_is_redis() {
        return;
    }
    let home = scratch_dir();
    let file = home.path().join("wrong.toml");
    let cases = [
        ("port = 7000\nmax-client = 5\n", vec!["wrong.toml", ":2", "max-client", "maxclients"]),
        ("port = \"many\"\n", vec!["wrong.toml", "port"]),
        ("port = 7000\nport = 7001\n", vec!["wrong.toml"]),
        ("port 7000\n", vec!["wrong.toml"]),
        ("durability = \"sometimes\"\n", vec!["wrong.toml", "durability", "everysec"]),
    ];
    for (text, said) in cases {
        fs::write(&file, text).unwrap();
        let output = run(&["serve", "--config", "wrong.toml"], home.path());
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}: {log}");
        for part in said {
            assert!(log.contains(part), "{text}: {part:?} is not in: {log}");
        }
    }
    let output = run(&["serve", "--config", "absent.toml"], home.path());
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("absent.toml"), "{output:?}");
}

#[test]
fn settings_come_from_the_file_the_environment_and_the_command_line() {
    if target_is_redis() {
        return;
    }
    let home = scratch_dir();
    let file = home.path().join("annulus.toml");
    fs::write(&file, "maxclients = 77\ntimeout = 11\ndatabases = 5\n").unwrap();
    let config = ["--config", file.to_str().unwrap(), "--timeout", "22"];
    let server = Setup::annulus().arguments(&config).start();
    let mut connection = server.connect();
    let setting = |connection: &mut annulus_tests::resp::Connection, name: &str| {
        connection.line(&format!("CONFIG GET {name}")).items()[1].text()
    };
    assert_eq!(setting(&mut connection, "maxclients"), "77");
    assert_eq!(setting(&mut connection, "timeout"), "22");
    assert_eq!(setting(&mut connection, "databases"), "5");
    assert!(connection.line("SELECT 5").is_error());
}

#[test]
fn version_help_and_doctor_answer() {
    if target_is_redis() {
        return;
    }
    let home = scratch_dir();
    let version = run(&["--version"], home.path());
    assert!(version.status.success() && version.stdout.starts_with(b"annulus "), "{version:?}");
    let help = run(&["--help"], home.path());
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.status.success() && text.contains("--durability") && text.contains("doctor"), "{text}");
    let doctor = run(&["doctor", "--dir", "."], home.path());
    let text = String::from_utf8_lossy(&doctor.stdout).to_lowercase();
    assert!(matches!(doctor.status.code(), Some(0 | 1)), "{doctor:?}");
    for word in ["io_uring", "direct i/o", "open files", "locked memory"] {
        assert!(text.contains(word), "{word} is not in:\n{text}");
    }
}

#[test]
fn port_and_driver_are_said_at_the_start() {
    if target_is_redis() {
        return;
    }
    for driver in DRIVERS {
        let port = free_port();
        let server = Setup::annulus().driver(driver).durability("everysec").port(port).start();
        for part in [driver, "everysec", &port.to_string()] {
            process::wait_for(&format!("the log says {part}"), || server.log().contains(part));
        }
        let info = server.connect().line("INFO").text();
        assert!(info.contains(&format!("io_driver:{driver}")), "{info}");
    }
}
