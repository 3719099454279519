//! The end: who may ask for it, and the plan's actions.
//!
//! Each action is told on the console before it is done, so that a screen shows what is waited for.

use super::Host;
use crate::clock::{Moment, epoch_ns, now};
use crate::floor;
use crate::power::finish::{Disks, finish, release_disks};
use crate::power::plan::{Action, Event};
use crate::service::supervisor;
use formats::registration::Power;
use formats::status::PowerState;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;
use sys::reap::Ended;

impl Host {
    pub(super) fn take_signals(&mut self, now: Moment) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match i32::try_from(info.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGCHLD)) => self.reap(now),
                // Control-alt-delete.
                Ok(Ok(Signal::SIGINT)) => self.shut_down(Event::Request(Power::Reboot), now),
                Ok(Ok(Signal::SIGTERM | Signal::SIGPWR)) => {
                    self.shut_down(Event::Request(Power::Off), now);
                }
                _ => {}
            }
        }
    }

    pub(super) fn button(&mut self, button: usize, now: Moment) {
        match self.buttons.pressed(button) {
            Some(true) => {
                self.report.say("power button pressed");
                self.shut_down(Event::Request(Power::Off), now);
            }
            Some(false) => {}
            None => self.forget_button(button),
        }
    }

    pub(super) fn power_state(&self) -> PowerState {
        match self.plan.goal() {
            Some(Power::Off) => PowerState::PoweringOff,
            Some(Power::Reboot) => PowerState::Rebooting,
            None if self.settled => PowerState::Running,
            None => PowerState::Starting,
        }
    }

    pub(super) fn shut_down(&mut self, event: Event, now: Moment) {
        let Some(action) = self.plan.step(event, now) else {
            return;
        };
        self.report.touch();
        match action {
            Action::StopServices => {
                self.report.say("shutting down: services stop");
                self.queue.push_back(supervisor::Event::StopAll);
            }
            Action::TerminateAll => {
                self.report.say("shutting down: services are stopped");
                self.publish();
                let _ = kill(EVERYBODY, Signal::SIGTERM);
                self.reap(now);
            }
            Action::KillAll => {
                self.report.say("shutting down: what is left is killed");
                let _ = kill(EVERYBODY, Signal::SIGKILL);
                self.reap(now);
            }
            Action::ReleaseDisks => self.release_disks(now),
            Action::Finish(power) => self.finish(power),
        }
    }

    fn release_disks(&mut self, now: Moment) {
        self.report
            .say("shutting down: file systems are written back");
        let time = self.floor.to_keep(epoch_ns());
        let work = || {
            if let Some(journal) = &self.journal {
                journal.write_last(self.report.batch().waiting());
            }
            let _ = time.is_none_or(|(path, seconds)| floor::keep(&path, seconds));
            release_disks(&self.places.state)
        };
        match sys::reap::run_in_copy(work) {
            Ok(pid) => self.disks = Some(pid),
            Err(e) => {
                self.report.say(&format!("fork: {e}"));
                self.shut_down(Event::DisksDone, now);
            }
        }
    }

    pub(super) fn disks_released(&mut self, ended: Ended, now: Moment) {
        let disks = match ended {
            Ended::Exited(status) => Disks::from_status(status),
            Ended::Signaled(_) => Disks::Dirty,
        };
        self.disks = None;
        self.report.say(&format!("shutting down: {}", disks.text()));
        self.shut_down(Event::DisksDone, now);
    }

    fn finish(&mut self, power: Power) {
        let word = match power {
            Power::Off => "power off",
            Power::Reboot => "reboot",
        };
        let took = self
            .plan
            .since()
            .map_or(0.0, |since| (now() - since).as_secs_f64());
        self.report
            .say(&format!("{word}, {took:.3} s after it was asked for"));
        // The last lines go through a serial port's buffer.
        std::thread::sleep(Duration::from_millis(20));
        let refused = finish(power);
        self.report
            .say(&format!("{word}: {refused}; trying a reboot"));
        let _ = finish(Power::Reboot);
        self.report.say(match self.watchdog {
            Some(_) => "the watchdog is fed no more: it resets the machine",
            None => "the machine can be switched off by hand",
        });
    }
}

/// Every process but PID 1 itself (kill(2)).
const EVERYBODY: Pid = Pid::from_raw(-1);
