//! Pages: no answer grows with a guild.
//!
//! A list is cut at the asked number, at [`LIST_LIMIT_MAX`], and where the answer would come near gRPC's usual 4 MiB, whichever is first;
//! the answer says whether there is more, and the next page begins after its last element.

use prost::Message;
use trunkline_cache::Found;
use trunkline_etf::Value;

/// Elements of one answer at most; what Discord's own lists of members have.
pub const LIST_LIMIT_MAX: usize = 1_000;

/// Bytes of an answer's elements at most: below the 4 MiB that a gRPC client takes unless told otherwise, with room for what is around them.
pub const ANSWER_BYTES_MAX: usize = 7 << 19;

/// The limit of a request: what it asks for, within the server's; 0 asks for the server's.
pub(super) fn limit_of(asked: u32) -> usize {
    match usize::try_from(asked) {
        Ok(0) | Err(_) => LIST_LIMIT_MAX,
        Ok(asked) => asked.min(LIST_LIMIT_MAX),
    }
}

/// One page of an answer.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// Any of them may be old.
    pub(super) stale: bool,
    pub(super) more: bool,
}

/// How messages lie in a list: key and length before each.
const ELEMENT_BYTES: usize = 8;

impl<T: Message> Page<T> {
    /// Converts what was found, at most `limit` of it. Ask the cache for one more than the limit, so that the page knows whether there is more.
    pub(super) fn of<F>(found: impl IntoIterator<Item = F>, limit: usize, stale: impl Fn(&F) -> bool, convert: impl Fn(F) -> T) -> Page<T> {
        let mut page = Page { items: Vec::new(), stale: false, more: false };
        let mut bytes = 0;
        for one in found {
            if page.items.len() == limit {
                page.more = true;
                break;
            }
            let old = stale(&one);
            let item = convert(one);
            bytes += item.encoded_len() + ELEMENT_BYTES;
            // One alone always goes: a page that never moves would have its reader ask for ever.
            if bytes > ANSWER_BYTES_MAX && !page.items.is_empty() {
                page.more = true;
                break;
            }
            page.stale |= old;
            page.items.push(item);
        }
        page
    }

    /// A page of objects as the cache gave them.
    pub(super) fn of_found(found: Vec<Found>, limit: usize, convert: impl Fn(Value<'_>, u64) -> T) -> Page<T> {
        Page::of(found, limit, |found| found.stale, |found| convert(found.object.value(), found.guild_id))
    }
}

/// One object, converted, with whether it may be old.
pub(super) fn one<T>(found: Option<Found>, convert: impl FnOnce(Value<'_>, u64) -> T) -> (Option<T>, bool) {
    match found {
        Some(found) => (Some(convert(found.object.value(), found.guild_id)), found.stale),
        None => (None, false),
    }
}

/// The part of a list object (a guild's emojis or stickers) that makes a page: elements above `after`, ascending by id, one more than the limit.
pub(super) fn of_list<'a>(list: Value<'a>, after: u64, limit: usize) -> Vec<(u64, Value<'a>)> {
    let mut items: Vec<_> = list.items().filter_map(|item| Some((item.get("id")?.as_id()?, item))).filter(|(id, _)| *id > after).collect();
    items.sort_by_key(|(id, _)| *id);
    items.truncate(limit + 1);
    items
}
