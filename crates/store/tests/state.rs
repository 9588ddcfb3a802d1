//! Lookups from PostgreSQL alone: every question that the state API asks, against rows that a store has committed.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use bytes::Bytes;
use common::postgres::{Server, shared, sql};
use trunkline_store::{
    Commit, Objects, OpenError, Options, Place, RowCodec, ShardCommit, ShardKey, StateError, StateReader, Store, Table, Threads,
};

const BOT: u64 = 42;
const SHARD: ShardKey = ShardKey { bot: BOT, index: 0, count: 1 };
const GUILD: u64 = 1 << 40;

const CODEC: RowCodec = RowCodec {
    place: |key| {
        let (table, rest) = key.split_first()?;
        let (guild, rest) = rest.split_first_chunk::<8>()?;
        let id = u64::from_be_bytes(rest.try_into().ok()?);
        Some(Place { table: Table::from_number(*table)?, guild_id: u64::from_be_bytes(*guild), id })
    },
    key: |place| Some(key(place.table, place.guild_id, place.id)),
    json: |_, value| String::from_utf8(value.to_vec()).ok(),
    value: |_, json| Some(json.as_bytes().to_vec()),
};

fn key(table: Table, guild: u64, id: u64) -> Vec<u8> {
    [&[table as u8][..], &guild.to_be_bytes(), &id.to_be_bytes()].concat()
}

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
    // Its processes outlive it for a moment.
    let began = std::time::Instant::now();
    while state.guild_count(None).await.is_ok() {
        assert!(began.elapsed() < std::time::Duration::from_secs(20));
    }
    for _ in 0..8 {
        let error = state.guild_count(None).await.unwrap_err();
        assert!(matches!(error, StateError::Unavailable(_)), "{error}");
        assert!(!error.to_string().contains("p@ss"));
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
