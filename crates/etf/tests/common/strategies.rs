//! Terms and JSON of every kind, for property tests.
#![allow(dead_code)]

use proptest::prelude::*;
use serde_json::Value as Json;

/// A term as Erlang has it, with the choice of tag where there is one.
#[derive(Clone, Debug)]
pub(crate) enum Term {
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
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
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
    pub(crate) fn shown(&self) -> String {
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
                Err(_) => format!("<{}>", crate::common::hex(bytes)),
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
    pub(crate) fn json_shown(&self) -> String {
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

pub(crate) fn any_atom() -> impl Strategy<Value = Term> {
    let name = prop_oneof!["nil|null|true|false", "[a-z_]{0,12}"];
    (name, prop::sample::select(vec![100u8, 115, 118, 119])).prop_map(|(name, tag)| Term::Atom(name, tag))
}

pub(crate) fn any_int() -> impl Strategy<Value = Term> {
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

pub(crate) fn any_float() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |value| value.is_finite())
}

pub(crate) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_]{0,20}", "\\PC{0,12}", ".{0,12}", any::<Vec<char>>().prop_map(|c| c.into_iter().take(20).collect::<String>())]
}

pub(crate) fn any_term() -> impl Strategy<Value = Term> {
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
pub(crate) fn any_json() -> impl Strategy<Value = Json> {
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
