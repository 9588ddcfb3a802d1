//! Voice states and stages.

use bytes::Bytes;
use trunkline_discord::{Field, Fields, Routing};
use trunkline_etf::Value;

use crate::Change;
use crate::cache::Cache;
use crate::key::{Key, Kind};

impl Cache {
    /// Discord docs, Gateway Events: Voice State Update. Without a channel the user has left.
    pub(crate) fn voice_state_update(&mut self, d: Value<'_>, fields: &Fields<'_>, ids: Routing, body: &Bytes) -> Option<Change> {
        let user = ids.user_id.filter(|_| fields.get(Field::UserId).is_some())?;
        let Some(guild) = ids.guild_id else { return Some(Change::NONE) };
        let key = Key::new(Kind::VoiceState, guild, user);
        let here = ids.channel_id.is_some();
        let previous = if !here {
            self.take_told(key)
        } else if self.may_keep_raw(body) {
            self.keep_raw(key, d.encoding(), body)
        } else {
            let previous = self.before(key);
            self.set(key, Some(d));
            previous
        };
        if let Some(member) = fields.get(Field::Member) {
            self.refresh_member(guild, user, member, here);
        }
        Some(Change::previous(previous))
    }
}
