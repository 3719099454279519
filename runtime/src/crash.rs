//! The steps of a container's start and end, at each of which a test has the engine die, or the zygote.
//!
//! Only builds for tests die: any other has nothing at these places, and refuses to start when it is asked
//! for one.

use std::path::{Path, PathBuf};

/// A place between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The start is on disk, and nothing has been done for it.
    Intended,
    /// Layers and files are ready, and nothing has been cloned.
    Prepared,
    /// The zygote has the request, and has cloned nothing. Here it is the zygote that dies.
    Received,
    /// The child is there, and the engine has not been told. Here, too.
    Forked,
    /// Another process of a container is there, and the engine has not been told. Here the zygote's helper dies.
    Joined,
    /// The child waits, and nobody but the engine knows of it.
    Cloned,
    /// The child has its network.
    Attached,
    /// PID 1 was asked for a slot, and has not answered.
    Asked,
    /// The child is in its slot, and waits.
    Registered,
    /// The program runs, and that is not on disk.
    Started,
    /// That it runs is on disk.
    Recorded,
    /// PID 1 has told the exit, and it is not on disk.
    Exited,
    /// The exit is on disk, and the slot is still taken.
    Kept,
    /// The slot is free, and network and cgroup are still there.
    Released,
    /// Nothing of the run is left.
    Cleaned,
}

impl Point {
    /// All, in their order.
    pub const ALL: [Self; 15] = [
        Self::Intended,
        Self::Prepared,
        Self::Received,
        Self::Forked,
        Self::Joined,
        Self::Cloned,
        Self::Attached,
        Self::Asked,
        Self::Registered,
        Self::Started,
        Self::Recorded,
        Self::Exited,
        Self::Kept,
        Self::Released,
        Self::Cleaned,
    ];

    /// What a test calls it.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// Where a test writes a point's name: `crash-at` among the host's run files, unless `SKEG_CRASH_AT` says
/// otherwise.
fn order() -> PathBuf {
    let place = std::env::var_os("SKEG_CRASH_AT");
    place.map_or_else(
        || Path::new(formats::paths::RUN).join("crash-at"),
        PathBuf::from,
    )
}

/// Dies here, without a word, if the order names this point; the order is used up by that.
#[cfg(any(debug_assertions, feature = "crash-points"))]
pub fn at(point: Point) {
    let order = order();
    if std::fs::read_to_string(&order).is_ok_and(|text| text.trim() == point.name()) {
        let _ = std::fs::remove_file(&order);
        let own = rustix::process::getpid();
        let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    }
}

/// Nothing.
#[cfg(not(any(debug_assertions, feature = "crash-points")))]
pub fn at(_: Point) {}

/// Whether this engine may start.
///
/// # Errors
/// An order that this build would not follow: whoever gave it would wait for a crash in vain.
pub fn permit() -> anyhow::Result<()> {
    let has_points = cfg!(any(debug_assertions, feature = "crash-points"));
    let order = order();
    if !has_points && order.exists() {
        anyhow::bail!("{}: this build has no crash points", order.display());
    }
    if has_points {
        tracing::warn!("this build dies where a test tells it to: it is not for users");
    }
    Ok(())
}
