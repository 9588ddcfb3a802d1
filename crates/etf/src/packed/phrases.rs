//! Runs of entries that say nothing, remembered as bytes: what is not set is a third of what Discord sends of people, roles and channels, and
//! it is the same in all of them, byte for byte. Such a run is read with one comparison in what is packed, compared, or looked through.
//!
//! A phrase is three entries of a map or more, one behind the other: each an atom that is a known key of one byte, and nil, false, 0 or an
//! empty list. The first one is nil or false. Which ones there are is learned from what is packed, each thread by itself, and has no effect but
//! on time: a phrase counts only where all its bytes are found, and then it says what its terms say, which are whole and hold no others.
//!
//! Invariants: what is kept has a fixed size, whatever is sent; looking for what to learn takes a small part of the time of packing.

use std::cell::{Cell, RefCell};

use super::from_etf::{quick_key, quick_value};
use super::put::EMPTY_LIST;
use super::{FALSE, NULL, keys};
use crate::names::Word;
use crate::{term, walk};

/// Longest phrase, as ETF and packed.
const ETF_MAX: usize = 256;
pub(super) const PACKED_MAX: usize = 48;
/// Entries that make it worth looking for.
const ENTRIES_MIN: u8 = 3;
/// How many are remembered; two that begin alike share a place.
const PLACES: usize = 32;
/// Bytes of a map that are looked at for phrases: all of a person, and little enough of anything.
const LEARN_BYTES: usize = 2048;
/// Maps between two that are looked at, while something new was found, and when nothing was for long.
const STEP_MIN: u32 = 4;
const STEP_MAX: u32 = 256;

struct Phrase {
    etf: [u8; ETF_MAX],
    packed: [u8; PACKED_MAX],
    etf_len: u16,
    packed_len: u8,
    entries: u8,
    /// The number of the last key.
    key: u8,
    /// A bit for each key, several of which may share one: see [`name`], and the same by the lower bits of their numbers.
    names: u64,
    codes: u64,
}

const NO_PHRASE: Phrase =
    Phrase { etf: [0; ETF_MAX], packed: [0; PACKED_MAX], etf_len: 0, packed_len: 0, entries: 0, key: 0, names: 0, codes: 0 };

/// When to look for phrases again.
#[derive(Clone, Copy)]
struct Pace {
    left: u32,
    step: u32,
    /// Numbers without a pattern: maps come in turns.
    dice: u32,
}

thread_local! {
    /// The first bytes of each, and so whether it may be there at all; 0 where there is none.
    static FIRST: [Cell<First>; PLACES] = const { [const { Cell::new([0; 2]) }; PLACES] };
    /// Whether it was found since something else wanted its place.
    static FOUND: [Cell<bool>; PLACES] = const { [const { Cell::new(false) }; PLACES] };
    static PHRASES: RefCell<[Phrase; PLACES]> = const { RefCell::new([NO_PHRASE; PLACES]) };
    static PACE: Cell<Pace> = const { Cell::new(Pace { left: 0, step: STEP_MIN, dice: 1 }) };
}

/// The first bytes of a phrase, as many as it has at least, as numbers: a key that is short and what its value is, or most of a long key.
type First = [u64; 2];
pub(crate) const FIRST_BYTES: usize = 16;

#[inline(always)]
fn first_of(bytes: &[u8; FIRST_BYTES]) -> First {
    let [a, b, c, d, e, f, g, h, rest @ ..] = *bytes;
    [u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes(rest)]
}

#[inline(always)]
fn place([first, more]: First) -> usize {
    ((first ^ more.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - PLACES.ilog2())) as usize
}

/// The bit of a key.
#[inline(always)]
pub(crate) fn name(word: Word) -> u64 {
    1 << ((word.first ^ word.last ^ word.len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

/// The place of the phrase that may begin with these bytes.
#[inline(always)]
pub(crate) fn may_begin(bytes: &[u8; FIRST_BYTES]) -> Option<usize> {
    let first = first_of(bytes);
    let place = place(first);
    FIRST.with(|all| all.get(place).is_some_and(|known| known.get() == first)).then_some(place)
}

/// How long a phrase is that is in front, and how many entries.
#[derive(Clone, Copy)]
pub(crate) struct Said {
    pub(crate) etf: usize,
    pub(crate) packed: usize,
    pub(crate) entries: usize,
    /// The number of the last key.
    pub(crate) key: u8,
}

/// The phrase of this place if it is in front, has no more than `most` entries, and `is` it.
#[inline(always)]
fn said(place: usize, etf: &[u8], most: usize, is: impl FnOnce(&Phrase) -> bool) -> Option<Said> {
    PHRASES.with(|phrases| {
        let phrases = phrases.try_borrow().ok()?;
        let phrase = phrases.get(place)?;
        let len = usize::from(phrase.etf_len);
        // A place where there is none: bytes that are all 0 come by it.
        if phrase.entries == 0 {
            return None;
        }
        if usize::from(phrase.entries) > most || etf.get(..len)? != phrase.etf.get(..len)? || !is(phrase) {
            return None;
        }
        FOUND.with(|found| found.get(place).map(|found| found.set(true)));
        Some(Said { etf: len, packed: usize::from(phrase.packed_len), entries: usize::from(phrase.entries), key: phrase.key })
    })
}

/// The phrase in front, packed at the start of some room.
#[inline(never)]
pub(super) fn pack(place: usize, etf: &[u8], most: usize, room: &mut [u8; PACKED_MAX]) -> Option<Said> {
    said(place, etf, most, |phrase| {
        *room = phrase.packed;
        true
    })
}

/// The phrase in front, if the packed entries in front of `known` say the same, and no number of a key has its lower six bits in `stops`.
#[inline(never)]
pub(super) fn same(place: usize, etf: &[u8], known: &[u8], most: usize, stops: u64) -> Option<Said> {
    let same = |phrase: &Phrase| phrase.packed.get(..usize::from(phrase.packed_len)).is_some_and(|packed| known.starts_with(packed));
    said(place, etf, most, |phrase| phrase.codes & stops == 0 && same(phrase))
}

/// The phrase in front, unless it may have a key of `names`.
#[inline(never)]
pub(crate) fn skip(place: usize, etf: &[u8], most: usize, names: u64) -> Option<Said> {
    said(place, etf, most, |phrase| phrase.names & names == 0)
}

/// To be called for each map with so many entries that is packed: looks at one of them every so often.
#[inline(always)]
pub(super) fn learn(entries: &[u8], count: usize) {
    let pace = PACE.get();
    if pace.left == 0 {
        learn_from(entries, count, pace);
    } else {
        PACE.set(Pace { left: pace.left - 1, ..pace });
    }
}

#[cold]
#[inline(never)]
fn learn_from(entries: &[u8], count: usize, mut pace: Pace) {
    let new = count >= usize::from(ENTRIES_MIN) && look(entries.get(..LEARN_BYTES).unwrap_or(entries), count) == Some(true);
    pace.step = if new { STEP_MIN } else { (2 * pace.step).min(STEP_MAX) };
    pace.dice = pace.dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    pace.left = pace.step + (pace.dice >> 16) % pace.step;
    PACE.set(pace);
}

/// Remembers the phrases in these entries; whether there was a new one. `None` where something cannot be read, or is cut off.
fn look(mut rest: &[u8], count: usize) -> Option<bool> {
    let (mut run, mut start, mut new) = (NO_PHRASE, rest, false);
    for _ in 0..count {
        let entry = quick_entry(rest);
        if let Some((code, packed, behind)) = entry {
            let first = matches!(packed, &[NULL | FALSE]);
            if run.entries != 0 && !run.add(code, packed, start, behind) {
                new |= run.keep(start);
                run = NO_PHRASE;
            }
            if run.entries == 0 && first {
                start = rest;
                run.add(code, packed, start, behind);
            }
            rest = behind;
            continue;
        }
        new |= run.keep(start);
        run = NO_PHRASE;
        let middle = walk::skip(rest, 0)?;
        rest = rest.get(walk::skip(rest, middle)?..)?;
    }
    Some(run.keep(start) | new)
}

/// An entry that a phrase may have: its key, its value as it is packed, and what lies behind.
fn quick_entry(rest: &[u8]) -> Option<(u8, &'static [u8], &[u8])> {
    let (code, value) = quick_key(rest).filter(|(code, _)| usize::from(*code) < keys::SHORT)?;
    let mut room = [0; _];
    let (read, written) = quick_value(value, &mut room);
    let packed: &[u8] = match room.get(..written)? {
        [NULL] => &[NULL],
        [FALSE] => &[FALSE],
        [0] => &[0],
        packed if packed == EMPTY_LIST => &EMPTY_LIST,
        _ => return None,
    };
    Some((code as u8, packed, value.get(read..).filter(|_| read != 0)?))
}

impl Phrase {
    /// Takes in one more entry, behind which `behind` is what is left of what began with `start`; `false` where there is no room for it.
    fn add(&mut self, code: u8, packed: &[u8], start: &[u8], behind: &[u8]) -> bool {
        let (etf_len, at) = (start.len() - behind.len(), usize::from(self.packed_len));
        let Some([key, room @ ..]) = self.packed.get_mut(at..at + 1 + packed.len()) else { return false };
        if etf_len > ETF_MAX {
            return false;
        }
        *key = code;
        room.copy_from_slice(packed);
        (self.etf_len, self.packed_len, self.entries, self.key) = (etf_len as u16, (at + 1 + packed.len()) as u8, self.entries + 1, code);
        self.codes |= 1 << (code & 63);
        self.names |= keys::KEYS.get(usize::from(code)).and_then(|key| Word::of(key.as_bytes())).map_or(0, name);
        true
    }

    /// Remembers it, if it is worth it and not known; whether it was so.
    fn keep(mut self, start: &[u8]) -> bool {
        let len = usize::from(self.etf_len);
        let (Some(etf), Some(first)) = (start.get(..len), start.first_chunk()) else { return false };
        if self.entries < ENTRIES_MIN {
            return false;
        }
        let first = first_of(first);
        let place = place(first);
        PHRASES.with(|phrases| {
            let mut phrases = phrases.borrow_mut();
            let Some(known) = phrases.get_mut(place) else { return false };
            if known.etf.get(..usize::from(known.etf_len)) == Some(etf) {
                return false;
            }
            // What is there and is of use has a second chance, and a third one.
            if FOUND.with(|found| found.get(place).is_some_and(|found| found.replace(false))) {
                return false;
            }
            if let Some(room) = self.etf.get_mut(..len) {
                room.copy_from_slice(etf);
            }
            *known = self;
            FIRST.with(|all| all.get(place).map(|known| known.set(first)));
            true
        })
    }
}

const _: () = assert!(term::ATOM != 0, "no phrase begins with 0");

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::packed::update::{Outcome, Without, merge, replace};
    use crate::{DEPTH_MAX, Encoding, Error, Value, transcode};

    #[test]
    fn bytes_that_are_all_0_are_no_phrase_and_end() {
        // Unchecked bytes: a checked frame has none of them.
        let zeros = |head: &[u8]| [head, &[0; 32]].concat();
        let entry = |key: &str, value: &[u8], out: &mut Vec<u8>| {
            atom(term::ATOM, key, out);
            out.extend_from_slice(value);
        };
        let (five, nil) = ([term::SMALL_INTEGER, 5], b"d\0\x03nil");
        let mut map = vec![term::MAP, 0, 0, 0, 2];
        entry("id", &five, &mut map);
        let damaged = zeros(&map);
        entry("nick", nil, &mut map);
        let mut base = Vec::new();
        transcode(Value::from_raw(Encoding::Etf, &map), Encoding::Packed, &mut base).unwrap();
        let base = Value::from_raw(Encoding::Packed, &base);
        let told = Value::from_raw(Encoding::Etf, &damaged);
        for way in [merge, replace] {
            assert_eq!(way(base, told, Without::Keys(&[]), &mut Vec::new()), None);
        }
        let under = |keys: &[&str], rest: &[u8]| {
            let mut map = vec![term::MAP, 0, 0, 0, 1];
            atom(term::ATOM, "user", &mut map);
            map.extend([term::MAP, 0, 0, 0, 6]);
            entry("id", &five, &mut map);
            keys.iter().for_each(|key| entry(key, nil, &mut map));
            map.extend_from_slice(rest);
            map
        };
        let mut name = Vec::new();
        entry("name", &five, &mut name);
        let whole = under(&["avatar", "banner", "nick", "mute"], &name);
        for _ in 0..2_000 {
            transcode(Value::from_raw(Encoding::Etf, &whole), Encoding::Packed, &mut Vec::new()).unwrap();
        }
        let damaged = under(&[], &[0; 64]);
        assert!(transcode(Value::from_raw(Encoding::Etf, &damaged), Encoding::Packed, &mut Vec::new()).is_err());
    }

    /// Numbers that look random, the same in every run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, n: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % n
        }
    }

    const KEYS: [&str; 12] = [
        "id",
        "premium_since",
        "avatar",
        "banner",
        "communication_disabled_until",
        "pending",
        "mute",
        "flags",
        "roles",
        "avatar_decoration_data",
        "hoist",
        "an odd key",
    ];

    fn atom(tag: u8, name: &str, out: &mut Vec<u8>) {
        out.extend(if tag == term::ATOM { vec![tag, 0, name.len() as u8] } else { vec![tag, name.len() as u8] });
        out.extend(name.as_bytes());
    }

    /// A map like those that Discord sends: most of its fields say nothing.
    fn map(numbers: &mut Numbers, tag: u8, levels: usize, out: &mut Vec<u8>) {
        out.extend([term::MAP, 0, 0, 0, KEYS.len() as u8]);
        for key in KEYS {
            atom(tag, key, out);
            match (key, numbers.below(40)) {
                ("id", _) => out.extend([term::SMALL_BIG, 8, 0, 1, 2, 3, 4, 5, 6, numbers.below(3) as u8, 8]),
                (_, 0) => out.extend(b"m\0\0\0\x02hi"),
                (_, 1) => atom(tag, "true", out),
                (_, 2) if levels > 0 => map(numbers, tag, levels - 1, out),
                ("flags", _) => out.extend([term::SMALL_INTEGER, 0]),
                ("roles", _) => out.push(term::NIL),
                ("pending" | "mute" | "hoist", _) => atom(tag, "false", out),
                _ => atom(tag, "nil", out),
            }
        }
    }

    #[derive(PartialEq, Debug)]
    struct Answers {
        packed: Result<Vec<u8>, Error>,
        end: Result<usize, Error>,
        skipped: Option<usize>,
        found: [Option<Vec<u8>>; 3],
        each: Vec<[Option<Vec<u8>>; 3]>,
        updates: Vec<(Option<Outcome>, Vec<u8>)>,
    }

    /// All that phrases have a part in, of any bytes, and of a packed object that they tell of.
    fn answers(bytes: &[u8], base: &[u8]) -> Answers {
        const WANTED: [&str; 3] = ["mute", "hoist", "id"];
        let own = |found: [Option<Value<'_>>; 3]| found.map(|value| value.map(|value| value.raw().to_vec()));
        let value = Value::from_raw(Encoding::Etf, bytes);
        let mut packed = Vec::new();
        let packed = transcode(value, Encoding::Packed, &mut packed).map(|_| packed);
        let list = [&[term::LIST, 0, 0, 0, 2], bytes, bytes, &[term::NIL]].concat();
        let mut each = Vec::new();
        Value::from_raw(Encoding::Etf, &list).each_get_all(WANTED, |found| each.push(own(found)));
        let updates = [(merge as fn(_, _, _, &mut Vec<u8>) -> _, Without::Keys(&[])), (replace, Without::Keys(&["mute"]))];
        let updates = updates.map(|(way, without)| {
            let mut out = Vec::new();
            (way(Value::from_raw(Encoding::Packed, base), value, without, &mut out), out)
        });
        Answers {
            packed,
            end: walk::check(bytes, 0, 0, DEPTH_MAX),
            skipped: walk::skip(bytes, 0),
            found: own(value.get_all(WANTED)),
            each,
            updates: updates.into(),
        }
    }

    /// The same where nothing was learned, and nothing is.
    fn plainly(bytes: &[u8], base: &[u8]) -> Answers {
        let known = FIRST.with(|all| all.each_ref().map(|first| first.replace([0; 2])));
        let pace = PACE.replace(Pace { left: u32::MAX, ..PACE.get() });
        let answers = answers(bytes, base);
        PACE.set(pace);
        FIRST.with(|all| all.iter().zip(known).for_each(|(first, known)| first.set(known)));
        answers
    }

    #[test]
    fn what_was_learned_changes_no_answer_whatever_the_bytes() {
        let mut numbers = Numbers(3);
        for tag in [term::ATOM, term::SMALL_ATOM_UTF8] {
            let (mut seen, mut base) = (0, Vec::new());
            for round in 0..600 {
                let mut bytes = Vec::new();
                map(&mut numbers, tag, 2, &mut bytes);
                let learned = answers(&bytes, &base);
                seen += FOUND.with(|found| found.iter().filter(|found| found.get()).count());
                if round % 4 == 0 {
                    assert_eq!(learned, plainly(&bytes, &base), "{bytes:?}");
                    let cut = &bytes[..numbers.below(bytes.len())];
                    assert_eq!(answers(cut, &base), plainly(cut, &base), "{cut:?}");
                    let mut other = bytes.clone();
                    other[numbers.below(bytes.len())] = b"dwsmabnjFktlih\0\x01\x02\xff"[numbers.below(18)];
                    assert_eq!(answers(&other, &base), plainly(&other, &base), "{other:?}");
                    // Fewer entries than there are, and as many as there can be.
                    other.clone_from(&bytes);
                    other[4] = numbers.below(14) as u8;
                    assert_eq!(answers(&other, &base), plainly(&other, &base), "{other:?}");
                }
                base = learned.packed.unwrap();
            }
            assert!(seen > 1_000, "phrases were found {seen} times only");
        }
    }

    #[test]
    fn at_every_byte_where_it_is_cut_off_or_another_one_a_phrase_is_none() {
        let mut bytes = Vec::new();
        // None of the odd values.
        map(&mut Numbers(5), term::ATOM, 0, &mut bytes);
        let base = answers(&bytes, &[]).packed.unwrap();
        (0..2_000).for_each(|_| drop(answers(&bytes, &base)));
        let first = bytes.windows(3).position(|window| window == b"pre").unwrap() - 3;
        assert!(may_begin(bytes[first..].first_chunk().unwrap()).is_some());
        for at in 0..bytes.len() {
            assert_eq!(answers(&bytes[..at], &base), plainly(&bytes[..at], &base), "{at}");
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(answers(&other, &base), plainly(&other, &base), "{at}");
            let mut known = base.clone();
            if let Some(byte) = known.get_mut(at) {
                *byte ^= 1;
                assert_eq!(answers(&bytes, &known), plainly(&bytes, &known), "{at}");
            }
        }
    }

    #[test]
    fn what_is_remembered_stays_within_its_room() {
        let long: Vec<&str> = keys::KEYS.iter().take(keys::SHORT).copied().collect();
        for round in 0..keys::SHORT {
            let mut bytes = vec![term::MAP, 0, 0, 0, long.len() as u8];
            for at in 0..long.len() {
                atom(term::ATOM, long[(at * 7 + round) % long.len()], &mut bytes);
                atom(term::ATOM, "nil", &mut bytes);
            }
            let want = plainly(&bytes, &[]);
            (0..3).for_each(|_| assert_eq!(answers(&bytes, &[]), want));
        }
        PHRASES.with(|phrases| {
            let all = phrases.borrow();
            assert!(all.iter().any(|phrase| phrase.entries >= ENTRIES_MIN));
            assert!(all.iter().all(|phrase| usize::from(phrase.etf_len) <= ETF_MAX && usize::from(phrase.packed_len) <= PACKED_MAX));
        });
    }
}
