//! The ESP: which releases lie on it, what is to be done there, and doing it.
//!
//! [`name`], [`slots`] and [`plan`] are values; the rest is the edge. Neither the running nor the last
//! good release is ever written to.

pub mod device;
pub mod name;
pub mod osrel;
pub mod plan;
pub mod reclaim;
pub mod slots;
pub mod volume;
