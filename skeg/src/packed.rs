//! Programs that run rarely: packed in the image, which is memory for ever, and unpacked by each start
//! into memory of its own.
//!
//! It starts nothing but what lies in the image's own folder under a name without a slash.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// Goes on as the packed program of this name, in this process and with its arguments and environment.
/// It comes back only to say why not.
pub fn run(name: &str) -> ExitCode {
    let Err(error) = start(&Path::new(formats::paths::PACKED).join(format!("{name}.zst")));
    eprintln!("skeg: error: {error}");
    ExitCode::FAILURE
}

fn start(packed: &Path) -> io::Result<Infallible> {
    let at = |step: &str, error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("{step} {}: {error}", packed.display()),
        )
    };
    let file = File::open(packed).map_err(|e| at("open", e))?;
    let name = packed.file_stem().unwrap_or_default();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::EXEC;
    let memory = memfd_create(name, flags).map_err(|e| at("make room for", e.into()))?;
    let mut memory = File::from(memory);
    zstd::stream::copy_decode(file, &mut memory).map_err(|e| at("unpack", e))?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&memory, seals).map_err(|e| at("seal", e.into()))?;
    execute(&memory).map_err(|e| at("run", e))
}

/// By its name in /proc: filters of services then need no call that they do not have for other programs.
fn execute(memory: &File) -> io::Result<Infallible> {
    let text = |text: Vec<u8>| CString::new(text).map_err(io::Error::other);
    let path = text(format!("/proc/self/fd/{}", memory.as_raw_fd()).into_bytes())?;
    let words = std::env::args_os().map(|word| text(word.into_vec()));
    let variables = std::env::vars_os().map(|(key, value)| {
        let mut both = key;
        both.push("=");
        both.push(value);
        text(both.into_vec())
    });
    let words: Vec<CString> = words.collect::<io::Result<_>>()?;
    let variables: Vec<CString> = variables.collect::<io::Result<_>>()?;
    Ok(nix::unistd::execve(&path, &words, &variables)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// For the test that executes this program again: what to run.
    const PACKED: &str = "SKEG_TEST_PACKED";

    fn packed(folder: &tempfile::TempDir, program: &str) -> std::path::PathBuf {
        let path = folder.path().join("program.zst");
        let bytes = std::fs::read(program).unwrap();
        std::fs::write(&path, zstd::bulk::compress(&bytes, 3).unwrap()).unwrap();
        path
    }

    /// In a process of its own, which is another program afterwards.
    fn started(packed: &Path) -> std::process::Output {
        let own = std::env::current_exe().unwrap();
        let arguments = [
            "--exact",
            "packed::tests::only_when_it_is_asked_to",
            "--nocapture",
        ];
        let mut command = Command::new(own);
        command.args(arguments).env(PACKED, packed);
        command.output().unwrap()
    }

    #[test]
    fn only_when_it_is_asked_to() {
        if let Some(path) = std::env::var_os(PACKED) {
            let Err(error) = start(Path::new(&path));
            eprintln!("{error}");
            std::process::exit(3);
        }
    }

    #[test]
    fn a_packed_program_goes_on_with_the_arguments() {
        let folder = tempfile::tempdir().unwrap();
        // It refuses the first of them by its name.
        let output = started(&packed(&folder, "/bin/cat"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("unrecognized option '--exact'"), "{error}");
    }

    #[test]
    fn what_is_no_packed_program_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent.zst");
        let output = started(&absent);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3));
        assert!(
            error.contains(&format!("open {}", absent.display())),
            "{error}"
        );
        let damaged = folder.path().join("damaged.zst");
        std::fs::write(&damaged, b"\x28\xb5\x2f\xfd and no more").unwrap();
        let output = started(&damaged);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3));
        assert!(
            error.contains(&format!("unpack {}", damaged.display())),
            "{error}"
        );
    }
}
