//! The worker stream as a gRPC service, with buffers for a stream of many events.
//!
//! The generated server encodes into a buffer of 8 KiB that is grown, and copied, again and again until 32 KiB are full, and thrown away
//! then: for a stream that carries tens of thousands of events a second that is more work than encoding them. Here a buffer is as large as
//! what is handed to HTTP/2 at once from the beginning. Names, messages and limits are those of the generated server.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use axum::http;
use prost::Message;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{Body, BoxFuture, Service, StdError};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use trunkline_wire::pylon::gateway::v1::service::gateway_worker_group_server::{GatewayWorkerGroup, GatewayWorkerGroupServer};
use trunkline_wire::pylon::gateway::v1::workergroup::{WorkerStreamClientMessage, WorkerStreamServerMessage};

use crate::door::{Answers, WorkerDoor};
use crate::limits::{INCOMING_BYTES_MAX, OUTGOING_BYTES_MAX};

/// What is handed to HTTP/2 at once: two of its frames, as large as workers usually allow them.
const HANDED_BYTES: usize = 32 << 10;

/// Room of a buffer: what is handed on at once, and the usual event that goes beyond it.
const BUFFER_BYTES: usize = HANDED_BYTES + (8 << 10);

/// What a worker says is short, and comes seldom.
const HEARD_BYTES: usize = 1 << 10;

/// The gRPC service of a [`WorkerDoor`].
#[derive(Clone, Debug)]
pub struct WorkerService(pub(crate) WorkerDoor);

impl NamedService for WorkerService {
    const NAME: &'static str = <GatewayWorkerGroupServer<WorkerDoor> as NamedService>::NAME;
}

/// The method, as tonic calls it.
struct Method(WorkerDoor);

impl StreamingService<WorkerStreamClientMessage> for Method {
    type Response = WorkerStreamServerMessage;
    type ResponseStream = Answers;
    type Future = BoxFuture<Response<Answers>, Status>;

    fn call(&mut self, request: Request<Streaming<WorkerStreamClientMessage>>) -> Self::Future {
        let door = self.0.clone();
        Box::pin(async move { door.worker_stream(request).await })
    }
}

impl<B> Service<http::Request<B>> for WorkerService
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let door = self.0.clone();
        Box::pin(async move {
            let method = request.uri().path().strip_prefix('/').and_then(|path| path.strip_prefix(Self::NAME));
            if method != Some("/WorkerStream") {
                return Ok(Status::unimplemented("").into_http());
            }
            let mut grpc =
                Grpc::new(StreamCodec).max_decoding_message_size(INCOMING_BYTES_MAX).max_encoding_message_size(OUTGOING_BYTES_MAX);
            Ok(grpc.streaming(Method(door), request).await)
        })
    }
}

/// Protobuf with the buffers of a worker stream.
struct StreamCodec;

impl Codec for StreamCodec {
    type Encode = WorkerStreamServerMessage;
    type Decode = WorkerStreamClientMessage;
    type Encoder = Protobuf<WorkerStreamServerMessage>;
    type Decoder = Protobuf<WorkerStreamClientMessage>;

    fn encoder(&mut self) -> Self::Encoder {
        Protobuf { settings: BufferSettings::new(BUFFER_BYTES, HANDED_BYTES), of: PhantomData }
    }

    fn decoder(&mut self) -> Self::Decoder {
        Protobuf { settings: BufferSettings::new(HEARD_BYTES, HANDED_BYTES), of: PhantomData }
    }
}

/// One direction of it.
struct Protobuf<M> {
    settings: BufferSettings,
    of: PhantomData<M>,
}

impl<M: Message> Encoder for Protobuf<M> {
    type Item = M;
    type Error = Status;

    fn encode(&mut self, message: M, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.settings
    }
}

impl<M: Message + Default> Decoder for Protobuf<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        // What a generated server says of bytes that are no message.
        M::decode(buffer).map(Some).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.settings
    }
}
