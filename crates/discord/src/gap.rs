//! A stretch of a shard's events that cannot be delivered, told instead of hidden.

use std::fmt;

use crate::ShardId;

/// Why events cannot be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapCause {
    /// The group's log was over its memory limit with no disk to go to.
    LogBytes,
    /// The group's log was over its disk limit.
    LogDisk,
    /// The entries were older than the group's log keeps them.
    LogAge,
    /// Discord's sequence jumped.
    SequenceJump,
    /// The session was lost; what Discord emitted until the next one began reached nobody.
    SessionLost,
    /// Stored entries could not be read back.
    StoreFailed,
    /// Anything else.
    Other,
}

impl GapCause {
    /// Every cause, for metrics.
    pub const ALL: [GapCause; 7] = [
        GapCause::LogBytes,
        GapCause::LogDisk,
        GapCause::LogAge,
        GapCause::SequenceJump,
        GapCause::SessionLost,
        GapCause::StoreFailed,
        GapCause::Other,
    ];

    /// A name for logs and metrics, in snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            GapCause::LogBytes => "log_bytes",
            GapCause::LogDisk => "log_disk",
            GapCause::LogAge => "log_age",
            GapCause::SequenceJump => "sequence_jump",
            GapCause::SessionLost => "session_lost",
            GapCause::StoreFailed => "store_failed",
            GapCause::Other => "other",
        }
    }
}

/// A stretch of one shard's events that cannot be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Whose events.
    pub shard: ShardId,
    /// In which of the shard's sessions the stretch lies, or begins.
    pub session: u64,
    /// The first missing sequence number; `None` when it is not known.
    pub first_s: Option<u64>,
    /// The last missing sequence number, inclusive. `None`: up to the start of the next session, however far it was.
    pub last_s: Option<u64>,
    /// Why.
    pub cause: GapCause,
    /// How many events, where that is known.
    pub events: Option<u64>,
    /// When it was found, in Unix microseconds.
    pub at_unix_us: u64,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {} session {}: ", self.shard, self.session)?;
        match (self.first_s, self.last_s) {
            (Some(first), Some(last)) => write!(f, "events {first} to {last}")?,
            (Some(first), None) => write!(f, "events from {first} to the next session")?,
            (None, Some(last)) => write!(f, "events up to {last}")?,
            (None, None) => f.write_str("events up to the next session")?,
        }
        write!(f, " cannot be delivered ({})", self.cause.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_says_where_it_is_and_why() {
        let mut gap = Gap {
            shard: ShardId { bot: 7, index: 1, count: 2 },
            session: 3,
            first_s: Some(10),
            last_s: Some(12),
            cause: GapCause::SequenceJump,
            events: Some(3),
            at_unix_us: 0,
        };
        assert_eq!(gap.to_string(), "shard 7/1/2 session 3: events 10 to 12 cannot be delivered (sequence_jump)");
        gap.last_s = None;
        assert!(gap.to_string().contains("from 10 to the next session"));
    }

    #[test]
    fn cause_names_are_distinct() {
        let names: std::collections::HashSet<_> = GapCause::ALL.iter().map(|cause| cause.as_str()).collect();
        assert_eq!(names.len(), GapCause::ALL.len());
    }
}
