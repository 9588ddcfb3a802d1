//! Which shards a core has: how one is taken, what part of the groups' limits they have together, and when one is forgotten.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;
use trunkline_cache::{Cache, CacheConfig, Kind};
use trunkline_delivery::GroupLimits;
use trunkline_discord::ShardId;
use trunkline_gateway::{ShardControl, run_shard};

use super::events::Handler;
use super::{CoreState, Driver, Shard, ShardStart, place, slot_of};
use crate::roles::load::{Loaded, key_of};
use crate::roles::tail::Tail;
use crate::roles::unsaved::Unsaved;

/// How many commands to one shard may wait (restart, stop, checkpointed).
const CONTROLS_QUEUED: usize = 256;

impl CoreState {
    /// Takes a shard into hub and list; answers its slot.
    pub(super) fn take_shard(
        &mut self,
        shard: ShardId,
        loaded: Loaded,
        keeps: CacheConfig,
        control: mpsc::Sender<ShardControl>,
        retired: bool,
    ) -> Option<usize> {
        let slot = self.shards.len();
        let now = self.clock.now();
        self.share_limits(1);
        let Loaded { epoch, log, log_record, cache: rows, resume, kinds, ordinal, clear_cache, entries, gap, .. } = loaded;
        if let Err(error) = self.side.with_hub(now, &mut self.up, |hub, out| hub.add_shard(slot_of(slot), shard, log, now, out)) {
            tracing::error!(bot = %shard.bot, shard = %place(shard), "the shard was not taken: {error}");
            return None;
        }
        let mut cache = Cache::new(keeps, self.users.entry(shard.bot).or_default().clone());
        // A shard of an old count is asked nothing any more.
        let bad_rows = if retired { 0 } else { cache.load_rows(&rows) };
        if bad_rows > 0 {
            tracing::error!(bot = %shard.bot, shard = %place(shard), rows = bad_rows, "stored objects are not what their keys say; they were left out");
        }
        if resume.is_none() && !retired {
            // Whatever it was told with is over, and may be long over: until the next session says otherwise it is doubtful.
            cache.session_lost();
        }
        if let Some(point) = &resume {
            tracing::info!(
                bot = %shard.bot,
                shard = %place(shard),
                session = point.session,
                s = point.s,
                events = entries,
                guilds = cache.size(Kind::Guild).count,
                "restored from the checkpoint: resuming, unacknowledged events are delivered again"
            );
        }
        self.shards.push(Shard {
            id: shard,
            key: key_of(shard),
            epoch,
            cache,
            control,
            members: None,
            written: resume.as_ref().map(|point| (point.session, point.s)),
            resume,
            kinds: kinds.and(keeps.kinds),
            ordinal,
            log_record,
            unsaved: Unsaved::default(),
            clear_cache,
            released: 0,
            tail: Tail::default(),
            since_checkpoint: 0,
            handed: None,
            ready_once: false,
            running: !retired,
            saved_at_stop: false,
            retired,
            forgotten: false,
        });
        if let Some(gap) = gap {
            self.gap(slot, gap.session, gap.first_s, None, gap.cause);
        }
        self.do_what_came_up();
        Some(slot)
    }

    /// This core's part of each group's limits: as large as its part of the process's shards.
    ///
    /// `more`: shards about to be taken, so that what they bring meets the new limit and not the old one.
    pub(super) fn share_limits(&mut self, more: u64) {
        let shares = (self.shards.len() as u64 + more, self.placed.load(Ordering::Relaxed).max(1));
        // A core without shards holds nothing and keeps the whole limit until its first one comes.
        if shares.0 == 0 || std::mem::replace(&mut self.shares, shares) == shares {
            return;
        }
        let part = |whole: u64| u64::try_from(u128::from(whole) * u128::from(shares.0) / u128::from(shares.1)).unwrap_or(whole).max(1);
        for (group, whole) in self.limits.clone() {
            let limits = GroupLimits { memory_bytes: part(whole.memory_bytes), disk_bytes: part(whole.disk_bytes), age_ms: whole.age_ms };
            let now = self.clock.now();
            self.side.with_hub(now, &mut self.up, |hub, _| hub.set_limits(group, limits));
        }
    }

    /// Shards of an old count whose last event is acknowledged.
    pub(super) fn forget_retired(&mut self) {
        if self.writing || !self.shards.iter().any(|shard| shard.retired && !shard.forgotten && shard.written.is_some()) {
            return;
        }
        let stats = self.side.hub().stats(self.clock.now());
        for (index, shard) in self.shards.iter_mut().enumerate() {
            let empty = stats.shards.iter().any(|one| one.slot == slot_of(index) && one.entries == 0);
            if shard.retired && !shard.forgotten && shard.written.is_some() && empty {
                shard.forgotten = true;
                self.keeper.forget(shard.key);
            }
        }
    }
}

pub(super) fn add_shard(state: &Rc<RefCell<CoreState>>, drivers: &mut tokio::task::JoinSet<()>, start: ShardStart) {
    let ShardStart { shard, loaded, keeps, driver } = start;
    let (control, control_rx) = mpsc::channel(CONTROLS_QUEUED);
    let resume = loaded.resume.clone();
    let retired = driver.is_none();
    let slot = {
        let mut state = state.borrow_mut();
        if state.closing {
            // The process is stopping: a shard that comes up now would identify for nothing.
            return;
        }
        state.take_shard(shard, loaded, keeps, control, retired)
    };
    let (Some(slot), Some(driver)) = (slot, driver) else { return };
    let Driver { config, tools, members, ended } = driver;
    if let Some(shard) = state.borrow_mut().shards.get_mut(slot) {
        shard.members = Some(members);
    }
    let mut handler = Handler { state: state.clone(), slot };
    let state = state.clone();
    drivers.spawn_local(async move {
        let end = run_shard(config, resume, tools, control_rx, &mut handler).await;
        if let Some(shard) = state.borrow_mut().shards.get_mut(slot) {
            shard.running = false;
        }
        // Nobody listens any more when the process is stopping.
        ended.send(end).ok();
    });
}
