//! Who waits for members: callers join requests, hear of what comes, and are told how it ended.
//!
//! Whoever asks is told exactly once how it ended, unless they cancel. A caller may wait for several requests, and a request may have
//! several callers, each of whom asked for some of its users: the requests themselves, and when each is sent, are the parent's.

use std::sync::Arc;

use trunkline_discord::Time;

use super::{Action, IDS_MAX, Job, Requests, Wanted, sooner};

/// A caller, named by whoever drives this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// Why a request came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many requests wait already.
    Busy,
    /// Discord did not answer, several times.
    NoAnswer,
    /// The guild's shard has no session: at once for who is not patient, for others after the time in which Discord would have been asked
    /// several times.
    SessionLost,
    /// The guild is gone.
    GuildGone,
    /// The guild has an outage.
    Outage,
    /// What was asked for cannot be: an empty query, no ids, a limit of 0 or over 100.
    Malformed,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refusal::Busy => "too many member requests wait already; try again later",
            Refusal::NoAnswer => "Discord did not answer the member request in time, or could not be asked; try again later",
            Refusal::SessionLost => "the guild's shard has lost its session with Discord; try again when it is back",
            Refusal::GuildGone => "the bot is no longer in this guild",
            Refusal::Outage => "Discord has an outage of this guild, and answers nothing of it; try again when it is back",
            Refusal::Malformed => "a member request wants ids, or a query with a limit of 1 to 100, or all members",
        })
    }
}

/// Somebody who waits.
pub(super) struct Caller {
    shard: u32,
    /// Those that it still waits for.
    jobs: Vec<u64>,
    come: u64,
    patient: bool,
    /// The users that it asked for, ascending; none where it did not ask by ids.
    users: Option<Arc<[u64]>>,
}

impl Caller {
    fn asked_for(&self, user: u64) -> bool {
        self.users.as_ref().is_none_or(|users| users.binary_search(&user).is_ok())
    }
}

impl Requests {
    /// Tells those who wait for a shard that it has no session: all of them, or those who are not patient.
    pub(super) fn tell_waiting(&mut self, shard: u32, all: bool, out: &mut Vec<Action>) {
        let waits = |caller: &Caller| caller.shard == shard && (all || !caller.patient);
        let mut asks: Vec<AskId> = self.callers.iter().filter(|(_, caller)| waits(caller)).map(|(ask, _)| *ask).collect();
        asks.sort_unstable();
        for ask in asks {
            self.cancel(ask);
            out.push(Action::Answered { ask, outcome: Err(Refusal::SessionLost) });
        }
    }

    /// Who waits for a shard that does not come up is told after as long as Discord would have been asked again and again.
    pub(super) fn give_up(&mut self, shard: u32, now: Time, out: &mut Vec<Action>, wake: &mut Option<Time>) {
        let limits = self.limits;
        let Some(state) = self.shards.get_mut(&shard).filter(|state| !state.up) else { return };
        let due = *state.down_since.get_or_insert(now) + limits.answer_within * u32::from(limits.tries_max);
        if due > now {
            sooner(wake, due);
        } else {
            self.tell_waiting(shard, true, out);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one input")]
    pub(super) fn ask(
        &mut self,
        ask: AskId,
        guild: u64,
        shard: u32,
        mut wanted: Wanted,
        presences: bool,
        patient: bool,
        now: Time,
        out: &mut Vec<Action>,
    ) {
        let refused = match &mut wanted {
            Wanted::All => false,
            Wanted::Query { text, limit } => text.is_empty() || !(1..=100).contains(limit),
            Wanted::Ids(ids) => {
                let none = ids.is_empty();
                ids.sort_unstable();
                ids.dedup();
                // Who is told what Discord says is told so of everybody: only lookups make do with an answer of a while ago.
                ids.retain(|user| patient || !self.is_absent(guild, *user, now));
                none
            }
        };
        if refused {
            out.push(Action::Answered { ask, outcome: Err(Refusal::Malformed) });
            return;
        }
        let jobs = match &wanted {
            Wanted::Ids(ids) => ids.len().div_ceil(IDS_MAX),
            _ => 1,
        };
        if self.jobs.len() + jobs > self.limits.jobs_max || self.callers.len() >= self.limits.callers_max {
            out.push(Action::Answered { ask, outcome: Err(Refusal::Busy) });
            return;
        }
        let nothing_to_ask = matches!(&wanted, Wanted::Ids(ids) if ids.is_empty());
        if !patient && !nothing_to_ask && self.shards.get(&shard).is_some_and(|state| state.lost) {
            out.push(Action::Answered { ask, outcome: Err(Refusal::SessionLost) });
            return;
        }
        let users = if let Wanted::Ids(ids) = &wanted { Some(ids.as_slice().into()) } else { None };
        self.callers.insert(ask, Caller { shard, jobs: Vec::new(), come: 0, patient, users });
        match wanted {
            Wanted::Ids(ids) => {
                let left = self.join_ids(ask, guild, ids, presences);
                for some in left.chunks(IDS_MAX) {
                    let number = self.add(guild, shard, Wanted::Ids(some.to_vec()), presences, Some(ask), now + self.limits.gather);
                    self.wait(ask, number);
                }
            }
            wanted => {
                let same = |job: &Job| job.wanted == wanted && (job.presences || !presences) && job.chunks.is_empty();
                let numbers = self.of_guild.get(&guild).map(Vec::as_slice).unwrap_or_default();
                let joins = numbers.iter().copied().find(|number| self.jobs.get(number).is_some_and(same));
                let number = match joins.and_then(|number| Some((number, self.jobs.get_mut(&number)?))) {
                    Some((number, job)) => {
                        job.asks.push(ask);
                        // Somebody waits for it now.
                        if std::mem::take(&mut job.eager) && job.moved.is_none() {
                            let shard = self.shards.entry(job.shard).or_default();
                            shard.eager.retain(|other| *other != number);
                            shard.urgent.push_back(number);
                        }
                        number
                    }
                    None => self.add(guild, shard, wanted, presences, Some(ask), now),
                };
                self.wait(ask, number);
            }
        }
        if self.callers.get(&ask).is_some_and(|caller| caller.jobs.is_empty()) {
            // Everybody it asked for was found absent a while ago.
            self.callers.remove(&ask);
            out.push(Action::Answered { ask, outcome: Ok(0) });
        }
    }

    /// Joins requests for the same guild: those that hold an id already and have had no answer, and those that wait and have room.
    fn join_ids(&mut self, ask: AskId, guild: u64, mut ids: Vec<u64>, presences: bool) -> Vec<u64> {
        let mut joined = Vec::new();
        for number in self.of_guild.get(&guild).map(Vec::as_slice).unwrap_or_default() {
            let Some(job) = self.jobs.get_mut(number).filter(|job| (job.presences || !presences) && job.chunks.is_empty()) else {
                continue;
            };
            let Wanted::Ids(there) = &mut job.wanted else { continue };
            let before = ids.len();
            ids.retain(|user| !there.contains(user));
            let mut joins = ids.len() < before;
            if job.moved.is_none() && !ids.is_empty() && there.len() < IDS_MAX {
                let room = (IDS_MAX - there.len()).min(ids.len());
                there.extend(ids.drain(..room));
                joins = true;
            }
            if joins {
                job.asks.push(ask);
                joined.push(*number);
            }
        }
        for number in joined {
            self.wait(ask, number);
        }
        ids
    }

    fn wait(&mut self, ask: AskId, number: u64) {
        if let Some(caller) = self.callers.get_mut(&ask) {
            caller.jobs.push(number);
        }
    }

    pub(super) fn cancel(&mut self, ask: AskId) {
        for number in self.callers.remove(&ask).map(|caller| caller.jobs).unwrap_or_default() {
            let Some(job) = self.jobs.get_mut(&number) else { continue };
            job.asks.retain(|other| *other != ask);
            let background = self.guilds.get(&job.guild).and_then(|guild| guild.job) == Some(number);
            if job.asks.is_empty() && job.moved.is_none() && !background {
                self.remove(number);
            }
        }
    }

    /// Tells those who wait for a request that a chunk of it has come.
    pub(super) fn tell_chunk(&mut self, number: u64, members: u64, users: &[u64], out: &mut Vec<Action>) {
        let Some(job) = self.jobs.get(&number) else { return };
        let mut told = Vec::new();
        for ask in &job.asks {
            let Some(caller) = self.callers.get_mut(ask) else { continue };
            let whole = match &job.wanted {
                Wanted::Ids(ids) => ids.iter().all(|user| caller.asked_for(*user)),
                _ => true,
            };
            let of_it = if whole { members } else { users.iter().filter(|user| caller.asked_for(**user)).count() as u64 };
            caller.come += of_it;
            told.push((*ask, caller.users.clone().filter(|_| !whole)));
        }
        if !told.is_empty() {
            out.push(Action::Chunk { asks: told });
        }
    }

    pub(super) fn answered(&mut self, ask: AskId, number: u64, refusal: Option<Refusal>, out: &mut Vec<Action>) {
        let Some(caller) = self.callers.get_mut(&ask) else { return };
        caller.jobs.retain(|other| *other != number);
        let outcome = match refusal {
            Some(refusal) => Err(refusal),
            None if caller.jobs.is_empty() => Ok(caller.come),
            None => return,
        };
        self.cancel(ask);
        out.push(Action::Answered { ask, outcome });
    }
}
