//! Snowflakes: Discord's ids, which carry their own date of birth.
//!
//! Discord docs, API Reference: Snowflakes. Over the wire they come as decimal strings (JSON) or as strings or
//! integers (ETF); in here they are always `u64`.

/// A snowflake.
pub type Id = u64;

/// The first millisecond of 2015, from which snowflakes count; in Unix milliseconds.
pub const DISCORD_EPOCH_MS: u64 = 1_420_070_400_000;

/// When the object with this id was made, in Unix milliseconds.
pub const fn created_at_ms(id: Id) -> u64 {
    (id >> 22) + DISCORD_EPOCH_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_docs_gives_the_date_of_the_docs() {
        assert_eq!(created_at_ms(175_928_847_299_117_063), 1_462_015_105_796);
        assert_eq!(created_at_ms(0), DISCORD_EPOCH_MS);
        created_at_ms(u64::MAX);
    }
}
