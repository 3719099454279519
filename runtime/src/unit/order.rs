//! The order in which units start: which are wanted, and what each waits for.
//!
//! Pure. A cycle is broken at one `After=` and told, as systemd does, so that a mistake in one unit
//! does not keep a host from starting the others.

use std::collections::{BTreeMap, BTreeSet};

use super::Unit;

/// What is to be started.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Units in an order that respects every dependency kept.
    pub order: Vec<String>,
    /// For each, the units of the plan that it starts after.
    pub after: BTreeMap<String, BTreeSet<String>>,
    /// For each, the units that have to be active first.
    pub requires: BTreeMap<String, BTreeSet<String>>,
    /// Units that cannot be started, since one that they require does not exist.
    pub missing: BTreeSet<String>,
    /// What was wrong: required units that do not exist, cycles.
    pub problems: Vec<(String, String)>,
}

/// Plans the start of `roots` and all that they require or want.
pub fn plan<'a>(units: &[Unit], roots: impl Iterator<Item = &'a str>) -> Plan {
    let by_name: BTreeMap<&str, &Unit> = units.iter().map(|u| (u.name.as_str(), u)).collect();
    let mut plan = Plan::default();
    let mut wanted = BTreeSet::new();
    let mut stack: Vec<&str> = roots.filter(|r| by_name.contains_key(r)).collect();
    while let Some(name) = stack.pop() {
        if !wanted.insert(name.to_string()) {
            continue;
        }
        let unit = by_name[name];
        for other in unit.needs().chain(&unit.wants) {
            if let Some((known, _)) = by_name.get_key_value(other.as_str()) {
                stack.push(known);
            } else if unit.needs().any(|n| n == other) && !of_the_host(other) {
                let text = format!("requires {other}, which does not exist");
                plan.problems.push((name.to_string(), text));
                plan.missing.insert(name.to_string());
            }
        }
    }
    for name in &wanted {
        let unit = by_name[name.as_str()];
        let after = unit.after.iter().filter(|a| wanted.contains(*a)).cloned();
        plan.after.entry(name.clone()).or_default().extend(after);
        for later in unit.before.iter().filter(|b| wanted.contains(*b)) {
            plan.after
                .entry(later.clone())
                .or_default()
                .insert(name.clone());
        }
        plan.requires
            .insert(name.clone(), unit.needs().cloned().collect());
    }
    sort(&mut plan);
    plan
}

/// The units that end with `name`, those first that have to end first; `name` is the last.
///
/// As systemd: whoever requires a unit, is bound to it or part of it, does not stay without it.
pub fn ends_with(units: &[Unit], name: &str) -> Vec<String> {
    let mut found: Vec<String> = vec![name.to_owned()];
    let mut next = 0;
    while let Some(at) = found.get(next).cloned() {
        let ends = |unit: &Unit| unit.needs().chain(&unit.part_of).any(|n| *n == at);
        let needs = |unit: &&Unit| ends(unit) && !found.contains(&unit.name);
        let more: Vec<String> = units.iter().filter(needs).map(|u| u.name.clone()).collect();
        found.extend(more);
        next += 1;
    }
    found.reverse();
    found
}

/// Targets and units of systemd that are simply there once the engine runs.
fn of_the_host(name: &str) -> bool {
    name.ends_with(".target") || name.ends_with(".socket") || name.ends_with(".mount")
}

/// Topological order by name; the smallest unit of a cycle loses the dependencies that close it.
fn sort(plan: &mut Plan) {
    let mut left: BTreeSet<String> = plan.after.keys().cloned().collect();
    while !left.is_empty() {
        let ready = left
            .iter()
            .find(|name| plan.after[*name].is_disjoint(&left))
            .cloned();
        let next = match ready {
            Some(name) => name,
            None => break_cycle(plan, &left),
        };
        left.remove(&next);
        plan.order.push(next);
    }
}

fn break_cycle(plan: &mut Plan, left: &BTreeSet<String>) -> String {
    // Walk back along the dependencies until a unit comes twice: that one is in the cycle.
    let mut seen = BTreeSet::new();
    let mut at = left.first().cloned().unwrap_or_default();
    while seen.insert(at.clone()) {
        if let Some(next) = plan.after[&at].intersection(left).next() {
            at.clone_from(next);
        }
    }
    let after = plan.after.entry(at.clone()).or_default();
    let dropped: Vec<String> = after.intersection(left).cloned().collect();
    after.retain(|name| !left.contains(name));
    let text = format!("ordering cycle: After={} is ignored", dropped.join(" "));
    plan.problems.push((at.clone(), text));
    at
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn unit(name: &str, lines: &str) -> Unit {
        let text = format!("[Unit]\n{lines}\n[Container]\nImage=x\n");
        Unit::parse(Path::new(&format!("{name}.container")), &text).unwrap()
    }

    #[test]
    fn after_before_requires_and_wants_give_an_order() {
        let units = [
            unit("a", "After=b.service\nRequires=b.service"),
            unit("b", "Wants=c.service"),
            unit("c", "Before=b.service"),
            unit("d", ""),
        ];
        let plan = plan(&units, ["a.service"].into_iter());
        assert_eq!(plan.order, ["c.service", "b.service", "a.service"]);
        assert_eq!(plan.problems, []);
    }

    #[test]
    fn a_cycle_is_broken_and_told() {
        let units = [unit("a", "After=b.service"), unit("b", "After=a.service")];
        let plan = plan(&units, ["a.service", "b.service"].into_iter());
        assert_eq!(plan.order.len(), 2);
        assert_eq!(plan.problems.len(), 1);
        assert!(plan.problems[0].1.contains("cycle"), "{:?}", plan.problems);
    }

    #[test]
    fn a_missing_requirement_is_told_and_a_target_is_not() {
        let units = [unit("a", "Requires=gone.service network-online.target")];
        let plan = plan(&units, ["a.service"].into_iter());
        assert_eq!(plan.problems.len(), 1);
        assert!(plan.problems[0].1.contains("gone.service"));
        assert!(plan.missing.contains("a.service"), "it would start without");
    }

    #[test]
    fn what_requires_a_unit_ends_before_it() {
        let units = [
            unit("a", "Requires=b.service"),
            unit("b", "Requires=c.service"),
            unit("c", ""),
            unit("d", "Wants=c.service"),
            unit("e", "PartOf=c.service"),
            unit("f", "BindsTo=e.service"),
        ];
        let ends = ends_with(&units, "c.service");
        let names = ["f", "a", "e", "b", "c"].map(|n| format!("{n}.service"));
        assert_eq!(ends, names);
        assert_eq!(ends_with(&units, "d.service"), ["d.service"]);
    }

    proptest! {
        #[test]
        fn every_wanted_unit_comes_once_and_after_what_it_waits_for(
            edges in prop::collection::vec((0usize..8, 0usize..8), 0..20)
        ) {
            let units: Vec<Unit> = (0..8)
                .map(|i| {
                    let after: Vec<String> = edges.iter().filter(|e| e.0 == i)
                        .map(|e| format!("u{}.service", e.1)).collect();
                    unit(&format!("u{i}"), &format!("After={}", after.join(" ")))
                })
                .collect();
            let names: Vec<String> = units.iter().map(|u| u.name.clone()).collect();
            let plan = plan(&units, names.iter().map(String::as_str));
            prop_assert_eq!(plan.order.len(), 8);
            for (i, name) in plan.order.iter().enumerate() {
                for after in &plan.after[name] {
                    prop_assert!(plan.order[..i].contains(after), "{} {:?}", name, plan);
                }
            }
        }
    }
}
