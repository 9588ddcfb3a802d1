//! The bridge itself: cores that do not answer, are full, or are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use trunkline_cache::CacheConfig;
use trunkline_discord::{Encoding, EventKind, ShardId};
use trunkline_doors::look::{Asked, Asking, LOOK_PATIENCE, LOOKS_QUEUED};
use trunkline_doors::{BotEntry, Directory, Look, LookError, Looker, MemberSource};
use trunkline_etf::{Limits, Value};
use trunkline_wire::pylon::discord::v1::cache::{GetGuildMemberRequest, GetGuildRequest};

use crate::world::*;

fn silent(queued: usize) -> (Looker, mpsc::Receiver<Look>) {
    let directory = Directory::new(1);
    directory.add_bot(BotEntry::new(BOT, "a bot", 1, [0], CacheConfig::default()));
    directory.place(ShardId { bot: BOT, index: 0, count: 1 }, 0);
    let (looks, received) = mpsc::channel(queued);
    (Looker::new(directory, vec![looks]), received)
}

#[tokio::test(start_paused = true)]
async fn a_core_that_does_not_answer_is_not_waited_for_longer_than_the_patience() {
    let (looker, mut looks) = silent(LOOKS_QUEUED);
    let began = tokio::time::Instant::now();
    let error = looker.on_guild(BOT, GUILD, |_| ()).await.unwrap_err();
    assert_eq!(error, LookError::NoAnswer { core: 0 });
    assert_eq!(error.to_string(), "core 0 did not answer within 2 s; try again");
    assert!(error.passes());
    assert_eq!(began.elapsed(), LOOK_PATIENCE);
    assert_eq!(looker.stats().unanswered.load(Ordering::Relaxed), 1);
    assert!(looks.try_recv().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_core_whose_queue_is_full_is_not_waited_for_longer_than_the_patience() {
    let (looker, looks) = silent(1);
    let first = tokio::spawn({
        let looker = looker.clone();
        async move { looker.on_guild(BOT, GUILD, |_| ()).await }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    let error = looker.on_guild(BOT, GUILD, |_| ()).await.unwrap_err();
    assert_eq!(error, LookError::Busy { core: 0 });
    assert_eq!(looker.stats().busy.load(Ordering::Relaxed), 1);
    assert_eq!(first.await.unwrap(), Err(LookError::NoAnswer { core: 0 }));
    drop(looks);
    assert_eq!(looker.on_guild(BOT, GUILD, |_| ()).await, Err(LookError::Stopping));
}

#[tokio::test]
async fn a_look_whose_asker_has_given_up_does_not_run() {
    let (looker, mut looks) = silent(LOOKS_QUEUED);
    let ran = Arc::new(AtomicU32::new(0));
    let counted = ran.clone();
    let asked = looker.on_core(0, move |_| counted.fetch_add(1, Ordering::Relaxed));
    assert!(tokio::time::timeout(Duration::from_millis(5), asked).await.is_err());
    let world = World::new().await;
    let look = looks.try_recv().unwrap();
    world.looker.on_core(0, move |caches| look(caches)).await.unwrap();
    assert_eq!(ran.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_core_that_ends_with_looks_in_its_queue_is_a_stopping_process() {
    let (looker, looks) = silent(LOOKS_QUEUED);
    let asked = tokio::spawn(async move { looker.on_guild(BOT, GUILD, |_| ()).await });
    tokio::task::yield_now().await;
    drop(looks);
    assert_eq!(asked.await.unwrap(), Err(LookError::Stopping));
}

#[tokio::test]
async fn a_shard_that_has_no_core_yet_is_worth_another_try() {
    let directory = Directory::new(1);
    directory.add_bot(BotEntry::new(BOT, "a bot", 1, [0], CacheConfig::default()));
    let (looks, _received) = mpsc::channel(1);
    let looker = Looker::new(directory, vec![looks]);
    let shard = ShardId { bot: BOT, index: 0, count: 1 };
    for error in [
        looker.on_guild(BOT, GUILD, |_| ()).await.unwrap_err(),
        looker.on_all(BOT, |_| ()).await.unwrap_err(),
        looker.on_cores(BOT, |_, _| ()).await.unwrap_err(),
    ] {
        assert_eq!(error, LookError::ShardAway { shard });
        assert!(error.passes());
    }
    let other = ShardId { count: 2, ..shard };
    assert_eq!(looker.core_of(other), Err(LookError::NoSuchShard { shard: other }));
}

#[tokio::test]
async fn many_askers_at_once_all_get_their_answer() {
    let world = World::filled().await;
    let cache = world.cache().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let mut cache = cache.clone();
        tasks.spawn(async move {
            for _ in 0..50 {
                assert!(cache.get_guild(of_guild(GUILD, GetGuildRequest {})).await.unwrap().into_inner().guild.is_some());
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Says what Discord would: a member with this id exists, no other one, and of 97 it says nothing.
#[derive(Debug)]
struct Discord {
    looker: Looker,
    exists: u64,
    asked: AtomicU32,
    asks: AtomicBool,
}

impl MemberSource for Discord {
    fn asks(&self, _bot: u64) -> bool {
        self.asks.load(Ordering::Relaxed)
    }

    fn ask<'a>(&'a self, bot: u64, guild: u64, users: &'a [u64]) -> Asking<'a> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            if users.contains(&97) {
                return Asked::NoAnswer;
            }
            // An event tells of this one while Discord does not answer.
            let without_answer = users.contains(&96);
            let comes = if without_answer { 96 } else { self.exists };
            if !users.contains(&comes) {
                return Asked::Discord;
            }
            let member = serde_json::json!({"user": user(comes, "late"), "roles": [], "joined_at": "2020-01-02T03:04:05.000000+00:00"});
            let chunk = serde_json::json!({"guild_id": guild.to_string(), "members": [member], "chunk_index": 0, "chunk_count": 1});
            let body = bytes::Bytes::from(serde_json::to_vec(&chunk).unwrap());
            let told = self.looker.on_guild(bot, guild, move |cache| {
                let d = Value::parse(Encoding::Json, &body, &Limits::GATEWAY).unwrap();
                cache.apply(EventKind::GuildMembersChunk, d, &body).malformed
            });
            assert!(!told.await.unwrap());
            if without_answer { Asked::NoAnswer } else { Asked::Discord }
        })
    }
}

#[tokio::test]
async fn a_member_that_the_cache_lacks_is_asked_for_and_then_found() {
    let world = World::filled().await;
    let asked = Arc::new(Discord { looker: world.looker.clone(), exists: 99, asked: AtomicU32::new(0), asks: AtomicBool::new(true) });
    world.looker.ask_members_of(asked.clone());
    let mut cache = world.cache().await;
    let mut get = async |user_id| {
        let answer = cache.get_guild_member(of_guild(GUILD, GetGuildMemberRequest { user_id })).await.unwrap().into_inner();
        (answer.member.map(|member| member.user.unwrap().username), asked.asked.load(Ordering::Relaxed))
    };
    assert_eq!(get(user_id(GUILD, 3)).await, (Some("member3".to_owned()), 0));
    assert_eq!(get(98).await, (None, 1));
    assert_eq!(get(99).await, (Some("late".to_owned()), 2));
    assert_eq!(get(99).await, (Some("late".to_owned()), 2));
    // Not known is something else than not there.
    let silent = world.cache().await.get_guild_member(of_guild(GUILD, GetGuildMemberRequest { user_id: 97 })).await.unwrap_err();
    assert_eq!(silent.code(), tonic::Code::Unavailable, "{silent}");
    assert_eq!(get(96).await, (Some("late".to_owned()), 4));
    // Of a guild with an outage Discord says nothing: it is not even asked.
    assert_eq!(asked.asked.load(Ordering::Relaxed), 4);
    world.tell(BOT, GUILD, EventKind::GuildDelete, serde_json::json!({"id": GUILD.to_string(), "unavailable": true})).await;
    let known = world.cache().await.get_guild_member(of_guild(GUILD, GetGuildMemberRequest { user_id: 99 })).await.unwrap().into_inner();
    assert!(known.member.is_some() && known.stale);
    let away = world.cache().await.get_guild_member(of_guild(GUILD, GetGuildMemberRequest { user_id: 98 })).await.unwrap_err();
    assert_eq!((away.code(), asked.asked.load(Ordering::Relaxed)), (tonic::Code::Unavailable, 4), "{away}");
    assert!(away.message().contains("outage"), "{away}");
    // Where nobody is ever asked, what is known is the answer, in an outage too.
    asked.asks.store(false, Ordering::Relaxed);
    let none = world.cache().await.get_guild_member(of_guild(GUILD, GetGuildMemberRequest { user_id: 98 })).await.unwrap().into_inner();
    assert!(none.member.is_none());
}
