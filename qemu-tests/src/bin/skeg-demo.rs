//! The demo behind `cargo xtask run`.
fn main() {}
