//! The section, good and bad.

use super::*;
use proptest::prelude::*;

fn parse(name: &str, section: &str) -> Result<Options, Vec<Problem>> {
    let text = format!("[Service]\nExecStart=/bin/true\n[X-Fleet]\n{section}\n");
    Options::parse(&name.parse().unwrap(), &text)
}

#[test]
fn fleets_own_options_are_read() {
    let options = parse(
        "web@2.service",
        "MachineOf=%p@1.service db.service\nMachineMetadata=zone=a \"disk=ssd\"\nConflicts=%p@*.socket",
    )
    .unwrap();
    let beside: Vec<_> = options.beside.iter().map(UnitName::as_str).collect();
    assert_eq!(beside, ["web@1.service", "db.service"]);
    assert_eq!(options.metadata.len(), 2);
    assert!(options.conflicts_with(&"web@9.socket".parse().unwrap()));
    assert!(!options.conflicts_with(&"web@9.service".parse().unwrap()));
    assert!(parse("a.service", "Global=true").unwrap().global);
    let id = "0123456789abcdef0123456789abcdef";
    let former = parse("a.service", &format!("X-ConditionMachineID={id}")).unwrap();
    assert_eq!(former.machine, Some(id.parse().unwrap()));
}

#[test]
fn the_new_options_are_read() {
    let options = parse(
        "web@1.container",
        "Spread=zone\nResources=cpu=0.5 memory=64M\nResources=port=80\nPriority=-5\nOnDisconnect=stop-after 30s",
    )
    .unwrap();
    assert_eq!(options.spread.as_deref(), Some("zone"));
    assert_eq!(options.demand.amount.cpu_milli, 500);
    assert_eq!(options.priority, -5);
    let stop = OnDisconnect::StopAfter(Duration::from_secs(30));
    assert_eq!(options.on_disconnect, stop);
    assert_eq!(parse("web@.container", "Count=3").unwrap().count, Some(3));
}

#[test]
fn a_template_is_taken_before_it_has_instances() {
    assert!(parse("web@.service", "MachineMetadata=zone=%i").is_ok());
    assert!(parse("web@.service", "Machine=1").is_err());
}

#[test]
fn each_mistake_names_its_line_and_the_way_out() {
    let table = [
        ("Conflict=a.service", "did you mean Conflicts=?"),
        ("Global=maybe", "true or false"),
        ("Priority=5000", "-1000 to 1000"),
        ("MachineID=xyz", "machine id"),
        ("MachineOf=a/b.service", "unit name"),
        ("MachineMetadata=zone", "KEY=VALUE"),
        ("Conflicts=a[", "pattern"),
        ("Spread=a b", "a metadata key"),
        ("OnDisconnect=stop-after", "30s"),
        ("OnDisconnect=stop-after 0s", "30s"),
        ("Resources=gpu=1", "cpu, memory or port"),
        ("MachineMetadata=zone=%i", "wants an instance"),
        ("MachineOf=\"open", "closing"),
    ];
    for (line, part) in table {
        let problems = parse("a.service", line).unwrap_err();
        assert_eq!(problems.len(), 1, "{line}: {problems:?}");
        assert_eq!(problems[0].line, 4, "{line}");
        assert!(problems[0].message.contains(part), "{line}: {problems:?}");
    }
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    let id = "MachineID=0123456789abcdef0123456789abcdef\n";
    let table = [
        format!("{id}MachineOf=b.service"),
        format!("{id}Conflicts=b.service"),
        format!("{id}Global=true"),
        format!("{id}Replaces=b.service"),
        "MachineOf=b.service\nGlobal=true".to_owned(),
        "Global=true\nReplaces=b.service".to_owned(),
        "Conflicts=b.service\nReplaces=c.service".to_owned(),
        "MachineOf=b.service\nConflicts=b.*".to_owned(),
        "MachineOf=b.service\nReplaces=b.*".to_owned(),
        "Count=2".to_owned(),
    ];
    for section in table {
        let problems = parse("a.service", &section).unwrap_err();
        assert_eq!(problems.len(), 1, "{section}: {problems:?}");
    }
}

proptest! {
    #[test]
    fn no_section_makes_the_parser_panic(key in 0..KEYS.len(), value in "\\PC{0,30}") {
        let _ = parse("a@1.service", &format!("{}={value}", KEYS[key]));
    }
}
