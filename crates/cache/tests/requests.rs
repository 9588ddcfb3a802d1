//! What is promised of member requests: Discord's limits are kept, who waits is answered once, and nobody is asked for twice.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use trunkline_cache::requests::{Action, AskId, IDS_MAX, Input, Refusal, RequestLimits, Requests, Wanted};
use trunkline_discord::{Dice, Time};

struct Rig {
    requests: Requests,
    now: Time,
    out: Vec<Action>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sent {
    guild: u64,
    wanted: Wanted,
    nonce: String,
}

impl Rig {
    fn new(eager: bool) -> Rig {
        let mut rig = Rig { requests: Requests::new(RequestLimits::default(), eager, 7), now: Time::from_millis(1_000), out: Vec::new() };
        rig.step(Input::ShardUp { shard: 0, resumed: false });
        rig
    }

    fn step(&mut self, input: Input<'_>) {
        self.requests.step(input, self.now, &mut self.out);
    }

    /// Lets time pass in small steps.
    fn pass(&mut self, millis: u64) -> Vec<Sent> {
        let until = self.now + Duration::from_millis(millis);
        loop {
            let wake = self.requests.tick(self.now, &mut self.out);
            match wake {
                Some(at) if at <= until => self.now = at.max(self.now + Duration::from_millis(1)),
                _ => break,
            }
        }
        self.now = until;
        self.sent()
    }

    fn sent(&mut self) -> Vec<Sent> {
        let (sent, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.out).into_iter().partition(|action| matches!(action, Action::Send { .. }));
        self.out = rest;
        let sent = sent.into_iter().filter_map(|action| match action {
            Action::Send { guild, wanted, nonce, .. } => Some(Sent { guild, wanted, nonce }),
            _ => None,
        });
        sent.collect()
    }

    fn answers(&mut self) -> Vec<(u64, Result<u64, Refusal>)> {
        let out = std::mem::take(&mut self.out);
        let answers = out.into_iter().filter_map(|action| match action {
            Action::Answered { ask, outcome } => Some((ask.0, outcome)),
            _ => None,
        });
        answers.collect()
    }

    fn ask(&mut self, ask: u64, guild: u64, wanted: Wanted) {
        self.ask_as(true, ask, guild, wanted);
    }

    fn ask_as(&mut self, patient: bool, ask: u64, guild: u64, wanted: Wanted) {
        self.step(Input::Ask { ask: AskId(ask), guild, shard: 0, wanted, presences: false, patient });
    }

    fn chunk(&mut self, sent: &Sent, index: u32, count: u32, members: u64, not_found: &[u64]) {
        let nonce = sent.nonce.as_str();
        // Of those that were asked for as many as there are members, from the front.
        let asked = if let Wanted::Ids(ids) = &sent.wanted { ids.as_slice() } else { &[] };
        let there = asked.iter().filter(|user| !not_found.contains(user)).take(usize::try_from(members).unwrap());
        let users: Vec<u64> = there.copied().filter(|_| self.requests.wants_users(nonce)).collect();
        self.step(Input::Chunk { nonce: Some(nonce), guild: sent.guild, index, count, members, users: &users, not_found });
    }
}

fn ids(ids: impl IntoIterator<Item = u64>) -> Wanted {
    Wanted::Ids(ids.into_iter().collect())
}

#[test]
fn those_who_miss_the_same_guilds_members_at_once_share_one_request() {
    let mut rig = Rig::new(false);
    rig.ask(1, 5, ids([10]));
    rig.ask(2, 5, ids([11]));
    rig.ask(3, 5, ids([10]));
    let sent = rig.pass(100);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0].wanted, ids([10, 11]));
    // One that comes while the request is under way, for an id that it holds, joins it too.
    rig.ask(4, 5, ids([11]));
    assert!(rig.pass(100).is_empty());
    rig.chunk(&sent[0], 0, 1, 2, &[]);
    let mut answers = rig.answers();
    answers.sort_unstable_by_key(|answer| answer.0);
    assert_eq!(answers, [1, 2, 3, 4].map(|ask| (ask, Ok(1))), "each the one that it asked for");
}

#[test]
fn those_who_share_a_request_are_told_of_those_they_asked_for_alone() {
    let mut rig = Rig::new(false);
    rig.ask(1, 5, ids([11, 10]));
    rig.ask(2, 5, ids([11, 12, 13]));
    rig.ask(3, 5, ids([14, 13, 12, 11, 10]));
    // Nobody is told of a guild's chunk by halves who asked for all of it.
    rig.ask(4, 6, Wanted::All);
    rig.ask(5, 6, Wanted::All);
    let sent = rig.pass(100);
    assert_eq!(sent.len(), 2);
    for sent in &sent {
        // Of the five, 13 and 14 are no members.
        rig.chunk(sent, 0, 1, 3, if sent.guild == 5 { &[13, 14] } else { &[] });
    }
    let mut told: Vec<(u64, Option<Vec<u64>>)> = Vec::new();
    let mut answers = Vec::new();
    for action in std::mem::take(&mut rig.out) {
        match action {
            Action::Chunk { asks } => told.extend(asks.into_iter().map(|(ask, users)| (ask.0, users.map(|users| users.to_vec())))),
            Action::Answered { ask, outcome } => answers.push((ask.0, outcome)),
            other => panic!("{other:?}"),
        }
    }
    told.sort_unstable();
    answers.sort_unstable_by_key(|answer| answer.0);
    let some = |ids: &[u64]| Some(ids.to_vec());
    assert_eq!(told, [(1, some(&[10, 11])), (2, some(&[11, 12, 13])), (3, None), (4, None), (5, None)]);
    assert_eq!(answers, [(1, Ok(2)), (2, Ok(2)), (3, Ok(3)), (4, Ok(3)), (5, Ok(3))]);
}

#[test]
fn who_is_no_member_is_not_asked_for_again_for_a_while() {
    let mut rig = Rig::new(false);
    rig.ask(1, 5, ids([10]));
    let sent = rig.pass(50);
    rig.chunk(&sent[0], 0, 1, 0, &[10]);
    assert_eq!(rig.answers(), [(1, Ok(0))]);
    rig.ask_as(false, 2, 5, ids([10]));
    assert_eq!((rig.pass(50), rig.answers()), (vec![], vec![(2, Ok(0))]));
    // Who is handed what Discord says is handed it of everybody, of those who are no members too.
    rig.ask_as(true, 20, 5, ids([10]));
    let sent = rig.pass(50);
    assert_eq!(sent[0].wanted, ids([10]));
    rig.chunk(&sent[0], 0, 1, 0, &[10]);
    assert_eq!(rig.answers(), [(20, Ok(0))]);
    // Joining makes a member of them; so does time, as far as one can know.
    rig.step(Input::Joined { guild: 5, user: 10 });
    rig.ask_as(false, 3, 5, ids([10]));
    let sent = rig.pass(50);
    assert_eq!(sent.len(), 1);
    rig.chunk(&sent[0], 0, 1, 0, &[10]);
    rig.pass(61_000);
    rig.ask_as(false, 4, 5, ids([10]));
    assert_eq!(rig.pass(50).len(), 1);
}

#[test]
fn more_ids_than_one_request_carries_are_several_requests_and_one_answer() {
    let mut rig = Rig::new(false);
    rig.ask(1, 5, ids(0..250));
    let sent = rig.pass(50);
    let sizes: Vec<usize> = sent.iter().map(|sent| if let Wanted::Ids(ids) = &sent.wanted { ids.len() } else { 0 }).collect();
    assert_eq!(sizes, [IDS_MAX, IDS_MAX, 50]);
    for (index, sent) in sent.iter().enumerate() {
        assert!(rig.answers().is_empty(), "answered before request {index}");
        rig.chunk(sent, 0, 1, 40, &[]);
    }
    assert_eq!(rig.answers(), [(1, Ok(120))]);
}

#[test]
fn a_whole_guild_is_asked_for_once_in_thirty_seconds_however_many_want_it() {
    let mut rig = Rig::new(false);
    rig.ask(1, 5, Wanted::All);
    rig.ask(2, 5, Wanted::All);
    let sent = rig.pass(10);
    assert_eq!(sent.len(), 1);
    rig.chunk(&sent[0], 0, 2, 1_000, &[]);
    // The first chunk has come: who asks now would miss it, and gets a request of their own, in time.
    rig.ask(3, 5, Wanted::All);
    assert!(rig.pass(100).is_empty());
    rig.chunk(&sent[0], 1, 2, 500, &[]);
    rig.chunk(&sent[0], 1, 2, 500, &[]);
    assert_eq!(rig.answers(), [(1, Ok(1_500)), (2, Ok(1_500))], "a chunk that comes twice counts once");
    assert!(rig.pass(29_000).is_empty());
    assert_eq!(rig.pass(2_000).len(), 1);
}

#[test]
fn rate_limited_waits_as_long_as_discord_says_and_asks_again() {
    let mut rig = Rig::new(false);
    rig.ask(1, 5, Wanted::All);
    let sent = rig.pass(10);
    let nonce = sent[0].nonce.clone();
    rig.step(Input::RateLimited { nonce: Some(&nonce), guild: 5, retry_after: Duration::from_secs(45) });
    assert!(rig.pass(44_000).is_empty());
    let again = rig.pass(2_000);
    assert_eq!(again.len(), 1);
    rig.chunk(&again[0], 0, 1, 3, &[]);
    assert_eq!(rig.answers(), [(1, Ok(3))]);
    // Without a nonce it means the guild whose members are under way.
    rig.pass(60_000);
    rig.ask(2, 5, Wanted::All);
    assert_eq!(rig.pass(10).len(), 1);
    rig.step(Input::RateLimited { nonce: None, guild: 5, retry_after: Duration::from_secs(20) });
    assert!(rig.pass(19_000).is_empty());
    assert_eq!(rig.requests.progress(rig.now).rate_limited, 2);
}

#[test]
fn silence_is_asked_again_and_then_told() {
    let mut rig = Rig::new(false);
    rig.ask(1, 5, ids([10]));
    let sent = rig.pass(60_000);
    assert_eq!(sent.len(), 3);
    assert_eq!(rig.answers(), [(1, Err(Refusal::NoAnswer))]);
    let late = sent[2].clone();
    rig.chunk(&late, 0, 1, 1, &[]);
    assert!(rig.answers().is_empty());
}

#[test]
fn what_nobody_waits_for_any_more_is_not_asked_for_ever() {
    let mut rig = Rig::new(false);
    for ask in 0..50 {
        rig.ask(ask, 100 + ask, ids([10]));
    }
    rig.pass(4_000);
    for ask in 0..50 {
        rig.step(Input::Cancel { ask: AskId(ask) });
    }
    let late = rig.pass(3_600_000).len();
    assert!(late <= 8, "{late} sends for nobody");
    let progress = rig.requests.progress(rig.now);
    assert_eq!((progress.waiting, progress.under_way), (0, 0));
}

#[test]
fn a_guild_that_somebody_waited_for_in_vain_is_still_fetched_in_the_background() {
    let mut rig = Rig::new(true);
    rig.step(Input::Guild { guild: 5, shard: 0, told: 100, held: 1 });
    rig.ask(1, 5, Wanted::All);
    rig.pass(100_000);
    assert_eq!(rig.answers(), [(1, Err(Refusal::NoAnswer))]);
    let again = (0..600).find_map(|_| rig.pass(1_000).pop());
    rig.chunk(&again.expect("it was given up"), 0, 1, 100, &[]);
    assert_eq!(rig.requests.progress(rig.now).guilds_done, 1);
}

#[test]
fn a_lost_session_asks_again_and_a_resumed_one_waits_for_what_is_replayed() {
    let mut rig = Rig::new(false);
    rig.ask(1, 5, ids([10]));
    let sent = rig.pass(10);
    // A connection that is resumed: what was under way is replayed.
    rig.step(Input::ShardUp { shard: 0, resumed: true });
    assert!(rig.pass(10).is_empty());
    rig.chunk(&sent[0], 0, 1, 1, &[]);
    assert_eq!(rig.answers(), [(1, Ok(1))]);
    // A session that is lost, be the loss told or not.
    for told in [true, false] {
        rig.pass(60_000);
        rig.ask(2, 6, ids([10]));
        let sent = rig.pass(10);
        if told {
            rig.step(Input::ShardDown { shard: 0 });
            let progress = rig.requests.progress(rig.now);
            assert_eq!((progress.waiting, progress.under_way), (1, 0), "it will not be answered");
            rig.ask(3, 7, ids([10]));
            assert!(rig.pass(20_000).is_empty(), "nothing is sent, nor sent again, while the shard has no session");
            rig.chunk(&sent[0], 0, 1, 1, &[]);
            assert!(rig.answers().is_empty());
        }
        rig.step(Input::ShardUp { shard: 0, resumed: false });
        let again = rig.pass(10);
        assert_eq!(again.iter().map(|sent| sent.guild).collect::<Vec<_>>(), if told { vec![6, 7] } else { vec![6] });
        again.iter().for_each(|sent| rig.chunk(sent, 0, 1, 1, &[]));
        assert_eq!(rig.answers().len(), again.len());
    }
}

#[test]
fn who_does_not_wait_for_a_lost_session_is_told_of_it_at_once() {
    let mut rig = Rig::new(true);
    rig.step(Input::Guild { guild: 9, shard: 0, told: 100, held: 1 });
    rig.ask_as(false, 1, 5, ids([10]));
    rig.ask_as(true, 2, 5, ids([10]));
    rig.ask_as(false, 3, 9, Wanted::All);
    rig.pass(10);
    // One that has not left yet, and one on another shard.
    rig.ask_as(false, 4, 6, ids([11]));
    rig.step(Input::Ask { ask: AskId(5), guild: 7, shard: 1, wanted: ids([1]), presences: false, patient: false });
    rig.step(Input::ShardDown { shard: 0 });
    let lost = |ask| (ask, Err(Refusal::SessionLost));
    assert_eq!(rig.answers(), [1, 3, 4].map(lost));
    rig.ask_as(false, 6, 5, ids([12]));
    assert_eq!(rig.answers(), [lost(6)]);
    rig.step(Input::ShardUp { shard: 0, resumed: false });
    let again = rig.pass(10);
    assert_eq!(again.iter().map(|sent| sent.guild).collect::<Vec<_>>(), [5], "what somebody waits for, and nothing else");
    rig.chunk(&again[0], 0, 1, 1, &[]);
    assert_eq!(rig.answers(), [(2, Ok(1))]);
    // What is fetched in the background is so once Discord allows it again.
    assert_eq!(rig.pass(31_000).iter().map(|sent| sent.guild).collect::<Vec<_>>(), [9]);
}

#[test]
fn a_shard_that_does_not_come_back_keeps_nobody_waiting_for_ever() {
    let mut rig = Rig::new(true);
    rig.step(Input::Guild { guild: 9, shard: 0, told: 100, held: 1 });
    rig.ask(1, 5, ids([10]));
    rig.pass(10);
    rig.step(Input::ShardDown { shard: 0 });
    rig.ask(2, 9, Wanted::All);
    rig.pass(44_000);
    assert!(rig.answers().is_empty());
    rig.pass(2_000);
    assert_eq!(rig.answers(), [1, 2].map(|ask| (ask, Err(Refusal::SessionLost))));
    rig.ask(3, 5, ids([10]));
    rig.pass(10);
    assert_eq!(rig.answers(), [(3, Err(Refusal::SessionLost))]);
    // Nor does one that never comes up in the first place.
    rig.step(Input::Ask { ask: AskId(4), guild: 7, shard: 1, wanted: ids([1]), presences: false, patient: true });
    rig.pass(44_000);
    assert!(rig.answers().is_empty());
    rig.pass(2_000);
    assert_eq!(rig.answers(), [(4, Err(Refusal::SessionLost))]);
    // The background goes on where it was.
    rig.step(Input::ShardUp { shard: 0, resumed: false });
    assert_eq!(rig.pass(60_000).iter().map(|sent| sent.guild).next(), Some(9));
}

#[test]
fn chunks_of_an_earlier_process_and_of_others_mean_nothing() {
    let mut rig = Rig::new(false);
    rig.ask(1, 5, ids([10]));
    let sent = rig.pass(10);
    for nonce in [Some("t6-1"), Some("x"), Some(""), Some("t7-"), Some("t7-ffffffffffffffffff"), None] {
        rig.step(Input::Chunk { nonce, guild: 5, index: 0, count: 1, members: 1, users: &[], not_found: &[] });
    }
    let nonce = sent[0].nonce.clone();
    rig.step(Input::Chunk { nonce: Some(&nonce), guild: 6, index: 0, count: 1, members: 1, users: &[], not_found: &[] });
    rig.step(Input::Chunk { nonce: Some(&nonce), guild: 5, index: 9, count: 1, members: 1, users: &[], not_found: &[] });
    assert!(rig.answers().is_empty());
    rig.chunk(&sent[0], 0, u32::MAX, 1, &[]);
    assert!(rig.answers().is_empty());
}

#[test]
fn what_cannot_be_asked_is_refused_and_what_is_too_much_too() {
    let mut rig = Rig::new(false);
    rig.ask(1, 5, ids([]));
    rig.ask(2, 5, Wanted::Query { text: String::new(), limit: 5 });
    rig.ask(3, 5, Wanted::Query { text: "a".into(), limit: 101 });
    assert_eq!(rig.answers(), [1, 2, 3].map(|ask| (ask, Err(Refusal::Malformed))));
    let most = RequestLimits::default().callers_max as u64;
    for ask in 0..=most {
        rig.ask(100 + ask, 5, ids([ask]));
    }
    assert_eq!(rig.answers(), [(100 + most, Err(Refusal::Busy))]);
}

#[test]
fn who_does_not_wait_any_more_is_not_asked_for() {
    let mut rig = Rig::new(false);
    rig.ask(1, 5, ids([10]));
    rig.step(Input::Cancel { ask: AskId(1) });
    assert!(rig.pass(1_000).is_empty());
    rig.step(Input::Cancel { ask: AskId(1) });
    rig.ask(2, 5, Wanted::All);
    rig.step(Input::GuildGone { guild: 5 });
    assert_eq!(rig.answers(), [(2, Err(Refusal::GuildGone))]);
    assert!(rig.pass(1_000).is_empty());
}

#[test]
fn an_outage_ends_what_waits_and_the_background_begins_again_when_the_guild_is_back() {
    let mut rig = Rig::new(true);
    rig.step(Input::Guild { guild: 5, shard: 0, told: 9, held: 1 });
    rig.ask(1, 5, ids([10]));
    rig.ask_as(false, 2, 5, ids([11]));
    assert_eq!(rig.pass(50).len(), 2);
    rig.step(Input::GuildAway { guild: 5 });
    assert_eq!(rig.answers(), [(1, Err(Refusal::Outage)), (2, Err(Refusal::Outage))]);
    assert!(rig.pass(120_000).is_empty(), "nobody is asked of a guild with an outage");
    rig.step(Input::Guild { guild: 5, shard: 0, told: 9, held: 1 });
    let sent = rig.pass(50);
    assert_eq!(sent.len(), 1);
    rig.chunk(&sent[0], 0, 1, 9, &[]);
    assert!(rig.pass(120_000).is_empty(), "all is here");
}

#[test]
fn all_members_of_all_guilds_come_in_the_background_and_who_waits_goes_first() {
    let mut rig = Rig::new(true);
    for guild in 1..=300 {
        rig.step(Input::Guild { guild, shard: 0, told: 2_500, held: 50 });
    }
    rig.step(Input::Guild { guild: 999, shard: 0, told: 50, held: 50 });
    // A crowd that is known already says nothing of how long the others take.
    for guild in 1_000..2_000 {
        rig.step(Input::Guild { guild, shard: 0, told: 900, held: 900 });
    }
    let (mut seconds, mut sends, mut urgent) = (0, Vec::new(), 0);
    let mut under_way: Vec<Sent> = Vec::new();
    let mut estimates = Vec::new();
    while rig.requests.progress(rig.now).guilds_done < 1_301 {
        seconds += 1;
        assert!(seconds < 1_000, "{:?}", rig.requests.progress(rig.now));
        if seconds % 60 == 0 {
            estimates.push((seconds, rig.requests.progress(rig.now).left.map_or(0, |left| left.as_secs())));
        }
        if seconds == 30 {
            rig.ask(1, 77_777, ids([1]));
        }
        for sent in rig.pass(1_000) {
            sends.push(rig.now.as_millis());
            if sent.guild == 77_777 {
                urgent = seconds;
            }
            under_way.push(sent);
        }
        for sent in std::mem::take(&mut under_way) {
            for index in 0..3 {
                rig.chunk(&sent, index, 3, 833, &[]);
            }
        }
    }
    assert_eq!(urgent, 30, "one that somebody waits for does not queue behind whole guilds");
    for window in sends.windows(61) {
        assert!(window[60] - window[0] >= 60_000 - 1_000, "over 60 sends in a minute: {window:?}");
    }
    let progress = rig.requests.progress(rig.now);
    assert_eq!(
        (progress.guilds, progress.members, progress.members_come, progress.left),
        (1_301, 300 * 2_499 + 50 + 900_000, 300 * 2_499 + 50 + 900_000, None)
    );
    // At 40 sends a minute for the background, 300 guilds take between seven and nine minutes.
    assert!((400..560).contains(&seconds), "{seconds} s");
    for (at, left) in estimates {
        assert!(left.abs_diff(seconds - at) <= 70, "{left} s left after {at} of {seconds} s");
    }
}

/// Discord as the requests see it: refuses what breaks a limit, answers late, not at all, or out of order.
#[test]
fn no_sequence_of_callers_faults_and_answers_breaks_a_limit_or_forgets_a_caller() {
    for seed in 0..60 {
        eprintln!("seed {seed}");
        let mut dice = Dice::new(seed);
        let mut rig = Rig::new(seed % 2 == 0);
        let (mut whole, mut sends): (HashMap<u64, Time>, Vec<Time>) = Default::default();
        let (mut waiting, mut open): (HashSet<u64>, Vec<(Sent, u32, u32)>) = Default::default();
        let (mut next, mut up) = (0, true);
        for step in 0..3_000 {
            let quiet = step > 2_400;
            match dice.below(100) {
                0..30 if !quiet => {
                    next += 1;
                    let wanted = match dice.below(10) {
                        0 => Wanted::All,
                        1 => Wanted::Query { text: "ab".into(), limit: 5 },
                        _ => ids((0..dice.between(1, 150)).map(|_| dice.below(400)).collect::<Vec<_>>()),
                    };
                    waiting.insert(next);
                    rig.ask_as(dice.below(2) == 0, next, dice.below(5), wanted);
                }
                30..33 if !quiet => rig.step(Input::Guild { guild: dice.below(5), shard: 0, told: 2_000, held: dice.below(2_100) }),
                33 if !quiet => rig.step(Input::GuildGone { guild: dice.below(5) }),
                34 if !quiet && up => {
                    up = false;
                    open.clear();
                    rig.step(Input::ShardDown { shard: 0 });
                }
                35..38 if !up => {
                    up = true;
                    sends.clear();
                    rig.step(Input::ShardUp { shard: 0, resumed: false });
                }
                // A connection that is replaced; now and then the session goes with it, and the loss was not told.
                35 if !quiet => {
                    let resumed = dice.below(4) > 0;
                    if !resumed {
                        open.clear();
                    }
                    sends.clear();
                    rig.step(Input::ShardUp { shard: 0, resumed });
                }
                38..41 if !quiet => {
                    let ask = dice.below(next + 1);
                    waiting.remove(&ask);
                    rig.step(Input::Cancel { ask: AskId(ask) });
                }
                41..60 => rig.pass_and(dice.below(4_000), &mut |sent, now| {
                    sends.push(now);
                    assert!(
                        sends.iter().filter(|at| now.since(**at) < Duration::from_secs(60)).count() <= 60,
                        "seed {seed}: too many sends"
                    );
                    if let Wanted::Ids(ids) = &sent.wanted {
                        assert!((1..=IDS_MAX).contains(&ids.len()), "seed {seed}");
                    }
                    if sent.wanted == Wanted::All {
                        let last = whole.insert(sent.guild, now);
                        assert!(last.is_none_or(|last| now.since(last) >= Duration::from_secs(30)), "seed {seed}: a whole guild too soon");
                    }
                    open.push((sent, 0, 1));
                }),
                _ if !open.is_empty() && up => {
                    let at = dice.below(open.len() as u64) as usize;
                    let (sent, index, _) = open[at].clone();
                    let count = if sent.wanted == Wanted::All { 3 } else { 1 };
                    match dice.below(20) {
                        0 if !quiet => drop(open.remove(at)),
                        1 if !quiet => {
                            open.remove(at);
                            let (nonce, wait) = (sent.nonce.clone(), Duration::from_millis(dice.below(5_000)));
                            rig.step(Input::RateLimited { nonce: Some(&nonce), guild: sent.guild, retry_after: wait });
                        }
                        _ => {
                            rig.chunk(&sent, index, count, 10, &[dice.below(400)]);
                            open[at].1 += 1;
                            if open[at].1 >= count {
                                open.remove(at);
                            }
                        }
                    }
                }
                _ => {}
            }
            for (ask, _) in rig.answers() {
                assert!(waiting.remove(&ask), "seed {seed}: {ask} was answered twice, or after it had gone");
            }
        }
        // Whoever still waits is answered in bounded time.
        if !up {
            rig.step(Input::ShardUp { shard: 0, resumed: false });
        }
        for _ in 0..600 {
            rig.pass(10_000);
            for (ask, _) in rig.answers() {
                assert!(waiting.remove(&ask), "seed {seed}: {ask} twice");
            }
            if waiting.is_empty() {
                break;
            }
        }
        assert!(waiting.is_empty(), "seed {seed}: never answered: {waiting:?}");
    }
}

impl Rig {
    /// As [`Rig::pass`], telling when each was sent.
    fn pass_and(&mut self, millis: u64, tell: &mut dyn FnMut(Sent, Time)) {
        let until = self.now + Duration::from_millis(millis);
        loop {
            let wake = self.requests.tick(self.now, &mut self.out);
            for sent in self.sent() {
                tell(sent, self.now);
            }
            match wake {
                Some(at) if at <= until => self.now = at.max(self.now + Duration::from_millis(1)),
                _ => break,
            }
        }
        self.now = until;
    }
}
