//! The packed form says what was packed, whatever that was: nothing is lost, everything is found in place, and damage is an error.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/packed.rs"]
mod form;
#[path = "common/strategies.rs"]
mod strategies;
#[path = "common/update.rs"]
mod update;

use common::show;
use form::{holds_for_etf, holds_for_json, json_of, pack, pack_json, read, rewritten, same, to, torment};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use strategies::{any_json, any_term};
use trunkline_etf::packed::edit;
use trunkline_etf::{Encoding, ErrorKind, EtfWriter, Ids, Limits, TermWrite, Value, transcode};

/// Discord's own spelling of an object in ETF: atoms as keys, ids as integers, the shortest form of everything.
fn discord_etf(json: &Json, writer: &mut EtfWriter) {
    match json {
        Json::Null => writer.null(),
        Json::Bool(value) => writer.bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => writer.int(int),
            (_, Some(int)) => writer.uint(int),
            _ => writer.float(number.as_f64().unwrap()),
        },
        Json::String(text) if text.len() >= 17 && text.parse::<u64>().is_ok_and(|id| id.to_string() == *text) => {
            writer.id(text.parse().unwrap())
        }
        Json::String(text) => writer.str(text),
        Json::Array(items) => {
            writer.begin_list(items.len());
            items.iter().for_each(|item| discord_etf(item, writer));
            writer.end_list();
        }
        Json::Object(entries) => {
            writer.begin_map(entries.len());
            for (key, value) in entries {
                writer.key(key);
                discord_etf(value, writer);
            }
            writer.end_map();
        }
    }
}

fn etf_of(json: &Json) -> Vec<u8> {
    let mut writer = EtfWriter::term().with_atom_keys().with_ids(Ids::Integers);
    discord_etf(json, &mut writer);
    writer.into_vec()
}

/// JSON with the names, ids, times, hashes and words of Discord's objects.
fn any_object() -> impl Strategy<Value = Json> {
    let key = prop_oneof![
        8 => prop::sample::select(vec!["id", "user", "roles", "joined_at", "permissions", "status", "rule_id", "shard", "locale", "verification_level"]).prop_map(str::to_owned),
        1 => "[a-z_]{1,12}",
        1 => ".{0,80}",
    ];
    let text = prop_oneof![
        any::<u64>().prop_map(|id| id.to_string()),
        "[0-9]{0,21}",
        "[0-9a-f]{31,33}",
        "a_[0-9a-f]{31,33}",
        "[0-9a-fA-F]{32}",
        "(19|20|99)[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{3}|\\.[0-9]{6}|\\.[0-9]{3}000|)(Z|\\+00:00)",
        prop::sample::select(vec!["online", "idle", "dnd", "offline", "offline ", "COMMUNITY", "image/png"]).prop_map(str::to_owned),
        ".{0,70}",
        "[a-z ]{200,300}",
    ];
    let scalar = prop_oneof![
        1 => Just(Json::Null),
        1 => any::<bool>().prop_map(Json::from),
        1 => (-300i64..70_000).prop_map(Json::from),
        1 => any::<i64>().prop_map(Json::from),
        1 => any::<u64>().prop_map(Json::from),
        1 => any::<f32>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| Json::from(f64::from(f))),
        4 => text.prop_map(Json::from),
    ];
    scalar.prop_recursive(4, 80, 20, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..24).prop_map(Json::from),
            prop::collection::vec((key.clone(), inner), 0..24).prop_map(|entries| Json::Object(entries.into_iter().collect())),
        ]
    })
}

/// The fields of an object of Discord's kind.
fn any_fields() -> impl Strategy<Value = serde_json::Map<String, Json>> {
    let key = prop_oneof![
        4 => prop::sample::select(vec!["id", "user", "roles", "joined_at", "permissions", "status", "rule_id", "nick", "guild_id"]).prop_map(str::to_owned),
        1 => "[a-z_]{1,12}",
    ];
    prop::collection::vec((key, any_object()), 0..16).prop_map(|fields| fields.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 768, ..ProptestConfig::default() })]

    #[test]
    fn any_term_is_packed_without_loss(term in any_term()) {
        let mut raw = Vec::new();
        term.write(&mut raw);
        holds_for_etf(&raw);
        let packed = pack(Value::from_raw(Encoding::Etf, &raw));
        prop_assert_eq!(show(read(&packed)), term.shown());
        rewritten(read(&packed));
    }

    #[test]
    fn any_json_is_packed_without_loss(json in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&json).unwrap() } else { json.to_string() };
        holds_for_json(&text);
        rewritten(read(&pack_json(&text)));
    }

    #[test]
    fn any_object_of_discords_kind_is_packed_without_loss(json in any_object()) {
        let text = json.to_string();
        holds_for_json(&text);
        let etf = etf_of(&json);
        holds_for_etf(&etf);
        // What Discord sends comes back byte for byte.
        prop_assert_eq!(to(read(&pack(Value::from_raw(Encoding::Etf, &etf))), Encoding::Etf).unwrap(), etf);
    }

    #[test]
    fn numbers_of_json_come_back_as_they_were_written(text in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?") {
        let packed = pack_json(&text);
        prop_assert_eq!(json_of(&packed), text.as_str());
        same(Value::from_raw(Encoding::Json, text.as_bytes()), read(&packed));
    }

    #[test]
    fn merging_is_what_it_is_for_objects(base in any_object(), update in any_object(), drop in "id|user|roles|zz", forms in any::<[bool; 2]>()) {
        let (Json::Object(base), Json::Object(update)) = (&base, &update) else { return Ok(()) };
        let form = |json: &serde_json::Map<String, Json>, etf: bool| {
            if etf { pack(Value::from_raw(Encoding::Etf, &etf_of(&Json::Object(json.clone())))) } else { pack_json(&Json::Object(json.clone()).to_string()) }
        };
        let (a, b) = (form(base, forms[0]), form(update, forms[1]));
        let mut out = b"kept".to_vec();
        edit::merged(read(&a), read(&b), &[drop.as_str(), "rule_id"], &mut out).unwrap();
        let merged = Value::parse(Encoding::Packed, &out[4..], &Limits::GATEWAY).unwrap();
        let mut keys: Vec<&String> = base.keys().collect();
        keys.extend(update.keys().filter(|key| !base.contains_key(*key)));
        keys.retain(|key| **key != drop && *key != "rule_id");
        prop_assert_eq!(merged.len(), keys.len());
        let (base, update) = (read(&a), read(&b));
        for ((key, value), wanted) in merged.entries().zip(keys) {
            prop_assert_eq!(key.as_str().unwrap(), wanted.as_str());
            prop_assert_eq!(value.raw(), update.get(wanted).or(base.get(wanted)).unwrap().raw());
        }
        // Leaving out the update's keys leaves what only the base had.
        let mut less = Vec::new();
        edit::without_keys(base, &[drop.as_str()], &mut less).unwrap();
        let less = Value::parse(Encoding::Packed, &less, &Limits::GATEWAY).unwrap();
        prop_assert!(less.get(&drop).is_none());
        prop_assert_eq!(less.len(), base.len() - usize::from(base.get(&drop).is_some()));
    }

    #[test]
    fn an_update_compared_in_place_says_what_packing_and_merging_says(
        base in any_fields(),
        told in any_fields(),
        changed in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        drop in "id|user|roles|zz",
        json in prop::bool::weighted(0.1),
    ) {
        // Most updates say again what is known, with a few fields that are others or new.
        let mut like = base.clone();
        let fields: Vec<(String, Json)> = told.clone().into_iter().collect();
        for at in changed {
            if !fields.is_empty() {
                let (key, value) = at.get(&fields).clone();
                like.insert(key, value);
            }
        }
        let base = Json::Object(base);
        let base = if json { pack_json(&base.to_string()) } else { pack(Value::from_raw(Encoding::Etf, &etf_of(&base))) };
        for told in [told, like] {
            update::agree(&base, &etf_of(&Json::Object(told)), &[drop.as_str(), "rule_id"], &drop);
        }
    }

    #[test]
    fn an_update_that_is_any_term_of_any_term_says_what_packing_and_merging_says(base in any_term(), told in any_term(), how: u8) {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        base.write(&mut first);
        told.write(&mut second);
        for (base, told) in [(&first, &second), (&first, &first), (&second, &first)] {
            let base = pack(Value::from_raw(Encoding::Etf, base));
            update::agree(&base, told, if how & 1 == 0 { &[] } else { &["a"] }, "user");
        }
    }

    #[test]
    fn damaged_packed_bytes_never_panic(json in any_object(), places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4)) {
        let mut bytes = pack_json(&json.to_string());
        for (place, byte, what) in places {
            let at = place.index(bytes.len() + 1);
            match what {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => bytes[at] = byte,
                _ => bytes.truncate(at),
            }
        }
        torment(&bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        torment(&bytes);
    }
}

fn member() -> Json {
    json!({
        "avatar": null, "banner": null, "communication_disabled_until": null, "deaf": false, "flags": 2, "joined_at": "2023-04-11T09:33:12.529000+00:00",
        "mute": false, "nick": "nick 7", "pending": false, "premium_since": null, "roles": ["175928847299117063", "175928847299117064"], "unheard_of": { "x": [1.5, "y"] },
        "user": { "avatar": "b9c1b3a0a4bb71b9cbd1ab7e5d32e7a4", "avatar_decoration_data": null, "bot": false, "discriminator": "0", "global_name": "Some One",
            "id": "175928847299117065", "public_flags": 64, "username": "some_one" },
    })
}

#[test]
fn packed_bytes_cut_or_changed_at_any_byte_are_an_error_or_another_value_and_never_a_panic() {
    let packed = pack_json(
        &json!([member(), { "text": "x".repeat(70), "long": "y".repeat(300) }, vec![1; 20], 2.25, 0.1, -7, -70_000, 1u64 << 60])
            .to_string(),
    );
    for length in 0..packed.len() {
        assert!(Value::parse(Encoding::Packed, &packed[..length], &Limits::GATEWAY).is_err(), "cut to {length}");
        torment(&packed[..length]);
        for byte in [
            0, 1, 0x3f, 0x41, 0x7f, 0x81, 0x92, 0xa1, 0xb0, 0xb8, 0xc5, 0xcb, 0xcd, 0xce, 0xcf, 0xd0, 0xd3, 0xd5, 0xd6, 0xd7, 0xdb, 0xe1,
            0xe2, 0xe3, 0xf0, 0xff,
        ] {
            let mut changed = packed.clone();
            changed[length] = byte;
            torment(&changed);
        }
    }
    assert!(matches!(
        Value::parse(Encoding::Packed, &[&packed[..], b"\0"].concat(), &Limits::GATEWAY).unwrap_err().kind,
        ErrorKind::Trailing { bytes: 1 }
    ));
}

#[test]
fn fields_are_set_left_out_and_filtered_in_one_pass() {
    let base = pack_json(&member().to_string());
    let user = pack_json(r#"{"id":"1","username":"new"}"#);
    let edit = |drop: &[&str], fields: &[(&str, Value<'_>)]| {
        let mut out = b"kept".to_vec();
        edit::edited(read(&base), drop, fields, &mut out).unwrap();
        Value::parse(Encoding::Packed, &out[4..], &Limits::GATEWAY).unwrap();
        serde_json::from_str::<Json>(&json_of(&out[4..])).unwrap()
    };
    let text = Value::from_raw(Encoding::Json, br#""text""#);
    let mut wanted = member();
    wanted["user"] = json!({ "id": "1", "username": "new" });
    assert_eq!(edit(&[], &[("user", read(&user))]), wanted);
    wanted["nobody knows it"] = json!("text");
    wanted["guild_id"] = json!("text");
    assert_eq!(edit(&[], &[("nobody knows it", text), ("user", read(&user)), ("guild_id", text), ("guild_id", read(&user))]), wanted);
    wanted.as_object_mut().unwrap().retain(|key, _| !["nick", "unheard_of", "roles"].contains(&key.as_str()));
    wanted["mute"] = json!("text");
    let fields = [("nobody knows it", text), ("user", read(&user)), ("guild_id", text), ("mute", text)];
    assert_eq!(edit(&["nick", "unheard_of", "roles", "mute", "not there"], &fields), wanted);
    // More than any object has.
    let names: Vec<String> = (0..100).map(|n| format!("field {n}")).collect();
    let many: Vec<(&str, Value<'_>)> = names.iter().map(|name| (name.as_str(), text)).collect();
    let once = edit(&[], &many);
    assert_eq!(once.as_object().unwrap().len(), member().as_object().unwrap().len() + 100);
    let (mut first, mut twice) = (Vec::new(), Vec::new());
    edit::with_fields(read(&base), &many, &mut first).unwrap();
    edit::with_fields(read(&first), &many, &mut twice).unwrap();
    assert_eq!(serde_json::from_str::<Json>(&json_of(&twice)).unwrap(), once);

    let mut out = Vec::new();
    assert_eq!(edit::with_filtered(read(&base), "roles", |role| role.as_id() != Some(175_928_847_299_117_063), &mut out), Ok(1));
    wanted = member();
    wanted["roles"] = json!(["175928847299117064"]);
    assert_eq!(serde_json::from_str::<Json>(&json_of(&out)).unwrap(), wanted);
    out.clear();
    assert_eq!(edit::with_filtered(read(&base), "roles", |_| true, &mut out), Ok(0));
    assert_eq!((edit::with_filtered(read(&base), "nick", |_| false, &mut out), out.len()), (Ok(0), 0));

    // What is no map, or no value, changes nothing.
    out.extend(b"kept");
    assert!(edit::merged(read(&base), text, &[], &mut out).is_err());
    assert!(edit::with_field(text, "id", text, &mut out).is_err());
    assert!(edit::with_field(read(&base), "id", Value::from_raw(Encoding::Json, b"nonsense"), &mut out).is_err());
    assert!(edit::filtered(read(&base), |_| true, &mut out).is_err());
    assert_eq!(out, b"kept");
}

#[test]
fn atoms_stay_atoms_when_objects_of_both_encodings_are_merged() {
    let discord = common::bytes("74 00000002 7302 6964 6101 7306 7768617465 76 6102");
    let base = pack(Value::from_raw(Encoding::Etf, &discord));
    let update = pack_json(r#"{"name":"x","id":2}"#);
    let mut out = Vec::new();
    edit::merged(read(&base), read(&update), &[], &mut out).unwrap();
    let etf = to(read(&out), Encoding::Etf).unwrap();
    assert_eq!(common::hex(&etf), "740000000373026964610273067768617465766102 7304 6e616d65 6d00000001 78".replace(' ', ""));
    out.clear();
    edit::with_field(read(&base), "color", Value::from_raw(Encoding::Json, b"3"), &mut out).unwrap();
    assert!(to(read(&out), Encoding::Etf).unwrap().ends_with(b"s\x05colora\x03"));
}

#[test]
fn depth_is_counted_to_the_level() {
    for depth in [0usize, 1, 199, 200, 201, 255, 256, 257] {
        let json = ["[".repeat(depth), "1".to_owned(), "]".repeat(depth)].concat();
        let mut packed = Vec::new();
        let result = transcode(Value::from_raw(Encoding::Json, json.as_bytes()), Encoding::Packed, &mut packed);
        assert_eq!(result.is_ok(), depth <= 256, "{depth}");
        let etf = [b"\x6c\0\0\0\x01".repeat(depth), b"\x61\x01".to_vec(), b"\x6a".repeat(depth)].concat();
        assert_eq!(to(Value::from_raw(Encoding::Etf, &etf), Encoding::Packed).is_ok(), depth <= 256, "{depth}");
        // Tuples are kept as they are, as deep as they lie.
        let tuples =
            [b"\x6c\0\0\0\x01".repeat(depth / 2), b"\x68\x01".repeat(depth - depth / 2), b"\x61\x01".to_vec(), b"\x6a".repeat(depth / 2)]
                .concat();
        assert_eq!(to(Value::from_raw(Encoding::Etf, &tuples), Encoding::Packed).is_ok(), depth <= 256, "{depth}");
        if depth <= 256 {
            for packed in [packed, to(Value::from_raw(Encoding::Etf, &tuples), Encoding::Packed).unwrap()] {
                assert_eq!(Value::parse(Encoding::Packed, &packed, &Limits::GATEWAY).is_ok(), depth <= 200, "{depth}");
                assert_eq!(to(read(&packed), Encoding::Json).unwrap(), json.as_bytes());
            }
        }
    }
    // Deeper than anything is ever packed, by hand.
    let mut deep = vec![0x01];
    for _ in 0..100_000 {
        let size = deep.len() as u32;
        let mut outer = vec![0xd5];
        outer.extend(size.to_le_bytes());
        outer.extend(1u32.to_le_bytes());
        if size < 20_000 {
            outer.extend(&deep);
            deep = outer;
        }
    }
    assert!(matches!(Value::parse(Encoding::Packed, &deep, &Limits::GATEWAY).unwrap_err().kind, ErrorKind::TooDeep { depth_max: 200 }));
    torment(&deep);
}

#[test]
fn an_empty_list_of_etf_is_no_level_in_any_form() {
    for (depth, inside) in [(200, &b"\x6a"[..]), (200, b"\x6b\0\x01\x07"), (256, b"\x6a"), (256, b"\x6b\0\x01\x07")] {
        let maps = [&b"t\0\0\0\x01s\x02id".repeat(depth)[..], inside].concat();
        let lists = [&b"l\0\0\0\x01".repeat(depth)[..], inside, &b"j".repeat(depth)].concat();
        for etf in [maps, lists] {
            let limits = Limits { depth_max: depth as u32, ..Limits::GATEWAY };
            Value::parse(Encoding::Etf, &[&[131], &etf[..]].concat(), &limits).unwrap();
            let packed = to(Value::from_raw(Encoding::Etf, &etf), Encoding::Packed).unwrap();
            assert_eq!(Value::parse(Encoding::Packed, &packed, &limits).unwrap().raw(), packed, "{depth}");
            assert_eq!(to(read(&packed), Encoding::Etf).unwrap(), etf);
            to(read(&packed), Encoding::Json).unwrap();
        }
    }
}

/// Improper lists inside of each other, the innermost with these elements, each of the others with one before and one behind.
fn improper(levels: usize, elements: &[u8], count: u32) -> Vec<u8> {
    let inner = [b"l", &count.to_be_bytes()[..], elements, b"a\x02"].concat();
    [&b"l\0\0\0\x03a\x01".repeat(levels)[..], &inner, &b"w\x02oka\x03".repeat(levels)].concat()
}

#[test]
fn improper_lists_are_kept_from_the_outermost_on() {
    // The blobs of a packed list, in order.
    let blobs = |etf: &[u8]| -> Vec<usize> {
        holds_for_etf(etf);
        let packed = pack(Value::from_raw(Encoding::Etf, etf));
        let raws = read(&packed).items().map(|item| item.raw().to_vec()).collect::<Vec<_>>();
        raws.iter().filter(|raw| raw[0] == 0xe1).map(|raw| raw.len() - 5).collect()
    };
    let (one, three) = (improper(0, b"a\x07", 1), improper(2, b"a\x07", 1));
    let proper = b"l\0\0\0\x01a\x05j";
    let key = [b"t\0\0\0\x02", &one[..], proper, b"s\x02idj"].concat();
    let tail = [b"l\0\0\0\x01", &three[..], &three].concat();
    let only_tail = [b"l\0\0\0\0", &one[..]].concat();
    let all = [&one[..], &three, proper, &key, &tail, &only_tail, &one];
    let list = [b"l\0\0\0\x07", &all.concat()[..], b"j"].concat();
    assert_eq!(blobs(&list), [one.len(), three.len(), tail.len(), only_tail.len(), one.len()]);
    let last = [b"l\0\0\0\x07", &all.concat()[..], b"a\x01"].concat();
    let packed = pack(Value::from_raw(Encoding::Etf, &last));
    assert_eq!((packed[0], packed.len()), (0xe1, last.len() + 5), "one blob, whatever is inside");
    assert_eq!(to(read(&packed), Encoding::Etf).unwrap(), last);
    // Damage and depth are found wherever they are.
    for end in 0..list.len() {
        to(Value::from_raw(Encoding::Etf, &list[..end]), Encoding::Packed).unwrap_err();
    }
    for levels in [254, 255, 256, 257] {
        let deep = improper(levels, b"a\x07", 1);
        assert_eq!(to(Value::from_raw(Encoding::Etf, &deep), Encoding::Packed).is_ok(), levels < 256, "{levels}");
    }
}

#[test]
#[allow(clippy::disallowed_methods)]
fn improper_lists_inside_of_each_other_are_not_gone_over_once_for_each_level() {
    // A megabyte of what takes longest, at the bottom of 196 lists: level by level it would be 200 MB, and a minute without optimization.
    let elements = b"a\x01".repeat(500_000);
    // The shortest of three: the machine may be busy with other things.
    let took = |levels: usize| {
        let etf = improper(levels, &elements, 500_000);
        let run = |_| {
            let started = std::time::Instant::now();
            let packed = to(Value::from_raw(Encoding::Etf, &etf), Encoding::Packed).unwrap();
            assert_eq!(packed.len(), etf.len() + 5);
            started.elapsed()
        };
        (0..3).map(run).min().unwrap()
    };
    let (deep, flat) = (took(196), took(0));
    assert!(deep < 20 * flat, "{deep:?}, and {flat:?} in one list");
}

#[test]
fn odd_terms_of_erlang_come_back_byte_for_byte() {
    for raw in [
        "6b 0002 0104",                                                           // [1, 4] as a string of bytes
        "74 00000001 7304 73697a65 6b 0002 0104",                                 // size: [1, 4]
        "68 02 6101 6a",                                                          // a tuple
        "6c 00000001 6101 6102",                                                  // an improper list
        "6c 00000001 6101 6c 00000001 6102 6a",                                   // a list whose tail is a list
        "6c 00000000 6a",                                                         // an empty list with a head
        "6e 09 00 010203040506070809",                                            // an integer of 9 bytes
        "6e 08 01 ffffffffffffffff",                                              // the smallest of 64 bits and a sign
        "63 312e3530303030303030303030303030303030303030652b3030 00 00 00 00 00", // a float as text
        "6d 00000003 fffefd",                                                     // a binary that is no text
        "77 02 c3a9",
        "73 01 e9",                                        // atoms beyond ASCII
        "74 00000002 7302 6964 6101 6d00000002 6964 6102", // one name as an atom and as a binary
        "74 00000002 6d00000002 6964 6101 7302 6964 6102",
        "74 00000004 6107 6101 68 00 6102 46 3ff8000000000000 6103 6a 6104", // keys that are no texts
        "73 04 6e756c6c",
        "73 06 6f6e6c696e65",               // the atoms null and online
        "4d 00000001 04 f0",                // a bit string
        "67 73 01 6e 00000001 00000002 00", // a process id
    ] {
        let raw = common::bytes(raw);
        Value::parse(Encoding::Etf, &[&[131], &raw[..]].concat(), &Limits::GATEWAY)
            .unwrap_or_else(|error| panic!("{error}: {}", common::hex(&raw)));
        let packed = pack(Value::from_raw(Encoding::Etf, &raw));
        let back = to(read(&packed), Encoding::Etf).unwrap();
        assert_eq!(common::hex(&back), common::hex(&raw));
        assert_eq!(show(read(&packed)), show(Value::from_raw(Encoding::Etf, &raw)));
    }
}

#[test]
fn what_stands_in_a_store_is_read_for_ever() {
    // The form of the first version: a change here is a change of the stored form.
    let json = r#"{"id":"175928847299117063","name":"x","premium_tier":3,"unheard_of":[null,false,true,-1,64,300,1.5,0.1],"status":"idle","joined_at":"2023-04-11T09:33:12.529000+00:00","avatar":"a_b9c1b3a0a4bb71b9cbd1ab7e5d32e7a4","size":1152921504606846976}"#;
    let stored = "886c 00 ca070002c15a067102 01 4178 c011 03 f04a756e68656172645f6f66 a818b0b1b2bb00b340b42c01cc0000c03fcb9a9999999999b93f 1e e301 0d d9d181a96f8701 07 d8b9c1b3a0a4bb71b9cbd1ab7e5d32e7a4 36 e21300000031313532393231353034363036383436393736";
    assert_eq!(common::hex(&pack_json(json)), stored.replace(' ', ""));
    assert_eq!(json_of(&common::bytes(stored)), json);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 768, ..ProptestConfig::default() })]

    #[test]
    fn fields_left_out_while_packing_are_fields_left_out_of_what_was_packed(json in any_object(), term in any_term(), key in "id|user|roles|zz") {
        let mut raw = Vec::new();
        term.write(&mut raw);
        let atoms = etf_of(&json);
        let mut binaries = Vec::new();
        transcode(Value::from_raw(Encoding::Json, json.to_string().as_bytes()), Encoding::Etf, &mut binaries).unwrap();
        for etf in [raw, atoms, binaries] {
            let packed = pack(Value::from_raw(Encoding::Etf, &etf));
            let drop = [key.as_str(), "rule_id", "", "unheard of"];
            let (mut quick, mut plain) = (b"kept".to_vec(), b"kept".to_vec());
            let done = edit::without_keys(Value::from_raw(Encoding::Etf, &etf), &drop, &mut quick).is_ok();
            prop_assert_eq!(done, edit::without_keys(read(&packed), &drop, &mut plain).is_ok());
            prop_assert_eq!(&quick, &plain);
            for length in 0..etf.len().min(64) {
                let cut = Value::from_raw(Encoding::Etf, &etf[..length]);
                prop_assert!(edit::without_keys(cut, &drop, &mut plain).is_err(), "cut to {}", length);
            }
            prop_assert_eq!(&quick, &plain);
        }
    }

    #[test]
    fn a_map_is_split_into_a_field_and_the_map_without_it(json in any_object(), key in "id|user|roles|zz") {
        let packed = pack_json(&json.to_string());
        let (mut split, mut plain) = (b"kept".to_vec(), b"kept".to_vec());
        let field = edit::split(read(&packed), &key, &mut split);
        prop_assert_eq!(field.is_ok(), edit::without_keys(read(&packed), &[&key], &mut plain).is_ok());
        prop_assert_eq!(split, plain);
        prop_assert_eq!(field.ok().flatten().map(Value::raw), read(&packed).get(&key).map(Value::raw));
    }
}

#[test]
fn a_map_that_says_a_field_twice_is_split_into_the_first_and_neither() {
    let packed = pack_json(r#"{"user":{"id":"1"},"nick":"x","user":2,"id":"7"}"#);
    let mut out = Vec::new();
    let user = edit::split(read(&packed), "user", &mut out).unwrap().unwrap();
    assert_eq!((json_of(user.raw()).as_str(), json_of(&out).as_str()), (r#"{"id":"1"}"#, r#"{"nick":"x","id":"7"}"#));
    // What is no map, is cut off, or is not packed, changes nothing.
    assert!(edit::split(Value::from_raw(Encoding::Json, b"{}"), "user", &mut out).is_err());
    for length in 0..packed.len() {
        assert!(edit::split(read(&packed[..length]), "user", &mut out).is_err(), "cut to {length}");
    }
    assert_eq!(json_of(&out), r#"{"nick":"x","id":"7"}"#);
}

proptest! {
    #[test]
    fn an_id_is_packed_beside_its_object_as_it_is_inside(id in prop_oneof![any::<u64>(), 0..300_u64], zeros in 0..3_usize, form in 0..4_u8) {
        let mut writer = EtfWriter::term().with_atom_keys().with_ids(Ids::Integers);
        match form {
            0 => writer.id(id),
            1 => writer.uint(id),
            _ => writer.str(&format!("{}{id}", "0".repeat(zeros))),
        }
        let etf = writer.into_vec();
        let told = Value::from_raw(Encoding::Etf, &etf);
        let mut packed = Vec::new();
        transcode(told, Encoding::Packed, &mut packed).unwrap();
        match edit::packed_id(told, id) {
            Some((room, len)) => prop_assert_eq!(&room[..len], &packed[..]),
            None => prop_assert!(form > 1 && (zeros > 0 || id < 10), "{id} {zeros}"),
        }
        prop_assert!(edit::packed_id(told, id ^ 1).is_none(), "another id than it says");
        prop_assert!(edit::packed_id(Value::from_raw(Encoding::Json, b"5"), 5).is_none());
    }
}

proptest! {
    #[test]
    fn keys_of_each_map_of_a_list_are_found_as_one_by_one(term in any_term(), cut in 0..40_usize) {
        let mut bytes = Vec::new();
        term.write(&mut bytes);
        let whole = Value::from_raw(Encoding::Etf, &bytes);
        let mut packed = Vec::new();
        transcode(whole, Encoding::Packed, &mut packed).unwrap();
        let damaged = Value::from_raw(Encoding::Etf, whole.raw().get(..whole.raw().len().saturating_sub(cut)).unwrap_or_default());
        for value in [whole, Value::from_raw(Encoding::Packed, &packed)] {
            let mut todo = vec![value];
            while let Some(value) = todo.pop() {
                let mut found = Vec::new();
                value.each_get_all(["id", "user", "x"], |values| found.push(values.map(|value| value.map(Value::raw))));
                let wanted: Vec<_> = value.items().map(|item| item.get_all(["id", "user", "x"]).map(|value| value.map(Value::raw))).collect();
                prop_assert_eq!(found, wanted);
                todo.extend(value.items());
                todo.extend(value.entries().map(|(_, value)| value));
            }
        }
        // Bytes that nobody checked end it early, and nothing else.
        damaged.each_get_all(["id"], |_| ());
    }
}
