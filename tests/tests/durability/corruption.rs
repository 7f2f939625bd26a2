//! Data directories of stopped servers are damaged at random. A start then refuses with the file, the place and the way out, or all that was
//! acknowledged is there: never is a wrong value served, never does the server panic, hang, or start on less than it had.
//!
//! [`original`] makes directories by real servers over several lives; each trial damages a copy ([`damage`]) and starts on it. A server that
//! believes every frame must be found out: that shows that these trials would find it.
//!
//! `ANNULUS_CORRUPTION_TRIALS` sets the number of trials for campaigns, `ANNULUS_CORRUPTION_SEED` replays one.

mod original;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use annulus_tests::{
    damage::{
        self, Damage, Kind, RealFiles, names_place,
        workload::{check_last_words, contents, difference},
    },
    random::{Random, seed_from},
    server::{Failed, Server, Setup, scratch_dir, target_is_redis},
};
use original::Original;

/// Trials on one original: then another is made.
const TRIALS_EACH: usize = 40;

fn trials() -> usize {
    env::var("ANNULUS_CORRUPTION_TRIALS").map_or(30, |text| text.parse().expect("a number of trials"))
}

/// What starts on damaged directories have led to, by kinds of damage.
#[derive(Debug, Default)]
struct Counts {
    refused: BTreeMap<Kind, usize>,
    /// All was there.
    harmless: BTreeMap<Kind, usize>,
    /// What must not be, in words.
    wrong: Vec<String>,
}

impl Counts {
    fn print(&self) {
        for kind in Kind::ALL {
            let of = |counts: &BTreeMap<Kind, usize>| counts.get(&kind).copied().unwrap_or_default();
            let (refused, harmless) = (of(&self.refused), of(&self.harmless));
            if refused + harmless > 0 {
                eprintln!("{kind:?}: {refused} refused, {harmless} harmless");
            }
        }
        let sum = |counts: &BTreeMap<Kind, usize>| counts.values().sum::<usize>();
        eprintln!(
            "in all: {} refused, {} harmless, {} wrong",
            sum(&self.refused),
            sum(&self.harmless),
            self.wrong.len()
        );
    }
}

/// One copy of an original, damaged.
struct Trial<'a> {
    original: &'a Original,
    data: PathBuf,
    damage: Vec<Damage>,
    setup: Setup,
}

enum Outcome {
    Refused,
    Harmless,
}

impl Trial<'_> {
    fn run(&self, random: &mut Random) -> Result<Outcome, String> {
        match self.setup.try_start() {
            Err(failed) => {
                self.judge_refusal(&failed)?;
                if random.one_in(4) {
                    self.undo_and_start()?;
                }
                Ok(Outcome::Refused)
            }
            Ok(mut server) => {
                self.judge_contents(&server)?;
                if random.one_in(4) {
                    self.go_on(&mut server)?;
                }
                server.kill();
                Ok(Outcome::Harmless)
            }
        }
    }

    fn judge_refusal(&self, failed: &Failed) -> Result<(), String> {
        let status = failed.status.ok_or_else(|| format!("the start hangs: {}", failed.log))?;
        if status.code() != Some(1) || failed.log.contains("panicked") {
            return Err(format!("the start ends with {status}: {}", failed.log));
        }
        let path = self.data.display().to_string();
        let line = failed.log.lines().rev().find(|line| line.contains(&path));
        let line = line.ok_or_else(|| format!("no file is named: {}", failed.log))?;
        let advice = ["restore ", "move it elsewhere", "use the program that wrote it"];
        if !advice.iter().any(|advice| line.contains(advice)) {
            return Err(format!("no way out is named: {line}"));
        }
        if !names_place(line) {
            return Err(format!("no place is named: {line}"));
        }
        Ok(())
    }

    fn judge_contents(&self, server: &Server) -> Result<(), String> {
        let mut connection = server.connect();
        let mut pipeline = |commands: &[Vec<Vec<u8>>]| {
            connection
                .pipeline(commands)
                .map_err(|error| format!("the server closed the connection: {error}"))
        };
        let found = contents(&mut pipeline)?;
        if let Some(difference) = difference(self.original.contents(), &found) {
            return Err(format!("{difference}; the server said: {}", server.log()));
        }
        check_last_words(&mut pipeline)
    }

    /// Nothing was changed by a refused start: with what was damaged back in place, everything is there.
    fn undo_and_start(&self) -> Result<(), String> {
        for damage in self.damage.iter().rev() {
            damage.undo((&RealFiles, self.original.data()), (&mut RealFiles, &self.data));
        }
        let server = self.setup.try_start().map_err(|failed| format!("with the damage undone: {failed}"))?;
        self.judge_contents(&server).map_err(|wrong| format!("with the damage undone: {wrong}"))
    }

    /// A server that has started on harmless damage can be written to, and comes back.
    fn go_on(&self, server: &mut Server) -> Result<(), String> {
        let mut connection = server.connect();
        for number in 0..20 {
            let reply = connection.command(&["SET", &format!("end:{number}"), "end"]);
            if reply.is_error() {
                return Err(format!("a write after harmless damage: {reply}"));
            }
        }
        server.kill();
        let again = server.try_start_again_as(&self.setup);
        again.map_err(|failed| format!("the second start after harmless damage: {failed}"))?;
        self.judge_contents(server).map_err(|wrong| format!("at the second start: {wrong}"))
    }
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    for entry in fs::read_dir(from).expect("a directory can be read") {
        let path = entry.expect("an entry can be read").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy_directory(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a file can be copied");
        }
    }
}

/// Damages copies of directories that servers have made, and starts `binary` on them, or the server under test.
fn campaign(binary: Option<&Path>, trials: usize, kinds: &[Kind]) -> Counts {
    let seed = seed_from("ANNULUS_CORRUPTION_SEED");
    eprintln!("ANNULUS_CORRUPTION_SEED={seed}; {trials} trials");
    let mut random = Random::new(seed);
    let mut counts = Counts::default();
    let mut original = Original::make(&mut random);
    for trial in 0..trials {
        if trial > 0 && trial % TRIALS_EACH == 0 {
            original = Original::make(&mut random);
        }
        let home = scratch_dir();
        let data = home.path().join("data");
        copy_directory(original.data(), &data);
        let damage = damage::inflict(&mut RealFiles, &data, kinds, &mut random);
        let kind = damage[0].kind;
        let mut setup = original.setup(&mut random).dir(&data);
        if let Some(binary) = binary {
            setup = setup.binary(binary);
        }
        let trial_of = Trial { original: &original, data, damage, setup };
        match trial_of.run(&mut random) {
            Ok(Outcome::Refused) => *counts.refused.entry(kind).or_default() += 1,
            Ok(Outcome::Harmless) => *counts.harmless.entry(kind).or_default() += 1,
            Err(wrong) => {
                let wrong = format!("trial {trial}, {}, {:?}: {wrong}", original.name(), trial_of.damage);
                eprintln!("{wrong}");
                counts.wrong.push(wrong);
            }
        }
    }
    counts.print();
    counts
}

#[test]
fn damaged_directories_are_refused_or_whole() {
    if target_is_redis() {
        return;
    }
    let counts = campaign(None, trials(), &Kind::ALL);
    assert!(counts.wrong.is_empty(), "{} trials went wrong: {:#?}", counts.wrong.len(), counts.wrong);
    assert!(!counts.refused.is_empty(), "nothing was ever refused");
}

#[test]
fn server_that_believes_every_frame_is_found_out() {
    if target_is_redis() {
        return;
    }
    let credulous = Path::new(env!("CARGO_BIN_EXE_credulous"));
    let counts = campaign(Some(credulous), 20, &[Kind::Bytes]);
    assert!(!counts.wrong.is_empty(), "wrong values were served, and nobody has noticed");
}
