//! The real `systemctl` and `busctl` against the face, with units that are made up behind it.
//!
//! Each client runs in a mount namespace of its own in which our folder is `/run/systemd`. Needs root
//! and Debian's systemd package.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use runtime::systemd1::server::Server;
use runtime::systemd1::view::{Active, Load, Service, View};
use runtime::systemd1::{Doing, Outcome, Units, Verb};

/// Units whose start ends as their name says.
struct Fake {
    units: Mutex<BTreeMap<String, View>>,
    told: Mutex<Vec<String>>,
    changed: tokio::sync::watch::Sender<()>,
}

impl Fake {
    fn with(views: Vec<View>) -> Arc<Self> {
        let units = views.into_iter().map(|v| (v.name.clone(), v)).collect();
        Arc::new(Self {
            units: Mutex::new(units),
            told: Mutex::default(),
            changed: tokio::sync::watch::Sender::new(()),
        })
    }

    /// The unit's next state, and the bell.
    fn becomes(&self, unit: &str, active: Active) {
        self.units.lock().unwrap().get_mut(unit).unwrap().active = active;
        self.changed.send_replace(());
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    fn note(&self, text: String) {
        self.told.lock().unwrap().push(text);
    }
}

impl Units for Fake {
    fn views(&self) -> Vec<View> {
        self.units.lock().unwrap().values().cloned().collect()
    }

    fn changes(&self) -> tokio::sync::watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn run(&self, verb: Verb, unit: &str) -> Doing<Outcome> {
        self.note(format!("{verb:?} {unit}"));
        let mut units = self.units.lock().unwrap();
        let view = units.get_mut(unit).unwrap();
        let outcome = match (verb, unit) {
            (Verb::Stop, _) => {
                (view.active, view.sub) = (Active::Inactive, "dead");
                view.service.as_mut().unwrap().pid = 0;
                Outcome::Done
            }
            (_, "bad.service") => {
                (view.active, view.sub) = (Active::Failed, "failed");
                let service = view.service.as_mut().unwrap();
                (service.result, service.exit, service.last_pid) = ("exit-code", Some(3), 4242);
                Outcome::Failed
            }
            (_, "needy.service") => Outcome::Dependency,
            _ => {
                (view.active, view.sub) = (Active::Active, "running");
                view.active_enter = 1_700_000_001_000_000;
                let service = view.service.as_mut().unwrap();
                service.pid = std::process::id();
                service.last_pid = service.pid;
                service.cgroup = "/containers.slice/web".into();
                Outcome::Done
            }
        };
        Box::pin(std::future::ready(outcome))
    }

    fn kill(&self, unit: &str, all: bool, signal: i32) -> Doing<Result<(), String>> {
        self.note(format!("kill {unit} {all} {signal}"));
        Box::pin(std::future::ready(Ok(())))
    }

    fn reset_failed(&self, unit: Option<&str>) {
        self.note(format!("reset-failed {unit:?}"));
        for view in self.units.lock().unwrap().values_mut() {
            if view.active == Active::Failed && unit.is_none_or(|u| u == view.name) {
                (view.active, view.sub) = (Active::Inactive, "dead");
            }
        }
    }

    fn reload(&self) -> Doing<Result<(), String>> {
        self.note("reload".into());
        Box::pin(std::future::ready(Ok(())))
    }

    fn detail(&self, view: &mut View) {
        if let Some(service) = view.service.as_mut().filter(|s| s.pid != 0) {
            (service.memory, service.cpu) = (1 << 20, 2_000_000);
        }
    }

    fn processes(&self, unit: &str) -> Vec<(String, u32, String)> {
        let units = self.units.lock().unwrap();
        let service = units.get(unit).and_then(|v| v.service.clone());
        let service = service.filter(|s| s.pid != 0);
        let row = |s: Service| (s.cgroup, s.pid, "the test itself".to_owned());
        service.map(row).into_iter().collect()
    }
}

fn unit(name: &str, folder: &Path) -> View {
    let stem = name.trim_end_matches(".service");
    let path = folder.join(format!("{stem}.container"));
    std::fs::write(&path, format!("[Container]\nImage=r/{stem}\n")).unwrap();
    View {
        name: name.into(),
        description: format!("The {stem}"),
        path: path.display().to_string(),
        sub: "dead",
        service: Some(Service::unknown()),
        ..View::default()
    }
}

/// A server, and clients of it.
struct Scene {
    folder: tempfile::TempDir,
    fake: Arc<Fake>,
    runtime: tokio::runtime::Runtime,
}

struct Said {
    out: String,
    err: String,
    code: i32,
}

impl Scene {
    fn new() -> Self {
        let is_root = rustix::process::geteuid().is_root();
        assert!(is_root, "a mount namespace needs root: sudo cargo test");
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("files");
        std::fs::create_dir(&files).unwrap();
        std::fs::create_dir_all(folder.path().join("run/system")).unwrap();
        let mut web = unit("web.service", &files);
        web.links.wants.insert("db.service".into());
        let mut wrong = unit("wrong.service", &files);
        wrong.load = Load::Bad("wrong.container:2: unknown key 'Imge'".into());
        let fake = Fake::with(vec![
            web,
            unit("bad.service", &files),
            unit("needy.service", &files),
            wrong,
            View {
                name: "multi-user.target".into(),
                aliases: vec!["default.target".into()],
                description: "Multi-User System".into(),
                active: Active::Active,
                sub: "active",
                ..View::default()
            },
        ]);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let entered = runtime.enter();
        let server = Server::new(fake.clone(), 1_700_000_000_000_000);
        server.listen(&folder.path().join("run/private")).unwrap();
        server.listen(&folder.path().join("bus.sock")).unwrap();
        drop(entered);
        Self {
            folder,
            fake,
            runtime,
        }
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Said {
        let script = r#"mount --bind "$0" /run/systemd && exec "$@""#;
        let run = self.folder.path().join("run");
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .arg(run)
            .arg(program)
            .args(arguments)
            .env("SYSTEMD_COLORS", "0")
            .env("SYSTEMD_PAGER", "cat")
            .env("SYSTEMD_URLIFY", "0")
            .env("COLUMNS", "200")
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said {
            out: text(output.stdout),
            err: text(output.stderr),
            code: output.status.code().unwrap(),
        }
    }

    fn systemctl(&self, line: &str) -> Said {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.run("systemctl", &words)
    }

    fn busctl(&self, line: &str) -> Said {
        let address = format!("--address=unix:path={}", self.bus().display());
        let mut words = vec![address.as_str()];
        words.extend(line.split_whitespace());
        self.run("busctl", &words)
    }

    fn bus(&self) -> PathBuf {
        self.folder.path().join("bus.sock")
    }
}

/// What a line says: exit status, what it prints, what it complains about. Our folder is `FOLDER` in
/// it, our process id `PID`.
fn session(scene: &Scene, lines: &[(&str, i32, &str, &str)]) {
    for (line, code, out, err) in lines {
        let said = match line.strip_prefix("busctl ") {
            Some(line) => scene.busctl(line),
            None => scene.systemctl(line),
        };
        let folder = scene.folder.path().display().to_string();
        let pid = std::process::id().to_string();
        let plain = |text: &str| {
            let text = text.replace(&folder, "FOLDER").replace(&pid, "PID");
            let lines = text.lines().map(|l| l.trim_end().to_owned());
            lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
        };
        let (said_out, said_err) = (plain(&said.out), plain(&said.err));
        assert_eq!(said.code, *code, "{line}: {said_out}\n{said_err}");
        assert_eq!(said_out, out.trim_matches('\n'), "{line}");
        assert_eq!(said_err, err.trim_matches('\n'), "{line}");
    }
}

const STATUS_RUNNING: &str = "
● web.service - The web
     Loaded: loaded (FOLDER/files/web.container; generated)
     Active: active (running) since Tue 2023-11-14 22:13:21 UTC; 2h 46min ago
   Main PID: PID (test)
     Memory: 1.0M
        CPU: 2ms
     CGroup: /containers.slice/web
             └─PID the test itself
";

#[test]
fn a_unit_is_started_shown_and_stopped() {
    let scene = Scene::new();
    session(
        &scene,
        &[
            ("is-active web", 3, "inactive", ""),
            ("start web", 0, "", ""),
            ("is-active web", 0, "active", ""),
            (
                "show web -p ActiveState,SubState,MainPID",
                0,
                "ActiveState=active\nSubState=running\nMainPID=PID",
                "",
            ),
            (
                "cat web",
                0,
                "# FOLDER/files/web.container\n[Container]\nImage=r/web",
                "",
            ),
            (
                "list-dependencies --plain web",
                0,
                "web.service\n  db.service",
                "",
            ),
            ("restart web", 0, "", ""),
            ("kill -s HUP web", 0, "", ""),
            ("kill --kill-whom=main -s USR1 web", 0, "", ""),
            ("stop web", 0, "", ""),
            ("try-restart web", 0, "", ""),
            ("is-active web", 3, "inactive", ""),
            ("daemon-reload", 0, "", ""),
        ],
    );
    let told = scene.fake.told();
    let expected = [
        "Start web.service",
        "Restart web.service",
        "kill web.service true 1",
        "kill web.service false 10",
        "Stop web.service",
        "Stop web.service",
        "reload",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_start_that_fails_is_told_as_systemd_tells_it() {
    let scene = Scene::new();
    session(
        &scene,
        &[
            (
                "start bad",
                1,
                "",
                r#"
Job for bad.service failed because the control process exited with error code.
See "systemctl status bad.service" and "journalctl -xeu bad.service" for details.
"#,
            ),
            (
                "status bad",
                3,
                "
× bad.service - The bad
     Loaded: loaded (FOLDER/files/bad.container; generated)
     Active: failed (Result: exit-code)
   Main PID: 4242 (code=exited, status=3)
",
                "",
            ),
            ("is-failed bad", 0, "failed", ""),
            ("is-active bad", 3, "failed", ""),
            ("is-system-running", 1, "degraded", ""),
            (
                "--failed --no-legend --plain",
                0,
                "bad.service loaded failed failed The bad",
                "",
            ),
            ("reset-failed bad", 0, "", ""),
            ("is-failed bad", 1, "inactive", ""),
            (
                "start needy",
                1,
                "",
                "A dependency job for needy.service failed. See 'journalctl -xe' for details.",
            ),
        ],
    );
}

#[test]
fn what_is_not_there_or_wrong_is_refused_in_systemds_words() {
    let scene = Scene::new();
    session(
        &scene,
        &[
            (
                "start nope",
                5,
                "",
                "Failed to start nope.service: Unit nope.service not found.",
            ),
            (
                "stop nope",
                5,
                "",
                "Failed to stop nope.service: Unit nope.service not loaded.",
            ),
            (
                "status nope",
                4,
                "",
                "Unit nope.service could not be found.",
            ),
            ("is-active nope", 3, "inactive", ""),
            ("show nope -p LoadState", 0, "LoadState=not-found", ""),
            (
                "start wrong",
                1,
                "",
                "Failed to start wrong.service: Unit wrong.service has a bad unit file setting.\n\
                 See system logs and 'systemctl status wrong.service' for details.",
            ),
            (
                "status wrong",
                3,
                "
○ wrong.service - The wrong
     Loaded: bad-setting (Reason: wrong.container:2: unknown key 'Imge')
     Active: inactive (dead)
",
                "",
            ),
            (
                "is-enabled web nope",
                1,
                "generated",
                "Failed to get unit file state for nope.service: No such file or directory",
            ),
            (
                "enable web",
                1,
                "",
                "Failed to enable unit: Unit web.service is transient or generated.",
            ),
            (
                "reload web",
                3,
                "",
                "Failed to reload web.service: Job type reload is not applicable for unit web.service.",
            ),
            (
                "isolate multi-user.target",
                4,
                "",
                "Failed to start multi-user.target: Operation refused, unit may not be isolated.\n\
                 See system logs and 'systemctl status multi-user.target' for details.",
            ),
        ],
    );
    assert!(scene.fake.told().is_empty(), "nothing of it reached a unit");
}

#[test]
fn lists_are_filtered_by_state_and_pattern() {
    let scene = Scene::new();
    session(
        &scene,
        &[
            ("start web", 0, "", ""),
            (
                "list-units --no-legend --plain",
                0,
                "web.service       loaded active running The web\nmulti-user.target loaded active active  Multi-User System",
                "",
            ),
            (
                "list-units --no-legend --plain w*",
                0,
                "web.service loaded active running The web",
                "",
            ),
            (
                "list-unit-files --no-legend --type=service",
                0,
                "bad.service   generated -\nneedy.service generated -\nweb.service   generated -\nwrong.service generated -",
                "",
            ),
            ("list-jobs", 0, "No jobs running.", ""),
            ("get-default", 0, "multi-user.target", ""),
            ("is-system-running", 0, "running", ""),
        ],
    );
}

#[test]
fn status_shows_the_processes_and_what_they_use() {
    let scene = Scene::new();
    session(&scene, &[("start web", 0, "", "")]);
    let said = scene.systemctl("status web");
    let (now, then) = (said.out.rfind("; "), said.out.find(" ago"));
    let age = &said.out[now.unwrap() + 2..then.unwrap()];
    let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
    let plain = said
        .out
        .replace(age, "2h 46min")
        .replace(&std::process::id().to_string(), "PID")
        .replace(comm.trim(), "test")
        .replace(&scene.folder.path().display().to_string(), "FOLDER");
    assert_eq!(plain.trim(), STATUS_RUNNING.trim());
    assert_eq!(said.code, 0);
}

const UNIT: &str = "/org/freedesktop/systemd1/unit/web_2eservice";

#[test]
fn busctl_reads_calls_and_walks_the_objects_without_a_bus() {
    let scene = Scene::new();
    let manager =
        "org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager";
    let state = format!(
        "busctl get-property org.freedesktop.systemd1 {UNIT} org.freedesktop.systemd1.Unit ActiveState"
    );
    let start = format!("busctl call {manager} StartUnit ss web.service replace");
    let wrong = format!("busctl call {manager} StartUnit s web.service");
    let none = format!("busctl call {manager} MakeCoffee");
    session(
        &scene,
        &[
            (&state, 0, r#"s "inactive""#, ""),
            (&start, 0, r#"o "/org/freedesktop/systemd1/job/1""#, ""),
            (&state, 0, r#"s "active""#, ""),
            (
                &wrong,
                1,
                "",
                "Call failed: StartUnit: expected a string as argument 2, found nothing",
            ),
            (
                &none,
                1,
                "",
                "Call failed: Unknown method MakeCoffee or interface org.freedesktop.systemd1.Manager.",
            ),
        ],
    );
    let tree = scene.busctl("tree --list org.freedesktop.systemd1").out;
    assert!(tree.lines().any(|line| line == UNIT), "{tree}");
    let line = format!("introspect org.freedesktop.systemd1 {UNIT}");
    let told = scene.busctl(&line).out;
    for part in [".Start", ".MainPID", ".ActiveState"] {
        assert!(
            told.lines().any(|line| line.starts_with(part)),
            "{part}: {told}"
        );
    }
}

/// States in the order in which a client is told of them, as many as this.
async fn states(signals: &mut zbus::MessageStream, count: usize) -> Vec<String> {
    let mut states = Vec::new();
    while states.len() < count {
        let message = signals.next().await.unwrap().unwrap();
        let body = message.body();
        let told: (&str, HashMap<&str, zbus::Variant<'_>>, Vec<&str>) = body.deserialize().unwrap();
        let state = told.1.get("ActiveState").and_then(|state| match state {
            zbus::Variant::Str(text) => Some(text.to_string()),
            _ => None,
        });
        states.extend(state);
    }
    states
}

#[test]
fn a_client_that_comes_back_at_once_is_told_of_each_change_once() {
    let scene = Scene::new();
    scene.runtime.block_on(async {
        let connect = async || {
            let stream = tokio::net::UnixStream::connect(scene.bus()).await.unwrap();
            let client = zbus::connection::Builder::unix_stream(stream.into_std().unwrap());
            client.p2p().build_message_stream().await.unwrap()
        };
        // Each has gone before the next one comes, and within no time.
        for _ in 0..5 {
            drop(connect().await);
        }
        let mut signals = connect().await;
        // Were one told twice, it would come again before the next one.
        for (active, name) in [(Active::Active, "active"), (Active::Failed, "failed")].repeat(3) {
            scene.fake.becomes("web.service", active);
            assert_eq!(states(&mut signals, 1).await, [name]);
        }
    });
}
