//! Jobs: what was asked of a unit and is not done yet, one for each unit, as systemd queues them.
//!
//! Pure: it decides which job stands, and runs none.

use std::collections::BTreeMap;

use super::failure::Failure;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// It shall run.
    Start,
    /// It shall end.
    Stop,
    /// It shall end and run again; one that does not run is started.
    Restart,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Done,
    /// It could not be carried out.
    Failed,
    /// What it needs could not be started.
    Dependency,
    /// It took longer than the unit allows.
    Timeout,
    /// Another job took its place, or a client withdrew it.
    Canceled,
    /// There was nothing to do: a condition of the unit does not hold.
    Skipped,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: u32,
    /// Of this unit.
    pub unit: String,
    /// What it does.
    pub verb: Verb,
    irreversible: bool,
}

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Queued {
    /// A new job, and the one that it took the place of.
    New(Job, Option<Job>),
    /// One that does the same is queued already.
    Same(Job),
}

/// All jobs.
#[derive(Debug, Default)]
pub struct Jobs {
    last: u32,
    by_unit: BTreeMap<String, Job>,
}

const MODES: [&str; 8] = [
    "replace",
    "replace-irreversibly",
    "fail",
    "flush",
    "ignore-dependencies",
    "ignore-requirements",
    "restart-dependencies",
    "triggering",
];

impl Jobs {
    /// Queues a job.
    ///
    /// # Errors
    /// When the mode is none, or does not allow what would have to go.
    pub fn queue(&mut self, unit: &str, verb: Verb, mode: &str) -> Result<Queued, Failure> {
        if mode == "isolate" {
            return Err(Failure::no_isolation());
        }
        if !MODES.contains(&mode) {
            return Err(Failure::arguments(format!("Job mode {mode} invalid")));
        }
        let irreversible = mode == "replace-irreversibly";
        if let Some(job) = self.by_unit.get(unit) {
            if job.verb == verb || (job.verb == Verb::Restart && verb == Verb::Start) {
                return Ok(Queued::Same(job.clone()));
            }
            let conflict = job.verb == Verb::Stop || verb == Verb::Stop;
            if conflict && (mode == "fail" || (job.irreversible && !irreversible)) {
                let (queued, asked) = (job.verb.word(), verb.word());
                return Err(Failure::destructive(unit, queued, asked));
            }
        }
        self.last = self.last.wrapping_add(1).max(1);
        let job = Job {
            id: self.last,
            unit: unit.to_owned(),
            verb,
            irreversible,
        };
        let replaced = self.by_unit.insert(unit.to_owned(), job.clone());
        Ok(Queued::New(job, replaced))
    }

    /// Takes a job out, if it stands.
    pub fn end(&mut self, id: u32) -> Option<Job> {
        let unit = self.get(id)?.unit.clone();
        self.by_unit.remove(&unit)
    }

    /// A job by its number.
    pub fn get(&self, id: u32) -> Option<&Job> {
        self.by_unit.values().find(|job| job.id == id)
    }

    /// The job of a unit.
    pub fn of(&self, unit: &str) -> Option<&Job> {
        self.by_unit.get(unit)
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<Job> {
        let mut all: Vec<Job> = self.by_unit.values().cloned().collect();
        all.sort_by_key(|job| job.id);
        all
    }
}

impl Verb {
    /// systemd's `JobType`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

impl Outcome {
    /// The result that `JobRemoved` tells.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Dependency => "dependency",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Skipped => "skipped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(queued: Queued) -> (Job, Option<Job>) {
        match queued {
            Queued::New(job, replaced) => (job, replaced),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_second_request_for_the_same_joins_the_first() {
        let mut jobs = Jobs::default();
        let (first, none) = new(jobs.queue("a.service", Verb::Start, "replace").unwrap());
        assert_eq!(none, None);
        let again = jobs.queue("a.service", Verb::Start, "fail").unwrap();
        assert_eq!(again, Queued::Same(first.clone()));
        assert_eq!(jobs.end(first.id), Some(first.clone()));
        assert_eq!(jobs.end(first.id), None);
    }

    #[test]
    fn a_stop_takes_the_place_of_a_start_unless_the_mode_forbids() {
        let mut jobs = Jobs::default();
        let (start, _) = new(jobs.queue("a.service", Verb::Start, "replace").unwrap());
        let refused = jobs.queue("a.service", Verb::Stop, "fail").unwrap_err();
        assert!(refused.name.ends_with("TransactionIsDestructive"));
        assert!(refused.message.contains("has 'start' job queued"));
        let (stop, replaced) = new(jobs.queue("a.service", Verb::Stop, "replace").unwrap());
        assert_eq!(replaced, Some(start.clone()));
        assert!(stop.id > start.id);
        assert_eq!(jobs.end(start.id), None, "only the new one stands");
        assert_eq!(jobs.all(), [stop]);
    }

    #[test]
    fn an_irreversible_job_stays() {
        let mut jobs = Jobs::default();
        let _ = jobs.queue("a.service", Verb::Stop, "replace-irreversibly");
        assert!(jobs.queue("a.service", Verb::Start, "replace").is_err());
    }

    #[test]
    fn modes_that_are_none_are_refused_by_name() {
        let mut jobs = Jobs::default();
        let mut mode = |mode| jobs.queue("a.service", Verb::Start, mode).unwrap_err();
        assert_eq!(mode("later").message, "Job mode later invalid");
        assert!(mode("isolate").name.ends_with("NoIsolation"));
    }
}
