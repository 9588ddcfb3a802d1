//! Identify scheduling on virtual time.
#![allow(clippy::unwrap_used)]

use super::*;

const UNIX: u64 = 1_800_000_000_000;

fn at(ms: u64) -> Moment {
    Moment { time: Time::from_millis(ms), unix_ms: UNIX + ms }
}

fn limit(total: u32, remaining: u32, max_concurrency: u32) -> SessionStartLimit {
    SessionStartLimit { total, remaining, reset_after_ms: 3_600_000, max_concurrency }
}

/// A budget that knows of a long quiet past.
fn quiet(count: u32, given: SessionStartLimit) -> IdentifyBudget {
    let mine: Vec<u32> = (0..count).collect();
    let mut budget = IdentifyBudget::new(None, count, &mine, at(0));
    budget.floor = Time::ZERO;
    budget.limit(given, at(0));
    budget
}

/// Lets every waiting shard go, each identify leaving `delay_ms` after its grant. Answers (leaving time, shard).
fn drain(budget: &mut IdentifyBudget, from_ms: u64, delay_ms: u64) -> Vec<(u64, u32)> {
    let mut left = Vec::new();
    let mut ms = from_ms;
    let mut flying: Vec<(u64, u32)> = Vec::new();
    for _ in 0..100_000 {
        flying.retain(|(leaves, shard)| {
            if *leaves <= ms {
                budget.used(*shard, at(*leaves));
                left.push((*leaves, *shard));
            }
            *leaves > ms
        });
        match budget.next(at(ms)) {
            Next::Grant(shard) => flying.push((ms + delay_ms, shard)),
            Next::Wait(until) => {
                let soonest = flying.iter().map(|(leaves, _)| *leaves).chain(until.map(Time::as_millis)).min();
                match soonest {
                    Some(soonest) => ms = soonest.max(ms + 1),
                    None => break,
                }
            }
        }
    }
    left
}

fn assert_spaced(left: &[(u64, u32)], max_concurrency: u32) {
    let mut last: BTreeMap<u32, u64> = BTreeMap::new();
    for (ms, shard) in left {
        if let Some(before) = last.insert(shard % max_concurrency, *ms) {
            assert!(ms - before >= 5250, "shard {shard} at {ms}, {} ms after its key's last", ms - before);
        }
    }
}

#[test]
fn a_whole_group_goes_at_once_and_groups_go_in_order() {
    let mut budget = quiet(40, limit(1000, 1000, 16));
    for shard in (0..40).rev() {
        budget.ask(shard);
    }
    let left = drain(&mut budget, 0, 0);
    let shards: Vec<u32> = left.iter().map(|(_, shard)| *shard).collect();
    assert_eq!(shards, (0..40).collect::<Vec<_>>());
    assert_eq!(left[15].0, 0);
    assert_eq!((left[16].0, left[31].0), (5250, 5250));
    assert_eq!(left[32].0, 10500);
    assert_spaced(&left, 16);
}

#[test]
fn spacing_counts_from_the_use_not_from_the_grant() {
    let mut budget = quiet(3, limit(1000, 1000, 1));
    (0..3).for_each(|shard| budget.ask(shard));
    let left = drain(&mut budget, 0, 3_000);
    assert_eq!(left, [(3_000, 0), (11_250, 1), (19_500, 2)]);
}

#[test]
fn a_key_in_use_holds_only_its_own_shards() {
    let mut budget = quiet(4, limit(1000, 1000, 2));
    budget.ask(0);
    assert_eq!(budget.next(at(0)), Next::Grant(0));
    budget.ask(2);
    budget.ask(1);
    assert_eq!(budget.next(at(1)), Next::Grant(1));
    assert_eq!(budget.next(at(1)), Next::Wait(None), "shard 2 shares its key with 0, whose identify has not left");
    budget.used(0, at(10));
    assert_eq!(budget.next(at(20)), Next::Wait(Some(Time::from_millis(5260))));
    assert_eq!(budget.next(at(5260)), Next::Grant(2));
}

#[test]
fn a_later_group_waits_for_the_one_before_it() {
    let mut budget = quiet(4, limit(1000, 1000, 2));
    budget.ask(0);
    assert_eq!(budget.next(at(0)), Next::Grant(0));
    budget.used(0, at(0));
    // Key 1 is free, but shard 0 of the first group waits again: 3 is of the second.
    budget.ask(0);
    budget.ask(3);
    assert_eq!(budget.next(at(100)), Next::Wait(Some(Time::from_millis(5250))));
    assert_eq!(budget.next(at(5250)), Next::Grant(0));
    assert_eq!(budget.next(at(5250)), Next::Grant(3));
}

#[test]
fn without_a_record_the_first_identify_waits_5_s() {
    for ledger in [None, Some(&b""[..]), Some(&b"garbage"[..]), Some(&[1, 2, 3][..])] {
        let mut budget = IdentifyBudget::new(ledger, 1, &[0], at(0));
        budget.limit(limit(1000, 1000, 1), at(0));
        budget.ask(0);
        assert_eq!(budget.next(at(0)), Next::Wait(Some(Time::from_millis(5250))));
        assert_eq!(budget.next(at(5250)), Next::Grant(0));
    }
}

#[test]
fn what_is_unknown_stays_unknown_over_a_second_start() {
    let first = IdentifyBudget::new(None, 1, &[0], at(0));
    let ledger = first.ledger(at(100));
    let mut second = IdentifyBudget::new(Some(&ledger), 1, &[0], at(1000));
    second.limit(limit(1000, 1000, 1), at(1000));
    second.ask(0);
    assert_eq!(second.next(at(1000)), Next::Wait(Some(Time::from_millis(5250))));
}

#[test]
fn a_kill_right_after_an_identify_does_not_lead_to_one_too_fast() {
    let mut before = quiet(2, limit(1000, 1000, 1));
    before.ask(0);
    assert_eq!(before.next(at(1000)), Next::Grant(0));
    // Written before the grant was given; the identify leaves at 2.9 s, and the process dies.
    let ledger = before.ledger(at(1000));
    let mut after = IdentifyBudget::new(Some(&ledger), 2, &[0, 1], at(3000));
    after.limit(limit(1000, 1000, 1), at(3000));
    after.ask(0);
    assert_eq!(after.next(at(3000)), Next::Wait(Some(Time::from_millis(8250))));
}

#[test]
fn a_ledger_of_long_ago_holds_nobody_up() {
    let mut before = quiet(1, limit(1000, 1000, 1));
    before.ask(0);
    assert_eq!(before.next(at(0)), Next::Grant(0));
    before.used(0, at(0));
    let ledger = before.ledger(at(100));
    let new = |ms| {
        let mut budget = IdentifyBudget::new(Some(&ledger), 1, &[0], at(ms));
        budget.ask(0);
        budget.next(at(ms))
    };
    assert_eq!(new(60_000), Next::Grant(0));
    assert_eq!(new(2_000), Next::Wait(Some(Time::from_millis(5250))));
    let mut set_back = IdentifyBudget::new(Some(&ledger), 1, &[0], Moment { time: Time::ZERO, unix_ms: UNIX - 86_400_000 });
    set_back.ask(0);
    let now = Moment { time: Time::ZERO, unix_ms: UNIX - 86_400_000 };
    assert_eq!(set_back.next(now), Next::Wait(Some(Time::from_millis(5250))), "a clock set back is no excuse");
}

#[test]
fn a_grant_not_used_is_given_back_and_not_counted_twice() {
    let mut budget = quiet(2, limit(1000, 500, 1));
    budget.ask(0);
    assert_eq!(budget.next(at(0)), Next::Grant(0));
    assert_eq!(budget.status(at(0)).remaining, 499);
    budget.forget(0);
    budget.forget(0);
    assert_eq!(budget.status(at(0)).remaining, 500);
    budget.ask(1);
    assert_eq!(budget.next(at(0)), Next::Grant(1), "its key is free at once: nothing was sent");
    budget.used(1, at(0));
    budget.forget(1);
    assert_eq!(budget.status(at(0)).remaining, 499, "what was used stays used");
}

#[test]
fn an_asker_that_goes_away_gives_its_place_to_the_next() {
    let mut budget = quiet(3, limit(1000, 1000, 1));
    budget.ask(0);
    budget.ask(1);
    budget.forget(0);
    assert_eq!(budget.next(at(0)), Next::Grant(1));
}

#[test]
fn the_reserve_is_kept_for_a_person() {
    let mut budget = quiet(1, limit(1000, 101, 1));
    budget.ask(0);
    assert_eq!(budget.next(at(0)), Next::Grant(0));
    budget.used(0, at(0));
    budget.ask(0);
    assert_eq!(budget.next(at(10_000)), Next::Wait(None));
    assert_eq!(budget.blocked(), Some(Blocked::Reserve));
    assert_eq!(budget.use_reserve(Some(7)), 0);
    assert_eq!(budget.use_reserve(None), 1);
    assert_eq!(budget.blocked(), None);
    assert_eq!(budget.next(at(10_000)), Next::Grant(0));
    budget.used(0, at(10_000));
    budget.ask(0);
    assert_eq!(budget.next(at(30_000)), Next::Wait(None), "a person opens it for those who wait then, not for ever");
}

#[test]
fn a_first_start_that_fits_is_never_refused() {
    let mut budget = quiet(16, limit(1000, 16, 16));
    (0..16).for_each(|shard| budget.ask(shard));
    assert_eq!(drain(&mut budget, 0, 0).len(), 16);
    assert_eq!(budget.status(at(0)).remaining, 0);
}

#[test]
fn a_first_start_that_does_not_fit_waits_above_the_reserve() {
    let mut budget = quiet(16, limit(1000, 15, 16));
    (0..16).for_each(|shard| budget.ask(shard));
    assert_eq!(drain(&mut budget, 0, 0).len(), 0);
    assert_eq!(budget.blocked(), Some(Blocked::Reserve));
}

#[test]
fn a_crash_loop_is_no_series_of_first_starts() {
    let mut ledger = None;
    let mut sent = 0;
    for start in 0..40_u64 {
        let now = start * 60_000;
        let mut budget = IdentifyBudget::new(ledger.as_deref(), 4, &[0, 1, 2, 3], at(now));
        budget.limit(SessionStartLimit { reset_after_ms: 86_400_000 - now, ..limit(100, 100 - sent, 4) }, at(now));
        (0..4).for_each(|shard| budget.ask(shard));
        sent += drain(&mut budget, now, 0).len() as u32;
        ledger = Some(budget.ledger(at(now + 30_000)));
    }
    assert_eq!(sent, 80, "it stops at the reserve of 20, and the person is told");
}

#[test]
fn nothing_is_granted_when_the_day_is_spent_not_even_by_a_person() {
    let mut budget = quiet(1, limit(1000, 0, 1));
    budget.ask(0);
    budget.use_reserve(None);
    assert_eq!(budget.next(at(0)), Next::Wait(None));
    assert_eq!(budget.blocked(), Some(Blocked::Spent));
    assert_eq!(budget.next(at(3_600_000)), Next::Grant(0), "the new day brings it back");
}

#[test]
fn of_two_views_of_one_window_the_smaller_holds() {
    let mut before = quiet(1, limit(1000, 300, 1));
    before.ask(0);
    assert_eq!(before.next(at(0)), Next::Grant(0));
    let ledger = before.ledger(at(0));
    let resume = |remaining, reset_after_ms| {
        let mut budget = IdentifyBudget::new(Some(&ledger), 1, &[0], at(10_000));
        let given = SessionStartLimit { reset_after_ms, ..limit(1000, remaining, 1) };
        budget.limit(given, at(10_000));
        budget.status(at(10_000)).remaining
    };
    assert_eq!(resume(300, 3_590_000), 299, "Discord has not counted it yet");
    assert_eq!(resume(250, 3_590_000), 250, "somebody else identified");
    assert_eq!(resume(1000, 86_400_000), 1000, "a new window");
}

#[test]
fn another_max_concurrency_makes_all_keys_wait_for_the_last_of_the_old() {
    let mut budget = quiet(4, limit(1000, 1000, 4));
    (0..4).for_each(|shard| budget.ask(shard));
    drain(&mut budget, 1_000, 0);
    budget.limit(limit(1000, 900, 2), at(2_000));
    budget.ask(3);
    assert_eq!(budget.next(at(2_000)), Next::Wait(Some(Time::from_millis(6_250))));
}

#[test]
fn a_ledger_round_trips_and_a_cut_one_is_no_record() {
    let mut budget = quiet(32, limit(1000, 1000, 16));
    (0..20).for_each(|shard| budget.ask(shard));
    while let Next::Grant(shard) = budget.next(at(0)) {
        if shard % 2 == 0 {
            budget.used(shard, at(5));
        }
    }
    let ledger = budget.ledger(at(10));
    let again = Record::decode(&ledger).unwrap();
    assert_eq!((again.keys.len(), again.started.len(), again.remaining), (16, 16, 984));
    assert_eq!(again.keys.iter().filter(|(_, handed, _)| *handed).count(), 8);
    for cut in 0..ledger.len() {
        assert!(Record::decode(&ledger[..cut]).is_none(), "cut at {cut}");
    }
    let mut long = ledger;
    long.push(0);
    assert!(Record::decode(&long).is_none());
}

#[test]
fn seven_hundred_and_twenty_shards_start_in_their_groups_time() {
    let mut budget = quiet(720, limit(2000, 2000, 16));
    (0..720).for_each(|shard| budget.ask(shard));
    let left = drain(&mut budget, 0, 40);
    assert_eq!(left.len(), 720);
    assert_spaced(&left, 16);
    assert!(left.windows(2).all(|pair| pair[0].1 / 16 <= pair[1].1 / 16), "groups in order");
    assert!(left[719].0 < 45 * 5_400, "{}", left[719].0);
}
