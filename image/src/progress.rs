//! Tells the person who waits what is going on, on standard error.
//!
//! Never writes to standard output, which belongs to the results.

use std::time::{Duration, Instant};

/// Says what is done now, before it is done.
pub fn step(text: &str) {
    eprintln!("image: {text}");
}

/// Something that the user must not overlook.
pub fn warn(text: &str) {
    eprintln!("image: WARNING: {text}");
}

/// Runs one step that may take a while, and says how long it took when that was over a second.
///
/// # Errors
/// Those of the step.
pub fn timed<T, E>(text: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    step(text);
    let start = Instant::now();
    let result = work();
    let took = start.elapsed();
    if result.is_ok() && took > Duration::from_secs(1) {
        step(&format!("{text}: done in {:.1} s", took.as_secs_f32()));
    }
    result
}
