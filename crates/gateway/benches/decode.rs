//! What a shard's core spends on an event before anybody takes it, against decompressing alone.
//!
//! A generated zstd stream of MESSAGE_CREATEs in ETF, about 1.2 kB each. The floor is the decompressor; the budget is
//! twice the floor for decompressing, reading the envelope and the session together. Best of several rounds, as
//! other work on the machine only ever adds.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use trunkline_discord::{Compression, Dice, Encoding, Envelope, Intents, Time, Token};
use trunkline_etf::{EtfWriter, Limits, TermWrite};
use trunkline_gateway::inflate::{InflateLimits, Inflater};
use trunkline_session::{Action, Config, Input, Session};

const EVENTS: u64 = 20_000;
const ROUNDS: u32 = 15;

const WORDS: [&str; 16] = [
    "gateway",
    "does",
    "anyone",
    "know",
    "why",
    "the",
    "bot",
    "is",
    "slow",
    "today",
    "lol",
    "yes",
    "maybe",
    "https://example.com/",
    "update",
    "thanks",
];

fn id(dice: &mut Dice) -> u64 {
    1_100_000_000_000_000_000 + dice.below(1 << 40)
}

fn user(w: &mut EtfWriter, dice: &mut Dice) {
    w.begin_map(9);
    w.key("id");
    w.id(id(dice));
    w.key("username");
    w.str(&format!("user{}", dice.below(100_000)));
    w.key("global_name");
    w.str(&format!("User {}", dice.below(100_000)));
    w.key("avatar");
    w.str(&format!("{:032x}", u128::from(dice.next_u64()) << 64 | u128::from(dice.next_u64())));
    w.key("discriminator");
    w.str("0");
    w.key("public_flags");
    w.uint(dice.below(1 << 20));
    w.key("avatar_decoration_data");
    w.null();
    w.key("primary_guild");
    w.null();
    w.key("clan");
    w.null();
    w.end_map();
}

/// One MESSAGE_CREATE, as Discord sends it to a guild's bot.
fn message(s: u64, dice: &mut Dice) -> Vec<u8> {
    let mut w = EtfWriter::new();
    w.begin_map(4);
    w.key("op");
    w.uint(0);
    w.key("s");
    w.uint(s);
    w.key("t");
    w.str("MESSAGE_CREATE");
    w.key("d");
    w.begin_map(20);
    for key in ["id", "channel_id", "guild_id", "nonce"] {
        w.key(key);
        w.id(id(dice));
    }
    w.key("author");
    user(&mut w, dice);
    w.key("member");
    w.begin_map(10);
    w.key("roles");
    w.begin_list(6);
    for _ in 0..6 {
        w.id(id(dice));
    }
    w.end_list();
    for key in ["nick", "avatar", "premium_since", "communication_disabled_until", "banner"] {
        w.key(key);
        w.null();
    }
    w.key("joined_at");
    w.str("2023-04-05T06:07:08.123000+00:00");
    w.key("flags");
    w.uint(0);
    w.key("mute");
    w.bool(false);
    w.key("deaf");
    w.bool(false);
    w.end_map();
    w.key("content");
    let words = 10 + dice.below(20);
    let content: Vec<&str> = (0..words).map(|_| WORDS[dice.below(16) as usize]).collect();
    w.str(&content.join(" "));
    w.key("timestamp");
    w.str("2026-11-21T18:30:00.000000+00:00");
    w.key("edited_timestamp");
    w.null();
    for key in ["tts", "mention_everyone", "pinned"] {
        w.key(key);
        w.bool(false);
    }
    for key in ["mention_roles", "attachments", "embeds", "components"] {
        w.key(key);
        w.begin_list(0);
        w.end_list();
    }
    w.key("mentions");
    w.begin_list(1);
    user(&mut w, dice);
    w.end_list();
    for key in ["type", "flags", "channel_type"] {
        w.key(key);
        w.uint(0);
    }
    w.end_map();
    w.end_map();
    w.into_vec()
}

/// The stream as frames, and its plain size.
fn stream() -> (Vec<Vec<u8>>, usize) {
    let mut dice = Dice::new(1);
    let mut context = zstd_safe::CCtx::create();
    context.set_parameter(zstd_safe::CParameter::WindowLog(18)).unwrap();
    let (mut frames, mut plain_bytes) = (Vec::new(), 0);
    for s in 2..EVENTS + 2 {
        let plain = message(s, &mut dice);
        plain_bytes += plain.len();
        let mut out = vec![0; plain.len() + 256];
        let mut output = zstd_safe::OutBuffer::around(&mut out[..]);
        let mut input = zstd_safe::InBuffer::around(&plain);
        while input.pos() < plain.len() {
            context.compress_stream(&mut output, &mut input).unwrap();
        }
        while context.flush_stream(&mut output).unwrap() > 0 {}
        let len = output.pos();
        out.truncate(len);
        frames.push(out);
    }
    (frames, plain_bytes)
}

fn json(text: &str) -> Envelope<'_> {
    Envelope::decode(Encoding::Json, text.as_bytes(), &Limits::GATEWAY).unwrap()
}

/// A session that is live, at sequence 1.
fn live(dice: &mut Dice, todo: &mut Vec<Action>) -> Session {
    let config = Config::new((0, 1), Token::new("NDI.x.y"), Intents::ALL, "ws://localhost/");
    let (mut session, _) = Session::new(config, None, 0);
    let mut step = |input: Input<'_>| {
        todo.clear();
        session.step(input, Time::ZERO, dice, todo);
    };
    step(Input::Start);
    step(Input::Opened);
    step(Input::Frame(json(r#"{"op":10,"d":{"heartbeat_interval":45000}}"#)));
    step(Input::IdentifyGranted);
    step(Input::Frame(json(
        r#"{"op":0,"s":1,"t":"READY","d":{"session_id":"a","resume_gateway_url":"ws://r/","user":{"id":"42"},"guilds":[]}}"#,
    )));
    assert!(todo.iter().any(|action| matches!(action, Action::Deliver { s: 1 })), "{todo:?}");
    session
}

fn best(mut round: impl FnMut()) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        round();
        began.elapsed()
    });
    rounds.min().unwrap_or_default()
}

fn inflater() -> Inflater {
    Inflater::new(Compression::ZstdStream, InflateLimits::default()).unwrap()
}

fn main() {
    let (frames, plain_bytes) = stream();
    let compressed_bytes: usize = frames.iter().map(Vec::len).sum();
    let floor = best(|| {
        let mut inflater = inflater();
        for frame in &frames {
            black_box(inflater.push(frame).unwrap());
        }
    });
    let decoded = best(|| {
        let mut inflater = inflater();
        for frame in &frames {
            let plain = inflater.push(frame).unwrap().unwrap();
            black_box(Envelope::decode(Encoding::Etf, plain, &Limits::GATEWAY).unwrap());
        }
    });
    let stepped = best(|| {
        let (mut dice, mut todo) = (Dice::new(1), Vec::new());
        let mut session = live(&mut dice, &mut todo);
        let mut inflater = inflater();
        let mut delivered = 0;
        for frame in &frames {
            let plain = inflater.push(frame).unwrap().unwrap();
            let envelope = &Envelope::decode(Encoding::Etf, plain, &Limits::GATEWAY).unwrap();
            // The driver gives a whole `step` only to what is out of the ordinary.
            delivered += u64::from(session.follow(envelope, Time::from_millis(1)).is_some());
        }
        assert_eq!(delivered, EVENTS);
    });
    let per_event = |time: Duration| time.as_nanos() as f64 / EVENTS as f64;
    println!(
        "{EVENTS} MESSAGE_CREATE in ETF, {} B plain and {} B compressed each; best of {ROUNDS} rounds",
        plain_bytes / EVENTS as usize,
        compressed_bytes / EVENTS as usize
    );
    println!("{:<44} {:>10} {:>10} {:>8}", "", "ns/event", "MB/s", "ratio");
    for (what, time) in [
        ("zstd-stream decompression alone", floor),
        ("+ envelope (validates the whole term)", decoded),
        ("+ session = all before the handler", stepped),
    ] {
        println!(
            "{what:<44} {:>10.0} {:>10.0} {:>7.2}x",
            per_event(time),
            plain_bytes as f64 / time.as_micros() as f64,
            time.as_secs_f64() / floor.as_secs_f64()
        );
    }
}
