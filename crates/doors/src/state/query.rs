//! What can be asked of the state, and what can be answered.

use std::future::Future;
use std::pin::Pin;

use trunkline_discord::Object;

use crate::access::Scope;

/// A part of a list: ids above `after`, ascending, `limit` at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only ids above this.
    pub after: u64,
    /// So many at most, from 1.
    pub limit: usize,
}

/// Kinds of objects that can be written through the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Roles.
    Roles,
    /// Members.
    Members,
    /// Channels.
    Channels,
}

/// One question (or, for the last three, one change).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// A user, as the member that was told last has it. Answer: one object.
    User(u64),
    /// Id and name of each of these that is known. Answer: names.
    UserNames(Vec<u64>),
    /// A channel that is no thread. Answer: one object.
    Channel(u64),
    /// A message. Answer: one object.
    Message {
        /// Its channel.
        channel: u64,
        /// Its id.
        message: u64,
    },
    /// The threads below a channel. Answer: a list.
    ChannelThreads(u64, Page),
    /// A guild. Answer: one object.
    Guild(u64),
    /// A guild's channels. Answer: a list.
    GuildChannels(u64, Page),
    /// A guild's members. Answer: a list.
    GuildMembers(u64, Page),
    /// Members whose global name, display name, user name or nick holds a text, in upper or lower case. Answer: a list.
    SearchMembers {
        /// The guild.
        guild: u64,
        /// The text.
        text: String,
        /// Which part.
        page: Page,
    },
    /// Ids of members who have a role. Answer: ids.
    MembersWithRole {
        /// The guild.
        guild: u64,
        /// The role.
        role: u64,
        /// Which part.
        page: Page,
    },
    /// A member. Answer: one object.
    Member(u64, u64),
    /// These members, in this order; none for one that is not known. Answer: a list with holes.
    Members(u64, Vec<u64>),
    /// A member's presence. Answer: one object.
    Presence(u64, u64),
    /// A guild's roles. Answer: a list.
    GuildRoles(u64, Page),
    /// These roles, in this order; none for one that is not known. Answer: a list with holes.
    Roles(u64, Vec<u64>),
    /// A role. Answer: one object.
    Role(u64, u64),
    /// A guild's emojis. Answer: a list.
    GuildEmojis(u64, Page),
    /// An emoji. Answer: one object.
    Emoji(u64, u64),
    /// A guild's threads. Answer: a list.
    GuildThreads(u64, Page),
    /// All threads. Answer: a list.
    Threads(Page),
    /// A thread. Answer: one object.
    Thread(u64),
    /// How many guilds there are. Answer: a count.
    GuildsCount,
    /// Whether a user is a member of one of these guilds. Answer: yes or no.
    InGuilds {
        /// The user.
        user: u64,
        /// The guilds.
        guilds: Vec<u64>,
    },
    /// … and has one of these roles there. Answer: yes or no.
    InGuildsWithRoles {
        /// The user.
        user: u64,
        /// The guilds.
        guilds: Vec<u64>,
        /// The roles.
        roles: Vec<u64>,
    },
    /// Puts these objects in place of what is known. Answer: done.
    Put {
        /// The guild.
        guild: u64,
        /// Of which kind.
        kind: Written,
        /// Id and object of each.
        objects: Vec<(u64, Object)>,
    },
    /// Forgets these. Answer: done.
    Delete {
        /// The guild.
        guild: u64,
        /// Of which kind.
        kind: Written,
        /// Their ids.
        ids: Vec<u64>,
    },
    /// Forgets all of a kind. Answer: done.
    Wipe {
        /// The guild.
        guild: u64,
        /// Of which kind.
        kind: Written,
    },
}

/// What a [`Query`] says it gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// One object, if it is there.
    One(Option<Object>),
    /// A part of a list.
    List {
        /// Its objects.
        objects: Vec<Object>,
        /// The id to go on after, if there may be more.
        next: Option<u64>,
    },
    /// Objects in the order asked for, with holes.
    Holes(Vec<Option<Object>>),
    /// A part of a list of ids.
    Ids {
        /// The ids.
        ids: Vec<u64>,
        /// The id to go on after, if there may be more.
        next: Option<u64>,
    },
    /// Ids with names.
    Names(Vec<(u64, String)>),
    /// A number.
    Count(u64),
    /// Yes or no.
    Yes(bool),
    /// The change is made.
    Done,
}

/// Why there is no answer. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The caller asked for what cannot be asked: 400.
    #[error("{0}")]
    Request(String),
    /// The guild that is to be changed is not known: 404.
    #[error("{0}")]
    Unknown(String),
    /// The caller's token does not reach so far: 403.
    #[error("the group of this token may not ask about {0}")]
    Forbidden(String),
    /// It may well work a little later: 503.
    #[error("{0}")]
    Later(String),
    /// The source failed: 500.
    #[error("{0}")]
    Failed(String),
}

/// An answer on its way.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Answer, StateError>> + Send + 'a>>;

/// Where answers come from.
pub trait StateSource: Send + Sync + 'static {
    /// Answers one query. `bot`: only what this bot knows; otherwise whichever bot knows it. `scope`: what the caller may ask about.
    fn answer<'a>(&'a self, bot: Option<u64>, scope: &'a Scope, query: Query) -> Answering<'a>;
}
