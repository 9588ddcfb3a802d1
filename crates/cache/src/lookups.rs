//! Questions that are asked of a cache: one object, pages of them, and who is where.

use smallvec::SmallVec;
use trunkline_discord::Object;
use trunkline_etf::{Encoding, PackedWriter, TermWrite};

use crate::cache::Cache;
use crate::config::Kinds;
use crate::key::{Key, Kind};

/// An answer to a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The object as Discord told it (objects in a GUILD_CREATE have no `guild_id` of their own), packed but for messages, presences and voice states that
    /// were told lately.
    pub object: Object,
    /// The guild it is in; 0 for what is in none.
    pub guild_id: u64,
    /// The session that told of it is over, or the guild is unavailable: it may have changed or gone unnoticed.
    pub stale: bool,
}

impl Cache {
    /// An object of any kind but messages; `id` is 0 for kinds of which a guild has one, `guild` for kinds that are in none.
    pub fn one(&self, kind: Kind, guild: u64, id: u64) -> Option<Found> {
        match kind {
            Kind::User => self.user(id),
            Kind::Message => self.message(id),
            kind => self.found(Key::new(kind, guild, id)),
        }
    }

    /// A guild's objects of a kind, ascending by id, the first `limit` whose id is above `after`.
    pub fn list(&self, kind: Kind, guild: u64, after: u64, limit: usize) -> Vec<Found> {
        match kind {
            Kind::User => self.tenant.users.ids(after, limit).into_iter().filter_map(|user| self.user(user)).collect(),
            kind if kind.single() => self.one(kind, guild, 0).into_iter().take(limit).collect(),
            kind => {
                let ids = Smallest::of(self.ids(kind, guild), after, limit);
                ids.into_iter().filter_map(|id| self.found(Key::new(kind, guild, id))).collect()
            }
        }
    }

    /// Which kinds of objects a guild has, and how many of each. Messages are not among them.
    pub fn counts(&self, guild: u64) -> impl Iterator<Item = (Kind, usize)> {
        self.guilds
            .get(guild)
            .into_iter()
            .flat_map(|guild| guild.tables.each())
            .map(|(kind, table)| (kind, table.len()))
            .filter(|(_, count)| *count > 0)
    }

    /// The guild, without the lists that are objects of their own.
    pub fn guild(&self, guild: u64) -> Option<Found> {
        self.found(Key::of_guild(Kind::Guild, guild))
    }

    /// The guild; or, where Discord has named it only (READY does, and an outage that began before it was told), what Discord said of it: its id,
    /// and that it is unavailable.
    pub fn guild_or_stub(&self, guild: u64) -> Option<Found> {
        self.guild(guild).or_else(|| {
            let state = self.state(guild)?;
            let mut stub = PackedWriter::new();
            stub.begin_map(2);
            stub.key("id");
            stub.id(guild);
            stub.key("unavailable");
            stub.bool(true);
            stub.end_map();
            let object = Object { encoding: Encoding::Packed, bytes: stub.into_vec().into() };
            Some(Found { guild_id: guild, object, stale: state.doubtful() })
        })
    }

    /// The kinds of objects that are kept.
    pub fn kinds(&self) -> Kinds {
        self.config.kinds
    }

    /// Whether the bot is in a guild, as far as Discord has said: also one that was only named.
    pub fn is_in(&self, guild: u64) -> bool {
        self.knows(guild)
    }

    /// Whether a guild has an outage, as far as Discord has said.
    pub fn has_outage(&self, guild: u64) -> bool {
        self.state(guild).is_some_and(|state| state.unavailable)
    }

    /// Which guild a channel or thread is in.
    pub fn guild_of_channel(&self, channel: u64) -> Option<u64> {
        Some(self.tenant.guild_id(self.places.get(channel)?))
    }

    /// A channel or thread.
    pub fn channel(&self, channel: u64) -> Option<Found> {
        let guild = self.guild_of_channel(channel)?;
        self.found(Key::new(Kind::Channel, guild, channel)).or_else(|| self.found(Key::new(Kind::Thread, guild, channel)))
    }

    /// A role.
    pub fn role(&self, guild: u64, role: u64) -> Option<Found> {
        self.found(Key::new(Kind::Role, guild, role))
    }

    /// How many emojis or stickers a guild has: it has one object of them, a list. 0 for other kinds.
    pub fn listed(&self, kind: Kind, guild: u64) -> usize {
        if !kind.list() {
            return 0;
        }
        self.get(Key::of_guild(kind, guild)).map_or(0, |list| list.len())
    }

    /// A guild's emojis: a list.
    pub fn emojis(&self, guild: u64) -> Option<Found> {
        self.found(Key::of_guild(Kind::Emojis, guild))
    }

    /// A member, as far as Discord has told of it: a member who is not known here may still be one.
    pub fn member(&self, guild: u64, user: u64) -> Option<Found> {
        self.found(Key::new(Kind::Member, guild, user))
    }

    /// A presence. Offline ones are not kept.
    pub fn presence(&self, guild: u64, user: u64) -> Option<Found> {
        self.found(Key::new(Kind::Presence, guild, user))
    }

    /// A user's voice state in a guild.
    pub fn voice_state(&self, guild: u64, user: u64) -> Option<Found> {
        self.found(Key::new(Kind::VoiceState, guild, user))
    }

    /// A user: the bot itself, or as last told by any guild, of any of the bot's shards on this core, where it is a known member.
    pub fn user(&self, user: u64) -> Option<Found> {
        if self.own_user_id() == Some(user) {
            return self.found(Key::of_guild(Kind::OwnUser, 0));
        }
        let object = self.tenant.users.read(user, Object::copy_of)?;
        let ours: SmallVec<[u64; 4]> = self.mutual_guilds(user).into_iter().filter(|guild| self.knows(*guild)).collect();
        // What another shard's guild told is nothing that this shard could know to be old.
        let stale = !ours.is_empty() && ours.iter().all(|guild| self.doubtful(*guild));
        Some(Found { object, guild_id: ours.first().copied().unwrap_or(0), stale })
    }

    /// The guilds in which a user is a known member, ascending: those of all the bot's shards on this core.
    pub fn mutual_guilds(&self, user: u64) -> Vec<u64> {
        self.tenant.users.guilds_of(user)
    }

    /// The bot's own user id, once READY has told it.
    pub fn own_user_id(&self) -> Option<u64> {
        self.get(Key::of_guild(Kind::OwnUser, 0))?.get("id")?.as_id()
    }

    pub(crate) fn found(&self, key: Key) -> Option<Found> {
        Some(Found { object: self.object(key)?, guild_id: key.guild, stale: self.doubtful(key.guild) })
    }
}

/// The smallest ids above one, each once, of many that come in any order: in one pass, with little more room than they take.
pub(crate) struct Smallest {
    after: u64,
    largest: u64,
    many: usize,
    kept: Vec<u64>,
}

impl Smallest {
    /// Of all these, ascending.
    pub(crate) fn of(ids: impl Iterator<Item = u64>, after: u64, many: usize) -> Vec<u64> {
        let mut smallest = Smallest::new(after, many);
        ids.for_each(|id| smallest.push(id));
        smallest.take()
    }

    pub(crate) fn new(after: u64, many: usize) -> Smallest {
        Smallest { after, largest: u64::MAX, many, kept: Vec::new() }
    }

    #[inline]
    pub(crate) fn push(&mut self, id: u64) {
        if id > self.after && id <= self.largest {
            self.kept.push(id);
            if self.kept.len() >= self.many.saturating_mul(2).max(64) {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        self.kept.sort_unstable();
        self.kept.dedup();
        self.kept.truncate(self.many);
        if self.kept.len() == self.many {
            self.largest = self.kept.last().copied().unwrap_or(u64::MAX);
        }
    }

    pub(crate) fn take(mut self) -> Vec<u64> {
        self.cut();
        self.kept
    }
}
