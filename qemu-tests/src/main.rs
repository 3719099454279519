//! qemu-tests
fn main() {}
