//! A cache of a guild, kept up by events alone, must come to what a new session is told: every event concerns what exists, says what
//! changed, and leaves nothing out.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::connect;
use serde_json::{Map, Value, json};
use trunkline_sim::{Config, Kind, Mix, Sim};

const JSON: &str = "v=10&encoding=json";

/// One guild, as a client that believes every event would hold it.
#[derive(Debug, PartialEq)]
struct Mirror {
    /// The guild's own fields.
    guild: Map<String, Value>,
    /// Objects by list and id.
    lists: BTreeMap<&'static str, BTreeMap<String, Value>>,
    own: Value,
}

const LISTS: [(&str, &str); 10] = [
    ("roles", "/id"),
    ("emojis", "/id"),
    ("stickers", "/id"),
    ("channels", "/id"),
    ("threads", "/id"),
    ("members", "/user/id"),
    ("voice_states", "/user_id"),
    ("presences", "/user/id"),
    ("stage_instances", "/id"),
    ("guild_scheduled_events", "/id"),
];

fn text(value: &Value, at: &str) -> String {
    value.pointer(at).and_then(Value::as_str).unwrap_or_else(|| panic!("{at} in {value}")).to_string()
}

/// Without what is no part of the object.
fn object(value: &Value) -> Value {
    let mut value = value.clone();
    let fields = value.as_object_mut().unwrap();
    for extra in ["trunkline_sim", "guild_id", "newly_created"] {
        fields.remove(extra);
    }
    // A member's user and its own fields are compared apart from presence times.
    fields.remove("processed_at_timestamp");
    value
}

impl Mirror {
    fn new(guild: &Value) -> Mirror {
        let mut guild = object(guild).as_object().unwrap().clone();
        let mut lists = BTreeMap::new();
        for (list, key) in LISTS.into_iter().chain([("soundboard_sounds", "/sound_id")]) {
            let items = guild.remove(list).unwrap_or_else(|| panic!("GUILD_CREATE has no {list}"));
            let items = items.as_array().unwrap().iter().map(|item| (text(item, key), object(item)));
            lists.insert(list, items.collect());
        }
        Mirror { guild, lists, own: Value::Null }
    }

    fn of(&mut self, list: &str) -> &mut BTreeMap<String, Value> {
        self.lists.get_mut(list).unwrap()
    }

    fn add(&mut self, list: &str, key: &str, d: &Value) {
        let old = self.of(list).insert(text(d, key), object(d));
        assert_eq!(old, None, "{list}: created twice");
    }

    /// Answers whether anything changed.
    fn update(&mut self, list: &str, key: &str, d: &Value) -> bool {
        let id = text(d, key);
        let new = object(d);
        let old = self.of(list).get_mut(&id).unwrap_or_else(|| panic!("{list}: update of what is not there: {d}"));
        // As a client does: what the event does not name stays.
        let mut merged = old.clone();
        for (name, value) in new.as_object().unwrap() {
            merged[name] = value.clone();
        }
        std::mem::replace(old, merged.clone()) != merged
    }

    fn remove(&mut self, list: &str, id: &str) {
        assert!(self.of(list).remove(id).is_some(), "{list}: {id} is not there");
    }

    fn replace(&mut self, list: &str, key: &str, items: &Value) {
        *self.of(list) = items.as_array().unwrap().iter().map(|item| (text(item, key), object(item))).collect();
    }

    /// Takes an event over. Answers whether an update changed something; None for what this mirror does not hold.
    fn take(&mut self, name: &str, d: &Value) -> Option<bool> {
        if d["guild_id"].is_null() && !matches!(name, "USER_UPDATE" | "GUILD_UPDATE") {
            return None;
        }
        let mut changed = None;
        match name {
            "GUILD_UPDATE" => {
                for (name, value) in object(d).as_object().unwrap() {
                    match name.as_str() {
                        "roles" | "emojis" | "stickers" => self.replace(name, "/id", value),
                        _ => {
                            changed = Some(self.guild.insert(name.clone(), value.clone()).as_ref() != Some(value) || changed == Some(true))
                        }
                    }
                }
            }
            "GUILD_ROLE_CREATE" => self.add("roles", "/id", &d["role"]),
            "GUILD_ROLE_UPDATE" => changed = Some(self.update("roles", "/id", &d["role"])),
            "GUILD_ROLE_DELETE" => self.remove("roles", &text(d, "/role_id")),
            "GUILD_EMOJIS_UPDATE" => self.replace("emojis", "/id", &d["emojis"]),
            "GUILD_STICKERS_UPDATE" => self.replace("stickers", "/id", &d["stickers"]),
            "CHANNEL_CREATE" => self.add("channels", "/id", d),
            "CHANNEL_UPDATE" => changed = Some(self.update("channels", "/id", d)),
            "CHANNEL_DELETE" => self.remove("channels", &text(d, "/id")),
            "CHANNEL_PINS_UPDATE" => {
                let id = text(d, "/channel_id");
                self.of("channels").get_mut(&id).expect("a known channel")["last_pin_timestamp"] = d["last_pin_timestamp"].clone();
            }
            "THREAD_CREATE" => self.add("threads", "/id", d),
            "THREAD_UPDATE" => {
                let id = text(d, "/id");
                if d["thread_metadata"]["archived"] == true {
                    self.remove("threads", &id);
                } else if self.of("threads").contains_key(&id) {
                    changed = Some(self.update("threads", "/id", d));
                } else {
                    self.add("threads", "/id", d);
                }
            }
            "THREAD_DELETE" => self.remove("threads", &text(d, "/id")),
            "THREAD_MEMBERS_UPDATE" => {
                let thread = self.of("threads").get_mut(&text(d, "/id")).expect("a known thread");
                assert_ne!(thread["member_count"], d["member_count"]);
                thread["member_count"] = d["member_count"].clone();
            }
            "THREAD_LIST_SYNC" => {
                let before = self.of("threads").clone();
                self.replace("threads", "/id", &d["threads"]);
                assert_eq!(&before, self.of("threads"), "a sync tells what is known");
            }
            "GUILD_MEMBER_ADD" => {
                self.add("members", "/user/id", d);
                let count = self.guild["member_count"].as_u64().unwrap();
                self.guild.insert("member_count".into(), json!(count + 1));
            }
            "GUILD_MEMBER_UPDATE" => changed = Some(self.update("members", "/user/id", d)),
            "GUILD_MEMBER_REMOVE" => {
                self.remove("members", &text(d, "/user/id"));
                let count = self.guild["member_count"].as_u64().unwrap();
                self.guild.insert("member_count".into(), json!(count - 1));
            }
            "PRESENCE_UPDATE" => changed = Some(self.update("presences", "/user/id", d)),
            "USER_UPDATE" => {
                let own = self.of("members").get_mut(&text(d, "/id")).expect("the bot is a member");
                assert_ne!(own["user"]["username"], d["username"]);
                own["user"] = object(d);
            }
            "VOICE_STATE_UPDATE" => {
                let id = text(d, "/user_id");
                let mut state = object(d);
                let member = state.as_object_mut().unwrap().remove("member").unwrap();
                assert_eq!(self.of("members").get(&id), Some(&member), "the member in a voice state is as known");
                if d["channel_id"].is_null() {
                    self.remove("voice_states", &id);
                } else {
                    self.of("voice_states").insert(id, state);
                }
            }
            "STAGE_INSTANCE_CREATE" => self.add("stage_instances", "/id", d),
            "STAGE_INSTANCE_UPDATE" => changed = Some(self.update("stage_instances", "/id", d)),
            "STAGE_INSTANCE_DELETE" => self.remove("stage_instances", &text(d, "/id")),
            "GUILD_SCHEDULED_EVENT_CREATE" => self.add("guild_scheduled_events", "/id", d),
            "GUILD_SCHEDULED_EVENT_UPDATE" => changed = Some(self.update("guild_scheduled_events", "/id", d)),
            "GUILD_SCHEDULED_EVENT_DELETE" => self.remove("guild_scheduled_events", &text(d, "/id")),
            "GUILD_SCHEDULED_EVENT_USER_ADD" | "GUILD_SCHEDULED_EVENT_USER_REMOVE" => {
                let event = self.of("guild_scheduled_events").get_mut(&text(d, "/guild_scheduled_event_id")).expect("a known event");
                let count = event["user_count"].as_i64().unwrap();
                event["user_count"] = json!(if name.ends_with("ADD") { count + 1 } else { count - 1 });
            }
            "GUILD_SOUNDBOARD_SOUND_CREATE" => self.add("soundboard_sounds", "/sound_id", d),
            "GUILD_SOUNDBOARD_SOUND_UPDATE" => changed = Some(self.update("soundboard_sounds", "/sound_id", d)),
            "GUILD_SOUNDBOARD_SOUND_DELETE" => self.remove("soundboard_sounds", &text(d, "/sound_id")),
            "GUILD_SOUNDBOARD_SOUNDS_UPDATE" => {
                for sound in d["soundboard_sounds"].as_array().unwrap() {
                    self.update("soundboard_sounds", "/sound_id", sound);
                }
            }
            "SOUNDBOARD_SOUNDS" => {
                let before = self.of("soundboard_sounds").clone();
                self.replace("soundboard_sounds", "/sound_id", &d["soundboard_sounds"]);
                assert_eq!(&before, self.of("soundboard_sounds"));
            }
            _ => {}
        }
        // A member that another object shows is the one that is known.
        for at in ["/member", "/author"] {
            let a_member = d["webhook_id"].is_null() && name != "VOICE_STATE_UPDATE" && !name.starts_with("THREAD_");
            let Some(shown) = d.pointer(at).filter(|_| a_member && d["guild_id"].is_string()) else {
                continue;
            };
            let id = match (at, name) {
                ("/author", _) => text(d, "/author/id"),
                (_, "MESSAGE_CREATE" | "MESSAGE_UPDATE") => text(d, "/author/id"),
                _ => text(shown, "/user/id"),
            };
            let known = self.of("members").get(&id).unwrap_or_else(|| panic!("{name} shows {id}, who is no member"));
            let known = if at == "/author" { &known["user"] } else { known };
            for (field, value) in shown.as_object().unwrap() {
                assert!(field == "permissions" || &known[field] == value, "{name}: {field} of {id} is {value}, known {}", known[field]);
            }
        }
        changed
    }
}

async fn mirror(sim: &trunkline_sim::SimHandle) -> (crate::client::Client<tokio::io::DuplexStream>, Mirror) {
    let mut client = connect(sim, JSON).await;
    client.identify((0, 1)).await;
    let guild = client.event("GUILD_CREATE").await["d"].clone();
    (client, Mirror::new(&guild))
}

#[tokio::test(start_paused = true)]
async fn a_cache_kept_by_events_equals_what_a_new_session_is_told() {
    for seed in [1, 2, 7] {
        // Small enough to have every member and presence in GUILD_CREATE.
        let sim = Sim::start(Config { guilds: 1, members: 30, seed, mix: Mix::Every, ..Config::default() }).await.unwrap();
        let (mut client, mut mirror_of_events) = mirror(&sim).await;
        let mut updates: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        for round in 0..6 {
            sim.emit(500, None, None);
            tokio::time::sleep(std::time::Duration::from_secs(6)).await;
            let (mut fresh, told) = mirror(&sim).await;
            // The newest session is told the world after all events so far.
            let last = sim.sent().iter().find(|session| session.ordinal == 1).unwrap().last_s;
            while client.last_s < last {
                let payload = client.next().await.payload();
                let (name, d) = (payload["t"].as_str().unwrap().to_string(), &payload["d"]);
                if let Some(changed) = mirror_of_events.take(&name, d) {
                    let count = updates.entry(name).or_default();
                    count.0 += 1;
                    count.1 += u32::from(changed);
                }
            }
            for (list, items) in &told.lists {
                assert_eq!(items, &mirror_of_events.lists[list], "seed {seed} round {round}: {list}");
            }
            assert_eq!(told.guild, mirror_of_events.guild, "seed {seed} round {round}");
            fresh.close(1000).await;
        }
        let idle: Vec<_> = updates.iter().filter(|(_, (all, changed))| changed < all).collect();
        assert!(idle.is_empty(), "updates that change nothing: {idle:?}");
        assert_eq!(updates.len(), 9, "{updates:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_reactions_and_polls_concern_what_is_there() {
    let sim = Sim::start(Config { guilds: 1, members: 20, mix: Mix::Every, ..Config::default() }).await.unwrap();
    let (mut client, _) = mirror(&sim).await;
    sim.emit(6_000, None, None);
    let mut messages: BTreeMap<String, Value> = BTreeMap::new();
    let mut reactions: BTreeSet<(String, String, String)> = BTreeSet::new();
    let mut votes: BTreeSet<(String, String, String)> = BTreeSet::new();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut bulk = 0;
    for _ in 0..5_000 {
        let payload = client.next().await.payload();
        let (name, d) = (payload["t"].as_str().unwrap(), &payload["d"]);
        let message = || text(d, "/message_id");
        let emoji = || d["emoji"]["id"].as_str().or(d["emoji"]["name"].as_str()).unwrap().to_string();
        if name.starts_with("MESSAGE_") {
            *seen.entry(name.to_string()).or_default() += 1;
        }
        match name {
            "MESSAGE_CREATE" => assert!(messages.insert(text(d, "/id"), d.clone()).is_none()),
            "MESSAGE_UPDATE" => {
                let known = messages.get_mut(&text(d, "/id")).unwrap_or_else(|| panic!("{d}"));
                for same in ["/channel_id", "/author/id", "/guild_id", "/timestamp", "/poll"] {
                    assert_eq!(known.pointer(same), d.pointer(same), "{same}");
                }
                assert_ne!((&known["content"], &known["edited_timestamp"]), (&d["content"], &d["edited_timestamp"]));
                *known = d.clone();
            }
            "MESSAGE_DELETE" => {
                let id = text(d, "/id");
                assert_eq!(messages.remove(&id).unwrap_or_else(|| panic!("{d}"))["channel_id"], d["channel_id"]);
                reactions.retain(|(message, ..)| *message != id);
                votes.retain(|(message, ..)| *message != id);
            }
            "MESSAGE_DELETE_BULK" => {
                let ids: Vec<String> = d["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_string()).collect();
                bulk = bulk.max(ids.len());
                for id in ids {
                    assert_eq!(messages.remove(&id).unwrap_or_else(|| panic!("{d}"))["channel_id"], d["channel_id"]);
                    reactions.retain(|(message, ..)| *message != id);
                    votes.retain(|(message, ..)| *message != id);
                }
            }
            "MESSAGE_REACTION_ADD" => {
                assert!(messages.contains_key(&message()), "{d}");
                assert!(reactions.insert((message(), text(d, "/user_id"), emoji())), "{d}");
            }
            "MESSAGE_REACTION_REMOVE" => assert!(reactions.remove(&(message(), text(d, "/user_id"), emoji())), "{d}"),
            "MESSAGE_REACTION_REMOVE_ALL" | "MESSAGE_REACTION_REMOVE_EMOJI" => {
                let before = reactions.len();
                let one = name.ends_with("EMOJI");
                reactions.retain(|(of, _, which)| *of != message() || one && *which != emoji());
                assert!(reactions.len() < before, "{d}");
            }
            "MESSAGE_POLL_VOTE_ADD" => {
                let poll = messages.get(&message()).unwrap_or_else(|| panic!("{d}"))["poll"].clone();
                let answers: Vec<&Value> = poll["answers"].as_array().unwrap().iter().map(|answer| &answer["answer_id"]).collect();
                assert!(answers.contains(&&d["answer_id"]), "{d}");
                assert!(votes.insert((message(), text(d, "/user_id"), d["answer_id"].to_string())));
            }
            "MESSAGE_POLL_VOTE_REMOVE" => assert!(votes.remove(&(message(), text(d, "/user_id"), d["answer_id"].to_string())), "{d}"),
            _ => {}
        }
    }
    assert_eq!(seen.len(), 10, "{seen:?}");
    assert!(bulk > 1, "several messages at once");
}

#[tokio::test(start_paused = true)]
async fn guilds_have_every_field_and_users_are_shared_by_guilds() {
    let sim = Sim::start(Config { guilds: 40, members: 40, ..Config::default() }).await.unwrap();
    let mut client = connect(&sim, JSON).await;
    client.identify((0, 1)).await;
    let mut filled: BTreeMap<String, u32> = BTreeMap::new();
    let mut users: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for _ in 0..40 {
        let guild = client.event("GUILD_CREATE").await["d"].clone();
        let members = guild["members"].as_array().unwrap().clone();
        for (name, value) in guild.as_object().unwrap() {
            let there = !value.is_null() && value.as_array().is_none_or(|items| !items.is_empty());
            *filled.entry(name.clone()).or_default() += u32::from(there);
        }
        for (name, there) in [
            ("nick", members.iter().any(|m| m["nick"].is_string())),
            ("guild avatar", members.iter().any(|m| m["avatar"].is_string())),
            ("avatar", members.iter().any(|m| m["user"]["avatar"].is_string())),
            ("boost", members.iter().any(|m| m["premium_since"].is_string())),
            ("roles", members.iter().any(|m| m["roles"].as_array().is_some_and(|roles| roles.len() > 1))),
        ] {
            *filled.entry(name.to_string()).or_default() += u32::from(there);
        }
        for member in &members {
            users.entry(text(member, "/user/id")).or_default().push(member["user"].clone());
        }
    }
    for always in ["threads", "stickers", "guild_scheduled_events", "soundboard_sounds", "presences", "voice_states", "nick", "avatar"] {
        assert_eq!(filled[always], 40, "{always}: {filled:?}");
    }
    for mostly in ["icon", "stage_instances", "guild avatar", "boost", "roles", "banner", "splash", "vanity_url_code"] {
        assert!(filled[mostly] >= 5, "{mostly}: {filled:?}");
    }
    users.remove(&sim.bot_ids()[0].to_string());
    let mean = 40.0 * 40.0 / users.len() as f64;
    assert!((1.25..1.35).contains(&mean), "guilds a user: {mean}");
    assert!(users.values().all(|of| of.iter().all(|user| user == &of[0])), "a user is the same in all guilds");
}

#[tokio::test(start_paused = true)]
async fn the_bots_own_changes_are_in_every_guild_and_in_ready() {
    let sim = Sim::start(Config { guilds: 2, ..Config::default() }).await.unwrap();
    sim.emit(3, Some(Kind::UserUpdate), None);
    let mut client = connect(&sim, JSON).await;
    let ready = client.identify((0, 1)).await;
    assert_eq!(ready["d"]["user"]["username"], "simulated-0-3");
    for _ in 0..2 {
        let guild = client.event("GUILD_CREATE").await["d"].clone();
        let own = guild["members"].as_array().unwrap().iter().find(|m| m["user"]["id"] == ready["d"]["user"]["id"]).unwrap().clone();
        assert_eq!(own["user"], ready["d"]["user"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bot_leaves_a_guild_and_joins_it_again() {
    let sim = Sim::start(Config { guilds: 2, rate: 200.0, ..Config::default() }).await.unwrap();
    let (mut client, _) = mirror(&sim).await;
    let guild = sim.guild_ids()[1];
    sim.emit(1, Some(Kind::GuildDelete), Some(guild));
    let gone = client.event("GUILD_DELETE").await["d"].clone();
    assert_eq!(gone["id"], guild.to_string());
    assert_eq!(gone.get("unavailable"), None, "no outage: the bot is no member any more");
    let told = client.last_s;
    sim.emit(50, Some(Kind::MessageCreate), Some(guild));
    client.op(8, json!({"guild_id": guild, "query": "", "limit": 0})).await;
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    let mut late = connect(&sim, JSON).await;
    let ready = late.identify((0, 1)).await;
    assert_eq!(ready["d"]["guilds"].as_array().unwrap().len(), 1);
    sim.emit(1, Some(Kind::GuildCreate), Some(guild));
    let back = client.event("GUILD_CREATE").await;
    assert_eq!((&back["d"]["id"], &back["d"]["unavailable"]), (&json!(guild.to_string()), &json!(false)));
    let sent = &sim.sent()[0];
    let between = (told + 1..back["s"].as_u64().unwrap()).filter(|s| sent.guild_id(*s) == Some(guild)).count();
    assert_eq!(between, 0, "nothing of a guild that the bot has left");
    assert_eq!(sim.report().notes.iter().map(|note| note.kind).collect::<Vec<_>>(), ["unknown_guild"]);
}
