//! Checkpoints: what changed of every shard, taken between two frames, and what became of it.
//!
//! A checkpoint is one unit a shard: session, cache and log at one position. It is written elsewhere, one at a time; one that failed is merged
//! into the next.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use trunkline_delivery::Slot;
use trunkline_gateway::ShardControl;

use super::{CoreState, slot_of};
use crate::roles::keeper::{ShardPart, Written};
use crate::roles::record::Record;
use crate::roles::unsaved::bytes_of;

/// A checkpoint is taken at least this often while anything changes.
pub const CHECKPOINT_EVERY: Duration = Duration::from_millis(250);

/// … and as soon as one shard has had this many events since its last one, if the one before is written. By the shard, because that
/// is what a checkpoint costs: one of a core with hundreds of shards, taken every 500 events of them all, would write each shard's
/// record for every one or two of its events, and events to disk that are acknowledged a moment later.
pub const CHECKPOINT_EVENTS: u64 = 500;

/// After a failed checkpoint the next one waits this long: a full disk is not helped by trying faster. It waits a second more for every
/// [`RETRY_ROWS`] cache rows, so that handing them over again and again takes the core little of its time, and at most [`RETRY_MAX`].
const CHECKPOINT_RETRY: Duration = Duration::from_secs(2);
const RETRY_ROWS: u64 = 50_000;
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Of shards whose whole cache has to be written, a checkpoint takes no more once their rows have this many bytes, and always one: all of
/// them would be a second copy of the core's caches.
const WHOLE_BYTES: u64 = 64 << 20;

impl CoreState {
    /// Takes a checkpoint of every shard that changed and hands it over, unless one is still being written.
    pub(super) fn checkpoint(&mut self) {
        if self.writing || self.retry_at.is_some_and(|at| self.clock.now() < at) {
            return;
        }
        // What is on its way does not wait behind a checkpoint.
        self.flush();
        self.checkpoint_due = false;
        let mut parts = Vec::new();
        let mut idle = Vec::new();
        let mut whole_bytes = 0;
        let (failing, mut held_back) = (self.retry_at.is_some() && !self.finishing, false);
        for (index, shard) in self.shards.iter_mut().enumerate().filter(|(_, shard)| !shard.forgotten) {
            if shard.unsaved.is_whole() && whole_bytes >= WHOLE_BYTES && !self.finishing {
                // It stands at an earlier position for a moment; its turn is the next checkpoint.
                self.checkpoint_due = true;
                continue;
            }
            if shard.unsaved.is_whole() && failing {
                // The rows of a whole cache take the core a while to make (0.3 s of 380 000 members): not for a store that may still be away. What
                // has changed need not be remembered meanwhile.
                drop(shard.cache.take_changes());
                held_back = true;
                continue;
            }
            shard.since_checkpoint = 0;
            let stands = shard.resume.as_ref().map_or((shard.ordinal, 0), |point| (point.session, point.s));
            let log = self.side.with_hub(self.clock.now(), &mut self.up, |hub, _| hub.checkpoint(slot_of(index)));
            let at_stop = self.finishing && !std::mem::replace(&mut shard.saved_at_stop, true);
            let whole = shard.unsaved.is_whole();
            let rows = shard.unsaved.take(&mut shard.cache, at_stop || whole && self.finishing);
            if whole {
                whole_bytes +=
                    rows.iter().flatten().map(|(key, value)| (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64).sum::<u64>();
            }
            let Some(log) = log else {
                // One of this slot is still outstanding, which `writing` excludes; keep what was taken for the next one.
                let bytes = rows.iter().map(bytes_of).sum();
                shard.unsaved.give_back(rows, bytes, u64::MAX);
                continue;
            };
            if let Some((last, _)) = log.new_entries.last() {
                shard.tail.wrote(*last, log.new_entries.iter().map(|(_, body)| body.bytes_held() as u64).sum());
            }
            let release_below = if self.finishing { log.release_below } else { shard.tail.release_below(log.release_below) };
            let moved = shard.handed != Some(stands) || log.record != shard.log_record || release_below != shard.released;
            if !moved && log.new_entries.is_empty() && log.release_segments.is_empty() && rows.is_empty() && !shard.clear_cache && !whole {
                idle.push(slot_of(index));
                continue;
            }
            let (entries, release_segments) = (log.new_entries, log.release_segments);
            shard.log_record = log.record;
            shard.released = release_below;
            shard.handed = Some(stands);
            parts.push(ShardPart {
                slot: slot_of(index),
                key: shard.key,
                epoch: shard.epoch,
                record: Record { ordinal: shard.ordinal, kinds: shard.kinds, resume: shard.resume.clone(), log: shard.log_record.clone() },
                cache: rows,
                cache_bytes: 0,
                clear_cache: std::mem::take(&mut shard.clear_cache) || whole,
                entries,
                release_below,
                release_segments,
            });
        }
        let now = self.clock.now();
        for slot in idle {
            // Nothing changed since the last one: what is on disk is this checkpoint.
            self.side.with_hub(now, &mut self.up, |hub, out| hub.stored(slot, &[], now, out));
        }
        if held_back {
            self.checkpoint_due = true;
        }
        if parts.is_empty() && !held_back {
            self.written_at = now;
        } else {
            // Without parts it is only tried whether the store takes anything.
            self.writing = true;
            self.keeper.commit(parts, self.answers.clone());
        }
        self.do_what_came_up();
    }

    pub(super) fn written(&mut self, written: Written) {
        self.writing = false;
        let now = self.clock.now();
        let mut located: HashMap<Slot, Vec<_>> = written.located.into_iter().collect();
        let written_to = match written.failed {
            None => {
                // Without parts it was only tried.
                if !written.parts.is_empty() {
                    self.written_at = now;
                }
                self.retry_at = None;
                usize::MAX
            }
            Some((from, _)) => {
                let rows: u64 = written.parts.iter().skip(from).flat_map(|part| &part.cache).map(|rows| rows.len() as u64).sum();
                self.retry_at = Some(now + (CHECKPOINT_RETRY + Duration::from_secs(rows / RETRY_ROWS)).min(RETRY_MAX));
                from
            }
        };
        let unsaved_max = self.unsaved_bytes / self.placed.load(Ordering::Relaxed).max(1);
        let (mut let_go_shards, mut let_go_rows, mut let_go_bytes) = (0_u64, 0, 0);
        let mut let_go = Vec::new();
        for (index, part) in written.parts.into_iter().enumerate() {
            let Some(shard) = self.shards.get_mut(part.slot.0 as usize) else { continue };
            if index >= written_to {
                shard.handed = None;
                shard.clear_cache |= part.clear_cache;
                if let Some(gone) = shard.unsaved.give_back(part.cache, part.cache_bytes, unsaved_max) {
                    let_go_shards += u64::from(gone.count > 0);
                    let_go_rows += gone.count;
                    let_go_bytes += gone.bytes;
                    let_go.push(gone.rows);
                }
                self.side.with_hub(now, &mut self.up, |hub, out| hub.not_stored(part.slot, now, out));
                continue;
            }
            shard.unsaved.written();
            let locations = located.remove(&part.slot).unwrap_or_default();
            self.side.with_hub(now, &mut self.up, |hub, out| hub.stored(part.slot, &locations, now, out));
            if shard.retired {
                shard.written = Some((part.record.ordinal, 0));
            }
            if let Some(point) = &part.record.resume {
                shard.written = Some((point.session, point.s));
                // A full channel is caught up by the next checkpoint.
                shard.control.try_send(ShardControl::Checkpointed { session: point.session, s: point.s }).ok();
            }
        }
        if !let_go.is_empty() {
            self.keeper.discard(let_go);
        }
        if let_go_shards > 0 {
            self.unsaved_let_go += let_go_rows;
            tracing::warn!(
                core = self.core,
                "{let_go_rows} changed objects of {let_go_shards} shards wait for the store and take {let_go_bytes} bytes, more than they may \
                 (store.unsaved_bytes): they are let go, and the caches of these shards are written whole once the store takes them"
            );
        }
        self.do_what_came_up();
        if self.checkpoint_due {
            self.wake.notify_one();
        }
    }
}
