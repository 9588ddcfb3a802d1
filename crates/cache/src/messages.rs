//! Recent messages: a bounded part of each channel's end.
//!
//! A message is kept as the event's own bytes, which the event's log shares: most messages are gone again before anybody
//! asks for them, and packing each would cost more than it saves. For the same reason what changes a message (an edit, a reaction) is kept
//! beside it as it came, and put into it when somebody asks, or when there is too much of it. Ids are dates, and messages come nearly in their order:
//! two queues of ids, a channel's and that of all, have the oldest in front and grow at the back. What goes otherwise
//! stays in the queue of all until it comes to the front, or until there is too much of that.
//!
//! There is no clock here. A message's age is the distance between its id and the newest id that was seen, so that
//! nothing grows old while nothing happens.

use std::collections::VecDeque;

use trunkline_discord::{Object, created_at_ms};
use trunkline_etf::Value;

use crate::Size;
use crate::cache::{Cache, Found, Map};
use crate::config::CacheConfig;
use crate::edit::{self, Reaction, Step};
use crate::key::{Key, Kind};

/// Messages that one message may drive out because of their age: so much work is one event's at most, and what is too old is not answered
/// in any case.
const AGED_AT_ONCE: usize = 64;

/// Ids of messages that are gone may be as many as those of messages, and so many more, before they are looked for: work is only done in
/// proportion to what came since.
const ORDER_MIN: usize = 1_024;

/// Messages of a shard's channels.
#[derive(Default)]
pub(crate) struct Messages {
    all: Map<u64, Message>,
    /// Ascending, each once: the ids of all messages, and of some that are gone.
    order: VecDeque<u64>,
    channels: Map<u64, Channel>,
    /// Channels with messages, by guild; 0 for those in none.
    guilds: Map<u64, Vec<u64>>,
    bytes: u64,
    newest_ms: u64,
}

/// Changes of a message that wait, at most: with more, one is as long as a few messages, and is made of them then.
const LATER_MAX: usize = 16;
/// And their bytes, unless the message itself has half as many: of a reaction only little is put into the message.
const LATER_BYTES_MAX: u64 = 8 * 1024;

struct Message {
    channel: u64,
    object: Object,
    /// What has changed it since, in that order.
    later: Vec<Later>,
}

/// A change of a message that is kept as it came.
#[derive(Clone)]
pub(crate) enum Later {
    /// A MESSAGE_UPDATE's data.
    Update(Object),
    /// A reaction's data; whether it is the bot's own, and whether it comes or goes.
    Reaction(Object, bool, Step),
}

impl Later {
    fn bytes(&self) -> u64 {
        let (Later::Update(object) | Later::Reaction(object, ..)) = self;
        object.bytes.len() as u64
    }

    /// The message with this change; `None` where it changes nothing.
    fn change(&self, known: Value<'_>) -> Option<Object> {
        match self {
            Later::Update(update) => edit::updated(known, update.value()),
            Later::Reaction(told, own, step) => {
                let [emoji, kind, burst, colors] = told.value().get_all(["emoji", "type", "burst", "burst_colors"]);
                let burst = kind.and_then(Value::as_u64) == Some(1) || burst.and_then(Value::as_bool) == Some(true);
                edit::with_reaction(known, Reaction { emoji: emoji?, burst, own: *own, colors }, *step)
            }
        }
    }
}

impl Message {
    fn bytes(&self) -> u64 {
        self.object.bytes.len() as u64 + self.later.iter().map(Later::bytes).sum::<u64>()
    }

    /// The message as it is by now.
    fn whole(&self) -> Object {
        let mut object = self.object.clone();
        for later in &self.later {
            if let Some(changed) = later.change(object.value()) {
                object = changed;
            }
        }
        object
    }
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
        self.bytes += object.bytes.len() as u64;
        if let Some(told) = self.all.insert(id, Message { channel, object, later: Vec::new() }) {
            self.bytes -= told.bytes();
            self.leave(told.channel, id);
        }
        put_in_order(&mut self.order, id);
        let known = self.channels.entry(channel).or_default();
        if known.ids.is_empty() {
            known.guild = guild;
            self.guilds.entry(guild).or_default().push(channel);
        }
        put_in_order(&mut known.ids, id);
        while known.ids.len() > config.message_count as usize
            && let Some(oldest) = known.ids.pop_front()
        {
            if let Some(gone) = self.all.remove(&oldest) {
                self.bytes -= gone.bytes();
            }
        }
        let mut left = AGED_AT_ONCE;
        for _ in 0..ORDER_MIN {
            match self.order.front() {
                Some(&oldest) if left > 0 && self.aged(config, oldest) => {
                    self.order.pop_front();
                    // Most went before: their channels had newer ones.
                    left -= usize::from(self.remove(oldest));
                }
                _ => break,
            }
        }
        if self.order.len() > 2 * self.all.len() + ORDER_MIN {
            self.order.retain(|id| self.all.contains_key(id));
        }
        self.drop_beyond(config.message_bytes)
    }

    fn drop_beyond(&mut self, bytes_max: u64) -> u64 {
        let mut dropped = 0;
        while self.bytes > bytes_max && self.pop_oldest() {
            dropped += 1;
        }
        dropped
    }

    /// Reads where a message and its channel lie or will lie, and does nothing with it: see [`Cache::glance`].
    #[inline]
    pub(crate) fn glance(&self, channel: u64, id: u64) -> bool {
        self.all.contains_key(&id) | self.channels.get(&channel).is_some_and(|known| known.ids.is_empty())
    }

    /// A message that is not too old, as it is by now.
    pub(crate) fn get(&self, config: &CacheConfig, id: u64) -> Option<Object> {
        self.all.get(&id).filter(|_| !self.aged(config, id)).map(Message::whole)
    }

    /// The same, with all that waits put into it at last.
    pub(crate) fn take_whole(&mut self, config: &CacheConfig, id: u64) -> Option<Object> {
        let whole = self.get(config, id)?;
        if self.all.get(&id).is_some_and(|message| !message.later.is_empty()) {
            self.replace(id, whole.clone());
        }
        Some(whole)
    }

    /// Whether there is this message, and it is not too old.
    pub(crate) fn has(&self, config: &CacheConfig, id: u64) -> bool {
        self.all.contains_key(&id) && !self.aged(config, id)
    }

    /// Puts another form of a known message in its place, and all that has changed it since.
    pub(crate) fn replace(&mut self, id: u64, object: Object) {
        if let Some(message) = self.all.get_mut(&id) {
            self.bytes -= message.bytes();
            self.bytes += object.bytes.len() as u64;
            (message.object, message.later) = (object, Vec::new());
        }
    }

    /// A change of a message that is known; answers how many of all messages were dropped for their bytes.
    pub(crate) fn change(&mut self, config: &CacheConfig, id: u64, later: Later) -> u64 {
        let Some(message) = self.all.get_mut(&id) else { return 0 };
        self.bytes += later.bytes();
        message.later.push(later);
        let waiting: u64 = message.later.iter().map(Later::bytes).sum();
        if message.later.len() > LATER_MAX || waiting > LATER_BYTES_MAX.max(2 * message.object.bytes.len() as u64) {
            let whole = message.whole();
            self.replace(id, whole);
        }
        self.drop_beyond(config.message_bytes)
    }

    /// Takes a message away; whether there was one.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let Some(message) = self.all.remove(&id) else { return false };
        self.bytes -= message.bytes();
        self.leave(message.channel, id);
        true
    }

    /// A message is no more in its channel.
    fn leave(&mut self, channel: u64, id: u64) {
        let Some(known) = self.channels.get_mut(&channel) else { return };
        if known.ids.front() == Some(&id) {
            known.ids.pop_front();
        } else if let Ok(at) = known.ids.binary_search(&id) {
            known.ids.remove(at);
        }
        if known.ids.is_empty() {
            self.forget_channel(channel);
        }
    }

    /// Drops the oldest message of all; whether there was one.
    pub(crate) fn pop_oldest(&mut self) -> bool {
        while let Some(oldest) = self.order.pop_front() {
            if self.remove(oldest) {
                return true;
            }
        }
        false
    }

    pub(crate) fn remove_channel(&mut self, channel: u64) {
        let ids = self.channels.get_mut(&channel).map(|known| std::mem::take(&mut known.ids)).unwrap_or_default();
        for id in ids {
            if let Some(message) = self.all.remove(&id) {
                self.bytes -= message.bytes();
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
    pub(crate) fn of_channel(&self, config: &CacheConfig, channel: u64, before: u64) -> impl Iterator<Item = Object> {
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

    fn rows(&self, config: &CacheConfig) -> impl Iterator<Item = (Key, Object)> {
        self.order.iter().filter(|id| !self.aged(config, **id)).filter_map(|id| {
            let message = self.all.get(id)?;
            let guild = self.channels.get(&message.channel).map_or(0, |channel| channel.guild);
            Some((Key::new(Kind::Message, guild, *id), message.whole()))
        })
    }
}

/// Puts an id into a queue where it belongs, unless it is there: nearly always at the back.
fn put_in_order(ids: &mut VecDeque<u64>, id: u64) {
    if ids.back().is_none_or(|last| *last < id) {
        ids.push_back(id);
    } else if let Err(at) = ids.binary_search(&id) {
        ids.insert(at, id);
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

    fn found_message(&self, object: Object, guild: u64) -> Found {
        Found { object, guild_id: guild, stale: self.doubtful(guild) }
    }

    /// Drops a guild's messages.
    pub(crate) fn forget_messages(&mut self, guild: u64) {
        self.messages.remove_guild(guild);
    }

    /// Every message that is not too old, for a clean stop.
    pub(crate) fn message_rows(&self) -> impl Iterator<Item = (Key, Object)> {
        self.messages.rows(&self.config)
    }

    /// Takes a saved message back; whether it is one.
    pub(crate) fn load_message(&mut self, key: Key, object: Object) -> bool {
        let value = object.value();
        let channel = value.get("channel_id").and_then(Value::as_id);
        let Some(channel) = channel.filter(|_| value.get("id").and_then(Value::as_id) == Some(key.id)) else {
            return false;
        };
        if self.config.keeps(Kind::Message) {
            self.messages.insert(&self.config, key.guild, channel, key.id, object);
        }
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use trunkline_discord::Dice;
    use trunkline_etf::Encoding;

    use super::*;

    fn sum(model: &BTreeMap<u64, (u64, u64, usize)>) -> u64 {
        model.values().map(|(_, _, len)| *len as u64).sum()
    }

    fn json(text: String) -> Object {
        Object { encoding: Encoding::Json, bytes: Bytes::from(text) }
    }

    #[test]
    fn a_message_that_a_thousand_react_to_counts_them_all_and_stays_small() {
        let config = CacheConfig { message_bytes: 20_000, ..CacheConfig::default() };
        let mut messages = Messages::default();
        let id = 9 << 22;
        messages.insert(&config, 1, 2, id, json(r#"{"id":"1","content":"x"}"#.to_owned()));
        for n in 1..=1_000 {
            let told = json(format!(r#"{{"emoji":{{"id":null,"name":"y"}},"user_id":"{n}","member":"{}"}}"#, "m".repeat(500)));
            assert_eq!(messages.change(&config, id, Later::Reaction(told, n == 7, Step::Up)), 0);
            let known = &messages.all[&id];
            assert!(known.later.len() <= LATER_MAX, "{n}");
            assert_eq!(messages.bytes, known.bytes());
        }
        let whole = messages.get(&config, id).unwrap();
        let reaction = whole.value().get("reactions").unwrap().items().next().unwrap();
        assert_eq!(reaction.get("count").and_then(Value::as_i64), Some(1_000));
        assert_eq!(reaction.get("me").and_then(Value::as_bool), Some(true));
        messages.change(&config, id, Later::Update(json(r#"{"content":"y"}"#.to_owned())));
        let whole = messages.take_whole(&config, id).unwrap();
        assert_eq!(whole.value().get("content").and_then(|text| text.as_str().map(String::from)), Some("y".to_owned()));
        assert_eq!((messages.bytes, messages.all[&id].later.len()), (whole.bytes.len() as u64, 0));
        // Of what is large only what the message takes of it stays.
        let long = json(format!(r#"{{"emoji":{{"id":null,"name":"y"}},"user_id":"5","member":"{}"}}"#, "m".repeat(30_000)));
        assert_eq!(messages.change(&config, id, Later::Reaction(long, false, Step::Up)), 0);
        assert!(messages.bytes < 300 && messages.bytes == messages.all[&id].bytes());
        // What changes a message counts for the limit of bytes like a message.
        let long = json(format!(r#"{{"content":"{}"}}"#, "z".repeat(30_000)));
        assert_eq!(messages.change(&config, id, Later::Update(long)), 1);
        assert_eq!((messages.bytes, messages.get(&config, id)), (0, None));
        assert_eq!(messages.change(&config, id, Later::Update(json("{}".to_owned()))), 0, "of a message that is not known");
    }

    #[test]
    fn whatever_the_order_of_ids_what_is_kept_is_the_newest_within_number_age_and_bytes() {
        for seed in 0..20 {
            println!("seed={seed}");
            let mut dice = Dice::new(seed);
            let config = CacheConfig {
                message_count: 1 + dice.below(8) as u32,
                message_age_ms: 50 + dice.below(300),
                message_bytes: 200 + dice.below(3_000),
                ..CacheConfig::default()
            };
            let mut messages = Messages::default();
            // Channel, guild and bytes.
            let mut model: BTreeMap<u64, (u64, u64, usize)> = BTreeMap::new();
            let (mut clock, mut newest) = (1_000, 0);
            for step in 0..1_000 {
                clock += dice.below(3);
                let known = model.keys().nth(dice.below(model.len().max(1) as u64) as usize).copied();
                match dice.below(20) {
                    0 => {
                        let id = known.unwrap_or(7);
                        assert_eq!(messages.remove(id), model.remove(&id).is_some());
                    }
                    1 if dice.below(20) == 0 => {
                        let guild = dice.below(3);
                        messages.remove_guild(guild);
                        model.retain(|_, (_, other, _)| *other != guild);
                    }
                    2 => {
                        let channel = dice.below(9);
                        messages.remove_channel(channel);
                        model.retain(|_, (other, _, _)| *other != channel);
                    }
                    what => {
                        // Some come late, and some twice.
                        let late = if what == 3 { dice.below(200) } else { 0 };
                        let id = known.filter(|_| what == 4).unwrap_or(((clock - late) << 22) + dice.below(4));
                        let (channel, len) = (dice.below(9), dice.below(100) as usize);
                        let guild = channel % 3;
                        let object = Object { encoding: Encoding::Json, bytes: Bytes::from(vec![b'x'; len]) };
                        newest = newest.max(id >> 22);
                        let dropped = messages.insert(&config, guild, channel, id, object);
                        model.insert(id, (channel, guild, len));
                        let here: Vec<u64> = model.iter().filter(|(_, told)| told.0 == channel).map(|(id, _)| *id).collect();
                        for old in here.iter().take(here.len().saturating_sub(config.message_count as usize)) {
                            model.remove(old);
                        }
                        model.retain(|id, _| (id >> 22) + config.message_age_ms >= newest);
                        let before = model.len();
                        while sum(&model) > config.message_bytes {
                            model.pop_first();
                        }
                        assert!(dropped >= (before - model.len()) as u64, "those that give way are counted");
                    }
                }
                let at = format!("seed {seed}, step {step}");
                for (id, (channel, guild, len)) in &model {
                    assert_eq!(messages.get(&config, *id).map(|object| object.bytes.len()), Some(*len), "{at}");
                    assert_eq!(messages.guild_of(*id), Some(*guild), "{at}: channel {channel}");
                }
                let kept: Vec<u64> = messages.rows(&config).map(|(key, _)| key.id).collect();
                assert_eq!(kept, model.keys().copied().collect::<Vec<_>>(), "{at}");
                for channel in 0..9 {
                    let wanted = model.values().filter(|(other, _, _)| *other == channel).count();
                    assert_eq!(messages.of_channel(&config, channel, u64::MAX).count(), wanted, "{at}: channel {channel}");
                }
                assert!(messages.bytes <= config.message_bytes && messages.order.len() <= 2 * messages.all.len() + ORDER_MIN + 1, "{at}");
            }
            while messages.pop_oldest() {}
            assert_eq!((messages.bytes, messages.all.len(), messages.channels.len(), messages.guilds.len()), (0, 0, 0, 0));
        }
    }
}
