//! Faults and users: what may go wrong, and what people do meanwhile.
//!
//! All of it comes from the seed, and all of it ends: after that the cluster has to come to rest.

use super::Chance;
use super::cluster::{Cluster, machine};
use crate::agent::Heard;
use formats::fleet::{
    Desired, DutyRecord, Key, RolloutRecord, UnitName, UnitRecord, decode, encode,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is wrong at the moment.
#[derive(Debug, Clone, Default)]
pub struct Trouble {
    /// etcd answers nothing until then.
    pub stall: Option<Duration>,
    cut: BTreeMap<usize, Duration>,
    deaf: BTreeMap<usize, Duration>,
    away: BTreeMap<usize, Away>,
    /// When the last watch message to a node arrives.
    pub last_told: BTreeMap<usize, Duration>,
    /// What hosts said to paused agents.
    pub unheard: Vec<(usize, UnitName, Heard, u64)>,
    /// No new faults from then on.
    pub until: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Away {
    until: Duration,
    /// With its host: nothing runs any more.
    dead: bool,
}

impl Trouble {
    /// Whether nothing passes between a node and etcd.
    pub fn is_cut(&self, node: usize, now: Duration) -> bool {
        self.cut.get(&node).is_some_and(|until| *until > now)
    }

    /// Whether this answer is lost, although the request was done.
    pub fn loses_reply(&self, node: usize, now: Duration, chance: &mut Chance) -> bool {
        let deaf = self.deaf.get(&node).is_some_and(|until| *until > now);
        deaf || self.is_cut(node, now) || (now < self.until && chance.below(200) == 0)
    }

    /// Whether a node does nothing.
    pub fn is_away(&self, node: usize, now: Duration) -> bool {
        self.away.get(&node).is_some_and(|away| away.until > now)
    }

    /// Whether its host is off as well.
    pub fn is_dead(&self, node: usize) -> bool {
        self.away.get(&node).is_some_and(|away| away.dead)
    }

    /// When a paused node goes on.
    pub fn wakes(&self, node: usize) -> Option<Duration> {
        let away = self.away.get(&node)?;
        (!away.dead).then_some(away.until)
    }
}

/// What happens around a node at one of its ticks.
pub fn happen(cluster: &mut Cluster, node: usize) {
    wake(cluster, node);
    if node == 0 {
        central(cluster);
    }
    if !cluster.setup.faults
        || cluster.now >= cluster.trouble.until
        || cluster.trouble.is_away(node, cluster.now)
    {
        return;
    }
    let now = cluster.now;
    match cluster.chance.below(4_000) {
        0..=3 => {
            let until = now + cluster.chance.millis(500, 60_000);
            cluster.trouble.cut.insert(node, until);
            cluster.hang_up(node);
        }
        4..=5 => {
            let until = now + cluster.chance.millis(500, 20_000);
            cluster.trouble.deaf.insert(node, until);
        }
        6..=8 => {
            let until = now + cluster.chance.millis(100, 60_000);
            cluster
                .trouble
                .away
                .insert(node, Away { until, dead: false });
        }
        9..=10 => {
            cluster.etcd.hang_up(node);
            cluster.nodes[node] = cluster.fresh(node);
        }
        11 if node >= cluster.setup.engines => kill(cluster, node, (5_000, 120_000)),
        _ => {}
    }
}

/// Cuts a machine's power for between so many milliseconds.
pub fn kill(cluster: &mut Cluster, node: usize, (shortest, longest): (u64, u64)) {
    let until = cluster.now + cluster.chance.millis(shortest, longest);
    cluster
        .trouble
        .away
        .insert(node, Away { until, dead: true });
    cluster.trouble.unheard.retain(|(to, ..)| *to != node);
    cluster.etcd.hang_up(node);
    let id = machine(&cluster.setup, node);
    if let Some(host) = cluster.hosts.get_mut(&id) {
        host.die();
    }
}

fn wake(cluster: &mut Cluster, node: usize) {
    let Some(away) = cluster.trouble.away.get(&node).copied() else {
        return;
    };
    if away.until > cluster.now {
        return;
    }
    cluster.trouble.away.remove(&node);
    if away.dead {
        cluster.nodes[node] = cluster.fresh(node);
    } else {
        cluster.catch_up(node);
    }
}

fn central(cluster: &mut Cluster) {
    let now = cluster.now;
    if cluster.trouble.stall.is_none_or(|until| until <= now) {
        cluster.etcd.expire(now);
        cluster.tell();
        if now < cluster.trouble.until {
            user(cluster);
        }
    }
    if !cluster.setup.faults || now >= cluster.trouble.until {
        return;
    }
    match cluster.chance.below(3_000) {
        0 => {
            let until = now + cluster.chance.millis(1_000, 60_000);
            cluster.trouble.stall = Some(until);
        }
        1..=6 => cluster.etcd.compact(),
        _ => {}
    }
}

/// Sections that units of the simulator have.
const SECTIONS: [&str; 6] = [
    "",
    "OnDisconnect=stop-after 15s",
    "Conflicts=u1.service",
    "MachineOf=u2.service",
    "Spread=zone",
    "OnDisconnect=stop-after 5s",
];

fn user(cluster: &mut Cluster) {
    if !cluster.chance.percent(5) {
        return;
    }
    let number = cluster.chance.below(cluster.setup.units);
    let unit: UnitName = format!("u{number}.service")
        .parse()
        .unwrap_or_else(|_| unreachable!("a name"));
    let key = Key::Unit(unit).to_string();
    let machines = cluster.setup.machines as u64;
    match cluster.chance.below(20) {
        0..=9 => launch(cluster, number, Desired::Launched),
        10..=11 => launch(cluster, number, Desired::Loaded),
        12..=13 => launch(cluster, number, Desired::Inactive),
        14..=15 => cluster.etcd.poke(&key, None),
        16 => cluster
            .etcd
            .poke(&key, Some(br#"{"desired":"exploded","text":""}"#)),
        17 => {
            let node = cluster.setup.engines
                + usize::try_from(cluster.chance.below(machines)).unwrap_or(0);
            let key = Key::Duty(machine(&cluster.setup, node)).to_string();
            cluster.etcd.poke(&key, Some(&encode(&DutyRecord::Drains)));
        }
        18 => count(cluster),
        _ => calm(cluster),
    }
    cluster.tell();
}

/// A template asks for other instances than before, or is gone.
fn count(cluster: &mut Cluster) {
    let (number, version) = (cluster.chance.below(5), cluster.chance.below(3));
    let text = format!(
        "[Service]\nExecStart=/bin/serve {version}\n[X-Fleet]\nCount={number}\nRollout=settle=1s wait=40s\n"
    );
    let desired = Desired::Launched;
    let record = encode(&UnitRecord { desired, text });
    let value = (number > 0).then_some(&record[..]);
    // As the API does it: what ran before is what a change comes back to.
    let before = cluster.etcd.get("units/c@.service");
    let before = before.and_then(|item| decode::<UnitRecord>(&item.value).ok());
    let rollout = before.filter(|_| number > 0).map(|before| {
        encode(&RolloutRecord {
            good: before.text,
            returned: None,
        })
    });
    cluster.etcd.poke("rollout/c@.service", rollout.as_deref());
    cluster.etcd.poke("units/c@.service", value);
}

/// Ends every drain and takes bad units away.
pub fn calm(cluster: &mut Cluster) {
    let keys = cluster.etcd.keys();
    let duty = |key: &str| key.starts_with("drain/");
    let bad = |value: &[u8]| value.starts_with(br#"{"desired":"exploded"#);
    let gone = keys.filter(|item| duty(&item.key) || bad(&item.value));
    let gone: Vec<String> = gone.map(|item| item.key.clone()).collect();
    gone.iter().for_each(|key| cluster.etcd.poke(key, None));
}

/// A user wants this of unit number so and so.
pub fn launch(cluster: &mut Cluster, number: u64, desired: Desired) {
    let section = SECTIONS[usize::try_from(number).unwrap_or(0) % SECTIONS.len()];
    let version = cluster.chance.below(3);
    let text = format!("[Service]\nExecStart=/bin/serve {version}\n[X-Fleet]\n{section}\n");
    let key = format!("units/u{number}.service");
    cluster
        .etcd
        .poke(&key, Some(&encode(&UnitRecord { desired, text })));
}
