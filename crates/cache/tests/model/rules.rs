//! The rules of Discord's events over plain JSON values, with no thought for speed or room.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};
use trunkline_cache::Kind;
use trunkline_discord::{EventKind as K, GuildOrigin};

use crate::common::BASE;

/// Lists of a guild by the kind that they become.
pub(crate) const LISTS: [(&str, Kind); 9] = [
    ("roles", Kind::Role),
    ("channels", Kind::Channel),
    ("threads", Kind::Thread),
    ("members", Kind::Member),
    ("presences", Kind::Presence),
    ("voice_states", Kind::VoiceState),
    ("stage_instances", Kind::StageInstance),
    ("guild_scheduled_events", Kind::ScheduledEvent),
    ("soundboard_sounds", Kind::Sound),
];
pub(crate) const MESSAGE_COUNT: usize = 4;
pub(crate) const MESSAGE_AGE_MS: u64 = 300;

#[derive(Default, Clone)]
pub(crate) struct Guild {
    pub(crate) object: Option<Json>,
    pub(crate) member_count: Option<i64>,
    pub(crate) awaited: bool,
    pub(crate) unavailable: bool,
    pub(crate) stale: bool,
    /// Members lie without their user. Lists have id 0, invites the number in their code.
    pub(crate) objects: BTreeMap<(Kind, u64), Json>,
    /// Roles that were deleted while there were members.
    gone_roles: BTreeSet<u64>,
}

pub(crate) struct Message {
    pub(crate) guild: u64,
    pub(crate) channel: u64,
    pub(crate) object: Json,
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) guilds: BTreeMap<u64, Guild>,
    pub(crate) outside: BTreeMap<(Kind, u64), Json>,
    pub(crate) own: Option<Json>,
    pub(crate) users: BTreeMap<u64, Json>,
    pub(crate) messages: BTreeMap<u64, Message>,
    pub(crate) newest_ms: u64,
}

pub(crate) fn number(json: &Json) -> u64 {
    maybe(json).unwrap()
}

pub(crate) fn maybe(json: &Json) -> Option<u64> {
    json.as_str()?.parse::<u64>().ok()?.checked_sub(BASE)
}

pub(crate) fn ms(id: u64) -> u64 {
    (BASE + id) >> 22
}

pub(crate) fn merge(base: Option<&Json>, over: &Json) -> Json {
    let mut out = base.map_or(Map::new(), |base| base.as_object().unwrap().clone());
    out.extend(over.as_object().unwrap().clone());
    Json::Object(out)
}

pub(crate) fn without(json: &Json, keys: &[&str]) -> Json {
    let kept = json.as_object().unwrap().iter().filter(|(key, _)| !keys.contains(&key.as_str()));
    Json::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn archived(thread: &Json) -> bool {
    thread["thread_metadata"]["archived"] == json!(true)
}

pub(crate) fn list<'a>(d: &'a Json, key: &str) -> &'a [Json] {
    d.get(key).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

impl Guild {
    pub(crate) fn told(&self) -> bool {
        !self.stale && !self.unavailable
    }

    /// An outage, which the object tells as well.
    fn taken_away(&mut self) {
        (self.awaited, self.unavailable) = (false, true);
        if let Some(object) = &mut self.object {
            object["unavailable"] = json!(true);
        }
    }

    pub(crate) fn whole(&self) -> Option<Json> {
        let mut object = self.object.clone()?;
        if let Some(count) = self.member_count {
            object["member_count"] = json!(count);
        }
        Some(object)
    }

    fn ids(&self, kind: Kind) -> Vec<u64> {
        self.objects.keys().filter(|(of, _)| *of == kind).map(|(_, id)| *id).collect()
    }

    /// Roles that were there before, and are not now, are gone; `members`: there were members to have them.
    fn note_roles(&mut self, before: &[u64], members: bool) {
        let now = self.ids(Kind::Role);
        if members || !self.ids(Kind::Member).is_empty() {
            self.gone_roles.extend(before.iter().filter(|role| !now.contains(role)));
        }
        self.gone_roles.retain(|role| !now.contains(role));
    }

    /// Without anything in it, and with what is known about its roles.
    fn emptied(&self) -> Guild {
        let mut empty = Guild { gone_roles: self.gone_roles.clone(), ..Guild::default() };
        empty.note_roles(&self.ids(Kind::Role), !self.ids(Kind::Member).is_empty());
        empty
    }

    pub(crate) fn has(&self, kind: Kind, id: u64) -> bool {
        self.objects.contains_key(&(kind, id))
    }

    pub(crate) fn set(&mut self, kind: Kind, id: u64, json: Option<Json>) -> Option<Json> {
        match json {
            Some(json) => self.objects.insert((kind, id), json),
            None => self.objects.remove(&(kind, id)),
        }
    }

    fn count_members(&mut self, by: i64) {
        self.member_count = self.member_count.map(|count| (count + by).max(0));
    }

    fn put_thread(&mut self, guild: &Json, d: &Json) {
        let id = number(&d["id"]);
        let own = self.objects.get(&(Kind::Thread, id)).and_then(|thread| thread.get("member").cloned());
        let mut thread = without(&in_guild(d, guild), &["newly_created"]);
        if let (Some(own), None) = (own, d.get("member")) {
            thread["member"] = own;
        }
        self.set(Kind::Thread, id, (!archived(d)).then_some(thread));
    }

    fn edit(&mut self, kind: Kind, id: u64, key: &str, value: &Json) {
        if let Some(object) = self.objects.get_mut(&(kind, id)) {
            object[key] = value.clone();
        }
    }

    fn note_voice(&mut self, d: &Json) {
        let id = number(&d["id"]);
        let mut record = merge(self.objects.get(&(Kind::VoiceChannel, id)), &without(d, &["guild_id"]));
        record.as_object_mut().unwrap().retain(|key, value| !(value.is_null() && (key == "status" || key == "voice_start_time")));
        let any = record.get("status").is_some() || record.get("voice_start_time").is_some();
        self.set(Kind::VoiceChannel, id, any.then_some(record));
    }
}

impl Model {
    pub(crate) fn ready(&mut self, named: &[u64]) {
        let gone: Vec<u64> = self.guilds.keys().filter(|guild| !named.contains(guild)).copied().collect();
        for guild in gone {
            self.remove_guild(guild);
        }
        for guild in named {
            let known = self.guilds.entry(*guild).or_default();
            if known.object.is_some() {
                (known.stale, known.unavailable) = (true, false);
            } else {
                *known = known.emptied();
                self.messages.retain(|_, message| message.guild != *guild);
            }
            self.guilds.get_mut(guild).unwrap().awaited = true;
        }
        self.messages.retain(|_, message| message.guild != 0);
        self.outside.clear();
        self.drop_users();
    }

    /// A process was killed: messages and presences are in no checkpoint.
    pub(crate) fn killed(&mut self) {
        self.messages.clear();
        self.newest_ms = 0;
        for guild in self.guilds.values_mut() {
            guild.objects.retain(|(kind, _), _| *kind != Kind::Presence);
        }
    }

    /// A process was stopped: all is saved but what is too old.
    pub(crate) fn stopped(&mut self) {
        let alive: Vec<u64> = self.messages.keys().filter(|id| self.alive(**id)).copied().collect();
        self.messages.retain(|id, _| alive.contains(id));
        self.newest_ms = alive.last().map_or(0, |id| ms(*id));
    }

    fn remove_guild(&mut self, guild: u64) {
        self.guilds.remove(&guild);
        self.messages.retain(|_, message| message.guild != guild);
        self.drop_users();
    }

    fn drop_users(&mut self) {
        let guilds = &self.guilds;
        self.users.retain(|user, _| guilds.values().any(|guild| guild.has(Kind::Member, *user)));
    }

    pub(crate) fn alive(&self, message: u64) -> bool {
        ms(message) + MESSAGE_AGE_MS >= self.newest_ms
    }

    pub(crate) fn member(&self, guild: u64, user: u64) -> Option<Json> {
        let known = self.guilds.get(&guild)?;
        let mut member = known.objects.get(&(Kind::Member, user))?.clone();
        if let Some(roles) = member.get_mut("roles") {
            roles.as_array_mut().unwrap().retain(|role| !known.gone_roles.contains(&number(role)));
        }
        member["user"] = self.users.get(&user)?.clone();
        Some(member)
    }

    fn put_member(&mut self, guild: u64, member: &Json, whole: bool) {
        let user = number(&member["user"]["id"]);
        let Some(known) = self.guilds.get_mut(&guild) else { return };
        let base = known.objects.get(&(Kind::Member, user)).filter(|_| !whole);
        let merged = merge(base, &without(member, &["user"]));
        known.set(Kind::Member, user, Some(merged));
        self.users.insert(user, member["user"].clone());
    }

    pub(crate) fn refresh_member(&mut self, guild: u64, user: u64, member: Option<&Json>, here: bool) {
        let Some(member) = member.filter(|member| maybe(&member["user"]["id"]) == Some(user)) else { return };
        let Some(known) = self.guilds.get(&guild) else { return };
        let whole = member.get("joined_at").is_some_and(|at| here || !at.is_null());
        if whole || known.has(Kind::Member, user) {
            self.put_member(guild, member, false);
        } else {
            self.learn(&member["user"]);
        }
    }

    pub(crate) fn learn(&mut self, user: &Json) {
        if let Some(id) = maybe(&user["id"])
            && let Some(known) = self.users.get_mut(&id)
        {
            *known = user.clone();
        }
    }

    fn put_presence(&mut self, guild: u64, presence: &Json) {
        let user = number(&presence["user"]["id"]);
        let Some(known) = self.guilds.get_mut(&guild) else { return };
        known.set(Kind::Presence, user, (presence["status"] != "offline").then(|| presence.clone()));
        if let Some(known) = self.users.get_mut(&user) {
            for (key, value) in presence["user"].as_object().unwrap() {
                let old = known.get(key).unwrap_or(value);
                let fits = std::mem::discriminant(old) == std::mem::discriminant(value)
                    || ((old.is_null() || value.is_null()) && key != "username");
                if fits {
                    known[key] = value.clone();
                }
            }
        }
    }

    fn forget_member(&mut self, guild: u64, user: u64) {
        if let Some(known) = self.guilds.get_mut(&guild) {
            known.objects.retain(|(kind, id), _| *id != user || !matches!(kind, Kind::Member | Kind::Presence | Kind::VoiceState));
        }
        self.drop_users();
    }

    fn create(&mut self, d: &Json) -> GuildOrigin {
        let id = number(&d["id"]);
        let origin = match self.guilds.get(&id) {
            Some(known) if known.awaited => GuildOrigin::Startup,
            Some(_) => GuildOrigin::Available,
            None => GuildOrigin::Joined,
        };
        let known = self.guilds.entry(id).or_default();
        if d.get("unavailable").is_some() {
            known.taken_away();
            return origin;
        }
        let (roles, members) = (known.ids(Kind::Role), !known.ids(Kind::Member).is_empty());
        if known.stale {
            *known = Guild { gone_roles: known.gone_roles.clone(), ..Guild::default() };
            self.messages.retain(|_, message| message.guild != id);
        }
        (known.awaited, known.unavailable, known.stale) = (false, false, false);
        let lists: Vec<&str> = LISTS.iter().map(|(name, _)| *name).chain(["emojis", "stickers", "member_count"]).collect();
        known.object = Some(without(d, &lists));
        known.member_count = d.get("member_count").map(|count| count.as_i64().unwrap());
        for (name, kind) in [("emojis", Kind::Emojis), ("stickers", Kind::Stickers)] {
            if let Some(list) = d.get(name) {
                known.set(kind, 0, Some(list.clone()));
            }
        }
        for (name, kind) in LISTS {
            let Some(list) = d.get(name) else { continue };
            let known = self.guilds.get_mut(&id).unwrap();
            if !matches!(kind, Kind::Member | Kind::Presence) {
                known.objects.retain(|(of, _), _| *of != kind);
            }
            for item in list.as_array().unwrap() {
                let known = self.guilds.get_mut(&id).unwrap();
                match kind {
                    Kind::Member => self.put_member(id, item, true),
                    Kind::Presence if item["status"] == "offline" => drop(known.set(kind, number(&item["user"]["id"]), None)),
                    Kind::Presence => drop(known.set(kind, number(&item["user"]["id"]), Some(item.clone()))),
                    Kind::VoiceState => drop(known.set(kind, number(&item["user_id"]), Some(item.clone()))),
                    Kind::Sound => drop(known.set(kind, number(&item["sound_id"]), Some(item.clone()))),
                    Kind::Thread if archived(item) => {}
                    Kind::Channel | Kind::Thread => drop(known.set(kind, number(&item["id"]), Some(in_guild(item, &d["id"])))),
                    _ => drop(known.set(kind, number(&item["id"]), Some(item.clone()))),
                }
            }
        }
        let known = self.guilds.get_mut(&id).unwrap();
        if known.member_count.is_some_and(|count| count > 0 && list(d, "members").len() as i64 >= count) {
            let told = |key: &str| list(d, key).iter().map(|one| number(&one["user"]["id"])).collect::<Vec<_>>();
            let (named, online) = (told("members"), told("presences"));
            known.objects.retain(|(kind, user), _| match kind {
                Kind::Member => named.contains(user),
                Kind::Presence => named.contains(user) || online.contains(user),
                _ => true,
            });
        }
        known.note_roles(&roles, members);
        self.drop_users();
        origin
    }

    pub(crate) fn guild_of_channel(&self, channel: u64) -> Option<u64> {
        let has = |guild: &Guild| guild.has(Kind::Channel, channel) || guild.has(Kind::Thread, channel);
        self.guilds.iter().find(|(_, guild)| has(guild)).map(|(id, _)| *id)
    }

    /// Applies an event; answers the previous object that must come with it, and for a GUILD_CREATE its origin.
    pub(crate) fn apply(&mut self, kind: K, d: &Json) -> (Option<Json>, Option<GuildOrigin>) {
        if kind == K::GuildCreate {
            return (None, Some(self.create(d)));
        }
        let previous = self.effect(kind, d);
        self.drop_users();
        (previous, None)
    }

    fn effect(&mut self, kind: K, d: &Json) -> Option<Json> {
        let outside = match kind {
            K::EntitlementCreate | K::EntitlementUpdate | K::EntitlementDelete => Some(Kind::Entitlement),
            K::SubscriptionCreate | K::SubscriptionUpdate | K::SubscriptionDelete => Some(Kind::Subscription),
            _ => None,
        };
        if let Some(kept) = outside {
            let key = (kept, number(&d["id"]));
            return match kind {
                K::EntitlementCreate | K::SubscriptionCreate => self.outside.insert(key, d.clone()).and(None),
                K::EntitlementUpdate | K::SubscriptionUpdate => self.outside.insert(key, d.clone()),
                _ => self.outside.remove(&key),
            };
        }
        match kind {
            K::Ready | K::UserUpdate => {
                let user = if kind == K::Ready { &d["user"] } else { d };
                let previous = self.own.replace(user.clone());
                self.learn(user);
                return previous.filter(|_| kind == K::UserUpdate);
            }
            _ => {}
        }
        if let Some(previous) = self.said(kind, d) {
            return previous;
        }
        let guild = number(d.get("guild_id").unwrap_or(&d["id"]));
        if kind == K::GuildDelete {
            if d.get("unavailable").is_some() {
                self.guilds.entry(guild).or_default().taken_away();
            } else {
                self.remove_guild(guild);
            }
            return None;
        }
        if matches!(kind, K::ChannelDelete | K::ThreadDelete) {
            let id = number(&d["id"]);
            let parent = |thread: u64| self.guilds.get(&guild)?.objects.get(&(Kind::Thread, thread))?.get("parent_id").cloned();
            let gone: Vec<u64> = self
                .messages
                .iter()
                .filter(|(_, message)| {
                    message.channel == id || (kind == K::ChannelDelete && parent(message.channel) == Some(d["id"].clone()))
                })
                .map(|(id, _)| *id)
                .collect();
            self.messages.retain(|id, _| !gone.contains(id));
        }
        let told = self.guilds.get(&guild)?.told();
        let user = d.get("user").and_then(|user| maybe(&user["id"]));
        match kind {
            K::GuildMemberAdd => {
                let known = self.guilds.get_mut(&guild)?;
                if !known.has(Kind::Member, user?) {
                    known.count_members(1);
                }
                self.put_member(guild, d, true);
                return None;
            }
            K::GuildMemberUpdate => {
                let previous = self.member(guild, user?);
                self.put_member(guild, d, false);
                return previous.filter(|_| told);
            }
            K::GuildMemberRemove => {
                let known = self.guilds.get_mut(&guild)?;
                let all = known.objects.keys().filter(|(kind, _)| *kind == Kind::Member).count() as i64;
                if known.has(Kind::Member, user?) || known.member_count.is_none_or(|count| all < count) {
                    known.count_members(-1);
                }
                self.forget_member(guild, user?);
                return None;
            }
            K::GuildMembersChunk => {
                list(d, "members").iter().for_each(|member| self.put_member(guild, member, true));
                list(d, "presences").iter().for_each(|presence| self.put_presence(guild, presence));
                list(d, "not_found").iter().for_each(|user| self.forget_member(guild, number(user)));
                return None;
            }
            K::PresenceUpdate => {
                let previous = self.guilds.get(&guild)?.objects.get(&(Kind::Presence, user?)).cloned();
                self.put_presence(guild, d);
                return previous.filter(|_| told);
            }
            K::GuildBanAdd | K::GuildBanRemove => {
                self.learn(&d["user"]);
                self.guilds.get_mut(&guild)?.set(Kind::Ban, user?, (kind == K::GuildBanAdd).then(|| d.clone()));
                return None;
            }
            K::InviteCreate | K::InviteDelete => {
                let code = d["code"].as_str()?.parse().unwrap();
                self.guilds.get_mut(&guild)?.set(Kind::Invite, code, (kind == K::InviteCreate).then(|| d.clone()));
                if let Some(inviter) = d.get("inviter").filter(|_| kind == K::InviteCreate) {
                    self.learn(inviter);
                }
                return None;
            }
            K::VoiceStateUpdate => {
                let user = number(&d["user_id"]);
                let state = (!d["channel_id"].is_null()).then(|| d.clone());
                let previous = self.guilds.get_mut(&guild)?.set(Kind::VoiceState, user, state);
                self.refresh_member(guild, user, d.get("member"), !d["channel_id"].is_null());
                return previous.filter(|_| told);
            }
            K::ThreadMembersUpdate => {
                let own = self.own.as_ref().map(|own| own["id"].clone());
                let known = self.guilds.get_mut(&guild)?;
                let id = number(&d["id"]);
                known.edit(Kind::Thread, id, "member_count", &d["member_count"]);
                if let Some(thread) = known.objects.get_mut(&(Kind::Thread, id)) {
                    if list(d, "removed_member_ids").iter().any(|user| Some(user) == own.as_ref()) {
                        thread.as_object_mut().unwrap().remove("member");
                    }
                    for added in list(d, "added_members") {
                        if Some(&added["user_id"]) == own.as_ref() {
                            thread["member"] = without(added, &["member", "presence"]);
                        }
                    }
                }
                for added in list(d, "added_members") {
                    self.refresh_member(guild, number(&added["user_id"]), added.get("member"), true);
                    if !added["presence"].is_null() {
                        self.put_presence(guild, &added["presence"]);
                    }
                }
                return None;
            }
            _ => {}
        }
        let known = self.guilds.get_mut(&guild)?;
        known.plain(kind, d).filter(|_| told)
    }
}

impl Guild {
    /// Events that are about the guild's own objects alone; the previous object, if the event is one that tells of it.
    fn plain(&mut self, kind: K, d: &Json) -> Option<Json> {
        let id = d.get("id").and_then(maybe).unwrap_or(0);
        let upsert = |kept: Kind| (kept, Some(d.clone()));
        let (kept, object) = match kind {
            K::StageInstanceCreate | K::StageInstanceUpdate => upsert(Kind::StageInstance),
            K::GuildScheduledEventCreate | K::GuildScheduledEventUpdate => upsert(Kind::ScheduledEvent),
            K::AutoModerationRuleCreate | K::AutoModerationRuleUpdate => upsert(Kind::AutoModerationRule),
            K::IntegrationCreate | K::IntegrationUpdate => upsert(Kind::Integration),
            K::ChannelCreate | K::ChannelUpdate => upsert(Kind::Channel),
            K::StageInstanceDelete => (Kind::StageInstance, None),
            K::GuildScheduledEventDelete => (Kind::ScheduledEvent, None),
            K::AutoModerationRuleDelete => (Kind::AutoModerationRule, None),
            K::IntegrationDelete => (Kind::Integration, None),
            _ => return self.other(kind, d, id),
        };
        let previous = self.set(kept, id, object);
        let tells = !matches!(
            kind,
            K::StageInstanceCreate
                | K::GuildScheduledEventCreate
                | K::AutoModerationRuleCreate
                | K::IntegrationCreate
                | K::IntegrationUpdate
                | K::IntegrationDelete
                | K::ChannelCreate
        );
        previous.filter(|_| tells)
    }

    fn other(&mut self, kind: K, d: &Json, id: u64) -> Option<Json> {
        match kind {
            K::GuildUpdate if self.object.is_none() && (self.awaited || self.unavailable) => {}
            K::GuildUpdate => {
                let previous = self.whole();
                self.object = Some(merge(self.object.as_ref(), &without(d, &["roles", "emojis", "stickers"])));
                let before = self.ids(Kind::Role);
                self.objects.retain(|(kind, _), _| *kind != Kind::Role);
                for role in list(d, "roles") {
                    self.set(Kind::Role, number(&role["id"]), Some(role.clone()));
                }
                self.note_roles(&before, false);
                self.set(Kind::Emojis, 0, Some(d["emojis"].clone()));
                self.set(Kind::Stickers, 0, Some(d["stickers"].clone()));
                return previous;
            }
            K::GuildEmojisUpdate => return self.set(Kind::Emojis, 0, Some(d["emojis"].clone())),
            K::GuildStickersUpdate => return self.set(Kind::Stickers, 0, Some(d["stickers"].clone())),
            K::GuildRoleCreate | K::GuildRoleUpdate => {
                let previous = self.set(Kind::Role, number(&d["role"]["id"]), Some(d["role"].clone()));
                self.note_roles(&[], false);
                return previous.filter(|_| kind == K::GuildRoleUpdate);
            }
            K::GuildRoleDelete => {
                self.set(Kind::Role, number(&d["role_id"]), None);
                // One that was never told may be a member's too.
                self.note_roles(&[number(&d["role_id"])], false);
            }
            K::GuildIntegrationsUpdate => self.objects.retain(|(kind, _), _| *kind != Kind::Integration),
            K::GuildSoundboardSoundCreate => drop(self.set(Kind::Sound, number(&d["sound_id"]), Some(d.clone()))),
            K::GuildSoundboardSoundUpdate => return self.set(Kind::Sound, number(&d["sound_id"]), Some(d.clone())),
            K::GuildSoundboardSoundDelete => return self.set(Kind::Sound, number(&d["sound_id"]), None),
            K::GuildSoundboardSoundsUpdate | K::SoundboardSounds => {
                if kind == K::SoundboardSounds {
                    self.objects.retain(|(kind, _), _| *kind != Kind::Sound);
                }
                for sound in list(d, "soundboard_sounds") {
                    self.set(Kind::Sound, number(&sound["sound_id"]), Some(sound.clone()));
                }
            }
            K::GuildScheduledEventUserAdd | K::GuildScheduledEventUserRemove => {
                let by = if kind == K::GuildScheduledEventUserAdd { 1 } else { -1 };
                let event = self.objects.get_mut(&(Kind::ScheduledEvent, number(&d["guild_scheduled_event_id"])))?;
                let count = event.get("user_count").and_then(Json::as_i64)?;
                event["user_count"] = json!((count + by).max(0));
            }
            K::ChannelDelete => {
                self.set(Kind::Channel, id, None);
                self.set(Kind::VoiceChannel, id, None);
                self.objects.retain(|(kind, _), object| {
                    !(*kind == Kind::Thread && object["parent_id"] == d["id"]
                        || *kind == Kind::StageInstance && object["channel_id"] == d["id"])
                });
            }
            K::ChannelPinsUpdate => {
                for kind in [Kind::Channel, Kind::Thread] {
                    self.edit(kind, number(&d["channel_id"]), "last_pin_timestamp", &d["last_pin_timestamp"]);
                }
            }
            K::ChannelInfo => list(d, "channels").iter().for_each(|channel| self.note_voice(channel)),
            K::VoiceChannelStatusUpdate | K::VoiceChannelStartTimeUpdate => {
                let previous = self.objects.get(&(Kind::VoiceChannel, id)).cloned();
                self.note_voice(d);
                return previous;
            }
            K::ThreadCreate => {
                self.put_thread(&d["guild_id"], d);
                let parent = d.get("parent_id").map(number)?;
                let forum = self.objects.get_mut(&(Kind::Channel, parent)).filter(|parent| parent["type"] == json!(15))?;
                if d.get("newly_created") == Some(&json!(true)) && forum.get("last_message_id").and_then(maybe).is_none_or(|last| last < id)
                {
                    forum["last_message_id"] = d["id"].clone();
                }
            }
            K::ThreadUpdate => {
                let previous = self.objects.get(&(Kind::Thread, id)).cloned();
                self.put_thread(&d["guild_id"], d);
                return previous;
            }
            K::ThreadDelete => return self.set(Kind::Thread, id, None),
            K::ThreadListSync => {
                let parents = d.get("channel_ids").map(|ids| ids.as_array().unwrap());
                self.objects.retain(|(kind, _), thread| {
                    *kind != Kind::Thread || parents.is_some_and(|parents| !parents.contains(&thread["parent_id"]))
                });
                list(d, "threads").iter().for_each(|thread| self.put_thread(&d["guild_id"], thread));
                list(d, "members").iter().for_each(|own| self.edit(Kind::Thread, number(&own["id"]), "member", own));
            }
            K::ThreadMemberUpdate => {
                let previous = self.objects.get(&(Kind::Thread, id)).and_then(|thread| thread.get("member").cloned());
                self.edit(Kind::Thread, id, "member", d);
                return previous;
            }
            other => panic!("{}", other.name()),
        }
        None
    }
}

/// A channel or thread with its guild's id, which may be left out in lists.
fn in_guild(told: &Json, guild: &Json) -> Json {
    let mut told = told.clone();
    if told["guild_id"].is_null() {
        told["guild_id"] = guild.clone();
    }
    told
}
