//! A simulated Discord on a port of its own, for trying libraries: `cargo run -p trunkline-sim --example simulate -- 127.0.0.1:8080 100`.
//! Arguments: address, events per second, shards. Ends with a key press of Ctrl-C and prints its report.

#![allow(clippy::disallowed_methods, clippy::print_stdout)]

use trunkline_sim::{Config, Sim};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:0".into()).parse()?;
    let rate = arguments.next().unwrap_or_else(|| "100".into()).parse()?;
    let shards = arguments.next().unwrap_or_else(|| "1".into()).parse()?;
    let sim = Sim::start(Config { listen, rate, shards, max_concurrency: 16, ..Config::default() }).await?;
    println!("token \"sim\" at {}", sim.api_url());
    tokio::signal::ctrl_c().await?;
    println!("{}", serde_json::to_string_pretty(&sim.stop().await)?);
    Ok(())
}
