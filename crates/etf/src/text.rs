//! Strings in JSON: taking escapes away and putting them in.
//!
//! Reading works on strings that were checked; on others it gives `None`. Writing escapes only what it must: quote, backslash and
//! control characters. Other text stays UTF-8.

use crate::json;
use std::borrow::Cow;

/// What stands between a JSON string's quotes; `None` if `raw` is no string.
#[inline]
pub(crate) fn inside(raw: &[u8]) -> Option<&[u8]> {
    match raw {
        [b'"', inside @ .., b'"'] => Some(inside),
        _ => None,
    }
}

/// The text of a JSON string, borrowed when nothing is escaped.
pub(crate) fn decode(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inside = inside(raw)?;
    if memchr::memchr(b'\\', inside).is_none() {
        return std::str::from_utf8(inside).ok().map(Cow::Borrowed);
    }
    let mut text = Vec::with_capacity(inside.len());
    decode_to(inside, &mut text)?;
    String::from_utf8(text).ok().map(Cow::Owned)
}

/// Appends the text of what stands between the quotes.
pub(crate) fn decode_to(inside: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = inside;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at_checked(at)?;
        out.extend_from_slice(plain);
        let (character, length) = unescape(escape)?;
        let mut room = [0; 4];
        out.extend_from_slice(character.encode_utf8(&mut room).as_bytes());
        rest = escape.get(length..)?;
    }
    out.extend_from_slice(rest);
    Some(())
}

/// The character that the escape at the start of `escape` stands for, and the escape's length.
fn unescape(escape: &[u8]) -> Option<(char, usize)> {
    Some(match escape.get(1)? {
        b'b' => ('\u{8}', 2),
        b'f' => ('\u{c}', 2),
        b'n' => ('\n', 2),
        b'r' => ('\r', 2),
        b't' => ('\t', 2),
        b'u' => {
            let high = u32::from(json::hex4(escape, 2)?);
            if (0xd800..0xdc00).contains(&high) {
                let low = u32::from(json::hex4(escape, 8)?);
                let code = 0x10000 + ((high - 0xd800) << 10) + low.checked_sub(0xdc00)?;
                (char::from_u32(code)?, 12)
            } else {
                (char::from_u32(high)?, 6)
            }
        }
        &same @ (b'"' | b'\\' | b'/') => (char::from(same), 2),
        _ => return None,
    })
}

/// Whether a JSON string (with its quotes) says `text`. Allocates nothing.
#[inline]
pub(crate) fn equals(raw: &[u8], text: &[u8]) -> bool {
    let Some(inside) = inside(raw) else { return false };
    if inside.len() == text.len() && inside == text {
        // A backslash in the JSON would be an escape, which is longer than what it stands for.
        return !text.contains(&b'\\');
    }
    inside.len() > text.len() && inside.contains(&b'\\') && equals_escaped(inside, text)
}

#[cold]
fn equals_escaped(inside: &[u8], text: &[u8]) -> bool {
    let (mut rest, mut text) = (inside, text);
    while let Some(&byte) = rest.first() {
        let mut room = [0; 4];
        let (said, length): (&[u8], usize) = if byte == b'\\' {
            let Some((character, length)) = unescape(rest) else { return false };
            (character.encode_utf8(&mut room).as_bytes(), length)
        } else {
            room[0] = byte;
            (room.get(..1).unwrap_or_default(), 1)
        };
        match (text.strip_prefix(said), rest.get(length..)) {
            (Some(more), Some(after)) => (text, rest) = (more, after),
            _ => return false,
        }
    }
    text.is_empty()
}

/// For each byte: 0 if it stands for itself in a string, else the letter behind the backslash (`u` for the numbered form).
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0a] = b'n';
    table[0x0c] = b'f';
    table[0x0d] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

/// Appends `text` as a JSON string, quotes included.
pub(crate) fn encode(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(text.len() + 2);
    out.push(b'"');
    let bytes = text.as_bytes();
    // Most texts hold nothing to escape, and eight bytes are looked at in one step.
    let plain = json::plain(bytes);
    let mut start = 0;
    for (at, &byte) in bytes.iter().enumerate().skip(plain) {
        let escape = ESCAPES[usize::from(byte)];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(bytes.get(start..at).unwrap_or_default());
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            out.extend_from_slice(&[b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        start = at + 1;
    }
    out.extend_from_slice(bytes.get(start..).unwrap_or_default());
    out.push(b'"');
}

/// Appends bytes as a JSON string. What is not UTF-8 becomes U+FFFD; says whether that happened.
pub(crate) fn encode_lossy(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            encode(text, out);
            false
        }
        Err(_) => {
            encode(&String::from_utf8_lossy(bytes), out);
            true
        }
    }
}
