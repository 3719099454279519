//! The IPv4 and UDP headers around a DHCP message, for when the link has no address yet.
//!
//! Does not check UDP checksums: a virtual link hands packets over before they are filled in.

use std::net::Ipv4Addr;

/// Where servers listen.
pub const SERVER_PORT: u16 = 67;
/// Where clients listen.
pub const CLIENT_PORT: u16 = 68;

const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const UDP: u8 = 17;

/// A packet to every server on the link, from `source` (or nobody yet).
pub fn broadcast(source: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let udp_length = UDP_HEADER + message.len();
    let mut packet = Vec::with_capacity(IP_HEADER + udp_length);
    packet.extend([0x45, 0]);
    packet.extend(half(IP_HEADER + udp_length));
    packet.extend([0, 0, 0x40, 0, 64, UDP, 0, 0]);
    packet.extend(source.octets());
    packet.extend(Ipv4Addr::BROADCAST.octets());
    let sum = checksum(&packet, 0);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(CLIENT_PORT.to_be_bytes());
    packet.extend(SERVER_PORT.to_be_bytes());
    packet.extend(half(udp_length));
    packet.extend([0, 0]);
    packet.extend(message);
    let pseudo = u32::from(UDP) + u32::from(u16::from_be_bytes(half(udp_length)));
    let sum = match checksum(&packet[12..], pseudo) {
        0 => u16::MAX,
        sum => sum,
    };
    packet[26..28].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// The UDP payload of an IPv4 packet for the client's port; `None` for anything else.
pub fn payload(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let header = usize::from(first & 0xf) * 4;
    let total = usize::from(number(packet, 2)?);
    let is_udp = first >> 4 == 4 && header >= IP_HEADER && *packet.get(9)? == UDP;
    let is_whole = number(packet, 6)? & 0x3fff == 0;
    if !is_udp || !is_whole {
        return None;
    }
    let udp = packet.get(header..total)?;
    let length = usize::from(number(udp, 4)?);
    if number(udp, 2)? != CLIENT_PORT {
        return None;
    }
    udp.get(UDP_HEADER..length)
}

fn half(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..at + 2)?
        .try_into()
        .ok()
        .map(u16::from_be_bytes)
}

/// The internet checksum of `bytes`, with `start` already summed up.
fn checksum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    let sum = words.fold(start, |sum, word| sum + word);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_as_in_a_captured_discover() {
        let packet = broadcast(Ipv4Addr::UNSPECIFIED, &[0; 300]);
        assert_eq!(packet.len(), 328);
        // 328 bytes, do not fragment, 64 hops; the sum was worked out by hand.
        assert_eq!(
            packet[..12],
            [0x45, 0, 0x01, 0x48, 0, 0, 0x40, 0, 64, 17, 0x39, 0xa6]
        );
        assert_eq!(packet[20..26], [0, 68, 0, 67, 0x01, 0x34]);
        assert_eq!(
            checksum(&packet[..20], 0),
            0,
            "a header with its sum sums up to nothing"
        );
    }

    #[test]
    fn the_payload_comes_out_of_an_answer_and_of_nothing_else() {
        let mut packet = broadcast(Ipv4Addr::new(10, 0, 2, 2), b"hello");
        assert_eq!(payload(&packet), None, "for the server's port");
        packet[22..24].copy_from_slice(&CLIENT_PORT.to_be_bytes());
        assert_eq!(payload(&packet), Some(&b"hello"[..]));
        packet.extend([0; 18]);
        assert_eq!(payload(&packet), Some(&b"hello"[..]), "padded by the link");
        packet[6] = 0x20;
        assert_eq!(payload(&packet), None, "a fragment");
    }

    proptest! {
        #[test]
        fn any_packet_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = payload(&bytes);
        }
    }
}
