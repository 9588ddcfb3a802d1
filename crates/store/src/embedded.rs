//! The embedded store: commits, loads, ledgers, epochs in files of one directory.
//!
//! One mutex around everything that changes; reading an entry's body takes none, since a segment's committed bytes
//! never change, and a shard's cache is read of a snapshot, for which it is taken at the beginning alone.
//!
//! Rows by kind byte: `m` meta, `l` ledger, `e` epoch, `r` shard record, `s` segment index, `c` cache.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use crate::batch::Batch;
use crate::error::{OpenError, StoreError};
use crate::kv::Kv;
use crate::lock::{self, Lock};
use crate::segments::{self, Appended, Segment, Segments};
use crate::store::{ENTRY_BYTES_MAX, check};
use crate::{
    Commit, Committed, FORMAT_VERSION, LoadedRecord, LoadedShard, Location, Options, Recovery, ShardCommit, ShardKey, SyncPolicy, TRIED,
    Usage,
};

/// How many times its size the journal may grow to while the key-value file cannot take it over; then commits fail.
const JOURNAL_OVERRUN_MAX: u64 = 8;
/// A commit is written in frames of about this part of the journal's size, 8 MiB: so much of it is in memory a second time.
const FRAMES: u64 = 4;
/// How often a load takes up the file where it was closed under it, by a commit that failed.
const LOAD_TRIES: usize = 5;
const RECORD_VERSION: u8 = 1;

/// An open embedded store.
pub(crate) struct Embedded {
    path: PathBuf,
    options: Options,
    recovery: Recovery,
    inner: Mutex<Inner>,
    _lock: Lock,
}

struct Inner {
    kv: Kv,
    shards: HashMap<ShardKey, Shard>,
    synced_at: Instant,
}

/// What a commit has to know of a shard; everything else stays in the rows.
struct Shard {
    epoch: u64,
    last_position: u64,
    floor: u64,
    segments: Segments,
}

impl Embedded {
    /// Opens the store in `path`, and makes one where there is none.
    pub(crate) fn open(path: &Path, options: Options) -> Result<Embedded, OpenError> {
        prepare(path)?;
        let lock = lock::take(path)?;
        let existing = format(path)?;
        let (kv, commits_replayed, journal_bytes_cut) = Kv::open(path, options.cache_bytes)?;
        Ok(Embedded {
            path: path.to_owned(),
            options,
            recovery: Recovery { created: !existing, commits_replayed, journal_bytes_cut },
            inner: Mutex::new(Inner { kv, shards: HashMap::new(), synced_at: Instant::now() }),
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What opening it found.
    pub(crate) fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// Stores a checkpoint of any number of shards as one unit. Once it has returned, it survives the process.
    ///
    /// Answers where each entry lies, in the order of the commit. On an error nothing of it is stored, and the same
    /// commit may be tried again.
    pub(crate) fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        check(&commit)?;
        let mut inner = self.lock();
        let inner = &mut *inner;
        for part in &commit.shards {
            let shard = inner.shard(&self.path, part.shard)?;
            if part.epoch < shard.epoch {
                return Err(StoreError::Fenced { shard: part.shard, stored: shard.epoch, given: part.epoch });
            }
        }
        if inner.kv.journal.len >= self.options.journal_bytes.saturating_mul(JOURNAL_OVERRUN_MAX) {
            inner.fold()?;
        }
        let mut batch = inner.kv.journal.batch(usize::try_from(self.options.journal_bytes / FRAMES).unwrap_or(usize::MAX));
        let mut all = Vec::with_capacity(commit.shards.len());
        let written = inner.append(&self.options, &commit, &mut batch, &mut all).and_then(|()| inner.kv.apply(&mut batch));
        if let Err(error) = written {
            inner.kv.journal.abandon();
            for (part, appended) in commit.shards.iter().zip(&all) {
                if let Some(shard) = inner.shards.get_mut(&part.shard) {
                    shard.segments.abandon(appended);
                }
            }
            return Err(error);
        }
        let mut out = Vec::with_capacity(commit.shards.len());
        for (part, appended) in commit.shards.iter().zip(all) {
            let Some(shard) = inner.shards.get_mut(&part.shard) else { continue };
            out.push((part.shard, shard.take(part, appended)));
        }
        self.afterwards(inner);
        Ok(out)
    }

    /// Syncs and folds where it is due. The commit has happened: what goes wrong here is told, and tried again later.
    fn afterwards(&self, inner: &mut Inner) {
        let due = match self.options.sync {
            SyncPolicy::Always => true,
            SyncPolicy::Every(interval) => inner.synced_at.elapsed() >= interval,
            SyncPolicy::Never => false,
        };
        let synced = if due { inner.sync() } else { Ok(()) };
        let folded = if inner.kv.journal.len >= self.options.journal_bytes { inner.fold() } else { Ok(()) };
        if let Err(error) = synced.and(folded) {
            tracing::warn!(%error, "the store could not be synced");
        }
    }

    /// A shard's last commit with all its entries; `None` if it has none.
    ///
    /// Holds all entries in memory at once; [`Embedded::scan_entries`] does not.
    pub(crate) fn load_shard(&self, key: ShardKey) -> Result<Option<LoadedShard>, StoreError> {
        let mut inner = self.lock();
        let Some((record, epoch)) = inner.record(&self.path, key)? else { return Ok(None) };
        let Some(shard) = inner.shards.get(&key) else { return Ok(None) };
        let mut entries = BTreeMap::new();
        shard.segments.tidy();
        let missing = shard.segments.read_all(shard.floor, &mut |position, location, body| {
            // A commit that was tried again may have left two copies: the later one is as good.
            entries.insert(position, (location, Bytes::copy_from_slice(body)));
        })?;
        Ok(Some(LoadedShard {
            record,
            epoch,
            entries: entries.into_iter().map(|(position, (location, body))| (position, location, body)).collect(),
            missing,
            floor: shard.floor,
            last_position: shard.last_position,
        }))
    }

    /// A shard's last commit without its entries; `None` if it has none. With [`Embedded::scan_entries`] it is what
    /// [`Embedded::load_shard`] gives, in little memory, as long as nothing is committed for the shard in between.
    pub(crate) fn load_record(&self, key: ShardKey) -> Result<Option<LoadedRecord>, StoreError> {
        let mut inner = self.lock();
        let Some((record, epoch)) = inner.record(&self.path, key)? else { return Ok(None) };
        let Some(shard) = inner.shards.get(&key) else { return Ok(None) };
        Ok(Some(LoadedRecord { record, epoch, floor: shard.floor, last_position: shard.last_position }))
    }

    /// Hands every readable entry of a shard at or above its floor to `f`, in the order of the files, without
    /// holding more than one segment in memory. Answers how many entries could not be read.
    ///
    /// What is read is the shard as it was when this was called; commits and other loads may go on meanwhile.
    pub(crate) fn scan_entries(&self, key: ShardKey, f: &mut dyn FnMut(u64, Location, &[u8])) -> Result<u64, StoreError> {
        let (snapshot, floor) = {
            let mut inner = self.lock();
            let shard = inner.shard(&self.path, key)?;
            shard.segments.tidy();
            (Segments::new(&self.path, key, shard.segments.index.clone(), 0), shard.floor)
        };
        let mut missing = 0;
        for (number, segment) in snapshot.from(floor) {
            let lacks = snapshot.read(number, segment, floor, f)?;
            // A commit may have released it meanwhile, and its file be gone: then nobody needs what it held.
            if lacks > 0 && self.lock().shards.get(&key).is_some_and(|shard| shard.segments.index.contains_key(&number)) {
                missing += snapshot.warn(number, lacks);
            }
        }
        Ok(missing)
    }

    /// Hands every stored cache object of a shard to `f` as key and value, in the order of the keys.
    ///
    /// What is read is the shard as it was when this was called (what is still to come after a failed commit has closed the file: as it is then);
    /// commits and other loads may go on meanwhile.
    pub(crate) fn load_cache(&self, key: ShardKey, f: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        let (prefix, mut after) = (row(b'c', key), Vec::new());
        for _ in 0..LOAD_TRIES {
            let snapshot = self.lock().kv.snapshot()?;
            let scanned = snapshot.scan(&prefix, &mut after, f);
            if self.lock().kv.ended(&snapshot, scanned)? {
                return Ok(());
            }
        }
        Err(StoreError::Io {
            path: self.path.join("state.redb"),
            doing: "reading",
            source: std::io::Error::other("it was closed again and again, since it could not be written"),
        })
    }

    /// How many rows there are, of all kinds.
    pub(crate) fn rows_estimate(&self) -> Result<u64, StoreError> {
        self.lock().kv.rows()
    }

    /// One entry's body.
    pub(crate) fn read_entry(&self, key: ShardKey, location: Location) -> Result<Bytes, StoreError> {
        if location.len as usize > ENTRY_BYTES_MAX {
            return Err(StoreError::Refused { what: format!("an entry of {} bytes; none is that long", location.len) });
        }
        let segments = Segments::new(&self.path, key, BTreeMap::new(), 0);
        segments::read_one(&segments.path(location.segment), location)
    }

    /// Every shard that has a committed record, in the order of their keys.
    pub(crate) fn list_shards(&self) -> Result<Vec<ShardKey>, StoreError> {
        let mut out = Vec::new();
        self.lock().kv.scan(b"r", &mut |rest, _| out.extend(key_of(rest)))?;
        Ok(out)
    }

    /// Drops some of a shard's cache objects.
    pub(crate) fn delete_cache(&self, key: ShardKey, rows: &[Vec<u8>]) -> Result<(), StoreError> {
        let prefix = row(b'c', key);
        let mut batch = Batch::new();
        rows.iter().for_each(|rest| batch.delete(&[prefix.as_slice(), rest].concat()));
        self.lock().kv.apply(&mut batch)
    }

    /// Drops everything of a shard but its epoch: record, cache objects, entries.
    pub(crate) fn forget_shard(&self, key: ShardKey) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let shard = inner.shard(&self.path, key)?;
        let numbers: Vec<u64> = shard.segments.index.keys().copied().collect();
        let mut batch = Batch::new();
        for kind in *b"rsc" {
            batch.clear(&row(kind, key));
        }
        inner.kv.apply(&mut batch)?;
        let mut removed = inner.shards.remove(&key);
        inner.sync()?;
        if let Some(shard) = &mut removed {
            shard.segments.release(&numbers);
            shard.segments.delete_released();
        }
        Ok(())
    }

    /// A bot's identify ledger, as it was last written.
    pub(crate) fn ledger(&self, bot: u64) -> Result<Option<Bytes>, StoreError> {
        self.lock().kv.get(&ledger_row(bot))
    }

    /// Writes a bot's identify ledger. On the disk, synced, when it returns.
    pub(crate) fn write_ledger(&self, bot: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.put_durably(&ledger_row(bot), bytes)
    }

    /// A new epoch for a shard, higher than any before. On the disk, synced, when it returns.
    pub(crate) fn next_epoch(&self, key: ShardKey) -> Result<u64, StoreError> {
        let mut inner = self.lock();
        let epoch = inner.shard(&self.path, key)?.epoch.checked_add(1);
        let epoch = epoch.ok_or_else(|| StoreError::Refused { what: format!("an epoch for shard {key} above the highest there is") })?;
        let mut batch = Batch::new();
        batch.put(&row(b'e', key), &epoch.to_le_bytes());
        inner.kv.apply(&mut batch)?;
        inner.sync()?;
        inner.shard(&self.path, key)?.epoch = epoch;
        Ok(epoch)
    }

    /// A row of the caller's own.
    pub(crate) fn get_meta(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.lock().kv.get(&meta_row(name))
    }

    /// Writes a row of the caller's own. On the disk, synced, when it returns.
    pub(crate) fn put_meta(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.put_durably(&meta_row(name), value)
    }

    pub(crate) fn try_write(&self) -> Result<(), StoreError> {
        self.put_meta(TRIED, b"")
    }

    /// Forces what was written to the disk: event segments, then the journal.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.lock().sync()
    }

    /// Bytes on disk by kind.
    pub(crate) fn usage(&self) -> Usage {
        let inner = self.lock();
        Usage {
            state_bytes: inner.kv.state_bytes(),
            journal_bytes: inner.kv.journal.len,
            segment_bytes: inner.shards.values().map(|shard| shard.segments.bytes()).sum(),
            segments: inner.shards.values().map(|shard| shard.segments.index.len() as u64).sum(),
        }
    }

    /// Closes the store: everything is durable in the key-value file, the journal empty. Dropping it does the same, and
    /// only logs what goes wrong.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        self.lock().close()
    }

    fn put_durably(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let mut batch = Batch::new();
        batch.put(key, value);
        inner.kv.apply(&mut batch)?;
        inner.sync()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic inside leaves files that an open can read, and memory that at worst knows a commit less than they do.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Err(error) = self.lock().close() {
            tracing::warn!(path = %self.path.display(), %error, "the store was not closed cleanly; the next start reads its journal");
        }
    }
}

impl Inner {
    /// The shard's state, from memory or from the rows.
    fn shard(&mut self, path: &Path, key: ShardKey) -> Result<&mut Shard, StoreError> {
        if !self.shards.contains_key(&key) {
            self.record(path, key)?;
        }
        let known = self.shards.get_mut(&key);
        known.ok_or_else(|| StoreError::Refused { what: format!("shard {key}, which could not be read") })
    }

    /// Reads the shard's rows. Answers its record, if it has one, and its epoch.
    fn record(&mut self, path: &Path, key: ShardKey) -> Result<Option<(Bytes, u64)>, StoreError> {
        let damaged = |what: &str| StoreError::Corrupt { path: path.join("state.redb"), what: format!("shard {key}: {what}") };
        let epoch = match self.kv.get(&row(b'e', key))? {
            Some(bytes) => bytes.as_ref().try_into().map(u64::from_le_bytes).map_err(|_| damaged("its epoch is no number"))?,
            None => 0,
        };
        let head = match self.kv.get(&row(b'r', key))? {
            Some(bytes) => Some(Head::decode(&bytes).ok_or_else(|| damaged("its record does not parse"))?),
            None => None,
        };
        if !self.shards.contains_key(&key) {
            let mut index = BTreeMap::new();
            let mut bad = false;
            self.kv.scan(
                &row(b's', key),
                &mut |number, value| match (number.try_into().map(u64::from_be_bytes), Segment::decode(value)) {
                    (Ok(number), Some(segment)) => drop(index.insert(number, segment)),
                    _ => bad = true,
                },
            )?;
            if bad {
                return Err(damaged("its segment index does not parse"));
            }
            let (last_position, floor, next) = head.as_ref().map_or((0, 0, 0), |head| (head.last_position, head.floor, head.next_segment));
            let segments = Segments::new(path, key, index, next);
            self.shards.insert(key, Shard { epoch, last_position, floor, segments });
        }
        Ok(head.map(|head| (head.record, epoch)))
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.fold()?;
        self.kv.close();
        Ok(())
    }

    /// Appends the entries, and writes down all that changes with them.
    fn append(&mut self, options: &Options, commit: &Commit, batch: &mut Batch, all: &mut Vec<Appended>) -> Result<(), StoreError> {
        for part in &commit.shards {
            let key = part.shard;
            let Some(shard) = self.shards.get_mut(&key) else { continue };
            let appended = shard.segments.append(&part.entries, options.segment_bytes)?;
            if part.epoch > shard.epoch {
                batch.put(&row(b'e', key), &part.epoch.to_le_bytes());
            }
            let head = Head {
                last_position: part.entries.last().map_or(shard.last_position, |(position, _)| (*position).max(shard.last_position)),
                floor: part.release_below.max(shard.floor),
                next_segment: appended.next,
                record: part.record.clone(),
            };
            batch.put(&row(b'r', key), &head.encode());
            for (number, segment) in &appended.index {
                batch.put(&segment_row(key, *number), &segment.encode());
            }
            for number in shard.segments.unneeded(head.floor, &part.release_segments, &appended) {
                batch.delete(&segment_row(key, number));
            }
            if part.clear_cache {
                batch.clear(&row(b'c', key));
            }
            let mut cache_key = row(b'c', key).to_vec();
            let prefix = cache_key.len();
            for (rest, value) in &part.cache {
                cache_key.truncate(prefix);
                cache_key.extend_from_slice(rest);
                match value {
                    Some(value) => batch.put(&cache_key, value),
                    None => batch.delete(&cache_key),
                }
            }
            all.push(appended);
        }
        Ok(())
    }

    /// Segments first, so that a journal that is on the disk never names entries that are not.
    fn sync(&mut self) -> Result<(), StoreError> {
        self.sync_segments()?;
        let journal = &mut self.kv.journal;
        if journal.synced < journal.number {
            journal.file.sync_data().map_err(|source| StoreError::from_io(&journal.path, "syncing", source))?;
            journal.synced = journal.number;
        }
        self.synced_at = Instant::now();
        self.delete_released();
        Ok(())
    }

    fn delete_released(&mut self) {
        self.shards.values_mut().for_each(|shard| shard.segments.delete_released());
    }

    fn sync_segments(&mut self) -> Result<(), StoreError> {
        for shard in self.shards.values_mut() {
            while let Some(file) = shard.segments.unsynced.last() {
                file.sync_all().map_err(|source| StoreError::from_io(&shard.segments.path(0), "syncing", source))?;
                shard.segments.unsynced.pop();
            }
        }
        Ok(())
    }

    fn fold(&mut self) -> Result<(), StoreError> {
        self.sync_segments()?;
        self.kv.fold()?;
        self.delete_released();
        Ok(())
    }
}

impl Shard {
    /// The commit has happened.
    fn take(&mut self, part: &ShardCommit, appended: Appended) -> Vec<(u64, Location)> {
        self.epoch = self.epoch.max(part.epoch);
        self.floor = self.floor.max(part.release_below);
        if let Some((position, _)) = part.entries.last() {
            self.last_position = self.last_position.max(*position);
        }
        let gone = self.segments.unneeded(self.floor, &part.release_segments, &appended);
        let locations = self.segments.commit(appended);
        self.segments.release(&gone);
        locations
    }
}

/// The shard's row: what the store needs to know, then the caller's record.
struct Head {
    last_position: u64,
    floor: u64,
    next_segment: u64,
    record: Bytes,
}

impl Head {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(25 + self.record.len());
        out.push(RECORD_VERSION);
        for number in [self.last_position, self.floor, self.next_segment] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.record);
        out
    }

    fn decode(bytes: &Bytes) -> Option<Head> {
        let (version, numbers) = bytes.split_first_chunk::<25>()?.0.split_first()?;
        let (numbers, _) = numbers.as_chunks::<8>();
        let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
        (*version == RECORD_VERSION).then_some(())?;
        Some(Head { last_position: numbers.next()?, floor: numbers.next()?, next_segment: numbers.next()?, record: bytes.slice(25..) })
    }
}

fn row(kind: u8, key: ShardKey) -> [u8; 17] {
    let mut out = [kind; 17];
    out[1..9].copy_from_slice(&key.bot.to_be_bytes());
    out[9..13].copy_from_slice(&key.index.to_be_bytes());
    out[13..].copy_from_slice(&key.count.to_be_bytes());
    out
}

fn key_of(rest: &[u8]) -> Option<ShardKey> {
    let (bot, rest) = rest.split_first_chunk::<8>()?;
    let (index, rest) = rest.split_first_chunk::<4>()?;
    Some(ShardKey { bot: u64::from_be_bytes(*bot), index: u32::from_be_bytes(*index), count: u32::from_be_bytes(rest.try_into().ok()?) })
}

fn segment_row(key: ShardKey, number: u64) -> Vec<u8> {
    [row(b's', key).as_slice(), &number.to_be_bytes()].concat()
}

fn ledger_row(bot: u64) -> Vec<u8> {
    [b"l".as_slice(), &bot.to_be_bytes()].concat()
}

fn meta_row(name: &str) -> Vec<u8> {
    [b"m", name.as_bytes()].concat()
}

/// Makes the directory where there is none.
fn prepare(path: &Path) -> Result<(), OpenError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(OpenError::NotADirectory { path: path.to_owned() }),
        Err(_) => {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|source| OpenError::NotCreatable { path: path.to_owned(), source })
        }
    }
}

/// Reads the format's version, or writes it where there is no store yet. Says whether there was one.
fn format(dir: &Path) -> Result<bool, OpenError> {
    const START: &str = "trunkline store format ";
    let path = dir.join("format");
    let failed = |source| lock::opening(dir, &path, source);
    let corrupt = |what: &str| OpenError::Corrupt { path: dir.to_owned(), what: what.to_owned() };
    match fs::read(&path) {
        Ok(text) => {
            let found = std::str::from_utf8(&text).ok().and_then(|text| text.trim_end().strip_prefix(START)?.parse::<u32>().ok());
            match found {
                None | Some(0) => Err(corrupt("the file format does not name a format")),
                Some(found) if found > FORMAT_VERSION => Err(OpenError::Newer { found, known: FORMAT_VERSION, path: dir.to_owned() }),
                Some(_) => Ok(true),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if dir.join("state.redb").exists() {
                return Err(corrupt("the file format is missing"));
            }
            let new = dir.join("format.new");
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(failed)?;
            writeln!(file, "{START}{FORMAT_VERSION}").and_then(|()| file.sync_all()).map_err(failed)?;
            fs::rename(&new, &path).map_err(failed)?;
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
            Ok(false)
        }
        Err(source) => Err(failed(source)),
    }
}
