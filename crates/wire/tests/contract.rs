//! The compiled protos against a list of Pylon's interface: every name and number of theirs is ours, and everything of
//! ours that is not theirs keeps out of their way.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::field_options::JsType;
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// From this number on fields are Trunkline's.
const OURS_FROM: i32 = 100;

/// One line of the list, or one fact of the descriptors in the same words: `(kind, owner, member)` to the rest.
type Facts = BTreeMap<(String, String, String), [String; 5]>;

/// Columns: kind, full name, member, number, type, label, oneof, whether JavaScript gets text.
fn listed() -> Facts {
    let mut facts = Facts::new();
    for line in include_str!("pylon-interface.csv").lines().skip(1) {
        let columns: Vec<&str> = line.split(',').collect();
        let [kind, owner, member, number, r#type, label, oneof, js] = columns.try_into().expect("eight columns");
        // An empty message has no member.
        let rest = [number, r#type, label, oneof, js].map(str::to_owned);
        assert!(facts.insert((kind.to_owned(), owner.to_owned(), member.to_owned()), rest).is_none(), "twice: {line}");
    }
    facts
}

fn compiled() -> Facts {
    let set = FileDescriptorSet::decode(trunkline_wire::FILE_DESCRIPTOR_SET).unwrap();
    let mut facts = Facts::new();
    for file in &set.file {
        let package = file.package();
        if package.starts_with("google.") {
            continue;
        }
        assert_eq!(file.syntax(), "proto3", "{}", file.name());
        for message in &file.message_type {
            add_message(&mut facts, package, message);
        }
        for values in &file.enum_type {
            add_enum(&mut facts, package, values);
        }
        for service in &file.service {
            for method in &service.method {
                let owner = format!("{package}.{}", service.name());
                let types = format!("{} -> {}", &method.input_type()[1..], &method.output_type()[1..]);
                let label = match (method.client_streaming(), method.server_streaming()) {
                    (true, true) => "client-stream server-stream",
                    (true, false) => "client-stream",
                    (false, true) => "server-stream",
                    (false, false) => "",
                };
                add(&mut facts, "rpc", &owner, method.name(), [String::new(), types, label.into(), String::new(), String::new()]);
            }
        }
    }
    facts
}

fn add(facts: &mut Facts, kind: &str, owner: &str, member: &str, rest: [String; 5]) {
    assert!(facts.insert((kind.into(), owner.into(), member.into()), rest).is_none(), "{owner}.{member} twice");
}

fn add_message(facts: &mut Facts, scope: &str, message: &DescriptorProto) {
    let owner = format!("{scope}.{}", message.name());
    // A message that was empty and has only our fields is still the empty one to Pylon's clients.
    let theirs = message.field.iter().any(|field| field.number() < OURS_FROM);
    if !theirs && message.nested_type.is_empty() && message.enum_type.is_empty() {
        add(facts, "message", &owner, "", Default::default());
    }
    for field in &message.field {
        let oneof = match field.oneof_index {
            Some(index) if !field.proto3_optional() => message.oneof_decl[usize::try_from(index).unwrap()].name(),
            _ => "",
        };
        let label = if field.label() == Label::Repeated { "repeated" } else { "" };
        let js = field.options.as_ref().is_some_and(|options| options.jstype() == JsType::JsString);
        let rest =
            [field.number().to_string(), type_name(field), label.to_owned(), oneof.to_owned(), if js { "yes" } else { "" }.to_owned()];
        add(facts, "field", &owner, field.name(), rest);
    }
    for nested in &message.nested_type {
        add_message(facts, &owner, nested);
    }
    for values in &message.enum_type {
        add_enum(facts, &owner, values);
    }
}

fn add_enum(facts: &mut Facts, scope: &str, values: &EnumDescriptorProto) {
    let owner = format!("{scope}.{}", values.name());
    for value in &values.value {
        add(facts, "enum", &owner, value.name(), [value.number().to_string(), "".into(), "".into(), "".into(), "".into()]);
    }
}

fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => field.type_name()[1..].to_owned(),
        other => other.as_str_name()["TYPE_".len()..].to_lowercase(),
    }
}

#[test]
fn everything_of_pylons_interface_is_there_unchanged() {
    let ours = compiled();
    let mut wrong = Vec::new();
    for (name, want) in listed() {
        match ours.get(&name) {
            Some(found) if *found == want => {}
            found => wrong.push(format!("{name:?}: wanted {want:?}, found {found:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_not_pylons_is_numbered_from_100_or_lives_in_another_package() {
    let theirs = listed();
    let mut wrong = Vec::new();
    for (name, facts) in compiled() {
        let (kind, owner, member) = &name;
        if theirs.contains_key(&name) || owner.starts_with("trunkline.") || owner.starts_with("gateway.") {
            continue;
        }
        let ours = kind == "field" && facts[0].parse::<i32>().unwrap() >= OURS_FROM;
        if !ours {
            wrong.push(format!("{kind} {owner}.{member}: {facts:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_list_is_whole() {
    let listed = listed();
    let count = |kind: &str| listed.keys().filter(|(k, _, _)| k == kind).count();
    // As many facts as Pylon's interface has; a shortened list would prove nothing.
    assert_eq!(listed.len(), 1_198);
    assert_eq!(count("rpc"), 116);
    let envelope: BTreeSet<_> =
        listed.iter().filter(|(_, facts)| facts[3] == "event_data").map(|((_, _, member), _)| member.clone()).collect();
    assert_eq!(envelope.len(), 38);
}
