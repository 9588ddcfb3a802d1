//! Streaming writers: one trait for both encodings, and the writer for ETF.
//!
//! A writer never fails on what its caller says: counts are patched in when a list or map ends, so a wrong size hint costs nothing.
//! Lists and maps must be ended in the order they were begun; keys stand only in maps. What a writer cannot express ([`TermWrite::value`] of a
//! malformed or opaque term) is an error and leaves the output as it was.

use crate::error::Error;
use crate::value::{Encoding, Value};
use crate::{ETF_VERSION, number, term, transcode};

/// Writes one term from its start to its end.
pub trait TermWrite {
    /// `null`; in ETF the atom `nil`.
    fn null(&mut self);
    /// `true` or `false`.
    fn bool(&mut self, value: bool);
    /// An integer, always as a number. For ids use [`TermWrite::id`].
    fn int(&mut self, value: i64);
    /// An integer, always as a number.
    fn uint(&mut self, value: u64);
    /// A float. NaN and infinities, which neither encoding has, become `null`.
    fn float(&mut self, value: f64);
    /// A string; in ETF a binary.
    fn str(&mut self, value: &str);
    /// A snowflake: a string, or in ETF an integer if the writer is set to [`Ids::Integers`].
    fn id(&mut self, value: u64);
    /// Begins a map. `len` is a hint.
    fn begin_map(&mut self, len: usize);
    /// The key of the next entry; its value must follow.
    fn key(&mut self, key: &str);
    /// Like [`TermWrite::key`], with the key of an entry that was read; in the same encoding it stays as it was (an atom stays one).
    ///
    /// # Errors
    /// The key is a term that cannot be a key in this encoding.
    fn key_from(&mut self, key: Value<'_>) -> Result<(), Error>;
    /// Ends the map that was begun last.
    fn end_map(&mut self);
    /// Begins a list. `len` is a hint.
    fn begin_list(&mut self, len: usize);
    /// Ends the list that was begun last.
    fn end_list(&mut self);
    /// A whole term: its bytes as they are if the encoding is the same, else as [`transcode`](crate::transcode()) writes it.
    ///
    /// # Errors
    /// As [`transcode`](crate::transcode()). Nothing was written then, and another value must be.
    fn value(&mut self, value: Value<'_>) -> Result<(), Error>;
}

/// How [`EtfWriter`] writes ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ids {
    /// Decimal digits in a binary, which Discord accepts everywhere.
    #[default]
    Strings,
    /// Integers, as Discord itself sends them.
    Integers,
}

/// Writes ETF as Discord accepts it from a client: keys and strings are binaries, nothing is compressed.
#[derive(Clone, Debug, Default)]
pub struct EtfWriter {
    out: Vec<u8>,
    open: Vec<Open>,
    atom_keys: bool,
    ids: Ids,
}

/// A list or map that was begun: where its head is, and what it holds so far.
#[derive(Clone, Copy, Debug)]
struct Open {
    head: usize,
    count: u32,
    map: bool,
}

impl EtfWriter {
    /// A document: begins with the version byte.
    pub fn new() -> EtfWriter {
        EtfWriter { out: vec![ETF_VERSION], ..EtfWriter::default() }
    }

    /// One term without version byte, as [`Value::raw`] and [`Value::from_raw`] have it.
    pub fn term() -> EtfWriter {
        EtfWriter::default()
    }

    /// Writes keys as atoms, as Discord does when it sends. Discord closes with 4002 on a client that does. Keys over 255 bytes stay
    /// binaries.
    #[must_use]
    pub fn with_atom_keys(mut self) -> EtfWriter {
        self.atom_keys = true;
        self
    }

    /// Sets how ids are written.
    #[must_use]
    pub fn with_ids(mut self, ids: Ids) -> EtfWriter {
        self.ids = ids;
        self
    }

    /// What was written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.out
    }

    /// What was written.
    pub fn into_vec(self) -> Vec<u8> {
        self.out
    }

    /// Counts a value that stands directly in a list.
    #[inline]
    fn count(&mut self) {
        if let Some(open) = self.open.last_mut()
            && !open.map
        {
            open.count += 1;
        }
    }

    fn count_key(&mut self) {
        if let Some(open) = self.open.last_mut()
            && open.map
        {
            open.count += 1;
        }
    }

    fn begin(&mut self, tag: u8, map: bool) {
        self.count();
        self.open.push(Open { head: self.out.len(), count: 0, map });
        self.out.extend_from_slice(&[tag, 0, 0, 0, 0]);
    }

    fn end(&mut self) {
        let Some(open) = self.open.pop() else { return };
        if !open.map && open.count == 0 {
            self.out.truncate(open.head);
            self.out.push(term::NIL);
            return;
        }
        set_count(&mut self.out, open.head, open.count);
        if !open.map {
            self.out.push(term::NIL);
        }
    }
}

/// Writes a count or length into a head written earlier.
pub(crate) fn set_count(out: &mut [u8], head: usize, count: u32) {
    if let Some(room) = out.get_mut(head + 1..head + 5) {
        room.copy_from_slice(&count.to_be_bytes());
    }
}

/// Appends an atom of at most 255 bytes, with the tag that Discord and all Erlangs since 1996 read.
pub(crate) fn write_atom(name: &[u8], out: &mut Vec<u8>) {
    let tag = if name.is_ascii() { term::SMALL_ATOM } else { term::SMALL_ATOM_UTF8 };
    out.extend_from_slice(&[tag, name.len() as u8]);
    out.extend_from_slice(name);
}

/// Appends a binary.
pub(crate) fn write_binary(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(5 + bytes.len());
    out.push(term::BINARY);
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a float.
pub(crate) fn write_float(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        out.push(term::NEW_FLOAT);
        out.extend_from_slice(&value.to_be_bytes());
    } else {
        write_atom(b"nil", out);
    }
}

impl TermWrite for EtfWriter {
    fn null(&mut self) {
        self.count();
        write_atom(b"nil", &mut self.out);
    }

    fn bool(&mut self, value: bool) {
        self.count();
        write_atom(if value { b"true" } else { b"false" }, &mut self.out);
    }

    fn int(&mut self, value: i64) {
        self.count();
        number::write_etf(i128::from(value), &mut self.out);
    }

    fn uint(&mut self, value: u64) {
        self.count();
        number::write_etf(i128::from(value), &mut self.out);
    }

    fn float(&mut self, value: f64) {
        self.count();
        write_float(value, &mut self.out);
    }

    fn str(&mut self, value: &str) {
        self.count();
        write_binary(value.as_bytes(), &mut self.out);
    }

    fn id(&mut self, value: u64) {
        match self.ids {
            Ids::Integers => self.uint(value),
            Ids::Strings => self.str(itoa::Buffer::new().format(value)),
        }
    }

    fn begin_map(&mut self, _len: usize) {
        self.begin(term::MAP, true);
    }

    fn key(&mut self, key: &str) {
        self.count_key();
        // An atom holds at most 255 characters; bytes are the safe measure.
        if self.atom_keys && key.len() <= 255 {
            write_atom(key.as_bytes(), &mut self.out);
        } else {
            write_binary(key.as_bytes(), &mut self.out);
        }
    }

    fn key_from(&mut self, key: Value<'_>) -> Result<(), Error> {
        transcode::term_to_etf(key, &mut self.out)?;
        self.count_key();
        Ok(())
    }

    fn end_map(&mut self) {
        self.end();
    }

    fn begin_list(&mut self, _len: usize) {
        self.begin(term::LIST, false);
    }

    fn end_list(&mut self) {
        self.end();
    }

    fn value(&mut self, value: Value<'_>) -> Result<(), Error> {
        transcode::transcode(value, Encoding::Etf, &mut self.out)?;
        self.count();
        Ok(())
    }
}
