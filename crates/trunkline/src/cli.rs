//! The command line: one place that says which commands and flags there are, each with an example.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::parse_duration;

/// A managed Discord gateway: holds the websockets of your bots and hands every event to your workers.
#[derive(Debug, Parser)]
#[command(
    name = "trunkline",
    version,
    after_help = "Examples:\n  trunkline demo                        see it at work, nothing else needed\n  DISCORD_TOKEN=… trunkline run         hold your bot's shards\n  trunkline worker                      print the events they receive"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// All commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Hold the shards of the configured bots and serve workers.
    Run(RunArgs),
    /// Simulated Discord, gateway and a worker in one: no configuration, no other server.
    Demo(DemoArgs),
    /// Serve a simulated Discord, for tests of bots and libraries.
    Sim(Box<SimArgs>),
    /// Read the configuration, print what is in force, and every problem at once.
    Check(CheckArgs),
    /// Connect to a worker group and print its events.
    Worker(WorkerArgs),
    /// Show bots, shards, groups and the identify budget of a running process.
    Status(AdminArgs),
    /// Look after shards of a running process.
    Shard(ShardArgs),
    /// Look after the durable copy in PostgreSQL.
    Store(StoreArgs),
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// Configuration file (TOML). Without it ./trunkline.toml is read if it exists.
    #[arg(long, value_name = "FILE", env = "TRUNKLINE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Discord's REST base address (discord.api).
    #[arg(long, value_name = "URL")]
    pub api: Option<String>,
    /// Clients' port (listen.clients).
    #[arg(long, value_name = "ADDR")]
    pub clients: Option<String>,
    /// Admin port (listen.admin).
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<String>,
    /// Store directory (store.path).
    #[arg(long, value_name = "DIR")]
    pub store: Option<String>,
    /// Encoding of new sessions (discord.encoding): etf or json.
    #[arg(long, value_name = "NAME")]
    pub encoding: Option<String>,
    /// Compression of new sessions (discord.compress): zstd-stream, zlib-stream or none.
    #[arg(long, value_name = "NAME")]
    pub compress: Option<String>,
    /// Log filter (log.level), for example info or trunkline_gateway=debug,info.
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// human or json (log.format).
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// `trunkline run`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  DISCORD_TOKEN=… trunkline run\n  trunkline run --config trunkline.toml\n  TRUNKLINE_LOG_LEVEL=debug trunkline run --store /var/lib/trunkline"
)]
pub struct RunArgs {
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Roles to run in this process: gateway and dispatch (together, and the default), or state, which serves the state API from PostgreSQL
    /// alone.
    #[arg(long, value_delimiter = ',', value_name = "ROLE")]
    pub roles: Vec<String>,
}

/// `trunkline check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  trunkline check --config trunkline.toml\n  trunkline check --keys                every key with its default and meaning"
)]
pub struct CheckArgs {
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print every key there is, with default and meaning, and stop.
    #[arg(long)]
    pub keys: bool,
    /// The roles that it is for, as of `run`: with state it needs no bot.
    #[arg(long, value_delimiter = ',', value_name = "ROLE")]
    pub roles: Vec<String>,
}

/// `trunkline demo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  trunkline demo\n  trunkline demo --for 20s --json\n  trunkline demo --rate 20000 --workers 4")]
pub struct DemoArgs {
    /// Shards.
    #[arg(long, default_value_t = 16)]
    pub shards: u32,
    /// max_concurrency of the simulated Discord.
    #[arg(long, default_value_t = 16)]
    pub max_concurrency: u32,
    /// Events per second over all shards.
    #[arg(long, default_value_t = 2_000)]
    pub rate: u32,
    /// Guilds.
    #[arg(long, default_value_t = 64)]
    pub guilds: u32,
    /// Members a guild.
    #[arg(long, default_value_t = 100)]
    pub members: u32,
    /// Workers that share the events.
    #[arg(long, default_value_t = 2)]
    pub workers: u32,
    /// How long, counted from the first event; without it until Ctrl-C.
    #[arg(long = "for", value_parser = duration, value_name = "DURATION")]
    pub duration: Option<Duration>,
    /// Print one JSON object as the last line, and nothing else on standard output.
    #[arg(long)]
    pub json: bool,
    /// Seed of the simulated world.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Faults of the simulated Discord, as for `trunkline sim --faults`.
    #[arg(long, value_name = "SCHEDULE")]
    pub faults: Option<String>,
    /// Encoding: etf or json.
    #[arg(long, default_value = "etf")]
    pub encoding: String,
    /// Compression: zstd-stream, zlib-stream or none.
    #[arg(long, default_value = "zstd-stream")]
    pub compress: String,
    /// Log filter.
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    pub log: String,
}

/// `trunkline sim`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  trunkline sim --listen 127.0.0.1:8080 --token sim.token.x --shards 2\n  trunkline sim --rate 500 --faults \"10s drop shard=0; 20s op9false all\" --for 60s --report report.json\n\nThen give a library http://127.0.0.1:8080/api/v10 for Discord's address; the gateway's address comes from there. discord.py:\n  discord.http.Route.BASE = \"http://127.0.0.1:8080/api/v10\"\ndiscord.js:\n  new Client({ rest: { api: \"http://127.0.0.1:8080/api\" }, … })\nTrunkline:\n  trunkline run --api http://127.0.0.1:8080/api/v10"
)]
pub struct SimArgs {
    /// Address to serve REST and gateway on.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// A bot's token; repeat for several bots.
    #[arg(long, value_name = "TOKEN")]
    pub token: Vec<String>,
    /// Recommended shards in GET /gateway/bot.
    #[arg(long, default_value_t = 1)]
    pub shards: u32,
    /// Identifies per 5 seconds.
    #[arg(long, default_value_t = 1)]
    pub max_concurrency: u32,
    /// Guilds a bot.
    #[arg(long, default_value_t = 10)]
    pub guilds: u32,
    /// Members a guild.
    #[arg(long, default_value_t = 50)]
    pub members: u32,
    /// Events per second over all sessions.
    #[arg(long, default_value_t = 50, value_name = "EVENTS_PER_SECOND")]
    pub rate: u32,
    /// Kinds of events: steady, presence or every.
    #[arg(long, default_value = "steady")]
    pub mix: String,
    /// Seed of the world and the traffic; printed at start.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Stop after this long; without it until Ctrl-C.
    #[arg(long = "for", value_parser = duration, value_name = "DURATION")]
    pub duration: Option<Duration>,
    /// Write the report (JSON) here at the end; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Faults by schedule: "10s drop shard=3; 20s op9false all".
    #[arg(long, value_name = "SCHEDULE")]
    pub faults: Option<String>,
    /// Keep for replay only what lies above the last heartbeat's sequence.
    #[arg(long)]
    pub trim_replay_at_heartbeat: bool,
    /// Certificate chain (PEM) to serve https and wss with.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Log filter.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// `trunkline worker`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  trunkline worker\n  trunkline worker --group default --filter MESSAGE_CREATE --json\n  trunkline worker --addr 10.0.0.5:4000 --group bot --token-file bot.token --id printer-1"
)]
pub struct WorkerArgs {
    /// Configuration file of the running process, for its addresses and the group's token. Without it ./trunkline.toml is read if it
    /// exists.
    #[arg(long, value_name = "FILE", env = "TRUNKLINE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Clients' port of a running process; without it listen.clients, 127.0.0.1:4000 by default.
    #[arg(long, value_name = "ADDR")]
    pub addr: Option<String>,
    /// Worker group; without it the only configured one, else "default".
    #[arg(long)]
    pub group: Option<String>,
    /// The group's token; without it the token file, then what the configuration says, then NAME.token in the store.
    #[arg(long, env = "TRUNKLINE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// File that holds the group's token.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Store directory of the running process on this machine; without it store.path, trunkline-data by default.
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Worker id; workers of a group with different ids share its events.
    #[arg(long)]
    pub id: Option<String>,
    /// Event names to receive (MESSAGE_CREATE); repeat or separate by commas. The group's other events are acknowledged unseen.
    #[arg(long, value_delimiter = ',', value_name = "EVENT")]
    pub filter: Vec<String>,
    /// One JSON object a line, with the whole payload.
    #[arg(long)]
    pub json: bool,
    /// End after this many events.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// End when the stream breaks instead of connecting again.
    #[arg(long)]
    pub once: bool,
    /// Log filter.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// Reaching a running process.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  trunkline status\n  trunkline status --json --admin 127.0.0.1:4001")]
pub struct AdminArgs {
    /// Configuration file of the running process, for its admin port. Without it ./trunkline.toml is read if it exists.
    #[arg(long, value_name = "FILE", env = "TRUNKLINE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Admin port of the running process; without it listen.admin, 127.0.0.1:4001 by default.
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<String>,
    /// JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// `trunkline shard`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  trunkline shard list\n  trunkline shard restart --shard 4")]
pub struct ShardArgs {
    /// What to do with shards.
    #[command(subcommand)]
    pub command: ShardCommand,
}

/// Verbs of `trunkline shard`.
#[derive(Debug, Subcommand)]
pub enum ShardCommand {
    /// All shards, a line each.
    #[command(after_help = "Example:\n  trunkline shard list")]
    List(AdminArgs),
    /// Let a shard identify afresh, or let waiting ones use the reserve of the day's identifies.
    #[command(
        after_help = "Examples:\n  trunkline shard identify --use-reserve               let what waits go below the reserve\n  trunkline shard identify --bot 123 --shard 4 --fresh  drop the session and identify"
    )]
    Identify(IdentifyArgs),
    /// Close a shard's connection and resume on a new one.
    #[command(after_help = "Example:\n  trunkline shard restart --bot 123 --shard 4")]
    Restart(RestartArgs),
}

/// `trunkline store`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  TRUNKLINE_STORE_URL=postgres://… trunkline store migrate")]
pub struct StoreArgs {
    /// What to do with the store.
    #[command(subcommand)]
    pub command: StoreCommand,
}

/// Verbs of `trunkline store`.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Bring the tables of the database to the version that this program knows, as every start does too.
    #[command(
        after_help = "Examples:\n  trunkline store migrate --config trunkline.toml\n  TRUNKLINE_STORE_URL=postgres://… trunkline store migrate"
    )]
    Migrate(ConfigArgs),
}

/// `trunkline shard identify`.
#[derive(Debug, Args)]
pub struct IdentifyArgs {
    /// Admin port.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Bot id; may be left out where there is one bot.
    #[arg(long)]
    pub bot: Option<u64>,
    /// Shard to identify afresh (with --fresh).
    #[arg(long, requires = "fresh")]
    pub shard: Option<u32>,
    /// Drop the shard's session and identify: its unseen events are lost and told as a gap.
    #[arg(long, requires = "shard")]
    pub fresh: bool,
    /// Let waiting identifies of the bot go below the reserve (10 % of the day's total, at least 20).
    #[arg(long)]
    pub use_reserve: bool,
}

/// `trunkline shard restart`.
#[derive(Debug, Args)]
pub struct RestartArgs {
    /// Admin port.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Bot id; may be left out where there is one bot.
    #[arg(long)]
    pub bot: Option<u64>,
    /// Shard id.
    #[arg(long)]
    pub shard: u32,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).filter(|d| !d.is_zero()).ok_or_else(|| "write a duration such as 20s, 5m or 1h".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_command_has_an_example() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            for leaf in std::iter::once(command).chain(command.get_subcommands()).filter(|leaf| leaf.get_name() != "help") {
                let help = leaf.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "`{}` has no example in its help", leaf.get_name());
            }
        }
    }
}
