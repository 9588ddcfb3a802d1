//! How the process stands, as JSON: what `trunkline status` shows and `/status` answers.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};
use trunkline_discord::{CloseCode, ShardId};
use trunkline_gateway::{Blocked, ShardStats, Standing};
use trunkline_session::{Phase, StopReason};

use super::core::{CoreReport, ShardReport};
use super::node::Shared;
use crate::commands::status::{age, time_of_day};

/// The whole process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// This program's version.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Whether `/readyz` answers 200.
    #[serde(default)]
    pub ready: bool,
    /// Added to `trunkline worker` so that it comes here: ` --addr IP:PORT`, empty where that is the default.
    #[serde(default)]
    pub addr_flag: String,
    /// The same for `trunkline status` and `shard`.
    #[serde(default)]
    pub admin_flag: String,
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
    /// What its start waits for.
    #[serde(default)]
    pub waiting: Option<WaitingView>,
    /// Identify budget; none until Discord has been asked.
    pub identify: Option<IdentifyView>,
    /// Its shards here.
    pub shards: Vec<ShardStatus>,
}

/// What a bot's start waits for.
#[derive(Debug, Serialize, Deserialize)]
pub struct WaitingView {
    /// In one plain line.
    pub why: String,
    /// Since when.
    pub since_unix_ms: u64,
    /// The same as an age.
    pub for_ms: u64,
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
    /// Why it is not live, in one plain line; none while it is, or while nothing keeps it.
    #[serde(default)]
    pub why: Option<String>,
    /// The code with which Discord closed for good.
    #[serde(default)]
    pub close_code: Option<u16>,
    /// Which attempt to connect in a row this is.
    #[serde(default)]
    pub attempt: Option<u32>,
    /// When it is, or was, due.
    #[serde(default)]
    pub attempt_at_unix_ms: Option<u64>,
    /// Its place among the shards that wait to identify, from 1.
    #[serde(default)]
    pub identify_place: Option<u32>,
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
    let bots = shared.bots();
    let usage = shared.keeper.store.usage();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_ms: shared.clock.unix_ms().saturating_sub(shared.started_unix_ms),
        ready: super::readiness::judge(&bots).ready,
        addr_flag: shared.at.addr_flag(),
        admin_flag: shared.at.admin_flag(),
        bots: bots.iter().map(|bot| bot_status(bot, &by_shard, shared)).collect(),
        groups: groups(shared, reports),
        store: StoreStatus {
            path: shared.keeper.store.place(),
            failing: shared.keeper.stats.failing.load(Relaxed),
            checkpoint_age_ms: reports.iter().map(|core| core.checkpoint_age_ms).max().unwrap_or(0),
            bytes: usage.state_bytes + usage.journal_bytes + usage.segment_bytes,
        },
    }
}

fn bot_status(bot: &super::bots::BotState, by_shard: &BTreeMap<ShardId, &ShardReport>, shared: &Shared) -> BotStatus {
    let now = shared.clock.unix_ms();
    let identify = bot.identify.as_ref().map(|queue| {
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
    });
    BotStatus {
        id: bot.id.map(|id| id.to_string()),
        name: bot.name.clone(),
        failed: bot.failed.clone(),
        waiting: bot.waiting.as_ref().map(|waiting| WaitingView {
            why: waiting.why.clone(),
            since_unix_ms: waiting.since_unix_ms,
            for_ms: now.saturating_sub(waiting.since_unix_ms),
        }),
        shards: bot
            .shards
            .iter()
            .map(|(shard, counters)| {
                let report = by_shard.get(shard);
                let stuck = stuck(shard.index, counters, identify.as_ref(), now);
                ShardStatus {
                    index: shard.index,
                    count: shard.count,
                    state: phase_name(counters.phase()).to_owned(),
                    why: stuck.why,
                    close_code: stuck.close_code,
                    attempt: stuck.attempt,
                    attempt_at_unix_ms: stuck.attempt_at_unix_ms,
                    identify_place: stuck.identify_place,
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
        identify,
    }
}

/// Why a shard is not live.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stuck {
    why: Option<String>,
    close_code: Option<u16>,
    attempt: Option<u32>,
    attempt_at_unix_ms: Option<u64>,
    identify_place: Option<u32>,
}

fn stuck(index: u32, counters: &ShardStats, identify: Option<&IdentifyView>, now: u64) -> Stuck {
    explain(index, counters.phase(), &counters.standing(), identify, now)
}

fn explain(index: u32, phase: Phase, standing: &Standing, identify: Option<&IdentifyView>, now: u64) -> Stuck {
    let mut stuck = Stuck::default();
    if phase != Phase::Live
        && let Some(pause) = standing.pause
    {
        stuck.attempt = Some(pause.attempt);
        stuck.attempt_at_unix_ms = Some(pause.until_unix_ms);
        let trouble = standing.trouble.as_ref().map(|trouble| format!("; {trouble}")).unwrap_or_default();
        let when = match pause.until_unix_ms.saturating_sub(now) {
            0 => "is under way".to_owned(),
            left => format!("in {} ({})", age(left), time_of_day(pause.until_unix_ms)),
        };
        let how = if pause.resume { "resume" } else { "identify" };
        stuck.why = Some(format!("attempt {} to {how} {when}: {}{trouble}", pause.attempt, pause.cause));
    }
    match phase {
        Phase::Stopped => {
            stuck.why = standing.stopped.map(|reason| reason.to_string());
            stuck.close_code = match standing.stopped {
                Some(StopReason::Fatal(CloseCode(code))) => Some(code),
                _ => None,
            };
        }
        Phase::AwaitingGrant => {
            stuck.identify_place =
                identify.and_then(|view| u32::try_from(view.waiting.iter().position(|waiting| *waiting == index)? + 1).ok());
            stuck.why = Some(waits_to_identify(stuck.identify_place, identify, now));
        }
        Phase::AwaitingRoom => stuck.why = Some("waits at most 5 s for room in the event log before it resumes".to_owned()),
        Phase::Identifying => stuck.why = Some("IDENTIFY is sent; Discord has not answered with READY yet".to_owned()),
        _ => {}
    }
    stuck
}

fn waits_to_identify(place: Option<u32>, identify: Option<&IdentifyView>, now: u64) -> String {
    let (Some(place), Some(view)) = (place, identify) else { return "waits its turn to identify".to_owned() };
    let place = format!("waits to identify, place {place} of {}", view.waiting.len());
    let reset = view
        .reset_at_unix_ms
        .map_or_else(|| "when Discord gives new ones".to_owned(), |at| format!("in {} ({})", age(at.saturating_sub(now)), time_of_day(at)));
    match view.blocked.as_deref() {
        Some("spent") => format!("{place}: all {} identifies of the day are spent, new ones come {reset}", view.total),
        Some(_) => format!("{place}: only the reserve of {} is left of the day; release it, or new ones come {reset}", view.reserve),
        None => format!("{place}; {} at a time go every 5 s", view.max_concurrency),
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

#[cfg(test)]
mod tests {
    use trunkline_gateway::Pause;
    use trunkline_session::Cause;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn budget(waiting: &[u32], blocked: Option<&str>) -> IdentifyView {
        IdentifyView {
            total: 1_000,
            remaining: 50,
            reserve: 100,
            reset_at_unix_ms: Some(NOW + 2 * 3_600_000),
            max_concurrency: 2,
            waiting: waiting.to_vec(),
            blocked: blocked.map(str::to_owned),
        }
    }

    #[test]
    fn a_stopped_shard_says_its_code_and_what_to_do() {
        let standing = Standing { stopped: Some(StopReason::Fatal(CloseCode(4014))), ..Standing::default() };
        let stuck = explain(0, Phase::Stopped, &standing, None, NOW);
        assert_eq!(stuck.close_code, Some(4014));
        let why = stuck.why.expect("a reason");
        assert!(why.starts_with("Discord closed with 4014 (disallowed intents): ") && why.contains("Developer Portal"), "{why}");
    }

    #[test]
    fn a_shard_between_two_attempts_says_which_when_and_why() {
        let pause = Pause { cause: Cause::OpenFailed, attempt: 4, resume: true, until_unix_ms: NOW + 8_000 };
        let standing = Standing { pause: Some(pause), trouble: Some("gateway.discord.gg refuses".to_owned()), stopped: None };
        let stuck = explain(0, Phase::Waiting, &standing, None, NOW);
        assert_eq!((stuck.attempt, stuck.attempt_at_unix_ms), (Some(4), Some(NOW + 8_000)));
        assert_eq!(
            stuck.why.as_deref(),
            Some("attempt 4 to resume in 8.0s (08:00:08 UTC): the gateway could not be reached; gateway.discord.gg refuses")
        );
        let under_way = explain(0, Phase::Opening, &standing, None, NOW + 9_000);
        assert!(under_way.why.is_some_and(|why| why.starts_with("attempt 4 to resume is under way: ")));
        assert_eq!(explain(0, Phase::Live, &Standing::default(), None, NOW), Stuck::default());
    }

    #[test]
    fn a_shard_that_waits_to_identify_says_its_place_and_when_the_budget_is_back() {
        let why = |blocked| {
            let stuck = explain(7, Phase::AwaitingGrant, &Standing::default(), Some(&budget(&[3, 5, 7, 9], blocked)), NOW);
            assert_eq!(stuck.identify_place, Some(3));
            stuck.why.unwrap_or_default()
        };
        assert_eq!(why(None), "waits to identify, place 3 of 4; 2 at a time go every 5 s");
        assert_eq!(
            why(Some("spent")),
            "waits to identify, place 3 of 4: all 1000 identifies of the day are spent, new ones come in 2h 0m (10:00:00 UTC)"
        );
        assert!(why(Some("reserve")).contains("only the reserve of 100 is left of the day"));
    }
}
