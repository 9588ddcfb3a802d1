//! Which sequence on a stream is which core's entry, and what an acknowledgement of it settles.
//!
//! Pure. Sequences rise by one without holes, so the ledger is a queue: its front is the oldest unacknowledged event.
//! An acknowledgement of anything that this stream has not sent changes nothing.

use std::collections::VecDeque;

use trunkline_delivery::EntryId;
use trunkline_discord::Time;

/// One event sent and not yet acknowledged.
#[derive(Clone, Copy, Debug)]
struct Sent {
    core: u16,
    entry: EntryId,
    bytes: u64,
    at: Time,
}

/// What a stream holds of one core, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Events sent and not acknowledged.
    pub events: u32,
    /// Their bytes, as the log counts them.
    pub bytes: u64,
}

/// Entries to acknowledge, by core.
#[derive(Clone, Debug, Default)]
pub struct ByCore(Vec<Vec<EntryId>>);

impl ByCore {
    /// Empty lists for `cores` cores.
    pub fn new(cores: usize) -> ByCore {
        ByCore(vec![Vec::new(); cores])
    }

    /// Adds one entry.
    pub fn push(&mut self, core: u16, entry: EntryId) {
        if let Some(list) = self.0.get_mut(usize::from(core)) {
            list.push(entry);
        }
    }

    /// Takes out the lists that have something.
    pub fn take(&mut self) -> impl Iterator<Item = (usize, Vec<EntryId>)> + '_ {
        self.0.iter_mut().enumerate().filter(|(_, list)| !list.is_empty()).map(|(core, list)| (core, std::mem::take(list)))
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }
}

/// What an acknowledgement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acked {
    /// So many events are done now. 0: all of them were before, or the sequence was 0 and names none.
    Events(u32),
    /// This stream never sent that sequence: ignored.
    NeverSent,
}

/// The unacknowledged events of one stream.
#[derive(Debug)]
pub struct Ledger {
    first: u64,
    next: u64,
    sent: VecDeque<Sent>,
    all: InFlight,
    by_core: Vec<InFlight>,
}

impl Ledger {
    /// A stream whose first event will have the sequence `first` (at least 1), with events from `cores` cores.
    pub fn new(first: u64, cores: usize) -> Ledger {
        let first = first.max(1);
        Ledger { first, next: first, sent: VecDeque::new(), all: InFlight::default(), by_core: vec![InFlight::default(); cores] }
    }

    /// The sequence the next event gets.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The last sequence sent; none before the first.
    pub fn last_sent(&self) -> Option<u64> {
        (self.next > self.first).then(|| self.next - 1)
    }

    /// Everything up to here is acknowledged. One below the first sequence at the start.
    pub fn acked(&self) -> u64 {
        self.next - 1 - self.sent.len() as u64
    }

    /// When the oldest unacknowledged event was sent.
    pub fn oldest_at(&self) -> Option<Time> {
        self.sent.front().map(|sent| sent.at)
    }

    /// Events unacknowledged.
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// Whether everything is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// What is in flight in all.
    pub fn in_flight(&self) -> InFlight {
        self.all
    }

    /// What is in flight, core by core.
    pub fn by_core(&self) -> &[InFlight] {
        &self.by_core
    }

    /// Notes an event as sent under [`Ledger::next`].
    pub fn push(&mut self, core: u16, entry: EntryId, bytes: u64, at: Time) {
        self.sent.push_back(Sent { core, entry, bytes, at });
        self.next += 1;
        self.all.events += 1;
        self.all.bytes += bytes;
        if let Some(in_flight) = self.by_core.get_mut(usize::from(core)) {
            in_flight.events += 1;
            in_flight.bytes += bytes;
        }
    }

    /// Everything up to `sequence` is done; their entries go to `done`. 0 acknowledges nothing and is no mistake.
    pub fn ack(&mut self, sequence: u64, done: &mut ByCore) -> Acked {
        if sequence == 0 {
            return Acked::Events(0);
        }
        if sequence < self.first || sequence >= self.next {
            return Acked::NeverSent;
        }
        let mut events = 0;
        while self.acked() < sequence {
            let Some(sent) = self.sent.pop_front() else { break };
            done.push(sent.core, sent.entry);
            self.all.events -= 1;
            self.all.bytes -= sent.bytes;
            if let Some(in_flight) = self.by_core.get_mut(usize::from(sent.core)) {
                in_flight.events -= 1;
                in_flight.bytes -= sent.bytes;
            }
            events += 1;
        }
        Acked::Events(events)
    }
}

/// The first sequence of a stream: above everything the identity has seen, over reconnects and restarts.
///
/// `last_sequence` is what the worker says, `issued` what this process remembers of it. Seconds since 1970 times 2^20
/// lie above whatever an earlier process has sent, because no stream sends a million events a second for long.
pub fn first_sequence(last_sequence: u64, issued: u64, unix_seconds: u64) -> u64 {
    last_sequence.max(issued).max(unix_seconds << 20) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_delivery::Slot;

    fn entry(position: u64) -> EntryId {
        EntryId { slot: Slot(0), position }
    }

    fn ledger(first: u64, events: u64) -> Ledger {
        let mut ledger = Ledger::new(first, 2);
        for n in 0..events {
            ledger.push((n % 2) as u16, entry(n), 100, Time::from_millis(n));
        }
        ledger
    }

    fn positions(done: &mut ByCore) -> Vec<(usize, Vec<u64>)> {
        done.take().map(|(core, entries)| (core, entries.iter().map(|entry| entry.position).collect())).collect()
    }

    #[test]
    fn an_acknowledgement_settles_everything_up_to_it_split_by_core() {
        let mut ledger = ledger(1_000, 6);
        let mut done = ByCore::new(2);
        assert_eq!(ledger.ack(1_003, &mut done), Acked::Events(4));
        assert_eq!(positions(&mut done), [(0, vec![0, 2]), (1, vec![1, 3])]);
        assert!(done.is_empty());
        assert_eq!(ledger.acked(), 1_003);
        assert_eq!(ledger.in_flight(), InFlight { events: 2, bytes: 200 });
        assert_eq!(ledger.by_core(), [InFlight { events: 1, bytes: 100 }; 2]);
        assert_eq!(ledger.oldest_at(), Some(Time::from_millis(4)));
    }

    #[test]
    fn an_acknowledgement_outside_what_was_sent_changes_nothing() {
        let mut ledger = ledger(1_000, 6);
        let mut done = ByCore::new(2);
        for wrong in [1, 999, 1_006, u64::MAX] {
            assert_eq!(ledger.ack(wrong, &mut done), Acked::NeverSent, "{wrong}");
        }
        assert!(done.is_empty());
        assert_eq!(ledger.len(), 6);
        assert_eq!(ledger.last_sent(), Some(1_005));
    }

    #[test]
    fn acknowledging_twice_or_with_zero_is_no_mistake_and_does_nothing() {
        let mut ledger = ledger(1_000, 6);
        let mut done = ByCore::new(2);
        assert_eq!(ledger.ack(1_005, &mut done), Acked::Events(6));
        assert_eq!(ledger.ack(1_005, &mut done), Acked::Events(0));
        assert_eq!(ledger.ack(1_002, &mut done), Acked::Events(0));
        assert_eq!(ledger.ack(0, &mut done), Acked::Events(0));
        assert!(ledger.is_empty());
        assert_eq!(ledger.next(), 1_006);
    }

    #[test]
    fn a_stream_that_has_sent_nothing_believes_no_acknowledgement() {
        let mut ledger = Ledger::new(50, 1);
        assert_eq!(ledger.last_sent(), None);
        assert_eq!(ledger.acked(), 49);
        assert_eq!(ledger.ack(49, &mut ByCore::new(1)), Acked::NeverSent);
        assert_eq!(ledger.ack(50, &mut ByCore::new(1)), Acked::NeverSent);
    }

    #[test]
    fn a_stream_starts_above_the_last_sequence_above_what_was_issued_and_above_the_clock() {
        let seconds = 1_800_000_000;
        let clock = seconds << 20;
        assert_eq!(first_sequence(0, 0, seconds), clock + 1);
        assert_eq!(first_sequence(clock + 77, 0, seconds), clock + 78);
        assert_eq!(first_sequence(clock + 77, clock + 99, seconds), clock + 100);
        // A worker that was served for an hour at full speed by a process that was then killed.
        let served = first_sequence(0, 0, seconds - 3_600) + 3_600 * 200_000;
        assert!(first_sequence(0, 0, seconds) > served);
        assert!(clock < 1 << 53, "exact in a double");
    }
}
