//! Threads. Discord docs, Topics: Threads; Gateway Events: Threads.

use trunkline_etf::Value;

use crate::model::presence::presence;
use crate::model::user::{member, snowflake, snowflakes};
use crate::pylon::discord::v1::event::EventScope;
use crate::read::{each, flag, id, id_or_none, ids, list, number, object, text, time};
use crate::trunkline::event::v1::{ThreadData, ThreadListSyncEvent, ThreadMemberData, ThreadMembersUpdateEvent, ThreadMetadata};

/// Discord docs, Channel Resource: Channel Object, of a thread. The guild is the given one unless the object names one.
pub fn thread(value: Value<'_>, guild_id: u64) -> ThreadData {
    let mut out = ThreadData { guild_id, ..ThreadData::default() };
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"guild_id" => out.guild_id = id_or_none(value).unwrap_or(guild_id),
        b"parent_id" => out.parent_id = id(value),
        b"owner_id" => out.owner_id = id(value),
        b"name" => out.name = text(value),
        b"type" => out.r#type = number(value),
        b"last_message_id" => out.last_message_id = snowflake(value),
        b"last_pin_timestamp" => out.last_pin_timestamp = time(value),
        b"message_count" => out.message_count = number(value),
        b"member_count" => out.member_count = number(value),
        b"total_message_sent" => out.total_message_sent = number(value),
        b"rate_limit_per_user" => out.rate_limit_per_user = number(value),
        b"flags" => out.flags = number(value),
        b"applied_tags" => out.applied_tags = ids(value),
        b"thread_metadata" => out.metadata = object(value, metadata),
        b"member" => out.member = object(value, |value| thread_member(value, guild_id, 0)),
        _ => {}
    });
    // Inside of a thread its member lacks the thread's id.
    if let Some(member) = &mut out.member
        && member.thread_id == 0
    {
        member.thread_id = out.id;
    }
    out
}

fn metadata(value: Value<'_>) -> ThreadMetadata {
    let mut out = ThreadMetadata::default();
    each(value, |key, value| match key {
        b"archived" => out.archived = flag(value),
        b"auto_archive_duration" => out.auto_archive_duration = number(value),
        b"archive_timestamp" => out.archive_timestamp = time(value),
        b"locked" => out.locked = flag(value),
        b"invitable" => out.invitable = value.as_bool(),
        b"create_timestamp" => out.create_timestamp = time(value),
        _ => {}
    });
    out
}

pub(super) fn thread_member(value: Value<'_>, guild_id: u64, thread_id: u64) -> ThreadMemberData {
    let mut out = ThreadMemberData { thread_id, ..ThreadMemberData::default() };
    each(value, |key, value| match key {
        b"id" => out.thread_id = id_or_none(value).unwrap_or(thread_id),
        b"user_id" => out.user_id = id(value),
        b"join_timestamp" => out.join_timestamp = time(value),
        b"flags" => out.flags = number(value),
        b"member" => out.member = object(value, |value| member(value, guild_id)),
        b"presence" => out.presence = object(value, |value| presence(value, guild_id)),
        _ => {}
    });
    out
}

pub(super) fn list_sync(value: Value<'_>, scope: Option<EventScope>, guild_id: u64) -> ThreadListSyncEvent {
    let mut out = ThreadListSyncEvent { scope, guild_id, ..ThreadListSyncEvent::default() };
    each(value, |key, value| match key {
        b"channel_ids" => out.channel_ids = snowflakes(value),
        b"threads" => out.threads = list(value, |value| thread(value, guild_id)),
        b"members" => out.members = list(value, |value| thread_member(value, guild_id, 0)),
        _ => {}
    });
    out
}

pub(super) fn members_update(value: Value<'_>, scope: Option<EventScope>, guild_id: u64) -> ThreadMembersUpdateEvent {
    let mut out = ThreadMembersUpdateEvent { scope, guild_id, ..ThreadMembersUpdateEvent::default() };
    out.thread_id = value.get("id").map_or(0, id);
    each(value, |key, value| match key {
        b"member_count" => out.member_count = number(value),
        b"added_members" => out.added_members = list(value, |value| thread_member(value, guild_id, out.thread_id)),
        b"removed_member_ids" => out.removed_member_ids = ids(value),
        _ => {}
    });
    out
}
