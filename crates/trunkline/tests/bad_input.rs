//! Bad input, from every side: each told in one plain line that says what to do next, and none of it a crash. The messages are
//! asserted word by word where a person acts on them.

mod harness;

use std::path::Path;
use std::time::Duration;

use harness::process::{PATIENCE, Process};
use harness::{binary, get, nonce, token};
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use trunkline_doors::client::{Done, Received, WorkerClient, WorkerOptions, sequence};
use trunkline_sim::{BotConfig, Config, Fault, FaultKind, Sim, SimHandle};
use trunkline_wire::pylon::discord::v1::event::EventEnvelope;
use trunkline_wire::pylon::discord::v1::event::event_envelope::EventData;
use trunkline_wire::pylon::gateway::v1::service::gateway_worker_group_client::GatewayWorkerGroupClient;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_client_message::Payload as ToServer;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_closed::CloseReason;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_server_message::Payload as FromServer;
use trunkline_wire::pylon::gateway::v1::workergroup::{WorkerHeartbeatAck, WorkerIdentifyRequest, WorkerStreamClientMessage};
use trunkline_wire::trunkline::worker::v1::PayloadFormat;

/// A simulated Discord with one bot, and a folder for the node.
struct World {
    sim: SimHandle,
    dir: tempfile::TempDir,
    token: String,
    group_token: String,
}

impl World {
    async fn new(edit: impl FnOnce(&mut Config)) -> World {
        let token = token();
        let mut config = Config { bots: vec![BotConfig::new(&token)], guilds: 4, members: 10, ..Config::default() };
        edit(&mut config);
        let sim = Sim::start(config).await.expect("the simulated Discord starts");
        World { sim, dir: tempfile::tempdir().expect("a folder"), token, group_token: format!("group-{:x}", nonce()) }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A configuration for this world; `bot` goes into the bot's table, `group` into the group's.
    fn write(&self, bot: &str, group: &str) {
        let text = format!(
            "[discord]\napi = \"{}\"\n[listen]\nclients = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[store]\npath = \"store\"\n[[bots]]\ntoken = \"{}\"\n{bot}\n[[groups]]\nname = \"g\"\ntoken = \"{}\"\n{group}\n",
            self.sim.api_url(),
            self.token,
            self.group_token
        );
        std::fs::write(self.path().join("trunkline.toml"), text).expect("written");
    }

    fn run(&self, bot: &str) -> Process {
        self.write(bot, "");
        Process::start(self.path(), &["run"], &[])
    }

    async fn ready(&self, node: &mut Process) {
        node.says("ready with a new session").await;
    }

    /// No secret may be in what the node says.
    fn assert_no_secret(&self, text: &str) {
        for secret in [self.token.as_str(), self.group_token.as_str()] {
            assert!(!text.contains(secret), "a token was printed:\n{text}");
        }
    }
}

/// Runs `trunkline run` in `dir` with a token in the environment, to its end.
fn run_to_end(dir: &Path, args: &[&str]) -> (i32, String) {
    let args: Vec<&str> = std::iter::once("run").chain(args.iter().copied()).collect();
    let (code, out, error) = harness::run(&args, &[("DISCORD_TOKEN", "dGVzdA.x.y")], dir);
    assert_eq!(out, "", "standard output is for data");
    (code, error)
}

async fn metric(node: &mut Process, name: &str, labels: &str) -> f64 {
    let (_, admin) = node.ports().await;
    let (_, text) = get(admin, "/metrics").await.expect("metrics answer");
    text.lines()
        .filter(|line| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} ")))
        .filter(|line| line.contains(labels))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

// --- the bot ---------------------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_ends_with_status_3_and_says_where_to_get_a_right_one() {
    let world = World::new(|_| {}).await;
    world.write("", "");
    let wrong = "d3Jvbmc.this.is-wrong";
    let config = std::fs::read_to_string(world.path().join("trunkline.toml")).expect("written").replace(&world.token, wrong);
    std::fs::write(world.path().join("trunkline.toml"), config).expect("written");
    let mut node = Process::start(world.path(), &["run"], &[]);
    assert_eq!(node.ended().await, 3);
    let log = node.log();
    assert!(
        log.contains(
            "trunkline: every bot has failed for good: bots[0]: Discord does not know this bot token (HTTP 401 from /users/@me); copy it \
             anew from the Developer Portal (Bot, Reset Token) and mind that it is the bot's token, not the client secret (token from \
             trunkline.toml:9:1)\n"
        ),
        "{log}"
    );
    assert!(!log.contains(wrong), "the token was printed:\n{log}");
    assert_eq!(world.sim.report().identifies, 0);

    // Where the log is JSON, the last word is as well.
    let mut node = Process::start(world.path(), &["run", "--log-format", "json"], &[]);
    assert_eq!(node.ended().await, 3);
    let log = node.log();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect();
    let last = lines.last().expect("a line");
    assert!(last["message"].as_str().is_some_and(|text| text.starts_with("every bot has failed for good: bots[0]: ")), "{last}");
    assert!(last["level"] == "ERROR" && last["timestamp"].is_string(), "{last}");
    let (code, _, error) = harness::run(&["run", "--log-format", "json", "--encoding", "xml"], &[], world.path());
    assert_eq!(code, 2);
    let told: serde_json::Value = serde_json::from_str(error.trim()).unwrap_or_else(|_| panic!("not JSON: {error}"));
    assert!(told["message"].as_str().is_some_and(|text| text.contains("\"xml\" is not one of")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_cannot_start_is_listed_and_does_not_hold_the_others_back() {
    let world = World::new(|_| {}).await;
    world.write("", "");
    let path = world.path().join("trunkline.toml");
    let config = std::fs::read_to_string(&path).expect("written") + "[[bots]]\ntoken = \"d3Jvbmc.this.is-wrong\"\n";
    std::fs::write(&path, config).expect("written");
    let mut node = Process::start(world.path(), &["run"], &[]);
    world.ready(&mut node).await;
    let (_, admin) = node.ports().await;
    let (code, body) = get(admin, "/readyz").await.expect("an answer");
    assert_eq!(code, 200, "{body}");
    assert!(body.starts_with("ready: 1 of 1 shards have been ready\nbot bots[1] has failed for good: "), "{body}");
    let (code, out, _) = harness::run(&["status", "--admin", &admin.to_string()], &[], world.path());
    assert_eq!(code, 0);
    assert!(out.contains("BOT bots[1] (?)\n  failed for good: bots[1]: Discord does not know this bot token"), "{out}");
}

/// Refuses the connection with this code as soon as there is one.
async fn refuse(world: &World, code: u16) {
    for _ in 0..2_000 {
        if world.sim.fault(&Fault::new(FaultKind::Close(code))) > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no connection came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_gateway_refuses_ends_with_status_3() {
    let world = World::new(|_| {}).await;
    let mut node = world.run("");
    refuse(&world, 4004).await;
    assert_eq!(node.ended().await, 3);
    let log = node.log();
    assert!(
        log.contains(
            "Discord closed with 4004 (authentication failed): Discord does not know this bot token. Copy it again or reset it (Developer \
             Portal, your application, Bot, Reset Token), put it into the configuration and start again."
        ),
        "{log}"
    );
    world.assert_no_secret(&log);
}

#[tokio::test(flavor = "multi_thread")]
async fn intents_that_the_gateway_disallows_end_with_status_3() {
    let world = World::new(|_| {}).await;
    let mut node = world.run("");
    refuse(&world, 4014).await;
    assert_eq!(node.ended().await, 3);
    let log = node.log();
    let line = log.lines().find(|line| line.starts_with("trunkline: every bot has failed for good: ")).expect("the last line");
    assert!(line.contains("Discord closed with 4014 (disallowed intents): "), "{line}");
    assert!(line.contains("Developer Portal"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn intents_written_but_switched_off_are_refused_with_the_switches_name_and_no_identify() {
    let world = World::new(|config| config.bots[0].application_flags = 0).await;
    let mut node = world.run("intents = [\"GUILDS\", \"GUILD_MEMBERS\", \"MESSAGE_CONTENT\"]");
    assert_eq!(node.ended().await, 3);
    let log = node.log();
    assert!(log.contains("intents guild_members, message_content are configured for "), "{log}");
    assert!(
        log.contains("off in the Developer Portal: switch on Server Members Intent and Message Content Intent at https://discord.com/developers/applications/"),
        "{log}"
    );
    assert!(log.contains("or take them out of the bot's intents; no identify was spent"), "{log}");
    let report = world.sim.report();
    assert_eq!((report.identifies, report.identifies_refused, report.connections), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn intents_left_out_are_cut_to_the_switches_with_a_warning_for_each() {
    // Only the presence switch is on.
    let world = World::new(|config| config.bots[0].application_flags = 1 << 13).await;
    let mut node = world.run("");
    for (switch, intent) in [("Server Members Intent", "guild_members"), ("Message Content Intent", "message_content")] {
        let line = node.says(&format!("\"{switch}\" is off in the Developer Portal, so {intent} is left out; switch it on at ")).await;
        assert!(line.contains("WARN") && line.contains("/bot to receive it"), "{line}");
    }
    world.ready(&mut node).await;
    assert_eq!(node.said("Presence Intent"), 0, "that one is on");
    let report = world.sim.report();
    assert_eq!((report.identifies, report.identifies_refused, report.client_faults_total), (1, 0, 0), "{:?}", report.client_faults);
    assert_eq!(report.sessions[0].intents & (1 << 1 | 1 << 8 | 1 << 15), 1 << 8);
}

// --- the configuration ---------------------------------------------------------------------------------------------------------

#[test]
fn an_unknown_key_is_named_with_its_nearest_neighbour() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("trunkline.toml"), "[discord]\nencodng = \"etf\"\n[store]\npth = \"x\"\n").expect("written");
    let (code, error) = run_to_end(dir.path(), &[]);
    assert_eq!(code, 2);
    assert_eq!(
        error,
        "trunkline: trunkline.toml:2:1: discord.encodng: there is no such key; did you mean discord.encoding?\n\
         trunkline: trunkline.toml:4:1: store.pth: there is no such key; did you mean store.path?\n"
    );
}

#[test]
fn an_unknown_variable_is_named_with_its_nearest_neighbour() {
    let dir = tempfile::tempdir().expect("a folder");
    let (code, _, error) = harness::run(&["check"], &[("DISCORD_TOKEN", "a.b.c"), ("TRUNKLINE_DISCORD_ENCODNG", "etf")], dir.path());
    assert_eq!(code, 2);
    assert!(error.contains("TRUNKLINE_DISCORD_ENCODNG names no configuration key; did you mean TRUNKLINE_DISCORD_ENCODING?"), "{error}");
    let (code, _, error) = harness::run(&["check"], &[("DISCORD_TOKEN", "a.b.c"), ("TRUNKLINE_WHATEVER_THAT_IS", "1")], dir.path());
    assert_eq!(code, 2);
    assert!(error.contains("TRUNKLINE_WHATEVER_THAT_IS names no configuration key; unset it or see `trunkline check --keys`"), "{error}");
}

#[test]
fn a_configuration_for_the_state_role_alone_is_checked_without_a_bot() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("trunkline.toml"), "[[groups]]\nname = \"a\"\ntoken = \"not-a-real-token\"\n").expect("written");
    let url = [("TRUNKLINE_STORE_URL", "postgres://somebody:hidden@127.0.0.1:5432/d")];
    let (code, out, error) = harness::run(&["check", "--roles", "state"], &url, dir.path());
    assert!(code == 0 && out.contains("postgres://somebody@127.0.0.1:5432/d") && out.contains("configuration is good"), "{out}{error}");
    assert!(!out.contains("hidden"), "{out}");
    let (code, _, error) = harness::run(&["check"], &url, dir.path());
    assert!(code == 2 && error.contains("no bot: "), "{error}");
    let (code, _, error) = harness::run(&["check", "--roles", "stat"], &url, dir.path());
    assert!(code == 2 && error.contains("--roles stat: this version has the roles"), "{error}");
}

#[test]
fn malformed_toml_is_told_with_line_and_column() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("broken.toml"), "[discord]\nencoding = \"etf\n[store]\n").expect("written");
    let (code, error) = run_to_end(dir.path(), &["--config", "broken.toml"]);
    assert_eq!(code, 2);
    assert_eq!(error, "trunkline: broken.toml:2:16: this is not valid TOML: invalid basic string, expected `\"`\n");
}

#[test]
fn a_configuration_that_is_not_there_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let (code, error) = run_to_end(dir.path(), &["--config", "none.toml"]);
    assert_eq!(code, 2);
    assert_eq!(error, "trunkline: cannot read the configuration file none.toml: No such file or directory (os error 2)\n");
}

#[test]
fn without_any_token_the_ways_to_give_one_are_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let (code, _, error) = harness::run(&["run"], &[], dir.path());
    assert_eq!(code, 2);
    assert_eq!(
        error,
        "trunkline: no bot: set DISCORD_TOKEN in the environment, or add a [[bots]] table with a token to the configuration file; \
         `trunkline demo` needs none\n"
    );
}

#[test]
fn a_port_that_is_taken_is_named_with_its_key_and_flag() {
    let dir = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for (flag, other, key) in [("--clients", "--admin", "listen.clients"), ("--admin", "--clients", "listen.admin")] {
        let (code, error) = run_to_end(dir.path(), &[flag, &address, other, "127.0.0.1:0"]);
        assert_eq!(code, 1);
        assert_eq!(
            error,
            format!("trunkline: {address} is taken by another program; stop it, or choose another address with {key} or {flag}\n")
        );
    }
}

// --- the store -----------------------------------------------------------------------------------------------------------------

#[test]
fn a_store_path_that_cannot_be_a_store_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("file"), "mine").expect("written");
    let cases = [
        ("file", "store.path is file, which is not a directory; set it to a directory (it is made if it does not exist)"),
        (
            "file/below",
            "the store directory file/below does not exist and cannot be made (Not a directory (os error 20)); make it yourself, or set \
             store.path to a place where this user may make one",
        ),
        (
            "/proc/trunkline-store",
            "the store directory /proc/trunkline-store does not exist and cannot be made (No such file or directory (os error 2)); make \
             it yourself, or set store.path to a place where this user may make one",
        ),
    ];
    for (path, wanted) in cases {
        let (code, error) = run_to_end(dir.path(), &["--store", path]);
        assert_eq!((code, error), (1, format!("trunkline: {wanted}\n")));
    }
    assert_eq!(std::fs::read_to_string(dir.path().join("file")).expect("still there"), "mine");
}

#[test]
fn a_store_that_may_not_be_written_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(dir.path().join("theirs")).expect("a folder");
    let readable = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("permissions");
    readable(dir.path(), 0o755);
    readable(&dir.path().join("theirs"), 0o555);
    // Permission bits do not bind root: as root, the binary runs as nobody, from a copy that nobody may read.
    let copy = dir.path().join("trunkline");
    let own = binary();
    std::fs::copy(own.get_program(), &copy).expect("copied");
    let root = std::process::Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n");
    let mut command = std::process::Command::new(if root { Path::new("setpriv") } else { copy.as_path() });
    if root {
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&copy);
    }
    let output = command.args(["run", "--store", "theirs"]).env("DISCORD_TOKEN", "a.b.c").current_dir(dir.path()).output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "trunkline: the store at theirs/lock cannot be written (Permission denied (os error 13)); give the user that runs this program \
         write access to it, or set store.path to a directory that it may write\n"
    );
}

/// A store as a first start leaves it.
async fn used_store(world: &World) {
    let mut node = world.run("");
    world.ready(&mut node).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    node.signal("TERM");
    assert_eq!(node.ended().await, 0, "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_named_and_left_as_it_is() {
    let world = World::new(|_| {}).await;
    used_store(&world).await;
    let store = world.path().join("store");
    let state = store.join("state.redb");
    let whole = std::fs::read(&state).expect("the state file");
    let journal = std::fs::read(store.join("journal")).expect("the journal");
    let mut scribbled = whole.clone();
    scribbled.iter_mut().take(4_096).for_each(|byte| *byte ^= 0x5a);
    for (what, bytes) in [("garbage", vec![7_u8; 9_000]), ("cut off", whole[..whole.len() / 3].to_vec()), ("scribbled over", scribbled)] {
        std::fs::write(&state, &bytes).expect("written");
        let (code, _, error) = harness::run(&["run"], &[], world.path());
        assert_eq!(code, 1, "{what}: {error}");
        assert!(error.starts_with("trunkline: the store at store is damaged: "), "{what}: {error}");
        assert!(
            error.ends_with(
                "; to start anew, move the directory aside (for example: mv store store.damaged) and start again: every shard then \
                 identifies afresh, and events that no worker has acknowledged are lost\n"
            ),
            "{what}: {error}"
        );
        assert_eq!(std::fs::read(&state).expect("there"), bytes, "{what}: what may be rescued must not be touched");
    }
    // Put back, it is as good as ever; also after a cut in the journal, which is what a crash leaves.
    std::fs::write(&state, &whole).expect("written");
    std::fs::write(store.join("journal"), &journal[..journal.len().min(16)]).expect("written");
    let mut node = Process::start(world.path(), &["run"], &[]);
    node.says("session resumed").await;
    assert_eq!(world.sim.report().identifies, 1, "the session was kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_events_that_are_damaged_become_a_told_gap() {
    let world = World::new(|config| config.rate = 100.0).await;
    let mut node = world.run("");
    world.ready(&mut node).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    node.signal("TERM");
    assert_eq!(node.ended().await, 0, "{}", node.log());
    world.sim.pause();
    let segments: Vec<_> =
        files_below(&world.path().join("store")).into_iter().filter(|path| path.to_string_lossy().contains("segment")).collect();
    assert!(!segments.is_empty(), "the group's events are in segments: {:?}", files_below(&world.path().join("store")));
    for path in segments {
        let mut bytes = std::fs::read(&path).expect("readable");
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].fill(0xa5);
        std::fs::write(&path, bytes).expect("written");
    }
    let mut node = Process::start(world.path(), &["run"], &[]);
    let line = node.says("stored events cannot be read; groups that want them are told a gap").await;
    assert!(line.contains("ERROR") && line.contains("shard=0/1") && line.contains("missing="), "{line}");
    let (clients, _) = node.ports().await;
    let mut worker = Worker::join(&world, clients, |_| {}).await;
    node.says("session resumed").await;
    world.sim.resume();
    let mut seen = 0_u64;
    while worker.gaps == 0 || seen < 50 {
        worker.event().await;
        seen += 1;
    }
    assert!(metric(&mut node, "trunkline_group_gaps_total", "cause=\"store_failed\"").await >= 1.0);
    assert_eq!(world.sim.report().identifies, 1, "damaged events cost a gap, not the session");
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_newer_version_is_left_alone() {
    let world = World::new(|_| {}).await;
    world.write("", "");
    let mut node = Process::start(world.path(), &["run"], &[]);
    node.ports().await;
    node.signal("TERM");
    assert_eq!(node.ended().await, 0);
    let format = world.path().join("store/format");
    let text = std::fs::read_to_string(&format).expect("the format file");
    let newer = text.replace(|c: char| c.is_ascii_digit(), "9");
    assert_ne!(text, newer, "the format file holds a number: {text:?}");
    std::fs::write(&format, newer).expect("written");
    let (code, _, error) = harness::run(&["run"], &[], world.path());
    assert_eq!(code, 1);
    assert!(error.starts_with("trunkline: the store at store has format 9, and this program knows formats up to "), "{error}");
    assert!(error.ends_with("; run the newer version that wrote it, or give this one a store.path of its own\n"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_a_store_is_told_the_first_ones_pid() {
    let world = World::new(|_| {}).await;
    let mut first = world.run("");
    first.ports().await;
    let (code, _, error) = harness::run(&["run"], &[], world.path());
    assert_eq!(code, 1);
    assert_eq!(
        error,
        format!(
            "trunkline: the store at store is in use by the process with pid {}; stop that process first, or give this one a store.path \
             of its own\n",
            first.pid()
        )
    );
    assert!(first.runs());
    // Killed, it holds the store no more.
    first.signal("KILL");
    assert_eq!(first.ended().await, 137);
    let mut second = Process::start(world.path(), &["run"], &[]);
    second.ports().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_checkpoints_and_says_so_but_not_delivery() {
    let world = World::new(|config| config.rate = 200.0).await;
    world.write("", "");
    // A limit on the size of files stands in for a full disk: writes fail in the same place.
    let mut command = std::process::Command::new("prlimit");
    command.arg("--fsize=1400000:").arg(binary().get_program()).arg("run").env_remove("DISCORD_TOKEN");
    let mut node = Process::spawn(world.path(), command);
    let (clients, _) = node.ports().await;
    let mut worker = Worker::join(&world, clients, |_| {}).await;
    let line = node.says("checkpoint not written, events go on: the disk of the store is full, writing store/").await;
    assert!(line.contains("ERROR"), "{line}");
    assert!(
        line.ends_with("; events go on flowing, but a restart now would go back to the last checkpoint that was saved: free some space"),
        "{line}"
    );
    assert_eq!(metric(&mut node, "trunkline_store_failing", "").await, 1.0);
    // What Discord sends from here on arrives all the same.
    let full_at = world.sim.report().sessions[0].last_s;
    while worker.event().await.header.is_none_or(|header| header.discord_sequence < full_at + 200) {}
    assert!(node.said("checkpoint not written") <= 2, "said once a minute:\n{}", node.log());
    // A start without any room is refused.
    let output = std::process::Command::new("prlimit")
        .arg("--fsize=1000")
        .arg(binary().get_program())
        .args(["run", "--store", "another"])
        .current_dir(world.path())
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "trunkline: the disk of the store at another is full (File too large (os error 27)); free some space and start again\n"
    );
    // There is room again.
    let freed = std::process::Command::new("prlimit").arg(format!("--pid={}", node.pid())).arg("--fsize=unlimited:").status();
    assert!(freed.is_ok_and(|status| status.success()));
    node.says("the store takes checkpoints again").await;
    assert_eq!(metric(&mut node, "trunkline_store_failing", "").await, 0.0);
}

// --- the network ---------------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_discord_is_tried_until_it_comes_and_told_once() {
    let port = harness::free_port();
    let dir = tempfile::tempdir().expect("a folder");
    let token = token();
    let api = format!("http://127.0.0.1:{port}/api/v10");
    let args = ["run", "--api", &api, "--clients", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let mut node = Process::start(dir.path(), &args, &[("DISCORD_TOKEN", &token)]);
    let told = format!(
        "Discord cannot be reached at 127.0.0.1:{port}: Connection refused (os error 111); check this machine's network and [discord] api; trying again until it answers"
    );
    let line = node.says(&told).await;
    assert!(line.contains("WARN") && line.contains("bots[0]"), "{line}");
    let (_, admin) = node.ports().await;
    let (code, body) = get(admin, "/readyz").await.expect("an answer");
    assert_eq!(code, 503);
    assert!(body.contains("bot bots[0] waits to start: Discord cannot be reached at "), "{body}");
    let (code, out, _) = harness::run(&["status", "--admin", &admin.to_string()], &[], dir.path());
    assert_eq!(code, 0);
    assert!(out.contains("  cannot start for ") && out.contains(" UTC): Discord cannot be reached at "), "{out}");
    assert_eq!(get(admin, "/healthz").await.map(|(code, _)| code), Some(200));
    // Long enough for the second and third attempt.
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    assert_eq!(node.said("cannot be reached"), 1, "once per change:\n{}", node.log());
    let listen = format!("127.0.0.1:{port}").parse().expect("an address");
    let _sim = Sim::start(Config { listen, bots: vec![BotConfig::new(&token)], ..Config::default() }).await.expect("starts");
    node.says("Discord answers again after ").await;
    node.says("ready with a new session").await;
    assert_eq!(get(admin, "/readyz").await.map(|(code, _)| code), Some(200));
    let (_, out, _) = harness::run(&["status", "--admin", &admin.to_string()], &[], dir.path());
    assert!(!out.contains("cannot start"), "it has started:\n{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_cannot_be_looked_up_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let args = ["run", "--api", "https://discord.invalid/api/v10", "--clients", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let mut node = Process::start(dir.path(), &args, &[("DISCORD_TOKEN", "a.b.c")]);
    let line = node.says("Discord cannot be reached at discord.invalid:443: ").await;
    assert!(line.contains("failed to lookup address information: "), "{line}");
    assert!(line.contains("; check this machine's network and [discord] api; trying again until it answers"), "{line}");
    node.signal("TERM");
    assert_eq!(node.ended().await, 0, "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_goes_away_is_told_once_and_the_session_resumes_when_it_is_back() {
    let world = World::new(|config| config.rate = 50.0).await;
    let mut node = world.run("");
    world.ready(&mut node).await;
    let session = world.sim.report().sessions[0].session_id.clone();
    // New connections are refused, then the one there is breaks.
    world.sim.fault(&Fault::new(FaultKind::Refuse).lasting(Duration::from_secs(4)));
    world.sim.fault(&Fault::new(FaultKind::Drop));
    let line = node.says("trying again until it can be reached").await;
    assert!(line.contains("WARN") && line.contains("shard=0/1"), "{line}");
    let (_, admin) = node.ports().await;
    let (_, out, _) = harness::run(&["status", "--admin", &admin.to_string()], &[], world.path());
    assert!(out.contains("  attempt ") && out.contains(" to resume ") && out.contains(": the gateway could not be reached; "), "{out}");
    let (code, body) = get(admin, "/readyz").await.expect("an answer");
    assert_eq!(code, 200, "a reconnect is no reason: {body}");
    node.says("session resumed").await;
    let report = world.sim.report();
    assert_eq!((report.identifies, report.sessions[0].session_id.as_str()), (1, session.as_str()));
    let times = node.said("trying again until it can be reached");
    assert!(times <= 2, "told {times} times, once per change is enough:\n{}", node.log());
    world.sim.pause();
    let log = node.log();
    world.assert_no_secret(&log);
}

/// Does a fault that no session should survive badly, and sees the session go on.
async fn survives(kind: FaultKind, (encoding, compress): (&str, &str), wanted: &str) {
    let world = World::new(|config| config.rate = 100.0).await;
    world.write("", "");
    let mut node = Process::start(world.path(), &["run", "--encoding", encoding, "--compress", compress], &[]);
    world.ready(&mut node).await;
    let (clients, _) = node.ports().await;
    let mut worker = Worker::join(&world, clients, |_| {}).await;
    worker.event().await;
    assert_eq!(world.sim.fault(&Fault::new(kind)), 1);
    let line = node.says("a message from Discord cannot be read: ").await;
    assert!(line.contains(wanted), "wanted {wanted:?}: {line}");
    node.says("session resumed").await;
    for _ in 0..50 {
        worker.event().await;
    }
    assert_eq!(worker.gaps, 0);
    assert_eq!(metric(&mut node, "trunkline_gateway_bad_frames_total", "").await, 1.0);
    assert!(metric(&mut node, "trunkline_gateway_reconnects_total", "cause=\"bad_frame\"").await >= 1.0);
    assert_eq!(node.said("panicked"), 0, "{}", node.log());
    let report = world.sim.report();
    assert_eq!((report.identifies, report.resumes, report.client_faults_total), (1, 1, 0), "{:?}", report.client_faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_garbage_costs_a_reconnect_and_nothing_else() {
    survives(FaultKind::Garbage, ("etf", "zstd-stream"), "gateway frame: error at byte 1: wants a term, no term has tag 255").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_bomb_is_not_unpacked() {
    survives(FaultKind::Bomb, ("etf", "zlib-stream"), "one message from Discord decompresses to more than 67108864 bytes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_term_nested_a_hundred_thousand_deep_is_refused() {
    survives(FaultKind::Deep, ("etf", "zstd-stream"), "nested deeper than 200").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_nested_a_hundred_thousand_deep_is_refused_as_well() {
    survives(FaultKind::Deep, ("json", "none"), "nested deeper than 200").await;
}

// --- workers -------------------------------------------------------------------------------------------------------------------

/// A worker without any of our client's manners: says exactly what it is told to.
struct Raw {
    say: tokio::sync::mpsc::Sender<WorkerStreamClientMessage>,
    hear: tonic::Streaming<trunkline_wire::pylon::gateway::v1::workergroup::WorkerStreamServerMessage>,
}

impl Raw {
    async fn join(clients: std::net::SocketAddr, identify: WorkerIdentifyRequest) -> Raw {
        let mut client = GatewayWorkerGroupClient::connect(format!("http://{clients}")).await.expect("connected");
        let (say, said) = tokio::sync::mpsc::channel(16);
        say.send(WorkerStreamClientMessage { payload: Some(ToServer::IdentifyRequest(identify)) }).await.expect("room");
        let hear = client.worker_stream(ReceiverStream::new(said)).await.expect("a stream").into_inner();
        Raw { say, hear }
    }

    /// The next message, or why there is none any more.
    async fn next(&mut self) -> Result<FromServer, Option<tonic::Status>> {
        let message = tokio::time::timeout(PATIENCE, self.hear.message()).await.expect("something in time");
        match message {
            Ok(Some(message)) => Ok(message.payload.expect("a payload")),
            Ok(None) => Err(None),
            Err(status) => Err(Some(status)),
        }
    }

    async fn acknowledge(&self, nonce: &str, sequence: u64) {
        let ack = WorkerHeartbeatAck { nonce: nonce.to_owned(), sequence };
        self.say.send(WorkerStreamClientMessage { payload: Some(ToServer::HeartbeatAck(ack)) }).await.expect("room");
    }
}

/// A well-mannered worker of the group `g`.
struct Worker {
    client: WorkerClient,
    gaps: u64,
}

impl Worker {
    async fn join(world: &World, clients: std::net::SocketAddr, edit: impl FnOnce(&mut WorkerOptions)) -> Worker {
        let mut options = WorkerOptions::new(&clients.to_string(), "g", &world.group_token, "w");
        options.payload = PayloadFormat::RawJson;
        options.extended = true;
        options.done = Done::WithNext;
        edit(&mut options);
        Worker { client: WorkerClient::connect(options).await.expect("connected"), gaps: 0 }
    }

    async fn event(&mut self) -> Box<EventEnvelope> {
        loop {
            match tokio::time::timeout(PATIENCE, self.client.next()).await.expect("an event in time") {
                Some(Received::Event(envelope)) if matches!(envelope.event_data, Some(EventData::GapEvent(_))) => self.gaps += 1,
                Some(Received::Event(envelope)) => return envelope,
                Some(Received::Joined { .. }) => {}
                other => panic!("the stream ended: {other:?}"),
            }
        }
    }
}

fn identify(group: &str, token: &str) -> WorkerIdentifyRequest {
    WorkerIdentifyRequest {
        consumer_group: group.to_owned(),
        consumer_id: "raw".to_owned(),
        auth_token: token.to_owned(),
        ..WorkerIdentifyRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_group_token_is_refused_and_logged_without_the_token() {
    let world = World::new(|_| {}).await;
    let mut node = world.run("");
    let (clients, _) = node.ports().await;
    let wrong = format!("wrong-{:x}", nonce());
    let mut raw = Raw::join(clients, identify("g", &wrong)).await;
    match raw.next().await {
        Ok(FromServer::StreamClosed(closed)) => assert_eq!(closed.reason(), CloseReason::InvalidIdentity),
        other => panic!("{other:?}"),
    }
    assert!(matches!(raw.next().await, Err(None)), "a clean end follows");
    let line = node.says("worker refused: ").await;
    assert!(
        line.contains(
            "worker refused: wrong token; the group's token is in the server's configuration, or in the file that it prints at its start"
        ),
        "{line}"
    );
    assert!(line.contains("group=\"g\"") && line.contains("worker=\"raw\"") && line.contains("peer=\"127.0.0.1:"), "{line}");
    let mut raw = Raw::join(clients, identify("nobody", &world.group_token)).await;
    assert!(matches!(raw.next().await, Ok(FromServer::StreamClosed(_))));
    node.says("worker refused: there is no such group").await;
    assert!(!node.log().contains(&wrong), "the wrong token is somebody's right one:\n{}", node.log());
    world.assert_no_secret(&node.log());
    assert_eq!(metric(&mut node, "trunkline_door_refused_identities_total", "").await, 2.0);

    // What a person at the command line sees.
    let (code, out, error) =
        harness::run(&["worker", "--addr", &clients.to_string(), "--group", "g", "--token", &wrong, "--log", "warn"], &[], world.path());
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(
        error,
        "trunkline: the server closed the stream: INVALID_IDENTITY wrong token; the group's token is in the server's configuration, or in \
         the file that it prints at its start\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_of_a_sequence_never_sent_is_ignored_and_counted() {
    let world = World::new(|config| config.rate = 50.0).await;
    let mut node = world.run("");
    let (clients, _) = node.ports().await;
    let mut raw = Raw::join(clients, identify("g", &world.group_token)).await;
    let (mut last, mut asked, mut lied) = (0, 0, false);
    while asked < 4 {
        match raw.next().await.expect("the stream goes on") {
            FromServer::EventEnvelope(envelope) => last = sequence(&envelope),
            FromServer::HeartbeatRequest(request) => {
                asked += 1;
                // Once far above everything there is, with the right nonce; then honest.
                lied |= last > 0 && !lied && {
                    raw.acknowledge(&request.nonce, last + 1_000_000).await;
                    true
                };
                raw.acknowledge(&request.nonce, last).await;
            }
            FromServer::IdentifyResponse(_) => {}
            FromServer::StreamClosed(closed) => panic!("{closed:?}"),
        }
    }
    assert!(lied);
    assert_eq!(metric(&mut node, "trunkline_door_bad_acknowledgements_total", "group=\"g\"").await, 1.0);
    assert!(metric(&mut node, "trunkline_door_acknowledged_total", "group=\"g\"").await > 0.0);
    assert_eq!(node.said("panicked"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guild_create_above_a_workers_limit_is_trimmed_marked_and_counted() {
    // About 900 bytes a member as JSON: 6 MB in all.
    let world = World::new(|config| (config.guilds, config.members, config.rate) = (1, 200, 20.0)).await;
    let mut node = world.run("");
    let (clients, _) = node.ports().await;
    let limit = 4 << 20;
    let mut worker = Worker::join(&world, clients, |options| options.max_message_bytes = limit).await;
    world.ready(&mut node).await;
    let guild = world.sim.guild_ids()[0];
    let members: Vec<_> = (0..20_000_u64)
        .map(|n| serde_json::json!({"user": {"id": (1_000_000 + n).to_string(), "username": format!("member-{n}"), "bio": "x".repeat(200)}, "roles": [], "joined_at": "2021-01-01T00:00:00+00:00"}))
        .collect();
    let big =
        serde_json::json!({"id": guild.to_string(), "name": "large", "members": members, "presences": [], "channels": [], "roles": []});
    world.sim.emit_given(0, "GUILD_CREATE", big, Some(0));
    let envelope = loop {
        let envelope = worker.event().await;
        if envelope.header.as_ref().is_some_and(|header| header.event_name == "GUILD_CREATE" && header.trimmed.is_some()) {
            break envelope;
        }
    };
    assert!(u64::try_from(trunkline_wire::message_bytes(&envelope)).expect("fits") <= limit);
    let trimmed = envelope.header.as_ref().and_then(|header| header.trimmed).expect("marked");
    assert_eq!((trimmed.members, trimmed.payload), (20_000, false));
    assert!(trimmed.payload_bytes > 4 << 20, "{trimmed:?}");
    let Some(EventData::RawEvent(raw)) = &envelope.event_data else { panic!("raw was asked for") };
    let left: serde_json::Value = serde_json::from_slice(&raw.bytes).expect("JSON");
    assert_eq!((left["name"].as_str(), left.get("members").and_then(|list| list.as_array()).map_or(0, Vec::len)), (Some("large"), 0));
    // The stream goes on, and the event does not come again.
    for _ in 0..30 {
        let next = worker.event().await;
        assert!(next.header.is_some_and(|header| header.trimmed.is_none()));
    }
    assert_eq!(metric(&mut node, "trunkline_door_trimmed_total", "group=\"g\"").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_nobody_consumes_are_told_in_one_line() {
    let world = World::new(|config| config.rate = 20.0).await;
    let mut node = world.run("");
    let (clients, _) = node.ports().await;
    let line = node.says("nobody consumes").await;
    assert!(line.contains("WARN"), "{line}");
    let hint = format!(
        " wait; connect a worker (`trunkline worker --group g --addr {clients}`) within 1h 0m or 64.0 MiB in memory and 4.0 GiB on disk, or they fall off as a gap"
    );
    assert!(line.contains("group g: nobody consumes its events, ") && line.contains(&hint), "{line}");
    let (_, admin) = node.ports().await;
    let (code, out, _) = harness::run(&["status", "--admin", &admin.to_string()], &[], world.path());
    assert_eq!(code, 0);
    let hint = format!("nobody consumes g: its events wait; connect a worker (`trunkline worker --group g --addr {clients}`)");
    assert!(out.contains(&hint), "{out}");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(node.said("nobody consumes"), 1, "{}", node.log());
}
