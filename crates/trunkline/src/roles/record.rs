//! What a checkpoint keeps of one shard besides its cache and bodies: session and groups' progress, as one record.
//!
//! Layout: version byte (2), u64 ordinal of the newest session, u32 with a bit for each kind of objects that was kept all through the session
//! (not in version 1, which kept whatever is asked for), u32 length and bytes of the resume point (0: none), the rest is the log's
//! own record. A record of another version is refused, never guessed at; one of a later version is told apart, for it is not damaged.

use bytes::{BufMut as _, Bytes, BytesMut};
use trunkline_cache::Kinds;
use trunkline_delivery::LOG_VERSION;
use trunkline_session::{PointError, ResumePoint};

const VERSION: u8 = 2;
const VERSION_WITHOUT_KINDS: u8 = 1;

/// A shard's record, decoded.
#[derive(Debug)]
pub struct Record {
    /// Number of the newest session of this shard, ended or not.
    pub ordinal: u64,
    /// The kinds of objects that the cache has kept since the session began.
    pub kinds: Kinds,
    /// What a RESUME needs; none when there was no session.
    pub resume: Option<ResumePoint>,
    /// The log's record.
    pub log: Vec<u8>,
}

/// Why a record is not one.
#[derive(Debug, PartialEq, Eq)]
pub enum RecordError {
    /// A later version of the program has written it, or a part of it: which part, and in which version.
    Newer(String),
    /// What is wrong with it.
    Damaged(String),
}

impl From<&str> for RecordError {
    fn from(what: &str) -> RecordError {
        RecordError::Damaged(what.to_owned())
    }
}

impl Record {
    /// As bytes for the store.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let resume = self.resume.as_ref().map(ResumePoint::encode).unwrap_or_default();
        let mut out = BytesMut::with_capacity(17 + resume.len() + self.log.len());
        out.put_u8(VERSION);
        out.put_u64_le(self.ordinal);
        out.put_u32_le(self.kinds.bits());
        out.put_u32_le(u32::try_from(resume.len()).unwrap_or(0));
        out.put_slice(&resume);
        out.put_slice(&self.log);
        out.freeze()
    }

    /// From the store.
    ///
    /// # Errors
    /// What is wrong. Of a damaged one the shard starts without a session.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (version, rest) = bytes.split_first().ok_or("the record is empty")?;
        if *version > VERSION {
            return Err(RecordError::Newer(format!("a record of version {version}, this one knows {VERSION}")));
        }
        if ![VERSION, VERSION_WITHOUT_KINDS].contains(version) {
            return Err(RecordError::Damaged(format!("the record has version {version}, this program knows {VERSION}")));
        }
        let (ordinal, rest) = rest.split_first_chunk::<8>().ok_or("the record is cut off in its head")?;
        let (kinds, rest) = match *version {
            VERSION_WITHOUT_KINDS => (Kinds::ALL, rest),
            _ => {
                let (bits, rest) = rest.split_first_chunk::<4>().ok_or("the record is cut off in its head")?;
                (Kinds::from_bits(u32::from_le_bytes(*bits)), rest)
            }
        };
        let (len, rest) = rest.split_first_chunk::<4>().ok_or("the record is cut off in its head")?;
        let len = u32::from_le_bytes(*len) as usize;
        let (resume, log) = rest.split_at_checked(len).ok_or("the record is cut off in its session")?;
        let resume = if resume.is_empty() {
            None
        } else {
            Some(ResumePoint::decode(resume).map_err(|error| match error {
                PointError::Newer { .. } => RecordError::Newer(format!("a session: {error}")),
                error => RecordError::Damaged(format!("its session cannot be read: {error}")),
            })?)
        };
        if let Some(version) = log.first().filter(|version| **version > LOG_VERSION) {
            return Err(RecordError::Newer(format!("a log record of version {version}, this one knows {LOG_VERSION}")));
        }
        Ok(Self { ordinal: u64::from_le_bytes(*ordinal), kinds, resume, log: log.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use trunkline_cache::Kind;

    use super::*;

    #[test]
    fn a_record_without_a_session_comes_back_and_every_cut_is_refused() {
        let kinds = Kinds::ALL.without(Kind::Channel);
        let record = Record { ordinal: 7, kinds, resume: None, log: vec![LOG_VERSION, 2, 3] };
        let bytes = record.encode();
        let back = Record::decode(&bytes).expect("whole");
        assert_eq!((back.ordinal, back.kinds, back.resume.is_none(), back.log), (7, kinds, true, vec![LOG_VERSION, 2, 3]));
        // As version 1 wrote it, in which nobody asked which kinds there were.
        let old = [&[VERSION_WITHOUT_KINDS], &bytes[1..9], &bytes[13..]].concat();
        let back = Record::decode(&old).expect("whole");
        assert_eq!((back.ordinal, back.kinds, back.log), (7, Kinds::ALL, vec![LOG_VERSION, 2, 3]));
        for cut in 0..17 {
            assert!(Record::decode(&bytes[..cut]).is_err(), "cut at {cut} was taken");
        }
        assert!(Record::decode(&[9; 40]).is_err());
    }

    #[test]
    fn a_record_of_which_any_part_is_of_a_later_version_is_told_from_a_damaged_one() {
        let newer = |bytes: &[u8]| matches!(Record::decode(bytes), Err(RecordError::Newer(_)));
        let point = ResumePoint {
            session_id: "id".into(),
            s: 5,
            session: 7,
            resume_url: "wss://example.com".into(),
            encoding: trunkline_discord::Encoding::Etf,
            compression: trunkline_discord::Compression::None,
            shard: (0, 1),
            intents: trunkline_discord::Intents(1),
            bot_id: 1,
            application_id: 1,
            guilds: Vec::new(),
        };
        let record = Record { ordinal: 7, kinds: Kinds::ALL, resume: Some(point.clone()), log: vec![LOG_VERSION, 2, 3] };
        let good = record.encode();
        assert!(Record::decode(&good).is_ok());
        let with = |at: usize, byte: u8| {
            let mut bytes = good.to_vec();
            bytes[at] = byte;
            bytes
        };
        let log = 17 + point.encode().len();
        for at in [0, 17, log] {
            assert!(newer(&with(at, good[at] + 1)), "byte {at}");
        }
        assert!(!newer(&with(0, 0)) && !newer(&with(17, 0)) && !newer(&good[..12]) && !newer(&[]));
    }
}
