//! skeg
fn main() {}
