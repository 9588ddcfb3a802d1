//! What holds for every term: reading gives back what was written, in both encodings, and JSON is accepted exactly where serde_json accepts it.
#![allow(clippy::unwrap_used)]

mod common;

use common::{ask, rewritten_etf, rewritten_json, show, torment};
use proptest::prelude::*;
use serde_json::Value as Json;
use trunkline_etf::{Encoding, Kind, Limits, Value, transcode};

/// A term as Erlang has it, with the choice of tag where there is one.
#[derive(Clone, Debug)]
enum Term {
    Atom(String, u8),
    Int(i128, u8),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Codes(Vec<u8>),
    List(Vec<Term>, Option<Box<Term>>),
    Tuple(Vec<Term>, bool),
    Map(Vec<(Term, Term)>),
}

fn sized(out: &mut Vec<u8>, tag: u8, len: usize) {
    out.push(tag);
    out.extend_from_slice(&(len as u32).to_be_bytes());
}

impl Term {
    /// Writes the term as a peer might, by a way of its own: nothing here uses the crate's writers.
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Term::Atom(name, tag @ (115 | 119)) => {
                out.extend_from_slice(&[*tag, name.len() as u8]);
                out.extend_from_slice(name.as_bytes());
            }
            Term::Atom(name, tag) => {
                out.extend_from_slice(&[*tag, 0, name.len() as u8]);
                out.extend_from_slice(name.as_bytes());
            }
            Term::Int(value, 97) if (0..256).contains(value) => out.extend_from_slice(&[97, *value as u8]),
            Term::Int(value, 97 | 98) if i32::try_from(*value).is_ok() => {
                out.push(98);
                out.extend_from_slice(&(*value as i32).to_be_bytes());
            }
            Term::Int(value, 111) => {
                sized(out, 111, 16);
                out.push(u8::from(*value < 0));
                out.extend_from_slice(&value.unsigned_abs().to_le_bytes());
            }
            Term::Int(value, _) => {
                out.extend_from_slice(&[110, 16, u8::from(*value < 0)]);
                out.extend_from_slice(&value.unsigned_abs().to_le_bytes());
            }
            Term::Float(value) => {
                out.push(70);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Term::Text(text) => {
                sized(out, 109, text.len());
                out.extend_from_slice(text.as_bytes());
            }
            Term::Bytes(bytes) => {
                sized(out, 109, bytes.len());
                out.extend_from_slice(bytes);
            }
            Term::Codes(codes) => {
                out.extend_from_slice(&[107, 0, codes.len() as u8]);
                out.extend_from_slice(codes);
            }
            Term::List(items, tail) => {
                sized(out, 108, items.len());
                items.iter().for_each(|item| item.write(out));
                match tail {
                    Some(tail) => tail.write(out),
                    None => out.push(106),
                }
            }
            Term::Tuple(items, small) => {
                if *small {
                    out.extend_from_slice(&[104, items.len() as u8]);
                } else {
                    sized(out, 105, items.len());
                }
                items.iter().for_each(|item| item.write(out));
            }
            Term::Map(entries) => {
                sized(out, 116, entries.len());
                for (key, value) in entries {
                    key.write(out);
                    value.write(out);
                }
            }
        }
    }

    /// The elements of a list as they are seen from outside: tails that are lists belong to the list.
    fn flat(&self) -> Vec<Term> {
        match self {
            Term::Codes(codes) => codes.iter().map(|&code| Term::Int(i128::from(code), 97)).collect(),
            Term::Tuple(items, _) => items.clone(),
            Term::List(items, tail) => {
                let mut flat = items.clone();
                match tail.as_deref() {
                    Some(list @ (Term::List(..) | Term::Codes(_))) => flat.extend(list.flat()),
                    Some(tail) => flat.push(tail.clone()),
                    None => {}
                }
                flat
            }
            _ => Vec::new(),
        }
    }

    /// What [`show`] must say.
    fn shown(&self) -> String {
        match self {
            Term::Atom(name, _) => match name.as_str() {
                "nil" | "null" => "null".to_owned(),
                "true" | "false" => name.clone(),
                _ => format!("{name:?}"),
            },
            Term::Int(value, _) => value.to_string(),
            Term::Float(value) => format!("{value:?}"),
            Term::Text(text) => format!("{text:?}"),
            Term::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => format!("{text:?}"),
                Err(_) => format!("<{}>", common::hex(bytes)),
            },
            Term::List(..) | Term::Tuple(..) | Term::Codes(_) => {
                format!("[{}]", self.flat().iter().map(Term::shown).collect::<Vec<_>>().join(", "))
            }
            Term::Map(entries) => {
                let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{}: {}", key.shown(), value.shown())).collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }

    /// What the term must be after it became JSON, by the rules at the head of the crate.
    fn json_shown(&self) -> String {
        match self {
            Term::Int(value, _) if value.unsigned_abs() >= 1 << 53 => format!("\"{value}\""),
            Term::Bytes(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
            Term::List(..) | Term::Tuple(..) | Term::Codes(_) => {
                format!("[{}]", self.flat().iter().map(Term::json_shown).collect::<Vec<_>>().join(", "))
            }
            Term::Map(entries) => {
                let key = |key: &Term| match key {
                    Term::Atom(name, _) => format!("{name:?}"),
                    Term::Int(value, _) => format!("\"{value}\""),
                    other => other.json_shown(),
                };
                let entries: Vec<String> = entries.iter().map(|(k, value)| format!("{}: {}", key(k), value.json_shown())).collect();
                format!("{{{}}}", entries.join(", "))
            }
            other => other.shown(),
        }
    }
}

fn any_atom() -> impl Strategy<Value = Term> {
    let name = prop_oneof!["nil|null|true|false", "[a-z_]{0,12}"];
    (name, prop::sample::select(vec![100u8, 115, 118, 119])).prop_map(|(name, tag)| Term::Atom(name, tag))
}

fn any_int() -> impl Strategy<Value = Term> {
    let value = prop_oneof![
        any::<u8>().prop_map(i128::from),
        any::<i32>().prop_map(i128::from),
        any::<i64>().prop_map(i128::from),
        any::<u64>().prop_map(i128::from),
        any::<i128>(),
        (0u32..127, -2i128..3).prop_map(|(bits, by)| (1i128 << bits) + by),
        (0u32..127, -2i128..3).prop_map(|(bits, by)| -(1i128 << bits) + by),
    ];
    (value, prop::sample::select(vec![97u8, 98, 110, 111])).prop_map(|(value, tag)| Term::Int(value, tag))
}

fn any_float() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |value| value.is_finite())
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_]{0,20}", "\\PC{0,12}", ".{0,12}", any::<Vec<char>>().prop_map(|c| c.into_iter().take(20).collect::<String>())]
}

fn any_term() -> impl Strategy<Value = Term> {
    let scalar = prop_oneof![
        any_atom(),
        any_int(),
        any_float().prop_map(Term::Float),
        any_text().prop_map(Term::Text),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(Term::Bytes),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(Term::Codes),
    ];
    let key = prop_oneof![any_atom(), any_text().prop_map(Term::Text), any_int()];
    scalar.prop_recursive(5, 60, 6, move |inner| {
        let items = prop::collection::vec(inner.clone(), 0..6);
        prop_oneof![
            (items.clone(), prop::option::weighted(0.2, inner.clone().prop_map(Box::new))).prop_map(|(i, tail)| Term::List(i, tail)),
            (items, any::<bool>()).prop_map(|(items, small)| Term::Tuple(items, small)),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(Term::Map),
        ]
    })
}

/// JSON values as serde_json builds them.
fn any_json() -> impl Strategy<Value = Json> {
    let scalar = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        (-1000i32..1000).prop_map(Json::from),
        any_float().prop_map(Json::from),
        any_text().prop_map(Json::from),
    ];
    scalar.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::vec((any_text(), inner), 0..6).prop_map(|entries| Json::Object(entries.into_iter().collect())),
        ]
    })
}

/// Our view as serde_json's tree.
fn tree(value: Value<'_>) -> Json {
    match value.kind() {
        Kind::Null => Json::Null,
        Kind::Bool => Json::from(value.as_bool().unwrap()),
        Kind::Int => match (value.as_u64(), value.as_i64()) {
            (Some(int), _) => Json::from(int),
            (_, Some(int)) => Json::from(int),
            _ => Json::from(value.as_f64().unwrap()),
        },
        Kind::Float => Json::from(value.as_f64().unwrap()),
        Kind::Str => Json::from(value.as_str().unwrap().into_owned()),
        Kind::List => value.items().map(tree).collect(),
        Kind::Map => Json::Object(value.entries().map(|(key, value)| (key.as_str().unwrap().into_owned(), tree(value))).collect()),
        Kind::Opaque => panic!("JSON has nothing opaque"),
    }
}

/// Equal but for the last digits of floats, which serde_json does not read exactly by default.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) if a.is_f64() || b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            a == b || (a - b).abs() <= (a.abs() + b.abs()) * 1e-15 || (a - b).abs() < 1e-300
        }
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b))),
        _ => a == b,
    }
}

/// Both must accept the text and agree on its meaning, or both refuse it.
fn agree(text: &[u8]) -> Result<(), TestCaseError> {
    let limits = Limits { depth_max: 127, ..Limits::GATEWAY };
    let ours = Value::parse(Encoding::Json, text, &limits);
    match (ours, serde_json::from_slice::<Json>(text)) {
        (Ok(ours), Ok(theirs)) => prop_assert!(same(&tree(ours), &theirs), "{:?}\n{:?}", tree(ours), theirs),
        (Err(_), Err(_)) => {}
        // Integers of hundreds of digits are numbers to us and out of range to serde_json.
        (Ok(ours), Err(error)) if error.to_string().starts_with("number out of range") => prop_assert!(ours.kind() != Kind::Null),
        (ours, theirs) => prop_assert!(false, "{:?}: ours {:?}, theirs {:?}", String::from_utf8_lossy(text), ours, theirs),
    }
    Ok(())
}

/// Places in a text and what to do there.
fn any_changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    let byte = prop_oneof![prop::sample::select(b"\"\\{}[]:,0123456789.-+eEtfnul \t\n\0\x1f\x7f\xff\xc3\xa9u".to_vec()), any::<u8>()];
    prop::collection::vec((any::<prop::sample::Index>(), 0..3u8, byte), 0..4)
}

fn change(mut text: Vec<u8>, changes: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
    for (place, what, byte) in changes {
        let at = place.index(text.len() + 1);
        match what {
            0 => text.insert(at, *byte),
            1 if at < text.len() => text[at] = *byte,
            _ if at < text.len() => drop(text.remove(at)),
            _ => {}
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn any_term_is_read_as_it_was_written_and_written_again_as_it_was_read(term in any_term()) {
        let mut document = vec![131];
        term.write(&mut document);
        let value = Value::parse(Encoding::Etf, &document, &Limits::GATEWAY).unwrap();
        prop_assert_eq!(value.raw(), &document[1..]);
        prop_assert_eq!(show(value), term.shown());
        let again = rewritten_etf(value);
        let value = Value::parse(Encoding::Etf, &again, &Limits::GATEWAY).unwrap();
        prop_assert_eq!(show(value), term.shown());
        // What our writer wrote is written the same way ever after.
        prop_assert_eq!(rewritten_etf(value), again);
    }

    #[test]
    fn any_term_goes_to_json_and_back_by_the_rules(term in any_term()) {
        let mut document = vec![131];
        term.write(&mut document);
        let value = Value::parse(Encoding::Etf, &document, &Limits::GATEWAY).unwrap();
        let mut text = Vec::new();
        transcode(value, Encoding::Json, &mut text).unwrap();
        serde_json::from_slice::<Json>(&text).unwrap();
        let json = Value::parse(Encoding::Json, &text, &Limits::GATEWAY).unwrap();
        prop_assert_eq!(show(json), term.json_shown());
        let mut back = vec![131];
        transcode(json, Encoding::Etf, &mut back).unwrap();
        prop_assert_eq!(show(Value::parse(Encoding::Etf, &back, &Limits::GATEWAY).unwrap()), term.json_shown());
        // From then on nothing changes any more.
        let mut text_again = Vec::new();
        transcode(Value::from_raw(Encoding::Etf, &back[1..]), Encoding::Json, &mut text_again).unwrap();
        prop_assert_eq!(text_again, text);
    }

    #[test]
    fn any_entry_is_found_by_its_key(keys in prop::collection::hash_set("[a-z_\"\\\\é]{0,8}", 0..12), other in "[a-z_]{0,8}") {
        let json: Json = Json::Object(keys.iter().enumerate().map(|(n, key)| (key.clone(), Json::from(n))).collect());
        let text = json.to_string();
        let mut etf = Vec::new();
        transcode(Value::from_raw(Encoding::Json, text.as_bytes()), Encoding::Etf, &mut etf).unwrap();
        for value in [Value::from_raw(Encoding::Json, text.as_bytes()), Value::from_raw(Encoding::Etf, &etf)] {
            for key in keys.iter().chain([&other]) {
                prop_assert_eq!(value.get(key).and_then(Value::as_u64), json.get(key).and_then(Json::as_u64));
                prop_assert_eq!(value.get_all([key, "!"])[0].map(Value::raw), value.get(key).map(Value::raw));
            }
            prop_assert_eq!(value.len(), keys.len());
        }
    }

    #[test]
    fn json_means_what_serde_json_says_it_means(json in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&json).unwrap() } else { json.to_string() };
        agree(text.as_bytes())?;
        let value = Value::parse(Encoding::Json, text.as_bytes(), &Limits::GATEWAY).unwrap();
        // Written again by our writer, it still means the same to serde_json.
        let again: Json = serde_json::from_slice(&rewritten_json(value)).unwrap();
        prop_assert!(same(&again, &tree(value)), "{}", text);
    }

    #[test]
    fn changed_json_is_accepted_exactly_where_serde_json_accepts_it(json in any_json(), changes in any_changes()) {
        let text = change(json.to_string().into_bytes(), &changes);
        agree(&text)?;
        torment(&text);
    }

    #[test]
    fn json_like_bytes_are_accepted_exactly_where_serde_json_accepts_them(text in "[\\[\\]{}\":,0-9.eE+tfn \\\\u\\-\\n]{0,12}") {
        agree(text.as_bytes())?;
    }

    #[test]
    fn changed_terms_never_panic(term in any_term(), changes in any_changes()) {
        let mut document = vec![131];
        term.write(&mut document);
        torment(&change(document, &changes));
    }

    #[test]
    fn arbitrary_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
        torment(&data);
        torment(&[&[131], &data[..]].concat());
        ask(Value::from_raw(Encoding::Etf, &data), 3);
    }
}
