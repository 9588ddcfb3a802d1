//! From ETF to the packed form, in one pass.

use super::stack::Stack;
use super::{Form, RAW_ETF, damaged, put};
use crate::error::{Error, ErrorKind};
use crate::term::{self, Int};
use crate::{DEPTH_MAX, walk};

/// A map or list that was begun. The document itself is one of a single element, without a head.
#[derive(Clone, Copy)]
struct Open {
    form: Form,
    /// Entries or elements still to come, and in all.
    left: usize,
    count: usize,
    /// Where it begins in the packed form, and how much room its head has there.
    head: usize,
    reserved: u8,
}

/// Appends the ETF term at the start of `bytes`. What is not finished on an error is the caller's to remove.
pub(crate) fn from_etf(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let start = out.len();
    if pack(bytes, &[], out)? {
        return Ok(());
    }
    // That a list is improper shows at its end. Each could be taken back there, but then lists inside of lists would be gone over once
    // for each level; so once there is one, all are looked for first.
    out.truncate(start);
    let improper = improper(bytes)?;
    // There is none that was not found.
    if pack(bytes, &improper, out)? { Ok(()) } else { Err(damaged(0, "a list is improper that was not before")) }
}

/// The same, but for lists whose tail is no empty list. Those that begin at the places in `improper`, which ascend, are kept as they are;
/// `false`: there is another one.
fn pack(bytes: &[u8], mut improper: &[usize], out: &mut Vec<u8>) -> Result<bool, Error> {
    // `open` holds the containers around `here`: as many as it is deep.
    let mut here = Open { form: Form::List, left: 1, count: 1, head: out.len(), reserved: 0 };
    let mut open = Stack::new(here);
    let mut at = 0;
    loop {
        if here.left == 0 {
            let Some(outer) = open.pop() else { return Ok(true) };
            if here.form != Form::List {
                put::end(here.form, here.head, here.reserved, here.count, out);
            } else if bytes.get(at) == Some(&term::NIL) {
                at += 1;
                put::end(Form::List, here.head, here.reserved, here.count, out);
            } else {
                return Ok(false);
            }
            here = outer;
            continue;
        }
        here.left -= 1;
        if here.form != Form::List {
            at = key(bytes, at, here.form == Form::AtomMap, open.len(), out)?;
        }
        // What Discord sends, in an order that makes the usual case quick.
        match *bytes.get(at..).unwrap_or_default() {
            [term::SMALL_ATOM | term::SMALL_ATOM_UTF8, 3, b'n', b'i', b'l', ..] => {
                put::null(out);
                at += 5;
            }
            [term::ATOM | term::ATOM_UTF8, 0, 3, b'n', b'i', b'l', ..] => {
                put::null(out);
                at += 6;
            }
            [term::SMALL_ATOM | term::SMALL_ATOM_UTF8, 5, b'f', b'a', b'l', b's', b'e', ..] => {
                put::bool(false, out);
                at += 7;
            }
            [term::ATOM | term::ATOM_UTF8, 0, 5, b'f', b'a', b'l', b's', b'e', ..] => {
                put::bool(false, out);
                at += 8;
            }
            [term::SMALL_ATOM | term::SMALL_ATOM_UTF8, 4, b't', b'r', b'u', b'e', ..] => {
                put::bool(true, out);
                at += 6;
            }
            [term::ATOM | term::ATOM_UTF8, 0, 4, b't', b'r', b'u', b'e', ..] => {
                put::bool(true, out);
                at += 7;
            }
            [term::SMALL_INTEGER, value, ..] => {
                put::uint(u64::from(value), out);
                at += 2;
            }
            [term::SMALL_BIG, 8, 0, a, b, c, d, e, f, g, h, ..] => {
                put::uint(u64::from_le_bytes([a, b, c, d, e, f, g, h]), out);
                at += 11;
            }
            [term::BINARY, a, b, c, d, ref rest @ ..] => {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                let Some(text) = rest.get(..length) else { return Err(term::explain(bytes, at)) };
                put::string(text, out);
                at += 5 + length;
            }
            [term::NIL, ..] => {
                // To every walk over ETF this is a scalar: it may lie where no other list may.
                put::empty_list(out);
                at += 1;
            }
            [tag @ (term::MAP | term::LIST), a, b, c, d, ref rest @ ..] => {
                deeper(&open, at)?;
                let count = u32::from_be_bytes([a, b, c, d]) as usize;
                if improper.first() == Some(&at) {
                    improper = &improper[1..];
                    at = keep(bytes, at, open.len(), out)?;
                    continue;
                }
                let form = match (tag, rest.first()) {
                    (term::LIST, _) => Form::List,
                    (_, Some(&(term::SMALL_ATOM | term::SMALL_ATOM_UTF8 | term::ATOM | term::ATOM_UTF8))) if count != 0 => Form::AtomMap,
                    _ => Form::Map,
                };
                if count > rest.len() || count == 0 && form == Form::List {
                    // More than there can be; or a list without elements that is not NIL: only its tail.
                    at = keep(bytes, at, open.len(), out)?;
                    continue;
                }
                let head = out.len();
                let reserved = put::begin(count, out);
                open.push(here);
                here = Open { form, left: count, count, head, reserved };
                at += 5;
            }
            _ => at = rare(bytes, at, open.len(), out)?,
        }
    }
}

/// Where lists begin whose tail is no empty list, ascending; without those inside of others, of keys, and of what is kept as it is anyway.
#[cold]
fn improper(bytes: &[u8]) -> Result<Vec<usize>, Error> {
    /// A map or list that was begun.
    struct Begun {
        source: usize,
        map: bool,
        left: usize,
        /// How many were found before it.
        found: usize,
    }
    let mut found = Vec::new();
    let mut open: Vec<Begun> = Vec::new();
    let mut at = 0;
    loop {
        let depth = open.len() as u32;
        match open.last_mut() {
            Some(top) if top.left == 0 => {
                if !top.map {
                    if bytes.get(at) != Some(&term::NIL) {
                        found.truncate(top.found);
                        found.push(top.source);
                    }
                    at = walk::check(bytes, at, depth, DEPTH_MAX)?;
                }
                open.pop();
                if open.is_empty() {
                    return Ok(found);
                }
                continue;
            }
            Some(top) => {
                top.left -= 1;
                if top.map {
                    at = walk::check(bytes, at, depth, DEPTH_MAX)?;
                }
            }
            None => {}
        }
        match *bytes.get(at..).unwrap_or_default() {
            [tag @ (term::MAP | term::LIST), a, b, c, d, ref rest @ ..] if depth < DEPTH_MAX => {
                let (map, left) = (tag == term::MAP, u32::from_be_bytes([a, b, c, d]) as usize);
                if left <= rest.len() && (map || left != 0) {
                    open.push(Begun { source: at, map, left, found: found.len() });
                    at += 5;
                    continue;
                }
            }
            _ => {}
        }
        at = walk::check(bytes, at, depth, DEPTH_MAX)?;
        if open.is_empty() {
            return Ok(found);
        }
    }
}

/// Whether there may be a container here.
#[inline]
fn deeper(open: &Stack<Open>, at: usize) -> Result<(), Error> {
    if open.len() >= DEPTH_MAX as usize {
        return Err(Error::new(at, ErrorKind::TooDeep { depth_max: DEPTH_MAX }));
    }
    Ok(())
}

/// Appends the term at `at` as it is; gives the place behind it.
#[cold]
fn keep(bytes: &[u8], at: usize, depth: usize, out: &mut Vec<u8>) -> Result<usize, Error> {
    let end = walk::check(bytes, at, depth as u32, DEPTH_MAX)?;
    put::raw(RAW_ETF, bytes.get(at..end).unwrap_or_default(), out);
    Ok(end)
}

/// Writes a value that is none of the usual ones; gives the place behind it.
#[inline(never)]
fn rare(bytes: &[u8], at: usize, depth: usize, out: &mut Vec<u8>) -> Result<usize, Error> {
    let Some(head) = term::head(bytes, at) else { return Err(term::explain(bytes, at)) };
    let raw = bytes.get(at..head.end).unwrap_or_default();
    match *raw {
        [term::INTEGER | term::SMALL_BIG | term::LARGE_BIG, ..] => {
            if !term::int(raw).and_then(Int::to_i128).is_some_and(|int| put::int(int, out)) {
                return keep(bytes, at, depth, out);
            }
        }
        [term::NEW_FLOAT, ..] => match term::float(raw) {
            Some(value) => put::float(value, out),
            None => return keep(bytes, at, depth, out),
        },
        [term::SMALL_ATOM | term::SMALL_ATOM_UTF8 | term::ATOM | term::ATOM_UTF8, ..] => match term::text(raw) {
            Some(b"nil") => put::null(out),
            Some(b"false") => put::bool(false, out),
            Some(b"true") => put::bool(true, out),
            Some(name) if is_atom(name) => put::atom(name, out),
            _ => return keep(bytes, at, depth, out),
        },
        _ => return keep(bytes, at, depth, out),
    }
    Ok(head.end)
}

/// Whether the packed form has an atom of this name: all encodings of atoms must agree on what it is.
pub(super) fn is_atom(name: &[u8]) -> bool {
    name.is_ascii() && name.len() < 256
}

/// Writes a key; gives the place of its value.
#[inline(always)]
fn key(bytes: &[u8], at: usize, atoms: bool, depth: usize, out: &mut Vec<u8>) -> Result<usize, Error> {
    match *bytes.get(at..).unwrap_or_default() {
        [term::SMALL_ATOM | term::SMALL_ATOM_UTF8, length, ref rest @ ..] if atoms => {
            if let Some(name) = rest.get(..usize::from(length))
                && put::known_key(name, out)
            {
                return Ok(at + 2 + name.len());
            }
        }
        [term::ATOM | term::ATOM_UTF8, a, b, ref rest @ ..] if atoms => {
            if let Some(name) = rest.get(..usize::from(u16::from_be_bytes([a, b])))
                && put::known_key(name, out)
            {
                return Ok(at + 3 + name.len());
            }
        }
        [term::BINARY, a, b, c, d, ref rest @ ..] if !atoms => {
            if let Some(name) = rest.get(..u32::from_be_bytes([a, b, c, d]) as usize)
                && put::known_key(name, out)
            {
                return Ok(at + 5 + name.len());
            }
        }
        _ => {}
    }
    other_key(bytes, at, atoms, depth, out)
}

/// A key that is no known one, or not of the kind of the map's other keys.
#[inline(never)]
fn other_key(bytes: &[u8], at: usize, atoms: bool, depth: usize, out: &mut Vec<u8>) -> Result<usize, Error> {
    let Some(head) = term::head(bytes, at) else { return Err(term::explain(bytes, at)) };
    let raw = bytes.get(at..head.end).unwrap_or_default();
    let atom = matches!(raw.first(), Some(&(term::SMALL_ATOM | term::SMALL_ATOM_UTF8 | term::ATOM | term::ATOM_UTF8)));
    if atom && atoms && put::known_key(term::text(raw).unwrap_or_default(), out) {
        return Ok(head.end);
    }
    put::other_key(out);
    match (raw.first(), term::text(raw)) {
        (_, Some(name)) if atom && is_atom(name) => put::atom(name, out),
        (Some(&term::BINARY), Some(name)) => put::plain(name, out),
        _ => {
            if !term::int(raw).and_then(Int::to_i128).is_some_and(|int| put::int(int, out)) {
                // Lists and maps as keys are no keys of Discord's.
                return keep(bytes, at, depth, out);
            }
        }
    }
    Ok(head.end)
}
