//! How many events per second one core makes, encodes, compresses and sends: `cargo run --release -p trunkline-sim --example speed`.
//! The simulator runs on one thread; the clients, on another, only read bytes.

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use trunkline_sim::{Config, Mix, Sim};

const SHARDS: u32 = 16;
const EVENTS: u64 = 300_000;

fn main() {
    let seconds = cpu_seconds(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let sim = Sim::start(Config { guilds: 320, members: 300, ..Config::default() }).await.unwrap();
            sim.emit(EVENTS, None, None);
        });
    });
    println!("{:<36} {:>8.0} events per second of one core", "made, nobody listening", EVENTS as f64 / seconds);
    for mix in [Mix::Steady, Mix::Presence] {
        for query in ["encoding=json", "encoding=etf", "encoding=json&compress=zlib-stream", "encoding=etf&compress=zstd-stream"] {
            let seconds = cpu_seconds(|| send_all(query, mix));
            println!("{:<36} {:>8.0} events per second of one core", format!("{mix:?} {query}"), EVENTS as f64 / seconds);
        }
    }
}

/// CPU time of this thread for the work, seconds.
fn cpu_seconds(work: impl FnOnce()) -> f64 {
    let spent = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
    };
    let before = spent();
    work();
    spent() - before
}

fn send_all(query: &str, mix: Mix) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = Config { guilds: 320, members: 0, shards: SHARDS, max_concurrency: SHARDS, mix, ..Config::default() };
        let sim = Sim::start(Config { members: 30, ..config }).await.unwrap();
        for shard in 0..SHARDS {
            let (addr, query) = (sim.addr(), query.to_string());
            std::thread::spawn(move || drain(TcpStream::connect(addr).unwrap(), &query, shard));
        }
        while sim.report().identifies < u64::from(SHARDS) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut left = EVENTS;
        while left > 0 {
            sim.emit(2_000.min(left), None, None);
            left = left.saturating_sub(2_000);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (mut seen, mut at) = (0, Instant::now());
        while at.elapsed() < Duration::from_millis(200) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let sent = sim.report().bytes_plain;
            if sent != seen {
                (seen, at) = (sent, Instant::now());
            }
        }
    });
}

/// Logs in by hand and then reads whatever comes.
fn drain(mut stream: TcpStream, query: &str, shard: u32) {
    let head = format!(
        "GET /?v=10&{query} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // A websocket client sends nothing before it has the answer.
    let mut room = vec![0; 256 << 10];
    assert!(stream.read(&mut room).unwrap() > 0);
    let d = format!(r#"{{"token":"sim","intents":53608447,"properties":{{}},"shard":[{shard},{SHARDS}]}}"#);
    let payload = if query.contains("etf") { etf_identify(shard) } else { format!(r#"{{"op":2,"d":{d}}}"#).into_bytes() };
    // Masked with zeros. Lengths have their shortest form.
    let mut frame = vec![if query.contains("etf") { 0x82 } else { 0x81 }];
    match u8::try_from(payload.len()) {
        Ok(len) if len < 126 => frame.push(0x80 | len),
        _ => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&payload);
    stream.write_all(&frame).unwrap();
    while matches!(stream.read(&mut room), Ok(read) if read > 0) {}
}

fn etf_identify(shard: u32) -> Vec<u8> {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.push(109);
        out.extend_from_slice(&(text.len() as u32).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    };
    let mut out = vec![131, 116, 0, 0, 0, 2];
    text(&mut out, "op");
    out.extend_from_slice(&[97, 2]);
    text(&mut out, "d");
    out.extend_from_slice(&[116, 0, 0, 0, 4]);
    text(&mut out, "token");
    text(&mut out, "sim");
    text(&mut out, "intents");
    out.push(98);
    out.extend_from_slice(&53_608_447u32.to_be_bytes());
    text(&mut out, "properties");
    out.extend_from_slice(&[116, 0, 0, 0, 0]);
    text(&mut out, "shard");
    out.extend_from_slice(&[108, 0, 0, 0, 2, 97, shard as u8, 97, SHARDS as u8, 106]);
    out
}
