//! What a token of some guilds reaches of bots that are in more: one of two shards that share their users, and one of a single shard.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use trunkline_doors::Scope;
use trunkline_doors::state::{Answer, Answering, ETF_LISTS_AT_ONCE, Page, Query, StateSource};

use super::*;

/// A guild of the other shard: it is above the two of the first.
const FAR: u64 = 1 << 22;

/// Guilds of the first bot: 1000 and 2000 on shard 0, `FAR` on shard 1. The second bot is in 2000 alone, and has the same threads there.
fn worlds() -> BTreeMap<ShardId, Cache> {
    let mut caches = BTreeMap::new();
    let users = Users::default();
    let thread = json!({ "id": "2031", "type": 11, "name": "second", "parent_id": "2010", "guild_id": "2000" });
    let mut near = Cache::new(CacheConfig::default(), users.clone());
    told(&mut near, EventKind::GuildCreate, &guild(1000, &[member(1, "anna", None, &[])]));
    told(&mut near, EventKind::GuildCreate, &guild(2000, &[member(1, "anna", None, &[]), member(3, "carl", None, &[])]));
    told(&mut near, EventKind::ThreadCreate, &thread);
    for (id, channel, guild) in [("4000", "2010", Some("2000")), ("4001", "555", None)] {
        let mut message = json!({ "id": id, "channel_id": channel, "content": "hush", "author": { "id": "3", "username": "carl" }, "timestamp": "2024-05-06T07:08:09.101000+00:00", "type": 0 });
        if let Some(guild) = guild {
            message["guild_id"] = json!(guild);
        }
        told(&mut near, EventKind::MessageCreate, &message);
    }
    let mut far = Cache::new(CacheConfig::default(), users);
    told(&mut far, EventKind::GuildCreate, &guild(FAR, &[member(4, "dora", None, &[])]));
    caches.insert(ShardId { bot: FIRST, index: 0, count: 2 }, near);
    caches.insert(ShardId { bot: FIRST, index: 1, count: 2 }, far);
    let mut second = Cache::new(CacheConfig::default(), Users::default());
    told(&mut second, EventKind::GuildCreate, &guild(2000, &[member(3, "carl", None, &[])]));
    told(&mut second, EventKind::ThreadCreate, &thread);
    caches.insert(ShardId { bot: SECOND, index: 0, count: 1 }, second);
    caches
}

fn live() -> Live {
    let directory = Directory::new(2);
    up(&directory, FIRST, 2);
    up(&directory, SECOND, 1);
    Live::new(Looker::new(directory, vec![core_of(worlds)]))
}

/// Tokens of the first bot: "lower" for guild 1000, "upper" for guild 2000, "whole" for all.
fn limited(source: Arc<dyn StateSource>) -> Router {
    let group = |id, name: &str| Group { id: GroupId(id), name: name.into(), token: GroupToken::new(name) };
    let groups = Groups::new(vec![group(0, "lower"), group(1, "upper"), group(2, "whole")]).unwrap();
    let filter = |guilds: &[u64]| Filter { bots: vec![FIRST], guilds: guilds.to_vec(), ..Filter::default() };
    let access = Access::new(&groups, &[filter(&[1000]), filter(&[2000]), filter(&[])], false);
    routes(source, StateOptions { format: Format::Json, version: "1".into(), access })
}

async fn asked(api: &Router, token: &str, method: &str, path: &str, body: &str) -> Got {
    let request = Request::builder().method(method).uri(format!("/v1/events/{path}")).header("authorization", format!("Bearer {token}"));
    send(api, request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn a_user_is_seen_by_the_tokens_of_its_guilds_and_by_no_other() {
    let api = limited(Arc::new(live()));
    for (token, user, seen) in [
        // In both guilds, of which one alone is the lowest.
        ("lower", 1, true),
        ("upper", 1, true),
        ("whole", 1, true),
        // The other shard, which shares the user, knows no guild of it.
        ("lower", 3, false),
        ("upper", 3, true),
        ("lower", 4, false),
        ("upper", 4, false),
        ("whole", 4, true),
    ] {
        let got = asked(&api, token, "GET", &format!("users/{user}"), "").await;
        assert_eq!(got.status, if seen { StatusCode::OK } else { StatusCode::NOT_FOUND }, "{token} {user}: {}", got.text());
        let names = asked(&api, token, "GET", &format!("users?userIDs={user}"), "").await.json();
        assert_eq!(names.as_array().unwrap().len(), usize::from(seen), "{token} {user}: {names}");
    }
}

#[tokio::test]
async fn direct_messages_are_for_those_who_may_ask_about_the_whole_bot() {
    let api = limited(Arc::new(live()));
    for (token, path, status) in [
        ("lower", "channels/555/messages/4001", StatusCode::NOT_FOUND),
        ("upper", "channels/555/messages/4001", StatusCode::NOT_FOUND),
        ("whole", "channels/555/messages/4001", StatusCode::OK),
        ("lower", "channels/2010/messages/4000", StatusCode::NOT_FOUND),
        ("upper", "channels/2010/messages/4000", StatusCode::OK),
    ] {
        assert_eq!(asked(&api, token, "GET", path, "").await.status, status, "{token} {path}");
    }
}

#[tokio::test]
async fn a_write_into_one_guild_leaves_the_channels_and_messages_of_others() {
    let api = limited(Arc::new(live()));
    for (method, path, body) in [
        ("DELETE", "guilds/1000/channels/delete", r#"["1010","2010"]"#),
        ("POST", "guilds/1000/channels", r#"{"1012":{"type":0},"2010":{"type":0,"name":"stolen"}}"#),
        ("POST", "guilds/1000/channels", r#"{"2030":{"type":0,"name":"a thread of the other"}}"#),
    ] {
        let got = asked(&api, "lower", method, path, body).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{method} {path}: {}", got.text());
        assert!(got.text().contains("channel 20") && !got.text().contains("2000"), "{}", got.text());
    }
    // Nor is a channel of direct messages the guild's.
    for (method, path, body) in
        [("DELETE", "guilds/1000/channels/delete", r#"["555"]"#), ("POST", "guilds/1000/channels", r#"{"555":{"type":0}}"#)]
    {
        let got = asked(&api, "lower", method, path, body).await;
        assert_eq!((got.status, got.text().contains("channel 555")), (StatusCode::BAD_REQUEST, true), "{method}: {}", got.text());
    }
    assert_eq!(asked(&api, "lower", "DELETE", "guilds/1000/channels/delete", r#"["99"]"#).await.status, StatusCode::OK);
    for path in ["channels/555/messages/4001", "channels/2010/messages/4000", "channels/1010"] {
        assert_eq!(asked(&api, "whole", "GET", path, "").await.status, StatusCode::OK, "{path}");
    }
    assert_eq!(asked(&api, "whole", "GET", "channels/1012", "").await.status, StatusCode::NOT_FOUND, "nothing is done by halves");
    assert_eq!(asked(&api, "whole", "GET", "channels/2010?bot_id=7", "").await.json()["name"], "general");
    let own = asked(&api, "upper", "DELETE", "guilds/2000/channels/delete?bot_id=7", r#"["2010"]"#).await;
    assert_eq!(own.status, StatusCode::OK, "{}", own.text());
    assert_eq!(asked(&api, "whole", "GET", "channels/2010/messages/4000", "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_member_that_is_put_does_not_take_its_user_away_from_the_other_guilds() {
    let api = limited(Arc::new(live()));
    let before = asked(&api, "upper", "GET", "users/1", "").await.json();
    for (token, body) in [
        ("lower", r#"{"1":{"nick":"x"}}"#),
        ("lower", r#"{"1":{"nick":"x","user":{"id":"1","username":"mallory"}}}"#),
        ("whole", r#"{"1":{"nick":"x"}}"#),
        ("whole", r#"{"1":{"nick":"x","user":{"id":"1"}}}"#),
    ] {
        let put = asked(&api, token, "POST", "guilds/1000/members", body).await;
        assert_eq!(put.status, StatusCode::OK, "{}", put.text());
        assert_eq!(asked(&api, "upper", "GET", "users/1", "").await.json(), before, "{token} {body}");
        let member = asked(&api, "lower", "GET", "guilds/1000/members/1", "").await.json();
        assert_eq!((&member["nick"], &member["user"]), (&json!("x"), &before), "{token} {body}");
    }
    // Who may change the whole bot may change its users, and who is unknown comes as told.
    let body = r#"{"1":{"user":{"username":"anne"}}}"#;
    assert_eq!(asked(&api, "whole", "POST", "guilds/1000/members", body).await.status, StatusCode::OK);
    assert_eq!(asked(&api, "upper", "GET", "users/1", "").await.json(), json!({ "id": "1", "username": "anne" }));
    let body = r#"{"8":{"user":{"username":"hugo"}},"9":{"nick":"y"}}"#;
    assert_eq!(asked(&api, "lower", "POST", "guilds/1000/members", body).await.status, StatusCode::OK);
    assert_eq!(asked(&api, "lower", "GET", "users/8", "").await.json(), json!({ "id": "8", "username": "hugo" }));
    assert_eq!(asked(&api, "lower", "GET", "guilds/1000/members/9", "").await.json()["user"], json!({ "id": "9" }));
}

#[tokio::test]
async fn a_user_whom_a_token_does_not_see_cannot_be_put_into_its_guild_to_be_read_there() {
    let api = limited(Arc::new(live()));
    // On the guild's own shard and on one that shares its users; nothing is done by halves.
    for (body, user) in [(r#"{"3":{}}"#, 3), (r#"{"12":{"user":{"username":"new"}},"4":{"user":{"username":"x"}}}"#, 4)] {
        let put = asked(&api, "lower", "POST", "guilds/1000/members", body).await;
        assert_eq!(put.status, StatusCode::FORBIDDEN, "{}", put.text());
        assert!(put.text().contains(&format!("user {user}")), "{}", put.text());
        for path in [format!("users/{user}"), format!("guilds/1000/members/{user}"), "users/12".to_owned()] {
            assert_eq!(asked(&api, "lower", "GET", &path, "").await.status, StatusCode::NOT_FOUND, "{path}");
        }
    }
    // Those of its guilds, and those whom nobody knows, may be put; and whoever sees the whole bot may put anybody.
    for (token, body) in [("lower", r#"{"1":{"nick":"x"},"12":{}}"#), ("whole", r#"{"3":{}}"#)] {
        let put = asked(&api, token, "POST", "guilds/1000/members", body).await;
        assert_eq!(put.status, StatusCode::OK, "{token}: {}", put.text());
    }
    assert_eq!(asked(&api, "lower", "GET", "users/3", "").await.json()["username"], "carl");
}

#[tokio::test]
async fn threads_that_are_not_seen_or_that_two_bots_have_end_no_list_early() {
    let live = live();
    let mut pages = Vec::new();
    let mut next = Some(0);
    while let Some(after) = next {
        let query = Query::Threads(Page { after, limit: 3 });
        let Answer::List { objects, next: more } = live.answer(None, &Scope::default(), query).await.unwrap() else { panic!("no list") };
        pages.push(objects.iter().map(|thread| thread.value().get("id").and_then(Value::as_id).unwrap()).collect::<Vec<_>>());
        next = more;
    }
    assert_eq!(pages, [vec![1030, 2030, 2031], vec![FAR + 30]]);
    let api = limited(Arc::new(live));
    let threads = asked(&api, "upper", "GET", "threads?limit=1", "").await.json();
    assert_eq!(threads[0]["id"], "2030", "the thread before it is not this token's: {threads}");
}

/// Pages without end, and how many of them beyond the first are under way.
#[derive(Default)]
struct Slow {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl StateSource for Slow {
    fn answer<'a>(&'a self, _: Option<u64>, _: &'a Scope, query: Query) -> Answering<'a> {
        let Query::Threads(page) = query else { panic!("{query:?}") };
        Box::pin(async move {
            if page.after > 0 {
                self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
                self.now.fetch_sub(1, Ordering::SeqCst);
            }
            Ok(Answer::List { objects: Vec::new(), next: Some(page.after + 1).filter(|next| *next < 5) })
        })
    }
}

#[tokio::test]
async fn large_etf_lists_are_gathered_a_few_at_a_time() {
    let slow = Arc::new(Slow::default());
    let api = limited(slow.clone());
    let ask = || async {
        let request =
            Request::get("/v1/events/threads").header("authorization", "Bearer whole").header("accept", "application/x-erlang-binary");
        send(&api, request.body(Body::empty()).unwrap()).await.etf()
    };
    let got = futures_util::future::join_all((0..16).map(|_| ask())).await;
    assert!(got.iter().all(|list| *list == json!([])));
    assert_eq!(slow.most.load(Ordering::SeqCst), ETF_LISTS_AT_ONCE);
}

#[tokio::test]
async fn a_body_is_not_even_read_without_a_token_that_fits() {
    let api = limited(Arc::new(live()));
    for (method, path) in [("POST", "guilds/1000/roles"), ("DELETE", "guilds/1000/roles/delete")] {
        for token in ["none", "wrong"] {
            let endless = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
            let mut request = Request::builder().method(method).uri(format!("/v1/events/{path}"));
            if token == "wrong" {
                request = request.header("authorization", "Bearer wrong");
            }
            let got = send(&api, request.body(endless).unwrap()).await;
            assert_eq!(got.status, StatusCode::UNAUTHORIZED, "{method} {path} {token}");
        }
    }
}
