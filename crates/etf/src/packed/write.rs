//! The writer for the packed form.

use super::{Form, RAW_ETF, Term, damaged, put, read};
use crate::error::{Error, ErrorKind};
use crate::term::{self, Int};
use crate::transcode;
use crate::value::{Encoding, Value};
use crate::write::{Ids, TermWrite};
use crate::{DEPTH_MAX, text, walk};

/// Writes the packed form. Ids are strings unless [`PackedWriter::with_ids`] says otherwise.
///
/// Whether the keys of a map are atoms when it becomes ETF is one property of the whole map: the first key that was read from somewhere
/// ([`TermWrite::key_from`]) decides, else [`PackedWriter::with_atom_keys`].
#[derive(Clone, Debug, Default)]
pub struct PackedWriter {
    out: Vec<u8>,
    open: Vec<Open>,
    atom_keys: bool,
    ids: Ids,
}

/// A list or map that was begun.
#[derive(Clone, Copy, Debug)]
struct Open {
    head: usize,
    reserved: u8,
    count: usize,
    map: bool,
    /// Whether its keys are atoms, once a key has decided it.
    atoms: Option<bool>,
}

impl PackedWriter {
    /// An empty writer.
    pub fn new() -> PackedWriter {
        PackedWriter::default()
    }

    /// Appends to `out`, whose bytes stay: for callers that keep a buffer ([`PackedWriter::into_vec`] gives it back).
    pub fn onto(out: Vec<u8>) -> PackedWriter {
        PackedWriter { out, ..PackedWriter::default() }
    }

    /// Maps none of whose keys were read from somewhere get atoms as keys when they become ETF.
    #[must_use]
    pub fn with_atom_keys(mut self) -> PackedWriter {
        self.atom_keys = true;
        self
    }

    /// Sets what ids are.
    #[must_use]
    pub fn with_ids(mut self, ids: Ids) -> PackedWriter {
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

    /// Forgets what was written and what was begun; keeps the memory and the settings.
    pub fn clear(&mut self) {
        self.out.clear();
        self.open.clear();
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

    /// Counts an entry; gives whether the map's keys are atoms. A key that knows what it is decides, if none did before.
    #[inline]
    fn count_key(&mut self, atom: Option<bool>) -> bool {
        let unsaid = self.atom_keys;
        match self.open.last_mut() {
            Some(open) if open.map => {
                open.count += 1;
                open.atoms = open.atoms.or(atom);
                open.atoms.unwrap_or(unsaid)
            }
            _ => atom.unwrap_or(unsaid),
        }
    }

    fn begin(&mut self, len: usize, map: bool) {
        self.count();
        let head = self.out.len();
        let reserved = put::begin(len, &mut self.out);
        self.open.push(Open { head, reserved, count: 0, map, atoms: None });
    }

    fn end(&mut self) {
        let Some(open) = self.open.pop() else { return };
        let form = match (open.map, open.atoms.unwrap_or(self.atom_keys)) {
            (false, _) => Form::List,
            (true, true) if open.count != 0 => Form::AtomMap,
            (true, _) => Form::Map,
        };
        put::end(form, open.head, open.reserved, open.count, &mut self.out);
    }

    /// A key by its text.
    #[inline]
    fn key_text(&mut self, name: &[u8], atom: Option<bool>) {
        let atoms = self.count_key(atom);
        if put::known_key(name, &mut self.out) {
            return;
        }
        put::other_key(&mut self.out);
        if atoms && name.is_ascii() && name.len() < 256 {
            put::atom(name, &mut self.out);
        } else {
            put::plain(name, &mut self.out);
        }
    }

    fn packed_key(&mut self, raw: &[u8]) -> Result<(), Error> {
        match read(raw, 0) {
            Some((Term::Text(name), end)) if end == raw.len() => self.key_text(name, Some(false)),
            Some((Term::Atom(name), end)) if end == raw.len() => self.key_text(name, Some(true)),
            Some((Term::Open(_), _)) | None => return Err(damaged(0, "no key begins here")),
            Some((_, end)) if end == raw.len() => {
                self.count_key(None);
                put::other_key(&mut self.out);
                self.out.extend_from_slice(raw);
            }
            Some((_, end)) => return Err(damaged(end, "bytes follow a key")),
        }
        Ok(())
    }

    fn etf_key(&mut self, raw: &[u8]) -> Result<(), Error> {
        let end = walk::check(raw, 0, 0, DEPTH_MAX)?;
        let raw = raw.get(..end).unwrap_or_default();
        match (raw.first(), term::text(raw)) {
            (Some(&term::BINARY), Some(name)) => self.key_text(name, Some(false)),
            (_, Some(name)) if name.is_ascii() && name.len() < 256 => self.key_text(name, Some(true)),
            _ => {
                self.count_key(None);
                put::other_key(&mut self.out);
                if !term::int(raw).and_then(Int::to_i128).is_some_and(|int| put::int(int, &mut self.out)) {
                    put::raw(RAW_ETF, raw, &mut self.out);
                }
            }
        }
        Ok(())
    }
}

impl TermWrite for PackedWriter {
    fn null(&mut self) {
        self.count();
        put::null(&mut self.out);
    }

    fn bool(&mut self, value: bool) {
        self.count();
        put::bool(value, &mut self.out);
    }

    fn int(&mut self, value: i64) {
        match u64::try_from(value) {
            Ok(value) => self.uint(value),
            Err(_) => {
                self.count();
                put::int(i128::from(value), &mut self.out);
            }
        }
    }

    fn uint(&mut self, value: u64) {
        self.count();
        put::uint(value, &mut self.out);
    }

    fn float(&mut self, value: f64) {
        self.count();
        if value.is_finite() {
            put::float(value, &mut self.out);
        } else {
            put::null(&mut self.out);
        }
    }

    fn str(&mut self, value: &str) {
        self.count();
        put::string(value.as_bytes(), &mut self.out);
    }

    fn id(&mut self, value: u64) {
        match self.ids {
            Ids::Integers => self.uint(value),
            Ids::Strings => {
                self.count();
                put::decimal(value, &mut self.out);
            }
        }
    }

    fn begin_map(&mut self, len: usize) {
        self.begin(len, true);
    }

    fn key(&mut self, key: &str) {
        self.key_text(key.as_bytes(), None);
    }

    fn key_from(&mut self, key: Value<'_>) -> Result<(), Error> {
        match key.encoding() {
            Encoding::Packed => self.packed_key(key.raw()),
            Encoding::Etf => self.etf_key(key.raw()),
            Encoding::Json => match text::decode(key.raw()) {
                Some(name) => {
                    self.key_text(name.as_bytes(), Some(false));
                    Ok(())
                }
                None => {
                    let found = key.raw().first().copied();
                    Err(Error::new(0, ErrorKind::Wanted { what: "'\"' at the start of a key", found }))
                }
            },
        }
    }

    fn end_map(&mut self) {
        self.end();
    }

    fn begin_list(&mut self, len: usize) {
        self.begin(len, false);
    }

    fn end_list(&mut self) {
        self.end();
    }

    fn value(&mut self, value: Value<'_>) -> Result<(), Error> {
        transcode::transcode(value, Encoding::Packed, &mut self.out)?;
        self.count();
        Ok(())
    }
}
