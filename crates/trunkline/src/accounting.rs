//! Loss accounting: what the simulated Discord sent against what workers received, as sets of (shard, session, s).
//!
//! Used by the demo and by the scenario tests, and independent of what the node believes: it reads only the simulator's record
//! and what came out at workers. Lost = sent − delivered − inside told gaps.

use std::collections::{BTreeMap, HashMap, HashSet};

use trunkline_sim::{Report, SentSession};

/// One event as a worker received it.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Bot and shard index.
    pub shard: (u64, u32),
    /// The node's ordinal of the session.
    pub session: u64,
    /// Sequence number.
    pub s: u64,
    /// Guild, 0 without.
    pub guild: u64,
    /// Marked as sent before.
    pub redelivered: bool,
    /// Socket to worker in microseconds.
    pub latency_us: u64,
}

/// A gap as a worker was told it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Told {
    /// Bot and shard index.
    pub shard: (u64, u32),
    /// The node's ordinal of the session it begins in.
    pub session: u64,
    /// First missing, if known.
    pub first_s: Option<u64>,
    /// Last missing; none: up to the next session.
    pub last_s: Option<u64>,
    /// Why.
    pub cause: String,
}

/// Everything a group's workers received, in the order of arrival over all of them.
#[derive(Debug, Default)]
pub struct Ledger {
    delivered: HashMap<((u64, u32), u64), HashSet<u64>>,
    newest: HashMap<((u64, u32), u64, u64), u64>,
    gaps: HashSet<Told>,
    /// Discord's session ids by shard, with our ordinals, as READY told them.
    ids: HashMap<(u64, u32), HashMap<String, u64>>,
    latencies_us: Vec<u32>,
    /// Received in all, repeats included.
    pub received: u64,
    /// Received more than once.
    pub duplicated: u64,
    /// Of those, the ones that were not marked as sent before. A kill of the node may make some (it no longer knows what it sent);
    /// nothing else may.
    pub duplicated_unmarked: u64,
    /// First deliveries that came after a later event of their guild.
    pub out_of_order: u64,
    /// The first few of those, for a person.
    pub out_of_order_first: Vec<String>,
}

impl Ledger {
    /// Notes an event. Call under one lock for all workers of a group: a guild's hand-over happens after the acknowledgement,
    /// so the order of calls is the order of delivery.
    pub fn event(&mut self, seen: Seen) {
        self.received += 1;
        if !self.delivered.entry((seen.shard, seen.session)).or_default().insert(seen.s) {
            self.duplicated += 1;
            self.duplicated_unmarked += u64::from(!seen.redelivered);
            return;
        }
        self.latencies_us.push(u32::try_from(seen.latency_us).unwrap_or(u32::MAX));
        if seen.guild != 0 {
            let newest = self.newest.entry((seen.shard, seen.session, seen.guild)).or_default();
            if seen.s < *newest {
                self.out_of_order += 1;
                if self.out_of_order_first.len() < 10 {
                    self.out_of_order_first
                        .push(format!("shard {:?} session {} guild {}: s {} after {newest}", seen.shard, seen.session, seen.guild, seen.s));
                }
            }
            *newest = seen.s.max(*newest);
        }
    }

    /// Notes that a READY told Discord's id of a session.
    pub fn ready(&mut self, shard: (u64, u32), session: u64, session_id: &str) {
        self.ids.entry(shard).or_default().insert(session_id.to_owned(), session);
    }

    /// The ordinals of a shard's sessions, given in the order of their making; none for one that the node never heard of (its READY
    /// did not get through). A group that does not want READY cannot tell those, and counts all.
    fn ordinals<'a>(&self, shard: (u64, u32), session_ids: impl Iterator<Item = &'a str>) -> Vec<Option<u64>> {
        let ids = self.ids.get(&shard);
        (1_u64..).zip(session_ids).map(|(nth, id)| ids.map_or(Some(nth), |ids| ids.get(id).copied())).collect()
    }

    /// Notes a gap.
    pub fn gap(&mut self, told: Told) {
        self.gaps.insert(told);
    }

    /// Distinct events delivered.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered.values().map(|set| set.len() as u64).sum()
    }

    /// The highest `s` delivered in a session of a shard; 0: none.
    #[must_use]
    pub fn last_s(&self, shard: (u64, u32), session: u64) -> u64 {
        self.delivered.get(&(shard, session)).and_then(|set| set.iter().max()).copied().unwrap_or(0)
    }

    /// Gaps told.
    #[must_use]
    pub fn gaps(&self) -> &HashSet<Told> {
        &self.gaps
    }

    /// The `q`-quantile of the latency in microseconds.
    #[must_use]
    pub fn latency_us(&self, q: f64) -> u64 {
        let mut sorted = self.latencies_us.clone();
        sorted.sort_unstable();
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index below the length"
        )]
        let index = ((sorted.len().saturating_sub(1)) as f64 * q) as usize;
        sorted.get(index).copied().map_or(0, u64::from)
    }
}

/// What the comparison came to.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Dispatches the simulator gave an `s`, and events it emitted while a known shard had no session.
    pub sent: u64,
    /// Distinct ones delivered.
    pub delivered: u64,
    /// Neither delivered nor inside a told gap.
    pub lost: u64,
    /// Not delivered, but inside a told gap.
    pub in_gaps: u64,
    /// Delivered, but never sent: must be 0, or the accounting itself is wrong.
    pub invented: u64,
    /// The first few lost ones, for a person.
    pub lost_first: Vec<String>,
}

/// Compares. `wanted` says whether the group wants an event of this kind name (READY and RESUMED included).
#[must_use]
pub fn compare(sent: &[SentSession], report: &Report, ledger: &Ledger, wanted: impl Fn(&str) -> bool) -> Verdict {
    let mut verdict = Verdict::default();
    let mut by_shard: BTreeMap<(u64, u32), Vec<&SentSession>> = BTreeMap::new();
    for session in sent {
        by_shard.entry((session.bot, session.shard.0)).or_default().push(session);
    }
    let none = HashSet::new();
    for (shard, sessions) in &mut by_shard {
        sessions.sort_by_key(|session| session.ordinal);
        let mut newest = None;
        for (ordinal, session) in ledger.ordinals(*shard, sessions.iter().map(|s| &*s.session_id)).into_iter().zip(sessions.iter()) {
            newest = ordinal.or(newest);
            // Before a shard's first session there is nothing that could be lost.
            let Some(known) = newest else { continue };
            let delivered = ordinal.and_then(|ordinal| ledger.delivered.get(&(*shard, ordinal))).unwrap_or(&none);
            let mut matched = 0;
            for s in session.sequence() {
                if session.kind(s).is_some_and(|kind| !wanted(kind.name())) {
                    continue;
                }
                verdict.sent += 1;
                let told = match ordinal {
                    Some(ordinal) => inside_told_gap(ledger, *shard, ordinal, s),
                    // Nobody heard of this session: it lies in the open gap behind the one before it.
                    None => open_gap(ledger, *shard, known),
                };
                if delivered.contains(&s) {
                    matched += 1;
                } else if told {
                    verdict.in_gaps += 1;
                } else {
                    verdict.lost += 1;
                    if verdict.lost_first.len() < 10 {
                        verdict.lost_first.push(format!(
                            "shard {} session {known}{} s {s} {}",
                            shard.1,
                            if ordinal.is_none() { " and one more that was never ready" } else { "" },
                            session.kind(s).map_or("?", |kind| kind.name())
                        ));
                    }
                }
            }
            verdict.delivered += matched;
            verdict.invented += delivered.len() as u64 - matched;
        }
    }
    for unseen in &report.unseen {
        // Which session the node held last before.
        let shard = (unseen.bot, unseen.shard);
        let of_shard: Vec<_> = report.sessions.iter().filter(|s| (s.bot, s.shard.0) == shard).collect();
        let ordinals = ledger.ordinals(shard, of_shard.iter().map(|s| &*s.session_id));
        let before =
            ordinals.into_iter().zip(&of_shard).filter(|(_, s)| s.started_unix_ms < unseen.from_unix_ms).filter_map(|(n, _)| n).max();
        let Some(before) = before else { continue };
        verdict.sent += unseen.events;
        if open_gap(ledger, shard, before) {
            verdict.in_gaps += unseen.events;
        } else {
            verdict.lost += unseen.events;
            verdict.lost_first.push(format!(
                "shard {}: {} events after session {before} with none to take them, and no gap told",
                unseen.shard, unseen.events
            ));
        }
    }
    verdict
}

fn inside_told_gap(ledger: &Ledger, shard: (u64, u32), session: u64, s: u64) -> bool {
    ledger.gaps.iter().any(|gap| {
        gap.shard == shard
            && gap.session == session
            && gap.first_s.is_none_or(|first| first <= s)
            && gap.last_s.is_none_or(|last| s <= last)
    })
}

/// Whether it was told that everything from somewhere in this session to the next one is missing.
fn open_gap(ledger: &Ledger, shard: (u64, u32), session: u64) -> bool {
    ledger.gaps.iter().any(|gap| gap.shard == shard && gap.session == session && gap.last_s.is_none())
}
