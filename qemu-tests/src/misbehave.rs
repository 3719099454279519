//! Programs that do what no service should, each in its own way, for ever.
//!
//! They are services of images of profile `test`, and only when the kernel's command line asks for
//! them; nothing bounds them but what PID 1 and the kernel do.

use nix::sys::signal::SigSet;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// What is taken at once by the one that takes memory.
const BITE: usize = 1 << 20;
/// How often a refused call is tried.
pub const REFUSED: usize = 1000;

/// Misbehaves; comes back only where that is the misbehaviour.
///
/// # Errors
/// There is no such kind.
pub fn run(kind: &str) -> io::Result<ExitCode> {
    match kind {
        "crash" => Ok(ExitCode::FAILURE),
        "silent" => sleep(),
        "hang" => {
            SigSet::all().thread_block()?;
            if let Some(socket) = std::env::var_os("NOTIFY_SOCKET") {
                UnixDatagram::unbound()?.send_to(b"READY=1", socket)?;
            }
            sleep()
        }
        "panic" => {
            std::fs::write("/proc/sysrq-trigger", "c")?;
            sleep()
        }
        "freeze-init" => {
            let group = "/sys/fs/cgroup/skeg.slice/net";
            std::fs::write(format!("{group}/cgroup.procs"), "1")?;
            std::fs::write(format!("{group}/cgroup.freeze"), "1")?;
            sleep()
        }
        "call" => call(),
        "fork" => fork(),
        "eat" => eat(),
        other => Err(io::Error::other(format!("no misbehaviour {other}"))),
    }
}

fn sleep() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Asks for the same thing again and again, whatever the answer.
fn call() -> io::Result<ExitCode> {
    for _ in 1..REFUSED {
        let _ = nix::unistd::sethostname("taken");
    }
    Ok(nix::unistd::sethostname("taken").map(|()| ExitCode::SUCCESS)?)
}

/// Every process makes others as fast as it can; the first one stays, whatever becomes of them.
fn fork() -> ! {
    let program = std::env::current_exe().unwrap_or_default();
    loop {
        // What could not be made is tried again: that is the misbehaviour.
        let _ = Command::new(&program).args(["misbehave", "fork"]).spawn();
    }
}

fn eat() -> ! {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        // Written to, so that it is really taken.
        eaten.push(vec![eaten.len() as u8 | 1; BITE]);
    }
}
