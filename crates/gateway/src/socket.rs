//! One open connection of a shard: the websocket, its decompressor, and what waits to be sent.
//!
//! Sending never waits: frames lie in a short queue that is emptied while the socket is read, so that a peer that takes
//! nothing cannot keep this side from reading, or from noticing.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio_websockets::{CloseCode, Error, Message};
use trunkline_discord::{Compression, Encoding, Op};

use crate::inflate::{InflateError, InflateLimits, Inflater};
use crate::net::Socket;

/// How long a close may take before the connection is simply dropped.
pub(crate) const CLOSE_PATIENCE: Duration = Duration::from_millis(1000);

pub(crate) struct Connection {
    socket: Socket,
    pub(crate) inflater: Inflater,
    pub(crate) encoding: Encoding,
    /// Read already, and not handled yet.
    put_back: Option<Message>,
    outbox: VecDeque<Message>,
    unflushed: bool,
    /// What of the link's bytes has been told to the session.
    bytes_told: u64,
}

impl Connection {
    pub(crate) fn new(socket: Socket, encoding: Encoding, compression: Compression, limits: InflateLimits) -> Result<Self, InflateError> {
        Ok(Self {
            socket,
            inflater: Inflater::new(compression, limits)?,
            encoding,
            put_back: None,
            outbox: VecDeque::new(),
            unflushed: false,
            bytes_told: 0,
        })
    }

    /// Queues one frame; heartbeats go ahead of the rest. The session keeps the queue short: it sends at most 120 frames
    /// a minute.
    pub(crate) fn send(&mut self, op: Op, bytes: Vec<u8>) {
        let message = match self.encoding {
            // The packed form is never on a wire.
            Encoding::Json | Encoding::Packed => Message::text(bytes),
            Encoding::Etf => Message::binary(bytes),
        };
        if op == Op::Heartbeat {
            self.outbox.push_front(message);
        } else {
            self.outbox.push_back(message);
        }
    }

    /// Whether bytes have arrived since the last call, whole frames or not.
    pub(crate) fn heard(&mut self) -> bool {
        let bytes_read = self.socket.get_ref().bytes_read();
        std::mem::replace(&mut self.bytes_told, bytes_read) != bytes_read
    }

    /// Leaves a message to be read again next.
    pub(crate) fn put_back(&mut self, message: Message) {
        self.put_back = Some(message);
    }

    /// Sends what can be sent and reads one message. `None` is the end of the connection.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        if let Err(error) = self.poll_send(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(message) = self.put_back.take() {
            return Poll::Ready(Some(Ok(message)));
        }
        Pin::new(&mut self.socket).poll_next(cx)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        while !self.outbox.is_empty() {
            match Pin::new(&mut self.socket).poll_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(()),
            }
            if let Some(message) = self.outbox.pop_front() {
                Pin::new(&mut self.socket).start_send(message)?;
                self.unflushed = true;
            }
        }
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.socket).poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
        }
        Ok(())
    }

    /// Closes with this code and waits for the peer to close too, for at most [`CLOSE_PATIENCE`]. What was queued is
    /// sent before. To drop the connection at once instead could lose the close frame on the way.
    pub(crate) async fn close(mut self, code: u16) {
        let code = CloseCode::try_from(code).ok();
        let goodbye = async {
            while let Some(message) = self.outbox.pop_front() {
                self.socket.send(message).await?;
            }
            self.socket.send(Message::close(code, "")).await?;
            while let Some(message) = self.socket.next().await {
                message?;
            }
            Ok::<(), Error>(())
        };
        match tokio::time::timeout(CLOSE_PATIENCE, goodbye).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a connection was gone before it was closed"),
            Err(_) => tracing::debug!("a connection was dropped, as its peer did not answer the close"),
        }
    }
}
