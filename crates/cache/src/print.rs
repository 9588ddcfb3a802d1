//! What was told of somebody last, as a keyed hash: most of what events tell of members and users, they have told before, byte for byte.
//!
//! A print lies in the table in which the packed object is found, and says: this object has taken in whatever has this print, and was not
//! written since. Then taking the same in once more changes nothing, and nothing needs to be compared, or even read. What was never told, or
//! was told in other words, is compared as if
//! there were no prints ([`packed::update`](trunkline_etf::packed::update)); so a print saves work and never decides what an object is.
//!
//! That one thing is taken for another happens once in 2^64 changes, if at all: the hash has a key that is drawn when the process starts, so
//! nobody can look for a name that has the print of another.

use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

use foldhash::quality::RandomState;
use trunkline_etf::{Encoding, Kind, Value};

/// Of what was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Print(u64);

/// One for the process: users are shared by shards.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::default);

impl Print {
    /// The print of a map, all of it.
    pub(crate) fn of(told: Value<'_>) -> Option<Print> {
        // How many entries there are is said in front; what they are is behind it.
        match told.encoding() {
            Encoding::Etf => Some(Print::of_bytes(etf_map(told)?.get(ETF_HEAD..)?)),
            _ => (told.kind() == Kind::Map).then(|| Print::of_bytes(told.raw())),
        }
    }

    /// The print that a map has without some of its entries, so that a member has the same one whether it is told with its user or without.
    /// `parts` are values that lie in it, each with its key, in the order in which they lie. `None`: nobody can tell.
    pub(crate) fn without(told: Value<'_>, parts: &[(&str, Value<'_>)], room: &mut Vec<u8>) -> Option<Print> {
        let raw = etf_map(told)?;
        let (mut at, mut only) = (ETF_HEAD, None);
        room.clear();
        for (key, part) in parts {
            let value = (part.raw().as_ptr() as usize).checked_sub(raw.as_ptr() as usize)?;
            let before = raw.get(at..value)?.strip_suffix(key.as_bytes())?;
            let len = u8::try_from(key.len()).ok()?;
            // Atoms, with a length of two bytes as Discord writes them, or of one.
            let start = at
                + match *before {
                    [.., b'd' | b'v', 0, said] if said == len => before.len() - 3,
                    [.., b's' | b'w', said] if said == len => before.len() - 2,
                    _ => return None,
                };
            only = Some(raw.get(at..start)?).filter(|_| room.is_empty() && parts.len() == 1);
            if only.is_none_or(<[u8]>::is_empty) {
                room.extend_from_slice(raw.get(at..start)?);
            }
            at = value + part.raw().len();
        }
        let rest = raw.get(at..)?;
        // Most often its user lies in front of all else of a member, or behind it: then nothing needs to be put together.
        match only.filter(|only| !only.is_empty()) {
            Some(only) if rest.is_empty() => return Some(Print::of_bytes(only)),
            Some(only) => room.extend_from_slice(only),
            None if room.is_empty() => return Some(Print::of_bytes(rest)),
            None => {}
        }
        room.extend_from_slice(rest);
        Some(Print::of_bytes(room))
    }

    fn of_bytes(bytes: &[u8]) -> Print {
        let mut hasher = KEY.build_hasher();
        hasher.write(bytes);
        Print(hasher.finish())
    }

    /// As it lies in a table: of this print and an id's hash, so that it is nobody else's. Never 0.
    #[inline]
    pub(crate) fn of_id(self, hash: u64) -> u64 {
        (self.0 ^ hash).max(1)
    }
}

/// Bytes of an ETF map before its entries.
const ETF_HEAD: usize = 5;
/// The first of them.
const ETF_MAP: u8 = b't';

/// The bytes of an ETF map.
#[inline]
fn etf_map(told: Value<'_>) -> Option<&[u8]> {
    Some(told.raw()).filter(|raw| told.encoding() == Encoding::Etf && raw.first() == Some(&ETF_MAP))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use trunkline_etf::{EtfWriter, TermWrite};

    use super::*;

    /// A map as Discord sends one: with atoms as keys.
    fn etf(json: &str) -> Vec<u8> {
        let mut out = EtfWriter::term().with_atom_keys();
        let json = Value::from_raw(Encoding::Json, json.as_bytes());
        if json.kind() == Kind::Map {
            out.begin_map(json.len());
            for (key, value) in json.entries() {
                out.key(&key.as_str().unwrap());
                out.value(value).unwrap();
            }
            out.end_map();
        } else {
            out.value(json).unwrap();
        }
        out.into_vec()
    }

    fn value(bytes: &[u8]) -> Value<'_> {
        Value::from_raw(Encoding::Etf, bytes)
    }

    #[test]
    fn a_member_has_one_print_wherever_its_user_and_guild_lie() {
        let bare = etf(r#"{"nick":null,"roles":["1","22"],"deaf":false}"#);
        let wanted = Print::of(value(&bare));
        assert!(wanted.is_some());
        let mut room = Vec::new();
        for member in [
            r#"{"user":{"id":"7"},"nick":null,"roles":["1","22"],"deaf":false}"#,
            r#"{"nick":null,"user":{"id":"7"},"roles":["1","22"],"deaf":false}"#,
            r#"{"nick":null,"roles":["1","22"],"deaf":false,"user":{"id":"8","a":[]}}"#,
        ] {
            let member = etf(member);
            let user = value(&member).get("user").unwrap();
            assert_eq!(Print::without(value(&member), &[("user", user)], &mut room), wanted);
            // A value that is not under the key it is said to be under.
            assert_eq!(Print::without(value(&member), &[("nick", user)], &mut room), None);
            assert_eq!(Print::without(value(&member), &[("user", value(&bare))], &mut room), None);
        }
        let update = etf(r#"{"guild_id":"5","nick":null,"roles":["1","22"],"user":{"id":"7"},"deaf":false}"#);
        let [guild, user] = value(&update).get_all(["guild_id", "user"]);
        let parts = [("guild_id", guild.unwrap()), ("user", user.unwrap())];
        assert_eq!(Print::without(value(&update), &parts, &mut room), wanted);
        // In the order in which they do not lie.
        assert_eq!(Print::without(value(&update), &[parts[1], parts[0]], &mut room), None);
    }

    #[test]
    fn what_differs_in_a_byte_has_another_print_and_what_is_no_map_has_none() {
        let mut prints = std::collections::BTreeSet::new();
        for number in 0..10_000 {
            let print = Print::of(value(&etf(&format!(r#"{{"nick":"{number}","deaf":false}}"#)))).unwrap();
            assert!(print.of_id(7) != 0 && prints.insert(print.of_id(7)));
            assert_ne!(print.of_id(7), print.of_id(8), "another member's");
        }
        assert_eq!(Print::of(value(&etf("[1]"))), None);
        assert_eq!(Print::of(value(b"t\0\0")), None);
        assert!(Print::of(Value::from_raw(Encoding::Json, b"{}")).is_some());
        assert_eq!(Print::of(Value::from_raw(Encoding::Json, b"null")), None);
    }
}
