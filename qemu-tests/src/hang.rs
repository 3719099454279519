//! Hangs: PID 1 frozen, PID 1 in an endless loop, the kernel in one. Made from outside, in the
//! programs that ship: the loop is two bytes in memory, `jmp` to itself.
//!
//! Nothing of this survives the reset that it is for.

use crate::machine::Running;
use crate::protocol::hex;
use crate::scene::eventually;
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// x86's `jmp` to itself.
const LOOP: [u8; 2] = [0xeb, 0xfe];
/// Where the kernel's half of the address space begins.
const KERNEL_HALF: u64 = 0xffff_8000_0000_0000;
/// The flag by which x86 takes interrupts.
const INTERRUPTS: u32 = 0x200;
const PATIENCE: Duration = Duration::from_secs(30);
/// Any signal that PID 1 reads wakes it.
const SIGCHLD: i32 = 17;

impl Running {
    /// Freezes PID 1 by a cgroup.
    ///
    /// # Errors
    /// As the guest's kernel says.
    pub fn freeze_pid_one(&self) -> Result<()> {
        let group = "/sys/fs/cgroup/skeg.slice/net";
        let agent = self.agent()?;
        agent.write(&format!("{group}/cgroup.procs"), b"1")?;
        agent.write(&format!("{group}/cgroup.freeze"), b"1")
    }

    /// Lets PID 1 return from the wait that it is in to an endless loop.
    ///
    /// # Errors
    /// As the guest's kernel says.
    pub fn spin_pid_one(&self) -> Result<()> {
        let agent = self.agent()?;
        let waits = || {
            let state = self.read("/proc/1/syscall")?;
            let at = state.split_whitespace().nth(8).context("it runs")?;
            u64::from_str_radix(at.trim_start_matches("0x"), 16).context("no address")
        };
        let at = eventually("PID 1 waits", PATIENCE, waits)?;
        agent.patch("/proc/1/mem", at, &LOOP)?;
        agent.kill(1, SIGCHLD)
    }

    /// Puts the kernel into an endless loop in which it still takes interrupts: a soft lockup.
    ///
    /// # Errors
    /// QEMU refuses, or the machine is never found in such a place.
    pub fn lock_up_kernel(&self) -> Result<()> {
        let folder = tempfile::Builder::new().prefix("skeg-").tempdir()?;
        let path = folder.path().join("debugger");
        let stub = format!("gdbserver unix:{},server=on,wait=off", path.display());
        let command = json!({"command-line": stub});
        self.qmp().execute("human-monitor-command", command)?;
        eventually("the kernel idles", PATIENCE, || {
            let stream = UnixStream::connect(&path).context("connect to QEMU's debugger")?;
            let mut debugger = Debugger { stream };
            let looped = loop_here(&mut debugger);
            debugger.ask("D")?;
            looped
        })
    }
}

fn loop_here(debugger: &mut Debugger) -> Result<()> {
    let registers = debugger.ask("g")?;
    // Sixteen of eight bytes, then the instruction pointer, then the flags, least byte first.
    let number = |at: usize, length: usize| {
        let digits = registers.get(at * 2..(at + length) * 2);
        let number = u64::from_str_radix(digits.context("short")?, 16).context("no digits")?;
        anyhow::Ok(number.swap_bytes() >> (64 - 8 * length))
    };
    let (at, flags) = (number(128, 8)?, u32::try_from(number(136, 4)?)?);
    ensure!(at >= KERNEL_HALF, "a program runs at {at:#x}");
    ensure!(flags & INTERRUPTS != 0, "no interrupts at {at:#x}");
    let answer = debugger.ask(&format!("M{at:x},2:{}", hex(&LOOP)))?;
    ensure!(answer == "OK", "write to {at:#x}: {answer}");
    Ok(())
}

/// QEMU's debugger, by GDB's remote serial protocol. The machine stands still while it is connected.
struct Debugger {
    stream: UnixStream,
}

impl Debugger {
    fn ask(&mut self, request: &str) -> Result<String> {
        let sum = request.bytes().fold(0u8, u8::wrapping_add);
        self.stream.set_read_timeout(Some(PATIENCE))?;
        write!(self.stream, "+${request}#{sum:02x}").context("write to QEMU's debugger")?;
        loop {
            let answer = self.packet()?;
            // That the machine has stopped for us is told unasked.
            if !answer.starts_with('T') {
                return Ok(answer);
            }
        }
    }

    fn packet(&mut self) -> Result<String> {
        let (mut answer, mut inside) = (String::new(), false);
        loop {
            let mut byte = [0];
            let read = self.stream.read(&mut byte).context("QEMU's debugger")?;
            match (read, byte[0]) {
                (0, _) => bail!("QEMU's debugger closed the connection"),
                (_, b'$') => inside = true,
                (_, b'#') if inside => break,
                (_, other) if inside => answer.push(other.into()),
                _ => {}
            }
        }
        // Two digits of a checksum, on a socket that loses nothing.
        self.stream.read_exact(&mut [0; 2])?;
        self.stream.write_all(b"+")?;
        Ok(answer)
    }
}
