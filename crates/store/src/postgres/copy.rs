//! PostgreSQL's binary COPY format, both ways: tables go out and come in without a statement, a parameter or a row description each.
//!
//! The stream's pieces need not end where rows do. What does not read as the format is an error, never a panic or a guess.

use bytes::{BufMut, Bytes, BytesMut};

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags, and the length of an extension that nobody uses.
const HEADER_BYTES: usize = 19;
/// The version that `jsonb` has in front of its text.
const JSONB: u8 = 1;
/// Bytes that are sent at a time.
const PIECE_BYTES: usize = 128 << 10;

/// Rows on their way to the server.
pub(crate) struct CopyWriter {
    piece: BytesMut,
}

impl CopyWriter {
    pub(crate) fn new() -> CopyWriter {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES + 4096);
        piece.put_slice(SIGNATURE);
        piece.put_u64(0);
        CopyWriter { piece }
    }

    /// Begins a row of so many fields.
    pub(crate) fn row(&mut self, fields: i16) {
        self.piece.put_i16(fields);
    }

    pub(crate) fn int8(&mut self, value: i64) {
        self.piece.put_i32(8);
        self.piece.put_i64(value);
    }

    pub(crate) fn int4(&mut self, value: i32) {
        self.piece.put_i32(4);
        self.piece.put_i32(value);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.piece.put_i32(1);
        self.piece.put_u8(u8::from(value));
    }

    pub(crate) fn null(&mut self) {
        self.piece.put_i32(-1);
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.piece.put_i32(length(value.len()));
        self.piece.put_slice(value);
    }

    pub(crate) fn jsonb(&mut self, json: &str) {
        self.piece.put_i32(length(json.len() + 1));
        self.piece.put_u8(JSONB);
        self.piece.put_slice(json.as_bytes());
    }

    /// What is to be sent, once it is worth it.
    pub(crate) fn full(&mut self) -> Option<Bytes> {
        (self.piece.len() >= PIECE_BYTES).then(|| std::mem::take(&mut self.piece).freeze())
    }

    /// The rest.
    pub(crate) fn finish(mut self) -> Bytes {
        self.piece.put_i16(-1);
        self.piece.freeze()
    }
}

/// Longer ones than the server takes are refused by it.
fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

/// Rows as they come from the server.
#[derive(Default)]
pub(crate) struct CopyReader {
    buffer: Vec<u8>,
    at: usize,
    begun: bool,
    ended: bool,
}

/// The bytes are not what the server should have sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotCopied;

impl CopyReader {
    /// Takes the next piece.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// The next row, when all of it is there.
    pub(crate) fn next<const FIELDS: usize>(&mut self) -> Result<Option<[Option<&[u8]>; FIELDS]>, NotCopied> {
        if !self.begun {
            let Some(header) = self.buffer.get(..HEADER_BYTES) else { return Ok(None) };
            if !header.starts_with(SIGNATURE) || header[15..] != [0; 4] {
                return Err(NotCopied);
            }
            self.at = HEADER_BYTES;
            self.begun = true;
        }
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let Some((fields, mut left)) = rest.split_first_chunk::<2>() else { return Ok(None) };
        match i16::from_be_bytes(*fields) {
            -1 => {
                self.ended = true;
                return if left.is_empty() { Ok(None) } else { Err(NotCopied) };
            }
            fields if usize::try_from(fields) == Ok(FIELDS) => {}
            _ => return Err(NotCopied),
        }
        let mut row = [None; FIELDS];
        for field in &mut row {
            let Some((length, after)) = left.split_first_chunk::<4>() else { return Ok(None) };
            left = after;
            match i32::from_be_bytes(*length) {
                -1 => {}
                length => {
                    let length = usize::try_from(length).map_err(|_| NotCopied)?;
                    let Some((value, after)) = left.split_at_checked(length) else { return Ok(None) };
                    *field = Some(value);
                    left = after;
                }
            }
        }
        self.at = self.buffer.len() - left.len();
        Ok(Some(row))
    }

    /// Whether everything has come.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }
}

/// A field that is a `bigint`.
pub(crate) fn int8(field: Option<&[u8]>) -> Result<i64, NotCopied> {
    field.and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes).ok_or(NotCopied)
}

/// A field that is a `jsonb`, as its text.
pub(crate) fn jsonb(field: &[u8]) -> Result<&str, NotCopied> {
    match field.split_first() {
        Some((&JSONB, text)) => std::str::from_utf8(text).map_err(|_| NotCopied),
        _ => Err(NotCopied),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(rows: &[(i64, Option<&str>)]) -> Vec<u8> {
        let mut writer = CopyWriter::new();
        for (id, json) in rows {
            writer.row(2);
            writer.int8(*id);
            match json {
                Some(json) => writer.jsonb(json),
                None => writer.null(),
            }
        }
        writer.finish().to_vec()
    }

    type Read = (Vec<(i64, Option<String>)>, bool);

    /// Rows, and whether the end was seen.
    fn read(bytes: &[u8], piece: usize) -> Result<Read, NotCopied> {
        let (mut reader, mut rows) = (CopyReader::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            reader.feed(piece);
            while let Some([id, json]) = reader.next::<2>()? {
                rows.push((int8(id)?, json.map(jsonb).transpose()?.map(str::to_owned)));
            }
        }
        Ok((rows, reader.ended()))
    }

    #[test]
    fn rows_come_out_as_they_went_in_wherever_the_stream_is_cut() {
        let rows = [(1, Some("{\"a\": 1}")), (-7, None), (i64::MAX, Some(""))];
        let bytes = written(&rows);
        for piece in 1..=bytes.len() {
            let (found, ended) = read(&bytes, piece).unwrap();
            assert!(ended);
            assert_eq!(found.iter().map(|(id, json)| (*id, json.as_deref())).collect::<Vec<_>>(), rows, "pieces of {piece}");
        }
        assert!(!read(&bytes[..bytes.len() - 1], 5).unwrap().1, "cut off");
        assert_eq!(read(&written(&[]), 64).unwrap(), (Vec::new(), true));
    }

    #[test]
    fn what_is_no_copy_is_refused() {
        let good = written(&[(1, Some("{}"))]);
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        for bytes in [with(0, b'X'), with(18, 1), with(20, 3), with(21, 0x80), with(37, 2), [&good[..], b"more"].concat()] {
            assert!(read(&bytes, 1 << 20).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), valid in any::<bool>(), piece in 1..50_usize) {
            let bytes = if valid { [&written(&[])[..HEADER_BYTES], &bytes].concat() } else { bytes };
            drop(read(&bytes, piece));
        }
    }
}
