//! Finding members of a guild by name, by the beginning of one, by status and role, and paging through all of a large guild.
//!
//! A guild's first search by name builds its index: its members by id and their lower-case names in order ([`crate::names`]). Whoever
//! pages through a large guild, or looks for those with a role or a status there, builds the first half of it. It is a list of candidates,
//! no more: each is compared with what the cache holds before it is an answer, so an index may be behind. Members who have changed since
//! are candidates of every search until they have been sorted in: into small parts first, each of which is merged into the one before when
//! it is no longer much smaller, so that neither a search nor a change ever costs in proportion to the guild. An index that nobody has used
//! for a while is dropped by [`Cache::tick`].
//!
//! Whatever takes a large guild long is done in steps ([`Step`]), between which the caller's thread does what else it has to do. Answers
//! ascend by id, and a step goes on above the last id that the one before has looked at: a member who is there throughout is met once,
//! whoever comes and goes in between.
//!
//! Invariant: no step goes through more than [`STEP_LOOKED_MAX`] members and names. What does all at once repeats steps.

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use trunkline_etf::Value;

use crate::cache::Cache;
use crate::heap::Handle;
use crate::key::{Key, Kind};
use crate::lookups::{Found, Smallest};
use crate::names::{Gathered, Merging, NAMES_MAX, Needle, Part, lower, lower_case, lower_letters};

/// An index that nobody has used for this long is dropped: building it anew takes a second even for the largest guilds.
pub const SEARCH_IDLE_MS: u64 = 10 * 60 * 1000;
/// Members, or names of some, that one step goes through at most, all that it does together: a millisecond or two.
pub const STEP_LOOKED_MAX: usize = 65_536;
/// Members that one step compares with what is looked for: each lies somewhere else in memory.
const COMPARED_MAX: usize = 4_096;
/// Ids of members that are read at once, where they are not in order. A guild with fewer members, and a status that fewer have, needs no
/// order: its ids are read for every answer.
const READ_MAX: usize = 16_384;
/// Changed members who are compared one by one; more are sorted in first. So many cost some hundredths of a millisecond.
const LOOSE_MAX: usize = 64;
/// A part is merged into the one before when it has this share of its members: so each is written a few times for every four-fold
/// growth, and there are few parts.
const MERGED_FROM: usize = 4;
/// The same while an index is built, and nobody searches its parts: each is written as rarely as can be.
const BUILT_FROM: usize = 1;
/// Members and names that are merged at once while nothing else is to be done ...
const MERGED_MAX: usize = 16_384;
/// ... and by the way, in a search: one that meets a merge takes no longer than it may.
const MERGED_BESIDE: usize = 2_048;
/// Members that one step of building an index reads with their names, or sorts in when they have changed: about a millisecond.
const STEP_MEMBERS: usize = 1_024;
/// Members whose names are sorted at once while an index is built: a millisecond or two.
const SORTED_MEMBERS: usize = 4_096;
/// Names that one look for a text inside of them goes through.
const INSIDE_MAX: usize = 16_384;
/// Pages of a guild with fewer members look at all their ids, which takes less than fetching a page.
const PAGED_MIN: usize = 4_096;

/// What one step through a guild's members has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<T> {
    /// Ascending by id.
    pub found: Vec<T>,
    /// Above which id the next step goes on, which may be where this one began; none: that were all.
    pub next: Option<u64>,
    /// Members and names that were gone through: [`STEP_LOOKED_MAX`] at most.
    pub looked: usize,
}

impl<T> Step<T> {
    fn nobody(looked: usize) -> Step<T> {
        Step { found: Vec::new(), next: None, looked }
    }

    /// There is no answer before the index has got on: from the same place again.
    fn again(after: u64, looked: usize) -> Step<T> {
        Step { found: Vec::new(), next: Some(after), looked }
    }
}

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
    /// What is searched.
    ready: Parts,
    /// They have names, and not ids alone.
    named: bool,
    /// Members who changed after the last of the parts.
    loose: HashSet<u64, RandomState>,
    building: Option<Building>,
    used: bool,
    used_at_ms: Option<u64>,
}

/// An index on its way.
enum Building {
    /// Members are read where they lay when this began. One who lies elsewhere by now has changed, and is among the loose; what lies there
    /// instead is some candidate more. In the order in which a table has them they could not be read in steps: it changes.
    Ids { places: Vec<Handle>, next: usize, parts: Parts },
    /// The names of all who are in order are read: those up to `after` have been.
    Names { after: u64, gathered: Gathered, parts: Parts },
}

/// The first has nearly all members; each one has those who changed after the one before was made, gone ones included.
#[derive(Default)]
struct Parts {
    parts: Vec<Part>,
    /// The part that is being merged with the next one.
    merging: Option<(usize, Merging)>,
    /// All that is to be in them is: [`MERGED_FROM`] holds.
    built: bool,
}

impl Parts {
    /// Adds a part; answers how much was gone through. `lives` says of members whether they are still wanted.
    fn push(&mut self, part: Part, lives: impl Fn(u64) -> bool) -> usize {
        self.parts.push(part);
        self.merge_small(&lives)
    }

    /// The older of two neighbours to merge, the last ones first: where the newer one is no longer much smaller.
    fn pair(&self) -> Option<usize> {
        let busy = |at: usize| self.merging.as_ref().is_some_and(|(merged, _)| at <= merged + 1);
        let from = if self.built { MERGED_FROM } else { BUILT_FROM };
        let small = |at: usize| self.parts[at + 1].len() * from < self.parts[at].len();
        (1..self.parts.len()).rev().map(|newer| newer - 1).take_while(|at| !busy(*at)).find(|at| !small(*at))
    }

    /// Nothing more is added for now.
    fn close(&mut self) -> usize {
        self.built = true;
        self.merge_small(&|_| true)
    }

    /// Merges small parts, and begins to merge large ones.
    fn merge_small(&mut self, lives: &impl Fn(u64) -> bool) -> usize {
        let mut looked = 0;
        while let Some(at) = self.pair() {
            let many = self.parts[at].len() + self.parts[at + 1].len();
            if many > SORTED_MEMBERS {
                // One after the other: a second one waits.
                if self.merging.is_none() {
                    self.merging = Some((at, Merging::new(&self.parts[at], &self.parts[at + 1])));
                }
                break;
            }
            let mut merging = Merging::new(&self.parts[at], &self.parts[at + 1]);
            while !self.step(at, &mut merging, usize::MAX, lives) {}
            looked += many;
        }
        looked
    }

    /// Goes on with merging two parts; answers whether there is one in their place.
    fn step(&mut self, at: usize, merging: &mut Merging, many: usize, lives: &impl Fn(u64) -> bool) -> bool {
        // What is gone hides what an older part says of it, until there is no older one.
        let merged = merging.step(&self.parts[at], &self.parts[at + 1], many, |id| at > 0 || lives(id));
        let done = merged.is_some();
        if let Some(merged) = merged {
            self.parts[at] = merged;
            self.parts.remove(at + 1);
        }
        done
    }

    /// Goes on with merging; answers how much was gone through, which is nothing where there is nothing to merge.
    fn merge(&mut self, many: usize, lives: impl Fn(u64) -> bool) -> usize {
        let Some((at, mut merging)) = self.merging.take() else { return 0 };
        if self.step(at, &mut merging, many, &lives) {
            return many + self.merge_small(&lives);
        }
        self.merging = Some((at, merging));
        many
    }

    /// The first `many` members above `after`, each once.
    fn after(&self, after: u64, many: usize) -> Vec<u64> {
        let mut ids = Smallest::new(after, many);
        self.parts.iter().for_each(|part| part.after(after, many).iter().for_each(|id| ids.push(*id)));
        ids.take()
    }

    fn bytes(&self) -> usize {
        let merging = self.merging.as_ref().map_or(0, |(_, merging)| merging.bytes());
        self.parts.iter().map(Part::bytes).sum::<usize>() + self.parts.capacity() * size_of::<Part>() + merging
    }
}

impl Search {
    pub(crate) fn note(&mut self, user: u64) {
        self.loose.insert(user);
    }

    pub(crate) fn bytes(&self) -> u64 {
        let building = match &self.building {
            None => 0,
            Some(Building::Ids { places, parts, .. }) => places.capacity() * size_of::<Handle>() + parts.bytes(),
            Some(Building::Names { gathered, parts, .. }) => gathered.bytes() + parts.bytes(),
        };
        (self.ready.bytes() + building + self.loose.allocation_size() + size_of::<Search>()) as u64
    }

    /// Whether members are in order, and where `named` their names too.
    fn is_ready(&self, named: bool) -> bool {
        !matches!(self.building, Some(Building::Ids { .. })) && (self.named || !named)
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
    fn candidates(&self, needle: Option<&Needle>, after: u64, many: usize) -> Picked {
        let mut ids = Smallest::new(after, many);
        let (mut looked, mut up_to) = (0, None);
        for part in &self.ready.parts {
            match needle {
                Some(Needle::Inside(text)) => {
                    let names_max = (INSIDE_MAX / self.ready.parts.len()).max(NAMES_MAX + 1);
                    let (names, part_up_to) = part.inside(text, after, names_max, |id| ids.push(id));
                    looked += names;
                    up_to = up_to.into_iter().chain(part_up_to).min();
                }
                Some(needle) => part.named(needle, after, many, |id| ids.push(id)),
                None => part.after(after, many).iter().for_each(|id| ids.push(*id)),
            }
        }
        self.loose.iter().for_each(|id| ids.push(*id));
        let mut ids = ids.take();
        if let Some(up_to) = up_to {
            ids.truncate(ids.partition_point(|id| *id <= up_to));
        }
        Picked { ids, looked, up_to }
    }
}

/// Candidates, as far as one look goes.
#[derive(Default)]
struct Picked {
    ids: Vec<u64>,
    looked: usize,
    /// Above this there may be more, though they are fewer than were wanted.
    up_to: Option<u64>,
}

/// Whom a search looks at.
enum Candidates {
    /// Those of the index with such a name, or all.
    Index(Option<Needle>),
    /// All of a table, in the order of their ids after all.
    Table(Kind),
}

impl Cache {
    /// Members of a guild, ascending by id.
    pub fn find_members(&mut self, guild: u64, query: &MemberQuery) -> Vec<Found> {
        self.steps(query.after, query.limit, |cache, after, limit| {
            cache.find_members_step(guild, &MemberQuery { after, limit, ..query.clone() })
        })
    }

    /// The same, one step of it.
    pub fn find_members_step(&mut self, guild: u64, query: &MemberQuery) -> Step<Found> {
        if query.role.is_some_and(|role| self.is_gone(guild, role)) {
            return Step::nobody(0);
        }
        let needle = match (&query.name, &query.prefix) {
            (Some(name), _) => Some(Needle::Whole(lower_case(name))),
            (None, Some(prefix)) if !prefix.is_empty() => Some(Needle::Start(lower_case(prefix))),
            _ => None,
        };
        // Two conditions on the name: candidates by one, compared with the other.
        let prefix = query.prefix.as_deref().map(lower_case).unwrap_or_default();
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
        self.steps(after, limit, |cache, after, limit| cache.query_members_step(guild, text, after, limit))
    }

    /// The same, one step of it.
    pub fn query_members_step(&mut self, guild: u64, text: &str, after: u64, limit: usize) -> Step<Found> {
        let text = lower_case(text);
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

    /// Ids of members of a guild who have a role, ascending. Everybody has the role that is called like the guild.
    pub fn member_ids_with_role(&mut self, guild: u64, role: u64, after: u64, limit: usize) -> Vec<u64> {
        self.steps(after, limit, |cache, after, limit| cache.member_ids_with_role_step(guild, role, after, limit))
    }

    /// The same, one step of it.
    pub fn member_ids_with_role_step(&mut self, guild: u64, role: u64, after: u64, limit: usize) -> Step<u64> {
        let query = MemberQuery { role: Some(role), ..MemberQuery::default() };
        if self.is_gone(guild, role) {
            return Step::nobody(0);
        }
        self.select(guild, None, None, after, limit, |cache, user| cache.fits(guild, user, &query, "").then_some(user))
    }

    /// A page of a guild's objects: what [`Cache::list`] answers.
    pub fn page(&mut self, kind: Kind, guild: u64, after: u64, limit: usize) -> Vec<Found> {
        self.steps(after, limit, |cache, after, limit| cache.page_step(kind, guild, after, limit))
    }

    /// The same, one step of it. Of members in time that depends on the page alone also where somebody pages through a large guild: to be able
    /// to, it keeps their ids in order for a while.
    pub fn page_step(&mut self, kind: Kind, guild: u64, after: u64, limit: usize) -> Step<Found> {
        let count = self.count(kind, guild);
        let indexed = self.guilds.get(guild).is_some_and(|guild| guild.search.as_ref().is_some_and(|search| search.is_ready(false)));
        // Who asks for the first page may never ask for a second one.
        if kind != Kind::Member || !(indexed || count > READ_MAX || after > 0 && count >= PAGED_MIN) {
            return Step { found: self.list(kind, guild, after, limit), next: None, looked: count };
        }
        match self.step_search(guild, false) {
            (true, looked) => self.selected(guild, &Candidates::Index(None), after, limit, looked, |cache, user| cache.member(guild, user)),
            (false, looked) => Step::again(after, looked),
        }
    }

    /// All that steps find, at once.
    fn steps<T>(&mut self, mut after: u64, limit: usize, mut step: impl FnMut(&mut Cache, u64, usize) -> Step<T>) -> Vec<T> {
        let mut found = Vec::new();
        while found.len() < limit {
            let step = step(self, after, limit - found.len());
            found.extend(step.found);
            match step.next {
                Some(next) => after = next,
                None => break,
            }
        }
        found
    }

    /// Drops search indexes that nobody has used for [`SEARCH_IDLE_MS`], and keeps the others from falling behind. `now_ms` may count from
    /// anywhere; to be called now and then.
    pub fn tick(&mut self, now_ms: u64) {
        for at in (0..self.searched.len()).rev() {
            let guild = self.searched[at];
            let search = self.guilds.get_mut(guild).and_then(|guild| guild.search.as_mut());
            if search.is_none_or(|search| search.idle(now_ms)) {
                self.searched.swap_remove(at);
                self.drop_search(guild);
            } else {
                // Not left to whoever searches next.
                self.settle_search(guild, MERGED_MAX);
            }
        }
    }

    /// Drops a guild's search index; answers its bytes.
    pub(crate) fn drop_search(&mut self, guild: u64) -> u64 {
        let Some(known) = self.guilds.get_mut(guild) else { return 0 };
        self.tenant.unwatch(known.number);
        known.search.take().map_or(0, |search| search.bytes())
    }

    fn select<T>(
        &mut self,
        guild: u64,
        needle: Option<Needle>,
        status: Option<&str>,
        after: u64,
        limit: usize,
        fits: impl FnMut(&Cache, u64) -> Option<T>,
    ) -> Step<T> {
        let is_read = |cache: &Cache, kind| cache.count(kind, guild) <= READ_MAX;
        let indexed = |cache: &Cache| cache.guilds.get(guild).is_some_and(|known| known.search.is_some());
        let candidates = if needle.is_some() {
            Candidates::Index(needle)
        } else if status.is_some_and(|status| status != "offline") && is_read(self, Kind::Presence) {
            Candidates::Table(Kind::Presence)
        } else if is_read(self, Kind::Member) && !indexed(self) {
            Candidates::Table(Kind::Member)
        } else {
            Candidates::Index(None)
        };
        let mut looked = 0;
        if let Candidates::Index(needle) = &candidates {
            let ready;
            (ready, looked) = self.step_search(guild, needle.is_some());
            if !ready {
                return Step::again(after, looked);
            }
        }
        self.selected(guild, &candidates, after, limit, looked, fits)
    }

    /// Those of some candidates who fit, as far as one step goes.
    fn selected<T>(
        &mut self,
        guild: u64,
        candidates: &Candidates,
        mut after: u64,
        limit: usize,
        looked: usize,
        mut fits: impl FnMut(&Cache, u64) -> Option<T>,
    ) -> Step<T> {
        let mut step = Step::nobody(looked);
        let mut left = COMPARED_MAX;
        // Most candidates are answers, unless there are more conditions; so few are picked first, then all that a step compares.
        let mut many = limit.saturating_add(16).min(left);
        while step.found.len() < limit {
            let Picked { ids, looked, up_to } = match candidates {
                Candidates::Index(needle) => {
                    let search = self.guilds.get(guild).and_then(|known| known.search.as_ref());
                    search.map(|search| search.candidates(needle.as_ref(), after, many)).unwrap_or_default()
                }
                Candidates::Table(kind) => {
                    let ids = Smallest::of(self.ids(*kind, guild), after, many);
                    Picked { ids, looked: self.count(*kind, guild), up_to: None }
                }
            };
            step.looked += looked;
            for id in &ids {
                if step.found.len() == limit {
                    break;
                }
                step.looked += 1;
                after = *id;
                step.found.extend(fits(self, *id));
            }
            if ids.len() < many && ids.last().is_none_or(|last| *last == after) {
                let Some(up_to) = up_to else { return step };
                after = after.max(up_to);
                break;
            }
            left -= ids.len().min(left);
            if left == 0 {
                break;
            }
            many = left;
        }
        step.next = Some(after);
        step
    }

    /// One step of building the index by names of a guild, about a millisecond; answers whether it is there. [`Cache::find_members_step`] and
    /// [`Cache::query_members_step`] do it themselves.
    pub fn prepare_search(&mut self, guild: u64) -> bool {
        self.step_search(guild, true).0
    }

    /// Sees to it that a guild's index is there, and that few members lie beside it, as far as one step goes; answers whether it is so, and
    /// how many members and names were gone through.
    fn step_search(&mut self, guild: u64, named: bool) -> (bool, usize) {
        if self.begin_search(guild, named) > READ_MAX {
            return (false, 0);
        }
        let Some(search) = self.guilds.get(guild).and_then(|known| known.search.as_ref()) else { return (true, 0) };
        // Names that somebody began to gather and waits for no more are gathered by whoever comes next, once many have changed: these are sorted in
        // only when all is there, and would be gone through by every search until then.
        let left = search.building.is_some() && search.loose.len() > STEP_MEMBERS;
        let ready = search.is_ready(named) && !left;
        let looked = if ready { self.settle_search(guild, MERGED_BESIDE) } else { self.build_search(guild) };
        // A step that has built goes no further. Of those who changed by the thousand, some are sorted in first.
        let loose = self.guilds.get(guild).and_then(|known| known.search.as_ref()).map_or(0, |search| search.loose.len());
        (ready && loose <= STEP_MEMBERS, looked + if ready { loose } else { 0 })
    }

    /// Begins what an index lacks; answers how many members' places it has noted, which for many is enough for one step.
    fn begin_search(&mut self, guild: u64, named: bool) -> usize {
        let Some(known) = self.guilds.get_mut(guild) else { return 0 };
        let number = known.number;
        if let Some(search) = known.search.as_mut() {
            search.used = true;
            if named && !search.named && search.building.is_none() {
                search.building = Some(Building::Names { after: 0, gathered: Gathered::default(), parts: Parts::default() });
                // Whose name changes from now on.
                self.tenant.watch(number);
            }
            return 0;
        }
        let places: Vec<Handle> = known.tables.get(Kind::Member).map(|table| table.handles().collect()).unwrap_or_default();
        let noted = places.len();
        let building = Some(Building::Ids { places, next: 0, parts: Parts::default() });
        known.search = Some(Box::new(Search { building, used: true, ..Search::default() }));
        self.searched.push(guild);
        noted
    }

    /// One step of what an index lacks; answers how many members and names it has gone through.
    fn build_search(&mut self, guild: u64) -> usize {
        let Some(mut search) = self.guilds.get_mut(guild).and_then(|known| known.search.take()) else { return 0 };
        // Who goes meanwhile is among the loose.
        let lives = |_| true;
        let mut looked = 0;
        match search.building.take() {
            Some(Building::Ids { places, mut next, mut parts }) => {
                looked += parts.merge(MERGED_MAX, lives);
                if looked == 0 {
                    let to = places.len().min(next + READ_MAX);
                    // A place that was given back, or to something else, says anything: what is no member's id is no candidate that fits, and who
                    // has moved is among the loose.
                    let ids = Part::of_ids(places[next..to].iter().map(|place| self.heap.id(*place)).collect());
                    looked = to - next + parts.push(ids, lives);
                    next = to;
                }
                if next == places.len() {
                    looked += parts.close();
                }
                if next < places.len() || parts.merging.is_some() {
                    search.building = Some(Building::Ids { places, next, parts });
                } else {
                    search.ready = parts;
                }
            }
            Some(Building::Names { mut after, mut gathered, mut parts }) => {
                looked += parts.merge(MERGED_MAX, lives);
                let mut all = false;
                if looked == 0 {
                    let read = search.ready.after(after, STEP_MEMBERS);
                    read.iter().for_each(|id| self.gather(guild, *id, &mut gathered));
                    after = read.last().copied().unwrap_or(after);
                    all = read.len() < STEP_MEMBERS;
                    looked = read.len();
                }
                if gathered.len() >= SORTED_MEMBERS || all && gathered.len() > 0 {
                    looked += gathered.len();
                    looked += parts.push(std::mem::take(&mut gathered).sorted(), lives);
                }
                if all {
                    looked += parts.close();
                }
                if all && parts.merging.is_none() {
                    (search.ready, search.named) = (parts, true);
                } else {
                    search.building = Some(Building::Names { after, gathered, parts });
                }
            }
            None => {}
        }
        if let Some(known) = self.guilds.get_mut(guild) {
            known.search = Some(search);
        }
        looked
    }

    /// Sorts in who has changed, unless these are few, and goes on with merging `many`; answers how many members and names it has gone through.
    fn settle_search(&mut self, guild: u64, many: usize) -> usize {
        let Some(known) = self.guilds.get_mut(guild) else { return 0 };
        let number = known.number;
        let Some(mut search) = known.search.take() else { return 0 };
        if search.named || matches!(search.building, Some(Building::Names { .. })) {
            self.tenant.watched(number, &mut search.loose);
        }
        let lives = |id| self.has(Key::new(Kind::Member, guild, id));
        let mut looked = search.ready.merge(many, lives);
        // Not while it is built: most of these are yet to be read.
        if search.loose.len() > LOOSE_MAX && search.building.is_none() {
            let mut changed: Vec<u64> = search.loose.iter().take(STEP_MEMBERS).copied().collect();
            for user in &changed {
                search.loose.remove(user);
            }
            if search.loose.is_empty() {
                // After a quiet time its room would be gone through with every search.
                search.loose.shrink_to(2 * LOOSE_MAX);
            }
            looked += changed.len();
            let part = if search.named {
                changed.sort_unstable();
                let mut gathered = Gathered::default();
                changed.into_iter().for_each(|user| self.gather(guild, user, &mut gathered));
                gathered.sorted()
            } else {
                Part::of_ids(changed)
            };
            looked += search.ready.push(part, lives);
        }
        if let Some(known) = self.guilds.get_mut(guild) {
            known.search = Some(search);
        }
        looked
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

    /// Whether a role was deleted that members may still have in what lies here.
    fn is_gone(&self, guild: u64, role: u64) -> bool {
        role != guild && self.guilds.get(guild).is_some_and(|guild| guild.gone_roles.contains(&role))
    }

    fn fits(&self, guild: u64, user: u64, query: &MemberQuery, prefix: &str) -> bool {
        let Some(member) = self.get(Key::new(Kind::Member, guild, user)) else { return false };
        // Everybody has the role that is called like the guild, and no member says so.
        if let Some(role) = query.role.filter(|role| *role != guild) {
            let has = |roles: Value<'_>| roles.items().any(|id| id.as_id() == Some(role));
            if !member.get("roles").is_some_and(has) {
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
    } else {
        let mut letters = name.chars().flat_map(lower_letters);
        prefix.chars().all(|letter| letters.next() == Some(letter))
    }
}
