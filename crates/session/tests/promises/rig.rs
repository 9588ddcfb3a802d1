//! A driver on virtual time: keeps the timers, hands in what Discord would send, and writes down every action.

use std::time::Duration;

use bytes::Bytes;
use trunkline_discord::{Compression, Dice, Encoding, Envelope, Intents, Object, Op, Time, Token};
use trunkline_etf::{Limits as TermLimits, Value};
use trunkline_session::{Action, Cause, Config, Following, Input, Notice, Phase, Report, ResumePoint, Session, StopReason, Timer};

pub(crate) const INTERVAL_MS: u64 = 41_250;
pub(crate) const INTERVAL: Duration = Duration::from_millis(INTERVAL_MS);
pub(crate) const MAIN: &str = "wss://main.example";
pub(crate) const RESUME: &str = "wss://resume.example";
pub(crate) const SEED: u64 = 7;

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) struct Rig {
    pub(crate) session: Session,
    pub(crate) notice: Option<Notice>,
    pub(crate) now: Time,
    pub(crate) dice: Dice,
    timers: [Option<Time>; 6],
    /// Frames go by `follow` first, as drivers let them; without, all of them are for `step`.
    pub(crate) follows: bool,
    /// Everything that was ever asked, with its time.
    pub(crate) log: Vec<(Time, Action)>,
}

pub(crate) fn config() -> Config {
    let mut config = Config::new((1, 4), Token::new("MTIz.test.token"), Intents::ALL, MAIN);
    config.encoding = Encoding::Json;
    config.compression = Compression::ZstdStream;
    config
}

/// What `config()`'s session would have stored at position 50.
pub(crate) fn stored() -> ResumePoint {
    ResumePoint {
        session_id: "stored-id".into(),
        s: 50,
        session: 8,
        resume_url: RESUME.into(),
        encoding: Encoding::Json,
        compression: Compression::ZstdStream,
        shard: (1, 4),
        intents: Intents::ALL,
        bot_id: 123,
        application_id: 456,
        guilds: vec![1, 2],
    }
}

impl Rig {
    pub(crate) fn new(config: Config, resume: Option<ResumePoint>) -> Rig {
        Rig::seeded(config, resume, SEED)
    }

    pub(crate) fn seeded(config: Config, resume: Option<ResumePoint>, seed: u64) -> Rig {
        let (session, notice) = Session::new(config, resume, 3);
        let now = Time::from_millis(1_000_000);
        Rig { session, notice, now, dice: Dice::new(seed), timers: [None; 6], follows: true, log: Vec::new() }
    }

    /// Gives one input; what follows from it.
    pub(crate) fn give(&mut self, input: Input<'_>) -> Vec<Action> {
        let mut todo = Vec::new();
        self.session.step(input, self.now, &mut self.dice, &mut todo);
        for action in &todo {
            match action {
                Action::Arm(timer, at) => self.timers[*timer as usize] = Some(*at),
                Action::Disarm(timer) => self.timers[*timer as usize] = None,
                _ => {}
            }
            self.log.push((self.now, action.clone()));
        }
        todo
    }

    pub(crate) fn frame(&mut self, json: &str) -> Vec<Action> {
        let envelope = Envelope::decode(Encoding::Json, json.as_bytes(), &TermLimits::GATEWAY).expect("a test's own frame");
        if self.follows
            && let Some(Following { session, s }) = self.session.follow(&envelope, self.now)
        {
            assert_eq!(self.session.resume_point().map(|point| (point.session, point.s)), Some((session, s)));
            let deliver = Action::Deliver { s };
            self.log.push((self.now, deliver.clone()));
            return vec![deliver];
        }
        self.give(Input::Frame(envelope))
    }

    pub(crate) fn event(&mut self, s: u64) -> Vec<Action> {
        self.frame(&format!(r#"{{"op":0,"s":{s},"t":"TYPING_START","d":{{"user_id":"1"}}}}"#))
    }

    pub(crate) fn ack(&mut self) -> Vec<Action> {
        self.frame(r#"{"op":11}"#)
    }

    pub(crate) fn hello(&mut self) -> Vec<Action> {
        self.frame(&format!(r#"{{"op":10,"d":{{"heartbeat_interval":{INTERVAL_MS}}}}}"#))
    }

    pub(crate) fn ready(&mut self) -> Vec<Action> {
        self.frame(&format!(
            r#"{{"op":0,"s":1,"t":"READY","d":{{"v":10,"user":{{"id":"123"}},"session_id":"fresh-id","resume_gateway_url":"{RESUME}",
               "guilds":[{{"id":"11","unavailable":true}},{{"id":"12","unavailable":true}}],"application":{{"id":"456","flags":0}}}}}}"#
        ))
    }

    pub(crate) fn resumed(&mut self, s: u64) -> Vec<Action> {
        self.frame(&format!(r#"{{"op":0,"s":{s},"t":"RESUMED","d":{{}}}}"#))
    }

    pub(crate) fn invalid(&mut self, resumable: bool) -> Vec<Action> {
        self.frame(&format!(r#"{{"op":9,"d":{resumable}}}"#))
    }

    pub(crate) fn command(&mut self, op: Op, json: &'static str) -> Vec<Action> {
        let payload = Object { encoding: Encoding::Json, bytes: Bytes::from_static(json.as_bytes()) };
        self.give(Input::Command { op, payload })
    }

    /// A fresh session, live at s = 1.
    pub(crate) fn live() -> Rig {
        Rig::live_with(config())
    }

    pub(crate) fn live_with(config: Config) -> Rig {
        let mut rig = Rig::new(config, None);
        rig.give(Input::Start);
        rig.greet();
        rig.give(Input::IdentifyGranted);
        rig.ready();
        assert_eq!(rig.phase(), Phase::Live);
        rig
    }

    /// A restarted process, whose RESUME has just left.
    pub(crate) fn resuming() -> Rig {
        let mut rig = Rig::new(config(), Some(stored()));
        rig.give(Input::Start);
        rig.greet();
        assert_eq!(rig.phase(), Phase::Resuming);
        rig
    }

    /// The socket opens and HELLO comes.
    pub(crate) fn greet(&mut self) -> Vec<Action> {
        self.give(Input::Opened);
        self.hello()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.session.state().phase
    }

    /// The timer that comes due next.
    pub(crate) fn next(&self) -> Option<(Timer, Time)> {
        let armed = Timer::ALL.into_iter().filter_map(|timer| self.timers[timer as usize].map(|at| (timer, at)));
        armed.min_by_key(|(_, at)| *at)
    }

    pub(crate) fn due_in(&self, timer: Timer) -> Option<Duration> {
        self.timers[timer as usize].map(|at| at.since(self.now))
    }

    /// Goes to the next timer and fires it.
    pub(crate) fn fire_next(&mut self) -> (Timer, Vec<Action>) {
        let (timer, at) = self.next().expect("a timer is armed");
        self.now = self.now.max(at);
        self.timers[timer as usize] = None;
        let actions = self.give(Input::Fired(timer));
        (timer, actions)
    }

    /// Lets time pass, firing what comes due. Heartbeats are answered at once when `acks`.
    pub(crate) fn pass(&mut self, time: Duration, acks: bool) -> Vec<Action> {
        let end = self.now + time;
        let mut actions = Vec::new();
        while let Some((_, at)) = self.next() {
            if at > end {
                break;
            }
            let (_, mut new) = self.fire_next();
            let beats = sends(&new).iter().filter(|(op, _)| *op == Op::Heartbeat).count();
            actions.append(&mut new);
            if acks && beats > 0 {
                actions.append(&mut self.ack());
            }
        }
        self.now = end;
        actions
    }

    /// From wherever the session pauses to an open, greeted socket.
    pub(crate) fn reconnect(&mut self) -> Vec<Action> {
        while self.phase() == Phase::Waiting {
            self.fire_next();
        }
        assert_eq!(self.phase(), Phase::Opening);
        self.greet()
    }

    pub(crate) fn count(&self, what: impl Fn(&Action) -> bool) -> usize {
        self.log.iter().filter(|(_, action)| what(action)).count()
    }
}

pub(crate) fn sends(actions: &[Action]) -> Vec<(Op, Vec<u8>)> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Send { op, bytes } => Some((*op, bytes.clone())),
            _ => None,
        })
        .collect()
}

pub(crate) fn sent_ops(actions: &[Action]) -> Vec<Op> {
    sends(actions).into_iter().map(|(op, _)| op).collect()
}

/// The one frame with this op, as text.
#[track_caller]
pub(crate) fn sent_json(actions: &[Action], op: Op) -> String {
    let found: Vec<_> = sends(actions).into_iter().filter(|(sent, _)| *sent == op).collect();
    assert_eq!(found.len(), 1, "{actions:?}");
    String::from_utf8(found[0].1.clone()).expect("JSON is text")
}

pub(crate) fn url(actions: &[Action]) -> Option<String> {
    actions.iter().find_map(|action| match action {
        Action::Open { url, .. } => Some(url.clone()),
        _ => None,
    })
}

pub(crate) fn closes(actions: &[Action]) -> Vec<u16> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Close(code) => Some(*code),
            _ => None,
        })
        .collect()
}

pub(crate) fn stopped(actions: &[Action]) -> Option<StopReason> {
    actions.iter().find_map(|action| match action {
        Action::Stopped(reason) => Some(*reason),
        _ => None,
    })
}

/// Cause, whether it will resume, and the pause.
#[track_caller]
pub(crate) fn reconnecting(actions: &[Action]) -> (Cause, bool, Duration) {
    let mut found = actions.iter().filter_map(|action| match action {
        Action::Report(Report::Reconnecting { cause, resume, after, .. }) => Some((*cause, *resume, *after)),
        _ => None,
    });
    let first = found.next().unwrap_or_else(|| panic!("no reconnect in {actions:?}"));
    assert_eq!(found.next(), None);
    first
}

pub(crate) fn has(actions: &[Action], what: impl Fn(&Action) -> bool) -> bool {
    actions.iter().any(what)
}

pub(crate) fn reports(actions: &[Action], what: &Report) -> bool {
    has(actions, |action| matches!(action, Action::Report(report) if report == what))
}

pub(crate) fn field(json: &str, key: &str) -> Option<String> {
    let value = Value::parse(Encoding::Json, json.as_bytes(), &TermLimits::GATEWAY).ok()?;
    let d = value.get("d")?.get(key)?;
    Some(String::from_utf8_lossy(d.raw()).into_owned())
}
