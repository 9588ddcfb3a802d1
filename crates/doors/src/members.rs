//! Members that have to be asked for: our `trunkline.members.v1.Members`, and Tatsu's `gateway.Gateway` with its shards' management.
//!
//! Who asks Discord, and when, is decided elsewhere ([`Management`], which drives `trunkline_cache::requests`); here are the calls in and
//! the chunks out.
//!
//! Limits: a call's chunks wait in a channel of [`CHUNKS_QUEUED`]; a caller that reads too slowly for it loses its stream with
//! `RESOURCE_EXHAUSTED`, never the others theirs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};
use trunkline_cache::requests::{Progress, Refusal, Wanted};
use trunkline_discord::{Encoding, Event, Intents, ShardId};
use trunkline_etf::packed::edit;
use trunkline_etf::{Value, transcode};
use trunkline_wire::gateway as tatsu;
use trunkline_wire::model;
use trunkline_wire::trunkline::event::v1::{Encoding as RawEncoding, RawEvent};
use trunkline_wire::trunkline::members::v1 as own;

use crate::look::BotEntry;
use crate::lookups::{Lookups, NAME_BYTES_MAX};

/// Chunks that may wait for a caller: 64 000 members.
pub const CHUNKS_QUEUED: usize = 64;

/// The longest nonce of a call.
pub const NONCE_BYTES_MAX: usize = 128;

/// Ids that one call may name.
pub const IDS_MAX: usize = 10_000;

/// A request for members.
#[derive(Clone, Debug)]
pub struct MemberRequest {
    /// The bot.
    pub bot: u64,
    /// The guild.
    pub guild: u64,
    /// Which members.
    pub wanted: Wanted,
    /// With presences.
    pub presences: bool,
}

/// What a request for members gets.
#[derive(Clone, Debug)]
pub enum Told {
    /// A GUILD_MEMBERS_CHUNK, which is in the cache already.
    Chunk {
        /// The event.
        event: Arc<Event>,
        /// The users that were asked for, ascending, where others asked by the same request: only they are told. None where all are.
        users: Option<Arc<[u64]>>,
    },
    /// All has come, or why not.
    Done(Result<u64, String>),
    /// Chunks came faster than they were taken: the last place of the channel says so.
    TooSlow,
}

/// How a shard stands, in Tatsu's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardStanding {
    /// Its index.
    pub shard: u32,
    /// Its status.
    pub status: tatsu::ShardStatus,
    /// Events of the last second.
    pub event_rate: u32,
}

/// An answer on its way.
pub type Soon<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who asks Discord for members, and knows the shards.
pub trait Management: Send + Sync + 'static {
    /// Asks for members; the last thing told is [`Told::Done`].
    ///
    /// # Errors
    /// Why it cannot be asked.
    fn request(&self, request: MemberRequest) -> Soon<'_, Result<mpsc::Receiver<Told>, String>>;

    /// How far the fetching of whole guilds is; none for a bot that is not up.
    fn progress(&self, bot: u64) -> Soon<'_, Option<Progress>>;

    /// The bot's shards of this process.
    fn shards(&self, bot: u64) -> Soon<'_, Vec<ShardStanding>>;

    /// Has a shard connect anew and resume; false when there is no such shard here.
    fn restart(&self, shard: ShardId) -> Soon<'_, bool>;
}

/// The two services. Cheap to clone.
#[derive(Clone)]
pub struct MemberCalls {
    lookups: Lookups,
    source: Arc<dyn Management>,
    version: Arc<str>,
}

impl MemberCalls {
    /// Calls that come with the same metadata and tokens as lookups.
    #[must_use]
    pub fn new(lookups: Lookups, source: Arc<dyn Management>, version: &str) -> MemberCalls {
        MemberCalls { lookups, source, version: version.into() }
    }

    /// The routes of both services.
    pub fn routes(&self) -> Router {
        Router::new()
            .route_service("/gateway.Gateway/{*rest}", tatsu::gateway_server::GatewayServer::new(self.clone()))
            .route_service("/trunkline.members.v1.Members/{*rest}", own::members_server::MembersServer::new(self.clone()))
    }

    /// The shard with an index, of the only bot or the one in the metadata.
    fn shard<T>(&self, request: &Request<T>, index: i32) -> Result<ShardId, Status> {
        let call = self.lookups.bot_call(request)?;
        call.whole_bot()?;
        let known = u32::try_from(index).ok().filter(|index| call.bot.shards.contains_key(index));
        let index = known.ok_or_else(|| Status::not_found(format!("shard {index} of bot {} is not in this process", call.bot.id)))?;
        Ok(call.bot.shard(index))
    }
}

#[tonic::async_trait]
impl tatsu::gateway_server::Gateway for MemberCalls {
    async fn version(&self, request: Request<tatsu::EmptyRequest>) -> Result<Response<tatsu::VersionResponse>, Status> {
        self.lookups.scope_of(request.metadata())?;
        Ok(Response::new(tatsu::VersionResponse { version: self.version.to_string() }))
    }

    async fn request_guild_members(
        &self,
        request: Request<tatsu::RequestGuildMembersRequest>,
    ) -> Result<Response<tatsu::EmptyResponse>, Status> {
        let shard = self.shard(&request, request.get_ref().shard)?;
        let guild = u64::try_from(request.get_ref().guild_id).ok().filter(|guild| *guild > 0);
        let guild = guild.ok_or_else(|| Status::invalid_argument("guild_id is not an id: it must be a number above 0"))?;
        if !shard.owns(guild) {
            return Err(Status::invalid_argument(format!("guild {guild} is not on shard {}", shard.index)));
        }
        whole_may_be_asked(&self.lookups.bot_call(&request)?.bot, &Wanted::All)?;
        let asked = MemberRequest { bot: shard.bot, guild, wanted: Wanted::All, presences: false };
        // Nobody waits for the chunks: they come into the cache.
        let mut told = self.source.request(asked).await.map_err(Status::unavailable)?;
        tokio::spawn(async move { while told.recv().await.is_some() {} });
        Ok(Response::new(tatsu::EmptyResponse {}))
    }

    async fn restart_shard(&self, request: Request<tatsu::RestartShardRequest>) -> Result<Response<tatsu::EmptyResponse>, Status> {
        let shard = self.shard(&request, request.get_ref().shard)?;
        if self.source.restart(shard).await {
            return Ok(Response::new(tatsu::EmptyResponse {}));
        }
        Err(Status::not_found(format!("shard {} of bot {} is not in this process", shard.index, shard.bot)))
    }

    async fn stats(&self, request: Request<tatsu::EmptyRequest>) -> Result<Response<tatsu::StatsResponse>, Status> {
        let call = self.lookups.bot_call(&request)?;
        call.whole_bot()?;
        let shards = self.source.shards(call.bot.id).await;
        let stats = shards.into_iter().map(|shard| tatsu::Stat {
            shard: i32::try_from(shard.shard).unwrap_or(i32::MAX),
            status: shard.status.into(),
            event_rate: i32::try_from(shard.event_rate).unwrap_or(i32::MAX),
        });
        Ok(Response::new(tatsu::StatsResponse { stats: stats.collect() }))
    }
}

#[tonic::async_trait]
impl own::members_server::Members for MemberCalls {
    type RequestGuildMembersStream = Chunks;

    async fn request_guild_members(&self, request: Request<own::RequestGuildMembersRequest>) -> Result<Response<Chunks>, Status> {
        let call = self.lookups.guild_call(&request)?;
        let (bot, guild) = (call.bot.id, call.guild);
        let asked = request.into_inner();
        if asked.nonce.len() > NONCE_BYTES_MAX {
            return Err(Status::invalid_argument(format!("the nonce is longer than {NONCE_BYTES_MAX} bytes")));
        }
        let wanted = wanted(&asked)?;
        whole_may_be_asked(&call.bot, &wanted)?;
        let raw = match RawEncoding::try_from(asked.raw) {
            Ok(RawEncoding::Unspecified) => None,
            Ok(raw) => Some(raw),
            Err(_) => return Err(Status::invalid_argument("raw is no encoding that there is")),
        };
        // Discord does not answer about a guild that the bot is not in, or that has an outage. Where its shard has been told nothing yet, the call
        // waits for it as ever; a bot that is not told which guilds it joins may be in it.
        match call.stands().await {
            Ok((false, _)) if call.bot.intents.contains(Intents::GUILDS) => {
                return Err(Status::not_found(format!("bot {bot} is not in guild {guild}")));
            }
            Ok((true, true)) => return Err(Status::unavailable(Refusal::Outage.to_string())),
            _ => {}
        }
        let request = MemberRequest { bot, guild, wanted, presences: asked.presences };
        let told = self.source.request(request).await.map_err(Status::unavailable)?;
        Ok(Response::new(Chunks { told, nonce: asked.nonce, raw, over: false }))
    }

    async fn get_progress(&self, request: Request<own::GetProgressRequest>) -> Result<Response<own::GetProgressResponse>, Status> {
        let call = self.lookups.bot_call(&request)?;
        call.whole_bot()?;
        let progress = self.source.progress(call.bot.id).await.unwrap_or_default();
        Ok(Response::new(own::GetProgressResponse {
            guilds: progress.guilds,
            guilds_done: progress.guilds_done,
            members: progress.members,
            members_come: progress.members_come,
            waiting: progress.waiting,
            under_way: progress.under_way,
            rate_limited: progress.rate_limited,
            left_ms: progress.left.map_or(0, |left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        }))
    }
}

/// Discord docs, Gateway Events: Request Guild Members: all of a guild are told to bots with the intent for members only.
fn whole_may_be_asked(bot: &BotEntry, wanted: &Wanted) -> Result<(), Status> {
    if *wanted == Wanted::All && !bot.intents.contains(Intents::GUILD_MEMBERS) {
        return Err(Status::failed_precondition(format!(
            "bot {} identifies without the guild_members intent, and Discord tells it all members of no guild; ask by query or user_ids, or add the intent",
            bot.id
        )));
    }
    Ok(())
}

fn wanted(asked: &own::RequestGuildMembersRequest) -> Result<Wanted, Status> {
    match (asked.query.is_empty(), asked.user_ids.is_empty()) {
        (true, true) => Ok(Wanted::All),
        (false, true) if asked.query.len() > NAME_BYTES_MAX => {
            Err(Status::invalid_argument(format!("the query is longer than {NAME_BYTES_MAX} bytes, and no name is")))
        }
        (false, true) if asked.limit > 100 => {
            Err(Status::invalid_argument("limit is over 100, the most that Discord answers a query with"))
        }
        (false, true) => Ok(Wanted::Query { text: asked.query.clone(), limit: if asked.limit == 0 { 100 } else { asked.limit } }),
        (true, false) if asked.user_ids.len() > IDS_MAX => {
            Err(Status::invalid_argument(format!("more than {IDS_MAX} user_ids in one call")))
        }
        (true, false) => Ok(Wanted::Ids(asked.user_ids.clone())),
        (false, false) => Err(Status::invalid_argument("query and user_ids exclude each other: give one of them")),
    }
}

/// A call's answer: chunks as they come.
pub struct Chunks {
    told: mpsc::Receiver<Told>,
    nonce: String,
    raw: Option<RawEncoding>,
    over: bool,
}

impl futures_util::Stream for Chunks {
    type Item = Result<own::GuildMembersChunk, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        let told = std::task::ready!(self.told.poll_recv(context));
        let item = match told {
            Some(Told::Chunk { event, users }) => Some(Ok(chunk(&self.nonce, self.raw, &event, users.as_deref()))),
            Some(Told::Done(Ok(_))) => None,
            Some(Told::Done(Err(why))) => Some(Err(Status::unavailable(why))),
            Some(Told::TooSlow) => Some(Err(Status::resource_exhausted("chunks came faster than this call read them; ask again"))),
            None => Some(Err(Status::unavailable("this process is stopping; ask again"))),
        };
        self.over = !matches!(item, Some(Ok(_)));
        Poll::Ready(item)
    }
}

/// `users`: those that are told, ascending; all where none are named.
fn chunk(nonce: &str, raw: Option<RawEncoding>, event: &Event, users: Option<&[u64]>) -> own::GuildMembersChunk {
    let d = event.value();
    let [members, index, count, not_found] = d.get_all(["members", "chunk_index", "chunk_count", "not_found"]);
    let number = |value: Option<Value<'_>>| value.and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
    let guild = event.routing.guild_id.unwrap_or(0);
    let told = |user: Option<u64>| users.is_none_or(|users| user.is_some_and(|user| users.binary_search(&user).is_ok()));
    let members = members.iter().flat_map(|list| list.items()).filter(|member| told(user_of(*member)));
    own::GuildMembersChunk {
        nonce: nonce.to_owned(),
        chunk_index: number(index),
        chunk_count: number(count),
        members: members.map(|member| model::member(member, guild)).collect(),
        not_found: not_found.iter().flat_map(|list| list.items()).filter_map(Value::as_id).filter(|user| told(Some(*user))).collect(),
        raw: raw.and_then(|wanted| raw_event(event, wanted, users.map(|_| told))),
    }
}

/// Whose member or presence it is.
fn user_of(object: Value<'_>) -> Option<u64> {
    object.get("user")?.get("id")?.as_id()
}

/// The payload; where `told` says so, without the users that somebody else has asked for.
fn raw_event(event: &Event, wanted: RawEncoding, told: Option<impl Fn(Option<u64>) -> bool>) -> Option<RawEvent> {
    let encoding = if wanted == RawEncoding::Etf { Encoding::Etf } else { Encoding::Json };
    let mut out = Vec::with_capacity(event.body.len());
    let bytes = match told {
        None if encoding == event.encoding => event.body.clone(),
        None => {
            transcode(event.value(), encoding, &mut out).ok()?;
            out.into()
        }
        Some(told) => {
            transcode(event.value(), Encoding::Packed, &mut out).ok()?;
            let mut narrowed = Vec::with_capacity(out.len());
            for list in ["members", "presences", "not_found"] {
                let keep = |one: Value<'_>| told(if list == "not_found" { one.as_id() } else { user_of(one) });
                narrowed.clear();
                // Nothing is written where nothing is left out.
                if edit::with_filtered(Value::from_raw(Encoding::Packed, &out), list, keep, &mut narrowed).ok()? > 0 {
                    std::mem::swap(&mut out, &mut narrowed);
                }
            }
            narrowed.clear();
            transcode(Value::from_raw(Encoding::Packed, &out), encoding, &mut narrowed).ok()?;
            narrowed.into()
        }
    };
    Some(RawEvent { name: event.name.as_str().to_owned(), encoding: wanted.into(), bytes })
}
