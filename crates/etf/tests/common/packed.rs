//! What must hold of the packed form of anything; shared by the tests and the fuzz target.
#![allow(dead_code)]

use crate::common::{ask, show};
use trunkline_etf::packed::edit;
use trunkline_etf::{Encoding, Error, ErrorKind, Kind, Limits, PackedWriter, TermWrite, Value, transcode};

/// A value in another encoding.
pub(crate) fn to(value: Value<'_>, encoding: Encoding) -> Result<Vec<u8>, Error> {
    let mut out = b"kept".to_vec();
    match transcode(value, encoding, &mut out) {
        Ok(_) => Ok(out.split_off(4)),
        Err(error) => {
            assert_eq!(out, b"kept", "a failed transcoding must leave the output alone");
            Err(error)
        }
    }
}

/// Packs, and checks that what was packed is well formed.
pub(crate) fn pack(value: Value<'_>) -> Vec<u8> {
    let packed = to(value, Encoding::Packed).unwrap();
    let parsed = Value::parse(Encoding::Packed, &packed, &Limits { depth_max: 256, ..Limits::GATEWAY });
    assert_eq!(parsed.unwrap_or_else(|error| panic!("{error}")).raw(), packed);
    packed
}

pub(crate) fn pack_json(json: &str) -> Vec<u8> {
    pack(Value::from_raw(Encoding::Json, json.as_bytes()))
}

pub(crate) fn read(packed: &[u8]) -> Value<'_> {
    Value::from_raw(Encoding::Packed, packed)
}

pub(crate) fn json_of(packed: &[u8]) -> String {
    String::from_utf8(to(read(packed), Encoding::Json).unwrap()).unwrap()
}

/// Every question must have the same answer of a value and of its packed form, down to the last scalar.
pub(crate) fn same(value: Value<'_>, packed: Value<'_>) {
    assert_eq!(value.kind(), packed.kind());
    assert_eq!(value.is_null(), packed.is_null());
    assert_eq!(value.as_bool(), packed.as_bool());
    assert_eq!(value.as_u64(), packed.as_u64());
    assert_eq!(value.as_i64(), packed.as_i64());
    assert_eq!(value.as_id(), packed.as_id());
    let bits = |value: Value<'_>| value.as_f64().map(f64::to_bits);
    assert_eq!(bits(value), bits(packed), "{} {}", show(value), show(packed));
    if !matches!(value.kind(), Kind::Null | Kind::Bool) {
        assert_eq!(value.as_str(), packed.as_str());
        assert_eq!(value.as_bytes(), packed.as_bytes());
    }
    assert_eq!(value.len(), packed.len());
    assert_eq!(value.is_empty(), packed.is_empty());
    assert_eq!(value.entries().count(), packed.entries().count());
    for ((key, inner), (packed_key, packed_inner)) in value.entries().zip(packed.entries()) {
        if let Some(text) = key.as_str() {
            assert!(packed_key.is_key(&text), "{text}");
            assert_eq!(packed_key.as_str().as_deref(), Some(&*text));
            assert_eq!(show_found(value.get(&text)), show_found(packed.get(&text)));
            let keys = ["id", &text, "guild_id", "nothing"];
            assert_eq!(value.get_all(keys).map(show_found), packed.get_all(keys).map(show_found));
        } else {
            same(key, packed_key);
            if let Some(int) = key.as_i64() {
                assert_eq!(show_found(value.get(&int.to_string())), show_found(packed.get(&int.to_string())));
            }
        }
        assert_eq!(key.is_key("no such key"), packed_key.is_key("no such key"));
        same(inner, packed_inner);
    }
    assert_eq!(value.items().count(), packed.items().count());
    value.items().zip(packed.items()).for_each(|(item, packed)| same(item, packed));
    assert_eq!(show_found(value.get("no such key")), show_found(packed.get("no such key")));
}

pub(crate) fn show_found(value: Option<Value<'_>>) -> Option<String> {
    value.map(show)
}

/// All that holds of a JSON text and its packed form.
pub(crate) fn holds_for_json(text: &str) {
    let value = Value::parse(Encoding::Json, text.as_bytes(), &Limits::GATEWAY).unwrap();
    let packed = pack(value);
    same(value, read(&packed));
    // Compact text without needless escapes comes back byte for byte, and so does all text that came back once.
    let back = json_of(&packed);
    let again = Value::from_raw(Encoding::Json, back.as_bytes());
    same(value, again);
    assert_eq!(pack(again), packed);
    assert_eq!(to(read(&packed), Encoding::Etf), to(value, Encoding::Etf));
}

/// All that holds of an ETF term and its packed form.
pub(crate) fn holds_for_etf(raw: &[u8]) {
    let value = Value::from_raw(Encoding::Etf, raw);
    let packed = pack(value);
    same(value, read(&packed));
    // Errors say where they are, which is another place in each.
    assert_eq!(to(read(&packed), Encoding::Json).ok(), to(value, Encoding::Json).ok());
    let back = to(read(&packed), Encoding::Etf).unwrap();
    let again = Value::from_raw(Encoding::Etf, &back);
    same(value, again);
    assert_eq!(pack(again), packed);
}

/// Written again through a writer's single calls, a packed value is the same (keys of mixed kinds become one kind).
pub(crate) fn rewritten(value: Value<'_>) {
    let mut writer = PackedWriter::new();
    crate::common::rewrite(value, &mut writer);
    let whole = Value::parse(Encoding::Packed, writer.as_slice(), &Limits { depth_max: 256, ..Limits::GATEWAY }).unwrap();
    assert_eq!(show(whole), show(value));
}

/// Everything that can be done with packed bytes of unknown origin.
pub(crate) fn torment(bytes: &[u8]) {
    let value = read(bytes);
    ask(value, 3);
    let whole = Value::parse(Encoding::Packed, bytes, &Limits::GATEWAY);
    let mut seen = 0;
    let visited =
        Value::parse_entries(Encoding::Packed, bytes, &Limits::GATEWAY, |_, key, value| seen += key.raw().len() + value.raw().len());
    assert_eq!(whole.map(Value::raw), visited.map(Value::raw));
    let (etf, json) = (to(value, Encoding::Etf), to(value, Encoding::Json));
    for encoding in [Encoding::Etf, Encoding::Json] {
        let _ = (edit::merged(value, value, &["id"], &mut Vec::new()), edit::without_keys(value, &["id"], &mut Vec::new()));
        let mut writer = PackedWriter::new();
        writer.begin_map(0);
        let _ = writer.key_from(Value::from_raw(encoding, bytes)).and_then(|()| writer.value(value));
    }
    let _ = edit::with_filtered(value, "roles", |role| role.as_id().is_some(), &mut Vec::new());
    let _ = edit::filtered(value, |item| !item.is_null(), &mut Vec::new());
    let Ok(whole) = whole else { return };
    ask(whole, 4);
    // What was checked is whole: it becomes ETF, and JSON unless Erlang alone knows what it is; both are read.
    let etf = [&[131], &etf.unwrap()[..]].concat();
    let limits = Limits { depth_max: 256, bytes_max: usize::MAX, ..Limits::GATEWAY };
    Value::parse(Encoding::Etf, &etf, &limits).unwrap_or_else(|error| panic!("unpacked to what cannot be read: {error}"));
    match json {
        Ok(json) => {
            Value::parse(Encoding::Json, &json, &limits).unwrap_or_else(|error| panic!("unpacked to what cannot be read: {error}"));
        }
        Err(error) => assert!(matches!(error.kind, ErrorKind::NoJsonForm { .. }), "{error}"),
    }
}

/// What the fuzz target does with its bytes: they may be packed, or something to pack.
pub(crate) fn survive(data: &[u8]) {
    torment(data);
    if Value::parse(Encoding::Etf, data, &Limits::GATEWAY).is_ok() {
        holds_for_etf(&data[1..]);
    }
    if Value::parse(Encoding::Json, data, &Limits::GATEWAY).is_ok()
        && let Ok(text) = std::str::from_utf8(data)
    {
        holds_for_json(text);
    }
}
