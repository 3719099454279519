//! A link-layer address, derived from the container's IPv4 address so that it is stable and unique.
//!
//! Never random: a container that keeps its address keeps its neighbours' caches right.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// A link-layer address of six bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address of the link that carries `ip`: locally administered, unicast.
    pub fn for_address(ip: Ipv4Addr) -> Mac {
        let [a, b, c, d] = ip.octets();
        Mac([0x02, 0x53, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(text: String) -> Result<Mac, String> {
        let refused =
            || format!("link address: expected six hex pairs like 02:53:0a:58:00:02, got {text:?}");
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|part| part.len() == 2)
                .ok_or_else(refused)?;
            if !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(refused());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| refused())?;
        }
        if parts.next().is_some() {
            return Err(refused());
        }
        Ok(Mac(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_addresses_are_local_unicast_and_read_back() {
        let mac = Mac::for_address(Ipv4Addr::new(10, 88, 0, 2));
        assert_eq!(mac.to_string(), "02:53:0a:58:00:02");
        assert_eq!(mac.0[0] & 0b11, 0b10);
        assert_eq!(Mac::try_from(mac.to_string()), Ok(mac));
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for text in [
            "",
            "02:53",
            "02:53:0a:58:00:02:03",
            "02:53:0a:58:00:zz",
            "2:53:0a:58:0:2",
            "02:+5:0a:58:00:02",
        ] {
            assert!(Mac::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
