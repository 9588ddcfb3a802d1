//! Restarts: a stop, a kill, five times over under traffic, with a group that nobody consumes beside it. The promise: nothing lost,
//! order per guild kept, no identify spent, and repeats within what was not in a checkpoint.
#![allow(clippy::print_stderr, reason = "figures of the run")]

mod harness;

use std::time::Duration;

use harness::{Board, GROUP, IDLE_GROUP, Worker, World};
use trunkline_sim::Config;

const SHARDS: u32 = 4;
const RATE: u32 = 600;

fn discord() -> Config {
    Config {
        shards: SHARDS,
        max_concurrency: SHARDS,
        guilds: 32,
        members: 20,
        rate: f64::from(RATE),
        // The kill runs pass with it: beats carry the checkpoint's position, so what lies above it is still there.
        trim_replay_at_heartbeat: true,
        heartbeat_interval_ms: 2_000,
        ..Config::default()
    }
}

async fn restart_five_times(kill: bool) {
    let mut world = World::new(discord()).await;
    let (board, idle) = (Board::default(), Board::default());
    world.start("");
    world.ready().await;
    let _workers = [Worker::spawn(&world, GROUP, "a", &board), Worker::spawn(&world, GROUP, "b", &board)];
    for round in 0..5 {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        if kill {
            world.kill();
        } else {
            let took = world.terminate().await;
            assert!(took < Duration::from_secs(8), "the stop took {took:?}");
        }
        // Discord goes on without us for a moment.
        tokio::time::sleep(Duration::from_millis(300 * round)).await;
        world.start("");
        world.ready().await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (verdict, report) = world.settle(&board, Duration::from_secs(15), |_| true).await;
    {
        let ledger = board.lock().expect("no worker panicked");
        eprintln!(
            "sent {} delivered {} lost {} in gaps {} repeated {} out of order {} identifies {} resumes {}",
            verdict.sent,
            verdict.delivered,
            verdict.lost,
            verdict.in_gaps,
            ledger.duplicated,
            ledger.out_of_order,
            report.identifies,
            report.resumes
        );
        assert_eq!(verdict.lost, 0, "lost: {:?}", verdict.lost_first);
        assert_eq!(verdict.in_gaps, 0, "a restart needs no gap: {:?}", ledger.gaps());
        assert_eq!(verdict.invented, 0);
        assert_eq!(ledger.out_of_order, 0, "{:?}", ledger.out_of_order_first);
        assert!(verdict.sent > 5_000, "hardly any traffic: {}", verdict.sent);
        // A worker acknowledges within a second of the oldest event, a checkpoint comes within a quarter: per kill at most
        // that much can come again, with room for a slow machine. A stop waits for acknowledgements: nothing comes again.
        let bound = if kill { u64::from(RATE) * 5 * 3 } else { u64::from(RATE) };
        assert!(
            ledger.duplicated <= bound,
            "{} repeats, at most {bound} were unacknowledged or newer than a checkpoint",
            ledger.duplicated
        );
    }
    assert_eq!(report.identifies, u64::from(SHARDS), "a restart must not identify");
    assert_eq!(report.resumes, u64::from(SHARDS) * 5);
    assert_eq!(report.client_faults_total, 0, "the simulated Discord objects: {:?}", report.client_faults);

    // The group that had no worker all this time held everything.
    let _late = Worker::spawn(&world, IDLE_GROUP, "late", &idle);
    let (verdict, _) = world.settle(&idle, Duration::from_secs(20), |name| name == "MESSAGE_CREATE").await;
    let ledger = idle.lock().expect("no worker panicked");
    eprintln!("idle group: sent {} delivered {} lost {} repeated {}", verdict.sent, verdict.delivered, verdict.lost, ledger.duplicated);
    assert!(verdict.sent > 1_000);
    assert_eq!((verdict.lost, verdict.in_gaps), (0, 0), "the group without a worker lost events: {:?}", verdict.lost_first);
    assert_eq!(ledger.out_of_order, 0, "{:?}", ledger.out_of_order_first);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_stops_under_traffic_lose_nothing_and_identify_never() {
    restart_five_times(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_kills_under_traffic_lose_nothing_and_identify_never() {
    restart_five_times(true).await;
}
