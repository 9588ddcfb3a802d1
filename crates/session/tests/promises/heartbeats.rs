//! Discord docs, Gateway: Sending Heartbeats.

use std::time::Duration;

use trunkline_discord::Op;
use trunkline_session::{Cause, Input, Phase, Report, Timer};

use crate::rig::*;

#[test]
fn the_first_beat_comes_after_a_random_part_of_the_interval() {
    let mut seen = Vec::new();
    for seed in 0..200 {
        let mut rig = Rig::seeded(config(), None, seed);
        rig.give(Input::Start);
        rig.greet();
        let first = rig.due_in(Timer::Beat).unwrap();
        assert!(first <= INTERVAL, "seed {seed}: {first:?}");
        seen.push(first);
    }
    assert!(seen.iter().any(|first| *first < INTERVAL / 10));
    assert!(seen.iter().any(|first| *first > INTERVAL * 9 / 10));
}

#[test]
fn later_beats_come_an_interval_apart_for_the_life_of_the_socket() {
    let mut rig = Rig::live();
    let first = rig.due_in(Timer::Beat).unwrap();
    rig.pass(first, true);
    let actions = rig.pass(INTERVAL * 100, true);
    assert_eq!(sent_ops(&actions), [Op::Heartbeat; 100]);
    assert_eq!(rig.phase(), Phase::Live);
}

#[test]
fn beats_go_on_while_the_socket_waits_for_its_grant() {
    let mut rig = Rig::new(config(), None);
    rig.give(Input::Start);
    rig.greet();
    let actions = rig.pass(secs(600), true);
    assert!(sent_ops(&actions).len() >= 14);
    assert_eq!(rig.phase(), Phase::AwaitingGrant);
}

#[test]
fn a_beat_is_null_before_the_first_checkpoint_and_carries_the_checkpoint_after() {
    let mut rig = Rig::live();
    for s in 2..=20 {
        rig.event(s);
    }
    let beat = |rig: &mut Rig| {
        let actions = rig.frame(r#"{"op":1}"#);
        rig.ack();
        sent_json(&actions, Op::Heartbeat)
    };
    assert_eq!(beat(&mut rig), r#"{"op":1,"d":null}"#);
    rig.give(Input::Checkpointed { s: 10, session: 4 });
    assert_eq!(beat(&mut rig), r#"{"op":1,"d":10}"#);
    rig.give(Input::Checkpointed { s: 9, session: 4 });
    rig.give(Input::Checkpointed { s: 15, session: 3 });
    assert_eq!(beat(&mut rig), r#"{"op":1,"d":10}"#, "an older one, and another session's, say nothing");
    rig.give(Input::Checkpointed { s: 99, session: 4 });
    assert_eq!(beat(&mut rig), r#"{"op":1,"d":20}"#, "never beyond what was received");
}

#[test]
fn a_new_session_begins_with_null_again() {
    let mut rig = Rig::live();
    rig.give(Input::Checkpointed { s: 1, session: 4 });
    rig.invalid(false);
    rig.reconnect();
    rig.give(Input::IdentifyGranted);
    rig.ready();
    assert_eq!(sent_json(&rig.frame(r#"{"op":1}"#), Op::Heartbeat), r#"{"op":1,"d":null}"#);
}

#[test]
fn a_restarted_process_beats_with_the_position_it_was_loaded_at() {
    let mut rig = Rig::resuming();
    rig.event(51);
    assert_eq!(sent_json(&rig.frame(r#"{"op":1}"#), Op::Heartbeat), r#"{"op":1,"d":50}"#);
}

#[test]
fn a_requested_beat_is_answered_at_once_and_leaves_the_schedule_alone() {
    let mut rig = Rig::live();
    let due = rig.due_in(Timer::Beat);
    let actions = rig.frame(r#"{"op":1,"d":null}"#);
    assert_eq!(sent_ops(&actions), [Op::Heartbeat]);
    assert_eq!(rig.due_in(Timer::Beat), due);
}

#[test]
fn silence_for_an_interval_after_an_unanswered_beat_is_a_zombie() {
    let mut rig = Rig::live();
    let first = rig.due_in(Timer::Beat).unwrap();
    rig.pass(first, false);
    let early = rig.pass(INTERVAL - Duration::from_millis(1), false);
    assert!(closes(&early).is_empty());
    let actions = rig.pass(Duration::from_millis(1), false);
    assert_eq!(closes(&actions), [4000]);
    assert_eq!(reconnecting(&actions), (Cause::Zombie, true, Duration::ZERO));
    assert!(url(&actions).unwrap().starts_with(RESUME));
}

#[test]
fn with_bytes_flowing_a_missing_answer_is_a_zombie_only_after_two_intervals() {
    let mut rig = Rig::live();
    let first = rig.due_in(Timer::Beat).unwrap();
    rig.pass(first, false);
    let mut actions = Vec::new();
    for _ in 0..8 {
        assert!(closes(&actions).is_empty(), "closed before two intervals were over");
        actions = rig.pass(INTERVAL / 4, false);
        rig.give(Input::Bytes);
    }
    assert_eq!(closes(&actions), [4000]);
    assert_eq!(reconnecting(&actions).0, Cause::Zombie);
}

#[test]
fn an_answer_clears_every_beat_before_it_and_its_delay_is_told() {
    let mut rig = Rig::live();
    rig.frame(r#"{"op":1}"#);
    rig.pass(Duration::from_millis(30), false);
    assert!(reports(&rig.ack(), &Report::Acked(Duration::from_millis(30))));
    assert!(!reports(&rig.ack(), &Report::Acked(Duration::from_millis(30))), "nothing is unanswered now");
    rig.pass(INTERVAL * 10, true);
    assert_eq!(rig.phase(), Phase::Live);
}

#[test]
fn a_zombie_while_waiting_for_the_grant_keeps_the_place_in_the_queue() {
    let mut rig = Rig::new(config(), None);
    rig.give(Input::Start);
    rig.greet();
    rig.pass(INTERVAL * 2, false);
    assert_eq!(rig.phase(), Phase::Opening);
    rig.greet();
    assert_eq!(rig.count(|action| *action == trunkline_session::Action::AskToIdentify), 1);
    assert_eq!(sent_ops(&rig.give(Input::IdentifyGranted)), [Op::Identify]);
}

#[test]
fn a_hello_without_a_usable_interval_is_refused_and_tried_again() {
    for d in ["{}", r#"{"heartbeat_interval":0}"#, r#"{"heartbeat_interval":-5}"#, r#"{"heartbeat_interval":"41250"}"#, "null", "7"] {
        let mut rig = Rig::new(config(), None);
        rig.give(Input::Start);
        rig.give(Input::Opened);
        let actions = rig.frame(&format!(r#"{{"op":10,"d":{d}}}"#));
        assert_eq!(closes(&actions), [4000], "{d}");
        assert!(matches!(reconnecting(&actions).0, Cause::BadFrame(_)));
    }
    for d in ["1e300", "0.0001", "18446744073709551615"] {
        let mut rig = Rig::new(config(), None);
        rig.give(Input::Start);
        rig.give(Input::Opened);
        rig.frame(&format!(r#"{{"op":10,"d":{{"heartbeat_interval":{d}}}}}"#));
        assert_eq!(rig.phase(), Phase::AwaitingGrant, "{d}");
    }
}

#[test]
fn even_a_tiny_interval_never_sends_more_than_120_frames_a_minute_and_leaves_room_to_identify() {
    let mut rig = Rig::new(config(), None);
    rig.give(Input::Start);
    rig.give(Input::Opened);
    rig.frame(r#"{"op":10,"d":{"heartbeat_interval":100}}"#);
    let actions = rig.pass(secs(30), true);
    assert_eq!(sent_ops(&actions).len(), 119);
    assert!(reports(&actions, &Report::BeatHeldBack));
    assert_eq!(sent_ops(&rig.give(Input::IdentifyGranted)), [Op::Identify]);
}
