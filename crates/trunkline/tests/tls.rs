//! The whole way over TLS: REST by https, the gateway by wss, trusted through `[discord] ca_file` and refused without it.

mod harness;

use std::path::Path;

use harness::process::Process;
use harness::{free_port, get, run, token};
use trunkline_sim::{BotConfig, Config, Sim, SimHandle, Tls};

/// A simulated Discord at `https://localhost`, signed by an authority of its own whose root lies in `dir/ca.pem`.
async fn discord(dir: &Path, token: &str) -> SimHandle {
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = ca.self_signed(&ca_key).expect("a root");
    std::fs::write(dir.join("ca.pem"), root.pem()).expect("written");
    let key = rcgen::KeyPair::generate().expect("a key");
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let certificate = leaf.signed_by(&key, &rcgen::Issuer::new(ca, ca_key)).expect("a certificate");
    let port = free_port();
    Sim::start(Config {
        listen: ([127, 0, 0, 1], port).into(),
        advertise: Some(format!("localhost:{port}")),
        tls: Some(Tls { cert_pem: certificate.pem(), key_pem: key.serialize_pem() }),
        bots: vec![BotConfig::new(token)],
        rate: 50.0,
        guilds: 2,
        members: 5,
        ..Config::default()
    })
    .await
    .expect("the simulated Discord starts")
}

const PORTS: [(&str, &str); 2] = [("TRUNKLINE_LISTEN_CLIENTS", "127.0.0.1:0"), ("TRUNKLINE_LISTEN_ADMIN", "127.0.0.1:0")];

#[tokio::test(flavor = "multi_thread")]
async fn with_its_authority_named_events_come_over_https_and_wss() {
    let (dir, token) = (tempfile::tempdir().expect("a folder"), token());
    let sim = discord(dir.path(), &token).await;
    assert!(sim.api_url().starts_with("https://localhost:"), "{}", sim.api_url());
    let env =
        [PORTS[0], PORTS[1], ("DISCORD_TOKEN", &token), ("TRUNKLINE_DISCORD_API", sim.api_url()), ("TRUNKLINE_DISCORD_CA_FILE", "ca.pem")];
    let mut node = Process::start(dir.path(), &["run"], &env);
    let (clients, admin) = node.ports().await;
    node.says("ready with a new session").await;
    assert_eq!(get(admin, "/readyz").await.map(|(code, _)| code), Some(200));
    let (code, out, error) = run(&["worker", "--addr", &clients.to_string(), "--count", "20", "--json"], &[], dir.path());
    assert_eq!((code, out.lines().count()), (0, 20), "{error}");
    let report = sim.report();
    assert_eq!((report.identifies, report.client_faults_total), (1, 0), "{:?}", report.client_faults);
    node.signal("TERM");
    assert_eq!(node.ended().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_authority_is_told_with_the_key_that_names_it() {
    let (dir, token) = (tempfile::tempdir().expect("a folder"), token());
    let sim = discord(dir.path(), &token).await;
    let env = [PORTS[0], PORTS[1], ("DISCORD_TOKEN", &token), ("TRUNKLINE_DISCORD_API", sim.api_url())];
    let mut node = Process::start(dir.path(), &["run"], &env);
    let line = node.says("Discord cannot be reached at localhost:").await;
    assert!(
        line.contains(
            ": invalid peer certificate: UnknownIssuer; its certificate is not signed by a known authority: for a server of your own name \
             the root with [discord] ca_file; trying again until it answers"
        ),
        "{line}"
    );
    assert_eq!(sim.report().identifies, 0);
}

#[test]
fn a_ca_file_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("empty.pem"), "nothing\n").expect("written");
    for (file, code_wanted, wanted) in [
        (
            "none.pem",
            2,
            "discord.ca_file: cannot read none.pem: No such file or directory (os error 2); give the path of a PEM file with the root certificate",
        ),
        (
            "empty.pem",
            3,
            "every bot has failed for good: bots[0]: [discord] ca_file empty.pem holds no certificate: expected PEM with -----BEGIN CERTIFICATE-----",
        ),
    ] {
        let env = [PORTS[0], PORTS[1], ("DISCORD_TOKEN", "a.b.c"), ("TRUNKLINE_DISCORD_CA_FILE", file)];
        let (code, _, error) = run(&["run"], &env, dir.path());
        assert_eq!(code, code_wanted, "{error}");
        assert!(error.contains(&format!("{wanted}\n")), "{error}");
    }
}
