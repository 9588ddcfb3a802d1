//! Writing objects in packed form, into room that is used again.

use bytes::Bytes;
use smallvec::SmallVec;
use trunkline_etf::packed::edit;
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
        self.with_writer(|out| {
            // Field by field: what a GUILD_CREATE is kept without is nearly all of it.
            out.begin_map(value.len());
            for (key, value) in value.entries() {
                if !drop.iter().any(|name| key.is_key(name)) {
                    out.key_from(key).ok()?;
                    out.value(value).ok()?;
                }
            }
            out.end_map();
            Some(())
        })
    }

    /// `over`'s fields over those of the packed map `base`, both without some.
    pub(crate) fn merged(&mut self, base: Value<'_>, over: Value<'_>, drop: &[&str]) -> Option<()> {
        self.update(over)?;
        self.out.clear();
        merge(base, packed(&self.update), drop, &mut self.out)
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

    /// The member of this id without its user, which goes into another room; over the fields of the one that lies there, if one does.
    /// Answers whether there is a user. What is no user, or is another's, is left out.
    pub(crate) fn member(&mut self, id: u64, base: Option<Value<'_>>, over: Value<'_>, drop: &[&str], user: &mut Packer) -> Option<bool> {
        self.update(over)?;
        self.out.clear();
        let over = packed(&self.update);
        user.out.clear();
        let told = over.get("user").filter(|_| !drop.contains(&"user"));
        let told = told.filter(|told| told.kind() == TermKind::Map && told.get("id").and_then(Value::as_id) == Some(id));
        let given = told.map(|told| user.out.extend_from_slice(told.raw())).is_some();
        let mut all: SmallVec<[&str; 8]> = SmallVec::from_slice(drop);
        all.push("user");
        match base {
            Some(base) => merge(base, over, &all, &mut self.out)?,
            None => edit::without_keys(over, &all, &mut self.out).ok()?,
        }
        Some(given)
    }

    /// Anything that is written by hand.
    pub(crate) fn with_writer(&mut self, write: impl FnOnce(&mut PackedWriter) -> Option<()>) -> Option<()> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let mut writer = PackedWriter::onto(out);
        let written = write(&mut writer);
        self.out = writer.into_vec();
        written
    }

    /// One value beside what is being written.
    pub(crate) fn beside(&mut self, value: Value<'_>) -> Option<&[u8]> {
        self.update(value)?;
        Some(&self.update)
    }

    fn update(&mut self, over: Value<'_>) -> Option<()> {
        self.update.clear();
        transcode(over, Encoding::Packed, &mut self.update).ok().map(drop)
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
    let mut out = Vec::with_capacity(member.raw().len() + user.raw().len() + 16);
    edit::with_field(member, "user", user, &mut out).ok()?;
    Some(Bytes::from(out))
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
