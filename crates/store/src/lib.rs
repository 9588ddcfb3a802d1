//! The durable copy of a node: sessions, group positions, ledgers, cache objects and event bodies.
//!
//! # What lies in the directory
//! | file | holds |
//! |---|---|
//! | `format` | the version of the layout, as text |
//! | `lock` | the pid of the process that has the store open; the lock itself is the kernel's |
//! | `state.redb` | a key-value file: shard records, epochs, ledgers, meta rows, cache objects |
//! | `state.seal` | after a clean close: its checksum as a whole |
//! | `state.sums` | while it is open: a checksum of each of its pages as it was last written |
//! | `journal` | what was committed since `state.redb` was last made durable |
//! | `segments/BOT-INDEX-COUNT/N.seg` | event bodies of one shard, append-only, each with a checksum |
//!
//! # What survives what
//! A commit is one checksummed frame at the end of the journal, written with one `write` (a large one is several frames, of
//! which none counts without the last). The kernel owns written
//! bytes, so **a killed process loses nothing that [`Store::commit`] has returned**, and needs no fsync for it. The
//! same changes go to the key-value file in transactions that are not made durable; every 32 MiB of journal (and at
//! a clean close) one durable transaction takes them all, and the journal starts again from nothing. At open, whatever
//! the journal holds above the key-value file's position is applied again.
//!
//! **Power loss** takes what was written since the last real fsync: segments first, then the journal, at the times
//! that [`SyncPolicy`] says. What it leaves is recognised, never believed: each frame and each event body carries a
//! checksum, the journal is read up to its first frame that is not whole (a prefix of what was committed), and the
//! key-value file is only ever written durably with its own ordered fsyncs, so its last durable state stays readable.
//! At every open the key-value file is verified: by reading it once where the store was closed cleanly, or its process killed since the
//! machine was started; else by walking its tree page by page.
//!
//! # PostgreSQL
//! [`Store::connect`] keeps the same things in a PostgreSQL database: one transaction a commit, objects as `jsonb` in
//! tables that a person can query (see [`RowCodec`]; `docs/operating/postgres.md` describes them). What
//! [`Store::commit`] has returned survives the process, and the server being killed. [`StateReader`] answers lookups
//! from those tables alone, in whatever process.
//!
//! # What it never does
//! It knows nothing of Discord, sessions or groups: records are opaque bytes. Every call of [`Store`] blocks, and is
//! made from a thread that may block; the embedded store has no threads and no timers of its own. It never repairs a
//! damaged store by itself, and never deletes what it did not write. It never prints a password.

// A sync that is due needs a clock, and this crate is IO.
#![allow(clippy::disallowed_methods)]

mod batch;
mod embedded;
mod error;
mod frame;
mod journal;
mod kv;
mod lock;
mod postgres;
mod rows;
mod seal;
mod segments;
mod store;
mod sums;

pub use error::{OpenError, StoreError};
#[doc(hidden)]
pub use frame::survive;
pub use postgres::{Address, Homes, Known, Migrated, Objects, StateError, StateReader, Threads, migrate};
pub use rows::{Place, RowCodec, Table};
pub use store::Store;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

/// The row that is written to see whether a store takes anything.
const TRIED: &str = "tried";

/// The layout that this program reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// When written bytes are forced to the disk. It matters for power loss only: a killed process loses nothing
/// under any policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before every commit returns. Dear: one or two fsyncs each.
    Always,
    /// By the first commit, or the caller's [`Store::sync`], that comes this long after the last one.
    Every(Duration),
    /// Only where the ledger, an epoch or the key-value file needs it.
    Never,
}

impl Default for SyncPolicy {
    fn default() -> Self {
        SyncPolicy::Every(Duration::from_secs(1))
    }
}

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// When written bytes are forced to the disk.
    pub sync: SyncPolicy,
    /// Memory that the key-value file may use for its pages, in bytes. Default 64 MiB.
    pub cache_bytes: usize,
    /// Size at which an event segment ends and the next begins, in bytes. Default 16 MiB.
    pub segment_bytes: u64,
    /// Size of the journal at which the key-value file takes it over, in bytes. Default 32 MiB.
    pub journal_bytes: u64,
    /// About how many bytes of values a statement of PostgreSQL carries. A commit is one transaction of as many as it needs, and a few of them
    /// are in memory at a time, in the form in which they are sent. Default 1 MiB.
    pub statement_bytes: usize,
    /// How PostgreSQL's tables are filled from cache rows; without it, or for rows that it does not know, they are kept
    /// as they are. The embedded store always keeps them so.
    pub rows: Option<RowCodec>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            sync: SyncPolicy::default(),
            cache_bytes: 64 << 20,
            segment_bytes: 16 << 20,
            journal_bytes: 32 << 20,
            statement_bytes: 1 << 20,
            rows: None,
        }
    }
}

/// A shard as the store names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardKey {
    /// User id of the bot.
    pub bot: u64,
    /// Shard id, from 0.
    pub index: u32,
    /// Shard count.
    pub count: u32,
}

impl fmt::Display for ShardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.bot, self.index, self.count)
    }
}

/// Where an event body lies on disk. Never reused for another one, over restarts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// Number of the shard's segment file.
    pub segment: u64,
    /// Byte at which the entry's frame starts.
    pub offset: u64,
    /// Length of the body in bytes, without its frame.
    pub len: u32,
}

/// What changes with one checkpoint: all of it, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Each shard at most once.
    pub shards: Vec<ShardCommit>,
}

/// Where each shard's entries lie now, as position and place, in the order of the commit.
pub type Committed = Vec<(ShardKey, Vec<(u64, Location)>)>;

/// One shard's part of a [`Commit`].
#[derive(Clone, Debug)]
pub struct ShardCommit {
    /// Which shard.
    pub shard: ShardKey,
    /// The writer's epoch; one older than the store knows is refused.
    pub epoch: u64,
    /// Session and group positions; replaces the earlier record.
    pub record: Bytes,
    /// Changed cache objects; `None` deletes. No key is longer than 1 KiB.
    pub cache: Vec<(Vec<u8>, Option<Bytes>)>,
    /// Drop all cache objects of the shard before `cache` is applied.
    pub clear_cache: bool,
    /// Event bodies with their log positions, which rise.
    pub entries: Vec<(u64, Bytes)>,
    /// Nobody needs entries below this position any more. Whole segments are deleted, and loading starts here.
    pub release_below: u64,
    /// Segments in which nobody needs anything any more, wherever their positions lie. They are deleted, but for one that
    /// this commit appends to and the one that the next will; numbers that the shard does not have are ignored.
    pub release_segments: Vec<u64>,
}

impl ShardCommit {
    /// A commit of the record alone.
    pub fn new(shard: ShardKey, epoch: u64, record: Bytes) -> ShardCommit {
        ShardCommit {
            shard,
            epoch,
            record,
            cache: Vec::new(),
            clear_cache: false,
            entries: Vec::new(),
            release_below: 0,
            release_segments: Vec::new(),
        }
    }
}

/// A shard as of its last commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedShard {
    /// The record as it was committed.
    pub record: Bytes,
    /// The highest epoch that the store has given out or seen for the shard.
    pub epoch: u64,
    /// Event bodies at or above `floor`, in the order of their positions.
    pub entries: Vec<(u64, Location, Bytes)>,
    /// How many entries of the shard's segments could not be read: their bytes are gone or fail their checksum. What lay
    /// in released segments is not among them. (A segment that the floor cuts through counts all that it lacks.) Which
    /// ones somebody needed follows from the positions that the record names and `entries` lacks.
    pub missing: u64,
    /// The highest `release_below` committed.
    pub floor: u64,
    /// The highest position ever committed; 0 before the first.
    pub last_position: u64,
}

/// A shard's last commit without its entries and cache objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedRecord {
    /// The record as it was committed.
    pub record: Bytes,
    /// The highest epoch that the store has given out or seen for the shard.
    pub epoch: u64,
    /// The highest `release_below` committed.
    pub floor: u64,
    /// The highest position ever committed; 0 before the first.
    pub last_position: u64,
}

/// What was found when the store was opened, for a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The directory held no store; an empty one was made.
    pub created: bool,
    /// Commits taken from the journal, because the last process did not close the store.
    pub commits_replayed: u64,
    /// Bytes at the end of the journal that were no whole commit, and were cut off.
    pub journal_bytes_cut: u64,
}

/// Bytes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The key-value file.
    pub state_bytes: u64,
    /// The journal.
    pub journal_bytes: u64,
    /// Event segments of the shards that this process has loaded or committed.
    pub segment_bytes: u64,
    /// Number of those segments.
    pub segments: u64,
}
