//! The routes: path and parameters in, a query asked, the answer written.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query as FromQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use trunkline_discord::{Encoding, Object};
use trunkline_etf::{Limits, Value};

use super::answer::{Format, ListBody};
use super::query::{Answer, Page, Query, StateError, StateSource, Written};
use super::{IDS_MAX, OPENAPI, PAGE};
use crate::access::{Access, Scope};
use crate::look::LOOK_PATIENCE;

/// The largest body of a request.
pub const BODY_BYTES_MAX: usize = 16 << 20;

/// ETF lists of more than a page that are gathered at a time: each may grow to [`super::ETF_LIST_BYTES_MAX`].
pub const ETF_LISTS_AT_ONCE: usize = 4;

/// What the routes are made with.
#[derive(Clone, Debug)]
pub struct StateOptions {
    /// How answers are written when the caller accepts both or says nothing.
    pub format: Format,
    /// What `/healthz` says.
    pub version: String,
    /// Who may ask.
    pub access: Access,
}

/// What is said where a path is asked with a method that it does not take.
const OTHER_METHOD: &str =
    "this path does not take this method; the header `allow` lists those that it takes, /v1/events/openapi.json all paths";

struct Api {
    source: Arc<dyn StateSource>,
    options: StateOptions,
    gatherings: Semaphore,
}

/// The state API's routes, `/healthz` included.
pub fn routes(source: Arc<dyn StateSource>, options: StateOptions) -> Router {
    let one = |ask: fn(&[u64]) -> Query| {
        get(move |State(api): State<Arc<Api>>, path: Ids, FromQuery(query): Parameters, headers: HeaderMap| async move {
            Call::new(api, query, &headers)?.one(ask(&path?.0)).await
        })
    };
    let list = |ask: fn(&[u64], Page) -> Query| {
        get(move |State(api): State<Arc<Api>>, path: Ids, FromQuery(query): Parameters, headers: HeaderMap| async move {
            let path = path?.0;
            Call::new(api, query, &headers)?.list(move |page| ask(&path, page)).await
        })
    };
    // The first of a path's ids is the guild's.
    let put = |kind: Written, said: &'static str| {
        move |call: Call, path: Ids, body: Bytes| async move {
            let guild = path?.first();
            let objects = objects_of(&body)?;
            call.change(Query::Put { guild, kind, objects }, said).await
        }
    };
    let remove = |kind: Written, said: &'static str| {
        delete(move |call: Call, path: Ids, body: Bytes| async move {
            let guild = path?.first();
            let ids = ids_of(&body)?;
            call.change(Query::Delete { guild, kind, ids }, said).await
        })
    };
    let wipe = |kind: Written, said: &'static str| {
        delete(move |State(api): State<Arc<Api>>, path: Ids, FromQuery(query): Parameters, headers: HeaderMap| async move {
            let guild = path?.first();
            Call::new(api, query, &headers)?.change(Query::Wipe { guild, kind }, said).await
        })
    };
    let base = Router::new()
        .route("/users", get(user_names))
        .route("/users/{user}", one(|ids| Query::User(ids[0])))
        .route("/channels/{channel}", one(|ids| Query::Channel(ids[0])))
        .route("/channels/{channel}/messages/{message}", one(|ids| Query::Message { channel: ids[0], message: ids[1] }))
        .route("/channels/{channel}/threads", list(|ids, page| Query::ChannelThreads(ids[0], page)))
        .route("/guilds/{guild}", one(|ids| Query::Guild(ids[0])))
        .route(
            "/guilds/{guild}/channels",
            list(|ids, page| Query::GuildChannels(ids[0], page)).post(put(Written::Channels, "Guild channels set successfully")),
        )
        .route("/guilds/{guild}/channels/delete", remove(Written::Channels, "Guild channels deleted successfully"))
        .route("/guilds/{guild}/channels/wipe", wipe(Written::Channels, "Guild channels deleted successfully"))
        .route("/guilds/{guild}/members", get(members).post(put(Written::Members, "Guild members set successfully")))
        .route("/guilds/{guild}/members_with_role/{role}", get(members_with_role))
        .route("/guilds/{guild}/members/{member}", one(|ids| Query::Member(ids[0], ids[1])))
        .route("/guilds/{guild}/members/{member}/presence", one(|ids| Query::Presence(ids[0], ids[1])))
        .route("/guilds/{guild}/roles", get(roles).post(put(Written::Roles, "Guild roles set successfully")))
        .route("/guilds/{guild}/roles/delete", remove(Written::Roles, "Guild roles deleted successfully"))
        .route("/guilds/{guild}/roles/wipe", wipe(Written::Roles, "Guild roles deleted successfully"))
        .route("/guilds/{guild}/roles/{role}", one(|ids| Query::Role(ids[0], ids[1])))
        .route("/guilds/{guild}/emojis", list(|ids, page| Query::GuildEmojis(ids[0], page)))
        .route("/guilds/{guild}/emojis/{emoji}", one(|ids| Query::Emoji(ids[0], ids[1])))
        .route("/guilds/{guild}/threads", list(|ids, page| Query::GuildThreads(ids[0], page)))
        .route("/threads", list(|_, page| Query::Threads(page)))
        .route("/threads/{thread}", one(|ids| Query::Thread(ids[0])))
        .route("/guilds_count", get(guilds_count))
        .route("/user_in_guilds", get(user_in_guilds))
        .route("/user_in_guilds_has_roles", get(user_in_guilds_has_roles))
        .route("/openapi.json", get(|| async { Format::Json.response(OPENAPI) }))
        .method_not_allowed_fallback(|| async { (StatusCode::METHOD_NOT_ALLOWED, OTHER_METHOD) });
    let version = format!("Version: {}", options.version);
    Router::new()
        .nest("/v1/events", base.layer(DefaultBodyLimit::max(BODY_BYTES_MAX)))
        .route("/healthz", get(move || std::future::ready(version.clone())))
        .with_state(Arc::new(Api { source, options, gatherings: Semaphore::new(ETF_LISTS_AT_ONCE) }))
}

async fn members(State(api): State<Arc<Api>>, path: Ids, FromQuery(query): Parameters, headers: HeaderMap) -> Result<Response, Refused> {
    let guild = path?.first();
    let call = Call::new(api, query, &headers)?;
    if call.given("id") {
        let ids = call.ids("id")?;
        return call.holes(Query::Members(guild, ids.clone()), &ids).await;
    }
    match call.text("query").filter(|text| !text.is_empty()) {
        // Shorter ones find nothing, as users of this API expect.
        Some(text) if text.chars().count() < 3 => Ok(call.format.response(ListBody::new(call.format).finish())),
        Some(text) => call.list(move |page| Query::SearchMembers { guild, text: text.clone(), page }).await,
        None => call.list(move |page| Query::GuildMembers(guild, page)).await,
    }
}

async fn roles(State(api): State<Arc<Api>>, path: Ids, FromQuery(query): Parameters, headers: HeaderMap) -> Result<Response, Refused> {
    let guild = path?.first();
    let call = Call::new(api, query, &headers)?;
    if call.given("id") {
        let ids = call.ids("id")?;
        return call.holes(Query::Roles(guild, ids.clone()), &ids).await;
    }
    call.list(move |page| Query::GuildRoles(guild, page)).await
}

async fn members_with_role(
    State(api): State<Arc<Api>>,
    path: Ids,
    FromQuery(query): Parameters,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let path = path?.0;
    let (guild, role) = (path[0], path[1]);
    Call::new(api, query, &headers)?.list(move |page| Query::MembersWithRole { guild, role, page }).await
}

async fn user_names(State(api): State<Arc<Api>>, FromQuery(query): Parameters, headers: HeaderMap) -> Result<Response, Refused> {
    let call = Call::new(api, query, &headers)?;
    let users = call.separated("userIDs")?;
    let Answer::Names(names) = call.ask(Query::UserNames(users)).await? else { return Err(unfitting()) };
    let mut list = ListBody::new(call.format);
    for (user, name) in names {
        list.push(&call.format.made_object(|w| {
            w.begin_map(2);
            w.key("UserID");
            w.str(&user.to_string());
            w.key("Username");
            w.str(&name);
            w.end_map();
        }))?;
    }
    Ok(call.format.response(list.finish()))
}

async fn guilds_count(State(api): State<Arc<Api>>, FromQuery(query): Parameters, headers: HeaderMap) -> Result<Response, Refused> {
    let call = Call::new(api, query, &headers)?;
    let Answer::Count(count) = call.ask(Query::GuildsCount).await? else { return Err(unfitting()) };
    Ok(call.format.response(call.format.made(|w| w.uint(count))))
}

async fn user_in_guilds(State(api): State<Arc<Api>>, FromQuery(query): Parameters, headers: HeaderMap) -> Result<Response, Refused> {
    let call = Call::new(api, query, &headers)?;
    let (user, guilds) = (call.id("user_id")?, call.separated("server_ids")?);
    call.exists(Query::InGuilds { user, guilds }).await
}

async fn user_in_guilds_has_roles(
    State(api): State<Arc<Api>>,
    FromQuery(query): Parameters,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let call = Call::new(api, query, &headers)?;
    let (user, guilds, roles) = (call.id("user_id")?, call.separated("server_ids")?, call.separated("role_ids")?);
    call.exists(Query::InGuildsWithRoles { user, guilds, roles }).await
}

/// An answer that is none of 200.
#[derive(Debug)]
pub(super) struct Refused(Box<Response>);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl From<StateError> for Refused {
    fn from(error: StateError) -> Refused {
        Refused(Box::new(error.into_response()))
    }
}

fn bad(text: impl Into<String>) -> Refused {
    StateError::Request(text.into()).into()
}

fn unfitting() -> Refused {
    StateError::Failed("the answer does not fit the question".into()).into()
}

fn id_of(text: &str, what: &str) -> Result<u64, Refused> {
    // As far as signed numbers reach: ids are so in the databases behind. Rust would take a plus sign too.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let id = text.parse().ok().filter(|id| digits && i64::try_from(*id).is_ok());
    id.ok_or_else(|| bad(format!("{what} is not an id: {text:.40?}; an id is a whole number")))
}

/// The ids in a path, in order.
struct PathIds(Vec<u64>);

impl PathIds {
    fn first(&self) -> u64 {
        self.0.first().copied().unwrap_or(0)
    }
}

/// The parameters behind the question mark, repeated ones included.
type Parameters = FromQuery<Vec<(String, String)>>;

/// Extracted as a result, so that what is wrong can be said in this API's way.
type Ids = Result<PathIds, Refused>;

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for PathIds {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<PathIds, Refused> {
        let Path(named) = Path::<Vec<(String, String)>>::from_request_parts(parts, state).await.map_err(|error| bad(error.body_text()))?;
        named.iter().map(|(name, text)| id_of(text, name)).collect::<Result<_, _>>().map(PathIds)
    }
}

/// In front of a body: whoever may not ask sends none.
impl axum::extract::FromRequestParts<Arc<Api>> for Call {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, api: &Arc<Api>) -> Result<Call, Refused> {
        let query = Parameters::from_request_parts(parts, api).await;
        let FromQuery(query) = query.map_err(|error| bad(error.body_text()))?;
        Call::new(api.clone(), query, &parts.headers)
    }
}

/// One request on its way to an answer.
struct Call {
    api: Arc<Api>,
    parameters: Vec<(String, String)>,
    format: Format,
    scope: Scope,
    bot: Option<u64>,
}

impl Call {
    fn new(api: Arc<Api>, parameters: Vec<(String, String)>, headers: &HeaderMap) -> Result<Call, Refused> {
        let scope = api
            .options
            .access
            .scope(headers)
            .map_err(|denied| Refused(Box::new((StatusCode::UNAUTHORIZED, denied.to_string()).into_response())))?;
        let format = Format::of(headers, api.options.format);
        let mut call = Call { api, parameters, format, scope, bot: None };
        call.bot = call.text("bot_id").map(|text| id_of(&text, "bot_id")).transpose()?;
        Ok(call)
    }

    fn given(&self, name: &str) -> bool {
        self.parameters.iter().any(|(key, _)| key == name)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    fn id(&self, name: &str) -> Result<u64, Refused> {
        id_of(&self.text(name).ok_or_else(|| bad(format!("the parameter {name} is missing")))?, name)
    }

    /// A repeated parameter.
    fn ids(&self, name: &str) -> Result<Vec<u64>, Refused> {
        let texts = self.parameters.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        bounded(texts.map(|text| id_of(text, name)))
    }

    /// A parameter with commas in it.
    fn separated(&self, name: &str) -> Result<Vec<u64>, Refused> {
        let text = self.text(name).filter(|text| !text.is_empty()).ok_or_else(|| bad(format!("the parameter {name} is missing")))?;
        bounded(text.split(',').map(|text| id_of(text.trim(), name)))
    }

    async fn ask(&self, query: Query) -> Result<Answer, Refused> {
        Ok(self.api.source.answer(self.bot, &self.scope, query).await?)
    }

    async fn one(self, query: Query) -> Result<Response, Refused> {
        match self.ask(query).await? {
            Answer::One(Some(object)) => Ok(self.format.response(self.format.object(&object)?)),
            Answer::One(None) => Err(Refused(Box::new((StatusCode::NOT_FOUND, "not found").into_response()))),
            _ => Err(unfitting()),
        }
    }

    async fn change(self, query: Query, said: &'static str) -> Result<Response, Refused> {
        match self.ask(query).await? {
            Answer::Done => Ok(said.into_response()),
            _ => Err(unfitting()),
        }
    }

    async fn exists(self, query: Query) -> Result<Response, Refused> {
        let Answer::Yes(yes) = self.ask(query).await? else { return Err(unfitting()) };
        let body = self.format.made(|w| {
            w.begin_map(1);
            w.key("exists");
            w.bool(yes);
            w.end_map();
        });
        Ok(self.format.response(body))
    }

    async fn holes(self, query: Query, ids: &[u64]) -> Result<Response, Refused> {
        let Answer::Holes(objects) = self.ask(query).await? else { return Err(unfitting()) };
        let mut list = ListBody::new(self.format);
        for (id, object) in ids.iter().zip(objects) {
            let object = object.unwrap_or_else(|| self.format.made_object(|w| absent(w, *id)));
            list.push(&object)?;
        }
        Ok(self.format.response(list.finish()))
    }

    /// A list, page by page. The first page is fetched before the status is sent.
    async fn list(self, ask: impl Fn(Page) -> Query + Send + Sync + 'static) -> Result<Response, Refused> {
        let number = |name: &str| self.text(name).map(|text| id_of(&text, name)).transpose();
        let (after, limit) = (number("after")?.unwrap_or(0), number("limit")?);
        if limit == Some(0) {
            return Err(bad("limit must be at least 1"));
        }
        let mut left = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let format = self.format;
        let mut list = ListBody::new(format);
        let mut next = self.page(&ask, after, &mut left, &mut list).await?;
        if format == Format::Etf && next.is_some() {
            let _place = self.gathering().await?;
            while let Some(after) = next {
                next = self.page(&ask, after, &mut left, &mut list).await?;
            }
        }
        if next.is_none() {
            return Ok(format.response(list.finish()));
        }
        let state = Some((self, ask, left, list, next));
        let parts = futures_util::stream::unfold(state, |state| async move {
            let (call, ask, mut left, mut list, next) = state?;
            let part = list.take();
            let Some(after) = next else { return Some((Ok(part), None)) };
            match call.page(&ask, after, &mut left, &mut list).await {
                Ok(None) => {
                    let rest = list.finish();
                    let whole = [part, rest].concat();
                    Some((Ok(Bytes::from(whole)), None))
                }
                Ok(next) => Some((Ok(part), Some((call, ask, left, list, next)))),
                // Cut off, so that nobody takes half a list for a whole one.
                Err(Refused(response)) => Some((Err(std::io::Error::other(format!("state list: {}", response.status()))), None)),
            }
        });
        Ok(format.response(Body::from_stream(parts)))
    }

    async fn gathering(&self) -> Result<SemaphorePermit<'_>, Refused> {
        match timeout(LOOK_PATIENCE, self.api.gatherings.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            // It is never closed.
            Ok(Err(_)) => Err(StateError::Later("this process is stopping".into()).into()),
            Err(_) => Err(StateError::Later(format!(
                "{ETF_LISTS_AT_ONCE} large lists are being gathered for ETF; try again later, or ask for JSON"
            ))
            .into()),
        }
    }

    async fn page(
        &self,
        ask: &(impl Fn(Page) -> Query + Sync),
        after: u64,
        left: &mut usize,
        list: &mut ListBody,
    ) -> Result<Option<u64>, Refused> {
        let limit = PAGE.min(*left);
        let (count, next) = match self.ask(ask(Page { after, limit })).await? {
            Answer::List { objects, next } => {
                objects.iter().try_for_each(|object| list.push(object))?;
                (objects.len(), next)
            }
            Answer::Ids { ids, next } => {
                let id = |id: &u64| self.format.made_object(|w| one_id(w, *id));
                ids.iter().try_for_each(|member| list.push(&id(member)))?;
                (ids.len(), next)
            }
            _ => return Err(unfitting()),
        };
        *left = left.saturating_sub(count);
        // A source that does not get on would make this go on for ever.
        Ok(next.filter(|next| *left > 0 && *next > after))
    }
}

fn one_id(w: &mut dyn trunkline_etf::TermWrite, id: u64) {
    w.begin_map(1);
    w.key("id");
    w.str(&id.to_string());
    w.end_map();
}

fn absent(w: &mut dyn trunkline_etf::TermWrite, id: u64) {
    w.begin_map(2);
    w.key("id");
    w.str(&id.to_string());
    w.key("is_empty");
    w.bool(true);
    w.end_map();
}

fn bounded(ids: impl Iterator<Item = Result<u64, Refused>>) -> Result<Vec<u64>, Refused> {
    let ids = ids.take(IDS_MAX + 1).collect::<Result<Vec<_>, _>>()?;
    if ids.len() > IDS_MAX { Err(bad(format!("more than {IDS_MAX} ids in one request"))) } else { Ok(ids) }
}

/// A body that is a JSON object of id to object.
fn objects_of(body: &Bytes) -> Result<Vec<(u64, Object)>, Refused> {
    let whole = json(body, trunkline_etf::Kind::Map, "an object of id to object")?;
    let entries = whole.entries().map(|(key, value)| {
        let id = id_of(&key.as_str().unwrap_or_default(), "a key")?;
        if value.kind() != trunkline_etf::Kind::Map {
            return Err(bad(format!("the value of {id} is no object")));
        }
        Ok((id, Object { encoding: Encoding::Json, bytes: body.slice_ref(value.raw()) }))
    });
    entries.collect()
}

/// A body that is a JSON array of ids.
fn ids_of(body: &Bytes) -> Result<Vec<u64>, Refused> {
    let whole = json(body, trunkline_etf::Kind::List, "an array of ids")?;
    let ids = whole
        .items()
        .map(|item| item.as_id().filter(|id| i64::try_from(*id).is_ok()).ok_or_else(|| bad("an item of the array is not an id")));
    ids.collect()
}

fn json<'a>(body: &'a Bytes, wanted: trunkline_etf::Kind, what: &str) -> Result<Value<'a>, Refused> {
    let whole = Value::parse(Encoding::Json, body, &Limits::GATEWAY).map_err(|error| bad(format!("Invalid JSON: {error}")))?;
    if whole.kind() == wanted { Ok(whole) } else { Err(bad(format!("the body must be {what}"))) }
}
