//! A socket below IP for one link: what DHCP needs before the link has an address.
//!
//! Receives only UDP datagrams for one port, filtered in the kernel; builds no headers.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const ETHERNET_IPV4: u16 = 0x0800;

/// Opens a non-blocking socket that sends and receives IPv4 packets on the link `index`, and sees
/// only unfragmented UDP for `port`.
///
/// # Errors
/// As `socket(2)`, `setsockopt(2)` and `bind(2)`.
pub fn open(index: u32, port: u16) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // Protocol 0 receives nothing: no packet comes before filter and link are set.
    // SAFETY: no pointers are passed.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    filter(&socket, port)?;
    let address = link_address(index, [0; 6]);
    // SAFETY: `address` is a whole sockaddr_ll and outlives the call; its size is passed.
    check(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            ADDRESS_SIZE,
        )
    })?;
    Ok(socket)
}

/// Sends the IPv4 packet `bytes` to the link address `to`.
///
/// # Errors
/// As `sendto(2)`.
pub fn send(socket: BorrowedFd<'_>, index: u32, to: [u8; 6], bytes: &[u8]) -> io::Result<()> {
    let address = link_address(index, to);
    // SAFETY: `bytes` and `address` are valid for the lengths passed and outlive the call.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            0,
            (&raw const address).cast(),
            ADDRESS_SIZE,
        )
    };
    if sent < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "20 bytes")]
const ADDRESS_SIZE: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

fn link_address(index: u32, to: [u8; 6]) -> libc::sockaddr_ll {
    let [a, b, c, d, e, f] = to;
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: ETHERNET_IPV4.to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [a, b, c, d, e, f, 0, 0],
    }
}

/// `udp and no fragment and destination port`, on a packet that begins with the IPv4 header.
fn filter(socket: &OwnedFd, port: u16) -> io::Result<()> {
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let load_byte = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    let load_half = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let mut program = [
        step(load_byte, 0, 0, 9),
        step(equal, 0, 6, libc::IPPROTO_UDP as u32),
        step(load_half, 0, 0, 6),
        step(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 4, 0, 0x3fff),
        step(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 0),
        step(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, 0, 0, 2),
        step(equal, 0, 1, u32::from(port)),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ];
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    #[expect(clippy::cast_possible_truncation, reason = "16 bytes")]
    let size = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: the kernel copies the program, which outlives the call, and checks it.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size,
        )
    })?;
    Ok(())
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
