//! Recent messages: a bounded part of each channel's end.
//!
//! A message is kept as the event's own bytes, which the event's log shares: most messages are gone again before anybody
//! asks for them, and packing each would cost more than it saves. They are in order of their ids, which are dates, so
//! that the oldest of a channel and of all are known without a list beside the map.
//!
//! There is no clock here. A message's age is the distance between its id and the newest id that was seen, so that
//! nothing grows old while nothing happens.

use std::collections::{BTreeMap, VecDeque};

use trunkline_discord::{Object, created_at_ms};

use crate::Size;
use crate::cache::{Cache, Found, Map};
use crate::config::CacheConfig;
use crate::key::{Key, Kind};

/// Messages that one message may drive out because of their age: so much work is one event's at most, and what is too old is not answered
/// in any case.
const AGED_AT_ONCE: usize = 64;

/// Messages of a shard's channels.
#[derive(Default)]
pub(crate) struct Messages {
    /// By id: the first is the oldest.
    all: BTreeMap<u64, Message>,
    channels: Map<u64, Channel>,
    /// Channels with messages, by guild; 0 for those in none.
    guilds: Map<u64, Vec<u64>>,
    bytes: u64,
    newest_ms: u64,
}

struct Message {
    channel: u64,
    object: Object,
}

#[derive(Default)]
struct Channel {
    guild: u64,
    /// Ascending.
    ids: VecDeque<u64>,
}

impl Messages {
    /// Keeps a message, and drops what is beyond the limits then; answers how many of all messages were dropped for their bytes.
    pub(crate) fn insert(&mut self, config: &CacheConfig, guild: u64, channel: u64, id: u64, object: Object) -> u64 {
        if config.message_count == 0 {
            return 0;
        }
        self.newest_ms = self.newest_ms.max(created_at_ms(id));
        self.remove(id);
        self.bytes += object.bytes.len() as u64;
        self.all.insert(id, Message { channel, object });
        let known = self.channels.entry(channel).or_default();
        if known.ids.is_empty() {
            known.guild = guild;
            self.guilds.entry(guild).or_default().push(channel);
        }
        // Nearly always the newest of its channel.
        let at =
            if known.ids.back().is_none_or(|last| *last < id) { known.ids.len() } else { known.ids.partition_point(|other| *other < id) };
        known.ids.insert(at, id);
        while let Some(known) = self.channels.get(&channel)
            && known.ids.len() > config.message_count as usize
            && let Some(&oldest) = known.ids.front()
        {
            self.remove(oldest);
        }
        for _ in 0..AGED_AT_ONCE {
            match self.all.first_key_value() {
                Some((&oldest, _)) if self.aged(config, oldest) => drop(self.remove(oldest)),
                _ => break,
            }
        }
        let mut dropped = 0;
        while self.bytes > config.message_bytes && self.pop_oldest() {
            dropped += 1;
        }
        dropped
    }

    /// A message that is not too old.
    pub(crate) fn get(&self, config: &CacheConfig, id: u64) -> Option<&Object> {
        self.all.get(&id).filter(|_| !self.aged(config, id)).map(|message| &message.object)
    }

    /// Puts another form of a known message in its place.
    pub(crate) fn replace(&mut self, id: u64, object: Object) {
        if let Some(message) = self.all.get_mut(&id) {
            self.bytes += object.bytes.len() as u64;
            self.bytes -= message.object.bytes.len() as u64;
            message.object = object;
        }
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Object> {
        let message = self.all.remove(&id)?;
        self.bytes -= message.object.bytes.len() as u64;
        if let Some(channel) = self.channels.get_mut(&message.channel) {
            if channel.ids.front() == Some(&id) {
                channel.ids.pop_front();
            } else if let Ok(at) = channel.ids.binary_search(&id) {
                channel.ids.remove(at);
            }
            if channel.ids.is_empty() {
                self.forget_channel(message.channel);
            }
        }
        Some(message.object)
    }

    /// Drops the oldest message of all; whether there was one.
    pub(crate) fn pop_oldest(&mut self) -> bool {
        match self.all.first_key_value() {
            Some((&oldest, _)) => self.remove(oldest).is_some(),
            None => false,
        }
    }

    pub(crate) fn remove_channel(&mut self, channel: u64) {
        let ids = self.channels.get_mut(&channel).map(|known| std::mem::take(&mut known.ids)).unwrap_or_default();
        for id in ids {
            if let Some(message) = self.all.remove(&id) {
                self.bytes -= message.object.bytes.len() as u64;
            }
        }
        self.forget_channel(channel);
    }

    pub(crate) fn remove_guild(&mut self, guild: u64) {
        while let Some(channel) = self.guilds.get(&guild).and_then(|channels| channels.last().copied()) {
            self.remove_channel(channel);
        }
    }

    /// A channel's messages that are not too old and older than `before`, the newest in front.
    pub(crate) fn of_channel(&self, config: &CacheConfig, channel: u64, before: u64) -> impl Iterator<Item = &Object> {
        let ids = self.channels.get(&channel).into_iter().flat_map(|known| known.ids.iter().rev());
        ids.filter(move |id| **id < before).filter_map(|id| self.get(config, *id))
    }

    pub(crate) fn guild_of(&self, id: u64) -> Option<u64> {
        Some(self.channels.get(&self.all.get(&id)?.channel)?.guild)
    }

    pub(crate) fn size(&self) -> Size {
        Size { count: self.all.len() as u64, bytes: self.bytes }
    }

    fn aged(&self, config: &CacheConfig, id: u64) -> bool {
        created_at_ms(id).saturating_add(config.message_age_ms) < self.newest_ms
    }

    fn forget_channel(&mut self, channel: u64) {
        let Some(known) = self.channels.remove(&channel) else { return };
        if let Some(channels) = self.guilds.get_mut(&known.guild) {
            if let Some(at) = channels.iter().position(|other| *other == channel) {
                channels.swap_remove(at);
            }
            if channels.is_empty() {
                self.guilds.remove(&known.guild);
            }
        }
    }

    fn rows(&self, config: &CacheConfig) -> impl Iterator<Item = (Key, &Object)> {
        self.all.iter().filter(|(id, _)| !self.aged(config, **id)).map(|(id, message)| {
            let guild = self.channels.get(&message.channel).map_or(0, |channel| channel.guild);
            (Key::new(Kind::Message, guild, *id), &message.object)
        })
    }
}

impl Cache {
    /// A recent message.
    pub fn message(&self, message: u64) -> Option<Found> {
        let object = self.messages.get(&self.config, message)?;
        Some(self.found_message(object, self.messages.guild_of(message)?))
    }

    /// Recent messages of a channel that are older than `before`, the newest in front.
    pub fn messages(&self, channel: u64, before: u64, limit: usize) -> Vec<Found> {
        let guild = self.messages.channels.get(&channel).map_or(0, |known| known.guild);
        self.messages.of_channel(&self.config, channel, before).take(limit).map(|object| self.found_message(object, guild)).collect()
    }

    fn found_message(&self, object: &Object, guild: u64) -> Found {
        Found { object: object.clone(), guild_id: guild, stale: self.doubtful(guild) }
    }

    /// Drops a guild's messages.
    pub(crate) fn forget_messages(&mut self, guild: u64) {
        self.messages.remove_guild(guild);
    }

    /// Every message that is not too old, for a clean stop.
    pub(crate) fn message_rows(&self) -> impl Iterator<Item = (Key, &Object)> {
        self.messages.rows(&self.config)
    }

    /// Takes a saved message back; whether it is one.
    pub(crate) fn load_message(&mut self, key: Key, object: Object) -> bool {
        let value = object.value();
        let channel = value.get("channel_id").and_then(trunkline_etf::Value::as_id);
        let Some(channel) = channel.filter(|_| value.get("id").and_then(trunkline_etf::Value::as_id) == Some(key.id)) else {
            return false;
        };
        if self.config.keeps(Kind::Message) {
            self.messages.insert(&self.config, key.guild, channel, key.id, object);
        }
        true
    }
}
