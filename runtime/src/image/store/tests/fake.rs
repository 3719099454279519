//! A registry that misbehaves on demand: raw HTTP/1.1 on loopback, one answer a connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What happens instead of the right answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// A status with header lines and a body.
    Status(u16, &'static str, &'static str),
    /// The right length is announced, then the connection breaks after so many bytes.
    CutAfter(usize),
    /// Another body, with its own right length.
    Body(Vec<u8>),
    /// Another body, chunked, so without a length.
    Chunked(Vec<u8>),
    /// The body's first bytes with no length at all, then the end of the connection.
    Unannounced(usize),
    /// Bytes without end, chunked.
    Endless,
    /// Nothing.
    Stall,
    /// 206 without saying which range.
    NoRange,
}

#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    pub headers: HashMap<String, String>,
}

#[derive(Default)]
pub struct World {
    pub manifests: HashMap<String, (String, Vec<u8>)>,
    pub blobs: HashMap<String, Vec<u8>>,
    /// Part of a path, how often, and what.
    pub faults: Vec<(String, usize, Fault)>,
    pub seen: Vec<Seen>,
    pub without_ranges: bool,
    /// The token that every request needs, and the Basic login that the token costs.
    pub token: Option<(String, Option<String>)>,
    /// Blobs are had from here.
    pub redirect: Option<String>,
    pub slow: Option<Duration>,
}

#[derive(Clone)]
pub struct Fake {
    pub address: SocketAddr,
    pub world: Arc<Mutex<World>>,
}

impl Fake {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            address: listener.local_addr().unwrap(),
            world: Arc::default(),
        };
        let serving = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let fake = serving.clone();
                tokio::spawn(async move { fake.answer(stream).await });
            }
        });
        fake
    }

    pub fn fault(&self, path: &str, times: usize, fault: Fault) {
        self.world
            .lock()
            .unwrap()
            .faults
            .push((path.to_owned(), times, fault));
    }

    pub fn seen(&self, part: &str) -> Vec<Seen> {
        let world = self.world.lock().unwrap();
        world
            .seen
            .iter()
            .filter(|s| s.path.contains(part))
            .cloned()
            .collect()
    }

    async fn answer(&self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let path = head.first()?.split(' ').nth(1)?.to_owned();
        let headers = head[1..]
            .iter()
            .filter_map(|l| l.split_once(':'))
            .map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned()))
            .collect();
        let seen = Seen { path, headers };
        let slow = self.world.lock().unwrap().slow;
        if let Some(slow) = slow {
            tokio::time::sleep(slow).await;
        }
        let (bytes, ending) = self.respond(&seen);
        let mut stream = stream.into_inner();
        stream.write_all(&bytes).await.ok()?;
        match ending {
            Ending::Close => stream.shutdown().await.ok()?,
            Ending::Hang => tokio::time::sleep(Duration::from_secs(60)).await,
            Ending::Flood => loop {
                let chunk = [b"1000\r\n".as_slice(), &[7; 4096], b"\r\n"].concat();
                stream.write_all(&chunk).await.ok()?;
            },
        }
        Some(())
    }

    fn respond(&self, seen: &Seen) -> (Vec<u8>, Ending) {
        let mut world = self.world.lock().unwrap();
        world.seen.push(seen.clone());
        let fault = world
            .faults
            .iter_mut()
            .find(|(part, times, _)| *times > 0 && seen.path.contains(part.as_str()));
        let fault = fault.map(|(_, times, fault)| {
            *times -= 1;
            fault.clone()
        });
        if let Some(answer) = world.authenticate(seen, self.address) {
            return (answer, Ending::Close);
        }
        if let Some(to) = world
            .redirect
            .as_ref()
            .filter(|_| seen.path.contains("/blobs/"))
        {
            let to = format!("Location: {to}{}\r\n", seen.path);
            return (plain(307, &to, b""), Ending::Close);
        }
        let Some((kind, body)) = world.find(&seen.path) else {
            let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
            return (plain(404, "", body), Ending::Close);
        };
        let kind = format!("Content-Type: {kind}\r\n");
        match fault {
            None => (world.ranged(seen, &kind, &body), Ending::Close),
            Some(Fault::Status(status, headers, body)) => {
                (plain(status, headers, body.as_bytes()), Ending::Close)
            }
            Some(Fault::CutAfter(n)) => {
                let mut whole = world.ranged(seen, &kind, &body);
                let head = whole.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
                whole.truncate(head + n);
                (whole, Ending::Close)
            }
            Some(Fault::Body(body)) => (plain(200, &kind, &body), Ending::Close),
            Some(Fault::Chunked(body)) => {
                let head = format!("HTTP/1.1 200 OK\r\n{kind}Transfer-Encoding: chunked\r\n\r\n");
                let size = format!("{:x}\r\n", body.len());
                let parts = [head.as_bytes(), size.as_bytes(), &body, b"\r\n0\r\n\r\n"];
                (parts.concat(), Ending::Close)
            }
            Some(Fault::Unannounced(n)) => {
                let head = format!("HTTP/1.1 200 OK\r\n{kind}Connection: close\r\n\r\n");
                ([head.as_bytes(), &body[..n]].concat(), Ending::Close)
            }
            Some(Fault::Endless) => {
                let head = format!("HTTP/1.1 200 OK\r\n{kind}Transfer-Encoding: chunked\r\n\r\n");
                (head.into_bytes(), Ending::Flood)
            }
            Some(Fault::Stall) => (Vec::new(), Ending::Hang),
            Some(Fault::NoRange) => (plain(206, &kind, &body), Ending::Close),
        }
    }
}

enum Ending {
    Close,
    Hang,
    Flood,
}

impl World {
    fn find(&self, path: &str) -> Option<(String, Vec<u8>)> {
        let last = path.split('?').next()?.rsplit('/').next()?;
        if path.contains("/manifests/") {
            return self.manifests.get(last).cloned();
        }
        let blob = self.blobs.get(last)?;
        Some(("application/octet-stream".to_owned(), blob.clone()))
    }

    fn ranged(&self, seen: &Seen, kind: &str, body: &[u8]) -> Vec<u8> {
        let range = seen.headers.get("range").filter(|_| !self.without_ranges);
        let start = range.and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        match start {
            None => plain(200, kind, body),
            Some(start) if start >= body.len() => plain(416, kind, b""),
            Some(start) => {
                let (last, whole) = (body.len() - 1, body.len());
                let range = format!("{kind}Content-Range: bytes {start}-{last}/{whole}\r\n");
                plain(206, &range, &body[start..])
            }
        }
    }

    fn authenticate(&self, seen: &Seen, address: SocketAddr) -> Option<Vec<u8>> {
        let (token, login) = self.token.as_ref()?;
        let given = seen.headers.get("authorization");
        if seen.path.starts_with("/token") {
            if login.is_some() && given != login.as_ref() {
                return Some(plain(401, "", b""));
            }
            let body = format!(r#"{{"token":"{token}"}}"#);
            return Some(plain(200, "", body.as_bytes()));
        }
        if given == Some(&format!("Bearer {token}")) {
            return None;
        }
        let challenge = format!(
            "WWW-Authenticate: Bearer realm=\"http://{address}/token\",service=\"fake\"\r\n"
        );
        Some(plain(401, &challenge, b""))
    }
}

fn plain(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}
