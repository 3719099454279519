//! Container networks: bridge, addresses, NAT and published ports.
