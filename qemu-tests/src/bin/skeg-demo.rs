//! The demo behind `cargo xtask run`: registry, disk, machine, page, console.
//!
//! It builds nothing of Skeg; `cargo xtask run` has done that before.

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::docker::{Certificates, PORT};
use qemu_tests::fixtures::{registry::Registry, web};
use qemu_tests::narrate::step;
use qemu_tests::{Disk, Image, Running, timeline};
use std::io::IsTerminal;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

/// Generous: firmware and kernel are emulated where KVM does not work.
const BOOT: Duration = Duration::from_secs(240);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--check"] => true,
        _ => {
            eprintln!("usage: skeg-demo [--check]");
            return ExitCode::from(2);
        }
    };
    match demo(check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(check: bool) -> Result<()> {
    let image = Image::built("vm")?;
    let test = Test::named("demo")?;
    let registry = step("start a registry on the loopback", Registry::shared)?;
    let layout = step(
        "make an OCI image of nginx from Debian packages",
        web::image,
    )?;
    step("push it to the registry", || registry.push(&layout, "web"))?;
    let unit = unit(&registry.name("web"));
    let config = Config::new()
        .registry(registry.port())
        .unit("web.container", &unit);
    let certificates = Certificates::make(&test.folder().join("docker"))?;
    let config = certificates.tell(config);
    let disk = step("make the disk", || Disk::fresh(&test, &image, &config))?;
    let mut machine = test
        .boot_firmware(&image)
        .with_disk(&disk)
        .with_watchdog()
        .forward_from(port(), 8080)
        .forward(PORT)
        .start()?;
    let page = step(
        "boot: firmware, loader, kernel, PID 1, pull, container",
        || {
            machine.console().wait("unit:web", BOOT)?;
            qemu_tests::web::page(machine.port(8080)?, "/", Duration::from_secs(30))
        },
    );
    let page = page.and_then(|page| machine.console().check_for_oops().map(|()| page));
    let page = page.with_context(|| format!("console: {}", machine.console().file().display()))?;
    tell(&machine, &unit, &page)?;
    if !check {
        stay(&mut machine, &certificates)?;
    }
    machine.cut_power();
    test.passed();
    Ok(())
}

fn unit(image: &str) -> String {
    format!(
        "[Unit]\nDescription=A page from a container\n\n[Container]\nImage={image}\n\
         PublishPort=8080:80\nVolume=web-data:/srv/data\n\n[Service]\nRestart=always\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}

/// 8080 if it is free: easier to remember.
fn port() -> u16 {
    let wished = TcpListener::bind((Ipv4Addr::LOCALHOST, 8080)).map(|_| 8080);
    wished
        .or_else(|_| qemu_tests::web::free_port())
        .unwrap_or(8080)
}

fn tell(machine: &Running, unit: &str, page: &str) -> Result<()> {
    let address = format!("http://127.0.0.1:{}/", machine.port(8080)?);
    println!("\nThe machine was told, in /etc/containers/systemd/web.container:\n");
    println!("{}", indented(unit));
    println!("The page at {address}\n");
    println!("{}", indented(page));
    println!("The boot, in seconds since the kernel started:\n");
    println!(
        "{}",
        timeline::draw(&timeline::stages(&machine.console().lines()))
    );
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// Attaches the terminal to the console until somebody leaves or the machine is off.
fn stay(machine: &mut Running, certificates: &Certificates) -> Result<()> {
    println!("page     http://127.0.0.1:{}/", machine.port(8080)?);
    let docker = certificates.environment(machine.port(PORT)?);
    println!("docker   {docker} docker ps");
    println!("console  {}", machine.console().file().display());
    println!("leave    Ctrl-A x or Ctrl-C; the machine is then switched off by its power button\n");
    machine.console().show(true);
    let terminal = RawTerminal::enter();
    if terminal.is_some() {
        type_until_left(machine);
        if machine.is_on() {
            println!("\r\npower button\r");
            machine.press_power_button()?;
        }
        let off = machine.wait_off(Duration::from_secs(40));
        drop(terminal);
        return off;
    }
    machine.wait_off(Duration::from_secs(365 * 24 * 3600))
}

fn type_until_left(machine: &mut Running) {
    let mut byte = [0];
    let mut after_ctrl_a = false;
    while machine.is_on() {
        if !key_waits() {
            continue;
        }
        if !nix::unistd::read(std::io::stdin(), &mut byte).is_ok_and(|n| n == 1) {
            return;
        }
        match (byte[0], after_ctrl_a) {
            (3, _) | (b'x', true) => return,
            (1, false) => after_ctrl_a = true,
            _ => {
                after_ctrl_a = false;
                if machine.console().send(&byte).is_err() {
                    return;
                }
            }
        }
    }
}

/// Waits a moment for a key, so that a machine that switches itself off is noticed.
fn key_waits() -> bool {
    let stdin = std::io::stdin();
    let mut set = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    poll(&mut set, PollTimeout::from(250u8)).is_ok_and(|ready| ready > 0)
}

/// A terminal that hands over each key, put back when dropped.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> Option<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&stdin, SetArg::TCSANOW, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.0);
    }
}
