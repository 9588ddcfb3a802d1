//! The maps, and the one way in which they change.
//!
//! Everything that is written goes through [`Cache::put`], which keeps counts, the indexes and the set of changed keys
//! in step. Nothing else touches the maps.

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;
use trunkline_discord::Object;

use crate::key::{Key, Kind, LoadError};
use crate::stored::{self, Stored};
use crate::{CacheConfig, Size};

pub(crate) type Map<K, V> = HashMap<K, V, RandomState>;

/// The state of one shard's guilds.
#[derive(Default)]
pub struct Cache {
    config: CacheConfig,
    pub(crate) guilds: Map<u64, Guild>,
    own_user: Option<Stored>,
    /// Which guild a channel or thread is in.
    channel_guilds: Map<u64, u64>,
    /// The guilds in which a user is a known member, the one that told of the user last in front.
    user_guilds: Map<u64, SmallVec<[u64; 1]>>,
    sizes: [Size; Kind::ALL.len()],
    changed: HashSet<Key, RandomState>,
}

/// One guild's objects.
#[derive(Default)]
pub(crate) struct Guild {
    pub(crate) state: State,
    pub(crate) object: Option<Stored>,
    pub(crate) emojis: Option<Stored>,
    pub(crate) channels: Map<u64, Stored>,
    pub(crate) threads: Map<u64, Stored>,
    pub(crate) roles: Map<u64, Stored>,
    pub(crate) members: Map<u64, Stored>,
    pub(crate) presences: Map<u64, Stored>,
    pub(crate) voice_states: Map<u64, Stored>,
}

/// What is known about a guild beside its objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// READY has named it, and nothing has come for it since.
    pub(crate) awaited: bool,
    /// An outage has taken it away for now.
    pub(crate) unavailable: bool,
    /// A new session has begun since its objects were told.
    pub(crate) stale: bool,
    pub(crate) member_count: Option<i64>,
}

/// An answer to a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The object as Discord sent it (objects in a GUILD_CREATE have no `guild_id` of their own).
    pub object: Object,
    /// The guild it is in; 0 for the own user.
    pub guild_id: u64,
    /// The session that told of it is over, or the guild is unavailable: it may have changed or gone unnoticed.
    pub stale: bool,
}

impl Cache {
    /// An empty cache.
    pub fn new(config: CacheConfig) -> Cache {
        Cache { config, ..Cache::default() }
    }

    /// The guild, without the lists that are objects of their own.
    pub fn guild(&self, guild: u64) -> Option<Found> {
        let known = self.guilds.get(&guild)?;
        Some(known.found(guild, known.whole()?.object()))
    }

    /// A channel or thread.
    pub fn channel(&self, channel: u64) -> Option<Found> {
        let guild = *self.channel_guilds.get(&channel)?;
        let known = self.guilds.get(&guild)?;
        let stored = known.channels.get(&channel).or_else(|| known.threads.get(&channel))?;
        Some(known.found(guild, stored.object()))
    }

    /// A role.
    pub fn role(&self, guild: u64, role: u64) -> Option<Found> {
        self.one(guild, |guild| guild.roles.get(&role))
    }

    /// A guild's emojis: a list.
    pub fn emojis(&self, guild: u64) -> Option<Found> {
        self.one(guild, |guild| guild.emojis.as_ref())
    }

    /// A member, as far as Discord has told of it: a member who is not known here may still be one.
    pub fn member(&self, guild: u64, user: u64) -> Option<Found> {
        let known = self.guilds.get(&guild)?;
        Some(known.found(guild, known.member(user)?.object()))
    }

    /// A presence. Offline ones are not kept.
    pub fn presence(&self, guild: u64, user: u64) -> Option<Found> {
        self.one(guild, |guild| guild.presences.get(&user))
    }

    /// A user's voice state in a guild.
    pub fn voice_state(&self, guild: u64, user: u64) -> Option<Found> {
        self.one(guild, |guild| guild.voice_states.get(&user))
    }

    /// A user: the bot itself, or as one of the guilds where it is a known member told last.
    pub fn user(&self, user: u64) -> Option<Found> {
        if let Some(own) = &self.own_user
            && own.value().get("id").and_then(|id| id.as_id()) == Some(user)
        {
            return Some(Found { object: own.object(), guild_id: 0, stale: false });
        }
        let guild = *self.user_guilds.get(&user)?.first()?;
        let known = self.guilds.get(&guild)?;
        let member = known.members.get(&user)?;
        Some(known.found(guild, Object::copy_of(member.value().get("user")?)))
    }

    /// The guilds in which a user is a known member, in no order.
    pub fn mutual_guilds(&self, user: u64) -> &[u64] {
        self.user_guilds.get(&user).map_or(&[], SmallVec::as_slice)
    }

    /// The bot's own user id, once READY has told it.
    pub fn own_user_id(&self) -> Option<u64> {
        self.own_user.as_ref()?.value().get("id")?.as_id()
    }

    /// The guilds of the shard, in no order.
    pub fn guild_ids(&self) -> impl Iterator<Item = u64> {
        self.guilds.keys().copied()
    }

    /// How many objects of a kind there are, and their bytes.
    pub fn size(&self, kind: Kind) -> Size {
        self.sizes[kind as usize]
    }

    /// Bytes of all stored forms.
    pub fn bytes(&self) -> u64 {
        self.sizes.iter().map(|size| size.bytes).sum()
    }

    /// Keys that have changed since the last call, each once, with what is now stored under them; `None`: nothing any more.
    ///
    /// Values share the cache's bytes. If they cannot be saved, keep them for the next try: they are not given again.
    pub fn take_changes(&mut self) -> Vec<(Vec<u8>, Option<Bytes>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|key| (key.encode(), self.stored(key))).collect()
    }

    /// How many keys [`Cache::take_changes`] would give.
    pub fn changes_pending(&self) -> usize {
        self.changed.len()
    }

    /// Takes one row of the durable copy back. Rows may come in any order.
    ///
    /// # Errors
    /// The row is none of a cache's; nothing has changed then.
    pub fn load(&mut self, key: &[u8], value: Bytes) -> Result<(), LoadError> {
        let key = Key::decode(key).ok_or(LoadError::Key)?;
        let bad = LoadError::Value(key.kind);
        if key.kind == Kind::State {
            let state = State::decode(&value).ok_or(bad)?;
            self.set_state(key.guild, state);
        } else {
            let wanted = if key.kind == Kind::Emojis { trunkline_etf::Kind::List } else { trunkline_etf::Kind::Map };
            let stored = Stored::load(value, wanted).ok_or(bad)?;
            if key.kind != Kind::OwnUser && !self.guilds.contains_key(&key.guild) {
                // Its own row comes later, or was lost.
                self.set_state(key.guild, State::default());
                self.changed.remove(&Key::of_guild(Kind::State, key.guild));
            }
            self.put(key, Some(stored));
        }
        // What was loaded is saved already.
        self.changed.remove(&key);
        Ok(())
    }

    fn one<'a>(&'a self, guild: u64, get: impl FnOnce(&'a Guild) -> Option<&'a Stored>) -> Option<Found> {
        let known = self.guilds.get(&guild)?;
        Some(known.found(guild, get(known)?.object()))
    }

    /// The stored form under a key.
    fn stored(&self, key: Key) -> Option<Bytes> {
        if key.kind == Kind::OwnUser {
            return self.own_user.as_ref().map(|user| user.bytes().clone());
        }
        let guild = self.guilds.get(&key.guild)?;
        if key.kind == Kind::State {
            return Some(guild.state.encode());
        }
        guild.get(key.kind, key.id).map(|stored| stored.bytes().clone())
    }

    /// Puts an object under a key, or takes it away; answers what was there. An object in a guild that the shard does
    /// not have is not kept: it came late, and nothing would ever take it away.
    pub(crate) fn put(&mut self, key: Key, stored: Option<Stored>) -> Option<Stored> {
        if !self.config.keeps(key.kind) {
            return None;
        }
        let added = stored.as_ref().map(|stored| stored.bytes().len() as u64);
        let old = if key.kind == Kind::OwnUser {
            std::mem::replace(&mut self.own_user, stored.clone())
        } else {
            self.guilds.get_mut(&key.guild)?.replace(key.kind, key.id, stored.clone())
        };
        let size = &mut self.sizes[key.kind as usize];
        if let Some(old) = &old {
            size.count -= 1;
            size.bytes -= old.bytes().len() as u64;
        }
        if let Some(added) = added {
            size.count += 1;
            size.bytes += added;
        }
        if old != stored {
            self.changed.insert(key);
        }
        match key.kind {
            Kind::Channel | Kind::Thread if added.is_some() => drop(self.channel_guilds.insert(key.id, key.guild)),
            Kind::Channel | Kind::Thread => self.unindex_channel(key),
            Kind::Member => self.index_member(key.id, key.guild, added.is_some()),
            _ => {}
        }
        old
    }

    /// A channel and a thread never share an id, but bad input may say so.
    fn unindex_channel(&mut self, key: Key) {
        let guild = self.guilds.get(&key.guild);
        let still = guild.is_some_and(|guild| guild.channels.contains_key(&key.id) || guild.threads.contains_key(&key.id));
        if !still && self.channel_guilds.get(&key.id) == Some(&key.guild) {
            self.channel_guilds.remove(&key.id);
        }
    }

    fn index_member(&mut self, user: u64, guild: u64, member: bool) {
        if member {
            let guilds = self.user_guilds.entry(user).or_default();
            match guilds.iter().position(|known| *known == guild) {
                Some(at) => guilds[..=at].rotate_right(1),
                None => guilds.insert(0, guild),
            }
        } else if let Some(guilds) = self.user_guilds.get_mut(&user) {
            guilds.retain(|known| *known != guild);
            if guilds.is_empty() {
                self.user_guilds.remove(&user);
            }
        }
    }

    /// Sets what is known about a guild; from then on the shard has it.
    pub(crate) fn set_state(&mut self, guild: u64, state: State) {
        let size = &mut self.sizes[Kind::State as usize];
        let known = self.guilds.entry(guild).or_insert_with(|| {
            size.count += 1;
            size.bytes += STATE_BYTES as u64;
            // Not the state that is about to be set, so that it counts as a change.
            Guild { state: State { member_count: Some(i64::MIN), ..State::default() }, ..Guild::default() }
        });
        if known.state != state {
            known.state = state;
            self.changed.insert(Key::of_guild(Kind::State, guild));
        }
    }

    /// Forgets a guild and everything in it.
    pub(crate) fn remove_guild(&mut self, guild: u64) {
        self.keep_only(guild, |_| false);
        if self.guilds.remove(&guild).is_some() {
            let size = &mut self.sizes[Kind::State as usize];
            size.count -= 1;
            size.bytes -= STATE_BYTES as u64;
            self.changed.insert(Key::of_guild(Kind::State, guild));
        }
    }

    /// Takes away every object of a guild that `keep` does not want.
    pub(crate) fn keep_only(&mut self, guild: u64, keep: impl Fn(Key) -> bool) {
        let Some(known) = self.guilds.get(&guild) else { return };
        let gone: Vec<Key> = known.keys(guild).filter(|key| !keep(*key)).collect();
        for key in gone {
            self.put(key, None);
        }
    }
}

impl Guild {
    pub(crate) fn get(&self, kind: Kind, id: u64) -> Option<&Stored> {
        match kind {
            Kind::Guild => self.object.as_ref(),
            Kind::Emojis => self.emojis.as_ref(),
            kind => self.map(kind)?.get(&id),
        }
    }

    fn map(&self, kind: Kind) -> Option<&Map<u64, Stored>> {
        match kind {
            Kind::Channel => Some(&self.channels),
            Kind::Thread => Some(&self.threads),
            Kind::Role => Some(&self.roles),
            Kind::Member => Some(&self.members),
            Kind::Presence => Some(&self.presences),
            Kind::VoiceState => Some(&self.voice_states),
            Kind::State | Kind::Guild | Kind::Emojis | Kind::OwnUser => None,
        }
    }

    fn replace(&mut self, kind: Kind, id: u64, stored: Option<Stored>) -> Option<Stored> {
        let map = match kind {
            Kind::Guild => return std::mem::replace(&mut self.object, stored),
            Kind::Emojis => return std::mem::replace(&mut self.emojis, stored),
            Kind::Channel => &mut self.channels,
            Kind::Thread => &mut self.threads,
            Kind::Role => &mut self.roles,
            Kind::Member => &mut self.members,
            Kind::Presence => &mut self.presences,
            Kind::VoiceState => &mut self.voice_states,
            Kind::State | Kind::OwnUser => return None,
        };
        match stored {
            Some(stored) => map.insert(id, stored),
            None => map.remove(&id),
        }
    }

    /// Keys of all its objects.
    pub(crate) fn keys(&self, guild: u64) -> impl Iterator<Item = Key> {
        let single = [(Kind::Guild, self.object.is_some()), (Kind::Emojis, self.emojis.is_some())];
        let single = single.into_iter().filter(|(_, there)| *there).map(move |(kind, _)| Key::of_guild(kind, guild));
        let maps = Kind::ALL.into_iter().filter_map(|kind| Some((kind, self.map(kind)?)));
        single.chain(maps.flat_map(move |(kind, map)| map.keys().map(move |id| Key::new(kind, guild, *id))))
    }

    /// Whether what is kept may be old.
    pub(crate) fn doubtful(&self) -> bool {
        self.state.stale || self.state.unavailable
    }

    fn found(&self, guild_id: u64, object: Object) -> Found {
        Found { object, guild_id, stale: self.doubtful() }
    }

    /// The guild object with its member count.
    pub(crate) fn whole(&self) -> Option<Stored> {
        let object = self.object.as_ref()?;
        let Some(count) = self.state.member_count else { return Some(object.clone()) };
        let count = stored::integer(object.value().encoding(), count)?;
        stored::merged(Some(object.value()), None, &[], Some(("member_count", count.value())))
    }

    /// A member without roles that are gone.
    pub(crate) fn member(&self, user: u64) -> Option<Stored> {
        let member = self.members.get(&user)?;
        // Before the guild has been told its roles are not known, and none of them is gone.
        if self.object.is_none() || self.roles.is_empty() {
            return Some(member.clone());
        }
        let stripped = stored::without_roles(member.value(), |role| self.roles.contains_key(&role));
        Some(stripped.unwrap_or_else(|| member.clone()))
    }
}

const STATE_BYTES: usize = 9;

impl State {
    fn encode(self) -> Bytes {
        let flags = [self.awaited, self.unavailable, self.stale, self.member_count.is_some()];
        let mut out = vec![0];
        for (bit, flag) in flags.into_iter().enumerate() {
            out[0] |= u8::from(flag) << bit;
        }
        out.extend_from_slice(&self.member_count.unwrap_or(0).to_le_bytes());
        Bytes::from(out)
    }

    fn decode(bytes: &[u8]) -> Option<State> {
        let (flags, count) = bytes.split_first()?;
        let count = i64::from_le_bytes(count.try_into().ok()?);
        let flag = |bit: u8| flags & (1 << bit) != 0;
        (flags & 0xF0 == 0).then_some(())?;
        Some(State { awaited: flag(0), unavailable: flag(1), stale: flag(2), member_count: flag(3).then_some(count) })
    }
}
