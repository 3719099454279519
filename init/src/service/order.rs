//! The order of services, from their files: who waits for whom.
//!
//! Pure. A cycle or a missing requirement is reported and broken, never an error: the host boots.

use formats::service::Service;

/// For each service the indices that it waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    /// Services whose first start must have come to an end.
    pub after: Vec<Vec<usize>>,
    /// Services that must be started; each is in `after` too.
    pub requires: Vec<Vec<usize>>,
    /// What was wrong, one sentence each, with the service it is about.
    pub problems: Vec<(usize, String)>,
    /// Services that require one that does not exist: they can never start.
    pub impossible: Vec<usize>,
}

/// Resolves the names of `After=` and `Requires=`, and breaks cycles.
#[must_use]
pub fn resolve(services: &[Service]) -> Order {
    let find = |name: &String| services.iter().position(|s| s.name == *name);
    let mut order = Order::default();
    for (index, service) in services.iter().enumerate() {
        let requires: Vec<usize> = service.requires.iter().filter_map(find).collect();
        let mut after: Vec<usize> = service.after.iter().filter_map(find).collect();
        after.extend(&requires);
        after.sort_unstable();
        after.dedup();
        if let Some(missing) = service.requires.iter().find(|name| find(name).is_none()) {
            let text = format!("requires {missing}, which this image does not have");
            order.problems.push((index, text));
            order.impossible.push(index);
        }
        order.after.push(after);
        order.requires.push(requires);
    }
    while let Some(index) = in_a_cycle(&order.after) {
        let text = "waits for itself through other services: its order is ignored".to_owned();
        order.problems.push((index, text));
        order.after[index].clear();
        order.requires[index].clear();
    }
    order
}

/// A service that is in a cycle, if there is one.
fn in_a_cycle(after: &[Vec<usize>]) -> Option<usize> {
    (0..after.len()).find(|start| {
        let mut seen = vec![false; after.len()];
        let mut open: Vec<usize> = after[*start].clone();
        while let Some(next) = open.pop() {
            if next == *start {
                return true;
            }
            if !std::mem::replace(&mut seen[next], true) {
                open.extend(&after[next]);
            }
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn service(name: &str, after: &[&str], requires: &[&str]) -> Service {
        let mut service = Service::new(name);
        service.after = after.iter().map(ToString::to_string).collect();
        service.requires = requires.iter().map(ToString::to_string).collect();
        service
    }

    #[test]
    fn requiring_implies_waiting_and_unknown_names_of_after_are_passed_over() {
        let services = [
            service("engine", &["net", "absent"], &["zygote"]),
            service("net", &[], &[]),
            service("zygote", &[], &[]),
        ];
        let order = resolve(&services);
        assert_eq!(order.after[0], [1, 2]);
        assert_eq!(order.problems, []);
    }

    #[test]
    fn a_cycle_is_broken_and_named() {
        let services = [service("a", &["b"], &[]), service("b", &[], &["a"])];
        let order = resolve(&services);
        assert_eq!(order.problems.len(), 1);
        assert_eq!(in_a_cycle(&order.after), None);
    }

    #[test]
    fn a_requirement_that_does_not_exist_makes_the_service_impossible() {
        let order = resolve(&[service("a", &[], &["ghost"])]);
        assert_eq!(order.impossible, [0]);
        assert!(order.problems[0].1.contains("ghost"));
    }

    proptest! {
        #[test]
        fn no_graph_of_services_keeps_a_cycle(edges in prop::collection::vec((0usize..6, 0usize..6), 0..20)) {
            let mut services: Vec<Service> =
                (0..6).map(|i| service(&i.to_string(), &[], &[])).collect();
            for (from, to) in edges {
                services[from].after.push(to.to_string());
            }
            prop_assert_eq!(in_a_cycle(&resolve(&services).after), None);
        }
    }
}
