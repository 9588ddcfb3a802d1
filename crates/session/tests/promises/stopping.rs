//! Discord docs, Gateway: Initiating a Disconnect. Codes 1000 and 1001 end a session, any other keeps it.

use trunkline_session::{Action, Input, Phase, StopReason, Timer};

use crate::rig::*;

#[test]
fn a_stop_closes_with_4000_so_that_the_session_can_be_resumed_elsewhere() {
    let mut rig = Rig::live();
    rig.event(2);
    let actions = rig.give(Input::Stop);
    assert_eq!(closes(&actions), [4000]);
    assert_eq!(stopped(&actions), Some(StopReason::Asked));
    assert_eq!(rig.session.resume_point().unwrap().s, 2, "still there to be saved");
    assert_eq!(rig.next(), None);
    assert!(rig.give(Input::Stop).is_empty() && rig.event(3).is_empty());
}

#[test]
fn a_stop_while_waiting_for_the_grant_leaves_the_queue() {
    let mut rig = Rig::new(config(), None);
    rig.give(Input::Start);
    rig.greet();
    let actions = rig.give(Input::Stop);
    assert!(has(&actions, |action| *action == Action::ForgetIdentify));
    assert_eq!(rig.phase(), Phase::Stopped);
}

#[test]
fn a_stop_while_pausing_or_opening_ends_that_too() {
    let mut rig = Rig::new(config(), Some(stored()));
    rig.give(Input::Start);
    assert_eq!(closes(&rig.give(Input::Stop)), [4000], "the attempt to open is ended");

    let mut rig = Rig::resuming();
    rig.invalid(false);
    assert_eq!(rig.phase(), Phase::Waiting);
    let actions = rig.give(Input::Stop);
    assert!(closes(&actions).is_empty() && stopped(&actions).is_some());
    assert_eq!(rig.due_in(Timer::Reconnect), None);

    let mut rig = Rig::new(config(), None);
    assert!(stopped(&rig.give(Input::Stop)).is_some(), "also before the start");
}

#[test]
fn only_the_end_for_good_closes_with_1000() {
    let mut rig = Rig::live();
    let actions = rig.give(Input::End);
    assert_eq!(closes(&actions), [1000]);
    assert_eq!(stopped(&actions), Some(StopReason::Ended));
    assert_eq!(rig.session.resume_point(), None);
}

#[test]
fn a_timer_that_was_disarmed_on_its_way_is_ignored_and_an_early_one_is_armed_again() {
    let mut rig = Rig::live();
    for timer in [Timer::Hello, Timer::Reconnect, Timer::Join, Timer::Commands, Timer::Room] {
        assert!(rig.give(Input::Fired(timer)).is_empty(), "{timer:?}");
    }
    let due = rig.now + rig.due_in(Timer::Beat).unwrap();
    assert_eq!(rig.give(Input::Fired(Timer::Beat)), [Action::Arm(Timer::Beat, due)]);
}
