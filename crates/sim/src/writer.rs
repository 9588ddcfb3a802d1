//! The sending half of a gateway connection: takes orders, pulls its session's events, encodes, compresses, and hurts on demand.
//!
//! Invariant: an event waits in its session's replay buffer until the socket takes it; nothing piles up here.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_websockets::{CloseCode, Message, WebSocketStream};

use crate::compress::{Squeeze, zlib};
use crate::event::Event;
use crate::faults::FaultKind;
use crate::hub::{Hub, OpData, Order};
use crate::line::{Io, Line};
use crate::out::{Encoding, Out};
use crate::session::{Pull, Query};
use crate::shapes;

/// Events encoded per visit to the session.
const BATCH: usize = 64;
/// A payload below this is not worth payload compression.
const PAYLOAD_COMPRESSION_FROM: usize = 1024;
/// What the bomb inflates to.
const BOMB_BYTES: usize = 256 << 20;
/// After a close frame the client has this long to answer it.
const CLOSING: Duration = Duration::from_secs(2);
const DEEP: usize = 100_000;

pub(crate) struct Writer {
    pub(crate) hub: Arc<Hub>,
    pub(crate) sink: SplitSink<WebSocketStream<Io>, Message>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) squeeze: Squeeze,
    pub(crate) query: Query,
    pub(crate) connection: u64,
    pub(crate) line: Arc<Line>,
    pub(crate) end: CancellationToken,
    /// Set by the reader when the identify asks for payload compression.
    pub(crate) compress_payloads: Arc<std::sync::atomic::AtomicBool>,
    pub(crate) frozen: Arc<tokio::sync::Notify>,
    pub(crate) out: Out,
    pub(crate) corrupt_next: bool,
}

/// Whether to go on.
enum Next {
    Go,
    /// A close frame has been sent: the reader waits for the client's.
    Closed,
    Gone,
}

impl Writer {
    /// Runs until the connection ends.
    pub(crate) async fn run(mut self) {
        let end = self.end.clone();
        let closed = tokio::select! {
            () = end.cancelled() => false,
            closed = self.work() => closed,
        };
        if closed {
            // The client has a little time to answer the close frame; the reader ends earlier when it does.
            tokio::select! {
                () = end.cancelled() => {}
                () = tokio::time::sleep(CLOSING) => {}
            }
        }
        end.cancel();
    }

    async fn work(&mut self) -> bool {
        let mut session: Option<u64> = None;
        let mut wake = Arc::new(tokio::sync::Notify::new());
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            // Orders go ahead of events: acknowledgements do not wait behind traffic.
            let order = match session {
                None => self.orders.recv().await,
                Some(ordinal) => match self.orders.try_recv() {
                    Ok(order) => Some(order),
                    Err(mpsc::error::TryRecvError::Disconnected) => None,
                    Err(mpsc::error::TryRecvError::Empty) => {
                        batch.clear();
                        let (pull, bot, view) = {
                            let mut state = self.hub.lock();
                            let session = &mut state.sessions[ordinal as usize - 1];
                            (session.pull(self.connection, BATCH, &mut batch), session.bot, session.view)
                        };
                        match pull {
                            Pull::Some => {
                                for (s, event) in &batch {
                                    if self.send_event(bot, event, *s, &view).await.is_err() {
                                        return false;
                                    }
                                }
                                if self.sink.flush().await.is_err() {
                                    return false;
                                }
                                tokio::task::yield_now().await;
                                continue;
                            }
                            Pull::Nothing => {
                                tokio::select! {
                                    order = self.orders.recv() => order,
                                    () = wake.notified() => continue,
                                }
                            }
                            Pull::Lost => {
                                session = None;
                                continue;
                            }
                            Pull::Overrun => {
                                let _ = self.close(4000, "Unknown error.").await;
                                return true;
                            }
                        }
                    }
                },
            };
            let Some(order) = order else {
                return false;
            };
            let next = match order {
                Order::Attach(ordinal) => {
                    wake = Arc::clone(&self.hub.lock().sessions[ordinal as usize - 1].wake);
                    session = Some(ordinal);
                    Next::Go
                }
                Order::Op(op, data) => self.op(op, data).await,
                Order::Close(code, reason) => self.close(code, reason).await,
                Order::Fault(kind, lasts, count, calm) => self.fault(kind, lasts, count, calm, session).await,
            };
            match next {
                Next::Go => {}
                Next::Closed => return true,
                Next::Gone => return false,
            }
        }
    }

    async fn send_event(&mut self, bot: usize, event: &Event, s: u64, view: &shapes::View) -> Result<(), tokio_websockets::Error> {
        let hub = Arc::clone(&self.hub);
        shapes::frame(&mut self.out, &hub.world, &hub.world.bots[bot], event, s, view);
        self.send_out().await
    }

    /// Sends what lies in `out`, without flushing.
    async fn send_out(&mut self) -> Result<(), tokio_websockets::Error> {
        self.hub.bytes_plain.fetch_add(self.out.bytes.len() as u64, Ordering::Relaxed);
        let whole = matches!(self.squeeze, Squeeze::Plain);
        if whole {
            let squash = self.query.encoding == Encoding::Json
                && self.out.bytes.len() >= PAYLOAD_COMPRESSION_FROM
                && self.compress_payloads.load(Ordering::Relaxed);
            let mut bytes = if squash { zlib(&self.out.bytes) } else { self.out.bytes.clone() };
            if std::mem::take(&mut self.corrupt_next) {
                damage(&mut bytes);
                return self.feed(Message::binary(bytes)).await;
            }
            let message = if squash || self.query.encoding == Encoding::Etf { Message::binary(bytes) } else { Message::text(bytes) };
            return self.feed(message).await;
        }
        let Some(mut packed) = self.squeeze.pack(&self.out.bytes) else {
            return Err(tokio_websockets::Error::AlreadyClosed);
        };
        if std::mem::take(&mut self.corrupt_next) {
            damage(&mut packed);
        }
        match self.hub.config.zlib_split_bytes {
            Some(split) if matches!(self.squeeze, Squeeze::Zlib(_)) && split > 0 => {
                for piece in packed.chunks(split) {
                    self.feed(Message::binary(piece.to_vec())).await?;
                }
                Ok(())
            }
            _ => self.feed(Message::binary(packed)).await,
        }
    }

    async fn feed(&mut self, message: Message) -> Result<(), tokio_websockets::Error> {
        self.hub.bytes_packed.fetch_add(message.as_payload().len() as u64, Ordering::Relaxed);
        self.sink.feed(message).await
    }

    async fn flushed(&mut self) -> Next {
        if self.send_out().await.is_ok() && self.sink.flush().await.is_ok() { Next::Go } else { Next::Gone }
    }

    async fn op(&mut self, op: u8, data: OpData) -> Next {
        self.out.restart();
        self.out.root(|o| {
            o.null("t");
            o.null("s");
            o.int("op", i64::from(op));
            match data {
                OpData::Null => o.null("d"),
                OpData::Bool(value) => o.bool("d", value),
                OpData::Hello(interval_ms) => o.map("d", |o| {
                    o.int("heartbeat_interval", interval_ms as i64);
                    o.list("_trace", |o| o.item_str("[\"trunkline-sim\",{\"micros\":0.0}]"));
                }),
            }
        });
        self.flushed().await
    }

    async fn close(&mut self, code: u16, reason: &str) -> Next {
        self.line.closed_with.store(code, Ordering::Relaxed);
        let code = CloseCode::try_from(code).ok();
        let _ = self.sink.send(Message::close(code, reason)).await;
        Next::Closed
    }

    async fn fault(&mut self, kind: FaultKind, lasts: Duration, count: u32, calm: CancellationToken, session: Option<u64>) -> Next {
        match kind {
            FaultKind::Stall => {
                over(lasts, &calm).await;
                Next::Go
            }
            FaultKind::HalfOpen => {
                self.frozen.notify_one();
                over(lasts, &calm).await;
                self.line.reset.store(true, Ordering::Relaxed);
                Next::Gone
            }
            FaultKind::Reconnect => self.op(7, OpData::Null).await,
            FaultKind::InvalidResumable => self.op(9, OpData::Bool(true)).await,
            FaultKind::Invalid => self.op(9, OpData::Bool(false)).await,
            FaultKind::BeatRequest => self.op(1, OpData::Null).await,
            FaultKind::Close(code) => self.close(code, "as told").await,
            FaultKind::Unknown => self.op(77, OpData::Null).await,
            FaultKind::Corrupt => {
                self.corrupt_next = true;
                // Something to damage, in case nothing else is sent: an acknowledgement that nobody asked for.
                self.op(11, OpData::Null).await
            }
            FaultKind::Slow => {
                self.line.bytes_per_second.store(2000, Ordering::Relaxed);
                let line = Arc::clone(&self.line);
                tokio::spawn(async move {
                    over(lasts, &calm).await;
                    line.bytes_per_second.store(0, Ordering::Relaxed);
                });
                Next::Go
            }
            FaultKind::Garbage => {
                self.out.restart();
                self.out.bytes.clear();
                self.out.bytes.extend_from_slice(b"\x83\xffthis is no payload {[\"");
                self.out.bytes.retain(|byte| self.query.encoding == Encoding::Etf || byte.is_ascii());
                self.flushed().await
            }
            FaultKind::Bomb => self.bomb().await,
            FaultKind::Deep => {
                self.deep();
                self.flushed().await
            }
            FaultKind::Duplicate => {
                let Some(ordinal) = session else {
                    return Next::Go;
                };
                let (events, bot, view) = {
                    let state = self.hub.lock();
                    let session = &state.sessions[ordinal as usize - 1];
                    (session.again(count), session.bot, session.view)
                };
                for (s, event) in events {
                    if self.send_event(bot, &event, s, &view).await.is_err() {
                        return Next::Gone;
                    }
                }
                if self.sink.flush().await.is_ok() { Next::Go } else { Next::Gone }
            }
            _ => Next::Go,
        }
    }

    /// A payload that is deeper than any reader should follow. It is no dispatch of the session (`s` is null).
    fn deep(&mut self) {
        self.out.restart();
        let bytes = &mut self.out.bytes;
        match self.query.encoding {
            Encoding::Json => {
                bytes.extend_from_slice(br#"{"t":"TRUNKLINE_SIM_DEEP","s":null,"op":0,"d":"#);
                bytes.extend(std::iter::repeat_n(b'[', DEEP));
                bytes.extend(std::iter::repeat_n(b']', DEEP));
                bytes.push(b'}');
            }
            Encoding::Etf => {
                bytes.extend_from_slice(&[116, 0, 0, 0, 2, 100, 0, 2, b'o', b'p', 97, 0, 100, 0, 1, b'd']);
                for _ in 0..DEEP {
                    bytes.extend_from_slice(&[108, 0, 0, 0, 1]);
                }
                bytes.extend(std::iter::repeat_n(106, DEEP + 1));
            }
        }
    }

    /// A message whose plain form is one huge text.
    async fn bomb(&mut self) -> Next {
        let hub = Arc::clone(&self.hub);
        let encoding = self.query.encoding;
        let mut squeeze = std::mem::replace(&mut self.squeeze, Squeeze::Plain);
        let made = tokio::task::spawn_blocking(move || {
            let mut plain = Vec::with_capacity(BOMB_BYTES + 64);
            match encoding {
                Encoding::Json => {
                    plain.extend_from_slice(br#"{"t":"TRUNKLINE_SIM_BOMB","s":null,"op":0,"d":""#);
                    plain.resize(BOMB_BYTES, b'0');
                    plain.extend_from_slice(b"\"}");
                }
                Encoding::Etf => {
                    plain.extend_from_slice(&[131, 116, 0, 0, 0, 2, 100, 0, 2, b'o', b'p', 97, 0, 100, 0, 1, b'd', 109]);
                    plain.extend_from_slice(&(BOMB_BYTES as u32).to_be_bytes());
                    plain.resize(plain.len() + BOMB_BYTES, b'0');
                }
            }
            let packed = match (&mut squeeze, encoding) {
                (Squeeze::Plain, Encoding::Json) => Some(zlib(&plain)),
                (Squeeze::Plain, Encoding::Etf) => {
                    let mut term = vec![131, 80];
                    term.extend_from_slice(&(plain.len() as u32 - 1).to_be_bytes());
                    term.extend_from_slice(&zlib(&plain[1..]));
                    Some(term)
                }
                (squeeze, _) => squeeze.pack(&plain),
            };
            (squeeze, packed, plain.len())
        })
        .await;
        let Ok((squeeze, Some(packed), plain)) = made else {
            return Next::Gone;
        };
        self.squeeze = squeeze;
        hub.bytes_plain.fetch_add(plain as u64, Ordering::Relaxed);
        if self.feed(Message::binary(packed)).await.is_ok() && self.sink.flush().await.is_ok() { Next::Go } else { Next::Gone }
    }
}

/// Waits for the end of a lasting fault.
async fn over(lasts: Duration, calm: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(lasts) => {}
        () = calm.cancelled() => {}
    }
}

/// Makes bytes that no decoder accepts, from the first on.
fn damage(bytes: &mut [u8]) {
    for byte in bytes.iter_mut() {
        *byte ^= 0xFF;
    }
}
