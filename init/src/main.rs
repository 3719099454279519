//! PID 1. It never exits.
fn main() {}
