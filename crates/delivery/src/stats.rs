//! Numbers for metrics and status pages, collected when asked.

use std::sync::Arc;

use trunkline_discord::{GapCause, ShardId, Time};

use crate::group::Group;
use crate::log::{Log, ds};
use crate::types::{GroupId, Slot};

/// One group in one hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStats {
    /// Its id.
    pub id: GroupId,
    /// Its name.
    pub name: Arc<str>,
    /// Workers, those in their grace and draining ones included.
    pub workers: u64,
    /// Entries it has not acknowledged.
    pub entries: u64,
    /// Bytes of those whose body lies in memory.
    pub memory_bytes: u64,
    /// Bytes of those whose body lies on disk only.
    pub disk_bytes: u64,
    /// Age of the oldest of them, in milliseconds; 0 with none.
    pub oldest_age_ms: u64,
    /// Entries sent and not acknowledged.
    pub in_flight: u64,
    /// Entries that workers acknowledged.
    pub acked: u64,
    /// Entries that were sent again.
    pub redelivered: u64,
    /// Entries that the owning worker's own filter did not want; they count as acknowledged.
    pub filtered: u64,
    /// Acknowledgements of what was not in flight at that stream.
    pub ignored_acks: u64,
    /// Gaps told or to be told, by cause.
    pub gaps: [(GapCause, u64); GapCause::ALL.len()],
    /// Events inside those gaps, where their number is known.
    pub events_in_gaps: u64,
}

/// One shard in one hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardStats {
    /// Its place.
    pub slot: Slot,
    /// Which shard.
    pub shard: ShardId,
    /// Entries in its log.
    pub entries: u64,
    /// The position that the next entry gets.
    pub next_position: u64,
}

/// All of a hub.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HubStats {
    /// By group, in the order of declaration.
    pub groups: Vec<GroupStats>,
    /// By shard, in the order of slots.
    pub shards: Vec<ShardStats>,
    /// Events that no group wanted.
    pub unwanted: u64,
    /// Acknowledgements from streams that are not known (any more).
    pub ignored_acks: u64,
}

pub(crate) fn of_group(group: &Group, logs: &[Option<Log>], now: Time) -> GroupStats {
    let mut gaps = GapCause::ALL.map(|cause| (cause, 0));
    for (gap, count) in gaps.iter_mut().zip(group.counts.gaps) {
        gap.1 = count;
    }
    let firsts = group.shares.iter().zip(logs).filter_map(|(share, log)| {
        let entry = log.as_ref()?.get(share.pending.first()?)?;
        Some(ds(now).saturating_sub(entry.received_ds))
    });
    GroupStats {
        id: group.id,
        name: group.name.clone(),
        workers: group.workers.iter().flatten().count() as u64,
        entries: group.entries(),
        memory_bytes: group.memory,
        disk_bytes: group.disk,
        oldest_age_ms: firsts.max().map_or(0, |age| u64::try_from(age).unwrap_or(0) * 100),
        in_flight: group.in_flight(),
        acked: group.counts.acked,
        redelivered: group.counts.redelivered,
        filtered: group.counts.filtered,
        ignored_acks: group.counts.ignored_acks,
        gaps,
        events_in_gaps: group.counts.events_in_gaps,
    }
}

pub(crate) fn of_shards(logs: &[Option<Log>]) -> Vec<ShardStats> {
    let shards = (0u32..).zip(logs).filter_map(|(slot, log)| {
        let log = log.as_ref()?;
        Some(ShardStats { slot: Slot(slot), shard: log.shard, entries: log.live(), next_position: log.next_position() })
    });
    shards.collect()
}
