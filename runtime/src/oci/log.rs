//! Where errors go: standard error, and the file that `--log` names, in the format that callers read.
//!
//! A log that cannot be written is no reason to fail.

use std::fs::File;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::args::{Format, Global};

/// The way to both.
pub(super) struct Log {
    file: Option<File>,
    format: Format,
}

impl Log {
    pub(super) fn open(global: &Global) -> Self {
        let path = global.log.as_deref();
        let path = path.map(|path| path.strip_prefix("file:").unwrap_or(path));
        let path = path.filter(|path| !path.is_empty() && *path != "/dev/stderr");
        let open = |path| File::options().append(true).create(true).open(path).ok();
        Self {
            file: path.and_then(open),
            format: global.log_format,
        }
    }

    pub(super) fn error(&self, message: &str) {
        self.tell("error", message);
    }

    pub(super) fn warning(&self, message: &str) {
        self.tell("warning", message);
    }

    fn tell(&self, level: &str, message: &str) {
        let now = now();
        let line = match self.format {
            Format::Json => {
                serde_json::json!({"msg": message, "level": level, "time": now}).to_string()
            }
            Format::Text => format!("time={now:?} level={level} msg={message:?}"),
        };
        match &self.file {
            Some(file) => {
                let mut file: &File = file;
                let _ = file.write_all(format!("{line}\n").as_bytes());
                eprintln!("{level}: {message}");
            }
            None if self.format == Format::Json => eprintln!("{line}"),
            None => eprintln!("{level}: {message}"),
        }
    }
}

/// The time as RFC 3339 has it.
pub(super) fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanoseconds = since.map_or(0, |since| since.as_nanos());
    crate::cli::rfc3339(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}
