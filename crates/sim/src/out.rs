//! Writes payloads in both of Discord's encodings, straight into bytes.
//!
//! ETF as Discord sends it: maps with atom keys for names and binary keys where the key is an id, ids as integers, `nil`, `true`
//! and `false` as atoms, text as binaries. JSON: ids as strings. The shapes of the payloads are written once, against this type.
//! Never builds a tree; never fails.

use serde_json::Value;

/// One of the two encodings of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// JSON text.
    Json,
    /// Erlang's external term format.
    Etf,
}

impl Encoding {
    /// Its name in a gateway address.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Encoding::Json => "json",
            Encoding::Etf => "etf",
        }
    }
}

/// A payload being written.
pub(crate) struct Out {
    pub(crate) bytes: Vec<u8>,
    encoding: Encoding,
    /// Elements written into the innermost open map or list.
    count: u32,
}

impl Out {
    pub(crate) fn new(encoding: Encoding) -> Out {
        Out { bytes: Vec::with_capacity(2048), encoding, count: 0 }
    }

    /// Begins a new document in the same buffer.
    pub(crate) fn restart(&mut self) {
        self.bytes.clear();
        self.count = 0;
        if self.encoding == Encoding::Etf {
            self.bytes.push(131);
        }
    }

    /// Opens the document's outermost map.
    pub(crate) fn root(&mut self, fill: impl FnOnce(&mut Out)) {
        self.open_map(fill);
    }

    fn open_map(&mut self, fill: impl FnOnce(&mut Out)) {
        let outer = std::mem::take(&mut self.count);
        match self.encoding {
            Encoding::Json => {
                self.bytes.push(b'{');
                fill(self);
                self.bytes.push(b'}');
            }
            Encoding::Etf => {
                let at = self.bytes.len();
                self.bytes.extend_from_slice(&[116, 0, 0, 0, 0]);
                fill(self);
                self.bytes[at + 1..at + 5].copy_from_slice(&self.count.to_be_bytes());
            }
        }
        self.count = outer;
    }

    fn open_list(&mut self, fill: impl FnOnce(&mut Out)) {
        let outer = std::mem::take(&mut self.count);
        match self.encoding {
            Encoding::Json => {
                self.bytes.push(b'[');
                fill(self);
                self.bytes.push(b']');
            }
            Encoding::Etf => {
                let at = self.bytes.len();
                self.bytes.extend_from_slice(&[108, 0, 0, 0, 0]);
                fill(self);
                if self.count == 0 {
                    self.bytes.truncate(at);
                } else {
                    self.bytes[at + 1..at + 5].copy_from_slice(&self.count.to_be_bytes());
                }
                self.bytes.push(106);
            }
        }
        self.count = outer;
    }

    fn next(&mut self) {
        if self.encoding == Encoding::Json && self.count > 0 {
            self.bytes.push(b',');
        }
        self.count += 1;
    }

    /// A key that is a name.
    pub(crate) fn key(&mut self, name: &str) {
        self.next();
        match self.encoding {
            Encoding::Json => {
                self.bytes.push(b'"');
                self.bytes.extend_from_slice(name.as_bytes());
                self.bytes.extend_from_slice(b"\":");
            }
            Encoding::Etf => self.atom(name),
        }
    }

    /// A key that is data (an id, a locale): a binary in ETF.
    pub(crate) fn data_key(&mut self, name: &str) {
        self.next();
        self.raw_str(name);
        if self.encoding == Encoding::Json {
            self.bytes.push(b':');
        }
    }

    fn atom(&mut self, name: &str) {
        self.bytes.push(100);
        self.bytes.extend_from_slice(&(name.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
    }

    fn word(&mut self, json: &str, atom: &str) {
        match self.encoding {
            Encoding::Json => self.bytes.extend_from_slice(json.as_bytes()),
            Encoding::Etf => self.atom(atom),
        }
    }

    fn digits(&mut self, value: u64) {
        let mut text = [0u8; 20];
        let mut at = text.len();
        let mut rest = value;
        loop {
            at -= 1;
            text[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.bytes.extend_from_slice(&text[at..]);
    }

    fn big(&mut self, magnitude: u64, negative: bool) {
        let digits = magnitude.to_le_bytes();
        let len = 8 - (magnitude.leading_zeros() / 8) as usize;
        self.bytes.extend_from_slice(&[110, len as u8, u8::from(negative)]);
        self.bytes.extend_from_slice(&digits[..len]);
    }

    pub(crate) fn raw_int(&mut self, value: i64) {
        match self.encoding {
            Encoding::Json => {
                if value < 0 {
                    self.bytes.push(b'-');
                }
                self.digits(value.unsigned_abs());
            }
            Encoding::Etf => {
                if (0..=255).contains(&value) {
                    self.bytes.extend_from_slice(&[97, value as u8]);
                } else if let Ok(small) = i32::try_from(value) {
                    self.bytes.push(98);
                    self.bytes.extend_from_slice(&small.to_be_bytes());
                } else {
                    self.big(value.unsigned_abs(), value < 0);
                }
            }
        }
    }

    pub(crate) fn raw_id(&mut self, id: u64) {
        match self.encoding {
            Encoding::Json => {
                self.bytes.push(b'"');
                self.digits(id);
                self.bytes.push(b'"');
            }
            Encoding::Etf => match i32::try_from(id) {
                Ok(small) => self.raw_int(i64::from(small)),
                Err(_) => self.big(id, false),
            },
        }
    }

    pub(crate) fn raw_str(&mut self, text: &str) {
        match self.encoding {
            Encoding::Json => {
                self.bytes.push(b'"');
                if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
                    self.bytes.extend_from_slice(text.as_bytes());
                } else {
                    for byte in text.bytes() {
                        match byte {
                            b'"' => self.bytes.extend_from_slice(b"\\\""),
                            b'\\' => self.bytes.extend_from_slice(b"\\\\"),
                            b'\n' => self.bytes.extend_from_slice(b"\\n"),
                            0..0x20 => self.bytes.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                            _ => self.bytes.push(byte),
                        }
                    }
                }
                self.bytes.push(b'"');
            }
            Encoding::Etf => {
                self.bytes.push(109);
                self.bytes.extend_from_slice(&(text.len() as u32).to_be_bytes());
                self.bytes.extend_from_slice(text.as_bytes());
            }
        }
    }

    pub(crate) fn raw_null(&mut self) {
        self.word("null", "nil");
    }

    pub(crate) fn raw_bool(&mut self, value: bool) {
        let word = if value { "true" } else { "false" };
        self.word(word, word);
    }

    fn raw_float(&mut self, value: f64) {
        match self.encoding {
            Encoding::Json => self.bytes.extend_from_slice(format!("{value:?}").as_bytes()),
            Encoding::Etf => {
                self.bytes.push(70);
                self.bytes.extend_from_slice(&value.to_be_bytes());
            }
        }
    }

    // Fields of a map.

    pub(crate) fn id(&mut self, name: &str, id: u64) {
        self.key(name);
        self.raw_id(id);
    }

    pub(crate) fn int(&mut self, name: &str, value: i64) {
        self.key(name);
        self.raw_int(value);
    }

    pub(crate) fn float(&mut self, name: &str, value: f64) {
        self.key(name);
        self.raw_float(value);
    }

    pub(crate) fn str(&mut self, name: &str, text: &str) {
        self.key(name);
        self.raw_str(text);
    }

    pub(crate) fn bool(&mut self, name: &str, value: bool) {
        self.key(name);
        self.raw_bool(value);
    }

    pub(crate) fn null(&mut self, name: &str) {
        self.key(name);
        self.raw_null();
    }

    pub(crate) fn id_or_null(&mut self, name: &str, id: Option<u64>) {
        self.key(name);
        match id {
            Some(id) => self.raw_id(id),
            None => self.raw_null(),
        }
    }

    pub(crate) fn str_or_null(&mut self, name: &str, text: Option<&str>) {
        self.key(name);
        match text {
            Some(text) => self.raw_str(text),
            None => self.raw_null(),
        }
    }

    pub(crate) fn map(&mut self, name: &str, fill: impl FnOnce(&mut Out)) {
        self.key(name);
        self.open_map(fill);
    }

    pub(crate) fn list(&mut self, name: &str, fill: impl FnOnce(&mut Out)) {
        self.key(name);
        self.open_list(fill);
    }

    pub(crate) fn empty(&mut self, name: &str) {
        self.list(name, |_| {});
    }

    /// A map as the value of a key that was just written.
    pub(crate) fn inline_map(&mut self, fill: impl FnOnce(&mut Out)) {
        self.open_map(fill);
    }

    /// A point in time in Discord's ISO 8601 form.
    pub(crate) fn time(&mut self, name: &str, unix_ms: u64) {
        let text = iso(unix_ms);
        self.key(name);
        self.raw_str(std::str::from_utf8(&text).unwrap_or(""));
    }

    // Elements of a list.

    pub(crate) fn item_map(&mut self, fill: impl FnOnce(&mut Out)) {
        self.next();
        self.open_map(fill);
    }

    pub(crate) fn item_id(&mut self, id: u64) {
        self.next();
        self.raw_id(id);
    }

    pub(crate) fn item_int(&mut self, value: i64) {
        self.next();
        self.raw_int(value);
    }

    pub(crate) fn item_str(&mut self, text: &str) {
        self.next();
        self.raw_str(text);
    }

    /// A value that somebody gave as JSON. Text that looks like an id under a key that names one becomes an integer in ETF.
    pub(crate) fn given(&mut self, name: &str, value: &Value) {
        match value {
            Value::Null => self.raw_null(),
            Value::Bool(value) => self.raw_bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(value) => self.raw_int(value),
                None => self.raw_float(number.as_f64().unwrap_or(0.0)),
            },
            Value::String(text) => {
                let names_id = name == "id" || name.ends_with("_id") || name == "ids" || name.ends_with("_ids");
                match text.parse::<u64>() {
                    Ok(id) if names_id && text.len() >= 15 => self.raw_id(id),
                    _ => self.raw_str(text),
                }
            }
            Value::Array(items) => self.open_list(|o| {
                for item in items {
                    o.next();
                    o.given(name, item);
                }
            }),
            Value::Object(fields) => self.open_map(|o| {
                for (key, value) in fields {
                    if key.bytes().all(|b| b.is_ascii_digit()) || key.len() > 255 {
                        o.data_key(key);
                    } else {
                        o.key(key);
                    }
                    o.given(key, value);
                }
            }),
        }
    }
}

/// `2026-11-21T18:33:07.123000+00:00`.
pub(crate) fn iso(unix_ms: u64) -> [u8; 32] {
    let seconds = unix_ms / 1000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01, in eras of 400 years (the civil calendar's period).
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let mut text = *b"0000-00-00T00:00:00.000000+00:00";
    let mut put = |at: usize, len: usize, mut value: u64| {
        for index in (at..at + len).rev() {
            text[index] = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(0, 4, year);
    put(5, 2, month);
    put(8, 2, day);
    put(11, 2, second / 3600);
    put(14, 2, second / 60 % 60);
    put(17, 2, second % 60);
    put(20, 3, unix_ms % 1000);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(encoding: Encoding) -> Vec<u8> {
        let mut out = Out::new(encoding);
        out.restart();
        out.root(|o| {
            o.id("id", 175_928_847_299_117_063);
            o.str("name", "a \"b\"\n");
            o.int("n", -1);
            o.null("x");
            o.bool("y", true);
            o.empty("l");
            o.list("m", |o| {
                o.item_int(1);
                o.item_map(|o| {
                    o.data_key("42");
                    o.raw_int(300);
                });
            });
        });
        out.bytes
    }

    #[test]
    fn json_has_ids_as_text() {
        assert_eq!(
            String::from_utf8_lossy(&sample(Encoding::Json)),
            r#"{"id":"175928847299117063","name":"a \"b\"\n","n":-1,"x":null,"y":true,"l":[],"m":[1,{"42":300}]}"#
        );
    }

    #[test]
    fn etf_has_atom_keys_integer_ids_and_binary_keys_where_the_key_is_data() {
        let bytes = sample(Encoding::Etf);
        let mut want = vec![131, 116, 0, 0, 0, 7, 100, 0, 2];
        want.extend_from_slice(b"id");
        want.extend_from_slice(&[110, 8, 0]);
        want.extend_from_slice(&175_928_847_299_117_063_u64.to_le_bytes());
        assert_eq!(&bytes[..want.len()], &want[..]);
        let tail: &[u8] = &[108, 0, 0, 0, 2, 97, 1, 116, 0, 0, 0, 1, 109, 0, 0, 0, 2, b'4', b'2', 98, 0, 0, 1, 44, 106];
        assert_eq!(&bytes[bytes.len() - tail.len()..], tail);
    }

    #[test]
    fn times_are_in_the_civil_calendar() {
        assert_eq!(&iso(0), b"1970-01-01T00:00:00.000000+00:00");
        assert_eq!(&iso(1_709_210_096_789), b"2024-02-29T12:34:56.789000+00:00");
        assert_eq!(&iso(1_798_761_599_001), b"2026-12-31T23:59:59.001000+00:00");
    }
}
