//! Guilds, roles, emojis, stickers, sounds.

use serde_json::json;
use trunkline_cache::Kind;
use trunkline_discord::EventKind as K;

use crate::common::id;
use crate::table::{Ask, Row, check, here, row, with, without};
use crate::{guild, guild_object, member, own, thread, world};

pub(crate) fn rows() -> Vec<Row> {
    let update = json!({
        "id": id(1), "name": "Beta", "new": true, "stickers": [],
        "roles": [{"id": id(1), "name": "@everyone"}, {"id": id(21), "name": "new"}], "emojis": [{"id": id(32), "name": "x"}],
    });
    let sound = |name: &str| here(json!({"sound_id": id(65), "name": name}));
    vec![
        row(K::Ready, "sets the own user", json!({"user": with(&own(), json!({"bio": "b"})), "guilds": []}))
            .gives(Ask::User(99), with(&own(), json!({"bio": "b"}))),
        row(K::Resumed, "nothing", json!({})).gives(Ask::Guild, guild_object()),
        row(K::RateLimited, "nothing", json!({"opcode": 8, "retry_after": 1.5, "meta": {"guild_id": id(1)}}))
            .gives(Ask::Guild, guild_object()),
        row(K::GuildCreate, "every list becomes objects", guild())
            .gives(Ask::Guild, guild_object())
            .gives(Ask::One(Kind::Role, 20), guild()["roles"][1].clone())
            .gives(Ask::Emojis, guild()["emojis"].clone())
            .gives(Ask::Stickers, guild()["stickers"].clone())
            .gives(Ask::Channel(12), here(guild()["channels"][2].clone()))
            .gives(Ask::Channel(41), thread(41))
            .gives(Ask::Member(50), member(50))
            .gives(Ask::User(50), member(50)["user"].clone())
            .gives(Ask::Mutual(50), json!([1]))
            .gives(Ask::One(Kind::Presence, 50), guild()["presences"][0].clone())
            .gone(Ask::One(Kind::Presence, 51))
            .gives(Ask::One(Kind::VoiceState, 50), guild()["voice_states"][0].clone())
            .gives(Ask::One(Kind::StageInstance, 60), guild()["stage_instances"][0].clone())
            .gives(Ask::One(Kind::ScheduledEvent, 62), guild()["guild_scheduled_events"][1].clone())
            .gives(Ask::One(Kind::Sound, 65), guild()["soundboard_sounds"][0].clone()),
        row(
            K::GuildCreate,
            "told again, lists are replaced, and members and presences added to: those are partial",
            json!({
                "id": id(1), "name": "Älpha", "member_count": 9, "roles": [], "emojis": [], "stickers": [], "channels": [{"id": id(13)}],
                "threads": [], "voice_states": [], "stage_instances": [], "guild_scheduled_events": [], "soundboard_sounds": [],
                "members": [{"user": {"id": id(56)}}], "presences": [],
            }),
        )
        .gives(Ask::Guild, json!({"id": id(1), "name": "Älpha", "member_count": 9}))
        .gives(Ask::Count(Kind::Member), json!(3))
        .gives(Ask::Count(Kind::Presence), json!(1))
        .gives(Ask::Count(Kind::Channel), json!(1))
        .gives(Ask::Count(Kind::Role), json!(0))
        .gives(Ask::Count(Kind::Thread), json!(0))
        .gives(Ask::Count(Kind::VoiceState), json!(0))
        .gives(Ask::Count(Kind::StageInstance), json!(0))
        .gives(Ask::Count(Kind::ScheduledEvent), json!(0))
        .gives(Ask::Count(Kind::Sound), json!(0))
        .gives(Ask::Emojis, json!([]))
        .gives(Ask::Stickers, json!([]))
        // What no GUILD_CREATE tells of stays while nothing is in doubt.
        .gives(Ask::Count(Kind::Ban), json!(1))
        .gives(Ask::Messages(10), json!([id(80)])),
        row(
            K::GuildCreate,
            "channels and threads are kept with their guild's id, which is null or not there in its lists, and stays where it is",
            json!({"id": id(1), "channels": [{"id": id(13), "guild_id": null}, {"id": id(14), "name": "x", "guild_id": id(1), "type": 0}, {"id": id(15)}],
                "threads": [{"id": id(43), "parent_id": id(15)}]}),
        )
        .gives(Ask::Channel(13), here(json!({"id": id(13)})))
        .gives(Ask::Channel(14), here(json!({"id": id(14), "name": "x", "type": 0})))
        .gives(Ask::Channel(15), here(json!({"id": id(15)})))
        .gives(Ask::Channel(43), here(json!({"id": id(43), "parent_id": id(15)}))),
        row(
            K::GuildCreate,
            "told again, who is said to be offline has no presence any more",
            json!({"id": id(1), "name": "Älpha", "presences": [{"user": {"id": id(50)}, "status": "offline"}, {"user": {"id": id(51)}, "status": "dnd"}]}),
        )
        .gone(Ask::One(Kind::Presence, 50))
        .gives(Ask::One(Kind::Presence, 51), json!({"user": {"id": id(51)}, "status": "dnd"})),
        row(K::GuildUpdate, "replaces roles, emojis and stickers, keeps what only a GUILD_CREATE has", update.clone())
            .previous(guild_object())
            .gives(Ask::Guild, with(&guild_object(), json!({"name": "Beta", "new": true})))
            .gone(Ask::One(Kind::Role, 20))
            .gives(Ask::One(Kind::Role, 21), update["roles"][1].clone())
            .gives(Ask::Emojis, update["emojis"].clone())
            .gives(Ask::Stickers, json!([]))
            .gives(Ask::Count(Kind::Channel), json!(3))
            .gives(Ask::Count(Kind::Member), json!(2))
            .gives(Ask::Count(Kind::Sound), json!(1))
            // A role that is gone is gone from its members.
            .gives(Ask::Member(50), with(&member(50), json!({"roles": []}))),
        row(K::GuildDelete, "an outage keeps the guild and marks it", json!({"id": id(1), "unavailable": true}))
            .gives(Ask::Guild, with(&guild_object(), json!({"unavailable": true})))
            .gives(Ask::Member(51), member(51)),
        row(K::GuildDelete, "a removal takes everything", json!({"id": id(1)}))
            .gone(Ask::Guild)
            .gone(Ask::Channel(10))
            .gone(Ask::Channel(40))
            .gone(Ask::User(50))
            .gives(Ask::Mutual(50), json!([]))
            .gone(Ask::Message(80))
            .gone(Ask::Invite("abc"))
            .gives(Ask::Count(Kind::Ban), json!(0))
            .gives(Ask::Count(Kind::User), json!(0))
            .gives(Ask::Count(Kind::State), json!(0)),
        row(K::GuildAuditLogEntryCreate, "nothing", here(json!({"id": id(8), "user_id": id(50), "action_type": 1})))
            .gives(Ask::Guild, guild_object()),
        row(K::ApplicationCommandPermissionsUpdate, "nothing", here(json!({"id": id(8), "application_id": id(9), "permissions": []})))
            .gives(Ask::Guild, guild_object()),
        row(K::GuildRoleCreate, "adds it", here(json!({"role": {"id": id(22), "name": "r"}})))
            .gives(Ask::One(Kind::Role, 22), json!({"id": id(22), "name": "r"})),
        row(K::GuildRoleUpdate, "replaces it whole", here(json!({"role": {"id": id(20), "color": 7}})))
            .previous(guild()["roles"][1].clone())
            .gives(Ask::One(Kind::Role, 20), json!({"id": id(20), "color": 7})),
        row(K::GuildRoleUpdate, "adds one that is not known", here(json!({"role": {"id": id(23)}})))
            .gives(Ask::One(Kind::Role, 23), json!({"id": id(23)})),
        row(K::GuildRoleDelete, "takes it from its members too", here(json!({"role_id": id(20)})))
            .gone(Ask::One(Kind::Role, 20))
            .gives(Ask::Member(50), with(&member(50), json!({"roles": []}))),
        row(K::GuildRoleDelete, "takes one that was never told from members too", here(json!({"role_id": id(25)})))
            .after(K::GuildMemberUpdate, here(json!({"user": member(50)["user"], "roles": [id(25), id(20)]})))
            .gives(Ask::Member(50), with(&member(50), json!({"roles": [id(20)], "guild_id": id(1)}))),
        row(K::GuildEmojisUpdate, "replaces the list", here(json!({"emojis": [{"id": id(33)}]})))
            .previous(guild()["emojis"].clone())
            .gives(Ask::Emojis, json!([{"id": id(33)}])),
        row(K::GuildStickersUpdate, "replaces the list", here(json!({"stickers": [{"id": id(71)}]})))
            .previous(guild()["stickers"].clone())
            .gives(Ask::Stickers, json!([{"id": id(71)}]))
            .gives(Ask::Guild, guild_object()),
        row(K::GuildSoundboardSoundCreate, "adds it", here(json!({"sound_id": id(66), "name": "boo"})))
            .gives(Ask::One(Kind::Sound, 66), here(json!({"sound_id": id(66), "name": "boo"}))),
        row(K::GuildSoundboardSoundUpdate, "replaces it whole", sound("honk"))
            .previous(guild()["soundboard_sounds"][0].clone())
            .gives(Ask::One(Kind::Sound, 65), sound("honk")),
        row(K::GuildSoundboardSoundUpdate, "without its guild is found by its id", json!({"sound_id": id(65), "name": "honk"}))
            .previous(guild()["soundboard_sounds"][0].clone())
            .gives(Ask::One(Kind::Sound, 65), json!({"sound_id": id(65), "name": "honk"})),
        row(K::GuildSoundboardSoundCreate, "of no guild is kept nowhere", json!({"sound_id": id(66), "name": "boo"}))
            .gives(Ask::Count(Kind::Sound), json!(1)),
        row(K::GuildSoundboardSoundDelete, "takes it away", here(json!({"sound_id": id(65)})))
            .previous(guild()["soundboard_sounds"][0].clone())
            .gone(Ask::One(Kind::Sound, 65)),
        row(
            K::GuildSoundboardSoundsUpdate,
            "adds to what is there",
            here(json!({"soundboard_sounds": [{"sound_id": id(67), "name": "a"}]})),
        )
        .gives(Ask::One(Kind::Sound, 67), json!({"sound_id": id(67), "name": "a"}))
        .gives(Ask::Count(Kind::Sound), json!(2)),
        row(K::SoundboardSounds, "replaces all", here(json!({"soundboard_sounds": [{"sound_id": id(67), "name": "a"}]})))
            .gives(Ask::One(Kind::Sound, 67), json!({"sound_id": id(67), "name": "a"}))
            .gives(Ask::Count(Kind::Sound), json!(1)),
        row(K::GuildUpdate, "of a list that is no list leaves it", json!({"id": id(1), "roles": null, "emojis": 3}))
            .previous(guild_object())
            .gives(Ask::Count(Kind::Role), json!(2))
            .gives(Ask::Emojis, guild()["emojis"].clone())
            .gives(Ask::Guild, without(&guild_object(), &[])),
    ]
}

#[test]
fn guilds_and_what_belongs_to_them() {
    check(&world(), &rows());
}
