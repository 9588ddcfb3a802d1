//! Changes of the configuration between two lives: what must begin anew says so, and nothing is left behind in silence.
#![allow(clippy::disallowed_methods, reason = "a test drives; it reads the clock")]

mod harness;

use std::time::{Duration, Instant};

use harness::{Board, GROUP, IDLE_GROUP, Worker, World};
use trunkline_sim::Config;

fn discord(shards: u32) -> Config {
    Config { shards, max_concurrency: 4, guilds: 12, members: 5, rate: 200.0, ..Config::default() }
}

/// Runs for a while with nobody in the idle group, then stops with the traffic paused, so that all that was sent was received.
async fn first_life(world: &mut World) -> u64 {
    world.start("");
    world.ready().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.sim.pause();
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.terminate().await;
    let sent = world.sim.sent();
    let messages = |session: &trunkline_sim::SentSession| {
        session.sequence().filter(|s| session.kind(*s).is_some_and(|kind| kind.name() == "MESSAGE_CREATE")).count() as u64
    };
    sent.iter().map(messages).sum()
}

async fn delivered(board: &Board, want: u64) -> u64 {
    let began = Instant::now();
    loop {
        let got = board.lock().expect("no worker panicked").delivered();
        if got >= want || began.elapsed() > Duration::from_secs(15) {
            return got;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn log_says(world: &World, text: &str, times: usize) {
    let began = Instant::now();
    while world.log_text().matches(text).count() < times {
        assert!(began.elapsed() < Duration::from_secs(15), "the log does not say {times} times {text:?}:\n{}", world.log_text());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_shard_count_identifies_afresh_and_still_delivers_what_the_old_shards_held() {
    let mut world = World::new(discord(2)).await;
    let messages = first_life(&mut world).await;
    assert!(messages > 50, "hardly any traffic: {messages}");

    world.env.push(("TRUNKLINE_BOTS_0_SHARDS", "3"));
    world.start("");
    world.ready().await;
    let (idle, main) = (Board::default(), Board::default());
    let _workers = [Worker::spawn(&world, IDLE_GROUP, "late", &idle), Worker::spawn(&world, GROUP, "late", &main)];
    assert_eq!(delivered(&idle, messages).await, messages, "events of the old shards were left behind");
    log_says(&world, "the shard count has changed to 3", 1).await;
    log_says(&world, "it is forgotten", 2).await;
    {
        let told = main.lock().expect("no worker panicked");
        let open: Vec<_> = told.gaps().iter().filter(|gap| gap.last_s.is_none() && gap.cause.contains("SESSION_LOST")).collect();
        assert_eq!(open.len(), 2, "each old session's end is told: {:?}", told.gaps());
        assert!(open.iter().all(|gap| gap.first_s.is_some_and(|first| first > 1)), "the gap begins behind what was received: {open:?}");
    }
    assert_eq!(world.sim.report().identifies, 2 + 3);

    // A further start with the same count resumes, and says nothing of it any more.
    world.terminate().await;
    world.start("");
    world.ready().await;
    assert_eq!(world.sim.report().identifies, 2 + 3);
    assert_eq!(world.log_text().matches("the shard count has changed").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_intents_identify_afresh_and_say_so() {
    let mut world = World::new(discord(1)).await;
    let messages = first_life(&mut world).await;
    world.env.push(("TRUNKLINE_BOTS_0_INTENTS", "[\"guilds\", \"guild_messages\"]"));
    world.start("");
    world.ready().await;
    let idle = Board::default();
    let _worker = Worker::spawn(&world, IDLE_GROUP, "late", &idle);
    assert_eq!(delivered(&idle, messages).await, messages);
    assert_eq!(world.sim.report().identifies, 2);
    log_says(&world, "intents", 1).await;
    let told = idle.lock().expect("no worker panicked");
    assert_eq!(told.gaps().len(), 1, "the stretch between the sessions is told: {:?}", told.gaps());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_of_objects_that_is_switched_on_again_is_told_anew_and_one_that_is_switched_off_costs_no_session() {
    let mut world = World::new(discord(1)).await;
    let messages = first_life(&mut world).await;
    let channels = async |world: &World| world.metric("trunkline_cache_objects", "kind=\"channel\"").await;
    let off = "[\"channels\", \"messages\"]";
    world.env.push(("TRUNKLINE_BOTS_0_CACHE_OFF", off));
    world.start("");
    world.ready().await;
    assert_eq!((world.sim.report().identifies, channels(&world).await), (1, 0.0), "what is kept can be let go of without Discord");
    world.terminate().await;
    // Messages are told of one by one, whatever the session: they come back by themselves.
    world.env.pop();
    world.env.push(("TRUNKLINE_BOTS_0_CACHE_OFF", "[\"channels\"]"));
    world.start("");
    world.ready().await;
    assert_eq!((world.sim.report().identifies, channels(&world).await), (1, 0.0));
    world.terminate().await;
    world.env.pop();
    world.start("");
    world.ready().await;
    log_says(&world, "kinds of objects are kept now that were switched off before", 1).await;
    assert_eq!(world.sim.report().identifies, 2);
    let idle = Board::default();
    let _worker = Worker::spawn(&world, IDLE_GROUP, "late", &idle);
    assert_eq!(delivered(&idle, messages).await, messages);
    let began = Instant::now();
    while channels(&world).await < 12.0 {
        assert!(began.elapsed() < Duration::from_secs(15), "the channels are not there again: {}", channels(&world).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(idle.lock().expect("no worker panicked").gaps().len(), 1, "the stretch between the sessions is told");
    // All is kept again, and it stays so.
    world.terminate().await;
    world.start("");
    world.ready().await;
    assert_eq!(world.sim.report().identifies, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_and_a_bot_that_are_taken_out_say_what_they_leave_behind_and_it_is_counted() {
    let mut world = World::with_bots(discord(1), 2).await;
    let messages = first_life(&mut world).await;
    assert!(messages > 50, "hardly any traffic: {messages}");
    let gone = world.sim.bot_ids()[1];

    // The group that nobody consumed is called otherwise now, and the second bot is not there any more.
    world.env.push(("TRUNKLINE_GROUPS_1_NAME", "another"));
    world.more_tokens.clear();
    world.start("");
    world.ready().await;
    log_says(&world, "group idle is not in the configuration any more: ", 1).await;
    log_says(&world, &format!("1 shards of bot {gone} in the store are not in the configuration any more: "), 1).await;
    let log = world.log_text();
    for line in log.lines().filter(|line| line.contains("in the configuration any more")) {
        assert!(line.contains("WARN") && line.contains("counted as gap cause"), "{line}");
    }
    let told = |cause: &'static str| {
        let world = &world;
        async move { world.metric("trunkline_gap_events_total", &format!("\"{cause}\"")).await }
    };
    let (of_group, of_bot) = (told("group_removed").await, told("bot_removed").await);
    assert!(of_group > 20.0 && of_bot > 20.0, "{of_group} {of_bot}");
    assert!(log.contains(&format!("any more: {of_group} events of ")), "{log}");
    assert_eq!(world.metric("trunkline_gaps_total", "\"group_removed\"").await, 1.0);

    // What is dropped is dropped once; what only waits is told at each start, until it is put back.
    world.terminate().await;
    world.start("");
    world.ready().await;
    log_says(&world, "in the store are not in the configuration any more: ", 2).await;
    assert_eq!(world.log_text().matches("group idle is not in the configuration any more").count(), 1);
}
