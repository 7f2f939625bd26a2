//! What a directory holds, as stores; and stores as a new directory, of one checkpoint a shard.

use std::io;
use std::ops::Range;

use super::ReadOnly;
use crate::checkpoint::{WalkOptions, publish_checkpoint, write_checkpoint_at_once};
use crate::disk::Disk;
use crate::log::LogStart;
use crate::log::limits::ALIGNMENT_MIN;
use crate::manifest::DataDirectory;
use crate::recovery::{
    Outcomes, RecoveryError, RecoveryOptions, SalvageOptions, Salvaged, recover_shard, salvage_shard,
};
use crate::{Effect, EffectSink, Log, LogOptions, Lsn, ShardId, Store, StoreOptions, TransactionId};

/// Takes effects that nobody logs: those of recovery are in a log already.
#[derive(Debug)]
pub struct NoLog;

impl EffectSink for NoLog {
    fn append(&mut self, _: Effect<'_>) -> Lsn {
        unreachable!("recovery applies effects, it does not make any")
    }
    fn end_group(&mut self) {}
    fn begin_transaction(&mut self, _: TransactionId, _: &[ShardId]) -> Lsn {
        unreachable!("recovery applies transactions, it does not make any")
    }
    fn append_depends(&mut self, _: &[TransactionId]) -> Lsn {
        unreachable!("recovery applies transactions, it does not make any")
    }
}

/// Reads a shard of the newest epoch into a store. Strictly, as a start does; or, with options, what can be had.
///
/// The store believes that no time has passed: nothing in it has expired.
pub async fn load_shard<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    shard: ShardId,
    outcomes: &Outcomes,
    salvage: Option<SalvageOptions>,
    hash_seed: u64,
) -> Result<(Store<NoLog>, Salvaged), RecoveryError> {
    let mut store = Store::new(StoreOptions { databases: directory.databases, hash_seed }, NoLog);
    let mut apply = |effect: &Effect<'_>, groups: &Range<u16>| store.apply(effect, groups);
    let disk = &ReadOnly::new(disk);
    let salvaged = if let Some(options) = salvage {
        salvage_shard(disk, directory, shard, outcomes, options, &mut apply).await
    } else {
        let options = RecoveryOptions { alignment: ALIGNMENT_MIN };
        let recovered = recover_shard(disk, directory, shard, options, outcomes, &mut apply).await?;
        let last_lsn = recovered.start.position.last_lsn;
        Salvaged { report: recovered.report, last_lsn, ..Salvaged::default() }
    };
    while store.reclaim(1 << 20) {}
    Ok((store, salvaged))
}

/// Writes a store as the first checkpoint of a shard of a new directory. Returns its records and bytes.
pub async fn write_shard<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    shard: ShardId,
    store: Store<NoLog>,
) -> io::Result<(u64, u64)> {
    let epoch = directory.epoch();
    let start = LogStart::<D::File>::empty(
        directory.shard_directory(epoch, shard),
        directory.log_identity(epoch, shard),
        directory.incarnation,
    );
    let mut store = store.with_sink(Log::new(LogOptions { shard, ..LogOptions::default() }, start));
    let (request, written, records) =
        write_checkpoint_at_once(disk, &mut store, 1, WalkOptions::default()).await?;
    publish_checkpoint(disk, &request).await?;
    Ok((records, written.bytes))
}
