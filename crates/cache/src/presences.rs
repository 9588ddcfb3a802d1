//! Presences, and voice states: told most often of all, and mostly replaced or gone before anybody reads them.
//!
//! One that PRESENCE_UPDATE or VOICE_STATE_UPDATE tells is kept as the event's own bytes, which the event's log shares; the one before it, told as the previous
//! object, is then bytes that lie there already. Such bytes are longer than packed ones, so they have a limit
//! ([`CacheConfig::presence_bytes`]): beyond it those told longest ago are packed, and so they are before any gives way to the budget.
//! Those of a GUILD_CREATE or of a members chunk are packed at once: their bytes lie in a far larger event.
//!
//! [`CacheConfig::presence_bytes`]: crate::CacheConfig::presence_bytes

use bytes::Bytes;
use trunkline_discord::{Field, Fields, Object, Routing};
use trunkline_etf::{Encoding, Value};

use crate::Change;
use crate::ahead::ask_for;
use crate::apply::id;
use crate::cache::Cache;
use crate::guilds::says_offline;
use crate::key::{Key, Kind};

/// A longer one is packed at once: it could make one event pack hundreds of short ones. People's have some 600 bytes.
const RAW_BYTES_MAX: usize = 8 * 1024;

impl Cache {
    /// Whether what an event tells with this body may be kept as it came.
    pub(crate) fn may_keep_raw(&self, body: &Bytes) -> bool {
        body.len() <= RAW_BYTES_MAX && self.config.presence_bytes > 0
    }

    /// Discord docs, Gateway Events: Presence Update. Its user may be partial.
    pub(crate) fn presence_update(&mut self, d: Value<'_>, fields: &Fields<'_>, ids: Routing, body: &Bytes) -> Option<Change> {
        let (told, status) = (fields.get(Field::User)?, fields.get(Field::Status));
        // The user of a presence is `user`, where no `user_id` says otherwise.
        let user = if fields.get(Field::UserId).is_none() { ids.user_id } else { id(told, "id") };
        let key = Key::new(Kind::Presence, ids.guild_id?, user?);
        // Offline is what everybody is who has no presence.
        let previous = if says_offline(status) {
            self.policy.not_online(key.guild, key.id);
            self.take_told(key)
        } else if self.may_keep_raw(body) {
            self.keep_raw(key, d.encoding(), body)
        } else {
            let previous = self.before(key);
            self.set(key, Some(d));
            previous
        };
        self.tell_user(key.guild, key.id, told);
        Some(Change::previous(previous))
    }

    /// Keeps an object as it came, with this body. Answers the one before, unless that may be old.
    pub(crate) fn keep_raw(&mut self, key: Key, encoding: Encoding, body: &Bytes) -> Option<Object> {
        if !self.config.keeps(key.kind) {
            return None;
        }
        let guild = self.guilds.get_mut(key.guild)?;
        let doubtful = guild.state.doubtful();
        let table = guild.tables.get_or_add(key.kind);
        if let Some(handle) = table.likely(key.id) {
            self.heap.ask_for(handle, 0);
        }
        // The one before comes while its successor's bytes are shared.
        let object = Object { encoding, bytes: body.clone() };
        let size = &mut self.sizes[key.kind as usize];
        let mut previous = None;
        let place = table.place(&self.heap, key.id);
        let kept = match place.and_then(|place| Some((place, table.at(place)?))) {
            Some((place, handle)) => match self.heap.replace_young(handle, object) {
                Ok(before) => {
                    size.bytes = size.bytes + body.len() as u64 - before.bytes.len() as u64;
                    // Most often it is told next.
                    before.bytes.first().into_iter().for_each(ask_for);
                    previous = Some(before);
                    handle
                }
                Err(object) => {
                    size.bytes -= self.heap.cost(handle);
                    let kept = self.heap.put_young(key.guild, key.id, object);
                    table.exchange_at(place, key.id, kept);
                    if doubtful {
                        self.heap.free(handle);
                    } else {
                        previous = Some(self.heap.take(handle));
                    }
                    size.bytes += self.heap.cost(kept);
                    kept
                }
            },
            None => {
                let kept = self.heap.put_young(key.guild, key.id, object);
                size.count += 1;
                size.bytes += self.heap.cost(kept);
                let before = table.bytes();
                table.add(key.id, kept);
                self.table_bytes = self.table_bytes + table.bytes() - before;
                kept
            }
        };
        self.note(key, Some(kept));
        while self.heap.young_bytes() > self.config.presence_bytes && self.pack_oldest() {}
        previous.filter(|_| !doubtful)
    }

    /// Packs what was told longest ago of that which lies as it came; whether there was any.
    pub(crate) fn pack_oldest(&mut self) -> bool {
        let Some((guild, handle)) = self.heap.oldest_young() else { return false };
        let mut scratch = std::mem::take(&mut self.scratch);
        let presence = Key::new(Kind::Presence, guild, self.heap.id(handle));
        let key = if self.find(presence) == Some(handle) { presence } else { Key { kind: Kind::VoiceState, ..presence } };
        if scratch.value(self.heap.value(handle)).is_some()
            && let Some(known) = self.guilds.get_mut(guild)
        {
            let size = &mut self.sizes[key.kind as usize];
            size.bytes -= self.heap.cost(handle);
            let packed = self.heap.put(key.id, [scratch.bytes(), &[]]);
            size.bytes += self.heap.cost(packed);
            known.tables.get_or_add(key.kind).exchange(&self.heap, key.id, packed);
            self.heap.free(handle);
        } else {
            // What has no packed form is nothing that anybody could be told of later.
            self.set(key, None);
            self.policy.count(key.kind, 1);
        }
        self.scratch = scratch;
        true
    }

    /// Puts a presence that lies in a larger event. Offline is what everybody is who has no presence.
    pub(crate) fn put_presence(&mut self, guild: u64, user: u64, presence: Value<'_>) {
        let [status, told] = presence.get_all(["status", "user"]);
        if says_offline(status) {
            self.gone_offline(guild, user);
        } else {
            self.set(Key::new(Kind::Presence, guild, user), Some(presence));
        }
        if let Some(told) = told {
            self.tell_user(guild, user, told);
        }
    }

    /// Somebody was told to be offline.
    pub(crate) fn gone_offline(&mut self, guild: u64, user: u64) {
        self.policy.not_online(guild, user);
        self.set(Key::new(Kind::Presence, guild, user), None);
    }

    /// A presence's user has mostly nothing but its id.
    #[inline]
    fn tell_user(&mut self, guild: u64, user: u64, told: Value<'_>) {
        // A map with one entry, as a map's head says: nothing needs to be counted.
        let bare = told.encoding() == Encoding::Etf && told.raw().starts_with(b"t\0\0\0\x01");
        if !bare && told.len() > 1 && self.knows(guild) {
            self.merge_user(user, told);
        }
    }
}
