//! Random events against a cache of plain JSON values that is written straight from the rules, with lost sessions and restarts in
//! between. A printed seed replays a run.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;

use common::{BASE, BOTH, Disk, apply, found, id, json};
use serde_json::{Map, Value as Json, json};
use trunkline_cache::{Cache, Kind};
use trunkline_discord::{Dice, EventKind as K, GuildOrigin};

/// Lists of a guild by the kind that they become.
const LISTS: [(&str, Kind); 6] = [
    ("roles", Kind::Role),
    ("channels", Kind::Channel),
    ("threads", Kind::Thread),
    ("members", Kind::Member),
    ("presences", Kind::Presence),
    ("voice_states", Kind::VoiceState),
];
const GUILDS: u64 = 4;
const USERS: u64 = 6;

#[derive(Default, Clone)]
struct ModelGuild {
    object: Option<Json>,
    emojis: Option<Json>,
    member_count: Option<i64>,
    awaited: bool,
    unavailable: bool,
    stale: bool,
    objects: BTreeMap<(Kind, u64), Json>,
}

#[derive(Default)]
struct Model {
    guilds: BTreeMap<u64, ModelGuild>,
}

fn number(json: &Json) -> u64 {
    json.as_str().unwrap().parse::<u64>().unwrap() - BASE
}

fn merge(base: Option<&Json>, over: &Json) -> Json {
    let mut out = base.map_or(Map::new(), |base| base.as_object().unwrap().clone());
    out.extend(over.as_object().unwrap().clone());
    Json::Object(out)
}

fn without(json: &Json, keys: &[&str]) -> Json {
    Json::Object(
        json.as_object().unwrap().iter().filter(|(key, _)| !keys.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect(),
    )
}

fn archived(thread: &Json) -> bool {
    thread["thread_metadata"]["archived"] == json!(true)
}

impl ModelGuild {
    fn told(&self) -> bool {
        !self.stale && !self.unavailable
    }

    fn whole(&self) -> Option<Json> {
        let mut object = self.object.clone()?;
        if let Some(count) = self.member_count {
            object["member_count"] = json!(count);
        }
        Some(object)
    }

    fn member(&self, user: u64) -> Option<Json> {
        let mut member = self.objects.get(&(Kind::Member, user))?.clone();
        let any = self.objects.keys().any(|(kind, _)| *kind == Kind::Role);
        if any
            && self.object.is_some()
            && let Some(roles) = member.get_mut("roles")
        {
            roles.as_array_mut().unwrap().retain(|role| self.objects.contains_key(&(Kind::Role, number(role))));
        }
        Some(member)
    }

    fn set(&mut self, kind: Kind, id: u64, json: Option<Json>) -> Option<Json> {
        match json {
            Some(json) => self.objects.insert((kind, id), json),
            None => self.objects.remove(&(kind, id)),
        }
    }
}

impl Model {
    fn ready(&mut self, named: &[u64]) {
        self.guilds.retain(|guild, _| named.contains(guild));
        for guild in named {
            let known = self.guilds.entry(*guild).or_default();
            if known.object.is_some() {
                (known.stale, known.unavailable) = (true, false);
            } else {
                *known = ModelGuild::default();
            }
            known.awaited = true;
        }
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
            (known.awaited, known.unavailable) = (false, true);
            return origin;
        }
        if !known.told() {
            *known = ModelGuild::default();
        }
        (known.awaited, known.unavailable, known.stale) = (false, false, false);
        let lists: Vec<&str> = LISTS.iter().map(|(name, _)| *name).chain(["emojis", "member_count"]).collect();
        known.object = Some(without(d, &lists));
        known.member_count = d.get("member_count").map(|count| count.as_i64().unwrap());
        if let Some(emojis) = d.get("emojis") {
            known.emojis = Some(emojis.clone());
        }
        for (name, kind) in LISTS {
            let Some(list) = d.get(name) else { continue };
            if !matches!(kind, Kind::Member | Kind::Presence) {
                known.objects.retain(|(of, _), _| *of != kind);
            }
            for item in list.as_array().unwrap() {
                let id = match kind {
                    Kind::Member | Kind::Presence => number(&item["user"]["id"]),
                    Kind::VoiceState => number(&item["user_id"]),
                    _ => number(&item["id"]),
                };
                let dropped = (kind == Kind::Presence && item["status"] == "offline") || (kind == Kind::Thread && archived(item));
                if !dropped {
                    known.objects.insert((kind, id), item.clone());
                }
            }
        }
        origin
    }

    /// Applies an event; answers the previous object that must come with it.
    fn apply(&mut self, kind: K, d: &Json) -> Option<Json> {
        let id = number(d.get("guild_id").unwrap_or(&d["id"]));
        if kind == K::GuildDelete {
            if d.get("unavailable").is_some() {
                let known = self.guilds.entry(id).or_default();
                (known.awaited, known.unavailable) = (false, true);
            } else {
                self.guilds.remove(&id);
            }
            return None;
        }
        let known = self.guilds.get_mut(&id)?;
        let told = known.told();
        let user = d.get("user").map(|user| number(&user["id"]));
        let previous = match kind {
            K::GuildUpdate => {
                let previous = known.whole();
                known.object = Some(merge(known.object.as_ref(), &without(d, &["roles", "emojis"])));
                known.objects.retain(|(kind, _), _| *kind != Kind::Role);
                for role in d["roles"].as_array().unwrap() {
                    known.set(Kind::Role, number(&role["id"]), Some(role.clone()));
                }
                known.emojis = Some(d["emojis"].clone());
                previous
            }
            K::GuildEmojisUpdate => known.emojis.replace(d["emojis"].clone()),
            K::GuildRoleCreate => known.set(Kind::Role, number(&d["role"]["id"]), Some(d["role"].clone())).and(None),
            K::GuildRoleUpdate => known.set(Kind::Role, number(&d["role"]["id"]), Some(d["role"].clone())),
            K::GuildRoleDelete => known.set(Kind::Role, number(&d["role_id"]), None).and(None),
            K::GuildMemberAdd => {
                if known.set(Kind::Member, user.unwrap(), Some(d.clone())).is_none() {
                    known.member_count = known.member_count.map(|count| count + 1);
                }
                None
            }
            K::GuildMemberUpdate => {
                let previous = known.member(user.unwrap());
                let merged = merge(known.objects.get(&(Kind::Member, user.unwrap())), d);
                known.set(Kind::Member, user.unwrap(), Some(merged));
                previous
            }
            K::GuildMemberRemove => {
                for kind in [Kind::Member, Kind::Presence, Kind::VoiceState] {
                    known.set(kind, user.unwrap(), None);
                }
                known.member_count = known.member_count.map(|count| (count - 1).max(0));
                None
            }
            K::PresenceUpdate => known.set(Kind::Presence, user.unwrap(), (d["status"] != "offline").then(|| d.clone())),
            K::VoiceStateUpdate => known.set(Kind::VoiceState, number(&d["user_id"]), (!d["channel_id"].is_null()).then(|| d.clone())),
            K::ChannelCreate => known.set(Kind::Channel, number(&d["id"]), Some(d.clone())).and(None),
            K::ChannelUpdate => known.set(Kind::Channel, number(&d["id"]), Some(d.clone())),
            K::ChannelDelete => {
                known.set(Kind::Channel, number(&d["id"]), None);
                known.objects.retain(|(kind, _), thread| *kind != Kind::Thread || thread["parent_id"] != d["id"]);
                None
            }
            K::ThreadCreate | K::ThreadUpdate => known.set(Kind::Thread, number(&d["id"]), (!archived(d)).then(|| d.clone())).and(None),
            K::ThreadDelete => known.set(Kind::Thread, number(&d["id"]), None).and(None),
            K::ThreadListSync => {
                let parents = d.get("channel_ids").map(|ids| ids.as_array().unwrap());
                known.objects.retain(|(kind, _), thread| {
                    *kind != Kind::Thread || parents.is_some_and(|parents| !parents.contains(&thread["parent_id"]))
                });
                for thread in d["threads"].as_array().unwrap() {
                    known.set(Kind::Thread, number(&thread["id"]), (!archived(thread)).then(|| thread.clone()));
                }
                None
            }
            other => panic!("{}", other.name()),
        };
        previous.filter(|_| told)
    }
}

/// Makes events; everything in a guild has ids of its own, users are shared.
struct Maker {
    dice: Dice,
    count: u64,
}

impl Maker {
    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.dice.below(of.len() as u64) as usize].clone()
    }

    fn tag(&mut self) -> Json {
        self.count += 1;
        match self.dice.below(4) {
            0 => json!(self.count),
            1 => json!({"é\"\\": [self.count, null, true, -1]}),
            2 => json!(id(self.count)),
            _ => json!(format!("v{}", self.count)),
        }
    }

    fn with_tag(&mut self, mut json: Json) -> Json {
        let key = self.pick(&["name", "topic", "odd key", "x"]);
        json[key] = self.tag();
        json
    }

    fn channel(&mut self, guild: u64) -> Json {
        let channel = json!({"id": id(guild * 1000 + self.dice.below(4))});
        self.with_tag(channel)
    }

    fn thread(&mut self, guild: u64) -> Json {
        let (thread, parent) = (guild * 1000 + 100 + self.dice.below(5), guild * 1000 + self.dice.below(4));
        let thread = json!({"id": id(thread), "parent_id": id(parent), "thread_metadata": {"archived": self.dice.below(4) == 0}});
        self.with_tag(thread)
    }

    fn role_id(&mut self, guild: u64) -> u64 {
        guild * 1000 + 200 + self.dice.below(4)
    }

    fn role(&mut self, guild: u64) -> Json {
        let role = json!({"id": id(self.role_id(guild))});
        self.with_tag(role)
    }

    fn user(&mut self) -> Json {
        json!({"id": id(10_000 + self.dice.below(USERS)), "username": self.tag()})
    }

    fn member(&mut self, guild: u64) -> Json {
        let roles: Vec<String> = (0..self.dice.below(3)).map(|_| id(self.role_id(guild))).collect();
        let member = json!({"user": self.user(), "roles": roles});
        self.with_tag(member)
    }

    fn presence(&mut self) -> Json {
        let presence = json!({"user": self.user(), "status": self.pick(&["online", "idle", "offline"])});
        self.with_tag(presence)
    }

    fn voice(&mut self, guild: u64, leaves: bool) -> Json {
        let channel = if leaves { Json::Null } else { json!(id(guild * 1000 + self.dice.below(4))) };
        let voice = json!({"user_id": id(10_000 + self.dice.below(USERS)), "channel_id": channel});
        self.with_tag(voice)
    }

    fn list(&mut self, make: impl Fn(&mut Maker) -> Json) -> Json {
        let mut list: Vec<Json> = Vec::new();
        for _ in 0..self.dice.below(5) {
            let item = make(self);
            let name = |json: &Json| json.get("user_id").or(json.get("id")).unwrap_or(&json["user"]["id"]).clone();
            if !list.iter().any(|other| name(other) == name(&item)) {
                list.push(item);
            }
        }
        Json::Array(list)
    }

    fn guild(&mut self, guild: u64) -> Json {
        let guild_object = json!({"id": id(guild), "joined_at": self.tag()});
        let mut d = self.with_tag(guild_object);
        d["roles"] = self.list(|maker| maker.role(guild));
        d["emojis"] = self.list(|maker| maker.role(guild));
        d["channels"] = self.list(|maker| maker.channel(guild));
        d["threads"] = self.list(|maker| maker.thread(guild));
        d["members"] = self.list(|maker| maker.member(guild));
        d["presences"] = self.list(Maker::presence);
        d["voice_states"] = self.list(|maker| maker.voice(guild, false));
        d["member_count"] = json!(self.dice.below(9));
        if self.dice.below(4) == 0 {
            let (gone, _) = self.pick(&LISTS);
            d.as_object_mut().unwrap().remove(gone);
        }
        d
    }

    fn event(&mut self) -> (K, Json) {
        let guild = 1 + self.dice.below(GUILDS);
        let kinds = [
            K::GuildCreate,
            K::GuildUpdate,
            K::GuildDelete,
            K::GuildEmojisUpdate,
            K::GuildRoleCreate,
            K::GuildRoleUpdate,
            K::GuildRoleDelete,
            K::GuildMemberAdd,
            K::GuildMemberUpdate,
            K::GuildMemberUpdate,
            K::GuildMemberRemove,
            K::PresenceUpdate,
            K::VoiceStateUpdate,
            K::ChannelCreate,
            K::ChannelUpdate,
            K::ChannelDelete,
            K::ThreadCreate,
            K::ThreadUpdate,
            K::ThreadDelete,
            K::ThreadListSync,
        ];
        let kind = self.pick(&kinds);
        let mut d = match kind {
            K::GuildCreate | K::GuildDelete if self.dice.below(4) == 0 => json!({"id": id(guild), "unavailable": true}),
            K::GuildDelete => json!({"id": id(guild)}),
            K::GuildCreate => self.guild(guild),
            K::GuildUpdate => {
                let d =
                    json!({"id": id(guild), "roles": self.list(|maker| maker.role(guild)), "emojis": self.list(|maker| maker.role(guild))});
                self.with_tag(d)
            }
            K::GuildEmojisUpdate => json!({"emojis": self.list(|maker| maker.role(guild))}),
            K::GuildRoleCreate | K::GuildRoleUpdate => json!({"role": self.role(guild)}),
            K::GuildRoleDelete => json!({"role_id": id(self.role_id(guild))}),
            K::GuildMemberAdd | K::GuildMemberUpdate => self.member(guild),
            K::GuildMemberRemove => json!({"user": self.user()}),
            K::PresenceUpdate => self.presence(),
            K::VoiceStateUpdate => {
                let leaves = self.dice.below(3) == 0;
                self.voice(guild, leaves)
            }
            K::ChannelCreate | K::ChannelUpdate | K::ChannelDelete => self.channel(guild),
            K::ThreadListSync => {
                let mut d = json!({"threads": self.list(|maker| maker.thread(guild))});
                if self.dice.below(2) == 0 {
                    d["channel_ids"] = json!([id(guild * 1000), id(guild * 1000 + 1)]);
                }
                d
            }
            _ => self.thread(guild),
        };
        if !matches!(kind, K::GuildCreate | K::GuildDelete | K::GuildUpdate) {
            d["guild_id"] = json!(id(guild));
        }
        (kind, d)
    }
}

fn compare(cache: &Cache, model: &Model, at: &str) {
    let mut guilds: Vec<u64> = cache.guild_ids().map(|guild| guild - BASE).collect();
    guilds.sort_unstable();
    assert_eq!(guilds, model.guilds.keys().copied().collect::<Vec<_>>(), "{at}");
    let mut counts = BTreeMap::<Kind, u64>::new();
    for (guild, known) in &model.guilds {
        let told = |found: Option<trunkline_cache::Found>| {
            if let Some(found) = &found {
                assert_eq!((found.stale, found.guild_id), (!known.told(), BASE + guild), "{at}");
            }
            common::found(found)
        };
        assert_eq!(told(cache.guild(BASE + guild)), known.whole(), "{at}");
        assert_eq!(told(cache.emojis(BASE + guild)), known.emojis, "{at}");
        for (kind, id) in known.objects.keys() {
            *counts.entry(*kind).or_default() += 1;
            let (here, user) = (BASE + guild, BASE + id);
            let (got, wanted) = match kind {
                Kind::Member => (cache.member(here, user), known.member(*id)),
                Kind::Role => (cache.role(here, user), None),
                Kind::Presence => (cache.presence(here, user), None),
                Kind::VoiceState => (cache.voice_state(here, user), None),
                _ => (cache.channel(user), None),
            };
            assert_eq!(told(got), wanted.or_else(|| known.objects.get(&(*kind, *id)).cloned()), "{at}: {kind:?} {id} of guild {guild}");
        }
    }
    for (_, kind) in LISTS {
        assert_eq!(cache.size(kind).count, counts.get(&kind).copied().unwrap_or(0), "{at}: {kind:?}");
    }
    for user in 0..USERS {
        let user = 10_000 + user;
        let mut mutual: Vec<u64> = cache.mutual_guilds(BASE + user).iter().map(|guild| guild - BASE).collect();
        mutual.sort_unstable();
        let known = |guild: &ModelGuild| guild.objects.contains_key(&(Kind::Member, user));
        let wanted: Vec<u64> = model.guilds.iter().filter(|(_, guild)| known(guild)).map(|(guild, _)| *guild).collect();
        assert_eq!(mutual, wanted, "{at}: guilds of user {user}");
        assert_eq!(found(cache.user(BASE + user)).is_some(), !wanted.is_empty());
    }
}

#[test]
fn any_run_of_events_lost_sessions_and_restarts_gives_what_plain_rules_give() {
    for seed in 0..60u64 {
        println!("seed={seed}");
        let mut maker = Maker { dice: Dice::new(seed), count: 0 };
        let (mut cache, mut model, mut disk) = (Cache::default(), Model::default(), Disk::default());
        let only = [BOTH.to_vec(), vec![BOTH[0]], vec![BOTH[1]]][seed as usize % 3].clone();
        for step in 0..150 {
            let at = format!("seed {seed}, step {step}");
            match maker.dice.below(25) {
                0 => {
                    let named: Vec<u64> = (1..=GUILDS).filter(|_| maker.dice.below(4) > 0).collect();
                    cache.ready(&named.iter().map(|guild| BASE + guild).collect::<Vec<_>>());
                    model.ready(&named);
                }
                1 => {
                    disk.save(&mut cache);
                    assert_eq!(disk.bytes(), cache.bytes(), "{at}");
                    cache = disk.load(step % 2 == 0);
                }
                2 => disk.save(&mut cache),
                _ => {
                    let (kind, d) = maker.event();
                    let at = format!("{at}: {} {d}", kind.name());
                    let encoding = maker.pick(&only);
                    // Counting a leave twice is the one thing that a repeated event may do.
                    let times = if kind == K::GuildMemberRemove { 1 } else { 1 + maker.dice.below(2) };
                    for _ in 0..times {
                        let change = apply(&mut cache, encoding, kind, &d);
                        assert!(!change.malformed, "{at}");
                        if kind == K::GuildCreate {
                            assert_eq!(change.origin, Some(model.create(&d)), "{at}");
                        } else {
                            assert_eq!(change.previous.as_ref().map(json), model.apply(kind, &d), "{at}");
                        }
                    }
                }
            }
            compare(&cache, &model, &at);
        }
    }
}
