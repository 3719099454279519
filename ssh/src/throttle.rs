//! Who may try to log in, and how often: counted for each address and for all together.
//!
//! Pure: the clock is an argument. Its memory is bounded, whatever the number of addresses.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Addresses that are remembered at most.
const MOST_ADDRESSES: usize = 1024;
/// Connections in a row without a login that cost nothing yet.
const FREE: u32 = 5;
/// The first time that an address is shut out; each further failure doubles it.
const FIRST_BAN: Duration = Duration::from_secs(30);
/// The longest.
const LONGEST_BAN: Duration = Duration::from_secs(3600);
/// One failure is forgotten after so long.
const FORGIVEN: Duration = Duration::from_secs(120);
/// Addresses that logged in are let through for so long, however many others try.
const KNOWN: Duration = Duration::from_secs(24 * 3600);
/// Connections before their login that one address may have at once.
pub const OF_ONE: usize = 8;
/// Attempts of all unknown addresses together: so many at once, and so many a second.
const BURST: f64 = 40.0;
const PER_SECOND: f64 = 10.0;

/// Why a connection is closed unheard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Too many failures of this address; for so much longer.
    Banned(Duration),
    /// It has too many connections that have not logged in.
    TooMany,
    /// All together try too often.
    Flood,
}

#[derive(Debug, Clone, Copy)]
struct Address {
    failures: u32,
    open: usize,
    until: Option<Instant>,
    last: Instant,
    login: Option<Instant>,
}

/// The memory of attempts.
#[derive(Debug)]
pub struct Throttle {
    addresses: HashMap<IpAddr, Address>,
    tokens: f64,
    filled: Instant,
}

impl Throttle {
    /// Nobody has tried yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            addresses: HashMap::new(),
            tokens: BURST,
            filled: now,
        }
    }

    /// Whether a connection from there is heard. One that is must be followed by
    /// [`Self::logged_in`] or [`Self::failed`], once.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&mut self, from: IpAddr, now: Instant) -> Result<(), Refusal> {
        let from = network(from);
        self.refill(now);
        let tokens = self.tokens;
        let address = self.entry(from, now);
        address.forgive(now);
        if let Some(until) = address.until.filter(|until| *until > now) {
            return Err(Refusal::Banned(until - now));
        }
        if address.open >= OF_ONE {
            return Err(Refusal::TooMany);
        }
        let is_known = address.login.is_some_and(|at| now - at < KNOWN);
        if !is_known && tokens < 1.0 {
            return Err(Refusal::Flood);
        }
        address.open += 1;
        address.last = now;
        if !is_known {
            self.tokens -= 1.0;
        }
        Ok(())
    }

    /// The connection has logged in: what failed before is forgotten.
    pub fn logged_in(&mut self, from: IpAddr, now: Instant) {
        let address = self.entry(network(from), now);
        address.open = address.open.saturating_sub(1);
        (address.failures, address.until) = (0, None);
        (address.last, address.login) = (now, Some(now));
    }

    /// The connection ended without a login; how long the address is shut out from now on, if it is.
    pub fn failed(&mut self, from: IpAddr, now: Instant) -> Option<Duration> {
        let address = self.entry(network(from), now);
        address.forgive(now);
        address.open = address.open.saturating_sub(1);
        address.failures = address.failures.saturating_add(1);
        address.last = now;
        let beyond = address.failures.checked_sub(FREE).filter(|n| *n > 0)?;
        let factor = 1u32.checked_shl(beyond - 1).unwrap_or(u32::MAX);
        let ban = FIRST_BAN.saturating_mul(factor).min(LONGEST_BAN);
        address.until = Some(now + ban);
        Some(ban)
    }

    /// Addresses that are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.addresses.len()
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * PER_SECOND).min(BURST);
        self.filled = now;
    }

    /// The address's memory; a new one takes the place of the one that is worth least.
    fn entry(&mut self, from: IpAddr, now: Instant) -> &mut Address {
        if !self.addresses.contains_key(&from) && self.addresses.len() >= MOST_ADDRESSES {
            let worth = |a: &Address| (a.open > 0, a.login, a.until.filter(|u| *u > now), a.last);
            let least = self.addresses.iter().min_by_key(|(_, a)| worth(a));
            if let Some(least) = least.map(|(address, _)| *address) {
                self.addresses.remove(&least);
            }
        }
        self.addresses.entry(from).or_insert(Address {
            failures: 0,
            open: 0,
            until: None,
            last: now,
            login: None,
        })
    }
}

impl Address {
    fn forgive(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.until.unwrap_or(self.last).max(self.last));
        let forgiven = passed.as_secs() / FORGIVEN.as_secs();
        if forgiven > 0 {
            let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
            self.failures = self.failures.saturating_sub(forgiven);
            self.last = now;
        }
    }
}

/// Whoever has one address of an IPv6 network has all of them: counted by its first 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;
