//! When a worker is asked to acknowledge, and when it counts as gone.
//!
//! Pylon's workers acknowledge at no other time than when a heartbeat request asks them to, so the heartbeat is the
//! request. Asked is: at once when half the credit is used; a second after the oldest unacknowledged event; at once when
//! a core waits for an answer (hand-over, drain, stop); every ten seconds when nothing happens. There is at most one
//! request open for each of these reasons, an unanswered one is repeated after five seconds, and with two unanswered
//! ten seconds after the first the worker is gone.
//!
//! Pure: inputs and `now` go in, the next request or deadline comes out.

use std::collections::VecDeque;

use trunkline_discord::Time;

use crate::ledger::Ledger;
use crate::limits::Timings;

/// Why a worker was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Half the credit is used.
    HalfUsed,
    /// The oldest unacknowledged event is a second old.
    Oldest,
    /// A core waits for it.
    Wanted,
    /// The request before this one is unanswered.
    Again,
    /// Nothing has happened for a while.
    Idle,
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    nonce: u64,
    at: Time,
    why: Why,
    /// The last sequence sent before it; an answer covers at most this much.
    through: u64,
}

/// The requests of one stream.
#[derive(Debug)]
pub struct Heart {
    timings: Timings,
    open: VecDeque<Ask>,
    asked_at: Time,
    next_nonce: u64,
    /// A core waits until everything up to here is acknowledged.
    wanted_through: u64,
    /// Not before this: the last answer brought nothing new.
    not_before: Time,
    /// The last time a full socket took something or an event was acknowledged: such a worker is not gone.
    moved_at: Time,
    /// Since when the socket has been full.
    full_since: Option<Time>,
}

/// How many nonces of the past are recognised though a later one has been answered already.
const RECENT: u64 = 64;

impl Heart {
    /// A stream that has just been let in.
    pub fn new(timings: Timings, now: Time) -> Heart {
        Heart {
            timings,
            open: VecDeque::new(),
            asked_at: now,
            next_nonce: 1,
            wanted_through: 0,
            not_before: now,
            moved_at: Time::ZERO,
            full_since: None,
        }
    }

    /// A core waits for what has been sent so far.
    pub fn want(&mut self, ledger: &Ledger) {
        if let Some(last) = ledger.last_sent() {
            self.wanted_through = self.wanted_through.max(last);
        }
    }

    /// An event was acknowledged.
    pub fn moved(&mut self, now: Time) {
        self.moved_at = now;
    }

    /// There is something to send, and the socket does not take it.
    pub fn full(&mut self, now: Time) {
        self.full_since.get_or_insert(now);
    }

    /// The socket has taken something. After it was full for a while that is the worker's doing, and such a worker is not gone.
    pub fn took(&mut self, now: Time) {
        if self.full_since.take().is_some_and(|since| now.since(since) >= self.timings.full_for) {
            self.moved_at = now;
        }
    }

    /// Why the worker should be asked now, if it should.
    pub fn due(&self, ledger: &Ledger, half_used: bool, now: Time) -> Option<Why> {
        if let Some(last) = self.open.back() {
            if now >= last.at + self.timings.ask_again {
                return Some(Why::Again);
            }
        } else if now >= self.asked_at + self.timings.idle {
            return Some(Why::Idle);
        }
        if ledger.is_empty() || now < self.not_before {
            return None;
        }
        if half_used && !self.is_open(Why::HalfUsed) {
            return Some(Why::HalfUsed);
        }
        if self.wants(ledger) {
            return Some(Why::Wanted);
        }
        if self.open.is_empty() && now >= self.oldest_due(ledger)? {
            return Some(Why::Oldest);
        }
        None
    }

    /// Notes that a request goes out; returns its nonce.
    pub fn asked(&mut self, why: Why, ledger: &Ledger, now: Time) -> u64 {
        let nonce = self.next_nonce;
        self.next_nonce += 1;
        self.asked_at = now;
        self.open.push_back(Ask { nonce, at: now, why, through: ledger.next() - 1 });
        nonce
    }

    /// An answer has come; `acknowledged` events are done by it. Settles its request and all before it. Returns how
    /// long the worker took, or nothing when the nonce was never used on this stream or long ago.
    pub fn answered(&mut self, nonce: u64, acknowledged: u32, now: Time) -> Option<std::time::Duration> {
        if nonce == 0 || nonce >= self.next_nonce || nonce + RECENT < self.next_nonce {
            return None;
        }
        let mut took = std::time::Duration::ZERO;
        while let Some(ask) = self.open.front().copied().filter(|ask| ask.nonce <= nonce) {
            took = now.since(ask.at);
            self.open.pop_front();
        }
        if acknowledged == 0 {
            self.not_before = now + self.timings.patience;
        }
        Some(took)
    }

    /// Whether the worker is gone.
    pub fn is_dead(&self, now: Time) -> bool {
        self.dead_at().is_some_and(|at| now >= at)
    }

    /// Requests without an answer.
    pub fn unanswered(&self) -> usize {
        self.open.len()
    }

    /// When to look again at the latest if nothing else happens.
    pub fn next(&self, ledger: &Ledger, half_used: bool) -> Time {
        let mut next = match self.open.back() {
            Some(last) => last.at + self.timings.ask_again,
            None => self.asked_at + self.timings.idle,
        };
        if let Some(dead) = self.dead_at() {
            next = next.min(dead);
        }
        if !ledger.is_empty() {
            if (half_used && !self.is_open(Why::HalfUsed)) || self.wants(ledger) {
                next = next.min(self.not_before);
            }
            if self.open.is_empty()
                && let Some(due) = self.oldest_due(ledger)
            {
                next = next.min(due.max(self.not_before));
            }
        }
        next
    }

    fn dead_at(&self) -> Option<Time> {
        let first = self.open.front().filter(|_| self.open.len() >= 2)?;
        Some(first.at.max(self.moved_at) + self.timings.dead_after)
    }

    fn is_open(&self, why: Why) -> bool {
        self.open.iter().any(|ask| ask.why == why)
    }

    /// A core waits, and no open request covers what it waits for.
    fn wants(&self, ledger: &Ledger) -> bool {
        self.wanted_through > ledger.acked() && !self.open.iter().any(|ask| ask.why == Why::Wanted || ask.through >= self.wanted_through)
    }

    /// When the oldest unacknowledged event wants an answer. An answer that left it unacknowledged makes it wait anew.
    fn oldest_due(&self, ledger: &Ledger) -> Option<Time> {
        let oldest = ledger.oldest_at()?;
        // A slow worker answers and is not done: asked once a second, not at every answer.
        let since = if self.asked_at > oldest { self.asked_at } else { oldest };
        Some(since + self.timings.ask_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::ByCore;
    use trunkline_delivery::{EntryId, Slot};

    fn ack(ledger: &mut Ledger, sequence: u64) -> u32 {
        match ledger.ack(sequence, &mut ByCore::new(1)) {
            crate::ledger::Acked::Events(events) => events,
            crate::ledger::Acked::NeverSent => panic!("never sent"),
        }
    }

    fn ms(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn send(ledger: &mut Ledger, at: u64) {
        let position = ledger.next();
        ledger.push(0, EntryId { slot: Slot(0), position }, 10, ms(at));
    }

    fn start() -> (Heart, Ledger) {
        (Heart::new(Timings::default(), ms(0)), Ledger::new(100, 1))
    }

    /// Asks when it is due between two times, as a driver would.
    #[track_caller]
    fn asks_at(heart: &mut Heart, ledger: &Ledger, half: bool, until: u64) -> Vec<(u64, Why)> {
        let mut asks = Vec::new();
        let mut now = heart.asked_at;
        while now <= ms(until) && !heart.is_dead(now) {
            if let Some(why) = heart.due(ledger, half, now) {
                heart.asked(why, ledger, now);
                asks.push((now.as_millis(), why));
                continue;
            }
            let next = heart.next(ledger, half);
            assert!(next > now, "the driver would spin at {now:?}");
            now = next;
        }
        asks
    }

    #[test]
    fn an_idle_worker_is_asked_every_ten_seconds() {
        let (mut heart, ledger) = start();
        assert_eq!(heart.due(&ledger, false, ms(9_999)), None);
        assert_eq!(heart.next(&ledger, false), ms(10_000));
        assert_eq!(heart.due(&ledger, false, ms(10_000)), Some(Why::Idle));
        let nonce = heart.asked(Why::Idle, &ledger, ms(10_000));
        assert!(heart.answered(nonce, 0, ms(10_020)).is_some());
        assert_eq!(heart.next(&ledger, false), ms(20_000));
    }

    #[test]
    fn the_oldest_unacknowledged_event_is_asked_for_after_a_second() {
        let (mut heart, mut ledger) = start();
        send(&mut ledger, 300);
        send(&mut ledger, 900);
        assert_eq!(heart.due(&ledger, false, ms(1_299)), None);
        assert_eq!(heart.due(&ledger, false, ms(1_300)), Some(Why::Oldest));
        let nonce = heart.asked(Why::Oldest, &ledger, ms(1_300));
        assert_eq!(heart.due(&ledger, false, ms(1_900)), None, "one request is open and covers it");
        let done = ack(&mut ledger, 101);
        heart.answered(nonce, done, ms(1_950));
        assert_eq!(heart.due(&ledger, false, ms(5_000)), None, "nothing is left to ask for");
    }

    #[test]
    fn half_the_credit_is_asked_for_at_once_even_when_an_older_request_is_open() {
        let (mut heart, mut ledger) = start();
        send(&mut ledger, 0);
        heart.asked(Why::Oldest, &ledger, ms(1_000));
        send(&mut ledger, 1_001);
        assert_eq!(heart.due(&ledger, true, ms(1_001)), Some(Why::HalfUsed));
        let nonce = heart.asked(Why::HalfUsed, &ledger, ms(1_001));
        assert_eq!(heart.due(&ledger, true, ms(1_002)), None, "not twice for the same reason");
        heart.answered(nonce, 1, ms(1_010));
        assert_eq!(heart.unanswered(), 0, "a later answer settles the earlier request");
        assert_eq!(heart.due(&ledger, true, ms(1_010)), Some(Why::HalfUsed), "progress was made and half is used again");
    }

    #[test]
    fn a_core_that_waits_is_asked_for_at_once_and_once() {
        let (mut heart, mut ledger) = start();
        heart.want(&ledger);
        assert_eq!(heart.due(&ledger, false, ms(5)), None, "nothing to acknowledge");
        send(&mut ledger, 10);
        heart.want(&ledger);
        heart.want(&ledger);
        assert_eq!(heart.due(&ledger, false, ms(10)), Some(Why::Wanted));
        let nonce = heart.asked(Why::Wanted, &ledger, ms(10));
        assert_eq!(heart.due(&ledger, false, ms(11)), None);
        // The worker is not done with it yet: patience, then again.
        heart.answered(nonce, 0, ms(12));
        assert_eq!(heart.due(&ledger, false, ms(13)), None);
        assert_eq!(heart.next(&ledger, false), ms(262));
        assert_eq!(heart.due(&ledger, false, ms(262)), Some(Why::Wanted));
        let nonce = heart.asked(Why::Wanted, &ledger, ms(262));
        let done = ack(&mut ledger, 100);
        heart.answered(nonce, done, ms(263));
        send(&mut ledger, 264);
        assert_eq!(heart.due(&ledger, false, ms(264)), None, "what came later is not waited for");
    }

    #[test]
    fn two_unanswered_requests_and_ten_seconds_end_a_worker() {
        let (mut heart, mut ledger) = start();
        send(&mut ledger, 0);
        assert_eq!(asks_at(&mut heart, &ledger, false, 60_000), [(1_000, Why::Oldest), (6_000, Why::Again)]);
        assert!(!heart.is_dead(ms(10_999)));
        assert!(heart.is_dead(ms(11_000)));
    }

    #[test]
    fn an_idle_worker_that_died_silently_is_found_within_twenty_seconds() {
        let (mut heart, ledger) = start();
        assert_eq!(asks_at(&mut heart, &ledger, false, 60_000), [(10_000, Why::Idle), (15_000, Why::Again)]);
        assert!(!heart.is_dead(ms(19_999)));
        assert!(heart.is_dead(ms(20_000)));
    }

    #[test]
    fn a_worker_whose_full_socket_still_moves_is_not_gone() {
        let (mut heart, mut ledger) = start();
        send(&mut ledger, 0);
        heart.asked(Why::Oldest, &ledger, ms(1_000));
        heart.asked(Why::Again, &ledger, ms(6_000));
        heart.full(ms(2_000));
        heart.full(ms(10_499));
        heart.took(ms(10_500));
        assert!(!heart.is_dead(ms(20_499)));
        assert!(heart.is_dead(ms(20_500)));
        heart.took(ms(20_400));
        assert!(heart.is_dead(ms(20_500)), "it was not full any more");
    }

    #[test]
    fn a_burst_that_passes_through_to_a_silent_worker_does_not_prove_it_alive() {
        let (mut heart, mut ledger) = start();
        send(&mut ledger, 0);
        heart.asked(Why::Oldest, &ledger, ms(1_000));
        heart.asked(Why::Again, &ledger, ms(6_000));
        for at in 10_000..10_050 {
            heart.full(ms(at));
            heart.took(ms(at + 1));
        }
        assert!(!heart.is_dead(ms(10_999)));
        assert!(heart.is_dead(ms(11_000)));
    }

    #[test]
    fn an_old_nonce_settles_nothing_new_and_a_made_up_one_is_told_apart() {
        let (mut heart, mut ledger) = start();
        send(&mut ledger, 0);
        let first = heart.asked(Why::Oldest, &ledger, ms(1_000));
        let second = heart.asked(Why::Again, &ledger, ms(6_000));
        assert!(heart.answered(first, 0, ms(6_100)).is_some());
        assert_eq!(heart.unanswered(), 1);
        assert!(heart.answered(first, 0, ms(6_200)).is_some(), "recent, though settled");
        assert_eq!(heart.unanswered(), 1);
        assert!(heart.answered(second + 1, 0, ms(6_300)).is_none());
        assert!(heart.answered(0, 0, ms(6_300)).is_none());
        assert_eq!(heart.unanswered(), 1);
    }

    #[test]
    fn a_slow_worker_that_answers_without_progress_is_asked_once_a_second() {
        let (mut heart, mut ledger) = start();
        send(&mut ledger, 0);
        let mut asks = Vec::new();
        let mut now = ms(0);
        while now < ms(5_000) {
            if let Some(why) = heart.due(&ledger, false, now) {
                let nonce = heart.asked(why, &ledger, now);
                asks.push(now.as_millis());
                heart.answered(nonce, 0, now);
            }
            now = heart.next(&ledger, false);
        }
        assert_eq!(asks, [1_000, 2_000, 3_000, 4_000]);
    }
}
