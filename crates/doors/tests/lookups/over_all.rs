//! Pylon's `Gateway`: questions over all guilds, statistics, and commands to Discord.

use prost_types::Timestamp;
use serde_json::json;
use tonic::{Code, Request};
use trunkline_discord::{EventKind, Op, ShardId, shard_of};
use trunkline_wire::pylon::discord::v1::cache::GetUserRequest;
use trunkline_wire::pylon::discord::v1::gateway::update_status_request::ActivityData;
use trunkline_wire::pylon::discord::v1::gateway::*;
use trunkline_wire::pylon::discord::v1::model::presence_data::OnlineStatus;
use trunkline_wire::pylon::discord::v1::model::presence_data::presence_activity_data::ActivityType;

use crate::world::*;

fn shard(index: u32) -> ShardId {
    ShardId { bot: BOT, index, count: 2 }
}

#[tokio::test]
async fn a_user_is_found_wherever_it_is_a_member_and_the_bot_itself_always() {
    let world = World::filled().await;
    let mut gateway = world.gateway().await;
    for (id, name) in [(user_id(GUILD, 3), "member3"), (user_id(GUILD_B, 1), "member1"), (SHARED_USER, "shared"), (BOT, "the bot")] {
        let user = gateway.find_user(FindUserRequest { user_id: id }).await.unwrap().into_inner().user.unwrap();
        assert_eq!((user.id, user.username.as_str()), (id, name));
        let user = world.cache().await.get_user(GetUserRequest { user_id: id }).await.unwrap().into_inner().user.unwrap();
        assert_eq!((user.id, user.username.as_str()), (id, name));
    }
    assert_eq!(gateway.find_user(FindUserRequest { user_id: 4 }).await.unwrap().into_inner(), FindUserResponse::default());
}

#[tokio::test]
async fn the_bot_itself_is_as_the_shard_tells_that_hears_of_its_changes() {
    for changed in [0, 1] {
        let world = World::filled().await;
        // Over shard 1 alone it is never told: there it is from that shard's READY, which may be days old.
        let d = json!({"id": BOT.to_string(), "username": "renamed"});
        let guild = [GUILD, GUILD_B][changed as usize];
        world.tell(BOT, guild, EventKind::UserUpdate, d).await;
        let user = world.gateway().await.find_user(FindUserRequest { user_id: BOT }).await.unwrap().into_inner().user.unwrap();
        assert_eq!(user.username, if changed == 0 { "renamed" } else { "the bot" });
        let (status, body) = world.http(&format!("users/{BOT}")).await;
        assert!(status.as_u16() == 200 && body.contains(&user.username), "{status} {body}");
    }
}

#[tokio::test]
async fn a_user_is_only_as_old_as_the_newest_guild_that_tells_of_it() {
    let world = World::filled().await;
    world.looker.on_guild(BOT, GUILD, |cache| cache.ready(&[GUILD])).await.unwrap();
    let mut gateway = world.gateway().await;
    for (user_id, stale) in [(SHARED_USER, false), (user_id(GUILD, 1), true), (user_id(GUILD_B, 1), false), (BOT, false)] {
        let answer = gateway.find_user(FindUserRequest { user_id }).await.unwrap().into_inner();
        assert_eq!((answer.user.map(|user| user.id), answer.stale), (Some(user_id), stale));
    }
    world.looker.on_guild(BOT, GUILD_B, |cache| cache.ready(&[GUILD_B])).await.unwrap();
    assert!(gateway.find_user(FindUserRequest { user_id: SHARED_USER }).await.unwrap().into_inner().stale);
}

#[tokio::test]
async fn mutual_guilds_come_from_all_shards_in_pages() {
    let world = World::filled().await;
    let mut gateway = world.gateway().await;
    let request = GetUserMutualGuildsRequest { user_id: SHARED_USER, ..Default::default() };
    let answer = gateway.find_user_mutual_guilds(request).await.unwrap().into_inner();
    assert_eq!(answer.guilds.iter().map(|guild| guild.name.as_str()).collect::<Vec<_>>(), ["first", "second"]);
    assert!(!answer.more);
    let answer = gateway.find_user_mutual_guilds(GetUserMutualGuildsRequest { limit: 1, ..request }).await.unwrap().into_inner();
    assert_eq!((answer.guilds[0].id, answer.guilds.len(), answer.more), (GUILD, 1, true));
    let answer = gateway.find_user_mutual_guilds(GetUserMutualGuildsRequest { after: GUILD, ..request }).await.unwrap().into_inner();
    assert_eq!((answer.guilds[0].id, answer.guilds.len(), answer.more), (GUILD_B, 1, false));
    let request = GetUserMutualGuildsRequest { user_id: 4, ..Default::default() };
    assert_eq!(gateway.find_user_mutual_guilds(request).await.unwrap().into_inner(), GetUserMutualGuildsResponse::default());
}

#[tokio::test]
async fn an_emoji_is_found_by_its_id_alone() {
    let world = World::filled().await;
    // More guilds than one look reads.
    for n in 10..100 {
        world.tell(BOT, n << 22, EventKind::GuildCreate, guild(n << 22, "more", 0)).await;
    }
    let mut gateway = world.gateway().await;
    for (guild, n) in [(GUILD, 1), (GUILD_B, 4), (99 << 22, 0)] {
        let request = FindEmojiRequest { emoji_id: guild + 500 + n };
        let emoji = gateway.find_emoji(request).await.unwrap().into_inner().emoji.unwrap();
        assert_eq!((emoji.guild_id, emoji.name), (guild, format!("emoji{n}")));
    }
    assert_eq!(gateway.find_emoji(FindEmojiRequest { emoji_id: 9 }).await.unwrap().into_inner(), FindEmojiResponse::default());
}

#[tokio::test]
async fn statistics_are_sums_over_the_bots_shards() {
    let world = World::filled().await;
    let state = json!({"guild_id": GUILD.to_string(), "user_id": BOT.to_string(), "channel_id": channel_id(GUILD, VOICE).to_string(), "session_id": "x",
        "deaf": false, "mute": false, "self_deaf": false, "self_mute": false, "self_video": false, "suppress": false});
    world.tell(BOT, GUILD, EventKind::VoiceStateUpdate, state).await;
    let stats = world.gateway().await.get_stats(GetStatsRequest {}).await.unwrap().into_inner();
    // The shared user is known to both cores.
    let want = GetStatsResponse { guild_count: 2, user_count: 41 + 4, member_count: 41 + 4, connected_channels: 1, shard_count: 2 };
    assert_eq!(stats, want);
}

#[tokio::test]
async fn guilds_are_counted_alike_over_grpc_and_http_and_awaited_or_unavailable_ones_are_guilds() {
    let world = World::new().await;
    let mut gateway = world.gateway().await;
    let named = [GUILD, GUILD_B, GUILD + (2 << 22)];
    let steps: [(&str, u64); 7] = [
        ("nothing", 0),
        ("READY has named them", 3),
        ("two are told", 3),
        ("one has an outage", 3),
        ("so has one that was never told", 3),
        ("the bot is removed from one", 2),
        ("a new session names one guild of a shard alone", 1),
    ];
    for (step, (what, count)) in steps.into_iter().enumerate() {
        match step {
            0 => {}
            1 => {
                for index in 0..2 {
                    let known: Vec<u64> = named.into_iter().filter(|guild| shard_of(*guild, 2) == index).collect();
                    world.looker.on_shard(shard(index), move |cache| cache.ready(&known)).await.unwrap();
                }
            }
            2 => {
                for told in [GUILD, GUILD_B] {
                    world.tell(BOT, told, EventKind::GuildCreate, guild(told, "told", 3)).await;
                }
            }
            3 => world.tell(BOT, GUILD, EventKind::GuildDelete, json!({ "id": GUILD.to_string(), "unavailable": true })).await,
            4 => world.tell(BOT, named[2], EventKind::GuildDelete, json!({ "id": named[2].to_string(), "unavailable": true })).await,
            5 => world.tell(BOT, GUILD_B, EventKind::GuildDelete, json!({ "id": GUILD_B.to_string() })).await,
            _ => world.looker.on_guild(BOT, GUILD, |cache| cache.ready(&[GUILD])).await.unwrap(),
        }
        let stats = gateway.get_stats(GetStatsRequest {}).await.unwrap().into_inner();
        assert_eq!((stats.guild_count, world.http("guilds_count").await.1), (count, count.to_string()), "{what}");
    }
}

#[tokio::test]
async fn a_status_goes_to_all_shards_or_to_the_one_asked() {
    let world = World::filled().await;
    let mut gateway = world.gateway().await;
    let game = ActivityData { name: "a game".into(), r#type: ActivityType::Default.into(), ..Default::default() };
    let own = ActivityData { name: "thinking".into(), r#type: ActivityType::CustomStatus.into(), ..Default::default() };
    let request = UpdateStatusRequest {
        shard_id: None,
        since: Some(Timestamp { seconds: 1_600_000_000, nanos: 5_000_000 }),
        activities: vec![game, own],
        status: OnlineStatus::Idle.into(),
        afk: true,
    };
    gateway.update_status(request.clone()).await.unwrap();
    let want = json!({"since": 1_600_000_000_005_u64, "activities": [{"name": "a game", "type": 0}, {"name": "thinking", "type": 4, "state": "thinking"}], "status": "idle", "afk": true});
    let sent = std::mem::take(&mut *world.sent.lock().unwrap());
    assert_eq!(sent.len(), 2);
    for index in 0..2 {
        assert!(sent.contains(&(shard(index), Op::PresenceUpdate, want.clone())), "{sent:?}");
    }
    gateway.update_status(UpdateStatusRequest { shard_id: Some(1), ..Default::default() }).await.unwrap();
    let want = json!({"since": null, "activities": [], "status": "online", "afk": false});
    assert_eq!(*world.sent.lock().unwrap(), [(shard(1), Op::PresenceUpdate, want)]);
}

#[tokio::test]
async fn a_status_that_discord_would_refuse_is_refused_here() {
    let world = World::filled().await;
    let mut gateway = world.gateway().await;
    let one = |name: &str, kind: i32| ActivityData { name: name.into(), r#type: kind, ..Default::default() };
    let with = |activities| UpdateStatusRequest { activities, ..Default::default() };
    let long = "x".repeat(129);
    for (request, want) in [
        (with(vec![one("", 1)]), "activities[0]: it has no name"),
        (with(vec![one("a", 1), one("b", 0)]), "activities[1]: type 0 is none of the known ones: set one"),
        (with(vec![one("a", 70)]), "activities[0]: type 70 is none of the known ones: set one"),
        (with(vec![one(&long, 1)]), "activities[0]: its name is longer than 128 characters"),
        (with(vec![one("a", 1); 9]), "9 activities are too many: at most 8"),
        (UpdateStatusRequest { status: 50, ..Default::default() }, "status 50 is none of the known ones"),
        (UpdateStatusRequest { since: Some(Timestamp { seconds: -1, nanos: 0 }), ..Default::default() }, "since is no time after 1970"),
        (
            UpdateStatusRequest { since: Some(Timestamp { seconds: i64::MAX, nanos: 0 }), ..Default::default() },
            "since is no time after 1970",
        ),
        (UpdateStatusRequest { shard_id: Some(2), ..Default::default() }, "shard_id 2: bot 7000 has shards 0 to 1"),
    ] {
        let (code, text) = refusal(gateway.update_status(request).await);
        assert_eq!((code, text.as_str()), (Code::InvalidArgument, want));
    }
    assert!(world.sent.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_voice_state_goes_to_the_guilds_shard() {
    let world = World::filled().await;
    let mut gateway = world.gateway().await;
    let request = UpdateVoiceStateRequest { guild_id: GUILD_B, channel_id: channel_id(GUILD_B, VOICE), self_mute: true, self_deaf: false };
    gateway.update_voice_state(request).await.unwrap();
    let want = json!({"guild_id": GUILD_B.to_string(), "channel_id": channel_id(GUILD_B, VOICE).to_string(), "self_mute": true, "self_deaf": false});
    assert_eq!(std::mem::take(&mut *world.sent.lock().unwrap()), [(shard(1), Op::VoiceStateUpdate, want)]);
    // Leaving, with the guild in the metadata.
    gateway.update_voice_state(of_guild(GUILD, UpdateVoiceStateRequest::default())).await.unwrap();
    let want = json!({"guild_id": GUILD.to_string(), "channel_id": null, "self_mute": false, "self_deaf": false});
    assert_eq!(*world.sent.lock().unwrap(), [(shard(0), Op::VoiceStateUpdate, want)]);
}

#[tokio::test]
async fn a_voice_state_that_cannot_be_is_refused() {
    let world = World::filled().await;
    let mut gateway = world.gateway().await;
    let to = |guild_id, channel_id| UpdateVoiceStateRequest { guild_id, channel_id, ..Default::default() };
    let (text, elsewhere) = (channel_id(GUILD, 0), channel_id(GUILD_B, VOICE));
    for (request, want) in [
        (Request::new(to(0, 5)), "guild_id is missing: whose voice state?".to_owned()),
        (of_guild(GUILD_B, to(GUILD, 5)), "guild_id is not the guild of the call's metadata; keep one of them".to_owned()),
        (Request::new(to(GUILD, text)), format!("channel {text} has no voice")),
        // Of another guild on the same shard it is known, and which one is not told; of one on another shard it is not, and Discord decides.
        (Request::new(to(GUILD + (2 << 22), channel_id(GUILD, VOICE))), {
            let channel = channel_id(GUILD, VOICE);
            format!("channel {channel} is not in guild {}", GUILD + (2 << 22))
        }),
    ] {
        let (code, text) = refusal(gateway.update_voice_state(request).await);
        assert_eq!((code, text), (Code::InvalidArgument, want));
    }
    assert!(world.sent.lock().unwrap().is_empty());
    gateway.update_voice_state(to(GUILD, elsewhere)).await.unwrap();
    assert_eq!(world.sent.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_shard_that_takes_no_more_commands_says_so() {
    let bot = Bot { count: 10, here: (0..10).collect(), ..Bot::new(BOT) };
    let world = World::with(vec![bot], 1, true).await;
    let (code, text) = refusal(world.gateway().await.update_status(UpdateStatusRequest::default()).await);
    assert_eq!(code, Code::ResourceExhausted);
    assert_eq!(
        text,
        "shard 7000/9/10: too many commands wait for the shard already; Discord takes 120 in 60 s; try again later; 9 of 10 shards have the new status, call again"
    );
}
