//! Notices groups that hold events and have nobody to give them to, and says so in one plain line.
//!
//! It only looks and tells: the events are held, or fall off as a told gap, whether anybody reads the line or not.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::node::Shared;
use super::status::{self, GroupStatus};
use crate::commands::status::{age, bytes};
use crate::config::GroupConfig;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a group may be without a worker before it is told: a worker that restarts is back sooner.
const TOLD_AFTER: Duration = Duration::from_secs(10);

/// How soon the same group is told again.
const AGAIN_AFTER: Duration = Duration::from_secs(300);

/// One group's state of neglect.
#[derive(Debug, Default)]
struct Neglect {
    since: Option<Instant>,
    told: Option<Instant>,
}

impl Neglect {
    /// Whether this look is one to tell about.
    fn look(&mut self, neglected: bool, now: Instant) -> bool {
        if !neglected {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let due = now - since >= TOLD_AFTER && self.told.is_none_or(|told| now - told >= AGAIN_AFTER);
        if due {
            self.told = Some(now);
        }
        due
    }
}

/// Looks until the process stops.
pub async fn watch(shared: Shared, mut stopping: watch::Receiver<bool>) {
    let mut groups: HashMap<Arc<str>, Neglect> = HashMap::new();
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            // The sender lives in the node; if it is gone, so is the reason to look.
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        // The cores are asked only when there is something to ask about.
        let lonely = shared.door.stats().groups.iter().any(|group| group.streams_open.get() == 0);
        let standing = if lonely { status::groups(&shared, &shared.reports().await) } else { Vec::new() };
        let now = Instant::now();
        for group in &shared.config.groups {
            let stands = standing.iter().find(|stands| stands.name == *group.name);
            let neglected = stands.filter(|stands| stands.workers == 0 && stands.entries > 0);
            if groups.entry(group.name.clone()).or_default().look(neglected.is_some(), now)
                && let Some(stands) = neglected
            {
                tracing::warn!("{}", line(group, stands, &shared.at.addr_flag()));
            }
        }
    }
}

/// `addr`: what a worker needs to find this process.
fn line(group: &GroupConfig, stands: &GroupStatus, addr: &str) -> String {
    format!(
        "group {}: nobody consumes its events, {} wait; connect a worker (`trunkline worker --group {}{addr}`) within {} or {} in memory and {} \
         on disk, or they fall off as a gap",
        group.name,
        stands.entries,
        group.name,
        age(group.limits.age_ms),
        bytes(group.limits.memory_bytes),
        bytes(group.limits.disk_bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_told_after_ten_seconds_once_and_again_after_five_minutes() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut group = Neglect::default();
        assert!(!group.look(true, at(0)));
        assert!(!group.look(true, at(9)));
        assert!(group.look(true, at(10)));
        assert!(!group.look(true, at(12)));
        assert!(!group.look(true, at(309)));
        assert!(group.look(true, at(310)));
        // A worker came and went: the ten seconds begin anew, the five minutes stand.
        assert!(!group.look(false, at(320)));
        assert!(!group.look(true, at(322)));
        assert!(!group.look(true, at(340)));
        assert!(group.look(true, at(640)));
    }
}
