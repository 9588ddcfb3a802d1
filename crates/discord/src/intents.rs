//! Intents: which events a session asks for, as bits with names.
//!
//! Discord docs, Gateway: Gateway Intents. Also the sets of intents that can be asked for by one word, and what an
//! application's flags say about the three privileged ones (Discord docs, Application: Application Flags).

use std::fmt;

use crate::nearest;

/// A set of intents, as the number that IDENTIFY carries.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Intents(pub u64);

macro_rules! intents {
    ($($constant:ident $bit:literal $name:literal $doc:literal;)*) => {
        impl Intents {
            $(#[doc = $doc] pub const $constant: Intents = Intents(1 << $bit);)*

            /// Every documented intent with its name, by bit.
            const NAMED: &'static [(Intents, &'static str)] = &[$((Intents::$constant, $name)),*];

            /// Every documented intent: 53608447.
            pub const ALL: Intents = Intents(0 $(| 1 << $bit)*);
        }
    };
}

intents! {
    GUILDS 0 "guilds" "Guilds, roles, channels, threads, stage instances.";
    GUILD_MEMBERS 1 "guild_members" "Members coming, changing and going. Privileged.";
    GUILD_MODERATION 2 "guild_moderation" "Bans and audit log entries.";
    GUILD_EXPRESSIONS 3 "guild_expressions" "Emojis, stickers, soundboard sounds.";
    GUILD_INTEGRATIONS 4 "guild_integrations" "Integrations.";
    GUILD_WEBHOOKS 5 "guild_webhooks" "Webhooks.";
    GUILD_INVITES 6 "guild_invites" "Invites.";
    GUILD_VOICE_STATES 7 "guild_voice_states" "Voice states and voice channel effects.";
    GUILD_PRESENCES 8 "guild_presences" "Presences. Privileged.";
    GUILD_MESSAGES 9 "guild_messages" "Messages in guilds.";
    GUILD_MESSAGE_REACTIONS 10 "guild_message_reactions" "Reactions in guilds.";
    GUILD_MESSAGE_TYPING 11 "guild_message_typing" "Typing in guilds.";
    DIRECT_MESSAGES 12 "direct_messages" "Direct messages.";
    DIRECT_MESSAGE_REACTIONS 13 "direct_message_reactions" "Reactions in direct messages.";
    DIRECT_MESSAGE_TYPING 14 "direct_message_typing" "Typing in direct messages.";
    MESSAGE_CONTENT 15 "message_content" "Fills content, embeds, attachments, components and poll of messages. Privileged.";
    GUILD_SCHEDULED_EVENTS 16 "guild_scheduled_events" "Scheduled events.";
    AUTO_MODERATION_CONFIGURATION 20 "auto_moderation_configuration" "Auto moderation rules.";
    AUTO_MODERATION_EXECUTION 21 "auto_moderation_execution" "Auto moderation acting.";
    GUILD_MESSAGE_POLLS 24 "guild_message_polls" "Poll votes in guilds.";
    DIRECT_MESSAGE_POLLS 25 "direct_message_polls" "Poll votes in direct messages.";
}

const _: () = assert!(Intents::ALL.0 == 53_608_447, "the sum that follows from the docs' table");

/// Words that stand for whole sets.
const SETS: &[(&str, Intents)] = &[
    ("all", Intents::ALL),
    ("tatsu-all", Intents::TATSU_ALL),
    ("tatsu-default", Intents::TATSU_DEFAULT),
    ("tatsu-fast", Intents::TATSU_FAST),
];

/// The privileged intents, the switch that turns each on in the Developer Portal, and the application flags of which
/// either means that it is on (the second one is for applications below the size that needs review).
const SWITCHES: &[(Intents, &str, u64)] = &[
    (Intents::GUILD_PRESENCES, "Presence Intent", (1 << 12) | (1 << 13)),
    (Intents::GUILD_MEMBERS, "Server Members Intent", (1 << 14) | (1 << 15)),
    (Intents::MESSAGE_CONTENT, "Message Content Intent", (1 << 18) | (1 << 19)),
];

impl Intents {
    /// No intents: only the events that always come.
    pub const NONE: Intents = Intents(0);

    /// The three that a switch in the Developer Portal must allow: members, presences, message content.
    pub const PRIVILEGED: Intents = Intents(Intents::GUILD_MEMBERS.0 | Intents::GUILD_PRESENCES.0 | Intents::MESSAGE_CONTENT.0);

    /// What the Tatsu gateway calls all: bits 0 to 15.
    pub const TATSU_ALL: Intents = Intents(0xffff);

    /// What the Tatsu gateway asks for by default: its all without presences and typing.
    pub const TATSU_DEFAULT: Intents =
        Intents(Intents::TATSU_ALL.0 & !(Intents::GUILD_PRESENCES.0 | Intents::GUILD_MESSAGE_TYPING.0 | Intents::DIRECT_MESSAGE_TYPING.0));

    /// What the Tatsu gateway calls fast: its default without guilds and members, so that a start is quick.
    pub const TATSU_FAST: Intents = Intents(Intents::TATSU_DEFAULT.0 & !(Intents::GUILDS.0 | Intents::GUILD_MEMBERS.0));

    /// Reads one word or several, separated by commas, bars or white space: names (`guild_members`, `GUILD_MEMBERS`,
    /// `guild-members`), sets (`all`, `tatsu-default`, `tatsu-fast`, `tatsu-all`) or numbers (also `0x…`).
    ///
    /// A number passes as it is, so that an intent newer than this program can be asked for; see
    /// [`Intents::undocumented`]. An unknown name is an error that names the nearest known one.
    pub fn parse(text: &str) -> Result<Intents, IntentsError> {
        let words = text.split(|c: char| c == ',' || c == '|' || c.is_whitespace()).filter(|word| !word.is_empty());
        Intents::parse_all(words)
    }

    /// Reads words as [`Intents::parse`] does and joins them. No words are no intents.
    pub fn parse_all<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> Result<Intents, IntentsError> {
        let mut sum = 0;
        for word in words {
            sum |= parse_word(word.as_ref())?.0;
        }
        Ok(Intents(sum))
    }

    /// Whether every intent of `other` is in here.
    pub const fn contains(self, other: Intents) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those of this set that are in `other` too.
    pub const fn intersection(self, other: Intents) -> Intents {
        Intents(self.0 & other.0)
    }

    /// Those of this set that are not in `other`.
    pub const fn without(self, other: Intents) -> Intents {
        Intents(self.0 & !other.0)
    }

    /// This set and `other` together.
    pub const fn with(self, other: Intents) -> Intents {
        Intents(self.0 | other.0)
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The bits that the docs do not name. Discord closes with 4013 when it does not know one either.
    pub const fn undocumented(self) -> Intents {
        self.without(Intents::ALL)
    }

    /// The documented names in this set, in lower case, by bit.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Intents::NAMED.iter().filter(move |(intent, _)| self.contains(*intent)).map(|(_, name)| *name)
    }

    /// The single intents of this set, by bit, undocumented ones included.
    pub fn each(self) -> impl Iterator<Item = Intents> {
        (0..64).map(|bit| Intents(1 << bit)).filter(move |intent| self.contains(*intent))
    }

    /// What an application may ask for, by its `flags`: everything documented, the privileged ones only where a flag
    /// allows them.
    pub fn allowed_by_flags(application_flags: u64) -> Intents {
        let mut allowed = Intents::ALL.without(Intents::PRIVILEGED);
        for (intent, _, flags) in SWITCHES {
            if application_flags & flags != 0 {
                allowed = allowed.with(*intent);
            }
        }
        allowed
    }

    /// The name of the Developer Portal switch that allows this one privileged intent; empty for any other.
    pub fn switch_name(self) -> &'static str {
        SWITCHES.iter().find(|(intent, _, _)| *intent == self).map_or("", |(_, name, _)| name)
    }
}

fn parse_word(word: &str) -> Result<Intents, IntentsError> {
    let word = word.trim();
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        let number = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => word.parse(),
        };
        return match number {
            Ok(number) => Ok(Intents(number)),
            Err(_) => Err(IntentsError { word: word.to_owned(), nearest: None }),
        };
    }
    let plain = word.to_ascii_lowercase().replace('-', "_");
    let set = SETS.iter().find(|(name, _)| name.replace('-', "_") == plain).map(|(_, intents)| *intents);
    let one = || Intents::NAMED.iter().find(|(_, name)| *name == plain).map(|(intent, _)| *intent);
    set.or_else(one).ok_or_else(|| {
        let known = Intents::NAMED.iter().map(|(_, name)| *name).chain(SETS.iter().map(|(name, _)| *name));
        IntentsError { word: word.to_owned(), nearest: nearest(&plain, known) }
    })
}

impl fmt::Debug for Intents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Intents({self})")
    }
}

/// `guilds, guild_messages`, with undocumented bits as a number; `none` for the empty set.
impl fmt::Display for Intents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let mut between = "";
        for name in self.names() {
            write!(f, "{between}{name}")?;
            between = ", ";
        }
        let rest = self.undocumented();
        if !rest.is_empty() {
            write!(f, "{between}{:#x}", rest.0)?;
        }
        Ok(())
    }
}

/// A word that is no intent, no set and no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentsError {
    /// The word as written.
    pub word: String,
    /// The known name that is nearest to it, if one is near.
    pub nearest: Option<&'static str>,
}

impl fmt::Display for IntentsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown intent {:?}", self.word)?;
        match self.nearest {
            Some(name) => write!(f, ": did you mean {name:?}?"),
            None => f.write_str(": use names like \"guild_messages\", \"all\", \"tatsu-default\", or a number"),
        }
    }
}

impl std::error::Error for IntentsError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_the_numbers_they_promise() {
        assert_eq!(Intents::ALL.0, 53_608_447);
        assert_eq!(Intents::ALL.without(Intents::PRIVILEGED).0, 53_575_421);
        assert_eq!(Intents::TATSU_ALL.0, 65_535);
        assert_eq!(Intents::TATSU_DEFAULT.0, 65_535 - (1 << 8) - (1 << 11) - (1 << 14));
        assert_eq!(Intents::TATSU_FAST.0, Intents::TATSU_DEFAULT.0 - 0b11);
        for (name, set) in SETS {
            assert_eq!(Intents::parse(name).unwrap(), *set);
            assert_eq!(Intents::parse(&name.to_uppercase().replace('-', "_")).unwrap(), *set);
        }
    }

    #[test]
    fn names_are_read_in_any_case_and_joined() {
        let want = Intents::GUILD_MEMBERS.with(Intents::GUILDS);
        for text in ["guilds,guild_members", "GUILDS | GUILD_MEMBERS", "Guilds Guild-Members", "3", "0x3", "1, 2"] {
            assert_eq!(Intents::parse(text).unwrap(), want, "{text}");
        }
        assert_eq!(Intents::parse_all(["guilds", "GUILD_MEMBERS"]).unwrap(), want);
        assert_eq!(Intents::parse("").unwrap(), Intents::NONE);
        for (intent, name) in Intents::NAMED {
            assert_eq!(Intents::parse(name).unwrap(), *intent);
        }
    }

    #[test]
    fn an_unknown_name_is_told_with_the_nearest_known_one() {
        let error = |text| Intents::parse(text).unwrap_err().to_string();
        assert_eq!(error("guild_memebrs"), r#"unknown intent "guild_memebrs": did you mean "guild_members"?"#);
        assert_eq!(error("tatsu-fats"), r#"unknown intent "tatsu-fats": did you mean "tatsu-fast"?"#);
        assert!(error("bananas").contains("use names like"));
        assert!(error("12x").contains("12x"));
        assert!(error("99999999999999999999").contains("unknown intent"));
    }

    #[test]
    fn a_number_newer_than_this_program_passes_and_shows() {
        let intents = Intents::parse("131073").unwrap();
        assert_eq!(intents.undocumented(), Intents(1 << 17));
        assert_eq!(intents.to_string(), "guilds, 0x20000");
        assert_eq!(Intents::NONE.to_string(), "none");
        assert_eq!(intents.each().collect::<Vec<_>>(), [Intents::GUILDS, Intents(1 << 17)]);
    }

    #[test]
    fn application_flags_allow_their_intent_in_both_forms() {
        let open = Intents::ALL.without(Intents::PRIVILEGED);
        assert_eq!(Intents::allowed_by_flags(0), open);
        for (bits, intent) in
            [([12, 13], Intents::GUILD_PRESENCES), ([14, 15], Intents::GUILD_MEMBERS), ([18, 19], Intents::MESSAGE_CONTENT)]
        {
            for bit in bits {
                assert_eq!(Intents::allowed_by_flags(1 << bit), open.with(intent), "{bit}");
            }
        }
        assert_eq!(Intents::allowed_by_flags(u64::MAX), Intents::ALL);
    }

    #[test]
    fn every_privileged_intent_has_a_switch_and_no_other_has() {
        for intent in Intents::ALL.each() {
            assert_eq!(Intents::PRIVILEGED.contains(intent), !intent.switch_name().is_empty(), "{intent}");
        }
        assert_eq!(Intents::GUILD_MEMBERS.switch_name(), "Server Members Intent");
        assert_eq!(Intents::PRIVILEGED.switch_name(), "");
    }
}
