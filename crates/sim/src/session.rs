//! One gateway session: its sequence, its replay buffer, and how far its connection has read.
//!
//! Invariant: `s` rises by one with every event, from 1 (READY); `replay` holds the events `first_s..=last_s` without holes (a jump in
//! `s` is held as skipped events); `cursor` is the next `s` for the connection.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::compress::Transport;
use crate::event::Event;
use crate::kinds::Kind;
use crate::out::Encoding;
use crate::shapes::View;

/// What a websocket address asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) version: u32,
    pub(crate) encoding: Encoding,
    pub(crate) transport: Transport,
}

pub(crate) struct Session {
    pub(crate) ordinal: u64,
    pub(crate) id: String,
    pub(crate) bot: usize,
    pub(crate) shard: (u32, u32),
    pub(crate) view: View,
    pub(crate) query: Query,
    pub(crate) wake: Arc<Notify>,
    /// The connection that holds it.
    pub(crate) connection: Option<u64>,
    pub(crate) detached_at: Option<Instant>,
    pub(crate) started_unix_ms: u64,
    pub(crate) ended: Option<(u64, &'static str)>,
    pub(crate) resumes: u64,
    /// The highest sequence that a heartbeat of the client named.
    pub(crate) acked: u64,
    pub(crate) kinds: Vec<u8>,
    pub(crate) guilds: Vec<u32>,
    replay: VecDeque<Event>,
    first_s: u64,
    cursor: u64,
    record_max: usize,
}

/// What there is to send.
pub(crate) enum Pull {
    Some,
    Nothing,
    /// The session no longer belongs to this connection.
    Lost,
    /// The client read too slowly: what is next has left the replay buffer.
    Overrun,
}

/// Why a resume's sequence does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadSeq {
    Ahead,
    Trimmed,
    Forgotten,
}

impl Session {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        ordinal: u64,
        id: String,
        bot: usize,
        shard: (u32, u32),
        view: View,
        query: Query,
        connection: u64,
        started_unix_ms: u64,
        record_max: usize,
    ) -> Session {
        Session {
            ordinal,
            id,
            bot,
            shard,
            view,
            query,
            wake: Arc::default(),
            connection: Some(connection),
            detached_at: None,
            started_unix_ms,
            ended: None,
            resumes: 0,
            acked: 0,
            kinds: Vec::new(),
            guilds: Vec::new(),
            replay: VecDeque::new(),
            first_s: 1,
            cursor: 1,
            record_max,
        }
    }

    pub(crate) fn last_s(&self) -> u64 {
        self.first_s + self.replay.len() as u64 - 1
    }

    /// Gives the event the next `s`.
    pub(crate) fn push(&mut self, event: Event, replay_max: usize) {
        if self.kinds.len() < self.record_max {
            self.kinds.push(event.kind as u8);
            self.guilds.push(event.guild);
        }
        self.replay.push_back(event);
        while self.replay.len() > replay_max.max(1) {
            self.replay.pop_front();
            self.first_s += 1;
        }
        self.wake.notify_one();
    }

    /// Up to `max` events for the connection, with their `s`.
    pub(crate) fn pull(&mut self, connection: u64, max: usize, into: &mut Vec<(u64, Event)>) -> Pull {
        if self.connection != Some(connection) || self.ended.is_some() {
            return Pull::Lost;
        }
        if self.cursor < self.first_s {
            return Pull::Overrun;
        }
        let from = (self.cursor - self.first_s) as usize;
        let to = (from + max).min(self.replay.len());
        for (index, event) in self.replay.range(from..to).enumerate() {
            if event.kind != Kind::Skipped {
                into.push((self.cursor + index as u64, event.clone()));
            }
        }
        self.cursor += (to - from) as u64;
        if to > from { Pull::Some } else { Pull::Nothing }
    }

    /// The last `count` events that were sent, once more.
    pub(crate) fn again(&self, count: u32) -> Vec<(u64, Event)> {
        let from = self.cursor.saturating_sub(u64::from(count)).max(self.first_s);
        (from..self.cursor)
            .filter_map(|s| Some((s, self.replay.get((s - self.first_s) as usize)?.clone())))
            .filter(|(_, event)| event.kind != Kind::Skipped)
            .collect()
    }

    /// Moves the cursor behind `seq`. Answers how many events will be replayed.
    pub(crate) fn rewind(&mut self, seq: u64) -> Result<u64, BadSeq> {
        if seq > self.last_s() {
            return Err(BadSeq::Ahead);
        }
        if seq + 1 < self.first_s {
            return Err(if seq < self.acked { BadSeq::Trimmed } else { BadSeq::Forgotten });
        }
        self.cursor = seq + 1;
        Ok(self.last_s() - seq)
    }

    /// Forgets what a heartbeat said to be taken over.
    pub(crate) fn trim(&mut self) {
        while self.first_s <= self.acked && self.first_s < self.cursor && !self.replay.is_empty() {
            self.replay.pop_front();
            self.first_s += 1;
        }
    }

    pub(crate) fn end(&mut self, unix_ms: u64, because: &'static str) {
        if self.ended.is_none() {
            self.ended = Some((unix_ms, because));
            self.first_s = self.last_s() + 1;
            self.replay = VecDeque::new();
            self.wake.notify_one();
        }
    }
}
