//! Every fault of the simulated Discord, at least twice, with traffic going on through it. The promise: what Discord would replay is
//! not lost and costs no identify; what no session was there to receive lies inside told gaps; and Discord finds nothing to object to.
#![allow(clippy::print_stderr, clippy::disallowed_methods, reason = "figures of the run; tests drive")]

mod harness;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use harness::{Board, GROUP, Worker, World, get};
use trunkline::accounting::{Ledger, Told};
use trunkline_discord::Dice;
use trunkline_sim::{Config, Fault, FaultKind, Kind, Report, SentSession, SessionLine};

/// A reconnect is immediate again after the session was live for 2 s.
const STEADY: Duration = Duration::from_millis(2_200);

/// A dead line is noticed within two of these.
const BEAT_MS: u64 = 3_000;

/// What a fault is to lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The connection stays.
    Stays,
    /// The session goes on over a new connection.
    Resumes,
    /// One of these, as the timing has it.
    Either,
}

struct Trial {
    fault: Fault,
    then: Then,
}

/// One shard's trials, one after the other.
struct Lane {
    shard: u32,
    queue: VecDeque<Trial>,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    trial: Trial,
    resumes_before: u64,
    since: Instant,
    settled: Option<Instant>,
}

impl Lane {
    /// Answers whether it is through.
    fn step(&mut self, world: &World, report: &Report) -> bool {
        let line = newest(report, self.shard);
        let now = Instant::now();
        let Some(at) = &mut self.under_way else {
            let Some(trial) = self.queue.pop_front() else { return true };
            let window = trial.fault.kind == FaultKind::NoAcks || trial.fault.kind == FaultKind::Outage;
            let hit = world.sim.fault(&trial.fault);
            assert!(hit == 1 || window, "shard {}: {:?} hit {hit} connections", self.shard, trial.fault.kind);
            self.under_way = Some(UnderWay { trial, resumes_before: line.resumes, since: now, settled: None });
            return false;
        };
        let (kind, passed) = (at.trial.fault.kind, now - at.since);
        let resumed = line.resumes > at.resumes_before;
        let over = passed > lasting(&at.trial.fault) + Duration::from_millis(800);
        let back = line.connected
            && match at.trial.then {
                Then::Stays => {
                    assert!(!resumed, "shard {}: {kind:?} is no reason for a new connection", self.shard);
                    over
                }
                Then::Resumes => resumed,
                Then::Either => over,
            };
        if !back {
            at.settled = None;
            let sessions = || report.sessions.iter().filter(|line| line.shard.0 == self.shard).collect::<Vec<_>>();
            assert!(passed < Duration::from_secs(30), "shard {} is not back 30 s after {kind:?}: {:?}", self.shard, sessions());
            return false;
        }
        let settled = *at.settled.get_or_insert(now);
        if !resumed || now - settled > STEADY {
            self.under_way = None;
        }
        false
    }
}

/// How long a fault goes on; only lasting ones do.
fn lasting(fault: &Fault) -> Duration {
    match fault.kind {
        FaultKind::Stall | FaultKind::HalfOpen | FaultKind::NoAcks | FaultKind::Slow | FaultKind::Outage => fault.lasts,
        _ => Duration::ZERO,
    }
}

fn newest(report: &Report, shard: u32) -> SessionLine {
    let of_shard = report.sessions.iter().filter(|line| line.shard.0 == shard);
    of_shard.max_by_key(|line| line.ordinal).expect("every shard has had a session").clone()
}

/// Every fault that a session survives and that can be aimed at one shard, with what is to follow and about how long that takes.
fn resumable() -> Vec<(Fault, Then, u64)> {
    let quick = |kind| (Fault::new(kind), Then::Resumes, 2_700);
    let quiet = |kind| (Fault::new(kind), Then::Stays, 900);
    let long = Duration::from_millis(3 * BEAT_MS);
    vec![
        quick(FaultKind::Drop),
        quick(FaultKind::Reconnect),
        quick(FaultKind::InvalidResumable),
        quick(FaultKind::Close(4000)),
        quick(FaultKind::Close(4001)),
        quick(FaultKind::Close(4002)),
        quick(FaultKind::Close(4003)),
        quick(FaultKind::Close(4005)),
        (Fault::new(FaultKind::Close(4008)), Then::Resumes, 7_500),
        quick(FaultKind::Corrupt),
        quick(FaultKind::Garbage),
        quick(FaultKind::Bomb),
        quick(FaultKind::Deep),
        (Fault::new(FaultKind::Stall).lasting(long), Then::Resumes, 6_000),
        (Fault::new(FaultKind::HalfOpen).lasting(long), Then::Resumes, 6_000),
        (Fault::new(FaultKind::NoAcks).lasting(long + Duration::from_millis(500)), Then::Resumes, 7_500),
        (Fault::new(FaultKind::Slow).lasting(Duration::from_secs(4)), Then::Either, 7_000),
        (Fault::new(FaultKind::Stall).lasting(Duration::from_millis(400)), Then::Stays, 1_300),
        (Fault::new(FaultKind::Outage).lasting(Duration::from_secs(1)), Then::Stays, 1_900),
        quiet(FaultKind::Duplicate),
        quiet(FaultKind::Skip),
        quiet(FaultKind::BeatRequest),
        quiet(FaultKind::Unknown),
    ]
}

/// Deals every trial twice to the shards, the long ones first to whoever has least, then in an order of their own.
fn deal(seed: u64, shards: u32) -> Vec<Lane> {
    let mut dice = Dice::new(seed);
    let mut trials: Vec<_> = resumable().into_iter().chain(resumable()).collect();
    trials.sort_by_key(|(_, _, takes_ms)| std::cmp::Reverse(*takes_ms));
    let mut lanes: Vec<_> = (0..shards).map(|shard| (0, Lane { shard, queue: VecDeque::new(), under_way: None })).collect();
    for (fault, then, takes_ms) in trials {
        let (load, lane) = lanes.iter_mut().min_by_key(|(load, _)| *load).expect("shards");
        *load += takes_ms;
        lane.queue.push_back(Trial { fault: fault.on_shard(lane.shard), then });
    }
    for (_, lane) in &mut lanes {
        for left in (1..lane.queue.len()).rev() {
            let other = dice.below(left as u64 + 1);
            lane.queue.swap(left, usize::try_from(other).expect("an index"));
        }
    }
    lanes.into_iter().map(|(_, lane)| lane).collect()
}

/// The runs of `s` that were jumped over, as the gaps that are to be told.
fn jumps(sent: &[SentSession]) -> HashSet<Told> {
    let mut jumps = HashSet::new();
    let mut ordinals = BTreeMap::<(u64, u32), u64>::new();
    for session in sent {
        let shard = (session.bot, session.shard.0);
        let ordinal = ordinals.entry(shard).or_default();
        *ordinal += 1;
        let mut first = None;
        for (s, code) in (1_u64..).zip(&session.kinds) {
            let skipped = *code == Kind::Skipped as u8;
            match (first, skipped) {
                (None, true) => first = Some(s),
                (Some(from), false) => {
                    let (session, cause) = (*ordinal, "CAUSE_SEQUENCE_JUMP".to_owned());
                    jumps.insert(Told { shard, session, first_s: Some(from), last_s: Some(s - 1), cause });
                    first = None;
                }
                _ => {}
            }
        }
        assert_eq!(first, None, "the run ended inside a jump, which nobody can notice");
    }
    jumps
}

fn assert_injected_twice(report: &Report, wanted: impl IntoIterator<Item = FaultKind>) {
    let mut counts = BTreeMap::<&str, u64>::new();
    for fault in &report.faults_injected {
        *counts.entry(&fault.kind).or_default() += 1;
    }
    for kind in wanted {
        assert!(counts.get(&*kind.name()).is_some_and(|count| *count >= 2), "{kind:?} was not done twice: {counts:?}");
    }
}

fn tell(name: &str, world: &World, verdict: &trunkline::accounting::Verdict, ledger: &Ledger, report: &Report) {
    eprintln!(
        "{name} seed={}: sent {} delivered {} lost {} in gaps {} gaps told {} repeated {} out of order {}; faults {} identifies {} resumes {} replayed {} client faults {}; p50 {} µs p99 {} µs",
        world.seed,
        verdict.sent,
        verdict.delivered,
        verdict.lost,
        verdict.in_gaps,
        ledger.gaps().len(),
        ledger.duplicated,
        ledger.out_of_order,
        report.faults_injected.len(),
        report.identifies,
        report.resumes,
        report.events_replayed,
        report.client_faults_total,
        ledger.latency_us(0.5),
        ledger.latency_us(0.99)
    );
}

fn discord(shards: u32) -> Config {
    Config {
        shards,
        max_concurrency: shards,
        guilds: 40,
        members: 20,
        rate: 400.0,
        heartbeat_interval_ms: BEAT_MS,
        trim_replay_at_heartbeat: true,
        ..Config::default()
    }
}

/// The node, ready, with two workers.
async fn running(config: Config, encoding: &'static str, compress: &'static str, board: &Board) -> (World, [Worker; 2]) {
    let mut world = World::new(config).await;
    world.env = vec![("TRUNKLINE_DISCORD_ENCODING", encoding), ("TRUNKLINE_DISCORD_COMPRESS", compress)];
    world.start("");
    world.ready().await;
    let workers = [Worker::spawn(&world, GROUP, "a", board), Worker::spawn(&world, GROUP, "b", board)];
    (world, workers)
}

async fn survive_all(name: &str, encoding: &'static str, compress: &'static str) {
    // As many lanes as keep the longest trial from being the measure.
    const SHARDS: u32 = 12;
    let board = Board::default();
    let (world, _workers) = running(discord(SHARDS), encoding, compress, &board).await;
    tokio::time::sleep(STEADY).await;

    let mut lanes = deal(world.seed, SHARDS);
    let wants_resume = lanes.iter().flat_map(|lane| &lane.queue).filter(|trial| trial.then == Then::Resumes).count() as u64;
    let began = Instant::now();
    loop {
        let report = world.sim.report();
        let through = lanes.iter_mut().map(|lane| lane.step(&world, &report)).filter(|through| *through).count();
        if through == lanes.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eprintln!("{name}: all faults took {:?}", began.elapsed());
    tokio::time::sleep(Duration::from_millis(500)).await;

    let (verdict, report) = world.settle(&board, Duration::from_secs(15), |_| true).await;
    let dropped = world.metric("trunkline_gateway_duplicates_total", "").await;
    let ledger = board.lock().expect("no worker panicked");
    tell(name, &world, &verdict, &ledger, &report);
    assert_injected_twice(&report, resumable().into_iter().map(|(fault, _, _)| fault.kind));
    assert_eq!(verdict.lost, 0, "lost: {:?}", verdict.lost_first);
    assert_eq!((verdict.in_gaps, verdict.invented), (0, 0));
    assert_eq!(report.identifies, u64::from(SHARDS), "a fault that a session survives must not cost an identify");
    assert_eq!(report.resumes_refused, 0);
    assert!(report.resumes >= wants_resume, "{} resumes for {wants_resume} broken connections", report.resumes);
    assert_eq!(report.client_faults_total, 0, "the simulated Discord objects: {:?}", report.client_faults);
    assert_eq!(*ledger.gaps(), jumps(&world.sim.sent()), "a jump in the sequence is told as exactly that gap, and nothing else is");
    assert_eq!(ledger.out_of_order, 0, "{:?}", ledger.out_of_order_first);
    assert_eq!(ledger.duplicated, 0, "what Discord repeats is dropped, and no worker was gone");
    assert!(dropped >= 4.0, "two times three events were repeated, and {dropped} dropped");
    assert!(verdict.sent > 4_000, "hardly any traffic: {}", verdict.sent);
    assert!(!world.log_text().contains("panicked"), "something panicked:\n{}", world.log_text());
}

/// Three worlds beside one another: they wait most of their time.
#[tokio::test(flavor = "multi_thread")]
async fn every_resumable_fault_twice_loses_nothing_over_json_zlib_and_etf_zstd_and_when_nothing_can_be_reached() {
    tokio::join!(
        Box::pin(survive_all("json zlib-stream", "json", "zlib-stream")),
        Box::pin(survive_all("etf zstd-stream", "etf", "zstd-stream")),
        Box::pin(refused_connections_and_late_hellos_are_waited_out_with_the_session_kept()),
    );
}

/// Waits until each of these shards holds a session beyond `before` and has held it steadily.
async fn new_sessions(world: &World, shards: &[u32], before: &Report) {
    let began = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let report = world.sim.report();
        let back = |shard: &u32| newest(&report, *shard).ordinal > newest(before, *shard).ordinal && newest(&report, *shard).connected;
        if shards.iter().all(back) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "no new sessions after 30 s: {:?}", report.sessions);
    }
    tokio::time::sleep(STEADY).await;
}

/// Waits until each shard has resumed beyond `before` and has held that steadily.
async fn resumed(world: &World, shards: u32, before: &Report) {
    let began = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let report = world.sim.report();
        if (0..shards).all(|shard| newest(&report, shard).resumes > newest(before, shard).resumes && newest(&report, shard).connected) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "not resumed after 30 s: {:?}", report.sessions);
    }
    tokio::time::sleep(STEADY).await;
}

async fn lose_sessions(name: &str, encoding: &'static str, compress: &'static str) {
    const SHARDS: u32 = 8;
    let board = Board::default();
    let config = Config { session_ttl: Duration::from_secs(3), ..discord(SHARDS) };
    let (world, _workers) = running(config, encoding, compress, &board).await;
    tokio::time::sleep(STEADY).await;

    let all = [0, 1, 2, 3, 4, 5, 6, 7];
    let (closed_4007, closed_4009) = (FaultKind::Close(4007), FaultKind::Close(4009));
    let kinds = [[FaultKind::Invalid; 4], [closed_4007, closed_4007, closed_4009, closed_4009]].concat();
    let before = world.sim.report();
    // READY takes its time as well.
    world.sim.fault(&Fault::new(FaultKind::SlowReady).lasting(Duration::from_millis(4_500)));
    for (shard, kind) in (0..).zip(kinds) {
        assert_eq!(world.sim.fault(&Fault::new(kind).on_shard(shard)), 1);
    }
    new_sessions(&world, &all, &before).await;
    // Away for longer than a session lives: the resume is refused.
    let before = world.sim.report();
    world.sim.fault(&Fault::new(FaultKind::Refuse).lasting(Duration::from_millis(3_500)));
    for shard in [0, 1] {
        assert_eq!(world.sim.fault(&Fault::new(FaultKind::Drop).on_shard(shard)), 1);
    }
    new_sessions(&world, &[0, 1], &before).await;

    let (verdict, report) = world.settle(&board, Duration::from_secs(15), |_| true).await;
    let ledger = board.lock().expect("no worker panicked");
    tell(name, &world, &verdict, &ledger, &report);
    assert_injected_twice(&report, [FaultKind::Invalid, FaultKind::Close(4007), FaultKind::Close(4009)]);
    assert_eq!(verdict.lost, 0, "lost: {:?}", verdict.lost_first);
    assert_eq!(verdict.sent - verdict.delivered - verdict.in_gaps, 0);
    assert_eq!(verdict.invented, 0);
    assert!(report.events_without_session > 100, "hardly anything was emitted while no session existed: {}", report.events_without_session);
    assert_eq!(report.identifies, u64::from(SHARDS) * 2 + 2, "one identify for each session that was lost");
    assert_eq!(report.identifies_refused, 0);
    assert_eq!(report.resumes_refused, 2, "only the two sessions that had died unnoticed were tried");
    assert_eq!(report.client_faults_total, 0, "the simulated Discord objects: {:?}", report.client_faults);
    assert_eq!(ledger.out_of_order, 0, "{:?}", ledger.out_of_order_first);
    assert_eq!(ledger.duplicated, 0);

    // Each lost session is one gap, from behind the last event that came, and no event lies inside a gap and was delivered too.
    let mut lost = HashSet::new();
    for shard in all {
        let mut of_shard: Vec<_> = report.sessions.iter().filter(|line| line.shard.0 == shard).collect();
        of_shard.sort_by_key(|line| line.ordinal);
        for (ordinal, line) in (1_u64..).zip(&of_shard) {
            if line.ended_because.is_some() {
                let shard = (line.bot, shard);
                let first_s = Some(ledger.last_s(shard, ordinal) + 1);
                lost.insert(Told { shard, session: ordinal, first_s, last_s: None, cause: "CAUSE_SESSION_LOST".to_owned() });
            }
        }
        for pair in of_shard.windows(2) {
            let apart_ms = pair[1].started_unix_ms - pair[0].started_unix_ms;
            assert!(apart_ms >= 5_000, "shard {shard} identified twice within {apart_ms} ms");
        }
    }
    assert_eq!(lost.len(), 10);
    assert_eq!(*ledger.gaps(), lost);
    assert!(!world.log_text().contains("panicked"), "something panicked:\n{}", world.log_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_lost_session_is_a_told_gap_and_one_identify() {
    lose_sessions("lost sessions, etf zstd-stream", "etf", "zstd-stream").await;
}

async fn refused_connections_and_late_hellos_are_waited_out_with_the_session_kept() {
    const SHARDS: u32 = 4;
    let board = Board::default();
    let (world, _workers) = running(discord(SHARDS), "json", "none", &board).await;
    tokio::time::sleep(STEADY).await;
    // The second attempt comes within a second of the first: it finds the door open again.
    let (late, refused) = ((FaultKind::LateHello, 1_200), (FaultKind::Refuse, 700));
    let failed = async || world.metric("trunkline_gateway_reconnects_total", "cause=\"open_failed\"").await;
    let mut rounds = 0;
    for (kind, mut lasts_ms) in [late, refused, late, refused] {
        loop {
            let (before, failed_before) = (world.sim.report(), failed().await);
            world.sim.fault(&Fault::new(kind).lasting(Duration::from_millis(lasts_ms)));
            assert_eq!(world.sim.fault(&Fault::new(FaultKind::Drop)), u64::from(SHARDS));
            resumed(&world, SHARDS, &before).await;
            rounds += 1;
            // Where the machine is busy, the door may be open again before every shard has come to it: that was no trial.
            if kind != FaultKind::Refuse || failed().await - failed_before >= f64::from(SHARDS) {
                break;
            }
            lasts_ms *= 2;
            assert!(lasts_ms < 60_000, "a door that is closed for half a minute, and {SHARDS} shards do not notice");
        }
    }
    let (verdict, report) = world.settle(&board, Duration::from_secs(15), |_| true).await;
    let ledger = board.lock().expect("no worker panicked");
    tell("refused and late, json none", &world, &verdict, &ledger, &report);
    assert_injected_twice(&report, [FaultKind::LateHello, FaultKind::Refuse]);
    assert_eq!((verdict.lost, verdict.in_gaps, verdict.invented), (0, 0, 0), "lost: {:?}", verdict.lost_first);
    assert_eq!(report.identifies, u64::from(SHARDS));
    assert_eq!(report.resumes, rounds * u64::from(SHARDS));
    assert_eq!(report.client_faults_total, 0, "the simulated Discord objects: {:?}", report.client_faults);
    assert!(ledger.gaps().is_empty());
    assert_eq!((ledger.out_of_order, ledger.duplicated), (0, 0));
    let log = world.log_text();
    assert!(log.contains("trying again until it can be reached"), "nobody was told that Discord cannot be reached:\n{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_faults_in_every_phase_of_a_connection_is_accounted_for() {
    const SHARDS: u32 = 4;
    let board = Board::default();
    let (world, _workers) = running(discord(SHARDS), "etf", "zlib-stream", &board).await;
    let mut dice = Dice::new(world.seed);
    let began = Instant::now();
    let mut done = 0;
    // READY comes late, so that identifies are hit on their way too.
    world.sim.fault(&Fault::new(FaultKind::SlowReady).lasting(Duration::from_secs(9)));
    while began.elapsed() < Duration::from_secs(8) {
        tokio::time::sleep(Duration::from_millis(dice.between(20, 400))).await;
        let kinds = [
            FaultKind::Drop,
            FaultKind::Drop,
            FaultKind::Reconnect,
            FaultKind::InvalidResumable,
            FaultKind::Invalid,
            FaultKind::Close(4000),
            FaultKind::Close(4007),
            FaultKind::Close(4009),
            FaultKind::Corrupt,
            FaultKind::Garbage,
            FaultKind::Deep,
            FaultKind::Duplicate,
            FaultKind::Skip,
            FaultKind::Unknown,
            FaultKind::Refuse,
            FaultKind::LateHello,
        ];
        let kind = kinds[usize::try_from(dice.below(kinds.len() as u64)).expect("an index")];
        let mut fault = Fault::new(kind).lasting(Duration::from_millis(300));
        if dice.chance(0.8) {
            fault = fault.on_shard(u32::try_from(dice.below(u64::from(SHARDS))).expect("a shard"));
        }
        done += world.sim.fault(&fault);
    }
    let quiet = Instant::now();
    let mut steady = Instant::now();
    while steady.elapsed() < STEADY {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let report = world.sim.report();
        if !(0..SHARDS).all(|shard| newest(&report, shard).connected) {
            steady = Instant::now();
        }
        assert!(quiet.elapsed() < Duration::from_secs(40), "not back 40 s after the last fault: {:?}", report.sessions);
    }
    let (verdict, report) = world.settle(&board, Duration::from_secs(15), |_| true).await;
    let ledger = board.lock().expect("no worker panicked");
    tell("faults upon faults, etf zlib-stream", &world, &verdict, &ledger, &report);
    eprintln!("  {done} hits; back {:?} after the last", quiet.elapsed());
    assert_eq!((verdict.lost, verdict.invented), (0, 0), "lost: {:?}", verdict.lost_first);
    assert_eq!(report.client_faults_total, 0, "the simulated Discord objects: {:?}", report.client_faults);
    assert_eq!((ledger.out_of_order, ledger.duplicated), (0, 0), "{:?}", ledger.out_of_order_first);
    assert_eq!(report.identifies_refused, 0);
    assert!(report.identifies + report.resumes > 2 * u64::from(SHARDS), "hardly anything was hit");
    assert!(!world.log_text().contains("panicked"), "something panicked:\n{}", world.log_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_and_a_forbidden_intent_end_the_process_with_status_3_and_what_to_do() {
    let config = Config { rate: 100.0, ..discord(1) };
    let mut world = World::with_bots(config.clone(), 2).await;
    let mut mistaken = World::new(config).await;
    let right = std::mem::replace(&mut mistaken.token, "bm90LWEtYm90.x.never-a-real-token".to_owned());
    world.start("");
    mistaken.start("");

    // Refused at the start, before any identify.
    assert_eq!(mistaken.ended_within(Duration::from_secs(20)).await, 3);
    let log = mistaken.log_text();
    let last = log.lines().last().unwrap_or_default();
    eprintln!("401: {last}");
    assert!(last.contains("every bot has failed for good") && last.contains("token"), "{log}");
    assert!(!log.contains(&mistaken.token) && !log.contains(&right), "a token is in the log:\n{log}");
    assert_eq!(mistaken.sim.report().identifies, 0);

    // Refused in the middle of a session: one bot, and the process goes on with the other …
    world.ready().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.sim.fault(&Fault { bot: Some(0), ..Fault::new(FaultKind::Close(4004)) }), 1);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let log = world.log_text();
    eprintln!("4004: {}", log.lines().rfind(|line| line.contains("4004")).unwrap_or_default());
    assert!(log.contains("4004") && log.contains("Reset Token"), "what to do about 4004 is not said:\n{log}");
    let (code, body) = get(world.admin, "/readyz").await.expect("an answer");
    assert_eq!(code, 503, "a shard has stopped for good: {body}");
    assert!(body.contains("shard 0/1 of bot ") && body.contains(" has stopped: Discord closed with 4004"), "{body}");
    let (_, status) = get(world.admin, "/status").await.expect("an answer");
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let shard = &status["bots"][0]["shards"][0];
    assert_eq!(
        (shard["state"].as_str(), shard["close_code"].as_u64(), status["ready"].as_bool()),
        (Some("stopped"), Some(4004), Some(false))
    );
    assert!(shard["why"].as_str().is_some_and(|why| why.contains("Reset Token")), "{shard}");
    let before = world.sim.report();
    assert!(world.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_none())), "the other bot still runs");
    assert_eq!(before.sessions.iter().filter(|line| line.connected).count(), 1);
    // … until that one is refused too.
    assert_eq!(world.sim.fault(&Fault { bot: Some(1), ..Fault::new(FaultKind::Close(4014)) }), 1);
    assert_eq!(world.ended_within(Duration::from_secs(20)).await, 3);
    let log = world.log_text();
    let last = log.lines().last().unwrap_or_default();
    eprintln!("4004 and 4014: {last}");
    for said in ["every bot has failed for good", "4004", "Reset Token", "4014", "Privileged Gateway Intents"] {
        assert!(last.contains(said), "{said:?} is not in the last line: {last}");
    }
    assert!(!log.contains(&world.token) && !log.contains(&world.more_tokens[0]), "a token is in the log:\n{log}");
    assert_eq!(world.sim.report().identifies, 2, "a fatal code is not to be followed by another identify");
    assert_eq!(world.sim.report().client_faults_total, 0, "{:?}", world.sim.report().client_faults);
}
