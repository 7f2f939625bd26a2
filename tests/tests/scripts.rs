//! Command scripts (`scripts/*.txt`), run in three ways: against redis-server, which keeps their expectations true; against ours over a
//! socket, on every driver and several numbers of shards; and against whole simulated servers.

use std::path::Path;

use annulus_tests::{
    script::{self, Speaker as _},
    server::{DRIVERS, Setup, target_is_redis},
    sim::host::Host,
};

/// Runs every script by `run`, which says what differs.
fn run_all(on: &str, mut run: impl FnMut(&Path) -> Vec<String>) {
    let differences: Vec<String> = script::all().iter().flat_map(|path| run(path)).collect();
    let count = differences.len();
    assert!(differences.is_empty(), "{count} differences on {on}:\n{}", differences.join("\n"));
}

fn run_all_over_sockets(setup: &Setup, oracle: bool) {
    let server = setup.start();
    run_all(&format!("{setup:?}"), |path| {
        let reply = server.connect().command(&["FLUSHALL"]);
        assert!(!reply.is_error(), "{reply}");
        script::run(path, &mut server.connect(), oracle)
    });
}

#[test]
fn scripts_say_what_redis_does() {
    run_all_over_sockets(&Setup::redis().arguments(&["--enable-debug-command", "yes"]), true);
}

#[test]
fn scripts_hold_on_each_driver_and_number_of_shards() {
    if target_is_redis() {
        return;
    }
    for driver in DRIVERS {
        for shards in [1, 2, 3] {
            run_all_over_sockets(&Setup::annulus().driver(driver).shards(shards), false);
        }
    }
}

#[test]
fn scripts_hold_in_simulation() {
    for shards in [1, 2, 3] {
        let mut host = Host::start(shards);
        run_all(&format!("{shards} simulated shards"), |path| {
            let reply = host.connect().ask(&[b"FLUSHALL".to_vec()]);
            assert!(!reply.is_error(), "{reply}");
            script::run(path, &mut host.connect(), false)
        });
    }
}
