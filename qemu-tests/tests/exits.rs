//! A container that ends again and again while engines are killed: it never runs twice for one start, and
//! the engine tells each exit code.
//!
//! The driver inside the machine counts the runs from what the container itself has noted.

use anyhow::{Context, Result, ensure};
use qemu_tests::Running;
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::tools;
use qemu_tests::scene::{eventually, host, pushed};
use std::time::{Duration, Instant};

const SIGKILL: i32 = 9;
const PROGRAM: &str = "/usr/lib/skeg/agent";
const SOON: Duration = Duration::from_secs(120);

#[test]
fn of_a_hundred_ends_no_exit_code_is_lost_while_engines_are_killed() -> Result<()> {
    trial("hundred-ends", 1, 100, Duration::from_secs(5))
}

/// Five rounds of it are ten thousand.
#[cfg(feature = "soak")]
#[test]
fn of_two_thousand_ends_no_exit_code_is_lost_while_engines_are_killed() -> Result<()> {
    trial("two-thousand-ends", 2, 1000, Duration::from_secs(35))
}

fn trial(name: &str, containers: u32, runs: u64, pause: Duration) -> Result<()> {
    let test = Test::named(name)?;
    let tools = pushed(tools::image(), "tools")?;
    let host = host(&test, Config::new())?;
    let machine = &host.machine;
    let names: Vec<String> = (1..=containers).map(|n| format!("e{n}")).collect();
    for name in &names {
        create(machine, &tools, name)?;
    }
    let begun = Instant::now();
    let kills = std::thread::scope(|scope| {
        let drivers: Vec<_> = names
            .iter()
            .map(|name| scope.spawn(move || drive(machine, name, runs)))
            .collect();
        let mut kills = 0;
        let mut last = Instant::now();
        while !drivers
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            std::thread::sleep(Duration::from_millis(200));
            if last.elapsed() > pause {
                let engine = machine.service_pid("engine")?;
                machine.agent()?.kill(engine, SIGKILL)?;
                kills += 1;
                last = Instant::now();
            }
        }
        for driver in drivers {
            driver
                .join()
                .map_err(|_| anyhow::anyhow!("a driver panicked"))??;
        }
        anyhow::Ok(kills)
    })?;
    let took = begun.elapsed().as_secs();
    println!(
        "{} ends in {took} s, {kills} engines killed, no exit code lost",
        u64::from(containers) * runs
    );
    ensure!(kills > 0, "no engine was killed");
    eventually("empty slots", SOON, || {
        let status = machine.read("/run/skeg/status.json")?;
        ensure!(status.contains("\"containers\":0"), "{status}");
        Ok(())
    })?;
    machine.console().check_for_oops()?;
    test.passed();
    Ok(())
}

/// Its first run is one like the others.
fn create(machine: &Running, image: &str, name: &str) -> Result<()> {
    let volume = format!("{PROGRAM}:/once:ro");
    let folder = format!("/run/{name}");
    let data = format!("{folder}:/data");
    machine.ok(["/usr/bin/skeg", "pull", image])?;
    // The folder comes with the first run, which finds no code and ends with an error.
    machine.run([
        "/usr/bin/skeg",
        "run",
        "-d",
        "--name",
        name,
        "-v",
        &volume,
        "-v",
        &data,
        image,
        "/once",
        "exit",
        "/data",
    ])?;
    eventually("the first end", SOON, || {
        let all = machine.skeg(&["ps", "-a"])?;
        let line = all.lines().find(|line| line.contains(name));
        let line = line.context("`ps -a` does not show it")?;
        ensure!(line.to_lowercase().contains("exited"), "{line}");
        Ok(())
    })
}

fn drive(machine: &Running, name: &str, runs: u64) -> Result<()> {
    let (folder, runs) = (format!("/run/{name}"), runs.to_string());
    let words = [PROGRAM, "drive", name, &folder, &runs];
    let output = machine
        .agent()?
        .run(&words, b"", Duration::from_secs(50 * 60))?;
    ensure!(output.code == 0, "{name}: {}", output.stderr.text());
    Ok(())
}
