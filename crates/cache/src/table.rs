//! Objects of one kind in one place, found by id: a hash table of handles. The ids lie beside the objects.
//!
//! An entry is a handle and 32 bits of its id's hash, in one word: a look-up reads one line of the table and then the object, and the table
//! grows without reading any object. Tables of members and users have a second word beside it, what the object was told with last
//! ([`print`](crate::print)): whether it is told in the same words again, one line answers, and the object is not read at all. Channels
//! have one too, which says where in the object the field lies that every message changes. Such a word is true of an object's bytes as they lie:
//! whoever writes others sets it anew, or it is 0.

use smallvec::SmallVec;

use crate::ahead::ask_for;
use crate::heap::{Handle, Heap};
use crate::key::Kind;
use crate::print::Print;

/// Handles by the ids of what they name, all in one heap.
#[derive(Default)]
pub(crate) struct Table {
    /// Entries, each with a word about its object behind it where the table has such. The upper half of an entry is of the id's hash and says where it
    /// wants to be: there, or at the next free place behind it. 0: free.
    words: Box<[u64]>,
    len: u32,
    noted: bool,
}

/// Of so many places ...
const FULL_OF: usize = 4;
/// ... this many are taken at most. More would make look-ups of what is not there long.
const FULL: usize = 3;
const PLACES_MIN: usize = 4;

impl Table {
    /// One that has a word about each object.
    pub(crate) fn with_words() -> Table {
        Table { noted: true, ..Table::default() }
    }

    #[inline]
    pub(crate) fn find(&self, heap: &Heap, id: u64) -> Option<Handle> {
        handle_of(*self.words.get(self.place(heap, id)?)?)
    }

    /// Asks for the memory that a look-up of an id reads first, and nearly always all that it reads.
    #[inline]
    pub(crate) fn ask_for(&self, id: u64) {
        if let Some(word) = self.words.get(self.home(hash(id) as u32)) {
            ask_for(word);
        }
    }

    /// What [`Table::find`] looks at first: nearly always what it finds.
    #[inline]
    pub(crate) fn likely(&self, id: u64) -> Option<Handle> {
        self.at(self.likely_place(id)?)
    }

    /// The place of what [`Table::likely`] finds, or a free one.
    #[inline]
    pub(crate) fn likely_place(&self, id: u64) -> Option<usize> {
        let short = hash(id) as u32;
        let mut at = self.home(short);
        loop {
            let found = *self.words.get(at)?;
            if (found >> 32) as u32 == short || found == 0 {
                return Some(at);
            }
            at += self.step();
        }
    }

    /// Whether what lies under an id was told with this print last, and is what it was made then.
    #[inline]
    pub(crate) fn told(&self, id: u64, print: Print) -> bool {
        let hash = hash(id);
        let wanted = print.of_id(hash);
        let mut at = self.home(hash as u32);
        // The entry is not asked whether its object has this id: the print is of the id too.
        while let Some([found, print]) = self.words.get(at..).and_then(|words| words.first_chunk()).filter(|_| self.noted) {
            if (found >> 32) as u32 == hash as u32 && *print == wanted {
                return true;
            }
            if *found == 0 {
                return false;
            }
            at = self.after(at);
        }
        false
    }

    /// An object has moved, or its bytes are others: what it was told with is not known any more.
    pub(crate) fn exchange(&mut self, heap: &Heap, id: u64, handle: Handle) {
        if let Some(at) = self.place(heap, id) {
            self.exchange_at(at, id, handle);
        }
    }

    /// The same for an object whose place is known.
    pub(crate) fn exchange_at(&mut self, at: usize, id: u64, handle: Handle) {
        if let Some(place) = self.words.get_mut(at) {
            *place = entry(hash(id), handle);
            self.set_word(at, 0);
        }
    }

    /// What an object was told with.
    pub(crate) fn set_print(&mut self, heap: &Heap, id: u64, print: Option<Print>) {
        if let Some(at) = self.place(heap, id) {
            self.set_word(at, print.map_or(0, |print| print.of_id(hash(id))));
        }
    }

    /// The word about the object at a place; 0 where none was set.
    #[inline]
    pub(crate) fn word(&self, at: usize) -> u64 {
        self.words.get(at + 1).copied().filter(|_| self.noted).unwrap_or(0)
    }

    #[inline]
    pub(crate) fn set_word(&mut self, at: usize, word: u64) {
        if let Some(place) = self.words.get_mut(at + 1).filter(|_| self.noted) {
            *place = word;
        }
    }

    /// What lies at a place.
    #[inline]
    pub(crate) fn at(&self, at: usize) -> Option<Handle> {
        handle_of(*self.words.get(at)?)
    }

    /// What lies at one of [`Table::places`].
    pub(crate) fn nth(&self, nth: usize) -> Option<Handle> {
        self.at(nth * self.step())
    }

    /// Adds an object that is not there yet.
    pub(crate) fn add(&mut self, id: u64, handle: Handle) {
        self.add_printed(id, handle, None);
    }

    /// The same, with what it was told with.
    pub(crate) fn add_printed(&mut self, id: u64, handle: Handle, print: Option<Print>) {
        if (self.len() + 1) * FULL_OF > self.places() * FULL {
            self.resize((self.places() + self.places() / 2).max(PLACES_MIN));
        }
        let hash = hash(id);
        self.put(entry(hash, handle), print.map_or(0, |print| print.of_id(hash)));
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, heap: &Heap, id: u64) -> Option<Handle> {
        let mut free = self.place(heap, id)?;
        let handle = handle_of(self.words[free]);
        self.len -= 1;
        // What lies behind moves up, unless that is before where it wants to be.
        let many = self.words.len();
        let mut at = free;
        loop {
            at = self.after(at);
            let found = self.words[at];
            if found == 0 {
                break;
            }
            let from = |place: usize| if at >= place { at - place } else { at + many - place };
            if from(self.home((found >> 32) as u32)) >= from(free) {
                self.words.copy_within(at..at + self.step(), free);
                free = at;
            }
        }
        let step = self.step();
        self.words[free..free + step].fill(0);
        // A guild that has lost most of its presences does not keep their room.
        if self.places() > 64 && self.len() * 4 < self.places() {
            self.resize(self.places() / 2);
        }
        handle
    }

    /// Makes room for so many objects in all at once, and for a few more: the next one would move them all otherwise.
    pub(crate) fn reserve(&mut self, many: usize) {
        let wanted = (many.saturating_add(many / 16 + 2)).saturating_mul(FULL_OF).div_ceil(FULL) + 1;
        if many > self.len() && wanted > self.places() {
            self.resize(wanted);
        }
    }

    pub(crate) fn handles(&self) -> impl Iterator<Item = Handle> {
        self.words.iter().step_by(self.step()).filter_map(|word| handle_of(*word))
    }

    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the table itself.
    pub(crate) fn bytes(&self) -> u64 {
        size_of_val(&*self.words) as u64
    }

    /// The place of an object, until the table changes.
    pub(crate) fn place(&self, heap: &Heap, id: u64) -> Option<usize> {
        if self.words.is_empty() {
            return None;
        }
        let short = hash(id) as u32;
        let mut at = self.home(short);
        // One place at least is free.
        loop {
            let found = self.words[at];
            if (found >> 32) as u32 == short && handle_of(found).is_some_and(|handle| heap.id(handle) == id) {
                return Some(at);
            }
            if found == 0 {
                return None;
            }
            at = self.after(at);
        }
    }

    /// Words of a place.
    #[inline]
    fn step(&self) -> usize {
        1 << usize::from(self.noted)
    }

    /// Places for objects, taken and free ones.
    pub(crate) fn places(&self) -> usize {
        self.words.len() >> usize::from(self.noted)
    }

    /// Where an entry wants to be.
    #[inline]
    fn home(&self, short: u32) -> usize {
        ((u64::from(short) * self.places() as u64) >> 32) as usize * self.step()
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        let next = at + self.step();
        if next == self.words.len() { 0 } else { next }
    }

    fn put(&mut self, entry: u64, print: u64) {
        let mut at = self.home((entry >> 32) as u32);
        while self.words[at] != 0 {
            at = self.after(at);
        }
        self.words[at] = entry;
        if self.noted {
            self.words[at + 1] = print;
        }
    }

    fn resize(&mut self, places: usize) {
        let step = self.step();
        let old = std::mem::replace(&mut self.words, vec![0; places * step].into_boxed_slice());
        for place in old.chunks_exact(step).filter(|place| place[0] != 0) {
            self.put(place[0], place[step - 1]);
        }
    }
}

/// No entry is 0.
fn entry(hash: u64, handle: Handle) -> u64 {
    (hash << 32) | (u64::from(handle.number()) + 1)
}

fn handle_of(entry: u64) -> Option<Handle> {
    (entry as u32).checked_sub(1).map(Handle::of_number)
}

/// Spreads an id over 64 bits. Ids are given out by Discord, so nobody can choose a million that collide.
pub(crate) fn hash(id: u64) -> u64 {
    let spread = u128::from(id ^ 0x9E37_79B9_7F4A_7C15) * 0xD6E8_FEB8_6659_FD93;
    (spread >> 64) as u64 ^ spread as u64
}

/// A guild's tables: one for each kind of which it has any.
pub(crate) struct Tables {
    /// Where each kind's table is; [`NO_TABLE`]: there is none.
    places: [u8; Kind::ALL.len()],
    /// In the order of kinds, beside the guild itself, as long as it has no more than most have.
    tables: SmallVec<[Table; 8]>,
}

const NO_TABLE: u8 = u8::MAX;

impl Default for Tables {
    fn default() -> Tables {
        Tables { places: [NO_TABLE; Kind::ALL.len()], tables: SmallVec::new() }
    }
}

impl Tables {
    #[inline]
    fn place(&self, kind: Kind) -> usize {
        usize::from(self.places[kind as usize])
    }

    #[inline]
    pub(crate) fn get(&self, kind: Kind) -> Option<&Table> {
        self.tables.get(self.place(kind))
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, kind: Kind) -> Option<&mut Table> {
        let at = self.place(kind);
        self.tables.get_mut(at)
    }

    pub(crate) fn get_or_add(&mut self, kind: Kind) -> &mut Table {
        if self.places[kind as usize] == NO_TABLE {
            let at = self.places[..kind as usize].iter().filter(|place| **place != NO_TABLE).count();
            self.tables.insert(at, if kind.has_words() { Table::with_words() } else { Table::default() });
            self.places[kind as usize] = at as u8;
            self.places[kind as usize + 1..].iter_mut().filter(|place| **place != NO_TABLE).for_each(|place| *place += 1);
        }
        let at = self.place(kind);
        &mut self.tables[at]
    }

    pub(crate) fn remove(&mut self, kind: Kind) -> Option<Table> {
        let at = std::mem::replace(&mut self.places[kind as usize], NO_TABLE);
        if at == NO_TABLE {
            return None;
        }
        self.places[kind as usize + 1..].iter_mut().filter(|place| **place != NO_TABLE).for_each(|place| *place -= 1);
        Some(self.tables.remove(usize::from(at)))
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (Kind, &Table)> {
        Kind::ALL.into_iter().filter_map(|kind| Some((kind, self.get(kind)?)))
    }

    /// Bytes of all tables.
    pub(crate) fn bytes(&self) -> u64 {
        self.tables.iter().map(Table::bytes).sum()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use trunkline_discord::Dice;
    use trunkline_etf::{Encoding, Value};

    /// None for 0.
    fn a_print(number: u64) -> Option<Print> {
        let told = format!("{{\"nick\":{number}}}");
        Print::of(Value::from_raw(Encoding::Json, told.as_bytes())).filter(|_| number != 0)
    }

    #[test]
    fn a_table_finds_what_a_plain_map_finds() {
        for seed in 0..30 {
            println!("seed={seed}");
            let mut dice = Dice::new(seed);
            let mut heap = Heap::default();
            let mut table = if seed % 2 == 0 { Table::default() } else { Table::with_words() };
            // What each was told with, where it is known.
            let mut model: BTreeMap<u64, (Handle, Option<Print>)> = BTreeMap::new();
            for step in 0..3000_u64 {
                let grows = if step < 1500 { 7 } else { 2 };
                let id = (1 << 60) + (dice.below(700) << 22);
                match dice.below(10) {
                    at if at < grows => {
                        let print = a_print(dice.below(3));
                        model.entry(id).or_insert_with(|| {
                            let handle = heap.put(id, [b"x", b""]);
                            table.add_printed(id, handle, print);
                            (handle, print)
                        });
                    }
                    9 if model.contains_key(&id) => {
                        let old = model[&id].0;
                        let new = heap.rewrite(old, [&[7; 40], b""]);
                        table.exchange(&heap, id, new);
                        if new != old {
                            heap.free(old);
                        }
                        model.insert(id, (new, None));
                    }
                    8 if dice.below(2) == 0 => {
                        let print = a_print(dice.below(3));
                        table.set_print(&heap, id, print);
                        model.entry(id).and_modify(|known| known.1 = print);
                    }
                    _ => {
                        let gone = table.remove(&heap, id);
                        assert_eq!(gone, model.remove(&id).map(|known| known.0));
                        gone.into_iter().for_each(|handle| heap.free(handle));
                    }
                }
                assert_eq!((table.len(), table.is_empty()), (model.len(), model.is_empty()));
                let told = |id: u64| [1, 2].map(|print| table.told(id, a_print(print).unwrap()));
                let wanted = |known: Option<Print>| [1, 2].map(|print| seed % 2 == 1 && known == a_print(print));
                assert_eq!(table.find(&heap, id), model.get(&id).map(|known| known.0));
                assert_eq!(told(id), wanted(model.get(&id).and_then(|known| known.1)), "step {step}");
                if step % 100 == 0 {
                    for (id, (handle, print)) in &model {
                        assert_eq!((table.find(&heap, *id), told(*id)), (Some(*handle), wanted(*print)));
                    }
                    assert_eq!(table.handles().count(), model.len());
                    assert!(table.bytes() <= (64 * 8 + 32 * model.len() as u64) << (seed % 2));
                }
            }
        }
    }

    #[test]
    fn tables_lie_in_the_order_of_kinds() {
        let mut tables = Tables::default();
        for kind in [Kind::User, Kind::Channel, Kind::Member, Kind::State] {
            tables.get_or_add(kind).add(kind as u64, Handle::of_number(kind as u32));
        }
        let kinds: Vec<Kind> = tables
            .each()
            .map(|(kind, table)| (kind, table.handles().next()))
            .map(|(kind, handle)| {
                assert_eq!(handle, Some(Handle::of_number(kind as u32)));
                kind
            })
            .collect();
        assert_eq!(kinds, [Kind::State, Kind::Channel, Kind::Member, Kind::User]);
        assert!(tables.remove(Kind::Channel).is_some() && tables.remove(Kind::Channel).is_none());
        assert!(tables.get(Kind::Channel).is_none() && tables.get_mut(Kind::User).is_some());
    }
}
