//! The start of one bot: what has to be known before its first shard connects.
//!
//! Asks Discord who the bot is, what its application may see, and where its gateway is, each once for all of its shards.
//! What may pass by itself is tried again for as long as it takes, with one log line per change; what a person has to put
//! right ends it with an error, before an identify is spent.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use trunkline_discord::{Dice, Intents};

use crate::api::{ApiError, BotApi};
use crate::budget::SessionStartLimit;
use crate::plan::{PlanError, ShardPlan, ShardsWanted, plan};

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// What the configuration says of a bot.
#[derive(Debug, Clone, Default)]
pub struct BotWish {
    /// What the log calls the bot until Discord has said its name, such as `bots[0]`.
    pub label: String,
    /// As the user wrote them; `None` for all that the application's flags allow.
    pub intents: Option<Intents>,
    /// Which shards run here.
    pub shards: ShardsWanted,
}

/// A bot that may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedBot {
    /// The bot's user id.
    pub bot_id: u64,
    /// Its application's id.
    pub application_id: u64,
    /// Its name, for people.
    pub name: String,
    /// What its shards identify with.
    pub intents: Intents,
    /// Which shards run here.
    pub plan: ShardPlan,
    /// Where they connect, without a query.
    pub gateway_url: String,
    /// The identify budget at the start.
    pub limit: SessionStartLimit,
}

/// Why a bot cannot start until a person does something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// Discord refuses the bot, or is none.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Written intents are switched off in the portal.
    #[error(
        "intents {intents} are configured for {name}, but off in the Developer Portal: switch on {} at \
         https://discord.com/developers/applications/{application_id}/bot, or take them out of the bot's intents; no \
         identify was spent",
        switches.join(" and ")
    )]
    IntentsOff {
        /// The bot's name.
        name: String,
        /// Its application, for the portal's address.
        application_id: u64,
        /// Those that are off.
        intents: Intents,
        /// The switches by name.
        switches: Vec<&'static str>,
    },
    /// The gateway's address is a plain one, though the API is asked over TLS.
    #[error(
        "{base} gives the gateway address \"{url}\", which is not encrypted: the bot's token would cross the network in clear, so \
         it is not used; Discord gives wss:// addresses, so check [discord] api and whatever stands between this machine and it"
    )]
    PlainGateway {
        /// The API's base address.
        base: String,
        /// What it gave, without its query.
        url: String,
    },
    /// The shards make no sense.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// Told when trouble begins, at each change of it, and with `None` when Discord answers again.
pub type Trouble<'a> = &'a mut (dyn FnMut(Option<&str>) + Send);

/// Prepares one bot, for as long as it takes.
///
/// # Errors
/// [`PrepareError`] for what does not pass by itself.
pub async fn prepare_bot(api: &BotApi, wish: &BotWish, dice: &mut Dice) -> Result<PreparedBot, PrepareError> {
    prepare_bot_telling(api, wish, dice, &mut |_| {}).await
}

/// The same; `trouble` is told what keeps it from going on, beside the log.
///
/// # Errors
/// As [`prepare_bot`].
pub async fn prepare_bot_telling(api: &BotApi, wish: &BotWish, dice: &mut Dice, trouble: Trouble<'_>) -> Result<PreparedBot, PrepareError> {
    let label = wish.label.as_str();
    let me = keep_trying(label, dice, trouble, || api.me()).await?;
    let (application_id, flags) = match keep_trying(label, dice, trouble, || api.application()).await {
        Ok(application) => (application.id, Some(application.flags)),
        // A server like Discord that lacks this call: what the portal allows is not known, Discord's close code 4014 will tell.
        Err(error @ ApiError::BadAnswer { .. }) => {
            tracing::warn!(bot = %me.id, "{}: {error}; going on without knowing which privileged intents are switched on", me.username);
            (me.id, None)
        }
        Err(error) => return Err(error.into()),
    };
    let intents = match flags {
        Some(flags) => settle_intents(wish.intents, flags, &me.username, application_id)?,
        None => wish.intents.unwrap_or_else(|| Intents::allowed_by_flags(0)),
    };
    let gateway = keep_trying(label, dice, trouble, || api.gateway_bot()).await?;
    refuse_plain(api.base(), &gateway.url)?;
    let limit = gateway.session_start_limit;
    let plan = plan(wish.shards, gateway.shards, limit.max_concurrency)?;
    for warning in &plan.warnings {
        tracing::warn!(bot = %me.id, "{}: {warning}", me.username);
    }
    tracing::info!(
        bot = %me.id,
        "{}: {} of {} shards run here; {} of {} identifies are left of the day, {} at a time",
        me.username,
        plan.indices.len(),
        plan.count,
        limit.remaining,
        limit.total,
        limit.max_concurrency,
    );
    Ok(PreparedBot { bot_id: me.id, application_id, name: me.username, intents, plan, gateway_url: gateway.url, limit })
}

/// Who asks over TLS is not to be led to a gateway without it.
fn refuse_plain(base: &str, url: &str) -> Result<(), PrepareError> {
    let scheme = |address: &str, wanted: &str| address.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted));
    if scheme(base, "http://") || !scheme(url, "ws://") {
        return Ok(());
    }
    Err(PrepareError::PlainGateway { base: base.to_owned(), url: url.split('?').next().unwrap_or_default().to_owned() })
}

/// Written intents are held to; left out, they are what the portal's switches allow, with a warning for each that is off.
fn settle_intents(written: Option<Intents>, application_flags: u64, name: &str, application_id: u64) -> Result<Intents, PrepareError> {
    let allowed = Intents::allowed_by_flags(application_flags);
    let Some(written) = written else {
        for intent in Intents::PRIVILEGED.without(allowed).each() {
            tracing::warn!(
                application = %application_id,
                "{name}: \"{}\" is off in the Developer Portal, so {intent} is left out; switch it on at \
                 https://discord.com/developers/applications/{application_id}/bot to receive it",
                intent.switch_name()
            );
        }
        return Ok(allowed);
    };
    let off = written.intersection(Intents::PRIVILEGED).without(allowed);
    if off.is_empty() {
        return Ok(written);
    }
    Err(PrepareError::IntentsOff {
        name: name.to_owned(),
        application_id,
        intents: off,
        switches: off.each().map(Intents::switch_name).collect(),
    })
}

/// Calls until there is an answer or an error that does not pass. One line when trouble begins, when it changes its kind,
/// and when it is over.
async fn keep_trying<T, F: Future<Output = Result<T, ApiError>>>(
    label: &str,
    dice: &mut Dice,
    trouble: Trouble<'_>,
    mut call: impl FnMut() -> F,
) -> Result<T, ApiError> {
    let began = Instant::now();
    let mut backoff = BACKOFF_FIRST;
    let mut told: Option<String> = None;
    loop {
        let error = match call().await {
            Ok(answer) => {
                if told.is_some() {
                    trouble(None);
                    tracing::info!(bot = label, "Discord answers again after {} s", began.elapsed().as_secs());
                }
                return Ok(answer);
            }
            Err(error) => error,
        };
        let Some(at_least) = error.passes() else {
            return Err(error);
        };
        let line = error.to_string();
        if told.as_ref() != Some(&line) {
            trouble(Some(&line));
            tracing::warn!(bot = label, "{line}; trying again until it answers");
            told = Some(line);
        }
        // Up to half of it is left to chance, so that many processes do not come back at one moment.
        let jittered = backoff.mul_f64(1.0 - dice.unit() / 2.0);
        tokio::time::sleep(jittered.max(at_least)).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_gateway_is_refused_where_the_api_is_asked_over_tls_and_taken_where_it_is_not() {
        let error = refuse_plain("https://discord.com/api/v10", "ws://gateway.example/?token=x").unwrap_err().to_string();
        assert!(error.contains("\"ws://gateway.example/\"") && error.contains("in clear") && !error.contains("token=x"), "{error}");
        refuse_plain("HTTPS://discord.com/api/v10", "WS://gateway.example").unwrap_err();
        refuse_plain("https://discord.com/api/v10", "wss://gateway.discord.gg").unwrap();
        refuse_plain("http://127.0.0.1:4000/api/v10", "ws://127.0.0.1:4000").unwrap();
    }
}
