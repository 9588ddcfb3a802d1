//! PostgreSQL as the store, real: events flow, the process is stopped and killed, the server is killed and comes back, and nothing is lost.
#![allow(clippy::print_stderr, clippy::disallowed_methods, reason = "figures of the run; tests drive")]

mod harness;
#[path = "../../store/tests/common/postgres.rs"]
mod server;

use std::time::{Duration, Instant};

use harness::process::Process;
use harness::{Board, GROUP, IDLE_GROUP, Worker, World, binary, free_port};
use server::{PASSWORD, Server, sql, value};
use trunkline_sim::Config;

const SHARDS: u32 = 4;
const GUILDS: u32 = 24;
const MEMBERS: u32 = 20;

fn discord() -> Config {
    Config {
        shards: SHARDS,
        max_concurrency: SHARDS,
        guilds: GUILDS,
        members: MEMBERS,
        rate: 400.0,
        trim_replay_at_heartbeat: true,
        heartbeat_interval_ms: 2_000,
        ..Config::default()
    }
}

async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("no panic")
}

/// A world whose node keeps everything in a database of its own.
async fn world() -> (World, &'static Server, String) {
    // Its watcher ends it with this process.
    let server: &'static Server = Box::leak(Box::new(off_runtime(Server::start).await));
    let url = server.database();
    let mut world = World::new(discord()).await;
    world.store_url = Some(url.clone());
    (world, server, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_a_kill_and_a_server_that_is_away_lose_no_event_and_no_session() {
    let (mut world, server, url) = world().await;
    let (board, idle) = (Board::default(), Board::default());
    world.start("");
    world.ready().await;
    let _workers = [Worker::spawn(&world, GROUP, "a", &board), Worker::spawn(&world, GROUP, "b", &board)];
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let took = world.terminate().await;
    assert!(took < Duration::from_secs(8), "the stop took {took:?}");
    world.start("");
    world.ready().await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    world.kill();
    world.start("");
    world.ready().await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(world.log_text().matches("checkpoint not written").count(), 0);

    off_runtime(|| server.kill()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let lag = world.metric("trunkline_store_lag_ms", "").await;
    assert!(lag > 1_500.0, "the durable copy cannot be only {lag} ms behind");
    assert!(world.metric("trunkline_store_failing", "").await > 0.5);
    off_runtime(|| server.run()).await;
    let began = Instant::now();
    while world.metric("trunkline_store_failing", "").await > 0.5 {
        assert!(began.elapsed() < Duration::from_secs(20), "checkpoints do not go on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = world.log_text();
    assert_eq!(log.matches("checkpoint not written, events go on").count(), 1, "{log}");
    assert_eq!(log.matches("the store takes checkpoints again, after ").count(), 1, "{log}");
    assert!(!log.contains(PASSWORD) && !log.contains("p@ss"), "the password is in the log");
    tokio::time::sleep(Duration::from_millis(1_000)).await;

    // What was saved after it came back is what the next process goes on from.
    world.kill();
    world.start("");
    world.ready().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (verdict, report) = world.settle(&board, Duration::from_secs(20), |_| true).await;
    {
        let ledger = board.lock().expect("no worker panicked");
        eprintln!(
            "sent {} delivered {} lost {} in gaps {} repeated {} identifies {} resumes {}",
            verdict.sent, verdict.delivered, verdict.lost, verdict.in_gaps, ledger.duplicated, report.identifies, report.resumes
        );
        assert_eq!(verdict.lost, 0, "lost: {:?}", verdict.lost_first);
        assert_eq!(verdict.in_gaps, 0, "no gap is needed: {:?}", ledger.gaps());
        assert_eq!(ledger.out_of_order, 0, "{:?}", ledger.out_of_order_first);
        assert!(verdict.sent > 2_000, "hardly any traffic: {}", verdict.sent);
    }
    assert_eq!(report.identifies, u64::from(SHARDS), "a restart must not identify");
    assert_eq!(report.resumes, u64::from(SHARDS) * 3);
    let _late = Worker::spawn(&world, IDLE_GROUP, "late", &idle);
    let (verdict, _) = world.settle(&idle, Duration::from_secs(20), |name| name == "MESSAGE_CREATE").await;
    assert_eq!((verdict.lost, verdict.in_gaps), (0, 0), "the group without a worker lost events: {:?}", verdict.lost_first);

    // A person can ask what is there.
    let guilds = world.sim.guild_ids().len().to_string();
    off_runtime(move || {
        assert_eq!(value(&url, "SELECT count(*) FROM trunkline.guilds WHERE data ->> 'name' IS NOT NULL"), guilds);
        let members: u64 = value(&url, "SELECT count(*) FROM trunkline.members").parse().expect("a number");
        assert!(members >= u64::from(GUILDS), "{members} members");
        let nameless = "SELECT count(*) FROM trunkline.members m LEFT JOIN trunkline.users u ON u.id = m.id AND u.guild_id = 0 WHERE u.data ->> 'username' IS NULL";
        assert_eq!(value(&url, nameless), "0", "every member has its user");
        assert_eq!(value(&url, "SELECT count(*) FROM trunkline.cache_rows"), "0", "every row has a table");
        assert_eq!(value(&url, "SELECT count(DISTINCT (shard, shard_count)) FROM trunkline.shards WHERE record IS NOT NULL"), SHARDS.to_string());
        eprintln!("{members} members in {guilds} guilds");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_for_longer_than_its_changes_may_take_memory_has_every_object_when_it_is_back() {
    let (mut world, server, url) = world().await;
    let board = Board::default();
    world.start("unsaved_bytes = \"4KiB\"");
    world.ready().await;
    let _worker = Worker::spawn(&world, GROUP, "a", &board);
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    off_runtime(|| server.kill()).await;
    let began = Instant::now();
    while world.metric("trunkline_store_unsaved_let_go_total", "").await < 1.0 {
        let held = world.metric("trunkline_store_unsaved_bytes", "").await;
        assert!(held <= 4_096.0, "{held} bytes are kept");
        assert!(began.elapsed() < Duration::from_secs(20), "nothing was let go");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    off_runtime(|| server.run()).await;
    let began = Instant::now();
    while world.metric("trunkline_store_failing", "").await > 0.5 || world.metric("trunkline_store_unsaved_bytes", "").await > 0.0 {
        assert!(began.elapsed() < Duration::from_secs(30), "checkpoints do not go on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = world.log_text();
    assert!(log.contains("more than they may (store.unsaved_bytes)"), "{log}");
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    world.kill();
    world.start("unsaved_bytes = \"4KiB\"");
    world.ready().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (verdict, report) = world.settle(&board, Duration::from_secs(20), |_| true).await;
    assert_eq!((verdict.lost, verdict.in_gaps), (0, 0), "lost: {:?}", verdict.lost_first);
    assert_eq!(report.identifies, u64::from(SHARDS), "a restart must not identify");
    // What the process holds, and what it has stored since nothing happens any more.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for (kind, table) in
        [("guild", "guilds"), ("member", "members"), ("channel", "channels"), ("role", "roles"), ("voice_state", "voice_states")]
    {
        let held = world.metric("trunkline_cache_objects", &format!("kind=\"{kind}\"")).await;
        let url = url.clone();
        let stored = off_runtime(move || value(&url, &format!("SELECT count(DISTINCT (guild_id, id)) FROM trunkline.{table}"))).await;
        assert_eq!(stored, held.to_string(), "{table}");
        eprintln!("{stored} {table}");
    }
    let nameless = "SELECT count(*) FROM trunkline.members m LEFT JOIN trunkline.users u ON u.guild_id = 0 AND u.id = m.id AND u.shard = m.shard \
                    WHERE u.data ->> 'username' IS NULL";
    assert_eq!(off_runtime(move || value(&url, nameless)).await, "0", "every member has its user");
}

/// What `/status` says of the only bot.
async fn bot(world: &World) -> serde_json::Value {
    for _ in 0..100 {
        if let Some((200, body)) = harness::get(world.admin, "/status").await {
            let mut status: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            if let Some(bot) = status["bots"].get_mut(0) {
                return bot.take();
            }
        }
        // It has just been started, or knows of no bot yet.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no status: {}", world.log_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_cache_that_cannot_be_read_is_waited_for_and_nothing_of_it_is_given_up() {
    let (mut world, _server, url) = world().await;
    let board = Board::default();
    world.start("");
    world.ready().await;
    let _worker = Worker::spawn(&world, GROUP, "a", &board);
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    world.terminate().await;
    let run = |text: &'static str| {
        let url = url.clone();
        off_runtime(move || sql(&url, text))
    };
    let members = |table: &'static str| {
        let url = url.clone();
        off_runtime(move || value(&url, &format!("SELECT count(*) FROM trunkline.{table}")))
    };
    let before = members("members").await;
    run("ALTER TABLE trunkline.members RENAME TO members_away").await;
    world.start("");
    let began = Instant::now();
    // Longer than anything is tried that is tried a few times only.
    let mut waited = 0;
    while began.elapsed() < Duration::from_secs(9) {
        let bot = bot(&world).await;
        assert!(bot["failed"].is_null(), "{bot}");
        if let Some((status, body)) = harness::get(world.admin, "/readyz").await
            && !bot["waiting"].is_null()
        {
            assert!(status == 503 && body.contains("waits to start"), "{body}");
        }
        waited += u32::from(bot["waiting"]["why"].as_str().is_some_and(|why| why.contains("cannot be read") && why.contains("members")));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(waited > 10, "it does not say what it waits for: {}", world.log_text());
    assert_eq!(members("members_away").await, before);
    run("ALTER TABLE trunkline.members_away RENAME TO members").await;
    world.ready_within(Duration::from_secs(40)).await;
    assert!(bot(&world).await["waiting"].is_null());
    assert!(world.metric("trunkline_cache_objects", "kind=\"member\"").await > 0.0);
    let (verdict, report) = world.settle(&board, Duration::from_secs(20), |_| true).await;
    assert_eq!((verdict.lost, verdict.in_gaps), (0, 0), "lost: {:?}", verdict.lost_first);
    assert_eq!((report.identifies, report.resumes), (u64::from(SHARDS), u64::from(SHARDS)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_a_server_that_does_not_answer_is_asked_for_a_stored_cache_ends_soon_and_gives_nothing_up() {
    let (mut world, _server, url) = world().await;
    let board = Board::default();
    world.start("");
    world.ready().await;
    let _worker = Worker::spawn(&world, GROUP, "a", &board);
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    world.terminate().await;
    // Whoever reads members waits for as long as this lasts: no error comes, and no answer.
    let (asked, held) = (url.clone(), url.clone());
    let hold = "BEGIN; LOCK TABLE trunkline.members IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(12); COMMIT";
    let lock = tokio::spawn(off_runtime(move || sql(&held, hold)));
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    let waiters = move || {
        let asked = asked.clone();
        off_runtime(move || value(&asked, waiting))
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(waiters().await, "0");
    world.start("");
    let began = Instant::now();
    while waiters().await == "0" {
        assert!(began.elapsed() < Duration::from_secs(10), "it does not ask for its cache: {}", world.log_text());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = world.terminate().await;
    assert!(took < Duration::from_secs(6), "a stop took {took:?}: {}", world.log_text());
    assert!(began.elapsed() < Duration::from_secs(11), "the table was free before the end, and nothing was shown");
    lock.await.expect("the table is free again");
    world.start("");
    world.ready_within(Duration::from_secs(40)).await;
    let (verdict, report) = world.settle(&board, Duration::from_secs(20), |_| true).await;
    assert_eq!((verdict.lost, verdict.in_gaps), (0, 0), "lost: {:?}", verdict.lost_first);
    assert_eq!((report.identifies, report.resumes), (u64::from(SHARDS), u64::from(SHARDS)));
    eprintln!("the stop took {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_database_is_refused_and_told_the_first_ones_pid() {
    let (mut world, _, _) = world().await;
    world.start("");
    world.ready().await;
    let config = world.dir.path().join("trunkline.toml").display().to_string();
    let (clients, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let mut second = Process::start(world.dir.path(), &["run", "--config", &config, "--clients", &clients, "--admin", &admin], &[]);
    assert_eq!(second.ended().await, 1);
    let pid = world.child.as_ref().expect("running").id();
    let said = second.log();
    assert!(said.contains(&format!("in use by the process with pid {pid} on ")) && said.contains("stop that process first"), "{said}");
    assert!(!said.contains(PASSWORD), "{said}");
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_are_made_by_a_verb_and_those_of_a_later_version_are_refused() {
    let server = off_runtime(Server::start).await;
    let url = server.database();
    let run = |args: &'static [&'static str], url: Option<String>| {
        off_runtime(move || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut command = binary();
            let done = command.args(args).envs(url.map(|url| ("TRUNKLINE_STORE_URL", url))).current_dir(dir.path()).output().expect("runs");
            let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            (done.status.code(), said)
        })
    };
    let (code, said) = run(&["store", "migrate"], Some(url.clone())).await;
    assert!(code == Some(0) && said.contains("are at version 4 now (before: 0)") && !said.contains(PASSWORD), "{code:?} {said}");
    let (code, said) = run(&["store", "migrate"], Some(url.clone())).await;
    assert!(code == Some(0) && said.contains("have version 4, the newest"), "{code:?} {said}");
    let (code, said) = run(&["store", "migrate"], None).await;
    assert!(code == Some(2) && said.contains("store.url is not set"), "{code:?} {said}");
    let (code, said) = run(&["store", "migrate"], Some("postgres://a:b@c:d/e".to_owned())).await;
    assert!(code == Some(2) && said.contains("cannot be read"), "{code:?} {said}");
    off_runtime({
        let url = url.clone();
        move || sql(&url, "INSERT INTO trunkline.migrations (version, name) VALUES (77, 'of the future')")
    })
    .await;
    let (code, said) = run(&["store", "migrate"], Some(url)).await;
    assert!(code == Some(1) && said.contains("have version 77") && said.contains("run the newer version"), "{code:?} {said}");
}
