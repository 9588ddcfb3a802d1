//! The driver of the identify queue: one task per bot and process that hands out grants.
//!
//! The mind is [`IdentifyBudget`]. Here are its clock, its channel and its ledger: what the next process has to know is
//! written, and durable, before a grant leaves, so that a kill right after an IDENTIFY never leads to one too fast.
//!
//! A ledger that cannot be written holds grants back and is tried again, for [`LEDGER_PATIENCE`]; then grants go on from
//! memory, because a shard that stays down loses events for certain, while the ledger only guards against a kill in the
//! same seconds. What that costs is made good at the next start: a ledger that cannot be written then either counts as
//! unknown, and the first identify waits.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use trunkline_discord::{ShardId, Time};

use crate::api::BotApi;
use crate::budget::{Blocked, IdentifyBudget, IdentifyStatus, Moment, Next, SessionStartLimit};
use crate::clock::Clock;

/// How long grants wait for a ledger that cannot be written.
pub const LEDGER_PATIENCE: Duration = Duration::from_secs(15);
/// How often a ledger that cannot be written is tried again.
const LEDGER_RETRY: Duration = Duration::from_secs(1);
/// How often Discord is asked whether a spent budget has come back.
const REFRESH: Duration = Duration::from_secs(300);
/// How often a shard asks again after its queue's task was gone.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Messages that may wait for the task. A shard waits for room with its own question, so nothing is lost when full.
const QUEUE_MAX: usize = 1024;

/// Where a bot's identify ledger is kept. Calls may block; they run on a thread for that.
pub trait Ledger: Send + Sync + 'static {
    /// What was saved last, if anything.
    ///
    /// # Errors
    /// In plain words; the ledger counts as unknown then.
    fn load(&self) -> Result<Option<Vec<u8>>, String>;

    /// Saves, durable when it returns.
    ///
    /// # Errors
    /// In plain words.
    fn save(&self, bytes: &[u8]) -> Result<(), String>;
}

/// What the queue of one bot is made of.
pub struct IdentifyConfig {
    /// The bot's id, for log lines.
    pub bot: u64,
    /// `num_shards`.
    pub count: u32,
    /// The shards that run in this process.
    pub shards: Vec<u32>,
    /// Where the ledger is kept; `None` keeps it in memory, and the first identify waits.
    pub ledger: Option<Arc<dyn Ledger>>,
    /// Discord's view at the start.
    pub limit: SessionStartLimit,
    /// Asked again when the budget is spent.
    pub api: Option<BotApi>,
    /// What a person types to release the reserve, for the log.
    pub release: String,
    /// The process's clock.
    pub clock: Clock,
}

/// A handle to a bot's queue. The task ends when all handles and clients are gone.
#[derive(Clone, Debug)]
pub struct IdentifyQueue {
    to_task: mpsc::Sender<Message>,
    status: watch::Receiver<IdentifyStatus>,
}

/// What a shard asks through.
#[derive(Clone, Debug)]
pub struct IdentifyClient {
    to_task: mpsc::Sender<Message>,
}

/// Leave to send one IDENTIFY. Dropped unused, it goes back to the budget.
#[derive(Debug)]
pub struct Grant {
    used: Option<oneshot::Sender<()>>,
}

impl Grant {
    /// The IDENTIFY has been given to the socket.
    pub fn used(mut self) {
        if let Some(used) = self.used.take() {
            // Nobody listens when the process is stopping; then nothing is granted any more either.
            let _ = used.send(());
        }
    }
}

/// The queue's task is gone: the process is stopping, or the task has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the identify queue has stopped")]
pub struct QueueGone;

enum Message {
    Ask { shard: u32, reply: oneshot::Sender<Grant> },
    Limit(SessionStartLimit),
    UseReserve { shard: Option<u32>, reply: oneshot::Sender<usize> },
}

impl IdentifyClient {
    /// Asks for leave to identify this shard, and waits for it. Dropping the future gives the place up.
    ///
    /// # Errors
    /// [`QueueGone`] when the process is stopping.
    pub fn ask(&self, shard: u32) -> impl Future<Output = Result<Grant, QueueGone>> + Send + 'static {
        let to_task = self.to_task.clone();
        async move {
            let (reply, answer) = oneshot::channel();
            let sent = to_task.send(Message::Ask { shard, reply }).await;
            sent.map_err(|_| QueueGone)?;
            answer.await.map_err(|_| QueueGone)
        }
    }

    /// Asks until there is an answer. A queue whose task is gone is said once, as an error, and asked again every few
    /// seconds: while the process stops that is cut short, and otherwise a shard must not wait in silence.
    pub(crate) fn ask_on(&self, shard: ShardId) -> impl Future<Output = Grant> + Send + 'static {
        let client = self.clone();
        async move {
            let mut told = false;
            loop {
                match client.ask(shard.index).await {
                    Ok(grant) => return grant,
                    Err(QueueGone) if !told => {
                        told = true;
                        tracing::error!(
                            bot = %shard.bot,
                            shard = %format_args!("{}/{}", shard.index, shard.count),
                            "{QueueGone}: this shard cannot identify; it asks again every {} s. Unless the process is stopping, \
                             look for an earlier error of the queue, and restart the process",
                            ASK_AGAIN.as_secs()
                        );
                    }
                    Err(QueueGone) => {}
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }
}

impl IdentifyQueue {
    /// Loads the ledger and starts the task on the current runtime.
    pub async fn start(config: IdentifyConfig) -> Self {
        let (to_task, messages) = mpsc::channel(QUEUE_MAX);
        let (publish, status) = watch::channel(IdentifyStatus::default());
        let mut task = Task::load(config, publish, to_task.downgrade()).await;
        task.publish();
        tokio::spawn(task.run(messages));
        Self { to_task, status }
    }

    /// For the shards of this bot.
    #[must_use]
    pub fn client(&self) -> IdentifyClient {
        IdentifyClient { to_task: self.to_task.clone() }
    }

    /// The budget as it stands.
    #[must_use]
    pub fn status(&self) -> IdentifyStatus {
        self.status.borrow().clone()
    }

    /// Discord's view, asked anew.
    ///
    /// # Errors
    /// [`QueueGone`] when the process is stopping.
    pub async fn limit(&self, limit: SessionStartLimit) -> Result<(), QueueGone> {
        self.to_task.send(Message::Limit(limit)).await.map_err(|_| QueueGone)
    }

    /// A person lets the waiting shards, or one of them, have of the reserve. Answers how many shards that are.
    ///
    /// # Errors
    /// [`QueueGone`] when the process is stopping.
    pub async fn use_reserve(&self, shard: Option<u32>) -> Result<usize, QueueGone> {
        let (reply, answer) = oneshot::channel();
        let sent = self.to_task.send(Message::UseReserve { shard, reply }).await;
        sent.map_err(|_| QueueGone)?;
        answer.await.map_err(|_| QueueGone)
    }
}

type Outcome = std::pin::Pin<Box<dyn Future<Output = (u32, bool)> + Send>>;

struct Task {
    bot: u64,
    budget: IdentifyBudget,
    ledger: Option<Arc<dyn Ledger>>,
    api: Option<BotApi>,
    release: String,
    clock: Clock,
    publish: watch::Sender<IdentifyStatus>,
    /// Weak, so that the task's own handle does not keep it alive.
    to_self: mpsc::WeakSender<Message>,
    replies: BTreeMap<u32, oneshot::Sender<Grant>>,
    outcomes: FuturesUnordered<Outcome>,
    failing_since: Option<Instant>,
    retry_at: Option<Instant>,
    refresh_at: Option<Instant>,
    blocked: Option<Blocked>,
}

impl Task {
    async fn load(config: IdentifyConfig, publish: watch::Sender<IdentifyStatus>, to_self: mpsc::WeakSender<Message>) -> Self {
        let loaded = match config.ledger.clone() {
            Some(ledger) => blocking(move || ledger.load()).await,
            None => Ok(None),
        };
        let record = match loaded {
            Ok(None) => {
                // Or the first start would look like one that hangs.
                tracing::info!(bot = %config.bot, "no record of earlier identifies: the first one waits 5 s, in case there was one just now");
                None
            }
            Ok(record) => record,
            Err(why) => {
                tracing::warn!(bot = %config.bot, "the identify ledger cannot be read: {why}; the first identify waits 5 s");
                None
            }
        };
        let now = moment(&config.clock);
        let mut budget = IdentifyBudget::new(record.as_deref(), config.count, &config.shards, now);
        budget.limit(config.limit, now);
        let mut task = Self {
            bot: config.bot,
            budget,
            ledger: config.ledger,
            api: config.api,
            release: config.release,
            clock: config.clock,
            publish,
            to_self,
            replies: BTreeMap::new(),
            outcomes: FuturesUnordered::new(),
            failing_since: None,
            retry_at: None,
            refresh_at: None,
            blocked: None,
        };
        // What cannot be written now could perhaps not be written by the last process either: do not trust it.
        if task.save().await.is_err() {
            task.budget.distrust(moment(&task.clock));
        }
        task
    }

    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        loop {
            let wake = self.grant_all().await;
            self.publish();
            tokio::select! {
                biased;
                Some((shard, used)) = self.outcomes.next() => self.settle(shard, used).await,
                message = messages.recv() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                () = sleep_until(wake) => {}
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Ask { shard, reply } => {
                self.replies.insert(shard, reply);
                self.budget.ask(shard);
            }
            Message::Limit(limit) => self.budget.limit(limit, moment(&self.clock)),
            Message::UseReserve { shard, reply } => {
                let let_through = self.budget.use_reserve(shard);
                tracing::warn!(bot = %self.bot, shards = let_through, "the identify reserve is opened by a person");
                // A person who went away needs no answer.
                let _ = reply.send(let_through);
            }
        }
    }

    async fn settle(&mut self, shard: u32, used: bool) {
        let now = moment(&self.clock);
        if used {
            self.budget.used(shard, now);
        } else if self.replies.contains_key(&shard) {
            // It dropped its grant and asked again: its place stays.
            self.budget.undo(shard);
        } else {
            self.budget.forget(shard);
        }
        // Not needed for safety, since a grant on record counts as used; it spares the next start a wait. The mind's
        // own state is ahead of the record either way, so a failure only shows in the status.
        if self.save().await.is_err() {
            tracing::debug!(bot = %self.bot, shard, "the ledger is not up to date");
        }
    }

    /// Hands out all that may go now. Answers when to look again.
    async fn grant_all(&mut self) -> Option<Instant> {
        self.sweep();
        if let Some(retry_at) = self.retry_at.filter(|retry_at| *retry_at > Instant::now()) {
            return Some(retry_at);
        }
        let now = moment(&self.clock);
        let mut granted = Vec::new();
        let wait = loop {
            match self.budget.next(now) {
                Next::Grant(shard) => granted.push(shard),
                Next::Wait(until) => break until,
            }
        };
        if !granted.is_empty() && self.save().await.is_err() && !self.out_of_patience() {
            for shard in granted {
                self.budget.undo(shard);
            }
            self.retry_at = Some(Instant::now() + LEDGER_RETRY);
            return self.retry_at;
        }
        self.retry_at = None;
        for shard in granted {
            self.hand_over(shard);
        }
        self.watch_blocked();
        earlier(wait.map(|time: Time| self.clock.instant(time)), self.refresh_at)
    }

    fn hand_over(&mut self, shard: u32) {
        let (used, outcome) = oneshot::channel();
        let grant = Grant { used: Some(used) };
        let taken = self.replies.remove(&shard).is_some_and(|reply| reply.send(grant).is_ok());
        if taken {
            self.outcomes.push(Box::pin(async move { (shard, outcome.await.is_ok()) }));
            tracing::debug!(bot = %self.bot, shard, "identify granted");
        } else {
            self.budget.forget(shard);
        }
    }

    fn sweep(&mut self) {
        let budget = &mut self.budget;
        self.replies.retain(|shard, reply| {
            let here = !reply.is_closed();
            if !here {
                budget.forget(*shard);
            }
            here
        });
    }

    fn out_of_patience(&self) -> bool {
        self.failing_since.is_some_and(|since| since.elapsed() >= LEDGER_PATIENCE)
    }

    /// Says once why shards wait, and asks Discord from time to time whether the budget is back.
    fn watch_blocked(&mut self) {
        let blocked = self.budget.blocked();
        if blocked != self.blocked {
            let status = self.budget.status(moment(&self.clock));
            match blocked {
                Some(Blocked::Spent) => tracing::error!(
                    bot = %self.bot,
                    "all {} identifies of the day are spent: {} shards wait until Discord gives new ones; more would make \
                     it reset the token",
                    status.total,
                    status.waiting.len()
                ),
                Some(Blocked::Reserve) => tracing::error!(
                    bot = %self.bot,
                    "{} of {} identifies are left of the day and {} are kept in reserve: {} shards wait; `{}` lets them through",
                    status.remaining,
                    status.total,
                    status.reserve,
                    status.waiting.len(),
                    self.release
                ),
                None => tracing::info!(bot = %self.bot, "identifies are granted again"),
            }
            self.blocked = blocked;
            self.refresh_at = None;
        }
        let Some(api) = self.api.clone().filter(|_| blocked.is_some()) else {
            self.refresh_at = self.reset_instant().filter(|_| blocked.is_some());
            return;
        };
        let now = Instant::now();
        match self.refresh_at {
            Some(at) if at > now => {}
            due => {
                if due.is_some()
                    && let Some(to_self) = self.to_self.upgrade()
                {
                    tokio::spawn(async move {
                        if let Ok(answer) = api.gateway_bot().await {
                            // Gone when the process is stopping.
                            let _ = to_self.send(Message::Limit(answer.session_start_limit)).await;
                        }
                    });
                }
                self.refresh_at = Some(now + REFRESH);
            }
        }
    }

    fn reset_instant(&self) -> Option<Instant> {
        let left_ms = self.budget.reset_at_unix_ms()?.saturating_sub(self.clock.unix_ms());
        Some(Instant::now() + Duration::from_millis(left_ms + 1))
    }

    async fn save(&mut self) -> Result<(), ()> {
        let Some(ledger) = self.ledger.clone() else {
            return Ok(());
        };
        let bytes = self.budget.ledger(moment(&self.clock));
        match blocking(move || ledger.save(&bytes)).await {
            Ok(()) => {
                if self.failing_since.take().is_some() {
                    tracing::info!(bot = %self.bot, "the identify ledger can be written again");
                }
                Ok(())
            }
            Err(why) => {
                if self.failing_since.is_none() {
                    self.failing_since = Some(Instant::now());
                    tracing::warn!(
                        bot = %self.bot,
                        "the identify ledger cannot be written: {why}; identifies wait {} s for it, then go on without",
                        LEDGER_PATIENCE.as_secs()
                    );
                }
                Err(())
            }
        }
    }

    fn publish(&mut self) {
        let mut status = self.budget.status(moment(&self.clock));
        status.ledger_failing = self.failing_since.is_some();
        self.publish.send_replace(status);
    }
}

fn moment(clock: &Clock) -> Moment {
    Moment { time: clock.now(), unix_ms: clock.unix_ms() }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn blocking<T: Send + 'static>(call: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(error) => Err(format!("its thread failed: {error}")),
    }
}

#[cfg(test)]
#[path = "identify_tests.rs"]
mod tests;
