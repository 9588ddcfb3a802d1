//! One shard's event log: entries at rising positions, held until every group that wants them has let go.
//!
//! Entries lie in chunks of 64, and a chunk goes as soon as its last entry goes, so that one stuck entry pins 7 KiB
//! and not everything that came after it. Positions are never used again; the log never decides who gets what.
//!
//! Invariant: an entry is in the log exactly while some bit of `wants` is set.

use std::collections::{BTreeMap, VecDeque};

use trunkline_discord::{ShardId, Time};

use crate::positions::PositionSet;
use crate::types::{Body, Location};

const CHUNK: usize = 64;

/// What an entry costs beside its body: its place in a chunk and its bits in the groups' sets, rounded up.
pub(crate) const HEADER_BYTES: u32 = size_of::<Option<Entry>>() as u32 + 8;

const _: () = assert!(HEADER_BYTES <= 128, "headers of entries on disk stay in memory; keep them small");

/// The small part of an entry, in memory as long as anybody wants it.
pub(crate) struct Entry {
    /// `None` while the body lies on disk only.
    pub(crate) body: Option<Body>,
    /// Where the body lies on disk, once it does.
    pub(crate) location: Option<Location>,
    /// By what it is routed and kept in order.
    pub(crate) key: u64,
    /// Discord's sequence; 0 for a gap entry.
    pub(crate) s: u64,
    /// The session it came in.
    pub(crate) session: u64,
    /// Groups that have not acknowledged it, by bit.
    pub(crate) wants: u64,
    /// Groups of which a worker has it unacknowledged.
    pub(crate) flying: u64,
    /// Body and header.
    pub(crate) bytes: u32,
    /// When it was received, in tenths of a second; may be negative after a restart, when it is older than the clock.
    pub(crate) received_ds: i32,
    /// It carries a gap: never evicted, never dropped.
    pub(crate) is_gap: bool,
    /// A load was asked for and not answered.
    pub(crate) loading: bool,
}

/// Tenths of a second: 6 years fit, and no limit needs it finer.
pub(crate) fn ds(time: Time) -> i32 {
    i32::try_from(time.as_millis() / 100).unwrap_or(i32::MAX)
}

struct Chunk {
    live: u32,
    entries: Box<[Option<Entry>]>,
}

impl Chunk {
    fn new() -> Chunk {
        Chunk { live: 0, entries: (0..CHUNK).map(|_| None).collect() }
    }
}

/// The log of one shard.
pub(crate) struct Log {
    pub(crate) shard: ShardId,
    /// The key by which this shard's gap entries are routed.
    pub(crate) gap_key: u64,
    chunks: VecDeque<Option<Chunk>>,
    first_chunk: u64,
    next: u64,
    live: u64,
    spare: Option<Chunk>,
    /// Entries whose body lies in memory and on disk.
    pub(crate) evictable: PositionSet,
    /// When the last event was received, by the wall clock of the life that it came in; 0 before the first.
    pub(crate) newest_unix_us: u64,
    /// Every living entry below is on disk.
    stored_below: u64,
    /// End of what the last checkpoint listed.
    listed_below: u64,
    /// Entries in the log by the segment that they lie in, from the first location heard of until the segment is given
    /// free.
    segments: BTreeMap<u64, u32>,
    /// Segments that the last checkpoint gave free.
    listed_segments: Vec<u64>,
}

impl Log {
    pub(crate) fn new(shard: ShardId, next: u64) -> Log {
        let mut name = [0; 16];
        name[..8].copy_from_slice(&shard.bot.to_le_bytes());
        name[8..12].copy_from_slice(&shard.index.to_le_bytes());
        name[12..].copy_from_slice(&shard.count.to_le_bytes());
        Log {
            shard,
            gap_key: xxhash_rust::xxh3::xxh3_64(&name),
            chunks: VecDeque::new(),
            first_chunk: next / CHUNK as u64,
            next,
            live: 0,
            spare: None,
            evictable: PositionSet::default(),
            newest_unix_us: 0,
            stored_below: next,
            listed_below: next,
            segments: BTreeMap::new(),
            listed_segments: Vec::new(),
        }
    }

    /// The position that the next entry gets.
    pub(crate) fn next_position(&self) -> u64 {
        self.next
    }

    /// Entries in the log.
    pub(crate) fn live(&self) -> u64 {
        self.live
    }

    #[inline]
    pub(crate) fn append(&mut self, entry: Entry) -> u64 {
        let position = self.next;
        self.next += 1;
        // Mostly the last chunk has a place for it, and what was there needs no dropping.
        if entry.location.is_none()
            && let Some(index) = self.index(position)
            && let Some(Some(chunk)) = self.chunks.get_mut(index)
            && let Some(place @ None) = chunk.entries.get_mut(position as usize % CHUNK)
        {
            *place = Some(entry);
            chunk.live += 1;
            self.live += 1;
        } else {
            self.place(position, entry);
        }
        position
    }

    /// Puts an entry at its position. Only restoring puts one anywhere but at the end, before anything is appended.
    #[inline(never)]
    pub(crate) fn place(&mut self, position: u64, entry: Entry) {
        let number = position / CHUNK as u64;
        if self.chunks.is_empty() {
            self.first_chunk = number;
        }
        let index = (number - self.first_chunk) as usize;
        while self.chunks.len() <= index {
            self.chunks.push_back(None);
        }
        let spare = &mut self.spare;
        let chunk = self.chunks[index].get_or_insert_with(|| spare.take().unwrap_or_else(Chunk::new));
        let place = &mut chunk.entries[position as usize % CHUNK];
        if place.is_none() {
            chunk.live += 1;
            self.live += 1;
            if let Some(location) = &entry.location {
                *self.segments.entry(location.segment).or_default() += 1;
            }
        }
        *place = Some(entry);
    }

    #[inline]
    fn index(&self, position: u64) -> Option<usize> {
        usize::try_from((position / CHUNK as u64).checked_sub(self.first_chunk)?).ok()
    }

    pub(crate) fn get(&self, position: u64) -> Option<&Entry> {
        let chunk = self.chunks.get(self.index(position)?)?.as_ref()?;
        chunk.entries[position as usize % CHUNK].as_ref()
    }

    pub(crate) fn get_mut(&mut self, position: u64) -> Option<&mut Entry> {
        let index = self.index(position)?;
        let chunk = self.chunks.get_mut(index)?.as_mut()?;
        chunk.entries[position as usize % CHUNK].as_mut()
    }

    /// Lets an entry go that nobody wants any more.
    pub(crate) fn remove(&mut self, position: u64) {
        let Some(index) = self.index(position) else { return };
        let Some(Some(chunk)) = self.chunks.get_mut(index) else {
            return;
        };
        let Some(entry) = chunk.entries[position as usize % CHUNK].take() else {
            return;
        };
        chunk.live -= 1;
        self.live -= 1;
        if let Some(location) = entry.location {
            self.evictable.remove(position);
            if let Some(entries) = self.segments.get_mut(&location.segment) {
                *entries -= 1;
            }
        }
        // The last chunk stays while it is being filled.
        if chunk.live == 0 && (self.first_chunk + index as u64 + 1) * CHUNK as u64 <= self.next {
            self.spare = self.chunks[index].take();
            while let Some(None) = self.chunks.front() {
                self.chunks.pop_front();
                self.first_chunk += 1;
            }
        }
    }

    /// The lowest position that is in the log, or the next one.
    pub(crate) fn base(&self) -> u64 {
        self.walk(0).next().map_or(self.next, |(position, _)| position)
    }

    /// The living entries from a position on, in order.
    pub(crate) fn walk(&self, from: u64) -> impl Iterator<Item = (u64, &Entry)> {
        let first = (from / CHUNK as u64).saturating_sub(self.first_chunk) as usize;
        self.chunks
            .range(first.min(self.chunks.len())..)
            .enumerate()
            .filter_map(move |(nth, chunk)| Some((self.first_chunk + (first + nth) as u64, chunk.as_ref()?)))
            .flat_map(|(number, chunk)| {
                (number * CHUNK as u64..).zip(chunk.entries.iter()).filter_map(|(position, entry)| Some((position, entry.as_ref()?)))
            })
            .skip_while(move |(position, _)| *position < from)
    }

    /// Bodies that are not on disk, lowest first. The same ones come again until [`Log::confirm`].
    pub(crate) fn list_unstored(&mut self) -> Vec<(u64, Body)> {
        let listed = self
            .walk(self.stored_below)
            .filter(|(_, entry)| entry.location.is_none())
            .filter_map(|(position, entry)| Some((position, entry.body.clone()?)))
            .collect();
        self.listed_below = self.next;
        listed
    }

    /// A segment that is on disk, perhaps with nothing in it that anybody wants.
    pub(crate) fn note_segment(&mut self, segment: u64) {
        self.segments.entry(segment).or_default();
    }

    /// Segments in which nobody wants anything any more. The highest is not among them: the store may append to it. The
    /// same ones come again until [`Log::confirm`].
    pub(crate) fn list_empty_segments(&mut self) -> Vec<u64> {
        let Some((&last, _)) = self.segments.last_key_value() else { return Vec::new() };
        let empty = self.segments.range(..last).filter(|(_, entries)| **entries == 0);
        self.listed_segments = empty.map(|(segment, _)| *segment).collect();
        self.listed_segments.clone()
    }

    /// What was listed last lies on disk now, and the segments given free are gone.
    pub(crate) fn confirm(&mut self, locations: &[(u64, Location)]) {
        for segment in std::mem::take(&mut self.listed_segments) {
            self.segments.remove(&segment);
        }
        for (position, location) in locations {
            let Some(entry) = self.get_mut(*position) else {
                self.note_segment(location.segment);
                continue;
            };
            let before = entry.location.replace(*location);
            let evictable = before.is_none() && entry.body.is_some() && !entry.is_gap;
            if evictable {
                self.evictable.insert(*position);
            }
            *self.segments.entry(location.segment).or_default() += 1;
            if let Some(entries) = before.and_then(|before| self.segments.get_mut(&before.segment)) {
                *entries -= 1;
            }
        }
        self.stored_below = self.listed_below;
    }
}
