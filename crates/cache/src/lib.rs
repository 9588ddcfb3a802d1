//! The state of a shard's guilds, as Discord told it.
//!
//! One [`Cache`] holds what one shard's events say: guilds, channels, threads with the bot's own membership, roles, emojis, stickers,
//! sounds, members, users, presences, voice states, what lies beside voice channels, stages, scheduled events, auto moderation rules,
//! integrations, invites and bans that were seen, recent messages, and outside of guilds the channels, entitlements and subscriptions
//! that were told of. [`Cache::apply`] takes an event, changes what it says is changed, and answers with the object as it was before,
//! where the event is one whose consumers get that ([`field@Change::previous`]).
//!
//! # How it is kept
//! - An object is kept whole: fields that nobody here knows survive. It lies packed in the shard's heap; a user lies once for all of the
//!   bot's shards on a core ([`Users`]) and goes with the last guild that has it as a member.
//! - A GUILD_CREATE is split: the guild object loses the lists that become objects of their own, and `member_count` (a number beside it,
//!   since joins and leaves change it). Emojis and stickers are one object each, a list: they change as lists.
//! - Messages are the events' own bytes, shared with the log: a bounded end of each channel, by number, age and bytes ([`CacheConfig`]).
//!   Presences are too, until those told longest ago are too many bytes and are packed.
//! - A deleted role is not written out of the members that had it: a guild may have hundreds of thousands. It is left out when a member
//!   is handed out, as lookup or as previous object.
//! - What nothing ever confirms (bans, invites, all that lies outside guilds) has a number ([`UNCONFIRMED_MAX`]), and the whole may have
//!   a budget in bytes, which presences, then messages, then offline members give way to, counted ([`Cache::evicted`]).
//!
//! # Sessions
//! A session that is not resumed may have missed anything. [`Cache::ready`] makes every guild stale: lookups answer and say so, updates
//! carry no previous object, and the guild's GUILD_CREATE then replaces everything, dropping each member, presence, voice state, message
//! and all else that it does not confirm. Guilds that READY does not name are gone, and so is what lies outside guilds. A guild that comes
//! back from an outage within a session replaces its lists, but for members and presences, of which it tells some only (discord-gateway,
//! Guild Create).
//!
//! # Durable copy
//! [`Cache::take_changes`] gives what changed since it was last asked, and [`Cache::load`] takes that back. Which guilds are awaited,
//! unavailable or stale is part of it. Presences and messages are in it at a clean stop only ([`Cache::take_stop_changes`]).
//!
//! # What never happens here
//! No IO, no clock, no logging, no panic on any input. A payload that makes no sense changes nothing and is counted by the caller
//! ([`Change::malformed`]). Every write may be repeated without another effect, but for the counts of which an event says only that they
//! are one more or less: members that leave (where not all are known), messages deleted in a thread, others' reactions and votes, and
//! who is interested in a scheduled event. The session drops what was delivered twice before it comes here.

mod ahead;
mod apply;
mod cache;
mod changed;
mod channels;
mod config;
mod dense_map;
mod guilds;
mod heap;
mod id_map;
mod key;
mod lookups;
mod members;
mod message_events;
mod messages;
mod names;
mod others;
mod pack;
mod places;
mod policy;
mod presences;
mod print;
pub mod requests;
mod rows;
mod search;
mod table;
mod threads;
mod users;
mod voice;
mod young;

pub use cache::Cache;
pub use config::{CacheConfig, Kinds};
pub use key::{Kind, LoadError};
pub use lookups::Found;
pub use names::lower_case;
pub use policy::UNCONFIRMED_MAX;
pub use rows::{ROW_VERSION, Rows};
pub use search::{MemberQuery, SEARCH_IDLE_MS, STEP_LOOKED_MAX, Step};
pub use users::Users;

use trunkline_discord::{GuildOrigin, Previous};

/// What an event meant to the cache.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Change {
    /// The object before the event, for the kinds of events whose consumers get it: updates of guilds, presences, members, channels, roles,
    /// voice states, messages, threads, the own user and the own membership of a thread, voice channels' status and start time, stages,
    /// sounds, scheduled events, rules, entitlements and subscriptions; of emojis and stickers (the list); and what is deleted of messages,
    /// threads, stages, sounds, scheduled events, rules, entitlements and subscriptions.
    pub previous: Option<Previous>,
    /// For GUILD_CREATE, why it came.
    pub origin: Option<GuildOrigin>,
    /// The payload lacked what its kind must have. Nothing was changed.
    pub malformed: bool,
}

impl Change {
    pub(crate) const NONE: Change = Change { previous: None, origin: None, malformed: false };
    pub(crate) const MALFORMED: Change = Change { previous: None, origin: None, malformed: true };

    pub(crate) fn previous(previous: Option<impl Into<Previous>>) -> Change {
        Change { previous: previous.map(Into::into), ..Change::NONE }
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

/// What a shard's bytes are spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Memory {
    /// Objects, each with the room that it takes.
    pub objects: u64,
    /// Tables by which objects are found.
    pub tables: u64,
    /// Which guild a channel is in.
    pub indexes: u64,
    /// Search indexes, and members in order where somebody pages through them.
    pub search: u64,
    /// Held for objects to come.
    pub room: u64,
}

impl Memory {
    /// All of it.
    pub fn sum(&self) -> u64 {
        self.objects + self.tables + self.indexes + self.search + self.room
    }
}
