//! The state API from PostgreSQL alone, in a process of its own: whatever is asked, it answers as the process that holds the shards does.
#![allow(clippy::print_stderr, clippy::disallowed_methods, reason = "tests drive")]

mod harness;
#[path = "../../store/tests/common/postgres.rs"]
mod server;

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use harness::process::Process;
use harness::{World, free_port};
use serde_json::{Value, json};
use server::{PASSWORD, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use trunkline_etf::{Encoding, Limits, transcode};
use trunkline_sim::{Config, Mix};

/// How long the write-behind may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// A guild that both bots are in, on shard 0 of each.
const SHARED: u64 = 5 << 23;
/// One that only the first is in.
const OWN: u64 = 6 << 23;
const MEMBER: u64 = 77_001;
const OTHER: u64 = 77_002;

struct Got {
    status: u16,
    kind: String,
    body: Vec<u8>,
}

impl Got {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, whichever it is in; other text as text.
    fn value(&self) -> Value {
        if self.kind == "application/x-erlang-binary" {
            assert_eq!(self.body.first(), Some(&131), "no version byte");
            let term = trunkline_etf::Value::parse(Encoding::Etf, &self.body, &Limits::GATEWAY).expect("one term");
            let mut json = Vec::new();
            transcode(term, Encoding::Json, &mut json).expect("JSON");
            return serde_json::from_slice(&json).expect("JSON");
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|_| Value::String(self.text()))
    }
}

/// By HTTP/1.0, where a body ends with its connection and never comes in chunks.
async fn send(at: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Got {
    let mut socket = TcpStream::connect(at).await.expect("a connection");
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let request = format!("{method} {path} HTTP/1.0\r\nhost: x\r\n{headers}{length}\r\n{body}");
    socket.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.expect("an answer");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default().to_owned();
    Got { status, kind, body: answer[end + 4..].to_vec() }
}

/// The first elements that differ, of two lists, or both.
fn apart(live: &Value, stored: &Value) -> String {
    let (Some(one), Some(other)) = (live.as_array(), stored.as_array()) else { return format!("{live}\n{stored}") };
    match one.iter().zip(other).find(|(one, other)| one != other) {
        Some((one, other)) => format!("{one}\n{other}"),
        None => format!("{} and {} elements", one.len(), other.len()),
    }
}

const ETF: &str = "accept: application/x-erlang-binary\r\n";

async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("no panic")
}

/// A node with two bots on a database of its own, and the process that only reads it.
struct Pair {
    world: World,
    server: &'static Server,
    state: Process,
    state_at: SocketAddr,
    state_health: SocketAddr,
}

const LIMITED: &str = "token-of-few";

impl Pair {
    async fn new(config: Config, bots: usize) -> Pair {
        // Its watcher ends it with this process.
        let server: &'static Server = Box::leak(Box::new(off_runtime(Server::start).await));
        let mut world = World::with_bots(config, bots).await;
        world.store_url = Some(server.database());
        // Shards on different cores may know a user as of different times.
        world.env.push(("TRUNKLINE_NODE_CORES", "1"));
        let few = format!("[[groups]]\nname = \"few\"\ntoken = \"{LIMITED}\"\nguilds = [\"{OWN}\"]\nevents = [\"RESUMED\"]\n");
        world.start(&few);
        world.ready().await;
        let (state_at, state_health) = (SocketAddr::from(([127, 0, 0, 1], free_port())), SocketAddr::from(([127, 0, 0, 1], free_port())));
        let (state, _) = start_state(&world, state_at, state_health, &few).await;
        Pair { world, server, state, state_at, state_health }
    }

    /// The same answers, once what the first process knows is saved; answers the body.
    async fn same(&self, method: &str, path: &str, headers: &str, body: &str) -> Value {
        let began = Instant::now();
        loop {
            let live = send(self.world.clients, method, path, headers, body).await;
            let stored = send(self.state_at, method, path, headers, body).await;
            let same = if live.status == 200 {
                (live.status, &live.kind) == (stored.status, &stored.kind) && live.value() == stored.value()
            } else {
                (live.status, &live.kind) == (stored.status, &stored.kind) && !stored.body.is_empty()
            };
            if same {
                return live.value();
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{method} {path}\nlive   {} {}\nstored {} {}\n{}",
                live.status,
                live.kind,
                stored.status,
                stored.kind,
                apart(&live.value(), &stored.value())
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn get(&self, path: &str) -> Value {
        let path = format!("/v1/events/{path}");
        let json = self.same("GET", &path, "", "").await;
        assert_eq!(self.same("GET", &path, ETF, "").await, json, "{path} in ETF");
        json
    }

    async fn status(&self, path: &str, status: u16) {
        self.get(path).await;
        let got = send(self.state_at, "GET", &format!("/v1/events/{path}"), "", "").await;
        assert_eq!(got.status, status, "{path}: {}", got.text());
    }
}

async fn start_state(world: &World, at: SocketAddr, health: SocketAddr, groups: &str) -> (Process, String) {
    let url = world.store_url.clone().expect("a database");
    // No bot, no token of one, no address of Discord.
    let config = format!("[listen]\nclients = \"{at}\"\nadmin = \"{health}\"\n[store]\nurl = \"{url}\"\n{groups}");
    let path = world.dir.path().join("state.toml");
    std::fs::write(&path, config).expect("a configuration");
    let path = path.display().to_string();
    let mut state = Process::start(world.dir.path(), &["run", "--roles", "state", "--config", &path], &[]);
    let said = state.says("the state API reads").await;
    (state, said)
}

fn ids(list: &Value) -> Vec<String> {
    let id = |one: &Value| one["id"].as_str().or_else(|| one["user"]["id"].as_str()).expect("an id").to_owned();
    list.as_array().expect("a list").iter().map(id).collect()
}

fn member(id: u64, name: &str, roles: &[&str]) -> Value {
    json!({
        "user": { "id": id.to_string(), "username": name, "global_name": format!("{name} ÄRGER"), "discriminator": "0", "avatar": null },
        "nick": null, "roles": roles, "joined_at": "2024-05-06T07:08:09.101000+00:00", "deaf": false, "mute": false, "flags": 0,
    })
}

fn guild(id: u64, members: &[Value]) -> Value {
    let at = |offset: u64| (id + offset).to_string();
    json!({
        "id": at(0), "name": format!("guild {id}"), "owner_id": "1", "member_count": members.len(), "joined_at": "2024-05-06T07:08:09.101000+00:00", "large": false,
        "roles": [{ "id": at(0), "name": "@everyone", "permissions": "104324673" }, { "id": at(1), "name": "staff", "permissions": "8" }, { "id": at(2), "name": "guests", "permissions": "0" }],
        "emojis": [{ "id": at(21), "name": "wave", "roles": [] }, { "id": at(20), "name": "smile", "roles": [] }],
        "stickers": [{ "id": at(41), "name": "late" }, { "id": at(40), "name": "early" }],
        "channels": [{ "id": at(10), "type": 0, "name": "general" }, { "id": at(11), "type": 2, "name": "voice", "rate": 1.5, "big": 12345678901i64 }],
        "threads": [{ "id": at(30), "type": 11, "name": "thread", "parent_id": at(10), "guild_id": at(0) }],
        "members": members, "presences": [{ "user": { "id": MEMBER.to_string() }, "status": "dnd", "activities": [] }],
        "voice_states": [], "stage_instances": [{ "id": at(50), "channel_id": at(11), "topic": "talk" }],
        "guild_scheduled_events": [{ "id": at(61), "name": "later" }, { "id": at(60), "name": "party", "entity_metadata": null }],
        "soundboard_sounds": [{ "sound_id": at(70), "name": "boo", "volume": 0.5 }], "an unknown field": { "é": [1, 2.5, null] },
    })
}

fn few(guilds: u32) -> Config {
    Config { shards: 2, max_concurrency: 2, guilds, members: 12, rate: 0.0, heartbeat_interval_ms: 2_000, ..Config::default() }
}

/// Gives both bots the shared guild, and the first one another.
async fn shared(pair: &Pair) {
    let (one, other) = (member(MEMBER, "anna", &[&(SHARED + 1).to_string(), &(SHARED + 2).to_string()]), member(OTHER, "bert", &[]));
    for bot in 0..2 {
        pair.world.sim.emit_given(bot, "GUILD_CREATE", guild(SHARED, &[one.clone(), other.clone()]), Some(0));
    }
    let here = member(MEMBER, "anna", &[&(OWN + 1).to_string()]);
    pair.world.sim.emit_given(0, "GUILD_CREATE", guild(OWN, &[here]), Some(0));
    let began = Instant::now();
    while send(pair.world.clients, "GET", &format!("/v1/events/guilds/{OWN}"), "", "").await.status != 200 {
        assert!(began.elapsed() < PATIENCE, "the guild is not told");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_jsonb_does_not_hold_of_a_text_is_answered_as_by_the_process_that_holds_the_shards() {
    let pair = Pair::new(few(1), 1).await;
    pair.world.sim.pause();
    let roles = [1, 2].map(|role| (OWN + role).to_string());
    let mut anna = member(MEMBER, "an\0na", &[&roles[0], &roles[1]]);
    anna["nick"] = json!("Ni\0ck");
    let mut told = guild(OWN, &[anna, member(OTHER, "bert", &[])]);
    // Every name and topic, and a key.
    let odd = told.to_string().replace(r#""name":""#, r#""name":"\u0000"#).replace(r#""topic":""#, r#""topic":"\u0000"#);
    told = serde_json::from_str(&odd.replace("an unknown field", "an\\u0000unknown field")).expect("JSON");
    pair.world.sim.emit_given(0, "GUILD_CREATE", told, Some(0));
    pair.world.sim.emit_given(0, "GUILD_ROLE_DELETE", json!({ "guild_id": OWN.to_string(), "role_id": roles[1] }), Some(0));
    let began = Instant::now();
    while !send(pair.world.clients, "GET", &format!("/v1/events/guilds/{OWN}/members_with_role/{}", roles[0]), "", "")
        .await
        .text()
        .contains("77001")
    {
        assert!(began.elapsed() < PATIENCE, "the guild is not told");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let whole = pair.get(&format!("guilds/{OWN}")).await;
    assert!(
        whole["name"] == format!("\0guild {OWN}") && whole["member_count"] == 2 && whole["stickers"][1]["name"] == "\0early",
        "{whole}"
    );
    let there = [
        ("channels", 2),
        ("roles", 2),
        ("emojis", 2),
        ("members", 2),
        ("threads", 1),
        ("members?query=na%20%C3%84R", 1),
        ("members?query=n%00n", 1),
        ("members?query=NI%00C", 1),
    ];
    for (list, many) in there {
        let found = pair.get(&format!("guilds/{OWN}/{list}")).await;
        assert_eq!(ids(&found).len(), many, "{list}: {found}");
        assert!(found.to_string().contains("\\u0000"), "{list}: {found}");
    }
    let anna = pair.get(&format!("guilds/{OWN}/members/{MEMBER}")).await;
    assert_eq!((&anna["nick"], &anna["roles"]), (&json!("Ni\0ck"), &json!([roles[0]])), "without the role that is gone");
    for path in [
        format!("guilds/{OWN}/members_with_role/{}", roles[0]),
        format!("guilds/{OWN}/members_with_role/{}", roles[1]),
        format!("guilds/{OWN}/emojis/{}", OWN + 21),
        format!("channels/{}/threads", OWN + 10),
        format!("channels/{}", OWN + 10),
        format!("threads/{}", OWN + 30),
        format!("users/{MEMBER}"),
        format!("users?userIDs={MEMBER},{OTHER}"),
        format!("user_in_guilds_has_roles?user_id={MEMBER}&server_ids={OWN}&role_ids={}", roles[0]),
    ] {
        pair.get(&path).await;
    }
    assert_eq!(pair.get(&format!("users/{MEMBER}")).await["username"], "an\0na");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_as_the_process_that_holds_the_shards_does() {
    let mut pair = Pair::new(Config { rate: 150.0, mix: Mix::Every, ..few(4) }, 2).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    pair.world.sim.pause();
    shared(&pair).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let bots = pair.world.sim.bot_ids();
    let (first, second) = (bots[0], bots[1]);
    let mut asked = 0;

    for guild in pair.world.sim.guild_ids().into_iter().chain([OWN]) {
        let whole = pair.get(&format!("guilds/{guild}")).await;
        if guild == OWN {
            let many = ["stickers", "stage_instances", "guild_scheduled_events", "soundboard_sounds"];
            assert_eq!(many.map(|list| whole[list].as_array().map(Vec::len)), [Some(2), Some(1), Some(2), Some(1)], "{whole}");
        }
        let mut lists = Vec::new();
        for list in ["channels", "roles", "emojis", "members", "threads"] {
            lists.push((list, ids(&pair.get(&format!("guilds/{guild}/{list}")).await)));
            pair.get(&format!("guilds/{guild}/{list}?limit=2")).await;
        }
        for (list, ids) in &lists {
            for id in ids {
                let one = match *list {
                    "channels" => format!("channels/{id}"),
                    "threads" => format!("threads/{id}"),
                    list => format!("guilds/{guild}/{list}/{id}"),
                };
                asked += usize::from(pair.get(&one).await.is_object());
            }
            if let [one, .., last] = ids.as_slice() {
                pair.get(&format!("guilds/{guild}/{list}?after={one}")).await;
                pair.get(&format!("guilds/{guild}/{list}?id={last}&id=99&id={one}")).await;
                let _ = pair.get(&format!("channels/{one}/threads")).await;
            }
        }
        let roles = &lists.iter().find(|(list, _)| *list == "roles").expect("asked").1;
        let members = &lists.iter().find(|(list, _)| *list == "members").expect("asked").1;
        for role in roles {
            pair.get(&format!("guilds/{guild}/members_with_role/{role}")).await;
            pair.get(&format!("guilds/{guild}/members_with_role/{role}?limit=1")).await;
        }
        for member in members.iter().take(4) {
            pair.get(&format!("users/{member}")).await;
            pair.get(&format!("user_in_guilds?user_id={member}&server_ids=99,{guild}")).await;
            pair.get(&format!("user_in_guilds_has_roles?user_id={member}&server_ids={guild}&role_ids={}", roles.join(","))).await;
        }
        pair.get(&format!("users?userIDs=99,{}", members.join(","))).await;
    }
    assert!(asked > 100, "hardly anything is there: {asked}");
    eprintln!("{asked} objects are the same");

    // Names in upper and lower case, beyond ASCII too; too short a text; nobody.
    for (query, found) in [
        ("ann", true),
        ("ANNA", true),
        ("%C3%A4rg", true),
        ("na%20%C3%84RG", true),
        ("%C3%A4r", false),
        ("an", false),
        ("%25%25%25", false),
        ("_nn", false),
        ("nobody%20at%20all", false),
    ] {
        let members = pair.get(&format!("guilds/{OWN}/members?query={query}")).await;
        assert_eq!(ids(&members), if found { &["77001"][..] } else { &[] }, "{query}");
    }

    // Over all bots, and of each.
    for path in ["guilds_count", "threads", "threads?limit=1", "users?userIDs=77001,77002,77001"] {
        pair.get(path).await;
        for bot in &bots {
            pair.get(&format!("{path}{}bot_id={bot}", if path.contains('?') { '&' } else { '?' })).await;
        }
    }
    for bot in &bots {
        pair.get(&format!("users/{bot}")).await;
        for path in ["", "/channels", "/members", "/roles", "/emojis/41943060", "/threads", "/members_with_role/41943041", "/members/77001"]
        {
            pair.get(&format!("guilds/{SHARED}{path}?bot_id={bot}")).await;
        }
        pair.get(&format!("user_in_guilds?user_id={OTHER}&server_ids={SHARED}&bot_id={bot}")).await;
    }
    // A guild of both, nobody named; a bot that is not in it; no such bot.
    for (path, status) in [
        (format!("guilds/{SHARED}"), 400),
        (format!("guilds/{SHARED}/roles"), 400),
        (format!("guilds/{SHARED}/members/{MEMBER}"), 400),
        (format!("user_in_guilds?user_id={MEMBER}&server_ids={SHARED}"), 400),
        (format!("user_in_guilds?user_id={MEMBER}&server_ids={OWN},{SHARED}"), 200),
        (format!("guilds/{OWN}?bot_id={second}"), 404),
        (format!("guilds/{OWN}/channels?bot_id={second}"), 200),
        (format!("guilds/{OWN}?bot_id=99"), 400),
        ("users/77001?bot_id=99".to_owned(), 400),
        (format!("channels/{}?bot_id=99", OWN + 10), 400),
        ("guilds_count?bot_id=99".to_owned(), 400),
        ("threads?bot_id=x".to_owned(), 400),
    ] {
        pair.status(&path, status).await;
    }
    // What is unknown, and what is none.
    for (path, status) in [
        ("guilds/99", 404),
        ("guilds/99/members", 200),
        ("guilds/99/emojis", 200),
        ("guilds/99/members?id=1&id=2", 200),
        ("guilds/99/members_with_role/99", 200),
        ("guilds/99/emojis/1", 404),
        ("users/99", 404),
        ("channels/99", 404),
        ("channels/99/threads", 200),
        ("channels/99/messages/98", 404),
        ("threads/99", 404),
        ("user_in_guilds?user_id=99&server_ids=99", 200),
        ("guilds/x", 400),
        ("guilds/1/roles/99999999999999999999", 400),
        ("guilds/1/roles?id=x", 400),
        ("users?userIDs=1,x", 400),
        ("users", 400),
        ("guilds/1/members?limit=0", 400),
        ("user_in_guilds?user_id=1", 400),
        ("user_in_guilds_has_roles?user_id=1&server_ids=1", 400),
        ("nothing", 404),
        ("openapi.json", 200),
    ] {
        let live = send(pair.world.clients, "GET", &format!("/v1/events/{path}"), "", "").await;
        let stored = send(pair.state_at, "GET", &format!("/v1/events/{path}"), "", "").await;
        assert_eq!((live.status, live.kind.as_str()), (stored.status, stored.kind.as_str()), "{path}");
        assert_eq!((stored.status, live.text()), (status, stored.text()), "{path}");
    }
    let (live, stored) = (send(pair.world.clients, "GET", "/healthz", "", "").await, send(pair.state_at, "GET", "/healthz", "", "").await);
    assert!(live.text() == stored.text() && live.text().starts_with("Version: "), "{} {}", live.text(), stored.text());

    // A role that is deleted: rows of members still name it.
    for bot in 0..2 {
        pair.world.sim.emit_given(
            bot,
            "GUILD_ROLE_DELETE",
            json!({ "guild_id": SHARED.to_string(), "role_id": (SHARED + 1).to_string() }),
            Some(0),
        );
    }
    let began = Instant::now();
    // Asked once a turn: the answer changes at some moment, which may lie between two that should be the same.
    let with_role = format!("/v1/events/guilds/{SHARED}/members_with_role/{}?bot_id={first}", SHARED + 1);
    while pair.same("GET", &with_role, "", "").await != json!([]) {
        assert!(began.elapsed() < PATIENCE, "the role is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let gone = pair.get(&format!("guilds/{SHARED}/members/{MEMBER}?bot_id={first}")).await;
    assert_eq!(gone["roles"], json!([(SHARED + 2).to_string()]));
    assert_eq!(pair.get(&format!("guilds/{SHARED}/members?bot_id={second}")).await[0]["roles"], gone["roles"]);
    for (role, has) in [(SHARED + 1, false), (SHARED + 2, true)] {
        let path = format!("user_in_guilds_has_roles?user_id={MEMBER}&server_ids={SHARED}&role_ids={role}&bot_id={first}");
        assert_eq!(pair.get(&path).await, json!({ "exists": has }));
    }

    // Who may ask for some guilds alone.
    let bearer = format!("authorization: Bearer {LIMITED}\r\n");
    for (path, status) in [
        (format!("guilds/{OWN}"), 200),
        (format!("guilds/{SHARED}?bot_id={first}"), 403),
        (format!("users/{MEMBER}"), 200),
        (format!("users/{OTHER}"), 404),
        (format!("users?userIDs={MEMBER},{OTHER}"), 200),
        (format!("channels/{}", OWN + 10), 200),
        (format!("channels/{}", SHARED + 10), 404),
        (format!("channels/{}/threads", SHARED + 10), 200),
        ("guilds_count".to_owned(), 200),
        ("threads".to_owned(), 200),
        ("threads?limit=1".to_owned(), 200),
        (format!("user_in_guilds?user_id={MEMBER}&server_ids={OWN}"), 200),
        (format!("user_in_guilds?user_id={OTHER}&server_ids={SHARED}&bot_id={first}"), 403),
    ] {
        pair.same("GET", &format!("/v1/events/{path}"), &bearer, "").await;
        assert_eq!(send(pair.state_at, "GET", &format!("/v1/events/{path}"), &bearer, "").await.status, status, "{path}");
    }
    pair.same("GET", "/v1/events/guilds_count", "authorization: Bearer wrong\r\n", "").await;

    // What is saved at a clean stop only.
    // As young as its id says; older ones are not kept.
    let unix_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis();
    let said_id = (unix_ms - 1_420_070_400_000) << 22;
    let author = json!({ "id": OTHER.to_string(), "username": "bert", "global_name": null, "discriminator": "0", "avatar": null });
    let said = json!({
        "id": said_id.to_string(), "channel_id": (OWN + 10).to_string(), "guild_id": OWN.to_string(), "content": "hello", "author": author,
        "timestamp": "2030-05-06T07:08:09.101000+00:00", "edited_timestamp": null, "tts": false, "mention_everyone": false, "mentions": [],
        "mention_roles": [], "attachments": [], "embeds": [], "pinned": false, "type": 0,
    });
    pair.world.sim.emit_given(0, "MESSAGE_CREATE", said, Some(0));
    let paths = [format!("channels/{}/messages/{said_id}", OWN + 10), format!("guilds/{OWN}/members/{MEMBER}/presence")];
    let mut told = Vec::new();
    for path in &paths {
        let path = format!("/v1/events/{path}");
        let began = Instant::now();
        while send(pair.world.clients, "GET", &path, "", "").await.status != 200 {
            assert!(began.elapsed() < PATIENCE, "{path} is not there");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        told.push(send(pair.world.clients, "GET", &path, ETF, "").await.value());
    }
    pair.world.terminate().await;
    for (path, told) in paths.iter().zip(told) {
        let stored = send(pair.state_at, "GET", &format!("/v1/events/{path}"), ETF, "").await;
        assert_eq!((stored.status, stored.value()), (200, told), "{path}");
    }
    assert!(pair.state.runs(), "{}", pair.state.log());
}

/// What the routes that write are given, and what is asked afterwards. The same is done to a guild of each process: one alone sees what it
/// has written itself.
fn writes(guild: u64) -> Vec<(&'static str, String, String, u16)> {
    let at = |offset: u64| guild + offset;
    let g = format!("guilds/{guild}");
    vec![
        ("POST", format!("{g}/roles"), format!(r#"{{"{}":{{"name":"changed","id":"wrong"}},"5000":{{"name":"new"}}}}"#, at(1)), 200),
        ("POST", format!("{g}/channels"), format!(r#"{{"{}":{{"type":0,"name":"renamed"}},"{}":{{"type":4}}}}"#, at(10), at(15)), 200),
        (
            "POST",
            format!("{g}/members"),
            r#"{"77001":{"nick":"put","roles":["5000"]},"77003":{"user":{"username":"hugo"},"roles":[]},"77004":{"nick":"x"}}"#.into(),
            200,
        ),
        ("POST", format!("{g}/members"), r#"{"77002":{"user":{"id":"1","username":"berta"},"roles":["5000"]}}"#.into(), 200),
        ("POST", format!("{g}/roles"), "{}".into(), 200),
        ("POST", format!("{g}/roles"), "[]".into(), 400),
        ("POST", format!("{g}/roles"), r#"{"x":{}}"#.into(), 400),
        ("POST", format!("{g}/roles"), r#"{"5":7}"#.into(), 400),
        ("POST", format!("{g}/members"), "{".into(), 400),
        ("POST", "guilds/99/roles".into(), r#"{"5":{}}"#.into(), 404),
        ("POST", "guilds/99/members".into(), r#"{"5":{}}"#.into(), 404),
        ("DELETE", "guilds/99/roles/wipe".into(), String::new(), 404),
        ("DELETE", "guilds/99/channels/delete".into(), r#"["5"]"#.into(), 404),
        ("POST", format!("{g}/channels"), r#"{"41943050":{"type":0}}"#.into(), 400),
        ("DELETE", format!("{g}/channels/delete"), r#"["41943050"]"#.into(), 400),
        ("DELETE", format!("{g}/roles/delete"), format!(r#"["{}","4999"]"#, at(2)), 200),
        ("DELETE", format!("{g}/roles/delete"), "{}".into(), 400),
        ("DELETE", format!("{g}/channels/delete"), format!(r#"["{}"]"#, at(10)), 200),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_over_the_api_is_then_answered_as_the_live_caches_would() {
    let pair = Pair::new(few(1), 2).await;
    shared(&pair).await;
    let left: u64 = 7 << 23;
    for guild_id in [OWN, left] {
        let roles = [(guild_id + 1).to_string(), (guild_id + 2).to_string()];
        let members = [member(MEMBER, "anna", &[&roles[0], &roles[1]]), member(OTHER, "bert", &[&roles[1]])];
        pair.world.sim.emit_given(0, "GUILD_CREATE", guild(guild_id, &members), Some(0));
    }
    let first = pair.world.sim.bot_ids()[0];
    for guild in [OWN, left] {
        let began = Instant::now();
        let path = format!("/v1/events/guilds/{guild}/members?bot_id={first}");
        while pair.same("GET", &path, "", "").await.as_array().map(Vec::len) != Some(2) {
            assert!(began.elapsed() < PATIENCE, "the members are not told");
        }
    }
    // The one process writes into one guild, the other into the other.
    for ((method, live_path, live_body, status), (_, path, body, _)) in writes(OWN).into_iter().zip(writes(left)) {
        let live = send(pair.world.clients, method, &format!("/v1/events/{live_path}"), "", &live_body).await;
        let stored = send(pair.state_at, method, &format!("/v1/events/{path}"), "", &body).await;
        assert_eq!((live.status, &live.kind), (status, &stored.kind), "{method} {live_path} {live_body}: {}", live.text());
        assert_eq!(stored.status, status, "{method} {path} {body}: {}", stored.text());
        if status == 200 {
            assert_eq!(live.text(), stored.text(), "{path}");
        }
    }
    let look = async |at: SocketAddr, guild: u64| {
        let mut seen = Vec::new();
        for list in ["channels", "roles", "members", "threads", "members_with_role/5000", "members?query=hugo", "members?id=77001&id=77004"]
        {
            seen.push(send(at, "GET", &format!("/v1/events/guilds/{guild}/{list}"), "", "").await.value());
        }
        for role in [guild + 2, 5_000, 4_999] {
            seen.push(send(at, "GET", &format!("/v1/events/guilds/{guild}/members_with_role/{role}"), "", "").await.value());
            let path = format!("/v1/events/user_in_guilds_has_roles?user_id={MEMBER}&server_ids={guild}&role_ids={role}");
            seen.push(send(at, "GET", &path, "", "").await.value());
        }
        for user in [MEMBER, OTHER, 77_003, 77_004] {
            seen.push(send(at, "GET", &format!("/v1/events/users/{user}"), "", "").await.value());
        }
        // The guilds differ in nothing but their ids.
        let mut text = Value::from(seen).to_string();
        for offset in [0, 1, 2, 10, 11, 15, 30] {
            text = text.replace(&(guild + offset).to_string(), &format!("guild+{offset}"));
        }
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let (live, stored) = (look(pair.world.clients, OWN).await, look(pair.state_at, left).await);
    for (at, (live, stored)) in live.as_array().expect("a list").iter().zip(stored.as_array().expect("a list")).enumerate() {
        assert_eq!(live, stored, "look {at}");
    }
    // Wiping leaves nothing, of either.
    for (at, guild) in [(pair.world.clients, OWN), (pair.state_at, left)] {
        for kind in ["roles", "channels"] {
            assert_eq!(send(at, "DELETE", &format!("/v1/events/guilds/{guild}/{kind}/wipe"), "", "").await.status, 200);
            assert_eq!(send(at, "GET", &format!("/v1/events/guilds/{guild}/{kind}"), "", "").await.text(), "[]");
        }
        assert_eq!(send(at, "GET", &format!("/v1/events/guilds/{guild}/members/{MEMBER}"), "", "").await.value()["roles"], json!([]));
    }

    // A token of one guild puts nobody into it whom it may not see.
    let bearer = format!("authorization: Bearer {LIMITED}\r\n");
    pair.world.sim.emit_given(
        0,
        "GUILD_MEMBER_ADD",
        {
            let mut far = member(77_009, "far", &[]);
            far["guild_id"] = json!(left.to_string());
            far
        },
        Some(0),
    );
    let began = Instant::now();
    // In one encoding: it may come to be known between two questions.
    while pair.same("GET", &format!("/v1/events/users/77009?bot_id={first}"), "", "").await["username"] != "far" {
        assert!(began.elapsed() < PATIENCE, "the member is not told");
    }
    for at in [pair.world.clients, pair.state_at] {
        let put = send(at, "POST", &format!("/v1/events/guilds/{OWN}/members"), &bearer, r#"{"77008":{},"77009":{}}"#).await;
        assert!(put.status == 403 && put.text().contains("77009"), "{} {}", put.status, put.text());
        for user in [77_008, 77_009] {
            assert_eq!(send(at, "GET", &format!("/v1/events/users/{user}"), &bearer, "").await.status, 404);
            assert_eq!(send(at, "GET", &format!("/v1/events/guilds/{OWN}/members/{user}"), &bearer, "").await.status, 404);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_is_503_with_a_clear_text_and_answers_come_back() {
    let mut pair = Pair::new(few(1), 2).await;
    shared(&pair).await;
    let path = format!("/v1/events/guilds/{OWN}/roles");
    assert_eq!(pair.get(&format!("guilds/{OWN}/roles")).await.as_array().map(Vec::len), Some(3));
    assert_eq!(send(pair.state_health, "GET", "/readyz", "", "").await.status, 200);
    let server = pair.server;
    off_runtime(|| server.kill()).await;
    // Its processes outlive it for a moment, and each connection has one of its own.
    let (began, mut failed) = (Instant::now(), 0);
    while failed < 8 {
        assert!(began.elapsed() < PATIENCE);
        failed = if send(pair.state_at, "GET", &path, "", "").await.status == 200 { 0 } else { failed + 1 };
    }
    for (method, path, body) in [("GET", path.as_str(), ""), ("GET", "/v1/events/guilds_count", ""), ("POST", path.as_str(), "{}")] {
        let got = send(pair.state_at, method, path, "", body).await;
        assert_eq!(got.status, 503, "{method} {path}: {}", got.text());
        assert!(got.text().contains("the store cannot be read at the moment") && !got.text().contains(PASSWORD), "{}", got.text());
    }
    assert_eq!(send(pair.state_health, "GET", "/readyz", "", "").await.status, 503);
    assert_eq!(send(pair.state_health, "GET", "/healthz", "", "").await.status, 200);
    off_runtime(|| server.run()).await;
    let began = Instant::now();
    while send(pair.state_at, "GET", &path, "", "").await.status != 200 {
        assert!(began.elapsed() < PATIENCE, "it does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(send(pair.state_health, "GET", "/readyz", "", "").await.status, 200);
    assert!(pair.state.runs() && !pair.state.log().contains(PASSWORD) && !pair.state.log().contains("p@ss"), "{}", pair.state.log());
    assert_eq!(pair.state.said("the store cannot be read, lookups fail until it can"), 1);
    pair.state.signal("TERM");
    assert_eq!(pair.state.ended().await, 0);
}
