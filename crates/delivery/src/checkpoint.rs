//! What a log and its groups need to live again: as of one position, per group, exactly what it had not acknowledged.
//!
//! A checkpoint hands out the bodies that are not on disk yet and a record of the groups' sets; the record is small and
//! rewritten every time, the bodies are written once. Groups are known by name in it, because ids and bits may differ
//! in the next life. A group that is new since then starts with nothing; one that is not declared any more is dropped.
//!
//! Never here: files, and the decision when a checkpoint is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trunkline_discord::{Gap, GapCause, Time};

use crate::codec::decode_entry;
use crate::group::{Core, Group};
use crate::log::{Entry, HEADER_BYTES, Log, ds};
use crate::positions::PositionSet;
use crate::stored::{Cursor, DecodeError, put_block, put_varint};
use crate::types::{Body, Location};

/// Version of the log record, its first byte. Version 1 lacked the time of the last event, and is read as if no event had come.
pub const LOG_VERSION: u8 = 2;

/// A difference between two times by the wall clock that is longer than this is not believed.
const JUMP_US: u64 = 365 * 86_400 * 1_000_000;

/// One shard's part of a checkpoint.
#[derive(Clone, Debug)]
pub struct LogCheckpoint {
    /// The position that the next entry gets: everything below is covered.
    pub next_position: u64,
    /// Entries that somebody has not acknowledged and that are not on disk. To be encoded with
    /// [`crate::encode_entry`] and written before or together with the record.
    pub new_entries: Vec<(u64, Body)>,
    /// The groups' progress; opaque, read by [`RestoredLog::decode`].
    pub record: Vec<u8>,
    /// Once this checkpoint is written, entries below this position are needed by nobody.
    pub release_below: u64,
    /// Once this checkpoint is written, nothing in these segments is needed by anybody, rising: one old entry keeps its
    /// own segment and not all that came after it. The segment written last is never among them. Listed until
    /// [`crate::Hub::stored`] says that they are given free, so a checkpoint that names any has to be written.
    pub release_segments: Vec<u64>,
}

/// The record of one log's progress in every group.
pub(crate) fn encode_record(log: &Log, slot: u32, groups: &[Group]) -> Vec<u8> {
    let mut out = vec![LOG_VERSION];
    put_varint(&mut out, log.next_position());
    put_varint(&mut out, log.newest_unix_us);
    put_varint(&mut out, groups.len() as u64);
    for group in groups {
        put_block(&mut out, group.name.as_bytes());
        let share = &group.shares[slot as usize];
        share.pending.encode(&mut out);
        share.sent.encode(&mut out);
    }
    out
}

struct RestoredEntry {
    location: Location,
    body: Option<Body>,
    key: u64,
    s: u64,
    session: u64,
    bytes: u32,
    received_ds: i32,
    is_gap: bool,
}

/// A shard's log as read from a checkpoint: made from the record, filled with its entries, given to
/// [`crate::Hub::add_shard`].
pub struct RestoredLog {
    next_position: u64,
    newest_unix_us: u64,
    groups: Vec<(Arc<str>, PositionSet, PositionSet)>,
    entries: BTreeMap<u64, RestoredEntry>,
    /// Segments that something was pushed from, needed or not.
    segments: BTreeSet<u64>,
    now: Time,
    now_unix_us: u64,
    memory_left: u64,
}

impl RestoredLog {
    /// Reads the record. `now` and `now_unix_us` are one moment on both clocks. Of the entries pushed later, bodies up
    /// to `memory_bytes` are kept; others are fetched when their time comes. The hub keeps of them what its groups'
    /// memory limits have room for, so that shards restored with too much between them cost nobody an event.
    ///
    /// # Errors
    /// [`DecodeError`] when the record is damaged or of an unknown version; then the checkpoint is of no use.
    pub fn decode(record: &[u8], now: Time, now_unix_us: u64, memory_bytes: u64) -> Result<RestoredLog, DecodeError> {
        let mut cursor = Cursor::new(record);
        let version = cursor.u8("version")?;
        if !(1..=LOG_VERSION).contains(&version) {
            return Err(cursor.bad("log record of an unknown version"));
        }
        let next_position = cursor.varint("next position")?;
        let newest_unix_us = if version == 1 { 0 } else { cursor.varint("time of the last event")? };
        let count = cursor.varint("number of groups")?;
        let mut groups = Vec::new();
        for _ in 0..count {
            let name: Arc<str> = cursor.text("group name")?.into();
            let pending = PositionSet::decode(&mut cursor)?;
            let sent = PositionSet::decode(&mut cursor)?;
            let last = pending.last_below(u64::MAX).max(sent.last_below(u64::MAX));
            if last.is_some_and(|last| last >= next_position) {
                return Err(cursor.bad("position beyond the end of the log"));
            }
            groups.push((name, pending, sent));
        }
        cursor.end()?;
        Ok(RestoredLog {
            next_position,
            newest_unix_us,
            groups,
            entries: BTreeMap::new(),
            segments: BTreeSet::new(),
            now,
            now_unix_us,
            memory_left: memory_bytes,
        })
    }

    /// Adds an entry as the store has it; false when no group needs it. Of two with one position the later counts.
    ///
    /// # Errors
    /// [`DecodeError`] when the entry is damaged. The caller may go on: an entry that a group needs and that never came
    /// is told to it as a gap (cause `StoreFailed`).
    pub fn push(&mut self, position: u64, location: Location, bytes: &[u8]) -> Result<bool, DecodeError> {
        self.segments.insert(location.segment);
        if !self.groups.iter().any(|(_, pending, _)| pending.contains(position)) {
            return Ok(false);
        }
        let body = decode_entry(bytes, self.now, self.now_unix_us)?;
        let held = body.bytes_held() as u64 + u64::from(HEADER_BYTES);
        let (key, s, session, unix_us, is_gap) = match &body {
            Body::Event(event) => (event.routing.key(), event.s, event.session, event.received_at_unix_us, false),
            Body::Gap(gap) => (0, 0, gap.session, gap.at_unix_us, true),
        };
        // A gap is small, and its body is looked at when it grows old: it always stays.
        let keep = is_gap || held <= self.memory_left;
        if keep {
            self.memory_left = self.memory_left.saturating_sub(held);
        }
        let age_ds = self.age_us(unix_us) / 100_000;
        let entry = RestoredEntry {
            location,
            body: keep.then_some(body),
            key,
            s,
            session,
            bytes: u32::try_from(held).unwrap_or(u32::MAX),
            received_ds: ds(self.now).saturating_sub(i32::try_from(age_ds).unwrap_or(i32::MAX)),
            is_gap,
        };
        self.entries.insert(position, entry);
        Ok(true)
    }

    /// The age of what was received at `unix_us`: what it had when the log's last event came, and the time since. Both are
    /// differences of wall clock readings, and the wall clock may have been set meanwhile (a machine without a battery
    /// starts years back): one that is negative or longer than a year counts as 0, so that such a jump makes nothing too
    /// old. A smaller jump ahead cannot be told from having been down for so long, and is believed.
    fn age_us(&self, unix_us: u64) -> u64 {
        let between = |from: u64, to: u64| Some(to.saturating_sub(from)).filter(|us| *us <= JUMP_US).unwrap_or(0);
        match self.newest_unix_us {
            // Not known, or no event has come and what there is are gaps.
            0 => between(unix_us, self.now_unix_us),
            newest => between(unix_us, newest) + between(newest.max(unix_us), self.now_unix_us),
        }
    }

    /// One moment on both clocks.
    pub(crate) fn moment(&self) -> (Time, u64) {
        (self.now, self.now_unix_us)
    }

    /// The position that the next entry will get.
    pub fn next_position(&self) -> u64 {
        self.next_position
    }

    /// Entries that were pushed and are needed.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Unacknowledged entries per group of the record.
    pub fn pending(&self) -> impl Iterator<Item = (&str, u64)> {
        self.groups.iter().map(|(name, pending, _)| (&**name, pending.len()))
    }

    pub(crate) fn fill(self, log: &mut Log, groups: &mut [Group], slot: u32) -> Vec<Missing> {
        log.newest_unix_us = self.newest_unix_us;
        let mut wanted: Vec<(usize, PositionSet, PositionSet)> = Vec::new();
        for (name, pending, sent) in self.groups {
            if let Some(at) = groups.iter().position(|group| group.name == name) {
                wanted.push((at, pending, sent));
            }
        }
        let missing = wanted.iter().flat_map(|(at, pending, _)| find_missing(*at, pending, &self.entries)).collect();
        self.segments.into_iter().for_each(|segment| log.note_segment(segment));
        for (position, mut entry) in self.entries {
            let bytes = u64::from(entry.bytes);
            let has_room = |(at, pending, _): &(usize, PositionSet, PositionSet)| {
                !pending.contains(position) || groups[*at].memory + bytes <= groups[*at].limits.memory_bytes
            };
            if !entry.is_gap && !wanted.iter().all(has_room) {
                entry.body = None;
            }
            let mut wants = 0;
            for (at, pending, sent) in &wanted {
                if !pending.contains(position) {
                    continue;
                }
                let group = &mut groups[*at];
                wants |= group.bit;
                let share = &mut group.shares[slot as usize];
                share.pending.insert(position);
                if sent.contains(position) {
                    share.sent.insert(position);
                }
                if entry.body.is_some() {
                    group.memory += bytes
                } else {
                    group.disk += bytes
                }
                group.back_to(slot, position);
            }
            if wants == 0 {
                continue;
            }
            if entry.body.is_some() && !entry.is_gap {
                log.evictable.insert(position);
            }
            let entry = Entry {
                body: entry.body,
                location: Some(entry.location),
                key: if entry.is_gap { log.gap_key } else { entry.key },
                s: entry.s,
                session: entry.session,
                wants,
                flying: 0,
                bytes: entry.bytes,
                received_ds: entry.received_ds,
                is_gap: entry.is_gap,
                loading: false,
            };
            log.place(position, entry);
        }
        missing
    }
}

/// Entries that a group had not acknowledged and that the store does not have.
pub(crate) struct Missing {
    pub(crate) group: usize,
    session: u64,
    first_s: Option<u64>,
    last_s: Option<u64>,
    events: u64,
}

/// Every stretch of positions that is pending without an entry, bounded by its neighbours' sequence numbers.
fn find_missing(group: usize, pending: &PositionSet, entries: &BTreeMap<u64, RestoredEntry>) -> Vec<Missing> {
    let mut runs: Vec<(u64, u64, u64)> = Vec::new();
    let mut joined = false;
    for position in pending.iter() {
        if entries.contains_key(&position) {
            joined = false;
            continue;
        }
        match runs.last_mut() {
            Some((_, last, count)) if joined => (*last, *count) = (position, *count + 1),
            _ => runs.push((position, position, 1)),
        }
        joined = true;
    }
    let event = |(_, entry): (&u64, &RestoredEntry)| (!entry.is_gap).then_some((entry.session, entry.s));
    let describe = |(first, last, events)| {
        let before = entries.range(..first).rev().find_map(event);
        let after = entries.range(last..).find_map(event);
        let session = before.or(after).map_or(0, |(session, _)| session);
        Missing {
            group,
            session,
            first_s: before.map(|(_, s)| s.saturating_add(1)),
            last_s: after.filter(|(of, _)| *of == session).map(|(_, s)| s.saturating_sub(1)),
            events,
        }
    };
    runs.into_iter().map(describe).collect()
}

impl Missing {
    /// Tells the group.
    pub(crate) fn tell(self, slot: u32, groups: &mut [Group], core: &mut Core<'_>) {
        let Some(shard) = core.log(slot).map(|log| log.shard) else { return };
        let group = &mut groups[self.group];
        group.counts.gap(GapCause::StoreFailed, Some(self.events));
        let gap = Gap {
            shard,
            session: self.session,
            first_s: self.first_s,
            last_s: self.last_s,
            cause: GapCause::StoreFailed,
            events: Some(self.events),
            at_unix_us: core.unix_us,
        };
        core.out.push(crate::Action::Fell { group: group.id, gap: gap.clone() });
        group.append_gap(slot, Arc::new(gap), core);
    }
}
