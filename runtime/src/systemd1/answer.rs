//! What each call does and answers.
//!
//! It knows no socket: calls come as values, and answers go as values.

mod bus;
mod manager;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;
use tokio::task::AbortHandle;

use super::asked::Call;
use super::failure::Failure;
use super::jobs::{Job, Jobs, Outcome, Queued, Verb};
use super::properties::{self, Host, Property, job_path, unit_path};
use super::value::{Value, strings};
use super::view::{Load, View};
use super::{Units, introspect};
use formats::systemd1::{JOB_PREFIX, MANAGER_PATH, NAME, UNIT_PREFIX, unescape};

/// What a call answers.
pub type Answer = Result<Vec<Value>, Failure>;

/// A signal to every peer.
#[derive(Debug, Clone)]
pub struct Signal {
    /// The object that it comes from.
    pub path: String,
    /// Its interface.
    pub interface: &'static str,
    /// Its name.
    pub member: &'static str,
    /// What it says.
    pub body: Vec<Value>,
}

/// The face's own state.
pub struct Face {
    pub(super) units: Arc<dyn Units>,
    pub(super) signals: broadcast::Sender<Signal>,
    host: Host,
    jobs: Mutex<Jobs>,
    running: Mutex<HashMap<u32, AbortHandle>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Face {
    /// In front of these units.
    pub fn new(units: Arc<dyn Units>, host: Host) -> Arc<Self> {
        Arc::new(Self {
            units,
            signals: broadcast::Sender::new(256),
            host,
            jobs: Mutex::default(),
            running: Mutex::default(),
        })
    }

    /// Answers one call.
    pub async fn answer(self: &Arc<Self>, call: &Call) -> Answer {
        match call.interface.as_str() {
            "org.freedesktop.DBus" => bus::answer(call),
            "org.freedesktop.DBus.Peer" => bus::peer(call),
            "org.freedesktop.DBus.Introspectable" if call.member == "Introspect" => {
                Ok(vec![self.introspect(&call.path)?.into()])
            }
            "org.freedesktop.DBus.Properties" => self.properties(call),
            _ => self.own(call).await,
        }
    }

    async fn own(self: &Arc<Self>, call: &Call) -> Answer {
        let unknown = || Failure::no_method(&call.interface, &call.member);
        let interface = call.own_interface();
        if interface.is_none() && !call.interface.is_empty() {
            return Err(unknown());
        }
        let is = |name| interface.is_none_or(|own| own == name);
        if call.path == MANAGER_PATH && is("Manager") {
            return self.manager(call).await;
        }
        if let Some(unit) = unit_of(&call.path).filter(|_| is("Unit")) {
            return self.unit(&unit, call).await;
        }
        if let Some(id) = call.path.strip_prefix(JOB_PREFIX)
            && is("Job")
            && call.member == "Cancel"
        {
            return self.cancel(id);
        }
        Err(unknown())
    }

    /// The methods of a unit are the manager's, with its name.
    async fn unit(self: &Arc<Self>, unit: &str, call: &Call) -> Answer {
        const OF_UNITS: [&str; 9] = [
            "Start",
            "Stop",
            "Reload",
            "Restart",
            "TryRestart",
            "ReloadOrRestart",
            "ReloadOrTryRestart",
            "Kill",
            "ResetFailed",
        ];
        if !OF_UNITS.contains(&call.member.as_str()) {
            return Err(Failure::no_method(&call.interface, &call.member));
        }
        let mut arguments = vec![unit.into()];
        arguments.extend(call.arguments.iter().cloned());
        let call = Call {
            path: MANAGER_PATH.into(),
            interface: format!("{NAME}.Manager"),
            member: format!("{}Unit", call.member),
            arguments,
        };
        self.manager(&call).await
    }

    fn introspect(&self, path: &str) -> Result<String, Failure> {
        let jobs = || lock(&self.jobs).all();
        if path == MANAGER_PATH {
            return Ok(introspect::manager());
        }
        if path == UNIT_PREFIX.trim_end_matches('/') {
            return Ok(introspect::units(&self.units.views()));
        }
        if path == JOB_PREFIX.trim_end_matches('/') {
            let ids: Vec<String> = jobs().iter().map(|job| job.id.to_string()).collect();
            return Ok(introspect::node(&[], ids.iter().map(String::as_str)));
        }
        if let Some(name) = unit_of(path) {
            return Ok(introspect::unit(&self.view_or_absent(&name)));
        }
        if path.starts_with(JOB_PREFIX) {
            return Ok(introspect::job());
        }
        // What lies above: one child on the way.
        let below = match path {
            "/" => Some("org"),
            "/org" => Some("freedesktop"),
            "/org/freedesktop" => Some("systemd1"),
            _ => None,
        };
        let child = below.ok_or_else(|| Failure::no_object(path))?;
        Ok(introspect::node(&[], [child]))
    }

    fn properties(&self, call: &Call) -> Answer {
        let all = self.properties_of(&call.path)?;
        let interface = call.text(0)?;
        let missing = || Failure::no_interface(&call.path, interface);
        match call.member.as_str() {
            "GetAll" if interface.starts_with("org.freedesktop.DBus.") => {
                Ok(vec![Value::Dict(Vec::new())])
            }
            "GetAll" => Ok(vec![
                properties::select(&all, interface).ok_or_else(missing)?,
            ]),
            "Get" => {
                let name = call.text(1)?;
                let Some(Value::Dict(list)) = properties::select(&all, interface) else {
                    return Err(missing());
                };
                let found = list.into_iter().find(|(known, _)| known == name);
                let (_, value) = found.ok_or_else(|| Failure::no_property(name))?;
                Ok(vec![Value::Variant(Box::new(value))])
            }
            "Set" => Err(Failure::refused(
                "properties cannot be set here: change the unit's file",
            )),
            member => Err(Failure::no_method(&call.interface, member)),
        }
    }

    fn properties_of(&self, path: &str) -> Result<Vec<Property>, Failure> {
        let views = self.units.views();
        if path == MANAGER_PATH {
            let jobs = lock(&self.jobs).all().len();
            return Ok(properties::of_manager(&self.host, &views, jobs));
        }
        if let Some(name) = unit_of(path) {
            let view = find(&views, &name);
            let mut view = view.map_or_else(|| View::absent(&name), Clone::clone);
            self.units.detail(&mut view);
            let job = lock(&self.jobs).of(&view.name).cloned();
            return Ok(properties::of_unit(&view, job.as_ref(), &views));
        }
        if let Some(id) = path.strip_prefix(JOB_PREFIX) {
            let job = id
                .parse()
                .ok()
                .and_then(|id| lock(&self.jobs).get(id).cloned());
            let job = job.ok_or_else(|| Failure::no_job(id))?;
            return Ok(properties::of_job(&job));
        }
        Err(Failure::no_object(path))
    }

    fn view(&self, name: &str) -> Option<View> {
        find(&self.units.views(), name).cloned()
    }

    fn view_or_absent(&self, name: &str) -> View {
        self.view(name).unwrap_or_else(|| View::absent(name))
    }

    /// Queues a job and runs it.
    fn queue(self: &Arc<Self>, name: &str, verb: Verb, mode: &str) -> Answer {
        if verb != Verb::Stop {
            self.units.load(name);
        }
        let view = self.view_or_absent(name);
        match (&view.load, verb) {
            (Load::NotFound, Verb::Stop) if view.active == super::view::Active::Inactive => {
                return Err(Failure::not_loaded(name));
            }
            (Load::NotFound, Verb::Start | Verb::Restart) => return Err(Failure::not_found(name)),
            (Load::Bad(_), Verb::Start | Verb::Restart) => return Err(Failure::bad_setting(name)),
            _ => {}
        }
        let queued = lock(&self.jobs).queue(&view.name, verb, mode)?;
        let job = match queued {
            Queued::Same(job) => job,
            Queued::New(job, replaced) => {
                if let Some(replaced) = replaced {
                    self.ended(&replaced, Outcome::Canceled);
                }
                self.begin(&job);
                job
            }
        };
        Ok(vec![job_path(Some(&job))])
    }

    fn begin(self: &Arc<Self>, job: &Job) {
        self.tell("JobNew", job_body(job));
        let (face, job) = (self.clone(), job.clone());
        let id = job.id;
        let task = tokio::spawn(async move {
            let outcome = face.units.run(job.verb, &job.unit).await;
            let ended = lock(&face.jobs).end(job.id);
            if let Some(job) = ended {
                face.ended(&job, outcome);
            }
        });
        lock(&self.running).insert(id, task.abort_handle());
    }

    /// Tells that a job, which has been taken out, is over.
    fn ended(&self, job: &Job, outcome: Outcome) {
        if let Some(task) = lock(&self.running).remove(&job.id)
            && outcome == Outcome::Canceled
        {
            task.abort();
        }
        let mut body = job_body(job);
        body.push(outcome.word().into());
        self.tell("JobRemoved", body);
    }

    fn cancel(&self, id: &str) -> Answer {
        let job = id.parse().ok().and_then(|id| lock(&self.jobs).end(id));
        let job = job.ok_or_else(|| Failure::no_job(id))?;
        self.ended(&job, Outcome::Canceled);
        Ok(Vec::new())
    }

    /// A signal of the manager.
    pub(super) fn tell(&self, member: &'static str, body: Vec<Value>) {
        // Nobody listens: nobody has to be told.
        let _ = self.signals.send(Signal {
            path: MANAGER_PATH.into(),
            interface: "org.freedesktop.systemd1.Manager",
            member,
            body,
        });
    }
}

fn job_body(job: &Job) -> Vec<Value> {
    let unit = job.unit.as_str().into();
    vec![job.id.into(), job_path(Some(job)), unit]
}

fn unit_of(path: &str) -> Option<String> {
    unescape(path.strip_prefix(UNIT_PREFIX)?)
}

fn find<'a>(views: &'a [View], name: &str) -> Option<&'a View> {
    views.iter().find(|view| view.is_called(name))
}
