//! Libraries of functions as they are stored: the text, and what running it once has said about its functions. So whoever looks for a
//! function, or lists them, need not run anything.
//!
//! ```text
//! library    version (1), length of the text (u32), text, number of functions (u32), functions
//! function   flags (u8), name, 1 and the description or 0
//! name, description   length (u32), bytes; all numbers little endian
//! ```

#![warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use super::header::Flags;
use super::library::{FunctionInfo, LibraryInfo};
use super::machine::{Machine, MachineOptions, Order, Resume, Step};

const VERSION: u8 = 1;

/// Slices of work (see [`super::INSTRUCTIONS_PER_SLICE`]) that a library may take to load: about a tenth of a second. It's counted and not
/// timed, so that all shards come to the same end.
const LOADING_SLICES_MAX: u32 = 300;
const LOADING_BYTES_MAX: usize = 64 << 20;
const TIMEOUT: &str = "ERR Error registering functions: ERR FUNCTION LOAD timeout";

/// A library that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLibrary<'a> {
    /// Its text.
    pub text: &'a [u8],
    /// Its functions.
    pub functions: Vec<FunctionInfo>,
}

/// Runs the text of a library by itself, to learn of its functions. The error reply if something is wrong with it.
pub fn inspect_library(name: &[u8], text: &[u8]) -> Result<LibraryInfo, Vec<u8>> {
    let options = MachineOptions { functions: true, memory_bytes_max: LOADING_BYTES_MAX };
    let mut machine = Machine::new(options).map_err(|error| format!("ERR functions cannot run: {error}"))?;
    load_library(&mut machine, name, text)
}

/// Loads a library into a machine.
pub fn load_library(machine: &mut Machine, name: &[u8], text: &[u8]) -> Result<LibraryInfo, Vec<u8>> {
    let mut step = machine.resume(Resume::Order(Order::Load { name: name.into(), text: text.into() }));
    for _ in 0..LOADING_SLICES_MAX {
        match step {
            Step::Loaded(outcome) => return outcome,
            Step::Pause => step = machine.resume(Resume::Continue),
            Step::Command | Step::Reply => unreachable!("a library that loads led to {step:?}"),
        }
    }
    machine.abandon();
    Err(TIMEOUT.into())
}

/// Writes a library.
pub fn encode_library(text: &[u8], functions: &[FunctionInfo]) -> Vec<u8> {
    let mut out = vec![VERSION];
    put(&mut out, text);
    out.extend((functions.len() as u32).to_le_bytes());
    for function in functions {
        out.push(function.flags.bits());
        put(&mut out, &function.name);
        out.push(u8::from(function.description.is_some()));
        if let Some(description) = &function.description {
            put(&mut out, description);
        }
    }
    out
}

/// Reads a library. Nothing if it is not one.
pub fn decode_library(bytes: &[u8]) -> Option<StoredLibrary<'_>> {
    let mut rest = bytes;
    let rest = &mut rest;
    if take_byte(rest)? != VERSION {
        return None;
    }
    let text = take(rest)?;
    let count = take_number(rest)?;
    let mut functions = Vec::new();
    for _ in 0..count {
        let flags = Flags::from_bits(take_byte(rest)?);
        let name = take(rest)?.into();
        let description = if take_byte(rest)? == 1 { Some(take(rest)?.into()) } else { None };
        functions.push(FunctionInfo { name, description, flags });
    }
    rest.is_empty().then_some(StoredLibrary { text, functions })
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    rest.split_off_first().copied()
}

fn take_number(rest: &mut &[u8]) -> Option<u32> {
    let (number, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(u32::from_le_bytes(*number))
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let count = usize::try_from(take_number(rest)?).ok()?;
    rest.split_off(..count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"#!lua name=lib
        redis.register_function('plain', function() return 1 end)
        redis.register_function{function_name = 'reader', callback = function() return 2 end,
            flags = {'no-writes', 'allow-oom'}, description = 'reads'}";

    #[test]
    fn what_is_written_is_read_and_every_beginning_of_it_is_refused() {
        let info = inspect_library(b"lib", TEXT).unwrap();
        let bytes = encode_library(TEXT, &info.functions);
        let library = decode_library(&bytes).unwrap();
        assert_eq!((library.text, &library.functions), (TEXT, &info.functions));
        assert_eq!(info.functions.len(), 2);
        for end in 0..bytes.len() {
            assert_eq!(decode_library(&bytes[..end]), None, "of {end} bytes");
        }
        assert_eq!(decode_library(&[&bytes[..], b"x"].concat()), None);
    }

    #[test]
    fn a_library_that_never_ends_loading_is_refused() {
        let error = inspect_library(b"lib", b"#!lua name=lib\nwhile true do end").unwrap_err();
        assert_eq!(error, TIMEOUT.as_bytes());
    }
}
