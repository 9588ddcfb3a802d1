//! Which guild a channel or thread is in: events and lookups name channels without their guild.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::table::hash;

/// Numbers of guilds by channel.
#[derive(Default)]
pub(crate) struct Places(HashTable<Place>);

/// Twelve bytes instead of sixteen.
struct Place {
    channel: [u32; 2],
    guild: u32,
}

impl Place {
    fn channel(&self) -> u64 {
        u64::from(self.channel[0]) << 32 | u64::from(self.channel[1])
    }
}

impl Places {
    pub(crate) fn get(&self, channel: u64) -> Option<u32> {
        Some(self.0.find(hash(channel), |place| place.channel() == channel)?.guild)
    }

    pub(crate) fn insert(&mut self, channel: u64, guild: u32) {
        let place = Place { channel: [(channel >> 32) as u32, channel as u32], guild };
        match self.0.entry(hash(channel), |place| place.channel() == channel, |place| hash(place.channel())) {
            Entry::Occupied(mut entry) => *entry.get_mut() = place,
            Entry::Vacant(entry) => drop(entry.insert(place)),
        }
    }

    /// Forgets a channel, unless it is in another guild by now.
    pub(crate) fn remove(&mut self, channel: u64, guild: u32) {
        if let Ok(entry) = self.0.find_entry(hash(channel), |place| place.channel() == channel && place.guild == guild) {
            entry.remove();
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.0.allocation_size() as u64
    }
}
