//! The writer for JSON: compact text, commas and colons put in where they belong.

use crate::error::Error;
use crate::value::{Encoding, Value};
use crate::write::TermWrite;
use crate::{number, text, transcode};

/// Writes JSON without spaces. Ids are strings, as Discord writes them.
#[derive(Clone, Debug, Default)]
pub struct JsonWriter {
    out: Vec<u8>,
    /// Whether something stands before the next key or element inside the innermost bracket.
    follows: bool,
}

impl JsonWriter {
    /// An empty text.
    pub fn new() -> JsonWriter {
        JsonWriter::default()
    }

    /// What was written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.out
    }

    /// What was written.
    pub fn into_vec(self) -> Vec<u8> {
        self.out
    }

    /// The place of the next value.
    #[inline]
    fn next(&mut self) -> &mut Vec<u8> {
        if self.follows {
            self.out.push(b',');
        }
        self.follows = true;
        &mut self.out
    }

    fn begin(&mut self, bracket: u8) {
        self.next().push(bracket);
        self.follows = false;
    }

    fn end(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.follows = true;
    }

    fn key_end(&mut self) {
        self.out.push(b':');
        self.follows = false;
    }

    /// Runs `write` at the place of the next value; if it fails, everything is as before.
    fn attempt(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>) -> Result<(), Error> {
        let (length, follows) = (self.out.len(), self.follows);
        let result = write(self.next());
        if result.is_err() {
            self.out.truncate(length);
            self.follows = follows;
        }
        result
    }
}

impl TermWrite for JsonWriter {
    fn null(&mut self) {
        self.next().extend_from_slice(b"null");
    }

    fn bool(&mut self, value: bool) {
        self.next().extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn int(&mut self, value: i64) {
        self.next().extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn uint(&mut self, value: u64) {
        self.next().extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn float(&mut self, value: f64) {
        number::write_json_float(value, self.next());
    }

    fn str(&mut self, value: &str) {
        text::encode(value, self.next());
    }

    fn id(&mut self, value: u64) {
        self.str(itoa::Buffer::new().format(value));
    }

    fn begin_map(&mut self, _len: usize) {
        self.begin(b'{');
    }

    fn key(&mut self, key: &str) {
        self.str(key);
        self.key_end();
    }

    fn key_from(&mut self, key: Value<'_>) -> Result<(), Error> {
        self.attempt(|out| transcode::key_to_json(key, out).map(drop))?;
        self.key_end();
        Ok(())
    }

    fn end_map(&mut self) {
        self.end(b'}');
    }

    fn begin_list(&mut self, _len: usize) {
        self.begin(b'[');
    }

    fn end_list(&mut self) {
        self.end(b']');
    }

    fn value(&mut self, value: Value<'_>) -> Result<(), Error> {
        self.attempt(|out| transcode::transcode(value, Encoding::Json, out).map(drop))
    }
}
