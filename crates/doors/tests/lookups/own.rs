//! `trunkline.cache.v1.Cache`: kinds that Pylon lacks, raw objects, batches, where a guild is, counts.

use serde_json::{Value as Json, json};
use tonic::{Code, Request};
use trunkline_discord::EventKind;
use trunkline_etf::{Encoding as Etf, Limits, Value};
use trunkline_wire::pylon::discord::v1::cache::{GetGuildRequest, ListGuildEmojisRequest};
use trunkline_wire::trunkline::cache::v1::entry::Object;
use trunkline_wire::trunkline::cache::v1::*;
use trunkline_wire::trunkline::event::v1::Encoding;

use crate::world::*;

fn get(id: u64) -> GetRequest {
    GetRequest { id, raw: Encoding::Json.into() }
}

fn list(after: u64, limit: u32) -> ListRequest {
    ListRequest { after, limit, raw: 0 }
}

fn raw(entry: &Entry) -> Json {
    let raw = entry.raw.as_ref().unwrap();
    assert_eq!(raw.encoding(), Encoding::Json);
    serde_json::from_slice(&raw.bytes).unwrap()
}

/// Calls a pair of methods: the one of that id, nothing for another id, and all in pages of one.
macro_rules! kind {
    ($world:expr, $get:ident, $list:ident, $ids:expr) => {{
        let mut own = $world.own().await;
        let ids: Vec<u64> = $ids;
        let mut found = Vec::new();
        for id in &ids {
            let entry = own.$get(of_guild(GUILD, get(*id))).await.unwrap().into_inner().entry.unwrap();
            assert_eq!((entry.id, entry.guild_id, entry.stale), (*id, GUILD, false));
            found.push(entry);
        }
        assert_eq!(own.$get(of_guild(GUILD, get(1))).await.unwrap().into_inner(), GetResponse::default());
        assert_eq!(own.$get(of_guild(GUILD_B, get(ids[0]))).await.unwrap().into_inner(), GetResponse::default());
        let (mut after, mut listed) = (0, Vec::new());
        loop {
            let page = own.$list(of_guild(GUILD, list(after, 1))).await.unwrap().into_inner();
            listed.extend(page.entries.iter().map(|entry| entry.id));
            assert!(page.entries.iter().all(|entry| entry.raw.is_none()), "nobody asked for it");
            after = *listed.last().unwrap();
            if !page.more {
                break;
            }
        }
        assert_eq!(listed, ids);
        found
    }};
}

#[tokio::test]
async fn threads_stickers_events_stages_and_sounds_are_found_and_listed() {
    let world = World::filled().await;
    let threads = kind!(world, get_guild_thread, list_guild_threads, (0..3).map(|n| GUILD + 700 + n).collect());
    assert!(matches!(&threads[1].object, Some(Object::Thread(thread)) if thread.name == "thread1" && thread.metadata.is_some()));
    let stickers = kind!(world, get_guild_sticker, list_guild_stickers, (0..3).map(|n| GUILD + 600 + n).collect());
    assert!(matches!(&stickers[2].object, Some(Object::Sticker(sticker)) if sticker.name == "sticker2" && sticker.guild_id == GUILD));
    let events = kind!(world, get_guild_scheduled_event, list_guild_scheduled_events, vec![GUILD + 810, GUILD + 811]);
    assert!(
        matches!(&events[0].object, Some(Object::ScheduledEvent(event)) if event.name == "event0" && event.location.as_deref() == Some("here"))
    );
    let stages = kind!(world, get_guild_stage_instance, list_guild_stage_instances, vec![GUILD + 800]);
    assert!(matches!(&stages[0].object, Some(Object::StageInstance(stage)) if stage.topic == "talk"));
    let sounds = kind!(world, get_guild_sound, list_guild_sounds, vec![GUILD + 820, GUILD + 821]);
    assert!(matches!(&sounds[1].object, Some(Object::Sound(sound)) if sound.name == "sound1"));
    assert_eq!(raw(&sounds[1])["volume"], json!(0.5));
}

#[tokio::test]
async fn bans_and_voice_channels_are_found_once_they_were_told() {
    let world = World::filled().await;
    world.tell(BOT, GUILD, EventKind::GuildBanAdd, json!({"guild_id": GUILD.to_string(), "user": user(77, "villain")})).await;
    let bans = kind!(world, get_guild_ban, list_guild_bans, vec![77]);
    assert!(matches!(&bans[0].object, Some(Object::Ban(ban)) if ban.user.as_ref().unwrap().username == "villain"));
    let voice = channel_id(GUILD, VOICE);
    let update = json!({"guild_id": GUILD.to_string(), "id": voice.to_string(), "status": "singing"});
    world.tell(BOT, GUILD, EventKind::VoiceChannelStatusUpdate, update).await;
    let statuses = kind!(world, get_guild_voice_channel, list_guild_voice_channels, vec![voice]);
    let Some(Object::VoiceChannel(status)) = &statuses[0].object else { panic!("{statuses:?}") };
    assert_eq!((status.channel_id, status.guild_id, status.status.as_deref()), (voice, GUILD, Some("singing")));
}

#[tokio::test]
async fn an_object_comes_raw_in_the_encoding_asked_for_with_fields_that_nobody_knows() {
    let world = World::filled().await;
    let mut own = world.own().await;
    let request = GetManyRequest { ids: vec![user_id(GUILD, 2)], raw: Encoding::Json.into() };
    let answer = own.get_guild_members(of_guild(GUILD, request.clone())).await.unwrap().into_inner();
    let member = raw(&answer.entries[0]);
    assert_eq!((&member["nick"], &member["user"]["new_field"]), (&json!("Nicky"), &json!({"kept": [1, "2"]})));
    let request = GetManyRequest { raw: Encoding::Etf.into(), ..request };
    let answer = own.get_guild_members(of_guild(GUILD, request.clone())).await.unwrap().into_inner();
    let etf = answer.entries[0].raw.as_ref().unwrap();
    let mut document = vec![trunkline_etf::ETF_VERSION];
    document.extend_from_slice(&etf.bytes);
    let value = Value::parse(Etf::Etf, &document, &Limits::GATEWAY).unwrap();
    assert_eq!((etf.encoding(), value.get("nick").unwrap().as_str().unwrap().into_owned()), (Encoding::Etf, "Nicky".to_owned()));
    let (code, text) = refusal(own.get_guild_members(of_guild(GUILD, GetManyRequest { raw: 9, ..request })).await);
    assert_eq!((code, text.as_str()), (Code::InvalidArgument, "raw 9 is none of the known encodings"));
}

#[tokio::test]
async fn batches_answer_in_the_order_asked_without_what_is_not_there() {
    let world = World::filled().await;
    let mut own = world.own().await;
    let many = |ids: Vec<u64>| GetManyRequest { ids, raw: 0 };
    let ids = |answer: ListResponse| answer.entries.iter().map(|entry| entry.id).collect::<Vec<_>>();
    let members = vec![user_id(GUILD, 5), 1, user_id(GUILD, 0)];
    let answer = own.get_guild_members(of_guild(GUILD, many(members.clone()))).await.unwrap().into_inner();
    assert_eq!(ids(answer), [members[0], members[2]]);
    let channels = vec![channel_id(GUILD, 3), channel_id(GUILD_B, 0), GUILD + 700, channel_id(GUILD, 1)];
    let answer = own.get_guild_channels(of_guild(GUILD, many(channels.clone()))).await.unwrap().into_inner();
    assert_eq!(ids(answer), [channels[0], channels[2], channels[3]]);
    let answer = own.get_guild_roles(of_guild(GUILD, many(vec![role_id(GUILD), 2, GUILD]))).await.unwrap().into_inner();
    assert_eq!(ids(answer), [role_id(GUILD), GUILD]);
    // Users of all shards, and the bot.
    let users = vec![user_id(GUILD_B, 1), SHARED_USER, 3, BOT, user_id(GUILD, 1)];
    let answer = own.get_users(many(users.clone())).await.unwrap().into_inner();
    assert!(answer.entries.iter().all(|entry| entry.guild_id == 0));
    assert_eq!(ids(answer), [users[0], users[1], users[3], users[4]]);
    let (code, text) = refusal(own.get_users(many(vec![1; 1_001])).await);
    assert_eq!((code, text.as_str()), (Code::InvalidArgument, "1001 ids are too many: at most 1000 a call"));
}

fn message(guild: Option<u64>, channel: u64, id: u64) -> Json {
    let mut message = json!({"id": id.to_string(), "channel_id": channel.to_string(), "content": format!("text {id}"), "author": user(9, "writer"),
        "timestamp": "2020-01-02T03:04:05.000000+00:00", "type": 0, "mentions": [], "attachments": [], "embeds": []});
    if let Some(guild) = guild {
        message["guild_id"] = json!(guild.to_string());
    }
    message
}

#[tokio::test]
async fn recent_messages_are_found_and_listed_newest_first() {
    let world = World::filled().await;
    let channel = channel_id(GUILD, 0);
    let id = |n: u64| (1 << 42) + n;
    for n in 0..10 {
        world.tell(BOT, GUILD, EventKind::MessageCreate, message(Some(GUILD), channel, id(n))).await;
    }
    let mut own = world.own().await;
    let entry = own.get_message(of_guild(GUILD, get(id(4)))).await.unwrap().into_inner().entry.unwrap();
    assert!(matches!(&entry.object, Some(Object::Message(message)) if message.content == format!("text {}", id(4))));
    assert_eq!(raw(&entry)["author"]["username"], json!("writer"));
    assert_eq!(own.get_message(of_guild(GUILD, get(id(40)))).await.unwrap().into_inner(), GetResponse::default());
    let (mut before, mut seen) = (0, Vec::new());
    loop {
        let request = ListChannelMessagesRequest { channel_id: channel, before, limit: 4, raw: 0 };
        let page = own.list_channel_messages(of_guild(GUILD, request)).await.unwrap().into_inner();
        seen.extend(page.entries.iter().map(|entry| entry.id));
        before = *seen.last().unwrap();
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, (0..10).rev().map(id).collect::<Vec<_>>());
    // A channel of another guild is none of this one.
    let request = ListChannelMessagesRequest { channel_id: channel, ..Default::default() };
    let page = own.list_channel_messages(of_guild(GUILD + (2 << 22), request)).await.unwrap().into_inner();
    assert_eq!(page, ListResponse::default());
}

#[tokio::test]
async fn direct_messages_are_asked_for_without_a_guild() {
    let world = World::filled().await;
    world.tell(BOT, 0, EventKind::MessageCreate, message(None, 31, 1 << 42)).await;
    let mut own = world.own().await;
    let entry = own.get_message(get(1 << 42)).await.unwrap().into_inner().entry.unwrap();
    assert_eq!((entry.id, entry.guild_id), (1 << 42, 0));
    let page = own.list_channel_messages(ListChannelMessagesRequest { channel_id: 31, ..Default::default() }).await.unwrap().into_inner();
    assert_eq!(page.entries.len(), 1);
}

#[tokio::test]
async fn where_a_guild_is_says_which_bots_hold_it_and_on_which_shard() {
    let world = World::with(vec![Bot::new(BOT), Bot { count: 4, here: vec![0, 1], ..Bot::new(OTHER_BOT) }], 2, true).await;
    world.tell(BOT, GUILD, EventKind::GuildCreate, guild(GUILD, "first", 1)).await;
    let mut own = world.own().await;
    let answer = own.where_is_guild(WhereIsGuildRequest { guild_id: GUILD }).await.unwrap().into_inner();
    let places: Vec<_> =
        answer.places.iter().map(|place| (place.bot_id, place.shard_id, place.shard_count, place.here, place.known)).collect();
    assert_eq!(places, [(BOT, 0, 2, true, true), (OTHER_BOT, 2, 4, false, false)]);
    let same = own.where_is_guild(of_guild(GUILD, WhereIsGuildRequest::default())).await.unwrap().into_inner();
    assert_eq!(same, answer);
    // One that Discord has named only is one that the bot is in, and says that there is no more to be had of it.
    world.tell(BOT, GUILD_B, EventKind::GuildCreate, serde_json::json!({"id": GUILD_B.to_string(), "unavailable": true})).await;
    let named = own.where_is_guild(WhereIsGuildRequest { guild_id: GUILD_B }).await.unwrap().into_inner();
    assert_eq!(named.places.iter().map(|place| (place.known, place.stale)).collect::<Vec<_>>(), [(true, true), (false, false)]);
    let answer = world
        .cache()
        .await
        .get_guild(with(GetGuildRequest {}, &[("x-pylon-guild-id", &GUILD_B.to_string()), ("x-pylon-bot-id", &BOT.to_string())]))
        .await
        .unwrap()
        .into_inner();
    let stub = answer.guild.unwrap();
    assert_eq!((stub.id, stub.unavailable, answer.stale), (GUILD_B, true, true));
    let (code, text) = refusal(own.where_is_guild(WhereIsGuildRequest::default()).await);
    assert_eq!((code, text.as_str()), (Code::InvalidArgument, "guild_id is missing: which guild?"));
    let (code, _) = refusal(own.where_is_guild(of_guild(GUILD, WhereIsGuildRequest { guild_id: GUILD_B })).await);
    assert_eq!(code, Code::InvalidArgument);
    let limited = with(WhereIsGuildRequest { guild_id: GUILD_B }, &[("authorization", "Bearer poppy")]);
    assert_eq!(own.where_is_guild(limited).await.unwrap().into_inner(), WhereIsGuildResponse::default());
}

#[tokio::test]
async fn counts_are_of_a_guild_or_of_the_whole_bot() {
    let world = World::filled().await;
    let mut own = world.own().await;
    let count = |answer: &GetCountsResponse, name: &str| answer.kinds.iter().find(|kind| kind.name == name).map_or(0, |kind| kind.count);
    let one = own.get_counts(of_guild(GUILD, GetCountsRequest {})).await.unwrap().into_inner();
    assert_eq!((count(&one, "member"), count(&one, "channel"), count(&one, "thread"), one.shards), (41, 12, 3, 1));
    let all = own.get_counts(Request::new(GetCountsRequest {})).await.unwrap().into_inner();
    assert_eq!((count(&all, "guild"), count(&all, "member"), count(&all, "channel"), all.shards), (2, 45, 24, 2));
    assert!(all.bytes > 0 && all.kinds.iter().all(|kind| kind.bytes > 0), "{all:?}");
    // Emojis and stickers are kept as a list a guild; what is in the lists is counted.
    let emojis =
        world.cache().await.list_guild_emojis(of_guild(GUILD, ListGuildEmojisRequest::default())).await.unwrap().into_inner().emojis;
    let stickers = own.list_guild_stickers(of_guild(GUILD, list(0, 0))).await.unwrap().into_inner().entries;
    assert_eq!((count(&one, "emojis"), count(&one, "stickers")), (emojis.len() as u64, stickers.len() as u64));
    assert!(emojis.len() > 1 && count(&all, "emojis") >= count(&one, "emojis"), "{all:?}");
}
