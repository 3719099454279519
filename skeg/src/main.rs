//! The multi-call binary: the large daemons and the command line, one file on the image. What few hosts
//! use, and what runs rarely, lies beside it, packed.
//!
//! Dispatch only: everything it does stands in the crates it calls.

mod packed;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let name = std::env::args_os().next();
    if name.is_some_and(|name| Path::new(&name).file_name() == Some("skeg-oci".as_ref())) {
        return runtime::oci::main(std::env::args_os());
    }
    let mut arguments = std::env::args_os();
    match arguments.nth(1).as_ref().and_then(|verb| verb.to_str()) {
        Some("oci") => runtime::oci::main(std::iter::once("skeg oci".into()).chain(arguments)),
        Some("config") => config::cli::main(std::iter::once("skeg config".into()).chain(arguments)),
        #[cfg(not(feature = "fleet"))]
        Some("fleet") => packed::run("fleet"),
        #[cfg(feature = "fleet")]
        Some("fleet") => fleet::cli::main(std::iter::once("skeg fleet".into()).chain(arguments)),
        Some("ssh-daemon") => packed::run("ssh"),
        Some("update") => {
            updater::cli::main(std::iter::once("skeg update".into()).chain(arguments))
        }
        Some("update-daemon") => {
            runtime::daemon_log::start();
            match updater::daemon::main() {
                Ok(()) => ExitCode::SUCCESS,
                Err(text) => {
                    eprintln!("<3>{text}");
                    ExitCode::FAILURE
                }
            }
        }
        _ => runtime::cli::main(std::env::args_os()),
    }
}
