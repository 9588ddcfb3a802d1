//! Single gets through gRPC while events are applied: how many a second, and how long they take beside a call that does nothing.
//!
//! Both kinds of call come from the same clients over the same connections, in turns, so that whatever else the machine does meets both.
//! The client is what tonic generates, over one HTTP/2 connection with nothing in between: tonic's own channel, with its queue and its
//! task for reconnecting, takes as much of the two cores as the node does, and would be what is measured.
//!
//! Between them is a turn without any, so that the CPU time that calls take can be told from what the events take.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value as Json;
use tokio::net::TcpStream;
use tonic::Request;
use tonic::body::Body;
use tonic::codegen::http::{self, Uri};
use tonic::codegen::{BoxFuture, Service};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use trunkline_discord::Dice;
use trunkline_doors::client::{Received, WorkerClient, WorkerOptions};
use trunkline_wire::pylon::discord::v1::cache::GetGuildMemberRequest;
use trunkline_wire::pylon::discord::v1::event::event_envelope::EventData;
use trunkline_wire::pylon::gateway::v1::service::gateway_cache_client::GatewayCacheClient;
use trunkline_wire::trunkline::worker::v1::PayloadFormat;

use crate::process::{GROUP_TOKEN, Play, START, Stage, TICKS_PER_SECOND, http, number, ticks};
use crate::table::{Binding, Table};
use crate::{Form, RATE, Result};

/// Gets a second on two cores, client and simulated Discord on the same machine.
const GETS: f64 = 20_000.0;
/// A get's 99th percentile, at most so many times that of an empty call.
const P99_TIMES: f64 = 3.0;
const CONNECTIONS: usize = 2;
/// Calls under way at once.
const ASKERS: usize = 32;
const GUILDS: usize = 200;
const TURN: Duration = Duration::from_millis(1_000);

/// What some calls of one kind showed.
#[derive(Default)]
struct Calls {
    took_us: Vec<u32>,
    missing: u64,
    seconds: f64,
    /// Of CPU time, of the node and of this process.
    ticks: [u64; 2],
}

/// One HTTP/2 connection.
#[derive(Clone)]
struct Connection(SendRequest<Body>);

impl Connection {
    async fn open(address: SocketAddr) -> Result<Connection> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (requests, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket)).await?;
        // It ends with the bench; what goes wrong with it the calls are told.
        tokio::spawn(async move { connection.await.ok() });
        Ok(Connection(requests))
    }
}

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<std::result::Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// What is called in a turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Gets,
    Empty,
    Nothing,
}

/// Adds the rows of lookups.
pub(crate) fn measure(form: Form, trunkline: &Path, table: &mut Table) -> Result<()> {
    let play = Play { shards: 4, guilds: GUILDS as u64, members: 50, rate: RATE, group: "events = [\"GUILD_CREATE\"]" };
    let stage = Stage::open(trunkline, &play)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ([gets, empty, nothing], applied) = runtime.block_on(async {
        let members: Arc<[(u64, u64)]> = tokio::time::timeout(START, told(&stage)).await??.into();
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(Connection::open(stage.clients).await?);
        }
        let origin: Uri = format!("http://{}", stage.clients).parse()?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut all = [Calls::default(), Calls::default(), Calls::default()];
        let (began, sent) = (Instant::now(), number(&http(stage.discord, "GET /sim/report")?, "events_sent"));
        for turn in 0..form.seconds.min(10) {
            for (what, calls) in [What::Gets, What::Empty, What::Nothing].into_iter().zip(&mut all) {
                let before = [stage.node.ticks()?, ticks("self")?];
                turn_of(&connections, &origin, &members, what, turn, calls).await?;
                let after = [stage.node.ticks()?, ticks("self")?];
                (0..2).for_each(|of| calls.ticks[of] += after[of] - before[of]);
            }
        }
        let sent = number(&http(stage.discord, "GET /sim/report")?, "events_sent") - sent;
        Ok::<_, Box<dyn std::error::Error>>((all, sent as f64 / began.elapsed().as_secs_f64()))
    })?;
    if gets.missing > 0 {
        return Err(format!("{} of {} members were not found", gets.missing, gets.took_us.len()).into());
    }
    let per_second = |calls: &Calls| calls.took_us.len() as f64 / calls.seconds;
    let (gets_p99, empty_p99) = (p99(&gets), p99(&empty));
    table.row(&format!("lookups, {ASKERS} at once; meanwhile events/s"), &[format!("{applied:.0} /s")]);
    let rate = per_second(&gets);
    // Beyond what the same time without calls took.
    let cpu_us = |calls: &Calls, of: usize| {
        let others = nothing.ticks[of] as f64 * calls.seconds / nothing.seconds;
        (calls.ticks[of] as f64 - others).max(0.0) / TICKS_PER_SECOND * 1e6 / calls.took_us.len() as f64
    };
    let cpu = |of: usize| [format!("{:.1} us", cpu_us(&gets, of)), format!("{:.1} us", cpu_us(&empty, of))];
    table.target("  GatewayCache.GetGuildMember", &[format!("{rate:.0} /s")], &format!(">= {GETS} /s"), rate >= GETS, Binding::FullForm);
    table.row("  an empty call (health Check)", &[format!("{:.0} /s", per_second(&empty))]);
    table.row("  99th percentile of a get, and of an empty call", &[format!("{gets_p99} us"), format!("{empty_p99} us")]);
    table.row("  CPU of the node for a get, and for an empty call", &cpu(0));
    table.row("  CPU of the client for them", &cpu(1));
    let times = f64::from(gets_p99) / f64::from(empty_p99.max(1));
    table.target("  times an empty call's", &[format!("{times:.2}x")], &format!("<= {P99_TIMES}x"), times <= P99_TIMES, Binding::FullForm);
    Ok(())
}

fn p99(calls: &Calls) -> u32 {
    let mut took = calls.took_us.clone();
    took.sort_unstable();
    took.get(took.len().saturating_sub(1) * 99 / 100).copied().unwrap_or(0)
}

/// Guilds and their members, as a worker is told them.
async fn told(stage: &Stage) -> Result<Vec<(u64, u64)>> {
    let mut options = WorkerOptions::new(&stage.clients.to_string(), "bench", GROUP_TOKEN, "witness");
    options.payload = PayloadFormat::RawJson;
    let mut worker = WorkerClient::connect(options).await?;
    let (mut members, mut guilds) = (Vec::new(), 0);
    let id = |value: &Json| value.as_str().and_then(|text| text.parse::<u64>().ok());
    while guilds < GUILDS {
        let Some(received) = worker.next().await else { return Err("the stream ended".into()) };
        let Received::Event(event) = received else { continue };
        let Some(EventData::RawEvent(raw)) = event.event_data else { continue };
        let guild: Json = serde_json::from_slice(&raw.bytes)?;
        guilds += 1;
        let of = id(&guild["id"]).ok_or("a guild without an id")?;
        members.extend(guild["members"].as_array().into_iter().flatten().filter_map(|member| Some((of, id(&member["user"]["id"])?))));
    }
    Ok(members)
}

/// One turn of one kind of call.
async fn turn_of(
    connections: &[Connection],
    origin: &Uri,
    members: &Arc<[(u64, u64)]>,
    what: What,
    turn: u64,
    calls: &mut Calls,
) -> Result<()> {
    let began = Instant::now();
    if what == What::Nothing {
        tokio::time::sleep(TURN).await;
        calls.seconds += began.elapsed().as_secs_f64();
        return Ok(());
    }
    let askers: Vec<_> = (0..ASKERS)
        .map(|asker| {
            let (connection, origin, members) = (connections[asker % connections.len()].clone(), origin.clone(), members.clone());
            let mut dice = Dice::new(turn * 1_000 + asker as u64);
            tokio::spawn(async move {
                let mut cache = GatewayCacheClient::with_origin(connection.clone(), origin.clone());
                let mut health = HealthClient::with_origin(connection, origin);
                let mut calls = Calls::default();
                while began.elapsed() < TURN {
                    let asked = Instant::now();
                    if what == What::Gets {
                        let (guild, user) = members[usize::try_from(dice.below(members.len() as u64)).unwrap_or(0)];
                        let mut request = Request::new(GetGuildMemberRequest { user_id: user });
                        request.metadata_mut().insert("x-pylon-guild-id", guild.into());
                        let answer = cache.get_guild_member(request).await?.into_inner();
                        calls.missing += u64::from(answer.member.is_none());
                    } else {
                        health.check(HealthCheckRequest::default()).await?;
                    }
                    calls.took_us.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
                }
                Ok::<Calls, tonic::Status>(calls)
            })
        })
        .collect();
    for asker in askers {
        let some = asker.await??;
        calls.took_us.extend(some.took_us);
        calls.missing += some.missing;
    }
    calls.seconds += began.elapsed().as_secs_f64();
    Ok(())
}
