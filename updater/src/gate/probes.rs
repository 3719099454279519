//! What a host must have besides its units: an address, and the answers that its own checks in
//! `/etc/skeg/health.d` expect.
//!
//! Each is measured before the drain like a unit, and only one that held then is expected on trial.
//! A check names an address to ask; it runs no program, since the host has none of the user's.

use serde::Deserialize;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name of the host's network among what is expected.
const NETWORK: &str = "network";
/// What a check's name begins with there; a unit's name never does.
const CHECK: &str = "check:";
/// More checks are not asked.
const MOST_CHECKS: usize = 32;
/// No file of a check is longer, in bytes.
const LONGEST_FILE: u64 = 16 << 10;
/// No more of an answer is read, in bytes.
const LONGEST_ANSWER: u64 = 64 << 10;
/// How long an answer may take, in seconds.
const PATIENCE: u64 = 2;

/// Where they are told; tests put them elsewhere.
#[derive(Debug, Clone)]
pub struct Places {
    /// The network daemon's word.
    pub network: PathBuf,
    /// The user's checks.
    pub checks: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            network: formats::paths::NETWORK.into(),
            checks: formats::update::CHECKS.into(),
        }
    }
}

/// A file `NAME.toml` of a user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    /// `ADDRESS:PORT` that takes a connection.
    tcp: Option<SocketAddr>,
    /// `http://ADDRESS:PORT/PATH` that answers with a status of 200 to 299.
    http: Option<String>,
    /// What that answer has to contain.
    contains: Option<String>,
    /// Seconds.
    #[serde(default = "patience")]
    timeout_seconds: u64,
}

fn patience() -> u64 {
    PATIENCE
}

/// Whether a name among what is expected is for [`ask`], not for the engine.
#[must_use]
pub fn is_probe(name: &str) -> bool {
    name == NETWORK || name.starts_with(CHECK)
}

/// The names of all that hold now.
#[must_use]
pub fn holding(places: &Places) -> Vec<String> {
    let mut names = vec![NETWORK.to_owned()];
    names.extend(checks(&places.checks));
    names.retain(|name| ask(places, name).is_ok());
    names
}

/// The names of the user's checks, sorted.
fn checks(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |file: fs::DirEntry| {
        let name = file.file_name().into_string().ok()?;
        Some(format!("{CHECK}{}", name.strip_suffix(".toml")?))
    };
    let mut names: Vec<String> = files.filter_map(name).collect();
    names.sort_unstable();
    names.truncate(MOST_CHECKS);
    names
}

/// Whether one holds now.
///
/// # Errors
/// A sentence: why not.
pub fn ask(places: &Places, name: &str) -> Result<(), String> {
    let Some(check) = name.strip_prefix(CHECK) else {
        return network(&places.network);
    };
    let path = places.checks.join(format!("{check}.toml"));
    let told = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let file = fs::File::open(&path).map_err(|e| told(&e))?;
    let mut text = String::new();
    let read = file.take(LONGEST_FILE).read_to_string(&mut text);
    read.map_err(|e| told(&e))?;
    let check: Check = toml::from_str(&text).map_err(|e| told(&e))?;
    let limit = Duration::from_secs(check.timeout_seconds.clamp(1, 10));
    match (check.tcp, &check.http) {
        (Some(address), None) => connect(address, limit).map(drop),
        (None, Some(url)) => http(url, check.contains.as_deref(), limit),
        _ => Err(told(&"expected one of `tcp` and `http`")),
    }
}

/// Any link with a lease.
fn network(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|_| "nothing is known of it".to_owned())?;
    let told: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let links = told["links"].as_object().into_iter().flatten();
    let mut leases = links.filter(|(_, link)| !link["lease"].is_null());
    leases
        .next()
        .map(drop)
        .ok_or_else(|| "no link has an address".to_owned())
}

fn connect(address: SocketAddr, limit: Duration) -> Result<TcpStream, String> {
    TcpStream::connect_timeout(&address, limit).map_err(|e| format!("{address}: {e}"))
}

fn http(url: &str, contains: Option<&str>, limit: Duration) -> Result<(), String> {
    let rest = url.strip_prefix("http://");
    let parts = rest.map(|rest| rest.split_once('/').unwrap_or((rest, "")));
    let parts = parts.and_then(|(host, path)| Some((host.parse::<SocketAddr>().ok()?, path)));
    let plain = !url.contains(|c: char| c.is_whitespace() || c.is_control());
    let (address, path) = parts
        .filter(|_| plain)
        .ok_or_else(|| format!("{url}: expected http://ADDRESS:PORT/PATH"))?;
    let told = |e: std::io::Error| format!("{url}: {e}");
    let mut stream = connect(address, limit)?;
    stream.set_read_timeout(Some(limit)).map_err(told)?;
    stream.set_write_timeout(Some(limit)).map_err(told)?;
    let request = format!("GET /{path} HTTP/1.0\r\nHost: {address}\r\nUser-Agent: skeg\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(told)?;
    let mut answer = Vec::new();
    let deadline = std::time::Instant::now() + limit;
    let mut block = [0; 4096];
    loop {
        match stream.read(&mut block) {
            Ok(0) => break,
            Ok(n) => answer.extend(&block[..n]),
            // A server that keeps the connection has said what it says.
            Err(_) if !answer.is_empty() => break,
            Err(e) => return Err(told(e)),
        }
        if answer.len() as u64 > LONGEST_ANSWER || std::time::Instant::now() > deadline {
            break;
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).unwrap_or("no status");
    if !(text.starts_with("HTTP/1.") && status.len() == 3 && status.starts_with('2')) {
        return Err(format!("{url}: expected a status of 2xx, got {status:.20}"));
    }
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    match contains.filter(|wanted| !body.contains(wanted)) {
        Some(wanted) => Err(format!("{url}: the answer does not contain {wanted:?}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn places(folder: &Path) -> Places {
        let places = Places {
            network: folder.join("network.json"),
            checks: folder.join("health.d"),
        };
        fs::create_dir(&places.checks).unwrap();
        places
    }

    /// A server that gives this answer to everybody.
    fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        address
    }

    #[test]
    fn a_check_is_an_address_that_answers_as_expected() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        let good = server("HTTP/1.1 200 OK\r\n\r\nall is well");
        let ill = server("HTTP/1.1 503 Busy\r\n\r\n");
        for (name, text, why) in [
            (
                "up",
                format!("http = \"http://{good}/health\"\ncontains = \"well\""),
                "",
            ),
            ("port", format!("tcp = \"{good}\""), ""),
            (
                "other",
                format!("http = \"http://{good}\"\ncontains = \"ill\""),
                "contain \"ill\"",
            ),
            ("ill", format!("http = \"http://{ill}/\""), "got 503"),
            ("refused", "tcp = \"127.0.0.1:1\"".into(), "127.0.0.1:1"),
            (
                "name",
                "http = \"http://web/\"".into(),
                "expected http://ADDRESS:PORT",
            ),
            ("both", format!("tcp = \"{good}\"\nhttp = \"\""), "one of"),
            ("mistake", "tpc = \"\"".into(), "tpc"),
            (
                "split",
                format!("http = \"http://{good}/a\\r\\nX: y\""),
                "expected http",
            ),
        ] {
            fs::write(places.checks.join(format!("{name}.toml")), text).unwrap();
            let asked = ask(&places, &format!("check:{name}"));
            match asked {
                Ok(()) => assert_eq!(why, "", "{name}"),
                Err(text) => assert!(!why.is_empty() && text.contains(why), "{name}: {text}"),
            }
        }
        assert_eq!(holding(&places), ["check:port", "check:up"]);
        assert!(
            ask(&places, "check:none")
                .unwrap_err()
                .contains("none.toml")
        );
    }

    #[test]
    fn the_network_holds_while_a_link_has_a_lease() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        assert!(ask(&places, NETWORK).is_err());
        let link = |lease: &str| {
            format!(r#"{{"version":1,"links":{{"2":{{"name":"eth0","lease":{lease}}}}}}}"#)
        };
        for (text, holds) in [
            (link("null"), false),
            (link(r#"{"address":"10.0.2.15"}"#), true),
            (r#"{"version":1,"links":{}}"#.into(), false),
            ("torn".into(), false),
        ] {
            fs::write(&places.network, &text).unwrap();
            assert_eq!(ask(&places, NETWORK).is_ok(), holds, "{text}");
        }
        assert!(is_probe(NETWORK) && is_probe("check:web") && !is_probe("network.service"));
    }
}
