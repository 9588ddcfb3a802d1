//! A client that owes nothing to our own files: protoc's Python output for the published interface, against a whole node.
//!
//! The `.proto` files are written from `crates/wire/tests/pylon-interface.csv`, compiled by grpcio-tools, and a small worker on top
//! of them does what Pylon's own clients do. What the simulated Discord sent is the measure.
#![allow(clippy::print_stderr, reason = "what was measured is part of the proof")]

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use trunkline::config::{self, Sources};
use trunkline::roles::node::Node;
use trunkline_delivery::GroupStats;
use trunkline_sim::{BotConfig, Kind, Mix, Sim, SimHandle};
use trunkline_testbed::python::{interpreter, program};

const GROUP: &str = "default";
const GUILDS: u32 = 4;
/// The node waits 5 s before the first identify, where it has no record of earlier ones.
const PATIENCE: Duration = Duration::from_secs(60);

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn lines(output: &Output) -> String {
    format!("{}\n{}\n{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Client code for the interface, made by protoc in `dir`.
async fn generate(dir: &Path) -> PathBuf {
    let (protos, client) = (dir.join("protos"), dir.join("client"));
    std::fs::create_dir_all(&client).expect("a folder");
    let table = here().join("../wire/tests/pylon-interface.csv");
    let made = program("make_protos.py").arg(table).arg(&protos).output().await.expect("python runs");
    assert!(made.status.success(), "{}", lines(&made));
    compile(&protos, &client).await;
    client
}

/// protoc's Python output in `client` for all files below `protos`.
async fn compile(protos: &Path, client: &Path) {
    let (mut files, mut folders) = (Vec::new(), vec![protos.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("protos") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    std::fs::create_dir_all(client).expect("a folder");
    let made = Command::new(interpreter())
        .args(["-m", "grpc_tools.protoc"])
        .arg(format!("-I{}", protos.display()))
        .arg(format!("--python_out={}", client.display()))
        .arg(format!("--grpc_python_out={}", client.display()))
        .args(files)
        .output()
        .await
        .expect("protoc runs");
    assert!(made.status.success(), "{}", lines(&made));
}

struct World {
    sim: SimHandle,
    node: Node,
    client: PathBuf,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> World {
        let dir = tempfile::tempdir().expect("a folder");
        let client = generate(dir.path()).await;
        let token = "dGVzdA.python.never-a-real-token";
        let sim = Sim::start(trunkline_sim::Config {
            bots: vec![BotConfig::new(token)],
            shards: 2,
            max_concurrency: 2,
            guilds: GUILDS,
            members: 20,
            mix: Mix::Every,
            ..Default::default()
        })
        .await
        .expect("the simulated Discord starts");
        let setting = |key: &str, value: &str| (key.to_owned(), value.to_owned(), "test".to_owned());
        let sources = Sources {
            flags: vec![
                setting("discord.api", sim.api_url()),
                setting("listen.clients", "127.0.0.1:0"),
                setting("listen.admin", "127.0.0.1:0"),
                setting("store.path", &dir.path().join("store").display().to_string()),
                setting("bots.0.token", token),
            ],
            ..Sources::default()
        };
        let config = config::parse(&sources).expect("a sound configuration");
        let node = Node::start(config).await.expect("the node starts");
        World { sim, node, client, _dir: dir }
    }

    fn worker(&self, token: &str, id: &str, mode: &str, more: &[&str]) -> Command {
        let mut command = program("worker.py");
        command.arg(&self.client).arg(self.node.clients().to_string()).args([GROUP, token, id, mode]).args(more);
        command
    }

    /// Runs a worker to its end and reads what it tells.
    async fn run(&self, id: &str, mode: &str, more: &[&str]) -> Value {
        let token = self.node.token(GROUP).expect("the group's token").expose().to_owned();
        ended(&mut self.worker(&token, id, mode, more)).await
    }

    /// Runs a program of lookups with the client code in `client`, about these ids, and reads what it found.
    async fn look_up(&self, name: &str, client: &Path, ids: &[u64]) -> Value {
        let mut command = program(name);
        command.arg(client).arg(self.node.clients().to_string()).args(ids.iter().map(u64::to_string));
        ended(&mut command).await
    }

    async fn group(&self) -> GroupStats {
        let groups: Vec<_> = self.node.shared().reports().await.into_iter().flat_map(|core| core.hub.groups).collect();
        let mut sum = groups[0].clone();
        for group in &groups[1..] {
            sum.entries += group.entries;
            sum.in_flight += group.in_flight;
            sum.acked += group.acked;
            sum.redelivered += group.redelivered;
        }
        sum
    }

    /// Waits until the node has dispatched to its log all that the simulated Discord sent.
    async fn all_taken(&self) -> u64 {
        for _ in 0..600 {
            let sent: u64 = self.sim.sent().iter().map(|session| session.sequence().count() as u64).sum();
            let group = self.group().await;
            if self.sim.sent().len() == 2 && sent == group.acked + group.entries {
                return sent;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the node did not take everything: {:?} of {:?}", self.group().await, self.sim.report().sessions);
    }
}

/// What a program tells at its end.
async fn ended(command: &mut Command) -> Value {
    told(tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends").expect("it runs"))
}

#[track_caller]
fn told(output: Output) -> Value {
    assert!(output.status.success(), "{}", lines(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", lines(&output)))
}

#[track_caller]
fn assert_sound(result: &Value) {
    assert_eq!(result["health"], "0801", "the health service says SERVING: {result}");
    assert_eq!(result["status"], "OK", "{result}");
    assert_eq!(result["sequence_errors"], 0, "sequences rise by one: {result}");
    assert_eq!(result["unknown_fields"], serde_json::json!([]), "a plain Pylon client must not notice our additions");
    assert_eq!(result["empty_envelopes"], 0, "every event has a form that it knows: {result}");
    assert_eq!(result["acknowledged"], result["last"], "{result}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_client_of_the_published_interface_receives_acknowledges_and_drains() {
    let world = World::new().await;
    let stats = world.node.shared().door.stats();
    let door = &stats.groups[0];

    // A wrong token.
    let refused = ended(&mut world.worker("wrong", "py-0", "drain", &[])).await;
    assert_eq!((&refused["closed"], &refused["status"]), (&"INVALID_IDENTITY".into(), &"OK".into()), "{refused}");
    assert_eq!((&refused["ticket"], &refused["received"]), (&"".into(), &0.into()), "{refused}");
    assert_eq!(stats.refused_identities.get(), 1);

    // Guilds at the start, and every kind of event several times.
    world.all_taken().await;
    world.sim.emit(800, None, None);
    let sent = world.all_taken().await;
    let first = world.run("py-1", "drain", &[]).await;
    assert_sound(&first);
    assert_eq!(first["closed"], "DRAIN_COMPLETE", "{first}");
    assert!(first["heartbeats"].as_u64() >= Some(1), "{first}");
    assert_ne!(first["ticket"], "", "{first}");
    let mut guilds: Vec<Value> = world.sim.guild_ids().into_iter().map(Value::from).collect();
    guilds.sort_by_key(Value::as_u64);
    assert_eq!(first["guilds"], Value::from(guilds), "every guild came, typed");
    let kinds = first["by_kind"].as_object().expect("kinds");
    assert!(kinds.len() >= 30, "every kind of the interface is reachable: {kinds:?}");
    let group = world.group().await;
    assert_eq!((group.acked, group.entries, group.in_flight, group.redelivered), (sent, 0, 0, 0), "all acknowledged, nothing twice");
    assert_eq!(first["received"].as_u64(), Some(sent - door.filtered.get()), "what it did not get has no form in its interface");

    // Another worker gets only what is new.
    world.sim.emit(200, None, None);
    let sent_later = world.all_taken().await;
    assert!(sent_later > sent);
    let filtered = door.filtered.get();
    let second = world.run("py-2", "drain0", &[]).await;
    assert_sound(&second);
    assert_eq!(second["closed"], "DRAIN_COMPLETE", "{second}");
    assert_eq!(second["received"].as_u64(), Some(sent_later - sent - (door.filtered.get() - filtered)), "{second}");
    let group = world.group().await;
    assert_eq!((group.acked, group.entries, group.redelivered), (sent_later, 0, 0));

    // The first one again, with its ticket: its sequences go on above the earlier ones. The server stops under it.
    world.sim.emit(100, None, None);
    let sent_last = world.all_taken().await;
    let token = world.node.token(GROUP).expect("the group's token").expose().to_owned();
    let last = first["last"].to_string();
    let more = ["--ticket", first["ticket"].as_str().expect("a ticket"), "--last-sequence", &last];
    let mut third = world.worker(&token, "py-1", "stay", &more).spawn().expect("it runs");
    let mut said = BufReader::new(third.stderr.take().expect("piped")).lines();
    let line = tokio::time::timeout(PATIENCE, said.next_line()).await.expect("it becomes quiet").expect("readable");
    assert_eq!(line.as_deref(), Some("quiet"));
    assert_eq!(world.group().await.acked, sent_last);
    let counted = (door.answered.get(), door.timeouts.get(), door.bad_acks.get());
    let World { sim, node, .. } = world;
    let stopped = node.stop().await;
    assert!(stopped.acknowledged, "{stopped:?}");
    let third = told(tokio::time::timeout(PATIENCE, third.wait_with_output()).await.expect("the worker ends").expect("it runs"));
    assert_sound(&third);
    assert_eq!(third["closed"], Value::Null, "a stop is a completed call without stream_closed: {third}");
    assert!(third["received"].as_u64() > Some(0), "{third}");
    assert!(third["first"].as_u64() > first["last"].as_u64(), "sequences never repeat: {first} then {third}");
    assert!(counted.0 >= 3, "heartbeats are answered: {counted:?}");
    assert_eq!((counted.1, counted.2), (0, 0), "no timeout, no acknowledgement of what was never sent");
    let report = sim.stop().await;
    assert!(report.client_faults.is_empty(), "{:?}", report.client_faults);
    eprintln!(
        "python: {} + {} + {} events received, {sent_last} sent, {} filtered, {} kinds",
        first["received"],
        second["received"],
        third["received"],
        door.filtered.get(),
        kinds.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_client_of_the_published_interface_calls_every_lookup() {
    let world = World::new().await;
    world.all_taken().await;
    let (bot, guild) = (world.sim.bot_ids()[0], world.sim.guild_ids()[0]);
    let found = world.look_up("lookups.py", &world.client, &[bot, guild]).await;
    let called: Vec<&str> = found["called"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let methods = include_str!("../../wire/tests/pylon-interface.csv").lines().filter_map(|line| {
        let mut columns = line.split(',');
        let (kind, service, method) = (columns.next()?, columns.next()?, columns.next()?);
        let served = ["pylon.gateway.v1.service.GatewayCache", "pylon.gateway.v1.service.Gateway"].contains(&service);
        (kind == "rpc" && served).then_some(method)
    });
    let mut methods: Vec<&str> = methods.collect();
    methods.sort_unstable();
    assert_eq!((called, methods.len()), (methods, 20), "every method of both services: {found}");
    assert_eq!(found["unknown_fields"], serde_json::json!([]), "a plain Pylon client must not notice our additions");
    assert!(found["absent"].as_array().expect("a list").iter().all(|absent| absent[1] == true), "{found}");
    assert_eq!(found["guild"][0].as_u64(), Some(guild));
    for (all, one_by_one) in [
        ("channels", "channels_found"),
        ("roles", "roles_found"),
        ("emojis", "emojis_found"),
        ("members", "members_found"),
        ("members", "users_found"),
        ("members", "mutual"),
    ] {
        assert!(found[all].as_u64() > Some(0) && found[all] == found[one_by_one], "{all}, {one_by_one}: {found}");
    }
    for true_of in ["members_ascend", "by_name", "by_prefix", "by_role", "by_status", "voice_listed"] {
        assert_eq!(found[true_of], true, "{true_of}: {found}");
    }
    assert_eq!((&found["by_limit"], &found["by_nothing_that_is"]), (&3.into(), &serde_json::json!([])));
    assert!(found["presences"].as_u64() > Some(0) && found["voice"].as_u64() > Some(0), "{found}");
    assert_eq!((found["stats"][0].as_u64(), found["stats"][4].as_u64()), (Some(u64::from(GUILDS)), Some(2)), "{found}");
    for (call, code) in [
        ("no guild", "INVALID_ARGUMENT"),
        ("unknown bot", "NOT_FOUND"),
        ("malformed", "INVALID_ARGUMENT"),
        ("wrong token", "UNAUTHENTICATED"),
        ("wrong status", "INVALID_ARGUMENT"),
    ] {
        assert_eq!(found["refused"][call][0], code, "{call}: {found}");
    }
    let World { sim, node, .. } = world;
    node.stop().await;
    let report = sim.stop().await;
    assert!(report.client_faults.is_empty(), "Discord takes the commands as they are: {:?}", report.client_faults);
    eprintln!(
        "python: all 20 lookups and commands, {} members, {} presences, {} voice states",
        found["members"], found["presences"], found["voice"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_client_of_our_own_protos_calls_every_lookup_of_ours() {
    let world = World::new().await;
    world.all_taken().await;
    // Messages, bans, and the status of voice channels come with events only; what else is there must be there whatever the dice say.
    let first = Some(world.sim.guild_ids()[0]);
    world.sim.emit(300, None, first);
    for kind in [
        Kind::ThreadUpdate,
        Kind::GuildStickersUpdate,
        Kind::GuildScheduledEventUpdate,
        Kind::StageInstanceUpdate,
        Kind::GuildSoundboardSoundUpdate,
        Kind::MessageCreate,
    ] {
        world.sim.emit(3, Some(kind), first);
    }
    let guild_id = world.sim.guild_ids()[0].to_string();
    let ban = serde_json::json!({"guild_id": guild_id, "user": {"id": "80351110224678912", "username": "nelly"}});
    world.sim.emit_given(0, "GUILD_BAN_ADD", ban, None);
    let status = serde_json::json!({"guild_id": guild_id, "id": "41771983423143937", "status": "quiz night"});
    world.sim.emit_given(0, "VOICE_CHANNEL_STATUS_UPDATE", status, None);
    world.all_taken().await;
    let dir = tempfile::tempdir().expect("a folder");
    compile(&here().join("../../proto"), dir.path()).await;
    let (bot, guild) = (world.sim.bot_ids()[0], world.sim.guild_ids()[0]);
    let elsewhere = guild + (1 << 40);
    let found = world.look_up("own_lookups.py", dir.path(), &[bot, guild, elsewhere]).await;
    let called: Vec<&str> = found["called"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let contract = include_str!("../../../proto/trunkline/cache/v1/cache.proto");
    let mut methods: Vec<&str> = contract.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split('(').next()).collect();
    methods.sort_unstable();
    assert_eq!((called, methods.len()), (methods, 22), "every method: {found}");
    assert_eq!(found["wrong"], serde_json::json!([]), "{found}");
    assert!(found["absent"].as_array().expect("a list").iter().all(|absent| absent[1] == true), "{found}");
    for kind in [
        "thread",
        "sticker",
        "scheduled_event",
        "stage_instance",
        "sound",
        "ban",
        "voice_channel",
        "message",
        "channel",
        "role",
        "member",
        "user",
    ] {
        assert!(found[kind].as_u64() > Some(0), "no {kind}: {found}");
    }
    assert_eq!(found["counts"]["member"], found["member"], "{found}");
    assert!(found["bytes"].as_u64() > Some(0) && found["shards"] == 2, "{found}");
    for (call, code) in [
        ("no guild", "INVALID_ARGUMENT"),
        ("unknown bot", "NOT_FOUND"),
        ("malformed", "INVALID_ARGUMENT"),
        ("too many", "INVALID_ARGUMENT"),
        ("nowhere", "INVALID_ARGUMENT"),
    ] {
        assert_eq!(found["refused"][call][0], code, "{call}: {found}");
    }
    world.node.stop().await;
    world.sim.stop().await;
}
