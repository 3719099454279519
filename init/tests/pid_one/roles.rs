//! The parts that this program plays inside the namespace: services, and the engine.
//!
//! A role that checks something writes `ok` or what went wrong into a file of its own name.

use crate::client::Client;
use formats::registration::{ErrorCode, ExitKind, Id, Power, Reply, Request, SLOTS};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Plays a role to its end.
pub fn play(name: &str, folder: &Path) -> ExitCode {
    let played = std::panic::catch_unwind(|| match name {
        "ready" => ready_and_wait(),
        "keeper" => keeper(folder),
        "silent" => ready_and_starve(),
        "flood" => flood(folder),
        "engine" => engine(folder),
        "first-engine" => first_engine(folder),
        "second-engine" => second_engine(folder),
        "crowd" => crowd(folder),
        "orphans" => crate::orphans::play(folder),
        "ends" => crate::ends::play(folder),
        "hoarder" => hoarder(folder),
        "throng" => throng(folder),
        "off" => power(folder, Power::Off),
        "reboot" => power(folder, Power::Reboot),
        "latecomer" => latecomer(folder),
        other => panic!("no role {other}"),
    });
    let verdict = match &played {
        Ok(()) => "ok".to_owned(),
        Err(why) => why
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_else(|| "panicked".into()),
    };
    let _ = fs::write(folder.join(name), format!("{verdict}\n"));
    if played.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn notify(text: &str, fds: &[BorrowedFd<'_>]) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    let path = std::env::var("NOTIFY_SOCKET").unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(path).unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    let text = [std::io::IoSlice::new(text.as_bytes())];
    rustix::net::sendmsg(&socket, &text, &mut control, SendFlags::empty()).unwrap();
}

fn wait_for_ever() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn ready_and_wait() {
    notify("READY=1\nSTATUS=waiting", &[]);
    wait_for_ever();
}

fn ready_and_starve() {
    println!("<3>about to starve");
    notify("READY=1\nWATCHDOG=1", &[]);
    wait_for_ever();
}

/// Ready, then says so for ever from many processes beside its own.
fn flood(folder: &Path) {
    notify("READY=1", &[]);
    let path = std::env::var("NOTIFY_SOCKET").unwrap();
    if std::env::var_os("FLOODING").is_none() {
        let start = |_| {
            let mut other = std::process::Command::new("/proc/self/exe");
            let other = other.args(["role", "flood"]).arg(folder);
            other.env("FLOODING", "1").spawn().unwrap()
        };
        let mut others: Vec<_> = (0..8).map(start).collect();
        for other in &mut others {
            other.wait().unwrap();
        }
        return;
    }
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(path).unwrap();
    while socket.send(b"STATUS=again").is_ok() {}
}

/// First life: stores a pipe with its last words and dies. Second life: finds them.
fn keeper(folder: &Path) {
    if std::env::var("LISTEN_FDS").is_err() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"last words").unwrap();
        notify("READY=1", &[]);
        notify("FDSTORE=1\nFDNAME=words", &[reader.as_fd()]);
        let (barrier, held) = std::io::pipe().unwrap();
        notify("BARRIER=1", &[held.as_fd()]);
        drop(held);
        // End of file: PID 1 has closed its copy, so everything before is done.
        assert_eq!((&barrier).read(&mut [0; 1]).unwrap(), 0);
        std::process::exit(1);
    }
    assert_eq!(std::env::var("LISTEN_FDNAMES").unwrap(), "words");
    assert_eq!(
        std::env::var("LISTEN_PID").unwrap(),
        std::process::id().to_string()
    );
    let mut text = String::new();
    File::open("/proc/self/fd/3")
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "last words");
    notify("READY=1", &[]);
    fs::write(folder.join("keeper"), "ok\n").unwrap();
    wait_for_ever();
}

/// First life: stores six pipes whose other ends it closes, of which four fit, and dies. Second life: finds
/// the first four, hung up as they are, with what was in them.
fn hoarder(folder: &Path) {
    if std::env::var("LISTEN_FDS").is_err() {
        for n in 0..6u8 {
            let (reader, mut writer) = std::io::pipe().unwrap();
            writer.write_all(&[b'0' + n]).unwrap();
            drop(writer);
            notify("FDSTORE=1\nFDNAME=pipe", &[reader.as_fd()]);
        }
        let (barrier, held) = std::io::pipe().unwrap();
        notify("BARRIER=1", &[held.as_fd()]);
        drop(held);
        assert_eq!((&barrier).read(&mut [0; 1]).unwrap(), 0);
        std::process::exit(1);
    }
    assert_eq!(std::env::var("LISTEN_FDS").unwrap(), "4");
    for n in 0..4u8 {
        let mut text = String::new();
        let mut pipe = File::open(format!("/proc/self/fd/{}", 3 + n)).unwrap();
        pipe.read_to_string(&mut text).unwrap();
        assert_eq!(text, n.to_string());
    }
    notify("READY=1", &[]);
    fs::write(folder.join("hoarder"), "ok\n").unwrap();
    wait_for_ever();
}

/// A container: a child of PID 1 that ends with `code` once a byte is in its start pipe.
pub struct Container {
    pub pid: u32,
    pidfd: OwnedFd,
    start: Option<std::io::PipeWriter>,
}

impl Container {
    /// Forks twice; the middle one's end makes the grandchild PID 1's own child.
    pub fn new(code: u8) -> Self {
        let (start_reader, start) = std::io::pipe().unwrap();
        let (mut told, teller) = std::io::pipe().unwrap();
        sys::reap::run_in_copy(|| {
            let grandchild = sys::reap::run_in_copy(|| {
                // Out of the engine's group, as a container is out of its cgroup.
                let _ = rustix::process::setsid();
                let _ = (&start_reader).read(&mut [0u8; 1]);
                code
            });
            let mut teller = &teller;
            let _ = teller.write_all(&grandchild.unwrap().to_le_bytes());
            0
        })
        .unwrap();
        let mut bytes = [0u8; 4];
        told.read_exact(&mut bytes).unwrap();
        let pid = u32::from_le_bytes(bytes);
        let raw = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        // Before it leads a group of its own it would be killed with the engine's.
        while parent_of(pid) != 1 || rustix::process::getpgid(Some(raw)) != Ok(raw) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let pidfd = pidfd_open(raw, PidfdFlags::empty()).unwrap();
        Self {
            pid,
            pidfd,
            start: Some(start),
        }
    }

    pub fn end(&mut self) {
        self.start.take().unwrap().write_all(b"x").unwrap();
    }
}

fn parent_of(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

pub fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

pub fn register(
    client: &Client,
    name: &str,
    container: &Container,
    stdio: &[BorrowedFd<'_>],
) -> Reply {
    let mut fds = vec![container.pidfd.as_fd()];
    fds.extend(stdio);
    client.ask(
        Request::Register {
            id: id(name),
            pid: container.pid,
        },
        &fds,
    )
}

fn engine(folder: &Path) {
    let client = Client::connect(folder);
    let listener = Client::connect(folder);
    assert_eq!(listener.ask(Request::Subscribe, &[]), Reply::Ok { slot: 0 });
    let (mut container, other) = (Container::new(7), Container::new(0));
    assert_eq!(
        register(&client, "web", &container, &[]),
        Reply::Ok { slot: 0 }
    );
    let refused = |code| Reply::Error(code);
    assert_eq!(
        register(&client, "web", &other, &[]),
        refused(ErrorCode::Exists)
    );
    let release = Request::Release { id: id("web") };
    assert_eq!(client.ask(release, &[]), refused(ErrorCode::Running));
    let lie = Request::Register {
        id: id("lie"),
        pid: container.pid,
    };
    assert_eq!(
        client.ask(lie, &[other.pidfd.as_fd()]),
        refused(ErrorCode::Gone)
    );
    assert_eq!(client.ask(lie, &[]), refused(ErrorCode::Malformed));
    let mut stranger = std::process::Command::new("/bin/sleep")
        .arg("9")
        .spawn()
        .unwrap();
    let raw = Pid::from_raw(i32::try_from(stranger.id()).unwrap()).unwrap();
    let fd = pidfd_open(raw, PidfdFlags::empty()).unwrap();
    let mine = Request::Register {
        id: id("mine"),
        pid: stranger.id(),
    };
    assert_eq!(client.ask(mine, &[fd.as_fd()]), refused(ErrorCode::Gone));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    client.send_bytes(b"rubbish", &[]);
    assert_eq!(client.receive().0, refused(ErrorCode::Malformed));
    client.send_bytes(b"SG\x09\x02", &[]);
    assert_eq!(client.receive().0, refused(ErrorCode::Version));
    container.end();
    let (pushed, _) = listener.receive();
    let Reply::Exit(slot) = pushed else {
        panic!("expected an exit, found {pushed:?}")
    };
    assert_eq!(
        (slot.id, slot.exit.unwrap().kind),
        (id("web"), ExitKind::Exited(7))
    );
    assert_eq!(client.list()[0].0, slot);
    assert_eq!(client.ask(release, &[]), Reply::Ok { slot: 0 });
    assert_eq!(client.list().len(), 0);
    let stamp = Request::Stamp {
        name: id("web"),
        kind: formats::registration::StampKind::Container,
    };
    assert_eq!(client.ask(stamp, &[]), Reply::Ok { slot: 0 });
}

/// Registers a container with a pipe in which its last line lies, and dies without a word.
fn first_engine(folder: &Path) {
    let client = Client::connect(folder);
    let mut container = Container::new(3);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let (null, log) = (File::open("/dev/null").unwrap(), reader.as_fd());
    assert!(matches!(
        register(&client, "web", &container, &[null.as_fd(), log]),
        Reply::Ok { .. }
    ));
    writer.write_all(b"the last line").unwrap();
    drop(writer);
    container.end();
    fs::write(folder.join("first-engine"), "ok\n").unwrap();
    let own = Pid::from_raw(i32::try_from(std::process::id()).unwrap()).unwrap();
    rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
}

/// Finds that container's exit code, its descriptors in their order, and the whole log.
fn second_engine(folder: &Path) {
    while !folder.join("first-engine").exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let client = Client::connect(folder);
    let (slot, mut fds) = loop {
        let mut list = client.list();
        if list.first().is_some_and(|(slot, _)| slot.exit.is_some()) {
            break list.remove(0);
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(slot.exit.unwrap().kind, ExitKind::Exited(3));
    assert!(slot.start_ticks > 0 && slot.exit.unwrap().at_ns > 0);
    assert_eq!(fds.len(), 2);
    let mut text = String::new();
    File::from(fds.remove(1)).read_to_string(&mut text).unwrap();
    assert_eq!(text, "the last line");
    assert!(matches!(
        client.ask(Request::Release { id: slot.id }, &[]),
        Reply::Ok { .. }
    ));
}

/// Takes every slot, is refused one more, and lists them all without reading in between.
fn crowd(folder: &Path) {
    let _ = rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: Some(65_536),
            maximum: Some(65_536),
        },
    );
    let client = Client::connect(folder);
    let null = File::open("/dev/null").unwrap();
    let mut containers: Vec<Container> = (0..SLOTS + 1).map(|_| Container::new(0)).collect();
    let more = containers.pop().unwrap();
    for (i, container) in containers.iter().enumerate() {
        let reply = register(&client, &format!("c{i}"), container, &[null.as_fd(); 3]);
        assert!(matches!(reply, Reply::Ok { .. }), "{i}: {reply:?}");
    }
    assert_eq!(
        register(&client, "more", &more, &[]),
        Reply::Error(ErrorCode::Full)
    );
    let slow = Client::connect(folder);
    slow.send(Request::List, &[]);
    // PID 1 must not wait for a client that does not read: others are served meanwhile.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(
        register(&client, "c0", &more, &[]),
        Reply::Error(ErrorCode::Exists)
    );
    let mut entries = 0;
    while let (Reply::Entry(_), fds) = slow.receive() {
        assert_eq!(fds.len(), 3);
        entries += 1;
    }
    assert_eq!(entries, SLOTS);
    assert_eq!(slow.ask(Request::Subscribe, &[]), Reply::Ok { slot: 0 });
    containers.iter_mut().for_each(Container::end);
    std::thread::sleep(Duration::from_millis(300));
    let exits = (0..SLOTS)
        .filter(|_| matches!(slow.receive().0, Reply::Exit(_)))
        .count();
    assert_eq!(exits, SLOTS);
}

/// Many clients at once, more than PID 1 has places for, all connected before the first one asks.
fn throng(folder: &Path) {
    let clients: Vec<Client> = (0..300).map(|_| Client::connect(folder)).collect();
    for client in clients {
        assert_eq!(client.list().len(), 0);
    }
}

fn power(folder: &Path, power: Power) {
    while !folder.join("go").exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let client = Client::connect(folder);
    assert_eq!(
        client.ask(Request::Power(power), &[]),
        Reply::Ok { slot: 0 }
    );
}

/// Asks for the end and then for a slot.
fn latecomer(folder: &Path) {
    let client = Client::connect(folder);
    let container = Container::new(0);
    assert_eq!(
        client.ask(Request::Power(Power::Off), &[]),
        Reply::Ok { slot: 0 }
    );
    let reply = register(&client, "late", &container, &[]);
    assert_eq!(reply, Reply::Error(ErrorCode::ShuttingDown));
}
