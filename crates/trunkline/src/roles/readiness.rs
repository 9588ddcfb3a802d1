//! Whether the process is ready, and if not, which bot or shard keeps it and why; for `/readyz`.
//!
//! Ready is: every bot that has not failed at its start has had all of its shards ready once, and none of them has stopped for good.
//! A bot that failed at its start never worked and would hold the others back for ever: it is listed only. A shard that worked and
//! was then refused is news that somebody has to act on, so it takes readiness away.

use std::fmt::Write as _;

use super::bots::BotState;

/// One bot as readiness sees it.
#[derive(Debug, Default)]
struct View {
    name: String,
    /// Why it failed for good.
    failed: Option<String>,
    /// Why its start waits.
    waiting: Option<String>,
    /// Its shards are known.
    known: bool,
    shards: Vec<ShardView>,
}

#[derive(Debug)]
struct ShardView {
    index: u32,
    count: u32,
    ready_once: bool,
    /// Why it has stopped.
    stopped: Option<String>,
}

/// The judgement, and the text that says why.
#[derive(Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether `/readyz` answers 200.
    pub ready: bool,
    /// One line with the sum, then one for each bot or shard that somebody should look at.
    pub text: String,
}

/// Judges all bots of the process.
#[must_use]
pub fn judge(bots: &[BotState]) -> Readiness {
    let views: Vec<_> = bots.iter().map(view).collect();
    judge_views(&views)
}

fn view(bot: &BotState) -> View {
    let shards = bot.shards.iter().map(|(shard, counters)| ShardView {
        index: shard.index,
        count: shard.count,
        ready_once: counters.ready_once(),
        stopped: counters.standing().stopped.map(|reason| reason.to_string()),
    });
    View {
        name: bot.name.clone(),
        failed: bot.failed.clone(),
        waiting: bot.waiting.as_ref().map(|waiting| waiting.why.clone()),
        known: bot.identify.is_some(),
        shards: shards.collect(),
    }
}

fn judge_views(bots: &[View]) -> Readiness {
    let (mut known, mut ready_once, mut fit, mut held_back) = (0, 0, 0, false);
    let mut why = String::new();
    for bot in bots {
        let name = &bot.name;
        let mut stopped = bot.shards.iter().filter(|shard| shard.stopped.is_some()).peekable();
        if let Some(failed) = &bot.failed
            && stopped.peek().is_none()
        {
            // Writing to a String cannot fail.
            writeln!(why, "bot {name} has failed for good: {failed}").ok();
            continue;
        }
        fit += 1;
        known += bot.shards.len();
        ready_once += bot.shards.iter().filter(|shard| shard.ready_once).count();
        for shard in stopped {
            held_back = true;
            let reason = shard.stopped.as_deref().unwrap_or_default();
            writeln!(why, "shard {}/{} of bot {name} has stopped: {reason}", shard.index, shard.count).ok();
        }
        if !bot.known || bot.waiting.is_some() {
            held_back = true;
            match &bot.waiting {
                Some(waiting) => writeln!(why, "bot {name} waits to start: {waiting}").ok(),
                None => writeln!(why, "bot {name} is starting").ok(),
            };
        }
    }
    let ready = fit > 0 && !held_back && known > 0 && ready_once >= known;
    let not = if ready { "" } else { "not " };
    Readiness { ready, text: format!("{not}ready: {ready_once} of {known} shards have been ready\n{why}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot(name: &str, ready_once: &[bool]) -> View {
        let count = u32::try_from(ready_once.len()).expect("few");
        let shards =
            (0..count).zip(ready_once).map(|(index, ready_once)| ShardView { index, count, ready_once: *ready_once, stopped: None });
        View { name: name.to_owned(), known: true, shards: shards.collect(), ..View::default() }
    }

    #[test]
    fn ready_when_every_shard_has_been_ready_once() {
        assert!(!judge_views(&[bot("a", &[true, false])]).ready);
        assert_eq!(
            judge_views(&[bot("a", &[true, true])]),
            Readiness { ready: true, text: "ready: 2 of 2 shards have been ready\n".to_owned() }
        );
        assert!(!judge_views(&[]).ready);
    }

    #[test]
    fn a_bot_that_failed_at_its_start_is_listed_and_does_not_hold_the_others_back() {
        let failed = View { name: "bots[0]".to_owned(), failed: Some("a wrong token".to_owned()), ..View::default() };
        let judged = judge_views(&[failed, bot("b", &[true])]);
        assert!(judged.ready);
        assert_eq!(judged.text, "ready: 1 of 1 shards have been ready\nbot bots[0] has failed for good: a wrong token\n");
        let alone = View { failed: Some("a wrong token".to_owned()), ..View::default() };
        assert!(!judge_views(&[alone]).ready, "nothing runs");
    }

    #[test]
    fn a_shard_that_stopped_for_good_takes_readiness_away_and_is_named_also_when_its_bot_failed_with_it() {
        let mut two = bot("a", &[true, true]);
        two.shards[1].stopped = Some("Discord closed with 4014".to_owned());
        let judged = judge_views(&[two, bot("b", &[true])]);
        assert!(!judged.ready);
        assert!(judged.text.contains("shard 1/2 of bot a has stopped: Discord closed with 4014\n"), "{}", judged.text);
        let mut whole = bot("a", &[true]);
        whole.shards[0].stopped = Some("Discord closed with 4004".to_owned());
        whole.failed = Some("a: Discord closed with 4004".to_owned());
        assert!(!judge_views(&[whole, bot("b", &[true])]).ready);
    }

    #[test]
    fn a_bot_that_waits_to_start_says_for_what() {
        let waiting = View { name: "bots[1]".to_owned(), waiting: Some("Discord cannot be reached".to_owned()), ..View::default() };
        let judged = judge_views(&[bot("a", &[true]), waiting]);
        assert!(!judged.ready);
        assert!(judged.text.ends_with("bot bots[1] waits to start: Discord cannot be reached\n"), "{}", judged.text);
        // One whose shards are known, but not what the store has of them.
        let waiting = View { waiting: Some("the store cannot be read".to_owned()), ..bot("b", &[true, false]) };
        let judged = judge_views(&[waiting]);
        assert!(!judged.ready);
        assert!(judged.text.ends_with("bot b waits to start: the store cannot be read\n"), "{}", judged.text);
    }
}
