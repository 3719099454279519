//! Processes that are killed and stopped while users work: what has to be in the end, and what never.
//!
//! The long forms are soaks: `cargo xtask soak fleet-kills`, `fleet-hang`.

use crate::cluster::{Cluster, TTL};
use std::collections::BTreeSet;
use std::time::Duration;

/// Units that nobody touches: whatever is killed, they run on where they are.
const STEADY: usize = 6;

fn steady(c: &Cluster) -> Vec<Vec<String>> {
    let mut history = c.history();
    for host in &mut history {
        host.retain(|line| line.contains(" steady"));
        host.sort();
    }
    history
}

fn start_steady(c: &Cluster) -> Vec<Vec<String>> {
    for number in 0..STEADY {
        let strict = if number == 0 {
            "OnDisconnect=stop-after 60s"
        } else {
            ""
        };
        c.run(&format!("steady{number}.service"), strict);
    }
    steady(c)
}

/// So many kills, one after another: leader, agent, member of etcd.
fn kills(turns: usize) {
    let mut c = Cluster::start(3, 2, 3);
    let before = start_steady(&c);
    let mut wanted = BTreeSet::new();
    for turn in 0..turns {
        let name = format!("churn{}.service", turn % 7);
        c.file(&name, &format!("# {turn}"));
        match turn % 3 {
            0 => {
                c.until("one leads", |c| c.leader().is_some());
                let leader = c.leader().expect("one");
                c.kill_engine(leader);
                churn(&c, &name, &mut wanted);
                c.start_engine(leader);
            }
            1 => {
                let machine = turn / 3 % 3;
                c.kill_agent(machine);
                churn(&c, &name, &mut wanted);
                c.start_agent(machine);
            }
            _ => {
                let member = turn / 3 % 3;
                c.etcd.kill(member);
                churn(&c, &name, &mut wanted);
                c.etcd.spawn(member);
                c.etcd.wait_well();
            }
        }
        if turn % 30 == 29 {
            println!("{} kills", turn + 1);
        }
    }
    let once = |c: &Cluster| {
        let running = c.running();
        let churned: BTreeSet<String> = running
            .keys()
            .filter(|unit| unit.starts_with("churn"))
            .cloned()
            .collect();
        churned == wanted && running.values().all(|on| on.len() == 1)
    };
    c.until("what is wanted runs, once, and nothing else", once);
    assert_eq!(steady(&c), before, "nobody else was moved or stopped");
}

/// A user starts a unit, or destroys the one that was started before.
fn churn(c: &Cluster, name: &str, wanted: &mut BTreeSet<String>) {
    let starts = !wanted.contains(name);
    c.until("a wish is taken", |c| {
        let engines = 0..2;
        let verb = if starts { "start" } else { "destroy" };
        let mut asked = engines.map(|engine| match c.ask(engine, &[verb, "--no-block", name]) {
            // Taken before, and the answer was lost.
            Err(error) if !starts && error.contains("does not exist") => true,
            answer => answer.is_ok(),
        });
        asked.any(|taken| taken)
    });
    if starts {
        wanted.insert(name.to_owned());
    } else {
        wanted.remove(name);
    }
}

#[test]
fn leader_agent_and_etcd_killed_in_turns_under_churn_stop_nobody_else() {
    kills(9);
}

#[test]
#[ignore = "long: cargo xtask soak fleet-kills"]
fn three_hundred_kills_under_churn_stop_nobody_else() {
    kills(300);
}

#[test]
#[ignore = "long: cargo xtask soak fleet-hang"]
fn etcd_stopped_for_a_minute_moves_and_stops_nothing() {
    let c = Cluster::start(3, 2, 3);
    let before = start_steady(&c);
    for _ in 0..3 {
        (0..3).for_each(|member| c.etcd.signal(member, "STOP"));
        std::thread::sleep(Duration::from_secs(60));
        (0..3).for_each(|member| c.etcd.signal(member, "CONT"));
        c.etcd.wait_well();
        c.until("all machines are there", |c| c.live() == 3);
        c.file("probe.service", "");
        c.until("a unit is taken", |c| {
            c.ask(0, &["start", "--no-block", "probe.service"]).is_ok()
        });
        c.one("probe.service");
        c.cli(&["destroy", "probe.service"]);
        c.until("it ends", |c| c.on("probe.service").is_empty());
        let mut after = steady(&c);
        // The strict one had to end on its own machine, and nowhere else.
        for (host, known) in after.iter_mut().zip(&before) {
            if known.iter().any(|line| line.contains("steady0")) {
                host.retain(|line| !line.contains("steady0"));
                host.push("start steady0.service".to_owned());
                host.sort();
            }
        }
        assert_eq!(after, before);
    }
}

fn lose(c: &mut Cluster, machines: &[usize]) {
    machines.iter().for_each(|machine| c.kill_agent(*machine));
    machines
        .iter()
        .for_each(|machine| c.peers[*machine].reset());
}

#[test]
fn two_of_five_lost_at_once_pull_the_brake_until_it_is_lifted() {
    let mut c = Cluster::start(1, 1, 5);
    c.run("a@.service", "Count=10");
    let others = |c: &Cluster| c.history()[2..].to_vec();
    let before = others(&c);
    assert!(before.iter().map(Vec::len).sum::<usize>() < 10);
    lose(&mut c, &[0, 1]);
    c.until("the brake holds", |c| {
        c.cli(&["health"]).contains("\"brake\": true")
    });
    // Long after a single machine's units would have moved.
    std::thread::sleep(Duration::from_secs(2 * TTL));
    assert_eq!(others(&c), before, "nothing moved");
    c.run("new.service", "");
    assert!(c.one("new.service") >= 2, "what is new finds a place");
    c.cli(&["lift-brake"]);
    c.until("all run elsewhere", |c| {
        let running = c.running();
        running.len() == 11
            && running
                .values()
                .all(|on| *on.iter().min().unwrap_or(&0) >= 2)
    });
}

#[test]
fn one_of_two_machines_lost_is_no_brake_and_its_units_move() {
    let mut c = Cluster::start(1, 1, 2);
    (0..4).for_each(|n| c.run(&format!("a{n}.service"), ""));
    let lost = c.one("a0.service");
    lose(&mut c, &[lost]);
    c.until("all run on the other", |c| {
        let running = c.running();
        running.len() == 4 && running.values().all(|on| *on == [1 - lost].into())
    });
}
