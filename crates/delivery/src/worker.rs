//! One worker of a group: its stream, its credit, what waits for it and what it has unacknowledged.
//!
//! A worker decides nothing about others. Which keys are its own follows from the rendezvous hash, which every core and
//! every run computes alike.

use std::collections::VecDeque;

use hashbrown::HashMap;
use trunkline_discord::Time;

use crate::filter::CompiledFilter;
use crate::types::{Credit, EntryId, StreamId, WorkerId};

pub(crate) type Table<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// An entry that waits in a worker's queue.
#[derive(Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) slot: u32,
    pub(crate) position: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Connected and served.
    Live,
    /// Its stream broke; until then its guilds wait for it.
    Broken { until: Time },
    /// Gets nothing new and owns nothing; `told` once nothing was in flight and the driver knows.
    Draining { told: bool },
}

pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) stream: StreamId,
    pub(crate) state: State,
    pub(crate) extra: Option<CompiledFilter>,
    pub(crate) credit: Credit,
    /// Assigned and not sent, because credit or a body is missing. Position order within a key.
    pub(crate) queue: VecDeque<Waiting>,
    /// Sent and not acknowledged, with the bytes each took of the credit.
    pub(crate) flying: Table<EntryId, u32>,
    pub(crate) flying_bytes: u64,
    /// Something was sent after the last request for an acknowledgement.
    pub(crate) sent_since_ask: bool,
    /// Room for a key, then the worker's id: what the rendezvous hash reads.
    hashed: Vec<u8>,
}

impl Worker {
    pub(crate) fn new(id: WorkerId, stream: StreamId, hash_seed: u64) -> Worker {
        let mut hashed = vec![0; 8];
        hashed.extend_from_slice(id.as_bytes());
        Worker {
            id,
            stream,
            state: State::Live,
            extra: None,
            credit: Credit { events: 0, bytes: 0 },
            queue: VecDeque::new(),
            flying: Table::with_hasher(foldhash::fast::FixedState::with_seed(hash_seed)),
            flying_bytes: 0,
            sent_since_ask: false,
            hashed,
        }
    }

    /// How strongly this worker claims a key; the highest claim wins.
    pub(crate) fn claim(&mut self, key: u64) -> u64 {
        self.hashed[..8].copy_from_slice(&key.to_le_bytes());
        xxhash_rust::xxh3::xxh3_64(&self.hashed)
    }

    /// Whether it may own keys: a draining worker may not, one in its grace may.
    pub(crate) fn is_member(&self) -> bool {
        !matches!(self.state, State::Draining { .. })
    }

    pub(crate) fn is_connected(&self) -> bool {
        !matches!(self.state, State::Broken { .. })
    }

    /// Whether an entry of this size may be sent now.
    pub(crate) fn may_take(&self, bytes: u32) -> bool {
        self.state == State::Live
            && (self.flying.len() as u64) < u64::from(self.credit.events)
            && (self.flying.is_empty() || self.flying_bytes + u64::from(bytes) <= self.credit.bytes)
    }

    /// Whether it is worth looking for more entries for it.
    pub(crate) fn is_hungry(&self, queue_max: usize) -> bool {
        self.queue.len() < queue_max && self.may_take(0)
    }

    pub(crate) fn took_off(&mut self, entry: EntryId, bytes: u32) {
        if self.flying.insert(entry, bytes).is_none() {
            self.flying_bytes += u64::from(bytes);
        }
        self.sent_since_ask = true;
    }

    /// Ends an entry's flight and gives the credit back; false when it was not in flight here.
    pub(crate) fn landed(&mut self, entry: EntryId) -> bool {
        match self.flying.remove(&entry) {
            Some(bytes) => {
                self.flying_bytes -= u64::from(bytes);
                true
            }
            None => false,
        }
    }
}
