//! The DHCPv4 client as a state machine (RFC 2131, section 4.4; rapid commit: RFC 4039).
//!
//! Pure: events and the time come in, effects go out. An address is not probed before use: that
//! costs seconds at each boot, and the server has done it.

use std::time::Duration;

use super::lease::{Held, Lease};
use super::message::{Incoming, Outgoing};
use super::random::Random;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The link has a carrier.
    LinkUp,
    /// It has lost it.
    LinkDown,
    /// A server answered in transaction `xid`.
    Received {
        /// The transaction.
        xid: u32,
        /// The answer.
        message: Incoming,
    },
    /// [`Machine::deadline`] has come.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send this.
    Send {
        /// The transaction.
        xid: u32,
        /// Seconds since the first try.
        secs: u16,
        /// The message.
        message: Outgoing,
    },
    /// Use this lease, instead of what is in use.
    Configure(Lease),
    /// Stop using the lease.
    Remove,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Down,
    Selecting {
        tries: u32,
        due: Duration,
    },
    Requesting {
        offer: Lease,
        tries: u32,
        due: Duration,
    },
    Rebooting {
        tries: u32,
        due: Duration,
    },
    Bound,
    Renewing {
        due: Duration,
    },
    Rebinding {
        due: Duration,
    },
}

/// One link's client.
#[derive(Debug, Clone)]
pub struct Machine {
    phase: Phase,
    /// The lease in use, which outlives the transactions that try to better it.
    held: Option<Held>,
    random: Random,
    xid: u32,
    /// When the running attempt began.
    began: Duration,
    /// When the request that is waiting for its answer was sent.
    asked: Duration,
    /// Refusals in a row: a server that offers and then refuses must not be asked in a circle.
    refusals: u32,
}

/// The first answer to be missed is often the first packet after link-up: ask again soon.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(64);
const REQUEST_TRIES: u32 = 4;
const REBOOT_TRIES: u32 = 3;
/// RFC 2131, 4.4.5: a renewal is not repeated sooner.
const RENEWAL_WAIT: Duration = Duration::from_secs(60);

impl Machine {
    /// A client of a link without carrier.
    pub fn new(seed: u64) -> Machine {
        Machine {
            phase: Phase::Down,
            held: None,
            random: Random::new(seed),
            xid: 0,
            began: Duration::ZERO,
            asked: Duration::ZERO,
            refusals: 0,
        }
    }

    /// When `Tick` is due next; never, if nothing is waited for.
    pub fn deadline(&self) -> Option<Duration> {
        let held = self.held.as_ref();
        let due = match &self.phase {
            Phase::Down => None,
            Phase::Bound => held.and_then(Held::renew_at),
            Phase::Selecting { due, .. }
            | Phase::Requesting { due, .. }
            | Phase::Rebooting { due, .. }
            | Phase::Renewing { due }
            | Phase::Rebinding { due } => Some(*due),
        };
        [due, held.and_then(Held::expires_at)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether an answer is waited for.
    pub fn is_listening(&self) -> bool {
        !matches!(self.phase, Phase::Down | Phase::Bound)
    }

    /// The lease in use.
    pub fn lease(&self) -> Option<&Lease> {
        self.held.as_ref().map(|held| &held.lease)
    }

    /// Takes in what happened at `now`, a time that never goes back.
    pub fn step(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        let mut effects = self.expire(now);
        effects.extend(match event {
            Event::LinkUp => self.link_up(now),
            Event::LinkDown => self.link_down(),
            Event::Received { xid, message } if xid == self.xid => self.answer(message, now),
            Event::Received { .. } => Vec::new(),
            Event::Tick => self.tick(now),
        });
        effects
    }

    fn expire(&mut self, now: Duration) -> Vec<Effect> {
        let is_over = self
            .held
            .as_ref()
            .and_then(Held::expires_at)
            .is_some_and(|end| end <= now);
        if !is_over {
            return Vec::new();
        }
        self.held = None;
        let mut effects = vec![Effect::Remove];
        if matches!(
            self.phase,
            Phase::Bound
                | Phase::Renewing { .. }
                | Phase::Rebinding { .. }
                | Phase::Rebooting { .. }
        ) {
            effects.extend(self.discover(now));
        }
        effects
    }

    fn link_up(&mut self, now: Duration) -> Vec<Effect> {
        match (&self.phase, &self.held) {
            (Phase::Down, None) => self.discover(now),
            (Phase::Down, Some(held)) => {
                let message = Outgoing::Reboot {
                    address: held.lease.address,
                };
                self.begin(now);
                self.phase = Phase::Rebooting {
                    tries: 1,
                    due: now + self.wait(1),
                };
                vec![self.send(message, now)]
            }
            _ => Vec::new(),
        }
    }

    /// The lease stays until it expires: a cable that is plugged in again costs nobody a connection.
    fn link_down(&mut self) -> Vec<Effect> {
        self.phase = Phase::Down;
        Vec::new()
    }

    fn answer(&mut self, message: Incoming, now: Duration) -> Vec<Effect> {
        match (&self.phase, message) {
            (Phase::Selecting { .. }, Incoming::Offer(offer)) => self.select(offer, now),
            (Phase::Down | Phase::Bound, _)
            | (_, Incoming::Offer(_))
            | (Phase::Selecting { .. }, Incoming::Nak) => Vec::new(),
            (_, Incoming::Ack(lease)) => self.bind(lease),
            (_, Incoming::Nak) => self.refused(now),
        }
    }

    fn select(&mut self, offer: Lease, now: Duration) -> Vec<Effect> {
        let message = Outgoing::Select {
            address: offer.address,
            server: offer.server,
        };
        self.phase = Phase::Requesting {
            offer,
            tries: 1,
            due: now + self.wait(1),
        };
        vec![self.send(message, now)]
    }

    fn bind(&mut self, lease: Lease) -> Vec<Effect> {
        self.refusals = 0;
        self.phase = Phase::Bound;
        self.held = Some(Held {
            lease: lease.clone(),
            asked: self.asked,
        });
        vec![Effect::Configure(lease)]
    }

    /// The first refusal is answered at once (the address was someone else's network), the next
    /// ones after a wait.
    fn refused(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.held.take().is_some() {
            effects.push(Effect::Remove);
        }
        self.refusals += 1;
        if self.refusals == 1 {
            effects.extend(self.discover(now));
        } else {
            self.begin(now);
            self.phase = Phase::Selecting {
                tries: 0,
                due: now + self.wait(self.refusals),
            };
        }
        effects
    }

    fn tick(&mut self, now: Duration) -> Vec<Effect> {
        if self.deadline().is_none_or(|due| due > now) {
            return Vec::new();
        }
        match self.phase.clone() {
            Phase::Down => Vec::new(),
            Phase::Selecting { tries, .. } => {
                self.phase = Phase::Selecting {
                    tries: tries + 1,
                    due: now + self.wait(tries + 1),
                };
                vec![self.send(Outgoing::Discover, now)]
            }
            Phase::Requesting {
                tries: REQUEST_TRIES..,
                ..
            }
            | Phase::Rebooting {
                tries: REBOOT_TRIES..,
                ..
            } => self.discover(now),
            Phase::Requesting { offer, tries, .. } => {
                let message = Outgoing::Select {
                    address: offer.address,
                    server: offer.server,
                };
                let due = now + self.wait(tries + 1);
                self.phase = Phase::Requesting {
                    offer,
                    tries: tries + 1,
                    due,
                };
                vec![self.send(message, now)]
            }
            Phase::Rebooting { tries, .. } => {
                let Some(held) = &self.held else {
                    return self.discover(now);
                };
                let message = Outgoing::Reboot {
                    address: held.lease.address,
                };
                self.phase = Phase::Rebooting {
                    tries: tries + 1,
                    due: now + self.wait(tries + 1),
                };
                vec![self.send(message, now)]
            }
            Phase::Bound => {
                self.begin(now);
                self.extend(now)
            }
            Phase::Renewing { .. } | Phase::Rebinding { .. } => self.extend(now),
        }
    }

    /// Asks for more time: the server alone until the rebinding time, then all of them.
    fn extend(&mut self, now: Duration) -> Vec<Effect> {
        let Some(held) = self.held.clone() else {
            return self.discover(now);
        };
        let (Some(rebind_at), Some(expires_at)) = (held.rebind_at(), held.expires_at()) else {
            self.phase = Phase::Bound;
            return Vec::new();
        };
        let Lease {
            address, server, ..
        } = held.lease;
        if now < rebind_at {
            self.phase = Phase::Renewing {
                due: again(now, rebind_at),
            };
            return vec![self.send(Outgoing::Renew { address, server }, now)];
        }
        if !matches!(self.phase, Phase::Rebinding { .. }) {
            self.begin(now);
        }
        self.phase = Phase::Rebinding {
            due: again(now, expires_at),
        };
        vec![self.send(Outgoing::Rebind { address }, now)]
    }

    fn discover(&mut self, now: Duration) -> Vec<Effect> {
        self.begin(now);
        self.phase = Phase::Selecting {
            tries: 1,
            due: now + self.wait(1),
        };
        vec![self.send(Outgoing::Discover, now)]
    }

    /// A transaction of its own, so that late answers to the one before are not taken for its.
    fn begin(&mut self, now: Duration) {
        self.began = now;
        self.xid = u32::try_from(self.random.number() >> 32).unwrap_or(1);
    }

    fn send(&mut self, message: Outgoing, now: Duration) -> Effect {
        self.asked = now;
        let secs = u16::try_from(now.saturating_sub(self.began).as_secs()).unwrap_or(u16::MAX);
        Effect::Send {
            xid: self.xid,
            secs,
            message,
        }
    }

    fn wait(&mut self, tries: u32) -> Duration {
        let doubled = FIRST_WAIT * 2u32.saturating_pow(tries.saturating_sub(1).min(16));
        self.random.around(doubled.min(LONGEST_WAIT))
    }
}

/// RFC 2131, 4.4.5: after half of what is left, but not sooner than in a minute.
fn again(now: Duration, limit: Duration) -> Duration {
    let left = limit.saturating_sub(now);
    (now + (left / 2).max(RENEWAL_WAIT)).min(limit)
}
