//! What a DHCP server says, read by the crate `dhcproto` and checked.
//!
//! A message that makes no sense is no message, and a value that makes no sense is not there.

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, DhcpOptions, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder};

use super::lease::{Lease, Route};
use super::message::{Incoming, WANTED};

/// The bytes before the options, with the magic number.
const FIXED: usize = 240;
/// Given when a server forgets to say how long.
const DEFAULT_SECONDS: u32 = 3600;
/// A server that grants less would be asked without end.
const LEAST_SECONDS: u32 = 10;
const SMALLEST_MTU: u16 = 576;

/// The transaction and the message in `bytes`, if they are an answer for the link `mac`.
pub fn decode(bytes: &[u8], mac: [u8; 6]) -> Option<(u32, Incoming)> {
    let message = Message::decode(&mut Decoder::new(&sieve(bytes)?)).ok()?;
    let is_ours = message.opcode() == Opcode::BootReply
        && usize::from(message.hlen()) == mac.len()
        && message.chaddr() == mac;
    if !is_ours {
        return None;
    }
    let incoming = match message.opts().msg_type()? {
        MessageType::Offer => Incoming::Offer(lease(&message)?),
        MessageType::Ack => Incoming::Ack(lease(&message)?),
        MessageType::Nak => Incoming::Nak,
        _ => return None,
    };
    Some((message.xid(), incoming))
}

/// The message with only the options that we read and that can be read by themselves: `dhcproto`
/// stops at the first one that it cannot, and of a number reads four bytes whatever its length.
fn sieve(bytes: &[u8]) -> Option<Vec<u8>> {
    let (fixed, mut options) = bytes.split_at_checked(FIXED)?;
    let mut kept = fixed.to_vec();
    while let [code, rest @ ..] = options {
        if *code == u8::from(OptionCode::End) {
            break;
        }
        if *code == u8::from(OptionCode::Pad) {
            options = rest;
            continue;
        }
        let (length, rest) = rest.split_first()?;
        let (value, rest) = rest.split_at_checked(usize::from(*length))?;
        let option = [&[*code, *length], value].concat();
        if is_wanted(OptionCode::from(*code), value) && is_whole(&option) {
            kept.extend(option);
        }
        options = rest;
    }
    kept.push(OptionCode::End.into());
    Some(kept)
}

/// Whether it is an option to its last byte.
fn is_whole(option: &[u8]) -> bool {
    let mut decoder = Decoder::new(option);
    DhcpOption::decode(&mut decoder).is_ok() && decoder.buffer().is_empty()
}

fn is_wanted(code: OptionCode, value: &[u8]) -> bool {
    match code {
        OptionCode::Hostname | OptionCode::DomainName => value.is_ascii(),
        OptionCode::MessageType | OptionCode::ServerIdentifier | OptionCode::AddressLeaseTime => {
            true
        }
        other => WANTED.contains(&other),
    }
}

fn lease(message: &Message) -> Option<Lease> {
    let address = message.yiaddr();
    let is_usable = !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !address.is_broadcast();
    if !is_usable {
        return None;
    }
    let options = message.opts();
    let server = match options.get(OptionCode::ServerIdentifier) {
        Some(DhcpOption::ServerIdentifier(server)) => *server,
        _ => message.siaddr(),
    };
    let (seconds, renew_after, rebind_after) = times(options);
    Some(Lease {
        address,
        prefix: prefix(options, address),
        routes: routes(options),
        dns: match options.get(OptionCode::DomainNameServer) {
            Some(DhcpOption::DomainNameServer(servers)) => servers.clone(),
            _ => Vec::new(),
        },
        search: search(options),
        ntp: match options.get(OptionCode::NtpServers) {
            Some(DhcpOption::NtpServers(servers)) => servers.clone(),
            _ => Vec::new(),
        },
        mtu: match options.get(OptionCode::InterfaceMtu) {
            Some(DhcpOption::InterfaceMtu(mtu)) => Some(*mtu).filter(|mtu| *mtu >= SMALLEST_MTU),
            _ => None,
        },
        hostname: match options.get(OptionCode::Hostname) {
            Some(DhcpOption::Hostname(name)) => domain(name),
            _ => None,
        },
        server,
        seconds,
        renew_after,
        rebind_after,
    })
}

/// Lease, renewal and rebinding time; the latter two as the server says if they are in order.
fn times(options: &DhcpOptions) -> (Option<u32>, u32, u32) {
    let seconds = match options.get(OptionCode::AddressLeaseTime) {
        Some(DhcpOption::AddressLeaseTime(u32::MAX)) => return (None, u32::MAX, u32::MAX),
        Some(DhcpOption::AddressLeaseTime(seconds)) => (*seconds).max(LEAST_SECONDS),
        _ => DEFAULT_SECONDS,
    };
    let renew = match options.get(OptionCode::Renewal) {
        Some(DhcpOption::Renewal(seconds)) => *seconds,
        _ => seconds / 2,
    };
    let rebind = match options.get(OptionCode::Rebinding) {
        Some(DhcpOption::Rebinding(seconds)) => *seconds,
        _ => seconds - seconds / 8,
    };
    if 0 < renew && renew < rebind && rebind < seconds {
        (Some(seconds), renew, rebind)
    } else {
        (Some(seconds), seconds / 2, seconds - seconds / 8)
    }
}

fn prefix(options: &DhcpOptions, address: Ipv4Addr) -> u8 {
    if let Some(DhcpOption::SubnetMask(mask)) = options.get(OptionCode::SubnetMask) {
        let bits = mask.to_bits();
        let ones = bits.leading_ones();
        if ones > 0 && ones + bits.trailing_zeros() == 32 {
            return u8::try_from(ones).unwrap_or(32);
        }
    }
    match address.octets()[0] {
        ..128 => 8,
        128..192 => 16,
        192.. => 24,
    }
}

/// RFC 3442: classless routes, where given, stand instead of the routers.
fn routes(options: &DhcpOptions) -> Vec<Route> {
    if let Some(DhcpOption::ClasslessStaticRoute(routes)) =
        options.get(OptionCode::ClasslessStaticRoute)
        && !routes.is_empty()
    {
        let route = routes.iter().map(|(net, via)| Route {
            to: net.network(),
            prefix: net.prefix_len(),
            via: Some(*via).filter(|via| !via.is_unspecified()),
        });
        return route.collect();
    }
    match options.get(OptionCode::Router) {
        Some(DhcpOption::Router(routers)) => routers
            .iter()
            .find(|router| !router.is_unspecified())
            .map(|router| Route {
                to: Ipv4Addr::UNSPECIFIED,
                prefix: 0,
                via: Some(*router),
            })
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

fn search(options: &DhcpOptions) -> Vec<String> {
    if let Some(DhcpOption::DomainSearch(names)) = options.get(OptionCode::DomainSearch) {
        return names
            .iter()
            .filter_map(|name| domain(&name.to_string()))
            .collect();
    }
    match options.get(OptionCode::DomainName) {
        Some(DhcpOption::DomainName(name)) => domain(name).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// A name fit for a line of `resolv.conf`: a server may not add lines of its own.
fn domain(name: &str) -> Option<String> {
    let name = name.trim_end_matches(['\0', '.']);
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let fits = !name.is_empty() && name.len() <= 253 && name.bytes().all(is_fit);
    fits.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn offer(options: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![2, 1, 6, 0];
        bytes.resize(16, 0);
        bytes.extend([192, 0, 2, 7]);
        bytes.resize(28, 0);
        bytes.extend(MAC);
        bytes.resize(FIXED - 4, 0);
        bytes.extend([99, 130, 83, 99]);
        bytes.extend(options.concat());
        bytes.push(255);
        bytes
    }

    fn read(options: &[&[u8]]) -> Lease {
        match decode(&offer(options), MAC) {
            Some((_, Incoming::Offer(lease))) => lease,
            other => panic!("expected an offer, got {other:?}"),
        }
    }

    const OFFER: &[u8] = &[53, 1, 2];
    const ROUTER: &[u8] = &[3, 4, 192, 0, 2, 1];

    #[test]
    fn a_broken_option_does_not_take_those_behind_it_along() {
        for broken in [
            &[1, 3, 255, 255, 255][..],
            &[6, 3, 9, 9, 9],
            &[51, 2, 0, 60],
            &[119, 3, 63, b'a', b'b'],
            &[121, 3, 24, 10, 0],
        ] {
            let lease = read(&[broken, OFFER, ROUTER]);
            assert_eq!(lease.routes.len(), 1, "{broken:?}");
        }
    }

    #[test]
    fn what_is_too_long_for_a_number_is_not_read_as_another_option() {
        let lease = read(&[OFFER, ROUTER, &[51, 10, 0, 0, 14, 16, 6, 4, 6, 6, 6, 6]]);
        assert_eq!(lease.dns, Vec::<Ipv4Addr>::new());
    }
}
