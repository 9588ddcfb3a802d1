//! Emojis, stickers, sounds, scheduled events, rules, integrations, bans, invites, entitlements and subscriptions: what is put and taken away
//! whole.

use trunkline_etf::{Kind as TermKind, Value};

use crate::Change;
use crate::apply::{id, user_id};
use crate::cache::Cache;
use crate::guilds::list;
use crate::key::{Key, Kind};

impl Cache {
    /// An object that has come to be, or is told whole.
    pub(crate) fn upsert(&mut self, kind: Kind, d: Value<'_>) -> Option<Change> {
        let key = key_of(kind, d)?;
        if kind.outside() {
            self.set_bounded(key, d);
        } else {
            self.set(key, Some(d));
        }
        Some(Change::NONE)
    }

    /// Discord docs, Soundboard: the `guild_id` of a sound may be missing. One that is known is in the guild that it was in; of a new one nothing can
    /// be kept.
    pub(crate) fn sound(&mut self, d: Value<'_>, update: bool) -> Option<Change> {
        if d.get("guild_id").is_none() {
            let sound = id(d, "sound_id")?;
            let Some(guild) = self.guild_ids().find(|guild| self.has(Key::new(Kind::Sound, *guild, sound))) else {
                return Some(Change::NONE);
            };
            let key = Key::new(Kind::Sound, guild, sound);
            let previous = self.before(key).filter(|_| update);
            match self.get(key).is_some_and(|known| known.get("guild_id").is_some()) {
                true => drop(self.set_in_guild(key, d, crate::message_events::json(&format!("\"{guild}\"")), &[])),
                false => drop(self.set(key, Some(d))),
            }
            return Some(Change::previous(previous));
        }
        if update { self.update(Kind::Sound, d) } else { self.upsert(Kind::Sound, d) }
    }

    /// The same, where consumers get the object before.
    pub(crate) fn update(&mut self, kind: Kind, d: Value<'_>) -> Option<Change> {
        let previous = self.before(key_of(kind, d)?);
        self.upsert(kind, d)?;
        Some(Change::previous(previous))
    }

    pub(crate) fn delete(&mut self, kind: Kind, d: Value<'_>) -> Option<Change> {
        let key = key_of(kind, d)?;
        let previous = self.before(key);
        self.set(key, None);
        Some(Change::previous(previous))
    }

    /// Discord docs, Gateway Events: Guild Emojis Update, Guild Stickers Update. The whole list.
    pub(crate) fn list_update(&mut self, kind: Kind, d: Value<'_>, name: &str) -> Option<Change> {
        let (key, list) = (Key::of_guild(kind, id(d, "guild_id")?), list(d, name)?);
        let previous = self.before(key);
        self.set(key, Some(list));
        Some(Change::previous(previous))
    }

    /// Discord docs, Gateway Events: Guild Soundboard Sounds Update. It tells of several; those that go have an event of their own.
    pub(crate) fn sounds_update(&mut self, d: Value<'_>) -> Option<Change> {
        let (guild, sounds) = (id(d, "guild_id")?, list(d, "soundboard_sounds")?);
        for sound in sounds.items() {
            if let Some(id) = id(sound, "sound_id") {
                self.set(Key::new(Kind::Sound, guild, id), Some(sound));
            }
        }
        Some(Change::NONE)
    }

    /// Discord docs, Gateway Events: Soundboard Sounds. All that a guild has.
    pub(crate) fn sounds(&mut self, d: Value<'_>) -> Option<Change> {
        let (guild, sounds) = (id(d, "guild_id")?, list(d, "soundboard_sounds")?);
        self.replace_list(guild, Kind::Sound, sounds);
        Some(Change::NONE)
    }

    /// Discord docs, Gateway Events: Guild Scheduled Event User Add. Who is interested is not kept, how many are is.
    pub(crate) fn interested(&mut self, d: Value<'_>, by: i64) -> Option<Change> {
        let key = Key::new(Kind::ScheduledEvent, id(d, "guild_id")?, id(d, "guild_scheduled_event_id")?);
        id(d, "user_id")?;
        if let Some(count) = self.get(key).and_then(|event| event.get("user_count")).and_then(Value::as_i64) {
            let count = count.saturating_add(by).max(0).to_string();
            self.edit(key, &[], &[("user_count", crate::message_events::json(&count))]);
        }
        Some(Change::NONE)
    }

    /// Discord docs, Gateway Events: Guild Integrations Update. It says that something has changed, and not what: nothing known is sure.
    pub(crate) fn integrations_update(&mut self, d: Value<'_>) -> Option<Change> {
        self.drop_kind(id(d, "guild_id")?, Kind::Integration);
        Some(Change::NONE)
    }

    /// Discord docs, Gateway Events: Guild Ban Add. That the member is gone comes as an event of its own.
    pub(crate) fn ban(&mut self, d: Value<'_>, banned: bool) -> Option<Change> {
        let key = Key::new(Kind::Ban, id(d, "guild_id")?, user_id(d)?);
        if let Some(user) = d.get("user").filter(|_| self.knows(key.guild)) {
            self.learn_user(user);
        }
        if banned {
            self.set_bounded(key, d);
        } else {
            self.set(key, None);
        }
        Some(Change::NONE)
    }

    /// Discord docs, Gateway Events: Invite Create. Invites into group conversations are no bot's.
    pub(crate) fn invite(&mut self, d: Value<'_>, made: bool) -> Option<Change> {
        let code = d.get("code").filter(|code| code.kind() == TermKind::Str)?.as_str()?;
        let Some(guild) = id(d, "guild_id") else { return Some(Change::NONE) };
        let key = Key::new(Kind::Invite, guild, code_hash(&code));
        if made {
            self.set_bounded(key, d);
            if let Some(inviter) = d.get("inviter").filter(|_| self.knows(guild)) {
                self.learn_user(inviter);
            }
        } else {
            self.set(key, None);
        }
        Some(Change::NONE)
    }

    /// An invite that was seen to be made. It may have run out since: Discord need not tell.
    pub fn invite_by_code(&self, guild: u64, code: &str) -> Option<crate::Found> {
        let key = Key::new(Kind::Invite, guild, code_hash(code));
        self.get(key)?.get("code").and_then(Value::as_str).filter(|known| known == code)?;
        Some(crate::Found { object: self.object(key)?, guild_id: guild, stale: self.doubtful(guild) })
    }
}

/// FNV-1a: the durable copy has it as the invite's id, so it must be the same in every process and version.
fn code_hash(code: &str) -> u64 {
    code.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn key_of(kind: Kind, d: Value<'_>) -> Option<Key> {
    let id_key = if kind == Kind::Sound { "sound_id" } else { "id" };
    let guild = if kind.outside() { 0 } else { id(d, "guild_id")? };
    Some(Key::new(kind, guild, id(d, id_key)?))
}
