//! Where units go: metadata, ids, conflicts, companions, globals, replaces.

use super::{Scenario, everywhere, short};
use crate::cluster::{Cluster, id};

pub const ALL: [Scenario; 23] = [
    ("a global unit runs on every machine", global),
    (
        "a global unit with metadata runs where it fits",
        global_metadata,
    ),
    (
        "a global unit that is destroyed ends everywhere",
        global_destroyed,
    ),
    ("a global unit stops and starts everywhere", global_stopped),
    (
        "a global unit keeps off a machine with its enemy",
        global_conflict,
    ),
    (
        "a unit that becomes global spreads, and back",
        global_changed,
    ),
    ("conflicting units are apart", conflict),
    ("one that conflicts is enough", conflict_one_way),
    (
        "a pattern keeps siblings apart, the fourth waits",
        conflict_pattern,
    ),
    (
        "who waits for a place gets it when it is free",
        conflict_freed,
    ),
    ("a companion goes where its peer is", machine_of),
    ("a chain of companions is on one machine", machine_of_chain),
    (
        "a companion without its peer waits and says so",
        machine_of_nobody,
    ),
    ("companions in a circle are told", machine_of_circle),
    ("a machine is named by its id", machine_id),
    ("an unknown machine is waited for", machine_id_unknown),
    ("metadata decide", metadata),
    ("all metadata have to fit", metadata_two),
    (
        "an instance's name decides, by a specifier",
        metadata_specifier,
    ),
    (
        "metadata that are patched away move a unit",
        metadata_patched,
    ),
    ("a unit that replaces another takes its place", replaces),
    ("options that exclude each other are refused", contradiction),
    (
        "an option that nobody knows is refused with a hint",
        unknown_option,
    ),
];

fn global(c: &mut Cluster) {
    c.run("g.service", "Global=true");
    c.until("everywhere", |c| c.on("g.service") == everywhere());
}

fn global_metadata(c: &mut Cluster) {
    c.run("g.service", "Global=true\nMachineMetadata=zone=0");
    c.until("where it fits", |c| c.on("g.service") == [0, 2].into());
}

fn global_destroyed(c: &mut Cluster) {
    global(c);
    c.cli(&["destroy", "g.service"]);
    c.until("nowhere", |c| c.running().is_empty());
}

fn global_stopped(c: &mut Cluster) {
    global(c);
    c.cli(&["stop", "g.service"]);
    c.until("nowhere", |c| c.running().is_empty());
    c.cli(&["start", "g.service"]);
    c.until("everywhere", |c| c.on("g.service") == everywhere());
}

fn global_conflict(c: &mut Cluster) {
    c.run("a.service", &format!("MachineID={}", id(1)));
    c.run("g.service", "Global=true\nConflicts=a.service");
    c.until("beside nobody", |c| c.on("g.service") == [0, 2].into());
}

fn global_changed(c: &mut Cluster) {
    c.run("g.service", "");
    c.file("g.service", "Global=true");
    c.cli(&["start", "--replace", "g.service"]);
    c.until("everywhere", |c| c.on("g.service") == everywhere());
    c.file("g.service", "");
    c.cli(&["start", "--replace", "g.service"]);
    c.until("once", |c| c.on("g.service").len() == 1);
}

fn conflict(c: &mut Cluster) {
    c.run("a.service", "Conflicts=b.service");
    c.run("b.service", "Conflicts=a.service");
    assert_ne!(c.one("a.service"), c.one("b.service"));
}

fn conflict_one_way(c: &mut Cluster) {
    c.run("a.service", "Conflicts=b.service");
    c.run("b.service", "");
    assert_ne!(c.one("a.service"), c.one("b.service"));
}

fn conflict_pattern(c: &mut Cluster) {
    c.file("a@.service", "Conflicts=a@*.service");
    c.cli(&["start", "a@1.service", "a@2.service", "a@3.service"]);
    c.cli(&["start", "--no-block", "a@4.service"]);
    let why = c.cli(&["why", "a@4.service"]);
    assert!(
        why.contains("no machine suits") && why.contains("a@1.service"),
        "{why}"
    );
    assert!(c.on("a@4.service").is_empty());
}

fn conflict_freed(c: &mut Cluster) {
    conflict_pattern(c);
    let free = c.one("a@2.service");
    c.cli(&["destroy", "a@2.service"]);
    assert_eq!(c.one("a@4.service"), free);
}

fn machine_of(c: &mut Cluster) {
    c.run("a.service", "MachineMetadata=number=1");
    c.run("b.service", "MachineOf=a.service");
    assert_eq!(c.one("b.service"), 1);
}

fn machine_of_chain(c: &mut Cluster) {
    c.run("a.service", "MachineMetadata=number=2");
    c.run("b.service", "MachineOf=a.service");
    c.run("c.service", "MachineOf=b.service");
    assert_eq!([c.one("b.service"), c.one("c.service")], [2, 2]);
}

fn machine_of_nobody(c: &mut Cluster) {
    c.file("b.service", "MachineOf=a.service");
    c.cli(&["start", "--no-block", "b.service"]);
    assert!(c.cli(&["why", "b.service"]).contains("a.service"));
    c.run("a.service", "");
    let machine = c.one("a.service");
    assert_eq!(c.one("b.service"), machine);
}

fn machine_of_circle(c: &mut Cluster) {
    c.file("a.service", "MachineOf=b.service");
    c.file("b.service", "MachineOf=a.service");
    c.cli(&["start", "--no-block", "a.service", "b.service"]);
    assert!(c.cli(&["why", "a.service"]).contains("circle"));
}

fn machine_id(c: &mut Cluster) {
    c.run("a.service", &format!("MachineID={}", id(2)));
    assert_eq!(c.one("a.service"), 2);
}

fn machine_id_unknown(c: &mut Cluster) {
    c.file("a.service", &format!("MachineID={}", id(9)));
    c.cli(&["start", "--no-block", "a.service"]);
    assert!(c.cli(&["why", "a.service"]).contains("no machine suits"));
}

fn metadata(c: &mut Cluster) {
    c.run("a.service", "MachineMetadata=zone=1");
    assert_eq!(c.one("a.service"), 1);
}

fn metadata_two(c: &mut Cluster) {
    c.run(
        "a.service",
        "MachineMetadata=zone=0\nMachineMetadata=number=2",
    );
    assert_eq!(c.one("a.service"), 2);
}

fn metadata_specifier(c: &mut Cluster) {
    c.file("a@.service", "MachineMetadata=number=%i");
    c.cli(&["start", "a@0.service", "a@1.service"]);
    assert_eq!([c.one("a@0.service"), c.one("a@1.service")], [0, 1]);
}

fn metadata_patched(c: &mut Cluster) {
    let patch = |op: &str, number: usize, value: &str| {
        let path = format!("/{}/metadata/disk", id(number));
        let body = format!(r#"[{{"op": "{op}", "path": "{path}"{value}}}]"#);
        let sent = crate::security::send(c, "PATCH", "/fleet/v1/machines", Some("admin"), &body);
        assert_eq!(sent.0, 204, "{}", sent.1);
    };
    patch("add", 0, r#", "value": "ssd""#);
    c.run("a.service", "MachineMetadata=disk=ssd");
    assert_eq!(c.one("a.service"), 0);
    patch("add", 1, r#", "value": "ssd""#);
    patch("remove", 0, "");
    c.until("it moves", |c| c.on("a.service") == [1].into());
    patch("remove", 1, "");
    c.until("it has no place", |c| c.on("a.service").is_empty());
}

fn replaces(c: &mut Cluster) {
    c.run("a.service", "MachineMetadata=number=0");
    c.run("b.service", "MachineMetadata=number=0\nReplaces=a.service");
    c.until("it takes the place", |c| {
        c.on("b.service") == [0].into() && c.on("a.service").is_empty()
    });
    assert!(c.cli(&["why", "a.service"]).contains(&short(0)));
}

fn contradiction(c: &mut Cluster) {
    c.file("a.service", "Global=true\nMachineOf=b.service");
    assert!(
        c.refused(&["submit", "a.service"])
            .contains("exclude each other")
    );
    assert!(c.cli(&["list-unit-files", "--no-legend"]).is_empty());
}

fn unknown_option(c: &mut Cluster) {
    c.file("a.service", "MachinOf=b.service");
    let error = c.refused(&["submit", "a.service"]);
    assert!(error.contains("did you mean MachineOf=?"), "{error}");
}
