//! Values by id in one array: what is looked for lies at one place, which can be asked for ahead ([`ahead`](crate::ahead)); a general map keeps
//! its marks and its entries apart and tells nobody where.
//!
//! Never more than three places in four are taken, and an entry that goes makes those behind it move up, so that there are no marks of what
//! was there once.

use crate::ahead::ask_for;
use crate::table::hash;

/// Of so many places ...
const FULL_OF: usize = 4;
/// ... this many are taken at most.
const FULL: usize = 3;
const PLACES_MIN: usize = 4;
/// Entries that are longer lie in two lines of memory too often to be asked for as if they lay in one.
const LONG_BYTES: usize = 32;

pub(crate) struct IdMap<V> {
    /// Where an entry lies says its id's hash: there, or at the next free place behind it.
    places: Box<[Option<(u64, V)>]>,
    len: usize,
}

impl<V> Default for IdMap<V> {
    fn default() -> IdMap<V> {
        IdMap { places: Box::default(), len: 0 }
    }
}

impl<V> IdMap<V> {
    /// Asks for the memory in which an id's value most likely lies.
    #[inline]
    pub(crate) fn ask_for(&self, id: u64) {
        let home = self.home(id);
        if let Some(place) = self.places.get(home) {
            ask_for(place);
        }
        // Longer ones end where the next one begins.
        if size_of::<Option<(u64, V)>>() > LONG_BYTES
            && let Some(next) = self.places.get(home + 1)
        {
            ask_for(next);
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: u64) -> Option<&V> {
        let at = self.place(id)?;
        self.places[at].as_ref().map(|(_, value)| value)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut V> {
        let at = self.place(id)?;
        self.places[at].as_mut().map(|(_, value)| value)
    }

    /// The value of an id, made where there is none.
    pub(crate) fn get_or_insert_with(&mut self, id: u64, make: impl FnOnce() -> V) -> &mut V {
        let mut at = self.home(id);
        loop {
            match self.places.get(at) {
                Some(Some((other, _))) if *other != id => at = self.after(at),
                Some(Some(_)) => break,
                _ => {
                    if (self.len + 1) * FULL_OF > self.places.len() * FULL {
                        self.resize((self.places.len() * 2).max(PLACES_MIN));
                        at = self.free_place(id);
                    }
                    self.len += 1;
                    break;
                }
            }
        }
        &mut self.places[at].get_or_insert_with(|| (id, make())).1
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<V> {
        let mut free = self.place(id)?;
        let gone = self.places[free].take();
        self.len -= 1;
        // What lies behind moves up, unless that is before where it wants to be.
        let many = self.places.len();
        let mut at = free;
        loop {
            at = self.after(at);
            let Some((other, _)) = &self.places[at] else { break };
            let from = |place: usize| if at >= place { at - place } else { at + many - place };
            if from(self.home(*other)) >= from(free) {
                self.places.swap(at, free);
                free = at;
            }
        }
        if self.places.len() > 64 && self.len * 4 < self.places.len() {
            self.resize(self.places.len() / 2);
        }
        gone.map(|(_, value)| value)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the array.
    pub(crate) fn bytes(&self) -> u64 {
        size_of_val(&*self.places) as u64
    }

    #[inline]
    fn place(&self, id: u64) -> Option<usize> {
        let mut at = self.home(id);
        // One place at least is free, or there are none at all.
        loop {
            let (other, _) = self.places.get(at)?.as_ref()?;
            if *other == id {
                return Some(at);
            }
            at = self.after(at);
        }
    }

    fn free_place(&self, id: u64) -> usize {
        let mut at = self.home(id);
        while self.places[at].is_some() {
            at = self.after(at);
        }
        at
    }

    #[inline]
    fn home(&self, id: u64) -> usize {
        ((u128::from(hash(id)) * self.places.len() as u128) >> 64) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        let next = at + 1;
        if next == self.places.len() { 0 } else { next }
    }

    fn resize(&mut self, places: usize) {
        let mut new = Vec::new();
        new.resize_with(places, || None);
        let old = std::mem::replace(&mut self.places, new.into_boxed_slice());
        for entry in old.into_iter().flatten() {
            let at = self.free_place(entry.0);
            self.places[at] = Some(entry);
        }
    }
}

#[cfg(test)]
#[allow(clippy::print_stdout)]
mod tests {
    use std::collections::BTreeMap;

    use trunkline_discord::Dice;

    use super::*;

    #[test]
    fn it_finds_what_a_plain_map_finds_whatever_comes_and_goes() {
        for seed in 0..30 {
            println!("seed={seed}");
            let mut dice = Dice::new(seed);
            let mut map: IdMap<u64> = IdMap::default();
            let mut model = BTreeMap::new();
            assert_eq!((map.remove(1), map.get(1), map.bytes()), (None, None, 0));
            map.ask_for(1);
            for step in 0..3_000_u64 {
                let grows = if step < 1_500 { 7 } else { 2 };
                // 0 is an id like any other: bad input may name it.
                let id = dice.below(700) << 22;
                if dice.below(10) < grows {
                    assert_eq!(*map.get_or_insert_with(id, || step), *model.entry(id).or_insert(step), "step {step}");
                } else {
                    assert_eq!(map.remove(id), model.remove(&id), "step {step}");
                }
                let id = dice.below(700) << 22;
                if let Some(value) = map.get_mut(id) {
                    *value += 1;
                }
                model.entry(id).and_modify(|value| *value += 1);
                map.ask_for(id);
                assert_eq!((map.get(id), map.len()), (model.get(&id), model.len()), "step {step}");
                if step % 100 == 0 {
                    model.iter().for_each(|(id, value)| assert_eq!(map.get(*id), Some(value), "step {step}"));
                    assert!(map.bytes() <= size_of::<Option<(u64, u64)>>() as u64 * (64 + 8 * model.len() as u64));
                }
            }
        }
    }
}
