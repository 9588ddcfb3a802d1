//! What the cache's objects are called, in memory and in the durable copy.

/// Kinds of objects. The number is part of the durable copy: it never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// What is known about a guild beside its objects: whether it is awaited, unavailable or stale, and its member count.
    State = 0,
    /// Guild objects.
    Guild = 1,
    /// Channels of guilds.
    Channel = 2,
    /// Active threads.
    Thread = 3,
    /// Roles.
    Role = 4,
    /// Emoji lists, one object a guild.
    Emojis = 5,
    /// Members.
    Member = 6,
    /// Presences that are not offline.
    Presence = 7,
    /// Voice states of those who are in a voice channel.
    VoiceState = 8,
    /// The bot's own user.
    OwnUser = 9,
    /// Sticker lists, one object a guild.
    Stickers = 10,
    /// Stage instances that are live.
    StageInstance = 11,
    /// Scheduled events.
    ScheduledEvent = 12,
    /// Soundboard sounds.
    Sound = 13,
    /// Bans that were seen to be made, by user.
    Ban = 14,
    /// Recent messages. They lie apart, and are in the durable copy only after a clean stop.
    Message = 15,
    /// A voice channel's status and start time, by channel. Discord tells of them beside the channel object.
    VoiceChannel = 16,
    /// Auto moderation rules.
    AutoModerationRule = 17,
    /// Integrations that were told of.
    Integration = 18,
    /// Invites that were told of, by a hash of the code.
    Invite = 19,
    /// Channels outside guilds, as far as messages have told of them.
    DirectChannel = 20,
    /// Entitlements that were told of.
    Entitlement = 21,
    /// Subscriptions that were told of.
    Subscription = 22,
    /// Users, each once however many guilds name it.
    User = 23,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 24] = [
        Kind::State,
        Kind::Guild,
        Kind::Channel,
        Kind::Thread,
        Kind::Role,
        Kind::Emojis,
        Kind::Member,
        Kind::Presence,
        Kind::VoiceState,
        Kind::OwnUser,
        Kind::Stickers,
        Kind::StageInstance,
        Kind::ScheduledEvent,
        Kind::Sound,
        Kind::Ban,
        Kind::Message,
        Kind::VoiceChannel,
        Kind::AutoModerationRule,
        Kind::Integration,
        Kind::Invite,
        Kind::DirectChannel,
        Kind::Entitlement,
        Kind::Subscription,
        Kind::User,
    ];

    /// Name for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::State => "guild_state",
            Kind::Guild => "guild",
            Kind::Channel => "channel",
            Kind::Thread => "thread",
            Kind::Role => "role",
            Kind::Emojis => "emojis",
            Kind::Member => "member",
            Kind::Presence => "presence",
            Kind::VoiceState => "voice_state",
            Kind::OwnUser => "own_user",
            Kind::Stickers => "stickers",
            Kind::StageInstance => "stage_instance",
            Kind::ScheduledEvent => "scheduled_event",
            Kind::Sound => "soundboard_sound",
            Kind::Ban => "ban",
            Kind::Message => "message",
            Kind::VoiceChannel => "voice_channel",
            Kind::AutoModerationRule => "auto_moderation_rule",
            Kind::Integration => "integration",
            Kind::Invite => "invite",
            Kind::DirectChannel => "direct_channel",
            Kind::Entitlement => "entitlement",
            Kind::Subscription => "subscription",
            Kind::User => "user",
        }
    }

    /// The kind of a name, singular or plural.
    pub fn from_name(name: &str) -> Option<Kind> {
        let is = |kind: &Kind| {
            let known = kind.as_str();
            known == name || name.strip_suffix('s') == Some(known) || known.strip_suffix('s') == Some(name)
        };
        Kind::ALL.into_iter().find(is)
    }

    /// Whether there is one of them in a guild (or, for the own user, at all), so that the key needs no id of its own.
    pub(crate) const fn single(self) -> bool {
        matches!(self, Kind::State | Kind::Guild | Kind::Emojis | Kind::Stickers | Kind::OwnUser)
    }

    /// Whether tables have a word about each object of this kind: see [`Table`](crate::table::Table).
    pub(crate) fn has_words(self) -> bool {
        matches!(self, Kind::Member | Kind::Channel)
    }

    /// Whether its objects are in no guild: their keys have guild 0.
    pub(crate) const fn outside(self) -> bool {
        matches!(self, Kind::OwnUser | Kind::DirectChannel | Kind::Entitlement | Kind::Subscription | Kind::User)
    }

    /// Whether the durable copy has it only after a clean stop: it changes too often, and is soon worth nothing.
    pub(crate) const fn volatile(self) -> bool {
        matches!(self, Kind::Presence | Kind::Message)
    }

    /// Whether an object is a list of the guild's things, each with an `id`.
    pub(crate) const fn list(self) -> bool {
        matches!(self, Kind::Emojis | Kind::Stickers)
    }
}

/// One object's name. `id` is 0 where the guild alone names it; `guild` is 0 for the own user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) guild: u64,
    pub(crate) id: u64,
}

impl Key {
    pub(crate) fn new(kind: Kind, guild: u64, id: u64) -> Key {
        Key { kind, guild, id }
    }

    pub(crate) fn of_guild(kind: Kind, guild: u64) -> Key {
        Key { kind, guild, id: 0 }
    }

    /// Kind byte, guild id, and the object's own id where it has one, big-endian: a guild's objects lie together.
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(17);
        out.push(self.kind as u8);
        out.extend_from_slice(&self.guild.to_be_bytes());
        if !self.kind.single() {
            out.extend_from_slice(&self.id.to_be_bytes());
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Key> {
        let (kind, rest) = bytes.split_first()?;
        let kind = *Kind::ALL.get(usize::from(*kind))?;
        let (guild, rest) = rest.split_first_chunk::<8>()?;
        let id = match kind.single() {
            true => rest.is_empty().then_some(0)?,
            false => u64::from_be_bytes(rest.try_into().ok()?),
        };
        Some(Key { kind, guild: u64::from_be_bytes(*guild), id })
    }
}

/// A stored row that is none of this cache's. Nothing was loaded of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// The key names no kind of object, or has the wrong length.
    Key,
    /// The value was written in another form, by an older or newer version. The shard's whole durable copy is to be dropped, and its
    /// session with it: nobody will tell again what it held.
    Version(Kind),
    /// The value is no object of its kind.
    Value(Kind),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadError::Key => f.write_str("a stored cache row has a key that names no object; it was left out"),
            LoadError::Version(kind) => {
                write!(
                    f,
                    "a stored {} was written by another version in a form that this one does not read; the shard begins afresh",
                    kind.as_str()
                )
            }
            LoadError::Value(kind) => write!(f, "a stored {} does not parse; it was left out", kind.as_str()),
        }
    }
}

impl std::error::Error for LoadError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_other_bytes_are_no_keys() {
        for kind in Kind::ALL {
            let key = Key::new(kind, 7, if kind.single() { 0 } else { 9 });
            let bytes = key.encode();
            assert_eq!(Key::decode(&bytes), Some(key));
            assert_eq!(Key::decode(&bytes[..bytes.len() - 1]), None);
            assert_eq!(Key::decode(&[bytes.as_slice(), b"x"].concat()), None);
        }
        assert_eq!(Key::decode(&[200, 0, 0, 0, 0, 0, 0, 0, 1]), None);
        assert_eq!(Key::decode(&[]), None);
    }

    #[test]
    fn a_kind_is_found_by_its_name_in_singular_and_plural() {
        for kind in Kind::ALL {
            let singular = kind.as_str().strip_suffix('s').unwrap_or(kind.as_str());
            for name in [kind.as_str().to_owned(), singular.to_owned(), format!("{singular}s")] {
                assert_eq!(Kind::from_name(&name), Some(kind), "{name}");
            }
        }
        assert_eq!((Kind::from_name("presense"), Kind::from_name("")), (None, None));
    }

    #[test]
    fn a_kinds_number_is_its_place_in_the_list() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
    }
}
