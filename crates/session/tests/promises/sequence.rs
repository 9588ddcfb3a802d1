//! Discord docs, Gateway: Resuming; API Reference: Consistency. Every dispatch is new, repeated, or after a gap.

use trunkline_session::{Action, Cause, Input, Phase};

use crate::rig::*;

fn verdicts(actions: &[Action]) -> Vec<Action> {
    let kept = |action: &&Action| matches!(action, Action::Deliver { .. } | Action::Duplicate { .. } | Action::Gap { .. });
    actions.iter().filter(kept).cloned().collect()
}

#[test]
fn events_in_order_are_delivered_and_move_the_position() {
    let mut rig = Rig::live();
    for s in 2..100 {
        assert_eq!(verdicts(&rig.event(s)), [Action::Deliver { s }]);
    }
    assert_eq!(rig.session.resume_point().unwrap().s, 99);
}

#[test]
fn a_repeated_s_is_dropped_before_anybody_sees_it() {
    let mut rig = Rig::live();
    rig.event(2);
    assert_eq!(verdicts(&rig.event(2)), [Action::Duplicate { s: 2 }]);
    assert_eq!(verdicts(&rig.event(1)), [Action::Duplicate { s: 1 }]);
    assert_eq!(verdicts(&rig.ready()), [Action::Duplicate { s: 1 }], "a repeated READY too");
    assert_eq!(verdicts(&rig.event(3)), [Action::Deliver { s: 3 }]);
}

#[test]
fn a_jump_in_s_is_a_gap_and_the_event_after_it_is_delivered() {
    let mut rig = Rig::live();
    let actions = rig.event(5);
    assert_eq!(verdicts(&actions), [Action::Gap { session: 4, first_s: 2, last_s: 4 }, Action::Deliver { s: 5 }]);
    assert_eq!(verdicts(&rig.event(6)), [Action::Deliver { s: 6 }]);
}

#[test]
fn a_jump_that_cannot_be_true_is_not_believed() {
    let mut rig = Rig::live();
    rig.pass(secs(10), true);
    let actions = rig.event(5_000_000);
    assert!(verdicts(&actions).is_empty());
    assert!(matches!(reconnecting(&actions), (Cause::BadFrame(_), true, _)));
    assert_eq!(rig.session.state().s, Some(1));
}

#[test]
fn a_replay_that_repeats_events_drops_them_and_counts_only_the_new_ones() {
    let mut rig = Rig::resuming();
    assert_eq!(verdicts(&rig.event(49)), [Action::Duplicate { s: 49 }]);
    assert_eq!(verdicts(&rig.event(50)), [Action::Duplicate { s: 50 }]);
    assert_eq!(verdicts(&rig.event(51)), [Action::Deliver { s: 51 }]);
    assert_eq!(verdicts(&rig.event(53)), [Action::Gap { session: 8, first_s: 52, last_s: 52 }, Action::Deliver { s: 53 }]);
    assert!(has(&rig.resumed(54), |action| *action == Action::Resumed { session: 8, replayed: 2 }));
}

#[test]
fn resumed_ends_the_replay_even_when_its_s_is_old_or_missing() {
    for frame in [r#"{"op":0,"s":50,"t":"RESUMED","d":{}}"#, r#"{"op":0,"t":"RESUMED","d":null}"#] {
        let mut rig = Rig::resuming();
        let actions = rig.frame(frame);
        assert!(has(&actions, |action| *action == Action::Resumed { session: 8, replayed: 0 }), "{frame}");
        assert!(!has(&actions, |action| matches!(action, Action::Deliver { .. })));
        assert_eq!(rig.phase(), Phase::Live);
    }
}

#[test]
fn a_stream_that_has_slipped_back_is_not_dropped_for_ever() {
    let mut config = config();
    config.limits.duplicates_max = 10;
    let mut rig = Rig::live_with(config);
    rig.event(2);
    for _ in 0..9 {
        rig.event(2);
        assert_eq!(rig.phase(), Phase::Live);
    }
    rig.event(3);
    for _ in 0..9 {
        rig.event(3);
    }
    assert_eq!(rig.phase(), Phase::Live, "an event between them starts the count anew");
    assert!(matches!(reconnecting(&rig.event(3)).0, Cause::BadFrame(_)));
}

#[test]
fn a_lost_session_tells_where_it_ended_so_that_the_gap_can_be_told() {
    let mut rig = Rig::live();
    for s in 2..=9 {
        rig.event(s);
    }
    let actions = rig.give(Input::Closed(Some(4009)));
    assert!(has(&actions, |action| matches!(action, Action::SessionLost { session: 4, last_s: 9, .. })));
    assert_eq!(rig.session.resume_point(), None);
    assert_eq!(rig.session.state().session, None);
}
