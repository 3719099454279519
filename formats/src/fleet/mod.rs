//! What the fleet keeps in etcd: the keys' layout and the values, JSON each.
//!
//! Everything lies below one prefix, which is the store's affair and never part of a [`Key`]. A value
//! that does not parse is an error of that key alone: nothing that a client writes may stop others.

mod key;
mod machine_id;
mod reboot;
mod record;
mod rollout;
mod unit_name;

pub use key::{BadKey, Key, placed_on, status_of};
pub use machine_id::{BadMachineId, MachineId};
pub use reboot::{BadGroup, Full, MOST_SLOTS, RebootGroup, RebootRecord};
pub use record::{
    Desired, DutyRecord, MAX_VALUE, MachineRecord, PlacedRecord, StatusRecord, UnitRecord, decode,
    encode,
};
pub use rollout::RolloutRecord;
pub use unit_name::{BadName, UnitName};
