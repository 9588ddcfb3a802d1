//! A core's half of the door: the core's hub and its ways to the streams.
//!
//! Single-threaded and without IO: the core's loop calls [`CoreSide::handle`] for each command from a stream,
//! [`CoreSide::gather`] for each event and [`CoreSide::flush`] after those that were there, [`CoreSide::tick`] when it said so, and does
//! what comes up. Nothing here waits.

use std::sync::Arc;

use hashbrown::HashMap;
use tokio::sync::oneshot;
use trunkline_delivery::{Action, Body, EntryId, GroupId, Hub, Location, Slot, StreamId};
use trunkline_discord::{Event, Gap, Time};

use crate::link::{FromCore, StreamLink, ToCore};

/// What the core's loop has to do for the hub.
#[derive(Debug)]
pub enum Up {
    /// Read this entry from the store and answer with [`CoreSide::loaded`].
    Load {
        /// Which entry.
        entry: EntryId,
        /// Where it lies.
        location: Location,
    },
    /// A group reached a limit and lost this stretch. For log and metrics.
    Fell {
        /// Which group.
        group: GroupId,
        /// What it lost.
        gap: Gap,
    },
}

/// Messages that are gathered for streams before they are handed over. What wakes a stream's task (a system call, and a thread that has
/// to be woken) costs as much as an event; a core that has so many ready takes a tenth of a millisecond over them.
const GATHERED_MAX: usize = 16;

/// A stream that joined here.
struct Joined {
    link: StreamLink,
    /// What is not handed over yet, in order.
    gathered: Vec<FromCore>,
}

/// One core's hub with the streams of its workers.
pub struct CoreSide {
    hub: Hub,
    streams: HashMap<StreamId, Joined>,
    /// Streams for which something is gathered, and how much in all.
    gathered: (Vec<StreamId>, usize),
    actions: Vec<Action>,
    waiting_for_quiet: Vec<oneshot::Sender<()>>,
    overruns: u64,
}

impl CoreSide {
    /// Takes the hub, with its groups declared (shards may be added later through [`CoreSide::with_hub`]).
    pub fn new(hub: Hub) -> CoreSide {
        CoreSide {
            hub,
            streams: HashMap::new(),
            gathered: (Vec::new(), 0),
            actions: Vec::new(),
            waiting_for_quiet: Vec::new(),
            overruns: 0,
        }
    }

    /// The hub, to look at.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Times a stream had no room though the hub thought it had credit. Always 0 unless there is a bug; such a stream
    /// is broken off, and its events come again.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }

    /// Streams joined here.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Calls the hub, then carries out what it asks for.
    pub fn with_hub<R>(&mut self, now: Time, up: &mut Vec<Up>, call: impl FnOnce(&mut Hub, &mut Vec<Action>) -> R) -> R {
        let answer = call(&mut self.hub, &mut self.actions);
        self.carry_out(now, up);
        answer
    }

    /// A shard has dispatched an event.
    pub fn offer(&mut self, slot: Slot, event: Arc<Event>, now: Time, up: &mut Vec<Up>) {
        self.hub.offer(slot, event, now, &mut self.actions);
        self.carry_out(now, up);
    }

    /// The same, but what follows from it for streams may wait for [`CoreSide::flush`], which has to be called before the core does
    /// anything else than take events. Answers whether something waits.
    pub fn gather(&mut self, slot: Slot, event: Arc<Event>, now: Time, up: &mut Vec<Up>) -> bool {
        self.hub.offer(slot, event, now, &mut self.actions);
        if !self.actions.is_empty() {
            let broken = self.sort_out(up);
            if self.gathered.1 >= GATHERED_MAX || !broken.is_empty() {
                self.break_off(broken, now);
                self.carry_out(now, up);
            }
        }
        self.gathered.1 > 0
    }

    /// Hands over what was gathered.
    pub fn flush(&mut self, now: Time, up: &mut Vec<Up>) {
        self.carry_out(now, up);
    }

    /// A stretch of a shard's events is lost.
    pub fn gap(&mut self, slot: Slot, gap: Gap, now: Time, up: &mut Vec<Up>) {
        self.hub.gap(slot, gap, now, &mut self.actions);
        self.carry_out(now, up);
    }

    /// The answer to [`Up::Load`]; none when the store could not read it.
    pub fn loaded(&mut self, entry: EntryId, body: Option<Body>, now: Time, up: &mut Vec<Up>) {
        self.hub.loaded(entry, body, now, &mut self.actions);
        self.carry_out(now, up);
    }

    /// Time passes. Returns when to call again at the latest.
    pub fn tick(&mut self, now: Time, up: &mut Vec<Up>) -> Option<Time> {
        let next = self.hub.tick(now, &mut self.actions);
        self.carry_out(now, up);
        next
    }

    /// Does what a stream asks for.
    pub fn handle(&mut self, command: ToCore, now: Time, up: &mut Vec<Up>) {
        let out = &mut self.actions;
        match command {
            ToCore::Join { group, worker, stream, filter, credit, to } => {
                // Those whose task died without a word. Should the hub have more for one, it is told below; for whom something is gathered
                // the hub is told when that is refused.
                self.streams.retain(|_, joined| !joined.link.is_closed() || !joined.gathered.is_empty());
                // Known before the join: the hub may have events for it at once.
                self.streams.insert(stream, Joined { link: to, gathered: Vec::new() });
                if let Err(error) = self.hub.join(group, worker, stream, filter, credit, now, out)
                    && let Some(joined) = self.streams.remove(&stream)
                {
                    // The stream may be gone by now; then nobody is left to be told.
                    joined.link.send(FromCore::Refused(error)).ok();
                }
            }
            ToCore::Broke(stream) => {
                self.streams.remove(&stream);
                self.hub.broke(stream, now, out);
            }
            ToCore::Leave(stream) => {
                self.streams.remove(&stream);
                self.hub.leave(stream, now, out);
            }
            ToCore::Drain(stream) => self.hub.drain(stream, now, out),
            ToCore::Acked { stream, entries } => self.hub.acked(stream, &entries, now, out),
            ToCore::Lend { stream, credit } => self.hub.lend(stream, credit, now, out),
            ToCore::Quiesce(done) => {
                self.waiting_for_quiet.push(done);
                self.hub.quiesce(now, out);
            }
        }
        self.carry_out(now, up);
    }

    fn carry_out(&mut self, now: Time, up: &mut Vec<Up>) {
        // A stream that overruns is broken off, which may lead to further actions: hence the loop.
        while !self.actions.is_empty() || self.gathered.1 > 0 {
            let unknown = self.sort_out(up);
            let broken = self.hand_over();
            self.break_off(unknown, now);
            self.break_off(broken, now);
        }
    }

    /// Does what the hub asks for, but for what is to be sent, which is gathered. Answers the streams that are not there.
    fn sort_out(&mut self, up: &mut Vec<Up>) -> Vec<StreamId> {
        let mut unknown = Vec::new();
        let (dirty, count) = &mut self.gathered;
        let mut gather = |stream: StreamId, message: FromCore| match self.streams.get_mut(&stream) {
            Some(joined) => {
                if joined.gathered.is_empty() {
                    dirty.push(stream);
                }
                joined.gathered.push(message);
                *count += 1;
                true
            }
            None => false,
        };
        for action in self.actions.drain(..) {
            match action {
                Action::Send { stream, entry, body, redelivered } => {
                    if !gather(stream, FromCore::Body { entry, body, redelivered }) && !unknown.contains(&stream) {
                        // Its task has died and never tells. What it says after this counts as well: a leave ends the grace that
                        // begins now.
                        unknown.push(stream);
                    }
                }
                Action::AskAck { stream, why } => drop(gather(stream, FromCore::AskAck(why))),
                Action::Drained { stream } => drop(gather(stream, FromCore::Drained)),
                Action::Load { entry, location } => up.push(Up::Load { entry, location }),
                Action::Fell { group, gap } => up.push(Up::Fell { group, gap }),
                Action::Quiet => {
                    for done in self.waiting_for_quiet.drain(..) {
                        // Whoever asked may have stopped waiting.
                        done.send(()).ok();
                    }
                }
            }
        }
        unknown
    }

    /// Puts what was gathered into the streams' channels. Answers the streams that did not take it.
    fn hand_over(&mut self) -> Vec<StreamId> {
        let mut broken = Vec::new();
        self.gathered.1 = 0;
        for stream in self.gathered.0.drain(..) {
            // One that has left meanwhile: the hub has taken back what it held.
            let Some(joined) = self.streams.get_mut(&stream) else { continue };
            let mut refused = false;
            for message in joined.gathered.drain(..) {
                // A question or an answer that is lost is asked again by the stream itself within a second.
                let must = matches!(message, FromCore::Body { .. });
                refused |= joined.link.send(message).is_err() && must;
                // Nothing may pass what was refused, should there be room again already.
                if refused {
                    break;
                }
            }
            if refused {
                // Full: see `overruns`. Gone: its task tells us so in a moment, or has died and never does.
                self.overruns += u64::from(!joined.link.is_closed());
                broken.push(stream);
            }
        }
        broken
    }

    fn break_off(&mut self, streams: Vec<StreamId>, now: Time) {
        for stream in streams {
            if let Some(joined) = self.streams.remove(&stream) {
                joined.link.break_off();
            }
            self.hub.broke(stream, now, &mut self.actions);
        }
    }
}
