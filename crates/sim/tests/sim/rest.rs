//! The REST side: what bots ask at their start, and what is refused.

use std::time::Duration;

use crate::client::request;
use serde_json::{Value, json};
use trunkline_sim::{BotConfig, Config, Sim, SimHandle};

const AGENT: &str = "user-agent: DiscordBot (https://example.com, 1.0)";

async fn get(sim: &SimHandle, path: &str) -> (u16, String, Value) {
    request(sim, &format!("GET {path} HTTP/1.1\r\n{AGENT}\r\nauthorization: Bot sim"), "").await
}

#[tokio::test(start_paused = true)]
async fn a_bot_finds_its_gateway_its_user_and_its_application() {
    let sim = Sim::start(Config { shards: 16, max_concurrency: 4, ..Config::default() }).await.unwrap();
    for base in ["/api/v10", "/api/v9", "/api"] {
        let (status, _, body) = get(&sim, &format!("{base}/gateway")).await;
        assert_eq!(status, 200);
        assert_eq!(body["url"], format!("ws://{}", sim.addr()));
    }
    let (status, head, body) = get(&sim, "/api/v10/gateway/bot").await;
    assert_eq!((status, &body["shards"]), (200, &json!(16)));
    let limit = &body["session_start_limit"];
    assert_eq!((&limit["total"], &limit["remaining"], &limit["max_concurrency"]), (&json!(1000), &json!(1000), &json!(4)));
    assert!(limit["reset_after"].as_u64().unwrap() > 86_000_000);
    assert!(head.contains("x-ratelimit-remaining: 1") && head.contains("x-ratelimit-bucket: "));
    let id = sim.bot_ids()[0].to_string();
    assert_eq!(get(&sim, "/api/v10/users/@me").await.2["id"], id);
    let application = get(&sim, "/api/v10/applications/@me").await.2;
    assert_eq!((&application["id"], &application["flags"]), (&json!(id), &json!(1 << 13 | 1 << 15 | 1 << 19)));
    assert_eq!(get(&sim, "/api/v10/oauth2/applications/@me").await.2, application);
    let guild = sim.guild_ids()[3].to_string();
    let got = get(&sim, &format!("/api/v10/guilds/{guild}")).await.2;
    assert_eq!(got["id"], guild);
    let channel = got["rules_channel_id"].as_str().unwrap();
    assert_eq!(get(&sim, &format!("/api/v10/channels/{channel}")).await.2["guild_id"], guild);
    assert_eq!(sim.report().client_faults, []);
}

#[tokio::test(start_paused = true)]
async fn a_bad_token_gets_401_in_discords_form() {
    let sim = Sim::start(Config::default()).await.unwrap();
    for header in ["authorization: Bot wrong", "authorization: sim", "x-none: 1"] {
        let (status, _, body) = request(&sim, &format!("GET /api/v10/users/@me HTTP/1.1\r\n{AGENT}\r\n{header}"), "").await;
        assert_eq!((status, body), (401, json!({"message": "401: Unauthorized", "code": 0})));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_proper_user_agent_is_blocked() {
    let sim = Sim::start(Config::default()).await.unwrap();
    for agent in ["", "curl/8", "DiscordBot", "DiscordBot ()", "DiscordBot (https://example.com)", "discordbot (a, 1)"] {
        let (status, _, body) = request(&sim, &format!("GET /api/v10/gateway HTTP/1.1\r\nuser-agent: {agent}"), "").await;
        assert_eq!((status, &body["code"]), (403, &json!(40333)), "{agent}");
    }
    for agent in ["DiscordBot (https://example.com, 1)", "DiscordBot (https://example.com 2.4.0) Python/3.11 aiohttp/3.9"] {
        let (status, _, _) = request(&sim, &format!("GET /api/v10/gateway HTTP/1.1\r\nuser-agent: {agent}"), "").await;
        assert_eq!(status, 200, "{agent}");
    }
    assert_eq!(sim.report().client_faults_total, 6);
}

#[tokio::test(start_paused = true)]
async fn gateway_bot_is_limited_and_says_for_how_long() {
    let sim = Sim::start(Config::default()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(get(&sim, "/api/v10/gateway/bot").await.0, 200);
    }
    let (status, head, body) = get(&sim, "/api/v10/gateway/bot").await;
    assert_eq!((status, &body["global"]), (429, &json!(false)));
    assert!(body["retry_after"].as_f64().unwrap() > 4.0);
    assert!(head.contains("retry-after: 5") && head.contains("x-ratelimit-scope: user"));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(get(&sim, "/api/v10/gateway/bot").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn unknown_routes_methods_and_versions_are_refused_in_discords_form() {
    let sim = Sim::start(Config::default()).await.unwrap();
    for path in ["/api/v10/nothing", "/api/v10/guilds/1", "/api/v10/channels/x", "/api/v10/", "/api/v10/guilds/1/2/3"] {
        assert_eq!(get(&sim, path).await.2, json!({"message": "404: Not Found", "code": 0}), "{path}");
    }
    assert_eq!(request(&sim, &format!("POST /api/v10/gateway HTTP/1.1\r\n{AGENT}"), "").await.0, 405);
    for path in ["/api/v11/gateway", "/api/v3/gateway", "/api/v"] {
        assert_eq!(get(&sim, path).await.0, 400, "{path}");
    }
    assert_eq!(get(&sim, "/").await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn the_bots_remaining_identifies_are_told() {
    let bots = vec![BotConfig { identifies_per_day: 5, ..BotConfig::new("sim") }];
    let sim = Sim::start(Config { bots, ..Config::default() }).await.unwrap();
    let mut client = crate::client::connect(&sim, "v=10&encoding=json").await;
    client.identify((0, 1)).await;
    let limit = get(&sim, "/api/v10/gateway/bot").await.2["session_start_limit"].clone();
    assert_eq!((&limit["total"], &limit["remaining"]), (&json!(5), &json!(4)));
}

#[tokio::test]
async fn a_configuration_that_cannot_work_says_what_to_do() {
    let first = Sim::start(Config::default()).await.unwrap();
    let taken = Config { listen: first.addr(), ..Config::default() };
    let error = Sim::start(taken).await.err().unwrap().to_string();
    assert!(error.contains("cannot listen on 127.0.0.1:") && error.contains("port 0"), "{error}");
    let none = Config { bots: Vec::new(), ..Config::default() };
    assert_eq!(Sim::start(none).await.err().unwrap().to_string(), "at least one token is needed");
}
