//! Runs a container again and again through the engine's own API, each time with another exit code, and
//! compares what the engine tells with what the container did; the agent's program, by another word.
//!
//! An engine that dies meanwhile is waited for. How often the container ran, and with which code it had to
//! end, lies on a volume that no engine touches.

use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ENGINE: &str = "/run/skeg/engine.sock";
/// An engine that is down comes back within this.
const PATIENCE: Duration = Duration::from_secs(120);

fn file(folder: &Path, kind: &str) -> PathBuf {
    folder.join(kind)
}

/// What the container runs: notes that it ran, and ends with the code that it finds.
///
/// # Errors
/// The volume cannot be read or written.
pub fn once(folder: &Path) -> io::Result<u8> {
    let code = std::fs::read_to_string(file(folder, "code"))?;
    let runs = OpenOptions::new()
        .create(true)
        .append(true)
        .open(file(folder, "runs"));
    runs?.write_all(b"x")?;
    code.trim().parse().map_err(io::Error::other)
}

/// Runs the container until it has run `count` times.
///
/// # Errors
/// The first exit code that was lost, the first start too many, or an engine that does not come back.
pub fn drive(container: &str, folder: &Path, count: u64) -> io::Result<()> {
    for run in 1..=count {
        let code = run % 251;
        std::fs::write(file(folder, "code"), code.to_string())?;
        one(container, folder, run, code)?;
    }
    Ok(())
}

fn one(container: &str, folder: &Path, run: u64, code: u64) -> io::Result<()> {
    let path = |verb: &str| format!("/v1/containers/{container}{verb}");
    let begun = Instant::now();
    let mut why = String::new();
    while begun.elapsed() < PATIENCE {
        let seen = match ask("GET", &path("")) {
            Ok(seen) => seen,
            Err(error) => {
                why = error.to_string();
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let phase = seen["state"]["phase"].as_str().unwrap_or_default();
        if !matches!(phase, "created" | "exited") {
            // Whatever comes of it is looked at in the next turn.
            let _ = ask("POST", &path("/wait"));
            continue;
        }
        let ran = std::fs::metadata(file(folder, "runs")).map_or(0, |runs| runs.len());
        if ran + 1 == run {
            let _ = ask("POST", &path("/start"));
            continue;
        }
        let told = seen["state"]["exit"]["code"].as_u64();
        if ran == run && told == Some(code) {
            return Ok(());
        }
        let text = format!("run {run}: ran {ran} times, expected exit code {code}, told {seen}");
        return Err(io::Error::other(text));
    }
    Err(io::Error::other(format!("run {run}: gave up: {why}")))
}

/// One request on a connection of its own; the body of a good answer.
fn ask(method: &str, path: &str) -> io::Result<Value> {
    let mut socket = UnixStream::connect(ENGINE)?;
    let head = "Host: engine\r\nConnection: close\r\nContent-Length: 0";
    write!(socket, "{method} {path} HTTP/1.1\r\n{head}\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| io::Error::other("the engine broke off"))?;
    if !head.starts_with("HTTP/1.1 2") {
        return Err(io::Error::other(format!("{method} {path}: {answer}")));
    }
    serde_json::from_str(body).map_err(io::Error::other)
}
