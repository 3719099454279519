//! Networks that users make, on the real kernel: isolation, several networks for one container,
//! and names. Needs root, iproute2 and nftables.

#[expect(dead_code, reason = "other tests use the rest")]
mod namespaces;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::mpsc::{Sender, channel};

use namespaces::Namespace;
use runtime::network::{Attach, Attachment, Error, Join, NetworkRecord, Networks, PortMapping};

/// An engine that lives on a thread of the host's namespace until it is dropped.
struct Engine {
    jobs: Option<Sender<Job>>,
}

type Job = Box<dyn FnOnce(&mut Networks, &tokio::runtime::Runtime) + Send>;

impl Engine {
    /// With the networks `front`, `back` (internal, MTU 1400) and `other`.
    fn start(host: &Namespace, attachments: Vec<Attachment>) -> Engine {
        let (jobs, inbox) = channel::<Job>();
        let (ready, started) = channel();
        host.detached(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            let mut networks = runtime.block_on(Networks::open()).unwrap();
            for (number, name) in ["front", "back", "other"].into_iter().enumerate() {
                networks.add(record(u8::try_from(number).unwrap(), name));
            }
            runtime.block_on(networks.restore(attachments)).unwrap();
            ready.send(()).unwrap();
            inbox
                .into_iter()
                .for_each(|job| job(&mut networks, &runtime));
        });
        started.recv().unwrap();
        Engine { jobs: Some(jobs) }
    }

    fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Networks, &tokio::runtime::Runtime) -> T + Send + 'static,
    ) -> T {
        let (done, result) = channel();
        let job: Job = Box::new(move |networks, runtime| {
            let _ = done.send(job(networks, runtime));
        });
        self.jobs.as_ref().unwrap().send(job).unwrap();
        result
            .recv()
            .expect("the engine's thread panicked: see above")
    }

    fn attach(
        &self,
        id: &'static str,
        netns: &Namespace,
        networks: &[&str],
        ports: &str,
    ) -> Attachment {
        self.attach_asking(id, netns, networks, ports, Vec::new())
    }

    /// With servers of its own for all other names.
    fn attach_asking(
        &self,
        id: &'static str,
        netns: &Namespace,
        networks: &[&str],
        ports: &str,
        upstreams: Vec<IpAddr>,
    ) -> Attachment {
        let (netns, joins) = (
            descriptor(netns),
            networks.iter().map(|n| join(n, id)).collect::<Vec<_>>(),
        );
        let ports: Vec<PortMapping> = ports
            .split_whitespace()
            .flat_map(|port| PortMapping::parse(port).unwrap())
            .collect();
        self.run(move |networks, runtime| {
            let wanted = Attach {
                ports: &ports,
                joins: &joins,
                upstreams: &upstreams,
            };
            let attached = networks.attach(id, netns.as_fd(), &wanted);
            runtime.block_on(attached).unwrap().unwrap()
        })
    }

    fn connect(
        &self,
        id: &'static str,
        netns: &Namespace,
        network: &'static str,
    ) -> Result<Option<Attachment>, Error> {
        let netns = descriptor(netns);
        self.run(move |networks, runtime| {
            let joined = join(network, id);
            runtime.block_on(networks.connect(id, netns.as_fd(), &joined, &Attach::default()))
        })
    }

    fn disconnect(
        &self,
        id: &'static str,
        netns: &Namespace,
        network: &'static str,
    ) -> Option<Attachment> {
        let netns = descriptor(netns);
        self.run(move |networks, runtime| {
            runtime
                .block_on(networks.disconnect(id, netns.as_fd(), network))
                .unwrap()
        })
    }
}

fn descriptor(netns: &Namespace) -> File {
    netns.descriptor.try_clone().unwrap()
}

/// `10.90.<number>.0/24`, its id is its name.
fn record(number: u8, name: &str) -> NetworkRecord {
    NetworkRecord {
        id: name.to_owned(),
        name: name.to_owned(),
        subnet: format!("10.90.{number}.0/24").parse().unwrap(),
        gateway: Ipv4Addr::new(10, 90, number, 1),
        internal: name == "back",
        mtu: (name == "back").then_some(1400),
        link: format!("skb{name}"),
        ..NetworkRecord::default_bridge()
    }
}

fn join(network: &str, id: &str) -> Join {
    let default = Join::default_bridge();
    Join {
        network: if network == "bridge" {
            default.network
        } else {
            network.to_owned()
        },
        names: vec![id.to_owned(), format!("{id}-alias")],
        ip: None,
    }
}

/// A host at 192.0.2.1, and a neighbour at 192.0.2.2 that knows the way to all containers.
fn host() -> (Namespace, Namespace) {
    namespaces::need_root();
    let (host, neighbour) = (Namespace::new(), Namespace::new());
    host.shell("ip link set lo up");
    host.run(|| {
        let setting = std::path::Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
        if setting.exists() {
            std::fs::write(setting, "0").unwrap();
        }
    });
    host.shell("ip link add wan0 type veth peer name wan1");
    host.shell(&format!("ip link set wan1 netns {}", neighbour.thread()));
    host.shell("ip addr add 192.0.2.1/24 dev wan0");
    host.shell("ip link set wan0 up");
    neighbour.shell("ip link set lo up");
    neighbour.shell("ip addr add 192.0.2.2/24 dev wan1");
    neighbour.shell("ip link set wan1 up");
    neighbour.shell("ip route add 10.0.0.0/8 via 192.0.2.1");
    (host, neighbour)
}

/// The addresses that `name` has for somebody in `netns` who asks `server`.
fn resolve(netns: &Namespace, server: &str, name: &str) -> Option<Vec<Ipv4Addr>> {
    let question = question(name);
    let server = format!("{server}:53");
    netns.run(move || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket
            .set_read_timeout(Some(std::time::Duration::from_secs(3)))
            .unwrap();
        socket.connect(server).ok()?;
        socket.send(&question).ok()?;
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).ok()?;
        Some(answers(&buffer[..length]))
    })
}

fn question(name: &str) -> Vec<u8> {
    let mut bytes = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0".to_vec();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.bytes());
    }
    bytes.extend(b"\0\0\x01\0\x01");
    bytes
}

/// Each of our answers is 16 bytes, the address last.
fn answers(packet: &[u8]) -> Vec<Ipv4Addr> {
    let count = usize::from(packet[7]);
    let tail = &packet[packet.len() - count * 16..];
    tail.chunks(16)
        .map(|record| Ipv4Addr::new(record[12], record[13], record[14], record[15]))
        .collect()
}

#[test]
fn networks_are_apart_and_an_internal_one_reaches_nobody_else() {
    let (host, neighbour) = host();
    let (front, back, other, plain) = (
        Namespace::new(),
        Namespace::new(),
        Namespace::new(),
        Namespace::new(),
    );
    let engine = Engine::start(&host, Vec::new());
    engine.attach("front", &front, &["front"], "8080:80");
    engine.attach("back", &back, &["back"], "8081:80");
    engine.attach("other", &other, &["other"], "");
    engine.attach("plain", &plain, &["bridge"], "");
    for netns in [&front, &back, &other, &plain, &neighbour] {
        netns.serve(80);
    }
    assert_eq!(
        front.seen_by("192.0.2.2:80").as_deref(),
        Some("192.0.2.1"),
        "masqueraded"
    );
    assert_eq!(front.seen_by("10.90.2.2:80"), None, "to another network");
    assert_eq!(
        plain.seen_by("10.90.0.2:80"),
        None,
        "from the default bridge"
    );
    assert_eq!(front.seen_by("10.88.0.2:80"), None, "to the default bridge");
    assert_eq!(front.seen_by("10.90.1.2:80"), None, "to the internal one");
    back.shell("ip route add default via 10.90.1.1");
    assert_eq!(
        back.seen_by("192.0.2.2:80"),
        None,
        "out of the internal one"
    );
    assert_eq!(
        back.seen_by("10.90.0.2:80"),
        None,
        "out of the internal one"
    );
    assert_eq!(back.seen_by("10.90.1.1:8080"), None, "to another's port");
    for address in ["10.90.0.2:80", "10.90.1.2:80", "192.0.2.1:8081"] {
        assert_eq!(
            neighbour.seen_by(address),
            None,
            "from outside to {address}"
        );
    }
    assert!(neighbour.seen_by("192.0.2.1:8080").is_some(), "published");
    assert!(other.seen_by("192.0.2.1:8080").is_some(), "published");
    assert!(host.seen_by("127.0.0.1:8080").is_some(), "published");
    let link = back.shell("ip link show eth0");
    assert!(link.contains("mtu 1400"), "{link}");
}

#[test]
fn a_container_in_several_networks_reaches_all_and_can_leave_each() {
    let (host, neighbour) = host();
    let (web, db) = (Namespace::new(), Namespace::new());
    neighbour.serve(80);
    let engine = Engine::start(&host, Vec::new());
    engine.attach("web", &web, &["back", "front"], "8080:80");
    engine.attach("db", &db, &["other"], "");
    web.serve(80);
    db.serve(80);
    assert!(
        web.shell("ip route").contains("default via 10.90.0.1"),
        "not by the internal one"
    );
    assert!(web.seen_by("192.0.2.2:80").is_some());
    assert!(neighbour.seen_by("192.0.2.1:8080").is_some());
    assert_eq!(web.seen_by("10.90.2.2:80"), None);
    let joined = engine.connect("web", &web, "other").unwrap().unwrap();
    assert_eq!(joined.places[2].link, "eth2");
    assert!(engine.connect("web", &web, "other").is_err(), "twice");
    assert_eq!(web.seen_by("10.90.2.2:80").as_deref(), Some("10.90.2.3"));
    let left = engine.disconnect("web", &web, "front").unwrap();
    assert_eq!(left.places.len(), 2);
    assert!(
        web.shell("ip route").contains("default via 10.90.2.1"),
        "the next way out"
    );
    assert!(web.seen_by("192.0.2.2:80").is_some());
    assert!(
        neighbour.seen_by("192.0.2.1:8080").is_some(),
        "the port follows"
    );
    let busy = engine.run(|networks, runtime| runtime.block_on(networks.remove("other")));
    assert!(matches!(busy, Err(Error::InUse(_))), "{busy:?}");
    engine.disconnect("web", &web, "back");
    assert_eq!(engine.disconnect("web", &web, "other"), None);
    assert_eq!(neighbour.seen_by("192.0.2.1:8080"), None);
    let joined = engine.connect("web", &web, "front").unwrap().unwrap();
    assert_eq!(joined.places[0].link, "eth0");
    assert!(web.seen_by("192.0.2.2:80").is_some());
    engine
        .run(|networks, runtime| runtime.block_on(networks.remove("back")))
        .unwrap();
    assert!(!host.shell("ip -br link").contains("skbback"));
}

#[test]
fn names_are_served_to_those_who_share_a_network_even_where_port_53_is_published() {
    let (host, neighbour) = host();
    let (web, db, other) = (Namespace::new(), Namespace::new(), Namespace::new());
    let engine = Engine::start(&host, Vec::new());
    let attached = vec![
        engine.attach("web", &web, &["front"], ""),
        engine.attach("db", &db, &["front", "back"], "53:53/udp"),
        engine.attach("other", &other, &["other"], ""),
    ];
    let ip = |text: &str| Some(vec![text.parse::<Ipv4Addr>().unwrap()]);
    assert_eq!(attached[0].servers(), [Ipv4Addr::new(10, 90, 0, 1)]);
    assert_eq!(resolve(&web, "10.90.0.1", "db"), ip("10.90.0.3"));
    assert_eq!(
        resolve(&web, "10.90.0.1", "DB-alias.front"),
        ip("10.90.0.3")
    );
    assert_eq!(resolve(&db, "10.90.0.1", "web"), ip("10.90.0.2"));
    assert_eq!(
        resolve(&db, "10.90.1.1", "web"),
        ip("10.90.0.2"),
        "by its other network"
    );
    engine.connect("web", &web, "other").unwrap();
    assert_eq!(
        resolve(&web, "10.90.0.1", "other"),
        ip("10.90.2.2"),
        "at once"
    );
    assert_eq!(
        resolve(&neighbour, "10.90.0.1", "web"),
        None,
        "no resolver for the world"
    );
    // The same after an engine's restart, without an attachment made anew.
    drop(engine);
    let engine = Engine::start(&host, attached);
    assert_eq!(resolve(&web, "10.90.0.1", "db"), ip("10.90.0.3"));
    engine
        .run(|networks, runtime| runtime.block_on(networks.detach("db")))
        .unwrap();
    let gone = resolve(&web, "10.90.0.1", "db");
    assert_ne!(gone, ip("10.90.0.3"), "of a container that is gone");
}

/// A resolver on port 53 that says 203.0.113.7 to everything, after it has said something wrong.
fn resolver(netns: &Namespace) {
    netns.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:53").unwrap();
        let listener = TcpListener::bind("0.0.0.0:53").unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let mut forged = said(&buffer[..length]);
                forged[0] ^= 0xff;
                for answer in [forged, said(&buffer[..length])] {
                    socket.send_to(&answer, peer).unwrap();
                }
            }
        });
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let question = read_framed(&mut stream);
                write_framed(&mut stream, &said(&question));
            }
        });
    });
}

fn said(question: &[u8]) -> Vec<u8> {
    let mut answer = question.to_vec();
    answer[2] |= 0x80;
    answer[7] = 1;
    answer.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x09\0\x04\xcb\0\x71\x07");
    answer
}

fn read_framed(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut packet).unwrap();
    packet
}

fn write_framed(stream: &mut TcpStream, packet: &[u8]) {
    let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, packet].concat()).unwrap();
}

#[test]
fn other_names_are_asked_of_others_but_not_from_an_internal_network() {
    let (host, neighbour) = host();
    let (web, db) = (Namespace::new(), Namespace::new());
    resolver(&neighbour);
    let engine = Engine::start(&host, Vec::new());
    let upstreams = || vec![IpAddr::from([192, 0, 2, 2])];
    engine.attach_asking("web", &web, &["front"], "", upstreams());
    engine.attach_asking("db", &db, &["back"], "", upstreams());
    let answer = Some(vec![Ipv4Addr::new(203, 0, 113, 7)]);
    assert_eq!(resolve(&web, "10.90.0.1", "example.org"), answer);
    assert_eq!(resolve(&db, "10.90.1.1", "example.org"), Some(Vec::new()));
    let question = question("example.org");
    let over_tcp = web.run(move || {
        let mut stream = TcpStream::connect("10.90.0.1:53").unwrap();
        write_framed(&mut stream, &question);
        read_framed(&mut stream)
    });
    assert_eq!(Some(answers(&over_tcp)), answer);
}

#[test]
fn the_rules_of_two_networks_are_what_nft_reads() {
    let (host, _neighbour) = host();
    let (web, db) = (Namespace::new(), Namespace::new());
    let engine = Engine::start(&host, Vec::new());
    engine.attach("web", &web, &["front", "back"], "8080:80");
    engine.attach("db", &db, &["back"], "8081:80");
    let rules = host.shell("nft -y list table ip skeg");
    let golden = include_str!("golden/networks.nft");
    assert_eq!(rules, golden, "as read by nft:\n{rules}");
}
