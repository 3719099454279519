//! Link flags of the static PID 1: a page saved here is a page saved on every host for ever.
//!
//! Relative relocations packed, equal functions folded, no tables for unwinding (a panic aborts).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../sys/no-unwind.ld");
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let tiny = std::env::var("OPT_LEVEL").is_ok_and(|level| level == "z");
    if tiny && features.split(',').any(|feature| feature == "crt-static") {
        for flag in [
            "-z,pack-relative-relocs",
            "--icf=all",
            "--no-eh-frame-hdr",
            "-O2",
            &format!("-T,{folder}/../sys/no-unwind.ld"),
        ] {
            println!("cargo:rustc-link-arg-bin=skeg-init=-Wl,{flag}");
        }
    }
}
