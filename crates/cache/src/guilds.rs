//! Guilds, roles, emojis and stickers; what a new session does.

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use trunkline_discord::GuildOrigin;
use trunkline_etf::{Kind as TermKind, Value};

use crate::Change;
use crate::apply::{id, items, user_id};
use crate::cache::{Cache, State};
use crate::key::{Key, Kind};
use crate::stored::{self, Stored};

/// What the guild object is kept without: objects of their own, what is not kept, and what changes without an update of the guild.
const SPLIT: &[&str] = &[
    "members",
    "channels",
    "threads",
    "presences",
    "voice_states",
    "roles",
    "emojis",
    "stage_instances",
    "guild_scheduled_events",
    "soundboard_sounds",
    "member_count",
];

impl Cache {
    /// A new session has begun, and READY has named these guilds. Not for a resumed session, which has missed nothing.
    ///
    /// Guilds that are known become stale, the others awaited, and those that READY does not name are gone.
    pub fn ready(&mut self, guild_ids: &[u64]) {
        let named: HashSet<u64, RandomState> = guild_ids.iter().copied().collect();
        let gone: Vec<u64> = self.guild_ids().filter(|guild| !named.contains(guild)).collect();
        for guild in gone {
            self.remove_guild(guild);
        }
        for guild in named {
            let known = self.guilds.get(&guild).map(|known| (known.state, known.object.is_some()));
            let state = match known {
                Some((state, true)) => State { awaited: true, unavailable: false, stale: true, ..state },
                // A guild that was never told (the intent for guilds may be off) might never be confirmed either.
                _ => State { awaited: true, ..State::default() },
            };
            if !state.stale {
                self.keep_only(guild, |_| false);
            }
            self.set_state(guild, state);
        }
    }

    /// Discord docs, Gateway Events: Guild Create.
    pub(crate) fn guild_create(&mut self, d: Value<'_>) -> Option<Change> {
        let guild = id(d, "id")?;
        let known = self.guilds.get(&guild);
        let origin = match known.map(|known| known.state) {
            Some(State { awaited: true, .. }) => GuildOrigin::Startup,
            // Known and told again is no joining either, whatever else it is.
            Some(_) => GuildOrigin::Available,
            None => GuildOrigin::Joined,
        };
        let change = Some(Change { origin: Some(origin), ..Change::NONE });
        let state = known.map_or(State::default(), |known| known.state);
        if d.get("unavailable").and_then(Value::as_bool) == Some(true) {
            self.set_state(guild, State { awaited: false, unavailable: true, ..state });
            return change;
        }
        let object = stored::merged(None, Some(d), SPLIT, None)?;
        let doubtful = known.is_some_and(|known| known.doubtful());
        let member_count = d.get("member_count").and_then(Value::as_i64);
        self.set_state(guild, State { awaited: false, unavailable: false, stale: false, member_count });

        let mut confirmed = HashSet::with_hasher(RandomState::default());
        let mut told = HashSet::with_hasher(RandomState::default());
        confirmed.insert(Key::of_guild(Kind::Guild, guild));
        self.put(Key::of_guild(Kind::Guild, guild), Some(object));
        if let Some(emojis) = d.get("emojis").filter(|emojis| emojis.kind() == TermKind::List) {
            confirmed.insert(Key::of_guild(Kind::Emojis, guild));
            self.put(Key::of_guild(Kind::Emojis, guild), Some(Stored::copy_of(emojis)));
        }
        for (name, kind) in LISTS {
            let Some(list) = d.get(name).filter(|list| list.kind() == TermKind::List) else { continue };
            told.insert(kind);
            for item in list.items() {
                let Some(id) = listed(kind, item) else { continue };
                let key = Key::new(kind, guild, id);
                confirmed.insert(key);
                self.put(key, Some(Stored::copy_of(item)));
            }
        }
        // Members and presences are partial lists: they drop what they lack only where it might be old.
        let replaced = |kind: Kind| doubtful || (told.contains(&kind) && !matches!(kind, Kind::Member | Kind::Presence));
        self.keep_only(guild, |key| confirmed.contains(&key) || !replaced(key.kind));
        change
    }

    /// Discord docs, Gateway Events: Guild Update. The payload has none of what only GUILD_CREATE has; that stays.
    pub(crate) fn guild_update(&mut self, d: Value<'_>) -> Option<Change> {
        let guild = id(d, "id")?;
        let Some(known) = self.guilds.get(&guild) else { return Some(Change::NONE) };
        let object = stored::merged(known.object.as_ref().map(Stored::value), Some(d), SPLIT, None)?;
        let previous = (!known.doubtful()).then(|| known.whole()).flatten();
        self.put(Key::of_guild(Kind::Guild, guild), Some(object));
        if let Some(roles) = d.get("roles").filter(|roles| roles.kind() == TermKind::List) {
            let confirmed: HashSet<u64, RandomState> = roles.items().filter_map(|role| id(role, "id")).collect();
            let known = self.guilds.get(&guild).into_iter().flat_map(|known| known.roles.keys());
            let gone: Vec<u64> = known.filter(|role| !confirmed.contains(*role)).copied().collect();
            for role in gone {
                self.put(Key::new(Kind::Role, guild, role), None);
            }
            for role in roles.items() {
                let Some(id) = id(role, "id") else { continue };
                self.put(Key::new(Kind::Role, guild, id), Some(Stored::copy_of(role)));
            }
        }
        if let Some(emojis) = d.get("emojis").filter(|emojis| emojis.kind() == TermKind::List) {
            self.put(Key::of_guild(Kind::Emojis, guild), Some(Stored::copy_of(emojis)));
        }
        Some(Change::previous(previous.map(|object| object.object())))
    }

    /// Discord docs, Gateway Events: Guild Delete. An outage keeps the guild; without `unavailable` the bot is out of it.
    pub(crate) fn guild_delete(&mut self, d: Value<'_>) -> Option<Change> {
        let guild = id(d, "id")?;
        if d.get("unavailable").and_then(Value::as_bool) == Some(true) {
            let state = self.guilds.get(&guild).map_or(State::default(), |known| known.state);
            self.set_state(guild, State { awaited: false, unavailable: true, ..state });
        } else {
            self.remove_guild(guild);
        }
        Some(Change::NONE)
    }

    pub(crate) fn role_upsert(&mut self, d: Value<'_>, update: bool) -> Option<Change> {
        let (guild, role) = (id(d, "guild_id")?, d.get("role")?);
        let key = Key::new(Kind::Role, guild, id(role, "id")?);
        let previous = self.put(key, Some(Stored::copy_of(role)));
        Some(Change::previous(self.told(guild, previous).filter(|_| update).map(|role| role.object())))
    }

    pub(crate) fn role_delete(&mut self, d: Value<'_>) -> Option<Change> {
        self.put(Key::new(Kind::Role, id(d, "guild_id")?, id(d, "role_id")?), None);
        Some(Change::NONE)
    }

    pub(crate) fn emojis_update(&mut self, d: Value<'_>) -> Option<Change> {
        let guild = id(d, "guild_id")?;
        let emojis = d.get("emojis").filter(|emojis| emojis.kind() == TermKind::List)?;
        let previous = self.put(Key::of_guild(Kind::Emojis, guild), Some(Stored::copy_of(emojis)));
        Some(Change::previous(self.told(guild, previous).map(|emojis| emojis.object())))
    }

    pub(crate) fn stickers_update(&mut self, d: Value<'_>) -> Option<Change> {
        let (guild, stickers) = (id(d, "guild_id")?, d.get("stickers")?);
        if let Some(object) = self.guilds.get(&guild).and_then(|known| known.object.as_ref()) {
            let object = stored::merged(Some(object.value()), None, &[], Some(("stickers", stickers)))?;
            self.put(Key::of_guild(Kind::Guild, guild), Some(object));
        }
        Some(Change::NONE)
    }

    /// An object that was there, unless it may be old: then there is no previous one to tell of.
    pub(crate) fn told(&self, guild: u64, previous: Option<Stored>) -> Option<Stored> {
        previous.filter(|_| self.guilds.get(&guild).is_some_and(|known| !known.doubtful()))
    }
}

/// The lists of a GUILD_CREATE that become objects of their own.
const LISTS: [(&str, Kind); 6] = [
    ("roles", Kind::Role),
    ("channels", Kind::Channel),
    ("threads", Kind::Thread),
    ("members", Kind::Member),
    ("presences", Kind::Presence),
    ("voice_states", Kind::VoiceState),
];

/// The id under which an element of such a list is kept; none if it is not.
fn listed(kind: Kind, item: Value<'_>) -> Option<u64> {
    match kind {
        Kind::Member => user_id(item),
        Kind::Presence => user_id(item).filter(|_| !offline(item)),
        Kind::VoiceState => id(item, "user_id").filter(|_| id(item, "channel_id").is_some()),
        Kind::Thread => id(item, "id").filter(|_| !archived(item)),
        _ => id(item, "id"),
    }
}

/// Whether a presence says that there is none.
pub(crate) fn offline(presence: Value<'_>) -> bool {
    presence.get("status").and_then(Value::as_str).is_some_and(|status| status == "offline")
}

/// Whether a thread is no active one.
pub(crate) fn archived(thread: Value<'_>) -> bool {
    thread.get("thread_metadata").and_then(|data| data.get("archived")).and_then(Value::as_bool) == Some(true)
}

/// The ids in a list.
pub(crate) fn ids(d: Value<'_>, key: &str) -> Vec<u64> {
    items(d, key).filter_map(Value::as_id).collect()
}
