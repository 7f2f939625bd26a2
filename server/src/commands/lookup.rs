//! From the first words of a request to its row. The index is built by the compiler; a look-up folds the name into two
//! words, hashes them, and compares two words.

use annulus_protocol::Encoder;

use super::command::Command;
use super::table::{ALL, COUNT};

/// Longest name in the index, in bytes.
const NAME_BYTES_MAX: usize = 24;
/// Up to so many bytes [`name_words`] covers a name as a whole.
const NAME_BYTES_COVERED: usize = 16;
/// Slots of the index: a power of two, at most a quarter full so that most names are found at the first probe.
const SLOTS: usize = 2048;
/// Marks a free slot.
const FREE: u16 = u16::MAX;
/// Sets the bit that tells lower case from upper, in all eight bytes. Nothing but a letter becomes a letter by it, so
/// names of letters are not confused with anything else; others are compared once more ([`PLAIN`]).
const LOWER: u64 = 0x2020_2020_2020_2020;

const _: () = assert!(COUNT * 4 <= SLOTS, "the index of command names is too full");

static INDEX: [u16; SLOTS] = build_index();
static NAMES: [(u64, u64); COUNT] = build_names();
/// Names that their words alone tell from all other texts of the same length.
static PLAIN: [bool; COUNT] = find_plain();

/// The row of a command, upper or lower case. Internal commands are found too: [`resolve`] refuses them to clients.
#[inline]
pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    let words = name_words(name)?;
    let mut slot = start(words);
    loop {
        let id = usize::from(*INDEX.get(slot)?);
        let (candidate, command) = (NAMES.get(id)?, ALL.get(id)?);
        if *candidate == words && command.name.len() == name.len() {
            let same = *PLAIN.get(id)? || command.name.as_bytes().eq_ignore_ascii_case(name);
            return same.then_some(command);
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// The row of a container's subcommand.
pub fn lookup_subcommand(container: &Command, name: &[u8]) -> Option<&'static Command> {
    container.subcommands().iter().find(|command| command.name.as_bytes().eq_ignore_ascii_case(name))
}

/// Why a request is not run.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// There is no such command.
    UnknownCommand,
    /// The container has no such subcommand.
    UnknownSubcommand(&'static Command),
    /// Too few or too many arguments.
    Arity(&'static Command),
}

/// The row of a client's request, with its subcommand and the number of its arguments checked.
#[inline(always)]
pub fn resolve(args: &[&[u8]]) -> Result<&'static Command, Refusal> {
    resolve_words(|index| args.get(index).copied(), args.len())
}

/// The same of a request of so many arguments, by its first two.
#[inline(always)]
pub fn resolve_words<'a>(
    word: impl Fn(usize) -> Option<&'a [u8]>,
    count: usize,
) -> Result<&'static Command, Refusal> {
    let command = word(0).and_then(lookup).ok_or(Refusal::UnknownCommand)?;
    if command.is_internal() {
        return Err(Refusal::UnknownCommand);
    }
    let second = if command.has_subcommands() { word(1) } else { None };
    let command = match second {
        Some(name) => lookup_subcommand(command, name).ok_or(Refusal::UnknownSubcommand(command))?,
        None => command,
    };
    if command.accepts(count) { Ok(command) } else { Err(Refusal::Arity(command)) }
}

impl Refusal {
    /// Writes the error as Redis words it.
    pub fn write(&self, args: &[&[u8]], out: &mut Encoder<'_>) {
        let mut text = Vec::with_capacity(160);
        match self {
            Self::UnknownCommand => {
                text.extend_from_slice(b"ERR unknown command '");
                text.extend_from_slice(printable(
                    args.first().copied().unwrap_or_default(),
                    QUOTED_BYTES_MAX,
                ));
                text.extend_from_slice(b"', with args beginning with: ");
                quote_arguments(args.get(1..).unwrap_or_default(), &mut text);
            }
            Self::UnknownSubcommand(container) => {
                text.extend_from_slice(b"ERR unknown subcommand '");
                text.extend_from_slice(printable(args.get(1).copied().unwrap_or_default(), QUOTED_BYTES_MAX));
                text.extend_from_slice(b"'. Try ");
                text.extend_from_slice(container.name.to_ascii_uppercase().as_bytes());
                text.extend_from_slice(b" HELP.");
            }
            Self::Arity(command) => text.extend_from_slice(super::errors::arity(command).as_bytes()),
        }
        out.error(text);
    }
}

/// How much of a client's words an error repeats.
const QUOTED_BYTES_MAX: usize = 128;

fn quote_arguments(args: &[&[u8]], text: &mut Vec<u8>) {
    let mut quoted = 0;
    for arg in args {
        if quoted >= QUOTED_BYTES_MAX {
            break;
        }
        let shown = printable(arg, QUOTED_BYTES_MAX - quoted);
        text.push(b'\'');
        text.extend_from_slice(shown);
        text.extend_from_slice(b"' ");
        quoted += shown.len() + 3;
    }
}

/// At most `bytes_max` bytes, and as in Redis none after a NUL.
fn printable(bytes: &[u8], bytes_max: usize) -> &[u8] {
    let end = bytes.iter().take(bytes_max).position(|byte| *byte == 0).unwrap_or(bytes.len().min(bytes_max));
    bytes.get(..end).unwrap_or_default()
}

/// A name as two words, in lower case; together with its length they tell all names up to 16 bytes apart. The words overlap in
/// the middle of the name, so that no copy of variable length is needed. Of a longer name they are both ends.
#[inline]
fn name_words(name: &[u8]) -> Option<(u64, u64)> {
    let (low, high) = match name.len() {
        8..=NAME_BYTES_MAX => {
            (u64::from_le_bytes(*name.first_chunk()?), u64::from_le_bytes(*name.last_chunk()?))
        }
        4..8 => (
            u64::from(u32::from_le_bytes(*name.first_chunk()?)),
            u64::from(u32::from_le_bytes(*name.last_chunk()?)),
        ),
        1..4 => {
            (u64::from(*name.first()?) | u64::from(*name.last()?) << 8, u64::from(*name.get(name.len() / 2)?))
        }
        _ => return None,
    };
    Some((low | LOWER, high | LOWER))
}

/// [`name_words`] for the compiler, which has no chunks and gets only names of the table.
const fn const_name_words(name: &[u8]) -> (u64, u64) {
    const fn load(name: &[u8], start: usize, count: usize) -> u64 {
        let mut word = 0;
        let mut index = 0;
        while index < count {
            word |= (name[start + index] as u64) << (8 * index);
            index += 1;
        }
        word
    }
    let length = name.len();
    assert!(length >= 1 && length <= NAME_BYTES_MAX, "a command's name is too long for the index");
    let (low, high) = if length >= 8 {
        (load(name, 0, 8), load(name, length - 8, 8))
    } else if length >= 4 {
        (load(name, 0, 4), load(name, length - 4, 4))
    } else {
        (name[0] as u64 | (name[length - 1] as u64) << 8, name[length / 2] as u64)
    };
    (low | LOWER, high | LOWER)
}

const fn start((low, high): (u64, u64)) -> usize {
    // Multiplicative hashing: the odd constant is the golden ratio's; the top bits depend on all bytes.
    let mixed = (low ^ high.rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (64 - SLOTS.trailing_zeros())) as usize
}

const fn build_names() -> [(u64, u64); COUNT] {
    let mut names = [(0, 0); COUNT];
    let mut id = 0;
    while id < COUNT {
        if ALL[id].parent.is_none() {
            names[id] = const_name_words(ALL[id].name.as_bytes());
        }
        id += 1;
    }
    names
}

const fn find_plain() -> [bool; COUNT] {
    let mut plain = [false; COUNT];
    let mut id = 0;
    while id < COUNT {
        let name = ALL[id].name.as_bytes();
        plain[id] = name.len() <= NAME_BYTES_COVERED && only_letters(name);
        let mut other = 0;
        while other < id {
            let alike = NAMES[other].0 == NAMES[id].0 && NAMES[other].1 == NAMES[id].1;
            let named = ALL[id].parent.is_none() && ALL[other].parent.is_none();
            assert!(
                !(named && alike && ALL[other].name.len() == name.len()),
                "two names have the same words: the index would find only one of them"
            );
            other += 1;
        }
        id += 1;
    }
    plain
}

const fn only_letters(name: &[u8]) -> bool {
    let mut index = 0;
    while index < name.len() && name[index].is_ascii_lowercase() {
        index += 1;
    }
    index == name.len()
}

const fn build_index() -> [u16; SLOTS] {
    let mut index = [FREE; SLOTS];
    let mut id = 0;
    while id < COUNT {
        if ALL[id].parent.is_none() {
            let mut slot = start(const_name_words(ALL[id].name.as_bytes()));
            while index[slot] != FREE {
                slot = (slot + 1) % SLOTS;
            }
            index[slot] = id as u16;
        }
        id += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_in_any_case() {
        for command in &ALL {
            if command.parent.is_some() {
                continue;
            }
            for name in [command.name.to_owned(), command.name.to_uppercase()] {
                assert_eq!(lookup(name.as_bytes()).map(Command::id), Some(command.id()), "{name}");
            }
            for subcommand in command.subcommands() {
                let name = subcommand.name.to_uppercase();
                assert_eq!(
                    lookup_subcommand(command, name.as_bytes()).map(Command::id),
                    Some(subcommand.id())
                );
            }
        }
    }

    #[test]
    fn names_that_differ_in_one_byte_are_not_found() {
        for command in ALL.iter().filter(|command| command.parent.is_none() && !command.is_internal()) {
            for position in 0..command.name.len() {
                for byte in 0..=255_u8 {
                    let mut name = command.name.as_bytes().to_vec();
                    name[position] = byte;
                    let found = lookup(&name).map(|found| found.name.as_bytes());
                    assert!(found.is_none_or(|found| found.eq_ignore_ascii_case(&name)), "{name:?}");
                }
            }
            assert!(
                lookup(format!("{}x", command.name).as_bytes()).is_none_or(|found| found.name.ends_with('x'))
            );
        }
        assert!(lookup(b"").is_none());
        assert!(lookup(&[b'a'; 1000]).is_none());
    }

    fn refusal(args: &[&[u8]]) -> String {
        let mut out = Vec::new();
        let refusal = resolve(args).expect_err("a refusal");
        refusal.write(args, &mut Encoder::new(&mut out, annulus_protocol::Version::Resp2));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn refusals_are_worded_as_in_redis() {
        assert_eq!(
            refusal(&[b"fo\r\no", b"a", b"b\0c"]),
            "-ERR unknown command 'fo  o', with args beginning with: 'a' 'b' \r\n"
        );
        let long = [b'x'; 300];
        assert_eq!(
            refusal(&[b"foo", &long[..120], &long, b"z"]),
            format!(
                "-ERR unknown command 'foo', with args beginning with: '{}' '{}' \r\n",
                "x".repeat(120),
                "x".repeat(5)
            )
        );
        assert_eq!(refusal(&[b"get"]), "-ERR wrong number of arguments for 'get' command\r\n");
        assert_eq!(refusal(&[b"client"]), "-ERR wrong number of arguments for 'client' command\r\n");
        assert_eq!(
            refusal(&[b"client", b"ID", b"x"]),
            "-ERR wrong number of arguments for 'client|id' command\r\n"
        );
        assert_eq!(refusal(&[b"Client", b"nope"]), "-ERR unknown subcommand 'nope'. Try CLIENT HELP.\r\n");
        assert_eq!(
            refusal(&[b"mset", b"a", b"1", b"b"]),
            "-ERR wrong number of arguments for 'mset' command\r\n"
        );
        assert!(refusal(&[b"annulus.fetch", b"k"]).starts_with("-ERR unknown command 'annulus.fetch'"));
    }
}
