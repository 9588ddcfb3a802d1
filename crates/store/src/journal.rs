//! The journal: what was committed since the key-value file was last made durable.
//!
//! Frames one after the other behind a 16-byte header, numbered without holes. A commit is one frame, or several: then each but the last says
//! that more follows, and they count together or not at all. A frame that is not whole ends the
//! journal: what lies behind it was never acknowledged as durable (a killed writer, or power lost before the next
//! sync), unless a later whole frame says that the damaged one had been synced. That is damage to durable data, and
//! is told instead of being read over.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::StoreError;
use crate::batch::{self, Batch, MORE, Spill};
use crate::error::OpenError;
use crate::{frame, lock};

const HEADER: [u8; 16] = *b"trunkline-jrnl\0\x01";
/// Bytes of a frame's payload before the operations: the highest number known to be on disk for certain.
pub(crate) const PREFIX_BYTES: usize = 8;

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) file: Arc<File>,
    pub(crate) path: PathBuf,
    pub(crate) len: u64,
    /// Number of the last frame; the next is one higher.
    pub(crate) number: u64,
    /// Highest number that a real sync has covered.
    pub(crate) synced: u64,
}

/// What an open journal held.
pub(crate) struct Found {
    pub(crate) bytes: Vec<u8>,
    pub(crate) bytes_cut: u64,
}

impl Journal {
    /// Opens or makes the journal, and cuts off what is not whole. `applied` is the number up to which the key-value
    /// file stands by itself.
    pub(crate) fn open(dir: &Path, applied: u64) -> Result<(Journal, Found), OpenError> {
        let path = dir.join("journal");
        let failed = |source| lock::opening(dir, &path, source);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        let bytes = read_all(&file).map_err(failed)?;
        if bytes.len() < HEADER.len() && HEADER.starts_with(&bytes) {
            // New, or torn while it was new.
            file.set_len(0).and_then(|()| file.write_all_at(&HEADER, 0)).and_then(|()| file.sync_all()).map_err(failed)?;
            let journal = Journal { file: Arc::new(file), path, len: HEADER.len() as u64, number: applied, synced: 0 };
            return Ok((journal, Found { bytes: HEADER.to_vec(), bytes_cut: 0 }));
        }
        let corrupt = |what: String| OpenError::Corrupt { path: dir.to_owned(), what };
        if !bytes.starts_with(&HEADER) {
            return Err(corrupt("the file journal does not start with its header".to_owned()));
        }
        let (end, number) = whole(&bytes);
        // Numbers go on above what the file has seen, also when the journal was emptied just before the end.
        let number = number.map_or(applied, |number| number.max(applied));
        if let Some(lost) = durable_loss(&bytes, end, number) {
            return Err(corrupt(format!("the file journal fails its checksum at byte {end}, in commit {lost}, which had been synced")));
        }
        let bytes_cut = (bytes.len() - end) as u64;
        if bytes_cut > 0 {
            file.set_len(end as u64).map_err(failed)?;
        }
        let mut bytes = bytes;
        bytes.truncate(end);
        let journal = Journal { file: Arc::new(file), path, len: end as u64, number, synced: 0 };
        Ok((journal, Found { bytes, bytes_cut }))
    }

    /// A batch to be appended, of frames of about so many bytes. It is appended, or [`Journal::abandon`] called, before another is begun.
    pub(crate) fn batch(&self, frame_bytes: usize) -> Batch {
        let spill = Spill {
            file: self.file.clone(),
            path: self.path.clone(),
            frame_bytes,
            end: self.len,
            number: self.number,
            synced: self.synced,
            frames: Vec::new(),
            failed: None,
        };
        Batch { spill: Some(spill), ..Batch::new() }
    }

    /// Appends a batch as the next frame or frames. On an error nothing has been appended.
    pub(crate) fn append(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        let appended = self.append_last(batch);
        if appended.is_err() {
            self.abandon();
        }
        appended
    }

    fn append_last(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        if let Some(failed) = batch.spill.as_mut().and_then(|spill| spill.failed.take()) {
            return Err(failed);
        }
        let (end, number) = match &batch.spill {
            Some(spill) => (spill.end, spill.number + 1),
            None => (self.len, self.number + 1),
        };
        batch::check_length(&batch.buffer)?;
        batch.seal(self.synced, number);
        self.file.write_all_at(&batch.buffer, end).map_err(|source| StoreError::from_io(&self.path, "writing", source))?;
        self.len = end + batch.buffer.len() as u64;
        self.number = number;
        Ok(())
    }

    /// A batch that was begun is not appended: what was written of it must not be taken for a frame's beginning. Should this fail, the next
    /// append writes over it, and an open cuts it off.
    pub(crate) fn abandon(&self) {
        let _ = self.file.set_len(self.len);
    }

    /// Empties the journal, after everything in it has become durable elsewhere.
    pub(crate) fn reset(&mut self) -> Result<(), StoreError> {
        let failed = |source| StoreError::from_io(&self.path, "emptying", source);
        self.file.set_len(HEADER.len() as u64).map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        self.len = HEADER.len() as u64;
        self.synced = self.number;
        Ok(())
    }

    /// The whole of the file as it is now, for applying it again.
    pub(crate) fn contents(&self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; usize::try_from(self.len).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, 0).map_err(|source| StoreError::from_io(&self.path, "reading", source))?;
        Ok(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len <= HEADER.len() as u64
    }
}

/// The frames of a journal, as number and operations.
pub(crate) fn frames(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut rest = bytes.get(HEADER.len()..).unwrap_or_default();
    std::iter::from_fn(move || {
        let frame = frame::read(rest)?;
        rest = rest.get(frame.bytes()..)?;
        Some((frame.number, frame.payload.get(PREFIX_BYTES..).unwrap_or_default()))
    })
}

/// The commits of a journal that was cut to whole ones, as last number and each frame's operations.
pub(crate) fn commits(bytes: &[u8]) -> impl Iterator<Item = (u64, Vec<&[u8]>)> {
    let mut frames = frames(bytes);
    std::iter::from_fn(move || {
        let mut parts = Vec::new();
        loop {
            let (number, operations) = frames.next()?;
            match operations.strip_prefix(&[MORE]) {
                Some(operations) => parts.push(operations),
                None => {
                    parts.push(operations);
                    return Some((number, parts));
                }
            }
        }
    })
}

fn read_all(file: &File) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Where the run of whole, consecutive commits ends, and the last one's number.
fn whole(bytes: &[u8]) -> (usize, Option<u64>) {
    let mut commit = (HEADER.len(), None);
    let (mut end, mut number) = commit;
    while let Some(frame) = frame::read(bytes.get(end..).unwrap_or_default()) {
        if number.is_some_and(|number| frame.number != number + 1) {
            break;
        }
        number = Some(frame.number);
        end += frame.bytes();
        if frame.payload.get(PREFIX_BYTES) != Some(&MORE) {
            commit = (end, number);
        }
    }
    commit
}

/// A number behind `last` that a later whole frame knows to have been synced, if there is one: then bytes that had
/// reached the disk have changed there.
fn durable_loss(bytes: &[u8], end: usize, last: u64) -> Option<u64> {
    let mut at = end;
    while let Some(found) = frame::find(bytes, at) {
        let frame = frame::read(&bytes[found..])?;
        let synced = frame.payload.first_chunk::<PREFIX_BYTES>().map_or(0, |synced| u64::from_le_bytes(*synced));
        if synced > last && frame.number > last {
            return Some(last + 1);
        }
        at = found + frame.bytes();
    }
    None
}
