//! The packed form: what ETF or JSON said, in a third of the bytes, read in place.
//!
//! The cache keeps millions of objects, and the durable copy writes them; neither needs Discord's spelling of them, both need all that
//! was said. So an object is written once more in this form, which is lossless and describes itself: keys that nobody knew when this
//! was built are kept, and so is everything below them. [`Value`] reads it like the other two encodings; [`transcode`](crate::transcode())
//! writes it out as either, in one pass.
//!
//! The form never travels: Discord and workers never see it. It does lie in stores, so tags and the tables of names are append-only.
//!
//! # Format
//! A value begins with a tag byte. All numbers are little-endian.
//!
//! | tag | value |
//! |---|---|
//! | `00`..`3f` | the integer 0..63 |
//! | `40`..`7f` | a string of 0..63 bytes, which follow |
//! | `80`..`8f` | a map of 0..15 entries; its length in bytes (1 byte) and the entries follow |
//! | `90`..`9f` | the same, whose keys were atoms |
//! | `a0`..`af` | a list of 0..15 elements; its length in bytes (1 byte) and the elements follow |
//! | `b0`, `b1`, `b2` | null, false, true |
//! | `b3`..`ba` | an integer of 1..8 bytes |
//! | `bb`..`c2` | the integer -1 - n, n being 1..8 bytes |
//! | `c3`..`ca` | a string that is the number n in decimal digits, n being 1..8 bytes: an id as text, permissions |
//! | `cb`, `cc` | a float of 8 bytes; of 4 bytes where that is exact |
//! | `cd`, `ce`, `cf` | a string whose length takes 1, 2 or 4 bytes |
//! | `d0`, `d1` | a map: length in bytes and number of entries take 2 bytes each, 4 bytes each |
//! | `d2`, `d3` | the same, whose keys were atoms |
//! | `d4`, `d5` | a list, likewise |
//! | `d6` | an atom other than nil, true and false; its text follows as a string (`40`..`7f`, `cd`) |
//! | `d7`, `d8` | a string of 32 hexadecimal digits as 16 bytes; the same behind `a_` |
//! | `d9`..`e0` | a string that is a time: see `time` |
//! | `e1` | any other ETF term, as it was: its length (4 bytes) and its bytes follow |
//! | `e2` | any other JSON number, as it was, likewise |
//! | `e3` | a string from a table, whose place there follows (1 byte) |
//!
//! An entry of a map is a key and a value. A key is one byte `00`..`bf` or two bytes `c0`..`c7` and any, and that is a known key's place in
//! the table; or it is `f0` and any value.
//!
//! Lengths stand before the contents, so every value is skipped in one step, and a map or list knows its size.
//!
//! # What it cannot tell apart
//! From ETF: which of the four tags an atom had, and how many bytes an integer of at most 64 bits was spread over. All else comes back byte
//! for byte, lists of small integers as strings of bytes, tuples and improper lists included.
//!
//! From JSON: space between the parts, and which characters of a string were written as escapes. Numbers come back as they were written
//! (`2.50`, `1E3`).
//!
//! [`Value`] answers for a packed term as for the one that it was made from, with one exception: null, true and false have no text
//! (in JSON they have none, in ETF they are atoms and have).
//!
//! Packing and comparing remember which key followed which and what runs of fields said nothing, each thread by itself, in room of a fixed
//! size. What is remembered is a guess, compared with what is there: it changes how long something takes and nothing else.
//!
//! Invariants: reading never panics and never leaves the slice, whatever the bytes; nothing recurses (but [`update`], a few levels); only
//! [`Value::as_str`] of a string that is not kept as text allocates.

pub(crate) mod ask;
pub mod edit;
mod from_etf;
mod from_json;
mod keys;
mod out;
pub(crate) mod phrases;
mod put;
mod stack;
mod text;
pub mod update;
mod write;

pub use write::PackedWriter;

pub(crate) use from_etf::from_etf;
pub(crate) use from_json::from_json;
pub(crate) use out::{key_to_json, to_etf, to_json};

use crate::error::{Error, ErrorKind};
use crate::value::{Encoding, Value};
use crate::{DEPTH_MAX, json, walk};
use text::Time;

pub(crate) const STR0: u8 = 0x40;
const MAP0: u8 = 0x80;
const ATOM_MAP0: u8 = 0x90;
const LIST0: u8 = 0xa0;
pub(crate) const NULL: u8 = 0xb0;
const FALSE: u8 = 0xb1;
const TRUE: u8 = 0xb2;
/// Added to a number of bytes, 1 to 8, these are tags.
const UINT: u8 = 0xb2;
const NEGATIVE: u8 = 0xba;
const DECIMAL: u8 = 0xc2;
const FLOAT64: u8 = 0xcb;
const FLOAT32: u8 = 0xcc;
const STR8: u8 = 0xcd;
const STR16: u8 = 0xce;
const STR32: u8 = 0xcf;
const MAP16: u8 = 0xd0;
const MAP32: u8 = 0xd1;
const ATOM_MAP16: u8 = 0xd2;
const ATOM_MAP32: u8 = 0xd3;
const LIST16: u8 = 0xd4;
const LIST32: u8 = 0xd5;
pub(crate) const ATOM: u8 = 0xd6;
const HASH: u8 = 0xd7;
const ANIMATED_HASH: u8 = 0xd8;
/// First and last tag of times.
const TIME0: u8 = 0xd9;
const TIME_LAST: u8 = 0xe0;
const RAW_ETF: u8 = 0xe1;
const RAW_JSON: u8 = 0xe2;
const WORD: u8 = 0xe3;

/// First byte of a key that takes two.
const KEY2: u8 = 0xc0;
const KEY2_LAST: u8 = 0xc7;
/// Stands before a key that is no known one.
const KEY_OTHER: u8 = 0xf0;

/// Bytes in front of a container's contents in its shortest form.
const HEAD: usize = 2;
/// The same with lengths of two bytes, and of four.
const HEAD16: usize = 5;
const HEAD32: usize = 9;
/// Most entries or elements in the shortest form.
const COUNT_SHORT: usize = 15;

/// Whether these bytes are one packed value as far as its lengths say. What it holds is not looked at.
pub fn is_one(bytes: &[u8]) -> bool {
    skip(bytes, 0) == Some(bytes.len())
}

/// The number under which packed objects know a key; `None` for keys that they hold as text.
pub fn key_code(key: &str) -> Option<u16> {
    keys::key(key.as_bytes())
}

/// Bytes of a whole value by its tag; 0 where more than the tag decides.
static SIZES: [u8; 256] = {
    let mut sizes = [0; 256];
    let mut tag = 0;
    while tag < 256 {
        sizes[tag] = match tag as u8 {
            0..STR0 | NULL..=TRUE => 1,
            tag @ STR0..MAP0 => 1 + tag - STR0,
            tag @ 0xb3..=0xba => 1 + tag - UINT,
            tag @ 0xbb..=0xc2 => 1 + tag - NEGATIVE,
            tag @ 0xc3..=0xca => 1 + tag - DECIMAL,
            FLOAT64 => 9,
            FLOAT32 => 5,
            HASH | ANIMATED_HASH => 17,
            tag @ TIME0..=TIME_LAST => 1 + Time::bytes(tag - TIME0),
            WORD => 2,
            _ => 0,
        };
        tag += 1;
    }
    sizes
};

#[inline]
fn le16(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?)))
}

#[inline]
fn le32(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

/// Where the value at `at` ends; `None` if its bytes make no sense.
#[inline(always)]
pub(crate) fn skip(bytes: &[u8], at: usize) -> Option<usize> {
    let tag = *bytes.get(at)?;
    let size = SIZES[usize::from(tag)];
    let end = if size != 0 { at + usize::from(size) } else { skip_sized(bytes, at, tag)? };
    if end <= bytes.len() { Some(end) } else { None }
}

fn skip_sized(bytes: &[u8], at: usize, tag: u8) -> Option<usize> {
    let (head, size) = match tag {
        MAP0..NULL => (HEAD, usize::from(*bytes.get(at + 1)?)),
        STR8 => (2, usize::from(*bytes.get(at + 1)?)),
        STR16 => (3, le16(bytes, at + 1)?),
        STR32 | RAW_ETF | RAW_JSON => (5, le32(bytes, at + 1)?),
        MAP16 | ATOM_MAP16 | LIST16 => (HEAD16, le16(bytes, at + 1)?),
        MAP32 | ATOM_MAP32 | LIST32 => (HEAD32, le32(bytes, at + 1)?),
        ATOM => {
            string(bytes.get(at + 1..)?)?;
            return skip(bytes, at + 1);
        }
        _ => return None,
    };
    at.checked_add(head)?.checked_add(size)
}

/// What kind of container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A map whose known keys are text.
    Map,
    /// A map whose known keys are atoms.
    AtomMap,
    List,
}

/// A container's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) form: Form,
    /// Where its contents begin and end.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Entries or elements.
    pub(crate) count: usize,
}

impl Head {
    /// A list without elements is no level: in ETF, from which it may come, it is a scalar.
    #[inline]
    fn is_empty_list(self) -> bool {
        self.count == 0 && self.form == Form::List
    }
}

/// Reads the head of the map or list at `at`; `None` for other values.
#[inline]
pub(crate) fn head(bytes: &[u8], at: usize) -> Option<Head> {
    let tag = *bytes.get(at)?;
    let (form, start, size, count) = match tag {
        MAP0..NULL => {
            let form = if tag < ATOM_MAP0 {
                Form::Map
            } else if tag < LIST0 {
                Form::AtomMap
            } else {
                Form::List
            };
            (form, at + HEAD, usize::from(*bytes.get(at + 1)?), usize::from(tag & 0x0f))
        }
        MAP16 | ATOM_MAP16 | LIST16 => (form_of(tag), at + HEAD16, le16(bytes, at + 1)?, le16(bytes, at + 3)?),
        MAP32 | ATOM_MAP32 | LIST32 => (form_of(tag), at + HEAD32, le32(bytes, at + 1)?, le32(bytes, at + 5)?),
        _ => return None,
    };
    let end = start.checked_add(size)?;
    if end <= bytes.len() { Some(Head { form, start, end, count }) } else { None }
}

fn form_of(tag: u8) -> Form {
    match tag {
        MAP16 | MAP32 => Form::Map,
        ATOM_MAP16 | ATOM_MAP32 => Form::AtomMap,
        _ => Form::List,
    }
}

/// Where the key at `at` ends, and the key as a value of its own.
#[inline]
pub(crate) fn key(bytes: &[u8], at: usize, atoms: bool) -> Option<(&[u8], usize)> {
    match *bytes.get(at)? {
        code @ 0..KEY2 => Some((keys::term(usize::from(code), atoms)?, at + 1)),
        high @ KEY2..=KEY2_LAST => Some((keys::term(long_code(high, *bytes.get(at + 1)?), atoms)?, at + 2)),
        KEY_OTHER => {
            let end = skip(bytes, at + 1)?;
            Some((bytes.get(at + 1..end)?, end))
        }
        _ => None,
    }
}

/// The number of a key that takes two bytes.
#[inline]
fn long_code(high: u8, low: u8) -> usize {
    keys::SHORT + (usize::from(high - KEY2) << 8 | usize::from(low))
}

/// Looks for `key` in the map `bytes` and gives its value's bytes; the first entry counts.
pub(crate) fn get<'a>(bytes: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let head = head(bytes, 0)?;
    if head.form == Form::List {
        return None;
    }
    let code = keys::key(wanted.as_bytes()).map_or(usize::MAX, usize::from);
    let bytes = bytes.get(..head.end)?;
    let (mut at, mut left) = (head.start, head.count);
    while left > 0 {
        // Nearly all: a key of one byte, and a value whose tag says how long it is.
        let (hit, value, end) = match *bytes.get(at..)? {
            [key @ 0..KEY2, tag, ..] if SIZES[usize::from(tag)] != 0 => {
                (usize::from(key) == code, at + 1, at + 1 + usize::from(SIZES[usize::from(tag)]))
            }
            _ => {
                let (hit, value) = key_is(bytes, at, code, wanted)?;
                (hit, value, skip(bytes, value)?)
            }
        };
        if hit {
            return bytes.get(value..end);
        }
        (at, left) = (end, left - 1);
    }
    None
}

/// Whether the key at `at` is the one with this number or text, and where its value begins.
#[inline(always)]
fn key_is(bytes: &[u8], at: usize, code: usize, wanted: &str) -> Option<(bool, usize)> {
    match *bytes.get(at)? {
        short @ 0..KEY2 => Some((usize::from(short) == code, at + 1)),
        high @ KEY2..=KEY2_LAST => Some((long_code(high, *bytes.get(at + 1)?) == code, at + 2)),
        KEY_OTHER => {
            let end = skip(bytes, at + 1)?;
            let key = Value::inner(Encoding::Packed, bytes.get(at + 1..end)?);
            Some((key.is_key(wanted), end))
        }
        _ => None,
    }
}

/// [`Value::get_all`] for the map `bytes`.
pub(crate) fn get_all<'a, const N: usize>(bytes: &'a [u8], wanted: [&str; N]) -> [Option<&'a [u8]>; N] {
    let mut found = [None; N];
    // The values that were found count even if what lies behind them is damaged.
    let _ = find_all(bytes, wanted, &mut found);
    found
}

fn find_all<'a, const N: usize>(bytes: &'a [u8], wanted: [&str; N], found: &mut [Option<&'a [u8]>; N]) -> Option<()> {
    let head = head(bytes, 0)?;
    if head.form == Form::List {
        return None;
    }
    let codes = wanted.map(|key| keys::key(key.as_bytes()).map_or(usize::MAX, usize::from));
    let bytes = bytes.get(..head.end)?;
    let (mut at, mut missing) = (head.start, N);
    for _ in 0..head.count {
        if missing == 0 {
            break;
        }
        let (code, value) = match *bytes.get(at)? {
            short @ 0..KEY2 => (usize::from(short), at + 1),
            high @ KEY2..=KEY2_LAST => (long_code(high, *bytes.get(at + 1)?), at + 2),
            KEY_OTHER => {
                let end = skip(bytes, at + 1)?;
                let key = Value::inner(Encoding::Packed, bytes.get(at + 1..end)?);
                let place = wanted.iter().zip(found.iter()).position(|(wanted, found)| found.is_none() && key.is_key(wanted));
                (place.map_or(usize::MAX - 1, |place| usize::MAX - 2 - place), end)
            }
            _ => return None,
        };
        let end = skip(bytes, value)?;
        for (place, slot) in found.iter_mut().enumerate() {
            if slot.is_none() && (codes[place] == code || usize::MAX - 2 - place == code) {
                *slot = Some(bytes.get(value..end)?);
                missing -= 1;
                break;
            }
        }
        at = end;
    }
    Some(())
}

/// A value, read.
#[derive(Clone, Copy)]
pub(crate) enum Term<'a> {
    Null,
    Bool(bool),
    Int(i128),
    /// A string of decimal digits.
    Decimal(u64),
    Float(f64),
    /// A string that is kept as it was; need not be UTF-8.
    Text(&'a [u8]),
    Atom(&'a [u8]),
    Word(&'static str),
    Hash {
        animated: bool,
        hash: &'a [u8; 16],
    },
    Time(Time),
    /// A map or list.
    Open(Head),
    /// A term of another encoding.
    Raw(Value<'a>),
}

/// Up to eight bytes as a number.
#[inline(always)]
fn uint(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    if let Some(word) = bytes.get(at..)?.first_chunk::<8>() {
        return Some(u64::from_le_bytes(*word) & (u64::MAX >> (64 - 8 * len as u32)));
    }
    let bytes = bytes.get(at..at + len)?;
    Some(bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
}

/// The bytes of a string that is kept as text, at the start of `raw`.
#[inline]
pub(crate) fn string(raw: &[u8]) -> Option<&[u8]> {
    match *raw.first()? {
        tag @ STR0..MAP0 => raw.get(1..1 + usize::from(tag - STR0)),
        STR8 => raw.get(2..2 + usize::from(*raw.get(1)?)),
        STR16 => raw.get(3..3 + le16(raw, 1)?),
        STR32 => raw.get(5..5 + le32(raw, 1)?),
        _ => None,
    }
}

/// Reads the value at `at`; gives also the place behind it, for containers that behind all of it.
#[inline]
pub(crate) fn read(bytes: &[u8], at: usize) -> Option<(Term<'_>, usize)> {
    let end = skip(bytes, at)?;
    let tag = *bytes.get(at)?;
    let term = match tag {
        0..STR0 => Term::Int(i128::from(tag)),
        STR0..MAP0 | STR8 | STR16 | STR32 => Term::Text(string(bytes.get(at..end)?)?),
        NULL => Term::Null,
        FALSE => Term::Bool(false),
        TRUE => Term::Bool(true),
        0xb3..=0xba => Term::Int(i128::from(uint(bytes, at + 1, usize::from(tag - UINT))?)),
        0xbb..=0xc2 => Term::Int(-1 - i128::from(uint(bytes, at + 1, usize::from(tag - NEGATIVE))?)),
        0xc3..=0xca => Term::Decimal(uint(bytes, at + 1, usize::from(tag - DECIMAL))?),
        FLOAT64 => Term::Float(f64::from_le_bytes(*bytes.get(at + 1..)?.first_chunk()?)).finite()?,
        FLOAT32 => Term::Float(f64::from(f32::from_le_bytes(*bytes.get(at + 1..)?.first_chunk()?))).finite()?,
        ATOM => Term::Atom(string(bytes.get(at + 1..end)?).filter(|name| name.len() < 256)?),
        HASH | ANIMATED_HASH => Term::Hash { animated: tag == ANIMATED_HASH, hash: bytes.get(at + 1..)?.first_chunk()? },
        TIME0..=TIME_LAST => {
            let form = tag - TIME0;
            Term::Time(Time::new(form, uint(bytes, at + 1, usize::from(Time::bytes(form)))?)?)
        }
        RAW_ETF => Term::Raw(Value::inner(Encoding::Etf, bytes.get(at + 5..end)?)),
        RAW_JSON => Term::Raw(Value::inner(Encoding::Json, bytes.get(at + 5..end)?)),
        WORD => Term::Word(keys::WORDS.get(usize::from(*bytes.get(at + 1)?))?),
        _ => Term::Open(head(bytes, at)?),
    };
    Some((term, end))
}

impl Term<'_> {
    fn finite(self) -> Option<Self> {
        match self {
            Term::Float(float) if !float.is_finite() => None,
            term => Some(term),
        }
    }
}

/// The term of another encoding that a packed value holds as it was.
#[inline]
pub(crate) fn unwrap(raw: &[u8]) -> Option<Value<'_>> {
    if !matches!(raw.first(), Some(&(RAW_ETF | RAW_JSON))) {
        return None;
    }
    match read(raw, 0)?.0 {
        Term::Raw(value) => Some(value),
        _ => None,
    }
}

fn damaged(at: usize, what: &'static str) -> Error {
    Error::new(at, ErrorKind::Packed { what })
}

/// Checks a whole packed value and all that is inside; gives the place behind it. `depth_max` as in [`Limits`](crate::Limits).
pub(crate) fn check(bytes: &[u8], at: usize, depth_max: u32) -> Result<usize, Error> {
    let levels = depth_max.min(DEPTH_MAX) as usize;
    let mut open: Vec<Head> = Vec::new();
    let mut at = at;
    loop {
        at = match open.last_mut() {
            Some(top) if top.count == 0 => {
                if at != top.end {
                    return Err(damaged(at, "a map or list is longer than what it holds"));
                }
                open.pop();
                if open.is_empty() {
                    return Ok(at);
                }
                continue;
            }
            Some(top) => {
                top.count -= 1;
                let (form, end, depth) = (top.form, top.end, open.len());
                let inside = bytes.get(..end).unwrap_or_default();
                let mut place = at;
                if form != Form::List {
                    let Some((key, behind)) = key(inside, at, form == Form::AtomMap) else {
                        return Err(damaged(at, "no key begins here"));
                    };
                    if bytes.get(at) == Some(&KEY_OTHER) {
                        check_key(key, at + 1, levels - depth)?;
                    }
                    place = behind;
                }
                check_one(inside, place, depth, levels, depth_max, &mut open)?
            }
            None => {
                let next = check_one(bytes, at, 0, levels, depth_max, &mut open)?;
                if open.is_empty() {
                    return Ok(next);
                }
                next
            }
        };
    }
}

/// Keys are scalars, or terms of another encoding.
fn check_key(key: &[u8], at: usize, levels: usize) -> Result<(), Error> {
    match read(key, 0) {
        None | Some((Term::Open(_), _)) => Err(damaged(at, "no key begins here")),
        Some((Term::Raw(value), _)) => check_raw(value, at, levels as u32),
        Some(_) => Ok(()),
    }
}

/// Checks a scalar and gives the place behind it, or opens a container and gives the place of its contents.
fn check_one(bytes: &[u8], at: usize, depth: usize, levels: usize, depth_max: u32, open: &mut Vec<Head>) -> Result<usize, Error> {
    let Some((term, end)) = read(bytes, at) else {
        return Err(damaged(at, "no value begins here, or it is cut off"));
    };
    match term {
        Term::Open(head) => {
            if depth >= levels && !head.is_empty_list() {
                return Err(Error::new(at, ErrorKind::TooDeep { depth_max }));
            }
            if head.count > head.end - head.start {
                return Err(damaged(at, "a map or list claims more than its bytes can hold"));
            }
            open.push(head);
            Ok(head.start)
        }
        Term::Raw(value) => {
            check_raw(value, at, (levels - depth) as u32)?;
            Ok(end)
        }
        _ => Ok(end),
    }
}

/// Checks a term of another encoding; `levels` is how deep it may be.
fn check_raw(value: Value<'_>, at: usize, levels: u32) -> Result<(), Error> {
    let raw = value.raw();
    let end = match value.encoding() {
        Encoding::Etf => walk::check(raw, 0, 0, levels),
        _ if matches!(raw.first(), Some(b'-' | b'0'..=b'9')) => json::check(raw, 0, 0, 0),
        _ => return Err(damaged(at, "a number that is none")),
    };
    match end {
        Ok(end) if end == raw.len() => Ok(()),
        Ok(_) => Err(damaged(at, "a term of another encoding is longer than it should be")),
        Err(error) => Err(Error::new(at + 5 + error.offset, error.kind)),
    }
}
