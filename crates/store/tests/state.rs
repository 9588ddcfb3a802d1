//! Lookups from PostgreSQL alone: every question that the state API asks, against rows that a store has committed.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use bytes::Bytes;
use common::postgres::{Server, shared, sql, value};
use common::{CODEC, key};
use trunkline_store::{Commit, Objects, OpenError, Options, ShardCommit, ShardKey, StateError, StateReader, Store, Table, Threads};

const BOT: u64 = 42;
const SHARD: ShardKey = ShardKey { bot: BOT, index: 0, count: 1 };
const GUILD: u64 = 1 << 40;

fn options() -> Options {
    Options { rows: Some(CODEC), ..Options::default() }
}

fn commit(store: &Store, shard: ShardKey, rows: &[(Table, u64, u64, &str)]) {
    let cache = rows.iter().map(|(table, guild, id, json)| (key(*table, *guild, *id), Some(Bytes::from((*json).to_owned())))).collect();
    store.commit(Commit { shards: vec![ShardCommit { cache, ..ShardCommit::new(shard, 1, Bytes::new()) }] }).unwrap();
}

/// A small world.
fn filled(url: &str) -> Store {
    let store = Store::connect(url, options()).unwrap();
    commit(
        &store,
        SHARD,
        &[
            (Table::Guilds, GUILD, 0, r#"{"id": "1099511627776", "name": "here", "unknown": {"kept": true}}"#),
            (Table::GuildStates, GUILD, 0, r#"{"stale": false, "member_count": 3}"#),
            (Table::Guilds, 9, 0, r#"{"id": "9", "name": "nul \u0000"}"#),
            (Table::Channels, GUILD, 50, r#"{"id": "50", "name": "general"}"#),
            (Table::Channels, GUILD, 51, r#"{"id": "51", "name": "other"}"#),
            (Table::Threads, GUILD, 60, r#"{"id": "60", "parent_id": "50"}"#),
            (Table::Threads, GUILD, 61, r#"{"id": "61", "parent_id": "51"}"#),
            (Table::DirectChannels, 0, 70, r#"{"id": "70", "type": 1}"#),
            (Table::Messages, GUILD, 80, r#"{"id": "80", "channel_id": "50", "content": "hello"}"#),
            (Table::Roles, GUILD, 5, r#"{"id": "5", "name": "admin"}"#),
            (Table::Roles, GUILD, 6, r#"{"id": "6", "name": "other"}"#),
            (Table::Emojis, GUILD, 0, r#"[{"id": "31", "name": "b"}, {"id": "30", "name": "a"}]"#),
            (Table::Members, GUILD, 100, r#"{"nick": "The 100%_er", "roles": ["5", "6"]}"#),
            (Table::Members, GUILD, 101, r#"{"nick": null, "roles": ["6"]}"#),
            (Table::Members, GUILD, 102, r#"{"roles": [], "nick": "nul \u0000"}"#),
            (Table::Users, 0, 100, r#"{"id": "100", "username": "first", "global_name": "Erste"}"#),
            (Table::Users, 0, 101, r#"{"id": "101", "username": "Second"}"#),
            (Table::Users, 0, 102, r#"{"id": "102", "username": "third"}"#),
            (Table::Presences, GUILD, 100, r#"{"status": "idle"}"#),
            (Table::OwnUsers, 0, 0, r#"{"id": "42", "username": "me"}"#),
        ],
    );
    store
}

async fn reader(url: &str) -> StateReader {
    StateReader::connect(url, options()).await.unwrap()
}

fn ids(objects: &Objects) -> Vec<u64> {
    objects.iter().map(|(id, _)| *id).collect()
}

#[tokio::test]
async fn a_user_or_thread_with_a_text_too_long_for_an_index_is_found_as_any_other() {
    let url = shared().database();
    let store = filled(&url);
    let state = reader(&url).await;
    let text = |seed: u64, length: u64| -> String {
        let mix = |n: u64| (n + seed * 1_000_003).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (0..length).map(|n| char::from(b'A' + u8::try_from((mix(n) >> 40) % 26).unwrap())).collect()
    };
    for (seed, length) in [(1, 199), (2, 200), (3, 201), (4, 3_000), (5, 10_000), (6, 1 << 20)] {
        let name = text(seed, length);
        let user = format!(r#"{{"id": "101", "username": "{name} The End"}}"#);
        let thread = format!(r#"{{"id": "62", "parent_id": "50{name}"}}"#);
        commit(&store, SHARD, &[(Table::Users, 0, 101, &user), (Table::Threads, GUILD, 62, &thread)]);
        assert_eq!(state.user(Some(BOT), 101).await.unwrap().unwrap(), user);
        assert_eq!(state.user_names(Some(BOT), &[101]).await.unwrap(), [(101, format!("{name} The End"))]);
        assert!(state.thread(Some(BOT), 62).await.unwrap().unwrap() == thread);
        let (begins, middle) = (&name[..150], &name[100..190]);
        for part in [begins, middle, "the end", &name[name.len() - 20..]] {
            assert_eq!(ids(&state.search_members(Some(BOT), GUILD, part, 0, 10).await.unwrap()), [101], "{length}: {part}");
        }
        assert_eq!(ids(&state.search_members(Some(BOT), GUILD, &format!("{middle}!"), 0, 10).await.unwrap()), Vec::<u64>::new());
        assert_eq!(ids(&state.threads(Some(BOT), Threads::Parent(50), 0, 10).await.unwrap()), [60], "no other channel's thread");
        assert_eq!(ids(&state.threads(Some(BOT), Threads::All, 0, 10).await.unwrap()), [60, 61, 62]);
    }
}

#[tokio::test]
async fn every_object_is_found_by_its_id_and_an_unknown_one_is_none() {
    let url = shared().database();
    let _store = filled(&url);
    let state = reader(&url).await;
    state.alive().await.unwrap();
    for bot in [None, Some(BOT)] {
        let guild = state.guild(bot, GUILD).await.unwrap().unwrap();
        assert!(guild.contains(r#""member_count": 3"#) && guild.contains(r#""unknown": {"kept": true}"#), "{guild}");
        assert!(state.guild(bot, 9).await.unwrap().unwrap().contains("\\u0000"), "one that jsonb refuses");
        for channel in [50, 60, 70] {
            assert!(state.channel(bot, channel).await.unwrap().unwrap().contains(&format!("\"{channel}\"")));
        }
        assert!(state.thread(bot, 60).await.unwrap().is_some());
        assert!(state.message(bot, 50, 80).await.unwrap().unwrap().contains("hello"));
        assert!(state.message(bot, 51, 80).await.unwrap().is_none(), "it is in another channel");
        assert_eq!(state.user(bot, 100).await.unwrap().unwrap(), r#"{"id": "100", "username": "first", "global_name": "Erste"}"#);
        assert!(state.user(bot, 42).await.unwrap().unwrap().contains("me"));
        let member = state.object(bot, GUILD, Table::Members, 101).await.unwrap().unwrap();
        assert_eq!(member, r#"{"user": {"id": "101", "username": "Second"}, "nick": null, "roles": ["6"]}"#);
        let odd = state.object(bot, GUILD, Table::Members, 102).await.unwrap().unwrap();
        assert!(odd.contains("third") && odd.contains("\\u0000"), "{odd}");
        assert_eq!(state.object(bot, GUILD, Table::Presences, 100).await.unwrap().unwrap(), r#"{"status": "idle"}"#);
        assert!(state.object(bot, GUILD, Table::Roles, 5).await.unwrap().unwrap().contains("admin"));
        assert!(state.emoji(bot, GUILD, 30).await.unwrap().unwrap().contains("\"a\""));
        assert_eq!(ids(&state.emojis(bot, GUILD).await.unwrap()), [31, 30]);
        assert_eq!(state.guild_count(bot).await.unwrap(), 2);
    }
    for bot in [None, Some(BOT), Some(7)] {
        assert!(state.guild(bot, 77).await.unwrap().is_none());
        assert!(state.channel(bot, 77).await.unwrap().is_none());
        assert!(state.user(bot, 77).await.unwrap().is_none());
        assert!(state.emoji(bot, GUILD, 77).await.unwrap().is_none());
        assert!(state.object(bot, GUILD, Table::Members, 77).await.unwrap().is_none());
    }
    assert!(state.guild(Some(7), GUILD).await.unwrap().is_none(), "another bot's");
    assert_eq!(state.guild_count(Some(7)).await.unwrap(), 0);
}

#[tokio::test]
async fn what_jsonb_does_not_hold_of_a_text_keeps_no_object_from_being_found_and_it_is_answered_whole() {
    let url = shared().database();
    let store = filled(&url);
    let state = reader(&url).await;
    let rows = [
        (Table::Guilds, GUILD, 0, r#"{"id": "1099511627776", "name": "he\u0000re"}"#),
        (Table::GuildStates, GUILD, 0, r#"{"stale": false, "member_count": 3, "gone_roles": ["6"]}"#),
        (Table::Channels, GUILD, 50, r#"{"id": "50", "topic": "a\u0000"}"#),
        (Table::Threads, GUILD, 60, r#"{"id": "60", "name": "\u0000", "parent_id": "50"}"#),
        (Table::Messages, GUILD, 80, r#"{"id": "80", "channel_id": "50", "content": "a\u0000b"}"#),
        (Table::Roles, GUILD, 5, r#"{"id": "5", "name": "ad\u0000min"}"#),
        (Table::Emojis, GUILD, 0, r#"[{"id": "31", "name": "b\u0000"}, {"id": "30", "name": "a"}, {"name": "no id"}]"#),
        (Table::Members, GUILD, 100, r#"{"roles": ["5", "6"], "nick": "Ni\u0000ck"}"#),
        (Table::Users, 0, 101, r#"{"id": "101", "username": "Sec\u0000ond", "\u0000": null}"#),
    ];
    commit(&store, SHARD, &rows);
    let whole = |id: u64| rows.iter().find(|row| row.2 == id).unwrap().3;
    let same = |found: &str, told: &str| {
        let [found, told] = [found, told].map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap());
        assert_eq!(found, told);
    };
    for found in [
        state.channel(None, 50).await.unwrap(),
        state.objects(None, GUILD, Table::Channels, 0, 1).await.unwrap().pop().map(|(_, json)| json),
    ] {
        same(&found.unwrap(), whole(50));
    }
    for which in [Threads::All, Threads::Guild(GUILD), Threads::Parent(50)] {
        let found = state.threads(None, which, 0, 1).await.unwrap();
        assert_eq!(ids(&found), [60]);
        same(&found[0].1, whole(60));
    }
    same(&state.message(None, 50, 80).await.unwrap().unwrap(), whole(80));
    same(&state.object(None, GUILD, Table::Roles, 5).await.unwrap().unwrap(), whole(5));
    same(&state.user(None, 101).await.unwrap().unwrap(), whole(101));
    same(&state.guild(None, GUILD).await.unwrap().unwrap(), r#"{"id": "1099511627776", "name": "he\u0000re", "member_count": 3}"#);
    let emojis = state.emojis(None, GUILD).await.unwrap();
    assert_eq!(ids(&emojis), [31, 30]);
    same(&emojis[0].1, r#"{"id": "31", "name": "b\u0000"}"#);
    same(&state.emoji(None, GUILD, 30).await.unwrap().unwrap(), r#"{"id": "30", "name": "a"}"#);

    // A member by its role, by its names, whatever is asked for, and without the roles that are gone.
    assert_eq!(state.members_with_role(None, GUILD, 5, 0, 10).await.unwrap(), [100]);
    assert!(state.user_in_guilds(None, 100, &[GUILD], &[5]).await.unwrap());
    let user = r#"{"id": "100", "username": "first", "global_name": "Erste"}"#;
    let member = format!(r#"{{"user": {user}, "roles": ["5"], "nick": "Ni\u0000ck"}}"#);
    for (query, id) in [("NI", 100), ("ni\0c", 100), ("ck", 100), ("sec", 101), ("c\0ond", 101)] {
        let found = state.search_members(None, GUILD, query, 0, 10).await.unwrap();
        assert_eq!(ids(&found), [id], "{query:?}");
        if id == 100 {
            same(&found[0].1, &member);
        } else {
            same(&found[0].1, &format!(r#"{{"user": {}, "nick": null, "roles": []}}"#, whole(101)));
        }
    }
    same(&state.object(None, GUILD, Table::Members, 100).await.unwrap().unwrap(), &member);

    // A list that lies as bytes, since something else in it is refused, is answered too.
    commit(&store, SHARD, &[(Table::Emojis, GUILD, 0, r#"[{"id": "31"}, {"id": "30", "name": "a", "n": 1e999999}]"#)]);
    sql(&url, "DO $$ BEGIN ASSERT (SELECT count(*) = 1 FROM trunkline.emojis WHERE data IS NULL); END $$");
    // (What the tests' codec makes of that number does not matter here.)
    sql(&url, r#"UPDATE trunkline.emojis SET raw = convert_to('[{"id": "31", "name": "\u0000"}]', 'utf8')"#);
    same(&state.emoji(None, GUILD, 31).await.unwrap().unwrap(), r#"{"id": "31", "name": "\u0000"}"#);

    // Written by a person or over the state API, it is what they wrote.
    sql(&url, "UPDATE trunkline.channels SET data = data || '{\"topic\": \"theirs\"}' WHERE id = 50");
    same(&state.channel(None, 50).await.unwrap().unwrap(), r#"{"id": "50", "topic": "theirs"}"#);
    // Even in the words that lie there.
    state.upsert(None, GUILD, Table::Roles, r#"{"5": {"id": "5", "name": "ad\ufffdmin"}}"#).await.unwrap();
    same(&state.object(None, GUILD, Table::Roles, 5).await.unwrap().unwrap(), r#"{"id": "5", "name": "ad\ufffdmin"}"#);
    // A user who stays as known is known whole under the other shard too.
    sql(&url, "UPDATE trunkline.users SET shard = 3 WHERE id = 101");
    state.put_members(None, GUILD, r#"{"101": {"roles": []}}"#, "{}", r#"{"101": {"id": "101"}}"#).await.unwrap();
    sql(&url, "DELETE FROM trunkline.users WHERE id = 101 AND shard = 3");
    same(&state.user(None, 101).await.unwrap().unwrap(), whole(101));
    // A codec of another version reads nothing of the bytes: then the JSON is answered, as far as it goes.
    let blind = trunkline_store::RowCodec { json: |_, _| None, with: |_, _, _| None, items: |_, _| None, ..CODEC };
    let blind = StateReader::connect(&url, Options { rows: Some(blind), ..options() }).await.unwrap();
    same(&blind.guild(None, GUILD).await.unwrap().unwrap(), r#"{"id": "1099511627776", "name": "he\ufffdre", "member_count": 3}"#);
    assert!(blind.object(None, GUILD, Table::Members, 100).await.unwrap().unwrap().contains("\u{fffd}"));
}

#[tokio::test]
async fn lists_page_ascending_and_searches_find_names_whatever_the_case() {
    let url = shared().database();
    let _store = filled(&url);
    let state = reader(&url).await;
    assert_eq!(ids(&state.objects(None, GUILD, Table::Channels, 0, 10).await.unwrap()), [50, 51]);
    assert_eq!(ids(&state.objects(None, GUILD, Table::Members, 0, 2).await.unwrap()), [100, 101]);
    assert_eq!(ids(&state.objects(None, GUILD, Table::Members, 101, 2).await.unwrap()), [102]);
    assert_eq!(ids(&state.objects_by_ids(None, GUILD, Table::Members, &[101, 77, 100]).await.unwrap()), [100, 101]);
    assert_eq!(ids(&state.threads(None, Threads::All, 0, 10).await.unwrap()), [60, 61]);
    assert_eq!(ids(&state.threads(None, Threads::All, 60, 10).await.unwrap()), [61]);
    assert_eq!(ids(&state.threads(None, Threads::Guild(GUILD), 0, 10).await.unwrap()), [60, 61]);
    assert_eq!(ids(&state.threads(None, Threads::Parent(50), 0, 10).await.unwrap()), [60]);
    for (query, found) in
        [("SECO", vec![101]), ("rst", vec![100]), ("100%_E", vec![100]), ("0%", vec![100]), ("i%t", vec![]), ("nobody", vec![])]
    {
        assert_eq!(ids(&state.search_members(None, GUILD, query, 0, 10).await.unwrap()), found, "{query}");
    }
    assert_eq!(state.members_with_role(None, GUILD, 6, 0, 10).await.unwrap(), [100, 101]);
    assert_eq!(state.members_with_role(None, GUILD, 6, 100, 10).await.unwrap(), [101]);
    assert_eq!(state.user_names(None, &[101, 77, 100]).await.unwrap(), [(101, "Second".to_owned()), (100, "first".to_owned())]);
    for (guilds, roles, is) in
        [(vec![GUILD, 9], vec![], true), (vec![9], vec![], false), (vec![GUILD], vec![5, 77], true), (vec![GUILD], vec![77], false)]
    {
        assert_eq!(state.user_in_guilds(None, 100, &guilds, &roles).await.unwrap(), is, "{guilds:?} {roles:?}");
    }
}

#[tokio::test]
async fn only_objects_of_the_present_shard_count_are_answered() {
    let url = shared().database();
    let store = filled(&url);
    let state = reader(&url).await;
    let new = ShardKey { bot: BOT, index: 1, count: 2 };
    commit(&store, new, &[(Table::Guilds, GUILD, 0, r#"{"id": "1099511627776", "name": "told anew"}"#)]);
    assert!(state.guild(None, GUILD).await.unwrap().unwrap().contains("told anew"));
    assert_eq!(state.guild_count(None).await.unwrap(), 1);
    assert!(state.channel(None, 50).await.unwrap().is_none(), "not told under the new count yet");
}

#[tokio::test]
async fn two_bots_in_one_guild_are_told_apart() {
    let url = shared().database();
    let store = filled(&url);
    let state = reader(&url).await;
    let other = ShardKey { bot: 43, index: 0, count: 1 };
    commit(
        &store,
        other,
        &[(Table::Guilds, GUILD, 0, r#"{"name": "as the other sees it"}"#), (Table::Roles, GUILD, 5, r#"{"name": "x"}"#)],
    );
    assert!(state.guild(Some(BOT), GUILD).await.unwrap().unwrap().contains("here"));
    assert!(state.guild(Some(43), GUILD).await.unwrap().unwrap().contains("the other"));
    assert_eq!(state.objects(None, GUILD, Table::Roles, 0, 10).await.unwrap().len(), 1, "those of the bot that was told last");
    assert_eq!(state.objects(Some(BOT), GUILD, Table::Roles, 0, 10).await.unwrap().len(), 2);
    assert_eq!(state.bots().await.unwrap(), [42, 43]);
    assert_eq!(
        (state.bot_of(GUILD).await.unwrap(), state.bot_of(9).await.unwrap(), state.bot_of(77).await.unwrap()),
        (Some(43), Some(42), None)
    );
    assert_eq!((state.guild_ids(42).await.unwrap(), state.guild_ids(43).await.unwrap()), (vec![9, GUILD], vec![GUILD]));
    assert_eq!((state.guild_count(None).await.unwrap(), state.guild_count(Some(43)).await.unwrap()), (2, 1));
}

#[tokio::test]
async fn bots_and_their_guilds_are_those_of_the_present_shard_count_and_awaited_guilds_are_nobodys_yet() {
    let url = shared().database();
    let store = filled(&url);
    let state = reader(&url).await;
    let awaited = r#"{"awaited": true, "unavailable": true, "stale": false, "member_count": null}"#;
    commit(&store, SHARD, &[(Table::GuildStates, 55, 0, awaited)]);
    assert_eq!(state.guild_ids(BOT).await.unwrap(), [9, 55, GUILD], "the bot is in it");
    assert_eq!(state.guild_count(Some(BOT)).await.unwrap(), 3);
    assert_eq!(state.bot_of(55).await.unwrap(), None);
    let homes = state.homes(&[55, GUILD, 9, 77]).await.unwrap();
    assert_eq!((homes.bots, homes.of), (vec![BOT], [(9, vec![BOT]), (GUILD, vec![BOT])].into()));
    assert_eq!(state.guilds_of(None, &[100, 101, 77]).await.unwrap(), [(BOT, 100, GUILD), (BOT, 101, GUILD)]);

    // Another bot, and the first one under another count: what was told before is nobody's any more.
    commit(&store, ShardKey { bot: 43, index: 0, count: 1 }, &[(Table::Guilds, GUILD, 0, r#"{"name": "as the other sees it"}"#)]);
    assert_eq!(state.homes(&[GUILD]).await.unwrap().of[&GUILD], [BOT, 43]);
    commit(&store, ShardKey { bot: BOT, index: 1, count: 2 }, &[(Table::Guilds, 9, 0, r#"{"name": "told anew"}"#)]);
    assert_eq!((state.bots().await.unwrap(), state.guild_ids(BOT).await.unwrap()), (vec![BOT, 43], vec![9]));
    assert_eq!((state.bot_of(GUILD).await.unwrap(), state.bot_of(9).await.unwrap()), (Some(43), Some(BOT)));
    assert_eq!(state.guilds_of(None, &[100]).await.unwrap(), []);
    assert_eq!((state.guild_ids(77).await.unwrap(), state.guild_count(Some(77)).await.unwrap()), (vec![], 0));
}

#[tokio::test]
async fn a_deleted_role_is_nobodys_though_rows_of_members_still_name_it() {
    let url = shared().database();
    let store = filled(&url);
    let state = reader(&url).await;
    let gone = r#"{"awaited": false, "unavailable": false, "stale": false, "member_count": 3, "gone_roles": ["6", "7"]}"#;
    commit(&store, SHARD, &[(Table::GuildStates, GUILD, 0, gone)]);
    let roles = async |member| {
        let json = state.object(None, GUILD, Table::Members, member).await.unwrap().unwrap();
        json.split("\"roles\": ").nth(1).unwrap().split(']').next().unwrap().to_owned() + "]"
    };
    assert_eq!((roles(100).await, roles(101).await), (r#"["5"]"#.to_owned(), "[]".to_owned()));
    for list in [
        state.objects(None, GUILD, Table::Members, 0, 10).await.unwrap(),
        state.objects_by_ids(None, GUILD, Table::Members, &[100, 101]).await.unwrap(),
        state.search_members(None, GUILD, "e", 0, 10).await.unwrap(),
    ] {
        assert!(list.len() > 1 && list.iter().all(|(_, json)| !json.contains(r#""6""#)), "{list:?}");
    }
    assert_eq!(state.members_with_role(None, GUILD, 6, 0, 10).await.unwrap(), [0_u64; 0]);
    assert_eq!(state.members_with_role(None, GUILD, 5, 0, 10).await.unwrap(), [100]);
    assert_eq!(state.members_with_role(None, GUILD, GUILD, 0, 10).await.unwrap(), [100, 101, 102], "everybody has that one");
    for (user, roles, is) in
        [(100, vec![6], false), (100, vec![6, 5], true), (101, vec![6, 7], false), (101, vec![], true), (101, vec![6, GUILD], true)]
    {
        assert_eq!(state.user_in_guilds(None, user, &[GUILD], &roles).await.unwrap(), is, "{user} {roles:?}");
    }
    // Over the state API too: deleted, it is gone of members; put again, they have it.
    let state_of = |row: &str| row.contains(r#""gone_roles""#).then(|| row.to_owned());
    assert_eq!(state.delete(None, GUILD, Table::Roles, &[5]).await.unwrap(), 1);
    assert_eq!(state.members_with_role(None, GUILD, 5, 0, 10).await.unwrap(), [0_u64; 0]);
    assert_eq!(roles(100).await, "[]");
    assert_eq!(state.upsert(None, GUILD, Table::Roles, r#"{"6": {"name": "again"}}"#).await.unwrap(), 1);
    assert_eq!(state.members_with_role(None, GUILD, 6, 0, 10).await.unwrap(), [100, 101]);
    assert_eq!(state.wipe(None, GUILD, Table::Roles).await.unwrap(), 1);
    assert_eq!(state.members_with_role(None, GUILD, 6, 0, 10).await.unwrap(), [0_u64; 0]);
    // The row is still one that the process that holds the shards reads.
    drop(store);
    let store = Store::connect(&url, options()).unwrap();
    let mut found = None;
    store
        .load_cache(SHARD, &mut |row, value| {
            if row == key(Table::GuildStates, GUILD, 0) {
                found = state_of(std::str::from_utf8(value).unwrap());
            }
        })
        .unwrap();
    let found = found.unwrap();
    assert!(["\"5\"", "\"6\"", "\"7\"", "\"awaited\": false"].iter().all(|part| found.contains(part)), "{found}");
}

#[tokio::test]
async fn users_that_members_bring_lie_beside_them_and_known_ones_stay_where_they_may_not_be_changed() {
    let url = shared().database();
    let _store = filled(&url);
    let state = reader(&url).await;
    let told = r#"{"100": {"id": "100", "username": "renamed"}}"#;
    let strange = r#"{"101": {"id": "101", "username": "mallory"}, "300": {"id": "300"}}"#;
    let members = r#"{"100": {"roles": []}, "101": {"nick": "x"}, "300": {}}"#;
    assert_eq!(state.put_members(None, GUILD, members, told, strange).await.unwrap(), 3);
    for (user, json) in
        [(100, r#"{"id": "100", "username": "renamed"}"#), (101, r#"{"id": "101", "username": "Second"}"#), (300, r#"{"id": "300"}"#)]
    {
        assert_eq!(state.user(None, user).await.unwrap().unwrap(), json);
        let member = state.object(None, GUILD, Table::Members, user).await.unwrap().unwrap();
        assert!(member.starts_with(&format!(r#"{{"user": {json}"#)), "{member}");
    }
    for bad in ["", "[]", r#"{"x": {}}"#, r#"{"5": 7}"#] {
        for (members, told, strange) in [(bad, "{}", "{}"), ("{}", bad, "{}"), ("{}", "{}", bad)] {
            assert!(matches!(state.put_members(None, GUILD, members, told, strange).await, Err(StateError::Malformed(_))), "{bad}");
        }
    }
}

#[tokio::test]
async fn a_deleted_channel_takes_along_what_is_in_it_and_another_guilds_is_seen() {
    let url = shared().database();
    let store = filled(&url);
    let state = reader(&url).await;
    commit(
        &store,
        SHARD,
        &[
            (Table::VoiceChannels, GUILD, 50, r#"{"status": "singing"}"#),
            (Table::StageInstances, GUILD, 90, r#"{"id": "90", "channel_id": "50"}"#),
            (Table::Messages, GUILD, 81, r#"{"id": "81", "channel_id": "60", "content": "in a thread"}"#),
            (Table::Messages, GUILD, 82, r#"{"id": "82", "channel_id": "51", "content": "elsewhere"}"#),
            (Table::Channels, 9, 900, r#"{"id": "900"}"#),
            (Table::Messages, 0, 83, r#"{"id": "83", "channel_id": "555"}"#),
        ],
    );
    for (channels, elsewhere) in
        [(vec![50, 60, 77], None), (vec![50, 900], Some(900)), (vec![70, 900], Some(70)), (vec![555], Some(555)), (vec![], None)]
    {
        assert_eq!(state.channel_elsewhere(None, GUILD, &channels).await.unwrap(), elsewhere, "{channels:?}");
    }
    assert_eq!(state.delete(None, GUILD, Table::Channels, &[50]).await.unwrap(), 1);
    assert!(state.channel(None, 50).await.unwrap().is_none() && state.thread(None, 60).await.unwrap().is_none());
    assert!(state.thread(None, 61).await.unwrap().is_some(), "below another channel");
    for (table, id) in [(Table::VoiceChannels, 50), (Table::StageInstances, 90), (Table::Messages, 80), (Table::Messages, 81)] {
        assert!(state.object(None, GUILD, table, id).await.unwrap().is_none(), "{table:?}");
    }
    assert!(state.message(None, 51, 82).await.unwrap().is_some() && state.message(None, 555, 83).await.unwrap().is_some());
    assert!(state.channel(None, 900).await.unwrap().is_some());
}

#[tokio::test]
async fn writes_upsert_delete_and_wipe_and_bad_bodies_write_nothing() {
    let url = shared().database();
    let store = filled(&url);
    let state = reader(&url).await;
    let put = r#"{"5": {"id": "5", "name": "changed"}, "8": {"id": "8", "name": "new"}}"#;
    assert_eq!(state.upsert(None, GUILD, Table::Roles, put).await.unwrap(), 2);
    assert_eq!(ids(&state.objects(None, GUILD, Table::Roles, 0, 10).await.unwrap()), [5, 6, 8]);
    assert!(state.object(Some(BOT), GUILD, Table::Roles, 5).await.unwrap().unwrap().contains("changed"));
    let member = r#"{"200": {"user": {"id": "200", "username": "put"}, "roles": ["8"]}}"#;
    assert_eq!(state.upsert(Some(BOT), GUILD, Table::Members, member).await.unwrap(), 1);
    assert_eq!(state.members_with_role(None, GUILD, 8, 0, 10).await.unwrap(), [200]);
    assert!(state.user(None, 200).await.unwrap().unwrap().contains("put"));
    assert_eq!(ids(&state.search_members(None, GUILD, "PUT", 0, 10).await.unwrap()), [200]);
    assert_eq!(state.user_names(None, &[200]).await.unwrap(), [(200, "put".to_owned())]);

    for bad in ["", "{", "[]", "7", r#"{"5": 7}"#, r#"{"five": {}}"#, r#"{"99999999999999999999999": {}}"#, r#"{"5": {"name": "\u0000"}}"#]
    {
        let refused = state.upsert(None, GUILD, Table::Roles, bad).await.unwrap_err();
        assert!(matches!(refused, StateError::Malformed(_)), "{bad}: {refused:?}");
    }
    assert!(state.object(None, GUILD, Table::Roles, 5).await.unwrap().unwrap().contains("changed"));

    assert_eq!(state.delete(None, GUILD, Table::Roles, &[8, 77]).await.unwrap(), 1);
    assert_eq!(state.wipe(None, GUILD, Table::Roles).await.unwrap(), 2);
    assert_eq!(state.objects(None, GUILD, Table::Roles, 0, 10).await.unwrap(), []);
    assert_eq!(state.objects(None, GUILD, Table::Channels, 0, 10).await.unwrap().len(), 2);

    // The process that holds the shards gets them when it next starts.
    drop(store);
    let store = Store::connect(&url, options()).unwrap();
    let mut found = false;
    store.load_cache(SHARD, &mut |row, _| found |= row == key(Table::Members, GUILD, 200)).unwrap();
    assert!(found);
}

#[tokio::test]
async fn a_database_of_its_own_takes_writes_for_guilds_that_nobody_has_told() {
    let url = shared().database();
    assert!(matches!(StateReader::connect(&url, options()).await, Err(OpenError::Server { .. })), "no tables yet");
    trunkline_store::migrate(&url).unwrap();
    let state = reader(&url).await;
    assert_eq!(state.upsert(None, 5, Table::Channels, r#"{"6": {"id": "6"}}"#).await.unwrap(), 1);
    assert!(state.channel(None, 6).await.unwrap().is_some());
    assert_eq!(ids(&state.objects(None, 5, Table::Channels, 0, 10).await.unwrap()), [6]);
    sql(&url, "INSERT INTO trunkline.migrations (version, name) VALUES (77, 'of the future')");
    assert!(matches!(StateReader::connect(&url, options()).await, Err(OpenError::ServerNewer { found: 77, .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_fail_while_the_server_is_away_and_come_back_by_themselves() {
    let server = tokio::task::spawn_blocking(Server::start).await.unwrap();
    let url = server.database();
    let _store = filled(&url);
    let state = reader(&url).await;
    assert_eq!(state.guild_count(None).await.unwrap(), 2);
    server.kill();
    // Its processes outlive it for a moment, and each connection has one of its own.
    let began = std::time::Instant::now();
    let mut failed = 0;
    while failed < 8 {
        assert!(began.elapsed() < std::time::Duration::from_secs(20));
        match state.guild_count(None).await {
            Ok(_) => failed = 0,
            Err(error) => {
                assert!(matches!(error, StateError::Unavailable(_)), "{error}");
                assert!(!error.to_string().contains("p@ss"));
                failed += 1;
            }
        }
    }
    server.run();
    let began = std::time::Instant::now();
    while state.guild_count(None).await.is_err() {
        assert!(began.elapsed() < std::time::Duration::from_secs(20));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for _ in 0..8 {
        assert_eq!(state.guild_count(None).await.unwrap(), 2);
    }
}

/// Four connections. A statement that waits for somebody's lock stays where it is, also when whoever asked has gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_holds_up_those_who_need_the_table_and_nobody_else_though_the_askers_give_up() {
    let url = shared().database();
    let _store = filled(&url);
    let state = reader(&url).await;
    let config: tokio_postgres::Config = url.parse().unwrap();
    let (holder, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    holder.batch_execute("BEGIN; LOCK TABLE trunkline.channels IN ACCESS EXCLUSIVE MODE").await.unwrap();
    // Two of the four are held up; one of those who asked goes on waiting, one does not.
    let held = tokio::spawn({
        let state = state.clone();
        async move { state.channel(None, 50).await }
    });
    let gone = tokio::spawn({
        let state = state.clone();
        async move { state.channel(None, 51).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    gone.abort();
    for round in 0..10 {
        let all = (0..8).map(|_| {
            let state = state.clone();
            tokio::spawn(async move { state.guild_count(None).await })
        });
        for one in all.collect::<Vec<_>>() {
            let count = tokio::time::timeout(std::time::Duration::from_secs(5), one).await;
            assert_eq!(count.unwrap_or_else(|_| panic!("held up in round {round}")).unwrap().unwrap(), 2);
        }
    }
    assert!(!held.is_finished());
    holder.batch_execute("COMMIT").await.unwrap();
    assert!(held.await.unwrap().unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_gives_one_connection_only_answers_over_that_one() {
    let url = shared().database();
    let _store = filled(&url);
    let name = value(&url, "SELECT current_database()");
    let role = format!("poor_{name}");
    sql(
        &url,
        &format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'few' CONNECTION LIMIT 1; GRANT USAGE ON SCHEMA trunkline TO {role}; \
             GRANT SELECT ON ALL TABLES IN SCHEMA trunkline TO {role}"
        ),
    );
    let at = url.rfind('@').unwrap();
    let state = reader(&format!("postgres://{role}:few{}", &url[at..])).await;
    for _ in 0..20 {
        let all = (0..8).map(|_| {
            let state = state.clone();
            tokio::spawn(async move { state.guild_count(None).await })
        });
        for one in all.collect::<Vec<_>>() {
            assert_eq!(one.await.unwrap().unwrap(), 2);
        }
    }
}
