//! Defences that a build for tests can lack, so that the test of a breakout can show its attack at work.
//!
//! Each has a feature `without-…`; of those that are in a build, `SKEG_WITHOUT` names the one that is lacking.
//! In every other build nothing is lacking, and nothing of this is left.

#[cfg(all(
    not(debug_assertions),
    any(
        feature = "without-capabilities",
        feature = "without-console",
        feature = "without-descriptors",
        feature = "without-detach",
        feature = "without-in-root",
        feature = "without-null",
        feature = "without-procfs",
        feature = "without-seal",
    )
))]
compile_error!("a build without one of its defences is for tests: it is never optimised");

/// What stands between a container and its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defence {
    /// Capabilities that were not asked for are dropped.
    Capabilities,
    /// `/dev/console` is the terminal itself, whatever its path leads to (CVE-2025-52565).
    Console,
    /// The host's descriptors are closed, and no working directory is reached by them (CVE-2024-21626).
    Descriptors,
    /// The host's mounts are gone from the container's namespace.
    Detach,
    /// Paths are resolved inside the root.
    InRoot,
    /// `/dev/null` is the host's (CVE-2025-31133).
    Null,
    /// procfs is a mount of the runtime's own (CVE-2025-52881).
    Procfs,
    /// The runtime's program cannot be written to (CVE-2019-5736).
    Seal,
}

impl Defence {
    /// Its name, if the build can lack it.
    fn removable(self) -> Option<&'static str> {
        let (name, removable) = match self {
            Self::Capabilities => ("capabilities", cfg!(feature = "without-capabilities")),
            Self::Console => ("console", cfg!(feature = "without-console")),
            Self::Descriptors => ("descriptors", cfg!(feature = "without-descriptors")),
            Self::Detach => ("detach", cfg!(feature = "without-detach")),
            Self::InRoot => ("in-root", cfg!(any(test, feature = "without-in-root"))),
            Self::Null => ("null", cfg!(feature = "without-null")),
            Self::Procfs => ("procfs", cfg!(feature = "without-procfs")),
            Self::Seal => ("seal", cfg!(feature = "without-seal")),
        };
        removable.then_some(name)
    }
}

/// Whether it is the one that is lacking.
#[inline]
pub(crate) fn lacks(defence: Defence) -> bool {
    let Some(name) = defence.removable() else {
        return false;
    };
    #[cfg(test)]
    if LACKING.get() == Some(defence) {
        return true;
    }
    std::env::var_os("SKEG_WITHOUT").is_some_and(|chosen| chosen == name)
}

#[cfg(test)]
thread_local! {
    /// The one that this thread's tests go without.
    pub(crate) static LACKING: std::cell::Cell<Option<Defence>> = const { std::cell::Cell::new(None) };
}
