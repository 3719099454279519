//! The entry point of a program that must start without open standard streams: PID 1.
//!
//! Rust's own start code opens `/dev/null` in place of missing ones and aborts when there is none, as
//! before the first mount on a machine without a console. It runs nothing of the program itself.

/// Makes a `fn() -> i32` the program's entry; the crate has `#![no_main]`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // SAFETY: no other symbol `main` exists, since the crate is `no_main`; the C start code calls
        // it once, with an argument count and vector that are not looked at.
        #[unsafe(no_mangle)]
        extern "C" fn main(_: core::ffi::c_int, _: *const *const u8) -> core::ffi::c_int {
            $main()
        }
    };
}
