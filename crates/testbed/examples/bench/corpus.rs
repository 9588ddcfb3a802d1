//! Events as the simulated Discord renders them, recorded from a session of its own: seeded, so the same in every run but for times.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use trunkline_etf::{Encoding, EtfWriter, Limits, TermWrite, Value};
use trunkline_sim::{Config, INTENTS_ALL, Mix, Sim};

use crate::Result;

const GUILDS: u32 = 200;

/// Whole ETF messages.
pub(crate) type Frames = Vec<Vec<u8>>;

/// Whole ETF messages, dispatches only, of traffic of this mix.
pub(crate) fn record(mix: Mix, events: usize) -> Result<Vec<Vec<u8>>> {
    record_with_start(mix, events).map(|(_, events)| events)
}

/// What came before the traffic (READY and the guilds), and the traffic.
pub(crate) fn record_with_start(mix: Mix, events: usize) -> Result<(Frames, Frames)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let sim = Sim::start(Config { guilds: GUILDS, members: 100, mix, seed: 7, ..Config::default() }).await?;
        let address = sim.addr();
        let (all_guilds, mut guilds_came) = tokio::sync::mpsc::unbounded_channel();
        let reader = std::thread::spawn(move || {
            listen(TcpStream::connect(address)?, events, || {
                // Nobody waits for it any more only when the bench has failed.
                all_guilds.send(()).ok();
            })
        });
        if guilds_came.recv().await.is_some() {
            // Spares the simulator's queue.
            let mut left = events as u64;
            while left > 0 {
                let now = left.min(500);
                sim.emit(now, None, None);
                left -= now;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        let frames = tokio::task::spawn_blocking(move || reader.join()).await?;
        frames.map_err(|_| "the recording thread failed")?.map_err(Into::into)
    })
}

/// Logs in by hand and reads dispatches; those of the start apart.
fn listen(mut stream: TcpStream, events: usize, all_guilds: impl FnOnce()) -> std::io::Result<(Frames, Frames)> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let head = "GET /?v=10&encoding=etf HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    stream.write_all(&masked(&identify()))?;
    let mut stream = std::io::BufReader::with_capacity(1 << 20, stream);
    let mut all_guilds = Some(all_guilds);
    let (mut guilds, mut start, mut frames) = (0, Vec::new(), Vec::with_capacity(events));
    while frames.len() < events {
        let frame = read_message(&mut stream)?;
        let Ok(document) = Value::parse(Encoding::Etf, &frame, &Limits::GATEWAY) else { continue };
        let Some(name) = document.get("t").and_then(|t| t.as_str().map(std::borrow::Cow::into_owned)) else { continue };
        if guilds < GUILDS {
            start.push(frame);
            guilds += u32::from(name == "GUILD_CREATE");
            if guilds == GUILDS
                && let Some(tell) = all_guilds.take()
            {
                tell();
            }
        } else {
            frames.push(frame);
        }
    }
    Ok((start, frames))
}

fn read_message(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let mut len = [0; 8];
    let bytes = match head[1] & 127 {
        126 => stream.read_exact(&mut len[6..]).map(|()| u64::from_be_bytes(len))?,
        127 => stream.read_exact(&mut len).map(|()| u64::from_be_bytes(len))?,
        short => u64::from(short),
    };
    let mut message = Vec::new();
    stream.take(bytes).read_to_end(&mut message)?;
    Ok(message)
}

/// A client's binary frame, masked with zeros.
fn masked(payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let mut frame = vec![0x82];
    match u8::try_from(len) {
        Ok(len) if len < 126 => frame.push(0x80 | len),
        _ => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&len.to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn identify() -> Vec<u8> {
    let mut w = EtfWriter::new();
    w.begin_map(2);
    w.key("op");
    w.uint(2);
    w.key("d");
    w.begin_map(4);
    w.key("token");
    w.str("sim");
    w.key("intents");
    w.uint(INTENTS_ALL);
    w.key("properties");
    w.begin_map(0);
    w.end_map();
    w.key("shard");
    w.begin_list(2);
    w.uint(0);
    w.uint(1);
    w.end_list();
    w.end_map();
    w.end_map();
    w.into_vec()
}
