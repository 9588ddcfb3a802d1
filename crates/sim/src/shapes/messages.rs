//! Messages, reactions, polls, typing (Discord docs, resource Message; Gateway Events: Messages, Polls).

use super::View;
use super::people::{member_fields, user_fields};
use crate::event::{Event, Who};
use crate::kinds::{Kind, MESSAGE_CONTENT};
use crate::out::Out;
use crate::world::{Class, EMOJIS, GuildState, NO_GUILD, TEXT_CHANNELS, World, mix};

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

/// Where an event happens and who acts, from the message's id, so that all events of a message agree.
fn place(world: &World, event: &Event) -> Place {
    let dice = mix(event.message);
    if event.guild == NO_GUILD {
        let user = (dice % u64::from(world.members.max(1))) as u32;
        return Place { guild: 0, channel_id: world.object_id(Class::Direct, 0, user), member: user, user };
    }
    let member = (dice % u64::from(world.members.max(1))) as u32;
    Place {
        guild: event.guild,
        channel_id: world.channel_id(event.guild, 1 + (dice >> 32) as u32 % TEXT_CHANNELS),
        member,
        user: world.member_user(event.guild, member),
    }
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
            o.list("ids", |o| o.item_id(event.message));
        }
        Kind::MessageReactionAdd | Kind::MessageReactionRemove => {
            o.id("user_id", world.user_id(place.user));
            o.int("type", 0);
            o.id("message_id", event.message);
            o.id("channel_id", place.channel_id);
            o.bool("burst", false);
            emoji(o, world, event);
            if event.kind == Kind::MessageReactionAdd {
                o.id("message_author_id", world.user_id(place.user));
                if !direct {
                    o.map("member", |o| {
                        o.map("user", |o| user_fields(o, world, place.user));
                        member_fields(o, world, place.guild, Who::Member(place.member), &GuildState::default());
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
            o.id("user_id", world.user_id(place.user));
            o.id("channel_id", place.channel_id);
            o.id("message_id", event.message);
            o.int("answer_id", 1);
        }
        _ => {
            o.id("channel_id", place.channel_id);
            o.id("user_id", world.user_id(place.user));
            o.int("timestamp", (event.at_unix_ms / 1000) as i64);
            if !direct {
                o.map("member", |o| {
                    o.map("user", |o| user_fields(o, world, place.user));
                    member_fields(o, world, place.guild, Who::Member(place.member), &GuildState::default());
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
            o.str("name", &format!("sim_{emoji}_0"));
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
    o.map("author", |o| user_fields(o, world, place.user));
    if !direct {
        o.map("member", |o| member_fields(o, world, place.guild, Who::Member(place.member), &GuildState::default()));
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
                o.map("member", |o| member_fields(o, world, place.guild, Who::Member(member), &GuildState::default()));
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
    if dice.is_multiple_of(7) {
        o.list("sticker_items", |o| {
            o.item_map(|o| {
                o.id("id", world.object_id(Class::Sticker, place.guild, 0));
                o.str("name", "sticker 0 v0");
                o.int("format_type", 1);
            });
        });
    }
}
