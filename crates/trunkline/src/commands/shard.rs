//! `trunkline shard`: look at shards of a running process, restart one, release the identify reserve.

use std::process::ExitCode;

use super::reach::Reach;
use super::{OK, USAGE, complain, http, say, status};
use crate::cli::{AdminArgs, ShardCommand};

/// Does it.
#[must_use]
pub fn shard(command: &ShardCommand) -> ExitCode {
    match command {
        ShardCommand::List(admin) => match at(admin).and_then(|address| status::fetch(&address)) {
            Ok((_, whole)) => {
                for bot in &whole.bots {
                    for shard in &bot.shards {
                        if admin.json {
                            let mut line = serde_json::to_value(shard).unwrap_or_default();
                            line["bot"] = bot.id.clone().into();
                            say(&line.to_string());
                        } else {
                            let why = shard.why.as_ref().map(|why| format!(" · {why}")).unwrap_or_default();
                            say(&format!(
                                "{} {}/{} {} session {} s {} guilds {}{why}",
                                bot.name, shard.index, shard.count, shard.state, shard.session, shard.s, shard.guilds
                            ));
                        }
                    }
                }
                OK
            }
            Err(text) => {
                complain(&text);
                ExitCode::FAILURE
            }
        },
        ShardCommand::Identify(args) => {
            let bot = args.bot.map(|id| format!("bot={id}&")).unwrap_or_default();
            let path = match args.shard {
                Some(shard) if args.fresh => format!("/control/shard/restart?{bot}shard={shard}&fresh=true"),
                _ if args.use_reserve => format!("/control/identify/use-reserve?{bot}"),
                _ => {
                    complain(
                        "shards identify by themselves where they must. Say what you want beyond that: --use-reserve lets shards that wait \
                         use the reserve of the day's identifies; --shard N --fresh drops the session of shard N and identifies anew",
                    );
                    return ExitCode::from(USAGE);
                }
            };
            send(&args.admin, path.trim_end_matches(['&', '?']))
        }
        ShardCommand::Restart(args) => {
            let bot = args.bot.map(|id| format!("bot={id}&")).unwrap_or_default();
            send(&args.admin, &format!("/control/shard/restart?{bot}shard={}", args.shard))
        }
    }
}

fn at(admin: &AdminArgs) -> Result<String, String> {
    Reach::read(admin.config.as_deref()).map(|reach| reach.admin(admin.admin.as_deref()))
}

fn send(admin: &AdminArgs, path: &str) -> ExitCode {
    match at(admin) {
        Ok(address) => http::command(&address, admin.json, path),
        Err(text) => {
            complain(&text);
            ExitCode::FAILURE
        }
    }
}
