//! Event bodies of one shard: append-only files of frames, and the index of them that is committed with the rows.
//!
//! A frame's number is the entry's log position. What the index names is committed; bytes behind it are leftovers of
//! a commit that did not happen, and are written over or cut off. A segment number is never used twice.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::{Location, ShardKey, StoreError, frame};

/// What the index says of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Committed length in bytes.
    pub(crate) end: u64,
    pub(crate) count: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Segment {
    pub(crate) fn encode(&self) -> [u8; 32] {
        let mut out = [0; 32];
        for (place, value) in out.chunks_exact_mut(8).zip([self.end, self.count, self.first, self.last]) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Segment> {
        let bytes: &[u8; 32] = bytes.try_into().ok()?;
        let (numbers, _) = bytes.as_chunks::<8>();
        let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
        Some(Segment { end: numbers.next()?, count: numbers.next()?, first: numbers.next()?, last: numbers.next()? })
    }
}

/// One shard's segments.
#[derive(Debug)]
pub(crate) struct Segments {
    dir: PathBuf,
    pub(crate) index: BTreeMap<u64, Segment>,
    /// Number of the next segment.
    pub(crate) next: u64,
    /// The last segment, open for appending.
    tail: Option<(u64, Arc<File>)>,
    /// Files with bytes that no real sync has covered.
    pub(crate) unsynced: Vec<Arc<File>>,
    /// Released segments whose files wait for a sync: until then a power loss could bring back rows that name them.
    released: Vec<u64>,
}

/// Appended, not committed: what [`Segments::commit`] takes, or [`Segments::abandon`] undoes.
#[derive(Debug, Default)]
pub(crate) struct Appended {
    pub(crate) index: BTreeMap<u64, Segment>,
    pub(crate) next: u64,
    pub(crate) locations: Vec<(u64, Location)>,
    files: Vec<(u64, Arc<File>)>,
    made: Vec<u64>,
}

impl Segments {
    pub(crate) fn new(store: &Path, shard: ShardKey, index: BTreeMap<u64, Segment>, next: u64) -> Segments {
        let dir = store.join("segments").join(format!("{}-{}-{}", shard.bot, shard.index, shard.count));
        let next = index.keys().next_back().map_or(next, |last| next.max(last + 1));
        Segments { dir, index, next, tail: None, unsynced: Vec::new(), released: Vec::new() }
    }

    pub(crate) fn path(&self, segment: u64) -> PathBuf {
        self.dir.join(format!("{segment:016x}.seg"))
    }

    /// Writes entries behind what is committed, one `write` a segment. Undoes itself on an error.
    pub(crate) fn append(&mut self, entries: &[(u64, Bytes)], segment_bytes: u64) -> Result<Appended, StoreError> {
        let mut appended = Appended { next: self.next, ..Appended::default() };
        if let Err(error) = self.append_to(&mut appended, entries, segment_bytes) {
            self.abandon(&appended);
            return Err(error);
        }
        Ok(appended)
    }

    fn append_to(&mut self, appended: &mut Appended, entries: &[(u64, Bytes)], segment_bytes: u64) -> Result<(), StoreError> {
        let mut rest = entries;
        // The last segment is appended to where it is open; after a start a new one begins, so that what an earlier
        // process wrote is never touched again.
        let mut open = self.tail.clone().filter(|(number, _)| self.index.get(number).is_some_and(|tail| tail.end < segment_bytes));
        while let [(first, _), ..] = rest {
            let (number, file) = match open.take() {
                Some(tail) => tail,
                None => {
                    let number = appended.next;
                    appended.next += 1;
                    appended.made.push(number);
                    (number, Arc::new(self.make(number)?))
                }
            };
            appended.files.push((number, file.clone()));
            let mut segment = self.index.get(&number).copied().unwrap_or(Segment { end: 0, count: 0, first: *first, last: *first });
            let room = usize::try_from(segment_bytes.saturating_sub(segment.end)).unwrap_or(usize::MAX);
            let mut buffer = Vec::with_capacity(gathered(rest, room));
            while let [(position, body), after @ ..] = rest {
                if !buffer.is_empty() && buffer.len() >= room {
                    break;
                }
                let offset = segment.end + buffer.len() as u64;
                let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
                frame::append(&mut buffer, *position, body);
                appended.locations.push((*position, Location { segment: number, offset, len }));
                segment.count += 1;
                segment.last = *position;
                rest = after;
            }
            let written = file.write_all_at(&buffer, segment.end);
            written.map_err(|source| StoreError::from_io(&self.path(number), "writing", source))?;
            segment.end += buffer.len() as u64;
            appended.index.insert(number, segment);
        }
        Ok(())
    }

    fn make(&mut self, number: u64) -> Result<File, StoreError> {
        let path = self.path(number);
        let failed = |source| StoreError::from_io(&path, "making", source);
        if !self.dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(failed)?;
        }
        // The directory entry has to reach the disk too.
        self.unsynced.push(Arc::new(File::open(&self.dir).map_err(failed)?));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(failed)
    }

    /// The rows are committed: what was appended counts from now on.
    pub(crate) fn commit(&mut self, appended: Appended) -> Vec<(u64, Location)> {
        self.index.extend(appended.index);
        self.next = appended.next;
        for (_, file) in &appended.files {
            if !self.unsynced.iter().any(|known| Arc::ptr_eq(known, file)) {
                self.unsynced.push(file.clone());
            }
        }
        if let Some(last) = appended.files.into_iter().next_back() {
            self.tail = Some(last);
        }
        appended.locations
    }

    /// The commit failed: gives the room back. Failing at that does no harm, the bytes are not in the index.
    pub(crate) fn abandon(&mut self, appended: &Appended) {
        for (number, file) in &appended.files {
            let end = self.index.get(number).map_or(0, |segment| segment.end);
            let _ = file.set_len(end);
        }
        for number in &appended.made {
            let _ = fs::remove_file(self.path(*number));
        }
    }

    /// Segments that a commit lets go: those below its floor, and those that it names and that nothing is appended to
    /// now or later.
    pub(crate) fn unneeded(&self, floor: u64, named: &[u64], appended: &Appended) -> Vec<u64> {
        let is_tail = |number: u64| self.tail.as_ref().is_some_and(|(tail, _)| *tail == number);
        let goes = |number: u64, segment: &Segment| {
            !appended.index.contains_key(&number) && (segment.last < floor || named.contains(&number) && !is_tail(number))
        };
        self.index.iter().filter(|(number, segment)| goes(**number, segment)).map(|(number, _)| *number).collect()
    }

    /// Takes segments out of the index, after the rows have forgotten them.
    pub(crate) fn release(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.index.remove(number);
            if self.tail.as_ref().is_some_and(|(tail, _)| tail == number) {
                self.tail = None;
            }
            self.released.push(*number);
        }
    }

    /// Deletes the files of released segments, after a sync.
    pub(crate) fn delete_released(&mut self) {
        for number in std::mem::take(&mut self.released) {
            let path = self.path(number);
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "a released event segment could not be deleted");
            }
        }
    }

    /// Deletes segment files that no commit names, and cuts off what lies behind the committed end of the others.
    pub(crate) fn tidy(&self) {
        let Ok(files) = fs::read_dir(&self.dir) else { return };
        for file in files.flatten() {
            let name = file.file_name();
            let Some(number) = name.to_str().and_then(|name| name.strip_suffix(".seg")) else { continue };
            let Ok(number) = u64::from_str_radix(number, 16) else { continue };
            let path = self.path(number);
            match self.index.get(&number) {
                None if self.released.contains(&number) => {}
                None => drop(fs::remove_file(path)),
                Some(segment) if file.metadata().is_ok_and(|data| data.len() > segment.end) => {
                    let _ = OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(segment.end));
                }
                Some(_) => {}
            }
        }
    }

    /// Every readable committed entry at or above `floor`, in file order. Returns how many were committed and could not be read.
    pub(crate) fn read_all(&self, floor: u64, f: &mut dyn FnMut(u64, Location, &[u8])) -> Result<u64, StoreError> {
        let mut missing = 0;
        for (number, segment) in self.from(floor) {
            missing += self.warn(number, self.read(number, segment, floor, f)?);
        }
        Ok(missing)
    }

    /// Segments that may hold something at or above `floor`.
    pub(crate) fn from(&self, floor: u64) -> impl Iterator<Item = (u64, Segment)> {
        self.index.iter().filter(move |(_, segment)| segment.last >= floor).map(|(number, segment)| (*number, *segment))
    }

    /// Every readable committed entry of one segment at or above `floor`. Returns how many of the segment could not be read.
    pub(crate) fn read(
        &self,
        number: u64,
        segment: Segment,
        floor: u64,
        f: &mut dyn FnMut(u64, Location, &[u8]),
    ) -> Result<u64, StoreError> {
        let path = self.path(number);
        let bytes = match read_up_to(&path, segment.end) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(StoreError::from_io(&path, "reading", source)),
        };
        let (mut at, mut found) = (0, 0);
        while let Some(next) = frame::find(&bytes, at) {
            let Some(frame) = frame::read(&bytes[next..]) else { break };
            found += 1;
            if frame.number >= floor {
                let len = u32::try_from(frame.payload.len()).unwrap_or(u32::MAX);
                f(frame.number, Location { segment: number, offset: next as u64, len }, frame.payload);
            }
            at = next + frame.bytes();
        }
        Ok(segment.count.saturating_sub(found))
    }

    /// Says that a segment lacks entries, and how many.
    pub(crate) fn warn(&self, number: u64, missing: u64) -> u64 {
        if missing > 0 {
            tracing::warn!(path = %self.path(number).display(), missing, "event bodies on disk are damaged");
        }
        missing
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.index.values().map(|segment| segment.end).sum()
    }
}

/// Reads one entry and checks that it is what was written there.
pub(crate) fn read_one(path: &Path, location: Location) -> Result<Bytes, StoreError> {
    let damaged =
        |what: &str| StoreError::Corrupt { path: path.to_owned(), what: format!("the entry at byte {}: {what}", location.offset) };
    let mut bytes = vec![0; frame::HEADER_BYTES + location.len as usize];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut bytes, location.offset));
    match read {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(damaged("the file ends before it")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged("the file is gone")),
        Err(source) => return Err(StoreError::from_io(path, "reading", source)),
    }
    match frame::read(&bytes) {
        Some(frame) if frame.payload.len() == location.len as usize => Ok(Bytes::from(bytes).slice(frame::HEADER_BYTES..)),
        _ => Err(damaged("it fails its checksum")),
    }
}

/// Bytes of the frames that the next segment takes, for one allocation.
fn gathered(entries: &[(u64, Bytes)], room: usize) -> usize {
    let mut bytes = 0;
    for (_, body) in entries {
        if bytes >= room {
            break;
        }
        bytes += frame::HEADER_BYTES + body.len();
    }
    bytes
}

fn read_up_to(path: &Path, end: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let len = file.metadata()?.len().min(end);
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
