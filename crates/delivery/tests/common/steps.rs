//! What can happen to the world: workers come and go, acknowledge, the disk writes, the process dies.

use super::*;

impl World {
    pub fn join(&mut self, group: u32, worker: &str, credit: Credit) -> u64 {
        self.join_with(group, worker, credit, None)
    }

    pub fn join_with(&mut self, group: u32, worker: &str, credit: Credit, extra: Option<Filter>) -> u64 {
        let stream = self.next_stream;
        self.next_stream += 1;
        // The newer stream of a worker replaces the older: what that held is no longer in flight.
        self.streams.retain(|_, inbox| inbox.group != group || inbox.worker != worker);
        let inbox = Inbox {
            group,
            worker: worker.into(),
            credit,
            connected: true,
            draining: false,
            drained: false,
            broken_at: None,
            asked: Vec::new(),
            held: Vec::new(),
            got: Vec::new(),
        };
        self.streams.insert(stream, inbox);
        let id = self.specs[group as usize].id;
        self.act(|hub, now, out| hub.join(id, worker.into(), StreamId(stream), extra, credit, now, out).unwrap());
        stream
    }

    pub fn broke(&mut self, stream: u64) {
        let inbox = self.streams.get_mut(&stream).unwrap();
        inbox.connected = false;
        inbox.broken_at = Some(self.now);
        if inbox.draining {
            self.streams.remove(&stream);
        }
        self.act(|hub, now, out| hub.broke(StreamId(stream), now, out));
    }

    pub fn leave(&mut self, stream: u64) {
        self.streams.remove(&stream);
        self.act(|hub, now, out| hub.leave(StreamId(stream), now, out));
    }

    pub fn drain(&mut self, stream: u64) {
        let inbox = self.streams.get_mut(&stream).unwrap();
        inbox.draining |= inbox.connected;
        self.act(|hub, now, out| hub.drain(StreamId(stream), now, out));
    }

    pub fn lend(&mut self, stream: u64, credit: Credit) {
        let inbox = self.streams.get_mut(&stream).unwrap();
        // Less credit takes nothing back; the check of credit holds for what is sent from now on.
        inbox.credit = credit;
        self.act(|hub, now, out| hub.lend(StreamId(stream), credit, now, out));
    }

    /// The worker acknowledges what it holds at these places.
    pub fn ack(&mut self, stream: u64, which: impl Fn(usize, &Got) -> bool) -> usize {
        let inbox = self.streams.get_mut(&stream).unwrap();
        let mut nth = 0;
        let (acked, kept) = std::mem::take(&mut inbox.held).into_iter().partition(|got| {
            nth += 1;
            which(nth - 1, got)
        });
        inbox.held = kept;
        let acked: Vec<Got> = acked;
        let model = &mut self.groups[inbox.group as usize];
        for got in &acked {
            match (&got.name, &got.gap) {
                (Some(name), _) => {
                    assert_eq!(model.pending.remove(&got.entry), Some(*name), "acknowledged twice");
                    model.acked.insert(*name);
                }
                (None, Some(gap)) => model.told.push(gap.clone()),
                _ => unreachable!(),
            }
            model.sent.remove(&got.entry);
        }
        let entries: Vec<EntryId> = acked.iter().map(|got| got.entry).collect();
        self.act(|hub, now, out| hub.acked(StreamId(stream), &entries, now, out));
        entries.len()
    }

    pub fn ack_all(&mut self, stream: u64) -> usize {
        self.ack(stream, |_, _| true)
    }

    pub fn tick(&mut self, forward_ms: u64) -> Option<Time> {
        self.now += Duration::from_millis(forward_ms);
        // A grace that ends takes what the worker held away from it before anybody else gets it.
        let grace = Duration::from_millis(self.config.grace_ms);
        let now = self.now;
        self.streams.retain(|_, inbox| inbox.broken_at.is_none_or(|at| at + grace > now));
        self.act(Hub::tick)
    }

    /// Commits a checkpoint of one shard, or fails to.
    pub fn checkpoint(&mut self, slot: u32) -> LogCheckpoint {
        let checkpoint = self.hub.checkpoint(Slot(slot)).unwrap();
        if self.disk_fails {
            self.act(|hub, now, out| hub.not_stored(Slot(slot), now, out));
            return checkpoint;
        }
        self.segment += 1;
        let of_slot = |entry: &EntryId| entry.slot.0 == slot;
        let shard = &mut self.shards[slot as usize];
        let mut locations = Vec::new();
        for (position, body) in &checkpoint.new_entries {
            let mut bytes = Vec::new();
            encode_entry(body, &mut bytes);
            let location = Location { segment: self.segment, offset: *position, len: bytes.len() as u32 };
            shard.disk.insert(*position, (location, bytes));
            locations.push((*position, location));
        }
        shard.disk = shard.disk.split_off(&checkpoint.release_below);
        for (position, _) in shard.disk.extract_if(.., |_, (location, _)| checkpoint.release_segments.contains(&location.segment)) {
            let entry = EntryId { slot: Slot(slot), position };
            let wanted = self.groups.iter().any(|model| model.pending.contains_key(&entry));
            assert!(!wanted, "{entry:?} is wanted and its segment given free");
        }
        let of_group = |model: &GroupModel| model.pending.clone().into_iter().filter(|(entry, _)| of_slot(entry)).collect();
        let sent_of = |model: &GroupModel| model.sent.iter().copied().filter(of_slot).collect();
        shard.saved = Some(Saved {
            record: checkpoint.record.clone(),
            next_position: checkpoint.next_position,
            session: shard.session,
            s: shard.s,
            pending: self.groups.iter().map(of_group).collect(),
            sent: self.groups.iter().map(sent_of).collect(),
        });
        self.act(|hub, now, out| hub.stored(Slot(slot), &locations, now, out));
        self.check_segments(slot);
        checkpoint
    }

    /// Every segment on disk but the last two written holds something that somebody wants (or a gap, which the model
    /// does not follow).
    fn check_segments(&self, slot: u32) {
        let mut segments: BTreeMap<u64, bool> = BTreeMap::new();
        for (position, (location, bytes)) in &self.shards[slot as usize].disk {
            let entry = EntryId { slot: Slot(slot), position: *position };
            let is_gap = || matches!(decode_entry(bytes, self.now, self.unix_us()), Ok(Body::Gap(_)));
            let wanted = || self.groups.iter().any(|model| model.pending.contains_key(&entry));
            let holds = segments.entry(location.segment).or_default();
            *holds = *holds || wanted() || self.saved_as_wanted(entry) || is_gap();
        }
        let idle: Vec<&u64> = segments.iter().rev().skip(2).filter(|(_, wanted)| !**wanted).map(|(segment, _)| segment).collect();
        assert!(idle.is_empty(), "segments {idle:?} of slot {slot} hold nothing that anybody wants");
    }

    /// Whether the checkpoint just written names the entry: what `stored` made of it comes with the next one.
    fn saved_as_wanted(&self, entry: EntryId) -> bool {
        let saved = self.shards[entry.slot.0 as usize].saved.as_ref();
        saved.is_some_and(|saved| saved.pending.iter().any(|pending| pending.contains_key(&entry)))
    }

    /// Segment files of a shard.
    pub fn segments(&self, slot: u32) -> usize {
        let segments: BTreeSet<u64> = self.shards[slot as usize].disk.values().map(|(location, _)| location.segment).collect();
        segments.len()
    }

    /// The process is killed and starts again from the checkpoints; Discord replays what came after them.
    pub fn crash(&mut self) {
        self.streams.clear();
        self.hub = Hub::new(self.config.clone());
        for spec in &self.specs {
            self.hub.declare(spec.clone()).unwrap();
        }
        for model in &mut self.groups {
            model.pending.clear();
            model.sent.clear();
            model.newest.clear();
            model.in_gaps.clear();
        }
        let mut replays = Vec::new();
        for slot in 0..self.shards.len() as u32 {
            let restored = self.restore(slot);
            let shard = &self.shards[slot as usize];
            let (session, from) = shard.saved.as_ref().map_or((1, 0), |saved| (saved.session, saved.s));
            assert_eq!(session, shard.session, "the model takes a checkpoint when a session begins");
            replays.extend(shard.history.iter().filter(|event| event.session == session && event.s > from).cloned());
            let fell = self.fell.len();
            self.act(|hub, now, out| hub.add_shard(Slot(slot), super::shard(slot), restored, now, out).unwrap());
            let lost = self.fell[fell..].iter().find(|(_, gap)| gap.cause == GapCause::StoreFailed);
            assert!(lost.is_none(), "{lost:?}: the disk had all that was needed");
        }
        for event in replays {
            self.dispatch(event.shard.index, event);
        }
    }

    fn restore(&mut self, slot: u32) -> Option<RestoredLog> {
        let (now, unix_us) = (self.now, self.unix_us());
        let shard = &self.shards[slot as usize];
        let saved = shard.saved.as_ref()?;
        let mut restored = RestoredLog::decode(&saved.record, now, unix_us, self.restore_bytes).unwrap();
        assert_eq!(restored.next_position(), saved.next_position);
        for (position, (location, bytes)) in &shard.disk {
            if *position < saved.next_position {
                restored.push(*position, *location, bytes).unwrap();
            }
        }
        for (model, (pending, sent)) in self.groups.iter_mut().zip(saved.pending.iter().zip(&saved.sent)) {
            model.pending.extend(pending.clone());
            model.sent.extend(sent.clone());
        }
        Some(restored)
    }

    /// Everybody acknowledges until nothing comes any more; every group has a worker with credit.
    pub fn run_until_quiet(&mut self) {
        for group in 0..self.specs.len() as u32 {
            self.join(group, "last", Credit { events: 10_000, bytes: 1 << 30 });
        }
        for _ in 0..10_000 {
            self.tick(1);
            let streams: Vec<u64> = self.streams.iter().filter(|(_, inbox)| inbox.connected).map(|(at, _)| *at).collect();
            let acked: usize = streams.into_iter().map(|stream| self.ack_all(stream)).sum();
            let waits = self.streams.values().any(|inbox| !inbox.connected);
            if acked == 0 && !waits {
                break;
            }
            if acked == 0 {
                self.tick(self.config.grace_ms);
            }
        }
        let stats = self.hub.stats(self.now);
        for (at, group) in stats.groups.iter().enumerate() {
            assert_eq!((group.entries, group.memory_bytes, group.disk_bytes, group.in_flight), (0, 0, 0, 0), "group {at}: {group:?}");
            let model = &self.groups[at];
            assert!(model.pending.is_empty());
            for name in &model.wanted {
                let told = model.told.iter().any(|gap| covers(gap, *name));
                assert!(model.acked.contains(name) || told, "group {at} never got {name:?}");
            }
            for name in &model.in_gaps {
                assert!(model.told.iter().any(|gap| covers(gap, *name)), "group {at} was not told of {name:?}");
            }
        }
        assert!(stats.shards.iter().all(|shard| shard.entries == 0));
        for slot in 0..self.shards.len() as u32 {
            // Every set is empty: nothing is remembered of what is done.
            let record = self.checkpoint(slot).record;
            assert!(record.len() <= 17 + 10 * self.specs.len(), "record of {} bytes", record.len());
        }
    }
}

pub fn covers(gap: &Gap, name: Name) -> bool {
    gap.shard == shard(name.0)
        && gap.session == name.1
        && gap.first_s.is_none_or(|first| first <= name.2)
        && gap.last_s.is_none_or(|last| name.2 <= last)
}
