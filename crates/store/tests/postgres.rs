//! What is PostgreSQL's alone: objects in tables that a person can query, a server that goes away and comes back, versions, refusals.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::postgres::{PASSWORD, Server, shared, sql, value};
use common::{CODEC, key};
use trunkline_store::{Commit, OpenError, Options, RowCodec, ShardCommit, ShardKey, Store, StoreError, Table};

const SHARD: ShardKey = ShardKey { bot: 42, index: 0, count: 1 };

fn options() -> Options {
    Options { rows: Some(CODEC), ..Options::default() }
}

fn put(store: &Store, rows: &[(Table, u64, u64, &str)]) {
    let cache = rows.iter().map(|(table, guild, id, json)| (key(*table, *guild, *id), Some(Bytes::from((*json).to_owned())))).collect();
    commit(store, SHARD, cache);
}

fn commit(store: &Store, shard: ShardKey, cache: Vec<(Vec<u8>, Option<Bytes>)>) {
    store.commit(Commit { shards: vec![ShardCommit { cache, ..ShardCommit::new(shard, 1, Bytes::from_static(b"record")) }] }).unwrap();
}

fn cache(store: &Store, shard: ShardKey) -> BTreeMap<Vec<u8>, String> {
    let mut out = BTreeMap::new();
    let mut each = |key: &[u8], value: &[u8]| drop(out.insert(key.to_vec(), String::from_utf8_lossy(value).into_owned()));
    store.load_cache(shard, &mut each).unwrap();
    out
}

#[test]
fn objects_are_rows_that_a_person_can_query_and_come_back_as_they_were() {
    let url = shared().database();
    let store = Store::connect(&url, options()).unwrap();
    put(
        &store,
        &[
            (Table::Guilds, 7, 0, r#"{"id": "7", "name": "here", "unknown_field": [1, {"deep": null}]}"#),
            (Table::Members, 7, 100, r#"{"nick": "Nick", "roles": ["70", "71"]}"#),
            (Table::Members, 7, 101, r#"{"nick": null, "roles": ["71"]}"#),
            (Table::Users, 0, 100, r#"{"id": "100", "username": "Somebody"}"#),
            (Table::Channels, 7, 8, r#"{"id": "8", "topic": "a"}"#),
        ],
    );
    assert_eq!(value(&url, "SELECT data ->> 'name' FROM trunkline.guilds WHERE guild_id = 7"), "here");
    assert_eq!(value(&url, r#"SELECT string_agg(id::text, ',' ORDER BY id) FROM trunkline.members WHERE roles @> '["71"]'"#), "100,101");
    assert_eq!(value(&url, "SELECT count(*) FROM trunkline.users WHERE username LIKE 'someb%'"), "1");
    let whole = cache(&store, SHARD);
    assert_eq!(whole[&key(Table::Guilds, 7, 0)], r#"{"id": "7", "name": "here", "unknown_field": [1, {"deep": null}]}"#);
    assert_eq!(whole.len(), 5);

    put(&store, &[(Table::Channels, 7, 8, r#"{"id": "8", "topic": "b"}"#)]);
    commit(&store, SHARD, vec![(key(Table::Members, 7, 101), None), (key(Table::Roles, 1, 1), None)]);
    drop(store);
    let store = Store::connect(&url, options()).unwrap();
    let left = cache(&store, SHARD);
    assert_eq!(left.len(), 4);
    assert_eq!(left[&key(Table::Channels, 7, 8)], r#"{"id": "8", "topic": "b"}"#);
    store.forget_shard(SHARD).unwrap();
    assert_eq!(value(&url, "SELECT (SELECT count(*) FROM trunkline.guilds) + (SELECT count(*) FROM trunkline.members)"), "0");
}

#[test]
fn text_that_jsonb_refuses_is_kept_as_bytes_and_fails_no_commit() {
    let url = shared().database();
    let store = Store::connect(&url, options()).unwrap();
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let rows = [
        (Table::Guilds, 1, 0, r#"{"name": "fine"}"#),
        (Table::Guilds, 2, 0, r#"{"name": "nul \u0000 in it"}"#),
        (Table::Guilds, 3, 0, r#"{"name": "half a pair \ud800 in it"}"#),
        (Table::Guilds, 4, 0, r#"{"number": 1e999999}"#),
        (Table::Guilds, 5, 0, "{no json"),
        (Table::Guilds, 6, 0, "!bytes"),
        (Table::Guilds, 7, 0, &deep),
        (Table::Guilds, 8, 0, r#"{"name": "fine too"}"#),
    ];
    put(&store, &rows);
    assert_eq!(
        value(&url, "SELECT string_agg(guild_id::text, ',' ORDER BY guild_id) FROM trunkline.guilds WHERE data IS NOT NULL"),
        "1,2,3,8"
    );
    assert_eq!(
        value(&url, "SELECT string_agg(guild_id::text, ',' ORDER BY guild_id) FROM trunkline.guilds WHERE raw IS NOT NULL"),
        "4,5,6,7"
    );
    // What of a text can be kept is there to be found; the object whole lies beside it.
    let shown = "SELECT string_agg(data ->> 'name', ',' ORDER BY guild_id) FROM trunkline.guilds WHERE replaced AND packed IS NOT NULL";
    assert_eq!(value(&url, shown), "nul \u{fffd} in it,half a pair \u{fffd} in it");
    assert_eq!(value(&url, "SELECT count(*) FROM trunkline.guilds WHERE replaced IS NULL"), "6");
    let back = cache(&store, SHARD);
    for (table, guild, id, json) in rows {
        assert_eq!(back[&key(table, guild, id)], json, "guild {guild}");
    }
    // And one becomes an ordinary row again when its object does.
    put(&store, &[(Table::Guilds, 2, 0, r#"{"name": "healed"}"#)]);
    assert_eq!(value(&url, "SELECT data ->> 'name' FROM trunkline.guilds WHERE guild_id = 2 AND replaced IS NULL"), "healed");
    // Also where another row makes the commit look at each.
    let rows = [(Table::Guilds, 2, 0, r#"{"name": "again \u0000"}"#), (Table::Guilds, 9, 0, r#"{"number": 1e999999}"#)];
    put(&store, &rows);
    assert_eq!(value(&url, "SELECT data ->> 'name' FROM trunkline.guilds WHERE guild_id = 2 AND replaced"), "again \u{fffd}");
    assert_eq!(cache(&store, SHARD)[&key(Table::Guilds, 2, 0)], rows[0].3);
    // And what somebody has changed since counts as it is.
    sql(&url, "UPDATE trunkline.guilds SET data = '{\"name\": \"theirs\"}' WHERE guild_id = 2");
    assert_eq!(cache(&store, SHARD)[&key(Table::Guilds, 2, 0)], r#"{"name": "theirs"}"#);
}

/// Text that no compression makes much shorter.
fn noise(bytes: usize) -> String {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((*state >> 33) % 26).unwrap())
    };
    (0..bytes).map(|_| next(&mut state)).collect()
}

#[test]
fn a_text_too_long_for_an_index_stops_no_checkpoint_in_whatever_indexed_column_it_is() {
    for bytes in [2_600, 3_000, 10_000, 1 << 20] {
        for text in [noise(bytes), "é".repeat(bytes / 2), format!("{} \\u0000", noise(bytes)), format!("{} \\ud83d", noise(bytes))] {
            let url = shared().database();
            let store = Store::connect(&url, options()).unwrap();
            let replaced = text.contains('\\');
            let rows = [
                (Table::Users, 0, 100, format!(r#"{{"id": "100", "username": "{text}"}}"#)),
                (Table::Threads, 7, 60, format!(r#"{{"id": "60", "parent_id": "{text}"}}"#)),
                (Table::Members, 7, 100, format!(r#"{{"nick": "{text}", "roles": ["70", "{text}"]}}"#)),
                (Table::Channels, 7, 50, format!(r#"{{"id": "{text}"}}"#)),
                (Table::Messages, 7, 80, format!(r#"{{"id": "80", "{text}": "{text}"}}"#)),
                // As many as are copied, and more.
                (Table::Users, 0, 101, r#"{"id": "101", "username": "Beside"}"#.to_owned()),
            ];
            let mut cache_rows: Vec<_> =
                (200..900).map(|id| (key(Table::Users, 0, id), Some(Bytes::from(format!(r#"{{"username": "{id}"}}"#))))).collect();
            cache_rows.extend(rows.iter().map(|(table, guild, id, json)| (key(*table, *guild, *id), Some(Bytes::from(json.clone())))));
            let part =
                ShardCommit { cache: cache_rows.clone(), clear_cache: true, ..ShardCommit::new(SHARD, 1, Bytes::from_static(b"first")) };
            for record in ["first", "second"] {
                let part = ShardCommit { record: Bytes::from(record), clear_cache: record == "first", ..part.clone() };
                store.commit(Commit { shards: vec![part] }).unwrap();
                assert_eq!(store.load_record(SHARD).unwrap().unwrap().record, record);
                let back = cache(&store, SHARD);
                assert_eq!(back.len(), cache_rows.len());
                for (table, guild, id, json) in &rows {
                    assert!(back[&key(*table, *guild, *id)] == *json, "{} of {bytes} bytes", table.name());
                }
            }
            assert_eq!(value(&url, "SELECT string_agg(id::text, ',') FROM trunkline.users WHERE username LIKE 'besi%'"), "101");
            for table in ["users WHERE id = 100", "threads", "members", "channels", "messages"] {
                let kept = format!("SELECT data IS NOT NULL AND (replaced IS TRUE) = {replaced} FROM trunkline.{table}");
                assert_eq!(value(&url, &kept), "t", "{table}");
            }
        }
    }
}

#[test]
fn what_an_index_of_somebodys_own_refuses_is_kept_as_bytes_and_the_rows_beside_it_as_objects() {
    let url = shared().database();
    let store = Store::connect(&url, options()).unwrap();
    sql(&url, "CREATE INDEX ON trunkline.channels ((data ->> 'topic')); CREATE INDEX ON trunkline.roles (((data ->> 'position')::int))");
    let topic = |id: u64| if id == 77 || id == 78 || id == 3_000 { noise(9_000) } else { format!("topic {id}") };
    let mut rows: Vec<_> = (1..=4_000)
        .map(|id| (key(Table::Channels, 7, id), Some(Bytes::from(format!(r#"{{"id": "{id}", "topic": "{}"}}"#, topic(id))))))
        .collect();
    rows.push((key(Table::Roles, 7, 5), Some(Bytes::from_static(br#"{"position": "no number"}"#))));
    rows.push((key(Table::Roles, 7, 6), Some(Bytes::from_static(br#"{"position": 6}"#))));
    for _ in 0..2 {
        commit(&store, SHARD, rows.clone());
        let bytes = "SELECT string_agg(id::text, ',' ORDER BY id) FROM trunkline.channels WHERE raw IS NOT NULL";
        assert_eq!(value(&url, bytes), "77,78,3000");
        assert_eq!(value(&url, "SELECT string_agg(id::text, ',') FROM trunkline.roles WHERE raw IS NOT NULL"), "5");
        let back = cache(&store, SHARD);
        assert!(rows.iter().all(|(key, json)| back[key].as_bytes() == json.as_deref().unwrap()));
    }
}

#[test]
fn tables_of_the_first_version_with_rows_in_them_are_brought_to_the_present_one() {
    let url = shared().database();
    let first = include_str!("../migrations/0001_start.sql");
    sql(
        &url,
        &format!(
            "CREATE SCHEMA trunkline; SET search_path = trunkline, pg_catalog; \
             CREATE TABLE migrations (version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()); \
             {first} INSERT INTO migrations (version, name) VALUES (1, 'start'); \
             INSERT INTO users (bot_id, shard_count, shard, guild_id, id, data) VALUES (42, 1, 0, 0, 100, '{{\"username\": \"SomeBody\"}}'); \
             INSERT INTO threads (bot_id, shard_count, shard, guild_id, id, data) VALUES (42, 1, 0, 7, 60, '{{\"parent_id\": \"50\"}}')"
        ),
    );
    let store = Store::connect(&url, options()).unwrap();
    assert_eq!(value(&url, "SELECT id FROM trunkline.users WHERE username LIKE 'someb%'"), "100");
    assert_eq!(value(&url, "SELECT id FROM trunkline.threads WHERE parent_id = '50'"), "60");
    assert_eq!(cache(&store, SHARD).len(), 2);
    put(&store, &[(Table::Users, 0, 100, &format!(r#"{{"username": "{}"}}"#, noise(5_000)))]);
    assert_eq!(value(&url, "SELECT length(username) FROM trunkline.users"), "200");
}

#[test]
fn a_key_that_no_index_takes_is_refused_and_says_why() {
    let url = shared().database();
    let dir = tempfile::tempdir().unwrap();
    for store in [Store::connect(&url, options()).unwrap(), Store::open(dir.path(), options()).unwrap()] {
        commit(&store, SHARD, vec![(noise(1_024).into_bytes(), Some(Bytes::from_static(b"x")))]);
        let cache = vec![(noise(1_025).into_bytes(), None)];
        let refused = store.commit(Commit { shards: vec![ShardCommit { cache, ..ShardCommit::new(SHARD, 1, Bytes::new()) }] }).unwrap_err();
        assert!(matches!(refused, StoreError::Refused { .. }) && refused.to_string().contains("at most 1024"), "{refused}");
    }
}

/// Many rows of members with their keys; the n-th says `what`.
fn many(numbers: impl Iterator<Item = u64>, what: &str) -> Vec<(Vec<u8>, Option<Bytes>)> {
    let row = |n: u64| {
        let odd = if n.is_multiple_of(97) { "\\u0000" } else { "" };
        (key(Table::Members, n % 7, n), Some(Bytes::from(format!(r#"{{"n": {n}, "nick": "{what}{odd}", "roles": ["{}"]}}"#, n % 5))))
    };
    numbers.map(row).collect()
}

#[test]
fn thousands_of_rows_new_and_known_ones_mixed_come_back_as_the_last_commit_had_them() {
    let url = shared().database();
    let store = Store::connect(&url, options()).unwrap();
    let mut expected = BTreeMap::new();
    for (numbers, what) in [(0..3_000, "first"), (2_500..9_000, "second"), (0..10, "a few"), (8_900..9_300, "mostly new")] {
        let rows = many(numbers, what);
        expected.extend(rows.iter().map(|(key, value)| (key.clone(), String::from_utf8(value.clone().unwrap().to_vec()).unwrap())));
        commit(&store, SHARD, rows);
        assert_eq!(normal(cache(&store, SHARD)), normal(expected.clone()), "{what}");
    }
    // All anew, in the place of what was there.
    let rows = many(5_000..7_000, "again");
    store
        .commit(Commit { shards: vec![ShardCommit { cache: rows.clone(), clear_cache: true, ..ShardCommit::new(SHARD, 1, Bytes::new()) }] })
        .unwrap();
    drop(store);
    let store = Store::connect(&url, options()).unwrap();
    assert_eq!(cache(&store, SHARD).len(), rows.len());
    assert_eq!(
        value(&url, "SELECT count(*) FROM trunkline.members WHERE replaced AND raw IS NULL"),
        (5_000..7_000_u64).filter(|n| n % 97 == 0).count().to_string()
    );
    assert_eq!(
        value(&url, "SELECT count(*) FROM trunkline.members WHERE roles @> '[\"3\"]'"),
        (5_000..7_000_u64).filter(|n| n % 5 == 3).count().to_string()
    );
}

/// A row as it lies in its table: whether its value lies beside the JSON.
fn packed(url: &str, table: &str, id: u64) -> String {
    value(
        url,
        &format!("SELECT (packed IS NOT NULL)::text || ' ' || coalesce(data ->> 'name', '-') FROM trunkline.{table} WHERE id = {id}"),
    )
}

#[test]
fn an_object_is_loaded_as_it_was_written_and_as_its_json_says_once_somebody_has_changed_that() {
    let url = shared().database();
    let store = Store::connect(&url, options()).unwrap();
    // Not as jsonb would write it.
    put(&store, &[(Table::Roles, 7, 1, r#"{"name":"one","id":"1"}"#), (Table::Roles, 7, 2, r#"{"name":"two","id":"2"}"#)]);
    commit(&store, SHARD, many(0..2_000, "copied"));
    let role = |id: u64| cache(&store, SHARD)[&key(Table::Roles, 7, id)].clone();
    assert_eq!((role(1).as_str(), role(2).as_str()), (r#"{"name":"one","id":"1"}"#, r#"{"name":"two","id":"2"}"#));
    assert_eq!(value(&url, "SELECT count(*) FROM trunkline.members WHERE (packed IS NULL) <> (raw IS NOT NULL)"), "0");
    // What leaves the object alone leaves its value alone.
    sql(&url, "UPDATE trunkline.roles SET updated_at = now() WHERE id = 2; UPDATE trunkline.roles SET data = data WHERE id = 2");
    assert_eq!(packed(&url, "roles", 2), "true two");
    sql(&url, "UPDATE trunkline.roles SET data = jsonb_set(data, '{name}', '\"changed\"') WHERE id = 1");
    assert_eq!(packed(&url, "roles", 1), "false changed");
    assert_eq!((role(1).as_str(), role(2).as_str()), (r#"{"id": "1", "name": "changed"}"#, r#"{"name":"two","id":"2"}"#));
    sql(&url, "UPDATE trunkline.members SET data = '{\"roles\": []}' WHERE id % 7 = 3");
    let members: Vec<_> = cache(&store, SHARD).into_iter().filter(|(key, _)| key[0] == Table::Members as u8).collect();
    assert_eq!(members.len(), 2_000);
    for (key, json) in members {
        let n = u64::from_be_bytes(key[9..].try_into().unwrap());
        assert_eq!(json == r#"{"roles": []}"#, n % 7 == 3, "{n}: {json}");
    }
    // Written again by the program, it is whole again; and a row that somebody else has put counts as what it says.
    put(&store, &[(Table::Roles, 7, 1, r#"{"name":"again","id":"1"}"#)]);
    sql(
        &url,
        "INSERT INTO trunkline.roles (bot_id, shard_count, shard, guild_id, id, data) VALUES (42, 1, 0, 7, 3, '{\"name\": \"theirs\"}')",
    );
    assert_eq!((packed(&url, "roles", 1).as_str(), packed(&url, "roles", 3).as_str()), ("true again", "false theirs"));
    assert_eq!((role(1).as_str(), role(3).as_str()), (r#"{"name":"again","id":"1"}"#, r#"{"name": "theirs"}"#));
}

#[test]
fn a_value_of_another_form_is_made_of_the_json_beside_it() {
    let url = shared().database();
    let store = Store::connect(&url, options()).unwrap();
    put(&store, &[(Table::Roles, 7, 1, r#"{"name":"one"}"#), (Table::Roles, 7, 2, "!bytes")]);
    drop(store);
    // As a later version has it, and an earlier one: whichever has written it.
    let later = RowCodec { form: b'2', ..CODEC };
    let store = Store::connect(&url, Options { rows: Some(later), ..options() }).unwrap();
    assert_eq!(cache(&store, SHARD).into_values().collect::<Vec<_>>(), [r#"{"name": "one"}"#, "!bytes"]);
    for form in ["", "3 of a later version"] {
        sql(&url, &format!("UPDATE trunkline.roles SET packed = '{form}' WHERE id = 1"));
        assert_eq!(cache(&store, SHARD).into_values().collect::<Vec<_>>(), [r#"{"name": "one"}"#, "!bytes"]);
    }
}

/// jsonb writes spaces.
fn normal(rows: BTreeMap<Vec<u8>, String>) -> BTreeMap<Vec<u8>, String> {
    rows.into_iter().map(|(key, json)| (key, json.replace(' ', ""))).collect()
}

#[test]
fn a_large_commit_that_meets_rows_put_by_somebody_else_meanwhile_is_written_all_the_same() {
    let url = shared().database();
    let store = Store::connect(&url, options()).unwrap();
    commit(&store, SHARD, many(0..5, "old"));
    // Put after the shard's members were cleared, before they are written.
    sql(
        &url,
        "CREATE FUNCTION trunkline.meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         INSERT INTO trunkline.members (bot_id, shard_count, shard, guild_id, id, data) VALUES (42, 1, 0, 3, 3, '{}') ON CONFLICT DO NOTHING; \
         RETURN NULL; END $$; \
         CREATE TRIGGER meddle AFTER DELETE ON trunkline.presences FOR EACH STATEMENT EXECUTE FUNCTION trunkline.meddle()",
    );
    let rows = many(0..2_000, "new");
    store
        .commit(Commit { shards: vec![ShardCommit { cache: rows.clone(), clear_cache: true, ..ShardCommit::new(SHARD, 1, Bytes::new()) }] })
        .unwrap();
    let found = cache(&store, SHARD);
    assert_eq!(found.len(), rows.len());
    assert!(found[&key(Table::Members, 3, 3)].contains("new"));
}

#[test]
fn rows_of_two_shard_counts_lie_beside_each_other_until_one_is_forgotten() {
    let url = shared().database();
    let store = Store::connect(&url, options()).unwrap();
    let new = ShardKey { bot: 42, index: 0, count: 2 };
    put(&store, &[(Table::Guilds, 7, 0, r#"{"name": "old"}"#)]);
    commit(&store, new, vec![(key(Table::Guilds, 7, 0), Some(Bytes::from_static(br#"{"name": "new"}"#)))]);
    assert_eq!(cache(&store, SHARD).into_values().collect::<Vec<_>>(), [r#"{"name": "old"}"#]);
    store.forget_shard(SHARD).unwrap();
    assert_eq!(cache(&store, SHARD).len(), 0);
    assert_eq!(cache(&store, new).into_values().collect::<Vec<_>>(), [r#"{"name": "new"}"#]);
}

#[test]
fn an_epoch_that_another_process_has_raised_fences_a_commit_that_does_not_know_of_it() {
    let url = shared().database();
    let store = Store::connect(&url, options()).unwrap();
    put(&store, &[(Table::Guilds, 7, 0, r#"{"name": "before"}"#)]);
    sql(&url, "UPDATE trunkline.shards SET epoch = 9");
    let cache = vec![(key(Table::Guilds, 7, 0), Some(Bytes::from_static(br#"{"name": "after"}"#)))];
    let part = ShardCommit { cache, entries: vec![(1, Bytes::from_static(b"x"))], ..ShardCommit::new(SHARD, 1, Bytes::new()) };
    let refused = store.commit(Commit { shards: vec![part] }).unwrap_err();
    assert!(matches!(refused, StoreError::Fenced { shard: SHARD, stored: 9, given: 1 }), "{refused}");
    assert_eq!(value(&url, "SELECT data ->> 'name' FROM trunkline.guilds"), "before");
    assert_eq!(value(&url, "SELECT count(*) FROM trunkline.entries"), "0");
    assert_eq!(store.next_epoch(SHARD).unwrap(), 10);
}

#[test]
fn a_full_disk_is_told_as_one_and_commits_go_on_when_there_is_room() {
    let url = shared().database();
    let store = Store::connect(&url, options()).unwrap();
    put(&store, &[(Table::Guilds, 7, 0, "{}")]);
    sql(
        &url,
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE '53100' USING MESSAGE = 'could not extend file'; END $$; \
         CREATE TRIGGER full_disk BEFORE INSERT ON trunkline.entries EXECUTE FUNCTION full_disk()",
    );
    let part = ShardCommit { entries: vec![(1, Bytes::from_static(b"x"))], ..ShardCommit::new(SHARD, 1, Bytes::from_static(b"second")) };
    for _ in 0..2 {
        let error = store.commit(Commit { shards: vec![part.clone()] }).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        assert!(error.to_string().contains("free some space"), "{error}");
        assert_eq!(store.load_record(SHARD).unwrap().unwrap().record, b"record".as_slice());
    }
    sql(&url, "DROP TRIGGER full_disk ON trunkline.entries");
    store.commit(Commit { shards: vec![part] }).unwrap();
    let loaded = store.load_shard(SHARD).unwrap().unwrap();
    assert_eq!((loaded.record.as_ref(), loaded.entries.len()), (b"second".as_slice(), 1));
}

#[test]
fn tables_of_a_later_version_are_refused_and_migrating_twice_changes_nothing() {
    let url = shared().database();
    let first = trunkline_store::migrate(&url).unwrap();
    assert_eq!((first.from, first.to), (0, 4));
    let again = trunkline_store::migrate(&url).unwrap();
    assert_eq!((again.from, again.to), (4, 4));
    drop(Store::connect(&url, options()).unwrap());
    sql(&url, "INSERT INTO trunkline.migrations (version, name) VALUES (77, 'of the future')");
    let refused = Store::connect(&url, options()).unwrap_err();
    assert!(matches!(refused, OpenError::ServerNewer { found: 77, known: 4, .. }), "{refused}");
    assert!(refused.to_string().contains("run the newer version"), "{refused}");
    assert!(trunkline_store::migrate(&url).is_err());
}

#[test]
fn processes_that_migrate_at_once_do_not_meet() {
    let url = shared().database();
    let all: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn({
                let url = url.clone();
                move || trunkline_store::migrate(&url).unwrap().from
            })
        })
        .collect();
    let mut from: Vec<u32> = all.into_iter().map(|thread| thread.join().unwrap()).collect();
    from.sort_unstable();
    assert_eq!(from, [0, 4, 4, 4]);
}

#[test]
fn a_database_that_cannot_be_opened_says_why_and_never_the_password() {
    let server = shared();
    let port = server.port();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (url, part) in [
        (format!("postgres://tester:wrong-secret@127.0.0.1:{port}/postgres"), "password authentication failed"),
        (format!("postgres://tester:{PASSWORD}@127.0.0.1:{port}/no_such"), "\"no_such\" does not exist"),
        (format!("postgres://tester:{PASSWORD}@127.0.0.1:{closed}/postgres?connect_timeout=1"), "start the server"),
        (format!("postgres://tester:{PASSWORD}@127.0.0.1:{port}/postgres?sslmode=require"), "server does not support TLS; correct sslmode"),
    ] {
        let error = Store::connect(&url, options()).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains(part), "{text}");
        assert!(!text.contains("wrong-secret") && !text.contains(PASSWORD) && !text.contains("p@ss"), "{text}");
    }
}

#[test]
fn a_second_store_on_the_same_database_is_refused_and_a_closed_one_leaves_room() {
    let url = shared().database();
    let first = Store::connect(&url, options()).unwrap();
    let began = Instant::now();
    let second = std::thread::spawn({
        let url = url.clone();
        move || Store::connect(&url, options())
    });
    // Its own pid is not proof of life, so it waits a little for the lock; then it says who has it, or gets it.
    std::thread::sleep(Duration::from_millis(500));
    assert!(!second.is_finished());
    first.close().unwrap();
    drop(second.join().unwrap().unwrap());
    assert!(began.elapsed() < Duration::from_secs(5));
}

fn body(position: u64) -> Bytes {
    Bytes::from(format!("body of the entry at position {position} ").repeat(20))
}

/// Commits numbered states, each with an entry and a row, until told to stop; tries a failed one again until it is taken.
fn commit_for(store: &Store, from: u64, how_long: Duration) -> (u64, u64) {
    let (began, mut number, mut failures) = (Instant::now(), from, 0);
    while began.elapsed() < how_long {
        number += 1;
        let cache = vec![(key(Table::Guilds, number % 50, 0), Some(Bytes::from(format!(r#"{{"n": {number}}}"#))))];
        let part =
            ShardCommit { cache, entries: vec![(number, body(number))], ..ShardCommit::new(SHARD, 1, Bytes::from(number.to_string())) };
        loop {
            match store.commit(Commit { shards: vec![part.clone()] }) {
                Ok(located) => {
                    let [(_, located)] = located.as_slice() else { panic!("one shard") };
                    assert_eq!(located.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [number]);
                    break;
                }
                Err(error) => {
                    assert!(matches!(error, StoreError::Server { .. }), "{error:?}");
                    failures += 1;
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            assert!(began.elapsed() < how_long + Duration::from_secs(60), "commits do not go through any more");
        }
    }
    (number, failures)
}

fn check(store: &Store, last: u64) {
    let loaded = store.load_shard(SHARD).unwrap().unwrap();
    assert_eq!(loaded.record, last.to_string());
    assert_eq!(loaded.entries.iter().map(|(position, _, _)| *position).collect::<Vec<_>>(), Vec::from_iter(1..=last));
    for (position, location, bytes) in &loaded.entries {
        assert_eq!(*bytes, body(*position));
        assert_eq!(store.read_entry(SHARD, *location).unwrap(), *bytes);
    }
    let rows = cache(store, SHARD);
    for guild in 0..50 {
        let newest = (1..=last).rev().find(|number| number % 50 == guild);
        assert_eq!(rows.get(&key(Table::Guilds, guild, 0)).cloned(), newest.map(|number| format!(r#"{{"n": {number}}}"#)));
    }
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_commits_loses_nothing_acknowledged_and_they_go_on() {
    let server = Server::start();
    let url = server.database();
    let store = Store::connect(&url, options()).unwrap();
    let mut last = 0;
    for round in 0..3 {
        let failures;
        (last, failures) = std::thread::scope(|scope| {
            let committing = scope.spawn(|| commit_for(&store, last, Duration::from_millis(1500)));
            std::thread::sleep(Duration::from_millis(400 + 70 * round));
            if round == 1 {
                server.stop()
            } else {
                server.kill()
            }
            std::thread::sleep(Duration::from_millis(200));
            server.run();
            committing.join().unwrap()
        });
        assert!(failures > 0, "the server was away");
        println!("{last} commits, {failures} tried again");
        check(&store, last);
    }
    // What is read by another process is the same.
    drop(store);
    check(&Store::connect(&url, options()).unwrap(), last);
}

#[test]
fn a_commit_of_many_statements_is_all_there_or_not_at_all_when_the_server_is_killed_in_the_middle_of_it() {
    let server = Server::start();
    let url = server.database();
    let store = Store::connect(&url, Options { statement_bytes: 2_000, ..options() }).unwrap();
    let commit = |number: u64, clear_cache: bool| {
        let rows = |table: Table| (1..=3_000_u64).map(move |id| (key(table, if table == Table::Users { 0 } else { id % 9 }, id), id));
        let cache = rows(Table::Members).chain(rows(Table::Users)).map(|(key, id)| {
            // Some go and come.
            let value = (id % 7 != number % 7).then(|| Bytes::from(format!(r#"{{"n": {number}, "username": "user {id}"}}"#)));
            (key, value)
        });
        let record = Bytes::from(number.to_string());
        let entries = (0..50).map(|n| (number * 100 + n, body(n))).collect();
        let part = ShardCommit { cache: cache.collect(), clear_cache, entries, ..ShardCommit::new(SHARD, 1, record) };
        store.commit(Commit { shards: vec![part] })
    };
    let check = |number: u64| {
        let loaded = store.load_shard(SHARD).unwrap().unwrap();
        assert_eq!(loaded.record, number.to_string());
        assert_eq!(loaded.entries.len() as u64, number * 50);
        let rows = cache(&store, SHARD);
        let expected = (1..=3_000).filter(|id| id % 7 != number % 7).count() * 2;
        assert_eq!(rows.len(), expected);
        assert!(rows.values().all(|json| json.contains(&format!("\"n\": {number},"))), "rows of more than one commit");
    };
    commit(1, false).unwrap();
    check(1);
    // The server stays in the middle of a table until it is killed there.
    sql(
        &url,
        "CREATE FUNCTION trunkline.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$; \
         CREATE TRIGGER wait BEFORE INSERT ON trunkline.users FOR EACH ROW WHEN (NEW.id = 2000) EXECUTE FUNCTION trunkline.wait()",
    );
    for (number, clear_cache) in [(2, false), (2, true)] {
        std::thread::scope(|scope| {
            let committing = scope.spawn(|| commit(number, clear_cache));
            let began = Instant::now();
            while value(&url, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "0" {
                assert!(began.elapsed() < Duration::from_secs(30) && !committing.is_finished(), "the commit did not come there");
            }
            server.kill();
            let failed = committing.join().unwrap().unwrap_err();
            assert!(matches!(failed, StoreError::Server { .. }), "{failed:?}");
        });
        server.run();
        check(1);
    }
    sql(&url, "DROP TRIGGER wait ON trunkline.users");
    let began = Instant::now();
    while let Err(error) = commit(2, false) {
        assert!(began.elapsed() < Duration::from_secs(30), "{error}");
        std::thread::sleep(Duration::from_millis(50));
    }
    check(2);
    commit(3, true).unwrap();
    check(3);
}

#[test]
fn loads_wait_for_a_server_that_restarts() {
    let server = Server::start();
    let url = server.database();
    let store = Store::connect(&url, options()).unwrap();
    let (last, _) = commit_for(&store, 0, Duration::from_millis(200));
    server.kill();
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| check(&store, last));
        let epoch = scope.spawn(|| store.next_epoch(SHARD).unwrap());
        std::thread::sleep(Duration::from_millis(600));
        server.run();
        loading.join().unwrap();
        assert_eq!(epoch.join().unwrap(), 2);
    });
}

#[test]
fn a_frozen_server_delays_commits_and_loses_none() {
    let server = Server::start();
    let url = server.database();
    let store = Store::connect(&url, options()).unwrap();
    let (last, failures) = std::thread::scope(|scope| {
        let committing = scope.spawn(|| commit_for(&store, 0, Duration::from_millis(2500)));
        std::thread::sleep(Duration::from_millis(300));
        server.freeze(true);
        std::thread::sleep(Duration::from_millis(1500));
        server.freeze(false);
        committing.join().unwrap()
    });
    assert_eq!(failures, 0);
    check(&store, last);
}

#[test]
fn tls_is_spoken_where_the_address_asks_for_it_and_a_certificate_is_checked_where_it_says_so() {
    let server = Server::start();
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = ca.self_signed(&ca_key).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let roots = dir.path().join("root.pem");
    std::fs::write(&roots, root.pem()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = leaf.signed_by(&key, &rcgen::Issuer::new(ca, ca_key)).unwrap();
    server.speak_tls(&certificate.pem(), &key.serialize_pem());
    let (url, named) = (server.database(), server.url("postgres").replace("127.0.0.1", "localhost"));

    let encrypted = "SELECT bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'trunkline'";
    for (mode, is) in [("?sslmode=disable", "f"), ("", "f"), ("?sslmode=prefer", "t"), ("?sslmode=require", "t")] {
        let store = Store::connect(&format!("{url}{mode}"), options()).unwrap();
        put(&store, &[(Table::Guilds, 7, 0, "{}")]);
        assert_eq!(value(&url, encrypted), is, "{mode}");
    }
    let checked = format!("{named}?sslmode=verify-full&sslrootcert={}", roots.display());
    drop(Store::connect(&checked, options()).unwrap());
    for refused in [format!("{named}?sslmode=verify-full"), checked.replace("localhost", "127.0.0.1")] {
        let text = Store::connect(&refused, options()).unwrap_err().to_string();
        assert!(text.contains("certificate") && text.contains("correct sslmode or sslrootcert"), "{text}");
    }
}
