//! Objects of one kind in one place, found by id: a hash table of handles. The ids lie beside the objects.
//!
//! An entry is a handle and 32 bits of its id's hash, in one word: a look-up reads one line of the table and then the object, and the table
//! grows without reading any object.

use smallvec::SmallVec;

use crate::heap::{Handle, Heap};
use crate::key::Kind;

/// Handles by the ids of what they name, all in one heap.
#[derive(Default)]
pub(crate) struct Table {
    /// The upper half is of the id's hash and says where an entry wants to be: there, or at the next free place behind it. 0: free.
    places: Box<[u64]>,
    len: u32,
}

/// Of so many places ...
const FULL_OF: usize = 4;
/// ... this many are taken at most. More would make look-ups of what is not there long.
const FULL: usize = 3;
const PLACES_MIN: usize = 4;

impl Table {
    pub(crate) fn find(&self, heap: &Heap, id: u64) -> Option<Handle> {
        handle_of(*self.places.get(self.place(heap, id)?)?)
    }

    /// What [`Table::find`] looks at first: nearly always what it finds.
    #[inline]
    pub(crate) fn glance(&self, id: u64) -> Option<Handle> {
        let print = u64::from(print(id));
        let mut at = self.home(print << 32);
        loop {
            let found = *self.places.get(at)?;
            if found >> 32 == print || found == 0 {
                return handle_of(found);
            }
            at += 1;
        }
    }

    /// An object has moved.
    pub(crate) fn exchange(&mut self, heap: &Heap, id: u64, handle: Handle) {
        if let Some(at) = self.place(heap, id) {
            self.places[at] = entry(print(id), handle);
        }
    }

    /// Adds an object that is not there yet.
    pub(crate) fn add(&mut self, id: u64, handle: Handle) {
        if (self.len() + 1) * FULL_OF > self.places.len() * FULL {
            self.resize((self.places.len() + self.places.len() / 2).max(PLACES_MIN));
        }
        self.put(entry(print(id), handle));
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, heap: &Heap, id: u64) -> Option<Handle> {
        let mut free = self.place(heap, id)?;
        let handle = handle_of(self.places[free]);
        self.len -= 1;
        // What lies behind moves up, unless that is before where it wants to be.
        let many = self.places.len();
        let mut at = free;
        loop {
            at = if at + 1 == many { 0 } else { at + 1 };
            let found = self.places[at];
            if found == 0 {
                break;
            }
            let from = |place: usize| if at >= place { at - place } else { at + many - place };
            if from(self.home(found)) >= from(free) {
                self.places[free] = found;
                free = at;
            }
        }
        self.places[free] = 0;
        // A guild that has lost most of its presences does not keep their room.
        if many > 64 && self.len() * 4 < many {
            self.resize(many / 2);
        }
        handle
    }

    /// Makes room for so many objects in all, at once and no more than they need.
    pub(crate) fn reserve(&mut self, many: usize) {
        let wanted = many.saturating_mul(FULL_OF).div_ceil(FULL) + 1;
        if many > self.len() && wanted > self.places.len() {
            self.resize(wanted);
        }
    }

    pub(crate) fn handles(&self) -> impl Iterator<Item = Handle> {
        self.places.iter().filter_map(|place| handle_of(*place))
    }

    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the table itself.
    pub(crate) fn bytes(&self) -> u64 {
        size_of_val(&*self.places) as u64
    }

    fn place(&self, heap: &Heap, id: u64) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let print = print(id);
        let mut at = self.home(u64::from(print) << 32);
        // One place at least is free.
        loop {
            let found = self.places[at];
            if found >> 32 == u64::from(print) && handle_of(found).is_some_and(|handle| heap.id(handle) == id) {
                return Some(at);
            }
            if found == 0 {
                return None;
            }
            at = if at + 1 == self.places.len() { 0 } else { at + 1 };
        }
    }

    /// Where an entry wants to be.
    fn home(&self, entry: u64) -> usize {
        (((entry >> 32) * self.places.len() as u64) >> 32) as usize
    }

    fn put(&mut self, entry: u64) {
        let mut at = self.home(entry);
        while self.places[at] != 0 {
            at = if at + 1 == self.places.len() { 0 } else { at + 1 };
        }
        self.places[at] = entry;
    }

    fn resize(&mut self, many: usize) {
        let old = std::mem::replace(&mut self.places, vec![0; many].into_boxed_slice());
        old.into_iter().filter(|entry| *entry != 0).for_each(|entry| self.put(entry));
    }
}

/// No entry is 0.
fn entry(print: u32, handle: Handle) -> u64 {
    (u64::from(print) << 32) | (u64::from(handle.number()) + 1)
}

fn handle_of(entry: u64) -> Option<Handle> {
    (entry as u32).checked_sub(1).map(Handle::of_number)
}

fn print(id: u64) -> u32 {
    hash(id) as u32
}

/// Spreads an id over 64 bits. Ids are given out by Discord, so nobody can choose a million that collide.
pub(crate) fn hash(id: u64) -> u64 {
    let spread = u128::from(id ^ 0x9E37_79B9_7F4A_7C15) * 0xD6E8_FEB8_6659_FD93;
    (spread >> 64) as u64 ^ spread as u64
}

/// A guild's tables: one for each kind of which it has any.
#[derive(Default)]
pub(crate) struct Tables {
    /// Bit n: there is one for kind n. They lie in the order of kinds.
    kinds: u32,
    /// Beside the guild itself, as long as it has no more than most have.
    tables: SmallVec<[Table; 8]>,
}

const _: () = assert!(Kind::ALL.len() <= u32::BITS as usize, "every kind has its bit");

impl Tables {
    fn place(&self, kind: Kind) -> (bool, usize) {
        let bit = 1 << kind as u8;
        (self.kinds & bit != 0, (self.kinds & (bit - 1)).count_ones() as usize)
    }

    pub(crate) fn get(&self, kind: Kind) -> Option<&Table> {
        let (there, at) = self.place(kind);
        self.tables.get(at).filter(|_| there)
    }

    pub(crate) fn get_mut(&mut self, kind: Kind) -> Option<&mut Table> {
        let (there, at) = self.place(kind);
        self.tables.get_mut(at).filter(|_| there)
    }

    pub(crate) fn get_or_add(&mut self, kind: Kind) -> &mut Table {
        let (there, at) = self.place(kind);
        if !there {
            self.kinds |= 1 << kind as u8;
            self.tables.insert(at, Table::default());
        }
        &mut self.tables[at]
    }

    pub(crate) fn remove(&mut self, kind: Kind) -> Option<Table> {
        let (there, at) = self.place(kind);
        if !there {
            return None;
        }
        self.kinds &= !(1 << kind as u8);
        Some(self.tables.remove(at))
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (Kind, &Table)> {
        Kind::ALL.into_iter().filter(|kind| self.kinds & (1 << *kind as u8) != 0).zip(&self.tables)
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

    #[test]
    fn a_table_finds_what_a_plain_map_finds() {
        for seed in 0..30 {
            println!("seed={seed}");
            let mut dice = Dice::new(seed);
            let (mut heap, mut table) = (Heap::default(), Table::default());
            let mut model: BTreeMap<u64, Handle> = BTreeMap::new();
            for step in 0..3000_u64 {
                let grows = if step < 1500 { 7 } else { 2 };
                let id = (1 << 60) + (dice.below(700) << 22);
                match dice.below(10) {
                    at if at < grows => {
                        model.entry(id).or_insert_with(|| {
                            let handle = heap.put(id, [b"x", b""]);
                            table.add(id, handle);
                            handle
                        });
                    }
                    9 if model.contains_key(&id) => {
                        let old = model[&id];
                        let new = heap.rewrite(old, [&[7; 40], b""]);
                        table.exchange(&heap, id, new);
                        if new != old {
                            heap.free(old);
                        }
                        model.insert(id, new);
                    }
                    _ => {
                        let gone = table.remove(&heap, id);
                        assert_eq!(gone, model.remove(&id));
                        gone.into_iter().for_each(|handle| heap.free(handle));
                    }
                }
                assert_eq!((table.len(), table.is_empty()), (model.len(), model.is_empty()));
                assert_eq!(table.find(&heap, id), model.get(&id).copied());
                if step % 100 == 0 {
                    assert!(model.iter().all(|(id, handle)| table.find(&heap, *id) == Some(*handle)));
                    assert_eq!(table.handles().count(), model.len());
                    assert!(table.bytes() <= 64 * 8 + 32 * model.len() as u64);
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
