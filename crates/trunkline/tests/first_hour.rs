//! The first hour: from an empty folder and a bot's token to events on the screen, and what a person looks at on the way.
#![allow(clippy::disallowed_methods, reason = "tests of a process watch the clock")]

mod harness;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::process::{PATIENCE, Process};
use harness::{free_port, get, nonce, run, token};
use serde_json::Value;
use trunkline_doors::client::{Done, Received, WorkerClient, WorkerOptions};
use trunkline_sim::{BotConfig, Config, Sim};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
}

fn has_all(text: &str, wanted: &[&str]) {
    for one in wanted {
        assert!(text.contains(one), "{one:?} is missing in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_environment_is_all_it_takes() {
    let token = token();
    let discord = Config {
        bots: vec![BotConfig::new(&token)],
        rate: 50.0,
        guilds: 4,
        members: 10,
        heartbeat_interval_ms: 2_000,
        ..Config::default()
    };
    let sim = Sim::start(discord).await.expect("the simulated Discord starts");
    let dir = tempfile::tempdir().expect("a folder");
    let (clients, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let machine = [("TRUNKLINE_LISTEN_CLIENTS", clients.as_str()), ("TRUNKLINE_LISTEN_ADMIN", admin.as_str())];
    let env = [machine[0], machine[1], ("TRUNKLINE_DISCORD_API", sim.api_url()), ("DISCORD_TOKEN", token.as_str())];

    // Before anything runs, each command says what is missing.
    let (code, _, error) = run(&["status"], &machine, dir.path());
    assert_eq!(code, 1);
    assert_eq!(error, format!("trunkline: nothing answers at {admin}; is `trunkline run` running, and is --admin its listen.admin?\n"));
    let (code, _, error) = run(&["worker"], &machine, dir.path());
    assert_eq!(code, 2);
    assert_eq!(
        error,
        "trunkline: no token for group default: there is no trunkline-data/default.token; start `trunkline run` here first, or give --store, \
         --token-file or --token\n"
    );

    let mut node = Process::start(dir.path(), &["run"], &env);
    assert_eq!(node.ports().await, (clients.parse().expect("an address"), admin.parse().expect("an address")));
    let at = admin.parse().expect("an address");
    assert_eq!(get(at, "/healthz").await.map(|(code, _)| code), Some(200));
    let (code, text) = get(at, "/readyz").await.expect("an answer");
    assert_eq!(code, 503, "{text}");
    let wanted = format!(
        "group default: its token is in trunkline-data/default.token; `trunkline worker --group default --store trunkline-data --addr \
         {clients}` finds it"
    );
    node.says(&wanted).await;
    only_the_owner_may_read(&dir.path().join("trunkline-data"));
    node.says("no record of earlier identifies: the first one waits 5 s, in case there was one just now").await;
    node.says("ready with a new session").await;
    assert_eq!(get(at, "/readyz").await, Some((200, "ready: 1 of 1 shards have been ready\n".to_owned())));

    let (code, out, error) = run(&["worker", "--count", "5", "--json"], &machine, dir.path());
    assert_eq!(code, 0, "{error}");
    assert_eq!(out.lines().count(), 5, "{out}");
    for line in out.lines().map(json) {
        assert!(line["event"].is_string() && line["data"].is_object(), "{line}");
        assert_eq!((line["shard_id"].as_u64(), line["shard_count"].as_u64()), (Some(0), Some(1)));
        assert_eq!(line["bot_id"].as_str().and_then(|id| id.parse().ok()), Some(sim.bot_ids()[0]));
        assert!(line["s"].as_u64() > Some(0) && line["seq"].as_u64() > line["s"].as_u64(), "{line}");
    }
    let (code, out, _) = run(&["worker", "--count", "3", "--filter", "message_create", "--id", "second"], &machine, dir.path());
    assert_eq!((code, out.lines().count()), (0, 3), "{out}");
    for line in out.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(
            (words[0].len(), words[1], words[2], words[4], words[5], words[6]),
            (12, "MESSAGE_CREATE", "bot", "shard", "0", "s"),
            "{line}"
        );
        assert_eq!(words[3].parse(), Ok(sim.bot_ids()[0]), "{line}");
        assert_eq!((words[8], words[11]), ("guild", "B"), "{line}");
        assert!(line.len() < 250, "too long to read: {line}");
    }

    let group_token = std::fs::read_to_string(dir.path().join("trunkline-data/default.token")).expect("the token").trim().to_owned();
    let mut seen = everything_a_person_looks_at(dir.path(), &machine, at).await;
    let (code, out, _) = run(&["check"], &env, dir.path());
    assert_eq!(code, 0);
    has_all(
        &out,
        &["bots.0.token = \"***\"", "# environment DISCORD_TOKEN", "# environment TRUNKLINE_DISCORD_API", "configuration is good"],
    );
    seen.push_str(&out);

    node.signal("TERM");
    assert_eq!(node.ended().await, 0, "{}", node.log());
    has_all(
        &node.log(),
        &[
            "stopping: sessions stay resumable; a second signal ends at once",
            "stopped; sessions, cache and unacknowledged events are saved",
        ],
    );
    seen.push_str(&node.log());
    seen.push_str(&node.out());
    for secret in [token.as_str(), group_token.as_str()] {
        assert!(!secret.is_empty() && !seen.contains(secret), "a token was printed:\n{seen}");
    }
    let report = sim.report();
    assert_eq!((report.identifies, report.client_faults_total), (1, 0), "{:?}", report.client_faults);
}

fn only_the_owner_may_read(store: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(store), mode(&store.join("default.token"))), (0o700, 0o600));
}

/// Status, shards, metrics; answers all of it as one text.
async fn everything_a_person_looks_at(dir: &Path, machine: &[(&str, &str)], admin: std::net::SocketAddr) -> String {
    let (code, status, _) = run(&["status"], machine, dir);
    assert_eq!(code, 0);
    has_all(&status, &["trunkline ", " · pid ", "SHARD", "STATE", "0/1", "live", "GROUP", "default", "identifies", "store"]);
    let (code, text, _) = run(&["status", "--json"], machine, dir);
    assert_eq!(code, 0);
    let view = json(&text);
    assert_eq!(view["bots"][0]["shards"][0]["state"], "live");
    assert_eq!(view["bots"][0]["identify"]["total"], 1_000);
    assert_eq!(view["bots"][0]["identify"]["reserve"], 100);
    assert_eq!(view["groups"][0]["name"], "default");
    let (code, list, _) = run(&["shard", "list"], machine, dir);
    assert_eq!((code, list.lines().count()), (0, 1));
    has_all(&list, &[" 0/1 live session 1 s "]);
    let (code, lines, _) = run(&["shard", "list", "--json"], machine, dir);
    assert_eq!((code, json(lines.trim())["state"].as_str()), (0, Some("live")));
    let (code, reserve, _) = run(&["shard", "identify", "--use-reserve"], machine, dir);
    assert_eq!(code, 0);
    has_all(&reserve, &["waits for the reserve"]);
    let (code, _, error) = run(&["shard", "restart", "--shard", "7"], machine, dir);
    assert_eq!(code, 1);
    has_all(&error, &["has no shard 7 here"]);
    let (code, _, error) = run(&["shard", "identify"], machine, dir);
    assert_eq!(code, 2);
    has_all(&error, &["shards identify by themselves", "--use-reserve lets shards that wait", "--shard N --fresh drops the session"]);

    // The two ports are easily mistaken for one another.
    let (code, _, error) = run(&["worker", "--addr", &admin.to_string(), "--log", "warn"], machine, dir);
    assert_eq!(code, 1);
    assert_eq!(
        error,
        format!(
            "trunkline: {admin} is trunkline's admin port; a worker connects to the clients' port (listen.clients, 127.0.0.1:4000 by \
             default): give that with --addr\n"
        )
    );

    let (code, metrics) = get(admin, "/metrics").await.expect("metrics answer");
    assert_eq!(code, 200);
    let bot = format!("bot=\"simulated-0\",bot_id=\"{}\"", view["bots"][0]["id"].as_str().expect("an id"));
    let of_bot = [
        format!("trunkline_shards{{{bot},state=\"live\"}} 1"),
        format!("trunkline_identify_remaining{{{bot}}} 999"),
        format!("trunkline_identify_limit{{{bot}}} 1000"),
        format!("trunkline_identify_reserve{{{bot}}} 100"),
        format!("trunkline_gateway_compressed_bytes_total{{{bot}}} "),
        format!("trunkline_gateway_plain_bytes_total{{{bot}}} "),
        format!("trunkline_gateway_beat_rtt_seconds{{{bot},shard=\"0\"}} "),
    ];
    has_all(&metrics, &of_bot.each_ref().map(String::as_str));
    let wanted = [
        "trunkline_events_total{kind=\"GUILD_CREATE\"} 4",
        "trunkline_events_total{kind=\"MESSAGE_CREATE\"} ",
        "trunkline_latency_seconds_bucket{le=\"0.001\"} ",
        "trunkline_latency_seconds_count ",
        "trunkline_group_log_entries{group=\"default\"} ",
        "trunkline_group_log_memory_bytes{group=\"default\"} ",
        "trunkline_group_log_disk_bytes{group=\"default\"} ",
        "trunkline_group_log_oldest_age_ms{group=\"default\"} ",
        "trunkline_group_in_flight{group=\"default\"} ",
        "trunkline_core_commands_queued{core=\"0\"} 0",
        "# TYPE trunkline_gateway_reconnects_total counter",
        "# TYPE trunkline_gateway_sessions_lost_total counter",
        "trunkline_checkpoints_total ",
        "trunkline_store_failing 0",
        "trunkline_group_acknowledged_total{group=\"default\"} ",
        "# TYPE trunkline_gaps_total counter",
        "trunkline_gaps_total{cause=\"log_age\"} 0",
        "trunkline_gaps_total{cause=\"group_removed\"} 0",
        "trunkline_gap_events_total{cause=\"session_lost\"} 0",
        "trunkline_group_gaps_total{group=\"default\",cause=\"log_disk\"} 0",
        "trunkline_door_trimmed_total{group=\"default\"} 0",
        "trunkline_door_refused_connections_total 0",
        "trunkline_cache_objects{kind=\"guild\"} 4",
        // A list a guild, whatever is in it, and that is said.
        "trunkline_cache_objects{kind=\"emojis\"} 4",
        "# HELP trunkline_cache_objects Objects the cache holds, by kind. A guild's emojis are one object, its stickers another: ",
    ];
    has_all(&metrics, &wanted);
    metrics_are_well_formed(&metrics);
    let number = |name: &str| -> f64 {
        metrics.lines().find(|line| line.starts_with(name)).and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a number")
    };
    let (packed, plain) = (number("trunkline_gateway_compressed_bytes_total{"), number("trunkline_gateway_plain_bytes_total{"));
    assert!(packed > 0.0 && plain > packed * 2.0, "{packed} bytes became {plain}");
    [status, text, list, lines, metrics].concat()
}

/// Every sample has a family above it, and no sample comes twice.
fn metrics_are_well_formed(text: &str) {
    let (mut family, mut seen) = (String::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("name and kind");
            assert!(kind != "gauge" || !name.ends_with("_total"), "{name} is named like a counter and is none");
            family = name.to_owned();
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("name and value");
        assert!(name.starts_with(&family), "{line} stands below {family}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(seen.insert(name.to_owned()), "{name} comes twice");
    }
    assert!(seen.len() > 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bots_share_a_process_and_a_range_of_shards_is_kept() {
    let tokens = [format!("{}1", token()), format!("{}2", token())];
    let discord = Config {
        bots: tokens.iter().map(|token| BotConfig::new(token)).collect(),
        shards: 4,
        max_concurrency: 4,
        rate: 100.0,
        guilds: 16,
        members: 5,
        ..Config::default()
    };
    let sim = Sim::start(discord).await.expect("the simulated Discord starts");
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("second.token"), format!("Bot {}\n", tokens[1])).expect("written");
    let config = format!(
        "[discord]\napi = \"{}\"\n[listen]\nclients = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n\
         [[bots]]\ntoken_env = \"FIRST\"\nshards = {{ total = 4, first = 1, last = 2 }}\n[[bots]]\ntoken_file = \"second.token\"\n",
        sim.api_url()
    );
    std::fs::write(dir.path().join("trunkline.toml"), config).expect("written");
    let mut node = Process::start(dir.path(), &["run"], &[("FIRST", &tokens[0])]);
    let (_, admin) = node.ports().await;
    let began = Instant::now();
    while get(admin, "/readyz").await.map(|(code, _)| code) != Some(200) {
        assert!(began.elapsed() < PATIENCE, "{}", node.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(get(admin, "/readyz").await.map(|(_, text)| text), Some("ready: 6 of 6 shards have been ready\n".to_owned()));
    let ids = sim.bot_ids();
    let sessions: BTreeSet<_> = sim.report().sessions.iter().map(|session| (session.bot, session.shard)).collect();
    let wanted = [(ids[0], (1, 4)), (ids[0], (2, 4))].into_iter().chain((0..4).map(|shard| (ids[1], (shard, 4)))).collect();
    assert_eq!(sessions, wanted);

    let (code, list, _) = run(&["shard", "list", "--json", "--admin", &admin.to_string()], &[], dir.path());
    assert_eq!((code, list.lines().count()), (0, 6));
    let (code, _, error) = run(&["shard", "restart", "--shard", "2", "--admin", &admin.to_string()], &[], dir.path());
    assert_eq!(code, 1);
    assert_eq!(error, "trunkline: several bots run here; say which with --bot ID\n");
    let bot = ids[0].to_string();
    let (code, out, error) = run(&["shard", "restart", "--shard", "2", "--bot", &bot, "--admin", &admin.to_string()], &[], dir.path());
    assert_eq!((code, out.as_str()), (0, "shard 2 of simulated-0 reconnects and resumes\n"), "{error}");
    node.says("session resumed").await;

    node.signal("INT");
    assert_eq!(node.ended().await, 0, "{}", node.log());
    let (mut of_shards, log) = (0, node.log());
    for line in log.lines() {
        let line = json(line);
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string(), "{line}");
        if let Some(shard) = line.get("shard") {
            assert!(shard.as_str().is_some_and(|shard| shard.ends_with("/4")), "{line}");
            assert!(line["bot"].as_str().and_then(|bot| bot.parse().ok()).is_some_and(|bot: u64| ids.contains(&bot)), "{line}");
            of_shards += 1;
        }
    }
    assert!(of_shards >= 13, "six shards identified and became ready, one resumed:\n{log}");
    assert!(tokens.iter().all(|token| !log.contains(token.as_str())), "a token was printed:\n{log}");
    assert_eq!(sim.report().client_faults_total, 0, "{:?}", sim.report().client_faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once_and_one_given_twice_does_not() {
    let token = token();
    let discord = Config { bots: vec![BotConfig::new(&token)], rate: 50.0, guilds: 2, members: 5, ..Config::default() };
    let sim = Sim::start(discord).await.expect("the simulated Discord starts");
    let dir = tempfile::tempdir().expect("a folder");
    let group = format!("group-{:x}", nonce());
    let config =
        format!("[discord]\napi = \"{}\"\n[[bots]]\ntoken = \"{token}\"\n[[groups]]\nname = \"g\"\ntoken = \"{group}\"\n", sim.api_url());
    std::fs::write(dir.path().join("trunkline.toml"), config).expect("written");
    let mut node = Process::start(dir.path(), &["run", "--clients", "127.0.0.1:0", "--admin", "127.0.0.1:0"], &[]);
    let (clients, _) = node.ports().await;
    // A worker that takes events and acknowledges none: the stop waits for it.
    let mut options = WorkerOptions::new(&clients.to_string(), "g", &group, "slow");
    options.done = Done::WhenSaid;
    options.extended = true;
    let mut worker = WorkerClient::connect(options).await.expect("connected");
    while !matches!(tokio::time::timeout(PATIENCE, worker.next()).await.expect("an event"), Some(Received::Event(_))) {}
    // A terminal gives Ctrl-C to the whole group, and whoever started the process passes it on: that is one signal, given twice.
    let twice = format!("kill -INT {0}; kill -TERM {0}", node.pid());
    assert!(std::process::Command::new("sh").args(["-c", &twice]).status().is_ok_and(|status| status.success()));
    node.says("stopping: sessions stay resumable; a second signal ends at once").await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(node.runs(), "it waits for the worker:\n{}", node.log());
    let began = Instant::now();
    node.signal("TERM");
    assert_eq!(node.ended().await, 1);
    assert!(began.elapsed() < Duration::from_secs(2), "at once, not after {:?}", began.elapsed());
    has_all(&node.log(), &["trunkline: ended at once; the last checkpoint stands\n"]);

    // And what was saved by then is what the next start goes on from.
    let mut node = Process::start(dir.path(), &["run", "--clients", "127.0.0.1:0", "--admin", "127.0.0.1:0"], &[]);
    node.says("session resumed").await;
    assert_eq!(sim.report().identifies, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_find_a_process_by_its_configuration_and_hints_carry_its_addresses() {
    let token = token();
    let discord = Config { bots: vec![BotConfig::new(&token)], rate: 50.0, guilds: 2, members: 5, ..Config::default() };
    let sim = Sim::start(discord).await.expect("the simulated Discord starts");
    let (dir, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (clients, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let config = format!(
        "[discord]\napi = \"{}\"\n[listen]\nclients = \"{clients}\"\nadmin = \"{admin}\"\n[[bots]]\ntoken_env = \"THE_BOT\"\n[[groups]]\nname = \"print\"\ntoken = \"hush-{:x}\"\n",
        sim.api_url(),
        nonce()
    );
    std::fs::write(dir.path().join("trunkline.toml"), config).expect("written");
    let mut node = Process::start(dir.path(), &["run"], &[("THE_BOT", &token)]);
    node.says("ready with a new session").await;

    // In the same folder nothing needs to be said, though the bot's token is not at hand; elsewhere the file does.
    let file = dir.path().join("trunkline.toml").display().to_string();
    let named = ["--config", file.as_str()];
    for (folder, config) in [(dir.path(), &[][..]), (elsewhere.path(), &named[..])] {
        let with = |args: &[&'static str]| -> Vec<&str> { args.iter().copied().chain(config.iter().copied()).collect() };
        let (code, status, error) = run(&with(&["status"]), &[], folder);
        assert_eq!(code, 0, "{error}");
        has_all(&status, &["0/1", "live", &format!("(`trunkline worker --group print --addr {clients}`)")]);
        let (code, list, error) = run(&with(&["shard", "list"]), &[], folder);
        assert_eq!((code, list.lines().count()), (0, 1), "{error}");
        let (code, out, error) = run(&with(&["worker", "--count", "1", "--json", "--id", "one"]), &[], folder);
        assert_eq!((code, out.lines().count()), (0, 1), "{error}");
    }
    let (code, _, error) = run(&["worker"], &[], elsewhere.path());
    assert_eq!(code, 2, "{error}");
    // A worker that just goes, or is killed, is no error of a protocol.
    let mut worker = Process::start(dir.path(), &["worker", "--id", "killed"], &[]);
    worker.says("joined group print at ").await;
    worker.signal("KILL");
    node.says("worker's stream broke: the worker closed the connection; its guilds wait for it").await;
    assert_eq!(node.said("h2 protocol error"), 0, "{}", node.log());
}

#[test]
fn the_help_of_every_command_has_an_example() {
    let dir = tempfile::tempdir().expect("a folder");
    let (code, out, _) = run(&["--help"], &[], dir.path());
    assert_eq!(code, 0);
    let commands: Vec<String> = out
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|name| name != "help")
        .collect();
    for wanted in ["run", "demo", "sim", "check", "worker", "status", "shard"] {
        assert!(commands.iter().any(|name| name == wanted), "{wanted} is missing in {commands:?}");
    }
    for words in
        commands.iter().map(|name| vec![name.as_str()]).chain([vec!["shard", "list"], vec!["shard", "identify"], vec!["shard", "restart"]])
    {
        let mut args = words.clone();
        args.push("--help");
        let (code, out, _) = run(&args, &[], dir.path());
        assert_eq!(code, 0);
        has_all(&out, &["Example", &format!("trunkline {}", words.join(" "))]);
    }
    let (code, _, error) = run(&["worker", "--cuont", "5"], &[], dir.path());
    assert_eq!(code, 2);
    has_all(&error, &["--count"]);
}

#[test]
fn check_prints_every_value_in_force_with_its_origin_and_no_secret() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = "[discord]\nencoding = \"json\"\n[[bots]]\ntoken = \"very.secret.token\"\nintents = [\"GUILDS\"]\n[[groups]]\nname = \"g\"\ntoken = \"hush-hush\"\n";
    std::fs::write(dir.path().join("trunkline.toml"), text).expect("written");
    let env = [("TRUNKLINE_LOG_LEVEL", "debug"), ("TRUNKLINE_GROUPS_0_LIMITS_AGE_MS", "30s")];
    let (code, out, error) = run(&["check", "--admin", "127.0.0.1:7001"], &env, dir.path());
    assert_eq!((code, error.as_str()), (0, ""));
    for (setting, origin) in [
        ("discord.api = \"https://discord.com/api/v10\"", "default"),
        ("discord.encoding = \"json\"", "trunkline.toml:2:1"),
        ("discord.compress = \"zstd-stream\"", "default"),
        ("listen.clients = \"127.0.0.1:4000\"", "default"),
        ("listen.admin = \"127.0.0.1:7001\"", "flag --admin"),
        ("store.path = \"trunkline-data\"", "default"),
        ("log.level = \"debug\"", "environment TRUNKLINE_LOG_LEVEL"),
        ("bots.0.token = \"***\"", "trunkline.toml:4:1"),
        ("bots.0.intents = [\"GUILDS\"]", "trunkline.toml:5:1"),
        ("bots.0.shards = \"auto\"", "default"),
        ("groups.0.limits.memory_bytes = \"64MiB\"", "default"),
        ("groups.0.token = \"***\"", "trunkline.toml:8:1"),
        ("groups.0.limits.age_ms = \"30s\"", "environment TRUNKLINE_GROUPS_0_LIMITS_AGE_MS"),
    ] {
        let line = out.lines().find(|line| line.starts_with(setting)).unwrap_or_else(|| panic!("{setting} is missing in:\n{out}"));
        assert!(line.ends_with(&format!("# {origin}")), "{line}");
    }
    assert!(!out.contains("secret") && !out.contains("hush"), "{out}");

    // All problems at once, and status 2.
    let (code, _, error) = run(&["check", "--encoding", "xml", "--clients", "nowhere"], &env, dir.path());
    assert_eq!(code, 2);
    assert_eq!(
        error,
        "trunkline: flag --encoding: discord.encoding: \"xml\" is not one of \"etf\", \"json\"\n\
         trunkline: flag --clients: listen.clients: \"nowhere\" is not an address; write IP:PORT, for example 127.0.0.1:4000 or [::]:4000\n\
         trunkline: 2 problems\n"
    );
    let (code, keys, _) = run(&["check", "--keys"], &[], dir.path());
    assert_eq!(code, 0);
    has_all(&keys, &["bots[].token", "groups[].limits.disk_bytes (default \"4GiB\")"]);
}

#[test]
fn the_demo_accounts_for_every_event_and_ends_in_time() {
    let dir = tempfile::tempdir().expect("a folder");
    let began = Instant::now();
    let (code, out, error) = run(&["demo", "--for", "5s", "--json"], &[], dir.path());
    let took = began.elapsed();
    assert_eq!(code, 0, "{out}{error}");
    let last = json(out.lines().last().expect("a line"));
    for key in [
        "events_sent",
        "events_delivered",
        "events_lost",
        "events_duplicated",
        "events_out_of_order",
        "gaps_told",
        "events_in_gaps",
        "identifies",
        "resumes",
        "latency_us_p50",
        "latency_us_p99",
    ] {
        assert!(last[key].is_u64(), "{key} is missing in {last}");
    }
    let number = |key: &str| last[key].as_u64().expect("a number");
    assert_eq!((number("events_lost"), number("events_out_of_order"), number("gaps_told")), (0, 0, 0), "{last}");
    assert_eq!(number("events_sent"), number("events_delivered"), "{last}");
    assert!(number("events_sent") > 2_000, "{last}");
    assert_eq!((number("identifies"), number("resumes")), (16, 0), "{last}");
    // 5 s before the first identify and 5 s of traffic; the end comes within 10 s after.
    assert!(took < Duration::from_secs(5 + 5 + 10), "it took {took:?}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0, "the demo leaves nothing behind");
}

#[test]
fn the_simulator_ends_by_itself_and_writes_its_report() {
    let dir = tempfile::tempdir().expect("a folder");
    let listen = format!("127.0.0.1:{}", free_port());
    let args = ["sim", "--listen", &listen, "--token", "a.b.c", "--shards", "2", "--for", "3s", "--report", "report.json"];
    let began = Instant::now();
    let (code, out, error) = run(&args, &[], dir.path());
    assert_eq!((code, out.as_str()), (0, ""), "{error}");
    assert!((Duration::from_secs(3)..Duration::from_secs(6)).contains(&began.elapsed()));
    has_all(&error, &["a simulated Discord is at http://127.0.0.1:", "seed="]);
    assert!(!error.contains("a.b.c"), "{error}");
    let report = json(&std::fs::read_to_string(dir.path().join("report.json")).expect("the report"));
    for key in ["events_emitted", "events_sent", "identifies", "resumes", "client_faults", "client_faults_total", "faults_injected"] {
        assert!(!report[key].is_null(), "{key} is missing in {report}");
    }
    let (code, _, error) = run(&["sim", "--listen", &listen, "--faults", "1s explode"], &[], dir.path());
    assert_eq!(code, 2);
    has_all(&error, &["trunkline: --faults: fault \"1s explode\": unknown kind \"explode\"; known are drop, "]);
}
