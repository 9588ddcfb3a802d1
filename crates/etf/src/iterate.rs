//! Walks over the entries of a map and the elements of a list, without recursion and without allocation.
//!
//! Each step skips one term. On bytes that were never checked an iterator may end early; it never yields a slice outside of them.

use crate::value::{Encoding, Value};
use crate::{json, packed, term, walk};

/// Entries of a map: see [`Value::entries`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    encoding: Encoding,
    bytes: &'a [u8],
    at: usize,
    /// ETF and packed: entries still to come. JSON: 0 at the end, else any other number.
    left: usize,
    /// Packed: whether the keys are atoms.
    atoms: bool,
}

impl<'a> Entries<'a> {
    #[inline]
    pub(crate) fn new(value: Value<'a>) -> Entries<'a> {
        let value = unpacked(value);
        let (encoding, bytes) = (value.encoding(), value.raw());
        let mut atoms = false;
        let (at, left) = match encoding {
            Encoding::Etf => match term::head(bytes, 0) {
                Some(head) if bytes.first() == Some(&term::MAP) => (head.end, head.children / 2),
                _ => (0, 0),
            },
            Encoding::Json => json_start(bytes, b'{', b'}'),
            Encoding::Packed => match packed::head(bytes, 0) {
                Some(head) if head.form != packed::Form::List => {
                    atoms = head.form == packed::Form::AtomMap;
                    (head.start, head.count)
                }
                _ => (0, 0),
            },
        };
        Entries { encoding, bytes, at, left, atoms }
    }

    /// How many entries are left.
    pub(crate) fn size(self) -> usize {
        match self.encoding {
            Encoding::Etf | Encoding::Packed => self.left,
            Encoding::Json => self.count(),
        }
    }

    #[inline]
    fn next_json(&mut self) -> Option<(Value<'a>, Value<'a>)> {
        let key_end = json::skip(self.bytes, self.at)?;
        let key = self.bytes.get(self.at..key_end)?;
        let colon = json::skip_space(self.bytes, key_end);
        if self.bytes.get(colon) != Some(&b':') {
            return None;
        }
        let start = json::skip_space(self.bytes, colon + 1);
        let end = json::skip(self.bytes, start)?;
        let value = self.bytes.get(start..end)?;
        (self.at, self.left) = json_next(self.bytes, end);
        Some((Value::inner(Encoding::Json, key), Value::inner(Encoding::Json, value)))
    }

    #[inline]
    fn next_packed(&mut self) -> Option<(Value<'a>, Value<'a>)> {
        let (key, middle) = packed::key(self.bytes, self.at, self.atoms)?;
        let end = packed::skip(self.bytes, middle)?;
        let value = self.bytes.get(middle..end)?;
        self.at = end;
        self.left -= 1;
        Some((Value::inner(Encoding::Packed, key), Value::inner(Encoding::Packed, value)))
    }

    #[inline]
    fn next_etf(&mut self) -> Option<(Value<'a>, Value<'a>)> {
        let middle = walk::skip(self.bytes, self.at)?;
        let end = walk::skip(self.bytes, middle)?;
        let key = self.bytes.get(self.at..middle)?;
        let value = self.bytes.get(middle..end)?;
        self.at = end;
        self.left -= 1;
        Some((Value::inner(Encoding::Etf, key), Value::inner(Encoding::Etf, value)))
    }
}

/// What a packed value holds as it was in another encoding is read in that; everything else is as it is.
#[inline]
fn unpacked(value: Value<'_>) -> Value<'_> {
    match value.encoding() {
        Encoding::Packed => packed::unwrap(value.raw()).unwrap_or(value),
        _ => value,
    }
}

/// The first element's place inside brackets, and whether there is one.
#[inline]
fn json_start(bytes: &[u8], open: u8, close: u8) -> (usize, usize) {
    if bytes.first() != Some(&open) {
        return (0, 0);
    }
    let at = json::skip_space(bytes, 1);
    (at, usize::from(bytes.get(at) != Some(&close)))
}

/// The next element's place behind one that ends at `end`, and whether there is one.
#[inline]
fn json_next(bytes: &[u8], end: usize) -> (usize, usize) {
    let comma = json::skip_space(bytes, end);
    (json::skip_space(bytes, comma + 1), usize::from(bytes.get(comma) == Some(&b',')))
}

impl<'a> Iterator for Entries<'a> {
    type Item = (Value<'a>, Value<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let entry = match self.encoding {
            Encoding::Etf => self.next_etf(),
            Encoding::Json => self.next_json(),
            Encoding::Packed => self.next_packed(),
        };
        if entry.is_none() {
            self.left = 0;
        }
        entry
    }
}

impl std::iter::FusedIterator for Entries<'_> {}

/// Elements of a list: see [`Value::items`].
#[derive(Clone, Debug)]
pub struct Items<'a> {
    form: Form,
    bytes: &'a [u8],
    at: usize,
    /// ETF: elements still to come, a list's tail included. JSON: 0 at the end, else any other number.
    left: usize,
}

/// How the elements are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Packed,
    Tuple,
    /// The last of the terms that are left is the tail.
    List,
    /// One byte each, a small integer.
    Bytes,
}

/// Every small integer as a term, so that the elements of a string of bytes can be borrowed like others.
static SMALL_INTEGERS: [[u8; 2]; 256] = {
    let mut table = [[term::SMALL_INTEGER, 0]; 256];
    let mut n = 0;
    while n < 256 {
        table[n][1] = n as u8;
        n += 1;
    }
    table
};

impl<'a> Items<'a> {
    #[inline]
    pub(crate) fn new(value: Value<'a>) -> Items<'a> {
        let value = unpacked(value);
        let bytes = value.raw();
        if value.encoding() == Encoding::Packed {
            let (at, left) =
                packed::head(bytes, 0).filter(|head| head.form == packed::Form::List).map_or((0, 0), |head| (head.start, head.count));
            return Items { form: Form::Packed, bytes, at, left };
        }
        if value.encoding() == Encoding::Json {
            let (at, left) = json_start(bytes, b'[', b']');
            return Items { form: Form::Json, bytes, at, left };
        }
        let mut items = Items { form: Form::Tuple, bytes, at: 0, left: 0 };
        items.enter(0);
        items
    }

    /// What is left of an ETF list whose tail is at `at`: nothing, as good as always.
    pub(crate) fn tail(list: Value<'a>, at: usize) -> Items<'a> {
        Items { form: Form::List, bytes: list.raw(), at, left: 1 }
    }

    /// Continues with the elements of the list or tuple at `at`. `false`: there is none.
    fn enter(&mut self, at: usize) -> bool {
        let form = match self.bytes.get(at) {
            Some(&(term::SMALL_TUPLE | term::LARGE_TUPLE)) => Form::Tuple,
            Some(&term::LIST) => Form::List,
            Some(&term::STRING) => Form::Bytes,
            Some(&term::NIL) => {
                (self.form, self.left) = (Form::Tuple, 0);
                return true;
            }
            _ => return false,
        };
        let Some(head) = term::head(self.bytes, at) else {
            self.left = 0;
            return true;
        };
        self.form = form;
        (self.at, self.left) = if form == Form::Bytes { (at + 3, head.end - at - 3) } else { (head.end, head.children) };
        true
    }

    /// How many elements are left.
    pub(crate) fn size(self) -> usize {
        match self.form {
            Form::Tuple | Form::Bytes | Form::Packed => self.left,
            Form::Json | Form::List => self.count(),
        }
    }

    #[inline]
    fn next_json(&mut self) -> Option<Value<'a>> {
        let end = json::skip(self.bytes, self.at)?;
        let value = self.bytes.get(self.at..end)?;
        (self.at, self.left) = json_next(self.bytes, end);
        Some(Value::inner(Encoding::Json, value))
    }

    #[inline]
    fn next_packed(&mut self) -> Option<Value<'a>> {
        let end = packed::skip(self.bytes, self.at)?;
        let value = self.bytes.get(self.at..end)?;
        self.at = end;
        self.left -= 1;
        Some(Value::inner(Encoding::Packed, value))
    }

    #[inline]
    fn next_etf(&mut self) -> Option<Value<'a>> {
        // A list's tail is a list again (most often the empty one), and its elements belong to this list; any other tail is the last
        // element of an improper list. A tuple is no list.
        while self.form == Form::List && self.left == 1 {
            let tail = *self.bytes.get(self.at)?;
            if tail == term::SMALL_TUPLE || tail == term::LARGE_TUPLE || !self.enter(self.at) {
                break;
            }
        }
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        if self.form == Form::Bytes {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            return Some(Value::inner(Encoding::Etf, &SMALL_INTEGERS[usize::from(byte)]));
        }
        let end = walk::skip(self.bytes, self.at)?;
        let value = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(Value::inner(Encoding::Etf, value))
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let item = match self.form {
            Form::Json => self.next_json(),
            Form::Packed => self.next_packed(),
            _ => self.next_etf(),
        };
        if item.is_none() {
            self.left = 0;
        }
        item
    }
}

impl std::iter::FusedIterator for Items<'_> {}
