//! Wire contracts: Pylon's protobuf interface, Trunkline's additions to it, and the way from an event to both.
//!
//! The protos lie in `proto/` at the root of the repository and are compiled when this crate is built. [`envelope()`]
//! turns an event into what one worker asked for: Pylon's typed event ([`typed()`]), the payload as Discord sent it, or
//! both.
//!
//! What never happens here: no input or output, no clock, no state; no type of this crate is ever stored; no payload, however odd, is an
//! error. Invariants: a worker that set none of our fields gets byte for byte what Pylon could have sent; names and
//! numbers below 100 are Pylon's (a test compares them with a list of Pylon's interface); what a typed message cannot
//! hold is in the raw payload, whole.

mod added;
mod envelope;
pub mod model;
mod read;
mod time;
mod typed;
mod want;

pub use added::typed_addition;
pub use envelope::{Encoded, envelope, gap_envelope, message_bytes};
pub use typed::typed;
pub use want::{MESSAGE_BYTES_DEFAULT, RawWanted, Want};

pub use generated::{gateway, pylon, trunkline};

/// Generated code: nothing here is written by hand, so the lints for hand-written code do not apply.
#[allow(missing_docs, unreachable_pub, rustdoc::all, clippy::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/generated.rs"));
}

/// Descriptors of every proto file of the contract (Pylon's, ours, and what they import), for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
