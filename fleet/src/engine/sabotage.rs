//! Defences taken out of an engine on purpose: the simulator has to notice.
//!
//! Never part of a program that runs anywhere else.

use super::Engine;
use crate::machine::Duty;
use crate::plan::World;
use crate::sim::Sabotage;
use std::collections::BTreeMap;

impl Engine {
    /// The same engine without a defence.
    #[must_use]
    pub fn sabotaged(mut self, sabotage: Option<Sabotage>) -> Self {
        self.sabotage = sabotage;
        self
    }
}

/// What the planner is told instead of the truth.
pub fn world(mut world: World, sabotage: Option<Sabotage>) -> World {
    match sabotage {
        Some(Sabotage::NoBrake) => world.braked = false,
        Some(Sabotage::NoWait) => world.running.clear(),
        Some(Sabotage::Restless) => unload(&mut world),
        _ => {}
    }
    world
}

/// The fullest machine drains while another has far fewer units.
fn unload(world: &mut World) {
    let mut units: BTreeMap<_, usize> = world.machines.keys().map(|id| (id.clone(), 0)).collect();
    for placement in world.placed.values() {
        *units.entry(placement.machine.clone()).or_default() += 1;
    }
    let fullest = units.iter().max_by_key(|(_, number)| **number);
    let fewest = units.values().min().copied().unwrap_or(0);
    if let Some((id, number)) = fullest
        && *number > fewest + 1
        && let Some(machine) = world.machines.get_mut(id)
    {
        machine.duty = Duty::Drains;
    }
}
