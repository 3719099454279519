//! Taking ports of the host for containers, and giving them back.
//!
//! A port is claimed among containers first, since a container's name says more than `address in
//! use`, and then kept from the host's other programs.

use super::super::claims::PortTaken;
use super::super::error::Error;
use super::super::held::HeldPort;
use super::super::port::PortMapping;
use super::Networks;

/// Descriptors are few (1024 by default) and the engine needs them: ports beyond these are looked at
/// when they are published, but not kept from programs that come later.
const MOST_HELD: usize = 256;

impl Networks {
    pub(super) fn take_ports(
        &mut self,
        id: &str,
        wanted: &[PortMapping],
    ) -> Result<(Vec<PortMapping>, Vec<HeldPort>), Error> {
        let (mut ports, mut held, room) = (Vec::new(), Vec::new(), self.room_for_held());
        let (free, named): (Vec<_>, Vec<_>) = wanted.iter().partition(|port| port.host_port == 0);
        self.claims.claim(id, &named)?;
        for port in named.iter().chain(&free) {
            let (kept, port) = HeldPort::take(port).map_err(|error| refused(port, error))?;
            if held.len() < room {
                held.push(kept);
            }
            ports.push(port);
        }
        self.claims.claim(id, &ports[named.len()..])?;
        Ok((ports, held))
    }

    /// Takes ports over that an engine before this one published.
    pub(super) fn take_ports_again(
        &mut self,
        id: &str,
        ports: &[PortMapping],
    ) -> Result<Vec<HeldPort>, Error> {
        self.claims.claim(id, ports)?;
        let room = self.room_for_held();
        Ok(ports.iter().take(room).filter_map(hold_again).collect())
    }

    fn room_for_held(&self) -> usize {
        let held: usize = self
            .attached
            .values()
            .map(|attached| attached.held.len())
            .sum();
        MOST_HELD.saturating_sub(held)
    }
}

/// A port that cannot be kept again is published all the same: its container was there first.
fn hold_again(port: &PortMapping) -> Option<HeldPort> {
    match HeldPort::take(port) {
        Ok((held, _)) => Some(held),
        Err(error) => {
            tracing::warn!("published port {port}: {error}: a program of the host may have it too");
            None
        }
    }
}

fn refused(port: &PortMapping, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::AddrInUse {
        let holder = "a program of the host itself".to_owned();
        return PortTaken {
            wanted: *port,
            holder,
        }
        .into();
    }
    Error::io(format!("publish {port}"))(error)
}
