//! How many frames may leave: a sliding window of send times.

use std::collections::VecDeque;
use std::time::Duration;

use trunkline_discord::Time;

/// At most `max` in any `window`; remembers when each of the last ones left.
#[derive(Debug)]
pub(crate) struct Budget {
    max: usize,
    window: Duration,
    sent: VecDeque<Time>,
}

impl Budget {
    pub(crate) fn new(max: usize, window: Duration) -> Budget {
        Budget { max, window, sent: VecDeque::new() }
    }

    /// Forgets what has left the window. A frame exactly one window old still counts: Discord's window may begin a
    /// hair later than ours.
    fn forget(&mut self, now: Time) {
        while self.sent.front().is_some_and(|&at| now.since(at) > self.window) {
            self.sent.pop_front();
        }
    }

    /// `None` if one more may leave now with `keep` places still free after it; else when that will be.
    pub(crate) fn wait(&mut self, keep: usize, now: Time) -> Option<Time> {
        self.forget(now);
        let usable = self.max.saturating_sub(keep);
        if self.sent.len() < usable {
            return None;
        }
        // The one whose leaving the window makes the room. With nothing usable at all: when the window is empty.
        let index = (self.sent.len() - usable).min(self.sent.len().saturating_sub(1));
        let oldest = self.sent.get(index).copied().unwrap_or(now);
        Some(oldest + self.window + Duration::from_micros(1))
    }

    /// One has left.
    pub(crate) fn spend(&mut self, now: Time) {
        self.forget(now);
        self.sent.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_window_slides_and_says_when_there_is_room() {
        let mut budget = Budget::new(3, 10 * SECOND);
        for second in 0..3 {
            let now = Time::ZERO + second * SECOND;
            assert_eq!(budget.wait(0, now), None);
            budget.spend(now);
        }
        let now = Time::ZERO + 3 * SECOND;
        let free = budget.wait(0, now).unwrap_or(now);
        assert_eq!(free, Time::ZERO + 10 * SECOND + Duration::from_micros(1));
        assert_eq!(budget.wait(0, free), None);
    }

    #[test]
    fn kept_places_stay_free() {
        let mut budget = Budget::new(3, 10 * SECOND);
        budget.spend(Time::ZERO);
        assert_eq!(budget.wait(1, Time::ZERO), None);
        budget.spend(Time::ZERO + SECOND);
        let free = budget.wait(1, Time::ZERO + SECOND);
        assert_eq!(free, Some(Time::ZERO + 10 * SECOND + Duration::from_micros(1)));
        assert_eq!(budget.wait(0, Time::ZERO + SECOND), None);
    }

    #[test]
    fn with_every_place_kept_the_wait_still_ends() {
        let mut budget = Budget::new(3, 10 * SECOND);
        let now = Time::ZERO + SECOND;
        budget.spend(now);
        assert!(budget.wait(3, now).is_some_and(|free| free > now));
        assert!(budget.wait(9, Time::ZERO + 100 * SECOND).is_some());
    }
}
