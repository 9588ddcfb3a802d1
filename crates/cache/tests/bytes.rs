//! No bytes, from Discord or from the durable copy, can make a cache panic.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::{BASE, BOTH, Disk, apply, id, raw};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use trunkline_cache::{Cache, Kind};
use trunkline_discord::EventKind;
use trunkline_etf::Value;

fn guild() -> Json {
    json!({
        "id": id(1), "name": "g", "member_count": 2, "roles": [{"id": id(2)}], "emojis": [{"id": id(3)}],
        "channels": [{"id": id(4)}], "threads": [{"id": id(5), "parent_id": id(4), "member": {"flags": 1}}],
        "members": [{"user": {"id": id(6)}, "roles": [id(2)]}], "presences": [{"user": {"id": id(6)}, "status": "idle"}],
        "voice_states": [{"user_id": id(6), "channel_id": id(4)}],
    })
}

/// One payload that has something for every kind of event.
fn everything() -> Json {
    let mut d = guild();
    d["guild_id"] = json!(id(1));
    d["user"] = json!({"id": id(6)});
    d["user_id"] = json!(id(6));
    d["role"] = json!({"id": id(2), "color": 1});
    d["role_id"] = json!(id(2));
    d["channel_id"] = json!(id(4));
    d["channel_ids"] = json!([id(4)]);
    d["status"] = json!("dnd");
    d["member"] = json!({"user": {"id": id(6)}, "joined_at": "x"});
    d["not_found"] = json!([id(7)]);
    d["added_members"] = json!([{"member": {"user": {"id": id(6)}, "joined_at": "x"}, "presence": null}]);
    d["removed_member_ids"] = json!([id(6)]);
    d["last_pin_timestamp"] = json!(null);
    d["stickers"] = json!([]);
    for (key, value) in [
        ("message_id", json!(id(1))),
        ("ids", json!([id(1), id(2)])),
        ("author", json!({"id": id(6), "username": "u"})),
        ("mentions", json!([{"id": id(6), "member": {"nick": "n"}}])),
        ("emoji", json!({"id": id(3), "name": "e"})),
        ("reactions", json!([{"emoji": {"id": id(3)}, "count": 1, "count_details": {"burst": 0, "normal": 1}, "me": false}])),
        ("answer_id", json!(1)),
        ("poll", json!({"results": {"answer_counts": [{"id": 1, "count": 1}]}})),
        ("sound_id", json!(id(7))),
        ("soundboard_sounds", json!([{"sound_id": id(7)}])),
        ("guild_scheduled_event_id", json!(id(1))),
        ("user_count", json!(1)),
        ("code", json!("abc")),
        ("inviter", json!({"id": id(6)})),
        ("voice_start_time", json!(5)),
    ] {
        d[key] = value;
    }
    d
}

/// Asks everything, so that whatever is kept is read.
fn ask(cache: &Cache) {
    for number in 0..9 {
        let (guild, id) = (BASE + 1, BASE + number);
        let all = [cache.guild(id), cache.channel(id), cache.role(guild, id), cache.emojis(id), cache.member(guild, id)];
        let more = [cache.presence(guild, id), cache.voice_state(guild, id), cache.user(id)];
        let kinds = Kind::ALL.into_iter().flat_map(|kind| [cache.one(kind, guild, id), cache.one(kind, 0, id)]);
        let messages = cache.messages(id, u64::MAX, 9).into_iter();
        for found in all.into_iter().chain(more).chain(kinds).flatten().chain(messages) {
            let _ = found.object.value().entries().count();
        }
    }
    assert!(Kind::ALL.iter().map(|kind| cache.size(*kind).bytes).sum::<u64>() <= cache.bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn damaged_payloads_of_every_kind_are_survived(
        etf in any::<bool>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let encoding = BOTH[usize::from(!etf)];
        let mut bytes = raw(encoding, &everything());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let mut cache = Cache::default();
        for kind in EventKind::ALL {
            if cache.guild(BASE + 1).is_none() {
                apply(&mut cache, encoding, EventKind::GuildCreate, &guild());
                apply(&mut cache, encoding, EventKind::MessageCreate, &everything());
            }
            cache.apply(*kind, Value::from_raw(encoding, &bytes), &Bytes::copy_from_slice(&bytes));
            ask(&cache);
        }
        let mut again = Cache::default();
        for (key, value) in cache.take_changes() {
            if let Some(value) = value {
                // A damaged payload may leave an object that a load refuses; it must only not panic.
                let _ = again.load(&key, &value);
            }
        }
        ask(&again);
    }

    #[test]
    fn damaged_rows_are_refused_or_survived(
        etf in any::<bool>(),
        row in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        key in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let encoding = BOTH[usize::from(!etf)];
        let mut cache = Cache::default();
        apply(&mut cache, encoding, EventKind::GuildCreate, &guild());
        let rows = cache.take_changes();
        let (good_key, value) = &rows[row.index(rows.len())];
        let mut value = value.as_ref().unwrap().to_vec();
        for (at, byte) in changes {
            let at = at.index(value.len());
            value[at] = byte;
        }
        let mut again = Cache::default();
        let _ = again.load(&key, &value);
        let _ = again.load(good_key, &value);
        ask(&again);
        let mut disk = Disk::default();
        disk.save(&mut again);
        prop_assert_eq!(disk.rows(), 0);
    }
}
