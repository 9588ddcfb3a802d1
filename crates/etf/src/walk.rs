//! Walks over ETF terms without recursion: once with every check (`check`), afterwards as fast as bounds allow (`skip`).
//!
//! `check` counts, per level, the terms that are still to come, on a stack of fixed size; that is what limits depth. `skip` runs over
//! bytes that were checked before and needs only one counter of terms still to come; on bytes that were never checked it stops with
//! `None`, it neither panics nor reads past the slice.

use crate::DEPTH_MAX;
use crate::error::{Error, ErrorKind};
use crate::term;

/// Where the term at `at` ends, after checking it and all that is inside. `depth` is how deep the term itself lies.
#[inline]
pub(crate) fn check(bytes: &[u8], at: usize, depth: u32, depth_max: u32) -> Result<usize, Error> {
    let Some(head) = term::head(bytes, at) else {
        return Err(term::explain(bytes, at));
    };
    if head.children == 0 && !opens(bytes, at) {
        return Ok(head.end);
    }
    check_inside(bytes, at, head, depth, depth_max)
}

/// Whether the term is a container (which may be empty).
fn opens(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at), Some(&(term::MAP | term::LIST | term::SMALL_TUPLE | term::LARGE_TUPLE | term::FUN)))
}

fn too_deep(at: usize, depth_max: u32) -> Error {
    Error::new(at, ErrorKind::TooDeep { depth_max })
}

/// Levels for which a small stack is enough: clearing the whole one costs more than walking over what events mostly hold.
const SHALLOW: usize = 16;

#[inline(never)]
fn check_inside(bytes: &[u8], at: usize, head: term::Head, depth: u32, depth_max: u32) -> Result<usize, Error> {
    let levels = depth_max.min(DEPTH_MAX).saturating_sub(depth) as usize;
    if levels == 0 {
        return Err(too_deep(at, depth_max));
    }
    match check_levels::<SHALLOW>(bytes, head, levels, depth_max) {
        Some(checked) => checked,
        // Deeper than that: once more from the start, with room for all that may be.
        None => check_levels::<{ DEPTH_MAX as usize }>(bytes, head, levels, depth_max).unwrap_or_else(|| Err(too_deep(at, depth_max))),
    }
}

/// `None`: the terms lie deeper than `STACK` levels, and deeper is allowed.
#[inline(always)]
fn check_levels<const STACK: usize>(bytes: &[u8], head: term::Head, levels: usize, depth_max: u32) -> Option<Result<usize, Error>> {
    // left[i]: terms still to come at level i, the current level's apart.
    let mut left = [0usize; STACK];
    let mut level = 0usize;
    let mut here = head.children;
    let mut at = head.end;
    loop {
        while here == 0 {
            if level == 0 {
                return Some(Ok(at));
            }
            level -= 1;
            here = left.get(level).copied().unwrap_or(0);
        }
        here -= 1;
        let Some(head) = term::head(bytes, at) else {
            return Some(Err(term::explain(bytes, at)));
        };
        if head.children != 0 {
            if level + 1 >= levels {
                return Some(Err(too_deep(at, depth_max)));
            }
            *left.get_mut(level)? = here;
            level += 1;
            here = head.children;
        } else if level + 1 >= levels && opens(bytes, at) {
            return Some(Err(too_deep(at, depth_max)));
        }
        at = head.end;
    }
}

/// Where the term at `at` ends, for bytes that were checked before. `None` if they were not and something is wrong.
#[inline]
pub(crate) fn skip(bytes: &[u8], at: usize) -> Option<usize> {
    let head = term::head(bytes, at)?;
    if head.children == 0 {
        return Some(head.end);
    }
    skip_inside(bytes, head)
}

#[inline(never)]
fn skip_inside(bytes: &[u8], head: term::Head) -> Option<usize> {
    let mut pending = head.children;
    let mut at = head.end;
    while pending != 0 {
        let head = term::head(bytes, at)?;
        // Each child takes at least a byte, and `head` compared that with the bytes left: the sum cannot overflow in practice, and a
        // wrong sum could only end the walk early.
        pending = pending.wrapping_add(head.children).wrapping_sub(1);
        at = head.end;
    }
    Some(at)
}

/// Checks the term at `at` like [`check`], and shows each entry of it (and of maps that are its direct values) to `visit` on the way.
pub(crate) fn check_entries<'a, F>(bytes: &'a [u8], at: usize, depth_max: u32, visit: &mut F) -> Result<usize, Error>
where
    F: FnMut(Option<&'a [u8]>, &'a [u8], &'a [u8]),
{
    entries(bytes, at, 0, depth_max, None, visit)
}

/// One map's entries; calls itself once, for the maps inside the outermost one, and no deeper.
fn entries<'a, F>(bytes: &'a [u8], at: usize, depth: u32, depth_max: u32, outer: Option<&'a [u8]>, visit: &mut F) -> Result<usize, Error>
where
    F: FnMut(Option<&'a [u8]>, &'a [u8], &'a [u8]),
{
    let Some(head) = term::head(bytes, at) else {
        return Err(term::explain(bytes, at));
    };
    if bytes.get(at) != Some(&term::MAP) {
        return check(bytes, at, depth, depth_max);
    }
    if depth >= depth_max.min(DEPTH_MAX) {
        return Err(too_deep(at, depth_max));
    }
    let mut next = head.end;
    for _ in 0..head.children / 2 {
        let middle = check(bytes, next, depth + 1, depth_max)?;
        let key = bytes.get(next..middle).unwrap_or_default();
        let end = if outer.is_none() {
            entries(bytes, middle, depth + 1, depth_max, Some(key), visit)?
        } else {
            check(bytes, middle, depth + 1, depth_max)?
        };
        visit(outer, key, bytes.get(middle..end).unwrap_or_default());
        next = end;
    }
    Ok(next)
}
