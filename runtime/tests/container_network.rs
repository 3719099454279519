//! Containers' networks on the real kernel: a host, two containers and a neighbour, each a
//! network namespace made by the test. Needs root, iproute2 and nftables.

#[expect(dead_code, reason = "other tests use the rest")]
mod namespaces;

use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use namespaces::{Namespace, is_alive};
use runtime::network::nftables::batch::Batch;
use runtime::network::nftables::expression::Expression;
use runtime::network::nftables::socket::apply;
use runtime::network::nftables::{Chain, Rule, Table};
use runtime::network::{Attach, Attachment, Error, Join, Networks, PortMapping};

/// A host at 192.0.2.1 whose neighbour at 192.0.2.2 knows no way to the containers.
struct Host {
    host: Namespace,
    neighbour: Namespace,
}

impl Host {
    fn new() -> Host {
        let (host, neighbour) = (Namespace::new(), Namespace::new());
        host.shell("ip link set lo up");
        host.run(bridge_without_filters);
        host.shell("ip link add wan0 type veth peer name wan1");
        host.shell(&format!("ip link set wan1 netns {}", neighbour.thread()));
        host.shell("ip addr add 192.0.2.1/24 dev wan0");
        host.shell("ip link set wan0 up");
        neighbour.shell("ip link set lo up");
        neighbour.shell("ip addr add 192.0.2.2/24 dev wan1");
        neighbour.shell("ip link set wan1 up");
        Host { host, neighbour }
    }

    /// Attaches `containers` in one engine's life, which then ends.
    fn attach(&self, containers: &[(&'static str, &Namespace, &str)]) -> Vec<Attachment> {
        let wanted = owned(containers);
        let result = self.host.block_on(move || async move {
            let mut networks = Networks::open().await?;
            let mut attached = Vec::new();
            for (id, netns, ports) in &wanted {
                let attached_one = networks
                    .attach(id, netns.as_fd(), &on_default(ports))
                    .await?;
                attached.extend(attached_one);
            }
            Ok::<_, Error>(attached)
        });
        result.unwrap()
    }

    fn restore(&self, attachments: Vec<Attachment>) {
        let result = self
            .host
            .block_on(move || async move { Networks::open().await?.restore(attachments).await });
        result.unwrap();
    }
}

/// A kernel with br_netfilter (Skeg's has none) hands bridged packets to the routing hooks too, and
/// then needs hairpin ports. It is a setting of the namespace.
fn bridge_without_filters() {
    let setting = std::path::Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
    if setting.exists() {
        std::fs::write(setting, "0").unwrap();
    }
}

/// The default bridge, and nothing else.
fn on_default(ports: &[PortMapping]) -> Attach<'_> {
    static DEFAULT: std::sync::LazyLock<Join> = std::sync::LazyLock::new(Join::default_bridge);
    Attach {
        ports,
        joins: std::slice::from_ref(&DEFAULT),
        upstreams: &[],
    }
}

type Wanted = Vec<(&'static str, std::fs::File, Vec<PortMapping>)>;

fn owned(containers: &[(&'static str, &Namespace, &str)]) -> Wanted {
    let one = |(id, netns, ports): &(&'static str, &Namespace, &str)| {
        let ports = ports
            .split_whitespace()
            .flat_map(|port| PortMapping::parse(port).unwrap());
        (*id, netns.descriptor.try_clone().unwrap(), ports.collect())
    };
    containers.iter().map(one).collect()
}

#[test]
fn containers_reach_each_other_and_the_world_behind_the_hosts_address() {
    namespaces::need_root();
    let (host, web, db) = (Host::new(), Namespace::new(), Namespace::new());
    let attached = host.attach(&[("web", &web, ""), ("db", &db, "")]);
    assert_eq!(attached[0].ip, Ipv4Addr::new(10, 88, 0, 2));
    db.serve(5432);
    host.neighbour.serve(80);
    assert_eq!(web.seen_by("10.88.0.3:5432").as_deref(), Some("10.88.0.2"));
    assert_eq!(
        web.seen_by("192.0.2.2:80").as_deref(),
        Some("192.0.2.1"),
        "masqueraded"
    );
    let shown = web.shell("ip addr show eth0");
    assert!(shown.contains(&attached[0].mac.to_string()), "{shown}");
}

#[test]
fn containers_reach_nothing_of_the_host_itself_but_names_and_pings() {
    namespaces::need_root();
    let (host, web) = (Host::new(), Namespace::new());
    host.attach(&[("web", &web, "")]);
    for port in [22, 53] {
        host.host.serve(port);
        host.host.serve_udp(port);
    }
    for address in ["10.88.0.1", "192.0.2.1"] {
        let port = |port: u16| format!("{address}:{port}");
        assert_eq!(web.seen_by(&port(22)), None, "{address}");
        assert_eq!(web.seen_by(&port(53)).as_deref(), Some("10.88.0.2"));
    }
    assert_eq!(web.seen_by_udp("10.88.0.1:22"), None);
    assert_eq!(
        web.seen_by_udp("10.88.0.1:53").as_deref(),
        Some("10.88.0.2")
    );
    assert!(host.neighbour.seen_by("192.0.2.1:22").is_some());
    assert!(web.pings(Ipv4Addr::new(10, 88, 0, 1)));
    // What the host opens itself is answered.
    web.serve(80);
    assert_eq!(
        host.host.seen_by("10.88.0.2:80").as_deref(),
        Some("10.88.0.1")
    );
    // The rules are IPv4's, so there must be no other way.
    assert_eq!(host.host.shell("ip -6 addr show dev skeg0"), "");
    assert_eq!(
        host.host
            .shell("cat /proc/sys/net/ipv6/conf/skeg0/disable_ipv6")
            .trim(),
        "1"
    );
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    namespaces::need_root();
    let (host, web, db) = (Host::new(), Namespace::new(), Namespace::new());
    host.attach(&[("web", &web, "8080:80 5300:53/udp"), ("db", &db, "")]);
    web.serve(80);
    web.serve_udp(53);
    assert_eq!(
        host.neighbour.seen_by("192.0.2.1:8080").as_deref(),
        Some("192.0.2.2"),
        "outside"
    );
    assert_eq!(
        host.host.seen_by("192.0.2.1:8080").as_deref(),
        Some("192.0.2.1"),
        "host, own address"
    );
    assert_eq!(
        host.host.seen_by("127.0.0.1:8080").as_deref(),
        Some("10.88.0.1"),
        "host, loopback"
    );
    assert_eq!(
        db.seen_by("192.0.2.1:8080").as_deref(),
        Some("10.88.0.1"),
        "another container"
    );
    assert_eq!(
        db.seen_by("10.88.0.1:8080").as_deref(),
        Some("10.88.0.1"),
        "by the gateway"
    );
    assert_eq!(
        web.seen_by("192.0.2.1:8080").as_deref(),
        Some("10.88.0.1"),
        "hairpin"
    );
    assert_eq!(
        host.neighbour.seen_by_udp("192.0.2.1:5300").as_deref(),
        Some("192.0.2.2")
    );
    assert_eq!(
        host.host.seen_by_udp("127.0.0.1:5300").as_deref(),
        Some("10.88.0.1")
    );
}

#[test]
fn what_is_not_published_is_not_reached() {
    namespaces::need_root();
    let (host, web) = (Host::new(), Namespace::new());
    host.attach(&[("web", &web, "127.0.0.1:8080:80")]);
    web.serve(80);
    web.serve(81);
    host.host.serve(9999);
    host.neighbour
        .shell("ip route add 10.88.0.0/16 via 192.0.2.1");
    assert_eq!(
        host.neighbour.seen_by("10.88.0.2:81"),
        None,
        "routed to the container itself"
    );
    assert_eq!(
        host.neighbour.seen_by("192.0.2.1:8080"),
        None,
        "published on loopback only"
    );
    assert_eq!(
        host.host.seen_by("127.0.0.1:8080").as_deref(),
        Some("10.88.0.1")
    );
    for intruder in [&host.neighbour, &web] {
        intruder.shell("ip addr del 127.0.0.1/8 dev lo");
        intruder.shell("ip route flush table local root 127.0.0.0/8");
        let (by, link) = if std::ptr::eq(intruder, &web) {
            ("10.88.0.1", "eth0")
        } else {
            ("192.0.2.1", "wan1")
        };
        intruder.shell(&format!("ip route add 127.0.0.1/32 via {by} dev {link}"));
        let setting = format!("/proc/sys/net/ipv4/conf/{link}/route_localnet");
        intruder.run(|| std::fs::write(setting, "1").unwrap());
        assert_eq!(
            intruder.seen_by("127.0.0.1:8080"),
            None,
            "a neighbour on the host's loopback"
        );
        assert_eq!(
            intruder.seen_by("127.0.0.1:9999"),
            None,
            "a neighbour on the host's loopback"
        );
    }
}

#[test]
fn a_taken_port_is_refused_with_its_holder_and_nothing_is_left() {
    namespaces::need_root();
    let (host, web, db) = (Host::new(), Namespace::new(), Namespace::new());
    host.host.serve(8081);
    let wanted = owned(&[
        ("web", &web, "8080:80"),
        ("db", &db, "8080:5432"),
        ("db", &db, "8081:5432"),
    ]);
    let (errors, links) = host.host.block_on(move || async move {
        let mut networks = Networks::open().await.unwrap();
        let mut errors = Vec::new();
        for (id, netns, ports) in &wanted {
            let attached = networks.attach(id, netns.as_fd(), &on_default(ports)).await;
            errors.extend(attached.err().map(|error| error.to_string()));
        }
        let links = std::process::Command::new("ip")
            .args(["-br", "link"])
            .output()
            .unwrap();
        (errors, String::from_utf8(links.stdout).unwrap())
    });
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(
        errors[0].contains("8080/tcp") && errors[0].contains("container web"),
        "{errors:?}"
    );
    assert!(
        errors[1].contains("8081/tcp") && errors[1].contains("program of the host"),
        "{errors:?}"
    );
    assert_eq!(links.matches("skv").count(), 1, "{links}");
}

#[test]
fn a_restarted_engine_takes_over_and_open_connections_stay_open() {
    namespaces::need_root();
    let (host, web, old) = (Host::new(), Namespace::new(), Namespace::new());
    let mut attached = host.attach(&[("web", &web, "8080:80"), ("old", &old, "8081:80")]);
    web.serve(80);
    old.serve(80);
    let mut open = host.neighbour.connect("192.0.2.1:8080");
    let before = host.host.shell("nft -s list table ip skeg");
    host.restore(attached.clone());
    assert_eq!(
        host.host.shell("nft -s list table ip skeg"),
        before,
        "nothing changes"
    );
    attached.retain(|attachment| attachment.id == "web");
    host.restore(attached);
    assert!(is_alive(&mut open));
    assert!(host.neighbour.seen_by("192.0.2.1:8080").is_some());
    assert_eq!(
        host.neighbour.seen_by("192.0.2.1:8081"),
        None,
        "of a container that is gone"
    );
    assert_eq!(host.host.shell("ip -br link").matches("skv").count(), 1);
}

#[test]
fn a_container_attached_anew_and_detached_leaves_no_rule_and_no_link() {
    namespaces::need_root();
    let (host, first, second) = (Host::new(), Namespace::new(), Namespace::new());
    let wanted = owned(&[("web", &first, "8080:80"), ("web", &second, "8080:80 80")]);
    let host_port = host.host.block_on(move || async move {
        let mut networks = Networks::open().await.unwrap();
        let mut chosen = 0;
        for (id, netns, ports) in &wanted {
            let join = Join {
                ip: Some(Ipv4Addr::new(10, 88, 7, 7)),
                ..Join::default_bridge()
            };
            let attach = Attach {
                joins: &[join],
                ..on_default(ports)
            };
            let attached = networks.attach(id, netns.as_fd(), &attach).await;
            let attached = attached.unwrap().unwrap();
            assert_eq!(attached.ip, Ipv4Addr::new(10, 88, 7, 7));
            chosen = attached.ports.last().unwrap().host_port;
        }
        networks.detach("web").await.unwrap();
        networks.detach("web").await.unwrap();
        chosen
    });
    assert_ne!(host_port, 0, "a free port was chosen");
    let rules = host.host.shell("nft list table ip skeg");
    assert!(!rules.contains("dnat to"), "{rules}");
    assert_eq!(host.host.shell("ip -br link").matches("skv").count(), 0);
}

#[test]
fn the_rules_are_what_nft_reads() {
    namespaces::need_root();
    let (host, web) = (Host::new(), Namespace::new());
    host.attach(&[("web", &web, "8080:80 127.0.0.1:5300:53/udp")]);
    let rules = host.host.shell("nft -y list table ip skeg");
    let golden = include_str!("golden/skeg.nft");
    assert_eq!(rules, golden, "as read by nft:\n{rules}");
}

#[test]
fn a_refused_rule_is_named_and_the_old_table_stays() {
    namespaces::need_root();
    let (host, web) = (Host::new(), Namespace::new());
    host.attach(&[("web", &web, "8080:80")]);
    let before = host.host.shell("nft -s list table ip skeg");
    let rule = Rule {
        comment: "to nowhere".to_owned(),
        expressions: vec![Expression::Jump("nowhere")],
    };
    let chain = Chain {
        name: "lost",
        hook: None,
        rules: vec![rule],
    };
    let table = Table {
        name: "skeg",
        chains: vec![chain],
    };
    let refused = host.host.run(move || apply(&Batch::replacing(&table)));
    let error = refused.unwrap_err().to_string();
    assert!(
        error.contains("to nowhere") && error.contains("chain lost"),
        "{error}"
    );
    assert!(error.contains("No such file"), "{error}");
    assert_eq!(host.host.shell("nft -s list table ip skeg"), before);
    host.host.run(|| apply(&Batch::removing("skeg"))).unwrap();
    host.host.run(|| apply(&Batch::removing("skeg"))).unwrap();
    assert!(!host.host.shell("nft list ruleset").contains("skeg"));
}

#[test]
fn rules_of_others_are_left_alone_and_a_thousand_ports_fit() {
    namespaces::need_root();
    let (host, web) = (Host::new(), Namespace::new());
    host.host.shell("nft add table ip other");
    host.host.shell("nft add chain ip other mine");
    let before = host.host.shell("nft list table ip other");
    host.attach(&[("web", &web, "20000-21023:20000-21023")]);
    assert_eq!(host.host.shell("nft list table ip other"), before);
    web.serve(21023);
    assert!(host.neighbour.seen_by("192.0.2.1:21023").is_some());
}

#[test]
fn without_a_network_there_is_a_loopback() {
    namespaces::need_root();
    let (host, alone) = (Host::new(), Namespace::new());
    let netns = alone.descriptor.try_clone().unwrap();
    let result = host.host.block_on(move || async move {
        Networks::open().await?.loopback_only(netns.as_fd()).await
    });
    result.unwrap();
    alone.serve(80);
    assert_eq!(alone.seen_by("127.0.0.1:80").as_deref(), Some("127.0.0.1"));
}

#[test]
fn a_process_s_pidfd_names_its_namespace() {
    namespaces::need_root();
    let (host, web) = (Host::new(), Namespace::new());
    let mut child = web.run(|| {
        std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap()
    });
    let pid = rustix::process::Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    let attached = host.host.block_on(move || async move {
        Networks::open()
            .await?
            .attach("web", pidfd.as_fd(), &on_default(&[]))
            .await
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        web.shell("ip addr show eth0")
            .contains(&attached.unwrap().unwrap().ip.to_string())
    );
}
