//! The network's daemon and the zygote: small ones, in a file of their own, since a daemon maps three
//! times what it needs of a large file.
//!
//! Dispatch only: everything they do stands in the crate that is called.

use std::process::ExitCode;

fn main() -> ExitCode {
    let verb = std::env::args().nth(1).unwrap_or_default();
    let ended = match verb.as_str() {
        "net" => runtime::hostnet::main().map_err(|error| format!("{error:#}")),
        "zygote" => runtime::zygote::main().map_err(|error| error.to_string()),
        _ => Err(format!("expected net or zygote, found {verb:?}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("<3>{verb}: {error}");
            ExitCode::FAILURE
        }
    }
}
