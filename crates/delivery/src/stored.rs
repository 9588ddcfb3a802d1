//! Reading and writing of our own stored forms: little-endian numbers, varints, lengths before contents.
//!
//! The reader checks every length against what is left before it takes or allocates anything, and its errors name the
//! byte and what was expected there.

use std::fmt;

/// Why stored bytes could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Byte at which reading stopped.
    pub offset: usize,
    /// What was expected or what is wrong.
    pub what: &'static str,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stored entry or record is damaged at byte {}: {}", self.offset, self.what)
    }
}

impl std::error::Error for DecodeError {}

/// A checked reader.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, offset: 0 }
    }

    pub(crate) fn bad(&self, what: &'static str) -> DecodeError {
        DecodeError { offset: self.offset, what }
    }

    pub(crate) fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let taken = rest.get(..len).ok_or_else(|| self.bad(what))?;
        self.offset += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn varint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(what)?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.bad(what))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        let value = self.varint(what)?;
        u32::try_from(value).map_err(|_| self.bad(what))
    }

    /// A number that may be absent.
    pub(crate) fn maybe(&mut self, what: &'static str) -> Result<Option<u64>, DecodeError> {
        match self.u8(what)? {
            0 => Ok(None),
            1 => self.varint(what).map(Some),
            _ => Err(self.bad(what)),
        }
    }

    /// A length and as many bytes.
    pub(crate) fn block(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.varint(what)?;
        let len = usize::try_from(len).map_err(|_| self.bad(what))?;
        self.take(len, what)
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        let block = self.block(what)?;
        std::str::from_utf8(block).map_err(|_| self.bad(what))
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        if self.offset == self.bytes.len() { Ok(()) } else { Err(self.bad("end expected")) }
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_maybe(out: &mut Vec<u8>, value: Option<u64>) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            put_varint(out, value);
        }
    }
}

pub(crate) fn put_block(out: &mut Vec<u8>, block: &[u8]) {
    put_varint(out, block.len() as u64);
    out.extend_from_slice(block);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            put_maybe(&mut out, Some(value));
            let mut cursor = Cursor::new(&out);
            assert_eq!(cursor.varint("v").unwrap(), value);
            assert_eq!(cursor.maybe("m").unwrap(), Some(value));
            cursor.end().unwrap();
        }
    }

    #[test]
    fn a_length_beyond_the_end_and_an_endless_number_are_refused() {
        assert!(Cursor::new(&[200, 200, 3, 1]).block("block").is_err());
        assert!(Cursor::new(&[0xff; 20]).varint("number").is_err());
        let error = Cursor::new(&[9]).block("body").unwrap_err();
        assert_eq!(error.to_string(), "stored entry or record is damaged at byte 1: body");
    }
}
