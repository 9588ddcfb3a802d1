//! The first message of a stream: who is it, and may it come in.
//!
//! Identity is (group, worker id), proven by the group's token. Why an empty worker id is refused rather than replaced
//! by a random one: guilds are spread by worker id and wait for a worker that broke off, so an id that changes with
//! every connection would move every guild and cost the grace time each time, silently.

use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Status, Streaming};
use trunkline_delivery::{Filter, WorkerId};
use trunkline_wire::Want;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_client_message::Payload as FromWorker;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_closed::CloseReason;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_server_message::Payload as ToWorker;
use trunkline_wire::pylon::gateway::v1::workergroup::{
    WorkerIdentifyRequest, WorkerStreamClientMessage, WorkerStreamClosed, WorkerStreamServerMessage,
};
use trunkline_wire::trunkline::worker::v1::EventFilter;

use crate::door::{Chunk, Shared};
use crate::groups::is_name;
use crate::limits::{FILTER_ENTRIES_MAX, LAST_SEQUENCE_MAX, NAME_BYTES_MAX};

/// A worker that may come in.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Its group's place in [`crate::Groups::all`].
    pub(crate) group: usize,
    pub(crate) worker: WorkerId,
    pub(crate) want: Want,
    pub(crate) filter: Option<Filter>,
    pub(crate) ticket: String,
    pub(crate) last_sequence: u64,
}

/// Why a stream is not let in.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("no identify request within {0:?}; the first message of a worker stream is the identify request")]
    Late(std::time::Duration),
    #[error("the stream ended before it identified")]
    Ended,
    #[error("the first message is not an identify request; send that first")]
    NotIdentify,
    #[error("the first message cannot be read: {0}")]
    Unreadable(String),
    #[error("there is no such group; known groups are listed by `trunkline check`")]
    UnknownGroup,
    #[error("wrong token; the group's token is in the server's configuration, or in the file that it prints at its start")]
    WrongToken,
    #[error("the worker id (consumer_id) is empty; give each worker of the group its own lasting name")]
    NoWorkerId,
    #[error("the worker id (consumer_id) is not usable: 1 to {NAME_BYTES_MAX} bytes, all printable")]
    BadWorkerId,
    #[error("last_sequence {0} was never issued; send 0 when there is none")]
    LastSequence(u64),
    #[error("the filter has {0} entries, more than {FILTER_ENTRIES_MAX}; filter by group in the configuration instead")]
    FilterTooLong(usize),
}

/// Reads the identify request and judges it. None: the stream has been told why not, and is over.
pub(crate) async fn admit(
    shared: &Shared,
    peer: &str,
    incoming: &mut Streaming<WorkerStreamClientMessage>,
    out: &mpsc::Sender<Chunk>,
) -> Option<Admitted> {
    let wait = shared.options.timings.identify;
    let (request, refusal) = match timeout(wait, incoming.message()).await {
        Err(_) => (None, Refusal::Late(wait)),
        Ok(Ok(None)) => (None, Refusal::Ended),
        Ok(Err(status)) => (None, Refusal::Unreadable(status.message().to_owned())),
        Ok(Ok(Some(WorkerStreamClientMessage { payload: Some(FromWorker::IdentifyRequest(request)) }))) => match judge(shared, &request) {
            Ok(admitted) => return Some(admitted),
            Err(refusal) => (Some(request), refusal),
        },
        Ok(Ok(Some(_))) => (None, Refusal::NotIdentify),
    };
    let late = matches!(refusal, Refusal::Late(_));
    if late {
        shared.stats.late_identities.add(1)
    } else {
        shared.stats.refused_identities.add(1)
    };
    let group = request.as_ref().map_or("", |request| shorten(&request.consumer_group));
    let worker = request.as_ref().map_or("", |request| shorten(&request.consumer_id));
    tracing::warn!(group, worker, peer, "worker refused: {refusal}");
    if let Refusal::Unreadable(_) = refusal {
        // Not our protocol: the stream's own status says so best.
        out.try_send(Chunk::Failed(Status::invalid_argument(refusal.to_string()))).ok();
        return None;
    }
    let extended = request.as_ref().is_some_and(|request| Want::of(request).extended);
    let message = closed(CloseReason::InvalidIdentity, refusal.to_string(), extended);
    timeout(shared.options.timings.farewell, out.send(Chunk::Messages(vec![message]))).await.ok();
    None
}

fn judge(shared: &Shared, request: &WorkerIdentifyRequest) -> Result<Admitted, Refusal> {
    let group = shared.groups.place(&request.consumer_group).ok_or(Refusal::UnknownGroup)?;
    if !shared.groups.all()[group].token.matches(&request.auth_token) {
        return Err(Refusal::WrongToken);
    }
    if request.consumer_id.is_empty() {
        return Err(Refusal::NoWorkerId);
    }
    if !is_name(&request.consumer_id) {
        return Err(Refusal::BadWorkerId);
    }
    if request.last_sequence > LAST_SEQUENCE_MAX {
        return Err(Refusal::LastSequence(request.last_sequence));
    }
    let filter = request.filter.as_ref().map(filter).transpose()?;
    let want = Want::of(request);
    Ok(Admitted {
        group,
        worker: request.consumer_id.as_str().into(),
        want: Want { max_bytes: want.max_bytes.min(crate::limits::OUTGOING_BYTES_MAX), ..want },
        filter,
        ticket: request.router_ticket.clone(),
        last_sequence: request.last_sequence,
    })
}

fn filter(wanted: &EventFilter) -> Result<Filter, Refusal> {
    let entries = wanted.events.len() + wanted.exclude_events.len() + wanted.bots.len() + wanted.guilds.len();
    if entries > FILTER_ENTRIES_MAX {
        return Err(Refusal::FilterTooLong(entries));
    }
    let names = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    Ok(Filter {
        events: names(&wanted.events),
        exclude_events: names(&wanted.exclude_events),
        bots: wanted.bots.clone(),
        guilds: wanted.guilds.clone(),
    })
}

/// A good-bye. The words are one of our fields: only for those that know them.
pub(crate) fn closed(reason: CloseReason, words: String, extended: bool) -> WorkerStreamServerMessage {
    let message = if extended { words } else { String::new() };
    WorkerStreamServerMessage { payload: Some(ToWorker::StreamClosed(WorkerStreamClosed { reason: reason.into(), message })) }
}

/// A stranger's text for the log: at most a name's length.
fn shorten(text: &str) -> &str {
    let mut end = text.len().min(NAME_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
