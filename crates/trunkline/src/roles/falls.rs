//! Groups that fall behind their limits, told as sums: one line a group and minute, not one a shard and second.
//!
//! Cores only count here, without a lock; a task on the clients' runtime looks at the counts and tells. What a group lost is counted
//! and told to the group either way, whether anybody reads the line or not.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use trunkline_discord::{Gap, GapCause};

use super::node::Shared;
use crate::commands::status::age;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How soon the same group is told again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What one group lost since the start.
#[derive(Debug, Default)]
struct Counts {
    gaps: AtomicU64,
    events: AtomicU64,
    /// Events by cause, in the order of `GapCause::ALL`.
    by_cause: [AtomicU64; GapCause::ALL.len()],
}

/// What all groups lost, in the order of the configuration.
#[derive(Debug, Default)]
pub struct Falls(Vec<Counts>);

/// A moment's reading of [`Counts`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    gaps: u64,
    events: u64,
    by_cause: [u64; GapCause::ALL.len()],
}

impl Falls {
    /// For so many groups.
    #[must_use]
    pub fn new(groups: usize) -> Self {
        Self((0..groups).map(|_| Counts::default()).collect())
    }

    /// A group lost this stretch.
    pub fn note(&self, group: usize, gap: &Gap) {
        let Some(counts) = self.0.get(group) else { return };
        let events = gap.events.unwrap_or(0);
        counts.gaps.fetch_add(1, Relaxed);
        counts.events.fetch_add(events, Relaxed);
        if let Some(at) = GapCause::ALL.iter().position(|cause| *cause == gap.cause) {
            counts.by_cause[at].fetch_add(events, Relaxed);
        }
    }

    fn read(&self, group: usize) -> Sums {
        self.0.get(group).map_or_else(Sums::default, |counts| Sums {
            gaps: counts.gaps.load(Relaxed),
            events: counts.events.load(Relaxed),
            by_cause: std::array::from_fn(|at| counts.by_cause[at].load(Relaxed)),
        })
    }
}

impl Sums {
    fn since(&self, before: &Sums) -> Sums {
        Sums {
            gaps: self.gaps - before.gaps,
            events: self.events - before.events,
            by_cause: std::array::from_fn(|at| self.by_cause[at] - before.by_cause[at]),
        }
    }
}

/// What one group has been told.
#[derive(Debug, Default)]
struct Told {
    sums: Sums,
    at: Option<Instant>,
}

impl Told {
    /// What is to be told now, and over which time it happened; the first loss at once, what follows a minute later as one sum.
    fn due(&mut self, sums: Sums, now: Instant, last: bool) -> Option<(Sums, Option<Duration>)> {
        if sums.gaps == self.sums.gaps || !(last || self.at.is_none_or(|at| now - at >= AGAIN_AFTER)) {
            return None;
        }
        let told = (sums.since(&self.sums), self.at.map(|at| now - at));
        *self = Told { sums, at: Some(now) };
        Some(told)
    }
}

/// Looks and tells until the process stops.
pub async fn watch(shared: Shared, mut stopping: watch::Receiver<bool>) {
    let groups = shared.config.groups.clone();
    let mut told: Vec<_> = groups.iter().map(|_| Told::default()).collect();
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let last = tokio::select! {
            _ = every.tick() => false,
            // The sender lives in the node; if it is gone, so is the reason to look.
            _ = stopping.wait_for(|stop| *stop) => true,
        };
        for (index, group) in groups.iter().enumerate() {
            if let Some((sums, within)) = told[index].due(shared.falls.read(index), Instant::now(), last) {
                tracing::warn!(group = %group.name, events = sums.events, gaps = sums.gaps, "{}", line(&group.name, &sums, within));
            }
        }
        if last {
            return;
        }
    }
}

fn line(group: &str, sums: &Sums, within: Option<Duration>) -> String {
    let causes = GapCause::ALL.iter().zip(sums.by_cause).filter(|(_, events)| *events > 0);
    let causes: Vec<_> = causes.map(|(cause, events)| format!("{} {events}", cause.as_str())).collect();
    let bounded = |cause: &GapCause| matches!(cause, GapCause::LogBytes | GapCause::LogDisk | GapCause::LogAge);
    let own: u64 = GapCause::ALL.iter().zip(sums.by_cause).filter(|(cause, _)| bounded(cause)).map(|(_, events)| events).sum();
    let how = if own > 0 { "fell behind its limits and lost" } else { "lost" };
    let mut line = format!("group {group} {how} {} events in {} gaps", sums.events, sums.gaps);
    // Writing to a String cannot fail.
    if !causes.is_empty() {
        write!(line, " ({})", causes.join(", ")).ok();
    }
    if let Some(within) = within {
        write!(line, " in the last {}", age(u64::try_from(within.as_millis()).unwrap_or(u64::MAX))).ok();
    }
    line.push_str("; it is told");
    if own > 0 {
        line.push_str(". Let more workers consume it, or raise its limits");
    }
    line
}

#[cfg(test)]
mod tests {
    use trunkline_discord::ShardId;

    use super::*;

    fn gap(cause: GapCause, events: u64) -> Gap {
        Gap {
            shard: ShardId { bot: 1, index: 0, count: 1 },
            session: 1,
            first_s: None,
            last_s: None,
            cause,
            events: Some(events),
            at_unix_us: 0,
        }
    }

    #[test]
    fn a_group_that_ages_out_every_second_on_many_shards_is_told_once_a_minute_with_the_sum() {
        let falls = Falls::new(1);
        let began = Instant::now();
        let mut told = Told::default();
        let mut lines = Vec::new();
        for second in 0..180_u64 {
            for _ in 0..16 {
                falls.note(0, &gap(GapCause::LogAge, 10));
            }
            falls.note(0, &gap(GapCause::LogDisk, 1));
            if let Some((sums, within)) = told.due(falls.read(0), began + Duration::from_secs(second), false) {
                lines.push(line("g", &sums, within));
            }
        }
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert_eq!(
            lines[0],
            "group g fell behind its limits and lost 161 events in 17 gaps (log_disk 1, log_age 160); it is told. Let more workers consume \
             it, or raise its limits"
        );
        assert!(lines[1].contains("lost 9660 events in 1020 gaps (log_disk 60, log_age 9600) in the last 1m 0s; "), "{}", lines[1]);
        // What it could do nothing about is not laid at its door.
        falls.note(0, &gap(GapCause::StoreFailed, 7));
        let (sums, within) = told.due(falls.read(0), began + Duration::from_secs(1_000), true).unwrap();
        assert!(line("g", &sums, within).contains("Let more workers consume it"), "others of the last minute are");
        falls.note(0, &gap(GapCause::StoreFailed, 7));
        let (sums, _) = told.due(falls.read(0), began + Duration::from_secs(2_000), true).unwrap();
        assert_eq!(line("g", &sums, None), "group g lost 7 events in 1 gaps (store_failed 7); it is told");
        let began = began + Duration::from_secs(2_000);
        falls.note(0, &gap(GapCause::LogDisk, 1));
        // The end tells what is left, and only if there is any.
        let end = began + Duration::from_secs(180);
        assert!(told.due(falls.read(0), end, true).is_some());
        assert!(told.due(falls.read(0), end, true).is_none());
    }
}
