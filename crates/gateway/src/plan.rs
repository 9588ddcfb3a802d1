//! Which shards of a bot run here: what the user asked for against what Discord says.
//!
//! Pure. It never asks Discord itself; [`crate::BotApi::gateway_bot`] does, once for all of a bot's shards.

/// The `shards` key of a bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShardsWanted {
    /// As many as Discord recommends.
    #[default]
    Auto,
    /// That many, all of them here.
    Count(u32),
    /// Shards `first` to `last`, both included, of `total`.
    Range {
        /// `num_shards` of the identify.
        total: u32,
        /// First shard id that runs here.
        first: u32,
        /// Last shard id that runs here.
        last: u32,
    },
}

/// Which shards run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardPlan {
    /// `num_shards` of every identify.
    pub count: u32,
    /// Shard ids that run here, rising.
    pub indices: Vec<u32>,
    /// What a person should know about the numbers, one plain line each.
    pub warnings: Vec<String>,
}

/// The `shards` key makes no sense. It is the configuration's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No shard at all.
    #[error("shards = 0 would run nothing: write \"auto\", or a number from 1 up")]
    None,
    /// A range that is empty or reaches beyond the total.
    #[error(
        "shards = {{ total = {total}, first = {first}, last = {last} }} names no shards: first and last are shard ids \
         from 0 to total - 1, first not above last"
    )]
    Range {
        /// As written.
        total: u32,
        /// As written.
        first: u32,
        /// As written.
        last: u32,
    },
    /// More shards than any bot has.
    #[error("{total} shards are more than this program will start ({most}): check the number")]
    TooMany {
        /// As written, or as Discord said.
        total: u32,
        /// The limit.
        most: u32,
    },
}

/// More than the largest bots have; a typing mistake above it would open that many sockets.
pub const SHARDS_MAX: u32 = 65_536;

/// Settles the shards of one bot. `recommended` and `max_concurrency` are those of `GET /gateway/bot`.
///
/// # Errors
/// [`PlanError`] when the wish cannot be met by any answer of Discord.
pub fn plan(wanted: ShardsWanted, recommended: u32, max_concurrency: u32) -> Result<ShardPlan, PlanError> {
    let (total, first, last) = match wanted {
        ShardsWanted::Auto => {
            let total = recommended.max(1);
            (total, 0, total - 1)
        }
        ShardsWanted::Count(0) | ShardsWanted::Range { total: 0, .. } => return Err(PlanError::None),
        ShardsWanted::Count(total) => (total, 0, total - 1),
        ShardsWanted::Range { total, first, last } => (total, first, last),
    };
    if first > last || last >= total {
        return Err(PlanError::Range { total, first, last });
    }
    if total > SHARDS_MAX {
        return Err(PlanError::TooMany { total, most: SHARDS_MAX });
    }
    let mut warnings = Vec::new();
    if wanted != ShardsWanted::Auto {
        // Discord docs, Gateway: Sharding. One shard may hold 2500 guilds at most (close code 4011 above), and a large
        // bot's count must be a multiple of the number that Discord assigned (close code 4010 else).
        if total < recommended {
            warnings.push(format!(
                "{total} shards are configured where Discord recommends {recommended}: a shard with more than 2500 \
                 guilds is refused (close code 4011); shards = \"auto\" follows Discord"
            ));
        }
        if max_concurrency > 1 && recommended > 0 && !total.is_multiple_of(recommended) {
            warnings.push(format!(
                "{total} shards are no multiple of the {recommended} that Discord names for this large bot: it may \
                 refuse them (close code 4010); shards = \"auto\" follows Discord"
            ));
        }
    }
    Ok(ShardPlan { count: total, indices: (first..=last).collect(), warnings })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_what_discord_recommends_and_at_least_one() {
        let got = plan(ShardsWanted::Auto, 3, 1).unwrap();
        assert_eq!((got.count, got.indices.as_slice()), (3, &[0, 1, 2][..]));
        assert!(got.warnings.is_empty());
        assert_eq!(plan(ShardsWanted::Auto, 0, 1).unwrap().count, 1);
    }

    #[test]
    fn a_range_is_inclusive() {
        let wanted = ShardsWanted::Range { total: 64, first: 14, last: 15 };
        let got = plan(wanted, 64, 16).unwrap();
        assert_eq!((got.count, got.indices.as_slice()), (64, &[14, 15][..]));
    }

    #[test]
    fn too_few_shards_are_warned_about_with_the_close_code() {
        let got = plan(ShardsWanted::Count(2), 5, 1).unwrap();
        assert_eq!(got.warnings.len(), 1);
        assert!(got.warnings[0].contains("4011"));
    }

    #[test]
    fn a_large_bots_count_that_is_no_multiple_is_warned_about() {
        let got = plan(ShardsWanted::Count(100), 64, 16).unwrap();
        assert!(got.warnings[0].contains("4010"));
        assert!(plan(ShardsWanted::Count(128), 64, 16).unwrap().warnings.is_empty());
    }

    #[test]
    fn wishes_that_name_no_shard_are_refused() {
        assert_eq!(plan(ShardsWanted::Count(0), 1, 1), Err(PlanError::None));
        for (total, first, last) in [(4, 2, 1), (4, 0, 4), (4, 4, 4)] {
            assert_eq!(plan(ShardsWanted::Range { total, first, last }, 1, 1), Err(PlanError::Range { total, first, last }));
        }
        assert!(matches!(plan(ShardsWanted::Auto, u32::MAX, 1), Err(PlanError::TooMany { .. })));
    }
}
