//! Command scripts (`scripts/*.txt`), run against redis-server, which keeps their expectations true, and against
//! ours on every driver and several numbers of shards.

use std::{fs, path::PathBuf};

use annulus_tests::{
    script,
    server::{DRIVERS, Setup},
};

fn scripts() -> Vec<PathBuf> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts");
    let entries = fs::read_dir(dir).expect("the scripts are there");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a directory can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {dir}");
    paths
}

fn run_all(setup: &Setup, oracle: bool) {
    let server = setup.start();
    let mut differences = Vec::new();
    for path in scripts() {
        let reply = server.connect().command(&["FLUSHALL"]);
        assert!(!reply.is_error(), "{reply}");
        differences.extend(script::run(&path, &mut server.connect(), oracle));
    }
    assert!(
        differences.is_empty(),
        "{} differences on {setup:?}:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn scripts_say_what_redis_does() {
    run_all(&Setup::redis().arguments(&["--enable-debug-command", "yes"]), true);
}

#[test]
fn scripts_hold_on_each_driver_and_number_of_shards() {
    if annulus_tests::server::target_is_redis() {
        return;
    }
    for driver in DRIVERS {
        for shards in [1, 2, 3] {
            run_all(&Setup::annulus().driver(driver).shards(shards), false);
        }
    }
}
