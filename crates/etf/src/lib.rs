//! ETF and JSON terms and their packed form: borrowed views, one-pass writers, transcoding, limits.
//!
//! Discord speaks two encodings, JSON text and Erlang's external term format (ETF). This crate reads both through one borrowed
//! view, [`Value`]: a slice of the received bytes and the name of its encoding. A document is checked once, in one walk, by
//! [`Value::parse`]; afterwards looking something up is a walk over bytes, and nothing is ever copied into a tree. What is kept for long is
//! kept in a third encoding of our own, the [`packed`] form, and read through the same view.
//!
//! What never happens here: no input or output, no clock, no logging, no panic on any input, no recursion over nested terms, no
//! allocation in proportion to a length that a peer merely claims. Every error names the byte at which reading stopped, and what
//! was wanted there.
//!
//! Reading order: [`Value`] (what callers use), `term` and `walk` (ETF), `json` and `text` (JSON), `number` (integers of any size), the
//! writers, [`transcode`], [`inflate`].
//!
//! # What the two encodings cannot tell apart
//! ETF has more kinds of terms than JSON, so some differences do not survive a journey through JSON and back:
//! - atoms and binaries are both strings in JSON; only `nil`, `null`, `true` and `false` have a meaning of their own (and the first
//!   two are both `null`). Strings from JSON become binaries.
//! - integers of 2^53 and more (or -2^53 and less) become JSON strings, because they are ids and many JSON readers would round them.
//!   Strings from JSON stay strings: nothing is guessed from the look of a text.
//! - tuples, improper lists (their tail becomes the last element) and strings of bytes (tag 107) become JSON arrays.
//! - a map's integer keys become strings.
//! - a binary that is not UTF-8 becomes a JSON string with U+FFFD in place of what cannot be read; [`Transcoded::replaced`] counts
//!   such strings.
//! - floats keep their exact value (shortest form that reads back the same); neither encoding has NaN or infinities.
//!
//! Terms that mean something only inside an Erlang cluster (process and port ids, references, functions) and bit strings are walked
//! over as [`Kind::Opaque`]; they have no JSON form, and asking for one is an error.

mod error;
mod found;
mod inflate;
mod iterate;
mod json;
mod json_write;
mod names;
mod number;
pub mod packed;
mod term;
mod text;
mod transcode;
mod value;
mod walk;
mod write;

pub use error::{Error, ErrorKind, Limits};
pub use found::Found;
pub use inflate::inflate;
pub use iterate::{Entries, Items};
pub use json_write::JsonWriter;
pub use names::Names;
pub use packed::PackedWriter;
pub use transcode::{Transcoded, transcode};
pub use value::{Encoding, Kind, Value};
pub use write::{EtfWriter, Ids, TermWrite};

/// First byte of every ETF document: the version of the format.
pub const ETF_VERSION: u8 = 131;

/// Deepest nesting that any [`Limits`] can allow; a larger `depth_max` counts as this.
pub const DEPTH_MAX: u32 = 256;

/// Longest integer, in bytes of its magnitude, that is accepted. Turning an integer into decimal digits costs the square of its
/// length, so a length without limit would let a peer buy minutes of our time with one frame. Discord's largest are 8 bytes.
pub const INTEGER_BYTES_MAX: usize = 1024;
