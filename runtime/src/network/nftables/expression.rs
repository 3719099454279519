//! The expressions that our rules are made of, and their encoding.
//!
//! One register is enough for a match and two for a translation: each match loads and compares.

use std::net::Ipv4Addr;

use super::Policy;
use super::attribute::Attributes;
use crate::network::port::Protocol;
use crate::network::subnet::Subnet;

/// One step in a rule's evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// The link it came in by is, or is not, this one.
    InputLink(Is, String),
    /// The link it goes out by is, or is not, this one.
    OutputLink(Is, String),
    /// Its source lies in this network.
    Source(Subnet),
    /// Its source is one of the host's loopback addresses.
    LoopbackSource,
    /// Its destination is one of the host's loopback addresses.
    LoopbackDestination,
    /// Its destination is this address.
    Destination(Ipv4Addr),
    /// Its destination is an address of the host's, whatever that is at the time.
    LocalDestination,
    /// Its transport and destination port.
    Port(Protocol, u16),
    /// It is an ICMP message.
    Ping,
    /// It belongs or relates to a known connection.
    Established,
    /// Its connection's destination was translated.
    Translated,
    /// Ends with a verdict.
    Verdict(Policy),
    /// Goes on in another chain, and comes back.
    Jump(&'static str),
    /// Changes the destination.
    Translate(Ipv4Addr, u16),
    /// Changes the source to the outgoing link's address.
    Masquerade,
}

/// Whether a value must or must not be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say it themselves")]
pub enum Is {
    Equal = 0,
    Other = 1,
}

const VERDICT_REGISTER: u32 = 0;
const REGISTER: u32 = 1;
const SECOND_REGISTER: u32 = 2;

const META_INPUT_NAME: u32 = 6;
const META_OUTPUT_NAME: u32 = 7;
const META_TRANSPORT: u32 = 16;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
const STATE_ESTABLISHED_OR_RELATED: u32 = 2 | 4;
const STATUS_DESTINATION_TRANSLATED: u32 = 1 << 5;
const BASE_NETWORK: u32 = 1;
const BASE_TRANSPORT: u32 = 2;
const SOURCE_OFFSET: u32 = 12;
const DESTINATION_OFFSET: u32 = 16;
const FIB_ADDRESS_TYPE: u32 = 3;
const FIB_OF_DESTINATION: u32 = 2;
const TYPE_LOCAL: u32 = 2;
const VERDICT_JUMP: i32 = -3;
const NAT_DESTINATION: u32 = 1;
const ICMP: u8 = 1;
const FAMILY_IPV4: u32 = 2;
const LOOPBACK: [u8; 4] = [127, 0, 0, 0];
const LOOPBACK_MASK: [u8; 4] = [255, 0, 0, 0];

impl Expression {
    /// Appends the kernel's form: one list element per kernel expression.
    pub fn encode(&self, list: &mut Attributes) {
        match self {
            Expression::InputLink(is, name) => link(list, META_INPUT_NAME, *is, name),
            Expression::OutputLink(is, name) => link(list, META_OUTPUT_NAME, *is, name),
            Expression::Source(subnet) => {
                let (base, mask) = (subnet.base().octets(), subnet.mask().octets());
                network(list, SOURCE_OFFSET, base, mask);
            }
            Expression::LoopbackSource => network(list, SOURCE_OFFSET, LOOPBACK, LOOPBACK_MASK),
            Expression::LoopbackDestination => {
                network(list, DESTINATION_OFFSET, LOOPBACK, LOOPBACK_MASK);
            }
            Expression::Destination(ip) => {
                payload(list, BASE_NETWORK, DESTINATION_OFFSET, 4);
                compare(list, Is::Equal, &ip.octets());
            }
            Expression::LocalDestination => local_destination(list),
            Expression::Port(protocol, port) => transport_port(list, *protocol, *port),
            Expression::Ping => {
                meta(list, META_TRANSPORT);
                compare(list, Is::Equal, &[ICMP]);
            }
            Expression::Established => conntrack(list, CT_STATE, STATE_ESTABLISHED_OR_RELATED),
            Expression::Translated => conntrack(list, CT_STATUS, STATUS_DESTINATION_TRANSLATED),
            Expression::Verdict(policy) => verdict(list, *policy as i32, None),
            Expression::Jump(chain) => verdict(list, VERDICT_JUMP, Some(chain)),
            Expression::Translate(ip, port) => translate(list, *ip, *port),
            Expression::Masquerade => element(list, "masq", |_| {}),
        }
    }
}

fn element(list: &mut Attributes, name: &str, fill: impl FnOnce(&mut Attributes)) {
    list.nested(1, |element| {
        element.text(1, name).nested(2, fill);
    });
}

fn link(list: &mut Attributes, key: u32, is: Is, name: &str) {
    let mut padded = [0; 16];
    for (to, from) in padded.iter_mut().zip(name.bytes().take(15)) {
        *to = from;
    }
    meta(list, key);
    compare(list, is, &padded);
}

fn meta(list: &mut Attributes, key: u32) {
    element(list, "meta", |data| {
        data.number(2, key).number(1, REGISTER);
    });
}

fn compare(list: &mut Attributes, is: Is, value: &[u8]) {
    element(list, "cmp", |data| {
        data.number(1, REGISTER)
            .number(2, is as u32)
            .nested(3, |inner| {
                inner.bytes(1, value);
            });
    });
}

fn payload(list: &mut Attributes, base: u32, offset: u32, length: u32) {
    element(list, "payload", |data| {
        data.number(1, REGISTER)
            .number(2, base)
            .number(3, offset)
            .number(4, length);
    });
}

fn mask(list: &mut Attributes, mask: [u8; 4]) {
    element(list, "bitwise", |data| {
        data.number(1, REGISTER).number(2, REGISTER).number(3, 4);
        data.nested(4, |inner| {
            inner.bytes(1, &mask);
        });
        data.nested(5, |inner| {
            inner.bytes(1, &[0; 4]);
        });
    });
}

fn network(list: &mut Attributes, offset: u32, base: [u8; 4], bits: [u8; 4]) {
    payload(list, BASE_NETWORK, offset, 4);
    mask(list, bits);
    compare(list, Is::Equal, &base);
}

fn local_destination(list: &mut Attributes) {
    element(list, "fib", |data| {
        data.number(1, REGISTER)
            .number(2, FIB_ADDRESS_TYPE)
            .number(3, FIB_OF_DESTINATION);
    });
    compare(list, Is::Equal, &TYPE_LOCAL.to_ne_bytes());
}

fn transport_port(list: &mut Attributes, protocol: Protocol, port: u16) {
    let number = match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    meta(list, META_TRANSPORT);
    compare(list, Is::Equal, &[number]);
    payload(list, BASE_TRANSPORT, 2, 2);
    compare(list, Is::Equal, &port.to_be_bytes());
}

/// Any of `bits` is set in what is tracked under `key`, which the kernel holds in its own order.
fn conntrack(list: &mut Attributes, key: u32, bits: u32) {
    element(list, "ct", |data| {
        data.number(2, key).number(1, REGISTER);
    });
    mask(list, bits.to_ne_bytes());
    compare(list, Is::Other, &[0; 4]);
}

fn verdict(list: &mut Attributes, code: i32, chain: Option<&str>) {
    element(list, "immediate", |data| {
        data.number(1, VERDICT_REGISTER).nested(2, |inner| {
            inner.nested(2, |verdict| {
                verdict.bytes(1, &code.to_be_bytes());
                if let Some(chain) = chain {
                    verdict.text(2, chain);
                }
            });
        });
    });
}

fn load(list: &mut Attributes, register: u32, value: &[u8]) {
    element(list, "immediate", |data| {
        data.number(1, register).nested(2, |inner| {
            inner.bytes(1, value);
        });
    });
}

fn translate(list: &mut Attributes, ip: Ipv4Addr, port: u16) {
    load(list, REGISTER, &ip.octets());
    load(list, SECOND_REGISTER, &port.to_be_bytes());
    element(list, "nat", |data| {
        data.number(1, NAT_DESTINATION).number(2, FAMILY_IPV4);
        data.number(3, REGISTER).number(5, SECOND_REGISTER);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(expression: &Expression) -> String {
        let mut list = Attributes::default();
        expression.encode(&mut list);
        let words = list.as_bytes().chunks(4);
        let words = words.map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect());
        words.collect::<Vec<String>>().join(" ")
    }

    /// What the kernel took and nft read back as the expression on the left.
    #[test]
    fn golden_bytes() {
        for (expression, bytes) in [
            (
                Expression::Port(Protocol::Tcp, 8080),
                "24000180 09000100 6d657461 00000000 14000280 08000200 00000010 08000100 00000001 \
                 2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000000 0c000380 \
                 05000100 06000000 \
                 34000180 0c000100 7061796c 6f616400 24000280 08000100 00000001 08000200 00000002 \
                 08000300 00000002 08000400 00000002 \
                 2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000000 0c000380 \
                 06000100 1f900000",
            ),
            (
                Expression::Translate(Ipv4Addr::new(10, 88, 0, 2), 80),
                "2c000180 0e000100 696d6d65 64696174 65000000 18000280 08000100 00000001 0c000280 \
                 08000100 0a580002 \
                 2c000180 0e000100 696d6d65 64696174 65000000 18000280 08000100 00000002 0c000280 \
                 06000100 00500000 \
                 30000180 08000100 6e617400 24000280 08000100 00000001 08000200 00000002 08000300 \
                 00000001 08000500 00000002",
            ),
            (
                Expression::Masquerade,
                "14000180 09000100 6d617371 00000000 04000280",
            ),
            (
                Expression::Established,
                "20000180 07000100 63740000 14000280 08000200 00000000 08000100 00000001 \
                 44000180 0c000100 62697477 69736500 34000280 08000100 00000001 08000200 00000001 \
                 08000300 00000004 0c000480 08000100 06000000 0c000580 08000100 00000000 \
                 2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000001 0c000380 \
                 08000100 00000000",
            ),
        ] {
            assert_eq!(hex(&expression), bytes, "{expression:?}");
        }
    }
}
