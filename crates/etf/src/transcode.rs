//! From one encoding to the other in one pass over the bytes, without a tree and without recursion.
//!
//! What is kept and what the encodings cannot tell apart is said at the head of the crate. Terms that were checked by
//! [`Value::parse`] fail only if they have no JSON form; malformed bytes fail with an error. On failure the output is as it was before.

use crate::error::{Error, ErrorKind};
use crate::term::{self, Atom};
use crate::value::{Encoding, Value};
use crate::{DEPTH_MAX, json, number, packed, text, write};

/// What a transcoding had to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transcoded {
    /// Strings that were not UTF-8 and in which U+FFFD now stands for what could not be read. Only ever from ETF to JSON.
    pub replaced: u64,
}

/// Appends `value` to `out` in the encoding `to` (without ETF's version byte); in the same encoding as a plain copy.
///
/// To JSON, an ETF integer of 2^53 or more, or -2^53 or less, becomes a string: it is an id, and JSON readers that keep numbers as
/// doubles would round it. To ETF, keys and strings become binaries, and integers of any size stay integers.
///
/// The output is at most 6 times as long as the input (control characters in JSON), so the input's limit bounds it too.
///
/// # Errors
/// A term without JSON form, or a malformed one. `out` is then as it was.
pub fn transcode(value: Value<'_>, to: Encoding, out: &mut Vec<u8>) -> Result<Transcoded, Error> {
    let length = out.len();
    let result = match (value.encoding(), to) {
        (Encoding::Etf, Encoding::Json) => EtfToJson::new(value.raw(), out).run(),
        (Encoding::Json, Encoding::Etf) => json_to_etf(value.raw(), out).map(|()| Transcoded::default()),
        (Encoding::Etf, Encoding::Packed) => packed::from_etf(value.raw(), 0, out).map(|_| Transcoded::default()),
        (Encoding::Json, Encoding::Packed) => packed::from_json(value.raw(), out).map(|()| Transcoded::default()),
        (Encoding::Packed, Encoding::Etf) => packed::to_etf(value.raw(), out).map(|()| Transcoded::default()),
        (Encoding::Packed, Encoding::Json) => packed::to_json(value.raw(), out),
        _ => copy(value, out).map(|()| Transcoded::default()),
    };
    if result.is_err() {
        out.truncate(length);
    }
    result
}

fn copy(value: Value<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    if value.raw().is_empty() {
        return Err(Error::new(0, ErrorKind::Short { what: "term", wants: 1, left: 0 }));
    }
    if value.encoding() == Encoding::Packed && packed::skip(value.raw(), 0) != Some(value.raw().len()) {
        return Err(Error::new(0, ErrorKind::Packed { what: "a value is cut off, or bytes follow it" }));
    }
    out.extend_from_slice(value.raw());
    Ok(())
}

/// A map's key as ETF.
pub(crate) fn term_to_etf(key: Value<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    transcode(key, Encoding::Etf, out).map(drop)
}

/// A map's key as JSON, quotes included. Says whether its text had to be changed.
pub(crate) fn key_to_json(key: Value<'_>, out: &mut Vec<u8>) -> Result<bool, Error> {
    match key.encoding() {
        Encoding::Json if text::inside(key.raw()).is_some() => copy(key, out).map(|()| false),
        Encoding::Json => Err(Error::new(0, ErrorKind::Wanted { what: "'\"' at the start of a key", found: key.raw().first().copied() })),
        Encoding::Etf => etf_key(key.raw(), 0, out),
        Encoding::Packed => {
            let length = out.len();
            packed::key_to_json(key.raw(), 0, out).inspect_err(|_| out.truncate(length))
        }
    }
}

pub(crate) fn etf_key(raw: &[u8], at: usize, out: &mut Vec<u8>) -> Result<bool, Error> {
    if term::text(raw).is_some() {
        return Ok(etf_text(raw, out));
    }
    if let Some(int) = term::int(raw) {
        out.push(b'"');
        number::write_int(int, out);
        out.push(b'"');
        return Ok(false);
    }
    if let Some(float) = term::float(raw) {
        out.push(b'"');
        number::write_json_float(float, out);
        out.push(b'"');
        return Ok(false);
    }
    let what = match term::name(raw.first().copied().unwrap_or(0)) {
        "list" | "empty list" | "string" => "a list as a key",
        "tuple" => "a tuple as a key",
        "map" => "a map as a key",
        other => other,
    };
    Err(Error::new(at, ErrorKind::NoJsonForm { what }))
}

/// An atom's or binary's text as a JSON string. Says whether it had to be changed.
fn etf_text(raw: &[u8], out: &mut Vec<u8>) -> bool {
    match term::utf8(raw) {
        Some(text) => {
            text::encode(&text, out);
            false
        }
        None => text::encode_lossy(term::text(raw).unwrap_or_default(), out),
    }
}

/// A list, tuple or map that was begun.
struct Frame {
    /// Terms still to come; in a map two for each entry.
    left: usize,
    form: Form,
    /// Whether nothing was written into it yet.
    first: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Map,
    Tuple,
    /// The last of the terms that are left is the tail.
    List,
}

pub(crate) struct EtfToJson<'a, 'o> {
    bytes: &'a [u8],
    at: usize,
    open: Vec<Frame>,
    out: &'o mut Vec<u8>,
    done: Transcoded,
}

impl<'a, 'o> EtfToJson<'a, 'o> {
    pub(crate) fn new(bytes: &'a [u8], out: &'o mut Vec<u8>) -> Self {
        EtfToJson { bytes, at: 0, open: Vec::new(), out, done: Transcoded::default() }
    }

    pub(crate) fn run(mut self) -> Result<Transcoded, Error> {
        self.term()?;
        while let Some(frame) = self.open.last_mut() {
            if frame.left == 0 {
                self.out.push(if frame.form == Form::Map { b'}' } else { b']' });
                self.open.pop();
                continue;
            }
            if frame.form == Form::List && frame.left == 1 && self.tail()? {
                continue;
            }
            self.separate();
            if let Some(frame) = self.open.last_mut()
                && frame.form == Form::Map
            {
                frame.left -= 1;
                self.key()?;
            }
            if let Some(frame) = self.open.last_mut() {
                frame.left -= 1;
            }
            self.term()?;
        }
        Ok(self.done)
    }

    fn separate(&mut self) {
        if let Some(frame) = self.open.last_mut() {
            if !frame.first {
                self.out.push(b',');
            }
            frame.first = false;
        }
    }

    /// Takes the tail of a list whose elements are all written. `false`: the tail is an element.
    fn tail(&mut self) -> Result<bool, Error> {
        match self.bytes.get(self.at) {
            Some(&(term::NIL | term::LIST)) => {
                let head = self.head()?;
                self.at = head.end;
                if let Some(frame) = self.open.last_mut() {
                    frame.left = head.children;
                }
                Ok(true)
            }
            Some(&term::STRING) => {
                let (start, end) = (self.at + 3, self.head()?.end);
                for &byte in self.bytes.get(start..end).unwrap_or_default() {
                    self.separate();
                    self.out.extend_from_slice(itoa::Buffer::new().format(byte).as_bytes());
                }
                self.at = end;
                if let Some(frame) = self.open.last_mut() {
                    frame.left = 0;
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn head(&self) -> Result<term::Head, Error> {
        term::head(self.bytes, self.at).ok_or_else(|| term::explain(self.bytes, self.at))
    }

    fn key(&mut self) -> Result<(), Error> {
        let head = self.head()?;
        let raw = self.bytes.get(self.at..head.end).unwrap_or_default();
        self.done.replaced += u64::from(etf_key(raw, self.at, self.out)?);
        self.out.push(b':');
        self.at = head.end;
        Ok(())
    }

    fn open(&mut self, bracket: u8, left: usize, form: Form) -> Result<(), Error> {
        if self.open.len() >= DEPTH_MAX as usize {
            return Err(Error::new(self.at, ErrorKind::TooDeep { depth_max: DEPTH_MAX }));
        }
        self.out.push(bracket);
        self.open.push(Frame { left, form, first: true });
        Ok(())
    }

    /// Writes a scalar, or a container's opening bracket.
    fn term(&mut self) -> Result<(), Error> {
        let head = self.head()?;
        let raw = self.bytes.get(self.at..head.end).unwrap_or_default();
        let tag = raw.first().copied().unwrap_or(0);
        match tag {
            term::BINARY => self.done.replaced += u64::from(text::encode_lossy(term::text(raw).unwrap_or_default(), self.out)),
            term::SMALL_ATOM | term::SMALL_ATOM_UTF8 | term::ATOM | term::ATOM_UTF8 => match term::atom(raw) {
                Some(Atom::Null) => self.out.extend_from_slice(b"null"),
                Some(Atom::True) => self.out.extend_from_slice(b"true"),
                Some(Atom::False) => self.out.extend_from_slice(b"false"),
                None => self.done.replaced += u64::from(etf_text(raw, self.out)),
            },
            term::MAP => self.open(b'{', head.children, Form::Map)?,
            term::LIST => self.open(b'[', head.children, Form::List)?,
            term::SMALL_TUPLE | term::LARGE_TUPLE => self.open(b'[', head.children, Form::Tuple)?,
            term::NIL => self.out.extend_from_slice(b"[]"),
            // A list without elements whose tail is the string: `tail` writes it.
            term::STRING => {
                self.open(b'[', 1, Form::List)?;
                return Ok(());
            }
            _ => match (term::int(raw), term::float(raw)) {
                (Some(int), _) => number::write_json(int, self.out),
                (_, Some(float)) => number::write_json_float(float, self.out),
                _ => return Err(Error::new(self.at, ErrorKind::NoJsonForm { what: term::name(tag) })),
            },
        }
        self.at = head.end;
        Ok(())
    }
}

/// A list or map of which the head is written and the count not yet known.
struct Count {
    head: usize,
    count: u32,
    map: bool,
}

fn unexpected(bytes: &[u8], at: usize, what: &'static str) -> Error {
    Error::new(at, ErrorKind::Wanted { what, found: bytes.get(at).copied() })
}

fn json_to_etf(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut open: Vec<Count> = Vec::new();
    let mut at = 0;
    loop {
        // At a value.
        let mut complete = true;
        match bytes.get(at) {
            Some(&bracket @ (b'{' | b'[')) => {
                if open.len() >= DEPTH_MAX as usize {
                    return Err(Error::new(at, ErrorKind::TooDeep { depth_max: DEPTH_MAX }));
                }
                let map = bracket == b'{';
                open.push(Count { head: out.len(), count: 0, map });
                out.extend_from_slice(&[if map { term::MAP } else { term::LIST }, 0, 0, 0, 0]);
                at = json::skip_space(bytes, at + 1);
                complete = bytes.get(at) == Some(if map { &b'}' } else { &b']' });
                if !complete && map {
                    at = json_key(bytes, at, out)?;
                }
            }
            _ => at = json_scalar(bytes, at, out)?,
        }
        if !complete {
            continue;
        }
        // A value is complete, or an empty container is about to be closed.
        let mut empty = matches!(bytes.get(at), Some(b'}' | b']')) && open.last().is_some_and(|top| out.len() == top.head + 5);
        loop {
            let Some(top) = open.last_mut() else { return Ok(()) };
            if !empty {
                top.count += 1;
            }
            empty = false;
            at = json::skip_space(bytes, at);
            match (bytes.get(at), top.map) {
                (Some(b','), map) => {
                    at = json::skip_space(bytes, at + 1);
                    if map {
                        at = json_key(bytes, at, out)?;
                    }
                    break;
                }
                (Some(b'}'), true) => write::set_count(out, top.head, top.count),
                (Some(b']'), false) if top.count == 0 => {
                    out.truncate(top.head);
                    out.push(term::NIL);
                }
                (Some(b']'), false) => {
                    write::set_count(out, top.head, top.count);
                    out.push(term::NIL);
                }
                _ => return Err(unexpected(bytes, at, "',' or a closing bracket")),
            }
            open.pop();
            at += 1;
        }
    }
}

/// Writes a key; gives the place of its value.
fn json_key(bytes: &[u8], at: usize, out: &mut Vec<u8>) -> Result<usize, Error> {
    if bytes.get(at) != Some(&b'"') {
        return Err(unexpected(bytes, at, "'\"' at the start of a key"));
    }
    let end = json_scalar(bytes, at, out)?;
    let colon = json::skip_space(bytes, end);
    if bytes.get(colon) != Some(&b':') {
        return Err(unexpected(bytes, colon, "':' behind a key"));
    }
    Ok(json::skip_space(bytes, colon + 1))
}

/// Writes a scalar; gives the place behind it.
fn json_scalar(bytes: &[u8], at: usize, out: &mut Vec<u8>) -> Result<usize, Error> {
    let end = json::skip(bytes, at).ok_or_else(|| unexpected(bytes, at, "a value"))?;
    let raw = bytes.get(at..end).unwrap_or_default();
    match raw {
        b"null" => write::write_atom(b"nil", out),
        b"true" => write::write_atom(b"true", out),
        b"false" => write::write_atom(b"false", out),
        [b'"', ..] => {
            let inside = text::inside(raw).ok_or_else(|| unexpected(bytes, at, "a string"))?;
            let head = out.len();
            out.extend_from_slice(&[term::BINARY, 0, 0, 0, 0]);
            text::decode_to(inside, out).ok_or_else(|| unexpected(bytes, at, "a string with valid escapes"))?;
            let length = u32::try_from(out.len() - head - 5).map_err(|_| Error::new(at, ErrorKind::Uncountable))?;
            write::set_count(out, head, length);
        }
        // Scanning once more is cheap, and keeps what was never checked from being written as a number.
        _ if json::check(bytes, at, 0, 1)? != end => return Err(unexpected(bytes, at, "a number")),
        _ if json::is_integer(raw) => number::write_etf_digits(raw, out),
        _ => write::write_float(json::float(raw).ok_or_else(|| Error::new(at, ErrorKind::Float))?, out),
    }
    Ok(end)
}
