//! Users, each once for all the shards of one bot on one core, however many guilds name it.
//!
//! A user lies here as long as a guild has it as a known member, and goes with the last such guild. Beside its bytes lie the guilds that
//! name it, as numbers of four bytes: most users share one or two guilds with a bot. Where there are too many for that (other bots),
//! they lie in a set apart.
//!
//! Every shard has the users that its guilds name in its own durable rows; so when a user changes, whichever shard heard of it, it has
//! changed for all of them.
//!
//! Invariants: all of it on one thread; nothing here calls back into a cache while it is borrowed.

use std::cell::RefCell;
use std::rc::Rc;

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use trunkline_etf::packed::update::{self, Outcome, Without};
use trunkline_etf::{Encoding, Value};

use crate::Size;
use crate::cache::Map;
use crate::heap::{Handle, Heap};
use crate::lookups::Smallest;
use crate::print::Print;
use crate::table::Table;

/// The users of one bot on one core, shared by the caches of its shards there. Clones are the same users.
#[derive(Clone, Default)]
pub struct Users(Rc<RefCell<Shared>>);

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users").field("count", &self.0.borrow().table.len()).finish()
    }
}

impl Users {
    /// How many there are, and their bytes.
    pub fn size(&self) -> Size {
        let shared = self.0.borrow();
        shared
            .shards
            .iter()
            .fold(Size::default(), |sum, shard| Size { count: sum.count + shard.size.count, bytes: sum.bytes + shard.size.bytes })
    }

    /// All bytes that are held for users: room, table and lists included.
    pub fn bytes(&self) -> u64 {
        let shared = self.0.borrow();
        let crowds: usize = shared.crowds.values().map(HashSet::allocation_size).sum();
        let lists = crowds + shared.crowds.allocation_size() + shared.guilds.capacity() * size_of::<GuildSlot>();
        shared.heap.held() + shared.table.bytes() + lists as u64
    }

    /// Asks for the memory that a look-up of a user reads first.
    #[inline]
    pub(crate) fn ask_for(&self, user: u64) {
        self.0.borrow().table.ask_for(user);
    }

    /// Asks for a user's bytes.
    #[inline]
    pub(crate) fn ask_for_bytes(&self, user: u64) {
        let shared = self.0.borrow();
        if let Some(handle) = shared.table.likely(user) {
            shared.heap.ask_for(handle, 0);
        }
    }

    /// A user's bytes, packed, to `read`; nothing where no guild has it as a member, or none has told of it yet.
    pub(crate) fn read<R>(&self, user: u64, read: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        let shared = self.0.borrow();
        let (_, bytes) = split(shared.heap.bytes(shared.table.find(&shared.heap, user)?));
        (!bytes.is_empty()).then(|| read(Value::from_raw(Encoding::Packed, bytes)))
    }

    /// The guilds in which a user is a known member, ascending, with the shards that they are of.
    pub(crate) fn guilds_of(&self, user: u64) -> Vec<u64> {
        let shared = self.0.borrow();
        let Some(handle) = shared.table.find(&shared.heap, user) else { return Vec::new() };
        let mut ids = Vec::new();
        shared.each_guild(user, handle, |number| ids.extend(shared.guilds.get(number as usize).map(|guild| guild.id)));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Ids of users above `after`, ascending, the first `limit`.
    pub(crate) fn ids(&self, after: u64, limit: usize) -> Vec<u64> {
        let shared = self.0.borrow();
        Smallest::of(shared.table.handles().map(|handle| shared.heap.id(handle)), after, limit)
    }
}

/// A cache's place among the users; it takes all its references back when it goes.
pub(crate) struct Tenant {
    pub(crate) users: Users,
    shard: u32,
}

impl Tenant {
    pub(crate) fn new(users: Users) -> Tenant {
        let shard = users.0.borrow_mut().new_shard();
        Tenant { users, shard }
    }

    /// A number for a guild of this shard.
    pub(crate) fn add_guild(&self, guild: u64) -> u32 {
        let mut shared = self.users.0.borrow_mut();
        let slot = GuildSlot { id: guild, shard: self.shard, watch: None };
        match shared.spare_guilds.pop() {
            Some(number) => {
                shared.guilds[number as usize] = slot;
                number
            }
            None => {
                shared.guilds.push(slot);
                shared.guilds.len() as u32 - 1
            }
        }
    }

    /// Gives the number back. No user may be named by the guild any more.
    pub(crate) fn remove_guild(&self, number: u32) {
        let mut shared = self.users.0.borrow_mut();
        if let Some(slot) = shared.guilds.get_mut(number as usize) {
            *slot = GuildSlot { id: 0, shard: NOBODY, watch: None };
            shared.spare_guilds.push(number);
        }
    }

    /// The id of a numbered guild.
    pub(crate) fn guild_id(&self, number: u32) -> u64 {
        self.users.0.borrow().guilds.get(number as usize).map_or(0, |guild| guild.id)
    }

    /// A guild has told of a user who is its member. Answers whether anything changed.
    pub(crate) fn refer(&self, user: u64, guild: u32, bytes: &[u8]) -> bool {
        self.users.0.borrow_mut().refer(user, Some(guild), bytes, true)
    }

    /// The same, with the print of what the bytes are made of. `tell`: whether the guild's own rows do not bring the user's with them.
    pub(crate) fn refer_printed(&self, user: u64, guild: u32, bytes: &[u8], print: Option<Print>, tell: bool) {
        self.users.0.borrow_mut().refer_printed(user, Some(guild), bytes, print, tell);
    }

    /// A guild of the durable copy names a user as its member.
    pub(crate) fn name(&self, user: u64, guild: u32) {
        self.users.0.borrow_mut().refer(user, Some(guild), &[], false);
    }

    /// New bytes for a user, if any guild names it. Answers whether it had others, or none.
    pub(crate) fn replace(&self, user: u64, bytes: &[u8]) -> bool {
        self.users.0.borrow_mut().refer(user, None, bytes, true)
    }

    /// Whether a user is known and was told in these words last.
    #[inline]
    pub(crate) fn told(&self, user: u64, print: Print) -> bool {
        self.users.0.borrow().table.told(user, print)
    }

    /// The same with what was told, compared in place; what differs is written in `room`. `None`: it must be packed.
    pub(crate) fn compare(&self, user: u64, told: Value<'_>, drop: &[&str], room: &mut Vec<u8>) -> Option<bool> {
        let mut shared = self.users.0.borrow_mut();
        let Some(handle) = shared.table.find(&shared.heap, user) else { return Some(false) };
        let print = Print::of(told).filter(|_| drop.is_empty());
        let known = Value::from_raw(Encoding::Packed, split(shared.heap.bytes(handle)).1);
        match update::replace(known, told, Without::Keys(drop), room)? {
            Outcome::Same => {
                shared.set_print(user, print);
                Some(false)
            }
            Outcome::Other => {
                let changed = shared.refer(user, None, room, true);
                shared.set_print(user, print);
                Some(changed)
            }
        }
    }

    /// What a user was told with, of which its bytes are made.
    pub(crate) fn set_print(&self, user: u64, print: Option<Print>) {
        self.users.0.borrow_mut().set_print(user, print);
    }

    /// A guild names a user no more.
    pub(crate) fn release(&self, user: u64, guild: u32) {
        self.users.0.borrow_mut().release(user, guild);
    }

    /// A user of this shard's durable rows. Its members may come before or after it.
    pub(crate) fn load(&self, user: u64, bytes: &[u8]) {
        let mut shared = self.users.0.borrow_mut();
        let shared = &mut *shared;
        match shared.table.find(&shared.heap, user) {
            Some(handle) => {
                let known = split(shared.heap.bytes(handle)).1;
                if known.is_empty() {
                    shared.rewrite(user, handle, None, bytes);
                } else if known != bytes {
                    // Another shard knows better: it may be running already. The row here is old.
                    shared.shards[self.shard as usize].changed.insert(user);
                }
            }
            None => {
                let handle = shared.heap.put(user, [&[0], bytes]);
                shared.table.add(user, handle);
                shared.shards[self.shard as usize].waiting.push(user);
            }
        }
    }

    /// Drops the loaded users whom no member row has named.
    pub(crate) fn settle(&self) {
        let mut shared = self.users.0.borrow_mut();
        let shared = &mut *shared;
        for user in std::mem::take(&mut shared.shards[self.shard as usize].waiting) {
            let Some(handle) = shared.table.find(&shared.heap, user) else { continue };
            if shared.heap.bytes(handle).first() == Some(&0) {
                shared.table.remove(&shared.heap, user);
                shared.heap.free(handle);
                // Its row stays behind otherwise.
                shared.shards[self.shard as usize].changed.insert(user);
            }
        }
    }

    /// Users whose rows have changed for this shard and those of `more`, each with its bytes, or none where no guild of the shard names it any
    /// more.
    pub(crate) fn take_changes(&self, more: impl IntoIterator<Item = u64>, mut each: impl FnMut(u64, Option<&[u8]>)) {
        let mut shared = self.users.0.borrow_mut();
        let mut changed = std::mem::take(&mut shared.shards[self.shard as usize].changed);
        changed.extend(more);
        for user in changed {
            let bytes = shared.table.find(&shared.heap, user).and_then(|handle| {
                let mut ours = false;
                shared.each_guild(user, handle, |guild| ours |= shared.shard_of(guild) == self.shard);
                let bytes = split(shared.heap.bytes(handle)).1;
                (ours && !bytes.is_empty()).then_some(bytes)
            });
            each(user, bytes);
        }
    }

    /// Every user whom a guild of this shard names.
    pub(crate) fn each(&self, mut each: impl FnMut(u64, &[u8])) {
        let shared = self.users.0.borrow();
        for handle in shared.table.handles() {
            let user = shared.heap.id(handle);
            let mut ours = false;
            shared.each_guild(user, handle, |guild| ours |= shared.shard_of(guild) == self.shard);
            let bytes = split(shared.heap.bytes(handle)).1;
            if ours && !bytes.is_empty() {
                each(user, bytes);
            }
        }
    }

    /// How many users [`Tenant::take_changes`] would give.
    pub(crate) fn changes_pending(&self) -> usize {
        self.users.0.borrow().shards[self.shard as usize].changed.len()
    }

    /// Users charged to this shard: each is to the shard of one of the guilds that name it, so that the sum over shards is true.
    pub(crate) fn size(&self) -> Size {
        self.users.0.borrow().shards[self.shard as usize].size
    }

    /// From now on, notes which of a guild's users change.
    pub(crate) fn watch(&self, guild: u32) {
        if let Some(slot) = self.users.0.borrow_mut().guilds.get_mut(guild as usize) {
            slot.watch.get_or_insert_default();
        }
    }

    pub(crate) fn unwatch(&self, guild: u32) {
        if let Some(slot) = self.users.0.borrow_mut().guilds.get_mut(guild as usize) {
            slot.watch = None;
        }
    }

    /// A watched guild's users who have changed since the last call, into `into`.
    pub(crate) fn watched(&self, guild: u32, into: &mut HashSet<u64, RandomState>) {
        if let Some(watch) = self.users.0.borrow_mut().guilds.get_mut(guild as usize).and_then(|slot| slot.watch.as_mut()) {
            into.extend(watch.drain());
        }
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        let mut shared = self.users.0.borrow_mut();
        shared.drop_shard(self.shard);
    }
}

/// No shard's number.
const NOBODY: u32 = u32::MAX;
/// Guilds that lie beside a user's bytes; more lie apart.
const BESIDE: usize = 12;
/// Stands for their number where they lie apart. One lies beside all the same: that of the shard the user is charged to.
const APART: u8 = u8::MAX;

struct Shared {
    /// A user's bytes: number of guilds, their numbers, the packed user (empty while only its id is known).
    heap: Heap,
    table: Table,
    guilds: Vec<GuildSlot>,
    spare_guilds: Vec<u32>,
    shards: Vec<ShardSlot>,
    spare_shards: Vec<u32>,
    /// The guilds of users who are in too many.
    crowds: Map<u64, HashSet<u32, RandomState>>,
    scratch: Vec<u8>,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared {
            heap: Heap::default(),
            table: Table::with_words(),
            guilds: Vec::new(),
            spare_guilds: Vec::new(),
            shards: Vec::new(),
            spare_shards: Vec::new(),
            crowds: Map::default(),
            scratch: Vec::new(),
        }
    }
}

struct GuildSlot {
    id: u64,
    shard: u32,
    /// Users who changed, while somebody wants to know.
    watch: Option<Box<HashSet<u64, RandomState>>>,
}

#[derive(Default)]
struct ShardSlot {
    changed: HashSet<u64, RandomState>,
    size: Size,
    /// Loaded and not yet named.
    waiting: Vec<u64>,
}

/// The guilds beside a user, and the packed user.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some((count, rest)) = bytes.split_first() else { return (&[], &[]) };
    let beside = if *count == APART { 1 } else { usize::from(*count) };
    rest.split_at_checked(beside * 4).unwrap_or_default()
}

fn numbers(beside: &[u8]) -> impl Iterator<Item = u32> {
    beside.chunks_exact(4).map(|number| u32::from_le_bytes([number[0], number[1], number[2], number[3]]))
}

impl Shared {
    fn new_shard(&mut self) -> u32 {
        match self.spare_shards.pop() {
            Some(number) => number,
            None => {
                self.shards.push(ShardSlot::default());
                self.shards.len() as u32 - 1
            }
        }
    }

    fn shard_of(&self, guild: u32) -> u32 {
        self.guilds.get(guild as usize).map_or(NOBODY, |slot| slot.shard)
    }

    fn set_print(&mut self, user: u64, print: Option<Print>) {
        self.table.set_print(&self.heap, user, print);
    }

    fn each_guild(&self, user: u64, handle: Handle, mut each: impl FnMut(u32)) {
        let bytes = self.heap.bytes(handle);
        if bytes.first() == Some(&APART) {
            self.crowds.get(&user).into_iter().flatten().copied().for_each(each);
        } else {
            numbers(split(bytes).0).for_each(&mut each);
        }
    }

    /// The shard that a user is charged to, and what for.
    fn charge(&mut self, handle: Handle, sign: i64) {
        let Some(first) = numbers(split(self.heap.bytes(handle)).0).next() else { return };
        let bytes = self.heap.cost(handle) as i64;
        let shard = self.shard_of(first);
        if let Some(slot) = self.shards.get_mut(shard as usize) {
            slot.size.count = slot.size.count.wrapping_add_signed(sign);
            slot.size.bytes = slot.size.bytes.wrapping_add_signed(sign * bytes);
        }
    }

    /// A user's new bytes, where there are any, and a guild that names it, if that is new.
    fn refer(&mut self, user: u64, guild: Option<u32>, bytes: &[u8], tell: bool) -> bool {
        self.refer_printed(user, guild, bytes, None, tell)
    }

    fn refer_printed(&mut self, user: u64, guild: Option<u32>, bytes: &[u8], print: Option<Print>, tell: bool) -> bool {
        let Some(handle) = self.table.find(&self.heap, user) else {
            let Some(guild) = guild else { return false };
            self.scratch.clear();
            self.scratch.push(1);
            self.scratch.extend_from_slice(&guild.to_le_bytes());
            let handle = self.heap.put(user, [&self.scratch, bytes]);
            self.table.add_printed(user, handle, print);
            self.charge(handle, 1);
            if tell {
                self.tell(user, guild);
            }
            return true;
        };
        let lying = self.heap.bytes(handle);
        let (beside, known) = split(lying);
        let new = match guild {
            Some(guild) if lying.first() == Some(&APART) => !self.crowds.get(&user).is_some_and(|crowd| crowd.contains(&guild)),
            Some(guild) => !numbers(beside).any(|number| number == guild),
            None => false,
        };
        let other = !bytes.is_empty() && known != bytes;
        if !new && !other {
            if print.is_some() {
                self.set_print(user, print);
            }
            return false;
        }
        let handle = self.rewrite(user, handle, guild.filter(|_| new), if other { bytes } else { &[] });
        self.set_print(user, print);
        if other {
            self.tell_all(user, handle);
        } else if let Some(guild) = guild.filter(|_| tell) {
            self.tell(user, guild);
        }
        true
    }

    /// Writes a user anew, with one more guild and with other bytes, where these are given.
    fn rewrite(&mut self, user: u64, handle: Handle, guild: Option<u32>, bytes: &[u8]) -> Handle {
        self.charge(handle, -1);
        let mut scratch = std::mem::take(&mut self.scratch);
        let lying = self.heap.bytes(handle);
        let (beside, known) = split(lying);
        scratch.clear();
        let apart = lying.first() == Some(&APART);
        match guild {
            Some(guild) if apart || beside.len() / 4 >= BESIDE => {
                let crowd = self.crowds.entry(user).or_default();
                crowd.insert(guild);
                if !apart {
                    crowd.extend(numbers(beside));
                }
                scratch.push(APART);
                scratch.extend_from_slice(beside.get(..4).unwrap_or_default());
            }
            Some(guild) => {
                scratch.push((beside.len() / 4) as u8 + 1);
                scratch.extend_from_slice(beside);
                scratch.extend_from_slice(&guild.to_le_bytes());
            }
            None => scratch.extend_from_slice(&lying[..1 + beside.len()]),
        }
        scratch.extend_from_slice(if bytes.is_empty() { known } else { bytes });
        let handle = self.lay(user, handle, &scratch);
        self.scratch = scratch;
        self.charge(handle, 1);
        handle
    }

    fn lay(&mut self, user: u64, handle: Handle, bytes: &[u8]) -> Handle {
        // The table reads ids from the heap, so it learns of the new place while the old one can still be read.
        let moved = self.heap.rewrite(handle, [bytes, &[]]);
        self.table.exchange(&self.heap, user, moved);
        if moved != handle {
            self.heap.free(handle);
        }
        moved
    }

    fn release(&mut self, user: u64, guild: u32) {
        let Some(handle) = self.table.find(&self.heap, user) else { return };
        let lying = self.heap.bytes(handle);
        let (beside, known) = split(lying);
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        if lying.first() == Some(&APART) {
            let crowd = self.crowds.entry(user).or_default();
            if crowd.remove(&guild) {
                let owner = numbers(beside).next().filter(|owner| *owner != guild).or_else(|| crowd.iter().next().copied());
                // Back beside the user only well below the limit, so that one who comes and goes does not move each time.
                if crowd.len() <= BESIDE / 2 {
                    scratch.push(crowd.len() as u8);
                    crowd.iter().for_each(|number| scratch.extend_from_slice(&number.to_le_bytes()));
                    self.crowds.remove(&user);
                } else {
                    scratch.push(APART);
                    scratch.extend_from_slice(&owner.unwrap_or(guild).to_le_bytes());
                }
            }
        } else if numbers(beside).any(|number| number == guild) {
            scratch.push((beside.len() / 4) as u8 - 1);
            numbers(beside).filter(|number| *number != guild).for_each(|number| scratch.extend_from_slice(&number.to_le_bytes()));
        }
        if !scratch.is_empty() {
            let last = scratch[0] == 0;
            scratch.extend_from_slice(known);
            self.tell(user, guild);
            self.charge(handle, -1);
            if last {
                self.table.remove(&self.heap, user);
                self.heap.free(handle);
            } else {
                let handle = self.lay(user, handle, &scratch);
                self.charge(handle, 1);
            }
        }
        self.scratch = scratch;
    }

    /// A user is another one for all who name it.
    fn tell_all(&mut self, user: u64, handle: Handle) {
        let bytes = self.heap.bytes(handle);
        if bytes.first() == Some(&APART) {
            let crowd: Vec<u32> = self.crowds.get(&user).into_iter().flatten().copied().collect();
            crowd.into_iter().for_each(|guild| self.tell(user, guild));
            return;
        }
        let mut guilds = [0; BESIDE];
        let mut count = 0;
        for (place, number) in guilds.iter_mut().zip(numbers(split(bytes).0)) {
            *place = number;
            count += 1;
        }
        guilds[..count].iter().for_each(|guild| self.tell(user, *guild));
    }

    fn tell(&mut self, user: u64, guild: u32) {
        let Some(slot) = self.guilds.get_mut(guild as usize) else { return };
        if let Some(watch) = &mut slot.watch {
            watch.insert(user);
        }
        if let Some(shard) = self.shards.get_mut(slot.shard as usize) {
            shard.changed.insert(user);
        }
    }

    /// Takes back everything that a shard's guilds name. Reads all users, which a shard that leaves may cost.
    fn drop_shard(&mut self, shard: u32) {
        let ours: Vec<u32> = (0_u32..).zip(&self.guilds).filter(|(_, slot)| slot.shard == shard).map(|(number, _)| number).collect();
        let waiting = std::mem::take(&mut self.shards[shard as usize].waiting);
        let alone = self.guilds.iter().all(|slot| slot.shard == shard || slot.shard == NOBODY);
        if alone && self.shards.iter().all(|slot| slot.waiting.is_empty()) {
            (self.heap, self.table) = (Heap::default(), Table::with_words());
            self.crowds = Map::default();
            self.guilds = Vec::new();
            self.spare_guilds = Vec::new();
        } else if !ours.is_empty() || !waiting.is_empty() {
            let users: Vec<u64> = self.table.handles().map(|handle| self.heap.id(handle)).collect();
            let mut named = Vec::new();
            for user in users {
                let Some(handle) = self.table.find(&self.heap, user) else { continue };
                named.clear();
                self.each_guild(user, handle, |guild| {
                    if self.shard_of(guild) == shard {
                        named.push(guild);
                    }
                });
                named.iter().for_each(|guild| self.release(user, *guild));
            }
            for user in waiting {
                if let Some(handle) = self.table.find(&self.heap, user)
                    && self.heap.bytes(handle).first() == Some(&0)
                {
                    self.table.remove(&self.heap, user);
                    self.heap.free(handle);
                }
            }
            for number in ours {
                self.guilds[number as usize] = GuildSlot { id: 0, shard: NOBODY, watch: None };
                self.spare_guilds.push(number);
            }
        }
        self.shards[shard as usize] = ShardSlot::default();
        self.spare_shards.push(shard);
    }
}
