//! The state of a shard's guilds, as Discord told it.
//!
//! One [`Cache`] holds what one shard's events say of its guilds: guild objects, channels, threads, roles, emojis,
//! members, presences and voice states. [`Cache::apply`] takes an event, changes what it says is changed, and answers
//! with the object as it was before, where the event is one whose consumers get that.
//!
//! # How it is kept
//! - An object is kept whole, as the bytes that Discord sent, in the encoding they came in: fields that nobody here
//!   knows survive. It owns exactly its bytes and never holds on to the event that it came in.
//! - A GUILD_CREATE is split: the guild object loses the lists that become objects of their own, `member_count` (a
//!   number beside it, since joins and leaves change it), and the lists that are not kept yet (stage instances,
//!   scheduled events, soundboard sounds). Stickers stay inside the guild object.
//! - What an event merges (GUILD_UPDATE, GUILD_MEMBER_UPDATE and the like) is written anew in the event's encoding.
//! - Messages, bans, stage instances, scheduled events and sounds are not kept; MESSAGE_CREATE's author and member,
//!   TYPING_START's member, and the partial user of a presence change nothing. Events that have no effect here return
//!   at once and allocate nothing.
//! - A deleted role is not written out of the members that had it: a guild may have hundreds of thousands. It is left
//!   out when a member is handed out, as lookup or as previous object.
//!
//! # Sessions
//! A session that is not resumed may have missed anything. [`Cache::ready`] makes every guild stale: lookups answer
//! and say so, updates carry no previous object, and the guild's GUILD_CREATE then replaces everything, dropping each
//! member, presence and voice state that it does not confirm. The same holds for a guild that comes back from an
//! outage. Guilds that READY does not name are gone.
//!
//! # Durable copy
//! [`Cache::take_changes`] gives what changed since it was last asked, in stored form, and [`Cache::load`] takes that
//! back. Which guilds are awaited, unavailable or stale is part of it.
//!
//! # What never happens here
//! No IO, no clock, no logging, no panic on any input. A payload that makes no sense changes nothing and is counted
//! by the caller ([`Change::malformed`]). Every write may be repeated without another effect; the one exception is
//! `member_count`, which a repeated leave counts twice, and which the next GUILD_CREATE sets right.

mod apply;
mod cache;
mod channels;
mod guilds;
mod key;
mod members;
mod stored;

pub use cache::{Cache, Found};
pub use key::{Kind, LoadError};

use trunkline_discord::{GuildOrigin, Object};

/// What a cache keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CacheConfig {
    skip: u16,
}

impl CacheConfig {
    /// The same, without one kind of objects. Guilds are always kept: the origin of a GUILD_CREATE depends on them.
    #[must_use]
    pub fn without(self, kind: Kind) -> CacheConfig {
        match kind {
            Kind::State | Kind::Guild => self,
            kind => CacheConfig { skip: self.skip | 1 << kind as u8 },
        }
    }

    /// Whether objects of this kind are kept.
    pub fn keeps(self, kind: Kind) -> bool {
        self.skip & (1 << kind as u8) == 0
    }
}

/// What an event meant to the cache.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Change {
    /// The object before the event, for the kinds of events whose consumers get it: GUILD_UPDATE, PRESENCE_UPDATE,
    /// GUILD_MEMBER_UPDATE, CHANNEL_UPDATE, GUILD_ROLE_UPDATE, VOICE_STATE_UPDATE, and GUILD_EMOJIS_UPDATE (the list).
    pub previous: Option<Object>,
    /// For GUILD_CREATE, why it came.
    pub origin: Option<GuildOrigin>,
    /// The payload lacked what its kind must have. Nothing was changed.
    pub malformed: bool,
}

impl Change {
    pub(crate) const NONE: Change = Change { previous: None, origin: None, malformed: false };
    pub(crate) const MALFORMED: Change = Change { previous: None, origin: None, malformed: true };

    pub(crate) fn previous(previous: Option<Object>) -> Change {
        Change { previous, ..Change::NONE }
    }
}

/// How many objects of a kind there are, and how many bytes they take without the maps around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Size {
    /// Objects.
    pub count: u64,
    /// Bytes of their stored forms.
    pub bytes: u64,
}
