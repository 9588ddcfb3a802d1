use super::*;

/// The lists that have routes of their own, or none at all in the answers of Tatsu's service.
const APART: [&str; 7] = ["channels", "threads", "members", "presences", "voice_states", "roles", "emojis"];

fn only(bot: u64, cache: Cache) -> BTreeMap<ShardId, Cache> {
    let nothing = Cache::new(CacheConfig::default(), Users::default());
    let other = FIRST + SECOND - bot;
    BTreeMap::from([(ShardId { bot, index: 0, count: 1 }, cache), (ShardId { bot: other, index: 0, count: 1 }, nothing)])
}

#[tokio::test]
async fn a_guild_is_what_guild_create_told_but_for_the_lists_that_have_routes() {
    let api = api(true, Format::Json);
    let mut expected = guild(1000, &vec![Json::Null; usize::try_from(MANY).unwrap()]);
    let told = expected.as_object_mut().unwrap();
    told.retain(|key, _| !APART.contains(&key.as_str()));
    assert_eq!(get(&api, "/v1/events/guilds/1000").await.json(), expected);
    assert_eq!(get_etf(&api, "/v1/events/guilds/1000").await.etf(), expected, "in ETF");
}

#[tokio::test]
async fn the_lists_in_a_guild_follow_the_events() {
    let caches = || {
        let mut cache = Cache::new(CacheConfig::default(), Users::default());
        told(&mut cache, EventKind::GuildCreate, &guild(1000, &[]));
        let of_guild = |more: Json| {
            let mut event = json!({ "guild_id": "1000" });
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            event
        };
        for (kind, more) in [
            (EventKind::GuildStickersUpdate, json!({ "stickers": [{ "id": "1042", "name": "new" }] })),
            (EventKind::StageInstanceDelete, json!({ "id": "1050", "channel_id": "1012", "topic": "talk" })),
            (EventKind::GuildScheduledEventCreate, json!({ "id": "1059", "name": "before", "status": 1 })),
            (EventKind::GuildSoundboardSoundUpdate, json!({ "sound_id": "1070", "name": "hiss" })),
            (EventKind::GuildSoundboardSoundDelete, json!({ "sound_id": "1071" })),
        ] {
            told(&mut cache, kind, &of_guild(more));
        }
        // An update of the guild tells of some of these lists, and of none that only GUILD_CREATE has.
        told(&mut cache, EventKind::GuildUpdate, &json!({ "id": "1000", "name": "renamed", "stickers": [{ "id": "1043" }] }));
        only(FIRST, cache)
    };
    let got = get(&api_over(caches, true, Format::Json), "/v1/events/guilds/1000").await.json();
    assert_eq!(got["name"], "renamed");
    for (list, expected) in [
        ("stickers", json!([{ "id": "1043" }])),
        ("stage_instances", json!([])),
        (
            "guild_scheduled_events",
            json!([
                { "guild_id": "1000", "id": "1059", "name": "before", "status": 1 },
                { "id": "1060", "name": "party", "status": 1, "entity_metadata": null },
            ]),
        ),
        ("soundboard_sounds", json!([{ "guild_id": "1000", "sound_id": "1070", "name": "hiss" }])),
    ] {
        assert_eq!(got[list], expected, "{list}");
    }
    for list in APART {
        assert_eq!(got.get(list), None, "{list}");
    }
}

#[tokio::test]
async fn a_list_of_which_nothing_is_known_is_empty_in_the_guild() {
    let caches = || {
        let mut cache = Cache::new(CacheConfig::default(), Users::default());
        // Strange, but what came: no list at all, or something that is none.
        told(&mut cache, EventKind::GuildCreate, &json!({ "id": "1000", "name": "bare", "stickers": 7, "soundboard_sounds": null }));
        only(FIRST, cache)
    };
    let got = get(&api_over(caches, true, Format::Json), "/v1/events/guilds/1000").await.json();
    let expected = json!({ "id": "1000", "name": "bare", "stickers": [], "stage_instances": [], "guild_scheduled_events": [], "soundboard_sounds": [] });
    assert_eq!(got, expected);
}
