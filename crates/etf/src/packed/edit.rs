//! Packed objects made from packed objects, in one pass over their bytes: what is kept is copied, not read.
//!
//! Parts of another encoding are packed on the way. Everything appends to a `Vec` that the caller can keep; on an error that is as it
//! was. The result keeps the order of what it is made from; new keys come last. No function here takes time in the square of anything
//! that a peer chooses.

use super::{Form, Head, KEY_OTHER, KEY2, KEY2_LAST, SIZES, damaged, from_etf, head, key_is, keys, long_code, put, skip, string};
use crate::error::Error;
use crate::packed::ATOM;
use crate::packed::from_etf::Places;
use crate::value::{Encoding, Kind, Value};
use crate::{number, term, transcode};
use std::borrow::Cow;
use std::ops::Range;

/// An ETF term that is an id, packed: its bytes at the start of the room, and how many they are. `None` for what is no id, and for one that is
/// kept as its text, since it begins with zeros.
#[inline]
pub fn packed_id(told: Value<'_>, id: u64) -> Option<([u8; 9], usize)> {
    if told.encoding() != Encoding::Etf {
        return None;
    }
    let mut room = [0; 9];
    if term::unsigned(told.raw()) == Some(id) {
        let len = put::uint_at(id, &mut room);
        return Some((room, len));
    }
    // Two digits at least, or it is kept as text, and the first is none of too many.
    let binary = told.raw().first() == Some(&term::BINARY);
    let text = term::text(told.raw()).filter(|text| binary && text.len() > 1 && text.first() != Some(&b'0'))?;
    if number::parse_decimal(text) != Some(id) {
        return None;
    }
    let len = put::decimal_at(id, &mut room);
    Some((room, len))
}

/// A key: its number, or what it says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name<'a> {
    Known(usize),
    /// The bytes of a text or atom.
    Text(&'a [u8]),
    /// Any other packed value.
    Other(&'a [u8]),
}

impl<'a> Name<'a> {
    fn of(key: &'a str) -> Name<'a> {
        keys::key(key.as_bytes()).map_or(Name::Text(key.as_bytes()), |code| Name::Known(usize::from(code)))
    }
}

/// One entry: its name, where its key begins, its value begins, and it ends.
struct Entry<'a> {
    name: Name<'a>,
    key: usize,
    value: usize,
    end: usize,
}

/// The entries of a packed map.
struct Map<'a> {
    bytes: &'a [u8],
    head: Head,
    at: usize,
}

impl<'a> Map<'a> {
    fn new(bytes: &'a [u8]) -> Result<Map<'a>, Error> {
        match head(bytes, 0) {
            Some(head) if head.form != Form::List && head.end == bytes.len() => Ok(Map { bytes, head, at: head.start }),
            _ => Err(damaged(0, "wants a map")),
        }
    }

    fn next(&mut self) -> Result<Option<Entry<'a>>, Error> {
        if self.head.count == 0 {
            return if self.at == self.head.end { Ok(None) } else { Err(damaged(self.at, "a map or list is longer than what it holds")) };
        }
        self.head.count -= 1;
        let entry = self.entry().ok_or_else(|| damaged(self.at, "no entry begins here, or it is cut off"))?;
        self.at = entry.end;
        Ok(Some(entry))
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'a>> {
        let (bytes, key) = (self.bytes, self.at);
        let (name, value) = match *bytes.get(key)? {
            code @ 0..KEY2 => (Name::Known(usize::from(code)), key + 1),
            high @ KEY2..=KEY2_LAST => (Name::Known(long_code(high, *bytes.get(key + 1)?)), key + 2),
            KEY_OTHER => {
                let value = skip(bytes, key + 1)?;
                let raw = bytes.get(key + 1..value)?;
                let text = if raw.first() == Some(&ATOM) { raw.get(1..).and_then(string) } else { string(raw) };
                // A key that became a known one after this was packed.
                let name =
                    text.map_or(Name::Other(raw), |text| keys::key(text).map_or(Name::Text(text), |code| Name::Known(usize::from(code))));
                (name, value)
            }
            _ => return None,
        };
        Some(Entry { name, key, value, end: skip(bytes, value)? })
    }
}

/// The entries of an update, found by name. Where a name occurs twice, the first counts.
struct Index<'a> {
    bytes: &'a [u8],
    /// In the order of the update.
    entries: Vec<(Entry<'a>, bool)>,
    /// Which numbers occur.
    known: [u64; KNOWN_WORDS],
    /// Places in `entries` of the names that have no number, by name.
    others: Vec<usize>,
    /// Where the next known name is looked for first: most updates have the order of what they update.
    near: usize,
}

/// Room for a bit for every number that a key can have.
const KNOWN_WORDS: usize = (keys::SHORT + 2048) / 64;

impl<'a> Index<'a> {
    fn new(bytes: &'a [u8]) -> Result<Index<'a>, Error> {
        let mut map = Map::new(bytes)?;
        let mut index = Index { bytes, entries: Vec::new(), known: [0; KNOWN_WORDS], others: Vec::new(), near: 0 };
        index.entries.reserve_exact(map.head.count.min(bytes.len()));
        while let Some(entry) = map.next()? {
            match entry.name {
                Name::Known(code) => {
                    let bit = 1 << (code % 64);
                    if let Some(word) = index.known.get_mut(code / 64)
                        && *word & bit == 0
                    {
                        *word |= bit;
                        index.entries.push((entry, false));
                    }
                }
                _ => {
                    index.others.push(index.entries.len());
                    index.entries.push((entry, false));
                }
            }
        }
        let entries = &mut index.entries;
        index.others.sort_by(|&a, &b| entries[a].0.name.cmp(&entries[b].0.name));
        for at in 1..index.others.len() {
            let (first, second) = (index.others[at - 1], index.others[at]);
            if entries[first].0.name == entries[second].0.name {
                // The sort is stable: the second is the later one. It counts as used.
                entries[second].1 = true;
            }
        }
        Ok(index)
    }

    /// The value of a name's first entry, which is then used.
    #[inline]
    fn take(&mut self, name: Name<'_>) -> Option<&'a [u8]> {
        let place = match name {
            Name::Known(code) => {
                if self.known.get(code / 64)? & 1 << (code % 64) == 0 {
                    return None;
                }
                let same = |(entry, _): &(Entry<'_>, bool)| entry.name == name;
                let place = match self.entries.get(self.near..)?.iter().position(same) {
                    Some(place) => self.near + place,
                    None => self.entries.iter().position(same)?,
                };
                self.near = place + 1;
                place
            }
            _ => {
                // Of equal names the first.
                let place = self.others.partition_point(|&at| self.entries[at].0.name < name);
                *self.others.get(place).filter(|&&at| self.entries[at].0.name == name)?
            }
        };
        let (entry, used) = self.entries.get_mut(place)?;
        *used = true;
        self.bytes.get(entry.value..entry.end)
    }
}

/// The value's packed bytes.
fn packed(value: Value<'_>) -> Result<Cow<'_, [u8]>, Error> {
    if value.encoding() == Encoding::Packed {
        return Ok(Cow::Borrowed(value.raw()));
    }
    let mut out = Vec::new();
    transcode::transcode(value, Encoding::Packed, &mut out)?;
    Ok(Cow::Owned(out))
}

/// Runs `write`; if it fails, `out` is as before.
fn attempt<T>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<T, Error>) -> Result<T, Error> {
    let length = out.len();
    let result = write(out);
    if result.is_err() {
        out.truncate(length);
    }
    result
}

/// Appends `base` with the entries of `update` in the place of its own of the same keys, and those of new keys behind; without the keys in
/// `drop`, whichever of the two they come from. Keys are atoms where `base`'s are (where `update`'s are, if `base` is empty).
///
/// # Errors
/// One of the two is no map, or damaged.
pub fn merged(base: Value<'_>, update: Value<'_>, drop: &[&str], out: &mut Vec<u8>) -> Result<(), Error> {
    let (base, update) = (packed(base)?, packed(update)?);
    attempt(out, |out| merge(&base, &update, drop, out))
}

fn merge(base: &[u8], update: &[u8], drop: &[&str], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut index = Index::new(update)?;
    let mut base = Map::new(base)?;
    let mut room = Names::default();
    let drop = room.of(drop.iter().copied());
    let form = if base.head.count == 0 { head(update, 0).map_or(Form::Map, |head| head.form) } else { base.head.form };
    let mut copy = Copy::new(form, &base, out);
    while let Some(entry) = base.next()? {
        if drop.contains(&entry.name) {
            copy.leave_out(&entry);
        } else if let Some(value) = index.take(entry.name) {
            copy.replace(&entry).extend_from_slice(value);
        }
    }
    copy.flush(base.at);
    for (entry, used) in &index.entries {
        if !used && !drop.contains(&entry.name) {
            copy.add().extend_from_slice(update.get(entry.key..entry.end).unwrap_or_default());
        }
    }
    copy.end();
    Ok(())
}

/// A few names, looked up once.
struct Names<'a> {
    near: [Name<'a>; 16],
    far: Vec<Name<'a>>,
}

impl Default for Names<'_> {
    fn default() -> Self {
        Names { near: [Name::Known(usize::MAX); 16], far: Vec::new() }
    }
}

impl<'a> Names<'a> {
    fn of(&mut self, keys: impl ExactSizeIterator<Item = &'a str>) -> &[Name<'a>] {
        let len = keys.len();
        if len > self.near.len() {
            self.far = keys.map(Name::of).collect();
            return &self.far;
        }
        for (place, key) in self.near.iter_mut().zip(keys) {
            *place = Name::of(key);
        }
        self.near.get(..len).unwrap_or_default()
    }
}

/// A map that is being written as a changed copy of another one. Stretches that stay are copied at once.
struct Copy<'a, 'o> {
    bytes: &'a [u8],
    out: &'o mut Vec<u8>,
    form: Form,
    head: usize,
    reserved: u8,
    count: usize,
    /// Where in `bytes` the stretch begins that stays and is not yet copied.
    run: usize,
}

impl<'a, 'o> Copy<'a, 'o> {
    fn new(form: Form, base: &Map<'a>, out: &'o mut Vec<u8>) -> Copy<'a, 'o> {
        out.reserve(base.bytes.len());
        let head = out.len();
        let reserved = put::begin(base.head.count, out);
        Copy { bytes: base.bytes, out, form, head, reserved, count: base.head.count, run: base.head.start }
    }

    /// Copies what stays up to `end`.
    fn flush(&mut self, end: usize) {
        self.out.extend_from_slice(self.bytes.get(self.run..end).unwrap_or_default());
        self.run = end;
    }

    fn leave_out(&mut self, entry: &Entry<'_>) {
        self.flush(entry.key);
        self.run = entry.end;
        self.count -= 1;
    }

    /// The entry's value must be written to what this gives.
    fn replace(&mut self, entry: &Entry<'_>) -> &mut Vec<u8> {
        self.flush(entry.value);
        self.run = entry.end;
        self.out
    }

    /// A further entry must be written to what this gives; all that stays was copied.
    fn add(&mut self) -> &mut Vec<u8> {
        self.count += 1;
        self.out
    }

    fn end(self) {
        put::end(if self.count == 0 { Form::Map } else { self.form }, self.head, self.reserved, self.count, self.out);
    }
}

/// Appends `base` without the entries of these keys.
///
/// # Errors
/// It is no map, or damaged.
pub fn without_keys(base: Value<'_>, drop: &[&str], out: &mut Vec<u8>) -> Result<(), Error> {
    if base.encoding() != Encoding::Etf {
        return edited(base, drop, &[], out);
    }
    etf_without(base, drop, None, out)
}

fn etf_without(base: Value<'_>, drop: &[&str], places: Option<(&str, Places<'_>)>, out: &mut Vec<u8>) -> Result<(), Error> {
    // In one pass: what is dropped may be most of it.
    let mut room = Names::default();
    let names = room.of(drop.iter().copied());
    let dropped = |key: Result<u16, &[u8]>| {
        let name = key.map_or_else(Name::Text, |code| Name::Known(usize::from(code)));
        names.contains(&name)
    };
    attempt(out, |out| from_etf::without(base.raw(), dropped, places, out))?.ok_or_else(|| damaged(0, "wants a map"))
}

/// [`without_keys`], and the elements of the list under the key `list` as they are told, each with the map under the key `inside` in it, if
/// it has one. They are found on the way. None are given unless `base` is ETF and all elements are maps: they stand for those of the packed
/// list, in their order.
///
/// # Errors
/// It is no map, or damaged.
pub fn without_keys_told<'a>(
    base: Value<'a>,
    drop: &[&str],
    (list, inside): (&str, &str),
    out: &mut Vec<u8>,
) -> Result<Vec<Told<'a>>, Error> {
    if base.encoding() != Encoding::Etf {
        without_keys(base, drop, out)?;
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    etf_without(base, drop, Some((list, Places { inside, found: &mut found })), out)?;
    let value = |place| Some(Value::inner(Encoding::Etf, base.raw().get::<Range<usize>>(place).filter(|raw| !raw.is_empty())?));
    Ok(found.into_iter().map_while(|[whole, inside]| Some(Told { whole: value(whole)?, inside: value(inside) })).collect())
}

/// An element of a list as it is told.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// All of it.
    pub whole: Value<'a>,
    /// The map in it.
    pub inside: Option<Value<'a>>,
}

/// Appends the packed map `base` without the entry of this key, and gives what that entry held: a member without its user. Of several entries
/// with the key none stays, and the first counts.
///
/// # Errors
/// It is no packed map, or damaged.
pub fn split<'a>(base: Value<'a>, key: &str, out: &mut Vec<u8>) -> Result<Option<Value<'a>>, Error> {
    let bytes = base.raw();
    let head = Map::new(bytes).ok().filter(|_| base.encoding() == Encoding::Packed).ok_or_else(|| damaged(0, "wants a map"))?.head;
    let code = keys::key(key.as_bytes()).map_or(usize::MAX, usize::from);
    let mut found: Option<(usize, usize, usize)> = None;
    let mut at = head.start;
    for _ in 0..head.count {
        // Nearly all: a key of one byte, and a value whose tag says how long it is.
        let (hit, value, end) = match bytes.get(at..) {
            Some(&[key @ 0..KEY2, tag, ..]) if SIZES[usize::from(tag)] != 0 => {
                (usize::from(key) == code, at + 1, at + 1 + usize::from(SIZES[usize::from(tag)]))
            }
            _ => {
                let entry = key_is(bytes, at, code, key).and_then(|(hit, value)| Some((hit, value, skip(bytes, value)?)));
                entry.ok_or_else(|| damaged(at, "no entry begins here, or it is cut off"))?
            }
        };
        if hit && let Some((_, value, end)) = found {
            without_keys(base, &[key], out)?;
            return Ok(bytes.get(value..end).map(|raw| Value::inner(Encoding::Packed, raw)));
        }
        if hit {
            found = Some((at, value, end));
        }
        at = end;
    }
    if at != head.end {
        // The last one may be longer than all there is.
        let what = if at > bytes.len() { "no entry begins here, or it is cut off" } else { "a map or list is longer than what it holds" };
        return Err(damaged(at.min(bytes.len()), what));
    }
    let (start, value, end) = found.unwrap_or((at, at, at));
    let parts = [bytes.get(head.start..start).unwrap_or_default(), bytes.get(end..at).unwrap_or_default()];
    let count = head.count - usize::from(found.is_some());
    let form = if count == 0 { Form::Map } else { head.form };
    let (room, length) = put::head_of(form, count, parts[0].len() + parts[1].len());
    out.reserve(length + parts[0].len() + parts[1].len());
    out.extend_from_slice(room.get(..length).unwrap_or_default());
    out.extend_from_slice(parts[0]);
    out.extend_from_slice(parts[1]);
    Ok(found.and_then(|_| bytes.get(value..end)).map(|raw| Value::inner(Encoding::Packed, raw)))
}

/// Appends `base` with `value` under `key`: in the place of what stood there, else behind the rest. So is a user put back into its member.
///
/// # Errors
/// `base` is no map, or one of the two is damaged or cannot be packed.
pub fn with_field(base: Value<'_>, key: &str, value: Value<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    edited(base, &[], &[(key, value)], out)
}

/// [`with_field`] for several fields.
///
/// # Errors
/// As [`with_field`].
pub fn with_fields(base: Value<'_>, fields: &[(&str, Value<'_>)], out: &mut Vec<u8>) -> Result<(), Error> {
    edited(base, &[], fields, out)
}

/// Appends `base` without the entries of the keys in `drop`, and with `fields`: each in the place of what stood under its key, else behind
/// the rest. A field whose key is also in `drop` is written. Of fields with one key the first counts.
///
/// # Errors
/// `base` is no map, or something is damaged or cannot be packed.
pub fn edited(base: Value<'_>, drop: &[&str], fields: &[(&str, Value<'_>)], out: &mut Vec<u8>) -> Result<(), Error> {
    let base = packed(base)?;
    attempt(out, |out| {
        let mut base = Map::new(&base)?;
        let (mut room, mut field_room) = (Names::default(), Names::default());
        let drop = room.of(drop.iter().copied());
        let names = field_room.of(fields.iter().map(|(key, _)| *key));
        // The caller chooses how many fields there are; more than 64 are looked for one by one when the rest is done.
        let mut written = 0u64;
        let atoms = base.head.form == Form::AtomMap;
        let mut copy = Copy::new(base.head.form, &base, out);
        while let Some(entry) = base.next()? {
            match names.iter().position(|name| *name == entry.name) {
                Some(place) if place < 64 && written >> place & 1 == 0 => {
                    written |= 1 << place;
                    transcode::transcode(fields[place].1, Encoding::Packed, copy.replace(&entry))?;
                }
                Some(_) => copy.leave_out(&entry),
                None if drop.contains(&entry.name) => copy.leave_out(&entry),
                None => {}
            }
        }
        copy.flush(base.at);
        for (place, (key, value)) in fields.iter().enumerate() {
            let first = names.iter().position(|name| *name == names[place]) == Some(place);
            if !first || place < 64 && written >> place & 1 == 1 {
                continue;
            }
            let out = copy.add();
            if !put::known_key(key.as_bytes(), out) {
                put::other_key(out);
                if atoms && key.is_ascii() && key.len() < 256 {
                    put::atom(key.as_bytes(), out);
                } else {
                    put::plain(key.as_bytes(), out);
                }
            }
            transcode::transcode(*value, Encoding::Packed, out)?;
        }
        copy.end();
        Ok(())
    })
}

/// Appends the list `list` without the elements that `keep` refuses; says how many that were.
///
/// # Errors
/// It is no list, or damaged.
pub fn filtered(list: Value<'_>, mut keep: impl FnMut(Value<'_>) -> bool, out: &mut Vec<u8>) -> Result<usize, Error> {
    if list.kind() != Kind::List {
        return Err(damaged(0, "wants a list"));
    }
    attempt(out, |out| {
        let (head, mut count, mut refused) = (out.len(), 0, 0);
        let reserved = put::begin(list.len(), out);
        for item in list.items() {
            if keep(item) {
                count += 1;
                transcode::transcode(item, Encoding::Packed, out)?;
            } else {
                refused += 1;
            }
        }
        put::end(Form::List, head, reserved, count, out);
        Ok(refused)
    })
}

/// Appends the map `base` with the list under `key` filtered as [`filtered`] does; says how many elements went. Where that is 0, or there is
/// no list under the key, nothing is appended.
///
/// # Errors
/// `base` is no map, or damaged.
pub fn with_filtered(base: Value<'_>, key: &str, keep: impl FnMut(Value<'_>) -> bool, out: &mut Vec<u8>) -> Result<usize, Error> {
    let Some(list) = base.get(key).filter(|list| list.kind() == Kind::List) else { return Ok(0) };
    let mut kept = Vec::with_capacity(list.raw().len());
    let refused = filtered(list, keep, &mut kept)?;
    if refused != 0 {
        with_field(base, key, Value::inner(Encoding::Packed, &kept), out)?;
    }
    Ok(refused)
}
