//! Finding members of a guild by name, by the beginning of one, by status and role.
//!
//! A guild's first search by name builds its index: the lower-case names of its members in order, one after the other, so that those with
//! a common beginning lie together and are read in one stretch. It is a list of candidates, no more: each is compared with what the
//! cache holds before it is an answer, so an index may be behind. Members who have changed since are candidates of every search until
//! they have been sorted in; an index that nobody has used for a while is dropped by [`Cache::tick`].

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use smallvec::SmallVec;
use trunkline_etf::Value;

use crate::cache::Cache;
use crate::key::{Key, Kind};
use crate::lookups::{Found, Smallest};

/// An index that nobody has used for this long is dropped: building it anew takes a fraction of a second even for the largest guilds.
pub const SEARCH_IDLE_MS: u64 = 10 * 60 * 1000;
/// Changed members who are compared one by one; more are sorted in first. So many cost a tenth of a millisecond.
const LOOSE_MAX: usize = 256;
/// The index is built anew when a quarter of it, and at least so many names, were sorted in beside it.
const ASIDE_MIN: usize = 4096;
/// Names are indexed up to this many bytes; Discord's are at most 32 characters.
const NAME_BYTES_MAX: usize = u8::MAX as usize;

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
    names: Names,
    /// Names of members who changed after `names` was made.
    aside: Names,
    /// Members who changed after that.
    loose: HashSet<u64, RandomState>,
    used: bool,
    used_at_ms: Option<u64>,
}

impl Search {
    pub(crate) fn note(&mut self, user: u64) {
        self.loose.insert(user);
    }

    pub(crate) fn bytes(&self) -> u64 {
        (self.names.bytes() + self.aside.bytes() + self.loose.allocation_size() + size_of::<Search>()) as u64
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
}

/// What a name is looked for by, in lower case.
enum Needle {
    Whole(String),
    Start(String),
    Inside(String),
}

/// Names in order, each with its member: one byte of length, eight of id, the name.
#[derive(Default)]
struct Names {
    text: Vec<u8>,
    /// Where each begins.
    starts: Vec<u32>,
}

const NAME_HEAD: usize = 9;

impl Names {
    /// Sorts names, which lie one after the other in the same form, unsorted.
    fn sorted(text: &[u8]) -> Names {
        let mut order: Vec<(u64, u32)> = Vec::new();
        let mut at = 0;
        while let Some(len) = text.get(at) {
            let name = name_at(text, at);
            let mut head = [0; 8];
            head[..name.len().min(8)].copy_from_slice(&name[..name.len().min(8)]);
            order.push((u64::from_be_bytes(head), at as u32));
            at += NAME_HEAD + usize::from(*len);
        }
        order.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| name_at(text, a.1 as usize).cmp(name_at(text, b.1 as usize))).then(a.1.cmp(&b.1))
        });
        let mut names = Names { text: Vec::with_capacity(text.len()), starts: Vec::with_capacity(order.len()) };
        for (_, at) in order {
            let at = at as usize;
            names.starts.push(names.text.len() as u32);
            names.text.extend_from_slice(&text[at..at + NAME_HEAD + usize::from(text[at])]);
        }
        names
    }

    fn len(&self) -> usize {
        self.starts.len()
    }

    fn bytes(&self) -> usize {
        self.text.capacity() + self.starts.capacity() * 4
    }

    /// Members with such a name, some of them perhaps more than once.
    fn each(&self, needle: &Needle, mut each: impl FnMut(u64)) {
        let range = match needle {
            Needle::Inside(text) => return self.each_inside(text.as_bytes(), each),
            Needle::Start(text) => self.range(text.as_bytes(), false),
            Needle::Whole(text) => self.range(text.as_bytes(), true),
        };
        for start in &self.starts[range] {
            each(id_at(&self.text, *start as usize));
        }
    }

    fn range(&self, wanted: &[u8], whole: bool) -> std::ops::Range<usize> {
        let wanted = &wanted[..wanted.len().min(NAME_BYTES_MAX)];
        let part = |start: &u32| {
            let name = name_at(&self.text, *start as usize);
            if whole { name } else { &name[..name.len().min(wanted.len())] }
        };
        let from = self.starts.partition_point(|start| part(start) < wanted);
        let len = self.starts[from..].partition_point(|start| part(start) <= wanted);
        from..from + len
    }

    fn each_inside(&self, wanted: &[u8], mut each: impl FnMut(u64)) {
        for at in memchr::memmem::find_iter(&self.text, wanted) {
            // A hit may begin in the numbers before a name, or end in those of the next.
            let place = self.starts.partition_point(|start| *start as usize <= at);
            let Some(start) = place.checked_sub(1).map(|place| self.starts[place] as usize) else { continue };
            let end = start + NAME_HEAD + usize::from(self.text[start]);
            if at >= start + NAME_HEAD && at + wanted.len() <= end {
                each(id_at(&self.text, start));
            }
        }
    }
}

fn name_at(text: &[u8], at: usize) -> &[u8] {
    let len = text.get(at).map_or(0, |len| usize::from(*len));
    text.get(at + NAME_HEAD..at + NAME_HEAD + len).unwrap_or_default()
}

fn id_at(text: &[u8], at: usize) -> u64 {
    text.get(at + 1..).and_then(|text| text.first_chunk()).map_or(0, |id| u64::from_le_bytes(*id))
}

/// A name in lower case, into `out`.
fn lower(name: &str, out: &mut Vec<u8>) {
    if name.is_ascii() {
        out.extend(name.bytes().map(|byte| byte.to_ascii_lowercase()));
    } else {
        out.extend_from_slice(name.to_lowercase().as_bytes());
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
        let fits = |cache: &Cache, user: u64| cache.fits(guild, user, query, &prefix);
        self.select(guild, needle, query.status.as_deref(), query.after, query.limit, fits)
    }

    /// Members of a guild with a text inside user name, global name, display name or nick, in upper or lower case; ascending by id.
    pub fn query_members(&mut self, guild: u64, text: &str, after: u64, limit: usize) -> Vec<Found> {
        let text = text.to_lowercase();
        let needle = (!text.is_empty()).then(|| Needle::Inside(text.clone()));
        let mut room = Vec::new();
        let fits = |cache: &Cache, user: u64| {
            cache.any_name(guild, user, |_, name| {
                room.clear();
                lower(name, &mut room);
                memchr::memmem::find(&room, text.as_bytes()).is_some()
            })
        };
        self.select(guild, needle, None, after, limit, fits)
    }

    /// Drops search indexes that nobody has used for [`SEARCH_IDLE_MS`]. `now_ms` may count from anywhere; to be called now and then.
    pub fn tick(&mut self, now_ms: u64) {
        for at in (0..self.searched.len()).rev() {
            let guild = self.guilds.get_mut(&self.searched[at]);
            let idle = guild.is_none_or(|guild| guild.search.as_mut().is_none_or(|search| search.idle(now_ms)));
            if idle {
                let guild = self.searched.swap_remove(at);
                self.drop_search(guild);
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
        mut fits: impl FnMut(&Cache, u64) -> bool,
    ) -> Vec<Found> {
        let mut found = Vec::new();
        let mut search = None;
        if needle.is_some() {
            self.ready_search(guild);
            search = self.guilds.get_mut(&guild).and_then(|known| known.search.take());
        }
        // Most candidates are answers, unless there are more conditions; so few are picked first, then more and more.
        let mut many = limit.saturating_add(16);
        while found.len() < limit {
            let ids = match (&needle, &search) {
                (Some(needle), Some(search)) => {
                    let mut ids = Smallest::new(after, many);
                    search.names.each(needle, |id| ids.push(id));
                    search.aside.each(needle, |id| ids.push(id));
                    search.loose.iter().for_each(|id| ids.push(*id));
                    ids.take()
                }
                (Some(_), None) => break,
                _ => {
                    let kind = if status.is_some_and(|status| status != "offline") { Kind::Presence } else { Kind::Member };
                    Smallest::of(self.ids(kind, guild), after, many)
                }
            };
            for id in &ids {
                if found.len() < limit && fits(self, *id) {
                    found.extend(self.member(guild, *id));
                }
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

    /// Sees to it that a guild's index is there, and that few members lie beside it.
    fn ready_search(&mut self, guild: u64) {
        let Some(known) = self.guilds.get_mut(&guild) else { return };
        let number = known.number;
        let mut search = match known.search.take() {
            Some(mut search) => {
                self.tenant.watched(number, &mut search.loose);
                search
            }
            None => {
                self.searched.push(guild);
                self.tenant.watch(number);
                let names = Names::sorted(&self.names(guild, self.ids(Kind::Member, guild)));
                Box::new(Search { names, ..Search::default() })
            }
        };
        if search.loose.len() > LOOSE_MAX {
            let mut text = self.names(guild, search.loose.drain());
            text.extend_from_slice(&search.aside.text);
            search.aside = Names::sorted(&text);
            search.loose.shrink_to_fit();
            if search.aside.len() > ASIDE_MIN.max(search.names.len() / 4) {
                search.names = Names::sorted(&self.names(guild, self.ids(Kind::Member, guild)));
                search.aside = Names::default();
            }
        }
        search.used = true;
        if let Some(known) = self.guilds.get_mut(&guild) {
            known.search = Some(search);
        }
    }

    /// The names of members, in the form in which [`Names`] has them.
    fn names(&self, guild: u64, users: impl Iterator<Item = u64>) -> Vec<u8> {
        let mut text = Vec::new();
        for user in users {
            let first = text.len();
            self.any_name(guild, user, |_, name| {
                let start = text.len();
                text.extend_from_slice(&[0; NAME_HEAD]);
                lower(name, &mut text);
                text.truncate(start + NAME_HEAD + NAME_BYTES_MAX);
                let len = text.len() - start - NAME_HEAD;
                text[start] = len as u8;
                text[start + 1..start + NAME_HEAD].copy_from_slice(&user.to_le_bytes());
                // A nick is often the name once more.
                let mut at = first;
                while at < start {
                    if name_at(&text, at) == name_at(&text, start) {
                        text.truncate(start);
                        break;
                    }
                    at += NAME_HEAD + usize::from(text[at]);
                }
                false
            });
        }
        text
    }

    /// Whether one of a member's names is such; the first argument says whether it is the display name, which is no name to find members by.
    fn any_name(&self, guild: u64, user: u64, mut is: impl FnMut(bool, &str) -> bool) -> bool {
        let Some(member) = self.get(Key::new(Kind::Member, guild, user)) else { return false };
        if member.get("nick").and_then(Value::as_str).is_some_and(|nick| is(false, &nick)) {
            return true;
        }
        let of_user = |user: Value<'_>| {
            let names = user.get_all(["username", "global_name", "display_name"]);
            (0..).zip(names).any(|(place, name)| name.and_then(Value::as_str).is_some_and(|name| is(place == 2, &name)))
        };
        self.tenant.users.read(user, of_user).unwrap_or(false)
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
        if name.is_none() && prefix.is_empty() {
            return true;
        }
        let (mut named, mut begins) = (name.is_none(), prefix.is_empty());
        let mut room: SmallVec<[u8; 64]> = SmallVec::new();
        self.any_name(guild, user, |display, found| {
            named |= !display && name == Some(found);
            if !begins && !display {
                room.clear();
                begins = if found.is_ascii() {
                    room.extend(found.bytes().map(|byte| byte.to_ascii_lowercase()));
                    room.starts_with(prefix.as_bytes())
                } else {
                    found.to_lowercase().starts_with(prefix)
                };
            }
            named && begins
        })
    }
}
