//! What a lookup costs beside an empty gRPC call: one core that applies 20 000 events a second, one door, clients over loopback TCP.
//!
//! `cargo run --release -p trunkline-doors --example lookups [CALLS_PER_SECOND] [SECONDS]`
//!
//! Empty calls (the health service, whose answer is ready) and single gets of members take turns, at the same pace from the same clients, so that
//! whatever else the machine does hits both. The latency of a call counts from when it was due.
#![allow(clippy::print_stdout, clippy::disallowed_methods)] // A bench: it prints, and measures with the real clock.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use trunkline_cache::{Cache, CacheConfig};
use trunkline_delivery::{Filter, GroupId};
use trunkline_discord::{EventKind, Object, Op, ShardId};
use trunkline_doors::look::{LOOKS_AT_ONCE, LOOKS_FOR, LOOKS_QUEUED};
use trunkline_doors::{
    Access, BotEntry, Caches, CommandRefused, Directory, DoorOptions, Group, GroupToken, Groups, Look, Looker, Lookups, ServeOptions,
    WorkerDoor, serve,
};
use trunkline_etf::{Encoding, Limits, Value, transcode};
use trunkline_wire::pylon::discord::v1::cache::GetGuildMemberRequest;
use trunkline_wire::pylon::gateway::v1::service::gateway_cache_client::GatewayCacheClient;

const BOT: u64 = 7;
const SHARD: ShardId = ShardId { bot: BOT, index: 0, count: 1 };
const GUILDS: u64 = 200;
const MEMBERS: u64 = 300;
const EVENTS_PER_MS: usize = 20;
const CONNECTIONS: usize = 4;
const CALLERS: usize = 64;
const TURNS: u32 = 3;

fn guild_id(n: u64) -> u64 {
    (1_000 + n) << 22
}

fn user_id(n: u64) -> u64 {
    (5_000_000 + n) << 22
}

struct Core(Cache);

impl Caches for Core {
    fn shards(&self) -> Vec<ShardId> {
        vec![SHARD]
    }

    fn cache(&self, _: ShardId) -> Option<&Cache> {
        Some(&self.0)
    }

    fn cache_mut(&mut self, _: ShardId) -> Option<&mut Cache> {
        Some(&mut self.0)
    }

    fn command(&mut self, _: ShardId, _: Op, _: Object) -> Result<(), CommandRefused> {
        Err(CommandRefused::NotRunning)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rate: u32 = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let (looks, received) = mpsc::channel(LOOKS_QUEUED);
    let (filled, is_filled) = std_mpsc::channel();
    let applied = Arc::new(AtomicU64::new(0));
    let counted = applied.clone();
    std::thread::spawn(move || -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run_core(received, filled, counted));
        Ok(())
    });
    is_filled.recv()?;
    let edge = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let address = edge.block_on(open(looks))?;
    let clients = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(clients.block_on(Channel::from_shared(format!("http://{address}"))?.connect())?);
    }
    let (mut empty, mut gets) = (Vec::new(), Vec::new());
    let for_each = Duration::from_secs(seconds) / TURNS;
    let (began, events) = (Instant::now(), applied.load(Ordering::Relaxed));
    for _ in 0..TURNS {
        empty.extend(clients.block_on(paced(&channels, rate, for_each, |channel, _| async move {
            HealthClient::new(channel).check(HealthCheckRequest::default()).await.map(drop)
        })));
        gets.extend(clients.block_on(paced(&channels, rate, for_each, |channel, n| async move {
            let n = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mut request = Request::new(GetGuildMemberRequest { user_id: user_id((n >> 20) % MEMBERS) });
            let guild = guild_id((n >> 40) % GUILDS).to_string();
            request.metadata_mut().insert("x-pylon-guild-id", guild.parse().map_err(|_| Status::internal("digits"))?);
            let answer = GatewayCacheClient::new(channel).get_guild_member(request).await?.into_inner();
            answer.member.map(drop).ok_or_else(|| Status::internal("the member is not there"))
        })));
    }
    let events = (applied.load(Ordering::Relaxed) - events) as f64 / began.elapsed().as_secs_f64();
    println!("events applied meanwhile    {events:.0}/s");
    let (empty, gets) = (tell("empty gRPC call", &mut empty, for_each), tell("single get of a member", &mut gets, for_each));
    println!("p99, get / empty call       {:.2}  (at most 3)", gets / empty);
    Ok(())
}

/// The core's loop as the server has it: events, then a bounded number of looks.
async fn run_core(mut looks: mpsc::Receiver<Look>, filled: std_mpsc::Sender<()>, applied: Arc<AtomicU64>) {
    let etf = |d: serde_json::Value| {
        let text = d.to_string();
        let mut out = Vec::new();
        let value = Value::parse(Encoding::Json, text.as_bytes(), &Limits::GATEWAY).expect("JSON");
        transcode(value, Encoding::Etf, &mut out).expect("a term");
        Bytes::from(out)
    };
    let mut core = Core(Cache::new(CacheConfig::default(), trunkline_cache::Users::default()));
    let member = |n: u64| {
        let user = json!({"id": user_id(n).to_string(), "username": format!("user{n}"), "global_name": format!("User {n}"), "discriminator": "0", "avatar": "8342729096ea3675442027381ff50dfe", "public_flags": 64});
        json!({"user": user, "nick": null, "roles": [(n + 9).to_string()], "joined_at": "2021-03-04T05:06:07.123000+00:00", "deaf": false, "mute": false, "flags": 0, "pending": false})
    };
    for n in 0..GUILDS {
        let members: Vec<_> = (0..MEMBERS).map(member).collect();
        let body = etf(
            json!({"id": guild_id(n).to_string(), "name": format!("guild {n}"), "members": members, "member_count": MEMBERS, "channels": [], "roles": []}),
        );
        core.0.apply(EventKind::GuildCreate, Value::from_raw(Encoding::Etf, &body), &body);
    }
    let mut events = Vec::new();
    for n in 0..4_096_u64 {
        let (guild, user) = (guild_id(n % GUILDS).to_string(), n % MEMBERS);
        events.push(match n % 3 {
            0 => {
                let mut d = member(user);
                d["guild_id"] = json!(guild);
                d["nick"] = json!(format!("nick {n}"));
                (EventKind::GuildMemberUpdate, etf(d))
            }
            1 => (EventKind::PresenceUpdate, etf(json!({"guild_id": guild, "user": {"id": user_id(user).to_string()}, "status": "online", "activities": [{"name": format!("game {n}"), "type": 0}], "client_status": {"web": "online"}}))),
            _ => (EventKind::MessageCreate, etf(json!({"id": ((1 << 50) + n).to_string(), "channel_id": "77", "guild_id": guild, "content": "x".repeat(200), "author": member(user)["user"]}))),
        });
    }
    // Whoever waits for it lives as long as the bench.
    filled.send(()).ok();
    let mut next = events.iter().cycle();
    let mut every = tokio::time::interval(Duration::from_millis(1));
    loop {
        tokio::select! {
            biased;
            _ = every.tick() => {
                for (kind, body) in next.by_ref().take(EVENTS_PER_MS) {
                    core.0.apply(*kind, Value::from_raw(Encoding::Etf, body), body);
                }
                applied.fetch_add(EVENTS_PER_MS as u64, Ordering::Relaxed);
            }
            look = looks.recv() => {
                let Some(look) = look else { return };
                look(&mut core);
            }
        }
        let (began, mut looked) = (Instant::now(), 0);
        while looked < LOOKS_AT_ONCE
            && began.elapsed() < LOOKS_FOR
            && let Ok(look) = looks.try_recv()
        {
            look(&mut core);
            looked += 1;
        }
        if looked > 0 {
            tokio::task::yield_now().await;
        }
    }
}

async fn open(looks: mpsc::Sender<Look>) -> Result<std::net::SocketAddr, Box<dyn Error>> {
    let directory = Directory::new(1);
    directory.add_bot(BotEntry::new(BOT, "bench", 1, [0], CacheConfig::default()));
    directory.place(SHARD, 0);
    let groups = Groups::new(vec![Group { id: GroupId(0), name: "default".into(), token: GroupToken::new("bench") }])?;
    let access = Access::new(&groups, &[Filter::default()], true);
    let door = WorkerDoor::new(groups, Vec::new(), DoorOptions::default());
    let lookups = Lookups::new(Looker::new(directory, vec![looks]), access);
    let router = serve::routes(&door, Some(&lookups), axum::Router::new()).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, router, door.stats(), ServeOptions::default(), std::future::pending()));
    Ok(address)
}

/// Calls at a pace; answers each one's latency from when it was due, in microseconds.
async fn paced<F, C>(channels: &[Channel], rate: u32, how_long: Duration, call: F) -> Vec<u64>
where
    F: Fn(Channel, u64) -> C + Copy + Send + 'static,
    C: Future<Output = Result<(), Status>> + Send,
{
    let mut callers = tokio::task::JoinSet::new();
    let step = Duration::from_secs(1) * CALLERS as u32 / rate;
    let began = Instant::now();
    for caller in 0..CALLERS {
        let channel = channels[caller % channels.len()].clone();
        callers.spawn(async move {
            let mut latencies = Vec::new();
            let mut due = began + step * caller as u32 / CALLERS as u32;
            let mut n = caller as u64;
            while due < began + how_long {
                let late = Instant::now() >= due;
                tokio::time::sleep_until(due.into()).await;
                // A timer is up to a millisecond late by itself, which is no part of the call; being late with the one before is.
                let from = if late { due } else { Instant::now() };
                call(channel.clone(), n).await.expect("an answer");
                latencies.push(from.elapsed().as_micros() as u64);
                due += step;
                n += CALLERS as u64;
            }
            latencies
        });
    }
    callers.join_all().await.into_iter().flatten().collect()
}

fn tell(what: &str, latencies: &mut [u64], for_each: Duration) -> f64 {
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    let rate = latencies.len() as f64 / (for_each * TURNS).as_secs_f64();
    println!("{what:<27} {rate:.0}/s, p50 {} us, p99 {} us", at(0.5), at(0.99));
    at(0.99) as f64
}
