//! Container networks: addresses, the bridge, the pair of virtual links, NAT and published ports.
//!
//! Never touches nftables tables other than its own, nor links that it did not make. Decisions
//! (addresses, port claims, rules and their bytes) are pure; [`Networks`] is the edge that acts.

pub mod attachment;
pub mod choose;
pub mod claims;
pub mod dns;
pub mod error;
pub mod held;
pub mod hosts;
pub mod ipam;
pub mod links;
pub mod mac;
pub mod networks;
pub mod nftables;
pub mod pool;
pub mod port;
pub mod record;
pub mod resolver;
pub mod ruleset;
pub mod subnet;
pub mod sysctl;

pub use attachment::{Attach, Attachment, Join, Place};
pub use error::Error;
pub use ipam::Ipam;
pub use mac::Mac;
pub use networks::Networks;
pub use pool::Pool;
pub use port::{PortMapping, PortSyntaxError, Protocol};
pub use record::NetworkRecord;
pub use subnet::Subnet;
