//! Tests: the client in conversation with a simulated server, on a virtual clock.
//!
//! The server speaks real bytes, so messages are encoded and decoded on the way.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};
use proptest::prelude::*;

use super::answer;
use super::lease::Lease;
use super::machine::{Effect, Event, Machine};
use super::message::encode;
use super::random::Random;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const TRIP: Duration = Duration::from_millis(1);

/// How the server behaves.
#[derive(Debug, Clone)]
struct Server {
    address: Ipv4Addr,
    seconds: u32,
    rapid: bool,
    /// Answers requests with a refusal.
    refuses: bool,
    silent: bool,
    heard: Vec<(Duration, String)>,
}

impl Server {
    fn new() -> Server {
        let address = Ipv4Addr::new(10, 0, 2, 15);
        Server {
            address,
            seconds: 3600,
            rapid: false,
            refuses: false,
            silent: false,
            heard: Vec::new(),
        }
    }

    fn hear(&mut self, bytes: &[u8], now: Duration) -> Option<Vec<u8>> {
        let message = Message::decode(&mut Decoder::new(bytes)).unwrap();
        let kind = message.opts().msg_type().unwrap();
        self.heard.push((now, describe(&message)));
        if self.silent {
            return None;
        }
        let rapid = self.rapid && message.opts().get(OptionCode::RapidCommit).is_some();
        let answer = match kind {
            MessageType::Discover if !rapid => MessageType::Offer,
            MessageType::Request if self.refuses => MessageType::Nak,
            _ => MessageType::Ack,
        };
        Some(self.answer(&message, answer))
    }

    fn answer(&self, to: &Message, kind: MessageType) -> Vec<u8> {
        let none = Ipv4Addr::UNSPECIFIED;
        let own = if kind == MessageType::Nak {
            none
        } else {
            self.address
        };
        let mut answer = Message::new_with_id(to.xid(), none, own, SERVER, none, to.chaddr());
        answer.set_opcode(Opcode::BootReply);
        let options = answer.opts_mut();
        options.insert(DhcpOption::MessageType(kind));
        options.insert(DhcpOption::ServerIdentifier(SERVER));
        if kind != MessageType::Nak {
            options.insert(DhcpOption::AddressLeaseTime(self.seconds));
            options.insert(DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)));
            options.insert(DhcpOption::Router(vec![SERVER]));
            options.insert(DhcpOption::DomainNameServer(vec![Ipv4Addr::new(
                10, 0, 2, 3,
            )]));
        }
        let mut bytes = Vec::new();
        answer.encode(&mut Encoder::new(&mut bytes)).unwrap();
        bytes
    }
}

fn describe(message: &Message) -> String {
    let options = message.opts();
    let mut text = format!("{:?}", options.msg_type().unwrap()).to_lowercase();
    if let Some(DhcpOption::RequestedIpAddress(ip)) = options.get(OptionCode::RequestedIpAddress) {
        text += &format!(" {ip}");
    }
    if options.get(OptionCode::ServerIdentifier).is_some() {
        text += " of server";
    }
    if !message.ciaddr().is_unspecified() {
        text += &format!(" from {}", message.ciaddr());
    }
    text
}

/// A link between the client and the server, and the clock.
struct World {
    machine: Machine,
    server: Server,
    now: Duration,
    /// Answers on the way, with their times of arrival.
    wire: VecDeque<(Duration, Vec<u8>)>,
    configured: Option<Lease>,
    /// Loses this many of the next messages of the client.
    lose: u32,
}

impl World {
    fn new(server: Server) -> World {
        let machine = Machine::new(7);
        World {
            machine,
            server,
            now: Duration::ZERO,
            wire: VecDeque::new(),
            configured: None,
            lose: 0,
        }
    }

    fn event(&mut self, event: Event) {
        for effect in self.machine.step(event, self.now) {
            match effect {
                Effect::Send { xid, secs, message } => {
                    self.carry(&encode(&message, MAC, xid, secs));
                }
                Effect::Configure(lease) => self.configured = Some(lease),
                Effect::Remove => self.configured = None,
            }
        }
    }

    fn carry(&mut self, bytes: &[u8]) {
        if self.lose > 0 {
            self.lose -= 1;
            return;
        }
        if let Some(answer) = self.server.hear(bytes, self.now + TRIP) {
            self.wire.push_back((self.now + 2 * TRIP, answer));
        }
    }

    /// Lets time pass up to `end`.
    fn until(&mut self, end: Duration) {
        loop {
            let arrival = self.wire.front().map(|(at, _)| *at);
            let deadline = self.machine.deadline();
            let Some(next) = [arrival, deadline]
                .into_iter()
                .flatten()
                .min()
                .filter(|at| *at <= end)
            else {
                break;
            };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let (_, bytes) = self.wire.pop_front().unwrap();
                if let Some((xid, message)) = answer::decode(&bytes, MAC) {
                    self.event(Event::Received { xid, message });
                }
            } else {
                self.event(Event::Tick);
            }
        }
        self.now = end;
    }

    fn secs(&mut self, seconds: u64) {
        self.until(self.now + Duration::from_secs(seconds));
    }

    fn heard(&self) -> Vec<&str> {
        self.server
            .heard
            .iter()
            .map(|(_, text)| text.as_str())
            .collect()
    }

    fn address(&self) -> Option<Ipv4Addr> {
        self.configured.as_ref().map(|lease| lease.address)
    }
}

#[test]
fn a_lease_takes_two_round_trips_and_no_waiting() {
    let mut world = World::new(Server::new());
    world.event(Event::LinkUp);
    world.until(4 * TRIP);
    assert_eq!(world.heard(), ["discover", "request 10.0.2.15 of server"]);
    let lease = world.configured.unwrap();
    assert_eq!(
        (lease.address, lease.prefix),
        (Ipv4Addr::new(10, 0, 2, 15), 24)
    );
    assert_eq!(lease.routes[0].via, Some(SERVER));
    assert_eq!(lease.dns, [Ipv4Addr::new(10, 0, 2, 3)]);
}

#[test]
fn a_rapid_commit_takes_one() {
    let mut world = World::new(Server {
        rapid: true,
        ..Server::new()
    });
    world.event(Event::LinkUp);
    world.until(2 * TRIP);
    assert_eq!(world.heard(), ["discover"]);
    assert!(world.configured.is_some());
}

#[test]
fn lost_messages_are_sent_again_with_growing_patience() {
    let mut world = World::new(Server {
        silent: true,
        ..Server::new()
    });
    world.event(Event::LinkUp);
    world.secs(600);
    let times: Vec<f64> = world
        .server
        .heard
        .iter()
        .map(|(at, _)| at.as_secs_f64())
        .collect();
    assert!(times[1] < 0.7, "{times:?}");
    assert!((10..25).contains(&times.len()), "{times:?}");
    world.server.silent = false;
    world.secs(90);
    assert!(world.configured.is_some());
}

#[test]
fn a_lost_request_is_repeated_and_a_lasting_silence_starts_anew() {
    let mut world = World::new(Server::new());
    world.event(Event::LinkUp);
    world.lose = 1;
    world.secs(2);
    let request = "request 10.0.2.15 of server";
    assert_eq!(world.heard(), ["discover", request]);
    assert!(world.configured.is_some());

    let mut world = World::new(Server::new());
    world.event(Event::LinkUp);
    world.lose = 4;
    world.secs(30);
    assert_eq!(world.heard(), ["discover", "discover", request]);
}

#[test]
fn a_lease_is_renewed_at_half_its_time_by_its_own_server() {
    let mut world = World::new(Server::new());
    world.event(Event::LinkUp);
    world.secs(1799);
    assert_eq!(world.heard().len(), 2);
    world.secs(2);
    assert_eq!(world.heard()[2..], ["request from 10.0.2.15"]);
    world.secs(3 * 3600);
    assert_eq!(world.address(), Some(world.server.address));
    assert_eq!(world.heard().len(), 2 + 7, "{:?}", world.heard());
}

#[test]
fn a_silent_server_is_asked_less_and_less_then_all_are_then_the_address_goes() {
    let mut world = World::new(Server::new());
    world.event(Event::LinkUp);
    world.secs(1);
    world.server.silent = true;
    world.secs(3590);
    assert_eq!(
        world.address(),
        Some(world.server.address),
        "in use to the end"
    );
    let asked = world.heard().len() - 2;
    assert!((6..14).contains(&asked), "{:?}", world.server.heard);
    world.secs(20);
    assert_eq!(world.address(), None);
    assert_eq!(world.heard().last(), Some(&"discover"));
    world.server.silent = false;
    world.secs(64);
    assert_eq!(world.address(), Some(world.server.address));
}

#[test]
fn a_refused_renewal_gives_up_the_address_and_starts_anew_at_once() {
    let mut world = World::new(Server::new());
    world.event(Event::LinkUp);
    world.secs(1799);
    world.server.refuses = true;
    world.server.address = Ipv4Addr::new(10, 0, 2, 99);
    world.until(Duration::from_secs(1800) + 5 * TRIP);
    assert_eq!(world.address(), None);
    world.server.refuses = false;
    world.secs(10);
    assert_eq!(world.address(), Some(Ipv4Addr::new(10, 0, 2, 99)));
}

#[test]
fn a_server_that_offers_and_refuses_is_not_asked_in_a_circle() {
    let mut world = World::new(Server {
        refuses: true,
        ..Server::new()
    });
    world.event(Event::LinkUp);
    world.secs(600);
    assert!(world.heard().len() < 60, "{}", world.heard().len());
    world.server.refuses = false;
    world.secs(90);
    assert!(world.configured.is_some());
}

#[test]
fn a_cable_plugged_in_again_keeps_the_address_and_asks_for_it() {
    let mut world = World::new(Server::new());
    world.event(Event::LinkUp);
    world.secs(10);
    world.event(Event::LinkDown);
    world.secs(10);
    assert!(world.configured.is_some());
    world.event(Event::LinkUp);
    world.until(world.now + 2 * TRIP);
    assert_eq!(world.heard()[2..], ["request 10.0.2.15"]);

    world.event(Event::LinkDown);
    world.server.refuses = true;
    world.event(Event::LinkUp);
    world.until(world.now + 2 * TRIP);
    assert_eq!(world.address(), None, "on another network");
}

#[test]
fn a_lease_expires_without_a_link_too() {
    let mut world = World::new(Server::new());
    world.event(Event::LinkUp);
    world.secs(10);
    world.event(Event::LinkDown);
    world.secs(3600);
    assert_eq!(world.address(), None);
    assert_eq!(world.machine.deadline(), None);
}

#[test]
fn an_endless_lease_is_never_asked_about() {
    let mut world = World::new(Server {
        seconds: u32::MAX,
        ..Server::new()
    });
    world.event(Event::LinkUp);
    world.secs(10);
    assert_eq!(world.machine.deadline(), None);
    assert!(world.configured.is_some());
}

#[test]
fn answers_to_others_are_not_taken() {
    let mut world = World::new(Server {
        silent: true,
        ..Server::new()
    });
    world.event(Event::LinkUp);
    let stranger = Message::new_with_id(1, SERVER, SERVER, SERVER, SERVER, &[1; 6]);
    let answer = world.server.answer(&stranger, MessageType::Offer);
    assert_eq!(answer::decode(&answer, MAC), None, "for another link");
    let ours = Message::new_with_id(1, SERVER, SERVER, SERVER, SERVER, &MAC);
    let (xid, message) =
        answer::decode(&world.server.answer(&ours, MessageType::Ack), MAC).unwrap();
    world.event(Event::Received { xid, message });
    assert!(world.configured.is_none(), "of another transaction");
}

proptest! {
    /// Whatever is lost, refused or unplugged: the client never uses an address without a lease,
    /// never floods, and has an address again two minutes after all is well.
    #[test]
    fn it_recovers_from_anything(seed: u64, steps in prop::collection::vec((0u8..8, 1u64..4000), 1..30)) {
        let mut world = World::new(Server { seconds: 600, ..Server::new() });
        world.machine = Machine::new(seed);
        world.event(Event::LinkUp);
        for (what, seconds) in steps {
            match what {
                0 => world.event(Event::LinkDown),
                1 => world.event(Event::LinkUp),
                2 => world.server.silent = !world.server.silent,
                3 => world.server.refuses = !world.server.refuses,
                4 => world.server.rapid = !world.server.rapid,
                5 => world.lose = 3,
                6 => world.server.address = Ipv4Addr::from_bits(world.server.address.to_bits() ^ 64),
                _ => {}
            }
            world.secs(seconds);
            prop_assert_eq!(world.configured.as_ref(), world.machine.lease());
        }
        let messages = world.server.heard.len() as u64;
        prop_assert!(messages < 200 + world.now.as_secs() / 10, "{} in {:?}", messages, world.now);
        (world.server.silent, world.server.refuses, world.lose) = (false, false, 0);
        world.event(Event::LinkUp);
        world.secs(120 + 300);
        prop_assert!(world.configured.is_some());
    }

    #[test]
    fn damaged_answers_are_read_without_a_panic(seed: u64, damage in 1usize..20, cut in 0usize..400) {
        let to = Message::new_with_id(1, SERVER, SERVER, SERVER, SERVER, &MAC);
        let mut bytes = Server::new().answer(&to, MessageType::Ack);
        bytes.extend([81, 1, 0, 121, 6, 33, 10, 0, 0, 0, 0, 119, 3, 0xc0, 0x0c, 0]);
        let mut random = Random::new(seed);
        for _ in 0..damage {
            let at = random.number() as usize % bytes.len();
            bytes[at] = random.number() as u8;
        }
        bytes.truncate(cut.max(200));
        if let Some((_, super::message::Incoming::Ack(lease))) = answer::decode(&bytes, MAC) {
            prop_assert!(lease.prefix >= 1 && lease.prefix <= 32);
        }
    }
}
