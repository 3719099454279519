//! A client of the fleet_lock protocol (Zincati's, version 1): asks for a reboot slot before the host
//! goes down, and gives it back once it is steady again.
//!
//! Any server of the protocol; what a server says is shown, never acted on beyond yes and no.

use crate::fetch::{HttpSource, Settings, SourceError};
use serde::{Deserialize, Serialize};
use sha2::Digest;
use std::fmt::Write;

/// No more of an answer is read, in bytes.
const LONGEST: u64 = 64 << 10;

/// Where the slots are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetLock {
    /// The server's base URL.
    pub url: String,
    /// The group that this host is one of.
    #[serde(default = "default_group")]
    pub group: String,
}

fn default_group() -> String {
    "default".into()
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// May this host go down? Asked again it is the same slot.
    PreReboot,
    /// It is up and steady.
    SteadyState,
}

#[derive(Serialize)]
struct Body<'a> {
    client_params: Client<'a>,
}

#[derive(Serialize)]
struct Client<'a> {
    id: &'a str,
    group: &'a str,
}

#[derive(Deserialize)]
struct Refusal {
    kind: String,
    value: String,
}

/// A host's name at the server: it tells one from another, and not the machine's id.
#[must_use]
pub fn client_id(machine_id: &[u8]) -> String {
    let hash = sha2::Sha256::new()
        .chain_update(b"skeg fleet_lock")
        .chain_update(machine_id.trim_ascii());
    let mut text = String::new();
    for byte in hash.finalize().iter().take(16) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Asks; an answer is a yes.
///
/// # Errors
/// A sentence: who refuses and why, or that nobody answers.
pub async fn ask(lock: &FleetLock, id: &str, ask: Ask, settings: Settings) -> Result<(), String> {
    let path = match ask {
        Ask::PreReboot => "v1/pre-reboot",
        Ask::SteadyState => "v1/steady-state",
    };
    let body = Body {
        client_params: Client {
            id,
            group: &lock.group,
        },
    };
    let body = serde_json::to_vec(&body).map_err(|e| e.to_string())?;
    let mut server = HttpSource::new(&lock.url, settings).map_err(|e| e.to_string())?;
    let head = [
        ("fleet-lock-protocol", "true"),
        ("content-type", "application/json"),
    ];
    match server.post(path, &head, body, LONGEST).await {
        Ok((200..=299, _)) => Ok(()),
        Ok((status, answer)) => Err(told(lock, status, &answer)),
        Err(e) => Err(no_answer(&e)),
    }
}

fn no_answer(e: &SourceError) -> String {
    format!("fleet_lock: {e}")
}

fn told(lock: &FleetLock, status: u16, answer: &[u8]) -> String {
    let plain = |text: String| -> String {
        let shown = text.chars().filter(|c| !c.is_control());
        shown.take(200).collect()
    };
    match serde_json::from_slice::<Refusal>(answer) {
        Ok(refusal) => format!(
            "fleet_lock, group {}: {} ({})",
            lock.group,
            plain(refusal.value),
            plain(refusal.kind)
        ),
        Err(_) => format!("fleet_lock at {}: status {status}", lock.url),
    }
}
