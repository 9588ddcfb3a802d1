//! Which event bodies of a shard lie where: segments of rows, as the embedded store has segments of files.
//!
//! A segment is what is released as one. Nothing is appended to one that an earlier process, or an earlier connection, wrote to: a commit
//! whose answer was lost may have happened, and its places are not used again.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Location, frame};

/// Bytes that a row takes beside its body, about; the same as in the embedded store, so that both end segments alike.
const ROW_BYTES: u64 = frame::HEADER_BYTES as u64;

/// What is known of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) bytes: u64,
    pub(crate) count: u64,
    pub(crate) last: u64,
}

/// A shard as its rows have it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shard {
    pub(crate) epoch: u64,
    pub(crate) last_position: u64,
    pub(crate) floor: u64,
    pub(crate) next_segment: u64,
    pub(crate) index: BTreeMap<u64, Segment>,
    tail: Option<u64>,
}

/// Where a commit's entries go, once it has happened.
#[derive(Debug, Default)]
pub(crate) struct Appended {
    pub(crate) locations: Vec<(u64, Location)>,
    pub(crate) next_segment: u64,
    index: BTreeMap<u64, Segment>,
}

impl Shard {
    pub(crate) fn append(&self, entries: &[(u64, Bytes)], segment_bytes: u64) -> Appended {
        let mut appended = Appended { next_segment: self.next_segment, ..Appended::default() };
        let mut open = self.tail.and_then(|number| Some((number, *self.index.get(&number)?)));
        for (position, body) in entries {
            let (number, mut segment) = match open.take() {
                Some((number, segment)) if segment.bytes < segment_bytes => (number, segment),
                _ => {
                    let number = appended.next_segment;
                    appended.next_segment += 1;
                    (number, Segment { bytes: 0, count: 0, last: 0 })
                }
            };
            let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
            appended.locations.push((*position, Location { segment: number, offset: segment.bytes, len }));
            segment.bytes += u64::from(len) + ROW_BYTES;
            segment.count += 1;
            segment.last = segment.last.max(*position);
            appended.index.insert(number, segment);
            open = Some((number, segment));
        }
        appended
    }

    /// Segments that a commit lets go: those below its floor, and those that it names and that nothing is appended to now or later.
    pub(crate) fn unneeded(&self, floor: u64, named: &[u64], appended: &Appended) -> Vec<u64> {
        let goes = |number: u64, segment: &Segment| {
            !appended.index.contains_key(&number) && (segment.last < floor || named.contains(&number) && self.tail != Some(number))
        };
        self.index.iter().filter(|(number, segment)| goes(**number, segment)).map(|(number, _)| *number).collect()
    }

    /// The commit has happened.
    pub(crate) fn take(&mut self, epoch: u64, floor: u64, appended: Appended, gone: &[u64]) -> Vec<(u64, Location)> {
        self.epoch = self.epoch.max(epoch);
        self.floor = self.floor.max(floor);
        self.next_segment = appended.next_segment;
        if let Some((number, _)) = appended.index.last_key_value() {
            self.tail = Some(*number);
        }
        self.index.extend(appended.index);
        for number in gone {
            self.index.remove(number);
            if self.tail == Some(*number) {
                self.tail = None;
            }
        }
        if let Some((position, _)) = appended.locations.last() {
            self.last_position = self.last_position.max(*position);
        }
        appended.locations
    }
}
