//! What one worker asked for when it identified.

use crate::pylon::gateway::v1::workergroup::WorkerIdentifyRequest;
use crate::trunkline::worker::v1::PayloadFormat;

/// The largest message a worker takes when it does not say otherwise, in bytes: gRPC's usual 4 MiB.
pub const MESSAGE_BYTES_DEFAULT: usize = 4 << 20;

/// The form in which raw payloads are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawWanted {
    /// Not at all.
    None,
    /// As JSON text.
    Json,
    /// As one ETF term without the version byte.
    Etf,
}

/// What one worker asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// It knows our additions to Pylon's contract. Without, an envelope is byte for byte one that Pylon could have
    /// sent, and an event that Pylon's envelope does not have is filtered out.
    pub extended: bool,
    /// Typed events are wanted where there are some.
    pub typed: bool,
    /// In which form raw payloads are wanted, beside the typed ones or alone. A worker that wants typed events and has
    /// our additions gets what has no typed form in JSON, also when this is [`RawWanted::None`].
    pub raw: RawWanted,
    /// Limit in bytes for the message on the stream that carries an event.
    pub max_bytes: usize,
}

impl Want {
    /// A worker that speaks Pylon's contract and no more.
    pub const PYLON: Want = Want { extended: false, typed: true, raw: RawWanted::None, max_bytes: MESSAGE_BYTES_DEFAULT };

    /// Reads what is wanted off an identify request. A payload format that we do not know counts as typed: it comes
    /// from a worker that is newer than this server, and typed events are what every worker can read.
    pub fn of(request: &WorkerIdentifyRequest) -> Want {
        let extended = request.extended || request.payload_format != 0 || request.max_message_bytes != 0 || request.filter.is_some();
        let (typed, raw) = match request.payload_format() {
            PayloadFormat::Unspecified | PayloadFormat::Typed => (true, RawWanted::None),
            PayloadFormat::RawJson => (false, RawWanted::Json),
            PayloadFormat::RawEtf => (false, RawWanted::Etf),
            PayloadFormat::TypedAndRawJson => (true, RawWanted::Json),
            PayloadFormat::TypedAndRawEtf => (true, RawWanted::Etf),
        };
        let max_bytes = match usize::try_from(request.max_message_bytes) {
            Ok(0) => MESSAGE_BYTES_DEFAULT,
            Ok(bytes) => bytes,
            Err(_) => usize::MAX,
        };
        Want { extended, typed, raw, max_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identify_without_our_fields_is_a_plain_pylon_worker() {
        let request = WorkerIdentifyRequest {
            auth_token: "t".into(),
            consumer_group: "g".into(),
            consumer_id: "c".into(),
            router_ticket: "r".into(),
            last_sequence: 7,
            ..WorkerIdentifyRequest::default()
        };
        assert_eq!(Want::of(&request), Want::PYLON);
    }

    #[test]
    fn any_of_our_fields_makes_a_worker_an_extended_one() {
        let format = WorkerIdentifyRequest { payload_format: PayloadFormat::RawEtf.into(), ..WorkerIdentifyRequest::default() };
        assert_eq!(Want::of(&format), Want { extended: true, typed: false, raw: RawWanted::Etf, ..Want::PYLON });
        let bytes = WorkerIdentifyRequest { max_message_bytes: 1 << 24, ..WorkerIdentifyRequest::default() };
        assert_eq!(Want::of(&bytes), Want { extended: true, max_bytes: 1 << 24, ..Want::PYLON });
        let filter = WorkerIdentifyRequest { filter: Some(Default::default()), ..WorkerIdentifyRequest::default() };
        assert!(Want::of(&filter).extended);
        let flag = WorkerIdentifyRequest { extended: true, ..WorkerIdentifyRequest::default() };
        assert_eq!(Want::of(&flag), Want { extended: true, ..Want::PYLON });
    }

    #[test]
    fn a_payload_format_from_the_future_is_read_as_typed() {
        let request = WorkerIdentifyRequest { payload_format: 77, ..WorkerIdentifyRequest::default() };
        assert_eq!(Want::of(&request), Want { extended: true, ..Want::PYLON });
    }
}
