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
