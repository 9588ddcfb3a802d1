//! The few REST calls that a bot needs before its gateway can be opened.
//!
//! It asks `GET /gateway/bot`, `/users/@me` and `/applications/@me`, each with a time limit and a bounded answer, and
//! turns whatever comes back into a typed answer or an error that says whose fault it is. It keeps no state and retries
//! nothing; [`crate::prepare_bot`] does.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, USER_AGENT as USER_AGENT_HEADER};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use trunkline_discord::Token;

use crate::budget::SessionStartLimit;
use crate::net::{Net, USER_AGENT, fault_advice};

/// No answer that is asked for here comes near this.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// One call in all: connection, headers and body.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Waited after a 429 that does not say how long.
const RETRY_AFTER_UNKNOWN: Duration = Duration::from_secs(30);
/// The longest wait that a 429 may impose before it is asked again anyway.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The answer of `GET /gateway/bot` (Discord docs, Gateway: Get Gateway Bot).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GatewayBot {
    /// Where to connect, without a query.
    pub url: String,
    /// The recommended shard count.
    pub shards: u32,
    /// The identify budget.
    pub session_start_limit: SessionStartLimit,
}

/// What is asked of `GET /users/@me`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct User {
    /// The bot id.
    #[serde(deserialize_with = "snowflake")]
    pub id: u64,
    /// The bot's name, for people.
    pub username: String,
}

/// What is asked of `GET /applications/@me`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Application {
    /// The application id.
    #[serde(deserialize_with = "snowflake")]
    pub id: u64,
    /// Its name, for people.
    #[serde(default)]
    pub name: String,
    /// Its public flags, of which some say which privileged intents are allowed.
    #[serde(default)]
    pub flags: u64,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The configured address is none.
    #[error("[discord] api \"{base}\" is no address: {why}; it must look like https://discord.com/api/v10")]
    BadBase {
        /// As configured.
        base: String,
        /// What is wrong with it.
        why: String,
    },
    /// The token cannot even be sent.
    #[error("the bot's token {why}; copy it anew from the Developer Portal (Bot, Reset Token)")]
    BadToken {
        /// What is wrong with it.
        why: &'static str,
    },
    /// 401.
    #[error(
        "Discord does not know this bot token (HTTP 401 from {path}); copy it anew from the Developer Portal (Bot, Reset \
         Token) and mind that it is the bot's token, not the client secret"
    )]
    Unauthorized {
        /// Which call.
        path: String,
    },
    /// 403.
    #[error("{at} refuses {path} (HTTP 403): {why}; this machine's address or user agent may be blocked")]
    Forbidden {
        /// `host:port`.
        at: String,
        /// Which call.
        path: String,
        /// The answer's message.
        why: String,
    },
    /// 429.
    #[error("{path} is rate limited (HTTP 429) for {} s; it is asked again then", retry_after.as_secs_f32())]
    RateLimited {
        /// Which call.
        path: String,
        /// How long to wait.
        retry_after: Duration,
    },
    /// No connection, no answer in time, or a server in trouble (5xx).
    #[error("Discord cannot be reached at {at}: {why}")]
    Unreachable {
        /// `host:port`.
        at: String,
        /// In the system's words.
        why: String,
    },
    /// An answer that Discord would not give.
    #[error("{at} does not answer {path} like Discord: {why}; check [discord] api")]
    BadAnswer {
        /// `host:port`.
        at: String,
        /// Which call.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ApiError {
    /// Whether it may pass by itself, so that asking again later makes sense; if so, how long to wait at least.
    #[must_use]
    pub fn passes(&self) -> Option<Duration> {
        match self {
            ApiError::RateLimited { retry_after, .. } => Some(*retry_after),
            ApiError::Unreachable { .. } => Some(Duration::ZERO),
            _ => None,
        }
    }
}

/// Calls Discord's REST for one bot. Cheap to clone.
#[derive(Clone)]
pub struct BotApi {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    base: String,
    at: String,
    authorization: HeaderValue,
}

impl std::fmt::Debug for BotApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BotApi").field("base", &self.base).finish_non_exhaustive()
    }
}

impl BotApi {
    /// For the bot with this token at `base`, such as `https://discord.com/api/v10`; a path in it is kept.
    ///
    /// # Errors
    /// [`ApiError::BadBase`], [`ApiError::BadToken`].
    pub fn new(base: &str, token: &Token, net: &Net) -> Result<Self, ApiError> {
        let trimmed = base.trim().trim_end_matches('/');
        let bad = |why: &str| ApiError::BadBase { base: base.to_owned(), why: why.to_owned() };
        let uri: Uri = trimmed.parse().map_err(|error: http::uri::InvalidUri| bad(&error.to_string()))?;
        let default_port = match uri.scheme_str() {
            Some("https") => 443,
            Some("http") => 80,
            _ => return Err(bad("it does not begin with https:// or http://")),
        };
        let Some(host) = uri.host() else {
            return Err(bad("it has no host"));
        };
        if uri.query().is_some() {
            return Err(bad("it has a query"));
        }
        let mut authorization = HeaderValue::from_str(&token.header())
            .map_err(|_| ApiError::BadToken { why: "has characters that no token has, such as line breaks" })?;
        authorization.set_sensitive(true);
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config((**net.tls()).clone()).https_or_http().enable_http1().wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self { client, at: format!("{host}:{}", uri.port_u16().unwrap_or(default_port)), base: trimmed.to_owned(), authorization })
    }

    /// The base address without a trailing slash.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// `GET /gateway/bot`: address, recommended shards, identify budget. It has a tight rate limit of its own: ask once
    /// for all shards.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn gateway_bot(&self) -> Result<GatewayBot, ApiError> {
        self.get("/gateway/bot").await
    }

    /// `GET /users/@me`: whose token this is.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn me(&self) -> Result<User, ApiError> {
        self.get("/users/@me").await
    }

    /// `GET /applications/@me`: with the flags that say which privileged intents are allowed.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn application(&self) -> Result<Application, ApiError> {
        self.get("/applications/@me").await
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<T, ApiError> {
        let called = tokio::time::timeout(CALL_TIMEOUT, self.call(path)).await;
        let (status, headers, body) = called.unwrap_or_else(|_| {
            let seconds = CALL_TIMEOUT.as_secs();
            Err(self.unreachable(format!("no answer to {path} within {seconds} s")))
        })?;
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map_err(|error| {
                let why = if looks_like_html(&body) {
                    "it sent a web page where JSON was expected".to_owned()
                } else {
                    format!("its JSON is not as documented ({error})")
                };
                self.bad_answer(path, why)
            }),
            StatusCode::UNAUTHORIZED => Err(ApiError::Unauthorized { path: path.to_owned() }),
            StatusCode::FORBIDDEN => Err(ApiError::Forbidden { at: self.at.clone(), path: path.to_owned(), why: message(&body) }),
            StatusCode::TOO_MANY_REQUESTS => {
                Err(ApiError::RateLimited { path: path.to_owned(), retry_after: retry_after(&headers, &body) })
            }
            status if status.is_server_error() => Err(self.unreachable(format!("it answers {path} with HTTP {}", status.as_u16()))),
            status => Err(self.bad_answer(path, format!("HTTP {}: {}", status.as_u16(), message(&body)))),
        }
    }

    async fn call(&self, path: &str) -> Result<(StatusCode, http::HeaderMap, Bytes), ApiError> {
        let request = Request::get(format!("{}{path}", self.base))
            .header(AUTHORIZATION, self.authorization.clone())
            .header(USER_AGENT_HEADER, USER_AGENT)
            .body(Empty::new())
            .map_err(|error| self.bad_answer(path, error.to_string()))?;
        let response: Response<Incoming> = self.client.request(request).await.map_err(|error| self.unreachable(root_cause(&error)))?;
        let (head, body) = response.into_parts();
        match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(body) => Ok((head.status, head.headers, body.to_bytes())),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Err(self.bad_answer(path, format!("it sends more than {BODY_BYTES_MAX} bytes")))
            }
            Err(error) => Err(self.unreachable(format!("the answer to {path} broke off: {error}"))),
        }
    }

    fn unreachable(&self, why: String) -> ApiError {
        ApiError::Unreachable { at: self.at.clone(), why }
    }

    fn bad_answer(&self, path: &str, why: String) -> ApiError {
        ApiError::BadAnswer { at: self.at.clone(), path: path.to_owned(), why }
    }
}

/// Ids are strings in JSON (Discord docs, Reference: ID Serialization); a number is taken as well.
fn snowflake<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(u64),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(id) => Ok(id),
        Either::Text(text) => text.parse().map_err(|_| serde::de::Error::custom("an id is no number")),
    }
}

fn looks_like_html(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

/// The `message` of Discord's error form, or what else the body is, short.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Form {
        message: String,
    }
    if let Ok(form) = serde_json::from_slice::<Form>(body) {
        return form.message.chars().take(200).collect();
    }
    if body.is_empty() {
        "an empty answer".to_owned()
    } else if looks_like_html(body) {
        "a web page".to_owned()
    } else {
        format!("{} bytes that are no error of Discord's", body.len())
    }
}

/// Discord's own limits say it in the body, to the millisecond; those of the protection in front only in the header.
fn retry_after(headers: &http::HeaderMap, body: &[u8]) -> Duration {
    #[derive(Deserialize)]
    struct Form {
        retry_after: f64,
    }
    let form = serde_json::from_slice::<Form>(body).ok().map(|form| form.retry_after);
    let header = || headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = form.or_else(header).filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    seconds.map_or(RETRY_AFTER_UNKNOWN, |seconds| Duration::from_secs_f64(seconds.min(RETRY_AFTER_MAX.as_secs_f64())))
}

/// The innermost cause of an HTTP client's error (the outer ones only say "client error (Connect)"), and what to do about it.
fn root_cause(error: &hyper_util::client::legacy::Error) -> String {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    // I/O errors show what is inside of them as their own text, and may be nested.
    while let Some(inner) = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        cause = inner;
    }
    match cause.downcast_ref::<rustls::Error>() {
        Some(fault) => format!("{fault}; {}", fault_advice(fault)),
        None => format!("{cause}; check this machine's network and [discord] api"),
    }
}
