//! Appends single values in the packed form. Everything that writes it goes through here, so a value has one form only.

use super::text::Time;
use super::{
    ANIMATED_HASH, ATOM, ATOM_MAP0, ATOM_MAP16, ATOM_MAP32, COUNT_SHORT, DECIMAL, FALSE, FLOAT32, FLOAT64, Form, HASH, HEAD, HEAD16,
    HEAD32, KEY_OTHER, KEY2, LIST0, LIST16, LIST32, MAP0, MAP16, MAP32, NEGATIVE, NULL, STR0, STR8, STR16, STR32, TIME0, TRUE, UINT, WORD,
};
use super::{keys, text};

/// Appends a tag and the fewest bytes that hold `value`, at least one; `base` plus their number is the tag.
#[inline(always)]
fn sized(base: u8, value: u64, out: &mut Vec<u8>) {
    let size = (8 - value.leading_zeros() as usize / 8).max(1);
    let mut room = [0; 9];
    room[0] = base + size as u8;
    room[1..].copy_from_slice(&value.to_le_bytes());
    // One store of fixed size is quicker than a copy of 1 to 8 bytes.
    let end = out.len() + 1 + size;
    out.extend_from_slice(&room);
    out.truncate(end);
}

/// A tag and the fewest bytes that hold `value` at the start of some room; gives how many.
#[inline(always)]
fn sized_at<const N: usize>(base: u8, value: u64, room: &mut [u8; N]) -> usize {
    const { assert!(N >= 9) };
    let size = (71 - (value | 1).leading_zeros() as usize) / 8;
    room[0] = base + size as u8;
    room[1..9].copy_from_slice(&value.to_le_bytes());
    1 + size
}

/// [`uint`] at the start of some room; gives how many bytes it takes.
#[inline(always)]
pub(crate) fn uint_at<const N: usize>(value: u64, room: &mut [u8; N]) -> usize {
    if value < u64::from(STR0) {
        room[0] = value as u8;
        return 1;
    }
    sized_at(UINT, value, room)
}

/// [`negative`] at the start of some room, of what is not negative itself; gives how many bytes it takes.
#[inline(always)]
pub(crate) fn negative_at<const N: usize>(value: i64, room: &mut [u8; N]) -> usize {
    sized_at(NEGATIVE, value.unsigned_abs(), room)
}

#[inline]
pub(crate) fn uint(value: u64, out: &mut Vec<u8>) {
    if value < u64::from(STR0) { out.push(value as u8) } else { sized(UINT, value, out) }
}

/// An integer that is negative: -1 - `value`.
#[inline]
pub(crate) fn negative(value: u64, out: &mut Vec<u8>) {
    sized(NEGATIVE, value, out);
}

/// An integer; `false`: it does not fit, and nothing was written.
#[inline]
pub(crate) fn int(value: i128, out: &mut Vec<u8>) -> bool {
    if let Ok(value) = u64::try_from(value) {
        uint(value, out);
        true
    } else if let Ok(value) = u64::try_from(-1 - value) {
        negative(value, out);
        true
    } else {
        false
    }
}

#[inline]
pub(crate) fn null(out: &mut Vec<u8>) {
    out.push(NULL);
}

#[inline]
pub(crate) fn bool(value: bool, out: &mut Vec<u8>) {
    out.push(if value { TRUE } else { FALSE });
}

/// A finite float.
pub(crate) fn float(value: f64, out: &mut Vec<u8>) {
    let short = value as f32;
    if f64::from(short).to_bits() == value.to_bits() {
        out.push(FLOAT32);
        out.extend_from_slice(&short.to_le_bytes());
    } else {
        out.push(FLOAT64);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// A string as it is.
#[inline]
pub(crate) fn plain(text: &[u8], out: &mut Vec<u8>) {
    match text.len() {
        len @ 0..64 => out.push(STR0 | len as u8),
        len @ 64..256 => out.extend_from_slice(&[STR8, len as u8]),
        len @ 256..65_536 => {
            out.push(STR16);
            out.extend_from_slice(&(len as u16).to_le_bytes());
        }
        len => {
            out.push(STR32);
            out.extend_from_slice(&(len as u32).to_le_bytes());
        }
    }
    out.extend_from_slice(text);
}

/// A string in its smallest form.
#[inline]
pub(crate) fn string(text: &[u8], out: &mut Vec<u8>) {
    let mut room = [0; SMALL];
    match small(text, &mut room) {
        Some(length) => out.extend_from_slice(room.get(..length).unwrap_or_default()),
        None => plain(text, out),
    }
}

/// Most bytes of a string that is kept as something else than its text.
const SMALL: usize = 17;

/// Writes a string that is kept as something else than its text to the start of some room; gives how many bytes it takes.
#[inline(always)]
pub(crate) fn small<const N: usize>(text: &[u8], room: &mut [u8; N]) -> Option<usize> {
    const { assert!(N >= SMALL) };
    if let Some(word) = keys::text(text) {
        (room[0], room[1]) = (WORD, word);
        return Some(2);
    }
    // The length rules most forms out.
    match text.len() {
        2..=20 if matches!(text.first(), Some(b'0'..=b'9')) => match text::decimal(text) {
            Some(value) => Some(sized_at(DECIMAL, value, room)),
            None if text.len() == 20 => Time::parse(text).map(|time| time_at(time, room)),
            None => None,
        },
        24 | 25 | 27 | 29 => Time::parse(text).map(|time| time_at(time, room)),
        32 => {
            if let Some(time) = Time::parse(text) {
                return Some(time_at(time, room));
            }
            hash_at(HASH, text, room)
        }
        34 => hash_at(ANIMATED_HASH, text.strip_prefix(b"a_")?, room),
        _ => None,
    }
}

#[inline(always)]
fn time_at<const N: usize>(time: Time, room: &mut [u8; N]) -> usize {
    room[0] = TIME0 + time.form;
    room[1..9].copy_from_slice(&time.count.to_le_bytes());
    1 + usize::from(Time::bytes(time.form))
}

#[inline(always)]
fn hash_at<const N: usize>(tag: u8, text: &[u8], room: &mut [u8; N]) -> Option<usize> {
    let hash = text::hash(text.first_chunk()?)?;
    room[0] = tag;
    room[1..17].copy_from_slice(&hash);
    Some(17)
}

/// [`decimal`] of at least two digits at the start of some room; gives how many bytes it takes.
#[inline(always)]
pub(crate) fn decimal_at<const N: usize>(value: u64, room: &mut [u8; N]) -> usize {
    sized_at(DECIMAL, value, room)
}

/// A string of decimal digits.
#[inline]
pub(crate) fn decimal(value: u64, out: &mut Vec<u8>) {
    if value < 10 {
        out.extend_from_slice(&[STR0 | 1, b'0' + value as u8]);
    } else {
        sized(DECIMAL, value, out);
    }
}

/// An atom that is neither nil, true nor false: ASCII, at most 255 bytes.
pub(crate) fn atom(name: &[u8], out: &mut Vec<u8>) {
    out.push(ATOM);
    plain(name, out);
}

/// A term of another encoding, as it is; `tag` says which.
pub(crate) fn raw(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// A known key's number; `false`: it has none, and nothing was written.
#[inline(always)]
pub(crate) fn known_key(name: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(code) = keys::key(name) else { return false };
    let (bytes, length) = key_bytes(code);
    out.extend_from_slice(bytes.get(..length).unwrap_or_default());
    true
}

/// A known key's number as it is written, and how many of the bytes that takes.
#[inline(always)]
pub(crate) fn key_bytes(code: u16) -> ([u8; 2], usize) {
    const SHORT: u16 = keys::SHORT as u16;
    if code < SHORT {
        return ([code as u8, 0], 1);
    }
    let code = code - SHORT;
    ([KEY2 + (code >> 8) as u8, code as u8], 2)
}

/// The mark before a key that is no known one; its value must follow.
#[inline]
pub(crate) fn other_key(out: &mut Vec<u8>) {
    out.push(KEY_OTHER);
}

/// How many bytes to reserve for the head of a container of about `count` entries or elements.
#[inline(always)]
pub(crate) fn reserve(count: usize) -> u8 {
    if count > COUNT_SHORT { HEAD16 as u8 } else { HEAD as u8 }
}

/// Reserves a container's head for about `count` entries or elements. Gives how many bytes it reserved.
#[inline]
pub(crate) fn begin(count: usize, out: &mut Vec<u8>) -> u8 {
    let head = reserve(count);
    out.extend_from_slice(&[0; HEAD16]);
    out.truncate(out.len() - HEAD16 + usize::from(head));
    head
}

/// Bytes of the smallest head that a container of so many entries or elements, in so many bytes, has.
pub(crate) fn head_bytes(count: usize, size: usize) -> usize {
    if count <= COUNT_SHORT && size < 256 {
        HEAD
    } else if count < 65_536 && size < 65_536 {
        HEAD16
    } else {
        HEAD32
    }
}

/// A list without elements.
pub(crate) const EMPTY_LIST: [u8; 2] = [LIST0, 0];

/// Writes the head that [`begin`] reserved at `head`, in the smallest form; moves the contents where it needs another size.
#[inline]
pub(crate) fn end(form: Form, head: usize, reserved: u8, count: usize, out: &mut Vec<u8>) {
    let size = out.len() - head - usize::from(reserved);
    if end_at(form, head, reserved, count, out.len(), out).is_none() {
        end_sized(form, head, usize::from(reserved), count, size, out);
    }
}

/// [`end`] for contents that end at `end`, if the head has the size that was reserved; gives their end.
#[inline(always)]
pub(crate) fn end_at(form: Form, head: usize, reserved: u8, count: usize, end: usize, out: &mut [u8]) -> Option<usize> {
    let size = end - head - usize::from(reserved);
    let short = count <= COUNT_SHORT && size < 256;
    if short && usize::from(reserved) == HEAD {
        let base = match form {
            Form::Map => MAP0,
            Form::AtomMap => ATOM_MAP0,
            Form::List => LIST0,
        };
        *out.get_mut(head..)?.first_chunk_mut()? = [base | count as u8, size as u8];
        return Some(end);
    }
    if !short && usize::from(reserved) == HEAD16 && count < 65_536 && size < 65_536 {
        let tag = match form {
            Form::Map => MAP16,
            Form::AtomMap => ATOM_MAP16,
            Form::List => LIST16,
        };
        let ([a, b], [c, d]) = ((size as u16).to_le_bytes(), (count as u16).to_le_bytes());
        *out.get_mut(head..)?.first_chunk_mut()? = [tag, a, b, c, d];
        return Some(end);
    }
    None
}

#[cold]
fn end_sized(form: Form, head: usize, reserved: usize, count: usize, size: usize, out: &mut Vec<u8>) {
    let (bytes, wanted) = head_of(form, count, size);
    if wanted > reserved {
        out.resize(out.len() + wanted - reserved, 0);
        out.copy_within(head + reserved..head + reserved + size, head + wanted);
    } else if wanted < reserved {
        out.copy_within(head + reserved.., head + wanted);
        out.truncate(head + wanted + size);
    }
    if let Some(room) = out.get_mut(head..head + wanted) {
        room.copy_from_slice(bytes.get(..wanted).unwrap_or_default());
    }
}

/// The smallest head for so many entries or elements of so many bytes, and how many bytes it takes.
pub(crate) fn head_of(form: Form, count: usize, size: usize) -> ([u8; HEAD32], usize) {
    let mut room = [0; HEAD32];
    let [base, short, long] = match form {
        Form::Map => [MAP0, MAP16, MAP32],
        Form::AtomMap => [ATOM_MAP0, ATOM_MAP16, ATOM_MAP32],
        Form::List => [LIST0, LIST16, LIST32],
    };
    if count <= COUNT_SHORT && size < 256 {
        (room[0], room[1]) = (base | count as u8, size as u8);
        (room, HEAD)
    } else if count < 65_536 && size < 65_536 {
        room[0] = short;
        room[1..3].copy_from_slice(&(size as u16).to_le_bytes());
        room[3..5].copy_from_slice(&(count as u16).to_le_bytes());
        (room, HEAD16)
    } else {
        room[0] = long;
        room[1..5].copy_from_slice(&(size as u32).to_le_bytes());
        room[5..9].copy_from_slice(&(count as u32).to_le_bytes());
        (room, HEAD32)
    }
}
