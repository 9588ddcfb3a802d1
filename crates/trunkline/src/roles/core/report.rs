//! What others see of a core: how it stands, and its caches.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use trunkline_cache::{Cache, Kind};
use trunkline_delivery::HubStats;
use trunkline_discord::{EventKind, Object, Op, ShardId};
use trunkline_doors::{Caches, CommandRefused};
use trunkline_gateway::ShardControl;

use super::{CoreState, Shard};

/// What a core knows of itself, for metrics and status.
#[derive(Debug, Clone)]
pub struct CoreReport {
    /// Which core.
    pub core: usize,
    /// Its shards.
    pub shards: Vec<ShardReport>,
    /// Its hub.
    pub hub: HubStats,
    /// Events by name since the start.
    pub events: BTreeMap<&'static str, u64>,
    /// Events with names that this version does not know.
    pub events_unknown: u64,
    /// Payloads the cache could make nothing of.
    pub malformed: u64,
    /// What its shards' caches hold of each kind, and how many objects had to give way since the start.
    pub cache: [(trunkline_cache::Size, u64); Kind::ALL.len()],
    /// Gaps told, by cause: how many, and events known to be inside.
    pub gaps: BTreeMap<&'static str, (u64, u64)>,
    /// Age of the last written checkpoint in milliseconds.
    pub checkpoint_age_ms: u64,
    /// Bytes of changed objects that are kept because a checkpoint failed.
    pub unsaved_bytes: u64,
    /// Changed objects of failed checkpoints that were let go since the start, because they took too much.
    pub unsaved_let_go: u64,
    /// Commands waiting for the core.
    pub commands_queued: usize,
    /// Streams whose channel was full though they had credit; always 0 unless there is a bug.
    pub overruns: u64,
}

/// One shard in a [`CoreReport`].
#[derive(Debug, Clone)]
pub struct ShardReport {
    /// Which.
    pub shard: ShardId,
    /// The owner's epoch.
    pub epoch: u64,
    /// Ordinal of its session.
    pub session: u64,
    /// Discord's id of the session, where one lives.
    pub session_id: Option<String>,
    /// Position.
    pub s: u64,
    /// Guilds in the cache.
    pub guilds: u64,
    /// Bytes the cache holds.
    pub cache_bytes: u64,
    /// Position that the last written checkpoint stands at.
    pub checkpointed_s: u64,
}

impl CoreState {
    pub(super) fn report(&self, commands_queued: usize) -> CoreReport {
        let now = self.clock.now();
        CoreReport {
            core: self.core,
            shards: self
                .shards
                .iter()
                .map(|shard| ShardReport {
                    shard: shard.id,
                    epoch: shard.epoch,
                    session: shard.resume.as_ref().map_or(shard.ordinal, |point| point.session),
                    session_id: shard.resume.as_ref().map(|point| point.session_id.clone()),
                    s: shard.resume.as_ref().map_or(0, |point| point.s),
                    guilds: shard.cache.size(Kind::Guild).count,
                    cache_bytes: shard.cache.bytes(),
                    checkpointed_s: shard.written.map_or(0, |(_, s)| s),
                })
                .collect(),
            hub: self.side.hub().stats(now),
            events: EventKind::ALL.iter().map(|kind| (kind.name(), self.events[*kind as usize])).filter(|(_, count)| *count > 0).collect(),
            events_unknown: self.events[EventKind::Unknown as usize],
            malformed: self.malformed,
            cache: Kind::ALL.map(|kind| {
                self.shards.iter().fold(Default::default(), |(size, evicted): (trunkline_cache::Size, u64), shard| {
                    let more = shard.cache.size(kind);
                    let size = trunkline_cache::Size { count: size.count + more.count, bytes: size.bytes + more.bytes };
                    (size, evicted + shard.cache.evicted(kind))
                })
            }),
            gaps: self.gaps.clone(),
            unsaved_bytes: self.shards.iter().map(|shard| shard.unsaved.bytes()).sum(),
            unsaved_let_go: self.unsaved_let_go,
            checkpoint_age_ms: u64::try_from(now.since(self.written_at).as_millis()).unwrap_or(u64::MAX),
            commands_queued,
            overruns: self.side.overruns(),
        }
    }
}

impl Shard {
    /// Whether its cache may be asked. Not while nothing was ever told: that something is not in it would not mean that it is not there, and a
    /// client might delete what it believes to be gone. One whose session has ended for good answers with what it has.
    fn tells(&self) -> bool {
        self.ready_once || self.resume.is_some() || !self.running || self.cache.guild_ids().next().is_some()
    }
}

/// What looks see of a core: shards of an old count have caches that nobody feeds any more, and are left out.
impl Caches for CoreState {
    fn shards(&self) -> Vec<ShardId> {
        self.shards.iter().filter(|shard| !shard.retired).map(|shard| shard.id).collect()
    }

    fn cache(&self, shard: ShardId) -> Option<&Cache> {
        self.shards.iter().find(|one| one.id == shard && !one.retired).map(|one| &one.cache)
    }

    fn cache_mut(&mut self, shard: ShardId) -> Option<&mut Cache> {
        self.shards.iter_mut().find(|one| one.id == shard && !one.retired).map(|one| &mut one.cache)
    }

    fn told(&self, shard: ShardId) -> bool {
        self.shards.iter().any(|one| one.id == shard && one.tells())
    }

    fn command(&mut self, shard: ShardId, op: Op, payload: Object) -> Result<(), CommandRefused> {
        let running = self.shards.iter().find(|one| one.id == shard && one.running).ok_or(CommandRefused::NotRunning)?;
        running.control.try_send(ShardControl::Command { op, payload }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => CommandRefused::Full,
            mpsc::error::TrySendError::Closed(_) => CommandRefused::NotRunning,
        })
    }
}
