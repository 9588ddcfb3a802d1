//! Reads what a client sends, as strictly as Discord does.
//!
//! ETF from a client: keys must be strings (binaries), compressed terms are forbidden (Discord docs, Gateway: Encoding and
//! Compression). The reader is the simulator's own and shares nothing with any client's, so that the two cannot agree on a mistake.

use serde_json::{Map, Number, Value};

/// Nesting that is read at most. A client's payload is at most 4096 bytes, and no documented one is deeper than 6.
const DEPTH_MAX: u32 = 64;

/// Why a client's payload could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bad {
    AtomKey,
    Compressed,
    Malformed(String),
}

/// Reads one whole ETF document.
pub(crate) fn etf(bytes: &[u8]) -> Result<Value, Bad> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.byte()? != 131 {
        return Err(Bad::Malformed("byte 0 is not the format's version, 131".into()));
    }
    let value = reader.term(0)?;
    if reader.at != bytes.len() {
        return Err(Bad::Malformed(format!("{} bytes after the term", bytes.len() - reader.at)));
    }
    Ok(value)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Bad> {
        let slice = self
            .bytes
            .get(self.at..self.at.saturating_add(len))
            .ok_or_else(|| Bad::Malformed(format!("byte {}: {len} more bytes wanted", self.at)))?;
        self.at += len;
        Ok(slice)
    }

    fn byte(&mut self) -> Result<u8, Bad> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self, len: usize) -> Result<usize, Bad> {
        Ok(self.take(len)?.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)))
    }

    fn text(&mut self, len: usize) -> Result<String, Bad> {
        let at = self.at;
        String::from_utf8(self.take(len)?.to_vec()).map_err(|_| Bad::Malformed(format!("byte {at}: text is not UTF-8")))
    }

    fn list(&mut self, len: usize, depth: u32) -> Result<Vec<Value>, Bad> {
        // No reservation by the claimed length: the bytes have to be there.
        let mut items = Vec::new();
        for _ in 0..len {
            items.push(self.term(depth + 1)?);
        }
        Ok(items)
    }

    fn term(&mut self, depth: u32) -> Result<Value, Bad> {
        if depth > DEPTH_MAX {
            return Err(Bad::Malformed(format!("deeper than {DEPTH_MAX}")));
        }
        let at = self.at;
        let tag = self.byte()?;
        Ok(match tag {
            97 => Value::from(self.byte()?),
            98 => Value::from(self.number(4)? as u32 as i32),
            70 => {
                let mut bits = [0; 8];
                bits.copy_from_slice(self.take(8)?);
                Number::from_f64(f64::from_be_bytes(bits)).map_or(Value::Null, Value::Number)
            }
            110 | 111 => {
                let len = self.number(if tag == 110 { 1 } else { 4 })?;
                let negative = self.byte()? == 1;
                let digits = self.take(len)?;
                if digits.iter().skip(8).any(|byte| *byte != 0) {
                    return Err(Bad::Malformed(format!("byte {at}: integer above 64 bits")));
                }
                let value = digits.iter().take(8).rev().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
                if negative { Value::from(i64::try_from(value).unwrap_or(i64::MAX).wrapping_neg()) } else { Value::from(value) }
            }
            100 | 118 => {
                let len = self.number(2)?;
                atom(self.text(len)?)
            }
            115 | 119 => {
                let len = self.number(1)?;
                atom(self.text(len)?)
            }
            109 => {
                let len = self.number(4)?;
                Value::String(self.text(len)?)
            }
            107 => {
                let len = self.number(2)?;
                Value::Array(self.take(len)?.iter().map(|byte| Value::from(*byte)).collect())
            }
            106 => Value::Array(Vec::new()),
            108 => {
                let len = self.number(4)?;
                let items = self.list(len, depth)?;
                if self.byte()? != 106 {
                    return Err(Bad::Malformed(format!("byte {at}: improper list")));
                }
                Value::Array(items)
            }
            104 | 105 => {
                let len = self.number(if tag == 104 { 1 } else { 4 })?;
                Value::Array(self.list(len, depth)?)
            }
            116 => {
                let len = self.number(4)?;
                let mut map = Map::new();
                for _ in 0..len {
                    if matches!(self.bytes.get(self.at), Some(100 | 115 | 118 | 119)) {
                        return Err(Bad::AtomKey);
                    }
                    let key = match self.term(depth + 1)? {
                        Value::String(key) => key,
                        _ => return Err(Bad::Malformed(format!("byte {at}: a key is not a string"))),
                    };
                    let value = self.term(depth + 1)?;
                    map.insert(key, value);
                }
                Value::Object(map)
            }
            80 => return Err(Bad::Compressed),
            other => return Err(Bad::Malformed(format!("byte {at}: unknown tag {other}"))),
        })
    }
}

fn atom(name: String) -> Value {
    match name.as_str() {
        "nil" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => Value::String(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_keys_are_read_and_atom_keys_refused() {
        let ok = [131, 116, 0, 0, 0, 1, 109, 0, 0, 0, 2, b'o', b'p', 97, 1];
        assert_eq!(etf(&ok), Ok(serde_json::json!({"op": 1})));
        let bad = [131, 116, 0, 0, 0, 1, 115, 2, b'o', b'p', 97, 1];
        assert_eq!(etf(&bad), Err(Bad::AtomKey));
    }

    #[test]
    fn a_compressed_term_is_refused() {
        assert_eq!(etf(&[131, 80, 0, 0, 0, 1, 0]), Err(Bad::Compressed));
    }

    #[test]
    fn a_claimed_length_without_bytes_is_malformed() {
        for bytes in [&[131, 109, 255, 255, 255, 255][..], &[131, 108, 255, 255, 255, 255], &[131], &[], &[131, 116, 0, 0, 0, 9]] {
            assert!(matches!(etf(bytes), Err(Bad::Malformed(_))));
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_recursing_far() {
        let mut bytes = vec![131];
        for _ in 0..600 {
            bytes.extend_from_slice(&[108, 0, 0, 0, 1]);
        }
        assert!(matches!(etf(&bytes), Err(Bad::Malformed(_))));
    }

    #[test]
    fn every_truncation_of_a_payload_is_an_error_and_never_a_panic() {
        let whole = [131, 116, 0, 0, 0, 1, 109, 0, 0, 0, 1, b'd', 108, 0, 0, 0, 2, 98, 0, 0, 1, 0, 110, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 106];
        assert!(etf(&whole).is_ok());
        for len in 0..whole.len() {
            assert!(etf(&whole[..len]).is_err());
        }
    }
}
