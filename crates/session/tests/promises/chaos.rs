//! Anything in any order: what must hold whatever happens.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use trunkline_discord::{Dice, Encoding, Object, Op, Time};
use trunkline_session::{Action, Config, Input, Phase, Refusal, Report, Timer};

use crate::rig::*;

/// What the outside does next; `amount` is its free parameter.
fn shake(rig: &mut Rig, what: u64, amount: u64) -> Vec<Action> {
    let s = rig.session.state().s.unwrap_or(0);
    match what {
        0 => rig.give(Input::Start),
        1..=3 => rig.give(Input::Opened),
        4 => rig.give(Input::OpenFailed),
        5 => rig.give(Input::Bytes),
        6..=8 => rig.hello(),
        9..=10 => rig.give(Input::IdentifyGranted),
        11..=13 => rig.ready(),
        14..=15 => rig.resumed(s + 1),
        16..=19 => rig.event(s + 1),
        20 => rig.event(amount % (2 * s + 3)),
        21 => rig.event(amount),
        22..=23 => rig.ack(),
        24 => rig.frame(r#"{"op":1}"#),
        25 => rig.frame(r#"{"op":7}"#),
        26 => rig.invalid(amount.is_multiple_of(2)),
        27 => rig.give(Input::BadFrame),
        28 => {
            let codes = [None, Some(1000), Some(4000), Some(4003), Some(4007), Some(4008), Some(4009), Some(amount as u16 % 4004)];
            rig.give(Input::Closed(codes[amount as usize % codes.len()]))
        }
        29 => rig.give(Input::Checkpointed { s: amount % 100, session: amount % 12 }),
        30 => rig.give(Input::Room(amount.is_multiple_of(2))),
        31..=34 => {
            let op = [Op::PresenceUpdate, Op::VoiceStateUpdate, Op::RequestGuildMembers, Op::Identify][amount as usize % 4];
            let payload = Object { encoding: Encoding::Json, bytes: Bytes::from_static(br#"{"a":[1,{"b":null}]}"#) };
            let mut all = Vec::new();
            for _ in 0..amount % 40 {
                all.extend(rig.give(Input::Command { op, payload: payload.clone() }));
            }
            all
        }
        35 => rig.give(Input::Restart { fresh: amount.is_multiple_of(4) }),
        36 => rig.give(Input::Fired(Timer::ALL[amount as usize % 6])),
        37 => {
            let odd = [
                r#"{"op":0}"#,
                r#"{"op":0,"t":"READY","s":1,"d":7}"#,
                r#"{"op":10,"d":[]}"#,
                r#"{"op":10,"d":{"heartbeat_interval":15}}"#,
                r#"{"op":9}"#,
                r#"{"op":77,"d":"x"}"#,
                r#"{"op":2,"d":{}}"#,
                r#"{"op":0,"s":18446744073709551615,"t":"X","d":null}"#,
                r#"{"op":0,"s":0,"t":"X","d":null}"#,
            ];
            rig.frame(odd[amount as usize % odd.len()])
        }
        38..=43 => match rig.next() {
            Some(_) => rig.fire_next().1,
            None => Vec::new(),
        },
        _ => rig.pass(Duration::from_millis(amount % 70_000), !amount.is_multiple_of(3)),
    }
}

/// What an observer of the actions alone knows.
#[derive(Default)]
struct Witness {
    opening: bool,
    open: bool,
    greeted: bool,
    identified: bool,
    asked: bool,
    sent: Vec<Time>,
}

impl Witness {
    fn see(&mut self, at: Time, action: &Action) {
        match action {
            Action::Open { .. } => *self = Witness { opening: true, asked: self.asked, ..Witness::default() },
            Action::Close(code) => {
                assert_eq!(*code, 4000);
                assert!(self.open || self.opening, "nothing to close");
                *self = Witness { asked: self.asked, ..Witness::default() };
            }
            Action::Send { op, bytes } => {
                assert!(self.open && self.greeted, "{op:?} before HELLO");
                assert!(!bytes.is_empty() && bytes.len() <= 4_096);
                let joins = matches!(op, Op::Identify | Op::Resume);
                assert!(!(joins && self.identified), "a second {op:?} on one socket");
                assert!(joins || *op == Op::Heartbeat || self.identified, "{op:?} before identify");
                self.identified |= joins;
                self.sent.push(at);
                let window = self.sent.iter().filter(|sent| at.since(**sent) <= Duration::from_secs(60)).count();
                assert!(window <= 120, "{window} frames in a minute");
            }
            Action::AskToIdentify => {
                assert!(!self.asked, "asked twice");
                self.asked = true;
            }
            Action::ForgetIdentify => self.asked = false,
            _ => {}
        }
    }
}

/// What a Discord that does what it should would do next, in the numbers of `shake`.
fn helpful(phase: Phase) -> u64 {
    match phase {
        Phase::Idle => 0,
        Phase::Opening => 1,
        Phase::Greeting => 6,
        Phase::AwaitingGrant => 9,
        Phase::Identifying => 11,
        Phase::Resuming => 14,
        Phase::Live => 16,
        Phase::Waiting | Phase::AwaitingRoom | Phase::Stopped => 38,
    }
}

/// With a Discord that does what it should, the session must be live again soon, whatever came before.
fn heal(rig: &mut Rig) {
    for _ in 0..20 {
        if rig.phase() == Phase::Live {
            return;
        }
        shake(rig, helpful(rig.phase()), 0);
    }
    panic!("not live again: {:?}", rig.session.state());
}

/// What happens next in a run: mostly what helps.
fn draw(rig: &Rig, chance: &mut Dice) -> (u64, u64) {
    let what = if chance.chance(0.5) { helpful(rig.phase()) } else { chance.below(46) };
    (what, chance.next_u64() >> chance.below(64))
}

/// Limits that a run comes by.
fn narrow() -> Config {
    let mut config = config();
    config.limits.duplicates_max = 20;
    config.limits.commands_max = 50;
    config
}

/// Runs `steps` of chaos, then heals; the rig, for what a caller wants to count.
fn run(seed: u64, steps: usize, stored_point: bool) -> Rig {
    let mut chance = Dice::new(seed);
    let mut rig = Rig::seeded(narrow(), stored_point.then(stored), seed);
    let mut witness = Witness::default();
    let mut seen = 0;
    let mut delivered = (0, 0);
    for _ in 0..steps {
        let before = rig.phase();
        let (what, amount) = draw(&rig, &mut chance);
        if what == 4 && before != Phase::Opening {
            continue;
        }
        match (what, before) {
            (1..=3, Phase::Opening) => {
                witness.opening = false;
                witness.open = true;
            }
            (4 | 28, _) => {
                let asked = witness.asked;
                if before != Phase::Waiting && before != Phase::Idle {
                    witness = Witness { asked, ..Witness::default() };
                }
            }
            (6..=8 | 37, Phase::Greeting) => witness.greeted = true,
            (9..=10, _) => witness.asked = false,
            _ => {}
        }
        shake(&mut rig, what, amount);
        for (at, action) in &rig.log[seen..] {
            witness.see(*at, action);
            match action {
                Action::Ready { session, .. } => {
                    assert!(*session > delivered.0, "ordinals rise");
                    delivered = (*session, 0);
                }
                Action::Deliver { s } => {
                    assert!(*s > delivered.1, "each s once, in order");
                    delivered.1 = *s;
                }
                _ => {}
            }
        }
        seen = rig.log.len();
        let state = rig.session.state();
        assert!(state.commands_waiting <= 50);
        let alive = rig.next().is_some() || witness.asked || matches!(state.phase, Phase::Opening | Phase::Idle | Phase::Stopped);
        assert!(alive, "nothing would ever wake it: {state:?}");
        assert_ne!(state.phase, Phase::Stopped, "nothing fatal was given");
        for timer in Timer::ALL {
            assert_eq!(rig.session.due(timer).map(|at| at.since(rig.now)), rig.due_in(timer), "{timer:?}");
        }
    }
    heal(&mut rig);
    rig
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_inputs_in_random_order_never_break_a_rule(seed: u64, stored_point: bool) {
        println!("seed={seed}");
        run(seed, 600, stored_point);
    }

    #[test]
    fn a_driver_that_lets_events_follow_sees_what_one_does_that_steps_with_each(seed: u64, stored_point: bool) {
        println!("seed={seed}");
        let mut chance = Dice::new(seed);
        let [mut follows, mut steps] = [true, false].map(|follows| {
            let mut rig = Rig::seeded(narrow(), stored_point.then(stored), seed);
            rig.follows = follows;
            rig
        });
        for _ in 0..600 {
            let (what, amount) = draw(&steps, &mut chance);
            assert_eq!(shake(&mut follows, what, amount), shake(&mut steps, what, amount), "{what} {amount}");
            assert_eq!(follows.session.state(), steps.session.state());
            assert_eq!(follows.session.resume_point(), steps.session.resume_point());
        }
        assert_eq!(follows.log, steps.log);
    }
}

#[test]
fn one_long_run_keeps_every_rule_and_comes_by_every_place() {
    println!("seed={SEED}");
    let rig = run(SEED, 100_000, true);
    let often = |what: fn(&Action) -> bool| assert!(rig.count(what) > 20, "{}", rig.count(what));
    often(|action| matches!(action, Action::Ready { .. }));
    often(|action| matches!(action, Action::Resumed { .. }));
    often(|action| matches!(action, Action::SessionLost { .. }));
    often(|action| matches!(action, Action::Gap { .. }));
    often(|action| matches!(action, Action::Duplicate { .. }));
    often(|action| matches!(action, Action::ForgetIdentify));
    assert!(rig.count(|action| matches!(action, Action::Report(Report::BeatHeldBack))) > 0);
    often(|action| matches!(action, Action::Report(Report::CommandRefused { why: Refusal::QueueFull, .. })));
    for cause in ["closed", "open_failed", "hello_late", "join_late", "zombie", "reconnect_asked", "invalid_session", "bad_frame"] {
        let seen = rig.count(|action| matches!(action, Action::Report(Report::Reconnecting { cause: seen, .. }) if seen.as_str() == cause));
        assert!(seen > 0, "{cause}");
    }
}
