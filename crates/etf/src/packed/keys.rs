//! The names that the packed form writes as numbers: keys of Discord's objects, and a few texts that stand in every other object.
//!
//! **Both tables are on disk.** A name's place is its number for ever: append at the end, never reorder, rename or remove. A name that is
//! missing costs its length, nothing else; a name that Discord no longer sends costs nothing. What was packed before a name was appended
//! holds it as text and is read all the same.
//!
//! Source: Discord docs, Resources and Gateway Events; the most frequent names of members, users, presences, messages, channels, roles and
//! voice states come first, because the first [`SHORT`] take one byte and the others two.

/// How many names take one byte.
pub(crate) const SHORT: usize = 192;

/// Keys by number.
pub(crate) static KEYS: [&str; KEY_COUNT] = KEY_NAMES;
const KEY_COUNT: usize = KEY_NAMES.len();
#[rustfmt::skip]
const KEY_NAMES: [&str; 565] = [
    "id", "name", "type", "guild_id", "channel_id", "user", "user_id", "avatar", "flags", "roles", "nick", "mute", "deaf", "joined_at",
    "premium_since", "pending", "banner", "communication_disabled_until", "unusual_dm_activity_until", "permissions", "username",
    "discriminator", "global_name", "public_flags", "avatar_decoration_data", "collectibles", "clan", "primary_guild",
    "display_name_styles", "bot", "status", "activities", "client_status", "desktop", "mobile", "web", "processed_at_timestamp",
    "broadcast", "game", "state", "details", "timestamps", "start", "end", "assets", "large_image", "large_text", "small_image",
    "small_text", "application_id", "created_at", "session_id", "sync_id", "party", "size", "emoji", "animated", "url", "secrets",
    "buttons", "content", "author", "member", "mentions", "mention_roles", "mention_everyone", "attachments", "embeds", "components",
    "pinned", "tts", "timestamp", "edited_timestamp", "nonce", "channel_type", "webhook_id", "referenced_message", "message_reference",
    "message_id", "reactions", "thread", "sticker_items", "interaction", "interaction_metadata", "application", "message_snapshots",
    "mention_channels", "position", "poll", "call", "topic", "last_message_id", "parent_id", "rate_limit_per_user",
    "permission_overwrites", "allow", "deny", "nsfw", "version", "icon_emoji", "theme_color", "last_pin_timestamp", "bitrate",
    "user_limit", "rtc_region", "video_quality_mode", "owner_id", "member_count", "message_count", "total_message_sent",
    "thread_metadata", "archived", "archive_timestamp", "auto_archive_duration", "locked", "create_timestamp", "invitable",
    "applied_tags", "available_tags", "default_reaction_emoji", "default_sort_order", "default_forum_layout",
    "default_auto_archive_duration", "default_thread_rate_limit_per_user", "color", "colors", "primary_color", "secondary_color",
    "tertiary_color", "hoist", "icon", "unicode_emoji", "managed", "mentionable", "tags", "bot_id", "integration_id",
    "premium_subscriber", "require_colons", "available", "asset", "format_type", "description", "sound_id", "volume", "emoji_id",
    "emoji_name", "self_mute", "self_deaf", "self_video", "self_stream", "suppress", "request_to_speak_timestamp", "filename",
    "content_type", "width", "height", "proxy_url", "placeholder", "placeholder_version", "content_scan_version", "title", "fields",
    "value", "inline", "footer", "icon_url", "proxy_icon_url", "provider", "image", "thumbnail", "video", "text", "members", "channels",
    "threads", "presences", "voice_states", "emojis", "stickers", "data", "guild", "unavailable", "sku_id", "system", "verified",
    "locale", "expires_at", "stage_instances", "guild_scheduled_events", "soundboard_sounds", "large", "lazy", "features", "region",
    "splash", "discovery_splash", "afk_channel_id", "afk_timeout", "verification_level", "default_message_notifications",
    "explicit_content_filter", "mfa_level", "system_channel_id", "system_channel_flags", "rules_channel_id", "max_presences",
    "max_members", "vanity_url_code", "premium_tier", "premium_subscription_count", "preferred_locale", "public_updates_channel_id",
    "max_video_channel_users", "max_stage_video_channel_users", "nsfw_level", "premium_progress_bar_enabled", "safety_alerts_channel_id",
    "incidents_data", "hub_type", "latest_onboarding_question_id", "home_header", "inventory_settings", "embedded_activities",
    "application_command_counts", "activity_instances", "guild_hashes", "invites_disabled_until", "dms_disabled_until",
    "dm_spam_detected_at", "raid_detected_at", "clan_tag", "identity_guild_id", "identity_enabled", "tag", "badge", "guilds", "op", "d",
    "s", "t", "v", "user_settings", "session_type", "resume_gateway_url", "shard", "relationships", "private_channels", "auth", "scopes",
    "_trace", "heartbeat_interval", "token", "properties", "intents", "seq", "large_threshold", "compress", "user_ids", "role_id",
    "role_ids", "member_ids", "channel_ids", "ids", "chunk_index", "chunk_count", "not_found", "query", "limit", "message_ids",
    "added_members", "removed_member_ids", "guild_scheduled_event_id", "guild_scheduled_event_exceptions", "burst", "burst_colors",
    "burst_count", "count_details", "count", "me", "me_burst", "normal", "message_author_id", "rule_id", "rule_trigger_type",
    "rule_name", "action", "matched_keyword", "matched_content", "alert_system_message_id", "actions", "metadata", "trigger_type",
    "trigger_metadata", "event_type", "enabled", "exempt_roles", "exempt_channels", "creator_id", "creator", "keyword_filter",
    "regex_patterns", "presets", "allow_list", "mention_total_limit", "mention_raid_protection_enabled", "custom_message",
    "duration_seconds", "privacy_level", "scheduled_start_time", "scheduled_end_time", "entity_type", "entity_id", "entity_metadata",
    "location", "user_count", "recurrence_rule", "frequency", "interval", "by_weekday", "by_n_weekday", "by_month", "by_month_day",
    "by_year_day", "n", "day", "discoverable_disabled", "invite_start_time", "inviter", "target_type", "target_user",
    "target_application", "max_age", "max_uses", "temporary", "uses", "code", "approximate_member_count", "approximate_presence_count",
    "is_nickname_changeable", "audit_log_entry_id", "target_id", "action_type", "changes", "new_value", "old_value", "key", "options",
    "reason", "delete_member_days", "members_removed", "auto_moderation_rule_name", "auto_moderation_rule_trigger_type", "syncing",
    "enable_emoticons", "expire_behavior", "expire_grace_period", "account", "synced_at", "subscriber_count", "revoked",
    "role_connections_metadata", "resolved", "guild_locale", "app_permissions", "authorizing_integration_owners", "context",
    "entitlements", "users", "messages", "custom_id", "component_type", "values", "target_message_id", "name_localized", "command_type",
    "focused", "attachment_size_limit", "starts_at", "ends_at", "deleted", "consumed", "gift_code_flags", "subscription_id",
    "promotion_id", "entitlement_ids", "sku_ids", "current_period_start", "current_period_end", "canceled_at", "country",
    "renewal_sku_ids", "pack_id", "sort_value", "banner_asset_id", "cover_sticker_id", "nameplate", "accent_color", "banner_color",
    "mfa_enabled", "email", "premium_type", "bio", "pronouns", "linked_users", "endpoint", "question", "answers", "answer", "answer_id",
    "poll_media", "expiry", "allow_multiselect", "layout_type", "results", "is_finalized", "answer_counts", "me_voted",
    "parent_channel_id", "background", "placeholder_text", "min_length", "max_length", "required", "style", "disabled", "min_values",
    "max_values", "default", "default_values", "items", "accessory", "media", "spoiler", "divider", "spacing", "file",
    "name_localizations", "description_localizations", "sections", "rows", "purchase", "purchase_type", "role_subscription_data",
    "tier_name", "total_months_subscribed", "is_renewal", "role_subscription_listing_id", "available_for_purchase", "guild_connections",
    "team", "owner", "rpc_origins", "bot_public", "bot_require_code_grant", "terms_of_service_url", "privacy_policy_url", "verify_key",
    "primary_sku_id", "slug", "cover_image", "summary", "install_params", "integration_types_config", "custom_install_url",
    "approximate_guild_count", "redirect_uris", "interactions_endpoint_url", "message", "resolved_data",
    "triggering_interaction_metadata", "original_response_message_id", "interacted_message_id", "target_user_id", "author_id",
    "scan_version", "waveform", "duration_secs", "ephemeral", "clip_created_at", "clip_participants", "animation_type", "sound",
    "is_pending", "avatar_decoration", "asset_id", "rate_limited", "retry_after", "channel", "voice_start_time", "voice_channel_status",
    "guild_join_request", "application_status", "welcome_screen", "welcome_channels", "prompts", "default_channel_ids", "mode",
    "single_select", "in_onboarding", "platform", "supports_spectate", "match", "join", "instance", "session", "party_id", "state_url",
    "details_url", "status_display_type", "large_url", "small_url", "gradient_colors", "hash", "original_width", "original_height",
    "attachment_id", "presence", "os", "browser", "geo_ordered_rtc_regions", "icon_hash", "join_timestamp", "animation_id",
    "is_monetized", "moderated", "newly_created", "sound_volume", "target_user_type", "widget_enabled", "widget_channel_id",
    "max_concurrency", "opcode", "meta", "session_start_limit", "webhook_channel_id", "thread_id", "scheduled_event_id", "entitlement",
    "subscription", "invite", "voice_state", "source_type", "integration", "include_roles", "num_shards", "guild_ids", "recipient_id",
    "recipients", "last_message", "is_private", "reference_type", "forwarded", "shared_client_theme", "proxy_poster_url",
    "age_restricted", "discoverable", "emoji_count", "sticker_count", "join_type", "expiration", "display_name", "font_id", "effect_id",
    "palette",];

/// Texts by number.
pub(crate) static WORDS: [&str; WORD_COUNT] = WORD_NAMES;
const WORD_COUNT: usize = WORD_NAMES.len();
#[rustfmt::skip]
const WORD_NAMES: [&str; 99] = [
    "online", "idle", "dnd", "offline", "invisible", "desktop", "mobile", "web", "embedded", "custom", "rich", "image", "video", "gifv",
    "article", "link", "auto_moderation_message", "poll_result", "spotify", "twitch", "youtube", "discord", "image/png", "image/jpeg",
    "image/gif", "image/webp", "video/mp4", "video/quicktime", "audio/ogg", "audio/mpeg", "en-US", "en-GB", "de", "fr", "pt-BR", "es-ES",
    "ru", "ja", "ko", "tr", "COMMUNITY", "NEWS", "INVITE_SPLASH", "ANIMATED_ICON", "BANNER", "VANITY_URL", "PREVIEW_ENABLED",
    "WELCOME_SCREEN_ENABLED", "MEMBER_VERIFICATION_GATE_ENABLED", "DISCOVERABLE", "ROLE_ICONS", "SOUNDBOARD", "ANIMATED_BANNER",
    "AUTO_MODERATION", "THREE_DAY_THREAD_ARCHIVE", "SEVEN_DAY_THREAD_ARCHIVE", "PRIVATE_THREADS", "MEMBER_PROFILES",
    "ENABLED_DISCOVERABLE_BEFORE", "COMMUNITY_EXP_LARGE_UNGATED", "CHANNEL_ICON_EMOJIS_GENERATED", "TIERLESS_BOOSTING",
    "AUDIO_BITRATE_128_KBPS", "AUDIO_BITRATE_256_KBPS", "AUDIO_BITRATE_384_KBPS", "VIDEO_BITRATE_ENHANCED", "VIDEO_QUALITY_720_60FPS",
    "VIDEO_QUALITY_1080_60FPS", "STAGE_CHANNEL_VIEWERS_50", "STAGE_CHANNEL_VIEWERS_150", "STAGE_CHANNEL_VIEWERS_300",
    "NEW_THREAD_PERMISSIONS", "TEXT_IN_VOICE_ENABLED", "GUILD_ONBOARDING", "GUILD_ONBOARDING_HAS_PROMPTS",
    "GUILD_ONBOARDING_EVER_ENABLED", "GUILD_SERVER_GUIDE", "GUILD_WEB_PAGE_VANITY_URL", "PARTNERED", "VERIFIED", "MORE_EMOJI",
    "MORE_STICKERS", "MORE_SOUNDBOARD", "MONETIZATION_ENABLED", "TICKETED_EVENTS_ENABLED", "ROLE_SUBSCRIPTIONS_ENABLED",
    "EXPOSED_TO_ACTIVITIES_WTP_EXPERIMENT", "VIP_REGIONS", "INVITES_DISABLED", "RAID_ALERTS_DISABLED", "COMMERCE", "HAS_DIRECTORY_ENTRY",
    "HUB", "LINKED_TO_HUB", "DEVELOPER_SUPPORT_SERVER", "CREATOR_STORE_PAGE", "CREATOR_MONETIZABLE_PROVISIONAL", "GUILD_TAGS",
    "ENHANCED_ROLE_COLORS",];

/// Slots of a table of names: open addressing, with so many more slots than names that most names lie where they are looked for first.
const SLOTS: usize = 4096;
/// Stands in slots without a name; no name has this number.
const EMPTY: u16 = u16::MAX;

static KEY_SLOTS: [u16; SLOTS] = slots(&KEY_NAMES);
static WORD_SLOTS: [u16; SLOTS] = slots(&WORD_NAMES);

const fn slots<const N: usize>(names: &[&str; N]) -> [u16; SLOTS] {
    assert!(N * 2 < SLOTS, "more slots, please");
    let mut slots = [EMPTY; SLOTS];
    let mut code = 0;
    while code < N {
        let mut slot = mark(names[code].as_bytes()).slot();
        while slots[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        slots[slot] = code as u16;
        code += 1;
    }
    slots
}

/// Up to eight bytes from `at` on as a number.
const fn word(bytes: &[u8], at: usize, len: usize) -> u64 {
    let mut word = 0;
    let mut n = 0;
    while n < len {
        word |= (bytes[at + n] as u64) << (8 * n);
        n += 1;
    }
    word
}

/// A name as what is compared first: its first and last eight bytes and its length, which is all of a name of at most 16 bytes. `last` is 0
/// where the name has no more than eight.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark {
    first: u64,
    last: u64,
    len: usize,
}

impl Mark {
    /// The slot to begin at.
    #[inline(always)]
    const fn slot(self) -> usize {
        let sum = self.first ^ self.last.rotate_left(29) ^ self.len as u64;
        // The upper bits of the product depend on all of the lower ones.
        (sum.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS.ilog2())) as usize
    }
}

static KEY_MARKS: [Mark; KEY_COUNT] = marks(&KEY_NAMES);
static WORD_MARKS: [Mark; WORD_COUNT] = marks(&WORD_NAMES);

const fn marks<const N: usize>(names: &[&str; N]) -> [Mark; N] {
    let mut marks = [Mark { first: 0, last: 0, len: 0 }; N];
    let mut code = 0;
    while code < N {
        marks[code] = mark(names[code].as_bytes());
        code += 1;
    }
    marks
}

const fn mark(name: &[u8]) -> Mark {
    let len = name.len();
    let first = word(name, 0, if len < 8 { len } else { 8 });
    Mark { first, last: if len > 8 { word(name, len - 8, 8) } else { 0 }, len }
}

/// [`mark`] in whole words.
#[inline(always)]
fn quick_mark(name: &[u8]) -> Mark {
    let len = name.len();
    match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) => {
            Mark { first: u64::from_le_bytes(*first), last: if len > 8 { u64::from_le_bytes(*last) } else { 0 }, len }
        }
        _ => match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                // The two halves overlap where the name is shorter than eight bytes, and agree there.
                let first = u64::from(u32::from_le_bytes(*first));
                let last = u64::from(u32::from_le_bytes(*last));
                Mark { first: first | last << (8 * (len - 4)), last: 0, len }
            }
            _ => match *name {
                [a] => Mark { first: u64::from(a), last: 0, len },
                [a, b] => Mark { first: u64::from(a) | u64::from(b) << 8, last: 0, len },
                [a, b, c] => Mark { first: u64::from(a) | u64::from(b) << 8 | u64::from(c) << 16, last: 0, len },
                _ => Mark { first: 0, last: 0, len },
            },
        },
    }
}

/// The number of the name with this mark; `name` is asked for only where the mark does not hold all of it.
#[inline(always)]
fn find<'a>(slots: &[u16; SLOTS], marks: &[Mark], names: &[&str], mark: Mark, name: impl Fn() -> Option<&'a [u8]>) -> Option<u16> {
    let mut slot = mark.slot();
    loop {
        let code = slots[slot % SLOTS];
        let place = usize::from(code);
        if *marks.get(place)? == mark && (mark.len <= 16 || name() == names.get(place).map(|name| name.as_bytes())) {
            return Some(code);
        }
        slot += 1;
    }
}

/// The number of a key, if it has one.
#[inline]
pub(crate) fn key(name: &[u8]) -> Option<u16> {
    find(&KEY_SLOTS, &KEY_MARKS, &KEYS, quick_mark(name), || Some(name))
}

/// [`key`] for the name of `len` bytes at the end of `name`, whose first eight bytes were read as `first`, with whatever follows in those that the name has not.
#[inline(always)]
pub(crate) fn key_at(first: u64, len: usize, name: &[u8]) -> Option<u16> {
    /// For each length of a name, which bits of its first word are its own. A load is less work than shifting.
    static OWN: [u64; 256] = {
        let mut own = [u64::MAX; 256];
        let mut len = 0;
        while len < 8 {
            own[len] = (1 << (8 * len)) - 1;
            len += 1;
        }
        own
    };
    let last = if len > 8 { name.last_chunk().map_or(0, |last| u64::from_le_bytes(*last)) } else { 0 };
    find(&KEY_SLOTS, &KEY_MARKS, &KEYS, Mark { first: first & OWN.get(len)?, last, len }, || name.get(name.len().checked_sub(len)?..))
}

/// A key as an atom in ETF: the first eight bytes of the term, or all that it has, the last eight of one that has more, and those between of one
/// that has more than 16.
#[derive(Clone, Copy)]
struct AtomMark {
    first: u64,
    mask: u64,
    last: u64,
    between: [u64; 2],
    len: usize,
}

/// Atoms with a length of two bytes, as Discord has always written them, and with one of one byte, as newer versions of Erlang do and
/// `erlpack`: the same in all of a peer's frames, and each as quick to compare.
static ATOM_MARKS: [AtomMark; SHORT] = atom_marks(LONG_HEAD);
static SMALL_ATOM_MARKS: [AtomMark; SHORT] = atom_marks(SMALL_HEAD);

/// Bytes in front of the text.
const LONG_HEAD: usize = 3;
const SMALL_HEAD: usize = 2;

/// The two tags of atoms with a length of one byte differ in one bit, which is not looked at.
const SMALL_TAG_MASK: u8 = !(crate::term::SMALL_ATOM ^ crate::term::SMALL_ATOM_UTF8);
const _: () = assert!((crate::term::SMALL_ATOM ^ crate::term::SMALL_ATOM_UTF8).count_ones() == 1);

const fn atom_marks(head: usize) -> [AtomMark; SHORT] {
    let mut marks = [AtomMark { first: 0, mask: 0, last: 0, between: [0; 2], len: 0 }; SHORT];
    let mut code = 0;
    while code < SHORT {
        let name = KEY_NAMES[code].as_bytes();
        assert!(name.len() < 64, "a key is short");
        let mut term = [0; 67];
        term[0] = if head == LONG_HEAD { crate::term::ATOM } else { crate::term::SMALL_ATOM & SMALL_TAG_MASK };
        term[head - 1] = name.len() as u8;
        let mut at = 0;
        while at < name.len() {
            term[head + at] = name[at];
            at += 1;
        }
        let len = head + name.len();
        let tag = if head == LONG_HEAD { u64::MAX } else { !0xff | SMALL_TAG_MASK as u64 };
        let mask = tag & if len < 8 { (1 << (8 * len)) - 1 } else { u64::MAX };
        let last = if len > 8 { word(&term, len - 8, 8) } else { 0 };
        marks[code] = AtomMark { first: word(&term, 0, 8), mask, last, between: [word(&term, 8, 8), word(&term, 16, 8)], len };
        code += 1;
    }
    marks
}

/// What lies behind the ETF term in front, if that is the key with this number as an atom, and one of those that take one byte. `None` says
/// nothing.
#[inline(always)]
pub(crate) fn behind_atom(etf: &[u8], code: u8) -> Option<&[u8]> {
    let first = u64::from_le_bytes(*etf.first_chunk()?);
    let long = first as u8 == crate::term::ATOM;
    let mark = if long { &ATOM_MARKS } else { &SMALL_ATOM_MARKS }.get(usize::from(code))?;
    if (first ^ mark.first) & mark.mask != 0 {
        return None;
    }
    let (term, behind) = etf.split_at_checked(mark.len)?;
    if mark.len > 8 {
        if u64::from_le_bytes(*term.last_chunk()?) != mark.last {
            return None;
        }
        if mark.len > 16 && !is_between(term, mark, code, if long { LONG_HEAD } else { SMALL_HEAD }) {
            return None;
        }
    }
    Some(behind)
}

/// Whether the bytes of a key's term are those of this key, but for its first eight and its last eight.
#[inline(always)]
fn is_between(term: &[u8], mark: &AtomMark, code: u8, head: usize) -> bool {
    let is = |at: usize, word: u64| term.get(at..).and_then(<[u8]>::first_chunk).is_some_and(|bytes| u64::from_le_bytes(*bytes) == word);
    is(8, mark.between[0])
        && (term.len() <= 24 || is(16, mark.between[1]))
        && (term.len() <= 32 || term.get(head..) == Some(KEYS[usize::from(code)].as_bytes()))
}

/// The length of the ETF term in front, likewise.
#[inline(always)]
pub(crate) fn atom_of(etf: &[u8], code: u8) -> Option<usize> {
    behind_atom(etf, code).map(|behind| etf.len() - behind.len())
}

/// A name that is compared with several keys.
#[derive(Clone, Copy)]
pub(crate) struct Key(Mark);

impl Key {
    #[inline(always)]
    pub(crate) fn of(name: &[u8]) -> Key {
        Key(quick_mark(name))
    }

    /// Whether this number is that of the name, which is given once more.
    #[inline(always)]
    pub(crate) fn is(self, code: usize, name: &[u8]) -> bool {
        KEY_MARKS.get(code).is_some_and(|mark| *mark == self.0 && (name.len() <= 16 || KEYS[code].as_bytes() == name))
    }
}

/// For each first byte, the lengths of the texts that begin with it, a bit each: most texts are none of these, and this tells quickly.
static WORD_LENGTHS: [u64; 256] = {
    let mut lengths = [0; 256];
    let mut code = 0;
    while code < WORD_COUNT {
        let word = WORD_NAMES[code].as_bytes();
        assert!(word.len() < 64, "a bit for every length");
        lengths[word[0] as usize] |= 1 << word.len();
        code += 1;
    }
    lengths
};

/// The number of a text, if it has one.
#[inline(always)]
pub(crate) fn text(text: &[u8]) -> Option<u8> {
    let lengths = WORD_LENGTHS[usize::from(*text.first()?)];
    if text.len() > 63 || lengths >> text.len() & 1 == 0 { None } else { likely_text(text) }
}

#[inline(never)]
fn likely_text(text: &[u8]) -> Option<u8> {
    find(&WORD_SLOTS, &WORD_MARKS, &WORDS, quick_mark(text), || Some(text)).map(|code| code as u8)
}

/// Every key as a packed term: the mark of an atom, a text's tag, the text.
static TERMS: [u8; TERM_BYTES] = {
    let mut bytes = [0; TERM_BYTES];
    let (mut code, mut at) = (0, 0);
    while code < KEY_COUNT {
        let name = KEY_NAMES[code].as_bytes();
        assert!(!name.is_empty() && name.len() < 64, "a key's term has the short form");
        bytes[at] = super::ATOM;
        bytes[at + 1] = super::STR0 | name.len() as u8;
        let mut n = 0;
        while n < name.len() {
            bytes[at + 2 + n] = name[n];
            n += 1;
        }
        at += 2 + n;
        code += 1;
    }
    bytes
};
static STARTS: [u16; KEY_COUNT + 1] = {
    let mut starts = [0; KEY_COUNT + 1];
    let mut code = 0;
    while code < KEY_COUNT {
        starts[code + 1] = starts[code] + 2 + KEY_NAMES[code].len() as u16;
        code += 1;
    }
    starts
};
const TERM_BYTES: usize = {
    let (mut code, mut sum) = (0, 0);
    while code < KEY_COUNT {
        sum += 2 + KEY_NAMES[code].len();
        code += 1;
    }
    sum
};

/// A key as a packed term: an atom or a text.
#[inline]
pub(crate) fn term(code: usize, atom: bool) -> Option<&'static [u8]> {
    let (start, end) = (*STARTS.get(code)?, *STARTS.get(code + 1)?);
    TERMS.get(usize::from(start) + usize::from(!atom)..usize::from(end))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_under_its_own_number_and_nothing_else_is() {
        for (code, name) in KEYS.iter().enumerate() {
            assert_eq!(key(name.as_bytes()), Some(code as u16), "{name}");
            assert_eq!(key(format!("{name}x").as_bytes()), None);
            // The text lies behind a tag and a length, and something follows.
            let atom = format!("w{name}and more");
            let first = u64::from_le_bytes(*atom.as_bytes()[1..].first_chunk().unwrap());
            assert_eq!(key_at(first, name.len(), &atom.as_bytes()[..1 + name.len()]), Some(code as u16), "{name}");
            assert_eq!(key_at(first, name.len() + 3, &atom.as_bytes()[..4 + name.len()]), None);
            assert_eq!(key_at(first, name.len() + 2000, atom.as_bytes()), None);
            assert_eq!(&term(code, false).unwrap()[1..], name.as_bytes());
            assert_eq!(&term(code, true).unwrap()[2..], name.as_bytes());
        }
        for (code, word) in WORDS.iter().enumerate() {
            assert_eq!(text(word.as_bytes()), Some(code as u8), "{word}");
        }
        assert_eq!((key(b""), key(b"\xff\xff\xff"), text(b"")), (None, None, None));
    }

    #[test]
    fn a_key_is_known_with_a_length_of_either_size_and_nothing_that_differs_by_a_byte_is() {
        for (code, name) in KEYS.iter().take(SHORT).enumerate() {
            let code = code as u8;
            for head in [&[b'd', 0, name.len() as u8][..], &[b's', name.len() as u8], &[b'w', name.len() as u8]] {
                let len = head.len() + name.len();
                let mut term = [head, name.as_bytes(), &[7; 8]].concat();
                assert_eq!(behind_atom(&term, code), Some(&[7; 8][..]), "{name}");
                assert_eq!(atom_of(&term, code), Some(len), "{name}");
                for at in 0..len {
                    for bit in 0..8 {
                        term[at] ^= 1 << bit;
                        // The two tags with a length of one byte are a bit apart, and are the same.
                        let twin = at == 0 && matches!(term[..2], [b's' | b'w', said] if usize::from(said) == name.len());
                        assert_eq!(behind_atom(&term, code).is_some(), twin, "{name}, byte {at}, bit {bit}");
                        term[at] ^= 1 << bit;
                    }
                }
                (0..len).for_each(|cut| assert_eq!(behind_atom(&term[..cut], code), None, "{name} cut at {cut}"));
            }
        }
    }

    #[test]
    fn numbers_once_given_stay() {
        // On disk since the first version: a change here is a change of the stored form. What is appended does not count.
        let sum = |names: &[&str]| {
            names
                .iter()
                .flat_map(|name| name.bytes().chain([0]))
                .fold(0xcbf2_9ce4_8422_2325u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
        };
        assert_eq!(sum(&KEYS[..561]), 14_202_760_146_356_606_116);
        assert_eq!(sum(&WORDS[..99]), 16_962_492_916_676_066_183);
    }
}
