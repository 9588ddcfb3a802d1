//! A set of log positions: dense, ordered, cheap to change, small to write down.
//!
//! What a group has not acknowledged is such a set. It costs one bit per position between its lowest and highest member
//! (empty blocks cost a pointer), so that a million unacknowledged entries are 125 KiB, are written into a checkpoint
//! in microseconds, and are walked without looking at what was acknowledged. Lists of ranges were rejected: a slow
//! worker beside a fast one leaves every second position, and then a list costs more than the entries' bits.
//!
//! Invariant: the first and the last block are never empty.

use std::collections::VecDeque;

use crate::stored::{Cursor, DecodeError, put_varint};

/// Positions per block.
const BLOCK: u64 = 4_096;
const WORDS: usize = (BLOCK / 64) as usize;

/// Blocks that a set read from a record may span: 2^28 positions, far more than any log holds at once. A damaged record
/// must not make us allocate in proportion to a number in it.
const BLOCKS_SPAN_MAX: u64 = 1 << 16;

#[derive(Clone, Debug)]
struct Block {
    count: u16,
    words: [u64; WORDS],
}

impl Block {
    // The count is changed behind a branch, not by the bit's old value: of a `remove` written so, rustc 1.95 with LLVM 22.1 forgets to count
    // at opt-level 2 and above (a_set_that_is_emptied_again_and_again_stays_right finds it).
    #[inline]
    fn insert(&mut self, position: u64) -> bool {
        let bit = (position % BLOCK) as usize;
        let mask = 1 << (bit % 64);
        if self.words[bit / 64] & mask != 0 {
            return false;
        }
        self.words[bit / 64] |= mask;
        self.count += 1;
        true
    }

    #[inline]
    fn remove(&mut self, position: u64) -> bool {
        let bit = (position % BLOCK) as usize;
        let mask = 1 << (bit % 64);
        if self.words[bit / 64] & mask == 0 {
            return false;
        }
        self.words[bit / 64] &= !mask;
        self.count -= 1;
        true
    }
}

/// An ordered set of positions.
#[derive(Clone, Debug, Default)]
pub(crate) struct PositionSet {
    blocks: VecDeque<Option<Box<Block>>>,
    /// Number of the first block.
    base: u64,
    len: u64,
    /// One block kept for reuse, so that a group that keeps up does not allocate.
    spare: Option<Box<Block>>,
}

impl PositionSet {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn block(&self, position: u64) -> Option<&Block> {
        let index = (position / BLOCK).checked_sub(self.base)?;
        self.blocks.get(usize::try_from(index).ok()?)?.as_deref()
    }

    pub(crate) fn contains(&self, position: u64) -> bool {
        let bit = (position % BLOCK) as usize;
        self.block(position).is_some_and(|block| block.words[bit / 64] & (1 << (bit % 64)) != 0)
    }

    /// The block that a position belongs to, if there is one.
    #[inline]
    fn block_mut(&mut self, position: u64) -> Option<&mut Block> {
        let index = (position / BLOCK).checked_sub(self.base)?;
        self.blocks.get_mut(usize::try_from(index).ok()?)?.as_deref_mut()
    }

    /// Adds a position; false when it was in already.
    #[inline]
    pub(crate) fn insert(&mut self, position: u64) -> bool {
        let new = match self.block_mut(position) {
            Some(block) => block.insert(position),
            None => self.new_block(position).insert(position),
        };
        self.len += u64::from(new);
        new
    }

    /// The block of a position that has none yet.
    #[inline(never)]
    fn new_block(&mut self, position: u64) -> &mut Block {
        let number = position / BLOCK;
        if self.blocks.is_empty() {
            self.base = number;
        }
        while number < self.base {
            self.blocks.push_front(None);
            self.base -= 1;
        }
        let index = (number - self.base) as usize;
        while self.blocks.len() <= index {
            self.blocks.push_back(None);
        }
        let spare = &mut self.spare;
        self.blocks[index].get_or_insert_with(|| match spare.take() {
            Some(block) => block,
            None => Box::new(Block { count: 0, words: [0; WORDS] }),
        })
    }

    /// Takes a position out; false when it was not in.
    #[inline]
    pub(crate) fn remove(&mut self, position: u64) -> bool {
        let Some(block) = self.block_mut(position) else { return false };
        if !block.remove(position) {
            return false;
        }
        let empty = block.count == 0;
        self.len -= 1;
        if empty {
            self.drop_block(position);
        }
        true
    }

    /// Lets the block of a position go, which is empty.
    #[inline(never)]
    fn drop_block(&mut self, position: u64) {
        let index = position / BLOCK - self.base;
        if let Some(place) = self.blocks.get_mut(index as usize) {
            self.spare = place.take();
        }
        self.trim();
    }

    fn trim(&mut self) {
        while let Some(None) = self.blocks.front() {
            self.blocks.pop_front();
            self.base += 1;
        }
        while let Some(None) = self.blocks.back() {
            self.blocks.pop_back();
        }
    }

    /// The lowest position.
    pub(crate) fn first(&self) -> Option<u64> {
        self.next_from(0)
    }

    /// The lowest position that is not below `from`.
    pub(crate) fn next_from(&self, from: u64) -> Option<u64> {
        let from = from.max(self.base * BLOCK);
        let mut index = usize::try_from(from / BLOCK - self.base).ok()?;
        let mut bit = (from % BLOCK) as usize;
        while let Some(place) = self.blocks.get(index) {
            if let Some(block) = place {
                let mut word = bit / 64;
                let mut bits = block.words[word] & (u64::MAX << (bit % 64));
                loop {
                    if bits != 0 {
                        let found = word * 64 + bits.trailing_zeros() as usize;
                        return Some((self.base + index as u64) * BLOCK + found as u64);
                    }
                    word += 1;
                    match block.words.get(word) {
                        Some(next) => bits = *next,
                        None => break,
                    }
                }
            }
            index += 1;
            bit = 0;
        }
        None
    }

    /// The highest position that is below `below`.
    pub(crate) fn last_below(&self, below: u64) -> Option<u64> {
        let end = (self.base + self.blocks.len() as u64) * BLOCK;
        let mut at = below.min(end).checked_sub(1)?;
        loop {
            let index = (at / BLOCK).checked_sub(self.base)?;
            if let Some(block) = &self.blocks[index as usize] {
                let bit = (at % BLOCK) as usize;
                let mut word = bit / 64;
                let mut bits = block.words[word] & (u64::MAX >> (63 - bit % 64));
                loop {
                    if bits != 0 {
                        let found = word * 64 + 63 - bits.leading_zeros() as usize;
                        return Some((self.base + index) * BLOCK + found as u64);
                    }
                    if word == 0 {
                        break;
                    }
                    word -= 1;
                    bits = block.words[word];
                }
            }
            at = ((self.base + index) * BLOCK).checked_sub(1)?;
        }
    }

    /// All positions, lowest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        let mut from = Some(0);
        std::iter::from_fn(move || {
            let found = self.next_from(from?)?;
            from = found.checked_add(1);
            Some(found)
        })
    }

    /// Writes the set: blocks that are full, few runs, or 512 bytes of bits, whichever is smallest.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let used = self.blocks.iter().filter(|block| block.is_some()).count();
        put_varint(out, used as u64);
        let mut number_before = 0;
        for (index, place) in self.blocks.iter().enumerate() {
            let Some(block) = place else { continue };
            let number = self.base + index as u64;
            put_varint(out, number - number_before);
            number_before = number;
            encode_block(block, out);
        }
    }

    /// Reads a set back; everything is checked against the bounds of the format.
    pub(crate) fn decode(cursor: &mut Cursor<'_>) -> Result<PositionSet, DecodeError> {
        let mut set = PositionSet::default();
        let used = cursor.varint("number of blocks")?;
        let mut number = 0u64;
        let mut first = None;
        for nth in 0..used {
            let step = cursor.varint("block number")?;
            if nth > 0 && step == 0 {
                return Err(cursor.bad("blocks must rise"));
            }
            number = number.checked_add(step).ok_or_else(|| cursor.bad("block number too large"))?;
            let first = *first.get_or_insert(number);
            if number - first > BLOCKS_SPAN_MAX || number > u64::MAX / BLOCK - 1 {
                return Err(cursor.bad("set spans too many positions"));
            }
            decode_block(cursor, number * BLOCK, &mut set)?;
        }
        Ok(set)
    }
}

const FULL: u8 = 0;
const RUNS: u8 = 1;
const BITS: u8 = 2;

/// A run costs at most 4 bytes; with more of them the plain bits are smaller.
const RUNS_MAX: usize = 127;

fn encode_block(block: &Block, out: &mut Vec<u8>) {
    if u64::from(block.count) == BLOCK {
        out.push(FULL);
        return;
    }
    // A run starts wherever a member follows a non-member.
    let mut carry = 0;
    let mut runs = 0;
    for word in block.words {
        runs += (word & !(word << 1 | carry)).count_ones() as usize;
        carry = word >> 63;
    }
    if runs > RUNS_MAX {
        out.push(BITS);
        for word in block.words {
            out.extend_from_slice(&word.to_le_bytes());
        }
        return;
    }
    out.push(RUNS);
    out.push(runs as u8);
    let mut at = 0;
    for _ in 0..runs {
        let start = seek(block, at, true);
        let end = seek(block, start, false);
        put_varint(out, (start - at) as u64);
        put_varint(out, (end - start) as u64);
        at = end;
    }
}

/// The next place at or after `from` that is (not) a member; the block's end when there is none.
fn seek(block: &Block, from: usize, member: bool) -> usize {
    let mut at = from;
    while at < BLOCK as usize {
        let word = block.words[at / 64];
        let word = if member { word } else { !word };
        let rest = word >> (at % 64);
        if rest != 0 {
            return at + rest.trailing_zeros() as usize;
        }
        at = (at / 64 + 1) * 64;
    }
    BLOCK as usize
}

fn decode_block(cursor: &mut Cursor<'_>, start: u64, set: &mut PositionSet) -> Result<(), DecodeError> {
    match cursor.u8("block form")? {
        FULL => (start..start + BLOCK).for_each(|position| {
            set.insert(position);
        }),
        RUNS => {
            let runs = cursor.u8("number of runs")?;
            let mut at = 0;
            for _ in 0..runs {
                let from = cursor.varint("start of run")?;
                let len = cursor.varint("length of run")?;
                if from > BLOCK || len > BLOCK || at + from + len > BLOCK || len == 0 {
                    return Err(cursor.bad("run leaves its block"));
                }
                at += from;
                (start + at..start + at + len).for_each(|position| {
                    set.insert(position);
                });
                at += len;
            }
            if runs == 0 {
                return Err(cursor.bad("empty block"));
            }
        }
        BITS => {
            for word in 0..WORDS as u64 {
                let mut bits = cursor.u64("bits")?;
                while bits != 0 {
                    set.insert(start + word * 64 + u64::from(bits.trailing_zeros()));
                    bits &= bits - 1;
                }
            }
        }
        _ => return Err(cursor.bad("unknown form of block")),
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests {
    use std::collections::BTreeSet;

    use trunkline_discord::Dice;

    use super::*;

    fn round_trip(set: &PositionSet) -> PositionSet {
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        let mut cursor = Cursor::new(&bytes);
        let back = PositionSet::decode(&mut cursor).unwrap();
        cursor.end().unwrap();
        back
    }

    #[test]
    fn behaves_like_an_ordered_set() {
        for seed in 0..20 {
            println!("seed={seed}");
            let mut dice = Dice::new(seed);
            let (mut set, mut model) = (PositionSet::default(), BTreeSet::new());
            let base = dice.below(1 << 40);
            let span = [10, 5_000, 40_000][dice.below(3) as usize];
            for _ in 0..4_000 {
                let at = base + dice.below(span);
                if dice.chance(0.6) {
                    assert_eq!(set.insert(at), model.insert(at));
                } else {
                    assert_eq!(set.remove(at), model.remove(&at));
                }
                let probe = base + dice.below(span);
                assert_eq!(set.contains(probe), model.contains(&probe));
                assert_eq!(set.next_from(probe), model.range(probe..).next().copied());
                assert_eq!(set.last_below(probe), model.range(..probe).next_back().copied());
            }
            assert_eq!(set.len(), model.len() as u64);
            assert_eq!(set.last_below(u64::MAX), model.last().copied());
            assert!(set.iter().eq(model.iter().copied()));
            assert!(round_trip(&set).iter().eq(model.iter().copied()));
        }
    }

    #[test]
    fn a_set_that_is_emptied_again_and_again_stays_right() {
        for seed in 0..40 {
            println!("seed={seed}");
            let mut dice = Dice::new(seed);
            let (mut set, mut model) = (PositionSet::default(), BTreeSet::new());
            let (mut next, step) = (dice.below(1 << 40), [1, 100, 3_000, 9_000][dice.below(4) as usize]);
            for _ in 0..3_000 {
                let gone = if dice.chance(0.3) { model.last().copied() } else { model.first().copied() };
                match gone {
                    Some(at) if dice.chance(0.5) => assert!(set.remove(at) && model.remove(&at)),
                    _ => {
                        next += dice.between(1, step);
                        assert!(set.insert(next) && model.insert(next));
                    }
                }
                assert_eq!((set.len(), set.is_empty()), (model.len() as u64, model.is_empty()));
                assert!(round_trip(&set).iter().eq(model.iter().copied()));
            }
        }
    }

    #[test]
    fn a_million_positions_in_a_row_are_written_in_a_kilobyte() {
        let mut set = PositionSet::default();
        (77..1_000_077).for_each(|position| {
            set.insert(position);
        });
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        assert!(bytes.len() < 1_024, "{} bytes", bytes.len());
        assert_eq!(round_trip(&set).len(), 1_000_000);
    }

    #[test]
    fn every_second_of_a_million_positions_costs_a_bit_each() {
        let mut set = PositionSet::default();
        (0..500_000).for_each(|position| {
            set.insert(position * 2);
        });
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        assert!(bytes.len() < 1_000_000 / 8 + 2_000, "{} bytes", bytes.len());
        assert!(round_trip(&set).iter().eq(set.iter()));
    }

    #[test]
    fn a_damaged_set_is_refused_not_believed() {
        let mut set = PositionSet::default();
        for position in [3, 4, 9_000, 70_000] {
            set.insert(position);
        }
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        for cut in 0..bytes.len() {
            assert!(PositionSet::decode(&mut Cursor::new(&bytes[..cut])).is_err());
        }
        let huge = [2, 0, FULL, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, FULL];
        assert!(PositionSet::decode(&mut Cursor::new(&huge)).is_err());
    }
}
