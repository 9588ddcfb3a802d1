//! Channels and threads. Channels outside guilds are not kept: bots are told of none.

use trunkline_etf::Value;

use crate::Change;
use crate::apply::{id, items, user_id};
use crate::cache::Cache;
use crate::guilds::{archived, ids};
use crate::key::{Key, Kind};
use crate::stored::{self, Stored};

impl Cache {
    pub(crate) fn channel_upsert(&mut self, d: Value<'_>, update: bool) -> Option<Change> {
        let channel = id(d, "id")?;
        let Some(guild) = id(d, "guild_id") else { return Some(Change::NONE) };
        let previous = self.put(Key::new(Kind::Channel, guild, channel), Some(Stored::copy_of(d)));
        Some(Change::previous(self.told(guild, previous).filter(|_| update).map(|channel| channel.object())))
    }

    /// Takes the channel's threads with it: whether Discord tells of each is not documented.
    pub(crate) fn channel_delete(&mut self, d: Value<'_>) -> Option<Change> {
        let channel = id(d, "id")?;
        let Some(guild) = id(d, "guild_id") else { return Some(Change::NONE) };
        self.put(Key::new(Kind::Channel, guild, channel), None);
        self.drop_threads(guild, |parent| parent == Some(channel));
        Some(Change::NONE)
    }

    pub(crate) fn channel_pins(&mut self, d: Value<'_>) -> Option<Change> {
        let channel = id(d, "channel_id")?;
        let (Some(guild), Some(at)) = (id(d, "guild_id"), d.get("last_pin_timestamp")) else { return Some(Change::NONE) };
        for kind in [Kind::Channel, Kind::Thread] {
            self.rewrite(Key::new(kind, guild, channel), &[], Some(("last_pin_timestamp", at)))?;
        }
        Some(Change::NONE)
    }

    /// Discord docs, Threads. An archived thread is no active one; the bot's own membership comes with some events only, and stays.
    pub(crate) fn thread_upsert(&mut self, d: Value<'_>) -> Option<Change> {
        let (guild, thread) = (id(d, "guild_id")?, id(d, "id")?);
        let stored = self.thread_form(guild, thread, d, None)?;
        self.put(Key::new(Kind::Thread, guild, thread), stored);
        Some(Change::NONE)
    }

    pub(crate) fn thread_delete(&mut self, d: Value<'_>) -> Option<Change> {
        self.put(Key::new(Kind::Thread, id(d, "guild_id")?, id(d, "id")?), None);
        Some(Change::NONE)
    }

    /// Discord docs, Gateway Events: Thread List Sync. What is listed replaces all active threads of the channels named.
    pub(crate) fn thread_list_sync(&mut self, d: Value<'_>) -> Option<Change> {
        let guild = id(d, "guild_id")?;
        d.get("threads")?;
        let parents = d.get("channel_ids").map(|_| ids(d, "channel_ids"));
        self.drop_threads(guild, |parent| match (&parents, parent) {
            (None, _) => true,
            (Some(parents), Some(parent)) => parents.contains(&parent),
            (Some(_), None) => false,
        });
        for thread in items(d, "threads") {
            let Some(thread_id) = id(thread, "id") else { continue };
            let own = items(d, "members").find(|member| id(*member, "id") == Some(thread_id));
            if let Some(stored) = self.thread_form(guild, thread_id, thread, own) {
                self.put(Key::new(Kind::Thread, guild, thread_id), stored);
            }
        }
        Some(Change::NONE)
    }

    pub(crate) fn thread_member(&mut self, d: Value<'_>) -> Option<Change> {
        let (guild, thread) = (id(d, "guild_id")?, id(d, "id")?);
        self.rewrite(Key::new(Kind::Thread, guild, thread), &[], Some(("member", d)))?;
        Some(Change::NONE)
    }

    /// Discord docs, Gateway Events: Thread Members Update.
    pub(crate) fn thread_members(&mut self, d: Value<'_>) -> Option<Change> {
        let (guild, thread) = (id(d, "guild_id")?, id(d, "id")?);
        let left = self.own_user_id().is_some_and(|own| ids(d, "removed_member_ids").contains(&own));
        let count = d.get("member_count").map(|count| ("member_count", count));
        let drop: &[&str] = if left { &["member"] } else { &[] };
        self.rewrite(Key::new(Kind::Thread, guild, thread), drop, count)?;
        for added in items(d, "added_members") {
            let Some(member) = added.get("member") else { continue };
            let Some(user) = user_id(member) else { continue };
            self.refresh_member(guild, user, member);
            if let Some(presence) = added.get("presence").filter(|presence| user_id(*presence) == Some(user)) {
                self.set_presence(guild, user, presence);
            }
        }
        Some(Change::NONE)
    }

    /// What is kept of a thread: nothing of an archived one; else the thread without the mark of its creation, with the bot's membership
    /// as given, else as sent, else as known. The outer `None`: it cannot be written.
    fn thread_form(&self, guild: u64, thread: u64, d: Value<'_>, own: Option<Value<'_>>) -> Option<Option<Stored>> {
        if archived(d) {
            return Some(None);
        }
        let known = self.guilds.get(&guild).and_then(|known| known.threads.get(&thread));
        let own = match (own, d.get("member")) {
            (Some(own), _) => Some(own),
            (None, Some(_)) => None,
            (None, None) => known.and_then(|known| known.value().get("member")),
        };
        if own.is_none() && d.get("newly_created").is_none() {
            return Some(Some(Stored::copy_of(d)));
        }
        stored::merged(None, Some(d), &["newly_created"], own.map(|own| ("member", own))).map(Some)
    }

    /// Writes an object anew, without some fields and with another one, if it is there. `None`: it cannot be written.
    fn rewrite(&mut self, key: Key, drop: &[&str], more: Option<(&'static str, Value<'_>)>) -> Option<()> {
        let Some(old) = self.guilds.get(&key.guild).and_then(|known| known.get(key.kind, key.id)) else { return Some(()) };
        let stored = stored::merged(Some(old.value()), None, drop, more)?;
        self.put(key, Some(stored));
        Some(())
    }

    fn drop_threads(&mut self, guild: u64, of: impl Fn(Option<u64>) -> bool) {
        let Some(known) = self.guilds.get(&guild) else { return };
        let gone: Vec<u64> =
            known.threads.iter().filter(|(_, thread)| of(id(thread.value(), "parent_id"))).map(|(thread, _)| *thread).collect();
        for thread in gone {
            self.put(Key::new(Kind::Thread, guild, thread), None);
        }
    }
}
