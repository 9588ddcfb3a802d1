//! One core: the thread that owns its shards outright, and the event path, whole (`CoreState::dispatch`).
//!
//! A core runs a single-threaded runtime. Its shards' drivers, its cache and its hub share one `CoreState`, borrowed only between awaits,
//! so there is no lock on the path. Everything else reaches it by message: streams through [`ToCore`], the rest through [`CoreInput`].
//!
//! | module | has |
//! |---|---|
//! | `run` | the loop: what a core waits for |
//! | `events` | what a shard's driver tells it; every dispatch comes to `CoreState::dispatch` here |
//! | `checkpoint` | what is handed to the store between two frames, and what became of it |
//! | `shards` | how shards come and are forgotten, and their part of the groups' limits |
//! | `report` | what others see: metrics, status, lookups |

mod checkpoint;
mod events;
mod report;
mod run;
mod shards;

pub use checkpoint::{CHECKPOINT_EVENTS, CHECKPOINT_EVERY};
pub use report::{CoreReport, ShardReport};
pub use run::run_core;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hashbrown::HashMap;
use tokio::sync::{mpsc, oneshot};
use trunkline_cache::{Cache, CacheConfig, Kinds, Users};
use trunkline_delivery::{EntryId, GroupId, GroupLimits, GroupSpec, Slot};
use trunkline_discord::{Event, EventKind, EventName, Gap, GapCause, Routing, ShardId, Time};
use trunkline_doors::{CoreSide, Look, ToCore, Up};
use trunkline_gateway::batch::Ahead;
use trunkline_gateway::{Clock, Dispatched, ShardConfig, ShardControl, ShardEnd, ShardTools};
use trunkline_session::ResumePoint;
use trunkline_store::ShardKey;

use super::falls::Falls;
use super::keeper::{Keeper, Written};
use super::load::Loaded;
use super::members::NewsLink;
use super::tail::Tail;
use super::unsaved::Unsaved;

/// Commands from streams that may wait for a core.
pub const COMMANDS_QUEUED: usize = 4_096;

/// What reaches a core besides its streams' commands.
pub enum CoreInput {
    /// A shard to hold from now on.
    Add(Box<ShardStart>),
    /// A checkpoint was written, or not.
    Written(Written),
    /// A body was read from disk; none: it cannot be.
    Loaded {
        /// Which entry.
        entry: EntryId,
        /// Its encoded form.
        bytes: Option<Bytes>,
    },
    /// A command for one shard.
    Control {
        /// Which shard.
        shard: ShardId,
        /// What to do.
        control: ShardControl,
        /// Whether it was handed over.
        answer: oneshot::Sender<bool>,
    },
    /// Tell how things stand.
    Report(oneshot::Sender<CoreReport>),
    /// Close all sockets so that the sessions can be resumed; answered when they are closed.
    CloseSockets(oneshot::Sender<()>),
    /// Write a last checkpoint and end; answered with whether it was written.
    Finish(oneshot::Sender<Result<(), String>>),
}

/// A shard as it is handed to its core.
pub struct ShardStart {
    /// Which.
    pub shard: ShardId,
    /// What the store had of it.
    pub loaded: Loaded,
    /// What its cache keeps.
    pub keeps: CacheConfig,
    /// Its driver; none for a shard of an old shard count, which only has events left that groups have not acknowledged.
    pub driver: Option<Driver>,
}

/// What runs a shard.
pub struct Driver {
    /// What the driver is made of.
    pub config: ShardConfig,
    /// What it works with.
    pub tools: ShardTools,
    /// Whoever asks for its members.
    pub members: NewsLink,
    /// Told when the shard has ended by itself.
    pub ended: mpsc::UnboundedSender<ShardEnd>,
}

/// What a core is started with.
pub struct CoreSetup {
    /// Its number.
    pub core: usize,
    /// Groups, with the limits that they have in the whole process.
    pub groups: Vec<GroupSpec>,
    /// The store's threads.
    pub keeper: Keeper,
    /// The process's clock.
    pub clock: Clock,
    /// Seed of the hub's hash tables.
    pub hash_seed: u64,
    /// Ready shards of the process, for `/readyz`.
    pub ready: Arc<AtomicU64>,
    /// Shards placed in the whole process.
    pub placed: Arc<AtomicU64>,
    /// What groups lost because they fell behind.
    pub falls: Arc<Falls>,
    /// Bytes of changed objects that may be kept in the whole process while checkpoints fail.
    pub unsaved_bytes: u64,
}

/// A core's ends of its channels.
pub struct CoreChannels {
    /// From streams.
    pub commands: mpsc::Receiver<ToCore>,
    /// Questions about the caches.
    pub looks: mpsc::Receiver<Look>,
    /// From everybody else; unbounded in type, bounded by its senders (one checkpoint, the hub's few reads, people).
    pub inputs: mpsc::UnboundedReceiver<CoreInput>,
    /// The other end, for answers to ourselves.
    pub answers: mpsc::UnboundedSender<CoreInput>,
}

struct Shard {
    id: ShardId,
    key: ShardKey,
    epoch: u64,
    cache: Cache,
    control: mpsc::Sender<ShardControl>,
    /// None for a shard that has no driver.
    members: Option<NewsLink>,
    resume: Option<ResumePoint>,
    /// The kinds of objects that the cache has kept since that session began: of others it lacks what was told meanwhile.
    kinds: Kinds,
    ordinal: u64,
    /// The log's record as last asked for.
    log_record: Vec<u8>,
    /// What checkpoints that failed have left to be written.
    unsaved: Unsaved,
    clear_cache: bool,
    /// Segments below this were given free in the last checkpoint.
    released: u64,
    /// How far behind that the store is held.
    tail: Tail,
    /// Events since the last checkpoint was taken.
    since_checkpoint: u64,
    /// Session and position in the last checkpoint handed over, and in the last one written.
    handed: Option<(u64, u64)>,
    written: Option<(u64, u64)>,
    ready_once: bool,
    running: bool,
    /// The last checkpoint's rows have been taken.
    saved_at_stop: bool,
    /// Of an old shard count: it has no driver, and is forgotten once its log is empty.
    retired: bool,
    forgotten: bool,
}

/// Everything a core owns; shared by its shards' drivers and its loop, on one thread.
pub struct CoreState {
    core: usize,
    side: CoreSide,
    up: Vec<Up>,
    shards: Vec<Shard>,
    clock: Clock,
    keeper: Keeper,
    answers: mpsc::UnboundedSender<CoreInput>,
    writing: bool,
    /// A shard has had [`CHECKPOINT_EVENTS`] since the last checkpoint.
    checkpoint_due: bool,
    written_at: Time,
    wake: Rc<tokio::sync::Notify>,
    /// Wakes whoever hands gathered events over to their streams, and whether it has been woken for what there is.
    flush: Rc<tokio::sync::Notify>,
    flush_due: bool,
    events: [u64; EventKind::ALL.len() + 1],
    malformed: u64,
    gaps: BTreeMap<&'static str, (u64, u64)>,
    group_names: Vec<Arc<str>>,
    falls: Arc<Falls>,
    /// Bytes that failed checkpoints may leave in the whole process, and rows that were let go because they left more.
    unsaved_bytes: u64,
    unsaved_let_go: u64,
    reads_waiting: Vec<(EntryId, trunkline_delivery::Location)>,
    /// A checkpoint failed: none is tried before this.
    retry_at: Option<Time>,
    /// What each group may hold in the whole process, and this core's part when it was last worked out.
    limits: Vec<(GroupId, GroupLimits)>,
    shares: (u64, u64),
    placed: Arc<AtomicU64>,
    closing: bool,
    /// The next checkpoint is the last one: nothing is applied any more.
    finishing: bool,
    /// Each bot's users, which its shards on this core share.
    users: HashMap<u64, Users>,
    ready: Arc<AtomicU64>,
}

impl CoreState {
    /// An event with these ids is about to be dispatched.
    fn expect(&self, slot: usize, ahead: Ahead, kind: EventKind, routing: Routing) {
        let Some(shard) = self.shards.get(slot) else { return };
        match ahead {
            Ahead::First => shard.cache.expect(kind, routing),
            Ahead::Second => shard.cache.expect_objects(kind, routing),
        }
    }

    /// The event path from the session's "deliver" on: cache, log, delivery. Synchronous; nothing here waits.
    fn dispatch(&mut self, slot: usize, d: &Dispatched<'_>) {
        let Some(shard) = self.shards.get_mut(slot) else { return };
        let name = d.envelope.t.as_deref().unwrap_or_default();
        let kind = d.envelope.kind;
        let body = d.envelope.d;
        let bytes = d.own_body();
        // An ephemeral message in a guild's channel does not say which guild (Discord docs, Gateway: Gateway Intents). Looked up before the event
        // is applied, and kept from the cache: its own rules tell such a message from those that everybody sees.
        let mut routing = d.routing;
        if let (None, Some(channel)) = (routing.guild_id, routing.channel_id) {
            routing.guild_id = shard.cache.guild_of_channel(channel);
        }
        let change = shard.cache.apply_found(kind, body, d.fields, d.routing, &bytes);
        let event = Event {
            shard: shard.id,
            session: d.session,
            s: d.s,
            epoch: shard.epoch,
            kind,
            name: EventName::new(kind, name),
            encoding: d.encoding,
            body: bytes,
            previous: change.previous,
            origin: change.origin,
            routing,
            received_at_unix_us: d.received_unix_us,
            received_at: d.received_at,
        };
        if let Some(resume) = &mut shard.resume {
            resume.s = d.s;
        }
        shard.since_checkpoint += 1;
        let due = shard.since_checkpoint == CHECKPOINT_EVENTS;
        let event = Arc::new(event);
        if let Some(members) = &shard.members {
            members.event(&shard.cache, &event);
        }
        if self.side.gather(slot_of(slot), event, d.received_at, &mut self.up) && !std::mem::replace(&mut self.flush_due, true) {
            self.flush.notify_one();
        }
        self.events[kind as usize] += 1;
        self.malformed += u64::from(change.malformed);
        if !self.up.is_empty() {
            self.do_what_came_up();
        }
        if due {
            self.checkpoint_due = true;
            if !self.writing {
                self.wake.notify_one();
            }
        }
    }

    /// Hands over what was gathered for streams, if anything was.
    fn flush(&mut self) {
        if !std::mem::take(&mut self.flush_due) {
            return;
        }
        let now = self.clock.now();
        self.side.flush(now, &mut self.up);
        self.do_what_came_up();
    }

    fn gap(&mut self, slot: usize, session: u64, first_s: Option<u64>, last_s: Option<u64>, cause: GapCause) {
        let now = self.clock.now();
        let Some(shard) = self.shards.get(slot) else { return };
        let events = first_s.zip(last_s).map(|(first, last)| last.saturating_sub(first) + 1);
        let gap = Gap { shard: shard.id, session, first_s, last_s, cause, events, at_unix_us: self.clock.unix_us() };
        tracing::warn!(bot = %shard.id.bot, shard = %place(shard.id), cause = cause.as_str(), "gap: {gap}; every group is told");
        self.count_gap(&gap);
        self.side.gap(slot_of(slot), gap, now, &mut self.up);
        self.do_what_came_up();
    }

    fn now_ready(&mut self, slot: usize) {
        if let Some(shard) = self.shards.get_mut(slot)
            && !std::mem::replace(&mut shard.ready_once, true)
        {
            self.ready.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count_gap(&mut self, gap: &Gap) {
        let counted = self.gaps.entry(gap.cause.as_str()).or_default();
        counted.0 += 1;
        counted.1 += gap.events.unwrap_or(0);
    }

    fn do_what_came_up(&mut self) {
        let up = std::mem::take(&mut self.up);
        for up in up {
            match up {
                Up::Load { entry, location } => self.read(entry, location),
                Up::Fell { group, gap } => {
                    self.falls.note(group.0 as usize, &gap);
                    let group = self.group_names.get(group.0 as usize).map_or("?", |name| &**name);
                    // A line a shard and second while a group ages out: people get the sums, from `falls`.
                    tracing::debug!(group, bot = %gap.shard.bot, shard = %place(gap.shard), "the group fell behind its limit: {gap}; it is told");
                    self.count_gap(&gap);
                }
            }
        }
    }

    fn read(&mut self, entry: EntryId, location: trunkline_delivery::Location) {
        let Some(shard) = self.shards.get(entry.slot.0 as usize) else { return };
        if !self.keeper.read(shard.key, entry, location, self.answers.clone()) {
            self.reads_waiting.push((entry, location));
        }
    }
}

/// A shard as log lines name it, `index/count`: the same form, and in JSON the same type, wherever a line comes from.
pub fn place(shard: ShardId) -> impl std::fmt::Display {
    std::fmt::from_fn(move |f| write!(f, "{}/{}", shard.index, shard.count))
}

fn slot_of(index: usize) -> Slot {
    // The hub refuses slots above its own, far lower, limit.
    Slot(u32::try_from(index).unwrap_or(u32::MAX))
}
