//! Random events against plain rules over JSON values, with lost sessions, kills and stops in between. A printed seed replays a run.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;
mod maker;
mod rules;
mod talk;

use std::collections::BTreeMap;

use common::{BASE, BOTH, Disk, apply, found, id, json};
use maker::{COUNTED, FIRST_USER, GUILDS, Maker, OWN, USERS};
use rules::{MESSAGE_AGE_MS, MESSAGE_COUNT, Model};
use serde_json::{Value as Json, json};
use trunkline_cache::{Cache, CacheConfig, Found, Kind, Users};
use trunkline_discord::EventKind as K;

/// Presences lie as they came, or packed, or a few this way and the others that way.
fn config(seed: u64) -> CacheConfig {
    let presence_bytes = [CacheConfig::PRESENCE_BYTES, 0, 300, 1_000][seed as usize / 3 % 4];
    CacheConfig { message_count: MESSAGE_COUNT as u32, message_age_ms: MESSAGE_AGE_MS, presence_bytes, ..CacheConfig::default() }
}

fn compare(cache: &Cache, model: &Model, maker: &Maker, at: &str) {
    let mut guilds: Vec<u64> = cache.guild_ids().map(|guild| guild - BASE).collect();
    guilds.sort_unstable();
    assert_eq!(guilds, model.guilds.keys().copied().collect::<Vec<_>>(), "{at}");
    let mut counts = BTreeMap::<Kind, u64>::new();
    for (guild, known) in &model.guilds {
        let here = BASE + guild;
        let told = |found: Option<Found>| {
            if let Some(found) = &found {
                assert_eq!((found.stale, found.guild_id), (!known.told(), here), "{at}");
            }
            common::found(found)
        };
        assert_eq!(told(cache.guild(here)), known.whole(), "{at}");
        for (key, object) in &known.objects {
            *counts.entry(key.0).or_default() += 1;
            let name = BASE + key.1;
            let (got, wanted) = match key.0 {
                Kind::Member => (cache.member(here, name), model.member(*guild, key.1).unwrap()),
                Kind::Invite => (cache.invite_by_code(here, &key.1.to_string()), object.clone()),
                Kind::Emojis | Kind::Stickers => (cache.one(key.0, here, 0), object.clone()),
                kind => (cache.one(kind, here, name), object.clone()),
            };
            assert_eq!(told(got), Some(wanted), "{at}: {key:?} of guild {guild}");
        }
    }
    for (key, object) in &model.outside {
        *counts.entry(key.0).or_default() += 1;
        assert_eq!(found(cache.one(key.0, 0, BASE + key.1)).as_ref(), Some(object), "{at}: {key:?}");
    }
    counts.insert(Kind::State, model.guilds.len() as u64);
    counts.insert(Kind::Guild, model.guilds.values().filter(|guild| guild.object.is_some()).count() as u64);
    counts.insert(Kind::OwnUser, u64::from(model.own.is_some()));
    counts.insert(Kind::User, model.users.len() as u64);
    for kind in Kind::ALL {
        if kind != Kind::Message {
            assert_eq!(cache.size(kind).count, counts.get(&kind).copied().unwrap_or(0), "{at}: {kind:?}");
        }
    }
    for user in FIRST_USER..FIRST_USER + USERS {
        let wanted: Vec<u64> = model
            .guilds
            .iter()
            .filter(|(_, guild)| guild.objects.contains_key(&(Kind::Member, user)))
            .map(|(guild, _)| *guild + BASE)
            .collect();
        assert_eq!(cache.mutual_guilds(BASE + user), wanted, "{at}: guilds of user {user}");
        let own = model.own.as_ref().filter(|_| user == OWN);
        assert_eq!(found(cache.user(BASE + user)).as_ref(), own.or(model.users.get(&user)), "{at}: user {user}");
    }
    compare_messages(cache, model, maker, at);
}

fn compare_messages(cache: &Cache, model: &Model, maker: &Maker, at: &str) {
    let mut channels: Vec<u64> = Vec::new();
    for (message, channel) in &maker.messages {
        let wanted = model.messages.get(message).filter(|_| model.alive(*message));
        let got = cache.message(BASE + message);
        if let (Some(got), Some(wanted)) = (&got, wanted) {
            let guild = if wanted.guild == 0 { 0 } else { BASE + wanted.guild };
            let stale = model.guilds.get(&wanted.guild).is_some_and(|guild| !guild.told());
            assert_eq!((got.guild_id, got.stale), (guild, stale), "{at}: message {message}");
        }
        assert_eq!(found(got).as_ref(), wanted.map(|message| &message.object), "{at}: message {message}");
        if !channels.contains(channel) {
            channels.push(*channel);
        }
    }
    for channel in channels {
        let wanted: Vec<Json> = model
            .messages
            .iter()
            .rev()
            .filter(|(id, message)| message.channel == channel && model.alive(**id))
            .map(|(message, _)| json!(id(*message)))
            .collect();
        let got: Vec<Json> = cache.messages(BASE + channel, u64::MAX, 100).iter().map(|found| json(&found.object)["id"].clone()).collect();
        assert_eq!(got, wanted, "{at}: messages of channel {channel}");
    }
}

/// An event without something that its kind must have.
fn spoilt(maker: &mut Maker, kind: K, d: &Json) -> Option<Json> {
    let needed: &[&str] = match kind {
        K::GuildCreate | K::GuildUpdate | K::GuildDelete | K::UserUpdate => &["id"],
        K::Ready => &["user"],
        K::MessageCreate | K::MessageUpdate | K::MessageDelete => &["id", "channel_id"],
        K::MessageDeleteBulk => &["ids", "channel_id"],
        K::MessageReactionAdd | K::MessageReactionRemove => &["message_id", "user_id", "emoji"],
        K::MessageReactionRemoveAll => &["message_id"],
        K::MessageReactionRemoveEmoji => &["message_id", "emoji"],
        K::MessagePollVoteAdd | K::MessagePollVoteRemove => &["message_id", "user_id", "answer_id"],
        K::GuildMemberAdd | K::GuildMemberUpdate | K::GuildMemberRemove | K::PresenceUpdate | K::GuildBanAdd | K::GuildBanRemove => {
            &["guild_id", "user"]
        }
        K::GuildRoleCreate | K::GuildRoleUpdate => &["guild_id", "role"],
        K::GuildRoleDelete => &["guild_id", "role_id"],
        K::GuildEmojisUpdate => &["guild_id", "emojis"],
        K::GuildMembersChunk => &["guild_id", "members"],
        K::ThreadListSync => &["guild_id", "threads"],
        K::ThreadCreate | K::ThreadUpdate | K::ThreadDelete | K::StageInstanceCreate | K::IntegrationDelete => &["guild_id", "id"],
        _ => return None,
    };
    let key = maker.pick(needed);
    let mut d = d.clone();
    match maker.pick(&[None, Some(json!(null)), Some(json!("x")), Some(json!([{}])), Some(json!({"a": {}})), Some(json!(true))]) {
        // A list or map may be what is wanted, only empty of sense.
        Some(odd) if !matches!(key, "emojis" | "ids" | "members" | "threads" | "emoji") => d[key] = odd,
        _ => drop(d.as_object_mut().unwrap().remove(key)),
    }
    Some(d)
}

#[test]
fn any_run_of_events_lost_sessions_and_restarts_gives_what_plain_rules_give() {
    let mut told = BTreeMap::<&str, u64>::new();
    for seed in 0..120u64 {
        println!("seed={seed}");
        run(seed, &mut told);
    }
    println!("events with a previous object: {told:?}");
    assert!(told.len() >= 25, "previous objects came of {told:?} only");
}

fn run(seed: u64, told: &mut BTreeMap<&str, u64>) {
    let mut maker = Maker::new(seed);
    let (mut cache, mut model, mut disk) = (Cache::new(config(seed), Users::default()), Model::default(), Disk::default());
    let only = [BOTH.to_vec(), vec![BOTH[0]], vec![BOTH[1]]][seed as usize % 3].clone();
    let steps = 300;
    for step in 0..steps {
        let mut at = format!("seed {seed}, step {step}");
        let chance = maker.dice.below(40);
        let special = chance < 3;
        match chance {
            0 => {
                let named: Vec<u64> = (1..=GUILDS).filter(|_| !maker.one_in(4)).collect();
                cache.ready(&named.iter().map(|guild| BASE + guild).collect::<Vec<_>>());
                model.ready(&named);
            }
            1 => {
                disk.save(&mut cache);
                cache = disk.load_with(config(seed), step % 2 == 0);
                model.killed();
            }
            2 => {
                disk.stop(&mut cache);
                cache = disk.load_with(config(seed), step % 2 == 0);
                model.stopped();
            }
            3 => disk.save(&mut cache),
            _ => {
                let (kind, d) = maker.event();
                let encoding = maker.pick(&only);
                at = format!("{at}: {} {d}", kind.name());
                if maker.one_in(12)
                    && let Some(bad) = spoilt(&mut maker, kind, &d)
                {
                    let change = apply(&mut cache, encoding, kind, &bad);
                    assert!(change.malformed && change.previous.is_none() && change.origin.is_none(), "{at}: spoilt as {bad}");
                } else {
                    let times = if COUNTED.contains(&kind) { 1 } else { 1 + maker.dice.below(2) };
                    for _ in 0..times {
                        let change = apply(&mut cache, encoding, kind, &d);
                        assert!(!change.malformed, "{at}");
                        let (previous, origin) = model.apply(kind, &d);
                        if previous.is_some() {
                            *told.entry(kind.name()).or_default() += 1;
                        }
                        assert_eq!(change.previous.as_ref().map(|object| json(object)), previous, "{at}");
                        assert_eq!(change.origin, origin, "{at}");
                    }
                }
            }
        }
        // Every answer of every event is compared above; everything that is kept, now and then.
        if special || step % 5 == 4 || step + 1 == steps {
            compare(&cache, &model, &maker, &at);
        }
    }
}
