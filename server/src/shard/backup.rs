//! Backups of a server that serves: `annulus backup --from` reads the files itself, and the shards see to it that they stay.
//!
//! - BEGIN: every shard names its newest checkpoint, and keeps it and the log from there on, under these names or those of what is
//!   retained, as long as the backup is under way.
//! - CUT: all shards name the last effect in their logs, at one moment at which no transaction over several shards is under way (they hold
//!   the locks of all keys): what is before it in all logs is a state that clients may have seen.
//! - KEEP: the backup is still under way; answers how far each log has claimed to be durable.
//! - END when it is complete, ABORT when it failed, or no KEEP for a while, which is a failure, too: it isn't any more. The next checkpoint gives
//!   up what was kept.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use annulus_protocol::{Encoder, Version, parse_i64};

use super::Core;
use super::batch::Work;
use super::limits::BACKUP_LEASE_NS;
use crate::admin::info::BackupState;
use crate::commands::{BackupCommand, Merge};
use crate::runtime::SocketId;

/// Bits of a backup's number that count.
const COUNT_BITS: u32 = 24;

/// The backup that is under way, if one is. All shards see it.
#[derive(Debug, Default)]
pub(super) struct Backup {
    /// The last backup: the start of the server above, the count below, so that none has the number of one that another life has begun.
    number: AtomicU64,
    /// Until then it is under way, monotonic ns.
    until_ns: AtomicU64,
    /// The number of the last one that was complete, and when that was, Unix seconds.
    complete: AtomicU64,
    complete_seconds: AtomicU64,
    /// The one before the last begun has failed.
    failed_before: AtomicBool,
}

impl Backup {
    /// Begins one, and returns its number. Nothing if one is under way.
    fn begin(&self, now_ns: u64, starts: u32) -> Option<u64> {
        let until_ns = self.until_ns.load(Ordering::Acquire);
        let lease = now_ns.saturating_add(BACKUP_LEASE_NS);
        let begins = until_ns <= now_ns
            && self.until_ns.compare_exchange(until_ns, lease, Ordering::AcqRel, Ordering::Acquire).is_ok();
        let next = self.number.load(Ordering::Acquire).max(u64::from(starts) << COUNT_BITS) + 1;
        begins.then(|| {
            self.failed_before.store(self.has_last_failed(), Ordering::Release);
            self.number.store(next, Ordering::Release);
            next
        })
    }

    /// The number of the one that is under way.
    fn current(&self, now_ns: u64) -> Option<u64> {
        (self.until_ns.load(Ordering::Acquire) > now_ns).then(|| self.number.load(Ordering::Acquire))
    }

    /// Whether that one is still under way.
    fn is_current(&self, number: u64, now_ns: u64) -> bool {
        self.current(now_ns) == Some(number)
    }

    fn keep(&self, now_ns: u64) {
        self.until_ns.fetch_max(now_ns.saturating_add(BACKUP_LEASE_NS), Ordering::AcqRel);
    }

    /// It's over; `seconds`: when it was complete, if it was.
    fn end(&self, number: u64, seconds: Option<u64>) {
        if let Some(seconds) = seconds {
            self.complete_seconds.store(seconds, Ordering::Release);
            self.complete.store(number, Ordering::Release);
        }
        self.until_ns.store(0, Ordering::Release);
    }

    /// Whether the last that was begun was not complete. One that is under way isn't yet.
    fn has_last_failed(&self) -> bool {
        self.number.load(Ordering::Acquire) != self.complete.load(Ordering::Acquire)
    }

    /// For INFO: whether one is under way, when the last one was complete (0: none was), and whether the last that has ended failed.
    pub(super) fn state(&self, now_ns: u64) -> BackupState {
        let is_under_way = self.current(now_ns).is_some();
        let last_failed =
            if is_under_way { self.failed_before.load(Ordering::Acquire) } else { self.has_last_failed() };
        let last_seconds = self.complete_seconds.load(Ordering::Acquire);
        BackupState { is_under_way, last_seconds, last_failed }
    }
}

impl Core {
    /// BACKUP BEGIN, KEEP, END and ABORT. CUT is a command like DBSIZE.
    pub(super) fn backup(&mut self, socket: SocketId, which: BackupCommand, args: &[&[u8]]) {
        let now_ns = self.time.monotonic_ns;
        let number =
            args.get(2).and_then(|word| parse_i64(word)).and_then(|number| u64::try_from(number).ok());
        let backup = &self.shared.backup;
        let is_known = number.is_some_and(|number| backup.is_current(number, now_ns));
        let has_all = self.shared.saves.have_all(self.shards);
        match which {
            BackupCommand::Begin if self.checkpoints.may_need_past(has_all) => {
                let text = "ERR a checkpoint is under way that the backup needs; begin when it is complete";
                self.answer(socket, |out| out.error(text));
            }
            BackupCommand::Begin if self.checkpoints.has_directory() => {
                if backup.begin(now_ns, self.checkpoints.directory_name().1).is_none() {
                    let text = "ERR a backup is under way; if its program is gone it ends by itself within 20 seconds";
                    return self.answer(socket, |out| out.error(text));
                }
                tracing::info!(shard = self.id.0, "a backup begins: what it needs is kept");
                self.start_broadcast(socket, Work::Core(hold), Merge::Concat, args);
            }
            BackupCommand::Begin => self.answer(socket, |out| out.error("ERR there is no data directory")),
            _ if !is_known => self.answer(socket, |out| {
                out.error("ERR no such backup is under way: it has ended, or was not kept for too long");
            }),
            BackupCommand::Keep => {
                backup.keep(now_ns);
                self.start_broadcast(socket, Work::Core(tell_claimed), Merge::Concat, args);
            }
            BackupCommand::End => {
                backup.end(number.unwrap_or_default(), Some(self.time.unix_us / 1_000_000));
                tracing::info!(shard = self.id.0, "the backup is complete");
                self.answer_ok(socket);
            }
            BackupCommand::Abort => {
                backup.end(number.unwrap_or_default(), None);
                tracing::warn!(shard = self.id.0, "the backup has failed: its program says why");
                self.answer_ok(socket);
            }
        }
    }

    /// Whether a backup is under way that needs what there was when it began.
    pub(super) fn is_backed_up(&self) -> bool {
        self.shared.backup.current(self.time.monotonic_ns).is_some()
    }

    /// The checkpoint that a backup under way begins with, 0 for the beginning of the log.
    pub(super) fn held_checkpoint(&self) -> Option<u64> {
        let (number, checkpoint) = self.checkpoints.held()?;
        self.shared.backup.is_current(number, self.time.monotonic_ns).then_some(checkpoint)
    }
}

/// Keeps the newest checkpoint: number of the backup, identity and starts of the directory, shard, number of the checkpoint.
fn hold(core: &mut Core, _: &[&[u8]], out: &mut Vec<u8>) {
    let number = core.shared.backup.number.load(Ordering::Acquire);
    let checkpoint = core.checkpoints.hold(number);
    let (identity, starts) = core.checkpoints.directory_name();
    let mut out = Encoder::new(out, Version::Resp2);
    out.array_header(1);
    out.array_header(5);
    out.integer(number as i64);
    out.bulk(format!("{identity:016x}"));
    out.integer(i64::from(starts));
    out.integer(i64::from(core.id.0));
    out.integer(checkpoint as i64);
}

/// The shard, and up to where its log says on disk that it is durable.
fn tell_claimed(core: &mut Core, _: &[&[u8]], out: &mut Vec<u8>) {
    let mut out = Encoder::new(out, Version::Resp2);
    out.array_header(1);
    out.array_header(2);
    out.integer(i64::from(core.id.0));
    out.integer(core.store.sink().claimed().0 as i64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_backup_is_under_way_at_a_time_and_one_that_nobody_keeps_ends() {
        let backup = Backup::default();
        let number = backup.begin(5, 1).expect("none is under way");
        assert_eq!(backup.begin(6, 1), None);
        backup.keep(1000);
        assert!(backup.is_current(number, 1000 + BACKUP_LEASE_NS - 1));
        assert!(!backup.is_current(number, 1000 + BACKUP_LEASE_NS));
        let next = backup.begin(1000 + BACKUP_LEASE_NS, 1).expect("the first has ended");
        assert!(next != number && !backup.is_current(number, 1000 + BACKUP_LEASE_NS));
        backup.end(next, Some(7));
        assert_eq!(backup.current(2000), None);
    }

    #[test]
    fn info_tells_of_the_last_backup_that_has_ended() {
        let backup = Backup::default();
        let told = |now_ns| {
            let BackupState { is_under_way, last_seconds, last_failed } = backup.state(now_ns);
            (is_under_way, last_seconds, last_failed)
        };
        assert_eq!(told(1), (false, 0, false));
        let first = backup.begin(1, 1).expect("none is under way");
        assert_eq!(told(2), (true, 0, false));
        backup.end(first, Some(70));
        assert_eq!(told(3), (false, 70, false));
        let second = backup.begin(4, 1).expect("none is under way");
        backup.end(second, None);
        assert_eq!(told(5), (false, 70, true));
        let third = backup.begin(6, 1).expect("none is under way");
        assert_eq!(told(7), (true, 70, true), "the one before has failed");
        backup.end(third, Some(80));
        assert_eq!(told(8), (false, 80, false));
        backup.begin(9, 1).expect("none is under way");
        assert_eq!(told(9 + BACKUP_LEASE_NS), (false, 80, true), "nobody has kept it");
    }

    #[test]
    fn a_backup_of_another_life_has_another_number() {
        let (before, after) = (Backup::default(), Backup::default());
        let number = before.begin(5, 1).expect("none is under way");
        assert_ne!(after.begin(5, 2).expect("none is under way"), number);
        assert!(!after.is_current(number, 6));
    }
}
