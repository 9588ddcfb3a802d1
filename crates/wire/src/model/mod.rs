//! Discord's objects to Pylon's messages, one function each, straight from the term: one walk over the entries.
//!
//! Pylon's contract stopped in 2021. What Discord has added since (`global_name`, avatars of members, and so on) has
//! no place in these messages and is left out; a worker that needs it asks for the raw event. Enum values that
//! Pylon does not name become its UNKNOWN, never a neighbour's value.

pub(crate) mod channel;
pub(crate) mod guild;
pub(crate) mod interaction;
pub(crate) mod message;
pub(crate) mod presence;
pub(crate) mod user;

pub use crate::added::{scheduled_event, sound, stage_instance, sticker, thread, voice_channel};
pub use channel::channel;
pub use guild::{emoji, emojis, guild, role};
pub use message::message;
pub use presence::presence;
pub use user::{ban, member, user, voice_state};
