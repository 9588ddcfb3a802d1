//! What a checkpoint keeps of one shard besides its cache and bodies: session and groups' progress, as one record.
//!
//! Layout: version byte (1), u64 ordinal of the newest session, u32 length and bytes of the resume point (0: none), the rest is the log's
//! own record. A record of another version is refused, never guessed at.

use bytes::{BufMut as _, Bytes, BytesMut};
use trunkline_session::ResumePoint;

const VERSION: u8 = 1;

/// A shard's record, decoded.
#[derive(Debug)]
pub struct Record {
    /// Number of the newest session of this shard, ended or not.
    pub ordinal: u64,
    /// What a RESUME needs; none when there was no session.
    pub resume: Option<ResumePoint>,
    /// The log's record.
    pub log: Vec<u8>,
}

impl Record {
    /// As bytes for the store.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let resume = self.resume.as_ref().map(ResumePoint::encode).unwrap_or_default();
        let mut out = BytesMut::with_capacity(13 + resume.len() + self.log.len());
        out.put_u8(VERSION);
        out.put_u64_le(self.ordinal);
        out.put_u32_le(u32::try_from(resume.len()).unwrap_or(0));
        out.put_slice(&resume);
        out.put_slice(&self.log);
        out.freeze()
    }

    /// From the store.
    ///
    /// # Errors
    /// A text that says what is wrong; the shard then starts without a session.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (version, rest) = bytes.split_first().ok_or("the record is empty")?;
        if *version != VERSION {
            return Err(format!("the record has version {version}, this program knows {VERSION}"));
        }
        let (ordinal, rest) = rest.split_first_chunk::<8>().ok_or("the record is cut off in its head")?;
        let (len, rest) = rest.split_first_chunk::<4>().ok_or("the record is cut off in its head")?;
        let len = u32::from_le_bytes(*len) as usize;
        let (resume, log) = rest.split_at_checked(len).ok_or("the record is cut off in its session")?;
        let resume = if resume.is_empty() {
            None
        } else {
            Some(ResumePoint::decode(resume).map_err(|error| format!("its session cannot be read: {error}"))?)
        };
        Ok(Self { ordinal: u64::from_le_bytes(*ordinal), resume, log: log.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_a_session_comes_back_and_every_cut_is_refused() {
        let record = Record { ordinal: 7, resume: None, log: vec![1, 2, 3] };
        let bytes = record.encode();
        let back = Record::decode(&bytes).expect("whole");
        assert_eq!((back.ordinal, back.resume.is_none(), back.log), (7, true, vec![1, 2, 3]));
        for cut in 0..13 {
            assert!(Record::decode(&bytes[..cut]).is_err(), "cut at {cut} was taken");
        }
        assert!(Record::decode(&[9; 40]).is_err());
    }
}
