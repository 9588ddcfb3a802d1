//! Where the bytes of objects lie: pages of equal slots, named by handles of four bytes.
//!
//! A cache holds millions of objects of some hundred bytes. One allocation each would cost a pointer, a length and the allocator's own
//! bytes for every one of them; here an object costs its slot (its id, its bytes, rounded up to 8) and the handle that names it. Objects
//! that lie as an event's own bytes have handles too, so that tables need not know of the difference.
//!
//! Invariants: a slot holds one object and nothing else; a page whose last object goes is given back; what is read after it was freed
//! is anything, so nobody who keeps a handle beside the one table in which it lies may believe it (the ids that a search index begins with are
//! asked for again by id). No `unsafe`.

use trunkline_discord::Object;
use trunkline_etf::{Encoding, Value};

use crate::ahead::ask_for;
use crate::young::Young;

/// Names one object's slot, until the object is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle(u32);

impl Handle {
    /// As a number below `u32::MAX`.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    pub(crate) fn of_number(number: u32) -> Handle {
        Handle(number)
    }
}

/// Set in handles of objects that are longer than a slot can be.
const LARGE: u32 = 1 << 31;
/// Set beside [`LARGE`] in handles of objects that lie as an event's own bytes.
const YOUNG: u32 = 1 << 30;
/// Bits of a handle that name the slot in its page.
const SLOT_BITS: u32 = 12;
/// A full page's bytes, at most. Large enough that a page costs next to nothing beside its slots, small enough that a half empty one
/// for each size of slot does not count.
const PAGE_BYTES: usize = 64 * 1024;
/// Slots are multiples of this.
const STEP: usize = 8;
/// The longest slot; what needs more is allocated by itself.
const SLOT_BYTES_MAX: usize = 1024;
const CLASSES: usize = SLOT_BYTES_MAX / STEP + 1;
/// Before an object's bytes: how many bytes of the slot are not used and whether the object is noted (one byte), and its id.
const HEAD: usize = 9;
/// In that byte, of an object that is noted as changed.
const NOTED: u8 = 1 << 7;
const NONE: u32 = u32::MAX;
const NO_SLOT: u16 = u16::MAX;

/// One page, all of whose slots have the same size.
#[derive(Default)]
struct Page {
    bytes: Vec<u8>,
    class: u8,
    live: u16,
    /// First of the slots that were freed; each begins with the number of the next.
    free: u16,
    /// Its place in the list of its class's pages that have room; `NONE`: it has none.
    at: u32,
}

/// Objects by handle.
#[derive(Default)]
pub(crate) struct Heap {
    pages: Vec<Page>,
    /// Numbers of pages that were given back.
    spare_pages: Vec<u32>,
    /// By class, the pages that have room.
    open: Vec<Vec<u32>>,
    /// By class, whether a page was ever full: the next has all its room at once, instead of moving its objects each time that it grows.
    filled: Vec<bool>,
    large: Vec<Box<[u8]>>,
    spare_large: Vec<u32>,
    young: Young,
    used: u64,
    held: u64,
}

impl Heap {
    /// Takes an object in, the parts one after the other.
    pub(crate) fn put(&mut self, id: u64, parts: [&[u8]; 2]) -> Handle {
        let wanted = HEAD + parts[0].len() + parts[1].len();
        if wanted > SLOT_BYTES_MAX {
            return self.put_large(id, parts, wanted);
        }
        let class = wanted.div_ceil(STEP);
        let page_number = self.page_with_room(class);
        let Some(page) = self.pages.get_mut(page_number as usize) else { return Handle(NONE) };
        let slot_bytes = class * STEP;
        let slot = if page.free == NO_SLOT {
            let start = page.bytes.len();
            if page.bytes.capacity() < start + slot_bytes {
                let before = page.bytes.capacity();
                let whole = slots_of(class) * slot_bytes;
                let grown = if self.filled[class] { whole } else { (start / 2).max(4 * slot_bytes) };
                let room = grown.min(whole - start);
                page.bytes.reserve_exact(room);
                self.held += (page.bytes.capacity() - before) as u64;
            }
            page.bytes.resize(start + slot_bytes, 0);
            start / slot_bytes
        } else {
            let slot = usize::from(page.free);
            let start = slot * slot_bytes;
            page.free = u16::from_le_bytes([page.bytes[start], page.bytes[start + 1]]);
            slot
        };
        page.live += 1;
        write(&mut page.bytes[slot * slot_bytes..][..slot_bytes], id, parts);
        self.used += slot_bytes as u64;
        if page.free == NO_SLOT && page.bytes.len() / slot_bytes == slots_of(class) {
            self.filled[class] = true;
            self.close(page_number);
        }
        Handle(page_number << SLOT_BITS | slot as u32)
    }

    /// Writes other bytes for an object: where the old ones lie if a slot of that size holds them (the same handle is answered), else in
    /// another place. The old place is then still as it was, because tables read ids there; the caller frees it.
    pub(crate) fn rewrite(&mut self, handle: Handle, parts: [&[u8]; 2]) -> Handle {
        let id = self.id(handle);
        let wanted = HEAD + parts[0].len() + parts[1].len();
        if handle.0 & LARGE == 0
            && let Some(slot) = self.slot_mut(handle)
            && wanted.div_ceil(STEP) * STEP == slot.len()
        {
            let noted = slot[0] & NOTED;
            write(slot, id, parts);
            slot[0] |= noted;
            return handle;
        }
        self.put(id, parts)
    }

    /// Takes an object of a guild in as it came.
    pub(crate) fn put_young(&mut self, guild: u64, id: u64, object: Object) -> Handle {
        Handle(self.young.put(guild, id, object) | LARGE | YOUNG)
    }

    /// Puts another object in the place of one that lies as it came; answers the old one, or gives the new one back where none lies like that.
    pub(crate) fn replace_young(&mut self, handle: Handle, object: Object) -> Result<Object, Object> {
        match number_of_young(handle) {
            Some(number) => self.young.replace(number, object),
            None => Err(object),
        }
    }

    /// Gives an object's room back; answers the object, as it lay.
    pub(crate) fn take(&mut self, handle: Handle) -> Object {
        if let Some(object) = number_of_young(handle).and_then(|number| self.young.remove(number)) {
            return object;
        }
        let object = Object::copy_of(self.value(handle));
        self.free(handle);
        object
    }

    /// An object that lies as it came.
    pub(crate) fn young(&self, handle: Handle) -> Option<&Object> {
        self.young.get(number_of_young(handle)?)
    }

    /// Of those that lie as they came, the one told longest ago, and its guild.
    pub(crate) fn oldest_young(&self) -> Option<(u64, Handle)> {
        let (number, guild) = self.young.oldest()?;
        Some((guild, Handle(number | LARGE | YOUNG)))
    }

    /// Bytes of all that lie as they came.
    pub(crate) fn young_bytes(&self) -> u64 {
        self.young.used()
    }

    /// Gives an object's room back.
    pub(crate) fn free(&mut self, handle: Handle) {
        if let Some(number) = number_of_young(handle) {
            drop(self.young.remove(number));
            return;
        }
        if handle.0 & LARGE != 0 {
            let number = handle.0 & !LARGE;
            let Some(large) = self.large.get_mut(number as usize) else { return };
            let bytes = large.len() as u64;
            *large = Box::default();
            self.spare_large.push(number);
            self.used -= bytes;
            self.held -= bytes;
            return;
        }
        let number = handle.0 >> SLOT_BITS;
        let Some(page) = self.pages.get_mut(number as usize) else { return };
        let slot_bytes = usize::from(page.class) * STEP;
        let slot = handle.0 & ((1 << SLOT_BITS) - 1);
        let start = slot as usize * slot_bytes;
        page.bytes[start..start + 2].copy_from_slice(&page.free.to_le_bytes());
        page.free = slot as u16;
        page.live -= 1;
        self.used -= slot_bytes as u64;
        if page.live == 0 {
            self.give_back(number);
        } else if page.at == NONE {
            self.reopen(number);
        }
    }

    pub(crate) fn id(&self, handle: Handle) -> u64 {
        if let Some(number) = number_of_young(handle) {
            return self.young.id(number);
        }
        self.slot(handle).get(1..).and_then(|slot| slot.first_chunk()).map_or(0, |id| u64::from_le_bytes(*id))
    }

    /// Notes that an object has changed; whether it was not noted before. It stays noted until [`Heap::unnote`], while it keeps its place.
    #[inline]
    pub(crate) fn note(&mut self, handle: Handle) -> bool {
        let Some(mark) = self.mark(handle) else { return true };
        let before = *mark;
        *mark |= NOTED;
        before & NOTED == 0
    }

    pub(crate) fn unnote(&mut self, handle: Handle) {
        if let Some(mark) = self.mark(handle) {
            *mark &= !NOTED;
        }
    }

    /// The byte that says whether an object is noted.
    #[inline]
    fn mark(&mut self, handle: Handle) -> Option<&mut u8> {
        if let Some(number) = number_of_young(handle) {
            return self.young.mark(number);
        }
        if handle.0 & LARGE != 0 {
            return self.large.get_mut((handle.0 & !LARGE) as usize)?.first_mut();
        }
        self.slot_mut(handle)?.first_mut()
    }

    /// Asks for an object's memory: its beginning, or where `at` in it lies.
    #[inline]
    pub(crate) fn ask_for(&self, handle: Handle, at: usize) {
        match number_of_young(handle) {
            Some(number) => self.young.ask_for(number),
            None => self.slot(handle).get(at..).and_then(<[u8]>::first).into_iter().for_each(ask_for),
        }
    }

    /// Asks for some of a packed object's bytes, which lie in two lines of memory at most.
    #[inline]
    pub(crate) fn ask_for_bytes(&self, handle: Handle, at: usize, len: usize) {
        if let Some([first, .., last]) = self.slot(handle).get(HEAD + at..).and_then(|slot| slot.get(..len)) {
            ask_for(first);
            ask_for(last);
        }
    }

    /// An object, in whichever form it lies.
    pub(crate) fn value(&self, handle: Handle) -> Value<'_> {
        match self.young(handle) {
            Some(object) => object.value(),
            None => Value::from_raw(Encoding::Packed, self.bytes(handle)),
        }
    }

    /// A packed object's bytes; none of one that lies as it came.
    pub(crate) fn bytes(&self, handle: Handle) -> &[u8] {
        let slot = self.slot(handle);
        let Some(unused) = slot.first() else { return &[] };
        slot.get(HEAD..slot.len() - usize::from(*unused & !NOTED)).unwrap_or_default()
    }

    /// Puts other bytes in the place of some of an object's.
    pub(crate) fn patch(&mut self, handle: Handle, at: usize, bytes: &[u8]) {
        let slot = if handle.0 & LARGE != 0 {
            self.large.get_mut((handle.0 & !LARGE) as usize).map(|large| &mut **large)
        } else {
            self.slot_mut(handle)
        };
        if let Some(place) = slot.and_then(|slot| slot.get_mut(HEAD + at..HEAD + at + bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }

    /// Bytes that an object takes, its share of nothing else.
    pub(crate) fn cost(&self, handle: Handle) -> u64 {
        if let Some(number) = number_of_young(handle) {
            return self.young.cost(number);
        }
        self.slot(handle).len() as u64
    }

    /// Bytes of all slots that hold an object.
    pub(crate) fn used(&self) -> u64 {
        self.used + self.young.used()
    }

    /// Bytes that are held, slots that hold nothing included.
    pub(crate) fn held(&self) -> u64 {
        let lists: usize = self.open.iter().map(Vec::capacity).sum();
        let around = self.pages.capacity() * size_of::<Page>() + (lists + self.spare_pages.capacity()) * 4 + self.filled.capacity();
        self.held + self.young.held() + (around + self.large.capacity() * size_of::<Box<[u8]>>()) as u64
    }

    fn put_large(&mut self, id: u64, parts: [&[u8]; 2], wanted: usize) -> Handle {
        let mut bytes = vec![0; wanted].into_boxed_slice();
        write(&mut bytes, id, parts);
        self.used += wanted as u64;
        self.held += wanted as u64;
        let number = match self.spare_large.pop() {
            Some(number) => {
                self.large[number as usize] = bytes;
                number
            }
            None => {
                self.large.push(bytes);
                self.large.len() as u32 - 1
            }
        };
        Handle(number | LARGE)
    }

    fn slot(&self, handle: Handle) -> &[u8] {
        if handle.0 & LARGE != 0 {
            return self.large.get((handle.0 & !LARGE) as usize).map_or(&[], |bytes| bytes);
        }
        let Some(page) = self.pages.get((handle.0 >> SLOT_BITS) as usize) else { return &[] };
        let slot_bytes = usize::from(page.class) * STEP;
        let start = (handle.0 & ((1 << SLOT_BITS) - 1)) as usize * slot_bytes;
        page.bytes.get(start..start + slot_bytes).unwrap_or_default()
    }

    fn slot_mut(&mut self, handle: Handle) -> Option<&mut [u8]> {
        let page = self.pages.get_mut((handle.0 >> SLOT_BITS) as usize)?;
        let slot_bytes = usize::from(page.class) * STEP;
        let start = (handle.0 & ((1 << SLOT_BITS) - 1)) as usize * slot_bytes;
        page.bytes.get_mut(start..start + slot_bytes)
    }

    fn page_with_room(&mut self, class: usize) -> u32 {
        if self.open.is_empty() {
            self.open.resize_with(CLASSES, Vec::new);
            self.filled.resize(CLASSES, false);
        }
        if let Some(number) = self.open[class].last() {
            return *number;
        }
        let page = Page { class: class as u8, free: NO_SLOT, at: 0, ..Page::default() };
        let number = match self.spare_pages.pop() {
            Some(number) => {
                self.pages[number as usize] = page;
                number
            }
            None => {
                self.pages.push(page);
                self.pages.len() as u32 - 1
            }
        };
        self.open[class].push(number);
        number
    }

    /// Takes a page out of its class's list of those that have room.
    fn close(&mut self, number: u32) {
        let page = &mut self.pages[number as usize];
        let at = std::mem::replace(&mut page.at, NONE);
        let open = &mut self.open[usize::from(page.class)];
        if at == NONE {
            return;
        }
        open.swap_remove(at as usize);
        if let Some(moved) = open.get(at as usize) {
            self.pages[*moved as usize].at = at;
        }
    }

    fn reopen(&mut self, number: u32) {
        let page = &mut self.pages[number as usize];
        let open = &mut self.open[usize::from(page.class)];
        page.at = open.len() as u32;
        open.push(number);
    }

    fn give_back(&mut self, number: u32) {
        self.close(number);
        let page = &mut self.pages[number as usize];
        self.held -= page.bytes.capacity() as u64;
        *page = Page { at: NONE, ..Page::default() };
        self.spare_pages.push(number);
    }
}

/// The number of an object that lies as it came.
fn number_of_young(handle: Handle) -> Option<u32> {
    (handle.0 >= LARGE | YOUNG).then_some(handle.0 & !(LARGE | YOUNG))
}

/// Slots in a full page of a class.
fn slots_of(class: usize) -> usize {
    (PAGE_BYTES / (class * STEP)).min(1 << SLOT_BITS)
}

fn write(slot: &mut [u8], id: u64, parts: [&[u8]; 2]) {
    let (first, second) = (HEAD + parts[0].len(), HEAD + parts[0].len() + parts[1].len());
    // Less than a step, so that it fits beside the mark.
    slot[0] = (slot.len() - second) as u8;
    slot[1..HEAD].copy_from_slice(&id.to_le_bytes());
    slot[HEAD..first].copy_from_slice(parts[0]);
    slot[first..second].copy_from_slice(parts[1]);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests {
    use super::*;
    use trunkline_discord::Dice;

    fn bytes(dice: &mut Dice) -> Vec<u8> {
        let longest = match dice.below(10) {
            0 => 4000,
            1 | 2 => 1100,
            _ => 60,
        };
        (0..dice.below(longest)).map(|_| dice.below(256) as u8).collect()
    }

    #[test]
    fn bytes_are_put_in_the_place_of_others_wherever_the_object_lies() {
        for many in [20, 4_000] {
            let mut heap = Heap::default();
            let handle = heap.put(7, [&vec![1; many], b"xyz"]);
            heap.patch(handle, many, b"abc");
            heap.patch(handle, many + 1, b"abc");
            assert_eq!((heap.id(handle), heap.bytes(handle).get(many - 1..)), (7, Some(&b"\x01abc"[..])), "and never beyond its end");
        }
    }

    #[test]
    fn objects_come_back_as_they_were_put_whatever_is_freed_around_them() {
        for seed in 0..20 {
            println!("seed={seed}");
            let mut dice = Dice::new(seed);
            let mut heap = Heap::default();
            let mut model: Vec<(Handle, u64, Vec<u8>)> = Vec::new();
            for step in 0..4000 {
                // It grows first and shrinks then, so that pages fill and empty.
                let (put, replaced) = if step < 2000 { (6, 8) } else { (2, 5) };
                match dice.below(10) {
                    at if at < put => {
                        let (id, new) = (dice.next_u64(), bytes(&mut dice));
                        let (left, right) = new.split_at(dice.below(new.len() as u64 + 1) as usize);
                        let handle = heap.put(id, [left, right]);
                        assert!(model.iter().all(|(other, _, _)| *other != handle), "a slot is nobody else's");
                        model.push((handle, id, new));
                    }
                    at if at < replaced && !model.is_empty() => {
                        let at = dice.below(model.len() as u64) as usize;
                        let new = bytes(&mut dice);
                        let old = model[at].0;
                        model[at].0 = heap.rewrite(old, [&new, &[]]);
                        if old != model[at].0 {
                            heap.free(old);
                        }
                        model[at].2 = new;
                    }
                    _ if !model.is_empty() => {
                        let at = dice.below(model.len() as u64) as usize;
                        let (handle, _, bytes) = model.swap_remove(at);
                        if dice.below(2) == 0 {
                            heap.free(handle);
                        } else {
                            assert_eq!(heap.take(handle).bytes, bytes, "step {step}");
                        }
                    }
                    _ => {}
                }
                if step % 100 == 0 {
                    for (handle, id, bytes) in &model {
                        assert_eq!((heap.id(*handle), heap.bytes(*handle)), (*id, bytes.as_slice()));
                    }
                    assert_eq!(heap.used(), model.iter().map(|(handle, _, _)| heap.cost(*handle)).sum::<u64>());
                }
            }
            for (handle, _, _) in model.drain(..) {
                heap.free(handle);
            }
            assert_eq!((heap.used(), heap.held), (0, 0), "empty pages are given back");
        }
    }

    #[test]
    fn many_small_objects_cost_their_slots_and_little_more() {
        let mut heap = Heap::default();
        for id in 0..100_000 {
            heap.put(id, [&[7; 50], &[]]);
        }
        assert_eq!(heap.used(), 100_000 * 64);
        assert!(heap.held() < heap.used() + heap.used() / 50, "{} for {}", heap.held(), heap.used());
    }

    #[test]
    fn an_object_is_noted_once_until_that_is_taken_back_and_its_bytes_stay_as_they_are() {
        let mut heap = Heap::default();
        let young = Object { encoding: Encoding::Json, bytes: bytes::Bytes::from_static(b"{}") };
        let handles = [heap.put(1, [b"one", b""]), heap.put(2, [&[2; 4_000], b""]), heap.put_young(7, 3, young)];
        for handle in handles {
            let before = heap.value(handle).raw().to_vec();
            for _ in 0..2 {
                heap.ask_for(handle, 1);
                heap.ask_for(handle, usize::MAX);
                assert_eq!([heap.note(handle), heap.note(handle)], [true, false]);
                assert_eq!(heap.value(handle).raw(), before);
                heap.unnote(handle);
            }
        }
        let handle = heap.put(4, [b"four", b""]);
        heap.note(handle);
        assert_eq!(heap.rewrite(handle, [b"five", b"!"]), handle);
        assert_eq!(heap.bytes(handle), b"five!");
        assert!(!heap.note(handle), "still noted in its place");
        let moved = heap.rewrite(handle, [&[5; 100], b""]);
        heap.free(handle);
        assert!(heap.note(moved), "and not in another");
        let new = heap.put(5, [b"new", b""]);
        assert!(new == handle && heap.note(new), "nor is the next in its place");
    }

    #[test]
    fn an_object_that_lies_as_it_came_is_replaced_and_taken_without_being_copied() {
        let mut heap = Heap::default();
        let object = |text: &'static str| Object { encoding: Encoding::Json, bytes: bytes::Bytes::from_static(text.as_bytes()) };
        let packed = heap.put(2, [b"two", b""]);
        let young = heap.put_young(7, 1, object("{}"));
        assert_eq!(heap.replace_young(young, object("[]")), Ok(object("{}")));
        assert_eq!(heap.replace_young(packed, object("[]")), Err(object("[]")), "what is packed has no such place");
        assert_eq!(heap.take(young).bytes.as_ptr(), object("[]").bytes.as_ptr());
        assert_eq!(heap.take(packed), Object { encoding: Encoding::Packed, bytes: bytes::Bytes::from_static(b"two") });
        assert_eq!(heap.used(), 0);
        assert_eq!(heap.replace_young(young, object("{}")), Err(object("{}")), "nor has what is gone");
    }

    #[test]
    fn an_object_that_keeps_its_size_keeps_its_place() {
        let mut heap = Heap::default();
        let handle = heap.put(1, [b"one", b""]);
        assert_eq!(heap.rewrite(handle, [b"t", b"wo"]), handle);
        assert_eq!((heap.id(handle), heap.bytes(handle)), (1, &b"two"[..]));
        assert_ne!(heap.rewrite(handle, [&[0; 100], b""]), handle);
    }
}
