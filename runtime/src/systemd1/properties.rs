//! From a unit to its properties: which there are, of which interface, with which value.
//!
//! Pure; the contract is the XML in [`formats::systemd1`], and a test holds this table to it.

use super::jobs::Job;
use super::value::{Value, strings};
use super::view::{Load, Service, Timer, View};
use formats::systemd1::{JOB_PREFIX, NAME, UNIT_PREFIX, escape};

/// One property.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// The last part of its interface's name.
    pub interface: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: Value,
}

/// The manager's own numbers.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Since when user space runs, microseconds since the epoch.
    pub started: u64,
    /// The architecture as systemd writes it.
    pub architecture: String,
}

/// The path of a unit.
pub fn unit_path(name: &str) -> Value {
    Value::Path(format!("{UNIT_PREFIX}{}", escape(name)))
}

/// The path of a job, or of none.
pub fn job_path(job: Option<&Job>) -> Value {
    Value::Path(job.map_or("/".into(), |job| format!("{JOB_PREFIX}{}", job.id)))
}

/// All properties of a unit, of every interface that it has.
pub fn of_unit(view: &View, job: Option<&Job>, views: &[View]) -> Vec<Property> {
    let mut all = unit(view, job, views);
    if let Some(service) = &view.service {
        all.extend(self::service(service));
    }
    if let Some(timer) = &view.timer {
        all.extend(self::timer(timer));
    }
    all
}

fn unit(view: &View, job: Option<&Job>, views: &[View]) -> Vec<Property> {
    let mut names = vec![view.name.clone()];
    names.extend(view.aliases.iter().cloned());
    let loaded = view.load == Load::Loaded;
    let error = match &view.load {
        Load::Loaded => ("", String::new()),
        Load::NotFound => (
            "org.freedesktop.systemd1.NoSuchUnit",
            format!("Unit {} not found.", view.name),
        ),
        Load::Bad(text) => ("org.freedesktop.systemd1.BadUnitSetting", text.clone()),
    };
    let back = |pick: fn(&View) -> &std::collections::BTreeSet<String>| {
        let with = views
            .iter()
            .filter(|v| pick(v).iter().any(|n| view.is_called(n)));
        strings(with.map(|v| &v.name))
    };
    let links = &view.links;
    let list = vec![
        ("Id", view.name.as_str().into()),
        ("Names", strings(names)),
        ("Following", "".into()),
        ("Description", view.description.as_str().into()),
        ("LoadState", view.load.word().into()),
        (
            "LoadError",
            Value::Tuple(vec![error.0.into(), error.1.into()]),
        ),
        ("ActiveState", view.active.word().into()),
        ("SubState", view.sub.into()),
        ("FragmentPath", view.path.as_str().into()),
        ("SourcePath", "".into()),
        ("DropInPaths", strings(&view.drop_ins)),
        ("Documentation", strings::<&str>([])),
        ("UnitFileState", view.file_state().into()),
        ("UnitFilePreset", "".into()),
        ("NeedDaemonReload", view.stale.into()),
        ("Transient", false.into()),
        ("CanStart", loaded.into()),
        ("CanStop", true.into()),
        ("CanReload", false.into()),
        ("CanIsolate", false.into()),
        ("ConditionResult", true.into()),
        ("AssertResult", true.into()),
        ("Requires", strings(&links.requires)),
        ("Wants", strings(&links.wants)),
        ("BindsTo", strings(&links.binds_to)),
        ("PartOf", strings(&links.part_of)),
        ("Conflicts", strings(&links.conflicts)),
        ("After", strings(&links.after)),
        ("Before", strings(&links.before)),
        ("Triggers", strings(&links.triggers)),
        ("RequiredBy", back(|v| &v.links.requires)),
        ("WantedBy", back(|v| &v.links.wants)),
        ("BoundBy", back(|v| &v.links.binds_to)),
        ("ConsistsOf", back(|v| &v.links.part_of)),
        ("ConflictedBy", back(|v| &v.links.conflicts)),
        ("TriggeredBy", back(|v| &v.links.triggers)),
        ("StateChangeTimestamp", view.changed.into()),
        ("ActiveEnterTimestamp", view.active_enter.into()),
        ("ActiveExitTimestamp", view.active_exit.into()),
        ("InactiveEnterTimestamp", view.inactive_enter.into()),
        ("InactiveExitTimestamp", view.inactive_exit.into()),
        (
            "Job",
            Value::Tuple(vec![job.map_or(0, |job| job.id).into(), job_path(job)]),
        ),
    ];
    named("Unit", list)
}

fn service(service: &Service) -> Vec<Property> {
    let code = i32::from(service.exit.is_some()); // CLD_EXITED is 1
    let list = vec![
        ("Type", service.kind.into()),
        ("Restart", service.restart.into()),
        ("NRestarts", service.restarts.into()),
        ("Result", service.result.into()),
        ("MainPID", service.pid.into()),
        ("ControlPID", 0u32.into()),
        ("ExecMainPID", service.last_pid.into()),
        ("ExecMainCode", code.into()),
        ("ExecMainStatus", service.exit.map_or(0, i32::from).into()),
        ("ExecMainStartTimestamp", service.started.into()),
        ("ExecMainExitTimestamp", service.ended.into()),
        ("StatusText", service.status.as_str().into()),
        ("StatusErrno", 0i32.into()),
        ("ControlGroup", service.cgroup.as_str().into()),
        ("MemoryCurrent", service.memory.into()),
        ("CPUUsageNSec", service.cpu.into()),
        ("TasksCurrent", service.tasks.into()),
    ];
    named("Service", list)
}

fn timer(timer: &Timer) -> Vec<Property> {
    let list = vec![
        ("Unit", timer.unit.as_str().into()),
        ("NextElapseUSecRealtime", timer.next.into()),
        ("NextElapseUSecMonotonic", 0u64.into()),
        ("LastTriggerUSec", timer.last.into()),
        ("LastTriggerUSecMonotonic", 0u64.into()),
        ("Persistent", timer.persistent.into()),
        ("Result", "success".into()),
    ];
    named("Timer", list)
}

/// A job's.
pub fn of_job(job: &Job) -> Vec<Property> {
    let list = vec![
        ("Id", job.id.into()),
        ("JobType", job.verb.word().into()),
        ("State", "running".into()),
        (
            "Unit",
            Value::Tuple(vec![job.unit.as_str().into(), unit_path(&job.unit)]),
        ),
    ];
    named("Job", list)
}

/// The manager's.
pub fn of_manager(host: &Host, views: &[View], jobs: usize) -> Vec<Property> {
    let failed = views
        .iter()
        .filter(|v| v.active == super::view::Active::Failed)
        .count();
    let count = |n: usize| Value::U32(u32::try_from(n).unwrap_or(u32::MAX));
    let state = match (failed, jobs) {
        (0, 0) => "running",
        (0, _) => "starting",
        _ => "degraded",
    };
    let list = vec![
        (
            "Version",
            format!("252 (Skeg {})", env!("CARGO_PKG_VERSION")).into(),
        ),
        ("Features", "".into()),
        ("Virtualization", "".into()),
        ("Architecture", host.architecture.as_str().into()),
        ("Tainted", "".into()),
        ("SystemState", state.into()),
        ("NNames", count(views.len())),
        ("NFailedUnits", count(failed)),
        ("NJobs", count(jobs)),
        ("NInstalledJobs", count(jobs)),
        ("NFailedJobs", 0u32.into()),
        ("Progress", Value::F64(1.0)),
        ("Environment", strings::<&str>([])),
        ("UnitPath", strings([formats::paths::QUADLET])),
        ("ControlGroup", "".into()),
        ("UserspaceTimestamp", host.started.into()),
    ];
    named("Manager", list)
}

fn named(interface: &'static str, list: Vec<(&'static str, Value)>) -> Vec<Property> {
    let property = |(name, value)| Property {
        interface,
        name,
        value,
    };
    list.into_iter().map(property).collect()
}

/// Those of one interface, or of all when it is empty, as `GetAll` returns them.
///
/// `None` when the object has no such interface.
pub fn select(all: &[Property], interface: &str) -> Option<Value> {
    let prefix = format!("{NAME}.");
    let wanted = interface.strip_prefix(&prefix);
    if wanted.is_none() && !interface.is_empty() {
        return None;
    }
    let picked: Vec<_> = all
        .iter()
        .filter(|p| wanted.is_none_or(|wanted| wanted == p.interface))
        .map(|p| (p.name.to_owned(), p.value.clone()))
        .collect();
    (!picked.is_empty()).then_some(Value::Dict(picked))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::view::Active;
    use super::*;

    fn contract(xml: &str) -> BTreeMap<String, String> {
        let attribute = |line: &str, name: &str| {
            let (_, rest) = line.split_once(&format!("{name}=\""))?;
            Some(rest.split('"').next()?.to_owned())
        };
        let lines = xml.lines().filter(|l| l.contains("<property"));
        lines
            .map(|l| (attribute(l, "name").unwrap(), attribute(l, "type").unwrap()))
            .collect()
    }

    fn served(all: &[Property], interface: &str) -> BTreeMap<String, String> {
        let own = all.iter().filter(|p| p.interface == interface);
        own.map(|p| (p.name.to_owned(), p.value.signature()))
            .collect()
    }

    fn view() -> View {
        View {
            name: "web.service".into(),
            active: Active::Failed,
            sub: "failed",
            path: "/etc/containers/systemd/web.container".into(),
            service: Some(Service {
                exit: Some(3),
                result: "exit-code",
                ..Service::unknown()
            }),
            timer: Some(Timer::default()),
            ..View::default()
        }
    }

    #[test]
    fn every_property_of_the_contract_is_served_with_its_type_and_no_other() {
        use formats::systemd1 as xml;
        let unit = of_unit(&view(), None, &[]);
        assert_eq!(served(&unit, "Unit"), contract(xml::UNIT));
        assert_eq!(served(&unit, "Service"), contract(xml::SERVICE));
        assert_eq!(served(&unit, "Timer"), contract(xml::TIMER));
        let manager = of_manager(&Host::default(), &[], 0);
        assert_eq!(served(&manager, "Manager"), contract(xml::MANAGER));
        let mut jobs = super::super::jobs::Jobs::default();
        let _ = jobs.queue("web.service", super::super::Verb::Start, "replace");
        let job = of_job(jobs.of("web.service").unwrap());
        assert_eq!(served(&job, "Job"), contract(xml::JOB));
    }

    fn get(all: &[Property], name: &str) -> Value {
        all.iter().find(|p| p.name == name).unwrap().value.clone()
    }

    #[test]
    fn a_failed_unit_tells_how_its_program_ended() {
        let all = of_unit(&view(), None, &[]);
        assert_eq!(get(&all, "ActiveState"), "failed".into());
        assert_eq!(get(&all, "ExecMainCode"), 1i32.into());
        assert_eq!(get(&all, "ExecMainStatus"), 3i32.into());
        assert_eq!(get(&all, "UnitFileState"), "generated".into());
    }

    #[test]
    fn an_unknown_unit_is_not_found_and_inactive() {
        let all = of_unit(&View::absent("nope.service"), None, &[]);
        assert_eq!(get(&all, "LoadState"), "not-found".into());
        assert_eq!(get(&all, "ActiveState"), "inactive".into());
        assert_eq!(get(&all, "UnitFileState"), "".into());
    }

    #[test]
    fn whom_a_unit_is_wanted_by_is_read_from_the_others() {
        let mut target = View {
            name: "multi-user.target".into(),
            ..View::default()
        };
        target.links.wants = BTreeSet::from(["web.service".to_owned()]);
        let all = of_unit(&view(), None, &[target]);
        assert_eq!(get(&all, "WantedBy"), strings(["multi-user.target"]));
    }

    #[test]
    fn get_all_without_an_interface_returns_those_of_all() {
        let all = of_unit(&view(), None, &[]);
        let count = |interface: &str| match select(&all, interface) {
            Some(Value::Dict(list)) => list.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(count(""), all.len());
        assert!(count("org.freedesktop.systemd1.Service") < all.len());
        assert_eq!(select(&all, "org.example.Other"), None);
        assert_eq!(select(&all, "org.freedesktop.systemd1.Socket"), None);
    }
}
