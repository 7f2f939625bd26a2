//! The first line of a script: `#!lua flags=no-writes`, and of a function library: `#!lua name=mylib`.

/// What a script says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// It writes nothing.
    pub const NO_WRITES: Flags = Flags(1);
    /// It may run when memory is exhausted.
    pub const ALLOW_OOM: Flags = Flags(2);
    /// It may run on a replica with stale data.
    pub const ALLOW_STALE: Flags = Flags(4);
    /// It does not run in a cluster.
    pub const NO_CLUSTER: Flags = Flags(8);
    /// Its keys may be in several slots.
    pub const ALLOW_CROSS_SLOT_KEYS: Flags = Flags(16);

    const NAMES: [(Flags, &'static str); 5] = [
        (Flags::NO_WRITES, "no-writes"),
        (Flags::ALLOW_OOM, "allow-oom"),
        (Flags::ALLOW_STALE, "allow-stale"),
        (Flags::NO_CLUSTER, "no-cluster"),
        (Flags::ALLOW_CROSS_SLOT_KEYS, "allow-cross-slot-keys"),
    ];

    /// The flag of a name.
    pub fn named(name: &[u8]) -> Option<Flags> {
        Flags::NAMES.iter().find(|(_, it)| it.as_bytes() == name).map(|(flag, _)| *flag)
    }

    /// As a number.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Those of a number; bits that mean nothing are left out.
    pub fn from_bits(bits: u8) -> Flags {
        Flags::NAMES
            .iter()
            .filter(|(flag, _)| bits & flag.0 != 0)
            .fold(Flags(0), |all, (flag, _)| all.with(*flag))
    }

    /// Both.
    #[must_use]
    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether these include all of the other ones.
    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of those that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Flags::NAMES.iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| *name)
    }
}

/// What the first line of a script says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// It has a first line: what it does not say is then so.
    pub present: bool,
    /// Its flags.
    pub flags: Flags,
}

/// What is wrong with a first line: the error reply.
pub type HeaderError = Vec<u8>;

fn error<T>(text: &str, word: &[u8]) -> Result<T, HeaderError> {
    Err([text.as_bytes(), word].concat())
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r')).filter(|word| !word.is_empty())
}

/// Reads a script's first line.
pub fn parse_header(text: &[u8]) -> Result<Header, HeaderError> {
    if !text.starts_with(b"#!") {
        return Ok(Header::default());
    }
    let Some(end) = memchr::memchr(b'\n', text) else { return error("ERR Invalid script shebang", b"") };
    let mut words = words(&text[..end]);
    let engine = words.next().unwrap_or_default();
    if engine != b"#!lua" {
        return error("ERR Unexpected engine in script shebang: ", engine);
    }
    let mut flags = Flags::default();
    for word in words {
        let Some(list) = word.strip_prefix(b"flags=") else {
            return error("ERR Unknown lua shebang option: ", word);
        };
        for name in list.split(|byte| *byte == b',').filter(|name| !name.is_empty()) {
            match Flags::named(name) {
                Some(flag) => flags = flags.with(flag),
                None => return error("ERR Unexpected flag in script shebang: ", name),
            }
        }
    }
    Ok(Header { present: true, flags })
}

/// Whether a library or a function may have this name.
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// What names may be.
pub(super) const NAME_RULE: &str = "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";

/// Reads a library's first line; its name.
pub fn parse_library_header(text: &[u8]) -> Result<&[u8], HeaderError> {
    if !text.starts_with(b"#!") {
        return error("ERR Missing library metadata", b"");
    }
    let Some(end) = memchr::memchr(b'\n', text) else { return error("ERR Invalid library metadata", b"") };
    let mut words = words(&text[2..end]);
    let engine = words.next().unwrap_or_default();
    let mut name = None;
    for word in words {
        let Some(value) = word.get(..5).filter(|it| it.eq_ignore_ascii_case(b"name=")).map(|_| &word[5..])
        else {
            return error("ERR Invalid metadata value given: ", word);
        };
        if name.replace(value).is_some() {
            return error("ERR Invalid metadata value, name argument was given multiple times", b"");
        }
    }
    let Some(name) = name else { return error("ERR Library name was not given", b"") };
    if !is_name(name) {
        return error("ERR ", NAME_RULE.as_bytes());
    }
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err([b"ERR Engine '", engine, b"' not found"].concat());
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        String::from_utf8(parse_header(text.as_bytes()).expect_err("a refusal")).unwrap()
    }

    #[test]
    fn first_lines_of_scripts_are_read_as_by_redis() {
        assert_eq!(parse_header(b"return 1"), Ok(Header::default()));
        let header = parse_header(b"#!lua flags=no-writes,allow-oom\nreturn 1").unwrap();
        assert!(header.present && header.flags.contains(Flags::NO_WRITES.with(Flags::ALLOW_OOM)));
        assert!(!header.flags.contains(Flags::ALLOW_STALE));
        assert_eq!(parse_header(b"#!lua flags=\nx"), Ok(Header { present: true, flags: Flags::default() }));
        assert_eq!(refusal("#!lua"), "ERR Invalid script shebang");
        assert_eq!(refusal("#!luax\n"), "ERR Unexpected engine in script shebang: #!luax");
        assert_eq!(refusal("#!lua flags=foo\n"), "ERR Unexpected flag in script shebang: foo");
        assert_eq!(refusal("#!lua name=foo\n"), "ERR Unknown lua shebang option: name=foo");
    }

    #[test]
    fn first_lines_of_libraries_are_read_as_by_redis() {
        let error =
            |text: &str| String::from_utf8(parse_library_header(text.as_bytes()).unwrap_err()).unwrap();
        assert_eq!(parse_library_header(b"#!LUA name=my_lib\nx"), Ok(&b"my_lib"[..]));
        assert_eq!(error("return 1"), "ERR Missing library metadata");
        assert_eq!(error("#!lua name=a"), "ERR Invalid library metadata");
        assert_eq!(error("#!lua\n"), "ERR Library name was not given");
        assert_eq!(error("#!lua name=a b\n"), "ERR Invalid metadata value given: b");
        assert_eq!(error("#!js name=a\n"), "ERR Engine 'js' not found");
        assert!(error("#!lua name=a-b\n").starts_with("ERR Library names can only contain"));
    }
}
