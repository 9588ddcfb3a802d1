//! Channels, pins, and what lies beside voice channels.

use serde_json::json;
use trunkline_cache::Kind;
use trunkline_discord::EventKind as K;

use crate::common::id;
use crate::table::{Ask, Row, check, here, row, with};
use crate::{bare_message, channel, status, world};

pub(crate) fn rows() -> Vec<Row> {
    let update = here(json!({"id": id(10), "name": "main", "type": 0}));
    let kept = json!({"id": id(11), "status": "chess"});
    let times = here(json!({"id": id(11), "voice_start_time": 17}));
    vec![
        row(K::ChannelCreate, "adds it", here(json!({"id": id(14), "type": 0})))
            .gives(Ask::Channel(14), here(json!({"id": id(14), "type": 0}))),
        row(K::ChannelUpdate, "replaces it whole", update.clone()).previous(channel(0)).gives(Ask::Channel(10), update.clone()),
        row(K::ChannelUpdate, "adds one that is not known", here(json!({"id": id(14)})))
            .gives(Ask::Channel(14), here(json!({"id": id(14)}))),
        row(K::ChannelUpdate, "outside guilds is nothing", json!({"id": id(14), "type": 1})).gone(Ask::Channel(14)),
        row(K::ChannelDelete, "takes its threads and messages, and theirs", update)
            .after(K::MessageCreate, bare_message(82, 41))
            .gone(Ask::Channel(10))
            .gone(Ask::Channel(40))
            .gone(Ask::Message(80))
            .gone(Ask::Message(81))
            .gives(Ask::Messages(41), json!([id(82)]))
            .gives(Ask::Channel(11), channel(1)),
        row(K::ChannelDelete, "takes its stage and what lies beside it", here(json!({"id": id(11), "type": 2})))
            .gone(Ask::Channel(11))
            .gone(Ask::One(Kind::StageInstance, 60))
            .gone(Ask::One(Kind::VoiceChannel, 11)),
        row(
            K::ChannelInfo,
            "sets what it names, in a record beside the channel",
            here(json!({"channels": [
                {"id": id(11), "voice_start_time": 5}, {"id": id(12), "status": "go", "voice_start_time": null},
            ]})),
        )
        .gives(Ask::One(Kind::VoiceChannel, 11), with(&kept, json!({"voice_start_time": 5})))
        .gives(Ask::One(Kind::VoiceChannel, 12), json!({"id": id(12), "status": "go"}))
        .gives(Ask::Channel(11), channel(1)),
        row(K::VoiceChannelStatusUpdate, "sets it", here(json!({"id": id(11), "status": "go"})))
            .previous(kept.clone())
            .gives(Ask::One(Kind::VoiceChannel, 11), json!({"id": id(11), "status": "go"})),
        row(K::VoiceChannelStatusUpdate, "null clears it, and the record that has nothing else", with(&status(), json!({"status": null})))
            .previous(kept.clone())
            .gone(Ask::One(Kind::VoiceChannel, 11)),
        row(K::VoiceChannelStatusUpdate, "null leaves the start time", with(&status(), json!({"status": null})))
            .after(K::VoiceChannelStartTimeUpdate, times.clone())
            .previous(with(&kept, json!({"voice_start_time": 17})))
            .gives(Ask::One(Kind::VoiceChannel, 11), json!({"id": id(11), "voice_start_time": 17})),
        row(K::VoiceChannelStartTimeUpdate, "sets it", times)
            .previous(kept.clone())
            .gives(Ask::One(Kind::VoiceChannel, 11), with(&kept, json!({"voice_start_time": 17}))),
        row(K::VoiceChannelStartTimeUpdate, "null clears it", here(json!({"id": id(11), "voice_start_time": null})))
            .previous(kept.clone())
            .gives(Ask::One(Kind::VoiceChannel, 11), kept),
        row(K::ChannelPinsUpdate, "sets the time", here(json!({"channel_id": id(10), "last_pin_timestamp": "now"})))
            .gives(Ask::Channel(10), with(&channel(0), json!({"last_pin_timestamp": "now"}))),
        row(K::ChannelPinsUpdate, "null is a value", here(json!({"channel_id": id(10), "last_pin_timestamp": null})))
            .gives(Ask::Channel(10), with(&channel(0), json!({"last_pin_timestamp": null}))),
        row(K::ChannelPinsUpdate, "without a time says nothing", here(json!({"channel_id": id(10)}))).gives(Ask::Channel(10), channel(0)),
        row(K::ChannelPinsUpdate, "in a direct channel", json!({"channel_id": id(95), "last_pin_timestamp": "now"})).gives(
            Ask::One(Kind::DirectChannel, 95),
            json!({"id": id(95), "type": 1, "last_message_id": id(85), "last_pin_timestamp": "now"}),
        ),
        row(K::WebhooksUpdate, "nothing: none are kept", here(json!({"channel_id": id(10)}))).gives(Ask::Channel(10), channel(0)),
    ]
}

#[test]
fn channels_and_what_lies_beside_them() {
    check(&world(), &rows());
}
