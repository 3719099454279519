//! The fleet's edges against a real etcd, with a fake systemd1 peer for each host.
//!
//! One program, so that it is linked once. Nothing here reaches a network but 127.0.0.1.

mod bench;
mod churn;
mod cluster;
mod etcd_server;
mod reboots;
mod scenarios;
mod security;
mod store;
mod swarm;
mod systemd1_peer;
mod users;
