//! `trunkline shard`: look at shards of a running process, restart one, release the identify reserve.

use std::process::ExitCode;

use super::{OK, complain, http, say, status};
use crate::cli::ShardCommand;

/// Does it.
#[must_use]
pub fn shard(command: &ShardCommand) -> ExitCode {
    match command {
        ShardCommand::List(admin) => match status::fetch(&admin.admin) {
            Ok((_, whole)) => {
                for bot in &whole.bots {
                    for shard in &bot.shards {
                        if admin.json {
                            let mut line = serde_json::to_value(shard).unwrap_or_default();
                            line["bot"] = bot.id.clone().into();
                            say(&line.to_string());
                        } else {
                            say(&format!(
                                "{} {}/{} {} session {} s {} guilds {}",
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
                _ => format!("/control/identify/use-reserve?{bot}"),
            };
            http::command(&args.admin.admin, args.admin.json, path.trim_end_matches(['&', '?']))
        }
        ShardCommand::Restart(args) => {
            let bot = args.bot.map(|id| format!("bot={id}&")).unwrap_or_default();
            http::command(&args.admin.admin, args.admin.json, &format!("/control/shard/restart?{bot}shard={}", args.shard))
        }
    }
}
