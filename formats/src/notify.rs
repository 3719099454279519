//! What services tell PID 1 on [`crate::paths::NOTIFY_SOCKET`], the descriptor store included: the
//! words of sd_notify(3), one datagram of newline-separated assignments.
//!
//! It borrows from the datagram and allocates nothing. Unknown assignments are passed over, as the
//! protocol asks. Stored descriptors come back to the service's next start as `LISTEN_FDS` and
//! `LISTEN_FDNAMES` (sd_listen_fds(3)), in the order in which they were stored.

use std::time::Duration;

/// No datagram is read beyond this.
pub const MAX_DATAGRAM: usize = 4096;
/// No name of a stored descriptor is longer, in bytes.
pub const MAX_NAME: usize = 255;
/// `STATUS=degraded NAME: TEXT` is a degraded state of the host, `SERVICE-NAME`, and stays one when the
/// service has ended; a later `STATUS=` of the service takes it back.
pub const DEGRADED: &str = "degraded ";

/// What one datagram says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notice<'a> {
    /// `READY=1`.
    pub ready: bool,
    /// `STOPPING=1`.
    pub stopping: bool,
    /// `WATCHDOG=1`.
    pub alive: bool,
    /// `WATCHDOG=trigger`.
    pub trigger: bool,
    /// `WATCHDOG_USEC=`.
    pub watchdog_period: Option<Duration>,
    /// `EXTEND_TIMEOUT_USEC=`.
    pub extend: Option<Duration>,
    /// `STATUS=`.
    pub status: Option<&'a str>,
    /// `FDSTORE=1`: keep the descriptors that came along.
    pub store: bool,
    /// `FDSTOREREMOVE=1`: forget those of the given name.
    pub remove: bool,
    /// `FDNAME=`.
    pub fd_name: Option<&'a str>,
    /// `BARRIER=1`: close the descriptor that came along once all before it is done.
    pub barrier: bool,
}

/// Reads a datagram. Text that is not UTF-8 is passed over line by line.
#[must_use]
pub fn parse(datagram: &[u8]) -> Notice<'_> {
    let mut notice = Notice::default();
    for line in datagram.split(|b| *b == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else {
            continue;
        };
        if let Some((key, value)) = line.trim_end_matches('\0').split_once('=') {
            take(&mut notice, key, value);
        }
    }
    notice
}

fn take<'a>(notice: &mut Notice<'a>, key: &str, value: &'a str) {
    let one = value == "1";
    match key {
        "READY" => notice.ready |= one,
        "STOPPING" => notice.stopping |= one,
        "WATCHDOG" => {
            notice.alive |= one;
            notice.trigger |= value == "trigger";
        }
        "WATCHDOG_USEC" => notice.watchdog_period = micros(value),
        "EXTEND_TIMEOUT_USEC" => notice.extend = micros(value),
        "STATUS" => notice.status = Some(value),
        "FDSTORE" => notice.store |= one,
        "FDSTOREREMOVE" => notice.remove |= one,
        "FDNAME" => notice.fd_name = Some(value).filter(|name| is_fd_name(name)),
        "BARRIER" => notice.barrier |= one,
        _ => {}
    }
}

fn micros(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_micros)
}

/// Whether the text may name a stored descriptor: `LISTEN_FDNAMES` separates names by colons.
fn is_fd_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && b != b':' || b == b' ';
    !text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes() {
        let all = b"READY=1\nSTOPPING=1\nWATCHDOG=1\nWATCHDOG_USEC=30000000\n\
            EXTEND_TIMEOUT_USEC=5000000\nSTATUS=3 containers\nFDSTORE=1\nFDNAME=api\nBARRIER=1";
        let wanted = Notice {
            ready: true,
            stopping: true,
            alive: true,
            trigger: false,
            watchdog_period: Some(Duration::from_secs(30)),
            extend: Some(Duration::from_secs(5)),
            status: Some("3 containers"),
            store: true,
            remove: false,
            fd_name: Some("api"),
            barrier: true,
        };
        assert_eq!(parse(all), wanted);
        let remove = parse(b"FDSTOREREMOVE=1\nFDNAME=api");
        assert!(remove.remove && !remove.store && remove.fd_name == Some("api"));
        assert!(parse(b"WATCHDOG=trigger").trigger);
    }

    #[test]
    fn one_datagram_may_say_several_things() {
        let notice = parse(b"READY=1\nSTATUS=3 containers\nFDSTORE=1\nFDNAME=api\nX_OWN=1");
        assert!(notice.ready && notice.store && !notice.stopping);
        assert_eq!(notice.status, Some("3 containers"));
        assert_eq!(notice.fd_name, Some("api"));
    }

    #[test]
    fn nonsense_is_passed_over_and_the_rest_still_counts() {
        let notice = parse(b"READY=0\n\xff\xfe=1\n=\nWATCHDOG_USEC=-5\nFDNAME=a:b\nWATCHDOG=1\n");
        assert!(!notice.ready && notice.alive);
        assert_eq!((notice.watchdog_period, notice.fd_name), (None, None));
    }

    proptest! {
        #[test]
        fn no_datagram_makes_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
