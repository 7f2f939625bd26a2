//! The simulator's own tests: runs repeat exactly, healthy code is clean, and every planted mistake is found.

mod corruption;

use annulus_tests::sim::plan::{MISTAKES, Mistake};
use annulus_tests::sim::run::{Options, run};

/// Seeds within which each mistake must be found. The worst of them needs about a third of it.
const SEEDS_TO_FIND: u64 = 120;
/// Seeds that must be clean; long runs are the business of `simulate`.
const SEEDS_CLEAN: u64 = 200;

fn replay(seed: u64, checkpoints: bool) -> String {
    let checkpoints = if checkpoints { " --checkpoints" } else { "" };
    format!(
        "replay: cargo run --release -p annulus-tests --bin simulate -- --seed {seed}{checkpoints} --trace"
    )
}

#[test]
fn a_seed_gives_the_same_trace_every_time() {
    for seed in 0..12 {
        let once = run(Options { seed, ..Options::default() });
        let again = run(Options { seed, trace: true, ..Options::default() });
        assert_eq!(once.trace_hash, again.trace_hash, "seed {seed}");
        assert_eq!(once.counts, again.counts, "seed {seed}");
        assert!(!again.trace.is_empty() && once.trace.is_empty());
    }
}

#[test]
fn different_seeds_give_different_traces() {
    let hashes: std::collections::BTreeSet<u64> =
        (0..12).map(|seed| run(Options { seed, ..Options::default() }).trace_hash).collect();
    assert_eq!(hashes.len(), 12);
}

#[test]
fn seeds_without_mistakes_are_clean() {
    for seed in 0..SEEDS_CLEAN {
        for checkpoints in [false, true] {
            let report = run(Options { seed, checkpoints, ..Options::default() });
            assert_eq!(report.failure, None, "{}", replay(seed, checkpoints));
        }
    }
}

/// Seeds that once failed, and why. A change of the plan may turn one into another run; it stays clean all the same.
const REGRESSIONS: [(u64, &str); 11] = [
    (
        201_215,
        "a log that failed for a part that another one lacks told nobody, and its clients waited for ever",
    ),
    (
        18,
        "ids of transactions began again after a restart: a lost part was taken for one of an older transaction",
    ),
    (34, "the same, with half an MSET left"),
    (48, "a read ran before the read over several shards that its connection had sent earlier"),
    (1002, "the first sync of a life passed over the segments prepared before it"),
    (
        1045,
        "a part waited behind a command, which waited for a younger transaction, which waited for the part's",
    ),
    (3065, "a coordinator was never told that its transaction had been lost with a failed log"),
    (1015, "replies that a shard owed to another shard's clients were never given up when its log failed"),
    (1248, "the same, with operations over several shards"),
    (
        2146,
        "a frame torn by one crash became whole by the torn write after it (the exact case: storage's tests)",
    ),
    (11_724, "a durable reply queued behind a higher gate was forgotten when the log failed"),
];

/// The same, of runs with checkpoints.
const REGRESSIONS_WITH_CHECKPOINTS: [(u64, &str); 5] = [
    (356, "a segment that could not be renamed was left behind younger ones: the log had a hole"),
    (1394, "a log that could not be synced was expected to take writes (the simulator's mistake)"),
    (1589, "a stop waited for ever for a checkpoint of a log without space"),
    (1758, "the same, of several shards"),
    (1984, "a shard slept over the next checkpoint that was asked for"),
];

#[test]
fn seeds_that_once_failed_are_clean() {
    let with = REGRESSIONS_WITH_CHECKPOINTS.map(|(seed, story)| (seed, story, true));
    for (seed, story, checkpoints) in
        REGRESSIONS.map(|(seed, story)| (seed, story, false)).into_iter().chain(with)
    {
        let report = run(Options { seed, checkpoints, ..Options::default() });
        assert_eq!(report.failure, None, "{story}; {}", replay(seed, checkpoints));
    }
}

fn finds(mistake: Mistake) {
    let found = (0..SEEDS_TO_FIND)
        .find(|&seed| run(Options { seed, mistake: Some(mistake), ..Options::default() }).failure.is_some());
    assert!(found.is_some(), "{} was not found within {SEEDS_TO_FIND} seeds", mistake.name());
}

macro_rules! found {
    ($($name:ident: $mistake:ident;)+) => {
        $(#[test] fn $name() { finds(Mistake::$mistake); })+

        #[test]
        fn every_mistake_has_a_test() {
            let tested = [$(Mistake::$mistake),+];
            assert!(MISTAKES.iter().all(|mistake| tested.contains(mistake)));
        }
    };
}

found! {
    an_early_acknowledgement_is_found: AcknowledgeEarly;
    a_segment_without_its_sync_is_found: SkipSync;
    a_lost_message_is_found: LoseMessage;
    swapped_replies_are_found: SwapReplies;
    a_forgotten_read_gate_is_found: ForgetReadGate;
    a_skipped_checksum_is_found: SkipChecksum;
    a_frame_applied_twice_is_found: ReplayTwice;
    a_key_that_outlives_its_time_is_found: ExpireLate;
    half_a_commit_is_found: HalfCommit;
}
