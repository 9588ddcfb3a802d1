"""Every lookup of the published interface, called with protoc's output for it and nothing of Trunkline's own.

usage: lookups.py GENERATED_DIRECTORY ADDRESS BOT_ID GUILD_ID

Calls all methods of GatewayCache and Gateway about one guild, each also for what is not there, pages through the members to the
end, and prints one JSON object: what was found, codes of calls that must be refused, and fields that the interface does not know.
"""

import json
import sys
from importlib import import_module

import grpc
from google.protobuf.unknown_fields import UnknownFieldSet

# Trunkline's own fields begin here: a client of the published interface skips them unseen.
OURS_FROM = 100
NOBODY = 1


def theirs_unknown(message):
    """Fields below Trunkline's that the published interface does not have, anywhere in the message."""
    name = message.DESCRIPTOR.full_name
    found = [f"{name}:{field.field_number}" for field in UnknownFieldSet(message) if field.field_number < OURS_FROM]
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for inner in [value] if hasattr(value, "DESCRIPTOR") else value:
            found += theirs_unknown(inner)
    return found


def main(generated, address, bot, guild):
    sys.path.insert(0, generated)
    model = import_module("pylon.discord.v1.cache_pb2")
    gateway_model = import_module("pylon.discord.v1.gateway_pb2")
    shapes = import_module("pylon.discord.v1.model_pb2")
    service = import_module("pylon.gateway.v1.service_pb2_grpc")
    channel = grpc.insecure_channel(address)
    cache, gateway = service.GatewayCacheStub(channel), service.GatewayStub(channel)
    metadata = (("x-pylon-bot-id", bot), ("x-pylon-guild-id", guild))
    unknown, refused, called = [], {}, set()

    def call(stub, method, request, with_metadata=metadata):
        answer = getattr(stub, method)(request, metadata=with_metadata, timeout=20)
        called.add(method)
        unknown.extend(theirs_unknown(answer))
        return answer

    def refusal(name, stub, method, request, with_metadata):
        try:
            getattr(stub, method)(request, metadata=with_metadata, timeout=20)
        except grpc.RpcError as error:
            refused[name] = [error.code().name, error.details()]

    empty = []

    def absent(stub, method, request, field):
        """An object that is not there: an OK answer without it."""
        answer = call(stub, method, request)
        empty.append([method, not answer.HasField(field)])

    result = {}
    found = call(cache, "GetGuild", model.GetGuildRequest())
    result["guild"] = [found.guild.id, found.guild.name, found.guild.member_count]
    channels = call(cache, "ListGuildChannels", model.ListGuildChannelsRequest()).channels
    result["channels"] = len(channels)
    result["channels_found"] = sum(
        call(cache, "GetGuildChannel", model.GetGuildChannelRequest(channel_id=one.id)).channel == one for one in channels
    )
    absent(cache, "GetGuildChannel", model.GetGuildChannelRequest(channel_id=NOBODY), "channel")
    roles = call(cache, "ListGuildRoles", model.ListGuildRolesRequest()).roles
    result["roles"] = len(roles)
    result["roles_found"] = sum(call(cache, "GetGuildRole", model.GetGuildRoleRequest(role_id=one.id)).role == one for one in roles)
    absent(cache, "GetGuildRole", model.GetGuildRoleRequest(role_id=NOBODY), "role")
    emojis = call(cache, "ListGuildEmojis", model.ListGuildEmojisRequest()).emojis
    result["emojis"] = len(emojis)
    result["emojis_found"] = sum(
        call(cache, "GetGuildEmoji", model.GetGuildEmojiRequest(emoji_id=one.id)).emoji == one
        and call(gateway, "FindEmoji", gateway_model.FindEmojiRequest(emoji_id=one.id)).emoji == one
        for one in emojis
    )
    absent(cache, "GetGuildEmoji", model.GetGuildEmojiRequest(emoji_id=NOBODY), "emoji")
    absent(gateway, "FindEmoji", gateway_model.FindEmojiRequest(emoji_id=NOBODY), "emoji")

    # Pages as Pylon's clients make them: until one is not full.
    members, after, limit = [], 0, 7
    while True:
        page = call(cache, "ListGuildMembers", model.ListGuildMembersRequest(after=after, limit=limit)).members
        members += page
        if len(page) < limit:
            break
        after = page[-1].id
    result["members"] = len(members)
    result["members_ascend"] = all(a.id < b.id for a, b in zip(members, members[1:]))
    result["members_found"] = sum(
        call(cache, "GetGuildMember", model.GetGuildMemberRequest(user_id=one.id)).member == one for one in members
    )
    result["users_found"] = sum(
        call(cache, "GetUser", model.GetUserRequest(user_id=one.id)).user == one.user
        and call(gateway, "FindUser", gateway_model.FindUserRequest(user_id=one.id)).user == one.user
        for one in members
    )
    result["mutual"] = sum(
        int(guild) in [g.id for g in call(gateway, "FindUserMutualGuilds", gateway_model.GetUserMutualGuildsRequest(user_id=one.id)).guilds]
        for one in members
    )
    absent(cache, "GetGuildMember", model.GetGuildMemberRequest(user_id=NOBODY), "member")
    absent(cache, "GetUser", model.GetUserRequest(user_id=NOBODY), "user")
    absent(gateway, "FindUser", gateway_model.FindUserRequest(user_id=NOBODY), "user")
    empty.append(
        ["FindUserMutualGuilds", not call(gateway, "FindUserMutualGuilds", gateway_model.GetUserMutualGuildsRequest(user_id=NOBODY)).guilds]
    )

    find = model.FindGuildMembersRequest
    name = members[0].user.username

    def found_by(**what):
        return [one.id for one in call(cache, "FindGuildMembers", find(**what)).members]

    result["by_name"] = members[0].id in found_by(name={"value": name})
    result["by_prefix"] = members[0].id in found_by(prefix={"value": name[: len(name) // 2 + 1].upper()})
    role = next(role for one in members for role in one.roles)
    result["by_role"] = found_by(role_id={"value": role}) == [one.id for one in members if role in one.roles]
    result["by_limit"] = len(found_by(limit=3))
    result["by_nothing_that_is"] = found_by(name={"value": "\x01nobody"})

    statuses = {}
    for one in members:
        presence = call(cache, "GetGuildMemberPresence", model.GetGuildMemberPresenceRequest(user_id=one.id))
        if presence.HasField("presence"):
            statuses.setdefault(presence.presence.status, []).append(one.id)
    result["presences"] = sum(len(ids) for ids in statuses.values())
    result["by_status"] = all(found_by(status=status) == ids for status, ids in statuses.items())
    absent(cache, "GetGuildMemberPresence", model.GetGuildMemberPresenceRequest(user_id=NOBODY), "presence")

    voices = []
    for one in members:
        state = call(cache, "GetGuildMemberVoiceState", model.GetGuildMemberVoiceStateRequest(user_id=one.id))
        if state.HasField("voice_state_data"):
            voices.append(state.voice_state_data)
    result["voice"] = len(voices)
    by_channel = {}
    for one in voices:
        by_channel.setdefault(one.channel_id.value, []).append(one.member.id)
    request = model.ListGuildChannelVoiceStatesRequest
    result["voice_listed"] = all(
        [one.member.id for one in call(cache, "ListGuildChannelVoiceStates", request(channel_id=channel)).voice_states_data] == ids
        for channel, ids in by_channel.items()
    )
    absent(cache, "GetGuildMemberVoiceState", model.GetGuildMemberVoiceStateRequest(user_id=NOBODY), "voice_state_data")
    empty.append(["ListGuildChannelVoiceStates", not call(cache, "ListGuildChannelVoiceStates", request(channel_id=NOBODY)).voice_states_data])

    stats = call(gateway, "GetStats", gateway_model.GetStatsRequest())
    result["stats"] = [stats.guild_count, stats.member_count, stats.user_count, stats.connected_channels, stats.shard_count]
    voice_type = shapes.ChannelData.GUILD_VOICE
    speak = next(one.id for one in channels if one.type == voice_type)
    call(gateway, "UpdateVoiceState", gateway_model.UpdateVoiceStateRequest(guild_id=int(guild), channel_id=speak, self_deaf=True))
    activity = gateway_model.UpdateStatusRequest.ActivityData(name="a game", type=shapes.PresenceData.PresenceActivityData.DEFAULT)
    call(gateway, "UpdateStatus", gateway_model.UpdateStatusRequest(activities=[activity], status=shapes.PresenceData.IDLE))

    no_guild, other_bot = (("x-pylon-bot-id", bot),), (("x-pylon-bot-id", "6"), ("x-pylon-guild-id", guild))
    refusal("no guild", cache, "GetGuild", model.GetGuildRequest(), no_guild)
    refusal("unknown bot", cache, "GetGuild", model.GetGuildRequest(), other_bot)
    refusal("malformed", cache, "GetGuild", model.GetGuildRequest(), (("x-pylon-guild-id", "x"),))
    refusal("wrong token", cache, "GetGuild", model.GetGuildRequest(), metadata + (("authorization", "Bearer wrong"),))
    refusal("wrong status", gateway, "UpdateStatus", gateway_model.UpdateStatusRequest(activities=[{"name": "x"}]), no_guild)
    result.update(unknown_fields=sorted(set(unknown)), refused=refused, called=sorted(called), absent=empty)
    print(json.dumps(result))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
