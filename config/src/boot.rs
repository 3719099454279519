//! `skeg config boot`, once at each boot, before any unit starts: is there a configuration, is it the
//! accepted one, and if not, is it good?
//!
//! A host that has an accepted one never waits for a source and never loses it; one that has none waits
//! until it is given a good one, and says on every console why it has not.

use crate::http::Settings;
use crate::kept::{self, Accepted};
use crate::resource::sha256;
use crate::source::{self, Document};
use crate::translate::{Host, Resolved, resolve};
use crate::tree::Tree;
use crate::web::Web;
use formats::paths;
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How long a host that has an accepted configuration waits for what a new one points at.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a source whose configuration is bad, or that does not answer.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// Errors that are shown on consoles; `skeg config check` shows all of them.
const MOST_TOLD: usize = 20;

/// Runs to its end, which may take for ever on a host that has no good configuration yet. PID 1 starts it,
/// with the view of the files that its service asks for.
#[must_use]
pub fn main() -> ExitCode {
    let ended = match kept::accepted(&kept::Places::default()) {
        Ok(Some(accepted)) if accepted.says_something() => later(&accepted),
        Ok(_) => first(),
        // What it was cannot be read; what PID 1 made of it stands.
        Err(text) => {
            degraded("unreadable", &text);
            return ExitCode::SUCCESS;
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            degraded("not-applied", &e.to_string());
            ExitCode::FAILURE
        }
    }
}

/// A host with an accepted configuration: only what the hypervisor hands over is looked at.
fn later(accepted: &Accepted) -> io::Result<()> {
    let document = match source::handed_over(&source::Places::default()) {
        Ok(Some(document)) => document,
        Ok(None) => return Ok(()),
        Err(text) => {
            degraded("refused", &text);
            return Ok(());
        }
    };
    let digest = Some(sha256(&document.bytes));
    if accepted.config.digest == digest {
        return Ok(());
    }
    let settings = Settings {
        total: Some(PATIENCE),
        ..Settings::default()
    };
    let resolved = resolve_for(&document, Some(accepted), settings);
    match &resolved.tree {
        Some(tree) => apply(&document, tree, Some(accepted), &resolved),
        None => {
            let errors = resolved.errors();
            errors.iter().take(MOST_TOLD).for_each(|error| cry(error));
            let first = errors.first().map_or("", String::as_str);
            let text =
                format!("the accepted configuration stays, since the new one has errors: {first}");
            degraded("refused", &text);
            Ok(())
        }
    }
}

/// A host without any: until a good one is there, or nobody has one for it.
fn first() -> io::Result<()> {
    let mut pause = PAUSES.0;
    let mut told = Vec::new();
    loop {
        let errors = match source::given(&places(), &patient()) {
            Ok(None) => {
                status("no configuration was given to this host");
                return Ok(());
            }
            Ok(Some(document)) => {
                let resolved = resolve_for(&document, None, patient());
                match &resolved.tree {
                    Some(tree) => return apply(&document, tree, None, &resolved),
                    None => resolved.errors(),
                }
            }
            Err(text) => vec![text],
        };
        if errors != told {
            errors.iter().take(MOST_TOLD).for_each(|error| cry(error));
            cry("no unit starts before this is mended: the source is tried again");
            degraded("missing", errors.first().map_or("", String::as_str));
            told = errors;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// PID 1 has given this program a view of its own, in which `/etc` can be written to.
fn places() -> source::Places {
    source::Places {
        is_apart: true,
        ..source::Places::default()
    }
}

/// Long enough for a network to come up; what fails is told, and asked again.
fn patient() -> Settings {
    Settings {
        total: Some(PATIENCE),
        ..Settings::default()
    }
}

/// Resolves a document for this host.
pub fn resolve_for(
    document: &Document,
    earlier: Option<&Accepted>,
    settings: Settings,
) -> Resolved {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let host = Host {
        image_passwd: read(paths::ACCOUNTS),
        image_group: read(paths::GROUPS),
        earlier_passwd: earlier.map(|e| e.passwd.clone()).unwrap_or_default(),
        earlier_group: earlier.map(|e| e.group.clone()).unwrap_or_default(),
    };
    let mut web = Web { settings };
    resolve(&document.name, &document.bytes, &host, &mut web)
}

/// Keeps the tree as the accepted one, and makes it this boot's.
fn apply(
    document: &Document,
    tree: &Tree,
    earlier: Option<&Accepted>,
    resolved: &Resolved,
) -> io::Result<()> {
    let places = kept::Places::default();
    let appended = kept::appended(&places);
    let config = kept::accept(&places, document, tree)?;
    resolved
        .notes()
        .iter()
        .for_each(|note| eprintln!("<5>{note}"));
    let gone = earlier.map(|e| e.paths.as_slice()).unwrap_or_default();
    for path in gone.iter().filter(|path| !tree.entries.contains_key(*path)) {
        let _ = fs::remove_file(path);
    }
    for (path, bytes) in appended {
        take_back(&path, &bytes)?;
    }
    kept::lay_over(&places.root, tree, "/etc/")?;
    if let Some(name) = config.hostname.filter(|name| is_hostname(name)) {
        nix::unistd::sethostname(name)?;
    }
    let text = format!("generation {} from {}", config.generation, config.source);
    eprintln!("<6>applied {text}");
    status(&text);
    Ok(())
}

/// What PID 1 has put at the end of a file at this boot, for the configuration before.
fn take_back(path: &str, bytes: &[u8]) -> io::Result<()> {
    let Ok(there) = fs::read(path) else {
        return Ok(());
    };
    match there.strip_suffix(bytes) {
        Some([]) => fs::remove_file(path),
        Some(rest) if !bytes.is_empty() => {
            let file = fs::OpenOptions::new().write(true).open(path)?;
            file.set_len(rest.len() as u64)
        }
        _ => Ok(()),
    }
}

fn is_hostname(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    (1..=64).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with(['-', '.'])
}

/// An error, for the journal and every console: whoever stands before the machine must see it.
///
/// PID 1 shows it on the one that is `/dev/console`, which is the last that is listed.
fn cry(text: &str) {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    eprintln!("<3>{text}");
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let names: Vec<&str> = active.split_whitespace().collect();
    for name in names.iter().rev().skip(1) {
        let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if let Ok(console) = rustix::fs::open(Path::new("/dev").join(name), flags, Mode::empty()) {
            let line = format!("skeg: config: {text}\r\n");
            let _ = fs::File::from(console).write_all(line.as_bytes());
        }
    }
}

fn status(text: &str) {
    notify(&format!("STATUS={text}"));
}

/// A degraded state of the host, by name.
fn degraded(name: &str, text: &str) {
    let text: String = text.chars().filter(|c| !c.is_control()).take(400).collect();
    notify(&format!(
        "STATUS={}{name}: {text}",
        formats::notify::DEGRADED
    ));
}

fn notify(message: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Ok(socket) = std::os::unix::net::UnixDatagram::unbound() {
        let _ = socket.send_to(message.as_bytes(), path);
    }
}
