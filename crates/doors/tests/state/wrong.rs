use super::*;

#[tokio::test]
async fn what_is_no_id_is_400_and_says_which() {
    let api = api(true, Format::Json);
    for (path, says) in [
        ("users/abc", "user"),
        ("guilds/-1", "guild"),
        ("guilds/+1", "guild"),
        ("users?userIDs=1,,2", "userIDs"),
        ("guilds/1000/members/x", "member"),
        ("guilds/1000/roles/99999999999999999999", "role"),
        ("guilds/1000/roles?id=1&id=x", "id"),
        ("users?userIDs=1,x", "userIDs"),
        ("users", "userIDs"),
        ("user_in_guilds?user_id=1", "server_ids"),
        ("user_in_guilds_has_roles?user_id=1&server_ids=1", "role_ids"),
        ("guilds/1000?bot_id=x", "bot_id"),
        ("guilds/1000/members?limit=0", "limit"),
        ("guilds/1000/members?after=x", "after"),
        ("guilds/1000/emojis/9223372036854775808", "emoji"),
        ("guilds/%FF", ""),
    ] {
        let got = get(&api, &format!("/v1/events/{path}")).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{path}: {}", got.text());
        assert!(got.text().contains(says), "{path}: {}", got.text());
    }
    let many = vec!["id=1"; 12_000].join("&");
    assert_eq!(get(&api, &format!("/v1/events/guilds/1000/members?{many}")).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_405_and_says_where_to_look() {
    let api = api(true, Format::Json);
    for (method, path) in
        [("DELETE", "guilds/1000"), ("POST", "guilds_count"), ("PUT", "guilds/1000/roles"), ("GET", "guilds/1000/roles/wipe")]
    {
        let got = with_body(&api, method, &format!("/v1/events/{path}"), "").await;
        assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert!(got.text().contains("openapi.json"), "{method} {path}: {}", got.text());
    }
}

#[tokio::test]
async fn a_guild_of_several_bots_wants_the_bot_named_and_an_unknown_bot_is_told() {
    let api = api(true, Format::Json);
    let got = get(&api, "/v1/events/guilds/2000").await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    assert!(got.text().contains("several bots"), "{}", got.text());
    assert_eq!(get(&api, "/v1/events/guilds/2000?bot_id=8").await.json()["name"], "guild 2000");
    assert_eq!(get(&api, "/v1/events/guilds/1000?bot_id=8").await.status, StatusCode::NOT_FOUND);
    let unknown = get(&api, "/v1/events/guilds/2000?bot_id=9").await;
    assert!(unknown.status == StatusCode::BAD_REQUEST && unknown.text().contains("bot 9"), "{}", unknown.text());
}

#[tokio::test]
async fn while_a_bot_has_not_come_up_nothing_partial_is_answered_for_all_of_them() {
    let directory = Directory::new(2);
    up(&directory, FIRST, 1);
    let groups = Groups::new(Vec::new()).unwrap();
    let options = StateOptions { format: Format::Json, version: "1".into(), access: Access::new(&groups, &[], true) };
    let api = routes(Arc::new(Live::new(Looker::new(directory.clone(), vec![core_of(world)]))), options);
    for path in ["guilds_count", "threads", "channels/2010/threads", "users/99", "users?userIDs=1,99", "channels/99", "threads/99"] {
        let got = get(&api, &format!("/v1/events/{path}")).await;
        assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {}", got.text());
        assert!(got.text().contains("not every bot of this process has come up") && got.text().contains("?bot_id="), "{}", got.text());
    }
    // What is found is found, and a bot that is up answers for itself.
    for path in ["users/1", "users?userIDs=1,2", "channels/1010", "threads/1030", "guilds_count?bot_id=7", "threads?bot_id=7"] {
        assert_eq!(get(&api, &format!("/v1/events/{path}")).await.status, StatusCode::OK, "{path}");
    }
    up(&directory, SECOND, 1);
    assert_eq!(get(&api, "/v1/events/guilds_count").await.text(), "2");
    assert_eq!(get(&api, "/v1/events/users/99").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_token_reaches_as_far_as_its_group_and_no_token_nowhere_unless_allowed() {
    let api = api(false, Format::Json);
    assert_eq!(get(&api, "/v1/events/guilds/1000").await.status, StatusCode::UNAUTHORIZED);
    let with = |token: &str, path: &str| {
        Request::get(format!("/v1/events/{path}")).header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap()
    };
    assert_eq!(send(&api, with("wrong", "guilds/1000")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&api, with("poppy", "guilds/1000")).await.json()["name"], "guild 1000");
    assert_eq!(send(&api, with("poppy", "guilds/2000?bot_id=7")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(send(&api, with("poppy", "guilds/2000?bot_id=8")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(send(&api, with("poppy", "threads/2030")).await.status, StatusCode::NOT_FOUND);
    let threads = send(&api, with("poppy", "threads")).await.json();
    assert_eq!(threads.as_array().unwrap().len(), 1);
    assert_eq!(send(&api, with("poppy", "guilds_count")).await.text(), "1");
    assert_eq!(get(&api, "/healthz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_is_not_what_it_must_be_is_400() {
    let api = api(true, Format::Json);
    for (method, path, body) in [
        ("POST", "roles", "{"),
        ("POST", "roles", "[]"),
        ("POST", "roles", r#"{"x":{}}"#),
        ("POST", "roles", r#"{"5":7}"#),
        ("POST", "members", ""),
        ("DELETE", "roles/delete", "{}"),
        ("DELETE", "roles/delete", r#"["x"]"#),
        ("DELETE", "channels/delete", r#"[[]]"#),
    ] {
        let got = with_body(&api, method, &format!("/v1/events/guilds/1000/{path}"), body).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{method} {path} {body}: {}", got.text());
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(with_body(&api, "POST", "/v1/events/guilds/1000/roles", &deep).await.status, StatusCode::BAD_REQUEST);
    let long = "x".repeat(trunkline_doors::state::BODY_BYTES_MAX + 1);
    assert_eq!(with_body(&api, "POST", "/v1/events/guilds/1000/roles", &long).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(with_body(&api, "POST", "/v1/events/guilds/99/roles", "{}").await.status, StatusCode::NOT_FOUND);
    assert_eq!(with_body(&api, "PUT", "/v1/events/guilds/1000", "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(get(&api, "/v1/events/nothing").await.status, StatusCode::NOT_FOUND);
}
