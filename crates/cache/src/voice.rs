//! Voice states and stages.

use trunkline_discord::{Field, Fields};
use trunkline_etf::Value;

use crate::Change;
use crate::cache::Cache;
use crate::key::{Key, Kind};

impl Cache {
    /// Discord docs, Gateway Events: Voice State Update. Without a channel the user has left.
    pub(crate) fn voice_state_update(&mut self, d: Value<'_>, fields: &Fields<'_>) -> Option<Change> {
        let user = fields.id(Field::UserId)?;
        let Some(guild) = fields.id(Field::GuildId) else { return Some(Change::NONE) };
        let key = Key::new(Kind::VoiceState, guild, user);
        let previous = self.before(key);
        self.set(key, fields.id(Field::ChannelId).map(|_| d));
        if let Some(member) = fields.get(Field::Member) {
            self.refresh_member(guild, user, member);
        }
        Some(Change::previous(previous))
    }
}
