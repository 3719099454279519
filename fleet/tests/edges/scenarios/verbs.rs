//! Verbs: submit, load, start, stop, unload, destroy and what lists show, units and templates.

use super::Scenario;
use crate::cluster::Cluster;

pub const ALL: [Scenario; 28] = [
    ("submit tells a unit and places nothing", submit),
    (
        "submit of a unit that is there keeps what it does",
        submit_again,
    ),
    ("lists have the order of names", order),
    ("load places and does not start", load),
    ("start runs it on one machine", start),
    ("start of a loaded unit stays on its machine", start_loaded),
    ("stop ends it and keeps its machine", stop),
    ("start after stop is on the same machine", restart),
    ("unload takes it from its machine", unload),
    ("destroy ends what runs", destroy),
    ("destroy of an unknown unit says so", destroy_unknown),
    ("start of an unknown unit says so", start_unknown),
    ("cat prints the file as it was given", cat),
    ("status says where it runs", status),
    ("a changed file is not taken unasked", changed),
    ("a changed file that is asked for is run", replaced),
    ("a unit that fails is tried once", fails),
    ("a unit that ends is not started again", ends),
    ("a container is started as Quadlet's service", quadlet),
    ("an instance has its template's text", instance),
    ("instances are units of their own", instances),
    ("a template itself never starts", template),
    ("Count= makes so many instances, more and fewer", counted),
    ("one of a Count= is its template's to change", counted_one),
    ("a changed Count= goes round, one at a time", rolls),
    (
        "a change that does not run comes back by itself",
        comes_back,
    ),
    ("apply starts a folder and takes what changed", apply),
    ("json is what scripts read", json),
];

fn submit(c: &mut Cluster) {
    c.file("a.service", "");
    c.cli(&["submit", "a.service"]);
    let list = c.cli(&["list-unit-files", "--no-legend"]);
    assert!(list.contains("a.service  inactive  inactive"), "{list}");
    assert!(c.running().is_empty());
}

fn submit_again(c: &mut Cluster) {
    c.run("a.service", "");
    c.cli(&["submit", "a.service"]);
    assert!(c.cli(&["list-unit-files"]).contains("launched  launched"));
}

fn order(c: &mut Cluster) {
    for name in ["c.service", "a.service", "b@.service"] {
        c.file(name, "");
        c.cli(&["submit", name]);
    }
    let list = c.cli(&["list-unit-files", "--no-legend"]);
    let names: Vec<&str> = list
        .lines()
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    assert_eq!(names, ["a.service", "b@.service", "c.service"]);
}

fn load(c: &mut Cluster) {
    c.file("a.service", "");
    c.cli(&["load", "a.service"]);
    let list = c.cli(&["list-units", "--no-legend"]);
    assert!(
        list.contains("a.service") && list.contains("inactive"),
        "{list}"
    );
    assert!(c.running().is_empty());
}

fn start(c: &mut Cluster) {
    c.run("a.service", "");
    assert_eq!(c.on("a.service").len(), 1);
    assert!(c.cli(&["list-units"]).contains("active  running"));
}

fn start_loaded(c: &mut Cluster) {
    c.file("a.service", "");
    c.cli(&["load", "a.service"]);
    let before = c.cli(&["list-units", "--no-legend"]);
    c.cli(&["start", "a.service"]);
    let machine = before.split_whitespace().nth(1).unwrap();
    assert!(c.cli(&["list-units"]).contains(machine));
}

fn stop(c: &mut Cluster) {
    c.run("a.service", "");
    c.cli(&["stop", "a.service"]);
    assert!(c.running().is_empty());
    assert!(c.cli(&["list-unit-files"]).contains("loaded  loaded"));
}

fn restart(c: &mut Cluster) {
    c.run("a.service", "");
    let machine = c.one("a.service");
    c.cli(&["stop", "a.service"]);
    c.cli(&["start", "a.service"]);
    assert_eq!(c.one("a.service"), machine);
}

fn unload(c: &mut Cluster) {
    c.run("a.service", "");
    c.cli(&["unload", "a.service"]);
    assert!(c.running().is_empty());
    assert!(c.cli(&["list-unit-files"]).contains("inactive  inactive"));
}

fn destroy(c: &mut Cluster) {
    c.run("a.service", "");
    c.cli(&["destroy", "a.service"]);
    c.until("it ends", |c| c.running().is_empty());
    assert!(c.cli(&["list-unit-files", "--no-legend"]).is_empty());
}

fn destroy_unknown(c: &mut Cluster) {
    assert!(
        c.refused(&["destroy", "nobody.service"])
            .contains("does not exist")
    );
}

fn start_unknown(c: &mut Cluster) {
    assert!(
        c.refused(&["start", "nobody.service"])
            .contains("does not exist")
    );
}

fn cat(c: &mut Cluster) {
    let text = "# said by hand\n[Service]\nExecStart=/bin/x \\\n  y\n";
    std::fs::write(c.path("a.service"), text).unwrap();
    c.cli(&["submit", "a.service"]);
    assert_eq!(c.cli(&["cat", "a.service"]), text);
}

fn status(c: &mut Cluster) {
    c.run("a.service", "");
    let machine = super::short(c.one("a.service"));
    let status = c.cli(&["status", "a.service"]);
    assert!(
        status.contains(&machine) && status.contains("active (running)"),
        "{status}"
    );
}

fn changed(c: &mut Cluster) {
    c.run("a.service", "");
    let before = c.cli(&["cat", "a.service"]);
    c.run("a.service", "# other");
    assert_eq!(c.cli(&["cat", "a.service"]), before);
}

fn replaced(c: &mut Cluster) {
    c.run("a.service", "");
    let machine = c.one("a.service");
    c.file("a.service", "# other");
    c.cli(&["start", "--replace", "a.service"]);
    c.until("the new text runs", |c| {
        let state = c.peers[machine].state.lock().unwrap();
        state
            .running
            .get("a.service")
            .is_some_and(|text| text.contains("# other"))
    });
}

fn fails(c: &mut Cluster) {
    std::fs::write(c.path("a.service"), "[Service]\nExecStart=/bin/false\n").unwrap();
    let starts = |c: &Cluster| {
        c.history()
            .concat()
            .iter()
            .filter(|l| *l == "start a.service")
            .count()
    };
    let before = starts(c);
    c.refused(&["start", "--wait", "2", "a.service"]);
    assert_eq!(starts(c), before + 1);
}

fn ends(c: &mut Cluster) {
    c.run("a.service", "");
    let machine = c.one("a.service");
    c.peers[machine].end("a.service");
    c.until("it is told", |c| {
        c.cli(&["list-units"]).contains("inactive")
    });
    c.run("b.service", "");
    assert!(c.on("a.service").is_empty());
}

fn quadlet(c: &mut Cluster) {
    let text = "[Container]\nImage=docker.io/library/nginx\n";
    std::fs::write(c.path("web.container"), text).unwrap();
    c.cli(&["start", "web.container"]);
    let machine = c.one("web.service");
    let file = c.peers[machine].quadlets.join("web.container");
    assert_eq!(std::fs::read_to_string(file).unwrap(), text);
}

fn instance(c: &mut Cluster) {
    c.file("a@.service", "# of the template");
    c.cli(&["submit", "a@.service"]);
    std::fs::remove_file(c.path("a@.service")).unwrap();
    c.cli(&["start", "a@1.service"]);
    assert_eq!(
        c.cli(&["cat", "a@1.service"]),
        c.cli(&["cat", "a@.service"])
    );
    c.one("a@1.service");
}

fn instances(c: &mut Cluster) {
    c.file("a@.service", "Conflicts=a@*.service");
    c.cli(&["start", "a@1.service", "a@2.service", "a@3.service"]);
    let on = |n: u8| c.one(&format!("a@{n}.service"));
    assert_eq!(
        [on(1), on(2), on(3)]
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>(),
        super::everywhere()
    );
    c.cli(&["destroy", "a@2.service"]);
    c.until("only it ends", |c| c.running().len() == 2);
}

fn template(c: &mut Cluster) {
    c.file("a@.service", "");
    assert!(c.refused(&["start", "a@.service"]).contains("template"));
}

fn counted(c: &mut Cluster) {
    c.run("a@.service", "Count=3\nConflicts=a@*.service");
    let names = |c: &Cluster| c.running().into_keys().collect::<Vec<_>>();
    assert_eq!(names(c), ["a@1.service", "a@2.service", "a@3.service"]);
    c.file("a@.service", "Count=1\nConflicts=a@*.service");
    c.cli(&["start", "--replace", "a@.service"]);
    c.until("two end", |c| names(c) == ["a@1.service"]);
    c.cli(&["stop", "a@.service"]);
    c.until("none runs", |c| c.running().is_empty());
    let list = c.cli(&["list-unit-files", "--no-legend"]);
    assert!(list.contains("1 instances"), "{list}");
}

fn counted_one(c: &mut Cluster) {
    c.run("a@.service", "Count=2");
    let refused = c.refused(&["destroy", "a@2.service"]);
    assert!(refused.contains("Count= of a@.service"), "{refused}");
    assert!(
        c.refused(&["cat", "a@3.service"])
            .contains("does not exist")
    );
    c.cli(&["destroy", "a@.service"]);
    c.until("both end", |c| c.running().is_empty());
}

const ROLLS: &str = "Count=4\nRollout=settle=1s wait=30s\n";

/// Instances that run with this in their text.
fn with(c: &Cluster, part: &str) -> usize {
    let peers = c.peers.iter().map(|peer| {
        let state = peer.state.lock().unwrap();
        let texts = state.running.values();
        texts.filter(|text| text.contains(part)).count()
    });
    peers.sum()
}

fn rolls(c: &mut Cluster) {
    c.run("a@.service", ROLLS);
    c.file("a@.service", &format!("{ROLLS}# other"));
    c.cli(&["start", "--no-block", "--replace", "a@.service"]);
    let mut fewest = 4;
    c.until("all have it", |c| {
        fewest = fewest.min(c.running().len());
        with(c, "# other") == 4
    });
    assert!(fewest >= 3, "only {fewest} ran at once");
    let told = c.cli(&["rollout", "a@.service"]);
    assert!(told.contains("all instances"), "{told}");
}

fn comes_back(c: &mut Cluster) {
    c.run("a@.service", ROLLS);
    let bad = format!("[Service]\nExecStart=/bin/false\n[X-Fleet]\n{ROLLS}");
    std::fs::write(c.path("a@.service"), bad).unwrap();
    c.cli(&["start", "--no-block", "--replace", "a@.service"]);
    let error = c.refused(&["rollout", "a@.service"]);
    assert!(error.contains("did not run with the new text"), "{error}");
    c.until("all run again", |c| with(c, "/bin/sleep") == 4);
    let failed = |line: &&String| line.starts_with("start a@");
    let starts = c.history().concat().iter().filter(failed).count();
    assert!(starts <= 4 + 1 + 1, "one was tried: {starts} starts");
    assert!(c.cli(&["cat", "a@.service"]).contains("/bin/sleep"));
}

fn apply(c: &mut Cluster) {
    let folder = c.path("app");
    std::fs::create_dir_all(&folder).unwrap();
    c.file("app/a.service", "");
    c.file("app/b@.service", "");
    std::fs::write(folder.join("README"), "no unit").unwrap();
    c.cli(&["apply", "-f", "app"]);
    let machine = c.one("a.service");
    c.file("app/a.service", "# other");
    c.cli(&["apply", "-f", "app"]);
    c.until("the new text runs", |c| {
        let state = c.peers[machine].state.lock().unwrap();
        state
            .running
            .get("a.service")
            .is_some_and(|text| text.contains("# other"))
    });
    std::fs::remove_dir_all(folder).unwrap();
}

fn json(c: &mut Cluster) {
    c.run("a.service", "");
    let text = c.cli(&["list-unit-files", "--output", "json"]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["units"][0]["name"], "a.service");
    assert_eq!(value["units"][0]["on"][0]["active"], "active");
}
