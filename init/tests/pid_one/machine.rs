//! A host in a box: its own PID and mount namespace, all its files in one temporary folder.
//!
//! The folder holds `services/`, the sockets, the logs, and whatever the roles write.

use init::boot::{Booted, read_services};
use init::console::Console;
use init::floor::Floor;
use init::host::{Host, Places};
use init::journal::Journal;
use init::report::Report;
use init::room::Room;
use init::watchdog::Watchdog;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

/// No promise takes longer; a host that hangs is killed with its namespace.
const LONGEST: Duration = Duration::from_secs(20);

/// What a promise answers.
pub type Outcome = Result<(), String>;

/// Runs the host; the kernel has made this process PID 1 of its namespace.
pub fn run_host(folder: &Path) -> ExitCode {
    fs::write(folder.join("console"), "").unwrap();
    let console = Console::open(&folder.join("console"));
    let mut report = Report::new(console, &folder.join("boot.json"));
    report.stage("init", init::clock::now());
    let services = read_services(&mut report, &folder.join("services"));
    let booted = Booted {
        report,
        watchdog: watchdog(folder),
        uevents: None,
        cgroups: None,
        services,
        floor: floor(folder),
        journal: Some(Journal::new(folder.join("journal"), "", None)),
        room: Room::default(),
        trial: None,
    };
    let places = Places {
        control: folder.join("init.sock"),
        notify: folder.join("notify.sock"),
        status: folder.join("status.json"),
        logs: folder.to_owned(),
        inputs: folder.join("no-inputs"),
        state: folder.join("no-state"),
    };
    let told = crate::orphans::teller(folder);
    Host::open(booted, places, 1).unwrap().run_watched(told)
}

/// How long the box's watchdog lasts without food.
pub const WATCHDOG: Duration = Duration::from_millis(300);

/// A file that grows by a byte whenever it is fed.
fn watchdog(folder: &Path) -> Option<Watchdog> {
    let device = fs::File::create(folder.join("watchdog")).unwrap();
    Some(Watchdog::armed(device, WATCHDOG, init::clock::now()))
}

/// The time was kept a while ago, and is due again where the kernel has run for as long.
fn floor(folder: &Path) -> Floor {
    let seconds = init::clock::epoch_ns() / 1_000_000_000 - 100;
    fs::write(folder.join("time"), seconds.to_string()).unwrap();
    let mut floor = Floor::default();
    floor.keep_at(folder.join("time"), Duration::ZERO);
    floor
}

/// A running host.
pub struct Machine {
    folder: tempfile::TempDir,
    child: Child,
    started: Instant,
}

impl Machine {
    /// Starts a host with these services. In their text `@ROLE name` is this program in that role,
    /// and `@DIR` the machine's folder.
    pub fn start(services: &[(&str, &str)]) -> Self {
        Self::start_by(&[], services)
    }

    /// The same with a command before the host's, such as `setpriv`.
    pub fn start_by(before: &[&str], services: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = std::env::current_exe().unwrap();
        fs::create_dir(folder.path().join("services")).unwrap();
        for (name, text) in services {
            let text = roles_of(text, &own, folder.path());
            let path = folder.path().join(format!("services/{name}.service"));
            fs::write(path, text).unwrap();
        }
        let mut command = Command::new("unshare");
        command.args(["--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]);
        let child = command
            .args(before)
            .arg(&own)
            .arg("host")
            .arg(folder.path())
            .spawn()
            .unwrap();
        Self {
            folder,
            child,
            started: Instant::now(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file's text; empty while it is not there.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Waits until a file holds a text.
    pub fn await_text(&self, name: &str, text: &str) -> Outcome {
        self.await_text_for(LONGEST, name, text)
    }

    /// The same for what takes longer.
    pub fn await_text_for(&self, longest: Duration, name: &str, text: &str) -> Outcome {
        // Looked at once in any case: what came late for one promise is there for the next.
        while !self.read(name).contains(text) {
            if self.started.elapsed() > longest {
                let found = self.read(name);
                let what = format!("expected \"{text}\" in {name}, found \"{found}\"");
                return Err(self.story(&what));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits until the role `name` has said that all is well.
    pub fn await_role(&self, name: &str) -> Outcome {
        self.await_text(name, "\n")?;
        match self.read(name).trim() {
            "ok" => Ok(()),
            other => Err(self.story(other)),
        }
    }

    /// Waits for the end of the host.
    pub fn await_end(&mut self) -> Result<ExitStatus, String> {
        while self.started.elapsed() < LONGEST {
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(self.story("the host did not end"))
    }

    /// What went wrong, with the console.
    pub fn story(&self, what: &str) -> String {
        format!(
            "{what}\nconsole:\n{}status: {}",
            self.read("console"),
            self.read("status.json")
        )
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn roles_of(text: &str, own: &Path, folder: &Path) -> String {
    let folder = folder.display().to_string();
    let line = |line: &str| match line.split_once("@ROLE ") {
        Some((before, role)) => format!("{before}{} role {role} {folder}\n", own.display()),
        None => format!("{}\n", line.replace("@DIR", &folder)),
    };
    text.lines().map(line).collect()
}
