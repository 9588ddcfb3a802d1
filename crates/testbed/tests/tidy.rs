//! Rules that a machine keeps: the crates' edges, pure crates without runtime or clock, module heads, and no private traces.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which of our crates each crate may use: ARCHITECTURE.md, "Crates". A new edge is a change of the architecture.
const EDGES: &[(&str, &[&str])] = &[
    ("etf", &[]),
    ("discord", &["etf"]),
    ("session", &["discord", "etf"]),
    ("cache", &["discord", "etf"]),
    ("delivery", &["discord", "etf"]),
    ("wire", &["discord", "etf"]),
    ("store", &[]),
    ("gateway", &["session", "discord", "etf"]),
    ("doors", &["cache", "delivery", "wire", "discord", "etf"]),
    ("sim", &["discord", "etf"]),
];

/// Crates that must never have a runtime, a clock, threads or randomness of their own.
const PURE: &[&str] = &["etf", "discord", "session", "cache", "delivery"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace root exists")
}

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("readable folder").map(|e| e.expect("readable entry").path()) {
        if entry.is_dir() {
            rust_files(&entry, out);
        } else if entry.extension().is_some_and(|e| e == "rs") {
            out.push(entry);
        }
    }
}

fn sources(krate: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    rust_files(&root().join("crates").join(krate).join("src"), &mut files);
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("readable source"))).collect()
}

fn manifest_dependencies(krate: &str) -> BTreeMap<String, bool> {
    let text = fs::read_to_string(root().join("crates").join(krate).join("Cargo.toml")).expect("a manifest");
    let mut section = String::new();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut section);
        } else if let Some((name, _)) = line.split_once('=')
            && section.ends_with("dependencies")
        {
            let normal = section == "dependencies";
            let name = name.trim().trim_end_matches(".workspace").to_owned();
            *found.entry(name).or_insert(false) |= normal;
        }
    }
    found
}

#[test]
fn every_edge_between_crates_is_in_the_architecture() {
    for (krate, allowed) in EDGES {
        for (dependency, normal) in manifest_dependencies(krate) {
            if let Some(ours) = dependency.strip_prefix("trunkline-")
                && normal
            {
                assert!(allowed.contains(&ours), "{krate} uses {ours}: not an edge of ARCHITECTURE.md");
            }
        }
    }
}

#[test]
fn pure_crates_have_no_runtime_clock_thread_or_randomness() {
    for krate in PURE {
        for (name, normal) in manifest_dependencies(krate) {
            assert!(
                !normal || !["tokio", "rand", "fastrand", "getrandom", "tracing"].contains(&name.as_str()),
                "{krate} depends on {name}"
            );
        }
        for (path, text) in sources(krate) {
            // Unit tests may print their seeds.
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            for banned in ["std::thread", "std::net", "std::fs", "SystemTime", "std::time::Instant", "println!"] {
                let used = text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(banned));
                assert!(!used, "{} names {banned}", path.display());
            }
        }
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    let mut checked = 0;
    for entry in fs::read_dir(root().join("crates")).expect("crates") {
        let krate = entry.expect("entry").file_name().to_string_lossy().into_owned();
        for (path, text) in sources(&krate) {
            let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
            assert!(first.is_some_and(|line| line.starts_with("//!")), "{} does not begin with //!", path.display());
            checked += 1;
        }
    }
    assert!(checked > 30, "only {checked} files found: the walk is broken");
}

#[test]
fn nothing_is_left_to_do_and_no_proof_is_skipped() {
    for entry in fs::read_dir(root().join("crates")).expect("crates") {
        let krate = entry.expect("entry").path();
        let mut files = Vec::new();
        rust_files(&krate, &mut files);
        for path in files.into_iter().filter(|p| !p.ends_with("tidy.rs")) {
            let text = fs::read_to_string(&path).expect("readable source");
            for banned in ["todo!(", "unimplemented!(", "#[ignore", "FIXME", "XXX", "dbg!("] {
                assert!(!text.contains(banned), "{} has {banned}", path.display());
            }
        }
    }
}

#[test]
fn every_configuration_key_is_documented() {
    let docs = fs::read_to_string(root().join("docs/configuration.md")).expect("docs/configuration.md");
    for key in trunkline::config::keys::KEYS {
        let name = key.path.replace(".*", "[]");
        assert!(docs.contains(&format!("`{name}`")), "docs/configuration.md does not explain `{name}`");
    }
}
