use super::*;

#[tokio::test]
async fn every_object_is_found_by_its_route_and_unknown_ones_are_404() {
    let api = api(true, Format::Json);
    for (path, key, expected) in [
        ("users/3", "/username", json!("carl")),
        ("channels/2010", "/name", json!("general")),
        ("channels/2010/messages/4000", "/content", json!("hello")),
        ("guilds/1000", "/name", json!("guild 1000")),
        ("guilds/1000/members/1", "/user/username", json!("anna")),
        ("guilds/1000/members/1", "/nick", json!("Änne")),
        ("guilds/1000/members/1/presence", "/status", json!("dnd")),
        ("guilds/1000/roles/1001", "/name", json!("staff")),
        ("guilds/1000/emojis/1021", "/name", json!("wave")),
        ("threads/1030", "/parent_id", json!("1010")),
    ] {
        let got = get(&api, &format!("/v1/events/{path}")).await.json();
        assert_eq!(got.pointer(key), Some(&expected), "{path}: {got}");
    }
    for path in [
        "users/99",
        "channels/99",
        "channels/2030",
        "channels/2010/messages/99",
        "channels/2011/messages/4000",
        "guilds/99",
        "guilds/1000/members/99",
        "guilds/99/members/1",
        "guilds/1000/members/2/presence",
        "guilds/1000/roles/99",
        "guilds/1000/emojis/99",
        "threads/99",
        "threads/2010",
    ] {
        assert_eq!(get(&api, &format!("/v1/events/{path}")).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let version = get(&api, "/healthz").await;
    assert_eq!((version.status, version.text()), (StatusCode::OK, "Version: 1.2.3"));
}

#[tokio::test]
async fn every_list_has_what_the_guild_has_and_an_unknown_guilds_is_empty() {
    let api = api(true, Format::Json);
    for (path, key, expected) in [
        ("channels/1010/threads", "/id", vec!["1030"]),
        ("channels/1011/threads", "/id", vec![]),
        ("guilds/1000/channels", "/id", vec!["1010", "1011"]),
        ("guilds/1000/roles", "/id", vec!["1000", "1001"]),
        ("guilds/1000/emojis", "/name", vec!["smile", "wave"]),
        ("guilds/1000/threads", "/id", vec!["1030"]),
        ("threads", "/id", vec!["1030", "2030"]),
        ("guilds/1000/members_with_role/1001", "/id", vec!["1"]),
        ("guilds/2000/members?bot_id=8", "/user/id", vec!["1", "3"]),
        ("guilds/1000/members?query=aNN", "/user/username", vec!["anna"]),
        ("guilds/1000/members?query=%C3%A4nne", "/user/username", vec!["anna"]),
        ("guilds/1000/members?query=the+great&limit=2", "/user/username", vec!["anna", "bert"]),
        ("guilds/1000/members?query=an", "", vec![]),
        // Characters, not bytes.
        ("guilds/1000/members?query=%C3%84n", "", vec![]),
        ("guilds/99/members", "", vec![]),
        ("guilds/99/roles", "", vec![]),
        ("guilds/99/channels", "", vec![]),
        ("guilds/99/emojis", "", vec![]),
        ("guilds/99/threads", "", vec![]),
        ("guilds/99/members_with_role/1", "", vec![]),
        ("guilds/1000/roles?limit=1", "/id", vec!["1000"]),
        ("guilds/1000/roles?after=1000", "/id", vec!["1001"]),
    ] {
        let got = get(&api, &format!("/v1/events/{path}")).await.json();
        let found: Vec<&str> = got.as_array().unwrap().iter().map(|object| object.pointer(key).unwrap().as_str().unwrap()).collect();
        assert_eq!(found, expected, "{path}");
    }
}

#[tokio::test]
async fn a_list_of_many_pages_comes_whole_in_order_and_once() {
    let api = api(true, Format::Json);
    for got in [get(&api, "/v1/events/guilds/1000/members").await.json(), get_etf(&api, "/v1/events/guilds/1000/members").await.etf()] {
        let ids: Vec<u64> = got.as_array().unwrap().iter().map(|member| member["user"]["id"].as_str().unwrap().parse().unwrap()).collect();
        assert_eq!(ids.len() as u64, MANY);
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }
    let part = get(&api, "/v1/events/guilds/1000/members?limit=1500&after=2").await.json();
    assert_eq!(part.as_array().unwrap().len(), 1_500);
    assert_eq!(part[0]["user"]["id"], "10002");
}

#[tokio::test]
async fn named_members_and_roles_come_in_order_with_holes() {
    let api = api(true, Format::Json);
    let got = get(&api, "/v1/events/guilds/1000/members?id=2&id=99&id=1").await.json();
    assert_eq!(
        (&got[0]["user"]["username"], &got[1], &got[2]["user"]["username"]),
        (&json!("bert"), &json!({ "id": "99", "is_empty": true }), &json!("anna"))
    );
    let got = get_etf(&api, "/v1/events/guilds/1000/roles?id=99&id=1001").await.etf();
    assert_eq!((&got[0], &got[1]["name"]), (&json!({ "id": "99", "is_empty": true }), &json!("staff")));
    let nowhere = get(&api, "/v1/events/guilds/99/roles?id=5").await.json();
    assert_eq!(nowhere, json!([{ "id": "5", "is_empty": true }]));
}

#[tokio::test]
async fn counts_names_and_memberships() {
    let api = api(true, Format::Json);
    assert_eq!(get(&api, "/v1/events/guilds_count").await.text(), "2");
    assert_eq!(get(&api, "/v1/events/guilds_count?bot_id=8").await.text(), "1");
    assert_eq!(get_etf(&api, "/v1/events/guilds_count").await.body.as_ref(), [131, 97, 2]);
    let names = get(&api, "/v1/events/users?userIDs=3,99,1").await.json();
    assert_eq!(names, json!([{ "UserID": "3", "Username": "carl" }, { "UserID": "1", "Username": "anna" }]));
    for (query, expected) in [
        ("user_in_guilds?user_id=1&server_ids=99,1000", true),
        ("user_in_guilds?user_id=3&server_ids=1000", false),
        ("user_in_guilds_has_roles?user_id=1&server_ids=1000&role_ids=5,1001", true),
        ("user_in_guilds_has_roles?user_id=2&server_ids=1000&role_ids=1001", false),
        ("user_in_guilds_has_roles?user_id=2&server_ids=1000&role_ids=1000", true),
        ("user_in_guilds_has_roles?user_id=3&server_ids=1000&role_ids=2001", false),
    ] {
        assert_eq!(get(&api, &format!("/v1/events/{query}")).await.json(), json!({ "exists": expected }), "{query}");
        assert_eq!(get_etf(&api, &format!("/v1/events/{query}")).await.etf(), json!({ "exists": expected }), "{query}");
    }
}

#[tokio::test]
async fn etf_is_given_to_whoever_accepts_it_or_by_configuration() {
    let api = api(true, Format::Etf);
    let got = get(&api, "/v1/events/guilds/1000").await.etf();
    assert_eq!(got["name"], "guild 1000");
    assert_eq!(get(&api, "/v1/events/guilds/99/roles").await.body.as_ref(), [131, 106], "the empty list");
    for (accept, etf) in [
        ("application/json;q=0.5, application/x-erlang-binary", true),
        ("application/x-erlang-binary;q=0.5, application/json", false),
        ("application/x-erlang-binary; Q=0.8, application/json;q=0.8", true),
        ("application/json;q=0, */*", true),
        ("application/x-erlang-binary;q=0", false),
        ("application/json;q=x, application/x-erlang-binary;q=0.1", false),
        ("text/plain", true),
    ] {
        let request = Request::get("/v1/events/guilds_count").header("accept", accept).body(Body::empty()).unwrap();
        assert_eq!(send(&api, request).await.kind == "application/x-erlang-binary", etf, "{accept}");
    }
    let json = Request::get("/v1/events/guilds/1000").header("accept", "text/html, application/json;q=0.9").body(Body::empty()).unwrap();
    assert_eq!(send(&api, json).await.json()["name"], "guild 1000");
}
