//! What holds for every term: reading gives back what was written, in both encodings, and JSON is accepted exactly where serde_json accepts it.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/strategies.rs"]
mod strategies;

use common::{ask, rewritten_etf, rewritten_json, show, torment};
use proptest::prelude::*;
use serde_json::Value as Json;
use strategies::{any_json, any_term};
use trunkline_etf::{Encoding, Kind, Limits, Value, transcode};

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
