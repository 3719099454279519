//! Machines that come, go and are asked to; agents, engines and etcd that die.

use super::{Scenario, short};
use crate::cluster::{Cluster, TTL, id};
use std::time::Duration;

pub const ALL: [Scenario; 14] = [
    ("an agent's restart touches no unit", agent_restarts),
    (
        "a restarted agent stops what left meanwhile",
        agent_was_away,
    ),
    ("all engines' restart touches no unit", engines_restart),
    ("when the leader dies the other one leads", leader_dies),
    ("a member of etcd that dies is not noticed", member_dies),
    ("units run on while etcd hangs, and after", etcd_hangs),
    ("a dead machine's units start elsewhere", machine_dies),
    (
        "a machine that comes back has nothing twice",
        machine_returns,
    ),
    (
        "a strict unit ends on its own machine before it starts elsewhere",
        strict,
    ),
    ("a machine that joins gets its global units", machine_joins),
    (
        "a machine that says other things of itself has other units",
        renamed,
    ),
    (
        "a cordoned machine keeps its units and gets no others",
        cordon,
    ),
    ("a drained machine's units leave", drain),
    ("a machine that is forgotten is no more", forgotten),
];

fn agent_restarts(c: &mut Cluster) {
    c.run("a.service", "");
    let machine = c.one("a.service");
    let before = c.history();
    c.kill_agent(machine);
    c.start_agent(machine);
    // Something else gets through, so the agent is at work again.
    c.run("b.service", &format!("MachineID={}", id(machine)));
    c.cli(&["destroy", "b.service"]);
    c.until("b ends", |c| c.on("b.service").is_empty());
    let mut after = c.history();
    after[machine].retain(|line| !line.contains("b.service"));
    assert_eq!(after, before);
}

fn agent_was_away(c: &mut Cluster) {
    c.run("a.service", "");
    let machine = c.one("a.service");
    c.kill_agent(machine);
    c.cli(&["destroy", "a.service"]);
    assert_eq!(c.on("a.service"), [machine].into());
    c.start_agent(machine);
    c.until("it ends", |c| c.running().is_empty());
}

fn engines_restart(c: &mut Cluster) {
    c.run("a.service", "");
    let before = c.history();
    (0..2).for_each(|number| c.kill_engine(number));
    (0..2).for_each(|number| c.start_engine(number));
    c.until("one leads", |c| c.leader().is_some());
    c.run("b.service", "");
    let after = c.history().concat();
    assert_eq!(after.len(), before.concat().len() + 1, "{after:?}");
}

fn leader_dies(c: &mut Cluster) {
    c.until("one leads", |c| c.leader().is_some());
    let leader = c.leader().unwrap();
    c.kill_engine(leader);
    c.until("the other leads", |c| {
        c.leader().is_some_and(|now| now != leader)
    });
    c.run("a.service", "");
    c.start_engine(leader);
}

fn member_dies(c: &mut Cluster) {
    c.run("a.service", "");
    let before = c.history().concat().len();
    for member in 0..3 {
        c.etcd.kill(member);
        let name = format!("b{member}.service");
        c.file(&name, "");
        c.until("a unit is taken", |c| {
            c.ask(0, &["start", "--no-block", &name]).is_ok()
        });
        c.one(&name);
        c.etcd.spawn(member);
        c.etcd.wait_well();
    }
    assert_eq!(
        c.history().concat().len(),
        before + 3,
        "nothing else was started or stopped"
    );
    c.until("all machines are there", |c| c.live() == 3);
}

fn etcd_hangs(c: &mut Cluster) {
    c.run("a.service", "");
    c.run("b.service", "");
    let before = c.history();
    (0..3).for_each(|member| c.etcd.signal(member, "STOP"));
    // Longer than a lease lives: every machine's is gone when it answers again.
    std::thread::sleep(Duration::from_secs(2 * TTL));
    (0..3).for_each(|member| c.etcd.signal(member, "CONT"));
    c.etcd.wait_well();
    c.file("c.service", "");
    c.until("a unit is taken", |c| {
        c.ask(0, &["start", "--no-block", "c.service"]).is_ok()
    });
    c.one("c.service");
    let mut after = c.history();
    after
        .iter_mut()
        .for_each(|host| host.retain(|line| !line.contains("c.service")));
    assert_eq!(after, before, "nothing moved, nothing stopped");
    c.until("all machines are there", |c| c.live() == 3);
}

fn machine_dies(c: &mut Cluster) {
    c.run("a.service", "");
    let machine = c.one("a.service");
    c.kill_agent(machine);
    c.peers[machine].reset();
    c.until("it starts elsewhere", |c| {
        c.on("a.service").iter().any(|on| *on != machine)
    });
    assert!(c.cli(&["list-machines"]).contains("lost"));
    c.start_agent(machine);
    c.until("all machines are there", |c| c.live() == 3);
}

fn machine_returns(c: &mut Cluster) {
    c.run("a.service", "");
    let machine = c.one("a.service");
    // Only its agent is gone: the unit runs on there, as it may.
    c.kill_agent(machine);
    c.until("it starts elsewhere", |c| c.on("a.service").len() == 2);
    c.start_agent(machine);
    c.until("once", |c| c.on("a.service").len() == 1);
    assert_ne!(c.one("a.service"), machine);
    c.until("all machines are there", |c| c.live() == 3);
}

fn strict(c: &mut Cluster) {
    c.run(
        "a.service",
        "OnDisconnect=stop-after 1s\nMachineMetadata=zone=0",
    );
    let machine = c.one("a.service");
    (0..3).for_each(|member| c.etcd.signal(member, "STOP"));
    c.until("it ends, for nobody can vouch for it", |c| {
        c.on("a.service").is_empty()
    });
    (0..3).for_each(|member| c.etcd.signal(member, "CONT"));
    c.etcd.wait_well();
    assert_eq!(c.one("a.service"), machine);
    c.until("all machines are there", |c| c.live() == 3);
}

fn machine_joins(c: &mut Cluster) {
    c.run("g.service", "Global=true");
    let fresh = c.peers.len();
    c.add_machine();
    c.start_agent(fresh);
    c.until("it has it too", |c| c.on("g.service").contains(&fresh));
    c.cli(&["destroy", "g.service"]);
    c.until("it ends", |c| c.running().is_empty());
    c.kill_agent(fresh);
    c.until("it is lost", |c| c.live() == 3);
    c.cli(&["forget", &short(fresh)]);
}

fn renamed(c: &mut Cluster) {
    c.file("a.service", "MachineMetadata=name=blue");
    c.cli(&["start", "--no-block", "a.service"]);
    c.set_metadata(1, "number = \"1\"\nzone = \"1\"\nname = \"blue\"");
    c.kill_agent(1);
    c.start_agent(1);
    c.until("it comes", |c| c.on("a.service") == [1].into());
    c.set_metadata(1, "number = \"1\"\nzone = \"1\"");
    c.kill_agent(1);
    c.start_agent(1);
    c.until("it goes", |c| c.on("a.service").is_empty());
}

fn cordon(c: &mut Cluster) {
    c.run("a.service", "MachineMetadata=number=1");
    c.cli(&["cordon", &short(1)]);
    c.file("b.service", "MachineMetadata=number=1");
    c.cli(&["start", "--no-block", "b.service"]);
    assert!(c.cli(&["why", "b.service"]).contains("cordoned"));
    assert_eq!(c.on("a.service"), [1].into());
    c.cli(&["uncordon", &short(1)]);
    c.until("it comes", |c| c.on("b.service") == [1].into());
}

fn drain(c: &mut Cluster) {
    c.run("a.service", "");
    c.run("g.service", "Global=true");
    let machine = c.one("a.service");
    c.cli(&["drain", &short(machine)]);
    c.until("both leave", |c| {
        !c.on("a.service").contains(&machine) && !c.on("g.service").contains(&machine)
    });
    c.one("a.service");
    c.cli(&["uncordon", &short(machine)]);
    c.until("the global one returns", |c| {
        c.on("g.service").contains(&machine)
    });
}

fn forgotten(c: &mut Cluster) {
    assert!(c.refused(&["forget", &short(2)]).contains("is there"));
    let fresh = c.peers.len();
    c.add_machine();
    c.start_agent(fresh);
    c.until("it is there", |c| c.live() == 4);
    c.kill_agent(fresh);
    c.until("it is lost", |c| c.live() == 3);
    c.cli(&["forget", &short(fresh)]);
    c.until("it is no more", |c| {
        !c.cli(&["list-machines"]).contains(&short(fresh))
    });
}
