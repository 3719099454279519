//! Who may reboot: the fleet_lock protocol as Zincati speaks it, on two engines and a real etcd.

use crate::cluster::Cluster;
use crate::etcd_server::free_port;
use std::io::{Read, Write};

/// Asks as Zincati does; status and body.
fn ask(address: &str, verb: &str, id: &str, group: &str) -> (u16, String) {
    let body = serde_json::json!({"client_params": {"id": id, "group": group}}).to_string();
    send(address, verb, "fleet-lock-protocol: true\r\n", &body)
}

fn send(address: &str, verb: &str, header: &str, body: &str) -> (u16, String) {
    let mut socket = std::net::TcpStream::connect(address).expect("connect");
    let head = format!(
        "POST /v1/{verb} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}Content-Length: {}\r\n\r\n",
        body.len()
    );
    socket
        .write_all(format!("{head}{body}").as_bytes())
        .expect("send");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("an answer");
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.unwrap_or_default(), body.to_owned())
}

/// Two engines, each with the protocol on a port of its own.
fn cluster() -> (Cluster, [String; 2]) {
    let mut c = Cluster::start(1, 2, 1);
    let addresses = [0, 1].map(|number| {
        let address = format!("127.0.0.1:{}", free_port());
        c.kill_engine(number);
        restart(&mut c, number, &address);
        address
    });
    (c, addresses)
}

fn restart(c: &mut Cluster, number: usize, address: &str) {
    c.more_api(&format!("reboots = {address:?}"));
    c.start_engine(number);
}

#[test]
fn one_machine_of_a_group_reboots_at_a_time_whichever_engine_is_asked() {
    let (mut c, [a, b]) = cluster();
    assert_eq!(ask(&a, "pre-reboot", "m1", "eu").0, 200);
    assert_eq!(ask(&b, "pre-reboot", "m1", "eu").0, 200, "it may ask again");
    let (status, text) = ask(&b, "pre-reboot", "m2", "eu");
    assert_eq!(status, 409);
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["kind"], "failed_lock_semaphore_full");
    assert!(value["value"].as_str().is_some_and(|v| v.contains("m1")));
    assert_eq!(ask(&b, "pre-reboot", "m2", "us").0, 200, "another group");
    let list = c.cli(&["reboots", "--no-legend"]);
    assert!(
        list.contains("eu") && list.contains("1 of 1") && list.contains("m1"),
        "{list}"
    );
    // It is not the engines that know it.
    (0..2).for_each(|number| c.kill_engine(number));
    restart(&mut c, 0, &a);
    restart(&mut c, 1, &b);
    assert_eq!(ask(&b, "pre-reboot", "m2", "eu").0, 409);
    assert_eq!(ask(&b, "steady-state", "m1", "eu").0, 200);
    assert_eq!(ask(&b, "steady-state", "m1", "eu").0, 200, "twice is once");
    assert_eq!(ask(&b, "pre-reboot", "m2", "eu").0, 200);
    c.cli(&["reboot-release", "eu", "m2"]);
    assert!(
        c.refused(&["reboot-release", "eu", "m2"])
            .contains("no slot")
    );
    c.cli(&["reboot-slots", "eu", "0"]);
    assert_eq!(ask(&b, "pre-reboot", "m1", "eu").0, 409, "all are held");
}

#[test]
fn of_many_that_ask_at_once_as_many_get_a_slot_as_there_are() {
    let (c, addresses) = cluster();
    c.cli(&["reboot-slots", "eu", "3"]);
    let ask = |n: usize| ask(&addresses[n % 2], "pre-reboot", &format!("m{n}"), "eu").0;
    let taken = std::thread::scope(|scope| {
        let asks: Vec<_> = (0..12).map(|n| scope.spawn(move || ask(n))).collect();
        let answers = asks.into_iter().map(|ask| ask.join().expect("an answer"));
        answers.filter(|status| *status == 200).count()
    });
    assert_eq!(taken, 3);
}

#[test]
fn what_is_not_the_protocol_is_refused_and_takes_no_slot() {
    let (c, [a, _]) = cluster();
    let header = "fleet-lock-protocol: true\r\n";
    let good = r#"{"client_params":{"id":"m","group":"eu"}}"#;
    for (header, body) in [
        ("", good),
        ("fleet-lock-protocol: false\r\n", good),
        (header, "{}"),
        (header, r#"{"client_params":{"id":"","group":"eu"}}"#),
        (header, r#"{"client_params":{"id":"m","group":"../eu"}}"#),
        (header, r#"{"client_params":{"id":"m\n","group":"eu"}}"#),
    ] {
        let (status, text) = send(&a, "pre-reboot", header, body);
        assert_eq!(status, 400, "{header:?} {body}");
        assert!(text.contains("\"kind\""), "{text}");
    }
    assert!(c.cli(&["reboots", "--no-legend"]).is_empty());
    let open = send(&a, "../fleet/v2/units", "", "");
    assert_eq!(open.0, 404, "nothing else is served there");
}
