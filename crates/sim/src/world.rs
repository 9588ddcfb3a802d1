//! The seeded world: bots, guilds and all that is in them, as arithmetic.
//!
//! Nothing is stored that can be computed: an id is a function of (class, guild, number), and a guild's state is a few counters
//! from which each object's present form follows (the member that was updated `n` times has its n-th nickname). So a snapshot of a
//! guild is a copy of its counters, and updates always concern objects that exist.
//! Invariant: ids are snowflakes above 2^53, and guild `i` of a bot lies on shard `i % shards`.

use crate::config::Config;

/// Milliseconds from 1970 to the beginning of Discord's time.
pub(crate) const DISCORD_EPOCH_MS: u64 = 1_420_070_400_000;
/// Channels of every guild: 0 category, 1–6 text, 7 announcements, 8 forum, 9 and 10 voice, 11 stage.
pub(crate) const CHANNELS: u32 = 12;
pub(crate) const TEXT_CHANNELS: u32 = 6;
/// Roles of every guild, with @everyone as number 0.
pub(crate) const ROLES: u32 = 8;
pub(crate) const EMOJIS: u32 = 6;
pub(crate) const STICKERS: u32 = 2;
/// Active threads of every guild: 0 in channel 1, 1 in the forum.
pub(crate) const THREADS: u32 = 2;

/// No guild: a direct message, or something of the bot's own.
pub(crate) const NO_GUILD: u32 = u32::MAX;

/// Classes of ids.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(crate) enum Class {
    Channel,
    Role,
    Emoji,
    Sticker,
    Thread,
    Sound,
    Dynamic,
    Integration,
    Command,
    Application,
    AuditEntry,
    Direct,
}

/// What a guild counts. Toggles are odd while their object exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Count {
    // Toggles.
    Ban,
    Role,
    Sound,
    Member,
    Channel,
    Thread,
    PollVote,
    Stage,
    ScheduledEvent,
    ScheduledUser,
    AutoModeration,
    Integration,
    Invite,
    Entitlement,
    Subscription,
    Reaction,
    // Versions.
    Guild,
    Emojis,
    Stickers,
    Roles,
    Members,
    Presences,
    Channels,
    Threads,
    Voice,
    Messages,
    Every,
    Pins,
    Sounds,
    ThreadMembers,
    VoiceStatus,
    Own,
    Other,
}

const TOGGLES: usize = Count::Reaction as usize + 1;
const COUNTS: usize = Count::Other as usize + 1;
/// Messages of a guild that later events can refer to.
const RECENT: usize = 16;

/// What of a guild's state other objects show at a moment: members in messages, emojis in reactions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) members: u32,
    /// Generation of the visitor.
    pub(crate) visitor: u32,
    pub(crate) emojis: u32,
    pub(crate) stickers: u32,
    /// Version of the bot's own user.
    pub(crate) own: u32,
}

impl Seen {
    /// How often this member has been updated.
    pub(crate) fn member_version(&self, member: u32, members: u32) -> u32 {
        version_of(self.members, member, members)
    }
}

/// Where the bot itself is in voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnVoice {
    pub(crate) channel: u32,
    pub(crate) self_mute: bool,
    pub(crate) self_deaf: bool,
}

/// How often object `index` of `len`, updated in turn, has been updated after `count` updates in all.
pub(crate) fn version_of(count: u32, index: u32, len: u32) -> u32 {
    let len = len.max(1);
    (count + len - 1 - index % len) / len
}

/// What changes in a guild.
#[derive(Debug, Clone)]
pub(crate) struct GuildState {
    counts: [u32; COUNTS],
    /// How often the present object of each toggle has been updated.
    updates: [u16; TOGGLES],
    /// Ids of recent messages; 0 is none.
    recent: [u64; RECENT],
    /// The message with the reaction that comes and goes, and the one with the vote; 0: none.
    reacted: u64,
    voted: u64,
    pub(crate) own_voice: Option<OwnVoice>,
    /// Version of the bot's own user, the same in all its guilds.
    pub(crate) own_version: u32,
    /// Since when, in Unix seconds, somebody is in the voice channel whose start time is told; 0: nobody.
    pub(crate) voice_since_s: u64,
    pub(crate) unavailable: bool,
    /// The bot has left the guild.
    pub(crate) left: bool,
}

impl Default for GuildState {
    fn default() -> GuildState {
        GuildState {
            counts: [0; COUNTS],
            updates: [0; TOGGLES],
            recent: [0; RECENT],
            reacted: 0,
            voted: 0,
            own_voice: None,
            own_version: 0,
            voice_since_s: 0,
            unavailable: false,
            left: false,
        }
    }
}

impl GuildState {
    /// A guild at the beginning of the world: some of what comes and goes is there already.
    pub(crate) fn at_start(seed: u64, guild: u32) -> GuildState {
        let mut state = GuildState::default();
        let dice = mix(seed ^ 0x5157 ^ u64::from(guild) << 20);
        let there = [Count::Stage, Count::ScheduledEvent, Count::Sound, Count::Thread, Count::Integration, Count::AutoModeration];
        for (bit, count) in there.into_iter().enumerate() {
            state.counts[count as usize] = (dice >> bit & 1) as u32;
        }
        state
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen {
            members: self.count(Count::Members),
            visitor: self.generation(Count::Member),
            emojis: self.count(Count::Emojis),
            stickers: self.count(Count::Stickers),
            own: self.own_version,
        }
    }

    /// The number of the object that is there, or of the next one: the same from its creation to its deletion.
    pub(crate) fn generation(&self, toggle: Count) -> u32 {
        self.count(toggle) / 2
    }

    /// How often the present object of this toggle has been updated.
    pub(crate) fn updates(&self, toggle: Count) -> u32 {
        self.updates.get(toggle as usize).map_or(0, |updates| u32::from(*updates))
    }

    /// Updates the present object of this toggle.
    pub(crate) fn update(&mut self, toggle: Count) -> u32 {
        if let Some(updates) = self.updates.get_mut(toggle as usize) {
            *updates = updates.wrapping_add(1);
        }
        self.updates(toggle)
    }

    /// Makes or deletes the object of this toggle.
    pub(crate) fn turn(&mut self, toggle: Count) {
        if self.advance(toggle).is_multiple_of(2)
            && let Some(updates) = self.updates.get_mut(toggle as usize)
        {
            *updates = 0;
        }
    }

    pub(crate) fn count(&self, count: Count) -> u32 {
        self.counts[count as usize]
    }

    /// The present value, then one more.
    pub(crate) fn advance(&mut self, count: Count) -> u32 {
        let value = self.counts[count as usize];
        self.counts[count as usize] = value.wrapping_add(1);
        value
    }

    pub(crate) fn exists(&self, count: Count) -> bool {
        self.count(count) % 2 == 1
    }

    /// How often object `index` of `len`, updated in turn, has been updated.
    pub(crate) fn version(&self, count: Count, index: u32, len: u32) -> u32 {
        version_of(self.count(count), index, len)
    }

    pub(crate) fn remember_message(&mut self, id: u64) {
        // The oldest one gives way.
        let slot = (0..RECENT).min_by_key(|slot| self.recent[*slot]).unwrap_or(0);
        let old = std::mem::replace(&mut self.recent[slot], id);
        self.forget_message(old);
    }

    /// Some message that exists, picked by `dice`.
    pub(crate) fn some_message(&self, dice: u64) -> Option<u64> {
        (0..RECENT).map(|offset| self.recent[(dice as usize + offset) % RECENT]).find(|id| *id != 0)
    }

    /// Some message with a poll.
    pub(crate) fn some_poll(&self, dice: u64) -> Option<u64> {
        (0..RECENT).map(|offset| self.recent[(dice as usize + offset) % RECENT]).find(|id| *id != 0 && has_poll(*id))
    }

    /// The recent messages in the channel of this one, itself included.
    pub(crate) fn messages_beside(&self, id: u64) -> Vec<u64> {
        self.recent.iter().copied().filter(|other| *other != 0 && channel_of_message(*other) == channel_of_message(id)).collect()
    }

    /// The message with the reaction (or the vote) that is there.
    pub(crate) fn marked(&self, toggle: Count) -> Option<u64> {
        let id = if toggle == Count::Reaction { self.reacted } else { self.voted };
        self.exists(toggle).then_some(id)
    }

    /// Puts a reaction (or a vote) on the message, or takes the one that is there away.
    pub(crate) fn mark(&mut self, toggle: Count, message: u64) {
        self.turn(toggle);
        let id = if self.exists(toggle) { message } else { 0 };
        match toggle {
            Count::Reaction => self.reacted = id,
            _ => self.voted = id,
        }
    }

    /// The message is gone, and its reaction and its vote with it.
    pub(crate) fn forget_message(&mut self, id: u64) {
        if id == 0 {
            return;
        }
        for toggle in [Count::Reaction, Count::PollVote] {
            if self.marked(toggle) == Some(id) {
                self.mark(toggle, 0);
            }
        }
        for slot in &mut self.recent {
            if *slot == id {
                *slot = 0;
            }
        }
    }
}

/// One bot of the world.
#[derive(Debug, Clone)]
pub(crate) struct Bot {
    pub(crate) token: String,
    pub(crate) id: u64,
    pub(crate) flags: u64,
    pub(crate) name: String,
}

/// The unchanging part of the world.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) bots: Vec<Bot>,
    pub(crate) guilds_per_bot: u32,
    pub(crate) members: u32,
    users: u32,
    step_ms: u64,
    shards: u64,
    seed: u64,
}

/// Whether the message with this id has a poll: its lowest bit says so.
pub(crate) fn has_poll(message: u64) -> bool {
    message & 1 == 1
}

/// The number of a guild message's channel, which follows from its id.
pub(crate) fn channel_of_message(message: u64) -> u32 {
    1 + (mix(message) >> 32) as u32 % TEXT_CHANNELS
}

/// A number spread over all of 64 bits.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

const GUILDS_FROM_MS: u64 = 40_000_000_000;
const GUILDS_SPAN_MS: u64 = 20_000_000_000;
const OBJECTS_FROM_MS: u64 = 62_000_000_000;
const USERS_FROM_MS: u64 = 5_000_000_000;

impl World {
    pub(crate) fn new(config: &Config) -> World {
        let guilds = u64::from(config.guilds) * config.bots.len().max(1) as u64;
        let shards = u64::from(config.shards.max(1));
        let users = (guilds * u64::from(config.members) * 10 / 13).clamp(u64::from(config.members.max(1)), 30_000_000);
        let bots = config.bots.iter().enumerate().map(|(index, bot)| Bot {
            token: bot.token.clone(),
            id: id_in_token(&bot.token).unwrap_or((35_000_000_000 + index as u64 * 1000 + config.seed % 1000) << 22 | index as u64),
            flags: bot.application_flags,
            name: format!("simulated-{index}"),
        });
        World {
            bots: bots.collect(),
            guilds_per_bot: config.guilds,
            members: config.members,
            users: users as u32,
            step_ms: (GUILDS_SPAN_MS / guilds.max(1) / shards).max(1) * shards,
            shards,
            seed: config.seed,
        }
    }

    pub(crate) fn guild_count(&self) -> u32 {
        self.guilds_per_bot * self.bots.len() as u32
    }

    pub(crate) fn bot_of(&self, guild: u32) -> usize {
        guild.checked_div(self.guilds_per_bot).unwrap_or(0) as usize
    }

    pub(crate) fn guilds_of(&self, bot: usize) -> std::ops::Range<u32> {
        let from = bot as u32 * self.guilds_per_bot;
        from..from + self.guilds_per_bot
    }

    pub(crate) fn guild_id(&self, guild: u32) -> u64 {
        let local = u64::from(guild % self.guilds_per_bot.max(1));
        let base = GUILDS_FROM_MS / self.shards * self.shards;
        // The scatter is a multiple of the shard count: even by that count, and not lopsided by any other.
        let scatter = mix(self.seed ^ u64::from(guild) << 24) % (self.step_ms / self.shards) * self.shards;
        let ms = base + u64::from(guild) * self.step_ms + scatter + local % self.shards;
        ms << 22 | mix(self.seed ^ u64::from(guild)) & 0x3F_FFFF
    }

    /// The guild with this id.
    pub(crate) fn guild_by_id(&self, id: u64) -> Option<u32> {
        let base = GUILDS_FROM_MS / self.shards * self.shards;
        let guild = u32::try_from((id >> 22).checked_sub(base)? / self.step_ms).ok()?;
        (guild < self.guild_count() && self.guild_id(guild) == id).then_some(guild)
    }

    pub(crate) fn object_id(&self, class: Class, guild: u32, number: u32) -> u64 {
        let ms = OBJECTS_FROM_MS + class as u64 * 4_000_000_000 + u64::from(number) * 1000 + mix(self.seed ^ u64::from(guild)) % 1000;
        ms << 22 | u64::from(guild) & 0x3F_FFFF
    }

    pub(crate) fn channel_id(&self, guild: u32, channel: u32) -> u64 {
        self.object_id(Class::Channel, guild, channel)
    }

    pub(crate) fn thread_id(&self, guild: u32, thread: u32) -> u64 {
        self.object_id(Class::Thread, guild, thread)
    }

    pub(crate) fn role_id(&self, guild: u32, role: u32) -> u64 {
        if role == 0 { self.guild_id(guild) } else { self.object_id(Class::Role, guild, role) }
    }

    pub(crate) fn user_id(&self, user: u32) -> u64 {
        (USERS_FROM_MS + u64::from(user) * 1000 + mix(self.seed ^ u64::from(user)) % 1000) << 22 | u64::from(user) & 0x3F_FFFF
    }

    fn user_by_id(&self, id: u64) -> Option<u32> {
        let user = u32::try_from((id >> 22).checked_sub(USERS_FROM_MS)? / 1000).ok()?;
        (self.user_id(user) == id).then_some(user)
    }

    /// The user who is member number `member` of the guild. Users are in 1.3 guilds on average.
    pub(crate) fn member_user(&self, guild: u32, member: u32) -> u32 {
        ((u64::from(guild) * u64::from(self.members) + u64::from(member)) % u64::from(self.users.max(1))) as u32
    }

    /// The guild's member with this user id.
    pub(crate) fn member_by_user_id(&self, guild: u32, id: u64) -> Option<u32> {
        let user = u64::from(self.user_by_id(id)?);
        let users = u64::from(self.users.max(1));
        if user >= users {
            return None;
        }
        let first = u64::from(guild) * u64::from(self.members) % users;
        let member = (user + users - first) % users;
        (member < u64::from(self.members)).then_some(member as u32)
    }

    /// The one who joins and leaves.
    pub(crate) fn visitor(&self, guild: u32) -> u32 {
        self.users + guild
    }

    /// The one who is banned and pardoned.
    pub(crate) fn outcast(&self, guild: u32) -> u32 {
        self.users + self.guild_count() + guild
    }

    pub(crate) fn username(&self, user: u32) -> String {
        const WORDS: [&str; 16] = [
            "maple", "rusty", "quiet", "nova", "pixel", "otter", "ember", "lunar", "moss", "cobalt", "willow", "sable", "tango", "fjord",
            "comet", "zephyr",
        ];
        let dice = mix(u64::from(user));
        format!("{}{}{}", WORDS[dice as usize % 16], WORDS[(dice >> 8) as usize % 16], user)
    }

    /// Members that use voice channels.
    pub(crate) fn voice_members(&self) -> u32 {
        (self.members / 10).clamp(1, 20).min(self.members)
    }

    /// (channel number, self mute) of a voice member after `version` of its moves; None: not in voice.
    pub(crate) fn voice(&self, member: u32, version: u32) -> Option<(u32, bool)> {
        match (version + if member.is_multiple_of(2) { 0 } else { 3 }) % 4 {
            0 => Some((9, false)),
            1 => Some((9, true)),
            2 => Some((10, false)),
            _ => None,
        }
    }

    pub(crate) fn status(&self, member: u32, version: u32) -> &'static str {
        ["online", "idle", "dnd", "offline"][((version + member) % 4) as usize]
    }
}

/// The shard of a guild (Discord docs, Gateway: Sharding).
pub(crate) fn shard_of(guild_id: u64, count: u32) -> u32 {
    ((guild_id >> 22) % u64::from(count.max(1))) as u32
}

/// A real token begins with the bot's id in base64.
fn id_in_token(token: &str) -> Option<u64> {
    let (first, _) = token.split_once('.')?;
    let mut bits = 0u32;
    let mut held = 0;
    let mut text = Vec::new();
    for byte in first.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            b'=' => continue,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            text.push((bits >> held) as u8);
        }
    }
    std::str::from_utf8(&text).ok()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::config::BotConfig;

    fn world(guilds: u32, shards: u32) -> World {
        World::new(&Config { guilds, shards, members: 40, bots: vec![BotConfig::new("a"), BotConfig::new("b")], ..Config::default() })
    }

    #[test]
    fn guilds_are_spread_over_all_shards_and_found_by_id() {
        let world = world(320, 16);
        let mut ids = HashSet::new();
        for guild in 0..640 {
            let id = world.guild_id(guild);
            assert!(id > 1 << 53);
            assert_eq!(shard_of(id, 16), guild % 320 % 16);
            assert_eq!(world.guild_by_id(id), Some(guild));
            assert_eq!(world.guild_by_id(id + 1), None);
            assert!(ids.insert(id));
        }
    }

    #[test]
    fn members_are_distinct_and_found_by_user_id() {
        let world = world(50, 1);
        for guild in 0..100 {
            let mut users = HashSet::new();
            for member in 0..40 {
                let user = world.member_user(guild, member);
                assert!(users.insert(user));
                assert_eq!(world.member_by_user_id(guild, world.user_id(user)), Some(member));
            }
            assert_eq!(world.member_by_user_id(guild, world.user_id(world.visitor(guild))), None);
        }
    }

    #[test]
    fn objects_updated_in_turn_know_their_version() {
        let mut state = GuildState::default();
        for n in 0..25 {
            assert_eq!(state.advance(Count::Members), n);
        }
        assert_eq!(state.version(Count::Members, 0, 10), 3);
        assert_eq!(state.version(Count::Members, 4, 10), 3);
        assert_eq!(state.version(Count::Members, 5, 10), 2);
    }

    #[test]
    fn a_user_is_in_1_3_guilds_on_average() {
        let world = world(100, 1);
        let mut guilds = std::collections::HashMap::<u32, u32>::new();
        for guild in 0..world.guild_count() {
            for member in 0..40 {
                *guilds.entry(world.member_user(guild, member)).or_default() += 1;
            }
        }
        let mean = 200.0 * 40.0 / guilds.len() as f64;
        assert!((1.29..1.31).contains(&mean), "{mean}");
        assert!(guilds.values().any(|guilds| *guilds == 2));
    }

    #[test]
    fn a_real_tokens_bot_id_is_taken_over() {
        assert_eq!(id_in_token("MTIzNDU2Nzg5MDEyMzQ1Njc4.abc.def"), Some(123_456_789_012_345_678));
        assert_eq!(id_in_token("sim"), None);
    }
}
