//! The frame around everything that is appended to a file: what it is, how long, which number, and a checksum.
//!
//! ```text
//! magic u32 · length of payload u32 · number u64 · xxh3_64 over length, number and payload u64 · payload
//! ```
//! All little-endian. The number is a sequence in the journal and a log position in segments. The magic is not needed
//! to read frames one after the other; it lets a reader find the next good one behind a damaged stretch.

use xxhash_rust::xxh3::Xxh3;

/// Bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 24;
/// Longest payload, in bytes. A length above it is damage.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1 << 30;

const MAGIC: [u8; 4] = [0xF7, b'T', b'l', 0x01];

/// A whole frame at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) number: u64,
    pub(crate) payload: &'a [u8],
}

impl Frame<'_> {
    /// Length with header.
    pub(crate) fn bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }
}

/// Writes the header into the first bytes of `buffer`, whose rest is the payload.
pub(crate) fn seal(buffer: &mut [u8], number: u64) {
    let Some((header, payload)) = buffer.split_first_chunk_mut::<HEADER_BYTES>() else { return };
    *header = head(number, payload);
}

/// Appends a frame to `out`.
pub(crate) fn append(out: &mut Vec<u8>, number: u64, payload: &[u8]) {
    out.extend_from_slice(&head(number, payload));
    out.extend_from_slice(payload);
}

fn head(number: u64, payload: &[u8]) -> [u8; HEADER_BYTES] {
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&len.to_le_bytes());
    header[8..16].copy_from_slice(&number.to_le_bytes());
    header[16..].copy_from_slice(&checksum(len, number, payload).to_le_bytes());
    header
}

fn checksum(len: u32, number: u64, payload: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&len.to_le_bytes());
    hash.update(&number.to_le_bytes());
    hash.update(payload);
    hash.digest()
}

/// The frame at the start of `bytes`, if one is there and whole.
pub(crate) fn read(bytes: &[u8]) -> Option<Frame<'_>> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    if header[..4] != MAGIC {
        return None;
    }
    let len = u32::from_le_bytes(header[4..8].try_into().ok()?);
    let number = u64::from_le_bytes(header[8..16].try_into().ok()?);
    let sum = u64::from_le_bytes(header[16..].try_into().ok()?);
    let len_bytes = usize::try_from(len).ok().filter(|len| *len <= PAYLOAD_BYTES_MAX)?;
    let payload = rest.get(..len_bytes)?;
    (checksum(len, number, payload) == sum).then_some(Frame { number, payload })
}

/// Offset of the next whole frame at or after `from`.
pub(crate) fn find(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = bytes.get(at..)?.windows(MAGIC.len()).position(|four| four == MAGIC) {
        at += found;
        if read(&bytes[at..]).is_some() {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// For fuzzing: gives `bytes` to every reader of this crate, as a file's content and as the payload of a frame that is sound.
/// Answers how many whole frames and operations were found.
pub fn survive(bytes: &[u8]) -> usize {
    let mut found = 0;
    let mut at = 0;
    while let Some(next) = find(bytes, at) {
        let Some(frame) = bytes.get(next..).and_then(read) else { break };
        found += 1 + crate::batch::Operations::new(frame.payload).count();
        at = next + frame.bytes().max(1);
    }
    found += crate::journal::frames(bytes).map(|(_, payload)| crate::batch::Operations::new(payload).count()).sum::<usize>();
    found += crate::journal::commits(bytes).count();
    found += crate::batch::Operations::new(bytes).filter(Result::is_ok).count();
    found += usize::from(crate::segments::Segment::decode(bytes).is_some());
    let mut sealed = Vec::new();
    append(&mut sealed, 1, bytes);
    assert!(read(&sealed).is_some_and(|frame| frame.payload == bytes), "what was sealed reads back");
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_is_read_back_and_a_changed_bit_anywhere_is_noticed() {
        let mut out = Vec::new();
        append(&mut out, 7, b"payload");
        assert_eq!(read(&out), Some(Frame { number: 7, payload: b"payload" }));
        for bit in 0..out.len() * 8 {
            let mut bad = out.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn the_next_good_frame_is_found_behind_damage() {
        let mut out = Vec::new();
        append(&mut out, 1, b"one");
        let second = out.len();
        append(&mut out, 2, b"two");
        out[5] ^= 1;
        assert_eq!(find(&out, 1), Some(second));
        assert_eq!(find(&out, second + 1), None);
        assert_eq!(find(&out, out.len() + 5), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), from in 0usize..200) {
            let _ = read(&bytes);
            let _ = find(&bytes, from);
        }
    }
}
