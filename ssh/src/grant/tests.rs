//! Lines of authorized_keys, good and bad. The keys are made for these tests.

use super::*;
use proptest::prelude::*;

const ED25519: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

fn with(options: &str) -> Result<Grant, String> {
    parse(&format!("{options} {ED25519} core@laptop"))
}

#[test]
fn a_plain_key_may_do_what_its_user_may() {
    let grant = parse(&format!("{ED25519} a comment, with = \"signs")).unwrap();
    assert!(grant.forwards && grant.terminal);
    assert_eq!(grant.command, None);
    assert!(grant.from.is_empty() && grant.opens.is_empty());
}

#[test]
fn options_take_away() {
    let grant = with("restrict").unwrap();
    assert!(!grant.forwards && !grant.terminal);
    let grant = with("restrict,pty").unwrap();
    assert!(!grant.forwards && grant.terminal);
    assert!(!with("no-port-forwarding").unwrap().forwards);
    let grant = with(r#"command="docker system dial-stdio",no-pty"#).unwrap();
    assert_eq!(grant.command.as_deref(), Some("docker system dial-stdio"));
    let grant = with(r#"command="run \"a, b\"",permitopen="[::1]:80",permitopen="*:443""#).unwrap();
    assert_eq!(grant.command.as_deref(), Some("run \"a, b\""));
    assert_eq!(grant.opens[0].host.as_deref(), Some("::1"));
    assert_eq!(
        (&grant.opens[1].host, grant.opens[1].port),
        (&None, Some(443))
    );
}

#[test]
fn from_names_networks() {
    let grant = with(r#"from="192.0.2.0/24,2001:db8::/32,198.51.100.7""#).unwrap();
    let taken = |address: &str| {
        let address: IpAddr = address.parse().unwrap();
        grant.from.iter().any(|network| network.contains(address))
    };
    for address in [
        "192.0.2.9",
        "::ffff:192.0.2.9",
        "2001:db8:1::2",
        "198.51.100.7",
    ] {
        assert!(taken(address), "{address}");
    }
    for address in ["192.0.3.9", "2001:db9::1", "198.51.100.8", "::1"] {
        assert!(!taken(address), "{address}");
    }
    let all = Network::parse("0.0.0.0/0").unwrap();
    assert!(all.contains("203.0.113.1".parse().unwrap()));
}

#[test]
fn what_is_not_understood_refuses_the_line_and_is_named() {
    for (options, named) in [
        ("environment=\"A=b\"", "unknown option environment"),
        ("tunnel=\"0\"", "unknown option tunnel"),
        ("from=\"*.example.org\"", "from="),
        ("from=\"192.0.2.0/33\"", "from="),
        ("permitopen=\"db:5432\"", "permitopen="),
        ("permitopen=\"localhost\"", "permitopen="),
        ("permitopen=\"localhost:99999\"", "permitopen="),
        ("command=\"ps", "one word"),
        ("restrict=yes", "unknown option restrict"),
    ] {
        let error = with(options).unwrap_err();
        assert!(error.contains(named), "{options}: {error}");
    }
    for line in [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-dss AAAAB3NzaC1kc3M=",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn no_error_repeats_what_stands_there() {
    let error = parse("ssh-ed25519 c2VjcmV0LXNlY3JldA== x").unwrap_err();
    assert!(!error.contains("c2Vj"), "{error}");
}

proptest! {
    #[test]
    fn no_line_is_too_odd(line in "[a-z =\",\\\\]{0,60}") {
        let _ = parse(&line);
        let _ = with(&line);
    }
}
