//! Compressed ETF documents (131, 80, length, zlib data), which Erlang makes on request and Discord never sends.

use crate::ETF_VERSION;
use crate::error::{Error, ErrorKind, Limits};
use crate::term;
use flate2::{Decompress, FlushDecompress, Status};

/// Step in which output memory is taken: as much as was really inflated, never as much as was claimed.
const CHUNK: usize = 16 << 10;

/// Turns a compressed document into a plain one (131, term), `Ok(None)` if `bytes` is not compressed. Checks lengths and the zlib
/// checksum; the term itself is left to [`Value::parse`](crate::Value::parse).
///
/// # Errors
/// More bytes than `limits` allow (before they are inflated, if that is what the document claims), broken data, another length than
/// claimed, or bytes behind the compressed data.
pub fn inflate(bytes: &[u8], limits: &Limits) -> Result<Option<Vec<u8>>, Error> {
    let [ETF_VERSION, term::COMPRESSED, rest @ ..] = bytes else { return Ok(None) };
    if bytes.len() > limits.bytes_max {
        return Err(Error::new(0, ErrorKind::TooLong { bytes: bytes.len() as u64, bytes_max: limits.bytes_max }));
    }
    let Some((length, _)) = rest.split_first_chunk::<4>() else {
        return Err(Error::new(2, ErrorKind::Short { what: "compressed term", wants: 4, left: rest.len() }));
    };
    let claimed = u32::from_be_bytes(*length);
    let bytes_max = limits.inflated_bytes_max;
    if u64::from(claimed) + 1 > bytes_max as u64 {
        return Err(Error::new(2, ErrorKind::TooLong { bytes: u64::from(claimed) + 1, bytes_max }));
    }
    let whole = claimed as usize + 1;
    let mut out = vec![ETF_VERSION];
    let mut zlib = Decompress::new(true);
    loop {
        let at = 6 + zlib.total_in() as usize;
        let input = bytes.get(at..).unwrap_or_default();
        // One byte of room more than claimed shows that there is more than claimed.
        let room = CHUNK.max(out.len()).min((whole + 1).saturating_sub(out.len()));
        out.reserve_exact(room);
        let (before_in, before_out) = (zlib.total_in(), out.len());
        let status = zlib.decompress_vec(input, &mut out, FlushDecompress::None).map_err(|_| Error::new(at, ErrorKind::Zlib))?;
        if out.len() > whole {
            return Err(Error::new(2, ErrorKind::InflatedLength { claimed, found: out.len() as u64 - 1 }));
        }
        let consumed = 6 + zlib.total_in() as usize;
        match status {
            Status::StreamEnd if out.len() != whole => {
                return Err(Error::new(2, ErrorKind::InflatedLength { claimed, found: out.len() as u64 - 1 }));
            }
            Status::StreamEnd if consumed != bytes.len() => {
                return Err(Error::new(consumed, ErrorKind::Trailing { bytes: bytes.len().saturating_sub(consumed) }));
            }
            Status::StreamEnd => return Ok(Some(out)),
            // Neither input taken nor output made: the data ends before its end mark.
            _ if zlib.total_in() == before_in && out.len() == before_out => {
                return Err(Error::new(bytes.len(), ErrorKind::Short { what: "compressed term", wants: 1, left: 0 }));
            }
            _ => {}
        }
    }
}
