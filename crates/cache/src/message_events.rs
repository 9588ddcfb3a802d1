//! What messages, reactions and votes do. Discord docs, Gateway Events: Messages.

use bytes::Bytes;
use smallvec::SmallVec;
use trunkline_discord::message::{MessageChange, Step, with_vote, without_reactions};
use trunkline_discord::{Field, Fields, Object, Routing};
use trunkline_etf::Value;
use trunkline_etf::packed::edit::packed_id;

use crate::Change;
use crate::apply::{id, ids};
use crate::cache::Cache;
use crate::key::{Key, Kind};
use crate::print::Print;

/// The flag of a message that only one user sees. Discord docs, Message: Message Flags.
const EPHEMERAL: u64 = 1 << 6;

/// Bytes of nearly every id, packed: a tag and eight.
const LONG_ID: usize = 9;

/// The type of the message that says that its author has joined. Discord docs, Message: Message Types.
const USER_JOIN: u64 = 7;

impl Cache {
    pub(crate) fn message_create(&mut self, d: Value<'_>, fields: &Fields<'_>, ids: Routing, body: &Bytes) -> Option<Change> {
        let (message_id, channel_id) = (fields.get(Field::Id)?, fields.get(Field::ChannelId)?);
        let (message, channel) = (ids.id?, ids.channel_id?);
        let guild = ids.guild_id.or_else(|| self.guild_of_channel(channel)).unwrap_or(0);
        if guild != 0 && !self.knows(guild) {
            return Some(Change::NONE);
        }
        let author = author(fields, ids);
        let member = fields.get(Field::Member).filter(|_| guild != 0);
        // What was asked for comes while these are made. The bytes are shared before anything is written: that waits until all that was written
        // before is where other processors see it.
        let object = self.config.keeps(Kind::Message).then(|| Object { encoding: d.encoding(), bytes: body.clone() });
        let prints = author.map(|(_, who)| (Print::of(who), member.and_then(Print::of)));
        self.expect_channel(guild, channel);
        if let (Some((user, who)), Some((print, member_print))) = (author, prints) {
            let key = Key::new(Kind::Member, guild, user);
            let again = member.is_some() && self.has_print(key, member_print);
            if let Some(member) = member.filter(|_| !again) {
                self.meet_author(key, d, member);
            }
            self.set_printed_user(user, who, print);
            if !again {
                self.merge_known_member(guild, user, member);
            }
        }
        self.note_mentions(guild, fields);
        // One that a single user sees has no place in its channel, and without a guild it does not say which channel it is in.
        if fields.get(Field::Flags).and_then(Value::as_u64).unwrap_or(0) & EPHEMERAL == 0 {
            match guild {
                0 => self.note_direct_message(channel_id, message_id, d.get("channel_type")),
                _ => self.note_message(guild, channel, message, message_id),
            }
        }
        if let Some(object) = object {
            let dropped = self.messages.insert(&self.config, guild, channel, message, object);
            self.policy.count(Kind::Message, dropped);
        }
        Some(Change::NONE)
    }

    /// Asks for the memory that a message in a channel changes, once the tables are at hand.
    #[inline]
    pub(crate) fn expect_channel(&self, guild: u64, channel: u64) {
        self.messages.ask_for_ends(&self.config, channel);
        if let Some(table) = self.table(Kind::Channel, guild)
            && let Some(place) = table.likely_place(channel)
            && let Some(handle) = table.at(place)
        {
            self.heap.ask_for(handle, 0);
            // The word says one more than where the field lies.
            if let Some(at) = (table.word(place) as usize).checked_sub(1) {
                self.heap.ask_for_bytes(handle, at, LONG_ID);
            }
        }
    }

    /// Discord docs, Gateway Events: Message Update.
    pub(crate) fn message_update(&mut self, d: Value<'_>, fields: &Fields<'_>, ids: Routing, body: &Bytes) -> Option<Change> {
        let (message, channel) = (ids.id?, ids.channel_id?);
        let known = self.messages.previous(&self.config, channel, message);
        let guild = known.as_ref().map(|(_, guild)| *guild).or(ids.guild_id).unwrap_or(0);
        let previous = known.map(|(previous, _)| previous);
        if previous.is_some() {
            self.change_message(channel, message, MessageChange::Update(Object { encoding: d.encoding(), bytes: body.clone() }));
        }
        self.note_people(guild, fields, ids);
        Some(Change::previous(previous.filter(|_| !self.doubtful(guild))))
    }

    /// `last_message_id` stays, and may point at nothing then.
    pub(crate) fn message_delete(&mut self, ids: Routing) -> Option<Change> {
        let (message, channel) = (ids.id?, ids.channel_id?);
        let known = self.messages.take(&self.config, channel, message);
        let previous = known.filter(|(_, guild)| !self.doubtful(*guild)).map(|(previous, _)| previous);
        self.count_deleted(ids.guild_id, channel, [message]);
        Some(Change::previous(previous))
    }

    pub(crate) fn messages_delete(&mut self, d: Value<'_>) -> Option<Change> {
        let channel = id(d, "channel_id")?;
        let gone = ids(d.get("ids")?);
        self.messages.remove_all(channel, &gone);
        self.count_deleted(id(d, "guild_id"), channel, gone);
        Some(Change::NONE)
    }

    pub(crate) fn reaction(&mut self, d: Value<'_>, fields: &Fields<'_>, ids: Routing, body: &Bytes, step: Step) -> Option<Change> {
        let (message, user, _) = (fields.id(Field::MessageId)?, ids.user_id?, fields.get(Field::Emoji)?);
        let channel = self.channel_of_message(ids.channel_id, message);
        if self.messages.has(&self.config, channel, message) {
            let own = self.own_user_id() == Some(user);
            let told = Object { encoding: d.encoding(), bytes: body.clone() };
            self.change_message(channel, message, MessageChange::Reaction(told, own, step));
        }
        if let (Some(guild), Some(member)) = (ids.guild_id, fields.get(Field::Member)) {
            self.refresh_member(guild, user, member, true);
        }
        Some(Change::NONE)
    }

    /// Every event of a message names its channel (Discord docs, Gateway Events: Messages); one that does not is bad input, and is understood.
    fn channel_of_message(&self, channel: Option<u64>, message: u64) -> u64 {
        channel.or_else(|| self.messages.channel_of(message)).unwrap_or(0)
    }

    /// All reactions of a message, or all of one emoji.
    pub(crate) fn reactions_clear(&mut self, d: Value<'_>, emoji: Option<Value<'_>>) -> Option<Change> {
        let message = id(d, "message_id")?;
        self.rewrite_message(id(d, "channel_id"), message, |known| without_reactions(known, emoji));
        Some(Change::NONE)
    }

    pub(crate) fn vote(&mut self, d: Value<'_>, step: Step) -> Option<Change> {
        let (message, user, answer) = (id(d, "message_id")?, id(d, "user_id")?, d.get("answer_id")?.as_i64()?);
        let own = self.own_user_id() == Some(user);
        self.rewrite_message(id(d, "channel_id"), message, |known| with_vote(known, answer, own, step));
        Some(Change::NONE)
    }

    fn change_message(&mut self, channel: u64, message: u64, change: MessageChange) {
        let dropped = self.messages.change(&self.config, channel, message, change);
        self.policy.count(Kind::Message, dropped);
    }

    fn rewrite_message(&mut self, channel: Option<u64>, message: u64, write: impl FnOnce(Value<'_>) -> Option<Object>) {
        let channel = self.channel_of_message(channel, message);
        if let Some(object) = self.messages.get(&self.config, channel, message).and_then(|(known, _)| write(known.value())) {
            self.messages.replace(channel, message, object);
        }
    }

    /// A channel's newest message; a thread counts its messages too. Discord docs, Channel: `message_count` leaves out the message that a
    /// thread began with. A message that came before is not counted again.
    fn note_message(&mut self, guild: u64, channel: u64, message: u64, message_id: Value<'_>) {
        if self.note_channel_message(guild, channel, message, message_id) {
            return;
        }
        let key = Key::new(Kind::Thread, guild, channel);
        let Some(known) = self.get(key) else { return };
        if id(known, "last_message_id").is_some_and(|last| last >= message) {
            return;
        }
        if message == channel {
            self.edit(key, &[], &[("last_message_id", message_id)]);
            return;
        }
        let [count, sent] = known.get_all(["message_count", "total_message_sent"]);
        let more = |count: Option<Value<'_>>| count.and_then(Value::as_i64).map(|count| count.saturating_add(1).to_string());
        let (count, sent) = (more(count), more(sent));
        let mut set = SmallVec::<[_; 3]>::from_slice(&[("last_message_id", message_id)]);
        set.extend(count.as_deref().map(|count| ("message_count", json(count))));
        set.extend(sent.as_deref().map(|sent| ("total_message_sent", json(sent))));
        self.edit(key, &[], &set);
    }

    /// The same for what is a channel; whether it is one. Where the field lies is remembered in the table: most messages need not look for it
    /// in the object.
    fn note_channel_message(&mut self, guild: u64, channel: u64, message: u64, message_id: Value<'_>) -> bool {
        let Some(table) = self.guilds.get_mut(guild).and_then(|guild| guild.tables.get_mut(Kind::Channel)) else { return false };
        let Some(place) = table.place(&self.heap, channel) else { return false };
        let Some(handle) = table.at(place) else { return false };
        let key = Key::new(Kind::Channel, guild, channel);
        let word = table.word(place);
        let id = packed_id(message_id, message).filter(|(_, len)| *len == LONG_ID).map(|(id, _)| id);
        if let (Some(at), Some(id)) = ((word as u32).checked_sub(1), id)
            && let Some([tag, last @ ..]) = self.heap.bytes(handle).get(at as usize..).and_then(<[u8]>::first_chunk::<LONG_ID>)
            && *tag == id[0]
        {
            if u64::from_le_bytes(*last) < message {
                self.heap.patch(handle, at as usize, &id);
                self.note(key, Some(handle));
            }
            return true;
        }
        let last = self.heap.value(handle).get("last_message_id");
        if last.and_then(Value::as_id).is_some_and(|last| last >= message) {
            return true;
        }
        let field = last.and_then(|last| self.place(handle, last));
        match (field, id) {
            // Where it lies the next message finds it at once.
            (Some((at, LONG_ID)), Some(id)) => {
                self.heap.patch(handle, at, &id);
                self.note(key, Some(handle));
                if let Ok(at) = u32::try_from(at + 1)
                    && let Some(table) = self.guilds.get_mut(guild).and_then(|guild| guild.tables.get_mut(Kind::Channel))
                {
                    table.set_word(place, u64::from(at));
                }
            }
            _ => drop(self.set_field(key, handle, field, ("last_message_id", message_id))),
        }
        true
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
    fn note_people(&mut self, guild: u64, fields: &Fields<'_>, ids: Routing) {
        if let Some((user, author)) = author(fields, ids) {
            self.set_user(user, author);
            self.merge_known_member(guild, user, fields.get(Field::Member));
        }
        self.note_mentions(guild, fields);
    }

    fn note_mentions(&mut self, guild: u64, fields: &Fields<'_>) {
        // An empty list, as most messages have, is one byte.
        let Some(mentions) = fields.get(Field::Mentions).filter(|mentions| mentions.raw().len() > 1) else { return };
        mentions.each_get_all(["id", "member"], |[user, member]| {
            if let Some(user) = user.and_then(Value::as_id) {
                self.merge_known_member(guild, user, member);
            }
        });
    }

    /// Who writes is a member: one of whom nobody has told before is known from then on, if all of a member is told. Without the members
    /// intent there is no other way to learn of most. Those who are only mentioned, or whose message is changed, may have left since.
    /// Who has just joined is left to GUILD_MEMBER_ADD, which counts members: it would not if the message came first.
    fn meet_author(&mut self, key: Key, d: Value<'_>, member: Value<'_>) {
        if !self.has(key)
            && member.get("joined_at").is_some_and(|at| !at.is_null())
            && d.get("type").and_then(Value::as_u64) != Some(USER_JOIN)
        {
            self.set_without(key, member, &["user"]);
        }
    }

    /// What a message says of a member adds to what is known. One who is not known stays so: the member may have left since. The user is told
    /// beside the member and never in it.
    fn merge_known_member(&mut self, guild: u64, user: u64, member: Option<Value<'_>>) {
        let Some(member) = member.filter(|_| guild != 0) else { return };
        let key = Key::new(Kind::Member, guild, user);
        if self.merge_bare_member(key, member) {
            return;
        }
        match member.get("user") {
            None => self.merge_told_member(key, member),
            Some(who) if id(who, "id").is_none_or(|other| other == user) => drop(self.merge(key, member, &["user"])),
            Some(_) => {}
        }
    }

    fn count_deleted(&mut self, guild: Option<u64>, channel: u64, gone: impl IntoIterator<Item = u64>) {
        let Some(guild) = guild.or_else(|| self.guild_of_channel(channel)) else { return };
        let key = Key::new(Kind::Thread, guild, channel);
        let Some(count) = self.get(key).and_then(|known| known.get("message_count")).and_then(Value::as_i64) else { return };
        let gone = gone.into_iter().filter(|message| *message != channel).count() as i64;
        let count = count.saturating_sub(gone).max(0).to_string();
        self.edit(key, &[], &[("message_count", json(&count))]);
    }
}

/// A message's author with its id, unless it is a webhook.
fn author<'a>(fields: &Fields<'a>, ids: Routing) -> Option<(u64, Value<'a>)> {
    let author = fields.get(Field::Author).filter(|_| fields.get(Field::WebhookId).is_none_or(Value::is_null))?;
    // The user of a message is its author, where no `user_id` says otherwise.
    let user = if fields.get(Field::UserId).is_none() { ids.user_id } else { id(author, "id") };
    Some((user?, author))
}

/// A term written here.
pub(crate) fn json(text: &str) -> Value<'_> {
    Value::from_raw(trunkline_etf::Encoding::Json, text.as_bytes())
}
