//! Memory for each element of collections of ten, a thousand and a million elements.
//!
//! What `used_memory` has grown by, over all elements: the key's and the collection's own part are in it. Which is why small
//! collections are where it counts. The same commands in the same order to every server; nothing of it is random.

use std::io::{self, Error};
use std::thread;
use std::time::Duration;

use crate::suite::client::{Client, encode};
use crate::suite::report::{Table, number};
use crate::suite::servers::{Durability, Kind};
use crate::suite::trial::Plan;

/// Of all collections of a case together.
const ELEMENTS_DEFAULT: u64 = 1_000_000;
const SIZES: [u64; 3] = [10, 1_000, 1_000_000];
/// Elements that a command adds, for which the reply is waited.
const BATCH: u64 = 500;
/// A prime above the largest size: numbers of elements are spread below it, each once.
const SPREAD: u64 = 1_000_003;
/// Looks at a server that is still busy with what was removed before.
const LOOKS_MAX: usize = 500;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A kind of collection: how it's called, the command that adds, and what it's given for element `index`.
struct Collection {
    name: &'static str,
    command: &'static str,
    /// How many elements a command may add.
    batch: u64,
    element: fn(index: u64, words: &mut Vec<String>),
}

const COLLECTIONS: [Collection; 8] = [
    Collection {
        name: "list of integers",
        command: "RPUSH",
        batch: BATCH,
        element: |index, words| words.push(spread(index).to_string()),
    },
    Collection {
        name: "list of strings",
        command: "RPUSH",
        batch: BATCH,
        element: |index, words| words.push(format!("element:{}", spread(index))),
    },
    Collection {
        name: "hash of strings",
        command: "HSET",
        batch: BATCH,
        element: |index, words| words.extend([format!("field:{index}"), format!("value:{}", spread(index))]),
    },
    Collection {
        name: "hash of integers",
        command: "HSET",
        batch: BATCH,
        element: |index, words| words.extend([format!("field:{index}"), spread(index).to_string()]),
    },
    Collection {
        name: "set of integers",
        command: "SADD",
        batch: BATCH,
        element: |index, words| words.push(spread(index).to_string()),
    },
    Collection {
        name: "set of strings",
        command: "SADD",
        batch: BATCH,
        element: |index, words| words.push(format!("member:{}", spread(index))),
    },
    Collection {
        name: "sorted set",
        command: "ZADD",
        batch: BATCH,
        element: |index, words| words.extend([spread(index).to_string(), format!("member:{index}")]),
    },
    Collection {
        name: "stream",
        command: "XADD",
        batch: 1,
        element: |index, words| {
            words.extend([format!("{}-0", 1_700_000_000_000 + 10 * index), "temperature".to_owned()]);
            words.push(spread(index).to_string());
        },
    },
];

/// A number of up to six digits, another one for each index.
fn spread(index: u64) -> u64 {
    (index + 1) * 7_919 % SPREAD
}

pub(super) fn run(plan: &Plan) -> io::Result<()> {
    let none = Durability::None;
    let servers = plan.start_all(&[Kind::annulus(none), Kind::Redis(none), Kind::Valkey(none)])?;
    let kinds: Vec<Kind> = servers.iter().map(|(kind, _)| *kind).collect();
    let mut columns = vec!["collection".to_owned(), "elements".to_owned()];
    columns.extend(kinds.iter().map(|kind| kind.name()));
    let base = kinds.iter().position(|kind| matches!(kind, Kind::Redis(_)));
    if base.is_some_and(|base| base > 0) {
        columns.push("annulus ÷ redis-server".to_owned());
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new("memory-per-element: bytes of used_memory for each element", &columns);
    let mut clients = servers.iter().map(|(_, server)| server.client()).collect::<io::Result<Vec<_>>>()?;
    for collection in &COLLECTIONS {
        for size in SIZES {
            eprintln!("memory-per-element: {}, {size}", collection.name);
            let mut cells = vec![collection.name.to_owned(), number(size as f64)];
            let mut figures = Vec::new();
            for client in &mut clients {
                figures.push(bytes_per_element(client, collection, size, plan)?);
            }
            cells.extend(figures.iter().map(|bytes| number(*bytes)));
            if let Some(base) = base.filter(|base| *base > 0) {
                cells.push(number(figures[0] / figures[base]));
            }
            table.row(cells);
        }
    }
    println!("{}", table.markdown());
    Ok(())
}

fn bytes_per_element(
    client: &mut Client,
    collection: &Collection,
    size: u64,
    plan: &Plan,
) -> io::Result<f64> {
    let elements = plan.keys.unwrap_or(ELEMENTS_DEFAULT).max(size);
    client.command(&[b"FLUSHALL"])?;
    let before = settled_memory(client)?;
    for key in 0..elements / size {
        fill(client, collection, &format!("{}:{key:08}", collection.command), size)?;
    }
    let after = settled_memory(client)?;
    Ok((after as f64 - before as f64) / (elements / size * size) as f64)
}

/// Makes one collection. Commands of one element travel together.
fn fill(client: &mut Client, collection: &Collection, key: &str, size: u64) -> io::Result<()> {
    let (mut bytes, mut words) = (Vec::new(), Vec::new());
    for start in (0..size).step_by(BATCH as usize) {
        let end = size.min(start + BATCH);
        bytes.clear();
        let mut commands = 0;
        for first in (start..end).step_by(collection.batch as usize) {
            words.clear();
            words.extend([collection.command.to_owned(), key.to_owned()]);
            (first..end.min(first + collection.batch))
                .for_each(|index| (collection.element)(index, &mut words));
            let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
            encode(&mut bytes, &words);
            commands += 1;
        }
        client.pipeline(&bytes, commands)?;
    }
    Ok(())
}

/// `used_memory` without what waits for the log to be written, once it stands still.
fn settled_memory(client: &mut Client) -> io::Result<u64> {
    let mut last = 0;
    for _ in 0..LOOKS_MAX {
        let text = client.command(&[b"INFO", b"memory"])?.text;
        let field = |name: &str| -> io::Result<u64> {
            let text = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            text.ok_or_else(|| Error::other(format!("INFO without {name}")))?.parse().map_err(Error::other)
        };
        let now = field("used_memory")?.saturating_sub(field("mem_aof_buffer")?);
        if now == last {
            return Ok(now);
        }
        last = now;
        thread::sleep(LOOK_EVERY);
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn elements_differ() {
        let numbers: BTreeSet<u64> = (0..SIZES[2]).map(spread).collect();
        assert_eq!(numbers.len() as u64, SIZES[2]);
    }
}
