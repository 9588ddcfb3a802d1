//! What messages, reactions and votes do. Discord docs, Gateway Events: Messages.

use bytes::Bytes;
use smallvec::SmallVec;
use trunkline_discord::Object;
use trunkline_etf::Value;

use crate::Change;
use crate::apply::{id, ids, user_id};
use crate::cache::Cache;
use crate::edit::{self, Reaction, Step};
use crate::key::{Key, Kind};

/// The flag of a message that only one user sees. Discord docs, Message: Message Flags.
const EPHEMERAL: u64 = 1 << 6;

/// Who is in a message.
struct People<'a> {
    author: Option<Value<'a>>,
    webhook: Option<Value<'a>>,
    member: Option<Value<'a>>,
    mentions: Option<Value<'a>>,
}

impl Cache {
    pub(crate) fn message_create(&mut self, d: Value<'_>, body: &Bytes) -> Option<Change> {
        let [message, channel, guild, flags, kind, author, webhook, member, mentions] =
            d.get_all(["id", "channel_id", "guild_id", "flags", "channel_type", "author", "webhook_id", "member", "mentions"]);
        let (message_id, channel_id) = (message?, channel?);
        let (message, channel) = (message_id.as_id()?, channel_id.as_id()?);
        let guild = guild.and_then(Value::as_id).or_else(|| self.guild_of_channel(channel)).unwrap_or(0);
        if guild != 0 && !self.knows(guild) {
            return Some(Change::NONE);
        }
        if self.config.keeps(Kind::Message) {
            let object = Object { encoding: d.encoding(), bytes: body.clone() };
            let dropped = self.messages.insert(&self.config, guild, channel, message, object);
            self.policy.count(Kind::Message, dropped);
        }
        // One that a single user sees has no place in its channel, and without a guild it does not say which channel it is in.
        if flags.and_then(Value::as_u64).unwrap_or(0) & EPHEMERAL == 0 {
            match guild {
                0 => self.note_direct_message(channel_id, message_id, kind),
                _ => self.note_message(guild, channel, message_id),
            }
        }
        self.note_people(guild, People { author, webhook, member, mentions });
        Some(Change::NONE)
    }

    /// Discord docs, Gateway Events: Message Update.
    pub(crate) fn message_update(&mut self, d: Value<'_>) -> Option<Change> {
        let [message, channel, author, webhook, member, mentions] =
            d.get_all(["id", "channel_id", "author", "webhook_id", "member", "mentions"]);
        let (message, _) = (message?.as_id()?, channel?.as_id()?);
        let previous = self.messages.get(&self.config, message).cloned();
        let guild = self.messages.guild_of(message).or_else(|| id(d, "guild_id")).unwrap_or(0);
        if let Some(object) = previous.as_ref().and_then(|known| edit::updated(known.value(), d)) {
            self.messages.replace(message, object);
        }
        self.note_people(guild, People { author, webhook, member, mentions });
        Some(Change::previous(previous.filter(|_| !self.doubtful(guild))))
    }

    /// `last_message_id` stays, and may point at nothing then.
    pub(crate) fn message_delete(&mut self, d: Value<'_>) -> Option<Change> {
        let (message, channel) = (id(d, "id")?, id(d, "channel_id")?);
        let previous = self.message(message).filter(|found| !found.stale).map(|found| found.object);
        self.messages.remove(message);
        self.count_deleted(d, channel, [message]);
        Some(Change::previous(previous))
    }

    pub(crate) fn messages_delete(&mut self, d: Value<'_>) -> Option<Change> {
        let channel = id(d, "channel_id")?;
        let gone = ids(d.get("ids")?);
        for message in &gone {
            self.messages.remove(*message);
        }
        self.count_deleted(d, channel, gone);
        Some(Change::NONE)
    }

    pub(crate) fn reaction(&mut self, d: Value<'_>, step: Step) -> Option<Change> {
        let [message, user, emoji, kind, burst, colors, guild, member] =
            d.get_all(["message_id", "user_id", "emoji", "type", "burst", "burst_colors", "guild_id", "member"]);
        let (message, user, emoji) = (message?.as_id()?, user?.as_id()?, emoji?);
        let burst = kind.and_then(Value::as_u64) == Some(1) || burst.and_then(Value::as_bool) == Some(true);
        let reaction = Reaction { emoji, burst, own: self.own_user_id() == Some(user), colors };
        self.rewrite_message(message, |known| edit::with_reaction(known, reaction, step));
        if let (Some(guild), Some(member)) = (guild.and_then(Value::as_id), member) {
            self.refresh_member(guild, user, member);
        }
        Some(Change::NONE)
    }

    /// All reactions of a message, or all of one emoji.
    pub(crate) fn reactions_clear(&mut self, d: Value<'_>, emoji: Option<Value<'_>>) -> Option<Change> {
        self.rewrite_message(id(d, "message_id")?, |known| edit::without_reactions(known, emoji));
        Some(Change::NONE)
    }

    pub(crate) fn vote(&mut self, d: Value<'_>, step: Step) -> Option<Change> {
        let (message, user, answer) = (id(d, "message_id")?, id(d, "user_id")?, d.get("answer_id")?.as_i64()?);
        let own = self.own_user_id() == Some(user);
        self.rewrite_message(message, |known| edit::with_vote(known, answer, own, step));
        Some(Change::NONE)
    }

    fn rewrite_message(&mut self, message: u64, write: impl FnOnce(Value<'_>) -> Option<Object>) {
        if let Some(object) = self.messages.get(&self.config, message).and_then(|known| write(known.value())) {
            self.messages.replace(message, object);
        }
    }

    /// A channel's newest message; a thread counts its messages too. Discord docs, Channel: `message_count` leaves out the message that a
    /// thread began with. A message that came before is not counted again.
    fn note_message(&mut self, guild: u64, channel: u64, message_id: Value<'_>) {
        let Some(message) = message_id.as_id() else { return };
        let key = Key::new(Kind::Channel, guild, channel);
        let key = if self.has(key) { key } else { Key::new(Kind::Thread, guild, channel) };
        let Some(known) = self.get(key) else { return };
        let [last, count, sent] = known.get_all(["last_message_id", "message_count", "total_message_sent"]);
        if last.and_then(Value::as_id).is_some_and(|last| last >= message) {
            return;
        }
        let more = |count: Option<Value<'_>>| count.and_then(Value::as_i64).map(|count| count.saturating_add(1).to_string());
        let (count, sent) = if key.kind == Kind::Thread && message != channel { (more(count), more(sent)) } else { (None, None) };
        let mut set = SmallVec::<[_; 3]>::from_slice(&[("last_message_id", message_id)]);
        set.extend(count.as_deref().map(|count| ("message_count", json(count))));
        set.extend(sent.as_deref().map(|sent| ("total_message_sent", json(sent))));
        self.edit(key, &[], &set);
    }

    /// Bots are told of no channel outside a guild: what a message says of it is all there is.
    fn note_direct_message(&mut self, channel_id: Value<'_>, message_id: Value<'_>, kind: Option<Value<'_>>) {
        let (Some(channel), Some(message)) = (channel_id.as_id(), message_id.as_id()) else { return };
        let key = Key::new(Kind::DirectChannel, 0, channel);
        let last = ("last_message_id", message_id);
        match self.get(key).map(|known| id(known, "last_message_id")) {
            Some(known) if known.is_some_and(|known| known >= message) => {}
            Some(_) => drop(self.edit(key, &[], &[last])),
            None => {
                self.set_bounded(key, json("{}"));
                let set: Vec<_> = [Some(("id", channel_id)), kind.map(|kind| ("type", kind)), Some(last)].into_iter().flatten().collect();
                self.edit(key, &[], &set);
            }
        }
    }

    /// The author is a whole user, except a webhook's; a message's members lack their user. Discord docs, Gateway Events: Message Create.
    fn note_people(&mut self, guild: u64, people: People<'_>) {
        let People { author, webhook, member, mentions } = people;
        if let Some(author) = author.filter(|_| webhook.is_none_or(Value::is_null))
            && let Some(user) = id(author, "id")
        {
            self.learn_user(author);
            self.merge_known_member(guild, user, member);
        }
        for mention in mentions.into_iter().flat_map(Value::items) {
            let [user, member] = mention.get_all(["id", "member"]);
            if let Some(user) = user.and_then(Value::as_id) {
                self.merge_known_member(guild, user, member);
            }
        }
    }

    /// What a message says of a member adds to what is known. One who is not known stays so: the member may have left since. The user is told
    /// beside the member and never in it.
    fn merge_known_member(&mut self, guild: u64, user: u64, member: Option<Value<'_>>) {
        let key = Key::new(Kind::Member, guild, user);
        if let Some(member) = member.filter(|member| user_id(*member).is_none_or(|other| other == user))
            && guild != 0
            && self.has(key)
        {
            self.merge(key, member, &["user"]);
        }
    }

    fn count_deleted(&mut self, d: Value<'_>, channel: u64, gone: impl IntoIterator<Item = u64>) {
        let Some(guild) = id(d, "guild_id").or_else(|| self.guild_of_channel(channel)) else { return };
        let key = Key::new(Kind::Thread, guild, channel);
        let Some(count) = self.get(key).and_then(|known| known.get("message_count")).and_then(Value::as_i64) else { return };
        let gone = gone.into_iter().filter(|message| *message != channel).count() as i64;
        let count = count.saturating_sub(gone).max(0).to_string();
        self.edit(key, &[], &[("message_count", json(&count))]);
    }
}

/// A term written here.
pub(crate) fn json(text: &str) -> Value<'_> {
    Value::from_raw(trunkline_etf::Encoding::Json, text.as_bytes())
}
