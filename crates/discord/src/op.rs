//! Gateway op codes (Discord docs, Opcodes and Status Codes: Gateway).

/// What a gateway frame is. A code that is not documented passes through as [`Op::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// 0, received: an event, with `s` and `t`.
    Dispatch,
    /// 1, both ways: a heartbeat; received, it asks for one at once.
    Heartbeat,
    /// 2, sent: starts a new session.
    Identify,
    /// 3, sent: the bot's status and activities.
    PresenceUpdate,
    /// 4, sent: joins, moves in or leaves voice.
    VoiceStateUpdate,
    /// 6, sent: goes on with a session.
    Resume,
    /// 7, received: reconnect and resume now.
    Reconnect,
    /// 8, sent: asks for members of a guild.
    RequestGuildMembers,
    /// 9, received: the session is invalid; `d` tells whether it may be resumed.
    InvalidSession,
    /// 10, received first: the heartbeat interval.
    Hello,
    /// 11, received: answers a heartbeat.
    HeartbeatAck,
    /// 31, sent: asks for guilds' soundboard sounds.
    RequestSoundboardSounds,
    /// 43, sent: asks for voice channel status and start time.
    RequestChannelInfo,
    /// Any other code.
    Other(u64),
}

impl Op {
    /// The op with this code.
    pub const fn from_code(code: u64) -> Op {
        match code {
            0 => Op::Dispatch,
            1 => Op::Heartbeat,
            2 => Op::Identify,
            3 => Op::PresenceUpdate,
            4 => Op::VoiceStateUpdate,
            6 => Op::Resume,
            7 => Op::Reconnect,
            8 => Op::RequestGuildMembers,
            9 => Op::InvalidSession,
            10 => Op::Hello,
            11 => Op::HeartbeatAck,
            31 => Op::RequestSoundboardSounds,
            43 => Op::RequestChannelInfo,
            other => Op::Other(other),
        }
    }

    /// The number on the wire.
    pub const fn code(self) -> u64 {
        match self {
            Op::Dispatch => 0,
            Op::Heartbeat => 1,
            Op::Identify => 2,
            Op::PresenceUpdate => 3,
            Op::VoiceStateUpdate => 4,
            Op::Resume => 6,
            Op::Reconnect => 7,
            Op::RequestGuildMembers => 8,
            Op::InvalidSession => 9,
            Op::Hello => 10,
            Op::HeartbeatAck => 11,
            Op::RequestSoundboardSounds => 31,
            Op::RequestChannelInfo => 43,
            Op::Other(code) => code,
        }
    }

    /// A name for logs and metrics, in snake case; `other` for undocumented codes.
    pub const fn name(self) -> &'static str {
        match self {
            Op::Dispatch => "dispatch",
            Op::Heartbeat => "heartbeat",
            Op::Identify => "identify",
            Op::PresenceUpdate => "presence_update",
            Op::VoiceStateUpdate => "voice_state_update",
            Op::Resume => "resume",
            Op::Reconnect => "reconnect",
            Op::RequestGuildMembers => "request_guild_members",
            Op::InvalidSession => "invalid_session",
            Op::Hello => "hello",
            Op::HeartbeatAck => "heartbeat_ack",
            Op::RequestSoundboardSounds => "request_soundboard_sounds",
            Op::RequestChannelInfo => "request_channel_info",
            Op::Other(_) => "other",
        }
    }

    /// Whether this is one of the commands that a user of the bot may send: 3, 4, 8, 31 and 43. The rest are the
    /// session's own.
    pub const fn is_command(self) -> bool {
        matches!(
            self,
            Op::PresenceUpdate | Op::VoiceStateUpdate | Op::RequestGuildMembers | Op::RequestSoundboardSounds | Op::RequestChannelInfo
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_passes_through_unchanged() {
        for code in (0..300).chain([u64::MAX]) {
            assert_eq!(Op::from_code(code).code(), code);
        }
        assert_eq!(Op::from_code(5), Op::Other(5));
        assert_eq!(Op::from_code(77).name(), "other");
    }

    #[test]
    fn only_the_five_client_requests_are_commands() {
        let commands: Vec<u64> = (0..100).filter(|&code| Op::from_code(code).is_command()).collect();
        assert_eq!(commands, [3, 4, 8, 31, 43]);
    }
}
