//! Voice states and stages.

use trunkline_etf::Value;

use crate::Change;
use crate::cache::Cache;
use crate::key::{Key, Kind};

impl Cache {
    /// Discord docs, Gateway Events: Voice State Update. Without a channel the user has left.
    pub(crate) fn voice_state_update(&mut self, d: Value<'_>) -> Option<Change> {
        let [user, guild, channel, member] = d.get_all(["user_id", "guild_id", "channel_id", "member"]);
        let user = user?.as_id()?;
        let Some(guild) = guild.and_then(Value::as_id) else { return Some(Change::NONE) };
        let key = Key::new(Kind::VoiceState, guild, user);
        let previous = self.before(key);
        self.set(key, channel.and_then(Value::as_id).map(|_| d));
        if let Some(member) = member {
            self.refresh_member(guild, user, member);
        }
        Some(Change::previous(previous))
    }
}
