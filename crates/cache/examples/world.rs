//! What a cache of a whole bot costs: bytes per membership, time to load, time per event, time to search.
//!
//! `cargo run --release -p trunkline-cache --example world [-- --small] [--members]`
//!
//! 2 000 guilds of 300 members by default, 100 with `--small`; `--members` keeps members and users only. Resident bytes are what the
//! process gained by loading, so what the allocator wastes counts too.
#![recursion_limit = "256"]
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

#[allow(clippy::all)]
#[path = "../../testbed/src/world.rs"]
mod world;

use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use trunkline_cache::{Cache, CacheConfig, Kind, MemberQuery, Rows, Users};
use trunkline_discord::{Dice, EventKind};
use trunkline_etf::{ETF_VERSION, Encoding, Limits, Value};
use world::{World, etf};

const SHARDS: usize = 2;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Nanoseconds that this thread has run: a machine that is busy with something else does not count.
fn ran_ns() -> u64 {
    std::thread::yield_now();
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// Whether a body's terms make sense: a walk over them, in which nothing is read.
fn walked(body: &Bytes, document: &mut Vec<u8>) -> bool {
    document.clear();
    document.push(ETF_VERSION);
    document.extend_from_slice(body);
    Value::parse(Encoding::Etf, document, &Limits::GATEWAY).is_ok()
}

fn apply(cache: &mut Cache, kind: EventKind, body: &Bytes) {
    let change = cache.apply(kind, Value::from_raw(Encoding::Etf, body), body);
    assert!(!change.malformed, "{}", kind.name());
}

fn config(members_only: bool) -> CacheConfig {
    let all = CacheConfig::default();
    let keep = |kind: &Kind| members_only && !matches!(kind, Kind::Member | Kind::User);
    Kind::ALL.into_iter().filter(keep).fold(all, CacheConfig::without)
}

fn main() {
    let has = |flag: &str| std::env::args().any(|arg| arg == flag);
    let world = World::of_guilds(if has("--small") { 100 } else { 2_000 });
    let users = Users::default();
    let mut caches: Vec<Cache> = (0..SHARDS).map(|_| Cache::new(config(has("--members")), users.clone())).collect();
    // Once through the generator, so that its own room is not counted.
    let room = etf(&world.guild_create(0));
    drop(room);
    let before = resident();
    let (mut took, mut bytes) = (0, 0);
    let mut dice = Dice::new(5);
    let mut events = Vec::new();
    let mut some = Vec::new();
    for guild in 0..world.guilds {
        let create = world.guild_create(guild);
        let body = Bytes::from(etf(&create));
        bytes += body.len();
        let cache = &mut caches[guild as usize % SHARDS];
        let begun = Instant::now();
        apply(cache, EventKind::GuildCreate, &body);
        took += begun.elapsed().as_nanos() as u64;
        for _ in 0..(4_000 / world.guilds).max(1) {
            let (name, kind, d) = event(&create, &mut dice);
            events.push((guild as usize % SHARDS, name, kind, Bytes::from(etf(&d))));
        }
        if guild < 50 {
            some.push(body);
        }
        if guild % 50 == 0 {
            caches.iter_mut().for_each(|cache| drop(cache.take_changes()));
        }
    }
    caches.iter_mut().for_each(|cache| drop(cache.take_changes()));
    let gained = resident().saturating_sub(before);
    let memberships = world.memberships();
    println!("{} guilds, {memberships} memberships of {} users; {} MB of ETF", world.guilds, users.size().count, bytes / 1_000_000);
    println!("resident: {} MB, {} bytes per membership", gained / 1_000_000, gained / memberships);
    let counted: u64 = caches.iter().map(Cache::bytes).sum::<u64>() - users.size().bytes + users.bytes();
    println!("counted:  {} MB, {} bytes per membership", counted / 1_000_000, counted / memberships);
    for kind in Kind::ALL {
        let (count, bytes) = caches.iter().map(|cache| cache.size(kind)).fold((0, 0), |sum, size| (sum.0 + size.count, sum.1 + size.bytes));
        if let Some(each) = bytes.checked_div(count) {
            println!("  {:14} {count:8} objects, {each:4} bytes each, {:4} per membership", kind.as_str(), bytes / memberships);
        }
    }
    let memory = caches.iter().map(Cache::memory);
    let (tables, indexes, spare) =
        memory.fold((0, 0, 0), |sum, memory| (sum.0 + memory.tables, sum.1 + memory.indexes, sum.2 + memory.room));
    println!(
        "  tables {} per membership, indexes {}, room {}; users' tables and room {}",
        tables / memberships,
        indexes / memberships,
        spare / memberships,
        (users.bytes() - users.size().bytes) / memberships
    );
    println!("GUILD_CREATE of {}: {} µs", world.members, took / 1_000 / u64::from(world.guilds));
    creates(&some);
    if has("--creates") {
        (0..20).for_each(|_| creates(&some));
        return;
    }
    mix(&events, &mut caches);
    if has("--mix") {
        return;
    }
    search(&world, &mut caches[0]);
    restart(&mut caches, has("--members"));
}

/// Guilds told to fresh caches, over and over.
fn creates(bodies: &[Bytes]) {
    const ROUNDS: u64 = 20;
    let begun = ran_ns();
    for _ in 0..ROUNDS {
        let mut cache = Cache::default();
        bodies.iter().for_each(|body| apply(&mut cache, EventKind::GuildCreate, body));
    }
    let took = ran_ns() - begun;
    let mut document = Vec::new();
    let begun = ran_ns();
    for _ in 0..ROUNDS {
        bodies.iter().for_each(|body| assert!(walked(body, &mut document)));
    }
    let (walk, many) = (ran_ns() - begun, 1_000 * ROUNDS * bodies.len() as u64);
    println!("GUILD_CREATE, {} guilds alone: {} µs each, beside a mere walk of {}", bodies.len(), took / many, walk / many);
}

/// One event of a busy bot's mix without presences, in a guild.
fn event(guild: &Json, dice: &mut Dice) -> (&'static str, EventKind, Json) {
    let id = guild["id"].as_str().unwrap();
    let number: u64 = id.parse().unwrap();
    let members = guild["members"].as_array().unwrap();
    let mut from = members[dice.below(members.len() as u64) as usize].clone();
    let user = from["user"]["id"].clone();
    let place = &guild["channels"][7 + dice.below(5) as usize];
    let channel = &place["id"];
    match dice.below(100) {
        0..40 => {
            let author = from.as_object_mut().unwrap().remove("user").unwrap();
            let d = json!({"id": (number + dice.below(1 << 50)).to_string(), "type": 0, "content": "a message of some words, as people write them in chats",
                "channel_id": channel, "guild_id": id, "author": author, "member": from, "attachments": [], "embeds": [], "mentions": [],
                "mention_roles": [], "pinned": false, "mention_everyone": false, "tts": false, "timestamp": "2026-03-01T10:00:00.123000+00:00",
                "edited_timestamp": null, "flags": 0, "components": [], "nonce": "1234567890123456789"});
            ("message", EventKind::MessageCreate, d)
        }
        40..50 => {
            let d = json!({"user_id": user, "channel_id": channel, "message_id": id, "guild_id": id, "member": from,
                "emoji": {"id": null, "name": "👍"}, "burst": false, "type": 0, "message_author_id": id});
            ("reaction", EventKind::MessageReactionAdd, d)
        }
        50..65 => {
            let d = json!({"guild_id": id, "channel_id": channel, "user_id": user, "member": from,
                "session_id": format!("{:016x}{:016x}", dice.next_u64(), dice.next_u64()), "deaf": false, "mute": false,
                "self_deaf": dice.below(2) == 0, "self_mute": dice.below(2) == 0, "self_video": false, "suppress": false,
                "request_to_speak_timestamp": null});
            ("voice", EventKind::VoiceStateUpdate, d)
        }
        65..80 => {
            from["guild_id"] = json!(id);
            if dice.below(3) > 0 {
                from["nick"] = json!(format!("nick {}", dice.below(1_000_000)));
            }
            ("member", EventKind::GuildMemberUpdate, from)
        }
        80..90 => {
            let d = json!({"guild_id": id, "channel_id": channel, "user_id": user, "timestamp": 1_790_000_000, "member": from});
            ("typing", EventKind::TypingStart, d)
        }
        90..95 => {
            let d = json!({"guild_id": id, "user": {"id": user}, "status": "idle", "client_status": {"desktop": "idle"}, "activities": [
                {"id": "custom", "name": "Custom Status", "type": 4, "state": format!("busy {}", dice.below(1000)), "created_at": 1_790_000_000_000_u64}]});
            ("presence", EventKind::PresenceUpdate, d)
        }
        _ => {
            let mut d = place.clone();
            d["guild_id"] = json!(id);
            d["last_message_id"] = json!((number + dice.below(1 << 50)).to_string());
            ("channel", EventKind::ChannelUpdate, d)
        }
    }
}

fn mix(events: &[(usize, &'static str, EventKind, Bytes)], caches: &mut [Cache]) {
    const ROUNDS: u64 = 20;
    let mut run = |what: &str, wanted: &dyn Fn(&str) -> bool| {
        let chosen: Vec<_> = events.iter().filter(|event| wanted(event.1)).collect();
        let mut took = 0;
        for _ in 0..ROUNDS {
            let begun = ran_ns();
            for (shard, _, kind, body) in &chosen {
                apply(&mut caches[*shard], *kind, body);
            }
            took += ran_ns() - begun;
            caches.iter_mut().for_each(|cache| drop(cache.take_changes()));
        }
        // The floor: a walk over the body's terms.
        let mut document = Vec::new();
        let begun = ran_ns();
        for _ in 0..ROUNDS {
            for (_, _, _, body) in &chosen {
                assert!(walked(body, &mut document));
            }
        }
        let (walk, many) = (ran_ns() - begun, ROUNDS * chosen.len().max(1) as u64);
        println!("{what:12} {:6} ns an event, beside a mere walk of {:5}", took / many, walk / many);
    };
    let only = std::env::args().skip_while(|arg| arg != "--only").nth(1);
    if let Some(only) = only {
        (0..100).for_each(|_| run(&only, &|of| of == only));
        return;
    }
    run("mix", &|_| true);
    for name in ["message", "reaction", "voice", "member", "typing", "presence", "channel"] {
        run(name, &|of| of == name);
    }
}

fn search(world: &World, cache: &mut Cache) {
    let guild = world.guild_id(0);
    let query = MemberQuery { prefix: Some("A".into()), limit: 100, ..MemberQuery::default() };
    let begun = Instant::now();
    let found = cache.find_members(guild, &query).len();
    let first = begun.elapsed();
    let begun = Instant::now();
    cache.find_members(guild, &query);
    println!("search in {} members: {found} found; first {} µs, then {} µs", world.members, first.as_micros(), begun.elapsed().as_micros());
    // The largest guild there can be, its members in chunks.
    let guild = 7 << 40;
    let many = if world.guilds > 1_000 { 500_000 } else { 20_000 };
    let create = json!({"id": guild.to_string(), "name": "large", "roles": [], "channels": [], "members": [], "member_count": many});
    apply(cache, EventKind::GuildCreate, &Bytes::from(etf(&create)));
    let base = World { guilds: 1, members: 1_000, channels: 0, roles: 1, emojis: 0, seed: 77 };
    let members = base.guild_create(0)["members"].as_array().unwrap().clone();
    let mut dice = Dice::new(9);
    for chunk in 0..many / 1_000 {
        let mut here = members.clone();
        for (at, member) in here.iter_mut().enumerate() {
            member["user"]["id"] = json!((guild + (1_000 * chunk + at as u64) * 4_194_304).to_string());
            member["user"]["username"] = json!(format!("{}{}", member["user"]["username"].as_str().unwrap(), dice.below(100_000)));
        }
        apply(
            cache,
            EventKind::GuildMembersChunk,
            &Bytes::from(etf(&json!({"guild_id": guild.to_string(), "members": here, "chunk_index": chunk, "chunk_count": many / 1_000}))),
        );
    }
    cache.take_changes();
    for prefix in ["a", "et", "tao", "n", "zz"] {
        let query = MemberQuery { prefix: Some(prefix.into()), limit: 100, ..MemberQuery::default() };
        let begun = Instant::now();
        let found = cache.find_members(guild, &query).len();
        let first = begun.elapsed();
        let begun = Instant::now();
        cache.find_members(guild, &query);
        println!(
            "search for {prefix:?} in {many} members: {found} found; first {} µs, then {} µs; index {} MB",
            first.as_micros(),
            begun.elapsed().as_micros(),
            cache.memory().search / 1_000_000
        );
    }
    let begun = Instant::now();
    let found = cache.query_members(guild, "tao", 0, 100).len();
    println!("search for \"tao\" inside names: {found} found, {} µs", begun.elapsed().as_micros());
    let begun = Instant::now();
    let listed = cache.list(Kind::Member, guild, guild + 100_000 * 4_194_304, 1_000).len();
    println!("a page of {listed} members of {many}: {} µs", begun.elapsed().as_micros());
    let begun = Instant::now();
    apply(cache, EventKind::GuildDelete, &Bytes::from(etf(&json!({"id": guild.to_string()}))));
    println!("the guild's removal: {} ms", begun.elapsed().as_millis());
}

/// All rows through a clean stop and back.
fn restart(caches: &mut [Cache], members_only: bool) {
    let mut rows = Vec::new();
    for cache in caches.iter_mut() {
        let ids: Vec<u64> = cache.guild_ids().collect();
        // Every key counts as changed when it is loaded into another cache and taken from there; here a fresh copy is made by hand.
        rows.push(cache.all_rows());
        assert_eq!(cache.guild_ids().count(), ids.len());
    }
    let count: usize = rows.iter().map(Vec::len).sum();
    let begun = Instant::now();
    let checked: Vec<Rows> = rows
        .iter()
        .map(|rows| {
            let mut checked = Rows::default();
            rows.iter().for_each(|(key, value)| checked.push(key, value).unwrap());
            checked
        })
        .collect();
    let check = begun.elapsed();
    let users = Users::default();
    let mut loaded: Vec<Cache> = rows.iter().map(|_| Cache::new(config(members_only), users.clone())).collect();
    for (cache, rows) in loaded.iter_mut().zip(&checked) {
        assert_eq!(cache.load_rows(rows), 0);
    }
    println!("{count} rows: checked in {} ms, and loaded after {} ms", check.as_millis(), begun.elapsed().as_millis());
    for (cache, before) in loaded.iter().zip(caches) {
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::User) {
            assert_eq!(cache.size(kind).count, before.size(kind).count, "{}", kind.as_str());
        }
    }
}
