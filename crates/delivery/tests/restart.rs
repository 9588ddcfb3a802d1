//! Limits, disk, checkpoints and restarts: each rule by its name.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::{UNIX_US, World, event, group, shard};
use trunkline_delivery::*;
use trunkline_discord::{Encoding, Gap, GapCause, GuildOrigin, Object, Time};

const PLENTY: Credit = Credit { events: 100_000, bytes: 1 << 40 };

fn small(memory_bytes: u64, disk_bytes: u64, age_ms: u64) -> World {
    let mut spec = group(0);
    spec.limits = GroupLimits { memory_bytes, disk_bytes, age_ms };
    World::new(1, vec![spec, group(1)])
}

fn sequences(world: &World, stream: u64) -> Vec<u64> {
    world.streams[&stream].got.iter().filter_map(|got| Some(got.name?.2)).collect()
}

fn gaps(world: &World, stream: u64) -> Vec<Gap> {
    world.streams[&stream].got.iter().filter_map(|got| got.gap.clone()).collect()
}

#[test]
fn over_its_memory_limit_a_group_lies_on_disk_and_loses_nothing() {
    let mut world = small(20_000, 1 << 30, 1 << 30);
    for nth in 0..2_000 {
        world.offer(0, nth % 9, 300);
        if nth % 25 == 0 {
            world.checkpoint(0);
        }
    }
    world.checkpoint(0);
    let stats = world.hub.stats(world.now).groups[0].clone();
    assert!(stats.memory_bytes <= 20_000 && stats.disk_bytes > 1_000_000, "{stats:?}");
    let a = world.join(0, "a", Credit { events: 100, bytes: 1 << 30 });
    while world.ack_all(a) > 0 {}
    assert_eq!(sequences(&world, a), (1..=2_000).collect::<Vec<_>>());
    assert!(world.loads > 1_900 && world.fell.is_empty());
    world.run_until_quiet();
}

#[test]
fn at_its_disk_limit_a_group_loses_its_oldest_and_is_told_the_exact_range() {
    let mut world = small(10_000, 100_000, 1 << 30);
    for nth in 0..1_000 {
        world.offer(0, nth % 9, 300);
        if nth % 10 == 0 {
            world.checkpoint(0);
        }
    }
    assert!(world.fell.iter().all(|(group, gap)| *group == GroupId(0) && gap.cause == GapCause::LogDisk));
    let (a, b) = (world.join(0, "a", PLENTY), world.join(1, "b", PLENTY));
    let told = gaps(&world, a);
    // What was untold is one gap, however often the group fell.
    assert_eq!(told.len(), 1);
    let last = told[0].last_s.unwrap();
    assert_eq!((told[0].first_s, told[0].events), (Some(1), Some(last)));
    assert_eq!(sequences(&world, a), (last + 1..=1_000).collect::<Vec<_>>());
    assert_eq!(sequences(&world, b), (1..=1_000).collect::<Vec<_>>(), "another group lost something");
    let stats = world.hub.stats(world.now).groups[0].clone();
    assert_eq!(stats.events_in_gaps, last);
    assert!(stats.gaps.contains(&(GapCause::LogDisk, 1)));
    world.run_until_quiet();
}

#[test]
fn when_the_store_fails_a_group_falls_off_at_its_memory_limit() {
    let mut world = small(50_000, 1 << 30, 1 << 30);
    world.disk_fails = true;
    for nth in 0..500 {
        world.offer(0, nth % 9, 300);
        if nth % 10 == 0 {
            world.checkpoint(0);
        }
    }
    let stats = world.hub.stats(world.now).groups[0].clone();
    assert!(stats.memory_bytes <= 50_000 && !world.fell.is_empty());
    assert!(world.fell.iter().all(|(_, gap)| gap.cause == GapCause::LogBytes));
    world.run_until_quiet();
}

#[test]
fn a_restart_of_several_shards_over_the_memory_limit_loses_nothing_that_lies_on_disk() {
    const ENTRIES: u64 = 40_000;
    let now = Time::from_millis(1_000);
    let (mut hub, mut out) = (Hub::new(HubConfig::default()), Vec::new());
    hub.declare(group(0)).unwrap();
    hub.add_shard(Slot(0), shard(0), None, now, &mut out).unwrap();
    (1..=ENTRIES).for_each(|s| hub.offer(Slot(0), event(0, 1, s, s % 9, 10, now), now, &mut out));
    let held = hub.stats(now).groups[0].memory_bytes;
    let checkpoint = hub.checkpoint(Slot(0)).unwrap();

    // Each of the shards brings back as much as the group may hold of all of them together.
    let (mut hub, mut out) = (Hub::new(HubConfig::default()), Vec::new());
    let mut lagging = group(0);
    lagging.limits.memory_bytes = held;
    hub.declare(lagging).unwrap();
    for slot in 0..5 {
        let mut restored = RestoredLog::decode(&checkpoint.record, now, UNIX_US + now.as_micros(), held).unwrap();
        let mut bytes = Vec::new();
        for (position, body) in &checkpoint.new_entries {
            bytes.clear();
            encode_entry(body, &mut bytes);
            restored.push(*position, Location { segment: 0, offset: 0, len: 0 }, &bytes).unwrap();
        }
        hub.add_shard(Slot(slot), shard(slot), Some(restored), now, &mut out).unwrap();
    }
    assert!(out.is_empty(), "{:?}", out[0]);
    let stats = hub.stats(now).groups[0].clone();
    assert_eq!(stats.entries, 5 * ENTRIES);
    assert!(stats.memory_bytes <= held, "{stats:?}");
}

#[test]
fn a_body_on_disk_of_any_shard_leaves_memory_before_anything_is_lost() {
    let mut spec = group(0);
    spec.limits = GroupLimits { memory_bytes: 400_000, disk_bytes: 1 << 30, age_ms: 1 << 30 };
    let mut world = World::new(2, vec![spec]);
    (0..800).for_each(|nth| world.offer(0, nth % 9, 300));
    world.checkpoint(0);
    // The other shard's checkpoint is late; until twice the limit is reached by it alone, nothing is lost.
    (0..1_000).for_each(|_| world.offer(1, 1, 300));
    world.check_memory(0, 2);
    assert_eq!(world.fell, []);
    world.run_until_quiet();
}

#[test]
fn for_want_of_memory_only_what_is_not_on_disk_is_lost_and_each_stretch_is_told_by_itself() {
    let mut world = small(50_000, 1 << 30, 1 << 30);
    for round in 0..2 {
        (0..300).for_each(|nth| world.offer(0, nth % 9, 300));
        world.disk_fails = true;
        world.checkpoint(0);
        (0..100).for_each(|nth| world.offer(0, nth % 9, 300));
        assert!(!world.fell.is_empty(), "round {round}");
        world.disk_fails = false;
        world.checkpoint(0);
    }
    let a = world.join(0, "a", PLENTY);
    while world.ack_all(a) > 0 {}
    let (told, got) = (gaps(&world, a), sequences(&world, a));
    assert!(told.len() > 1);
    for gap in told {
        let inside = gap.first_s.unwrap()..=gap.last_s.unwrap();
        assert_eq!(gap.events, Some(inside.clone().count() as u64));
        assert!(!got.iter().any(|s| inside.contains(s)), "{gap} holds what was delivered");
    }
    world.run_until_quiet();
}

#[test]
fn a_late_checkpoint_is_waited_for_up_to_twice_the_memory_limit() {
    let mut world = small(50_000, 1 << 30, 1 << 30);
    while world.hub.stats(world.now).groups[0].memory_bytes < 90_000 {
        world.offer(0, 1, 300);
    }
    assert!(world.fell.is_empty() && !world.hub.room(Slot(0)));
    world.checkpoint(0);
    assert!(world.hub.room(Slot(0)));
    (0..1_000).for_each(|_| world.offer(0, 1, 300));
    assert!(!world.fell.is_empty());
    world.run_until_quiet();
}

#[test]
fn what_grows_too_old_becomes_a_gap_for_this_group_alone() {
    let mut world = small(1 << 30, 1 << 30, 60_000);
    (0..10).for_each(|_| world.offer(0, 1, 10));
    let next = world.tick(50_000).unwrap();
    assert!(next.as_millis() > world.now.as_millis() && next.as_millis() <= world.now.as_millis() + 11_000);
    (0..5).for_each(|_| world.offer(0, 1, 10));
    world.tick(20_000);
    let a = world.join(0, "a", PLENTY);
    let told = gaps(&world, a);
    assert_eq!((told[0].first_s, told[0].last_s, told[0].cause), (Some(1), Some(10), GapCause::LogAge));
    assert_eq!(sequences(&world, a), [11, 12, 13, 14, 15]);
    world.run_until_quiet();
}

#[test]
fn an_untold_gap_never_grows_too_old_and_pins_nothing() {
    let mut world = small(1 << 30, 1 << 30, 60_000);
    world.offer(0, 1, 10);
    for _ in 0..20 {
        world.tick(61_000);
        world.offer(0, 1, 10);
    }
    world.tick(61_000);
    let b = world.join(1, "b", PLENTY);
    world.ack_all(b);
    let stats = world.hub.stats(world.now);
    assert_eq!(stats.groups[0].entries, 1);
    let checkpoint = world.checkpoint(0);
    assert!(checkpoint.release_below + 2 >= checkpoint.next_position);
    let a = world.join(0, "a", PLENTY);
    assert_eq!(gaps(&world, a)[0].events, Some(21));
    world.run_until_quiet();
}

#[test]
fn a_gap_is_told_to_every_group_it_concerns_and_held_until_acknowledged() {
    let mut elsewhere = group(1);
    elsewhere.filter.bots = vec![999];
    let mut world = World::new(1, vec![group(0), elsewhere]);
    let a = world.join(0, "a", PLENTY);
    let b = world.join(1, "b", PLENTY);
    let gap =
        Gap { shard: shard(0), session: 1, first_s: Some(5), last_s: None, cause: GapCause::SessionLost, events: None, at_unix_us: 1 };
    world.act(|hub, now, out| hub.gap(Slot(0), gap.clone(), now, out));
    assert_eq!(gaps(&world, a), std::slice::from_ref(&gap));
    assert!(gaps(&world, b).is_empty());
    world.checkpoint(0);
    world.crash();
    let a = world.join(0, "a", PLENTY);
    assert_eq!(gaps(&world, a), [gap]);
    assert!(world.streams[&a].got[0].redelivered);
    world.run_until_quiet();
}

#[test]
fn after_a_kill_each_group_gets_exactly_what_it_had_not_acknowledged() {
    let mut world = small(1 << 30, 1 << 30, 1 << 30);
    let (a, _) = (world.join(0, "a", PLENTY), world.join(1, "b", Credit { events: 3, ..PLENTY }));
    (0..10).for_each(|nth| world.offer(0, nth % 3, 10));
    world.ack(a, |nth, _| nth % 2 == 0);
    world.checkpoint(0);
    (0..2).for_each(|_| world.offer(0, 7, 10));
    world.crash();
    let (a, b) = (world.join(0, "a", PLENTY), world.join(1, "b", PLENTY));
    assert_eq!(sequences(&world, a), [2, 4, 6, 8, 10, 11, 12]);
    assert_eq!(sequences(&world, b), (1..=12).collect::<Vec<_>>());
    let marks = |stream: u64| world.streams[&stream].got.iter().map(|got| got.redelivered).collect::<Vec<_>>();
    assert_eq!(marks(a), [true, true, true, true, true, false, false]);
    assert_eq!(marks(b)[..4], [true, true, true, false], "only what was sent before the checkpoint is marked");
    world.run_until_quiet();
}

#[test]
fn an_old_unacknowledged_entry_pins_its_own_segment_and_no_later_one() {
    let mut seldom = group(1);
    seldom.filter.guilds = vec![99];
    let mut world = World::new(1, vec![group(0), seldom]);
    let reader = world.join(0, "reader", PLENTY);
    world.offer(0, 99, 10);
    world.checkpoint(0);
    for _ in 0..200 {
        world.offer(0, 1, 10);
        world.checkpoint(0);
        world.ack_all(reader);
        // The first, the last, and the one that was the last until now.
        assert!(world.segments(0) <= 3, "{} segments for one entry", world.segments(0));
    }
    world.crash();
    let late = world.join(1, "late", PLENTY);
    assert_eq!(sequences(&world, late), [1]);
    assert_eq!(world.fell, []);
    world.run_until_quiet();
}

#[test]
fn segments_are_named_until_a_commit_has_let_them_go_and_not_after() {
    let mut world = World::new(1, vec![group(0)]);
    let reader = world.join(0, "reader", Credit { events: 1, ..PLENTY });
    for _ in 0..3 {
        world.offer(0, 1, 10);
        world.checkpoint(0);
    }
    // The first segment is emptied, and commits fail.
    world.ack_all(reader);
    world.disk_fails = true;
    assert_eq!(world.checkpoint(0).release_segments, [1]);
    assert_eq!(world.checkpoint(0).release_segments, [1]);
    world.disk_fails = false;
    assert_eq!(world.checkpoint(0).release_segments, [1]);
    assert_eq!(world.checkpoint(0).release_segments, [0; 0]);
    world.run_until_quiet();
}

#[test]
fn a_failed_commit_is_made_good_by_the_next() {
    let mut world = small(1 << 30, 1 << 30, 1 << 30);
    world.offer(0, 1, 10);
    world.disk_fails = true;
    assert_eq!(world.checkpoint(0).new_entries.len(), 1);
    world.offer(0, 1, 10);
    world.disk_fails = false;
    assert_eq!(world.checkpoint(0).new_entries.len(), 2);
    assert_eq!(world.checkpoint(0).new_entries.len(), 0, "a body is written once");
    world.crash();
    world.run_until_quiet();
}

#[test]
fn an_event_that_comes_while_a_checkpoint_is_written_is_in_the_next_one() {
    let mut world = World::new(1, vec![group(0)]);
    world.offer(0, 1, 10);
    let first = world.hub.checkpoint(Slot(0)).unwrap();
    world.offer(0, 1, 10);
    let stored = [(first.new_entries[0].0, Location { segment: 1, offset: 0, len: 1 })];
    world.act(|hub, now, out| hub.stored(Slot(0), &stored, now, out));
    let second = world.checkpoint(0);
    assert_eq!(second.new_entries.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [1]);
}

#[test]
fn positions_go_on_after_a_restart_with_an_empty_log() {
    let mut world = World::new(1, vec![group(0)]);
    let a = world.join(0, "a", PLENTY);
    (0..600).for_each(|_| world.offer(0, 1, 10));
    world.ack_all(a);
    let checkpoint = world.checkpoint(0);
    assert_eq!((checkpoint.next_position, checkpoint.release_below), (600, 600));
    world.crash();
    world.offer(0, 1, 10);
    let a = world.join(0, "a", PLENTY);
    assert_eq!(world.streams[&a].got[0].entry.position, 600);
    world.run_until_quiet();
}

#[test]
fn groups_are_found_by_name_a_new_one_starts_with_nothing_and_a_vanished_one_is_dropped() {
    let mut world = World::new(1, vec![group(0), group(1)]);
    (0..5).for_each(|_| world.offer(0, 1, 10));
    let (now, unix_us) = (world.now, world.unix_us());
    let checkpoint = world.hub.checkpoint(Slot(0)).unwrap();
    let mut restored = RestoredLog::decode(&checkpoint.record, now, unix_us, 1 << 20).unwrap();
    for (position, body) in &checkpoint.new_entries {
        let mut bytes = Vec::new();
        encode_entry(body, &mut bytes);
        assert!(restored.push(*position, Location { segment: 0, offset: 0, len: 0 }, &bytes).unwrap());
    }
    assert_eq!(restored.pending().collect::<Vec<_>>(), [("group-0", 5), ("group-1", 5)]);
    let (mut hub, mut out) = (Hub::new(HubConfig::default()), Vec::new());
    let mut renumbered = group(7);
    renumbered.name = "group-1".into();
    hub.declare(group(5)).unwrap();
    hub.declare(renumbered).unwrap();
    hub.add_shard(Slot(0), shard(0), Some(restored), now, &mut out).unwrap();
    let stats = hub.stats(now);
    assert_eq!((stats.groups[0].entries, stats.groups[1].entries), (0, 5));
    assert!(matches!(hub.add_shard(Slot(0), shard(0), None, now, &mut out), Err(HubError::SlotTaken { .. })));
}

#[test]
fn an_entry_that_the_store_lost_becomes_a_gap_bounded_by_its_neighbours() {
    let mut world = World::new(1, vec![group(0)]);
    (0..6).for_each(|_| world.offer(0, 1, 10));
    let (now, unix_us) = (world.now, world.unix_us());
    let checkpoint = world.hub.checkpoint(Slot(0)).unwrap();
    let mut restored = RestoredLog::decode(&checkpoint.record, now, unix_us, 1 << 20).unwrap();
    for (position, body) in checkpoint.new_entries.iter().filter(|(position, _)| ![2, 3].contains(position)) {
        let mut bytes = Vec::new();
        encode_entry(body, &mut bytes);
        restored.push(*position, Location { segment: 0, offset: 0, len: 0 }, &bytes).unwrap();
        assert!(restored.push(*position, Location { segment: 0, offset: 0, len: 0 }, &bytes[1..]).is_err());
    }
    let (mut hub, mut out) = (Hub::new(HubConfig::default()), Vec::new());
    hub.declare(group(0)).unwrap();
    hub.add_shard(Slot(0), shard(0), Some(restored), now, &mut out).unwrap();
    let [Action::Fell { gap, .. }] = &out[..] else { panic!("{out:?}") };
    assert_eq!((gap.first_s, gap.last_s, gap.events, gap.cause), (Some(3), Some(4), Some(2), GapCause::StoreFailed));
    assert_eq!(hub.stats(now).groups[0].entries, 5);
}

#[test]
fn an_unreadable_body_becomes_a_gap_and_the_rest_goes_on() {
    let mut world = small(600, 1 << 30, 1 << 30);
    world.offer(0, 1, 10);
    world.offer(0, 1, 10);
    world.checkpoint(0);
    world.unreadable = true;
    let a = world.join(0, "a", PLENTY);
    assert_eq!((gaps(&world, a)[0].cause, gaps(&world, a)[0].first_s), (GapCause::StoreFailed, Some(2)));
    world.offer(0, 1, 10);
    assert_eq!(sequences(&world, a), [1, 3]);
    world.unreadable = false;
    world.run_until_quiet();
}

#[test]
fn ages_carry_over_to_the_clock_of_the_next_process() {
    let mut world = small(1 << 30, 1 << 30, 60_000);
    world.offer(0, 1, 10);
    world.checkpoint(0);
    world.now += std::time::Duration::from_secs(50);
    world.crash();
    assert_eq!(world.hub.stats(world.now).groups[0].oldest_age_ms, 50_000);
    world.tick(11_000);
    assert_eq!(world.fell.len(), 1);
    world.run_until_quiet();
}

/// The age of the oldest entry after a restart at which the wall clock stands elsewhere.
fn age_after_restart_ms(received: &[(u64, u64)], restart_unix_us: u64) -> u64 {
    let (mut hub, mut out) = (Hub::new(HubConfig::default()), Vec::new());
    hub.declare(group(0)).unwrap();
    hub.add_shard(Slot(0), shard(0), None, Time::ZERO, &mut out).unwrap();
    for (s, (now_ms, unix_us)) in (1..).zip(received) {
        let now = Time::from_millis(*now_ms);
        let mut event = (*event(0, 1, s, 1, 10, now)).clone();
        event.received_at_unix_us = *unix_us;
        hub.offer(Slot(0), event.into(), now, &mut out);
    }
    let checkpoint = hub.checkpoint(Slot(0)).unwrap();
    let now = Time::from_millis(5_000_000);
    let mut restored = RestoredLog::decode(&checkpoint.record, now, restart_unix_us, 1 << 20).unwrap();
    for (position, body) in &checkpoint.new_entries {
        let mut bytes = Vec::new();
        encode_entry(body, &mut bytes);
        restored.push(*position, Location { segment: 0, offset: 0, len: 0 }, &bytes).unwrap();
    }
    let mut hub = Hub::new(HubConfig::default());
    hub.declare(group(0)).unwrap();
    hub.add_shard(Slot(0), shard(0), Some(restored), now, &mut out).unwrap();
    hub.tick(now, &mut out);
    assert!(out.is_empty(), "{out:?}");
    hub.stats(now).groups[0].oldest_age_ms
}

#[test]
fn a_wall_clock_that_jumped_between_two_lives_makes_nothing_too_old_or_young() {
    const SECOND: u64 = 1_000_000;
    const YEAR: u64 = 366 * 86_400 * SECOND;
    let received = [(0, UNIX_US), (30_000, UNIX_US + 30 * SECOND)];
    assert_eq!(age_after_restart_ms(&received, UNIX_US + 50 * SECOND), 50_000);
    // Ten years ahead, and back: the time between the two lives counts as none.
    assert_eq!(age_after_restart_ms(&received, UNIX_US + 10 * YEAR), 30_000);
    assert_eq!(age_after_restart_ms(&received, UNIX_US - 10 * YEAR), 30_000);
    assert_eq!(age_after_restart_ms(&received, 0), 30_000);
    // The clock was put right in the middle of the earlier life: from there on it is believed.
    let received = [(0, UNIX_US - 30 * YEAR), (30_000, UNIX_US)];
    assert_eq!(age_after_restart_ms(&received, UNIX_US + 20 * SECOND), 20_000);
}

#[test]
fn gaps_made_at_a_restart_say_when_they_were_found() {
    let mut world = small(1 << 30, 1 << 30, 60_000);
    world.offer(0, 1, 10);
    let (now, unix_us) = (world.now, world.unix_us());
    let checkpoint = world.hub.checkpoint(Slot(0)).unwrap();
    let restored = RestoredLog::decode(&checkpoint.record, now, unix_us + 5, 1 << 20).unwrap();
    let (mut hub, mut out) = (Hub::new(HubConfig::default()), Vec::new());
    hub.declare(group(0)).unwrap();
    hub.add_shard(Slot(0), shard(0), Some(restored), now, &mut out).unwrap();
    let [Action::Fell { gap, .. }] = &out[..] else { panic!("{out:?}") };
    assert_eq!((gap.cause, gap.at_unix_us), (GapCause::StoreFailed, unix_us + 5));

    world.checkpoint(0);
    world.now += std::time::Duration::from_secs(70);
    world.crash();
    world.tick(1_000);
    assert_eq!((world.fell[0].1.cause, world.fell[0].1.at_unix_us), (GapCause::LogAge, world.unix_us()));
    world.run_until_quiet();
}

#[test]
fn stored_entries_come_back_byte_for_byte() {
    let now = Time::from_millis(5_000);
    let mut whole = (*event(2, 3, 4, 5, 60, now)).clone();
    whole.previous = Some(Object { encoding: Encoding::Etf, bytes: Bytes::from_static(&[116, 0, 0, 0, 0]) }.into());
    whole.origin = Some(GuildOrigin::Joined);
    let mut bytes = Vec::new();
    encode_entry(&Body::Event(whole.clone().into()), &mut bytes);
    let Body::Event(back) = decode_entry(&bytes, now, whole.received_at_unix_us).unwrap() else { panic!() };
    assert_eq!(format!("{back:?}"), format!("{whole:?}"));
    assert_eq!(back.body, whole.body);
    let later = decode_entry(&bytes, now, whole.received_at_unix_us + 2_000_000).unwrap();
    let Body::Event(later) = later else { panic!() };
    assert_eq!(later.received_at, Time::from_millis(3_000));
}

#[test]
fn damaged_entries_and_records_are_refused_at_a_named_byte() {
    let mut world = World::new(1, vec![group(0)]);
    (0..50).for_each(|_| world.offer(0, 1, 30));
    let checkpoint = world.hub.checkpoint(Slot(0)).unwrap();
    let mut entry = Vec::new();
    encode_entry(&checkpoint.new_entries[0].1, &mut entry);
    for cut in 0..entry.len() {
        assert!(decode_entry(&entry[..cut], world.now, 0).is_err(), "cut at {cut}");
    }
    for cut in 0..checkpoint.record.len() {
        assert!(RestoredLog::decode(&checkpoint.record[..cut], world.now, 0, 0).is_err(), "cut at {cut}");
    }
    entry[0] = 77;
    let error = decode_entry(&entry, world.now, 0).unwrap_err();
    assert_eq!(error.to_string(), "stored entry or record is damaged at byte 1: entry of an unknown version");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), version in 0u8..3) {
        let bytes: Vec<u8> = std::iter::once(version).chain(bytes).collect();
        let _ = decode_entry(&bytes, Time::ZERO, 0).is_ok();
        let _ = RestoredLog::decode(&bytes, Time::ZERO, 0, 0).is_ok();
    }
}
