//! Term by term: bytes in, what they mean or what is wrong with them out.
#![allow(clippy::unwrap_used)]

mod common;

use common::{bytes, show};
use trunkline_etf::{Encoding, EtfWriter, Found, Ids, JsonWriter, Kind, Limits, Names, TermWrite, Transcoded, Value, inflate, transcode};

fn shown(encoding: Encoding, document: &[u8]) -> String {
    match Value::parse(encoding, document, &Limits::GATEWAY) {
        Ok(value) => show(value),
        Err(error) => error.to_string(),
    }
}

/// ETF, version byte included.
#[track_caller]
fn check(hex: &str, want: &str) {
    assert_eq!(shown(Encoding::Etf, &bytes(hex)), want);
}

#[track_caller]
fn check_json(text: &str, want: &str) {
    assert_eq!(shown(Encoding::Json, text.as_bytes()), want);
}

/// ETF to JSON.
#[track_caller]
fn to_json(hex: &str, want: &str) {
    let document = bytes(hex);
    let mut out = Vec::new();
    let result = transcode(Value::parse(Encoding::Etf, &document, &Limits::GATEWAY).unwrap(), Encoding::Json, &mut out);
    let got = result.map_or_else(|error| error.to_string(), |_| String::from_utf8(out).unwrap());
    assert_eq!(got, want);
}

/// JSON to ETF, without version byte.
#[track_caller]
fn to_etf(text: &str, want: &str) {
    let mut out = Vec::new();
    transcode(Value::parse(Encoding::Json, text.as_bytes(), &Limits::GATEWAY).unwrap(), Encoding::Etf, &mut out).unwrap();
    assert_eq!(common::hex(&out), common::hex(&bytes(want)));
}

#[test]
fn every_scalar_that_etf_has_is_read() {
    check("83 61 ff", "255");
    check("83 62 ffffffff", "-1");
    check("83 62 7fffffff", "2147483647");
    check("83 6e 00 00", "0");
    check("83 6e 01 01 00", "0");
    check("83 6e 08 00 ffffffffffffffff", "18446744073709551615");
    check("83 6e 08 01 0000000000000080", "-9223372036854775808");
    check("83 6e 09 00 000000000000000001", "18446744073709551616");
    check("83 6e 0a 01 01000000000000000000", "-1");
    check("83 6f 00000009 01 000000000000000001", "-18446744073709551616");
    check("83 46 3ff8000000000000", "1.5");
    check("83 46 8000000000000000", "-0.0");
    check("83 63 312e3530303030303030303030303030303030303030652b30300000000000", "1.5");
    check("83 64 0003 6e696c", "null");
    check("83 73 03 6e696c", "null");
    check("83 76 0004 6e756c6c", "null");
    check("83 77 04 74727565", "true");
    check("83 73 05 66616c7365", "false");
    check("83 73 02 6f6b", r#""ok""#);
    check("83 73 00", r#""""#);
    check("83 73 01 e9", r#""é""#);
    check("83 64 0001 e9", r#""é""#);
    check("83 77 02 c3a9", r#""é""#);
    check("83 77 01 e9", "<e9>");
    check("83 6d 00000002 6869", r#""hi""#);
    check("83 6d 00000002 ff00", "<ff00>");
    check("83 6d 00000000", r#""""#);
}

#[test]
fn every_container_that_etf_has_is_read() {
    check("83 6a", "[]");
    check("83 6c 00000002 6101 6102 6a", "[1, 2]");
    check("83 6c 00000002 6101 6102 6103", "[1, 2, 3]");
    check("83 6c 00000001 6101 6c 00000001 6102 6a", "[1, 2]");
    check("83 6c 00000001 6101 6b 0002 0203", "[1, 2, 3]");
    check("83 6c 00000001 6101 68 02 6102 6103", "[1, [2, 3]]");
    check("83 6b 0003 000aff", "[0, 10, 255]");
    check("83 6b 0000", "[]");
    check("83 68 00", "[]");
    check("83 68 02 6101 6a", "[1, []]");
    check("83 69 00000001 6101", "[1]");
    check("83 74 00000000", "{}");
    check("83 74 00000002 7301 61 6101 6d00000001 62 7303 6e696c", r#"{"a": 1, "b": null}"#);
    check("83 74 00000001 6107 6108", "{7: 8}");
}

#[test]
fn what_only_means_something_between_erlang_nodes_is_walked_over() {
    let node = "64 0001 6e";
    for term in [
        format!("58 {node} 00000001 00000002 00000003"),
        format!("59 {node} 00000001 00000002"),
        format!("5a 0002 {node} 00000001 00000002 00000003"),
        format!("65 {node} 00000001 01"),
        format!("66 {node} 00000001 01"),
        format!("67 {node} 00000001 00000002 01"),
        format!("70 0000001d 01 {} 00000000 00000000", "00".repeat(16)),
        format!("71 {node} {node} 6102"),
        format!("72 0001 {node} 01 00000002"),
        format!("75 00000001 67 {node} 00000001 00000002 01 {node} 6101 6102 6a"),
        format!("78 {node} 0000000000000001 00000002"),
        "4d 00000001 03 a0".to_owned(),
    ] {
        check(&format!("83 {term}"), "opaque");
        check(&format!("83 68 02 {term} 6101"), "[opaque, 1]");
        let document = bytes(&format!("83 {term}"));
        for length in 1..document.len() {
            assert!(Value::parse(Encoding::Etf, &document[..length], &Limits::GATEWAY).is_err(), "{term} cut to {length}");
        }
        let value = Value::parse(Encoding::Etf, &document, &Limits::GATEWAY).unwrap();
        assert!(transcode(value, Encoding::Json, &mut Vec::new()).unwrap_err().to_string().ends_with("has no JSON form"));
    }
}

#[test]
fn an_error_says_at_which_byte_and_what_was_wanted() {
    check("", "error at byte 0: ETF begins with version byte 131, found nothing");
    check("82 61 01", "error at byte 0: ETF begins with version byte 131, found 130");
    check("83", "error at byte 1: term wants 1 byte, 0 left");
    check("83 6d 00000009 6869", "error at byte 6: binary wants 9 bytes, 2 left");
    check("83 6d 0000", "error at byte 2: binary wants 4 bytes, 2 left");
    check("83 73 03 6e69", "error at byte 3: atom wants 3 bytes, 2 left");
    check("83 64 0003 6e69", "error at byte 4: atom wants 3 bytes, 2 left");
    check("83 6b 0003 6e69", "error at byte 4: string wants 3 bytes, 2 left");
    check("83 62 0000", "error at byte 2: integer wants 4 bytes, 2 left");
    check("83 6e 08 02 0000000000000000", "error at byte 3: large integer wants sign 0 or 1, found 2");
    check("83 6e 08 00 00", "error at byte 4: large integer wants 8 bytes, 1 left");
    check("83 6f 7fffffff 00 00", "error at byte 2: integer of 2147483647 bytes or digits is longer than 1024 bytes");
    check("83 46 7ff0000000000000", "error at byte 2: float is not a finite number");
    check("83 46 fff8000000000001", "error at byte 2: float is not a finite number");
    check("83 63 6e616e 00000000 00000000 00000000 00000000 00000000 00000000 00000000", "error at byte 2: float is not a finite number");
    check("83 6c ffffffff 61", "error at byte 6: list wants 4294967296 more terms of at least 1 byte, 1 left");
    check("83 74 ffffffff 61", "error at byte 6: map wants 8589934590 more terms of at least 1 byte, 1 left");
    check("83 69 ffffffff 61", "error at byte 6: tuple wants 4294967295 more terms of at least 1 byte, 1 left");
    check("83 6d ffffffff 61", "error at byte 6: binary wants 4294967295 bytes, 1 left");
    check("83 74 00000001 6101", "error at byte 8: term wants 1 byte, 0 left");
    check("83 61 01 61", "error at byte 3: wants the end, 1 more bytes follow");
    check("83 00", "error at byte 1: wants a term, no term has tag 0");
    check("83 52 00", "error at byte 1: tag 82 is only for Erlang nodes among themselves; the peer must not send it");
    check("83 50 00000002 00", "error at byte 1: wants a plain term, found a compressed one (tag 80); inflate the whole document first");
    check("83 4d 00000001 09 ff", "error at byte 6: bit string wants 1 to 8 bits in its last byte, found 9");
    check("83 67 6101 0000", "error at byte 2: wants an atom, found tag 97");
    check("83 70 00000001 00", "error at byte 2: function claims to be 1 bytes long, its fixed part alone is longer");
}

#[test]
fn json_is_read_as_the_standard_says() {
    check_json(" { \"a\" : [ 1 , -2.5e3 , true , false , null ] } ", r#"{"a": [1, -2500.0, true, false, null]}"#);
    check_json(r#""\u00e9\ud83d\ude00\n\/""#, "\"é😀\\n/\"");
    check_json("18446744073709551616", "18446744073709551616");
    check_json("-0", "-0.0");
    check_json("", "error at byte 0: wants a value, found the end");
    check_json("[1,]", "error at byte 3: wants a value, found ']'");
    check_json("[1 2]", "error at byte 3: wants ',' or ']', found '2'");
    check_json("{\"a\":1,}", "error at byte 7: wants '\"' at the start of a key, found '}'");
    check_json("{\"a\" 1}", "error at byte 5: wants ':' behind a key, found '1'");
    check_json("[}", "error at byte 1: wants a value, found '}'");
    check_json("[1}", "error at byte 2: wants ',' or ']', found '}'");
    check_json("01", "error at byte 1: wants no digit behind a leading zero, found '1'");
    check_json("1.", "error at byte 2: wants a digit behind the point, found the end");
    check_json("1e", "error at byte 2: wants a digit in the exponent, found the end");
    check_json("1e999", "error at byte 0: float is not a finite number");
    check_json("nul", "error at byte 0: wants null, found 'n'");
    check_json("\"a\nb\"", "error at byte 2: control character 10 must be escaped in a string");
    check_json("\"abc", "error at byte 4: wants '\"' at the end of the string, found the end");
    check_json(r#""\x""#, "error at byte 2: wants one of \"\\/bfnrtu behind a backslash, found 'x'");
    check_json(r#""\u12g4""#, "error at byte 3: wants 4 hexadecimal digits, found '1'");
    check_json(r#""\ud800""#, "error at byte 1: half of a surrogate pair stands alone");
    check_json(r#""\udc00""#, "error at byte 1: half of a surrogate pair stands alone");
    check_json("1 2", "error at byte 2: wants the end, 1 more bytes follow");
    check_json("\u{feff}1", "error at byte 0: wants a value, found byte 239");
    assert_eq!(shown(Encoding::Json, b"\"ab\xffcd\""), "error at byte 3: string is not UTF-8");
    assert_eq!(shown(Encoding::Json, b"\"abcdefghij\xc3\""), "error at byte 11: string is not UTF-8");
}

#[test]
fn ids_survive_the_way_to_json_and_small_numbers_stay_numbers() {
    to_json("83 6e 07 00 ffffffffffff1f", "9007199254740991");
    to_json("83 6e 07 00 00000000000020", "\"9007199254740992\"");
    to_json("83 6e 07 01 ffffffffffff1f", "-9007199254740991");
    to_json("83 6e 07 01 00000000000020", "\"-9007199254740992\"");
    to_json("83 6e 08 00 ffffffffffffffff", "\"18446744073709551615\"");
    to_json("83 6e 09 00 000000000000000001", "\"18446744073709551616\"");
    to_json("83 61 07", "7");
    // Eight bytes that happen to look like text are still a number.
    to_json("83 6e 08 00 6162636465666768", "\"7523094288207667809\"");
}

#[test]
fn terms_of_etf_become_their_nearest_json() {
    to_json("83 74 00000003 7301 61 6101 6102 6a 6d00000001 62 46 3ff0000000000000", r#"{"a":1,"2":[],"b":1.0}"#);
    to_json("83 6c 00000001 6101 6c 00000001 6102 6b 0002 0304", "[1,2,3,4]");
    to_json("83 6b 0002 0304", "[3,4]");
    to_json("83 68 02 7303 6e696c 7303 666f6f", r#"[null,"foo"]"#);
    to_json("83 74 00000001 7303 6e696c 7304 74727565", r#"{"nil":true}"#);
    to_json("83 6d 00000004 0a221f5c", r#""\n\"\u001f\\""#);
    to_json("83 74 00000001 6a 6101", "error at byte 5: a list as a key has no JSON form");
    let document = bytes("83 68 02 6d 00000003 61ff62 6d 00000001 ff");
    let mut out = Vec::new();
    let done = transcode(Value::parse(Encoding::Etf, &document, &Limits::GATEWAY).unwrap(), Encoding::Json, &mut out).unwrap();
    assert_eq!((String::from_utf8(out).unwrap().as_str(), done), ("[\"a\u{fffd}b\",\"\u{fffd}\"]", Transcoded { replaced: 2 }));
}

#[test]
fn json_becomes_etf_that_discord_accepts() {
    to_etf("null", "73 03 6e696c");
    to_etf("[]", "6a");
    to_etf("{}", "74 00000000");
    to_etf("[ [ ] , { } ]", "6c 00000002 6a 74 00000000 6a");
    to_etf(r#"{ "a" : [ 1 , true ] }"#, "74 00000001 6d 00000001 61 6c 00000002 6101 7304 74727565 6a");
    to_etf(r#""\u0041\n""#, "6d 00000002 410a");
    to_etf("\"175928847299117063\"", "6d 00000012 313735393238383437323939313137303633");
    to_etf("175928847299117063", "6e 08 00 070002c15a067102");
    to_etf("-2147483648", "62 80000000");
    to_etf("-2147483649", "6e 04 01 01000080");
    to_etf("18446744073709551616", "6e 09 00 000000000000000001");
    to_etf("1.5", "46 3ff8000000000000");
    to_etf("1e2", "46 4059000000000000");
    to_etf("-0", "46 8000000000000000");
}

#[test]
fn questions_about_scalars_are_answered_in_both_encodings() {
    let etf = |hex: &str| bytes(hex);
    let id = etf("6e 08 00 070002c15a067102");
    let value = Value::from_raw(Encoding::Etf, &id);
    assert_eq!((value.as_id(), value.as_u64(), value.kind()), (Some(175928847299117063), Some(175928847299117063), Kind::Int));
    let id = etf("6d 00000012 313735393238383437323939313137303633");
    let value = Value::from_raw(Encoding::Etf, &id);
    assert_eq!((value.as_id(), value.as_u64()), (Some(175928847299117063), None));
    let json = |text: &'static str| Value::from_raw(Encoding::Json, text.as_bytes());
    assert_eq!(
        (json("\"175928847299117063\"").as_id(), json("175928847299117063").as_id()),
        (Some(175928847299117063), Some(175928847299117063))
    );
    assert_eq!(
        (json("\"12a\"").as_id(), json("\"\"").as_id(), json("-1").as_id(), json("18446744073709551616").as_id()),
        (None, None, None, None)
    );
    assert_eq!((json("-9223372036854775808").as_i64(), json("1.0").as_u64(), json("1").as_f64()), (Some(i64::MIN), None, Some(1.0)));
    assert_eq!((json("true").as_bool(), json("null").is_null(), json("\"null\"").is_null()), (Some(true), true, false));
    assert_eq!(json("\"a\\u0062\"").as_str().unwrap(), "ab");
    assert!(json("\"guild\\u005fid\"").is_key("guild_id"));
    assert!(!json("\"a\\\\\"").is_key("a\\\\"));
    assert!(json("\"a\\\\\"").is_key("a\\"));
    assert!(Value::from_raw(Encoding::Etf, &[97, 7]).is_key("7"));
    let old = etf("64 0001 e9");
    assert!(Value::from_raw(Encoding::Etf, &old).is_key("é"));
}

#[test]
fn a_map_is_searched_in_one_walk_and_the_first_of_equal_keys_counts() {
    for (encoding, raw) in [
        (Encoding::Json, br#"{"op":0,"x":{"op":9},"d":[1,2],"op":1}"#.to_vec()),
        (Encoding::Etf, bytes("74 00000004 7302 6f70 6100 7301 78 74 00000001 7302 6f70 6109 6d 00000001 64 6b 0002 0102 7302 6f70 6101")),
    ] {
        let value = Value::from_raw(encoding, &raw);
        assert_eq!(value.get("op").unwrap().as_u64(), Some(0));
        assert_eq!((value.len(), value.get("d").unwrap().len(), value.get("none").is_none(), value.is_empty()), (4, 2, true, false));
        let [d, none, op] = value.get_all(["d", "none", "op"]);
        assert_eq!((show(d.unwrap()), none.is_none(), show(op.unwrap())), ("[1, 2]".to_owned(), true, "0".to_owned()));
        let document = if encoding == Encoding::Etf { [&[131], &raw[..]].concat() } else { raw.clone() };
        let mut seen = Vec::new();
        let whole = Value::parse_entries(encoding, &document, &Limits::GATEWAY, |outer, key, value| {
            seen.push(format!("{}{}={}", outer.map_or(String::new(), show), show(key), show(value)));
        });
        assert_eq!(whole.unwrap().raw(), raw);
        assert_eq!(seen, ["\"op\"=0", "\"x\"\"op\"=9", "\"x\"={\"op\": 9}", "\"d\"=[1, 2]", "\"op\"=1"]);
    }
}

/// One map with this as its only key, in every way that a peer may write it; a value follows, and `room` more bytes.
fn keyed(name: &str, room: usize) -> Vec<(Encoding, Vec<u8>)> {
    let value = [&[109, 0, 0, 0, room as u8][..], &vec![b'v'; room]].concat();
    let len = name.len() as u8;
    let mut documents: Vec<_> = [&[100, 0, len][..], &[118, 0, len], &[115, len], &[119, len], &[109, 0, 0, 0, len]]
        .into_iter()
        .map(|head| (Encoding::Etf, [&[131, 116, 0, 0, 0, 1], head, name.as_bytes(), &value].concat()))
        .collect();
    documents.push((Encoding::Json, format!("{{\"{name}\":1}}").into_bytes()));
    documents.push((Encoding::Json, format!("{{\"\\u{:04x}{}\" : 1}}", u32::from(name.as_bytes()[0]), &name[1..]).into_bytes()));
    documents
}

#[test]
fn names_are_found_in_the_walk_that_checks_and_their_lookalikes_are_not() {
    static NAMES: Names<7> = Names::new(["s", "id", "user_id", "guild_id", "channel_id", "default_sort_or", "abcdefghijklmnop"]);
    let names = ["s", "id", "user_id", "guild_id", "channel_id", "default_sort_or", "abcdefghijklmnop"];
    for room in [0, 1, 5, 12, 40] {
        for (index, name) in names.into_iter().enumerate() {
            let lookalikes =
                [format!("{name}x"), format!("x{name}"), format!("{name}\u{7f}"), name.to_uppercase(), format!("{name}abcdefghijklmnop")];
            let others = lookalikes.iter().map(|key| (key.as_str(), None));
            for (key, want) in others.chain([(name, Some(index))]) {
                for (encoding, document) in keyed(key, room) {
                    let mut found: Found<'_, 7, 7> = Found::new(encoding);
                    let whole = Value::parse_finding(&document, &Limits::GATEWAY, &NAMES, 7, &NAMES, &mut found).unwrap();
                    let hit = (0..7).find(|name| found.outer(*name).is_some());
                    assert_eq!((hit, NAMES.find(whole.entries().next().unwrap().0)), (want, want), "{key} {document:?}");
                    assert_eq!(whole.get(name).is_some(), want.is_some(), "{key} {document:?}");
                }
            }
        }
    }
    // A zero byte behind a name is part of the key.
    let zero = [131, 116, 0, 0, 0, 1, 100, 0, 3, b'i', b'd', 0, 106, 106, 106, 106, 106, 106];
    assert!(Value::from_raw(Encoding::Etf, &zero[1..]).get("id").is_none());
}

#[test]
fn a_name_found_inside_is_of_the_first_entry_that_may_hold_it() {
    for document in [
        r#"{"op":1,"d":{"a":1,"id":2,"id":3},"d":{"guild_id":4}}"#,
        r#"{"d":7,"d":{"id":1}}"#,
        r#"{"d":[{"id":1}],"x":{"id":2}}"#,
        r#"{"x":{"d":{"id":1}},"d":{"d":{"id":2},"user":{"id":3}},"op":{}}"#,
        "{}",
        "[]",
        "7",
    ] {
        common::find(Encoding::Json, document.as_bytes());
        let mut etf = vec![131];
        transcode(Value::from_raw(Encoding::Json, document.as_bytes()), Encoding::Etf, &mut etf).unwrap();
        common::find(Encoding::Etf, &etf);
        let mut writer = EtfWriter::new().with_atom_keys();
        common::rewrite(Value::from_raw(Encoding::Json, document.as_bytes()), &mut writer);
        common::find(Encoding::Etf, writer.as_slice());
    }
}

fn write(writer: &mut impl TermWrite) {
    writer.begin_map(9);
    writer.key("id");
    writer.id(175928847299117063);
    writer.key("l");
    writer.begin_list(0);
    writer.int(-1);
    writer.uint(u64::MAX);
    writer.float(f64::NAN);
    writer.float(0.1);
    writer.begin_list(3);
    writer.end_list();
    writer.end_list();
    writer.key_from(Value::from_raw(Encoding::Etf, &[115, 1, b'k'])).unwrap();
    writer.value(Value::from_raw(Encoding::Json, b"[\"x\",1]")).unwrap();
    writer.key("bad");
    assert!(writer.value(Value::from_raw(Encoding::Json, b"")).is_err());
    writer.null();
    writer.key("y");
    writer.bool(true);
    writer.end_map();
}

#[test]
fn writers_patch_counts_and_survive_a_failed_value() {
    let mut json = JsonWriter::new();
    write(&mut json);
    let want = r#"{"id":"175928847299117063","l":[-1,18446744073709551615,null,0.1,[]],"k":["x",1],"bad":null,"y":true}"#;
    assert_eq!(std::str::from_utf8(json.as_slice()).unwrap(), want);
    let mut etf = EtfWriter::new();
    write(&mut etf);
    let want = r#"{"id": "175928847299117063", "l": [-1, 18446744073709551615, null, 0.1, []], "k": ["x", 1], "bad": null, "y": true}"#;
    check(&common::hex(etf.as_slice()), want);
    let mut discord = EtfWriter::new().with_atom_keys().with_ids(Ids::Integers);
    write(&mut discord);
    assert_eq!(common::hex(discord.as_slice())[..42], *"837400000005730269646e0800070002c15a067102");
}

#[test]
fn a_compressed_term_is_inflated_within_its_limit_and_checked_to_the_last_byte() {
    use std::io::Write;
    let pack = |claimed: usize, term: &[u8]| {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        zlib.write_all(term).unwrap();
        [&[131, 80], &(claimed as u32).to_be_bytes()[..], &zlib.finish().unwrap()].concat()
    };
    let term = [&[109][..], &100_000u32.to_be_bytes(), &[b'a'; 100_000]].concat();
    let packed = pack(term.len(), &term);
    let limits = Limits::GATEWAY;
    assert_eq!(inflate(&packed, &limits).unwrap().unwrap(), [&[131], &term[..]].concat());
    assert_eq!(inflate(b"\x83a\x01", &limits), Ok(None));
    assert_eq!(inflate(b"", &limits), Ok(None));
    let say = |bytes: &[u8], limits: &Limits| inflate(bytes, limits).unwrap_err().to_string();
    assert_eq!(say(&pack(term.len() - 1, &term), &limits), "error at byte 2: compressed term claims 100004 bytes, inflates to 100005");
    assert_eq!(say(&pack(term.len() + 1, &term), &limits), "error at byte 2: compressed term claims 100006 bytes, inflates to 100005");
    let tight = Limits { inflated_bytes_max: 100_005, ..limits };
    assert_eq!(say(&packed, &tight), "error at byte 2: 100006 bytes are more than the limit of 100005");
    assert_eq!(say(&pack(usize::MAX, &term), &limits), "error at byte 2: 4294967296 bytes are more than the limit of 67108864");
    assert_eq!(say(&[&packed[..], b"x"].concat(), &limits), format!("error at byte {}: wants the end, 1 more bytes follow", packed.len()));
    for length in 2..packed.len() {
        assert!(inflate(&packed[..length], &limits).is_err(), "cut to {length}");
    }
    let mut broken = packed.clone();
    *broken.last_mut().unwrap() ^= 1;
    assert!(say(&broken, &limits).ends_with("compressed term holds broken zlib data"));
}
