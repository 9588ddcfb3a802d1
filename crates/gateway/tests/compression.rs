//! ETF and both compressions through the driver, well and hostile, on virtual time.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::Ordering::Relaxed;

use futures_util::StreamExt;
use support::{Peer, Rig, Told};
use tokio_websockets::Message;
use trunkline_discord::{Compression, Encoding};
use trunkline_etf::{EtfWriter, TermWrite};
use trunkline_gateway::ShardControl;

/// Discord's side in ETF.
fn etf(build: impl FnOnce(&mut EtfWriter)) -> Vec<u8> {
    let mut writer = EtfWriter::new();
    build(&mut writer);
    writer.into_vec()
}

fn etf_frame(op: u64, s: Option<u64>, t: Option<&str>, d: impl FnOnce(&mut EtfWriter)) -> Vec<u8> {
    etf(|w| {
        w.begin_map(4);
        w.key("op");
        w.uint(op);
        w.key("s");
        match s {
            Some(s) => w.uint(s),
            None => w.null(),
        }
        w.key("t");
        match t {
            Some(t) => w.str(t),
            None => w.null(),
        }
        w.key("d");
        d(w);
        w.end_map();
    })
}

fn etf_hello() -> Vec<u8> {
    etf_frame(10, None, None, |w| {
        w.begin_map(1);
        w.key("heartbeat_interval");
        w.uint(45_000);
        w.end_map();
    })
}

fn etf_ready() -> Vec<u8> {
    etf_frame(0, Some(1), Some("READY"), |w| {
        w.begin_map(4);
        w.key("session_id");
        w.str("one");
        w.key("resume_gateway_url");
        w.str("ws://resume.test");
        w.key("user");
        w.begin_map(1);
        w.key("id");
        w.id(42);
        w.end_map();
        w.key("guilds");
        w.begin_list(0);
        w.end_list();
        w.end_map();
    })
}

/// The client's IDENTIFY; heartbeats may come before it.
async fn identify(peer: &mut Peer) -> Message {
    loop {
        let message = peer.socket.next().await.unwrap().unwrap();
        assert!(message.is_binary());
        let value = trunkline_etf::Value::parse(Encoding::Etf, message.as_payload(), &trunkline_etf::Limits::GATEWAY);
        if value.unwrap().get("op").unwrap().as_u64() == Some(2) {
            return message;
        }
    }
}

/// One direction of a compressed connection.
enum Press {
    Zlib(Box<flate2::Compress>),
    Zstd(Box<zstd_safe::CCtx<'static>>),
}

impl Press {
    fn new(compression: Compression) -> Self {
        match compression {
            Compression::ZlibStream => Press::Zlib(Box::new(flate2::Compress::new(flate2::Compression::default(), true))),
            _ => Press::Zstd(Box::new(zstd_safe::CCtx::create())),
        }
    }

    fn message(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut out = vec![0; plain.len() + 1024];
        let len = match self {
            Press::Zlib(context) => {
                let before = context.total_out();
                context.compress(plain, &mut out, flate2::FlushCompress::Sync).unwrap();
                (context.total_out() - before) as usize
            }
            Press::Zstd(context) => {
                let mut output = zstd_safe::OutBuffer::around(&mut out[..]);
                let mut input = zstd_safe::InBuffer::around(plain);
                while input.pos() < plain.len() {
                    context.compress_stream(&mut output, &mut input).unwrap();
                }
                while context.flush_stream(&mut output).unwrap() > 0 {}
                output.pos()
            }
        };
        out.truncate(len);
        out
    }
}

#[tokio::test(start_paused = true)]
async fn etf_comes_through_both_compressions_and_a_poisoned_stream_is_replaced() {
    for compression in [Compression::ZlibStream, Compression::ZstdStream] {
        let rig = Rig::new(Encoding::Etf, compression).await;
        let stats = rig.stats.clone();
        rig.run(None, async |mut gateway, recorder, control| {
            let mut peer = gateway.accept().await;
            assert!(peer.url.ends_with(&format!("/?v=10&encoding=etf&compress={compression}")), "{}", peer.url);
            let mut press = Press::new(compression);
            let hello = press.message(&etf_hello());
            if compression == Compression::ZlibStream {
                let (a, b) = hello.split_at(hello.len() / 2);
                peer.send_bytes(a.to_vec()).await;
                peer.send_bytes(b.to_vec()).await;
            } else {
                peer.send_bytes(hello).await;
            }
            let identify = identify(&mut peer).await;
            assert_eq!(identify.as_payload()[0], 131);
            peer.send_bytes(press.message(&etf_ready())).await;
            for s in 2..=300 {
                let frame = etf_frame(0, Some(s), Some("MESSAGE_CREATE"), |w| w.str("hi"));
                peer.send_bytes(press.message(&frame)).await;
            }
            recorder.until_events(300).await;
            assert!(stats.bytes_compressed.load(Relaxed) < stats.bytes_plain.load(Relaxed));
            assert!(stats.inflate_memory_bytes.load(Relaxed) > 10_000);
            peer.send_bytes(vec![0xff; 100]).await;
            assert_eq!(peer.closed().await, Some(4000));
            // A new connection has a new context.
            let mut peer = gateway.accept().await;
            let mut press = Press::new(compression);
            peer.send_bytes(press.message(&etf_hello())).await;
            let resumed = etf_frame(0, Some(301), Some("RESUMED"), |w| w.null());
            peer.send_bytes(press.message(&resumed)).await;
            recorder.until_events(301).await;
            control.send(ShardControl::Stop).await.unwrap();
            peer.closed().await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_come_together_are_delivered_whole_large_ones_among_them_and_up_to_what_is_corrupt() {
    for (encoding, compression) in
        [(Encoding::Etf, Compression::None), (Encoding::Etf, Compression::ZlibStream), (Encoding::Etf, Compression::ZstdStream)]
    {
        let rig = Rig::new(encoding, compression).await;
        rig.run(None, async |mut gateway, recorder, control| {
            let mut peer = gateway.accept().await;
            let mut press = Press::new(compression);
            let mut message = |plain: Vec<u8>| match compression {
                Compression::None => plain,
                _ => press.message(&plain),
            };
            peer.send_bytes(message(etf_hello())).await;
            identify(&mut peer).await;
            peer.send_bytes(message(etf_ready())).await;
            recorder.until_events(1).await;
            let body = |s: u64| "y".repeat(if s.is_multiple_of(7) { 100_000 } else { s as usize * 10 });
            let mut all = Vec::new();
            for s in 2..=40 {
                let bytes = message(etf_frame(0, Some(s), Some("X"), |w| w.str(&body(s))));
                if compression == Compression::ZlibStream && s % 3 == 0 {
                    let (a, b) = bytes.split_at(bytes.len() / 2);
                    all.extend([Message::binary(a.to_vec()), Message::binary(b.to_vec())]);
                } else {
                    all.push(Message::binary(bytes));
                }
            }
            all.push(Message::binary(vec![0xff; 100]));
            peer.send_all(all).await;
            assert_eq!(peer.closed().await, Some(4000));
            assert_eq!(recorder.events(), (1..=40).map(|s| (1, s)).collect::<Vec<_>>(), "{compression}");
            for (s, told) in (2..).zip(recorder.told.borrow().iter().filter(|told| matches!(told, Told::Event { s: 2.., .. }))) {
                let Told::Event { body: bytes, .. } = told else { unreachable!("only events") };
                assert_eq!(trunkline_etf::Value::from_raw(encoding, bytes).as_str().unwrap(), body(s), "{compression} {s}");
            }
            control.send(ShardControl::Stop).await.unwrap();
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_compressed_bomb_costs_a_reconnect_and_no_memory() {
    let mut rig = Rig::new(Encoding::Etf, Compression::ZstdStream).await;
    rig.config.inflate.message_bytes_max = 1 << 20;
    let stats = rig.stats.clone();
    rig.run(None, async |mut gateway, recorder, control| {
        let mut peer = gateway.accept().await;
        let mut press = Press::new(Compression::ZstdStream);
        peer.send_bytes(press.message(&etf_hello())).await;
        peer.send_bytes(press.message(&etf_ready())).await;
        peer.send_bytes(press.message(&vec![0; 32 << 20])).await;
        peer.closed().await;
        let _second = gateway.accept().await;
        assert_eq!(stats.bad_frames.load(Relaxed), 1);
        assert!(stats.inflate_memory_bytes.load(Relaxed) < 4 << 20);
        control.send(ShardControl::Stop).await.unwrap();
        drop(recorder);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_compressed_term_is_read_within_its_bounds() {
    let rig = Rig::new(Encoding::Etf, Compression::None).await;
    rig.run(None, async |mut gateway, recorder, control| {
        let mut peer = gateway.accept().await;
        let plain = etf_hello();
        let mut packed = vec![131, 80];
        packed.extend_from_slice(&((plain.len() - 1) as u32).to_be_bytes());
        let mut zlib = vec![0; 1024];
        let mut context = flate2::Compress::new(flate2::Compression::default(), true);
        context.compress(&plain[1..], &mut zlib, flate2::FlushCompress::Finish).unwrap();
        packed.extend_from_slice(&zlib[..context.total_out() as usize]);
        peer.send_bytes(packed).await;
        while peer.socket.next().await.unwrap().unwrap().as_payload().len() < 60 {}
        peer.send_bytes(etf_ready()).await;
        recorder.until_events(1).await;
        control.send(ShardControl::Stop).await.unwrap();
        peer.closed().await;
    })
    .await;
}
