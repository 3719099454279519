//! The host's own network: links, DHCP, resolver configuration.
