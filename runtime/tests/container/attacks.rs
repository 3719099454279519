//! Breakouts of other runtimes, and what else a container may try; none of them may come anywhere.
//!
//! Each case is a real container; the attacker inside is in `attacker`.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::container::defaults::{Bind, Options, Seccomp};
use runtime::zygote::{Client, Error, ExecRequest, Rootfs};

use super::attacker::EXE_SCRIPT;
use super::cases::{cgroup2, volume};
use super::harness::{self, Case, Host, cases, shell};

cases![
    the_filter_alone_refuses_every_dangerous_call,
    no_file_is_opened_by_its_inode_number,
    a_second_chroot_leads_nowhere,
    an_abstract_socket_of_the_host_is_out_of_reach,
    nothing_but_the_three_streams_is_open,
    the_runtime_s_own_program_cannot_be_overwritten,
    hidden_paths_stay_hidden_by_any_other_way,
    links_in_the_image_s_dev_lead_nowhere,
    a_file_system_over_procfs_by_a_link_is_refused,
    a_set_user_id_program_gains_nothing,
    the_number_that_means_unchanged_is_no_user,
    a_volume_s_target_that_is_swapped_never_leads_out,
    an_exec_into_a_hostile_container_does_not_hang,
    an_exec_session_is_seen_in_the_container_only_without_rights,
    a_container_that_waits_holds_up_no_other,
    a_zygote_that_dies_takes_no_container_with_it,
    what_an_exec_starts_does_not_run_when_who_would_watch_it_has_died,
    a_cgroup_that_a_dead_engine_left_is_no_obstacle,
];

/// Options that run the attacker inside.
fn attacker(kind: &str) -> Options {
    let mut options = shell("");
    options.command = Some(vec!["/attacker".into(), "attack".into(), kind.into()]);
    with_attacker(options)
}

/// The test's own program and the libraries that it is linked to, as read-only volumes.
fn with_attacker(mut options: Options) -> Options {
    let own = std::env::current_exe().unwrap();
    let machine = format!("{}-linux-gnu", std::env::consts::ARCH);
    let libraries = format!("/usr/lib/{machine}");
    for (source, target) in [
        (own.to_str().unwrap(), "/attacker"),
        (&libraries, &libraries),
        (&libraries, &format!("/lib/{machine}")),
        ("/lib64", "/lib64"),
    ] {
        if Path::new(source).exists() {
            options.binds.push(Bind {
                source: source.into(),
                target: target.into(),
                read_only: true,
                options: Vec::new(),
            });
        }
    }
    options
}

async fn the_filter_alone_refuses_every_dangerous_call(host: Host) {
    let outcome = host.run(&attacker("calls")).await.unwrap();
    assert_eq!(outcome.out, "through: [] of 27\n", "{outcome:?}");
}

async fn no_file_is_opened_by_its_inode_number(host: Host) {
    for (place, seccomp) in [("a", Seccomp::Default), ("b", Seccomp::Unconfined)] {
        let mut options = attacker("handle");
        options.seccomp = seccomp;
        let outcome = host.below(place).run(&options).await.unwrap();
        assert!(outcome.out.contains("not permitted"), "{outcome:?}");
    }
}

async fn a_second_chroot_leads_nowhere(host: Host) {
    let outcome = host.run(&attacker("chroot")).await.unwrap();
    assert!(outcome.out.contains("attacker bin deeper"), "{outcome:?}");
    assert!(!outcome.out.contains("root"), "{outcome:?}");
}

async fn an_abstract_socket_of_the_host_is_out_of_reach(host: Host) {
    let address = SocketAddr::from_abstract_name(b"skeg-test-host").unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let outcome = host.run(&attacker("abstract")).await.unwrap();
    assert!(outcome.out.contains("refused"), "{outcome:?}");
}

async fn nothing_but_the_three_streams_is_open(host: Host) {
    let three = |said: &str| {
        let mut words = said.split_whitespace();
        let pipes = words.by_ref().take(3).enumerate();
        pipes
            .filter(|(i, word)| word.starts_with(&format!("{i}=pipe:")))
            .count()
            == 3
            && words.next().is_none()
    };
    let outcome = host.run(&attacker("descriptors")).await.unwrap();
    assert!(three(&outcome.out), "{outcome:?}");
    let host = host.below("exec");
    let (mut request, out) = running(&host, with_attacker(shell("sleep 100"))).await;
    let args = ["/attacker", "attack", "descriptors"].map(str::to_owned);
    request.process.set_args(Some(args.to_vec()));
    host.client.exec(request).await.unwrap().wait().await;
    let said = harness::read(out);
    assert!(three(&said), "{said}");
}

async fn the_runtime_s_own_program_cannot_be_overwritten(host: Host) {
    let root = host.root();
    let script = root.join(EXE_SCRIPT.trim_start_matches('/'));
    std::fs::write(&script, "#!/proc/self/exe\n").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let mut options = with_attacker(shell(""));
    options.command = Some(vec![EXE_SCRIPT.into()]);
    let outcome = host
        .run_on(&options, Rootfs::Directory(root))
        .await
        .unwrap();
    assert!(outcome.out.starts_with("refused"), "{outcome:?}");
}

async fn hidden_paths_stay_hidden_by_any_other_way(host: Host) {
    let command = "for way in /proc/1/root /proc/self/root /proc/self/task/*/root /proc/1/cwd; do
            cat $way/proc/kcore $way/proc/keys $way/proc/timer_list 2>/dev/null | head -c 9
            ls $way/sys/firmware
            echo x > $way/proc/sys/kernel/core_pattern && echo written
        done
        busybox umount /proc/keys && echo unmounted
        busybox mv /proc/keys /proc/k && echo moved
        busybox rm -f /dev/null && busybox ln -s /proc/sys/kernel/core_pattern /dev/null
        echo x > /dev/null && echo written";
    let outcome = host.run(&shell(command)).await.unwrap();
    assert_eq!(outcome.out, "", "{outcome:?}");
    assert!(
        outcome.err.matches("Read-only file system").count() >= 5,
        "{outcome:?}"
    );
}

/// CVE-2025-31133 and CVE-2025-52565: the image's own nodes stand where the runtime's will.
async fn links_in_the_image_s_dev_lead_nowhere(host: Host) {
    let root = host.root();
    std::fs::create_dir(root.join("dev")).unwrap();
    for (link, target) in [
        ("dev/null", "/proc/sys/kernel/core_pattern"),
        ("dev/console", "/proc/sysrq-trigger"),
        ("dev/pts", "/proc/sys"),
        ("dev/ptmx", "/proc/sys/kernel/core_pattern"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    let mut options = shell(
        "head -c 9 /proc/keys; stat -c %F /dev/console /dev/null /proc/keys; \
         echo x > /proc/sys/kernel/core_pattern && echo written; echo end",
    );
    options.terminal = true;
    let (request, ..) = host.request(&options, Rootfs::Directory(root));
    let mut created = host.client.create(request).await.unwrap();
    let terminal = created.terminal.take().unwrap();
    created.start().await.unwrap();
    let shown = harness::read_until(&terminal, "end\r");
    let devices = shown.matches("character special file").count();
    assert_eq!(devices, 3, "{shown}");
    assert!(!shown.contains("written"), "{shown}");
}

async fn a_file_system_over_procfs_by_a_link_is_refused(host: Host) {
    let root = host.root();
    symlink("/proc/sys", root.join("scratch")).unwrap();
    let mut options = shell("true");
    options.tmpfs = vec![("/scratch".into(), String::new())];
    let refused = host.run_on(&options, Rootfs::Directory(root)).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("procfs is refused"), "{error}");
}

async fn a_set_user_id_program_gains_nothing(host: Host) {
    let root = host.root();
    let program = root.join("bin/busybox");
    std::fs::set_permissions(program, PermissionsExt::from_mode(0o4755)).unwrap();
    let mut options = shell("grep -E 'Uid|CapEff' /proc/self/status");
    options.user = Some("33".into());
    let outcome = host
        .run_on(&options, Rootfs::Directory(root))
        .await
        .unwrap();
    let expected = "Uid:\t33\t33\t33\t33\nCapEff:\t0000000000000000\n";
    assert_eq!(outcome.out, expected, "{outcome:?}");
}

async fn the_number_that_means_unchanged_is_no_user(host: Host) {
    for (place, user) in [("a", "4294967295"), ("b", "33:4294967295")] {
        let mut options = shell("id");
        options.user = Some(user.into());
        let refused = host.below(place).run(&options).await;
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("nothing is changed"), "{error}");
    }
}

async fn a_volume_s_target_that_is_swapped_never_leads_out(host: Host) {
    let outside = host.directory.join("outside");
    std::fs::create_dir(&outside).unwrap();
    let shared = volume(host.directory.join("shared"), "/shared");
    let inner = volume(host.directory.join("inner"), "/shared/inner");
    let (end, place) = (Arc::new(AtomicBool::new(false)), shared.source.clone());
    let (ended, way_out) = (end.clone(), format!("../../../../..{}", outside.display()));
    let swapping = std::thread::spawn(move || {
        let target = place.join("inner");
        while !ended.load(Ordering::Relaxed) {
            let _ = std::fs::create_dir(&target);
            let _ = std::fs::rename(&target, place.join("aside"));
            let _ = symlink(&way_out, &target);
            let _ = std::fs::remove_file(&target);
            let _ = std::fs::remove_dir(place.join("aside"));
        }
    });
    let mut options = shell("touch /shared/inner/x");
    options.binds = vec![shared, inner];
    let root = host.root();
    let mut started = 0;
    for _ in 0..40 {
        let rootfs = Rootfs::Directory(root.clone());
        // Whether it starts is luck; where its volume is must not be.
        started += usize::from(host.run_on(&options, rootfs).await.is_ok());
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    }
    end.store(true, Ordering::Relaxed);
    swapping.join().unwrap();
    println!("{started} of 40 starts came through");
}

/// A running container, and a request to run `true` in it with its output.
/// A container that may trace its processes must not find one of the host's rights among them.
async fn an_exec_session_is_seen_in_the_container_only_without_rights(host: Host) {
    let mut options = attacker("watch");
    options.cap_add = vec!["SYS_PTRACE".into()];
    let root = host.root();
    let (request, out, _err) = host.request(&options, Rootfs::Directory(root.clone()));
    let spec = request.spec.clone();
    let created = host.client.create(request).await.unwrap();
    let pidfd = created.pidfd.try_clone().unwrap();
    created.start().await.unwrap();
    while !root.join("watching").exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..40 {
        let (other, ..) = host.request(&shell("true"), Rootfs::Directory("/".into()));
        let request = ExecRequest {
            id: "test".into(),
            pidfd: pidfd.try_clone().unwrap(),
            spec: spec.clone(),
            process: other.spec.process().clone().unwrap(),
            cgroup: None,
            stdio: other.stdio,
        };
        host.client.exec(request).await.unwrap().wait().await;
    }
    std::fs::write(root.join("stop"), "").unwrap();
    let said = harness::read(out);
    assert_eq!(said, "seen: some; stronger: {}\n");
}

async fn running(host: &Host, options: Options) -> (ExecRequest, std::os::fd::OwnedFd) {
    let root = host.root();
    let (request, ..) = host.request(&options, Rootfs::Directory(root));
    let spec = request.spec.clone();
    let created = host.client.create(request).await.unwrap();
    let pidfd = created.pidfd.try_clone().unwrap();
    created.start().await.unwrap();
    let (other, out, _) = host.request(&shell("true"), Rootfs::Directory("/".into()));
    let request = ExecRequest {
        id: "test".into(),
        pidfd,
        spec,
        process: other.spec.process().clone().unwrap(),
        cgroup: None,
        stdio: other.stdio,
    };
    (request, out)
}

async fn an_exec_into_a_hostile_container_does_not_hang(host: Host) {
    let traps = [
        (
            "fifo",
            "rm /etc/passwd; mkfifo /etc/passwd",
            "no regular file",
        ),
        ("cwd", "ln -s /proc/self/fd/3 /work", "/work"),
        ("program", "mkfifo /bin/fifo", "/bin/fifo"),
        ("user", "echo u:x:4294967295:0::/: > /etc/passwd", "u"),
    ];
    for (place, trap, told) in traps {
        let host = host.below(place);
        let trap = format!(
            "for a in rm mkfifo ln; do busybox ln -s busybox /bin/$a; done; {trap}; touch /set; sleep 100"
        );
        let (mut request, _out) = running(&host, shell(&trap)).await;
        for _ in 0..1000 {
            if host.directory.join("root/set").exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        match place {
            "cwd" => drop(request.process.set_cwd("/work".into())),
            "program" => drop(request.process.set_args(Some(vec!["/bin/fifo".into()]))),
            "user" => {
                let mut user = request.process.user().clone();
                user.set_username(Some("u".into()));
                request.process.set_user(user);
            }
            _ => {}
        }
        let exec = host.client.exec(request);
        let ended = tokio::time::timeout(Duration::from_secs(5), exec).await;
        let ended = ended.unwrap_or_else(|_| panic!("{place}: it hangs"));
        let error = ended.map(|_| place).unwrap_err().to_string();
        assert!(error.contains(told), "{place}: {error}");
    }
}

async fn a_container_that_waits_holds_up_no_other(host: Host) {
    let waiting = host.below("waiting").create(&shell("exit 4")).await;
    let waiting = waiting.unwrap();
    let pidfd = waiting.pidfd.try_clone().unwrap();
    let outcome = host.below("other").run(&shell("exit 3")).await.unwrap();
    assert_eq!(outcome.code, 3);
    waiting.start().await.unwrap();
    assert_eq!(harness::wait(&pidfd), 4);
}

/// A zygote that may die, and does so where the file `crash-at` says.
fn with_own_zygote(host: &Host) -> (Host, std::process::Child) {
    let socket = host.directory.join("own.sock");
    let zygote = Command::new("/proc/self/exe")
        .args([super::ZYGOTE.as_ref(), socket.as_os_str()])
        .env("SKEG_CRASH_AT", host.directory.join("crash-at"))
        .spawn()
        .unwrap();
    while std::os::unix::net::UnixStream::connect(&socket)
        .is_err_and(|e| e.raw_os_error() == Some(2))
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    let own = Host {
        client: Client::new(&socket),
        ..host.clone()
    };
    (own, zygote)
}

async fn what_an_exec_starts_does_not_run_when_who_would_watch_it_has_died(host: Host) {
    let (own, mut zygote) = with_own_zygote(&host);
    let command = "echo ran";
    let (request, streams) = super::cases::running(&own, &Options::default(), command).await;
    let order = host.directory.join("crash-at");
    std::fs::write(&order, "joined").unwrap();
    let refused = own.client.exec(request).await;
    assert!(matches!(refused, Err(Error::Zygote { .. })), "{refused:?}");
    assert!(!order.exists(), "nobody died");
    // Its end is that of everybody who could have written.
    assert_eq!(harness::read(streams.out), "");
    zygote.kill().unwrap();
    zygote.wait().unwrap();
}

async fn a_zygote_that_dies_takes_no_container_with_it(host: Host) {
    let (own, mut zygote) = with_own_zygote(&host);
    let waiting = own.below("waiting").create(&shell("exit 4")).await.unwrap();
    let given_up = own
        .below("given-up")
        .create(&shell("exit 5"))
        .await
        .unwrap();
    zygote.kill().unwrap();
    zygote.wait().unwrap();
    let (late, options) = (own.below("late"), shell("true"));
    let late = tokio::time::timeout(Duration::from_secs(5), late.run(&options));
    let refused = late.await.expect("waits for a zygote that is dead");
    assert!(matches!(refused, Err(Error::Zygote { .. })), "{refused:?}");
    let pidfds = [&waiting, &given_up].map(|one| one.pidfd.try_clone().unwrap());
    waiting.start().await.unwrap();
    given_up.cancel().await;
    assert_eq!(pidfds.map(|pidfd| harness::wait(&pidfd)), [4, 0]);
}

async fn a_cgroup_that_a_dead_engine_left_is_no_obstacle(host: Host) {
    let Some(placement) = cgroup2(&host) else {
        return;
    };
    let left = placement.mount.join(&placement.path);
    std::fs::create_dir_all(left.join("below")).unwrap();
    let root = host.root();
    let request = |command| {
        let rootfs = Rootfs::Directory(root.clone());
        let (mut request, ..) = host.request(&shell(command), rootfs);
        request.cgroup = Some(placement.clone());
        request
    };
    let created = host.client.create(request("sleep 100")).await.unwrap();
    assert!(!left.join("below").exists());
    // With somebody in it, it is another's.
    let refused = host.client.create(request("true")).await;
    assert!(matches!(refused, Err(Error::Cgroup { .. })), "{refused:?}");
    created.cancel().await;
    assert!(!left.exists());
}
