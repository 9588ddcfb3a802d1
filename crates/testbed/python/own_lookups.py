"""Every lookup of trunkline.cache.v1, called with protoc's output for the files in proto/.

usage: own_lookups.py GENERATED_DIRECTORY ADDRESS BOT_ID GUILD_ID OTHER_GUILD_ID

Calls all methods about one guild: lists in pages, each element again by its id, each also for what is not there and in both raw
encodings, and prints one JSON object: what was found, and codes of calls that must be refused. OTHER_GUILD_ID is a guild that the
bot is not in.
"""

import json
import sys
from importlib import import_module

import grpc

NOBODY = 1
# Kinds with a method for one and a method for all, by the name of their field in an entry.
KINDS = {
    "Thread": "thread",
    "Sticker": "sticker",
    "ScheduledEvent": "scheduled_event",
    "StageInstance": "stage_instance",
    "Sound": "sound",
    "Ban": "ban",
    "VoiceChannel": "voice_channel",
}


def main(generated, address, bot, guild, other_guild):
    sys.path.insert(0, generated)
    own = import_module("trunkline.cache.v1.cache_pb2")
    event = import_module("trunkline.event.v1.raw_pb2")
    pylon = import_module("pylon.discord.v1.cache.cache_pb2")
    channel = grpc.insecure_channel(address)
    cache = import_module("trunkline.cache.v1.cache_pb2_grpc").CacheStub(channel)
    theirs = import_module("pylon.gateway.v1.service.cache_pb2_grpc").GatewayCacheStub(channel)
    of_bot = (("x-trunkline-bot-id", bot),)
    of_guild = of_bot + (("x-trunkline-guild-id", guild),)
    called, wrong, absent, result = set(), [], [], {}

    def call(method, request, metadata=of_guild):
        called.add(method)
        return getattr(cache, method)(request, metadata=metadata, timeout=20)

    def check(what, good):
        if not good:
            wrong.append(what)

    def pages(method):
        entries, after = [], 0
        while True:
            page = call(method, own.ListRequest(after=after, limit=2))
            check(f"{method}: a page of two at most", len(page.entries) <= 2)
            entries += page.entries
            if not page.more:
                return entries
            after = page.entries[-1].id

    for kind, field in KINDS.items():
        get, many = f"GetGuild{kind}", f"ListGuild{kind}s"
        entries = pages(many)
        result[field] = len(entries)
        check(f"{many}: ascends", all(a.id < b.id for a, b in zip(entries, entries[1:])))
        check(f"{many}: all at once", list(call(many, own.ListRequest()).entries) == entries)
        for one in entries:
            check(f"{many}: {field} of the guild", one.WhichOneof("object") == field and one.guild_id == int(guild) and not one.stale)
            check(f"{get}: as listed", call(get, own.GetRequest(id=one.id)).entry == one)
            text = call(get, own.GetRequest(id=one.id, raw=event.ENCODING_JSON)).entry.raw
            check(f"{get}: JSON", text.encoding == event.ENCODING_JSON and isinstance(json.loads(text.bytes), dict))
            term = call(get, own.GetRequest(id=one.id, raw=event.ENCODING_ETF)).entry.raw
            check(f"{get}: a map in ETF", term.encoding == event.ENCODING_ETF and term.bytes[:1] == b"\x74")
        absent.append([get, not call(get, own.GetRequest(id=NOBODY)).HasField("entry")])

    channels = [one.id for one in theirs.ListGuildChannels(pylon.ListGuildChannelsRequest(), metadata=of_guild).channels]
    roles = [one.id for one in theirs.ListGuildRoles(pylon.ListGuildRolesRequest(), metadata=of_guild).roles]
    members = [one.id for one in theirs.ListGuildMembers(pylon.ListGuildMembersRequest(), metadata=of_guild).members]
    for method, field, ids, metadata in [
        ("GetGuildChannels", "channel", channels, of_guild),
        ("GetGuildRoles", "role", roles, of_guild),
        ("GetGuildMembers", "member", members, of_guild),
        ("GetUsers", "user", members, of_bot),
    ]:
        wanted = ids[::-1]
        entries = call(method, own.GetManyRequest(ids=wanted[:1] + [NOBODY] + wanted[1:]), metadata).entries
        result[field] = len(entries)
        check(f"{method}: in the order asked for, without who is not there", [one.id for one in entries] == wanted)
        check(f"{method}: {field}", all(one.WhichOneof("object") == field for one in entries))

    messages = 0
    for one in channels:
        newest, before = [], 0
        while True:
            page = call("ListChannelMessages", own.ListChannelMessagesRequest(channel_id=one, before=before, limit=3))
            newest += page.entries
            if not page.more:
                break
            before = page.entries[-1].id
        check("ListChannelMessages: the newest first", all(a.id > b.id for a, b in zip(newest, newest[1:])))
        for message in newest:
            check("ListChannelMessages: of the channel", message.message.channel_id == one)
            check("GetMessage: as listed", call("GetMessage", own.GetRequest(id=message.id)).entry == message)
        messages += len(newest)
    result["message"] = messages
    absent.append(["GetMessage", not call("GetMessage", own.GetRequest(id=NOBODY)).HasField("entry")])
    absent.append(["ListChannelMessages", not call("ListChannelMessages", own.ListChannelMessagesRequest(channel_id=NOBODY)).entries])

    here = call("WhereIsGuild", own.WhereIsGuildRequest(guild_id=int(guild)), ()).places
    check("WhereIsGuild: one bot, here", [(one.bot_id, one.here, one.known) for one in here] == [(int(bot), True, True)])
    check("WhereIsGuild: by metadata", list(call("WhereIsGuild", own.WhereIsGuildRequest(), of_guild).places) == list(here))
    check("WhereIsGuild: its shard", here[0].shard_id == (int(guild) >> 22) % here[0].shard_count)
    elsewhere = call("WhereIsGuild", own.WhereIsGuildRequest(guild_id=int(other_guild)), ()).places
    check("WhereIsGuild: not in it", [one.known for one in elsewhere] == [False])

    counts = {one.name: one.count for one in call("GetCounts", own.GetCountsRequest()).kinds}
    result["counts"] = counts
    whole = call("GetCounts", own.GetCountsRequest(), of_bot)
    check("GetCounts: of the bot at least those of a guild", all(one.count >= counts.get(one.name, 0) for one in whole.kinds))
    result["bytes"], result["shards"] = whole.bytes, whole.shards

    refused = {}
    for name, method, request, metadata in [
        ("no guild", "ListGuildThreads", own.ListRequest(), of_bot),
        ("unknown bot", "ListGuildThreads", own.ListRequest(), (("x-trunkline-bot-id", "6"), ("x-trunkline-guild-id", guild))),
        ("malformed", "ListGuildThreads", own.ListRequest(), (("x-trunkline-guild-id", "x"),)),
        ("too many", "GetUsers", own.GetManyRequest(ids=range(1, 1002)), of_bot),
        ("nowhere", "WhereIsGuild", own.WhereIsGuildRequest(), ()),
    ]:
        try:
            call(method, request, metadata)
        except grpc.RpcError as error:
            refused[name] = [error.code().name, error.details()]
    result.update(wrong=sorted(set(wrong)), refused=refused, called=sorted(called), absent=absent)
    print(json.dumps(result))


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
