//! Loading one shard from the store: session, cache and the events that groups have not acknowledged.
//!
//! What cannot be read costs the shard its session, is said in the log, and is told to the groups as a gap; never a silent fresh start.
//!
//! # What a later version has written
//! It is not damaged, and is not deleted. Where this version cannot go on from it (records, events, rows of a later form) the shard is not
//! taken, with an error that says so. Where it can, it does: rows of kinds that it does not know stay in the store as they are (they may be
//! out of date when the later version comes back, which has to reckon with that), and flags of a guild that it does not know are left out.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use trunkline_cache::{Kinds, LoadError, ROW_VERSION, Rows};
use trunkline_delivery::{ENTRY_VERSION, RestoredLog};
use trunkline_discord::{GapCause, ShardId, Time};
use trunkline_session::ResumePoint;
use trunkline_store::{ShardKey, Store, StoreError};

use super::core::place;
use super::record::{Record, RecordError};
use super::removed::ByGroup;
use super::rows::{is_of_later_kind, without_later_flags};

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
    /// Its cache's rows; the cache itself is made on the core that owns it.
    pub cache: Rows,
    /// Its session.
    pub resume: Option<ResumePoint>,
    /// The kinds of objects that the cache has kept since that session began.
    pub kinds: Kinds,
    /// New sessions are numbered above this.
    pub ordinal: u64,
    /// The store's rows of the cache are to be dropped.
    pub clear_cache: bool,
    /// Entries that came back.
    pub entries: u64,
    /// What is missing already, to be told.
    pub gap: Option<StartGap>,
    /// What groups that are not configured any more had not acknowledged; the next checkpoint is without it.
    pub dropped: ByGroup,
}

/// Why a shard was not loaded. Nothing that can be read of what the store has of it was given up.
#[derive(Debug)]
pub enum NotLoaded {
    /// The store cannot be read at this moment: its server is away, its disk is full. To be tried again.
    Now(String),
    /// It will be the same next time: what is stored is of a later version, or damaged beyond what can be left out.
    Ever(String),
}

impl std::fmt::Display for NotLoaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Now(why) | Self::Ever(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for NotLoaded {}

impl From<StoreError> for NotLoaded {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full { .. } | StoreError::Server { .. } | StoreError::Io { .. } => Self::Now(error.to_string()),
            _ => Self::Ever(error.to_string()),
        }
    }
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

/// Loads a shard; blocks. `groups`: those that are configured. `memory_bytes`: bodies that are kept in memory, the rest stays on disk.
///
/// # Errors
/// When the store cannot be read at this moment (not: when what it has is damaged), or a later version has written what it has; in one line.
pub fn load(store: &Store, shard: ShardId, groups: &[&str], now: Time, unix_us: u64, memory_bytes: u64) -> Result<Loaded, NotLoaded> {
    let key = key_of(shard);
    let epoch = store.next_epoch(key)?;
    let base = if epoch > 1 { epoch << ORDINALS_PER_LIFE } else { 0 };
    let nothing = Loaded {
        epoch,
        log: None,
        log_record: Vec::new(),
        cache: Rows::default(),
        resume: None,
        kinds: Kinds::ALL,
        ordinal: base,
        clear_cache: true,
        entries: 0,
        gap: None,
        dropped: ByGroup::new(),
    };
    let lost = |nothing: Loaded, session: u64| -> Result<Loaded, NotLoaded> {
        note_loss(store, shard, session)?;
        Ok(Loaded { gap: Some(StartGap { session, first_s: None, cause: GapCause::StoreFailed }), ..nothing })
    };
    let damaged = |nothing: Loaded, session: u64, why: String| -> Result<Loaded, NotLoaded> {
        tracing::error!(bot = %shard.bot, shard = %place(shard), "the checkpoint cannot be read, the shard identifies afresh and every group is told a gap: {why}");
        // Whoever loads this shard may not come to tell it: its bot may fail meanwhile, the process end. So the loss is noted before its cause goes.
        let loaded = lost(nothing, session)?;
        // Positions begin anew: nothing of the old log may stay beside them.
        store.forget_shard(key)?;
        Ok(loaded)
    };
    let record = match store.load_record(key) {
        Ok(Some(stored)) => {
            // Whoever wrote this record has told the loss.
            forget_loss(store, shard)?;
            stored.record
        }
        // No checkpoint was written since the loss: nobody who could have told it has come that far.
        Ok(None) => match noted_loss(store, shard)? {
            Some(session) => return lost(nothing, session),
            None => return Ok(nothing),
        },
        Err(StoreError::Corrupt { .. }) => return damaged(nothing, 0, "its record is damaged".to_owned()),
        Err(error) => return Err(error.into()),
    };
    let record = match Record::decode(&record) {
        Ok(record) => record,
        Err(RecordError::Newer(what)) => return Err(later(store, &what)),
        Err(RecordError::Damaged(error)) => return damaged(nothing, 0, error),
    };
    let mut log = match RestoredLog::decode(&record.log, now, unix_us, memory_bytes) {
        Ok(log) => log,
        Err(error) => return damaged(nothing, record.ordinal, error.to_string()),
    };
    let gone = log.pending().filter(|(name, events)| *events > 0 && !groups.contains(name));
    let dropped = gone.map(|(name, events)| (name.to_owned(), events)).collect();
    let mut entries = 0;
    let mut unreadable = 0;
    let mut later_entry = None;
    let scanned = store.scan_entries(key, &mut |position, at, bytes| match log.push(position, super::keeper::location(at), bytes) {
        // One that all groups have acknowledged lies in the newest segment still.
        Ok(true) => entries += 1,
        Ok(false) => {}
        Err(_) => {
            unreadable += 1;
            later_entry = later_entry.max(bytes.first().copied().filter(|version| *version > ENTRY_VERSION));
        }
    });
    if let Some(version) = later_entry {
        return Err(later(store, &format!("events of version {version}, this one knows {ENTRY_VERSION}")));
    }
    unreadable += scanned?;
    if unreadable > 0 {
        tracing::error!(bot = %shard.bot, shard = %place(shard), missing = unreadable, "stored events cannot be read; groups that want them are told a gap");
    }
    let (cache, whole, other_version) = load_cache(store, shard)?;
    // A cache that another version wrote is known to hold nothing that can be used: the session is given up, so that Discord tells all of
    // it again. Of a damaged one nobody can say what it lacks; it fills as Discord tells, and no event is lost for it.
    let given_up = record.resume.as_ref().filter(|_| other_version).map(|point| StartGap {
        session: point.session,
        first_s: Some(point.s + 1),
        cause: GapCause::SessionLost,
    });
    let gap = match &record.resume {
        Some(_) => given_up,
        // The process ended between two sessions: what Discord emitted since nobody saw.
        None if record.ordinal > 0 => Some(StartGap { session: record.ordinal, first_s: None, cause: GapCause::SessionLost }),
        None => None,
    };
    Ok(Loaded {
        log: Some(log),
        log_record: record.log,
        cache,
        resume: record.resume.filter(|_| given_up.is_none()),
        kinds: record.kinds,
        ordinal: base.max(record.ordinal),
        // Without a cache that can be trusted whole, its rows are dropped; GUILD_CREATEs fill it again.
        clear_cache: !whole,
        entries,
        gap,
        dropped,
        ..nothing
    })
}

fn loss_name(shard: ShardId) -> String {
    format!("lost/{}/{}/{}", shard.bot, shard.index, shard.count)
}

/// Notes that a shard's checkpoint could not be read and is dropped, with the last session that is known.
fn note_loss(store: &Store, shard: ShardId, session: u64) -> Result<(), StoreError> {
    store.put_meta(&loss_name(shard), session.to_string().as_bytes())
}

/// The session of a loss that nobody has told yet.
fn noted_loss(store: &Store, shard: ShardId) -> Result<Option<u64>, StoreError> {
    let noted = store.get_meta(&loss_name(shard))?;
    Ok(noted.and_then(|noted| std::str::from_utf8(&noted).ok()?.parse().ok()))
}

fn forget_loss(store: &Store, shard: ShardId) -> Result<(), StoreError> {
    match noted_loss(store, shard)? {
        None => Ok(()),
        Some(_) => store.put_meta(&loss_name(shard), b""),
    }
}

/// Why a shard is not taken of which a later version has written `what`.
fn later(store: &Store, what: &str) -> NotLoaded {
    NotLoaded::Ever(format!(
        "a later version of this program has written to the store at {}: {what}; run that version again, or give this one a store of its own \
         (store.path or store.url). Nothing was deleted",
        store.place()
    ))
}

/// How often a long load says how far it has come.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// How far the loads of this process have come, over all shards.
static PROGRESS: Progress = Progress { rows: AtomicU64::new(0), told: Mutex::new(None) };

struct Progress {
    rows: AtomicU64,
    /// When the first row came, when it was last told, and about how many rows there are.
    told: Mutex<Option<(Instant, Instant, u64)>>,
}

impl Progress {
    /// Asks about how many rows there are, before the first load.
    fn begin(&self, store: &Store) {
        if let Ok(mut told) = self.told.lock()
            && told.is_none()
        {
            let now = Instant::now();
            *told = Some((now, now, store.rows_estimate().unwrap_or(0)));
        }
    }

    /// Counts a row, and says every few seconds how many there have been.
    fn one_more(&self) {
        let rows = self.rows.fetch_add(1, Ordering::Relaxed) + 1;
        // A clock for every row would cost more than the row.
        if !rows.is_multiple_of(1_024) {
            return;
        }
        let Ok(mut told) = self.told.lock() else { return };
        let now = Instant::now();
        let Some((began, last, total)) = *told else { return };
        if now.duration_since(last) >= PROGRESS_EVERY {
            let seconds = now.duration_since(began).as_secs();
            tracing::info!("loading the cache: {rows} of about {} rows, {seconds} s so far", total.max(rows));
            *told = Some((began, now, total));
        }
    }
}

/// Rows that cannot be read whose keys are kept to delete them; what is beyond is left to the next start.
const BAD_KEYS_MAX: usize = 100_000;

/// A shard's stored rows, as they are read.
#[derive(Default)]
struct Read {
    rows: Rows,
    bad: u64,
    bad_keys: Vec<Vec<u8>>,
    /// An earlier version has written one in another form.
    earlier: bool,
    /// A later version has, in the form with this number.
    later: Option<u8>,
    /// Rows of kinds that only a later version knows.
    later_kinds: u64,
    /// Guilds of whose flags only a later version knows some.
    later_flags: u64,
}

impl Read {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        let Err(error) = self.rows.push(key, value) else { return };
        if is_of_later_kind(key) {
            self.later_kinds += 1;
            return;
        }
        if let Some(known) = without_later_flags(key, value)
            && self.rows.push(key, &known).is_ok()
        {
            self.later_flags += 1;
            return;
        }
        if matches!(error, LoadError::Version(_)) {
            self.later = self.later.max(value.first().copied().filter(|version| *version > ROW_VERSION));
            self.earlier = true;
        }
        self.bad += 1;
        if self.bad_keys.len() < BAD_KEYS_MAX {
            self.bad_keys.push(key.to_vec());
        }
    }
}

/// The rows; whether they are all there; whether an earlier version wrote them.
///
/// # Errors
/// A later version wrote them, or they cannot be read at this moment.
fn load_cache(store: &Store, shard: ShardId) -> Result<(Rows, bool, bool), NotLoaded> {
    let mut found = Read::default();
    PROGRESS.begin(store);
    let read = store.load_cache(key_of(shard), &mut |key, value| {
        found.push(key, value);
        PROGRESS.one_more();
    });
    // Only what is damaged is given up: a server that goes away in the middle is no damage, nor is a disk that is full. Its rows would be dropped
    // for nothing.
    let read = match read {
        Err(error) if !matches!(error, StoreError::Corrupt { .. }) => return Err(error.into()),
        read => read,
    };
    let Read { rows, bad: bad_rows, bad_keys, earlier, later: later_form, later_kinds, later_flags } = found;
    if let Some(form) = later_form {
        return Err(later(store, &format!("rows of form {form}, this one knows {ROW_VERSION}")));
    }
    if later_kinds > 0 || later_flags > 0 {
        tracing::warn!(
            bot = %shard.bot,
            shard = %place(shard),
            "a later version of this program has stored {later_kinds} objects of kinds that this one does not know, and {later_flags} guilds with \
             flags that it does not know: the objects stay in the store as they are, the flags are left out"
        );
    }
    if bad_rows == 0 && read.is_ok() {
        return Ok((rows, true, false));
    }
    if earlier {
        tracing::warn!(
            bot = %shard.bot,
            shard = %place(shard),
            rows = bad_rows,
            "the stored cache was written by an earlier version in a form that this one does not read; the shard identifies afresh and every group is told a gap"
        );
    } else {
        tracing::error!(
            bot = %shard.bot,
            shard = %place(shard),
            rows = bad_rows,
            "stored objects cannot be read and are left out; updates of them carry no previous state until Discord has told them again"
        );
        if read.is_ok() {
            // Nobody will ever read them, and the next start is not to tell this again.
            match store.delete_cache(key_of(shard), &bad_keys) {
                Ok(()) => {
                    tracing::warn!(bot = %shard.bot, shard = %place(shard), rows = bad_keys.len(), "the rows that cannot be read are deleted")
                }
                Err(error) => tracing::warn!(bot = %shard.bot, shard = %place(shard), "the rows that cannot be read stay: {error}"),
            }
            // The session goes on, and Discord does not tell the others again.
            return Ok((rows, true, false));
        }
    }
    Ok((Rows::default(), false, earlier))
}

/// Shards of this bot that the store has under another shard count.
///
/// # Errors
/// When the store cannot be read, in one line.
pub fn of_another_count(store: &Store, bot: u64, count: u32) -> Result<Vec<ShardId>, NotLoaded> {
    let all = store.list_shards()?;
    let others = all.into_iter().filter(|key| key.bot == bot && key.count != count);
    Ok(others.map(|key| ShardId { bot: key.bot, index: key.index, count: key.count }).collect())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use trunkline_cache::{Cache, CacheConfig, Kind, Users};
    use trunkline_delivery::LOG_VERSION;
    use trunkline_store::{Commit, Options, Place, ShardCommit, Table};

    use super::*;
    use crate::roles::rows::CODEC;

    const SHARD: ShardId = ShardId { bot: 1, index: 0, count: 1 };

    type Cached = Vec<(Vec<u8>, Option<Bytes>)>;

    fn store() -> (Store, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a folder");
        (Store::open(dir.path(), Options::default()).expect("a store"), dir)
    }

    fn write(store: &Store, record: Bytes, cache: Cached, entries: Vec<(u64, Bytes)>) {
        let part = ShardCommit { cache, entries, ..ShardCommit::new(key_of(SHARD), 1 << 40, record) };
        store.commit(Commit { shards: vec![part] }).expect("written");
    }

    fn stored_rows(store: &Store) -> Cached {
        let mut rows = Vec::new();
        store.load_cache(key_of(SHARD), &mut |key, value| rows.push((key.to_vec(), Some(Bytes::copy_from_slice(value))))).expect("read");
        rows
    }

    fn role(id: u64) -> (Vec<u8>, Option<Bytes>) {
        let place = Place { table: Table::Roles, guild_id: 7, id };
        let value = (CODEC.value)(place, r#"{"id":"1","name":"x"}"#).expect("a value");
        ((CODEC.key)(place).expect("a key"), Some(Bytes::from(value)))
    }

    /// A shard's record: one group, which has not acknowledged position 5.
    fn record() -> Vec<u8> {
        let log = vec![LOG_VERSION, 9, 0, 1, 1, b'g', 1, 0, 1, 1, 5, 1, 0];
        Record { ordinal: 3, kinds: Kinds::ALL, resume: None, log }.encode().to_vec()
    }

    fn loaded(store: &Store) -> Result<Loaded, NotLoaded> {
        load(store, SHARD, &["g"], Time::ZERO, 1, 0)
    }

    #[test]
    fn what_a_later_version_has_written_is_refused_in_words_and_stays_as_it_is() {
        let entry = |version: u8| vec![(5, Bytes::from(vec![version, 0, 0]))];
        let later_row = (role(2).0, Some(Bytes::from_static(&[ROW_VERSION + 1, 1, 2, 3])));
        let cases = [
            (vec![record()[0] + 1, 7, 7], vec![role(1)], Vec::new(), "a record of version 3"),
            ([&record()[..17], &[LOG_VERSION + 1]].concat(), vec![role(1)], Vec::new(), "a log record of version 3"),
            (record(), vec![role(1)], entry(ENTRY_VERSION + 1), "events of version 2"),
            (record(), vec![role(1), later_row], Vec::new(), "rows of form 2"),
        ];
        for (record, cache, entries, what) in cases {
            let (store, _dir) = store();
            write(&store, Bytes::from(record.clone()), cache.clone(), entries.clone());
            for _ in 0..2 {
                let Err(NotLoaded::Ever(refused)) = loaded(&store) else { panic!("{what} was taken, or will be tried again") };
                assert!(
                    refused.contains(what) && refused.contains("a later version") && refused.contains("run that version again"),
                    "{refused}"
                );
                assert_eq!(stored_rows(&store), cache);
                let kept = store.load_shard(key_of(SHARD)).expect("readable").expect("there");
                assert_eq!((kept.record.as_ref(), kept.entries.len()), (record.as_slice(), entries.len()));
            }
        }
    }

    #[test]
    fn a_damaged_checkpoint_is_told_as_a_gap_though_nobody_came_to_tell_it_when_it_was_found() {
        let no_log = Record { ordinal: 3, kinds: Kinds::ALL, resume: None, log: vec![LOG_VERSION] }.encode();
        for (damaged, session) in [(Bytes::from(record()[..1].to_vec()), 0), (no_log, 3)] {
            let (store, _dir) = store();
            let gap = |store: &Store| loaded(store).expect("taken").gap;
            assert_eq!(gap(&store), None, "a shard that nobody has had before lacks nothing");
            write(&store, damaged, vec![role(1)], Vec::new());
            let told = Some(StartGap { session, first_s: None, cause: GapCause::StoreFailed });
            // The bot fails, or the process is killed, before there is a checkpoint in which the gap is.
            for _ in 0..3 {
                assert_eq!((gap(&store), stored_rows(&store)), (told, Vec::new()));
                // Killed between taking an epoch and reading anything.
                store.next_epoch(key_of(SHARD)).expect("an epoch");
            }
            let commit = || {
                let epoch = store.next_epoch(key_of(SHARD)).expect("an epoch");
                let part = ShardCommit::new(key_of(SHARD), epoch, Bytes::from(record()));
                store.commit(Commit { shards: vec![part] }).expect("written");
            };
            commit();
            let after = gap(&store);
            assert_eq!(after.map(|gap| gap.cause), Some(GapCause::SessionLost), "that of its own record");
            // One that was forgotten on purpose since, since its count has changed, lacks nothing when it comes again.
            store.forget_shard(key_of(SHARD)).expect("forgotten");
            assert_eq!(gap(&store), None);
            // What nobody has written is not believed.
            for noted in ["", "x", "-1", "99999999999999999999999", "1 1"] {
                store.put_meta(&loss_name(SHARD), noted.as_bytes()).expect("written");
                assert_eq!(gap(&store), None);
            }
        }
    }

    #[test]
    fn rows_of_kinds_that_only_a_later_version_knows_stay_and_its_flags_are_left_out() {
        let (store, _dir) = store();
        let kind = Kind::ALL.len() as u8;
        let of_later_kind = |kind: u8, len: usize| ([&[kind][..], &vec![7; len - 1]].concat(), Some(Bytes::from_static(&[9, 1, 2])));
        let state = |flags: u8| {
            let key = [&[Kind::State as u8][..], &7_u64.to_be_bytes()].concat();
            (key, Some(Bytes::from([&[ROW_VERSION, flags][..], &42_i64.to_le_bytes()].concat())))
        };
        let stored = vec![state(0b1111_1000), role(1), of_later_kind(kind, 9), of_later_kind(255, 17)];
        let damaged = [of_later_kind(kind, 10), (role(2).0, Some(Bytes::new()))];
        write(&store, Bytes::from(record()), [stored.clone(), damaged.to_vec()].concat(), Vec::new());
        for _ in 0..2 {
            let Loaded { cache: rows, clear_cache, .. } = loaded(&store).expect("taken");
            assert_eq!((rows.len(), clear_cache), (2, false));
            let mut cache = Cache::new(CacheConfig::default(), Users::default());
            assert_eq!(cache.load_rows(&rows), 0);
            let known = (state(0b1000).0, state(0b1000).1.expect("a value"));
            assert!(cache.all_rows().contains(&known), "the member count, and no flag");
            let left = stored_rows(&store);
            assert!(left.len() == stored.len() && stored.iter().all(|row| left.contains(row)), "{left:?}");
        }
    }

    #[test]
    fn rows_that_cannot_be_read_are_left_out_once_and_are_gone_then() {
        let (store, _dir) = store();
        let row = |id: u64, value: Option<Vec<u8>>| {
            let place = Place { table: Table::Roles, guild_id: 7, id };
            let value = value.or_else(|| (CODEC.value)(place, r#"{"id":"1","name":"x"}"#)).expect("a value");
            ((CODEC.key)(place).expect("a key"), Some(Bytes::from(value)))
        };
        let no_key = (b"no key".to_vec(), Some(Bytes::from_static(b"x")));
        let cache = vec![row(1, None), row(2, Some(vec![ROW_VERSION, 0xFF, 0xFF])), row(3, None), no_key];
        write(&store, Bytes::new(), cache, Vec::new());
        for stored in [4, 2] {
            assert_eq!(stored_rows(&store).len(), stored);
            let (rows, whole, other_version) = load_cache(&store, SHARD).expect("no later version");
            assert_eq!((rows.len(), whole, other_version), (2, true, false));
        }
    }
}
