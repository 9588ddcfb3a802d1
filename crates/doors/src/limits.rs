//! Every number a worker stream lives by, each with the reason for its default.
//!
//! The credit and the times are the promise of the worker stream's contract; change them in tests only.

use std::time::Duration;

/// Events a stream may hold unacknowledged, over all cores: a second of a very busy bot's traffic.
pub const CREDIT_EVENTS: u32 = 4_096;

/// Bytes a stream may hold unacknowledged, over all cores. Bounds what a dead worker costs in memory.
pub const CREDIT_BYTES: u64 = 16 << 20;

/// Streams of one group at once. Above this a group should be split: each stream costs every core a little.
pub const STREAMS_PER_GROUP_MAX: usize = 1_024;

/// Groups of a door. The hub's own limit is the same or lower.
pub const GROUPS_MAX: usize = trunkline_delivery::GROUPS_MAX;

/// Bytes of a group's name, and of a worker's id: what fits in a log line and a metric's label.
pub const NAME_BYTES_MAX: usize = 128;

/// Bytes of a token or ticket that are looked at; a longer one cannot be right.
pub const TOKEN_BYTES_MAX: usize = 1_024;

/// Bytes of one message from a worker. The longest is an identify request with a filter.
pub const INCOMING_BYTES_MAX: usize = 64 << 10;

/// Bytes of one message to a worker that asked for as much; without asking it is gRPC's usual 4 MiB.
pub const OUTGOING_BYTES_MAX: usize = 64 << 20;

/// Names and ids in one worker's filter.
pub const FILTER_ENTRIES_MAX: usize = 4_096;

/// Events taken from the cores, encoded and passed on at once. Many events share one wake-up and one write.
pub(crate) const CHUNK_EVENTS: usize = 128;

/// Bytes after which a chunk goes even if more events wait.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

/// Chunks between a stream's task and its socket. Small: what lies here is already numbered, and a request for
/// acknowledgement waits behind it.
pub(crate) const CHUNKS_QUEUED: usize = 2;

/// Bytes of one stream that wait in the HTTP/2 layer for the worker's window. Small for the same reason.
pub(crate) const SEND_BUFFER_BYTES: usize = 256 << 10;

/// Room in the channel from the cores to a stream beyond its credit, for questions and answers that carry no event.
pub(crate) const QUESTIONS_QUEUED: usize = 256;

/// The highest `last_sequence` that is believed. Above it there would be no room left to count (and Java's signed
/// numbers end at twice this).
pub const LAST_SEQUENCE_MAX: u64 = 1 << 62;

/// Limits of a door that a test may want smaller.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// See [`CREDIT_EVENTS`].
    pub credit_events: u32,
    /// See [`CREDIT_BYTES`].
    pub credit_bytes: u64,
    /// See [`STREAMS_PER_GROUP_MAX`].
    pub streams_per_group: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { credit_events: CREDIT_EVENTS, credit_bytes: CREDIT_BYTES, streams_per_group: STREAMS_PER_GROUP_MAX }
    }
}

/// The times of a worker stream.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// How long a new stream may take to identify.
    pub identify: Duration,
    /// How old the oldest unacknowledged event gets before the worker is asked.
    pub ask_after: Duration,
    /// How long nothing is asked when nothing needs an answer.
    pub idle: Duration,
    /// How long an unanswered request waits for company: the second is sent then.
    pub ask_again: Duration,
    /// Two unanswered, the first this old: the worker is gone.
    pub dead_after: Duration,
    /// How long a socket must have been full for its next move to be the worker's doing. A burst fills the short queue in
    /// front of it for a moment, and the system takes megabytes off that for a worker that has long been gone.
    pub full_for: Duration,
    /// After an answer that acknowledged nothing new, the next request waits this long, so that a worker that is merely
    /// slow is not flooded.
    pub patience: Duration,
    /// How long a broken stream's unacknowledged list is kept for `last_sequence`. The hub's grace is the same.
    pub grace: Duration,
    /// How long a stop waits for acknowledgements.
    pub stop: Duration,
    /// How long the last message of a stream may take to get into the socket's queue.
    pub farewell: Duration,
}

impl Default for Timings {
    fn default() -> Timings {
        Timings {
            identify: Duration::from_secs(10),
            ask_after: Duration::from_secs(1),
            idle: Duration::from_secs(10),
            ask_again: Duration::from_secs(5),
            dead_after: Duration::from_secs(10),
            full_for: Duration::from_millis(100),
            patience: Duration::from_millis(250),
            grace: Duration::from_secs(5),
            stop: Duration::from_secs(5),
            farewell: Duration::from_secs(1),
        }
    }
}
