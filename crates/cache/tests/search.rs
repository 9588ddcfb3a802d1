//! Finding members, against a plain look at all of them.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;

use common::{BASE, BOTH, apply, id};
use serde_json::{Value as Json, json};
use trunkline_cache::{Cache, CacheConfig, Found, Kind, MemberQuery, SEARCH_IDLE_MS, STEP_LOOKED_MAX, Step, Users};
use trunkline_discord::{Dice, EventKind as K};

const NAMES: [&str; 20] = [
    "ann",
    "Ann",
    "ANNA",
    "bob",
    "Bobby",
    "Ölaf",
    "öl",
    "ÖLAF",
    "İstanbul",
    "straße",
    "STRASSE",
    "x",
    "",
    "漢字",
    "漢",
    "ΣΟΦΟΣ",
    "σοφ",
    "ΟΔΥΣΣΕΥΣ",
    "Σίσυφος",
    "ann of a very long name indeed",
];

/// Letter by letter, and the sigma at a word's end as any other: what somebody has typed so far is not the end of a word.
fn low(name: &str) -> String {
    name.chars().flat_map(char::to_lowercase).map(|letter| if letter == 'ς' { 'σ' } else { letter }).collect()
}

#[derive(Clone)]
struct Member {
    username: String,
    global: Option<String>,
    display: Option<String>,
    nick: Option<String>,
    roles: Vec<u64>,
    status: Option<&'static str>,
}

impl Member {
    fn random(dice: &mut Dice) -> Member {
        let name = |dice: &mut Dice| NAMES[dice.below(NAMES.len() as u64) as usize].to_owned();
        Member {
            username: name(dice),
            global: (dice.below(2) == 0).then(|| name(dice)),
            display: (dice.below(4) == 0).then(|| name(dice)),
            nick: (dice.below(3) == 0).then(|| name(dice)),
            roles: (0..dice.below(3)).map(|_| 20 + dice.below(3)).collect(),
            status: [None, Some("idle"), Some("online")][dice.below(3) as usize],
        }
    }

    fn json(&self, user: u64) -> Json {
        json!({"guild_id": id(1), "user": {"id": id(user), "username": self.username, "global_name": self.global, "display_name": self.display},
            "nick": self.nick, "roles": self.roles.iter().map(|role| id(*role)).collect::<Vec<_>>(), "joined_at": "2020"})
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        [Some(&self.username), self.global.as_ref(), self.nick.as_ref()].into_iter().flatten()
    }

    fn fits(&self, query: &MemberQuery) -> bool {
        let name = |wanted: &String| self.names().any(|name| name == wanted);
        let begins = |prefix: &String| prefix.is_empty() || self.names().any(|name| low(name).starts_with(&low(prefix)));
        query.name.as_ref().is_none_or(name)
            && query.prefix.as_ref().is_none_or(begins)
            && query.role.is_none_or(|role| self.roles.contains(&(role - BASE)))
            && query.status.as_ref().is_none_or(|status| self.status.unwrap_or("offline") == status)
    }

    fn has_inside(&self, text: &str) -> bool {
        self.names().chain(&self.display).any(|name| low(name).contains(&low(text)))
    }
}

fn users(found: &[Found]) -> Vec<u64> {
    found.iter().map(|found| found.object.value().get("user").unwrap().get("id").unwrap().as_id().unwrap() - BASE).collect()
}

#[test]
fn a_search_finds_what_a_look_at_every_member_finds() {
    for seed in 0..8 {
        println!("seed={seed}");
        let mut dice = Dice::new(seed);
        let shared = Users::default();
        let presence_bytes = [CacheConfig::PRESENCE_BYTES, 2_000][seed as usize / 2 % 2];
        let mut cache = Cache::new(CacheConfig { presence_bytes, ..CacheConfig::default() }, shared.clone());
        let mut elsewhere = Cache::new(CacheConfig::default(), shared);
        apply(
            &mut cache,
            BOTH[0],
            K::GuildCreate,
            &json!({"id": id(1), "name": "g", "roles": [{"id": id(20)}, {"id": id(21)}, {"id": id(22)}]}),
        );
        apply(&mut elsewhere, BOTH[0], K::GuildCreate, &json!({"id": id(2), "name": "h"}));
        let mut model: BTreeMap<u64, Member> = BTreeMap::new();
        let people = [60, 900][seed as usize % 2];
        for step in 0..3000 {
            let encoding = BOTH[dice.below(2) as usize];
            let user = 1000 + dice.below(people);
            match dice.below(10) {
                0 => {
                    apply(&mut cache, encoding, K::GuildMemberRemove, &json!({"guild_id": id(1), "user": {"id": id(user)}}));
                    model.remove(&user);
                }
                1 => {
                    // The user has another name now, and another shard heard of it.
                    if let Some(known) = model.get_mut(&user) {
                        known.username = NAMES[dice.below(NAMES.len() as u64) as usize].to_owned();
                        let mut told = known.json(user);
                        told["guild_id"] = json!(id(2));
                        apply(&mut elsewhere, encoding, K::GuildMemberAdd, &told);
                    }
                }
                _ => {
                    let member = Member::random(&mut dice);
                    apply(&mut cache, encoding, K::GuildMemberAdd, &member.json(user));
                    let status = member.status.unwrap_or("offline");
                    apply(&mut cache, encoding, K::PresenceUpdate, &json!({"guild_id": id(1), "user": {"id": id(user)}, "status": status}));
                    model.insert(user, member);
                }
            }
            if step % 20 != 0 || (people > 100 && step < 1500) {
                continue;
            }
            let name = NAMES[dice.below(NAMES.len() as u64) as usize];
            let cut = name.char_indices().nth(dice.below(4) as usize).map_or(name.len(), |(at, _)| at);
            let query = MemberQuery {
                name: (dice.below(4) == 0).then(|| name.to_owned()),
                prefix: (dice.below(3) > 0).then(|| name[..cut].to_uppercase()),
                status: (dice.below(4) == 0).then(|| ["idle", "offline", "online"][dice.below(3) as usize].to_owned()),
                role: (dice.below(4) == 0).then(|| BASE + 20 + dice.below(3)),
                after: if dice.below(2) == 0 { 0 } else { BASE + 1000 + dice.below(people) },
                limit: 1 + dice.below(20) as usize,
            };
            let fits = |(user, member): (&u64, &Member)| (BASE + user > query.after && member.fits(&query)).then_some(*user);
            let wanted: Vec<u64> = model.iter().filter_map(fits).take(query.limit).collect();
            if dice.below(3) == 0 {
                cache.prepare_search(BASE + 1);
            }
            assert_eq!(users(&cache.find_members(BASE + 1, &query)), wanted, "seed {seed}, step {step}: {query:?}");
            let role = BASE + 20 + dice.below(4);
            let everybody = |(user, member): (&u64, &Member)| {
                (BASE + user > query.after && member.roles.contains(&(role - BASE))).then_some(BASE + user)
            };
            let wanted: Vec<u64> = model.iter().filter_map(everybody).take(query.limit).collect();
            assert_eq!(cache.member_ids_with_role(BASE + 1, role, query.after, query.limit), wanted, "seed {seed}, step {step}: role");
            let text = &name[..cut];
            let inside = |(user, member): (&u64, &Member)| (BASE + user > query.after && member.has_inside(text)).then_some(*user);
            let wanted: Vec<u64> = model.iter().filter_map(inside).take(query.limit).collect();
            assert_eq!(users(&cache.query_members(BASE + 1, text, query.after, query.limit)), wanted, "seed {seed}, step {step}: {text:?}");
            if step % 400 == 0 {
                cache.tick(u64::from(step as u32) * SEARCH_IDLE_MS);
            }
        }
    }
}

#[test]
fn an_index_is_counted_and_goes_when_nobody_has_used_it_for_a_while() {
    let mut cache = Cache::default();
    let members: Vec<Json> =
        (0..500).map(|user| json!({"user": {"id": id(1000 + user), "username": format!("name {user}")}, "roles": []})).collect();
    apply(&mut cache, BOTH[0], K::GuildCreate, &json!({"id": id(1), "name": "g", "members": members}));
    let query = MemberQuery { prefix: Some("NAME 4".into()), limit: 1000, ..MemberQuery::default() };
    let before = cache.bytes();
    assert_eq!(cache.find_members(BASE + 1, &query).len(), 111);
    let with = cache.memory().search;
    assert!(with > 500 * 8 && cache.bytes() >= before + with);
    cache.tick(1_000);
    cache.tick(1_000 + SEARCH_IDLE_MS - 1);
    assert!(cache.memory().search > 0);
    cache.find_members(BASE + 1, &query);
    cache.tick(1_000 + SEARCH_IDLE_MS);
    assert!(cache.memory().search > 0, "it was used in between");
    cache.tick(1_000 + 2 * SEARCH_IDLE_MS);
    assert_eq!(cache.memory().search, 0);
    assert_eq!(cache.find_members(BASE + 1, &query).len(), 111);
    apply(&mut cache, BOTH[0], K::GuildDelete, &json!({"id": id(1)}));
    assert_eq!(cache.memory().search, 0);
    assert_eq!(cache.find_members(BASE + 1, &query), []);
}

#[test]
fn pages_of_a_large_guild_are_those_of_a_list_while_its_members_come_and_go() {
    for seed in 0..3 {
        println!("seed={seed}");
        let mut dice = Dice::new(seed);
        let mut cache = Cache::default();
        let member = |user: u64, name: u64| json!({"user": {"id": id(user), "username": format!("name {name}")}, "roles": []});
        let members: Vec<Json> = (0..6_000).map(|user| member(1_000 + user * 3, user)).collect();
        apply(&mut cache, BOTH[0], K::GuildCreate, &json!({"id": id(1), "name": "g", "members": members}));
        let (mut after, mut paged) = (0, 0);
        for step in 0..1_500 {
            let user = 1_000 + dice.below(18_000);
            if dice.below(3) == 0 {
                apply(&mut cache, BOTH[0], K::GuildMemberRemove, &json!({"guild_id": id(1), "user": {"id": id(user)}}));
            } else {
                let mut told = member(user, dice.below(100));
                told["guild_id"] = json!(id(1));
                apply(&mut cache, BOTH[0], K::GuildMemberAdd, &told);
            }
            if dice.below(500) == 0 {
                // Somebody searches as well.
                cache.find_members(BASE + 1, &MemberQuery { prefix: Some("name".into()), limit: 3, ..MemberQuery::default() });
            }
            if dice.below(20) == 0 {
                let page = cache.page(Kind::Member, BASE + 1, after, 500);
                assert_eq!(page, cache.list(Kind::Member, BASE + 1, after, 500), "seed {seed}, step {step}");
                paged += page.len();
                after = if page.len() == 500 { BASE + users(&page)[499] } else { 0 };
            }
            cache.tick(step);
        }
        assert!(paged > 10_000);
        assert_eq!(cache.page(Kind::Member, BASE + 1, after, 0), []);
        assert_eq!(cache.page(Kind::Member, BASE + 1, u64::MAX, 10), []);
        assert_eq!(cache.page(Kind::Member, BASE + 2, 1, 10), [], "a guild that is not there");
        assert_eq!(cache.page(Kind::Guild, BASE + 1, 0, 10).len(), 1);
    }
}

#[test]
fn the_order_of_a_large_guilds_members_is_kept_while_somebody_pages_and_counted() {
    let mut cache = Cache::default();
    let members: Vec<Json> =
        (0..5_000).map(|user| json!({"user": {"id": id(1000 + user), "username": format!("name {user}")}, "roles": []})).collect();
    apply(&mut cache, BOTH[0], K::GuildCreate, &json!({"id": id(1), "name": "g", "members": members}));
    apply(&mut cache, BOTH[0], K::GuildCreate, &json!({"id": id(2), "name": "h", "members": members[..100]}));
    assert_eq!(cache.page(Kind::Member, BASE + 1, 0, 10).len(), 10);
    assert_eq!(cache.page(Kind::Member, BASE + 2, BASE + 1050, 10).len(), 10);
    assert_eq!(cache.memory().search, 0, "neither a first page nor a small guild is worth it");
    assert_eq!(cache.page(Kind::Member, BASE + 1, BASE + 3000, 10).len(), 10);
    let ids = cache.memory().search;
    assert!((5_000 * 8..5_000 * 9).contains(&ids), "{ids} bytes");
    // A search by name needs more, and pages use it too.
    cache.find_members(BASE + 1, &MemberQuery { prefix: Some("name 4".into()), limit: 10, ..MemberQuery::default() });
    assert!(cache.memory().search > 2 * ids);
    assert_eq!(users(&cache.page(Kind::Member, BASE + 1, BASE + 3000, 2)), [3001, 3002]);
    cache.tick(1);
    cache.tick(1 + SEARCH_IDLE_MS);
    assert_eq!(cache.memory().search, 0);
}

#[test]
fn an_index_that_is_built_in_steps_misses_nobody_who_changes_meanwhile() {
    for seed in 0..4 {
        println!("seed={seed}");
        let mut dice = Dice::new(seed);
        let mut cache = Cache::default();
        let member = |user: u64, name: &str| json!({"guild_id": id(1), "user": {"id": id(user), "username": name}, "roles": []});
        let members: Vec<Json> = (0..40_000).map(|user| member(1_000 + user, "ann")).collect();
        apply(&mut cache, BOTH[0], K::GuildCreate, &json!({"id": id(1), "name": "g", "members": members}));
        let mut names: BTreeMap<u64, &str> = (0..40_000).map(|user| (1_000 + user, "ann")).collect();
        let mut steps = 0;
        // The guild that is searched for is not there: nothing to build.
        assert!(cache.prepare_search(BASE + 2));
        while !cache.prepare_search(BASE + 1) {
            steps += 1;
            for _ in 0..30 {
                let user = 1_000 + dice.below(45_000);
                if dice.below(3) == 0 {
                    apply(&mut cache, BOTH[0], K::GuildMemberRemove, &json!({"guild_id": id(1), "user": {"id": id(user)}}));
                    names.remove(&user);
                } else {
                    let name = ["bob", "Anna", "ann"][dice.below(3) as usize];
                    apply(&mut cache, BOTH[0], K::GuildMemberAdd, &member(user, name));
                    names.insert(user, name);
                }
            }
            cache.tick(steps);
            assert!(cache.memory().search > 0);
            if dice.below(60) == 0 {
                // Somebody does not wait for it.
                break;
            }
        }
        assert!(steps > 0);
        for prefix in ["ann", "anna", "bob", "x"] {
            let query = MemberQuery { prefix: Some(prefix.into()), limit: 100_000, ..MemberQuery::default() };
            let wanted: Vec<u64> = names.iter().filter(|(_, name)| low(name).starts_with(prefix)).map(|(user, _)| *user).collect();
            assert_eq!(users(&cache.find_members(BASE + 1, &query)), wanted, "{prefix}");
        }
        assert_eq!(cache.page(Kind::Member, BASE + 1, BASE + 1, 100_000).len(), names.len());
    }
}

/// Members of a guild that is too large to be looked at at once. `roles` says which roles each has, `status` what presence.
fn large(many: u64, roles: impl Fn(u64) -> Vec<u64>, status: impl Fn(u64) -> Option<&'static str>) -> Cache {
    let mut cache = Cache::default();
    let members: Vec<Json> = (1..=many)
        .map(|user| {
            let roles: Vec<String> = roles(user).into_iter().map(id).collect();
            json!({"user": {"id": id(user), "username": format!("name {user}")}, "roles": roles})
        })
        .collect();
    let status = |user: u64| Some(json!({"user": {"id": id(user)}, "status": status(user)?}));
    let presences: Vec<Json> = (1..=many).filter_map(status).collect();
    apply(&mut cache, BOTH[0], K::GuildCreate, &json!({"id": id(1), "name": "g", "members": members, "presences": presences}));
    cache
}

/// All that steps find, what each went through, and what happens between them.
fn in_steps<T>(mut after: u64, limit: usize, mut step: impl FnMut(u64, usize) -> Step<T>) -> (Vec<T>, Vec<usize>) {
    let (mut found, mut looked) = (Vec::new(), Vec::new());
    while found.len() < limit {
        let step = step(after, limit - found.len());
        found.extend(step.found);
        looked.push(step.looked);
        match step.next {
            Some(next) => after = next,
            None => break,
        }
        assert!(looked.len() < 1_000, "it gets on");
    }
    (found, looked)
}

#[test]
fn names_that_nobody_waits_for_any_more_are_gathered_by_whoever_turns_pages() {
    const MANY: u64 = 20_000;
    let mut cache = large(MANY, |_| Vec::new(), |_| None);
    let page =
        |cache: &mut Cache, after: u64| in_steps(BASE + after, 10, |after, limit| cache.page_step(Kind::Member, BASE + 1, after, limit));
    assert_eq!(page(&mut cache, 0).0.len(), 10);
    // Somebody searches by name, and gives up.
    let query = MemberQuery { prefix: Some("name".into()), limit: 5, ..MemberQuery::default() };
    assert!(cache.find_members_step(BASE + 1, &query).next.is_some() && cache.memory().search > 0);
    for round in 0..3 {
        for user in 1..=1_500 {
            let d = json!({"guild_id": id(1), "user": {"id": id(user)}, "nick": format!("nick {round}"), "roles": []});
            apply(&mut cache, BOTH[0], K::GuildMemberUpdate, &d);
        }
        let (found, looked) = page(&mut cache, 100 * round);
        assert_eq!(users(&found), (1..=10).map(|user| 100 * round + user).collect::<Vec<_>>());
        assert!(looked.iter().all(|looked| *looked <= STEP_LOOKED_MAX), "{looked:?}");
    }
    assert!(cache.prepare_search(BASE + 1), "they are there, though nobody has asked for them again");
}

#[test]
fn no_step_through_a_large_guild_goes_through_more_than_it_may() {
    const MANY: u64 = 70_000;
    // One role in 7 000, one that all have; a third is online, five are idle.
    let rare = |user: &u64| user % 7_000 == 5;
    let roles = |user: u64| if rare(&user) { vec![20, 21] } else { vec![21] };
    let status = |user: u64| match user {
        user if user % 14_000 == 3 => Some("idle"),
        user if user % 3 == 0 => Some("online"),
        _ => None,
    };
    let mut cache = large(MANY, roles, status);
    let mut longest = 0;
    let mut bounded = |what: &str, few: usize, looked: &[usize]| {
        println!("{what}: {looked:?}");
        assert!(looked.iter().all(|looked| *looked <= STEP_LOOKED_MAX), "{what}: {looked:?}");
        assert!(looked.len() >= few, "{what}: {} steps", looked.len());
        longest = longest.max(looked.iter().copied().max().unwrap_or_default());
    };
    let of = |role: Option<u64>, status: Option<&str>, prefix: Option<&str>| MemberQuery {
        role: role.map(|role| BASE + role),
        status: status.map(str::to_owned),
        prefix: prefix.map(str::to_owned),
        ..MemberQuery::default()
    };
    for named in [false, true] {
        let mut find = |what: &str, few: usize, query: MemberQuery, limit: usize| {
            let step = |after, limit| cache.find_members_step(BASE + 1, &MemberQuery { after, limit, ..query.clone() });
            let (found, looked) = in_steps(0, limit, step);
            bounded(what, few, &looked);
            users(&found)
        };
        let everybody = |fits: fn(&u64) -> bool| (1..=MANY).filter(fits).collect::<Vec<_>>();
        if named {
            assert_eq!(find("a name", 20, of(None, None, Some("name 77")), 2_000).len(), 111);
            let with_both: Vec<u64> = (1..=MANY).filter(|user| rare(user) && user.to_string().starts_with('4')).collect();
            assert_eq!(find("a common name and a rare role", 2, of(Some(20), None, Some("name 4")), 1_000), with_both);
        }
        assert_eq!(find("a rare role", 17, of(Some(20), None, None), 1_000), everybody(rare));
        assert_eq!(find("a rare status", 17, of(None, Some("idle"), None), 1_000), everybody(|user| user % 14_000 == 3));
        assert_eq!(find("a common role", 1, of(Some(21), None, None), 1_000), (1..=1_000).collect::<Vec<_>>());
        assert_eq!(find("nobody's role", 17, of(Some(22), None, None), 1_000), [0_u64; 0]);
        if named {
            for (text, limit, few) in [("e 77", 2_000, 4), ("69999", 10, 4), ("nobody", 10, 4), ("ame", 1_000, 1)] {
                let step = |after, limit| cache.query_members_step(BASE + 1, text, after, limit);
                let (found, looked) = in_steps(0, limit, step);
                bounded(text, few, &looked);
                let wanted: Vec<u64> = (1..=MANY).filter(|user| format!("name {user}").contains(text)).take(limit).collect();
                assert_eq!(users(&found), wanted, "{text}");
            }
        }
        let (ids, looked) = in_steps(0, 1_000, |after, limit| cache.member_ids_with_role_step(BASE + 1, BASE + 20, after, limit));
        bounded("ids of a rare role", 17, &looked);
        assert_eq!(ids, (1..=MANY).filter(rare).map(|user| BASE + user).collect::<Vec<_>>());
        let (ids, looked) =
            in_steps(BASE + 50_000, 1_000, |after, limit| cache.member_ids_with_role_step(BASE + 1, BASE + 1, after, limit));
        bounded("everybody", 1, &looked);
        assert_eq!(ids, (50_001..=51_000).map(|user| BASE + user).collect::<Vec<_>>());
        let (all, looked) = in_steps(0, usize::MAX, |after, limit| cache.page_step(Kind::Member, BASE + 1, after, limit.min(1_000)));
        bounded("pages", 17, &looked);
        assert_eq!(users(&all), (1..=MANY).collect::<Vec<_>>());
        if !named {
            // The first page of all is asked for before there is any order.
            cache.tick(0);
            cache.tick(2 * SEARCH_IDLE_MS);
            cache.tick(4 * SEARCH_IDLE_MS);
            assert_eq!(cache.memory().search, 0);
            let (first, looked) = in_steps(0, 1_000, |after, limit| cache.page_step(Kind::Member, BASE + 1, after, limit));
            bounded("the first page", 4, &looked);
            assert_eq!(users(&first), (1..=1_000).collect::<Vec<_>>());
        }
    }
    // Half of the guild changes, as when it is told anew: sorted in and merged in steps too.
    for user in (1..=MANY).step_by(2) {
        let changed = json!({"guild_id": id(1), "user": {"id": id(user), "username": format!("other {user}")}, "roles": []});
        apply(&mut cache, BOTH[0], K::GuildMemberAdd, &changed);
    }
    let prefix = |prefix: &str| MemberQuery { prefix: Some(prefix.to_owned()), ..MemberQuery::default() };
    for (name, many, steps) in [("other", MANY / 2, 50), ("name", MANY / 2, 30), ("other 7", 556, 1)] {
        let step = |after, limit: usize| {
            let limit = limit.min(1_000);
            cache.find_members_step(BASE + 1, &MemberQuery { after, limit, ..prefix(name) })
        };
        let (found, looked) = in_steps(0, usize::MAX, step);
        bounded("after many changes", steps, &looked);
        assert_eq!(found.len() as u64, many);
    }
    println!("the longest step went through {longest}");
}

#[test]
fn whoever_is_there_throughout_is_met_once_while_others_come_and_go_between_steps() {
    for seed in 0..6 {
        println!("seed={seed}");
        let mut dice = Dice::new(seed);
        let many = 45_000;
        let has = |user: u64| user.is_multiple_of(50);
        let mut cache = large(many, |user| if has(user) { vec![20] } else { vec![21] }, |_| None);
        // Who had the role all the time, and who at any.
        let mut throughout: std::collections::BTreeSet<u64> = (1..=many).filter(|user| has(*user)).collect();
        let mut ever = throughout.clone();
        let churn = 1 + dice.below(400);
        let mut looks = 0;
        let step = |after, limit: usize| {
            let limit = limit.min(200);
            let query = MemberQuery { role: Some(BASE + 20), after, limit, ..MemberQuery::default() };
            // By either way, with or without names to be put in order by the way.
            let step = match seed % 3 {
                0 => cache.find_members_step(BASE + 1, &query),
                1 => cache.find_members_step(BASE + 1, &MemberQuery { prefix: Some("NAME".into()), ..query }),
                _ => {
                    let step = cache.member_ids_with_role_step(BASE + 1, BASE + 20, after, limit);
                    let found = step.found.iter().map(|user| cache.member(BASE + 1, *user).unwrap()).collect();
                    Step { found, next: step.next, looked: step.looked }
                }
            };
            for _ in 0..churn {
                let user = 1 + dice.below(many + 5_000);
                if dice.below(2) == 0 {
                    apply(&mut cache, BOTH[0], K::GuildMemberRemove, &json!({"guild_id": id(1), "user": {"id": id(user)}}));
                    throughout.remove(&user);
                } else {
                    let given = dice.below(3) == 0;
                    // What is longer lies elsewhere from then on.
                    let nick = "x".repeat(dice.below(30) as usize);
                    let role = id(if given { 20 } else { 21 });
                    let told = json!({"guild_id": id(1), "user": {"id": id(user), "username": format!("name {user}")},
                        "nick": nick, "roles": [role]});
                    apply(&mut cache, BOTH[0], K::GuildMemberAdd, &told);
                    if given {
                        ever.insert(user);
                    } else {
                        throughout.remove(&user);
                    }
                }
            }
            looks += 1;
            if looks % 7 == 0 {
                cache.tick(looks);
            }
            step
        };
        let (found, looked) = in_steps(0, usize::MAX, step);
        assert!(looked.len() > 5 && looked.iter().all(|looked| *looked <= STEP_LOOKED_MAX));
        let found = users(&found);
        assert!(found.is_sorted_by(|one, next| one < next), "seed {seed}: somebody is met twice");
        assert!(found.iter().all(|user| ever.contains(user)), "seed {seed}: somebody never had the role");
        let found: std::collections::BTreeSet<u64> = found.into_iter().collect();
        let missed: Vec<&u64> = throughout.difference(&found).collect();
        assert!(missed.is_empty() && throughout.len() > 100, "seed {seed}: {missed:?} of {} were missed", throughout.len());
    }
}
