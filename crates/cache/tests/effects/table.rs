//! Rows of "this event, told to this world, gives that", and what is asked of each.

use serde_json::{Value as Json, json};
use trunkline_cache::{Cache, Kind};
use trunkline_discord::EventKind as K;
use trunkline_etf::Encoding;

use crate::common::{BASE, BOTH, Disk, apply, found, id, json, previous};

/// A question to a cache, about guild 1 where it is about a guild.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Guild,
    Channel(u64),
    Member(u64),
    User(u64),
    Message(u64),
    /// Messages of a channel: their ids, the newest in front.
    Messages(u64),
    Emojis,
    Stickers,
    Invite(&'static str),
    One(Kind, u64),
    /// How many there are of a kind.
    Count(Kind),
    MemberCount,
    Mutual(u64),
}

impl Ask {
    fn of(&self, cache: &Cache) -> Option<Json> {
        let guild = BASE + 1;
        match *self {
            Ask::Guild => found(cache.guild(guild)),
            Ask::Channel(id) => found(cache.channel(BASE + id)),
            Ask::Member(id) => found(cache.member(guild, BASE + id)),
            Ask::User(id) => found(cache.user(BASE + id)),
            Ask::Message(id) => found(cache.message(BASE + id)),
            Ask::Messages(channel) => {
                let all = cache.messages(BASE + channel, u64::MAX, 100);
                Some(all.iter().map(|found| json(&found.object)["id"].clone()).collect())
            }
            Ask::Emojis => found(cache.one(Kind::Emojis, guild, 0)),
            Ask::Stickers => found(cache.one(Kind::Stickers, guild, 0)),
            Ask::Invite(code) => found(cache.invite_by_code(guild, code)),
            Ask::One(kind, id) => {
                let outside = matches!(kind, Kind::DirectChannel | Kind::Entitlement | Kind::Subscription);
                found(cache.one(kind, if outside { 0 } else { guild }, BASE + id))
            }
            Ask::Count(kind) => Some(json!(cache.size(kind).count)),
            Ask::MemberCount => Some(found(cache.guild(guild))?["member_count"].clone()),
            Ask::Mutual(user) => Some(cache.mutual_guilds(BASE + user).iter().map(|guild| guild - BASE).collect()),
        }
    }
}

pub(crate) struct Row {
    pub(crate) kind: K,
    why: &'static str,
    before: Vec<(K, Json)>,
    d: Json,
    previous: Option<Json>,
    then: Vec<(Ask, Option<Json>)>,
    counts: bool,
    ends_doubt: bool,
}

pub(crate) fn row(kind: K, why: &'static str, d: Json) -> Row {
    Row { kind, why, before: Vec::new(), d, previous: None, then: Vec::new(), counts: false, ends_doubt: kind == K::GuildCreate }
}

impl Row {
    /// An event before it.
    pub(crate) fn after(mut self, kind: K, d: Json) -> Row {
        self.before.push((kind, d));
        self
    }

    /// What is told as the object before.
    pub(crate) fn previous(mut self, previous: Json) -> Row {
        self.previous = Some(previous);
        self
    }

    pub(crate) fn gives(mut self, ask: Ask, json: Json) -> Row {
        self.then.push((ask, Some(json)));
        self
    }

    pub(crate) fn gone(mut self, ask: Ask) -> Row {
        self.then.push((ask, None));
        self
    }

    /// Told twice it counts twice: nothing in the event says that it was told before.
    pub(crate) fn counts(mut self) -> Row {
        self.counts = true;
        self
    }
}

fn load(cache: &mut Cache, disk: &mut Disk) -> Cache {
    disk.stop(cache);
    disk.load(true)
}

/// Every row, told in one encoding after the world was told in another, to a cache as it is and to one that came back from a clean stop.
pub(crate) fn check(world: &[(K, Json)], rows: &[Row]) {
    for row in rows {
        for told_in in BOTH {
            for updated_in in BOTH {
                for restart in [false, true] {
                    let at = format!("{}: {} ({told_in:?} then {updated_in:?}, restart: {restart})", row.kind.name(), row.why);
                    let (mut cache, mut disk) = (told(world, told_in), Disk::default());
                    if restart {
                        cache = load(&mut cache, &mut disk);
                    }
                    run(&mut cache, &mut disk, row, updated_in, &at);
                    lost(told(world, told_in), row, updated_in, &at);
                    stranger(row, updated_in, &at);
                }
            }
        }
    }
}

fn run(cache: &mut Cache, disk: &mut Disk, row: &Row, encoding: Encoding, at: &str) {
    for (kind, d) in &row.before {
        assert!(!apply(cache, encoding, *kind, d).malformed, "{at}: before it {}", kind.name());
    }
    assert_eq!(previous(apply(cache, encoding, row.kind, &row.d)), row.previous, "{at}: previous");
    asked(cache, row, at);
    if !row.counts {
        assert!(!apply(cache, encoding, row.kind, &row.d).malformed);
        asked(cache, row, &format!("{at}, told twice"));
    }
    let again = load(cache, disk);
    asked(&again, row, &format!("{at}, loaded"));
    assert_eq!(again.changes_pending(), 0, "{at}: what was loaded needs no saving");
}

fn asked(cache: &Cache, row: &Row, at: &str) {
    for (ask, wanted) in &row.then {
        assert_eq!(&ask.of(cache), wanted, "{at}: {ask:?}");
    }
}

/// After a session that was not resumed the same event is taken, and tells of no object before it.
fn lost(mut cache: Cache, row: &Row, encoding: Encoding, at: &str) {
    cache.ready(&[BASE + 1]);
    let change = apply(&mut cache, encoding, row.kind, &row.d);
    assert!(!change.malformed, "{at}");
    let own = matches!(row.kind, K::UserUpdate);
    assert_eq!(change.previous.is_some(), own && row.previous.is_some(), "{at}: previous after a lost session");
    if !row.ends_doubt && cache.guild_ids().any(|guild| guild == BASE + 1) {
        assert!(cache.guild(BASE + 1).unwrap().stale, "{at}: only a GUILD_CREATE confirms");
    }
}

/// For a guild that the shard does not have nothing is kept.
fn stranger(row: &Row, encoding: Encoding, at: &str) {
    let named = row.d.get("guild_id").is_some() && !matches!(row.kind, K::EntitlementCreate | K::EntitlementUpdate);
    if named {
        let mut cache = Cache::default();
        assert!(!apply(&mut cache, encoding, row.kind, &row.d).malformed, "{at}");
        for kind in Kind::ALL {
            assert_eq!(cache.size(kind).count, 0, "{at}: {kind:?} of a guild that the shard does not have");
        }
        assert_eq!(cache.take_changes(), [], "{at}");
    }
}

pub(crate) fn told(world: &[(K, Json)], encoding: Encoding) -> Cache {
    let mut cache = Cache::default();
    cache.ready(&[BASE + 1]);
    for (kind, d) in world {
        assert!(!apply(&mut cache, encoding, *kind, d).malformed, "{}", kind.name());
    }
    cache
}

/// `json` with some fields set.
pub(crate) fn with(json: &Json, fields: Json) -> Json {
    let mut out = json.clone();
    for (key, value) in fields.as_object().unwrap() {
        out[key] = value.clone();
    }
    out
}

/// `json` without some fields.
pub(crate) fn without(json: &Json, keys: &[&str]) -> Json {
    let mut out = json.clone();
    out.as_object_mut().unwrap().retain(|key, _| !keys.contains(&key.as_str()));
    out
}

/// With the guild's id.
pub(crate) fn here(json: Json) -> Json {
    with(&json, json!({"guild_id": id(1)}))
}
