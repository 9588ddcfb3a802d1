//! Against the simulated Discord, over real sockets: every encoding and compression, resumable faults on the way.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::LocalRuntime;
use tokio::sync::mpsc;
use trunkline_discord::{Compression, Dice, Encoding, ShardId, Token};
use trunkline_gateway::{
    BotApi, BotWish, Clock, Dispatched, IdentifyBudget, IdentifyConfig, IdentifyQueue, Ledger, Moment, Net, NetLimits, Ready, ShardConfig,
    ShardControl, ShardEvents, ShardStats, ShardTools, ShardsWanted, prepare_bot, run_shard,
};
use trunkline_session::{Config, LostCause, ResumePoint, StopReason};
use trunkline_sim::{Fault, FaultKind, Sim};

/// A ledger of a process that ended long ago, so that the first identify need not wait.
struct LongAgo;

impl Ledger for LongAgo {
    fn load(&self) -> Result<Option<Vec<u8>>, String> {
        let past = Moment { time: trunkline_discord::Time::ZERO, unix_ms: 1 };
        Ok(Some(IdentifyBudget::new(None, 1, &[0], past).ledger(past)))
    }

    fn save(&self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

#[derive(Default)]
struct Seen {
    sequence: Vec<u64>,
    resumed: u32,
    lost: u32,
    gaps: u32,
}

#[derive(Clone, Default)]
struct Handler(Rc<RefCell<Seen>>);

impl ShardEvents for Handler {
    fn dispatch(&mut self, dispatched: Dispatched<'_>) {
        self.0.borrow_mut().sequence.push(dispatched.s);
    }

    fn ready(&mut self, _: Ready<'_>) {}

    fn resumed(&mut self, _: u64, _: u64) {
        self.0.borrow_mut().resumed += 1;
    }

    fn session_lost(&mut self, _: LostCause, _: u64, _: u64) {
        self.0.borrow_mut().lost += 1;
    }

    fn gap(&mut self, _: u64, _: u64, _: u64) {
        self.0.borrow_mut().gaps += 1;
    }

    fn settled(&mut self, _: Option<&ResumePoint>) {}
}

async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..1500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// Logs in, goes through these faults one after the other, stops; answers how many resumes it took.
async fn run(encoding: Encoding, compression: Compression, faults: &[FaultKind]) -> u32 {
    let sim = Sim::start(trunkline_sim::Config { rate: 2000.0, ..Default::default() }).await.unwrap();
    let (token, clock) = (Token::new("sim"), Clock::new());
    let net = Net::new(None, NetLimits::default()).unwrap();
    let api = BotApi::new(sim.api_url(), &token, &net).unwrap();
    let wish = BotWish { label: "sim".to_owned(), intents: None, shards: ShardsWanted::Auto };
    let bot = prepare_bot(&api, &wish, &mut Dice::new(1)).await.unwrap();
    let queue = IdentifyQueue::start(IdentifyConfig {
        bot: bot.bot_id,
        count: bot.plan.count,
        shards: bot.plan.indices.clone(),
        ledger: Some(Arc::new(LongAgo)),
        limit: bot.limit,
        api: Some(api),
        release: String::new(),
        clock,
    })
    .await;
    let mut session = Config::new((0, 1), token, bot.intents, bot.gateway_url);
    (session.encoding, session.compression) = (encoding, compression);
    // Faults follow each other faster than they would at Discord's; the pauses between attempts are the session's own tests.
    session.limits.steady = Duration::from_millis(20);
    let shard = ShardId { bot: bot.bot_id, index: 0, count: 1 };
    let stats = Arc::new(ShardStats::default());
    let tools = ShardTools { net, clock, identify: queue.client(), stats };
    let (control, receiver) = mpsc::channel(8);
    let handler = Handler::default();
    let mut own = handler.clone();
    let driver = Box::pin(run_shard(ShardConfig::new(shard, session, 3), None, tools, receiver, &mut own));
    let script = async {
        let seen = &handler.0;
        for (done, fault) in faults.iter().enumerate() {
            let before = seen.borrow().sequence.len();
            until("events flow", || seen.borrow().sequence.len() > before + 300).await;
            sim.fault(&Fault::new(*fault).lasting(Duration::from_millis(200)));
            until(&format!("a resume after {fault:?}"), || seen.borrow().resumed as usize > done).await;
        }
        let before = seen.borrow().sequence.len();
        until("events flow", || seen.borrow().sequence.len() > before + 300).await;
        sim.pause();
        let all = || sim.sent()[0].last_s as usize == seen.borrow().sequence.len();
        until("everything that was sent has come", all).await;
        control.send(ShardControl::Stop).await.unwrap();
    };
    let (end, ()) = tokio::join!(driver, script);
    assert_eq!(end.reason, StopReason::Asked);
    let sent = sim.sent();
    let resumed = {
        let seen = handler.0.borrow();
        assert_eq!(sent.len(), 1, "one session over all faults");
        assert!(sent[0].sequence().eq(seen.sequence.iter().copied()), "each event once and in order");
        assert_eq!((seen.lost, seen.gaps), (0, 0));
        seen.resumed
    };
    assert_eq!(end.point.unwrap().session_id, sent[0].session_id);
    let report = sim.stop().await;
    assert_eq!(report.identifies, 1);
    assert_eq!(report.client_faults_total, 0, "{:?}", report.client_faults);
    resumed
}

fn on_one_core<T>(work: impl AsyncFnOnce() -> T) -> T {
    let runtime: LocalRuntime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap();
    runtime.block_on(work())
}

#[test]
fn every_encoding_and_compression_loses_nothing_over_a_dropped_socket() {
    on_one_core(async || {
        for encoding in [Encoding::Etf, Encoding::Json] {
            for compression in [Compression::ZstdStream, Compression::ZlibStream, Compression::None] {
                assert_eq!(Box::pin(run(encoding, compression, &[FaultKind::Drop])).await, 1);
            }
        }
    });
}

#[test]
fn every_resumable_fault_loses_nothing_and_spends_no_identify() {
    let faults = [
        FaultKind::Drop,
        FaultKind::Reconnect,
        FaultKind::InvalidResumable,
        FaultKind::Close(4000),
        FaultKind::Close(1001),
        FaultKind::Corrupt,
        FaultKind::Garbage,
        FaultKind::Deep,
    ];
    on_one_core(async || {
        let resumes = Box::pin(run(Encoding::Etf, Compression::ZstdStream, &faults)).await;
        assert_eq!(resumes as usize, faults.len());
    });
}
