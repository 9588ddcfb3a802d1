//! The byte stream of a connection, with the means to hurt it: reset instead of an orderly end, and a trickle instead of a flow.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;

/// A trickling line moves this often.
const TRICKLE_EVERY: Duration = Duration::from_millis(50);

/// What a fault can do to a line.
#[derive(Debug, Default)]
pub(crate) struct Line {
    pub(crate) reset: AtomicBool,
    /// 0: unlimited.
    pub(crate) bytes_per_second: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
    /// The code of the close frame that the simulator sent; 0: none.
    pub(crate) closed_with: AtomicU16,
}

pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Memory(DuplexStream),
}

/// A connection's stream.
pub(crate) struct Io {
    stream: Stream,
    line: Arc<Line>,
    trickle: Option<Pin<Box<Sleep>>>,
}

impl Io {
    pub(crate) fn new(stream: Stream) -> Io {
        Io { stream, line: Arc::default(), trickle: None }
    }

    pub(crate) fn line(&self) -> Arc<Line> {
        Arc::clone(&self.line)
    }

    /// How many bytes may move now.
    fn allowance(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        let rate = self.line.bytes_per_second.load(Ordering::Relaxed);
        if rate == 0 {
            return Poll::Ready(wanted);
        }
        if let Some(sleep) = &mut self.trickle {
            std::task::ready!(sleep.as_mut().poll(cx));
            sleep.as_mut().reset(Instant::now() + TRICKLE_EVERY);
        } else {
            self.trickle = Some(Box::pin(tokio::time::sleep(TRICKLE_EVERY)));
        }
        Poll::Ready(wanted.min((rate / 20).max(1) as usize))
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        if self.line.reset.load(Ordering::Relaxed) {
            let tcp = match &self.stream {
                Stream::Tcp(tcp) => tcp,
                Stream::Tls(tls) => tls.get_ref().0,
                Stream::Memory(_) => return,
            };
            // Without lingering, closing sends RST. If it cannot be set, the client sees an end without a close frame all the same.
            let _ = tcp.set_zero_linger();
        }
    }
}

use std::future::Future;

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Memory(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let len = std::task::ready!(self.allowance(cx, buf.len()));
        let written = std::task::ready!(match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, &buf[..len]),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, &buf[..len]),
            Stream::Memory(stream) => Pin::new(stream).poll_write(cx, &buf[..len]),
        })?;
        self.line.bytes_written.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.line.bytes_per_second.load(Ordering::Relaxed) > 0 {
            let buf = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &**buf);
            return self.poll_write(cx, buf);
        }
        let this = self.get_mut();
        let written = std::task::ready!(match &mut this.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Memory(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        })?;
        this.line.bytes_written.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
            Stream::Memory(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Memory(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Memory(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
