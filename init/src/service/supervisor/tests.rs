//! The supervisor's promises, on a virtual clock with a virtual process table.
//!
//! No process is started.

use super::*;
use crate::service::order::resolve;
use formats::service::{Kind, Restart};
use formats::status::ServiceState;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn service(name: &str, edit: impl FnOnce(&mut Service)) -> Service {
    let mut service = Service::new(name);
    service.exec_start = vec!["/bin/x".into()];
    service.restart = Restart::Always;
    edit(&mut service);
    service
}

fn supervisor(services: Vec<Service>) -> Supervisor {
    let order = resolve(&services);
    Supervisor::new(services, order, Random::new(1))
}

fn after(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// zygote and net, then engine; all of `Type=notify`.
fn three() -> Supervisor {
    let notify = |s: &mut Service| s.kind = Kind::Notify;
    supervisor(vec![
        service("engine", |s| {
            s.kind = Kind::Notify;
            s.after = after(&["net"]);
            s.requires = after(&["zygote"]);
            s.watchdog = Some(3 * SECOND);
            s.timeout_stop = 10 * SECOND;
        }),
        service("net", notify),
        service("zygote", notify),
    ])
}

fn step(supervisor: &mut Supervisor, event: Event, now: Moment) -> Vec<Effect> {
    let mut effects = Vec::new();
    supervisor.step(event, now, &mut effects);
    effects
}

/// All three run and are ready at second 1.
fn running() -> Supervisor {
    let mut s = three();
    let now = SECOND;
    assert_eq!(
        step(&mut s, Event::Start, now),
        [Effect::Spawn(1), Effect::Spawn(2)]
    );
    for (index, pid) in [(1, 11), (2, 12)] {
        step(&mut s, Event::Spawned(index, pid), now);
        step(&mut s, Event::Ready(index), now);
    }
    step(&mut s, Event::Spawned(0, 10), now);
    step(&mut s, Event::Ready(0), now);
    s
}

#[test]
fn a_service_whose_condition_does_not_hold_is_done_and_holds_up_nobody() {
    let mut s = three();
    step(&mut s, Event::Start, SECOND);
    step(&mut s, Event::Spawned(2, 12), SECOND);
    step(&mut s, Event::Ready(2), SECOND);
    let effects = step(&mut s, Event::Skipped(1), SECOND);
    assert_eq!(effects, [Effect::Spawn(0)]);
    assert_eq!(s.units()[1].state(), ServiceState::Done);
    assert!(!s.units()[1].is_failing());
    assert_eq!(step(&mut s, Event::Tick, 2 * SECOND), []);
}

#[test]
fn a_service_starts_when_those_before_it_are_ready_and_not_earlier() {
    let mut s = three();
    step(&mut s, Event::Start, SECOND);
    step(&mut s, Event::Spawned(1, 11), SECOND);
    step(&mut s, Event::Spawned(2, 12), SECOND);
    assert_eq!(step(&mut s, Event::Ready(1), SECOND), [Effect::Started(1)]);
    assert_eq!(
        step(&mut s, Event::Ready(2), SECOND),
        [Effect::Started(2), Effect::Spawn(0)]
    );
}

#[test]
fn a_network_that_never_gets_ready_holds_the_engine_up_for_its_start_timeout_only() {
    let mut s = three();
    step(&mut s, Event::Start, SECOND);
    step(&mut s, Event::Spawned(1, 11), SECOND);
    step(&mut s, Event::Spawned(2, 12), SECOND);
    step(&mut s, Event::Ready(2), SECOND);
    let late = s.next_deadline().unwrap();
    let effects = step(&mut s, Event::Tick, late);
    assert_eq!(
        effects,
        [Effect::Note(1, Note::StartTimeout), Effect::KillGroup(1)]
    );
    let effects = step(&mut s, Event::Exited(1, LastExit::Signaled(9)), late);
    assert!(effects.contains(&Effect::Spawn(0)), "{effects:?}");
}

#[test]
fn a_required_service_that_fails_for_good_fails_the_dependent_with_its_name() {
    let mut s = supervisor(vec![
        service("engine", |s| s.requires = after(&["zygote"])),
        service("zygote", |s| s.restart = Restart::No),
    ]);
    step(&mut s, Event::Start, SECOND);
    let effects = step(&mut s, Event::SpawnFailed(1), SECOND);
    assert!(
        effects.contains(&Effect::Note(0, Note::RequirementFailed(1))),
        "{effects:?}"
    );
    assert_eq!(s.units()[0].state(), ServiceState::Failed);
    assert!(s.settled());
}

#[test]
fn a_crash_kills_what_is_left_of_the_group_and_restarts_after_a_pause() {
    let mut s = running();
    let effects = step(&mut s, Event::Exited(0, LastExit::Signaled(9)), 2 * SECOND);
    assert_eq!(effects[0], Effect::KillGroup(0));
    assert!(matches!(effects[1], Effect::Note(0, Note::Restarting(_))));
    let due = s.next_deadline().unwrap();
    assert!(due > 2 * SECOND && due < 3 * SECOND);
    assert_eq!(step(&mut s, Event::Tick, due), [Effect::Spawn(0)]);
    assert_eq!(s.units()[0].restarts(), 1);
}

#[test]
fn a_service_that_stops_feeding_its_watchdog_is_aborted_then_killed() {
    let mut s = running();
    step(&mut s, Event::Alive(0), 2 * SECOND);
    assert_eq!(step(&mut s, Event::Tick, 4 * SECOND), []);
    let effects = step(&mut s, Event::Tick, 5 * SECOND);
    assert_eq!(
        effects,
        [Effect::Note(0, Note::WatchdogTimeout), Effect::Abort(0)]
    );
    let effects = step(&mut s, Event::Tick, 7 * SECOND);
    assert!(effects.contains(&Effect::KillGroup(0)));
    step(&mut s, Event::Exited(0, LastExit::Signaled(9)), 7 * SECOND);
    assert_eq!(s.units()[0].state(), ServiceState::Restarting);
}

#[test]
fn a_service_that_flaps_is_failing_until_it_has_run_for_long() {
    let mut s = running();
    let mut now = 2 * SECOND;
    for pid in 20..23 {
        assert!(!s.units()[1].is_failing());
        step(&mut s, Event::Exited(1, LastExit::Exited(1)), now);
        now = s.next_deadline().unwrap();
        step(&mut s, Event::Tick, now);
        step(&mut s, Event::Alive(0), now);
        step(&mut s, Event::Spawned(1, pid), now);
        step(&mut s, Event::Ready(1), now);
    }
    assert!(s.units()[1].is_failing());
    step(&mut s, Event::WatchdogPeriod(0, Duration::ZERO), now);
    let proven = s.next_deadline().unwrap();
    step(&mut s, Event::Tick, proven);
    assert!(!s.units()[1].is_failing());
    assert_eq!(s.next_deadline(), None);
}

#[test]
fn a_shutdown_goes_in_reverse_order_of_the_start() {
    let mut s = running();
    let now = 2 * SECOND;
    assert_eq!(step(&mut s, Event::StopAll, now), [Effect::Terminate(0)]);
    let effects = step(&mut s, Event::Exited(0, LastExit::Exited(0)), now);
    assert_eq!(
        effects,
        [
            Effect::KillGroup(0),
            Effect::Terminate(1),
            Effect::Terminate(2)
        ]
    );
    step(&mut s, Event::Exited(1, LastExit::Signaled(15)), now);
    let effects = step(&mut s, Event::Exited(2, LastExit::Exited(0)), now);
    assert!(effects.contains(&Effect::AllStopped));
}

#[test]
fn a_stuck_service_delays_a_shutdown_by_its_own_timeout_and_a_grace_only() {
    let mut s = running();
    step(&mut s, Event::StopAll, 2 * SECOND);
    step(&mut s, Event::Extend(0, 15 * SECOND), 3 * SECOND);
    assert_eq!(step(&mut s, Event::Tick, 17 * SECOND), []);
    let effects = step(&mut s, Event::Tick, 18 * SECOND);
    assert!(effects.contains(&Effect::KillGroup(0)));
    let effects = step(&mut s, Event::Tick, 18 * SECOND + KILL_PATIENCE);
    assert!(effects.contains(&Effect::Note(0, Note::Unkillable)));
    assert!(effects.contains(&Effect::Terminate(1)), "{effects:?}");
}

#[test]
fn an_extension_is_bounded_whatever_the_service_asks_for() {
    let mut s = running();
    step(&mut s, Event::StopAll, 2 * SECOND);
    step(&mut s, Event::Extend(0, Duration::MAX), 3 * SECOND);
    assert!(s.next_deadline().unwrap() <= 12 * SECOND + LONGEST_EXTENSION);
}

#[test]
fn a_oneshot_counts_as_started_once_it_has_exited_well() {
    let mut s = supervisor(vec![
        service("grow", |s| {
            s.kind = Kind::Oneshot;
            s.restart = Restart::No;
        }),
        service("web", |s| s.requires = after(&["grow"])),
    ]);
    step(&mut s, Event::Start, SECOND);
    step(&mut s, Event::Spawned(0, 5), SECOND);
    let effects = step(&mut s, Event::Exited(0, LastExit::Exited(0)), SECOND);
    assert_eq!(
        effects,
        [Effect::KillGroup(0), Effect::Started(0), Effect::Spawn(1)]
    );
}

/// Any event a host can produce, in any order.
fn any_event() -> impl Strategy<Value = Event> {
    let index = 0usize..3;
    prop_oneof![
        Just(Event::Tick),
        Just(Event::StopAll),
        index.clone().prop_map(Event::Ready),
        index.clone().prop_map(Event::Stopping),
        index.clone().prop_map(Event::Alive),
        index.clone().prop_map(Event::Trigger),
        (index.clone(), any::<u8>()).prop_map(|(i, c)| Event::Exited(i, LastExit::Exited(c))),
        (index.clone(), 0u64..100).prop_map(|(i, s)| Event::Extend(i, SECOND * s as u32)),
        (index, 0u64..10).prop_map(|(i, s)| Event::WatchdogPeriod(i, SECOND * s as u32)),
    ]
}

proptest! {
    /// Whatever happens: never two processes of one service, no start after the end began, and once
    /// the end has begun it comes within bounded time, even if nothing ever exits.
    #[test]
    fn the_supervisor_is_sane_under_any_sequence(
        events in prop::collection::vec((any_event(), 0u32..20), 0..60), spawn_works: u32
    ) {
        let mut s = three();
        let (mut now, mut alive, mut closing, mut ended) = (SECOND, [false; 3], false, false);
        let mut queue = vec![Event::Start];
        let mut events = events.into_iter();
        let mut spawns = 0u32;
        for round in 0.. {
            let event = match queue.pop() {
                Some(event) => event,
                None => match events.next() {
                    Some((Event::Exited(i, _), _)) if !alive[i] => continue,
                    Some((event, wait)) => { now += SECOND * wait / 4; event }
                    None if round < 5000 && !ended => {
                        queue.push(Event::StopAll);
                        now = s.next_deadline().unwrap_or(now).max(now);
                        Event::Tick
                    }
                    None => break,
                },
            };
            closing |= event == Event::StopAll;
            if let Event::Exited(i, _) = event { alive[i] = false; }
            for effect in step(&mut s, event, now) {
                match effect {
                    Effect::Spawn(i) => {
                        prop_assert!(!closing, "started {i} while closing");
                        prop_assert!(s.units()[i].pid().is_none());
                        spawns += 1;
                        if spawn_works & (1 << (spawns % 32)) != 0 {
                            alive[i] = true;
                            queue.push(Event::Spawned(i, 100 + spawns));
                        } else {
                            queue.push(Event::SpawnFailed(i));
                        }
                    }
                    Effect::AllStopped => { prop_assert!(!ended); ended = true; }
                    _ => {}
                }
            }
        }
        prop_assert!(ended, "the end never came");
        prop_assert!(now < SECOND * (60 * 20 + 3 * 800 + 300));
    }
}
