//! The same rules for messages, reactions and votes.

use serde_json::{Value as Json, json};
use trunkline_cache::Kind;
use trunkline_discord::EventKind as K;

use crate::rules::{Guild, MESSAGE_AGE_MS, MESSAGE_COUNT, Message, Model, list, maybe, merge, ms, number, without};

impl Model {
    /// Who writes is met, where the whole of a member is told.
    fn meet_author(&mut self, guild: u64, d: &Json) {
        let webhook = d.get("webhook_id").is_some_and(|id| !id.is_null());
        let (Some(known), Some(author), Some(member)) = (self.guilds.get_mut(&guild), d.get("author"), d.get("member")) else { return };
        let user = number(&author["id"]);
        if !webhook && !known.has(Kind::Member, user) && !member["joined_at"].is_null() {
            known.set(Kind::Member, user, Some(without(member, &["user"])));
            self.users.entry(user).or_insert_with(|| author.clone());
        }
    }

    fn people(&mut self, guild: u64, d: &Json) {
        let mut told = Vec::new();
        if d.get("webhook_id").is_none_or(Json::is_null)
            && let Some(author) = d.get("author")
        {
            self.learn(author);
            told.push((number(&author["id"]), d.get("member")));
        }
        told.extend(list(d, "mentions").iter().map(|mention| (number(&mention["id"]), mention.get("member"))));
        for (user, member) in told {
            if let Some(known) = self.guilds.get_mut(&guild).and_then(|known| known.objects.get_mut(&(Kind::Member, user)))
                && let Some(member) = member
            {
                *known = merge(Some(known), member);
            }
        }
    }

    fn message_create(&mut self, d: &Json) {
        let (id, channel) = (number(&d["id"]), number(&d["channel_id"]));
        let guild = d.get("guild_id").map(number).or_else(|| self.guild_of_channel(channel)).unwrap_or(0);
        if guild != 0 && !self.guilds.contains_key(&guild) {
            return;
        }
        self.newest_ms = self.newest_ms.max(ms(id));
        self.messages.remove(&id);
        let held = self.messages.values().find(|message| message.channel == channel).map(|message| message.guild);
        self.messages.insert(id, Message { guild: held.unwrap_or(guild), channel, object: d.clone() });
        let in_channel: Vec<u64> = self.messages.iter().filter(|(_, message)| message.channel == channel).map(|(id, _)| *id).collect();
        for old in in_channel.iter().rev().skip(MESSAGE_COUNT) {
            self.messages.remove(old);
        }
        let newest_ms = self.newest_ms;
        self.messages.retain(|id, _| ms(*id) + MESSAGE_AGE_MS >= newest_ms);
        let newest = |known: &Json| known.get("last_message_id").and_then(maybe).is_none_or(|last| last < id);
        if d.get("flags") != Some(&json!(64)) {
            if let Some(known) = self.guilds.get_mut(&guild) {
                let kind = if known.has(Kind::Channel, channel) { Kind::Channel } else { Kind::Thread };
                if let Some(known) = known.objects.get_mut(&(kind, channel)).filter(|known| newest(known)) {
                    known["last_message_id"] = d["id"].clone();
                    for count in ["message_count", "total_message_sent"] {
                        if let Some(old) = known.get(count).and_then(Json::as_i64)
                            && kind == Kind::Thread
                        {
                            known[count] = json!(old + 1);
                        }
                    }
                }
            } else {
                let mut stub = json!({"id": d["channel_id"]});
                if let Some(kind) = d.get("channel_type") {
                    stub["type"] = kind.clone();
                }
                let known = self.outside.entry((Kind::DirectChannel, channel)).or_insert(stub);
                if newest(known) {
                    known["last_message_id"] = d["id"].clone();
                }
            }
        }
        self.meet_author(guild, d);
        self.people(guild, d);
    }

    fn take_message(&mut self, id: u64) -> Option<Json> {
        let alive = self.alive(id);
        let message = self.messages.remove(&id)?;
        let told = self.guilds.get(&message.guild).is_none_or(Guild::told);
        Some(message.object).filter(|_| told && alive)
    }

    fn count_deleted(&mut self, d: &Json, count: i64) {
        let channel = number(&d["channel_id"]);
        let Some(guild) = d.get("guild_id").map(number).or_else(|| self.guild_of_channel(channel)) else { return };
        if let Some(thread) = self.guilds.get_mut(&guild).and_then(|known| known.objects.get_mut(&(Kind::Thread, channel)))
            && let Some(old) = thread.get("message_count").and_then(Json::as_i64)
        {
            thread["message_count"] = json!((old - count).max(0));
        }
    }

    fn react(&mut self, d: &Json, by: i64) {
        let own = self.own.as_ref().is_some_and(|own| own["id"] == d["user_id"]);
        let Some(message) = self.messages.get_mut(&number(&d["message_id"])) else { return };
        let burst = d.get("type") == Some(&json!(1));
        let (flag, part) = if burst { ("me_burst", "burst") } else { ("me", "normal") };
        let mut entries = list(&message.object, "reactions").to_vec();
        match entries.iter_mut().find(|entry| same_emoji(&entry["emoji"], &d["emoji"])) {
            Some(entry) if own && entry[flag] == json!(by > 0) => return,
            Some(entry) => {
                entry["count"] = json!(entry["count"].as_i64().unwrap() + by);
                entry["count_details"][part] = json!((entry["count_details"][part].as_i64().unwrap() + by).max(0));
                if own {
                    entry[flag] = json!(by > 0);
                }
            }
            None if by < 0 => return,
            None => entries.push(json!({
                "emoji": d["emoji"], "count": 1, "count_details": {"burst": i64::from(burst), "normal": i64::from(!burst)},
                "me": own && !burst, "me_burst": own && burst, "burst_colors": d.get("burst_colors").cloned().unwrap_or(json!([])),
            })),
        }
        entries.retain(|entry| entry["count"] != json!(0));
        set_reactions(&mut message.object, entries);
    }

    fn vote(&mut self, d: &Json, by: i64) {
        let own = self.own.as_ref().is_some_and(|own| own["id"] == d["user_id"]);
        let Some(message) = self.messages.get_mut(&number(&d["message_id"])) else { return };
        let Some(poll) = message.object.get_mut("poll").filter(|poll| !poll.is_null()) else { return };
        let mut results = poll.get("results").cloned().unwrap_or(json!({"is_finalized": false, "answer_counts": []}));
        if results["is_finalized"] == json!(true) {
            return;
        }
        let counts = results["answer_counts"].as_array_mut().unwrap();
        match counts.iter_mut().find(|count| count["id"] == d["answer_id"]) {
            Some(count) if own && count["me_voted"] == json!(by > 0) => return,
            Some(count) => {
                count["count"] = json!((count["count"].as_i64().unwrap() + by).max(0));
                if own {
                    count["me_voted"] = json!(by > 0);
                }
            }
            None if by < 0 => return,
            None => counts.push(json!({"id": d["answer_id"], "count": 1, "me_voted": own})),
        }
        poll["results"] = results;
    }

    /// Applies an event about messages; answers the previous object. The outer nothing: it is about something else.
    pub(crate) fn said(&mut self, kind: K, d: &Json) -> Option<Option<Json>> {
        match kind {
            K::MessageCreate => {
                self.message_create(d);
                Some(None)
            }
            K::MessageUpdate => {
                let id = number(&d["id"]);
                let alive = self.alive(id);
                let mut previous = None;
                let mut guild = d.get("guild_id").map(number).unwrap_or(0);
                if let Some(message) = self.messages.get_mut(&id) {
                    guild = message.guild;
                    if alive {
                        let merged = merge(Some(&message.object), &without(d, &["tts"]));
                        previous = Some(std::mem::replace(&mut message.object, merged));
                    }
                }
                self.people(guild, d);
                Some(previous.filter(|_| self.guilds.get(&guild).is_none_or(Guild::told)))
            }
            K::MessageDelete => {
                self.count_deleted(d, 1);
                Some(self.take_message(number(&d["id"])))
            }
            K::MessageDeleteBulk => {
                let ids = list(d, "ids");
                self.count_deleted(d, ids.len() as i64);
                // Of that channel: what is said of another channel's messages is not theirs.
                let channel = number(&d["channel_id"]);
                self.messages.retain(|id, message| message.channel != channel || !ids.iter().any(|gone| number(gone) == *id));
                Some(None)
            }
            K::MessageReactionAdd | K::MessageReactionRemove => {
                self.react(d, if kind == K::MessageReactionAdd { 1 } else { -1 });
                if let Some(guild) = d.get("guild_id") {
                    self.refresh_member(number(guild), number(&d["user_id"]), d.get("member"), true);
                }
                Some(None)
            }
            K::MessageReactionRemoveAll | K::MessageReactionRemoveEmoji => {
                if let Some(message) = self.messages.get_mut(&number(&d["message_id"])) {
                    let mut entries = list(&message.object, "reactions").to_vec();
                    entries.retain(|entry| d.get("emoji").is_some_and(|emoji| !same_emoji(&entry["emoji"], emoji)));
                    set_reactions(&mut message.object, entries);
                }
                Some(None)
            }
            K::MessagePollVoteAdd => {
                self.vote(d, 1);
                Some(None)
            }
            K::MessagePollVoteRemove => {
                self.vote(d, -1);
                Some(None)
            }
            _ => None,
        }
    }
}

fn same_emoji(one: &Json, other: &Json) -> bool {
    let id = |emoji: &Json| emoji.get("id").and_then(maybe);
    match (id(one), id(other)) {
        (None, None) => one["name"] == other["name"],
        (one, other) => one == other,
    }
}

fn set_reactions(message: &mut Json, entries: Vec<Json>) {
    if entries.is_empty() {
        message.as_object_mut().unwrap().remove("reactions");
    } else {
        message["reactions"] = Json::Array(entries);
    }
}
