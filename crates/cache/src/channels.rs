//! Channels of guilds, and what Discord tells of voice channels beside them.

use trunkline_discord::{Field, Fields};
use trunkline_etf::Value;

use crate::Change;
use crate::apply::{id, items};
use crate::cache::Cache;
use crate::key::{Key, Kind};

impl Cache {
    pub(crate) fn channel_upsert(&mut self, d: Value<'_>, fields: &Fields<'_>, update: bool) -> Option<Change> {
        let channel = fields.id(Field::Id)?;
        let Some(guild) = fields.id(Field::GuildId) else { return Some(Change::NONE) };
        let key = Key::new(Kind::Channel, guild, channel);
        let previous = if update { self.before(key) } else { None };
        self.set(key, Some(d));
        Some(Change::previous(previous))
    }

    /// Takes with it what lies in the channel: whether Discord tells of each thread and stage is not documented.
    pub(crate) fn channel_delete(&mut self, d: Value<'_>) -> Option<Change> {
        let channel = id(d, "id")?;
        let guild = id(d, "guild_id");
        // An event of one guild takes nothing away from another. Messages that came without a guild, in a channel that nobody knew, go with
        // it: they may be of any.
        let home = self.guild_of_channel(channel).or_else(|| Some(self.messages(channel, u64::MAX, 1).first()?.guild_id));
        if home.is_none_or(|home| home == 0 || Some(home) == guild) {
            self.messages.remove_channel(channel);
        }
        let Some(guild) = guild else {
            self.set(Key::new(Kind::DirectChannel, 0, channel), None);
            return Some(Change::NONE);
        };
        self.set(Key::new(Kind::Channel, guild, channel), None);
        self.set(Key::new(Kind::VoiceChannel, guild, channel), None);
        for thread in self.drop_where(Kind::Thread, guild, |thread| id(thread, "parent_id") == Some(channel)) {
            self.messages.remove_channel(thread);
        }
        self.drop_where(Kind::StageInstance, guild, |stage| id(stage, "channel_id") == Some(channel));
        Some(Change::NONE)
    }

    pub(crate) fn channel_pins(&mut self, d: Value<'_>) -> Option<Change> {
        let channel = id(d, "channel_id")?;
        let Some(at) = d.get("last_pin_timestamp") else { return Some(Change::NONE) };
        let keys = match id(d, "guild_id") {
            Some(guild) => [Key::new(Kind::Channel, guild, channel), Key::new(Kind::Thread, guild, channel)],
            None => [Key::new(Kind::DirectChannel, 0, channel); 2],
        };
        for key in keys {
            self.edit(key, &[], &[("last_pin_timestamp", at)]);
        }
        Some(Change::NONE)
    }

    /// Discord docs, Gateway: Request Channel Info. The answer has the fields that were asked for.
    pub(crate) fn channel_info(&mut self, d: Value<'_>) -> Option<Change> {
        let guild = id(d, "guild_id")?;
        d.get("channels")?;
        for channel in items(d, "channels") {
            if let Some(id) = id(channel, "id") {
                self.note_voice_channel(guild, id, channel);
            }
        }
        Some(Change::NONE)
    }

    /// Discord docs, Gateway Events: Voice Channel Status Update, Voice Channel Start Time Update.
    pub(crate) fn voice_channel(&mut self, d: Value<'_>) -> Option<Change> {
        let (guild, channel) = (id(d, "guild_id")?, id(d, "id")?);
        let previous = self.before(Key::new(Kind::VoiceChannel, guild, channel));
        self.note_voice_channel(guild, channel, d);
        Some(Change::previous(previous))
    }

    /// Status and start time are no part of the channel object: they lie beside it while either is set.
    fn note_voice_channel(&mut self, guild: u64, channel: u64, d: Value<'_>) {
        const FIELDS: [&str; 2] = ["status", "voice_start_time"];
        let key = Key::new(Kind::VoiceChannel, guild, channel);
        let told = d.get_all(FIELDS);
        let known = self.get(key).map(|known| known.get_all(FIELDS).map(|value| value.is_some()));
        let known = known.unwrap_or_default();
        let mut drop = vec!["guild_id"];
        let mut any = false;
        for ((name, told), known) in FIELDS.into_iter().zip(told).zip(known) {
            match told {
                Some(value) if value.is_null() => drop.push(name),
                Some(_) => any = true,
                None => any |= known,
            }
        }
        if any {
            self.merge(key, d, &drop);
        } else {
            self.set(key, None);
        }
    }

    /// Takes away a guild's objects of a kind that `gone` wants gone; answers their ids.
    pub(crate) fn drop_where(&mut self, kind: Kind, guild: u64, gone: impl Fn(Value<'_>) -> bool) -> Vec<u64> {
        let of = |id: &u64| self.get(Key::new(kind, guild, *id)).is_some_and(&gone);
        let ids: Vec<u64> = self.ids(kind, guild).filter(of).collect();
        for id in &ids {
            self.set(Key::new(kind, guild, *id), None);
        }
        ids
    }
}
