//! What an ETF map changes in a packed one, found by comparing the two as they lie.
//!
//! Most of what Discord tells of members and users is known already: packing it only to see that costs many times what comparing does.
//! Here entries are compared in place; only a value that differs is packed, and what stays is copied.
//!
//! Only the usual case is taken: atom keys, each once, in an order that is not too wild. For everything else the answer is `None`, and
//! the caller packs the update and uses [`edit`](super::edit). That a value is the same is never said wrongly; that it is another one
//! may be, and then the same bytes are written once more. Of a key that is twice in what lies there, which nobody sends, the first is
//! changed: it is the one that is read.
//!
//! Invariants: nothing panics on any bytes; recursion ends after five levels.

use smallvec::SmallVec;

use super::{
    ANIMATED_HASH, ATOM, DECIMAL, FALSE, Form, HASH, Head, KEY_OTHER, KEY2, KEY2_LAST, LIST0, MAP0, NULL, SIZES, STR0, STR8, STR16, STR32,
    TIME_LAST, TIME0, TRUE, Time, UINT, WORD, from_etf, head, keys, long_code, phrases, put, skip, string, text, uint,
};
use crate::value::{Encoding, Value};
use crate::{term, walk};

/// What has come of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It says nothing that was not known; nothing was written.
    Same,
    /// What is known now was written.
    Other,
}

/// Levels of maps and lists that are compared; deeper ones are packed.
const LEVELS: u32 = 5;
/// Entries of a map: there is a bit for each.
const ENTRIES_MAX: usize = 64;
/// How often the entries are looked through for one that is not where it was expected. One in a wild order would be looked for as long as
/// its sender likes.
const SEARCHES_MAX: usize = 16;
/// Entries that are new: each is compared with the others.
const ADDITIONS_MAX: usize = 12;

/// What is not taken from an update.
#[derive(Clone, Copy, Debug)]
pub enum Without<'a> {
    /// These keys are left out.
    Keys(&'a [&'a str]),
    /// These keys are left out, and this is what lies under one of them in the update, if it is a part of that: it is not gone over to find its end.
    Told(&'a [&'a str], Value<'a>),
    /// It must not have this key: the answer is `None` then.
    Refused(&'a str),
}

/// `base` with the entries of `update` in the place of its own of the same keys, and those of new keys behind. As
/// [`edit::merged`](super::edit::merged) writes it.
pub fn merge(base: Value<'_>, update: Value<'_>, without: Without<'_>, out: &mut Vec<u8>) -> Option<Outcome> {
    lay(base, update, without, false, out)
}

/// `update`, where `base` is a map of the same keys in the same order, as most of what is told again has.
pub fn replace(base: Value<'_>, update: Value<'_>, without: Without<'_>, out: &mut Vec<u8>) -> Option<Outcome> {
    lay(base, update, without, true, out)
}

/// Appends the packed map `base` with the packed `value` under `key` behind its own entries; asks for no more room than that takes. `None` and
/// nothing appended where it has the key already, where that is none of the known ones, and for what is no map with atom keys.
pub fn with_last(base: Value<'_>, key: &str, value: Value<'_>, out: &mut Vec<u8>) -> Option<()> {
    if base.encoding() != Encoding::Packed || value.encoding() != Encoding::Packed {
        return None;
    }
    let (base, value) = (base.raw(), value.raw());
    let known = head(base, 0)?;
    if known.form != Form::AtomMap || known.end != base.len() || super::get(base, key).is_some() {
        return None;
    }
    let code = keys::key(key.as_bytes()).filter(|code| usize::from(*code) < keys::SHORT)?;
    let contents = base.get(known.start..)?;
    let (count, size) = (known.count + 1, contents.len() + 1 + value.len());
    let head = put::head_bytes(count, size);
    out.reserve_exact(head + size);
    let at = out.len();
    out.extend_from_slice([0; super::HEAD32].get(..head)?);
    out.extend_from_slice(contents);
    out.push(code as u8);
    out.extend_from_slice(value);
    put::end(Form::AtomMap, at, head as u8, count, out);
    Some(())
}

/// A value that is another one: where the old one lies in the base, and the new one in the update.
#[derive(Clone, Copy)]
struct Change {
    old: (usize, usize),
    new: (usize, usize),
}

/// Of an entry that the base does not have: where its key and its value lie in the update.
#[derive(Clone, Copy)]
struct Addition {
    key: (usize, usize),
    value: (usize, usize),
}

/// Where one looks in the base.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    index: usize,
}

/// Compares the two, and writes what has come of it.
fn lay(base: Value<'_>, update: Value<'_>, without: Without<'_>, whole: bool, out: &mut Vec<u8>) -> Option<Outcome> {
    if base.encoding() != Encoding::Packed || update.encoding() != Encoding::Etf {
        return None;
    }
    let (base, update) = (base.raw(), update.raw());
    let known = head(base, 0)?;
    if known.form != Form::AtomMap || known.end != base.len() || known.count > ENTRIES_MAX || update.first() != Some(&term::MAP) {
        return None;
    }
    let (drop, refused, part): (&[&str], _, &[u8]) = match without {
        Without::Keys(keys) => (keys, None, &[]),
        Without::Told(keys, part) => (keys, None, part.raw()),
        Without::Refused(key) => (&[], Some(key), &[]),
    };
    let told = term::head(update, 0)?;
    let mut changes = SmallVec::<[Change; 8]>::new();
    let mut additions = SmallVec::<[Addition; 4]>::new();
    let mut next = Place { at: known.start, index: 0 };
    let (mut seen, mut searches) = (0u64, 0);
    let mut at = told.end;
    // By the lower bits of their numbers, and so perhaps others with them: keys that are looked at one by one.
    let codes = drop.iter().chain(&refused).filter_map(|key| keys::key(key.as_bytes()));
    let stops = codes.fold(0u64, |bits, code| bits | 1 << (code % 64));
    let mut left = told.children / 2;
    while left > 0 {
        // What is the same, as far as it goes.
        let (told, known_here) = (update.get(at..)?, base.get(next.at..)?);
        let run = run(told, known_here, left.min(known.count - next.index), stops);
        if run.entries > 0 {
            let bits = (u64::MAX >> (64 - run.entries)) << next.index;
            if seen & bits != 0 {
                return None;
            }
            seen |= bits;
            (at, left) = (update.len() - run.told, left - run.entries);
            next = Place { at: base.len() - run.known, index: next.index + run.entries };
            if left == 0 {
                break;
            }
        }
        left -= 1;
        if run.other != 0 {
            let (middle, value, bit) = (at + run.other, next.at + 1, 1 << next.index);
            if seen & bit != 0 {
                return None;
            }
            seen |= bit;
            let change = Change { old: (value, skip(base, value)?), new: (middle, walk::skip(update, middle)?) };
            changes.push(change);
            (at, next) = (change.new.1, Place { at: change.old.1, index: next.index + 1 });
            continue;
        }
        let name = Name::read(update, at)?;
        let middle = at + name.len;
        let named = |key: &&str| key.as_bytes() == name.text;
        if drop.iter().any(named) {
            let value = update.get(middle..)?;
            // Where it begins it also ends, if it is the same: there is one term in these bytes.
            let known = !part.is_empty() && part.as_ptr() == value.as_ptr() && part.len() <= value.len();
            at = if known { middle + part.len() } else { walk::skip(update, middle)? };
            continue;
        }
        if refused.iter().any(named) {
            return None;
        }
        let value = match value_behind(base, next.at, name) {
            Some(value) if next.index < known.count => value,
            _ if whole || searches == SEARCHES_MAX => return None,
            _ => {
                searches += 1;
                match find(base, known, next.index, name) {
                    Some((place, value)) => {
                        next = place;
                        value
                    }
                    None => {
                        let end = walk::skip(update, middle)?;
                        let addition = Addition { key: (at, middle), value: (middle, end) };
                        let same = |other: &Addition| Name::read(update, other.key.0).is_some_and(|other| other.text == name.text);
                        if additions.len() == ADDITIONS_MAX || additions.iter().any(same) {
                            return None;
                        }
                        additions.push(addition);
                        at = end;
                        continue;
                    }
                }
            }
        };
        let bit = 1 << next.index;
        if seen & bit != 0 {
            return None;
        }
        seen |= bit;
        let (end, old_end) = match same(update.get(middle..)?, base.get(value..)?, LEVELS) {
            Some((len, old_len)) => (middle + len, value + old_len),
            None => {
                let (end, old_end) = (walk::skip(update, middle)?, skip(base, value)?);
                changes.push(Change { old: (value, old_end), new: (middle, end) });
                (end, old_end)
            }
        };
        at = end;
        next = Place { at: old_end, index: next.index + 1 };
    }
    // What is left out must not lie in the base either, and does not if all of the base was told.
    let all = seen.count_ones() as usize == known.count;
    if !all && (whole || drop.iter().chain(&refused).any(|name| super::get(base, name).is_some())) {
        return None;
    }
    if changes.is_empty() && additions.is_empty() {
        return Some(Outcome::Same);
    }
    changes.sort_unstable_by_key(|change| change.old.0);
    let before = out.len();
    let written = put(base, known, update, &changes, &additions, out);
    if written.is_none() {
        out.truncate(before);
    }
    written
}

/// The entry of this key, and where its value begins: the first one from a place on, else the first one before it.
#[inline(never)]
fn find(base: &[u8], known: Head, from: usize, name: Name<'_>) -> Option<(Place, usize)> {
    let code = keys::key(name.text).map_or(usize::MAX, usize::from);
    let (mut at, mut index, mut before) = (known.start, 0, None);
    while index < known.count {
        // Nearly all: a key of one byte, and a value whose tag says how long it is.
        let (hit, end) = match *base.get(at..)? {
            [key @ 0..KEY2, tag, ..] if SIZES[usize::from(tag)] != 0 => {
                (if usize::from(key) == code { Some(at + 1) } else { None }, at + 1 + usize::from(SIZES[usize::from(tag)]))
            }
            _ => (value_behind(base, at, name), skip(base, any_key(base, at)?)?),
        };
        if let Some(value) = hit {
            let place = Place { at, index };
            if index >= from {
                return Some((place, value));
            }
            before = before.or(Some((place, value)));
        }
        (at, index) = (end, index + 1);
    }
    before
}

/// Appends the base with these changes.
#[inline(never)]
fn put(base: &[u8], known: Head, update: &[u8], changes: &[Change], additions: &[Addition], out: &mut Vec<u8>) -> Option<Outcome> {
    out.reserve(base.len() + update.len());
    let (head, count) = (out.len(), known.count + additions.len());
    let reserved = put::begin(count, out);
    let mut at = known.start;
    for change in changes {
        out.extend_from_slice(base.get(at..change.old.0)?);
        from_etf(update.get(change.new.0..)?, 1, out).ok()?;
        at = change.old.1;
    }
    out.extend_from_slice(base.get(at..)?);
    for addition in additions {
        let name = Name::read(update, addition.key.0)?.text;
        if !put::known_key(name, out) {
            if !name.is_ascii() || name.len() > 255 {
                return None;
            }
            put::other_key(out);
            put::atom(name, out);
        }
        from_etf(update.get(addition.value.0..)?, 1, out).ok()?;
    }
    put::end(Form::AtomMap, head, reserved, count, out);
    Some(Outcome::Other)
}

/// A key that is an atom.
#[derive(Clone, Copy)]
struct Name<'a> {
    text: &'a [u8],
    key: keys::Key,
    /// Bytes of the whole term.
    len: usize,
}

impl<'a> Name<'a> {
    /// The atom at `at`; `None` for other keys.
    #[inline(always)]
    fn read(etf: &'a [u8], at: usize) -> Option<Name<'a>> {
        let rest = etf.get(at..)?;
        let (start, text_len) = match *rest {
            [term::ATOM, 0, len, ..] => (3, len),
            [term::SMALL_ATOM | term::SMALL_ATOM_UTF8, len, ..] => (2, len),
            _ => return None,
        };
        let len = start + usize::from(text_len);
        let text = rest.get(start..len)?;
        let key = keys::Key::of(text);
        Some(Name { text, key, len })
    }
}

/// Where the value begins whose key is at `at`, if the key is this one.
#[inline(always)]
fn value_behind(base: &[u8], at: usize, name: Name<'_>) -> Option<usize> {
    match *base.get(at)? {
        code @ 0..KEY2 => name.key.is(usize::from(code), name.text).then_some(at + 1),
        high @ KEY2..=KEY2_LAST => name.key.is(long_code(high, *base.get(at + 1)?), name.text).then_some(at + 2),
        KEY_OTHER => other_value_behind(base, at, name.text),
        _ => None,
    }
}

#[inline(never)]
fn other_value_behind(base: &[u8], at: usize, name: &[u8]) -> Option<usize> {
    let end = skip(base, at + 1)?;
    let key = base.get(at + 1..end)?;
    // A key of JSON's lies beside atoms as mere text, and is the same key.
    let text = string(key.strip_prefix(&[ATOM]).unwrap_or(key))?;
    if text == name { Some(end) } else { None }
}

/// Where the value begins of whatever key is at `at`.
#[inline(always)]
fn any_key(base: &[u8], at: usize) -> Option<usize> {
    match *base.get(at)? {
        0..KEY2 => Some(at + 1),
        KEY2..=KEY2_LAST => Some(at + 2),
        KEY_OTHER => skip(base, at + 1),
        _ => None,
    }
}

/// A whole atom of eight bytes, or the first so many of a shorter one, as a number. Atoms with a length of one byte go the way of all else.
const fn atom(text: &[u8]) -> u64 {
    let (mut word, mut at) = (term::ATOM as u64 | (text.len() as u64) << 16, 0);
    while at < text.len() {
        word |= (text[at] as u64) << (24 + 8 * at);
        at += 1;
    }
    word
}

const NIL_ATOM: u64 = atom(b"nil");
const FALSE_ATOM: u64 = atom(b"false");

/// How many entries are the same, and how much is left behind them of what was told and of what is known.
struct Run {
    entries: usize,
    told: usize,
    known: usize,
    /// The length of the key behind them in the update, if the next one is the same key and takes one byte in the base, and has another value;
    /// else 0.
    other: usize,
}

/// Goes over the entries that are the same in the same order, no more than `most`, and have keys of the usual kind and none of `stops`.
#[inline(never)]
fn run(mut told: &[u8], mut known: &[u8], most: usize, stops: u64) -> Run {
    let (mut entries, mut other) = (0, 0);
    while entries < most {
        let Some((&code, old)) = known.split_first() else { break };
        if stops >> (code & 63) & 1 == 1 {
            break;
        }
        if let Some(first) = told.first_chunk()
            && let Some(place) = phrases::may_begin(first)
            && let Some(said) = phrases::same(place, told, known, most - entries, stops)
            && let (Some(told_rest), Some(known_rest)) = (told.get(said.etf..), known.get(said.packed..))
        {
            (told, known) = (told_rest, known_rest);
            entries += said.entries;
            continue;
        }
        let Some(key) = keys::atom_of(told, code) else { break };
        let Some(value) = told.get(key..) else { break };
        // What most fields are, and which needs no call.
        let first = value.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
        let tag = old.first();
        let both = if first & 0xffff_ffff_ffff == NIL_ATOM && tag == Some(&NULL) {
            Some((6, 1))
        } else if first == FALSE_ATOM && tag == Some(&FALSE) {
            Some((8, 1))
        } else {
            same(value, old, LEVELS)
        };
        let Some((Some(told_rest), Some(known_rest))) = both.map(|(len, old_len)| (value.get(len..), old.get(old_len..))) else {
            other = key;
            break;
        };
        (told, known) = (told_rest, known_rest);
        entries += 1;
    }
    Run { entries, told: told.len(), known: known.len(), other }
}

/// How long the ETF term and the packed value in front are, if both say the same. `None` may also mean that nobody looked.
#[inline(never)]
fn same(told: &[u8], known: &[u8], levels: u32) -> Option<(usize, usize)> {
    let tag = *known.first()?;
    match *told {
        [term::BINARY, a, b, c, d, ref rest @ ..] => {
            let len = u32::from_be_bytes([a, b, c, d]) as usize;
            Some((5 + len, same_text(rest.get(..len)?, known, tag)?))
        }
        [term::SMALL_INTEGER, value, ..] => Some((2, same_number(u64::from(value), known, tag)?)),
        [term::SMALL_BIG, 8, 0, a, b, c, d, e, f, g, h, ..] => {
            Some((11, same_number(u64::from_le_bytes([a, b, c, d, e, f, g, h]), known, tag)?))
        }
        [term::INTEGER, a, b, c, d, ..] => Some((5, same_number(u64::try_from(i32::from_be_bytes([a, b, c, d])).ok()?, known, tag)?)),
        [term::NIL, ..] if known.starts_with(&[LIST0, 0]) => Some((1, 2)),
        [term::MAP | term::LIST, ..] if levels > 0 => same_inside(told, known, levels),
        [term::ATOM, 0, 3, b'n', b'i', b'l', ..] if tag == NULL => Some((6, 1)),
        [term::ATOM, 0, 5, b'f', b'a', b'l', b's', b'e', ..] if tag == FALSE => Some((8, 1)),
        [term::ATOM, 0, 4, b't', b'r', b'u', b'e', ..] if tag == TRUE => Some((7, 1)),
        [term::SMALL_ATOM | term::SMALL_ATOM_UTF8, 3, b'n', b'i', b'l', ..] if tag == NULL => Some((5, 1)),
        [term::SMALL_ATOM | term::SMALL_ATOM_UTF8, 5, b'f', b'a', b'l', b's', b'e', ..] if tag == FALSE => Some((7, 1)),
        [term::SMALL_ATOM | term::SMALL_ATOM_UTF8, 4, b't', b'r', b'u', b'e', ..] if tag == TRUE => Some((6, 1)),
        _ => None,
    }
}

/// How long the packed value is, if it is this number.
#[inline(always)]
fn same_number(value: u64, known: &[u8], tag: u8) -> Option<usize> {
    match tag {
        0..STR0 if u64::from(tag) == value => Some(1),
        0xb3..=0xba => {
            let size = usize::from(tag - UINT);
            if uint(known, 1, size)? == value { Some(1 + size) } else { None }
        }
        _ => None,
    }
}

/// How long the packed value is, if it is this text.
#[inline(always)]
fn same_text(told: &[u8], known: &[u8], tag: u8) -> Option<usize> {
    let (len, alike) = match tag {
        STR0..MAP0 => {
            let len = 1 + usize::from(tag - STR0);
            (len, known.get(1..len)? == told)
        }
        WORD => (2, keys::WORDS.get(usize::from(*known.get(1)?))?.as_bytes() == told),
        HASH => (17, text::hash(told.try_into().ok()?)? == *known.get(1..)?.first_chunk()?),
        ANIMATED_HASH => (17, text::hash(told.strip_prefix(b"a_")?.try_into().ok()?)? == *known.get(1..)?.first_chunk()?),
        TIME0..=TIME_LAST => {
            let size = usize::from(Time::bytes(tag - TIME0));
            let time = Time::parse(told)?;
            (1 + size, time.form == tag - TIME0 && time.count == uint(known, 1, size)?)
        }
        0xc3..=0xca => {
            let size = usize::from(tag - DECIMAL);
            (1 + size, text::decimal(told)? == uint(known, 1, size)?)
        }
        STR8 | STR16 | STR32 => {
            let end = skip(known, 0)?;
            (end, string(known.get(..end)?)? == told)
        }
        _ => return None,
    };
    if alike { Some(len) } else { None }
}

/// The same for maps, whose entries have one order then, and for lists.
#[inline(never)]
fn same_inside(told: &[u8], known: &[u8], levels: u32) -> Option<(usize, usize)> {
    let (open, lying) = (term::head(told, 0)?, head(known, 0)?);
    let (mut at, mut place) = (open.end, lying.start);
    let known = known.get(..lying.end)?;
    if lying.form == Form::List {
        // The tail is one of the terms.
        if told.first() != Some(&term::LIST) || open.children != lying.count + 1 {
            return None;
        }
        for _ in 0..lying.count {
            let (len, known_len) = same(told.get(at..)?, known.get(place..)?, levels - 1)?;
            (at, place) = (at + len, place + known_len);
        }
        if told.get(at) != Some(&term::NIL) {
            return None;
        }
        at += 1;
    } else {
        // Without entries none is an atom.
        let atoms = lying.form == Form::AtomMap || lying.count == 0;
        if told.first() != Some(&term::MAP) || open.children != 2 * lying.count || !atoms {
            return None;
        }
        for _ in 0..lying.count {
            let name = Name::read(told, at)?;
            let value = value_behind(known, place, name)?;
            let middle = at + name.len;
            let (len, known_len) = same(told.get(middle..)?, known.get(value..)?, levels - 1)?;
            (at, place) = (middle + len, value + known_len);
        }
    }
    if place == lying.end { Some((at, place)) } else { None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::edit;
    use super::*;
    use crate::{EtfWriter, Ids, TermWrite, transcode};

    /// Numbers that look random, the same in every run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % n
        }
    }

    const KEYS: [&str; 12] = [
        "id",
        "nick",
        "roles",
        "user",
        "avatar",
        "joined_at",
        "communication_disabled_until",
        "flags",
        "an odd key",
        "another key that nobody knows of",
        "guild_id",
        "unusual_dm_activity_until",
    ];
    const TEXTS: [&str; 12] = [
        "",
        "x",
        "idle",
        "7",
        "77",
        "077",
        "2023-04-11T09:33:12.529000+00:00",
        "2023-04-11T09:33:12.529Z",
        "b9c1b3a0a4bb71b9cbd1ab7e5d32e7a4",
        "a_b9c1b3a0a4bb71b9cbd1ab7e5d32e7a4",
        "somewhat longer than sixty-three bytes, which is where the short form of a text ends",
        "naïve 😀",
    ];

    fn value(numbers: &mut Numbers, levels: u64, out: &mut EtfWriter) {
        match numbers.below(if levels == 0 { 9 } else { 12 }) {
            0 => out.null(),
            1 => out.bool(numbers.below(2) == 0),
            2 => out.int(numbers.below(300) as i64),
            3 => out.int(-(numbers.below(300) as i64)),
            4 => out.uint(1 << numbers.below(64)),
            5 => out.id((1 << 60) + numbers.below(3)),
            6 => out.float(numbers.below(5) as f64 / 4.0),
            7 | 8 => out.str(TEXTS[numbers.below(12) as usize]),
            9 => {
                out.begin_list(0);
                for _ in 0..numbers.below(4) {
                    value(numbers, levels - 1, out);
                }
                out.end_list();
            }
            _ => map(numbers, levels - 1, 4, out),
        }
    }

    fn map(numbers: &mut Numbers, levels: u64, entries: u64, out: &mut EtfWriter) {
        out.begin_map(0);
        let (first, step) = (numbers.below(12), [1, 5, 7][numbers.below(3) as usize]);
        for n in 0..numbers.below(entries) {
            out.key(KEYS[((first + n * step) % 12) as usize]);
            value(numbers, levels, out);
        }
        out.end_map();
    }

    fn etf(write: impl FnOnce(&mut EtfWriter)) -> Vec<u8> {
        let mut out = EtfWriter::term().with_atom_keys().with_ids(Ids::Integers);
        write(&mut out);
        out.into_vec()
    }

    fn packed(etf: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        transcode(Value::from_raw(Encoding::Etf, etf), Encoding::Packed, &mut out).unwrap();
        out
    }

    /// The base's entries, each of them perhaps left out, changed, or followed by another one.
    fn like(numbers: &mut Numbers, base: &[u8]) -> Vec<u8> {
        etf(|out| {
            out.begin_map(0);
            let mut used: Vec<String> = Vec::new();
            for (key, old) in Value::from_raw(Encoding::Etf, base).entries() {
                let name = key.as_str().unwrap().into_owned();
                if numbers.below(12) == 0 {
                    let new = KEYS[numbers.below(12) as usize];
                    if !used.iter().any(|name| name == new) {
                        out.key(new);
                        value(numbers, 2, out);
                        used.push(new.to_owned());
                    }
                }
                if used.contains(&name) || numbers.below(12) == 0 {
                    continue;
                }
                out.key(&name);
                if numbers.below(6) == 0 {
                    value(numbers, 2, out)
                } else {
                    out.value(old).unwrap()
                }
                used.push(name);
            }
            out.end_map();
        })
    }

    #[test]
    fn comparing_in_place_gives_what_packing_and_merging_gives() {
        let mut numbers = Numbers(5);
        let mut counts = [0; 6];
        for _ in 0..60_000 {
            let base_etf = etf(|out| map(&mut numbers, 3, 12, out));
            let update = if numbers.below(5) == 0 { etf(|out| map(&mut numbers, 3, 12, out)) } else { like(&mut numbers, &base_etf) };
            let base = packed(&base_etf);
            let all: &[&[&str]] = &[&[], &["user"], &["an odd key", "id"]];
            let drop = all[numbers.below(3) as usize];
            let (base, told) = (Value::from_raw(Encoding::Packed, &base), Value::from_raw(Encoding::Etf, &update));
            let plain = packed(&update);
            let plain = Value::from_raw(Encoding::Packed, &plain);
            let mut out = Vec::new();
            if merge(base, told, Without::Refused("user"), &mut out).is_some() {
                assert!(base.get("user").is_none() && told.get("user").is_none());
            }
            let (mut merged, mut replaced) = (Vec::new(), Vec::new());
            edit::merged(base, plain, drop, &mut merged).unwrap();
            edit::without_keys(plain, drop, &mut replaced).unwrap();
            for (way, wanted, first) in [(merge as fn(_, _, _, &mut Vec<u8>) -> _, merged, 0), (replace, replaced, 3)] {
                let mut out = vec![7];
                let kind = match way(base, told, Without::Keys(drop), &mut out) {
                    None => 0,
                    Some(Outcome::Same) => {
                        assert!(wanted == base.raw() && out == [7], "{update:?} over {base_etf:?}");
                        1
                    }
                    Some(Outcome::Other) => {
                        assert!(out[1..] == wanted, "{update:?} over {base_etf:?}");
                        2
                    }
                };
                counts[kind + first] += 1;
            }
        }
        assert!(counts.iter().all(|count| *count > 2_000), "{counts:?}");
    }

    #[test]
    fn a_key_is_the_same_one_whether_it_lies_or_comes_as_text_or_as_either_kind_of_atom() {
        let first = packed(&etf(|out| map_of(out, &[("id", 1)])));
        let from_json = Value::from_raw(Encoding::Json, br#"{"new_field":1}"#);
        let mut mixed = Vec::new();
        edit::merged(Value::from_raw(Encoding::Packed, &first), from_json, &[], &mut mixed).unwrap();
        let base = Value::from_raw(Encoding::Packed, &mixed);
        let told = etf(|out| map_of(out, &[("new_field", 2)]));
        let (mut out, mut wanted) = (Vec::new(), Vec::new());
        let told = Value::from_raw(Encoding::Etf, &told);
        assert_eq!(merge(base, told, Without::Keys(&[]), &mut out), Some(Outcome::Other));
        let merged = Value::from_raw(Encoding::Packed, &out);
        assert_eq!((merged.len(), merged.get("new_field").and_then(Value::as_u64)), (2, Some(2)));

        // `nick` twice, as ATOM_EXT and as SMALL_ATOM_UTF8_EXT: left to what merges anything.
        let twice = [&[term::MAP, 0, 0, 0, 2, 100, 0, 4][..], b"nick", &[97, 1, 119, 4], b"nick", &[97, 2]].concat();
        let (base, told) = (Value::from_raw(Encoding::Packed, &first), Value::from_raw(Encoding::Etf, &twice));
        assert_eq!(merge(base, told, Without::Keys(&[]), &mut wanted), None);
    }

    fn map_of(out: &mut EtfWriter, entries: &[(&str, u64)]) {
        out.begin_map(entries.len());
        for (key, value) in entries {
            out.key(key);
            out.uint(*value);
        }
        out.end_map();
    }

    #[test]
    fn what_is_told_again_unchanged_is_seen_to_be_the_same() {
        let mut numbers = Numbers(9);
        for _ in 0..20_000 {
            let told = etf(|out| map(&mut numbers, 2, 12, out));
            let base = packed(&told);
            let (base, told) = (Value::from_raw(Encoding::Packed, &base), Value::from_raw(Encoding::Etf, &told));
            if base.raw()[0] & 0xf0 == super::super::ATOM_MAP0 && !told.raw().contains(&term::NEW_FLOAT) {
                let negative = told.raw().windows(2).any(|pair| pair == [term::INTEGER, 255]);
                let mut out = Vec::new();
                let same = replace(base, told, Without::Keys(&[]), &mut out) == Some(Outcome::Same);
                assert!(same || negative || told.raw().contains(&term::SMALL_BIG), "{:?}", told.raw());
            }
        }
    }

    #[test]
    fn a_field_put_behind_the_others_takes_exactly_its_room() {
        let mut numbers = Numbers(3);
        for _ in 0..3_000 {
            let base = packed(&etf(|out| map(&mut numbers, 3, 12, out)));
            let value = packed(&etf(|out| value(&mut numbers, 3, out)));
            let (base, value) = (Value::from_raw(Encoding::Packed, &base), Value::from_raw(Encoding::Packed, &value));
            let mut wanted = Vec::new();
            edit::with_field(base, "member", value, &mut wanted).unwrap();
            let last = |base: &[u8], key| {
                let base = Value::from_raw(Encoding::Packed, base);
                let (mut out, mut more) = (Vec::new(), b"before".to_vec());
                let [put, behind] = [&mut out, &mut more].map(|out| with_last(base, key, value, out));
                assert_eq!((put, &more), (behind, &[b"before", &out[..]].concat()));
                put.map(|()| out)
            };
            if let Some(got) = last(base.raw(), "member") {
                assert_eq!((got.len(), &got), (got.capacity(), &wanted));
                assert_eq!(last(&got, "member"), None);
            } else {
                assert!(base.is_empty());
            }
            assert_eq!(last(base.raw(), "an odd key"), None);
        }
    }

    #[test]
    fn no_damage_to_either_side_makes_it_panic() {
        let mut numbers = Numbers(11);
        for _ in 0..40_000 {
            let mut told = etf(|out| map(&mut numbers, 3, 12, out));
            let mut base = packed(&told);
            for bytes in [&mut told, &mut base] {
                for _ in 0..numbers.below(3) {
                    let at = numbers.below(bytes.len() as u64) as usize;
                    bytes[at] = numbers.below(256) as u8;
                }
                bytes.truncate(1 + numbers.below(2 * bytes.len() as u64) as usize);
            }
            let (base, told) = (Value::from_raw(Encoding::Packed, &base), Value::from_raw(Encoding::Etf, &told));
            for way in [merge, replace] {
                let mut out = vec![7];
                if way(base, told, Without::Refused("user"), &mut out) != Some(Outcome::Other) {
                    assert_eq!(out, [7]);
                }
            }
        }
    }

    #[test]
    fn an_update_in_a_wild_order_is_left_to_others() {
        let map = |keys: &mut dyn Iterator<Item = u64>| {
            etf(|out| {
                out.begin_map(0);
                for key in keys {
                    out.key(&format!("k{key}"));
                    out.uint(key);
                }
                out.end_map();
            })
        };
        let within = |many: u64| {
            let (base, told) = (packed(&map(&mut (0..many))), map(&mut (0..many).rev()));
            merge(Value::from_raw(Encoding::Packed, &base), Value::from_raw(Encoding::Etf, &told), Without::Keys(&[]), &mut Vec::new())
        };
        assert_eq!(within(SEARCHES_MAX as u64), Some(Outcome::Same));
        assert_eq!(within(SEARCHES_MAX as u64 + 2), None);
        assert_eq!(within(ENTRIES_MAX as u64 + 1), None);
    }
}
