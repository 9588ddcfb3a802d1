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

    /// Milliseconds since 1970.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.unix_us() / 1000
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
