//! The promises, a flat table of small functions.
//!
//! Each starts a machine of its own and leaves nothing behind.

use crate::machine::{Machine, Outcome, WATCHDOG};
use std::fs;
use std::time::{Duration, Instant};

type Promise = (&'static str, fn() -> Outcome);

pub const ALL: &[Promise] = &[
    ("services_start_by_readiness_and_stop_in_reverse", order),
    ("a_crashed_service_gets_its_descriptors_back", store),
    ("a_service_that_starves_its_watchdog_is_restarted", watchdog),
    (
        "a_slot_is_for_a_child_of_pid_1_and_its_exit_is_pushed",
        slots,
    ),
    (
        "an_engine_that_was_killed_loses_no_exit_and_no_line",
        adoption,
    ),
    (
        "every_slot_can_be_taken_and_a_slow_reader_blocks_nobody",
        crowd,
    ),
    (
        "ten_thousand_orphans_are_reaped_without_an_allocation",
        orphans,
    ),
    (
        "of_ten_thousand_ends_no_exit_code_is_lost",
        ten_thousand_ends,
    ),
    ("a_store_is_bounded_and_ignores_hang_ups", hoarder),
    ("more_clients_than_places_wait_and_are_served", throng),
    ("a_stuck_service_delays_the_end_by_its_own_timeout", stuck),
    ("a_reboot_that_is_refused_starves_the_watchdog", refused),
    ("a_flood_of_notices_does_not_hold_up_the_host", flood),
    ("the_time_is_kept_now_and_then_and_at_the_end", time),
    ("what_was_said_until_the_end_is_in_the_journal", journal),
    ("nothing_is_registered_once_the_end_has_begun", latecomer),
    ("a_wrong_service_file_degrades_and_the_others_run", invalid),
];

fn expect(machine: &Machine, holds: bool, what: &str) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(machine.story(what))
    }
}

/// A service of a shell that tells when it starts and stops.
fn teller(name: &str, after: &str) -> String {
    format!(
        "[Unit]\nAfter={after}\n[Service]\nExecStart=/bin/sh -c 'trap \"echo stop-{name} >> \
         @DIR/order; exit 0\" TERM; echo start-{name} >> @DIR/order; while :; do sleep 0.02; done'\n"
    )
}

fn order() -> Outcome {
    let (a, b) = (teller("a", "b"), teller("b", "c"));
    let c = "[Service]\nType=notify\nExecStart=@ROLE ready\n";
    let off = "[Service]\nExecStart=@ROLE off\n";
    let mut machine = Machine::start(&[("a", &a), ("b", &b), ("c", c), ("off", off)]);
    // A simple service counts as started at once: b may tell before a or after it.
    machine.await_text("order", "start-a")?;
    machine.await_text("order", "start-b")?;
    // What a service does first may come before PID 1 has told that it was started.
    machine.await_text("boot.json", "service:a\"")?;
    let boot = machine.read("boot.json");
    let at = |name: &str| boot.find(&format!("service:{name}\""));
    expect(
        &machine,
        at("c") < at("b") && at("b") < at("a") && at("c").is_some(),
        &boot,
    )?;
    fs::write(machine.path("go"), "").map_err(|e| e.to_string())?;
    let status = machine.await_end()?;
    let order = machine.read("order");
    let stops: Vec<&str> = order
        .lines()
        .filter(|line| line.starts_with("stop"))
        .collect();
    expect(&machine, stops == ["stop-a", "stop-b"], &order)?;
    let console = machine.read("console");
    expect(&machine, console.contains("power off"), "no power off")?;
    // reboot(2) in a PID namespace ends it by SIGINT for a power-off (reboot(2)).
    expect(&machine, !status.success(), "the namespace ended by itself")
}

fn store() -> Outcome {
    let keeper = "[Service]\nType=notify\nExecStart=@ROLE keeper\nRestart=always\nRestartSec=10ms\nFileDescriptorStoreMax=4\n";
    let machine = Machine::start(&[("keeper", keeper)]);
    machine.await_role("keeper")?;
    machine.await_text("status.json", "\"restarts\":1,\"last_exit\":{\"exited\":1}")?;
    machine.await_text("status.json", "\"stored_fds\":1")
}

fn watchdog() -> Outcome {
    let silent = "[Service]\nType=notify\nExecStart=@ROLE silent\nRestart=always\nRestartSec=10ms\nWatchdogSec=200ms\n";
    let machine = Machine::start(&[("silent", silent)]);
    machine.await_text("console", "does not feed its watchdog")?;
    machine.await_text(
        "status.json",
        "\"restarts\":1,\"last_exit\":{\"signaled\":6}",
    )?;
    machine.await_text("console", "silent: about to starve")?;
    machine.await_text("console", "degraded: service-failing:silent")?;
    machine.await_text("silent.log", "<3>about to starve")
}

fn slots() -> Outcome {
    let machine = Machine::start(&[("engine", "[Service]\nExecStart=@ROLE engine\n")]);
    machine.await_role("engine")?;
    machine.await_text("boot.json", "container:web")?;
    machine.await_text("console", "boot: init")
}

fn adoption() -> Outcome {
    let first = "[Service]\nExecStart=@ROLE first-engine\n";
    let second = "[Service]\nExecStart=@ROLE second-engine\n";
    let machine = Machine::start(&[("first", first), ("second", second)]);
    machine.await_role("second-engine")
}

fn crowd() -> Outcome {
    let machine = Machine::start(&[("crowd", "[Service]\nExecStart=@ROLE crowd\n")]);
    machine.await_role("crowd")
}

fn orphans() -> Outcome {
    let service = "[Service]\nExecStart=@ROLE orphans\nRestart=no\n";
    let machine = Machine::start(&[("orphans", service)]);
    machine.await_text_for(Duration::from_secs(120), "orphans", "\n")?;
    machine.await_role("orphans")
}

fn ten_thousand_ends() -> Outcome {
    let machine = Machine::start(&[("ends", "[Service]\nExecStart=@ROLE ends\n")]);
    machine.await_text_for(Duration::from_secs(120), "ends", "\n")?;
    machine.await_role("ends")
}

fn hoarder() -> Outcome {
    let hoarder = "[Service]\nType=notify\nExecStart=@ROLE hoarder\nRestart=always\nRestartSec=10ms\nFileDescriptorStoreMax=4\n";
    let machine = Machine::start(&[("hoarder", hoarder)]);
    machine.await_role("hoarder")?;
    machine.await_text("status.json", "\"stored_fds\":4")
}

fn throng() -> Outcome {
    let machine = Machine::start(&[("throng", "[Service]\nExecStart=@ROLE throng\n")]);
    machine.await_role("throng")
}

fn time() -> Outcome {
    let recent = |machine: &Machine| {
        let kept: u64 = machine.read("time").trim().parse().unwrap_or(0);
        kept + 50 > init::clock::epoch_ns() / 1_000_000_000
    };
    // Its end is the event on which the host looks at the clock, since there is no watchdog here.
    let brief = "[Service]\nExecStart=/bin/sh -c 'sleep 0.1'\n";
    let reboot = "[Service]\nExecStart=@ROLE reboot\n";
    let mut machine = Machine::start(&[("brief", brief), ("reboot", reboot)]);
    machine.await_text("boot.json", "service:reboot")?;
    if init::clock::now() > init::floor::PERIOD {
        // It is written by a copy, and as a whole.
        machine.await_text("time", "\n")?;
        expect(&machine, recent(&machine), "an old time was kept")?;
    }
    fs::remove_file(machine.path("time")).map_err(|e| e.to_string())?;
    fs::write(machine.path("go"), "").map_err(|e| e.to_string())?;
    machine.await_end()?;
    expect(&machine, recent(&machine), "the end was not kept")
}

fn journal() -> Outcome {
    let says =
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo plain; echo \"<3>disk is ill\"'\n";
    let reboot = "[Service]\nExecStart=@ROLE reboot\n";
    let mut machine = Machine::start(&[("says", says), ("reboot", reboot)]);
    machine.await_text("says.log", "disk is ill")?;
    machine.await_text("boot.json", "service:reboot")?;
    fs::write(machine.path("go"), "").map_err(|e| e.to_string())?;
    machine.await_end()?;
    let text = machine.read("journal/00000001.log");
    let boots = formats::journal::boots([text.as_bytes()]);
    let lines = boots.into_iter().flat_map(|boot| boot.lines);
    let found: Vec<_> = lines.map(|l| (l.unit, l.priority, l.text)).collect();
    for (unit, priority, line) in [
        ("says", 6, "plain"),
        ("says", 3, "disk is ill"),
        ("init", 6, "reached service:reboot"),
        ("init", 6, "shutting down: file systems are written back"),
    ] {
        let wanted = (unit.to_owned(), priority, line.to_owned());
        expect(
            &machine,
            found.contains(&wanted),
            &format!("no {wanted:?} in {text}"),
        )?;
    }
    Ok(())
}

fn stuck() -> Outcome {
    let stuck = "[Service]\nExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'\nTimeoutStopSec=1s\n";
    let reboot = "[Service]\nExecStart=@ROLE reboot\n";
    let mut machine = Machine::start(&[("stuck", stuck), ("reboot", reboot)]);
    machine.await_text("boot.json", "service:stuck")?;
    fs::write(machine.path("go"), "").map_err(|e| e.to_string())?;
    let begun = Instant::now();
    machine.await_end()?;
    let took = begun.elapsed();
    let bounds = Duration::from_millis(900)..Duration::from_secs(4);
    expect(&machine, bounds.contains(&took), &format!("took {took:?}"))?;
    expect(
        &machine,
        machine.read("console").contains("did not stop in time"),
        "no line",
    )
}

fn refused() -> Outcome {
    let reboot = "[Service]\nExecStart=@ROLE reboot\n";
    let powerless = ["setpriv", "--bounding-set=-sys_boot"];
    let machine = Machine::start_by(&powerless, &[("reboot", reboot)]);
    let fed = || machine.read("watchdog").len();
    machine.await_text("boot.json", "service:reboot")?;
    machine.await_text("watchdog", "\0\0\0")?;
    fs::write(machine.path("go"), "").map_err(|e| e.to_string())?;
    machine.await_text("console", "the watchdog is fed no more")?;
    let before = fed();
    std::thread::sleep(2 * WATCHDOG);
    let text = format!("fed {} times after the end", fed() - before);
    expect(&machine, fed() == before, &text)
}

fn flood() -> Outcome {
    let flood = "[Service]\nType=notify\nExecStart=@ROLE flood\nTimeoutStopSec=1s\n";
    let after = "[Unit]\nAfter=flood\n[Service]\nType=notify\nExecStart=@ROLE ready\n";
    let reboot = "[Service]\nExecStart=@ROLE reboot\n";
    let services = [("flood", flood), ("after", after), ("reboot", reboot)];
    let mut machine = Machine::start(&services);
    machine.await_text("boot.json", "service:after")?;
    fs::write(machine.path("go"), "").map_err(|e| e.to_string())?;
    machine.await_end().map(|_| ())
}

fn latecomer() -> Outcome {
    let late = "[Service]\nTimeoutStopSec=9s\nExecStart=/bin/sh -c 'trap \"\" TERM; exec \"$0\" \"$@\"' @ROLE latecomer\n";
    let mut machine = Machine::start(&[("latecomer", late)]);
    machine.await_role("latecomer")?;
    machine.await_end().map(|_| ())
}

fn invalid() -> Outcome {
    let wrong = "[Service]\nExecStart=/bin/true\nRestartSecs=1\n";
    let right = "[Service]\nType=notify\nExecStart=@ROLE ready\n";
    let absent = "[Service]\nExecStart=/nonexistent/program\n";
    let machine = Machine::start(&[("wrong", wrong), ("right", right), ("absent", absent)]);
    machine.await_text("status.json", "the nearest known key is RestartSec=")?;
    machine.await_text("status.json", "\"name\":\"right\",\"state\":\"running\"")?;
    machine.await_text("status.json", "\"text\":\"waiting\"")?;
    machine.await_text("status.json", "service-failing:absent")?;
    machine.await_text(
        "console",
        "absent: start /nonexistent/program: execve: No such file",
    )
}
