//! From published ports to the rules of the table `ip skeg`.
//!
//! Pure: the same ports give the same rules in the same order. The table is ours alone; of packets to
//! the host itself it stops only those to its loopback, and what containers send to its own programs.

use std::net::Ipv4Addr;

use super::nftables::expression::{Expression, Is};
use super::nftables::{Chain, Hook, Point, Policy, Rule, Table};
use super::port::{PortMapping, Protocol};
use super::subnet::Subnet;

/// The table's name; its family is `ip`.
pub const TABLE: &str = "skeg";
/// The chain that holds the published ports.
const PUBLISHED: &str = "published";

/// Where names are asked for (RFC 1035).
const NAMES: u16 = 53;

const BEFORE_CONNTRACK: i32 = -300;
const DESTINATION_NAT: i32 = -100;
const FILTER: i32 = 0;
const SOURCE_NAT: i32 = 100;

/// A published port and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published<'a> {
    /// The container's id, for the rule's comment.
    pub id: &'a str,
    /// The container's address.
    pub ip: Ipv4Addr,
    /// The port.
    pub port: PortMapping,
}

/// The whole table for the containers on `bridge`.
pub fn table(bridge: &'static str, subnet: Subnet, published: &[Published<'_>]) -> Table {
    let chains = vec![
        Chain {
            name: PUBLISHED,
            hook: None,
            rules: published.iter().map(translation).collect(),
        },
        guard(),
        entry("prerouting", Point::Prerouting),
        entry("output", Point::Output),
        input(bridge),
        forward(bridge, subnet),
        postrouting(bridge, subnet),
    ];
    Table {
        name: TABLE,
        chains,
    }
}

fn translation(published: &Published<'_>) -> Rule {
    let Published { id, ip, port } = published;
    let mut expressions = Vec::with_capacity(3);
    expressions.extend(port.host_ip.map(Expression::Destination));
    expressions.push(Expression::Port(port.protocol, port.host_port));
    expressions.push(Expression::Translate(*ip, port.container_port));
    Rule {
        comment: format!("{port} of {id}"),
        expressions,
    }
}

/// The bridge may route loopback addresses (so that the host reaches published ports on
/// `127.0.0.1`); here is what keeps containers and neighbours off the host's own loopback, before
/// any translation could hide where a packet was sent.
fn guard() -> Chain {
    let others = [
        Expression::InputLink(Is::Other, "lo"),
        Expression::LoopbackDestination,
    ];
    let rules = vec![rule(
        "loopback is the host's own",
        others,
        Expression::Verdict(Policy::Drop),
    )];
    Chain {
        name: "guard",
        hook: hook("filter", Point::Prerouting, BEFORE_CONNTRACK),
        rules,
    }
}

/// Packets for the host itself: from outside and from containers (prerouting), from itself (output).
fn entry(name: &'static str, point: Point) -> Chain {
    let local = [Expression::LocalDestination];
    let rules = vec![rule("published ports", local, Expression::Jump(PUBLISHED))];
    Chain {
        name,
        hook: hook("nat", point, DESTINATION_NAT),
        rules,
    }
}

/// Containers reach what is published, whose translation has taken it elsewhere by now; of the host's own
/// they may ask for names and see whether it is there. What the host opens itself is answered.
fn input(bridge: &'static str) -> Chain {
    let from = || Expression::InputLink(Is::Equal, bridge);
    let accept = || Expression::Verdict(Policy::Accept);
    let names = |protocol| [from(), Expression::Port(protocol, NAMES)];
    let rules = vec![
        rule("known connections", [Expression::Established], accept()),
        rule("names for containers", names(Protocol::Udp), accept()),
        rule("names for containers", names(Protocol::Tcp), accept()),
        rule("pings of containers", [from(), Expression::Ping], accept()),
        rule(
            "the host's own is not for containers",
            [from()],
            Expression::Verdict(Policy::Drop),
        ),
    ];
    Chain {
        name: "input",
        hook: hook("filter", Point::Input, FILTER),
        rules,
    }
}

/// Nothing is routed but by and to containers, and to them only what is known or published.
fn forward(bridge: &'static str, subnet: Subnet) -> Chain {
    let to = Expression::OutputLink(Is::Equal, bridge);
    let from = Expression::InputLink(Is::Equal, bridge);
    let accept = || Expression::Verdict(Policy::Accept);
    let rules = vec![
        rule("known connections", [Expression::Established], accept()),
        // Under an address of their own: a forged one would leave the host untranslated.
        rule(
            "from containers",
            [from, Expression::Source(subnet)],
            accept(),
        ),
        rule("to published ports", [to, Expression::Translated], accept()),
    ];
    let hook = hook("filter", Point::Forward, FILTER);
    Chain {
        name: "forward",
        hook: hook.map(|hook| Hook {
            policy: Policy::Drop,
            ..hook
        }),
        rules,
    }
}

fn postrouting(bridge: &'static str, subnet: Subnet) -> Chain {
    let inside = || Expression::OutputLink(Is::Equal, bridge);
    let outside = Expression::OutputLink(Is::Other, bridge);
    let rules = vec![
        rule(
            "containers to the world",
            [Expression::Source(subnet), outside],
            Expression::Masquerade,
        ),
        rule(
            "containers to published ports",
            [Expression::Source(subnet), inside(), Expression::Translated],
            Expression::Masquerade,
        ),
        rule(
            "the host over loopback",
            [Expression::LoopbackSource, inside()],
            Expression::Masquerade,
        ),
    ];
    Chain {
        name: "postrouting",
        hook: hook("nat", Point::Postrouting, SOURCE_NAT),
        rules,
    }
}

fn hook(kind: &'static str, point: Point, priority: i32) -> Option<Hook> {
    Some(Hook {
        kind,
        point,
        priority,
        policy: Policy::Accept,
    })
}

fn rule<const N: usize>(comment: &str, matches: [Expression; N], action: Expression) -> Rule {
    let expressions = matches.into_iter().chain([action]).collect();
    Rule {
        comment: comment.to_owned(),
        expressions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Rule {
        let port = PortMapping::parse(text).unwrap()[0];
        translation(&Published {
            id: "web",
            ip: Ipv4Addr::new(10, 88, 0, 2),
            port,
        })
    }

    #[test]
    fn an_address_is_matched_only_where_one_was_given() {
        assert_eq!(one("8080:80").expressions.len(), 2);
        let bound = one("127.0.0.1:8080:80");
        assert_eq!(
            bound.expressions[0],
            Expression::Destination(Ipv4Addr::LOCALHOST)
        );
        assert_eq!(bound.comment, "127.0.0.1:8080->80/tcp of web");
    }

    #[test]
    fn nothing_is_forwarded_by_default() {
        let table = table("skeg0", Subnet::DEFAULT, &[]);
        let forward = table
            .chains
            .iter()
            .find(|chain| chain.name == "forward")
            .unwrap();
        assert_eq!(forward.hook.unwrap().policy, Policy::Drop);
    }

    fn rules<'a>(table: &'a Table, chain: &str) -> &'a [Rule] {
        let found = table.chains.iter().find(|found| found.name == chain);
        &found.unwrap().rules
    }

    #[test]
    fn what_comes_from_containers_has_a_containers_address() {
        let table = table("skeg0", Subnet::DEFAULT, &[]);
        let inside = Expression::InputLink(Is::Equal, "skeg0");
        let mut from = rules(&table, "forward")
            .iter()
            .filter(|rule| rule.expressions.contains(&inside));
        let source = Expression::Source(Subnet::DEFAULT);
        assert!(from.all(|rule| rule.expressions.contains(&source)));
    }

    #[test]
    fn a_chain_stands_before_those_that_jump_to_it() {
        let table = table("skeg0", Subnet::DEFAULT, &[]);
        for (index, chain) in table.chains.iter().enumerate() {
            for expression in chain.rules.iter().flat_map(|rule| &rule.expressions) {
                if let Expression::Jump(target) = expression {
                    assert!(
                        table.chains[..index]
                            .iter()
                            .any(|chain| chain.name == *target)
                    );
                }
            }
        }
    }
}
