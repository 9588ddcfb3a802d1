//! Values by id that lie one after the other, of which the one that was looked at last is found at once: an event asks for its guild a dozen
//! times.

use std::cell::Cell;

use crate::id_map::IdMap;

pub(crate) struct DenseMap<V> {
    /// In no order.
    entries: Vec<(u64, V)>,
    places: IdMap<u32>,
    /// What was looked for last and was there: its id, and where. To be believed only while that entry has that id.
    last: Cell<u32>,
}

impl<V> Default for DenseMap<V> {
    fn default() -> DenseMap<V> {
        DenseMap { entries: Vec::new(), places: IdMap::default(), last: Cell::new(0) }
    }
}

impl<V> DenseMap<V> {
    #[inline]
    pub(crate) fn get(&self, id: u64) -> Option<&V> {
        let at = self.place(id)?;
        self.entries.get(at).map(|(_, value)| value)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut V> {
        let at = self.place(id)?;
        self.entries.get_mut(at).map(|(_, value)| value)
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.place(id).is_some()
    }

    /// The value of an id, made where there is none.
    pub(crate) fn get_or_insert_with(&mut self, id: u64, make: impl FnOnce() -> V) -> &mut V {
        let next = self.entries.len() as u32;
        let at = *self.places.get_or_insert_with(id, || next);
        if at == next {
            self.entries.push((id, make()));
        }
        &mut self.entries[at as usize].1
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<V> {
        let at = self.places.remove(id)? as usize;
        let (_, gone) = self.entries.swap_remove(at);
        if let Some((moved, _)) = self.entries.get(at)
            && let Some(place) = self.places.get_mut(*moved)
        {
            *place = at as u32;
        }
        Some(gone)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        self.entries.iter().map(|(id, value)| (*id, value))
    }

    /// Bytes that are held.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<(u64, V)>() + self.places.bytes() as usize
    }

    #[inline]
    fn place(&self, id: u64) -> Option<usize> {
        let last = self.last.get() as usize;
        if self.entries.get(last).is_some_and(|(other, _)| *other == id) {
            return Some(last);
        }
        let at = *self.places.get(id)?;
        self.last.set(at);
        Some(at as usize)
    }
}

#[cfg(test)]
#[allow(clippy::print_stdout)]
mod tests {
    use std::collections::BTreeMap;

    use trunkline_discord::Dice;

    use super::*;

    #[test]
    fn it_finds_what_a_plain_map_finds_whatever_was_looked_at_last() {
        for seed in 0..30 {
            println!("seed={seed}");
            let mut dice = Dice::new(seed);
            let mut map: DenseMap<u64> = DenseMap::default();
            let mut model = BTreeMap::new();
            for step in 0..2_000_u64 {
                // 0 is an id like any other: bad input may name it.
                let id = dice.below(60) << 22;
                match dice.below(5) {
                    0 => assert_eq!(*map.get_or_insert_with(id, || step), *model.entry(id).or_insert(step), "step {step}"),
                    1 => assert_eq!(map.remove(id), model.remove(&id), "step {step}"),
                    2 => {
                        let (ours, wanted) = (map.get_mut(id), model.get_mut(&id));
                        assert_eq!(ours, wanted, "step {step}");
                        ours.into_iter().chain(wanted).for_each(|value| *value += 1);
                    }
                    _ => assert_eq!((map.get(id), map.contains(id)), (model.get(&id), model.contains_key(&id)), "step {step}"),
                }
            }
            let mut all: Vec<(u64, u64)> = map.iter().map(|(id, value)| (id, *value)).collect();
            all.sort_unstable();
            assert_eq!(all, model.into_iter().collect::<Vec<_>>());
            assert!(map.bytes() >= all.len() * 16);
        }
    }
}
