//! Runs programs so that a person sees that something happens: what, and for how long.
//!
//! On a terminal one line that ticks; elsewhere plain lines. A quiet program's output is kept in a
//! file and shown only when it fails; its own warnings are shown in any case.

use crate::{Outcome, place};
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often the line on a terminal ticks, and how often plain lines say "still".
const TICK: Duration = Duration::from_millis(100);
const STILL: Duration = Duration::from_secs(15);
/// Lines of a failed program that are shown.
const SHOWN: usize = 40;

/// Runs a program quietly. `what` completes the sentence "…: what it does", e.g. `build skeg`.
pub fn quietly(what: &str, command: &mut Command) -> Outcome<()> {
    let log = log_file(what)?;
    let open = || File::create(&log.0).map_err(|e| format!("create {}: {e}", log.1));
    let output = open()?;
    let errors = output
        .try_clone()
        .map_err(|e| format!("clone {}: {e}", log.1))?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let status = ticking(what, command)?;
    let text = std::fs::read_to_string(&log.0).unwrap_or_default();
    if status.success() {
        warnings(&text).for_each(|warning| println!("  {warning}"));
        return Ok(());
    }
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
    Err(format!("{what}: {status}\n{tail}\nwhole output: {}", log.1))
}

/// What a program that succeeded still wants to be read, e.g. that a pinned version is gone.
fn warnings(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| line.contains(": WARNING"))
}

fn log_file(what: &str) -> Outcome<(std::path::PathBuf, String)> {
    let folder = place::logs();
    std::fs::create_dir_all(&folder).map_err(|e| format!("create {}: {e}", folder.display()))?;
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = what.chars().map(plain).collect();
    let path = folder.join(format!("{name}.log"));
    let shown = path.display().to_string();
    Ok((path, shown))
}

/// Starts a program and shows the time until it ends.
fn ticking(what: &str, command: &mut Command) -> Outcome<ExitStatus> {
    let start = Instant::now();
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .spawn()
        .map_err(|e| format!("{what}: start {name}: {e}"))?;
    let (done, ended) = mpsc::channel();
    let waiter = std::thread::spawn(move || {
        let status = child.wait();
        let _ = done.send(());
        status
    });
    show_until(what, start, &ended);
    let status = waiter
        .join()
        .map_err(|_| format!("{what}: the waiting thread panicked"))?
        .map_err(|e| format!("{what}: wait for {name}: {e}"))?;
    finish(what, start, status.success());
    Ok(status)
}

fn show_until(what: &str, start: Instant, ended: &mpsc::Receiver<()>) {
    let terminal = std::io::stdout().is_terminal();
    let mut next = STILL;
    if !terminal {
        println!("  {what} …");
    }
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(TICK) {
        let elapsed = start.elapsed();
        if terminal {
            let mark = ['|', '/', '-', '\\'][(elapsed.as_millis() / 100 % 4) as usize];
            print!("\r\x1b[K{mark} {what} … {} s", elapsed.as_secs());
            let _ = std::io::stdout().flush();
        } else if elapsed >= next {
            println!("  {what} … still, {} s", elapsed.as_secs());
            next += STILL;
        }
    }
}

fn finish(what: &str, start: Instant, good: bool) {
    let clear = if std::io::stdout().is_terminal() {
        "\r\x1b[K"
    } else {
        ""
    };
    let mark = if good { "✓" } else { "✗" };
    println!(
        "{clear}{mark} {what} ({:.1} s)",
        start.elapsed().as_secs_f64()
    );
}

/// Runs a program whose output everybody sees, and hands each line of it to `look`.
pub fn loudly(what: &str, command: &mut Command, mut look: impl FnMut(&str)) -> Outcome<bool> {
    println!("\n── {what}");
    let start = Instant::now();
    let (reader, writer) = std::io::pipe().map_err(|e| format!("{what}: make a pipe: {e}"))?;
    let errors = writer
        .try_clone()
        .map_err(|e| format!("{what}: clone a pipe: {e}"))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .spawn()
        .map_err(|e| format!("{what}: {e}"))?;
    // The command holds the pipe's writing ends: without this the reader would never see its end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    each_line(reader, |line| {
        println!("{line}");
        look(line);
    });
    let status = child.wait().map_err(|e| format!("{what}: wait: {e}"))?;
    finish(what, start, status.success());
    Ok(status.success())
}

fn each_line(source: impl Read, mut take: impl FnMut(&str)) {
    let mut reader = BufReader::new(source);
    let mut line = Vec::new();
    while let Ok(n) = reader.read_until(b'\n', &mut line) {
        if n == 0 {
            return;
        }
        take(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        line.clear();
    }
}
