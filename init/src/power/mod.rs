//! The end of a boot: the plan, the power button, and what is done last.
//!
//! `plan` decides; `button` and `finish` talk to the kernel.

pub mod button;
pub mod finish;
pub mod plan;
