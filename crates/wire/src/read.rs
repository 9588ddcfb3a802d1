//! Scalars out of terms: one small function per kind of field.
//!
//! Discord is trusted to send valid documents, not to send the types it documents: whatever does not fit gives the
//! field's default. Nothing here panics, and nothing is copied but the text that ends up in a message.

use std::borrow::Cow;

use prost_types::Timestamp;
use trunkline_etf::{Encoding, Kind, Value};

use crate::time;

/// Calls `field` for every entry of a map whose key is text. Not a map: never calls it.
pub(crate) fn each<'a>(value: Value<'a>, mut field: impl FnMut(&[u8], Value<'a>)) {
    for (key, value) in value.entries() {
        if let Some(key) = key.as_bytes() {
            field(&key, value);
        }
    }
}

/// A snowflake or a permission set: an integer, or a decimal string. 0 when it is neither.
pub(crate) fn id(value: Value<'_>) -> u64 {
    value.as_id().unwrap_or(0)
}

/// A snowflake that may be null.
pub(crate) fn id_or_none(value: Value<'_>) -> Option<u64> {
    value.as_id()
}

/// Text; empty for null and for anything that is not text.
pub(crate) fn text(value: Value<'_>) -> String {
    text_or_none(value).unwrap_or_default()
}

/// Text that may be null. Protobuf's text is UTF-8: what is not becomes U+FFFD.
pub(crate) fn text_or_none(value: Value<'_>) -> Option<String> {
    // What is packed says by itself that it is text, but for atoms that mean something else.
    if value.encoding() == Encoding::Packed {
        match value.as_str() {
            Some(Cow::Owned(text)) => return Some(text),
            Some(Cow::Borrowed(text)) if !matches!(text, "nil" | "null" | "true" | "false") => return Some(text.to_owned()),
            _ => {}
        }
    }
    if value.kind() != Kind::Str {
        return None;
    }
    match value.as_str() {
        Some(text) => Some(text.into_owned()),
        None => value.as_bytes().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// Text of a scalar, whatever its type: the values of command options.
pub(crate) fn scalar_text(value: Value<'_>) -> String {
    match value.kind() {
        Kind::Str => text(value),
        Kind::Bool => value.as_bool().map(|flag| flag.to_string()).unwrap_or_default(),
        Kind::Int => match (value.as_i64(), value.as_u64()) {
            (Some(number), _) => number.to_string(),
            (None, Some(number)) => number.to_string(),
            (None, None) => String::new(),
        },
        Kind::Float => value.as_f64().map(|number| number.to_string()).unwrap_or_default(),
        Kind::Null | Kind::List | Kind::Map | Kind::Opaque => String::new(),
    }
}

/// A small number: 0 for null, for negative numbers and for other types; what is too large becomes the largest.
pub(crate) fn number(value: Value<'_>) -> u32 {
    number_or_none(value).unwrap_or(0)
}

/// A small number that may be null.
pub(crate) fn number_or_none(value: Value<'_>) -> Option<u32> {
    value.as_u64().map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

/// A large number: 0 when it is none.
pub(crate) fn large(value: Value<'_>) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// A flag: false for null and for other types.
pub(crate) fn flag(value: Value<'_>) -> bool {
    value.as_bool().unwrap_or(false)
}

/// A list of snowflakes; entries that are none are left out.
pub(crate) fn ids(value: Value<'_>) -> Vec<u64> {
    value.items().filter_map(Value::as_id).collect()
}

/// A list of texts; entries that are none are left out.
pub(crate) fn texts(value: Value<'_>) -> Vec<String> {
    value.items().filter_map(text_or_none).collect()
}

/// A list of objects, each read by `one`; entries that are no maps are left out.
pub(crate) fn list<'a, T>(value: Value<'a>, one: impl FnMut(Value<'a>) -> T) -> Vec<T> {
    value.items().filter(|item| item.kind() == Kind::Map).map(one).collect()
}

/// An object that may be null, read by `one`.
pub(crate) fn object<'a, T>(value: Value<'a>, one: impl FnOnce(Value<'a>) -> T) -> Option<T> {
    (value.kind() == Kind::Map).then(|| one(value))
}

/// An instant as ISO 8601 text.
pub(crate) fn time(value: Value<'_>) -> Option<Timestamp> {
    // Null is most frequent, and no text in any encoding is a time without being text.
    if value.is_null() {
        return None;
    }
    time::parse(&value.as_bytes()?)
}

/// An instant as unix seconds.
pub(crate) fn seconds(value: Value<'_>) -> Option<Timestamp> {
    let seconds = value.as_i64()?;
    (seconds.unsigned_abs() <= time::SECONDS_MAX).then_some(Timestamp { seconds, nanos: 0 })
}

/// An instant as unix milliseconds.
pub(crate) fn millis(value: Value<'_>) -> Option<Timestamp> {
    let millis = value.as_i64()?;
    let seconds = millis.div_euclid(1_000);
    let nanos = i32::try_from(millis.rem_euclid(1_000)).ok()? * 1_000_000;
    (seconds.unsigned_abs() <= time::SECONDS_MAX).then_some(Timestamp { seconds, nanos })
}
