//! Faults that a test injects: the operation of a plan whose number `SKEG_FAIL_AT` has fails.
//!
//! Builds for users have none of it.

use super::failure::Failure;

/// Fails if this is the operation that shall.
#[cfg(debug_assertions)]
pub(crate) fn at(number: usize) -> Result<(), Failure> {
    let chosen = std::env::var("SKEG_FAIL_AT").ok();
    match chosen.and_then(|text| text.parse::<usize>().ok()) {
        Some(chosen) if chosen == number => {
            let errno = rustix::io::Errno::IO;
            Err(Failure::kernel("injected", number.to_string(), errno))
        }
        _ => Ok(()),
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn at(_: usize) -> Result<(), Failure> {
    Ok(())
}
