//! Workers that join, leave, die and dawdle, under traffic. The promise: nothing is lost, order per guild holds through every change
//! of hands, what may come twice is marked, a slow worker holds up its own guilds alone, and groups do not touch each other.
#![allow(clippy::print_stderr, clippy::disallowed_methods, reason = "figures of the run; tests drive")]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::{Board, GROUP, IDLE_GROUP, Line, Wish, Worker, World};
use serde_json::json;
use trunkline::accounting::Verdict;
use trunkline_discord::Dice;
use trunkline_doors::client::{Received, WorkerClient, WorkerOptions};
use trunkline_sim::{Config, Report};
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_closed::CloseReason;
use trunkline_wire::trunkline::worker::v1::EventFilter;

const SHARDS: u32 = 4;

fn discord(rate: f64) -> Config {
    Config {
        shards: SHARDS,
        max_concurrency: SHARDS,
        guilds: 48,
        members: 20,
        rate,
        // Beats are no part of this; a busy machine is not to make them late.
        heartbeat_interval_ms: 10_000,
        ..Config::default()
    }
}

async fn running(rate: f64) -> World {
    let mut world = World::new(discord(rate)).await;
    world.start("");
    world.ready().await;
    world
}

fn tell(name: &str, world: &World, verdict: &Verdict, board: &Board) {
    let ledger = board.lock().expect("no worker panicked");
    eprintln!(
        "{name} seed={}: sent {} delivered {} lost {} in gaps {} repeated {} (unmarked {}) out of order {}; p50 {} µs p99 {} µs max {} µs",
        world.seed,
        verdict.sent,
        verdict.delivered,
        verdict.lost,
        verdict.in_gaps,
        ledger.duplicated,
        ledger.duplicated_unmarked,
        ledger.out_of_order,
        ledger.latency_us(0.5),
        ledger.latency_us(0.99),
        ledger.latency_us(1.0)
    );
}

fn assert_whole(verdict: &Verdict, report: &Report, board: &Board) {
    let ledger = board.lock().expect("no worker panicked");
    assert_eq!(verdict.lost, 0, "lost: {:?}", verdict.lost_first);
    assert_eq!((verdict.in_gaps, verdict.invented), (0, 0), "gaps: {:?}", ledger.gaps());
    assert_eq!(ledger.out_of_order, 0, "{:?}", ledger.out_of_order_first);
    assert_eq!(ledger.duplicated_unmarked, 0, "what comes again must be marked");
    assert_eq!(report.identifies, u64::from(SHARDS), "no worker is worth a session");
    assert_eq!(report.resumes, 0);
    assert_eq!(report.client_faults_total, 0, "the simulated Discord objects: {:?}", report.client_faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_join_drain_break_and_die_silently_and_nothing_is_lost() {
    let world = running(600.0).await;
    let board = Board::default();
    let mut dice = Dice::new(world.seed);
    // Three whose line is cut later: their sockets stay open, and nothing comes from them any more.
    let mut lines = Vec::new();
    let mut silent = Vec::new();
    for id in ["far-1", "far-2", "far-3"] {
        let line = Line::to(world.clients).await;
        silent.push(Worker::wished(&world, Wish { at: Some(line.at), ..Wish::new(GROUP, id, &board) }));
        lines.push(line);
    }
    // One stays all the time, so that there is always somebody.
    let _steady = Worker::spawn(&world, GROUP, "steady", &board);
    let mut workers = vec![Worker::spawn(&world, GROUP, "w0", &board)];
    let (mut joined, mut drained, mut died) = (1, 0, 0);
    let began = Instant::now();
    let mut cuts = [2_000, 3_000, 4_000].into_iter().zip(lines).peekable();
    let mut cut = Vec::new();
    while began.elapsed() < Duration::from_secs(12) {
        tokio::time::sleep(Duration::from_millis(dice.between(100, 500))).await;
        if cuts.peek().is_some_and(|(at, _)| began.elapsed() > Duration::from_millis(*at)) {
            let (_, line) = cuts.next().expect("there is one");
            line.cut();
            cut.push(line);
            silent.remove(0).die();
        }
        match dice.below(5) {
            0 | 1 if workers.len() < 5 => {
                workers.push(Worker::spawn(&world, GROUP, &format!("w{joined}"), &board));
                joined += 1;
            }
            2 | 3 if !workers.is_empty() => {
                let worker = workers.swap_remove(usize::try_from(dice.below(workers.len() as u64)).expect("an index"));
                worker.drained().await;
                drained += 1;
            }
            4 if !workers.is_empty() => {
                workers.swap_remove(usize::try_from(dice.below(workers.len() as u64)).expect("an index")).die();
                died += 1;
            }
            _ => {}
        }
    }
    // A silent one is noticed 10 s after it was asked in vain, and its guilds go to the others then.
    let (verdict, report) = world.settle(&board, Duration::from_secs(30), |_| true).await;
    tell("comings and goings", &world, &verdict, &board);
    let timeouts = world.metric("trunkline_door_timeouts_total", "").await;
    let redelivered = world.metric("trunkline_group_redelivered_total", "").await;
    eprintln!("  {joined} joined, {drained} drained, {died} broke off, 3 fell silent ({timeouts} noticed), {redelivered} sent again");
    assert_whole(&verdict, &report, &board);
    assert!(drained >= 2 && died >= 1, "hardly anything happened: {drained} drained, {died} died");
    assert!(verdict.sent > 5_000, "hardly any traffic: {}", verdict.sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_worker_holds_up_its_own_guilds_and_no_others() {
    let world = running(900.0).await;
    let (board, quick_board, slow_board) = (Board::default(), Board::default(), Board::default());
    let pace_us = Arc::new(AtomicU64::new(0));
    let both = |own: &Board| vec![board.clone(), own.clone()];
    let _quick = Worker::wished(&world, Wish { boards: both(&quick_board), ..Wish::new(GROUP, "quick", &board) });
    let slow = Wish { boards: both(&slow_board), pace_us: pace_us.clone(), ..Wish::new(GROUP, "slow", &board) };
    let _slow = Worker::wished(&world, slow);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // About a tenth of what its guilds bring: after some seconds its credit is used up.
    pace_us.store(20_000, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(14)).await;
    let held_back = world.metric("trunkline_group_log_entries", &format!("\"{GROUP}\"")).await;
    let (quick_had, slow_had) = (delivered(&quick_board), delivered(&slow_board));
    pace_us.store(0, Ordering::Relaxed);
    let (verdict, report) = world.settle(&board, Duration::from_secs(15), |_| true).await;
    tell("a slow worker", &world, &verdict, &board);
    let (p50, p99) = {
        let quick = quick_board.lock().expect("no worker panicked");
        (quick.latency_us(0.5), quick.latency_us(0.99))
    };
    let slow_p99 = slow_board.lock().expect("no worker panicked").latency_us(0.99);
    eprintln!(
        "  before the end: quick {quick_had}, slow {slow_had}, {held_back} entries held; quick p50 {p50} µs p99 {p99} µs, slow p99 {slow_p99} µs"
    );
    assert_whole(&verdict, &report, &board);
    assert!(quick_had > 3 * slow_had, "the slow worker was not slow");
    assert!(slow_p99 > 3_000_000, "the slow worker was not behind: {slow_p99} µs");
    assert!(p99 < 1_000_000, "the quick worker was held up: {p99} µs at the 99th percentile");
    assert_eq!(board.lock().expect("no worker panicked").duplicated, 0, "slow is not dead");
}

fn delivered(board: &Board) -> u64 {
    board.lock().expect("no worker panicked").delivered()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_groups_have_their_own_positions_and_a_wrong_token_gets_in_nowhere() {
    let world = running(600.0).await;
    let (board, other) = (Board::default(), Board::default());
    let wanted = |name: &str| name == "MESSAGE_CREATE";
    let _workers = [Worker::spawn(&world, GROUP, "a", &board), Worker::spawn(&world, GROUP, "b", &board)];

    // Whoever comes with a wrong token is told so, and the log names it, but not what it brought.
    let wrong = "not-the-token-of-this-group";
    let mut options = WorkerOptions::new(&world.clients.to_string(), GROUP, wrong, "stranger");
    options.extended = true;
    let mut stranger = WorkerClient::connect(options).await.expect("the port is open");
    match tokio::time::timeout(Duration::from_secs(5), stranger.next()).await.expect("an answer") {
        Some(Received::Closed { reason, why }) => {
            assert_eq!(reason, Some(CloseReason::InvalidIdentity), "{why}");
            eprintln!("wrong token: {why}");
        }
        other => panic!("let in with a wrong token: {other:?}"),
    }
    let log = world.log_text();
    let line = log.lines().find(|line| line.contains("stranger")).expect("the refused worker is in the log");
    eprintln!("wrong token: {line}");
    assert!(line.contains("WARN") && line.contains("wrong token") && line.contains(&format!("\"{GROUP}\"")), "{line}");
    assert!(!log.contains(wrong) && !log.contains(&world.group_token), "a token is in the log");

    // The other group's worker comes late, goes, and comes back; each time it goes on where it was.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let first = Worker::spawn(&world, IDLE_GROUP, "late", &other);
    tokio::time::sleep(Duration::from_secs(2)).await;
    first.drained().await;
    let had = delivered(&other);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(delivered(&other), had, "nobody listens");
    let before = delivered(&board);
    assert!(before > had, "the first group went on");
    let _second = Worker::spawn(&world, IDLE_GROUP, "late", &other);
    tokio::time::sleep(Duration::from_secs(1)).await;

    let (verdict, report) = world.settle(&board, Duration::from_secs(15), |_| true).await;
    tell("the group that was always there", &world, &verdict, &board);
    assert_whole(&verdict, &report, &board);
    assert_eq!(board.lock().expect("no worker panicked").duplicated, 0, "another group's comings and goings are no reason to repeat");
    let (verdict, report) = world.settle(&other, Duration::from_secs(15), wanted).await;
    tell("the group that was away", &world, &verdict, &other);
    assert_whole(&verdict, &report, &other);
    assert!(verdict.sent > 500, "hardly any traffic: {}", verdict.sent);
}

/// Discord sends a message that only one user of a channel sees without its guild (Discord docs, Gateway: Gateway Intents). Its channel is known.
#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_message_reaches_the_group_that_wants_its_guild() {
    let world = running(0.0).await;
    // On shard 0 of four.
    let guild = 5_u64 << 24;
    let (channel, direct) = (guild + 1, guild + 2);
    let mut options = WorkerOptions::new(&world.clients.to_string(), GROUP, &world.group_token, "one-guild");
    options.extended = true;
    let events = ["MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE"].map(str::to_owned).to_vec();
    options.filter = Some(EventFilter { guilds: vec![guild], events, ..EventFilter::default() });
    let mut worker = WorkerClient::connect(options).await.expect("the port is open");
    assert!(matches!(worker.next().await, Some(Received::Joined { .. })));

    let text = |id: u64| id.to_string();
    let channels = json!([{ "id": text(channel), "type": 0, "name": "general", "last_message_id": null }]);
    world.sim.emit_given(0, "GUILD_CREATE", json!({ "id": text(guild), "name": "one", "member_count": 1, "channels": channels }), Some(0));
    let author = json!({ "id": text(guild + 3), "username": "ann", "global_name": null, "discriminator": "0", "avatar": null });
    let message = |nth: u64, at: u64, flags: u64| {
        json!({ "id": text(guild + 100 + nth), "channel_id": text(at), "flags": flags, "author": author, "content": "", "mentions": [],
            "timestamp": "2030-05-06T07:08:09.101000+00:00", "edited_timestamp": null, "type": 0, "attachments": [], "embeds": [] })
    };
    let gone = |nth: u64, at: u64| json!({ "id": text(guild + 100 + nth), "channel_id": text(at) });
    let given = [
        ("MESSAGE_CREATE", message(0, channel, 64), true),
        ("MESSAGE_CREATE", message(1, direct, 0), false),
        ("MESSAGE_UPDATE", message(0, channel, 64), true),
        ("MESSAGE_DELETE", gone(1, direct), false),
        ("MESSAGE_DELETE", gone(0, channel), true),
    ];
    for (name, d, _) in &given {
        world.sim.emit_given(0, name, d.clone(), Some(0));
    }
    // With its guild, as all others are: what came before it is here when this is.
    let mut last = message(2, channel, 0);
    last["guild_id"] = json!(text(guild));
    world.sim.emit_given(0, "MESSAGE_CREATE", last, Some(0));

    let mut got = Vec::new();
    while got.len() < 4 {
        let received = tokio::time::timeout(Duration::from_secs(10), worker.next()).await.expect("it comes");
        if let Some(Received::Event(envelope)) = received {
            let header = envelope.header.expect("every event has one");
            assert_eq!(header.guild_id, guild, "{}", header.event_name);
            got.push(header.event_name);
        }
    }
    let mut want: Vec<_> = given.iter().filter(|(.., wanted)| *wanted).map(|(name, ..)| (*name).to_owned()).collect();
    want.push("MESSAGE_CREATE".to_owned());
    assert_eq!(got, want);
}
