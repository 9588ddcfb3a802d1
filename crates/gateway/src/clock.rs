//! The two clocks of a driver: the monotonic one that minds are fed with, and the wall clock for stamps.
//!
//! Minds see only [`Time`]. The monotonic clock is the runtime's, so that a test that pauses the runtime's time pauses
//! everything.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use trunkline_discord::Time;

/// Both clocks. One value for the whole process, so that times of different cores compare.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    /// Microseconds since 1970 at `origin`, when the wall clock follows the monotonic one.
    unix_origin_us: Option<u64>,
}

impl Clock {
    /// Starts at [`Time::ZERO`] now; stamps come from the system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now(), unix_origin_us: None }
    }

    /// Starts at [`Time::ZERO`] now; stamps start at `unix_us` and follow the runtime's time, for runs on virtual time.
    #[must_use]
    pub fn starting_at(unix_us: u64) -> Self {
        Self { origin: Instant::now(), unix_origin_us: Some(unix_us) }
    }

    /// The monotonic time.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    /// The runtime's instant of a time, for sleeping until it.
    #[must_use]
    pub fn instant(&self, time: Time) -> Instant {
        // A year ahead is for ever here, and keeps the addition from overflowing.
        let ahead = time.since(Time::ZERO).min(Duration::from_secs(31_536_000 * 10));
        self.origin + ahead
    }

    /// Microseconds since 1970.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the driver's clock: the one place that reads it")]
    pub fn unix_us(&self) -> u64 {
        match self.unix_origin_us {
            Some(origin) => origin.saturating_add(self.now().as_micros()),
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX)),
        }
    }

    /// Both.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp { at: self.now(), unix_us: self.unix_us() }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.unix_us() / 1000
    }
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The monotonic time.
    pub at: Time,
    /// Microseconds since 1970.
    pub unix_us: u64,
}

/// How much is handled under one look at the clocks, in bytes of plain messages: some 30 microseconds' worth.
const LOOK_BYTES: usize = 16 * 1024;
/// What a message counts besides its bytes, for small ones cost more than these say.
const MESSAGE_BYTES: usize = 512;

/// The clocks for whoever handles many messages in a row. To look at both takes as long as all else that is done with a small event before
/// it comes to the cache; so one look serves for what was there already and is handled in the next some 30 microseconds.
///
/// The monotonic time of a stamp is never ahead of its clock and never goes back.
#[derive(Debug)]
pub struct Watch {
    clock: Clock,
    last: Stamp,
    /// Bytes that may still be handled under it.
    left: usize,
}

impl Watch {
    /// Looks.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, last: clock.stamp(), left: LOOK_BYTES }
    }

    /// Looks, whenever that was done last: for what may have waited for something.
    pub fn look(&mut self) -> Stamp {
        *self = Self::new(self.clock);
        self.last
    }

    /// The last look, or a new one if much was handled since.
    #[inline]
    pub fn stamp(&mut self) -> Stamp {
        if self.left < MESSAGE_BYTES { self.look() } else { self.last }
    }

    /// The moment at which a message of so many bytes is handled that was there already at the last look.
    #[inline]
    pub fn message(&mut self, bytes: usize) -> Stamp {
        let stamp = self.stamp();
        self.left = self.left.saturating_sub(bytes.saturating_add(MESSAGE_BYTES));
        stamp
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_look_at_the_clocks_serves_for_little_and_not_for_much() {
        let mut watch = Watch::new(Clock::starting_at(7));
        let late = Stamp { at: Time::from_millis(3), unix_us: 3_007 };
        tokio::time::advance(Duration::from_millis(3)).await;
        let early = watch.message(1_000);
        assert_eq!(early, Stamp { at: Time::ZERO, unix_us: 7 });
        assert_eq!(watch.message(10 << 20), early, "its size says how long it will take, not how long it has waited");
        assert_eq!(watch.stamp(), late, "after a giant the clocks are looked at before anything else");
        tokio::time::advance(Duration::from_millis(1)).await;
        let served = (0..).take_while(|_| watch.message(0) == late).count();
        assert_eq!(served, LOOK_BYTES / MESSAGE_BYTES, "messages without a byte count too");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(watch.look().at, Time::from_millis(5));
    }
}
