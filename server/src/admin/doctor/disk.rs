//! The data directory: its file system, whether direct I/O works there, how long a commit takes, and how much room there is.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, open, statfs, statvfs, statx};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};

use super::{Finding, Level};
use crate::admin::info::human_bytes;
use crate::admin::settings::{Durability, Settings};
use annulus_storage::AlignedBuffer;

const TOPIC: &str = "data directory";

/// The size and alignment of what the log writes at least.
const BLOCK_BYTES: usize = 4096;
/// The largest alignment that the log's frames keep.
const ALIGNMENT_MAX: u32 = 4096;
/// Commits that are timed: enough for a median, done in milliseconds on a good disk.
const COMMITS: usize = 32;
/// A shard writes one segment, keeps one ready, and needs room for data to stay.
const SEGMENTS_WANTED: u64 = 4;

pub(super) fn findings(settings: &Settings) -> Vec<Finding> {
    let Some(place) = settings.dir.ancestors().find_map(existing) else {
        return vec![Finding::new(
            Level::Failure,
            TOPIC,
            format!("{}: there's no such place", settings.dir.display()),
        )];
    };
    let mut findings = Vec::new();
    let shown = settings.dir.display();
    if !place.is_dir() {
        findings.push(
            Finding::new(Level::Failure, TOPIC, format!("{} is not a directory", place.display()))
                .advice("choose another one with --dir"),
        );
        return findings;
    }
    findings.push(Finding::good(
        TOPIC,
        if place == settings.dir { format!("{shown} exists") } else { format!("{shown} will be created") },
    ));
    if let Ok(facts) = statfs(place) {
        findings.push(file_system(facts.f_type as u64));
    }
    if let Ok(room) = statvfs(place) {
        findings.push(free_space(room.f_bavail * room.f_frsize, settings));
    }
    findings.extend(direct_io(place, settings.durability));
    findings
}

/// The path if it is there; the empty path is the working directory.
fn existing(path: &Path) -> Option<&Path> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    path.exists().then_some(path)
}

/// Judges a file system by its magic number (linux/magic.h).
fn file_system(magic: u64) -> Finding {
    const TOPIC: &str = "file system";
    let warn = |name: &str, why: &str| {
        Finding::new(Level::Warning, TOPIC, format!("{name}: {why}"))
            .advice("put --dir on ext4 or xfs on a local disk")
    };
    match magic {
        0xEF53 => Finding::good(TOPIC, "ext4"),
        0x5846_5342 => Finding::good(TOPIC, "xfs"),
        0xF2F5_2010 => Finding::good(TOPIC, "f2fs"),
        0x9123_683E => warn("btrfs", "copies on write, so each commit allocates; slow, and it fragments"),
        0x2FC1_2FC1 => warn("zfs", "copies on write and caches by itself; commits are slow"),
        0x0102_1994 | 0x8584_58F6 => warn("tmpfs", "is memory: nothing in it survives a power cut"),
        0x794C_7630 => warn("overlayfs", "a container's own layer goes away with it; mount a volume"),
        0x6969 => warn("nfs", "a commit waits for the network, and locks depend on the server"),
        0x6573_5546 => warn("fuse", "its promises depend on the program behind it"),
        other => Finding::new(Level::Note, TOPIC, format!("unknown to us (magic {other:#x})")),
    }
}

fn free_space(bytes: u64, settings: &Settings) -> Finding {
    const TOPIC: &str = "free space";
    let wanted = SEGMENTS_WANTED * settings.log_segment_size * settings.shards as u64;
    let text = human_bytes(bytes);
    if bytes >= wanted {
        return Finding::good(TOPIC, text);
    }
    let shards = settings.shards;
    Finding::new(
        Level::Warning,
        TOPIC,
        format!("{text}, less than {SEGMENTS_WANTED} segments for each of {shards} shards"),
    )
    .advice(format!("free {}, or choose a smaller --log-segment-size", human_bytes(wanted - bytes)))
}

/// Tries direct I/O on a file without a name, which disappears when it is closed.
fn direct_io(place: &Path, durability: Durability) -> Vec<Finding> {
    const TOPIC: &str = "direct I/O";
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC;
    let file = match open(place, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file),
        Err(errno) => return vec![no_file(errno, place)],
    };
    let mut findings = Vec::new();
    if let Ok(facts) = statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
        let told = StatxFlags::from_bits_retain(facts.stx_mask).contains(StatxFlags::DIOALIGN);
        findings.extend(told.then(|| alignment(facts.stx_dio_mem_align, facts.stx_dio_offset_align)));
    }
    match timed_commits(&file) {
        Ok(times) => findings.push(commit_time(&times, durability)),
        Err(error) => findings.push(
            Finding::new(Level::Failure, TOPIC, format!("a write fails: {error}"))
                .advice("use another file system"),
        ),
    }
    findings
}

fn no_file(errno: Errno, place: &Path) -> Finding {
    const TOPIC: &str = "direct I/O";
    let place = place.display();
    match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => {
            Finding::new(Level::Failure, TOPIC, format!("{place} is not writable: {errno}"))
                .advice("give this user the directory, or choose another one with --dir")
        }
        Errno::INVAL | Errno::OPNOTSUPP | Errno::ISDIR => {
            Finding::new(Level::Warning, TOPIC, format!("this file system cannot tell: {errno}"))
                .advice("put --dir on ext4 or xfs on a local disk")
        }
        _ => Finding::new(Level::Failure, TOPIC, format!("no file can be made in {place}: {errno}")),
    }
}

/// Judges what the file system asks of buffers and offsets; zeros say that it does no direct I/O.
fn alignment(memory: u32, offset: u32) -> Finding {
    const TOPIC: &str = "direct I/O";
    let text = format!("buffers aligned to {memory}, offsets to {offset} bytes");
    match memory.max(offset) {
        0 => Finding::new(Level::Warning, TOPIC, "the file system does none")
            .advice("commits go through the page cache, which is slower; put --dir on ext4 or xfs"),
        wanted if wanted > ALIGNMENT_MAX => {
            Finding::new(Level::Failure, TOPIC, format!("{text}; at most {ALIGNMENT_MAX} is supported"))
                .advice("use a disk with blocks of 4096 bytes or less")
        }
        _ => Finding::good(TOPIC, text),
    }
}

/// How long commits of one block take: on blocks that were written before, as in a prepared segment.
fn timed_commits(file: &File) -> io::Result<Vec<Duration>> {
    let buffer = AlignedBuffer::new(BLOCK_BYTES);
    let offsets = || (0..COMMITS as u64).map(|index| index * BLOCK_BYTES as u64);
    for offset in offsets() {
        write_block(file, &buffer, offset, ReadWriteFlags::empty())?;
    }
    rustix::fs::fdatasync(file)?;
    offsets()
        .map(|offset| {
            #[expect(clippy::disallowed_methods, reason = "a command-line tool, outside any shard")]
            let before = std::time::Instant::now();
            write_block(file, &buffer, offset, ReadWriteFlags::DSYNC)?;
            Ok(before.elapsed())
        })
        .collect()
}

fn write_block(file: &File, block: &[u8], offset: u64, flags: ReadWriteFlags) -> io::Result<()> {
    let written = pwritev2(file, &[IoSlice::new(block)], offset, flags)?;
    if written == block.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

fn commit_time(times: &[Duration], durability: Durability) -> Finding {
    const TOPIC: &str = "commit";
    const SLOW: Duration = Duration::from_millis(2);
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = |part: usize| times.get(part.min(times.len().saturating_sub(1))).copied().unwrap_or_default();
    let (median, worst) = (at(times.len() / 2), at(times.len()));
    let text = format!(
        "4096 bytes are on stable storage in {} µs (median), {} µs (worst)",
        median.as_micros(),
        worst.as_micros()
    );
    if median < SLOW {
        return Finding::good(TOPIC, text);
    }
    let level = if durability == Durability::Always { Level::Warning } else { Level::Note };
    Finding::new(level, TOPIC, text).advice(
        "each write waits that long under durability always; a disk with power-loss protection is faster",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_no_directory_can_be_made_in_is_a_failure() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        std::fs::OpenOptions::new().create(true).append(true).open(&file).expect("a file");
        let settings = Settings { dir: file.join("data"), ..Settings::default() };
        let found = findings(&settings);
        assert_eq!(found.iter().map(|finding| finding.level).max(), Some(Level::Failure), "{found:?}");
    }

    #[test]
    fn file_systems_that_break_a_promise_are_warned_of() {
        assert_eq!(file_system(0xEF53).level, Level::Good);
        assert_eq!(file_system(0x0102_1994).level, Level::Warning);
        assert_eq!(file_system(7).level, Level::Note);
    }

    #[test]
    fn alignment_beyond_a_frame_is_a_failure() {
        assert_eq!(alignment(4, 512).level, Level::Good);
        assert_eq!(alignment(4096, 4096).level, Level::Good);
        assert_eq!(alignment(512, 16_384).level, Level::Failure);
        assert_eq!(alignment(0, 0).level, Level::Warning);
    }

    #[test]
    fn slow_commits_matter_where_replies_wait_for_them() {
        let times = [Duration::from_millis(9); 3];
        assert_eq!(commit_time(&times, Durability::Always).level, Level::Warning);
        assert_eq!(commit_time(&times, Durability::None).level, Level::Note);
        assert_eq!(commit_time(&[Duration::from_micros(60)], Durability::Always).level, Level::Good);
    }

    #[test]
    fn room_is_judged_by_segments_and_shards() {
        let settings = Settings { shards: 2, log_segment_size: 1 << 20, ..Settings::default() };
        assert_eq!(free_space(8 << 20, &settings).level, Level::Good);
        let finding = free_space(7 << 20, &settings);
        assert!(finding.level == Level::Warning && finding.advice.contains("1.00M"), "{finding:?}");
    }
}
