//! One event of the simulated Discord, as a recipe of a few words, and how the next one of a kind comes about.
//!
//! A payload is rendered from its recipe when it is sent. That keeps replay buffers small, whatever the size of payloads, and
//! makes a replayed event equal to the first one byte for byte.
//! Invariant: what an event says about an object follows from the counters at the moment of its making, never at its rendering.

use std::sync::Arc;

use serde_json::Value;

use crate::kinds::Kind;
use crate::world::{Count, DISCORD_EPOCH_MS, GuildState, NO_GUILD, OwnVoice, Seen};

/// A dispatched event.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    /// Number of the guild, or [`NO_GUILD`].
    pub(crate) guild: u32,
    /// The counter of the kind's object at the moment.
    pub(crate) n: u32,
    /// How often the object, if it comes and goes, had been updated.
    pub(crate) version: u32,
    /// What it shows of other objects.
    pub(crate) seen: Seen,
    /// The message concerned.
    pub(crate) message: u64,
    pub(crate) at_unix_ms: u64,
    /// Rises by one with every event of the simulator.
    pub(crate) number: u64,
    pub(crate) special: Option<Arc<Special>>,
}

/// What some events carry beside their counters.
#[derive(Debug)]
pub(crate) enum Special {
    Ready {
        session_id: String,
        resume_url: String,
        shard: Option<(u32, u32)>,
        stubs: Vec<u64>,
        /// Version of the bot's own user.
        own: u32,
    },
    /// A guild as it was.
    Guild(GuildState),
    /// GUILD_DELETE of an outage.
    Outage,
    Chunk(Chunk),
    RateLimited {
        guild_id: u64,
        nonce: Option<String>,
        retry_after_s: f64,
    },
    /// Where the bot itself is now.
    OwnVoice(Option<OwnVoice>),
    VoiceServer {
        token: String,
    },
    /// Each: whether it is told, and what it is.
    ChannelInfo {
        status: Option<Option<&'static str>>,
        start_time: Option<Option<u64>>,
    },
    /// Messages deleted at once.
    Messages(Vec<u64>),
    /// Name and `d` as somebody gave them.
    Given {
        name: String,
        d: Value,
    },
}

/// One GUILD_MEMBERS_CHUNK.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) state: GuildState,
    pub(crate) members: Vec<Who>,
    pub(crate) index: u32,
    pub(crate) count: u32,
    pub(crate) not_found: Vec<u64>,
    pub(crate) presences: bool,
    pub(crate) nonce: Option<String>,
}

/// Somebody in a guild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// The bot itself.
    Bot,
    /// Member by number.
    Member(u32),
    /// The one who comes and goes.
    Visitor,
}

/// A snowflake of this moment.
pub(crate) fn snowflake(unix_ms: u64, number: u64) -> u64 {
    unix_ms.saturating_sub(DISCORD_EPOCH_MS) << 22 | number & 0x3F_FFFF
}

/// Kinds of objects that come and go, with the events that say so.
const CYCLES: &[(Count, Kind, Option<Kind>, Kind)] = &[
    (Count::Ban, Kind::GuildBanAdd, None, Kind::GuildBanRemove),
    (Count::Role, Kind::GuildRoleCreate, None, Kind::GuildRoleDelete),
    (Count::Sound, Kind::GuildSoundboardSoundCreate, Some(Kind::GuildSoundboardSoundUpdate), Kind::GuildSoundboardSoundDelete),
    (Count::Member, Kind::GuildMemberAdd, None, Kind::GuildMemberRemove),
    (Count::Channel, Kind::ChannelCreate, None, Kind::ChannelDelete),
    (Count::Thread, Kind::ThreadCreate, None, Kind::ThreadDelete),
    (Count::Stage, Kind::StageInstanceCreate, Some(Kind::StageInstanceUpdate), Kind::StageInstanceDelete),
    (Count::ScheduledEvent, Kind::GuildScheduledEventCreate, Some(Kind::GuildScheduledEventUpdate), Kind::GuildScheduledEventDelete),
    (Count::ScheduledUser, Kind::GuildScheduledEventUserAdd, None, Kind::GuildScheduledEventUserRemove),
    (Count::AutoModeration, Kind::AutoModerationRuleCreate, Some(Kind::AutoModerationRuleUpdate), Kind::AutoModerationRuleDelete),
    (Count::Integration, Kind::IntegrationCreate, Some(Kind::IntegrationUpdate), Kind::IntegrationDelete),
    (Count::Invite, Kind::InviteCreate, None, Kind::InviteDelete),
    (Count::Entitlement, Kind::EntitlementCreate, Some(Kind::EntitlementUpdate), Kind::EntitlementDelete),
    (Count::Subscription, Kind::SubscriptionCreate, Some(Kind::SubscriptionUpdate), Kind::SubscriptionDelete),
];

/// What a voice channel's status is after `count` changes; None: none.
pub(crate) fn voice_status(count: u32) -> Option<&'static str> {
    [Some("talking of signals"), None, Some("quiz night"), None][count as usize % 4]
}

/// A new message's id.
fn message_id(unix_ms: u64, number: u64, poll: bool) -> u64 {
    snowflake(unix_ms, number << 1 | u64::from(poll))
}

/// Makes the next event of `kind` in the guild, and changes the guild's state accordingly. Where the world does not allow it (an
/// update of what does not exist, a second deletion), the kind is replaced by the one that must come first.
pub(crate) fn next(state: &mut GuildState, kind: Kind, guild: u32, at_unix_ms: u64, number: u64, dice: u64) -> Event {
    let mut event = Event { kind, guild, n: 0, version: 0, seen: Seen::default(), message: 0, at_unix_ms, number, special: None };
    let cycle = CYCLES.iter().find(|(_, create, update, delete)| *create == kind || *delete == kind || *update == Some(kind));
    if let Some(&(toggle, create, update, delete)) = cycle {
        event.kind = match (state.exists(toggle), kind) {
            (true, kind) if update == Some(kind) => kind,
            (true, _) => delete,
            (false, _) => create,
        };
        event.n = state.generation(toggle);
        if update == Some(event.kind) {
            state.update(toggle);
        }
        event.version = if event.kind == create { 0 } else { state.updates(toggle) };
        if update != Some(event.kind) {
            state.turn(toggle);
        }
    }
    match kind {
        Kind::MessageCreate => {
            event.n = state.advance(Count::Messages);
            event.message = message_id(at_unix_ms, number, dice >> 40 & 15 == 0);
            state.remember_message(event.message);
        }
        Kind::MessageUpdate | Kind::MessageDelete | Kind::MessageDeleteBulk => {
            let Some(message) = state.some_message(dice) else {
                return next(state, Kind::MessageCreate, guild, at_unix_ms, number, dice);
            };
            event.message = message;
            event.n = state.advance(Count::Other);
            if kind == Kind::MessageDelete {
                state.forget_message(message);
            } else if kind == Kind::MessageDeleteBulk {
                let messages = state.messages_beside(message);
                for message in &messages {
                    state.forget_message(*message);
                }
                event.special = Some(Arc::new(Special::Messages(messages)));
            }
        }
        Kind::MessageReactionAdd | Kind::MessageReactionRemove | Kind::MessageReactionRemoveAll | Kind::MessageReactionRemoveEmoji => {
            event.n = state.generation(Count::Reaction);
            (event.kind, event.message) = match (state.marked(Count::Reaction), state.some_message(dice)) {
                (Some(message), _) if kind == Kind::MessageReactionAdd => (Kind::MessageReactionRemove, message),
                (Some(message), _) => (kind, message),
                (None, Some(message)) => (Kind::MessageReactionAdd, message),
                // No message yet: a reaction to one from before this world's time.
                (None, None) => (Kind::MessageReactionAdd, snowflake(DISCORD_EPOCH_MS + 150_000_000_000, u64::from(guild) << 1)),
            };
            state.mark(Count::Reaction, event.message);
        }
        Kind::MessagePollVoteAdd | Kind::MessagePollVoteRemove => {
            event.n = state.generation(Count::PollVote);
            (event.kind, event.message) = match (state.marked(Count::PollVote), state.some_poll(dice)) {
                (Some(message), _) => (Kind::MessagePollVoteRemove, message),
                (None, Some(message)) => (Kind::MessagePollVoteAdd, message),
                (None, None) => {
                    // There must be a poll first: a message with its bit set.
                    return next(state, Kind::MessageCreate, guild, at_unix_ms, number, dice & !(15 << 40));
                }
            };
            state.mark(Count::PollVote, event.message);
        }
        // The bot leaves the guild, and joins it again.
        Kind::GuildCreate | Kind::GuildDelete => {
            event.kind = if state.left { Kind::GuildCreate } else { Kind::GuildDelete };
            state.left = !state.left;
            state.own_voice = None;
        }
        Kind::GuildUpdate => event.n = state.advance(Count::Guild),
        Kind::GuildEmojisUpdate => event.n = state.advance(Count::Emojis),
        Kind::GuildStickersUpdate => event.n = state.advance(Count::Stickers),
        Kind::GuildRoleUpdate => event.n = state.advance(Count::Roles),
        Kind::GuildMemberUpdate => event.n = state.advance(Count::Members),
        Kind::PresenceUpdate => event.n = state.advance(Count::Presences),
        Kind::ChannelUpdate => event.n = state.advance(Count::Channels),
        Kind::ChannelPinsUpdate => event.n = state.advance(Count::Pins),
        Kind::ThreadUpdate => event.n = state.advance(Count::Threads),
        Kind::ThreadMembersUpdate => event.n = state.advance(Count::ThreadMembers),
        Kind::VoiceStateUpdate => event.n = state.advance(Count::Voice),
        Kind::VoiceChannelStatusUpdate => event.n = state.advance(Count::VoiceStatus),
        Kind::GuildSoundboardSoundsUpdate => event.n = state.advance(Count::Sounds),
        Kind::UserUpdate => event.n = state.advance(Count::Own),
        Kind::VoiceChannelStartTimeUpdate => {
            event.n = state.advance(Count::Other);
            state.voice_since_s = if state.voice_since_s == 0 { at_unix_ms / 1000 } else { 0 };
            // Carried as the counter would not tell it.
            event.version = u32::from(state.voice_since_s != 0);
        }
        Kind::ChannelInfo => event.special = Some(Arc::new(channel_info(state, true, true))),
        _ if cycle.is_some() => {}
        _ => event.n = state.advance(Count::Other),
    }
    let whole = matches!(
        event.kind,
        Kind::GuildUpdate
            | Kind::GuildCreate
            | Kind::ThreadListSync
            | Kind::ThreadUpdate
            | Kind::ChannelUpdate
            | Kind::SoundboardSounds
            | Kind::GuildSoundboardSoundsUpdate
    );
    if whole {
        event.special = Some(Arc::new(Special::Guild(state.clone())));
    }
    if guild == NO_GUILD {
        event.special = None;
    }
    event.seen = state.seen();
    event
}

/// The answer to op 43.
pub(crate) fn channel_info(state: &GuildState, status: bool, start_time: bool) -> Special {
    let since = (state.voice_since_s != 0).then_some(state.voice_since_s);
    Special::ChannelInfo { status: status.then(|| voice_status(state.count(Count::VoiceStatus))), start_time: start_time.then_some(since) }
}

/// Every kind that traffic can consist of, in an order in which objects are created, changed, deleted. READY, RESUMED, RATE_LIMITED,
/// GUILD_CREATE, GUILD_DELETE, GUILD_MEMBERS_CHUNK, SOUNDBOARD_SOUNDS, CHANNEL_INFO and VOICE_SERVER_UPDATE have causes of their own
/// (logging in, an outage, leaving and joining on demand, a request), and the last three are in the list all the same, so that all
/// kinds can be had without asking.
pub(crate) const EVERY: &[Kind] = &[
    Kind::MessageCreate,
    Kind::MessageUpdate,
    Kind::MessageReactionAdd,
    Kind::MessageReactionRemove,
    Kind::MessageReactionAdd,
    Kind::MessageReactionRemoveEmoji,
    Kind::MessageReactionAdd,
    Kind::MessageReactionRemoveAll,
    // Where no poll is left, the first vote is replaced by a message with one.
    Kind::MessagePollVoteAdd,
    Kind::MessagePollVoteAdd,
    Kind::MessagePollVoteRemove,
    Kind::MessageCreate,
    Kind::MessageDelete,
    Kind::MessageCreate,
    Kind::MessageDeleteBulk,
    Kind::TypingStart,
    Kind::GuildUpdate,
    Kind::GuildAuditLogEntryCreate,
    Kind::GuildBanAdd,
    Kind::GuildBanRemove,
    Kind::GuildEmojisUpdate,
    Kind::GuildStickersUpdate,
    Kind::GuildIntegrationsUpdate,
    Kind::GuildRoleCreate,
    Kind::GuildRoleUpdate,
    Kind::GuildRoleDelete,
    Kind::GuildSoundboardSoundCreate,
    Kind::GuildSoundboardSoundUpdate,
    Kind::GuildSoundboardSoundDelete,
    Kind::GuildSoundboardSoundsUpdate,
    Kind::SoundboardSounds,
    Kind::ApplicationCommandPermissionsUpdate,
    Kind::GuildMemberAdd,
    Kind::GuildMemberUpdate,
    Kind::GuildMemberRemove,
    Kind::PresenceUpdate,
    Kind::UserUpdate,
    Kind::ChannelCreate,
    Kind::ChannelUpdate,
    Kind::ChannelPinsUpdate,
    Kind::ChannelDelete,
    Kind::ChannelInfo,
    Kind::VoiceChannelStatusUpdate,
    Kind::VoiceChannelStartTimeUpdate,
    Kind::ThreadCreate,
    Kind::ThreadUpdate,
    Kind::ThreadMemberUpdate,
    Kind::ThreadMembersUpdate,
    Kind::ThreadDelete,
    Kind::ThreadListSync,
    Kind::VoiceStateUpdate,
    Kind::VoiceServerUpdate,
    Kind::VoiceChannelEffectSend,
    Kind::StageInstanceCreate,
    Kind::StageInstanceUpdate,
    Kind::StageInstanceDelete,
    Kind::GuildScheduledEventCreate,
    Kind::GuildScheduledEventUpdate,
    Kind::GuildScheduledEventUserAdd,
    Kind::GuildScheduledEventUserRemove,
    Kind::GuildScheduledEventDelete,
    Kind::AutoModerationRuleCreate,
    Kind::AutoModerationRuleUpdate,
    Kind::AutoModerationActionExecution,
    Kind::AutoModerationRuleDelete,
    Kind::IntegrationCreate,
    Kind::IntegrationUpdate,
    Kind::IntegrationDelete,
    Kind::InviteCreate,
    Kind::InviteDelete,
    Kind::WebhooksUpdate,
    Kind::InteractionCreate,
    Kind::EntitlementCreate,
    Kind::EntitlementUpdate,
    Kind::EntitlementDelete,
    Kind::SubscriptionCreate,
    Kind::SubscriptionUpdate,
    Kind::SubscriptionDelete,
];

/// Per thousand events of the steady mix, in sum 1000.
const STEADY: &[(u32, Kind)] = &[
    (400, Kind::MessageCreate),
    (100, Kind::MessageReactionAdd),
    (100, Kind::VoiceStateUpdate),
    (100, Kind::GuildMemberUpdate),
    (100, Kind::TypingStart),
    (60, Kind::MessageUpdate),
    (40, Kind::MessageDelete),
    (30, Kind::GuildMemberAdd),
    (20, Kind::ThreadCreate),
    (10, Kind::ThreadMembersUpdate),
    (10, Kind::ChannelUpdate),
    (8, Kind::InteractionCreate),
    (6, Kind::GuildRoleUpdate),
    (5, Kind::InviteCreate),
    (3, Kind::ChannelCreate),
    (3, Kind::GuildRoleCreate),
    (2, Kind::GuildBanAdd),
    (2, Kind::GuildAuditLogEntryCreate),
    (1, Kind::GuildEmojisUpdate),
];

/// Picks a kind of the steady mix; `dice` is uniform.
pub(crate) fn steady(dice: u64) -> Kind {
    let mut left = (dice % 1000) as u32;
    for (share, kind) in STEADY {
        if left < *share {
            return *kind;
        }
        left -= share;
    }
    Kind::MessageCreate
}

/// Kinds outside of guilds: the bot's own, sent on shard 0.
pub(crate) fn outside_guilds(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::UserUpdate
            | Kind::EntitlementCreate
            | Kind::EntitlementUpdate
            | Kind::EntitlementDelete
            | Kind::SubscriptionCreate
            | Kind::SubscriptionUpdate
            | Kind::SubscriptionDelete
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steady_mix_is_whole() {
        assert_eq!(STEADY.iter().map(|(share, _)| share).sum::<u32>(), 1000);
    }

    #[test]
    fn an_update_of_what_does_not_exist_becomes_its_creation_and_cycles_go_on() {
        let mut state = GuildState::default();
        let mut seen = Vec::new();
        for number in 0..4 {
            let event = next(&mut state, Kind::StageInstanceUpdate, 0, 0, number, 0);
            seen.push((event.kind, event.n));
        }
        assert_eq!(seen[0], (Kind::StageInstanceCreate, 0));
        assert_eq!(seen[1], (Kind::StageInstanceUpdate, 0));
        let gone = next(&mut state, Kind::StageInstanceDelete, 0, 0, 9, 0);
        assert_eq!((gone.kind, gone.n), (Kind::StageInstanceDelete, 0));
        let again = next(&mut state, Kind::StageInstanceDelete, 0, 0, 10, 0);
        assert_eq!((again.kind, again.n), (Kind::StageInstanceCreate, 1));
    }

    #[test]
    fn a_deleted_message_is_not_mentioned_again() {
        let mut state = GuildState::default();
        let made = next(&mut state, Kind::MessageCreate, 0, 1_700_000_000_000, 1, 0);
        let gone = next(&mut state, Kind::MessageDelete, 0, 1_700_000_000_000, 2, 0);
        assert_eq!(made.message, gone.message);
        assert_eq!(next(&mut state, Kind::MessageUpdate, 0, 1_700_000_000_000, 3, 0).kind, Kind::MessageCreate);
    }
}
