//! Sockets that keep published ports from other programs of the host.
//!
//! Bound but never listened on: no packet is meant for them, since the rules translate before.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, setsockopt, socket, sockopt,
};

use super::port::{PortMapping, Protocol};

/// A port that is kept as long as this lives.
#[derive(Debug)]
pub struct HeldPort {
    _socket: OwnedFd,
}

impl HeldPort {
    /// Takes the host's port of `wanted`, or any free one for 0: it returns the port as it is.
    pub fn take(wanted: &PortMapping) -> io::Result<(HeldPort, PortMapping)> {
        let kind = match wanted.protocol {
            Protocol::Tcp => SockType::Stream,
            Protocol::Udp => SockType::Datagram,
        };
        let socket = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None)?;
        // The address may come later than the container: by DHCP, or a link plugged in.
        setsockopt(&socket, sockopt::IpFreebind, &true)?;
        let ip = wanted.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let address = SockaddrIn::from(SocketAddrV4::new(ip, wanted.host_port));
        bind(socket.as_raw_fd(), &address)?;
        let host_port = getsockname::<SockaddrIn>(socket.as_raw_fd())?.port();
        Ok((
            HeldPort { _socket: socket },
            PortMapping {
                host_port,
                ..*wanted
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_port_is_refused_to_others_until_it_is_let_go() {
        let any = PortMapping::parse("127.0.0.1::80").unwrap()[0];
        let (held, port) = HeldPort::take(&any).unwrap();
        assert_ne!(port.host_port, 0);
        assert_eq!(
            HeldPort::take(&port).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(held);
        HeldPort::take(&port).unwrap();
    }
}
