//! Discord's timestamps (ISO 8601) to protobuf's.
//!
//! Discord docs, Reference: ISO8601 Date/Time. Seen forms: `2021-05-01T12:34:56+00:00`, with up to six digits of
//! fraction, and with `Z`. Anything else is no timestamp; nothing is guessed.

use prost_types::Timestamp;

/// Protobuf's timestamps end with the year 9999.
pub(crate) const SECONDS_MAX: u64 = 253_402_300_799;

/// The instant that `text` names, or `None` when it is not such a timestamp.
pub(crate) fn parse(text: &[u8]) -> Option<Timestamp> {
    usual(text).or_else(|| unusual(text))
}

/// The form that nearly all have, `2021-05-01T12:34:56.789000+00:00` or the same without a fraction. What is wrong with it is not said here.
fn usual(text: &[u8]) -> Option<Timestamp> {
    let (at, rest) = text.split_first_chunk::<19>()?;
    let micros = match rest {
        b"+00:00" => 0,
        [b'.', a, b, c, d, e, f, b'+', b'0', b'0', b':', b'0', b'0'] => number([*a, *b, *c, *d, *e, *f])?,
        _ => return None,
    };
    let [y0, y1, y2, y3, b'-', mo0, mo1, b'-', d0, d1, b'T', h0, h1, b':', mi0, mi1, b':', s0, s1] = *at else { return None };
    let (year, month, day) = (number([y0, y1, y2, y3])?, number([mo0, mo1])?, number([d0, d1])?);
    let (hour, minute, second) = (number([h0, h1])?, number([mi0, mi1])?, number([s0, s1])?);
    let seconds = seconds_of((year, month, day), (hour, minute, second))?;
    Some(Timestamp { seconds, nanos: i32::try_from(micros).ok()? * 1_000 })
}

/// The number that these digits are.
#[inline]
fn number<const N: usize>(digits: [u8; N]) -> Option<i64> {
    // Whether one is no digit is asked once for all.
    let (mut number, mut wrong) = (0, false);
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        wrong |= digit > 9;
        number = number * 10 + i64::from(digit);
    }
    (!wrong).then_some(number)
}

/// Seconds since 1970 of a date and a time of day, if there are such.
fn seconds_of((year, month, day): (i64, i64, i64), (hour, minute, second): (i64, i64, i64)) -> Option<i64> {
    let calendar = year >= 1 && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    // 60 is a leap second; unix time has none, so it runs into the next minute.
    if !calendar || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(days_from_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn unusual(text: &[u8]) -> Option<Timestamp> {
    let mut cursor = Cursor { rest: text };
    let year = cursor.digits(4)?;
    cursor.one(b"-")?;
    let month = cursor.digits(2)?;
    cursor.one(b"-")?;
    let day = cursor.digits(2)?;
    cursor.one(b"Tt ")?;
    let hour = cursor.digits(2)?;
    cursor.one(b":")?;
    let minute = cursor.digits(2)?;
    cursor.one(b":")?;
    let second = cursor.digits(2)?;
    let nanos = cursor.fraction()?;
    let offset = cursor.offset_seconds()?;
    if !cursor.rest.is_empty() {
        return None;
    }
    let seconds = seconds_of((year, month, day), (hour, minute, second))? - offset;
    Some(Timestamp { seconds, nanos })
}

/// An instant from unix microseconds.
pub(crate) fn from_unix_us(micros: u64) -> Timestamp {
    let seconds = i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(micros % 1_000_000).unwrap_or(0) * 1_000;
    Timestamp { seconds, nanos }
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.rest.split_at_checked(count)?;
        let mut number = 0;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return None;
            }
            number = number * 10 + i64::from(digit - b'0');
        }
        self.rest = rest;
        Some(number)
    }

    fn one(&mut self, of: &[u8]) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        if !of.contains(first) {
            return None;
        }
        self.rest = rest;
        Some(*first)
    }

    /// Nanoseconds; digits beyond the ninth are read and dropped.
    fn fraction(&mut self) -> Option<i32> {
        if self.one(b".").is_none() {
            return Some(0);
        }
        let mut nanos = 0;
        let mut unit = 100_000_000;
        let mut any = false;
        while let Some((digit, rest)) = self.rest.split_first() {
            if !digit.is_ascii_digit() {
                break;
            }
            nanos += i32::from(digit - b'0') * unit;
            unit /= 10;
            any = true;
            self.rest = rest;
        }
        any.then_some(nanos)
    }

    /// `Z` or `+hh:mm`; no offset at all is UTC, as Discord means it.
    fn offset_seconds(&mut self) -> Option<i64> {
        if self.rest.is_empty() {
            return Some(0);
        }
        let sign = match self.one(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(0),
        };
        let hours = self.digits(2)?;
        let _ = self.one(b":");
        let minutes = self.digits(2)?;
        (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar. Years are counted from March, so that the leap day comes last.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let years = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    // 719468 days lie between 0000-03-01 and 1970-01-01.
    years * 365 + years / 4 - years / 100 + years / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<(i64, i32)>) {
        assert_eq!(parse(text.as_bytes()).map(|time| (time.seconds, time.nanos)), want, "{text}");
    }

    #[test]
    fn discords_forms_are_read() {
        check("1970-01-01T00:00:00+00:00", Some((0, 0)));
        check("2021-05-01T12:34:56.789000+00:00", Some((1_619_872_496, 789_000_000)));
        check("2021-05-01T12:34:56.000001+00:00", Some((1_619_872_496, 1_000)));
        check("2021-05-01T12:34:56Z", Some((1_619_872_496, 0)));
        check("2021-05-01T12:34:56.7Z", Some((1_619_872_496, 700_000_000)));
        check("2021-05-01T12:34:56", Some((1_619_872_496, 0)));
        check("2000-02-29T00:00:00+00:00", Some((951_782_400, 0)));
        check("1969-12-31T23:59:59.5+00:00", Some((-1, 500_000_000)));
    }

    #[test]
    fn the_usual_form_is_read_as_the_others_are() {
        let mut read = 0;
        for year in [1, 1900, 1969, 1970, 2000, 2021, 2024, 9999] {
            for (month, day) in (0..=13).flat_map(|month| [0, 1, 28, 29, 30, 31, 32].map(|day| (month, day))) {
                for (hour, minute, second) in [(0, 0, 0), (12, 34, 56), (23, 59, 60), (24, 0, 0), (0, 60, 0), (0, 0, 61)] {
                    for fraction in ["", ".000000", ".000001", ".789000", ".999999"] {
                        let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}+00:00");
                        let time = usual(text.as_bytes());
                        assert_eq!(time, unusual(text.as_bytes()), "{text}");
                        read += u32::from(time.is_some());
                    }
                }
            }
        }
        assert!(read > 1_000);
        // Each byte of it replaced by others.
        let text = *b"2021-05-01T12:34:56.789000+00:00";
        for at in 0..text.len() {
            for byte in [0, b'/', b':', b'0', b'5', b'9', b'-', b'T', b't', b'Z', b'.', b'+', b' ', 0xFF] {
                let mut other = text;
                other[at] = byte;
                assert!(usual(&other).is_none_or(|time| Some(time) == unusual(&other)), "{other:?}");
                assert_eq!(parse(&other), unusual(&other), "{other:?}");
            }
            assert_eq!(parse(&text[..at]), unusual(&text[..at]));
        }
    }

    #[test]
    fn offsets_are_taken_off() {
        check("2021-05-01T14:34:56+02:00", Some((1_619_872_496, 0)));
        check("2021-05-01T07:04:56-05:30", Some((1_619_872_496, 0)));
        check("2021-05-01T14:34:56+0200", Some((1_619_872_496, 0)));
    }

    #[test]
    fn everything_else_is_no_timestamp() {
        for text in [
            "",
            "2021",
            "2021-05-01",
            "2021-13-01T00:00:00Z",
            "2021-02-29T00:00:00Z",
            "2021-05-01T24:00:00Z",
            "2021-05-01T00:00:00.Z",
            "2021-05-01T00:00:00+24:00",
            "2021-05-01T00:00:00Zx",
            "0000-01-01T00:00:00Z",
            "١٢٣٤-05-01T00:00:00Z",
        ] {
            check(text, None);
        }
    }
}
