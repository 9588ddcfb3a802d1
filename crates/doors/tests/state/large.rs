//! Questions that go through much: they are put to a core in steps, between which it does what else it has to do.

use std::sync::atomic::Ordering;

use trunkline_doors::Scope;
use trunkline_doors::state::{Answer, Page, Query, StateSource, Written};

use super::*;

const GUILDS: u64 = 5;
const THREADS: u64 = 1_500;
const MEMBERS: u64 = 10_000;

/// Guilds of 1 500 threads each, of which every third is below another channel, and in the first one 10 000 members.
fn large() -> BTreeMap<ShardId, Cache> {
    let mut cache = Cache::new(CacheConfig::default(), Users::default());
    for number in 1..=GUILDS {
        let id = number << 32;
        let members = if number == 1 { MEMBERS } else { 0 };
        let members: Vec<Json> = (0..members).map(|user| member(10_000 + user, "somebody", None, &[])).collect();
        let mut told_of = guild(id, &members);
        let thread = |n: u64| json!({ "id": (id + 1_000 + n).to_string(), "type": 11, "parent_id": (id + 10 + u64::from(n.is_multiple_of(3))).to_string() });
        told_of["threads"] = (0..THREADS).map(thread).collect();
        told(&mut cache, EventKind::GuildCreate, &told_of);
    }
    BTreeMap::from([(ShardId { bot: FIRST, index: 0, count: 1 }, cache)])
}

#[tokio::test]
async fn lists_of_all_threads_and_wipes_of_large_guilds_come_to_a_core_in_steps() {
    let directory = Directory::new(1);
    up(&directory, FIRST, 1);
    let looker = Looker::new(directory, vec![core_of(large)]);
    let live = Live::new(looker.clone());
    let scope = Scope::default();
    let asked = async |query| {
        let before = looker.stats().answered.load(Ordering::Relaxed);
        let answer = live.answer(None, &scope, query).await.unwrap();
        (answer, looker.stats().answered.load(Ordering::Relaxed) - before)
    };
    let ids = |answer: Answer| {
        let Answer::List { objects, next } = answer else { panic!("no list") };
        let ids: Vec<u64> = objects.iter().map(|object| object.value().get("id").and_then(Value::as_id).unwrap()).collect();
        (ids, next)
    };
    let all: Vec<u64> = (1..=GUILDS).flat_map(|number| (0..THREADS).map(move |n| (number << 32) + 1_000 + n)).collect();
    for (after, limit) in [(0, 10_000), (0, 2_000), (all[1_999], 2_000), (all[7_400], 2_000)] {
        let (answer, looks) = asked(Query::Threads(Page { after, limit })).await;
        let wanted: Vec<u64> = all.iter().copied().filter(|id| *id > after).take(limit).collect();
        let next = wanted.last().copied().filter(|_| wanted.len() == limit);
        assert_eq!(ids(answer), (wanted, next));
        assert_eq!(looks, 4, "one that counts, and of 4 096 threads at most each those that go through them");
    }
    let (answer, looks) = asked(Query::ChannelThreads((1 << 32) + 10, Page { after: 0, limit: 1_200 })).await;
    let below: Vec<u64> =
        all.iter().copied().enumerate().filter(|(n, id)| !n.is_multiple_of(3) && *id < 2 << 32).map(|(_, id)| id).collect();
    assert_eq!(ids(answer), (below.clone(), None));
    assert_eq!(looks, 3, "one that finds the guild, and two of 1 000 threads at most");
    let (answer, looks) = asked(Query::ChannelThreads((1 << 32) + 10, Page { after: below[9], limit: 5 })).await;
    assert_eq!((ids(answer), looks), ((below[10..15].to_vec(), Some(below[14])), 2));
    assert_eq!(ids(asked(Query::ChannelThreads(77, Page { after: 0, limit: 5 })).await.0), (vec![], None));

    let wiped = asked(Query::Wipe { guild: 1 << 32, kind: Written::Members }).await;
    assert!(matches!(wiped.0, Answer::Done) && wiped.1 >= 10 + 3, "{} looks: ids in steps, and a thousand members each", wiped.1);
    let members = asked(Query::GuildMembers(1 << 32, Page { after: 0, limit: 10 })).await.0;
    assert_eq!(ids(members), (vec![], None));
}
