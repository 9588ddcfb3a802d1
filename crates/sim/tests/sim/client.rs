//! A raw gateway client for the tests: a websocket, the two encodings, the three compressions, nothing clever.

use std::time::Duration;

use flate2::{Decompress, FlushDecompress};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio_websockets::{ClientBuilder, CloseCode, Limits, Message, WebSocketStream};
use trunkline_sim::SimHandle;

pub const ALL_INTENTS: u64 = 53_608_447;

pub enum Unpack {
    Plain,
    Zlib(Decompress, Vec<u8>),
    Zstd(zstd_safe::DCtx<'static>),
}

pub struct Client<S> {
    pub socket: WebSocketStream<S>,
    pub etf: bool,
    pub unpack: Unpack,
    /// Websocket messages received.
    pub messages: u64,
    pub last_s: u64,
}

/// What came.
#[derive(Debug)]
pub enum Got {
    Payload(Value),
    Closed(u16),
    Gone,
    Undecodable,
}

impl Got {
    #[track_caller]
    pub fn payload(self) -> Value {
        match self {
            Got::Payload(value) => value,
            other => panic!("a payload was expected, got {other:?}"),
        }
    }

    #[track_caller]
    pub fn close(self) -> u16 {
        match self {
            Got::Closed(code) => code,
            other => panic!("a close was expected, got {other:?}"),
        }
    }
}

/// Connects in memory and takes the hello.
pub async fn connect(sim: &SimHandle, query: &str) -> Client<DuplexStream> {
    let mut client = open(sim.connect(), "/", query).await;
    let hello = client.next().await.payload();
    assert_eq!(hello["op"], 10, "{hello}");
    assert!(hello["t"].is_null() && hello["s"].is_null());
    client
}

/// Connects in memory on the resume address and takes the hello.
pub async fn reconnect(sim: &SimHandle, query: &str) -> Client<DuplexStream> {
    let mut client = open(sim.connect(), "/resume", query).await;
    assert_eq!(client.next().await.payload()["op"], 10);
    client
}

pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(stream: S, path: &str, query: &str) -> Client<S> {
    let uri: http::Uri = format!("ws://sim.test{path}?{query}").parse().unwrap();
    let builder = ClientBuilder::from_uri(uri).limits(Limits::unlimited());
    let (socket, _) = builder.connect_on(stream).await.unwrap();
    let unpack = if query.contains("zlib-stream") {
        Unpack::Zlib(Decompress::new(true), Vec::new())
    } else if query.contains("zstd-stream") {
        Unpack::Zstd(zstd_safe::DCtx::create())
    } else {
        Unpack::Plain
    };
    Client { socket, etf: query.contains("encoding=etf"), unpack, messages: 0, last_s: 0 }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub async fn send(&mut self, payload: &Value) {
        if self.etf {
            let mut bytes = vec![131];
            write_etf(payload, &mut bytes);
            self.send_raw(Message::binary(bytes)).await;
        } else {
            self.send_raw(Message::text(payload.to_string())).await;
        }
    }

    pub async fn send_raw(&mut self, message: Message) {
        let _ = self.socket.send(message).await;
    }

    pub async fn op(&mut self, op: u64, d: Value) {
        self.send(&json!({"op": op, "d": d})).await;
    }

    pub async fn close(&mut self, code: u16) {
        self.send_raw(Message::close(CloseCode::try_from(code).ok(), "")).await;
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    pub async fn next(&mut self) -> Got {
        loop {
            let message = match self.socket.next().await {
                Some(Ok(message)) => message,
                _ => return Got::Gone,
            };
            if let Some((code, _)) = message.as_close() {
                return Got::Closed(code.into());
            }
            if message.is_ping() || message.is_pong() {
                continue;
            }
            self.messages += 1;
            let text = message.is_text();
            let bytes: Vec<u8> = message.as_payload().to_vec();
            let plain = match &mut self.unpack {
                Unpack::Plain if text || self.etf => bytes,
                Unpack::Plain => {
                    let mut plain = Vec::with_capacity(1 << 20);
                    if Decompress::new(true).decompress_vec(&bytes, &mut plain, FlushDecompress::Finish).is_err() {
                        return Got::Undecodable;
                    }
                    plain
                }
                Unpack::Zlib(context, held) => {
                    held.extend_from_slice(&bytes);
                    if !held.ends_with(&[0, 0, 0xFF, 0xFF]) {
                        // A whole message always ends like this; damage does not.
                        if held.len() > 4 && held[..2] != [0x78, 0x01] && context.total_in() == 0 {
                            return Got::Undecodable;
                        }
                        continue;
                    }
                    let whole = std::mem::take(held);
                    let mut plain = Vec::with_capacity(8 << 20);
                    if context.decompress_vec(&whole, &mut plain, FlushDecompress::Sync).is_err() {
                        return Got::Undecodable;
                    }
                    plain
                }
                Unpack::Zstd(context) => {
                    let mut input = zstd_safe::InBuffer::around(&bytes);
                    let mut plain = Vec::new();
                    let mut room = vec![0; 64 << 10];
                    loop {
                        let mut output = zstd_safe::OutBuffer::around(&mut room[..]);
                        if context.decompress_stream(&mut output, &mut input).is_err() {
                            return Got::Undecodable;
                        }
                        let full = output.pos() == output.capacity();
                        plain.extend_from_slice(output.as_slice());
                        if input.pos() == bytes.len() && !full {
                            break;
                        }
                    }
                    plain
                }
            };
            let value = if self.etf { read_etf(&plain) } else { serde_json::from_slice(&plain).ok() };
            let Some(value) = value else {
                return Got::Undecodable;
            };
            if let Some(s) = value["s"].as_u64() {
                self.last_s = self.last_s.max(s);
            }
            return Got::Payload(value);
        }
    }

    /// The next dispatch of this name; others are passed over.
    pub async fn event<'a>(&'a mut self, name: &'a str) -> Value {
        loop {
            let payload = self.next().await.payload();
            if payload["t"] == *name {
                return payload;
            }
        }
    }

    /// The next payload with this op; others are passed over.
    pub async fn until_op(&mut self, op: u64) -> Value {
        loop {
            let payload = self.next().await.payload();
            if payload["op"] == op {
                return payload;
            }
        }
    }

    /// Reads until the server closes.
    pub async fn until_closed(&mut self) -> u16 {
        loop {
            match self.next().await {
                Got::Payload(_) => {}
                other => return other.close(),
            }
        }
    }

    /// Asserts that nothing more comes for a while.
    pub async fn silent(&mut self, time: Duration) {
        if let Ok(got) = tokio::time::timeout(time, self.next()).await {
            panic!("silence was expected, got {got:?}");
        }
    }

    /// Identifies and takes READY.
    pub async fn identify(&mut self, shard: (u64, u64)) -> Value {
        self.op(2, identify(shard)).await;
        self.event("READY").await
    }

    pub async fn resume(&mut self, session_id: &str, seq: u64) {
        self.op(6, json!({"token": "sim", "session_id": session_id, "seq": seq})).await;
    }
}

pub fn identify(shard: (u64, u64)) -> Value {
    json!({
        "token": "sim",
        "intents": ALL_INTENTS,
        "properties": {"os": "linux", "browser": "test", "device": "test"},
        "shard": [shard.0, shard.1],
    })
}

pub fn session_id(ready: &Value) -> String {
    ready["d"]["session_id"].as_str().unwrap().to_string()
}

/// A plain HTTP request in memory. Answers status, headers as text, body.
pub async fn request(sim: &SimHandle, head: &str, body: &str) -> (u16, String, Value) {
    let mut stream = sim.connect();
    let text = format!("{head}\r\nhost: sim.test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), serde_json::from_str(body).unwrap_or(Value::Null))
}

pub fn write_etf(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"s\x03nil"),
        Value::Bool(true) => out.extend_from_slice(b"s\x04true"),
        Value::Bool(false) => out.extend_from_slice(b"s\x05false"),
        Value::Number(number) => match number.as_u64() {
            Some(small) if small < 256 => out.extend_from_slice(&[97, small as u8]),
            Some(big) => {
                out.extend_from_slice(&[110, 8, 0]);
                out.extend_from_slice(&big.to_le_bytes());
            }
            None => {
                out.push(70);
                out.extend_from_slice(&number.as_f64().unwrap().to_be_bytes());
            }
        },
        Value::String(text) => {
            out.push(109);
            out.extend_from_slice(&(text.len() as u32).to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        Value::Array(items) => {
            if !items.is_empty() {
                out.push(108);
                out.extend_from_slice(&(items.len() as u32).to_be_bytes());
                for item in items {
                    write_etf(item, out);
                }
            }
            out.push(106);
        }
        Value::Object(fields) => {
            out.push(116);
            out.extend_from_slice(&(fields.len() as u32).to_be_bytes());
            for (key, value) in fields {
                write_etf(&Value::String(key.clone()), out);
                write_etf(value, out);
            }
        }
    }
}

/// Reads ETF as Discord sends it: atom keys or, where the key is an id, binaries.
pub fn read_etf(bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes.strip_prefix(&[131])?;
    let value = term(&mut rest, 0)?;
    rest.is_empty().then_some(value)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

fn term(rest: &mut &[u8], depth: u32) -> Option<Value> {
    if depth > 200 {
        return None;
    }
    let number = |rest: &mut &[u8], len| take(rest, len).map(|bytes| bytes.iter().fold(0usize, |all, byte| all << 8 | usize::from(*byte)));
    Some(match take(rest, 1)?[0] {
        97 => Value::from(take(rest, 1)?[0]),
        98 => Value::from(number(rest, 4)? as u32 as i32),
        70 => Value::from(f64::from_be_bytes(take(rest, 8)?.try_into().ok()?)),
        110 => {
            let len = number(rest, 1)?;
            assert_eq!(take(rest, 1)?, [0], "no negative number is expected");
            Value::from(take(rest, len)?.iter().rev().fold(0u64, |all, byte| all << 8 | u64::from(*byte)))
        }
        100 => {
            let len = number(rest, 2)?;
            match std::str::from_utf8(take(rest, len)?).ok()? {
                "nil" => Value::Null,
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                other => panic!("unexpected atom {other}"),
            }
        }
        109 => {
            let len = number(rest, 4)?;
            Value::String(String::from_utf8(take(rest, len)?.to_vec()).ok()?)
        }
        106 => Value::Array(Vec::new()),
        108 => {
            let len = number(rest, 4)?;
            let mut items = Vec::new();
            for _ in 0..len {
                items.push(term(rest, depth + 1)?);
            }
            assert_eq!(take(rest, 1)?, [106]);
            Value::Array(items)
        }
        116 => {
            let len = number(rest, 4)?;
            let mut map = Map::new();
            for _ in 0..len {
                let key = if rest.first() == Some(&100) {
                    take(rest, 1)?;
                    let len = number(rest, 2)?;
                    let name = String::from_utf8(take(rest, len)?.to_vec()).ok()?;
                    assert!(!name.bytes().all(|byte| byte.is_ascii_digit()), "an id as an atom: {name}");
                    name
                } else {
                    term(rest, depth + 1)?.as_str()?.to_string()
                };
                assert!(map.insert(key.clone(), term(rest, depth + 1)?).is_none(), "twice the key {key}");
            }
            Value::Object(map)
        }
        _ => return None,
    })
}
