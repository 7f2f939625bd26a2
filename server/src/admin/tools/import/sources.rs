//! Which files there are to read: an RDB file, files of commands, or both.

use std::path::{Path, PathBuf};

use annulus_storage::disk::blocking::{StdDisk, run_ready};
use annulus_storage::disk::{Disk, OpenMode};

use super::super::{ToolError, at, names};
use super::open;
use std::io::Read;

/// A manifest is a line for each file.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
const MAGIC: &[u8; 5] = b"REDIS";

/// Commands, from some byte of a file on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandFile {
    pub(super) path: PathBuf,
    pub(super) offset: u64,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    pub(super) image: Option<PathBuf>,
    /// In order.
    pub(super) commands: Vec<CommandFile>,
}

impl Sources {
    pub(super) fn find(source: &Path) -> Result<Self, ToolError> {
        let names = match names(source) {
            Ok(Some(names)) => names,
            Ok(None) => return Err(at(source)(std::io::ErrorKind::NotFound.into())),
            Err(_) => return Self::default().with(source.to_path_buf()),
        };
        let mut manifests = names.iter().filter(|name| name.ends_with(".manifest"));
        let (Some(manifest), None) = (manifests.next(), manifests.next()) else {
            return Err(ToolError::Refused(format!(
                "{}: a directory of append-only files has one file whose name ends in .manifest; name that directory, or an RDB file",
                source.display()
            )));
        };
        let path = source.join(manifest);
        let mut sources = Self::default();
        for name in files_of(&path)? {
            sources = sources.with(source.join(name))?;
        }
        Ok(sources)
    }

    /// The next file, by what it begins with.
    fn with(mut self, path: PathBuf) -> Result<Self, ToolError> {
        let mut first = Vec::new();
        open(&path, 0)?.take(MAGIC.len() as u64).read_to_end(&mut first).map_err(at(&path))?;
        match (first.as_slice(), self.image.is_none() && self.commands.is_empty()) {
            (b"REDIS", true) => self.image = Some(path),
            ([b'*' | b'#', ..] | [], _) => self.commands.push(CommandFile { path, offset: 0 }),
            _ => {
                let reason = "this is neither an RDB file nor an append-only file";
                return Err(ToolError::Refused(format!("{}: {reason}", path.display())));
            }
        }
        Ok(self)
    }

    /// An append-only file may begin with an RDB file: its commands come first.
    pub(super) fn add_what_follows(&mut self, path: &Path, offset: u64) -> Result<(), ToolError> {
        let mut next = [0];
        open(path, offset)?.read_exact(&mut next).map_err(at(path))?;
        if !matches!(next, [b'*' | b'#']) {
            return Err(ToolError::Refused(format!(
                "{}: offset {offset}: the RDB file ends here, and what follows are no commands",
                path.display()
            )));
        }
        self.commands.insert(0, CommandFile { path: path.to_path_buf(), offset });
        Ok(())
    }
}

/// The base and the increments that a manifest names, in order.
fn files_of(manifest: &Path) -> Result<Vec<String>, ToolError> {
    let file = run_ready(StdDisk.open(manifest, OpenMode::READ)).map_err(at(manifest))?;
    let bytes = run_ready(StdDisk.len(&file)).map_err(at(manifest))?;
    let mut text = String::new();
    open(manifest, 0)?.take(bytes.min(MANIFEST_BYTES_MAX)).read_to_string(&mut text).map_err(at(manifest))?;
    parse_manifest(&text).map_err(|(line, reason)| {
        ToolError::Refused(format!("{}: line {line}: {reason}", manifest.display()))
    })
}

fn parse_manifest(text: &str) -> Result<Vec<String>, (usize, &'static str)> {
    let mut base = None;
    let mut increments: Vec<(u64, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |reason| (index + 1, reason);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("file ").ok_or(wrong("'file' is expected"))?;
        // A name with a blank or worse in it is quoted.
        let (name, rest) = match line.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or(wrong("the name has no end"))?,
            None => line.split_at(line.find(' ').unwrap_or(line.len())),
        };
        if name.is_empty() || name.contains(['/', '\\']) {
            return Err(wrong("this is no name of a file in this directory"));
        }
        let words: Vec<&str> = rest.split_whitespace().collect();
        let value =
            |key: &str| words.chunks(2).find_map(|pair| (pair.first() == Some(&key)).then(|| pair.get(1))?);
        let sequence = value("seq").and_then(|text| text.parse().ok()).ok_or(wrong("no number (seq)"))?;
        match value("type") {
            Some(&"b") if base.is_none() => base = Some(name.to_owned()),
            Some(&"i") if increments.last().is_none_or(|(last, _)| *last < sequence) => {
                increments.push((sequence, name.to_owned()));
            }
            // What a rewrite has made superfluous.
            Some(&"h") => {}
            Some(&("b" | "i")) => return Err(wrong("a second base, or an increment out of order")),
            _ => return Err(wrong("no type of file that is known")),
        }
    }
    Ok(base.into_iter().chain(increments.into_iter().map(|(_, name)| name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_its_base_and_its_increments_in_order() {
        let text = "file a.1.base.rdb seq 1 type b\nfile a.0.incr.aof seq 1 type h\n\
                    file \"a b.2.incr.aof\" seq 2 type i\nfile a.3.incr.aof seq 3 type i startoffset 7\n";
        assert_eq!(parse_manifest(text).unwrap(), ["a.1.base.rdb", "a b.2.incr.aof", "a.3.incr.aof"]);
        assert!(parse_manifest("").unwrap().is_empty());
    }

    #[test]
    fn a_manifest_that_cannot_be_is_refused_with_the_line() {
        for (text, line) in [
            ("flie a seq 1 type b\n", 1),
            ("file ../a seq 1 type b\n", 1),
            ("file a seq 1 type b\nfile b seq 2 type b\n", 2),
            ("file a seq 2 type i\nfile b seq 1 type i\n", 2),
            ("file a seq 2 type x\n", 1),
            ("file a type b\n", 1),
            ("file \"a seq 2 type b\n", 1),
        ] {
            assert_eq!(parse_manifest(text).unwrap_err().0, line, "{text}");
        }
    }
}
