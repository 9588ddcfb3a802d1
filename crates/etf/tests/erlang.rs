//! Against a real Erlang: its terms must mean to us what they mean to it, and ours to it what they mean to us.
#![allow(clippy::unwrap_used)]

mod common;

use common::bytes;
use std::io::Write;
use std::process::{Command, Stdio};
use trunkline_etf::{Encoding, EtfWriter, Ids, Kind, Limits, TermWrite, Value, inflate, transcode};

/// Hexadecimal as Erlang writes it.
fn hex(bytes: &[u8]) -> String {
    common::hex(bytes).to_uppercase()
}

/// The meaning of a term, written as tests/erlang/terms.eval writes it.
fn meaning(value: Value<'_>) -> String {
    match value.kind() {
        Kind::Null | Kind::Bool | Kind::Str => {
            let text = value.as_str().map_or_else(|| value.as_bytes().unwrap().into_owned(), |text| text.into_owned().into_bytes());
            format!("s:{}", hex(&text))
        }
        Kind::Int => common::digits(value),
        Kind::Float => format!("f:{}", hex(&value.as_f64().unwrap().to_be_bytes())),
        Kind::List => format!("[{}]", value.items().map(meaning).collect::<Vec<_>>().join(",")),
        Kind::Map => {
            let mut entries: Vec<String> = value.entries().map(|(key, value)| format!("{}=>{}", meaning(key), meaning(value))).collect();
            entries.sort();
            format!("{{{}}}", entries.join(","))
        }
        Kind::Opaque => "opaque".to_owned(),
    }
}

/// Documents made by our writers, and some that must be refused.
fn ours() -> Vec<Vec<u8>> {
    let texts = [
        "null",
        "true",
        "[]",
        "{}",
        r#"[[],{},[[]],{"a":[]}]"#,
        "0",
        "255",
        "256",
        "-1",
        "2147483647",
        "2147483648",
        "-2147483648",
        "-2147483649",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "-18446744073709551617",
        "1.5",
        "-0",
        "-0.0",
        "1e300",
        "5e-324",
        "0.1",
        r#""""#,
        r#""grün \u0000 \ud83d\ude00""#,
        r#"{"op":2,"d":{"token":"x","intents":53608447,"properties":{"os":"linux"},"shard":[0,1],"presence":null}}"#,
    ];
    let mut documents: Vec<Vec<u8>> = Vec::new();
    let mut longest = String::from("-");
    longest.extend("123456789".chars().cycle().take(2400));
    for text in texts.iter().map(|text| (*text).to_owned()).chain([longest, format!("[{}]", vec!["7"; 70_000].join(","))]) {
        let value = Value::parse(Encoding::Json, text.as_bytes(), &Limits::GATEWAY).unwrap();
        let mut document = vec![131];
        transcode(value, Encoding::Etf, &mut document).unwrap();
        documents.push(document);
    }
    for bits in 0..64 {
        let mut writer = EtfWriter::new().with_atom_keys().with_ids(if bits % 2 == 0 { Ids::Integers } else { Ids::Strings });
        writer.begin_map(0);
        for (key, by) in [("below", -1), ("at", 0), ("above", 1), ("grün", 2)] {
            writer.key(key);
            writer.begin_list(3);
            writer.uint((1u64 << bits).wrapping_add_signed(by));
            writer.int((-1i64 << bits).wrapping_add(by));
            writer.id((1u64 << bits).wrapping_add_signed(by));
            writer.float(f64::from(1 << (bits % 31)) / 3.0);
            writer.bool(bits % 3 == 0);
            writer.null();
            writer.str("text");
            writer.end_list();
        }
        writer.end_map();
        documents.push(writer.into_vec());
    }
    documents
}

#[test]
fn erlang_and_we_mean_the_same_in_both_directions() {
    let mut erlang = Command::new("erl")
        .args(["+pc", "unicode", "-noshell", "-eval", include_str!("erlang/terms.eval")])
        .env("ERL_CRASH_DUMP_BYTES", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("cannot run `erl` ({error}): this test needs Erlang, install it with `apt-get install erlang-base`")
        });
    let documents = ours();
    let lines: String = documents.iter().map(|document| hex(document) + "\n").collect();
    let mut stdin = erlang.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = erlang.wait_with_output().unwrap();
    let fed = feeder.join().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "erl failed: {errors}\n{}", said.lines().last().unwrap_or(""));
    fed.unwrap();
    let (theirs, mut answers) = said.split_once("end of terms\n").unwrap();

    let mut tags = [0u32; 256];
    for line in theirs.lines() {
        let [name, encoded, want] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("not a line of three: {line}") };
        let document = bytes(encoded);
        tags[usize::from(document[1])] += 1;
        let plain = inflate(&document, &Limits::GATEWAY).unwrap_or_else(|error| panic!("{name} {encoded}: {error}"));
        let document = plain.unwrap_or(document);
        let value = Value::parse(Encoding::Etf, &document, &Limits::GATEWAY).unwrap_or_else(|error| panic!("{name} {encoded}: {error}"));
        let got = meaning(value);
        assert!(got == want, "{name} {:.200}\n got {got:.200}\nwant {want:.200}", encoded);
        if !want.contains("opaque") {
            // A copy through our writer, which must mean the same to us.
            let copy = common::rewritten_etf(value);
            // One of the two atoms that are null is as good as the other.
            let want = want.replace("s:6E756C6C", "s:6E696C");
            assert!(meaning(Value::parse(Encoding::Etf, &copy, &Limits::GATEWAY).unwrap()) == want, "copy of {encoded:.200}");
        }
    }
    for tag in [70, 77, 80, 97, 98, 99, 100, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 116, 119] {
        assert!(tags[tag] > 0, "Erlang made no document with tag {tag}: it is untested");
    }
    for document in &documents {
        let (answer, rest) = answers.split_once('\n').unwrap();
        answers = rest;
        let want = meaning(Value::parse(Encoding::Etf, document, &Limits::GATEWAY).unwrap());
        assert!(answer == want, "{:.200}\n Erlang {answer:.200}\n ours  {want:.200}", hex(document));
    }
    assert!(answers.is_empty(), "Erlang said more than was asked: {answers}");
}
