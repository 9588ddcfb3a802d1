//! The receiving half of a gateway connection, and its life: hello, heartbeats, identify or resume, requests, close.
//!
//! Source: Discord docs, Gateway (Connection Lifecycle, Rate Limiting, Encoding and Compression) and Opcodes and Status Codes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_websockets::{Message, WebSocketStream};

use crate::compress::{Squeeze, Transport};
use crate::faults::FaultKind;
use crate::hub::{Hub, Identify, ORDERS_MAX, OpData, Order, Parting, Verdict};
use crate::line::Io;
use crate::out::{Encoding, Out};
use crate::requests;
use crate::session::Query;
use crate::terms::{self, Bad};
use crate::writer::Writer;

/// Bytes of a client's payload (Discord docs, Gateway: Sending Events).
const PAYLOAD_MAX: usize = 4096;
/// Payloads a client may send in [`SENDS_WINDOW`], heartbeats included.
const SENDS_MAX: usize = 120;
const SENDS_WINDOW: Duration = Duration::from_secs(60);
/// So many presence updates in this time (a limit of Discord's that its documentation does not state).
const PRESENCES_MAX: usize = 5;
const PRESENCES_WINDOW: Duration = Duration::from_secs(20);

struct Reader {
    hub: Arc<Hub>,
    query: Query,
    connection: u64,
    orders: mpsc::Sender<Order>,
    at_resume_url: bool,
    session: Option<u64>,
    who: Option<(usize, u32)>,
    sends: VecDeque<Instant>,
    /// The latest presence updates.
    presences: VecDeque<Instant>,
    compress_payloads: Arc<AtomicBool>,
    /// A granted session whose READY is held back until then, or until lasting faults are ended.
    slow_ready: Option<(Instant, u64, CancellationToken)>,
}

/// Why reading ends: a close code for the client, or nothing more to say.
type Stop = Option<(u16, &'static str)>;

/// Serves one gateway connection to its end. `query` is None when the address named a wrong version.
pub(crate) async fn serve(hub: Arc<Hub>, socket: WebSocketStream<Io>, query: Result<Query, String>, at_resume_url: bool) {
    let line = socket.get_ref().line();
    let end = hub.stop.child_token();
    let (orders, inbox) = mpsc::channel(ORDERS_MAX);
    let connection = hub.connect(orders.clone(), Arc::clone(&line), end.clone());
    let (sink, mut stream) = socket.split();
    let (valid, query) = match query {
        Ok(query) => (true, query),
        Err(text) => {
            hub.blame(&mut hub.lock(), "invalid_query", None, None, text);
            (false, Query { version: 10, encoding: Encoding::Json, transport: Transport::Plain })
        }
    };
    let compress_payloads = Arc::new(AtomicBool::new(false));
    let frozen = Arc::new(Notify::new());
    if let Some(squeeze) = Squeeze::new(query.transport, hub.config.zlib_level, hub.config.zstd_level) {
        let writer = Writer {
            hub: Arc::clone(&hub),
            sink,
            orders: inbox,
            squeeze,
            query,
            connection,
            line: Arc::clone(&line),
            end: end.clone(),
            compress_payloads: Arc::clone(&compress_payloads),
            frozen: Arc::clone(&frozen),
            out: Out::new(query.encoding),
            corrupt_next: false,
        };
        let writing = tokio::spawn(writer.run());
        let mut reader = Reader {
            hub: Arc::clone(&hub),
            query,
            connection,
            orders,
            at_resume_url,
            session: None,
            who: None,
            sends: VecDeque::new(),
            presences: VecDeque::new(),
            compress_payloads,
            slow_ready: None,
        };
        let how = reader.run(&mut stream, valid, &end, &frozen).await;
        hub.disconnect(connection, how);
        end.cancel();
        let _ = writing.await;
    } else {
        hub.disconnect(connection, Parting::Lost);
    }
}

impl Reader {
    async fn order(&self, order: Order) {
        // A writer that is gone takes no orders; the reader notices by the ended connection.
        let _ = self.orders.send(order).await;
    }

    /// Answers how the connection ended.
    async fn run(
        &mut self,
        stream: &mut SplitStream<WebSocketStream<Io>>,
        valid: bool,
        end: &CancellationToken,
        frozen: &Notify,
    ) -> Parting {
        if !valid {
            self.order(Order::Close(4012, "Invalid API version.")).await;
            return self.wait_for_close(4012, stream, end).await;
        }
        if let Some(late) = self.hub.window(FaultKind::LateHello, None) {
            let calm = self.hub.calm_token();
            tokio::select! {
                () = tokio::time::sleep(late) => {}
                () = calm.cancelled() => {}
                () = end.cancelled() => return Parting::Lost,
            }
        }
        let interval = Duration::from_millis(self.hub.config.heartbeat_interval_ms);
        self.order(Order::Op(10, OpData::Hello(self.hub.config.heartbeat_interval_ms))).await;
        // The first beat comes within one interval, each later one within one more; half an interval is for slow lines.
        let patience = interval + interval / 2;
        let mut beat_until = Instant::now() + patience;
        loop {
            let message = tokio::select! {
                biased;
                () = end.cancelled() => return Parting::Lost,
                () = frozen.notified() => {
                    end.cancelled().await;
                    return Parting::Lost;
                }
                message = stream.next() => message,
                () = held_back(&self.slow_ready), if self.slow_ready.is_some() => {
                    if let Some((_, ordinal, _)) = self.slow_ready.take() {
                        self.order(Order::Attach(ordinal)).await;
                    }
                    continue;
                }
                () = tokio::time::sleep_until(beat_until) => {
                    let text = format!("no heartbeat for {} ms", patience.as_millis());
                    self.blame("no_heartbeat", text);
                    self.end_session("no heartbeat from the client (4009)");
                    self.order(Order::Close(4009, "Session timed out.")).await;
                    return self.wait_for_close(4009, stream, end).await;
                }
            };
            let message = match message {
                Some(Ok(message)) => message,
                Some(Err(_)) | None => return Parting::Lost,
            };
            if message.is_close() {
                return Parting::Client(close_code(&message));
            }
            if message.is_ping() || message.is_pong() {
                continue;
            }
            match self.take(message, &mut beat_until, patience).await {
                Ok(()) => {}
                Err(Some((code, reason))) => {
                    self.order(Order::Close(code, reason)).await;
                    return self.wait_for_close(code, stream, end).await;
                }
                Err(None) => return Parting::Lost,
            }
        }
    }

    async fn wait_for_close(&self, code: u16, stream: &mut SplitStream<WebSocketStream<Io>>, end: &CancellationToken) -> Parting {
        let wait = async {
            while let Some(Ok(message)) = stream.next().await {
                if message.is_close() {
                    return;
                }
            }
        };
        tokio::select! {
            () = end.cancelled() => {}
            () = wait => {}
        }
        Parting::Server(code)
    }

    fn blame(&self, kind: &'static str, text: String) {
        let (bot, shard) = (self.who.map(|(bot, _)| bot), self.who.map(|(_, shard)| shard));
        self.hub.blame(&mut self.hub.lock(), kind, bot, shard, text);
    }

    fn note(&self, kind: &'static str, text: String) {
        let (bot, shard) = (self.who.map(|(bot, _)| bot), self.who.map(|(_, shard)| shard));
        self.hub.note(&mut self.hub.lock(), kind, bot, shard, text);
    }

    /// More presence updates than Discord spreads are dropped by it without a word.
    fn count_presence(&mut self, now: Instant) {
        while self.presences.front().is_some_and(|at| now - *at >= PRESENCES_WINDOW) {
            self.presences.pop_front();
        }
        if self.presences.len() >= PRESENCES_MAX {
            self.note("presence_too_often", format!("more than {PRESENCES_MAX} presence updates in {} s", PRESENCES_WINDOW.as_secs()));
        } else {
            self.presences.push_back(now);
        }
    }

    fn end_session(&mut self, because: &'static str) {
        if let Some(ordinal) = self.session {
            self.hub.end_session(&mut self.hub.lock(), ordinal, because);
        }
    }

    /// Whether this connection holds a living session.
    fn authenticated(&self) -> bool {
        self.session.is_some_and(|ordinal| self.hub.lock().sessions[ordinal as usize - 1].ended.is_none())
    }

    fn decode(&self, message: &Message) -> Result<Value, Stop> {
        let bytes: &[u8] = message.as_payload();
        if bytes.len() > PAYLOAD_MAX {
            self.blame("payload_too_large", format!("{} bytes, {PAYLOAD_MAX} are allowed", bytes.len()));
            return Err(Some((4002, "Error while decoding payload.")));
        }
        let read = match self.query.encoding {
            Encoding::Json => serde_json::from_slice(bytes).map_err(|error| ("undecodable", error.to_string())),
            Encoding::Etf => terms::etf(bytes).map_err(|bad| match bad {
                Bad::AtomKey => ("etf_atom_key", "a key is an atom; keys must be strings".to_string()),
                Bad::Compressed => ("etf_compressed", "compressed terms are not allowed".to_string()),
                Bad::Malformed(text) => ("undecodable", text),
            }),
        };
        read.map_err(|(kind, text)| {
            self.blame(kind, text);
            Some((4002, "Error while decoding payload."))
        })
    }

    async fn take(&mut self, message: Message, beat_until: &mut Instant, patience: Duration) -> Result<(), Stop> {
        let now = Instant::now();
        while self.sends.front().is_some_and(|at| now - *at >= SENDS_WINDOW) {
            self.sends.pop_front();
        }
        if self.sends.len() >= SENDS_MAX {
            self.blame("rate_limited", format!("more than {SENDS_MAX} payloads in {} s", SENDS_WINDOW.as_secs()));
            return Err(Some((4008, "Rate limited.")));
        }
        self.sends.push_back(now);
        let payload = self.decode(&message)?;
        let Some(op) = payload.get("op").and_then(Value::as_u64) else {
            self.blame("undecodable", "a payload without op".into());
            return Err(Some((4002, "Error while decoding payload.")));
        };
        let d = payload.get("d").unwrap_or(&Value::Null);
        match op {
            1 => {
                *beat_until = now + patience;
                if !d.is_null() && d.as_u64().is_none() {
                    self.blame("undecodable", "heartbeat whose d is neither null nor a sequence".into());
                    return Err(Some((4002, "Error while decoding payload.")));
                }
                self.hub.heartbeat(self.connection, d.as_u64());
                if self.hub.window(FaultKind::NoAcks, Some(self.who.unwrap_or((0, 0)))).is_none() {
                    self.order(Order::Op(11, OpData::Null)).await;
                }
                Ok(())
            }
            2 | 6 if self.authenticated() => {
                self.blame("already_authenticated", format!("op {op} on a live session"));
                Err(Some((4005, "Already authenticated.")))
            }
            2 => self.identify(d).await,
            6 => self.resume(d).await,
            3 | 4 | 8 | 31 | 43 => {
                let Some(ordinal) = self.session.filter(|_| self.authenticated()) else {
                    self.blame("not_authenticated", format!("op {op} before identify"));
                    return Err(Some((4003, "Not authenticated.")));
                };
                if op == 3 {
                    self.count_presence(now);
                }
                requests::answer(&self.hub, ordinal, op, d).map_err(|text| {
                    self.blame("bad_payload", format!("op {op}: {text}"));
                    Some((4001, "Unknown opcode or invalid payload for it."))
                })
            }
            _ => {
                self.blame("unknown_opcode", format!("op {op}"));
                Err(Some((4001, "Unknown opcode.")))
            }
        }
    }

    fn decode_error(&self, text: &str) -> Stop {
        self.blame("bad_payload", text.into());
        Some((4002, "Error while decoding payload."))
    }

    async fn identify(&mut self, d: &Value) -> Result<(), Stop> {
        let token = d.get("token").and_then(Value::as_str).ok_or_else(|| self.decode_error("identify without a token"))?;
        if !d.get("properties").is_some_and(Value::is_object) {
            return Err(self.decode_error("identify without properties"));
        }
        let intents = match d.get("intents") {
            Some(value) => match value.as_u64() {
                Some(bits) => bits,
                None => {
                    self.blame("invalid_intents", format!("intents {value}"));
                    return Err(Some((4013, "Invalid intent(s).")));
                }
            },
            // Required from v8 on.
            None => return Err(self.decode_error("identify without intents")),
        };
        let shard = match d.get("shard") {
            None | Some(Value::Null) => None,
            Some(value) => match (value.get(0).and_then(Value::as_u64), value.get(1).and_then(Value::as_u64)) {
                (Some(index), Some(count)) => Some((index, count)),
                _ => {
                    self.blame("invalid_shard", format!("shard {value}"));
                    return Err(Some((4010, "Invalid shard.")));
                }
            },
        };
        let large_threshold = match d.get("large_threshold") {
            None | Some(Value::Null) => 50,
            Some(value) => match value.as_u64().filter(|value| (50..=250).contains(value)) {
                Some(value) => value as u32,
                None => return Err(self.decode_error("large_threshold outside of 50 to 250")),
            },
        };
        if d.get("compress").and_then(Value::as_bool) == Some(true) {
            if self.query.encoding == Encoding::Etf || self.query.transport != Transport::Plain {
                // discord.py always asks for it, and Discord sends uncompressed payloads all the same.
                self.note("payload_compression_misused", "compress: true with ETF or transport compression".into());
            } else {
                self.compress_payloads.store(true, Ordering::Relaxed);
            }
        }
        if let Some(presence) = d.get("presence").filter(|presence| !presence.is_null()) {
            requests::check_presence(presence).map_err(|text| self.decode_error(&format!("identify: presence: {text}")))?;
        }
        let ask = Identify { token: token.to_string(), intents, shard, large_threshold };
        let verdict = self.hub.identify(self.connection, self.query, &ask, self.at_resume_url);
        self.obey(verdict, true).await
    }

    async fn resume(&mut self, d: &Value) -> Result<(), Stop> {
        let text = |name: &str| d.get(name).and_then(Value::as_str);
        let (Some(token), Some(id), Some(seq)) = (text("token"), text("session_id"), d.get("seq").and_then(Value::as_u64)) else {
            return Err(self.decode_error("resume without token, session_id or seq"));
        };
        let verdict = self.hub.resume(self.connection, self.query, token, id, seq, self.at_resume_url);
        self.obey(verdict, false).await
    }

    async fn obey(&mut self, verdict: Verdict, fresh: bool) -> Result<(), Stop> {
        match verdict {
            Verdict::Granted(ordinal) => {
                self.session = Some(ordinal);
                self.who = {
                    let state = self.hub.lock();
                    let session = &state.sessions[ordinal as usize - 1];
                    Some((session.bot, session.shard.0))
                };
                match self.hub.window(FaultKind::SlowReady, self.who).filter(|_| fresh) {
                    Some(wait) => self.slow_ready = Some((Instant::now() + wait, ordinal, self.hub.calm_token())),
                    None => self.order(Order::Attach(ordinal)).await,
                }
                Ok(())
            }
            Verdict::Refused => {
                self.order(Order::Op(9, OpData::Bool(false))).await;
                Ok(())
            }
            Verdict::Close(code, reason) => Err(Some((code, reason))),
        }
    }
}

/// Waits for the time of a READY that is held back.
async fn held_back(ready: &Option<(Instant, u64, CancellationToken)>) {
    if let Some((at, _, calm)) = ready {
        tokio::select! {
            () = tokio::time::sleep_until(*at) => {}
            () = calm.cancelled() => {}
        }
    }
}

fn close_code(close: &Message) -> Option<u16> {
    // A close frame without a code is 1005 for the one who gets it: no code, the session stays.
    let bytes: &[u8] = close.as_payload();
    close.as_close().filter(|_| bytes.len() >= 2).map(|(code, _)| u16::from(code))
}
