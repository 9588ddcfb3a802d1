//! The durable copy: what changed as rows to be saved, and rows taken back.
//!
//! A row's value is one byte, the version of its form, and then the object, packed. A store that was written in another form is refused
//! row by row with [`LoadError::Version`], so that the shard begins with a fresh cache and not with garbage.
//!
//! Presences and messages are in the durable copy only between a clean stop and the next start.

use bytes::Bytes;
use trunkline_discord::Object;
use trunkline_etf::{Encoding, Kind as TermKind, Limits, Value};

use crate::cache::{Cache, Guild, State};
use crate::heap::Handle;
use crate::key::{Key, Kind, LoadError};
use crate::pack::Packer;

/// First byte of every row's value.
pub const ROW_VERSION: u8 = 1;

/// Checked rows of a shard's durable copy, on their way to its cache. Unlike the cache they may be sent between threads.
#[derive(Default)]
pub struct Rows {
    keys: Vec<(Key, u32)>,
    /// One after the other, without their version bytes.
    values: Vec<u8>,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("count", &self.keys.len()).field("bytes", &self.values.len()).finish()
    }
}

impl Rows {
    /// Checks a row and keeps it.
    ///
    /// # Errors
    /// The row is none of a cache's; it was left out.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), LoadError> {
        let (key, value) = checked(key, value)?;
        self.keys.push((key, value.len() as u32));
        self.values.extend_from_slice(value);
        Ok(())
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// A row's key, and its value without the version byte.
fn checked<'a>(key: &[u8], value: &'a [u8]) -> Result<(Key, &'a [u8]), LoadError> {
    let key = Key::decode(key).ok_or(LoadError::Key)?;
    let bad = LoadError::Value(key.kind);
    // A row that is empty is damaged; it says nothing of another version, for which the whole shard's cache would go.
    let (&version, value) = value.split_first().ok_or(bad)?;
    if version != ROW_VERSION {
        return Err(LoadError::Version(key.kind));
    }
    if key.kind == Kind::State {
        let _ = state_row(value).ok_or(bad)?;
        return Ok((key, value));
    }
    if key.kind.outside() && key.guild != 0 {
        return Err(LoadError::Key);
    }
    let wanted = if key.kind.list() { TermKind::List } else { TermKind::Map };
    let read = Value::parse(Encoding::Packed, value, &Limits::GATEWAY).map_err(|_| bad)?;
    // Bytes around the object would be kept for nothing.
    if read.kind() != wanted || read.raw().len() != value.len() {
        return Err(bad);
    }
    Ok((key, value))
}

fn row(parts: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(1 + parts.len());
    out.push(ROW_VERSION);
    out.extend_from_slice(parts);
    Bytes::from(out)
}

impl Cache {
    /// Keys that have changed since the last call, each once, with what is now stored under them; `None`: nothing any more. Presences
    /// and messages are not among them.
    ///
    /// If they cannot be saved, keep them for the next try: they are not given again.
    pub fn take_changes(&mut self) -> Vec<(Vec<u8>, Option<Bytes>)> {
        self.tenant.settle();
        let (changed, whole) = (self.changed.take(), std::mem::take(&mut self.changed_guilds));
        for handle in changed.iter().filter_map(|key| self.find(*key)).collect::<Vec<_>>() {
            self.heap.unnote(handle);
        }
        let mut packer = Packer::default();
        // What lies in a guild that has changed as a whole comes with it.
        let alone = |key: &Key| !(whole.contains(&key.guild) && self.has(*key));
        let mut rows: Vec<_> = changed.into_iter().filter(alone).map(|key| (key.encode(), self.row(key, &mut packer))).collect();
        let mut users = Vec::new();
        for (guild, known) in whole.iter().filter_map(|guild| Some((guild, self.guilds.get(*guild)?))) {
            for (kind, table) in known.tables.each().filter(|(kind, _)| !kind.volatile()) {
                for handle in table.handles() {
                    let key = Key::new(kind, *guild, self.heap.id(handle));
                    if kind == Kind::Member {
                        users.push(key.id);
                    }
                    rows.push((key.encode(), self.packed(handle, &mut packer).map(row)));
                }
            }
        }
        rows.extend(self.outdated.drain(..).map(|key| (key.encode(), None)));
        self.tenant.take_changes(users, |user, bytes| rows.push((Key::new(Kind::User, 0, user).encode(), bytes.map(row))));
        rows
    }

    /// The same at a clean stop, with all presences and messages. Nothing may be applied afterwards: those rows are true at this position
    /// only.
    pub fn take_stop_changes(&mut self) -> Vec<(Vec<u8>, Option<Bytes>)> {
        let mut rows = self.take_changes();
        let mut packer = Packer::default();
        for (guild, known) in self.guilds.iter() {
            for handle in known.tables.get(Kind::Presence).into_iter().flat_map(|table| table.handles()) {
                let key = Key::new(Kind::Presence, guild, self.heap.id(handle));
                rows.extend(self.packed(handle, &mut packer).map(|bytes| (key.encode(), Some(row(bytes)))));
            }
        }
        let mut messages = Vec::new();
        self.add_messages(&mut messages);
        rows.extend(messages.into_iter().map(|(key, value)| (key, Some(value))));
        rows
    }

    /// Everything as rows, whatever has changed: for a store that has nothing yet, or another form of it. Users are those that guilds of this
    /// shard name.
    pub fn all_rows(&self) -> Vec<(Vec<u8>, Bytes)> {
        let mut rows = Vec::new();
        let mut packer = Packer::default();
        let mut add = |key: Key, bytes: &[u8]| rows.push((key.encode(), row(bytes)));
        for (guild, known) in self.guilds.iter() {
            add(Key::of_guild(Kind::State, guild), &encode_state(known));
            for (kind, table) in known.tables.each() {
                for handle in table.handles() {
                    if let Some(bytes) = self.packed(handle, &mut packer) {
                        add(Key::new(kind, guild, self.heap.id(handle)), bytes);
                    }
                }
            }
        }
        for (kind, table) in self.outside.each() {
            table.handles().for_each(|handle| add(Key::new(kind, 0, self.heap.id(handle)), self.heap.bytes(handle)));
        }
        self.tenant.each(|user, bytes| add(Key::new(Kind::User, 0, user), bytes));
        self.add_messages(&mut rows);
        rows
    }

    /// An object's packed bytes. None of one that came in a form that cannot be packed.
    fn packed<'a>(&'a self, handle: Handle, packer: &'a mut Packer) -> Option<&'a [u8]> {
        match self.heap.young(handle) {
            Some(object) => packer.value(object.value()).map(|()| packer.bytes()),
            None => Some(self.heap.bytes(handle)),
        }
    }

    fn add_messages(&self, rows: &mut Vec<(Vec<u8>, Bytes)>) {
        let mut packer = Packer::default();
        for (key, message) in self.message_rows() {
            if packer.value(message.value()).is_some() {
                rows.push((key.encode(), row(packer.bytes())));
            }
        }
    }

    /// How many keys [`Cache::take_changes`] would give, but for rows of a clean stop that are no longer true. What has changed once more in a
    /// guild that had changed as a whole counts twice, and so does a user for each such guild.
    pub fn changes_pending(&self) -> usize {
        let whole = self.changed_guilds.iter().filter_map(|guild| self.guilds.get(*guild));
        let objects = whole.flat_map(|known| known.tables.each()).filter(|(kind, _)| !kind.volatile()).map(|(_, table)| table.len());
        let users = self.changed_guilds.iter().map(|guild| self.count(Kind::Member, *guild));
        self.changed.len() + objects.sum::<usize>() + users.sum::<usize>() + self.tenant.changes_pending()
    }

    /// Takes one row of the durable copy back. Rows may come in any order, but before any event.
    ///
    /// # Errors
    /// The row is none of a cache's; nothing has changed then.
    pub fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), LoadError> {
        let (key, value) = checked(key, value)?;
        if self.take_row(key, value) { Ok(()) } else { Err(LoadError::Value(key.kind)) }
    }

    /// Takes rows back that were checked elsewhere; answers how many of them were no objects of their kind after all.
    pub fn load_rows(&mut self, rows: &Rows) -> u64 {
        let mut bad = 0;
        let mut at = 0;
        let mut messages = Vec::new();
        for (key, len) in &rows.keys {
            let end = at + *len as usize;
            let value = rows.values.get(at..end).unwrap_or_default();
            // Rows come guild by guild. Messages are taken in the order of all, each behind the others: in the middle of a quarter of a million
            // it would move half of them.
            if key.kind == Kind::Message {
                messages.push((*key, value));
            } else {
                bad += u64::from(!self.take_row(*key, value));
            }
            at = end;
        }
        messages.sort_unstable_by_key(|(key, _)| key.id);
        for (key, value) in messages {
            bad += u64::from(!self.take_row(key, value));
        }
        self.tenant.settle();
        bad
    }

    fn take_row(&mut self, key: Key, value: &[u8]) -> bool {
        if !self.config.keeps(key.kind) && key.kind != Kind::User {
            // It was switched off since; the rows go.
            self.outdated.push(key);
            return true;
        }
        if key.kind.volatile() {
            self.outdated.push(key);
        }
        match key.kind {
            Kind::State => {
                let Some((state, gone)) = state_row(value) else { return false };
                let known = self.enter(key.guild);
                known.state = state;
                known.gone_roles = gone.collect();
            }
            Kind::User => self.tenant.load(key.id, value),
            Kind::Message => {
                let object = Object { encoding: Encoding::Packed, bytes: Bytes::copy_from_slice(value) };
                return self.load_message(key, object);
            }
            kind => {
                if !kind.outside() {
                    // Its own row comes later, or was lost.
                    let number = self.enter(key.guild).number;
                    if kind == Kind::Member {
                        self.tenant.name(key.id, number);
                    }
                }
                self.lay(key, value, false);
            }
        }
        true
    }

    /// The row of a key that is no user's.
    fn row(&self, key: Key, packer: &mut Packer) -> Option<Bytes> {
        if key.kind == Kind::State {
            return Some(row(&encode_state(self.guilds.get(key.guild)?)));
        }
        Some(row(self.packed(self.find(key)?, packer)?))
    }
}

/// Bytes of a guild's state in its row; the ids of deleted roles follow.
const STATE_ROW: usize = 9;

fn encode_state(guild: &Guild) -> Vec<u8> {
    let state = guild.state;
    let flags = [state.awaited, state.unavailable, state.stale, state.member_count.is_some()];
    let flags = (0..).zip(flags).fold(0, |bits, (bit, flag)| bits | u8::from(flag) << bit);
    let mut out = vec![flags];
    out.extend_from_slice(&state.member_count.unwrap_or(0).to_le_bytes());
    guild.gone_roles.iter().for_each(|role| out.extend_from_slice(&role.to_le_bytes()));
    out
}

fn state_row(bytes: &[u8]) -> Option<(State, impl Iterator<Item = u64>)> {
    let (state, roles) = bytes.split_at_checked(STATE_ROW)?;
    let (flags, count) = state.split_first()?;
    let count = i64::from_le_bytes(count.try_into().ok()?);
    let flag = |bit: u8| flags & (1 << bit) != 0;
    let (roles, rest) = roles.as_chunks::<8>();
    (flags & 0xF0 == 0 && rest.is_empty()).then_some(())?;
    let state = State { awaited: flag(0), unavailable: flag(1), stale: flag(2), member_count: flag(3).then_some(count) };
    Some((state, roles.iter().map(|role| u64::from_le_bytes(*role))))
}
