//! Changes to the key-value rows, in the form in which the journal keeps them.
//!
//! A batch is a run of operations: a tag byte, then length-prefixed key and (for a put) value, little-endian. Reading
//! trusts nothing: a batch that does not parse is damage, and is answered with `None`.
//!
//! A large batch is several frames: each but the last says in front of its operations that more follows, and nothing of a batch whose last
//! frame is not there counts. The frames before the last are in the journal's file as soon as they are full, so that one is in memory.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::journal::PREFIX_BYTES;
use crate::{StoreError, frame};

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation<'a> {
    Put {
        key: &'a [u8],
        value: &'a [u8],
    },
    Delete {
        key: &'a [u8],
    },
    /// All rows whose keys start with the prefix.
    Clear {
        prefix: &'a [u8],
    },
}

/// Bytes before the operations.
const HEAD_BYTES: usize = frame::HEADER_BYTES + PREFIX_BYTES;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const CLEAR: u8 = 3;
/// In front of a frame's operations: its batch goes on in the next frame.
pub(crate) const MORE: u8 = 4;

/// Operations, with room before them for the frame's header, so that a frame is one buffer and one write.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The last frame.
    pub(crate) buffer: Vec<u8>,
    /// None for a batch that is one frame however large.
    pub(crate) spill: Option<Spill>,
}

/// The frames of a batch that are in the journal's file already, behind its end.
#[derive(Debug)]
pub(crate) struct Spill {
    pub(crate) file: Arc<File>,
    pub(crate) path: PathBuf,
    /// A frame is written when it would become longer.
    pub(crate) frame_bytes: usize,
    /// Where the next frame goes, and the number of the one before.
    pub(crate) end: u64,
    pub(crate) number: u64,
    /// What the journal knows to be on disk for certain.
    pub(crate) synced: u64,
    /// Where the frames are, and how long.
    pub(crate) frames: Vec<(u64, usize)>,
    /// Why one could not be written. Nothing is written any more then.
    pub(crate) failed: Option<StoreError>,
}

impl Spill {
    /// Writes a full frame, and leaves an empty one.
    fn write(&mut self, buffer: &mut Vec<u8>) {
        if self.failed.is_none() {
            buffer.insert(HEAD_BYTES, MORE);
            self.failed = self.written(buffer).err();
        }
        buffer.truncate(HEAD_BYTES);
    }

    fn written(&mut self, buffer: &mut [u8]) -> Result<(), StoreError> {
        check_length(buffer)?;
        seal(buffer, self.synced, self.number + 1);
        self.file.write_all_at(buffer, self.end).map_err(|source| StoreError::from_io(&self.path, "writing", source))?;
        self.frames.push((self.end, buffer.len()));
        self.end += buffer.len() as u64;
        self.number += 1;
        Ok(())
    }

    /// A frame that was written, to be applied.
    pub(crate) fn read(&self, at: (u64, usize)) -> Option<Vec<u8>> {
        let mut buffer = vec![0; at.1];
        self.file.read_exact_at(&mut buffer, at.0).ok()?;
        frame::read(&buffer)?;
        Some(buffer.split_off(HEAD_BYTES + 1))
    }
}

/// Refuses a frame that nothing would read.
pub(crate) fn check_length(buffer: &[u8]) -> Result<(), StoreError> {
    if buffer.len() <= frame::PAYLOAD_BYTES_MAX {
        return Ok(());
    }
    Err(StoreError::Refused { what: format!("a row of {} bytes; at most {} fit", buffer.len(), frame::PAYLOAD_BYTES_MAX) })
}

fn seal(buffer: &mut [u8], synced: u64, number: u64) {
    if let Some(prefix) = buffer.get_mut(frame::HEADER_BYTES..HEAD_BYTES) {
        prefix.copy_from_slice(&synced.to_le_bytes());
    }
    frame::seal(buffer, number);
}

impl Batch {
    pub(crate) fn new() -> Batch {
        Batch { buffer: vec![0; HEAD_BYTES], spill: None }
    }

    /// Writes the frame if so many bytes more would make it too long.
    fn make_room(&mut self, more: usize) {
        if let Some(spill) = &mut self.spill
            && self.buffer.len() > HEAD_BYTES
            && self.buffer.len() + more > spill.frame_bytes
        {
            spill.write(&mut self.buffer);
        }
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.make_room(key.len() + value.len());
        self.buffer.push(PUT);
        self.run(key);
        self.run(value);
    }

    pub(crate) fn delete(&mut self, key: &[u8]) {
        self.make_room(key.len());
        self.buffer.push(DELETE);
        self.run(key);
    }

    pub(crate) fn clear(&mut self, prefix: &[u8]) {
        self.buffer.push(CLEAR);
        self.run(prefix);
    }

    /// Those of the last frame.
    pub(crate) fn operations(&self) -> Operations<'_> {
        Operations { rest: self.buffer.get(HEAD_BYTES..).unwrap_or_default() }
    }

    /// Makes the buffer a journal frame.
    pub(crate) fn seal(&mut self, synced: u64, number: u64) {
        seal(&mut self.buffer, synced, number);
    }

    fn run(&mut self, bytes: &[u8]) {
        // Longer ones are refused before: a frame holds at most 1 GiB.
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.buffer.extend_from_slice(&len.to_le_bytes());
        self.buffer.extend_from_slice(bytes);
    }
}

/// Reads a batch. Ends with an error item where it is damaged.
pub(crate) struct Operations<'a> {
    rest: &'a [u8],
}

impl<'a> Operations<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Operations<'a> {
        Operations { rest: payload }
    }

    fn run(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.rest.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let (run, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        Some(run)
    }

    fn operation(&mut self, tag: u8) -> Option<Operation<'a>> {
        match tag {
            PUT => Some(Operation::Put { key: self.run()?, value: self.run()? }),
            DELETE => Some(Operation::Delete { key: self.run()? }),
            CLEAR => Some(Operation::Clear { prefix: self.run()? }),
            _ => None,
        }
    }
}

/// The bytes are no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotABatch;

impl<'a> Iterator for Operations<'a> {
    type Item = Result<Operation<'a>, NotABatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.rest.split_first()?;
        self.rest = rest;
        let operation = self.operation(tag);
        if operation.is_none() {
            self.rest = &[];
        }
        Some(operation.ok_or(NotABatch))
    }
}

/// What a run of operations comes to: what is cleared first, and then each row that they leave or delete, once and in the order of the keys.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settled<'a> {
    /// Prefixes, ascending.
    pub(crate) clears: Vec<&'a [u8]>,
    /// Keys, ascending, each with its value; none: it goes.
    pub(crate) rows: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

impl<'a> Settled<'a> {
    pub(crate) fn of(operations: impl Iterator<Item = Result<Operation<'a>, NotABatch>>) -> Result<Settled<'a>, NotABatch> {
        // Each prefix with its last clear, and how long prefixes are: of one length, or of few.
        let (mut clears, mut lengths) = (HashMap::new(), BTreeSet::new());
        let mut rows = Vec::new();
        for (at, operation) in operations.enumerate() {
            match operation? {
                Operation::Put { key, value } => rows.push((key, at, Some(value))),
                Operation::Delete { key } => rows.push((key, at, None)),
                Operation::Clear { prefix } => {
                    clears.insert(prefix, at);
                    lengths.insert(prefix.len());
                }
            }
        }
        let cleared = |key: &'a [u8], at: usize| {
            let prefixes = lengths.iter().filter_map(|length| key.get(..*length));
            prefixes.filter_map(|prefix| clears.get(prefix)).any(|clear| *clear > at)
        };
        rows.retain(|(key, at, _)| !cleared(key, *at));
        // The last word of each key is the first of them, and stays.
        rows.sort_unstable_by_key(|(key, at, _)| (*key, Reverse(*at)));
        rows.dedup_by_key(|(key, ..)| *key);
        let mut clears: Vec<&[u8]> = clears.into_keys().collect();
        clears.sort_unstable();
        Ok(Settled { clears, rows: rows.into_iter().map(|(key, _, value)| (key, value)).collect() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_row_that_is_written_again_and_again_is_written_once_in_the_order_of_the_keys() {
        let mut batch = Batch::new();
        for n in 0..100_u8 {
            batch.put(&[b'c', 9 - n % 10], &[n]);
        }
        batch.delete(b"c\x03");
        batch.clear(b"d");
        let settled = Settled::of(batch.operations()).unwrap();
        let row = |n: u8| ([b'c', n], [99 - n]);
        let rows: Vec<_> = (0..10).map(row).collect();
        let rows: Vec<(&[u8], Option<&[u8]>)> =
            rows.iter().map(|(key, value)| (&key[..], Some(&value[..]).filter(|_| key[1] != 3))).collect();
        assert_eq!(settled, Settled { clears: vec![b"d"], rows });
    }

    proptest! {
        #[test]
        fn settled_operations_come_to_what_they_come_to_one_after_the_other(
            before in proptest::collection::vec(proptest::collection::vec(0..3_u8, 0..4), 0..20),
            operations in proptest::collection::vec((0..6_u8, proptest::collection::vec(0..3_u8, 0..4)), 0..60),
        ) {
            let mut batch = Batch::new();
            let mut one_by_one: BTreeMap<Vec<u8>, Vec<u8>> = before.into_iter().map(|key| (key, vec![])).collect();
            let mut at_once = one_by_one.clone();
            for (n, (what, key)) in (0..).zip(&operations) {
                match what {
                    0 => {
                        batch.clear(key);
                        one_by_one.retain(|other, _| !other.starts_with(key));
                    }
                    1 => {
                        batch.delete(key);
                        one_by_one.remove(key);
                    }
                    _ => {
                        batch.put(key, &[n]);
                        one_by_one.insert(key.clone(), vec![n]);
                    }
                }
            }
            let settled = Settled::of(batch.operations()).unwrap();
            prop_assert!(settled.rows.is_sorted_by(|one, other| one.0 < other.0));
            at_once.retain(|key, _| !settled.clears.iter().any(|prefix| key.starts_with(prefix)));
            for (key, value) in settled.rows {
                match value {
                    Some(value) => drop(at_once.insert(key.to_vec(), value.to_vec())),
                    None => drop(at_once.remove(key)),
                }
            }
            prop_assert_eq!(at_once, one_by_one);
        }
    }

    #[test]
    fn what_was_put_into_a_batch_comes_out_in_order() {
        let mut batch = Batch::new();
        batch.put(b"key", b"value");
        batch.delete(b"gone");
        batch.clear(b"prefix");
        let all: Vec<_> = batch.operations().map(Result::unwrap).collect();
        assert_eq!(
            all,
            [Operation::Put { key: b"key", value: b"value" }, Operation::Delete { key: b"gone" }, Operation::Clear { prefix: b"prefix" },]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Operations::new(&bytes).count() <= bytes.len());
        }
    }
}
