//! `skeg-init`: PID 1, and nothing when it is not PID 1.
//!
//! It never returns: the kernel would panic. What even a degraded state cannot cover ends in a reboot.

#![no_main]

use formats::registration::Power;
use init::host::{Host, Places};
use std::time::Duration;

sys::entry!(start);

/// How long the last words stay on the screen.
const LAST_WORDS: Duration = Duration::from_secs(10);

fn start() -> i32 {
    if std::process::id() != 1 {
        eprintln!(
            "skeg-init: expected to be PID 1, found {}",
            std::process::id()
        );
        return 1;
    }
    let started = init::clock::now();
    std::panic::set_hook(Box::new(|info| last_resort(&format!("bug: {info}"))));
    let booted = init::boot::boot(started);
    let _ = nix::sys::reboot::set_cad_enabled(false);
    match Host::open(booted, Places::default(), seed()) {
        Ok(host) => host.run(),
        Err(e) => last_resort(&format!("the host cannot run: {e}")),
    }
}

/// Differs from host to host and from boot to boot.
fn seed() -> u64 {
    let mut bytes = [0u8; 8];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    u64::from_le_bytes(bytes)
}

/// Nothing can go on: say why, wait so that it can be read, write back and reboot.
fn last_resort(why: &str) -> ! {
    let console = init::console::Console::open(std::path::Path::new("/dev/console"));
    console.say(why);
    std::thread::sleep(LAST_WORDS);
    rustix::fs::sync();
    loop {
        let refused = init::power::finish::finish(Power::Reboot);
        console.say(&format!("reboot: {refused}"));
        std::thread::sleep(LAST_WORDS);
    }
}
