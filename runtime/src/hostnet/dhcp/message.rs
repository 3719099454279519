//! DHCP messages as the state machine speaks them, and the bytes of a client's.
//!
//! What a server says is read in [`super::answer`].

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, DhcpOptions, MessageType, OptionCode};
use dhcproto::{Encodable, Encoder};

use super::lease::Lease;

/// What a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outgoing {
    /// Who has an address for me?
    Discover,
    /// I take this server's offer.
    Select {
        /// The offered address.
        address: Ipv4Addr,
        /// Who offered it.
        server: Ipv4Addr,
    },
    /// I had this address here before: is it still mine?
    Reboot {
        /// The address.
        address: Ipv4Addr,
    },
    /// To the server alone: more time, please.
    Renew {
        /// The address in use.
        address: Ipv4Addr,
        /// Who granted it.
        server: Ipv4Addr,
    },
    /// To any server: more time, please.
    Rebind {
        /// The address in use.
        address: Ipv4Addr,
    },
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// An address to be had.
    Offer(Lease),
    /// An address granted.
    Ack(Lease),
    /// No: start anew.
    Nak,
}

/// The options that a server is asked for.
pub(super) const WANTED: [OptionCode; 11] = [
    OptionCode::SubnetMask,
    OptionCode::ClasslessStaticRoute,
    OptionCode::Router,
    OptionCode::DomainNameServer,
    OptionCode::Hostname,
    OptionCode::DomainName,
    OptionCode::DomainSearch,
    OptionCode::InterfaceMtu,
    OptionCode::NtpServers,
    OptionCode::Renewal,
    OptionCode::Rebinding,
];
/// Old relays drop shorter ones.
const SHORTEST: usize = 300;
const LARGEST_ACCEPTED: u16 = 1500;
const REQUEST: u8 = 1;
const ETHERNET: u8 = 1;
const LINK_ADDRESS: usize = 28;
const MAGIC_PLACE: usize = 236;
const MAGIC: [u8; 4] = [99, 130, 83, 99];

/// The bytes of a message from the link `mac`, `secs` seconds after the first try.
pub fn encode(message: &Outgoing, mac: [u8; 6], xid: u32, secs: u16) -> Vec<u8> {
    let own = match *message {
        Outgoing::Renew { address, .. } | Outgoing::Rebind { address } => address,
        _ => Ipv4Addr::UNSPECIFIED,
    };
    let mut options = DhcpOptions::new();
    options.insert(DhcpOption::MessageType(match message {
        Outgoing::Discover => MessageType::Discover,
        _ => MessageType::Request,
    }));
    let mut id = vec![ETHERNET];
    id.extend(mac);
    options.insert(DhcpOption::ClientIdentifier(id));
    options.insert(DhcpOption::MaxMessageSize(LARGEST_ACCEPTED));
    options.insert(DhcpOption::ParameterRequestList(WANTED.to_vec()));
    match *message {
        Outgoing::Discover => {
            options.insert(DhcpOption::RapidCommit);
        }
        Outgoing::Select { address, server } => {
            options.insert(DhcpOption::RequestedIpAddress(address));
            options.insert(DhcpOption::ServerIdentifier(server));
        }
        Outgoing::Reboot { address } => {
            options.insert(DhcpOption::RequestedIpAddress(address));
        }
        Outgoing::Renew { .. } | Outgoing::Rebind { .. } => {}
    }
    let mut encoded = Vec::new();
    // Fails only for options longer than the format allows, and ours are short.
    let _ = options.encode(&mut Encoder::new(&mut encoded));
    let mut bytes = header(mac, xid, secs, own);
    bytes.extend(encoded);
    bytes.resize(bytes.len().max(SHORTEST), 0);
    bytes
}

/// The part before the options. `dhcproto`'s own message draws a transaction id of its own when it
/// is made, which blocks until the kernel has entropy: seconds, early in a boot.
fn header(mac: [u8; 6], xid: u32, secs: u16, own: Ipv4Addr) -> Vec<u8> {
    let mut bytes = vec![REQUEST, ETHERNET, 6, 0];
    bytes.extend(xid.to_be_bytes());
    bytes.extend(secs.to_be_bytes());
    bytes.extend([0; 2]);
    bytes.extend(own.octets());
    bytes.resize(LINK_ADDRESS, 0);
    bytes.extend(mac);
    bytes.resize(MAGIC_PLACE, 0);
    bytes.extend(MAGIC);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against RFC 2131's figure 1 and RFC 2132's options, by hand.
    #[test]
    fn golden_bytes() {
        let select = Outgoing::Select {
            address: Ipv4Addr::new(10, 0, 2, 15),
            server: Ipv4Addr::new(10, 0, 2, 2),
        };
        let bytes = encode(&select, [0x52, 0x54, 0, 0x12, 0x34, 0x56], 0xdead_beef, 3);
        let begin = b"\x01\x01\x06\0\xde\xad\xbe\xef\0\x03\0\0";
        assert_eq!(bytes[..12], *begin);
        assert!(bytes[12..28].iter().all(|byte| *byte == 0));
        assert_eq!(bytes[28..34], [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        assert_eq!(bytes[236..240], [99, 130, 83, 99]);
        let options = b"\x32\x04\x0a\0\x02\x0f\x35\x01\x03\x36\x04\x0a\0\x02\x02\
            \x37\x0b\x01\x79\x03\x06\x0c\x0f\x77\x1a\x2a\x3a\x3b\x39\x02\x05\xdc\
            \x3d\x07\x01\x52\x54\0\x12\x34\x56\xff";
        assert_eq!(bytes[240..][..options.len()], *options);
        assert_eq!(bytes.len(), SHORTEST);
    }
}
