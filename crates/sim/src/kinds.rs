//! The dispatch events that the simulated Discord sends: names and the intents that let them through.
//!
//! Source: Discord docs, Gateway Events and Gateway: List of Intents. This table is the simulator's own, so that it is an
//! independent witness of what a client believes.

/// `1 << bit` of an intent.
const fn bit(n: u32) -> u64 {
    1 << n
}

/// Sum of every documented intent; any other bit in an identify is answered with close 4013.
pub const INTENTS_ALL: u64 = 53_608_447;
/// GUILD_MEMBERS.
pub(crate) const GUILD_MEMBERS: u64 = bit(1);
/// GUILD_PRESENCES.
pub(crate) const GUILD_PRESENCES: u64 = bit(8);
/// MESSAGE_CONTENT: no events, but the content of messages.
pub(crate) const MESSAGE_CONTENT: u64 = bit(15);
/// The application flags that switch on each privileged intent: (intent, flag of a verified bot, flag of a small bot).
pub(crate) const PRIVILEGED: [(u64, u64, u64); 3] =
    [(GUILD_PRESENCES, 1 << 12, 1 << 13), (GUILD_MEMBERS, 1 << 14, 1 << 15), (MESSAGE_CONTENT, 1 << 18, 1 << 19)];

macro_rules! kinds {
    ($($variant:ident $name:literal $guild:expr, $direct:expr;)*) => {
        /// One kind of dispatch event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Kind {
            $(#[doc = concat!("The event `", $name, "`.")] $variant,)*
        }

        impl Kind {
            /// Every kind, in the order of their codes.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)*];

            /// The event's name on the wire.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name,)* }
            }

            /// Intents of which one must be set for the event to be sent; 0: always sent. `direct` is true for an event outside
            /// of guilds.
            pub fn intents(self, direct: bool) -> u64 {
                match self { $(Kind::$variant => if direct { $direct } else { $guild },)* }
            }

            /// The kind with this name.
            pub fn from_name(name: &str) -> Option<Kind> {
                match name { $($name => Some(Kind::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    Skipped "" 0, 0;
    Given "TRUNKLINE_SIM_GIVEN" 0, 0;
    Unknown "TRUNKLINE_SIM_UNKNOWN" 0, 0;
    Ready "READY" 0, 0;
    Resumed "RESUMED" 0, 0;
    RateLimited "RATE_LIMITED" 0, 0;
    GuildCreate "GUILD_CREATE" bit(0), 0;
    GuildUpdate "GUILD_UPDATE" bit(0), 0;
    GuildDelete "GUILD_DELETE" bit(0), 0;
    GuildAuditLogEntryCreate "GUILD_AUDIT_LOG_ENTRY_CREATE" bit(2), 0;
    GuildBanAdd "GUILD_BAN_ADD" bit(2), 0;
    GuildBanRemove "GUILD_BAN_REMOVE" bit(2), 0;
    GuildEmojisUpdate "GUILD_EMOJIS_UPDATE" bit(3), 0;
    GuildStickersUpdate "GUILD_STICKERS_UPDATE" bit(3), 0;
    GuildIntegrationsUpdate "GUILD_INTEGRATIONS_UPDATE" bit(4), 0;
    GuildRoleCreate "GUILD_ROLE_CREATE" bit(0), 0;
    GuildRoleUpdate "GUILD_ROLE_UPDATE" bit(0), 0;
    GuildRoleDelete "GUILD_ROLE_DELETE" bit(0), 0;
    GuildSoundboardSoundCreate "GUILD_SOUNDBOARD_SOUND_CREATE" bit(3), 0;
    GuildSoundboardSoundUpdate "GUILD_SOUNDBOARD_SOUND_UPDATE" bit(3), 0;
    GuildSoundboardSoundDelete "GUILD_SOUNDBOARD_SOUND_DELETE" bit(3), 0;
    GuildSoundboardSoundsUpdate "GUILD_SOUNDBOARD_SOUNDS_UPDATE" bit(3), 0;
    SoundboardSounds "SOUNDBOARD_SOUNDS" 0, 0;
    ApplicationCommandPermissionsUpdate "APPLICATION_COMMAND_PERMISSIONS_UPDATE" 0, 0;
    GuildMemberAdd "GUILD_MEMBER_ADD" bit(1), 0;
    GuildMemberUpdate "GUILD_MEMBER_UPDATE" bit(1), 0;
    GuildMemberRemove "GUILD_MEMBER_REMOVE" bit(1), 0;
    GuildMembersChunk "GUILD_MEMBERS_CHUNK" 0, 0;
    PresenceUpdate "PRESENCE_UPDATE" bit(8), 0;
    TypingStart "TYPING_START" bit(11), bit(14);
    UserUpdate "USER_UPDATE" 0, 0;
    ChannelCreate "CHANNEL_CREATE" bit(0), 0;
    ChannelUpdate "CHANNEL_UPDATE" bit(0), 0;
    ChannelDelete "CHANNEL_DELETE" bit(0), 0;
    ChannelInfo "CHANNEL_INFO" 0, 0;
    VoiceChannelStatusUpdate "VOICE_CHANNEL_STATUS_UPDATE" bit(0), 0;
    VoiceChannelStartTimeUpdate "VOICE_CHANNEL_START_TIME_UPDATE" bit(0), 0;
    ChannelPinsUpdate "CHANNEL_PINS_UPDATE" bit(0), bit(12);
    ThreadCreate "THREAD_CREATE" bit(0), 0;
    ThreadUpdate "THREAD_UPDATE" bit(0), 0;
    ThreadDelete "THREAD_DELETE" bit(0), 0;
    ThreadListSync "THREAD_LIST_SYNC" bit(0), 0;
    ThreadMemberUpdate "THREAD_MEMBER_UPDATE" bit(0), 0;
    ThreadMembersUpdate "THREAD_MEMBERS_UPDATE" bit(1), 0;
    MessageCreate "MESSAGE_CREATE" bit(9), bit(12);
    MessageUpdate "MESSAGE_UPDATE" bit(9), bit(12);
    MessageDelete "MESSAGE_DELETE" bit(9), bit(12);
    MessageDeleteBulk "MESSAGE_DELETE_BULK" bit(9), 0;
    MessageReactionAdd "MESSAGE_REACTION_ADD" bit(10), bit(13);
    MessageReactionRemove "MESSAGE_REACTION_REMOVE" bit(10), bit(13);
    MessageReactionRemoveAll "MESSAGE_REACTION_REMOVE_ALL" bit(10), bit(13);
    MessageReactionRemoveEmoji "MESSAGE_REACTION_REMOVE_EMOJI" bit(10), bit(13);
    MessagePollVoteAdd "MESSAGE_POLL_VOTE_ADD" bit(24), bit(25);
    MessagePollVoteRemove "MESSAGE_POLL_VOTE_REMOVE" bit(24), bit(25);
    VoiceStateUpdate "VOICE_STATE_UPDATE" bit(7), 0;
    VoiceServerUpdate "VOICE_SERVER_UPDATE" 0, 0;
    VoiceChannelEffectSend "VOICE_CHANNEL_EFFECT_SEND" bit(7), 0;
    StageInstanceCreate "STAGE_INSTANCE_CREATE" bit(0), 0;
    StageInstanceUpdate "STAGE_INSTANCE_UPDATE" bit(0), 0;
    StageInstanceDelete "STAGE_INSTANCE_DELETE" bit(0), 0;
    GuildScheduledEventCreate "GUILD_SCHEDULED_EVENT_CREATE" bit(16), 0;
    GuildScheduledEventUpdate "GUILD_SCHEDULED_EVENT_UPDATE" bit(16), 0;
    GuildScheduledEventDelete "GUILD_SCHEDULED_EVENT_DELETE" bit(16), 0;
    GuildScheduledEventUserAdd "GUILD_SCHEDULED_EVENT_USER_ADD" bit(16), 0;
    GuildScheduledEventUserRemove "GUILD_SCHEDULED_EVENT_USER_REMOVE" bit(16), 0;
    AutoModerationRuleCreate "AUTO_MODERATION_RULE_CREATE" bit(20), 0;
    AutoModerationRuleUpdate "AUTO_MODERATION_RULE_UPDATE" bit(20), 0;
    AutoModerationRuleDelete "AUTO_MODERATION_RULE_DELETE" bit(20), 0;
    AutoModerationActionExecution "AUTO_MODERATION_ACTION_EXECUTION" bit(21), 0;
    IntegrationCreate "INTEGRATION_CREATE" bit(4), 0;
    IntegrationUpdate "INTEGRATION_UPDATE" bit(4), 0;
    IntegrationDelete "INTEGRATION_DELETE" bit(4), 0;
    InviteCreate "INVITE_CREATE" bit(6), 0;
    InviteDelete "INVITE_DELETE" bit(6), 0;
    WebhooksUpdate "WEBHOOKS_UPDATE" bit(5), 0;
    InteractionCreate "INTERACTION_CREATE" 0, 0;
    EntitlementCreate "ENTITLEMENT_CREATE" 0, 0;
    EntitlementUpdate "ENTITLEMENT_UPDATE" 0, 0;
    EntitlementDelete "ENTITLEMENT_DELETE" 0, 0;
    SubscriptionCreate "SUBSCRIPTION_CREATE" 0, 0;
    SubscriptionUpdate "SUBSCRIPTION_UPDATE" 0, 0;
    SubscriptionDelete "SUBSCRIPTION_DELETE" 0, 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_intent_lets_some_event_through_and_no_other_bit_does() {
        let mut seen = MESSAGE_CONTENT;
        for kind in Kind::ALL {
            seen |= kind.intents(false) | kind.intents(true);
        }
        assert_eq!(seen, INTENTS_ALL);
    }

    #[test]
    fn names_lead_back_to_their_kind() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(*kind));
        }
    }
}
