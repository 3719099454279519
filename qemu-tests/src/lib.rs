//! Boots Skeg in QEMU: machines, their consoles, disks and networks, and what they are fed.
//!
//! It knows the artefacts (UKI, disk, ports, the agent's protocol), never the code of Skeg.

pub mod accel;
pub mod agent;
pub mod artefacts;
pub mod bench;
pub mod command;
pub mod console;
pub mod disk;
pub mod exits;
pub mod feed;
pub mod fixtures;
pub mod hang;
pub mod image;
pub mod initramfs;
pub mod ledger;
pub mod machine;
pub mod misbehave;
pub mod narrate;
pub mod oops;
pub mod probe;
pub mod protocol;
mod qemu;
pub mod qmp;
pub mod relay;
pub mod scene;
pub mod timeline;
pub mod web;
pub mod writer;

pub use disk::Disk;
pub use image::Image;
pub use machine::{Machine, Running};
