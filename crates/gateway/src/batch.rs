//! Messages that have come together, taken through decoding together.
//!
//! What an event names lies anywhere in memory, and so does the memory that its body will lie in: most of both is in none of the processor's
//! caches, and to wait for a line takes as long as some 500 instructions. So the few messages that are there already are all decoded, and
//! what each leads to is asked for, before the first is delivered. One that comes alone is handled at once:
//! nothing is waited for. A large one (a guild) begins a batch of its own, so that small ones in front of it do not wait for it.

use std::cell::Cell;

use bytes::Bytes;
use smallvec::SmallVec;
use trunkline_discord::{Encoding, Envelope, EnvelopeError, EventKind, Fields, Op, Routing};

use crate::clock::{Stamp, Watch};

/// Messages that are decoded together at most. More would push out of the nearest cache what was asked for first.
pub const BATCH_MESSAGES: usize = 8;
/// No message is added to a batch with so many bytes: beyond them each is enough work by itself.
pub const BATCH_BYTES: usize = 16 * 1024;
/// A message that is longer than this on the wire is none of those that are many: it is not handled together with any in front of it.
pub const LARGE_BYTES: usize = 4 * 1024;
/// Lines of memory that are asked for, for a body: all of nearly every one.
const ROOM_LINES: usize = 64;
const LINE_BYTES: usize = 64;

/// A message as it was decoded.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The whole message.
    pub plain: &'a [u8],
    /// What it says, and the ids in its body; or why it is no message.
    pub decoded: Result<(Envelope<'a>, Routing), EnvelopeError>,
    /// Where in the body things lie; counts only for what was decoded.
    pub fields: Fields<'a>,
    /// When it was read.
    pub stamp: Stamp,
    /// Where its body will lie.
    pub room: Room,
}

/// How far ahead of an event something may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// Its ids have just become known.
    First,
    /// What was asked for first has come, mostly.
    Second,
}

/// The messages of a batch.
pub type Frames<'a> = SmallVec<[Frame<'a>; BATCH_MESSAGES]>;

/// Decodes messages, and asks for the memory that their bodies will lie in. `expect` is told of each dispatch, as soon as its ids are known.
#[inline]
pub fn decode<'a>(
    messages: impl IntoIterator<Item = &'a [u8]>,
    encoding: Encoding,
    limits: &trunkline_etf::Limits,
    watch: &mut Watch,
    mut expect: impl FnMut(Ahead, EventKind, Routing),
) -> Frames<'a> {
    let mut frames = Frames::new();
    for plain in messages {
        let stamp = watch.message(plain.len());
        frames.push(Frame { plain, decoded: Err(EnvelopeError::NotAMap), fields: Fields::new(encoding), stamp, room: Room::default() });
        let Some(frame) = frames.last_mut() else { continue };
        frame.decoded = Envelope::decode_fields(plain, limits, &mut frame.fields);
        if let Ok((envelope, routing)) = &frame.decoded
            && envelope.op == Op::Dispatch
        {
            frame.room = Room::for_body(envelope.d.raw().len());
            expect(Ahead::First, envelope.kind, *routing);
        }
    }
    // Behind a message that came alone nothing else is done meanwhile.
    if frames.len() > 1 {
        for frame in &frames {
            if let Ok((envelope, routing)) = &frame.decoded
                && envelope.op == Op::Dispatch
            {
                expect(Ahead::Second, envelope.kind, *routing);
            }
        }
    }
    frames
}

/// Memory for one body, which was asked for before it is written to.
#[derive(Default)]
pub struct Room(Cell<Vec<u8>>);

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Room")
    }
}

impl Room {
    /// For a body of so many bytes.
    #[inline]
    fn for_body(bytes: usize) -> Self {
        let mut room = Vec::with_capacity(bytes);
        room.spare_capacity_mut().chunks(LINE_BYTES).take(ROOM_LINES).filter_map(<[_]>::first).for_each(ask_for);
        Self(Cell::new(room))
    }

    /// The body, as bytes of their own: one copy. A second body finds no room, and has memory of its own too.
    #[inline]
    #[must_use]
    pub fn fill(&self, body: &[u8]) -> Bytes {
        let mut bytes = self.0.take();
        bytes.extend_from_slice(body);
        Bytes::from(bytes)
    }
}

/// Asks for the line of memory in which something begins: a hint and nothing else.
#[inline(always)]
fn ask_for<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    safe_arch::prefetch_t0(place);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
