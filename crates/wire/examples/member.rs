//! What it takes to turn a member as a cache hands it out into the answer to a get: `member TIMES` does it that often. The difference of two
//! runs under callgrind is what one takes:
//! `for n in 1000 2000; do valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/member $n; done`

use std::hint::black_box;

use prost::Message;
use trunkline_etf::{Encoding, Limits, Value, transcode};
use trunkline_wire::model;

const MEMBER: &str = r#"{"avatar":null,"banner":null,"communication_disabled_until":null,"deaf":false,"flags":2,
"joined_at":"2021-05-01T12:34:56.789000+00:00","mute":false,"nick":"somebody else","pending":false,"premium_since":null,
"roles":["1090000000000000001","1090000000000000002","1090000000000000003"],
"user":{"id":"290000000000000001","username":"somebody","global_name":"Some Body","discriminator":"0",
"avatar":"0123456789abcdef0123456789abcdef","public_flags":64,"bot":false,"avatar_decoration_data":null,"primary_guild":null,
"collectibles":null,"display_name_styles":null}}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let times: u32 = std::env::args().nth(1).unwrap_or_default().parse()?;
    let mut packed = Vec::new();
    transcode(Value::parse(Encoding::Json, MEMBER.as_bytes(), &Limits::GATEWAY)?, Encoding::Packed, &mut packed)?;
    let member = Value::parse(Encoding::Packed, &packed, &Limits::GATEWAY)?;
    if model::member(member, 7).joined_at.is_none() {
        return Err("the member has no time".into());
    }
    let mut bytes = 0;
    for _ in 0..times {
        let out = model::member(black_box(member), 7);
        bytes += if std::env::args().len() > 2 { out.encode_to_vec().len() } else { usize::from(black_box(out).user.is_some()) };
    }
    black_box(bytes);
    Ok(())
}
