//! DHCP messages as the state machine speaks them, and the bytes of a client's.
//!
//! What a server says is read in [`super::answer`].

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
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
const ETHERNET: u8 = 1;

/// The bytes of a message from the link `mac`, `secs` seconds after the first try.
pub fn encode(message: &Outgoing, mac: [u8; 6], xid: u32, secs: u16) -> Vec<u8> {
    let none = Ipv4Addr::UNSPECIFIED;
    let own = match *message {
        Outgoing::Renew { address, .. } | Outgoing::Rebind { address } => address,
        _ => none,
    };
    let mut sent = Message::new_with_id(xid, own, none, none, none, &mac);
    sent.set_secs(secs);
    let options = sent.opts_mut();
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
    let mut bytes = Vec::with_capacity(SHORTEST);
    // Fails only for options longer than the format allows, and ours are short.
    let _ = sent.encode(&mut Encoder::new(&mut bytes));
    bytes.resize(bytes.len().max(SHORTEST), 0);
    bytes
}
