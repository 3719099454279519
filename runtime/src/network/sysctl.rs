//! The kernel settings that routing to containers needs.
//!
//! Writes only what differs: `/proc/sys` may be read-only and right already.

use std::fs;

use super::error::Error;

/// Lets the host route between links; the table's forward chain says what may pass.
pub fn route_packets() -> Result<(), Error> {
    set("net/ipv4/ip_forward", "1")
}

/// Lets `127.0.0.1` of the host reach published ports by way of `bridge`; the table's guard chain
/// keeps others from using it.
pub fn route_loopback(bridge: &str) -> Result<(), Error> {
    set(&format!("net/ipv4/conf/{bridge}/route_localnet"), "1")
}

/// Containers have no IPv6; without it `bridge` has no address by which they would reach the host past the table,
/// which is IPv4's.
pub fn without_ipv6(bridge: &str) -> Result<(), Error> {
    let name = format!("net/ipv6/conf/{bridge}/disable_ipv6");
    if std::path::Path::new("/proc/sys").join(&name).exists() {
        set(&name, "1")?;
    }
    Ok(())
}

fn set(name: &str, value: &str) -> Result<(), Error> {
    let path = format!("/proc/sys/{name}");
    let is_set = fs::read_to_string(&path).is_ok_and(|now| now.trim() == value);
    if is_set {
        Ok(())
    } else {
        fs::write(&path, value).map_err(Error::io(format!("write {value} to {path}")))
    }
}
