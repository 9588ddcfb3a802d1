//! The guild object as this API has it: what a GUILD_CREATE tells of the guild itself, with those of its lists for which there is no route.
//!
//! Channels, threads, members, presences, voice states, roles and emojis have routes of their own, and the guild object of Tatsu's service
//! lacks them. The other four lists are in it, so they are put back in here: the cache and the database keep their objects one by one.

use bytes::Bytes;
use trunkline_cache::Kind;
use trunkline_discord::{Encoding, Object};
use trunkline_etf::{PackedWriter, TermWrite, Value, packed::edit};

use super::query::StateError;

/// The lists that a guild object has in it, by their names in a GUILD_CREATE.
pub const GUILD_LISTS: [(&str, Kind); 4] = [
    ("stickers", Kind::Stickers),
    ("stage_instances", Kind::StageInstance),
    ("guild_scheduled_events", Kind::ScheduledEvent),
    ("soundboard_sounds", Kind::Sound),
];

/// A guild with its lists, which are as [`GUILD_LISTS`] has them. A list of which nothing is known is empty, as everywhere in this API.
///
/// # Errors
/// [`StateError::Failed`] for stored objects that cannot be read.
pub fn whole_guild(guild: &Object, lists: &[Vec<Object>; GUILD_LISTS.len()]) -> Result<Object, StateError> {
    let failed = |error| StateError::Failed(format!("a stored guild cannot be written: {error}"));
    let mut written: [Vec<u8>; GUILD_LISTS.len()] = Default::default();
    for (objects, written) in lists.iter().zip(&mut written) {
        let mut writer = PackedWriter::new();
        writer.begin_list(objects.len());
        objects.iter().try_for_each(|object| writer.value(object.value())).map_err(failed)?;
        writer.end_list();
        *written = writer.into_vec();
    }
    let field = |place: usize| (GUILD_LISTS[place].0, Value::from_raw(Encoding::Packed, &written[place]));
    let fields: [_; GUILD_LISTS.len()] = std::array::from_fn(field);
    let mut whole = Vec::new();
    edit::with_fields(guild.value(), &fields, &mut whole).map_err(failed)?;
    Ok(Object { encoding: Encoding::Packed, bytes: Bytes::from(whole) })
}
