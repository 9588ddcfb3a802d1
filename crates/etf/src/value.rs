//! The view over a term: a slice of received bytes and the name of its encoding.
//!
//! A [`Value`] owns nothing and is two words and a byte; copying it is free. It never becomes a tree: each question walks the bytes
//! again, so ask a map once for several keys ([`Value::get_all`]) or walk it ([`Value::entries`]) rather than asking ten times.

use crate::error::{Error, ErrorKind, Limits};
use crate::iterate::{Entries, Items};
use crate::names::Word;
use crate::term::{self, Atom};
use crate::{ETF_VERSION, json, number, packed, text, walk};
use std::borrow::Cow;

/// How a payload is written down.
// As large as a word, because it lies beside words in every `Value`: were it a byte, values would be copied in pieces that are not those in which
// they were written, and the processor waits for each such copy until all that was written before has reached its cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Encoding {
    /// Erlang's external term format.
    Etf,
    /// JSON text (RFC 8259).
    Json,
    /// The form in which the cache and its durable copy keep objects: see [`packed`]. Never on any wire.
    Packed,
}

/// What a term is, as far as both encodings know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// JSON `null`; the atoms `nil` and `null`.
    Null,
    /// JSON `true`, `false`; the atoms of these names.
    Bool,
    /// An integer of any size.
    Int,
    /// A number with a fraction or exponent (and JSON's `-0`); an ETF float.
    Float,
    /// A string; an ETF binary or any other atom.
    Str,
    /// An array; an ETF list, tuple or string of bytes.
    List,
    /// An object; an ETF map.
    Map,
    /// A process id, port, reference, function or bit string: only ever in ETF, and never from Discord.
    Opaque,
}

/// A borrowed term of any encoding.
///
/// Made by [`Value::parse`], every part of it is known to be well formed. Made by [`Value::from_raw`] from bytes that were never
/// checked, questions are answered with `None` or nothing once the bytes make no sense; no question panics.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    encoding: Encoding,
    raw: &'a [u8],
}

impl<'a> Value<'a> {
    /// Checks a whole document in one walk: ETF with its version byte 131, a JSON text, or a packed value.
    ///
    /// Strings of JSON are checked to be UTF-8; binaries of ETF are not, since they need not be text ([`Value::as_str`] checks).
    ///
    /// # Errors
    /// Anything malformed, and anything beyond `limits`. A compressed ETF term is an error that says so: see
    /// [`inflate`](crate::inflate).
    pub fn parse(encoding: Encoding, bytes: &'a [u8], limits: &Limits) -> Result<Value<'a>, Error> {
        let start = start(encoding, bytes, limits)?;
        let end = match encoding {
            Encoding::Etf => walk::check(bytes, start, 0, limits.depth_max)?,
            Encoding::Json => json::check(bytes, start, 0, limits.depth_max)?,
            Encoding::Packed => packed::check(bytes, start, limits.depth_max)?,
        };
        finish(encoding, bytes, start, end)
    }

    /// [`Value::parse`], which on its way shows entries of maps to `visit`, so that looking at them costs no further walk.
    ///
    /// `visit(outer, key, value)` is called for each entry of the outermost map, with `outer` empty, and before that for each entry of
    /// that entry's value, if it is a map, with `outer` being the key of the entry that it lies in. Calls come before the rest of the
    /// document was checked: what was seen counts only if the result is `Ok`.
    ///
    /// # Errors
    /// As [`Value::parse`].
    pub fn parse_entries<F>(encoding: Encoding, bytes: &'a [u8], limits: &Limits, mut visit: F) -> Result<Value<'a>, Error>
    where
        F: FnMut(Option<Value<'a>>, Value<'a>, Value<'a>),
    {
        let start = start(encoding, bytes, limits)?;
        let value = |raw: &'a [u8]| Value { encoding, raw };
        let mut show = |outer: Option<&'a [u8]>, key: &'a [u8], entry: &'a [u8]| visit(outer.map(value), value(key), value(entry));
        let end = match encoding {
            Encoding::Etf => walk::check_entries(bytes, start, limits.depth_max, &mut show)?,
            Encoding::Json => json::check_entries(bytes, start, limits.depth_max, &mut show)?,
            Encoding::Packed => {
                let end = packed::check(bytes, start, limits.depth_max)?;
                show_entries(value(bytes.get(start..end).unwrap_or_default()), visit);
                end
            }
        };
        finish(encoding, bytes, start, end)
    }

    /// One term as [`Value::raw`] gave it: ETF without version byte, or JSON text. Checks nothing.
    #[inline]
    pub fn from_raw(encoding: Encoding, raw: &'a [u8]) -> Value<'a> {
        match encoding {
            Encoding::Etf | Encoding::Packed => Value { encoding, raw },
            Encoding::Json => Value { encoding, raw: raw.trim_ascii() },
        }
    }

    pub(crate) fn inner(encoding: Encoding, raw: &'a [u8]) -> Value<'a> {
        Value { encoding, raw }
    }

    /// The term's exact bytes, without version byte or surrounding space.
    #[inline]
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// The encoding of [`Value::raw`].
    #[inline]
    pub fn encoding(self) -> Encoding {
        self.encoding
    }

    /// What the term is. Bytes that begin no term at all (possible only after [`Value::from_raw`]) are `Opaque`.
    pub fn kind(self) -> Kind {
        let Some(&first) = self.raw.first() else { return Kind::Opaque };
        match self.encoding {
            Encoding::Etf => match first {
                term::SMALL_ATOM | term::SMALL_ATOM_UTF8 | term::ATOM | term::ATOM_UTF8 => match term::atom(self.raw) {
                    Some(Atom::Null) => Kind::Null,
                    Some(Atom::True | Atom::False) => Kind::Bool,
                    None => Kind::Str,
                },
                term::BINARY => Kind::Str,
                term::SMALL_INTEGER | term::INTEGER | term::SMALL_BIG | term::LARGE_BIG => Kind::Int,
                term::NEW_FLOAT | term::FLOAT => Kind::Float,
                term::NIL | term::LIST | term::STRING | term::SMALL_TUPLE | term::LARGE_TUPLE => Kind::List,
                term::MAP => Kind::Map,
                _ => Kind::Opaque,
            },
            Encoding::Json => match first {
                b'{' => Kind::Map,
                b'[' => Kind::List,
                b'"' => Kind::Str,
                b'n' => Kind::Null,
                b't' | b'f' => Kind::Bool,
                b'-' | b'0'..=b'9' if json::is_integer(self.raw) => Kind::Int,
                b'-' | b'0'..=b'9' => Kind::Float,
                _ => Kind::Opaque,
            },
            Encoding::Packed => packed::ask::kind(self.raw),
        }
    }

    /// Whether this is `null` (`nil`).
    #[inline]
    pub fn is_null(self) -> bool {
        match self.encoding {
            Encoding::Etf => term::atom(self.raw) == Some(Atom::Null),
            Encoding::Json => self.raw == b"null",
            Encoding::Packed => packed::ask::is_null(self.raw),
        }
    }

    /// `true` or `false`.
    pub fn as_bool(self) -> Option<bool> {
        match (self.encoding, self.raw) {
            (Encoding::Etf, raw) => match term::atom(raw)? {
                Atom::True => Some(true),
                Atom::False => Some(false),
                Atom::Null => None,
            },
            (Encoding::Json, b"true") => Some(true),
            (Encoding::Json, b"false") => Some(false),
            (Encoding::Json, _) => None,
            (Encoding::Packed, raw) => packed::ask::as_bool(raw),
        }
    }

    /// The value of an integer whose magnitude fits 64 bits.
    fn integer(self) -> Option<i128> {
        match self.encoding {
            Encoding::Etf => term::int(self.raw)?.to_i128(),
            Encoding::Json => number::parse_json(self.raw),
            Encoding::Packed => packed::ask::integer(self.raw),
        }
    }

    /// An integer from 0 to 2^64 - 1. Strings are not read as numbers: see [`Value::as_id`].
    #[inline]
    pub fn as_u64(self) -> Option<u64> {
        if self.encoding == Encoding::Etf {
            return term::unsigned(self.raw);
        }
        self.integer()?.try_into().ok()
    }

    /// An integer from -2^63 to 2^63 - 1. Strings are not read as numbers.
    pub fn as_i64(self) -> Option<i64> {
        self.integer()?.try_into().ok()
    }

    /// Any number that fits 64 bits or is a float. Integers above 2^53 are rounded.
    pub fn as_f64(self) -> Option<f64> {
        match (self.encoding, self.raw.first()?) {
            (Encoding::Etf, &(term::FLOAT | term::NEW_FLOAT)) => term::float(self.raw),
            (Encoding::Json, b'-' | b'0'..=b'9') => json::float(self.raw),
            (Encoding::Packed, _) => packed::ask::as_f64(self.raw),
            _ => self.integer().map(|value| value as f64),
        }
    }

    /// Text of a string, binary or atom (`nil`, `true`, `false` included). `None` for other terms and for a binary that is not UTF-8,
    /// which [`Value::as_bytes`] still gives. Allocates only for JSON strings with escapes and for old Latin-1 atoms.
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        match self.encoding {
            Encoding::Etf => term::utf8(self.raw),
            Encoding::Json => text::decode(self.raw),
            Encoding::Packed => packed::ask::as_str(self.raw),
        }
    }

    /// Bytes of a string, binary or atom exactly as the peer meant them.
    pub fn as_bytes(self) -> Option<Cow<'a, [u8]>> {
        match self.encoding {
            Encoding::Etf => term::text(self.raw).map(Cow::Borrowed),
            Encoding::Json => text::decode(self.raw).map(|text| match text {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            }),
            Encoding::Packed => packed::ask::as_bytes(self.raw),
        }
    }

    /// A snowflake: an integer, or a string of decimal digits, that fits 64 bits. Source: Discord docs, API Reference: Snowflakes, and
    /// Gateway: ETF/JSON (ETF sends integers or strings, JSON strings).
    #[inline]
    pub fn as_id(self) -> Option<u64> {
        match self.encoding {
            Encoding::Etf => term::unsigned(self.raw).or_else(|| number::parse_decimal(term::text(self.raw)?)),
            // A digit has no reason to be escaped; an escaped one is not an id.
            Encoding::Json => number::parse_decimal(text::inside(self.raw).unwrap_or(self.raw)),
            Encoding::Packed => packed::ask::as_id(self.raw),
        }
    }

    /// Whether this, as a map's key, is `key`. Integer keys of ETF are compared by their decimal digits. Allocates nothing.
    #[inline]
    pub fn is_key(self, key: &str) -> bool {
        match self.encoding {
            Encoding::Etf => match term::text(self.raw) {
                Some(text) if key.is_ascii() || self.raw.first() == Some(&term::BINARY) => text == key.as_bytes(),
                Some(_) => term::utf8(self.raw).is_some_and(|text| text == key),
                None => is_number_key(self, key),
            },
            Encoding::Json => text::equals(self.raw, key.as_bytes()),
            Encoding::Packed => packed::ask::is_key(self.raw, key),
        }
    }

    /// The value of the first entry with this key; `None` if there is none, and for terms that are no maps.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        if self.encoding == Encoding::Packed && packed::unwrap(self.raw).is_none() {
            return packed::get(self.raw, key).map(|raw| Value { encoding: Encoding::Packed, raw });
        }
        if self.encoding == Encoding::Etf
            && let Some(word) = name_word(key)
        {
            return walk::get(self.raw, word).map(|raw| Value::inner(self.encoding, raw));
        }
        self.entries().find(|(name, _)| name.is_key(key)).map(|(_, value)| value)
    }

    /// What lies under several keys in each map of a list: [`Value::get_all`] of each of [`Value::items`], in one walk over the list. An element
    /// that is no map has nothing.
    #[inline]
    pub fn each_get_all<const N: usize>(self, keys: [&str; N], mut take: impl FnMut([Option<Value<'a>>; N])) {
        let list = self.encoding == Encoding::Etf && self.raw.first() == Some(&term::LIST);
        let Some(words) = (if list { words(keys) } else { None }) else {
            self.items().for_each(|item| take(item.get_all(keys)));
            return;
        };
        let Some(list) = term::head(self.raw, 0) else { return };
        let (mut at, elements) = (list.end, list.children.saturating_sub(1));
        for _ in 0..elements {
            let Some(rest) = self.raw.get(at..) else { return };
            let mut found = [None; N];
            let len = match walk::take_all(rest, &words, &mut found) {
                Some(len) => len,
                // No map, or a damaged one: of that nothing was found.
                None => {
                    found = [None; N];
                    let Some(len) = walk::skip(rest, 0) else { return };
                    len
                }
            };
            take(found);
            at += len;
        }
        if self.raw.get(at) != Some(&term::NIL) {
            Items::tail(self, at).for_each(|item| take(item.get_all(keys)));
        }
    }

    /// The values of several keys, in one walk that ends when all are found. Where a key occurs twice, the first counts.
    #[inline]
    pub fn get_all<const N: usize>(self, keys: [&str; N]) -> [Option<Value<'a>>; N] {
        if self.encoding == Encoding::Packed && packed::unwrap(self.raw).is_none() {
            return packed::get_all(self.raw, keys).map(|raw| Some(Value { encoding: Encoding::Packed, raw: raw? }));
        }
        if self.encoding == Encoding::Etf
            && let Some(words) = words(keys)
        {
            return walk::get_all(self.raw, words).map(|raw| Some(Value::inner(self.encoding, raw?)));
        }
        let mut found = [None; N];
        let mut missing = N;
        for (name, value) in self.entries() {
            for (slot, key) in found.iter_mut().zip(keys) {
                if slot.is_none() && name.is_key(key) {
                    *slot = Some(value);
                    missing -= 1;
                    break;
                }
            }
            if missing == 0 {
                break;
            }
        }
        found
    }

    /// The entries of a map in the order they were sent; nothing for other terms.
    #[inline]
    pub fn entries(self) -> Entries<'a> {
        Entries::new(self)
    }

    /// The elements of a list, tuple or string of bytes; nothing for other terms. The tail of an improper list is its last element.
    #[inline]
    pub fn items(self) -> Items<'a> {
        Items::new(self)
    }

    /// Number of entries or elements; 0 for scalars. Walks the term, except for ETF maps and tuples and what is packed.
    pub fn len(self) -> usize {
        match self.kind() {
            Kind::Map => self.entries().size(),
            Kind::List => self.items().size(),
            _ => 0,
        }
    }

    /// Whether there are no entries or elements. True for scalars.
    pub fn is_empty(self) -> bool {
        self.entries().next().is_none() && self.items().next().is_none()
    }
}

/// A key that keys of ETF can be compared with as bytes: an ASCII text (old atoms are Latin-1) that is not a number (keys may be).
#[inline]
fn name_word(key: &str) -> Option<Word> {
    let number = matches!(key.as_bytes().first(), None | Some(b'-' | b'0'..=b'9'));
    if number || !key.is_ascii() { None } else { Word::of(key.as_bytes()) }
}

/// Those of several keys, if all have one and no key is asked for twice: only the first of the two would be found.
#[inline(always)]
fn words<const N: usize>(keys: [&str; N]) -> Option<[Word; N]> {
    let mut words = [Word::default(); N];
    for (at, key) in keys.into_iter().enumerate() {
        let word = name_word(key)?;
        if words.iter().take(at).any(|other| *other == word) {
            return None;
        }
        *words.get_mut(at)? = word;
    }
    Some(words)
}

#[cold]
fn is_number_key(key: Value<'_>, wanted: &str) -> bool {
    let Some(int) = term::int(key.raw) else { return false };
    let mut digits = Vec::new();
    number::write_int(int, &mut digits);
    digits == wanted.as_bytes()
}

/// Shows the entries of a map, and before each those of its value, to `visit`: see [`Value::parse_entries`].
fn show_entries<'a>(map: Value<'a>, mut visit: impl FnMut(Option<Value<'a>>, Value<'a>, Value<'a>)) {
    for (outer, value) in map.entries() {
        for (key, inner) in value.entries() {
            visit(Some(outer), key, inner);
        }
        visit(None, outer, value);
    }
}

/// Where the document's term begins.
pub(crate) fn start(encoding: Encoding, bytes: &[u8], limits: &Limits) -> Result<usize, Error> {
    // Lengths inside are 32-bit numbers; a document that exceeds them could make sums of lengths overflow.
    let bytes_max = limits.bytes_max.min(u32::MAX as usize);
    if bytes.len() > bytes_max {
        return Err(Error::new(0, ErrorKind::TooLong { bytes: bytes.len() as u64, bytes_max }));
    }
    match (encoding, bytes.first()) {
        (Encoding::Etf, Some(&ETF_VERSION)) => Ok(1),
        (Encoding::Etf, found) => Err(Error::new(0, ErrorKind::Version { found: found.copied() })),
        (Encoding::Json, _) => Ok(json::skip_space(bytes, 0)),
        (Encoding::Packed, _) => Ok(0),
    }
}

/// Takes the term out of its document, of which nothing must be left.
pub(crate) fn finish(encoding: Encoding, bytes: &[u8], start: usize, end: usize) -> Result<Value<'_>, Error> {
    let rest = match encoding {
        Encoding::Etf | Encoding::Packed => end,
        Encoding::Json => json::skip_space(bytes, end),
    };
    if rest != bytes.len() {
        return Err(Error::new(rest, ErrorKind::Trailing { bytes: bytes.len().saturating_sub(rest) }));
    }
    Ok(Value { encoding, raw: bytes.get(start..end).unwrap_or_default() })
}

/// Shows the encoding and the length only: payloads do not belong in logs.
impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Value({:?}, {:?}, {} bytes)", self.encoding, self.kind(), self.raw.len())
    }
}
