//! The power goes while a real server writes to a real file system; what it had acknowledged is there when the power is back.
//! In `everysec` and `none`, and in a build that forgets the sync, something must be missing: that shows that these cuts would find it.
//!
//! The disk is [`annulus_tests::powercut`]'s. `ANNULUS_POWER_CUTS` sets the number of cuts for campaigns, and then a machine that
//! cannot run them is a failure; `ANNULUS_POWER_SEED` replays the choices (not the timing).

mod ledger;

use std::{env, path::Path};

use annulus_tests::{
    powercut::{Cut, PowerDisk},
    process::say_aloud,
    random::{Random, seed_from},
    server::{Server, Setup, target_is_redis},
};
use ledger::{Findings, Ledger};

/// Cuts of one disk: then a new one is made, because recovery takes longer with each.
const CUTS_EACH: usize = 25;
/// The disk serves less than so many requests after enough was written.
const AFTER_MAX: usize = 80;

fn asked_for() -> Option<usize> {
    let text = env::var("ANNULUS_POWER_CUTS").ok()?;
    Some(text.parse().expect("ANNULUS_POWER_CUTS is a number of cuts"))
}

fn power_disk() -> Option<PowerDisk> {
    match PowerDisk::new() {
        Ok(disk) => Some(disk),
        Err(reason) => {
            assert!(asked_for().is_none(), "power cuts were asked for, and cannot be had: {reason}");
            say_aloud(&format!("SKIPPED: power cuts: {reason}"));
            None
        }
    }
}

fn setup(durability: &'static str, shards: usize) -> Setup {
    Setup::annulus().durability(durability).shards(shards).segment_size("1mb")
}

/// Cuts the power `cuts` times under load, or until `enough` was found; what was found, or nothing where there are no such disks.
fn cut_under_load(setup: &Setup, cuts: usize, enough: impl Fn(&Findings) -> bool) -> Option<Findings> {
    let seed = seed_from("ANNULUS_POWER_SEED");
    eprintln!("ANNULUS_POWER_SEED={seed}; {cuts} cuts; {setup:?}");
    let mut random = Random::new(seed);
    let mut all = Findings::default();
    while all.cuts < cuts && !enough(&all) {
        let some = CUTS_EACH.min(cuts - all.cuts);
        all.add(one_disk(setup, some, &enough, &mut random)?);
    }
    eprintln!("in all: {all:?}");
    Some(all)
}

fn one_disk(
    setup: &Setup,
    cuts: usize,
    enough: impl Fn(&Findings) -> bool,
    random: &mut Random,
) -> Option<Findings> {
    // Before the server, so that it goes after it.
    let mut disk = power_disk()?;
    let setup = setup.clone().dir(&disk.root().join("data"));
    let mut ledger = Ledger::new(random);
    let mut all = Findings::default();
    let mut server = setup.start();
    for round in 0..cuts {
        let cut = Cut::random(random, AFTER_MAX);
        let saves = random.one_in(2);
        ledger.run(server.port(), 20 + random.below(400), || {
            // Then the cut may meet a checkpoint under way.
            if saves {
                server.connect().line("BGSAVE");
            }
            disk.arm(cut);
            disk.wait_for_cut();
            server.kill();
        });
        all.cuts += 1;
        disk.restore();
        if random.one_in(4) {
            eprintln!("round {round}: and again during the start");
            all.cuts_while_starting += 1;
            cut_while_starting(&mut disk, &mut server, &setup, random);
        }
        if let Err(failed) = server.try_start_again_as(&setup) {
            assert!(failed.log.contains("that were durable"), "{failed}");
            eprintln!("round {round}: {cut:?}: the start is refused");
            all.refused += 1;
            return Some(all);
        }
        let found = ledger.verify(&mut server.connect());
        eprintln!("round {round}: {cut:?}: {found:?}");
        all.add(found);
        if enough(&all) {
            break;
        }
    }
    all.add(ledger.verify_all(&mut server.connect()));
    Some(all)
}

/// The power goes again, while the server recovers or soon after.
fn cut_while_starting(disk: &mut PowerDisk, server: &mut Server, setup: &Setup, random: &mut Random) {
    disk.arm(Cut::random(random, AFTER_MAX));
    // It may or may not come up before it meets the cut.
    let started = server.try_start_again_as(setup);
    disk.wait_for_cut();
    if started.is_ok() {
        server.kill();
    }
    disk.restore();
}

#[derive(Clone, Copy, PartialEq)]
enum Promise {
    /// All that was acknowledged is there.
    Everything,
    /// Of each shard's writes the last may be gone; and something is gone, or these cuts would show nothing.
    Prefix,
    /// The server is wrong, and is found out: unless more was asked for, that ends the run.
    Nothing,
}

fn holds(promise: Promise, setup: &Setup, cuts: usize) {
    if target_is_redis() {
        return;
    }
    let caught = |found: &Findings| found.missing + found.refused > 0;
    let enough = |found: &Findings| promise == Promise::Nothing && asked_for().is_none() && caught(found);
    let Some(found) = cut_under_load(setup, cuts, enough) else { return };
    if promise == Promise::Nothing {
        assert!(caught(&found), "{cuts} cuts did not find the mistake: {found:?}");
        return;
    }
    assert_eq!((found.holes, found.halves, found.changed, found.refused), (0, 0, 0, 0), "{found:?}");
    if promise == Promise::Everything {
        assert_eq!((found.missing, found.unshown), (0, 0), "{found:?}");
    } else {
        assert!(found.missing > 0, "all that nobody synced survived {cuts} cuts: {found:?}");
    }
}

#[test]
fn acknowledged_writes_survive_power_cuts_on_uring() {
    holds(Promise::Everything, &setup("always", 2).driver("uring"), asked_for().unwrap_or(4));
}

#[test]
fn acknowledged_writes_survive_power_cuts_on_epoll() {
    holds(Promise::Everything, &setup("always", 2).driver("epoll"), asked_for().unwrap_or(3));
}

#[test]
fn everysec_loses_nothing_but_what_came_last() {
    holds(Promise::Prefix, &setup("everysec", 2), asked_for().unwrap_or(3));
}

#[test]
fn none_loses_what_nobody_synced() {
    holds(Promise::Prefix, &setup("none", 2), asked_for().unwrap_or(3));
}

#[test]
fn build_that_forgets_the_sync_is_caught() {
    let forgetful = Path::new(env!("CARGO_BIN_EXE_forgetful"));
    // Not every cut meets a write that was acknowledged and not synced; most runs end at the first or second.
    holds(Promise::Nothing, &setup("always", 2).binary(forgetful), asked_for().unwrap_or(20));
}
