//! What gives way when there is too much: kinds without a natural end have a number, and the whole a budget in bytes.

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use trunkline_etf::Value;

use crate::cache::Cache;
use crate::key::{Key, Kind};
use crate::table::hash;

/// Objects that nothing ever confirms or lists, of each such kind and shard: bans and invites that were seen, channels outside guilds,
/// entitlements, subscriptions. The oldest give way. Ten thousand are a few megabytes, and more than a shard sees in weeks.
pub const UNCONFIRMED_MAX: usize = 10_000;

/// Places in tables, taken and free ones, that one event looks at to make room, at least; a large event looks at more, as many as it can have brought.
const STEPS_MIN: usize = 128;

/// Bytes of an event that may hold one object.
const BYTES_A_STEP: usize = 64;

/// Where the search for room stands, and what it has cost so far.
#[derive(Default)]
pub(crate) struct Policy {
    evicted: [u64; Kind::ALL.len()],
    /// Of each bounded kind the keys in the order in which they came. Some may be gone.
    queues: [VecDeque<Key>; BOUNDED.len()],
    /// For presences and for members: each goes on where it was, whatever was looked for in between.
    searches: [Search; 2],
    /// No more members could give way when this much was held.
    stuck_bytes: Option<u64>,
    /// [`member_hash`] of members whose presence gave way and who have not been told to be offline since: presences go before members do, and
    /// then nothing else would tell who is offline.
    online: HashSet<u32, RandomState>,
}

/// A round through all guilds.
#[derive(Default)]
struct Search {
    /// Still to be looked at, the last one first.
    guilds: Vec<u64>,
    /// The place in that one's table. What moves there meanwhile may be missed until the next round.
    place: usize,
    under_way: bool,
    /// Something was found in this round.
    found: bool,
    /// What was found last. Once it has gone, what lay behind it lies in its place.
    last: Option<Key>,
}

/// What a search has come to.
enum Looked {
    /// This may give way.
    Found(Key),
    /// The steps are used up.
    Unfinished,
    /// A whole round found nothing.
    Nothing,
}

const BOUNDED: [Kind; 5] = [Kind::Ban, Kind::Invite, Kind::DirectChannel, Kind::Entitlement, Kind::Subscription];

impl Policy {
    pub(crate) fn count(&mut self, kind: Kind, gone: u64) {
        self.evicted[kind as usize] += gone;
    }

    /// Somebody was told to be offline, or is no member any more.
    #[inline]
    pub(crate) fn not_online(&mut self, guild: u64, user: u64) {
        if !self.online.is_empty() {
            self.online.remove(&member_hash(guild, user));
        }
    }

    /// Who was online before is not known any more.
    pub(crate) fn nobody_online(&mut self) {
        self.online = HashSet::default();
    }

    /// Bytes of what is remembered of members.
    pub(crate) fn bytes(&self) -> u64 {
        self.online.allocation_size() as u64
    }
}

impl Cache {
    /// How many objects of a kind had to give way since the start: to the budget, to the bytes of messages, or to [`UNCONFIRMED_MAX`].
    pub fn evicted(&self, kind: Kind) -> u64 {
        self.policy.evicted[kind as usize]
    }

    /// Puts an object of a kind that has a number.
    pub(crate) fn set_bounded(&mut self, key: Key, value: Value<'_>) {
        let Some(queue) = BOUNDED.iter().position(|kind| *kind == key.kind) else { return };
        if self.set(key, Some(value)).had || !self.has(key) {
            return;
        }
        self.policy.queues[queue].push_back(key);
        let count = self.size(key.kind).count as usize;
        // After a restart the queue knows of nothing, and keys that are gone must not fill it.
        if (count > UNCONFIRMED_MAX && self.policy.queues[queue].len() < count) || self.policy.queues[queue].len() > 2 * UNCONFIRMED_MAX {
            let mut keys: Vec<Key> = match key.kind.outside() {
                true => self.ids(key.kind, 0).map(|id| Key::new(key.kind, 0, id)).collect(),
                false => {
                    self.guild_ids().flat_map(|guild| self.ids(key.kind, guild).map(move |id| Key::new(key.kind, guild, id))).collect()
                }
            };
            keys.sort_unstable_by_key(|other| (*other == key, other.id));
            self.policy.queues[queue] = keys.into();
        }
        while self.size(key.kind).count as usize > UNCONFIRMED_MAX
            && let Some(oldest) = self.policy.queues[queue].pop_front()
        {
            let gone = self.set(oldest, None).had;
            self.policy.count(key.kind, u64::from(gone));
        }
    }

    /// Makes room while there is more than the budget: presences first, since the next one comes soon; then messages, the oldest first; then
    /// members who are neither in voice nor the bot, and whom Discord tells again when asked: those who are offline, and when they have all
    /// gone, those who are online but whose presence had to go.
    pub(crate) fn relieve(&mut self, event_bytes: usize) {
        let Some(budget) = self.config.budget_bytes else { return };
        let mut steps = STEPS_MIN + event_bytes / BYTES_A_STEP;
        // Every other event may bring a presence: where a few are left in many guilds, looking for them is not all that is done.
        let fruitless_max = steps / 2;
        let mut fruitless = 0;
        loop {
            if self.bytes_in_use() <= budget {
                // What did not give way then may have gone since.
                self.policy.stuck_bytes = None;
                return;
            }
            if steps == 0 {
                return;
            }
            // What lies as it came takes less when it is packed: nothing goes while that is enough.
            if self.pack_oldest() {
                steps -= 1;
            } else if self.size(Kind::Presence).count > 0 && fruitless < fruitless_max {
                let given = steps.min(fruitless_max - fruitless);
                let mut left = given;
                match self.next_to_go(Kind::Presence, &mut left) {
                    Looked::Found(key) => {
                        fruitless = 0;
                        if self.give_way(key) && self.has(Key { kind: Kind::Member, ..key }) {
                            self.policy.online.insert(member_hash(key.guild, key.id));
                        }
                    }
                    Looked::Unfinished | Looked::Nothing => fruitless = fruitless_max,
                }
                steps -= given - left;
            } else if self.messages.size().count > 0 {
                let gone = self.messages.pop_oldest();
                self.policy.count(Kind::Message, u64::from(gone));
                steps -= 1;
            } else if self.policy.stuck_bytes.is_some_and(|bytes| self.bytes_in_use() < bytes.saturating_add(budget / 64)) {
                // Another look through all members is worth it only when there are clearly more.
                return;
            } else {
                match self.next_to_go(Kind::Member, &mut steps) {
                    Looked::Found(key) => {
                        self.give_way(key);
                        self.policy.stuck_bytes = None;
                    }
                    Looked::Unfinished => return,
                    // All who are offline have gone, and the budget is a budget.
                    Looked::Nothing if !self.policy.online.is_empty() => self.policy.nobody_online(),
                    Looked::Nothing => {
                        self.policy.stuck_bytes = Some(self.bytes_in_use());
                        return;
                    }
                }
            }
        }
    }

    fn give_way(&mut self, key: Key) -> bool {
        let gone = self.set(key, None).had;
        self.policy.count(key.kind, u64::from(gone));
        gone
    }

    /// The next object that may give way. A step is a guild, or a place in a table; it uses one at least.
    fn next_to_go(&mut self, kind: Kind, steps: &mut usize) -> Looked {
        let at = usize::from(kind == Kind::Member);
        let mut search = std::mem::take(&mut self.policy.searches[at]);
        let looked = self.go_on(kind, &mut search, steps);
        self.policy.searches[at] = search;
        looked
    }

    fn go_on(&self, kind: Kind, search: &mut Search, steps: &mut usize) -> Looked {
        while *steps > 0 {
            *steps -= 1;
            if !search.under_way {
                *search = Search { guilds: self.guild_ids().collect(), under_way: true, ..Search::default() };
            }
            let Some(guild) = search.guilds.last().copied() else {
                search.under_way = false;
                if search.found {
                    continue;
                }
                return Looked::Nothing;
            };
            let Some(table) = self.table(kind, guild).filter(|table| search.place < table.places()) else {
                search.guilds.pop();
                search.place = 0;
                continue;
            };
            let key = table.nth(search.place).map(|handle| Key::new(kind, guild, self.heap.id(handle)));
            if let Some(key) = key.filter(|key| kind != Kind::Member || self.offline_member(*key))
                && search.last != Some(key)
            {
                (search.found, search.last) = (true, Some(key));
                return Looked::Found(key);
            }
            search.place += 1;
        }
        Looked::Unfinished
    }

    /// What giving way can make less: room that is held for more stays, and is used again.
    fn bytes_in_use(&self) -> u64 {
        let memory = self.memory();
        memory.sum() - memory.room
    }

    fn offline_member(&self, key: Key) -> bool {
        let here = |kind| self.has(Key::new(kind, key.guild, key.id));
        let online = here(Kind::Presence) || self.policy.online.contains(&member_hash(key.guild, key.id));
        !online && !here(Kind::VoiceState) && self.own_user_id() != Some(key.id)
    }
}

/// Half of a hash: two members with one half stay a little longer, or go a little earlier, and half as much needs to be remembered.
fn member_hash(guild: u64, user: u64) -> u32 {
    hash(user ^ hash(guild)) as u32
}
