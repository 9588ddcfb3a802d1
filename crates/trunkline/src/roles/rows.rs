//! Cache rows as PostgreSQL keeps them: which table and ids a row's key means, its object as JSON, and back.
//!
//! The store knows neither the cache nor its packed form; this is what they tell each other. Whatever has no JSON form, or a form that
//! nobody here knows, is kept by the store as the bytes it is.
//!
//! JSON tells an integer that is no id from the same digits as text, but not an id as an integer from an id as text: an object that is made
//! of its JSON (since somebody has changed that, or another version has written it) has its ids as text, which reads the same everywhere.

use trunkline_cache::{Kind, ROW_VERSION};
use trunkline_discord::message::merged_if;
use trunkline_etf::{Encoding, Kind as ValueKind, Limits, Value, transcode};
use trunkline_store::{Place, RowCodec, Table};

/// What [`trunkline_store::Options`] wants.
pub const CODEC: RowCodec = RowCodec { place, key, json, with, items, value, form: ROW_VERSION };

/// Tables of which a guild (or, for the own user, a shard) has one row, so that the key has no id.
const fn single(table: Table) -> bool {
    matches!(table, Table::GuildStates | Table::Guilds | Table::Emojis | Table::Stickers | Table::OwnUsers)
}

/// The cache's kinds have the tables' numbers.
fn place(key: &[u8]) -> Option<Place> {
    let (kind, rest) = key.split_first()?;
    let table = Table::from_number(*kind)?;
    let (guild, rest) = rest.split_first_chunk::<8>()?;
    let id = if single(table) { rest.is_empty().then_some(0)? } else { u64::from_be_bytes(rest.try_into().ok()?) };
    Some(Place { table, guild_id: u64::from_be_bytes(*guild), id })
}

fn key(place: Place) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(17);
    out.push(place.table as u8);
    out.extend_from_slice(&place.guild_id.to_be_bytes());
    if !single(place.table) {
        out.extend_from_slice(&place.id.to_be_bytes());
    } else if place.id != 0 {
        return None;
    }
    Some(out)
}

fn json(place: Place, row: &[u8]) -> Option<String> {
    if place.table == Table::GuildStates {
        let (&ROW_VERSION, packed) = row.split_first()? else { return None };
        return State::decode(packed).map(|state| state.json());
    }
    as_json(object(row)?)
}

fn with(_: Place, row: &[u8], over: &str) -> Option<String> {
    let over = Value::parse(Encoding::Json, over.as_bytes(), &Limits::GATEWAY).ok()?;
    let whole = merged_if(object(row)?, over, |_, _| true)?;
    String::from_utf8(whole.bytes.into()).ok()
}

fn items(_: Place, row: &[u8]) -> Option<Vec<(u64, String)>> {
    let list = object(row)?;
    let item = |item: Value<'_>| Some((item.get("id").and_then(Value::as_id)?, as_json(item)?));
    match list.kind() {
        ValueKind::List => Some(list.items().filter_map(item).collect()),
        _ => Some(item(list).into_iter().collect()),
    }
}

/// The object in a row of the present form.
fn object(row: &[u8]) -> Option<Value<'_>> {
    let (&ROW_VERSION, packed) = row.split_first()? else { return None };
    Value::parse(Encoding::Packed, packed, &Limits::GATEWAY).ok()
}

fn as_json(object: Value<'_>) -> Option<String> {
    let mut out = Vec::with_capacity(object.raw().len() * 2);
    transcode(object, Encoding::Json, &mut out).ok()?;
    String::from_utf8(out).ok()
}

fn value(place: Place, json: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(1 + json.len() / 2);
    out.push(ROW_VERSION);
    if place.table == Table::GuildStates {
        out.extend_from_slice(&State::of_json(json)?.encode());
        return Some(out);
    }
    let object = Value::parse(Encoding::Json, json.as_bytes(), &Limits::GATEWAY).ok()?;
    transcode(object, Encoding::Packed, &mut out).ok()?;
    Some(out)
}

/// Whether a key looks like one of a kind of objects that this version has no name for: a later one has stored it.
#[must_use]
pub fn is_of_later_kind(key: &[u8]) -> bool {
    key.first().is_some_and(|kind| usize::from(*kind) >= Kind::ALL.len()) && matches!(key.len(), 9 | 17)
}

/// The row of a guild's state without the flags that a later version has added, where it has any such.
#[must_use]
pub fn without_later_flags(key: &[u8], row: &[u8]) -> Option<Vec<u8>> {
    let &[ROW_VERSION, flags, ..] = row else { return None };
    let more = key.first() == Some(&(Kind::State as u8)) && flags & !FLAGS_KNOWN != 0;
    more.then(|| [&[ROW_VERSION, flags & FLAGS_KNOWN], row.get(2..).unwrap_or_default()].concat())
}

/// What the cache knows of a guild beside its object: a byte of flags, the member count, and the ids of deleted roles that members may
/// still have in their rows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    flags: u8,
    member_count: i64,
    gone_roles: Vec<u64>,
}

const FLAGS: [(&str, u8); 3] = [("awaited", 1), ("unavailable", 2), ("stale", 4)];
const COUNTED: u8 = 8;
const FLAGS_KNOWN: u8 = FLAGS[0].1 | FLAGS[1].1 | FLAGS[2].1 | COUNTED;

impl State {
    fn decode(bytes: &[u8]) -> Option<State> {
        let (flags, rest) = bytes.split_first()?;
        let (count, rest) = rest.split_first_chunk()?;
        let (roles, rest) = rest.as_chunks();
        (flags & !FLAGS_KNOWN == 0 && rest.is_empty()).then_some(())?;
        let gone_roles = roles.iter().map(|role| u64::from_le_bytes(*role)).collect();
        Some(State { flags: *flags, member_count: i64::from_le_bytes(*count), gone_roles })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.flags];
        out.extend_from_slice(&self.member_count.to_le_bytes());
        self.gone_roles.iter().for_each(|role| out.extend_from_slice(&role.to_le_bytes()));
        out
    }

    fn json(&self) -> String {
        let mut out = String::from("{");
        for (name, bit) in FLAGS {
            out.push_str(&format!("\"{name}\":{},", self.flags & bit != 0));
        }
        match self.flags & COUNTED {
            0 => out.push_str("\"member_count\":null"),
            _ => out.push_str(&format!("\"member_count\":{}", self.member_count)),
        }
        if !self.gone_roles.is_empty() {
            let roles: Vec<String> = self.gone_roles.iter().map(|role| format!("\"{role}\"")).collect();
            out.push_str(&format!(",\"gone_roles\":[{}]", roles.join(",")));
        }
        out.push('}');
        out
    }

    fn of_json(json: &str) -> Option<State> {
        let object = Value::parse(Encoding::Json, json.as_bytes(), &Limits::GATEWAY).ok()?;
        let mut state = State { flags: 0, member_count: 0, gone_roles: Vec::new() };
        for (name, bit) in FLAGS {
            if object.get(name)?.as_bool()? {
                state.flags |= bit;
            }
        }
        if let Some(count) = object.get("member_count").and_then(|count| count.as_i64()) {
            state.flags |= COUNTED;
            state.member_count = count;
        }
        if let Some(roles) = object.get("gone_roles") {
            state.gone_roles = roles.items().map(Value::as_id).collect::<Option<_>>()?;
        }
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(json: &str) -> Vec<u8> {
        value(Place { table: Table::Channels, guild_id: 1, id: 2 }, json).expect("packs")
    }

    #[test]
    fn a_table_has_the_number_of_its_kind() {
        for (kind, table) in Kind::ALL.into_iter().zip(Table::ALL) {
            let (kind_name, table_name) = (kind.as_str(), table.name());
            assert_eq!(kind as u8, table as u8);
            assert!(table_name == kind_name || table_name.strip_suffix('s') == Some(kind_name), "{kind_name} is in {table_name}");
        }
        assert_eq!(Kind::ALL.len(), Table::ALL.len());
    }

    #[test]
    fn keys_and_places_undo_each_other_and_other_bytes_have_no_place() {
        for table in Table::ALL {
            let there = Place { table, guild_id: 7 << 33, id: if single(table) { 0 } else { 9 << 33 } };
            let bytes = key(there).expect("a key");
            assert_eq!(place(&bytes), Some(there));
            assert_eq!(place(&bytes[..bytes.len() - 1]), None);
            assert_eq!(place(&[bytes.as_slice(), b"x"].concat()), None);
        }
        assert_eq!(place(&[200; 17]), None);
        assert_eq!(place(&[]), None);
    }

    #[test]
    fn an_object_comes_back_from_json_as_the_same_object() {
        let there = Place { table: Table::Channels, guild_id: 1, id: 2 };
        let text = r#"{"id":"1234567890123456789","name":"a\u0001\"é","nested":{"unknown":[1,2.5,null,true]},"count":12}"#;
        let row = packed(text);
        let out = json(there, &row).expect("JSON");
        assert_eq!(value(there, &out).expect("packs"), row);
        // PostgreSQL writes spaces, and keys in another order.
        let spaced = out.replace("\":", "\": ").replace(",\"", ", \"");
        assert_eq!(value(there, &spaced).expect("packs"), row);
    }

    #[test]
    fn an_object_is_told_with_other_values_and_a_list_by_its_elements_whatever_is_in_their_texts() {
        let there = Place { table: Table::Members, guild_id: 1, id: 2 };
        let row = packed(r#"{"nick":"a\u0000","roles":["7","8"],"deaf":false}"#);
        assert_eq!(with(there, &row, r#"{"roles": ["8"]}"#).as_deref(), Some(r#"{"nick":"a\u0000","roles":["8"],"deaf":false}"#));
        assert_eq!(with(there, &row, r#"{"more": 5}"#).as_deref(), Some(r#"{"nick":"a\u0000","roles":["7","8"],"deaf":false,"more":5}"#));
        assert_eq!((with(there, &row, "no json"), with(there, &row[1..], "{}"), with(there, &[], "{}")), (None, None, None));
        let there = Place { table: Table::Emojis, guild_id: 1, id: 0 };
        let list = packed(r#"[{"id":"9","name":"x\u0000"},{"name":"no id"},{"id":"5"},7]"#);
        assert_eq!(items(there, &list), Some(vec![(9, r#"{"id":"9","name":"x\u0000"}"#.to_owned()), (5, r#"{"id":"5"}"#.to_owned())]));
        assert_eq!(items(there, &packed(r#"{"id":"5"}"#)), Some(vec![(5, r#"{"id":"5"}"#.to_owned())]));
        assert_eq!((items(there, &list[1..]), items(there, &[])), (None, None));
    }

    #[test]
    fn a_guilds_state_comes_back_and_rows_of_another_form_have_no_json() {
        let there = Place { table: Table::GuildStates, guild_id: 1, id: 0 };
        for flags in 0..16 {
            let member_count = if flags & COUNTED == 0 { 0 } else { -3 };
            for gone_roles in [vec![], vec![7 << 40], vec![u64::MAX, 1, 1 << 60]] {
                let row = [&[ROW_VERSION][..], &State { flags, member_count, gone_roles }.encode()].concat();
                let text = json(there, &row).expect("JSON");
                assert_eq!(value(there, &text).expect("a state"), row, "{text}");
            }
        }
        let row = [&[ROW_VERSION, COUNTED][..], &5u64.to_le_bytes(), &(7u64 << 40).to_le_bytes()].concat();
        let text = r#"{"awaited":false,"unavailable":false,"stale":false,"member_count":5,"gone_roles":["7696581394432"]}"#;
        assert_eq!(json(there, &row).as_deref(), Some(text));
        assert_eq!(json(there, &row[..row.len() - 1]), None, "half an id");
        assert_eq!(value(there, &text.replace("7696581394432", "x")), None);
        assert_eq!(json(there, &[ROW_VERSION, 0xF0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(json(there, &[]), None);
        let there = Place { table: Table::Users, guild_id: 0, id: 2 };
        assert_eq!(json(there, &[ROW_VERSION + 1, 1, 2, 3]), None);
        assert_eq!(value(there, "{no json"), None);
    }
}
