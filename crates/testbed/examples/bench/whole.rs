//! The whole way of an event inside the process: compressed bytes in, decompressed, decoded, past the session, applied to the cache with
//! the state before, and appended to the log of one group; beside decompressing the same stream alone.
//!
//! One thread and no socket; the allocator is the node's. Both sides are pieces of one stream, the best of several rounds each.
//! What workers take is acknowledged between the pieces that are measured, so that the log stays as small as
//! it is with workers who keep up.

use std::hint::black_box;
use std::sync::Arc;

use smallvec::SmallVec;
use trunkline_cache::{Cache, CacheConfig, Users};
use trunkline_delivery::{Credit, EntryId, Filter, GroupId, GroupLimits, GroupSpec, Hub, HubConfig, Slot, StreamId};
use trunkline_discord::{Compression, Dice, Encoding, Envelope, Event, EventName, Intents, Op, ShardId, Time, Token};
use trunkline_etf::{EtfWriter, Limits, TermWrite};
use trunkline_gateway::batch::{self, Ahead, BATCH_MESSAGES, Frame};
use trunkline_gateway::inflate::{Appended, InflateLimits, Inflater};
use trunkline_gateway::{Clock, Watch};
use trunkline_session::{Action, Config, Following, Input, Session};
use trunkline_sim::Mix;

use crate::stream::{Best, PIECE, zstd_stream};
use crate::table::{Binding, Table};
use crate::{Result, corpus};

/// The whole path may take so many times as long as decompressing alone.
const FLOOR_TIMES: f64 = 2.0;
const SHARD: ShardId = ShardId { bot: 1, index: 0, count: 1 };
const GROUP: GroupId = GroupId(0);
const STREAM: StreamId = StreamId(1);

/// How far an event goes, and what is added there.
const STAGES: [(Until, &str); 5] = [
    (Until::Inflated, "  decompressing the same stream alone"),
    (Until::Decoded, "  … decoding and routing"),
    (Until::Delivered, "  … the session"),
    (Until::Applied, "  … copying the body, and the cache"),
    (Until::Sent, "  … the event, the log and sending"),
];
/// Bytes of presences that lie as they came, in the row that shows what is beyond the limit: so few that nearly each packs another.
const FEW_PRESENCES_BYTES: u64 = 64 << 10;

/// Adds the rows of the whole in-process path.
pub(crate) fn measure(events: usize, rounds: u32, table: &mut Table) -> Result<()> {
    let costs = [Mix::Steady, Mix::Presence].into_iter().map(|mix| of_mix(mix, events, rounds)).collect::<Result<Vec<_>>>()?;
    let mut ns = |what: &str, figure: &dyn Fn(&Costs) -> f64| {
        table.row(what, &costs.iter().map(|cost| format!("{:.0} ns", figure(cost))).collect::<Vec<_>>());
    };
    ns("in process: inflate, decode, session, cache with previous, log", &|cost| cost.stages[STAGES.len() - 1]);
    for (stage, (_, what)) in STAGES.iter().enumerate() {
        // Each on top of the one before; within noise one may seem to cost less than nothing.
        ns(what, &|cost| (cost.stages[stage] - stage.checked_sub(1).map_or(0.0, |before| cost.stages[before])).max(0.0));
    }
    ns("  all of it where hardly a presence may lie as it came", &|cost| cost.few_presences);
    let sizes = costs.iter().map(|Costs { bytes: [plain, packed], .. }| format!("{packed:.0} B, {:.1}x", plain / packed));
    table.row("  an event compressed, and how much longer it is plain", &sizes.collect::<Vec<_>>());
    let ratios: Vec<f64> = costs.iter().map(|cost| cost.stages[STAGES.len() - 1] / cost.stages[0]).collect();
    let figures: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}x")).collect();
    table.target(
        "  times decompressing alone",
        &figures,
        &format!("<= {FLOOR_TIMES}x"),
        ratios.iter().all(|ratio| *ratio <= FLOOR_TIMES),
        Binding::FullForm,
    );
    Ok(())
}

/// How far an event goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Until {
    Inflated,
    Decoded,
    Delivered,
    Applied,
    Sent,
}

/// Nanoseconds an event.
struct Costs {
    /// Up to each of [`STAGES`].
    stages: [f64; STAGES.len()],
    few_presences: f64,
    /// Bytes an event, plain and compressed.
    bytes: [f64; 2],
}

fn of_mix(mix: Mix, events: usize, rounds: u32) -> Result<Costs> {
    let (start, frames) = corpus::record_with_start(mix, events)?;
    let packed = zstd_stream(&frames)?;
    let few = CacheConfig { presence_bytes: FEW_PRESENCES_BYTES, ..CacheConfig::default() };
    let mut bests = [(); STAGES.len() + 1].map(|()| Best::default());
    for _ in 0..rounds {
        for (nth, best) in bests.iter_mut().enumerate() {
            let (until, config) = STAGES.get(nth).map_or((Until::Sent, few), |(until, _)| (*until, CacheConfig::default()));
            // All of them begin where a world has just been built, though only some of them look at it: the processor has then had as much else
            // to do since it last saw these events, and remembers as little of their branches. Were it not so, what it has to learn anew
            // would count as the cost of the first stage with a world.
            let mut way = Way::new(&start, config)?;
            way.until = until;
            for (piece, frames) in packed.chunks(PIECE).enumerate() {
                best.note(piece, || frames.chunks(BATCH_MESSAGES).for_each(|frames| way.take(frames)));
                way.acknowledge();
            }
            if way.taken != frames.len() as u64 {
                return Err(format!("{} of {} events came through", way.taken, frames.len()).into());
            }
        }
    }
    let stages = std::array::from_fn(|nth| bests[nth].per_event(events));
    let bytes = [&frames, &packed].map(|all| all.iter().map(Vec::len).sum::<usize>() as f64 / events as f64);
    Ok(Costs { stages, bytes, few_presences: bests[STAGES.len()].per_event(events) })
}

/// Everything an event passes.
pub(crate) struct Way {
    inflater: Inflater,
    watch: Watch,
    shard: Shard,
    until: Until,
    /// Events that came as far as they should.
    taken: u64,
}

struct Shard {
    session: Session,
    dice: Dice,
    todo: Vec<Action>,
    cache: Cache,
    hub: Hub,
    out: Vec<trunkline_delivery::Action>,
    sent: Vec<EntryId>,
}

impl Way {
    /// Where it stands when everything has been told that comes before the traffic.
    pub(crate) fn new(start: &[Vec<u8>], config: CacheConfig) -> Result<Way> {
        let mut hub = Hub::new(HubConfig { store: false, ..HubConfig::default() });
        let mut out = Vec::new();
        hub.declare(GroupSpec { id: GROUP, name: "bench".into(), filter: Filter::default(), limits: GroupLimits::default() })
            .map_err(|error| format!("{error:?}"))?;
        hub.add_shard(Slot(0), SHARD, None, Time::ZERO, &mut out).map_err(|error| format!("{error:?}"))?;
        let credit = Credit { events: u32::MAX, bytes: u64::MAX };
        hub.join(GROUP, "worker".into(), STREAM, None, credit, Time::ZERO, &mut out).map_err(|error| format!("{error:?}"))?;
        let cache = Cache::new(config, Users::default());
        let config = Config::new((0, 1), Token::new("sim"), Intents::ALL, "ws://localhost");
        let (mut session, _) = Session::new(config, None, 0);
        let (mut dice, mut todo) = (Dice::new(1), Vec::new());
        let hello = hello();
        let hello = Envelope::decode(Encoding::Etf, &hello, &Limits::GATEWAY)?;
        for input in [Input::Start, Input::Opened, Input::Frame(hello), Input::IdentifyGranted] {
            session.step(input, Time::ZERO, &mut dice, &mut todo);
        }
        todo.clear();
        let shard = Shard { session, dice, todo, cache, hub, out, sent: Vec::new() };
        let inflater = Inflater::new(Compression::ZstdStream, InflateLimits::default())?;
        let mut way = Way { inflater, watch: Watch::new(Clock::new()), shard, until: Until::Sent, taken: 0 };
        for frame in start {
            for frame in batch::decode([&frame[..]], Encoding::Etf, &Limits::GATEWAY, &mut way.watch, |_, _, _| ()) {
                let (envelope, _) = frame.decoded.as_ref().map_err(ToString::to_string)?;
                // What was recorded before may have a HELLO of its own.
                if envelope.op == Op::Dispatch && !way.shard.frame(&frame, Until::Sent) {
                    return Err(format!("the session does not deliver what the simulator told at its start: {:?}", envelope.t).into());
                }
            }
        }
        way.acknowledge();
        Ok(way)
    }

    /// Compressed messages that have come together.
    pub(crate) fn take(&mut self, packed: &[Vec<u8>]) {
        let Way { inflater, watch, shard, until, taken } = self;
        if *until == Until::Inflated {
            for packed in packed {
                black_box(inflater.push(black_box(packed)).expect("a sound stream").expect("a whole message"));
                *taken += 1;
            }
            return;
        }
        inflater.clear();
        let mut places = SmallVec::<[_; BATCH_MESSAGES]>::new();
        for packed in packed {
            match inflater.append(black_box(packed)).expect("a sound stream") {
                Appended::Whole(place) => places.push(place),
                Appended::Part | Appended::Plain => panic!("a whole message"),
            }
        }
        let messages = places.iter().map(|place| inflater.message(place));
        let frames = batch::decode(messages, Encoding::Etf, &Limits::GATEWAY, watch, |ahead, kind, ids| match ahead {
            _ if *until < Until::Applied => {}
            Ahead::First => shard.cache.expect(kind, ids),
            Ahead::Second => shard.cache.expect_objects(kind, ids),
        });
        for frame in &frames {
            *taken += u64::from(match *until {
                Until::Decoded => black_box(frame).decoded.as_ref().expect("a sound event").0.op == Op::Dispatch,
                until => shard.frame(frame, until),
            });
        }
        watch.look();
    }

    /// Of everything so far.
    pub(crate) fn acknowledge(&mut self) {
        // As before every batch of frames.
        let now = self.watch.look().at;
        self.shard.hub.acked(STREAM, &self.shard.sent, now, &mut self.shard.out);
        self.shard.sent.clear();
        self.shard.out.clear();
        // A checkpoint would take them.
        drop(self.shard.cache.take_changes());
    }
}

impl Shard {
    /// What the session gives to deliver.
    fn next(&mut self, envelope: &Envelope<'_>, now: Time) -> Option<Following> {
        if let Some(following) = self.session.follow(envelope, now) {
            return Some(following);
        }
        self.session.step(Input::Frame(envelope.clone()), now, &mut self.dice, &mut self.todo);
        let s = self.todo.drain(..).find_map(|action| if let Action::Deliver { s } = action { Some(s) } else { None })?;
        Some(Following { session: self.session.resume_point()?.session, s })
    }

    /// Whether the session gave it to deliver.
    fn frame(&mut self, frame: &Frame<'_>, until: Until) -> bool {
        let Frame { decoded, fields, stamp, room, .. } = frame;
        let (envelope, routing) = decoded.as_ref().expect("a sound event");
        let Some(Following { session, s }) = self.next(envelope, stamp.at) else { return false };
        if until == Until::Delivered {
            return true;
        }
        let routing = *routing;
        let name = envelope.t.as_deref().unwrap_or_default();
        let kind = envelope.kind;
        let body = room.fill(envelope.d.raw());
        let change = self.cache.apply_found(kind, envelope.d, fields, routing, &body);
        if until == Until::Applied {
            black_box(change);
            return true;
        }
        let event = Event {
            shard: SHARD,
            session,
            s,
            epoch: 1,
            kind,
            name: EventName::new(kind, name),
            encoding: Encoding::Etf,
            body,
            previous: change.previous,
            origin: change.origin,
            routing,
            received_at_unix_us: stamp.unix_us,
            received_at: stamp.at,
        };
        self.hub.offer(Slot(0), Arc::new(event), stamp.at, &mut self.out);
        for action in self.out.drain(..) {
            if let trunkline_delivery::Action::Send { entry, .. } = action {
                self.sent.push(entry);
            }
        }
        true
    }
}

fn hello() -> Vec<u8> {
    let mut w = EtfWriter::new();
    w.begin_map(2);
    w.key("op");
    w.uint(Op::Hello.code());
    w.key("d");
    w.begin_map(1);
    w.key("heartbeat_interval");
    w.uint(41_250);
    w.end_map();
    w.end_map();
    w.into_vec()
}

// The script tells callgrind to count inside of the functions of these names.

#[inline(never)]
pub(crate) fn counted_inflate(packed: &[Vec<u8>]) -> Result<()> {
    let mut inflater = Inflater::new(Compression::ZstdStream, InflateLimits::default())?;
    for frame in packed {
        black_box(inflater.push(black_box(frame)).expect("a sound stream").expect("a whole message"));
    }
    Ok(())
}

/// Goes over events once.
///
/// # Errors
/// What comes before them is none of a session's start.
pub(crate) fn whole(start: &[Vec<u8>], packed: &[Vec<u8>]) -> Result<()> {
    counted_whole(&mut Way::new(start, CacheConfig::default())?, packed);
    Ok(())
}

/// Everything an event passes, acknowledging it included.
#[inline(never)]
fn counted_whole(way: &mut Way, packed: &[Vec<u8>]) {
    for frames in packed.chunks(PIECE) {
        frames.chunks(BATCH_MESSAGES).for_each(|frames| way.take(frames));
        way.acknowledge();
    }
}
