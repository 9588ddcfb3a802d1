//! Guilds, their roles, and what a new session does.

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use smallvec::SmallVec;
use trunkline_discord::GuildOrigin;
use trunkline_etf::{Kind as TermKind, Value};

use crate::Change;
use crate::apply::{id, user_id};
use crate::cache::{Cache, Put, State};
use crate::key::{Key, Kind};
use crate::pack::Packed;

type Set<T> = HashSet<T, RandomState>;

/// What the guild object is kept without: objects of their own, and what changes without an update of the guild.
const SPLIT: &[&str] = &[
    "members",
    "channels",
    "threads",
    "presences",
    "voice_states",
    "roles",
    "emojis",
    "stickers",
    "stage_instances",
    "guild_scheduled_events",
    "soundboard_sounds",
    "member_count",
];

/// What is read of a GUILD_CREATE beside the guild object: first what is no list, then its lists, in the order of [`LISTS`]. In one place, so
/// that one walk over what may be megabytes finds them all.
const PARTS: [&str; 14] = [
    "id",
    "unavailable",
    "member_count",
    "emojis",
    "stickers",
    "roles",
    "channels",
    "threads",
    "members",
    "presences",
    "voice_states",
    "stage_instances",
    "guild_scheduled_events",
    "soundboard_sounds",
];

/// What the lists become. Emojis and stickers are objects as lists, the others have objects in them. Discord docs, Gateway Events: Guild Create.
const LISTS: [Kind; 11] = [
    Kind::Emojis,
    Kind::Stickers,
    Kind::Role,
    Kind::Channel,
    Kind::Thread,
    Kind::Member,
    Kind::Presence,
    Kind::VoiceState,
    Kind::StageInstance,
    Kind::ScheduledEvent,
    Kind::Sound,
];

impl Cache {
    /// The session is over, and the next one has yet to begin, if ever: all of it may change unnoticed from now on.
    pub fn session_lost(&mut self) {
        self.policy.nobody_online();
        let guilds: Vec<u64> = self.guild_ids().collect();
        for guild in guilds {
            let state = self.state(guild).unwrap_or_default();
            self.set_state(guild, State { stale: true, ..state });
        }
    }

    /// A new session has begun, and READY has named these guilds. Not for a resumed session, which has missed nothing.
    ///
    /// Guilds that are known become stale, the others awaited, and those that READY does not name are gone. So is everything that lies in
    /// no guild: nothing will ever confirm it.
    pub fn ready(&mut self, guild_ids: &[u64]) {
        self.policy.nobody_online();
        let named: Set<u64> = guild_ids.iter().copied().collect();
        let gone: Vec<u64> = self.guild_ids().filter(|guild| !named.contains(guild)).collect();
        for guild in gone {
            self.remove_guild(guild);
        }
        for guild in named {
            let whole = self.has(Key::of_guild(Kind::Guild, guild));
            let state = match self.state(guild) {
                Some(state) if whole => State { awaited: true, unavailable: false, stale: true, ..state },
                // A guild that was never told (the intent for guilds may be off) might never be confirmed either.
                _ => State { awaited: true, ..State::default() },
            };
            if !state.stale {
                self.keep_only(guild, |_| false);
                self.forget_messages(guild);
            }
            self.set_state(guild, state);
        }
        self.forget_messages(0);
        for kind in [Kind::DirectChannel, Kind::Entitlement, Kind::Subscription] {
            let gone: Vec<u64> = self.ids(kind, 0).collect();
            for id in gone {
                self.set(Key::new(kind, 0, id), None);
            }
        }
    }

    /// Discord docs, Gateway Events: Guild Create.
    pub(crate) fn guild_create(&mut self, d: Value<'_>) -> Option<Change> {
        let mut told = std::mem::take(&mut self.told);
        // Lists of what is not kept are stepped over.
        let lists = LISTS.iter().zip(&PARTS[PARTS.len() - LISTS.len()..]);
        let drop: SmallVec<[&str; LISTS.len()]> = lists.filter(|(kind, _)| !self.config.keeps(**kind)).map(|(_, name)| *name).collect();
        let change = self.guild_told(told.pack(d, &drop));
        self.told = told.emptied();
        change
    }

    fn guild_told(&mut self, Packed { d, members }: Packed<'_>) -> Option<Change> {
        let [guild, unavailable, member_count, lists @ ..] = d.get_all(PARTS);
        let guild_id = guild?;
        let guild = guild_id.as_id()?;
        let known = self.state(guild);
        let origin = match known {
            Some(State { awaited: true, .. }) => GuildOrigin::Startup,
            // Known and told again is no joining either, whatever else it is.
            Some(_) => GuildOrigin::Available,
            None => GuildOrigin::Joined,
        };
        let change = Some(Change { origin: Some(origin), ..Change::NONE });
        if let Some(unavailable) = unavailable.filter(|told| told.as_bool() == Some(true)) {
            self.taken_away(guild, unavailable);
            return change;
        }
        // Lists of members and presences are partial after an outage in one and the same session too.
        let doubtful = known.is_some_and(|state| state.stale);
        // Nothing can be left over in a guild of which nothing was known: most GUILD_CREATEs are a start's.
        let empty = self.counts(guild).next().is_none();
        let member_count = member_count.and_then(Value::as_i64);
        self.set_state(guild, State { awaited: false, unavailable: false, stale: false, member_count });
        if empty {
            // From here to the end of the lists nothing is taken away.
            self.telling = Some(guild);
            self.changed_guilds.insert(guild);
        }
        self.set_without(Key::of_guild(Kind::Guild, guild), d, SPLIT);

        let mut confirmed = Set::with_hasher(RandomState::default());
        confirmed.insert(Key::of_guild(Kind::Guild, guild));
        let mut replaced = 0u32;
        for (kind, list) in LISTS.into_iter().zip(lists) {
            let Some(list) = list.filter(|list| list.kind() == TermKind::List) else { continue };
            if kind.list() {
                confirmed.insert(Key::of_guild(kind, guild));
                self.set(Key::of_guild(kind, guild), Some(list));
                continue;
            }
            // Members and presences are partial lists: they drop what they lack only where it might be old, or where it is everybody. Who left while
            // the guild had an outage is told of in no other way.
            let partial = match kind {
                Kind::Presence => true,
                Kind::Member => member_count.is_none_or(|count| count <= 0 || (list.len() as i64) < count),
                _ => false,
            };
            if !partial {
                replaced |= 1 << kind as u32;
            }
            self.reserve(kind, guild, list);
            for (nth, item) in list.items().enumerate() {
                let id = match kind {
                    Kind::Member => self.set_listed_member(guild, item, members.get(nth)),
                    _ => listed(kind, item),
                };
                let Some(id) = id else {
                    // Told to be offline: what was told before of their presence is over.
                    if kind == Kind::Presence
                        && !empty
                        && let Some(user) = item.get("user").and_then(|user| user.get("id")).and_then(Value::as_id)
                    {
                        self.gone_offline(guild, user);
                    }
                    continue;
                };
                let key = Key::new(kind, guild, id);
                if !empty {
                    confirmed.insert(key);
                }
                match kind {
                    Kind::Member => {}
                    Kind::Channel | Kind::Thread => drop(self.set_in_guild(key, item, guild_id, &[])),
                    _ => drop(self.set(key, Some(item))),
                }
            }
        }
        self.telling = None;
        if doubtful {
            self.forget_messages(guild);
        }
        if !empty && (doubtful || replaced != 0) {
            let everybody = replaced & (1 << Kind::Member as u32) != 0;
            self.keep_only(guild, |key| {
                // No member has no presence.
                let of_stranger = everybody && key.kind == Kind::Presence && !confirmed.contains(&Key { kind: Kind::Member, ..key });
                confirmed.contains(&key) || !(doubtful || of_stranger || replaced & (1 << key.kind as u32) != 0)
            });
        }
        change
    }

    /// Puts a channel or thread that came in a list of its guild: there Discord may leave out which guild it is in, and who asks for the object
    /// alone would never learn it. Discord docs, Gateway Events: Guild Create; Channel Object (`guild_id?`).
    pub(crate) fn set_in_guild(&mut self, key: Key, told: Value<'_>, guild_id: Value<'_>, drop: &[&str]) -> Put {
        let put = self.write(key, |_, out| out.in_guild(told, guild_id, drop));
        if put == Put::default() { self.set_without(key, told, drop) } else { put }
    }

    /// Discord docs, Gateway Events: Guild Update. The payload has none of what only GUILD_CREATE has; that stays.
    pub(crate) fn guild_update(&mut self, d: Value<'_>) -> Option<Change> {
        let [guild, roles, emojis, stickers] = d.get_all(["id", "roles", "emojis", "stickers"]);
        let guild = guild?.as_id()?;
        if !self.knows(guild) {
            return Some(Change::NONE);
        }
        let key = Key::of_guild(Kind::Guild, guild);
        // Of one that was only named a part would look like the guild: its GUILD_CREATE has all of it.
        if !self.has(key) && self.state(guild).is_some_and(|state| state.awaited || state.unavailable) {
            return Some(Change::NONE);
        }
        let previous = self.before(key);
        self.merge(key, d, SPLIT);
        if let Some(roles) = roles.filter(|roles| roles.kind() == TermKind::List) {
            self.replace_list(guild, Kind::Role, roles);
        }
        for (kind, value) in [(Kind::Emojis, emojis), (Kind::Stickers, stickers)] {
            if let Some(value) = value.filter(|value| value.kind() == TermKind::List) {
                self.set(Key::of_guild(kind, guild), Some(value));
            }
        }
        Some(Change::previous(previous))
    }

    /// Discord docs, Gateway Events: Guild Delete. An outage keeps the guild; without `unavailable` the bot is out of it.
    pub(crate) fn guild_delete(&mut self, d: Value<'_>) -> Option<Change> {
        let guild = id(d, "id")?;
        match d.get("unavailable").filter(|told| told.as_bool() == Some(true)) {
            Some(unavailable) => self.taken_away(guild, unavailable),
            None => self.remove_guild(guild),
        }
        Some(Change::NONE)
    }

    /// An outage: the guild is marked, also in the object itself, where those look who know Discord's own key only. The next GUILD_CREATE
    /// puts a new one in its place.
    fn taken_away(&mut self, guild: u64, unavailable: Value<'_>) {
        let state = self.state(guild).unwrap_or_default();
        self.set_state(guild, State { awaited: false, unavailable: true, ..state });
        self.edit(Key::of_guild(Kind::Guild, guild), &[], &[("unavailable", unavailable)]);
    }

    pub(crate) fn role_upsert(&mut self, d: Value<'_>, update: bool) -> Option<Change> {
        let (guild, role) = (id(d, "guild_id")?, d.get("role")?);
        let key = Key::new(Kind::Role, guild, id(role, "id")?);
        let previous = if update { self.before(key) } else { None };
        self.set(key, Some(role));
        Some(Change::previous(previous))
    }

    /// Members lose the role when they are handed out: there may be hundreds of thousands.
    pub(crate) fn role_delete(&mut self, d: Value<'_>) -> Option<Change> {
        let key = Key::new(Kind::Role, id(d, "guild_id")?, id(d, "role_id")?);
        if !self.set(key, None).had {
            self.role_gone(key);
        }
        Some(Change::NONE)
    }

    /// Puts a whole list in the place of a guild's objects of a kind.
    pub(crate) fn replace_list(&mut self, guild: u64, kind: Kind, list: Value<'_>) {
        let told: Set<u64> = list.items().filter_map(|item| listed(kind, item)).collect();
        let gone: Vec<u64> = self.ids(kind, guild).filter(|id| !told.contains(id)).collect();
        for id in gone {
            self.set(Key::new(kind, guild, id), None);
        }
        for item in list.items() {
            if let Some(id) = listed(kind, item) {
                self.set(Key::new(kind, guild, id), Some(item));
            }
        }
    }
}

/// A list under a key, if it is one.
pub(crate) fn list<'a>(d: Value<'a>, key: &str) -> Option<Value<'a>> {
    d.get(key).filter(|list| list.kind() == TermKind::List)
}

/// The id under which an element of such a list is kept; none if it is not.
fn listed(kind: Kind, item: Value<'_>) -> Option<u64> {
    match kind {
        Kind::Member => user_id(item),
        Kind::Presence => {
            let [user, status] = item.get_all(["user", "status"]);
            id(user?, "id").filter(|_| !says_offline(status))
        }
        Kind::VoiceState => {
            let [user, channel] = item.get_all(["user_id", "channel_id"]);
            user?.as_id().filter(|_| channel.and_then(Value::as_id).is_some())
        }
        Kind::Thread => id(item, "id").filter(|_| !archived(item)),
        Kind::Sound => id(item, "sound_id"),
        _ => id(item, "id"),
    }
}

/// Whether a presence's status says that there is none.
pub(crate) fn says_offline(status: Option<Value<'_>>) -> bool {
    status.and_then(Value::as_bytes).is_some_and(|status| *status == *b"offline")
}

/// Whether a thread is no active one.
pub(crate) fn archived(thread: Value<'_>) -> bool {
    thread.get("thread_metadata").and_then(|data| data.get("archived")).and_then(Value::as_bool) == Some(true)
}
