//! JSON text: a strict scanner (RFC 8259), and a fast skip over what was scanned before.
//!
//! `check` accepts exactly what the standard calls a JSON text, UTF-8 and whole surrogate pairs included, and builds nothing. It needs
//! one bit per level of nesting. `skip` is for bytes that were checked; on others it may stop anywhere inside the slice, or give `None`.

use crate::error::{Error, ErrorKind};
use crate::{DEPTH_MAX, INTEGER_BYTES_MAX};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Marks the bytes of `word` that are zero with their highest bit; exact up to and including the lowest one.
#[inline(always)]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk::<8>()?))
}

/// Index of the first quote or backslash from `at` on.
#[inline(always)]
pub(crate) fn find_quote(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(word) = word(bytes, at) {
        let hits = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if hits != 0 {
            return Some(at + (hits.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let tail = bytes.get(at..)?.iter().position(|&b| b == b'"' || b == b'\\')?;
    Some(at + tail)
}

/// Where the string ends whose first character (behind the quote) is at `at`: behind its closing quote.
#[inline(always)]
fn skip_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = find_quote(bytes, at)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// How many bytes from the start on stand for themselves in a string; may be fewer than there are, by up to seven.
#[inline(always)]
pub(crate) fn plain(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = word(bytes, at) {
        let hits = zeros(word ^ (ONES * u64::from(b'"')))
            | zeros(word ^ (ONES * u64::from(b'\\')))
            | (word.wrapping_sub(ONES * 0x20) & !word & HIGHS);
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at
}

#[inline(always)]
pub(crate) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Where the value at `at` ends, for text that was checked before.
#[inline]
pub(crate) fn skip(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => skip_string(bytes, at + 1),
        b'{' | b'[' => skip_nested(bytes, at + 1),
        _ => {
            let rest = bytes.get(at..)?;
            let scalar = |b: &u8| matches!(b, b',' | b'}' | b']' | b':' | b' ' | b'\n' | b'\r' | b'\t');
            Some(at + rest.iter().position(scalar).unwrap_or(rest.len()))
        }
    }
}

/// From behind an opening bracket to behind the one that closes it.
fn skip_nested(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut open = 1usize;
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        match byte {
            b'"' => at = skip_string(bytes, at)?,
            b'{' | b'[' => open += 1,
            b'}' | b']' => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
}

fn wanted(bytes: &[u8], at: usize, what: &'static str) -> Error {
    Error::new(at, ErrorKind::Wanted { what, found: bytes.get(at).copied() })
}

/// Checks the string whose first character (behind the quote) is at `start`; gives the place behind its closing quote.
#[inline(always)]
fn check_string(bytes: &[u8], start: usize) -> Result<usize, Error> {
    let mut at = start;
    while let Some(word) = word(bytes, at) {
        let hits = zeros(word ^ (ONES * u64::from(b'"')))
            | zeros(word ^ (ONES * u64::from(b'\\')))
            | (word.wrapping_sub(ONES * 0x20) & !word & HIGHS)
            | (word & HIGHS);
        if hits != 0 {
            at += (hits.trailing_zeros() / 8) as usize;
            if bytes.get(at) == Some(&b'"') {
                return Ok(at + 1);
            }
            return check_string_slow(bytes, start, at);
        }
        at += 8;
    }
    check_string_slow(bytes, start, at)
}

/// The rest of a string that holds an escape or something else than ASCII, or that ends close to the end of the text.
#[inline(never)]
fn check_string_slow(bytes: &[u8], start: usize, mut at: usize) -> Result<usize, Error> {
    let mut ascii = true;
    loop {
        match bytes.get(at) {
            Some(b'"') => break,
            Some(b'\\') => at = check_escape(bytes, at)?,
            Some(&found @ 0..0x20) => return Err(Error::new(at, ErrorKind::Control { found })),
            Some(&byte) => {
                ascii &= byte < 0x80;
                at += 1;
            }
            None => return Err(wanted(bytes, at, "'\"' at the end of the string")),
        }
    }
    if !ascii && let Err(error) = std::str::from_utf8(bytes.get(start..at).unwrap_or_default()) {
        return Err(Error::new(start + error.valid_up_to(), ErrorKind::Utf8));
    }
    Ok(at + 1)
}

/// Four hexadecimal digits.
pub(crate) fn hex4(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..)?.first_chunk::<4>()?;
    digits.iter().try_fold(0u16, |sum, &digit| Some(sum << 4 | char::from(digit).to_digit(16)? as u16))
}

/// Checks the escape whose backslash is at `at`.
fn check_escape(bytes: &[u8], at: usize) -> Result<usize, Error> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            let unit = hex4(bytes, at + 2).ok_or_else(|| wanted(bytes, at + 2, "4 hexadecimal digits"))?;
            match unit {
                0xd800..0xdc00 => {
                    let low = (bytes.get(at + 6..at + 8) == Some(b"\\u")).then(|| hex4(bytes, at + 8)).flatten();
                    match low {
                        Some(0xdc00..0xe000) => Ok(at + 12),
                        _ => Err(Error::new(at, ErrorKind::Surrogate)),
                    }
                }
                0xdc00..0xe000 => Err(Error::new(at, ErrorKind::Surrogate)),
                _ => Ok(at + 6),
            }
        }
        _ => Err(wanted(bytes, at + 1, "one of \"\\/bfnrtu behind a backslash")),
    }
}

#[inline(always)]
fn digits(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b'0'..=b'9') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Checks the number at `start`.
#[inline(always)]
fn check_number(bytes: &[u8], start: usize) -> Result<usize, Error> {
    let first = if bytes.get(start) == Some(&b'-') { start + 1 } else { start };
    let mut at = digits(bytes, first);
    if at == first {
        return Err(wanted(bytes, at, "a digit"));
    }
    if at > first + 1 && bytes.get(first) == Some(&b'0') {
        return Err(wanted(bytes, first + 1, "no digit behind a leading zero"));
    }
    let whole = at - first;
    if !matches!(bytes.get(at), Some(b'.' | b'e' | b'E')) {
        if whole > digits_max() {
            return Err(Error::new(start, ErrorKind::IntegerTooLong { found: whole as u64 }));
        }
        return Ok(at);
    }
    if bytes.get(at) == Some(&b'.') {
        let fraction = at + 1;
        at = digits(bytes, fraction);
        if at == fraction {
            return Err(wanted(bytes, at, "a digit behind the point"));
        }
    }
    let mut exponent = false;
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = at + 1;
        let power = if let Some(b'+' | b'-') = bytes.get(sign) { sign + 1 } else { sign };
        at = digits(bytes, power);
        if at == power {
            return Err(wanted(bytes, at, "a digit in the exponent"));
        }
        exponent = true;
    }
    // Only an exponent or hundreds of digits can leave the range of a double.
    if (exponent || whole > 300) && float(bytes.get(start..at).unwrap_or_default()).is_none() {
        return Err(Error::new(start, ErrorKind::Float));
    }
    Ok(at)
}

/// Digits of the longest integer allowed: `INTEGER_BYTES_MAX` bytes, at a bit less than 2.41 digits a byte.
const fn digits_max() -> usize {
    INTEGER_BYTES_MAX * 240 / 100
}

/// A finite double; `None` for anything else.
pub(crate) fn float(raw: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(raw).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}

/// Whether the number is written as an integer. `-0` is not one: as an integer it would lose its sign.
pub(crate) fn is_integer(raw: &[u8]) -> bool {
    raw != b"-0" && !raw.iter().any(|b| matches!(b, b'.' | b'e' | b'E'))
}

/// Which brackets are open, one bit each: set for an object.
struct Open {
    kinds: [u64; (DEPTH_MAX / 64) as usize],
    depth: usize,
    depth_max: usize,
}

impl Open {
    fn new(depth: u32, depth_max: u32) -> Open {
        let levels = depth_max.min(DEPTH_MAX).saturating_sub(depth);
        Open { kinds: [0; (DEPTH_MAX / 64) as usize], depth: 0, depth_max: levels as usize }
    }

    /// `false`: no deeper.
    #[inline(always)]
    fn push(&mut self, object: bool) -> bool {
        if self.depth >= self.depth_max {
            return false;
        }
        let Some(word) = self.kinds.get_mut(self.depth / 64) else { return false };
        let bit = 1 << (self.depth % 64);
        *word = if object { *word | bit } else { *word & !bit };
        self.depth += 1;
        true
    }

    /// Closes the innermost; says whether an object is then the innermost, `None` if nothing is open any more.
    #[inline(always)]
    fn pop(&mut self) -> Option<bool> {
        self.depth -= 1;
        let last = self.depth.checked_sub(1)?;
        Some(self.kinds.get(last / 64).is_some_and(|word| word >> (last % 64) & 1 == 1))
    }
}

/// Where the value at `at` ends, after checking it and all that is inside. `depth` is how deep the value itself lies.
#[inline]
pub(crate) fn check(bytes: &[u8], at: usize, depth: u32, depth_max: u32) -> Result<usize, Error> {
    match bytes.get(at) {
        Some(b'{' | b'[') => check_nested(bytes, at, depth, depth_max),
        _ => check_scalar(bytes, at),
    }
}

#[inline(always)]
fn check_scalar(bytes: &[u8], at: usize) -> Result<usize, Error> {
    let literal = |text: &'static [u8], what: &'static str| {
        if bytes.get(at..at + text.len()) == Some(text) { Ok(at + text.len()) } else { Err(wanted(bytes, at, what)) }
    };
    match bytes.get(at) {
        Some(b'"') => check_string(bytes, at + 1),
        Some(b'-' | b'0'..=b'9') => check_number(bytes, at),
        Some(b'n') => literal(b"null", "null"),
        Some(b't') => literal(b"true", "true"),
        Some(b'f') => literal(b"false", "false"),
        _ => Err(wanted(bytes, at, "a value")),
    }
}

/// Checks a key, its colon and the space around; gives the place of the entry's value, and where the key ends.
#[inline(always)]
fn check_key(bytes: &[u8], at: usize) -> Result<(usize, usize), Error> {
    if bytes.get(at) != Some(&b'"') {
        return Err(wanted(bytes, at, "'\"' at the start of a key"));
    }
    let end = check_string(bytes, at + 1)?;
    let colon = skip_space(bytes, end);
    if bytes.get(colon) != Some(&b':') {
        return Err(wanted(bytes, colon, "':' behind a key"));
    }
    Ok((skip_space(bytes, colon + 1), end))
}

#[inline(never)]
fn check_nested(bytes: &[u8], start: usize, depth: u32, depth_max: u32) -> Result<usize, Error> {
    let mut open = Open::new(depth, depth_max);
    let mut at = start;
    // Each round begins at a value.
    'value: loop {
        let mut object = match bytes.get(at) {
            Some(&bracket @ (b'{' | b'[')) => {
                let object = bracket == b'{';
                if !open.push(object) {
                    return Err(Error::new(at, ErrorKind::TooDeep { depth_max }));
                }
                at = skip_space(bytes, at + 1);
                match (bytes.get(at), object) {
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        at += 1;
                        match open.pop() {
                            Some(object) => object,
                            None => return Ok(at),
                        }
                    }
                    (_, true) => {
                        at = check_key(bytes, at)?.0;
                        continue 'value;
                    }
                    (_, false) => continue 'value,
                }
            }
            _ => {
                at = check_scalar(bytes, at)?;
                open.depth.checked_sub(1).is_some_and(|last| open.kinds.get(last / 64).is_some_and(|w| w >> (last % 64) & 1 == 1))
            }
        };
        // A value is complete: a comma leads to the next one, a bracket closes.
        loop {
            at = skip_space(bytes, at);
            match (bytes.get(at), object) {
                (Some(b','), true) => {
                    at = check_key(bytes, skip_space(bytes, at + 1))?.0;
                    continue 'value;
                }
                (Some(b','), false) => {
                    at = skip_space(bytes, at + 1);
                    continue 'value;
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    at += 1;
                    match open.pop() {
                        Some(outer) => object = outer,
                        None => return Ok(at),
                    }
                }
                (_, true) => return Err(wanted(bytes, at, "',' or '}'")),
                (_, false) => return Err(wanted(bytes, at, "',' or ']'")),
            }
        }
    }
}

/// Checks the value at `at` like [`check`], and shows each entry of it (and of objects that are its direct values) to `visit`.
pub(crate) fn check_entries<'a, F>(bytes: &'a [u8], at: usize, depth_max: u32, visit: &mut F) -> Result<usize, Error>
where
    F: FnMut(Option<&'a [u8]>, &'a [u8], &'a [u8]),
{
    entries(bytes, at, 0, depth_max, None, visit)
}

/// One object's entries; calls itself once, for the objects inside the outermost one, and no deeper.
fn entries<'a, F>(bytes: &'a [u8], at: usize, depth: u32, depth_max: u32, outer: Option<&'a [u8]>, visit: &mut F) -> Result<usize, Error>
where
    F: FnMut(Option<&'a [u8]>, &'a [u8], &'a [u8]),
{
    if bytes.get(at) != Some(&b'{') {
        return check(bytes, at, depth, depth_max);
    }
    if depth >= depth_max.min(DEPTH_MAX) {
        return Err(Error::new(at, ErrorKind::TooDeep { depth_max }));
    }
    let mut next = skip_space(bytes, at + 1);
    if bytes.get(next) == Some(&b'}') {
        return Ok(next + 1);
    }
    loop {
        let (value, key_end) = check_key(bytes, next)?;
        let key = bytes.get(next..key_end).unwrap_or_default();
        let end = if outer.is_none() {
            entries(bytes, value, depth + 1, depth_max, Some(key), visit)?
        } else {
            check(bytes, value, depth + 1, depth_max)?
        };
        visit(outer, key, bytes.get(value..end).unwrap_or_default());
        next = skip_space(bytes, end);
        match bytes.get(next) {
            Some(b',') => next = skip_space(bytes, next + 1),
            Some(b'}') => return Ok(next + 1),
            _ => return Err(wanted(bytes, next, "',' or '}'")),
        }
    }
}
