//! How a stream's credit is shared out over the cores.
//!
//! Every core starts with an equal share, and what a core has acknowledged it may use again without asking. A core that
//! fills its share while another hardly uses its own gets half of what that one leaves unused; nobody sinks below an
//! eighth of an equal share, so that an idle core can always begin at once. The shares always add up to the whole.
//!
//! Pure. While a share shrinks, its core may still have up to the old share in flight towards the stream; the channel
//! has room for that.

use trunkline_delivery::Credit;

use crate::ledger::InFlight;

/// The shares of one stream.
#[derive(Debug)]
pub struct Shares {
    shares: Vec<Credit>,
    /// The most each core had in flight since the last look.
    peaks: Vec<InFlight>,
    whole: Credit,
    least: Credit,
    acks: u32,
}

/// Acknowledgements between two looks at the shares.
const LOOK_EVERY: u32 = 8;

impl Shares {
    /// Equal shares of `whole` for `cores` cores (at least 1).
    pub fn new(whole: Credit, cores: usize) -> Shares {
        let cores = cores.max(1);
        let events = (whole.events / cores as u32).max(1);
        let bytes = whole.bytes / cores as u64;
        let mut shares = vec![Credit { events, bytes }; cores];
        // What does not divide goes to the first.
        shares[0].events = whole.events.saturating_sub(events * (cores as u32 - 1)).max(1);
        shares[0].bytes = whole.bytes - bytes * (cores as u64 - 1);
        let least = Credit { events: (events / 8).max(1), bytes: bytes / 8 };
        Shares { shares, peaks: vec![InFlight::default(); cores], whole, least, acks: 0 }
    }

    /// A core's share.
    pub fn of(&self, core: usize) -> Option<Credit> {
        self.shares.get(core).copied()
    }

    /// Whether half of the whole, or half of one core's share, is in flight.
    pub fn half_used(&self, all: InFlight, by_core: &[InFlight]) -> bool {
        let half =
            |in_flight: InFlight, credit: Credit| in_flight.events * 2 >= credit.events || in_flight.bytes * 2 >= credit.bytes.max(1);
        all.events > 0
            && (half(all, self.whole) || by_core.iter().zip(&self.shares).any(|(used, share)| used.events > 0 && half(*used, *share)))
    }

    /// Notes what is in flight, before an acknowledgement takes it away.
    pub fn seen(&mut self, by_core: &[InFlight]) {
        for (peak, used) in self.peaks.iter_mut().zip(by_core) {
            peak.events = peak.events.max(used.events);
            peak.bytes = peak.bytes.max(used.bytes);
        }
    }

    /// An acknowledgement has come. Returns the cores whose share has changed.
    pub fn acked(&mut self) -> Vec<usize> {
        self.acks += 1;
        if self.shares.len() < 2 || !self.acks.is_multiple_of(LOOK_EVERY) {
            return Vec::new();
        }
        let fill = |peak: &InFlight, share: &Credit| {
            let events = f64::from(peak.events) / f64::from(share.events.max(1));
            events.max(peak.bytes as f64 / share.bytes.max(1) as f64)
        };
        let fills: Vec<f64> = self.peaks.iter().zip(&self.shares).map(|(peak, share)| fill(peak, share)).collect();
        self.peaks.fill(InFlight::default());
        let most = (0..fills.len()).max_by(|a, b| fills[*a].total_cmp(&fills[*b]));
        let least = (0..fills.len()).min_by(|a, b| fills[*a].total_cmp(&fills[*b]));
        match (most, least) {
            // Asked at half: a core that keeps reaching half of its share is held up by it.
            (Some(to), Some(from)) if to != from && fills[to] >= 0.5 && fills[from] <= 0.125 => self.shift(from, to),
            _ => Vec::new(),
        }
    }

    fn shift(&mut self, from: usize, to: usize) -> Vec<usize> {
        let spare = Credit {
            events: self.shares[from].events.saturating_sub(self.least.events) / 2,
            bytes: self.shares[from].bytes.saturating_sub(self.least.bytes) / 2,
        };
        if spare.events == 0 && spare.bytes == 0 {
            return Vec::new();
        }
        self.shares[from].events -= spare.events;
        self.shares[from].bytes -= spare.bytes;
        self.shares[to].events += spare.events;
        self.shares[to].bytes += spare.bytes;
        vec![from, to]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Credit = Credit { events: 4_096, bytes: 16 << 20 };

    fn sum(shares: &Shares) -> Credit {
        shares
            .shares
            .iter()
            .fold(Credit { events: 0, bytes: 0 }, |sum, share| Credit { events: sum.events + share.events, bytes: sum.bytes + share.bytes })
    }

    fn used(events: u32) -> InFlight {
        InFlight { events, bytes: u64::from(events) * 100 }
    }

    #[test]
    fn shares_add_up_to_the_whole_however_many_cores() {
        for cores in [1, 2, 3, 7, 64] {
            let mut shares = Shares::new(WHOLE, cores);
            assert_eq!(sum(&shares), WHOLE, "{cores}");
            for round in 0..1_000 {
                let mut by_core = vec![used(0); cores];
                by_core[round / 100 % cores] = used(2_048);
                shares.seen(&by_core);
                shares.acked();
                assert_eq!(sum(&shares), WHOLE, "{cores}");
            }
        }
    }

    #[test]
    fn a_busy_core_gets_what_an_idle_one_leaves_but_never_its_last_eighth() {
        let mut shares = Shares::new(WHOLE, 2);
        for _ in 0..200 {
            let share = shares.of(0).unwrap().events;
            shares.seen(&[used(share), used(0)]);
            shares.acked();
        }
        assert!(shares.of(0).unwrap().events > 3_700, "{shares:?}");
        assert!(shares.of(1).unwrap().events >= 256, "{shares:?}");
        // And back, when the other gets busy.
        for _ in 0..200 {
            let share = shares.of(1).unwrap().events;
            shares.seen(&[used(0), used(share)]);
            shares.acked();
        }
        assert!(shares.of(1).unwrap().events > 3_700, "{shares:?}");
    }

    #[test]
    fn half_of_the_events_or_of_the_bytes_of_all_or_of_one_core_is_half() {
        let shares = Shares::new(WHOLE, 2);
        let none = used(0);
        assert!(!shares.half_used(none, &[none, none]));
        assert!(!shares.half_used(used(1_023), &[used(1_023), none]));
        assert!(shares.half_used(used(1_024), &[used(1_024), none]));
        let big = InFlight { events: 1, bytes: 8 << 20 };
        assert!(shares.half_used(big, &[none, big]));
    }
}
