//! Integers of any size between ETF's bytes and decimal digits.
//!
//! The conversions take time in the square of the length, which [`INTEGER_BYTES_MAX`](crate::INTEGER_BYTES_MAX) bounds.

use crate::term::{self, Int};

/// From here on (and from the negative of it on) JSON readers that keep numbers as doubles round integers.
const EXACT_MAX: i128 = 1 << 53;

/// A JSON number that is an integer and whose magnitude fits 64 bits.
pub(crate) fn parse_json(raw: &[u8]) -> Option<i128> {
    let (negative, digits) = match raw {
        [b'-', digits @ ..] => (true, digits),
        _ => (false, raw),
    };
    let magnitude = i128::from(parse_decimal(digits)?);
    if negative && magnitude == 0 {
        return None;
    }
    Some(if negative { -magnitude } else { magnitude })
}

/// Decimal digits, at least one and nothing else, whose value fits 64 bits.
#[inline]
pub(crate) fn parse_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    let mut value = 0u64;
    for &digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// Appends an integer's decimal digits.
pub(crate) fn write_int(int: Int<'_>, out: &mut Vec<u8>) {
    match (int.to_i128(), int) {
        (Some(value), _) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        (None, Int::Big { negative, magnitude }) => write_big(negative, magnitude, out),
        (None, Int::Small(_)) => {}
    }
}

/// Appends an integer as JSON: a number, or a string from 2^53 on (ids), so that no reader rounds it.
pub(crate) fn write_json(int: Int<'_>, out: &mut Vec<u8>) {
    let exact = int.to_i128().is_some_and(|value| -EXACT_MAX < value && value < EXACT_MAX);
    if exact {
        return write_int(int, out);
    }
    out.push(b'"');
    write_int(int, out);
    out.push(b'"');
}

/// Appends the digits of a magnitude (least significant byte first) by dividing it by 10^19 again and again.
fn write_big(negative: bool, magnitude: &[u8], out: &mut Vec<u8>) {
    const GROUP: u128 = 10_000_000_000_000_000_000;
    let mut limbs: Vec<u64> =
        magnitude.chunks(8).map(|chunk| chunk.iter().rev().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte))).collect();
    let mut groups: Vec<u64> = Vec::new();
    while let Some(&last) = limbs.last() {
        if last == 0 {
            limbs.pop();
            continue;
        }
        let mut rest = 0u128;
        for limb in limbs.iter_mut().rev() {
            let sum = rest << 64 | u128::from(*limb);
            *limb = (sum / GROUP) as u64;
            rest = sum % GROUP;
        }
        groups.push(rest as u64);
    }
    if negative && !groups.is_empty() {
        out.push(b'-');
    }
    let mut room = itoa::Buffer::new();
    let first = groups.pop().unwrap_or(0);
    out.extend_from_slice(room.format(first).as_bytes());
    for group in groups.into_iter().rev() {
        let digits = room.format(group).as_bytes();
        out.extend(std::iter::repeat_n(b'0', 19usize.saturating_sub(digits.len())));
        out.extend_from_slice(digits);
    }
}

/// The magnitude of decimal digits, least significant byte first, without zeros at its end. Digits must be digits.
fn parse_big(digits: &[u8]) -> Vec<u8> {
    let mut limbs: Vec<u64> = Vec::with_capacity(digits.len() / 19 + 1);
    for group in digits.chunks(19) {
        let factor = 10u128.pow(group.len() as u32);
        let mut carry = group.iter().fold(0u128, |sum, &digit| sum * 10 + u128::from(digit.wrapping_sub(b'0') % 10));
        for limb in &mut limbs {
            let sum = u128::from(*limb) * factor + carry;
            *limb = sum as u64;
            carry = sum >> 64;
        }
        if carry != 0 {
            limbs.push(carry as u64);
        }
    }
    let mut magnitude: Vec<u8> = limbs.into_iter().flat_map(u64::to_le_bytes).collect();
    while magnitude.last() == Some(&0) {
        magnitude.pop();
    }
    magnitude
}

/// Appends an integer as the shortest ETF term, as Erlang does.
pub(crate) fn write_etf(value: i128, out: &mut Vec<u8>) {
    if let Ok(value) = u8::try_from(value) {
        out.extend_from_slice(&[term::SMALL_INTEGER, value]);
    } else if let Ok(value) = i32::try_from(value) {
        out.push(term::INTEGER);
        out.extend_from_slice(&value.to_be_bytes());
    } else {
        let bytes = value.unsigned_abs().to_le_bytes();
        let used = bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
        write_etf_big(value < 0, bytes.get(..used).unwrap_or_default(), out);
    }
}

/// Appends a JSON integer of any size, digits with an optional minus sign, as ETF.
pub(crate) fn write_etf_digits(raw: &[u8], out: &mut Vec<u8>) {
    match parse_json(raw) {
        Some(value) => write_etf(value, out),
        None => {
            let negative = raw.first() == Some(&b'-');
            write_etf_big(negative, &parse_big(raw.get(usize::from(negative)..).unwrap_or_default()), out);
        }
    }
}

fn write_etf_big(negative: bool, magnitude: &[u8], out: &mut Vec<u8>) {
    match u8::try_from(magnitude.len()) {
        Ok(length) => out.extend_from_slice(&[term::SMALL_BIG, length, u8::from(negative)]),
        Err(_) => {
            out.push(term::LARGE_BIG);
            out.extend_from_slice(&(magnitude.len() as u32).to_be_bytes());
            out.push(u8::from(negative));
        }
    }
    out.extend_from_slice(magnitude);
}

/// Appends a finite float as the shortest JSON number that reads back the same, always with a point or an exponent, so that it stays a
/// float. NaN and infinities, which neither encoding has, become `null`.
pub(crate) fn write_json_float(value: f64, out: &mut Vec<u8>) {
    use std::io::Write;
    if value.is_finite() {
        // Writing to a Vec cannot fail.
        if write!(out, "{value:?}").is_err() {
            out.extend_from_slice(b"null");
        }
    } else {
        out.extend_from_slice(b"null");
    }
}
