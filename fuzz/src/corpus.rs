//! Writes the corpora that the targets begin with: `corpus DIRECTORY`, a directory in it for each target.
//!
//! Nothing of it is kept in the repository: it is made of what is there anyway (the command scripts, the reference of settings) and of
//! data directories that simulated servers leave, so that it knows every command and every record of today.

use std::error::Error;
use std::fs;
use std::path::Path;

use annulus::admin::Settings;
use annulus_fuzz::{commands, input_of};
use annulus_storage::disk::blocking::run_ready;
use annulus_storage::manifest::inspect_data_directory;
use annulus_storage::offline::{RDB_VERSIONS, load_shard, write_keys_to_rdb};
use annulus_storage::rdb::file::FileWriter;
use annulus_storage::{Outcomes, ShardId};
use annulus_tests::resp::encode;
use annulus_tests::script;
use annulus_tests::sim::host::Host;
use annulus_tests::sim::server::DIRECTORY;
// The coverage counters, which everything here is compiled with, need somebody to report to.
use libfuzzer_sys as _;

/// Lines of one piece of the corpus of commands.
const LINES: usize = 16;

fn write(directory: &Path, target: &str, number: usize, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let directory = directory.join(target);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(format!("{number:04}")), bytes)?;
    Ok(())
}

/// The commands of all scripts, a piece of a script in each.
fn pieces() -> Result<Vec<String>, Box<dyn Error>> {
    let mut pieces = Vec::new();
    for path in script::all() {
        let text = fs::read_to_string(path)?;
        let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("> ")).collect();
        pieces.extend(lines.chunks(LINES).map(|lines| lines.join("\n")));
    }
    Ok(pieces)
}

/// What a server of so many shards leaves that has run such commands, and has been checkpointed.
fn left_by(text: &str, shards: u16, checkpointed: bool) -> Vec<u8> {
    let mut host = Host::start(shards);
    let connection = host.open();
    for words in commands(text.as_bytes()) {
        host.send(connection, &encode(&words));
    }
    if checkpointed {
        host.send(connection, &encode(&["BGSAVE"]));
        host.send(connection, &encode(&["SET", "behind", "the checkpoint"]));
    }
    host.run(connection);
    host.close(connection);
    let mut input = vec![u8::from(shards == 2) << 1 | 1];
    input.extend(input_of(&host.restart().disk()));
    input
}

/// What a server of one shard has after such commands, as an RDB file.
fn saved_by(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut host = Host::start(1);
    let connection = host.open();
    for words in commands(text.as_bytes()) {
        host.send(connection, &encode(&words));
    }
    host.run(connection);
    host.close(connection);
    let disk = host.restart().disk();
    let (directory, _lock) = run_ready(inspect_data_directory(&disk, Path::new(DIRECTORY)))?;
    let loaded = run_ready(load_shard(&disk, &directory, ShardId(0), &Outcomes::default(), None, 1))?;
    let (mut store, _) = loaded;
    let mut writer = FileWriter::new(Vec::new(), RDB_VERSIONS[1], &[("redis-ver", "7.4.0")]);
    write_keys_to_rdb(&mut store, directory.databases, &mut writer)?;
    Ok(writer.finish()?.0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: corpus DIRECTORY")?;
    let directory = Path::new(&directory);
    let pieces = pieces()?;
    for (number, piece) in pieces.iter().enumerate() {
        write(directory, "commands", number, piece.as_bytes())?;
        let requests: Vec<u8> = commands(piece.as_bytes()).iter().flat_map(|words| encode(words)).collect();
        write(directory, "requests", number, &[&[6], requests.as_slice()].concat())?;
        write(directory, "requests", pieces.len() + number, &[&[6], piece.as_bytes()].concat())?;
        let mut host = Host::start(1);
        let connection = host.open();
        host.send(connection, &requests);
        write(directory, "replies", number, &host.run(connection))?;
    }
    let few = [0, pieces.len() / 3, 2 * pieces.len() / 3];
    for (number, piece) in few.into_iter().filter_map(|index| pieces.get(index)).enumerate() {
        for (variant, (shards, checkpointed)) in [(1, false), (2, false), (2, true)].into_iter().enumerate() {
            write(directory, "disk", 3 * number + variant, &left_by(piece, shards, checkpointed))?;
        }
    }
    for (number, piece) in pieces.iter().enumerate() {
        write(directory, "rdb", number, &[&[0], saved_by(piece)?.as_slice()].concat())?;
    }
    let shown = Settings::default().to_toml();
    write(directory, "config", 0, shown.as_bytes())?;
    let lines = shown.lines().filter(|line| !line.trim_start().starts_with('#') && line.contains('='));
    for (number, line) in lines.enumerate() {
        write(directory, "config", 1 + number, format!("{line}\n").as_bytes())?;
    }
    let names = annulus::commands::ALL.iter().map(|command| command.name.to_ascii_uppercase());
    let words: String = names.map(|name| format!("\"{name}\"\n")).collect();
    fs::write(directory.join("commands.dict"), words)?;
    Ok(())
}
