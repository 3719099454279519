//! Attempts on a clock of the test's own.

use super::*;
use proptest::prelude::*;

fn v4(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn fail(throttle: &mut Throttle, from: IpAddr, now: Instant) -> Option<Duration> {
    throttle.admit(from, now).unwrap();
    throttle.failed(from, now)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_sixth_failure_in_a_row_shuts_an_address_out_and_each_further_one_doubles_the_time() {
    let mut now = Instant::now();
    let mut throttle = Throttle::new(now);
    for _ in 0..5 {
        assert_eq!(fail(&mut throttle, v4(1), now), None);
    }
    assert_eq!(fail(&mut throttle, v4(1), now), Some(30 * SECOND));
    let refused = throttle.admit(v4(1), now + 10 * SECOND);
    assert_eq!(refused, Err(Refusal::Banned(20 * SECOND)));
    now += 30 * SECOND;
    assert_eq!(fail(&mut throttle, v4(1), now), Some(60 * SECOND));
    for _ in 0..20 {
        now += 4000 * SECOND;
        for _ in 0..40 {
            let admitted = throttle.admit(v4(1), now);
            let ban = admitted.ok().and_then(|()| throttle.failed(v4(1), now));
            assert!(ban.is_none_or(|ban| ban <= LONGEST_BAN));
        }
    }
}

#[test]
fn others_are_heard_while_one_is_shut_out() {
    let now = Instant::now();
    let mut throttle = Throttle::new(now);
    while fail(&mut throttle, v4(1), now).is_none() {}
    assert_eq!(throttle.admit(v4(2), now), Ok(()));
}

#[test]
fn a_login_and_time_make_failures_forgotten() {
    let now = Instant::now();
    let mut throttle = Throttle::new(now);
    for _ in 0..5 {
        fail(&mut throttle, v4(1), now);
    }
    throttle.admit(v4(1), now).unwrap();
    throttle.logged_in(v4(1), now);
    for _ in 0..5 {
        assert_eq!(fail(&mut throttle, v4(1), now), None);
    }
    let later = now + 600 * SECOND;
    for _ in 0..5 {
        assert_eq!(fail(&mut throttle, v4(1), later), None);
    }
}

#[test]
fn a_network_of_ipv6_is_one_address() {
    let now = Instant::now();
    let mut throttle = Throttle::new(now);
    let of = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
    for host in 0..6 {
        fail(&mut throttle, of(host), now);
    }
    assert!(throttle.admit(of(99), now).is_err());
    let mapped: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
    for _ in 0..6 {
        fail(&mut throttle, mapped, now);
    }
    assert!(throttle.admit(v4(7), now).is_err());
}

#[test]
fn many_at_once_from_one_address_are_too_many() {
    let now = Instant::now();
    let mut throttle = Throttle::new(now);
    for _ in 0..OF_ONE {
        throttle.admit(v4(1), now).unwrap();
    }
    assert_eq!(throttle.admit(v4(1), now), Err(Refusal::TooMany));
    throttle.logged_in(v4(1), now);
    assert_eq!(throttle.admit(v4(1), now), Ok(()));
}

#[test]
fn a_flood_from_everywhere_is_slowed_down_and_those_who_logged_in_before_are_not() {
    let now = Instant::now();
    let mut throttle = Throttle::new(now);
    throttle.admit(v4(1), now).unwrap();
    throttle.logged_in(v4(1), now);
    let strangers = |n: u16| IpAddr::from([198, 18, (n >> 8) as u8, n as u8]);
    let heard = (0..1000).filter(|n| throttle.admit(strangers(*n), now).is_ok());
    assert_eq!(heard.count(), 39);
    assert_eq!(throttle.admit(v4(1), now), Ok(()));
    let soon = now + SECOND;
    let heard = (2000..3000).filter(|n| throttle.admit(strangers(*n), soon).is_ok());
    assert_eq!(heard.count(), 10);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn memory_is_bounded_and_open_connections_are_counted(
        steps in prop::collection::vec((0u32..5000, 0u8..3, 0u32..100), 0..3000),
    ) {
        let mut now = Instant::now();
        let mut throttle = Throttle::new(now);
        for (from, what, pause) in steps {
            now += SECOND * pause / 50;
            let from = IpAddr::from(from.to_be_bytes());
            if throttle.admit(from, now).is_ok() {
                match what {
                    0 => throttle.logged_in(from, now),
                    1 => { throttle.failed(from, now); }
                    _ => {}
                }
            }
            prop_assert!(throttle.remembered() <= MOST_ADDRESSES);
        }
    }
}
