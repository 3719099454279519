//! The rules, checked at every step against the truth that no engine and no agent sees.
//!
//! Nothing here changes the cluster but the sabotage that shows that the rules are worth something.

use super::cluster::{Cluster, Node, Sabotage, machine, patience};
use super::etcd::Etcd;
use crate::agent::Order;
use crate::brake::Brake;
use crate::engine::mirror::Mirror;
use crate::engine::rollout::Pace;
use crate::engine::rounds;
use crate::plan::{Waiting, plan};
use crate::store::{Compare, Request, Write};
use crate::unit::Unit;
use formats::fleet::{
    Desired, Key, MachineId, PlacedRecord, StatusRecord, UnitName, decode, encode, placed_on,
};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Duration,
    /// Which, and by whom.
    pub rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:.3} s: {}", self.at.as_secs_f64(), self.rule)
    }
}

fn broken<T>(cluster: &Cluster, rule: String) -> Result<T, Violation> {
    Err(Violation {
        at: cluster.now,
        rule,
    })
}

/// What may never be, whatever is wrong.
pub fn always(cluster: &Cluster) -> Result<(), Violation> {
    let mut seen: BTreeMap<&UnitName, (&MachineId, bool)> = BTreeMap::new();
    for (id, host) in &cluster.hosts {
        for (unit, running) in &host.running {
            let strict = running.text.contains("stop-after");
            if let Some((other, both)) = seen.insert(unit, (id, strict))
                && (strict || both)
            {
                let rule = format!(
                    "{unit} is strict and runs on {} and {}",
                    other.as_str(),
                    id.as_str()
                );
                return broken(cluster, rule);
            }
        }
    }
    Ok(())
}

/// What may never be asked of etcd with success.
pub fn before(
    cluster: &Cluster,
    node: usize,
    number: u64,
    request: &Request,
) -> Result<(), Violation> {
    let (Request::Txn(txn), Node::Engine(_)) = (request, &cluster.nodes[node]) else {
        return Ok(());
    };
    if !cluster.etcd.would(txn) {
        return Ok(());
    }
    let leader = cluster.etcd.get("engine/leader");
    let leader = leader.and_then(|item| decode::<String>(&item.value).ok());
    // Who asked may have been killed since: its number tells its life.
    let asks = format!("engine-{}", number >> 32);
    for write in &txn.then {
        let (Write::Put { key, .. } | Write::Delete(key)) = write;
        let Key::Placed(id, unit) = key else { continue };
        if leader.as_ref() != Some(&asks) {
            return broken(cluster, format!("{asks} does not lead and changes {key}"));
        }
        match write {
            Write::Put { value, .. } => arrival(cluster, id, unit, value)?,
            Write::Delete(_) => departure(cluster, id, unit)?,
        }
    }
    Ok(())
}

fn alive(etcd: &Etcd, id: &MachineId) -> bool {
    etcd.get(&Key::Alive(id.clone()).to_string()).is_some()
}

/// A unit comes to a machine: no other that is there may still run it.
fn arrival(
    cluster: &Cluster,
    id: &MachineId,
    unit: &UnitName,
    value: &[u8],
) -> Result<(), Violation> {
    let here = |value: &[u8]| matches!(decode(value), Ok(PlacedRecord::Here { .. }));
    let key = Key::Placed(id.clone(), unit.clone()).to_string();
    let was_here = cluster.etcd.get(&key).is_some_and(|item| here(&item.value));
    if !here(value) || was_here {
        return Ok(());
    }
    let other = |(other, host): &(&MachineId, &super::host::Host)| {
        *other != id && host.running.contains_key(unit) && alive(&cluster.etcd, other)
    };
    match cluster.hosts.iter().find(other) {
        None => Ok(()),
        Some((other, _)) => {
            let rule = format!("{unit} is given to {id} while {other}, which is there, runs it");
            broken(cluster, rule)
        }
    }
}

/// A unit is taken from a lost machine: not when too many were lost at once.
fn departure(cluster: &Cluster, id: &MachineId, unit: &UnitName) -> Result<(), Violation> {
    let status = cluster
        .etcd
        .get(&Key::Status(id.clone(), unit.clone()).to_string());
    let status = status.and_then(|item| decode::<StatusRecord>(&item.value).ok());
    // It had stopped there before: whether the machine is lost does not matter.
    if alive(&cluster.etcd, id) || status.is_some_and(|status| !status.running) {
        return Ok(());
    }
    let window = patience().ttl / 4;
    let Some(own) = cluster.gone.get(id) else {
        return Ok(());
    };
    let near = |at: Duration| at.abs_diff(*own) <= window;
    let busy = |id: &MachineId| {
        let prefix = placed_on(id);
        cluster
            .etcd
            .keys()
            .any(|item| item.key.starts_with(&prefix))
    };
    let lost = cluster.gone.iter();
    let at_once = lost.filter(|(id, at)| near(**at) && busy(id)).count();
    if at_once > Brake::allowed(cluster.setup.machines) {
        let rule = format!("{unit} is taken from {id}, and {at_once} machines were lost at once");
        return broken(cluster, rule);
    }
    Ok(())
}

/// A unit that an engine takes from a machine where it may stay, by what that engine knows. It asks
/// nothing of the planner: the few sections that units have here are judged anew.
pub fn moves(mirror: &Mirror, asks: &[(u64, Request)]) -> Option<String> {
    let txns = asks.iter().filter_map(|(_, request)| match request {
        Request::Txn(txn) => Some(txn),
        _ => None,
    });
    let leaving = encode(&PlacedRecord::Leaving);
    let leaves = txns
        .flat_map(|txn| &txn.then)
        .filter_map(|write| match write {
            Write::Put {
                key: Key::Placed(id, unit),
                value,
                ..
            } if *value == leaving => Some((id, unit)),
            _ => None,
        });
    let mut needless = leaves.filter(|(id, unit)| may_stay(mirror, id, unit));
    let (id, unit) = needless.next()?;
    Some(format!("{unit} is taken from {id}, where it may stay"))
}

fn may_stay(mirror: &Mirror, id: &MachineId, unit: &UnitName) -> bool {
    let Some(at) = mirror.units.get(unit) else {
        return false;
    };
    let (record, Unit { options, .. }) = &at.value;
    let here = |other: &UnitName| mirror.placed.get(other).is_some_and(|p| p.contains_key(id));
    let others = || {
        mirror
            .placed
            .keys()
            .filter(|other| *other != unit && here(other))
    };
    let stays = |peer: &UnitName| {
        let at = mirror.placed.get(peer).and_then(|places| places.get(id));
        at.is_some_and(|at| at.value != PlacedRecord::Leaving) && may_stay(mirror, id, peer)
    };
    let hates = |other: &UnitName| {
        let theirs = mirror.units.get(other).map(|at| &at.value.1.options);
        options.conflicts_with(other) || theirs.is_some_and(|o| o.conflicts_with(unit))
    };
    record.desired != Desired::Inactive
        && mirror.machines.contains_key(id)
        && mirror.alive.contains(id)
        && !mirror.duties.contains_key(id)
        && mirror.placed.get(unit).is_some_and(|p| p.len() == 1)
        && options.beside.iter().all(stays)
        && !others().any(hates)
}

/// What has to be once nothing is wrong any more: everything that can run does, and nothing else.
///
/// # Errors
/// What is not so.
pub fn settled(cluster: &Cluster) -> Result<(), Violation> {
    let items: Vec<_> = cluster.etcd.keys().cloned().collect();
    let mirror = Mirror::of(0, &items);
    let brake = Brake::new(Duration::ZERO, Duration::ZERO);
    if mirror.brake {
        return broken(cluster, "the brake is still on".to_owned());
    }
    if Pace::is_busy(&mirror) {
        return broken(cluster, "a change still goes round".to_owned());
    }
    let world = rounds::world(&mirror, &brake, patience(), cluster.now);
    let plan = plan(&world);
    if let Some(step) = plan.steps.first() {
        return broken(cluster, format!("still to do: {step:?}"));
    }
    if let Some((unit, why)) = plan
        .waiting
        .iter()
        .find(|(_, why)| **why != Waiting::Nowhere)
    {
        return broken(cluster, format!("{unit} still waits: {why:?}"));
    }
    for (id, host) in &cluster.hosts {
        for (unit, places) in &mirror.placed {
            let wanted = places.get(id).and_then(|at| match &at.value {
                PlacedRecord::Here {
                    desired: Desired::Launched,
                    text,
                } => Some(text),
                _ => None,
            });
            let runs = host.running.get(unit).map(|r| &r.text);
            if wanted != runs {
                return broken(
                    cluster,
                    format!("{unit} on {id}: wanted {wanted:?}, runs {runs:?}"),
                );
            }
        }
        if let Some(unit) = host
            .running
            .keys()
            .find(|unit| !mirror.placed.contains_key(*unit))
        {
            return broken(
                cluster,
                format!("{unit} runs on {id} and is placed nowhere"),
            );
        }
    }
    Ok(())
}

/// An engine's request without its fence, if that is what is broken on purpose.
pub fn unfenced(mut request: Request, sabotage: Option<Sabotage>, engine: bool) -> Request {
    if let (Request::Txn(txn), Some(Sabotage::NoFence), true) = (&mut request, sabotage, engine) {
        let fence = |c: &Compare| matches!(c, Compare::Created(Key::Leader, at) if *at > 0);
        txn.when.retain(|compare| !fence(compare));
    }
    request
}

/// An agent's order without its time limit, if that is what is broken on purpose.
pub fn sabotaged(order: Order, sabotage: Option<Sabotage>) -> Order {
    match (order, sabotage) {
        (
            Order::Start {
                number,
                unit,
                text,
                token,
                ..
            },
            Some(Sabotage::NoWatchdog),
        ) => Order::Start {
            number,
            unit,
            text,
            token,
            until: None,
        },
        (Order::Feed(unit, _), Some(Sabotage::NoWatchdog)) => Order::Feed(unit, Duration::MAX),
        (order, _) => order,
    }
}

impl Cluster {
    /// Notes when machines were lost and that they are back, from etcd itself.
    pub(super) fn note_lost(&mut self) {
        for node in self.setup.engines..self.nodes.len() {
            let id = machine(&self.setup, node);
            let known = self
                .etcd
                .get(&Key::Machine(id.clone()).to_string())
                .is_some();
            if alive(&self.etcd, &id) || !known {
                self.gone.remove(&id);
            } else {
                let now = self.now;
                self.gone.entry(id).or_insert(now);
            }
        }
    }
}
