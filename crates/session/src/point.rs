//! The resume point: one value with everything that a RESUME needs, and its stored form.
//!
//! The stored form is this crate's own: a version byte, then fixed fields little-endian and texts with their length.
//! Nothing of it is a wire format. A form newer than this program is told apart from a broken one.

use std::fmt;

use trunkline_discord::{Compression, Encoding, Intents};

/// Everything that a RESUME needs, as of one position. Saved in checkpoints.
#[derive(Clone, PartialEq, Eq)]
pub struct ResumePoint {
    /// Discord's id of the session. Whoever has it and the token can take the session over: it is not shown.
    pub session_id: String,
    /// The position: the last sequence number that was taken over.
    pub s: u64,
    /// The shard's own number of the session; rises with every new one.
    pub session: u64,
    /// Where to resume, without query.
    pub resume_url: String,
    /// The session's encoding; it cannot change while the session lives.
    pub encoding: Encoding,
    /// The session's compression; likewise.
    pub compression: Compression,
    /// Shard index and count it was identified with.
    pub shard: (u32, u32),
    /// The intents it was identified with.
    pub intents: Intents,
    /// The bot's user id.
    pub bot_id: u64,
    /// The application's id, or 0.
    pub application_id: u64,
    /// The guilds that READY listed.
    pub guilds: Vec<u64>,
}

impl fmt::Debug for ResumePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumePoint")
            .field("session", &self.session)
            .field("s", &self.s)
            .field("shard", &self.shard)
            .field("bot_id", &self.bot_id)
            .field("resume_url", &self.resume_url)
            .field("guilds", &self.guilds.len())
            .finish_non_exhaustive()
    }
}

/// Why stored bytes are no [`ResumePoint`]. What follows in each case is a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointError {
    /// Written by a newer program.
    Newer {
        /// The version found.
        found: u8,
    },
    /// Ends before the named field is whole.
    Short(&'static str),
    /// The named field has a value that cannot be.
    Invalid(&'static str),
    /// Bytes are left over.
    Trailing {
        /// How many.
        bytes: usize,
    },
}

impl fmt::Display for PointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PointError::Newer { found } => {
                write!(f, "stored session has form {found}, this program knows {VERSION}: it was written by a newer one")
            }
            PointError::Short(field) => write!(f, "stored session is cut off at {field}"),
            PointError::Invalid(field) => write!(f, "stored session has an impossible {field}"),
            PointError::Trailing { bytes } => write!(f, "stored session has {bytes} bytes too many"),
        }
    }
}

impl std::error::Error for PointError {}

const VERSION: u8 = 1;

/// Longest session id and resume address that are taken from Discord or from a store, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 1_024;

/// Most guilds that are taken from READY or a store. Discord closes with 4011 above 2500.
pub(crate) const GUILDS_MAX: usize = 100_000;

impl ResumePoint {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(80 + self.session_id.len() + self.resume_url.len() + self.guilds.len() * 8);
        out.push(VERSION);
        out.push(match self.encoding {
            Encoding::Etf => 0,
            // The packed form is never on a wire.
            Encoding::Json | Encoding::Packed => 1,
        });
        out.push(match self.compression {
            Compression::None => 0,
            Compression::ZlibStream => 1,
            Compression::ZstdStream => 2,
        });
        for word in [self.s, self.session, self.intents.0, self.bot_id, self.application_id] {
            out.extend(word.to_le_bytes());
        }
        for half in [self.shard.0, self.shard.1] {
            out.extend(half.to_le_bytes());
        }
        for text in [&self.session_id, &self.resume_url] {
            // Both were cut to TEXT_BYTES_MAX when they came in; a longer one made by hand fails to decode.
            out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend(text.as_bytes());
        }
        out.extend(u32::try_from(self.guilds.len()).unwrap_or(u32::MAX).to_le_bytes());
        for guild in &self.guilds {
            out.extend(guild.to_le_bytes());
        }
        out
    }

    /// Reads the stored form; all of the bytes and nothing more.
    pub fn decode(bytes: &[u8]) -> Result<ResumePoint, PointError> {
        let mut reader = Reader { rest: bytes };
        let version = reader.byte("version")?;
        if version > VERSION {
            return Err(PointError::Newer { found: version });
        }
        if version == 0 {
            return Err(PointError::Invalid("version"));
        }
        let encoding = match reader.byte("encoding")? {
            0 => Encoding::Etf,
            1 => Encoding::Json,
            _ => return Err(PointError::Invalid("encoding")),
        };
        let compression = match reader.byte("compression")? {
            0 => Compression::None,
            1 => Compression::ZlibStream,
            2 => Compression::ZstdStream,
            _ => return Err(PointError::Invalid("compression")),
        };
        let point = ResumePoint {
            encoding,
            compression,
            s: reader.word("position")?,
            session: reader.word("session number")?,
            intents: Intents(reader.word("intents")?),
            bot_id: reader.word("bot id")?,
            application_id: reader.word("application id")?,
            shard: (reader.half("shard index")?, reader.half("shard count")?),
            session_id: reader.text("session id")?,
            resume_url: reader.text("resume address")?,
            guilds: reader.words("guilds")?,
        };
        if !reader.rest.is_empty() {
            return Err(PointError::Trailing { bytes: reader.rest.len() });
        }
        if point.session_id.is_empty() {
            return Err(PointError::Invalid("session id"));
        }
        if point.shard.0 >= point.shard.1 {
            return Err(PointError::Invalid("shard"));
        }
        Ok(point)
    }
}

/// Takes fields off the front of what is left.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], PointError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(PointError::Short(field))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], PointError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(PointError::Short(field))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self, field: &'static str) -> Result<u8, PointError> {
        Ok(self.array::<1>(field)?[0])
    }

    fn half(&mut self, field: &'static str) -> Result<u32, PointError> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    fn word(&mut self, field: &'static str) -> Result<u64, PointError> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    fn text(&mut self, field: &'static str) -> Result<String, PointError> {
        let length = self.half(field)? as usize;
        if length > TEXT_BYTES_MAX {
            return Err(PointError::Invalid(field));
        }
        let bytes = self.take(length, field)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| PointError::Invalid(field))
    }

    fn words(&mut self, field: &'static str) -> Result<Vec<u64>, PointError> {
        let count = self.half(field)? as usize;
        if count > GUILDS_MAX {
            return Err(PointError::Invalid(field));
        }
        let bytes = self.take(count * 8, field)?;
        Ok(bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn point() -> ResumePoint {
        ResumePoint {
            session_id: "deadbeef".into(),
            s: 77,
            session: 3,
            resume_url: "wss://resume.example".into(),
            encoding: Encoding::Json,
            compression: Compression::ZlibStream,
            shard: (1, 4),
            intents: Intents::ALL,
            bot_id: 5,
            application_id: 6,
            guilds: vec![1, 2, u64::MAX],
        }
    }

    #[test]
    fn what_is_stored_reads_back_the_same() {
        for encoding in [Encoding::Etf, Encoding::Json] {
            for compression in [Compression::None, Compression::ZlibStream, Compression::ZstdStream] {
                let point = ResumePoint { encoding, compression, ..point() };
                assert_eq!(ResumePoint::decode(&point.encode()).unwrap(), point);
            }
        }
    }

    #[test]
    fn every_cut_is_told_as_short_and_every_surplus_as_trailing() {
        let bytes = point().encode();
        for length in 0..bytes.len() {
            assert!(matches!(ResumePoint::decode(&bytes[..length]), Err(PointError::Short(_))), "{length}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(ResumePoint::decode(&longer), Err(PointError::Trailing { bytes: 1 }));
    }

    #[test]
    fn a_newer_form_is_told_apart_from_a_broken_one() {
        let mut bytes = point().encode();
        bytes[0] = 2;
        assert_eq!(ResumePoint::decode(&bytes), Err(PointError::Newer { found: 2 }));
        bytes[0] = 0;
        assert_eq!(ResumePoint::decode(&bytes), Err(PointError::Invalid("version")));
    }

    #[test]
    fn impossible_fields_are_named_and_claimed_lengths_allocate_nothing() {
        let bytes = point().encode();
        let with = |at: usize, new: &[u8]| {
            let mut bytes = bytes.clone();
            bytes[at..at + new.len()].copy_from_slice(new);
            ResumePoint::decode(&bytes).unwrap_err()
        };
        assert_eq!(with(1, &[9]), PointError::Invalid("encoding"));
        assert_eq!(with(2, &[9]), PointError::Invalid("compression"));
        assert_eq!(with(43, &4u32.to_le_bytes()), PointError::Invalid("shard"));
        assert_eq!(with(51, &u32::MAX.to_le_bytes()), PointError::Invalid("session id"));
        assert_eq!(with(55, &[0xff]), PointError::Invalid("session id"));
        let guilds = bytes.len() - 3 * 8 - 4;
        assert_eq!(with(guilds, &u32::MAX.to_le_bytes()), PointError::Invalid("guilds"));
        assert!(with(2, &[9]).to_string().contains("compression"));
        let nameless = ResumePoint { session_id: String::new(), ..point() };
        assert_eq!(ResumePoint::decode(&nameless.encode()), Err(PointError::Invalid("session id")));
    }

    #[test]
    fn the_session_id_is_not_shown() {
        assert!(!format!("{:?}", point()).contains("deadbeef"));
    }
}
