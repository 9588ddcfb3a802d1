//! Shards: which one owns a guild, what one is called, when one may identify.
//!
//! Discord docs, Gateway: Sharding.

use std::fmt;
use std::str::FromStr;

use crate::Id;

/// One shard of one bot: one websocket at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId {
    /// The bot's user id.
    pub bot: u64,
    /// Which shard, from zero; below `count`.
    pub index: u32,
    /// How many shards the bot's events are spread over.
    pub count: u32,
}

impl ShardId {
    /// Whether Discord sends this guild's events to this shard. False for a count of zero, which cannot be.
    pub fn owns(self, guild_id: Id) -> bool {
        self.count != 0 && shard_of(guild_id, self.count) == self.index
    }
}

/// The shard that gets a guild's events: `(guild_id >> 22) % count`. A count of zero is taken as one.
pub const fn shard_of(guild_id: Id, count: u32) -> u32 {
    let count = if count == 0 { 1 } else { count };
    ((guild_id >> 22) % count as u64) as u32
}

/// The key of Discord's identify limit: at most one identify per key in 5 seconds, groups of `max_concurrency` shards
/// in order. A `max_concurrency` of zero is taken as one.
pub const fn identify_key(index: u32, max_concurrency: u32) -> u32 {
    let max = if max_concurrency == 0 { 1 } else { max_concurrency };
    index % max
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.bot, self.index, self.count)
    }
}

/// Why a text is no [`ShardId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardIdError;

impl fmt::Display for ShardIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a shard is written BOT/INDEX/COUNT, three numbers, with INDEX below COUNT")
    }
}

impl std::error::Error for ShardIdError {}

impl FromStr for ShardId {
    type Err = ShardIdError;

    fn from_str(text: &str) -> Result<ShardId, ShardIdError> {
        let mut parts = text.split('/');
        let mut part = || parts.next().ok_or(ShardIdError);
        let (bot, index, count) = (part()?, part()?, part()?);
        let shard = ShardId {
            bot: bot.parse().map_err(|_| ShardIdError)?,
            index: index.parse().map_err(|_| ShardIdError)?,
            count: count.parse().map_err(|_| ShardIdError)?,
        };
        if parts.next().is_some() || shard.index >= shard.count {
            return Err(ShardIdError);
        }
        Ok(shard)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_guild_belongs_to_exactly_one_shard() {
        let guild = 197_038_439_483_310_086;
        assert_eq!(shard_of(guild, 1), 0);
        assert_eq!(shard_of(guild, 16), ((guild >> 22) % 16) as u32);
        for count in [1, 2, 16, 1_000] {
            let owners = (0..count).filter(|&index| ShardId { bot: 1, index, count }.owns(guild)).count();
            assert_eq!(owners, 1, "{count}");
        }
        assert_eq!(shard_of(guild, 0), 0);
        assert!(!ShardId { bot: 1, index: 0, count: 0 }.owns(guild));
    }

    #[test]
    fn identify_keys_repeat_every_max_concurrency_shards() {
        assert_eq!((0..5).map(|i| identify_key(i, 2)).collect::<Vec<_>>(), [0, 1, 0, 1, 0]);
        assert_eq!(identify_key(7, 0), 0);
    }

    #[test]
    fn a_name_reads_back_as_the_same_shard() {
        let shard = ShardId { bot: 80_351_110_224_678_912, index: 3, count: 16 };
        assert_eq!(shard.to_string(), "80351110224678912/3/16");
        assert_eq!(shard.to_string().parse::<ShardId>().unwrap(), shard);
        for bad in ["", "1/2", "1/2/3/4", "1/3/3", "x/0/1", "1/-1/1", "1/0/0"] {
            assert_eq!(bad.parse::<ShardId>(), Err(ShardIdError), "{bad}");
        }
    }
}
