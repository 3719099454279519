//! Real containers, started through a real zygote, inside mount and pid namespaces of the test's own.
//!
//! It needs root and a static busybox, and says so; it never touches a cgroup or mount of the host.

mod attacker;
mod attacks;
mod cases;
mod harness;

use std::process::{Command, ExitCode};

/// Where the program goes on after it has been started again in new namespaces.
const INNER: &str = "in-new-namespaces";
/// The program as the zygote.
const ZYGOTE: &str = "as-zygote";
/// The program as a container's, which tries to break out.
const ATTACK: &str = "attack";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some(ZYGOTE) => serve(&args[1]),
        Some(INNER) => {
            let all = [cases::ALL, attacks::ALL];
            harness::run(args.get(1).map(String::as_str), &all)
        }
        Some(ATTACK) => attacker::attack(&args[1]),
        Some(attacker::EXE_SCRIPT) => attacker::attack("exe"),
        _ if args.iter().any(|arg| arg == "--list") => ExitCode::SUCCESS,
        _ => outside(args.iter().find(|arg| !arg.starts_with('-'))),
    }
}

fn serve(socket: &str) -> ExitCode {
    match runtime::zygote::server::serve(socket.as_ref()) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("zygote: {error}");
            ExitCode::FAILURE
        }
    }
}

fn outside(filter: Option<&String>) -> ExitCode {
    if let Err(missing) = harness::prerequisites() {
        eprintln!("container tests: {missing}");
        return ExitCode::FAILURE;
    }
    let mut command = Command::new("/proc/self/exe");
    command.arg(INNER).args(filter);
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("container tests: start again: {error}");
            ExitCode::FAILURE
        }
    }
}
