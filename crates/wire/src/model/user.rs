//! Users, members and voice states.

use trunkline_etf::{Kind, Value};

use crate::pylon::discord::v1::model::{GuildBanData, MemberData, UserData, VoiceStateData};
use crate::read::{each, flag, id, id_or_none, ids, object, text, text_or_none, time};

/// Discord docs, User Resource: User Object.
pub fn user(value: Value<'_>) -> UserData {
    let [id_of, username, avatar, number, bot] = value.get_all(["id", "username", "avatar", "discriminator", "bot"]);
    UserData {
        id: id_of.map_or(0, id),
        username: username.map(text).unwrap_or_default(),
        avatar: avatar.and_then(text_or_none),
        discriminator: number.map_or(0, discriminator),
        bot: bot.is_some_and(flag),
    }
}

/// Four digits as text, or "0" since usernames are unique. Both become the number.
pub(crate) fn discriminator(value: Value<'_>) -> u32 {
    u32::try_from(id(value)).unwrap_or(0)
}

/// Discord docs, Guild Resource: Guild Member Object. The guild is the event's unless the object names one.
pub fn member(value: Value<'_>, guild_id: u64) -> MemberData {
    let [who, guild, nick, roles, joined_at, premium_since, permissions, pending] =
        value.get_all(["user", "guild_id", "nick", "roles", "joined_at", "premium_since", "permissions", "pending"]);
    let who = who.and_then(|who| object(who, user));
    MemberData {
        id: who.as_ref().map_or(0, |user| user.id),
        guild_id: guild.and_then(id_or_none).unwrap_or(guild_id),
        user: who,
        nick: nick.and_then(text_or_none),
        roles: roles.map(ids).unwrap_or_default(),
        joined_at: joined_at.and_then(time),
        premium_since: premium_since.and_then(time),
        permissions: permissions.map_or(0, id),
        pending: pending.and_then(Value::as_bool),
    }
}

/// A member object that Discord sent without its user, because the user stands beside it.
pub(crate) fn member_of(value: Value<'_>, guild_id: u64, user: &UserData) -> MemberData {
    let mut out = member(value, guild_id);
    if out.user.is_none() {
        out.id = user.id;
        out.user = Some(user.clone());
    }
    out
}

/// A ban. Discord docs, Guild Resource: Ban Object; a Guild Ban Add event has the user and no reason.
pub fn ban(value: Value<'_>) -> GuildBanData {
    let mut out = GuildBanData::default();
    each(value, |key, value| match key {
        b"reason" => out.reason = text(value),
        b"user" => out.user = object(value, user),
        _ => {}
    });
    out
}

/// Discord docs, Voice Resource: Voice State Object. Pylon's message has no user id of its own: it is the member's.
pub fn voice_state(value: Value<'_>, guild_id: u64) -> VoiceStateData {
    let mut out = VoiceStateData { guild_id, ..VoiceStateData::default() };
    let mut user_id = 0;
    let mut who = None;
    each(value, |key, value| match key {
        b"guild_id" => out.guild_id = id_or_none(value).unwrap_or(guild_id),
        b"channel_id" => out.channel_id = snowflake(value),
        b"user_id" => user_id = id(value),
        b"member" => who = Some(value),
        b"session_id" => out.session_id = text_or_none(value),
        b"self_mute" => out.self_mute = flag(value),
        b"self_deaf" => out.self_deaf = flag(value),
        b"self_video" => out.self_video = flag(value),
        b"self_stream" => out.self_stream = flag(value),
        b"mute" => out.mute = flag(value),
        b"deaf" => out.deaf = flag(value),
        b"suppress" => out.suppress = flag(value),
        _ => {}
    });
    let mut voice_member = who.filter(|who| who.kind() == Kind::Map).map(|who| member(who, out.guild_id)).unwrap_or_default();
    voice_member.guild_id = out.guild_id;
    if voice_member.id == 0 {
        voice_member.id = user_id;
    }
    out.member = Some(voice_member);
    out
}

/// An id that may be null, wrapped.
pub(crate) fn snowflake(value: Value<'_>) -> Option<crate::pylon::discord::v1::model::SnowflakeValue> {
    id_or_none(value).map(|value| crate::pylon::discord::v1::model::SnowflakeValue { value })
}

/// A list of ids, wrapped; `None` when it is no list.
pub(crate) fn snowflakes(value: Value<'_>) -> Option<crate::pylon::discord::v1::model::SnowflakeListValue> {
    (value.kind() == Kind::List).then(|| crate::pylon::discord::v1::model::SnowflakeListValue { values: ids(value) })
}
