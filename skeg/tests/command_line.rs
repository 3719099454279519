//! What a person gets from `skeg` who asks for help, mistypes, or names a file that is not there.
//!
//! No engine runs: these are answers of the program alone.

use std::process::{Command, Output};

fn skeg(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skeg"))
        .args(words)
        .env("SKEG_SOCKET", "/nonexistent/engine.sock")
        .output()
        .unwrap()
}

/// What it says when it refuses: one that names the mistake, on standard error, nothing else.
fn refusal(words: &[&str]) -> String {
    let output = skeg(words);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{words:?} succeeded");
    assert!(output.stdout.is_empty(), "{words:?}: {output:?}");
    assert!(error.contains("error: "), "{words:?}: {error}");
    error
}

#[test]
fn help_names_the_verbs() {
    let output = skeg(&["--help"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    for verb in [
        "run", "ps", "logs", "exec", "stop", "rm", "pull", "images", "status", "boot", "config",
    ] {
        let line = format!("\n  {verb} ");
        assert!(text.contains(&line), "no {verb} in:\n{text}");
    }
    for verb in ["run", "pull", "unit"] {
        let output = skeg(&[verb, "--help"]);
        assert!(output.status.success(), "{verb} --help");
    }
}

#[test]
fn a_mistake_on_the_command_line_is_named() {
    let cases: [(&[&str], &str); 6] = [
        (&["rnu"], "rnu"),
        (&["--nope"], "--nope"),
        (&["ps", "--nope"], "--nope"),
        (&["run"], "IMAGE"),
        (&["run", "-p", "99999:1", "x"], "99999"),
        (&["logs"], "CONTAINER"),
    ];
    for (words, mistake) in cases {
        let error = refusal(words);
        assert!(error.contains(mistake), "{words:?}: {error}");
        assert_eq!(skeg(words).status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    for words in [
        ["unit", "check", "/nonexistent/web.container"],
        ["boot", "--from", "/nonexistent/boot.json"],
    ] {
        let error = refusal(&words);
        assert!(error.contains(words[2]), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }
}

#[test]
fn without_an_engine_it_says_so_and_where_it_looked() {
    let error = refusal(&["ps"]);
    assert!(error.contains("/nonexistent/engine.sock"), "{error}");
}

#[test]
fn a_malformed_unit_is_refused_with_line_key_and_nearest_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.container");
    let path = file.to_string_lossy();
    let cases = [
        (
            "[Container]\nImage=x\nPublishPrt=80:80\n",
            3,
            "PublishPrt",
            "PublishPort",
        ),
        (
            "[Container]\nImage=x\n\n# why\nVolum=a:/b\n",
            5,
            "Volum",
            "Volume",
        ),
        (
            "[Container]\nImage=x\n[Service]\nRestrt=always\n",
            4,
            "Restrt",
            "Restart",
        ),
    ];
    for (text, line, key, nearest) in cases {
        std::fs::write(&file, text).unwrap();
        let error = refusal(&["unit", "check", &path]);
        assert!(error.contains(&format!("{path}:{line}:")), "{error}");
        assert!(error.contains(key), "{error}");
        assert!(error.contains(nearest), "{error}");
    }
    std::fs::write(&file, "[Container]\nImage=docker.io/library/nginx:1\n").unwrap();
    assert!(skeg(&["unit", "check", &path]).status.success());
}
