//! What a cache keeps, and how much of it.

use crate::key::Kind;

/// Kinds of objects, each in or out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// Every kind.
    pub const ALL: Kinds = Kinds::of(&Kind::ALL);

    const fn of(kinds: &[Kind]) -> Kinds {
        let (mut bits, mut at) = (0, 0);
        while at < kinds.len() {
            bits |= 1 << kinds[at] as u8;
            at += 1;
        }
        Kinds(bits)
    }

    /// The same, without one kind. Guilds are always in: the origin of a GUILD_CREATE depends on them; so is the bot's own user.
    #[must_use]
    pub const fn without(self, kind: Kind) -> Kinds {
        match kind {
            Kind::State | Kind::Guild | Kind::OwnUser => self,
            kind => Kinds(self.0 & !(1 << kind as u8)),
        }
    }

    /// As a number, a bit for each kind.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// From [`Kinds::bits`].
    #[must_use]
    pub const fn from_bits(bits: u32) -> Kinds {
        Kinds(bits)
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 & other.0)
    }

    /// Whether there is a kind in it that `before` has not and that a new session tells: those of a GUILD_CREATE. Others are told of one by one, and
    /// so are presences, whenever they change: a new session would take away what is known of them, and bring nothing.
    #[must_use]
    pub const fn need_a_new_session(self, before: Kinds) -> bool {
        const TOLD: Kinds = Kinds::of(&[
            Kind::Emojis,
            Kind::Stickers,
            Kind::Role,
            Kind::Channel,
            Kind::Thread,
            Kind::Member,
            Kind::VoiceState,
            Kind::StageInstance,
            Kind::ScheduledEvent,
            Kind::Sound,
        ]);
        self.0 & !before.0 & TOLD.0 != 0
    }

    /// Whether a kind is in.
    pub const fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

/// What a cache keeps. One for each shard: bytes are a shard's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// The kinds of objects that are kept.
    pub kinds: Kinds,
    /// Messages kept of one channel; older ones give way. 0: none are kept.
    pub message_count: u32,
    /// How long a message is kept, in milliseconds. Its age is the distance between its id and the newest message's.
    pub message_age_ms: u64,
    /// Bytes of all messages together; the oldest give way.
    pub message_bytes: u64,
    /// Bytes of presences that lie as their events told them; beyond it those told longest ago are packed. 0: all are packed at once.
    pub presence_bytes: u64,
    /// Bytes of everything; beyond it presences give way first, then messages, then members who are offline. `None`: no limit.
    pub budget_bytes: Option<u64>,
}

impl CacheConfig {
    /// One screen of a client: who edits, deletes or reacts does it to what can be seen without scrolling far.
    pub const MESSAGE_COUNT: u32 = 50;
    /// Nine edits and deletions of ten come within minutes; an hour also has those of a short absence.
    pub const MESSAGE_AGE_MS: u64 = 3_600_000;
    /// Some 30 000 messages: an hour of a busy shard.
    pub const MESSAGE_BYTES: u64 = 32 << 20;
    /// Some 20 000 presences, as they come.
    pub const PRESENCE_BYTES: u64 = 16 << 20;

    /// The same, without one kind of objects.
    #[must_use]
    pub const fn without(self, kind: Kind) -> CacheConfig {
        CacheConfig { kinds: self.kinds.without(kind), ..self }
    }

    /// Whether objects of this kind are kept.
    pub const fn keeps(&self, kind: Kind) -> bool {
        self.kinds.has(kind)
    }
}

impl Default for CacheConfig {
    fn default() -> CacheConfig {
        CacheConfig {
            kinds: Kinds::ALL,
            message_count: CacheConfig::MESSAGE_COUNT,
            message_age_ms: CacheConfig::MESSAGE_AGE_MS,
            message_bytes: CacheConfig::MESSAGE_BYTES,
            presence_bytes: CacheConfig::PRESENCE_BYTES,
            budget_bytes: None,
        }
    }
}
