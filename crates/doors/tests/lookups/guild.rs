//! Pylon's lookups in one guild: what is found, what is not there, and pages.

use trunkline_discord::EventKind;
use trunkline_wire::pylon::discord::v1::cache::*;
use trunkline_wire::pylon::discord::v1::model::SnowflakeValue;
use trunkline_wire::pylon::discord::v1::model::channel_data::ChannelType;
use trunkline_wire::pylon::discord::v1::model::presence_data::OnlineStatus;

use crate::world::*;

#[tokio::test]
async fn a_guild_is_found_with_its_fields() {
    let world = World::filled().await;
    let answer = world.cache().await.get_guild(of_guild(GUILD, GetGuildRequest {})).await.unwrap().into_inner();
    let guild = answer.guild.unwrap();
    assert_eq!((guild.id, guild.name.as_str(), guild.member_count), (GUILD, "first", 41));
    assert_eq!((guild.owner_id, guild.features), (user_id(GUILD, 0), vec!["COMMUNITY".to_owned()]));
    assert!(!answer.stale);
}

#[tokio::test]
async fn what_is_not_there_is_an_ok_answer_without_it() {
    let world = World::filled().await;
    let mut cache = world.cache().await;
    let unknown = GUILD + (1000 << 22);
    assert_eq!(cache.get_guild(of_guild(unknown, GetGuildRequest {})).await.unwrap().into_inner(), GetGuildResponse::default());
    let answer = cache.list_guild_channels(of_guild(unknown, ListGuildChannelsRequest::default())).await.unwrap().into_inner();
    assert_eq!(answer, ListGuildChannelsResponse::default());
    let answer = cache.get_guild_channel(of_guild(GUILD, GetGuildChannelRequest { channel_id: 1 })).await.unwrap().into_inner();
    assert_eq!(answer, GetGuildChannelResponse::default());
    // A channel of another guild is none of this one.
    let channel_id = channel_id(GUILD_B, 0);
    let answer = cache.get_guild_channel(of_guild(GUILD, GetGuildChannelRequest { channel_id })).await.unwrap().into_inner();
    assert_eq!(answer, GetGuildChannelResponse::default());
    let answer = cache.list_guild_members(of_guild(unknown, ListGuildMembersRequest::default())).await.unwrap().into_inner();
    assert_eq!(answer, ListGuildMembersResponse::default());
    let answer = cache.get_guild_member(of_guild(GUILD, GetGuildMemberRequest { user_id: 1 })).await.unwrap().into_inner();
    assert_eq!(answer, GetGuildMemberResponse::default());
    let nobody = FindGuildMembersRequest { name: Some("nobody".into()), ..Default::default() };
    let answer = cache.find_guild_members(of_guild(GUILD, nobody)).await.unwrap().into_inner();
    assert_eq!(answer, FindGuildMembersResponse::default());
    let request = GetGuildMemberPresenceRequest { user_id: user_id(GUILD, 5) };
    let answer = cache.get_guild_member_presence(of_guild(GUILD, request)).await.unwrap().into_inner();
    assert_eq!(answer, GetGuildMemberPresenceResponse::default());
    let answer = cache.list_guild_roles(of_guild(unknown, ListGuildRolesRequest::default())).await.unwrap().into_inner();
    assert_eq!(answer, ListGuildRolesResponse::default());
    let answer = cache.get_guild_role(of_guild(GUILD, GetGuildRoleRequest { role_id: 1 })).await.unwrap().into_inner();
    assert_eq!(answer, GetGuildRoleResponse::default());
    let answer = cache.list_guild_emojis(of_guild(unknown, ListGuildEmojisRequest::default())).await.unwrap().into_inner();
    assert_eq!(answer, ListGuildEmojisResponse::default());
    let answer = cache.get_guild_emoji(of_guild(GUILD, GetGuildEmojiRequest { emoji_id: 1 })).await.unwrap().into_inner();
    assert_eq!(answer, GetGuildEmojiResponse::default());
    let request = GetGuildMemberVoiceStateRequest { user_id: user_id(GUILD, 7) };
    let answer = cache.get_guild_member_voice_state(of_guild(GUILD, request)).await.unwrap().into_inner();
    assert_eq!(answer, GetGuildMemberVoiceStateResponse::default());
    let request = ListGuildChannelVoiceStatesRequest { channel_id: 1, ..Default::default() };
    let answer = cache.list_guild_channel_voice_states(of_guild(GUILD, request)).await.unwrap().into_inner();
    assert_eq!(answer, ListGuildChannelVoiceStatesResponse::default());
    let answer = cache.get_user(of_guild(GUILD, GetUserRequest { user_id: 1 })).await.unwrap().into_inner();
    assert_eq!(answer, GetUserResponse::default());
}

#[tokio::test]
async fn channels_are_found_and_listed_and_a_thread_is_a_channel() {
    let world = World::filled().await;
    let mut cache = world.cache().await;
    let request = GetGuildChannelRequest { channel_id: channel_id(GUILD, VOICE) };
    let channel = cache.get_guild_channel(of_guild(GUILD, request)).await.unwrap().into_inner().channel.unwrap();
    assert_eq!((channel.name.as_str(), channel.r#type()), ("channel1", ChannelType::GuildVoice));
    // Discord leaves the guild's id out of a guild's own lists.
    assert_eq!(channel.guild_id, Some(SnowflakeValue { value: GUILD }));
    let request = GetGuildChannelRequest { channel_id: GUILD + 701 };
    let thread = cache.get_guild_channel(of_guild(GUILD, request)).await.unwrap().into_inner().channel.unwrap();
    assert_eq!((thread.name.as_str(), thread.r#type()), ("thread1", ChannelType::PublicThread));
    let all = cache.list_guild_channels(of_guild(GUILD, ListGuildChannelsRequest::default())).await.unwrap().into_inner();
    assert_eq!(
        all.channels.iter().map(|channel| channel.id).collect::<Vec<_>>(),
        (0..12).map(|n| channel_id(GUILD, n)).collect::<Vec<_>>()
    );
    assert!(!all.more);
}

#[tokio::test]
async fn pages_lead_to_the_end_and_no_element_comes_twice_or_never() {
    let world = World::filled().await;
    let mut cache = world.cache().await;
    for limit in [1, 5, 6, 12, 13] {
        let (mut after, mut seen) = (0, Vec::new());
        loop {
            let page = cache.list_guild_channels(of_guild(GUILD, ListGuildChannelsRequest { after, limit })).await.unwrap().into_inner();
            assert!(page.channels.len() <= limit as usize);
            seen.extend(page.channels.iter().map(|channel| channel.id));
            if !page.more {
                break;
            }
            after = *seen.last().unwrap();
        }
        assert_eq!(seen, (0..12).map(|n| channel_id(GUILD, n)).collect::<Vec<_>>(), "pages of {limit}");
    }
    let (mut after, mut seen) = (0, 0);
    loop {
        let page = cache.list_guild_members(of_guild(GUILD, ListGuildMembersRequest { after, limit: 7 })).await.unwrap().into_inner();
        seen += page.members.len();
        // Pylon's clients know the end by a page that is not full.
        assert_eq!(page.members.len() == 7, page.more || seen == 42, "{seen}");
        if !page.more {
            break;
        }
        assert!(page.members[0].id > after);
        after = page.members.last().unwrap().id;
    }
    assert_eq!(seen, 41);
    let emojis =
        cache.list_guild_emojis(of_guild(GUILD, ListGuildEmojisRequest { after: GUILD + 501, limit: 2 })).await.unwrap().into_inner();
    assert_eq!((emojis.emojis.iter().map(|emoji| emoji.id - GUILD).collect::<Vec<_>>(), emojis.more), (vec![502, 503], true));
    let roles = cache.list_guild_roles(of_guild(GUILD, ListGuildRolesRequest { after: GUILD, limit: 1 })).await.unwrap().into_inner();
    assert_eq!((roles.roles.len(), roles.roles[0].id, roles.more), (1, role_id(GUILD), false));
}

#[tokio::test]
async fn a_limit_that_is_too_large_is_the_servers_limit() {
    let world = World::new().await;
    world.tell(BOT, GUILD, EventKind::GuildCreate, guild(GUILD, "large", 1_200)).await;
    for limit in [0, 1_000, 1_001, u32::MAX] {
        let request = of_guild(GUILD, ListGuildMembersRequest { after: 0, limit });
        let page = world.cache().await.list_guild_members(request).await.unwrap().into_inner();
        assert_eq!((page.members.len(), page.more), (1_000, true), "limit {limit}");
    }
}

#[tokio::test]
async fn an_answer_stays_below_the_4_mib_that_a_client_takes() {
    let world = World::filled().await;
    for n in 0..1_000_u64 {
        let id = GUILD + 5_000 + n;
        let overwrites: Vec<_> = (0..300)
            .map(|role| serde_json::json!({"id": (id + role).to_string(), "type": 0, "allow": "1", "deny": "18446744073709551615"}))
            .collect();
        let channel = serde_json::json!({"id": id.to_string(), "guild_id": GUILD.to_string(), "type": 0, "name": "n", "topic": "t".repeat(1_024), "permission_overwrites": overwrites});
        world.tell(BOT, GUILD, EventKind::ChannelCreate, channel).await;
    }
    let mut cache = world.cache().await;
    let (mut after, mut seen, mut pages) = (0, 0, 0);
    loop {
        let page = cache.list_guild_channels(of_guild(GUILD, ListGuildChannelsRequest { after, limit: 0 })).await.unwrap().into_inner();
        seen += page.channels.len();
        pages += 1;
        if !page.more {
            break;
        }
        after = page.channels.last().unwrap().id;
    }
    assert_eq!(seen, 1_012);
    assert!(pages > 2, "{pages}");
}

#[tokio::test]
async fn members_are_found_by_id_with_their_user() {
    let world = World::filled().await;
    let request = GetGuildMemberRequest { user_id: user_id(GUILD, 2) };
    let answer = world.cache().await.get_guild_member(of_guild(GUILD, request)).await.unwrap().into_inner();
    let member = answer.member.unwrap();
    assert_eq!((member.id, member.guild_id, member.nick.as_deref()), (user_id(GUILD, 2), GUILD, Some("Nicky")));
    assert_eq!((member.user.unwrap().username.as_str(), member.roles), ("member2", vec![role_id(GUILD)]));
}

#[tokio::test]
async fn members_are_found_by_name_prefix_status_and_role() {
    let world = World::filled().await;
    let mut cache = world.cache().await;
    let mut find = async |request: FindGuildMembersRequest| {
        let answer = cache.find_guild_members(of_guild(GUILD, request)).await.unwrap().into_inner();
        let ids: Vec<u64> = answer.members.iter().map(|member| member.id - user_id(GUILD, 0)).collect();
        (ids, answer.more)
    };
    let all = FindGuildMembersRequest::default;
    assert_eq!(find(FindGuildMembersRequest { name: Some("member3".into()), ..all() }).await, (vec![3], false));
    assert_eq!(find(FindGuildMembersRequest { name: Some("member".into()), ..all() }).await, (vec![], false));
    // Username, global name and nick; upper and lower case are one, also beyond ASCII.
    assert_eq!(find(FindGuildMembersRequest { prefix: Some("MEMBER3".into()), ..all() }).await.0, [vec![3], (30..40).collect()].concat());
    assert_eq!(find(FindGuildMembersRequest { prefix: Some("ärg".into()), ..all() }).await.0, vec![1]);
    assert_eq!(find(FindGuildMembersRequest { prefix: Some("nICK".into()), ..all() }).await.0, vec![2]);
    assert_eq!(find(FindGuildMembersRequest { prefix: Some("ember".into()), ..all() }).await.0, Vec::<u64>::new());
    assert_eq!(find(FindGuildMembersRequest { status: OnlineStatus::Dnd.into(), ..all() }).await.0, vec![0]);
    assert_eq!(find(FindGuildMembersRequest { status: OnlineStatus::Online.into(), ..all() }).await.0, vec![1]);
    let role_id = Some(SnowflakeValue { value: role_id(GUILD) });
    assert_eq!(find(FindGuildMembersRequest { role_id, ..all() }).await.0, (0..40).step_by(2).collect::<Vec<_>>());
    // All that is given must hold.
    let both = FindGuildMembersRequest { role_id, prefix: Some("member1".into()), ..all() };
    assert_eq!(find(both.clone()).await.0, vec![10, 12, 14, 16, 18]);
    assert_eq!(find(FindGuildMembersRequest { limit: 2, ..both.clone() }).await, (vec![10, 12], true));
    assert_eq!(find(FindGuildMembersRequest { after: user_id(GUILD, 14), ..both }).await, (vec![16, 18], false));
    let offline = FindGuildMembersRequest { status: OnlineStatus::Offline.into(), prefix: Some("member".into()), limit: 2, ..all() };
    assert_eq!(find(offline).await, (vec![2, 3], true));
}

#[tokio::test]
async fn a_name_that_nobody_can_have_and_a_status_that_is_none_are_refused() {
    let world = World::filled().await;
    let mut cache = world.cache().await;
    let request = FindGuildMembersRequest { prefix: Some("x".repeat(257)), ..Default::default() };
    let (code, text) = refusal(cache.find_guild_members(of_guild(GUILD, request)).await);
    assert_eq!((code, text.as_str()), (tonic::Code::InvalidArgument, "prefix is longer than 256 bytes: no member has such a name"));
    let request = FindGuildMembersRequest { status: 77, ..Default::default() };
    let (code, text) = refusal(cache.find_guild_members(of_guild(GUILD, request)).await);
    assert_eq!((code, text.as_str()), (tonic::Code::InvalidArgument, "status 77 is none of the known ones"));
}

#[tokio::test]
async fn presences_roles_and_emojis_are_found() {
    let world = World::filled().await;
    let mut cache = world.cache().await;
    let request = GetGuildMemberPresenceRequest { user_id: user_id(GUILD, 1) };
    let presence = cache.get_guild_member_presence(of_guild(GUILD, request)).await.unwrap().into_inner().presence.unwrap();
    assert_eq!((presence.guild_id, presence.status(), presence.activities[0].name.as_str()), (GUILD, OnlineStatus::Online, "a game"));
    let request = GetGuildRoleRequest { role_id: role_id(GUILD) };
    let role = cache.get_guild_role(of_guild(GUILD, request)).await.unwrap().into_inner().role.unwrap();
    assert_eq!((role.guild_id, role.name.as_str(), role.permissions, role.color), (GUILD, "even", 8, 255));
    let request = GetGuildEmojiRequest { emoji_id: GUILD + 501 };
    let emoji = cache.get_guild_emoji(of_guild(GUILD, request)).await.unwrap().into_inner().emoji.unwrap();
    assert_eq!((emoji.guild_id, emoji.name.as_str(), emoji.animated), (GUILD, "emoji1", true));
    let all = cache.list_guild_emojis(of_guild(GUILD, ListGuildEmojisRequest::default())).await.unwrap().into_inner();
    assert_eq!((all.emojis.len(), all.more), (5, false));
    let all = cache.list_guild_roles(of_guild(GUILD, ListGuildRolesRequest::default())).await.unwrap().into_inner();
    assert_eq!(all.roles.iter().map(|role| role.name.as_str()).collect::<Vec<_>>(), ["@everyone", "even"]);
}

#[tokio::test]
async fn voice_states_are_found_with_their_member_and_listed_by_channel() {
    let world = World::filled().await;
    let mut cache = world.cache().await;
    let request = GetGuildMemberVoiceStateRequest { user_id: user_id(GUILD, 1) };
    let state = cache.get_guild_member_voice_state(of_guild(GUILD, request)).await.unwrap().into_inner().voice_state_data.unwrap();
    assert_eq!((state.guild_id, state.self_deaf), (GUILD, true));
    assert_eq!(state.channel_id, Some(SnowflakeValue { value: channel_id(GUILD, VOICE) }));
    // A guild's own list of voice states has no members in it.
    assert_eq!(state.member.unwrap().user.unwrap().username, "member1");
    let request = ListGuildChannelVoiceStatesRequest { channel_id: channel_id(GUILD, VOICE), ..Default::default() };
    let all = cache.list_guild_channel_voice_states(of_guild(GUILD, request)).await.unwrap().into_inner();
    let ids: Vec<u64> = all.voice_states_data.iter().map(|state| state.member.as_ref().unwrap().id).collect();
    assert_eq!((ids, all.more), (vec![user_id(GUILD, 0), user_id(GUILD, 1)], false));
    let request = ListGuildChannelVoiceStatesRequest { limit: 1, ..request };
    let first = cache.list_guild_channel_voice_states(of_guild(GUILD, request)).await.unwrap().into_inner();
    assert_eq!((first.voice_states_data.len(), first.more), (1, true));
    let request = ListGuildChannelVoiceStatesRequest { after: user_id(GUILD, 0), ..request };
    let second = cache.list_guild_channel_voice_states(of_guild(GUILD, request)).await.unwrap().into_inner();
    assert_eq!((second.voice_states_data[0].self_deaf, second.more), (true, false));
}

#[tokio::test]
async fn what_an_event_changed_is_what_is_found_next() {
    let world = World::filled().await;
    let mut cache = world.cache().await;
    let update = serde_json::json!({"guild_id": GUILD.to_string(), "user": user(user_id(GUILD, 3), "renamed"), "nick": "n", "roles": [], "joined_at": "2020-01-02T03:04:05.000000+00:00"});
    world.tell(BOT, GUILD, EventKind::GuildMemberUpdate, update).await;
    let request = GetGuildMemberRequest { user_id: user_id(GUILD, 3) };
    let member = cache.get_guild_member(of_guild(GUILD, request)).await.unwrap().into_inner().member.unwrap();
    assert_eq!((member.user.unwrap().username.as_str(), member.nick.as_deref()), ("renamed", Some("n")));
    let request = FindGuildMembersRequest { prefix: Some("RENAM".into()), ..Default::default() };
    assert_eq!(cache.find_guild_members(of_guild(GUILD, request)).await.unwrap().into_inner().members.len(), 1);
}

#[tokio::test]
async fn after_a_lost_session_answers_say_that_they_may_be_old() {
    let world = World::filled().await;
    world.looker.on_guild(BOT, GUILD, |cache| cache.ready(&[GUILD])).await.unwrap();
    let mut cache = world.cache().await;
    let answer = cache.get_guild(of_guild(GUILD, GetGuildRequest {})).await.unwrap().into_inner();
    assert!(answer.guild.is_some() && answer.stale);
    let answer = cache.list_guild_roles(of_guild(GUILD, ListGuildRolesRequest::default())).await.unwrap().into_inner();
    assert!(answer.roles.len() == 2 && answer.stale);
    let answer = cache.list_guild_emojis(of_guild(GUILD, ListGuildEmojisRequest::default())).await.unwrap().into_inner();
    assert!(answer.emojis.len() == 5 && answer.stale);
    let answer = cache.get_guild_member(of_guild(GUILD, GetGuildMemberRequest { user_id: user_id(GUILD, 0) })).await.unwrap().into_inner();
    assert!(answer.member.is_some() && answer.stale);
    world.tell(BOT, GUILD, EventKind::GuildCreate, guild(GUILD, "first", 40)).await;
    assert!(!cache.get_guild(of_guild(GUILD, GetGuildRequest {})).await.unwrap().into_inner().stale);
}
