use proptest::prelude::*;

use super::*;

fn at(text: &str) -> i64 {
    let part = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
    let day = days(part(0..4), part(5..7), part(8..10));
    day * 86_400 + part(11..13) * 3600 + part(14..16) * 60 + part(17..19)
}

fn shown(second: i64) -> String {
    let (year, month, day) = civil(second.div_euclid(86_400));
    let of_day = second.rem_euclid(86_400);
    let (h, m, s) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}")
}

/// As `systemd-analyze calendar` says it, from the same moment.
#[test]
fn the_next_moments_are_those_of_systemd() {
    let from = at("2026-11-24 20:15:30");
    for (text, next) in [
        ("minutely", "2026-11-24 20:16:00"),
        ("hourly", "2026-11-24 21:00:00"),
        ("daily", "2026-11-25 00:00:00"),
        ("weekly", "2026-11-30 00:00:00"),
        ("monthly", "2026-12-01 00:00:00"),
        ("quarterly", "2027-01-01 00:00:00"),
        ("semiannually", "2027-01-01 00:00:00"),
        ("yearly", "2027-01-01 00:00:00"),
        ("03:30", "2026-11-25 03:30:00"),
        ("20:15", "2026-11-25 20:15:00"),
        ("20:15:31", "2026-11-24 20:15:31"),
        ("*:0/15", "2026-11-24 20:30:00"),
        ("*:*:0/20", "2026-11-24 20:15:40"),
        ("Mon..Fri 08:00", "2026-11-25 08:00:00"),
        ("Sat,Sun *-*-* 10:00:00", "2026-11-28 10:00:00"),
        ("Friday", "2026-11-27 00:00:00"),
        ("12-24 18:00", "2026-12-24 18:00:00"),
        ("*-*-31", "2026-12-31 00:00:00"),
        ("*-02-29", "2028-02-29 00:00:00"),
        ("2027-*-1..7 00:00:00", "2027-01-01 00:00:00"),
        ("Mon *-*-1..7 04:00", "2026-12-07 04:00:00"),
        ("*-*-* 6,18:00:00", "2026-11-25 06:00:00"),
        ("daily UTC", "never"),
        ("*-*-* 00:00:00 UTC", "2026-11-25 00:00:00"),
        ("2020-01-01", "none"),
        ("*-02-30", "none"),
    ] {
        let found = match Calendar::parse(text) {
            Err(_) => "never".to_owned(),
            Ok(calendar) => calendar.next(from).map_or("none".into(), shown),
        };
        assert_eq!(found, next, "{text}");
    }
}

#[test]
fn what_is_no_time_is_refused_and_what_is_not_supported_is_named() {
    for bad in [
        "",
        "sometimes",
        "25:00",
        "*-13-01",
        "Fri..Mon",
        "1",
        "12:00:00:00",
        "*:0/0",
        "-",
        "a-b-c",
    ] {
        assert!(Calendar::parse(bad).is_err(), "{bad}");
    }
    let refusal = |text| Calendar::parse(text).unwrap_err();
    assert!(refusal("08:00 Europe/Berlin").contains("time zone 'Europe/Berlin'"));
    assert!(refusal("*-*~1").contains("'~'"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[A-Za-z0-9*:,./~ -]{0,24}", from in 0i64..4_000_000_000) {
        if let Ok(calendar) = Calendar::parse(&text) {
            let _ = calendar.next(from);
        }
    }

    #[test]
    fn the_next_is_later_and_fits(
        hour in 0i64..24, minute in 0i64..60, day in 1i64..29, from in 0i64..4_000_000_000
    ) {
        let calendar = Calendar::parse(&format!("*-*-{day} {hour}:{minute}")).unwrap();
        let next = calendar.next(from).unwrap();
        prop_assert!(next > from && next - from <= 31 * 86_400);
        let (_, _, date) = civil(next.div_euclid(86_400));
        prop_assert_eq!((date, next.rem_euclid(86_400)), (day, hour * 3600 + minute * 60));
    }

    #[test]
    fn days_come_back(day in -1_000_000i64..1_000_000) {
        let (year, month, date) = civil(day);
        prop_assert_eq!(days(year, month, date), day);
    }
}
