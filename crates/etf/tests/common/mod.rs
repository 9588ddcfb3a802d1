//! What several tests share: showing a term, asking it every question, and hexadecimal.
#![allow(dead_code)]

use trunkline_etf::{Encoding, EtfWriter, Found, JsonWriter, Kind, Limits, Names, TermWrite, Value, transcode};

/// Bytes from hexadecimal digits; spaces are for the reader.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A term as people read it.
pub(crate) fn show(value: Value<'_>) -> String {
    match value.kind() {
        Kind::Null => "null".to_owned(),
        Kind::Bool => value.as_bool().unwrap().to_string(),
        Kind::Int => digits(value),
        Kind::Float => format!("{:?}", value.as_f64().unwrap()),
        Kind::Str => match value.as_str() {
            Some(text) => format!("{text:?}"),
            None => format!("<{}>", hex(&value.as_bytes().unwrap())),
        },
        Kind::List => format!("[{}]", value.items().map(show).collect::<Vec<_>>().join(", ")),
        Kind::Map => {
            let entries: Vec<String> = value.entries().map(|(key, value)| format!("{}: {}", show(key), show(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Kind::Opaque => "opaque".to_owned(),
    }
}

/// An integer's decimal digits, of any size.
pub(crate) fn digits(value: Value<'_>) -> String {
    if value.encoding() == Encoding::Json {
        return String::from_utf8(value.raw().to_vec()).unwrap();
    }
    let mut out = Vec::new();
    transcode(value, Encoding::Json, &mut out).unwrap();
    String::from_utf8(out).unwrap().trim_matches('"').to_owned()
}

/// Asks a term, and all terms inside down to `depth`, every question there is. Only a panic or a hang can make this fail.
pub(crate) fn ask(value: Value<'_>, depth: usize) -> usize {
    let mut asked = 1;
    let _ = (value.kind(), value.is_null(), value.as_bool(), value.as_u64(), value.as_i64(), value.as_f64(), value.as_id());
    let _ = (value.as_str(), value.as_bytes(), value.is_empty(), value.is_key("guild_id"), value.is_key("7"), value.is_key("é"));
    let _ = (value.len(), value.get("op"), value.get_all(["op", "d", "s", "t"]), format!("{value:?}"));
    if depth > 0 {
        for (key, value) in value.entries() {
            asked += ask(key, depth - 1) + ask(value, depth - 1);
        }
        for item in value.items() {
            asked += ask(item, depth - 1);
        }
    }
    asked
}

/// Names that documents of tests have as keys, by chance or on purpose.
pub(crate) static OUTER: Names<5> = Names::new(["op", "d", "s", "a", "x"]);
pub(crate) static INNER: Names<6> = Names::new(["id", "guild_id", "channel_id", "a", "user", "d"]);

/// Parsing that finds names must accept, refuse and find just what parsing first and looking afterwards does.
pub(crate) fn find(encoding: Encoding, data: &[u8]) {
    let limits = &Limits::GATEWAY;
    for within in 0..5 {
        let mut found = Found::new(encoding);
        let whole = Value::parse_finding(data, limits, &OUTER, within, &INNER, &mut found);
        assert_eq!(whole.map(Value::raw), Value::parse(encoding, data, limits).map(Value::raw), "all ways to parse must agree");
        let Ok(whole) = whole else { return };
        let raw = |value: Option<Value<'_>>| value.map(|value| value.raw().to_vec());
        let slowly = |map: Value<'_>, name: &str| raw(map.entries().find(|(key, _)| key.is_key(name)).map(|(_, value)| value));
        for (index, name) in ["op", "d", "s", "a", "x"].into_iter().enumerate() {
            let want = slowly(whole, name);
            assert_eq!((raw(found.outer(index)), raw(whole.get(name))), (want.clone(), want), "{name}");
        }
        let inner = found.outer(within).unwrap_or(Value::from_raw(encoding, &[]));
        for (index, name) in ["id", "guild_id", "channel_id", "a", "user", "d"].into_iter().enumerate() {
            let want = slowly(inner, name);
            assert_eq!((raw(found.inner(index)), raw(inner.get(name))), (want.clone(), want), "{within} {name}");
        }
    }
}

/// Everything that can be done with bytes of unknown origin.
pub(crate) fn torment(data: &[u8]) {
    for encoding in [Encoding::Etf, Encoding::Json] {
        let mut seen = 0;
        let whole = Value::parse(encoding, data, &Limits::GATEWAY);
        let visited = Value::parse_entries(encoding, data, &Limits::GATEWAY, |_, key, value| seen += key.raw().len() + value.raw().len());
        assert_eq!(whole.map(Value::raw), visited.map(Value::raw), "both ways to parse must agree");
        find(encoding, data);
        ask(Value::from_raw(encoding, data), 3);
        for to in [Encoding::Etf, Encoding::Json] {
            let mut out = b"kept".to_vec();
            if transcode(Value::from_raw(encoding, data), to, &mut out).is_err() {
                assert_eq!(out, b"kept", "a failed transcoding must leave the output alone");
            }
        }
        let Ok(value) = whole else { continue };
        ask(value, 4);
        let mut out = Vec::new();
        let other = if encoding == Encoding::Etf { Encoding::Json } else { Encoding::Etf };
        if transcode(value, other, &mut out).is_ok() {
            let document = if other == Encoding::Etf { [&[131], &out[..]].concat() } else { out };
            let limits = Limits { bytes_max: usize::MAX, ..Limits::GATEWAY };
            let again =
                Value::parse(other, &document, &limits).unwrap_or_else(|error| panic!("transcoded to what cannot be read: {error}"));
            ask(again, 4);
        } else {
            assert_eq!(encoding, Encoding::Etf, "checked JSON always has an ETF form");
        }
    }
    if let Ok(Some(plain)) = trunkline_etf::inflate(data, &Limits { inflated_bytes_max: 1 << 20, ..Limits::GATEWAY }) {
        let _ = Value::parse(Encoding::Etf, &plain, &Limits::GATEWAY);
    }
}

/// Writes a term again through the writer's single calls.
pub(crate) fn rewrite(value: Value<'_>, writer: &mut impl TermWrite) {
    match value.kind() {
        Kind::Null => writer.null(),
        Kind::Bool => writer.bool(value.as_bool().unwrap()),
        Kind::Int => match (value.as_i64(), value.as_u64()) {
            (Some(int), _) => writer.int(int),
            (_, Some(int)) => writer.uint(int),
            _ => writer.value(value).unwrap(),
        },
        Kind::Float => writer.float(value.as_f64().unwrap()),
        Kind::Str => match value.as_str() {
            Some(text) => writer.str(&text),
            None => writer.value(value).unwrap(),
        },
        Kind::List => {
            writer.begin_list(0);
            value.items().for_each(|item| rewrite(item, writer));
            writer.end_list();
        }
        Kind::Map => {
            writer.begin_map(0);
            for (key, value) in value.entries() {
                match key.as_str() {
                    Some(text) if key.kind() == Kind::Str => writer.key(&text),
                    _ => writer.key_from(key).unwrap(),
                }
                rewrite(value, writer);
            }
            writer.end_map();
        }
        Kind::Opaque => writer.value(value).unwrap(),
    }
}

pub(crate) fn rewritten_etf(value: Value<'_>) -> Vec<u8> {
    let mut writer = EtfWriter::new();
    rewrite(value, &mut writer);
    writer.into_vec()
}

pub(crate) fn rewritten_json(value: Value<'_>) -> Vec<u8> {
    let mut writer = JsonWriter::new();
    rewrite(value, &mut writer);
    writer.into_vec()
}
