//! Prometheus text: rendered when asked, from counters that the roles keep anyway; nothing here is on a path.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

use trunkline_cache::Kind;
use trunkline_cache::requests::Progress;
use trunkline_discord::GapCause;

use super::bots::BotState;
use super::core::CoreReport;
use super::node::Shared;
use super::status;

struct Page(String);

/// Label and text.
type Labels = Vec<(&'static str, String)>;

/// A bot's labels: two bots may have one name, so its id is what tells them apart.
fn labels(bot: &BotState, more: &[(&'static str, &str)]) -> Labels {
    let id = bot.id.map(|id| id.to_string()).unwrap_or_default();
    let own = [("bot", bot.name.clone()), ("bot_id", id)];
    own.into_iter().chain(more.iter().map(|(label, text)| (*label, (*text).to_owned()))).collect()
}

/// A counter of a `T`: name, help, how to read it.
type Counter<T> = (&'static str, &'static str, fn(&T) -> u64);

/// The same with its type, for families that mix gauges and counters.
type Gauge<T> = (&'static str, &'static str, &'static str, fn(&T) -> u64);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        writeln!(self.0, "# HELP trunkline_{name} {help}\n# TYPE trunkline_{name} {kind}").ok();
    }

    fn sample<T: AsRef<str>>(&mut self, name: &str, labels: &[(&str, T)], value: impl std::fmt::Display) {
        self.0.push_str("trunkline_");
        self.0.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            self.0.push(if i == 0 { '{' } else { ',' });
            let text = text.as_ref().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ");
            write!(self.0, "{label}=\"{text}\"").ok();
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        writeln!(self.0, " {value}").ok();
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample::<&str>(name, &[], value);
    }
}

/// The page.
#[must_use]
pub fn render(shared: &Shared, reports: &[CoreReport], fetched: &BTreeMap<u64, Progress>) -> String {
    let mut page = Page(String::with_capacity(16 << 10));
    events(&mut page, shared, reports);
    shards(&mut page, shared);
    groups(&mut page, shared, reports);
    door(&mut page, shared);
    members(&mut page, shared, fetched);
    store(&mut page, shared, reports);
    page.0
}

fn members(page: &mut Page, shared: &Shared, fetched: &BTreeMap<u64, Progress>) {
    let families: &[Gauge<Progress>] = &[
        ("members_guilds", "gauge", "Guilds whose members are fetched whole.", |progress| progress.guilds),
        ("members_guilds_done", "gauge", "Of these, those that are complete.", |progress| progress.guilds_done),
        ("members_wanted", "gauge", "Members that these guilds have by Discord's count.", |progress| progress.members),
        ("members_come", "gauge", "Of these, those that have come.", |progress| progress.members_come),
        ("members_requests_waiting", "gauge", "Member requests that wait.", |progress| progress.waiting),
        ("members_requests_under_way", "gauge", "Member requests that Discord has not answered whole.", |progress| progress.under_way),
        ("members_requests_total", "counter", "Member requests that were sent.", |progress| progress.sent),
        ("members_rate_limited_total", "counter", "Member requests that Discord answered with RATE_LIMITED.", |progress| {
            progress.rate_limited
        }),
    ];
    let bots = shared.bots();
    for (name, kind, help, read) in families {
        page.family(name, kind, help);
        for (bot, progress) in bots.iter().filter_map(|bot| Some((bot, fetched.get(&bot.id?)?))) {
            page.sample(name, &labels(bot, &[]), read(progress));
        }
    }
    page.one(
        "members_news_dropped_total",
        "counter",
        "What cores told and the fetching of members had no room for.",
        shared.members.dropped(),
    );
}

fn events(page: &mut Page, shared: &Shared, reports: &[CoreReport]) {
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    let mut gaps: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for core in reports {
        for (kind, count) in &core.events {
            *kinds.entry(kind).or_default() += count;
        }
        *kinds.entry("unknown").or_default() += core.events_unknown;
    }
    // A series that begins with the first gap has no rise that an alert could see: all are there from the start.
    for cause in GapCause::ALL {
        gaps.insert(cause.as_str(), (0, 0));
    }
    let removed = shared.removed.gaps();
    let told = reports.iter().flat_map(|core| core.gaps.iter().map(|(cause, counted)| (*cause, *counted)));
    for (cause, (count, events)) in told.chain(removed) {
        let sum = gaps.entry(cause).or_default();
        sum.0 += count;
        sum.1 += events;
    }
    page.family("events_total", "counter", "Dispatched events by kind.");
    for (kind, count) in &kinds {
        page.sample("events_total", &[("kind", kind)], count);
    }
    page.family("gaps_total", "counter", "Gaps told, by cause.");
    for (cause, (count, _)) in &gaps {
        page.sample("gaps_total", &[("cause", cause)], count);
    }
    page.family("gap_events_total", "counter", "Events known to be inside told gaps, by cause.");
    for (cause, (_, events)) in &gaps {
        page.sample("gap_events_total", &[("cause", cause)], events);
    }
    page.one(
        "malformed_payloads_total",
        "counter",
        "Payloads the cache could make nothing of.",
        reports.iter().map(|core| core.malformed).sum::<u64>(),
    );
    page.family("core_commands_queued", "gauge", "Commands from worker streams that wait for the core.");
    for core in reports {
        page.sample("core_commands_queued", &[("core", &core.core.to_string())], core.commands_queued);
    }
    page.one(
        "stream_overruns_total",
        "counter",
        "Streams broken off because they had no room in spite of credit; a bug if not 0.",
        reports.iter().map(|core| core.overruns).sum::<u64>(),
    );
}

fn shards(page: &mut Page, shared: &Shared) {
    let bots = shared.bots();
    page.family("shards", "gauge", "Shards by bot and state.");
    for bot in &bots {
        let mut states: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, counters) in &bot.shards {
            *states.entry(status::phase_name(counters.phase())).or_default() += 1;
        }
        for (state, count) in states {
            page.sample("shards", &labels(bot, &[("state", state)]), count);
        }
    }
    page.one("shards_ready_once", "gauge", "Shards that have been ready since the start.", shared.ready.load(Relaxed));
    let simple: [Counter<trunkline_gateway::ShardStats>; 9] = [
        ("gateway_compressed_bytes_total", "Bytes read from Discord before decompression.", |c| c.bytes_compressed.load(Relaxed)),
        ("gateway_plain_bytes_total", "Bytes after decompression.", |c| c.bytes_plain.load(Relaxed)),
        ("gateway_frames_total", "Gateway messages.", |c| c.frames.load(Relaxed)),
        ("gateway_duplicates_total", "Repeated dispatches, dropped before the cache.", |c| c.duplicates.load(Relaxed)),
        ("gateway_bad_frames_total", "Messages that could not be read.", |c| c.bad_frames.load(Relaxed)),
        ("gateway_identifies_total", "IDENTIFYs sent.", |c| c.identifies.load(Relaxed)),
        ("gateway_resumes_total", "Successful resumes.", |c| c.resumed.load(Relaxed)),
        ("gateway_replayed_total", "Dispatches replayed by resumes.", |c| c.replayed.load(Relaxed)),
        ("gateway_missing_total", "Dispatches left out by jumps in the sequence.", |c| c.gap_events.load(Relaxed)),
    ];
    for (name, help, read) in simple {
        page.family(name, "counter", help);
        for bot in &bots {
            page.sample(name, &labels(bot, &[]), bot.shards.iter().map(|(_, counters)| read(counters)).sum::<u64>());
        }
    }
    page.family("gateway_inflate_memory_bytes", "gauge", "Memory of decompression contexts.");
    for bot in &bots {
        page.sample(
            "gateway_inflate_memory_bytes",
            &labels(bot, &[]),
            bot.shards.iter().map(|(_, c)| c.inflate_memory_bytes.load(Relaxed)).sum::<u64>(),
        );
    }
    page.family("gateway_beat_rtt_seconds", "gauge", "Round trip of the last heartbeat, by shard.");
    for bot in &bots {
        for (shard, counters) in &bot.shards {
            #[allow(clippy::cast_precision_loss, reason = "microseconds of a round trip fit a double")]
            let seconds = counters.beat_rtt_us.load(Relaxed) as f64 / 1e6;
            page.sample("gateway_beat_rtt_seconds", &labels(bot, &[("shard", &shard.index.to_string())]), seconds);
        }
    }
    page.family("gateway_reconnects_total", "counter", "Reconnects by cause.");
    summed(page, "gateway_reconnects_total", &bots, |c| c.reconnects.each().collect());
    page.family("gateway_sessions_lost_total", "counter", "Sessions lost by cause.");
    summed(page, "gateway_sessions_lost_total", &bots, |c| c.losses.each().collect());
    identify(page, &bots);
}

fn summed(page: &mut Page, name: &str, bots: &[BotState], read: fn(&trunkline_gateway::ShardStats) -> Vec<(&'static str, u64)>) {
    for bot in bots {
        let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, counters) in &bot.shards {
            for (cause, count) in read(counters) {
                *causes.entry(cause).or_default() += count;
            }
        }
        for (cause, count) in causes {
            page.sample(name, &labels(bot, &[("cause", cause)]), count);
        }
    }
}

fn identify(page: &mut Page, bots: &[BotState]) {
    let views: Vec<_> = bots.iter().filter_map(|bot| Some((labels(bot, &[]), bot.identify.as_ref()?.status()))).collect();
    page.family("identify_remaining", "gauge", "Identifies left of the day.");
    for (bot, view) in &views {
        page.sample("identify_remaining", bot, view.remaining);
    }
    page.family("identify_limit", "gauge", "Identifies a day.");
    for (bot, view) in &views {
        page.sample("identify_limit", bot, view.total);
    }
    page.family("identify_reserve", "gauge", "Identifies kept back for a person to release.");
    for (bot, view) in &views {
        page.sample("identify_reserve", bot, view.reserve);
    }
    page.family("identify_waiting", "gauge", "Shards that wait to identify.");
    for (bot, view) in &views {
        page.sample("identify_waiting", bot, view.waiting.len());
    }
    page.family("identify_ledger_failing", "gauge", "1 while the identify ledger cannot be written.");
    for (bot, view) in &views {
        page.sample("identify_ledger_failing", bot, u8::from(view.ledger_failing));
    }
}

fn groups(page: &mut Page, shared: &Shared, reports: &[CoreReport]) {
    let groups = status::groups(shared, reports);
    let gauges: [Gauge<status::GroupStatus>; 9] = [
        ("group_workers", "gauge", "Open worker streams.", |g| g.workers),
        ("group_log_entries", "gauge", "Events held unacknowledged.", |g| g.entries),
        ("group_log_memory_bytes", "gauge", "Bytes of them in memory.", |g| g.memory_bytes),
        ("group_log_disk_bytes", "gauge", "Bytes of them on disk only.", |g| g.disk_bytes),
        ("group_log_oldest_age_ms", "gauge", "Age of the oldest of them.", |g| g.oldest_age_ms),
        ("group_in_flight", "gauge", "Events sent and not acknowledged.", |g| g.in_flight),
        ("group_acknowledged_total", "counter", "Events acknowledged.", |g| g.acked),
        ("group_redelivered_total", "counter", "Events sent again.", |g| g.redelivered),
        ("group_gap_events_total", "counter", "Events known to be inside gaps told to the group.", |g| g.events_in_gaps),
    ];
    for (name, kind, help, read) in gauges {
        page.family(name, kind, help);
        for group in &groups {
            page.sample(name, &[("group", &group.name)], read(group));
        }
    }
    page.family("group_gaps_total", "counter", "Gaps told to the group, by cause.");
    for group in &groups {
        for cause in GapCause::ALL.map(GapCause::as_str) {
            let count = group.gaps.get(cause).copied().unwrap_or_default();
            page.sample("group_gaps_total", &[("group", group.name.as_str()), ("cause", cause)], count);
        }
    }
}

fn door(page: &mut Page, shared: &Shared) {
    let stats = shared.door.stats();
    let counters: [Counter<trunkline_doors::stats::GroupStats>; 12] = [
        ("door_streams_total", "Worker streams that identified.", |g| g.streams.get()),
        ("door_events_total", "Events sent to workers.", |g| g.events.get()),
        ("door_bytes_total", "Bytes sent to workers.", |g| g.bytes.get()),
        ("door_filtered_total", "Events that a worker's stream has no form for or did not want.", |g| g.filtered.get()),
        ("door_trimmed_total", "Events sent without members, presences or payload because of the worker's message limit.", |g| {
            g.trimmed.get()
        }),
        ("door_too_large_total", "Events above a plain worker's message limit, acknowledged for it.", |g| g.too_large.get()),
        ("door_acknowledged_total", "Acknowledged by workers.", |g| g.acked.get()),
        ("door_bad_acknowledgements_total", "Acknowledgements of what was never sent; ignored.", |g| g.bad_acks.get()),
        ("door_asked_total", "Heartbeat requests sent.", |g| g.asked.get()),
        ("door_answered_total", "Heartbeat requests answered.", |g| g.answered.get()),
        ("door_timeouts_total", "Streams ended because heartbeats went unanswered.", |g| g.timeouts.get()),
        ("door_broken_total", "Streams that broke.", |g| g.broken.get()),
    ];
    for (name, help, read) in counters {
        page.family(name, "counter", help);
        for group in &stats.groups {
            page.sample(name, &[("group", &group.name)], read(group));
        }
    }
    page.one("door_refused_identities_total", "counter", "Workers refused for a wrong group or token.", stats.refused_identities.get());
    page.one("door_late_identities_total", "counter", "Streams that did not identify in time.", stats.late_identities.get());
    page.one("door_refused_full_total", "counter", "Streams refused because their group has as many as it may.", stats.refused_full.get());
    page.one("door_connections", "gauge", "Open connections to the clients' port.", stats.connections_open.get());
    page.one(
        "door_refused_connections_total",
        "counter",
        "Connections closed because there are too many.",
        stats.refused_connections.get(),
    );
    let looks = shared.looker.stats();
    page.one("lookups_total", "counter", "Questions that cores answered about their caches.", looks.answered.load(Relaxed));
    page.one("lookups_refused_busy_total", "counter", "Questions refused because a core's queue was full.", looks.busy.load(Relaxed));
    page.one("lookups_unanswered_total", "counter", "Questions that a core did not answer in time.", looks.unanswered.load(Relaxed));
    page.family("lookups_queued", "gauge", "Questions that wait for the core.");
    for (core, queued) in shared.looker.queued().enumerate() {
        page.sample("lookups_queued", &[("core", &core.to_string())], queued);
    }
    page.family("latency_seconds", "histogram", "From the socket's read to the worker's stream.");
    let mut sum = 0;
    for (bound, count) in stats.latency.buckets() {
        sum += count;
        #[allow(clippy::cast_precision_loss, reason = "bounds are small")]
        let le = bound.map_or_else(|| "+Inf".to_owned(), |us| (us as f64 / 1e6).to_string());
        page.sample("latency_seconds_bucket", &[("le", &le)], sum);
    }
    #[allow(clippy::cast_precision_loss, reason = "a metric")]
    page.sample::<&str>("latency_seconds_sum", &[], stats.latency.sum_us() as f64 / 1e6);
    page.sample::<&str>("latency_seconds_count", &[], sum);
}

fn store(page: &mut Page, shared: &Shared, reports: &[CoreReport]) {
    let stats = &shared.keeper.stats;
    page.one("checkpoints_total", "counter", "Checkpoints written.", stats.commits.load(Relaxed));
    page.one("checkpoint_failures_total", "counter", "Checkpoints that could not be written.", stats.failures.load(Relaxed));
    page.one("checkpoint_events_total", "counter", "Event bodies written to segments.", stats.entries.load(Relaxed));
    page.one("checkpoint_event_bytes_total", "counter", "Their bytes.", stats.entry_bytes.load(Relaxed));
    page.one("checkpoint_rows_total", "counter", "Cache rows written.", stats.rows.load(Relaxed));
    #[allow(clippy::cast_precision_loss, reason = "a metric")]
    page.one("checkpoint_busy_seconds_total", "counter", "Time spent writing checkpoints.", stats.busy_us.load(Relaxed) as f64 / 1e6);
    page.one(
        "checkpoint_age_ms",
        "gauge",
        "Age of the oldest core's last written checkpoint.",
        reports.iter().map(|core| core.checkpoint_age_ms).max().unwrap_or(0),
    );
    page.one(
        "store_lag_ms",
        "gauge",
        "How far the durable copy is behind: a restart now would go back to a session, a cache and a log that old.",
        reports.iter().map(|core| core.checkpoint_age_ms).max().unwrap_or(0),
    );
    page.one(
        "store_unsaved_bytes",
        "gauge",
        "Bytes of changed objects that are kept because a checkpoint failed.",
        reports.iter().map(|core| core.unsaved_bytes).sum::<u64>(),
    );
    page.one(
        "store_unsaved_let_go_total",
        "counter",
        "Changed objects of failed checkpoints that were let go; their caches are written whole.",
        reports.iter().map(|core| core.unsaved_let_go).sum::<u64>(),
    );
    page.one("store_failing", "gauge", "1 while checkpoints cannot be written.", u8::from(stats.failing.load(Relaxed)));
    let usage = shared.keeper.store.usage();
    page.family("store_bytes", "gauge", "Bytes on disk, by part.");
    page.sample("store_bytes", &[("part", "state")], usage.state_bytes);
    page.sample("store_bytes", &[("part", "journal")], usage.journal_bytes);
    page.sample("store_bytes", &[("part", "segments")], usage.segment_bytes);
    page.family("cache_bytes", "gauge", "Bytes the cache holds, by core.");
    for core in reports {
        page.sample("cache_bytes", &[("core", &core.core.to_string())], core.shards.iter().map(|shard| shard.cache_bytes).sum::<u64>());
    }
    let kinds: Vec<_> = Kind::ALL
        .into_iter()
        .map(|kind| {
            let all = reports.iter().map(|core| core.cache[kind as usize]);
            let sums = all.fold((0, 0, 0), |sums, (size, evicted)| (sums.0 + size.count, sums.1 + size.bytes, sums.2 + evicted));
            (kind.as_str(), sums)
        })
        .collect();
    // Counting what is in them would read every guild at each scrape.
    let what =
        "Objects the cache holds, by kind. A guild's emojis are one object, its stickers another: GetCounts tells how many are in them.";
    page.family("cache_objects", "gauge", what);
    kinds.iter().for_each(|(kind, (count, _, _))| page.sample("cache_objects", &[("kind", kind)], count));
    page.family("cache_object_bytes", "gauge", "Bytes of these objects, without the tables around them.");
    kinds.iter().for_each(|(kind, (_, bytes, _))| page.sample("cache_object_bytes", &[("kind", kind)], bytes));
    page.family("cache_evicted_total", "counter", "Objects that had to give way to a limit or to the budget, by kind.");
    kinds.iter().for_each(|(kind, (_, _, evicted))| page.sample("cache_evicted_total", &[("kind", kind)], evicted));
}
