use super::*;

async fn ids(api: &Router, path: &str) -> Vec<String> {
    let got = get(api, &format!("/v1/events/guilds/1000/{path}")).await.json();
    got.as_array().unwrap().iter().map(|object| object["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_is_put_is_there_and_what_is_deleted_is_gone() {
    let api = api(true, Format::Json);
    let path = |rest: &str| format!("/v1/events/guilds/1000/{rest}");
    let put = with_body(
        &api,
        "POST",
        &path("roles"),
        r#"{"1002":{"name":"new","permissions":"0","odd":[1]},"1001":{"id":"1001","name":"changed"}}"#,
    )
    .await;
    assert_eq!((put.status, put.text()), (StatusCode::OK, "Guild roles set successfully"));
    assert_eq!(get(&api, &path("roles/1002")).await.json(), json!({ "id": "1002", "name": "new", "permissions": "0", "odd": [1] }));
    assert_eq!(get(&api, &path("roles/1001")).await.json()["name"], "changed");
    let gone = with_body(&api, "DELETE", &path("roles/delete"), r#"["1001","77"]"#).await;
    assert_eq!((gone.status, gone.text()), (StatusCode::OK, "Guild roles deleted successfully"));
    assert_eq!(ids(&api, "roles").await, ["1000", "1002"]);
    assert_eq!(get(&api, &path("members/1")).await.json()["roles"], json!([]), "a role that is gone is nobody's");
    assert_eq!(with_body(&api, "DELETE", &path("roles/wipe"), "").await.status, StatusCode::OK);
    assert!(ids(&api, "roles").await.is_empty());

    let put = with_body(&api, "POST", &path("channels"), r#"{"1012":{"type":0,"name":"made"}}"#).await;
    assert_eq!((put.status, put.text()), (StatusCode::OK, "Guild channels set successfully"));
    assert_eq!(get(&api, "/v1/events/channels/1012").await.json()["guild_id"], "1000");
    assert_eq!(with_body(&api, "DELETE", &path("channels/delete"), r#"["1010"]"#).await.text(), "Guild channels deleted successfully");
    assert_eq!(ids(&api, "channels").await, ["1011", "1012"]);
    assert_eq!(with_body(&api, "DELETE", &path("channels/wipe"), "").await.status, StatusCode::OK);
    assert!(ids(&api, "channels").await.is_empty());

    let put =
        with_body(&api, "POST", &path("members"), r#"{"5":{"user":{"id":"5","username":"eve"},"roles":[],"nick":"E"},"6":{"nick":"F"}}"#)
            .await;
    assert_eq!((put.status, put.text()), (StatusCode::OK, "Guild members set successfully"));
    assert_eq!(get(&api, &path("members/5")).await.json()["user"]["username"], "eve");
    assert_eq!(get(&api, &path("members/6")).await.json()["user"]["id"], "6");
}

#[tokio::test]
async fn what_a_bot_does_not_keep_cannot_be_set_and_nothing_says_that_it_was() {
    for (kind, path, body) in [
        (Kind::Role, "roles", r#"{"1002":{"name":"new"}}"#),
        (Kind::Member, "members", r#"{"5":{"user":{"id":"5","username":"eve"},"roles":[]}}"#),
        (Kind::Channel, "channels", r#"{"1012":{"type":0,"name":"made"}}"#),
    ] {
        let keeps = CacheConfig::default().without(kind);
        let directory = Directory::new(1);
        directory.add_bot(BotEntry::new(FIRST, "bot", 1, 0..1, keeps));
        let shard = ShardId { bot: FIRST, index: 0, count: 1 };
        directory.place(shard, 0);
        let core = core_of(move || {
            let mut cache = Cache::new(keeps, Users::default());
            told(&mut cache, EventKind::GuildCreate, &guild(1000, &[member(1, "anna", None, &[1001])]));
            BTreeMap::from([(shard, cache)])
        });
        let groups = Groups::new(Vec::new()).unwrap();
        let options = StateOptions { format: Format::Json, version: "1".into(), access: Access::new(&groups, &[], true) };
        let api = routes(Arc::new(Live::new(Looker::new(directory, vec![core]))), options);
        for body in [body, "{}"] {
            let put = with_body(&api, "POST", &format!("/v1/events/guilds/1000/{path}"), body).await;
            assert_eq!(put.status, StatusCode::BAD_REQUEST, "{path}: {}", put.text());
            assert!(put.text().contains("switched off") && put.text().contains("bot 7"), "{path}: {}", put.text());
        }
        assert!(ids(&api, path).await.is_empty());
        for (other, body) in [("roles", r#"{"1003":{"name":"other"}}"#), ("channels", r#"{"1013":{"type":0}}"#)] {
            if other != path {
                assert_eq!(with_body(&api, "POST", &format!("/v1/events/guilds/1000/{other}"), body).await.status, StatusCode::OK);
            }
        }
        // What is not kept is gone.
        if path != "members" {
            let gone = with_body(&api, "DELETE", &format!("/v1/events/guilds/1000/{path}/wipe"), "").await;
            assert_eq!(gone.status, StatusCode::OK, "{}", gone.text());
        }
    }
}
