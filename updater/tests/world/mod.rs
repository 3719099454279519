//! Keys, documents and servers that the tests make: a good world, to be spoilt in one place each.

#![allow(dead_code, reason = "each test program uses its part")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use formats::channel::{Channel, Pointer, Rollout};
use formats::digest::{Hex, PublicKey};
use formats::manifest::{File, Manifest, Role};
use formats::root::{Keys, Root};
use formats::signed::{Document, Signature, seal};
use ring::signature::{Ed25519KeyPair, KeyPair};
use sha2::Digest;

pub const NOW: u64 = 1_800_000_000;
pub const DAY: u64 = 24 * 3600;

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

pub fn public(seed: u8) -> PublicKey {
    Hex(pair(seed).public_key().as_ref().try_into().unwrap())
}

/// Keys of these seeds.
pub fn keys(threshold: u32, seeds: &[u8]) -> Keys {
    let mut keys: Vec<_> = seeds.iter().map(|seed| public(*seed)).collect();
    keys.sort_unstable();
    Keys { threshold, keys }
}

/// Roots are signed by keys 1 to 3, releases by 11 to 13, two each; channels by key 21.
pub fn root() -> Root {
    Root {
        document: Root::KIND.to_owned(),
        product: "skeg-vm".parse().unwrap(),
        version: 1,
        created: NOW - 30 * DAY,
        expires: NOW + 300 * DAY,
        root: keys(2, &[1, 2, 3]),
        release: keys(2, &[11, 12, 13]),
        channel: keys(1, &[21]),
    }
}

pub fn manifest() -> Manifest {
    Manifest {
        document: Manifest::KIND.to_owned(),
        product: "skeg-vm".parse().unwrap(),
        version: "1.1.0".parse().unwrap(),
        channels: vec!["stable".parse().unwrap()],
        minimum: "1.0.0".parse().unwrap(),
        created: NOW - DAY,
        expires: NOW + 300 * DAY,
        commit: Hex([7; 32]),
        files: vec![File {
            role: Role::Uki,
            length: 1000,
            sha256: Hex([8; 32]),
        }],
    }
}

pub fn channel(manifest: &Manifest) -> Channel {
    let bytes = manifest.to_bytes().unwrap();
    Channel {
        document: Channel::KIND.to_owned(),
        product: "skeg-vm".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        counter: 5,
        created: NOW - 3600,
        expires: NOW + 7 * DAY,
        root: 1,
        frozen: false,
        release: Pointer {
            version: manifest.version,
            length: bytes.len() as u64,
            sha256: Hex(sha2::Sha256::digest(&bytes).into()),
        },
        rollout: Rollout {
            start: NOW,
            curve: vec![],
        },
    }
}

/// A file of these bytes, signed by the keys of these seeds.
pub fn sealed(bytes: &[u8], seeds: &[u8]) -> Vec<u8> {
    let signature = |seed: &u8| Signature {
        key: public(*seed),
        signature: Hex(pair(*seed).sign(bytes).as_ref().try_into().unwrap()),
    };
    let signatures: Vec<_> = seeds.iter().map(signature).collect();
    seal(bytes, &signatures)
}

pub fn signed<D: Document>(document: &D, seeds: &[u8]) -> Vec<u8> {
    sealed(&document.to_bytes().unwrap(), seeds)
}

/// A request's first line, and all of it.
pub struct Request {
    pub target: String,
    pub head: String,
}

/// A server on a thread; whoever drops it leaves it to the process's end.
pub struct Server {
    pub port: u16,
    pub seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Gives each request to `answer`, one after the other on a connection, until it says no.
    pub fn new(answer: impl Fn(&Request, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                std::thread::spawn(move || serve(stream, &*answer, &log));
            }
        });
        Self { port, seen }
    }

    /// Gives each connection to `serve`. Says its port.
    pub fn raw(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || listener.incoming().flatten().for_each(serve));
        port
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn targets(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &dyn Fn(&Request, &mut TcpStream) -> bool,
    seen: &Mutex<Vec<String>>,
) {
    loop {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let target = head.split(' ').nth(1).unwrap().to_owned();
        seen.lock().unwrap().push(target.clone());
        if !answer(&Request { target, head }, &mut stream) {
            return;
        }
    }
}

/// A whole answer.
pub fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> bool {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).is_ok() && stream.write_all(body).is_ok()
}

/// A UKI's outline: PE headers, `.linux`, and `.initrd` as a cpio archive.
pub fn uki(kernel: &[u8], files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut initrd = Vec::new();
    for (name, data) in files {
        record(&mut initrd, name, 0o100_644, data);
    }
    record(&mut initrd, "TRAILER!!!", 0, b"");
    initrd.resize(initrd.len().next_multiple_of(512), 0);
    let mut file = vec![0; 0x400];
    file[..2].copy_from_slice(b"MZ");
    file[0x3c] = 0x40;
    file[0x40..0x44].copy_from_slice(b"PE\0\0");
    file[0x46] = 2;
    let sections = [
        (b".linux\0\0", 0x400, kernel.len()),
        (b".initrd\0", 0x400 + kernel.len(), initrd.len()),
    ];
    for (index, (name, start, size)) in sections.into_iter().enumerate() {
        let at = 0x58 + index * 40;
        file[at..at + 8].copy_from_slice(name);
        file[at + 16..at + 20].copy_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
        file[at + 20..at + 24].copy_from_slice(&u32::try_from(start).unwrap().to_le_bytes());
    }
    file.extend(kernel);
    file.extend(initrd);
    file
}

fn record(out: &mut Vec<u8>, name: &str, mode: usize, data: &[u8]) {
    out.extend(b"070701");
    for field in [
        0,
        mode,
        0,
        0,
        1,
        0,
        data.len(),
        0,
        0,
        0,
        0,
        name.len() + 1,
        0,
    ] {
        out.extend(format!("{field:08x}").bytes());
    }
    out.extend(name.bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(data);
    out.resize(out.len().next_multiple_of(4), 0);
}
