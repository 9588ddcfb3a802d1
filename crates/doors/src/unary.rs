//! One message in, one message out: what a gRPC call is when it is no stream.
//!
//! The generated server answers it as a stream of one: two buffers of 8 KiB, a body in a box in a box, an iterator of frames. For an
//! answer of some hundred bytes that is as much work as the answer. Here a call is read as it lies, and its answer written into one buffer
//! of its size. What can be said is the same: limits, errors and their codes are those of the generated server.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use axum::http::{self, Method, Version};
use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::body::{Body, Frame};
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::limits::INCOMING_BYTES_MAX;

/// Before each message: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GOOD: HeaderValue = HeaderValue::from_static("0");

/// Whether [`answer`] can take it. What it cannot is for the generated server, which says why not.
pub(crate) fn is_plain<B>(request: &http::Request<B>) -> bool {
    request.version() == Version::HTTP_2
        && *request.method() == Method::POST
        && request.headers().get(GRPC_ENCODING).is_none_or(|encoding| encoding == "identity")
}

/// Reads the message of a call, has it answered, and writes the answer.
pub(crate) async fn answer<B, Q, A, T>(request: http::Request<B>, call: impl FnOnce(Request<Q>) -> T) -> http::Response<axum::body::Body>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
    Q: Message + Default,
    A: Message,
    T: Future<Output = Result<Response<A>, Status>>,
{
    let answered = async {
        let (parts, body) = request.into_parts();
        let bytes = heard(body).await?;
        let message = Q::decode(bytes).map_err(|error| Status::internal(error.to_string()))?;
        let request = Request::from_parts(MetadataMap::from_headers(parts.headers), parts.extensions, message);
        let (metadata, message, _) = call(request).await?.into_parts();
        let mut response = http::Response::new(axum::body::Body::new(Answer { message: Some(written(&message)?), over: false }));
        *response.headers_mut() = metadata.into_headers();
        response.headers_mut().insert(CONTENT_TYPE, GRPC);
        Ok(response)
    };
    answered.await.unwrap_or_else(Status::into_http)
}

/// The only message of a call.
async fn heard<B>(body: B) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let mut body = pin!(body);
    // Nearly always all of it comes in one piece.
    let mut heard = Bytes::new();
    while !body.is_end_stream()
        && let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await
    {
        let frame = frame.map_err(|error| Status::cancelled(format!("the call broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if heard.is_empty() {
            heard = data;
        } else {
            let mut both = BytesMut::from(heard);
            both.extend_from_slice(&data);
            heard = both.freeze();
        }
        if let Some((head, _)) = heard.split_first_chunk() {
            let length = length(head)?;
            if heard.len() >= HEAD_BYTES + length {
                // What comes after the first message is nothing that the method knows.
                return Ok(heard.slice(HEAD_BYTES..HEAD_BYTES + length));
            }
        }
    }
    Err(Status::internal(if heard.is_empty() { "Missing request message." } else { "Unexpected EOF decoding stream." }))
}

fn length([compressed, length @ ..]: &[u8; HEAD_BYTES]) -> Result<usize, Status> {
    if *compressed != 0 {
        return Err(Status::internal("the message is said to be compressed, and the call names no grpc-encoding"));
    }
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > INCOMING_BYTES_MAX {
        return Err(Status::out_of_range(format!("the message of {length} bytes is longer than {INCOMING_BYTES_MAX} bytes")));
    }
    Ok(length)
}

fn written(message: &impl Message) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    let mut out = Vec::with_capacity(HEAD_BYTES + length);
    out.push(0);
    // Lists are cut far below.
    out.put_u32(u32::try_from(length).map_err(|_| Status::out_of_range("the answer is longer than 4 GiB"))?);
    message.encode(&mut out).map_err(|error| Status::internal(error.to_string()))?;
    Ok(out.into())
}

/// The body of an answer: its message, then that all is well.
struct Answer {
    message: Option<Bytes>,
    over: bool,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if std::mem::replace(&mut self.over, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(STATUS, GOOD);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use std::collections::VecDeque;
    use tonic::Code;
    use trunkline_wire::pylon::discord::v1::cache::{GetGuildMemberRequest, GetGuildMemberResponse};

    /// A request's body in pieces.
    struct Pieces(VecDeque<Result<Bytes, String>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = String;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, String>>> {
            Poll::Ready(self.0.pop_front().map(|piece| piece.map(Frame::data)))
        }
    }

    fn pieces(of: &[&[u8]]) -> Pieces {
        Pieces(of.iter().map(|piece| Ok(Bytes::copy_from_slice(piece))).collect())
    }

    async fn asked(body: Pieces) -> http::Response<axum::body::Body> {
        let request = http::Request::post("/x").header("x-pylon-guild-id", "7").body(body).unwrap();
        answer(request, async |request: Request<GetGuildMemberRequest>| {
            assert_eq!(request.metadata().get("x-pylon-guild-id").unwrap(), "7");
            let stale = request.get_ref().user_id == 5;
            Ok(Response::new(GetGuildMemberResponse { member: None, stale }))
        })
        .await
    }

    fn code(response: &http::Response<axum::body::Body>) -> Code {
        Status::from_header_map(response.headers()).unwrap().code()
    }

    #[tokio::test]
    async fn a_call_is_heard_in_any_number_of_pieces() {
        let whole = b"\0\0\0\0\x09\x09\x05\0\0\0\0\0\0\0";
        for cut in 0..whole.len() {
            let response = asked(pieces(&[&whole[..cut], &whole[cut..]])).await;
            assert_eq!(response.headers().get(STATUS), None, "{:?}", response.headers());
            assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
            let body = response.into_body().collect().await.unwrap();
            assert_eq!(body.trailers().unwrap()[STATUS], "0");
            assert_eq!(body.to_bytes(), &b"\0\0\0\0\x03\xa0\x06\x01"[..]);
        }
        let one_by_one: Vec<&[u8]> = whole.chunks(1).collect();
        assert!(!asked(pieces(&one_by_one)).await.headers().contains_key(STATUS));
        // A message without any field that differs from its default has no bytes.
        assert!(!asked(pieces(&[b"\0\0\0\0\0"])).await.headers().contains_key(STATUS));
        assert!(!asked(pieces(&[b"\0\0\0\0\0\0\0\0\0\0"])).await.headers().contains_key(STATUS), "a second message is left alone");
    }

    #[tokio::test]
    async fn what_is_no_call_is_told_so() {
        assert_eq!(code(&asked(pieces(&[])).await), Code::Internal);
        assert_eq!(code(&asked(pieces(&[b"\0\0\0"])).await), Code::Internal);
        assert_eq!(code(&asked(pieces(&[b"\0\0\0\0\x09\x09"])).await), Code::Internal, "cut off");
        assert_eq!(code(&asked(pieces(&[b"\x01\0\0\0\0"])).await), Code::Internal, "compressed");
        assert_eq!(code(&asked(pieces(&[b"\0\0\0\0\x02\xff\xff"])).await), Code::Internal, "no protobuf");
        assert_eq!(code(&asked(pieces(&[b"\0\xff\xff\xff\xff\x08"])).await), Code::OutOfRange);
        assert_eq!(code(&asked(pieces(&[b"\0\0\x01\0\x01\x08"])).await), Code::OutOfRange);
        let broken = Pieces([Ok(Bytes::from_static(b"\0\0")), Err("reset".to_owned())].into());
        assert_eq!(code(&asked(broken).await), Code::Cancelled);
    }

    #[test]
    fn what_the_generated_server_knows_better_is_left_to_it() {
        let request = |version, method: Method, encoding: Option<&str>| {
            let mut request = http::Request::builder().version(version).method(method);
            if let Some(encoding) = encoding {
                request = request.header(GRPC_ENCODING, encoding);
            }
            is_plain(&request.body(()).unwrap())
        };
        assert!(request(Version::HTTP_2, Method::POST, None) && request(Version::HTTP_2, Method::POST, Some("identity")));
        assert!(!request(Version::HTTP_2, Method::POST, Some("gzip")));
        assert!(!request(Version::HTTP_2, Method::GET, None) && !request(Version::HTTP_11, Method::POST, None));
    }
}
