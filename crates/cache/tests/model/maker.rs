//! Makes events of every kind from a seed. Everything in a guild has ids of its own; users are shared.

use serde_json::{Value as Json, json};
use trunkline_cache::Kind;
use trunkline_discord::{Dice, EventKind as K};

use crate::common::id;
use crate::rules::LISTS;

pub(crate) const GUILDS: u64 = 3;
pub(crate) const USERS: u64 = 6;
pub(crate) const FIRST_USER: u64 = 10_000;
pub(crate) const OWN: u64 = FIRST_USER + USERS - 1;
pub(crate) const FIRST_DIRECT: u64 = 20_000;
/// Milliseconds lie above these bits of an id.
const MS: u64 = 1 << 22;

pub(crate) struct Maker {
    pub(crate) dice: Dice,
    pub(crate) count: u64,
    /// The newest messages that were made.
    pub(crate) messages: Vec<(u64, u64)>,
    clock: u64,
    /// Users and members as they were told: Discord tells the same again and again.
    users: Vec<Json>,
    members: Vec<(u64, Json)>,
}

/// Every event that changes something, those more often that the rest builds on.
const KINDS: [K; 75] = [
    K::GuildCreate,
    K::GuildCreate,
    K::GuildUpdate,
    K::GuildDelete,
    K::GuildEmojisUpdate,
    K::GuildStickersUpdate,
    K::GuildRoleCreate,
    K::GuildRoleUpdate,
    K::GuildRoleDelete,
    K::GuildIntegrationsUpdate,
    K::GuildSoundboardSoundCreate,
    K::GuildSoundboardSoundUpdate,
    K::GuildSoundboardSoundDelete,
    K::GuildSoundboardSoundsUpdate,
    K::SoundboardSounds,
    K::GuildMemberAdd,
    K::GuildMemberAdd,
    K::GuildMemberUpdate,
    K::GuildMemberUpdate,
    K::GuildMemberRemove,
    K::GuildMembersChunk,
    K::PresenceUpdate,
    K::PresenceUpdate,
    K::UserUpdate,
    K::Ready,
    K::GuildBanAdd,
    K::GuildBanRemove,
    K::ChannelCreate,
    K::ChannelUpdate,
    K::ChannelDelete,
    K::ChannelInfo,
    K::VoiceChannelStatusUpdate,
    K::VoiceChannelStartTimeUpdate,
    K::ChannelPinsUpdate,
    K::ThreadCreate,
    K::ThreadCreate,
    K::ThreadUpdate,
    K::ThreadDelete,
    K::ThreadListSync,
    K::ThreadMemberUpdate,
    K::ThreadMembersUpdate,
    K::ThreadMembersUpdate,
    K::MessageCreate,
    K::MessageCreate,
    K::MessageCreate,
    K::MessageCreate,
    K::MessageUpdate,
    K::MessageUpdate,
    K::MessageDelete,
    K::MessageDeleteBulk,
    K::MessageReactionAdd,
    K::MessageReactionAdd,
    K::MessageReactionRemove,
    K::MessageReactionRemoveAll,
    K::MessageReactionRemoveEmoji,
    K::MessagePollVoteAdd,
    K::MessagePollVoteRemove,
    K::VoiceStateUpdate,
    K::StageInstanceCreate,
    K::StageInstanceUpdate,
    K::StageInstanceDelete,
    K::GuildScheduledEventCreate,
    K::GuildScheduledEventUpdate,
    K::GuildScheduledEventDelete,
    K::GuildScheduledEventUserAdd,
    K::GuildScheduledEventUserRemove,
    K::AutoModerationRuleCreate,
    K::AutoModerationRuleUpdate,
    K::AutoModerationRuleDelete,
    K::IntegrationCreate,
    K::IntegrationUpdate,
    K::IntegrationDelete,
    K::InviteCreate,
    K::InviteDelete,
    // Entitlements and subscriptions are made of this one.
    K::EntitlementCreate,
];

/// Told twice, these count twice, or tell of the second time what the first has done.
pub(crate) const COUNTED: [K; 2] = [K::GuildScheduledEventUserAdd, K::GuildScheduledEventUserRemove];

impl Maker {
    pub(crate) fn new(seed: u64) -> Maker {
        Maker { dice: Dice::new(seed), count: 0, messages: Vec::new(), clock: 1, users: Vec::new(), members: Vec::new() }
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.dice.below(of.len() as u64) as usize].clone()
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.dice.below(n) == 0
    }

    fn tag(&mut self) -> Json {
        self.count += 1;
        match self.dice.below(6) {
            0 => json!(self.count),
            1 => json!({"é\"\\": [self.count, null, true, -1], "name": {"id": id(self.count)}}),
            2 => json!(id(self.count)),
            3 => json!("2021-03-04T05:06:07.089000+00:00"),
            4 => json!("a_00112233445566778899aabbccddeeff"),
            _ => json!(format!("v{}", self.count)),
        }
    }

    fn with_tag(&mut self, mut json: Json) -> Json {
        let key = self.pick(&["name", "topic", "odd key", "x", "icon"]);
        json[key] = self.tag();
        json
    }

    fn thing(&mut self, first: u64, guild: u64) -> u64 {
        guild * 1000 + first + self.dice.below(4)
    }

    fn channel_id(&mut self, guild: u64) -> u64 {
        self.thing(0, guild)
    }

    fn channel(&mut self, guild: u64) -> Json {
        let channel = self.channel_id(guild);
        let kinds = [0, 5, 2, 15];
        let json = json!({"id": id(channel), "type": kinds[(channel % 1000) as usize]});
        self.with_tag(json)
    }

    fn thread_id(&mut self, guild: u64) -> u64 {
        self.thing(100, guild)
    }

    fn thread(&mut self, guild: u64) -> Json {
        let (thread, parent) = (self.thread_id(guild), self.channel_id(guild));
        let mut json = json!({"id": id(thread), "parent_id": id(parent), "thread_metadata": {"archived": self.one_in(4)}});
        if self.one_in(2) {
            json["message_count"] = json!(self.dice.below(5));
            json["total_message_sent"] = json!(5);
        }
        if self.one_in(3) {
            json["member"] = json!({"flags": self.dice.below(5)});
        }
        self.with_tag(json)
    }

    fn role_id(&mut self, guild: u64) -> u64 {
        self.thing(200, guild)
    }

    fn role(&mut self, guild: u64) -> Json {
        let role = json!({"id": id(self.role_id(guild))});
        self.with_tag(role)
    }

    fn named(&mut self, first: u64, guild: u64) -> Json {
        let thing = json!({"id": id(self.thing(first, guild))});
        self.with_tag(thing)
    }

    fn sound(&mut self, guild: u64) -> Json {
        let sound = json!({"sound_id": id(self.thing(450, guild))});
        self.with_tag(sound)
    }

    fn stage(&mut self, guild: u64) -> Json {
        let mut stage = self.named(300, guild);
        stage["channel_id"] = json!(id(self.channel_id(guild)));
        stage
    }

    fn scheduled(&mut self, guild: u64) -> Json {
        let mut event = self.named(350, guild);
        if self.one_in(2) {
            event["user_count"] = json!(self.dice.below(3));
        }
        event
    }

    fn user_id(&mut self) -> u64 {
        FIRST_USER + self.dice.below(USERS)
    }

    fn user(&mut self) -> Json {
        let user = self.user_id();
        self.user_of(user)
    }

    fn user_of(&mut self, user: u64) -> Json {
        let again: Vec<Json> = self.users.iter().rev().filter(|known| known["id"] == json!(id(user))).take(2).cloned().collect();
        if !again.is_empty() && self.one_in(2) {
            return self.pick(&again);
        }
        self.count += 1;
        let mut json = json!({"id": id(user), "username": format!("u{}", self.count)});
        if self.one_in(2) {
            json["avatar"] = self.pick(&[json!(null), json!("a_00112233445566778899aabbccddeeff"), json!("x")]);
        }
        self.users.push(json.clone());
        json
    }

    fn member(&mut self, guild: u64) -> Json {
        let mut member = self.bare_member(guild);
        member["user"] = self.user();
        member
    }

    fn bare_member(&mut self, guild: u64) -> Json {
        let again: Vec<Json> = self.members.iter().rev().filter(|known| known.0 == guild).take(4).map(|known| known.1.clone()).collect();
        if !again.is_empty() && self.one_in(2) {
            return self.pick(&again);
        }
        let roles: Vec<String> = (0..self.dice.below(3)).map(|_| id(self.role_id(guild))).collect();
        let mut member = json!({"roles": roles});
        if !self.one_in(4) {
            member["joined_at"] = self.pick(&[json!(null), json!("2020-01-01T00:00:00+00:00"), json!("then")]);
        }
        let key = self.pick(&["nick", "x", "flags"]);
        member[key] = self.tag();
        self.members.push((guild, member.clone()));
        member
    }

    fn presence(&mut self) -> Json {
        let user = match self.dice.below(3) {
            0 => self.user(),
            1 => json!({"id": id(self.user_id()), "username": 3, "avatar": {"odd": 1}, "global_name": "g"}),
            _ => json!({"id": id(self.user_id())}),
        };
        let presence = json!({"user": user, "status": self.pick(&["online", "idle", "offline"])});
        self.with_tag(presence)
    }

    fn voice(&mut self, guild: u64, leaves: bool) -> Json {
        let channel = if leaves { Json::Null } else { json!(id(self.channel_id(guild))) };
        let voice = json!({"user_id": id(self.user_id()), "channel_id": channel});
        self.with_tag(voice)
    }

    fn list(&mut self, make: impl Fn(&mut Maker) -> Json) -> Json {
        let mut list: Vec<Json> = Vec::new();
        for _ in 0..self.dice.below(5) {
            let item = make(self);
            let name = |json: &Json| json.get("user_id").or(json.get("id")).or(json.get("sound_id")).unwrap_or(&json["user"]["id"]).clone();
            if !list.iter().any(|other| name(other) == name(&item)) {
                list.push(item);
            }
        }
        Json::Array(list)
    }

    fn guild(&mut self, guild: u64) -> Json {
        let guild_object = json!({"id": id(guild), "joined_at": self.tag()});
        let mut d = self.with_tag(guild_object);
        for (name, kind) in LISTS {
            d[name] = match kind {
                Kind::Role => self.list(|maker| maker.role(guild)),
                Kind::Channel => self.list(|maker| maker.channel(guild)),
                Kind::Thread => self.list(|maker| maker.thread(guild)),
                Kind::Member => self.list(|maker| maker.member(guild)),
                Kind::Presence => self.list(Maker::presence),
                Kind::VoiceState => self.list(|maker| maker.voice(guild, false)),
                Kind::StageInstance => self.list(|maker| maker.stage(guild)),
                Kind::ScheduledEvent => self.list(|maker| maker.scheduled(guild)),
                _ => self.list(|maker| maker.sound(guild)),
            };
        }
        d["emojis"] = self.list(|maker| maker.named(400, guild));
        d["stickers"] = self.list(|maker| maker.named(420, guild));
        d["member_count"] = json!(self.dice.below(9));
        if self.one_in(4) {
            let (gone, _) = self.pick(&LISTS);
            d.as_object_mut().unwrap().remove(gone);
        }
        d
    }

    fn text_channel(&mut self, guild: u64) -> u64 {
        if self.one_in(3) { self.thread_id(guild) } else { self.channel_id(guild) }
    }

    fn message(&mut self, guild: u64) -> Json {
        self.clock += self.dice.below(40);
        let late = if self.one_in(5) { self.dice.below(self.clock) } else { 0 };
        let message = 1_000_000 + (self.clock - late) * MS + self.dice.below(MS);
        let mut d = json!({"id": id(message), "author": self.user(), "tts": self.one_in(2)});
        let channel = if self.one_in(6) {
            if self.one_in(2) {
                d["channel_type"] = json!(1);
            }
            FIRST_DIRECT + self.dice.below(3)
        } else {
            // Without a guild the channel says which one it is in, if it is known.
            if !self.one_in(6) {
                d["guild_id"] = json!(id(guild));
            }
            self.text_channel(guild)
        };
        d["channel_id"] = json!(id(channel));
        self.messages.push((message, channel));
        if self.one_in(5) {
            d["flags"] = json!(64);
        }
        if self.one_in(6) {
            d["webhook_id"] = json!(id(7));
        }
        if self.one_in(2) {
            d["member"] = self.bare_member(guild);
        }
        if self.one_in(3) {
            let mut mention = self.user();
            mention["member"] = self.bare_member(guild);
            d["mentions"] = json!([mention, self.user()]);
        }
        if self.one_in(3) {
            d["poll"] = json!({"question": self.tag()});
            if self.one_in(2) {
                let answer_counts = json!([{"id": 1, "count": self.dice.below(3), "me_voted": false}]);
                d["poll"]["results"] = json!({"is_finalized": self.one_in(4), "answer_counts": answer_counts});
            }
        }
        self.with_tag(d)
    }

    /// One that was made, mostly.
    fn old_message(&mut self, guild: u64) -> Json {
        let newest: Vec<(u64, u64)> = self.messages.iter().rev().take(12).copied().collect();
        let (message, channel) = if newest.is_empty() || self.one_in(10) { (999, self.text_channel(guild)) } else { self.pick(&newest) };
        let mut d = json!({"id": id(message), "channel_id": id(channel)});
        if channel < FIRST_DIRECT {
            d["guild_id"] = json!(id(channel / 1000));
        }
        d
    }

    fn on_message(&mut self, guild: u64) -> Json {
        let mut d = self.old_message(guild);
        d["message_id"] = d["id"].take();
        d.as_object_mut().unwrap().remove("id");
        d["user_id"] = json!(id(self.user_id()));
        d
    }

    pub(crate) fn event(&mut self) -> (K, Json) {
        let guild = 1 + self.dice.below(GUILDS);
        let mut kind = self.pick(&KINDS);
        let mut d = match kind {
            K::GuildCreate | K::GuildDelete if self.one_in(4) => json!({"id": id(guild), "unavailable": true}),
            K::GuildDelete => json!({"id": id(guild)}),
            K::GuildCreate => self.guild(guild),
            K::GuildUpdate => {
                let roles = self.list(|maker| maker.role(guild));
                let d = json!({"id": id(guild), "roles": roles, "emojis": self.list(|maker| maker.named(400, guild)), "stickers": []});
                self.with_tag(d)
            }
            K::Ready => json!({"user": self.user_of(OWN)}),
            K::UserUpdate => self.user_of(OWN),
            K::EntitlementCreate => {
                kind = self.pick(&[
                    K::EntitlementCreate,
                    K::EntitlementUpdate,
                    K::EntitlementDelete,
                    K::SubscriptionCreate,
                    K::SubscriptionUpdate,
                    K::SubscriptionDelete,
                ]);
                self.named(800, 30)
            }
            K::MessageCreate => self.message(guild),
            K::MessageUpdate => {
                let mut d = self.old_message(guild);
                d["tts"] = json!(false);
                if self.one_in(2) {
                    d["author"] = self.user();
                }
                if self.one_in(4) {
                    d["member"] = self.bare_member(guild);
                }
                self.with_tag(d)
            }
            K::MessageDelete => self.old_message(guild),
            K::MessageDeleteBulk => {
                let mut d = self.old_message(guild);
                let other = self.old_message(guild)["id"].clone();
                d["ids"] = json!([d["id"].take(), other]);
                d.as_object_mut().unwrap().remove("id");
                d
            }
            K::MessageReactionAdd | K::MessageReactionRemove => {
                let mut d = self.on_message(guild);
                let member = if self.one_in(2) { Some(self.member(guild)) } else { None };
                d["emoji"] = self.pick(&[json!({"id": id(5), "name": "e"}), json!({"id": null, "name": "👍"}), json!({"name": null})]);
                d["type"] = json!(u8::from(self.one_in(3)));
                if kind == K::MessageReactionAdd {
                    d["burst_colors"] = json!(["#fff"]);
                    if let Some(member) = member {
                        d["user_id"] = member["user"]["id"].clone();
                        d["member"] = member;
                    }
                }
                d
            }
            K::MessageReactionRemoveAll => self.on_message(guild),
            K::MessageReactionRemoveEmoji => {
                let mut d = self.on_message(guild);
                d["emoji"] = json!({"id": id(5), "name": "other"});
                d
            }
            K::MessagePollVoteAdd | K::MessagePollVoteRemove => {
                let mut d = self.on_message(guild);
                d["answer_id"] = json!(1 + self.dice.below(2));
                d
            }
            _ => {
                let mut d = self.in_guild(kind, guild);
                d["guild_id"] = json!(id(guild));
                d
            }
        };
        if self.one_in(3) {
            d["odd \u{1F600}"] = json!({"x": [1.5, {"y": null}]});
        }
        (kind, d)
    }

    fn in_guild(&mut self, kind: K, guild: u64) -> Json {
        match kind {
            K::GuildEmojisUpdate => json!({"emojis": self.list(|maker| maker.named(400, guild))}),
            K::GuildStickersUpdate => json!({"stickers": self.list(|maker| maker.named(420, guild))}),
            K::GuildRoleCreate | K::GuildRoleUpdate => json!({"role": self.role(guild)}),
            K::GuildRoleDelete => json!({"role_id": id(self.role_id(guild))}),
            K::GuildIntegrationsUpdate => json!({}),
            K::GuildSoundboardSoundCreate | K::GuildSoundboardSoundUpdate | K::GuildSoundboardSoundDelete => self.sound(guild),
            K::GuildSoundboardSoundsUpdate | K::SoundboardSounds => json!({"soundboard_sounds": self.list(|maker| maker.sound(guild))}),
            K::GuildMemberAdd | K::GuildMemberUpdate => self.member(guild),
            K::GuildMemberRemove | K::GuildBanAdd | K::GuildBanRemove => json!({"user": self.user()}),
            K::GuildMembersChunk => json!({
                "members": self.list(|maker| maker.member(guild)), "presences": self.list(Maker::presence), "not_found": [id(self.user_id())],
            }),
            K::PresenceUpdate => self.presence(),
            K::VoiceStateUpdate => {
                let leaves = self.one_in(3);
                let mut voice = self.voice(guild, leaves);
                if self.one_in(2) {
                    let member = self.member(guild);
                    voice["user_id"] = member["user"]["id"].clone();
                    voice["member"] = member;
                }
                voice
            }
            K::ChannelCreate | K::ChannelUpdate | K::ChannelDelete => self.channel(guild),
            K::ChannelInfo => json!({"channels": self.list(|maker| maker.voice_status(guild))}),
            K::VoiceChannelStatusUpdate | K::VoiceChannelStartTimeUpdate => self.voice_status(guild),
            K::ChannelPinsUpdate => json!({"channel_id": id(self.text_channel(guild)), "last_pin_timestamp": self.tag()}),
            K::ThreadListSync => {
                let threads = self.list(|maker| maker.thread(guild));
                let own = json!([{"id": id(self.thread_id(guild)), "user_id": id(OWN), "flags": 3}]);
                let mut d = json!({"threads": threads, "members": own});
                if self.one_in(2) {
                    d["channel_ids"] = json!([id(guild * 1000), id(guild * 1000 + 1)]);
                }
                d
            }
            K::ThreadMemberUpdate => json!({"id": id(self.thread_id(guild)), "user_id": id(OWN), "x": self.tag()}),
            K::ThreadMembersUpdate => {
                let member = self.member(guild);
                let mut presence = self.presence();
                presence["user"]["id"] = member["user"]["id"].clone();
                let presence = if self.one_in(2) { presence } else { Json::Null };
                let removed = self.pick(&[id(OWN), id(FIRST_USER)]);
                json!({
                    "id": id(self.thread_id(guild)), "member_count": self.dice.below(9), "removed_member_ids": [removed],
                    "added_members": [{"user_id": member["user"]["id"], "flags": 1, "member": member, "presence": presence}],
                })
            }
            K::ThreadCreate => {
                let mut thread = self.thread(guild);
                thread["newly_created"] = json!(self.one_in(2));
                thread
            }
            K::ThreadUpdate | K::ThreadDelete => self.thread(guild),
            K::StageInstanceCreate | K::StageInstanceUpdate | K::StageInstanceDelete => self.stage(guild),
            K::GuildScheduledEventCreate | K::GuildScheduledEventUpdate | K::GuildScheduledEventDelete => self.scheduled(guild),
            K::GuildScheduledEventUserAdd | K::GuildScheduledEventUserRemove => {
                json!({"guild_scheduled_event_id": id(self.thing(350, guild)), "user_id": id(self.user_id())})
            }
            K::AutoModerationRuleCreate | K::AutoModerationRuleUpdate | K::AutoModerationRuleDelete => self.named(500, guild),
            K::IntegrationCreate | K::IntegrationUpdate | K::IntegrationDelete => self.named(550, guild),
            K::InviteCreate | K::InviteDelete => json!({"code": self.dice.below(3).to_string(), "inviter": self.user()}),
            other => panic!("{}", other.name()),
        }
    }

    fn voice_status(&mut self, guild: u64) -> Json {
        let mut d = json!({"id": id(self.channel_id(guild))});
        if self.one_in(2) {
            d["status"] = self.pick(&[json!(null), json!("chess")]);
        }
        if self.one_in(2) {
            d["voice_start_time"] = self.pick(&[json!(null), json!(17)]);
        }
        d
    }
}
