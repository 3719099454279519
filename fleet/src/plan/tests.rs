//! The planner's promises: fleet's scenarios as tables, what is new, and properties over random clusters.

mod fleets;
mod ours;
mod properties;
mod scene;
