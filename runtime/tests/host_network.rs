//! The daemon `net` on the real kernel against a real DHCP server, in network namespaces made by the
//! test. Needs root, iproute2 and dnsmasq (Debian's dnsmasq-base).

#[expect(dead_code, reason = "other tests use the rest")]
mod namespaces;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use namespaces::Namespace;
use runtime::hostnet::daemon::{Settings, run};
use runtime::hostnet::report::Network;
use runtime::supervisor::Supervisor;
use tokio::sync::oneshot;

/// A host whose `eth0` is plugged into a server's network.
struct Lan {
    host: Namespace,
    server: Namespace,
    folder: tempfile::TempDir,
    dnsmasq: Option<Child>,
}

impl Lan {
    fn new() -> Lan {
        let (host, server) = (Namespace::new(), Namespace::new());
        host.shell("ip link add eth0 type veth peer name lan0");
        host.shell(&format!("ip link set lan0 netns {}", server.thread()));
        server.shell("ip addr add 10.9.0.1/24 dev lan0");
        server.shell("ip link set lan0 up");
        Lan {
            host,
            server,
            folder: tempfile::tempdir().unwrap(),
            dnsmasq: None,
        }
    }

    /// Starts the server; `extra` are further options of dnsmasq.
    fn serve(&mut self, range: &str, extra: &str) {
        self.stop_serving();
        let leases = self.folder.path().join("dnsmasq.leases");
        let line = format!(
            "dnsmasq --conf-file=/dev/null --no-daemon --user=root --port=0 --interface=lan0 \
             --bind-interfaces --dhcp-authoritative --no-ping --pid-file= \
             --dhcp-leasefile={} --dhcp-range={range} {extra}",
            leases.display()
        );
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let log = std::fs::File::create(self.folder.path().join("dnsmasq.log")).unwrap();
        let child = self.server.run(move || {
            let mut command = Command::new(&words[0]);
            command
                .args(&words[1..])
                .stderr(log)
                .stdout(Stdio::null())
                .spawn()
        });
        self.dnsmasq = Some(child.expect("start dnsmasq: needs Debian's dnsmasq-base"));
        let started = || self.log().contains("DHCP, IP range").then_some(());
        eventually("dnsmasq to start", started);
    }

    fn stop_serving(&mut self) {
        if let Some(mut child) = self.dnsmasq.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("dnsmasq.log")).unwrap_or_default()
    }

    /// Runs the daemon on the host's thread until the returned sender is used or dropped.
    fn start(&self) -> oneshot::Sender<()> {
        let (stop, stopped) = oneshot::channel();
        let settings = Settings {
            folder: self.folder.path().to_owned(),
            also: vec!["eth0".to_owned()],
            supervisor: Supervisor::none(),
        };
        self.host.detached(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            let stop = async {
                let _ = stopped.await;
            };
            runtime.block_on(run(settings, stop)).unwrap();
        });
        stop
    }

    fn report(&self) -> Option<Network> {
        let bytes = std::fs::read(self.folder.path().join("network.json")).ok()?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    fn address(&self) -> Option<String> {
        self.report()?
            .addresses()
            .next()
            .map(|address| address.to_string())
    }

    fn shows(&self, line: &str, text: &str) -> Option<()> {
        self.host.shell(line).contains(text).then_some(())
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.stop_serving();
    }
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "waited 10 s for {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(PathBuf::from(folder).join(name)).unwrap()
}

#[test]
fn a_lease_is_in_force_soon_after_the_link_is_up() {
    namespaces::need_root();
    let mut lan = Lan::new();
    lan.serve(
        "10.9.0.50,10.9.0.60,1h",
        "--dhcp-option=option:dns-server,10.9.0.1,9.9.9.9 --dhcp-option=option:domain-name,lan.example \
         --dhcp-option=option:router,10.9.0.1 --dhcp-option=option:mtu,1400",
    );
    let begin = Instant::now();
    let _daemon = lan.start();
    let address = eventually("an address", || lan.address());
    println!("lease after {:?}", begin.elapsed());
    assert!(
        begin.elapsed() < Duration::from_millis(1500),
        "{:?}",
        begin.elapsed()
    );
    assert!(address.starts_with("10.9.0."), "{address}");
    let shown = lan.host.shell("ip addr show eth0");
    assert!(
        shown.contains(&format!("{address}/24")) && shown.contains("mtu 1400"),
        "{shown}"
    );
    let route = lan.host.shell("ip route show default");
    assert!(
        route.contains("via 10.9.0.1") && route.contains("proto dhcp"),
        "{route}"
    );
    assert!(lan.shows("ip link show lo", "UP").is_some());
    assert_eq!(
        read(lan.folder.path(), "resolv.conf")
            .lines()
            .skip(1)
            .collect::<Vec<_>>(),
        [
            "search lan.example",
            "nameserver 10.9.0.1",
            "nameserver 9.9.9.9"
        ]
    );
}

#[test]
fn rapid_commit_is_used_where_the_server_has_it() {
    namespaces::need_root();
    let mut lan = Lan::new();
    lan.serve("10.9.0.50,10.9.0.60,1h", "--dhcp-rapid-commit");
    let _daemon = lan.start();
    eventually("an address", || lan.address());
    let log = lan.log();
    assert!(
        !log.contains("DHCPOFFER") && log.contains("DHCPACK"),
        "{log}"
    );
}

#[test]
fn a_server_that_comes_late_and_routes_off_the_network_are_fine() {
    namespaces::need_root();
    let mut lan = Lan::new();
    let _daemon = lan.start();
    eventually("a report", || lan.report());
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(lan.address(), None);
    lan.serve(
        "10.9.0.50,10.9.0.60,1h",
        "--dhcp-option=option:classless-static-route,192.0.2.1/32,0.0.0.0,0.0.0.0/0,192.0.2.1",
    );
    eventually("an address", || lan.address());
    let routes = lan.host.shell("ip route");
    assert!(
        routes.contains("default via 192.0.2.1") && routes.contains("onlink"),
        "{routes}"
    );
    assert!(routes.contains("192.0.2.1 dev eth0"), "{routes}");
}

#[test]
fn a_cable_plugged_into_another_network_gets_another_address() {
    namespaces::need_root();
    let mut lan = Lan::new();
    lan.serve("10.9.0.50,10.9.0.50,1h", "");
    let _daemon = lan.start();
    eventually("an address", || lan.address());
    lan.server.shell("ip link set lan0 down");
    eventually("the carrier to go", || {
        let report = lan.report()?;
        report
            .links
            .values()
            .all(|link| !link.carrier)
            .then_some(())
    });
    assert_eq!(
        lan.address().as_deref(),
        Some("10.9.0.50"),
        "kept while its time lasts"
    );
    lan.server.shell("ip addr flush dev lan0");
    lan.server.shell("ip addr add 10.7.0.1/24 dev lan0");
    lan.server.shell("ip link set lan0 up");
    lan.serve("10.7.0.50,10.7.0.50,1h", "");
    eventually("the other address", || {
        (lan.address()? == "10.7.0.50").then_some(())
    });
    let shown = lan.host.shell("ip -4 addr show eth0");
    assert!(!shown.contains("10.9.0.50"), "{shown}");
}

/// No server grants less than two minutes, and a lease is renewed at half its time.
#[cfg(feature = "soak")]
#[test]
fn a_lease_is_renewed_before_it_ends() {
    namespaces::need_root();
    let mut lan = Lan::new();
    lan.serve("10.9.0.50,10.9.0.60,2m", "");
    let _daemon = lan.start();
    eventually("an address", || lan.address());
    let renewed = |lan: &Lan| lan.log().matches("DHCPACK").count() > 1;
    let half = Instant::now() + Duration::from_secs(70);
    while !renewed(&lan) && Instant::now() < half {
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(renewed(&lan), "no renewal: {}", lan.log());
    let log = lan.log();
    assert_eq!(log.matches("DHCPDISCOVER").count(), 1, "{log}");
    assert!(lan.address().is_some());
    eventually("the kernel's clock to start anew", || {
        let shown = lan.host.shell("ip addr show eth0");
        let left = shown
            .split("valid_lft ")
            .nth(1)?
            .split("sec")
            .next()?
            .parse::<u32>();
        left.is_ok_and(|left| left > 90).then_some(())
    });
}

#[test]
fn a_restarted_daemon_and_a_link_that_comes_later_are_taken() {
    namespaces::need_root();
    let mut lan = Lan::new();
    lan.serve("10.9.0.50,10.9.0.60,1h", "");
    drop(lan.start());
    lan.host.shell("ip link set eth0 down");
    lan.host.shell("ip link set eth0 name eth1");
    let _daemon = lan.start();
    eventually("a report", || lan.report());
    lan.host.shell("ip link set eth1 name eth0");
    eventually("an address", || lan.address());
    eventually("the address in force", || {
        lan.shows("ip addr show eth0", "10.9.0.")
    });
}
