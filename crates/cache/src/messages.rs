//! Recent messages: a bounded part of each channel's end.
//!
//! A message is kept as the event's own bytes, which the event's log shares: most messages are gone again before anybody
//! asks for them, and packing each would cost more than it saves. For the same reason what changes a message (an edit, a reaction) is kept
//! beside it as it came, and put into it when somebody asks, or when there is too much of it.
//!
//! Ids are dates, and messages come nearly in their order: each channel has its messages in a queue, the oldest in front, and there is a queue
//! of the ids of all; both grow at the back. A message is found in its channel, which all events name, from the back; without its channel, by the
//! queue of all. What goes otherwise stays in that queue until it comes to the front, or until there is too much of that. A table of all
//! messages by id was here before: it cost most messages two places in memory that nothing else needs.
//!
//! There is no clock here. A message's age is the distance between its id and the newest id that was seen, so that
//! nothing grows old while nothing happens.

use std::collections::VecDeque;
use std::sync::Arc;

use trunkline_discord::message::{Changes, MessageChange};
use trunkline_discord::{Object, Previous, created_at_ms};
use trunkline_etf::Value;

use crate::Size;
use crate::ahead::ask_for;
use crate::cache::{Cache, Found, Map};
use crate::config::CacheConfig;
use crate::id_map::IdMap;
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
    channels: IdMap<Channel>,
    /// Ascending, each once: the ids of all messages with their channels, and of some that are gone.
    order: VecDeque<(u64, u64)>,
    /// Channels with messages, by guild; 0 for those in none.
    guilds: Map<u64, Vec<u64>>,
    count: usize,
    bytes: u64,
    newest_ms: u64,
}

/// Changes of a message that wait, at most: with more, one is as long as a few messages, and is made of them then.
const CHANGES_MAX: usize = 16;
/// And their bytes, unless the message itself has half as many: of a reaction only little is put into the message.
const CHANGES_BYTES_MAX: u64 = 8 * 1024;

struct Message {
    id: u64,
    object: Object,
    /// What has changed it since.
    changes: Option<Arc<Changes>>,
}

impl Message {
    fn bytes(&self) -> u64 {
        self.object.bytes.len() as u64 + self.changes.as_ref().map_or(0, |changes| changes.bytes())
    }

    /// The message as it is by now.
    fn whole(&self) -> Object {
        match &self.changes {
            None => self.object.clone(),
            Some(changes) => changes.applied(&self.object),
        }
    }

    /// The same, to be written when somebody wants it.
    fn previous(&self) -> Previous {
        match &self.changes {
            None => self.object.clone().into(),
            Some(changes) => Previous::changed(self.object.clone(), changes.clone()),
        }
    }
}

#[derive(Default)]
struct Channel {
    guild: u64,
    /// Ascending by id.
    messages: VecDeque<Message>,
}

impl Channel {
    fn place(&self, id: u64) -> Option<usize> {
        match self.messages.back() {
            Some(last) if last.id == id => Some(self.messages.len() - 1),
            _ => self.messages.binary_search_by_key(&id, |message| message.id).ok(),
        }
    }
}

impl Messages {
    /// Keeps a message, and drops what is beyond the limits then; answers how many of all messages were dropped for their bytes.
    pub(crate) fn insert(&mut self, config: &CacheConfig, guild: u64, channel: u64, id: u64, object: Object) -> u64 {
        if config.message_count == 0 {
            return 0;
        }
        self.newest_ms = self.newest_ms.max(created_at_ms(id));
        self.put_in_order(channel, id);
        let known = self.channels.get_or_insert_with(channel, Channel::default);
        if known.messages.is_empty() {
            known.guild = guild;
            self.guilds.entry(guild).or_default().push(channel);
        }
        self.bytes += object.bytes.len() as u64;
        self.count += 1;
        let message = Message { id, object, changes: None };
        if known.messages.back().is_none_or(|last| last.id < id) {
            known.messages.push_back(message);
        } else {
            match known.messages.binary_search_by_key(&id, |message| message.id) {
                Err(at) => known.messages.insert(at, message),
                Ok(at) => {
                    self.bytes -= known.messages[at].bytes();
                    self.count -= 1;
                    known.messages[at] = message;
                }
            }
        }
        while known.messages.len() > config.message_count as usize
            && let Some(oldest) = known.messages.pop_front()
        {
            self.bytes -= oldest.bytes();
            self.count -= 1;
        }
        let mut left = AGED_AT_ONCE;
        for _ in 0..ORDER_MIN {
            match self.order.front() {
                Some(&(oldest, channel)) if left > 0 && self.aged(config, oldest) => {
                    self.order.pop_front();
                    // Most went before: their channels had newer ones.
                    left -= usize::from(self.remove(channel, oldest).is_some());
                    self.expect_oldest();
                }
                _ => break,
            }
        }
        if self.order.len() > 2 * self.count + ORDER_MIN {
            let channels = &self.channels;
            self.order.retain(|(id, channel)| channels.get(*channel).is_some_and(|known| known.place(*id).is_some()));
        }
        self.drop_beyond(config.message_bytes)
    }

    /// Asks for the memory of those that grow too old next: it was last looked at when they came.
    fn expect_oldest(&self) {
        if let Some(known) = self.order.front().and_then(|(_, channel)| self.channels.get(*channel)) {
            known.messages.front().into_iter().for_each(ask_for);
        }
        if let Some((_, channel)) = self.order.get(1) {
            self.channels.ask_for(*channel);
        }
    }

    /// Puts an id into the queue of all where it belongs: nearly always at the back. A message that was in another channel is there no more.
    fn put_in_order(&mut self, channel: u64, id: u64) {
        if self.order.back().is_none_or(|(last, _)| *last < id) {
            self.order.push_back((id, channel));
            return;
        }
        match self.order.binary_search_by_key(&id, |(id, _)| *id) {
            Err(at) => self.order.insert(at, (id, channel)),
            Ok(at) => {
                let before = std::mem::replace(&mut self.order[at].1, channel);
                if before != channel {
                    self.remove(before, id);
                }
            }
        }
    }

    fn drop_beyond(&mut self, bytes_max: u64) -> u64 {
        let mut dropped = 0;
        while self.bytes > bytes_max && self.pop_oldest() {
            dropped += 1;
        }
        dropped
    }

    /// Asks for the memory in which a channel's queue is named.
    #[inline]
    pub(crate) fn ask_for(&self, channel: u64) {
        self.channels.ask_for(channel);
    }

    /// Asks for the end of a channel's queue, behind which the next message will lie, and for its front where that will go.
    #[inline]
    pub(crate) fn ask_for_ends(&self, config: &CacheConfig, channel: u64) {
        let Some(known) = self.channels.get(channel) else { return };
        if let Some(last) = known.messages.back() {
            ask_for(last);
            ask_for(&last.changes);
        }
        if known.messages.len() >= config.message_count as usize {
            known.messages.front().into_iter().for_each(ask_for);
        }
    }

    fn find(&self, config: &CacheConfig, channel: u64, id: u64) -> Option<(&Channel, &Message)> {
        let known = self.channels.get(channel)?;
        let message = known.messages.get(known.place(id)?)?;
        (!self.aged(config, id)).then_some((known, message))
    }

    fn find_mut(&mut self, channel: u64, id: u64) -> Option<&mut Message> {
        let known = self.channels.get_mut(channel)?;
        let at = known.place(id)?;
        known.messages.get_mut(at)
    }

    /// The channel of a message, if it is known.
    pub(crate) fn channel_of(&self, id: u64) -> Option<u64> {
        let at = self.order.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.order.get(at)?.1)
    }

    /// A message that is not too old, as it is by now, and its guild.
    pub(crate) fn get(&self, config: &CacheConfig, channel: u64, id: u64) -> Option<(Object, u64)> {
        self.find(config, channel, id).map(|(known, message)| (message.whole(), known.guild))
    }

    /// The same, to be written when somebody wants it.
    pub(crate) fn previous(&self, config: &CacheConfig, channel: u64, id: u64) -> Option<(Previous, u64)> {
        self.find(config, channel, id).map(|(known, message)| (message.previous(), known.guild))
    }

    /// Whether there is this message, and it is not too old.
    pub(crate) fn has(&self, config: &CacheConfig, channel: u64, id: u64) -> bool {
        self.find(config, channel, id).is_some()
    }

    /// Puts another form of a known message in its place, and all that has changed it since.
    pub(crate) fn replace(&mut self, channel: u64, id: u64, object: Object) {
        if let Some(message) = self.find_mut(channel, id) {
            let before = message.bytes();
            (message.object, message.changes) = (object, None);
            let now = message.bytes();
            self.bytes = self.bytes - before + now;
        }
    }

    /// A change of a message that is known; answers how many of all messages were dropped for their bytes.
    pub(crate) fn change(&mut self, config: &CacheConfig, channel: u64, id: u64, change: MessageChange) -> u64 {
        let Some(message) = self.find_mut(channel, id) else { return 0 };
        let before = message.bytes();
        let changes = Changes::and(message.changes.take(), change);
        if changes.count() > CHANGES_MAX || changes.bytes() > CHANGES_BYTES_MAX.max(2 * message.object.bytes.len() as u64) {
            message.object = changes.applied(&message.object);
        } else {
            message.changes = Some(changes);
        }
        let now = message.bytes();
        self.bytes = self.bytes - before + now;
        self.drop_beyond(config.message_bytes)
    }

    /// Takes a message away.
    fn remove(&mut self, channel: u64, id: u64) -> Option<Message> {
        let known = self.channels.get_mut(channel)?;
        let gone = match known.messages.front() {
            Some(first) if first.id == id => known.messages.pop_front(),
            _ => known.place(id).and_then(|at| known.messages.remove(at)),
        }?;
        self.bytes -= gone.bytes();
        self.count -= 1;
        if known.messages.is_empty() {
            self.forget_channel(channel);
        }
        Some(gone)
    }

    /// Takes a message away; answers what it was and its guild, unless it is too old.
    pub(crate) fn take(&mut self, config: &CacheConfig, channel: u64, id: u64) -> Option<(Previous, u64)> {
        let guild = self.channels.get(channel)?.guild;
        let gone = self.remove(channel, id)?;
        if self.aged(config, id) {
            return None;
        }
        let Message { object, changes, .. } = gone;
        Some((changes.map_or_else(|| object.clone().into(), |changes| Previous::changed(object.clone(), changes)), guild))
    }

    /// Takes several away. In one go where they are many: each alone would move those behind it.
    pub(crate) fn remove_all(&mut self, channel: u64, ids: &[u64]) {
        const ALONE_MAX: usize = 4;
        if ids.len() <= ALONE_MAX {
            ids.iter().for_each(|id| drop(self.remove(channel, *id)));
            return;
        }
        let Some(known) = self.channels.get_mut(channel) else { return };
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        known.messages.retain(|message| {
            let gone = sorted.binary_search(&message.id).is_ok();
            if gone {
                self.bytes -= message.bytes();
                self.count -= 1;
            }
            !gone
        });
        if known.messages.is_empty() {
            self.forget_channel(channel);
        }
    }

    /// Drops the oldest message of all; whether there was one.
    pub(crate) fn pop_oldest(&mut self) -> bool {
        while let Some((oldest, channel)) = self.order.pop_front() {
            if self.remove(channel, oldest).is_some() {
                return true;
            }
        }
        false
    }

    pub(crate) fn remove_channel(&mut self, channel: u64) {
        let gone = self.channels.get_mut(channel).map(|known| std::mem::take(&mut known.messages)).unwrap_or_default();
        self.bytes -= gone.iter().map(Message::bytes).sum::<u64>();
        self.count -= gone.len();
        self.forget_channel(channel);
    }

    pub(crate) fn remove_guild(&mut self, guild: u64) {
        while let Some(channel) = self.guilds.get(&guild).and_then(|channels| channels.last().copied()) {
            self.remove_channel(channel);
        }
    }

    /// A channel's messages that are not too old and older than `before`, the newest in front.
    pub(crate) fn of_channel(&self, config: &CacheConfig, channel: u64, before: u64) -> impl Iterator<Item = Object> {
        let messages = self.channels.get(channel).into_iter().flat_map(|known| known.messages.iter().rev());
        messages.filter(move |message| message.id < before && !self.aged(config, message.id)).map(Message::whole)
    }

    pub(crate) fn size(&self) -> Size {
        Size { count: self.count as u64, bytes: self.bytes }
    }

    /// Bytes of what messages are found by; the queues of the channels are not counted.
    pub(crate) fn index_bytes(&self) -> u64 {
        self.channels.bytes() + (self.order.capacity() * size_of::<(u64, u64)>()) as u64
    }

    fn aged(&self, config: &CacheConfig, id: u64) -> bool {
        created_at_ms(id).saturating_add(config.message_age_ms) < self.newest_ms
    }

    fn forget_channel(&mut self, channel: u64) {
        let Some(known) = self.channels.remove(channel) else { return };
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
        self.order.iter().filter_map(|(id, channel)| {
            let (known, message) = self.find(config, *channel, *id)?;
            Some((Key::new(Kind::Message, known.guild, *id), message.whole()))
        })
    }
}

impl Cache {
    /// A recent message.
    pub fn message(&self, message: u64) -> Option<Found> {
        let (object, guild) = self.messages.get(&self.config, self.messages.channel_of(message)?, message)?;
        Some(self.found_message(object, guild))
    }

    /// Recent messages of a channel that are older than `before`, the newest in front.
    pub fn messages(&self, channel: u64, before: u64, limit: usize) -> Vec<Found> {
        let guild = self.messages.channels.get(channel).map_or(0, |known| known.guild);
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
    use trunkline_discord::message::Step;
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
            assert_eq!(messages.change(&config, 2, id, MessageChange::Reaction(told, n == 7, Step::Up)), 0);
            let known = &messages.channels.get(2).unwrap().messages[0];
            assert!(known.changes.as_ref().is_none_or(|changes| changes.count() <= CHANGES_MAX), "{n}");
            assert_eq!(messages.bytes, known.bytes());
        }
        let whole = messages.get(&config, 2, id).unwrap().0;
        let reaction = whole.value().get("reactions").unwrap().items().next().unwrap();
        assert_eq!(reaction.get("count").and_then(Value::as_i64), Some(1_000));
        assert_eq!(reaction.get("me").and_then(Value::as_bool), Some(true));
        messages.change(&config, 2, id, MessageChange::Update(json(r#"{"content":"y"}"#.to_owned())));
        let whole = messages.get(&config, 2, id).unwrap().0;
        assert_eq!(whole.value().get("content").and_then(|text| text.as_str().map(String::from)), Some("y".to_owned()));
        messages.replace(2, id, whole.clone());
        assert_eq!((messages.bytes, messages.channels.get(2).unwrap().messages[0].changes.is_some()), (whole.bytes.len() as u64, false));
        // Of what is large only what the message takes of it stays.
        let long = json(format!(r#"{{"emoji":{{"id":null,"name":"y"}},"user_id":"5","member":"{}"}}"#, "m".repeat(30_000)));
        assert_eq!(messages.change(&config, 2, id, MessageChange::Reaction(long, false, Step::Up)), 0);
        assert!(messages.bytes < 300 && messages.bytes == messages.channels.get(2).unwrap().messages[0].bytes());
        // What changes a message counts for the limit of bytes like a message.
        let long = json(format!(r#"{{"content":"{}"}}"#, "z".repeat(30_000)));
        assert_eq!(messages.change(&config, 2, id, MessageChange::Update(long)), 1);
        assert_eq!((messages.bytes, messages.get(&config, 2, id)), (0, None));
        assert_eq!(messages.change(&config, 2, id, MessageChange::Update(json("{}".to_owned()))), 0, "of a message that is not known");
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
                        let channel = messages.channel_of(id).unwrap_or(3);
                        assert_eq!(messages.remove(channel, id).is_some(), model.remove(&id).is_some());
                    }
                    1 if dice.below(20) == 0 => {
                        let guild = dice.below(3);
                        messages.remove_guild(guild);
                        model.retain(|_, (_, other, _)| *other != guild);
                    }
                    2 if dice.below(2) == 0 => {
                        // Of one channel, each second one and some that are in others.
                        let channel = dice.below(9);
                        let ids: Vec<u64> = model.keys().copied().step_by(2).take(dice.below(30) as usize).collect();
                        messages.remove_all(channel, &ids);
                        model.retain(|id, (other, _, _)| *other != channel || !ids.contains(id));
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
                    assert_eq!(messages.channel_of(*id), Some(*channel), "{at}");
                    let found = messages.get(&config, *channel, *id).map(|(object, guild)| (object.bytes.len(), guild));
                    assert_eq!(found, Some((*len, *guild)), "{at}: channel {channel}");
                }
                let kept: Vec<u64> = messages.rows(&config).map(|(key, _)| key.id).collect();
                assert_eq!(kept, model.keys().copied().collect::<Vec<_>>(), "{at}");
                for channel in 0..9 {
                    let wanted = model.values().filter(|(other, _, _)| *other == channel).count();
                    assert_eq!(messages.of_channel(&config, channel, u64::MAX).count(), wanted, "{at}: channel {channel}");
                }
                assert!(messages.bytes <= config.message_bytes && messages.order.len() <= 2 * messages.count + ORDER_MIN + 1, "{at}");
            }
            while messages.pop_oldest() {}
            assert_eq!((messages.bytes, messages.count, messages.channels.len(), messages.guilds.len()), (0, 0, 0, 0));
        }
    }
}
