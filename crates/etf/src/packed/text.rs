//! Strings that are kept as something smaller than their text: times, hashes, decimal numbers.
//!
//! Each is taken only if writing it out gives the same text again, byte for byte; so nothing is lost by trying.

/// A point in time as Discord writes it (ISO 8601, UTC), with how it was written.
///
/// | form | text | kept as |
/// |---|---|---|
/// | 0 | `2023-04-11T09:33:12.529000+00:00` | milliseconds, 6 bytes |
/// | 1 | `2023-04-11T09:33:12.529123+00:00` | microseconds, 7 bytes |
/// | 2 | `2023-04-11T09:33:12+00:00` | seconds, 5 bytes |
/// | 3 | `2023-04-11T09:33:12.529+00:00` | milliseconds, 6 bytes |
/// | 4 | `2023-04-11T09:33:12.529000Z` | milliseconds, 6 bytes |
/// | 5 | `2023-04-11T09:33:12.529123Z` | microseconds, 7 bytes |
/// | 6 | `2023-04-11T09:33:12Z` | seconds, 5 bytes |
/// | 7 | `2023-04-11T09:33:12.529Z` | milliseconds, 6 bytes |
///
/// Years 1970 to 9999 (microseconds to 4253); other times stay text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) form: u8,
    /// Since 1970, in the unit of the form.
    pub(crate) count: u64,
}

/// Longest text of a time.
pub(crate) const TIME_TEXT: usize = 32;
const SECONDS_A_DAY: u64 = 86_400;
/// Days from 1970 to the end of 9999.
const DAYS_MAX: u64 = 2_932_897;

/// February without its leap day. There is no month 0, and it has no days.
const DAYS_OF_MONTHS: [u8; 13] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// Days from 1970-01-01 to a date of the Gregorian calendar (from March on, so that the leap day ends the year).
#[inline]
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// The date of a day since 1970-01-01.
#[inline]
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (0, month + 3) } else { (1, month - 9) };
    (era * 400 + year_of_era + year, month, day)
}

/// Seconds since 1970 to a time of a day that there is.
#[inline(always)]
fn seconds([year, month, day]: [u64; 3], [hour, minute, second]: [u64; 3]) -> Option<u64> {
    let leap = month == 2 && year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_of_month = u64::from(*DAYS_OF_MONTHS.get(month as usize)?) + u64::from(leap);
    if year < 1970 || day == 0 || day > days_of_month || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(days(year, month, day) * SECONDS_A_DAY + hour * 3600 + minute * 60 + second)
}

/// The highest bit of each byte.
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// 32 bytes as numbers.
const fn words(bytes: &[u8; 32]) -> [u64; 4] {
    let (mut words, mut at) = ([0; 4], 0);
    while at < 32 {
        words[at / 8] |= (bytes[at] as u64) << (8 * (at % 8));
        at += 1;
    }
    words
}

impl Time {
    /// Bytes that a time of this form takes.
    pub(crate) const fn bytes(form: u8) -> u8 {
        match form {
            0 | 3 | 4 | 7 => 6,
            1 | 5 => 7,
            _ => 5,
        }
    }

    /// How many of the unit make a second.
    const fn unit(form: u8) -> u64 {
        match Time::bytes(form) {
            6 => 1_000,
            7 => 1_000_000,
            _ => 1,
        }
    }

    /// A time that was kept; `None` beyond the year 9999.
    #[inline]
    pub(crate) fn new(form: u8, count: u64) -> Option<Time> {
        if count / Time::unit(form) < DAYS_MAX * SECONDS_A_DAY { Some(Time { form, count }) } else { None }
    }

    /// Reads a text that [`Time::write`] would write exactly so.
    #[inline]
    pub(crate) fn parse(text: &[u8]) -> Option<Time> {
        match text.try_into() {
            Ok(text) => Time::usual(text),
            Err(_) => Time::other(text),
        }
    }

    /// Those of the first two forms, which are nearly all; no other has as many bytes.
    #[inline]
    fn usual(text: &[u8; 32]) -> Option<Time> {
        /// What each byte must be, but for digits of which it must be one: as it is written there, a zero.
        const SHAPE: [u64; 4] = words(b"0000-00-00T00:00:00.000000+00:00");
        /// What makes the highest bit of a byte 1 that is not as it must be, where `SHAPE` was taken from it: more than 9, or more than 0.
        const MORE: [u64; 4] = words(b"vvvv\x7fvv\x7fvv\x7fvv\x7fvv\x7fvv\x7fvvvvvv\x7f\x7f\x7f\x7f\x7f\x7f");
        let (words, _) = text.as_chunks::<8>();
        let (mut wrong, mut pairs) = (0, [0; 4]);
        for (at, word) in words.iter().enumerate().take(4) {
            let digits = u64::from_le_bytes(*word) ^ SHAPE[at];
            // No byte below 128 carries into the next with this, and others are wrong by themselves.
            wrong |= digits | ((digits & !HIGH_BITS) + MORE[at]);
            // Each byte and the one behind it as a number of two digits, where both are digits.
            pairs[at] = digits.wrapping_mul(10).wrapping_add(digits >> 8);
        }
        if wrong & HIGH_BITS != 0 {
            return None;
        }
        let pair = |word: usize, byte: u32| pairs[word] >> (8 * byte) & 0xff;
        let seconds = seconds([pair(0, 0) * 100 + pair(0, 2), pair(0, 5), pair(1, 0)], [pair(1, 3), pair(1, 6), pair(2, 1)])?;
        Time::of_micros(seconds, pair(2, 4) * 10_000 + pair(2, 6) * 100 + pair(3, 0), false)
    }

    /// A time with six digits behind its seconds. Microseconds outgrow seven bytes in the year 4253.
    #[inline(always)]
    fn of_micros(seconds: u64, micros: u64, zulu: bool) -> Option<Time> {
        let (form, count) =
            if micros.is_multiple_of(1_000) { (0, seconds * 1_000 + micros / 1_000) } else { (1, seconds * 1_000_000 + micros) };
        (count >> (8 * Time::bytes(form)) == 0).then_some(Time { form: if zulu { form + 4 } else { form }, count })
    }

    fn other(text: &[u8]) -> Option<Time> {
        let (whole, rest) = text.split_first_chunk::<19>()?;
        let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1, b':', s0, s1] = *whole else { return None };
        let date = eight([y0, y1, y2, y3, m0, m1, d0, d1])?;
        let clock = eight([b'0', b'0', h0, h1, n0, n1, s0, s1])?;
        let seconds = seconds([date / 10_000, date / 100 % 100, date % 100], [clock / 10_000, clock / 100 % 100, clock % 100])?;
        let (fraction, zulu) = match rest {
            [fraction @ .., b'Z'] => (fraction, true),
            [fraction @ .., b'+', b'0', b'0', b':', b'0', b'0'] => (fraction, false),
            _ => return None,
        };
        let (form, count) = match *fraction {
            [] => (2, seconds),
            [b'.', a, b, c] => (3, seconds * 1_000 + eight([b'0', b'0', b'0', b'0', b'0', a, b, c])?),
            [b'.', a, b, c, d, e, f] => {
                return Time::of_micros(seconds, eight([b'0', b'0', a, b, c, d, e, f])?, zulu);
            }
            _ => return None,
        };
        Some(Time { form: if zulu { form + 4 } else { form }, count })
    }

    /// The text, and how many bytes of the room it takes.
    pub(crate) fn write(self) -> ([u8; TIME_TEXT], usize) {
        let unit = Time::unit(self.form);
        let (seconds, fraction) = (self.count / unit, self.count % unit);
        let (year, month, day) = date(seconds / SECONDS_A_DAY);
        let clock = seconds % SECONDS_A_DAY;
        let mut text = *b"0000-00-00T00:00:00.000000+00:00";
        let mut put = |at: usize, value: u64| {
            text[at] = b'0' + (value / 10 % 10) as u8;
            text[at + 1] = b'0' + (value % 10) as u8;
        };
        put(0, year / 100);
        put(2, year);
        put(5, month);
        put(8, day);
        put(11, clock / 3600);
        put(14, clock / 60 % 60);
        put(17, clock % 60);
        let micros = if unit == 1_000 { fraction * 1_000 } else { fraction };
        put(20, micros / 10_000);
        put(22, micros / 100);
        put(24, micros);
        let digits = match self.form {
            2 | 6 => 19,
            3 | 7 => 23,
            _ => 26,
        };
        let end: &[u8] = if self.form < 4 { b"+00:00" } else { b"Z" };
        text[digits..digits + end.len()].copy_from_slice(end);
        (text, digits + end.len())
    }
}

/// 32 hexadecimal digits in lower case.
#[inline]
pub(crate) fn hash(text: &[u8; 32]) -> Option<[u8; 16]> {
    let mut hash = [0; 16];
    let (words, _) = text.as_chunks::<8>();
    let (room, _) = hash.as_chunks_mut::<4>();
    for (room, word) in room.iter_mut().zip(words) {
        *room = eight_hex(*word)?;
    }
    Some(hash)
}

/// Eight hexadecimal digits in lower case as four bytes, all at once.
#[inline(always)]
fn eight_hex(text: [u8; 8]) -> Option<[u8; 4]> {
    /// A number for each byte.
    const fn each(byte: u64) -> u64 {
        byte * 0x0101_0101_0101_0101
    }
    let word = u64::from_le_bytes(text);
    // Digits are 30 to 39, letters 61 to 66. No sum here carries from one byte into the next.
    let letters = word >> 6 & each(1);
    let low = word & each(0x0f);
    let high_wrong = (word & each(0xf0)) ^ (each(0x30) + letters * 0x30);
    let too_large = (low + each(6) + letters * 3) & each(0x10);
    let no_letter = !(low + each(0x0f)) & letters << 4;
    if high_wrong | too_large | no_letter != 0 {
        return None;
    }
    let values = low + letters * 9;
    let pairs = (values << 4 | values >> 8) & 0x00ff_00ff_00ff_00ff;
    let pairs = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    Some(((pairs | pairs >> 16) as u32).to_le_bytes())
}

/// Appends the digits.
pub(crate) fn write_hash(animated: bool, hash: &[u8; 16], out: &mut Vec<u8>) {
    if animated {
        out.extend_from_slice(b"a_");
    }
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(hash) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    out.extend_from_slice(&text);
}

/// Eight decimal digits as a number, in a few multiplications.
#[inline(always)]
fn eight(text: [u8; 8]) -> Option<u64> {
    let word = u64::from_le_bytes(text);
    let high = 0xf0f0_f0f0_f0f0_f0f0;
    // Every byte is 3x, and stays so with 6 added: 0 to 9. (A byte that carries into the next is none of these, and is seen itself.)
    if (word & high) | ((word.wrapping_add(0x0606_0606_0606_0606) & high) >> 4) != 0x3333_3333_3333_3333 {
        return None;
    }
    let word = word & 0x0f0f_0f0f_0f0f_0f0f;
    let word = word.wrapping_mul(10).wrapping_add(word >> 8) & 0x00ff_00ff_00ff_00ff;
    let word = word.wrapping_mul(100).wrapping_add(word >> 16) & 0x0000_ffff_0000_ffff;
    Some(word.wrapping_mul(10_000).wrapping_add(word >> 32) & 0xffff_ffff)
}

/// The number that a text of at least two decimal digits says, if it fits 64 bits and is written without zeros in front.
#[inline]
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.len() < 2 || text.len() > 20 || !matches!(text.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut value = 0u64;
    let mut rest = text;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        // At most two words: 16 digits cannot overflow.
        value = value * 100_000_000 + eight(*word)?;
        rest = after;
    }
    for &digit in rest {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_only_where_they_come_out_the_same() {
        let same = [
            ("2023-04-11T09:33:12.529000+00:00", 0),
            ("2023-04-11T09:33:12.529123+00:00", 1),
            ("2023-04-11T09:33:12+00:00", 2),
            ("2023-04-11T09:33:12.529+00:00", 3),
            ("2023-04-11T09:33:12.529000Z", 4),
            ("2023-04-11T09:33:12.000001Z", 5),
            ("2023-04-11T09:33:12Z", 6),
            ("2023-04-11T09:33:12.007Z", 7),
            ("1970-01-01T00:00:00Z", 6),
            ("9999-12-31T23:59:59.999000+00:00", 0),
            ("2000-02-29T00:00:00+00:00", 2),
            ("2024-02-29T23:59:59+00:00", 2),
            ("2100-03-01T00:00:00+00:00", 2),
        ];
        for (text, form) in same {
            let time = Time::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(time.form, form, "{text}");
            let (room, length) = time.write();
            assert_eq!(std::str::from_utf8(&room[..length]).unwrap(), text);
            assert_eq!(Time::new(form, time.count), Some(time));
        }
        let other = [
            "2023-04-11 09:33:12+00:00",
            "2023-04-31T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2023-04-11T24:00:00Z",
            "2023-04-11T09:60:00Z",
            "2023-04-11T09:33:60Z",
            "2023-04-11T09:33:12+01:00",
            "2023-04-11T09:33:12",
            "2023-04-11T09:33:12.5Z",
            "2023-00-11T09:33:12Z",
            "2023-13-11T09:33:12Z",
            "2023-04-00T09:33:12Z",
            "2023-04-11T09:33:12z",
            "",
            "T",
            "2023-04-11T09:33:12.+00:00",
            "2023-04-11T09:33:12.52a000+00:00",
            "2023-04-11T09:33:1:+00:00",
            "9999-12-31T23:59:59.999999+00:00",
        ];
        for text in other {
            assert_eq!(Time::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Time::new(6, DAYS_MAX * SECONDS_A_DAY), None);
    }

    #[test]
    fn times_of_the_usual_length_are_read_at_once_as_they_are_byte_by_byte() {
        let mut taken = 0;
        for text in [b"2023-04-11T09:33:12.529000+00:00", b"2024-02-29T23:59:59.999999+00:00", b"4253-05-31T22:20:37.927936+00:00"] {
            for place in 0..text.len() {
                for byte in 0..=255 {
                    let mut other = *text;
                    other[place] = byte;
                    let time = Time::usual(&other);
                    assert_eq!((time, time), (Time::other(&other), Time::parse(&other)), "{place} {byte}");
                    taken += usize::from(time.is_some());
                }
            }
        }
        assert!(taken > 3 * 100, "{taken}");
    }

    #[test]
    fn every_day_until_9999_has_its_date() {
        let mut expected = (1970, 1, 1);
        for day in 0..DAYS_MAX {
            assert_eq!(date(day), expected);
            assert_eq!(days(expected.0, expected.1, expected.2), day);
            let (year, month, of_month) = expected;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
            expected = if of_month < last {
                (year, month, of_month + 1)
            } else if month < 12 {
                (year, month + 1, 1)
            } else {
                (year + 1, 1, 1)
            };
        }
        assert_eq!(expected, (10_000, 1, 1));
    }

    #[test]
    fn decimals_are_taken_only_where_they_come_out_the_same() {
        for value in [10, 99, 1234, 99_999_999, 100_000_000, 175_928_847_299_117_063, 9_999_999_999_999_999, u64::MAX] {
            assert_eq!(decimal(value.to_string().as_bytes()), Some(value));
        }
        for text in [
            "",
            "1",
            "01",
            "18446744073709551616",
            "99999999999999999999",
            "1234567:",
            "123456/8",
            "12a",
            "-12",
            "12345678901234567 ",
            "1234567\u{b9}0",
        ] {
            assert_eq!(decimal(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn eight_characters_are_digits_or_nothing() {
        for place in 0..8 {
            for byte in 0..=255u8 {
                let mut text = *b"12345678";
                text[place] = byte;
                let expected = if byte.is_ascii_digit() { std::str::from_utf8(&text).unwrap().parse().ok() } else { None };
                assert_eq!(eight(text), expected, "{place} {byte}");
            }
        }
    }

    #[test]
    fn hashes_are_lower_case_only() {
        let text = b"b9c1b3a0a4bb71b9cbd1ab7e5d32e7a4";
        let mut out = Vec::new();
        write_hash(true, &hash(text).unwrap(), &mut out);
        assert_eq!(out, b"a_b9c1b3a0a4bb71b9cbd1ab7e5d32e7a4");
        assert_eq!(hash(b"B9c1b3a0a4bb71b9cbd1ab7e5d32e7a4"), None);
        assert_eq!(hash(b"g9c1b3a0a4bb71b9cbd1ab7e5d32e7a4"), None);
        // Every byte in every place.
        for place in 0..32 {
            for byte in 0..=255u8 {
                let mut text = *text;
                text[place] = byte;
                let value = b"0123456789abcdef".iter().position(|digit| *digit == byte);
                let read = hash(&text);
                assert_eq!(read.is_some(), value.is_some(), "{place} {byte}");
                if let (Some(read), Some(value)) = (read, value) {
                    let pair = read[place / 2];
                    assert_eq!(usize::from(if place % 2 == 0 { pair >> 4 } else { pair & 15 }), value);
                }
            }
        }
    }
}
