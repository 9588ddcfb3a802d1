//! A stack whose first levels cost no allocation: objects are a few levels deep, and packing one takes little longer than asking for memory.

/// Levels without allocation.
const NEAR: usize = 6;

pub(crate) struct Stack<T> {
    near: [T; NEAR],
    far: Vec<T>,
    len: usize,
}

impl<T: Copy> Stack<T> {
    /// An empty stack; `filler` stands where nothing is.
    #[inline(always)]
    pub(crate) fn new(filler: T) -> Stack<T> {
        Stack { near: [filler; NEAR], far: Vec::new(), len: 0 }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, item: T) {
        match self.near.get_mut(self.len) {
            Some(place) => *place = item,
            None => self.far.push(item),
        }
        self.len += 1;
    }

    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        match self.near.get(self.len) {
            Some(item) => Some(*item),
            None => self.far.pop(),
        }
    }
}
