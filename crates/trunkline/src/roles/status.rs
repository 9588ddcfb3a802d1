//! How the process stands, as JSON: what `trunkline status` shows and `/status` answers.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};
use trunkline_discord::ShardId;
use trunkline_gateway::Blocked;
use trunkline_session::Phase;

use super::core::{CoreReport, ShardReport};
use super::node::Shared;

/// The whole process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// This program's version.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Bots in the order of the configuration.
    pub bots: Vec<BotStatus>,
    /// Groups in the order of the configuration.
    pub groups: Vec<GroupStatus>,
    /// The store.
    pub store: StoreStatus,
}

/// One bot.
#[derive(Debug, Serialize, Deserialize)]
pub struct BotStatus {
    /// User id, as text (it does not fit a JSON number everywhere).
    pub id: Option<String>,
    /// Name.
    pub name: String,
    /// Why it has failed for good.
    pub failed: Option<String>,
    /// Identify budget; none until Discord has been asked.
    pub identify: Option<IdentifyView>,
    /// Its shards here.
    pub shards: Vec<ShardStatus>,
}

/// A bot's identify budget.
#[derive(Debug, Serialize, Deserialize)]
pub struct IdentifyView {
    /// Identifies a day.
    pub total: u32,
    /// Left of them.
    pub remaining: u32,
    /// Kept back for a person to release.
    pub reserve: u32,
    /// When the day's budget is whole again.
    pub reset_at_unix_ms: Option<u64>,
    /// Identifies per 5 s.
    pub max_concurrency: u32,
    /// Shards that wait.
    pub waiting: Vec<u32>,
    /// `spent` or `reserve` when waiting shards may not go at all.
    pub blocked: Option<String>,
}

/// One shard.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShardStatus {
    /// Index.
    pub index: u32,
    /// Count of all shards.
    pub count: u32,
    /// What the session is doing.
    pub state: String,
    /// Number of the session of this shard.
    pub session: u64,
    /// Position.
    pub s: u64,
    /// Position of the last written checkpoint.
    pub checkpointed_s: u64,
    /// Owner's epoch.
    pub epoch: u64,
    /// Guilds.
    pub guilds: u64,
    /// Cache bytes.
    pub cache_bytes: u64,
    /// Events since the start.
    pub events: u64,
    /// Heartbeat round trip in microseconds.
    pub beat_rtt_us: u64,
    /// Identifies sent since the start.
    pub identifies: u64,
    /// Successful resumes since the start.
    pub resumes: u64,
    /// Dispatches replayed by resumes.
    pub replayed: u64,
    /// Repeated dispatches, dropped.
    pub repeated: u64,
    /// Dispatches that jumps in the sequence left out.
    pub missing: u64,
}

/// One group, over all cores.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Name.
    pub name: String,
    /// Streams open now.
    pub workers: u64,
    /// Events held unacknowledged.
    pub entries: u64,
    /// Their bytes in memory.
    pub memory_bytes: u64,
    /// Their bytes on disk only.
    pub disk_bytes: u64,
    /// Age of the oldest.
    pub oldest_age_ms: u64,
    /// Sent and not acknowledged.
    pub in_flight: u64,
    /// Acknowledged since the start.
    pub acked: u64,
    /// Sent again since the start.
    pub redelivered: u64,
    /// Gaps told since the start, by cause.
    pub gaps: BTreeMap<String, u64>,
    /// Events known to be inside them.
    pub events_in_gaps: u64,
}

/// The store.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Directory.
    pub path: String,
    /// Whether the last checkpoint failed.
    pub failing: bool,
    /// Age of the oldest core's last written checkpoint.
    pub checkpoint_age_ms: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// Puts the reports of all cores together.
#[must_use]
pub fn collect(shared: &Shared, reports: &[CoreReport]) -> Status {
    let by_shard: BTreeMap<ShardId, &ShardReport> =
        reports.iter().flat_map(|core| &core.shards).map(|shard| (shard.shard, shard)).collect();
    let bots = shared.bots.lock().map(|bots| bots.values().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let usage = shared.keeper.store.usage();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_ms: shared.clock.unix_ms().saturating_sub(shared.started_unix_ms),
        bots: bots.iter().map(|bot| bot_status(bot, &by_shard)).collect(),
        groups: groups(shared, reports),
        store: StoreStatus {
            path: shared.config.store.path.display().to_string(),
            failing: shared.keeper.stats.failing.load(Relaxed),
            checkpoint_age_ms: reports.iter().map(|core| core.checkpoint_age_ms).max().unwrap_or(0),
            bytes: usage.state_bytes + usage.journal_bytes + usage.segment_bytes,
        },
    }
}

fn bot_status(bot: &super::bots::BotState, by_shard: &BTreeMap<ShardId, &ShardReport>) -> BotStatus {
    BotStatus {
        id: bot.id.map(|id| id.to_string()),
        name: bot.name.clone(),
        failed: bot.failed.clone(),
        identify: bot.identify.as_ref().map(|queue| {
            let view = queue.status();
            IdentifyView {
                total: view.total,
                remaining: view.remaining,
                reserve: view.reserve,
                reset_at_unix_ms: view.reset_at_unix_ms,
                max_concurrency: view.max_concurrency,
                waiting: view.waiting,
                blocked: view.blocked.map(|blocked| match blocked {
                    Blocked::Spent => "spent".to_owned(),
                    Blocked::Reserve => "reserve".to_owned(),
                }),
            }
        }),
        shards: bot
            .shards
            .iter()
            .map(|(shard, counters)| {
                let report = by_shard.get(shard);
                ShardStatus {
                    index: shard.index,
                    count: shard.count,
                    state: phase_name(counters.phase()).to_owned(),
                    session: report.map_or(0, |r| r.session),
                    s: report.map_or(0, |r| r.s),
                    checkpointed_s: report.map_or(0, |r| r.checkpointed_s),
                    epoch: report.map_or(0, |r| r.epoch),
                    guilds: report.map_or(0, |r| r.guilds),
                    cache_bytes: report.map_or(0, |r| r.cache_bytes),
                    events: counters.events.load(Relaxed),
                    beat_rtt_us: counters.beat_rtt_us.load(Relaxed),
                    identifies: counters.identifies.load(Relaxed),
                    resumes: counters.resumed.load(Relaxed),
                    replayed: counters.replayed.load(Relaxed),
                    repeated: counters.duplicates.load(Relaxed),
                    missing: counters.gap_events.load(Relaxed),
                }
            })
            .collect(),
    }
}

/// A session's phase in one word, for status and metrics.
#[must_use]
pub fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Idle => "idle",
        Phase::Waiting => "waiting",
        Phase::Opening => "connecting",
        Phase::Greeting => "greeting",
        Phase::AwaitingGrant => "queued",
        Phase::AwaitingRoom => "log_full",
        Phase::Identifying => "identifying",
        Phase::Resuming => "resuming",
        Phase::Live => "live",
        Phase::Stopped => "stopped",
    }
}

/// Sums every group over the cores.
#[must_use]
pub fn groups(shared: &Shared, reports: &[CoreReport]) -> Vec<GroupStatus> {
    let door = shared.door.stats();
    shared
        .config
        .groups
        .iter()
        .map(|group| {
            let mut sum = GroupStatus { name: group.name.to_string(), ..GroupStatus::default() };
            sum.workers = door.groups.iter().find(|g| g.name == group.name).map_or(0, |g| g.streams_open.get());
            for one in reports.iter().flat_map(|core| &core.hub.groups).filter(|one| one.name == group.name) {
                sum.entries += one.entries;
                sum.memory_bytes += one.memory_bytes;
                sum.disk_bytes += one.disk_bytes;
                sum.oldest_age_ms = sum.oldest_age_ms.max(one.oldest_age_ms);
                sum.in_flight += one.in_flight;
                sum.acked += one.acked;
                sum.redelivered += one.redelivered;
                sum.events_in_gaps += one.events_in_gaps;
                for (cause, count) in one.gaps.iter().filter(|(_, count)| *count > 0) {
                    *sum.gaps.entry(cause.as_str().to_owned()).or_default() += count;
                }
            }
            sum
        })
        .collect()
}
