//! The manager's methods.
//!
//! What systemd does and this host does not is refused by name, with what to do instead.

use std::sync::Arc;

use super::{Answer, Face, Failure, Value, find, job_path, lock, unit_path};
use crate::systemd1::asked::Call;
use crate::systemd1::jobs::Verb;
use crate::systemd1::pattern;
use crate::systemd1::view::{Active, View};

const UNIT_ROW: &str = "(ssssssouso)";

impl Face {
    pub(super) async fn manager(self: &Arc<Self>, call: &Call) -> Answer {
        let name = || call.text(0);
        match call.member.as_str() {
            "StartUnit" => self.queue(name()?, Verb::Start, call.text(1)?),
            "StopUnit" => self.queue(name()?, Verb::Stop, call.text(1)?),
            "RestartUnit" | "ReloadOrRestartUnit" => {
                self.queue(name()?, Verb::Restart, call.text(1)?)
            }
            "TryRestartUnit" | "ReloadOrTryRestartUnit" => self.try_restart(name()?, call.text(1)?),
            "ReloadUnit" => Err(match self.view(name()?) {
                Some(view) => Failure::not_reloadable(&view.name),
                None => Failure::not_found(name()?),
            }),
            "GetUnit" => {
                let view = self.view(name()?);
                let view = view.ok_or_else(|| Failure::not_loaded(call.text(0).unwrap_or("")))?;
                Ok(vec![unit_path(&view.name)])
            }
            "LoadUnit" => Ok(vec![unit_path(&self.view_or_absent(name()?).name)]),
            "GetUnitByPID" => self.by_pid(call.number(0)?),
            "KillUnit" => self.kill(call).await,
            "ResetFailedUnit" => {
                let view = self.view(name()?);
                let view = view.ok_or_else(|| Failure::not_loaded(call.text(0).unwrap_or("")))?;
                self.units.reset_failed(Some(&view.name));
                Ok(Vec::new())
            }
            "ResetFailed" => {
                self.units.reset_failed(None);
                Ok(Vec::new())
            }
            "Reload" => self.reload().await,
            "Subscribe" | "Unsubscribe" => Ok(Vec::new()),
            "CancelJob" => self.cancel(&call.number(0)?.to_string()),
            "GetJob" => {
                let id = call.number(0)?;
                let job = lock(&self.jobs).get(id).cloned();
                let job = job.ok_or_else(|| Failure::no_job(&id.to_string()))?;
                Ok(vec![job_path(Some(&job))])
            }
            member if member.starts_with("List") => self.list(call),
            member => self.files(call, member),
        }
    }

    fn try_restart(self: &Arc<Self>, name: &str, mode: &str) -> Answer {
        let view = self.view_or_absent(name);
        let up = matches!(view.active, Active::Active | Active::Activating);
        // As systemd: of what does not run, a try is a stop of nothing, which is done at once.
        let verb = if up { Verb::Restart } else { Verb::Stop };
        self.queue(name, verb, mode)
    }

    fn by_pid(&self, pid: u32) -> Answer {
        let views = self.units.views();
        let of = |view: &&View| {
            let main = view.service.as_ref().is_some_and(|s| s.pid == pid);
            let all = || self.units.processes(&view.name);
            pid != 0 && (main || all().iter().any(|(_, p, _)| *p == pid))
        };
        match views.iter().find(of) {
            Some(view) => Ok(vec![unit_path(&view.name)]),
            None => Err(Failure {
                name: "org.freedesktop.systemd1.NoUnitForPID",
                message: format!("PID {pid} does not belong to any loaded unit."),
            }),
        }
    }

    async fn kill(&self, call: &Call) -> Answer {
        let (name, whom, signal) = (call.text(0)?, call.text(1)?, call.signed(2)?);
        let view = self.view(name).ok_or_else(|| Failure::not_loaded(name))?;
        if !(1..=64).contains(&signal) {
            return Err(Failure::arguments("Signal number out of range."));
        }
        let all = match whom {
            "" | "all" | "all-fail" => true,
            "main" | "main-fail" => false,
            "control" | "control-fail" => {
                return Err(Failure::no_process("No control process to kill"));
            }
            _ => return Err(Failure::arguments(format!("Invalid who argument: {whom}"))),
        };
        if view.service.as_ref().is_none_or(|s| s.pid == 0) {
            return match whom {
                "" | "all" => Ok(Vec::new()),
                "main" | "main-fail" => Err(Failure::no_process("No main process to kill")),
                _ => Err(Failure::no_process("No process to kill")),
            };
        }
        let killed = self.units.kill(&view.name, all, signal).await;
        killed.map_err(Failure::failed)?;
        Ok(Vec::new())
    }

    async fn reload(&self) -> Answer {
        self.tell("Reloading", vec![true.into()]);
        let read = self.units.reload().await;
        self.tell("Reloading", vec![false.into()]);
        read.map_err(Failure::failed)?;
        Ok(Vec::new())
    }

    fn list(&self, call: &Call) -> Answer {
        let views = self.units.views();
        let rows = |views: &[&View]| {
            let rows = views.iter().map(|view| self.row(view));
            Ok(vec![Value::List(UNIT_ROW, rows.collect())])
        };
        match call.member.as_str() {
            "ListUnits" => rows(&views.iter().collect::<Vec<_>>()),
            "ListUnitsFiltered" => rows(&select(&views, &call.texts(0)?, &[])),
            "ListUnitsByPatterns" => rows(&select(&views, &call.texts(0)?, &call.texts(1)?)),
            "ListUnitsByNames" => {
                let names = call.texts(0)?;
                let named = |name: &&str| {
                    find(&views, name).map_or_else(|| View::absent(name), Clone::clone)
                };
                let named: Vec<View> = names.iter().map(named).collect();
                rows(&named.iter().collect::<Vec<_>>())
            }
            "ListUnitFiles" => Ok(vec![files(&views, &[], &[])]),
            "ListUnitFilesByPatterns" => Ok(vec![files(&views, &call.texts(0)?, &call.texts(1)?)]),
            "ListJobs" => {
                let jobs = lock(&self.jobs).all();
                let row = |job: &crate::systemd1::jobs::Job| {
                    Value::Tuple(vec![
                        job.id.into(),
                        job.unit.as_str().into(),
                        job.verb.word().into(),
                        "running".into(),
                        job_path(Some(job)),
                        unit_path(&job.unit),
                    ])
                };
                Ok(vec![Value::List(
                    "(usssoo)",
                    jobs.iter().map(row).collect(),
                )])
            }
            member => Err(Failure::no_method(&call.interface, member)),
        }
    }

    fn row(&self, view: &View) -> Value {
        let job = lock(&self.jobs).of(&view.name).cloned();
        Value::Tuple(vec![
            view.name.as_str().into(),
            view.description.as_str().into(),
            view.load.word().into(),
            view.active.word().into(),
            view.sub.into(),
            "".into(),
            unit_path(&view.name),
            job.as_ref().map_or(0, |job| job.id).into(),
            job.as_ref().map_or("", |job| job.verb.word()).into(),
            job_path(job.as_ref()),
        ])
    }

    /// What concerns files, and what is refused.
    fn files(&self, call: &Call, member: &str) -> Answer {
        match member {
            "GetUnitFileState" => match self.view(call.text(0)?).map(|v| v.file_state()) {
                None | Some("") => Err(Failure::no_file()),
                Some(state) => Ok(vec![state.into()]),
            },
            "GetUnitProcesses" => {
                let view = self.view_or_absent(call.text(0)?);
                let row = |(cgroup, pid, command): (String, u32, String)| {
                    Value::Tuple(vec![cgroup.into(), pid.into(), command.into()])
                };
                let rows = self.units.processes(&view.name).into_iter().map(row);
                Ok(vec![Value::List("(sus)", rows.collect())])
            }
            "EnableUnitFiles" | "DisableUnitFiles" => {
                let names = call.texts(0)?;
                let missing = names.iter().find(|n| self.view(n).is_none());
                match (missing, names.first()) {
                    (Some(_), _) | (None, None) => Err(Failure::no_file()),
                    (None, Some(name)) => Err(Failure::generated(name)),
                }
            }
            "GetDefaultTarget" => Ok(vec!["multi-user.target".into()]),
            "Reboot" | "PowerOff" | "Halt" | "KExec" | "SoftReboot" => Err(Failure::refused(
                "not by this way: use 'skeg reboot' or 'skeg poweroff'",
            )),
            "StartTransientUnit" => Err(Failure::refused(
                "there are no transient units: use 'skeg run', or a file in /etc/containers/systemd",
            )),
            "MaskUnitFiles" | "UnmaskUnitFiles" | "SetUnitProperties" | "LinkUnitFiles" => {
                Err(Failure::refused(
                    "unit files are part of the host's configuration: change them there",
                ))
            }
            _ => Err(Failure::no_method(&call.interface, member)),
        }
    }
}

/// Units of these states and names; an empty list leaves nothing out.
fn select<'a>(views: &'a [View], states: &[&str], patterns: &[&str]) -> Vec<&'a View> {
    let fits = |view: &&View| {
        let words = [view.load.word(), view.active.word(), view.sub];
        let state = states.is_empty() || states.iter().any(|s| words.contains(s));
        let called = |p: &&str| {
            pattern::matches(p, &view.name) || view.aliases.iter().any(|a| pattern::matches(p, a))
        };
        state && (patterns.is_empty() || patterns.iter().any(called))
    };
    views.iter().filter(fits).collect()
}

fn files(views: &[View], states: &[&str], patterns: &[&str]) -> Value {
    let fits = |view: &&View| {
        let state = view.file_state();
        !state.is_empty()
            && (states.is_empty() || states.contains(&state))
            && (patterns.is_empty() || patterns.iter().any(|p| pattern::matches(p, &view.name)))
    };
    // A client takes the last part of the path for the unit's name.
    let row = |view: &View| {
        let path = format!("/run/systemd/generator/{}", view.name);
        Value::Tuple(vec![path.into(), view.file_state().into()])
    };
    Value::List("(ss)", views.iter().filter(fits).map(row).collect())
}
