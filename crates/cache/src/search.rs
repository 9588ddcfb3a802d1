//! Finding members of a guild by name, by the beginning of one, by status and role, and paging through all of a large guild.
//!
//! A guild's first search by name builds its index: its members by id and their lower-case names in order ([`crate::names`]). Whoever
//! pages through a large guild builds the first half of it. It is a list of candidates, no more: each is compared with what the cache
//! holds before it is an answer, so an index may be behind. Members who have changed since are candidates of every search until they
//! have been sorted in: into small parts first, each of which is merged into the one before when it is no longer much smaller, so that
//! neither a search nor a change ever costs in proportion to the guild but for once in many thousand changes. An index that nobody has
//! used for a while is dropped by [`Cache::tick`].

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use trunkline_etf::Value;

use crate::cache::Cache;
use crate::key::{Key, Kind};
use crate::lookups::{Found, Smallest};
use crate::names::{Gathered, Needle, Part, lower};

/// An index that nobody has used for this long is dropped: building it anew takes a second even for the largest guilds.
pub const SEARCH_IDLE_MS: u64 = 10 * 60 * 1000;
/// Changed members who are compared one by one; more are sorted in first. So many cost some hundredths of a millisecond.
const LOOSE_MAX: usize = 64;
/// A part is merged into the one before when it has this share of its members: so each is written a few times for every four-fold
/// growth, and there are few parts.
const MERGED_FROM: usize = 4;
/// Members that one step of building an index reads: about a millisecond.
const STEP_MEMBERS: usize = 1_024;
/// Members whose names are sorted at once while an index is built: some ten milliseconds.
const SORTED_MEMBERS: usize = 32_768;
/// Pages of a guild with fewer members look at all their ids, which takes less than fetching a page.
const PAGED_MIN: usize = 4_096;

/// What members to find: those for whom all that is given holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberQuery {
    /// User name, global name or nick, exactly.
    pub name: Option<String>,
    /// The beginning of one of them, in upper or lower case.
    pub prefix: Option<String>,
    /// The status of their presence; `offline` is that of members without one.
    pub status: Option<String>,
    /// A role that they have.
    pub role: Option<u64>,
    /// Only ids above this.
    pub after: u64,
    /// So many at most.
    pub limit: usize,
}

/// The index of one guild.
#[derive(Default)]
pub(crate) struct Search {
    /// The first has nearly all members; each one has those who changed after the one before was made, gone ones included.
    parts: Vec<Part>,
    /// Members who changed after the last of them.
    loose: HashSet<u64, RandomState>,
    /// Members who are in no part yet.
    building: Option<Building>,
    /// It has names, and not ids alone.
    named: bool,
    used: bool,
    used_at_ms: Option<u64>,
}

/// An index on its way.
struct Building {
    /// Ascending, the next one being `ids[next]`.
    ids: Vec<u64>,
    next: usize,
    gathered: Gathered,
}

impl Search {
    pub(crate) fn note(&mut self, user: u64) {
        self.loose.insert(user);
    }

    pub(crate) fn bytes(&self) -> u64 {
        let parts: usize = self.parts.iter().map(Part::bytes).sum();
        let building = self.building.as_ref().map_or(0, |building| building.ids.capacity() * size_of::<u64>() + building.gathered.bytes());
        let lists = building + self.parts.capacity() * size_of::<Part>() + self.loose.allocation_size();
        (parts + lists + size_of::<Search>()) as u64
    }

    /// Whether nobody has used it for long.
    fn idle(&mut self, now_ms: u64) -> bool {
        let used_at_ms = match self.used_at_ms {
            Some(at) if !self.used => at,
            _ => now_ms,
        };
        self.used = false;
        self.used_at_ms = Some(used_at_ms);
        now_ms.saturating_sub(used_at_ms) >= SEARCH_IDLE_MS
    }

    /// The first `many` members above `after` who may have such a name, or of all: ascending, and more than there are.
    fn candidates(&self, needle: Option<&Needle>, after: u64, many: usize) -> Vec<u64> {
        let mut ids = Smallest::new(after, many);
        for part in &self.parts {
            match needle {
                Some(needle) => part.named(needle, after, many, |id| ids.push(id)),
                None => part.after(after, many).iter().for_each(|id| ids.push(*id)),
            }
        }
        self.loose.iter().for_each(|id| ids.push(*id));
        ids.take()
    }
}

impl Cache {
    /// Members of a guild, ascending by id. The first search by name in a guild builds its index.
    pub fn find_members(&mut self, guild: u64, query: &MemberQuery) -> Vec<Found> {
        let needle = match (&query.name, &query.prefix) {
            (Some(name), _) => Some(Needle::Whole(name.to_lowercase())),
            (None, Some(prefix)) if !prefix.is_empty() => Some(Needle::Start(prefix.to_lowercase())),
            _ => None,
        };
        // Two conditions on the name: candidates by one, compared with the other.
        let prefix = query.prefix.as_deref().map(str::to_lowercase).unwrap_or_default();
        let by_name_alone = query.role.is_none() && query.status.is_none();
        let fits = |cache: &Cache, user: u64| {
            // Nearly all candidates by name are answers, few of the others: each is read no oftener than it has to be.
            if by_name_alone {
                let found = cache.member(guild, user)?;
                let value = found.object.value();
                let fits = has_names(query.name.as_deref(), &prefix, |is| of_names(value, value.get("user"), is));
                return fits.then_some(found);
            }
            cache.fits(guild, user, query, &prefix).then(|| cache.member(guild, user))?
        };
        self.select(guild, needle, query.status.as_deref(), query.after, query.limit, fits)
    }

    /// Members of a guild with a text inside user name, global name, display name or nick, in upper or lower case; ascending by id.
    pub fn query_members(&mut self, guild: u64, text: &str, after: u64, limit: usize) -> Vec<Found> {
        let text = text.to_lowercase();
        let needle = (!text.is_empty()).then(|| Needle::Inside(text.clone()));
        let mut room = Vec::new();
        let fits = |cache: &Cache, user: u64| {
            let found = cache.any_name(guild, user, |_, name| {
                room.clear();
                lower(name, &mut room);
                memchr::memmem::find(&room, text.as_bytes()).is_some()
            });
            found.then(|| cache.member(guild, user))?
        };
        self.select(guild, needle, None, after, limit, fits)
    }

    /// A page of a guild's objects: what [`Cache::list`] answers, in time that depends on the page alone also where somebody pages through
    /// the members of a large guild. To be able to, it keeps their ids in order for a while.
    pub fn page(&mut self, kind: Kind, guild: u64, after: u64, limit: usize) -> Vec<Found> {
        let indexed = self.guilds.get(&guild).is_some_and(|guild| guild.search.is_some());
        // Who asks for the first page may never ask for a second one.
        if kind != Kind::Member || !(indexed || after > 0 && self.count(kind, guild) >= PAGED_MIN) {
            return self.list(kind, guild, after, limit);
        }
        self.ready_search(guild, false);
        self.select(guild, None, None, after, limit, |cache, user| cache.member(guild, user))
    }

    /// Drops search indexes that nobody has used for [`SEARCH_IDLE_MS`], and keeps the others from falling behind. `now_ms` may count from
    /// anywhere; to be called now and then.
    pub fn tick(&mut self, now_ms: u64) {
        for at in (0..self.searched.len()).rev() {
            let guild = self.searched[at];
            let search = self.guilds.get_mut(&guild).and_then(|guild| guild.search.as_mut());
            if search.is_none_or(|search| search.idle(now_ms)) {
                self.searched.swap_remove(at);
                self.drop_search(guild);
            } else {
                // Not left to whoever searches next.
                self.settle_search(guild);
            }
        }
    }

    /// Drops a guild's search index; answers its bytes.
    pub(crate) fn drop_search(&mut self, guild: u64) -> u64 {
        let Some(known) = self.guilds.get_mut(&guild) else { return 0 };
        self.tenant.unwatch(known.number);
        known.search.take().map_or(0, |search| search.bytes())
    }

    fn select(
        &mut self,
        guild: u64,
        needle: Option<Needle>,
        status: Option<&str>,
        mut after: u64,
        limit: usize,
        mut fits: impl FnMut(&Cache, u64) -> Option<Found>,
    ) -> Vec<Found> {
        let mut found = Vec::new();
        if needle.is_some() {
            self.ready_search(guild, true);
        }
        let search = self.guilds.get_mut(&guild).and_then(|known| known.search.take());
        let mut by_presence = status.is_some_and(|status| status != "offline");
        by_presence &= needle.is_none();
        // Most candidates are answers, unless there are more conditions; so few are picked first, then more and more.
        let mut many = limit.saturating_add(16);
        while found.len() < limit {
            let ids = match &search {
                Some(search) if !by_presence => search.candidates(needle.as_ref(), after, many),
                _ if needle.is_some() => break,
                _ => Smallest::of(self.ids(if by_presence { Kind::Presence } else { Kind::Member }, guild), after, many),
            };
            for id in &ids {
                if found.len() == limit {
                    break;
                }
                found.extend(fits(self, *id));
            }
            match ids.last() {
                Some(last) if ids.len() == many => after = *last,
                _ => break,
            }
            many = many.saturating_mul(4);
        }
        if let Some(known) = self.guilds.get_mut(&guild)
            && let Some(search) = search
        {
            known.search = Some(search);
        }
        found
    }

    /// One step of building the index by names of a guild, about a millisecond; answers whether it is there. To be called until it is
    /// before [`Cache::find_members`] and [`Cache::query_members`], which do at once what is left to do: a large guild takes a while.
    pub fn prepare_search(&mut self, guild: u64) -> bool {
        self.begin_search(guild, true);
        self.build_search(guild, STEP_MEMBERS);
        self.guilds.get(&guild).and_then(|known| known.search.as_ref()).is_none_or(|search| search.building.is_none())
    }

    /// Sees to it that a guild's index is there, and that few members lie beside it.
    fn ready_search(&mut self, guild: u64, named: bool) {
        self.begin_search(guild, named);
        self.build_search(guild, usize::MAX);
        self.settle_search(guild);
    }

    fn begin_search(&mut self, guild: u64, named: bool) {
        let Some(known) = self.guilds.get_mut(&guild) else { return };
        if known.search.as_ref().is_none_or(|search| named && !search.named) {
            let number = known.number;
            if known.search.take().is_none() {
                self.searched.push(guild);
            }
            let ids: Vec<u64> = self.ids(Kind::Member, guild).collect();
            let mut search = Search { named, ..Search::default() };
            if named {
                self.tenant.watch(number);
                // In the order in which Discord lists a guild's members, they lie near each other.
                let mut ids = ids;
                ids.sort_unstable();
                search.building = Some(Building { ids, next: 0, gathered: Gathered::default() });
            } else {
                search.parts.push(Part::of_ids(ids));
            }
            if let Some(known) = self.guilds.get_mut(&guild) {
                known.search = Some(Box::new(search));
            }
        }
        if let Some(search) = self.guilds.get_mut(&guild).and_then(|known| known.search.as_mut()) {
            search.used = true;
        }
    }

    /// Reads so many members of those that an index lacks.
    fn build_search(&mut self, guild: u64, many: usize) {
        let Some(known) = self.guilds.get_mut(&guild) else { return };
        let Some(mut search) = known.search.take() else { return };
        if let Some(mut building) = search.building.take() {
            let to = building.ids.len().min(building.next.saturating_add(many));
            for at in building.next..to {
                self.gather(guild, building.ids[at], &mut building.gathered);
                if building.gathered.len() == SORTED_MEMBERS {
                    search.parts.push(std::mem::take(&mut building.gathered).sorted());
                    self.merge_parts(guild, &mut search.parts);
                }
            }
            building.next = to;
            if to < building.ids.len() {
                search.building = Some(building);
            } else {
                search.parts.push(building.gathered.sorted());
                self.merge_parts(guild, &mut search.parts);
            }
        }
        if let Some(known) = self.guilds.get_mut(&guild) {
            known.search = Some(search);
        }
    }

    /// Sorts in who has changed, unless these are few.
    fn settle_search(&mut self, guild: u64) {
        let Some(known) = self.guilds.get_mut(&guild) else { return };
        let number = known.number;
        let Some(mut search) = known.search.take() else { return };
        if search.named {
            self.tenant.watched(number, &mut search.loose);
        }
        // Not while it is built: most of these are yet to be read.
        if search.loose.len() > LOOSE_MAX && search.building.is_none() {
            let mut changed: Vec<u64> = search.loose.drain().collect();
            // After a quiet time its room would be gone through with every search.
            search.loose.shrink_to(2 * LOOSE_MAX);
            search.parts.push(if search.named {
                changed.sort_unstable();
                let mut gathered = Gathered::default();
                changed.into_iter().for_each(|user| self.gather(guild, user, &mut gathered));
                gathered.sorted()
            } else {
                Part::of_ids(changed)
            });
            self.merge_parts(guild, &mut search.parts);
        }
        if let Some(known) = self.guilds.get_mut(&guild) {
            known.search = Some(search);
        }
    }

    /// Merges parts that are no longer much smaller than the one before.
    fn merge_parts(&self, guild: u64, parts: &mut Vec<Part>) {
        while let [before @ .., older, newer] = &parts[..]
            && newer.len() * MERGED_FROM >= older.len()
        {
            // What is gone hides what an older part says of it, until there is no older one.
            let lives = |id| !before.is_empty() || self.has(Key::new(Kind::Member, guild, id));
            let merged = Part::merge(older, newer, lives);
            parts.truncate(parts.len() - 2);
            parts.push(merged);
        }
    }

    /// A member with its names.
    fn gather(&self, guild: u64, user: u64, gathered: &mut Gathered) {
        gathered.member(user);
        self.any_name(guild, user, |_, name| {
            gathered.name(name);
            false
        });
    }

    /// Whether one of a member's names is such; the first argument says whether it is the display name, which is no name to find members by.
    fn any_name(&self, guild: u64, user: u64, mut is: impl FnMut(bool, &str) -> bool) -> bool {
        let Some(member) = self.get(Key::new(Kind::Member, guild, user)) else { return false };
        self.tenant.users.read(user, |user| of_names(member, Some(user), &mut is)).unwrap_or_else(|| of_names(member, None, is))
    }

    fn fits(&self, guild: u64, user: u64, query: &MemberQuery, prefix: &str) -> bool {
        let Some(member) = self.get(Key::new(Kind::Member, guild, user)) else { return false };
        if let Some(role) = query.role {
            let has = |roles: Value<'_>| roles.items().any(|id| id.as_id() == Some(role));
            let gone = self.guilds.get(&guild).is_some_and(|guild| guild.gone_roles.contains(&role));
            // Everybody has the role that is called like the guild, and no member says so.
            if role != guild && (gone || !member.get("roles").is_some_and(has)) {
                return false;
            }
        }
        if let Some(status) = &query.status {
            let presence = self.get(Key::new(Kind::Presence, guild, user)).and_then(|presence| presence.get("status"));
            if presence.and_then(Value::as_str).as_deref().unwrap_or("offline") != status {
                return false;
            }
        }
        let name = query.name.as_deref();
        name.is_none() && prefix.is_empty() || has_names(name, prefix, |is| self.any_name(guild, user, is))
    }
}

/// Whether one of the names of a member and its user is such; the first argument says whether it is the display name.
fn of_names(member: Value<'_>, user: Option<Value<'_>>, mut is: impl FnMut(bool, &str) -> bool) -> bool {
    if member.get("nick").and_then(Value::as_str).is_some_and(|nick| is(false, &nick)) {
        return true;
    }
    let names = user.map(|user| user.get_all(["username", "global_name", "display_name"])).unwrap_or_default();
    (0..).zip(names).any(|(place, name)| name.and_then(Value::as_str).is_some_and(|name| is(place == 2, &name)))
}

/// Whether somebody, whose names `any` goes through, has this name, and one that begins so.
fn has_names(name: Option<&str>, prefix: &str, any: impl FnOnce(&mut dyn FnMut(bool, &str) -> bool) -> bool) -> bool {
    let (mut named, mut begins) = (name.is_none(), prefix.is_empty());
    let found = any(&mut |display, found| {
        named |= !display && name == Some(found);
        begins |= !display && begins_with(found, prefix);
        named && begins
    });
    // Somebody without any name fits where none is asked for.
    found || name.is_none() && prefix.is_empty()
}

/// Whether a name in lower case begins with a text, which is in lower case.
fn begins_with(name: &str, prefix: &str) -> bool {
    if name.is_ascii() {
        name.as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    } else if name.contains('Σ') {
        // The only letter whose lower case depends on what stands beside it.
        name.to_lowercase().starts_with(prefix)
    } else {
        let mut letters = name.chars().flat_map(char::to_lowercase);
        prefix.chars().all(|letter| letters.next() == Some(letter))
    }
}
