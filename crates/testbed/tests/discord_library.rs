//! An unmodified Discord library logs in to the simulated Discord: only the REST base address is set, all else is its own doing.
//!
//! What the library finds odd in what it is sent, and what the simulator finds odd in what it does, both fail the test: so each is the
//! other's witness.
#![allow(clippy::print_stderr, clippy::disallowed_methods, reason = "it waits for a real process, and tells what it measured")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trunkline_sim::{BotConfig, Config, Fault, FaultKind, Kind, Mix, Sim, SimHandle};
use trunkline_testbed::python::program;

const GUILDS: u32 = 6;
/// Above the largest threshold, so that the library asks for the rest (op 8).
const MEMBERS: u32 = 300;
const SHARDS: u32 = 2;
/// From the library's start to its end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until every shard is connected and the library has asked for all members, then makes it reconnect once.
async fn reconnect_once(sim: &SimHandle) {
    let began = Instant::now();
    loop {
        let report = sim.report();
        let connected = report.sessions.iter().filter(|session| session.connected).count();
        let asked = report.events_by_kind.get("GUILD_MEMBERS_CHUNK").copied().unwrap_or(0);
        if connected == SHARDS as usize && asked >= u64::from(GUILDS) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the library did not come up: {report:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(sim.fault(&Fault::new(FaultKind::Reconnect)), u64::from(SHARDS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unmodified_discord_py_logs_in_sees_the_world_and_receives_every_kind_of_event() {
    let token = "MTIzNDU2Nzg5MDEyMzQ1Njc4.library.never-a-real-token";
    let sim = Sim::start(Config {
        bots: vec![BotConfig::new(token)],
        shards: SHARDS,
        max_concurrency: SHARDS,
        guilds: GUILDS,
        members: MEMBERS,
        mix: Mix::Every,
        rate: 300.0,
        heartbeat_interval_ms: 2_000,
        ..Config::default()
    })
    .await
    .expect("the simulated Discord starts");
    let began = Instant::now();
    let mut command = program("discord_bot.py");
    // So many messages and resumes, in at most so many seconds for each step.
    command.args([sim.api_url(), token, "30", "2", "12"]);
    let (output, ()) = tokio::join!(tokio::time::timeout(PATIENCE, command.output()), reconnect_once(&sim));
    let output = output.expect("the library ends in time").expect("python runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", output.status);
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));

    assert_eq!((&seen["errors"], &seen["complaints"]), (&json!([]), &json!([])), "{seen}");
    let mut guilds = sim.guild_ids();
    guilds.sort_unstable();
    assert_eq!((&seen["user"], &seen["guilds"]), (&json!(sim.bot_ids()[0]), &json!(guilds)), "{seen}");
    assert_eq!((&seen["shards"], &seen["chunked"]), (&json!([0, 1]), &json!(true)), "{seen}");
    // Members come and go meanwhile; the bot is one.
    for count in seen["cached_members"].as_array().expect("counts") {
        let count = count.as_u64().expect("a number");
        assert!((u64::from(MEMBERS) + 1..=u64::from(MEMBERS) + 2).contains(&count), "{seen}");
    }
    assert_eq!((&seen["found"], &seen["fetched"]), (&json!(true), &json!(true)), "{seen}");
    assert_eq!((&seen["author_is_member"], &seen["channel_is_known"]), (&json!(true), &json!(true)), "{seen}");
    let at_least = |key: &str, least: u64| assert!(seen[key].as_u64() >= Some(least), "{key}: {seen}");
    at_least("checked", 30);
    at_least("channels", 12);
    at_least("threads", 1);
    at_least("roles", 8);
    at_least("scheduled_events", u64::from(GUILDS));
    at_least("soundboard_sounds", u64::from(GUILDS));
    at_least("mutual_guilds_max", 2);
    let raw = seen["raw"].as_object().expect("kinds");
    let unseen: Vec<&str> =
        Kind::ALL.iter().map(|kind| kind.name()).filter(|name| name.contains('_') && !raw.contains_key(*name)).collect();
    // What only faults and asking too often bring.
    let caused = ["TRUNKLINE_SIM_GIVEN", "TRUNKLINE_SIM_UNKNOWN", "RATE_LIMITED", "GUILD_DELETE"];
    assert_eq!(unseen, caused, "kinds that the library never got");

    let report = sim.stop().await;
    assert_eq!(report.client_faults, [], "what the library did wrong");
    assert_eq!((report.identifies, report.identifies_refused, report.resumes_refused), (u64::from(SHARDS), 0, 0));
    assert_eq!(report.resumes, u64::from(SHARDS));
    assert!(report.heartbeats >= 2, "{} heartbeats", report.heartbeats);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    eprintln!("discord.py: {} kinds, {} messages, {} resumes in {:?}", raw.len(), seen["messages"], report.resumes, began.elapsed());
}
