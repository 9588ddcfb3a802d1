//! Walks over ETF terms without recursion: with every check (`check`), and over bytes that were checked before (`skip`).
//!
//! Both are one loop, `run`, which counts the terms still to come and nothing else: a term that opens others adds theirs. It asks the
//! most frequent tags first, atoms before all, because most of what Discord sends is keys; how long the loop takes is mostly how
//! long it takes to know where the next term begins, so every length is read on its own path and none through a table.
//!
//! Depth is checked without keeping levels: terms that hold no more than `n` containers lie no deeper than `n` levels. Where there
//! are more, and wherever anything is wrong, `check` asks again with a stack of levels of fixed size, which knows the exact depth
//! and the exact place of an error. So errors are slow and sound events are fast.
//!
//! On bytes that were never checked `skip` may give any end inside of them, or `None`; it neither panics nor reads past the slice.

use std::ops::Range;

use crate::DEPTH_MAX;
use crate::error::{Error, ErrorKind};
use crate::names::{Names, Word};
use crate::packed::phrases;
use crate::term;
use crate::value::{Encoding, Value};

/// What is enough bytes for the head of any frequent term: with so many left, one comparison of lengths serves all of them.
const HEAD_BYTES: usize = 8;
/// The same for a key: its head and the first 8 bytes of its text.
const KEY_BYTES: usize = 16;

#[inline(always)]
fn be32(head: &[u8; HEAD_BYTES]) -> usize {
    u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize
}

/// The length of `nil` and `false` as Discord writes them, which are every third value. Where the next term lies is then foretold together with
/// the branch, and the processor need not wait until a length is read. Not so if the length were chosen without a branch: hence the cold paths.
#[inline(always)]
fn constant(head: &[u8; HEAD_BYTES]) -> Option<usize> {
    let word = u64::from_le_bytes(*head);
    if word & 0xffff_ffff_ffff == NIL {
        std::hint::cold_path();
        Some(6)
    } else if word == FALSE {
        std::hint::cold_path();
        Some(8)
    } else {
        None
    }
}

const NIL: u64 = u64::from_le_bytes(*b"d\0\x03nil\0\0");
const FALSE: u64 = u64::from_le_bytes(*b"d\0\x05false");

/// Where the term at `at` ends, after checking it and all that is inside. `depth` is how deep the term itself lies.
#[inline(always)]
pub(crate) fn check(bytes: &[u8], at: usize, depth: u32, depth_max: u32) -> Result<usize, Error> {
    match scalar_end(bytes, at) {
        Some(end) => Ok(end),
        None => match run(bytes, at, levels_left(depth, depth_max)) {
            Some(end) => Ok(end),
            None => check_exactly(bytes, at, depth, depth_max),
        },
    }
}

/// Where the term at `at` ends, for bytes that were checked before. `None` if they were not and something is wrong.
#[inline(always)]
pub(crate) fn skip(bytes: &[u8], at: usize) -> Option<usize> {
    match scalar_end(bytes, at) {
        Some(end) => Some(end),
        None => run(bytes, at, usize::MAX),
    }
}

/// The length that a term of the frequent kinds that hold no others says it has, if it is one. Whether so many bytes are there is
/// the caller's business.
#[inline(always)]
fn scalar(rest: &[u8]) -> Option<usize> {
    let head = rest.first_chunk::<HEAD_BYTES>()?;
    if head[0] == term::ATOM && head[1] == 0 {
        return Some(3 + usize::from(head[2]));
    }
    Some(match head[0] {
        term::SMALL_ATOM | term::SMALL_ATOM_UTF8 => 2 + usize::from(head[1]),
        term::BINARY => 5 + be32(head),
        term::SMALL_BIG if head[2] <= 1 => 3 + usize::from(head[1]),
        term::SMALL_INTEGER => 2,
        term::INTEGER => 5,
        term::NIL => 1,
        _ => return None,
    })
}

/// The end of the term at `at`, if it is whole and [`scalar`] knows it.
#[inline(always)]
fn scalar_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let len = scalar(rest)?;
    if len <= rest.len() { Some(at + len) } else { None }
}

/// Where the term at `at` ends. `None`: it is not sound, or it holds more than `containers` containers, itself included.
#[inline(never)]
fn run(bytes: &[u8], mut at: usize, mut containers: usize) -> Option<usize> {
    // Terms still to come. Each takes at least a byte, so a count of more than there are ends the walk at the end of the bytes. In
    // checked documents sums cannot overflow (a container takes 5 bytes and adds less than 2^33 terms); in others a wrong sum could
    // only end the walk early.
    let mut pending = 1usize;
    while pending != 0 {
        pending -= 1;
        if let Some(head) = bytes.get(at..).and_then(<[u8]>::first_chunk::<HEAD_BYTES>) {
            if head[0] == term::ATOM && head[1] == 0 {
                at += 3 + usize::from(head[2]);
                // Most often it was a key, and here is its value.
                if pending != 0
                    && let Some(head) = bytes.get(at..).and_then(<[u8]>::first_chunk::<HEAD_BYTES>)
                    && let Some(len) = constant(head)
                {
                    at += len;
                    pending -= 1;
                }
                continue;
            }
            match head[0] {
                term::SMALL_ATOM | term::SMALL_ATOM_UTF8 => at += 2 + usize::from(head[1]),
                term::BINARY => at += 5 + be32(head),
                term::SMALL_BIG if head[2] <= 1 => at += 3 + usize::from(head[1]),
                term::SMALL_INTEGER => at += 2,
                term::INTEGER => at += 5,
                term::NIL => at += 1,
                term::MAP => {
                    containers = containers.checked_sub(1)?;
                    pending = pending.wrapping_add(2 * be32(head));
                    at += 5;
                }
                term::LIST => {
                    containers = containers.checked_sub(1)?;
                    pending = pending.wrapping_add(be32(head) + 1);
                    at += 5;
                }
                _ => (at, pending, containers) = rare(bytes, at, pending, containers)?,
            }
        } else {
            (at, pending, containers) = rare(bytes, at, pending, containers)?;
        }
    }
    if at <= bytes.len() { Some(at) } else { None }
}

/// One step of [`run`] over a term that is rare, or close to the end of the bytes.
#[inline(never)]
fn rare(bytes: &[u8], at: usize, pending: usize, containers: usize) -> Option<(usize, usize, usize)> {
    let head = term::head(bytes, at)?;
    let containers = if opens(bytes, at) { containers.checked_sub(1)? } else { containers };
    Some((head.end, pending.wrapping_add(head.children), containers))
}

/// Whether the term is a container (which may be empty).
fn opens(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at), Some(&(term::MAP | term::LIST | term::SMALL_TUPLE | term::LARGE_TUPLE | term::FUN)))
}

#[cold]
fn too_deep(at: usize, depth_max: u32) -> Error {
    Error::new(at, ErrorKind::TooDeep { depth_max })
}

/// How many levels are left for a term that lies `depth` deep.
#[inline(always)]
fn levels_left(depth: u32, depth_max: u32) -> usize {
    depth_max.min(DEPTH_MAX).saturating_sub(depth) as usize
}

/// Elements of a list that may hold more containers than [`run`] takes, at a few for each.
const LONG: u32 = 64;

/// Levels for which a small stack is enough: clearing the whole one costs more than walking over what events mostly hold.
const SHALLOW: usize = 16;

/// [`check`] with a stack of levels.
#[inline(never)]
fn check_exactly(bytes: &[u8], at: usize, depth: u32, depth_max: u32) -> Result<usize, Error> {
    let Some(head) = term::head(bytes, at) else {
        return Err(term::explain(bytes, at));
    };
    if !opens(bytes, at) {
        return Ok(head.end);
    }
    let levels = levels_left(depth, depth_max);
    if levels == 0 {
        return Err(too_deep(at, depth_max));
    }
    match check_levels::<SHALLOW>(bytes, head, levels, depth_max) {
        Some(checked) => checked,
        // Deeper than that: once more from the start, with room for all that may be.
        None => check_levels::<{ DEPTH_MAX as usize }>(bytes, head, levels, depth_max).unwrap_or_else(|| Err(too_deep(at, depth_max))),
    }
}

/// `None`: the terms lie deeper than `STACK` levels, and deeper is allowed.
#[inline(always)]
fn check_levels<const STACK: usize>(bytes: &[u8], head: term::Head, levels: usize, depth_max: u32) -> Option<Result<usize, Error>> {
    // left[i]: terms still to come at level i, the current level's apart.
    let mut left = [0usize; STACK];
    let mut level = 0usize;
    let mut here = head.children;
    let mut at = head.end;
    loop {
        while here == 0 {
            if level == 0 {
                return Some(Ok(at));
            }
            level -= 1;
            here = left.get(level).copied().unwrap_or(0);
        }
        here -= 1;
        // A guild's list of members is too much for one `run`, each member is not. On this level only: bytes that fail here are
        // walked over again, and how often must not grow with their depth.
        if level == 0
            && let Some(end) = run(bytes, at, levels - 1)
        {
            at = end;
            continue;
        }
        let Some(head) = term::head(bytes, at) else {
            return Some(Err(term::explain(bytes, at)));
        };
        if head.children != 0 {
            if level + 1 >= levels {
                return Some(Err(too_deep(at, depth_max)));
            }
            *left.get_mut(level)? = here;
            level += 1;
            here = head.children;
        } else if level + 1 >= levels && opens(bytes, at) {
            return Some(Err(too_deep(at, depth_max)));
        }
        at = head.end;
    }
}

/// Checks the term at `at` like [`check`], and shows each entry of it (and of maps that are its direct values) to `visit` on the way.
pub(crate) fn check_entries<'a, F>(bytes: &'a [u8], at: usize, depth_max: u32, visit: &mut F) -> Result<usize, Error>
where
    F: FnMut(Option<&'a [u8]>, &'a [u8], &'a [u8]),
{
    entries(bytes, at, 0, depth_max, None, visit)
}

/// One map's entries; calls itself once, for the maps inside the outermost one, and no deeper.
fn entries<'a, F>(bytes: &'a [u8], at: usize, depth: u32, depth_max: u32, outer: Option<&'a [u8]>, visit: &mut F) -> Result<usize, Error>
where
    F: FnMut(Option<&'a [u8]>, &'a [u8], &'a [u8]),
{
    if bytes.get(at) != Some(&term::MAP) {
        return check(bytes, at, depth, depth_max);
    }
    let (count, mut next) = open(bytes, at, depth, depth_max)?;
    for _ in 0..count {
        let middle = check(bytes, next, depth + 1, depth_max)?;
        let key = bytes.get(next..middle).unwrap_or_default();
        let end = if outer.is_none() {
            entries(bytes, middle, depth + 1, depth_max, Some(key), visit)?
        } else {
            check(bytes, middle, depth + 1, depth_max)?
        };
        visit(outer, key, bytes.get(middle..end).unwrap_or_default());
        next = end;
    }
    Ok(next)
}

/// How many entries the map at `at` has, and where the first begins.
#[inline(always)]
fn open(bytes: &[u8], at: usize, depth: u32, depth_max: u32) -> Result<(usize, usize), Error> {
    match term::head(bytes, at) {
        None => Err(term::explain(bytes, at)),
        Some(_) if levels_left(depth, depth_max) == 0 => Err(too_deep(at, depth_max)),
        Some(head) => Ok((head.children / 2, head.end)),
    }
}

/// Checks the term at `at` like [`check`], and finds the entries of it that have these names, and of the first entry named
/// `outer[within]` the entries that have the inner names. Where a key occurs twice, the first counts.
pub(crate) fn check_finding<'a, const N: usize, const M: usize>(
    bytes: &'a [u8],
    at: usize,
    depth_max: u32,
    outer: (&Names<N>, &mut [Option<&'a [u8]>; N]),
    within: usize,
    inner: (&Names<M>, &mut [Option<&'a [u8]>; M]),
) -> Result<usize, Error> {
    let place = |depth: u32| Place { bytes, depth, depth_max };
    let rest = bytes.get(at..).unwrap_or_default();
    let len = place(0).named_entries(rest, outer.0, outer.1, |name, rest| {
        if name == Some(within) { place(1).named_entries(rest, inner.0, inner.1, |_, rest| place(2).len(rest)) } else { place(1).len(rest) }
    })?;
    Ok(at + len)
}

/// A document and how deep in it something lies. What is read is handed around as the rest of the document from there on, because
/// taking a piece off the front of a slice costs one comparison.
#[derive(Clone, Copy)]
struct Place<'a> {
    bytes: &'a [u8],
    depth: u32,
    depth_max: u32,
}

impl<'a> Place<'a> {
    /// Where in the document a rest of it begins.
    fn offset(self, rest: &[u8]) -> usize {
        self.bytes.len() - rest.len()
    }

    /// The length of the term at the front, after checking it and all that is inside; of a scalar the length that it claims.
    #[inline(always)]
    fn len(self, rest: &[u8]) -> Result<usize, Error> {
        if let Some(len) = scalar(rest) {
            return Ok(len);
        }
        // A list of many objects holds more containers than `run` takes, which would show only after a good part of it: it is gone over element
        // by element at once.
        let long = matches!(*rest, [term::LIST, a, b, c, d, ..] if u32::from_be_bytes([a, b, c, d]) >= LONG);
        match if long { None } else { run(rest, 0, levels_left(self.depth, self.depth_max)) } {
            Some(len) => Ok(len),
            None => self.len_exactly(rest),
        }
    }

    #[inline(never)]
    fn len_exactly(self, rest: &[u8]) -> Result<usize, Error> {
        let at = self.offset(rest);
        check_exactly(self.bytes, at, self.depth, self.depth_max).map(|end| end - at)
    }

    /// One map's entries, of which those with names are noted. `value` checks the value at the front, which has this name (if no
    /// earlier entry had it), and says how long it is.
    #[inline(always)]
    fn named_entries<const N: usize>(
        self,
        map: &'a [u8],
        names: &Names<N>,
        found: &mut [Option<&'a [u8]>; N],
        mut value: impl FnMut(Option<usize>, &'a [u8]) -> Result<usize, Error>,
    ) -> Result<usize, Error> {
        if map.first() != Some(&term::MAP) {
            return self.len_exactly(map);
        }
        let (count, start) = open(self.bytes, self.offset(map), self.depth, self.depth_max)?;
        let mut rest = self.bytes.get(start..).unwrap_or_default();
        for _ in 0..count {
            let (word, len) = match key(rest) {
                Some((word, len)) => (Some(word), len),
                None => self.any_key(rest)?,
            };
            let name = word.and_then(|word| names.index(word)).filter(|name| found.get(*name).is_some_and(Option::is_none));
            let Some(from) = rest.get(len..) else { return Err(term::explain(self.bytes, self.offset(rest))) };
            let len = value(name, from)?;
            let Some((whole, behind)) = from.split_at_checked(len) else { return Err(term::explain(self.bytes, self.offset(from))) };
            if let Some(place) = name.and_then(|name| found.get_mut(name)) {
                *place = Some(whole);
            }
            rest = behind;
        }
        Ok(map.len() - rest.len())
    }

    /// A key that is not of the usual kind: its word, if it is a text that may be one of the names, and its length.
    #[inline(never)]
    fn any_key(self, rest: &[u8]) -> Result<(Option<Word>, usize), Error> {
        let at = self.offset(rest);
        let end = check(self.bytes, at, self.depth + 1, self.depth_max)?;
        Ok((self.bytes.get(at..end).and_then(term::text).and_then(Word::of), end - at))
    }
}

/// A key of the usual kind, an atom with bytes enough behind it, and the key's length.
#[inline(always)]
fn key(rest: &[u8]) -> Option<(Word, usize)> {
    let head = rest.first_chunk::<KEY_BYTES>()?;
    // All of it as one number, from which a shift takes the text's first bytes.
    let all = u128::from_le_bytes(*head);
    let (start, text_len, first) = if all as u16 == u16::from(term::ATOM) {
        (3, head[2], (all >> 24) as u64)
    } else if head[0] == term::SMALL_ATOM || head[0] == term::SMALL_ATOM_UTF8 {
        (2, head[1], (all >> 16) as u64)
    } else {
        return None;
    };
    let len = start + usize::from(text_len);
    let last = if text_len > 8 { u64::from_le_bytes(*rest.get(len - 8..len)?.first_chunk()?) } else { 0 };
    Some((Word::masked(first, last, text_len), len))
}

/// The word of the key at `at`, if it is a text that has one, and where its value begins, in a map that was checked before.
#[inline(always)]
fn key_word(bytes: &[u8], at: usize) -> Option<(Option<Word>, usize)> {
    if let Some((word, len)) = key(bytes.get(at..)?) {
        return Some((Some(word), at + len));
    }
    let middle = skip(bytes, at)?;
    Some((bytes.get(at..middle).and_then(term::text).and_then(Word::of), middle))
}

/// Where the phrase ends that begins with the key at `at`, whose value begins at `middle`, and how many entries it has: no more than `most`,
/// and none whose key may be one of `names`.
#[inline(always)]
fn phrase(bytes: &[u8], at: usize, middle: usize, most: usize, names: u64) -> Option<(usize, usize)> {
    // They begin with nil or false.
    constant(bytes.get(middle..)?.first_chunk()?)?;
    let rest = bytes.get(at..)?;
    let said = phrases::skip(phrases::may_begin(rest.first_chunk()?)?, rest, most, names)?;
    Some((at + said.etf, said.entries))
}

/// [`skip`], which steps over phrases in a map.
#[inline]
fn skip_map(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) != Some(&term::MAP) {
        return skip(bytes, at);
    }
    let map = term::head(bytes, at)?;
    let (mut next, mut left) = (map.end, map.children / 2);
    while left > 0 {
        let middle = skip(bytes, next)?;
        match phrase(bytes, next, middle, left, 0) {
            Some((end, entries)) => (next, left) = (end, left - entries),
            None => (next, left) = (skip(bytes, middle)?, left - 1),
        }
    }
    Some(next)
}

/// Goes over the entries of a map that was checked before, until `found` says that it has what it looks for: each with its key's word, if
/// it has one, and where its value lies. Gives where the entries end, if it came there. With `names`, phrases in which none of these can be
/// are stepped over.
#[inline(always)]
fn each(bytes: &[u8], names: Option<u64>, mut found: impl FnMut(Option<Word>, Range<usize>) -> bool) -> Option<usize> {
    if bytes.first() != Some(&term::MAP) {
        return None;
    }
    let map = term::head(bytes, 0)?;
    let (mut next, mut left) = (map.end, map.children / 2);
    while left > 0 {
        let (word, middle) = key_word(bytes, next)?;
        if let Some(names) = names
            && let Some((end, entries)) = phrase(bytes, next, middle, left, names)
        {
            (next, left) = (end, left - entries);
            continue;
        }
        let end = if names.is_some() { skip_map(bytes, middle)? } else { skip(bytes, middle)? };
        if found(word, middle..end) {
            break;
        }
        (next, left) = (end, left - 1);
    }
    Some(next)
}

/// The values of the first entries with these names, of a map that was checked before.
pub(crate) fn find_named<'a, const N: usize>(bytes: &'a [u8], names: &Names<N>, found: &mut [Option<&'a [u8]>; N]) -> Option<()> {
    each(bytes, None, |word, value| {
        if let Some(place) = word.and_then(|word| names.index(word)).and_then(|name| found.get_mut(name))
            && place.is_none()
        {
            *place = bytes.get(value);
        }
        false
    })
    .map(drop)
}

/// The values of the first entries with these keys, of the map at the start, and where it ends.
#[inline(always)]
pub(crate) fn take_all<'a, const N: usize>(bytes: &'a [u8], wanted: &[Word; N], found: &mut [Option<Value<'a>>; N]) -> Option<usize> {
    each(bytes, Some(wanted.iter().fold(0, |names, word| names | phrases::name(*word))), |word, value| {
        if let Some(word) = word {
            for (wanted, place) in wanted.iter().zip(found.iter_mut()) {
                if *wanted == word {
                    *place = place.or(bytes.get(value).map(|raw| Value::inner(Encoding::Etf, raw)));
                    break;
                }
            }
        }
        false
    })
}

/// The values of the first entries with these keys, of a map that was checked before; ends when all are found.
pub(crate) fn get_all<const N: usize>(bytes: &[u8], wanted: [Word; N]) -> [Option<&[u8]>; N] {
    let (mut found, mut missing) = ([None; N], N);
    // What was found counts even if what lies behind it makes no sense.
    let _ = each(bytes, None, |word, value| {
        if let Some(word) = word
            && let Some(name) = wanted.iter().position(|wanted| *wanted == word)
            && let Some(place) = found.get_mut(name)
            && place.is_none()
        {
            *place = bytes.get(value);
            missing -= 1;
        }
        missing == 0
    });
    found
}

/// The value of the first entry with this key, of a map that was checked before.
#[inline]
pub(crate) fn get(bytes: &[u8], wanted: Word) -> Option<&[u8]> {
    let mut found = None;
    each(bytes, None, |word, value| {
        let same = word == Some(wanted);
        if same {
            found = bytes.get(value);
        }
        same
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules without any haste: by recursion, term by term.
    fn naively(bytes: &[u8], at: usize, depth: u32, depth_max: u32) -> Result<usize, Error> {
        let head = term::head(bytes, at).ok_or_else(|| term::explain(bytes, at))?;
        if opens(bytes, at) && depth >= depth_max.min(DEPTH_MAX) {
            return Err(too_deep(at, depth_max));
        }
        (0..head.children).try_fold(head.end, |at, _| naively(bytes, at, depth + 1, depth_max))
    }

    /// Numbers that look random, the same in every run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % n
        }
    }

    /// Appends a term with no more than so many levels.
    fn term(numbers: &mut Numbers, levels: u64, out: &mut Vec<u8>) {
        let kinds = if levels == 0 { 11 } else { 16 };
        match numbers.below(kinds) {
            0 => out.extend(b"d\0\x08guild_id"),
            1 => out.extend(if numbers.below(2) == 0 { &b"w\x03nil"[..] } else { b"d\0\x03nil" }),
            2 => out.extend(if numbers.below(2) == 0 { &b"s\x04true"[..] } else { b"d\0\x05false" }),
            3 => out.extend(b"m\0\0\0\x0217"),
            4 => out.extend(b"a\x07"),
            5 => out.extend(b"b\0\0\x01\0"),
            6 => out.extend(b"n\x08\0\x01\x02\x03\x04\x05\x06\x07\x08"),
            7 => out.extend(b"j"),
            8 => out.extend(b"F\x3f\xf8\0\0\0\0\0\0"),
            9 => out.extend(b"k\0\x03abc"),
            10 => out.extend(b"v\0\x02ok"),
            kind => {
                let n = numbers.below(6);
                let (head, children) = match kind {
                    11 | 12 => ([b't', 0, 0, 0, n as u8], 2 * n),
                    13 | 14 => ([b'l', 0, 0, 0, n as u8], n + 1),
                    _ => ([b'i', 0, 0, 0, n as u8], n),
                };
                out.extend(head);
                (0..children).for_each(|_| term(numbers, levels - 1, out));
            }
        }
    }

    #[track_caller]
    fn compare(bytes: &[u8]) {
        for depth_max in [0, 1, 2, 3, 5, 17, 200] {
            let want = naively(bytes, 0, 0, depth_max);
            assert_eq!(check(bytes, 0, 0, depth_max), want, "{depth_max} {bytes:?}");
            assert_eq!(check_exactly(bytes, 0, 0, depth_max), want, "{depth_max} {bytes:?}");
            assert_eq!(check_entries(bytes, 0, depth_max, &mut |_, _, _| ()), want, "{depth_max} {bytes:?}");
            if let Ok(end) = want {
                assert_eq!(skip(bytes, 0), Some(end), "{bytes:?}");
            }
        }
    }

    #[test]
    fn a_list_of_many_objects_is_checked_like_any_other() {
        static D: Names<1> = Names::new(["d"]);
        let mut bytes = b"t\0\0\0\x01d\0\x01dt\0\0\0\x01d\0\x07membersl\0\0\0\x46".to_vec();
        (0..70).for_each(|n| bytes.extend([b't', 0, 0, 0, 1, b'd', 0, 2, b'i', b'd', b'l', 0, 0, 0, 1, b'a', n, b'j']));
        bytes.push(term::NIL);
        let found = |bytes: &[u8], depth_max| {
            let (mut outer, mut inner) = ([None; 1], [None; 1]);
            check_finding(bytes, 0, depth_max, (&D, &mut outer), 0, (&D, &mut inner))
        };
        for depth_max in [3, 4, 5, 200] {
            assert_eq!(found(&bytes, depth_max), naively(&bytes, 0, 0, depth_max));
            (0..bytes.len()).for_each(|cut| assert_eq!(found(&bytes[..cut], depth_max), naively(&bytes[..cut], 0, 0, depth_max)));
        }
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1 << (at % 8);
            assert_eq!(found(&other, 200), naively(&other, 0, 0, 200), "{at}");
        }
    }

    #[test]
    fn the_fast_walk_ends_and_fails_exactly_where_a_plain_one_does() {
        let mut numbers = Numbers(7);
        for round in 0..3_000 {
            let mut bytes = Vec::new();
            term(&mut numbers, 1 + round % 6, &mut bytes);
            if bytes.len() > 5_000 {
                continue;
            }
            compare(&bytes);
            let cut = numbers.below(bytes.len() as u64) as usize;
            compare(&bytes[..cut]);
            for _ in 0..4 {
                let at = numbers.below(bytes.len() as u64) as usize;
                bytes[at] = b"dwsmabnjFktlih\0\x01\x02\xff"[numbers.below(18) as usize];
                compare(&bytes);
            }
        }
    }

    #[test]
    fn what_is_wide_is_not_deep() {
        // A list of 1 000 maps, each holding a map: far more containers than levels are allowed.
        let inner = b"t\0\0\0\x01a\x01t\0\0\0\0";
        let list = |element: &[u8]| [&[b'l', 0, 0, 3, 232][..], &element.repeat(1_000), b"j"].concat();
        let wide = list(inner);
        assert_eq!(check(&wide, 0, 0, 3), Ok(wide.len()));
        assert_eq!(check(&wide, 0, 0, 2), Err(too_deep(5 + 7, 2)));
        let wider = list(&wide);
        assert_eq!(check(&wider, 0, 0, 200), Ok(wider.len()));
        assert_eq!(check(&wider, 0, 197, 200), Err(too_deep(10 + 7, 200)));
        compare(&wide);
    }
}
