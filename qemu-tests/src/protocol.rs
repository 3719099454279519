//! The test channel's protocol: one JSON object a line, both ways, on the virtio-serial port
//! `skeg.test`. It exists in profile `test` only.
//!
//! Host and guest are built from the same commit, so there is no version.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Name of the virtio-serial port.
pub const PORT: &str = "skeg.test";

/// What the host asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the host; the answer carries it.
    pub id: u64,
    /// What to do.
    pub call: Call,
}

/// One deed in the guest, as root, outside any container.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Run a program to its end.
    Run {
        /// Program and arguments; no shell is involved.
        argv: Vec<String>,
        /// What it reads on standard input.
        stdin: Bytes,
        /// It is killed after so many milliseconds, and that is an error.
        timeout_ms: u64,
    },
    /// Read a whole file.
    Read {
        /// The file.
        path: String,
    },
    /// Write a whole file.
    Write {
        /// The file; its folder must exist.
        path: String,
        /// Its new content.
        bytes: Bytes,
    },
    /// Remove a file.
    Remove {
        /// The file.
        path: String,
    },
    /// Overwrite bytes of a file that is there, e.g. of a process's memory.
    Patch {
        /// The file.
        path: String,
        /// Where.
        at: u64,
        /// Its new bytes there.
        bytes: Bytes,
    },
    /// Send a signal.
    Kill {
        /// The process.
        pid: i32,
        /// The signal's number.
        signal: i32,
    },
    /// Send a signal at a moment in which something lies in a pipe, if one comes.
    KillAmid {
        /// The process.
        pid: i32,
        /// The signal's number.
        signal: i32,
        /// The pipes, e.g. `/proc/7/fd/1`.
        pipes: Vec<String>,
    },
    /// What is at a path, links not followed.
    Stat {
        /// The path.
        path: String,
    },
    /// Names in a folder, sorted.
    List {
        /// The folder.
        path: String,
    },
    /// Where a symbolic link points.
    Link {
        /// The link.
        path: String,
    },
}

/// What the guest answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// The request's.
    pub id: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It could not be done.
    Error(String),
    /// Done, and nothing to tell.
    Done,
    /// A program ended.
    Ran(Output),
    /// A file's content.
    Content(Bytes),
    /// A folder's names, or a link's target alone.
    Names(Vec<String>),
    /// What is at a path.
    Stat(Stat),
    /// Bytes in each pipe.
    Pending(Vec<u64>),
}

/// How a program ended, and what it said.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Output {
    /// Exit code, or 128 + the signal that ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: Bytes,
    /// Standard error.
    pub stderr: Bytes,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// `file`, `folder`, `link` or `other`.
    pub kind: String,
    /// Permission bits.
    pub mode: u32,
    /// Length in bytes.
    pub size: u64,
    /// Owner.
    pub uid: u32,
}

/// Bytes, as hexadecimal digits in JSON.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl Bytes {
    /// The bytes as text, wrong UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = String::deserialize(deserializer)?;
        unhex(&digits)
            .map(Bytes)
            .ok_or_else(|| D::Error::custom("expected pairs of hexadecimal digits"))
    }
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        text.push(DIGITS[usize::from(b >> 4)] as char);
        text.push(DIGITS[usize::from(b & 15)] as char);
    }
    text
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let value = |b: u8| (b as char).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [a, b] => Some(value(*a)? << 4 | value(*b)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_lines() {
        let call = Call::Write {
            path: "/run/x".into(),
            bytes: Bytes(vec![0, 255]),
        };
        let line = serde_json::to_string(&Request { id: 7, call }).unwrap();
        assert_eq!(
            line,
            r#"{"id":7,"call":{"write":{"path":"/run/x","bytes":"00ff"}}}"#
        );
    }

    #[test]
    fn bytes_survive_and_rubbish_is_refused() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&all)), Some(all));
        assert_eq!(unhex("abc"), None);
        assert_eq!(unhex("zz"), None);
    }
}
