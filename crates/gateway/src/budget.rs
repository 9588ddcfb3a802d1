//! The mind of the identify queue: who of a bot's shards may identify next, and when.
//!
//! Pure. Discord allows one IDENTIFY per `shard_id % max_concurrency` in 5 s, groups of shards in order, and a number of
//! them per day over which it resets the bot's token (Discord docs, Gateway: Rate Limiting; Sharding: Max Concurrency).
//!
//! Invariants: between two grants of one key lie at least [`SPACING`] counted from when the first was used; a grant that
//! the ledger shows as handed out counts as used at the moment the ledger is read; nothing is granted when nothing of the
//! day remains; below the reserve only shards that start for the first time in the window are granted, as long as all of
//! them fit, and those that a person let through.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use trunkline_discord::{Time, identify_key};

/// Discord counts windows of 5 s when a frame arrives there; the rest is room for jitter on the way.
pub const SPACING: Duration = Duration::from_millis(5250);
/// The day of the day's budget, in milliseconds.
const WINDOW_MS: u64 = 24 * 60 * 60 * 1000;
/// Two views of when the budget is reset that lie nearer than this mean the same reset.
const SAME_RESET_MS: u64 = 5 * 60 * 1000;
const LEDGER_VERSION: u8 = 1;

/// A moment on both clocks: the monotonic one for spacing, the wall clock for what outlives the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic.
    pub time: Time,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
}

/// `session_start_limit` of `GET /gateway/bot` (Discord docs, Gateway: Session Start Limit).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub struct SessionStartLimit {
    /// Identifies per day.
    pub total: u32,
    /// How many of them are left.
    pub remaining: u32,
    /// Milliseconds until all are given back.
    #[serde(rename = "reset_after")]
    pub reset_after_ms: u64,
    /// Identifies per 5 s, each of another `shard_id % max_concurrency`.
    pub max_concurrency: u32,
}

/// What the mind wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This shard may identify: write the ledger, then tell it.
    Grant(u32),
    /// Ask again then; without a time, after the next input.
    Wait(Option<Time>),
}

/// Why shards wait although their key is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// Nothing of the day remains. More would make Discord reset the token.
    Spent,
    /// What remains is the reserve; a person may let shards through.
    Reserve,
}

/// The view for status and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdentifyStatus {
    /// Identifies per day.
    pub total: u32,
    /// Left of them.
    pub remaining: u32,
    /// What is kept back.
    pub reserve: u32,
    /// When all are given back, in milliseconds since 1970; unknown before Discord said it.
    pub reset_at_unix_ms: Option<u64>,
    /// Identifies per 5 s.
    pub max_concurrency: u32,
    /// Shards that wait, rising.
    pub waiting: Vec<u32>,
    /// When the next of them may go.
    pub next_grant_at: Option<Time>,
    /// Why none may go at all.
    pub blocked: Option<Blocked>,
    /// Granted since the process began.
    pub granted: u64,
    /// The ledger could not be written at the last try.
    pub ledger_failing: bool,
}

#[derive(Debug, Clone, Copy)]
struct Handed {
    shard: u32,
    first: bool,
    past_reserve: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Key {
    free_at: Time,
    used_at_unix_ms: u64,
    handed: Option<Handed>,
}

/// The identify budget of one bot.
#[derive(Debug)]
pub struct IdentifyBudget {
    max_concurrency: u32,
    total: u32,
    remaining: u32,
    reset_at_unix_ms: Option<u64>,
    keys: BTreeMap<u32, Key>,
    /// No key is free before this: nothing is known of what was before.
    floor: Time,
    /// Shard to whether it may touch the reserve.
    waiting: BTreeMap<u32, bool>,
    count: u32,
    mine: BTreeSet<u32>,
    started: BTreeSet<u32>,
    granted: u64,
}

impl IdentifyBudget {
    /// A budget for `mine` of `count` shards, from the ledger that the last process left. Without one, or with one that
    /// cannot be read, the first identify waits [`SPACING`]: the last process may have identified a moment ago.
    #[must_use]
    pub fn new(ledger: Option<&[u8]>, count: u32, mine: &[u32], now: Moment) -> Self {
        let mut budget = Self {
            max_concurrency: 1,
            total: 1000,
            remaining: 1000,
            reset_at_unix_ms: None,
            keys: BTreeMap::new(),
            floor: now.time + SPACING,
            waiting: BTreeMap::new(),
            count,
            mine: mine.iter().copied().collect(),
            started: BTreeSet::new(),
            granted: 0,
        };
        if let Some(record) = ledger.and_then(Record::decode) {
            budget.restore(record, now);
        }
        budget
    }

    fn restore(&mut self, record: Record, now: Moment) {
        // At most one spacing, whatever the wall clock has done since.
        let floor_left = Duration::from_millis(record.floor_until_unix_ms.saturating_sub(now.unix_ms)).min(SPACING);
        self.floor = now.time + floor_left;
        self.max_concurrency = record.max_concurrency.max(1);
        self.total = record.total;
        self.remaining = record.remaining;
        self.reset_at_unix_ms = record.reset_at_unix_ms;
        if record.count == self.count {
            self.started = record.started;
        }
        for (key, handed, used_at_unix_ms) in record.keys {
            let age_ms = now.unix_ms.checked_sub(used_at_unix_ms);
            let left = match age_ms {
                // Handed out and not known to be used: it may have been used just before the process died.
                _ if handed => SPACING,
                Some(age_ms) => SPACING.saturating_sub(Duration::from_millis(age_ms)),
                // From the future: the wall clock was set back.
                None => SPACING,
            };
            self.keys.insert(key, Key { free_at: now.time + left, used_at_unix_ms, handed: None });
        }
    }

    /// Forgets what is known of the past: every key waits [`SPACING`] from now. For a ledger that cannot be trusted.
    pub fn distrust(&mut self, now: Moment) {
        self.floor = self.floor.max(now.time + SPACING);
    }

    /// Takes Discord's view in. Within one window the smaller number holds, as the ledger may know of identifies that
    /// Discord's answer does not count yet, and Discord of some by other programs.
    pub fn limit(&mut self, limit: SessionStartLimit, now: Moment) {
        let reset_at = now.unix_ms.saturating_add(limit.reset_after_ms);
        let known = self.reset_at_unix_ms.filter(|known| *known > now.unix_ms);
        let same_window = known.is_some_and(|known| known.abs_diff(reset_at) < SAME_RESET_MS);
        if same_window {
            self.remaining = self.remaining.min(limit.remaining);
        } else {
            if known.is_none() || limit.remaining > self.remaining {
                self.started.clear();
            }
            self.remaining = limit.remaining.saturating_sub(self.handed_out());
        }
        self.total = limit.total;
        self.reset_at_unix_ms = Some(reset_at);
        let max_concurrency = limit.max_concurrency.max(1);
        if max_concurrency != self.max_concurrency {
            // Keys mean other shards now: all wait for the last of the old ones.
            let latest = self.keys.values().map(|key| key.free_at).max();
            self.floor = self.floor.max(latest.unwrap_or(Time::ZERO));
            self.max_concurrency = max_concurrency;
            let handed: Vec<Key> = self.keys.values().filter(|key| key.handed.is_some()).copied().collect();
            self.keys.clear();
            for key in handed {
                if let Some(handed) = key.handed {
                    self.keys.insert(identify_key(handed.shard, max_concurrency), key);
                }
            }
        }
    }

    fn handed_out(&self) -> u32 {
        u32::try_from(self.keys.values().filter(|key| key.handed.is_some()).count()).unwrap_or(u32::MAX)
    }

    /// This shard wants to identify.
    pub fn ask(&mut self, shard: u32) {
        self.waiting.entry(shard).or_insert(false);
    }

    /// This shard no longer wants to. What it was granted and has not used is given back.
    pub fn forget(&mut self, shard: u32) {
        self.waiting.remove(&shard);
        self.give_back(shard);
    }

    /// The IDENTIFY of this shard has left.
    pub fn used(&mut self, shard: u32, now: Moment) {
        if let Some(key) = self.key_with(shard) {
            key.handed = None;
            key.free_at = now.time + SPACING;
            key.used_at_unix_ms = now.unix_ms;
        }
    }

    /// The grant of this shard could not be handed over; it waits on, at its old place.
    pub fn undo(&mut self, shard: u32) {
        if let Some(handed) = self.give_back(shard) {
            self.waiting.insert(shard, handed.past_reserve);
        }
    }

    fn key_with(&mut self, shard: u32) -> Option<&mut Key> {
        self.keys.values_mut().find(|key| key.handed.is_some_and(|handed| handed.shard == shard))
    }

    fn give_back(&mut self, shard: u32) -> Option<Handed> {
        let handed = self.key_with(shard)?.handed.take()?;
        self.remaining = self.remaining.saturating_add(1).min(self.total);
        self.granted = self.granted.saturating_sub(1);
        if handed.first {
            self.started.remove(&shard);
        }
        Some(handed)
    }

    /// A person lets the shards that wait now, or one of them, have of the reserve. Answers how many that are.
    pub fn use_reserve(&mut self, shard: Option<u32>) -> usize {
        let mut let_through = 0;
        for (waiting, past_reserve) in &mut self.waiting {
            if shard.is_none_or(|shard| shard == *waiting) {
                *past_reserve = true;
                let_through += 1;
            }
        }
        let_through
    }

    /// What is kept back of a day: a tenth, at least 20.
    #[must_use]
    pub fn reserve(&self) -> u32 {
        (self.total / 10).max(20)
    }

    fn first_starts_fit(&self) -> bool {
        let coming = self.mine.iter().filter(|shard| !self.started.contains(shard)).count();
        u32::try_from(coming).is_ok_and(|coming| coming <= self.remaining)
    }

    fn may(&self, shard: u32, past_reserve: bool, first_starts_fit: bool) -> bool {
        self.remaining > 0
            && (past_reserve
                || self.remaining > self.reserve()
                || (first_starts_fit && self.mine.contains(&shard) && !self.started.contains(&shard)))
    }

    /// Who is next. Shards go in groups of `max_concurrency` ids, the lowest group that waits first, and in a group by id;
    /// a group behind waits until everyone of those before it that asked was granted.
    pub fn next(&mut self, now: Moment) -> Next {
        self.renew(now);
        let (candidate, at) = self.candidate(now.time);
        let Some(shard) = candidate else {
            return Next::Wait(at);
        };
        let past_reserve = self.waiting.remove(&shard).unwrap_or(false);
        let first = self.started.insert(shard);
        let key = self.keys.entry(identify_key(shard, self.max_concurrency)).or_default();
        key.used_at_unix_ms = now.unix_ms;
        key.handed = Some(Handed { shard, first, past_reserve });
        self.remaining = self.remaining.saturating_sub(1);
        self.granted += 1;
        Next::Grant(shard)
    }

    /// The shard that may go now, or else when the next may.
    fn candidate(&self, now: Time) -> (Option<u32>, Option<Time>) {
        let fit = self.first_starts_fit();
        let mut group = None;
        let mut soonest: Option<Time> = None;
        for (shard, past_reserve) in &self.waiting {
            if !self.may(*shard, *past_reserve, fit) {
                continue;
            }
            let its_group = *shard / self.max_concurrency;
            if *group.get_or_insert(its_group) != its_group {
                break;
            }
            let key = self.keys.get(&identify_key(*shard, self.max_concurrency));
            if key.is_some_and(|key| key.handed.is_some()) {
                continue;
            }
            let free_at = key.map_or(self.floor, |key| key.free_at.max(self.floor));
            if free_at <= now {
                return (Some(*shard), None);
            }
            soonest = Some(soonest.map_or(free_at, |soonest| soonest.min(free_at)));
        }
        (None, soonest)
    }

    fn renew(&mut self, now: Moment) {
        if self.reset_at_unix_ms.is_some_and(|reset_at| reset_at <= now.unix_ms) {
            self.remaining = self.total.saturating_sub(self.handed_out());
            self.reset_at_unix_ms = Some(now.unix_ms.saturating_add(WINDOW_MS));
            self.started.clear();
        }
    }

    /// Shards wait and only a new day helps them.
    #[must_use]
    pub fn blocked(&self) -> Option<Blocked> {
        let fit = self.first_starts_fit();
        let stuck = self.waiting.iter().any(|(shard, past_reserve)| !self.may(*shard, *past_reserve, fit));
        match (stuck, self.remaining) {
            (false, _) => None,
            (true, 0) => Some(Blocked::Spent),
            (true, _) => Some(Blocked::Reserve),
        }
    }

    /// When the day's budget comes back, in milliseconds since 1970.
    #[must_use]
    pub fn reset_at_unix_ms(&self) -> Option<u64> {
        self.reset_at_unix_ms
    }

    /// The view for status and metrics.
    #[must_use]
    pub fn status(&self, now: Moment) -> IdentifyStatus {
        let (candidate, at) = self.candidate(now.time);
        IdentifyStatus {
            total: self.total,
            remaining: self.remaining,
            reserve: self.reserve(),
            reset_at_unix_ms: self.reset_at_unix_ms,
            max_concurrency: self.max_concurrency,
            waiting: self.waiting.keys().copied().collect(),
            next_grant_at: candidate.map(|_| now.time).or(at),
            blocked: self.blocked(),
            granted: self.granted,
            ledger_failing: false,
        }
    }

    /// What the next process has to know, for the store. Keys whose spacing is long over are left out.
    #[must_use]
    pub fn ledger(&self, now: Moment) -> Vec<u8> {
        let recent = |key: &&Key| key.handed.is_some() || now.unix_ms.saturating_sub(key.used_at_unix_ms) < 60_000;
        let keys: Vec<_> = self.keys.iter().filter(|(_, key)| recent(key)).collect();
        let mut out = vec![LEDGER_VERSION];
        for number in [self.max_concurrency, self.total, self.remaining, self.count] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.reset_at_unix_ms.unwrap_or(0).to_le_bytes());
        // What is unknown stays unknown to a process that starts a second after this one died.
        let floor_left_ms = u64::try_from(self.floor.since(now.time).as_millis()).unwrap_or(u64::MAX);
        out.extend_from_slice(&now.unix_ms.saturating_add(floor_left_ms).to_le_bytes());
        out.extend_from_slice(&length(keys.len()).to_le_bytes());
        for (number, key) in keys {
            out.extend_from_slice(&number.to_le_bytes());
            out.push(u8::from(key.handed.is_some()));
            out.extend_from_slice(&key.used_at_unix_ms.to_le_bytes());
        }
        out.extend_from_slice(&length(self.started.len()).to_le_bytes());
        for shard in &self.started {
            out.extend_from_slice(&shard.to_le_bytes());
        }
        out
    }
}

fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// The ledger's content: version 1, then little-endian numbers in the order of the fields.
struct Record {
    max_concurrency: u32,
    total: u32,
    remaining: u32,
    count: u32,
    reset_at_unix_ms: Option<u64>,
    floor_until_unix_ms: u64,
    keys: Vec<(u32, bool, u64)>,
    started: BTreeSet<u32>,
}

impl Record {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&[LEDGER_VERSION])?;
        let max_concurrency = take_u32(&mut rest)?;
        let total = take_u32(&mut rest)?;
        let remaining = take_u32(&mut rest)?;
        let count = take_u32(&mut rest)?;
        let reset_at_unix_ms = Some(take_u64(&mut rest)?).filter(|at| *at > 0);
        let floor_until_unix_ms = take_u64(&mut rest)?;
        let mut keys = Vec::new();
        for _ in 0..take_u32(&mut rest)? {
            let key = take_u32(&mut rest)?;
            let (handed, after) = rest.split_first()?;
            rest = after;
            keys.push((key, *handed != 0, take_u64(&mut rest)?));
        }
        let mut started = BTreeSet::new();
        for _ in 0..take_u32(&mut rest)? {
            started.insert(take_u32(&mut rest)?);
        }
        rest.is_empty().then_some(Self { max_concurrency, total, remaining, count, reset_at_unix_ms, floor_until_unix_ms, keys, started })
    }
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (head, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_le_bytes(*head))
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (head, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u64::from_le_bytes(*head))
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
