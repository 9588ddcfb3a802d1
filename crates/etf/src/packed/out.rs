//! From the packed form to ETF and JSON, in one pass.

use super::stack::Stack;
use super::{
    DECIMAL, FALSE, Form, Head, KEY_OTHER, KEY2, KEY2_LAST, MAP0, NULL, STR0, TRUE, Term, UINT, damaged, head, keys, long_code, read, skip,
    text, uint,
};
use crate::error::{Error, ErrorKind};
use crate::term::{self, Int};
use crate::transcode::{EtfToJson, Transcoded, etf_key};
use crate::value::Encoding;
use crate::{DEPTH_MAX, json, number, walk, write};

/// What the parts of a packed value are written to, in their order.
trait Sink {
    /// A known key.
    fn key(&mut self, name: &'static [u8], atom: bool);
    /// Any other key: a packed value that begins at `at` of the whole.
    fn other_key(&mut self, key: &[u8], at: usize) -> Result<(), Error>;
    /// A scalar: all of `raw`.
    fn scalar(&mut self, raw: &[u8], at: usize) -> Result<(), Error>;
    fn open(&mut self, head: Head);
    fn close(&mut self, head: Head);
}

/// Shows a packed value to `sink` from its start to its end.
#[inline(always)]
fn run(bytes: &[u8], sink: &mut impl Sink) -> Result<(), Error> {
    // The document is a list of one element, without a head.
    let mut here = Head { form: Form::List, start: 0, end: bytes.len(), count: 1 };
    let mut left = 1;
    let mut open = Stack::new((here, 0));
    let mut inside = bytes;
    let mut at = 0;
    loop {
        if left == 0 {
            let Some((outer, outer_left)) = open.pop() else { return Ok(()) };
            if at != here.end {
                return Err(damaged(at, "a map or list is longer than what it holds"));
            }
            sink.close(here);
            (here, left) = (outer, outer_left);
            inside = bytes.get(..here.end).unwrap_or_default();
            continue;
        }
        left -= 1;
        if here.form != Form::List {
            at = key(inside, at, here.form == Form::AtomMap, sink)?;
        }
        let Some(end) = skip(inside, at) else { return Err(damaged(at, "no value begins here, or it is cut off")) };
        match head(inside, at) {
            None => {
                sink.scalar(inside.get(at..end).unwrap_or_default(), at)?;
                at = end;
            }
            Some(head) => {
                if open.len() >= DEPTH_MAX as usize && !head.is_empty_list() {
                    return Err(Error::new(at, ErrorKind::TooDeep { depth_max: DEPTH_MAX }));
                }
                sink.open(head);
                open.push((here, left));
                (here, left) = (head, head.count);
                inside = bytes.get(..head.end).unwrap_or_default();
                at = head.start;
            }
        }
    }
}

/// Shows the key at `at`; gives the place of its value.
#[inline(always)]
fn key(bytes: &[u8], at: usize, atoms: bool, sink: &mut impl Sink) -> Result<usize, Error> {
    let (code, end) = match *bytes.get(at..).unwrap_or_default() {
        [code @ 0..KEY2, ..] => (usize::from(code), at + 1),
        [high @ KEY2..=KEY2_LAST, low, ..] => (long_code(high, low), at + 2),
        [KEY_OTHER, ..] => {
            let end = skip(bytes, at + 1).ok_or_else(|| damaged(at, "no key begins here"))?;
            sink.other_key(bytes.get(at + 1..end).unwrap_or_default(), at + 1)?;
            return Ok(end);
        }
        _ => return Err(damaged(at, "no key begins here")),
    };
    let Some(name) = keys::KEYS.get(code) else { return Err(damaged(at, "no key has this number")) };
    sink.key(name.as_bytes(), atoms);
    Ok(end)
}

struct Etf<'o> {
    out: &'o mut Vec<u8>,
}

/// Appends the packed value `bytes` as ETF. What is not finished on an error is the caller's to remove.
pub(crate) fn to_etf(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    run(bytes, &mut Etf { out })
}

/// Appends a binary of at most 255 bytes.
#[inline(always)]
fn short_binary(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[term::BINARY, 0, 0, 0, text.len() as u8]);
    out.extend_from_slice(text);
}

impl Sink for Etf<'_> {
    #[inline(always)]
    fn key(&mut self, name: &'static [u8], atom: bool) {
        if atom {
            self.out.extend_from_slice(&[term::SMALL_ATOM, name.len() as u8]);
            self.out.extend_from_slice(name);
        } else {
            short_binary(name, self.out);
        }
    }

    fn other_key(&mut self, key: &[u8], at: usize) -> Result<(), Error> {
        match read(key, 0) {
            Some((Term::Open(_), _)) | None => Err(damaged(at, "no key begins here")),
            Some((term, _)) => term_to_etf(term, at, self.out),
        }
    }

    #[inline(always)]
    fn scalar(&mut self, raw: &[u8], at: usize) -> Result<(), Error> {
        match *raw {
            [NULL] => self.out.extend_from_slice(b"s\x03nil"),
            [FALSE] => self.out.extend_from_slice(b"s\x05false"),
            [TRUE] => self.out.extend_from_slice(b"s\x04true"),
            [value @ 0..STR0] => self.out.extend_from_slice(&[term::SMALL_INTEGER, value]),
            [STR0..MAP0, ref text @ ..] => short_binary(text, self.out),
            [0xba, a, b, c, d, e, f, g, h] => self.out.extend_from_slice(&[term::SMALL_BIG, 8, 0, a, b, c, d, e, f, g, h]),
            _ => return any_to_etf(raw, at, self.out),
        }
        Ok(())
    }

    #[inline(always)]
    fn open(&mut self, head: Head) {
        if head.is_empty_list() {
            return;
        }
        self.out.push(if head.form == Form::List { term::LIST } else { term::MAP });
        self.out.extend_from_slice(&(head.count as u32).to_be_bytes());
    }

    #[inline(always)]
    fn close(&mut self, head: Head) {
        if head.form == Form::List {
            self.out.push(term::NIL);
        }
    }
}

#[inline(never)]
fn any_to_etf(raw: &[u8], at: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let Some((term, _)) = read(raw, 0) else { return Err(damaged(at, "no value begins here, or it is cut off")) };
    term_to_etf(term, at, out)
}

fn term_to_etf(term: Term<'_>, at: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    match term {
        Term::Null => write::write_atom(b"nil", out),
        Term::Bool(true) => write::write_atom(b"true", out),
        Term::Bool(false) => write::write_atom(b"false", out),
        Term::Int(value) => number::write_etf(value, out),
        Term::Decimal(value) => short_binary(itoa::Buffer::new().format(value).as_bytes(), out),
        Term::Float(value) => write::write_float(value, out),
        Term::Text(text) => write::write_binary(text, out),
        Term::Word(text) => short_binary(text.as_bytes(), out),
        Term::Atom(name) if name.len() < 256 => write::write_atom(name, out),
        Term::Atom(_) => return Err(damaged(at, "an atom is longer than atoms are")),
        Term::Hash { animated, hash } => {
            out.extend_from_slice(&[term::BINARY, 0, 0, 0, if animated { 34 } else { 32 }]);
            text::write_hash(animated, hash, out);
        }
        Term::Time(time) => {
            let (text, length) = time.write();
            short_binary(text.get(..length).unwrap_or_default(), out);
        }
        Term::Raw(value) => match value.encoding() {
            Encoding::Etf if walk::check(value.raw(), 0, 0, DEPTH_MAX)? == value.raw().len() => out.extend_from_slice(value.raw()),
            Encoding::Json if is_number(value.raw()) => match json::is_integer(value.raw()) {
                true => number::write_etf_digits(value.raw(), out),
                false => write::write_float(json::float(value.raw()).ok_or_else(|| Error::new(at, ErrorKind::Float))?, out),
            },
            _ => return Err(damaged(at, "a term of another encoding makes no sense")),
        },
        Term::Open(_) => {}
    }
    Ok(())
}

/// Whether the bytes are one JSON number.
fn is_number(raw: &[u8]) -> bool {
    matches!(raw.first(), Some(b'-' | b'0'..=b'9')) && json::check(raw, 0, 0, 0) == Ok(raw.len())
}

struct Json<'o> {
    out: &'o mut Vec<u8>,
    done: Transcoded,
    /// Whether something stands before the next key or element inside the innermost bracket.
    follows: bool,
}

/// Appends the packed value `bytes` as JSON. What is not finished on an error is the caller's to remove.
pub(crate) fn to_json(bytes: &[u8], out: &mut Vec<u8>) -> Result<Transcoded, Error> {
    let mut sink = Json { out, done: Transcoded::default(), follows: false };
    run(bytes, &mut sink)?;
    Ok(sink.done)
}

impl Json<'_> {
    #[inline(always)]
    fn separate(&mut self) {
        if self.follows {
            self.out.push(b',');
        }
        self.follows = true;
    }
}

/// Appends decimal digits as a string.
#[inline]
fn quoted(digits: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(digits.as_bytes());
    out.push(b'"');
}

impl Sink for Json<'_> {
    #[inline(always)]
    fn key(&mut self, name: &'static [u8], _atom: bool) {
        // No known key holds what must be escaped.
        self.out.extend_from_slice(if self.follows { b",\"" } else { b"\"" });
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(b"\":");
        self.follows = false;
    }

    fn other_key(&mut self, key: &[u8], at: usize) -> Result<(), Error> {
        self.separate();
        self.done.replaced += u64::from(key_to_json(key, at, self.out)?);
        self.out.push(b':');
        self.follows = false;
        Ok(())
    }

    #[inline(always)]
    fn scalar(&mut self, raw: &[u8], at: usize) -> Result<(), Error> {
        self.separate();
        match *raw {
            [NULL] => self.out.extend_from_slice(b"null"),
            [FALSE] => self.out.extend_from_slice(b"false"),
            [TRUE] => self.out.extend_from_slice(b"true"),
            [value @ 0..10] => self.out.push(b'0' + value),
            [value @ 10..STR0] => self.out.extend_from_slice(&[b'0' + value / 10, b'0' + value % 10]),
            [STR0..MAP0, ref text @ ..] => self.done.replaced += u64::from(crate::text::encode_lossy(text, self.out)),
            // An integer of 8 bytes is beyond 2^53: an id's string. One of 7 bytes may be, and goes the long way.
            [0xba | 0xca, ref rest @ ..] if rest.len() == 8 => {
                let value = rest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                if value < 1 << 56 {
                    return any_to_json(raw, at, self.out, &mut self.done);
                }
                quoted(itoa::Buffer::new().format(value), self.out);
            }
            [tag @ 0xc3..0xca, ..] => {
                let value = uint(raw, 1, usize::from(tag - DECIMAL)).unwrap_or(0);
                quoted(itoa::Buffer::new().format(value), self.out);
            }
            [tag @ 0xb3..=0xb8, ..] => {
                let value = uint(raw, 1, usize::from(tag - UINT)).unwrap_or(0);
                self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
            }
            _ => return any_to_json(raw, at, self.out, &mut self.done),
        }
        Ok(())
    }

    #[inline(always)]
    fn open(&mut self, head: Head) {
        self.separate();
        self.out.push(if head.form == Form::List { b'[' } else { b'{' });
        self.follows = false;
    }

    #[inline(always)]
    fn close(&mut self, head: Head) {
        self.out.push(if head.form == Form::List { b']' } else { b'}' });
        self.follows = true;
    }
}

/// A key as a JSON string. Says whether its text had to be changed.
pub(crate) fn key_to_json(key: &[u8], at: usize, out: &mut Vec<u8>) -> Result<bool, Error> {
    match read(key, 0).map(|(term, _)| term) {
        Some(Term::Text(text) | Term::Atom(text)) => Ok(crate::text::encode_lossy(text, out)),
        Some(Term::Int(value)) => {
            quoted(itoa::Buffer::new().format(value), out);
            Ok(false)
        }
        Some(Term::Raw(value)) if value.encoding() == Encoding::Etf => {
            walk::check(value.raw(), 0, 0, DEPTH_MAX)?;
            etf_key(value.raw(), at, out)
        }
        Some(term @ (Term::Null | Term::Bool(_) | Term::Float(_))) => {
            out.push(b'"');
            term_to_json(term, at, out, &mut Transcoded::default())?;
            out.push(b'"');
            Ok(false)
        }
        Some(term @ (Term::Decimal(_) | Term::Word(_) | Term::Hash { .. } | Term::Time(_))) => {
            term_to_json(term, at, out, &mut Transcoded::default())?;
            Ok(false)
        }
        _ => Err(damaged(at, "no key begins here")),
    }
}

#[inline(never)]
fn any_to_json(raw: &[u8], at: usize, out: &mut Vec<u8>, done: &mut Transcoded) -> Result<(), Error> {
    let Some((term, _)) = read(raw, 0) else { return Err(damaged(at, "no value begins here, or it is cut off")) };
    term_to_json(term, at, out, done)
}

fn term_to_json(term: Term<'_>, at: usize, out: &mut Vec<u8>, done: &mut Transcoded) -> Result<(), Error> {
    match term {
        Term::Null => out.extend_from_slice(b"null"),
        Term::Bool(true) => out.extend_from_slice(b"true"),
        Term::Bool(false) => out.extend_from_slice(b"false"),
        Term::Int(value) => match i64::try_from(value) {
            Ok(value) => number::write_json(Int::Small(value), out),
            // Beyond 2^63: an id's string.
            Err(_) => quoted(itoa::Buffer::new().format(value), out),
        },
        Term::Decimal(value) => quoted(itoa::Buffer::new().format(value), out),
        Term::Float(value) => number::write_json_float(value, out),
        Term::Text(text) => done.replaced += u64::from(crate::text::encode_lossy(text, out)),
        Term::Word(text) => crate::text::encode(text, out),
        Term::Atom(b"null" | b"nil") => out.extend_from_slice(b"null"),
        Term::Atom(name @ (b"true" | b"false")) => out.extend_from_slice(name),
        Term::Atom(name) => done.replaced += u64::from(crate::text::encode_lossy(name, out)),
        Term::Hash { animated, hash } => {
            out.push(b'"');
            text::write_hash(animated, hash, out);
            out.push(b'"');
        }
        Term::Time(time) => {
            let (text, length) = time.write();
            out.push(b'"');
            out.extend_from_slice(text.get(..length).unwrap_or_default());
            out.push(b'"');
        }
        Term::Raw(value) => match value.encoding() {
            Encoding::Etf if walk::check(value.raw(), 0, 0, DEPTH_MAX)? == value.raw().len() => {
                done.replaced += EtfToJson::new(value.raw(), out).run()?.replaced;
            }
            Encoding::Json if is_number(value.raw()) => out.extend_from_slice(value.raw()),
            _ => return Err(damaged(at, "a term of another encoding makes no sense")),
        },
        Term::Open(_) => {}
    }
    Ok(())
}
