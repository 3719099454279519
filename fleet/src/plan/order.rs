//! Who comes before whom: `MachineOf=` chains, priorities, and who may displace whom.
//!
//! A circle of `MachineOf=` places nobody, and a circle of `Replaces=` displaces nobody: both would
//! otherwise never come to rest.

use super::World;
use crate::unit::{Unit, UnitName};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// The order of one plan.
#[derive(Debug)]
pub struct Order<'w> {
    depth: BTreeMap<&'w UnitName, usize>,
    circles: BTreeMap<&'w UnitName, Vec<UnitName>>,
    /// Who can displace whom in the end, over chains of `Replaces=`.
    reach: BTreeMap<&'w UnitName, BTreeSet<&'w UnitName>>,
}

impl<'w> Order<'w> {
    /// Looks at all units.
    pub fn of(world: &'w World) -> Self {
        let mut order = Self {
            depth: BTreeMap::new(),
            circles: BTreeMap::new(),
            reach: reach(world),
        };
        for unit in world.units.values() {
            order.descend(world, unit);
        }
        order
    }

    /// Finds how long the chain under `unit` is, without recursion: names come from outside.
    fn descend(&mut self, world: &'w World, unit: &'w Unit) {
        let mut path: Vec<&'w Unit> = vec![unit];
        while let Some(last) = path.last().copied() {
            if self.depth.contains_key(&last.name) {
                path.pop();
                continue;
            }
            let peers = || {
                last.options
                    .beside
                    .iter()
                    .filter_map(|p| world.units.get(p))
            };
            match peers().find(|peer| !self.depth.contains_key(&peer.name)) {
                Some(next) => match path.iter().position(|u| u.name == next.name) {
                    Some(start) => self.close(&path[start..]),
                    None => path.push(next),
                },
                None => {
                    let below = peers().filter_map(|p| self.depth.get(&p.name)).max();
                    self.depth.insert(&last.name, below.map_or(0, |d| d + 1));
                }
            }
        }
    }

    fn close(&mut self, circle: &[&'w Unit]) {
        let names: Vec<UnitName> = circle.iter().map(|u| u.name.clone()).collect();
        for unit in circle {
            self.depth.insert(&unit.name, 0);
            self.circles.insert(&unit.name, names.clone());
        }
    }

    /// The circle of `MachineOf=` that a unit is in.
    pub fn circle(&self, unit: &UnitName) -> Option<&[UnitName]> {
        self.circles.get(unit).map(Vec::as_slice)
    }

    /// Leaders before followers, higher priorities first, then by name.
    pub fn key(&self, unit: &'w Unit) -> (usize, Reverse<i32>, &'w UnitName) {
        let depth = self.depth.get(&unit.name).copied().unwrap_or(0);
        (depth, Reverse(unit.options.priority), &unit.name)
    }

    /// Whether `unit` may push `other` from a machine.
    pub fn displaces(&self, unit: &Unit, other: &Unit) -> bool {
        let back = |set: &BTreeSet<&UnitName>| set.contains(&unit.name);
        unit.options.replaces(&other.name) && !self.reach.get(&other.name).is_some_and(back)
    }
}

fn reach(world: &World) -> BTreeMap<&UnitName, BTreeSet<&UnitName>> {
    let replacers = world
        .units
        .values()
        .filter(|u| !u.options.replaces.is_empty());
    let direct: BTreeMap<&UnitName, BTreeSet<&UnitName>> = replacers
        .map(|unit| {
            let others = world.units.keys().filter(|n| unit.options.replaces(n));
            (&unit.name, others.collect())
        })
        .collect();
    direct
        .keys()
        .map(|from| (*from, from_here(from, &direct)))
        .collect()
}

fn from_here<'w>(
    from: &UnitName,
    direct: &BTreeMap<&'w UnitName, BTreeSet<&'w UnitName>>,
) -> BTreeSet<&'w UnitName> {
    let next = |name: &UnitName| direct.get(name).into_iter().flatten().copied();
    let mut seen = BTreeSet::new();
    let mut open: Vec<&'w UnitName> = next(from).collect();
    while let Some(name) = open.pop() {
        if seen.insert(name) {
            open.extend(next(name));
        }
    }
    seen
}
