//! All other events: roles, bans, expressions, channels, threads, voice, stages, scheduled events, auto moderation, integrations,
//! invites, webhooks, interactions, money (Discord docs, Gateway Events).

use super::View;
use super::guilds::{
    active_threads, channel_fields, emojis, last_pin, passing_channel_fields, passing_role_fields, passing_role_id, role_fields,
    scheduled_event_fields, sound_fields, sounds, stage_fields, standing_event_id, stickers, thread_fields, thread_members, thread_parent,
};
use super::messages::direct_channel_id;
use super::people::{member_fields, own_user_fields, user_fields};
use crate::event::{Event, Special, Who, voice_status};
use crate::kinds::{Kind, MESSAGE_CONTENT};
use crate::out::Out;
use crate::world::{Bot, CHANNELS, Class, Count, GuildState, NO_GUILD, OwnVoice, ROLES, THREADS, World};

pub(crate) fn thread_list_sync(o: &mut Out, world: &World, bot: &Bot, event: &Event, state: &GuildState) {
    let guild = event.guild;
    o.id("guild_id", world.guild_id(guild));
    o.list("channel_ids", |o| {
        o.item_id(world.channel_id(guild, 1));
        o.item_id(world.channel_id(guild, 8));
    });
    o.list("threads", |o| active_threads(o, world, guild, state));
    o.list("members", |o| o.item_map(|o| thread_member_fields(o, world, guild, 0, bot.id)));
}

fn thread_member_fields(o: &mut Out, world: &World, guild: u32, thread: u32, user_id: u64) {
    o.id("id", world.thread_id(guild, thread));
    o.id("user_id", user_id);
    o.time("join_timestamp", 1_763_000_000_000);
    o.int("flags", 1);
}

/// The bot's own voice state, without `guild_id` and `member`.
pub(crate) fn own_voice_fields(o: &mut Out, world: &World, bot: &Bot, guild: u32, place: Option<OwnVoice>) {
    o.id_or_null("channel_id", place.map(|place| world.channel_id(guild, place.channel)));
    o.id("user_id", bot.id);
    o.str("session_id", &format!("{:032x}", bot.id));
    o.bool("deaf", false);
    o.bool("mute", false);
    o.bool("self_deaf", place.is_some_and(|place| place.self_deaf));
    o.bool("self_mute", place.is_some_and(|place| place.self_mute));
    o.bool("self_video", false);
    o.bool("suppress", place.is_some_and(|place| place.channel == CHANNELS - 1));
    o.null("request_to_speak_timestamp");
}

/// VOICE_STATE_UPDATE of the bot itself.
pub(crate) fn own_voice_state(o: &mut Out, world: &World, bot: &Bot, event: &Event, place: Option<OwnVoice>) {
    o.id("guild_id", world.guild_id(event.guild));
    own_voice_fields(o, world, bot, event.guild, place);
    o.map("member", |o| {
        o.map("user", |o| own_user_fields(o, bot, event.seen.own));
        member_fields(o, world, event.guild, Who::Bot, event.seen);
    });
}

/// Writes `d` of the kinds of this file; a kind of another file writes nothing.
pub(crate) fn data(o: &mut Out, world: &World, bot: &Bot, event: &Event, view: &View) {
    let guild = event.guild;
    let n = event.n;
    let someone = |offset: u32| world.member_user(guild, n.wrapping_add(offset) % world.members.max(1));
    let guild_id = |o: &mut Out| o.id("guild_id", world.guild_id(guild));
    let nothing = GuildState::default();
    let whole = match event.special.as_deref() {
        Some(Special::Guild(state)) => state,
        _ => &nothing,
    };
    match event.kind {
        Kind::GuildBanAdd | Kind::GuildBanRemove => {
            guild_id(o);
            o.map("user", |o| user_fields(o, world, world.outcast(guild)));
        }
        Kind::GuildAuditLogEntryCreate => {
            let (action, key, target) = match n % 4 {
                0 => (11, "topic", world.channel_id(guild, 1)),
                1 => (24, "nick", world.user_id(someone(1))),
                2 => (31, "color", world.role_id(guild, 1)),
                _ => (1, "name", world.guild_id(guild)),
            };
            guild_id(o);
            o.id("id", world.object_id(Class::AuditEntry, guild, n));
            o.id("user_id", world.user_id(someone(0)));
            o.id("target_id", target);
            o.int("action_type", action);
            o.list("changes", |o| {
                o.item_map(|o| {
                    o.str("key", key);
                    if key == "color" {
                        o.int("old_value", 0);
                        o.int("new_value", 3711);
                    } else {
                        o.str("old_value", "before");
                        o.str("new_value", "after");
                    }
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
        Kind::GuildSoundboardSoundCreate | Kind::GuildSoundboardSoundUpdate => sound_fields(o, world, guild, 1 + n, event.version),
        Kind::GuildSoundboardSoundDelete => {
            guild_id(o);
            o.id("sound_id", world.object_id(Class::Sound, guild, 1 + n));
        }
        Kind::GuildSoundboardSoundsUpdate | Kind::SoundboardSounds => {
            guild_id(o);
            o.list("soundboard_sounds", |o| sounds(o, world, guild, whole));
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
        Kind::ChannelUpdate => channel_fields(o, world, guild, n % CHANNELS, whole, true),
        Kind::ChannelInfo => {
            guild_id(o);
            o.list("channels", |o| {
                if let Some(Special::ChannelInfo { status, start_time }) = event.special.as_deref() {
                    o.item_map(|o| {
                        o.id("id", world.channel_id(guild, 9));
                        if let Some(status) = status {
                            o.str_or_null("status", *status);
                        }
                        if let Some(since_s) = start_time {
                            match since_s {
                                Some(since_s) => o.int("voice_start_time", *since_s as i64),
                                None => o.null("voice_start_time"),
                            }
                        }
                    });
                }
            });
        }
        Kind::VoiceChannelStatusUpdate => {
            guild_id(o);
            o.id("id", world.channel_id(guild, 9));
            o.str_or_null("status", voice_status(n + 1));
        }
        Kind::VoiceChannelStartTimeUpdate => {
            guild_id(o);
            o.id("id", world.channel_id(guild, 9));
            if event.version > 0 {
                o.int("voice_start_time", (event.at_unix_ms / 1000) as i64);
            } else {
                o.null("voice_start_time");
            }
        }
        Kind::ChannelPinsUpdate => {
            if guild == NO_GUILD {
                o.id("channel_id", direct_channel_id(world, n % world.members.max(1)));
            } else {
                guild_id(o);
                o.id("channel_id", world.channel_id(guild, 1));
            }
            o.time("last_pin_timestamp", last_pin(n));
        }
        Kind::ThreadCreate => {
            thread_fields(o, world, guild, THREADS + n, 0, 0);
            o.bool("newly_created", true);
        }
        Kind::ThreadUpdate => {
            thread_fields(o, world, guild, n % THREADS, n / THREADS + 1, whole.count(Count::ThreadMembers));
        }
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
            o.int("member_count", thread_members(n + 1));
            if n.is_multiple_of(2) {
                let member = 1 % world.members.max(1);
                o.list("added_members", |o| {
                    o.item_map(|o| {
                        thread_member_fields(o, world, guild, 0, world.user_id(world.member_user(guild, member)));
                        o.map("member", |o| {
                            o.map("user", |o| user_fields(o, world, world.member_user(guild, member)));
                            member_fields(o, world, guild, Who::Member(member), event.seen);
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
        Kind::StageInstanceCreate | Kind::StageInstanceUpdate | Kind::StageInstanceDelete => {
            stage_fields(o, world, guild, n, event.version);
        }
        Kind::GuildScheduledEventCreate | Kind::GuildScheduledEventUpdate => {
            scheduled_event_fields(o, world, guild, n, event.version, false);
        }
        Kind::GuildScheduledEventDelete => scheduled_event_fields(o, world, guild, n, event.version, true),
        Kind::GuildScheduledEventUserAdd | Kind::GuildScheduledEventUserRemove => {
            o.id("guild_scheduled_event_id", standing_event_id(world, guild));
            o.id("user_id", world.user_id(someone(0)));
            guild_id(o);
        }
        Kind::AutoModerationRuleCreate | Kind::AutoModerationRuleUpdate | Kind::AutoModerationRuleDelete => {
            auto_moderation_rule(o, world, bot, event);
        }
        Kind::AutoModerationActionExecution => {
            guild_id(o);
            o.map("action", |o| o.int("type", 1));
            // A rule from before the beginning, which always is there.
            o.id("rule_id", world.object_id(Class::Dynamic, guild, 1_999_999));
            o.int("rule_trigger_type", 1);
            o.id("user_id", world.user_id(someone(0)));
            o.id("channel_id", world.channel_id(guild, 1));
            // The message was blocked: it has no id. What it said needs the intent for content.
            let shown = view.intents & MESSAGE_CONTENT != 0;
            o.str("content", if shown { "a bad word" } else { "" });
            o.str("matched_keyword", "bad");
            o.str("matched_content", if shown { "bad" } else { "" });
        }
        Kind::IntegrationCreate | Kind::IntegrationUpdate => {
            let application = world.object_id(Class::Application, 0, 7);
            o.id("id", world.object_id(Class::Integration, guild, n));
            guild_id(o);
            o.str("name", &format!("An integration, release {}", event.version + 1));
            o.str("type", "discord");
            o.bool("enabled", event.version.is_multiple_of(2));
            o.map("account", |o| {
                o.key("id");
                o.raw_str(&application.to_string());
                o.str("name", "An integration");
            });
            o.map("application", |o| {
                o.id("id", application);
                o.str("name", "An integration");
                o.null("icon");
                o.str("description", "Another bot of the guild");
                o.str("summary", "");
                o.null("type");
            });
            o.list("scopes", |o| {
                o.item_str("bot");
                o.item_str("applications.commands");
            });
        }
        Kind::IntegrationDelete => {
            o.id("id", world.object_id(Class::Integration, guild, n));
            guild_id(o);
            o.id("application_id", world.object_id(Class::Application, 0, 7));
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
            // Active, then ending, then inactive.
            let (status, canceled) = match event.kind {
                Kind::SubscriptionCreate => (0, false),
                Kind::SubscriptionUpdate => (2, true),
                _ => (1, true),
            };
            o.int("status", status);
            if canceled {
                o.time("canceled_at", 1_764_000_000_000);
            } else {
                o.null("canceled_at");
            }
        }
        Kind::Unknown => {
            guild_id(o);
            o.str("what", "an event that no documentation knows");
        }
        _ => {}
    }
}

fn invite_code(guild: u32, n: u32) -> String {
    format!("sim{guild:x}x{n:x}")
}

fn auto_moderation_rule(o: &mut Out, world: &World, bot: &Bot, event: &Event) {
    let guild = event.guild;
    o.id("id", world.object_id(Class::Dynamic, guild, 2_000_000 + event.n));
    o.id("guild_id", world.guild_id(guild));
    o.str("name", &format!("No bad words, edition {}", event.version + 1));
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
    o.bool("enabled", event.version.is_multiple_of(2));
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
        member_fields(o, world, guild, Who::Member(event.n % world.members.max(1)), event.seen);
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
