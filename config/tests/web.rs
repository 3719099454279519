//! What documents point at, fetched from a real server: headers, redirects, proxies, authorities.
//!
//! Secrets in URLs and headers are in no error.

use config::http::Settings;
use config::translate::{Host, Resolved, resolve};
use config::web::Web;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::Duration;

/// Serves by the request's first line and headers; answers are whole.
fn serve(answers: impl Fn(&str, &[String]) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let _ = (&stream).write_all(answers(&first, &headers).as_bytes());
        }
    });
    address
}

fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn moved(to: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

fn with(ignition: &str, contents: &str) -> Resolved {
    let text = format!(
        "{{\"ignition\":{{\"version\":\"3.1.0\"{ignition}}},\"storage\":{{\"files\":[{{\"path\":\"/etc/a\",\"contents\":{{{contents}}}}}]}}}}"
    );
    let settings = Settings {
        total: Some(Duration::from_secs(2)),
        ..Settings::default()
    };
    resolve(
        "x",
        text.as_bytes(),
        &Host::default(),
        &mut Web { settings },
    )
}

fn content(resolved: &Resolved) -> &str {
    let tree = resolved.tree.as_ref();
    let tree = tree.unwrap_or_else(|| panic!("{:?}", resolved.errors()));
    tree.text("/etc/a").unwrap()
}

#[test]
fn a_header_goes_to_the_server_that_it_is_for_and_not_where_that_one_leads() {
    let other = serve(|_, headers| ok(&headers.join("|").to_lowercase()));
    let target = format!("http://{other}/b");
    let first = serve(
        move |_, headers| match headers.iter().any(|h| h.ends_with("s3cret")) {
            true => moved(&target),
            false => ok("no header"),
        },
    );
    let contents = format!(
        "\"source\":\"http://{first}/a\",\"httpHeaders\":[{{\"name\":\"Authorization\",\"value\":\"Bearer s3cret\"}}]"
    );
    let resolved = with("", &contents);
    let seen = content(&resolved);
    assert!(
        seen.contains("host: ") && !seen.contains("s3cret"),
        "{seen}"
    );
}

#[test]
fn what_cannot_be_fetched_is_told_without_its_secrets() {
    let server = serve(|_, _| {
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into()
    });
    let silent = "127.0.0.1:1";
    for address in [server.as_str(), silent] {
        let contents = format!(
            "\"source\":\"http://{address}/a?sig=s3cret\",\"httpHeaders\":[{{\"name\":\"X\",\"value\":\"s3cret\"}}]"
        );
        let errors = with("", &contents).errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].starts_with("x:1:") && !errors[0].contains("s3cret"),
            "{errors:?}"
        );
    }
}

#[test]
fn a_server_that_leads_in_circles_is_left() {
    let server = serve(|_, _| moved("/again"));
    let errors = with("", &format!("\"source\":\"http://{server}/a\"")).errors();
    assert!(errors[0].contains("redirected too often"), "{errors:?}");
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while stream.write_all(&[0; 65536]).is_ok() {}
    });
    let contents = format!("\"source\":\"http://{address}/a\"");
    let text = format!(
        "{{\"ignition\":{{\"version\":\"3.1.0\"}},\"storage\":{{\"files\":[{{\"path\":\"/etc/a\",\"contents\":{{{contents}}}}}]}}}}"
    );
    let mut web = Web {
        settings: Settings::default(),
    };
    let errors = resolve("x", text.as_bytes(), &Host::default(), &mut web).errors();
    assert!(errors[0].contains("larger than 64 MiB"), "{errors:?}");
}

#[test]
fn a_document_s_proxy_is_asked_for_the_whole_url() {
    let proxy = serve(|first, _| ok(first));
    let ignition = format!(",\"proxy\":{{\"httpProxy\":\"http://{proxy}\"}}");
    let resolved = with(&ignition, "\"source\":\"http://server.test/a\"");
    assert_eq!(content(&resolved), "GET http://server.test/a HTTP/1.1");
}

#[test]
fn a_server_whose_authority_nobody_trusts_is_refused_and_a_document_may_bring_it() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = std::sync::Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, stream);
            let mut line = String::new();
            let mut reader = BufReader::new(&mut tls);
            while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                line.clear();
            }
            let _ = tls.write_all(ok("over TLS").as_bytes());
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    let contents = format!("\"source\":\"https://localhost:{port}/a\"");
    let errors = with("", &contents).errors();
    assert!(errors[0].contains("TLS"), "{errors:?}");
    let pem = data_encoding::BASE64.encode(made.cert.pem().as_bytes());
    let ignition = format!(
        ",\"security\":{{\"tls\":{{\"certificateAuthorities\":[{{\"source\":\"data:;base64,{pem}\"}}]}}}}"
    );
    assert_eq!(content(&with(&ignition, &contents)), "over TLS");
}
