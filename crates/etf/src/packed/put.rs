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
    if let Some(word) = keys::text(text) {
        return out.extend_from_slice(&[WORD, word]);
    }
    // The length rules most forms out.
    match text.len() {
        2..=20 if matches!(text.first(), Some(b'0'..=b'9')) => {
            if let Some(value) = text::decimal(text) {
                return sized(DECIMAL, value, out);
            }
            if text.len() == 20
                && let Some(time) = Time::parse(text)
            {
                return put_time(time, out);
            }
        }
        24 | 25 | 27 | 29 => {
            if let Some(time) = Time::parse(text) {
                return put_time(time, out);
            }
        }
        32 => {
            if let Some(time) = Time::parse(text) {
                return put_time(time, out);
            }
            if let Some(hash) = text.first_chunk().and_then(text::hash) {
                out.push(HASH);
                return out.extend_from_slice(&hash);
            }
        }
        34 => {
            if let Some(hash) = text.strip_prefix(b"a_").and_then(|text| text.first_chunk()).and_then(text::hash) {
                out.push(ANIMATED_HASH);
                return out.extend_from_slice(&hash);
            }
        }
        _ => {}
    }
    plain(text, out);
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

fn put_time(time: Time, out: &mut Vec<u8>) {
    let end = out.len() + 1 + usize::from(Time::bytes(time.form));
    out.push(TIME0 + time.form);
    out.extend_from_slice(&time.count.to_le_bytes());
    out.truncate(end);
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
    match keys::key(name) {
        Some(code) if usize::from(code) < keys::SHORT => out.push(code as u8),
        Some(code) => {
            let code = usize::from(code) - keys::SHORT;
            out.extend_from_slice(&[KEY2 + (code >> 8) as u8, code as u8]);
        }
        None => return false,
    }
    true
}

/// The mark before a key that is no known one; its value must follow.
#[inline]
pub(crate) fn other_key(out: &mut Vec<u8>) {
    out.push(KEY_OTHER);
}

/// Reserves a container's head for about `count` entries or elements. Gives how many bytes it reserved.
#[inline]
pub(crate) fn begin(count: usize, out: &mut Vec<u8>) -> u8 {
    let head = if count > COUNT_SHORT { HEAD16 } else { HEAD };
    out.extend_from_slice(&[0; HEAD16]);
    out.truncate(out.len() - HEAD16 + head);
    head as u8
}

/// A list without elements.
#[inline]
pub(crate) fn empty_list(out: &mut Vec<u8>) {
    out.extend_from_slice(&[LIST0, 0]);
}

/// Writes the head that [`begin`] reserved at `head`, in the smallest form; moves the contents where it needs another size.
#[inline]
pub(crate) fn end(form: Form, head: usize, reserved: u8, count: usize, out: &mut Vec<u8>) {
    let size = out.len() - head - usize::from(reserved);
    if count <= COUNT_SHORT && size < 256 && usize::from(reserved) == HEAD {
        let base = match form {
            Form::Map => MAP0,
            Form::AtomMap => ATOM_MAP0,
            Form::List => LIST0,
        };
        if let Some([tag, length]) = out.get_mut(head..head + 2) {
            (*tag, *length) = (base | count as u8, size as u8);
        }
        return;
    }
    end_sized(form, head, usize::from(reserved), count, size, out);
}

fn end_sized(form: Form, head: usize, reserved: usize, count: usize, size: usize, out: &mut Vec<u8>) {
    let wanted = if count <= COUNT_SHORT && size < 256 {
        HEAD
    } else if count < 65_536 && size < 65_536 {
        HEAD16
    } else {
        HEAD32
    };
    if wanted > reserved {
        out.resize(out.len() + wanted - reserved, 0);
        out.copy_within(head + reserved..head + reserved + size, head + wanted);
    } else if wanted < reserved {
        out.copy_within(head + reserved.., head + wanted);
        out.truncate(head + wanted + size);
    }
    let Some(room) = out.get_mut(head..head + wanted) else { return };
    let [short, long] = match form {
        Form::Map => [MAP16, MAP32],
        Form::AtomMap => [ATOM_MAP16, ATOM_MAP32],
        Form::List => [LIST16, LIST32],
    };
    let base = match form {
        Form::Map => MAP0,
        Form::AtomMap => ATOM_MAP0,
        Form::List => LIST0,
    };
    match wanted {
        HEAD => room.copy_from_slice(&[base | count as u8, size as u8]),
        HEAD16 => {
            room[0] = short;
            room[1..3].copy_from_slice(&(size as u16).to_le_bytes());
            room[3..5].copy_from_slice(&(count as u16).to_le_bytes());
        }
        _ => {
            room[0] = long;
            room[1..5].copy_from_slice(&(size as u32).to_le_bytes());
            room[5..9].copy_from_slice(&(count as u32).to_le_bytes());
        }
    }
}
