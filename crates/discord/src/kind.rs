//! Every dispatch event that Discord documents: its name and the intents that bring it.
//!
//! Discord docs, Gateway Events: Receive Events, and Gateway: List of Intents. A name that is not in the table is
//! [`EventKind::Unknown`]; the event still passes, under the name it came with.

use crate::Intents;

/// Builds the enum and its tables from one list, so that a new event is one line.
macro_rules! events {
    ($($variant:ident $name:literal $intent:expr;)*) => {
        /// A dispatch event's kind. `Unknown` stands for every name that is not documented.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum EventKind {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
            /// An event that is not documented; its name is kept beside it.
            Unknown,
        }

        impl EventKind {
            /// Every documented kind, in the order of the docs.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$variant),*];

            /// The name on the wire; `UNKNOWN` for [`EventKind::Unknown`].
            pub const fn name(self) -> &'static str {
                match self {
                    $(EventKind::$variant => $name,)*
                    EventKind::Unknown => "UNKNOWN",
                }
            }

            /// The intents of which any one brings this event; empty for events that always come.
            pub const fn intent(self) -> Intents {
                match self {
                    $(EventKind::$variant => $intent,)*
                    EventKind::Unknown => NONE,
                }
            }
        }
    };
}

const NONE: Intents = Intents(0);

const fn either(a: Intents, b: Intents) -> Intents {
    Intents(a.0 | b.0)
}

const MESSAGES: Intents = either(Intents::GUILD_MESSAGES, Intents::DIRECT_MESSAGES);
const REACTIONS: Intents = either(Intents::GUILD_MESSAGE_REACTIONS, Intents::DIRECT_MESSAGE_REACTIONS);
const TYPING: Intents = either(Intents::GUILD_MESSAGE_TYPING, Intents::DIRECT_MESSAGE_TYPING);
const POLLS: Intents = either(Intents::GUILD_MESSAGE_POLLS, Intents::DIRECT_MESSAGE_POLLS);

events! {
    Ready "READY" NONE;
    Resumed "RESUMED" NONE;
    RateLimited "RATE_LIMITED" NONE;

    GuildCreate "GUILD_CREATE" Intents::GUILDS;
    GuildUpdate "GUILD_UPDATE" Intents::GUILDS;
    GuildDelete "GUILD_DELETE" Intents::GUILDS;
    GuildAuditLogEntryCreate "GUILD_AUDIT_LOG_ENTRY_CREATE" Intents::GUILD_MODERATION;
    GuildBanAdd "GUILD_BAN_ADD" Intents::GUILD_MODERATION;
    GuildBanRemove "GUILD_BAN_REMOVE" Intents::GUILD_MODERATION;
    GuildEmojisUpdate "GUILD_EMOJIS_UPDATE" Intents::GUILD_EXPRESSIONS;
    GuildStickersUpdate "GUILD_STICKERS_UPDATE" Intents::GUILD_EXPRESSIONS;
    GuildIntegrationsUpdate "GUILD_INTEGRATIONS_UPDATE" Intents::GUILD_INTEGRATIONS;
    GuildRoleCreate "GUILD_ROLE_CREATE" Intents::GUILDS;
    GuildRoleUpdate "GUILD_ROLE_UPDATE" Intents::GUILDS;
    GuildRoleDelete "GUILD_ROLE_DELETE" Intents::GUILDS;
    GuildSoundboardSoundCreate "GUILD_SOUNDBOARD_SOUND_CREATE" Intents::GUILD_EXPRESSIONS;
    GuildSoundboardSoundUpdate "GUILD_SOUNDBOARD_SOUND_UPDATE" Intents::GUILD_EXPRESSIONS;
    GuildSoundboardSoundDelete "GUILD_SOUNDBOARD_SOUND_DELETE" Intents::GUILD_EXPRESSIONS;
    GuildSoundboardSoundsUpdate "GUILD_SOUNDBOARD_SOUNDS_UPDATE" Intents::GUILD_EXPRESSIONS;
    SoundboardSounds "SOUNDBOARD_SOUNDS" NONE;
    ApplicationCommandPermissionsUpdate "APPLICATION_COMMAND_PERMISSIONS_UPDATE" NONE;

    GuildMemberAdd "GUILD_MEMBER_ADD" Intents::GUILD_MEMBERS;
    GuildMemberUpdate "GUILD_MEMBER_UPDATE" Intents::GUILD_MEMBERS;
    GuildMemberRemove "GUILD_MEMBER_REMOVE" Intents::GUILD_MEMBERS;
    GuildMembersChunk "GUILD_MEMBERS_CHUNK" NONE;
    PresenceUpdate "PRESENCE_UPDATE" Intents::GUILD_PRESENCES;
    TypingStart "TYPING_START" TYPING;
    UserUpdate "USER_UPDATE" NONE;

    ChannelCreate "CHANNEL_CREATE" Intents::GUILDS;
    ChannelUpdate "CHANNEL_UPDATE" Intents::GUILDS;
    ChannelDelete "CHANNEL_DELETE" Intents::GUILDS;
    ChannelInfo "CHANNEL_INFO" NONE;
    VoiceChannelStatusUpdate "VOICE_CHANNEL_STATUS_UPDATE" Intents::GUILDS;
    VoiceChannelStartTimeUpdate "VOICE_CHANNEL_START_TIME_UPDATE" Intents::GUILDS;
    ChannelPinsUpdate "CHANNEL_PINS_UPDATE" either(Intents::GUILDS, Intents::DIRECT_MESSAGES);
    ThreadCreate "THREAD_CREATE" Intents::GUILDS;
    ThreadUpdate "THREAD_UPDATE" Intents::GUILDS;
    ThreadDelete "THREAD_DELETE" Intents::GUILDS;
    ThreadListSync "THREAD_LIST_SYNC" Intents::GUILDS;
    ThreadMemberUpdate "THREAD_MEMBER_UPDATE" Intents::GUILDS;
    ThreadMembersUpdate "THREAD_MEMBERS_UPDATE" either(Intents::GUILDS, Intents::GUILD_MEMBERS);

    MessageCreate "MESSAGE_CREATE" MESSAGES;
    MessageUpdate "MESSAGE_UPDATE" MESSAGES;
    MessageDelete "MESSAGE_DELETE" MESSAGES;
    MessageDeleteBulk "MESSAGE_DELETE_BULK" Intents::GUILD_MESSAGES;
    MessageReactionAdd "MESSAGE_REACTION_ADD" REACTIONS;
    MessageReactionRemove "MESSAGE_REACTION_REMOVE" REACTIONS;
    MessageReactionRemoveAll "MESSAGE_REACTION_REMOVE_ALL" REACTIONS;
    MessageReactionRemoveEmoji "MESSAGE_REACTION_REMOVE_EMOJI" REACTIONS;
    MessagePollVoteAdd "MESSAGE_POLL_VOTE_ADD" POLLS;
    MessagePollVoteRemove "MESSAGE_POLL_VOTE_REMOVE" POLLS;

    VoiceStateUpdate "VOICE_STATE_UPDATE" Intents::GUILD_VOICE_STATES;
    VoiceServerUpdate "VOICE_SERVER_UPDATE" NONE;
    VoiceChannelEffectSend "VOICE_CHANNEL_EFFECT_SEND" Intents::GUILD_VOICE_STATES;
    StageInstanceCreate "STAGE_INSTANCE_CREATE" Intents::GUILDS;
    StageInstanceUpdate "STAGE_INSTANCE_UPDATE" Intents::GUILDS;
    StageInstanceDelete "STAGE_INSTANCE_DELETE" Intents::GUILDS;

    GuildScheduledEventCreate "GUILD_SCHEDULED_EVENT_CREATE" Intents::GUILD_SCHEDULED_EVENTS;
    GuildScheduledEventUpdate "GUILD_SCHEDULED_EVENT_UPDATE" Intents::GUILD_SCHEDULED_EVENTS;
    GuildScheduledEventDelete "GUILD_SCHEDULED_EVENT_DELETE" Intents::GUILD_SCHEDULED_EVENTS;
    GuildScheduledEventUserAdd "GUILD_SCHEDULED_EVENT_USER_ADD" Intents::GUILD_SCHEDULED_EVENTS;
    GuildScheduledEventUserRemove "GUILD_SCHEDULED_EVENT_USER_REMOVE" Intents::GUILD_SCHEDULED_EVENTS;
    AutoModerationRuleCreate "AUTO_MODERATION_RULE_CREATE" Intents::AUTO_MODERATION_CONFIGURATION;
    AutoModerationRuleUpdate "AUTO_MODERATION_RULE_UPDATE" Intents::AUTO_MODERATION_CONFIGURATION;
    AutoModerationRuleDelete "AUTO_MODERATION_RULE_DELETE" Intents::AUTO_MODERATION_CONFIGURATION;
    AutoModerationActionExecution "AUTO_MODERATION_ACTION_EXECUTION" Intents::AUTO_MODERATION_EXECUTION;
    IntegrationCreate "INTEGRATION_CREATE" Intents::GUILD_INTEGRATIONS;
    IntegrationUpdate "INTEGRATION_UPDATE" Intents::GUILD_INTEGRATIONS;
    IntegrationDelete "INTEGRATION_DELETE" Intents::GUILD_INTEGRATIONS;
    InviteCreate "INVITE_CREATE" Intents::GUILD_INVITES;
    InviteDelete "INVITE_DELETE" Intents::GUILD_INVITES;
    WebhooksUpdate "WEBHOOKS_UPDATE" Intents::GUILD_WEBHOOKS;
    InteractionCreate "INTERACTION_CREATE" NONE;
    EntitlementCreate "ENTITLEMENT_CREATE" NONE;
    EntitlementUpdate "ENTITLEMENT_UPDATE" NONE;
    EntitlementDelete "ENTITLEMENT_DELETE" NONE;
    SubscriptionCreate "SUBSCRIPTION_CREATE" NONE;
    SubscriptionUpdate "SUBSCRIPTION_UPDATE" NONE;
    SubscriptionDelete "SUBSCRIPTION_DELETE" NONE;
}

/// Slots of the name table: a power of two, several times the number of kinds, so that probes are short.
const SLOTS: usize = 512;
const _: () = assert!(EventKind::ALL.len() * 4 <= SLOTS, "the name table must stay sparse");
const _: () = assert!(EventKind::ALL.len() < EMPTY as usize, "an index must fit a byte and differ from EMPTY");
const EMPTY: u8 = u8::MAX;

/// Names by hash, built at compile time; open addressing. Events arrive by the ten thousand a second, and a chain of
/// eighty string comparisons each would show.
static TABLE: [u8; SLOTS] = table();

const fn table() -> [u8; SLOTS] {
    let mut table = [EMPTY; SLOTS];
    let mut index = 0;
    while index < EventKind::ALL.len() {
        let mut slot = hash(EventKind::ALL[index].name().as_bytes());
        while table[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = index as u8;
        index += 1;
    }
    table
}

/// Mixes the length with the first and the last 8 bytes, between which no two documented names of one length differ only.
#[inline]
const fn hash(name: &[u8]) -> usize {
    let (first, last) = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        // The short ones: READY, RESUMED.
        _ => (0, 0),
    };
    let mixed = (first ^ (name.len() as u64) << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ last.wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) as usize % SLOTS
}

impl EventKind {
    /// The kind with this name on the wire (case matters, as it does to Discord).
    pub fn from_name(name: &str) -> EventKind {
        EventKind::find(name.as_bytes()).unwrap_or(EventKind::Unknown)
    }

    /// The documented kind with this name, of which it need not be known whether it is text.
    pub(crate) fn find(name: &[u8]) -> Option<EventKind> {
        let mut slot = hash(name);
        loop {
            let &kind = EventKind::ALL.get(usize::from(TABLE[slot]))?;
            if kind.name().as_bytes() == name {
                return Some(kind);
            }
            slot = (slot + 1) % SLOTS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        for &kind in EventKind::ALL {
            assert_eq!(EventKind::from_name(kind.name()), kind);
            assert_eq!(EventKind::from_name(&kind.name().to_lowercase()), EventKind::Unknown);
            assert_eq!(EventKind::from_name(&kind.name()[1..]), EventKind::Unknown);
        }
        for name in ["", "UNKNOWN", "X", "GUILD_CREATED", "GUILD_APPLICATION_COMMAND_COUNTS_UPDATE", "\u{1f980}"] {
            assert_eq!(EventKind::from_name(name), EventKind::Unknown, "{name}");
        }
    }

    #[test]
    fn a_name_takes_only_a_few_probes() {
        let mut worst = 0;
        for (index, kind) in EventKind::ALL.iter().enumerate() {
            let start = hash(kind.name().as_bytes());
            let probes = (0..SLOTS).find(|step| TABLE[(start + step) % SLOTS] == index as u8).unwrap_or(SLOTS);
            worst = worst.max(probes);
        }
        assert!(worst <= 4, "{worst}");
    }

    #[test]
    fn names_and_variants_say_the_same() {
        for &kind in EventKind::ALL {
            let variant = format!("{kind:?}").to_uppercase();
            assert_eq!(kind.name().replace('_', ""), variant);
        }
    }

    #[test]
    fn intents_are_those_of_the_docs() {
        assert_eq!(EventKind::MessageCreate.intent(), Intents((1 << 9) | (1 << 12)));
        assert_eq!(EventKind::PresenceUpdate.intent(), Intents(1 << 8));
        assert_eq!(EventKind::ThreadMembersUpdate.intent(), Intents(0b11));
        assert_eq!(EventKind::InteractionCreate.intent(), Intents(0));
        assert_eq!(EventKind::AutoModerationActionExecution.intent(), Intents(1 << 21));
        let all = EventKind::ALL.iter().fold(0, |sum, kind| sum | kind.intent().0);
        // Message content brings no event of its own; every other documented intent brings at least one.
        assert_eq!(all, Intents::ALL.0 & !Intents::MESSAGE_CONTENT.0);
    }
}
