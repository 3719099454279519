use clap::CommandFactory;

use super::*;

fn refused(arguments: &[&str]) -> String {
    let words = ["skeg"].iter().chain(arguments);
    mistake(&Cli::try_parse_from(words).unwrap_err().render().to_string())
}

#[test]
fn the_definition_of_the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn help_names_every_verb_for_people_and_no_daemon() {
    let help = Cli::command().render_help().to_string();
    for verb in [
        "run", "ps", "logs", "exec", "stop", "pull", "status", "boot", "unit", "poweroff",
    ] {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb} in {help}");
    }
    assert!(!help.contains("zygote"), "{help}");
    assert!(help.lines().count() < 45, "{help}");
}

#[test]
fn an_unknown_flag_names_the_nearest_and_where_to_look() {
    assert_eq!(
        refused(&["run", "--detatch", "x"]),
        "error: unexpected argument '--detatch' found; a similar argument exists: '--detach' (see skeg run --help)"
    );
    let text = refused(&["imagse"]);
    assert!(
        text.starts_with("error: unrecognized subcommand 'imagse'; "),
        "{text}"
    );
    assert!(
        text.contains("'images'") && text.ends_with("(see skeg --help)"),
        "{text}"
    );
}

#[test]
fn a_wrong_value_says_what_was_expected() {
    let text = refused(&["run", "-p", "99999:80", "x"]);
    assert!(text.contains("expected a port from 1 to 65535"), "{text}");
    let text = refused(&["run", "--cap-add", "NET_ADMN", "x"]);
    assert!(text.contains("did you mean 'NET_ADMIN'?"), "{text}");
}

#[test]
fn what_follows_the_image_belongs_to_the_container() {
    let cli = Cli::try_parse_from(["skeg", "run", "--rm", "img", "sh", "-c", "--rm"]).unwrap();
    let Verb::Run(run) = cli.verb else {
        panic!("{:?}", cli.verb)
    };
    assert_eq!(run.command, ["sh", "-c", "--rm"]);
}

#[test]
fn the_host_s_log_is_asked_for_as_journalctl_s() {
    let logs = |words: &[&str]| {
        let words = ["skeg", "logs"].iter().chain(words);
        match Cli::try_parse_from(words).unwrap().verb {
            Verb::Logs(logs) => logs,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(logs(&["-b", "-1", "-k"]).boot.as_deref(), Some("-1"));
    assert_eq!(logs(&["-b"]).boot.as_deref(), Some("0"));
    let engine = logs(&["--boot=-2", "engine"]);
    assert_eq!(engine.container.as_deref(), Some("engine"));
    assert!(
        engine.of_host() && logs(&["-u", "net"]).of_host() && logs(&["--list-boots"]).of_host()
    );
    assert!(!logs(&["web"]).of_host());
    assert!(refused(&["logs"]).contains("CONTAINER"));
    assert!(refused(&["logs", "-k", "web"]).contains("cannot be used with"));
}
