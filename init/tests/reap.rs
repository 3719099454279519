//! The reap path allocates nothing: memory may be gone when a container's exit must be kept.

use formats::registration::{Exit, ExitKind, Id, MAX_MESSAGE, Reply, Request, Slot};
use formats::service::{Restart, Service};
use formats::status::LastExit;
use init::service::backoff::Random;
use init::service::order::resolve;
use init::service::supervisor::{Event, Supervisor};
use init::slots::desk::{Desk, Door, Wants};
use init::slots::table::{Table, Taken};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

#[global_allocator]
static COUNTING: sys::counting::Counting = sys::counting::Counting;

fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

fn container(pid: u32) -> Taken<OwnedFd> {
    let id = Id::new(&format!("c{pid}")).unwrap();
    let slot = Slot {
        id,
        pid,
        start_ticks: 1,
        exit: None,
    };
    Taken {
        slot,
        pidfd: null(),
        stdio: [Some(null()), Some(null()), None, None],
    }
}

fn subscriber(path: &Path) -> OwnedFd {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    let request = Request::Subscribe.encode();
    rustix::net::send(&socket, request.bytes(), SendFlags::empty()).unwrap();
    socket
}

fn receive(socket: &OwnedFd) -> Reply {
    let mut bytes = [0u8; MAX_MESSAGE];
    let (_, length) = rustix::net::recv(socket, &mut bytes[..], RecvFlags::empty()).unwrap();
    Reply::decode(&bytes[..length]).unwrap()
}

#[test]
fn a_containers_exit_is_kept_and_pushed_without_an_allocation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("init.sock");
    let mut desk = Desk::bind(&path, None, None).unwrap();
    let mut table = Table::default();
    (100..400).for_each(|pid| assert!(table.register(container(pid)).is_ok()));
    let engine = subscriber(&path);
    let client = desk.accept().unwrap();
    assert_eq!(
        desk.serve(client, &mut table, Door::Open),
        (Wants::Read, None)
    );
    assert_eq!(receive(&engine), Reply::Ok { slot: 0 });
    let before = sys::counting::allocations();
    let exit = Exit {
        kind: ExitKind::Signaled(9),
        at_ns: 7,
    };
    let slot = table.exited(350, exit).unwrap();
    desk.exited(slot);
    assert_eq!(desk.flush(client, &table), Wants::Read);
    assert_eq!(sys::counting::allocations() - before, 0);
    assert!(matches!(receive(&engine), Reply::Exit(slot) if slot.pid == 350));
}

#[test]
fn a_services_end_is_decided_without_an_allocation() {
    let mut service = Service::new("engine");
    service.restart = Restart::Always;
    let services = vec![service];
    let order = resolve(&services);
    let mut supervisor = Supervisor::new(services, order, Random::new(1));
    let mut effects = Vec::with_capacity(16);
    let now = Duration::from_secs(1);
    supervisor.step(Event::Start, now, &mut effects);
    supervisor.step(Event::Spawned(0, 5), now, &mut effects);
    effects.clear();
    let before = sys::counting::allocations();
    let found = supervisor.by_pid(5);
    supervisor.step(Event::Exited(0, LastExit::Exited(1)), now, &mut effects);
    assert_eq!(sys::counting::allocations() - before, 0);
    assert_eq!((found, effects.len()), (Some(0), 2));
}
