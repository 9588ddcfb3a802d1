//! A core's loop: what it waits for, and in which order it looks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashMap;
use tokio::sync::oneshot;
use trunkline_delivery::{Hub, HubConfig};
use trunkline_discord::EventKind;
use trunkline_doors::CoreSide;
use trunkline_doors::look::{LOOKS_AT_ONCE, LOOKS_FOR};
use trunkline_gateway::ShardControl;

use super::checkpoint::CHECKPOINT_EVERY;
use super::shards::add_shard;
use super::{CoreChannels, CoreInput, CoreSetup, CoreState};

/// Commands taken from streams before the loop looks elsewhere.
const COMMANDS_AT_ONCE: usize = 256;

/// Runs a core until it is told to finish. To be called on the core's own thread, inside its single-threaded runtime.
pub async fn run_core(setup: CoreSetup, channels: CoreChannels) {
    let CoreSetup { core, groups, keeper, clock, hash_seed, ready, placed, falls, unsaved_bytes } = setup;
    let CoreChannels { mut commands, mut looks, mut inputs, answers } = channels;
    let limits = groups.iter().map(|group| (group.id, group.limits)).collect();
    let group_names = groups.iter().map(|group| group.name.clone()).collect();
    let mut hub = Hub::new(HubConfig { hash_seed, ..HubConfig::default() });
    for group in groups {
        if let Err(error) = hub.declare(group) {
            // The configuration allows no more groups than a hub takes, and no name twice.
            tracing::error!("a worker group was not taken: {error}");
        }
    }
    let wake = Rc::new(tokio::sync::Notify::new());
    let flush = Rc::new(tokio::sync::Notify::new());
    let state = Rc::new(RefCell::new(CoreState {
        core,
        side: CoreSide::new(hub),
        up: Vec::new(),
        shards: Vec::new(),
        written_at: clock.now(),
        clock,
        keeper,
        answers,
        writing: false,
        checkpoint_due: false,
        wake: wake.clone(),
        flush: flush.clone(),
        flush_due: false,
        events: [0; EventKind::ALL.len() + 1],
        malformed: 0,
        gaps: BTreeMap::new(),
        group_names,
        falls,
        unsaved_bytes,
        unsaved_let_go: 0,
        reads_waiting: Vec::new(),
        retry_at: None,
        limits,
        shares: (0, 0),
        placed,
        closing: false,
        finishing: false,
        users: HashMap::new(),
        ready,
    }));
    // Woken by the first event of a turn, it comes behind all drivers that are ready at that moment: their events reach a stream with one
    // wake-up of its thread, and no event waits for a timer. A task of its own, because waking the loop below takes a system call.
    tokio::task::spawn_local({
        let state = state.clone();
        async move {
            loop {
                flush.notified().await;
                state.borrow_mut().flush();
            }
        }
    });
    let mut drivers = tokio::task::JoinSet::new();
    let mut every = tokio::time::interval(CHECKPOINT_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut tick_at = clock.now();
    let hub_tick = tokio::time::sleep_until(clock.instant(tick_at));
    tokio::pin!(hub_tick);
    // Whoever waits for the last checkpoint, and whether it has been taken already.
    let mut finishing: Option<(oneshot::Sender<Result<(), String>>, bool)> = None;

    loop {
        // Left alone where nothing changed: a timer that is set anew for every lookup costs more than the lookup.
        let tick_due = clock.instant(tick_at);
        if hub_tick.deadline() != tick_due {
            hub_tick.as_mut().reset(tick_due);
        }
        tokio::select! {
            // Inputs first: they are few, and a flood of acknowledgements must not hold back the answers of the store.
            biased;
            input = inputs.recv() => {
                let Some(input) = input else { break };
                match input {
                    CoreInput::Add(start) => add_shard(&state, &mut drivers, *start),
                    CoreInput::Written(written) => {
                        let outcome = written.failed.as_ref().map_or(Ok(()), |(_, text)| Err(text.clone()));
                        state.borrow_mut().written(written);
                        match finishing.take() {
                            None => {}
                            Some((done, true)) => {
                                done.send(outcome).ok();
                                break;
                            }
                            // The one that was under way when we were told to finish is not the last one.
                            Some((done, false)) => {
                                let mut state = state.borrow_mut();
                                // Whatever was wrong a moment ago: there is no later.
                                state.retry_at = None;
                                state.checkpoint();
                                if !state.writing {
                                    done.send(outcome).ok();
                                    break;
                                }
                                finishing = Some((done, true));
                            }
                        }
                    }
                    CoreInput::Loaded { entry, bytes } => {
                        let mut state = state.borrow_mut();
                        let state = &mut *state;
                        let now = clock.now();
                        let body = bytes.and_then(|bytes| trunkline_delivery::decode_entry(&bytes, now, clock.unix_us()).ok());
                        state.side.loaded(entry, body, now, &mut state.up);
                        state.do_what_came_up();
                        tick_at = now;
                    }
                    CoreInput::Control { shard, control, answer } => {
                        let handed = state.borrow().shards.iter().find(|s| s.id == shard && s.running).is_some_and(|s| s.control.try_send(control).is_ok());
                        answer.send(handed).ok();
                    }
                    CoreInput::Report(answer) => {
                        let queued = commands.len();
                        answer.send(state.borrow().report(queued)).ok();
                    }
                    CoreInput::CloseSockets(done) => {
                        let controls: Vec<_> = state.borrow().shards.iter().filter(|s| s.running).map(|s| s.control.clone()).collect();
                        for control in controls {
                            // A driver that has ended has closed its socket.
                            control.send(ShardControl::Stop).await.ok();
                        }
                        while drivers.join_next().await.is_some() {}
                        state.borrow_mut().closing = true;
                        done.send(()).ok();
                    }
                    CoreInput::Finish(done) => {
                        let mut state = state.borrow_mut();
                        let under_way = state.writing;
                        state.retry_at = None;
                        state.finishing = true;
                        state.checkpoint();
                        if !state.writing {
                            done.send(Ok(())).ok();
                            break;
                        }
                        finishing = Some((done, !under_way));
                    }
                }
            }
            command = commands.recv() => {
                let Some(command) = command else { break };
                let mut state = state.borrow_mut();
                let state = &mut *state;
                let now = clock.now();
                state.side.handle(command, now, &mut state.up);
                for _ in 1..COMMANDS_AT_ONCE {
                    let Ok(command) = commands.try_recv() else { break };
                    state.side.handle(command, now, &mut state.up);
                }
                state.do_what_came_up();
                tick_at = now;
            }
            look = looks.recv() => {
                // The node, which holds the other end, outlives the core.
                let Some(look) = look else { break };
                let mut state = state.borrow_mut();
                // Events go first.
                state.flush();
                look(&mut *state);
            }
            () = wake.notified() => state.borrow_mut().checkpoint(),
            _ = every.tick() => {
                let mut state = state.borrow_mut();
                let now_ms = clock.now().as_millis();
                state.shards.iter_mut().for_each(|shard| shard.cache.tick(now_ms));
                for (entry, location) in std::mem::take(&mut state.reads_waiting) {
                    state.read(entry, location);
                }
                state.share_limits(0);
                state.forget_retired();
                state.checkpoint();
            }
            () = &mut hub_tick => {
                let mut state = state.borrow_mut();
                let state = &mut *state;
                let now = clock.now();
                // Without anything due, once a second is enough to notice the age limit of what comes meanwhile.
                tick_at = state.side.tick(now, &mut state.up).unwrap_or(now + Duration::from_secs(1)).min(now + Duration::from_secs(1));
                state.do_what_came_up();
            }
            Some(_) = drivers.join_next(), if !drivers.is_empty() => {}
        }
        // Looks wait behind whatever came up, and never for more than one turn: a flood of acknowledgements does not starve them.
        let (began, mut looked) = (clock.now(), 0);
        while looked < LOOKS_AT_ONCE
            && let Ok(look) = looks.try_recv()
        {
            look(&mut *state.borrow_mut());
            looked += 1;
            if clock.now().since(began) >= LOOKS_FOR {
                looked = LOOKS_AT_ONCE;
            }
        }
        if looked == LOOKS_AT_ONCE {
            // Nor does a flood of them keep the sockets from being read.
            tokio::task::yield_now().await;
        }
    }
}
