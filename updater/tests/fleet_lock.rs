//! A reboot slot of a fleet_lock server: asked for as the protocol says, and whatever a server answers is
//! a yes, or a reason.

mod world;

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use updater::fetch::Settings;
use updater::strategy::lock::{Ask, FleetLock, ask, client_id};
use world::*;

fn asked(url: &str, what: Ask) -> Result<(), String> {
    let lock = FleetLock {
        url: url.to_owned(),
        group: "web".into(),
    };
    let settings = Settings {
        stall: Duration::from_secs(2),
        ..Settings::default()
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(ask(&lock, &client_id(b"m\n"), what, settings))
}

#[test]
fn a_slot_is_asked_for_and_given_back_as_the_protocol_says() {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let heard = bodies.clone();
    let server = Server::new(move |request, stream| {
        let head = request.head.to_ascii_lowercase();
        assert!(head.starts_with("post "), "{head}");
        assert!(head.contains("fleet-lock-protocol: true\r\n"), "{head}");
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.split('\r').next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        heard.lock().unwrap().push(String::from_utf8(body).unwrap());
        answer(stream, "200 OK", "", b"")
    });
    assert_eq!(asked(&server.url(), Ask::PreReboot), Ok(()));
    assert_eq!(
        asked(&format!("{}/", server.url()), Ask::SteadyState),
        Ok(())
    );
    assert_eq!(server.targets(), ["/v1/pre-reboot", "/v1/steady-state"]);
    let id = client_id(b"m");
    assert_eq!(id.len(), 32);
    let expected = format!(r#"{{"client_params":{{"id":"{id}","group":"web"}}}}"#);
    assert_eq!(*bodies.lock().unwrap(), [expected.clone(), expected]);
}

#[test]
fn a_refusal_says_why_and_so_does_a_server_that_is_none() {
    let full = br#"{"kind":"all_slots_taken","value":"1 of 1 slots\u001b[2J are taken"}"#;
    let server = Server::new(|_, stream| answer(stream, "409 Conflict", "", full));
    let refused = asked(&server.url(), Ask::PreReboot).unwrap_err();
    assert_eq!(
        refused,
        "fleet_lock, group web: 1 of 1 slots[2J are taken (all_slots_taken)"
    );
    let server = Server::new(|_, stream| answer(stream, "302 Found", "location: /\r\n", b""));
    let refused = asked(&server.url(), Ask::PreReboot).unwrap_err();
    assert!(refused.ends_with("status 302"), "{refused}");
    let server = Server::new(|_, stream| answer(stream, "200 OK", "", &[b'x'; 100_000]));
    assert!(asked(&server.url(), Ask::PreReboot).is_err());
    let nobody = asked("http://127.0.0.1:1", Ask::SteadyState).unwrap_err();
    assert!(nobody.starts_with("fleet_lock: "), "{nobody}");
}
