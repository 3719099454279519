//! The part of a plan that makes the process: limits, rights, scheduling, labels, the program.
//!
//! Pure, like all of the plan.

use oci_spec::runtime::{
    Linux, LinuxPersonality, LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy,
    Process, Scheduler,
};

use super::super::capabilities::Sets;
use super::super::hook::Hook;
use super::super::operation::Operation;
use super::super::refusals::absolute;
use super::super::seccomp;
use super::super::user::UserChoice;
use super::Plan;

impl Plan {
    /// `start_hooks`: a container's own process, which runs these first once it is started; else one that
    /// goes on in a container.
    pub(super) fn add_process(
        &mut self,
        process: &Process,
        linux: &Linux,
        keep_groups: bool,
        start_hooks: Option<Vec<Hook>>,
    ) -> Result<(), String> {
        let args = process.args().clone().unwrap_or_default();
        let name = args.first().cloned().ok_or("process.args: empty")?;
        self.add_scheduling(process)?;
        for limit in process.rlimits().iter().flatten() {
            self.push(Operation::Setrlimit {
                resource: limit.typ().to_string(),
                soft: limit.soft(),
                hard: limit.hard(),
            });
        }
        self.add_labels(process);
        let filter = linux.seccomp().as_ref().map(seccomp::compile);
        let filter = filter.transpose()?.flatten();
        let no_new_privileges = process.no_new_privileges().unwrap_or(false);
        if no_new_privileges {
            self.push(Operation::NoNewPrivs);
        }
        // The last moment at which the kernel takes a filter: with no_new_privs just before the
        // exec, else while CAP_SYS_ADMIN is still there. One with a listener is loaded while
        // somebody is there to take it.
        let (early, late) = match filter {
            Some(filter) if no_new_privileges && !filter.listener => (None, Some(filter)),
            filter => (filter, None),
        };
        self.operations.extend(early.map(load));
        self.add_user(process, keep_groups);
        self.push(Operation::Chdir {
            path: absolute(process.cwd(), "process.cwd")?,
        });
        self.push(Operation::FindProgram { name });
        // Both without rights: whoever is in the container gains nothing by this process.
        match start_hooks {
            None => {
                self.push(Operation::Descend);
                self.push(Operation::AwaitStart);
            }
            Some(hooks) => {
                self.push(Operation::AwaitStart);
                if !hooks.is_empty() {
                    self.push(Operation::Hooks { hooks });
                }
            }
        }
        self.operations.extend(late.map(load));
        self.push(Operation::Execve { args });
        Ok(())
    }

    fn add_user(&mut self, process: &Process, keep_groups: bool) {
        let user = process.user();
        self.push(Operation::Credentials {
            user: UserChoice {
                name: user.username().clone(),
                uid: user.uid(),
                gid: user.gid(),
                groups: user.additional_gids().clone().unwrap_or_default(),
                keep_groups,
            },
            capabilities: Sets::from_spec(process.capabilities().as_ref()),
        });
        self.push(Operation::Umask {
            mask: user.umask().unwrap_or(0o022),
        });
    }

    fn add_scheduling(&mut self, process: &Process) -> Result<(), String> {
        if let Some(scheduler) = process.scheduler() {
            self.push(scheduling(scheduler)?);
        }
        if let Some(priority) = process.io_priority() {
            let class = match priority.class().to_string().as_str() {
                "IOPRIO_CLASS_RT" => 1,
                "IOPRIO_CLASS_BE" => 2,
                "IOPRIO_CLASS_IDLE" => 3,
                other => return Err(format!("process.ioPriority.class: {other:?} is unknown")),
            };
            let level = u16::try_from(priority.priority()).ok();
            let level = level.filter(|level| *level < 8).ok_or_else(|| {
                let found = priority.priority();
                format!("process.ioPriority.priority: expected 0 to 7, found {found}")
            })?;
            self.push(Operation::IoPriority { class, level });
        }
        Ok(())
    }

    fn add_labels(&mut self, process: &Process) {
        for (module, label) in [
            ("apparmor", process.apparmor_profile()),
            ("selinux", process.selinux_label()),
        ] {
            if let Some(label) = label.clone().filter(|label| !label.is_empty()) {
                let module = module.to_owned();
                self.push(Operation::Label { module, label });
            }
        }
    }

    pub(super) fn add_terminal(&mut self, process: &Process) {
        if !self.terminal {
            return;
        }
        let size = |value: u64| u16::try_from(value).unwrap_or(0);
        let console = process.console_size();
        self.push(Operation::Terminal {
            rows: console.map_or(0, |console| size(console.height())),
            columns: console.map_or(0, |console| size(console.width())),
        });
    }
}

fn load(filter: seccomp::Filter) -> Operation {
    Operation::Seccomp {
        filter: filter.program,
        flags: filter.flags,
        listener: filter.listener,
    }
}

/// The lines of `/proc/self/timens_offsets`.
pub(super) fn clock_offsets(linux: &Linux) -> String {
    let mut clocks: Vec<_> = linux.time_offsets().iter().flatten().collect();
    clocks.sort_by_key(|(clock, _)| clock.as_str());
    let line = |(clock, offset): (&String, &oci_spec::runtime::LinuxTimeOffset)| {
        let secs = offset.secs().unwrap_or(0);
        format!("{clock} {secs} {}\n", offset.nanosecs().unwrap_or(0))
    };
    clocks.into_iter().map(line).collect()
}

/// The execution domain (personality(2)).
pub(super) fn personality(personality: &LinuxPersonality) -> Result<Operation, String> {
    if personality.flags().iter().flatten().count() > 0 {
        return Err("linux.personality.flags: none is defined, expected none".into());
    }
    let domain = match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    };
    Ok(Operation::Personality { domain })
}

fn scheduling(scheduler: &Scheduler) -> Result<Operation, String> {
    let policy = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let flag = |flag: &LinuxSchedulerFlag| match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    };
    let flags = scheduler.flags().iter().flatten();
    let priority = scheduler.priority().unwrap_or(0);
    Ok(Operation::Scheduler {
        policy,
        flags: flags.fold(0, |all, one| all | flag(one)),
        nice: scheduler.nice().unwrap_or(0),
        priority: u32::try_from(priority)
            .map_err(|_| format!("process.scheduler.priority: {priority} is negative"))?,
        runtime: scheduler.runtime().unwrap_or(0),
        deadline: scheduler.deadline().unwrap_or(0),
        period: scheduler.period().unwrap_or(0),
    })
}
