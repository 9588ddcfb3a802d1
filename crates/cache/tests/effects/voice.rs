//! Voice states and stages.

use serde_json::{Value as Json, json};
use trunkline_cache::Kind;
use trunkline_discord::EventKind as K;

use crate::common::id;
use crate::table::{Ask, Row, check, here, row, with};
use crate::{guild, guild_object, member, world};

pub(crate) fn rows() -> Vec<Row> {
    let voice = |user: u64, channel: Json, member: Json| {
        here(json!({"user_id": id(user), "channel_id": channel, "session_id": "t", "member": member}))
    };
    let before = guild()["voice_states"][0].clone();
    let moves = voice(50, json!(id(14)), json!({"user": {"id": id(50), "username": "ann"}, "joined_at": "2021", "nick": "N"}));
    let joins = voice(55, json!(id(11)), json!({"user": {"id": id(55)}, "joined_at": "2023", "roles": []}));
    let guest = voice(54, json!(id(11)), json!({"user": {"id": id(54)}, "joined_at": null, "roles": []}));
    let stage = |topic: &str| here(json!({"id": id(60), "channel_id": id(11), "topic": topic}));
    vec![
        row(K::VoiceStateUpdate, "moves, and tells of the member", moves.clone())
            .previous(before.clone())
            .gives(Ask::One(Kind::VoiceState, 50), moves)
            .gives(Ask::Member(50), with(&member(50), json!({"nick": "N", "user": {"id": id(50), "username": "ann"}}))),
        row(K::VoiceStateUpdate, "joins, and a member who was not known is", joins.clone())
            .gives(Ask::One(Kind::VoiceState, 55), joins.clone())
            .gives(Ask::Member(55), joins["member"].clone()),
        row(K::VoiceStateUpdate, "a guest is a member since no time", guest.clone())
            .gives(Ask::One(Kind::VoiceState, 54), guest.clone())
            .gives(Ask::Member(54), guest["member"].clone()),
        row(K::VoiceStateUpdate, "a guest of whom nobody knew leaves", voice(54, Json::Null, guest["member"].clone()))
            .gone(Ask::Member(54)),
        row(
            K::VoiceStateUpdate,
            "tells of a member without all of it",
            voice(50, json!(id(14)), json!({"user": {"id": id(50)}, "nick": "N"})),
        )
        .previous(before.clone())
        .gives(Ask::Member(50), with(&member(50), json!({"nick": "N", "user": {"id": id(50)}}))),
        row(K::VoiceStateUpdate, "without a channel it ends", voice(50, Json::Null, Json::Null))
            .previous(before)
            .gone(Ask::One(Kind::VoiceState, 50)),
        row(K::VoiceStateUpdate, "outside a guild is nothing", json!({"user_id": id(50), "channel_id": id(95)}))
            .gives(Ask::Count(Kind::VoiceState), json!(1)),
        row(K::VoiceServerUpdate, "is never kept", here(json!({"token": "t", "endpoint": "e"}))).gives(Ask::Guild, guild_object()),
        row(K::VoiceChannelEffectSend, "nothing", here(json!({"channel_id": id(11), "user_id": id(50)}))).gives(Ask::Guild, guild_object()),
        row(K::StageInstanceCreate, "adds it", here(json!({"id": id(69), "topic": "t"})))
            .gives(Ask::One(Kind::StageInstance, 69), here(json!({"id": id(69), "topic": "t"}))),
        row(K::StageInstanceUpdate, "replaces it", stage("more"))
            .previous(guild()["stage_instances"][0].clone())
            .gives(Ask::One(Kind::StageInstance, 60), stage("more")),
        row(K::StageInstanceDelete, "takes it away", stage("x"))
            .previous(guild()["stage_instances"][0].clone())
            .gone(Ask::One(Kind::StageInstance, 60)),
    ]
}

#[test]
fn voice_states_and_stages() {
    check(&world(), &rows());
}
