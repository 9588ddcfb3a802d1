//! Discord docs, Gateway: Rate Limiting, Sending Events.

use std::time::Duration;

use bytes::Bytes;
use trunkline_discord::{Encoding, Object, Op};
use trunkline_session::{Action, Input, Phase, Refusal, Report, Timer};

use crate::rig::*;

const JOIN: &str = r#"{"guild_id":"1","channel_id":"2","self_mute":false,"self_deaf":false}"#;
const STATUS: &str = r#"{"since":null,"activities":[],"status":"online","afk":false}"#;

fn refused(actions: &[Action]) -> Option<Refusal> {
    actions.iter().find_map(|action| match action {
        Action::Report(Report::CommandRefused { why, .. }) => Some(*why),
        _ => None,
    })
}

#[test]
fn a_command_of_a_live_session_leaves_at_once() {
    let mut rig = Rig::live();
    let json = sent_json(&rig.command(Op::VoiceStateUpdate, JOIN), Op::VoiceStateUpdate);
    assert_eq!(json, format!(r#"{{"op":4,"d":{JOIN}}}"#));
}

#[test]
fn commands_share_120_per_minute_with_room_kept_for_beats() {
    let mut rig = Rig::live();
    let start = rig.now;
    let mut ops = Vec::new();
    for _ in 0..200 {
        ops.extend(sent_ops(&rig.command(Op::RequestGuildMembers, JOIN)));
    }
    // One identify is spent, and ceil(60 / 41.25) + 1 = 3 places are kept.
    assert_eq!(ops.len(), 120 - 3 - 1);
    rig.pass(secs(60), true);
    let in_first_minute =
        rig.log.iter().filter(|(at, action)| at.since(start) <= secs(60) && matches!(action, Action::Send { .. })).count();
    assert!(in_first_minute <= 120, "{in_first_minute}");
    rig.pass(secs(61), true);
    assert_eq!(rig.session.state().commands_waiting, 0);
    assert_eq!(rig.count(|action| matches!(action, Action::Send { op: Op::RequestGuildMembers, .. })), 200);
    assert_eq!(rig.phase(), Phase::Live);
}

#[test]
fn presence_updates_have_five_per_twenty_seconds_and_let_others_pass() {
    let mut rig = Rig::live();
    for _ in 0..5 {
        assert_eq!(sent_ops(&rig.command(Op::PresenceUpdate, STATUS)), [Op::PresenceUpdate]);
    }
    assert!(sends(&rig.command(Op::PresenceUpdate, STATUS)).is_empty());
    assert_eq!(sent_ops(&rig.command(Op::VoiceStateUpdate, JOIN)), [Op::VoiceStateUpdate]);
    assert!(sends(&rig.pass(secs(20), true)).iter().all(|(op, _)| *op == Op::Heartbeat));
    assert!(sent_ops(&rig.pass(Duration::from_millis(1), true)).contains(&Op::PresenceUpdate));
    assert_eq!(rig.due_in(Timer::Commands), None);
}

#[test]
fn a_beat_that_is_due_goes_ahead_of_a_command() {
    let mut rig = Rig::live();
    let due = rig.due_in(Timer::Beat).unwrap();
    rig.now += due;
    assert_eq!(sent_ops(&rig.command(Op::VoiceStateUpdate, JOIN)), [Op::Heartbeat, Op::VoiceStateUpdate]);
}

#[test]
fn a_command_over_4096_bytes_is_refused_here_and_not_by_discord() {
    let mut rig = Rig::live();
    let body = |length: usize| Object {
        encoding: Encoding::Json,
        bytes: Bytes::from(format!(r#"{{"guild_id":"1","query":"{}"}}"#, "x".repeat(length))),
    };
    let bare = r#"{"op":8,"d":{"guild_id":"1","query":""}}"#.len();
    let fits = rig.give(Input::Command { op: Op::RequestGuildMembers, payload: body(4_096 - bare) });
    assert_eq!(sends(&fits)[0].1.len(), 4_096);
    let actions = rig.give(Input::Command { op: Op::RequestGuildMembers, payload: body(4_097 - bare) });
    let why = refused(&actions).unwrap();
    assert_eq!(why, Refusal::TooLong { bytes: 4_097 });
    assert_eq!(why.to_string(), "the frame would have 4097 bytes, Discord takes at most 4096");
    let huge = rig.give(Input::Command { op: Op::RequestGuildMembers, payload: body(1 << 20) });
    assert!(matches!(refused(&huge), Some(Refusal::TooLong { .. })));
}

#[test]
fn what_is_no_command_or_no_map_is_refused() {
    let mut rig = Rig::live();
    for op in [Op::Identify, Op::Heartbeat, Op::Resume, Op::Dispatch, Op::Other(5)] {
        assert_eq!(refused(&rig.command(op, "{}")), Some(Refusal::NotACommand));
    }
    for body in ["[]", "null", "7", "", "{\"a\"", "x"] {
        assert!(sends(&rig.command(Op::PresenceUpdate, body)).is_empty() || body.starts_with('{'), "{body}");
    }
    let deep: &'static str = Box::leak(format!(r#"{{"a":{}1{}}}"#, "[".repeat(50), "]".repeat(50)).into_boxed_str());
    assert_eq!(refused(&rig.command(Op::PresenceUpdate, deep)), Some(Refusal::Malformed));
}

#[test]
fn commands_wait_for_the_session_in_a_bounded_queue() {
    let mut config = config();
    config.limits.commands_max = 3;
    let mut rig = Rig::new(config, None);
    rig.give(Input::Start);
    for _ in 0..3 {
        assert!(rig.command(Op::VoiceStateUpdate, JOIN).is_empty());
    }
    assert_eq!(refused(&rig.command(Op::VoiceStateUpdate, JOIN)), Some(Refusal::QueueFull));
    rig.greet();
    assert_eq!(sent_ops(&rig.give(Input::IdentifyGranted)), [Op::Identify]);
    assert_eq!(sent_ops(&rig.ready()), [Op::VoiceStateUpdate; 3]);
}

#[test]
fn waiting_commands_are_kept_over_a_resume() {
    let mut rig = Rig::live();
    rig.pass(secs(10), true);
    rig.give(Input::Closed(None));
    rig.command(Op::VoiceStateUpdate, JOIN);
    assert_eq!(sent_ops(&rig.greet()), [Op::Resume], "not before RESUMED");
    assert_eq!(sent_ops(&rig.resumed(2)), [Op::VoiceStateUpdate]);
}

#[test]
fn waiting_commands_are_dropped_with_their_session_and_that_is_told() {
    let mut rig = Rig::live();
    rig.pass(secs(10), true);
    rig.give(Input::Closed(None));
    rig.command(Op::VoiceStateUpdate, JOIN);
    rig.greet();
    assert!(reports(&rig.invalid(false), &Report::CommandsDropped { count: 1 }));
    assert_eq!(rig.session.state().commands_waiting, 0);
}

#[test]
fn a_new_connection_has_its_own_120() {
    let mut rig = Rig::live();
    rig.pass(secs(10), true);
    for _ in 0..130 {
        rig.command(Op::VoiceStateUpdate, JOIN);
    }
    let waiting = rig.session.state().commands_waiting;
    assert!(waiting > 10, "{waiting}");
    rig.give(Input::Closed(None));
    rig.greet();
    assert_eq!(sent_ops(&rig.resumed(2)).len(), waiting);
}

#[test]
fn a_command_in_another_encoding_is_written_in_the_sessions_own() {
    let mut rig = Rig::live();
    // {guild_id: 300, x: [true, 1.5]} with atom keys.
    let mut bytes = vec![116, 0, 0, 0, 2, 119, 8];
    bytes.extend(b"guild_id");
    bytes.extend([98, 0, 0, 1, 44, 119, 1, b'x', 108, 0, 0, 0, 2, 119, 4]);
    bytes.extend(b"true");
    bytes.push(70);
    bytes.extend(1.5f64.to_be_bytes());
    bytes.push(106);
    let payload = Object { encoding: Encoding::Etf, bytes: bytes.into() };
    let json = sent_json(&rig.give(Input::Command { op: Op::RequestChannelInfo, payload }), Op::RequestChannelInfo);
    assert_eq!(json, r#"{"op":43,"d":{"guild_id":300,"x":[true,1.5]}}"#);
}

#[test]
fn a_stopped_session_refuses_commands() {
    let mut rig = Rig::live();
    rig.give(Input::Stop);
    assert_eq!(refused(&rig.command(Op::VoiceStateUpdate, JOIN)), Some(Refusal::Stopped));
}
