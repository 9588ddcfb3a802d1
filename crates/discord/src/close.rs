//! Close codes: what each means for the session, and what a person does about the fatal ones.
//!
//! Discord docs, Opcodes and Status Codes: Gateway Close Event Codes. For codes that the docs do not name, the session
//! is kept and a resume tried: should the session be gone, Discord answers the resume with op 9.

use std::fmt;

/// A websocket close code as Discord sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

/// What a close code leaves of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseVerdict {
    /// The session lives: reconnect and resume.
    Resume,
    /// The session is gone: reconnect and identify.
    NewSession,
    /// Reconnecting would be refused again: stop and tell a person.
    Fatal,
}

impl CloseCode {
    /// What becomes of the session.
    pub const fn verdict(self) -> CloseVerdict {
        match self.0 {
            4004 | 4010..=4014 => CloseVerdict::Fatal,
            4007 | 4009 => CloseVerdict::NewSession,
            _ => CloseVerdict::Resume,
        }
    }

    /// The docs' name of the code, in lower case; `unknown` for codes they do not name.
    pub const fn name(self) -> &'static str {
        match self.0 {
            1000 => "normal closure",
            1001 => "going away",
            1006 => "closed without a close frame",
            1011 => "internal error",
            1012 => "service restart",
            4000 => "unknown error",
            4001 => "unknown opcode",
            4002 => "decode error",
            4003 => "not authenticated",
            4004 => "authentication failed",
            4005 => "already authenticated",
            4007 => "invalid seq",
            4008 => "rate limited",
            4009 => "session timed out",
            4010 => "invalid shard",
            4011 => "sharding required",
            4012 => "invalid API version",
            4013 => "invalid intents",
            4014 => "disallowed intents",
            _ => "unknown",
        }
    }

    /// What a person should know or do; for a fatal code, the next step.
    pub const fn advice(self) -> &'static str {
        match self.0 {
            4004 => {
                "Discord does not know this bot token. Copy it again or reset it (Developer Portal, your application, \
                 Bot, Reset Token), put it into the configuration and start again."
            }
            4010 => {
                "Discord refuses this shard number and count. Use shards = \"auto\", or a count that is a multiple of \
                 the one Discord has assigned to a bot of over 150,000 guilds."
            }
            4011 => {
                "The bot is in too many guilds for so few shards (2500 guilds a shard at most). Use shards = \"auto\" \
                 or a higher count."
            }
            4012 => "Discord no longer speaks this gateway version. Install a newer trunkline.",
            4013 => "The intents number has a bit that Discord does not know. Write intents as names, or leave them out.",
            4014 => {
                "A privileged intent is asked for that the application may not use. Switch it on (Developer Portal, \
                 your application, Bot, Privileged Gateway Intents) or take it out of the intents."
            }
            4007 | 4009 => "The session cannot be resumed; a new one is started by itself.",
            4001 | 4002 | 4005 => {
                "A frame was sent that Discord refuses: a defect here or a malformed command. The session is resumed \
                 by itself; please report it if it comes again."
            }
            4008 => "Too many frames were sent in a minute. The session is resumed by itself, after a pause.",
            _ => "The session is resumed by itself.",
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_verdict_of_the_docs() {
        for code in 0..=u16::MAX {
            let want = match code {
                4004 | 4010 | 4011 | 4012 | 4013 | 4014 => CloseVerdict::Fatal,
                4007 | 4009 => CloseVerdict::NewSession,
                _ => CloseVerdict::Resume,
            };
            assert_eq!(CloseCode(code).verdict(), want, "{code}");
        }
    }

    #[test]
    fn every_fatal_code_tells_a_person_what_to_do() {
        for code in [4004, 4010, 4011, 4012, 4013, 4014] {
            let code = CloseCode(code);
            assert!(code.advice().len() > 40, "{code}");
            assert_ne!(code.advice(), CloseCode(4000).advice());
            assert_ne!(code.name(), "unknown");
        }
        assert_eq!(CloseCode(4014).to_string(), "4014 (disallowed intents)");
        assert_eq!(CloseCode(4999).to_string(), "4999 (unknown)");
    }
}
