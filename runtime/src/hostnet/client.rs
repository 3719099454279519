//! One link's DHCP client at work: sockets and a timer around the pure machine.
//!
//! The packet socket is only open while an answer is waited for.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use rtnetlink::Handle;
use std::os::fd::AsRawFd;
use sys::packet as raw;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

use super::dhcp::answer;
use super::dhcp::lease::Lease;
use super::dhcp::machine::{Effect, Event, Machine};
use super::dhcp::message::{Incoming, Outgoing, encode};
use super::dhcp::packet::{CLIENT_PORT, SERVER_PORT, broadcast, payload};
use super::kernel;

const EVERYONE: [u8; 6] = [0xff; 6];
const LARGEST_PACKET: usize = 2048;

/// A change of a link's lease.
#[derive(Debug)]
pub struct Change {
    /// The link.
    pub index: u32,
    /// What it has now, or what the kernel said when it was to have it.
    pub outcome: Result<Option<Lease>, String>,
}

/// A lease that the kernel refused, and when it is tried again.
#[derive(Debug)]
struct Refused {
    lease: Lease,
    tries: u32,
    due: Instant,
}

/// Before the next try: 1, 2, 4 … 64 s.
fn pause(tries: u32) -> Duration {
    Duration::from_secs(1 << tries.min(6))
}

/// A client and the link that it works on.
#[derive(Debug)]
pub struct Client {
    /// The link's index.
    pub index: u32,
    /// Its name, for what is told.
    pub name: String,
    /// Its link address.
    pub mac: [u8; 6],
    /// Where links and addresses are set.
    pub handle: Handle,
    /// Where changes are told.
    pub changes: mpsc::Sender<Change>,
}

impl Client {
    /// Works until the link is gone, which is when `carrier` is dropped.
    pub async fn run(self, seed: u64, mut carrier: watch::Receiver<bool>) {
        let (mut machine, start) = (Machine::new(seed), Instant::now());
        let mut socket: Option<AsyncFd<OwnedFd>> = None;
        let mut refused: Option<Refused> = None;
        let mut event = if *carrier.borrow_and_update() {
            Event::LinkUp
        } else {
            Event::LinkDown
        };
        loop {
            let effects = machine.step(event, start.elapsed());
            self.listen(&mut socket, machine.is_listening());
            for effect in effects {
                self.perform(effect, socket.as_ref(), &mut refused).await;
            }
            let deadline = machine.deadline().map(|deadline| start + deadline);
            event = loop {
                let again = refused.as_ref().map(|refused| refused.due);
                tokio::select! {
                    changed = carrier.changed() => break match changed {
                        Ok(()) if *carrier.borrow_and_update() => Event::LinkUp,
                        Ok(()) => Event::LinkDown,
                        Err(_) => return,
                    },
                    (xid, message) = answer(socket.as_ref(), self.mac) => break Event::Received { xid, message },
                    () = until(deadline) => break Event::Tick,
                    () = until(again) => {
                        if let Some(Refused { lease, tries, .. }) = refused.take() {
                            refused = self.configure(lease, tries + 1).await;
                        }
                    }
                }
            };
        }
    }

    fn listen(&self, socket: &mut Option<AsyncFd<OwnedFd>>, wanted: bool) {
        if !wanted {
            *socket = None;
        } else if socket.is_none() {
            match raw::open(self.index, CLIENT_PORT).and_then(register) {
                Ok(opened) => *socket = Some(opened),
                Err(error) => tracing::warn!("{}: open packet socket: {error}", self.name),
            }
        }
    }

    async fn perform(
        &self,
        effect: Effect,
        socket: Option<&AsyncFd<OwnedFd>>,
        refused: &mut Option<Refused>,
    ) {
        match effect {
            Effect::Send { xid, secs, message } => {
                if let Err(error) = self.send(&message, xid, secs, socket) {
                    tracing::warn!("{}: send {message:?}: {error}", self.name);
                }
            }
            Effect::Configure(lease) => *refused = self.configure(lease, 0).await,
            Effect::Remove => {
                *refused = None;
                tracing::warn!("{}: the lease is over", self.name);
                if let Err(error) = kernel::clear(&self.handle, self.index, None).await {
                    tracing::warn!("{}: remove addresses: {error}", self.name);
                }
                self.tell(Ok(None)).await;
            }
        }
    }

    /// Puts a lease into force, or comes back with when to try again.
    async fn configure(&self, lease: Lease, tries: u32) -> Option<Refused> {
        tracing::info!(
            "{}: {}/{} from {}",
            self.name,
            lease.address,
            lease.prefix,
            lease.server
        );
        // First what is left of an earlier lease: its routes would stand in the new ones' way.
        let mut done = kernel::clear(&self.handle, self.index, Some(lease.address)).await;
        if done.is_ok() {
            done = kernel::configure(&self.handle, self.index, &lease).await;
        }
        match done {
            Ok(()) => {
                self.tell(Ok(Some(lease))).await;
                None
            }
            Err(error) => {
                let text = format!("cannot set {}: {error}", lease.address);
                tracing::warn!("{}: {text}", self.name);
                self.tell(Err(text)).await;
                Some(Refused {
                    lease,
                    tries,
                    due: Instant::now() + pause(tries),
                })
            }
        }
    }

    async fn tell(&self, outcome: Result<Option<Lease>, String>) {
        // Nobody listens any more when the daemon ends.
        let _ = self
            .changes
            .send(Change {
                index: self.index,
                outcome,
            })
            .await;
    }

    fn send(
        &self,
        message: &Outgoing,
        xid: u32,
        secs: u16,
        socket: Option<&AsyncFd<OwnedFd>>,
    ) -> io::Result<()> {
        let bytes = encode(message, self.mac, xid, secs);
        let source = match *message {
            Outgoing::Renew { address, server } => return self.unicast(address, server, &bytes),
            Outgoing::Rebind { address } => address,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        let socket = socket.ok_or(io::ErrorKind::NotConnected)?;
        raw::send(
            socket.as_fd(),
            self.index,
            EVERYONE,
            &broadcast(source, &bytes),
        )
    }

    /// By the kernel's own routes and neighbours. The answer is read from the packet socket.
    fn unicast(&self, from: Ipv4Addr, to: Ipv4Addr, bytes: &[u8]) -> io::Result<()> {
        let socket = UdpSocket::bind(SocketAddrV4::new(from, CLIENT_PORT))?;
        setsockopt(&socket, sockopt::BindToDevice, &self.name.clone().into())?;
        socket.send_to(bytes, SocketAddrV4::new(to, SERVER_PORT))?;
        Ok(())
    }
}

/// The next answer for us; never, without a socket.
async fn answer(socket: Option<&AsyncFd<OwnedFd>>, mac: [u8; 6]) -> (u32, Incoming) {
    let Some(socket) = socket else {
        return std::future::pending().await;
    };
    let mut buffer = [0; LARGEST_PACKET];
    loop {
        let Ok(mut guard) = socket.readable().await else {
            return std::future::pending().await;
        };
        let read =
            guard.try_io(|socket| Ok(recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?));
        match read {
            Ok(Ok(length)) => {
                let answer =
                    payload(&buffer[..length]).and_then(|bytes| answer::decode(bytes, mac));
                if let Some(answer) = answer {
                    return answer;
                }
            }
            // The link went down under the socket: the carrier's change is on its way.
            Ok(Err(error)) => tracing::debug!("read packet socket: {error}"),
            Err(_) => {}
        }
    }
}

/// The constructor in its place is `unsafe` for descriptors that may change hands; an `OwnedFd` does
/// not.
#[expect(deprecated, reason = "see above")]
fn register(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(socket)
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// A seed that differs from host to host and boot to boot.
///
/// Not read from `/dev/urandom`: early in a boot that makes the kernel gather entropy first, which
/// took 1.3 s in a guest. The standard library asks for what there is.
pub fn seed(mac: [u8; 6]) -> u64 {
    RandomState::new().hash_one(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_lease_is_tried_again_after_a_growing_but_bounded_pause() {
        assert_eq!([0, 1, 5].map(|n| pause(n).as_secs()), [1, 2, 32]);
        assert_eq!(pause(u32::MAX).as_secs(), 64);
    }
}
