//! `cargo xtask bench fleet`: what the fleet costs etcd, and how fast it is, beside the original's figures.
//!
//! Engines are processes, etcd syncs its disk, machines are a swarm. It judges nothing: a row that does
//! not hold is printed as it is.

use crate::cluster::Cluster;
use crate::swarm::Swarm;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Seconds that leases live, as the default is.
const TTL: u64 = 10;

fn row(what: &str, ours: &str, fleet: &str, goal: &str) {
    println!("| {what:46} | {ours:>18} | {fleet:>20} | {goal:>14} |");
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

#[test]
#[ignore = "a benchmark: cargo xtask bench fleet"]
fn bench() {
    let quick = std::env::var_os("QUICK").is_some();
    let limit = rustix::process::Rlimit {
        current: Some(16_384),
        maximum: Some(16_384),
    };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
    row("what", "skeg", "fleet", "goal");
    row("---", "---:", "---:", "---:");
    latency();
    ten_by_a_thousand();
    let shapes: &[(usize, usize, &str, &str)] = &[
        (10, 1000, "6.9 / 20.9 / 25.6 s", ""),
        (20, 1000, "", "growth"),
        (100, 1000, "> 200 s", ""),
        (1000, 10_000, "", "<= 20 s"),
    ];
    for (machines, units, fleet, goal) in &shapes[..if quick { 2 } else { 4 }] {
        let (cluster, swarm) = begin(*machines, 1);
        let before = Metrics::of(&cluster);
        let took = create(&cluster, &swarm, *units);
        // What is told after the start is counted, too.
        std::thread::sleep(Duration::from_secs(2));
        let each = Metrics::of(&cluster).proposals - before.proposals;
        let what = format!("{machines} machines, {units} units: last one started");
        row(&what, &seconds(took), fleet, goal);
        let what = format!("{machines} x {units}: raft proposals per unit");
        let each = format!("{:.2}", each / *units as f64);
        row(&what, &each, "9.9", "<= 1.5");
    }
    counted();
    take_over();
    memory();
}

fn begin(machines: usize, engines: usize) -> (Cluster, Swarm) {
    let cluster = Cluster::durable(engines, 0, TTL);
    let endpoints = cluster.etcd.endpoints();
    let swarm = Swarm::start(&endpoints, machines, Duration::from_secs(TTL));
    cluster.until("all machines are there", |c| c.live() == machines);
    (cluster, swarm)
}

/// One unit after another.
fn latency() {
    let (cluster, swarm) = begin(10, 1);
    let mut times: Vec<Duration> = (0..200)
        .map(|number| {
            let start = Instant::now();
            put(&cluster, &[format!("a{number}.service")], 1);
            swarm.wait(1)[0] - start
        })
        .collect();
    times.sort();
    row(
        "create -> started, p50",
        &ms(times[100]),
        "4700 ms",
        "<= 10 ms",
    );
    row("create -> started, p99", &ms(times[197]), "", "<= 50 ms");
}

/// At rest, and when a machine is lost.
fn ten_by_a_thousand() {
    let (cluster, swarm) = begin(10, 1);
    create(&cluster, &swarm, 1000);
    std::thread::sleep(Duration::from_secs(5));
    let (before, window) = (Metrics::of(&cluster), 20.0);
    std::thread::sleep(Duration::from_secs_f64(window));
    let after = Metrics::of(&cluster);
    let each = |from: f64, to: f64| (to - from) / window;
    let writes = each(before.proposals, after.proposals);
    row(
        "at rest: raft proposals",
        &format!("{writes:.2} /s"),
        "101 /s",
        "0",
    );
    let asked = each(before.messages, after.messages);
    row("at rest: requests", &format!("{asked:.1} /s"), "125 /s", "");
    let bytes = each(before.bytes, after.bytes) / 1000.0;
    row(
        "at rest: traffic",
        &format!("{bytes:.1} kB/s"),
        "5600 kB/s",
        "",
    );
    lost(&cluster, &swarm);
}

fn lost(cluster: &Cluster, swarm: &Swarm) {
    let seen = swarm.watch(&cluster.etcd.endpoints(), &["alive/", "placed/"]);
    let start = Instant::now();
    swarm.kill(0);
    let patience = Duration::from_secs(60);
    let next = || seen.recv_timeout(patience).expect("something happens");
    let expiry = loop {
        let change = next();
        if change.key.starts_with("alive/") && change.value.is_none() {
            break change.at;
        }
    };
    let acted = loop {
        let change = next();
        if change.key.starts_with("placed/") {
            break change.at;
        }
    };
    let started = swarm.wait(100);
    let last = started.into_iter().max().expect("some");
    row(
        "lost machine's 100 units back, once acted on",
        &ms(last.saturating_duration_since(acted)),
        "",
        "<= 150 ms",
    );
    row(
        "  from the lease's end until it is acted on",
        &seconds(acted - expiry),
        "",
        "half a TTL",
    );
    row(
        "  from the loss, in all (TTL 10 s)",
        &seconds(last - start),
        "37-55 s (TTL 30)",
        "",
    );
}

/// As many instances of one template.
fn counted() {
    let (cluster, swarm) = begin(10, 1);
    let text = "[Service]\nExecStart=/bin/sleep inf\n[X-Fleet]\nCount=1000\n";
    std::fs::write(cluster.path("a@.service"), text).expect("a unit file");
    let before = Metrics::of(&cluster);
    let start = Instant::now();
    cluster.cli(&["start", "--no-block", "a@.service"]);
    let last = swarm.wait(1000).into_iter().max().expect("some");
    row(
        "10 machines, Count=1000: last one started",
        &seconds(last - start),
        "",
        "",
    );
    std::thread::sleep(Duration::from_secs(2));
    let each = (Metrics::of(&cluster).proposals - before.proposals) / 1000.0;
    row(
        "10 x Count=1000: raft proposals per unit",
        &format!("{each:.3}"),
        "9.9",
        "aim 0.1",
    );
}

fn take_over() {
    let (mut cluster, swarm) = begin(2, 2);
    cluster.until("one leads", |c| c.leader().is_some());
    let leader = cluster.leader().expect("one");
    let seen = swarm.watch(&cluster.etcd.endpoints(), &["engine/"]);
    let start = Instant::now();
    cluster.kill_engine(leader);
    loop {
        let change = seen
            .recv_timeout(Duration::from_secs(60))
            .expect("another leads");
        if change.key == "engine/leader" && change.value.is_some() {
            row(
                "leader killed, another leads (TTL 10 s)",
                &seconds(change.at - start),
                "10.0 s",
                "<= 3 s",
            );
            return;
        }
    }
}

fn memory() {
    let cluster = Cluster::durable(1, 1, TTL);
    let names: Vec<String> = (0..100).map(|n| format!("m{n}.service")).collect();
    put(&cluster, &names, 8);
    cluster.until("all run", |c| c.running().len() == 100);
    let status = std::fs::read_to_string(format!("/proc/{}/status", cluster.agent_id(0)));
    let status = status.expect("the agent runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let kb = line
        .and_then(|l| l.split_whitespace().nth(1))
        .unwrap_or("?");
    row(
        "agent with 100 units, RSS",
        &format!("{kb} kB"),
        "",
        "<= 12288 kB",
    );
}

/// Creates so many units by sixteen clients; how long until the last one was started.
fn create(cluster: &Cluster, swarm: &Swarm, units: usize) -> Duration {
    let names: Vec<String> = (0..units).map(|n| format!("u{n}.service")).collect();
    let start = Instant::now();
    let started = std::thread::scope(|scope| {
        scope.spawn(|| put(cluster, &names, 16));
        swarm.wait(units)
    });
    let last = started.into_iter().max().expect("some");
    last - start
}

/// Launches units by the API, over so many connections that are kept.
fn put(cluster: &Cluster, names: &[String], clients: usize) {
    let socket: PathBuf = cluster.path("engine0/api.sock");
    let share = names.len().div_ceil(clients);
    std::thread::scope(|scope| {
        for names in names.chunks(share) {
            scope.spawn(|| put_one_by_one(&socket, names));
        }
    });
}

fn put_one_by_one(socket: &Path, names: &[String]) {
    let mut stream = UnixStream::connect(socket).expect("the API");
    let body = r#"{"text":"[Service]\nExecStart=/bin/sleep inf\n","desiredState":"launched"}"#;
    for name in names {
        let head = format!(
            "PUT /fleet/v2/units/{name} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .expect("send");
        // 201 without a body: its head ends the answer.
        let mut answer = Vec::new();
        let mut piece = [0; 1024];
        while !answer.ends_with(b"\r\n\r\n") {
            let read = stream.read(&mut piece).expect("an answer");
            assert!(read > 0, "the API hangs up");
            answer.extend_from_slice(&piece[..read]);
        }
        assert!(
            answer.starts_with(b"HTTP/1.1 201"),
            "{name}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
}

/// What etcd counts.
struct Metrics {
    proposals: f64,
    messages: f64,
    bytes: f64,
}

impl Metrics {
    fn of(cluster: &Cluster) -> Self {
        let endpoint = &cluster.etcd.endpoints()[0];
        let host = endpoint.trim_start_matches("http://");
        let mut stream = std::net::TcpStream::connect(host).expect("etcd");
        stream
            .write_all(b"GET /metrics HTTP/1.0\r\n\r\n")
            .expect("send");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("metrics");
        let sum = |name: &str| -> f64 {
            let lines = text.lines().filter(|line| line.starts_with(name));
            lines
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .sum()
        };
        Self {
            proposals: sum("etcd_server_proposals_committed_total"),
            messages: sum("grpc_server_msg_received_total"),
            bytes: sum("etcd_network_client_grpc_received_bytes_total")
                + sum("etcd_network_client_grpc_sent_bytes_total"),
        }
    }
}
