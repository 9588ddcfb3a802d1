//! The store's threads: checkpoints are written and bodies are read here, off every core's path.
//!
//! A core has at most one checkpoint under way; its next one waits and merges, so a slow store makes checkpoints older, never queues
//! longer. Reads have a thread of their own, so that a lagging group does not wait behind a checkpoint.
//!
//! A shard's part of a checkpoint is one unit and is written in one commit. A core's checkpoint is not: its shards stand at positions of
//! their own, so a large one is written as several commits, each of whole shards, and may succeed for the first of them only.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use trunkline_delivery::{Body, EntryId, Location, Slot};
use trunkline_store::{Commit, ShardCommit, ShardKey, Store, StoreError};

use super::core::CoreInput;
use super::record::Record;
use super::unsaved::{Rows, bytes_of, merged};

/// A commit takes shards until it has this many bytes: far below the largest that a store takes, and little to encode at once.
const COMMIT_BYTES: usize = 64 << 20;

/// Reads that may wait; the hub asks for few at a time per group.
const READS_QUEUED: usize = 4_096;

/// One shard's part of a checkpoint, encoded on the store's thread.
#[derive(Debug)]
pub struct ShardPart {
    /// Its place in the core's hub.
    pub slot: Slot,
    /// Its name in the store.
    pub key: ShardKey,
    /// The owner's epoch.
    pub epoch: u64,
    /// Session and progress.
    pub record: Record,
    /// Cache rows that changed, the oldest first. One list once the store's thread has had them.
    pub cache: Vec<Rows>,
    /// About what they take in memory, where the checkpoint failed.
    pub cache_bytes: u64,
    /// Drop all cache rows first.
    pub clear_cache: bool,
    /// Bodies not yet on disk.
    pub entries: Vec<(u64, Body)>,
    /// Segments wholly below may go.
    pub release_below: u64,
    /// Segments with nothing in them that anybody wants.
    pub release_segments: Vec<u64>,
}

/// Where bodies lie now: by slot, position and place.
pub type Located = Vec<(Slot, Vec<(u64, Location)>)>;

impl ShardPart {
    /// About what it takes in a commit.
    fn bytes(&self) -> usize {
        let rows: usize = self.cache.iter().flatten().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len)).sum();
        let bodies: usize = self.entries.iter().map(|(_, body)| body.bytes_held()).sum();
        rows + bodies + self.record.log.len()
    }

    /// One list of rows.
    fn merge(&mut self) {
        self.cache = vec![merged(std::mem::take(&mut self.cache))];
    }

    /// What the core does not need any more goes here, so that it need not free it.
    fn answer(&mut self, written: bool) {
        self.entries = Vec::new();
        match written {
            true => self.cache = Vec::new(),
            false => self.cache_bytes = self.cache.iter().map(bytes_of).sum(),
        }
    }
}

/// What a checkpoint came to; goes back to the core.
#[derive(Debug)]
pub struct Written {
    /// What was to be written; cache rows are kept so that a failed commit can be merged into the next one.
    pub parts: Vec<ShardPart>,
    /// Where bodies of the written parts lie now, by slot.
    pub located: Located,
    /// From which of the parts on nothing was written, and why.
    pub failed: Option<(usize, String)>,
}

enum Job {
    Commit { parts: Vec<ShardPart>, answer: mpsc::UnboundedSender<CoreInput> },
    Forget { key: ShardKey },
    Discard { rows: Vec<Vec<Rows>> },
    Stop,
}

/// A body to be read; `None` in the channel ends the thread.
struct Read {
    key: ShardKey,
    entry: EntryId,
    location: Location,
    answer: mpsc::UnboundedSender<CoreInput>,
}

/// Counters of the store's threads.
#[derive(Debug, Default)]
pub struct KeeperStats {
    /// Checkpoints written.
    pub commits: AtomicU64,
    /// Checkpoints that failed.
    pub failures: AtomicU64,
    /// Bodies written.
    pub entries: AtomicU64,
    /// Bytes of bodies written.
    pub entry_bytes: AtomicU64,
    /// Cache rows written.
    pub rows: AtomicU64,
    /// Microseconds spent writing.
    pub busy_us: AtomicU64,
    /// Whether the last checkpoint failed.
    pub failing: AtomicBool,
    /// Whether another owner's epoch was found above ours.
    pub fenced: AtomicBool,
}

/// A handle on the store's threads; cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    jobs: mpsc::UnboundedSender<Job>,
    reads: mpsc::Sender<Option<Read>>,
    /// The store itself, for loading at start.
    pub store: Arc<Store>,
    /// Counters.
    pub stats: Arc<KeeperStats>,
}

/// The threads, to wait for at the end.
pub struct KeeperThreads(Vec<JoinHandle<()>>);

impl KeeperThreads {
    /// Waits until everything handed over is written and synced. Call after [`Keeper::stop`].
    pub fn join(self) {
        for thread in self.0 {
            // A panicked store thread has been told on standard error already.
            drop(thread.join());
        }
    }
}

impl Keeper {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(store: Arc<Store>) -> std::io::Result<(Self, KeeperThreads)> {
        // Unbounded in type only: a core sends its next commit after the answer to its last, a bot one ledger at a time.
        let (jobs, job_rx) = mpsc::unbounded_channel();
        let (reads, read_rx) = mpsc::channel(READS_QUEUED);
        let stats = Arc::new(KeeperStats::default());
        let writer = std::thread::Builder::new().name("store".into()).spawn({
            let (store, stats) = (store.clone(), stats.clone());
            move || write(&store, &stats, job_rx)
        })?;
        let reader = std::thread::Builder::new().name("store-read".into()).spawn({
            let store = store.clone();
            move || read(&store, read_rx)
        })?;
        Ok((Self { jobs, reads, store, stats }, KeeperThreads(vec![writer, reader])))
    }

    /// Hands a checkpoint over; without a part in it, it only tries whether the store takes something. The answer comes as [`CoreInput::Written`].
    pub fn commit(&self, parts: Vec<ShardPart>, answer: mpsc::UnboundedSender<CoreInput>) {
        // A stopped keeper answers nobody: the process is ending.
        self.jobs.send(Job::Commit { parts, answer }).ok();
    }

    /// Drops everything the store has of a shard (but its epoch): nobody waits for any of it any more.
    pub fn forget(&self, key: ShardKey) {
        // A stopped keeper leaves it for the next start.
        self.jobs.send(Job::Forget { key }).ok();
    }

    /// Takes rows that nobody needs any more, to free them.
    pub fn discard(&self, rows: Vec<Vec<Rows>>) {
        // Without the thread they are freed here.
        self.jobs.send(Job::Discard { rows }).ok();
    }

    /// Asks for a body; the answer comes as [`CoreInput::Loaded`]. False when too many reads wait: try again later.
    #[must_use]
    pub fn read(&self, key: ShardKey, entry: EntryId, location: Location, answer: mpsc::UnboundedSender<CoreInput>) -> bool {
        self.reads.try_send(Some(Read { key, entry, location, answer })).is_ok()
    }

    /// Lets the threads end after what was handed over. Blocks while reads are queued.
    pub fn stop(self) {
        // Already stopped is as good.
        self.jobs.send(Job::Stop).ok();
        self.reads.blocking_send(None).ok();
    }
}

/// The failure that was told last.
struct Told {
    kind: std::mem::Discriminant<StoreError>,
    at: Instant,
    /// When the first checkpoint of the stretch failed.
    since: Instant,
}

fn write(store: &Store, stats: &KeeperStats, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let mut told: Option<Told> = None;
    // Shards whose last checkpoint failed: while there is one, that others are written (a lock may be on one table) heals nothing.
    let mut failing: HashSet<ShardKey> = HashSet::new();
    while let Some(job) = jobs.blocking_recv() {
        match job {
            Job::Commit { mut parts, answer } => {
                let began = Instant::now();
                parts.iter_mut().for_each(ShardPart::merge);
                let (located, failed) = match parts.is_empty() {
                    true => (Located::new(), store.try_write().err().map(|error| (0, error))),
                    false => commit_all(&parts, COMMIT_BYTES, |parts| commit(store, stats, parts)),
                };
                stats.busy_us.fetch_add(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
                let written = failed.as_ref().map_or(parts.len(), |(from, _)| *from);
                note_written(&mut failing, parts.iter().map(|part| part.key), written);
                let failed = match failed {
                    None => {
                        stats.commits.fetch_add(u64::from(!parts.is_empty()), Ordering::Relaxed);
                        if failing.is_empty() {
                            if let Some(told) = told.take() {
                                tracing::info!("the store takes checkpoints again, after {:.1} s", told.since.elapsed().as_secs_f64());
                            }
                            stats.failing.store(false, Ordering::Relaxed);
                        }
                        None
                    }
                    Some((from, error)) => {
                        stats.failures.fetch_add(1, Ordering::Relaxed);
                        stats.failing.store(true, Ordering::Relaxed);
                        if matches!(error, StoreError::Fenced { .. }) {
                            stats.fenced.store(true, Ordering::Relaxed);
                        }
                        let text = error.to_string();
                        let kind = std::mem::discriminant(&error);
                        // Said once a minute, not once a checkpoint; the words of a server that goes down change from one to the next.
                        if told.as_ref().is_none_or(|told| told.kind != kind || told.at.elapsed() > Duration::from_secs(60)) {
                            tracing::error!("checkpoint not written, events go on: {text}");
                            let since = told.map_or(began, |told| told.since);
                            told = Some(Told { kind, at: Instant::now(), since });
                        }
                        Some((from, text))
                    }
                };
                parts.iter_mut().enumerate().for_each(|(nth, part)| part.answer(nth < written));
                // A core that is gone needs no answer.
                answer.send(CoreInput::Written(Written { parts, located, failed })).ok();
            }
            Job::Forget { key } => match forgotten(store, &mut failing, key) {
                Ok(()) => {
                    tracing::info!(bot = %key.bot, shard = %format_args!("{}/{}", key.index, key.count), "all events of the old shard count are acknowledged; it is forgotten")
                }
                Err(error) => tracing::warn!("what is left of an old shard count stays in the store: {error}"),
            },
            Job::Discard { rows } => drop(rows),
            Job::Stop => break,
        }
    }
    if let Err(error) = store.sync() {
        tracing::error!("the store could not be synced to disk at the end: {error}");
    }
}

/// Drops a shard. It is in no checkpoint any more, whatever comes of this.
fn forgotten(store: &Store, failing: &mut HashSet<ShardKey>, key: ShardKey) -> Result<(), StoreError> {
    failing.remove(&key);
    store.forget_shard(key)
}

/// Of the shards of a commit the first ones were written, and the others were not.
fn note_written(failing: &mut HashSet<ShardKey>, shards: impl Iterator<Item = ShardKey>, written: usize) {
    for (nth, shard) in shards.enumerate() {
        if nth < written {
            failing.remove(&shard);
        } else {
            failing.insert(shard);
        }
    }
}

/// Writes the parts in their order, as many at a time as `bytes_max` allows and always at least one. Ends at the first commit that
/// fails, and answers from which part on nothing was written.
fn commit_all<E>(
    parts: &[ShardPart],
    bytes_max: usize,
    mut commit: impl FnMut(&[ShardPart]) -> Result<Located, E>,
) -> (Located, Option<(usize, E)>) {
    let mut located = Located::new();
    let mut from = 0;
    while from < parts.len() {
        let mut bytes = parts[from].bytes();
        let mut to = from + 1;
        while to < parts.len() && bytes + parts[to].bytes() <= bytes_max {
            bytes += parts[to].bytes();
            to += 1;
        }
        match commit(&parts[from..to]) {
            Ok(more) => located.extend(more),
            Err(error) => return (located, Some((from, error))),
        }
        from = to;
    }
    (located, None)
}

fn commit(store: &Store, stats: &KeeperStats, parts: &[ShardPart]) -> Result<Located, StoreError> {
    let mut shards = Vec::with_capacity(parts.len());
    for part in parts {
        let mut entries = Vec::with_capacity(part.entries.len());
        for (position, body) in &part.entries {
            let mut bytes = Vec::with_capacity(body.bytes_held() + 64);
            trunkline_delivery::encode_entry(body, &mut bytes);
            // A message's state before an edit is counted with the room that writing it may take.
            bytes.shrink_to_fit();
            stats.entry_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            entries.push((*position, Bytes::from(bytes)));
        }
        stats.entries.fetch_add(entries.len() as u64, Ordering::Relaxed);
        let cache: Rows = part.cache.iter().flatten().cloned().collect();
        stats.rows.fetch_add(cache.len() as u64, Ordering::Relaxed);
        shards.push(ShardCommit {
            shard: part.key,
            epoch: part.epoch,
            record: part.record.encode(),
            cache,
            clear_cache: part.clear_cache,
            entries,
            release_below: part.release_below,
            release_segments: part.release_segments.clone(),
        });
    }
    let located = store.commit(Commit { shards })?;
    Ok(located
        .into_iter()
        .filter_map(|(key, locations)| {
            let slot = parts.iter().find(|part| part.key == key)?.slot;
            Some((slot, locations.into_iter().map(|(position, at)| (position, location(at))).collect()))
        })
        .collect())
}

/// The store's location as delivery knows it.
#[must_use]
pub fn location(at: trunkline_store::Location) -> Location {
    Location { segment: at.segment, offset: at.offset, len: at.len }
}

fn read(store: &Store, mut reads: mpsc::Receiver<Option<Read>>) {
    while let Some(Some(Read { key, entry, location, answer })) = reads.blocking_recv() {
        let at = trunkline_store::Location { segment: location.segment, offset: location.offset, len: location.len };
        let bytes = match store.read_entry(key, at) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                tracing::error!(
                    bot = %key.bot,
                    shard = %format_args!("{}/{}", key.index, key.count),
                    position = entry.position,
                    "an event on disk cannot be read, it becomes a gap: {error}"
                );
                None
            }
        };
        // A core that is gone needs no answer.
        answer.send(CoreInput::Loaded { entry, bytes }).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(index: u32, bytes: usize) -> ShardPart {
        ShardPart {
            slot: Slot(index),
            key: ShardKey { bot: 1, index, count: 8 },
            epoch: 1,
            record: Record { ordinal: 1, kinds: trunkline_cache::Kinds::ALL, resume: None, log: Vec::new() },
            cache: vec![vec![(vec![7], Some(Bytes::from(vec![0; bytes - 1])))]],
            cache_bytes: 0,
            clear_cache: false,
            entries: Vec::new(),
            release_below: 0,
            release_segments: Vec::new(),
        }
    }

    #[test]
    fn a_shard_that_is_written_heals_no_other_one() {
        let key = |index| part(index, 1).key;
        let mut failing = HashSet::new();
        note_written(&mut failing, [key(0), key(1), key(2)].into_iter(), 1);
        assert_eq!(failing, HashSet::from([key(1), key(2)]));
        note_written(&mut failing, [key(3), key(4)].into_iter(), 2);
        assert_eq!(failing.len(), 2, "another core's were written");
        note_written(&mut failing, [key(1), key(2)].into_iter(), 2);
        assert!(failing.is_empty());
    }

    fn sizes(parts: &[ShardPart], fails_at: usize) -> (Vec<Vec<u32>>, Located, Option<(usize, usize)>) {
        let mut commits = Vec::new();
        let (located, failed) = commit_all(parts, 100, |parts| {
            commits.push(parts.iter().map(|part| part.key.index).collect());
            if commits.len() > fails_at { Err(commits.len()) } else { Ok(parts.iter().map(|part| (part.slot, Vec::new())).collect()) }
        });
        (commits, located, failed)
    }

    #[test]
    fn a_large_checkpoint_is_split_between_shards_and_never_inside_one() {
        let parts: Vec<_> = (0..).zip([40, 60, 1, 250, 30, 30]).map(|(index, bytes)| part(index, bytes)).collect();
        let (commits, located, failed) = sizes(&parts, usize::MAX);
        assert_eq!(commits, [vec![0, 1], vec![2], vec![3], vec![4, 5]]);
        assert_eq!((located.len(), failed), (6, None));
        assert_eq!(sizes(&[], usize::MAX).0, Vec::<Vec<u32>>::new());
    }

    #[test]
    fn what_was_written_before_a_commit_failed_stays_written() {
        let parts: Vec<_> = (0..5).map(|index| part(index, 50)).collect();
        let (commits, located, failed) = sizes(&parts, 1);
        assert_eq!(commits, [vec![0, 1], vec![2, 3]]);
        assert_eq!((located.len(), failed), (2, Some((2, 2))), "parts 2 and on are for the next checkpoint");
    }

    #[test]
    fn two_shards_beyond_what_one_commit_may_hold_are_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path(), trunkline_store::Options::default()).expect("a store");
        let stats = KeeperStats::default();
        let parts: Vec<_> = (0..3).map(|index| part(index, 40 << 20)).collect();
        let (located, failed) = commit_all(&parts, COMMIT_BYTES, |parts| commit(&store, &stats, parts));
        assert!(failed.is_none());
        assert_eq!((located.len(), stats.rows.load(Ordering::Relaxed)), (3, 3));
        for part in &parts {
            let mut rows = 0;
            store.load_cache(part.key, &mut |_, value| rows += value.len()).expect("readable");
            assert_eq!(rows, (40 << 20) - 1);
        }
    }
}
