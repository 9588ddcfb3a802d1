//! What a cache row is, as far as PostgreSQL's tables need to know: which table, which ids, and its JSON form.
//!
//! The store does not know how cache rows are made. Whoever does passes a [`RowCodec`] in.

use crate::Objects;

/// The tables of objects. The numbers are part of nothing stored; names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Table {
    /// What is known of a guild beside its object: flags and member count.
    GuildStates = 0,
    /// Guild objects, without the lists that have tables of their own.
    Guilds,
    /// Channels of guilds.
    Channels,
    /// Active threads.
    Threads,
    /// Roles.
    Roles,
    /// A guild's emojis, one list a guild.
    Emojis,
    /// Members; the id is the user's.
    Members,
    /// Presences; the id is the user's.
    Presences,
    /// Voice states; the id is the user's.
    VoiceStates,
    /// The bot's own user.
    OwnUsers,
    /// A guild's stickers, one list a guild.
    Stickers,
    /// Stage instances.
    StageInstances,
    /// Scheduled events.
    ScheduledEvents,
    /// Soundboard sounds.
    Sounds,
    /// Bans that were seen; the id is the user's.
    Bans,
    /// Messages.
    Messages,
    /// Voice channels' status; the id is the channel's.
    VoiceChannels,
    /// Auto moderation rules.
    AutoModerationRules,
    /// Integrations.
    Integrations,
    /// Invites.
    Invites,
    /// Channels outside guilds.
    DirectChannels,
    /// Entitlements.
    Entitlements,
    /// Subscriptions.
    Subscriptions,
    /// Users.
    Users,
}

impl Table {
    /// Every table, in the order of the numbers.
    pub const ALL: [Table; 24] = [
        Table::GuildStates,
        Table::Guilds,
        Table::Channels,
        Table::Threads,
        Table::Roles,
        Table::Emojis,
        Table::Members,
        Table::Presences,
        Table::VoiceStates,
        Table::OwnUsers,
        Table::Stickers,
        Table::StageInstances,
        Table::ScheduledEvents,
        Table::Sounds,
        Table::Bans,
        Table::Messages,
        Table::VoiceChannels,
        Table::AutoModerationRules,
        Table::Integrations,
        Table::Invites,
        Table::DirectChannels,
        Table::Entitlements,
        Table::Subscriptions,
        Table::Users,
    ];

    /// The table with a number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Table> {
        Table::ALL.get(usize::from(number)).copied()
    }

    /// Its name in the schema `trunkline`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Table::GuildStates => "guild_states",
            Table::Guilds => "guilds",
            Table::Channels => "channels",
            Table::Threads => "threads",
            Table::Roles => "roles",
            Table::Emojis => "emojis",
            Table::Members => "members",
            Table::Presences => "presences",
            Table::VoiceStates => "voice_states",
            Table::OwnUsers => "own_users",
            Table::Stickers => "stickers",
            Table::StageInstances => "stage_instances",
            Table::ScheduledEvents => "scheduled_events",
            Table::Sounds => "soundboard_sounds",
            Table::Bans => "bans",
            Table::Messages => "messages",
            Table::VoiceChannels => "voice_channels",
            Table::AutoModerationRules => "auto_moderation_rules",
            Table::Integrations => "integrations",
            Table::Invites => "invites",
            Table::DirectChannels => "direct_channels",
            Table::Entitlements => "entitlements",
            Table::Subscriptions => "subscriptions",
            Table::Users => "users",
        }
    }
}

/// Where an object belongs. 0 for a guild or id that the object has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The table.
    pub table: Table,
    /// Its guild.
    pub guild_id: u64,
    /// Its own id.
    pub id: u64,
}

/// How cache rows become objects in tables, and come back. `place` and `key` undo each other.
#[derive(Clone, Copy, Debug)]
pub struct RowCodec {
    /// Where a row with this key belongs; `None`: no object's row, kept as it is.
    pub place: fn(&[u8]) -> Option<Place>,
    /// The key of the row at a place; `None`: no row belongs there.
    pub key: fn(Place) -> Option<Vec<u8>>,
    /// A row's value as JSON; `None`: it has no JSON form, and is kept as it is.
    pub json: fn(Place, &[u8]) -> Option<String>,
    /// The same, with the values of a JSON object in the place of its own under the same keys, or behind them.
    pub with: fn(Place, &[u8], &str) -> Option<String>,
    /// The elements of a row that is a list, as JSON, with their ids; what has no id is left out.
    pub items: fn(Place, &[u8]) -> Option<Objects>,
    /// A row's value made of JSON; `None`: that is no such object.
    pub value: fn(Place, &str) -> Option<Vec<u8>>,
    /// First byte of values in their present form. Those are loaded as they are; of others that have JSON, the value is made of it.
    pub form: u8,
}

/// Bytes of `\u0000`.
const ESCAPE: usize = 6;

/// What lies in the place of what PostgreSQL's `jsonb` takes in no text: U+0000 and halves of surrogate pairs. (What else it refuses, such as
/// a number of a hundred thousand digits, it says itself.)
const INSTEAD: &str = "\\ufffd";

/// A text that is JSON, with [`INSTEAD`] of each character that `jsonb` does not take; `None`: it has none.
pub(crate) fn for_jsonb(json: &str) -> Option<String> {
    // Nearly every text ends here.
    if !json.contains("\\u0000") && !json.contains("\\ud") && !json.contains("\\uD") {
        return None;
    }
    let escape = |at: usize| -> Option<u16> {
        let digits = json.get(at..)?.strip_prefix("\\u")?.get(..ESCAPE - 2)?;
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
    };
    let (mut out, mut done, mut at) = (String::new(), 0, 0);
    while let Some(next) = json.get(at..).and_then(|rest| rest.find('\\')) {
        at += next;
        at += match (escape(at), escape(at + ESCAPE)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 2 * ESCAPE,
            (Some(0 | 0xD800..=0xDFFF), _) => {
                out.push_str(json.get(done..at).unwrap_or_default());
                out.push_str(INSTEAD);
                done = at + ESCAPE;
                ESCAPE
            }
            (Some(_), _) => ESCAPE,
            // A backslash and the character that it stands before.
            (None, _) => 1 + json.get(at + 1..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8),
        };
    }
    (!out.is_empty()).then(|| out + json.get(done..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tables_number_is_its_place_in_the_list_and_names_are_told_apart() {
        for (place, table) in Table::ALL.into_iter().enumerate() {
            assert_eq!(table as usize, place);
            assert_eq!(Table::ALL.iter().filter(|other| other.name() == table.name()).count(), 1);
        }
        assert_eq!(Table::from_number(24), None);
    }

    #[test]
    fn what_jsonb_does_not_take_of_a_text_is_replaced_and_nothing_else() {
        for (text, made) in [
            (r#"{"a":"\u0000"}"#, Some(r#"{"a":"\ufffd"}"#)),
            (r#"{"\u0000\u0000":"x\u0000y\u0001"}"#, Some(r#"{"\ufffd\ufffd":"x\ufffdy\u0001"}"#)),
            (r#"["\ud800","\uDC00\uD83D"]"#, Some(r#"["\ufffd","\ufffd\ufffd"]"#)),
            (r#"["\ud83d\ude00","\ud83d\ud83d\ude00"]"#, Some(r#"["\ud83d\ude00","\ufffd\ud83d\ude00"]"#)),
            // A backslash before "u0000", which is no escape.
            (r#"{"a":"\\u0000"}"#, None),
            (r#"{"a":"\\\u0000"}"#, Some(r#"{"a":"\\\ufffd"}"#)),
            (r#"{"a":"\u0001 \ud83d\ude00 é"}"#, None),
            (r#"{"a":"u0000"}"#, None),
            // No JSON: the server says so.
            ("\\ud", None),
            ("\\u0000", Some("\\ufffd")),
            ("\\u+00d \\ud8é \\é \\", None),
            ("", None),
        ] {
            assert_eq!(for_jsonb(text).as_deref(), made, "{text}");
        }
    }
}
