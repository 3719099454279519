//! The plan of a shutdown: services, then every process, then the disks, then the machine.
//!
//! Pure. Each phase has its own bound, so that the whole is bounded whatever hangs.

use crate::clock::Moment;
use formats::registration::Power;
use std::time::Duration;

/// How long processes may take after SIGTERM, when the engine has already stopped its containers.
pub const TERM_PATIENCE: Duration = Duration::from_secs(10);
/// How long the kernel may take to end what was killed.
pub const KILL_PATIENCE: Duration = Duration::from_secs(3);
/// How long writing back and unmounting may take.
pub const DISK_PATIENCE: Duration = Duration::from_secs(30);

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Somebody asks for the end. The first one counts.
    Request(Power),
    /// The supervisor has stopped every service.
    ServicesStopped,
    /// No process is left but PID 1.
    Childless,
    /// Disks are written back and unmounted, or it has failed.
    DisksDone,
    /// A deadline may have passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Stop the services in reverse order.
    StopServices,
    /// SIGTERM to every process.
    TerminateAll,
    /// SIGKILL to every process.
    KillAll,
    /// Write back and unmount, outside PID 1.
    ReleaseDisks,
    /// reboot(2).
    Finish(Power),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Up,
    Services,
    Terminating(Moment),
    Killing(Moment),
    Disks(Moment),
    Finished,
}

/// Where the shutdown stands.
#[derive(Debug, Clone)]
pub struct Plan {
    phase: Phase,
    goal: Power,
    since: Moment,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            phase: Phase::Up,
            goal: Power::Reboot,
            since: Moment::ZERO,
        }
    }
}

impl Plan {
    /// What the host is shutting down to; none while it runs.
    #[must_use]
    pub fn goal(&self) -> Option<Power> {
        (self.phase != Phase::Up).then_some(self.goal)
    }

    /// When somebody asked for it.
    #[must_use]
    pub fn since(&self) -> Option<Moment> {
        (self.phase != Phase::Up).then_some(self.since)
    }

    /// Whether all was done that PID 1 can do: what is still on now waits for its reset.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// Whether the end of the last process is awaited.
    #[must_use]
    pub fn awaits_childless(&self) -> bool {
        matches!(self.phase, Phase::Terminating(_) | Phase::Killing(_))
    }

    /// When [`Event::Tick`] is due at the latest. The phase of services is bounded by the supervisor.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        match self.phase {
            Phase::Terminating(at) | Phase::Killing(at) | Phase::Disks(at) => Some(at),
            Phase::Up | Phase::Services | Phase::Finished => None,
        }
    }

    /// Takes one event; the answer is to be done at once.
    pub fn step(&mut self, event: Event, now: Moment) -> Option<Action> {
        let (phase, action) = match (self.phase, event) {
            (Phase::Up, Event::Request(goal)) => {
                (self.goal, self.since) = (goal, now);
                (Phase::Services, Action::StopServices)
            }
            (Phase::Services, Event::ServicesStopped) => (
                Phase::Terminating(now + TERM_PATIENCE),
                Action::TerminateAll,
            ),
            (Phase::Terminating(at), Event::Tick) if now >= at => {
                (Phase::Killing(now + KILL_PATIENCE), Action::KillAll)
            }
            (Phase::Terminating(_) | Phase::Killing(_), Event::Childless) => self.disks(now),
            (Phase::Killing(at), Event::Tick) if now >= at => self.disks(now),
            (Phase::Disks(_), Event::DisksDone) => (Phase::Finished, Action::Finish(self.goal)),
            (Phase::Disks(at), Event::Tick) if now >= at => {
                (Phase::Finished, Action::Finish(self.goal))
            }
            _ => return None,
        };
        self.phase = phase;
        Some(action)
    }

    fn disks(&self, now: Moment) -> (Phase, Action) {
        (Phase::Disks(now + DISK_PATIENCE), Action::ReleaseDisks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_quiet_host_goes_down_without_waiting() {
        let mut plan = Plan::default();
        let mut step = |event| plan.step(event, SECOND);
        assert_eq!(step(Event::Request(Power::Off)), Some(Action::StopServices));
        assert_eq!(step(Event::Request(Power::Reboot)), None);
        assert_eq!(step(Event::ServicesStopped), Some(Action::TerminateAll));
        assert_eq!(step(Event::Childless), Some(Action::ReleaseDisks));
        assert_eq!(step(Event::DisksDone), Some(Action::Finish(Power::Off)));
        assert_eq!(step(Event::Request(Power::Off)), None);
        assert!(plan.is_over());
        assert_eq!(plan.since(), Some(SECOND));
    }

    proptest! {
        #[test]
        fn once_services_are_stopped_the_end_comes_in_bounded_time(
            noise in prop::collection::vec((0u8..5, 0u32..3), 0..40)
        ) {
            let mut plan = Plan::default();
            plan.step(Event::Request(Power::Reboot), SECOND);
            plan.step(Event::ServicesStopped, SECOND);
            let (mut now, mut finished) = (SECOND, 0);
            let noise = noise.into_iter().map(Some).chain([None; 8]);
            for step in noise {
                let event = match step {
                    Some((which, wait)) => {
                        now += SECOND * wait;
                        match which {
                            0 => Event::Request(Power::Off),
                            1 => Event::ServicesStopped,
                            2 => Event::Childless,
                            3 => Event::DisksDone,
                            _ => Event::Tick,
                        }
                    }
                    None => {
                        now = plan.next_deadline().unwrap_or(now).max(now);
                        Event::Tick
                    }
                };
                if let Some(Action::Finish(goal)) = plan.step(event, now) {
                    prop_assert_eq!(goal, Power::Reboot);
                    finished += 1;
                }
            }
            prop_assert_eq!(finished, 1);
        }
    }
}
