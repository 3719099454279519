//! When a host that has a release staged may go down for it.
//!
//! It decides nothing about the release itself, and never keeps a person who asks from it.

pub mod inhibit;
pub mod lock;
pub mod wariness;
pub mod windows;
pub mod zone;

use crate::fetch::Settings;
use lock::{Ask, FleetLock};
use std::path::Path;
use std::time::Duration;
use windows::Window;
use zone::Zone;

/// Before the same question is asked again.
const AGAIN: Duration = Duration::from_secs(30);
/// A window is looked for again at least this often: clocks are set.
const MOST: Duration = Duration::from_secs(900);

/// What keeps a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// For people.
    pub why: String,
    /// When to ask again.
    pub again: Duration,
}

/// What a host has to wait for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    /// It goes down in one of these only; none: at any time.
    pub windows: Option<(Vec<Window>, Zone)>,
    /// It goes down with a slot from here only.
    pub lock: Option<FleetLock>,
}

impl Conditions {
    /// Whether the host may go down now. The lock comes last: nobody is kept by a host that waits for
    /// something else.
    ///
    /// # Errors
    /// [`Wait`].
    pub fn may_leave(
        &self,
        inhibitors: &Path,
        busy: &[String],
        epoch: i64,
        ask: impl FnOnce(&FleetLock, Ask) -> Result<(), String>,
    ) -> Result<(), Wait> {
        let wait = |why: String, again| Err(Wait { why, again });
        if let Some((windows, zone)) = &self.windows {
            match windows::until_open(windows, zone, epoch) {
                Some(0) => {}
                Some(left) => {
                    let again = Duration::from_secs(left).min(MOST);
                    return wait(format!("the next window opens in {}", span(left)), again);
                }
                None => return wait("no window is ever open".into(), MOST),
            }
        }
        if let Some(why) = inhibit::first(inhibitors) {
            return wait(why, AGAIN);
        }
        if let Some(unit) = busy.first() {
            return wait(format!("{unit} is still at work"), AGAIN);
        }
        match &self.lock {
            Some(lock) => ask(lock, Ask::PreReboot).or_else(|why| wait(why, AGAIN)),
            None => Ok(()),
        }
    }
}

/// Asks a lock's server, on a thread that may wait.
///
/// # Errors
/// A sentence, for people.
pub fn ask_lock(lock: &FleetLock, machine_id: &[u8], ask: Ask) -> Result<(), String> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_io().enable_time().build();
    let runtime = runtime.map_err(|e| format!("start the event loop: {e}"))?;
    let id = lock::client_id(machine_id);
    runtime.block_on(lock::ask(lock, &id, ask, Settings::default()))
}

fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_night() -> Conditions {
        let text = "windows = [{ start = \"02:00\", minutes = 60 }]";
        let table: toml::Table = toml::from_str(text).unwrap();
        let windows = table["windows"].clone().try_into().unwrap();
        Conditions {
            windows: Some((windows, Zone::UTC)),
            lock: Some(FleetLock {
                url: "http://lock/".into(),
                group: "web".into(),
            }),
        }
    }

    #[test]
    fn the_lock_is_asked_for_only_when_nothing_else_keeps_the_host() {
        let folder = tempfile::tempdir().unwrap();
        let night = at_night();
        let never = |_: &FleetLock, _: Ask| -> Result<(), String> { panic!("asked") };
        let wait = night.may_leave(folder.path(), &[], 0, never).unwrap_err();
        assert_eq!(wait.why, "the next window opens in 2 h");
        assert_eq!(wait.again, MOST);
        let open = 2 * 3600;
        let busy = ["backup.service".to_owned()];
        let wait = night
            .may_leave(folder.path(), &busy, open, never)
            .unwrap_err();
        assert_eq!(wait.why, "backup.service is still at work");
        std::fs::write(folder.path().join("x"), "").unwrap();
        let wait = night
            .may_leave(folder.path(), &[], open, never)
            .unwrap_err();
        assert_eq!(wait.why, "inhibited by x");
        std::fs::remove_file(folder.path().join("x")).unwrap();
        let no = |_: &FleetLock, _: Ask| Err("taken".to_owned());
        assert_eq!(
            night
                .may_leave(folder.path(), &[], open, no)
                .unwrap_err()
                .why,
            "taken"
        );
        let yes = |lock: &FleetLock, ask: Ask| {
            assert_eq!((&*lock.group, ask), ("web", Ask::PreReboot));
            Ok(())
        };
        assert_eq!(night.may_leave(folder.path(), &[], open, yes), Ok(()));
        let none = Conditions::default();
        assert_eq!(none.may_leave(folder.path(), &[], 0, never), Ok(()));
    }
}
