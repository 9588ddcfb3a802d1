//! The stored form of one object, and the ways in which objects are written anew.
//!
//! Stored form: a document of its encoding. ETF begins with its version byte, JSON with a space, so the first byte
//! says which it is, and a stored form can be parsed as it lies.

use bytes::Bytes;
use trunkline_discord::Object;
use trunkline_etf::{ETF_VERSION, Encoding, EtfWriter, Ids, JsonWriter, Kind, Limits, TermWrite, Value};

/// One object, owning exactly its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored(Bytes);

impl Stored {
    pub(crate) fn copy_of(value: Value<'_>) -> Stored {
        let mut out = Vec::with_capacity(1 + value.raw().len());
        out.push(mark(value.encoding()));
        out.extend_from_slice(value.raw());
        Stored(Bytes::from(out))
    }

    /// Checks a stored form from outside.
    pub(crate) fn load(bytes: Bytes, kind: Kind) -> Option<Stored> {
        let encoding = match *bytes.first()? {
            ETF_VERSION => Encoding::Etf,
            b' ' => Encoding::Json,
            _ => return None,
        };
        let value = Value::parse(encoding, &bytes, &Limits::GATEWAY).ok()?;
        // Bytes around the term would be kept for nothing, and would not come out of `Stored` as they went in.
        let whole = value.kind() == kind && value.raw().len() + 1 == bytes.len();
        whole.then_some(Stored(bytes))
    }

    pub(crate) fn value(&self) -> Value<'_> {
        Value::from_raw(self.encoding(), self.0.get(1..).unwrap_or_default())
    }

    pub(crate) fn object(&self) -> Object {
        Object { encoding: self.encoding(), bytes: self.0.slice(self.0.len().min(1)..) }
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.0
    }

    fn encoding(&self) -> Encoding {
        if self.0.first() == Some(&ETF_VERSION) { Encoding::Etf } else { Encoding::Json }
    }
}

fn mark(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::Etf => ETF_VERSION,
        Encoding::Json => b' ',
    }
}

/// A number that is written into an object in the place of a field.
pub(crate) type Field<'a> = (&'static str, Value<'a>);

/// Writes a map: `base`'s entries without those named in `drop`, each replaced by `over`'s entry of the same key, then
/// what `over` has beyond them, then `more`. `over` wins, and `drop` applies to both. Written in `over`'s encoding if
/// there is one, else in `base`'s. `None` where a part cannot be written in it.
pub(crate) fn merged(base: Option<Value<'_>>, over: Option<Value<'_>>, drop: &[&str], more: Option<Field<'_>>) -> Option<Stored> {
    let encoding = over.or(base)?.encoding();
    written(encoding, |out| write_merged(out, base, over, drop, more))
}

fn write_merged(
    out: &mut dyn TermWrite,
    base: Option<Value<'_>>,
    over: Option<Value<'_>>,
    drop: &[&str],
    more: Option<Field<'_>>,
) -> Option<()> {
    let over: Vec<(Value<'_>, Value<'_>)> = over.map(|over| over.entries().collect()).unwrap_or_default();
    let mut used = vec![false; over.len()];
    let dropped = |key: Value<'_>| drop.iter().chain(more.iter().map(|(key, _)| key)).any(|name| key.is_key(name));
    out.begin_map(over.len());
    for (key, value) in base.into_iter().flat_map(Value::entries) {
        if dropped(key) {
            continue;
        }
        let newer = match key.as_str() {
            Some(text) => over.iter().position(|(over, _)| over.is_key(&text)),
            None => None,
        };
        out.key_from(key).ok()?;
        match newer {
            Some(at) => {
                used[at] = true;
                out.value(over[at].1).ok()?;
            }
            None => out.value(value).ok()?,
        }
    }
    for ((key, value), used) in over.iter().zip(used) {
        if !used && !dropped(*key) {
            out.key_from(*key).ok()?;
            out.value(*value).ok()?;
        }
    }
    if let Some((key, value)) = more {
        out.key(key);
        out.value(value).ok()?;
    }
    out.end_map();
    Some(())
}

/// A member without the roles that `keep` says are gone; `None` if it has no such role.
pub(crate) fn without_roles(member: Value<'_>, keep: impl Fn(u64) -> bool) -> Option<Stored> {
    let roles = member.get("roles")?;
    let gone = |role: &Value<'_>| role.as_id().is_some_and(|id| !keep(id));
    if !roles.items().any(|role| gone(&role)) {
        return None;
    }
    let kept = list(member.encoding(), roles.items().filter(|role| !gone(role)))?;
    merged(Some(member), None, &[], Some(("roles", kept.value())))
}

/// A list of terms.
pub(crate) fn list<'a>(encoding: Encoding, items: impl Iterator<Item = Value<'a>>) -> Option<Stored> {
    written(encoding, |out| {
        out.begin_list(0);
        for item in items {
            out.value(item).ok()?;
        }
        out.end_list();
        Some(())
    })
}

/// A number.
pub(crate) fn integer(encoding: Encoding, number: i64) -> Option<Stored> {
    written(encoding, |out| {
        out.int(number);
        Some(())
    })
}

fn written(encoding: Encoding, write: impl FnOnce(&mut dyn TermWrite) -> Option<()>) -> Option<Stored> {
    let term = match encoding {
        Encoding::Etf => {
            let mut out = EtfWriter::term().with_atom_keys().with_ids(Ids::Integers);
            write(&mut out)?;
            out.into_vec()
        }
        Encoding::Json => {
            let mut out = JsonWriter::new();
            write(&mut out)?;
            out.into_vec()
        }
    };
    Some(Stored::copy_of(Value::from_raw(encoding, &term)))
}
