//! Users that guilds and shards share, and the durable copy.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{BASE, BOTH, apply, found, id, json as read};
use serde_json::{Value as Json, json};
use trunkline_cache::{Cache, CacheConfig, Kind, LoadError, Rows, Users};
use trunkline_discord::{Dice, EventKind as K};
use trunkline_etf::Encoding;

fn member(user: u64, name: &str) -> Json {
    json!({"user": {"id": id(user), "username": name}, "roles": [], "joined_at": "2020"})
}

fn create(guild: u64, members: &[Json]) -> Json {
    json!({"id": id(guild), "name": "g", "members": members, "channels": [{"id": id(guild * 1000), "type": 0}], "roles": [{"id": id(guild)}]})
}

fn shards(count: usize) -> (Users, Vec<Cache>) {
    let users = Users::default();
    let caches = (0..count).map(|_| Cache::new(CacheConfig::default(), users.clone())).collect();
    (users, caches)
}

fn rows(cache: &mut Cache) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    cache.take_changes().into_iter().map(|(key, value)| (key, value.map(|value| value.to_vec()))).collect()
}

fn key(kind: Kind, guild: u64, object: u64) -> Vec<u8> {
    let guild = if guild == 0 { 0 } else { BASE + guild };
    [&[kind as u8][..], &guild.to_be_bytes(), &(BASE + object).to_be_bytes()].concat()
}

#[test]
fn a_user_lies_once_for_all_guilds_and_shards_and_goes_with_the_last_membership() {
    const USERS: u64 = 8;
    const GUILDS: u64 = 40;
    for seed in 0..12 {
        println!("seed={seed}");
        let mut dice = Dice::new(seed);
        let (users, mut caches) = shards(3);
        let mut model: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        let mut known: BTreeSet<u64> = BTreeSet::new();
        for step in 0..1500 {
            let (guild, user) = (1 + dice.below(GUILDS), 1000 + dice.below(USERS));
            let cache = &mut caches[guild as usize % 3];
            let encoding = BOTH[dice.below(2) as usize];
            let names = |model: &mut BTreeMap<u64, BTreeSet<u64>>, user: u64| model.entry(user).or_default().insert(guild);
            match dice.below(20) {
                0 => {
                    apply(cache, encoding, K::GuildCreate, &create(guild, &[member(user, "new")]));
                    known.insert(guild);
                    names(&mut model, user);
                }
                1 if dice.below(3) == 0 => {
                    apply(cache, encoding, K::GuildDelete, &json!({"id": id(guild)}));
                    known.remove(&guild);
                    model.values_mut().for_each(|guilds| guilds.retain(|other| *other != guild));
                }
                2..13 if known.contains(&guild) => {
                    let mut d = member(user, &format!("name {step}"));
                    d["guild_id"] = json!(id(guild));
                    apply(cache, encoding, if dice.below(2) == 0 { K::GuildMemberAdd } else { K::GuildMemberUpdate }, &d);
                    names(&mut model, user);
                }
                13..16 => {
                    apply(cache, encoding, K::GuildMemberRemove, &json!({"guild_id": id(guild), "user": {"id": id(user)}}));
                    model.entry(user).or_default().remove(&guild);
                }
                16 if dice.below(20) == 0 => {
                    // A shard leaves, with all its guilds.
                    let shard = dice.below(3);
                    caches[shard as usize] = Cache::new(CacheConfig::default(), users.clone());
                    known.retain(|guild| guild % 3 != shard);
                    model.values_mut().for_each(|guilds| guilds.retain(|guild| guild % 3 != shard));
                }
                _ => {}
            }
            model.retain(|_, guilds| !guilds.is_empty());
            if step % 10 > 0 {
                continue;
            }
            assert_eq!(users.size().count, model.len() as u64, "seed {seed}, step {step}");
            assert_eq!(caches.iter().map(|cache| cache.size(Kind::User).bytes).sum::<u64>(), users.size().bytes);
            for user in 1000..1000 + USERS {
                let guilds: Vec<u64> = model.get(&user).into_iter().flatten().map(|guild| BASE + guild).collect();
                let seen = caches[0].mutual_guilds(BASE + user);
                assert_eq!(seen, guilds, "seed {seed}, step {step}");
                assert_eq!(caches[1].user(BASE + user).is_some(), !guilds.is_empty());
                for guild in guilds {
                    let cache = &caches[((guild - BASE) % 3) as usize];
                    let member = found(cache.member(guild, BASE + user)).unwrap();
                    assert_eq!(member["user"], found(cache.user(BASE + user)).unwrap(), "one and the same user");
                }
            }
        }
        drop(caches);
        assert_eq!(users.size(), Default::default());
    }
}

#[test]
fn a_user_told_by_one_shard_is_in_the_rows_of_every_shard_whose_guilds_name_it() {
    let (_, mut caches) = shards(2);
    for (guild, cache) in (1..).zip(&mut caches) {
        apply(cache, Encoding::Etf, K::GuildCreate, &create(guild, &[member(7, "old"), member(8, "other")]));
        assert!(rows(cache)[&key(Kind::User, 0, 7)].is_some());
    }
    let mut update = member(7, "new");
    update["guild_id"] = json!(id(1));
    apply(&mut caches[0], Encoding::Json, K::GuildMemberUpdate, &update);
    let (first, second) = (rows(&mut caches[0]), rows(&mut caches[1]));
    assert_eq!(first[&key(Kind::User, 0, 7)], second[&key(Kind::User, 0, 7)]);
    assert_eq!(second.len(), 1, "nothing else has changed there");
    apply(&mut caches[0], Encoding::Etf, K::GuildMemberRemove, &json!({"guild_id": id(1), "user": {"id": id(7)}}));
    assert_eq!(rows(&mut caches[0])[&key(Kind::User, 0, 7)], None, "no guild of this shard names it any more");
    assert!(rows(&mut caches[1]).is_empty());
    assert_eq!(found(caches[1].member(BASE + 2, BASE + 7)).unwrap()["user"]["username"], "new");
}

#[test]
fn what_is_told_again_unchanged_is_not_saved_again() {
    let mut cache = Cache::default();
    for encoding in BOTH {
        apply(&mut cache, encoding, K::GuildCreate, &create(1, &[member(7, "a")]));
        rows(&mut cache);
        let mut update = member(7, "a");
        update["guild_id"] = json!(id(1));
        apply(&mut cache, encoding, K::GuildMemberUpdate, &update);
        rows(&mut cache);
        for _ in 0..2 {
            apply(&mut cache, encoding, K::GuildMemberUpdate, &update);
            assert_eq!(rows(&mut cache), BTreeMap::new());
        }
    }
}

fn world(dice: &mut Dice, encoding: Encoding, caches: &mut [Cache]) {
    for guild in 1..12_u64 {
        let cache = &mut caches[guild as usize % 2];
        let members: Vec<Json> = (0..dice.below(20)).map(|_| 100 + dice.below(40)).map(|user| member(user, &format!("u{user}"))).collect();
        let mut d = create(guild, &members);
        d["voice_states"] = json!([{"user_id": id(100), "channel_id": id(guild * 1000)}]);
        d["presences"] = json!([{"user": {"id": id(101)}, "status": "idle", "activities": ["x".repeat(dice.below(2000) as usize)]}]);
        d["member_count"] = json!(dice.below(100));
        apply(cache, encoding, K::GuildCreate, &d);
        if dice.below(3) == 0 {
            apply(cache, encoding, K::GuildRoleDelete, &json!({"guild_id": id(guild), "role_id": id(guild)}));
        }
        if dice.below(3) == 0 {
            apply(cache, encoding, K::GuildDelete, &json!({"id": id(guild), "unavailable": true}));
        }
    }
    apply(&mut caches[0], encoding, K::Ready, &json!({"user": {"id": id(5), "username": "bot"}}));
}

fn everything(cache: &Cache) -> BTreeMap<Vec<u8>, Vec<u8>> {
    cache.all_rows().into_iter().map(|(key, value)| (key, value.to_vec())).collect()
}

#[test]
fn shards_come_back_from_their_rows_in_any_order() {
    for seed in 0..20 {
        println!("seed={seed}");
        let mut dice = Dice::new(seed);
        let (users, mut caches) = shards(2);
        world(&mut dice, BOTH[seed as usize % 2], &mut caches);
        let (again, mut loaded) = shards(2);
        for (cache, loaded) in caches.iter_mut().zip(&mut loaded) {
            let mut rows: Vec<_> = cache.take_stop_changes().into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
            for at in (1..rows.len()).rev() {
                rows.swap(at, dice.below(at as u64 + 1) as usize);
            }
            if seed % 2 == 0 {
                rows.iter().for_each(|(key, value)| loaded.load(key, value).unwrap());
            } else {
                let mut checked = Rows::default();
                rows.iter().for_each(|(key, value)| checked.push(key, value).unwrap());
                assert_eq!(checked.len(), rows.len());
                assert_eq!(loaded.load_rows(&checked), 0);
            }
            assert_eq!(loaded.changes_pending(), 0, "what was loaded needs no saving");
            assert_eq!(everything(loaded), everything(cache));
        }
        assert_eq!(again.size().count, users.size().count);
        for (cache, loaded) in caches.iter().zip(&loaded) {
            for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::User) {
                assert_eq!(loaded.size(kind), cache.size(kind), "{}", kind.as_str());
            }
            for guild in cache.guild_ids() {
                assert_eq!(loaded.list(Kind::Member, guild, 0, 1000), cache.list(Kind::Member, guild, 0, 1000));
            }
            for user in 100..140 {
                assert_eq!(loaded.user(BASE + user), cache.user(BASE + user));
            }
        }
    }
}

#[test]
fn presences_are_saved_at_a_clean_stop_only_and_their_rows_go_with_the_next_checkpoint() {
    let mut cache = Cache::default();
    let mut d = create(1, &[member(7, "a")]);
    d["presences"] = json!([{"user": {"id": id(7)}, "status": "idle"}]);
    apply(&mut cache, Encoding::Etf, K::GuildCreate, &d);
    apply(
        &mut cache,
        Encoding::Etf,
        K::MessageCreate,
        &json!({"id": id(9), "channel_id": id(1000), "guild_id": id(1), "author": {"id": id(7)}}),
    );
    let (presence, message) = (key(Kind::Presence, 1, 7), key(Kind::Message, 1, 9));
    let running = rows(&mut cache);
    assert!(!running.contains_key(&presence) && !running.contains_key(&message) && running.len() > 4);
    let stop: BTreeMap<_, _> = cache.take_stop_changes().into_iter().collect();
    assert_eq!(stop.keys().collect::<Vec<_>>(), [&presence, &message]);
    let mut again = Cache::default();
    for (key, value) in running
        .iter()
        .map(|(key, value)| (key, value.clone().unwrap()))
        .chain(stop.iter().map(|(key, value)| (key, value.clone().unwrap().to_vec())))
    {
        again.load(key, &value).unwrap();
    }
    assert_eq!(found(again.presence(BASE + 1, BASE + 7)).unwrap()["status"], "idle");
    assert!(again.message(BASE + 9).is_some());
    let first = rows(&mut again);
    assert_eq!(first, BTreeMap::from([(presence, None), (message, None)]), "they are not true for longer");
    assert!(again.presence(BASE + 1, BASE + 7).is_some());
    assert!(rows(&mut again).is_empty());
}

#[test]
fn a_member_whose_users_row_was_lost_still_says_who_it_is() {
    let mut cache = Cache::default();
    apply(&mut cache, Encoding::Etf, K::GuildCreate, &create(1, &[member(7, "a")]));
    let mut again = Cache::default();
    for (key, value) in rows(&mut cache).into_iter().filter(|(key, _)| key[0] != Kind::User as u8) {
        again.load(&key, &value.unwrap()).unwrap();
    }
    assert_eq!(found(again.member(BASE + 1, BASE + 7)).unwrap()["user"], json!({"id": id(7)}));
    assert_eq!(again.user(BASE + 7), None);
    let mut update = member(7, "b");
    update["guild_id"] = json!(id(1));
    apply(&mut again, Encoding::Etf, K::GuildMemberUpdate, &update);
    assert_eq!(read(&again.user(BASE + 7).unwrap().object)["username"], "b");
}

#[test]
fn users_whom_no_member_row_names_are_dropped_and_so_is_their_row() {
    let (users, mut caches) = shards(1);
    let mut cache = Cache::default();
    apply(&mut cache, Encoding::Etf, K::GuildCreate, &create(1, &[member(7, "a")]));
    let row = rows(&mut cache)[&key(Kind::User, 0, 7)].clone().unwrap();
    caches[0].load(&key(Kind::User, 0, 7), &row).unwrap();
    assert_eq!(rows(&mut caches[0]), BTreeMap::from([(key(Kind::User, 0, 7), None)]));
    assert_eq!(users.size().count, 0);
    assert_eq!(caches[0].user(BASE + 7), None);
}

#[test]
fn rows_of_another_version_are_refused_as_such() {
    let mut cache = Cache::default();
    for old in [&b" {}"[..], &[131, 116, 0, 0, 0, 0], &[0, 0x80, 0]] {
        assert_eq!(cache.load(&key(Kind::Channel, 1, 2), old), Err(LoadError::Version(Kind::Channel)));
        assert_eq!(Rows::default().push(&key(Kind::Channel, 1, 2), old), Err(LoadError::Version(Kind::Channel)));
    }
    let mut state = key(Kind::State, 1, 0);
    state.truncate(9);
    assert_eq!(cache.load(&state, &[0; 9]), Err(LoadError::Version(Kind::State)));
    assert_eq!(cache.load(&key(Kind::Channel, 1, 2), &[1, 0x80, 0, 0]), Err(LoadError::Value(Kind::Channel)), "a byte too many");
    // One damaged row is one row, and not another version for which all would go.
    assert_eq!(cache.load(&key(Kind::Channel, 1, 2), &[]), Err(LoadError::Value(Kind::Channel)), "empty");
    assert_eq!(cache.guild_ids().count(), 0);
}

#[test]
fn lists_page_in_the_order_of_ids() {
    let mut cache = Cache::default();
    let members: Vec<Json> = (0..300).map(|user| member(1000 + user * 7 % 300, "u")).collect();
    apply(&mut cache, Encoding::Etf, K::GuildCreate, &create(1, &members));
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = cache.list(Kind::Member, BASE + 1, after, 64);
        let ids: Vec<u64> =
            page.iter().map(|found| found.object.value().get("user").unwrap().get("id").unwrap().as_id().unwrap()).collect();
        let Some(last) = ids.last() else { break };
        assert!(ids.len() == 64 || ids.len() == 300 % 64);
        after = *last;
        seen.extend(ids);
    }
    assert_eq!(seen, (0..300).map(|user| BASE + 1000 + user).collect::<Vec<_>>());
    assert_eq!(cache.list(Kind::Member, BASE + 1, 0, 0), []);
    assert_eq!(cache.list(Kind::Member, BASE + 2, 0, 9), []);
    assert_eq!(cache.list(Kind::User, 0, BASE + 1200, 5).len(), 5);
    assert_eq!(cache.guild_of_channel(BASE + 1000), Some(BASE + 1));
    assert_eq!(cache.counts(BASE + 1).find(|(kind, _)| *kind == Kind::Member), Some((Kind::Member, 300)));
}

#[test]
fn a_guild_that_goes_gives_its_bytes_back() {
    let mut cache = Cache::default();
    let before = cache.bytes();
    for round in 0..3 {
        for guild in 1..30 {
            let members: Vec<Json> = (0..50).map(|user| member(1000 + user + guild, &format!("user {user} of round {round}"))).collect();
            apply(&mut cache, Encoding::Etf, K::GuildCreate, &create(guild, &members));
        }
        assert!(cache.bytes() > before + 29 * 50 * 30);
        for guild in 1..30 {
            apply(&mut cache, Encoding::Etf, K::GuildDelete, &json!({"id": id(guild)}));
        }
        cache.take_changes();
        assert!(Kind::ALL.into_iter().all(|kind| cache.size(kind) == Default::default()));
        assert!(cache.bytes() < before + 64 * 1024, "{} bytes are left of nothing", cache.bytes() - before);
    }
}

#[test]
fn a_guild_that_came_whole_is_saved_whole_and_each_of_its_objects_once() {
    for encoding in BOTH {
        let mut cache = Cache::new(CacheConfig::default(), Users::default());
        let member = |user: u64| json!({"user": {"id": id(user), "username": "somebody"}, "nick": null, "roles": [], "deaf": false});
        let channels: Vec<_> = (10..15).map(|channel| json!({"id": id(channel), "name": "c"})).collect();
        let d = json!({"id": id(1), "name": "g", "channels": channels, "members": [member(100), member(101), member(102)], "emojis": []});
        apply(&mut cache, encoding, K::GuildCreate, &d);
        // Before anything is saved, some of it changes, goes, and comes.
        apply(&mut cache, encoding, K::ChannelUpdate, &json!({"id": id(10), "guild_id": id(1), "name": "d"}));
        apply(&mut cache, encoding, K::ChannelDelete, &json!({"id": id(11), "guild_id": id(1)}));
        apply(&mut cache, encoding, K::GuildMemberRemove, &json!({"guild_id": id(1), "user": {"id": id(101)}}));
        apply(&mut cache, encoding, K::GuildRoleCreate, &json!({"guild_id": id(1), "role": {"id": id(30)}}));
        let rows = cache.take_changes();
        let mut keys: Vec<_> = rows.iter().map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), rows.len(), "each once");
        let mut loaded = Cache::new(CacheConfig::default(), Users::default());
        for (key, value) in rows.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
            loaded.load(key, value).unwrap();
        }
        assert_eq!(everything(&loaded), everything(&cache));
        assert_eq!((loaded.size(Kind::Channel).count, loaded.size(Kind::Member).count, loaded.size(Kind::Role).count), (4, 2, 1));
        assert_eq!((cache.changes_pending(), cache.take_changes().len()), (0, 0));
        // Told again it is not new: only what differs is saved.
        let mut again = d.clone();
        again["channels"] = json!((12..16).map(|channel| json!({"id": id(channel), "name": "c"})).collect::<Vec<_>>());
        apply(&mut cache, encoding, K::GuildCreate, &again);
        assert!(cache.take_changes().len() < rows.len());
    }
}
