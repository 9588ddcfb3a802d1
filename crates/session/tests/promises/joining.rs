//! Discord docs, Gateway: Connection Lifecycle, Identifying.

use std::time::Duration;

use bytes::Bytes;
use trunkline_discord::{Encoding, Intents, Object, Op};
use trunkline_etf::{Limits, Value};
use trunkline_session::{Action, Cause, Input, LostCause, Phase, Refusal, Report, Timer};

use crate::rig::*;

#[test]
fn a_fresh_start_opens_the_main_address_with_version_encoding_and_compression() {
    let mut rig = Rig::new(config(), None);
    assert_eq!(rig.notice, None);
    let actions = rig.give(Input::Start);
    assert_eq!(url(&actions).unwrap(), "wss://main.example/?v=10&encoding=json&compress=zstd-stream");
    assert!(rig.give(Input::Start).is_empty(), "once");
}

#[test]
fn identify_leaves_only_after_the_grant_and_in_the_same_step() {
    let mut rig = Rig::new(config(), None);
    rig.give(Input::Start);
    assert!(!has(&rig.give(Input::Opened), |action| *action == Action::AskToIdentify));
    let actions = rig.hello();
    assert!(has(&actions, |action| *action == Action::AskToIdentify));
    assert!(sends(&actions).is_empty());
    let json = sent_json(&rig.give(Input::IdentifyGranted), Op::Identify);
    assert_eq!(field(&json, "token").unwrap(), r#""MTIz.test.token""#);
    assert_eq!(field(&json, "intents").unwrap(), Intents::ALL.0.to_string());
    assert_eq!(field(&json, "shard").unwrap(), "[1,4]");
    assert_eq!(field(&json, "compress").unwrap(), "false", "never together with transport compression");
    assert!(field(&json, "properties").unwrap().contains("trunkline"));
    assert_eq!(field(&json, "presence"), None);
}

#[test]
fn neither_token_nor_session_id_shows_when_actions_are_logged() {
    let mut rig = Rig::resuming();
    rig.invalid(false);
    rig.reconnect();
    rig.give(Input::IdentifyGranted);
    let text = format!("{:?} {:?}", rig.log, rig.session);
    assert!(text.contains("Send(identify, ") && text.contains("Send(resume, "));
    for secret in ["MTIz.test.token", "stored-id", "77, 84, 73, 122"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[test]
fn identify_carries_presence_and_large_threshold_when_configured() {
    let mut config = config();
    config.presence = Some(Object { encoding: Encoding::Json, bytes: Bytes::from_static(br#"{"status":"idle","activities":[]}"#) });
    config.large_threshold = Some(1_000);
    let mut rig = Rig::new(config, None);
    rig.give(Input::Start);
    rig.greet();
    let json = sent_json(&rig.give(Input::IdentifyGranted), Op::Identify);
    assert_eq!(field(&json, "presence").unwrap(), r#"{"status":"idle","activities":[]}"#);
    assert_eq!(field(&json, "large_threshold").unwrap(), "250");
}

#[test]
fn a_presence_that_cannot_be_sent_is_left_out_and_told() {
    let long = format!(r#"{{"status":"idle","activities":[{{"name":"{}"}}]}}"#, "x".repeat(5_000));
    for (presence, told) in [(long, false), ("[]".to_owned(), true)] {
        let mut config = config();
        config.presence = Some(Object { encoding: Encoding::Json, bytes: presence.into() });
        let mut rig = Rig::new(config, None);
        rig.give(Input::Start);
        rig.greet();
        let actions = rig.give(Input::IdentifyGranted);
        assert_eq!(field(&sent_json(&actions, Op::Identify), "presence"), None);
        let report =
            |action: &Action| matches!(action, Action::Report(Report::PresenceLeftOut(why)) if (*why == Refusal::Malformed) == told);
        assert!(has(&actions, report));
    }
}

#[test]
fn identify_in_etf_has_binary_keys_only() {
    let mut config = config();
    config.encoding = Encoding::Etf;
    // {status: idle} with an atom key, as Discord itself would write it.
    let presence = [&[116, 0, 0, 0, 1, 119, 6][..], b"status", &[109, 0, 0, 0, 4], b"idle"].concat();
    config.presence = Some(Object { encoding: Encoding::Etf, bytes: presence.into() });
    let mut rig = Rig::new(config, None);
    rig.give(Input::Start);
    rig.greet();
    let actions = rig.give(Input::IdentifyGranted);
    let (_, bytes) = &sends(&actions)[0];
    let whole = Value::parse(Encoding::Etf, bytes, &Limits::GATEWAY).unwrap();
    let mut stack = vec![whole];
    let mut keys = 0;
    while let Some(value) = stack.pop() {
        for (key, entry) in value.entries() {
            assert_eq!(key.raw()[0], 109, "{key:?}");
            keys += 1;
            stack.push(entry);
        }
        stack.extend(value.items());
    }
    assert!(keys >= 9, "{keys}");
    assert_eq!(whole.get("d").unwrap().get("presence").unwrap().get("status").unwrap().as_str().unwrap(), "idle");
}

#[test]
fn ready_makes_a_session_with_everything_a_resume_needs() {
    let mut rig = Rig::new(config(), None);
    rig.give(Input::Start);
    rig.greet();
    rig.give(Input::IdentifyGranted);
    let actions = rig.ready();
    let ready = Action::Ready { session: 4, bot_id: 123, application_id: 456, guilds: vec![11, 12] };
    let at = |what: &Action| actions.iter().position(|action| action == what).unwrap();
    assert!(at(&ready) < at(&Action::Deliver { s: 1 }), "{actions:?}");
    let point = rig.session.resume_point().unwrap();
    assert_eq!((point.session_id.as_str(), point.s, point.session), ("fresh-id", 1, 4));
    assert_eq!((point.resume_url.as_str(), point.shard, point.bot_id), (RESUME, (1, 4), 123));
    assert_eq!(rig.due_in(Timer::Join), None);
}

#[test]
fn ready_without_a_session_id_is_a_bad_frame_and_without_a_resume_address_is_not() {
    for d in [r#"{"resume_gateway_url":"wss://x"}"#, r#"{"session_id":""}"#, r#"{"session_id":7}"#, "null", "[]"] {
        let mut rig = Rig::new(config(), None);
        rig.give(Input::Start);
        rig.greet();
        rig.give(Input::IdentifyGranted);
        let actions = rig.frame(&format!(r#"{{"op":0,"s":1,"t":"READY","d":{d}}}"#));
        assert!(matches!(reconnecting(&actions), (Cause::BadFrame(_), false, _)), "{d}");
    }
    let mut rig = Rig::new(config(), None);
    rig.give(Input::Start);
    rig.greet();
    rig.give(Input::IdentifyGranted);
    let actions = rig.frame(r#"{"op":0,"s":1,"t":"READY","d":{"session_id":"x"}}"#);
    assert!(reports(&actions, &Report::NoResumeUrl));
    assert_eq!(rig.phase(), Phase::Live);
    assert!(url(&rig.give(Input::Closed(None))).unwrap().starts_with(MAIN));
}

#[test]
fn hello_that_does_not_come_in_time_is_not_waited_for() {
    let mut rig = Rig::new(config(), None);
    rig.give(Input::Start);
    rig.give(Input::Opened);
    assert!(rig.pass(Duration::from_millis(19_999), true).is_empty());
    let actions = rig.pass(Duration::from_millis(1), true);
    assert_eq!(closes(&actions), [4000]);
    assert_eq!(reconnecting(&actions).0, Cause::HelloLate);
}

#[test]
fn ready_may_take_ten_minutes_and_then_the_next_identify_waits() {
    let mut rig = Rig::new(config(), None);
    rig.give(Input::Start);
    rig.greet();
    rig.give(Input::IdentifyGranted);
    assert!(closes(&rig.pass(secs(599), true)).is_empty());
    let actions = rig.pass(secs(1), true);
    let (cause, resume, after) = reconnecting(&actions);
    assert_eq!((cause, resume), (Cause::JoinLate, false));
    assert!(after >= secs(1) && after <= secs(5));
    let again = rig.reconnect();
    assert!(has(&again, |action| *action == Action::AskToIdentify), "a second identify needs a second grant");
}

#[test]
fn a_grant_that_comes_between_two_sockets_is_given_back_and_asked_for_again() {
    let mut rig = Rig::new(config(), None);
    rig.give(Input::Start);
    rig.greet();
    rig.give(Input::Closed(None));
    let actions = rig.give(Input::IdentifyGranted);
    assert!(has(&actions, |action| *action == Action::ForgetIdentify));
    assert!(reports(&actions, &Report::GrantUnused));
    assert!(sends(&actions).is_empty());
    let actions = rig.reconnect();
    assert!(has(&actions, |action| *action == Action::AskToIdentify));
    assert_eq!(sent_ops(&rig.give(Input::IdentifyGranted)), [Op::Identify]);
}

#[test]
fn a_grant_that_nobody_asked_for_is_given_back() {
    let mut rig = Rig::live();
    let actions = rig.give(Input::IdentifyGranted);
    assert!(has(&actions, |action| *action == Action::ForgetIdentify) && sends(&actions).is_empty());
}

#[test]
fn an_identify_that_discord_refuses_waits_one_to_five_seconds_for_a_new_connection() {
    for _ in 0..20 {
        let mut rig = Rig::new(config(), None);
        rig.give(Input::Start);
        rig.greet();
        rig.give(Input::IdentifyGranted);
        let actions = rig.invalid(true);
        let (cause, resume, after) = reconnecting(&actions);
        assert_eq!((cause, resume), (Cause::InvalidSession { resumable: false }, false), "there is nothing to resume");
        assert!(after >= secs(1) && after <= secs(5));
        assert!(!has(&actions, |action| matches!(action, Action::SessionLost { .. })));
    }
}

#[test]
fn dispatches_before_ready_are_not_delivered_and_are_told_as_a_gap() {
    let mut rig = Rig::new(config(), None);
    rig.give(Input::Start);
    rig.greet();
    rig.event(1);
    rig.give(Input::IdentifyGranted);
    let actions = rig.event(1);
    assert!(has(&actions, |action| matches!(action, Action::Report(Report::Unexpected { op: Op::Dispatch, .. }))));
    let actions = rig.frame(r#"{"op":0,"s":3,"t":"READY","d":{"session_id":"x","resume_gateway_url":"wss://r"}}"#);
    assert!(has(&actions, |action| *action == Action::Gap { session: 4, first_s: 1, last_s: 2 }));
    assert_eq!(rig.count(|action| matches!(action, Action::Deliver { .. })), 1);
}

#[test]
fn the_pauses_between_failed_connects_are_0_1_2_4_up_to_64_seconds() {
    let mut rig = Rig::new(config(), None);
    rig.give(Input::Start);
    for want in [0, 1, 2, 4, 8, 16, 32, 64, 64, 64] {
        let (cause, resume, after) = reconnecting(&rig.give(Input::OpenFailed));
        assert_eq!((cause, resume), (Cause::OpenFailed, false));
        assert!(after <= secs(want) && after >= secs(want) * 3 / 4, "{want}: {after:?}");
        if want > 0 {
            assert_eq!(rig.next().unwrap().0, Timer::Reconnect);
            rig.fire_next();
        }
    }
}

#[test]
fn the_pauses_begin_anew_only_after_a_session_was_live_for_a_while() {
    let mut rig = Rig::live();
    rig.pass(secs(3), true);
    assert_eq!(reconnecting(&rig.give(Input::Closed(None))).2, Duration::ZERO);
    for want in [1, 2, 4] {
        rig.reconnect();
        let s = rig.session.state().s.unwrap();
        rig.resumed(s + 1);
        let (_, _, after) = reconnecting(&rig.give(Input::Closed(None)));
        assert!(after <= secs(want) && after >= secs(want) * 3 / 4, "flapping must slow down: {after:?}");
    }
    rig.reconnect();
    let s = rig.session.state().s.unwrap();
    rig.resumed(s + 1);
    rig.pass(secs(2), true);
    assert_eq!(reconnecting(&rig.give(Input::Closed(None))).2, Duration::ZERO);
}

#[test]
fn a_fresh_restart_gives_the_session_up_and_identifies() {
    let mut rig = Rig::live();
    let actions = rig.give(Input::Restart { fresh: true });
    assert!(has(&actions, |action| *action == Action::SessionLost { cause: LostCause::Asked, session: 4, last_s: 1 }));
    assert_eq!(closes(&actions), [4000]);
    assert!(url(&actions).unwrap().starts_with(MAIN));
    rig.greet();
    rig.give(Input::IdentifyGranted);
    assert!(has(&rig.ready(), |action| matches!(action, Action::Ready { session: 5, .. })), "the ordinal rises");
}

#[test]
fn a_refetched_main_address_is_used_for_the_next_connection() {
    let mut rig = Rig::new(config(), None);
    rig.give(Input::Start);
    rig.session.set_gateway_url("wss://other.example".into());
    assert!(url(&rig.give(Input::OpenFailed)).unwrap().starts_with("wss://other.example/"));
}
