//! Objects that lie as the events' own bytes, each in a list from the one told longest ago to the one told last.
//!
//! Such bytes are shared with the event's log and with whoever was given them, so keeping them, answering with them and putting others in
//! their place copies nothing. They are longer than packed ones; when they are too many, whoever keeps them here packs the oldest.
//!
//! Never here: what is too many, packing, and which kinds of objects are kept like this.

use trunkline_discord::Object;

use crate::ahead::ask_for;

/// Of what is in no list, and of the list's ends.
const NONE: u32 = u32::MAX;

/// What an object costs beside its bytes and its place: the count of those who share them lies in an allocation of its own.
const AROUND: u64 = 32;

#[derive(Default)]
pub(crate) struct Young {
    /// In pieces, so that those that lie here need not move when there are more.
    slots: Vec<Box<[Slot]>>,
    /// By the same numbers, who lies beside whom in the list. Apart, because a slot that is put behind the newest changes those of two others, and
    /// these are short enough to lie together where the processor has them at hand.
    links: Vec<Link>,
    /// Numbers of slots that hold nothing.
    spare: Vec<u32>,
    /// Both mean something only while a slot is taken.
    oldest: u32,
    newest: u32,
    /// Bytes of all objects, without their slots.
    bytes: u64,
}

/// Slots of a piece: two kilobytes.
const PIECE: usize = 32;

/// One line of memory.
#[repr(align(64))]
struct Slot {
    object: Object,
    guild: u64,
    id: u64,
    /// A byte of the heap's about the object.
    mark: u8,
}

const _: () = assert!(size_of::<Slot>() == 64);

#[derive(Clone, Copy)]
struct Link {
    older: u32,
    newer: u32,
}

/// What an object takes beside its own bytes, all told.
const SLOT_BYTES: usize = size_of::<Slot>() + size_of::<Link>();

impl Young {
    /// Takes an object in as the newest; answers its number.
    pub(crate) fn put(&mut self, guild: u64, id: u64, object: Object) -> u32 {
        self.bytes += bytes_of(&object);
        let link = Link { older: NONE, newer: NONE };
        let number = match self.spare.pop() {
            Some(number) => {
                self.links[number as usize] = link;
                number
            }
            None => {
                if self.links.len() == self.slots.len() * PIECE {
                    self.slots.push((0..PIECE).map(|_| Slot { object: nothing(), guild: 0, id: 0, mark: 0 }).collect());
                }
                self.links.push(link);
                self.links.len() as u32 - 1
            }
        };
        if let Some(slot) = self.slot_mut(number) {
            *slot = Slot { object, guild, id, mark: 0 };
        }
        if self.len() == 1 {
            self.oldest = number;
        } else {
            self.join(self.newest, number);
        }
        self.newest = number;
        number
    }

    /// Puts another object in the place of one, as the newest; answers the old one, or gives the new one back where there is none.
    pub(crate) fn replace(&mut self, number: u32, object: Object) -> Result<Object, Object> {
        let new = bytes_of(&object);
        let Some(slot) = self.slot_mut(number) else { return Err(object) };
        let old = std::mem::replace(&mut slot.object, object);
        self.bytes = self.bytes + new - bytes_of(&old);
        if self.newest != number {
            self.part(number);
            self.join(self.newest, number);
            self.links[number as usize].newer = NONE;
            self.newest = number;
        }
        Ok(old)
    }

    /// Takes an object away; answers it.
    pub(crate) fn remove(&mut self, number: u32) -> Option<Object> {
        let object = std::mem::replace(&mut self.slot_mut(number)?.object, nothing());
        self.bytes -= bytes_of(&object);
        self.part(number);
        self.spare.push(number);
        if self.len() == 0 {
            // What a burst needed is not held for ever.
            (self.slots, self.links, self.spare) = (Vec::new(), Vec::new(), Vec::new());
        }
        Some(object)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Object> {
        self.slot(number).map(|slot| &slot.object)
    }

    pub(crate) fn mark(&mut self, number: u32) -> Option<&mut u8> {
        self.slot_mut(number).map(|slot| &mut slot.mark)
    }

    pub(crate) fn ask_for(&self, number: u32) {
        if let Some(slot) = self.slot(number) {
            ask_for(slot);
        }
        if let Some(link) = self.links.get(number as usize) {
            ask_for(link);
        }
    }

    pub(crate) fn id(&self, number: u32) -> u64 {
        self.slot(number).map_or(0, |slot| slot.id)
    }

    /// The number of the one told longest ago, and its guild.
    pub(crate) fn oldest(&self) -> Option<(u32, u64)> {
        let slot = self.slot(self.oldest).filter(|_| self.len() > 0)?;
        Some((self.oldest, slot.guild))
    }

    /// Bytes that one takes, its slot included.
    pub(crate) fn cost(&self, number: u32) -> u64 {
        self.get(number).map_or(0, |object| bytes_of(object) + SLOT_BYTES as u64)
    }

    /// Bytes that all of them take, their slots included.
    pub(crate) fn used(&self) -> u64 {
        self.bytes + (self.len() * SLOT_BYTES) as u64
    }

    /// Bytes that are held, slots that hold nothing included.
    pub(crate) fn held(&self) -> u64 {
        let pieces = self.slots.capacity() * size_of::<Box<[Slot]>>() + self.slots.len() * PIECE * size_of::<Slot>();
        let beside = self.links.capacity() * size_of::<Link>() + self.spare.capacity() * size_of::<u32>();
        self.bytes + (pieces + beside) as u64
    }

    fn len(&self) -> usize {
        self.links.len() - self.spare.len()
    }

    #[inline]
    fn slot(&self, number: u32) -> Option<&Slot> {
        self.slots.get(number as usize / PIECE)?.get(number as usize % PIECE)
    }

    #[inline]
    fn slot_mut(&mut self, number: u32) -> Option<&mut Slot> {
        self.slots.get_mut(number as usize / PIECE)?.get_mut(number as usize % PIECE)
    }

    fn join(&mut self, older: u32, newer: u32) {
        if let Some(link) = self.links.get_mut(older as usize) {
            link.newer = newer;
        }
        if let Some(link) = self.links.get_mut(newer as usize) {
            link.older = older;
        }
    }

    /// Takes a slot out of the list.
    fn part(&mut self, number: u32) {
        let Some(&Link { older, newer }) = self.links.get(number as usize) else { return };
        self.join(older, newer);
        if older == NONE {
            self.oldest = newer;
        }
        if newer == NONE {
            self.newest = older;
        }
    }
}

/// What lies where nothing does.
fn nothing() -> Object {
    Object { encoding: trunkline_etf::Encoding::Packed, bytes: bytes::Bytes::new() }
}

fn bytes_of(object: &Object) -> u64 {
    object.bytes.len() as u64 + AROUND
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests {
    use std::collections::VecDeque;

    use bytes::Bytes;
    use trunkline_discord::Dice;
    use trunkline_etf::Encoding;

    use super::*;

    fn object(dice: &mut Dice) -> Object {
        let bytes = vec![dice.below(256) as u8; dice.below(100) as usize];
        Object { encoding: Encoding::Json, bytes: Bytes::from(bytes) }
    }

    #[test]
    fn the_oldest_is_the_one_told_longest_ago_whatever_is_replaced_and_removed() {
        for seed in 0..50 {
            println!("seed={seed}");
            let mut dice = Dice::new(seed);
            let mut young = Young::default();
            let mut model: VecDeque<(u32, u64, Object)> = VecDeque::new();
            for step in 0..2_000u64 {
                let at = dice.below(model.len().max(1) as u64) as usize;
                match dice.below(10) {
                    0..4 if model.len() < 40 => {
                        let object = object(&mut dice);
                        let number = young.put(7, step, object.clone());
                        assert!(model.iter().all(|(other, _, _)| *other != number));
                        model.push_back((number, step, object));
                    }
                    4..8 if !model.is_empty() => {
                        let new = object(&mut dice);
                        let (number, id, old) = model.remove(at).unwrap();
                        assert_eq!(young.replace(number, new.clone()), Ok(old));
                        model.push_back((number, id, new));
                    }
                    8 if !model.is_empty() => {
                        let (number, _, old) = model.remove(at).unwrap();
                        assert_eq!(young.remove(number), Some(old));
                    }
                    9 if !model.is_empty() => drop(young.remove(model.pop_front().unwrap().0)),
                    _ => {}
                }
                assert_eq!(young.oldest(), model.front().map(|(number, _, _)| (*number, 7)), "step {step}");
                for (number, id, object) in &model {
                    assert_eq!((young.get(*number), young.id(*number)), (Some(object), *id));
                }
                assert_eq!(young.used(), model.iter().map(|(number, _, _)| young.cost(*number)).sum::<u64>());
                assert!(young.held() >= young.used());
            }
            for (number, _, _) in model {
                young.remove(number);
            }
            assert_eq!((young.oldest(), young.used(), young.held()), (None, 0, 0), "nothing is held for nothing");
        }
    }
}
