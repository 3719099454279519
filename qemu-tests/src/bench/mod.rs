//! Benchmarks of whole machines: Skeg and what people use today, side by side.
//!
//! They measure and judge nothing: a row that does not hold is published as it is.

pub mod boot;
pub mod chart;
pub mod kept;
pub mod peer;
pub mod smallest;
pub mod subject;
pub mod table;
pub mod trial;
