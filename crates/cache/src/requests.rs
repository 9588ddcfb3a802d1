//! Which members to ask Discord for, and when: one bot's Request Guild Members commands.
//!
//! Discord tells only some of a guild's members by itself; the rest has to be asked for (op 8), and every way of asking has its limit: a
//! whole guild once per 30 s, at most 100 ids, 120 commands per minute and connection for everything (Discord docs, Gateway Events: Request
//! Guild Members; Rate Limited). [`Requests`] is the mind of it: it joins those who wait for the same thing, keeps the limits, learns from
//! RATE_LIMITED, remembers for a while who is no member, and works through whole guilds in the background when a bot wants all members.
//!
//! It has no clock and sends nothing itself: [`Requests::step`] and [`Requests::tick`] answer with [`Action`]s. The members of a chunk do not
//! pass through here; the chunk is applied to the cache like every event, and told here by its numbers.
//!
//! # Limits
//! Everything is bounded by [`RequestLimits`]: jobs, who waits for one, remembered absences, requests under way on a shard. What is over a
//! limit is refused with [`Refusal`], never queued without bound.

mod callers;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use trunkline_discord::Time;

use callers::Caller;
pub use callers::{AskId, Refusal};

/// How far a queue is looked through for something that may be sent now.
const LOOK_AHEAD: usize = 256;

/// Ids that one request may carry (Discord docs: Request Guild Members, `user_ids`).
pub const IDS_MAX: usize = 100;

/// Figures that [`Requests`] keeps to.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Requests waiting or under way, of the whole bot.
    pub jobs_max: usize,
    /// Callers that wait for one request.
    pub callers_max: usize,
    /// Absent members that are remembered.
    pub absent_max: usize,
    /// How long an absence is remembered.
    pub absent_for: Duration,
    /// Between two requests for the whole of one guild (Discord: 30 s; a little more, since clocks differ).
    pub whole_every: Duration,
    /// Requests per minute on one connection; Discord allows 120 commands of all kinds, and others want to send too.
    pub sends_per_minute: u32,
    /// Of these, so many are kept for requests that somebody waits for.
    pub sends_kept: u32,
    /// Requests under way on one shard.
    pub under_way_max: usize,
    /// Of these, whole guilds that nobody waits for.
    pub eager_under_way_max: usize,
    /// A request without an answer, or without the next chunk, for so long is asked again.
    pub answer_within: Duration,
    /// So often a request is sent before those who wait are told that Discord does not answer.
    pub tries_max: u8,
    /// How long a first id waits for others that join its request.
    pub gather: Duration,
}

impl Default for RequestLimits {
    fn default() -> RequestLimits {
        RequestLimits {
            jobs_max: 300_000,
            callers_max: 10_000,
            absent_max: 100_000,
            absent_for: Duration::from_secs(60),
            whole_every: Duration::from_millis(30_500),
            sends_per_minute: 60,
            sends_kept: 20,
            under_way_max: 8,
            eager_under_way_max: 2,
            answer_within: Duration::from_secs(15),
            tries_max: 3,
            gather: Duration::from_millis(5),
        }
    }
}

/// Which members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Everybody (needs the GUILD_MEMBERS intent).
    All,
    /// Those whose user name begins so; Discord answers with 100 at most.
    Query {
        /// Beginning of the name; not empty.
        text: String,
        /// How many at most, 1 to 100.
        limit: u32,
    },
    /// These users.
    Ids(Vec<u64>),
}

/// What happens to [`Requests`].
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A shard can take commands from now on. `resumed`: its session went on, so that chunks that were missed come again.
    ShardUp {
        /// Which shard of the bot.
        shard: u32,
        /// Whether the session was resumed.
        resumed: bool,
    },
    /// A shard's session is lost: what was under way will never be answered, and nothing can be sent until `ShardUp`. Not for a connection
    /// whose session is to be resumed: that brings what was missed.
    ShardDown {
        /// Which shard of the bot.
        shard: u32,
    },
    /// A guild was told whole; if the bot wants all members and lacks some, they are asked for.
    Guild {
        /// Its id.
        guild: u64,
        /// The shard it is on.
        shard: u32,
        /// Members that Discord counts.
        told: u64,
        /// Members that are held.
        held: u64,
    },
    /// A guild is gone.
    GuildGone {
        /// Its id.
        guild: u64,
    },
    /// A guild has an outage: Discord answers nothing of it until it is told whole again.
    GuildAway {
        /// Its id.
        guild: u64,
    },
    /// Somebody joined a guild, so is absent no more.
    Joined {
        /// The guild.
        guild: u64,
        /// The user.
        user: u64,
    },
    /// Somebody asks.
    Ask {
        /// Who; not in use.
        ask: AskId,
        /// The guild.
        guild: u64,
        /// The shard it is on.
        shard: u32,
        /// Which members.
        wanted: Wanted,
        /// With presences (needs the GUILD_PRESENCES intent).
        presences: bool,
        /// Whether it waits for a lost session to come back, to be asked again; else it is told of the loss at once. Who is patient is told what Discord says
        /// of everybody, those included who were found absent a while ago.
        patient: bool,
    },
    /// A caller does not wait any more.
    Cancel {
        /// Who.
        ask: AskId,
    },
    /// A GUILD_MEMBERS_CHUNK came.
    Chunk {
        /// Its nonce.
        nonce: Option<&'a str>,
        /// Its guild.
        guild: u64,
        /// Its number, from 0.
        index: u32,
        /// How many there are.
        count: u32,
        /// Members in it.
        members: u64,
        /// Their ids, where [`Requests::wants_users`] says so for the nonce; else none.
        users: &'a [u64],
        /// Ids that are no members.
        not_found: &'a [u64],
    },
    /// A RATE_LIMITED for op 8 came.
    RateLimited {
        /// Its nonce.
        nonce: Option<&'a str>,
        /// Its guild.
        guild: u64,
        /// How long to wait.
        retry_after: Duration,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send Request Guild Members.
    Send {
        /// On which shard.
        shard: u32,
        /// The guild.
        guild: u64,
        /// Which members.
        wanted: Wanted,
        /// With presences.
        presences: bool,
        /// At most 32 bytes.
        nonce: String,
    },
    /// The chunk that was just told is one that these callers wait for.
    Chunk {
        /// Callers, each with the users that it asked for, ascending, where the chunk may hold others too: their requests were joined.
        asks: Vec<(AskId, Option<Arc<[u64]>>)>,
    },
    /// A caller's request is over.
    Answered {
        /// Who.
        ask: AskId,
        /// How it ended: members that came of those it asked for, or why none will.
        outcome: Result<u64, Refusal>,
    },
}

/// How far the fetching of whole guilds is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    /// Guilds whose members were or are to be fetched.
    pub guilds: u64,
    /// Those that are complete.
    pub guilds_done: u64,
    /// Members that these guilds have by Discord's count.
    pub members: u64,
    /// Members that have come.
    pub members_come: u64,
    /// Requests that wait.
    pub waiting: u64,
    /// Requests under way.
    pub under_way: u64,
    /// RATE_LIMITED answers so far.
    pub rate_limited: u64,
    /// Requests that were sent.
    pub sent: u64,
    /// How long the rest takes at the pace so far; none before anything came or when all is done.
    pub left: Option<Duration>,
}

struct Job {
    guild: u64,
    shard: u32,
    wanted: Wanted,
    presences: bool,
    asks: Vec<AskId>,
    eager: bool,
    tries: u8,
    not_before: Time,
    /// When it was sent, or its last chunk came; none while it waits.
    moved: Option<Time>,
    /// Chunks that came, by number.
    chunks: Vec<bool>,
    come: u64,
}

#[derive(Default)]
struct Shard {
    up: bool,
    /// Since when it is not; none where nobody has waited for it yet.
    down_since: Option<Time>,
    /// It is not up because its session was lost, rather than because it has yet to begin.
    lost: bool,
    urgent: VecDeque<u64>,
    eager: VecDeque<u64>,
    /// Times of the sends of the last minute.
    sends: VecDeque<Time>,
    under_way: Vec<u64>,
}

#[derive(Default)]
struct Guild {
    /// When the whole of it may be asked for again.
    whole_at: Time,
    /// The job that fetches all of it in the background.
    job: Option<u64>,
    eager: bool,
    done: bool,
    told: u64,
    come: u64,
    /// Of these, what was known before anybody asked.
    held: u64,
}

/// The requests of one bot.
pub struct Requests {
    limits: RequestLimits,
    eager: bool,
    life: u32,
    jobs: BTreeMap<u64, Job>,
    /// Jobs by guild.
    of_guild: HashMap<u64, Vec<u64>>,
    next: u64,
    shards: BTreeMap<u32, Shard>,
    guilds: HashMap<u64, Guild>,
    callers: HashMap<AskId, Caller>,
    absent: HashMap<(u64, u64), Time>,
    absent_order: VecDeque<(Time, (u64, u64))>,
    began: Option<Time>,
    rate_limited: u64,
    sent: u64,
}

impl Requests {
    /// `eager`: whole guilds are fetched in the background. `life` tells this process's nonces from an earlier one's, whose chunks may
    /// still come.
    pub fn new(limits: RequestLimits, eager: bool, life: u32) -> Requests {
        Requests {
            limits,
            eager,
            life,
            jobs: BTreeMap::new(),
            of_guild: HashMap::new(),
            next: 0,
            shards: BTreeMap::new(),
            guilds: HashMap::new(),
            callers: HashMap::new(),
            absent: HashMap::new(),
            absent_order: VecDeque::new(),
            began: None,
            rate_limited: 0,
            sent: 0,
        }
    }

    /// Takes one input. Call [`Requests::tick`] afterwards: it sends what can be sent.
    pub fn step(&mut self, input: Input<'_>, now: Time, out: &mut Vec<Action>) {
        match input {
            Input::ShardUp { shard, resumed } => self.shard_up(shard, resumed),
            Input::ShardDown { shard } => self.shard_down(shard, now, out),
            Input::Guild { guild, shard, told, held } => self.guild(guild, shard, told, held, now),
            Input::GuildGone { guild } => self.guild_gone(guild, now, out),
            Input::GuildAway { guild } => {
                if let Some(known) = self.guilds.get_mut(&guild) {
                    // Nothing of it can be fetched: it counts again once it is told.
                    known.eager = false;
                }
                self.fail_all(guild, Refusal::Outage, out);
            }
            Input::Joined { guild, user } => drop(self.absent.remove(&(guild, user))),
            Input::Ask { ask, guild, shard, wanted, presences, patient } => {
                self.ask(ask, guild, shard, wanted, presences, patient, now, out);
            }
            Input::Cancel { ask } => self.cancel(ask),
            Input::Chunk { nonce, guild, index, count, members, users, not_found } => {
                for user in not_found {
                    self.remember_absent(guild, *user, now);
                }
                let Some(job) = nonce.and_then(|nonce| self.job_of(nonce)) else { return };
                self.chunk(job, guild, (index, count), (members, users), now, out);
            }
            Input::RateLimited { nonce, guild, retry_after } => self.limited(nonce, guild, retry_after, now),
        }
    }

    /// Sends what may be sent, asks again what was not answered; tells when to be called again at the latest.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Action>) -> Option<Time> {
        while let Some((until, key)) = self.absent_order.front().copied()
            && (until <= now || self.absent_order.len() > self.limits.absent_max)
        {
            self.absent_order.pop_front();
            if self.absent.get(&key) == Some(&until) {
                self.absent.remove(&key);
            }
        }
        let mut wake = None;
        let idle = |shard: &Shard| shard.urgent.is_empty() && shard.eager.is_empty() && shard.under_way.is_empty();
        let shards: Vec<u32> = self.shards.iter().filter(|(_, shard)| !idle(shard)).map(|(number, _)| *number).collect();
        for shard in shards {
            self.give_up(shard, now, out, &mut wake);
            self.ask_again(shard, now, out, &mut wake);
            self.send(shard, now, out, &mut wake);
        }
        wake
    }

    /// Whether a chunk with this nonce answers a request by ids, of which callers may have asked for some each.
    pub fn wants_users(&self, nonce: &str) -> bool {
        self.job_of(nonce).and_then(|number| self.jobs.get(&number)).is_some_and(|job| matches!(job.wanted, Wanted::Ids(_)))
    }

    /// Whether a user was found to be no member a while ago.
    pub fn is_absent(&self, guild: u64, user: u64, now: Time) -> bool {
        self.absent.get(&(guild, user)).is_some_and(|until| *until > now)
    }

    /// How far the fetching of whole guilds is.
    pub fn progress(&self, now: Time) -> Progress {
        let mut progress = Progress { rate_limited: self.rate_limited, sent: self.sent, ..Progress::default() };
        let mut brought = 0;
        for guild in self.guilds.values().filter(|guild| guild.eager) {
            let come = guild.come.min(guild.told);
            progress.guilds += 1;
            progress.guilds_done += u64::from(guild.done);
            progress.members += guild.told;
            progress.members_come += come;
            brought += come.saturating_sub(guild.held);
        }
        for job in self.jobs.values() {
            *(if job.moved.is_some() { &mut progress.under_way } else { &mut progress.waiting }) += 1;
        }
        let left = progress.members - progress.members_come;
        if let Some(began) = self.began.filter(|_| left > 0) {
            // By what requests have brought so far, and no sooner than they may be sent: guilds that a GUILD_CREATE told whole say nothing of either.
            let measured = (brought > 0).then(|| {
                let micros = u128::from(u64::try_from(now.since(began).as_micros()).unwrap_or(u64::MAX));
                Duration::from_micros(u64::try_from(micros * u128::from(left) / u128::from(brought)).unwrap_or(u64::MAX))
            });
            let per_minute = self.limits.sends_per_minute.saturating_sub(self.limits.sends_kept).max(1);
            let waiting = self.shards.values().map(|shard| shard.eager.len()).max().unwrap_or(0) as u64;
            let sends = (waiting > 0).then(|| Duration::from_millis(waiting.saturating_mul(60_000) / u64::from(per_minute)));
            progress.left = measured.max(sends);
        }
        progress
    }

    fn shard_up(&mut self, shard: u32, resumed: bool) {
        let state = self.shards.entry(shard).or_default();
        state.up = true;
        state.lost = false;
        state.down_since = None;
        // The limit is per connection.
        state.sends.clear();
        if !resumed {
            // The loss of the session may not have been told.
            self.put_all_back(shard);
        }
    }

    fn shard_down(&mut self, shard: u32, now: Time, out: &mut Vec<Action>) {
        let state = self.shards.entry(shard).or_default();
        state.up = false;
        state.lost = true;
        state.down_since.get_or_insert(now);
        self.put_all_back(shard);
        self.tell_waiting(shard, false, out);
    }

    fn put_all_back(&mut self, shard: u32) {
        let lost = self.shards.get_mut(&shard).map(|state| std::mem::take(&mut state.under_way)).unwrap_or_default();
        for number in lost.into_iter().rev() {
            self.put_back(number);
        }
    }

    /// A request that was under way waits again, in front.
    fn put_back(&mut self, number: u64) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        job.moved = None;
        job.chunks.clear();
        let shard = self.shards.entry(job.shard).or_default();
        shard.under_way.retain(|other| *other != number);
        let queue = if job.eager { &mut shard.eager } else { &mut shard.urgent };
        queue.push_front(number);
    }

    fn guild(&mut self, guild: u64, shard: u32, told: u64, held: u64, now: Time) {
        if !self.eager {
            return;
        }
        let known = self.guilds.entry(guild).or_default();
        known.eager = true;
        known.told = told;
        known.come = held.min(told);
        known.held = known.come;
        known.done = held >= told;
        if known.done || known.job.is_some() || self.jobs.len() >= self.limits.jobs_max {
            return;
        }
        if !self.guilds.values().any(|other| other.job.is_some()) {
            // All was there until now: how long that is ago says nothing of how long this takes.
            self.began = None;
        }
        self.began.get_or_insert(now);
        let number = self.add(guild, shard, Wanted::All, false, None, now);
        self.guilds.entry(guild).or_default().job = Some(number);
    }

    fn add(&mut self, guild: u64, shard: u32, wanted: Wanted, presences: bool, ask: Option<AskId>, not_before: Time) -> u64 {
        self.next += 1;
        let (number, eager) = (self.next, ask.is_none());
        let asks = ask.into_iter().collect();
        let job = Job { guild, shard, wanted, presences, asks, eager, tries: 0, not_before, moved: None, chunks: Vec::new(), come: 0 };
        self.jobs.insert(number, job);
        self.of_guild.entry(guild).or_default().push(number);
        let shard = self.shards.entry(shard).or_default();
        if eager {
            shard.eager.push_back(number)
        } else {
            shard.urgent.push_back(number)
        }
        number
    }

    fn guild_gone(&mut self, guild: u64, now: Time, out: &mut Vec<Action>) {
        // A bot that is asked back at once still has to wait.
        let waits = self.guilds.remove(&guild).map(|known| known.whole_at).filter(|at| *at > now);
        if let Some(whole_at) = waits {
            self.guilds.insert(guild, Guild { whole_at, ..Guild::default() });
        }
        self.fail_all(guild, Refusal::GuildGone, out);
    }

    /// Who waits for members of a guild is told, and nobody is asked: the background begins again when the guild is told.
    fn fail_all(&mut self, guild: u64, refusal: Refusal, out: &mut Vec<Action>) {
        for number in self.of_guild.remove(&guild).unwrap_or_default() {
            self.fail(number, refusal, out);
        }
    }

    fn job_of(&self, nonce: &str) -> Option<u64> {
        let (life, number) = nonce.strip_prefix('t')?.split_once('-')?;
        (u32::from_str_radix(life, 16).ok()? == self.life).then_some(())?;
        u64::from_str_radix(number, 16).ok()
    }

    fn chunk(
        &mut self,
        number: u64,
        guild: u64,
        (index, count): (u32, u32),
        (members, users): (u64, &[u64]),
        now: Time,
        out: &mut Vec<Action>,
    ) {
        let Some(job) = self.jobs.get_mut(&number).filter(|job| job.guild == guild && job.moved.is_some()) else { return };
        let index = index as usize;
        // A guild of ten million members takes ten thousand chunks; whatever claims more is no answer to this.
        let count = (count as usize).clamp(1, 100_000);
        if index >= count || job.chunks.get(index) == Some(&true) {
            return;
        }
        job.chunks.resize(count.max(job.chunks.len()), false);
        job.chunks[index] = true;
        job.moved = Some(now);
        job.come += members;
        let (done, come, whole) = (job.chunks.iter().all(|come| *come), job.come, job.wanted == Wanted::All);
        let asks = job.asks.clone();
        self.tell_chunk(number, members, users, out);
        if whole && let Some(known) = self.guilds.get_mut(&guild) {
            known.come = known.come.max(come);
            if done && known.eager {
                // What came is all there is, whatever the count said.
                known.done = true;
                known.told = come;
            }
        }
        if done {
            self.remove(number);
            for ask in asks {
                self.answered(ask, number, None, out);
            }
        }
    }

    fn remove(&mut self, number: u64) {
        let Some(job) = self.jobs.remove(&number) else { return };
        if let Some(others) = self.of_guild.get_mut(&job.guild) {
            others.retain(|other| *other != number);
            if others.is_empty() {
                self.of_guild.remove(&job.guild);
            }
        }
        if let Some(shard) = self.shards.get_mut(&job.shard) {
            shard.under_way.retain(|other| *other != number);
            shard.urgent.retain(|other| *other != number);
            shard.eager.retain(|other| *other != number);
        }
        if let Some(guild) = self.guilds.get_mut(&job.guild)
            && guild.job == Some(number)
        {
            guild.job = None;
        }
    }

    fn fail(&mut self, number: u64, refusal: Refusal, out: &mut Vec<Action>) {
        let asks = self.jobs.get_mut(&number).map(|job| std::mem::take(&mut job.asks)).unwrap_or_default();
        self.remove(number);
        for ask in asks {
            self.answered(ask, number, Some(refusal), out);
        }
    }

    fn limited(&mut self, nonce: Option<&str>, guild: u64, retry_after: Duration, now: Time) {
        self.rate_limited += 1;
        let until = now + retry_after.clamp(Duration::from_millis(100), Duration::from_secs(600));
        let named = nonce.and_then(|nonce| self.job_of(nonce));
        // Without a nonce it can only mean the whole guild.
        let whole = |number: &u64| self.jobs.get(number).is_some_and(|job| job.wanted == Wanted::All && job.moved.is_some());
        let number = named.or_else(|| self.of_guild.get(&guild)?.iter().copied().find(whole));
        if let Some(number) = number
            && let Some(job) = self.jobs.get_mut(&number)
        {
            job.not_before = until;
            if job.moved.is_some() {
                self.put_back(number);
            }
        }
        let known = self.guilds.entry(guild).or_default();
        known.whole_at = known.whole_at.max(until);
    }

    fn remember_absent(&mut self, guild: u64, user: u64, now: Time) {
        let until = now + self.limits.absent_for;
        self.absent.insert((guild, user), until);
        self.absent_order.push_back((until, (guild, user)));
    }

    fn ask_again(&mut self, shard: u32, now: Time, out: &mut Vec<Action>, wake: &mut Option<Time>) {
        let Some(state) = self.shards.get(&shard).filter(|state| state.up) else { return };
        for number in state.under_way.clone() {
            let Some(job) = self.jobs.get_mut(&number) else { continue };
            let due = job.moved.unwrap_or(now) + self.limits.answer_within;
            if due > now {
                sooner(wake, due);
                continue;
            }
            job.tries = job.tries.saturating_add(1);
            let background = self.guilds.get(&job.guild).and_then(|guild| guild.job) == Some(number);
            if !background && job.asks.is_empty() {
                // Whoever asked has gone, and the answer never came.
                self.remove(number);
                continue;
            }
            if job.tries >= self.limits.tries_max && !job.asks.is_empty() {
                if !background {
                    self.fail(number, Refusal::NoAnswer, out);
                    continue;
                }
                // Who joined is told; the guild itself stays wanted.
                job.eager = true;
                for ask in std::mem::take(&mut job.asks) {
                    self.answered(ask, number, Some(Refusal::NoAnswer), out);
                }
            }
            // One that nobody waits for comes again after all others, ever later.
            if let Some(job) = self.jobs.get_mut(&number).filter(|job| job.asks.is_empty()) {
                job.not_before = now + self.limits.whole_every * u32::from(job.tries.min(20));
            }
            self.put_back(number);
        }
    }

    fn send(&mut self, shard: u32, now: Time, out: &mut Vec<Action>, wake: &mut Option<Time>) {
        let limits = self.limits;
        let Some(state) = self.shards.get_mut(&shard).filter(|state| state.up) else { return };
        while state.sends.front().is_some_and(|sent| now.since(*sent) >= Duration::from_secs(60)) {
            state.sends.pop_front();
        }
        for eager in [false, true] {
            let mut waiting = 0;
            loop {
                let allowed = if eager { limits.sends_per_minute.saturating_sub(limits.sends_kept) } else { limits.sends_per_minute };
                let queue = if eager { &state.eager } else { &state.urgent };
                let Some(number) = queue.get(waiting).copied().filter(|_| waiting < LOOK_AHEAD) else { break };
                if state.sends.len() >= allowed as usize {
                    // The first that leaves the window makes room for those that may use all of it.
                    let over = state.sends.len() - allowed as usize;
                    state.sends.get(over).into_iter().for_each(|sent| sooner(wake, *sent + Duration::from_secs(60)));
                    break;
                }
                let under_way =
                    state.under_way.iter().filter(|number| !eager || self.jobs.get(*number).is_some_and(|job| job.eager)).count();
                if state.under_way.len() >= limits.under_way_max || (eager && under_way >= limits.eager_under_way_max) {
                    break;
                }
                let Some(job) = self.jobs.get_mut(&number) else { break };
                let mut at = job.not_before;
                if job.wanted == Wanted::All {
                    at = at.max(self.guilds.get(&job.guild).map_or(Time::ZERO, |guild| guild.whole_at));
                }
                if at > now {
                    sooner(wake, at);
                    waiting += 1;
                    continue;
                }
                if eager {
                    state.eager.remove(waiting)
                } else {
                    state.urgent.remove(waiting)
                };
                job.moved = Some(now);
                job.come = 0;
                if job.wanted == Wanted::All {
                    self.guilds.entry(job.guild).or_default().whole_at = now + limits.whole_every;
                }
                state.under_way.push(number);
                state.sends.push_back(now);
                self.sent += 1;
                sooner(wake, now + limits.answer_within);
                out.push(Action::Send {
                    shard,
                    guild: job.guild,
                    wanted: job.wanted.clone(),
                    presences: job.presences,
                    nonce: format!("t{:x}-{number:x}", self.life),
                });
            }
        }
    }
}

fn sooner(wake: &mut Option<Time>, at: Time) {
    *wake = Some(wake.map_or(at, |other| other.min(at)));
}
