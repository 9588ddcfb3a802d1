//! The queue's task on virtual time, with a ledger in memory that can be made to fail.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use super::*;

#[derive(Default)]
struct Memory {
    saved: Mutex<Vec<Vec<u8>>>,
    full: Mutex<bool>,
}

impl Ledger for Memory {
    fn load(&self) -> Result<Option<Vec<u8>>, String> {
        Ok(self.saved.lock().unwrap().last().cloned())
    }

    fn save(&self, bytes: &[u8]) -> Result<(), String> {
        if *self.full.lock().unwrap() {
            return Err("no space left on device".to_owned());
        }
        self.saved.lock().unwrap().push(bytes.to_vec());
        Ok(())
    }
}

fn limit(remaining: u32, max_concurrency: u32) -> SessionStartLimit {
    SessionStartLimit { total: 1000, remaining, reset_after_ms: 3_600_000, max_concurrency }
}

async fn queue(ledger: &Arc<Memory>, clock: Clock, limit: SessionStartLimit) -> IdentifyQueue {
    IdentifyQueue::start(IdentifyConfig {
        bot: 1,
        count: 4,
        shards: vec![0, 1, 2, 3],
        ledger: Some(Arc::clone(ledger) as Arc<dyn Ledger>),
        limit,
        api: None,
        release: "trunkline shard identify --use-reserve".to_owned(),
        clock,
    })
    .await
}

fn clock() -> Clock {
    Clock::starting_at(1_800_000_000_000_000)
}

#[tokio::test(start_paused = true)]
async fn grants_come_in_order_and_spaced_from_their_use() {
    let (ledger, clock) = (Arc::new(Memory::default()), clock());
    let queue = queue(&ledger, clock, limit(1000, 1)).await;
    let client = queue.client();
    let (a, b) = (client.ask(1), client.ask(0));
    let (b_at, a_at) = tokio::join!(
        async {
            let grant = b.await.unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
            grant.used();
            Instant::now()
        },
        async {
            a.await.unwrap().used();
            Instant::now()
        }
    );
    assert!(a_at - b_at >= Duration::from_millis(5250), "{:?}", a_at - b_at);
    assert_eq!(queue.status().remaining, 998);
}

#[tokio::test(start_paused = true)]
async fn the_ledger_is_written_before_a_grant_leaves_and_the_next_process_waits() {
    let (ledger, clock) = (Arc::new(Memory::default()), clock());
    let first = queue(&ledger, clock, limit(1000, 1)).await;
    let before = ledger.saved.lock().unwrap().len();
    let grant = first.client().ask(0).await.unwrap();
    assert!(ledger.saved.lock().unwrap().len() > before);
    let used_at = Instant::now();
    // Killed: neither a use nor a return is ever told.
    std::mem::forget(grant);
    let second = queue(&ledger, clock, limit(999, 1)).await;
    second.client().ask(0).await.unwrap().used();
    assert!(used_at.elapsed() >= Duration::from_millis(5250));
}

#[tokio::test(start_paused = true)]
async fn a_grant_dropped_unused_goes_to_the_next_at_once() {
    let (ledger, clock) = (Arc::new(Memory::default()), clock());
    let queue = queue(&ledger, clock, limit(1000, 1)).await;
    let client = queue.client();
    let grant = client.ask(0).await.unwrap();
    let other = tokio::spawn(client.ask(1));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let began = Instant::now();
    drop(grant);
    other.await.unwrap().unwrap().used();
    assert!(began.elapsed() < Duration::from_secs(1));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(queue.status().remaining, 999);
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_goes_away_holds_nobody_up() {
    let (ledger, clock) = (Arc::new(Memory::default()), clock());
    let queue = queue(&ledger, clock, limit(1000, 1)).await;
    let client = queue.client();
    let gone = tokio::spawn(client.ask(0));
    tokio::time::sleep(Duration::from_millis(10)).await;
    gone.abort();
    let began = Instant::now();
    client.ask(1).await.unwrap().used();
    assert!(began.elapsed() < Duration::from_millis(5300), "{:?}", began.elapsed());
    assert!(queue.status().waiting.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_holds_grants_back_for_a_while_and_not_for_ever() {
    let (ledger, clock) = (Arc::new(Memory::default()), clock());
    let queue = queue(&ledger, clock, limit(1000, 1)).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    *ledger.full.lock().unwrap() = true;
    let began = Instant::now();
    let grant = queue.client().ask(0).await.unwrap();
    assert!(began.elapsed() >= LEDGER_PATIENCE && began.elapsed() < LEDGER_PATIENCE * 2);
    assert!(queue.status().ledger_failing);
    grant.used();
    // The next process finds an old ledger, cannot write it either, and trusts nothing.
    let began = Instant::now();
    let next = self::queue(&ledger, clock, limit(999, 1)).await;
    *ledger.full.lock().unwrap() = false;
    next.client().ask(0).await.unwrap().used();
    assert!(began.elapsed() >= Duration::from_secs(5));
    assert!(!next.status().ledger_failing);
}

#[tokio::test(start_paused = true)]
async fn a_disk_with_room_again_lets_grants_go() {
    let (ledger, clock) = (Arc::new(Memory::default()), clock());
    let queue = queue(&ledger, clock, limit(1000, 1)).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    *ledger.full.lock().unwrap() = true;
    let asked = tokio::spawn(queue.client().ask(0));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!asked.is_finished());
    *ledger.full.lock().unwrap() = false;
    let began = Instant::now();
    asked.await.unwrap().unwrap().used();
    assert!(began.elapsed() <= Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn the_reserve_holds_until_a_person_opens_it() {
    let (ledger, clock) = (Arc::new(Memory::default()), clock());
    let queue = queue(&ledger, clock, limit(104, 16)).await;
    let client = queue.client();
    for shard in 0..4 {
        client.ask(shard).await.unwrap().used();
    }
    let again = tokio::spawn(client.ask(2));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!again.is_finished());
    let status = queue.status();
    assert_eq!((status.blocked, status.waiting, status.remaining), (Some(Blocked::Reserve), vec![2], 100));
    assert_eq!(queue.use_reserve(None).await, Ok(1));
    again.await.unwrap().unwrap().used();
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_comes_back_with_the_new_day() {
    let (ledger, clock) = (Arc::new(Memory::default()), clock());
    let queue = queue(&ledger, clock, limit(0, 1)).await;
    let began = Instant::now();
    queue.client().ask(0).await.unwrap().used();
    assert!(began.elapsed() >= Duration::from_secs(3600) && began.elapsed() < Duration::from_secs(3700));
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_its_last_handle() {
    let (ledger, clock) = (Arc::new(Memory::default()), clock());
    let queue = queue(&ledger, clock, limit(1000, 1)).await;
    let mut status = queue.status.clone();
    let waiting = queue.client().ask(0);
    drop(queue);
    drop(waiting);
    while status.changed().await.is_ok() {}
}

/// What is logged on this thread at error level.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Errors {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Text<'a>(&'a mut String);
        impl tracing::field::Visit for Text<'_> {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{field}={value:?} "));
            }
        }
        let mut text = String::new();
        event.record(&mut Text(&mut text));
        self.0.lock().unwrap().push(text);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_queue_has_failed_says_so_once_and_asks_on_until_it_is_answered() {
    let errors = Errors::default();
    let _guard = tracing::subscriber::set_default(errors.clone());
    let (to_task, mut asked) = mpsc::channel(4);
    let client = IdentifyClient { to_task };
    let began = Instant::now();
    let asking = tokio::spawn(client.ask_on(ShardId { bot: 42, index: 3, count: 8 }));
    for _ in 0..10 {
        // Dropped unanswered, as by a task that panics.
        let Some(Message::Ask { shard: 3, .. }) = asked.recv().await else { panic!("it does not ask") };
    }
    assert_eq!(began.elapsed(), ASK_AGAIN * 9);
    let Some(Message::Ask { reply, .. }) = asked.recv().await else { panic!("it does not ask") };
    reply.send(Grant { used: None }).unwrap();
    asking.await.unwrap();
    let errors = errors.0.lock().unwrap();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("shard=3/8") && errors[0].contains("cannot identify"), "{errors:?}");
}
