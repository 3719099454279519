//! One check: a program in the container, in a cgroup of its own below the container's, so that all of it can be killed.
//!
//! It takes no more of its output than is shown, and no more time than it is given.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use tokio::time::error::Elapsed;

use super::check::Run;
use crate::container::cgroup::Cgroup;
use crate::engine::api::ExecOptions;
use crate::engine::container::Container;
use crate::engine::error::Error;
use crate::engine::session::pump_all;
use crate::engine::{Engine, clock, exec};
use crate::zygote::ExecStatus;

/// The cgroup's name below the container's.
const CGROUP: &str = "check";
/// Seconds that a check that was killed may take to be gone.
const GONE: u32 = 5;

/// What one check said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// When it began, nanoseconds since the epoch.
    pub began_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
    /// Its exit status; -1 when it was killed, or could not be run.
    pub code: i32,
    /// What it wrote, as far as it is kept.
    pub output: String,
}

/// Checks a container once; nothing when it cannot be checked now.
pub async fn run(
    engine: &Engine,
    container: &Container,
    run: &Run,
    bytes: usize,
) -> Option<Outcome> {
    let id = &container.config.id;
    if engine.is_paused(id) {
        return None;
    }
    let began_ns = clock::wall_ns();
    let mut output = Vec::new();
    let ended = in_time(engine, container, run, bytes, &mut output).await;
    let code = match ended {
        Ok(Ok(code)) => code,
        // An end of the container, which its own task hears of.
        Ok(Err(_)) if !container.state().phase.is_up() => return None,
        Ok(Err(e)) => {
            output = e.message.into_bytes();
            -1
        }
        Err(_) if !container.state().phase.is_up() => return None,
        Err(_) => {
            let late = format!("Health check exceeded timeout ({})", shown(run.timeout));
            // As docker: what it wrote before stands first.
            if !output.is_empty() {
                output.extend(b": ");
            }
            output.extend(late.bytes());
            -1
        }
    };
    remove(engine, id).await;
    Some(Outcome {
        began_ns,
        ended_ns: clock::wall_ns(),
        code,
        output: String::from_utf8_lossy(&output).into_owned(),
    })
}

/// What has taken too long is killed until it is gone, its start included.
async fn in_time(
    engine: &Engine,
    container: &Container,
    run: &Run,
    bytes: usize,
    output: &mut Vec<u8>,
) -> Result<Result<i32, Error>, Elapsed> {
    let mut carried = pin!(carry(engine, container, run, bytes, output));
    let in_time = tokio::time::timeout(run.timeout, &mut carried).await;
    if in_time.is_err() {
        for _ in 0..GONE {
            kill(engine, &container.config.id);
            let pause = Duration::from_secs(1);
            if tokio::time::timeout(pause, &mut carried).await.is_ok() {
                break;
            }
        }
    }
    in_time
}

async fn carry(
    engine: &Engine,
    container: &Container,
    run: &Run,
    bytes: usize,
    output: &mut Vec<u8>,
) -> Result<i32, Error> {
    let options = ExecOptions {
        command: run.command.clone(),
        ..ExecOptions::default()
    };
    let cgroup = cgroup(engine, &container.config.id).await?;
    let (mut session, streams) = exec::start_in(engine, container, &options, cgroup).await?;
    let (pieces, mut received) = tokio::sync::mpsc::channel::<Vec<u8>>(4);
    let (end, ended) = tokio::sync::watch::channel(false);
    pump_all(streams.outputs, |_, bytes| bytes.to_vec(), &pieces, &ended);
    drop(pieces);
    let read = async {
        while let Some(piece) = received.recv().await {
            let room = bytes.saturating_sub(output.len());
            output.extend(&piece[..piece.len().min(room)]);
        }
    };
    let wait = async {
        let status = session.wait().await;
        end.send_replace(true);
        status
    };
    let ((), status) = tokio::join!(read, wait);
    Ok(status.map_or(-1, |status| i32::from(ExecStatus::code(status))))
}

/// The check's own cgroup, a new one each time: the kernel also kills what is cloned into one that was killed before.
async fn cgroup(engine: &Engine, id: &str) -> Result<Option<PathBuf>, Error> {
    let Some(path) = place(engine, id) else {
        return Ok(None);
    };
    // An engine before this one may have left it.
    remove(engine, id).await;
    match std::fs::create_dir(&path) {
        Err(e) => Err(Error::file("create", &path, &e)),
        Ok(()) => Ok(Some(path)),
    }
}

fn place(engine: &Engine, id: &str) -> Option<PathBuf> {
    Some(engine.cgroup_of(id)?.join(CGROUP))
}

/// Kills whatever a check has left, and removes its cgroup.
async fn remove(engine: &Engine, id: &str) {
    if let Some(path) = place(engine, id)
        && let Ok(cgroup) = Cgroup::open(&path)
        && let Err(e) = cgroup.remove().await
    {
        tracing::warn!("remove the check of {id}: {e}");
    }
}

/// Kills whatever a check has left.
pub fn kill(engine: &Engine, id: &str) {
    if let Some(path) = place(engine, id)
        && let Ok(cgroup) = Cgroup::open(&path)
        && let Err(e) = cgroup.kill()
    {
        tracing::warn!("kill the check of {id}: {e}");
    }
}

/// A time as docker writes it: `500ms`, `30s`, `1m30s`.
fn shown(time: Duration) -> String {
    let (seconds, ms) = (time.as_secs(), time.subsec_millis());
    match (seconds / 60, seconds % 60, ms) {
        (0, 0, ms) => format!("{ms}ms"),
        (0, s, 0) => format!("{s}s"),
        (0, s, ms) => format!("{s}.{ms:03}s").trim_end_matches('0').to_owned(),
        (m, s, _) if m < 60 => format!("{m}m{s}s"),
        (m, s, _) => format!("{}h{}m{s}s", m / 60, m % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_docker_shows_them() {
        for (ms, text) in [
            (500, "500ms"),
            (30_000, "30s"),
            (90_000, "1m30s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(shown(Duration::from_millis(ms)), text);
        }
    }
}
