//! What fleet did, scenario by scenario, on one cluster: etcd with three members, two engines, three
//! machines with real agents.
//!
//! Each leaves nothing behind, so any of them can be run alone: `SCENARIO=name cargo test …`.

use crate::cluster::{Cluster, id};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

mod faults;
mod placing;
mod verbs;

/// A promise and how it is kept.
pub type Scenario = (&'static str, fn(&mut Cluster));

#[test]
fn a_fleet_does_what_its_users_are_used_to() {
    let mut cluster = Cluster::start(3, 2, 3);
    let wanted = std::env::var("SCENARIO").unwrap_or_default();
    let all = verbs::ALL.iter().chain(&placing::ALL).chain(&faults::ALL);
    let all: Vec<&Scenario> = all.filter(|(name, _)| name.contains(&wanted)).collect();
    let mut failed = Vec::new();
    for (name, scenario) in &all {
        let start = std::time::Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| {
            scenario(&mut cluster);
            cluster.clear();
        }));
        let took = start.elapsed().as_millis();
        println!(
            "{:6} {took:6} ms  {name}",
            if done.is_ok() { "ok" } else { "FAILED" }
        );
        if done.is_err() {
            failed.push(*name);
            // What failed may have left anything behind.
            cluster = Cluster::start(3, 2, 3);
        }
    }
    println!("{} scenarios", all.len());
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn the_table_has_what_fleet_s_own_suite_has() {
    let names: BTreeSet<&str> = verbs::ALL
        .iter()
        .chain(&placing::ALL)
        .chain(&faults::ALL)
        .map(|(name, _)| *name)
        .collect();
    let all = verbs::ALL.len() + placing::ALL.len() + faults::ALL.len();
    assert_eq!(names.len(), all, "no name twice");
    assert!(all >= 43, "{all}");
}

/// All three machines.
fn everywhere() -> BTreeSet<usize> {
    (0..3).collect()
}

fn short(number: usize) -> String {
    id(number)[..8].to_owned()
}
