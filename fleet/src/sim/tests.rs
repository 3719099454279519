//! Seeds, what is broken on purpose, and the faults that broke fleet, one by one.
//!
//! A seed that fails is printed, and `cargo xtask sim --from SEED --seeds 1` runs it again.

use super::*;
use std::time::Duration;

const SETUP: Setup = Setup {
    engines: 2,
    machines: 4,
    units: 8,
    faults: true,
    sabotage: None,
};

fn run(seed: u64, setup: Setup) -> Result<u64, Violation> {
    let mut cluster = Cluster::new(seed, setup);
    cluster.live(Duration::from_secs(200))?;
    Ok(cluster.steps)
}

#[test]
fn every_rule_holds_for_every_seed() {
    let mut steps = 0;
    for seed in 0..120 {
        match run(seed, SETUP) {
            Ok(number) => steps += number,
            Err(violation) => panic!("seed {seed} {violation}"),
        }
    }
    assert!(steps > 1_000_000, "{steps}");
}

#[test]
fn each_defence_that_is_taken_out_is_noticed_by_its_rule() {
    let table = [
        (Sabotage::NoFence, "does not lead"),
        (Sabotage::NoBrake, "were lost at once"),
        (Sabotage::NoWatchdog, "is strict and runs on"),
        (Sabotage::NoWait, "which is there, runs it"),
        (Sabotage::Restless, "where it may stay"),
    ];
    for (sabotage, rule) in table {
        let setup = Setup {
            sabotage: Some(sabotage),
            ..SETUP
        };
        let caught = |seed| run(seed, setup).is_err_and(|v| v.rule.contains(rule));
        assert!((0..1000).any(caught), "{sabotage:?} was not noticed");
    }
}

/// A quiet cluster of so many machines with eight units that run.
fn quiet(machines: usize) -> Cluster {
    let setup = Setup {
        machines,
        faults: false,
        ..SETUP
    };
    let mut cluster = Cluster::new(7, setup);
    cluster.launch_all();
    cluster.pass(40).unwrap();
    assert_eq!(cluster.running().len(), 8);
    cluster
}

#[test]
fn a_stall_of_etcd_of_a_minute_moves_and_stops_nothing() {
    let mut cluster = quiet(5);
    let (before, stops) = (cluster.running(), cluster.stops());
    cluster.stall(60);
    cluster.pass(180).unwrap();
    let strict =
        |unit: &str| unit.starts_with("u1.") || unit.starts_with("u5.") || unit.starts_with("u7.");
    for (unit, machine) in &before {
        assert_eq!(cluster.running().get(unit), Some(machine), "{unit}");
    }
    let stopped = cluster
        .stops()
        .into_iter()
        .filter(|(unit, _)| !strict(unit));
    let known = stops.into_iter().filter(|(unit, _)| !strict(unit));
    assert_eq!(stopped.collect::<Vec<_>>(), known.collect::<Vec<_>>());
}

#[test]
fn one_of_two_and_one_of_three_machines_lost_are_moved() {
    for machines in [2, 3] {
        let mut cluster = quiet(machines);
        cluster.kill(0);
        cluster.pass(90).unwrap();
        // On the one machine that is left of two, u2 conflicts with u1.
        let all = if machines == 2 { 7 } else { 8 };
        let running = cluster.running();
        assert_eq!(running.len(), all, "{machines}: {running:?}");
    }
}

#[test]
fn two_of_five_lost_at_once_pull_the_brake_and_one_command_lifts_it() {
    let mut cluster = quiet(5);
    let before = cluster.running();
    cluster.kill(0);
    cluster.kill(1);
    cluster.pass(90).unwrap();
    let running = cluster.running();
    assert!(running.len() < 8, "{running:?}");
    assert!(
        running
            .iter()
            .all(|(unit, machine)| before[unit] == *machine)
    );
    cluster.lift_brake();
    cluster.pass(90).unwrap();
    assert_eq!(cluster.running().len(), 8);
}
