//! One small HTTP request to a running process's admin port.

use std::process::ExitCode;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::complain;

/// The largest answer that is read; the status of a thousand shards is far below.
const ANSWER_BYTES_MAX: usize = 64 << 20;

const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the admin port; answers status code and body.
///
/// # Errors
/// One plain line that says what to do.
pub fn ask(admin: &str, method: hyper::Method, path: &str) -> Result<(u16, Vec<u8>), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime did not start: {error}"))?;
    runtime.block_on(request(admin, method, path))
}

async fn request(admin: &str, method: hyper::Method, path: &str) -> Result<(u16, Vec<u8>), String> {
    let base = if admin.contains("://") { admin.trim_end_matches('/').to_owned() } else { format!("http://{admin}") };
    let request = hyper::Request::builder()
        .method(method)
        .uri(format!("{base}{path}"))
        .header(crate::roles::admin::CONTROL_HEADER, "1")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("\"{admin}\" is not an address ({error}); write IP:PORT with --admin"))?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let exchange = async {
        let response = client
            .request(request)
            .await
            .map_err(|_| format!("nothing answers at {admin}; is `trunkline run` running, and is --admin its listen.admin?"))?;
        let code = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| format!("the answer of {admin} broke off: {error}"))?;
        Ok((code, body.to_bytes().to_vec()))
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .unwrap_or_else(|_| Err(format!("{admin} did not answer within {} s", PATIENCE.as_secs())))
}

/// Whether an admin port answers there.
pub async fn is_admin(address: &str) -> bool {
    let answer = request(address, hyper::Method::GET, "/").await;
    answer.is_ok_and(|(code, body)| code == 200 && body.starts_with(b"trunkline admin"))
}

/// Sends a command and prints what was done.
#[must_use]
pub fn command(admin: &str, json: bool, path: &str) -> ExitCode {
    match ask(admin, hyper::Method::POST, path) {
        Ok((code, body)) => {
            let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            if json {
                super::say(&answer.to_string());
            }
            if code == 200 {
                if !json {
                    super::say(answer["done"].as_str().unwrap_or("done"));
                }
                super::OK
            } else {
                complain(answer["error"].as_str().unwrap_or("the command was refused"));
                ExitCode::FAILURE
            }
        }
        Err(text) => {
            complain(&text);
            ExitCode::FAILURE
        }
    }
}
