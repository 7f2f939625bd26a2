//! Lua scripts and functions: the language, its sandbox, and what a script may call.
//!
//! A [`Machine`] is one Lua state with one native stack. Whoever runs it resumes it with an [`Order`] or with what it had
//! asked for, and is told what comes next in a [`Step`]: a command to run, a pause, or the reply. So nothing in here knows of
//! shards, keys or locks, and a script can be set aside in the middle of anything, also for ever.
//!
//! - A machine runs one script at a time. While one is suspended another needs a machine of its own.
//! - Scripts cannot leave anything behind: globals and libraries are read-only ([`sandbox`]). Function libraries may keep what
//!   their own upvalues hold, per machine.
//! - Memory is bounded; what takes long is interrupted every [`INSTRUCTIONS_PER_SLICE`] instructions, and nothing that a script can call
//!   runs for long by itself.
//! - A crash leaves nothing of any of it: what lasts is the texts, which others keep.

mod cjson;
mod convert;
mod exchange;
mod header;
mod library;
mod machine;
mod number;
mod packing;
mod patterns;
mod raise;
mod random;
mod redis;
mod sandbox;
mod stored;

mod bits;
mod msgpack;
#[cfg(test)]
mod tests;

pub use exchange::Exchange;
pub use header::{Flags, Header, HeaderError, parse_header, parse_library_header};
pub use library::{FunctionInfo, LibraryInfo};
pub use machine::{Machine, MachineOptions, Order, Resume, Step};
pub use stored::{StoredLibrary, decode_library, encode_library, inspect_library, load_library};

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use sha1::{Digest, Sha1};

/// A script's name: the SHA-1 of its text, as 40 lower-case hexadecimal digits.
pub type ScriptId = [u8; 40];

/// Something for each of many scripts.
pub type ByScript<V> = HashMap<ScriptId, V, BuildHasherDefault<IdHasher>>;

/// Names of scripts are hashes already: nobody can choose them so that they meet.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 ^= rapidhash::v3::rapidhash_v3(bytes);
    }
    fn write_usize(&mut self, _: usize) {
        // All are of one length.
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// Instructions of Lua after which a script pauses. Found by measuring: about a third of a millisecond.
pub const INSTRUCTIONS_PER_SLICE: u32 = 50_000;

/// Bytes of a machine's native stack. Only what has been touched takes memory. Lua nests at most 200 calls from C, each of which may
/// hold a buffer of 8 KiB; decoding nests 1000 levels.
const STACK_BYTES: usize = 8 << 20;

/// The name of a script's text.
pub fn script_id(text: &[u8]) -> ScriptId {
    hex_digest(text)
}

fn hex_digest(bytes: &[u8]) -> ScriptId {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut id = [0; 40];
    for (pair, byte) in id.chunks_exact_mut(2).zip(Sha1::digest(bytes)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    id
}
