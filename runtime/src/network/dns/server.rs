//! The sockets of one network's name server, on its gateway.
//!
//! Bounded: so many questions are under way at a time, so many connections are open, and each has
//! its time. The port is not 53 (the rules lead there), so that neither a container that publishes
//! 53 nor a server of the host itself is in its way.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::proto::op::ResponseCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::answer::{Answer, OVER_TCP, OVER_UDP, answer, refusal};
use super::names::Names;
use super::upstream::{self, Over};

/// The port that is tried first: the same one after a restart, so that known flows go on.
const PORT: u16 = 10053;
/// Questions to other servers at a time.
const UNDER_WAY: usize = 64;
/// Connections at a time.
const CONNECTIONS: usize = 16;
/// A connection without a question is closed.
const IDLE: Duration = Duration::from_secs(10);
/// No question is longer.
const LONGEST: usize = 4096;

/// What all servers answer from.
pub type Shared = Arc<Mutex<Names>>;

/// A name server, as long as this lives.
#[derive(Debug)]
pub struct Server {
    /// Its port on the gateway.
    pub port: u16,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Server {
    /// Serves on `gateway`, an address of the calling thread's network namespace.
    pub async fn start(gateway: Ipv4Addr, names: Shared) -> io::Result<Server> {
        let (udp, tcp) = match sockets(gateway, PORT).await {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => sockets(gateway, 0).await?,
            other => other?,
        };
        let port = udp.local_addr()?.port();
        let room = Arc::new(Semaphore::new(UNDER_WAY));
        let datagrams = tokio::spawn(serve_udp(Arc::new(udp), names.clone(), room.clone()));
        let connections = tokio::spawn(serve_tcp(tcp, names, room));
        Ok(Server {
            port,
            tasks: [datagrams, connections],
        })
    }
}

/// Both on the same port.
async fn sockets(gateway: Ipv4Addr, port: u16) -> io::Result<(UdpSocket, TcpListener)> {
    let tcp = TcpListener::bind((gateway, port)).await?;
    let udp = UdpSocket::bind(tcp.local_addr()?).await?;
    Ok((udp, tcp))
}

async fn serve_udp(socket: Arc<UdpSocket>, names: Shared, room: Arc<Semaphore>) {
    let mut buffer = vec![0; LONGEST];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(e) => {
                tracing::debug!("name server: {e}");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let packet = &buffer[..length];
        match decide(packet, from, &names, OVER_UDP) {
            Answer::Silence => {}
            Answer::Reply(bytes) => drop(socket.try_send_to(&bytes, from)),
            Answer::Ask(servers) => hand_on(&socket, packet, from, servers, &room),
        }
    }
}

fn decide(packet: &[u8], from: SocketAddr, names: &Shared, most: usize) -> Answer {
    let IpAddr::V4(ip) = from.ip() else {
        return Answer::Silence;
    };
    let names = names.lock().unwrap_or_else(PoisonError::into_inner);
    answer(packet, ip, &names, most)
}

fn hand_on(
    socket: &Arc<UdpSocket>,
    packet: &[u8],
    from: SocketAddr,
    servers: Vec<IpAddr>,
    room: &Arc<Semaphore>,
) {
    let Ok(permit) = room.clone().try_acquire_owned() else {
        let busy = refusal(packet, ResponseCode::ServFail);
        return drop(socket.try_send_to(&busy, from));
    };
    let (socket, packet) = (socket.clone(), packet.to_vec());
    tokio::spawn(async move {
        let told = upstream::ask(&packet, &servers, Over::Udp).await;
        drop(permit);
        let told = told.unwrap_or_else(|| refusal(&packet, ResponseCode::ServFail));
        let _ = socket.send_to(&told, from).await;
    });
}

async fn serve_tcp(listener: TcpListener, names: Shared, room: Arc<Semaphore>) {
    let open = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = open.clone().acquire_owned().await else {
            return;
        };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(e) => {
                tracing::debug!("name server: {e}");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let (names, room) = (names.clone(), room.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let _ = converse(stream, from, &names, &room).await;
        });
    }
}

async fn converse(
    mut stream: TcpStream,
    from: SocketAddr,
    names: &Shared,
    room: &Semaphore,
) -> io::Result<()> {
    loop {
        let packet = timeout(IDLE, read(&mut stream)).await??;
        let told = match decide(&packet, from, names, OVER_TCP) {
            Answer::Silence => return Ok(()),
            Answer::Reply(bytes) => bytes,
            Answer::Ask(servers) => {
                let _permit = room.acquire().await.map_err(io::Error::other)?;
                let told = upstream::ask(&packet, &servers, Over::Tcp).await;
                told.unwrap_or_else(|| refusal(&packet, ResponseCode::ServFail))
            }
        };
        let length = u16::try_from(told.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &told].concat();
        timeout(IDLE, stream.write_all(&framed)).await??;
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > LONGEST {
        return Err(io::Error::other("a question of more than 4096 bytes"));
    }
    let mut packet = vec![0; length];
    stream.read_exact(&mut packet).await?;
    Ok(packet)
}
