//! What a door counts. Plain atomics, read by whoever renders metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::groups::Groups;

/// A counter that anybody may read and the door adds to.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds; returns the new value.
    pub fn add(&self, more: u64) -> u64 {
        self.0.fetch_add(more, Relaxed) + more
    }

    /// Takes away; for gauges.
    pub fn sub(&self, less: u64) {
        self.0.fetch_sub(less, Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the latency histogram's buckets, in microseconds. One more bucket holds everything above.
pub const LATENCY_BOUNDS_US: [u64; 14] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000];

/// A histogram in fixed buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Count; LATENCY_BOUNDS_US.len() + 1],
    sum_us: Count,
}

impl Histogram {
    /// Counts one value, in microseconds.
    pub fn observe(&self, us: u64) {
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].add(1);
        self.sum_us.add(us);
    }

    /// Each bucket's upper bound (none: no bound) and its own count (not cumulative).
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        self.buckets.iter().enumerate().map(|(index, count)| (LATENCY_BOUNDS_US.get(index).copied(), count.get()))
    }

    /// Sum of all values, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us.get()
    }
}

/// What is counted for one group.
#[derive(Debug, Default)]
pub struct GroupStats {
    /// The group's name.
    pub name: Arc<str>,
    /// Streams open now.
    pub streams_open: Count,
    /// Streams let in so far.
    pub streams: Count,
    /// Events and gaps sent.
    pub events: Count,
    /// Their bytes, as the log counts them.
    pub bytes: Count,
    /// Of those sent, the ones that may have been sent before.
    pub redelivered: Count,
    /// Events that the worker's contract has no form for, acknowledged in its stead.
    pub filtered: Count,
    /// Events over the limit of a plain Pylon worker, which has no members or presences that it could lose instead:
    /// acknowledged in its stead and lost to it.
    pub too_large: Count,
    /// Of those sent, the ones that lost members, presences or their payload to the worker's message limit.
    pub trimmed: Count,
    /// Events acknowledged by workers.
    pub acked: Count,
    /// Acknowledgements of sequences that the stream never sent: ignored.
    pub bad_acks: Count,
    /// Answers with a nonce that was never used, and messages without content or out of place: ignored.
    pub bad_messages: Count,
    /// Requests for acknowledgement.
    pub asked: Count,
    /// Answers to them.
    pub answered: Count,
    /// Workers that left two requests unanswered.
    pub timeouts: Count,
    /// Workers that drained.
    pub drains: Count,
    /// Streams ended by a newer one of the same worker.
    pub replaced: Count,
    /// Streams that ended without a good-bye.
    pub broken: Count,
    /// Events that `last_sequence` acknowledged.
    pub resumed_events: Count,
}

/// What a door counts.
#[derive(Debug)]
pub struct DoorStats {
    /// By group, in the order of the configuration.
    pub groups: Vec<GroupStats>,
    /// Streams refused because group, token or worker id was wrong or missing.
    pub refused_identities: Count,
    /// Streams that did not identify in time.
    pub late_identities: Count,
    /// Streams refused because the group has as many as it may.
    pub refused_full: Count,
    /// From the socket's read to the stream's queue, in microseconds. Redelivered events are left out.
    pub latency: Histogram,
    /// Connections open now.
    pub connections_open: Count,
    /// Connections closed at once because there are too many.
    pub refused_connections: Count,
}

impl DoorStats {
    /// All zero.
    pub fn new(groups: &Groups) -> DoorStats {
        DoorStats {
            groups: groups.all().iter().map(|group| GroupStats { name: group.name.clone(), ..GroupStats::default() }).collect(),
            refused_identities: Count::default(),
            late_identities: Count::default(),
            refused_full: Count::default(),
            latency: Histogram::default(),
            connections_open: Count::default(),
            refused_connections: Count::default(),
        }
    }

    /// Streams open over all groups.
    pub fn streams_open(&self) -> u64 {
        self.groups.iter().map(|group| group.streams_open.get()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::default();
        for us in [0, 50, 51, 10_000_000, 10_000_001] {
            histogram.observe(us);
        }
        let counts: Vec<u64> = histogram.buckets().map(|(_, count)| count).collect();
        assert_eq!(counts[0], 2);
        assert_eq!(counts[1], 1);
        assert_eq!(counts[13], 1);
        assert_eq!(counts[14], 1);
        assert_eq!(histogram.buckets().last().map(|(bound, _)| bound), Some(None));
        assert_eq!(histogram.sum_us(), 20_000_102);
    }
}
