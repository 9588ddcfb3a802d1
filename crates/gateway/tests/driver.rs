//! The driver against a scripted gateway, on virtual time.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use support::{Rig, Told};
use tokio::time::{Instant, sleep};
use tokio_websockets::Message;
use trunkline_discord::{Compression, Encoding, Intents, Object, Op};
use trunkline_gateway::{Phase, ShardConfig, ShardControl, Standing};
use trunkline_session::{Cause, Report, ResumePoint, StopReason};

#[tokio::test(start_paused = true)]
async fn hello_identify_ready_and_events_arrive_in_order_with_their_bytes() {
    let rig = Rig::json().await;
    let stats = rig.stats.clone();
    let (end, ()) = rig
        .run(None, async |mut gateway, recorder, control| {
            let began = Instant::now();
            let mut peer = gateway.accept().await;
            assert_eq!(peer.url, "main.test:80/?v=10&encoding=json");
            assert!(peer.agent.starts_with("DiscordBot (https://"), "{}", peer.agent);
            peer.hello().await;
            let identify = peer.frame().await;
            assert_eq!((&identify["op"], &identify["d"]["shard"]), (&json!(2), &json!([0, 1])));
            assert!(began.elapsed() >= Duration::from_secs(5), "nothing is known of the process before");
            peer.ready("one").await;
            for s in 2..200 {
                peer.event(s, "MESSAGE_CREATE").await;
            }
            recorder.until_events(199).await;
            assert_eq!(stats.phase(), Phase::Live);
            control.send(ShardControl::Stop).await.unwrap();
            assert_eq!(peer.closed().await, Some(4000));
            let told = recorder.told.borrow();
            assert_eq!(told[0], Told::Ready { session: 1, bot_id: 42, guilds: vec![5] });
            let Told::Event { name, s: 2, body, .. } = &told[2] else { panic!("{:?}", told[2]) };
            assert_eq!((name.as_str(), body.as_slice()), ("MESSAGE_CREATE", &br#"{"guild_id":"5","n":2}"#[..]));
            assert!(recorder.events().windows(2).all(|pair| pair[0].1 + 1 == pair[1].1));
            assert_eq!(stats.events.load(Relaxed), 199);
            assert_eq!(stats.identifies.load(Relaxed), 1);
        })
        .await;
    assert_eq!(end.reason, StopReason::Asked);
    assert_eq!(end.point.unwrap().s, 199);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_socket_resumes_at_the_resume_address_with_the_same_query() {
    let rig = Rig::json().await;
    let (end, ()) = rig
        .run(None, async |mut gateway, recorder, control| {
            let mut peer = gateway.accept().await;
            peer.welcome("one").await;
            peer.event(2, "A").await;
            recorder.until_events(2).await;
            drop(peer);
            let mut peer = gateway.accept().await;
            assert_eq!(peer.url, "resume.test:80/?v=10&encoding=json");
            peer.hello().await;
            let resume = peer.frame().await;
            assert_eq!(resume["op"], 6);
            assert_eq!(resume["d"], json!({"token": "NDI.x.secret", "session_id": "one", "seq": 2}));
            peer.event(2, "A").await;
            peer.event(3, "B").await;
            peer.send(json!({"op": 0, "s": 4, "t": "RESUMED", "d": {}})).await;
            peer.event(5, "C").await;
            recorder.until_events(5).await;
            assert!(recorder.told.borrow().contains(&Told::Resumed { session: 1, replayed: 1 }));
            assert!(recorder.told.borrow().contains(&Told::Duplicate { s: 2 }));
            control.send(ShardControl::Stop).await.unwrap();
            peer.closed().await;
        })
        .await;
    assert_eq!(end.point.unwrap().s, 5);
}

fn point(resume_url: &str) -> ResumePoint {
    ResumePoint {
        session_id: "stored".into(),
        s: 50,
        session: 3,
        resume_url: resume_url.into(),
        encoding: Encoding::Json,
        compression: Compression::None,
        shard: (0, 1),
        intents: Intents::GUILDS,
        bot_id: 42,
        application_id: 43,
        guilds: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_resume_address_is_not_opened_where_the_main_one_is_encrypted() {
    let mut rig = Rig::json().await;
    rig.config.session.gateway_url = "wss://main.test/".into();
    rig.config = ShardConfig::new(rig.config.shard, rig.config.session, 7);
    assert!(!rig.config.allow_plain);
    rig.run(Some(point("ws://resume.test")), async |mut gateway, recorder, control| {
        let caller = gateway.callers.recv().await.unwrap();
        assert_eq!(caller.host, "main.test:443");
        let failed = |report: &Report| matches!(report, Report::Reconnecting { cause: Cause::OpenFailed, resume: true, .. });
        assert!(recorder.reports.borrow().iter().any(failed), "the resume address was tried, and the session is kept");
        control.send(ShardControl::Stop).await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_plain_main_address_is_not_opened_where_plain_is_not_allowed() {
    let mut rig = Rig::json().await;
    rig.config.allow_plain = false;
    rig.run(None, async |mut gateway, _, control| {
        let dialed = tokio::time::timeout(Duration::from_secs(300), gateway.callers.recv()).await;
        assert!(dialed.is_err(), "something was opened");
        control.send(ShardControl::Stop).await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn op_7_resumes_and_the_old_socket_is_closed_with_4000() {
    let rig = Rig::json().await;
    rig.run(None, async |mut gateway, recorder, control| {
        let mut first = gateway.accept().await;
        first.welcome("one").await;
        first.send(json!({"op": 7, "d": null})).await;
        assert_eq!(first.closed().await, Some(4000));
        let mut second = gateway.accept().await;
        second.hello().await;
        assert_eq!(second.frame().await["op"], 6);
        second.send(json!({"op": 0, "s": 2, "t": "RESUMED", "d": {}})).await;
        recorder.until_events(2).await;
        control.send(ShardControl::Stop).await.unwrap();
        second.closed().await;
    })
    .await;
}

fn event(s: u64) -> Message {
    Message::text(json!({"op": 0, "s": s, "t": "X", "d": {"guild_id": "5", "n": s}}).to_string())
}

#[tokio::test(start_paused = true)]
async fn what_comes_together_is_delivered_up_to_what_ends_the_connection_and_resumed_behind_it() {
    // What ends it, and with which code the client closes.
    let ends: [(Message, Option<u16>); 4] = [
        (Message::text(r#"{"op":7,"d":null}"#.to_owned()), Some(4000)),
        (Message::text("garbage".to_owned()), Some(4000)),
        (Message::text(r#"{"op":0,"s":"x"}"#.to_owned()), Some(4000)),
        (Message::close(tokio_websockets::CloseCode::try_from(4000).ok(), ""), None),
    ];
    for (end, code) in ends {
        // Fewer than a batch, just as many, and several batches.
        for last in [2, 7, 8, 9, 10, 100] {
            let rig = Rig::json().await;
            rig.run(None, async |mut gateway, recorder, control| {
                let mut first = gateway.accept().await;
                first.welcome("one").await;
                recorder.until_events(1).await;
                let behind = if end.is_close() { None } else { Some([event(last + 1), event(last + 2)]) };
                first.send_all((2..=last).map(event).chain([end.clone()]).chain(behind.into_iter().flatten())).await;
                if let Some(code) = code {
                    assert_eq!(first.closed().await, Some(code), "{last}");
                }
                let mut second = gateway.accept().await;
                second.hello().await;
                let resume = second.frame().await;
                assert_eq!((&resume["op"], &resume["d"]["seq"]), (&json!(6), &json!(last)), "{resume}");
                let resumed = Message::text(json!({"op": 0, "s": last + 3, "t": "RESUMED", "d": {}}).to_string());
                second.send_all([event(last + 1), event(last + 2), resumed]).await;
                recorder.until_events(last as usize + 3).await;
                assert_eq!(recorder.events(), (1..=last + 3).map(|s| (1, s)).collect::<Vec<_>>());
                control.send(ShardControl::Stop).await.unwrap();
                second.closed().await;
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_a_resume_lets_go_is_sent_though_a_reconnect_came_with_it() {
    let rig = Rig::json().await;
    rig.run(None, async |mut gateway, recorder, control| {
        let mut first = gateway.accept().await;
        first.welcome("one").await;
        recorder.until_events(1).await;
        drop(first);
        let mut second = gateway.accept().await;
        // Waits until the session is live again.
        let payload = Object {
            encoding: Encoding::Json,
            bytes: br#"{"guild_id":"5","channel_id":null,"self_mute":false,"self_deaf":false}"#.as_slice().into(),
        };
        control.send(ShardControl::Command { op: Op::VoiceStateUpdate, payload }).await.unwrap();
        second.hello().await;
        assert_eq!(second.frame().await["op"], 6);
        let resumed = Message::text(json!({"op": 0, "s": 2, "t": "RESUMED", "d": {}}).to_string());
        second.send_all([resumed, Message::text(r#"{"op":7,"d":null}"#.to_owned())]).await;
        assert_eq!(second.frame().await["op"], 4, "the command comes before the close");
        assert_eq!(second.closed().await, Some(4000));
        gateway.accept().await.hello().await;
        control.send(ShardControl::Stop).await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_and_a_close_that_come_together_are_answered_with_no_code_that_ends_the_session() {
    for code in [1000, 1001, 4000] {
        let rig = Rig::json().await;
        rig.run(None, async |mut gateway, recorder, control| {
            let mut first = gateway.accept().await;
            first.welcome("one").await;
            recorder.until_events(1).await;
            let close = Message::close(tokio_websockets::CloseCode::try_from(code).ok(), "");
            first.send_all([event(2), Message::text(r#"{"op":7,"d":null}"#.to_owned()), close]).await;
            let answer = first.closed().await;
            assert!(!matches!(answer, Some(1000 | 1001)), "{code}: {answer:?}");
            let mut second = gateway.accept().await;
            second.hello().await;
            let resume = second.frame().await;
            assert_eq!((&resume["op"], &resume["d"]["seq"]), (&json!(6), &json!(2)), "{resume}");
            control.send(ShardControl::Stop).await.unwrap();
            second.closed().await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn pings_without_end_keep_no_heartbeat_and_no_event_back() {
    let rig = Rig::json().await;
    rig.run(None, async |mut gateway, recorder, control| {
        let mut peer = gateway.accept().await;
        peer.welcome("one").await;
        recorder.until_events(1).await;
        let pings = || std::iter::repeat_with(|| Message::ping("x")).take(300);
        peer.send_all(pings().chain([event(2)]).chain(pings()).chain([event(3)]).chain(pings())).await;
        recorder.until_events(3).await;
        control.send(ShardControl::Stop).await.unwrap();
        peer.closed().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_session_in_the_middle_of_what_comes_together_owns_what_follows() {
    let rig = Rig::json().await;
    rig.run(None, async |mut gateway, recorder, control| {
        let mut peer = gateway.accept().await;
        peer.hello().await;
        peer.frame().await;
        let ready = json!({"op": 0, "s": 1, "t": "READY", "d": {
            "v": 10, "user": {"id": "42", "username": "b"}, "session_id": "one", "resume_gateway_url": "ws://resume.test/",
            "application": {"id": "43", "flags": 0}, "guilds": [], "shard": [0, 1],
        }});
        // Two of them twice, pings and heartbeat requests between them.
        let beat = || Message::text(r#"{"op":1,"d":null}"#.to_owned());
        let all =
            [Message::text(ready.to_string()), event(2), Message::ping("x"), event(3), event(3), beat(), event(4), event(2), event(5)];
        peer.send_all(all).await;
        recorder.until_events(5).await;
        assert_eq!(recorder.events(), (1..=5).map(|s| (1, s)).collect::<Vec<_>>());
        let duplicates = recorder.told.borrow().iter().filter(|told| matches!(told, Told::Duplicate { .. })).count();
        assert_eq!(duplicates, 2);
        control.send(ShardControl::Stop).await.unwrap();
        peer.closed().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn op_9_false_waits_and_identifies_anew_and_the_loss_is_told() {
    let rig = Rig::json().await;
    let (end, ()) = rig
        .run(None, async |mut gateway, recorder, control| {
            let mut first = gateway.accept().await;
            first.welcome("one").await;
            first.event(2, "A").await;
            recorder.until_events(2).await;
            let began = Instant::now();
            first.send(json!({"op": 9, "d": false})).await;
            assert_ne!(first.closed().await, Some(1000));
            let mut second = gateway.accept().await;
            assert!(began.elapsed() >= Duration::from_secs(1));
            assert_eq!(second.url, "main.test:80/?v=10&encoding=json");
            second.welcome("two").await;
            assert!(began.elapsed() >= Duration::from_secs(5), "identifies are 5 s apart");
            recorder.until_events(3).await;
            let told = recorder.told.borrow().clone();
            assert!(told.contains(&Told::Lost { session: 1, last_s: 2 }));
            assert_eq!(recorder.events(), [(1, 1), (1, 2), (2, 1)]);
            control.send(ShardControl::Stop).await.unwrap();
            second.closed().await;
        })
        .await;
    assert_eq!(end.point.unwrap().session_id, "two");
}

#[tokio::test(start_paused = true)]
async fn a_half_open_link_is_found_out_by_its_heartbeats_and_resumed() {
    let rig = Rig::json().await;
    let stats = rig.stats.clone();
    rig.run(None, async |mut gateway, recorder, control| {
        let mut first = gateway.accept().await;
        first.welcome("one").await;
        recorder.until_events(1).await;
        let began = Instant::now();
        // Nothing is answered and nothing sent any more.
        let mut second = gateway.accept().await;
        assert!(began.elapsed() <= Duration::from_secs(91), "{:?}", began.elapsed());
        assert_eq!(stats.reconnects.zombie.load(Relaxed), 1);
        assert_eq!(first.closed().await, Some(4000));
        second.hello().await;
        assert_eq!(second.frame().await["op"], 6);
        control.send(ShardControl::Stop).await.unwrap();
        second.closed().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_large_message_on_a_slow_link_is_life_before_it_is_whole() {
    let rig = Rig::json().await;
    let stats = rig.stats.clone();
    rig.run(None, async |mut gateway, recorder, control| {
        let mut peer = gateway.accept().await;
        peer.welcome("one").await;
        recorder.until_events(1).await;
        // One frame of 600 bytes over a minute and a half, and its heartbeats unanswered for that long: the raw link is
        // written to, as the websocket library sends frames whole.
        let body = format!(r#"{{"op":0,"s":2,"t":"GUILD_CREATE","d":{{"id":"5","x":"{}"}}}}"#, "y".repeat(600));
        let mut frame = vec![0x81, 126];
        frame.extend_from_slice(&(body.len() as u16).to_be_bytes());
        frame.extend_from_slice(body.as_bytes());
        for piece in frame.chunks(100) {
            tokio::io::AsyncWriteExt::write_all(peer.socket.get_mut(), piece).await.unwrap();
            sleep(Duration::from_secs(10)).await;
        }
        recorder.until_events(2).await;
        assert_eq!(stats.reconnects.zombie.load(Relaxed), 0);
        control.send(ShardControl::Stop).await.unwrap();
        peer.closed().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_late_hello_is_not_waited_for() {
    let rig = Rig::json().await;
    let stats = rig.stats.clone();
    rig.run(None, async |mut gateway, _, control| {
        let mut silent = gateway.accept().await;
        let began = Instant::now();
        let code = silent.closed().await;
        assert!(!matches!(code, Some(1000 | 1001)), "{code:?}");
        assert!(began.elapsed() < Duration::from_secs(60));
        let mut second = gateway.accept().await;
        assert_eq!(stats.reconnects.hello_late.load(Relaxed), 1);
        second.welcome("one").await;
        control.send(ShardControl::Stop).await.unwrap();
        second.closed().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_fatal_close_code_stops_with_what_to_do() {
    for (code, words) in [(4004, "token"), (4014, "ntent")] {
        let rig = Rig::json().await;
        let stats = rig.stats.clone();
        let (end, ()) = rig
            .run(None, async |mut gateway, _, control| {
                let mut peer = gateway.accept().await;
                peer.hello().await;
                peer.frame().await;
                peer.close(code).await;
                // The sender stays: it is not why the shard stops.
                sleep(Duration::from_secs(1)).await;
                drop(control);
            })
            .await;
        let StopReason::Fatal(found) = end.reason else { panic!("{end:?}") };
        assert_eq!((found.0, end.point), (code, None));
        assert!(end.reason.to_string().contains(words), "{}", end.reason);
        assert_eq!(stats.standing(), Standing { stopped: Some(end.reason), ..Standing::default() });
        assert!(!stats.ready_once());
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_with_1000_or_1001_gets_no_such_code_back() {
    for code in [1000, 1001] {
        let rig = Rig::json().await;
        rig.run(None, async |mut gateway, recorder, control| {
            let mut first = gateway.accept().await;
            first.welcome("one").await;
            recorder.until_events(1).await;
            first.close(code).await;
            assert_eq!(first.closed().await, None, "an answer of {code} could end the session");
            let mut second = gateway.accept().await;
            second.hello().await;
            assert_eq!(second.frame().await["op"], 6);
            control.send(ShardControl::Stop).await.unwrap();
            second.closed().await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn garbage_and_deep_terms_replace_the_connection_and_resume() {
    let mut deep = br#"{"op":0,"s":2,"t":"X","d":"#.to_vec();
    deep.extend(std::iter::repeat_n(b'[', 100_000));
    let garbage: [Vec<u8>; 4] = [b"garbage".to_vec(), Vec::new(), b"{\"op\":0".to_vec(), deep];
    for bytes in garbage {
        let rig = Rig::json().await;
        let stats = rig.stats.clone();
        rig.run(None, async |mut gateway, recorder, control| {
            let mut first = gateway.accept().await;
            first.welcome("one").await;
            recorder.until_events(1).await;
            first.send_bytes(bytes.clone()).await;
            assert_eq!(first.closed().await, Some(4000));
            let mut second = gateway.accept().await;
            second.hello().await;
            assert_eq!(second.frame().await["op"], 6);
            assert_eq!(stats.bad_frames.load(Relaxed), 1);
            control.send(ShardControl::Stop).await.unwrap();
            second.closed().await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_cannot_be_reached_is_tried_until_it_can() {
    let rig = Rig::json().await;
    let stats = rig.stats.clone();
    rig.run(None, async |mut gateway, recorder, control| {
        for _ in 0..3 {
            // Accepts and hangs up before the upgrade is answered.
            drop(gateway.callers.recv().await.unwrap());
        }
        let mut peer = gateway.accept().await;
        assert_eq!(stats.reconnects.open_failed.load(Relaxed), 3);
        peer.welcome("one").await;
        recorder.until_events(1).await;
        assert!(stats.ready_once());
        assert_eq!(stats.standing(), Standing::default(), "what is over is not told any more");
        control.send(ShardControl::Stop).await.unwrap();
        peer.closed().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_waits_for_its_next_attempt_says_which_when_and_why() {
    let rig = Rig::json().await;
    let stats = rig.stats.clone();
    rig.run(None, async |mut gateway, _, control| {
        for _ in 0..4 {
            drop(gateway.callers.recv().await.unwrap());
        }
        // Pauses of 0, about 1 and about 2 s have passed, one of about 4 s has begun.
        sleep(Duration::from_millis(10)).await;
        let standing = stats.standing();
        let pause = standing.pause.unwrap();
        assert_eq!((stats.phase(), pause.attempt, pause.cause, pause.resume), (Phase::Waiting, 4, Cause::OpenFailed, false));
        let after_ms = pause.until_unix_ms - 1_800_000_000_000;
        assert!((5_000..=7_100).contains(&after_ms), "{after_ms}");
        assert!(standing.trouble.unwrap().contains("main.test"));
        control.send(ShardControl::Stop).await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_connecting_ends_at_once() {
    let rig = Rig::json().await;
    let began = Instant::now();
    let (end, _gateway) = rig
        .run(None, async |mut gateway, _, control| {
            let caller = gateway.callers.recv().await.unwrap();
            control.send(ShardControl::Stop).await.unwrap();
            (gateway, caller)
        })
        .await;
    assert_eq!(end.reason, StopReason::Asked);
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_peer_that_is_gone() {
    let rig = Rig::json().await;
    let (end, took) = rig
        .run(None, async |mut gateway, recorder, control| {
            let mut peer = gateway.accept().await;
            peer.welcome("one").await;
            recorder.until_events(1).await;
            let began = Instant::now();
            control.send(ShardControl::Stop).await.unwrap();
            control.closed().await;
            // Never read from: the close is not answered.
            drop(peer);
            began.elapsed()
        })
        .await;
    assert!(took <= Duration::from_millis(1100), "{took:?}");
    assert!(end.point.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_restart_from_a_point_resumes_and_spends_no_identify() {
    let first = Rig::json().await;
    let (end, ()) = first
        .run(None, async |mut gateway, recorder, control| {
            let mut peer = gateway.accept().await;
            peer.welcome("one").await;
            peer.event(2, "A").await;
            recorder.until_events(2).await;
            assert_eq!(recorder.point.borrow().as_ref().unwrap().s, 2);
            drop(control);
            assert_eq!(peer.closed().await, Some(4000), "without its control the shard stops");
        })
        .await;
    let second = Rig::json().await;
    let stats = second.stats.clone();
    let (end, ()) = second
        .run(end.point, async |mut gateway, recorder, control| {
            let mut peer = gateway.accept().await;
            assert!(peer.url.starts_with("resume.test"));
            peer.hello().await;
            assert_eq!(peer.frame().await["d"]["seq"], 2);
            peer.event(3, "B").await;
            peer.send(json!({"op": 0, "s": 4, "t": "RESUMED", "d": {}})).await;
            recorder.until_events(2).await;
            control.send(ShardControl::Stop).await.unwrap();
            peer.closed().await;
        })
        .await;
    assert_eq!(end.point.unwrap().s, 4);
    assert_eq!(stats.identifies.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_carry_the_checkpointed_position() {
    let rig = Rig::json().await;
    rig.run(None, async |mut gateway, recorder, control| {
        let mut peer = gateway.accept().await;
        peer.welcome("one").await;
        for s in 2..=9 {
            peer.event(s, "A").await;
        }
        recorder.until_events(9).await;
        control.send(ShardControl::Checkpointed { session: 1, s: 7 }).await.unwrap();
        let mut seen = None;
        for _ in 0..3 {
            let beat = peer.socket.next().await.unwrap().unwrap();
            let beat: serde_json::Value = serde_json::from_str(beat.as_text().unwrap()).unwrap();
            assert_eq!(beat["op"], 1);
            seen = beat["d"].as_u64();
            peer.send(json!({"op": 11, "d": null})).await;
        }
        assert_eq!(seen, Some(7));
        control.send(ShardControl::Stop).await.unwrap();
        peer.closed().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn commands_reach_discord_and_bad_ones_are_counted() {
    let rig = Rig::json().await;
    let stats = rig.stats.clone();
    rig.run(None, async |mut gateway, recorder, control| {
        let mut peer = gateway.accept().await;
        peer.welcome("one").await;
        recorder.until_events(1).await;
        let command = |op, body: &'static str| ShardControl::Command {
            op,
            payload: Object { encoding: Encoding::Json, bytes: body.as_bytes().into() },
        };
        let chunk = command(Op::RequestGuildMembers, r#"{"guild_id":"5","query":"","limit":0}"#);
        control.send(chunk).await.unwrap();
        let got = peer.frame().await;
        assert_eq!((&got["op"], &got["d"]["guild_id"]), (&json!(8), &json!("5")));
        control.send(command(Op::Identify, "{}")).await.unwrap();
        control.send(ShardControl::Stop).await.unwrap();
        peer.closed().await;
        assert_eq!(stats.commands_refused.load(Relaxed), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn other_shards_of_the_core_run_while_one_has_much_to_read() {
    let rig = Rig::json().await;
    rig.run(None, async |mut gateway, recorder, control| {
        let mut peer = gateway.accept().await;
        peer.welcome("one").await;
        recorder.until_events(1).await;
        for s in 2..=1000 {
            let frame = json!({"op": 0, "s": s, "t": "A", "d": {}}).to_string();
            peer.socket.feed(Message::text(frame)).await.unwrap();
        }
        peer.socket.flush().await.unwrap();
        // Between two turns of this side lie at most two of the driver's, as the two are polled in changing order: so
        // at most two batches.
        let mut most = 0;
        let mut before = recorder.events().len();
        while before < 1000 {
            tokio::task::yield_now().await;
            let now = recorder.events().len();
            most = most.max(now - before);
            before = now;
        }
        assert!(most <= 128, "{most} between two turns");
        control.send(ShardControl::Stop).await.unwrap();
        peer.closed().await;
    })
    .await;
}
