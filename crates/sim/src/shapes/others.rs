//! All other events: roles, bans, expressions, channels, threads, voice, stages, scheduled events, auto moderation, integrations,
//! invites, webhooks, interactions, money (Discord docs, Gateway Events).

use super::guilds::{
    channel_fields, emojis, passing_channel_fields, passing_channel_id, passing_role_fields, passing_role_id, role_fields,
    scheduled_event_fields, scheduled_event_id, sound_fields, stage_fields, stickers, thread_fields, thread_parent,
};
use super::people::{member_fields, own_user_fields, user_fields};
use crate::event::{Event, Special, Who};
use crate::kinds::Kind;
use crate::out::Out;
use crate::world::{Bot, CHANNELS, Class, Count, GuildState, NO_GUILD, ROLES, THREADS, World};

pub(crate) fn thread_list_sync(o: &mut Out, world: &World, bot: &Bot, event: &Event, state: &GuildState) {
    let guild = event.guild;
    o.id("guild_id", world.guild_id(guild));
    o.list("channel_ids", |o| {
        o.item_id(world.channel_id(guild, 1));
        o.item_id(world.channel_id(guild, 8));
    });
    o.list("threads", |o| {
        for thread in 0..THREADS {
            o.item_map(|o| thread_fields(o, world, guild, thread, state.version(Count::Threads, thread, THREADS), true));
        }
        if state.exists(Count::Thread) {
            o.item_map(|o| thread_fields(o, world, guild, THREADS + state.count(Count::Thread) / 2, 0, true));
        }
    });
    o.list("members", |o| o.item_map(|o| thread_member_fields(o, world, guild, 0, bot.id)));
}

fn thread_member_fields(o: &mut Out, world: &World, guild: u32, thread: u32, user_id: u64) {
    o.id("id", world.thread_id(guild, thread));
    o.id("user_id", user_id);
    o.time("join_timestamp", 1_763_000_000_000);
    o.int("flags", 1);
}

pub(crate) fn own_voice_state(
    o: &mut Out,
    world: &World,
    bot: &Bot,
    event: &Event,
    channel_id: Option<u64>,
    self_mute: bool,
    self_deaf: bool,
) {
    o.id("guild_id", world.guild_id(event.guild));
    o.id_or_null("channel_id", channel_id);
    o.id("user_id", bot.id);
    o.str("session_id", &format!("{:032x}", bot.id));
    o.bool("deaf", false);
    o.bool("mute", false);
    o.bool("self_deaf", self_deaf);
    o.bool("self_mute", self_mute);
    o.bool("self_video", false);
    o.bool("suppress", false);
    o.null("request_to_speak_timestamp");
    o.map("member", |o| {
        o.map("user", |o| own_user_fields(o, bot, 0));
        member_fields(o, world, event.guild, Who::Bot, &GuildState::default());
    });
}

/// Writes `d` of the kinds of this file; a kind of another file writes nothing.
pub(crate) fn data(o: &mut Out, world: &World, bot: &Bot, event: &Event) {
    let guild = event.guild;
    let n = event.n;
    let someone = |offset: u32| world.member_user(guild, n.wrapping_add(offset) % world.members.max(1));
    let guild_id = |o: &mut Out| o.id("guild_id", world.guild_id(guild));
    match event.kind {
        Kind::GuildBanAdd | Kind::GuildBanRemove => {
            guild_id(o);
            o.map("user", |o| user_fields(o, world, world.outcast(guild)));
        }
        Kind::GuildAuditLogEntryCreate => {
            guild_id(o);
            o.id("id", world.object_id(Class::AuditEntry, guild, n));
            o.id("user_id", world.user_id(someone(0)));
            o.id("target_id", world.channel_id(guild, 1));
            o.int("action_type", 11);
            o.list("changes", |o| {
                o.item_map(|o| {
                    o.str("key", "topic");
                    o.str("old_value", "before");
                    o.str("new_value", "after");
                });
            });
            o.str("reason", "because it is simulated");
        }
        Kind::GuildEmojisUpdate => {
            guild_id(o);
            emojis(o, world, guild, n + 1);
        }
        Kind::GuildStickersUpdate => {
            guild_id(o);
            stickers(o, world, guild, n + 1);
        }
        Kind::GuildIntegrationsUpdate => guild_id(o),
        Kind::GuildRoleCreate => {
            guild_id(o);
            o.map("role", |o| passing_role_fields(o, world, guild, n));
        }
        Kind::GuildRoleUpdate => {
            guild_id(o);
            o.map("role", |o| role_fields(o, world, guild, n % ROLES, n / ROLES + 1));
        }
        Kind::GuildRoleDelete => {
            guild_id(o);
            o.id("role_id", passing_role_id(world, guild, n));
        }
        Kind::GuildSoundboardSoundCreate => sound_fields(o, world, guild, 1 + n, "passing"),
        Kind::GuildSoundboardSoundUpdate => sound_fields(o, world, guild, 1 + n, "passing, renamed"),
        Kind::GuildSoundboardSoundDelete => {
            guild_id(o);
            o.id("sound_id", world.object_id(Class::Sound, guild, 1 + n));
        }
        Kind::GuildSoundboardSoundsUpdate | Kind::SoundboardSounds => {
            guild_id(o);
            o.list("soundboard_sounds", |o| o.item_map(|o| sound_fields(o, world, guild, 0, "knock")));
        }
        Kind::ApplicationCommandPermissionsUpdate => {
            o.id("id", bot.id);
            o.id("application_id", bot.id);
            guild_id(o);
            o.list("permissions", |o| {
                o.item_map(|o| {
                    o.id("id", world.role_id(guild, 2));
                    o.int("type", 1);
                    o.bool("permission", n.is_multiple_of(2));
                });
            });
        }
        Kind::UserUpdate => own_user_fields(o, bot, n + 1),
        Kind::ChannelCreate | Kind::ChannelDelete => passing_channel_fields(o, world, guild, n, true),
        Kind::ChannelUpdate => channel_fields(o, world, guild, n % CHANNELS, n / CHANNELS + 1, true),
        Kind::ChannelInfo => {
            let (status, start_time) = match event.special.as_deref() {
                Some(Special::ChannelInfo { status, start_time }) => (*status, *start_time),
                _ => (true, true),
            };
            guild_id(o);
            o.list("channels", |o| {
                o.item_map(|o| {
                    o.id("id", world.channel_id(guild, 9));
                    if status {
                        o.str("status", "talking of signals");
                    }
                    if start_time {
                        o.int("voice_start_time", (event.at_unix_ms / 1000) as i64 - 60);
                    }
                });
            });
        }
        Kind::VoiceChannelStatusUpdate => {
            guild_id(o);
            o.id("id", world.channel_id(guild, 9));
            o.str_or_null("status", (n.is_multiple_of(2)).then_some("talking of signals"));
        }
        Kind::VoiceChannelStartTimeUpdate => {
            guild_id(o);
            o.id("id", world.channel_id(guild, 9));
            o.int("voice_start_time", (event.at_unix_ms / 1000) as i64);
        }
        Kind::ChannelPinsUpdate => {
            if guild != NO_GUILD {
                guild_id(o);
            }
            o.id("channel_id", world.channel_id(guild, 1));
            o.time("last_pin_timestamp", event.at_unix_ms);
        }
        Kind::ThreadCreate => {
            thread_fields(o, world, guild, THREADS + n, 0, true);
            o.bool("newly_created", true);
        }
        Kind::ThreadUpdate => thread_fields(o, world, guild, n % THREADS, n / THREADS + 1, true),
        Kind::ThreadDelete => {
            o.id("id", world.thread_id(guild, THREADS + n));
            guild_id(o);
            o.id("parent_id", thread_parent(world, guild, THREADS + n));
            o.int("type", 11);
        }
        Kind::ThreadMemberUpdate => {
            thread_member_fields(o, world, guild, 0, bot.id);
            guild_id(o);
        }
        Kind::ThreadMembersUpdate => {
            o.id("id", world.thread_id(guild, 0));
            guild_id(o);
            o.int("member_count", i64::from(3 + n % 2));
            if n.is_multiple_of(2) {
                let member = 1 % world.members.max(1);
                o.list("added_members", |o| {
                    o.item_map(|o| {
                        thread_member_fields(o, world, guild, 0, world.user_id(world.member_user(guild, member)));
                        o.map("member", |o| {
                            o.map("user", |o| user_fields(o, world, world.member_user(guild, member)));
                            member_fields(o, world, guild, Who::Member(member), &GuildState::default());
                        });
                        o.null("presence");
                    });
                });
            } else {
                o.list("removed_member_ids", |o| o.item_id(world.user_id(world.member_user(guild, 1 % world.members.max(1)))));
            }
        }
        Kind::VoiceServerUpdate => {
            guild_id(o);
            match event.special.as_deref() {
                Some(Special::VoiceServer { token }) => o.str("token", token),
                _ => o.str("token", "0000000000000000"),
            }
            o.str("endpoint", "rotterdam1.voice.example.com:443");
        }
        Kind::VoiceChannelEffectSend => {
            o.id("channel_id", world.channel_id(guild, 9));
            guild_id(o);
            o.id("user_id", world.user_id(someone(0)));
            o.map("emoji", |o| {
                o.null("id");
                o.str("name", "🎉");
            });
            o.int("animation_type", 1);
            o.int("animation_id", i64::from(n % 20));
        }
        Kind::StageInstanceCreate => stage_fields(o, world, guild, n, "a talk"),
        Kind::StageInstanceUpdate => stage_fields(o, world, guild, n, "another talk"),
        Kind::StageInstanceDelete => stage_fields(o, world, guild, n, "a talk"),
        Kind::GuildScheduledEventCreate => scheduled_event_fields(o, world, guild, n, 1),
        Kind::GuildScheduledEventUpdate => scheduled_event_fields(o, world, guild, n, 2),
        Kind::GuildScheduledEventDelete => scheduled_event_fields(o, world, guild, n, 4),
        Kind::GuildScheduledEventUserAdd | Kind::GuildScheduledEventUserRemove => {
            o.id("guild_scheduled_event_id", scheduled_event_id(world, guild, n));
            o.id("user_id", world.user_id(someone(0)));
            guild_id(o);
        }
        Kind::AutoModerationRuleCreate | Kind::AutoModerationRuleUpdate | Kind::AutoModerationRuleDelete => {
            auto_moderation_rule(o, world, bot, event);
        }
        Kind::AutoModerationActionExecution => {
            guild_id(o);
            o.map("action", |o| o.int("type", 1));
            o.id("rule_id", world.object_id(Class::Dynamic, guild, 2_000_000 + n));
            o.int("rule_trigger_type", 1);
            o.id("user_id", world.user_id(someone(0)));
            o.id("channel_id", world.channel_id(guild, 1));
            o.id("message_id", crate::event::snowflake(event.at_unix_ms, event.number));
            o.str("content", "a bad word");
            o.str("matched_keyword", "bad");
            o.str("matched_content", "bad");
        }
        Kind::IntegrationCreate | Kind::IntegrationUpdate => {
            o.id("id", world.object_id(Class::Integration, guild, n));
            guild_id(o);
            o.str("name", "An integration");
            o.str("type", "discord");
            o.bool("enabled", event.kind == Kind::IntegrationCreate);
            o.map("account", |o| {
                o.str("id", "4711");
                o.str("name", "An integration");
            });
        }
        Kind::IntegrationDelete => {
            o.id("id", world.object_id(Class::Integration, guild, n));
            guild_id(o);
        }
        Kind::InviteCreate => {
            o.id("channel_id", world.channel_id(guild, 1));
            o.str("code", &invite_code(guild, n));
            o.time("created_at", event.at_unix_ms);
            guild_id(o);
            o.map("inviter", |o| user_fields(o, world, someone(0)));
            o.int("max_age", 86_400);
            o.int("max_uses", 0);
            o.bool("temporary", false);
            o.int("uses", 0);
            o.int("type", 0);
            o.time("expires_at", event.at_unix_ms + 86_400_000);
        }
        Kind::InviteDelete => {
            o.id("channel_id", world.channel_id(guild, 1));
            guild_id(o);
            o.str("code", &invite_code(guild, n));
        }
        Kind::WebhooksUpdate => {
            guild_id(o);
            o.id("channel_id", world.channel_id(guild, 1));
        }
        Kind::InteractionCreate => interaction(o, world, bot, event, someone(0)),
        Kind::EntitlementCreate | Kind::EntitlementUpdate | Kind::EntitlementDelete => {
            o.id("id", world.object_id(Class::Application, 0, 1_000 + n));
            o.id("sku_id", world.object_id(Class::Application, 0, 1));
            o.id("application_id", bot.id);
            o.id("user_id", world.user_id(0));
            o.int("type", 8);
            o.bool("deleted", event.kind == Kind::EntitlementDelete);
            o.time("starts_at", 1_763_000_000_000);
            if event.kind == Kind::EntitlementUpdate {
                o.time("ends_at", event.at_unix_ms);
            } else {
                o.null("ends_at");
            }
            o.bool("consumed", false);
        }
        Kind::SubscriptionCreate | Kind::SubscriptionUpdate | Kind::SubscriptionDelete => {
            o.id("id", world.object_id(Class::Application, 0, 2_000_000 + n));
            o.id("user_id", world.user_id(0));
            o.list("sku_ids", |o| o.item_id(world.object_id(Class::Application, 0, 1)));
            o.list("entitlement_ids", |o| o.item_id(world.object_id(Class::Application, 0, 1_000 + n)));
            o.null("renewal_sku_ids");
            o.time("current_period_start", 1_763_000_000_000);
            o.time("current_period_end", 1_766_000_000_000);
            o.int("status", if event.kind == Kind::SubscriptionCreate { 0 } else { 1 });
            o.null("canceled_at");
        }
        Kind::Unknown => {
            guild_id(o);
            o.str("what", "an event that no documentation knows");
        }
        _ => {}
    }
    // A deleted channel is named as it was; nothing more to say here than its id.
    debug_assert!(event.kind != Kind::ChannelDelete || passing_channel_id(world, guild, n) > 0);
}

fn invite_code(guild: u32, n: u32) -> String {
    format!("sim{guild:x}x{n:x}")
}

fn auto_moderation_rule(o: &mut Out, world: &World, bot: &Bot, event: &Event) {
    let guild = event.guild;
    o.id("id", world.object_id(Class::Dynamic, guild, 2_000_000 + event.n));
    o.id("guild_id", world.guild_id(guild));
    o.str("name", "No bad words");
    o.id("creator_id", bot.id);
    o.int("event_type", 1);
    o.int("trigger_type", 1);
    o.map("trigger_metadata", |o| {
        o.list("keyword_filter", |o| o.item_str("bad"));
        o.empty("regex_patterns");
        o.empty("allow_list");
    });
    o.list("actions", |o| {
        o.item_map(|o| {
            o.int("type", 1);
            o.map("metadata", |o| o.str("custom_message", "Please do not."));
        });
    });
    o.bool("enabled", event.kind == Kind::AutoModerationRuleCreate);
    o.empty("exempt_roles");
    o.empty("exempt_channels");
}

fn interaction(o: &mut Out, world: &World, bot: &Bot, event: &Event, user: u32) {
    let guild = event.guild;
    let id = crate::event::snowflake(event.at_unix_ms, event.number);
    o.int("version", 1);
    o.int("type", 2);
    o.str("token", &format!("aW50ZXJhY3Rpb246{id}{:032x}", event.number));
    o.id("id", id);
    o.id("application_id", bot.id);
    o.id("guild_id", world.guild_id(guild));
    o.id("channel_id", world.channel_id(guild, 1));
    o.map("channel", |o| {
        o.id("id", world.channel_id(guild, 1));
        o.int("type", 0);
        o.str("name", "channel-1");
        o.str("permissions", "2222085186637376");
    });
    o.map("guild", |o| {
        o.id("id", world.guild_id(guild));
        o.str("locale", "en-US");
        o.list("features", |o| o.item_str("COMMUNITY"));
    });
    o.str("guild_locale", "en-US");
    o.str("locale", "de");
    o.map("member", |o| {
        o.map("user", |o| user_fields(o, world, user));
        member_fields(o, world, guild, Who::Member(event.n % world.members.max(1)), &GuildState::default());
        o.str("permissions", "2222085186637376");
    });
    o.map("data", |o| {
        o.int("type", 1);
        o.id("id", world.object_id(Class::Command, 0, 1));
        o.str("name", "look");
        o.list("options", |o| {
            o.item_map(|o| {
                o.str("name", "who");
                o.int("type", 6);
                o.key("value");
                o.raw_str(&world.user_id(user).to_string());
            });
        });
        o.map("resolved", |o| {
            o.map("users", |o| {
                o.data_key(&world.user_id(user).to_string());
                o.inline_map(|o| user_fields(o, world, user));
            });
        });
    });
    o.empty("entitlements");
    o.map("authorizing_integration_owners", |o| {
        o.data_key("0");
        o.raw_id(world.guild_id(guild));
    });
    o.int("context", 0);
    o.str("app_permissions", "2222085186637376");
    o.int("attachment_size_limit", 10_485_760);
}
