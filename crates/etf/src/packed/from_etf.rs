//! From ETF to the packed form, in one pass.

use super::put::EMPTY_LIST;
use super::stack::Stack;
use super::{Form, RAW_ETF, damaged, keys, phrases, put};
use crate::error::{Error, ErrorKind};
use crate::term::{self, Int};
use crate::{DEPTH_MAX, walk};
use std::cell::Cell;

/// A map or list that was begun. The document itself is one of a single element, without a head.
#[derive(Clone, Copy)]
struct Open {
    /// Entries or elements still to come, and in all.
    left: u32,
    count: u32,
    /// Where it begins in the packed form; limits on documents keep that far below what fits.
    head: u32,
    form: Form,
    /// The number of the key that was read last, or of the one under which a list lies.
    key: u8,
    /// Which maps it is like: see [`Open::kind`].
    kind: u16,
}

impl Open {
    /// What stands around everything: a list of one element.
    const NONE: Open = Open { left: 1, count: 1, head: 0, form: Form::List, key: 0, kind: 0 };

    /// Maps that lie under one key and have as many entries are of one kind, most often.
    #[inline(always)]
    fn kind(under: u8, count: usize) -> u16 {
        // Spread, or else maps whose numbers lie close, as those of members and users do, take each other's places.
        ((u32::from(under) << 16 | u32::from(count as u16)).wrapping_mul(0x9e37_79b1) >> 16) as u16
    }
}

/// Places for what follows a key.
const NEXT: usize = 2048;
/// Beside the number of a key: a phrase began here when a map of this kind was last packed.
const SAID: u16 = 1 << 8;

type Order = [Cell<u16>; NEXT];

thread_local! {
    /// Which key follows which: maps of one kind have the same keys in the same order, nearly always. What is guessed is compared with what is
    /// there, which is a third of the work of looking a key up. Each thread remembers it from one object to the next: most are small.
    static ORDER: Order = const { [const { Cell::new(0) }; NEXT] };
}

/// Where the elements of a list lie that are maps, in what they are packed from, and in each of them the map under one key.
pub(crate) struct Places<'a> {
    /// The key of the map inside.
    pub(crate) inside: &'a str,
    /// Of each element where it lies, and where the map inside does: nowhere, if both ends are 0.
    pub(crate) found: &'a mut Vec<Place>,
}

/// Bytes of an element of a list whose places are found, at least on the average: no member is shorter.
const ELEMENT_BYTES_MIN: usize = 48;

/// Of an element, and of the map inside.
pub(crate) type Place = [std::ops::Range<usize>; 2];

/// What is told of the containers that are packed: how deep they lie, the term that is packed being 1 deep, and where.
trait Watch {
    fn opened(&mut self, _level: usize, _form: Form, _bytes: &[u8], _at: usize) {}
    fn closed(&mut self, _level: usize, _form: Form, _at: usize) {}
    /// It is gone over again, and nothing more is told.
    fn lost(&mut self) {}
}

impl Watch for () {}

impl Watch for Places<'_> {
    fn opened(&mut self, level: usize, form: Form, bytes: &[u8], at: usize) {
        if level == 2 && form != Form::List {
            self.found.push([at..0, 0..0]);
        } else if level == 3
            && form != Form::List
            && let Some([_, inside]) = self.found.last_mut()
            && inside.end == 0
            && bytes.get(..at).is_some_and(|before| before.ends_with(self.inside.as_bytes()))
        {
            inside.start = at;
        }
    }

    fn closed(&mut self, level: usize, form: Form, at: usize) {
        let Some([whole, inside]) = self.found.last_mut().filter(|_| form != Form::List) else { return };
        if level == 2 {
            whole.end = at;
        } else if level == 3 && inside.start != 0 && inside.end == 0 {
            inside.end = at;
        }
    }

    fn lost(&mut self) {
        self.found.clear();
    }
}

/// Appends the ETF term at the start of `bytes`, which lies `depth` deep; gives its length. What is not finished on an error is the caller's
/// to remove.
pub(crate) fn from_etf(bytes: &[u8], depth: usize, out: &mut Vec<u8>) -> Result<usize, Error> {
    // A number or text alone, as fields that change are: no room is laid ready for it.
    match *bytes {
        [term::SMALL_INTEGER | term::INTEGER | term::SMALL_BIG, ..] => {
            if let (Some(value), Some(head)) = (term::unsigned(bytes), term::head(bytes, 0)) {
                put::uint(value, out);
                return Ok(head.end);
            }
        }
        [term::BINARY, a, b, c, d, ref rest @ ..] => {
            if let Some(text) = rest.get(..u32::from_be_bytes([a, b, c, d]) as usize) {
                put::string(text, out);
                return Ok(5 + text.len());
            }
        }
        [term::ATOM, 0, 3, b'n', b'i', b'l', ..] => {
            out.push(super::NULL);
            return Ok(6);
        }
        _ => {}
    }
    watched(bytes, depth, out, &mut ())
}

fn watched(bytes: &[u8], depth: usize, out: &mut Vec<u8>, watch: &mut impl Watch) -> Result<usize, Error> {
    let start = out.len();
    if let Some(length) = pack(bytes, depth, &[], out, watch)? {
        return Ok(length);
    }
    // That a list is improper shows at its end. Each could be taken back there, but then lists inside of lists would be gone over once
    // for each level; so once there is one, all are looked for first.
    out.truncate(start);
    watch.lost();
    let improper = improper(bytes)?;
    // There is none that was not found.
    pack(bytes, depth, &improper, out, &mut ())?.ok_or_else(|| damaged(0, "a list is improper that was not before"))
}

/// Appends the ETF map at the start of `bytes` without the entries of the keys that `dropped` names; they are only stepped over. A key is
/// named by its number, or by its text if it has none. `None`, and nothing is appended: it is no map.
///
/// Of the first list under one key, the places are found on the way, if all its elements are maps, and none so short that there could be
/// many times more of them than bytes that somebody would send for them.
pub(crate) fn without(
    bytes: &[u8],
    dropped: impl Fn(Result<u16, &[u8]>) -> bool,
    mut places: Option<(&str, Places<'_>)>,
    out: &mut Vec<u8>,
) -> Result<Option<()>, Error> {
    if bytes.first() != Some(&term::MAP) {
        return Ok(None);
    }
    let Some(map) = term::head(bytes, 0) else { return Err(term::explain(bytes, 0)) };
    let (head, mut count, mut at) = (out.len(), 0, map.end);
    let form = form_of(term::MAP, bytes.get(at), map.children);
    let reserved = put::begin(map.children / 2, out);
    for _ in 0..map.children / 2 {
        let (start, before) = (at, out.len());
        at = key(bytes, at, form == Form::AtomMap, 1, out)?;
        if named(bytes.get(start..at).unwrap_or_default()).is_some_and(&dropped) {
            out.truncate(before);
            at = walk::check(bytes, at, 1, DEPTH_MAX)?;
            continue;
        }
        count += 1;
        let value = bytes.get(at..).unwrap_or_default();
        let wanted = places.as_ref().is_some_and(|(key, _)| term::text(bytes.get(start..at).unwrap_or_default()) == Some(key.as_bytes()));
        let list =
            term::head(value, 0).filter(|list| value.first() == Some(&term::LIST) && list.children <= value.len() / ELEMENT_BYTES_MIN);
        // Only the first of them: that is the one that is read.
        match (if wanted { places.take() } else { None }, list) {
            (Some((_, mut places)), Some(list)) => {
                let length = watched(value, 1, out, &mut places)?;
                for place in places.found.iter_mut().flatten().filter(|place| place.end != 0) {
                    (place.start, place.end) = (at + place.start, at + place.end);
                }
                // The tail is one of its terms.
                if places.found.len() + 1 != list.children {
                    places.found.clear();
                }
                at += length;
            }
            _ => at += from_etf(value, 1, out)?,
        }
    }
    put::end(if count == 0 { Form::Map } else { form }, head, reserved, count, out);
    Ok(Some(()))
}

/// What a key is called, if it is a text or one of the atoms that the packed form has.
fn named(raw: &[u8]) -> Option<Result<u16, &[u8]>> {
    let name = term::text(raw)?;
    (raw.first() == Some(&term::BINARY) || is_atom(name)).then(|| keys::key(name).ok_or(name))
}

/// Room that lies ready for one entry: a key and a value of the usual kinds, of which strings take most.
const ROOM: usize = 1 + 1 + STRING_ROOM;
/// Strings of less than this are written in whole steps of [`STRING_STEP`].
const STRING_ROOM: usize = 64;
const STRING_STEP: usize = 16;
/// What is enough bytes for the head of a key or value of a usual kind: with so many left, one comparison of lengths serves them all.
const HEAD_BYTES: usize = 16;

/// Makes room behind `end`. What lies there means nothing: it is written over, or cut off at the end. Much at once would be cleared for
/// nothing where objects are small.
#[inline(never)]
fn widen(out: &mut Vec<u8>, end: usize) {
    const STEP: usize = 256;
    out.resize(end + if end < 8 * STEP { STEP } else { 4 * STEP }, 0);
}

/// Takes the bytes that mean nothing off, lets `write` append something that is none of the usual kinds, and gives where that ends.
#[inline(always)]
fn appended<T>(out: &mut Vec<u8>, end: &mut usize, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    out.truncate(*end);
    let result = write(out);
    *end = out.len();
    result
}

/// The same, but for lists whose tail is no empty list. Those that begin at the places in `improper`, which ascend, are kept as they are;
/// `None`: there is another one.
///
/// Every write of the cache begins with this, so it is made to be quick where terms are of the usual kinds. `out` is longer than what was written,
/// which ends at `end`, so that an entry is one comparison and a few stores of fixed size, where a push for each part of it would be as many
/// calls. What is not most frequent is called, so that what the loop needs stays in registers.
fn pack(bytes: &[u8], depth: usize, improper: &[usize], out: &mut Vec<u8>, watch: &mut impl Watch) -> Result<Option<usize>, Error> {
    ORDER.with(|order| pack_in(order, bytes, depth, improper, out, watch))
}

#[inline(always)]
fn pack_in(
    order: &Order,
    bytes: &[u8],
    depth: usize,
    mut improper: &[usize],
    out: &mut Vec<u8>,
    watch: &mut impl Watch,
) -> Result<Option<usize>, Error> {
    let mut end = out.len();
    // `open` holds the containers around `here`: as many as it is deep.
    let mut here = Open::NONE;
    let mut open = Stack::new(here);
    let mut rest = bytes;
    loop {
        if here.left == 0 {
            let Some(outer) = open.pop() else {
                out.truncate(end);
                return Ok(Some(bytes.len() - rest.len()));
            };
            if here.form == Form::List {
                let Some((&term::NIL, behind)) = rest.split_first() else { return Ok(None) };
                rest = behind;
            }
            watch.closed(open.len() + 1, here.form, bytes.len() - rest.len());
            let (head, count) = (here.head as usize, here.count as usize);
            let reserved = put::reserve(count);
            match put::end_at(here.form, head, reserved, count, end, out) {
                Some(closed) => end = closed,
                None => appended(out, &mut end, |out| put::end(here.form, head, reserved, count, out)),
            }
            here = outer;
            continue;
        }
        let Some(room) = out.get_mut(end..).and_then(|room| room.first_chunk_mut::<ROOM>()) else {
            widen(out, end);
            continue;
        };
        // Where it stands what follows a key, in maps of one kind. That two share a place costs time only.
        let next = &order[usize::from(here.kind.wrapping_add(u16::from(here.key))) % NEXT];
        if next.get() & SAID != 0 && here.form == Form::AtomMap {
            if let Some((said, behind)) = phrase(rest, here.left, room) {
                here.left -= said.entries as u32;
                here.key = said.key;
                end += said.packed;
                rest = behind;
                continue;
            }
            next.set(next.get() & !SAID);
        }
        let (read, written) = if here.form == Form::List {
            room.first_chunk_mut().map_or((0, 0), |room| quick_value(rest, room))
        } else if here.form == Form::AtomMap
            && let Some((code, value)) = ordered_key(next, rest)
        {
            room[0] = code;
            let quick = room.last_chunk_mut().map_or((0, 0), |room| quick_value(value, room));
            // Where something says nothing, more of that may follow.
            if matches!(room[1], super::NULL | super::FALSE)
                && let Some((said, behind)) = phrase(rest, here.left, room)
            {
                next.set(u16::from(code) | SAID);
                here.left -= said.entries as u32;
                here.key = said.key;
                end += said.packed;
                rest = behind;
                continue;
            }
            here.key = code;
            end += 1;
            rest = value;
            quick
        } else {
            let at = bytes.len() - rest.len();
            let at = appended(out, &mut end, |out| key(bytes, at, here.form == Form::AtomMap, depth + open.len(), out))?;
            rest = bytes.get(at..).unwrap_or_default();
            (0, 0)
        };
        here.left -= 1;
        if read != 0
            && let Some(behind) = rest.get(read..)
        {
            end += written;
            rest = behind;
            continue;
        }
        let at = bytes.len() - rest.len();
        match *rest {
            [tag @ (term::MAP | term::LIST), a, b, c, d, ref behind @ ..] => {
                deeper(depth + open.len(), at)?;
                let count = u32::from_be_bytes([a, b, c, d]);
                let kept = improper.first() == Some(&at);
                // More than there can be; or a list without elements that is not NIL: only its tail.
                if kept || count as usize > behind.len() || count == 0 && tag == term::LIST {
                    if kept {
                        improper = &improper[1..];
                    }
                    let at = appended(out, &mut end, |out| keep(bytes, at, depth + open.len(), out))?;
                    rest = bytes.get(at..).unwrap_or_default();
                    continue;
                }
                let form = form_of(tag, behind.first(), count as usize);
                open.push(here);
                watch.opened(open.len(), form, bytes, at);
                if form == Form::AtomMap {
                    phrases::learn(behind, count as usize);
                }
                here = Open { left: count, count, head: end as u32, form, key: here.key, kind: Open::kind(here.key, count as usize) };
                let begun = end + usize::from(put::reserve(count as usize));
                if out.len() < begun {
                    widen(out, end);
                }
                end = begun;
                rest = behind;
            }
            [term::BINARY, a, b, c, d, ref behind @ ..] => {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                let Some((text, behind)) = behind.split_at_checked(length) else { return Err(term::explain(bytes, at)) };
                appended(out, &mut end, |out| put::string(text, out));
                rest = behind;
            }
            [term::NIL, ref behind @ ..] => {
                // To every walk over ETF this is a scalar: it may lie where no other list may.
                appended(out, &mut end, |out| out.extend_from_slice(&EMPTY_LIST));
                rest = behind;
            }
            _ => {
                let at = appended(out, &mut end, |out| rare(bytes, at, depth + open.len(), out))?;
                rest = bytes.get(at..).unwrap_or_default();
            }
        }
    }
}

/// The number of the key in front, if it is an atom and one of those that take one byte, and what lies behind it. `None` says nothing.
#[inline(always)]
fn ordered_key<'a>(next: &Cell<u16>, rest: &'a [u8]) -> Option<(u8, &'a [u8])> {
    let code = next.get() as u8;
    if let Some(behind) = keys::behind_atom(rest, code) {
        return Some((code, behind));
    }
    let (length, code) = looked_up(rest);
    let behind = rest.get(length..).filter(|_| length != 0)?;
    next.set(u16::from(code));
    Some((code, behind))
}

/// The phrase in front, packed at the start of the room, and what lies behind it.
#[inline(always)]
fn phrase<'a>(rest: &'a [u8], most: u32, room: &mut [u8; ROOM]) -> Option<(phrases::Said, &'a [u8])> {
    let place = phrases::may_begin(rest.first_chunk()?)?;
    let said = phrases::pack(place, rest, most as usize, room.first_chunk_mut()?)?;
    Some((said, rest.get(said.etf..)?))
}

/// The length of the key in front and its number, if it is an atom and one of those that take one byte; else 0.
#[inline(never)]
fn looked_up(rest: &[u8]) -> (usize, u8) {
    let mut head = [0; HEAD_BYTES];
    let rest = match head.get_mut(..rest.len()) {
        // Close to the end of the bytes; what is read beyond it is none of a key.
        Some(front) => {
            front.copy_from_slice(rest);
            &head
        }
        None => rest,
    };
    let found = quick_key(rest).filter(|(code, _)| usize::from(*code) < keys::SHORT);
    found.map_or((0, 0), |(code, behind)| (rest.len() - behind.len(), code as u8))
}

/// What a container is, by its tag, the tag of its first key, and how many terms it has.
#[inline(always)]
fn form_of(tag: u8, first: Option<&u8>, count: usize) -> Form {
    match (tag, first) {
        (term::LIST, _) => Form::List,
        (_, Some(&(term::SMALL_ATOM | term::SMALL_ATOM_UTF8 | term::ATOM | term::ATOM_UTF8))) if count != 0 => Form::AtomMap,
        _ => Form::Map,
    }
}

/// The number of a known key that is an atom, and what lies behind it. `None` for others, and close to the end of the bytes.
#[inline(always)]
pub(super) fn quick_key(rest: &[u8]) -> Option<(u16, &[u8])> {
    let head = rest.first_chunk::<HEAD_BYTES>()?;
    let (start, length, first) = if head[0] == term::ATOM && head[1] == 0 {
        (3, head[2], word(head, 3))
    } else if head[0] == term::SMALL_ATOM || head[0] == term::SMALL_ATOM_UTF8 {
        (2, head[1], word(head, 2))
    } else {
        return None;
    };
    let length = usize::from(length);
    let (name, behind) = rest.split_at_checked(start + length)?;
    Some((keys::key_at(first, length, name)?, behind))
}

/// Eight bytes from `at` on as a number.
#[inline(always)]
fn word(head: &[u8; HEAD_BYTES], at: usize) -> u64 {
    head.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Which bytes of a number are those of the first so many.
const MASKS: [u64; 9] = [0, 0xff, 0xffff, 0xff_ffff, 0xffff_ffff, 0xff_ffff_ffff, 0xffff_ffff_ffff, 0xff_ffff_ffff_ffff, u64::MAX];
/// `nil`, `false` and `true` as Discord writes them, in a number.
const ATOM_NIL: u64 = u64::from_le_bytes(*b"d\0\x03nil\0\0");
const ATOM_FALSE: u64 = u64::from_le_bytes(*b"d\0\x05false");
const ATOM_TRUE: u64 = u64::from_le_bytes(*b"d\0\x04true\0");

/// Writes a value of those that Discord sends most; gives how many bytes were read and how many written. None read: it is another one, or close
/// to the end of the bytes, and nothing is written that counts.
#[inline(always)]
pub(super) fn quick_value(rest: &[u8], room: &mut [u8; 1 + STRING_ROOM]) -> (usize, usize) {
    let Some(head) = rest.first_chunk::<HEAD_BYTES>() else { return quick_end(rest, room) };
    let first = word(head, 0);
    // The most frequent ones are asked for one after the other: each of these branches is foretold better than one jump to many places would be.
    // That they look at different bits keeps them from becoming such a jump.
    if first & MASKS[6] == ATOM_NIL {
        room[0] = super::NULL;
        return (6, 1);
    }
    if first as u16 == u16::from(term::BINARY) {
        return quick_text(rest, room);
    }
    if first == ATOM_FALSE {
        room[0] = super::FALSE;
        return (8, 1);
    }
    match first as u8 {
        term::ATOM if first & MASKS[7] == ATOM_TRUE => {
            room[0] = super::TRUE;
            (7, 1)
        }
        // The same with a length of one byte, as newer peers write atoms.
        term::SMALL_ATOM | term::SMALL_ATOM_UTF8 => {
            let text = first >> 8;
            let (value, read) = if text & MASKS[4] == ATOM_NIL >> 16 {
                (super::NULL, 5)
            } else if text & MASKS[6] == ATOM_FALSE >> 16 {
                (super::FALSE, 7)
            } else if text & MASKS[5] == ATOM_TRUE >> 16 {
                (super::TRUE, 6)
            } else {
                return (0, 0);
            };
            room[0] = value;
            (read, 1)
        }
        term::SMALL_BIG if head[2] == 0 && head[1] <= 8 => {
            let length = usize::from(head[1]);
            (3 + length, put::uint_at(word(head, 3) & MASKS[length], room))
        }
        term::SMALL_INTEGER => (2, put::uint_at(u64::from(head[1]), room)),
        term::INTEGER => {
            let value = i32::from_be_bytes([head[1], head[2], head[3], head[4]]);
            (5, if value < 0 { put::negative_at(-1 - i64::from(value), room) } else { put::uint_at(value as u64, room) })
        }
        term::NIL => {
            // To every walk over ETF this is a scalar: it may lie where no other list may.
            (room[0], room[1]) = (EMPTY_LIST[0], EMPTY_LIST[1]);
            (1, EMPTY_LIST.len())
        }
        _ => (0, 0),
    }
}

/// The same close to the end of the bytes: the last field of many objects.
#[inline(never)]
fn quick_end(rest: &[u8], room: &mut [u8; 1 + STRING_ROOM]) -> (usize, usize) {
    let mut head = [0; HEAD_BYTES];
    match head.get_mut(..rest.len()) {
        // A string has its length in front, and may end where these bytes do not.
        Some(front) if rest.first() != Some(&term::BINARY) => front.copy_from_slice(rest),
        _ => return (0, 0),
    }
    let (read, written) = quick_value(&head, room);
    if read <= rest.len() { (read, written) } else { (0, 0) }
}

/// The same for a string.
#[inline(never)]
fn quick_text(rest: &[u8], room: &mut [u8; 1 + STRING_ROOM]) -> (usize, usize) {
    let [_, a, b, c, d, behind @ ..] = rest else { return (0, 0) };
    let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    let Some(text) = behind.get(..length) else { return (0, 0) };
    if let Some(written) = put::small(text, room) {
        return (5 + length, written);
    }
    if length >= STRING_ROOM {
        return (0, 0);
    }
    room[0] = super::STR0 | length as u8;
    let [_, room @ ..] = room;
    // What lies behind the text is copied along: a copy of a known size is a few loads and stores.
    if let Some(all) = behind.first_chunk::<STRING_ROOM>() {
        *room = *all;
        return (5 + length, 1 + length);
    }
    let (steps, _) = room.as_chunks_mut::<STRING_STEP>();
    for (place, from) in steps.iter_mut().zip((5..5 + length).step_by(STRING_STEP)) {
        match rest.get(from..).and_then(|rest| rest.first_chunk::<STRING_STEP>()) {
            Some(chunk) => *place = *chunk,
            None => {
                let Some((last, place)) = rest.get(from..5 + length).and_then(|last| Some((last, place.get_mut(..last.len())?))) else {
                    return (0, 0);
                };
                place.copy_from_slice(last);
            }
        }
    }
    (5 + length, 1 + length)
}

/// Where lists begin whose tail is no empty list, ascending; without those inside of others, of keys, and of what is kept as it is anyway.
#[cold]
fn improper(bytes: &[u8]) -> Result<Vec<usize>, Error> {
    /// A map or list that was begun.
    struct Begun {
        source: usize,
        map: bool,
        left: usize,
        /// How many were found before it.
        found: usize,
    }
    let mut found = Vec::new();
    let mut open: Vec<Begun> = Vec::new();
    let mut at = 0;
    loop {
        let depth = open.len() as u32;
        match open.last_mut() {
            Some(top) if top.left == 0 => {
                if !top.map {
                    if bytes.get(at) != Some(&term::NIL) {
                        found.truncate(top.found);
                        found.push(top.source);
                    }
                    at = walk::check(bytes, at, depth, DEPTH_MAX)?;
                }
                open.pop();
                if open.is_empty() {
                    return Ok(found);
                }
                continue;
            }
            Some(top) => {
                top.left -= 1;
                if top.map {
                    at = walk::check(bytes, at, depth, DEPTH_MAX)?;
                }
            }
            None => {}
        }
        match *bytes.get(at..).unwrap_or_default() {
            [tag @ (term::MAP | term::LIST), a, b, c, d, ref rest @ ..] if depth < DEPTH_MAX => {
                let (map, left) = (tag == term::MAP, u32::from_be_bytes([a, b, c, d]) as usize);
                if left <= rest.len() && (map || left != 0) {
                    open.push(Begun { source: at, map, left, found: found.len() });
                    at += 5;
                    continue;
                }
            }
            _ => {}
        }
        at = walk::check(bytes, at, depth, DEPTH_MAX)?;
        if open.is_empty() {
            return Ok(found);
        }
    }
}

/// Whether there may be a container here.
#[inline]
fn deeper(depth: usize, at: usize) -> Result<(), Error> {
    if depth >= DEPTH_MAX as usize {
        return Err(Error::new(at, ErrorKind::TooDeep { depth_max: DEPTH_MAX }));
    }
    Ok(())
}

/// Appends the term at `at` as it is; gives the place behind it.
#[cold]
fn keep(bytes: &[u8], at: usize, depth: usize, out: &mut Vec<u8>) -> Result<usize, Error> {
    let end = walk::check(bytes, at, depth as u32, DEPTH_MAX)?;
    put::raw(RAW_ETF, bytes.get(at..end).unwrap_or_default(), out);
    Ok(end)
}

/// Writes a value that is none of the usual ones; gives the place behind it.
#[inline(never)]
fn rare(bytes: &[u8], at: usize, depth: usize, out: &mut Vec<u8>) -> Result<usize, Error> {
    let Some(head) = term::head(bytes, at) else { return Err(term::explain(bytes, at)) };
    let raw = bytes.get(at..head.end).unwrap_or_default();
    match *raw {
        [term::SMALL_INTEGER | term::INTEGER | term::SMALL_BIG | term::LARGE_BIG, ..] => {
            if !term::int(raw).and_then(Int::to_i128).is_some_and(|int| put::int(int, out)) {
                return keep(bytes, at, depth, out);
            }
        }
        [term::NEW_FLOAT, ..] => match term::float(raw) {
            Some(value) => put::float(value, out),
            None => return keep(bytes, at, depth, out),
        },
        [term::SMALL_ATOM | term::SMALL_ATOM_UTF8 | term::ATOM | term::ATOM_UTF8, ..] => match term::text(raw) {
            Some(b"nil") => put::null(out),
            Some(b"false") => put::bool(false, out),
            Some(b"true") => put::bool(true, out),
            Some(name) if is_atom(name) => put::atom(name, out),
            _ => return keep(bytes, at, depth, out),
        },
        _ => return keep(bytes, at, depth, out),
    }
    Ok(head.end)
}

/// Whether the packed form has an atom of this name: all encodings of atoms must agree on what it is.
pub(super) fn is_atom(name: &[u8]) -> bool {
    name.is_ascii() && name.len() < 256
}

/// Writes a key; gives the place of its value.
#[inline(always)]
fn key(bytes: &[u8], at: usize, atoms: bool, depth: usize, out: &mut Vec<u8>) -> Result<usize, Error> {
    match *bytes.get(at..).unwrap_or_default() {
        [term::SMALL_ATOM | term::SMALL_ATOM_UTF8, length, ref rest @ ..] if atoms => {
            if let Some(name) = rest.get(..usize::from(length))
                && put::known_key(name, out)
            {
                return Ok(at + 2 + name.len());
            }
        }
        [term::ATOM | term::ATOM_UTF8, a, b, ref rest @ ..] if atoms => {
            if let Some(name) = rest.get(..usize::from(u16::from_be_bytes([a, b])))
                && put::known_key(name, out)
            {
                return Ok(at + 3 + name.len());
            }
        }
        [term::BINARY, a, b, c, d, ref rest @ ..] if !atoms => {
            if let Some(name) = rest.get(..u32::from_be_bytes([a, b, c, d]) as usize)
                && put::known_key(name, out)
            {
                return Ok(at + 5 + name.len());
            }
        }
        _ => {}
    }
    other_key(bytes, at, atoms, depth, out)
}

/// A key that is no known one, or not of the kind of the map's other keys.
#[inline(never)]
fn other_key(bytes: &[u8], at: usize, atoms: bool, depth: usize, out: &mut Vec<u8>) -> Result<usize, Error> {
    let Some(head) = term::head(bytes, at) else { return Err(term::explain(bytes, at)) };
    let raw = bytes.get(at..head.end).unwrap_or_default();
    let atom = matches!(raw.first(), Some(&(term::SMALL_ATOM | term::SMALL_ATOM_UTF8 | term::ATOM | term::ATOM_UTF8)));
    if atom && atoms && put::known_key(term::text(raw).unwrap_or_default(), out) {
        return Ok(head.end);
    }
    put::other_key(out);
    match (raw.first(), term::text(raw)) {
        (_, Some(name)) if atom && is_atom(name) => put::atom(name, out),
        (Some(&term::BINARY), Some(name)) => put::plain(name, out),
        _ => {
            if !term::int(raw).and_then(Int::to_i128).is_some_and(|int| put::int(int, out)) {
                // Lists and maps as keys are no keys of Discord's.
                return keep(bytes, at, depth, out);
            }
        }
    }
    Ok(head.end)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::packed::text;

    /// [`super::pack`] without any haste: one push after the other.
    fn plainly(bytes: &[u8], mut improper: &[usize], out: &mut Vec<u8>) -> Result<bool, Error> {
        // `open` holds the containers around `here`: as many as it is deep.
        let mut here = Open::NONE;
        let mut open = Stack::new(here);
        let mut at = 0;
        loop {
            if here.left == 0 {
                let Some(outer) = open.pop() else { return Ok(true) };
                if here.form != Form::List {
                    put::end(here.form, here.head as usize, put::reserve(here.count as usize), here.count as usize, out);
                } else if bytes.get(at) == Some(&term::NIL) {
                    at += 1;
                    put::end(Form::List, here.head as usize, put::reserve(here.count as usize), here.count as usize, out);
                } else {
                    return Ok(false);
                }
                here = outer;
                continue;
            }
            here.left -= 1;
            if here.form != Form::List {
                at = super::key(bytes, at, here.form == Form::AtomMap, open.len(), out)?;
            }
            match *bytes.get(at..).unwrap_or_default() {
                [term::BINARY, a, b, c, d, ref rest @ ..] => {
                    let length = u32::from_be_bytes([a, b, c, d]) as usize;
                    let Some(text) = rest.get(..length) else { return Err(term::explain(bytes, at)) };
                    put::string(text, out);
                    at += 5 + length;
                }
                [term::NIL, ..] => {
                    // To every walk over ETF this is a scalar: it may lie where no other list may.
                    out.extend_from_slice(&EMPTY_LIST);
                    at += 1;
                }
                [tag @ (term::MAP | term::LIST), a, b, c, d, ref rest @ ..] => {
                    deeper(open.len(), at)?;
                    let count = u32::from_be_bytes([a, b, c, d]) as usize;
                    if improper.first() == Some(&at) {
                        improper = &improper[1..];
                        at = keep(bytes, at, open.len(), out)?;
                        continue;
                    }
                    let form = match (tag, rest.first()) {
                        (term::LIST, _) => Form::List,
                        (_, Some(&(term::SMALL_ATOM | term::SMALL_ATOM_UTF8 | term::ATOM | term::ATOM_UTF8))) if count != 0 => {
                            Form::AtomMap
                        }
                        _ => Form::Map,
                    };
                    if count > rest.len() || count == 0 && form == Form::List {
                        // More than there can be; or a list without elements that is not NIL: only its tail.
                        at = keep(bytes, at, open.len(), out)?;
                        continue;
                    }
                    let head = out.len();
                    put::begin(count, out);
                    open.push(here);
                    here = Open { left: count as u32, count: count as u32, head: head as u32, form, key: 0, kind: 0 };
                    at += 5;
                }
                _ => at = rare(bytes, at, open.len(), out)?,
            }
        }
    }

    fn compare(bytes: &[u8]) {
        for improper in [&[][..], &improper(bytes).unwrap_or_default()] {
            let (mut quick, mut plain) = (b"before".to_vec(), b"before".to_vec());
            let (read, length) = (pack(bytes, 0, improper, &mut quick, &mut ()), plainly(bytes, improper, &mut plain));
            assert_eq!(read.map(|length| length.is_some()), length, "{bytes:?}");
            if length == Ok(true) {
                assert_eq!(quick, plain, "{bytes:?}");
                assert_eq!(read.unwrap(), Some(walk::check(bytes, 0, 0, DEPTH_MAX).unwrap()));
            }
        }
    }

    /// Numbers that look random, the same in every run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, n: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % n
        }

        fn of<'a>(&mut self, from: &[&'a [u8]]) -> &'a [u8] {
            from[self.below(from.len())]
        }

        fn name(&mut self) -> Vec<u8> {
            match self.below(8) {
                0 => self.of(&[b"unheard_of", b"", b"n", b"idx", b"communication_disabled_until_then", &[b'k'; 255]]).to_vec(),
                _ => keys::KEYS[self.below(keys::KEYS.len())].as_bytes().to_vec(),
            }
        }

        fn text(&mut self) -> Vec<u8> {
            match self.below(6) {
                0 => vec![b'x'; self.below(80)],
                1 => vec![b'7'; self.below(24)],
                2 => keys::WORDS[self.below(keys::WORDS.len())].as_bytes().to_vec(),
                3 => {
                    let mut text = Vec::new();
                    text::write_hash(self.below(2) == 0, &[self.below(256) as u8; 16], &mut text);
                    text
                }
                4 => vec![b'y'; self.below(70_000)],
                _ => self
                    .of(&[b"2023-04-11T09:33:12.529000+00:00", b"2023-04-11T09:33:12Z", b"17592884729911706", b"0", b"08", b"\xff\xfe"])
                    .to_vec(),
            }
        }
    }

    fn atom(numbers: &mut Numbers, name: &[u8], out: &mut Vec<u8>) {
        match numbers.below(6) {
            0 => out.extend([term::SMALL_ATOM, name.len() as u8]),
            1 => out.extend([term::SMALL_ATOM_UTF8, name.len() as u8]),
            2 => out.extend([term::ATOM_UTF8, 0, name.len() as u8]),
            _ => out.extend([term::ATOM, 0, name.len() as u8]),
        }
        out.extend(name);
    }

    fn binary(text: &[u8], out: &mut Vec<u8>) {
        out.push(term::BINARY);
        out.extend((text.len() as u32).to_be_bytes());
        out.extend(text);
    }

    /// Appends a term with no more than so many levels.
    fn any_term(numbers: &mut Numbers, levels: usize, out: &mut Vec<u8>) {
        match numbers.below(if levels == 0 { 9 } else { 14 }) {
            0 | 1 => {
                let name = numbers.of(&[b"nil", b"true", b"false", b"null", b"ni", b"nill", b"falsey", b"online"]);
                atom(numbers, name, out);
            }
            2 => out.extend([term::SMALL_INTEGER, numbers.below(256) as u8]),
            3 => {
                out.push(term::INTEGER);
                let size = 8 * numbers.below(4);
                out.extend(((numbers.below(1 << 31) as i32 >> size) * if size == 8 { -1 } else { 1 }).to_be_bytes());
            }
            4 | 5 => {
                let size = numbers.below(11);
                out.extend([term::SMALL_BIG, size as u8, (numbers.below(8) == 0) as u8]);
                (0..size).for_each(|_| out.push(numbers.below(256) as u8));
            }
            6 => binary(&numbers.text(), out),
            7 => out.push(term::NIL),
            8 => out.extend(numbers.of(&[b"F\x3f\xf8\0\0\0\0\0\0", b"k\0\x03abc", b"h\0", b"o\0\0\0\x01\0\x07"])),
            9..12 => {
                let (many, atoms) = (numbers.below(if levels > 2 { 40 } else { 6 }), numbers.below(4) != 0);
                out.push(term::MAP);
                out.extend((many as u32).to_be_bytes());
                for _ in 0..many {
                    let name = numbers.name();
                    match numbers.below(16) {
                        0 => any_term(numbers, 0, out),
                        kind if (kind == 1) != atoms => atom(numbers, &name, out),
                        _ => binary(&name, out),
                    }
                    any_term(numbers, levels - 1, out);
                }
            }
            _ => {
                let many = numbers.below(20);
                out.push(term::LIST);
                out.extend((many as u32).to_be_bytes());
                (0..many).for_each(|_| any_term(numbers, levels - 1, out));
                if numbers.below(12) == 0 { any_term(numbers, 0, out) } else { out.push(term::NIL) }
            }
        }
    }

    #[test]
    fn maps_whose_keys_repeat_are_packed_plainly_too_whatever_the_next_one_has_instead() {
        let mut numbers = Numbers(5);
        for _ in 0..300 {
            // All the same keys, in the same order, but for a few.
            let shape: Vec<Vec<u8>> = (0..1 + numbers.below(20)).map(|_| numbers.name()).collect();
            let mut bytes = vec![term::LIST, 0, 0, 0, 12];
            for _ in 0..12 {
                let names: Vec<Vec<u8>> =
                    shape.iter().map(|name| if numbers.below(12) == 0 { numbers.name() } else { name.clone() }).collect();
                bytes.extend([term::MAP, 0, 0, 0, names.len() as u8]);
                for name in names {
                    match numbers.below(20) {
                        0 => atom(&mut numbers, &name, &mut bytes),
                        1 => binary(&name, &mut bytes),
                        _ => {
                            bytes.extend([term::ATOM, 0, name.len() as u8]);
                            bytes.extend(name);
                        }
                    }
                    any_term(&mut numbers, 1, &mut bytes);
                }
            }
            bytes.push(term::NIL);
            compare(&bytes);
            for _ in 0..20 {
                let at = numbers.below(bytes.len());
                compare(&bytes[..at]);
                let before = std::mem::replace(&mut bytes[at], b"dwsmabnjFktlih\0\x01\x02\xff"[numbers.below(18)]);
                compare(&bytes);
                bytes[at] = before;
            }
        }
    }

    #[test]
    fn what_is_packed_in_haste_is_what_is_packed_plainly() {
        let mut numbers = Numbers(11);
        for round in 0..4_000 {
            let mut bytes = Vec::new();
            any_term(&mut numbers, round % 4, &mut bytes);
            let whole = bytes.len();
            // The same with other bytes behind it, which are not looked at.
            bytes.extend([b'm'; 20]);
            compare(&bytes);
            bytes.truncate(whole);
            compare(&bytes);
            if bytes.len() > 10_000 {
                continue;
            }
            compare(&bytes[..numbers.below(bytes.len())]);
            for _ in 0..4 {
                let at = numbers.below(bytes.len());
                bytes[at] = b"dwsmabnjFktlih\0\x01\x02\xff"[numbers.below(18)];
                compare(&bytes);
            }
        }
    }
}
