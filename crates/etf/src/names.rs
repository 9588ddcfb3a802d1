//! Known names, found among a map's keys by comparing numbers instead of text.
//!
//! A key of up to 16 bytes is two words of 8 bytes and a length ([`Word`]); that is all that a comparison looks at. Which of several
//! names a key is, is one multiplication, one load and one comparison: [`Names`] finds, when the program is built, a multiplier under
//! which no two names share a place. Nothing here allocates, except for a JSON key with escapes.

use crate::value::{Encoding, Value};
use crate::{term, text};

/// Longest name that fits a [`Word`], in bytes.
const NAME_BYTES_MAX: usize = 16;
/// Places for names; the more there are, the sooner a multiplier is found.
const PLACES: usize = 32;
/// No name lies in this place.
const NONE: u8 = u8::MAX;

/// A short text as numbers. Two texts of up to 16 bytes are equal exactly if their words are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    /// The first 8 bytes; 0 in place of those that there are not.
    pub(crate) first: u64,
    /// The last 8 bytes of a text of more than 8, else 0.
    pub(crate) last: u64,
    /// Its length in bytes.
    pub(crate) len: usize,
}

impl Word {
    /// `None` for a text that is too long to be compared so.
    #[inline]
    pub(crate) const fn of(text: &[u8]) -> Option<Word> {
        let len = text.len();
        if len > NAME_BYTES_MAX {
            return None;
        }
        let (first, last) = match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
            (Some(first), Some(last)) => (u64::from_le_bytes(*first), if len > 8 { u64::from_le_bytes(*last) } else { 0 }),
            _ => (short(text), 0),
        };
        Some(Word { first, last, len })
    }

    /// From the 8 bytes that a text of `len` bytes begins with, which may be more than it has, and the last 8 of one that has more.
    #[inline(always)]
    pub(crate) fn masked(first: u64, last: u64, len: u8) -> Word {
        Word { first: first & MASKS[usize::from(len)], last, len: usize::from(len) }
    }

    #[inline(always)]
    const fn place(self, multiplier: u64) -> usize {
        let mixed = (self.first ^ self.last.rotate_left(29) ^ self.len as u64).wrapping_mul(multiplier);
        (mixed >> 59) as usize % PLACES
    }
}

/// For each length of a text, which bits of its first word are its own. A load is less work than shifting, and few lines of it are used.
static MASKS: [u64; 256] = {
    let mut masks = [u64::MAX; 256];
    let mut len = 0;
    while len < 8 {
        masks[len] = (1 << (8 * len)) - 1;
        len += 1;
    }
    masks
};

/// Up to 7 bytes as a number, the first byte lowest.
const fn short(text: &[u8]) -> u64 {
    let (mut rest, mut number, mut shift) = (text, 0, 0);
    while let [byte, more @ ..] = rest {
        number |= (*byte as u64) << shift;
        shift += 8;
        rest = more;
    }
    number
}

/// Up to 16 names of up to 16 bytes, to be found among a map's keys. Meant for a `static`, so that it is made when the program is built.
#[derive(Debug)]
pub struct Names<const N: usize> {
    names: [&'static str; N],
    multiplier: u64,
    places: [(Word, u8); PLACES],
}

impl<const N: usize> Names<N> {
    /// # Panics
    /// When names are too many, too long, alike or not ASCII, or (unlikely) cannot be kept apart. In a `static` that is an error of the build.
    pub const fn new(names: [&'static str; N]) -> Names<N> {
        assert!(N <= 16, "at most 16 names");
        // An odd constant without a pattern, stepped until it works.
        let mut multiplier: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut tries = 0;
        while tries < 1000 {
            if let Some(places) = Self::place(names, multiplier) {
                return Names { names, multiplier, places };
            }
            multiplier = multiplier.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(2);
            tries += 1;
        }
        panic!("no multiplier keeps these names apart");
    }

    /// `None` if two names share a place under this multiplier.
    const fn place(names: [&'static str; N], multiplier: u64) -> Option<[(Word, u8); PLACES]> {
        let mut places = [(Word { first: 0, last: 0, len: 0 }, NONE); PLACES];
        let mut index = 0;
        while index < N {
            assert!(names[index].is_ascii(), "names are ASCII");
            let Some(word) = Word::of(names[index].as_bytes()) else { panic!("a name has at most 16 bytes") };
            let place = word.place(multiplier);
            if places[place].1 != NONE {
                return None;
            }
            places[place] = (word, index as u8);
            index += 1;
        }
        Some(places)
    }

    /// Which name it is.
    #[inline(always)]
    pub(crate) fn index(&self, word: Word) -> Option<usize> {
        let (name, index) = self.places.get(word.place(self.multiplier))?;
        if *name == word && *index != NONE { Some(usize::from(*index)) } else { None }
    }

    /// Which of the names a map's key is: its index in what [`Names::new`] was given.
    #[inline]
    pub fn find(&self, key: Value<'_>) -> Option<usize> {
        if key.encoding() == Encoding::Etf {
            return self.index(Word::of(term::text(key.raw())?)?);
        }
        if key.encoding() == Encoding::Json {
            let inside = text::inside(key.raw())?;
            // No name holds a backslash, so a key that is equal as it stands has no escapes.
            let found = Word::of(inside).and_then(|word| self.index(word));
            return if found.is_none() && inside.contains(&b'\\') { self.compare(key) } else { found };
        }
        self.compare(key)
    }

    #[cold]
    fn compare(&self, key: Value<'_>) -> Option<usize> {
        self.names.iter().position(|name| key.is_key(name))
    }
}
