//! One line of authorized_keys: the key, and what whoever has it may not do.
//!
//! Pure. An option that is not known refuses the whole line: what was meant as a limit is never passed over.

use std::net::IpAddr;

use russh::keys::{Algorithm, PublicKey};

/// Smallest RSA key, in bits.
const LEAST_RSA: usize = 2048;

/// A key and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who has its private half.
    pub key: PublicKey,
    /// `command=`: what is run, whatever is asked for.
    pub command: Option<String>,
    /// `from=`: addresses that it is taken from; empty = all.
    pub from: Vec<Network>,
    /// Ports may be forwarded.
    pub forwards: bool,
    /// `permitopen=`: where to, instead of what the user may.
    pub opens: Vec<Destination>,
    /// A terminal may be asked for.
    pub terminal: bool,
}

/// An address, or a network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

/// `HOST:PORT` of `permitopen=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// An address, `localhost`, or none for any.
    pub host: Option<String>,
    /// None = any.
    pub port: Option<u16>,
}

impl Network {
    /// Reads `ADDRESS` or `ADDRESS/BITS`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether the address is one of it.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| {
            let beyond = width - self.bits;
            beyond >= 128 || a >> beyond == b >> beyond
        };
        match (self.address, other.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

impl Destination {
    /// Reads `HOST:PORT`, each of which may be `*`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host
            .strip_prefix('[')
            .map_or(Some(host), |h| h.strip_suffix(']'))?;
        let is_literal = host == "localhost" || host.parse::<IpAddr>().is_ok();
        if host != "*" && !is_literal {
            return None;
        }
        Some(Self {
            host: (host != "*").then(|| host.to_owned()),
            port: match port {
                "*" => None,
                port => Some(port.parse().ok()?),
            },
        })
    }
}

/// Reads one line.
///
/// # Errors
/// A sentence that never repeats the key.
pub fn parse(line: &str) -> Result<Grant, String> {
    let line = line.trim();
    let (options, rest) = match PublicKey::from_openssh(&without_comment(line)) {
        Ok(_) => ("", line),
        Err(_) => split_options(line)?,
    };
    let key = PublicKey::from_openssh(&without_comment(rest))
        .map_err(|e| format!("expected [OPTIONS] TYPE BASE64 [COMMENT]: {e}"))?;
    is_good(&key)?;
    let mut grant = Grant {
        key,
        command: None,
        from: Vec::new(),
        forwards: true,
        opens: Vec::new(),
        terminal: true,
    };
    for option in list(options)? {
        apply(&mut grant, &option)?;
    }
    Ok(grant)
}

fn without_comment(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    words.join(" ")
}

fn is_good(key: &PublicKey) -> Result<(), String> {
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => Ok(()),
        Algorithm::Rsa { .. } => match key
            .key_data()
            .rsa()
            .map(russh::keys::ssh_key::public::RsaPublicKey::key_size)
        {
            Some(bits) if bits as usize >= LEAST_RSA => Ok(()),
            bits => Err(format!(
                "expected an RSA key of at least {LEAST_RSA} bits, found {}: make one of type ed25519",
                bits.unwrap_or_default()
            )),
        },
        other => Err(format!(
            "keys of type {other} are not taken: make one of type ed25519"
        )),
    }
}

/// The options end at the first blank outside of quotes.
fn split_options(line: &str) -> Result<(&str, &str), String> {
    let mut is_quoted = false;
    let mut before = ' ';
    for (at, sign) in line.char_indices() {
        match sign {
            '"' if before != '\\' => is_quoted = !is_quoted,
            ' ' | '\t' if !is_quoted => return Ok((&line[..at], line[at..].trim_start())),
            _ => {}
        }
        before = sign;
    }
    Err("expected [OPTIONS] TYPE BASE64 [COMMENT], found one word".to_owned())
}

/// The options as name and value, with the quotes taken away.
fn list(options: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let mut all = Vec::new();
    let mut text = String::new();
    let mut is_quoted = false;
    let mut signs = options.chars().chain([',']).peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '\\' if is_quoted && signs.peek() == Some(&'"') => text.extend(signs.next()),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => {
                let option = std::mem::take(&mut text);
                let (name, value) = match option.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (option.as_str(), None),
                };
                if !name.is_empty() {
                    all.push((name.to_ascii_lowercase(), value));
                }
            }
            sign => text.push(sign),
        }
    }
    match is_quoted {
        true => Err("expected a closing \" in the options".to_owned()),
        false => Ok(all),
    }
}

fn apply(grant: &mut Grant, (name, value): &(String, Option<String>)) -> Result<(), String> {
    match (name.as_str(), value.as_deref()) {
        ("restrict", None) => (grant.forwards, grant.terminal) = (false, false),
        ("port-forwarding", None) => grant.forwards = true,
        ("no-port-forwarding", None) => grant.forwards = false,
        ("pty", None) => grant.terminal = true,
        ("no-pty", None) => grant.terminal = false,
        // There is nothing of the kind here that could be forbidden.
        ("no-agent-forwarding" | "no-x11-forwarding" | "no-user-rc", None) => {}
        ("command", Some(command)) => grant.command = Some(command.to_owned()),
        ("from", Some(value)) => {
            for text in value.split(',') {
                let network = Network::parse(text.trim()).ok_or_else(|| {
                    format!("from=: expected addresses and networks such as 192.0.2.0/24, found \"{text}\"")
                })?;
                grant.from.push(network);
            }
        }
        ("permitopen", Some(value)) => {
            let destination = Destination::parse(value).ok_or_else(|| {
                format!("permitopen=: expected ADDRESS:PORT, localhost:PORT or *:PORT, found \"{value}\"")
            })?;
            grant.opens.push(destination);
        }
        _ => {
            return Err(format!(
                "unknown option {name}: expected restrict, command=, from=, permitopen=, no-port-forwarding or no-pty"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
