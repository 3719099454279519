//! The daemon as people meet it: the real OpenSSH client, the real docker client, a port on loopback.
//!
//! `skeg` is a script here that tells how it was called; a machine's own is in qemu-tests.

mod host;

use host::{Host, ok, text};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn one_command_is_run_with_its_output_its_errors_and_its_exit_code() {
    let host = Host::start(&[("core", "id")], "");
    for (line, out, error, code) in [
        ("status", "skeg|status|\n", "", 0),
        ("skeg logs -f 'my web'", "skeg|logs|-f|my web|\n", "", 0),
        (
            "exec web sh -c 'ls | wc'",
            "skeg|exec|web|sh|-c|ls | wc|\n",
            "",
            0,
        ),
        ("fail 7", "", "it failed\n", 7),
        ("ps | wc", "", "no shell", 1),
        ("bash -i", "", "no shell", 1),
        ("scp -t /tmp", "", "no file transfer", 1),
        ("docker ps", "", "DOCKER_HOST=ssh://", 1),
    ] {
        let output = host.ssh("core", &[line]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {output:?}");
        assert_eq!(text(&output.stdout), out, "{line}");
        let said = text(&output.stderr);
        assert!(said.contains(error), "{line}: {said}");
    }
}

#[test]
fn input_reaches_the_command_and_large_output_comes_back_whole() {
    let host = Host::start(&[("core", "id")], "");
    let mut ssh = host.ssh("core", &["cat"]);
    let mut child = ssh
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let mut stdin = child.stdin.take().unwrap();
    let typed = sent.clone();
    let typing = std::thread::spawn(move || stdin.write_all(&typed));
    let mut got = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut got).unwrap();
    typing.join().unwrap().unwrap();
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    ok(&child.wait_with_output().unwrap());
}

#[test]
fn a_terminal_gives_a_prompt_and_its_commands_a_terminal_too() {
    let host = Host::start(&[("core", "id")], "");
    let mut ssh = host.ssh("core", &[]);
    let mut child = ssh
        .arg("-tt")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut seen = String::new();
    let mut until = |mark: &str| {
        let mut buffer = [0; 4096];
        while !seen.contains(mark) {
            let count = stdout.read(&mut buffer).unwrap();
            assert!(count > 0, "ended before {mark:?}: {seen}");
            seen.push_str(&text(&buffer[..count]));
        }
        seen = seen.split_once(mark).unwrap().1.to_owned();
    };
    until("core@");
    stdin.write_all(b"statu\tx\r").unwrap();
    until("skeg|status|x|");
    until("core@");
    stdin.write_all(b"tty\r").unwrap();
    until("on a terminal");
    until("core@");
    stdin.write_all(b"sh\r").unwrap();
    until("no shell");
    stdin.write_all(b"fail 3\r").unwrap();
    until("it failed");
    until("core@");
    stdin.write_all(b"\x04").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn without_a_terminal_each_line_is_a_command() {
    let host = Host::start(&[("core", "id")], "");
    let mut ssh = host.ssh("core", &[]);
    let mut child = ssh
        .arg("-T")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"status\nexit\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    ok(&output);
    assert_eq!(text(&output.stdout), "skeg|status|\n");
}

#[test]
fn a_command_ends_with_its_client() {
    let host = Host::start(&[("core", "id")], "");
    let mut ssh = host.ssh("core", &["sleeps"]);
    let mut child = ssh
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pid = String::new();
    let mut stdout = child.stdout.take().unwrap();
    while !pid.ends_with('\n') {
        let mut byte = [0];
        assert_eq!(stdout.read(&mut byte).unwrap(), 1);
        pid.push(char::from(byte[0]));
    }
    let of_it = format!("/proc/{}", pid.trim());
    assert!(std::path::Path::new(&of_it).exists());
    child.kill().unwrap();
    child.wait().unwrap();
    host::eventually("the command to end", || {
        !std::path::Path::new(&of_it).exists()
    });
}

#[test]
fn keys_of_the_configuration_and_no_others() {
    let users = [("core", "id"), ("ann", "rsa"), ("eve", "ecdsa")];
    let host = Host::start(&users, "skeg:x:64900:ann\n");
    ok(&host.ssh_with("rsa", "ann", &["ps"]).output().unwrap());
    // She is no member: she may look, and no more.
    ok(&host.ssh_with("ecdsa", "eve", &["status"]).output().unwrap());
    let output = host.ssh_with("ecdsa", "eve", &["ps"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("may only look"));
    for (key, user) in [
        ("ecdsa", "core"),
        ("id", "root"),
        ("id", "nobody"),
        ("other", "core"),
    ] {
        let output = host.ssh_with(key, user, &["status"]).output().unwrap();
        assert_eq!(output.status.code(), Some(255), "{key} as {user}");
        assert!(text(&output.stderr).contains("Permission denied (publickey)"));
    }
}

#[test]
fn sftp_is_refused_by_name() {
    let host = Host::start(&[("core", "id")], "");
    let mut sftp = std::process::Command::new("sftp");
    let output = sftp
        .args(host.options("id"))
        .arg("core@127.0.0.1")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(said.contains("there is no file transfer here"), "{said}");
}

/// As the docker client does it; that client itself is in qemu-tests.
#[test]
fn docker_s_api_is_reached_and_its_end_is_handed_on() {
    let host = Host::start(&[("core", "id")], "");
    let _api = host.docker_api();
    let mut ssh = host.ssh("core", &["docker", "system", "dial-stdio"]);
    let mut child = ssh
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(b"GET /v1.47/containers/json HTTP/1.1\r\nHost: d\r\n\r\n")
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    ok(&output);
    let said = text(&output.stdout);
    assert!(
        said.starts_with("HTTP/1.1 200") && said.contains("a-container"),
        "{said}"
    );
}

#[test]
fn ports_lead_to_the_host_and_not_beyond() {
    let host = Host::start(&[("core", "id")], "");
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = service.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in service.incoming().flatten() {
            let _ = (&stream).write_all(b"hello from the host\n");
        }
    });
    let through = |to: String| {
        let output = host
            .ssh("core", &[])
            .args(["-W", &to])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(
        through(format!("127.0.0.1:{port}")).0,
        "hello from the host\n"
    );
    assert_eq!(
        through(format!("localhost:{port}")).0,
        "hello from the host\n"
    );
    for beyond in ["169.254.169.254:80", "192.0.2.1:80", "example.org:80"] {
        let (out, error) = through(beyond.to_owned());
        assert_eq!(out, "");
        assert!(
            error.contains("administratively prohibited"),
            "{beyond}: {error}"
        );
    }
}

#[test]
fn a_key_s_own_limits_hold() {
    let host = Host::start_with(&[("core", "id", r#"command="status",restrict"#)], "");
    let output = host.ssh("core", &["ps"]).output().unwrap();
    ok(&output);
    assert_eq!(text(&output.stdout), "skeg|status|\n");
    let output = host
        .ssh("core", &[])
        .args(["-W", "127.0.0.1:1"])
        .output()
        .unwrap();
    assert!(text(&output.stderr).contains("administratively prohibited"));
}

#[test]
fn the_host_keeps_its_key_and_one_without_users_listens_nowhere() {
    let mut host = Host::start(&[("core", "id")], "");
    let before = host.key();
    host.restart();
    assert_eq!(host.key(), before);
    let (status, said) = Host::without_keys();
    assert!(status.success(), "{said}");
    assert!(said.contains("nobody may log in"), "{said}");
}

#[test]
fn a_thousand_wrong_keys_are_throttled_while_memory_stays_and_others_get_in() {
    let host = Host::start(&[("core", "id")], "");
    ok(&host.ssh("core", &["status"]).output().unwrap());
    for _ in 0..6 {
        let output = host.ssh_from("127.0.0.2", "other").output().unwrap();
        assert_eq!(output.status.code(), Some(255));
    }
    // The daemon counts when a connection has ended, which its client need not wait for.
    host::eventually("the address to be shut out", || !host.greets("127.0.0.2"));
    let before = host.resident();
    let mut heard = 0;
    for _ in 0..1000 {
        heard += u32::from(host.greets("127.0.0.2"));
    }
    assert!(heard < 10, "{heard} of 1000 heard after six failures");
    let output = host.ssh_from("127.0.0.2", "id").output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(255),
        "shut out, whatever the key"
    );
    ok(&host.ssh_from("127.0.0.3", "id").output().unwrap());
    let grown = host.resident().saturating_sub(before);
    assert!(grown < 1024, "{grown} kB more after 1000 attempts");
    println!("resident before {before} kB, {grown} kB more after 1000 attempts");
}

#[test]
fn a_flood_of_half_connections_from_everywhere_keeps_nobody_out() {
    let host = Host::start(&[("core", "id")], "");
    ok(&host.ssh_from("127.0.0.3", "id").output().unwrap());
    let before = host.resident();
    let mut held: Vec<TcpStream> = Vec::new();
    for n in 0..1000u32 {
        held.extend(host.connect(&format!("127.0.{}.{}", 1 + n / 250, 1 + n % 250)));
        if n % 250 == 0 {
            ok(&host.ssh_from("127.0.0.3", "id").output().unwrap());
        }
    }
    ok(&host.ssh_from("127.0.0.3", "id").output().unwrap());
    let grown = host.resident().saturating_sub(before);
    assert!(grown < 4096, "{grown} kB more while 1000 said nothing");
    drop(held);
}

#[test]
fn garbage_before_the_login_ends_the_connection_and_nothing_else() {
    let host = Host::start(&[("core", "id")], "");
    ok(&host.ssh("core", &["status"]).output().unwrap());
    let mut seed = 7u64;
    for round in 0..40u32 {
        let from = format!("127.0.9.{}", 1 + round);
        let Some(mut stream) = host.connect(&from) else {
            continue;
        };
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut bytes = if round % 2 == 0 {
            b"SSH-2.0-x\r\n".to_vec()
        } else {
            Vec::new()
        };
        while bytes.len() < 100_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.extend((seed >> 16).to_be_bytes());
        }
        let _ = stream.write_all(&bytes);
        let begun = Instant::now();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(
            begun.elapsed() < Duration::from_secs(19),
            "round {round} was held"
        );
    }
    ok(&host.ssh("core", &["status"]).output().unwrap());
}
