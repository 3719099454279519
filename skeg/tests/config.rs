//! `skeg config` as people and scripts call it: what it prints, and its exit codes.
//!
//! It needs no host: a configuration is checked before there is one.

use std::io::Write;
use std::process::{Command, Output, Stdio};

const GOOD: &str = r#"{"ignition":{"version":"3.4.0"},"storage":{"files":[
  {"path":"/etc/hostname","contents":{"source":"data:,web-1"}},
  {"path":"/etc/key","mode":384,"contents":{"source":"data:,s3cret"}}]}}"#;
const BAD: &str = "{\"ignition\":{\"version\":\"3.4.0\"},\n\"storage\":{\"fils\":[]}}";

fn check(document: &str, words: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_skeg"))
        .args(["config", "check", "-"])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("skeg");
    let mut stdin = child.stdin.take().expect("standard input");
    stdin.write_all(document.as_bytes()).expect("write");
    drop(stdin);
    child.wait_with_output().expect("an end")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_good_configuration_is_shown_without_its_secrets_and_ends_with_0() {
    let output = check(GOOD, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        text(&output.stdout),
        "0644 0:0 /etc/hostname \"web-1\"\n0600 0:0 /etc/key (6 bytes)\n"
    );
}

#[test]
fn a_bad_one_is_told_with_its_place_and_ends_with_1() {
    let output = check(BAD, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let wanted = "error: -:2:12: storage.fils: unknown field, did you mean files?\n";
    assert_eq!(text(&output.stdout), wanted);
}

#[test]
fn scripts_get_the_same_as_json() {
    let bad = check(BAD, &["--output", "json"]);
    assert_eq!(bad.status.code(), Some(1));
    let value: serde_json::Value = serde_json::from_slice(&bad.stdout).expect("JSON");
    assert_eq!(value["good"], false);
    let error = &value["errors"][0];
    assert_eq!((&error["line"], &error["column"]), (&2.into(), &12.into()));
    assert_eq!(error["field"], "storage.fils");
    let good = check(GOOD, &["--output", "json"]);
    assert_eq!(good.status.code(), Some(0));
    assert!(!text(&good.stdout).contains("s3cret"));
    let value: serde_json::Value = serde_json::from_slice(&good.stdout).expect("JSON");
    assert_eq!(value["tree"][1]["path"], "/etc/key");
    assert_eq!(value["tree"][1]["mode"], "0600");
}

#[test]
fn what_cannot_be_read_and_what_was_meant_otherwise_have_codes_of_their_own() {
    let run = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_skeg"))
            .args(words)
            .output();
        let output = output.expect("skeg");
        (output.status.code(), text(&output.stderr))
    };
    let (code, error) = run(&["config", "check", "/nonexistent/config.ign"]);
    assert_eq!(code, Some(3));
    assert!(error.contains("/nonexistent/config.ign"), "{error}");
    assert_eq!(run(&["config", "chekc", "x"]).0, Some(2));
}
