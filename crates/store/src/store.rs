//! The open store: one face, two kinds.

use std::fmt;
use std::path::Path;

use bytes::Bytes;

use crate::embedded::Embedded;
use crate::error::{OpenError, StoreError};
use crate::postgres::Postgres;
use crate::{Commit, Committed, LoadedRecord, LoadedShard, Location, Options, Recovery, ShardKey, Usage, frame};

/// Longest event body, in bytes.
pub(crate) const ENTRY_BYTES_MAX: usize = frame::PAYLOAD_BYTES_MAX / 4;
const _: () = assert!(ENTRY_BYTES_MAX < frame::PAYLOAD_BYTES_MAX);

/// Longest key of a cache object, in bytes: what an index of PostgreSQL surely takes.
pub(crate) const KEY_BYTES_MAX: usize = 1_024;

/// An open store. All calls block; share it by `Arc` and call it from threads that may.
pub struct Store(Kind);

enum Kind {
    Embedded(Box<Embedded>),
    Postgres(Postgres),
}

macro_rules! each {
    ($self:expr, $store:ident => $call:expr) => {
        match &$self.0 {
            Kind::Embedded($store) => $call,
            Kind::Postgres($store) => $call,
        }
    };
}

impl Store {
    /// Opens the embedded store in the directory `path`, and makes one where there is none.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub fn open(path: &Path, options: Options) -> Result<Store, OpenError> {
        Ok(Store(Kind::Embedded(Box::new(Embedded::open(path, options)?))))
    }

    /// Opens the store in a PostgreSQL database, `postgres://user:password@host:port/database`, and makes or migrates
    /// its tables. A server that cannot be reached is tried again for a while ([`crate::Address`] has the rules).
    ///
    /// # Errors
    /// [`OpenError`], which says what to do and never tells the password.
    pub fn connect(url: &str, options: Options) -> Result<Store, OpenError> {
        Ok(Store(Kind::Postgres(Postgres::connect(url, options)?)))
    }

    /// Where it is, for messages: the directory, or server and database without the password.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.0 {
            Kind::Embedded(store) => store.path().display().to_string(),
            Kind::Postgres(store) => store.server().to_owned(),
        }
    }

    /// What opening it found.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        each!(self, store => store.recovery())
    }

    /// Stores a checkpoint of any number of shards as one unit. Once it has returned, it survives the process.
    ///
    /// Answers where each entry lies, in the order of the commit.
    ///
    /// # Errors
    /// Nothing of it counts as stored, and the same commit may be tried again. (PostgreSQL may have taken a commit whose
    /// answer was lost with the connection; trying it again then stores the same once more, which changes nothing.)
    pub fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        each!(self, store => store.commit(commit))
    }

    /// A shard's last commit with all its entries; `None` if it has none.
    ///
    /// Holds all entries in memory at once; [`Store::scan_entries`] does not.
    ///
    /// # Errors
    /// The store cannot be read, or what it has is damaged.
    pub fn load_shard(&self, key: ShardKey) -> Result<Option<LoadedShard>, StoreError> {
        each!(self, store => store.load_shard(key))
    }

    /// A shard's last commit without its entries; `None` if it has none. With [`Store::scan_entries`] it is what
    /// [`Store::load_shard`] gives, in little memory, as long as nothing is committed for the shard in between.
    ///
    /// # Errors
    /// The store cannot be read, or what it has is damaged.
    pub fn load_record(&self, key: ShardKey) -> Result<Option<LoadedRecord>, StoreError> {
        each!(self, store => store.load_record(key))
    }

    /// Hands every readable entry of a shard at or above its floor to `f`, in the order in which they were written,
    /// without holding more than one segment in memory. Answers how many entries could not be read.
    ///
    /// What is read is the shard as it was when this was called; commits and other loads may go on meanwhile, from
    /// within `f` too.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn scan_entries(&self, key: ShardKey, f: &mut dyn FnMut(u64, Location, &[u8])) -> Result<u64, StoreError> {
        each!(self, store => store.scan_entries(key, f))
    }

    /// Hands every stored cache object of a shard to `f` as key and value. Rows that have no table of their own come in
    /// the order of their keys; in the embedded store all do. Commits and other loads go on
    /// meanwhile; the embedded store hands over the shard as it was at the beginning.
    ///
    /// # Errors
    /// The store cannot be read. What came before was right, but not all.
    pub fn load_cache(&self, key: ShardKey, f: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        each!(self, store => store.load_cache(key, f))
    }

    /// Drops some of a shard's cache objects, by their keys, beside its commits: for rows that nobody can read.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn delete_cache(&self, key: ShardKey, rows: &[Vec<u8>]) -> Result<(), StoreError> {
        each!(self, store => store.delete_cache(key, rows))
    }

    /// About how many rows the store has in all, over all shards: good enough to show how far a long load has come.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn rows_estimate(&self) -> Result<u64, StoreError> {
        each!(self, store => store.rows_estimate())
    }

    /// One entry's body.
    ///
    /// # Errors
    /// It is not there any more, or the store cannot be read.
    pub fn read_entry(&self, key: ShardKey, location: Location) -> Result<Bytes, StoreError> {
        if location.len as usize > ENTRY_BYTES_MAX {
            return Err(StoreError::Refused { what: format!("an entry of {} bytes; none is that long", location.len) });
        }
        each!(self, store => store.read_entry(key, location))
    }

    /// Every shard that has a committed record, in the order of their keys.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list_shards(&self) -> Result<Vec<ShardKey>, StoreError> {
        each!(self, store => store.list_shards())
    }

    /// Drops everything of a shard but its epoch: record, cache objects, entries.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn forget_shard(&self, key: ShardKey) -> Result<(), StoreError> {
        each!(self, store => store.forget_shard(key))
    }

    /// A bot's identify ledger, as it was last written.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn ledger(&self, bot: u64) -> Result<Option<Bytes>, StoreError> {
        each!(self, store => store.ledger(bot))
    }

    /// Writes a bot's identify ledger. On the disk, synced, when it returns.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn write_ledger(&self, bot: u64, bytes: &[u8]) -> Result<(), StoreError> {
        each!(self, store => store.write_ledger(bot, bytes))
    }

    /// A new epoch for a shard, higher than any before. On the disk, synced, when it returns.
    ///
    /// # Errors
    /// The store cannot be written, or the shard has the highest epoch that there is.
    pub fn next_epoch(&self, key: ShardKey) -> Result<u64, StoreError> {
        each!(self, store => store.next_epoch(key))
    }

    /// A row of the caller's own.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn get_meta(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        each!(self, store => store.get_meta(name))
    }

    /// Writes a row of the caller's own. On the disk, synced, when it returns.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn put_meta(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        each!(self, store => store.put_meta(name, value))
    }

    /// Whether the store takes anything at the moment, as a checkpoint would be tried: a small row is written, once.
    ///
    /// # Errors
    /// It does not.
    pub fn try_write(&self) -> Result<(), StoreError> {
        each!(self, store => store.try_write())
    }

    /// Forces what was written to the disk: event segments, then the journal. PostgreSQL has done so with each commit.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn sync(&self) -> Result<(), StoreError> {
        each!(self, store => store.sync())
    }

    /// Bytes on disk by kind. Never waits for a server: PostgreSQL's are as of the last minute or so.
    #[must_use]
    pub fn usage(&self) -> Usage {
        each!(self, store => store.usage())
    }

    /// Closes the store: everything is durable. Dropping it does the same, and only logs what goes wrong.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn close(self) -> Result<(), StoreError> {
        match self.0 {
            Kind::Embedded(store) => store.close(),
            Kind::Postgres(store) => store.close(),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.place()).finish()
    }
}

/// Refuses what could not be read back.
pub(crate) fn check(commit: &Commit) -> Result<(), StoreError> {
    let refused = |what: String| Err(StoreError::Refused { what });
    for (at, part) in commit.shards.iter().enumerate() {
        if commit.shards[..at].iter().any(|earlier| earlier.shard == part.shard) {
            return refused(format!("a commit that names shard {} twice", part.shard));
        }
        if !part.entries.is_sorted_by(|earlier, later| earlier.0 < later.0) {
            return refused(format!("entries of shard {} whose positions do not rise", part.shard));
        }
        if let Some((key, _)) = part.cache.iter().find(|(key, _)| key.len() > KEY_BYTES_MAX) {
            return refused(format!("a cache object with a key of {} bytes; at most {KEY_BYTES_MAX} fit", key.len()));
        }
        if let Some((position, body)) = part.entries.iter().find(|(_, body)| body.len() > ENTRY_BYTES_MAX) {
            return refused(format!("entry {position} of {} bytes; at most {ENTRY_BYTES_MAX} fit", body.len()));
        }
    }
    Ok(())
}
