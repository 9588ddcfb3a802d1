//! Loading one shard from the store: session, cache and the events that groups have not acknowledged.
//!
//! What cannot be read costs the shard its session, is said in the log, and is told to the groups as a gap; never a silent fresh start.

use bytes::Bytes;
use trunkline_cache::{Cache, CacheConfig};
use trunkline_delivery::RestoredLog;
use trunkline_discord::{GapCause, ShardId, Time};
use trunkline_session::ResumePoint;
use trunkline_store::{ShardKey, Store, StoreError};

use super::core::place;
use super::record::Record;

/// New sessions of the n-th life of a shard are numbered from n × 2^20 up (the first life from 1): a session that was begun and not
/// yet in a checkpoint when the process was killed must not lend its number to another one.
const ORDINALS_PER_LIFE: u32 = 20;

/// A shard as the store had it.
pub struct Loaded {
    /// Our epoch for it.
    pub epoch: u64,
    /// Its log; none when there was nothing, or nothing that could be read.
    pub log: Option<RestoredLog>,
    /// The log's record as it was stored.
    pub log_record: Vec<u8>,
    /// Its cache.
    pub cache: Cache,
    /// Its session.
    pub resume: Option<ResumePoint>,
    /// New sessions are numbered above this.
    pub ordinal: u64,
    /// The store's rows of the cache are to be dropped.
    pub clear_cache: bool,
    /// Entries that came back.
    pub entries: u64,
    /// What is missing already, to be told.
    pub gap: Option<StartGap>,
}

/// A gap that is known before the shard has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartGap {
    /// The last session that is known.
    pub session: u64,
    /// First missing event, where that is known.
    pub first_s: Option<u64>,
    /// Why.
    pub cause: GapCause,
}

/// A shard's name in the store.
#[must_use]
pub fn key_of(shard: ShardId) -> ShardKey {
    ShardKey { bot: shard.bot, index: shard.index, count: shard.count }
}

/// Loads a shard; blocks. `memory_bytes`: bodies that are kept in memory, the rest stays on disk.
///
/// # Errors
/// When the store cannot be read at this moment (not: when what it has is damaged), in one line.
pub fn load(store: &Store, shard: ShardId, now: Time, unix_us: u64, memory_bytes: u64) -> Result<Loaded, String> {
    let key = key_of(shard);
    let epoch = store.next_epoch(key).map_err(|error| error.to_string())?;
    let base = if epoch > 1 { epoch << ORDINALS_PER_LIFE } else { 0 };
    let nothing = Loaded {
        epoch,
        log: None,
        log_record: Vec::new(),
        cache: Cache::new(CacheConfig::default()),
        resume: None,
        ordinal: base,
        clear_cache: true,
        entries: 0,
        gap: None,
    };
    let damaged = |nothing: Loaded, session: u64, why: String| -> Result<Loaded, String> {
        tracing::error!(bot = %shard.bot, shard = %place(shard), "the checkpoint cannot be read, the shard identifies afresh and every group is told a gap: {why}");
        // Positions begin anew: nothing of the old log may stay beside them.
        store.forget_shard(key).map_err(|error| error.to_string())?;
        Ok(Loaded { gap: Some(StartGap { session, first_s: None, cause: GapCause::StoreFailed }), ..nothing })
    };
    let record = match store.load_record(key) {
        Ok(Some(stored)) => stored.record,
        Ok(None) => return Ok(nothing),
        Err(StoreError::Corrupt { .. }) => return damaged(nothing, 0, "its record is damaged".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let record = match Record::decode(&record) {
        Ok(record) => record,
        Err(error) => return damaged(nothing, 0, error),
    };
    let mut log = match RestoredLog::decode(&record.log, now, unix_us, memory_bytes) {
        Ok(log) => log,
        Err(error) => return damaged(nothing, record.ordinal, error.to_string()),
    };
    let mut entries = 0;
    let mut unreadable = 0;
    let scanned = store.scan_entries(key, &mut |position, at, bytes| match log.push(position, super::keeper::location(at), bytes) {
        Ok(_) => entries += 1,
        Err(_) => unreadable += 1,
    });
    match scanned {
        Ok(missing) => unreadable += missing,
        Err(error) => return Err(error.to_string()),
    }
    if unreadable > 0 {
        tracing::error!(bot = %shard.bot, shard = %place(shard), missing = unreadable, "stored events cannot be read; groups that want them are told a gap");
    }
    let (cache, whole) = load_cache(store, shard);
    let gap = match &record.resume {
        Some(_) => None,
        // The process ended between two sessions: what Discord emitted since nobody saw.
        None if record.ordinal > 0 => Some(StartGap { session: record.ordinal, first_s: None, cause: GapCause::SessionLost }),
        None => None,
    };
    Ok(Loaded {
        log: Some(log),
        log_record: record.log,
        cache,
        resume: record.resume,
        ordinal: base.max(record.ordinal),
        // Without a cache that can be trusted whole, its rows are dropped; GUILD_CREATEs fill it again.
        clear_cache: !whole,
        entries,
        gap,
        ..nothing
    })
}

fn load_cache(store: &Store, shard: ShardId) -> (Cache, bool) {
    let mut cache = Cache::new(CacheConfig::default());
    let mut bad_rows = 0_u64;
    let rows = store.load_cache(key_of(shard), &mut |key, value| {
        if cache.load(key, Bytes::copy_from_slice(value)).is_err() {
            bad_rows += 1;
        }
    });
    if bad_rows == 0 && rows.is_ok() {
        return (cache, true);
    }
    tracing::error!(
        bot = %shard.bot,
        shard = %place(shard),
        rows = bad_rows,
        "the stored cache cannot be read whole and is dropped; updates carry no previous state until Discord has told the objects again"
    );
    (Cache::new(CacheConfig::default()), false)
}

/// Shards of this bot that the store has under another shard count.
///
/// # Errors
/// When the store cannot be read, in one line.
pub fn of_another_count(store: &Store, bot: u64, count: u32) -> Result<Vec<ShardId>, String> {
    let all = store.list_shards().map_err(|error| error.to_string())?;
    let others = all.into_iter().filter(|key| key.bot == bot && key.count != count);
    Ok(others.map(|key| ShardId { bot: key.bot, index: key.index, count: key.count }).collect())
}
