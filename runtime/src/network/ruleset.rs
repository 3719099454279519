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

/// A bridge and what may pass by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its link.
    pub link: String,
    /// Its addresses.
    pub subnet: Subnet,
    /// Its own address.
    pub gateway: Ipv4Addr,
    /// Nothing is routed to or from it.
    pub internal: bool,
    /// What leaves it has the host's address.
    pub masquerade: bool,
    /// Where names are served, if they are.
    pub names: Option<u16>,
}

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

/// The whole table for the containers on `bridges`.
pub fn table(bridges: &[Bridge], published: &[Published<'_>]) -> Table {
    let chains = vec![
        Chain {
            name: PUBLISHED,
            hook: None,
            rules: published.iter().map(translation).collect(),
        },
        guard(),
        prerouting(bridges),
        output(),
        input(bridges),
        forward(bridges),
        postrouting(bridges),
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
        Expression::InputLink(Is::Other, "lo".to_owned()),
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

/// Packets for the host itself, from outside and from containers. Questions about names come
/// first: a container that publishes port 53 shall not get those of others.
fn prerouting(bridges: &[Bridge]) -> Chain {
    let mut rules: Vec<Rule> = bridges.iter().flat_map(questions).collect();
    rules.push(to_published());
    Chain {
        name: "prerouting",
        hook: hook("nat", Point::Prerouting, DESTINATION_NAT),
        rules,
    }
}

/// Packets of the host for itself.
fn output() -> Chain {
    Chain {
        name: "output",
        hook: hook("nat", Point::Output, DESTINATION_NAT),
        rules: vec![to_published()],
    }
}

fn to_published() -> Rule {
    let local = [Expression::LocalDestination];
    rule("published ports", local, Expression::Jump(PUBLISHED))
}

fn questions(bridge: &Bridge) -> Vec<Rule> {
    let Some(port) = bridge.names else {
        return Vec::new();
    };
    let of = |protocol| {
        let matches = [
            Expression::InputLink(Is::Equal, bridge.link.clone()),
            Expression::Destination(bridge.gateway),
            Expression::Port(protocol, NAMES),
        ];
        let to = Expression::Translate(bridge.gateway, port);
        rule("names of containers", matches, to)
    };
    vec![of(Protocol::Udp), of(Protocol::Tcp)]
}

/// Containers reach what is published, whose translation has taken it elsewhere by now; of the host's own
/// they may ask for names and see whether it is there. What the host opens itself is answered.
fn input(bridges: &[Bridge]) -> Chain {
    let accept = || Expression::Verdict(Policy::Accept);
    let mut rules = vec![rule(
        "known connections",
        [Expression::Established],
        accept(),
    )];
    for bridge in bridges {
        let from = || Expression::InputLink(Is::Equal, bridge.link.clone());
        // Where we serve names ourselves, the questions have been led there by now.
        let port = bridge.names.unwrap_or(NAMES);
        let names = |protocol| [from(), Expression::Port(protocol, port)];
        rules.extend([
            rule("names for containers", names(Protocol::Udp), accept()),
            rule("names for containers", names(Protocol::Tcp), accept()),
            rule("pings of containers", [from(), Expression::Ping], accept()),
            rule(
                "the host's own is not for containers",
                [from()],
                Expression::Verdict(Policy::Drop),
            ),
        ]);
    }
    Chain {
        name: "input",
        hook: hook("filter", Point::Input, FILTER),
        rules,
    }
}

/// Nothing is routed but by and to containers, and to them only what is known or published: what
/// one network sends to another is neither.
fn forward(bridges: &[Bridge]) -> Chain {
    let accept = || Expression::Verdict(Policy::Accept);
    let drop = || Expression::Verdict(Policy::Drop);
    let to = |is, bridge: &Bridge| Expression::OutputLink(is, bridge.link.clone());
    let from = |is, bridge: &Bridge| Expression::InputLink(is, bridge.link.clone());
    let mut rules = vec![rule(
        "known connections",
        [Expression::Established],
        accept(),
    )];
    for bridge in bridges.iter().filter(|bridge| bridge.internal) {
        let matches = [from(Is::Equal, bridge), to(Is::Other, bridge)];
        rules.push(rule("out of an internal network", matches, drop()));
    }
    for bridge in bridges.iter().filter(|bridge| !bridge.internal) {
        let matches = [to(Is::Equal, bridge), Expression::Translated];
        rules.push(rule("to published ports", matches, accept()));
    }
    for bridge in bridges {
        let matches = [to(Is::Equal, bridge), from(Is::Other, bridge)];
        rules.push(rule("into a network", matches, drop()));
    }
    for bridge in bridges.iter().filter(|bridge| !bridge.internal) {
        // Under an address of their own: a forged one would leave the host untranslated.
        let matches = [from(Is::Equal, bridge), Expression::Source(bridge.subnet)];
        rules.push(rule("from containers", matches, accept()));
    }
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

fn postrouting(bridges: &[Bridge]) -> Chain {
    let rules = bridges
        .iter()
        .filter(|bridge| !bridge.internal)
        .flat_map(sources)
        .collect();
    Chain {
        name: "postrouting",
        hook: hook("nat", Point::Postrouting, SOURCE_NAT),
        rules,
    }
}

fn sources(bridge: &Bridge) -> Vec<Rule> {
    let source = || Expression::Source(bridge.subnet);
    let inside = || Expression::OutputLink(Is::Equal, bridge.link.clone());
    let outside = Expression::OutputLink(Is::Other, bridge.link.clone());
    let mut rules = Vec::new();
    if bridge.masquerade {
        rules.push(rule(
            "containers to the world",
            [source(), outside],
            Expression::Masquerade,
        ));
    }
    rules.push(rule(
        "containers to published ports",
        [source(), inside(), Expression::Translated],
        Expression::Masquerade,
    ));
    rules.push(rule(
        "the host over loopback",
        [Expression::LoopbackSource, inside()],
        Expression::Masquerade,
    ));
    rules
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

    fn bridge(link: &str, subnet: &str, internal: bool) -> Bridge {
        let subnet: Subnet = subnet.parse().unwrap();
        Bridge {
            link: link.to_owned(),
            subnet,
            gateway: subnet.gateway(),
            internal,
            masquerade: true,
            names: Some(10053),
        }
    }

    fn three() -> Table {
        let bridges = [
            bridge("skeg0", "10.88.0.0/16", false),
            bridge("skb1", "10.89.0.0/24", false),
            bridge("skb2", "10.89.1.0/24", true),
        ];
        table(&bridges, &[])
    }

    fn rules<'a>(table: &'a Table, chain: &str) -> &'a [Rule] {
        let found = table.chains.iter().find(|found| found.name == chain);
        &found.unwrap().rules
    }

    #[test]
    fn nothing_is_forwarded_by_default() {
        let table = three();
        let forward = table.chains.iter().find(|chain| chain.name == "forward");
        assert_eq!(forward.unwrap().hook.unwrap().policy, Policy::Drop);
    }

    /// The first verdict of the chain `forward` on a new connection.
    fn verdict(from: &str, to: &str, translated: bool) -> Policy {
        let holds = |expression: &Expression| match expression {
            Expression::InputLink(is, link) => (link == from) == (*is == Is::Equal),
            Expression::OutputLink(is, link) => (link == to) == (*is == Is::Equal),
            Expression::Translated => translated,
            Expression::Established => false,
            _ => true,
        };
        let table = three();
        let met = rules(&table, "forward")
            .iter()
            .find(|rule| rule.expressions.iter().all(holds));
        match met.and_then(|rule| rule.expressions.last()) {
            Some(Expression::Verdict(policy)) => *policy,
            _ => Policy::Drop,
        }
    }

    #[test]
    fn networks_are_apart_and_an_internal_one_from_everything() {
        for (from, to, translated, expected) in [
            ("skeg0", "eth0", false, Policy::Accept),
            ("skb1", "eth0", false, Policy::Accept),
            ("skb1", "skb1", false, Policy::Accept),
            ("skb1", "skeg0", false, Policy::Drop),
            ("skeg0", "skb1", false, Policy::Drop),
            ("skeg0", "skb1", true, Policy::Accept),
            ("eth0", "skb1", false, Policy::Drop),
            ("eth0", "skb1", true, Policy::Accept),
            ("skb2", "eth0", false, Policy::Drop),
            ("skb2", "skb1", false, Policy::Drop),
            ("skb2", "skb1", true, Policy::Drop),
            ("skb1", "skb2", false, Policy::Drop),
            ("eth0", "skb2", true, Policy::Drop),
            ("eth0", "eth1", false, Policy::Drop),
        ] {
            assert_eq!(
                verdict(from, to, translated),
                expected,
                "{from} to {to}, {translated}"
            );
        }
    }

    #[test]
    fn what_comes_from_containers_has_a_containers_address() {
        let table = three();
        let accepts =
            |rule: &&Rule| rule.expressions.last() == Some(&Expression::Verdict(Policy::Accept));
        for rule in rules(&table, "forward").iter().filter(accepts) {
            let from = |link: &str| {
                let inside = Expression::InputLink(Is::Equal, link.to_owned());
                rule.expressions.contains(&inside)
            };
            let named = |subnet: &str| {
                let source = Expression::Source(subnet.parse().unwrap());
                rule.expressions.contains(&source)
            };
            assert_eq!(from("skeg0"), named("10.88.0.0/16"));
            assert_eq!(from("skb1"), named("10.89.0.0/24"));
        }
    }

    #[test]
    fn a_chain_stands_before_those_that_jump_to_it() {
        let table = three();
        for (index, chain) in table.chains.iter().enumerate() {
            for expression in chain.rules.iter().flat_map(|rule| &rule.expressions) {
                if let Expression::Jump(target) = expression {
                    let before = &table.chains[..index];
                    assert!(before.iter().any(|chain| chain.name == *target));
                }
            }
        }
    }
}
