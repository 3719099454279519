//! A hook of the spec: a program that is given the container's state and must succeed in time.
//!
//! It runs where it is called, in the caller's namespaces, and never outlives its timeout.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::failure::{Doing, Failure};

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The program, by an absolute path.
    pub path: String,
    /// Its arguments, the name first; empty: the path alone.
    pub args: Vec<String>,
    /// Its whole environment, `KEY=value`; none is the runtime's own.
    pub env: Option<Vec<String>>,
    /// Seconds that it may take; none is no limit.
    pub timeout: Option<u64>,
}

impl Hook {
    /// From the spec's type.
    #[must_use]
    pub fn from_spec(hook: &oci_spec::runtime::Hook) -> Self {
        let timeout = hook.timeout().filter(|seconds| *seconds > 0);
        Self {
            path: hook.path().display().to_string(),
            args: hook.args().clone().unwrap_or_default(),
            env: hook.env().clone(),
            timeout: timeout.and_then(|seconds| u64::try_from(seconds).ok()),
        }
    }

    /// Runs it with `state` on its standard input.
    ///
    /// # Errors
    /// That it could not be run, failed, or took longer than it may.
    pub(crate) fn run(&self, state: &str) -> Result<(), Failure> {
        let refused = |reason: String| Failure::refused("hook", &self.path, reason);
        if !self.path.starts_with('/') {
            return Err(refused("expected an absolute path".into()));
        }
        let mut command = Command::new(&self.path);
        if let Some((name, rest)) = self.args.split_first() {
            command.arg0(name).args(rest);
        }
        if let Some(env) = &self.env {
            let pairs = env.iter().filter_map(|pair| pair.split_once('='));
            command.env_clear().envs(pairs);
        }
        let mut child = command
            .stdin(memory_file(state)?)
            .spawn()
            .doing("hook", &self.path)?;
        let status = match self.timeout {
            None => child.wait().doing("wait for hook", &self.path)?,
            Some(seconds) => self.wait_until(&mut child, seconds)?,
        };
        match status.success() {
            true => Ok(()),
            false => Err(refused(described(status))),
        }
    }

    fn wait_until(&self, child: &mut Child, seconds: u64) -> Result<ExitStatus, Failure> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let pid = rustix::process::Pid::from_child(child);
        let flags = rustix::process::PidfdFlags::empty();
        let pidfd = rustix::process::pidfd_open(pid, flags).doing("pidfd_open", &self.path)?;
        let limit = Timespec::try_from(Duration::from_secs(seconds)).ok();
        let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
        let ready = poll(&mut ended, limit.as_ref()).doing("poll", &self.path)?;
        if ready == 0 {
            let _ = child.kill();
            let _ = child.wait();
            let reason = format!("took longer than its timeout of {seconds} s, and was killed");
            return Err(Failure::refused("hook", &self.path, reason));
        }
        child.wait().doing("wait for hook", &self.path)
    }
}

/// The state to be read: a file, since a hook that reads none of it must not make a writer fail.
fn memory_file(state: &str) -> Result<File, Failure> {
    let memory = rustix::fs::memfd_create("state", rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = File::from(memory.doing("memfd_create", "state")?);
    file.write_all(state.as_bytes()).doing("write", "state")?;
    file.rewind().doing("seek", "state")?;
    Ok(file)
}

fn described(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, signal) => format!("was killed by signal {}", signal.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Option<u64>) -> Hook {
        Hook {
            path: "/bin/sh".into(),
            args: vec!["sh".into(), "-c".into(), script.into()],
            env: Some(vec!["WHO=hook".into()]),
            timeout,
        }
    }

    #[test]
    fn a_hook_reads_the_state_and_has_its_own_environment_only() {
        let script = r#"[ "$(cat)" = state ] && [ $WHO = hook ] && [ -z "$HOME" ]"#;
        shell(script, None).run("state").unwrap();
    }

    #[test]
    fn a_hook_that_fails_is_named_with_its_status() {
        let failure = shell("exit 3", Some(60)).run("").unwrap_err();
        assert_eq!(failure.to_string(), "hook /bin/sh: exited with status 3");
    }

    #[test]
    fn a_hook_that_takes_too_long_is_killed() {
        let failure = shell("exec sleep 600", Some(1)).run("").unwrap_err();
        assert!(failure.to_string().contains("timeout of 1 s"), "{failure}");
    }
}
