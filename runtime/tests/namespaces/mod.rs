//! Network namespaces for tests: each is a thread that lives in one and runs what it is given.
//!
//! Needs root, and `ip` and `nft` from Debian's iproute2 and nftables.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};

/// Fails a test that may not make namespaces: one that returned early would count as passed.
pub fn need_root() {
    let is_root = rustix::process::geteuid().is_root();
    assert!(is_root, "network namespaces need root: sudo cargo test");
}

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace of its own, gone with this value.
pub struct Namespace {
    jobs: Sender<Job>,
    /// Its descriptor, as the engine would have it.
    pub descriptor: File,
}

impl Namespace {
    pub fn new() -> Namespace {
        let (jobs, inbox) = channel::<Job>();
        let (ready, opened) = channel();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("unshare a network namespace: needs root");
            ready
                .send(File::open("/proc/thread-self/ns/net").unwrap())
                .unwrap();
            inbox.into_iter().for_each(|job| job());
        });
        Namespace {
            jobs,
            descriptor: opened.recv().unwrap(),
        }
    }

    /// Runs `body` in the namespace and waits for it.
    pub fn run<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        self.jobs
            .send(Box::new(move || done.send(body()).unwrap_or_default()))
            .unwrap();
        result
            .recv()
            .expect("the namespace's thread panicked: see above")
    }

    /// Runs `body` there on a tokio runtime of one thread, as the engine does.
    pub fn block_on<T: Send + 'static, F: Future<Output = T>>(
        &self,
        body: impl FnOnce() -> F + Send + 'static,
    ) -> T {
        self.run(|| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(body())
        })
    }

    /// Starts `body` on another thread of the namespace.
    pub fn detached(&self, body: impl FnOnce() + Send + 'static) {
        self.run(move || {
            std::thread::spawn(body);
        });
    }

    /// The thread's id, as `ip link set … netns` takes it.
    pub fn thread(&self) -> String {
        let link = self.run(|| std::fs::read_link("/proc/thread-self").unwrap());
        link.file_name().unwrap().to_string_lossy().into_owned()
    }

    /// Runs a command line there; its output.
    pub fn shell(&self, line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        self.run(move || {
            let output = Command::new(&words[0]).args(&words[1..]).output();
            let output = output
                .unwrap_or_else(|error| panic!("{words:?}: {error}: needs iproute2 and nftables"));
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{words:?}: {errors}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
    }

    /// Serves TCP on `port`: each connection is told who it seems to come from, and echoed.
    pub fn serve(&self, port: u16) {
        self.run(move || {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    std::thread::spawn(move || greet(stream.unwrap()));
                }
            });
        });
    }

    /// Answers UDP on `port` with the sender's address.
    pub fn serve_udp(&self, port: u16) {
        self.run(move || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(peer.ip().to_string().as_bytes(), peer);
                }
            });
        });
    }

    /// Whom a server at `address` sees when called from here; `None` if it cannot be reached.
    pub fn seen_by(&self, address: &str) -> Option<String> {
        let address: SocketAddr = address.parse().unwrap();
        self.run(move || {
            let mut stream =
                TcpStream::connect_timeout(&address, Duration::from_millis(700)).ok()?;
            Some(read_line(&mut stream))
        })
    }

    /// Whether an echo (RFC 792) comes back from there.
    pub fn pings(&self, address: Ipv4Addr) -> bool {
        use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketAddrV4, SocketType};
        self.run(move || {
            let icmp = Some(net::ipproto::ICMP);
            let socket = net::socket(AddressFamily::INET, SocketType::RAW, icmp).unwrap();
            let patience = Some(Duration::from_secs(2));
            let timeout = net::sockopt::Timeout::Recv;
            net::sockopt::set_socket_timeout(&socket, timeout, patience).unwrap();
            // An echo without a number, and the sum of that.
            let echo = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];
            let to = SocketAddrV4::new(address, 0);
            if net::sendto(&socket, &echo, SendFlags::empty(), &to).is_err() {
                return false;
            }
            let mut packet = [0; 64];
            // The type stands after the header, which has no options.
            net::recv(&socket, &mut packet[..], RecvFlags::empty()).is_ok() && packet[20] == 0
        })
    }

    /// The same over UDP.
    pub fn seen_by_udp(&self, address: &str) -> Option<String> {
        let address: SocketAddr = address.parse().unwrap();
        self.run(move || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(700)))
                .unwrap();
            socket.send_to(b"?", address).ok()?;
            let mut buffer = [0; 64];
            let (length, from) = socket.recv_from(&mut buffer).ok()?;
            assert_eq!(from, address, "the answer comes from where it was asked");
            Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
        })
    }

    /// An open connection from here.
    pub fn connect(&self, address: &str) -> TcpStream {
        let address: SocketAddr = address.parse().unwrap();
        self.run(move || {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(2)))
                .unwrap();
            read_line(&mut stream);
            stream
        })
    }
}

fn greet(mut stream: TcpStream) {
    let peer = stream.peer_addr().unwrap().ip();
    let _ = stream.write_all(format!("{peer}\n").as_bytes());
    let mut buffer = [0; 64];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        let _ = stream.write_all(&buffer[..length]);
    }
}

fn read_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// Whether `stream` still carries bytes there and back.
pub fn is_alive(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 4];
    stream.write_all(b"ping").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer == *b"ping"
}
