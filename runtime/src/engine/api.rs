//! What the engine and its clients say to each other: JSON bodies, and frames for streams.
//!
//! HTTP/1.1 on [`formats::paths::ENGINE_SOCKET`], everything below `/v1`, so that another API can
//! be mounted beside it. Types only.

use serde::{Deserialize, Serialize};

use super::record::{ExitRecord, Health, Phase};
use crate::network::PortMapping;

/// An error's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong, in one line.
    pub error: String,
    /// Exit status for a command line: 125, or 126 and 127 when the program could not be run.
    pub exit: u8,
}

/// The answer to a creation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Created {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// One line of a response that tells its progress.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Told {
    /// A layer moved on.
    Progress {
        /// Short digest of the layer.
        layer: String,
        /// What is happening to it.
        phase: String,
        /// Bytes done.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// An image is in the store.
    Image {
        /// Its name.
        name: String,
        /// Its id.
        id: String,
    },
    /// A container was created.
    Created(Created),
    /// It failed; the last line.
    Error(ErrorBody),
}

/// A container in a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image as the user wrote it.
    pub image: String,
    /// What it runs.
    pub command: String,
    /// Seconds since the epoch.
    pub created: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Process id of its main process.
    pub pid: Option<u32>,
    /// When it was started last, in seconds since the epoch.
    pub started: Option<u64>,
    /// How it ended last.
    pub exit: Option<ExitRecord>,
    /// Why it could not be started.
    pub error: Option<String>,
    /// Restarts since its start by hand or at boot.
    pub restarts: u32,
    /// Published ports.
    pub ports: Vec<PortMapping>,
    /// Its address on the bridge.
    pub ip: Option<String>,
    /// The unit it belongs to.
    pub unit: Option<String>,
    /// What its checks say, if it has any.
    pub health: Option<Health>,
    /// It runs and is not ready yet.
    pub waiting: bool,
    /// Its last run did not get ready in time.
    pub late: bool,
}

/// How a container ended, for those who wait.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Waited {
    /// As a shell reports it.
    pub code: u8,
    /// Why it was never started.
    pub error: Option<String>,
}

/// A process to start in a container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecOptions {
    /// What to run.
    pub command: Vec<String>,
    /// Over the container's environment.
    pub env: Vec<String>,
    /// Instead of the container's user.
    pub user: Option<String>,
    /// Instead of the container's working directory.
    pub workdir: Option<String>,
    /// With a terminal.
    pub tty: bool,
    /// Standard input is sent.
    pub stdin: bool,
    /// Nobody looks at its output.
    pub detach: bool,
    /// Rows and columns of the client's terminal.
    pub size: Option<(u16, u16)>,
}

/// An image in a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImageSummary {
    /// Its id, `sha256:…`.
    pub id: String,
    /// Its names.
    pub names: Vec<String>,
    /// Bytes unpacked.
    pub size: u64,
    /// Seconds since the epoch.
    pub pulled: u64,
}

/// A named volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VolumeSummary {
    /// Its name.
    pub name: String,
    /// Where its content lies.
    pub path: String,
    /// Containers that use it.
    pub containers: Vec<String>,
}

/// A unit's state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnitSummary {
    /// Its name, e.g. `web.service`; a file's name when it could not be read.
    pub name: String,
    /// Its file.
    pub path: String,
    /// What its file says of it.
    pub description: String,
    /// Where it stands.
    pub state: UnitState,
    /// Why it failed, one line each.
    pub problems: Vec<String>,
}

/// Where a unit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitState {
    /// Not started, and nobody wants it to be.
    Inactive,
    /// Waits for others, pulls, or starts.
    Activating,
    /// Runs, or has done what it is for.
    Active,
    /// Is being stopped.
    Deactivating,
    /// Its file is wrong, it could not be started, or it ended with an error.
    Failed,
}

/// The engine's own state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct EngineStatus {
    /// Version of the engine.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// What is missing or broken.
    pub degraded: Vec<String>,
    /// Containers that run.
    pub running: usize,
    /// All containers.
    pub containers: usize,
    /// Images in the store.
    pub images: usize,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// To a process.
    Stdin = 0,
    /// From a process, or its terminal.
    Stdout = 1,
    /// From a process.
    Stderr = 2,
    /// No more input.
    StdinEnd = 3,
    /// Rows and columns, two `u16`.
    Resize = 4,
    /// The end, as [`Waited`] in JSON.
    Exit = 5,
    /// The process has been started.
    Started = 6,
}

/// Bytes of a frame's head: kind, three zero bytes, length, time.
pub const FRAME_HEAD: usize = 16;
/// No frame carries more.
pub const FRAME_MAX: usize = 1 << 20;

/// A frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// What follows.
    pub kind: FrameKind,
    /// How much of it.
    pub length: u32,
    /// Nanoseconds since the epoch; 0 when it does not matter.
    pub time_ns: u64,
}

impl FrameHead {
    /// The bytes on the wire, big-endian.
    pub fn encode(self) -> [u8; FRAME_HEAD] {
        let mut bytes = [0; FRAME_HEAD];
        bytes[0] = self.kind as u8;
        bytes[4..8].copy_from_slice(&self.length.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.time_ns.to_be_bytes());
        bytes
    }

    /// Reads a head.
    ///
    /// # Errors
    /// When it is none, or announces more than [`FRAME_MAX`].
    pub fn decode(bytes: &[u8; FRAME_HEAD]) -> Result<Self, String> {
        let kind = match bytes[0] {
            0 => FrameKind::Stdin,
            1 => FrameKind::Stdout,
            2 => FrameKind::Stderr,
            3 => FrameKind::StdinEnd,
            4 => FrameKind::Resize,
            5 => FrameKind::Exit,
            6 => FrameKind::Started,
            other => return Err(format!("expected a frame of kind 0 to 6, found {other}")),
        };
        let [_, _, _, _, a, b, c, d, time @ ..] = *bytes;
        let length = u32::from_be_bytes([a, b, c, d]);
        if length as usize > FRAME_MAX {
            return Err(format!(
                "expected a frame of at most {FRAME_MAX} bytes, found {length}"
            ));
        }
        Ok(Self {
            kind,
            length,
            time_ns: u64::from_be_bytes(time),
        })
    }
}

/// A whole frame.
pub fn frame(kind: FrameKind, time_ns: u64, body: &[u8]) -> Vec<u8> {
    let head = FrameHead {
        kind,
        length: u32::try_from(body.len()).unwrap_or(u32::MAX),
        time_ns,
    };
    let mut bytes = head.encode().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_bytes_of_a_frame() {
        let bytes = frame(FrameKind::Stderr, 258, b"hi");
        assert_eq!(bytes, b"\x02\0\0\0\0\0\0\x02\0\0\0\0\0\0\x01\x02hi");
    }

    proptest! {
        #[test]
        fn no_head_makes_the_reader_panic(bytes: [u8; FRAME_HEAD]) {
            if let Ok(head) = FrameHead::decode(&bytes) {
                prop_assert_eq!(&head.encode()[4..], &bytes[4..]);
            }
        }
    }
}
