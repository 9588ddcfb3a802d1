//! What the configuration promises: every mistake named at its place, all at once, and no secret in any text.

use super::*;

fn file(text: &str) -> Sources {
    Sources { file: Some(("trunkline.toml".to_owned(), text.to_owned())), ..Sources::default() }
}

fn problems(text: &str) -> Vec<String> {
    parse(&file(text)).expect_err("should be refused").iter().map(ToString::to_string).collect()
}

/// What `check` prints of a sound configuration.
fn shown(sources: &Sources) -> String {
    let (config, document) = examine(sources);
    assert!(document.problems.is_empty(), "{:#?}", document.problems);
    show(&document, config.as_ref())
}

#[test]
fn a_token_in_the_environment_is_enough() {
    let sources = Sources { environment: vec![("DISCORD_TOKEN".to_owned(), "Bot abc.def.ghi".to_owned())], ..Sources::default() };
    let config = parse(&sources).expect("valid");
    assert_eq!(config.bots.len(), 1);
    assert_eq!(config.bots[0].shards, ShardsConfig::Auto);
    assert_eq!(config.groups.len(), 1);
    assert_eq!(&*config.groups[0].name, "default");
    assert_eq!(config.listen.clients.to_string(), "127.0.0.1:4000");
    assert!(!format!("{config:?}").contains("abc.def"), "a token was printed");
}

#[test]
fn settings_of_the_one_bot_may_leave_its_token_in_the_environment() {
    let mut sources = file("[[bots]]\nshards = 2\n");
    sources.environment = vec![("DISCORD_TOKEN".to_owned(), "a.b.c".to_owned())];
    let config = parse(&sources).expect("valid");
    assert_eq!((config.bots[0].shards, config.bots[0].token_origin.as_str()), (ShardsConfig::Total(2), "environment DISCORD_TOKEN"));
}

#[test]
fn a_mistyped_log_level_is_a_problem() {
    assert!(
        problems("[log]\nlevel = \"verbose\"\n[[bots]]\ntoken = \"a.b.c\"\n")[0].contains("log.level: \"verbose\" is not a log filter")
    );
}

#[test]
fn without_any_bot_the_way_out_is_told() {
    let problems = parse(&Sources::default()).expect_err("no bot");
    assert!(problems[0].to_string().contains("DISCORD_TOKEN"), "{}", problems[0]);
}

#[test]
fn all_problems_are_told_at_once_each_with_its_place() {
    let all = problems(
        "[discord]\nencoding = \"xml\"\napi = \"discord.com\"\n[listen]\nclients = \"here\"\n[[bots]]\ntoken = \"a.b.c\"\nshards = { total = 4, first = 3, last = 9 }\nintents = [\"GUILD_MEMBER\"]\n",
    );
    assert_eq!(all.len(), 5, "{all:#?}");
    assert!(all[0].starts_with("trunkline.toml:2:1: discord.encoding: \"xml\" is not one of"), "{all:#?}");
    assert!(all[1].starts_with("trunkline.toml:3:1: discord.api:"), "{all:#?}");
    assert!(all[2].starts_with("trunkline.toml:5:1: listen.clients:"), "{all:#?}");
    assert!(all[3].starts_with("trunkline.toml:8:1: bots.0.shards:"), "{all:#?}");
    assert!(all[4].starts_with("trunkline.toml:9:1: bots.0.intents:") && all[4].contains("guild_members"), "{all:#?}");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let mut sources = file("[discord]\nencoding = \"etf\"\ncompress = \"none\"\n[store]\npath = \"a\"\n[[bots]]\ntoken = \"a.b.c\"\n");
    sources.environment =
        vec![("TRUNKLINE_DISCORD_ENCODING".to_owned(), "json".to_owned()), ("TRUNKLINE_STORE_PATH".to_owned(), "b".to_owned())];
    sources.flags = vec![("store.path".to_owned(), "c".to_owned(), "--store".to_owned())];
    let config = parse(&sources).expect("valid");
    assert_eq!(config.discord.encoding, Encoding::Json);
    assert_eq!(config.discord.compress, Compression::None);
    assert_eq!(config.store.path, PathBuf::from("c"));
}

#[test]
fn a_token_has_one_way_in_and_a_missing_variable_is_named() {
    let all = problems("[[bots]]\ntoken = \"a\"\ntoken_env = \"X\"\n[[bots]]\ntoken_env = \"NOT_SET\"\n[[bots]]\nshards = 1\n");
    assert!(all.iter().any(|p| p.contains("token and token_env at once")), "{all:#?}");
    assert!(all.iter().any(|p| p.contains("NOT_SET is not set")), "{all:#?}");
    assert!(all.iter().any(|p| p.contains("bots.2: has no token")), "{all:#?}");
}

#[test]
fn what_cannot_be_a_token_is_told_before_discord_is_asked() {
    let sources = Sources { environment: vec![("DISCORD_TOKEN".to_owned(), "abc.def ghi".to_owned())], ..Sources::default() };
    let all = parse(&sources).expect_err("refused");
    assert_eq!(
        all[0].to_string(),
        "environment DISCORD_TOKEN: the token has white space or control characters inside: was more than one line pasted?"
    );
    let all = problems("[[bots]]\ntoken = \"Bearer abc\"\n");
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(all[0].starts_with("bots.0: ") && all[0].ends_with("(token from trunkline.toml:2:1)") && !all[0].contains("abc"), "{all:#?}");
}

#[test]
fn group_limits_and_filters_are_read_with_units() {
    let config = parse(&file(
        "[[bots]]\ntoken = \"a.b.c\"\n[[groups]]\nname = \"g\"\ntoken = \"t\"\nevents = [\"message_create\"]\nguilds = [\"41771983423143937\"]\nlimits = { memory_bytes = \"1MiB\", age_ms = \"30s\" }\n",
    ))
    .expect("valid");
    let group = &config.groups[0];
    assert_eq!(group.limits.memory_bytes, 1 << 20);
    assert_eq!(group.limits.age_ms, 30_000);
    assert_eq!(group.limits.disk_bytes, GroupLimits::default().disk_bytes);
    assert_eq!(group.filter.guilds, [41_771_983_423_143_937]);
}

#[test]
fn a_database_is_told_by_url_or_file_and_never_beside_a_directory() {
    let bot = "[[bots]]\ntoken = \"a.b.c\"\n";
    let read = |text: &str| {
        parse(&file(&format!("{bot}[store]\n{text}\n"))).map_err(|problems| problems.iter().map(ToString::to_string).collect::<String>())
    };
    assert_eq!(read("").expect("valid").store.url, None);
    let url = "postgres://me:s3cret@db.example/trunk";
    let config = read(&format!("url = \"{url}\"")).expect("valid");
    assert_eq!(config.store.url.as_ref().map(|url| url.expose()), Some(url));
    assert!(!format!("{config:?}").contains("s3cret"));
    let dir = tempfile::tempdir().expect("a folder");
    let place = dir.path().join("url");
    std::fs::write(&place, format!("{url}\n")).expect("written");
    let config = read(&format!("url_file = \"{}\"", place.display())).expect("valid");
    assert_eq!(config.store.url.map(|url| url.shown()).as_deref(), Some("postgres://me@db.example:5432/trunk"));
    for (text, part) in [
        (format!("path = \"x\"\nurl = \"{url}\""), "store.path and store.url are given at once; keep one of them"),
        (format!("url = \"{url}\"\nurl_file = \"x\""), "store.url and store.url_file are given at once"),
        (format!("path = \"{url}\""), "the address of a PostgreSQL database goes into store.url"),
        ("url = \"mysql://me:s3cret@h/d\"".to_owned(), "is no PostgreSQL address; write postgres://USER:PASSWORD@HOST:PORT/DATABASE"),
        (
            "url = \"postgres://me:s3cret@h/d?sslmode=maybe\"".to_owned(),
            "has an sslmode that is none of disable, prefer, require and verify-full",
        ),
        ("url = 7".to_owned(), "wants text in quotes"),
        ("url_file = \"/no/such/file\"".to_owned(), "cannot read /no/such/file"),
    ] {
        let problems = read(&text).expect_err(&text);
        assert!(problems.contains(part) && !problems.contains("s3cret"), "{text}: {problems}");
    }
}

#[test]
fn what_a_start_would_stumble_over_is_told_before_it() {
    let all = problems("[discord]\nca_file = \"/no/such/file.pem\"\n[[bots]]\ntoken = \"a.b.c\"\n");
    assert!(all.len() == 1 && all[0].contains("discord.ca_file: cannot read /no/such/file.pem"), "{all:#?}");
    let dir = tempfile::tempdir().expect("a folder");
    let all = problems(&format!("[discord]\nca_file = \"{}\"\n[[bots]]\ntoken = \"a.b.c\"\n", dir.path().display()));
    assert!(all.len() == 1 && all[0].contains("discord.ca_file"), "a folder: {all:#?}");
    // A process that reads the database alone needs one, and speaks to no Discord.
    let state = |text: &str| parse(&Sources { without_bots: true, ..file(text) });
    state("[discord]\nca_file = \"/no/such/file.pem\"\n[store]\nurl = \"postgres://u:p@localhost/d\"\n").expect("no need of the file");
    let all = state("").expect_err("no database");
    assert!(all.len() == 1 && all[0].to_string().contains("store.url: is missing: --roles state"), "{all:#?}");
    assert!(state("[store]\nurl = \"postgres://me@db.example/trunk\"\n").is_ok());
    assert_eq!(state("[store]\nurl = \"mysql://h\"\n").expect_err("another kind").len(), 1);
}

#[test]
fn a_databases_password_is_shown_to_nobody() {
    let mut sources = file("[[bots]]\ntoken = \"a.b.c\"\n");
    sources.environment = vec![("TRUNKLINE_STORE_URL".to_owned(), "postgres://me:s3cret@db.example/trunk".to_owned())];
    let text = shown(&sources);
    assert!(text.contains("store.url = \"postgres://me@db.example:5432/trunk\"") && !text.contains("s3cret"), "{text}");
}

#[test]
fn what_check_prints_masks_secrets_and_names_origins() {
    let mut sources = file("[[bots]]\ntoken = \"very.secret.token\"\n[[groups]]\nname = \"g\"\ntoken = \"hush\"\n");
    sources.environment = vec![("TRUNKLINE_LOG_LEVEL".to_owned(), "debug".to_owned())];
    let text = shown(&sources);
    assert!(!text.contains("secret") && !text.contains("hush"), "{text}");
    assert!(text.contains("bots.0.token = \"***\""), "{text}");
    assert!(text.contains("environment TRUNKLINE_LOG_LEVEL"), "{text}");
    assert!(text.contains("trunkline.toml:5:1"), "{text}");
}

#[test]
fn what_check_prints_has_the_defaults_of_bots_and_groups_too() {
    let has = |text: &str, setting: &str, origin: &str| {
        let line = text.lines().find(|line| line.starts_with(setting)).unwrap_or_else(|| panic!("{setting} is missing in:\n{text}"));
        assert!(line.ends_with(&format!(" # {origin}")), "{line}");
    };
    let text = shown(&file(
        "[[bots]]\ntoken = \"a.b.c\"\nshards = 2\n[[bots]]\ntoken = \"d.e.f\"\n[[groups]]\nname = \"g\"\nlimits = { age_ms = \"5m\" }\n",
    ));
    has(&text, "bots.0.shards = 2", "trunkline.toml:3:1");
    has(&text, "bots.0.large_threshold = 50", "default");
    has(&text, "bots.1.shards = \"auto\"", "default");
    has(&text, "groups.0.token = \"***\"", "kept in trunkline-data/g.token, made at the first start");
    has(&text, "groups.0.events = []", "default");
    has(&text, "groups.0.limits.memory_bytes = \"64MiB\"", "default");
    has(&text, "groups.0.limits.age_ms = \"5m\"", "trunkline.toml:8:12");
    let place = |setting: &str| text.find(setting).expect("shown");
    assert!(place("bots.0.large_threshold") < place("bots.1.token"), "a bot's keys stand together:\n{text}");

    // With nothing but a token in the environment.
    let nothing = Sources { environment: vec![("DISCORD_TOKEN".to_owned(), "a.b.c".to_owned())], ..Sources::default() };
    let text = shown(&nothing);
    has(&text, "bots.0.token = \"***\"", "environment DISCORD_TOKEN");
    has(&text, "bots.0.shards = \"auto\"", "default");
    has(&text, "groups.0.name = \"default\"", "default");
    has(&text, "groups.0.limits.age_ms = \"1h\"", "default");
}

#[test]
fn intents_by_environment_are_a_list_of_words_one_word_or_a_number() {
    let intents = |text: &str| {
        let mut sources = file("[[bots]]\ntoken = \"a.b.c\"\n");
        sources.environment = vec![("TRUNKLINE_BOTS_0_INTENTS".to_owned(), text.to_owned())];
        parse(&sources).map(|config| config.bots[0].intents).map_err(|problems| problems[0].to_string())
    };
    let both = Some(Intents::GUILDS.with(Intents::GUILD_MESSAGES));
    for text in
        ["[\"guilds\", \"guild_messages\"]", "[\"GUILDS\",\"GUILD_MESSAGES\"]", "guilds,guild_messages", "guilds guild_messages", "513"]
    {
        assert_eq!(intents(text), Ok(both), "{text}");
    }
    assert_eq!(intents("guilds"), Ok(Some(Intents::GUILDS)));
    assert_eq!(intents("all"), Ok(Some(Intents::ALL)));
    let wrong = intents("[\"guild_mesages\"]").expect_err("no such intent");
    assert!(wrong.starts_with("environment TRUNKLINE_BOTS_0_INTENTS: bots.0.intents: ") && wrong.contains("guild_messages"), "{wrong}");
}

#[test]
fn the_form_of_the_log_is_known_also_where_the_configuration_is_wrong() {
    let mut sources = file("[log]\nformat = \"json\"\n[discord]\nnonsense = 1\n");
    assert!(parse(&sources).is_err() && wants_json(&sources));
    sources.flags = vec![("log.format".to_owned(), "human".to_owned(), "--log-format".to_owned())];
    assert!(!wants_json(&sources));
}

#[test]
fn a_presence_becomes_the_object_that_discord_wants() {
    let config =
        parse(&file("[[bots]]\ntoken = \"a.b.c\"\npresence = { status = \"idle\", activities = [{ name = \"chess\", type = 0 }] }\n"))
            .expect("valid");
    let presence: serde_json::Value = serde_json::from_str(config.bots[0].presence.as_deref().expect("set")).expect("json");
    assert_eq!(presence, serde_json::json!({"since": null, "activities": [{"name": "chess", "type": 0}], "status": "idle", "afk": false}));
}

#[test]
fn what_a_bots_cache_keeps_can_be_said_and_is_shared_out_over_its_shards() {
    use trunkline_cache::Kind;
    let bot = |cache: &str| parse(&file(&format!("[[bots]]\ntoken = \"a.b.c\"\n{cache}\n"))).map(|config| config.bots[0].cache);
    let cache = bot("cache = { off = [\"presences\", \"message\"], messages = 5, messages_age_ms = \"2m\", messages_bytes = \"8MiB\", presences_raw_bytes = \"4MiB\", budget_bytes = \"1GiB\" }")
        .expect("valid");
    let shard = cache.of_shard(4);
    assert!(!shard.keeps(Kind::Presence) && !shard.keeps(Kind::Message) && shard.keeps(Kind::Member));
    assert_eq!((shard.message_count, shard.message_age_ms, shard.message_bytes), (5, 120_000, 2 << 20));
    assert_eq!((shard.presence_bytes, shard.budget_bytes), (1 << 20, Some(256 << 20)));
    assert_eq!(bot("").expect("valid"), BotCache::default());
    assert_eq!(BotCache::default().of_shard(0).budget_bytes, None);
    for (bad, why) in [
        ("cache = { off = [\"presense\"] }", "bots.0.cache.off: \"presense\" is not a kind of objects"),
        ("cache = { off = [\"guilds\"] }", "that can be off"),
        ("cache = { off = \"presences\" }", "wants a list of kinds"),
        ("cache = { messages = -1 }", "bots.0.cache.messages: wants a number from 0 to 10000"),
        ("cache = { budget_bytes = \"lots\" }", "is not a size"),
        ("cache = { message = 3 }", "cache.message"),
        ("members = \"lazy\"\ncache = { off = [\"members\"] }", "asks for members that its cache is told not to keep"),
    ] {
        let told: Vec<String> = bot(bad).expect_err("should be refused").iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|problem| problem.contains(why)), "{bad}: {told:#?}");
    }
}

#[test]
fn what_is_in_force_is_shown_beside_what_is_wrong_and_masks_secrets_too() {
    let (config, document) = examine(&file(
        "[discord]\nencoding = \"xml\"\n[[bots]]\nshards = 2\n[[bots]]\ntoken = \"very.secret.token\"\n[[groups]]\ntoken = \"hush\"\n[store]\nurl = \"mysql://me:s3cret@h/d\"\n",
    ));
    let problems: Vec<String> = document.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 4, "{problems:#?}");
    let text = show(&document, config.as_ref());
    for setting in [
        "discord.encoding = \"xml\"",
        "discord.compress = \"zstd-stream\"",
        "bots.0.shards = 2",
        "bots.1.token = \"***\"",
        "groups.0.token = \"***\"",
    ] {
        assert!(text.lines().any(|line| line.starts_with(setting)), "{setting} is missing in:\n{text}");
    }
    assert!(!text.contains("secret") && !text.contains("hush") && !text.contains("s3cret") && !text.contains("bots.0.token"), "{text}");
}

#[test]
fn a_file_that_is_no_toml_is_the_only_problem_with_it() {
    let mut sources = file("[[bots]\ntoken = \"a.b.c\"\n");
    let told = |sources: &Sources| parse(sources).expect_err("no TOML").iter().map(ToString::to_string).collect::<Vec<_>>();
    let all = told(&sources);
    assert!(all.len() == 1 && all[0].starts_with("trunkline.toml:1:"), "{all:#?}");
    // Nor is a table incomplete of which only a part is in the environment; what is wrong there is told all the same.
    sources.environment = [("TRUNKLINE_BOTS_0_SHARDS", "2"), ("TRUNKLINE_GROUPS_0_EVENTS", "[]"), ("TRUNKLINE_DISCORD_ENCODING", "xml")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    let all = told(&sources);
    assert_eq!(all.len(), 2, "{all:#?}");
    assert!(all[1].starts_with("environment TRUNKLINE_DISCORD_ENCODING"), "{all:#?}");
}

#[test]
fn what_the_intents_do_not_bring_is_warned_of() {
    let warnings = |text: &str| parse(&file(text)).expect("valid").warnings;
    let group = "[[groups]]\nname = \"g\"\nevents = [\"PRESENCE_UPDATE\", \"MESSAGE_CREATE\", \"READY\", \"BRAND_NEW\"]\n";
    let bot = |intents: &str| format!("[[bots]]\ntoken = \"a.{}.c\"\n{intents}\n", intents.len());
    let all = warnings(&(bot("intents = [\"guilds\", \"direct_messages\"]") + group));
    assert_eq!(all.len(), 2, "{all:#?}");
    assert!(all[0].contains("BRAND_NEW is not an event this version knows"), "{all:#?}");
    assert_eq!(all[1], "group \"g\" wants PRESENCE_UPDATE, which never comes: no bot's intents have guild_presences");
    // Another bot may bring it, and so may the portal's switches.
    for other in ["intents = [\"guild_presences\"]", ""] {
        let all = warnings(&(bot("intents = [\"guild_messages\"]") + &bot(other) + group));
        assert_eq!(all.len(), 1, "{all:#?}");
    }
    let eager = |intents: &str| warnings(&bot(&format!("members = \"eager\"\n{intents}")));
    assert!(eager("intents = [\"guilds\"]")[0].contains("\"eager\" needs the guild_members intent"));
    assert!(eager("intents = [\"guilds\", \"guild_members\"]").is_empty() && eager("").is_empty());
}

#[test]
fn one_port_cannot_be_both_the_clients_and_the_admins() {
    let listen = |text: &str| parse(&file(&format!("[[bots]]\ntoken = \"a.b.c\"\n[listen]\n{text}\n")));
    for both in [
        "clients = \"127.0.0.1:5000\"\nadmin = \"127.0.0.1:5000\"",
        "clients = \"0.0.0.0:5000\"\nadmin = \"127.0.0.1:5000\"",
        "clients = \"127.0.0.1:4001\"",
    ] {
        let told = listen(both).expect_err(both);
        assert!(told.len() == 1 && told[0].to_string().contains("each of the two needs a port of its own"), "{told:#?}");
    }
    for apart in ["clients = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"", "clients = \"127.0.0.1:5000\"\nadmin = \"127.0.0.2:5000\""] {
        assert!(listen(apart).is_ok(), "{apart}");
    }
}
