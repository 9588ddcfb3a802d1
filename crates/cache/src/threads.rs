//! Active threads, each with the bot's own membership as its `member`. Discord docs, Topics: Threads.

use trunkline_discord::message::without;
use trunkline_discord::{Field, Fields};
use trunkline_etf::Value;

use crate::Change;
use crate::apply::{id, ids, items, user_id};
use crate::cache::Cache;
use crate::guilds::archived;
use crate::key::{Key, Kind};

/// Types of channels that hold nothing but threads. Discord docs, Channel: Channel Types, forum and media.
const THREADS_ONLY: [u64; 2] = [15, 16];

impl Cache {
    /// Discord docs, Gateway Events: Thread Create. It also comes for a thread that is known, when the bot is added to it.
    pub(crate) fn thread_create(&mut self, d: Value<'_>, fields: &Fields<'_>) -> Option<Change> {
        let (guild_id, thread_id) = (fields.get(Field::GuildId)?, fields.get(Field::Id)?);
        let guild = guild_id.as_id()?;
        let thread = thread_id.as_id()?;
        let [newly_created, parent] = d.get_all(["newly_created", "parent_id"]);
        self.put_thread(guild, thread, d, guild_id);
        if newly_created.and_then(Value::as_bool) == Some(true)
            && let Some(parent) = parent.and_then(Value::as_id)
        {
            let key = Key::new(Kind::Channel, guild, parent);
            let newest = self.get(key).is_some_and(|parent| {
                let [kind, last] = parent.get_all(["type", "last_message_id"]);
                let holds_threads = kind.and_then(Value::as_u64).is_some_and(|kind| THREADS_ONLY.contains(&kind));
                holds_threads && last.and_then(Value::as_id).is_none_or(|last| last < thread)
            });
            if newest {
                self.edit(key, &[], &[("last_message_id", thread_id)]);
            }
        }
        Some(Change::NONE)
    }

    pub(crate) fn thread_update(&mut self, d: Value<'_>, fields: &Fields<'_>) -> Option<Change> {
        let (guild_id, thread) = (fields.get(Field::GuildId)?, fields.id(Field::Id)?);
        let guild = guild_id.as_id()?;
        let previous = self.before(Key::new(Kind::Thread, guild, thread));
        self.put_thread(guild, thread, d, guild_id);
        Some(Change::previous(previous))
    }

    pub(crate) fn thread_delete(&mut self, d: Value<'_>) -> Option<Change> {
        let key = Key::new(Kind::Thread, id(d, "guild_id")?, id(d, "id")?);
        let previous = self.before(key);
        self.set(key, None);
        self.messages.remove_channel(key.id);
        Some(Change::previous(previous))
    }

    /// Discord docs, Gateway Events: Thread List Sync. What is listed replaces all active threads of the channels named.
    pub(crate) fn thread_list_sync(&mut self, d: Value<'_>) -> Option<Change> {
        let guild_id = d.get("guild_id")?;
        let guild = guild_id.as_id()?;
        d.get("threads")?;
        let parents = d.get("channel_ids").filter(|parents| !parents.is_null()).map(ids);
        self.drop_where(Kind::Thread, guild, |thread| match (&parents, id(thread, "parent_id")) {
            (None, _) => true,
            (Some(parents), Some(parent)) => parents.contains(&parent),
            (Some(_), None) => false,
        });
        for thread in items(d, "threads") {
            if let Some(thread_id) = id(thread, "id") {
                self.put_thread(guild, thread_id, thread, guild_id);
            }
        }
        for own in items(d, "members") {
            if let Some(thread) = id(own, "id") {
                self.edit(Key::new(Kind::Thread, guild, thread), &[], &[("member", own)]);
            }
        }
        Some(Change::NONE)
    }

    /// Discord docs, Gateway Events: Thread Member Update. Only of the bot itself.
    pub(crate) fn thread_member(&mut self, d: Value<'_>) -> Option<Change> {
        let (guild, thread) = (id(d, "guild_id")?, id(d, "id")?);
        let key = Key::new(Kind::Thread, guild, thread);
        let before = |thread: Value<'_>| thread.get("member").map(trunkline_discord::Object::copy_of);
        let previous = self.before(key).and_then(|thread| before(thread.value()));
        self.edit(key, &[], &[("member", d)]);
        Some(Change::previous(previous))
    }

    /// Discord docs, Gateway Events: Thread Members Update.
    pub(crate) fn thread_members(&mut self, d: Value<'_>) -> Option<Change> {
        let (guild, thread) = (id(d, "guild_id")?, id(d, "id")?);
        let key = Key::new(Kind::Thread, guild, thread);
        let own = self.own_user_id();
        let left = own.is_some_and(|own| items(d, "removed_member_ids").any(|user| user.as_id() == Some(own)));
        let drop: &[&str] = if left { &["member"] } else { &[] };
        let count = d.get("member_count").map(|count| ("member_count", count));
        self.edit(key, drop, count.as_slice());
        for added in items(d, "added_members") {
            let Some(member) = added.get("member") else { continue };
            let Some(user) = user_id(member) else { continue };
            if own == Some(user)
                && let Some(own) = without(added, &["member", "presence"])
            {
                self.edit(key, &[], &[("member", own.value())]);
            }
            self.refresh_member(guild, user, member, true);
            if let Some(presence) = added.get("presence").filter(|presence| user_id(*presence) == Some(user)) {
                self.put_presence(guild, user, presence);
            }
        }
        Some(Change::NONE)
    }

    /// Keeps a thread, unless it is archived: then it is no active one. The bot's membership comes with some events only, and stays.
    fn put_thread(&mut self, guild: u64, thread: u64, d: Value<'_>, guild_id: Value<'_>) {
        let key = Key::new(Kind::Thread, guild, thread);
        if archived(d) {
            self.set(key, None);
            return;
        }
        let own = match d.get("member") {
            Some(_) => None,
            None => self.get(key).and_then(|known| known.get("member")).map(trunkline_discord::Object::copy_of),
        };
        match own {
            Some(own) => {
                self.set_in_guild(key, d, guild_id, &["newly_created"]);
                self.edit(key, &[], &[("member", own.value())]);
            }
            None => drop(self.set_in_guild(key, d, guild_id, &["newly_created"])),
        }
    }
}
