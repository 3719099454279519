//! Runs the host's own tools (mtools, mke2fs, dpkg-deb, …) with an environment that is fixed.
//!
//! Never goes through a shell, and never lets a tool's failure pass: its words are the error.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Why a tool did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not installed.
    #[error("{tool} is not installed: install it with `apt-get install {package}`")]
    Missing {
        /// The program.
        tool: &'static str,
        /// Debian's package of it.
        package: &'static str,
    },
    /// It could not be started.
    #[error("start {tool}: {source}")]
    Start {
        /// The program.
        tool: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// It ran and failed.
    #[error("{tool} failed ({status}): {words}")]
    Failed {
        /// The program.
        tool: &'static str,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it wrote to standard error, or else to standard output.
        words: String,
    },
}

/// A program of the host, and the Debian package that brings it.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// Its name, searched in `PATH` and the folders for administrators.
    pub name: &'static str,
    /// The package to name when it is missing.
    pub package: &'static str,
}

/// Verifies and downloads Debian packages.
pub const APT_GET: Tool = tool("apt-get", "apt");
/// Answers what a mirror has.
pub const APT_CACHE: Tool = tool("apt-cache", "apt");
/// Unpacks and compares.
pub const DPKG: Tool = tool("dpkg", "dpkg");
/// Unpacks `.deb` files.
pub const DPKG_DEB: Tool = tool("dpkg-deb", "dpkg");
/// Makes FAT file systems.
pub const MKFS_VFAT: Tool = tool("mkfs.vfat", "dosfstools");
/// Makes folders in FAT file systems.
pub const MMD: Tool = tool("mmd", "mtools");
/// Copies into FAT file systems.
pub const MCOPY: Tool = tool("mcopy", "mtools");
/// Makes ext4 file systems.
pub const MKE2FS: Tool = tool("mke2fs", "e2fsprogs");
/// Writes into ext4 file systems that are not mounted.
pub const DEBUGFS: Tool = tool("debugfs", "e2fsprogs");

const fn tool(name: &'static str, package: &'static str) -> Tool {
    Tool { name, package }
}

impl Tool {
    /// Runs the tool and returns its standard output.
    ///
    /// # Errors
    /// When it is missing, cannot start, or exits with anything but 0.
    pub fn run<S: AsRef<OsStr>>(
        self,
        arguments: impl IntoIterator<Item = S>,
        environment: &[(&str, &str)],
    ) -> Result<Vec<u8>, ToolError> {
        self.run_in(Path::new("."), arguments, environment)
    }

    /// The same with `folder` as the current one, for tools that write where they stand.
    ///
    /// # Errors
    /// As [`Tool::run`].
    pub fn run_in<S: AsRef<OsStr>>(
        self,
        folder: &Path,
        arguments: impl IntoIterator<Item = S>,
        environment: &[(&str, &str)],
    ) -> Result<Vec<u8>, ToolError> {
        let output = self.output(folder, arguments, environment)?;
        Ok(output.stdout)
    }

    /// Runs a tool that exits with 0 whatever happens, and returns what it wrote to standard error.
    ///
    /// # Errors
    /// As [`Tool::run`].
    pub fn complaints_in<S: AsRef<OsStr>>(
        self,
        folder: &Path,
        arguments: impl IntoIterator<Item = S>,
        environment: &[(&str, &str)],
    ) -> Result<String, ToolError> {
        let output = self.output(folder, arguments, environment)?;
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn output<S: AsRef<OsStr>>(
        self,
        folder: &Path,
        arguments: impl IntoIterator<Item = S>,
        environment: &[(&str, &str)],
    ) -> Result<Output, ToolError> {
        let output = Command::new(self.name)
            .args(arguments)
            .current_dir(folder)
            .env("PATH", search_path())
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .map_err(|source| self.not_started(source))?;
        if output.status.success() {
            return Ok(output);
        }
        Err(ToolError::Failed {
            tool: self.name,
            status: output.status,
            words: words_of(&output),
        })
    }

    fn not_started(self, source: io::Error) -> ToolError {
        if source.kind() == io::ErrorKind::NotFound {
            return ToolError::Missing {
                tool: self.name,
                package: self.package,
            };
        }
        ToolError::Start {
            tool: self.name,
            source,
        }
    }
}

/// `PATH` with the folders that Debian leaves out for users who are not root.
fn search_path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:/usr/sbin:/usr/bin:/sbin:/bin")
}

fn words_of(output: &Output) -> String {
    let said = if output.stderr.trim_ascii().is_empty() {
        &output.stdout
    } else {
        &output.stderr
    };
    String::from_utf8_lossy(said).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_named_with_the_command_that_installs_it() {
        let error = tool("no-such-tool-here", "some-package")
            .run(["x"], &[])
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "no-such-tool-here is not installed: install it with `apt-get install some-package`"
        );
    }

    #[test]
    fn a_failing_tool_is_reported_in_its_own_words() {
        let error = DPKG_DEB
            .run(["--contents", "/nowhere.deb"], &[])
            .unwrap_err();
        assert!(error.to_string().contains("/nowhere.deb"), "{error}");
    }
}
