"""A bot on an unmodified discord.py: logs in, looks at its guilds and members, listens, and tells what it saw as one JSON line.

Usage: discord_bot.py API TOKEN MESSAGES RESUMES SECONDS. Only the REST base address is set; the gateway's comes from
GET /gateway/bot. It ends when it has seen so many messages and so many shards resume, each step within so many seconds.
"""

import asyncio
import json
import logging
import sys

import discord
import discord.http

api, token = sys.argv[1:3]
messages_wanted, resumes_wanted, seconds = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
discord.http.Route.BASE = api


class Complaints(logging.Handler):
    """What the library itself found odd."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        text = record.getMessage()
        if record.exc_info:
            text += f": {record.exc_info[1]!r}"
        # Voice needs libraries that have nothing to do with the gateway.
        if "PyNaCl" not in text and "davey" not in text:
            self.lines.append(text)


class Bot(discord.AutoShardedClient):
    def __init__(self):
        super().__init__(intents=discord.Intents.all(), chunk_guilds_at_startup=True)
        self.seen = {"messages": 0, "checked": 0, "raw": {}, "resumed": [], "errors": []}
        self.enough = asyncio.Event()
        self.is_up = asyncio.Event()

    async def on_ready(self):
        self.is_up.set()

    async def on_message(self, message):
        self.seen["messages"] += 1
        # Before all members were asked for, an author may be unknown.
        if message.guild is not None and message.guild.chunked and message.webhook_id is None:
            self.seen["checked"] += 1
            known = message.channel == message.guild.get_channel_or_thread(message.channel.id)
            member = message.guild.get_member(message.author.id)
            same = member is not None and (member.nick, member.roles) == (message.author.nick, message.author.roles)
            self.seen["author_is_member"] = self.seen.get("author_is_member", True) and same
            self.seen["channel_is_known"] = self.seen.get("channel_is_known", True) and known
        self.look()

    async def on_shard_resumed(self, shard):
        self.seen["resumed"].append(shard)
        self.look()

    def look(self):
        if self.seen["checked"] >= messages_wanted and len(self.seen["resumed"]) >= resumes_wanted:
            self.enough.set()

    async def on_socket_event_type(self, kind):
        self.seen["raw"][kind] = self.seen["raw"].get(kind, 0) + 1

    async def on_error(self, event, *args):
        self.seen["errors"].append(f"{event}: {sys.exc_info()[1]!r}")


async def main():
    complaints = Complaints()
    logging.getLogger("discord").addHandler(complaints)
    bot = Bot()
    seen = bot.seen
    async with bot:
        running = asyncio.create_task(bot.start(token))
        up = asyncio.create_task(bot.is_up.wait())
        await asyncio.wait([running, up], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        if bot.is_up.is_set():
            seen["user"] = bot.user.id
            seen["shards"] = sorted(bot.shards)
            seen["guilds"] = sorted(guild.id for guild in bot.guilds)
            seen["members"] = [guild.member_count for guild in bot.guilds]
            seen["chunked"] = all(guild.chunked for guild in bot.guilds)
            seen["cached_members"] = [len(guild.members) for guild in bot.guilds]
            seen["channels"] = min(len(guild.channels) for guild in bot.guilds)
            seen["threads"] = min(len(guild.threads) for guild in bot.guilds)
            seen["roles"] = min(len(guild.roles) for guild in bot.guilds)
            seen["scheduled_events"] = sum(len(guild.scheduled_events) for guild in bot.guilds)
            seen["stage_instances"] = sum(len(guild.stage_instances) for guild in bot.guilds)
            seen["soundboard_sounds"] = sum(len(guild.soundboard_sounds) for guild in bot.guilds)
            seen["mutual_guilds_max"] = max(len(user.mutual_guilds) for user in bot.users)
            found = await bot.guilds[0].query_members(user_ids=[bot.guilds[0].owner_id], cache=False)
            seen["found"] = [member.id for member in found] == [bot.guilds[0].owner_id]
            fetched = await bot.fetch_guild(bot.guilds[0].id, with_counts=False)
            seen["fetched"] = (fetched.id, len(fetched.stickers)) == (bot.guilds[0].id, len(bot.guilds[0].stickers))
            try:
                await asyncio.wait_for(bot.enough.wait(), seconds)
            except asyncio.TimeoutError:
                seen["errors"].append("not enough messages or resumes")
    seen["complaints"] = complaints.lines
    print(json.dumps(seen))


asyncio.run(main())
