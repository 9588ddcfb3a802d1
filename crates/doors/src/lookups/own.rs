//! `trunkline.cache.v1.Cache`: what Pylon's lookups lack, every object also as Discord sent it.

use bytes::Bytes;
use tonic::{Request, Response, Status};
use trunkline_cache::{Cache, Found, Kind};
use trunkline_discord::Encoding;
use trunkline_etf::{Value, transcode};
use trunkline_wire::model;
use trunkline_wire::trunkline::cache::v1::cache_server;
use trunkline_wire::trunkline::cache::v1::entry::Object;
use trunkline_wire::trunkline::cache::v1::where_is_guild_response::Place;
use trunkline_wire::trunkline::cache::v1::*;
use trunkline_wire::trunkline::event::v1::Encoding as WireEncoding;

use crate::look::LookError;
use crate::lookups::Lookups;
use crate::lookups::call::{BotCall, GuildCall, guild_of, refused};
use crate::lookups::page::{Page, limit_of, of_list};
use crate::lookups::reads::in_list;

/// Ids of one batch: as many as a list has elements.
pub const IDS_MAX: usize = crate::lookups::page::LIST_LIMIT_MAX;

type Answer<T> = Result<Response<T>, Status>;

/// One object of a kind and one page of them: a pair of methods for each.
macro_rules! kinds {
    ($($get:ident, $list:ident, $kind:expr;)*) => {
        #[tonic::async_trait]
        impl cache_server::Cache for Lookups {
            $(
                async fn $get(&self, request: Request<GetRequest>) -> Answer<GetResponse> {
                    self.get(request, $kind).await
                }

                async fn $list(&self, request: Request<ListRequest>) -> Answer<ListResponse> {
                    self.list(request, $kind).await
                }
            )*

            async fn get_message(&self, request: Request<GetRequest>) -> Answer<GetResponse> {
                self.message(request).await
            }

            async fn list_channel_messages(&self, request: Request<ListChannelMessagesRequest>) -> Answer<ListResponse> {
                self.messages(request).await
            }

            async fn get_guild_members(&self, request: Request<GetManyRequest>) -> Answer<ListResponse> {
                self.many(request, Kind::Member).await
            }

            async fn get_guild_channels(&self, request: Request<GetManyRequest>) -> Answer<ListResponse> {
                self.many(request, Kind::Channel).await
            }

            async fn get_guild_roles(&self, request: Request<GetManyRequest>) -> Answer<ListResponse> {
                self.many(request, Kind::Role).await
            }

            async fn get_users(&self, request: Request<GetManyRequest>) -> Answer<ListResponse> {
                self.many_users(request).await
            }

            async fn where_is_guild(&self, request: Request<WhereIsGuildRequest>) -> Answer<WhereIsGuildResponse> {
                self.where_is(request).await
            }

            async fn get_counts(&self, request: Request<GetCountsRequest>) -> Answer<GetCountsResponse> {
                self.counts(request).await
            }
        }
    };
}

kinds! {
    get_guild_thread, list_guild_threads, Kind::Thread;
    get_guild_sticker, list_guild_stickers, Kind::Stickers;
    get_guild_scheduled_event, list_guild_scheduled_events, Kind::ScheduledEvent;
    get_guild_stage_instance, list_guild_stage_instances, Kind::StageInstance;
    get_guild_sound, list_guild_sounds, Kind::Sound;
    get_guild_ban, list_guild_bans, Kind::Ban;
    get_guild_voice_channel, list_guild_voice_channels, Kind::VoiceChannel;
}

impl Lookups {
    async fn get(&self, request: Request<GetRequest>, kind: Kind) -> Answer<GetResponse> {
        let call = self.guild_call(&request)?;
        call.keeps(kind)?;
        let (id, raw) = (request.get_ref().id, Raw::of(request.get_ref().raw)?);
        let entry = if kind == Kind::Stickers {
            let found = call.look(|cache, guild| cache.one(Kind::Stickers, guild, 0)).await?;
            found.and_then(|found| Some(entry(kind, in_list(found.object.value(), id)?, &found, raw)))
        } else {
            let found = call.look(move |cache, guild| cache.one(kind, guild, id)).await?;
            found.map(|found| entry(kind, found.object.value(), &found, raw))
        };
        Ok(Response::new(GetResponse { entry }))
    }

    async fn list(&self, request: Request<ListRequest>, kind: Kind) -> Answer<ListResponse> {
        let call = self.guild_call(&request)?;
        call.keeps(kind)?;
        let (after, limit, raw) = (request.get_ref().after, limit_of(request.get_ref().limit), Raw::of(request.get_ref().raw)?);
        if kind == Kind::Stickers {
            let Some(found) = call.look(|cache, guild| cache.one(Kind::Stickers, guild, 0)).await? else {
                return Ok(Response::new(ListResponse::default()));
            };
            let items = of_list(found.object.value(), after, limit);
            return Ok(answer(Page::of(items, limit, |_| found.stale, |(_, item)| entry(kind, item, &found, raw))));
        }
        let found = call.look(move |cache, guild| cache.list(kind, guild, after, limit + 1)).await?;
        Ok(answer(page(kind, found, limit, raw)))
    }

    /// Direct messages come over shard 0, whose "guild" is none.
    fn message_call<T>(&self, request: &Request<T>) -> Result<GuildCall<'_>, Status> {
        let call = match guild_of(request.metadata())? {
            Some(_) => self.guild_call(request)?,
            None => {
                let call = self.bot_call(request)?;
                call.whole_bot()?;
                call.guild(0)?
            }
        };
        call.keeps(Kind::Message)?;
        Ok(call)
    }

    async fn message(&self, request: Request<GetRequest>) -> Answer<GetResponse> {
        let call = self.message_call(&request)?;
        let (id, raw) = (request.get_ref().id, Raw::of(request.get_ref().raw)?);
        let found = call.look(move |cache, guild| cache.message(id).filter(|found| found.guild_id == guild)).await?;
        Ok(Response::new(GetResponse { entry: found.map(|found| entry(Kind::Message, found.object.value(), &found, raw)) }))
    }

    async fn messages(&self, request: Request<ListChannelMessagesRequest>) -> Answer<ListResponse> {
        let call = self.message_call(&request)?;
        let wanted = request.get_ref();
        let (channel, limit, raw) = (wanted.channel_id, limit_of(wanted.limit), Raw::of(wanted.raw)?);
        let before = if wanted.before == 0 { u64::MAX } else { wanted.before };
        let found = call.look(move |cache, guild| {
            let mut found = cache.messages(channel, before, limit + 1);
            found.retain(|found| found.guild_id == guild);
            found
        });
        Ok(answer(page(Kind::Message, found.await?, limit, raw)))
    }

    async fn many(&self, request: Request<GetManyRequest>, kind: Kind) -> Answer<ListResponse> {
        let call = self.guild_call(&request)?;
        call.keeps(kind)?;
        let raw = Raw::of(request.get_ref().raw)?;
        let ids = ids(request.into_inner())?;
        let found = if kind == Kind::Member {
            call.members(&ids).await?.into_iter().flatten().collect()
        } else {
            call.look(move |cache, guild| ids.into_iter().filter_map(|id| in_guild(cache, kind, guild, id)).collect()).await?
        };
        Ok(answer(page(kind, found, IDS_MAX, raw)))
    }

    async fn many_users(&self, request: Request<GetManyRequest>) -> Answer<ListResponse> {
        let call = self.bot_call(&request)?;
        let raw = Raw::of(request.get_ref().raw)?;
        let found = self.users(&call, ids(request.into_inner())?).await?;
        Ok(answer(page(Kind::User, found.into_iter().flatten().collect(), IDS_MAX, raw)))
    }

    async fn where_is(&self, request: Request<WhereIsGuildRequest>) -> Answer<WhereIsGuildResponse> {
        let scope = self.scope_of(request.metadata())?;
        let guild = match (request.get_ref().guild_id, guild_of(request.metadata())?) {
            (0, Some(guild)) | (guild, None) if guild != 0 => guild,
            (guild, Some(named)) if guild == named => guild,
            (0, _) => return Err(Status::invalid_argument("guild_id is missing: which guild?")),
            _ => return Err(Status::invalid_argument("guild_id is not the guild of the call's metadata; keep one of them")),
        };
        let mut places = Vec::new();
        for (id, bot) in self.looker.directory().bots().iter().filter(|(id, _)| scope.allows_guild(**id, guild)) {
            let shard = bot.shard_of(guild);
            let known = match self.looker.on_shard(shard, move |cache| cache.guild_or_stub(guild)).await {
                Ok(known) => known,
                // Not known here, or not yet.
                Err(LookError::NoSuchShard { .. } | LookError::ShardAway { .. }) => None,
                Err(error) => return Err(refused(error)),
            };
            places.push(Place {
                bot_id: *id,
                bot_name: bot.name.to_string(),
                shard_id: shard.index,
                shard_count: shard.count,
                here: bot.shards.contains_key(&shard.index),
                known: known.is_some(),
                stale: known.is_some_and(|known| known.stale),
            });
        }
        Ok(Response::new(WhereIsGuildResponse { places }))
    }

    async fn counts(&self, request: Request<GetCountsRequest>) -> Answer<GetCountsResponse> {
        if guild_of(request.metadata())?.is_some() {
            let call = self.guild_call(&request)?;
            let ask = |cache: &mut Cache, guild| -> Vec<(Kind, usize)> {
                let each = |(kind, count)| (kind, if LISTS.contains(&kind) { cache.listed(kind, guild) } else { count });
                cache.counts(guild).map(each).filter(|(_, count)| *count > 0).collect()
            };
            let counts = call.look(ask).await?;
            let kinds = counts.into_iter().map(|(kind, count)| kind_count(kind, count as u64, 0)).collect();
            return Ok(Response::new(GetCountsResponse { kinds, shards: 1, bytes: 0 }));
        }
        let call: BotCall<'_> = self.bot_call(&request)?;
        call.whole_bot()?;
        let look = |cache: &mut Cache| {
            let mut sizes = Kind::ALL.map(|kind| (kind, cache.size(kind)));
            for (kind, size) in sizes.iter_mut().filter(|(kind, _)| LISTS.contains(kind)) {
                size.count = cache.guild_ids().map(|guild| cache.listed(*kind, guild) as u64).sum();
            }
            (sizes.map(|(_, size)| size), cache.bytes())
        };
        let shards = call.looker.on_all(call.bot.id, look).await.map_err(refused)?;
        let mut sums = Kind::ALL.map(|kind| kind_count(kind, 0, 0));
        let mut bytes = 0;
        for (sizes, all) in &shards {
            bytes += all;
            for (sum, size) in sums.iter_mut().zip(sizes) {
                sum.count += size.count;
                sum.bytes += size.bytes;
            }
        }
        let kinds = sums.into_iter().filter(|kind| kind.count > 0).collect();
        Ok(Response::new(GetCountsResponse { kinds, shards: u32::try_from(shards.len()).unwrap_or(u32::MAX), bytes }))
    }
}

/// Kinds of which a guild has one list: what it holds is counted.
const LISTS: [Kind; 2] = [Kind::Emojis, Kind::Stickers];

fn kind_count(kind: Kind, count: u64, bytes: u64) -> get_counts_response::Kind {
    get_counts_response::Kind { name: kind.as_str().to_owned(), count, bytes }
}

/// An object of a guild by its id; a thread is a channel.
fn in_guild(cache: &Cache, kind: Kind, guild: u64, id: u64) -> Option<Found> {
    match kind {
        Kind::Channel => cache.channel(id).filter(|found| found.guild_id == guild),
        kind => cache.one(kind, guild, id),
    }
}

/// The ids of a batch.
fn ids(request: GetManyRequest) -> Result<Vec<u64>, Status> {
    if request.ids.len() > IDS_MAX {
        return Err(Status::invalid_argument(format!("{} ids are too many: at most {IDS_MAX} a call", request.ids.len())));
    }
    Ok(request.ids)
}

fn page(kind: Kind, found: Vec<Found>, limit: usize, raw: Raw) -> Page<Entry> {
    Page::of(found, limit, |found| found.stale, |found| entry(kind, found.object.value(), &found, raw))
}

fn answer(page: Page<Entry>) -> Response<ListResponse> {
    Response::new(ListResponse { entries: page.items, more: page.more })
}

/// The encoding in which raw objects are asked for.
#[derive(Clone, Copy)]
struct Raw(Option<(Encoding, WireEncoding)>);

impl Raw {
    fn of(asked: i32) -> Result<Raw, Status> {
        Ok(Raw(match WireEncoding::try_from(asked) {
            Ok(WireEncoding::Unspecified) => None,
            Ok(WireEncoding::Json) => Some((Encoding::Json, WireEncoding::Json)),
            Ok(WireEncoding::Etf) => Some((Encoding::Etf, WireEncoding::Etf)),
            Err(_) => return Err(Status::invalid_argument(format!("raw {asked} is none of the known encodings"))),
        }))
    }

    fn object(self, value: Value<'_>) -> Option<RawObject> {
        let (encoding, wire) = self.0?;
        let mut bytes = Vec::new();
        // What lies in a cache was read whole when it came in, so it can be written.
        transcode(value, encoding, &mut bytes).ok()?;
        Some(RawObject { encoding: wire.into(), bytes: Bytes::from(bytes) })
    }
}

/// An object in all asked forms. `value` is the found object or a part of it.
fn entry(kind: Kind, value: Value<'_>, found: &Found, raw: Raw) -> Entry {
    let guild = found.guild_id;
    let object = match kind {
        Kind::Thread => Some(Object::Thread(model::thread(value, guild))),
        Kind::Stickers => Some(Object::Sticker(model::sticker(value, guild))),
        Kind::ScheduledEvent => Some(Object::ScheduledEvent(model::scheduled_event(value))),
        Kind::StageInstance => Some(Object::StageInstance(model::stage_instance(value))),
        Kind::Sound => Some(Object::Sound(model::sound(value, guild))),
        Kind::Ban => Some(Object::Ban(model::ban(value))),
        Kind::VoiceChannel => Some(Object::VoiceChannel(model::voice_channel(value, guild))),
        Kind::Message => Some(Object::Message(model::message(value))),
        Kind::Member => Some(Object::Member(model::member(value, guild))),
        Kind::Channel => Some(Object::Channel(model::channel(value, Some(guild)))),
        Kind::Role => Some(Object::Role(model::role(value, guild))),
        Kind::User => Some(Object::User(model::user(value))),
        _ => None,
    };
    let key = match kind {
        Kind::Member | Kind::Ban => value.get("user").and_then(|user| user.get("id")),
        Kind::Sound => value.get("sound_id"),
        _ => value.get("id"),
    };
    let guild_id = if kind == Kind::User { 0 } else { guild };
    Entry { id: key.and_then(Value::as_id).unwrap_or(0), guild_id, stale: found.stale, raw: raw.object(value), object }
}
