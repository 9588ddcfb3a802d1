//! Lookups over gRPC: Pylon's `GatewayCache` and `Gateway`, and `trunkline.cache.v1.Cache`, which has what Pylon's lack.
//!
//! A call says in its metadata which bot and guild it is about (`call`); the question runs on the core that owns the guild
//! ([`crate::look`]); what was found is converted here, off the core, and straight from the cache's bytes (`trunkline_wire::model`).
//!
//! What never happens here: no object is changed, nothing waits without a bound, and no answer grows with a guild: lists page (`page`).
//! Invariants: an object that is not there is an OK answer without it; errors are for calls that cannot be answered, and say what to do;
//! every answer says whether what it holds may be old.

mod call;
mod commands;
mod own;
mod page;
pub(crate) mod pylon_cache;
mod pylon_gateway;
pub(crate) mod reads;

use std::sync::Arc;

use tokio::sync::Semaphore;
use trunkline_wire::pylon::gateway::v1::service::gateway_cache_server::GatewayCacheServer;
use trunkline_wire::pylon::gateway::v1::service::gateway_server::GatewayServer;
use trunkline_wire::trunkline::cache::v1::cache_server::CacheServer;

use crate::access::Access;
use crate::limits::INCOMING_BYTES_MAX;
use crate::look::Looker;

pub use commands::{ACTIVITIES_MAX, ACTIVITY_NAME_CHARS_MAX};
pub use own::IDS_MAX;
pub use page::{ANSWER_BYTES_MAX, LIST_LIMIT_MAX};
pub use pylon_gateway::SCANS_AT_ONCE;
pub use reads::{NAME_BYTES_MAX, SCAN_GUILDS};

/// The three services. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lookups {
    looker: Looker,
    access: Access,
    scans: Arc<Semaphore>,
}

impl Lookups {
    /// Lookups in the caches that `looker` reaches, for whom `access` lets in.
    #[must_use]
    pub fn new(looker: Looker, access: Access) -> Lookups {
        Lookups { looker, access, scans: Arc::new(Semaphore::new(SCANS_AT_ONCE)) }
    }

    /// Pylon's lookups.
    #[must_use]
    pub fn pylon_cache(&self) -> GatewayCacheServer<Lookups> {
        GatewayCacheServer::new(self.clone()).max_decoding_message_size(INCOMING_BYTES_MAX)
    }

    /// Pylon's commands, and its questions over all guilds.
    #[must_use]
    pub fn pylon_gateway(&self) -> GatewayServer<Lookups> {
        GatewayServer::new(self.clone()).max_decoding_message_size(INCOMING_BYTES_MAX)
    }

    /// Our own.
    #[must_use]
    pub fn own(&self) -> CacheServer<Lookups> {
        CacheServer::new(self.clone()).max_decoding_message_size(INCOMING_BYTES_MAX)
    }
}
