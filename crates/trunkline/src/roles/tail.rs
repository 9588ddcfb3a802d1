//! The end of a shard's log on disk: how far the store may let go.
//!
//! What is acknowledged may go, and goes a segment file at a time. A shard whose workers keep up has nothing unacknowledged at most of
//! its checkpoints: its newest file would be deleted, and made anew for the next event, several times a second, and with hundreds of shards
//! that costs more than writing. So the newest file stays, and is written on, until it holds [`SEGMENT_KEPT_BYTES`].

/// A shard's newest segment stays until so much was written to it.
pub const SEGMENT_KEPT_BYTES: u64 = 256 << 10;

/// What a shard has handed to the store since a segment was last given free.
#[derive(Debug, Default)]
pub struct Tail {
    /// The position of the last entry; none while nothing is held back.
    last: Option<u64>,
    bytes: u64,
}

impl Tail {
    /// Entries are handed over: the position of the last one, and their bytes.
    pub fn wrote(&mut self, last: u64, bytes: u64) {
        self.last = Some(last);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Below which position the store may let go, where nobody needs what is below `base`.
    pub fn release_below(&mut self, base: u64) -> u64 {
        match self.last {
            Some(last) if self.bytes < SEGMENT_KEPT_BYTES => base.min(last),
            Some(last) if base > last => {
                *self = Tail::default();
                base
            }
            _ => base,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_never_wrote_gives_everything_free() {
        assert_eq!(Tail::default().release_below(700), 700);
    }

    #[test]
    fn the_newest_segment_stays_while_it_is_small_and_older_ones_go() {
        let mut tail = Tail::default();
        tail.wrote(9, 4_000);
        assert_eq!(tail.release_below(5), 5, "what is needed is needed");
        assert_eq!(tail.release_below(10), 9, "all is acknowledged, and the file is kept for the next entry");
        tail.wrote(20, 4_000);
        assert_eq!(tail.release_below(21), 20, "what lies below the last entry may go");
    }

    #[test]
    fn a_segment_that_was_worth_a_file_goes_once_nobody_needs_it() {
        let mut tail = Tail::default();
        tail.wrote(9, SEGMENT_KEPT_BYTES);
        assert_eq!(tail.release_below(9), 9, "its last entry is still needed");
        assert_eq!(tail.release_below(10), 10);
        tail.wrote(10, 100);
        assert_eq!(tail.release_below(11), 10, "and the next one begins to fill");
    }
}
