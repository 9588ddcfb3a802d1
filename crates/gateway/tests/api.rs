//! The start-up calls against servers that answer well, badly, slowly, and not at all.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use trunkline_discord::{Dice, Intents, Token};
use trunkline_gateway::{ApiError, BotApi, BotWish, Net, NetLimits, PrepareError, ShardsWanted, prepare_bot, prepare_bot_telling};

type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// Serves whatever `answer` says to a path, and keeps what it was asked.
async fn serve(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (answer, log) = (Arc::new(answer), Arc::clone(&asked));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
            let service = service_fn(move |request: Request<Incoming>| {
                let path = request.uri().path().to_owned();
                let header = |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
                log.lock().unwrap().push(format!("{path} | {} | {}", header("user-agent"), header("authorization")));
                let (status, headers, body) = answer(&path);
                async move {
                    let mut response = Response::builder().status(status);
                    for (name, value) in headers {
                        response = response.header(name, value);
                    }
                    Ok::<_, Infallible>(response.body(Full::new(Bytes::from(body))).unwrap())
                }
            });
            tokio::spawn(async move {
                let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A client that hangs up is part of the tests.
                served.await.ok();
            });
        }
    });
    (at, asked)
}

fn json(status: u16, body: &str) -> Answer {
    (status, vec![("content-type", "application/json".to_owned())], body.as_bytes().to_vec())
}

const GATEWAY_BOT: &str = r#"{"url":"wss://gateway.discord.gg","shards":3,"new":1,"session_start_limit":
    {"total":1000,"remaining":998,"reset_after":14400000,"max_concurrency":1}}"#;

/// A Discord that is well, for an application with these flags.
fn well(flags: u64) -> impl Fn(&str) -> Answer + Send + Sync + 'static {
    move |path| match path {
        "/api/v10/gateway/bot" => json(200, GATEWAY_BOT),
        "/api/v10/users/@me" => json(200, r#"{"id":"42","username":"trunk"}"#),
        "/api/v10/applications/@me" => json(200, &format!(r#"{{"id":"43","name":"T","flags":{flags}}}"#)),
        _ => json(404, r#"{"message":"404: Not Found","code":0}"#),
    }
}

fn api(at: SocketAddr) -> BotApi {
    let net = Net::new(None, NetLimits::default()).unwrap();
    BotApi::new(&format!("http://{at}/api/v10/"), &Token::new("NDI.secret"), &net).unwrap()
}

async fn error_of(answer: Answer) -> ApiError {
    let (at, _) = serve(move |_| answer.clone()).await;
    api(at).gateway_bot().await.unwrap_err()
}

#[tokio::test]
async fn good_answers_are_read_below_the_bases_path_with_agent_and_token() {
    let (at, asked) = serve(well(0)).await;
    let api = api(at);
    let gateway = api.gateway_bot().await.unwrap();
    assert_eq!((gateway.url.as_str(), gateway.shards), ("wss://gateway.discord.gg", 3));
    assert_eq!(gateway.session_start_limit.remaining, 998);
    assert_eq!(gateway.session_start_limit.reset_after_ms, 14_400_000);
    assert_eq!(api.me().await.unwrap().id, 42);
    assert_eq!(api.application().await.unwrap().id, 43);
    let asked = asked.lock().unwrap();
    let agent = "DiscordBot (https://github.com/trunkline/trunkline, 0.1.0)";
    assert_eq!(asked[0], format!("/api/v10/gateway/bot | {agent} | Bot NDI.secret"));
    assert!(!format!("{api:?}").contains("secret"));
}

#[tokio::test]
async fn a_wrong_token_is_told_with_what_to_do_and_not_shown() {
    let error = error_of(json(401, r#"{"message":"401: Unauthorized","code":0}"#)).await;
    assert!(matches!(error, ApiError::Unauthorized { .. }));
    assert_eq!(error.passes(), None);
    let line = error.to_string();
    assert!(line.contains("Developer Portal") && !line.contains("NDI"), "{line}");
}

#[tokio::test]
async fn a_429_says_how_long_in_body_or_header() {
    let in_body = error_of(json(429, r#"{"message":"slow","retry_after":1.5,"global":false}"#)).await;
    assert_eq!(in_body.passes(), Some(Duration::from_millis(1500)));
    let in_header = error_of((429, vec![("retry-after", "7".to_owned())], b"<html>".to_vec())).await;
    assert_eq!(in_header.passes(), Some(Duration::from_secs(7)));
    for strange in ["-1", "NaN", "1e300", "soon"] {
        let error = error_of((429, vec![("retry-after", strange.to_owned())], Vec::new())).await;
        assert!(error.passes().unwrap() <= Duration::from_secs(3600), "{strange}");
    }
}

#[tokio::test]
async fn a_server_in_trouble_passes_and_a_stranger_does_not() {
    let trouble = error_of(json(503, "{}")).await;
    assert!(matches!(trouble, ApiError::Unreachable { .. }), "{trouble}");
    assert!(trouble.passes().is_some());
    let answers = [
        (200, vec![], b"<!DOCTYPE html><p>hi".to_vec()),
        json(200, "{}"),
        json(200, r#"{"url":1}"#),
        json(404, r#"{"message":"404: Not Found"}"#),
        (302, vec![("location", "http://elsewhere/".to_owned())], Vec::new()),
        (200, vec![], vec![b' '; 3 << 20]),
    ];
    for answer in answers {
        let error = error_of(answer).await;
        let line = error.to_string();
        assert!(matches!(error, ApiError::BadAnswer { .. }), "{line}");
        assert!(line.contains("[discord] api") && line.contains("127.0.0.1"), "{line}");
    }
    let forbidden = error_of(json(403, r#"{"message":"blocked","code":40333}"#)).await;
    assert!(forbidden.to_string().contains("blocked"), "{forbidden}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let error = api(at).me().await.unwrap_err();
    let line = error.to_string();
    assert!(line.contains(&at.to_string()) && line.contains("refused"), "{line}");
    assert!(error.passes().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_given_up() {
    // The kernel accepts, nobody answers; virtual time does the waiting.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let began = Instant::now();
    let error = api(at).me().await.unwrap_err();
    assert!(matches!(error, ApiError::Unreachable { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn addresses_and_tokens_that_are_none_are_refused() {
    let net = Net::new(None, NetLimits::default()).unwrap();
    for base in ["discord.com/api", "ftp://discord.com", "https://", "http://a/?x=1", ""] {
        let error = BotApi::new(base, &Token::new("a.b.c"), &net).unwrap_err();
        assert!(error.to_string().contains("[discord] api"), "{error}");
    }
    let error = BotApi::new("https://discord.com/api/v10", &Token::new("a\nb"), &net).unwrap_err();
    assert!(matches!(error, ApiError::BadToken { .. }), "{error}");
}

fn wish(intents: Option<Intents>) -> BotWish {
    BotWish { label: "bots[0]".to_owned(), intents, shards: ShardsWanted::Auto }
}

#[tokio::test]
async fn a_bot_is_prepared_and_the_gateway_asked_once() {
    let (at, asked) = serve(well(u64::MAX)).await;
    let bot = prepare_bot(&api(at), &wish(None), &mut Dice::new(1)).await.unwrap();
    assert_eq!((bot.bot_id, bot.application_id, bot.name.as_str()), (42, 43, "trunk"));
    assert_eq!((bot.intents, bot.plan.indices.as_slice()), (Intents::ALL, &[0, 1, 2][..]));
    let asked = asked.lock().unwrap();
    assert_eq!(asked.iter().filter(|line| line.contains("/gateway/bot")).count(), 1);
}

#[tokio::test]
async fn written_intents_that_are_off_are_refused_with_the_switchs_name() {
    let (at, _) = serve(well(1 << 19)).await;
    let wanted = Intents::GUILD_MEMBERS.with(Intents::MESSAGE_CONTENT).with(Intents::GUILDS);
    let error = prepare_bot(&api(at), &wish(Some(wanted)), &mut Dice::new(1)).await.unwrap_err();
    let line = error.to_string();
    assert!(matches!(error, PrepareError::IntentsOff { .. }), "{line}");
    assert!(line.contains("Server Members Intent") && !line.contains("Message Content"), "{line}");
    assert!(line.contains("/applications/43/bot"), "{line}");
    let fine = wish(Some(Intents::MESSAGE_CONTENT));
    assert!(prepare_bot(&api(at), &fine, &mut Dice::new(1)).await.is_ok());
}

#[tokio::test]
async fn intents_left_out_are_cut_to_what_the_portal_allows() {
    let (at, _) = serve(well(1 << 18)).await;
    let bot = prepare_bot(&api(at), &wish(None), &mut Dice::new(1)).await.unwrap();
    let off = Intents::GUILD_MEMBERS.with(Intents::GUILD_PRESENCES);
    assert_eq!(bot.intents, Intents::ALL.without(off));
}

#[tokio::test]
async fn a_server_without_the_application_call_is_gone_on_with_and_no_privileged_intent_is_taken_for_granted() {
    let without = |path: &str| if path.ends_with("/applications/@me") { json(404, "{}") } else { well(0)(path) };
    let (at, _) = serve(without).await;
    let bot = prepare_bot(&api(at), &wish(None), &mut Dice::new(1)).await.unwrap();
    assert_eq!((bot.application_id, bot.intents), (42, Intents::ALL.without(Intents::PRIVILEGED)));
    let written = Intents::GUILDS.with(Intents::MESSAGE_CONTENT);
    let bot = prepare_bot(&api(at), &wish(Some(written)), &mut Dice::new(1)).await.unwrap();
    assert_eq!(bot.intents, written);
}

#[tokio::test]
async fn trouble_that_passes_is_waited_out() {
    let failures = Mutex::new(2);
    let fine = well(0);
    let (at, asked) = serve(move |path| {
        let mut left = failures.lock().unwrap();
        if *left > 0 {
            *left -= 1;
            return if *left == 1 { json(503, "{}") } else { json(429, r#"{"retry_after":0.1}"#) };
        }
        fine(path)
    })
    .await;
    let mut told = Vec::new();
    let mut tell = |trouble: Option<&str>| told.push(trouble.map(str::to_owned));
    let bot = prepare_bot_telling(&api(at), &wish(None), &mut Dice::new(1), &mut tell).await.unwrap();
    assert_eq!(bot.bot_id, 42);
    assert_eq!(asked.lock().unwrap().len(), 5);
    assert!(matches!(&told[..], [Some(first), Some(second), None] if first.contains("503") && second.contains("429")), "{told:?}");
}

#[tokio::test]
async fn a_wrong_token_is_not_tried_again() {
    let (at, asked) = serve(|_| json(401, "{}")).await;
    let error = prepare_bot(&api(at), &wish(None), &mut Dice::new(1)).await.unwrap_err();
    assert!(matches!(error, PrepareError::Api(ApiError::Unauthorized { .. })));
    assert_eq!(asked.lock().unwrap().len(), 1);
}
