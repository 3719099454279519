//! What the API refuses, each with a clear 4xx, and that nothing of it is stored.

use crate::cluster::Cluster;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};

/// The API's tokens: each role's is its name.
pub fn tokens() -> String {
    let line = |role: &str| {
        let hash: String = Sha256::digest(role)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        format!("{role} {hash} test\n")
    };
    ["view", "deploy", "admin"].map(line).concat()
}

/// Sends a request to the first engine; its status and body.
pub fn send(
    c: &Cluster,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> (u16, String) {
    let mut socket = std::net::TcpStream::connect(c.address(0)).expect("connect");
    let token = token.map_or(String::new(), |t| format!("Authorization: Bearer {t}\r\n"));
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{token}Content-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).expect("send");
    // A body that is too large is refused before it is read.
    let _ = socket.write_all(body.as_bytes());
    let mut bytes = Vec::new();
    let _ = socket.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.unwrap_or_default(), body.to_owned())
}

const UNIT: &str = "/fleet/v1/units/a.service";
const GOOD: &str = r#"{"desiredState":"launched","options":[{"section":"Service","name":"ExecStart","value":"/bin/x"}]}"#;

fn option(section: &str, name: &str, value: &str) -> String {
    let option = serde_json::json!({"section": section, "name": name, "value": value});
    serde_json::json!({"desiredState": "launched", "options": [option]}).to_string()
}

/// What, method, path, token, body; status and a part of the message.
type Refused<'a> = (
    &'a str,
    &'a str,
    &'a str,
    Option<&'a str>,
    String,
    u16,
    &'a str,
);

#[test]
fn what_may_not_be_is_a_clear_4xx_and_nothing_is_stored() {
    let c = Cluster::start(1, 1, 1);
    let big = option("Service", "ExecStart", &"x".repeat(1 << 20));
    let quite_big = option("Service", "ExecStart", &"x".repeat(200 << 10));
    let deploy = Some("deploy");
    let hashed = tokens();
    let long = format!("/fleet/v1/units/{}.service", "a".repeat(300));
    let table: Vec<Refused<'_>> = vec![
        (
            "no token",
            "PUT",
            UNIT,
            None,
            GOOD.into(),
            401,
            "Authorization",
        ),
        (
            "no token to read",
            "GET",
            UNIT,
            None,
            String::new(),
            401,
            "Authorization",
        ),
        (
            "unknown token",
            "PUT",
            UNIT,
            Some("root"),
            GOOD.into(),
            401,
            "not known",
        ),
        (
            "a hash is no token",
            "PUT",
            UNIT,
            Some(&hashed[5..69]),
            GOOD.into(),
            401,
            "not known",
        ),
        (
            "who may view changes nothing",
            "PUT",
            UNIT,
            Some("view"),
            GOOD.into(),
            403,
            "deploy",
        ),
        (
            "nor destroys",
            "DELETE",
            UNIT,
            Some("view"),
            String::new(),
            403,
            "deploy",
        ),
        (
            "who may deploy drains nothing",
            "PUT",
            "/fleet/v2/machines/1/duty",
            deploy,
            r#"{"duty":"drains"}"#.into(),
            403,
            "admin",
        ),
        (
            "nor lifts the brake",
            "POST",
            "/fleet/v2/brake/lift",
            deploy,
            String::new(),
            403,
            "admin",
        ),
        (
            "nor patches machines",
            "PATCH",
            "/fleet/v1/machines",
            deploy,
            "[]".into(),
            403,
            "admin",
        ),
        (
            "a name with a slash",
            "PUT",
            "/fleet/v1/units/..%2Fa.service",
            deploy,
            GOOD.into(),
            400,
            "unit name",
        ),
        (
            "a name with a control character",
            "PUT",
            "/fleet/v1/units/a%0A.service",
            deploy,
            GOOD.into(),
            400,
            "unit name",
        ),
        (
            "a name with NUL",
            "PUT",
            "/fleet/v2/units/a%00.service",
            deploy,
            r#"{"text":"[Service]\n"}"#.into(),
            400,
            "unit name",
        ),
        (
            "a name without a suffix",
            "PUT",
            "/fleet/v1/units/a",
            deploy,
            GOOD.into(),
            400,
            "suffix",
        ),
        (
            "a name that is too long",
            "PUT",
            &long,
            deploy,
            GOOD.into(),
            400,
            "too long",
        ),
        ("a unit of 1 MB", "PUT", UNIT, deploy, big, 413, "limit"),
        (
            "a unit of 200 KB",
            "PUT",
            UNIT,
            deploy,
            quite_big,
            413,
            "at most",
        ),
        (
            "an unknown field",
            "PUT",
            UNIT,
            deploy,
            r#"{"desiredState":"launched","owner":"me"}"#.into(),
            400,
            "owner",
        ),
        (
            "an unknown field of v2",
            "PUT",
            "/fleet/v2/units/a.service",
            deploy,
            r#"{"text":"[Service]\n","x":1}"#.into(),
            400,
            "unknown field",
        ),
        (
            "a bogus desired state",
            "PUT",
            UNIT,
            deploy,
            GOOD.replace("launched", "poison"),
            400,
            "poison",
        ),
        (
            "a desired state that is no text",
            "PUT",
            UNIT,
            deploy,
            GOOD.replace("\"launched\"", "7"),
            400,
            "decode",
        ),
        (
            "no JSON",
            "PUT",
            UNIT,
            deploy,
            "launched".into(),
            400,
            "decode",
        ),
        (
            "an empty body",
            "PUT",
            UNIT,
            deploy,
            String::new(),
            400,
            "decode",
        ),
        (
            "a unit without a text",
            "PUT",
            UNIT,
            deploy,
            r#"{"desiredState":"launched"}"#.into(),
            409,
            "does not exist",
        ),
        (
            "a value with a line end",
            "PUT",
            UNIT,
            deploy,
            option("Service", "ExecStart", "x\n[X-Fleet]\nGlobal=true"),
            400,
            "line ends",
        ),
        (
            "control characters in a text",
            "PUT",
            "/fleet/v2/units/a.service",
            deploy,
            r#"{"text":"[Service]\nA=\u0007\n"}"#.into(),
            400,
            "control",
        ),
        (
            "an unknown option",
            "PUT",
            UNIT,
            deploy,
            option("X-Fleet", "MachinOf", "b.service"),
            400,
            "did you mean",
        ),
        (
            "another name in the body",
            "PUT",
            UNIT,
            deploy,
            r#"{"name":"b.service"}"#.into(),
            400,
            "same name",
        ),
        (
            "a page that nobody gave out",
            "GET",
            "/fleet/v1/units?nextPageToken=77",
            Some("view"),
            String::new(),
            400,
            "nextPageToken",
        ),
        (
            "a unit that is not there",
            "GET",
            UNIT,
            Some("view"),
            String::new(),
            404,
            "does not exist",
        ),
        (
            "its destruction",
            "DELETE",
            UNIT,
            deploy,
            String::new(),
            404,
            "does not exist",
        ),
        (
            "a machine that is not there",
            "PUT",
            "/fleet/v2/machines/ffff/duty",
            Some("admin"),
            r#"{"duty":"drains"}"#.into(),
            404,
            "no such machine",
        ),
        (
            "a bogus duty",
            "PUT",
            "/fleet/v2/machines/1/duty",
            Some("admin"),
            r#"{"duty":"sleeps"}"#.into(),
            400,
            "cordoned",
        ),
        (
            "a patch of something else",
            "PATCH",
            "/fleet/v1/machines",
            Some("admin"),
            r#"[{"op":"add","path":"/1/id","value":"x"}]"#.into(),
            400,
            "metadata",
        ),
        (
            "a path that is not there",
            "GET",
            "/fleet/v3/units",
            Some("view"),
            String::new(),
            404,
            "nothing",
        ),
        (
            "a method that is not there",
            "POST",
            UNIT,
            Some("admin"),
            String::new(),
            405,
            "method",
        ),
    ];
    for (what, method, path, token, body, code, part) in &table {
        let (status, text) = send(&c, method, path, *token, body);
        assert_eq!(status, *code, "{what}: {text}");
        assert!(text.contains(part), "{what}: {text}");
    }
    assert!(
        c.cli(&["list-unit-files", "--no-legend"]).is_empty(),
        "nothing is stored"
    );
    assert!(c.running().is_empty());
    // The same with the right role, so that the table is not true of everything.
    assert_eq!(send(&c, "PUT", UNIT, deploy, GOOD).0, 201);
    assert_eq!(send(&c, "PUT", UNIT, deploy, GOOD).0, 204);
    let (code, text) = send(&c, "GET", UNIT, Some("view"), "");
    assert!(code == 200 && text.contains("/bin/x"), "{text}");
    c.one("a.service");
    assert_eq!(send(&c, "DELETE", UNIT, deploy, "").0, 204);
}

#[test]
fn one_client_cannot_fill_the_cluster_with_units() {
    let c = Cluster::start(1, 1, 1);
    let text = serde_json::json!({"text": "[Service]\nExecStart=/bin/x\n[X-Fleet]\nCount=10000\n"});
    let put = |number: usize| {
        let path = format!("/fleet/v2/units/a{number}@.service");
        send(&c, "PUT", &path, Some("deploy"), &text.to_string())
    };
    (0..4).for_each(|number| assert_eq!(put(number).0, 201));
    for _ in 0..2 {
        let (status, error) = put(4);
        assert_eq!(status, 403, "{error}");
        assert!(error.contains("at most 50000 units"), "{error}");
    }
    let list = c.cli(&["list-unit-files", "--no-legend"]);
    assert_eq!(list.lines().count(), 4, "{list}");
}

#[test]
fn with_a_client_ca_nobody_gets_in_without_a_certificate() {
    let mut c = Cluster::start(1, 1, 1);
    certificates(&c.path(""));
    c.kill_engine(0);
    c.more_api("cert = \"server.pem\"\nkey = \"server.key\"\nclient_ca = \"ca.pem\"");
    c.start_engine(0);
    std::fs::write(c.path("token"), "view\n").unwrap();
    let address = format!("https://{}", c.address(0));
    let plain = ["list-machines", "--token", "token", "--ca", "ca.pem"];
    let mutual = [&plain[..], &["--cert", "client.pem", "--key", "client.key"]].concat();
    assert!(c.at(&address, &plain).is_err());
    let listed = c.at(&address, &mutual).unwrap();
    assert!(listed.contains("serves"), "{listed}");
    let denied = c.at(&address, &[&["lift-brake"], &mutual[1..]].concat());
    assert!(denied.unwrap_err().contains("403"));
}

/// A certificate authority, and what it signed for a server and a client.
fn certificates(folder: &std::path::Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["ca".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    std::fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
    let issuer = Issuer::from_params(&params, key);
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let signed = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), signed.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}
