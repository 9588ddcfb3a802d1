//! A document checked and searched in one walk: what the event path does with every frame.

use crate::error::{Error, Limits};
use crate::names::Names;
use crate::value::{self, Encoding, Value};
use crate::walk;

/// What [`Value::parse_finding`] found: the values of the entries that were looked for.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a, const N: usize, const M: usize> {
    encoding: Encoding,
    outer: [Option<&'a [u8]>; N],
    inner: [Option<&'a [u8]>; M],
}

impl<'a, const N: usize, const M: usize> Found<'a, N, M> {
    /// Nothing yet, in a document of this encoding.
    #[inline]
    pub const fn new(encoding: Encoding) -> Found<'a, N, M> {
        Found { encoding, outer: [None; N], inner: [None; M] }
    }

    /// The document's encoding.
    #[inline]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Fills in the inner entries of a map that was checked before and lies in no document. Of a key that occurs twice the first counts.
    pub fn look_into(&mut self, map: Value<'a>, inner: &Names<M>) {
        self.encoding = map.encoding();
        self.inner = [None; M];
        if self.encoding == Encoding::Etf {
            walk::find_named(map.raw(), inner, &mut self.inner);
            return;
        }
        for (key, value) in map.entries() {
            if let Some(place) = inner.find(key).and_then(|name| self.inner.get_mut(name)) {
                place.get_or_insert(value.raw());
            }
        }
    }

    /// The value of the outermost map's entry with the outer name of this index.
    #[inline(always)]
    pub fn outer(&self, name: usize) -> Option<Value<'a>> {
        self.value(*self.outer.get(name)?)
    }

    /// The value of the inner map's entry with the inner name of this index.
    #[inline(always)]
    pub fn inner(&self, name: usize) -> Option<Value<'a>> {
        self.value(*self.inner.get(name)?)
    }

    #[inline(always)]
    fn value(&self, raw: Option<&'a [u8]>) -> Option<Value<'a>> {
        raw.map(|raw| Value::inner(self.encoding, raw))
    }
}

impl<'a> Value<'a> {
    /// [`Value::parse`], which on its way finds entries by name: of the outermost map those of `outer`, and of the value of its entry
    /// `outer[within]`, if that is a map, those of `inner`. Costs little more than the check alone. Where a key occurs twice, the
    /// first counts, so only the first value named `outer[within]` is looked into.
    ///
    /// `found` is to be new; it is filled in place, because moving it would cost as much as finding something. What it holds counts
    /// only if the result is `Ok`.
    ///
    /// # Errors
    /// As [`Value::parse`].
    #[inline]
    pub fn parse_finding<const N: usize, const M: usize>(
        bytes: &'a [u8],
        limits: &Limits,
        outer: &Names<N>,
        within: usize,
        inner: &Names<M>,
        found: &mut Found<'a, N, M>,
    ) -> Result<Value<'a>, Error> {
        let encoding = found.encoding;
        if encoding == Encoding::Etf {
            let start = value::start(encoding, bytes, limits)?;
            let (outer, inner) = ((outer, &mut found.outer), (inner, &mut found.inner));
            let end = walk::check_finding(bytes, start, limits.depth_max, outer, within, inner)?;
            return value::finish(encoding, bytes, start, end);
        }
        Value::parse_entries(encoding, bytes, limits, |above, key, value| {
            let place = match above {
                None => outer.find(key).and_then(|name| found.outer.get_mut(name)),
                Some(above) if found.outer.get(within).is_some_and(Option::is_none) && outer.find(above) == Some(within) => {
                    inner.find(key).and_then(|name| found.inner.get_mut(name))
                }
                Some(_) => None,
            };
            if let Some(place) = place {
                place.get_or_insert(value.raw());
            }
        })
    }
}
