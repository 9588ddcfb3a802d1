//! One shard's objects, and the one way in which they change.
//!
//! Objects lie packed in the shard's heap; each guild has a table of handles for each kind of which it has any. Everything that is written
//! goes through `lay` and `take`, which keep counts, indexes, users and the list of changed keys in step. Kinds are all alike here, but
//! for members, whose user lies with [`Users`].

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;
use trunkline_discord::{Object, Previous};
use trunkline_etf::packed::update::{self, Outcome, Without};
use trunkline_etf::packed::{edit, is_one};
use trunkline_etf::{Encoding, Kind as TermKind, Value};

use crate::apply::own_id;
use crate::changed::Changed;
use crate::config::CacheConfig;
use crate::dense_map::DenseMap;
use crate::heap::{Handle, Heap};
use crate::key::{Key, Kind};
use crate::messages::Messages;
use crate::pack::{Packer, Told};
use crate::places::Places;
use crate::policy::Policy;
use crate::print::Print;
use crate::search::Search;
use crate::table::{Table, Tables};
use crate::users::{Tenant, Users};
use crate::{Memory, Size};

pub(crate) use crate::lookups::Found;

pub(crate) type Map<K, V> = HashMap<K, V, RandomState>;

/// The state of one shard's guilds. Stays on one thread.
pub struct Cache {
    pub(crate) config: CacheConfig,
    pub(crate) tenant: Tenant,
    pub(crate) heap: Heap,
    pub(crate) guilds: DenseMap<Guild>,
    /// Objects in no guild.
    pub(crate) outside: Tables,
    /// Which guild a channel or thread is in.
    pub(crate) places: Places,
    pub(crate) messages: Messages,
    pub(crate) policy: Policy,
    pub(crate) sizes: [Size; Kind::ALL.len()],
    /// Bytes of all guilds' tables.
    pub(crate) table_bytes: u64,
    pub(crate) changed: Changed,
    /// Guilds of which everything has changed, their users too: nothing was known of them when they were told whole. Saves a key for each of their
    /// objects and each user.
    pub(crate) changed_guilds: HashSet<u64, RandomState>,
    /// One that is being told like that.
    pub(crate) telling: Option<u64>,
    /// Rows that were true only when the stop that wrote them was.
    pub(crate) outdated: Vec<Key>,
    /// Guilds with a search index.
    pub(crate) searched: Vec<u64>,
    pub(crate) scratch: Packer,
    user_scratch: Packer,
    pub(crate) told: Told,
    /// Room for what comparing writes.
    fresh: Vec<u8>,
}

/// What becomes of the fields that are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// They stay.
    Merge,
    /// They go.
    Replace,
}

/// What was told of a member, the user in it, and its print.
struct ToldMember<'a> {
    told: Value<'a>,
    user: Option<Value<'a>>,
    print: Option<Print>,
}

/// One guild's objects.
pub(crate) struct Guild {
    /// What the users call it.
    pub(crate) number: u32,
    pub(crate) state: State,
    pub(crate) tables: Tables,
    /// Roles that were deleted, and that members may still have in what lies here: a guild may have too many members to go through.
    pub(crate) gone_roles: Vec<u64>,
    pub(crate) search: Option<Box<Search>>,
}

/// Deleted roles of a guild that are left out when a member is handed out; when there are more, they are left out of all members at once.
const GONE_ROLES_MAX: usize = 64;

/// What is known about a guild beside its objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// READY has named it, and nothing has come for it since.
    pub(crate) awaited: bool,
    /// An outage has taken it away for now.
    pub(crate) unavailable: bool,
    /// The session in which its objects were told is over.
    pub(crate) stale: bool,
    pub(crate) member_count: Option<i64>,
}

impl State {
    /// Whether what is kept may be old.
    pub(crate) fn doubtful(self) -> bool {
        self.stale || self.unavailable
    }
}

/// What a write met and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Put {
    /// Something lay there before.
    pub(crate) had: bool,
    /// What lies there now is not what lay there before.
    pub(crate) changed: bool,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache::new(CacheConfig::default(), Users::default())
    }
}

impl Cache {
    /// An empty cache of one shard. `users` are those of all the bot's shards on this core.
    pub fn new(config: CacheConfig, users: Users) -> Cache {
        Cache {
            config,
            tenant: Tenant::new(users),
            heap: Heap::default(),
            guilds: DenseMap::default(),
            outside: Tables::default(),
            places: Places::default(),
            messages: Messages::default(),
            policy: Policy::default(),
            sizes: [Size::default(); Kind::ALL.len()],
            table_bytes: 0,
            changed: Changed::default(),
            changed_guilds: HashSet::default(),
            telling: None,
            outdated: Vec::new(),
            searched: Vec::new(),
            scratch: Packer::default(),
            user_scratch: Packer::default(),
            told: Told::default(),
            fresh: Vec::new(),
        }
    }

    /// The guilds of the shard, in no order.
    pub fn guild_ids(&self) -> impl Iterator<Item = u64> {
        self.guilds.iter().map(|(guild, _)| guild)
    }

    /// How many objects of a kind there are, and their bytes. A user that guilds of several shards name is counted by one of them.
    pub fn size(&self, kind: Kind) -> Size {
        match kind {
            Kind::User => self.tenant.size(),
            Kind::Message => self.messages.size(),
            kind => self.sizes[kind as usize],
        }
    }

    /// What the bytes are spent on. The room of [`Users`] that holds no user is not in it: see [`Users::bytes`].
    pub fn memory(&self) -> Memory {
        let objects: u64 = Kind::ALL.into_iter().map(|kind| self.size(kind).bytes).sum();
        let search: u64 =
            self.searched.iter().filter_map(|guild| self.guilds.get(*guild)?.search.as_ref()).map(|search| search.bytes()).sum();
        let guilds = self.guilds.bytes() + self.changed.bytes() + self.changed_guilds.allocation_size() + self.policy.bytes() as usize;
        Memory {
            objects,
            tables: self.table_bytes + self.outside.bytes() + guilds as u64,
            indexes: self.places.bytes() + self.messages.index_bytes(),
            search,
            room: self.heap.held().saturating_sub(self.heap.used()),
        }
    }

    /// All bytes of the shard's cache: objects, tables, indexes, and room that is held for more.
    pub fn bytes(&self) -> u64 {
        self.memory().sum()
    }

    pub(crate) fn knows(&self, guild: u64) -> bool {
        self.guilds.contains(guild)
    }

    pub(crate) fn state(&self, guild: u64) -> Option<State> {
        Some(self.guilds.get(guild)?.state)
    }

    /// Whether what is kept of a guild may be old.
    pub(crate) fn doubtful(&self, guild: u64) -> bool {
        self.state(guild).is_some_and(State::doubtful)
    }

    /// Asks for the memory of a member and its user, once the tables are at hand.
    #[inline]
    pub(crate) fn expect_member(&self, guild: u64, user: u64) {
        if let Some(handle) = self.table(Kind::Member, guild).and_then(|table| table.likely(user)) {
            self.heap.ask_for(handle, 0);
        }
        self.tenant.users.ask_for_bytes(user);
    }

    #[inline]
    fn tables(&self, kind: Kind, guild: u64) -> Option<&Tables> {
        if kind.outside() { Some(&self.outside) } else { Some(&self.guilds.get(guild)?.tables) }
    }

    #[inline]
    pub(crate) fn table(&self, kind: Kind, guild: u64) -> Option<&Table> {
        self.tables(kind, guild)?.get(kind)
    }

    pub(crate) fn find(&self, key: Key) -> Option<Handle> {
        self.table(key.kind, key.guild)?.find(&self.heap, key.id)
    }

    pub(crate) fn has(&self, key: Key) -> bool {
        self.find(key).is_some()
    }

    /// An object as it lies: a member without its user, a presence perhaps as it came.
    pub(crate) fn get(&self, key: Key) -> Option<Value<'_>> {
        Some(self.heap.value(self.find(key)?))
    }

    /// What lies at a handle.
    pub(crate) fn at(&self, handle: Handle) -> Value<'_> {
        self.heap.value(handle)
    }

    /// Where in the object at a handle a part of it lies, and how long it is.
    pub(crate) fn place(&self, handle: Handle, part: Value<'_>) -> Option<(usize, usize)> {
        let whole = self.heap.value(handle).raw();
        let at = (part.raw().as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
        Some((at, part.raw().len()))
    }

    /// Ids of a guild's objects of a kind, in no order.
    pub(crate) fn ids(&self, kind: Kind, guild: u64) -> impl Iterator<Item = u64> {
        self.table(kind, guild).into_iter().flat_map(Table::handles).map(|handle| self.heap.id(handle))
    }

    pub(crate) fn count(&self, kind: Kind, guild: u64) -> usize {
        self.table(kind, guild).map_or(0, Table::len)
    }

    /// Puts an object under a key, or takes it away. An object in a guild that the shard does not have is not kept: it came late, and
    /// nothing would ever take it away.
    pub(crate) fn set(&mut self, key: Key, value: Option<Value<'_>>) -> Put {
        match value {
            Some(value) => self.set_without(key, value, &[]),
            None => self.take(key),
        }
    }

    /// Puts an object under a key without some of its fields.
    pub(crate) fn set_without(&mut self, key: Key, value: Value<'_>, drop: &[&str]) -> Put {
        match key.kind {
            Kind::Member => {
                let known = self.find(key);
                return self.set_member(key, known, Way::Replace, value, drop);
            }
            Kind::User => {
                if let Some(changed) = self.compare_user(key.id, value, drop) {
                    return Put { had: true, changed };
                }
                let put = self.write(key, |_, out| out.without(value, drop));
                if put.had && drop.is_empty() {
                    self.tenant.set_print(key.id, Print::of(value));
                }
                return put;
            }
            _ => {
                if let Some(handle) = self.find(key)
                    && let Some(put) = self.compare(key, handle, Way::Replace, value, Without::Keys(drop))
                {
                    return put;
                }
            }
        }
        // What is packed already, as parts of a GUILD_CREATE are, lies as it is to lie here.
        if drop.is_empty() && value.encoding() == Encoding::Packed {
            let whole = self.may_hold(key) && is_one(value.raw());
            return if whole { self.lay(key, value.raw(), true) } else { Put::default() };
        }
        self.write(key, |_, out| out.without(value, drop))
    }

    /// Puts `over`'s fields over those of what lies there, both without some fields; puts `over` where nothing lies.
    pub(crate) fn merge(&mut self, key: Key, over: Value<'_>, drop: &[&str]) -> Put {
        match self.find(key) {
            Some(handle) => self.merge_at(key, handle, over, drop),
            None => self.set_without(key, over, drop),
        }
    }

    fn merge_at(&mut self, key: Key, handle: Handle, over: Value<'_>, drop: &[&str]) -> Put {
        if key.kind == Kind::Member {
            return self.set_member(key, Some(handle), Way::Merge, over, drop);
        }
        if let Some(put) = self.compare(key, handle, Way::Merge, over, Without::Keys(drop)) {
            return put;
        }
        self.write(key, |heap, out| out.merged(packed(heap.bytes(handle)), over, drop))
    }

    /// Brings what lies there in line with what was told by comparing them in place, which packs only what differs. `None`: it has to be
    /// packed, and nothing has happened.
    fn compare(&mut self, key: Key, handle: Handle, way: Way, told: Value<'_>, without: Without<'_>) -> Option<Put> {
        // What lies as it came is not packed: there is nothing to compare with.
        if !self.may_hold(key) || self.heap.young(handle).is_some() {
            return None;
        }
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.clear();
        let known = packed(self.heap.bytes(handle));
        let outcome = match way {
            Way::Merge => update::merge(known, told, without, &mut fresh),
            Way::Replace => update::replace(known, told, without, &mut fresh),
        };
        let put = match outcome {
            None => None,
            Some(Outcome::Same) => Some(Put { had: true, changed: false }),
            Some(Outcome::Other) => Some(self.lay_over(key, handle, &fresh, true)),
        };
        self.fresh = fresh;
        put
    }

    /// The same for a user, told whole; answers whether it has changed.
    fn compare_user(&mut self, user: u64, told: Value<'_>, drop: &[&str]) -> Option<bool> {
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.clear();
        let changed = self.tenant.compare(user, told, drop, &mut fresh);
        self.fresh = fresh;
        changed
    }

    /// Takes a user who was told whole.
    pub(crate) fn set_user(&mut self, user: u64, told: Value<'_>) -> bool {
        self.set_printed_user(user, told, Print::of(told))
    }

    /// The same with the print of what was told.
    pub(crate) fn set_printed_user(&mut self, user: u64, told: Value<'_>, print: Option<Print>) -> bool {
        // Nearly always in the words of before.
        let again = print.is_some_and(|print| self.tenant.told(user, print));
        !again && self.set(Key::new(Kind::User, 0, user), Some(told)).changed
    }

    /// Takes what was told of a member without its user, if the member is known. `false`: its user was told after all, and nothing has happened.
    pub(crate) fn merge_bare_member(&mut self, key: Key, told: Value<'_>) -> bool {
        if !self.config.keeps(key.kind) {
            return true;
        }
        let print = Print::of(told);
        if self.has_print(key, print) {
            return true;
        }
        let Some(handle) = self.find(key) else { return true };
        let compared = self.compare(key, handle, Way::Merge, told, Without::Refused("user")).is_some();
        if compared {
            self.set_print(key, print);
        }
        compared
    }

    /// Whether a member was told with this print last, and has not changed since: what has the print of what was taken then would be taken again.
    #[inline]
    pub(crate) fn has_print(&self, key: Key, print: Option<Print>) -> bool {
        print.is_some_and(|print| self.table(key.kind, key.guild).is_some_and(|table| table.told(key.id, print)))
    }

    /// What `merge_bare_member` does, for what has to be packed, and has no user.
    pub(crate) fn merge_told_member(&mut self, key: Key, told: Value<'_>) {
        if let Some(handle) = self.find(key) {
            let put = self.merge_at(key, handle, told, &["user"]);
            self.set_print(key, Print::of(told).filter(|_| put.had));
        }
    }

    /// Remembers what a member was told with, of which what lies there now is made.
    fn set_print(&mut self, key: Key, print: Option<Print>) {
        if let Some(table) = self.guilds.get_mut(key.guild).and_then(|guild| guild.tables.get_mut(key.kind)) {
            table.set_print(&self.heap, key.id, print);
        }
    }

    /// Writes an object that is there anew, without some fields and with others set.
    pub(crate) fn edit(&mut self, key: Key, drop: &[&str], set: &[(&str, Value<'_>)]) -> Put {
        let Some(handle) = self.find(key) else { return Put::default() };
        if let ([], [(name, value)]) = (drop, set) {
            let place = self.at(handle).get(name).and_then(|old| self.place(handle, old));
            return self.set_field(key, handle, place, (name, *value));
        }
        self.write(key, |heap, out| out.edited(packed(heap.bytes(handle)), drop, set))
    }

    /// Sets one field of what lies at a handle: where the value that it has lies, if the new one takes as many bytes.
    pub(crate) fn set_field(&mut self, key: Key, handle: Handle, place: Option<(usize, usize)>, set: (&str, Value<'_>)) -> Put {
        let new = self.scratch.beside(set.1);
        let (Some((at, len)), Some(new)) = (place, new) else {
            return self.write(key, |heap, out| out.edited(packed(heap.bytes(handle)), &[], &[set]));
        };
        if new.len() != len {
            return self.write(key, |heap, out| out.edited(packed(heap.bytes(handle)), &[], &[set]));
        }
        let changed = self.heap.bytes(handle).get(at..at + len) != Some(new);
        if changed {
            self.heap.patch(handle, at, new);
            if key.kind == Kind::Member {
                self.set_print(key, None);
            }
            self.note(key, Some(handle));
        }
        Put { had: true, changed }
    }

    pub(crate) fn write(&mut self, key: Key, write: impl FnOnce(&Heap, &mut Packer) -> Option<()>) -> Put {
        if !self.may_hold(key) {
            return Put::default();
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let put = match write(&self.heap, &mut scratch) {
            Some(()) if key.kind == Kind::User => Put { had: true, changed: self.tenant.replace(key.id, scratch.bytes()) },
            Some(()) => self.lay(key, scratch.bytes(), true),
            None => Put::default(),
        };
        self.scratch = scratch;
        put
    }

    /// Members: what is theirs goes into the guild, their user to the users. `known` is the one that lies there.
    fn set_member(&mut self, key: Key, known: Option<Handle>, way: Way, told: Value<'_>, drop: &[&str]) -> Put {
        let parts = told.get_all(["guild_id", "user"]);
        self.set_member_of(key, known, way, told, drop, parts)
    }

    /// What an event tells of a member as its data: its guild and its user were found in it already.
    pub(crate) fn replace_told_member(&mut self, key: Key, known: Option<Handle>, told: Value<'_>, parts: [Option<Value<'_>>; 2]) -> Put {
        self.set_member_of(key, known, Way::Replace, told, &[], parts)
    }

    /// The same for an event that does not tell all of it.
    pub(crate) fn merge_told_parts(&mut self, key: Key, known: Option<Handle>, told: Value<'_>, parts: [Option<Value<'_>>; 2]) -> Put {
        self.set_member_of(key, known, Way::Merge, told, &[], parts)
    }

    fn set_member_of(
        &mut self,
        key: Key,
        known: Option<Handle>,
        way: Way,
        told: Value<'_>,
        drop: &[&str],
        [guild_id, user]: [Option<Value<'_>>; 2],
    ) -> Put {
        if !self.config.keeps(key.kind) || !self.knows(key.guild) {
            return Put::default();
        }
        // What is left out must not be what the print is of, and a user never is.
        let all = drop.is_empty() || user.is_none() && drop == ["user"];
        let print = self.print_of_member(told, guild_id, user).filter(|_| all);
        // What has a `guild_id` may tell no more than what was told without it, and is kept with it.
        if known.is_some() && way == Way::Merge && guild_id.is_none() && self.has_print(key, print) {
            let changed = user.is_some_and(|user| self.set_user_of(key.id, user));
            return Put { had: true, changed };
        }
        self.lay_member(key, known, way, ToldMember { told, user, print }, drop)
    }

    /// Puts what was told of a member, inside an event about something else, over what is known. Its user was found in it, it has this print, and it
    /// was not told with that last.
    pub(crate) fn merge_seen_member(&mut self, key: Key, told: Value<'_>, user: Value<'_>, print: Option<Print>) {
        if self.config.keeps(key.kind) {
            let known = self.find(key);
            self.lay_member(key, known, Way::Merge, ToldMember { told, user: Some(user), print }, &[]);
        }
    }

    fn lay_member(&mut self, key: Key, known: Option<Handle>, way: Way, member: ToldMember<'_>, drop: &[&str]) -> Put {
        let ToldMember { told, user, print } = member;
        let Some(number) = self.guilds.get(key.guild).map(|guild| guild.number) else { return Put::default() };
        if let Some(handle) = known {
            let more: SmallVec<[&str; 8]>;
            let without: &[&str] = match drop {
                [] | ["user"] => &["user"],
                drop => {
                    more = drop.iter().copied().chain(["user"]).collect();
                    &more
                }
            };
            let without = user.map_or(Without::Keys(without), |user| Without::Told(without, user));
            if let Some(mut put) = self.compare(key, handle, way, told, without) {
                self.set_print(key, print);
                if let Some(user) = user.filter(|_| !drop.contains(&"user")) {
                    put.changed |= self.set_user_of(key.id, user);
                }
                return put;
            }
        }
        let (mut scratch, mut user_scratch) = (std::mem::take(&mut self.scratch), std::mem::take(&mut self.user_scratch));
        let base = known.filter(|_| way == Way::Merge).map(|handle| packed(self.heap.bytes(handle)));
        let written = scratch.member(key.id, base, told, drop, &mut user_scratch);
        let mut put = Put::default();
        if let Some(user) = written {
            put = self.lay_printed(key, scratch.bytes(), print, true);
            let user = if user { user_scratch.bytes() } else { &[] };
            put.changed |= self.tenant.refer(key.id, number, user);
        }
        (self.scratch, self.user_scratch) = (scratch, user_scratch);
        put
    }

    /// The print of what was told of a member but for its guild and its user.
    pub(crate) fn print_of_member(&mut self, told: Value<'_>, guild_id: Option<Value<'_>>, user: Option<Value<'_>>) -> Option<Print> {
        let (guild_id, user) = (guild_id.map(|guild| ("guild_id", guild)), user.map(|user| ("user", user)));
        let both;
        let parts: &[(&str, Value<'_>)] = match (&guild_id, &user) {
            (None, None) => &[],
            (Some(part), None) | (None, Some(part)) => std::slice::from_ref(part),
            (Some(guild), Some(user)) => {
                both = if guild.1.raw().as_ptr() < user.1.raw().as_ptr() { [*guild, *user] } else { [*user, *guild] };
                &both
            }
        };
        Print::without(told, parts, &mut self.fresh)
    }

    /// Takes the user that was told in a member, unless it is none or another's; whether it has changed.
    fn set_user_of(&mut self, member: u64, user: Value<'_>) -> bool {
        let sound = user.kind() == TermKind::Map && own_id(user) == Some(member);
        sound && self.set_user(member, user)
    }

    /// Puts a whole member of a list where it belongs; gives the id under which it is kept, if it has one.
    pub(crate) fn set_listed_member(&mut self, guild: u64, member: Value<'_>, words: Option<&edit::Told<'_>>) -> Option<u64> {
        if member.encoding() != Encoding::Packed {
            let id = crate::apply::user_id(member)?;
            self.set_member(Key::new(Kind::Member, guild, id), None, Way::Replace, member, &[]);
            return Some(id);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let told = scratch.parted(member);
        if let Some((id, user)) = told
            && let Some(number) = self.guilds.get(guild).map(|guild| guild.number)
            && self.config.keeps(Kind::Member)
        {
            // Users of many guilds lie anywhere: their memory comes while the member is laid.
            self.tenant.users.ask_for(id);
            // What is told again in these words is known.
            let user_words = words.and_then(|words| words.inside);
            let print = user_words.zip(words).and_then(|(user, words)| Print::without(words.whole, &[("user", user)], &mut self.fresh));
            self.lay_printed(Key::new(Kind::Member, guild, id), scratch.bytes(), print, true);
            let tell = self.telling != Some(guild);
            self.tenant.users.ask_for_bytes(id);
            let print = print.and(user_words).and_then(Print::of);
            self.tenant.refer_printed(id, number, user.raw(), print, tell);
        }
        self.scratch = scratch;
        told.map(|(id, _)| id)
    }

    fn may_hold(&self, key: Key) -> bool {
        (self.config.keeps(key.kind) || key.kind == Kind::User) && (key.kind.outside() || self.guilds.contains(key.guild))
    }

    /// Makes room for the objects of a list in a guild.
    pub(crate) fn reserve(&mut self, kind: Kind, guild: u64, list: Value<'_>) {
        // No object is shorter; a list of nothings gets no room.
        const OBJECT_BYTES_MIN: usize = 48;
        let many = list.len().min(list.raw().len() / OBJECT_BYTES_MIN);
        if let Some(known) = self.guilds.get_mut(guild).filter(|_| many > 0 && self.config.keeps(kind)) {
            let table = known.tables.get_or_add(kind);
            let before = table.bytes();
            table.reserve(many);
            self.table_bytes += table.bytes() - before;
        }
    }

    /// Puts packed bytes under a key.
    pub(crate) fn lay(&mut self, key: Key, bytes: &[u8], note: bool) -> Put {
        self.lay_printed(key, bytes, None, note)
    }

    /// The same, with the print of what a member's bytes are made of.
    fn lay_printed(&mut self, key: Key, bytes: &[u8], print: Option<Print>, note: bool) -> Put {
        let tables = match key.kind.outside() {
            true => &mut self.outside,
            false => match self.guilds.get_mut(key.guild) {
                Some(guild) => &mut guild.tables,
                None => return Put::default(),
            },
        };
        let size = &mut self.sizes[key.kind as usize];
        let table = tables.get_or_add(key.kind);
        if let Some(handle) = table.find(&self.heap, key.id) {
            let put = self.lay_over(key, handle, bytes, note);
            if print.is_some() {
                self.set_print(key, print);
            }
            return put;
        }
        let handle = self.heap.put(key.id, [bytes, &[]]);
        size.count += 1;
        size.bytes += self.heap.cost(handle);
        let before = table.bytes();
        table.add_printed(key.id, handle, print);
        if !key.kind.outside() {
            self.table_bytes = self.table_bytes + table.bytes() - before;
        }
        if matches!(key.kind, Kind::Channel | Kind::Thread | Kind::Role)
            && let Some(guild) = self.guilds.get_mut(key.guild)
        {
            if key.kind != Kind::Role {
                self.places.insert(key.id, guild.number);
            } else if note && guild.gone_roles.contains(&key.id) {
                guild.gone_roles.retain(|gone| *gone != key.id);
                self.changed.push(Key::of_guild(Kind::State, key.guild));
            }
        }
        if note {
            self.note(key, Some(handle));
        }
        Put { had: false, changed: true }
    }

    /// Puts packed bytes in the place of a key's object.
    fn lay_over(&mut self, key: Key, handle: Handle, bytes: &[u8], note: bool) -> Put {
        if self.heap.bytes(handle) == bytes {
            return Put { had: true, changed: false };
        }
        let before = self.heap.cost(handle);
        let moved = self.heap.rewrite(handle, [bytes, &[]]);
        let size = &mut self.sizes[key.kind as usize];
        size.bytes = size.bytes - before + self.heap.cost(moved);
        if moved != handle || key.kind.has_words() {
            let tables = match key.kind.outside() {
                true => Some(&mut self.outside),
                false => self.guilds.get_mut(key.guild).map(|guild| &mut guild.tables),
            };
            if let Some(table) = tables.and_then(|tables| tables.get_mut(key.kind)) {
                table.exchange(&self.heap, key.id, moved);
            }
        }
        if moved != handle {
            self.heap.free(handle);
        }
        if note {
            self.note(key, Some(moved));
        }
        Put { had: true, changed: true }
    }

    /// A key's object is another one than the durable copy has. `handle`: where it lies, if it does.
    #[inline]
    pub(crate) fn note(&mut self, key: Key, handle: Option<Handle>) {
        if !key.kind.volatile() && self.telling != Some(key.guild) && handle.is_none_or(|handle| self.heap.note(handle)) {
            self.changed.push(key);
        }
        if key.kind == Kind::Member
            && !self.searched.is_empty()
            && let Some(search) = self.guilds.get_mut(key.guild).and_then(|guild| guild.search.as_mut())
        {
            search.note(key.id);
        }
    }

    /// Takes an object away.
    fn take(&mut self, key: Key) -> Put {
        let (had, _) = self.take_seen(key, false);
        Put { had, changed: had }
    }

    /// Takes an object away that is handed out as it lies; answers it, unless it may be old.
    pub(crate) fn take_told(&mut self, key: Key) -> Option<Object> {
        let tell = !self.doubtful(key.guild);
        self.take_seen(key, tell).1
    }

    /// Takes an object away; whether there was one, and if somebody wants to see it, what it was.
    fn take_seen(&mut self, key: Key, see: bool) -> (bool, Option<Object>) {
        const NONE: (bool, Option<Object>) = (false, None);
        let tables = match key.kind.outside() {
            true => &mut self.outside,
            false => match self.guilds.get_mut(key.guild) {
                Some(guild) => &mut guild.tables,
                None => return NONE,
            },
        };
        let Some(table) = tables.get_mut(key.kind) else { return NONE };
        let before = table.bytes();
        let Some(handle) = table.remove(&self.heap, key.id) else { return NONE };
        if !key.kind.outside() {
            // A table that shrinks may come out a little larger than a small one that grew.
            self.table_bytes = self.table_bytes + table.bytes() - before;
        }
        let (empty, rest) = (table.is_empty(), table.bytes());
        if empty {
            tables.remove(key.kind);
            if !key.kind.outside() {
                self.table_bytes -= rest;
            }
        }
        let seen = self.forget(key, handle, see);
        match key.kind {
            Kind::Channel | Kind::Thread => self.unplace(key),
            Kind::Role => self.role_gone(key),
            _ => {}
        }
        (true, seen)
    }

    /// What follows when an object has left its table; answers it if somebody wants to see it.
    fn forget(&mut self, key: Key, handle: Handle, see: bool) -> Option<Object> {
        let size = &mut self.sizes[key.kind as usize];
        size.count -= 1;
        size.bytes -= self.heap.cost(handle);
        let seen = match see {
            true => Some(self.heap.take(handle)),
            false => {
                self.heap.free(handle);
                None
            }
        };
        if key.kind == Kind::Member
            && let Some(guild) = self.guilds.get(key.guild)
        {
            self.tenant.release(key.id, guild.number);
            self.policy.not_online(key.guild, key.id);
        }
        self.note(key, None);
        seen
    }

    /// Members have the role no more, whether it lay here or not: roles may be switched off.
    pub(crate) fn role_gone(&mut self, key: Key) {
        let Some(guild) = self.guilds.get_mut(key.guild) else { return };
        if guild.tables.get(Kind::Member).is_none_or(Table::is_empty) || guild.gone_roles.contains(&key.id) {
            return;
        }
        guild.gone_roles.push(key.id);
        if guild.gone_roles.len() > GONE_ROLES_MAX {
            let members: Vec<u64> = self.ids(Kind::Member, key.guild).collect();
            for member in members {
                self.strip(Key::new(Kind::Member, key.guild, member));
            }
            if let Some(guild) = self.guilds.get_mut(key.guild) {
                guild.gone_roles = Vec::new();
            }
        }
        self.changed.push(Key::of_guild(Kind::State, key.guild));
    }

    /// Writes a member anew without the roles that are gone.
    fn strip(&mut self, key: Key) {
        let (Some(handle), Some(guild)) = (self.find(key), self.guilds.get(key.guild)) else { return };
        let stripped = crate::pack::without_roles(packed(self.heap.bytes(handle)), &guild.gone_roles);
        if let Some(stripped) = stripped {
            self.lay(key, &stripped, true);
        }
    }

    /// A channel and a thread never share an id, but bad input may say so.
    fn unplace(&mut self, key: Key) {
        let still = [Kind::Channel, Kind::Thread].into_iter().any(|kind| self.has(Key { kind, ..key }));
        if let Some(guild) = self.guilds.get(key.guild)
            && !still
        {
            self.places.remove(key.id, guild.number);
        }
    }

    /// Sets what is known about a guild; from then on the shard has it.
    pub(crate) fn set_state(&mut self, guild: u64, state: State) {
        if self.guilds.get(guild).map(|known| known.state) != Some(state) {
            self.enter(guild).state = state;
            self.changed.push(Key::of_guild(Kind::State, guild));
        }
    }

    /// A guild, which the shard has from then on.
    pub(crate) fn enter(&mut self, guild: u64) -> &mut Guild {
        let size = &mut self.sizes[Kind::State as usize];
        let tenant = &self.tenant;
        self.guilds.get_or_insert_with(guild, || {
            size.count += 1;
            size.bytes += STATE_BYTES;
            Guild {
                number: tenant.add_guild(guild),
                state: State::default(),
                tables: Tables::default(),
                gone_roles: Vec::new(),
                search: None,
            }
        })
    }

    /// Forgets a guild and everything in it.
    pub(crate) fn remove_guild(&mut self, guild: u64) {
        if !self.guilds.contains(guild) {
            return;
        }
        self.forget_messages(guild);
        for kind in Kind::ALL {
            self.drop_kind(guild, kind);
        }
        if let Some(known) = self.guilds.remove(guild) {
            self.tenant.remove_guild(known.number);
            self.searched.retain(|searched| *searched != guild);
            let size = &mut self.sizes[Kind::State as usize];
            size.count -= 1;
            size.bytes -= STATE_BYTES;
            self.changed.push(Key::of_guild(Kind::State, guild));
        }
    }

    /// Takes away all objects of one kind in a guild; answers the bytes that they took.
    pub(crate) fn drop_kind(&mut self, guild: u64, kind: Kind) -> u64 {
        let Some(known) = self.guilds.get_mut(guild) else { return 0 };
        let number = known.number;
        let Some(table) = known.tables.remove(kind) else { return 0 };
        let before = self.sizes[kind as usize].bytes;
        self.table_bytes -= table.bytes();
        for handle in table.handles() {
            let key = Key::new(kind, guild, self.heap.id(handle));
            self.forget(key, handle, false);
            if matches!(kind, Kind::Channel | Kind::Thread) {
                self.places.remove(key.id, number);
            }
        }
        before - self.sizes[kind as usize].bytes + table.bytes()
    }

    /// Takes away every object of a guild that `keep` does not want.
    pub(crate) fn keep_only(&mut self, guild: u64, keep: impl Fn(Key) -> bool) {
        let Some(known) = self.guilds.get(guild) else { return };
        let keys = known.tables.each().flat_map(|(kind, table)| table.handles().map(move |handle| (kind, handle)));
        let keys = keys.map(|(kind, handle)| Key::new(kind, guild, self.heap.id(handle)));
        let gone: Vec<Key> = keys.filter(|key| !keep(*key)).collect();
        for key in gone {
            self.take(key);
        }
    }

    /// An object as it is handed out: a member with its user and without roles that are gone, a guild with its member count. Packed, but for
    /// presences that lie as they came.
    pub(crate) fn object(&self, key: Key) -> Option<Object> {
        let handle = self.find(key)?;
        if let Some(object) = self.heap.young(handle) {
            return Some(object.clone());
        }
        let value = packed(self.heap.bytes(handle));
        let whole = match key.kind {
            Kind::Guild => self.whole_guild(key.guild, value),
            Kind::Member => self.whole_member(key, value),
            _ => None,
        };
        Some(Object { encoding: Encoding::Packed, bytes: whole.unwrap_or_else(|| Bytes::copy_from_slice(value.raw())) })
    }

    /// The object before a write, unless it may be old: then there is none to tell of.
    pub(crate) fn before(&self, key: Key) -> Option<Object> {
        if self.doubtful(key.guild) { None } else { self.object(key) }
    }

    /// A member before a write, which lies at this handle. Its user is put into it when somebody looks at it.
    pub(crate) fn member_before(&self, key: Key, known: Option<Handle>) -> Option<Previous> {
        let guild = self.guilds.get(key.guild).filter(|guild| !guild.state.doubtful())?;
        if !guild.gone_roles.is_empty() {
            return self.object(key).map(Previous::from);
        }
        let member = self.heap.bytes(known?);
        let parts = self.tenant.users.read(key.id, |user| crate::pack::member_parts(member, user.raw(), key.id));
        let parts = parts.unwrap_or_else(|| crate::pack::member_parts(member, &[], key.id));
        Some(Previous::later(parts, crate::pack::member_of_parts))
    }

    fn whole_guild(&self, guild: u64, value: Value<'_>) -> Option<Bytes> {
        let count = self.state(guild)?.member_count?;
        crate::pack::with_number(value, "member_count", count)
    }

    fn whole_member(&self, key: Key, value: Value<'_>) -> Option<Bytes> {
        let gone = self.guilds.get(key.guild).map_or(&[][..], |guild| &guild.gone_roles);
        let user = self.tenant.users.read(key.id, |user| crate::pack::whole_member(value, Some(user), key.id, gone));
        user.unwrap_or_else(|| crate::pack::whole_member(value, None, key.id, gone))
    }
}

/// A guild's part beside its objects.
pub(crate) const STATE_BYTES: u64 = size_of::<Guild>() as u64;

pub(crate) fn packed(bytes: &[u8]) -> Value<'_> {
    Value::from_raw(Encoding::Packed, bytes)
}
