//! What the configuration promises: every mistake named at its place, all at once, and no secret in any text.

use super::*;

fn file(text: &str) -> Sources {
    Sources { file: Some(("trunkline.toml".to_owned(), text.to_owned())), ..Sources::default() }
}

fn problems(text: &str) -> Vec<String> {
    parse(&file(text)).expect_err("should be refused").iter().map(ToString::to_string).collect()
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
fn what_check_prints_masks_secrets_and_names_origins() {
    let mut sources = file("[[bots]]\ntoken = \"very.secret.token\"\n[[groups]]\nname = \"g\"\ntoken = \"hush\"\n");
    sources.environment = vec![("TRUNKLINE_LOG_LEVEL".to_owned(), "debug".to_owned())];
    let (_, document) = parse_with_document(&sources).expect("valid");
    let text = show(&document);
    assert!(!text.contains("secret") && !text.contains("hush"), "{text}");
    assert!(text.contains("bots.0.token = \"***\""), "{text}");
    assert!(text.contains("environment TRUNKLINE_LOG_LEVEL"), "{text}");
    assert!(text.contains("trunkline.toml:5:1"), "{text}");
}

#[test]
fn a_presence_becomes_the_object_that_discord_wants() {
    let config =
        parse(&file("[[bots]]\ntoken = \"a.b.c\"\npresence = { status = \"idle\", activities = [{ name = \"chess\", type = 0 }] }\n"))
            .expect("valid");
    let presence: serde_json::Value = serde_json::from_str(config.bots[0].presence.as_deref().expect("set")).expect("json");
    assert_eq!(presence, serde_json::json!({"since": null, "activities": [{"name": "chess", "type": 0}], "status": "idle", "afk": false}));
}
