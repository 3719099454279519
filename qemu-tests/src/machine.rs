//! A machine: built up in words, started, used, stopped. `test.boot(&image).with_disk(&disk).start()`.
//!
//! It leaves no process behind: QEMU dies with its owner, and with the thread that started it.

use crate::agent::{Agent, DEFAULT_TIMEOUT};
use crate::artefacts::Test;
use crate::command::{Drive, Load, Parts};
use crate::console::Console;
use crate::disk::Disk;
use crate::image::{Image, firmware};
use crate::protocol::Output;
use crate::qemu::{Qemu, Sockets};
use crate::qmp::Qmp;
use crate::{accel, web};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::time::Duration;

/// Where the first instruction comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Direct,
    Firmware,
    Uki,
}

/// A machine that is not started yet.
pub struct Machine<'a> {
    test: &'a Test,
    image: Image,
    start: Start,
    disks: Vec<Drive>,
    throttle: Option<u64>,
    guest_ports: Vec<u16>,
    fixed_ports: Vec<(u16, u16)>,
    memory: u32,
    watchdog: bool,
    clock: Option<String>,
    handed_over: Vec<(String, String)>,
    serial_number: Option<String>,
    emulated: bool,
    counted: bool,
    extra: String,
    firmware_of: Option<u32>,
    log_writes: bool,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(test: &'a Test, image: &Image, start: Start) -> Self {
        Self {
            test,
            image: image.clone(),
            start,
            disks: Vec::new(),
            throttle: None,
            guest_ports: Vec::new(),
            fixed_ports: Vec::new(),
            memory: 512,
            watchdog: false,
            clock: None,
            handed_over: Vec::new(),
            serial_number: None,
            emulated: false,
            counted: false,
            extra: String::new(),
            firmware_of: None,
            log_writes: false,
        }
    }

    /// Plugs in a disk. The first one is the one that the firmware boots from.
    #[must_use]
    pub fn with_disk(mut self, disk: &Disk) -> Self {
        self.disks.push(Drive {
            path: disk.path().to_owned(),
            read_only: false,
        });
        self
    }

    /// Plugs in a disk that refuses writes.
    #[must_use]
    pub fn with_read_only_disk(mut self, disk: &Disk) -> Self {
        self.disks.push(Drive {
            path: disk.path().to_owned(),
            read_only: true,
        });
        self
    }

    /// Lets each disk move no more than so many bytes in a second.
    #[must_use]
    pub fn with_slow_disks(mut self, bytes: u64) -> Self {
        self.throttle = Some(bytes);
        self
    }

    /// Makes a TCP port of the guest reachable on a free port of the host's loopback.
    #[must_use]
    pub fn forward(mut self, guest_port: u16) -> Self {
        self.guest_ports.push(guest_port);
        self
    }

    /// The same on a port of the host that somebody chose.
    #[must_use]
    pub fn forward_from(mut self, host_port: u16, guest_port: u16) -> Self {
        self.fixed_ports.push((host_port, guest_port));
        self
    }

    /// Memory in MiB; 512 unless said otherwise.
    #[must_use]
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// Gives the machine a hardware watchdog (i6300esb) that resets it.
    #[must_use]
    pub fn with_watchdog(mut self) -> Self {
        self.watchdog = true;
        self
    }

    /// What the machine's clock says at power-on, e.g. `1970-01-01T00:00:00`; this host's time else.
    #[must_use]
    pub fn clock(mut self, date: &str) -> Self {
        self.clock = Some(date.to_owned());
        self
    }

    /// Hands a text over by the firmware's configuration, e.g. as `opt/com.coreos/config`.
    #[must_use]
    pub fn hand_over(mut self, name: &str, text: &str) -> Self {
        self.handed_over.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Gives the machine a serial number, e.g. `ds=nocloud;s=http://10.0.2.2:8000/`.
    #[must_use]
    pub fn serial_number(mut self, serial: &str) -> Self {
        self.serial_number = Some(serial.to_owned());
        self
    }

    /// Emulates the processor even where KVM works: what is compared runs on the same processor.
    #[must_use]
    pub fn emulated(mut self) -> Self {
        self.emulated = true;
        self
    }

    /// Emulates the processor, and lets the machine's clock count instructions, one a nanosecond;
    /// while the guest waits, e.g. for its disk, it runs with this host's.
    #[must_use]
    pub fn counted(mut self) -> Self {
        self.counted = true;
        self.emulated()
    }

    /// Adds to the kernel's command line; only a direct boot has one to add to.
    #[must_use]
    pub fn kernel_option(mut self, option: &str) -> Self {
        self.extra += " ";
        self.extra += option;
        self
    }

    /// Gives it the firmware's variables of another machine of this test, which is off: the same host,
    /// switched on again.
    #[must_use]
    pub fn with_firmware_of(mut self, other: &Running) -> Self {
        self.firmware_of = Some(other.number);
        self
    }

    /// Records every write of the first disk, and where it is flushed, in [`Running::write_log`].
    #[must_use]
    pub fn log_writes(mut self) -> Self {
        self.log_writes = true;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// A part is missing, or QEMU refuses; with QEMU's own words.
    pub fn start(self) -> Result<Running> {
        let number = self.test.next_machine();
        let file = |name: &str| self.test.folder().join(format!("{name}-{number}.log"));
        let mut forwards = self.fixed_ports.clone();
        for guest in &self.guest_ports {
            forwards.push((web::free_port()?, *guest));
        }
        let mut handed_over = Vec::new();
        for (index, (name, text)) in self.handed_over.iter().enumerate() {
            let path = file(&format!("handed-over-{index}"));
            std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            handed_over.push((name.clone(), path));
        }
        let sockets = Sockets::bind(self.image.has_agent())?;
        let parts = Parts {
            accelerator: match self.emulated {
                true => "tcg",
                false => accel::working(&self.image),
            },
            memory: self.memory,
            load: self.load(number)?,
            disks: self.disks,
            throttle: self.throttle,
            forwards: forwards.clone(),
            console: sockets.path("console"),
            qmp: sockets.path("qmp"),
            agent: self.image.has_agent().then(|| sockets.path("agent")),
            watchdog: self.watchdog,
            clock: self.clock.clone(),
            handed_over,
            serial_number: self.serial_number.clone(),
            counted: self.counted,
            write_log: self.log_writes.then(|| file("writes")),
        };
        if let Some(log) = &parts.write_log {
            // QEMU opens it, and neither makes it nor lets it grow.
            std::fs::File::create(log)
                .and_then(|file| file.set_len(LONGEST_LOG))
                .with_context(|| format!("create {}", log.display()))?;
        }
        let write_log = parts.write_log.clone();
        let mut qemu = Qemu::spawn(&parts, &file("qemu"))?;
        let console = Console::new(sockets.accept("console", &mut qemu)?, &file("console"))?;
        let qmp = Qmp::new(sockets.accept("qmp", &mut qemu)?).map_err(|e| qemu.explain(e))?;
        let agent = match &parts.agent {
            Some(_) => Some(Agent::new(sockets.accept("agent", &mut qemu)?)?),
            None => None,
        };
        Ok(Running {
            qemu,
            console,
            qmp,
            agent,
            forwards,
            number,
            write_log,
        })
    }

    fn load(&self, number: u32) -> Result<Load> {
        if self.start == Start::Direct {
            let command_line = self.image.command_line()? + PATIENT + &self.extra;
            return Ok(Load::Direct {
                kernel: self.image.kernel(),
                initrd: Some(self.image.initrd()),
                command_line,
            });
        }
        let (code, template) = firmware()?;
        let kept = |number| self.test.folder().join(format!("firmware-{number}.fd"));
        let variables = kept(number);
        let template = self.firmware_of.map_or(template, kept);
        std::fs::copy(&template, &variables)
            .with_context(|| format!("copy {}", template.display()))?;
        let uki = match self.start {
            Start::Uki => Some(self.image.uki()?),
            _ => None,
        };
        Ok(Load::Firmware {
            code,
            variables,
            uki,
        })
    }
}

/// An emulated timer on a busy host can miss the moment in which the kernel checks that it ticks, and the
/// kernel panics.
const PATIENT: &str = " no_timer_check";

/// A record of writes, sparse, in bytes.
const LONGEST_LOG: u64 = 16 << 30;

/// A machine that runs, until it is dropped.
pub struct Running {
    qemu: Qemu,
    console: Console,
    qmp: Qmp,
    agent: Option<Agent>,
    forwards: Vec<(u16, u16)>,
    number: u32,
    write_log: Option<std::path::PathBuf>,
}

impl Running {
    /// Its serial console.
    #[must_use]
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// The record of the first disk's writes, if it was asked for; whole once the machine is off.
    ///
    /// # Errors
    /// It was not.
    pub fn write_log(&self) -> Result<&std::path::Path> {
        self.write_log
            .as_deref()
            .context("its writes are not recorded")
    }

    /// Its control channel.
    #[must_use]
    pub fn qmp(&self) -> &Qmp {
        &self.qmp
    }

    /// The test channel.
    ///
    /// # Errors
    /// The image has none: only profile `test` does.
    pub fn agent(&self) -> Result<&Agent> {
        self.agent
            .as_ref()
            .context("this image has no test channel: boot one of profile `test`")
    }

    /// The port on the host's loopback that leads to `guest_port`.
    ///
    /// # Errors
    /// It is not forwarded.
    pub fn port(&self, guest_port: u16) -> Result<u16> {
        let found = self.forwards.iter().find(|(_, guest)| *guest == guest_port);
        found
            .map(|(host, _)| *host)
            .with_context(|| format!("guest port {guest_port} is not forwarded"))
    }

    /// Runs a program in the guest, to any end.
    ///
    /// # Errors
    /// It could not be run at all.
    pub fn run<S: AsRef<str>>(&self, argv: impl IntoIterator<Item = S>) -> Result<Output> {
        let owned: Vec<S> = argv.into_iter().collect();
        let argv: Vec<&str> = owned.iter().map(AsRef::as_ref).collect();
        let ran = self.agent()?.run(&argv, b"", DEFAULT_TIMEOUT);
        self.explained(ran)
    }

    /// Runs a program in the guest that must succeed; returns its standard output.
    ///
    /// # Errors
    /// It failed; with what it said.
    pub fn ok<S: AsRef<str>>(&self, argv: impl IntoIterator<Item = S>) -> Result<String> {
        let owned: Vec<S> = argv.into_iter().collect();
        let words: Vec<&str> = owned.iter().map(AsRef::as_ref).collect();
        let output = self.run(words.iter().copied())?;
        if output.code != 0 {
            bail!(
                "`{}` in the guest: exit code {}\n{}{}",
                words.join(" "),
                output.code,
                output.stdout.text(),
                output.stderr.text()
            );
        }
        Ok(output.stdout.text())
    }

    /// Reads a text file of the guest.
    ///
    /// # Errors
    /// As the guest's kernel says.
    pub fn read(&self, path: &str) -> Result<String> {
        let bytes = self.explained(self.agent()?.read(path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Presses the power button.
    ///
    /// # Errors
    /// QEMU refuses.
    pub fn press_power_button(&self) -> Result<()> {
        self.qmp.execute("system_powerdown", json!({})).map(drop)
    }

    /// Waits until the guest has switched the machine off; QEMU is gone then.
    ///
    /// # Errors
    /// The deadline, or a guest oops.
    pub fn wait_off(&mut self, timeout: Duration) -> Result<()> {
        self.console.wait_closed(timeout)?;
        self.qemu.child.wait().context("wait for QEMU")?;
        self.console.check_for_oops()
    }

    /// Cuts the power.
    pub fn cut_power(&mut self) {
        self.qemu.kill();
    }

    /// Whether QEMU still runs.
    pub fn is_on(&mut self) -> bool {
        matches!(self.qemu.child.try_wait(), Ok(None))
    }

    /// Puts a guest oops before any other explanation.
    fn explained<T>(&self, result: Result<T>) -> Result<T> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                self.console.check_for_oops()?;
                Err(error.context(format!(
                    "the console's last lines:\n{}",
                    self.console.tail()
                )))
            }
        }
    }
}
