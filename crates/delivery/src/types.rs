//! The words that delivery and its callers share: ids, bodies, limits, inputs' values and the actions that come out.
//!
//! Nothing here decides anything.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use trunkline_discord::{Event, Gap, ShardId};

/// A shard's place in its core's hub: an index chosen by the caller, small and dense (it indexes a vector).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// A worker group as the caller numbers it. Only its name is stable over restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// One connection of one worker. Never used twice in the life of a process, and rising: of two streams of one worker the
/// higher is the newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// A worker's own name within its group; it decides which guilds the worker gets.
pub type WorkerId = Arc<str>;

/// One entry of one shard's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    /// The shard's place in the hub.
    pub slot: Slot,
    /// Rises by one per entry of the shard, is never used again, and goes on over restarts.
    pub position: u64,
}

/// As one number, of which a hash takes one step: slots are few, and positions do not come near their upper bits.
impl Hash for EntryId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.position ^ u64::from(self.slot.0) << 44);
    }
}

/// What an entry carries. A gap is an entry too: held, delivered and acknowledged like an event.
#[derive(Clone, Debug)]
pub enum Body {
    /// A dispatched event.
    Event(Arc<Event>),
    /// A stretch of events that cannot be delivered.
    Gap(Arc<Gap>),
}

impl Body {
    /// Bytes that this body keeps in memory, previous object included, the log's own header not.
    pub fn bytes_held(&self) -> usize {
        match self {
            Body::Event(event) => event.bytes_held(),
            Body::Gap(_) => size_of::<Gap>(),
        }
    }

    /// The shard that it came from.
    pub fn shard(&self) -> ShardId {
        match self {
            Body::Event(event) => event.shard,
            Body::Gap(gap) => gap.shard,
        }
    }
}

/// Where the encoded form of an entry lies on disk. The hub hands it back and never looks inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Number of the segment file.
    pub segment: u64,
    /// Byte at which the record begins.
    pub offset: u64,
    /// Length of the record in bytes.
    pub len: u32,
}

/// How much a worker may hold unacknowledged of this core's events; a total, not an addition.
///
/// With no byte credit (but some events) one event at a time still goes; with zero events nothing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Entries in flight at once.
    pub events: u32,
    /// Their bytes as the log counts them. One entry larger than this goes when nothing else is in flight.
    pub bytes: u64,
}

/// What a group may hold unacknowledged **in this hub**. A caller with several cores divides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    /// Bytes of entries whose body lies in memory, headers and previous objects counted. While the store works, up to
    /// twice this is tolerated until the next checkpoint has written the bodies.
    pub memory_bytes: u64,
    /// Bytes of entries whose body lies on disk only.
    pub disk_bytes: u64,
    /// Milliseconds since the event was received.
    pub age_ms: u64,
}

impl Default for GroupLimits {
    fn default() -> GroupLimits {
        GroupLimits { memory_bytes: 64 << 20, disk_bytes: 4 << 30, age_ms: 3_600_000 }
    }
}

/// A worker group as it is declared to the hub.
#[derive(Clone, Debug)]
pub struct GroupSpec {
    /// The caller's number for it.
    pub id: GroupId,
    /// Its name; what it had acknowledged is found again by this name after a restart.
    pub name: Arc<str>,
    /// Which events it wants.
    pub filter: crate::Filter,
    /// What it may hold.
    pub limits: GroupLimits,
}

/// The hub's own settings.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Seed of the hash tables: random in production (keys come from outside), fixed in tests.
    pub hash_seed: u64,
    /// How long the guilds of a worker with a broken stream wait for it, in milliseconds.
    pub grace_ms: u64,
    /// Whether checkpoints are written at all. Without a store the memory limit is met without tolerance.
    pub store: bool,
}

impl Default for HubConfig {
    fn default() -> HubConfig {
        HubConfig { hash_seed: 0, grace_ms: 5_000, store: true }
    }
}

/// Why a worker is asked to acknowledge now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskWhy {
    /// Guilds it holds unacknowledged events of now belong to another worker.
    HandOver,
    /// It drains.
    Drain,
    /// The process stops.
    Stop,
}

/// What the driver has to do. In the order given.
#[derive(Clone, Debug)]
pub enum Action {
    /// Give the entry to the stream.
    Send {
        /// Whom to.
        stream: StreamId,
        /// What it is called in acknowledgements.
        entry: EntryId,
        /// The event or gap.
        body: Body,
        /// It has been sent to a worker of the group before (in this life or, as far as is known, an earlier one).
        redelivered: bool,
    },
    /// Ask the worker to acknowledge what it has.
    AskAck {
        /// Which stream.
        stream: StreamId,
        /// What waits for it.
        why: AskWhy,
    },
    /// Read the entry from disk and answer with [`crate::Hub::loaded`].
    Load {
        /// Which entry.
        entry: EntryId,
        /// Where it lies.
        location: Location,
    },
    /// A group reached a limit; its oldest entries became this gap, which it will be told. For log and metrics.
    Fell {
        /// Which group.
        group: GroupId,
        /// What it lost just now (the gap it is told may be wider: untold ones are merged).
        gap: Gap,
    },
    /// Nothing of the draining stream is in flight any more. Said once per drain.
    Drained {
        /// Which stream.
        stream: StreamId,
    },
    /// After [`crate::Hub::quiesce`]: no worker holds anything unacknowledged. Said once.
    Quiet,
}

/// Why a group could not be declared, a shard not added or a stream not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HubError {
    /// All places are taken: a hub has room for [`GROUPS_MAX`] groups.
    TooManyGroups {
        /// The one that was refused.
        name: Arc<str>,
    },
    /// A group of this id or name is declared already.
    GroupExists {
        /// Its name.
        name: Arc<str>,
    },
    /// The slot holds a shard already.
    SlotTaken {
        /// Which slot.
        slot: Slot,
        /// The shard in it.
        shard: ShardId,
    },
    /// The slot number is above [`SLOTS_MAX`]: slots index a vector and must be dense.
    SlotTooHigh {
        /// Which slot.
        slot: Slot,
    },
    /// No shard was added at this slot.
    NoShard {
        /// Which slot.
        slot: Slot,
    },
    /// No group of this id was declared.
    NoGroup {
        /// Which id.
        group: GroupId,
    },
    /// A newer stream of the same worker is here already: this one's join was overtaken.
    Replaced {
        /// Whose.
        worker: WorkerId,
        /// The newer stream.
        by: StreamId,
    },
}

/// Groups a hub has room for: which groups want an entry is one 64-bit mask.
pub const GROUPS_MAX: usize = 64;

/// Shards a hub has room for; far above what one core can read.
pub const SLOTS_MAX: u32 = 65_536;

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HubError::TooManyGroups { name } => {
                write!(f, "group {name:?} is one too many: at most {GROUPS_MAX} groups; merge some or run a second process")
            }
            HubError::GroupExists { name } => {
                write!(f, "group {name:?} is declared twice; give each group its own name and id")
            }
            HubError::SlotTaken { slot, shard } => {
                write!(f, "slot {} already holds shard {shard}; use a free slot", slot.0)
            }
            HubError::SlotTooHigh { slot } => {
                write!(f, "slot {} is above {SLOTS_MAX}; number slots from 0 without holes", slot.0)
            }
            HubError::NoShard { slot } => write!(f, "no shard at slot {}; add it first", slot.0),
            HubError::NoGroup { group } => write!(f, "no group with id {}; declare it first", group.0),
            HubError::Replaced { worker, by } => {
                write!(f, "a newer stream ({}) of worker {worker:?} is here already; each running worker needs an id of its own", by.0)
            }
        }
    }
}

impl std::error::Error for HubError {}
