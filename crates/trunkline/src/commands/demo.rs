//! `trunkline demo`: a simulated Discord, a node and workers in one process; shows events at work and accounts for every one.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use trunkline_discord::{Encoding, EventKind};
use trunkline_doors::client::{Done, Received, WorkerClient, WorkerOptions};
use trunkline_etf::Value;
use trunkline_sim::{BotConfig, Report, SentSession, Sim, SimHandle, parse_schedule};
use trunkline_wire::pylon::discord::v1::event::EventEnvelope;
use trunkline_wire::pylon::discord::v1::event::event_envelope::EventData;
use trunkline_wire::trunkline::event::v1::Encoding as RawEncoding;
use trunkline_wire::trunkline::worker::v1::PayloadFormat;

use super::{OK, USAGE, complain, say};
use crate::accounting::{Ledger, Seen, Told, Verdict, compare};
use crate::cli::DemoArgs;
use crate::config::{self, Sources};
use crate::logging;
use crate::roles::node::Node;

/// How long the end waits for what is still under way.
const SETTLE: Duration = Duration::from_secs(7);

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
    identifies: u64,
    resumes: u64,
    latency_us_p50: u64,
    latency_us_p99: u64,
    seconds: f64,
    events_per_second: u64,
    client_faults: u64,
    seed: u64,
}

/// Runs the demo. Exit status 1 when anything was lost or out of order.
#[must_use]
pub fn demo(args: &DemoArgs) -> ExitCode {
    if let Err(text) = logging::start(&args.log, false) {
        complain(&text);
        return ExitCode::from(USAGE);
    }
    match super::run::edge_runtime() {
        Ok(runtime) => runtime.block_on(run(args)).unwrap_or_else(|text| {
            complain(&text);
            ExitCode::FAILURE
        }),
        Err(error) => {
            complain(&format!("the runtime did not start: {error}"));
            ExitCode::FAILURE
        }
    }
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

async fn run(args: &DemoArgs) -> Result<ExitCode, String> {
    let seed = args.seed.unwrap_or_else(super::sim::seed);
    // Looks like a bot's token and is none.
    let token = format!("ZGVtbw.{seed:x}.demo-{:x}", std::process::id());
    let sim = Sim::start(trunkline_sim::Config {
        bots: vec![BotConfig::new(&token)],
        shards: args.shards,
        max_concurrency: args.max_concurrency,
        guilds: args.guilds,
        members: args.members,
        rate: f64::from(args.rate),
        seed,
        faults: args.faults.as_deref().map(parse_schedule).transpose().map_err(|error| format!("--faults: {error}"))?.unwrap_or_default(),
        ..trunkline_sim::Config::default()
    })
    .await
    .map_err(|error| format!("the simulated Discord did not start: {error}"))?;

    let scratch = Scratch::new()?;
    let setting = |key: &str, value: &str| (key.to_owned(), value.to_owned(), "demo".to_owned());
    let sources = Sources {
        flags: vec![
            setting("discord.api", sim.api_url()),
            setting("discord.encoding", &args.encoding),
            setting("discord.compress", &args.compress),
            setting("listen.clients", "127.0.0.1:0"),
            setting("listen.admin", "127.0.0.1:0"),
            setting("store.path", &scratch.0.display().to_string()),
            setting("bots.0.token", &token),
        ],
        ..Sources::default()
    };
    let config = config::parse(&sources).map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
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
    for index in 0..args.workers.max(1) {
        let mut options = WorkerOptions::new(&node.clients().to_string(), "default", &token, &format!("demo-{index}"));
        options.payload = PayloadFormat::RawJson;
        options.extended = true;
        options.done = Done::WithNext;
        let client = WorkerClient::connect(options).await.map_err(|error| format!("the demo's worker did not connect: {error}"))?;
        workers.push(tokio::spawn(work(client, board.clone(), !args.json)));
    }

    let ended = watch(args, &node, &sim, &board).await;
    if !args.json {
        say("stopping: letting what is under way arrive …");
    }
    sim.pause();
    let (verdict, report) = settle(&sim, &board).await;
    drop(node.stop().await);
    for worker in workers {
        worker.abort();
    }
    let summary = {
        let board = board.lock().map_err(|_| "a worker of the demo failed".to_owned())?;
        let seconds = board.first_event.map_or(0.0, |first| (ended - first).as_secs_f64());
        summarize(&board.ledger, &verdict, &report, seconds, seed)
    };
    drop(sim.stop().await);
    for line in &verdict.lost_first {
        complain(&format!("lost: {line}"));
    }
    for fault in report.client_faults.iter().take(5) {
        complain(&format!("the simulated Discord objects: {}", fault.text));
    }
    if args.json {
        say(&serde_json::to_string(&summary).map_err(|error| error.to_string())?);
    } else {
        tell(&summary);
    }
    Ok(if summary.events_lost > 0 || summary.events_out_of_order > 0 || summary.events_delivered == 0 { ExitCode::FAILURE } else { OK })
}

/// Waits for the end of the time or a signal, and shows a line a second. Answers when the counted time ended.
async fn watch(args: &DemoArgs, node: &Node, sim: &SimHandle, board: &Mutex<Board>) -> Instant {
    let started = Instant::now();
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.tick().await;
    let mut before = 0;
    let step = Duration::from_millis(50);
    loop {
        let first = board.lock().ok().and_then(|board| board.first_event);
        let until_end = match (first, args.duration) {
            (Some(first), Some(duration)) => duration.saturating_sub(first.elapsed()),
            (None, _) if started.elapsed() > FIRST_EVENT => Duration::ZERO,
            _ => Duration::from_secs(3_600),
        };
        if until_end.is_zero() {
            return Instant::now();
        }
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => return Instant::now(),
            reason = node.all_bots_failed() => { complain(&reason); return Instant::now() }
            _ = every.tick(), if !args.json => {
                let Ok(mut board) = board.lock() else { return Instant::now() };
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

/// Compares until nothing more arrives or the time for it is over.
async fn settle(sim: &SimHandle, board: &Mutex<Board>) -> (Verdict, Report) {
    let began = Instant::now();
    let mut last = (u64::MAX, Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let received = board.lock().map(|board| board.ledger.received).unwrap_or(0);
        if received != last.0 {
            last = (received, Instant::now());
        }
        let quiet = last.1.elapsed() >= Duration::from_millis(300);
        if quiet || began.elapsed() > SETTLE {
            let (sent, report): (Vec<SentSession>, Report) = (sim.sent(), sim.report());
            let verdict = board.lock().map(|board| compare(&sent, &report, &board.ledger, |_| true)).unwrap_or_default();
            if verdict.lost == 0 || began.elapsed() > SETTLE {
                return (verdict, report);
            }
        }
    }
}

fn summarize(ledger: &Ledger, verdict: &Verdict, report: &Report, seconds: f64, seed: u64) -> Summary {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
    let events_per_second = if seconds > 0.0 { (verdict.delivered as f64 / seconds) as u64 } else { 0 };
    Summary {
        events_sent: verdict.sent,
        events_delivered: verdict.delivered,
        events_lost: verdict.lost,
        events_duplicated: ledger.duplicated,
        events_out_of_order: ledger.out_of_order,
        gaps_told: ledger.gaps().len() as u64,
        events_in_gaps: verdict.in_gaps,
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
