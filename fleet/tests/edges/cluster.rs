//! A cluster as its users have it: a real etcd, engines and agents as processes, hosts that are fake
//! peers, and `skeg-fleet` on the command line.
//!
//! Everything dies with the test.

use crate::etcd_server::{Etcd, free_port};
use crate::systemd1_peer::Peer;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Every wait is for an event; this only ends a test that would wait for ever.
const PATIENCE: Duration = Duration::from_secs(40);
/// Seconds that leases live.
pub const TTL: u64 = 3;

pub struct Cluster {
    pub folder: tempfile::TempDir,
    pub etcd: Etcd,
    pub peers: Vec<Peer>,
    /// Whether etcd has users, each with a password file in folder `passwords`.
    users: bool,
    ttl: u64,
    agents: Vec<Option<Child>>,
    engines: Vec<Option<Child>>,
    api: String,
    runtime: tokio::runtime::Handle,
}

impl Cluster {
    /// So many members of etcd, engines and machines; all machines are known when it returns.
    pub fn start(members: usize, engines: usize, machines: usize) -> Self {
        Self::begin(Etcd::start(members, &[]), engines, machines, false, TTL)
    }

    /// The same, where etcd has the users and roles that `init` makes.
    pub fn guarded(members: usize, engines: usize, machines: usize) -> Self {
        Self::begin(Etcd::start(members, &[]), engines, machines, true, TTL)
    }

    /// On one member of etcd that syncs its disk, for benchmarks.
    pub fn durable(engines: usize, machines: usize, ttl: u64) -> Self {
        Self::begin(Etcd::durable(), engines, machines, false, ttl)
    }

    fn begin(etcd: Etcd, engines: usize, machines: usize, users: bool, ttl: u64) -> Self {
        let runtime = hosts_runtime();
        let folder = tempfile::tempdir().expect("a folder");
        let mut cluster = Self {
            etcd,
            ttl,
            peers: Vec::new(),
            users,
            agents: Vec::new(),
            engines: (0..engines).map(|_| None).collect(),
            folder,
            api: String::new(),
            runtime,
        };
        if users {
            cluster.init(machines);
        }
        (0..engines).for_each(|number| cluster.start_engine(number));
        for number in 0..machines {
            cluster.add_machine();
            cluster.start_agent(number);
        }
        cluster.until("all machines are there", |c| c.live() == machines);
        cluster
    }

    /// Makes etcd's users for so many machines.
    pub fn init(&self, machines: usize) {
        let text = format!("[etcd]\nendpoints = {:?}\n", self.etcd.endpoints());
        std::fs::write(self.path("init.toml"), text).expect("a config");
        let mut command = Command::new(env!("CARGO_BIN_EXE_skeg-fleet"));
        command.args(["init", "--config", "init.toml", "--passwords", "passwords"]);
        command
            .args((0..machines).map(id))
            .current_dir(self.folder.path());
        let output = command.output().expect("run skeg-fleet");
        assert!(output.status.success(), "{output:?}");
    }

    /// Lines of `[etcd]` for a user.
    fn user(&self, name: &str) -> String {
        let password = self.path("passwords").join(name);
        if self.users {
            format!("user = {name:?}\npassword = {password:?}")
        } else {
            String::new()
        }
    }

    /// A host without an agent yet.
    pub fn add_machine(&mut self) {
        let number = self.peers.len();
        let folder = self.path(&format!("host{number}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("machine-id"), id(number)).expect("an id");
        self.peers.push(Peer::start(&folder, &self.runtime));
        self.agents.push(None);
        self.set_metadata(
            number,
            &format!("number = \"{number}\"\nzone = \"{}\"", number % 2),
        );
    }

    /// What the machine says of itself from its agent's next start on.
    pub fn set_metadata(&self, number: usize, metadata: &str) {
        let folder = self.path(&format!("host{number}"));
        let (peer, ttl) = (&self.peers[number], self.ttl);
        let text = format!(
            "state = {:?}\nttl_seconds = {ttl}\n[etcd]\nendpoints = {:?}\n{}\n[agent]\nsystemd1 = {:?}\n\
             machine_id = {:?}\nunits = {:?}\nquadlets = {:?}\nown = {:?}\n[agent.metadata]\n{metadata}\n",
            folder.join("state"),
            self.etcd.endpoints(),
            self.user(&format!("skeg-machine-{}", id(number))),
            peer.socket,
            folder.join("machine-id"),
            peer.units,
            peer.quadlets,
            folder.join("own"),
        );
        std::fs::write(folder.join("fleet.toml"), text).expect("a config");
    }

    pub fn start_agent(&mut self, number: usize) {
        let folder = self.path(&format!("host{number}"));
        self.agents[number] = Some(daemon("agent", &folder));
    }

    pub fn start_engine(&mut self, number: usize) {
        let folder = self.path(&format!("engine{number}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let ttl = self.ttl;
        let (tokens, port) = (folder.join("tokens"), folder.join("port"));
        let port = std::fs::read_to_string(&port).unwrap_or_else(|_| {
            let number = free_port().to_string();
            std::fs::write(&port, &number).expect("a file");
            number
        });
        std::fs::write(&tokens, crate::security::tokens()).expect("tokens");
        let text = format!(
            "state = {:?}\nttl_seconds = {ttl}\n[etcd]\nendpoints = {:?}\n{}\n[api]\nsocket = {:?}\n\
             listen = \"127.0.0.1:{port}\"\ntokens = {tokens:?}\n{}\n",
            folder.join("state"),
            self.etcd.endpoints(),
            self.user("skeg-engine"),
            folder.join("api.sock"),
            self.api,
        );
        std::fs::write(folder.join("fleet.toml"), text).expect("a config");
        self.engines[number] = Some(daemon("engine", &folder));
        self.until("the engine answers", |c| {
            c.ask(number, &["health"])
                .is_ok_and(|text| text.contains("\"knows\": true"))
        });
    }

    /// Further lines of the engines' `[api]`, from their next start on.
    pub fn more_api(&mut self, lines: &str) {
        self.api = lines.to_owned();
    }

    pub fn kill_agent(&mut self, number: usize) {
        kill(&mut self.agents[number]);
    }

    /// The process of an agent.
    pub fn agent_id(&self, number: usize) -> u32 {
        self.agents[number].as_ref().expect("it runs").id()
    }

    pub fn kill_engine(&mut self, number: usize) {
        kill(&mut self.engines[number]);
    }

    /// The number of the engine that leads.
    pub fn leader(&self) -> Option<usize> {
        let leads = |n: &usize| {
            self.ask(*n, &["health"])
                .is_ok_and(|t| t.contains("\"leads\": true"))
        };
        (0..self.engines.len())
            .filter(|n| self.engines[*n].is_some())
            .find(leads)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `http://…` of an engine.
    pub fn address(&self, number: usize) -> String {
        let port = std::fs::read_to_string(self.path(&format!("engine{number}/port")));
        format!("127.0.0.1:{}", port.expect("a port"))
    }

    /// The command line, by way of one engine: its output, or its error.
    pub fn ask(&self, engine: usize, arguments: &[&str]) -> Result<String, String> {
        let socket = self.path(&format!("engine{engine}/api.sock"));
        self.at(&socket.display().to_string(), arguments)
    }

    /// The same by any endpoint.
    pub fn at(&self, endpoint: &str, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(env!("CARGO_BIN_EXE_skeg-fleet"))
            .args(arguments)
            .args(["--endpoint", endpoint])
            .current_dir(self.folder.path())
            .output()
            .expect("run skeg-fleet");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(text(&output.stderr))
    }

    /// By way of an engine that runs; it has to succeed.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let answer = self.ask(self.any_engine(), arguments);
        answer.unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    /// It has to fail; its error.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let answer = self.ask(self.any_engine(), arguments);
        answer.expect_err(&format!("{arguments:?} was done"))
    }

    fn any_engine(&self) -> usize {
        let mut running = (0..self.engines.len()).filter(|n| self.engines[*n].is_some());
        running.next().expect("an engine")
    }

    /// Writes a unit file: a service with these lines in `[X-Fleet]`.
    pub fn file(&self, name: &str, fleet: &str) {
        let text = format!("[Service]\nExecStart=/bin/sleep inf\n[X-Fleet]\n{fleet}\n");
        std::fs::write(self.path(name), text).expect("a unit file");
    }

    /// Writes it and starts it.
    pub fn run(&self, name: &str, fleet: &str) {
        self.file(name, fleet);
        self.cli(&["start", name]);
    }

    /// The machines on which each service runs.
    pub fn running(&self) -> BTreeMap<String, BTreeSet<usize>> {
        let mut all: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for (number, peer) in self.peers.iter().enumerate() {
            for service in peer.state.lock().expect("the peer").running.keys() {
                all.entry(service.clone()).or_default().insert(number);
            }
        }
        all
    }

    /// The machines on which one runs.
    pub fn on(&self, service: &str) -> BTreeSet<usize> {
        self.running().remove(service).unwrap_or_default()
    }

    /// The one machine on which it runs.
    pub fn one(&self, service: &str) -> usize {
        self.until(&format!("{service} runs once"), |c| {
            c.on(service).len() == 1
        });
        self.on(service).into_iter().next().expect("one")
    }

    /// All starts and stops on all hosts.
    pub fn history(&self) -> Vec<Vec<String>> {
        let history = |peer: &Peer| peer.state.lock().expect("the peer").history.clone();
        self.peers.iter().map(history).collect()
    }

    pub fn live(&self) -> usize {
        let list = self.ask(self.any_engine(), &["list-machines", "--no-legend"]);
        list.map_or(0, |list| {
            list.lines().filter(|line| !line.contains("lost")).count()
        })
    }

    pub fn until(&self, what: &str, mut is: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is(self) {
            assert!(
                Instant::now() < end,
                "never: {what}; running: {:?}",
                self.running()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Destroys all units and waits until none runs.
    pub fn clear(&self) {
        let list = self.cli(&["list-unit-files", "--no-legend"]);
        for unit in list
            .lines()
            .filter_map(|line| line.split_whitespace().next())
        {
            self.cli(&["destroy", unit]);
        }
        self.until("nothing runs or is placed", |c| {
            c.running().is_empty() && c.cli(&["list-units", "--no-legend"]).is_empty()
        });
        for peer in &self.peers {
            peer.state.lock().expect("the peer").history.clear();
        }
    }
}

/// All peers' event loop, on a thread of its own until the program ends.
fn hosts_runtime() -> tokio::runtime::Handle {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
}

/// A machine's id.
pub fn id(number: usize) -> String {
    format!("{:032x}", (number as u128 + 1) << 100)
}

fn daemon(verb: &str, folder: &Path) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"));
    Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            env!("CARGO_BIN_EXE_skeg-fleet"),
            verb,
            "--config",
        ])
        .arg(folder.join("fleet.toml"))
        .current_dir(folder.parent().expect("a folder"))
        .stdout(Stdio::null())
        .stderr(log.expect("a log"))
        .process_group(0)
        .spawn()
        .expect("start skeg-fleet")
}

fn kill(slot: &mut Option<Child>) {
    if let Some(mut child) = slot.take() {
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.agents
            .iter_mut()
            .chain(&mut self.engines)
            .for_each(kill);
        if std::thread::panicking() {
            for name in ["engine0", "host0", "host1", "host2"] {
                let log = std::fs::read_to_string(self.path(&format!("{name}/log")));
                eprintln!("{name}: {}", log.unwrap_or_default());
            }
        }
    }
}
