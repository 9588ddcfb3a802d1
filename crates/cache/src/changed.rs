//! Which objects are others than the durable copy has: a list of keys, to which an object that was noted already is not added again. The mark
//! of that lies with the object ([`Heap::note`](crate::heap::Heap::note)), whose memory is at hand where it is written; a set of keys, which was here
//! before, is one more place anywhere in memory for each change.
//!
//! What has no mark is noted again: what goes away, what comes again or has moved to another place, and what lies in no such place (what is known about
//! a guild). So that a list that nobody takes, while one commit hangs, does not grow with every change, what stands in it twice is taken out when it has doubled: it never holds much more than twice as many keys as are different.

use crate::key::Key;

/// Fewer keys are never gone through.
const GONE_THROUGH_MIN: usize = 16_384;

#[derive(Default)]
pub(crate) struct Changed {
    keys: Vec<Key>,
    /// As many were left when the list was gone through last.
    different: usize,
}

impl Changed {
    pub(crate) fn push(&mut self, key: Key) {
        if self.keys.len() >= (2 * self.different).max(GONE_THROUGH_MIN) {
            self.go_through();
        }
        self.keys.push(key);
    }

    /// All of them, each once.
    pub(crate) fn take(&mut self) -> Vec<Key> {
        self.go_through();
        self.different = 0;
        std::mem::take(&mut self.keys)
    }

    /// How many there are; what came, went and came again may count twice.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes that are held.
    pub(crate) fn bytes(&self) -> usize {
        self.keys.capacity() * size_of::<Key>()
    }

    fn go_through(&mut self) {
        self.keys.sort_unstable();
        self.keys.dedup();
        self.different = self.keys.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Kind;

    #[test]
    fn a_key_is_given_once_and_a_list_that_nobody_takes_does_not_grow_without_end() {
        let mut changed = Changed::default();
        for round in 0..2_000 {
            for id in 0..100 {
                changed.push(Key::new(Kind::Member, round % 3, id));
            }
            assert!(changed.len() <= GONE_THROUGH_MIN, "round {round}");
        }
        let keys = changed.take();
        assert_eq!((keys.len(), changed.len()), (300, 0));
        assert!(keys.is_sorted());
        // Many that are different are gone through seldom.
        for id in 0..100_000 {
            changed.push(Key::new(Kind::Member, 1, id % 50_000));
            changed.push(Key::new(Kind::Member, 1, 1));
        }
        assert!(changed.len() <= 2 * 50_000 + GONE_THROUGH_MIN, "{}", changed.len());
        assert_eq!(changed.take().len(), 50_000);
    }
}
