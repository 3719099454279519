//! The guest's end of the test channel: does what the host's tests ask, as root.
//!
//! It is in images of profile `test` only, and never in one that anybody else runs.

use qemu_tests::protocol::{Answer, Bytes, Call, Outcome, Output, PORT, Request, Stat};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["write", rate, stop, tally] => write(rate, stop, tally),
        ["exit", folder] => match qemu_tests::exits::once(folder.as_ref()) {
            Ok(code) => return ExitCode::from(code),
            Err(error) => Err(error),
        },
        ["drive", container, folder, count] => drive(container, folder, count),
        ["relay", port, socket] => port
            .parse()
            .map_err(io::Error::other)
            .and_then(|port| qemu_tests::relay::hand_on(port, socket.as_ref())),
        ["read-back", container] => read_back(container),
        ["misbehave", kind] => match qemu_tests::misbehave::run(kind) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        ["probe", pid, other, filter, writable] => probe(pid, other, filter, writable),
        _ => serve(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(rate: &str, stop: &str, tally: &str) -> io::Result<()> {
    let rate = rate.parse().map_err(io::Error::other)?;
    qemu_tests::writer::write(rate, stop.as_ref(), tally.as_ref())
}

fn drive(container: &str, folder: &str, count: &str) -> io::Result<()> {
    let count = count.parse().map_err(io::Error::other)?;
    qemu_tests::exits::drive(container, folder.as_ref(), count)
}

fn read_back(container: &str) -> io::Result<()> {
    let tally = qemu_tests::writer::read_back(container)?;
    println!("{}", serde_json::to_string(&tally)?);
    Ok(())
}

fn probe(pid: &str, other: &str, filter: &str, writable: &str) -> io::Result<()> {
    let number = |text: &str| text.parse().map_err(io::Error::other);
    let said = qemu_tests::probe::run(number(pid)?, number(other)?, filter, writable)?;
    io::stdout().write_all(said.as_bytes())
}

fn serve() -> io::Result<()> {
    let path = find_port()?;
    let port = OpenOptions::new().read(true).write(true).open(&path);
    let port = port.map_err(|e| io::Error::other(format!("open {}: {e}", path.display())))?;
    let writer = Arc::new(Mutex::new(port.try_clone()?));
    ready()?;
    let mut lines = BufReader::new(port);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Err(io::Error::other("the host closed the channel"));
        }
        let writer = writer.clone();
        std::thread::spawn(move || answer(&line, &writer));
    }
}

/// The port's device: sysfs names the ports, devtmpfs makes the nodes.
fn find_port() -> io::Result<PathBuf> {
    for entry in fs::read_dir("/sys/class/virtio-ports")? {
        let entry = entry?;
        let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if name.trim() == PORT {
            return Ok(Path::new("/dev").join(entry.file_name()));
        }
    }
    Err(io::Error::other(format!(
        "no virtio-serial port named {PORT} in /sys/class/virtio-ports"
    )))
}

/// `READY=1`, as `sd_notify(3)` has it.
fn ready() -> io::Result<()> {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    UnixDatagram::unbound()?
        .send_to(b"READY=1", socket)
        .map(drop)
}

fn answer(line: &str, writer: &Mutex<File>) {
    let (id, outcome) = match serde_json::from_str::<Request>(line) {
        Ok(request) => {
            let outcome = act(request.call).unwrap_or_else(|e| Outcome::Error(e.to_string()));
            (request.id, outcome)
        }
        Err(error) => (0, Outcome::Error(error.to_string())),
    };
    let Ok(text) = serde_json::to_string(&Answer { id, outcome }) else {
        return;
    };
    if let Ok(mut port) = writer.lock()
        && let Err(error) = port.write_all(format!("{text}\n").as_bytes())
    {
        eprintln!("agent: write to the channel: {error}");
    }
}

fn act(call: Call) -> io::Result<Outcome> {
    match call {
        Call::Run {
            argv,
            stdin,
            timeout_ms,
        } => run(&argv, stdin, Duration::from_millis(timeout_ms)).map(Outcome::Ran),
        Call::Read { path } => fs::read(path).map(|bytes| Outcome::Content(Bytes(bytes))),
        Call::Write { path, bytes } => fs::write(path, bytes.0).map(|()| Outcome::Done),
        Call::Remove { path } => fs::remove_file(path).map(|()| Outcome::Done),
        Call::Patch { path, at, bytes } => {
            let file = OpenOptions::new().write(true).open(path)?;
            file.write_all_at(&bytes.0, at).map(|()| Outcome::Done)
        }
        Call::Kill { pid, signal } => kill(pid, signal).map(|()| Outcome::Done),
        Call::KillAmid { pid, signal, pipes } => {
            kill_amid(pid, signal, &pipes).map(Outcome::Pending)
        }
        Call::Stat { path } => stat(&path).map(Outcome::Stat),
        Call::List { path } => list(&path).map(Outcome::Names),
        Call::Link { path } => {
            fs::read_link(path).map(|to| Outcome::Names(vec![to.to_string_lossy().into_owned()]))
        }
    }
}

fn kill(pid: i32, signal: i32) -> io::Result<()> {
    use nix::sys::signal::{Signal, kill};
    let signal = Signal::try_from(signal)?;
    kill(nix::unistd::Pid::from_raw(pid), signal).map_err(io::Error::from)
}

/// Waits a while for something to lie in a pipe. Nothing comes between that look and the signal.
fn kill_amid(pid: i32, signal: i32, pipes: &[String]) -> io::Result<Vec<u64>> {
    let open = |path: &String| OpenOptions::new().read(true).open(path);
    let pipes = pipes.iter().map(open).collect::<io::Result<Vec<_>>>()?;
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut pending = vec![0; pipes.len()];
    while Instant::now() < deadline {
        for (pipe, bytes) in pipes.iter().zip(&mut pending) {
            *bytes = rustix::io::ioctl_fionread(pipe)?;
            if *bytes > 0 {
                kill(pid, signal)?;
                return Ok(pending);
            }
        }
    }
    kill(pid, signal)?;
    Ok(pending)
}

fn stat(path: &str) -> io::Result<Stat> {
    let found = fs::symlink_metadata(path)?;
    let kind = match found.file_type() {
        t if t.is_file() => "file",
        t if t.is_dir() => "folder",
        t if t.is_symlink() => "link",
        _ => "other",
    };
    Ok(Stat {
        kind: kind.to_owned(),
        mode: found.mode() & 0o7777,
        size: found.len(),
        uid: found.uid(),
    })
}

fn list(path: &str) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(path)?;
    let mut names = entries
        .map(|e| Ok(e?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn run(argv: &[String], stdin: Bytes, timeout: Duration) -> io::Result<Output> {
    let [program, arguments @ ..] = argv else {
        return Err(io::Error::other("no program named"));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| io::Error::other(format!("start {program}: {e}")))?;
    if let Some(mut pipe) = child.stdin.take() {
        std::thread::spawn(move || pipe.write_all(&stdin.0));
    }
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let status = wait(&mut child, timeout)?;
    Ok(Output {
        code: status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        stdout: collect(&stdout),
        stderr: collect(&stderr),
    })
}

/// Waits for the end of the program, or ends it at the deadline.
fn wait(child: &mut Child, timeout: Duration) -> io::Result<std::process::ExitStatus> {
    let deadline = Instant::now() + timeout;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other(format!(
                "still running after {} ms, killed",
                timeout.as_millis()
            )));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Reads a pipe to its end on a thread, piece by piece, so that a grandchild which keeps the pipe
/// open cannot hold back what was said before.
fn drain(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let Some(mut pipe) = pipe else { return };
        let mut buffer = [0; 64 * 1024];
        while let Ok(n) = pipe.read(&mut buffer) {
            if n == 0 || sender.send(buffer[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn collect(pieces: &Receiver<Vec<u8>>) -> Bytes {
    let mut all = Vec::new();
    while let Ok(piece) = pieces.recv_timeout(Duration::from_secs(1)) {
        all.extend(piece);
    }
    Bytes(all)
}
