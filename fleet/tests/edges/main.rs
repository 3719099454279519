//! The fleet's edges against a real etcd, with a fake systemd1 peer for each host.
//!
//! One program, so that it is linked once. Nothing here reaches a network but 127.0.0.1.

mod cluster;
mod etcd_server;
mod scenarios;
mod security;
mod store;
mod systemd1_peer;
