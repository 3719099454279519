//! Tells a person what happens, and for how long: one ticking line on a terminal, plain lines else.
//!
//! It changes nothing of what is done; errors pass through.

use anyhow::Result;
use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(100);
const STILL: Duration = Duration::from_secs(15);

/// Does `work` under a line that says `what`.
///
/// # Errors
/// Those of `work`.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let (done, ended) = mpsc::channel::<()>();
    let line = what.to_owned();
    let teller = std::thread::spawn(move || tell(&line, start, &ended));
    let result = work();
    drop(done);
    let _ = teller.join();
    let mark = if result.is_ok() { "✓" } else { "✗" };
    println!("{mark} {what} ({:.1} s)", start.elapsed().as_secs_f64());
    result
}

fn tell(what: &str, start: Instant, ended: &Receiver<()>) {
    let terminal = std::io::stdout().is_terminal();
    if !terminal {
        println!("  {what} …");
    }
    let mut next = STILL;
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(TICK) {
        let elapsed = start.elapsed();
        if terminal {
            let mark = ['|', '/', '-', '\\'][(elapsed.as_millis() / 100 % 4) as usize];
            print!("\r\x1b[K{mark} {what} … {} s", elapsed.as_secs());
            let _ = std::io::stdout().flush();
        } else if elapsed >= next {
            println!("  {what} … still, {} s", elapsed.as_secs());
            next += STILL;
        }
    }
    if terminal {
        print!("\r\x1b[K");
    }
}
