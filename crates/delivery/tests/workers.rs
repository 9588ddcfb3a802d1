//! Workers that share guilds, come, go, break, drain and lag: each rule by its name.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, group};
use trunkline_delivery::{AskWhy, Credit, EntryId, Filter, GroupId, HubError, Slot, StreamId};

const PLENTY: Credit = Credit { events: 1_000, bytes: 1 << 30 };

fn credit(events: u32) -> Credit {
    Credit { events, ..PLENTY }
}

fn world() -> World {
    World::new(1, vec![group(0)])
}

/// Guilds of which the first belongs to this worker, among those who are in `all`.
fn guild_of(worker: &str, all: &[&str]) -> u64 {
    (1..).find(|guild| all.iter().max_by_key(|id| common::claim(id, *guild)) == Some(&worker)).unwrap()
}

fn sequences(world: &World, stream: u64) -> Vec<u64> {
    world.streams[&stream].got.iter().filter_map(|got| Some(got.name?.2)).collect()
}

fn redelivered(world: &World, stream: u64) -> Vec<bool> {
    world.streams[&stream].got.iter().map(|got| got.redelivered).collect()
}

#[test]
fn an_event_goes_to_its_worker_at_once() {
    let mut world = world();
    let stream = world.join(0, "a", PLENTY);
    world.offer(0, 1, 10);
    assert_eq!(sequences(&world, stream), [1]);
    assert_eq!(world.ack_all(stream), 1);
    world.run_until_quiet();
}

#[test]
fn a_group_without_workers_holds_everything_until_one_comes() {
    let mut world = world();
    (0..500).for_each(|nth| world.offer(0, nth % 7, 10));
    let stream = world.join(0, "a", PLENTY);
    assert_eq!(sequences(&world, stream), (1..=500).collect::<Vec<_>>());
    assert!(redelivered(&world, stream).iter().all(|again| !again));
    world.run_until_quiet();
}

#[test]
fn guilds_are_shared_by_rendezvous_hash_of_guild_and_worker() {
    let mut world = world();
    let streams = ["a", "b", "c"].map(|id| world.join(0, id, PLENTY));
    for (id, stream) in ["a", "b", "c"].iter().zip(streams) {
        let guild = guild_of(id, &["a", "b", "c"]);
        world.offer(0, guild, 10);
        assert_eq!(world.streams[&stream].held.last().unwrap().key, guild);
    }
    world.run_until_quiet();
}

#[test]
fn a_joining_worker_gets_a_guild_only_after_the_old_one_has_acknowledged() {
    let mut world = world();
    let a = world.join(0, "a", PLENTY);
    let guild = guild_of("b", &["a", "b"]);
    world.offer(0, guild, 10);
    let b = world.join(0, "b", PLENTY);
    assert_eq!(world.streams[&a].asked, [AskWhy::HandOver]);
    world.offer(0, guild, 10);
    world.offer(0, guild, 10);
    assert_eq!(sequences(&world, b), [] as [u64; 0]);
    world.ack_all(a);
    assert_eq!(sequences(&world, b), [2, 3]);
    assert_eq!(sequences(&world, a), [1]);
    world.run_until_quiet();
}

#[test]
fn a_worker_that_never_acknowledges_is_asked_once_per_need_and_delays_its_guilds_only() {
    let mut world = world();
    let a = world.join(0, "a", PLENTY);
    let (moves, stays) = (guild_of("b", &["a", "b"]), guild_of("a", &["a", "b"]));
    world.offer(0, moves, 10);
    let b = world.join(0, "b", PLENTY);
    (0..5).for_each(|_| world.offer(0, moves, 10));
    world.offer(0, stays, 10);
    assert_eq!(sequences(&world, a), [1, 7]);
    assert_eq!(world.streams[&a].asked.len(), 1);
    assert!(sequences(&world, b).is_empty());
    world.leave(a);
    assert_eq!(sequences(&world, b), [1, 2, 3, 4, 5, 6, 7]);
    world.run_until_quiet();
}

#[test]
fn a_worker_dies_mid_batch_and_its_events_go_to_the_rest_in_order_and_marked() {
    let mut world = world();
    let a = world.join(0, "a", credit(3));
    (0..6).for_each(|_| world.offer(0, 1, 10));
    world.ack(a, |nth, _| nth == 1);
    assert_eq!(sequences(&world, a), [1, 2, 3, 4]);
    world.leave(a);
    let b = world.join(0, "b", PLENTY);
    assert_eq!(sequences(&world, b), [1, 3, 4, 5, 6]);
    assert_eq!(redelivered(&world, b), [true, true, true, false, false]);
    world.run_until_quiet();
}

#[test]
fn the_guilds_of_a_broken_stream_wait_for_the_worker_during_the_grace() {
    let mut world = world();
    let a = world.join(0, "a", PLENTY);
    let b = world.join(0, "b", PLENTY);
    let guild = guild_of("a", &["a", "b"]);
    world.offer(0, guild, 10);
    world.broke(a);
    world.offer(0, guild, 10);
    world.tick(4_999);
    assert!(sequences(&world, b).is_empty());
    let again = world.join(0, "a", PLENTY);
    assert_eq!(sequences(&world, again), [1, 2]);
    assert_eq!(redelivered(&world, again), [true, false]);
    world.run_until_quiet();
}

#[test]
fn after_the_grace_a_broken_workers_guilds_go_to_the_others() {
    let mut world = world();
    let a = world.join(0, "a", PLENTY);
    let b = world.join(0, "b", PLENTY);
    let guild = guild_of("a", &["a", "b"]);
    world.offer(0, guild, 10);
    world.broke(a);
    world.offer(0, guild, 10);
    let next = world.tick(1_000).unwrap();
    assert_eq!(next.as_millis(), world.now.as_millis() + 4_000);
    world.tick(4_000);
    assert_eq!(sequences(&world, b), [1, 2]);
    assert_eq!(redelivered(&world, b), [true, false]);
    world.run_until_quiet();
}

#[test]
fn acknowledgements_for_a_broken_stream_count_until_the_worker_is_back() {
    let mut world = world();
    let a = world.join(0, "a", PLENTY);
    (0..3).for_each(|_| world.offer(0, 1, 10));
    world.broke(a);
    world.ack(a, |nth, _| nth < 2);
    let again = world.join(0, "a", PLENTY);
    assert_eq!(sequences(&world, again), [3]);
    world.act(|hub, now, out| hub.acked(StreamId(a), &[EntryId { slot: Slot(0), position: 2 }], now, out));
    assert_eq!(world.hub.stats(world.now).ignored_acks, 1);
    world.run_until_quiet();
}

#[test]
fn a_newer_stream_of_a_worker_replaces_the_older_and_gets_its_unacknowledged_again() {
    let mut world = world();
    world.join(0, "a", PLENTY);
    (0..3).for_each(|_| world.offer(0, 1, 10));
    let newer = world.join(0, "a", credit(2));
    assert_eq!(sequences(&world, newer), [1, 2]);
    assert_eq!(redelivered(&world, newer), [true, true]);
    world.run_until_quiet();
}

#[test]
fn a_draining_worker_gets_nothing_new_and_is_told_when_nothing_is_in_flight() {
    let mut world = world();
    let a = world.join(0, "a", PLENTY);
    world.offer(0, 1, 10);
    world.drain(a);
    assert_eq!(world.streams[&a].asked, [AskWhy::Drain]);
    world.offer(0, 1, 10);
    let b = world.join(0, "b", PLENTY);
    assert!(sequences(&world, b).is_empty());
    assert!(!world.streams[&a].drained);
    world.ack_all(a);
    assert!(world.streams[&a].drained);
    assert_eq!(sequences(&world, b), [2]);
    world.leave(a);
    world.run_until_quiet();
}

#[test]
fn what_a_draining_worker_never_acknowledged_goes_to_the_others_when_it_leaves() {
    let mut world = world();
    let a = world.join(0, "a", PLENTY);
    (0..3).for_each(|_| world.offer(0, 1, 10));
    world.drain(a);
    let b = world.join(0, "b", PLENTY);
    world.ack(a, |nth, _| nth == 0);
    world.leave(a);
    assert_eq!(sequences(&world, b), [2, 3]);
    assert_eq!(redelivered(&world, b), [true, true]);
    world.run_until_quiet();
}

#[test]
fn a_draining_worker_with_nothing_in_flight_is_drained_at_once() {
    let mut world = world();
    let a = world.join(0, "a", PLENTY);
    world.drain(a);
    assert!(world.streams[&a].drained && world.streams[&a].asked.is_empty());
}

#[test]
fn a_slow_worker_slows_only_its_own_guilds() {
    let mut world = world();
    let slow = world.join(0, "slow", credit(1));
    let fast = world.join(0, "fast", PLENTY);
    let (of_slow, of_fast) = (guild_of("slow", &["slow", "fast"]), guild_of("fast", &["slow", "fast"]));
    for _ in 0..1_000 {
        world.offer(0, of_slow, 10);
        world.offer(0, of_fast, 10);
        if world.streams[&fast].held.len() > 100 {
            world.ack_all(fast);
        }
    }
    assert_eq!(world.streams[&slow].got.len(), 1);
    assert_eq!(world.streams[&fast].got.len(), 1_000);
    world.run_until_quiet();
}

#[test]
fn credit_is_never_exceeded_and_comes_back_with_acknowledgements() {
    let mut world = world();
    let a = world.join(0, "a", credit(2));
    (0..5).for_each(|_| world.offer(0, 1, 10));
    assert_eq!(world.streams[&a].held.len(), 2);
    world.ack(a, |nth, _| nth == 0);
    assert_eq!(sequences(&world, a), [1, 2, 3]);
    world.lend(a, credit(4));
    assert_eq!(sequences(&world, a), [1, 2, 3, 4, 5]);
    world.run_until_quiet();
}

#[test]
fn an_event_larger_than_the_byte_credit_goes_when_nothing_is_in_flight() {
    let mut world = world();
    let a = world.join(0, "a", Credit { events: 10, bytes: 2_000 });
    world.offer(0, 1, 10);
    world.offer(0, 1, 100_000);
    world.offer(0, 1, 10);
    assert_eq!(sequences(&world, a), [1]);
    world.ack_all(a);
    assert_eq!(sequences(&world, a), [1, 2]);
    world.ack_all(a);
    assert_eq!(sequences(&world, a), [1, 2, 3]);
    world.run_until_quiet();
}

#[test]
fn acknowledgements_of_what_is_not_in_flight_there_are_counted_and_ignored() {
    let mut world = world();
    let a = world.join(0, "a", PLENTY);
    let b = world.join(0, "b", PLENTY);
    world.offer(0, guild_of("a", &["a", "b"]), 10);
    let entry = world.streams[&a].held[0].entry;
    let wild = EntryId { slot: Slot(99), position: u64::MAX };
    world.act(|hub, now, out| hub.acked(StreamId(b), &[entry, wild], now, out));
    assert_eq!(world.hub.stats(world.now).groups[0].ignored_acks, 2);
    assert_eq!(world.hub.stats(world.now).groups[0].entries, 1);
    world.run_until_quiet();
}

#[test]
fn what_a_workers_own_filter_does_not_want_counts_as_acknowledged() {
    let mut world = world();
    let only_messages = Filter { events: vec!["MESSAGE_CREATE".into()], ..Filter::default() };
    let a = world.join_with(0, "a", PLENTY, Some(only_messages));
    for _ in 0..10 {
        world.offer(0, 1, 10);
    }
    assert_eq!(sequences(&world, a), [1, 2, 3, 4, 6, 7, 8, 9]);
    let stats = world.hub.stats(world.now).groups[0].clone();
    assert_eq!((stats.filtered, stats.entries), (2, 8));
}

#[test]
fn each_group_has_its_own_position_and_filter() {
    let mut picky = group(1);
    picky.filter = Filter { exclude_events: vec!["MESSAGE_CREATE".into()], ..Filter::default() };
    let mut world = World::new(1, vec![group(0), picky]);
    let all = world.join(0, "a", PLENTY);
    (0..10).for_each(|_| world.offer(0, 1, 10));
    world.ack_all(all);
    let some = world.join(1, "a", PLENTY);
    assert_eq!(sequences(&world, some), [5, 10]);
    world.run_until_quiet();
}

#[test]
fn a_busy_shards_backlog_does_not_starve_another_shard() {
    let mut world = World::new(2, vec![group(0)]);
    (0..5_000).for_each(|_| world.offer(0, 1, 10));
    world.offer(1, 2, 10);
    let a = world.join(0, "a", credit(200));
    assert!(world.streams[&a].got.iter().any(|got| got.entry.slot == Slot(1)));
    world.run_until_quiet();
}

#[test]
fn a_stop_sends_nothing_new_asks_everybody_and_ends_when_all_is_acknowledged() {
    let mut world = world();
    let a = world.join(0, "a", credit(2));
    let idle = world.join(0, "b", PLENTY);
    let guild = guild_of("a", &["a", "b"]);
    (0..4).for_each(|_| world.offer(0, guild, 10));
    world.act(|hub, now, out| hub.quiesce(now, out));
    assert_eq!(world.streams[&a].asked, [AskWhy::Stop]);
    assert!(world.streams[&idle].asked.is_empty() && !world.quiet);
    world.ack(a, |nth, _| nth == 0);
    assert!(!world.quiet);
    world.ack_all(a);
    assert!(world.quiet);
    assert_eq!(sequences(&world, a), [1, 2]);
}

#[test]
fn a_stop_with_nothing_in_flight_is_quiet_at_once() {
    let mut world = world();
    world.offer(0, 1, 10);
    world.act(|hub, now, out| hub.quiesce(now, out));
    assert!(world.quiet);
}

#[test]
fn a_late_join_of_a_replaced_stream_is_refused_and_changes_nothing() {
    let mut world = world();
    let old = world.next_stream;
    world.next_stream += 1;
    let new = world.join(0, "a", PLENTY);
    world.offer(0, 1, 10);
    let late = world.act(|hub, now, out| hub.join(GroupId(0), "a".into(), StreamId(old), None, PLENTY, now, out));
    assert_eq!(late, Err(HubError::Replaced { worker: "a".into(), by: StreamId(new) }));
    world.act(|hub, now, out| hub.broke(StreamId(old), now, out));
    world.act(|hub, now, out| hub.leave(StreamId(old), now, out));
    world.offer(0, 1, 10);
    assert_eq!(sequences(&world, new), [1, 2]);
    // A stream that broke is waited for, but not in the shape of an older one.
    world.broke(new);
    let late = world.act(|hub, now, out| hub.join(GroupId(0), "a".into(), StreamId(old), None, PLENTY, now, out));
    assert!(late.unwrap_err().to_string().contains("newer stream"));
    let again = world.join(0, "a", PLENTY);
    assert_eq!(sequences(&world, again), [1, 2]);
    world.run_until_quiet();
}

#[test]
fn a_group_beyond_the_limit_or_declared_twice_is_refused_with_its_name() {
    let mut world = World::new(0, (0..64).map(group).collect());
    let error = world.hub.declare(group(64)).unwrap_err();
    assert!(error.to_string().contains("group-64") && error.to_string().contains("at most 64"), "{error}");
    assert!(matches!(world.hub.declare(group(3)), Err(HubError::GroupExists { .. })));
    let join = world.act(|hub, now, out| hub.join(GroupId(900), "a".into(), StreamId(1), None, PLENTY, now, out));
    assert_eq!(join, Err(HubError::NoGroup { group: GroupId(900) }));
}
