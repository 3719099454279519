//! `skeg-ssh`: listens where it is told to, for users that the host's configuration gave keys.
//!
//! Without such users it ends at once, with success: nothing listens on a host that nobody may enter.

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use ssh::connection::Shared;
use ssh::host_key;
use ssh::people::People;
use ssh::server::Server;
use ssh::session::Host;

const USAGE: &str = "skeg-ssh [--listen ADDRESS:PORT] [--keys FOLDER] [--group FILE] [--state FOLDER] [--skeg PROGRAM] [--docker SOCKET]";
/// `skeg` runs this program by this verb, and leaves it among the arguments.
const VERB: &str = "ssh-daemon";
/// Environment that commands have of the daemon's, where it is there.
const HANDED_ON: [&str; 1] = ["SKEG_SOCKET"];

struct Options {
    listen: Option<SocketAddr>,
    keys: PathBuf,
    group: PathBuf,
    state: PathBuf,
    skeg: PathBuf,
    docker: PathBuf,
}

fn main() -> ExitCode {
    let named = |word: &String| word == VERB;
    let words = std::env::args().skip(1).enumerate();
    let words = words.filter_map(|(at, word)| (at > 0 || !named(&word)).then_some(word));
    let options = match options(words) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("skeg-ssh: {problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("<3>{problem}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        listen: None,
        keys: formats::paths::AUTHORIZED_KEYS.into(),
        group: "/etc/group".into(),
        state: formats::paths::SSH_STATE.into(),
        skeg: "/usr/bin/skeg".into(),
        docker: formats::paths::DOCKER_SOCKET.into(),
    };
    while let Some(name) = words.next() {
        let value = words
            .next()
            .ok_or_else(|| format!("{name} without a value"))?;
        match name.as_str() {
            "--listen" => {
                let address = value
                    .parse()
                    .map_err(|_| format!("--listen {value}: expected ADDRESS:PORT"))?;
                options.listen = Some(address);
            }
            "--keys" => options.keys = value.into(),
            "--group" => options.group = value.into(),
            "--state" => options.state = value.into(),
            "--skeg" => options.skeg = value.into(),
            "--docker" => options.docker = value.into(),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(options)
}

fn serve(options: Options) -> Result<(), String> {
    let (people, problems) = People::read(&options.keys, &options.group)
        .map_err(|e| format!("{}: {e}", options.keys.display()))?;
    for problem in &problems {
        eprintln!("<4>{problem}");
    }
    if people.is_empty() {
        eprintln!("<6>no user has a key: nobody may log in");
        return Ok(());
    }
    let key = host_key::of(&options.state).map_err(|e| e.to_string())?;
    let print = host_key::fingerprint(&key);
    let names: Vec<_> = people.names().map(str::to_owned).collect();
    let host = Arc::new(Host {
        skeg: options.skeg,
        docker: options.docker,
        environment: environment(),
    });
    let server = Server::new(key, Shared { people, host });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("start the event loop: {e}"))?;
    runtime.block_on(async {
        let listener = listen(options.listen).map_err(|e| format!("listen: {e}"))?;
        let at = listener.local_addr().map_err(|e| format!("listen: {e}"))?;
        eprintln!(
            "<6>listening on {at} for {}; the host's key is {print}",
            names.join(", ")
        );
        notify(&format!("READY=1\nSTATUS=port {}, {print}", at.port()));
        let mut terminated =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .map_err(|e| format!("signals: {e}"))?;
        tokio::select! {
            () = server.run(listener) => {}
            _ = terminated.recv() => {}
        }
        Ok(())
    })
}

fn environment() -> Vec<(String, String)> {
    let handed = HANDED_ON
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    let own = [("PATH", "/usr/bin"), ("HOME", "/")];
    own.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
        .chain(handed)
        .collect()
}

/// On both kinds of addresses; on IPv4 alone where the kernel has no other.
fn listen(asked: Option<SocketAddr>) -> std::io::Result<tokio::net::TcpListener> {
    let listener = match asked {
        Some(address) => std::net::TcpListener::bind(address)?,
        None => std::net::TcpListener::bind("[::]:22")
            .or_else(|_| std::net::TcpListener::bind("0.0.0.0:22"))?,
    };
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// sd_notify(3); without a socket, nobody wants to know.
fn notify(text: &str) {
    if let Some(path) = std::env::var_os("NOTIFY_SOCKET")
        && let Ok(socket) = UnixDatagram::unbound()
    {
        let _ = socket.send_to(text.as_bytes(), path);
    }
}
