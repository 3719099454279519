//! Defences taken out of an engine on purpose: the simulator has to notice.
//!
//! Never part of a program that runs anywhere else.

use super::Engine;
use crate::plan::World;
use crate::sim::Sabotage;

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
        _ => {}
    }
    world
}
