//! Writing objects in packed form, into room that is used again.

use bytes::Bytes;
use smallvec::SmallVec;
use trunkline_discord::Object;
use trunkline_etf::packed::{edit, is_one, update};
use trunkline_etf::{Encoding, Kind as TermKind, PackedWriter, TermWrite, Value, transcode};

/// Room for one packed object.
#[derive(Default)]
pub(crate) struct Packer {
    out: Vec<u8>,
    /// What an object is made of, packed.
    update: Vec<u8>,
}

impl Packer {
    /// What was written.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// A whole value. `None` where its bytes make no sense; what is in the room then means nothing.
    pub(crate) fn value(&mut self, value: Value<'_>) -> Option<()> {
        self.out.clear();
        transcode(value, Encoding::Packed, &mut self.out).ok().map(drop)
    }

    /// A map without some of its fields; another value as it is.
    pub(crate) fn without(&mut self, value: Value<'_>, drop: &[&str]) -> Option<()> {
        if drop.is_empty() || value.kind() != TermKind::Map {
            return self.value(value);
        }
        self.out.clear();
        edit::without_keys(value, drop, &mut self.out).ok()
    }

    /// `over`'s fields over those of the packed map `base`, both without some.
    pub(crate) fn merged(&mut self, base: Value<'_>, over: Value<'_>, drop: &[&str]) -> Option<()> {
        self.out.clear();
        merge(base, into(&mut self.update, over)?, drop, &mut self.out)
    }

    /// A packed map without some fields, and with others set.
    pub(crate) fn edited(&mut self, base: Value<'_>, drop: &[&str], set: &[(&str, Value<'_>)]) -> Option<()> {
        self.out.clear();
        if set.is_empty() {
            return edit::without_keys(base, drop, &mut self.out).ok();
        }
        if drop.is_empty() {
            return edit::with_fields(base, set, &mut self.out).ok();
        }
        self.update.clear();
        edit::without_keys(base, drop, &mut self.update).ok()?;
        edit::with_fields(packed(&self.update), set, &mut self.out).ok()
    }

    /// A map with its guild's id, where it says nothing of that; `None` where it does.
    pub(crate) fn in_guild(&mut self, told: Value<'_>, guild_id: Value<'_>, drop: &[&str]) -> Option<()> {
        const KEY: &str = "guild_id";
        self.out.clear();
        // What lies in a GUILD_CREATE is packed already.
        if drop.is_empty() && update::with_last(told, KEY, guild_id, &mut self.out).is_some() {
            return Some(());
        }
        let says = told.kind() != TermKind::Map || told.get(KEY).is_some_and(|told| !told.is_null());
        if says { None } else { self.edited(told, drop, &[(KEY, guild_id)]) }
    }

    /// The member of this id without its user, which goes into another room; over the fields of the one that lies there, if one does.
    /// Answers whether there is a user. What is no user, or is another's, is left out.
    pub(crate) fn member(&mut self, id: u64, base: Option<Value<'_>>, over: Value<'_>, drop: &[&str], user: &mut Packer) -> Option<bool> {
        self.out.clear();
        user.out.clear();
        let over = into(&mut self.update, over)?;
        let mut told = None;
        if base.is_none() && (drop.is_empty() || drop == ["user"]) {
            // Members of messages are told without, and others with it.
            told = edit::split(over, "user", &mut self.out).ok()?.filter(|_| drop.is_empty());
        } else {
            let mut all: SmallVec<[&str; 8]> = SmallVec::from_slice(drop);
            all.push("user");
            match base {
                Some(base) => merge(base, over, &all, &mut self.out)?,
                None => edit::without_keys(over, &all, &mut self.out).ok()?,
            }
            if !drop.contains(&"user") {
                told = over.get("user");
            }
        }
        let told = told.filter(|told| told.kind() == TermKind::Map && told.get("id").and_then(Value::as_id) == Some(id));
        Some(told.map(|told| user.out.extend_from_slice(told.raw())).is_some())
    }

    /// A packed member without its user; gives the user and its id, if it has one that has an id.
    pub(crate) fn parted<'a>(&mut self, member: Value<'a>) -> Option<(u64, Value<'a>)> {
        self.out.clear();
        let user = edit::split(member, "user", &mut self.out).ok()??;
        Some((user.get("id")?.as_id()?, user))
    }

    /// One value beside what is being written.
    pub(crate) fn beside<'a>(&'a mut self, value: Value<'a>) -> Option<&'a [u8]> {
        into(&mut self.update, value).map(Value::raw)
    }
}

/// A value, packed: as it lies if it is, else in this room.
fn into<'a>(room: &'a mut Vec<u8>, value: Value<'a>) -> Option<Value<'a>> {
    if value.encoding() == Encoding::Packed {
        return is_one(value.raw()).then_some(value);
    }
    room.clear();
    transcode(value, Encoding::Packed, room).ok()?;
    Some(packed(room))
}

/// What a guild or some members are told with, packed once, of which everything is taken then.
#[derive(Default)]
pub(crate) struct Told(Vec<u8>);

/// What was packed, and its members as they were told: as many as there are in the list, or none.
#[derive(Clone)]
pub(crate) struct Packed<'a> {
    pub(crate) d: Value<'a>,
    pub(crate) members: Vec<edit::Told<'a>>,
}

impl Told {
    /// Most bytes of room that stay. Nearly every GUILD_CREATE fits, and a thousand shards do not keep the room of their largest one.
    const KEPT_BYTES: usize = 128 * 1024;

    /// The map `d`, packed, without some of its fields: then everything in it is stepped over at once. Where `d` makes no sense it stays as it
    /// is, and what can be read of it is read.
    pub(crate) fn pack<'a>(&'a mut self, d: Value<'a>, drop: &[&str]) -> Packed<'a> {
        self.0.clear();
        if d.encoding() != Encoding::Packed
            && let Ok(members) = edit::without_keys_told(d, drop, ("members", "user"), &mut self.0)
        {
            return Packed { d: packed(&self.0), members };
        }
        Packed { d, members: Vec::new() }
    }

    /// For the next one.
    pub(crate) fn emptied(mut self) -> Told {
        self.0.clear();
        self.0.shrink_to(Told::KEPT_BYTES);
        self
    }
}

/// Merges packed maps; most often the update says what is known already, and then nothing needs to be written anew.
fn merge(base: Value<'_>, over: Value<'_>, drop: &[&str], out: &mut Vec<u8>) -> Option<()> {
    if covers(base, over, drop) {
        out.extend_from_slice(base.raw());
        return Some(());
    }
    edit::merged(base, over, drop, out).ok()
}

/// How often [`covers`] begins to look from the start again.
const RESTARTS_MAX: usize = 16;

/// Whether `over` says nothing that `base` does not say. May be wrong in saying no.
fn covers(base: Value<'_>, over: Value<'_>, drop: &[&str]) -> bool {
    // Updates have the order of what they update, more or less: both are read once, most often. One in a wild order would be compared
    // for as long as its sender likes.
    let mut rest = base.entries();
    let mut restarts = 0;
    for (key, value) in over.entries() {
        let same = |(known, _): &(Value<'_>, Value<'_>)| known.raw() == key.raw();
        let here = rest.clone();
        let known = match rest.next() {
            Some(entry) if same(&entry) => Some(entry),
            _ if drop.iter().any(|name| key.is_key(name)) => {
                rest = here;
                continue;
            }
            _ if restarts == RESTARTS_MAX => return false,
            _ => {
                restarts += 1;
                rest = base.entries();
                rest.find(same)
            }
        };
        if known.is_none_or(|(_, known)| known.raw() != value.raw()) {
            return false;
        }
    }
    drop.iter().all(|name| base.get(name).is_none())
}

fn packed(bytes: &[u8]) -> Value<'_> {
    Value::from_raw(Encoding::Packed, bytes)
}

/// A packed map with a number under a key.
pub(crate) fn with_number(base: Value<'_>, name: &str, number: i64) -> Option<Bytes> {
    let mut writer = PackedWriter::new();
    writer.int(number);
    let mut out = Vec::with_capacity(base.raw().len() + 16);
    edit::with_field(base, name, packed(writer.as_slice()), &mut out).ok()?;
    Some(Bytes::from(out))
}

/// A member with its user, and without roles that are gone.
pub(crate) fn whole_member(member: Value<'_>, user: Option<Value<'_>>, id: u64, gone: &[u64]) -> Option<Bytes> {
    let mut lost = PackedWriter::new();
    let user = user.unwrap_or_else(|| {
        // Its row was lost: the id is what is left.
        lost.begin_map(1);
        lost.key("id");
        lost.id(id);
        lost.end_map();
        packed(lost.as_slice())
    });
    let stripped = without_roles(member, gone);
    let member = stripped.as_deref().map_or(member, packed);
    let mut out = Vec::new();
    if update::with_last(member, "user", user, &mut out).is_some() {
        return Some(Bytes::from(out));
    }
    out.reserve(member.raw().len() + user.raw().len() + 16);
    edit::with_field(member, "user", user, &mut out).ok()?;
    Some(Bytes::from(out))
}

/// What [`member_of_parts`] makes a member of: the member, its user and its id, behind one another.
pub(crate) fn member_parts(member: &[u8], user: &[u8], id: u64) -> Vec<u8> {
    let mut parts = Vec::with_capacity(PARTS_HEAD + member.len() + user.len());
    parts.extend_from_slice(&id.to_le_bytes());
    parts.extend_from_slice(&(member.len() as u64).to_le_bytes());
    parts.extend_from_slice(member);
    parts.extend_from_slice(user);
    parts
}

/// Before the parts: the id, and how long the member is.
const PARTS_HEAD: usize = 16;

/// A member with its user, as [`whole_member`] writes it.
pub(crate) fn member_of_parts(parts: &[u8]) -> Object {
    let (head, parts) = parts.split_at_checked(PARTS_HEAD).unwrap_or_default();
    let number = |at: usize| head.get(at..).and_then(|head| head.first_chunk()).map_or(0, |number| u64::from_le_bytes(*number));
    let (member, user) = parts.split_at_checked(number(8) as usize).unwrap_or_default();
    let whole = whole_member(packed(member), (!user.is_empty()).then(|| packed(user)), number(0), &[]);
    Object { encoding: Encoding::Packed, bytes: whole.unwrap_or_else(|| Bytes::copy_from_slice(member)) }
}

/// A member without roles that are gone; nothing if it has none of them.
pub(crate) fn without_roles(member: Value<'_>, gone: &[u64]) -> Option<Vec<u8>> {
    if gone.is_empty() {
        return None;
    }
    let mut out = Vec::new();
    let stays = |role: Value<'_>| !role.as_id().is_some_and(|role| gone.contains(&role));
    let refused = edit::with_filtered(member, "roles", stays, &mut out).ok()?;
    (refused > 0).then_some(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn object(keys: impl Iterator<Item = u64>) -> Packer {
        let entries: Vec<String> = keys.map(|key| format!("\"k{key}\":{key}")).collect();
        let text = format!("{{{}}}", entries.join(","));
        let mut packer = Packer::default();
        packer.value(Value::from_raw(Encoding::Json, text.as_bytes())).unwrap();
        packer
    }

    #[test]
    fn a_member_of_parts_is_the_whole_one_whatever_is_lost_of_it() {
        let (member, user) = (object(0..5), object(5..9));
        for known in [Some(packed(user.bytes())), None] {
            let parts = member_parts(member.bytes(), known.map_or(&[], Value::raw), 7);
            let whole = whole_member(packed(member.bytes()), known, 7, &[]).unwrap();
            assert_eq!(member_of_parts(&parts).bytes, whole);
            (0..parts.len()).for_each(|cut| drop(member_of_parts(&parts[..cut])));
        }
        // What is no member is what it is.
        assert_eq!(member_of_parts(&member_parts(b"\0", &[], 7)).bytes, b"\0"[..]);
    }

    #[test]
    fn an_update_in_a_wild_order_is_not_compared_for_long_and_merges_all_the_same() {
        let base = object(0..20_000);
        assert!(covers(packed(base.bytes()), packed(base.bytes()), &[]));
        // The first half behind the second: one restart. What is dropped costs none.
        let turned = object((100..200).chain(0..100));
        assert!(covers(packed(object(0..200).bytes()), packed(turned.bytes()), &[]));
        let dropped: Vec<String> = (0..100).map(|key| format!("k{}", 2 * key)).collect();
        let dropped: Vec<&str> = dropped.iter().map(String::as_str).collect();
        let odd = object((0..100).map(|key| 2 * key + 1));
        assert!(covers(packed(odd.bytes()), packed(object(0..200).bytes()), &dropped));
        // It may be wrong in saying no, and says it after so many restarts.
        let within = |many: u64| covers(packed(object(0..many).bytes()), packed(object((0..many).rev()).bytes()), &[]);
        assert!(within(RESTARTS_MAX as u64));
        assert!(!within(RESTARTS_MAX as u64 + 2));
        let reversed = object((0..20_000).rev());
        assert!(!covers(packed(base.bytes()), packed(reversed.bytes()), &[]));
        let mut out = Packer::default();
        out.merged(packed(base.bytes()), packed(reversed.bytes()), &[]).unwrap();
        assert!(out.bytes() == base.bytes());
    }
}
