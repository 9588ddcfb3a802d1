//! Messages, reactions, polls, typing (Discord docs, resource Message; Gateway Events: Messages, Polls).

use super::View;
use super::people::{member_fields, user_fields};
use crate::event::{Event, Special, Who};
use crate::kinds::{Kind, MESSAGE_CONTENT};
use crate::out::Out;
use crate::world::{Class, EMOJIS, NO_GUILD, World, channel_of_message, has_poll, mix};

const WORDS: [&str; 32] = [
    "the",
    "signal",
    "on",
    "line",
    "four",
    "is",
    "clear",
    "and",
    "every",
    "operator",
    "who",
    "hears",
    "it",
    "should",
    "answer",
    "before",
    "noon",
    "because",
    "maintenance",
    "begins",
    "then",
    "please",
    "bring",
    "spare",
    "fuses",
    "coffee",
    "patience",
    "naïve",
    "😀",
    "“quoted”",
    "tomorrow",
    "again",
];

struct Place {
    guild: u32,
    channel_id: u64,
    /// Member number and user of the one who acts.
    member: u32,
    user: u32,
}

/// Where an event happens and who wrote, from the message's id, so that all events of a message agree.
fn place(world: &World, event: &Event) -> Place {
    let of = if event.message == 0 { event.number } else { event.message };
    let dice = mix(of);
    let member = (dice % u64::from(world.members.max(1))) as u32;
    if event.guild == NO_GUILD {
        return Place { guild: 0, channel_id: direct_channel_id(world, member), member, user: member };
    }
    Place {
        guild: event.guild,
        channel_id: world.channel_id(event.guild, channel_of_message(of)),
        member,
        user: world.member_user(event.guild, member),
    }
}

/// The channel of direct messages with this user.
pub(crate) fn direct_channel_id(world: &World, user: u32) -> u64 {
    world.object_id(Class::Direct, 0, user)
}

/// Some messages of guilds come by a webhook, whose author is no member.
fn by_webhook(event: &Event) -> bool {
    event.guild != NO_GUILD && mix(event.message ^ 0x77EB).is_multiple_of(24)
}

fn webhook_id(world: &World, place: &Place) -> u64 {
    world.object_id(Class::Dynamic, place.guild, 5_000) ^ ((place.channel_id >> 22) % 8)
}

pub(crate) fn data(o: &mut Out, world: &World, event: &Event, view: &View) {
    let place = place(world, event);
    let direct = event.guild == NO_GUILD;
    if !direct {
        o.id("guild_id", world.guild_id(event.guild));
    }
    match event.kind {
        Kind::MessageCreate | Kind::MessageUpdate => message(o, world, event, view, &place),
        Kind::MessageDelete => {
            o.id("id", event.message);
            o.id("channel_id", place.channel_id);
        }
        Kind::MessageDeleteBulk => {
            o.id("channel_id", place.channel_id);
            o.list("ids", |o| match event.special.as_deref() {
                Some(Special::Messages(ids)) => ids.iter().for_each(|id| o.item_id(*id)),
                _ => o.item_id(event.message),
            });
        }
        Kind::MessageReactionAdd | Kind::MessageReactionRemove => {
            // Somebody reacts, the same who takes the reaction back.
            let member = place.member.wrapping_add(event.n) % world.members.max(1);
            let user = if direct { place.user } else { world.member_user(place.guild, member) };
            o.id("user_id", world.user_id(user));
            o.int("type", 0);
            o.id("message_id", event.message);
            o.id("channel_id", place.channel_id);
            o.bool("burst", false);
            emoji(o, world, event);
            if event.kind == Kind::MessageReactionAdd {
                if !by_webhook(event) {
                    o.id("message_author_id", world.user_id(place.user));
                }
                if !direct {
                    o.map("member", |o| {
                        o.map("user", |o| user_fields(o, world, user));
                        member_fields(o, world, place.guild, Who::Member(member), event.seen);
                    });
                }
            }
        }
        Kind::MessageReactionRemoveAll => {
            o.id("message_id", event.message);
            o.id("channel_id", place.channel_id);
        }
        Kind::MessageReactionRemoveEmoji => {
            o.id("message_id", event.message);
            o.id("channel_id", place.channel_id);
            emoji(o, world, event);
        }
        Kind::MessagePollVoteAdd | Kind::MessagePollVoteRemove => {
            let member = place.member.wrapping_add(event.n) % world.members.max(1);
            o.id("user_id", world.user_id(if direct { place.user } else { world.member_user(place.guild, member) }));
            o.id("channel_id", place.channel_id);
            o.id("message_id", event.message);
            o.int("answer_id", i64::from(1 + event.n % 2));
        }
        _ => {
            o.id("channel_id", place.channel_id);
            o.id("user_id", world.user_id(place.user));
            o.int("timestamp", (event.at_unix_ms / 1000) as i64);
            if !direct {
                o.map("member", |o| {
                    o.map("user", |o| user_fields(o, world, place.user));
                    member_fields(o, world, place.guild, Who::Member(place.member), event.seen);
                });
            }
        }
    }
}

fn emoji(o: &mut Out, world: &World, event: &Event) {
    let custom = event.n % 2 == 1 && event.guild != NO_GUILD;
    o.map("emoji", |o| {
        if custom {
            let emoji = event.n % EMOJIS;
            o.str("name", &super::guilds::emoji_name(emoji, event.seen.emojis));
            o.id("id", world.object_id(Class::Emoji, event.guild, emoji));
            o.bool("animated", emoji.is_multiple_of(3));
        } else {
            o.str("name", "👍");
            o.null("id");
        }
    });
}

fn text(dice: u64) -> String {
    let words = [3, 6, 9, 14, 20, 28, 40, 75][(dice >> 60) as usize & 7];
    let mut text = String::with_capacity(words * 8);
    for word in 0..words {
        if word > 0 {
            text.push(' ');
        }
        text.push_str(WORDS[mix(dice ^ word as u64) as usize % 32]);
    }
    text
}

fn message(o: &mut Out, world: &World, event: &Event, view: &View, place: &Place) {
    let dice = mix(event.message ^ 0xABCD);
    let direct = event.guild == NO_GUILD;
    let shown = direct || view.intents & MESSAGE_CONTENT != 0;
    let edited = event.kind == Kind::MessageUpdate;
    let created_ms = (event.message >> 22) + crate::world::DISCORD_EPOCH_MS;
    o.int("type", if dice.is_multiple_of(5) { 19 } else { 0 });
    o.bool("tts", false);
    o.time("timestamp", created_ms);
    o.bool("pinned", false);
    o.id("id", event.message);
    o.id("channel_id", place.channel_id);
    o.int("channel_type", if direct { 1 } else { 0 });
    o.str("nonce", &event.message.to_string());
    if edited {
        o.time("edited_timestamp", event.at_unix_ms);
    } else {
        o.null("edited_timestamp");
    }
    o.int("flags", 0);
    if by_webhook(event) {
        o.id("webhook_id", webhook_id(world, place));
        o.map("author", |o| {
            o.id("id", webhook_id(world, place));
            o.str("username", "Signal relay");
            o.null("avatar");
            o.str("discriminator", "0000");
            o.int("public_flags", 0);
            o.int("flags", 0);
            o.bool("bot", true);
            o.null("global_name");
        });
    } else {
        o.map("author", |o| user_fields(o, world, place.user));
    }
    if !direct && !by_webhook(event) {
        o.map("member", |o| member_fields(o, world, place.guild, Who::Member(place.member), event.seen));
    }
    match (shown, edited) {
        (false, _) => o.str("content", ""),
        (true, false) => o.str("content", &text(dice)),
        (true, true) => o.str("content", &format!("{} (edit {})", text(dice), event.n)),
    }
    let mentioned = (!direct && dice.is_multiple_of(4) && world.members > 0).then(|| (place.member + 1) % world.members);
    o.list("mentions", |o| {
        if let Some(member) = mentioned {
            o.item_map(|o| {
                user_fields(o, world, world.member_user(place.guild, member));
                o.map("member", |o| member_fields(o, world, place.guild, Who::Member(member), event.seen));
            });
        }
    });
    o.empty("mention_roles");
    o.bool("mention_everyone", false);
    o.list("attachments", |o| {
        if shown && dice.is_multiple_of(9) {
            let id = event.message + 1;
            o.item_map(|o| {
                o.id("id", id);
                o.str("filename", "diagram.png");
                o.int("size", (dice % 900_000) as i64);
                o.str("url", &format!("https://cdn.example.com/attachments/{}/{id}/diagram.png?ex=6739a1c2", place.channel_id));
                o.str("proxy_url", &format!("https://media.example.com/attachments/{}/{id}/diagram.png", place.channel_id));
                o.int("width", 1024);
                o.int("height", 768);
                o.str("content_type", "image/png");
                o.int("content_scan_version", 2);
                o.str("placeholder", "NvgBA4D2d4eHh4d3h3d3d4B3dwAAAAA=");
                o.int("placeholder_version", 1);
            });
        }
    });
    o.list("embeds", |o| {
        if shown && dice.is_multiple_of(3) {
            o.item_map(|o| {
                o.str("type", "rich");
                o.str("title", "Line report");
                o.str("description", &text(mix(dice)));
                o.int("color", 5_814_783);
                o.str("url", "https://example.com/report");
                o.list("fields", |o| {
                    for field in 0..3u64 {
                        o.item_map(|o| {
                            o.str("name", WORDS[(dice >> field) as usize % 32]);
                            o.str("value", WORDS[(dice >> (field + 8)) as usize % 32]);
                            o.bool("inline", true);
                        });
                    }
                });
                o.map("footer", |o| o.str("text", "simulated"));
                o.int("content_scan_version", 2);
            });
        }
    });
    o.list("components", |o| {
        if shown && dice % 16 == 1 {
            o.item_map(|o| {
                o.int("type", 1);
                o.int("id", 1);
                o.list("components", |o| {
                    o.item_map(|o| {
                        o.int("type", 2);
                        o.int("id", 2);
                        o.str("custom_id", "answer");
                        o.int("style", 1);
                        o.str("label", "Answer");
                    });
                });
            });
        }
    });
    if shown && has_poll(event.message) {
        o.map("poll", |o| {
            o.map("question", |o| o.str("text", "Which line first?"));
            o.list("answers", |o| {
                for (answer, text) in [(1, "line four"), (2, "the other one")] {
                    o.item_map(|o| {
                        o.int("answer_id", answer);
                        o.map("poll_media", |o| o.str("text", text));
                    });
                }
            });
            o.time("expiry", created_ms + 86_400_000);
            o.bool("allow_multiselect", false);
            o.int("layout_type", 1);
            o.map("results", |o| {
                o.bool("is_finalized", false);
                o.empty("answer_counts");
            });
        });
    }
    if dice.is_multiple_of(5) {
        o.map("message_reference", |o| {
            o.int("type", 0);
            o.id("channel_id", place.channel_id);
            o.id("message_id", event.message - (1 << 22));
            if !direct {
                o.id("guild_id", world.guild_id(place.guild));
            }
        });
        o.null("referenced_message");
    }
    if dice.is_multiple_of(7) && !direct {
        o.list("sticker_items", |o| {
            o.item_map(|o| {
                o.id("id", world.object_id(Class::Sticker, place.guild, 0));
                o.str("name", &format!("sticker 0 v{}", event.seen.stickers));
                o.int("format_type", 1);
            });
        });
    }
}
