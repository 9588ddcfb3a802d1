//! What groups and bots that were taken out of the configuration had not acknowledged: told at the start, and counted as gaps.
//!
//! A group that is not configured any more is not in the next checkpoint, so its events go with it. A bot's, or a shard's that is out
//! of the configured range, stay in the store and come again when it is put back; until then nobody gets them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use trunkline_delivery::RestoredLog;
use trunkline_discord::Time;
use trunkline_store::Store;

use super::node::Shared;
use super::record::Record;

/// Unacknowledged events by group's name.
pub type ByGroup = BTreeMap<String, u64>;

/// What was left behind since the start.
#[derive(Debug, Default)]
pub struct Removed {
    group_gaps: AtomicU64,
    group_events: AtomicU64,
    bot_gaps: AtomicU64,
    bot_events: AtomicU64,
    looked: AtomicBool,
}

impl Removed {
    /// Gaps and events inside them, by cause, as the cores count theirs.
    #[must_use]
    pub fn gaps(&self) -> [(&'static str, (u64, u64)); 2] {
        [
            ("group_removed", (self.group_gaps.load(Relaxed), self.group_events.load(Relaxed))),
            ("bot_removed", (self.bot_gaps.load(Relaxed), self.bot_events.load(Relaxed))),
        ]
    }

    /// Tells what the shards of one bot held for groups that are gone.
    pub fn tell_groups(&self, bot: u64, name: &str, left: &ByGroup) {
        for (group, events) in left.iter().filter(|(_, events)| **events > 0) {
            self.group_gaps.fetch_add(1, Relaxed);
            self.group_events.fetch_add(*events, Relaxed);
            tracing::warn!(
                %bot,
                group,
                events,
                "group {group} is not in the configuration any more: {events} events of {name} that it had not acknowledged are dropped \
                 with it (counted as gap cause group_removed); put it back and start again at once, should that be a mistake"
            );
        }
    }

    fn tell_bot(&self, bot: u64, shards: &BTreeSet<u32>, left: &ByGroup) {
        let events: u64 = left.values().sum();
        if events == 0 {
            return;
        }
        self.bot_gaps.fetch_add(1, Relaxed);
        self.bot_events.fetch_add(events, Relaxed);
        let by_group: Vec<_> = left.iter().filter(|(_, events)| **events > 0).map(|(group, events)| format!("{group} {events}")).collect();
        tracing::warn!(
            %bot,
            shards = shards.len(),
            events,
            "{} shards of bot {bot} in the store are not in the configuration any more: {events} events that nobody had acknowledged ({}) are \
             delivered to nobody (counted as gap cause bot_removed); put them back to have them delivered",
            shards.len(),
            by_group.join(", ")
        );
    }
}

/// Looks for stored shards that nothing configured holds, once all bots' ids are known; before, it cannot tell.
pub async fn look_for_bots(shared: &Shared) {
    let bots = shared.bots();
    let mut here = BTreeMap::new();
    for (state, config) in bots.iter().zip(&shared.config.bots) {
        let Some(id) = state.id.or_else(|| config.token.bot_id()) else { return };
        let shards: BTreeSet<_> = state.shards.iter().map(|(shard, _)| (shard.index, shard.count)).collect();
        if shards.is_empty() && state.failed.is_none() {
            // It has not come up yet; whoever comes up last looks.
            return;
        }
        here.insert(id, shards);
    }
    if bots.len() < shared.config.bots.len() || shared.removed.looked.swap(true, Relaxed) {
        return;
    }
    let store = shared.keeper.store.clone();
    match tokio::task::spawn_blocking(move || left_behind(&store, &here)).await {
        Ok(Ok(left)) => {
            for (bot, (shards, by_group)) in left {
                shared.removed.tell_bot(bot, &shards, &by_group);
            }
        }
        Ok(Err(why)) => tracing::warn!("whether the store holds events of bots that are not configured cannot be told: {why}"),
        Err(error) => tracing::warn!("whether the store holds events of bots that are not configured cannot be told: {error}"),
    }
}

type Left = BTreeMap<u64, (BTreeSet<u32>, ByGroup)>;

/// Stored shards that are not among those held here, with what groups had not acknowledged of them. Blocks.
fn left_behind(store: &Store, here: &BTreeMap<u64, BTreeSet<(u32, u32)>>) -> Result<Left, String> {
    let mut left = Left::new();
    for key in store.list_shards().map_err(|error| error.to_string())? {
        if let Some(shards) = here.get(&key.bot) {
            // Those of another count were taken over; a bot that failed before it had shards may come up at the next start.
            let of_another_count = !shards.iter().any(|(_, count)| *count == key.count);
            if of_another_count || shards.contains(&(key.index, key.count)) {
                continue;
            }
        }
        let Some(stored) = store.load_record(key).map_err(|error| error.to_string())? else { continue };
        // One that cannot be read is told when its bot is loaded again.
        let Ok(record) = Record::decode(&stored.record) else { continue };
        let Ok(log) = RestoredLog::decode(&record.log, Time::ZERO, 0, 0) else { continue };
        let (shards, by_group) = left.entry(key.bot).or_default();
        shards.insert(key.index);
        for (group, events) in log.pending() {
            *by_group.entry(group.to_owned()).or_default() += events;
        }
    }
    Ok(left)
}
