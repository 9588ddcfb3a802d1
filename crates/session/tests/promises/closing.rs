//! Discord docs, Opcodes and Status Codes: Gateway Close Event Codes; frames that cannot be.

use trunkline_discord::CloseCode;
use trunkline_session::{Action, Cause, Input, LostCause, Phase, Report, StopReason};

use crate::rig::*;

#[test]
fn fatal_codes_stop_and_tell_a_person_why() {
    for code in [4004, 4010, 4011, 4012, 4013, 4014] {
        let mut rig = Rig::live();
        let actions = rig.give(Input::Closed(Some(code)));
        let reason = stopped(&actions).unwrap();
        assert_eq!(reason, StopReason::Fatal(CloseCode(code)));
        assert!(reason.to_string().contains(CloseCode(code).advice()));
        assert!(has(&actions, |action| matches!(action, Action::SessionLost { cause: LostCause::Closed(_), .. })));
        assert!(closes(&actions).is_empty());
        assert_eq!(rig.next(), None, "no timer is left behind");
        assert!(rig.give(Input::IdentifyGranted).is_empty() && rig.give(Input::Start).is_empty());
        assert_eq!(rig.phase(), Phase::Stopped);
    }
}

#[test]
fn a_fatal_code_while_identifying_stops_without_a_second_try() {
    let mut rig = Rig::new(config(), None);
    rig.give(Input::Start);
    rig.greet();
    rig.give(Input::IdentifyGranted);
    assert!(stopped(&rig.give(Input::Closed(Some(4014)))).is_some());
    assert_eq!(rig.count(|action| matches!(action, Action::Open { .. })), 1);
}

#[test]
fn an_undecodable_frame_closes_with_4000_and_resumes() {
    let mut rig = Rig::live();
    rig.pass(secs(10), true);
    let actions = rig.give(Input::BadFrame);
    assert_eq!(closes(&actions), [4000]);
    assert!(matches!(reconnecting(&actions), (Cause::BadFrame(_), true, after) if after.is_zero()));
}

#[test]
fn the_same_bad_frame_three_times_in_a_row_starts_a_new_session() {
    let mut rig = Rig::live();
    for attempt in 1..=3 {
        let actions = rig.give(Input::BadFrame);
        let lost = has(&actions, |action| matches!(action, Action::SessionLost { cause: LostCause::BadFrames, .. }));
        assert_eq!(lost, attempt == 3, "attempt {attempt}");
        rig.reconnect();
    }
    assert_eq!(rig.phase(), Phase::AwaitingGrant);
}

#[test]
fn bad_frames_with_progress_between_them_never_cost_the_session() {
    let mut rig = Rig::live();
    for s in 2..20 {
        rig.event(s);
        rig.give(Input::BadFrame);
        rig.reconnect();
        assert_eq!(rig.phase(), Phase::Resuming);
    }
}

#[test]
fn frames_that_cannot_be_in_a_session_are_bad_frames() {
    for frame in [
        r#"{"op":0,"t":"TYPING_START","d":{}}"#,
        r#"{"op":0,"s":2,"d":{}}"#,
        r#"{"op":0,"s":2,"t":"","d":{}}"#,
        r#"{"op":0,"s":2,"t":"READY","d":{"session_id":"other"}}"#,
        r#"{"op":0,"s":18446744073709551615,"t":"TYPING_START","d":{}}"#,
    ] {
        let mut rig = Rig::live();
        let actions = rig.frame(frame);
        assert!(matches!(reconnecting(&actions), (Cause::BadFrame(_), true, _)), "{frame}");
        assert!(!has(&actions, |action| matches!(action, Action::Deliver { .. } | Action::Gap { .. })), "{frame}");
    }
}

#[test]
fn ready_in_answer_to_a_resume_is_a_bad_frame() {
    let mut rig = Rig::resuming();
    let actions = rig.frame(r#"{"op":0,"s":51,"t":"READY","d":{"session_id":"other"}}"#);
    assert!(matches!(reconnecting(&actions), (Cause::BadFrame(_), true, _)));
    assert_eq!(rig.session.resume_point().unwrap().session_id, "stored-id");
}

#[test]
fn a_dispatch_before_hello_is_a_bad_frame() {
    let mut rig = Rig::new(config(), Some(stored()));
    rig.give(Input::Start);
    rig.give(Input::Opened);
    assert!(matches!(reconnecting(&rig.event(51)).0, Cause::BadFrame(_)));
}

#[test]
fn frames_out_of_place_that_do_no_harm_are_ignored_and_told() {
    let mut rig = Rig::live();
    let due = rig.next();
    for frame in [r#"{"op":10,"d":{"heartbeat_interval":1}}"#, r#"{"op":11}"#, r#"{"op":2,"d":{}}"#, r#"{"op":6}"#, r#"{"op":31}"#] {
        let actions = rig.frame(frame);
        assert!(matches!(&actions[..], [Action::Report(Report::Unexpected { .. })]), "{frame}: {actions:?}");
    }
    assert_eq!(rig.next(), due, "a second HELLO changes no schedule");
    let actions = rig.resumed(2);
    assert!(has(&actions, |action| *action == Action::Deliver { s: 2 }));
    assert!(has(&actions, |action| *action == Action::Report(Report::ResumedAgain)));
    assert!(!has(&actions, |action| matches!(action, Action::Resumed { .. })));
}

#[test]
fn an_unknown_op_is_ignored_and_counted() {
    let mut rig = Rig::live();
    assert_eq!(rig.frame(r#"{"op":99,"d":{"x":1}}"#), [Action::Report(Report::UnknownOp(99))]);
    assert_eq!(rig.phase(), Phase::Live);
}

#[test]
fn nothing_that_comes_late_from_a_closed_socket_does_harm() {
    let mut rig = Rig::live();
    rig.pass(secs(10), true);
    rig.frame(r#"{"op":7}"#);
    assert_eq!(rig.phase(), Phase::Opening);
    assert!(rig.event(2).is_empty());
    assert!(rig.give(Input::BadFrame).is_empty());
    assert!(rig.give(Input::Bytes).is_empty());
    assert!(rig.invalid(false).is_empty());
    assert_eq!(rig.session.state().s, Some(1));
}
