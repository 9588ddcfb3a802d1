//! The whole way of an event inside the process: compressed bytes in, decompressed, decoded, past the session, applied to the cache with
//! the state before, and appended to the log of one group; beside decompressing the same stream alone.
//!
//! One thread and no socket. What workers take is acknowledged between the pieces that are measured, so that the log stays as small as
//! it is with workers who keep up.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use trunkline_cache::{Cache, CacheConfig, Users};
use trunkline_delivery::{Credit, EntryId, Filter, GroupId, GroupLimits, GroupSpec, Hub, HubConfig, Slot, StreamId};
use trunkline_discord::{Compression, Dice, Encoding, Envelope, Event, EventKind, EventName, Intents, Op, Routing, ShardId, Time, Token};
use trunkline_etf::{EtfWriter, Limits, TermWrite};
use trunkline_gateway::inflate::{InflateLimits, Inflater};
use trunkline_session::{Action, Config, Input, Session};
use trunkline_sim::Mix;

use crate::decode::{Best, PIECE, zstd_stream};
use crate::table::{Binding, Table};
use crate::{Form, Result, corpus};

/// The whole path may take so many times as long as decompressing alone.
const FLOOR_TIMES: f64 = 2.0;
const SHARD: ShardId = ShardId { bot: 1, index: 0, count: 1 };
const GROUP: GroupId = GroupId(0);
const STREAM: StreamId = StreamId(1);

/// Adds the rows of the whole in-process path.
pub(crate) fn measure(form: Form, table: &mut Table) -> Result<()> {
    let costs = [Mix::Steady, Mix::Presence].into_iter().map(|mix| of_mix(mix, form)).collect::<Result<Vec<_>>>()?;
    let ns = |side: usize| costs.iter().map(|cost| format!("{:.0} ns", cost[side])).collect::<Vec<_>>();
    table.row("in process: inflate, decode, session, cache with previous, log", &ns(1));
    table.row("  decompressing the same stream alone", &ns(0));
    let ratios: Vec<f64> = costs.iter().map(|[floor, whole]| whole / floor).collect();
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

/// Nanoseconds an event: decompressing alone, and all of it.
fn of_mix(mix: Mix, form: Form) -> Result<[f64; 2]> {
    let (start, frames) = corpus::record_with_start(mix, form.events)?;
    let packed = zstd_stream(&frames)?;
    let (mut floor, mut whole) = (Best::default(), Best::default());
    for _ in 0..form.rounds.min(10) {
        let mut inflater = Inflater::new(Compression::ZstdStream, InflateLimits::default())?;
        for (piece, frames) in packed.chunks(PIECE).enumerate() {
            floor.note(piece, || {
                for frame in frames {
                    black_box(inflater.push(black_box(frame)).expect("a sound stream").expect("a whole message"));
                }
            });
        }
        let mut way = Way::new(&start)?;
        for (piece, frames) in packed.chunks(PIECE).enumerate() {
            whole.note(piece, || frames.iter().for_each(|frame| way.take(frame)));
            way.acknowledge();
        }
        if way.delivered != frames.len() as u64 {
            return Err(format!("{} of {} events were delivered", way.delivered, frames.len()).into());
        }
    }
    Ok([floor.per_event(form.events), whole.per_event(form.events)])
}

/// Everything an event passes.
pub(crate) struct Way {
    inflater: Inflater,
    shard: Shard,
    pub(crate) delivered: u64,
}

struct Shard {
    session: Session,
    dice: Dice,
    todo: Vec<Action>,
    cache: Cache,
    hub: Hub,
    out: Vec<trunkline_delivery::Action>,
    sent: Vec<EntryId>,
    began: Instant,
}

impl Way {
    /// Where it stands when everything has been told that comes before the traffic.
    pub(crate) fn new(start: &[Vec<u8>]) -> Result<Way> {
        let mut hub = Hub::new(HubConfig { store: false, ..HubConfig::default() });
        let mut out = Vec::new();
        hub.declare(GroupSpec { id: GROUP, name: "bench".into(), filter: Filter::default(), limits: GroupLimits::default() })
            .map_err(|error| format!("{error:?}"))?;
        hub.add_shard(Slot(0), SHARD, None, Time::ZERO, &mut out).map_err(|error| format!("{error:?}"))?;
        let credit = Credit { events: u32::MAX, bytes: u64::MAX };
        hub.join(GROUP, "worker".into(), STREAM, None, credit, Time::ZERO, &mut out).map_err(|error| format!("{error:?}"))?;
        let config = Config::new((0, 1), Token::new("sim"), Intents::ALL, "ws://localhost");
        let (mut session, _) = Session::new(config, None, 0);
        let (mut dice, mut todo) = (Dice::new(1), Vec::new());
        let hello = hello();
        let hello = Envelope::decode(Encoding::Etf, &hello, &Limits::GATEWAY)?;
        for input in [Input::Start, Input::Opened, Input::Frame(hello), Input::IdentifyGranted] {
            session.step(input, Time::ZERO, &mut dice, &mut todo);
        }
        todo.clear();
        let cache = Cache::new(CacheConfig::default(), Users::default());
        let shard = Shard { session, dice, todo, cache, hub, out, sent: Vec::new(), began: Instant::now() };
        let mut way = Way { inflater: Inflater::new(Compression::ZstdStream, InflateLimits::default())?, shard, delivered: 0 };
        for frame in start {
            let (envelope, routing) = Envelope::decode_routed(Encoding::Etf, frame, &Limits::GATEWAY)?;
            // What was recorded before may have a HELLO of its own.
            if envelope.op == Op::Dispatch && way.shard.frame(&envelope, routing) == 0 {
                return Err(format!("the session does not deliver what the simulator told at its start: {:?}", envelope.t).into());
            }
        }
        way.acknowledge();
        Ok(way)
    }

    /// One compressed message.
    pub(crate) fn take(&mut self, packed: &[u8]) {
        let plain = self.inflater.push(black_box(packed)).expect("a sound stream").expect("a whole message");
        let (envelope, routing) = Envelope::decode_routed(Encoding::Etf, plain, &Limits::GATEWAY).expect("a sound event");
        self.delivered += self.shard.frame(&envelope, routing);
    }

    /// Of everything so far.
    pub(crate) fn acknowledge(&mut self) {
        self.shard.hub.acked(STREAM, &self.shard.sent, self.shard.now(), &mut self.shard.out);
        self.shard.sent.clear();
        self.shard.out.clear();
        // A checkpoint would take them.
        drop(self.shard.cache.take_changes());
    }
}

impl Shard {
    fn now(&self) -> Time {
        Time::ZERO + self.began.elapsed()
    }

    /// How many events the session gave to deliver: one, or none.
    fn frame(&mut self, envelope: &Envelope<'_>, routing: Routing) -> u64 {
        let now = self.now();
        self.session.step(Input::Frame(envelope.clone()), now, &mut self.dice, &mut self.todo);
        let delivered = self.todo.drain(..).find_map(|action| if let Action::Deliver { s } = action { Some(s) } else { None });
        let (Some(s), Some(point)) = (delivered, self.session.resume_point()) else { return 0 };
        let name = envelope.t.as_deref().unwrap_or_default();
        let kind = EventKind::from_name(name);
        let body = Bytes::copy_from_slice(envelope.d.raw());
        let change = self.cache.apply(kind, envelope.d, &body);
        let event = Event {
            shard: SHARD,
            session: point.session,
            s,
            epoch: 1,
            kind,
            name: EventName::new(kind, name),
            encoding: Encoding::Etf,
            body,
            previous: change.previous,
            origin: change.origin,
            routing,
            received_at_unix_us: now.as_micros(),
            received_at: now,
        };
        self.hub.offer(Slot(0), Arc::new(event), now, &mut self.out);
        for action in self.out.drain(..) {
            if let trunkline_delivery::Action::Send { entry, .. } = action {
                self.sent.push(entry);
            }
        }
        1
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
