//! Event log, groups, workers and acknowledgements of one core, without IO.
//!
//! An event is offered once, lies in its shard's log until every group that wants it has acknowledged it, and is sent to
//! one worker per group, chosen by its guild. [`Hub`] is the whole: calls go in with a clock value, [`Action`]s come out.
//! The same code runs in production, under virtual time in tests, and in a simulation of the cluster.
//!
//! Invariants: an entry leaves only by acknowledgement, by the owning worker's own filter, or inside a gap that the group
//! is told and that is counted; entries of one guild reach a group in order, over joins, leaves, crashes and restarts,
//! except that what was unacknowledged may come again, marked; no group's limit costs another group anything; a shard
//! is never asked to stop reading.
//!
//! Never here: sockets, files, clocks, threads, log output, and any knowledge of how a worker is reached.

mod checkpoint;
mod codec;
mod filter;
mod group;
mod handover;
mod hub;
mod limits;
mod log;
mod positions;
mod send;
mod stats;
mod stored;
mod types;
mod worker;

pub use crate::stored::DecodeError;
pub use checkpoint::{LOG_VERSION, LogCheckpoint, RestoredLog};
pub use codec::{ENTRY_VERSION, decode_entry, encode_entry};
pub use filter::Filter;
pub use hub::Hub;
pub use stats::{GroupStats, HubStats, ShardStats};
pub use types::{
    Action, AskWhy, Body, Credit, EntryId, GROUPS_MAX, GroupId, GroupLimits, GroupSpec, HubConfig, HubError, Location, SLOTS_MAX, Slot,
    StreamId, WorkerId,
};
