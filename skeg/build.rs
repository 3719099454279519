//! Link flags of the static programs: no tables for unwinding, since a panic aborts, and one copy of functions
//! that are equal byte for byte.
//!
//! It changes nothing for this machine's own builds, whose panics may unwind.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../sys/no-unwind.ld");
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    // `release`, and what inherits from it (Cargo.toml).
    let aborts = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if aborts && features.split(',').any(|feature| feature == "crt-static") {
        println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{folder}/../sys/no-unwind.ld");
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
}
