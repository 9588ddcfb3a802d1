//! How long the pauses between connections are: none where a resume is likely to work, longer and longer where it does not, and never so
//! short, in any loop that Discord could drive, that it is hammered or the day's identifies are spent.
//!
//! Discord docs, Gateway: Disconnecting, Resuming. They leave the figures open.

use std::time::Duration;

use trunkline_discord::{CloseCode, CloseVerdict};
use trunkline_session::{Cause, Input, Phase};

use crate::rig::*;

/// The last position of the held session.
fn position(rig: &Rig) -> u64 {
    rig.session.state().s.expect("a session is held")
}

/// A reconnect, an event that was missed, RESUMED, and `life` later the close; the pause after it.
fn flap(rig: &mut Rig, life: Duration) -> Duration {
    rig.reconnect();
    rig.event(position(rig) + 1);
    rig.resumed(position(rig) + 1);
    rig.pass(life, true);
    let (_, resume, after) = reconnecting(&rig.give(Input::Closed(None)));
    assert!(resume);
    after
}

#[test]
fn the_first_reconnect_after_every_close_that_allows_a_resume_is_immediate() {
    let codes = (4_000..4_100).filter(|code| CloseCode(*code).verdict() == CloseVerdict::Resume && *code != 4_008);
    let closes: Vec<Option<u16>> = codes.chain([1_000, 1_001, 1_006, 1_011, 1_012]).map(Some).chain([None]).collect();
    assert!(closes.len() > 10);
    for life in [Duration::ZERO, Duration::from_millis(300), secs(60)] {
        for code in &closes {
            let mut rig = Rig::live();
            rig.pass(life, true);
            let found = reconnecting(&rig.give(Input::Closed(*code)));
            assert_eq!(found, (Cause::Closed(*code), true, Duration::ZERO), "{code:?} after {life:?}");
        }
        let mut rig = Rig::live();
        rig.pass(life, true);
        assert_eq!(reconnecting(&rig.frame(r#"{"op":7}"#)), (Cause::ReconnectAsked, true, Duration::ZERO), "op 7 after {life:?}");
    }
}

#[test]
fn sessions_that_resume_and_bring_events_never_pause_for_long_however_soon_they_close() {
    for seed in 0..20 {
        let mut rig = Rig::seeded(config(), Some(stored()), seed);
        rig.give(Input::Start);
        let began = rig.now;
        let mut pauses = Vec::new();
        // As many as take some minutes.
        for _ in 0..100 {
            pauses.push(flap(&mut rig, Duration::from_millis(300)));
        }
        assert_eq!(pauses[0], Duration::ZERO, "the first one is immediate");
        assert!(pauses.iter().all(|pause| *pause <= secs(4)), "events must not wait for a back-off: {pauses:?}");
        // Nor is Discord to be hammered: a shard of many, each in the same loop.
        assert!(pauses[3..].iter().all(|pause| *pause >= secs(3)), "{pauses:?}");
        assert!(rig.now.since(began) >= secs(300), "{:?}", rig.now.since(began));
        assert!(pauses[3..].windows(2).any(|pair| pair[0] != pair[1]), "all shards at once: {pauses:?}");
    }
}

#[test]
fn a_replay_that_breaks_off_before_resumed_pauses_no_longer_for_it() {
    let mut rig = Rig::resuming();
    for _ in 0..50 {
        rig.event(position(&rig) + 1);
        rig.pass(Duration::from_millis(300), true);
        let (_, resume, after) = reconnecting(&rig.give(Input::Closed(Some(4000))));
        assert!(resume && after <= secs(4), "{after:?}");
        rig.reconnect();
        assert_eq!(rig.phase(), Phase::Resuming);
    }
}

#[test]
fn a_replay_that_lasts_is_a_connection_that_lasted() {
    let mut rig = Rig::resuming();
    for _ in 0..20 {
        for _ in 0..5 {
            rig.event(position(&rig) + 1);
            rig.pass(Duration::from_millis(500), true);
        }
        rig.resumed(position(&rig) + 1);
        rig.pass(Duration::from_millis(100), true);
        assert_eq!(reconnecting(&rig.give(Input::Closed(None))).2, Duration::ZERO);
        rig.reconnect();
    }
}

#[test]
fn connects_that_fail_between_sessions_that_bring_events_do_not_add_up() {
    let mut rig = Rig::live();
    rig.give(Input::Closed(None));
    for round in 0..30 {
        for want in [1, 2] {
            while rig.phase() == Phase::Waiting {
                rig.fire_next();
            }
            let (cause, _, after) = reconnecting(&rig.give(Input::OpenFailed));
            assert_eq!(cause, Cause::OpenFailed);
            assert!(after <= secs(want) && after >= secs(want) * 3 / 4, "round {round}: {after:?}");
        }
        assert!(flap(&mut rig, Duration::from_millis(300)) <= secs(4), "round {round}");
    }
}

#[test]
fn resumes_that_bring_nothing_wait_longer_and_longer() {
    let mut rig = Rig::resuming();
    for want in [0, 1, 2, 4, 8, 16, 32, 64, 64] {
        let (_, _, after) = reconnecting(&rig.give(Input::Closed(Some(4000))));
        assert!(after <= secs(want) && after >= secs(want) * 3 / 4, "{want}: {after:?}");
        rig.reconnect();
        assert_eq!(rig.phase(), Phase::Resuming);
    }
}

#[test]
fn no_loop_of_short_sessions_spends_the_days_identifies() {
    // What Discord does to the RESUME of a session that was closed as soon as it had begun.
    type Refuse = fn(&mut Rig);
    let refusals: [(&str, Refuse); 3] = [
        ("op 9", |rig| drop(rig.invalid(false))),
        ("4007", |rig| drop(rig.give(Input::Closed(Some(4007))))),
        ("4009", |rig| drop(rig.give(Input::Closed(Some(4009))))),
    ];
    for (name, refuse) in refusals {
        for with_events in [false, true] {
            let mut rig = Rig::live();
            let began = rig.now;
            let mut identifies = 1;
            while rig.now.since(began) < secs(3_600) {
                rig.pass(Duration::from_millis(300), true);
                rig.give(Input::Closed(Some(4000)));
                rig.reconnect();
                if with_events {
                    rig.event(position(&rig) + 1);
                    rig.resumed(position(&rig) + 1);
                }
                refuse(&mut rig);
                rig.reconnect();
                rig.give(Input::IdentifyGranted);
                rig.ready();
                identifies += 1;
            }
            assert!(
                identifies <= 75,
                "{name}, events {with_events}: {identifies} identifies in an hour, of a thousand a day for all shards"
            );
            // One that lasts ends the row.
            rig.pass(secs(2), true);
            rig.give(Input::Closed(Some(4000)));
            rig.reconnect();
            let (_, resume, after) = reconnecting(&rig.invalid(false));
            assert!(!resume && after <= secs(5), "{name}: {after:?}");
        }
    }
}

#[test]
fn an_operators_restart_does_not_wait() {
    let mut rig = Rig::live();
    rig.give(Input::Closed(None));
    for _ in 0..5 {
        flap(&mut rig, Duration::ZERO);
    }
    rig.reconnect();
    rig.resumed(position(&rig) + 1);
    assert_eq!(reconnecting(&rig.give(Input::Restart { fresh: false })).2, Duration::ZERO);
    let mut rig = Rig::live();
    assert_eq!(reconnecting(&rig.give(Input::Restart { fresh: true })).2, Duration::ZERO);
}
