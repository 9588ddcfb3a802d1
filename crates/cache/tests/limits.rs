//! What is not kept, and what gives way.
#![allow(clippy::unwrap_used)]

mod common;

use common::{BASE, BOTH, Disk, apply, id};
use serde_json::{Value as Json, json};
use trunkline_cache::{Cache, CacheConfig, Kind, UNCONFIRMED_MAX, Users};
use trunkline_discord::EventKind as K;
use trunkline_etf::Encoding;

/// Ids count milliseconds in their upper bits.
const MS: u64 = 1 << 22;

fn cache(config: CacheConfig) -> Cache {
    let mut cache = Cache::new(config, Users::default());
    for guild in 1..=2 {
        apply(&mut cache, Encoding::Etf, K::GuildCreate, &json!({"id": id(guild), "channels": [{"id": id(10 * guild)}]}));
    }
    cache
}

fn say(cache: &mut Cache, message: u64, channel: u64) {
    let d = json!({"id": id(message), "channel_id": id(channel), "guild_id": id(channel / 10), "content": "0123456789"});
    assert!(!apply(cache, Encoding::Etf, K::MessageCreate, &d).malformed);
}

fn said(cache: &Cache, channel: u64) -> Vec<u64> {
    cache
        .messages(BASE + channel, u64::MAX, 1000)
        .iter()
        .map(|found| found.object.value().get("id").unwrap().as_id().unwrap() - BASE)
        .collect()
}

#[test]
fn a_channel_keeps_its_newest_messages() {
    let mut cache = cache(CacheConfig { message_count: 3, ..CacheConfig::default() });
    for message in [101, 102, 103, 104] {
        say(&mut cache, message, 10);
    }
    say(&mut cache, 90, 20);
    assert_eq!(said(&cache, 10), [104, 103, 102]);
    say(&mut cache, 100, 10);
    assert_eq!(said(&cache, 10), [104, 103, 102], "one that came late is older than all that are kept");
    assert_eq!(said(&cache, 20), [90]);
    assert_eq!(cache.messages(BASE + 10, BASE + 104, 1).len(), 1);
    assert_eq!(cache.message(BASE + 101), None);
    assert_eq!(cache.evicted(Kind::Message), 0, "a channel's end is all that is promised");
}

#[test]
fn messages_grow_old_by_the_dates_in_their_ids() {
    let mut cache = cache(CacheConfig { message_age_ms: 1000, ..CacheConfig::default() });
    for message in 0..200 {
        say(&mut cache, message * MS, 10);
    }
    say(&mut cache, 1100 * MS, 20);
    assert_eq!(cache.messages(BASE + 10, u64::MAX, 1000).len(), 50);
    say(&mut cache, 1190 * MS, 20);
    assert_eq!(said(&cache, 10).last(), Some(&(190 * MS)));
    say(&mut cache, 5000 * MS, 20);
    assert_eq!((said(&cache, 10), said(&cache, 20)), (vec![], vec![5000 * MS]));
    assert_eq!(cache.size(Kind::Message).count, 1);
}

#[test]
fn the_oldest_messages_of_all_give_way_to_the_limit_in_bytes() {
    let mut cache = cache(CacheConfig { message_bytes: 2000, ..CacheConfig::default() });
    for message in 0..100 {
        say(&mut cache, message, 10 + 10 * (message % 2));
    }
    let size = cache.size(Kind::Message);
    assert!(size.bytes <= 2000 && size.count > 10, "{size:?}");
    assert_eq!(said(&cache, 10)[0], 98);
    assert_eq!(cache.evicted(Kind::Message), 100 - size.count);
    let all = said(&cache, 10).into_iter().chain(said(&cache, 20)).min().unwrap();
    assert_eq!(all, 100 - size.count, "what is left is the newest");
    say(&mut cache, 200, 10);
    let huge = json!({"id": id(201), "channel_id": id(10), "guild_id": id(1), "content": "x".repeat(3000)});
    apply(&mut cache, Encoding::Json, K::MessageCreate, &huge);
    assert_eq!(cache.size(Kind::Message).bytes, 0, "what is larger than the limit is not kept");
}

#[test]
fn a_message_is_the_events_own_bytes() {
    let mut cache = cache(CacheConfig::default());
    let body = bytes::Bytes::from(common::raw(Encoding::Etf, &json!({"id": id(100), "channel_id": id(10), "guild_id": id(1)})));
    cache.apply(K::MessageCreate, trunkline_etf::Value::from_raw(Encoding::Etf, &body), &body);
    assert_eq!(cache.message(BASE + 100).unwrap().object.bytes.as_ptr(), body.as_ptr());
}

#[test]
fn kinds_that_are_switched_off_are_not_kept_and_the_rest_is() {
    let guild = json!({
        "id": id(1), "roles": [{"id": id(2)}], "members": [{"user": {"id": id(3)}}], "presences": [{"user": {"id": id(3)}, "status": "dnd"}],
        "emojis": [{"id": id(4)}],
    });
    for off in Kind::ALL {
        let mut cache = Cache::new(CacheConfig::default().without(off), Users::default());
        for encoding in BOTH {
            apply(&mut cache, encoding, K::GuildCreate, &guild);
            apply(&mut cache, encoding, K::MessageCreate, &json!({"id": id(9), "channel_id": id(8), "guild_id": id(1)}));
        }
        for kind in [Kind::Guild, Kind::Role, Kind::Member, Kind::Presence, Kind::Emojis, Kind::Message] {
            let kept = kind == Kind::Guild || kind != off;
            assert_eq!(cache.size(kind).count, u64::from(kept), "{kind:?} without {off:?}");
        }
    }
    let mut none = cache(CacheConfig { message_count: 0, ..CacheConfig::default() });
    say(&mut none, 100, 10);
    assert_eq!(none.size(Kind::Message).count, 0);
}

#[test]
fn a_deleted_role_goes_from_members_though_roles_are_switched_off() {
    let mut cache = Cache::new(CacheConfig::default().without(Kind::Role), Users::default());
    let guild = json!({
        "id": id(1), "roles": [{"id": id(20)}, {"id": id(21)}],
        "members": [{"user": {"id": id(3)}, "roles": [id(20), id(21)]}, {"user": {"id": id(4)}, "roles": [id(20)]}],
    });
    apply(&mut cache, Encoding::Etf, K::GuildCreate, &guild);
    let with = |cache: &mut Cache, role: u64| cache.member_ids_with_role(BASE + 1, BASE + role, 0, 10);
    assert_eq!(with(&mut cache, 20), [BASE + 3, BASE + 4]);
    assert_eq!(cache.member_ids_with_role(BASE + 1, BASE + 1, BASE + 3, 10), [BASE + 4], "everybody");
    let mut disk = Disk::default();
    disk.save(&mut cache);
    let gone = json!({"guild_id": id(1), "role_id": id(20)});
    apply(&mut cache, Encoding::Etf, K::GuildRoleDelete, &gone);
    let mut disk_of = |cache: &mut Cache| {
        disk.save(cache);
        disk.load_with(CacheConfig::default().without(Kind::Role), true)
    };
    let mut again = disk_of(&mut cache);
    for cache in [&mut cache, &mut again] {
        assert_eq!(common::found(cache.member(BASE + 1, BASE + 3)).unwrap()["roles"], json!([id(21)]));
        assert_eq!((with(cache, 20), with(cache, 21)), (vec![], vec![BASE + 3]));
    }
    // Told twice it is noted once.
    apply(&mut cache, Encoding::Etf, K::GuildRoleDelete, &gone);
    assert_eq!(cache.changes_pending(), 0);
}

#[test]
fn what_nothing_confirms_has_a_number_and_the_oldest_gives_way() {
    let ban = |user: u64| json!({"guild_id": id(1 + user % 2), "user": {"id": id(user)}});
    let mut cache = cache(CacheConfig::default());
    let max = UNCONFIRMED_MAX as u64;
    for user in 0..max + 10 {
        apply(&mut cache, Encoding::Etf, K::GuildBanAdd, &ban(user));
    }
    assert_eq!((cache.size(Kind::Ban).count, cache.evicted(Kind::Ban)), (max, 10));
    assert_eq!(cache.one(Kind::Ban, BASE + 2, BASE + 9), None);
    assert!(cache.one(Kind::Ban, BASE + 1, BASE + 10).is_some());
    // Nothing remembers the order over a restart but the ids.
    let mut disk = Disk::default();
    disk.save(&mut cache);
    let mut cache = disk.load(true);
    apply(&mut cache, Encoding::Etf, K::GuildBanAdd, &ban(5));
    assert_eq!((cache.size(Kind::Ban).count, cache.evicted(Kind::Ban)), (max, 1));
    assert!(cache.one(Kind::Ban, BASE + 2, BASE + 5).is_some(), "what has just come stays");
    for round in 0..3 {
        for user in 0..max {
            apply(&mut cache, Encoding::Etf, K::GuildBanRemove, &ban(user));
            apply(&mut cache, Encoding::Etf, K::GuildBanAdd, &ban(user + round % 2));
        }
    }
    assert!(cache.size(Kind::Ban).count <= max);
}

fn crowd(guild: u64, members: u64) -> Json {
    let users: Vec<u64> = (0..members).map(|member| guild * 10_000 + member).collect();
    json!({
        "id": id(guild), "channels": [{"id": id(guild * 10)}],
        "members": users.iter().map(|user| json!({"user": {"id": id(*user), "username": format!("user {user}")}, "nick": "n", "roles": []})).collect::<Vec<_>>(),
        "presences": users.iter().step_by(2).map(|user| json!({"user": {"id": id(*user)}, "status": "dnd"})).collect::<Vec<_>>(),
        "voice_states": [{"user_id": id(users[1]), "channel_id": id(guild * 10)}],
    })
}

fn used(cache: &Cache) -> u64 {
    let memory = cache.memory();
    memory.sum() - memory.room
}

#[test]
fn presences_give_way_to_the_budget_first_then_messages_then_offline_members() {
    let fill = |budget: Option<u64>| {
        let mut cache = cache(CacheConfig { budget_bytes: budget, ..CacheConfig::default() });
        apply(&mut cache, Encoding::Etf, K::Ready, &json!({"user": {"id": id(10_003)}}));
        for message in 0..40 {
            say(&mut cache, message, 10);
        }
        for guild in 1..=2 {
            apply(&mut cache, Encoding::Etf, K::GuildCreate, &crowd(guild, 500));
        }
        // Work is done in steps: events go on.
        for _ in 0..60 {
            apply(&mut cache, Encoding::Etf, K::Resumed, &json!({}));
            apply(&mut cache, Encoding::Etf, K::ChannelUpdate, &json!({"id": id(10), "guild_id": id(1)}));
        }
        cache
    };
    let all = fill(None);
    let counts = |cache: &Cache| [Kind::Presence, Kind::Message, Kind::Member].map(|kind| (cache.size(kind).count, cache.evicted(kind)));
    assert_eq!(counts(&all), [(500, 0), (40, 0), (1000, 0)]);
    let full = used(&all);

    let some = fill(Some(full - 1000));
    let [presences, messages, members] = counts(&some);
    assert!(presences.0 < 500 && presences.0 > 400 && presences.0 + presences.1 == 500, "{presences:?}");
    assert_eq!((messages, members), ((40, 0), (1000, 0)));
    assert!(used(&some) <= full - 1000);

    let few = fill(Some(full / 2));
    let [presences, messages, members] = counts(&few);
    assert_eq!((presences, messages), ((0, 500), (0, 40)), "all of one kind go before the next");
    assert!(members.0 < 1000 && members.0 + members.1 == 1000, "{members:?}");
    assert!(used(&few) <= full / 2);

    let online = |cache: &Cache| {
        (1..=2)
            .flat_map(|guild| (0..500).step_by(2).map(move |nth| (guild, nth)))
            .filter(|(guild, nth)| cache.member(BASE + guild, BASE + guild * 10_000 + nth).is_some())
            .count()
    };
    let most = fill(Some(full * 5 / 6));
    let [presences, _, members] = counts(&most);
    assert_eq!(presences, (0, 500), "the presences go first, and who was online is known all the same");
    assert!(members.1 > 50 && members.1 < 490, "{members:?}");
    assert_eq!(online(&most), 500);

    let none = fill(Some(1));
    let [_, _, members] = counts(&none);
    assert_eq!(members, (3, 997), "the bot, and those in voice, stay: {members:?}");
    assert!(none.member(BASE + 1, BASE + 10_003).is_some() && none.member(BASE + 1, BASE + 10_001).is_some());
    assert_eq!(none.size(Kind::Channel).count, 2);
}

#[test]
fn who_is_told_to_be_offline_after_their_presence_gave_way_goes_before_those_who_are_not() {
    for way in 0..3 {
        let mut all = crowd(1, 100);
        all["presences"] = json!([]);
        let mut without = cache(CacheConfig::default());
        apply(&mut without, Encoding::Etf, K::GuildCreate, &all);
        let mut cache = cache(CacheConfig { budget_bytes: Some(used(&without) + 1500), ..CacheConfig::default() });
        let idle = |nth: u64| json!({"user": {"id": id(10_000 + nth)}, "status": "idle", "activities": [{"name": "x".repeat(300)}]});
        all["presences"] = (0..100).map(idle).collect();
        apply(&mut cache, Encoding::Etf, K::GuildCreate, &all);
        assert!(cache.evicted(Kind::Presence) > 90);
        let left = |cache: &Cache, nth: u64| cache.member(BASE + 1, BASE + 10_000 + nth).is_none();
        assert!((0..100).all(|nth| !left(&cache, nth)), "all are online");
        let off: Vec<u64> = (0..100).step_by(5).collect();
        let user = |nth: &u64| json!({"user": {"id": id(10_000 + nth)}, "status": "offline", "activities": []});
        match way {
            0 => off.iter().for_each(|nth| {
                let mut told = user(nth);
                told["guild_id"] = id(1).into();
                apply(&mut cache, Encoding::Etf, K::PresenceUpdate, &told);
            }),
            1 => {
                let presences: Vec<Json> = off.iter().map(user).collect();
                let chunk = json!({"guild_id": id(1), "members": [], "presences": presences, "chunk_index": 0, "chunk_count": 1});
                drop(apply(&mut cache, Encoding::Json, K::GuildMembersChunk, &chunk));
            }
            _ => {
                all["presences"] = off.iter().map(user).collect();
                drop(apply(&mut cache, Encoding::Json, K::GuildCreate, &all));
            }
        }
        // What cannot give way grows, until a member must go.
        for role in 0..1000 {
            if (0..100).any(|nth| left(&cache, nth)) {
                break;
            }
            apply(&mut cache, Encoding::Etf, K::GuildRoleCreate, &json!({"guild_id": id(1), "role": {"id": id(500 + role), "name": "x"}}));
        }
        let gone: Vec<u64> = (0..100).filter(|nth| left(&cache, *nth)).collect();
        assert!(!gone.is_empty() && gone.iter().all(|nth| nth % 5 == 0), "way {way}: {gone:?}");
    }
}

/// One in a hundred events is none of a presence: each presence goes as soon as it has come, and members have to go meanwhile.
#[test]
fn the_budget_is_kept_and_the_offline_go_first_while_hardly_anything_but_presences_comes() {
    for (guilds, members) in [(1, 3_000), (300, 10)] {
        let fill = |budget: Option<u64>| {
            let mut cache = cache(CacheConfig { budget_bytes: budget, ..CacheConfig::default() });
            for guild in 1..=guilds {
                apply(&mut cache, Encoding::Etf, K::GuildCreate, &crowd(guild, members));
            }
            cache
        };
        let mut without = cache(CacheConfig::default());
        for guild in 1..=guilds {
            let mut bare = crowd(guild, members);
            bare["presences"] = json!([]);
            apply(&mut without, Encoding::Etf, K::GuildCreate, &bare);
        }
        drop(without.take_changes());
        let budget = used(&without) * 9 / 10;
        let mut cache = fill(Some(budget));
        let mut dice = trunkline_discord::Dice::new(guilds);
        let mut least = u64::MAX;
        for _ in 0..10_000 {
            let (guild, member) = (1 + dice.below(guilds), 2 * dice.below(members / 2));
            let mut told = presence(guild * 10_000 + member, "idle");
            told["guild_id"] = id(guild).into();
            apply(&mut cache, Encoding::Etf, K::PresenceUpdate, &told);
            least = least.min(used(&cache));
            drop(cache.take_changes());
        }
        assert!(least <= budget && used(&cache) <= budget + 2_000, "{guilds} guilds: {} of {budget}", used(&cache));
        let online = (1..=guilds).flat_map(|guild| (0..members).step_by(2).map(move |nth| (guild, guild * 10_000 + nth)));
        let gone = online.filter(|(guild, user)| cache.member(BASE + guild, BASE + user).is_none()).count();
        assert!(cache.evicted(Kind::Member) > 100 && gone == 0, "{gone} of {} who went were online", cache.evicted(Kind::Member));
    }
}

#[test]
fn what_could_not_give_way_once_holds_up_nothing_when_it_has_gone() {
    let roles: Vec<Json> = (0..3_000).map(|nth| json!({"id": id(50_000 + nth), "name": "r".repeat(90)})).collect();
    let mut without = cache(CacheConfig::default());
    apply(&mut without, Encoding::Etf, K::GuildCreate, &crowd(2, 1_000));
    let budget = used(&without) * 3 / 4;
    let mut cache = cache(CacheConfig { budget_bytes: Some(budget), ..CacheConfig::default() });
    apply(&mut cache, Encoding::Etf, K::GuildCreate, &json!({"id": id(1), "roles": roles}));
    drop(cache.take_changes());
    apply(&mut cache, Encoding::Etf, K::Resumed, &json!({}));
    assert!(used(&cache) > used(&without), "roles do not give way");
    apply(&mut cache, Encoding::Etf, K::GuildDelete, &json!({"id": id(1)}));
    apply(&mut cache, Encoding::Etf, K::GuildCreate, &crowd(2, 1_000));
    for _ in 0..200 {
        drop(cache.take_changes());
        apply(&mut cache, Encoding::Etf, K::ChannelUpdate, &json!({"id": id(20), "guild_id": id(2)}));
    }
    assert!(used(&cache) <= budget && cache.evicted(Kind::Member) > 0, "{} of {budget}", used(&cache));
}

#[test]
fn one_event_does_a_bounded_part_of_the_work() {
    let mut cache = cache(CacheConfig { budget_bytes: Some(1), ..CacheConfig::default() });
    apply(&mut cache, Encoding::Etf, K::GuildCreate, &crowd(1, 1000));
    let before = cache.size(Kind::Presence).count + cache.size(Kind::Member).count;
    apply(&mut cache, Encoding::Etf, K::ChannelUpdate, &json!({"id": id(10), "guild_id": id(1)}));
    let after = cache.size(Kind::Presence).count + cache.size(Kind::Member).count;
    assert!(before - after <= 70, "{before} {after}");
}

fn presence(user: u64, status: &str) -> Json {
    json!({"guild_id": id(1), "user": {"id": id(user)}, "status": status, "activities": [{"name": "x".repeat(300), "type": 0}], "odd": null})
}

#[test]
fn a_presence_told_lately_is_the_events_own_bytes_and_so_is_the_one_before() {
    for encoding in BOTH {
        let mut cache = cache(CacheConfig::default());
        let tell = |cache: &mut Cache, d: &Json| {
            let body = bytes::Bytes::from(common::raw(encoding, d));
            let change = cache.apply(K::PresenceUpdate, trunkline_etf::Value::from_raw(encoding, &body), &body);
            assert!(!change.malformed);
            (body, change.previous.map(|object| object.bytes.clone()))
        };
        let (first, none) = tell(&mut cache, &presence(7, "idle"));
        assert_eq!(none, None);
        let kept = |cache: &Cache| cache.presence(BASE + 1, BASE + 7).map(|found| found.object.bytes);
        assert_eq!(kept(&cache).unwrap().as_ptr(), first.as_ptr());
        let (second, before) = tell(&mut cache, &presence(7, "dnd"));
        assert_eq!(before.unwrap().as_ptr(), first.as_ptr());
        assert_eq!(kept(&cache).unwrap().as_ptr(), second.as_ptr());
        assert!(cache.size(Kind::Presence).bytes > second.len() as u64, "{:?}", cache.size(Kind::Presence));
        let (_, before) = tell(&mut cache, &presence(7, "offline"));
        assert_eq!(before.unwrap().as_ptr(), second.as_ptr());
        assert_eq!((kept(&cache), cache.size(Kind::Presence).bytes), (None, 0));
        drop(first);
        assert!(second.is_unique(), "what is not kept any more is not held");
    }
}

#[test]
fn presences_that_lie_as_they_came_have_a_limit_beyond_which_the_oldest_are_packed_and_none_is_lost() {
    let mut cache = cache(CacheConfig { presence_bytes: 3_000, ..CacheConfig::default() });
    let raw = |cache: &Cache, user: u64| cache.presence(BASE + 1, BASE + user).unwrap().object.encoding == Encoding::Etf;
    for user in 0..40 {
        apply(&mut cache, Encoding::Etf, K::PresenceUpdate, &presence(100 + user, "idle"));
    }
    let as_it_came = common::raw(Encoding::Etf, &presence(100, "idle")).len() as u64;
    let many = (0..40).filter(|user| raw(&cache, 100 + user)).count() as u64;
    assert!((4..=3_000 / as_it_came).contains(&many), "{many} of {as_it_came} bytes");
    assert!((0..40).rev().take(many as usize).all(|user| raw(&cache, 100 + user)), "the newest lie as they came");
    // Told again it is the newest.
    apply(&mut cache, Encoding::Etf, K::PresenceUpdate, &presence(140 - many, "dnd"));
    apply(&mut cache, Encoding::Etf, K::PresenceUpdate, &presence(100, "dnd"));
    assert!(raw(&cache, 140 - many) && raw(&cache, 100) && !raw(&cache, 141 - many));
    assert_eq!((cache.size(Kind::Presence).count, cache.evicted(Kind::Presence)), (40, 0));
    for user in 0..40 {
        let wanted = if user == 0 || user == 40 - many { "dnd" } else { "idle" };
        assert_eq!(common::found(cache.presence(BASE + 1, BASE + 100 + user)).unwrap(), presence(100 + user, wanted));
    }
    // One that would pack hundreds of others is packed itself.
    let mut huge = presence(300, "idle");
    huge["activities"] = json!(["x".repeat(20_000)]);
    apply(&mut cache, Encoding::Etf, K::PresenceUpdate, &huge);
    assert!(!raw(&cache, 300) && raw(&cache, 100));
    assert_eq!(common::found(cache.presence(BASE + 1, BASE + 300)), Some(huge));
    apply(&mut cache, Encoding::Etf, K::GuildDelete, &json!({"id": id(1)}));
    apply(&mut cache, Encoding::Etf, K::GuildDelete, &json!({"id": id(2)}));
    assert_eq!((cache.size(Kind::Presence).count, cache.size(Kind::Presence).bytes, cache.memory().objects), (0, 0, 0));
}

#[test]
fn presences_that_lie_as_they_came_are_packed_before_the_budget_drops_any() {
    let fill = |budget: Option<u64>, presence_bytes: u64| {
        let mut cache = cache(CacheConfig { budget_bytes: budget, presence_bytes, ..CacheConfig::default() });
        for user in 0..200 {
            apply(&mut cache, Encoding::Etf, K::PresenceUpdate, &presence(1_000 + user, "idle"));
        }
        cache
    };
    let packed = used(&fill(None, 0));
    let raw = used(&fill(None, CacheConfig::PRESENCE_BYTES));
    assert!(raw > packed + 200 * 50, "{raw} {packed}");
    let squeezed = fill(Some(packed + 1_000), CacheConfig::PRESENCE_BYTES);
    assert_eq!((squeezed.size(Kind::Presence).count, squeezed.evicted(Kind::Presence)), (200, 0));
    assert!(used(&squeezed) <= packed + 1_000);
}

#[test]
fn voice_states_that_lie_as_they_came_are_packed_before_the_budget_drops_messages_or_members() {
    let fill = |budget: Option<u64>, presence_bytes: u64| {
        let mut cache = cache(CacheConfig { budget_bytes: budget, presence_bytes, ..CacheConfig::default() });
        say(&mut cache, 101, 10);
        for user in 0..200 {
            let member = json!({"user": {"id": id(1_000 + user), "username": "somebody"}, "nick": null, "roles": [], "joined_at": "2020-01-01T00:00:00+00:00"});
            let d = json!({"guild_id": id(1), "channel_id": id(10), "user_id": id(1_000 + user), "session_id": "s", "self_mute": false, "member": member});
            assert!(!apply(&mut cache, Encoding::Etf, K::VoiceStateUpdate, &d).malformed);
        }
        cache
    };
    let packed = used(&fill(None, 0));
    let raw = used(&fill(None, CacheConfig::PRESENCE_BYTES));
    assert!(raw > packed + 200 * 50, "{raw} {packed}");
    let squeezed = fill(Some(packed + 1_000), CacheConfig::PRESENCE_BYTES);
    assert_eq!(
        (squeezed.size(Kind::VoiceState).count, squeezed.size(Kind::Member).count, squeezed.size(Kind::Message).count),
        (200, 200, 1)
    );
    assert!(used(&squeezed) <= packed + 1_000);
}
