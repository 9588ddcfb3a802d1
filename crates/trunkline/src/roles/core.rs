//! One core: the thread that owns its shards outright, and the event path, whole, on one screen (`CoreState::dispatch`).
//!
//! A core runs a single-threaded runtime. Its shards' drivers, its cache and its hub share one `CoreState`, borrowed only between awaits,
//! so there is no lock on the path. Everything else reaches it by message: streams through [`ToCore`], the rest through [`CoreInput`].
//!
//! The checkpoint is taken here, between two frames, so that session, cache and log stand at one position; it is written elsewhere.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use tokio::sync::{mpsc, oneshot};
use trunkline_cache::{Cache, CacheConfig, Kind, Users};
use trunkline_delivery::{EntryId, GroupId, GroupLimits, GroupSpec, Hub, HubConfig, HubStats, Slot};
use trunkline_discord::{Event, EventKind, EventName, Gap, GapCause, Object, Op, ShardId, Time};
use trunkline_doors::look::{LOOKS_AT_ONCE, LOOKS_FOR};
use trunkline_doors::{Caches, CommandRefused, CoreSide, Look, ToCore, Up};
use trunkline_gateway::{Clock, Dispatched, Ready, ShardConfig, ShardControl, ShardEnd, ShardEvents, ShardTools, run_shard};
use trunkline_session::{LostCause, ResumePoint};
use trunkline_store::ShardKey;

use super::falls::Falls;
use super::keeper::{Keeper, ShardPart, Written};
use super::load::{Loaded, key_of};
use super::members::NewsLink;
use super::record::Record;
use super::tail::Tail;
use super::unsaved::Unsaved;

/// A checkpoint is taken at least this often while anything changes.
pub const CHECKPOINT_EVERY: Duration = Duration::from_millis(250);

/// … and as soon as one shard has had this many events since its last one, if the one before is written. By the shard, because that
/// is what a checkpoint costs: one of a core with hundreds of shards, taken every 500 events of them all, would write each shard's
/// record for every one or two of its events, and events to disk that are acknowledged a moment later.
pub const CHECKPOINT_EVENTS: u64 = 500;

/// After a failed checkpoint the next one waits this long: a full disk is not helped by trying faster. It waits a second more for every
/// [`RETRY_ROWS`] cache rows, so that handing them over again and again takes the core little of its time, and at most [`RETRY_MAX`].
const CHECKPOINT_RETRY: Duration = Duration::from_secs(2);
const RETRY_ROWS: u64 = 50_000;
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Of shards whose whole cache has to be written, a checkpoint takes no more once their rows have this many bytes, and always one: all of
/// them would be a second copy of the core's caches.
const WHOLE_BYTES: u64 = 64 << 20;

/// Commands taken from streams before the loop looks elsewhere.
const COMMANDS_AT_ONCE: usize = 256;

/// Commands from streams that may wait for a core.
pub const COMMANDS_QUEUED: usize = 4_096;

/// How many commands to one shard may wait (restart, stop, checkpointed).
const CONTROLS_QUEUED: usize = 256;

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

/// What a core knows of itself, for metrics and status.
#[derive(Debug, Clone)]
pub struct CoreReport {
    /// Which core.
    pub core: usize,
    /// Its shards.
    pub shards: Vec<ShardReport>,
    /// Its hub.
    pub hub: HubStats,
    /// Events by name since the start.
    pub events: BTreeMap<&'static str, u64>,
    /// Events with names that this version does not know.
    pub events_unknown: u64,
    /// Payloads the cache could make nothing of.
    pub malformed: u64,
    /// What its shards' caches hold of each kind, and how many objects had to give way since the start.
    pub cache: [(trunkline_cache::Size, u64); Kind::ALL.len()],
    /// Gaps told, by cause: how many, and events known to be inside.
    pub gaps: BTreeMap<&'static str, (u64, u64)>,
    /// Age of the last written checkpoint in milliseconds.
    pub checkpoint_age_ms: u64,
    /// Bytes of changed objects that are kept because a checkpoint failed.
    pub unsaved_bytes: u64,
    /// Changed objects of failed checkpoints that were let go since the start, because they took too much.
    pub unsaved_let_go: u64,
    /// Commands waiting for the core.
    pub commands_queued: usize,
    /// Streams whose channel was full though they had credit; always 0 unless there is a bug.
    pub overruns: u64,
}

/// One shard in a [`CoreReport`].
#[derive(Debug, Clone)]
pub struct ShardReport {
    /// Which.
    pub shard: ShardId,
    /// The owner's epoch.
    pub epoch: u64,
    /// Ordinal of its session.
    pub session: u64,
    /// Discord's id of the session, where one lives.
    pub session_id: Option<String>,
    /// Position.
    pub s: u64,
    /// Guilds in the cache.
    pub guilds: u64,
    /// Bytes the cache holds.
    pub cache_bytes: u64,
    /// Position that the last written checkpoint stands at.
    pub checkpointed_s: u64,
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
    /// The event path from the session's "deliver" on: cache, log, delivery. Synchronous; nothing here waits.
    fn dispatch(&mut self, slot: usize, d: &Dispatched<'_>) {
        let Some(shard) = self.shards.get_mut(slot) else { return };
        let name = d.envelope.t.as_deref().unwrap_or_default();
        let kind = EventKind::from_name(name);
        let body = d.envelope.d;
        let bytes = Bytes::copy_from_slice(body.raw());
        let change = shard.cache.apply_found(kind, body, d.fields, &bytes);
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
            routing: d.routing,
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

    /// Takes a checkpoint of every shard that changed and hands it over, unless one is still being written.
    fn checkpoint(&mut self) {
        if self.writing || self.retry_at.is_some_and(|at| self.clock.now() < at) {
            return;
        }
        // What is on its way does not wait behind a checkpoint.
        self.flush();
        self.checkpoint_due = false;
        let mut parts = Vec::new();
        let mut idle = Vec::new();
        let mut whole_bytes = 0;
        for (index, shard) in self.shards.iter_mut().enumerate().filter(|(_, shard)| !shard.forgotten) {
            if shard.unsaved.is_whole() && whole_bytes >= WHOLE_BYTES && !self.finishing {
                // It stands at an earlier position for a moment; its turn is the next checkpoint.
                self.checkpoint_due = true;
                continue;
            }
            shard.since_checkpoint = 0;
            let stands = shard.resume.as_ref().map_or((shard.ordinal, 0), |point| (point.session, point.s));
            let log = self.side.with_hub(self.clock.now(), &mut self.up, |hub, _| hub.checkpoint(slot_of(index)));
            let at_stop = self.finishing && !std::mem::replace(&mut shard.saved_at_stop, true);
            let whole = shard.unsaved.is_whole();
            let rows = shard.unsaved.take(&mut shard.cache, at_stop || whole && self.finishing);
            if whole {
                whole_bytes += rows.iter().map(|(key, value)| (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64).sum::<u64>();
            }
            let Some(log) = log else {
                // One of this slot is still outstanding, which `writing` excludes; keep what was taken for the next one.
                shard.unsaved.give_back(rows, u64::MAX);
                continue;
            };
            if let Some((last, _)) = log.new_entries.last() {
                shard.tail.wrote(*last, log.new_entries.iter().map(|(_, body)| body.bytes_held() as u64).sum());
            }
            let release_below = if self.finishing { log.release_below } else { shard.tail.release_below(log.release_below) };
            let moved = shard.handed != Some(stands) || log.record != shard.log_record || release_below != shard.released;
            if !moved && log.new_entries.is_empty() && log.release_segments.is_empty() && rows.is_empty() && !shard.clear_cache && !whole {
                idle.push(slot_of(index));
                continue;
            }
            let (entries, release_segments) = (log.new_entries, log.release_segments);
            shard.log_record = log.record;
            shard.released = release_below;
            shard.handed = Some(stands);
            parts.push(ShardPart {
                slot: slot_of(index),
                key: shard.key,
                epoch: shard.epoch,
                record: Record { ordinal: shard.ordinal, resume: shard.resume.clone(), log: shard.log_record.clone() },
                cache: rows,
                clear_cache: std::mem::take(&mut shard.clear_cache) || whole,
                entries,
                release_below,
                release_segments,
            });
        }
        let now = self.clock.now();
        for slot in idle {
            // Nothing changed since the last one: what is on disk is this checkpoint.
            self.side.with_hub(now, &mut self.up, |hub, out| hub.stored(slot, &[], now, out));
        }
        if parts.is_empty() {
            self.written_at = now;
        } else {
            self.writing = true;
            self.keeper.commit(parts, self.answers.clone());
        }
        self.do_what_came_up();
    }

    fn written(&mut self, written: Written) {
        self.writing = false;
        let now = self.clock.now();
        let mut located: HashMap<Slot, Vec<_>> = written.located.into_iter().collect();
        let written_to = match written.failed {
            None => {
                self.written_at = now;
                self.retry_at = None;
                usize::MAX
            }
            Some((from, _)) => {
                let rows: u64 = written.parts.iter().skip(from).map(|part| part.cache.len() as u64).sum();
                self.retry_at = Some(now + (CHECKPOINT_RETRY + Duration::from_secs(rows / RETRY_ROWS)).min(RETRY_MAX));
                from
            }
        };
        let unsaved_max = self.unsaved_bytes / self.placed.load(Ordering::Relaxed).max(1);
        let (mut let_go_shards, mut let_go_rows, mut let_go_bytes) = (0_u64, 0, 0);
        for (index, part) in written.parts.into_iter().enumerate() {
            let Some(shard) = self.shards.get_mut(part.slot.0 as usize) else { continue };
            if index >= written_to {
                shard.handed = None;
                shard.clear_cache |= part.clear_cache;
                if let Some((rows, bytes)) = shard.unsaved.give_back(part.cache, unsaved_max) {
                    let_go_shards += 1;
                    let_go_rows += rows;
                    let_go_bytes += bytes;
                }
                self.side.with_hub(now, &mut self.up, |hub, out| hub.not_stored(part.slot, now, out));
                continue;
            }
            shard.unsaved.written();
            let locations = located.remove(&part.slot).unwrap_or_default();
            self.side.with_hub(now, &mut self.up, |hub, out| hub.stored(part.slot, &locations, now, out));
            if shard.retired {
                shard.written = Some((part.record.ordinal, 0));
            }
            if let Some(point) = &part.record.resume {
                shard.written = Some((point.session, point.s));
                // A full channel is caught up by the next checkpoint.
                shard.control.try_send(ShardControl::Checkpointed { session: point.session, s: point.s }).ok();
            }
        }
        if let_go_shards > 0 {
            self.unsaved_let_go += let_go_rows;
            tracing::warn!(
                core = self.core,
                "{let_go_rows} changed objects of {let_go_shards} shards wait for the store and take {let_go_bytes} bytes, more than they may \
                 (store.unsaved_bytes): they are let go, and the caches of these shards are written whole once the store takes them"
            );
        }
        self.do_what_came_up();
        if self.checkpoint_due {
            self.wake.notify_one();
        }
    }

    /// Takes a shard into hub and list; answers its slot.
    fn take_shard(
        &mut self,
        shard: ShardId,
        loaded: Loaded,
        keeps: CacheConfig,
        control: mpsc::Sender<ShardControl>,
        retired: bool,
    ) -> Option<usize> {
        let slot = self.shards.len();
        let now = self.clock.now();
        self.share_limits(1);
        let Loaded { epoch, log, log_record, cache: rows, resume, ordinal, clear_cache, entries, gap, .. } = loaded;
        if let Err(error) = self.side.with_hub(now, &mut self.up, |hub, out| hub.add_shard(slot_of(slot), shard, log, now, out)) {
            tracing::error!(bot = %shard.bot, shard = %place(shard), "the shard was not taken: {error}");
            return None;
        }
        let mut cache = Cache::new(keeps, self.users.entry(shard.bot).or_default().clone());
        // A shard of an old count is asked nothing any more.
        let bad_rows = if retired { 0 } else { cache.load_rows(&rows) };
        if bad_rows > 0 {
            tracing::error!(bot = %shard.bot, shard = %place(shard), rows = bad_rows, "stored objects are not what their keys say; they were left out");
        }
        if let Some(point) = &resume {
            tracing::info!(
                bot = %shard.bot,
                shard = %place(shard),
                session = point.session,
                s = point.s,
                events = entries,
                guilds = cache.size(Kind::Guild).count,
                "restored from the checkpoint: resuming, unacknowledged events are delivered again"
            );
        }
        self.shards.push(Shard {
            id: shard,
            key: key_of(shard),
            epoch,
            cache,
            control,
            members: None,
            written: resume.as_ref().map(|point| (point.session, point.s)),
            resume,
            ordinal,
            log_record,
            unsaved: Unsaved::default(),
            clear_cache,
            released: 0,
            tail: Tail::default(),
            since_checkpoint: 0,
            handed: None,
            ready_once: false,
            running: !retired,
            saved_at_stop: false,
            retired,
            forgotten: false,
        });
        if let Some(gap) = gap {
            self.gap(slot, gap.session, gap.first_s, None, gap.cause);
        }
        self.do_what_came_up();
        Some(slot)
    }

    /// This core's part of each group's limits: as large as its part of the process's shards.
    ///
    /// `more`: shards about to be taken, so that what they bring meets the new limit and not the old one.
    fn share_limits(&mut self, more: u64) {
        let shares = (self.shards.len() as u64 + more, self.placed.load(Ordering::Relaxed).max(1));
        // A core without shards holds nothing and keeps the whole limit until its first one comes.
        if shares.0 == 0 || std::mem::replace(&mut self.shares, shares) == shares {
            return;
        }
        let part = |whole: u64| u64::try_from(u128::from(whole) * u128::from(shares.0) / u128::from(shares.1)).unwrap_or(whole).max(1);
        for (group, whole) in self.limits.clone() {
            let limits = GroupLimits { memory_bytes: part(whole.memory_bytes), disk_bytes: part(whole.disk_bytes), age_ms: whole.age_ms };
            let now = self.clock.now();
            self.side.with_hub(now, &mut self.up, |hub, _| hub.set_limits(group, limits));
        }
    }

    /// Shards of an old count whose last event is acknowledged.
    fn forget_retired(&mut self) {
        if self.writing || !self.shards.iter().any(|shard| shard.retired && !shard.forgotten && shard.written.is_some()) {
            return;
        }
        let stats = self.side.hub().stats(self.clock.now());
        for (index, shard) in self.shards.iter_mut().enumerate() {
            let empty = stats.shards.iter().any(|one| one.slot == slot_of(index) && one.entries == 0);
            if shard.retired && !shard.forgotten && shard.written.is_some() && empty {
                shard.forgotten = true;
                self.keeper.forget(shard.key);
            }
        }
    }

    fn report(&self, commands_queued: usize) -> CoreReport {
        let now = self.clock.now();
        CoreReport {
            core: self.core,
            shards: self
                .shards
                .iter()
                .map(|shard| ShardReport {
                    shard: shard.id,
                    epoch: shard.epoch,
                    session: shard.resume.as_ref().map_or(shard.ordinal, |point| point.session),
                    session_id: shard.resume.as_ref().map(|point| point.session_id.clone()),
                    s: shard.resume.as_ref().map_or(0, |point| point.s),
                    guilds: shard.cache.size(Kind::Guild).count,
                    cache_bytes: shard.cache.bytes(),
                    checkpointed_s: shard.written.map_or(0, |(_, s)| s),
                })
                .collect(),
            hub: self.side.hub().stats(now),
            events: EventKind::ALL.iter().map(|kind| (kind.name(), self.events[*kind as usize])).filter(|(_, count)| *count > 0).collect(),
            events_unknown: self.events[EventKind::Unknown as usize],
            malformed: self.malformed,
            cache: Kind::ALL.map(|kind| {
                self.shards.iter().fold(Default::default(), |(size, evicted): (trunkline_cache::Size, u64), shard| {
                    let more = shard.cache.size(kind);
                    let size = trunkline_cache::Size { count: size.count + more.count, bytes: size.bytes + more.bytes };
                    (size, evicted + shard.cache.evicted(kind))
                })
            }),
            gaps: self.gaps.clone(),
            unsaved_bytes: self.shards.iter().map(|shard| shard.unsaved.bytes()).sum(),
            unsaved_let_go: self.unsaved_let_go,
            checkpoint_age_ms: u64::try_from(now.since(self.written_at).as_millis()).unwrap_or(u64::MAX),
            commands_queued,
            overruns: self.side.overruns(),
        }
    }
}

/// What looks see of a core: shards of an old count have caches that nobody feeds any more, and are left out.
impl Caches for CoreState {
    fn shards(&self) -> Vec<ShardId> {
        self.shards.iter().filter(|shard| !shard.retired).map(|shard| shard.id).collect()
    }

    fn cache(&self, shard: ShardId) -> Option<&Cache> {
        self.shards.iter().find(|one| one.id == shard && !one.retired).map(|one| &one.cache)
    }

    fn cache_mut(&mut self, shard: ShardId) -> Option<&mut Cache> {
        self.shards.iter_mut().find(|one| one.id == shard && !one.retired).map(|one| &mut one.cache)
    }

    fn command(&mut self, shard: ShardId, op: Op, payload: Object) -> Result<(), CommandRefused> {
        let running = self.shards.iter().find(|one| one.id == shard && one.running).ok_or(CommandRefused::NotRunning)?;
        running.control.try_send(ShardControl::Command { op, payload }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => CommandRefused::Full,
            mpsc::error::TrySendError::Closed(_) => CommandRefused::NotRunning,
        })
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

/// A shard's driver calls this; it finds its way to the core's state.
struct Handler {
    state: Rc<RefCell<CoreState>>,
    slot: usize,
}

impl ShardEvents for Handler {
    fn dispatch(&mut self, dispatched: Dispatched<'_>) {
        self.state.borrow_mut().dispatch(self.slot, &dispatched);
    }

    fn ready(&mut self, ready: Ready<'_>) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let Some(shard) = state.shards.get_mut(self.slot) else { return };
        shard.cache.ready(ready.guilds);
        shard.ordinal = ready.session;
        if let Some(members) = &shard.members {
            members.up(shard.id, Some(ready.guilds));
        }
        state.now_ready(self.slot);
    }

    fn resumed(&mut self, _session: u64, _replayed: u64) {
        let mut state = self.state.borrow_mut();
        let first = state.shards.get(self.slot).is_some_and(|shard| !shard.ready_once);
        state.now_ready(self.slot);
        if let Some(shard) = state.shards.get(self.slot)
            && let Some(members) = &shard.members
        {
            members.up(shard.id, None);
            if first {
                members.restored(shard.id, &shard.cache);
            }
        }
    }

    fn session_lost(&mut self, _cause: LostCause, session: u64, last_s: u64) {
        let mut state = self.state.borrow_mut();
        if let Some(shard) = state.shards.get_mut(self.slot) {
            shard.resume = None;
            // Not only once a new session begins: it may take long, or never come.
            shard.cache.session_lost();
            if let Some(members) = &shard.members {
                members.down(shard.id);
            }
            state.wake.notify_one();
        }
        state.gap(self.slot, session, Some(last_s + 1), None, GapCause::SessionLost);
    }

    fn gap(&mut self, session: u64, first_s: u64, last_s: u64) {
        self.state.borrow_mut().gap(self.slot, session, Some(first_s), Some(last_s), GapCause::SequenceJump);
    }

    fn settled(&mut self, point: Option<&ResumePoint>) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let Some(shard) = state.shards.get_mut(self.slot) else { return };
        match (&mut shard.resume, point) {
            // The common case: the same session, further on. Its guild list is not copied again.
            (Some(held), Some(point)) if held.session == point.session && held.session_id == point.session_id => {
                held.s = point.s;
                if held.resume_url != point.resume_url {
                    held.resume_url.clone_from(&point.resume_url);
                }
            }
            (held, Some(point)) => {
                shard.ordinal = point.session;
                *held = Some(point.clone());
                // A new session is news that a kill must not undo.
                state.wake.notify_one();
            }
            (held, None) => {
                if held.take().is_some() {
                    state.wake.notify_one();
                }
            }
        }
    }

    fn room(&self) -> bool {
        self.state.borrow().side.hub().room(slot_of(self.slot))
    }
}

/// Runs a core until it is told to finish. To be called on the core's own thread, inside its single-threaded runtime.
pub async fn run_core(setup: CoreSetup, channels: CoreChannels) {
    let CoreSetup { core, groups, keeper, clock, hash_seed, ready, placed, falls, unsaved_bytes } = setup;
    let CoreChannels { mut commands, mut looks, mut inputs, answers } = channels;
    let limits = groups.iter().map(|group| (group.id, group.limits)).collect();
    let group_names = groups.iter().map(|group| group.name.clone()).collect();
    let mut hub = Hub::new(HubConfig { hash_seed, ..HubConfig::default() });
    for group in groups {
        if let Err(error) = hub.declare(group) {
            // The configuration allows no more groups than a hub takes, and no name twice.
            tracing::error!("a worker group was not taken: {error}");
        }
    }
    let wake = Rc::new(tokio::sync::Notify::new());
    let flush = Rc::new(tokio::sync::Notify::new());
    let state = Rc::new(RefCell::new(CoreState {
        core,
        side: CoreSide::new(hub),
        up: Vec::new(),
        shards: Vec::new(),
        written_at: clock.now(),
        clock,
        keeper,
        answers,
        writing: false,
        checkpoint_due: false,
        wake: wake.clone(),
        flush: flush.clone(),
        flush_due: false,
        events: [0; EventKind::ALL.len() + 1],
        malformed: 0,
        gaps: BTreeMap::new(),
        group_names,
        falls,
        unsaved_bytes,
        unsaved_let_go: 0,
        reads_waiting: Vec::new(),
        retry_at: None,
        limits,
        shares: (0, 0),
        placed,
        closing: false,
        finishing: false,
        users: HashMap::new(),
        ready,
    }));
    // Woken by the first event of a turn, it comes behind all drivers that are ready at that moment: their events reach a stream with one
    // wake-up of its thread, and no event waits for a timer. A task of its own, because waking the loop below takes a system call.
    tokio::task::spawn_local({
        let state = state.clone();
        async move {
            loop {
                flush.notified().await;
                state.borrow_mut().flush();
            }
        }
    });
    let mut drivers = tokio::task::JoinSet::new();
    let mut every = tokio::time::interval(CHECKPOINT_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut tick_at = clock.now();
    let hub_tick = tokio::time::sleep_until(clock.instant(tick_at));
    tokio::pin!(hub_tick);
    // Whoever waits for the last checkpoint, and whether it has been taken already.
    let mut finishing: Option<(oneshot::Sender<Result<(), String>>, bool)> = None;

    loop {
        // Left alone where nothing changed: a timer that is set anew for every lookup costs more than the lookup.
        let tick_due = clock.instant(tick_at);
        if hub_tick.deadline() != tick_due {
            hub_tick.as_mut().reset(tick_due);
        }
        tokio::select! {
            // Inputs first: they are few, and a flood of acknowledgements must not hold back the answers of the store.
            biased;
            input = inputs.recv() => {
                let Some(input) = input else { break };
                match input {
                    CoreInput::Add(start) => add_shard(&state, &mut drivers, *start),
                    CoreInput::Written(written) => {
                        let outcome = written.failed.as_ref().map_or(Ok(()), |(_, text)| Err(text.clone()));
                        state.borrow_mut().written(written);
                        match finishing.take() {
                            None => {}
                            Some((done, true)) => {
                                done.send(outcome).ok();
                                break;
                            }
                            // The one that was under way when we were told to finish is not the last one.
                            Some((done, false)) => {
                                let mut state = state.borrow_mut();
                                // Whatever was wrong a moment ago: there is no later.
                                state.retry_at = None;
                                state.checkpoint();
                                if !state.writing {
                                    done.send(outcome).ok();
                                    break;
                                }
                                finishing = Some((done, true));
                            }
                        }
                    }
                    CoreInput::Loaded { entry, bytes } => {
                        let mut state = state.borrow_mut();
                        let state = &mut *state;
                        let now = clock.now();
                        let body = bytes.and_then(|bytes| trunkline_delivery::decode_entry(&bytes, now, clock.unix_us()).ok());
                        state.side.loaded(entry, body, now, &mut state.up);
                        state.do_what_came_up();
                        tick_at = now;
                    }
                    CoreInput::Control { shard, control, answer } => {
                        let handed = state.borrow().shards.iter().find(|s| s.id == shard && s.running).is_some_and(|s| s.control.try_send(control).is_ok());
                        answer.send(handed).ok();
                    }
                    CoreInput::Report(answer) => {
                        let queued = commands.len();
                        answer.send(state.borrow().report(queued)).ok();
                    }
                    CoreInput::CloseSockets(done) => {
                        let controls: Vec<_> = state.borrow().shards.iter().filter(|s| s.running).map(|s| s.control.clone()).collect();
                        for control in controls {
                            // A driver that has ended has closed its socket.
                            control.send(ShardControl::Stop).await.ok();
                        }
                        while drivers.join_next().await.is_some() {}
                        state.borrow_mut().closing = true;
                        done.send(()).ok();
                    }
                    CoreInput::Finish(done) => {
                        let mut state = state.borrow_mut();
                        let under_way = state.writing;
                        state.retry_at = None;
                        state.finishing = true;
                        state.checkpoint();
                        if !state.writing {
                            done.send(Ok(())).ok();
                            break;
                        }
                        finishing = Some((done, !under_way));
                    }
                }
            }
            command = commands.recv() => {
                let Some(command) = command else { break };
                let mut state = state.borrow_mut();
                let state = &mut *state;
                let now = clock.now();
                state.side.handle(command, now, &mut state.up);
                for _ in 1..COMMANDS_AT_ONCE {
                    let Ok(command) = commands.try_recv() else { break };
                    state.side.handle(command, now, &mut state.up);
                }
                state.do_what_came_up();
                tick_at = now;
            }
            look = looks.recv() => {
                // The node, which holds the other end, outlives the core.
                let Some(look) = look else { break };
                let mut state = state.borrow_mut();
                // Events go first.
                state.flush();
                look(&mut *state);
            }
            () = wake.notified() => state.borrow_mut().checkpoint(),
            _ = every.tick() => {
                let mut state = state.borrow_mut();
                let now_ms = clock.now().as_millis();
                state.shards.iter_mut().for_each(|shard| shard.cache.tick(now_ms));
                for (entry, location) in std::mem::take(&mut state.reads_waiting) {
                    state.read(entry, location);
                }
                state.share_limits(0);
                state.forget_retired();
                state.checkpoint();
            }
            () = &mut hub_tick => {
                let mut state = state.borrow_mut();
                let state = &mut *state;
                let now = clock.now();
                // Without anything due, once a second is enough to notice the age limit of what comes meanwhile.
                tick_at = state.side.tick(now, &mut state.up).unwrap_or(now + Duration::from_secs(1)).min(now + Duration::from_secs(1));
                state.do_what_came_up();
            }
            Some(_) = drivers.join_next(), if !drivers.is_empty() => {}
        }
        // Looks wait behind whatever came up, and never for more than one turn: a flood of acknowledgements does not starve them.
        let (began, mut looked) = (clock.now(), 0);
        while looked < LOOKS_AT_ONCE
            && let Ok(look) = looks.try_recv()
        {
            look(&mut *state.borrow_mut());
            looked += 1;
            if clock.now().since(began) >= LOOKS_FOR {
                looked = LOOKS_AT_ONCE;
            }
        }
        if looked == LOOKS_AT_ONCE {
            // Nor does a flood of them keep the sockets from being read.
            tokio::task::yield_now().await;
        }
    }
}

fn add_shard(state: &Rc<RefCell<CoreState>>, drivers: &mut tokio::task::JoinSet<()>, start: ShardStart) {
    let ShardStart { shard, loaded, keeps, driver } = start;
    let (control, control_rx) = mpsc::channel(CONTROLS_QUEUED);
    let resume = loaded.resume.clone();
    let retired = driver.is_none();
    let slot = {
        let mut state = state.borrow_mut();
        if state.closing {
            // The process is stopping: a shard that comes up now would identify for nothing.
            return;
        }
        state.take_shard(shard, loaded, keeps, control, retired)
    };
    let (Some(slot), Some(driver)) = (slot, driver) else { return };
    let Driver { config, tools, members, ended } = driver;
    if let Some(shard) = state.borrow_mut().shards.get_mut(slot) {
        shard.members = Some(members);
    }
    let mut handler = Handler { state: state.clone(), slot };
    let state = state.clone();
    drivers.spawn_local(async move {
        let end = run_shard(config, resume, tools, control_rx, &mut handler).await;
        if let Some(shard) = state.borrow_mut().shards.get_mut(slot) {
            shard.running = false;
        }
        // Nobody listens any more when the process is stopping.
        ended.send(end).ok();
    });
}
