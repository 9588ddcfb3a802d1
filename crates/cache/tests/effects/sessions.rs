//! Guilds that come, fall out, come back and go; sessions that were lost; payloads that make no sense.

use serde_json::{Value as Json, json};
use trunkline_cache::{Cache, Change, Kind};
use trunkline_discord::{EventKind as K, GuildOrigin};
use trunkline_etf::Encoding;

use crate::common::{BASE, BOTH, Disk, apply, found, id, previous};
use crate::table::{here, told, with};
use crate::{bare_message, direct_message, guild, guild_object, world};

fn origin(cache: &mut Cache, encoding: Encoding, d: &Json) -> GuildOrigin {
    let change = apply(cache, encoding, K::GuildCreate, d);
    assert!(!change.malformed);
    change.origin.unwrap()
}

#[track_caller]
fn for_each(check: impl Fn(&mut Cache, Encoding)) {
    for told_in in BOTH {
        for updated_in in BOTH {
            for restart in [false, true] {
                let mut cache = told(&world(), told_in);
                if restart {
                    let mut disk = Disk::default();
                    disk.stop(&mut cache);
                    cache = disk.load(true);
                }
                check(&mut cache, updated_in);
            }
        }
    }
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
fn what_is_kept_is_stale_from_the_moment_the_session_is_lost() {
    for_each(|cache, encoding| {
        let before = cache.member(BASE + 1, BASE + 50).unwrap().object;
        assert!(!cache.guild(BASE + 1).unwrap().stale);
        cache.session_lost();
        cache.session_lost();
        assert!(cache.guild(BASE + 1).unwrap().stale);
        let member = cache.member(BASE + 1, BASE + 50).unwrap();
        assert!(member.stale && member.object == before, "nothing is dropped yet");
        // The next session goes on as ever.
        cache.ready(&[BASE + 1]);
        assert!(cache.guild(BASE + 1).unwrap().stale);
        assert_eq!(origin(cache, encoding, &guild()), GuildOrigin::Startup);
        assert!(!cache.guild(BASE + 1).unwrap().stale && !cache.member(BASE + 1, BASE + 50).unwrap().stale);
    });
}

#[test]
fn an_outage_keeps_the_guild_and_a_removal_takes_everything() {
    for_each(|cache, encoding| {
        apply(cache, encoding, K::GuildDelete, &json!({"id": id(1), "unavailable": true}));
        assert!(cache.guild(BASE + 1).unwrap().stale && cache.member(BASE + 1, BASE + 50).unwrap().stale);
        assert!(cache.message(BASE + 80).unwrap().stale);
        let marked = |cache: &Cache| cache.guild(BASE + 1).unwrap().object.value().get("unavailable").and_then(|told| told.as_bool());
        assert_eq!(marked(cache), Some(true));
        let mut back = guild();
        back["members"].as_array_mut().unwrap().remove(0);
        assert_eq!(origin(cache, encoding, &back), GuildOrigin::Available);
        let (member, message) = (cache.member(BASE + 1, BASE + 50).unwrap(), cache.message(BASE + 80).unwrap());
        assert!(!member.stale && !message.stale, "the list of members is a part of them, and the session has missed nothing");
        assert_eq!(cache.size(Kind::Channel).count, 3, "other lists are whole");
        assert!(!cache.guild(BASE + 1).unwrap().stale);
        assert_ne!(marked(cache), Some(true));
        // A list of as many members as there are is everybody: who is not in it has left unseen.
        apply(cache, encoding, K::GuildDelete, &json!({"id": id(1), "unavailable": true}));
        back["member_count"] = json!(1);
        back["presences"] = json!([]);
        origin(cache, encoding, &back);
        assert!(cache.member(BASE + 1, BASE + 50).is_none() && cache.presence(BASE + 1, BASE + 50).is_none());
        assert!(cache.member(BASE + 1, BASE + 51).is_some());
        // A GUILD_CREATE may tell of an outage as well.
        apply(cache, encoding, K::GuildCreate, &json!({"id": id(1), "unavailable": true}));
        assert_eq!(marked(cache), Some(true));

        apply(cache, encoding, K::GuildDelete, &json!({"id": id(1)}));
        assert_eq!(cache.guild_ids().count(), 0);
        for kind in [Kind::Guild, Kind::Channel, Kind::Thread, Kind::Member, Kind::User, Kind::Ban, Kind::Invite, Kind::Role] {
            assert_eq!(cache.size(kind).count, 0, "{kind:?}");
        }
        assert_eq!(cache.channel(BASE + 10), None);
        assert_eq!(cache.user(BASE + 51), None);
        let leave = json!({"guild_id": id(1), "user": {"id": id(51)}});
        assert_eq!(apply(cache, encoding, K::GuildMemberRemove, &leave), Change::default());
        assert_eq!(apply(cache, encoding, K::GuildMemberAdd, &leave), Change::default());
        assert_eq!(apply(cache, encoding, K::MessageCreate, &bare_message(88, 10)), Change::default());
        assert_eq!(
            (cache.size(Kind::Member).count, cache.message(BASE + 88)),
            (0, None),
            "what comes late for a guild that is gone is not kept"
        );
        assert_eq!(origin(cache, encoding, &guild()), GuildOrigin::Joined);
    });
}

#[test]
fn an_update_of_a_guild_that_was_only_named_does_not_make_it_look_told() {
    for encoding in BOTH {
        let mut cache = Cache::default();
        cache.ready(&[BASE + 1]);
        assert_eq!(apply(&mut cache, encoding, K::GuildUpdate, &json!({"id": id(1), "name": "early", "roles": []})), Change::default());
        assert_eq!(cache.guild(BASE + 1), None);
        let stub = cache.guild_or_stub(BASE + 1).unwrap();
        assert_eq!(stub.object.value().get("unavailable").and_then(|told| told.as_bool()), Some(true));
        assert_eq!(origin(&mut cache, encoding, &guild()), GuildOrigin::Startup);
    }
}

#[test]
fn a_new_session_makes_everything_stale_until_its_guild_create() {
    for_each(|cache, encoding| {
        origin(cache, encoding, &json!({"id": id(2), "name": "left behind", "channels": [{"id": id(15)}]}));
        cache.ready(&[BASE + 1, BASE + 3]);
        assert_eq!((cache.guild(BASE + 2), cache.channel(BASE + 15)), (None, None));
        assert!(cache.guild(BASE + 1).unwrap().stale && cache.channel(BASE + 10).unwrap().stale);
        assert!(cache.message(BASE + 80).unwrap().stale);
        for kind in [Kind::DirectChannel, Kind::Entitlement, Kind::Subscription] {
            assert_eq!(cache.size(kind).count, 0, "{kind:?}: nothing will ever confirm it");
        }
        assert_eq!(cache.message(BASE + 85), None);
        assert_eq!(cache.own_user_id(), Some(BASE + 99));
        // Nothing that is stale is told as what was.
        let user = json!({"id": id(50)});
        let update = here(json!({"id": id(80), "channel_id": id(10)}));
        for (kind, d) in [
            (K::GuildUpdate, json!({"id": id(1), "name": "new"})),
            (K::PresenceUpdate, json!({"guild_id": id(1), "user": user, "status": "dnd"})),
            (K::GuildMemberUpdate, json!({"guild_id": id(1), "user": user})),
            (K::ChannelUpdate, json!({"guild_id": id(1), "id": id(10)})),
            (K::GuildRoleUpdate, json!({"guild_id": id(1), "role": {"id": id(20)}})),
            (K::VoiceStateUpdate, json!({"guild_id": id(1), "user_id": id(50), "channel_id": id(11)})),
            (K::GuildEmojisUpdate, json!({"guild_id": id(1), "emojis": []})),
            (K::MessageUpdate, update.clone()),
            (K::MessageDelete, update),
            (K::ThreadUpdate, json!({"guild_id": id(1), "id": id(40)})),
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
        assert_eq!(cache.user(BASE + 50), None);
        assert!(!cache.member(BASE + 1, BASE + 51).unwrap().stale);
        for kind in Kind::ALL {
            let left = match kind {
                Kind::State => 2,
                Kind::Guild | Kind::Channel | Kind::Member | Kind::User | Kind::OwnUser => 1,
                _ => 0,
            };
            assert_eq!(cache.size(kind).count, left, "{kind:?}");
        }
        let change = apply(cache, encoding, K::ChannelUpdate, &json!({"guild_id": id(1), "id": id(10)}));
        assert_eq!(previous(change).unwrap()["name"], "general");
    });
}

#[test]
fn a_session_that_is_resumed_has_missed_nothing() {
    for_each(|cache, encoding| {
        apply(cache, encoding, K::Resumed, &json!({}));
        assert!(!cache.guild(BASE + 1).unwrap().stale);
        let update = here(json!({"id": id(80), "channel_id": id(10)}));
        assert!(previous(apply(cache, encoding, K::MessageDelete, &update)).is_some());
        assert_eq!(found(cache.guild(BASE + 1)), Some(guild_object()));
    });
}

#[test]
fn payloads_that_lack_what_they_must_have_change_nothing_and_say_so() {
    for_each(|cache, encoding| {
        let mut disk = Disk::default();
        disk.save(cache);
        let before: Vec<_> = Kind::ALL.iter().map(|kind| cache.size(*kind)).collect();
        for kind in K::ALL {
            for d in
                [json!({}), json!([]), json!(null), json!("x"), json!({"id": "x", "guild_id": [], "user": 3, "role": {}, "channel_id": {}})]
            {
                let change = apply(cache, encoding, *kind, &d);
                assert_eq!((change.previous, change.origin), (None, None), "{}", kind.name());
                let keeps_nothing = [
                    K::Resumed,
                    K::RateLimited,
                    K::GuildAuditLogEntryCreate,
                    K::ApplicationCommandPermissionsUpdate,
                    K::TypingStart,
                    K::VoiceServerUpdate,
                    K::VoiceChannelEffectSend,
                    K::AutoModerationActionExecution,
                    K::WebhooksUpdate,
                    K::InteractionCreate,
                ];
                assert_eq!(change.malformed, !keeps_nothing.contains(kind), "{} {d}", kind.name());
            }
        }
        let after: Vec<_> = Kind::ALL.iter().map(|kind| cache.size(*kind)).collect();
        assert_eq!((after, cache.changes_pending()), (before, 0));
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
        for (kind, d) in [
            (K::ChannelUpdate, update),
            (K::MessageUpdate, here(json!({"id": id(80), "channel_id": id(10), "content": "x", "author": {"id": id(58)}}))),
            (K::MessageReactionAdd, here(json!({"channel_id": id(10), "message_id": id(80), "user_id": id(50), "emoji": {"name": "x"}}))),
            (K::MessageCreate, with(&direct_message(), json!({"id": id(84)}))),
            (K::PresenceUpdate, here(json!({"user": {"id": id(50)}, "status": "dnd"}))),
        ] {
            apply(cache, encoding, kind, &d);
            assert_eq!(cache.take_changes(), [], "{} is not in the durable copy while the shard runs", kind.name());
        }
    });
}
