//! PID 1's promises, kept by real processes: the host as PID 1 of a PID namespace of its own.
//!
//! Needs root for the namespace. This program is the test, the host, its services and the engine:
//! `roles` says who is who. Nothing outside the test's own folder is touched.

mod client;
mod ends;
mod machine;
mod orphans;
mod promises;
mod roles;

use std::process::ExitCode;

#[global_allocator]
static COUNTING: sys::counting::Counting = sys::counting::Counting;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("host") => machine::run_host(arguments[2].as_ref()),
        Some("role") => roles::play(&arguments[2], arguments[3].as_ref()),
        Some("--list") => {
            promises::ALL
                .iter()
                .for_each(|(name, _)| println!("{name}: test"));
            ExitCode::SUCCESS
        }
        _ => check_all(arguments.iter().skip(1).find(|word| !word.starts_with('-'))),
    }
}

fn check_all(filter: Option<&String>) -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        println!("pid_one: FAILED: expected to run as root, for a PID namespace");
        return ExitCode::FAILURE;
    }
    let chosen = |name: &str| filter.is_none_or(|word| name.contains(word.as_str()));
    let mut failed = 0;
    for (name, promise) in promises::ALL.iter().filter(|(name, _)| chosen(name)) {
        match promise() {
            Ok(()) => println!("pid_one: {name} ... ok"),
            Err(why) => {
                failed += 1;
                println!("pid_one: {name} ... FAILED\n{why}");
            }
        }
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
