//! Discord docs, Gateway: Resuming, Disconnecting, Reconnect, Invalid Session.

use std::time::Duration;

use trunkline_discord::{Compression, Encoding, Intents, Op};
use trunkline_session::{Action, Cause, Input, LostCause, Notice, Phase, Report, ResumePoint, Timer};

use crate::rig::*;

#[test]
fn a_restarted_process_resumes_at_its_checkpoint() {
    let mut rig = Rig::new(config(), Some(stored()));
    assert_eq!(rig.notice, None);
    let actions = rig.give(Input::Start);
    assert_eq!(url(&actions).unwrap(), "wss://resume.example/?v=10&encoding=json&compress=zstd-stream");
    let json = sent_json(&rig.greet(), Op::Resume);
    assert_eq!(json, r#"{"op":6,"d":{"token":"MTIz.test.token","session_id":"stored-id","seq":50}}"#);
    assert!(has(&rig.event(51), |action| *action == Action::Deliver { s: 51 }));
    assert!(has(&rig.event(52), |action| *action == Action::Deliver { s: 52 }));
    let actions = rig.resumed(53);
    let at = |what: &Action| actions.iter().position(|action| action == what).unwrap();
    assert!(at(&Action::Deliver { s: 53 }) < at(&Action::Resumed { session: 8, replayed: 2 }));
    assert_eq!(rig.phase(), Phase::Live);
    assert_eq!(rig.count(|action| *action == Action::AskToIdentify), 0);
}

#[test]
fn a_resume_point_survives_being_stored() {
    let mut rig = Rig::live();
    rig.event(2);
    let bytes = rig.session.resume_point().unwrap().encode();
    let mut rig = Rig::new(config(), Some(ResumePoint::decode(&bytes).unwrap()));
    rig.give(Input::Start);
    let json = sent_json(&rig.greet(), Op::Resume);
    assert_eq!(field(&json, "seq").unwrap(), "2");
    assert_eq!(field(&json, "session_id").unwrap(), r#""fresh-id""#);
}

#[test]
fn a_lost_socket_is_resumed_at_the_last_event_on_the_resume_address() {
    for code in [None, Some(4000), Some(4001), Some(4002), Some(4003), Some(4005), Some(1000), Some(1001), Some(1006), Some(4999)] {
        let mut rig = Rig::live();
        rig.event(2);
        rig.pass(secs(10), true);
        let actions = rig.give(Input::Closed(code));
        assert_eq!(reconnecting(&actions), (Cause::Closed(code), true, Duration::ZERO));
        assert!(closes(&actions).is_empty(), "there is nothing to close");
        assert!(url(&actions).unwrap().starts_with(RESUME));
        assert_eq!(field(&sent_json(&rig.greet(), Op::Resume), "seq").unwrap(), "2");
    }
}

#[test]
fn an_unreachable_resume_address_is_replaced_by_the_main_one_and_still_resumes() {
    let mut rig = Rig::live();
    rig.pass(secs(10), true);
    assert!(url(&rig.give(Input::Closed(None))).unwrap().starts_with(RESUME));
    let actions = rig.give(Input::OpenFailed);
    assert!(reconnecting(&actions).1);
    while rig.phase() == Phase::Waiting {
        let (_, actions) = rig.fire_next();
        assert_eq!(url(&actions).unwrap(), "wss://main.example/?v=10&encoding=json&compress=zstd-stream");
    }
    assert_eq!(sent_ops(&rig.greet()), [Op::Resume]);
    rig.resumed(2);
    rig.pass(secs(10), true);
    assert!(url(&rig.give(Input::Closed(None))).unwrap().starts_with(RESUME), "it gets its next chance");
}

#[test]
fn when_nothing_can_be_reached_the_session_is_kept_and_both_addresses_take_turns() {
    let mut rig = Rig::live();
    rig.pass(secs(10), true);
    rig.give(Input::Closed(None));
    let mut urls = Vec::new();
    for _ in 0..20 {
        rig.give(Input::OpenFailed);
        let (_, actions) = rig.fire_next();
        urls.push(url(&actions).unwrap().starts_with(MAIN));
    }
    assert!(urls.windows(2).all(|pair| pair[0] != pair[1]), "{urls:?}");
    assert_eq!(rig.count(|action| matches!(action, Action::SessionLost { .. })), 0);
    assert_eq!(sent_ops(&rig.greet()), [Op::Resume]);
}

#[test]
fn a_resume_at_the_main_address_that_breaks_goes_back_to_the_resume_address() {
    let mut rig = Rig::live();
    rig.pass(secs(10), true);
    rig.give(Input::Closed(None));
    rig.give(Input::OpenFailed);
    let (_, actions) = rig.fire_next();
    assert!(url(&actions).unwrap().starts_with(MAIN));
    assert_eq!(sent_ops(&rig.greet()), [Op::Resume]);
    rig.give(Input::Closed(None));
    let (_, actions) = rig.fire_next();
    assert!(url(&actions).unwrap().starts_with(RESUME));
}

#[test]
fn op_7_closes_with_4000_and_resumes_at_once() {
    let mut rig = Rig::live();
    rig.pass(secs(10), true);
    let actions = rig.frame(r#"{"op":7,"d":null}"#);
    assert_eq!(closes(&actions), [4000]);
    assert_eq!(reconnecting(&actions), (Cause::ReconnectAsked, true, Duration::ZERO));
    assert!(url(&actions).unwrap().starts_with(RESUME));
}

#[test]
fn op_7_instead_of_hello_reconnects() {
    let mut rig = Rig::new(config(), None);
    rig.give(Input::Start);
    rig.give(Input::Opened);
    assert_eq!(reconnecting(&rig.frame(r#"{"op":7}"#)).0, Cause::ReconnectAsked);
}

#[test]
fn op_9_true_resumes_on_a_new_connection() {
    let mut rig = Rig::live();
    rig.pass(secs(10), true);
    let actions = rig.invalid(true);
    assert_eq!(closes(&actions), [4000]);
    assert_eq!(reconnecting(&actions), (Cause::InvalidSession { resumable: true }, true, Duration::ZERO));
    assert_eq!(sent_ops(&rig.greet()), [Op::Resume]);
}

#[test]
fn op_9_false_drops_the_session_waits_one_to_five_seconds_and_identifies_at_the_main_address() {
    let mut waits = Vec::new();
    for seed in 0..100 {
        let mut rig = Rig::seeded(config(), Some(stored()), seed);
        rig.give(Input::Start);
        rig.greet();
        let actions = rig.invalid(false);
        assert!(has(&actions, |action| *action == Action::SessionLost { cause: LostCause::InvalidSession, session: 8, last_s: 50 }));
        assert_eq!(closes(&actions), [4000]);
        let (_, resume, after) = reconnecting(&actions);
        assert!(!resume && after >= secs(1) && after <= secs(5), "seed {seed}: {after:?}");
        waits.push(after);
        let (_, actions) = rig.fire_next();
        assert!(url(&actions).unwrap().starts_with(MAIN));
        assert!(has(&rig.greet(), |action| *action == Action::AskToIdentify));
    }
    assert!(waits.iter().any(|wait| *wait < secs(2)) && waits.iter().any(|wait| *wait > secs(4)));
}

#[test]
fn after_op_9_the_wait_is_one_to_five_seconds_however_many_connects_had_failed_before() {
    for seed in 0..50 {
        let mut rig = Rig::seeded(config(), Some(stored()), seed);
        rig.give(Input::Start);
        for _ in 0..8 {
            rig.give(Input::OpenFailed);
            if rig.phase() == Phase::Waiting {
                rig.fire_next();
            }
        }
        assert!(rig.session.state().attempt > 6);
        rig.greet();
        let (_, _, after) = reconnecting(&rig.invalid(false));
        assert!(after >= secs(1) && after <= secs(5), "seed {seed}: {after:?}");
        // A connect that fails now begins its pauses anew as well.
        rig.fire_next();
        let (_, _, after) = reconnecting(&rig.give(Input::OpenFailed));
        assert!(after <= secs(1), "seed {seed}: {after:?}");
        // So does a first IDENTIFY that is refused.
        rig.reconnect();
        rig.give(Input::IdentifyGranted);
        let (_, _, after) = reconnecting(&rig.invalid(false));
        assert!(after >= secs(1) && after <= secs(5), "seed {seed}: {after:?}");
    }
}

#[test]
fn identifies_refused_in_a_row_wait_longer_and_longer_until_one_is_taken() {
    let mut rig = Rig::new(config(), None);
    rig.give(Input::Start);
    rig.greet();
    let mut waits = Vec::new();
    for _ in 0..10 {
        rig.give(Input::IdentifyGranted);
        waits.push(reconnecting(&rig.invalid(false)).2);
        rig.reconnect();
    }
    assert!(waits[0] <= secs(5) && waits[9] >= secs(48), "the day's identifies must not be spent in an hour: {waits:?}");
    rig.give(Input::IdentifyGranted);
    rig.ready();
    assert!(reconnecting(&rig.invalid(false)).2 >= secs(48), "a session that does not last is an identify for nothing as well");
    rig.reconnect();
    rig.give(Input::IdentifyGranted);
    rig.ready();
    rig.pass(secs(2), true);
    assert!(reconnecting(&rig.invalid(false)).2 <= secs(5), "one that lasts ends the row");
}

#[test]
fn op_9_with_anything_but_true_counts_as_false() {
    for d in ["null", "1", r#""true""#, "{}"] {
        let mut rig = Rig::live();
        let actions = rig.frame(&format!(r#"{{"op":9,"d":{d}}}"#));
        assert!(has(&actions, |action| matches!(action, Action::SessionLost { .. })), "{d}");
    }
}

#[test]
fn a_live_session_that_is_revoked_is_handled_as_op_9() {
    let mut rig = Rig::live();
    rig.event(2);
    let actions = rig.invalid(false);
    assert!(has(&actions, |action| *action == Action::SessionLost { cause: LostCause::InvalidSession, session: 4, last_s: 2 }));
    rig.reconnect();
    rig.give(Input::IdentifyGranted);
    assert!(has(&rig.ready(), |action| matches!(action, Action::Ready { session: 5, .. })));
    assert_eq!(rig.session.state().s, Some(1), "s begins anew with READY");
}

#[test]
fn codes_4007_and_4009_start_a_new_session() {
    for code in [4007, 4009] {
        let mut rig = Rig::resuming();
        let actions = rig.give(Input::Closed(Some(code)));
        assert!(has(&actions, |action| *action == Action::SessionLost { cause: LostCause::Closed(code), session: 8, last_s: 50 }));
        assert!(!reconnecting(&actions).1);
        rig.reconnect();
        assert_eq!(rig.phase(), Phase::AwaitingGrant);
    }
}

#[test]
fn after_4008_the_resume_waits() {
    let mut rig = Rig::live();
    rig.pass(secs(10), true);
    let (_, resume, after) = reconnecting(&rig.give(Input::Closed(Some(4008))));
    assert_eq!((resume, after), (true, secs(5)));
}

#[test]
fn resumes_that_bring_nothing_give_the_session_up_only_after_five_of_them_and_five_minutes() {
    let mut rig = Rig::resuming();
    rig.pass(secs(1), true);
    let began = rig.now;
    for attempt in 1.. {
        let actions = rig.give(Input::Closed(Some(4000)));
        let lost = has(&actions, |action| matches!(action, Action::SessionLost { cause: LostCause::ResumesFailed, .. }));
        assert_eq!(lost, rig.now.since(began) >= secs(300), "attempt {attempt}, after {:?}", rig.now.since(began));
        rig.reconnect();
        if lost {
            assert!(attempt > 5, "{attempt}");
            break;
        }
        assert_eq!(rig.phase(), Phase::Resuming);
    }
    assert_eq!(rig.phase(), Phase::AwaitingGrant);
}

#[test]
fn few_failed_resumes_do_not_give_the_session_up_however_long_they_take() {
    let mut rig = Rig::resuming();
    for _ in 1..=4 {
        rig.pass(secs(59), true);
        rig.give(Input::Closed(Some(4000)));
        for _ in 0..30 {
            while rig.phase() == Phase::Waiting {
                rig.fire_next();
            }
            rig.give(Input::OpenFailed);
        }
        rig.reconnect();
    }
    assert_eq!(rig.phase(), Phase::Resuming);
    let actions = rig.give(Input::Closed(Some(4000)));
    assert!(has(&actions, |action| matches!(action, Action::SessionLost { cause: LostCause::ResumesFailed, .. })), "the fifth");
}

#[test]
fn a_replay_between_failed_resumes_begins_their_five_minutes_anew() {
    let mut rig = Rig::resuming();
    for _ in 1..=8 {
        rig.give(Input::Closed(Some(4000)));
        rig.reconnect();
    }
    rig.event(51);
    rig.pass(secs(40), true);
    rig.give(Input::Closed(Some(4000)));
    rig.reconnect();
    for _ in 1..=5 {
        let actions = rig.give(Input::Closed(Some(4000)));
        assert!(reconnecting(&actions).1, "the row is too young");
        rig.reconnect();
        assert_eq!(rig.phase(), Phase::Resuming);
    }
}

#[test]
fn a_resume_that_brings_events_is_no_failure_however_often_it_breaks() {
    let mut rig = Rig::resuming();
    for s in 51..80 {
        rig.event(s);
        let actions = rig.give(Input::Closed(None));
        assert!(reconnecting(&actions).1);
        assert_eq!(field(&sent_json(&rig.reconnect(), Op::Resume), "seq").unwrap(), s.to_string());
    }
}

#[test]
fn resume_waits_for_room_in_the_log_and_leaves_when_there_is() {
    let mut rig = Rig::new(config(), Some(stored()));
    rig.give(Input::Start);
    rig.give(Input::Room(false));
    let actions = rig.greet();
    assert!(sends(&actions).is_empty());
    assert_eq!(rig.phase(), Phase::AwaitingRoom);
    rig.pass(secs(2), true);
    assert_eq!(sent_ops(&rig.give(Input::Room(true))), [Op::Resume]);
    assert_eq!(rig.due_in(Timer::Room), None);
}

#[test]
fn resume_leaves_after_five_seconds_without_room_and_says_so() {
    let mut rig = Rig::new(config(), Some(stored()));
    rig.give(Input::Start);
    rig.give(Input::Room(false));
    rig.greet();
    assert_eq!(rig.due_in(Timer::Room), Some(secs(5)));
    let actions = rig.pass(secs(5), true);
    assert!(reports(&actions, &Report::NoRoom));
    assert!(reports(&actions, &Report::ResumeSent { s: 50 }));
    assert!(sent_ops(&actions).contains(&Op::Resume));
}

#[test]
fn a_replay_may_take_long_but_not_stand_still() {
    let mut rig = Rig::resuming();
    for s in 51..61 {
        rig.pass(secs(50), true);
        rig.event(s);
        assert_eq!(rig.phase(), Phase::Resuming);
    }
    let actions = rig.pass(secs(61), true);
    assert_eq!(reconnecting(&actions).0, Cause::JoinLate);
    assert_eq!(closes(&actions), [4000]);
}

#[test]
fn other_intents_shard_count_or_bot_identify_afresh_and_say_so() {
    type Change = fn(&mut ResumePoint);
    let changes: [(Change, Notice); 3] = [
        (|point| point.intents = Intents::GUILDS, Notice::Intents { stored: Intents::GUILDS, configured: Intents::ALL }),
        (|point| point.shard = (1, 2), Notice::Shard { stored: (1, 2), configured: (1, 4) }),
        (|point| point.bot_id = 9, Notice::Bot { stored: 9, configured: 123 }),
    ];
    for (change, notice) in changes {
        let mut point = stored();
        change(&mut point);
        let mut rig = Rig::new(config(), Some(point));
        assert_eq!(rig.notice, Some(notice));
        assert!(notice.needs_identify() && notice.to_string().contains("new"));
        let actions = rig.give(Input::Start);
        assert!(has(&actions, |action| *action == Action::SessionLost { cause: LostCause::SettingsChanged, session: 8, last_s: 50 }));
        assert!(url(&actions).unwrap().starts_with(MAIN));
        assert!(has(&rig.greet(), |action| *action == Action::AskToIdentify));
        rig.give(Input::IdentifyGranted);
        assert!(has(&rig.ready(), |action| matches!(action, Action::Ready { session: 9, .. })), "above the stored one");
    }
}

#[test]
fn other_encoding_or_compression_wait_for_the_next_session() {
    let mut config = config();
    config.encoding = Encoding::Etf;
    config.compression = Compression::ZlibStream;
    let mut rig = Rig::new(config, Some(stored()));
    assert!(matches!(rig.notice, Some(Notice::Query { .. })) && !rig.notice.unwrap().needs_identify());
    let actions = rig.give(Input::Start);
    assert!(has(&actions, |action| {
        matches!(action, Action::Open { encoding: Encoding::Json, compression: Compression::ZstdStream, .. })
    }));
    sent_json(&rig.greet(), Op::Resume);
    rig.invalid(false);
    let (_, actions) = rig.fire_next();
    assert_eq!(url(&actions).unwrap(), "wss://main.example/?v=10&encoding=etf&compress=zlib-stream");
    rig.greet();
    let actions = rig.give(Input::IdentifyGranted);
    assert_eq!(sends(&actions)[0].1[0], 131, "the new session speaks ETF");
}

#[test]
fn a_plain_restart_closes_with_4000_and_resumes() {
    let mut rig = Rig::live();
    let actions = rig.give(Input::Restart { fresh: false });
    assert_eq!(closes(&actions), [4000]);
    assert_eq!(reconnecting(&actions), (Cause::RestartAsked, true, Duration::ZERO));
    assert_eq!(sent_ops(&rig.greet()), [Op::Resume]);
}
