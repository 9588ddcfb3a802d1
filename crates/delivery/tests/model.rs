//! Random lives of a hub against a plain model: joins, leaves, breaks, drains, credit, acknowledgements in any order,
//! limits, failing disks, kills and restarts. The world checks every action; a seed repeats a life.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{World, group, shard};
use trunkline_delivery::{Credit, Filter, GroupLimits, GroupSpec};
use trunkline_discord::{Dice, Gap, GapCause};

fn groups() -> Vec<GroupSpec> {
    let plain = group(0);
    let mut small = group(1);
    small.limits = GroupLimits { memory_bytes: 8_000, disk_bytes: 20_000, age_ms: 60_000 };
    let mut picky = group(2);
    picky.filter = Filter { exclude_events: vec!["TYPING_START".into()], guilds: (1..6).collect(), ..Filter::default() };
    picky.limits.memory_bytes = 30_000;
    vec![plain, small, picky]
}

fn credit(dice: &mut Dice) -> Credit {
    Credit { events: 1 + dice.below(6) as u32, bytes: dice.between(200, 6_000) }
}

fn pick(world: &World, dice: &mut Dice) -> Option<u64> {
    let streams: Vec<u64> = world.streams.iter().filter(|(_, inbox)| inbox.connected).map(|(stream, _)| *stream).collect();
    (!streams.is_empty()).then(|| streams[dice.below(streams.len() as u64) as usize])
}

fn step(world: &mut World, dice: &mut Dice) {
    let slot = dice.below(world.shards.len() as u64) as u32;
    match dice.below(100) {
        0..45 => {
            // Guilds 1 to 5 are named in a filter; the lower, the busier.
            let guild = 1 + dice.below(8) * dice.below(8) / 8;
            world.offer(slot, guild, dice.below(300) as usize);
        }
        45..72 => {
            if let Some(stream) = pick(world, dice) {
                let (seed, chance) = (dice.next_u64(), dice.unit());
                world.ack(stream, |nth, _| Dice::new(seed ^ nth as u64).chance(chance));
            }
        }
        72..78 => {
            let worker = ["a", "b", "c", "d"][dice.below(4) as usize];
            let credit = credit(dice);
            world.join(dice.below(3) as u32, worker, credit);
        }
        78..81 => {
            if let Some(stream) = pick(world, dice) {
                world.broke(stream);
            }
        }
        81..83 => {
            if let Some(stream) = pick(world, dice) {
                world.leave(stream);
            }
        }
        83..85 => {
            if let Some(stream) = pick(world, dice) {
                world.drain(stream);
            }
        }
        85..87 => {
            if let Some(stream) = pick(world, dice) {
                let more = Credit { events: 8, bytes: 8_000 };
                world.lend(stream, more);
            }
        }
        87..90 => {
            world.tick(dice.below(4_000));
        }
        90..97 => {
            world.checkpoint(slot);
        }
        97 => {
            world.disk_fails = dice.chance(0.3);
            world.unreadable = dice.chance(0.1);
        }
        98 => {
            // A session is lost: what came in between is a gap, and the numbers start again.
            let (session, s) = (world.shards[slot as usize].session, world.shards[slot as usize].s);
            let gap = Gap {
                shard: shard(slot),
                session,
                first_s: Some(s + 1),
                last_s: None,
                cause: GapCause::SessionLost,
                events: None,
                at_unix_us: world.unix_us(),
            };
            world.act(|hub, now, out| hub.gap(trunkline_delivery::Slot(slot), gap, now, out));
            world.shards[slot as usize].session += 1;
            world.shards[slot as usize].s = 0;
            world.disk_fails = false;
            world.checkpoint(slot);
        }
        _ => {
            if dice.chance(0.5) {
                world.crash();
            }
        }
    }
}

fn live(seed: u64, steps: usize) -> World {
    let mut dice = Dice::new(seed);
    let mut world = World::new(3, groups());
    // At the higher one every restart brings more bodies than the small group may hold.
    world.restore_bytes = if seed.is_multiple_of(2) { 4_000 } else { 20_000 };
    for _ in 0..steps {
        step(&mut world, &mut dice);
        world.check();
    }
    world.run_until_quiet();
    world
}

#[test]
fn nothing_is_lost_or_out_of_order_whatever_happens() {
    let (mut loads, mut gaps, mut redelivered) = (0, 0, 0);
    let from = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let lives = std::env::var("LIVES").ok().and_then(|lives| lives.parse().ok()).unwrap_or(40);
    for seed in from..from + lives {
        println!("seed={seed}");
        let world = live(seed, 1_200);
        loads += world.loads;
        gaps += world.fell.len();
        redelivered += world.hub.stats(world.now).groups.iter().map(|group| group.redelivered).sum::<u64>();
    }
    println!("loads={loads} gaps={gaps} redelivered={redelivered}");
    // The lives must have met what they are there for.
    assert!(loads > 100 && gaps > 100 && redelivered > 100, "{loads} loads, {gaps} gaps, {redelivered} redelivered");
}

/// Several shards restart with a group that lags: all of it lies on disk, so that nothing is lost, whatever each shard
/// brought back into memory.
#[test]
fn restarts_under_memory_pressure_lose_nothing_that_lies_on_disk() {
    for seed in 0..6 {
        println!("seed={seed}");
        let mut dice = Dice::new(seed);
        let mut lagging = group(0);
        lagging.limits.memory_bytes = dice.between(5_000, 60_000);
        let mut world = World::new(2 + dice.below(6) as u32, vec![lagging.clone(), group(1)]);
        world.restore_bytes = lagging.limits.memory_bytes;
        for _ in 0..1 + dice.below(3) {
            let shards = world.shards.len() as u64;
            let reader = world.join(1, "reader", Credit { events: 1_000, bytes: 1 << 30 });
            for nth in 0..dice.between(200, 500) {
                world.offer((nth % shards) as u32, dice.below(9), dice.below(400) as usize);
                if nth % 8 == 0 {
                    (0..shards).for_each(|slot| drop(world.checkpoint(slot as u32)));
                    world.ack_all(reader);
                }
                world.check_memory(0, 2);
            }
            if dice.chance(0.3) {
                let slow = world.join(0, "slow", credit(&mut dice));
                world.ack_all(slow);
            }
            (0..shards).for_each(|slot| drop(world.checkpoint(slot as u32)));
            world.crash();
            world.check_memory(0, 1);
        }
        assert!(world.fell.is_empty(), "seed {seed}: {:?}", world.fell[0]);
        world.run_until_quiet();
    }
}

/// A group that seldom wants anything holds an old entry or two while another one keeps up: the disk holds their
/// segments and not all that came after them, over restarts too.
#[test]
fn an_old_entry_of_a_group_that_seldom_consumes_keeps_its_own_segment_alone() {
    for seed in 0..8 {
        println!("seed={seed}");
        let mut dice = Dice::new(seed);
        let mut seldom = group(1);
        seldom.filter.guilds = vec![99];
        let mut world = World::new(2, vec![group(0), seldom]);
        let mut rare = 0;
        for _ in 0..4 {
            let reader = world.join(0, "reader", Credit { events: 1_000, bytes: 1 << 30 });
            for nth in 0..400 {
                let slot = nth % 2;
                let is_rare = dice.chance(0.005);
                rare += usize::from(is_rare);
                world.offer(slot, if is_rare { 99 } else { dice.below(9) }, 50);
                if dice.chance(0.5) {
                    world.checkpoint(slot);
                    world.ack_all(reader);
                }
                // What has just been written, and what has just been acknowledged, goes with the next checkpoint.
                assert!(world.segments(0) + world.segments(1) <= rare + 6, "{} segments, {rare} entries", world.segments(0));
            }
            world.crash();
        }
        assert!(world.fell.is_empty());
        let late = world.join(1, "late", Credit { events: 1_000, bytes: 1 << 30 });
        assert_eq!(world.streams[&late].got.len(), rare);
        world.run_until_quiet();
    }
}

#[test]
fn a_seed_repeats_a_life() {
    let stats = |seed| {
        let world = live(seed, 800);
        format!("{:?}", world.hub.stats(world.now))
    };
    assert_eq!(stats(77), stats(77));
}
