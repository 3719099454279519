//! Each metadata service by a small server that answers as its provider documents it, and nothing else:
//! another method, path or header gets what the real one gives to strangers.

use config::http::Settings;
use config::source::{Metadata, Platform, user_data};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const USER_DATA: &str = r#"{"ignition":{"version":"3.4.0"}}"#;

/// One request: its first line, and its headers in small letters.
type Asked = (String, Vec<String>);
type Answers = fn(&Asked) -> (u16, &'static str, String);

struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

fn serve(answers: Answers) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            let headers = lines.take_while(|line| !line.is_empty());
            let asked: Asked = (first, headers.map(|h| h.to_lowercase()).collect());
            let (status, header, body) = answers(&asked);
            all.lock().unwrap().push(asked);
            let length = body.len();
            let text = format!(
                "HTTP/1.1 {status} X\r\n{header}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            let _ = (&stream).write_all(text.as_bytes());
        }
    });
    Server { address, asked }
}

fn ask(platform: &Platform, server: &Server) -> Result<Option<String>, String> {
    let settings = Settings {
        total: Some(Duration::from_secs(5)),
        ..Settings::default()
    };
    let metadata = Metadata {
        platform,
        address: Some(&server.address),
    };
    let found = user_data(&metadata, &settings)?;
    Ok(found.map(|document| String::from_utf8(document.bytes).unwrap()))
}

fn has(asked: &Asked, header: &str) -> bool {
    asked.1.iter().any(|line| line == header)
}

fn given() -> Result<Option<String>, String> {
    Ok(Some(USER_DATA.to_owned()))
}

fn plain(asked: &Asked, path: &str) -> (u16, &'static str, String) {
    match asked.0 == format!("GET {path} HTTP/1.1") {
        true => (200, "", USER_DATA.to_owned()),
        false => (404, "", "not here".to_owned()),
    }
}

#[test]
fn amazon_s_is_asked_with_a_token_that_only_a_put_gives() {
    let server = serve(|asked| match asked.0.as_str() {
        "PUT /latest/api/token HTTP/1.1"
            if has(asked, "x-aws-ec2-metadata-token-ttl-seconds: 300") =>
        {
            (200, "", "AQAEtoken==".to_owned())
        }
        "GET /2019-10-01/user-data HTTP/1.1"
            if has(asked, "x-aws-ec2-metadata-token: aqaetoken==") =>
        {
            (200, "", USER_DATA.to_owned())
        }
        _ => (401, "", String::new()),
    });
    assert_eq!(ask(&Platform::Aws, &server), given());
    let refusing = serve(|_| (403, "", "hop limit".to_owned()));
    let error = ask(&Platform::Aws, &refusing).unwrap_err();
    assert_eq!(
        error,
        "aws: asked for a token, the metadata service answered 403"
    );
}

#[test]
fn amazon_s_machine_without_user_data_has_none() {
    let server = serve(|asked| match asked.0.starts_with("PUT") {
        true => (200, "", "token".to_owned()),
        false => (404, "", "<html>".to_owned()),
    });
    assert_eq!(ask(&Platform::Aws, &server), Ok(None));
}

#[test]
fn google_s_wants_its_header_and_says_who_it_is() {
    let server = serve(|asked| {
        let path = "GET /computeMetadata/v1/instance/attributes/user-data HTTP/1.1";
        match asked.0 == path && has(asked, "metadata-flavor: google") {
            true => (200, "Metadata-Flavor: Google\r\n", USER_DATA.to_owned()),
            false => (403, "Metadata-Flavor: Google\r\n", String::new()),
        }
    });
    assert_eq!(ask(&Platform::Gcp, &server), given());
    let stranger = serve(|_| (200, "", USER_DATA.to_owned()));
    let error = ask(&Platform::Gcp, &stranger).unwrap_err();
    assert!(error.contains("not Google's"), "{error}");
}

#[test]
fn azure_s_user_data_comes_in_base64() {
    let server = serve(|asked| {
        let path =
            "GET /metadata/instance/compute/userData?api-version=2021-01-01&format=text HTTP/1.1";
        match asked.0 == path && has(asked, "metadata: true") {
            true => (200, "", data_encoding::BASE64.encode(USER_DATA.as_bytes())),
            false => (400, "", r#"{"error":"Bad request"}"#.to_owned()),
        }
    });
    assert_eq!(ask(&Platform::Azure, &server), given());
    let empty = serve(|_| (200, "", String::new()));
    assert_eq!(ask(&Platform::Azure, &empty), Ok(None));
    let other = serve(|_| (200, "", "{not base64}".to_owned()));
    assert!(
        ask(&Platform::Azure, &other)
            .unwrap_err()
            .contains("base64")
    );
}

#[test]
fn the_others_have_a_path_each() {
    let openstack = serve(|asked| plain(asked, "/openstack/latest/user_data"));
    assert_eq!(ask(&Platform::OpenStack, &openstack), given());
    let digitalocean = serve(|asked| plain(asked, "/metadata/v1/user-data"));
    assert_eq!(ask(&Platform::DigitalOcean, &digitalocean), given());
    let hetzner = serve(|asked| plain(asked, "/hetzner/v1/userdata"));
    assert_eq!(ask(&Platform::Hetzner, &hetzner), given());
    let seed = serve(|asked| plain(asked, "/mine/user-data"));
    let platform = Platform::None.of_seed(Some(&format!("nocloud;s={}/mine/", seed.address)));
    assert_eq!(ask(&platform, &seed), given());
    assert_eq!(ask(&Platform::Hetzner, &seed), Ok(None));
}

#[test]
fn a_service_that_is_not_up_yet_is_asked_again_and_one_that_refuses_is_not() {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let late = serve(
        |_| match COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 | 1 => (503, "", String::new()),
            2 => (429, "", String::new()),
            _ => (200, "", USER_DATA.to_owned()),
        },
    );
    assert_eq!(ask(&Platform::Hetzner, &late), given());
    assert_eq!(late.asked.lock().unwrap().len(), 4);
    let refusing = serve(|_| (401, "", String::new()));
    assert!(ask(&Platform::Hetzner, &refusing).is_err());
    assert_eq!(refusing.asked.lock().unwrap().len(), 1);
}

#[test]
fn guestinfo_says_what_to_do_instead() {
    let nobody = serve(|_| (404, "", String::new()));
    let error = ask(&Platform::Vmware, &nobody).unwrap_err();
    assert!(
        error.contains("cidata") && nobody.asked.lock().unwrap().is_empty(),
        "{error}"
    );
}
