//! `trunkline demo`: a simulated Discord, a node and workers in one process; shows events at work and accounts for every one.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use trunkline_discord::{Encoding, EventKind};
use trunkline_doors::client::{Done, Received, WorkerClient, WorkerOptions};
use trunkline_etf::Value;
use trunkline_sim::{BotConfig, Planned, Report, Schedule, SentSession, Sim, SimHandle, StartError, parse_schedule};
use trunkline_wire::pylon::discord::v1::event::EventEnvelope;
use trunkline_wire::pylon::discord::v1::event::event_envelope::EventData;
use trunkline_wire::trunkline::event::v1::Encoding as RawEncoding;
use trunkline_wire::trunkline::worker::v1::PayloadFormat;

use super::{OK, USAGE, complain, say};
use crate::accounting::{Ledger, Seen, Told, Verdict, compare};
use crate::cli::DemoArgs;
use crate::config::{self, Config, Sources};
use crate::logging;
use crate::roles::node::Node;

/// How long the end waits for what is still under way. The demo ends within 10 s after its counted time: this, and stopping.
const SETTLES_WITHIN: Duration = Duration::from_secs(8);

/// How long stopping the node may take.
const STOPS_WITHIN: Duration = Duration::from_millis(1_500);

/// With every shard connected and nothing moving for this long, nothing can be under way any more.
const QUIET: Duration = Duration::from_secs(3);

/// How long the first event may take: the identify queue waits 5 s where it has no record, then guilds come.
const FIRST_EVENT: Duration = Duration::from_secs(60);

/// The last line of `--json`.
#[derive(Debug, Serialize)]
struct Summary {
    events_sent: u64,
    events_delivered: u64,
    events_lost: u64,
    events_duplicated: u64,
    events_out_of_order: u64,
    gaps_told: u64,
    events_in_gaps: u64,
    /// Neither: they wait at the simulated Discord, in sessions that have no connection at the end and can be resumed.
    events_waiting: u64,
    identifies: u64,
    resumes: u64,
    latency_us_p50: u64,
    latency_us_p99: u64,
    seconds: f64,
    events_per_second: u64,
    client_faults: u64,
    seed: u64,
}

/// Runs the demo. Exit status 1 when anything was lost or out of order, 2 for arguments that cannot be.
#[must_use]
pub fn demo(args: &DemoArgs) -> ExitCode {
    if let Err(text) = logging::start(&args.log, false) {
        complain(&text);
        return ExitCode::from(USAGE);
    }
    let played = match super::run::edge_runtime() {
        Ok(runtime) => runtime.block_on(play(args)),
        Err(error) => Err(Failed::Run(format!("the runtime did not start: {error}"))),
    };
    match played.and_then(|played| present(args, &played)) {
        Ok(code) => code,
        Err(Failed::Arguments(text)) => {
            complain(&text);
            ExitCode::from(USAGE)
        }
        Err(Failed::Run(text)) => {
            complain(&text);
            ExitCode::FAILURE
        }
    }
}

/// Why there is nothing to account for.
#[derive(Debug)]
enum Failed {
    /// Arguments that cannot be.
    Arguments(String),
    /// Whatever came later.
    Run(String),
}

impl From<String> for Failed {
    fn from(text: String) -> Self {
        Self::Run(text)
    }
}

/// What the arguments ask for: the simulated Discord, and the faults of its schedule.
fn discord(args: &DemoArgs, token: &str, seed: u64) -> Result<(trunkline_sim::Config, Vec<Planned>), Failed> {
    let wrong = |text: &str| Failed::Arguments(text.to_owned());
    if args.guilds == 0 {
        return Err(wrong("--guilds: at least one guild is needed, or nothing happens"));
    }
    if args.rate == 0 {
        return Err(wrong("--rate: at least one event per second is needed, or there is nothing to account for"));
    }
    if args.workers == 0 {
        return Err(wrong("--workers: at least one worker is needed"));
    }
    let faults = args.faults.as_deref().map(parse_schedule).transpose();
    let faults = faults.map_err(|error| Failed::Arguments(format!("--faults: {error}")))?.unwrap_or_default();
    let config = trunkline_sim::Config {
        bots: vec![BotConfig::new(token)],
        shards: args.shards,
        max_concurrency: args.max_concurrency,
        guilds: args.guilds,
        members: args.members,
        rate: f64::from(args.rate),
        seed,
        ..trunkline_sim::Config::default()
    };
    Ok((config, faults))
}

/// The node's configuration for a simulated Discord at `api`.
fn node(args: &DemoArgs, token: &str, api: &str, store: &str) -> Result<Config, Failed> {
    let setting = |key: &str, value: &str, origin: &str| (key.to_owned(), value.to_owned(), origin.to_owned());
    let sources = Sources {
        flags: vec![
            setting("discord.api", api, "demo"),
            setting("discord.encoding", &args.encoding, "--encoding"),
            setting("discord.compress", &args.compress, "--compress"),
            setting("listen.clients", "127.0.0.1:0", "demo"),
            setting("listen.admin", "127.0.0.1:0", "demo"),
            setting("store.path", store, "demo"),
            setting("bots.0.token", token, "demo"),
        ],
        ..Sources::default()
    };
    config::parse(&sources).map_err(|problems| Failed::Arguments(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

/// A folder for the demo's store, gone when the demo is.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, String> {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let path = std::env::temp_dir().join(format!("trunkline-demo-{}-{at}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| format!("no folder for the demo's store: {}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder left in the temporary directory harms nobody.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[derive(Default)]
struct Board {
    ledger: Ledger,
    first_event: Option<Instant>,
    samples: Vec<String>,
}

/// What a demo came to.
struct Played {
    summary: Summary,
    verdict: Verdict,
    report: Report,
}

/// Runs everything to its end.
async fn play(args: &DemoArgs) -> Result<Played, Failed> {
    let seed = args.seed.unwrap_or_else(super::sim::seed);
    // Looks like a bot's token and is none.
    let token = format!("ZGVtbw.{seed:x}.demo-{:x}", std::process::id());
    let (discord, faults) = discord(args, &token, seed)?;
    let sim = Sim::start(discord).await.map_err(|error| match error {
        StartError::Config(text) => Failed::Arguments(text),
        error => Failed::Run(format!("the simulated Discord did not start: {error}")),
    })?;
    let scratch = Scratch::new()?;
    let config = self::node(args, &token, sim.api_url(), &scratch.0.display().to_string())?;
    let node = Node::start(config).await.map_err(|error| error.to_string())?;
    if !args.json {
        say(&format!(
            "simulated Discord  {}  ({} shards, {} guilds, {} events per second, seed {seed})",
            sim.api_url(),
            args.shards,
            args.guilds,
            args.rate
        ));
        say(&format!(
            "clients            {}  (another terminal: trunkline worker --addr {} --store {})",
            node.clients(),
            node.clients(),
            scratch.0.display()
        ));
        say(&format!("metrics, status    http://{}  (another terminal: trunkline status --admin {})", node.admin(), node.admin()));
        say("with no record of earlier identifies the first one waits 5 s, as with Discord …");
    }

    let board = Arc::new(Mutex::new(Board::default()));
    let token = node.token("default").map(|token| token.expose().to_owned()).unwrap_or_default();
    let mut workers = Vec::new();
    for index in 0..args.workers {
        let mut options = WorkerOptions::new(&node.clients().to_string(), "default", &token, &format!("demo-{index}"));
        options.payload = PayloadFormat::RawJson;
        options.extended = true;
        options.done = Done::WithNext;
        let client = WorkerClient::connect(options).await.map_err(|error| format!("the demo's worker did not connect: {error}"))?;
        workers.push(tokio::spawn(work(client, board.clone(), !args.json)));
    }

    let (ended, schedule) = watch(args, &node, &sim, &board, faults).await;
    if !args.json {
        say("stopping: letting what is under way arrive …");
    }
    // The faults belong to the counted time; what they hold back may now come.
    drop(schedule);
    sim.pause();
    sim.calm();
    let (verdict, report) = settle(&sim, &board, ended + SETTLES_WITHIN).await;
    if tokio::time::timeout(STOPS_WITHIN, node.stop()).await.is_err() {
        tracing::warn!("the node did not stop within {} ms", STOPS_WITHIN.as_millis());
    }
    for worker in workers {
        worker.abort();
    }
    let summary = {
        let board = board.lock().map_err(|_| "a worker of the demo failed".to_owned())?;
        let seconds = board.first_event.map_or(0.0, |first| (ended - first).as_secs_f64());
        let waiting = waiting(&sim.sent(), &report, &board.ledger);
        summarize(&board.ledger, &verdict, waiting, &report, seconds, seed)
    };
    drop(sim.stop().await);
    Ok(Played { summary, verdict, report })
}

/// Tells what a demo came to.
fn present(args: &DemoArgs, Played { summary, verdict, report }: &Played) -> Result<ExitCode, Failed> {
    if summary.events_lost > 0 {
        for line in &verdict.lost_first {
            complain(&format!("lost: {line}"));
        }
    }
    if summary.events_waiting > 0 {
        complain(&format!(
            "{} events still wait at the simulated Discord for shards that have no connection; {} s did not bring them back",
            summary.events_waiting,
            SETTLES_WITHIN.as_secs()
        ));
    }
    for fault in report.client_faults.iter().take(5) {
        complain(&format!("the simulated Discord objects: {}", fault.text));
    }
    if args.json {
        say(&serde_json::to_string(summary).map_err(|error| error.to_string())?);
    } else {
        tell(summary);
    }
    Ok(if summary.events_lost > 0 || summary.events_out_of_order > 0 || summary.events_delivered == 0 { ExitCode::FAILURE } else { OK })
}

/// Waits for the end of the time or a signal, and shows a line a second. The schedule of faults counts from the first event, as the
/// time does. Answers when the counted time ended, and the schedule, which goes on until it is dropped.
async fn watch(
    args: &DemoArgs,
    node: &Node,
    sim: &SimHandle,
    board: &Mutex<Board>,
    mut faults: Vec<Planned>,
) -> (Instant, Option<Schedule>) {
    let started = Instant::now();
    let mut schedule = None;
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.tick().await;
    let mut before = 0;
    let step = Duration::from_millis(50);
    loop {
        let first = board.lock().ok().and_then(|board| board.first_event);
        if let Some(first) = first
            && !faults.is_empty()
        {
            schedule = Some(sim.schedule(std::mem::take(&mut faults), first.into()));
        }
        let until_end = match (first, args.duration) {
            (Some(first), Some(duration)) => duration.saturating_sub(first.elapsed()),
            (None, _) if started.elapsed() > FIRST_EVENT => Duration::ZERO,
            _ => Duration::from_secs(3_600),
        };
        if until_end.is_zero() {
            return (Instant::now(), schedule);
        }
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => return (Instant::now(), schedule),
            reason = node.all_bots_failed() => { complain(&reason); return (Instant::now(), schedule) }
            _ = every.tick(), if !args.json => {
                let Ok(mut board) = board.lock() else { return (Instant::now(), schedule) };
                for sample in board.samples.drain(..) {
                    say(&sample);
                }
                let received = board.ledger.received;
                if let Some(first) = board.first_event {
                    let report = sim.report();
                    say(&format!(
                        "{:>5}s  {:>7} events/s  {:>10} delivered  {} repeated  {} out of order  {} gaps  {} identifies  {} resumes",
                        first.elapsed().as_secs(), received - before, board.ledger.delivered(), board.ledger.duplicated,
                        board.ledger.out_of_order, board.ledger.gaps().len(), report.identifies, report.resumes
                    ));
                }
                before = received;
            }
            // Looks again whether the first event has come.
            () = tokio::time::sleep(until_end.min(step)) => {}
        }
    }
}

async fn work(mut client: WorkerClient, board: Arc<Mutex<Board>>, show: bool) {
    while let Some(received) = client.next().await {
        let Received::Event(envelope) = received else { continue };
        let now_us = u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros()).unwrap_or(0);
        let Ok(mut board) = board.lock() else { return };
        note(&mut board.ledger, &envelope, now_us);
        board.first_event.get_or_insert_with(Instant::now);
        if show && board.samples.len() < 2 {
            let sample = sample(&envelope);
            board.samples.push(sample);
        }
    }
}

/// Notes an envelope in a ledger; the clock is the wall clock in microseconds.
pub fn note(ledger: &mut Ledger, envelope: &EventEnvelope, now_us: u64) {
    let header = envelope.header.clone().unwrap_or_default();
    if let Some(EventData::GapEvent(gap)) = &envelope.event_data {
        ledger.gap(Told {
            shard: (gap.bot_id, gap.shard_id),
            session: gap.session,
            first_s: gap.first_sequence,
            last_s: gap.last_sequence,
            cause: gap.cause().as_str_name().to_owned(),
        });
        return;
    }
    if let Some(EventData::RawEvent(raw)) = &envelope.event_data
        && raw.name == EventKind::Ready.name()
    {
        let encoding = if raw.encoding() == RawEncoding::Json { Encoding::Json } else { Encoding::Etf };
        if let Some(id) = Value::from_raw(encoding, &raw.bytes).get("session_id").and_then(Value::as_str) {
            ledger.ready((header.bot_id, header.shard_id), header.session, &id);
        }
    }
    let at = header.received_at.unwrap_or_default();
    let received_us = u64::try_from(at.seconds).unwrap_or(0) * 1_000_000 + u64::try_from(at.nanos / 1_000).unwrap_or(0);
    ledger.event(Seen {
        shard: (header.bot_id, header.shard_id),
        session: header.session,
        s: header.discord_sequence,
        guild: header.guild_id,
        redelivered: header.redelivered,
        latency_us: now_us.saturating_sub(received_us),
    });
}

fn sample(envelope: &EventEnvelope) -> String {
    let header = envelope.header.clone().unwrap_or_default();
    let text = match &envelope.event_data {
        Some(EventData::RawEvent(raw)) => String::from_utf8_lossy(&raw.bytes).chars().take(90).collect(),
        _ => String::new(),
    };
    format!("        {:<24} shard {:<3} s {:<7} {text}…", header.event_name, header.shard_id, header.discord_sequence)
}

/// Waits until everything that was sent is delivered or inside told gaps, until nothing can be under way any more, or until `until`.
async fn settle(sim: &SimHandle, board: &Mutex<Board>, until: Instant) -> (Verdict, Report) {
    let mut last = (u64::MAX, Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let moved = board.lock().map(|board| board.ledger.received + board.ledger.gaps().len() as u64).unwrap_or(0);
        if moved != last.0 {
            last = (moved, Instant::now());
        }
        let over = Instant::now() >= until;
        if last.1.elapsed() >= Duration::from_millis(300) || over {
            let (sent, report): (Vec<SentSession>, Report) = (sim.sent(), sim.report());
            let verdict = board.lock().map(|board| compare(&sent, &report, &board.ledger, |_| true)).unwrap_or_default();
            let still = last.1.elapsed() >= QUIET && unconnected(&report).is_empty();
            if verdict.lost == 0 || still || over {
                return (verdict, report);
            }
        }
    }
}

/// The shards whose newest session has no connection.
fn unconnected(report: &Report) -> Vec<(u64, u32)> {
    let mut newest = std::collections::BTreeMap::new();
    for session in &report.sessions {
        newest.insert((session.bot, session.shard.0), session.connected);
    }
    newest.into_iter().filter(|(_, connected)| !connected).map(|(shard, _)| shard).collect()
}

/// How many of the undelivered events wait for a shard that has no connection at the end: a resume would bring them, or tell that
/// they are gone. What is missing below an event that did arrive waits for nothing: it is lost.
fn waiting(sent: &[SentSession], report: &Report, ledger: &Ledger) -> u64 {
    let of_shard = |shard: (u64, u32)| {
        let sessions: Vec<SentSession> = sent.iter().filter(|session| (session.bot, session.shard.0) == shard).cloned().collect();
        let mut of_shard = report.clone();
        of_shard.unseen.retain(|unseen| (unseen.bot, unseen.shard) == shard);
        let lost = compare(&sessions, &of_shard, ledger, |_| true).lost;
        let newest = sessions.iter().max_by_key(|session| session.ordinal);
        let behind = newest.map_or(0, |session| {
            let arrived = ledger.last_s(shard, sessions.len() as u64);
            session.sequence().filter(|s| *s > arrived).count() as u64
        });
        let unseen: u64 = of_shard.unseen.iter().map(|unseen| unseen.events).sum();
        lost.min(behind + unseen)
    };
    unconnected(report).into_iter().map(of_shard).sum()
}

fn summarize(ledger: &Ledger, verdict: &Verdict, waiting: u64, report: &Report, seconds: f64, seed: u64) -> Summary {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
    let events_per_second = if seconds > 0.0 { (verdict.delivered as f64 / seconds) as u64 } else { 0 };
    Summary {
        events_sent: verdict.sent,
        events_delivered: verdict.delivered,
        events_lost: verdict.lost - waiting,
        events_duplicated: ledger.duplicated,
        events_out_of_order: ledger.out_of_order,
        gaps_told: ledger.gaps().len() as u64,
        events_in_gaps: verdict.in_gaps,
        events_waiting: waiting,
        identifies: report.identifies,
        resumes: report.resumes,
        latency_us_p50: ledger.latency_us(0.50),
        latency_us_p99: ledger.latency_us(0.99),
        seconds: (seconds * 1_000.0).round() / 1_000.0,
        events_per_second,
        client_faults: report.client_faults_total,
        seed,
    }
}

fn tell(summary: &Summary) {
    say(&format!(
        "\n{} events sent in {:.1} s, {} delivered ({}/s), {} lost, {} repeated, {} out of order",
        summary.events_sent,
        summary.seconds,
        summary.events_delivered,
        summary.events_per_second,
        summary.events_lost,
        summary.events_duplicated,
        summary.events_out_of_order
    ));
    say(&format!(
        "{} gaps told with {} events inside; {} identifies, {} resumes; socket to worker {} µs at the median, {} µs at the 99th percentile",
        summary.gaps_told, summary.events_in_gaps, summary.identifies, summary.resumes, summary.latency_us_p50, summary.latency_us_p99
    ));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests watch the clock")]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn args(words: &[&str]) -> DemoArgs {
        match Cli::try_parse_from(["trunkline", "demo"].iter().chain(words)).unwrap().command {
            Command::Demo(args) => args,
            other => panic!("not a demo: {other:?}"),
        }
    }

    #[test]
    fn arguments_that_cannot_be_end_with_status_2() {
        for words in [
            ["--faults", "1s explode"],
            ["--faults", "soon drop"],
            ["--encoding", "xml"],
            ["--compress", "lz4"],
            ["--shards", "0"],
            ["--max-concurrency", "0"],
            ["--guilds", "0"],
            ["--guilds", "4000000000"],
            ["--rate", "0"],
            ["--workers", "0"],
            ["--log", "debgu"],
        ] {
            let code = demo(&args(&words));
            assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(2)), "{words:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn faults_count_from_the_first_event_and_end_with_the_counted_time() {
        // Every fault again and again until the end, a stall that would outlast it, and connections refused.
        let schedule = "500ms drop all every=700ms; 1s stall shard=0 for=60s; 1500ms half-open shard=1 for=60s; 1800ms refuse for=60s";
        let words = ["--for", "2s", "--json", "--shards", "4", "--max-concurrency", "4", "--rate", "500", "--faults", schedule];
        let began = Instant::now();
        let played = play(&args(&words)).await.unwrap();
        let took = began.elapsed();
        let (summary, report) = (&played.summary, &played.report);
        let first_ms = report.sessions.iter().map(|session| session.started_unix_ms).min().unwrap() - report.started_unix_ms;
        let fault = &report.faults_injected[0];
        assert_eq!(fault.kind, "drop");
        // The identify queue waits for 5 s; a schedule that counts from the start would be over.
        assert!(first_ms > 4_000, "{first_ms}");
        assert!((first_ms + 500..first_ms + 1_500).contains(&fault.at_ms), "first event at {first_ms}, {fault:?}");
        let last = report.faults_injected.last().unwrap();
        assert!(last.at_ms < first_ms + 3_000, "no fault after the counted time: first event at {first_ms}, {last:?}");
        // What a stall or a refusal held back is no loss.
        assert_eq!((summary.events_lost, summary.events_out_of_order, summary.identifies), (0, 0, 4), "{summary:?} {:?}", played.verdict);
        let all = summary.events_delivered + summary.events_in_gaps + summary.events_waiting;
        assert_eq!(all, summary.events_sent, "{summary:?}");
        assert!(summary.resumes >= 4 && summary.events_delivered > 500, "{summary:?}");
        assert!(took < Duration::from_millis(first_ms) + Duration::from_secs(2 + 10), "it took {took:?}");
    }
}
