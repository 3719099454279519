//! Servers that lie, stall, loop or die: a host stays within its bounds and says what is wrong.
//!
//! Real sockets, real TLS.

mod world;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use updater::fetch::{FolderSource, HttpSource, Mirror, Mirrors, Settings, Source, SourceError};
use world::*;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn settings() -> Settings {
    Settings {
        pause: Duration::from_millis(5),
        stall: Duration::from_secs(5),
        ..Settings::default()
    }
}

fn get(url: &str, settings: Settings, limit: u64) -> (Result<Option<Vec<u8>>, SourceError>, u64) {
    runtime().block_on(async {
        let mut source = HttpSource::new(url, settings).unwrap();
        let got = source.get("file", limit).await;
        (got, source.asked().fetched)
    })
}

#[test]
fn endless_data_stops_at_the_limit() {
    let server = Server::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
        false
    });
    let (got, fetched) = get(&server.url(), settings(), 10_000);
    assert!(
        matches!(got, Err(SourceError::TooLong { limit: 10_000, .. })),
        "{got:?}"
    );
    assert!(fetched < 1 << 20, "{fetched}");
}

#[test]
fn a_length_that_is_too_large_is_refused_before_a_byte() {
    let server = Server::new(|_, stream| answer(stream, "200 OK", "", &[0; 1001]));
    let (got, fetched) = get(&server.url(), settings(), 1000);
    assert!(matches!(got, Err(SourceError::TooLong { .. })), "{got:?}");
    assert_eq!(fetched, 0);
}

#[test]
fn a_redirect_loop_ends() {
    let server = Server::new(|_, stream| answer(stream, "302 Found", "location: /file\r\n", b""));
    let (got, _) = get(&server.url(), settings(), 1000);
    assert!(matches!(got, Err(SourceError::Redirects { .. })), "{got:?}");
    assert_eq!(server.targets().len(), 6);
}

#[test]
fn a_redirect_to_another_server_is_followed() {
    let other = Server::new(|_, stream| answer(stream, "200 OK", "", b"here"));
    let to = format!("location: {}/there\r\n", other.url());
    let server = Server::new(move |_, stream| answer(stream, "307 Go", &to, b""));
    assert_eq!(
        get(&server.url(), settings(), 1000).0.unwrap().unwrap(),
        b"here"
    );
    assert_eq!(other.targets(), ["/there"]);
}

#[test]
fn a_server_that_dies_in_the_middle_is_asked_for_the_rest_only() {
    let tries = AtomicUsize::new(0);
    let server = Server::new(move |request, stream| {
        if tries.fetch_add(1, Ordering::Relaxed) == 0 {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456");
            return false;
        }
        assert!(request.head.contains("range: bytes=7-"), "{}", request.head);
        answer(
            stream,
            "206 Partial Content",
            "content-range: bytes 7-9/10\r\n",
            b"789",
        )
    });
    let (got, fetched) = get(&server.url(), settings(), 1000);
    assert_eq!(got.unwrap().unwrap(), b"0123456789");
    assert_eq!(fetched, 10);
}

#[test]
fn a_server_without_ranges_begins_anew() {
    let tries = AtomicUsize::new(0);
    let server = Server::new(move |_, stream| {
        if tries.fetch_add(1, Ordering::Relaxed) == 0 {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456");
            return false;
        }
        answer(stream, "200 OK", "", b"0123456789")
    });
    let (got, fetched) = get(&server.url(), settings(), 1000);
    assert_eq!(got.unwrap().unwrap(), b"0123456789");
    assert_eq!(fetched, 17);
}

#[test]
fn a_byte_now_and_then_is_too_slow() {
    let server = Server::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
        false
    });
    let patient = Settings {
        patience: Duration::from_secs(1),
        ..settings()
    };
    let (got, _) = get(&server.url(), patient, 100_000);
    assert!(matches!(got, Err(SourceError::Slow { .. })), "{got:?}");
}

#[test]
fn a_rate_is_kept_to() {
    let server = Server::new(|_, stream| answer(stream, "200 OK", "", &[7; 100_000]));
    let limited = Settings {
        rate: Some(200_000),
        ..settings()
    };
    let began = Instant::now();
    assert_eq!(
        get(&server.url(), limited, 100_000)
            .0
            .unwrap()
            .unwrap()
            .len(),
        100_000
    );
    assert!(
        began.elapsed() >= Duration::from_millis(490),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn what_is_not_there_is_told_from_a_server_that_fails() {
    let server = Server::new(|_, stream| answer(stream, "404 Not Found", "", b""));
    assert!(matches!(get(&server.url(), settings(), 10).0, Ok(None)));
    let server = Server::new(|_, stream| answer(stream, "503 Later", "", b""));
    let (got, _) = get(&server.url(), settings(), 10);
    assert!(
        matches!(got, Err(SourceError::Status { status: 503, .. })),
        "{got:?}"
    );
    assert_eq!(server.targets().len(), 4);
}

#[test]
fn a_proxy_is_asked_for_the_whole_url() {
    let proxy = Server::new(|_, stream| answer(stream, "200 OK", "", b"by proxy"));
    let through = Settings {
        proxy: Some(proxy.url()),
        ..settings()
    };
    let (got, _) = get("http://releases.invalid/r", through, 100);
    assert_eq!(got.unwrap().unwrap(), b"by proxy");
    assert_eq!(proxy.targets(), ["http://releases.invalid/r/file"]);
}

#[test]
fn mirrors_are_asked_in_order_until_one_has_it() {
    let dead = Server::new(|_, stream| answer(stream, "500 No", "", b""));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), b"from the stick").unwrap();
    runtime().block_on(async {
        let dead = HttpSource::new(
            &dead.url(),
            Settings {
                tries: 1,
                ..settings()
            },
        )
        .unwrap();
        let stick = Mirror::Folder(FolderSource::new(folder.path()));
        let mut mirrors = Mirrors::new(vec![Mirror::Http(Box::new(dead)), stick]);
        for _ in 0..2 {
            assert_eq!(
                mirrors.get("file", 100).await.unwrap().unwrap(),
                b"from the stick"
            );
        }
        // The one that failed is not asked again.
        assert_eq!(mirrors.asked().requests, 3);
    });
    assert_eq!(dead.targets().len(), 1);
}

/// A TLS server with a certificate for `name` by an authority of its own, whose PEM it gives.
fn secure(name: &str) -> (u16, String) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec![]).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(parameters, &authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, &issuer).unwrap();
    let der = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], der)
        .unwrap();
    let config = Arc::new(config);
    let server = Server::raw(move |mut stream| {
        let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = rustls::Stream::new(&mut tls, &mut stream);
        let mut request = [0; 1024];
        if std::io::Read::read(&mut stream, &mut request).is_ok() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret");
        }
    });
    (server, authority.pem())
}

#[test]
fn a_host_trusts_its_own_authority_and_no_other_name() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("own.crt");
    let trusting = |pem: &str| {
        std::fs::write(&bundle, pem).unwrap();
        Settings {
            authorities: vec![bundle.clone()],
            ..settings()
        }
    };
    let (port, pem) = secure("localhost");
    let (got, _) = get(&format!("https://localhost:{port}"), trusting(&pem), 100);
    assert_eq!(got.unwrap().unwrap(), b"secret");
    let (port, pem) = secure("other.example");
    let (got, _) = get(&format!("https://localhost:{port}"), trusting(&pem), 100);
    assert!(
        matches!(&got, Err(SourceError::Certificate { message, .. }) if message.contains("other.example")),
        "{got:?}"
    );
    let (port, _) = secure("localhost");
    let (got, _) = get(&format!("https://localhost:{port}"), trusting(&pem), 100);
    assert!(
        matches!(got, Err(SourceError::Certificate { .. })),
        "{got:?}"
    );
}
