//! What [`Value`] answers for packed bytes.

use super::{ATOM, Form, NULL, RAW_ETF, RAW_JSON, STR0, Term, UINT, head, read, string, text, unwrap};
use crate::value::{Kind, Value};
use std::borrow::Cow;

/// The tag of an integer of eight bytes.
const SNOWFLAKE: u8 = UINT + 8;

/// The meaning of an atom that is no other value in the packed form: `null` is one to readers, and keys may be called `nil` or `true`.
fn atom_kind(name: &[u8]) -> Kind {
    match name {
        b"nil" | b"null" => Kind::Null,
        b"true" | b"false" => Kind::Bool,
        _ => Kind::Str,
    }
}

#[inline]
pub(crate) fn kind(raw: &[u8]) -> Kind {
    match head(raw, 0) {
        Some(head) if head.form == Form::List => Kind::List,
        Some(_) => Kind::Map,
        None => kind_of_other(raw),
    }
}

/// The kind of what is no map and no list.
fn kind_of_other(raw: &[u8]) -> Kind {
    match read(raw, 0) {
        Some((Term::Null, _)) => Kind::Null,
        Some((Term::Bool(_), _)) => Kind::Bool,
        Some((Term::Int(_), _)) => Kind::Int,
        Some((Term::Float(_), _)) => Kind::Float,
        Some((Term::Decimal(_) | Term::Text(_) | Term::Word(_) | Term::Hash { .. } | Term::Time(_), _)) => Kind::Str,
        Some((Term::Atom(name), _)) => atom_kind(name),
        Some((Term::Raw(value), _)) => value.kind(),
        Some((Term::Open(_), _)) | None => Kind::Opaque,
    }
}

#[inline]
pub(crate) fn is_null(raw: &[u8]) -> bool {
    match raw.first() {
        Some(&NULL) => true,
        Some(&(ATOM | RAW_ETF)) => kind(raw) == Kind::Null,
        _ => false,
    }
}

pub(crate) fn as_bool(raw: &[u8]) -> Option<bool> {
    match read(raw, 0)?.0 {
        Term::Bool(value) => Some(value),
        Term::Atom(b"true") => Some(true),
        Term::Atom(b"false") => Some(false),
        Term::Raw(value) => value.as_bool(),
        _ => None,
    }
}

/// An integer whose magnitude fits 64 bits.
#[inline]
pub(crate) fn integer(raw: &[u8]) -> Option<i128> {
    match read(raw, 0)?.0 {
        // One value more than an integer of 64 bits and a sign has.
        Term::Int(value) if value.unsigned_abs() <= u128::from(u64::MAX) => Some(value),
        Term::Raw(value) => value.as_u64().map(i128::from).or_else(|| value.as_i64().map(i128::from)),
        _ => None,
    }
}

pub(crate) fn as_f64(raw: &[u8]) -> Option<f64> {
    match read(raw, 0)?.0 {
        Term::Float(value) => Some(value),
        Term::Int(value) if value.unsigned_abs() <= u128::from(u64::MAX) => Some(value as f64),
        Term::Raw(value) => value.as_f64(),
        _ => None,
    }
}

/// The text of a string that is kept as something else than its bytes.
fn rendered(term: Term<'_>) -> Option<String> {
    let bytes = match term {
        Term::Decimal(value) => return Some(value.to_string()),
        Term::Hash { animated, hash } => {
            let mut bytes = Vec::with_capacity(34);
            text::write_hash(animated, hash, &mut bytes);
            bytes
        }
        Term::Time(time) => {
            let (room, length) = time.write();
            room.get(..length)?.to_vec()
        }
        _ => return None,
    };
    String::from_utf8(bytes).ok()
}

pub(crate) fn as_str(raw: &[u8]) -> Option<Cow<'_, str>> {
    match read(raw, 0)?.0 {
        Term::Text(text) | Term::Atom(text) => std::str::from_utf8(text).ok().map(Cow::Borrowed),
        Term::Word(word) => Some(Cow::Borrowed(word)),
        Term::Raw(value) => value.as_str(),
        term => rendered(term).map(Cow::Owned),
    }
}

pub(crate) fn as_bytes(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    match read(raw, 0)?.0 {
        Term::Text(text) | Term::Atom(text) => Some(Cow::Borrowed(text)),
        Term::Word(word) => Some(Cow::Borrowed(word.as_bytes())),
        Term::Raw(value) => value.as_bytes(),
        term => rendered(term).map(|text| Cow::Owned(text.into_bytes())),
    }
}

#[inline]
pub(crate) fn as_id(raw: &[u8]) -> Option<u64> {
    // Snowflakes take all eight bytes.
    if let [SNOWFLAKE, ref id @ ..] = *raw {
        return id.first_chunk().map(|id| u64::from_le_bytes(*id));
    }
    match read(raw, 0)?.0 {
        Term::Int(value) => u64::try_from(value).ok(),
        Term::Decimal(value) => Some(value),
        // One digit, or zeros in front.
        Term::Text(text) | Term::Atom(text) => crate::number::parse_decimal(text),
        Term::Raw(value) => value.as_id(),
        _ => None,
    }
}

/// Whether a key, given as a value of its own, is `wanted`.
#[inline]
pub(crate) fn is_key(raw: &[u8], wanted: &str) -> bool {
    match raw.first() {
        Some(&(STR0..=0x7f)) => raw.get(1..) == Some(wanted.as_bytes()),
        Some(&ATOM) => raw.get(1..).and_then(string) == Some(wanted.as_bytes()),
        Some(&(RAW_ETF | RAW_JSON)) => unwrap(raw).is_some_and(|value: Value<'_>| value.is_key(wanted)),
        _ => is_rare_key(raw, wanted),
    }
}

#[cold]
fn is_rare_key(raw: &[u8], wanted: &str) -> bool {
    match read(raw, 0) {
        Some((Term::Text(text), _)) => text == wanted.as_bytes(),
        Some((Term::Int(value), _)) => itoa::Buffer::new().format(value) == wanted,
        Some((Term::Word(word), _)) => word == wanted,
        Some((term, _)) => rendered(term).is_some_and(|text| text == wanted),
        None => false,
    }
}
