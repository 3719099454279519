//! Errors as systemd names and words them: `systemctl` takes its exit status from the name.
//!
//! Texts are those of systemd 252 to 257, since `systemctl` prints them as they are.

/// An error of D-Bus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Its name on the wire.
    pub name: &'static str,
    /// One line for people.
    pub message: String,
}

impl Failure {
    fn new(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            name,
            message: message.into(),
        }
    }

    /// Asked to start what has no file.
    pub fn not_found(unit: &str) -> Self {
        let message = format!("Unit {unit} not found.");
        Self::new("org.freedesktop.systemd1.NoSuchUnit", message)
    }

    /// Asked about what is not there.
    pub fn not_loaded(unit: &str) -> Self {
        let message = format!("Unit {unit} not loaded.");
        Self::new("org.freedesktop.systemd1.NoSuchUnit", message)
    }

    /// Its file is wrong.
    pub fn bad_setting(unit: &str) -> Self {
        let message = format!("Unit {unit} has a bad unit file setting.");
        Self::new("org.freedesktop.systemd1.BadUnitSetting", message)
    }

    /// No such job.
    pub fn no_job(id: &str) -> Self {
        let message = format!("Job {id} does not exist.");
        Self::new("org.freedesktop.systemd1.NoSuchJob", message)
    }

    /// Another job is queued, and the mode does not let it go.
    pub fn destructive(unit: &str, queued: &str, asked: &str) -> Self {
        let message = format!(
            "Transaction for {unit}/{asked} is destructive ({unit} has '{queued}' job queued, but '{asked}' is included in transaction)."
        );
        Self::new("org.freedesktop.systemd1.TransactionIsDestructive", message)
    }

    /// A mode that is no mode of this unit.
    pub fn no_isolation() -> Self {
        let message = "Operation refused, unit may not be isolated.";
        Self::new("org.freedesktop.systemd1.NoIsolation", message)
    }

    /// Reloading is for programs that know how.
    pub fn not_reloadable(unit: &str) -> Self {
        let message = format!("Job type reload is not applicable for unit {unit}.");
        Self::new("org.freedesktop.systemd1.JobTypeNotApplicable", message)
    }

    /// What Quadlet makes cannot be enabled or disabled: its file says it.
    pub fn generated(unit: &str) -> Self {
        let message = format!("Unit {unit} is transient or generated.");
        Self::new("org.freedesktop.systemd1.UnitGenerated", message)
    }

    /// There is no process to send a signal to.
    pub fn no_process(message: impl Into<String>) -> Self {
        Self::new("org.freedesktop.systemd1.NoSuchProcess", message)
    }

    /// No file of that name.
    pub fn no_file() -> Self {
        let message = "No such file or directory";
        Self::new("org.freedesktop.DBus.Error.FileNotFound", message)
    }

    /// Arguments that make no sense.
    pub fn arguments(message: impl Into<String>) -> Self {
        Self::new("org.freedesktop.DBus.Error.InvalidArgs", message)
    }

    /// No object at this path.
    pub fn no_object(path: &str) -> Self {
        let message = format!("Unknown object '{path}'.");
        Self::new("org.freedesktop.DBus.Error.UnknownObject", message)
    }

    /// No interface of that name there.
    pub fn no_interface(path: &str, interface: &str) -> Self {
        let message = format!("Unknown interface {interface} or property on {path}.");
        Self::new("org.freedesktop.DBus.Error.UnknownInterface", message)
    }

    /// No method of that name there.
    pub fn no_method(interface: &str, member: &str) -> Self {
        let message = format!("Unknown method {member} or interface {interface}.");
        Self::new("org.freedesktop.DBus.Error.UnknownMethod", message)
    }

    /// No property of that name there.
    pub fn no_property(name: &str) -> Self {
        let message = format!("Unknown property {name}.");
        Self::new("org.freedesktop.DBus.Error.UnknownProperty", message)
    }

    /// systemd does it, this host does not.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new("org.freedesktop.DBus.Error.NotSupported", message)
    }

    /// It should have worked.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new("org.freedesktop.DBus.Error.Failed", message)
    }
}
