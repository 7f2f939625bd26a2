//! A data directory as a real server leaves it, and what is in it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use annulus_tests::{
    damage::workload::{self, Contents},
    random::Random,
    resp::{Connection, Value},
    server::{Setup, scratch_dir},
};
use tempfile::TempDir;

pub(super) struct Original {
    _home: TempDir,
    data: PathBuf,
    contents: Contents,
    shards: usize,
    name: String,
}

impl Original {
    /// By a server over some lives.
    pub(super) fn make(random: &mut Random) -> Self {
        let home = scratch_dir();
        let data = home.path().join("data");
        let setup = |shards: usize| {
            Setup::annulus().durability("always").segment_size("1mb").dir(&data).shards(shards)
        };
        let lives = 1 + random.below(3);
        let mut shards = 1 + random.below(3);
        let mut name = String::from("lives of");
        let mut server = setup(shards).start();
        let mut contents = Contents::new();
        for life in 0..lives {
            if life > 0 {
                if random.one_in(3) {
                    shards = 1 + random.below(3);
                }
                server.start_again_as(&setup(shards));
            }
            let mut connection = server.connect();
            let (saves, commands) = (random.one_in(2), 100 + random.below(1500));
            write(&mut connection, commands, saves, random);
            let mut pipeline =
                |commands: &[Vec<Vec<u8>>]| Ok(connection.pipeline(commands).expect("it answers"));
            contents = workload::contents(&mut pipeline).expect("a healthy server answers");
            connection.line("SELECT 0");
            for words in workload::last_words() {
                assert_eq!(connection.command(&words), Value::ok());
            }
            let stops = random.one_in(2);
            if stops {
                assert!(server.stop().success());
            } else {
                server.kill();
            }
            let (save, end) = (if saves { ", saved" } else { "" }, if stops { "stopped" } else { "killed" });
            let _ = write!(name, " [{shards} shards, {commands} commands{save}, {end}]");
        }
        eprintln!("{name}: {} keys", contents.len());
        Self { _home: home, data, contents, shards, name }
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// How it was made.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// To start on a copy of it, mostly with as many shards as were last.
    pub(super) fn setup(&self, random: &mut Random) -> Setup {
        let shards = if random.one_in(5) { 1 + random.below(3) } else { self.shards };
        Setup::annulus().durability("always").segment_size("1mb").shards(shards)
    }

    /// What was acknowledged.
    pub(super) fn contents(&self) -> &Contents {
        &self.contents
    }
}

fn write(connection: &mut Connection, commands: usize, saves: bool, random: &mut Random) {
    let save_at = random.below(commands);
    let mut left = commands;
    while left > 0 {
        let some = left.min(1 + random.below(50));
        let mut pipeline: Vec<Vec<Vec<u8>>> = (0..some).flat_map(|_| workload::next(random)).collect();
        if saves && (left - some..left).contains(&save_at) {
            pipeline.push(vec![b"BGSAVE".to_vec()]);
        }
        let replies = connection.pipeline(&pipeline).expect("a healthy server answers");
        for (command, reply) in pipeline.iter().zip(&replies) {
            assert!(workload::is_allowed(reply), "{reply} to {}", command[0].escape_ascii());
        }
        left -= some;
    }
}
