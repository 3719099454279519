//! Rounds from what stands in etcd.

use super::*;
use crate::store::Item;
use formats::fleet::{Desired, MachineRecord, StatusRecord, UnitRecord};

fn id(n: u8) -> MachineId {
    format!("{n:032x}").parse().unwrap()
}

fn item(key: &Key, value: Vec<u8>) -> Item {
    Item {
        key: key.to_string(),
        value,
        created: 1,
        modified: 1,
    }
}

/// Machine 1 died under a former leader, which gave it up; its last word on `s.service` was "running".
fn after_a_machine_was_given_up() -> (Mirror, UnitName) {
    let name: UnitName = "s.service".parse().unwrap();
    let unit = UnitRecord {
        desired: Desired::Launched,
        text: "[X-Fleet]\nOnDisconnect=stop-after 30s\n".to_owned(),
    };
    let status = StatusRecord {
        revision: 1,
        running: true,
        active: "active".to_owned(),
        sub: String::new(),
    };
    let machine = encode(&MachineRecord::default());
    let items = [
        item(&Key::Machine(id(1)), machine.clone()),
        item(&Key::Machine(id(2)), machine),
        item(&Key::Alive(id(2)), b"true".to_vec()),
        item(&Key::Unit(name.clone()), encode(&unit)),
        item(&Key::Status(id(1), name.clone()), encode(&status)),
    ];
    (Mirror::of(1, &items), name)
}

#[test]
fn the_last_word_of_a_machine_that_was_given_up_keeps_no_unit_waiting() {
    let (mirror, name) = after_a_machine_was_given_up();
    let patience = Patience::default();
    let brake = Brake::new(patience.ttl, Duration::ZERO);
    let at_once = world(&mirror, &brake, patience, Duration::ZERO);
    assert_eq!(
        round(&mirror, &at_once, &Verdict::default(), 1),
        [],
        "a new leader waits a TTL"
    );
    let later = world(&mirror, &brake, patience, patience.ttl);
    let txns = round(&mirror, &later, &Verdict::default(), 1);
    let key = Key::Placed(id(2), name);
    let arrives = |write: &Write| matches!(write, Write::Put { key: k, .. } if *k == key);
    assert!(
        txns.iter().any(|txn| txn.then.iter().any(arrives)),
        "{txns:?}"
    );
    let lost = Compare::Created(Key::Alive(id(1)), 0);
    assert!(txns[0].when.contains(&lost), "only while it is still lost");
}
