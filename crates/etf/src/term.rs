//! ETF term by term: how long one term's own bytes are, how many terms follow inside it, and what its scalars mean.
//!
//! Everything here looks at one term and never at the terms inside it; walking is `walk`'s business. Nothing trusts a length: each is
//! compared with the bytes that are there. Source of the layouts: Erlang's External Term Format documentation.

use crate::INTEGER_BYTES_MAX;
use crate::error::{Error, ErrorKind};
use std::borrow::Cow;

pub(crate) const COMPRESSED: u8 = 80;
pub(crate) const NEW_FLOAT: u8 = 70;
pub(crate) const BIT_BINARY: u8 = 77;
pub(crate) const NEW_PID: u8 = 88;
pub(crate) const NEW_PORT: u8 = 89;
pub(crate) const NEWER_REFERENCE: u8 = 90;
pub(crate) const SMALL_INTEGER: u8 = 97;
pub(crate) const INTEGER: u8 = 98;
pub(crate) const FLOAT: u8 = 99;
pub(crate) const ATOM: u8 = 100;
pub(crate) const REFERENCE: u8 = 101;
pub(crate) const PORT: u8 = 102;
pub(crate) const PID: u8 = 103;
pub(crate) const SMALL_TUPLE: u8 = 104;
pub(crate) const LARGE_TUPLE: u8 = 105;
pub(crate) const NIL: u8 = 106;
pub(crate) const STRING: u8 = 107;
pub(crate) const LIST: u8 = 108;
pub(crate) const BINARY: u8 = 109;
pub(crate) const SMALL_BIG: u8 = 110;
pub(crate) const LARGE_BIG: u8 = 111;
pub(crate) const NEW_FUN: u8 = 112;
pub(crate) const EXPORT: u8 = 113;
pub(crate) const NEW_REFERENCE: u8 = 114;
pub(crate) const SMALL_ATOM: u8 = 115;
pub(crate) const MAP: u8 = 116;
pub(crate) const FUN: u8 = 117;
pub(crate) const ATOM_UTF8: u8 = 118;
pub(crate) const SMALL_ATOM_UTF8: u8 = 119;
pub(crate) const V4_PORT: u8 = 120;
/// Tags of the distribution protocol: atom cache references (67, 68, 78, 82) and LOCAL_EXT (121).
const NODE_ONLY: [u8; 5] = [67, 68, 78, 82, 121];

/// Length of a FLOAT_EXT's text.
const FLOAT_TEXT: usize = 31;
/// Fixed part of a NEW_FUN_EXT: size, arity, 16 bytes of hash, index, number of free variables.
const NEW_FUN_FIXED: u32 = 29;

/// One term's head: where its own bytes end, and how many terms follow inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) end: usize,
    pub(crate) children: usize,
}

fn be16(bytes: &[u8], at: usize) -> Option<usize> {
    let b = bytes.get(at..)?.first_chunk::<2>()?;
    Some(usize::from(u16::from_be_bytes(*b)))
}

fn be32(bytes: &[u8], at: usize) -> Option<usize> {
    let b = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*b) as usize)
}

/// Reads the head of the term at `at`. `None`: something is wrong with it; [`explain`] says what.
#[inline(always)]
pub(crate) fn head(bytes: &[u8], at: usize) -> Option<Head> {
    let rest = bytes.get(at..)?;
    let scalar = |size: usize| -> Option<Head> { if size <= rest.len() { Some(Head { end: at + size, children: 0 }) } else { None } };
    let container = |size: usize, children: usize| -> Option<Head> {
        if children <= rest.len() - size { Some(Head { end: at + size, children }) } else { None }
    };
    match *rest {
        [ATOM | ATOM_UTF8, a, b, ..] => scalar(3 + usize::from(u16::from_be_bytes([a, b]))),
        [SMALL_ATOM | SMALL_ATOM_UTF8, n, ..] => scalar(2 + usize::from(n)),
        [SMALL_INTEGER, _, ..] => scalar(2),
        [INTEGER, ..] => scalar(5),
        [BINARY, a, b, c, d, ..] => scalar(5 + u32::from_be_bytes([a, b, c, d]) as usize),
        [SMALL_BIG, n, sign, ..] if sign <= 1 => scalar(3 + usize::from(n)),
        [NIL, ..] => scalar(1),
        [MAP, a, b, c, d, ..] => container(5, (u32::from_be_bytes([a, b, c, d]) as usize).checked_mul(2)?),
        [LIST, a, b, c, d, ..] => container(5, (u32::from_be_bytes([a, b, c, d]) as usize).checked_add(1)?),
        [NEW_FLOAT, a, b, ..] => {
            // All exponent bits set means infinity or NaN, which no Erlang term is.
            if a & 0x7f == 0x7f && b & 0xf0 == 0xf0 { None } else { scalar(9) }
        }
        _ => rare(bytes, at),
    }
}

/// The terms that Discord does not send, but a peer may.
#[cold]
#[inline(never)]
fn rare(bytes: &[u8], at: usize) -> Option<Head> {
    let scalar = |end: usize| -> Option<Head> { if end <= bytes.len() { Some(Head { end, children: 0 }) } else { None } };
    let container = |end: usize, children: usize| -> Option<Head> {
        if children <= bytes.len().checked_sub(end)? { Some(Head { end, children }) } else { None }
    };
    match *bytes.get(at)? {
        STRING => scalar(at + 3 + be16(bytes, at + 1)?),
        SMALL_TUPLE => container(at + 2, usize::from(*bytes.get(at + 1)?)),
        LARGE_TUPLE => container(at + 5, be32(bytes, at + 1)?),
        LARGE_BIG => {
            let n = be32(bytes, at + 1)?;
            let sign = *bytes.get(at + 5)?;
            if n > INTEGER_BYTES_MAX || sign > 1 { None } else { scalar(at + 6 + n) }
        }
        FLOAT => {
            float_text(bytes.get(at + 1..at + 1 + FLOAT_TEXT)?)?;
            scalar(at + 1 + FLOAT_TEXT)
        }
        BIT_BINARY => {
            let n = be32(bytes, at + 1)?;
            let bits = *bytes.get(at + 5)?;
            // An empty bit string has no last byte to count bits in.
            if bits > 8 || (bits == 0) != (n == 0) { None } else { scalar(at + 6 + n) }
        }
        PID => scalar(atom_end(bytes, at + 1)? + 9),
        NEW_PID => scalar(atom_end(bytes, at + 1)? + 12),
        PORT => scalar(atom_end(bytes, at + 1)? + 5),
        NEW_PORT => scalar(atom_end(bytes, at + 1)? + 8),
        V4_PORT => scalar(atom_end(bytes, at + 1)? + 12),
        REFERENCE => scalar(atom_end(bytes, at + 1)? + 5),
        NEW_REFERENCE => scalar(atom_end(bytes, at + 3)? + 1 + 4 * be16(bytes, at + 1)?),
        NEWER_REFERENCE => scalar(atom_end(bytes, at + 3)? + 4 + 4 * be16(bytes, at + 1)?),
        EXPORT => {
            let arity = atom_end(bytes, atom_end(bytes, at + 1)?)?;
            if *bytes.get(arity)? == SMALL_INTEGER { scalar(arity + 2) } else { None }
        }
        // Its size counts itself; what it holds is nobody's business outside of the node that made it.
        NEW_FUN => {
            let size = be32(bytes, at + 1)?;
            if size < NEW_FUN_FIXED as usize { None } else { scalar(at + 1 + size) }
        }
        // The form before Erlang 23: process id, module, index, hash, then the free variables, all of them terms.
        FUN => container(at + 5, be32(bytes, at + 1)?.checked_add(4)?),
        _ => None,
    }
}

/// Where the atom at `at` ends; `None` if there is no whole atom.
fn atom_end(bytes: &[u8], at: usize) -> Option<usize> {
    let end = match *bytes.get(at)? {
        ATOM | ATOM_UTF8 => at + 3 + be16(bytes, at + 1)?,
        SMALL_ATOM | SMALL_ATOM_UTF8 => at + 2 + usize::from(*bytes.get(at + 1)?),
        _ => return None,
    };
    if end <= bytes.len() { Some(end) } else { None }
}

/// Says what is wrong with the term at `at`, for which [`head`] had no answer.
#[cold]
#[inline(never)]
pub(crate) fn explain(bytes: &[u8], at: usize) -> Error {
    let left = bytes.len().saturating_sub(at);
    let Some(&tag) = bytes.get(at) else {
        return Error::new(at, ErrorKind::Short { what: "term", wants: 1, left: 0 });
    };
    if tag == COMPRESSED {
        return Error::new(at, ErrorKind::Compressed);
    }
    if NODE_ONLY.contains(&tag) {
        return Error::new(at, ErrorKind::NodeOnly { found: tag });
    }
    let Some((what, fixed)) = shape(tag) else {
        return Error::new(at, ErrorKind::Tag { found: tag });
    };
    let short = |offset: usize, wants: usize| {
        let left = bytes.len().saturating_sub(offset);
        Error::new(offset, ErrorKind::Short { what, wants: wants as u64, left })
    };
    if left < 1 + fixed {
        return short(at + 1, fixed);
    }
    let crowded = |offset: usize, terms: u64| {
        let left = bytes.len().saturating_sub(offset);
        Error::new(offset, ErrorKind::Crowded { what, terms, left })
    };
    let n8 = usize::from(bytes.get(at + 1).copied().unwrap_or(0));
    let n16 = be16(bytes, at + 1).unwrap_or(0);
    let n32 = be32(bytes, at + 1).unwrap_or(0);
    let fifth = bytes.get(at + 5).copied().unwrap_or(0);
    match tag {
        SMALL_ATOM | SMALL_ATOM_UTF8 => short(at + 2, n8),
        ATOM | ATOM_UTF8 | STRING => short(at + 3, n16),
        BINARY => short(at + 5, n32),
        SMALL_BIG => match bytes.get(at + 2) {
            Some(&found @ 2..) => Error::new(at + 2, ErrorKind::Sign { found }),
            _ => short(at + 3, n8),
        },
        LARGE_BIG if n32 > INTEGER_BYTES_MAX => Error::new(at + 1, ErrorKind::IntegerTooLong { found: n32 as u64 }),
        LARGE_BIG if fifth > 1 => Error::new(at + 5, ErrorKind::Sign { found: fifth }),
        BIT_BINARY if fifth > 8 || (fifth == 0) != (n32 == 0) => Error::new(at + 5, ErrorKind::Bits { found: fifth }),
        LARGE_BIG | BIT_BINARY => short(at + 6, n32),
        NEW_FLOAT | FLOAT => Error::new(at + 1, ErrorKind::Float),
        MAP => crowded(at + 5, 2 * n32 as u64),
        LIST => crowded(at + 5, n32 as u64 + 1),
        LARGE_TUPLE => crowded(at + 5, n32 as u64),
        FUN => crowded(at + 5, n32 as u64 + 4),
        SMALL_TUPLE => crowded(at + 2, n8 as u64),
        NEW_FUN if n32 < NEW_FUN_FIXED as usize => Error::new(at + 1, ErrorKind::FunSize { found: n32 as u32 }),
        NEW_FUN => short(at + 1, n32),
        _ => explain_named(bytes, at, tag, what, n16),
    }
}

/// Errors of the terms that hold a node's or a module's name.
fn explain_named(bytes: &[u8], at: usize, tag: u8, what: &'static str, n16: usize) -> Error {
    let mut next = if tag == NEW_REFERENCE || tag == NEWER_REFERENCE { at + 3 } else { at + 1 };
    for _ in 0..if tag == EXPORT { 2 } else { 1 } {
        match atom_end(bytes, next) {
            Some(end) => next = end,
            None => {
                return match bytes.get(next) {
                    None => Error::new(next, ErrorKind::Short { what, wants: 1, left: 0 }),
                    Some(&(ATOM | ATOM_UTF8 | SMALL_ATOM | SMALL_ATOM_UTF8)) => explain(bytes, next),
                    Some(&found) => Error::new(next, ErrorKind::NotAnAtom { found }),
                };
            }
        }
    }
    let wants = match tag {
        PID => 9,
        NEW_PID | V4_PORT => 12,
        NEW_PORT => 8,
        NEW_REFERENCE => 1 + 4 * n16,
        NEWER_REFERENCE => 4 + 4 * n16,
        EXPORT => 2,
        _ => 5,
    };
    let left = bytes.len().saturating_sub(next);
    match bytes.get(next) {
        Some(&found) if tag == EXPORT && found != SMALL_INTEGER => Error::new(next, ErrorKind::Tag { found }),
        _ => Error::new(next, ErrorKind::Short { what, wants: wants as u64, left }),
    }
}

/// A tag's name and how many bytes behind the tag always belong to it.
fn shape(tag: u8) -> Option<(&'static str, usize)> {
    Some(match tag {
        SMALL_ATOM | SMALL_ATOM_UTF8 => ("atom", 1),
        ATOM | ATOM_UTF8 => ("atom", 2),
        SMALL_INTEGER => ("integer", 1),
        INTEGER => ("integer", 4),
        SMALL_BIG => ("large integer", 2),
        LARGE_BIG => ("large integer", 5),
        NEW_FLOAT => ("float", 8),
        FLOAT => ("float", FLOAT_TEXT),
        BINARY => ("binary", 4),
        BIT_BINARY => ("bit string", 5),
        STRING => ("string", 2),
        LIST => ("list", 4),
        NIL => ("empty list", 0),
        SMALL_TUPLE => ("tuple", 1),
        LARGE_TUPLE => ("tuple", 4),
        MAP => ("map", 4),
        PID | NEW_PID => ("process id", 1),
        PORT | NEW_PORT | V4_PORT => ("port", 1),
        REFERENCE => ("reference", 1),
        NEW_REFERENCE | NEWER_REFERENCE => ("reference", 2),
        NEW_FUN | FUN => ("function", 4),
        EXPORT => ("exported function", 1),
        _ => return None,
    })
}

/// A tag's name for people; `"term"` for one that does not exist.
pub(crate) fn name(tag: u8) -> &'static str {
    shape(tag).map_or("term", |(name, _)| name)
}

/// The text of a FLOAT_EXT: C's `%.20e`, padded with zero bytes. `None` if it is no finite number.
pub(crate) fn float_text(text: &[u8]) -> Option<f64> {
    let end = text.iter().position(|&b| b == 0).unwrap_or(text.len());
    let (text, padding) = text.split_at_checked(end)?;
    let allowed = |b: &u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E' | b' ');
    if !text.iter().all(allowed) || !padding.iter().all(|&b| b == 0) {
        return None;
    }
    let number: f64 = std::str::from_utf8(text).ok()?.trim_ascii().parse().ok()?;
    number.is_finite().then_some(number)
}

/// Bytes of an atom or binary; `None` for any other term.
#[inline]
pub(crate) fn text(raw: &[u8]) -> Option<&[u8]> {
    match *raw {
        [SMALL_ATOM | SMALL_ATOM_UTF8, n, ref rest @ ..] => rest.get(..usize::from(n)),
        [BINARY, a, b, c, d, ref rest @ ..] => rest.get(..u32::from_be_bytes([a, b, c, d]) as usize),
        [ATOM | ATOM_UTF8, a, b, ref rest @ ..] => rest.get(..usize::from(u16::from_be_bytes([a, b]))),
        _ => None,
    }
}

/// Text of an atom or binary as UTF-8. The two old atom tags hold Latin-1, which is converted when it is not ASCII.
pub(crate) fn utf8(raw: &[u8]) -> Option<Cow<'_, str>> {
    let bytes = text(raw)?;
    if matches!(raw.first(), Some(&(ATOM | SMALL_ATOM))) && !bytes.is_ascii() {
        return Some(Cow::Owned(bytes.iter().map(|&b| char::from(b)).collect()));
    }
    std::str::from_utf8(bytes).ok().map(Cow::Borrowed)
}

/// What an atom means beyond its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Atom {
    Null,
    True,
    False,
}

/// `nil`, `null`, `true`, `false`; `None` for other atoms and for what is no atom.
pub(crate) fn atom(raw: &[u8]) -> Option<Atom> {
    if !matches!(raw.first(), Some(&(ATOM | SMALL_ATOM | ATOM_UTF8 | SMALL_ATOM_UTF8))) {
        return None;
    }
    match text(raw)? {
        b"nil" | b"null" => Some(Atom::Null),
        b"true" => Some(Atom::True),
        b"false" => Some(Atom::False),
        _ => None,
    }
}

/// An integer of any size: sign and magnitude in bytes, least significant first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Int<'a> {
    Small(i64),
    Big { negative: bool, magnitude: &'a [u8] },
}

impl Int<'_> {
    /// The value, if its magnitude fits 64 bits.
    pub(crate) fn to_i128(self) -> Option<i128> {
        match self {
            Int::Small(value) => Some(i128::from(value)),
            Int::Big { negative, magnitude } => {
                let used = magnitude.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
                if used > 8 {
                    return None;
                }
                let value = magnitude.get(..used)?.iter().rev().fold(0i128, |sum, &b| sum << 8 | i128::from(b));
                Some(if negative { -value } else { value })
            }
        }
    }
}

/// Reads an integer; `None` for any other term.
pub(crate) fn int(raw: &[u8]) -> Option<Int<'_>> {
    match *raw {
        [SMALL_INTEGER, n, ..] => Some(Int::Small(i64::from(n))),
        [INTEGER, a, b, c, d, ..] => Some(Int::Small(i64::from(i32::from_be_bytes([a, b, c, d])))),
        [SMALL_BIG, n, sign, ref rest @ ..] => Some(Int::Big { negative: sign != 0, magnitude: rest.get(..usize::from(n))? }),
        [LARGE_BIG, a, b, c, d, sign, ref rest @ ..] => {
            let n = u32::from_be_bytes([a, b, c, d]) as usize;
            if n > INTEGER_BYTES_MAX {
                return None;
            }
            Some(Int::Big { negative: sign != 0, magnitude: rest.get(..n)? })
        }
        _ => None,
    }
}

/// An integer from 0 to 2^64 - 1; `None` for any other term. By itself because ids are read all the time.
#[inline]
pub(crate) fn unsigned(raw: &[u8]) -> Option<u64> {
    match *raw {
        [SMALL_INTEGER, n, ..] => Some(u64::from(n)),
        [SMALL_BIG, 8, 0, a, b, c, d, e, f, g, h, ..] => Some(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
        [SMALL_BIG, 7, 0, a, b, c, d, e, f, g, ..] => Some(u64::from_le_bytes([a, b, c, d, e, f, g, 0])),
        [INTEGER, a, b, c, d, ..] => i32::from_be_bytes([a, b, c, d]).try_into().ok(),
        _ => int(raw)?.to_i128()?.try_into().ok(),
    }
}

/// Reads a float; `None` for any other term, and for NaN and infinities.
pub(crate) fn float(raw: &[u8]) -> Option<f64> {
    match *raw {
        [NEW_FLOAT, ref rest @ ..] => Some(f64::from_be_bytes(*rest.first_chunk()?)).filter(|f| f.is_finite()),
        [FLOAT, ref rest @ ..] => float_text(rest.get(..FLOAT_TEXT)?),
        _ => None,
    }
}
