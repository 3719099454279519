use proptest::prelude::*;

use super::*;
use crate::engine::options::{ContainerOptions, HealthCheck, Ready};

const PROCESS: Process = Process {
    pid: 7,
    start_ticks: 1,
};

fn machine(restart: RestartPolicy, auto_remove: bool) -> Machine {
    let options = ContainerOptions {
        restart,
        auto_remove,
        ..ContainerOptions::default()
    };
    let rules = Rules::new(&options, None, "abc");
    Machine::new(State::default(), rules, Duration::ZERO)
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn started() -> Event {
    Event::Started {
        process: PROCESS,
        at_ns: 1,
        network: None,
    }
}

fn exit(code: u8) -> Event {
    Event::Exited(ExitRecord {
        code,
        at_ns: 2,
        oom: false,
    })
}

fn running(restart: RestartPolicy) -> Machine {
    let mut machine = machine(restart, false);
    machine.step(Event::Start { keen: false }, at(0));
    machine.step(started(), at(0));
    machine
}

fn stop() -> Event {
    Event::Stop {
        by: StoppedBy::User,
        timeout: None,
    }
}

#[test]
fn a_start_is_durable_before_it_happens() {
    let mut machine = machine(RestartPolicy::No, false);
    let effects = machine.step(Event::Start { keen: false }, at(0));
    assert_eq!(effects, [Effect::Persist, Effect::Launch]);
}

#[test]
fn an_exit_is_released_only_after_it_is_durable() {
    let mut machine = running(RestartPolicy::No);
    let effects = machine.step(exit(3), at(1));
    assert_eq!(effects, [Effect::Persist, Effect::Release, Effect::CleanUp]);
    assert_eq!(machine.state.phase, Phase::Exited);
    assert_eq!(machine.state.exit.unwrap().code, 3);
}

#[test]
fn a_stop_signals_first_and_kills_after_the_timeout() {
    let mut machine = running(RestartPolicy::Always);
    let effects = machine.step(stop(), at(1));
    assert_eq!(effects, [Effect::Persist, Effect::Signal(15)]);
    assert_eq!(machine.alarm, Some(at(11)));
    assert_eq!(machine.step(Event::Alarm, at(5)), []);
    assert_eq!(machine.step(Event::Alarm, at(11)), [Effect::KillAll]);
    machine.step(exit(137), at(11));
    assert_eq!(machine.state.phase, Phase::Exited);
    assert_eq!(machine.alarm, None);
}

#[test]
fn a_stop_during_the_start_takes_effect_once_it_runs() {
    let mut machine = machine(RestartPolicy::Always, false);
    machine.step(Event::Start { keen: true }, at(0));
    machine.step(stop(), at(0));
    let effects = machine.step(started(), at(1));
    assert!(effects.contains(&Effect::Signal(15)), "{effects:?}");
}

#[test]
fn on_failure_stops_after_its_number_of_tries_and_ignores_success() {
    let mut machine = running(RestartPolicy::OnFailure { max: Some(2) });
    for restarts in 1..=2 {
        machine.step(exit(1), at(1));
        let due = machine.alarm.unwrap();
        assert!(machine.step(Event::Alarm, due).contains(&Effect::Launch));
        machine.step(started(), at(1));
        assert_eq!(machine.state.restarts, restarts);
    }
    machine.step(exit(1), at(2));
    assert_eq!(machine.state.phase, Phase::Exited);
    let mut machine = running(RestartPolicy::OnFailure { max: None });
    machine.step(exit(0), at(1));
    assert_eq!(machine.state.phase, Phase::Exited);
}

#[test]
fn the_pause_grows_and_is_reset_by_a_run_that_settled() {
    let mut machine = running(RestartPolicy::Always);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        machine.step(exit(1), at(1));
        let due = machine.alarm.unwrap();
        pauses.push(due - at(1));
        machine.step(Event::Alarm, due);
        machine.step(started(), at(1));
    }
    assert!(pauses[5] > pauses[0] * 10, "{pauses:?}");
    machine.step(exit(1), at(30));
    assert!(machine.alarm.unwrap() - at(30) < pauses[1]);
}

#[test]
fn a_start_by_hand_that_fails_is_not_tried_again_and_a_unit_is() {
    let failed = || Event::StartFailed {
        message: "x".into(),
        code: 127,
    };
    let mut machine = machine(RestartPolicy::Always, false);
    machine.step(Event::Start { keen: false }, at(0));
    machine.step(failed(), at(0));
    assert_eq!(machine.state.phase, Phase::Exited);
    machine.step(Event::Start { keen: true }, at(0));
    machine.step(failed(), at(0));
    assert_eq!(machine.state.phase, Phase::Restarting);
}

#[test]
fn removal_kills_what_runs_and_auto_removal_waits_for_the_end() {
    let mut machine = running(RestartPolicy::Always);
    assert_eq!(
        machine.step(Event::Remove, at(1)),
        [Effect::Persist, Effect::KillAll]
    );
    let effects = machine.step(exit(137), at(1));
    assert_eq!(effects.last(), Some(&Effect::Remove));
    let mut machine = self::machine(RestartPolicy::No, true);
    machine.step(Event::Start { keen: false }, at(0));
    machine.step(started(), at(0));
    assert_eq!(machine.step(exit(0), at(1)).last(), Some(&Effect::Remove));
}

#[test]
fn a_removal_that_an_engine_death_cut_is_not_forgotten() {
    let mut before = running(RestartPolicy::Always);
    assert_eq!(before.step(Event::Remove, at(1))[0], Effect::Persist);
    let kept = serde_json::to_string(&before.state).unwrap();
    let mut after = machine(RestartPolicy::Always, false);
    after.state = serde_json::from_str(&kept).unwrap();
    assert!(!starts_at_boot(&after.state, RestartPolicy::Always, true));
    // The end comes before the next engine has asked for the removal again.
    after.step(exit(137), at(2));
    assert_eq!(after.state.phase, Phase::Exited);
    assert!(after.step(Event::Start { keen: false }, at(3)).is_empty());
    let effects = after.step(Event::Remove, at(4));
    assert_eq!(effects.last(), Some(&Effect::Remove));
}

#[test]
fn what_a_shutdown_stopped_comes_back_and_what_a_user_stopped_does_not() {
    let state = |by| State {
        phase: Phase::Exited,
        started_ns: Some(1),
        stopped_by: Some(by),
        ..State::default()
    };
    let policy = RestartPolicy::UnlessStopped;
    assert!(starts_at_boot(&state(StoppedBy::Shutdown), policy, false));
    assert!(!starts_at_boot(&state(StoppedBy::User), policy, false));
    assert!(starts_at_boot(
        &state(StoppedBy::User),
        RestartPolicy::Always,
        false
    ));
    assert!(!starts_at_boot(
        &state(StoppedBy::Shutdown),
        RestartPolicy::No,
        true
    ));
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        any::<bool>().prop_map(|keen| Event::Start { keen }),
        Just(stop()),
        Just(Event::Stop {
            by: StoppedBy::Shutdown,
            timeout: Some(at(1))
        }),
        Just(Event::Signal(9)),
        Just(Event::Signal(1)),
        Just(Event::Remove),
        Just(Event::Alarm),
    ]
}

proptest! {
    /// Whatever is asked in whatever order: one launch at a time, none after a removal, and after
    /// a stop it stays down until somebody starts it.
    #[test]
    fn no_order_of_events_starts_twice_or_revives_the_stopped(
        events in prop::collection::vec((any_event(), any::<bool>(), 0u8..4), 1..60),
        always: bool
    ) {
        let restart = if always { RestartPolicy::Always } else { RestartPolicy::OnFailure { max: Some(3) } };
        let mut machine = machine(restart, false);
        let (mut launched, mut up, mut removed, mut wanted) = (false, false, false, false);
        for (i, (event, world, code)) in events.into_iter().enumerate() {
            let now = at(i as u64 * 3);
            let event = match (world, launched, up) {
                (true, true, _) => {
                    launched = false;
                    if code == 0 {
                        Event::StartFailed { message: "no".into(), code: 125 }
                    } else {
                        up = true;
                        started()
                    }
                }
                (true, false, true) => { up = false; exit(code) }
                _ => event,
            };
            match &event {
                Event::Start { .. } if !machine.state.phase.is_up() && machine.state.phase != Phase::Starting => wanted = true,
                Event::Stop { .. } => wanted = false,
                _ => {}
            }
            for effect in machine.step(event, now) {
                match effect {
                    Effect::Launch => {
                        prop_assert!(!launched && !up && !removed && wanted);
                        launched = true;
                    }
                    Effect::Release => prop_assert!(!up),
                    Effect::Remove => { prop_assert!(!removed && !up && !launched); removed = true; }
                    _ => {}
                }
            }
            if removed { break; }
            prop_assert_eq!(machine.state.phase == Phase::Starting, launched);
            prop_assert_eq!(machine.state.phase.is_up(), up);
        }
    }
}

#[test]
fn a_timeout_without_measure_overflows_no_clock() {
    for phase_after in [1, 2] {
        let mut machine = running(RestartPolicy::No);
        for _ in 0..phase_after {
            machine.step(
                Event::Stop {
                    by: StoppedBy::User,
                    timeout: Some(Duration::MAX),
                },
                at(1),
            );
        }
        let alarm = machine.alarm.expect("a stop sets the alarm");
        crate::engine::clock::instant(alarm);
    }
}

#[test]
fn a_stop_that_an_engines_death_cut_is_asked_for_again() {
    let options = ContainerOptions {
        stop_timeout: Some(60),
        ..ContainerOptions::default()
    };
    let state = State {
        phase: Phase::Stopping,
        process: Some(PROCESS),
        ..State::default()
    };
    let mut machine = Machine::new(state, Rules::new(&options, None, "abc"), at(5));
    let effects = machine.step(Event::Resumed, at(5));
    assert!(effects.contains(&Effect::Signal(15)), "{effects:?}");
    assert_eq!(machine.alarm, Some(at(65)));
}

/// One that runs, tells that it is ready by `by` within five seconds, and does `on_failure` when unhealthy.
fn unready(restart: RestartPolicy, by: ReadyBy, on_failure: OnFailure) -> Machine {
    let options = ContainerOptions {
        restart,
        ready: Some(Ready {
            by,
            timeout_ms: Some(5000),
        }),
        ..ContainerOptions::default()
    };
    let check = HealthCheck {
        on_failure,
        ..HealthCheck::default()
    };
    let rules = Rules::new(&options, None, "abc").checked_by(Some(&check));
    let mut machine = Machine::new(State::default(), rules, Duration::ZERO);
    machine.step(Event::Start { keen: true }, at(0));
    machine.step(started(), at(0));
    machine
}

#[test]
fn one_that_never_gets_ready_is_stopped_and_comes_back_ever_later() {
    let policy = RestartPolicy::OnFailure { max: None };
    let mut machine = unready(policy, ReadyBy::Notify, OnFailure::None);
    let mut pauses = Vec::new();
    for round in 0..4_u64 {
        let now = at(round * 1000);
        assert!(machine.state.waiting);
        let effects = machine.step(Event::Alarm, now + at(5));
        assert_eq!(effects, [Effect::Persist, Effect::Signal(15)]);
        assert!(machine.state.late);
        // It ends with success, and minutes late: a failure all the same.
        machine.step(exit(0), now + at(200));
        assert_eq!(machine.state.phase, Phase::Restarting);
        let again = machine.alarm.unwrap();
        pauses.push(again - (now + at(200)));
        machine.step(Event::Alarm, again);
        machine.step(started(), at((round + 1) * 1000));
    }
    assert!(
        pauses.is_sorted() && pauses[3] > pauses[0] * 4,
        "{pauses:?}"
    );
    machine.step(Event::Ready { process: PROCESS }, at(4001));
    assert!(!machine.state.waiting && !machine.state.late);
    assert_eq!(machine.alarm, None);
}

#[test]
fn a_first_pass_of_its_check_makes_it_ready_and_an_old_run_s_does_not() {
    let mut machine = unready(RestartPolicy::No, ReadyBy::Healthy, OnFailure::None);
    let judged = |pid| Event::Judged {
        process: Process { pid, ..PROCESS },
        health: Health::Healthy,
    };
    machine.step(judged(8), at(1));
    assert!(machine.state.waiting);
    machine.step(judged(7), at(1));
    assert!(!machine.state.waiting);
    assert_eq!(machine.state.health, Some(Health::Healthy));
}

#[test]
fn a_later_engine_waits_for_it_anew() {
    let machine = unready(RestartPolicy::No, ReadyBy::Notify, OnFailure::None);
    let rules = machine.rules.clone();
    let mut later = Machine::new(machine.state, rules, at(0));
    later.step(Event::Resumed, at(1));
    assert_eq!(later.alarm, Some(at(6)));
}

#[test]
fn what_becomes_of_an_unhealthy_one_is_its_own_choice() {
    let unhealthy = Event::Judged {
        process: PROCESS,
        health: Health::Unhealthy,
    };
    let ends = |on_failure, restart| {
        let mut machine = unready(restart, ReadyBy::Notify, on_failure);
        machine.step(Event::Ready { process: PROCESS }, at(1));
        let effects = machine.step(unhealthy.clone(), at(2));
        machine.step(exit(0), at(3));
        (effects, machine.state.phase)
    };
    let failed = RestartPolicy::OnFailure { max: None };
    let killed = vec![Effect::Persist, Effect::KillAll];
    let stopped = vec![Effect::Persist, Effect::Signal(15)];
    assert_eq!(
        ends(OnFailure::Kill, failed),
        (killed.clone(), Phase::Restarting)
    );
    assert_eq!(
        ends(OnFailure::Kill, RestartPolicy::No),
        (killed, Phase::Exited)
    );
    assert_eq!(
        ends(OnFailure::Stop, failed),
        (stopped.clone(), Phase::Restarting)
    );
    assert_eq!(
        ends(OnFailure::Restart, RestartPolicy::No),
        (stopped, Phase::Restarting)
    );
    assert_eq!(ends(OnFailure::None, failed).0, [Effect::Persist]);
}
