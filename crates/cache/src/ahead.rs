//! Memory that is asked for before it is needed.
//!
//! What an event names lies anywhere in memory: its guild's tables, what they name, its channel's messages. Each would be waited for where
//! it is read, one after the other. Asked for as soon as the ids are known, all of it comes while the event's words are hashed. A hint and nothing
//! else: what is never read costs a line of the processor's cache, and where there is no such instruction nothing is asked for.
//!
//! Merely reading the lines early was here before. It overlaps as well, but a processor holds a few hundred instructions behind a read that has
//! not come, and then waits.

/// Asks for the line of memory in which something begins.
#[inline(always)]
pub(crate) fn ask_for<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    safe_arch::prefetch_t0(place);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
