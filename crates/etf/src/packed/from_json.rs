//! From JSON to the packed form, in one pass.

use super::stack::Stack;
use super::{Form, RAW_JSON, put};
use crate::error::{Error, ErrorKind};
use crate::{DEPTH_MAX, json, number, text};

/// From here on JSON integers are kept as they were written: ETF's of this size become strings in JSON, those of JSON must not.
const EXACT_MAX: i128 = 1 << 53;

/// A map or list that was begun.
#[derive(Clone, Copy)]
struct Open {
    form: Form,
    count: usize,
    head: usize,
    reserved: u8,
}

fn unexpected(bytes: &[u8], at: usize, what: &'static str) -> Error {
    Error::new(at, ErrorKind::Wanted { what, found: bytes.get(at).copied() })
}

/// Appends the JSON value at the start of `bytes`. What is not finished on an error is the caller's to remove.
pub(crate) fn from_json(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut here = Open { form: Form::List, count: 1, head: 0, reserved: 0 };
    let mut open = Stack::new(here);
    // Where texts with escapes are decoded.
    let mut room = Vec::new();
    let mut at = 0;
    'value: loop {
        match bytes.get(at) {
            Some(&bracket @ (b'{' | b'[')) => {
                if open.len() >= DEPTH_MAX as usize {
                    return Err(Error::new(at, ErrorKind::TooDeep { depth_max: DEPTH_MAX }));
                }
                let (form, close) = if bracket == b'{' { (Form::Map, b'}') } else { (Form::List, b']') };
                let head = out.len();
                let reserved = put::begin(0, out);
                at = json::skip_space(bytes, at + 1);
                if bytes.get(at) == Some(&close) {
                    put::end(form, head, reserved, 0, out);
                    at += 1;
                } else {
                    open.push(here);
                    here = Open { form, count: 1, head, reserved };
                    if form == Form::Map {
                        at = key(bytes, at, &mut room, out)?;
                    }
                    continue 'value;
                }
            }
            _ => at = scalar(bytes, at, &mut room, out)?,
        }
        // Behind a value.
        loop {
            if open.len() == 0 {
                return Ok(());
            }
            at = json::skip_space(bytes, at);
            match (bytes.get(at), here.form) {
                (Some(b','), form) => {
                    here.count += 1;
                    at = json::skip_space(bytes, at + 1);
                    if form == Form::Map {
                        at = key(bytes, at, &mut room, out)?;
                    }
                    continue 'value;
                }
                (Some(b'}'), Form::Map) | (Some(b']'), Form::List) => {
                    put::end(here.form, here.head, here.reserved, here.count, out);
                    let Some(outer) = open.pop() else { return Ok(()) };
                    here = outer;
                    at += 1;
                }
                _ => return Err(unexpected(bytes, at, "',' or a closing bracket")),
            }
        }
    }
}

/// The text of the string at `at`, and the place behind it.
#[inline]
fn string<'a>(bytes: &'a [u8], at: usize, room: &'a mut Vec<u8>) -> Result<(&'a [u8], usize), Error> {
    if let Some(quote) = json::find_quote(bytes, at + 1)
        && bytes.get(quote) == Some(&b'"')
    {
        return Ok((bytes.get(at + 1..quote).unwrap_or_default(), quote + 1));
    }
    escaped(bytes, at, room)
}

/// [`string`] where something is escaped, or the end is missing.
#[inline(never)]
fn escaped<'a>(bytes: &'a [u8], at: usize, room: &'a mut Vec<u8>) -> Result<(&'a [u8], usize), Error> {
    let end = json::skip(bytes, at).ok_or_else(|| unexpected(bytes, at, "'\"' at the end of the string"))?;
    let inside = bytes.get(at..end).and_then(text::inside).ok_or_else(|| unexpected(bytes, at, "a string"))?;
    room.clear();
    text::decode_to(inside, room).ok_or_else(|| unexpected(bytes, at, "a string with valid escapes"))?;
    Ok((room, end))
}

/// Writes a key; gives the place of its value.
#[inline]
fn key(bytes: &[u8], at: usize, room: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<usize, Error> {
    if bytes.get(at) != Some(&b'"') {
        return Err(unexpected(bytes, at, "'\"' at the start of a key"));
    }
    let (name, end) = string(bytes, at, room)?;
    if !put::known_key(name, out) {
        put::other_key(out);
        put::plain(name, out);
    }
    let colon = json::skip_space(bytes, end);
    if bytes.get(colon) != Some(&b':') {
        return Err(unexpected(bytes, colon, "':' behind a key"));
    }
    Ok(json::skip_space(bytes, colon + 1))
}

/// Writes a scalar; gives the place behind it.
#[inline]
fn scalar(bytes: &[u8], at: usize, room: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<usize, Error> {
    if bytes.get(at) == Some(&b'"') {
        let (text, end) = string(bytes, at, room)?;
        put::string(text, out);
        return Ok(end);
    }
    if let Some((value, end)) = short_integer(bytes, at) {
        put::uint(value, out);
        return Ok(end);
    }
    let end = json::skip(bytes, at).ok_or_else(|| unexpected(bytes, at, "a value"))?;
    let raw = bytes.get(at..end).unwrap_or_default();
    match raw {
        b"null" => put::null(out),
        b"true" => put::bool(true, out),
        b"false" => put::bool(false, out),
        _ => number(bytes, at, end, out)?,
    }
    Ok(end)
}

/// An integer of at most 15 digits without a sign, and the place behind it: most numbers are.
#[inline]
fn short_integer(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let rest = bytes.get(at..)?;
    let mut value = 0;
    for (length, &byte) in rest.iter().take(16).enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + u64::from(byte - b'0'),
            b',' | b'}' | b']' if length == 1 || length > 0 && rest.first() != Some(&b'0') => return Some((value, at + length)),
            _ => return None,
        }
    }
    None
}

#[inline(never)]
fn number(bytes: &[u8], at: usize, end: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    // Scanning once more is cheap, and keeps what was never checked from being written as a number.
    if json::check(bytes, at, 0, 1)? != end {
        return Err(unexpected(bytes, at, "a number"));
    }
    let raw = bytes.get(at..end).unwrap_or_default();
    if json::is_integer(raw) {
        match number::parse_json(raw) {
            Some(value) if -EXACT_MAX < value && value < EXACT_MAX && put::int(value, out) => {}
            _ => put::raw(RAW_JSON, raw, out),
        }
        return Ok(());
    }
    let value = json::float(raw).ok_or_else(|| Error::new(at, ErrorKind::Float))?;
    let mut again = Vec::new();
    number::write_json_float(value, &mut again);
    if again == raw {
        put::float(value, out);
    } else {
        put::raw(RAW_JSON, raw, out);
    }
    Ok(())
}
