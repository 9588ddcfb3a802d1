//! What each event does, in both encodings. Discord docs, Gateway Events.
#![allow(clippy::unwrap_used)]

mod common;

use common::{BASE, BOTH, Disk, apply, found, id, json, previous};
use serde_json::{Value as Json, json};
use trunkline_cache::{Cache, CacheConfig, Change, Kind, LoadError};
use trunkline_discord::{EventKind as K, GuildOrigin};
use trunkline_etf::Encoding;

fn guild() -> Json {
    json!({
        "id": id(1), "name": "Älpha", "unheard_of": {"kept": [1, 2.5, null]}, "joined_at": "2020", "large": false, "member_count": 3,
        "stickers": [{"id": id(70), "name": "old"}],
        "roles": [{"id": id(1), "name": "@everyone"}, {"id": id(20), "name": "mods"}],
        "emojis": [{"id": id(30), "name": "blob"}],
        "channels": [{"id": id(10), "name": "general", "type": 0}, {"id": id(11), "name": "voice", "type": 2}],
        "threads": [{"id": id(40), "parent_id": id(10), "name": "talk", "thread_metadata": {"archived": false}, "member": {"flags": 1}}],
        "members": [
            {"user": {"id": id(50), "username": "ann"}, "nick": null, "roles": [id(20)], "joined_at": "2021", "flags": 5},
            {"user": {"id": id(51), "username": "bob"}, "nick": "B", "roles": [], "joined_at": "2022"},
        ],
        "presences": [{"user": {"id": id(50)}, "status": "idle"}, {"user": {"id": id(51)}, "status": "offline"}],
        "voice_states": [{"user_id": id(50), "channel_id": id(11), "session_id": "s", "deaf": false}],
        "stage_instances": [], "guild_scheduled_events": [], "soundboard_sounds": [],
    })
}

fn guild_object() -> Json {
    json!({
        "id": id(1), "name": "Älpha", "unheard_of": {"kept": [1, 2.5, null]}, "joined_at": "2020", "large": false, "member_count": 3,
        "stickers": [{"id": id(70), "name": "old"}],
    })
}

fn origin(cache: &mut Cache, encoding: Encoding, d: &Json) -> GuildOrigin {
    let change = apply(cache, encoding, K::GuildCreate, d);
    assert!(!change.malformed);
    change.origin.unwrap()
}

/// A cache that holds the guild above, and another that was told of it and then saved and loaded.
fn caches(encoding: Encoding) -> [Cache; 2] {
    let mut cache = Cache::default();
    cache.ready(&[BASE + 1]);
    assert_eq!(origin(&mut cache, encoding, &guild()), GuildOrigin::Startup);
    let mut disk = Disk::default();
    disk.save(&mut cache);
    [cache, disk.load(true)]
}

#[track_caller]
fn for_each(check: impl Fn(&mut Cache, Encoding)) {
    for told_in in BOTH {
        for updated_in in BOTH {
            for mut cache in caches(told_in) {
                check(&mut cache, updated_in);
            }
        }
    }
}

#[test]
fn guild_create_is_split_and_everything_in_it_is_found() {
    for_each(|cache, _| {
        assert_eq!(found(cache.guild(BASE + 1)), Some(guild_object()));
        assert_eq!(found(cache.channel(BASE + 10)), Some(guild()["channels"][0].clone()));
        assert_eq!(found(cache.channel(BASE + 40)), Some(guild()["threads"][0].clone()));
        assert_eq!(found(cache.role(BASE + 1, BASE + 20)), Some(guild()["roles"][1].clone()));
        assert_eq!(found(cache.emojis(BASE + 1)), Some(guild()["emojis"].clone()));
        assert_eq!(found(cache.member(BASE + 1, BASE + 50)), Some(guild()["members"][0].clone()));
        assert_eq!(found(cache.presence(BASE + 1, BASE + 50)), Some(guild()["presences"][0].clone()));
        assert_eq!(found(cache.presence(BASE + 1, BASE + 51)), None);
        assert_eq!(found(cache.voice_state(BASE + 1, BASE + 50)), Some(guild()["voice_states"][0].clone()));
        assert_eq!(found(cache.user(BASE + 51)), Some(json!({"id": id(51), "username": "bob"})));
        assert_eq!(cache.mutual_guilds(BASE + 51), [BASE + 1]);
        assert!(!cache.guild(BASE + 1).unwrap().stale);
        assert_eq!(cache.channel(BASE + 10).unwrap().guild_id, BASE + 1);
        assert_eq!(cache.size(Kind::Member).count, 2);
        assert_eq!(found(cache.guild(BASE + 2)), None);
    });
}

#[test]
fn objects_own_exactly_their_bytes() {
    for encoding in BOTH {
        let [mut cache, _] = caches(encoding);
        let mut disk = Disk::default();
        // Touch everything again, so that every row is given once more.
        cache.ready(&[]);
        disk.save(&mut cache);
        cache.ready(&[BASE + 1]);
        origin(&mut cache, encoding, &guild());
        disk.save(&mut cache);
        assert_eq!(disk.bytes(), cache.bytes());
        assert_eq!(disk.rows() as u64, Kind::ALL.iter().map(|kind| cache.size(*kind).count).sum::<u64>());
        cache.ready(&[]);
        assert_eq!(cache.bytes(), 0);
        disk.save(&mut cache);
        assert_eq!(disk.rows(), 0);
    }
}

#[test]
fn guild_update_keeps_what_only_guild_create_has_and_replaces_roles_and_emojis() {
    for_each(|cache, encoding| {
        let update = json!({
            "id": id(1), "name": "Beta", "new": true, "stickers": [],
            "roles": [{"id": id(1), "name": "@everyone"}, {"id": id(21), "name": "new"}], "emojis": [],
        });
        assert_eq!(previous(apply(cache, encoding, K::GuildUpdate, &update)), Some(guild_object()));
        let mut now = guild_object();
        now["name"] = json!("Beta");
        now["stickers"] = json!([]);
        now["new"] = json!(true);
        assert_eq!(found(cache.guild(BASE + 1)), Some(now.clone()));
        assert_eq!(found(cache.role(BASE + 1, BASE + 20)), None);
        assert!(cache.role(BASE + 1, BASE + 21).is_some());
        assert_eq!(found(cache.emojis(BASE + 1)), Some(json!([])));
        assert_eq!(cache.size(Kind::Channel).count, 2);
        assert_eq!(previous(apply(cache, encoding, K::GuildUpdate, &update)), Some(now), "twice is as once");
    });
}

#[test]
fn an_outage_keeps_the_guild_and_a_removal_takes_everything() {
    for_each(|cache, encoding| {
        apply(cache, encoding, K::GuildDelete, &json!({"id": id(1), "unavailable": true}));
        assert!(cache.guild(BASE + 1).unwrap().stale && cache.member(BASE + 1, BASE + 50).unwrap().stale);
        let mut back = guild();
        back["members"].as_array_mut().unwrap().remove(0);
        assert_eq!(origin(cache, encoding, &back), GuildOrigin::Available);
        assert_eq!(cache.member(BASE + 1, BASE + 50), None, "nobody can say that it is still a member");
        assert!(!cache.guild(BASE + 1).unwrap().stale);

        apply(cache, encoding, K::GuildDelete, &json!({"id": id(1)}));
        assert_eq!((cache.guild_ids().count(), cache.bytes()), (0, 0));
        assert_eq!(cache.channel(BASE + 10), None);
        assert_eq!(cache.user(BASE + 51), None);
        let leave = json!({"guild_id": id(1), "user": {"id": id(51)}});
        assert_eq!(apply(cache, encoding, K::GuildMemberRemove, &leave), Change::default());
        assert_eq!(apply(cache, encoding, K::GuildMemberAdd, &leave), Change::default());
        assert_eq!(cache.bytes(), 0, "what comes late for a guild that is gone is not kept");
        assert_eq!(origin(cache, encoding, &guild()), GuildOrigin::Joined);
    });
}

#[test]
fn the_origin_of_a_guild_create_is_right_also_after_a_restart() {
    for encoding in BOTH {
        for restart in [false, true] {
            let (mut cache, mut disk) = (Cache::default(), Disk::default());
            let mut again = |cache: &mut Cache| {
                if restart {
                    disk.save(cache);
                    *cache = disk.load(false);
                }
            };
            let full = |guild: u64| json!({"id": id(guild), "name": "g"});
            let stub = |guild: u64| json!({"id": id(guild), "unavailable": true});
            cache.ready(&[BASE + 1, BASE + 2, BASE + 3]);
            again(&mut cache);
            assert_eq!(origin(&mut cache, encoding, &full(1)), GuildOrigin::Startup);
            apply(&mut cache, encoding, K::GuildDelete, &stub(2));
            assert_eq!(origin(&mut cache, encoding, &stub(3)), GuildOrigin::Startup);
            assert_eq!(origin(&mut cache, encoding, &stub(4)), GuildOrigin::Joined);
            again(&mut cache);
            for guild in 1..=4 {
                assert_eq!(origin(&mut cache, encoding, &full(guild)), GuildOrigin::Available);
            }
            assert_eq!(origin(&mut cache, encoding, &full(5)), GuildOrigin::Joined);
        }
    }
}

#[test]
fn member_update_is_merged_and_tells_what_was() {
    for_each(|cache, encoding| {
        let before = guild()["members"][0].clone();
        let update = json!({"guild_id": id(1), "user": {"id": id(50), "username": "anne"}, "nick": "A", "roles": [], "pending": false});
        assert_eq!(previous(apply(cache, encoding, K::GuildMemberUpdate, &update)), Some(before));
        let now = found(cache.member(BASE + 1, BASE + 50)).unwrap();
        assert_eq!((&now["nick"], &now["flags"], &now["joined_at"], &now["roles"]), (&json!("A"), &json!(5), &json!("2021"), &json!([])));
        assert_eq!(found(cache.user(BASE + 50)).unwrap()["username"], "anne");
        assert_eq!(previous(apply(cache, encoding, K::GuildMemberUpdate, &update)), Some(now));
        let stranger = json!({"guild_id": id(1), "user": {"id": id(59)}, "roles": []});
        assert_eq!(previous(apply(cache, encoding, K::GuildMemberUpdate, &stranger)), None);
        assert_eq!(found(cache.member(BASE + 1, BASE + 59)), Some(stranger));
    });
}

#[test]
fn members_come_and_go_and_are_counted() {
    for_each(|cache, encoding| {
        let count = |cache: &Cache| found(cache.guild(BASE + 1)).unwrap()["member_count"].clone();
        let joins = json!({"guild_id": id(1), "user": {"id": id(52)}, "roles": []});
        apply(cache, encoding, K::GuildMemberAdd, &joins);
        apply(cache, encoding, K::GuildMemberAdd, &joins);
        assert_eq!(count(cache), 4);
        let leaves = json!({"guild_id": id(1), "user": {"id": id(50)}});
        apply(cache, encoding, K::GuildMemberRemove, &leaves);
        assert_eq!(count(cache), 3);
        assert_eq!(cache.member(BASE + 1, BASE + 50), None);
        assert_eq!(cache.presence(BASE + 1, BASE + 50), None);
        assert_eq!(cache.voice_state(BASE + 1, BASE + 50), None);
        let chunk = json!({
            "guild_id": id(1), "chunk_index": 0, "chunk_count": 1, "not_found": [id(51), 12],
            "members": [{"user": {"id": id(53)}, "roles": []}],
            "presences": [{"user": {"id": id(53)}, "status": "dnd"}],
        });
        apply(cache, encoding, K::GuildMembersChunk, &chunk);
        assert_eq!(cache.member(BASE + 1, BASE + 51), None);
        assert!(cache.member(BASE + 1, BASE + 53).is_some() && cache.presence(BASE + 1, BASE + 53).is_some());
    });
}

#[test]
fn a_deleted_role_is_gone_from_the_members_that_are_handed_out() {
    for_each(|cache, encoding| {
        apply(cache, encoding, K::GuildRoleDelete, &json!({"guild_id": id(1), "role_id": id(20)}));
        assert_eq!(found(cache.member(BASE + 1, BASE + 50)).unwrap()["roles"], json!([]));
        let update = json!({"guild_id": id(1), "user": {"id": id(50)}, "roles": []});
        assert_eq!(previous(apply(cache, encoding, K::GuildMemberUpdate, &update)).unwrap()["roles"], json!([]));
    });
}

#[test]
fn role_update_tells_what_was_and_create_does_not() {
    for_each(|cache, encoding| {
        let update = json!({"guild_id": id(1), "role": {"id": id(20), "name": "moderators", "color": 7}});
        assert_eq!(previous(apply(cache, encoding, K::GuildRoleUpdate, &update)), Some(guild()["roles"][1].clone()));
        assert_eq!(found(cache.role(BASE + 1, BASE + 20)), Some(update["role"].clone()));
        assert_eq!(previous(apply(cache, encoding, K::GuildRoleCreate, &update)), None);
    });
}

#[test]
fn emojis_are_replaced_as_a_list_and_stickers_inside_the_guild() {
    for_each(|cache, encoding| {
        let update = json!({"guild_id": id(1), "emojis": [{"id": id(31), "name": "new"}]});
        assert_eq!(previous(apply(cache, encoding, K::GuildEmojisUpdate, &update)), Some(guild()["emojis"].clone()));
        assert_eq!(found(cache.emojis(BASE + 1)), Some(update["emojis"].clone()));
        apply(cache, encoding, K::GuildStickersUpdate, &json!({"guild_id": id(1), "stickers": [{"id": id(71)}]}));
        let mut now = guild_object();
        now["stickers"] = json!([{"id": id(71)}]);
        assert_eq!(found(cache.guild(BASE + 1)), Some(now));
    });
}

#[test]
fn presence_update_tells_what_was_and_offline_is_not_kept() {
    for_each(|cache, encoding| {
        let presence = |status: &str| json!({"guild_id": id(1), "user": {"id": id(50)}, "status": status, "activities": [{"name": "x"}]});
        let change = apply(cache, encoding, K::PresenceUpdate, &presence("online"));
        assert_eq!(previous(change), Some(guild()["presences"][0].clone()));
        assert_eq!(previous(apply(cache, encoding, K::PresenceUpdate, &presence("offline"))), Some(presence("online")));
        assert_eq!(cache.presence(BASE + 1, BASE + 50), None);
        assert_eq!(previous(apply(cache, encoding, K::PresenceUpdate, &presence("online"))), None);
    });
}

#[test]
fn a_voice_state_without_a_channel_ends_and_a_member_in_it_is_taken() {
    for_each(|cache, encoding| {
        let voice = |user: u64, channel: Json, member: Json| json!({"guild_id": id(1), "user_id": id(user), "channel_id": channel, "session_id": "t", "member": member});
        let guest = json!({"user": {"id": id(54)}, "joined_at": null, "roles": []});
        let member = json!({"user": {"id": id(55)}, "joined_at": "2023", "roles": []});
        let moves = voice(50, json!(id(11)), json!({"user": {"id": id(50)}, "joined_at": "2021", "nick": "N"}));
        let change = apply(cache, encoding, K::VoiceStateUpdate, &moves);
        assert_eq!(previous(change), Some(guild()["voice_states"][0].clone()));
        assert_eq!(found(cache.member(BASE + 1, BASE + 50)).unwrap()["nick"], "N");
        assert_eq!(found(cache.member(BASE + 1, BASE + 50)).unwrap()["flags"], 5);
        apply(cache, encoding, K::VoiceStateUpdate, &voice(54, json!(id(11)), guest));
        apply(cache, encoding, K::VoiceStateUpdate, &voice(55, json!(id(11)), member));
        assert!(cache.voice_state(BASE + 1, BASE + 54).is_some() && cache.member(BASE + 1, BASE + 54).is_none());
        assert!(cache.member(BASE + 1, BASE + 55).is_some());
        assert_eq!(previous(apply(cache, encoding, K::VoiceStateUpdate, &voice(50, Json::Null, Json::Null))), Some(moves));
        assert_eq!(cache.voice_state(BASE + 1, BASE + 50), None);
        let direct = json!({"user_id": id(50), "channel_id": id(99)});
        assert_eq!(apply(cache, encoding, K::VoiceStateUpdate, &direct), Change::default());
    });
}

#[test]
fn channels_are_replaced_whole_and_take_their_threads_with_them() {
    for_each(|cache, encoding| {
        let update = json!({"guild_id": id(1), "id": id(10), "name": "main", "type": 0});
        assert_eq!(previous(apply(cache, encoding, K::ChannelUpdate, &update)), Some(guild()["channels"][0].clone()));
        assert_eq!(found(cache.channel(BASE + 10)), Some(update.clone()));
        apply(cache, encoding, K::ChannelPinsUpdate, &json!({"guild_id": id(1), "channel_id": id(10), "last_pin_timestamp": "now"}));
        assert_eq!(found(cache.channel(BASE + 10)).unwrap()["last_pin_timestamp"], "now");
        assert_eq!(previous(apply(cache, encoding, K::ChannelCreate, &update)), None);
        apply(cache, encoding, K::ChannelDelete, &update);
        assert_eq!((cache.channel(BASE + 10), cache.channel(BASE + 40)), (None, None));
        assert_eq!(previous(apply(cache, encoding, K::ChannelUpdate, &update)), None);
        let direct = json!({"id": id(90), "type": 1});
        assert_eq!(apply(cache, encoding, K::ChannelUpdate, &direct), Change::default());
        assert_eq!(cache.channel(BASE + 90), None);
    });
}

#[test]
fn threads_are_kept_while_they_are_active() {
    for_each(|cache, encoding| {
        let thread = |archived: bool| json!({"guild_id": id(1), "id": id(41), "parent_id": id(10), "thread_metadata": {"archived": archived}, "newly_created": true});
        apply(cache, encoding, K::ThreadCreate, &thread(false));
        let mut kept = thread(false);
        kept.as_object_mut().unwrap().remove("newly_created");
        assert_eq!(found(cache.channel(BASE + 41)), Some(kept.clone()));
        let own = json!({"guild_id": id(1), "id": id(41), "user_id": id(99), "flags": 0});
        apply(cache, encoding, K::ThreadMemberUpdate, &own);
        apply(cache, encoding, K::ThreadUpdate, &thread(false));
        kept["member"] = own;
        assert_eq!(found(cache.channel(BASE + 41)), Some(kept.clone()), "an update does not name the bot's membership");

        apply(cache, encoding, K::Ready, &json!({"user": {"id": id(99)}, "guilds": []}));
        let leaves = json!({"guild_id": id(1), "id": id(41), "member_count": 7, "removed_member_ids": [id(99)]});
        apply(cache, encoding, K::ThreadMembersUpdate, &leaves);
        kept.as_object_mut().unwrap().remove("member");
        kept["member_count"] = json!(7);
        assert_eq!(found(cache.channel(BASE + 41)), Some(kept));

        apply(cache, encoding, K::ThreadUpdate, &thread(true));
        assert_eq!(cache.channel(BASE + 41), None);
        apply(cache, encoding, K::ThreadDelete, &json!({"guild_id": id(1), "id": id(40), "parent_id": id(10), "type": 11}));
        assert_eq!(cache.channel(BASE + 40), None);
    });
}

#[test]
fn a_thread_list_replaces_the_threads_of_the_channels_it_names() {
    for_each(|cache, encoding| {
        let thread = |thread: u64, parent: u64| json!({"guild_id": id(1), "id": id(thread), "parent_id": id(parent)});
        apply(cache, encoding, K::ThreadCreate, &thread(42, 11));
        let sync = json!({
            "guild_id": id(1), "channel_ids": [id(10)], "threads": [thread(43, 10)],
            "members": [{"id": id(43), "user_id": id(99), "flags": 3}],
        });
        apply(cache, encoding, K::ThreadListSync, &sync);
        assert_eq!(cache.channel(BASE + 40), None);
        assert!(cache.channel(BASE + 42).is_some());
        assert_eq!(found(cache.channel(BASE + 43)).unwrap()["member"]["flags"], 3);
        apply(cache, encoding, K::ThreadListSync, &json!({"guild_id": id(1), "threads": [], "members": []}));
        assert_eq!(cache.size(Kind::Thread).count, 0);
    });
}

#[test]
fn a_new_session_makes_everything_stale_until_its_guild_create() {
    for_each(|cache, encoding| {
        origin(cache, encoding, &json!({"id": id(2), "name": "left behind", "channels": [{"id": id(15)}]}));
        cache.ready(&[BASE + 1, BASE + 3]);
        assert_eq!((cache.guild(BASE + 2), cache.channel(BASE + 15)), (None, None));
        assert!(cache.guild(BASE + 1).unwrap().stale && cache.channel(BASE + 10).unwrap().stale);
        // Nothing that is stale is told as what was.
        let user = json!({"id": id(50)});
        for (kind, d) in [
            (K::GuildUpdate, json!({"id": id(1), "name": "new"})),
            (K::PresenceUpdate, json!({"guild_id": id(1), "user": user, "status": "dnd"})),
            (K::GuildMemberUpdate, json!({"guild_id": id(1), "user": user})),
            (K::ChannelUpdate, json!({"guild_id": id(1), "id": id(10)})),
            (K::GuildRoleUpdate, json!({"guild_id": id(1), "role": {"id": id(20)}})),
            (K::VoiceStateUpdate, json!({"guild_id": id(1), "user_id": id(50), "channel_id": id(11)})),
            (K::GuildEmojisUpdate, json!({"guild_id": id(1), "emojis": []})),
        ] {
            assert_eq!(previous(apply(cache, encoding, kind, &d)), None, "{}", kind.name());
            assert_eq!(previous(apply(cache, encoding, kind, &d)), None, "{}", kind.name());
        }
        let told = json!({
            "id": id(1), "name": "new", "members": [guild()["members"][1]], "channels": [guild()["channels"][0]], "member_count": 9,
        });
        assert_eq!(origin(cache, encoding, &told), GuildOrigin::Startup);
        assert_eq!(found(cache.guild(BASE + 1)), Some(json!({"id": id(1), "name": "new", "member_count": 9})));
        assert_eq!(cache.member(BASE + 1, BASE + 50), None);
        assert!(!cache.member(BASE + 1, BASE + 51).unwrap().stale);
        for kind in [Kind::Presence, Kind::VoiceState, Kind::Role, Kind::Emojis, Kind::Thread] {
            assert_eq!(cache.size(kind).count, 0, "{kind:?}");
        }
        assert_eq!(
            previous(apply(cache, encoding, K::ChannelUpdate, &json!({"guild_id": id(1), "id": id(10)}))).unwrap()["name"],
            "general"
        );
    });
}

#[test]
fn a_guild_create_told_again_adds_members_and_replaces_channels() {
    for_each(|cache, encoding| {
        let again = json!({"id": id(1), "members": [{"user": {"id": id(56)}}], "channels": [{"id": id(12)}], "voice_states": []});
        assert_eq!(origin(cache, encoding, &again), GuildOrigin::Available);
        assert_eq!(cache.size(Kind::Member).count, 3);
        assert_eq!(cache.size(Kind::Channel).count, 1);
        assert_eq!((cache.channel(BASE + 10), cache.size(Kind::VoiceState).count), (None, 0));
    });
}

#[test]
fn the_own_user_is_kept() {
    for_each(|cache, encoding| {
        apply(cache, encoding, K::Ready, &json!({"user": {"id": id(99), "username": "bot"}}));
        apply(cache, encoding, K::UserUpdate, &json!({"id": id(99), "username": "robot"}));
        assert_eq!(found(cache.user(BASE + 99)).unwrap()["username"], "robot");
        assert_eq!(cache.own_user_id(), Some(BASE + 99));
    });
}

#[test]
fn payloads_that_lack_what_they_must_have_change_nothing_and_say_so() {
    for_each(|cache, encoding| {
        let mut disk = Disk::default();
        disk.save(cache);
        let before = cache.bytes();
        for kind in K::ALL {
            for d in [json!({}), json!([]), json!(null), json!("x"), json!({"id": "x", "guild_id": [], "user": 3, "role": {}})] {
                let change = apply(cache, encoding, *kind, &d);
                assert_eq!((change.previous, change.origin), (None, None), "{}", kind.name());
            }
        }
        assert!(apply(cache, encoding, K::GuildCreate, &json!({})).malformed);
        assert!(apply(cache, encoding, K::GuildMemberUpdate, &json!({"guild_id": id(1), "user": {}})).malformed);
        assert!(!apply(cache, encoding, K::MessageCreate, &json!({})).malformed);
        assert_eq!((cache.bytes(), cache.changes_pending()), (before, 0));
    });
}

#[test]
fn an_event_without_a_change_is_no_change() {
    for_each(|cache, encoding| {
        let mut disk = Disk::default();
        disk.save(cache);
        let update = json!({"guild_id": id(1), "id": id(10), "name": "main", "type": 0});
        apply(cache, encoding, K::ChannelUpdate, &update);
        apply(cache, encoding, K::ChannelUpdate, &update);
        assert_eq!(cache.take_changes().len(), 1);
        apply(cache, encoding, K::ChannelUpdate, &update);
        apply(cache, encoding, K::MessageCreate, &json!({"id": id(80), "channel_id": id(10), "guild_id": id(1), "author": {"id": id(50)}}));
        assert_eq!(cache.take_changes(), []);
    });
}

#[test]
fn kinds_that_are_switched_off_are_not_kept() {
    let mut cache = Cache::new(CacheConfig::default().without(Kind::Presence).without(Kind::Member).without(Kind::Guild));
    origin(&mut cache, Encoding::Json, &guild());
    assert_eq!((cache.size(Kind::Presence).count, cache.size(Kind::Member).count), (0, 0));
    assert_eq!((cache.size(Kind::Guild).count, cache.size(Kind::Role).count), (1, 2));
}

#[test]
fn rows_that_are_none_are_refused_and_leave_nothing_behind() {
    let mut cache = Cache::default();
    let channel = [&[2][..], &(BASE + 1).to_be_bytes(), &(BASE + 10).to_be_bytes()].concat();
    let state = [&[0][..], &(BASE + 1).to_be_bytes()].concat();
    assert_eq!(cache.load(b"", vec![].into()), Err(LoadError::Key));
    assert_eq!(cache.load(&[99; 17], vec![].into()), Err(LoadError::Key));
    for bad in [&b""[..], b" ", b" []", b" {} ", b"{}", b" {\"a\":", &[131], &[131, 116, 0, 0, 0, 9], &[131, 106]] {
        assert_eq!(cache.load(&channel, bad.to_vec().into()), Err(LoadError::Value(Kind::Channel)), "{bad:?}");
    }
    assert_eq!(cache.load(&state, vec![0; 8].into()), Err(LoadError::Value(Kind::State)));
    assert_eq!(cache.load(&state, vec![0xF0, 0, 0, 0, 0, 0, 0, 0, 0].into()), Err(LoadError::Value(Kind::State)));
    assert_eq!((cache.bytes(), cache.guild_ids().count()), (0, 0));
    cache.load(&channel, b" {}".to_vec().into()).unwrap();
    assert_eq!(json(&cache.channel(BASE + 10).unwrap().object), json!({}));
}
