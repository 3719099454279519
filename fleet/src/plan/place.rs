//! Second half of a plan: a machine for each unit that has none.
//!
//! It takes from a machine only what a unit's `Replaces=` names, and what is of lower priority.

use super::board::{Board, Room};
use super::order::Order;
use super::refusal::{Question, Refusal};
use super::{Plan, Removal, Step, Waiting, World};
use crate::machine::MachineId;
use crate::unit::{Unit, UnitName};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Places what can be placed.
pub fn place<'w>(
    world: &'w World,
    order: &Order<'w>,
    board: &mut Board<'w>,
    mut homeless: Vec<&'w Unit>,
    plan: &mut Plan,
) {
    homeless.sort_by_key(|unit| order.key(unit));
    let mut round = Round {
        world,
        order,
        board,
        plan,
        fresh: BTreeSet::new(),
        followers: followers(world),
    };
    let mut queue: VecDeque<&Unit> = homeless.into();
    while let Some(unit) = queue.pop_front() {
        queue.extend(round.one(unit));
    }
}

fn followers(world: &World) -> BTreeMap<&UnitName, Vec<&Unit>> {
    let mut followers: BTreeMap<&UnitName, Vec<&Unit>> = BTreeMap::new();
    for unit in world.units.values().filter(|u| world.wants_one(&u.name)) {
        for peer in &unit.options.beside {
            followers.entry(peer).or_default().push(unit);
        }
    }
    followers
}

struct Round<'r, 'w> {
    world: &'w World,
    order: &'r Order<'w>,
    board: &'r mut Board<'w>,
    plan: &'r mut Plan,
    /// Placed in this very plan: not displaced again by it.
    fresh: BTreeSet<&'w UnitName>,
    followers: BTreeMap<&'w UnitName, Vec<&'w Unit>>,
}

impl<'w> Round<'_, 'w> {
    /// Places one unit; returns those that it displaced.
    fn one(&mut self, unit: &'w Unit) -> Vec<&'w Unit> {
        let wait = |plan: &mut Plan, why| {
            plan.waiting.insert(unit.name.clone(), why);
            Vec::new()
        };
        if let Some(circle) = self.order.circle(&unit.name) {
            return wait(self.plan, Waiting::Circle(circle.to_vec()));
        }
        if let Some(machine) = self.world.still_on(unit, None) {
            return wait(self.plan, Waiting::StillOn(machine.clone()));
        }
        let choice = self.best(unit).or_else(|| self.by_force(unit));
        let Some((machine, displaced)) = choice else {
            return wait(self.plan, Waiting::Nowhere);
        };
        for (other, because) in &displaced {
            self.displace(other, because.clone());
        }
        self.board.seat(unit, machine);
        self.fresh.insert(&unit.name);
        self.plan.waiting.remove(&unit.name);
        self.plan.steps.push(Step::Place {
            unit: unit.name.clone(),
            machine: machine.clone(),
        });
        displaced.into_iter().map(|(other, _)| other).collect()
    }

    fn displace(&mut self, unit: &'w Unit, because: Removal) {
        if let Some(machine) = self.board.at.get(&unit.name).copied() {
            self.plan.steps.push(Step::Remove {
                unit: unit.name.clone(),
                machine: machine.clone(),
                because,
            });
        }
        self.board.unseat(unit);
    }

    /// The best machine that has room for it.
    fn best(&self, unit: &'w Unit) -> Option<(&'w MachineId, Vec<(&'w Unit, Removal)>)> {
        let suits = |room: &&Room<'w>| self.question(unit, room).refusal().is_none();
        let rooms = self.board.rooms.values().filter(suits);
        let room = rooms
            .filter(|room| {
                self.replaced(unit, room)
                    .all(|o| !self.fresh.contains(&o.name))
            })
            .min_by_key(|room| self.rank(unit, room))?;
        let because = || Removal::Replaced(unit.name.clone());
        let displaced = self.replaced(unit, room).map(|other| (other, because()));
        let displaced = displaced.collect();
        Some((&room.machine.id, displaced))
    }

    fn question<'q>(&'q self, unit: &'q Unit, room: &'q Room<'w>) -> Question<'q, 'w> {
        Question {
            board: self.board,
            order: self.order,
            unit,
            room,
            stays: false,
        }
    }

    /// Units of a machine that this one would displace by its `Replaces=`.
    fn replaced<'q>(
        &'q self,
        unit: &'q Unit,
        room: &'q Room<'w>,
    ) -> impl Iterator<Item = &'w Unit> + 'q {
        let picky = !unit.options.replaces.is_empty();
        let all = room.units.values().copied().filter(move |_| picky);
        all.filter(|other| !other.options.global && self.order.displaces(unit, other))
    }

    /// Smaller is better: evenly spread, where it replaces something, where its followers fit too,
    /// where there is most room; the id decides the rest, so that a plan can be repeated.
    fn rank(
        &self,
        unit: &'w Unit,
        room: &Room<'w>,
    ) -> (usize, bool, usize, u64, usize, &'w MachineId) {
        let demand = unit.options.demand.amount;
        let counted = demand.cpu_milli > 0 || demand.memory > 0;
        let fullness = if counted { room.fullness(demand) } else { 0 };
        (
            self.board.siblings(unit, room.machine),
            self.replaced(unit, room).next().is_none(),
            self.left_out(unit, room),
            fullness,
            room.units.len(),
            &room.machine.id,
        )
    }

    /// How many of its followers could not come along.
    fn left_out(&self, unit: &Unit, room: &Room<'w>) -> usize {
        let followers = self.followers.get(&unit.name).into_iter().flatten();
        let stuck = |follower: &&&Unit| {
            let reasons = self.question(follower, room).refusals();
            let about_it = |r: &Refusal| matches!(r, Refusal::PeerElsewhere { peer, .. } if *peer == unit.name);
            reasons.iter().any(|reason| !about_it(reason))
        };
        followers.filter(stuck).count()
    }

    /// A machine where units of lower priority make room: the one that loses least.
    fn by_force(&self, unit: &'w Unit) -> Option<(&'w MachineId, Vec<(&'w Unit, Removal)>)> {
        let because = || Removal::Preempted(unit.name.clone());
        let offers = self.board.rooms.values().filter_map(|room| {
            let question = self.question(unit, room);
            let reasons = question.refusals();
            if !reasons.iter().all(Refusal::is_shortage) {
                return None;
            }
            let victims = self.victims(unit, room)?;
            let highest = victims.iter().map(|v| v.options.priority).max();
            Some(((highest, victims.len(), &room.machine.id), victims))
        });
        let ((.., machine), victims) = offers.min_by_key(|(cost, _)| *cost)?;
        Some((
            machine,
            victims.into_iter().map(|v| (v, because())).collect(),
        ))
    }

    /// The fewest units, lowest priority first, without which `unit` fits.
    fn victims(&self, unit: &Unit, room: &Room<'w>) -> Option<Vec<&'w Unit>> {
        let (demand, own) = (&unit.options.demand, unit.options.priority);
        let capacity = room.machine.capacity;
        let mut lower: Vec<&'w Unit> = room.units.values().copied().collect();
        lower.retain(|u| {
            u.options.priority < own && !u.options.global && !self.fresh.contains(&u.name)
        });
        lower.sort_by_key(|u| (u.options.priority, &u.name));
        let mut used = room.used;
        let mut victims = Vec::new();
        let mut ports: BTreeSet<&UnitName> = demand
            .ports
            .iter()
            .filter_map(|p| room.ports.get(p))
            .copied()
            .collect();
        for other in lower {
            let free = capacity.minus(used);
            let short = (capacity.cpu_milli > 0 && free.cpu_milli < demand.amount.cpu_milli)
                || (capacity.memory > 0 && free.memory < demand.amount.memory);
            let asked = other.options.demand.amount;
            let helps = short && (asked.cpu_milli > 0 || asked.memory > 0);
            if ports.remove(&other.name) || helps {
                used = used.minus(asked);
                victims.push(other);
            }
        }
        let free = capacity.minus(used);
        let cpu = capacity.cpu_milli == 0 || free.cpu_milli >= demand.amount.cpu_milli;
        let memory = capacity.memory == 0 || free.memory >= demand.amount.memory;
        (cpu && memory && ports.is_empty() && !victims.is_empty()).then_some(victims)
    }
}
