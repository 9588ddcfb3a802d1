//! What is told again in the words of before: it changes nothing, unless something else has been told in between.
#![allow(clippy::unwrap_used)]

mod common;

use common::{BASE, BOTH, apply, found, id};
use serde_json::{Value as Json, json};
use trunkline_cache::{Cache, CacheConfig, Kind, Users};
use trunkline_discord::EventKind as K;
use trunkline_etf::Encoding;

fn user(name: &str) -> Json {
    json!({"id": id(7), "username": name, "avatar": null})
}

fn bare(nick: &str) -> Json {
    json!({"nick": nick, "roles": [id(30)], "joined_at": "2020-01-01T00:00:00+00:00", "deaf": false})
}

fn whole(name: &str, nick: &str) -> Json {
    let mut member = bare(nick);
    member["user"] = user(name);
    member
}

fn cache(encoding: Encoding) -> Cache {
    let mut cache = Cache::new(CacheConfig::default(), Users::default());
    for guild in 1..=2 {
        let d = json!({"id": id(guild), "members": [whole("a", "n")], "channels": [{"id": id(10 * guild)}], "roles": [{"id": id(30)}]});
        apply(&mut cache, encoding, K::GuildCreate, &d);
    }
    cache
}

fn message(cache: &mut Cache, encoding: Encoding, number: u64, name: &str, nick: &str) {
    let d = json!({"id": id(number), "channel_id": id(10), "guild_id": id(1), "author": user(name), "member": bare(nick)});
    assert!(!apply(cache, encoding, K::MessageCreate, &d).malformed);
}

fn voice(cache: &mut Cache, encoding: Encoding, name: &str, nick: &str) {
    let d = json!({"user_id": id(7), "channel_id": id(10), "guild_id": id(1), "member": whole(name, nick)});
    assert!(!apply(cache, encoding, K::VoiceStateUpdate, &d).malformed);
}

fn update(cache: &mut Cache, encoding: Encoding, guild: u64, name: &str, nick: &str) {
    let mut d = whole(name, nick);
    d["guild_id"] = json!(id(guild));
    assert!(!apply(cache, encoding, K::GuildMemberUpdate, &d).malformed);
}

fn member(cache: &Cache, guild: u64) -> Json {
    found(cache.one(Kind::Member, BASE + guild, BASE + 7)).unwrap()
}

/// The name and the nick in a guild.
fn known(cache: &Cache, guild: u64) -> (String, String) {
    let member = member(cache, guild);
    assert_eq!(member["deaf"], json!(false), "{member}");
    (member["user"]["username"].as_str().unwrap().to_owned(), member["nick"].as_str().unwrap().to_owned())
}

fn pair(name: &str, nick: &str) -> (String, String) {
    (name.to_owned(), nick.to_owned())
}

#[test]
fn what_is_told_again_changes_no_row() {
    for encoding in BOTH {
        let mut cache = cache(encoding);
        message(&mut cache, encoding, 100, "a", "n");
        voice(&mut cache, encoding, "a", "n");
        cache.take_changes();
        for number in 101..110 {
            message(&mut cache, encoding, number, "a", "n");
        }
        let rows = cache.take_changes();
        assert_eq!(rows.len(), 1, "{encoding:?}: the channel's last message, and nobody");
        assert_eq!(known(&cache, 1), pair("a", "n"));
    }
}

#[test]
fn what_was_told_before_is_taken_again_when_something_else_was_told_in_between() {
    for encoding in BOTH {
        let mut cache = cache(encoding);
        message(&mut cache, encoding, 100, "a", "n");
        message(&mut cache, encoding, 101, "b", "m");
        assert_eq!(known(&cache, 1), pair("b", "m"));
        message(&mut cache, encoding, 102, "a", "n");
        assert_eq!(known(&cache, 1), pair("a", "n"));
        // The user alone changes, in another guild; the member's words are the ones of before.
        update(&mut cache, encoding, 2, "c", "n");
        assert_eq!((known(&cache, 1), known(&cache, 2)), (pair("c", "n"), pair("c", "n")));
        voice(&mut cache, encoding, "a", "n");
        assert_eq!((known(&cache, 1), known(&cache, 2)), (pair("a", "n"), pair("a", "n")));
        // The member alone, by an event that says its guild.
        update(&mut cache, encoding, 1, "a", "x");
        voice(&mut cache, encoding, "a", "n");
        assert_eq!(known(&cache, 1), pair("a", "n"));
        update(&mut cache, encoding, 1, "a", "x");
        message(&mut cache, encoding, 103, "a", "x");
        assert_eq!(known(&cache, 1), pair("a", "x"));
        // A role that is gone is not told back by words in which it still was; made again, it is.
        let roles = |cache: &Cache| member(cache, 1)["roles"].clone();
        apply(&mut cache, encoding, K::GuildRoleDelete, &json!({"guild_id": id(1), "role_id": id(30)}));
        assert_eq!(roles(&cache), json!([]));
        apply(&mut cache, encoding, K::GuildRoleCreate, &json!({"guild_id": id(1), "role": {"id": id(30)}}));
        message(&mut cache, encoding, 104, "a", "x");
        assert_eq!(roles(&cache), json!([id(30)]));
    }
}

#[test]
fn a_member_who_left_and_came_back_with_less_is_not_what_the_words_of_before_made() {
    for encoding in BOTH {
        let mut cache = cache(encoding);
        message(&mut cache, encoding, 100, "a", "n");
        apply(&mut cache, encoding, K::GuildMemberRemove, &json!({"guild_id": id(1), "user": user("a")}));
        let joined = json!({"guild_id": id(1), "user": user("a"), "nick": "new", "roles": [], "deaf": false});
        apply(&mut cache, encoding, K::GuildMemberAdd, &joined);
        assert_eq!(known(&cache, 1), pair("a", "new"));
        message(&mut cache, encoding, 101, "a", "n");
        assert_eq!(known(&cache, 1), pair("a", "n"));
    }
}

#[test]
fn lists_and_users_with_names_like_the_members_do_not_speak_for_them() {
    let encoding = Encoding::Etf;
    let mut cache = Cache::new(CacheConfig::default(), Users::default());
    let mut odd = whole("b", "m");
    odd["a_user"] = user("a");
    let d = json!({
        "id": id(1), "channels": [{"id": id(10)}], "roles": [{"id": id(30)}],
        "members": [odd], "x_members": [whole("a", "n")], "z_members": [whole("c", "o")],
    });
    apply(&mut cache, encoding, K::GuildCreate, &d);
    assert_eq!(known(&cache, 1), pair("b", "m"));
    for (name, nick) in [("a", "n"), ("c", "o"), ("b", "m")] {
        voice(&mut cache, encoding, name, nick);
        assert_eq!(known(&cache, 1), pair(name, nick));
    }
}

#[test]
fn a_member_in_a_voice_state_that_names_its_guild_is_told_like_any_other() {
    for encoding in BOTH {
        let mut cache = cache(encoding);
        let mut named = whole("b", "m");
        named["guild_id"] = json!(id(1));
        let d = json!({"user_id": id(7), "channel_id": id(10), "guild_id": id(1), "member": named});
        for _ in 0..2 {
            apply(&mut cache, encoding, K::VoiceStateUpdate, &d);
            assert_eq!((known(&cache, 1), &member(&cache, 1)["guild_id"]), (pair("b", "m"), &json!(id(1))));
        }
        voice(&mut cache, encoding, "a", "n");
        assert_eq!(known(&cache, 1), pair("a", "n"));
        apply(&mut cache, encoding, K::VoiceStateUpdate, &d);
        assert_eq!(known(&cache, 1), pair("b", "m"));
        // Another's user says nothing of the member.
        let other = json!({"user": {"id": id(8), "username": "x"}, "nick": "g", "joined_at": "2020"});
        apply(&mut cache, encoding, K::VoiceStateUpdate, &json!({"user_id": id(7), "guild_id": id(1), "member": other}));
        assert_eq!((member(&cache, 1)["nick"].clone(), cache.voice_state(BASE + 1, BASE + 7).is_none()), (json!("m"), true));
    }
}

#[test]
fn the_member_before_an_update_stays_what_it_was_whatever_comes_after_and_whenever_it_is_looked_at() {
    for encoding in BOTH {
        let mut cache = cache(encoding);
        let mut next = whole("b", "m");
        next["guild_id"] = json!(id(1));
        let change = apply(&mut cache, encoding, K::GuildMemberUpdate, &next);
        // Nobody has looked at it yet.
        let before = change.previous.unwrap();
        update(&mut cache, encoding, 2, "c", "o");
        apply(&mut cache, encoding, K::GuildRoleDelete, &json!({"guild_id": id(1), "role_id": id(30)}));
        // What was known of it then has no role that was gone by then.
        let second = apply(&mut cache, encoding, K::GuildMemberUpdate, &next).previous.unwrap();
        apply(&mut cache, encoding, K::GuildDelete, &json!({"id": id(1)}));
        let read = |object: &trunkline_discord::Object| {
            common::found(Some(trunkline_cache::Found { object: object.clone(), guild_id: 0, stale: false }))
        };
        let (before, second) = (read(&before).unwrap(), read(&second).unwrap());
        assert_eq!((&before["user"]["username"], &before["nick"], &before["roles"]), (&json!("a"), &json!("n"), &json!([id(30)])));
        assert_eq!((&second["user"]["username"], &second["nick"], &second["roles"]), (&json!("c"), &json!("m"), &json!([])));
    }
}
