//! Requests on the socket, answered by the deciding thread.
//!
//! A client that does not read, or sends no request, costs a thread of its own and no more.

use super::{Daemon, Input, last_words, now};
use crate::esp::slots::Slots;
use crate::machine::{Ask, Event};
use formats::update::{MAX_LINE, Outcome, Phase, Reply, Request, Status};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// A client that is silent for so long is disconnected.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listens on a thread of its own.
///
/// # Errors
/// As bind(2).
pub(super) fn listen(path: &Path, inputs: Sender<Input>) -> io::Result<()> {
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    std::thread::Builder::new().spawn(move || {
        for stream in listener.incoming().flatten() {
            let inputs = inputs.clone();
            let _ = std::thread::Builder::new().spawn(move || serve(&stream, &inputs));
        }
    })?;
    Ok(())
}

fn serve(mut stream: &UnixStream, inputs: &Sender<Input>) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let mut line = String::new();
    let mut reader = BufReader::new(stream).take(MAX_LINE as u64);
    reader.read_line(&mut line).ok()?;
    let (sender, replies) = channel();
    match serde_json::from_slice(line.as_bytes()) {
        Ok(request) => inputs.send(Input::Request(request, sender)).ok()?,
        Err(e) => {
            let text = format!("not a request: {e}");
            let _ = sender.send(Reply::Refused { text });
        }
    }
    for reply in replies {
        let mut text = serde_json::to_string(&reply).ok()?;
        text.push('\n');
        stream.write_all(text.as_bytes()).ok()?;
        if !matches!(reply, Reply::Progress(_)) {
            break;
        }
    }
    Some(())
}

impl Daemon {
    pub(super) fn request(&mut self, request: Request, client: Sender<Reply>) {
        let ask = match request {
            Request::Status => return drop(client.send(Reply::Status(self.status()))),
            Request::History => {
                self.recollect();
                let entries = self.machine.memory.history.clone();
                return drop(client.send(Reply::History { entries }));
            }
            Request::Check => Ask::Check,
            Request::Apply => Ask::Apply,
            Request::Reboot => Ask::Reboot,
            Request::Pin { version } => Ask::Pin(version),
            Request::Cancel => Ask::Cancel,
            Request::Rollback => match self.slots.as_ref().and_then(Slots::last_good) {
                Some(slot) => Ask::Rollback {
                    to: slot.uki.version,
                },
                None => {
                    let text = "no other release on the ESP was found good".to_owned();
                    return drop(client.send(Reply::Refused { text }));
                }
            },
        };
        match self.machine.step(Event::Ask(ask), now()) {
            Err(text) => drop(client.send(Reply::Refused { text })),
            Ok(effects) => {
                match ask {
                    Ask::Check => self.lookers.push(client),
                    Ask::Apply => self.watchers.push(client),
                    _ => drop(client.send(Reply::Done { text: said(ask) })),
                }
                self.carry_out(effects);
            }
        }
    }

    /// Answers those who waited for this event.
    pub(super) fn answer(&mut self, event: &Event) {
        let refused = |text: String| Reply::Refused { text };
        let problem = || self.problem.clone().unwrap_or_default();
        let reply = match event {
            Event::Offered(Some(version)) => Reply::Done {
                text: format!("release {version} was found"),
            },
            Event::Offered(None) => Reply::Done {
                text: format!("{} is the newest", self.machine.running),
            },
            Event::CheckFailed => refused(problem()),
            Event::Staged => Reply::Done {
                text: "staged; it is tried at the next boot".into(),
            },
            Event::StageFailed(text) => refused(text.clone()),
            _ => return,
        };
        let found = matches!(event, Event::Offered(Some(_)));
        let mut waiting = Vec::new();
        match event {
            Event::Staged | Event::StageFailed(_) => waiting.append(&mut self.watchers),
            // Nothing to stage: those who wait for a staging are told so, too.
            _ => {
                waiting.append(&mut self.lookers);
                if !found {
                    waiting.append(&mut self.watchers);
                }
            }
        }
        for client in waiting {
            let _ = client.send(reply.clone());
        }
    }

    /// PID 1 takes what a crash left in the firmware over with its first write to the journal, which may
    /// come after the verdict.
    fn recollect(&mut self) {
        let running = self.machine.running;
        let Some(entry) = self.machine.memory.history.last_mut() else {
            return;
        };
        let failed = matches!(entry.outcome, Outcome::RolledBack | Outcome::Inconclusive);
        if !failed || !entry.lines.is_empty() || entry.running != running {
            return;
        }
        let journal = Path::new(formats::paths::JOURNAL);
        entry.lines = last_words::of(journal, entry.version, &self.boot_id);
        if !entry.lines.is_empty()
            && let Err(e) = self.records.remember(&self.machine.memory)
        {
            tracing::warn!("remember a failed boot's words: {e}");
        }
    }

    fn is_staged(&self) -> bool {
        matches!(self.machine.memory.phase, Phase::Staged { .. })
    }

    fn status(&self) -> Status {
        let slots = self.slots.iter().flat_map(|slots| &slots.releases);
        Status {
            running: self.machine.running,
            phase: self.machine.memory.phase.clone(),
            pinned: self.machine.memory.pinned,
            slots: slots.map(|slot| slot.file.clone()).collect(),
            waits: self.waits.clone().filter(|_| self.is_staged()),
            problem: self.problem.clone(),
        }
    }
}

fn said(ask: Ask) -> String {
    match ask {
        Ask::Check | Ask::Apply => "begun".into(),
        Ask::Reboot => "rebooting".into(),
        Ask::Rollback { to } => format!("rebooting into {to}"),
        Ask::Pin(Some(version)) => format!("held at {version}; it is booted at the next boot"),
        Ask::Pin(None) => "no longer held".into(),
        Ask::Cancel => "cancelled".into(),
    }
}

/// A phase, for people.
pub(crate) fn told(phase: &Phase) -> String {
    match phase {
        Phase::Idle => "no update under way".into(),
        Phase::Waiting { version } => format!("{version} waits for `skeg update apply`"),
        Phase::Staging { version } => format!("{version} is being written"),
        Phase::Staged { version } => format!("{version} is staged: tried at the next boot"),
        Phase::Rebooting { version } => format!("rebooting into {version}"),
        Phase::OnTrial { version } => format!("{version} is on trial"),
        Phase::Returned {
            version, detail, ..
        } => {
            format!("back from {version} ({detail}); this release is judged by the same measure")
        }
        Phase::Inconclusive { version, times, .. } => {
            format!(
                "{version} failed where this release failed too ({times} times): tried again later"
            )
        }
    }
}
