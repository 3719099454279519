//! QEMU's command line, as a value: what a machine is made of → arguments.
//!
//! It starts nothing and touches no file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The date at power-on of machines that count instructions: the same in every run.
const COUNTED_FROM: &str = "2026-12-01T00:00:00";

/// Where the first instruction comes from.
#[derive(Debug, Clone)]
pub enum Load {
    /// QEMU loads kernel and initramfs.
    Direct {
        /// `vmlinuz`.
        kernel: PathBuf,
        /// The initramfs.
        initrd: Option<PathBuf>,
        /// The kernel's command line.
        command_line: String,
    },
    /// Firmware; it takes the first disk, or the UKI that it is handed.
    Firmware {
        /// `OVMF_CODE`, read only.
        code: PathBuf,
        /// This machine's own copy of `OVMF_VARS`.
        variables: PathBuf,
        /// A UKI for `-kernel`.
        uki: Option<PathBuf>,
    },
}

impl Load {
    /// With `-kernel`, that is what is booted, and QEMU gives it the first place in the order.
    fn takes_a_disk(&self) -> bool {
        matches!(self, Self::Firmware { uki: None, .. })
    }
}

/// A raw disk.
#[derive(Debug, Clone)]
pub struct Drive {
    /// Its file.
    pub path: PathBuf,
    /// Whether it refuses writes.
    pub read_only: bool,
}

/// A machine's parts.
#[derive(Debug, Clone)]
pub struct Parts {
    /// `tcg` or `kvm`.
    pub accelerator: &'static str,
    /// Memory in MiB.
    pub memory: u32,
    /// Firmware or not.
    pub load: Load,
    /// Raw disks, in the order in which the firmware tries them.
    pub disks: Vec<Drive>,
    /// Bytes that a disk may move in a second, if it is slow.
    pub throttle: Option<u64>,
    /// TCP: (port on the host's loopback, port in the guest).
    pub forwards: Vec<(u16, u16)>,
    /// The socket at which the harness waits for the console.
    pub console: PathBuf,
    /// The same for QMP.
    pub qmp: PathBuf,
    /// The same for the agent, if the image has one.
    pub agent: Option<PathBuf>,
    /// Whether the machine has a watchdog that resets it.
    pub watchdog: bool,
    /// What its clock says at power-on, if not this host's time.
    pub clock: Option<String>,
    /// Entries of the firmware configuration: name and file.
    pub handed_over: Vec<(String, PathBuf)>,
    /// The machine's serial number, as SMBIOS tells it.
    pub serial_number: Option<String>,
    /// One nanosecond an instruction; only while the guest waits does its clock run with this host's.
    pub counted: bool,
    /// Where the first disk's writes are recorded, if they are.
    pub write_log: Option<PathBuf>,
}

/// The arguments, without QEMU's own name.
#[must_use]
pub fn arguments(parts: &Parts) -> Vec<OsString> {
    let mut line = Line::default();
    line.option("-machine", format!("q35,accel={}", parts.accelerator));
    let cpu = if parts.accelerator == "kvm" {
        "host"
    } else {
        "qemu64"
    };
    line.option("-cpu", cpu);
    line.option("-smp", "1");
    line.option("-m", parts.memory.to_string());
    line.option("-display", "none");
    line.flag("-nodefaults");
    line.flag("-no-user-config");
    line.socket("console", &parts.console);
    line.option("-serial", "chardev:console");
    line.socket("qmp", &parts.qmp);
    line.option("-mon", "chardev=qmp,mode=control");
    network(&mut line, &parts.forwards);
    for (number, disk) in parts.disks.iter().enumerate() {
        drive(&mut line, number, disk, parts);
    }
    if let Some(agent) = &parts.agent {
        line.socket("agent", agent);
        line.option("-device", "virtio-serial-pci");
        let port = crate::protocol::PORT;
        line.option(
            "-device",
            format!("virtserialport,chardev=agent,name={port}"),
        );
    }
    for (name, file) in &parts.handed_over {
        let file = escaped(file);
        line.option("-fw_cfg", format!("name={name},file={file}"));
    }
    if let Some(serial) = &parts.serial_number {
        let serial = serial.replace(',', ",,");
        line.option("-smbios", format!("type=1,serial={serial}"));
    }
    if parts.watchdog {
        line.option("-device", "i6300esb");
        line.option("-action", "watchdog=reset");
    }
    if parts.counted {
        // Not `sleep=off`: there a wait for the disk jumps to the guest's next timer, a minute at times.
        line.option("-icount", "shift=0,sleep=on");
        let base = parts.clock.as_deref().unwrap_or(COUNTED_FROM);
        line.option("-rtc", format!("clock=vm,base={base}"));
    } else if let Some(clock) = &parts.clock {
        line.option("-rtc", format!("base={clock}"));
    }
    load(&mut line, &parts.load);
    line.0
}

fn network(line: &mut Line, forwards: &[(u16, u16)]) {
    let mut user = "user,id=net0".to_owned();
    for (host, guest) in forwards {
        user += &format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}");
    }
    line.option("-netdev", user);
    line.option("-device", "virtio-net-pci,netdev=net0,romfile=");
}

fn drive(line: &mut Line, number: usize, disk: &Drive, parts: &Parts) {
    let file = escaped(&disk.path);
    if let (0, Some(log)) = (number, &parts.write_log) {
        let node = |name, file| format!("driver=file,node-name={name},filename={file}");
        line.option("-blockdev", node("written", file));
        line.option("-blockdev", node("log", escaped(log)));
        // Sectors as disks write them whole; no discards, which say nothing of what they leave.
        let logged = "driver=blklogwrites,node-name=disk0,file=written,log=log,log-sector-size=512,log-super-update-interval=1";
        line.option("-blockdev", logged);
        return device(line, number, parts);
    }
    let mut drive = format!("if=none,id=disk{number},format=raw,discard=unmap,file={file}");
    if parts.counted {
        // This host's disk has no say in what is counted: a flush answers at once.
        drive += ",cache=unsafe";
    }
    if disk.read_only {
        drive += ",readonly=on";
    }
    if let Some(rate) = parts.throttle {
        drive += &format!(",throttling.bps-total={rate}");
    }
    line.option("-drive", drive);
    device(line, number, parts);
}

fn device(line: &mut Line, number: usize, parts: &Parts) {
    let mut device = format!("virtio-blk-pci,drive=disk{number}");
    if parts.load.takes_a_disk() {
        device += &format!(",bootindex={number}");
    }
    line.option("-device", device);
}

fn load(line: &mut Line, load: &Load) {
    match load {
        Load::Direct {
            kernel,
            initrd,
            command_line,
        } => {
            line.option("-kernel", kernel);
            if let Some(initrd) = initrd {
                line.option("-initrd", initrd);
            }
            line.option("-append", command_line);
        }
        Load::Firmware {
            code,
            variables,
            uki,
        } => {
            let (code, variables) = (escaped(code), escaped(variables));
            line.option(
                "-drive",
                format!("if=pflash,unit=0,format=raw,readonly=on,file={code}"),
            );
            line.option(
                "-drive",
                format!("if=pflash,unit=1,format=raw,file={variables}"),
            );
            if let Some(uki) = uki {
                line.option("-kernel", uki);
            }
        }
    }
}

#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
    fn flag(&mut self, name: &str) {
        self.0.push(name.into());
    }

    fn option(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.push(name.into());
        self.0.push(value.into());
    }

    /// QEMU connects to the harness, not the other way round: then nothing is lost and nobody waits
    /// for a socket to appear.
    fn socket(&mut self, id: &str, path: &Path) {
        let path = escaped(path);
        self.option("-chardev", format!("socket,id={id},server=off,path={path}"));
    }
}

/// A comma separates QEMU's options; a doubled one is a comma.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(path: &str) -> Drive {
        Drive {
            path: path.into(),
            read_only: false,
        }
    }

    fn parts() -> Parts {
        Parts {
            accelerator: "tcg",
            memory: 512,
            load: Load::Firmware {
                code: "/c".into(),
                variables: "/a,b".into(),
                uki: None,
            },
            disks: ["/d0", "/d1"].map(disk).into(),
            throttle: None,
            forwards: vec![(40000, 80)],
            console: "/console".into(),
            qmp: "/qmp".into(),
            agent: None,
            watchdog: false,
            clock: None,
            handed_over: Vec::new(),
            serial_number: None,
            counted: false,
            write_log: None,
        }
    }

    fn text(parts: &Parts) -> String {
        let words = arguments(parts);
        let words: Vec<_> = words.iter().map(|w| w.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn the_first_disk_is_tried_first_and_a_comma_in_a_path_is_no_option() {
        let text = text(&parts());
        assert!(text.contains("drive=disk0,bootindex=0"), "{text}");
        assert!(text.contains("drive=disk1,bootindex=1"), "{text}");
        assert!(text.contains("file=/a,,b"), "{text}");
    }

    #[test]
    fn ports_are_open_on_the_loopback_only() {
        let text = text(&parts());
        assert!(text.contains("hostfwd=tcp:127.0.0.1:40000-:80"), "{text}");
    }

    #[test]
    fn a_counted_machine_has_no_clock_but_its_instructions() {
        let counted = Parts {
            counted: true,
            ..parts()
        };
        assert!(text(&counted).contains("-icount shift=0,sleep=on -rtc clock=vm,base=20"));
    }

    #[test]
    fn only_an_image_with_an_agent_gets_the_channel() {
        assert!(!text(&parts()).contains("virtserialport"));
        let with = Parts {
            agent: Some("/agent".into()),
            ..parts()
        };
        assert!(text(&with).contains("virtserialport,chardev=agent,name=skeg.test"));
    }
}
