//! The promises that a container keeps, each shown by a program inside it.
//!
//! A flat table: no case depends on another.

use std::path::PathBuf;

use runtime::container::cgroup::Placement;
use runtime::container::defaults::{Bind, Limits, Namespace, Options, Seccomp};
use runtime::zygote::{ExecRequest, ExecStatus, Rootfs};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::harness::{self, Case, Host, cases, read_until, shell};

cases![
    capabilities_no_new_privs_and_seccomp_are_docker_s,
    the_host_s_processes_are_out_of_sight,
    kernel_interfaces_are_masked_or_read_only,
    exit_codes_and_signals_arrive,
    output_and_error_are_apart,
    an_unstarted_container_exits_when_its_engine_goes,
    a_missing_command_is_named,
    a_command_that_may_not_be_run_is_named,
    a_bad_working_directory_is_named,
    a_working_directory_through_procfs_is_refused,
    a_missing_volume_is_named,
    a_symlink_in_the_image_keeps_a_volume_inside_the_root,
    a_volume_over_procfs_is_refused,
    a_link_in_place_of_proc_is_refused,
    dangerous_system_calls_are_refused,
    an_overlay_keeps_its_layers_as_they_are,
    a_read_only_root_has_writable_volumes,
    a_read_only_volume_is_read_only_below_too,
    users_are_looked_up_in_the_image,
    a_user_can_open_its_standard_error_by_name,
    environment_host_name_and_limits_are_set,
    descriptors_of_the_engine_do_not_leak,
    nothing_of_the_host_s_mounts_is_left,
    a_sysctl_of_the_host_is_refused,
    a_terminal_is_the_console_and_controls,
    an_exec_joins_the_container,
    a_running_container_s_network_is_opened_for_the_engine,
    an_exec_of_a_missing_command_is_named,
    an_exec_on_a_terminal_works,
    devices_are_refused_without_a_cgroup,
    a_cgroup_holds_kills_and_filters,
    limits_hold,
    a_failed_start_leaves_no_cgroup,
    many_starts_leave_no_descriptor_behind,
];

async fn capabilities_no_new_privs_and_seccomp_are_docker_s(host: Host) {
    let options = Options {
        command: Some(vec!["cat".into(), "/proc/self/status".into()]),
        ..shell("")
    };
    let outcome = host.run(&options).await.unwrap();
    for line in [
        "CapInh:\t0000000000000000",
        "CapPrm:\t00000000a00425fb",
        "CapEff:\t00000000a00425fb",
        "CapBnd:\t00000000a00425fb",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "Uid:\t0\t0\t0\t0",
        "SigIgn:\t0000000000000000",
        "SigBlk:\t0000000000000000",
    ] {
        assert!(outcome.out.contains(line), "{line} in {}", outcome.out);
    }
}

async fn the_host_s_processes_are_out_of_sight(host: Host) {
    let outcome = host
        .run(&shell("echo $$; ls -d /proc/[0-9]*"))
        .await
        .unwrap();
    assert_eq!(outcome.out.lines().next(), Some("1"), "{outcome:?}");
    // The shell, which has become ls.
    assert_eq!(outcome.out.lines().count(), 2, "{outcome:?}");
}

async fn kernel_interfaces_are_masked_or_read_only(host: Host) {
    let command = "cat /proc/kcore | wc -c; cat /proc/keys /proc/timer_list; ls /sys/firmware
        touch /sys/x; echo 1 > /proc/sys/kernel/panic; echo b > /proc/sysrq-trigger
        touch /sys/firmware/x; grep -c '^kcore' /proc/mounts";
    let outcome = host.run(&shell(command)).await.unwrap();
    assert!(outcome.out.starts_with("0\n"), "{outcome:?}");
    // Not every kernel has a sysrq trigger.
    let trigger = std::path::Path::new("/proc/sysrq-trigger").exists();
    let refused = outcome.err.matches("Read-only file system").count();
    assert_eq!(refused, 3 + usize::from(trigger), "{outcome:?}");
}

async fn exit_codes_and_signals_arrive(host: Host) {
    assert_eq!(host.run(&shell("exit 7")).await.unwrap().code, 7);
    let mut created = host.directory.clone();
    created.push("killed");
    std::fs::create_dir(&created).unwrap();
    let host = Host {
        directory: created,
        ..host
    };
    let container = host.create(&shell("sleep 100")).await.unwrap();
    let pidfd = container.pidfd.try_clone().unwrap();
    container.start().await.unwrap();
    rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL).unwrap();
    assert_eq!(harness::wait(&pidfd), 137);
}

async fn output_and_error_are_apart(host: Host) {
    let outcome = host.run(&shell("echo out; echo err >&2")).await.unwrap();
    assert_eq!(
        (outcome.out.as_str(), outcome.err.as_str()),
        ("out\n", "err\n")
    );
}

async fn an_unstarted_container_exits_when_its_engine_goes(host: Host) {
    let options = shell("touch /started");
    let created = host.create(&options).await.unwrap();
    let pidfd = created.pidfd.try_clone().unwrap();
    drop(created);
    assert_eq!(harness::wait(&pidfd), 0);
    assert!(!host.directory.join("root/started").exists());
}

async fn a_missing_command_is_named(host: Host) {
    let options = Options {
        command: Some(vec!["no-such-program".into()]),
        ..shell("")
    };
    let error = host.run(&options).await.unwrap_err().to_string();
    assert!(
        error.contains("no-such-program: not found in PATH="),
        "{error}"
    );
}

async fn a_command_that_may_not_be_run_is_named(host: Host) {
    let options = Options {
        command: Some(vec!["/etc/passwd".into()]),
        ..shell("")
    };
    let error = host.run(&options).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "container test: execve /etc/passwd: permission denied"
    );
}

async fn a_bad_working_directory_is_named(host: Host) {
    let options = Options {
        working_dir: Some("/etc/passwd".into()),
        ..shell("pwd")
    };
    let error = host.run(&options).await.unwrap_err().to_string();
    assert!(error.contains("/etc/passwd: not a directory"), "{error}");
}

async fn a_working_directory_through_procfs_is_refused(host: Host) {
    for number in [0, 3, 7, 8, 10] {
        let place = host.directory.join(number.to_string());
        std::fs::create_dir(&place).unwrap();
        let host = Host {
            directory: place,
            ..host.clone()
        };
        let options = Options {
            working_dir: Some(format!("/proc/self/fd/{number}").into()),
            ..shell("pwd")
        };
        let error = host.run(&options).await.unwrap_err().to_string();
        assert!(error.contains("/proc/self/fd"), "{error}");
    }
}

pub fn volume(source: PathBuf, target: &str) -> Bind {
    std::fs::create_dir_all(&source).unwrap();
    Bind {
        source,
        target: target.into(),
        read_only: false,
        options: Vec::new(),
    }
}

async fn a_missing_volume_is_named(host: Host) {
    let options = Options {
        binds: vec![Bind {
            source: "/nowhere/at/all".into(),
            target: "/data".into(),
            read_only: false,
            options: Vec::new(),
        }],
        ..shell("true")
    };
    let error = host.run(&options).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "container test: open_tree /nowhere/at/all: no such file or directory"
    );
}

async fn a_symlink_in_the_image_keeps_a_volume_inside_the_root(host: Host) {
    let outside = host.directory.join("outside");
    std::fs::create_dir(&outside).unwrap();
    let root = host.root();
    let escape = format!("../../../../../../..{}", outside.display());
    std::os::unix::fs::symlink(&escape, root.join("data")).unwrap();
    let source = host.directory.join("volume");
    let options = Options {
        binds: vec![volume(source.clone(), "/data/deep")],
        ..shell("touch /data/deep/here; ls /data")
    };
    let outcome = host
        .run_on(&options, Rootfs::Directory(root))
        .await
        .unwrap();
    assert_eq!(outcome.out, "deep\n", "{outcome:?}");
    assert!(source.join("here").exists());
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

async fn a_volume_over_procfs_is_refused(host: Host) {
    let options = Options {
        binds: vec![volume(host.directory.join("volume"), "/proc/self/attr")],
        ..shell("true")
    };
    let error = host.run(&options).await.unwrap_err().to_string();
    assert!(error.contains("procfs is refused"), "{error}");
}

async fn a_link_in_place_of_proc_is_refused(host: Host) {
    let root = host.root();
    std::fs::create_dir(root.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", root.join("proc")).unwrap();
    let outcome = host.run_on(&shell("true"), Rootfs::Directory(root)).await;
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("/proc: is a symlink"), "{error}");
}

async fn dangerous_system_calls_are_refused(host: Host) {
    // With every capability but the right to make devices, only the filter is left to refuse.
    let options = Options {
        cap_add: vec!["SYS_CHROOT".into()],
        ..shell(
            "mount -t tmpfs t /tmp || mount -t tmpfs t /etc; busybox unshare -m true; \
             busybox chroot / /bin/true && echo chroot",
        )
    };
    let outcome = host.run(&options).await.unwrap();
    assert!(outcome.err.contains("mount"), "{outcome:?}");
    assert!(outcome.err.contains("unshare"), "{outcome:?}");
    assert!(outcome.err.contains("not permitted"), "{outcome:?}");
    assert_eq!(outcome.out, "chroot\n", "{outcome:?}");
}

async fn an_overlay_keeps_its_layers_as_they_are(host: Host) {
    let base = host.root();
    let layer = |name: &str| {
        let path = host.directory.join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let (top, upper, work, at) = (layer("top"), layer("upper"), layer("work"), layer("at"));
    std::fs::create_dir(top.join("etc")).unwrap();
    std::fs::write(top.join("etc/passwd"), "from the top layer").unwrap();
    let rootfs = Rootfs::Overlay {
        lower: vec![top.clone(), base.clone()],
        upper: upper.clone(),
        work,
        at: at.clone(),
    };
    let command = "cat /etc/passwd; echo changed > /etc/passwd; touch /new";
    let options = Options {
        user: Some("0".into()),
        ..shell(command)
    };
    let outcome = host.run_on(&options, rootfs).await.unwrap();
    assert_eq!(outcome.out, "from the top layer", "{outcome:?}");
    let now = std::fs::read_to_string(top.join("etc/passwd")).unwrap();
    assert_eq!(now, "from the top layer");
    assert!(upper.join("new").exists());
    assert_eq!(std::fs::read_dir(&at).unwrap().count(), 0, "mounted here");
}

async fn a_read_only_root_has_writable_volumes(host: Host) {
    let options = Options {
        read_only: true,
        binds: vec![volume(host.directory.join("volume"), "/data")],
        tmpfs: vec![("/scratch".into(), "size=1m".into())],
        ..shell("touch /data/x /scratch/y && touch /z")
    };
    let outcome = host.run(&options).await.unwrap();
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert_eq!(outcome.err, "touch: /z: Read-only file system\n");
}

async fn a_read_only_volume_is_read_only_below_too(host: Host) {
    let source = host.directory.join("volume");
    std::fs::create_dir_all(source.join("below")).unwrap();
    harness::mount("tmpfs", &source.join("below")).unwrap();
    let mut volume = volume(source, "/data");
    volume.read_only = true;
    let options = Options {
        binds: vec![volume],
        ..shell("touch /data/x /data/below/y")
    };
    let outcome = host.run(&options).await.unwrap();
    assert_eq!(outcome.err.matches("Read-only").count(), 2, "{outcome:?}");
}

async fn users_are_looked_up_in_the_image(host: Host) {
    let options = Options {
        user: Some("www".into()),
        ..shell("id; echo $HOME; grep CapEff /proc/self/status")
    };
    let outcome = host.run(&options).await.unwrap();
    assert!(
        outcome
            .out
            .contains("uid=33(www) gid=34(www) groups=4(log)"),
        "{outcome:?}"
    );
    assert!(outcome.out.contains("/srv\n"), "{outcome:?}");
    assert!(
        outcome.out.contains("CapEff:\t0000000000000000"),
        "{outcome:?}"
    );
}

async fn a_user_can_open_its_standard_error_by_name(host: Host) {
    let options = Options {
        user: Some("33".into()),
        ..shell("echo told > /dev/stderr")
    };
    let outcome = host.run(&options).await.unwrap();
    assert_eq!(outcome.err, "told\n");
}

async fn environment_host_name_and_limits_are_set(host: Host) {
    let options = Options {
        hostname: Some("web-1".into()),
        env: vec!["GREETING=good day".into()],
        working_dir: Some("/made/for/this".into()),
        ..shell("hostname; echo $GREETING; pwd; ulimit -n; ulimit -Hn; umask")
    };
    let outcome = host.run(&options).await.unwrap();
    let expected = "web-1\ngood day\n/made/for/this\n512\n1024\n0022\n";
    assert_eq!(outcome.out, expected, "{outcome:?}");
}

async fn descriptors_of_the_engine_do_not_leak(host: Host) {
    let outcome = host.run(&shell("ls /proc/1/fd; true")).await.unwrap();
    assert_eq!(outcome.out, "0\n1\n2\n", "{outcome:?}");
}

async fn nothing_of_the_host_s_mounts_is_left(host: Host) {
    let outcome = host.run(&shell("cat /proc/self/mountinfo")).await.unwrap();
    let targets: Vec<&str> = outcome
        .out
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .collect();
    let foreign = targets.iter().find(|target| {
        !["/", "/proc", "/dev", "/sys"]
            .iter()
            .any(|own| *target == own || target.starts_with(&format!("{own}/")) && *own != "/")
    });
    assert_eq!(foreign, None, "{}", outcome.out);
    assert!(targets.contains(&"/dev/pts") && targets.contains(&"/dev/mqueue"));
}

async fn a_sysctl_of_the_host_is_refused(host: Host) {
    let mut options = shell("cat /proc/sys/net/ipv4/ip_default_ttl");
    let key = "net.ipv4.ip_default_ttl".to_owned();
    options.sysctls.insert(key.clone(), "65".into());
    let outcome = host.run(&options).await.unwrap();
    assert_eq!(outcome.out, "65\n");
    options.network = Namespace::Host;
    let (request, ..) = host.request(&options, Rootfs::Directory("/".into()));
    let error = host.client.create(request).await.unwrap_err().to_string();
    assert!(error.contains(&key), "{error}");
    options.sysctls = [("kernel.panic".to_owned(), "1".to_owned())].into();
    let (request, ..) = host.request(&options, Rootfs::Directory("/".into()));
    let error = host.client.create(request).await.unwrap_err().to_string();
    assert!(error.contains("kernel.panic"), "{error}");
}

async fn a_terminal_is_the_console_and_controls(host: Host) {
    let options = Options {
        terminal: true,
        user: Some("33".into()),
        ..shell(
            "trap 'exit 42' INT; tty; echo con > /dev/console; echo sole; while :; do sleep 1; done",
        )
    };
    let mut created = host.create(&options).await.unwrap();
    let pidfd = created.pidfd.try_clone().unwrap();
    let terminal = created.terminal.take().unwrap();
    created.start().await.unwrap();
    let shown = read_until(&terminal, "sole\r");
    assert!(shown.starts_with("/dev/pts/0"), "{shown}");
    rustix::io::write(&terminal, b"\x03").unwrap();
    assert!(shown.contains("con\r\n"), "{shown}");
    assert_eq!(harness::wait(&pidfd), 42, "Ctrl-C");
}

/// A running container and the request for a process in it.
pub async fn running(host: &Host, options: &Options, command: &str) -> (ExecRequest, Streams) {
    let root = host.root();
    let (request, ..) = host.request(&shell("sleep 100"), Rootfs::Directory(root));
    let spec = request.spec.clone();
    let created = host.client.create(request).await.unwrap();
    let pidfd = created.pidfd.try_clone().unwrap();
    created.start().await.unwrap();
    let options = Options {
        terminal: options.terminal,
        user: options.user.clone(),
        ..shell(command)
    };
    let (other, out, err) = host.request(&options, Rootfs::Directory("/".into()));
    let request = ExecRequest {
        id: "test".into(),
        pidfd,
        spec,
        process: other.spec.process().clone().unwrap(),
        cgroup: None,
        stdio: other.stdio,
    };
    (request, Streams { out, err })
}

pub struct Streams {
    pub out: std::os::fd::OwnedFd,
    pub err: std::os::fd::OwnedFd,
}

async fn an_exec_joins_the_container(host: Host) {
    let command = "cat /proc/1/cmdline; ls -d /proc/[0-9]* | wc -l; id -un; ls /proc/self/fd
        grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; echo gone >&2; exit 9";
    let options = Options {
        user: Some("www".into()),
        ..Options::default()
    };
    let (request, streams) = running(&host, &options, command).await;
    let mut session = host.client.exec(request).await.unwrap();
    assert_eq!(session.wait().await, Some(ExecStatus::Exited(9)));
    assert_eq!(session.wait().await, Some(ExecStatus::Exited(9)), "again");
    let (out, err) = (harness::read(streams.out), harness::read(streams.err));
    assert!(out.contains("sleep"), "{out}");
    for line in [
        "www",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "CapEff:\t0000000000000000",
    ] {
        assert!(out.contains(line), "{line} in {out}");
    }
    assert_eq!(err, "gone\n");
}

async fn a_running_container_s_network_is_opened_for_the_engine(host: Host) {
    let command = "stat -L -c %i /proc/self/ns/net";
    let (request, streams) = running(&host, &Options::default(), command).await;
    let pidfd = request.pidfd.try_clone().unwrap();
    let netns = host.client.network(&request.id, pidfd).await.unwrap();
    let found = rustix::fs::fstat(&netns).unwrap().st_ino;
    let mut session = host.client.exec(request).await.unwrap();
    assert_eq!(session.wait().await, Some(ExecStatus::Exited(0)));
    assert_eq!(harness::read(streams.out), format!("{found}\n"));
    let own = std::fs::metadata("/proc/self/ns/net").unwrap();
    assert_ne!(std::os::unix::fs::MetadataExt::ino(&own), found);
}

async fn an_exec_of_a_missing_command_is_named(host: Host) {
    let (mut request, _streams) = running(&host, &Options::default(), "").await;
    let args = Some(vec!["no-such-program".to_owned()]);
    request.process.set_args(args);
    let error = host.client.exec(request).await.unwrap_err().to_string();
    assert!(
        error.contains("no-such-program: not found in PATH="),
        "{error}"
    );
}

async fn an_exec_on_a_terminal_works(host: Host) {
    let options = Options {
        terminal: true,
        ..Options::default()
    };
    let (request, _streams) = running(&host, &options, "tty; echo done; kill -9 $$").await;
    let mut session = host.client.exec(request).await.unwrap();
    let shown = read_until(session.terminal.as_ref().unwrap(), "done");
    assert!(shown.contains("/dev/pts/0"), "{shown}");
    assert_eq!(session.wait().await, Some(ExecStatus::Signaled(9)));
}

async fn devices_are_refused_without_a_cgroup(host: Host) {
    let options = Options {
        cap_drop: Vec::new(),
        ..shell("true")
    };
    let error = host.run(&options).await.unwrap_err().to_string();
    assert!(error.contains("CAP_MKNOD"), "{error}");
}

async fn a_cgroup_holds_kills_and_filters(host: Host) {
    let Some(placement) = cgroup2(&host) else {
        return;
    };
    let options = Options {
        cap_drop: Vec::new(),
        seccomp: Seccomp::Default,
        ..shell(
            "cat /proc/self/cgroup; cat /dev/zero | head -c 1 | wc -c; \
             mknod /disk b 7 0 && echo made; cat /disk; echo end; exec sleep 100",
        )
    };
    let root = host.root();
    let (mut request, out, err) = host.request(&options, Rootfs::Directory(root));
    request.cgroup = Some(placement.clone());
    let spec = request.spec.clone();
    let created = host.client.create(request).await.unwrap();
    let (pid, pidfd) = (created.pid, created.pidfd.try_clone().unwrap());
    let cgroup = created.start().await.unwrap().unwrap();
    assert_eq!(cgroup.processes().unwrap().first(), Some(&pid));
    let shown = read_until(&out, "end");
    assert!(shown.contains("0::/\n"), "its own root: {shown}");
    assert!(shown.contains("1\nmade\n"), "{shown}");
    let (other, exec_out, _err) = host.request(
        &shell("cat /proc/self/cgroup"),
        Rootfs::Directory("/".into()),
    );
    let exec = ExecRequest {
        id: "test".into(),
        pidfd: pidfd.try_clone().unwrap(),
        spec,
        process: other.spec.process().clone().unwrap(),
        cgroup: Some(cgroup.path().into()),
        stdio: other.stdio,
    };
    let mut session = host.client.exec(exec).await.unwrap();
    assert_eq!(session.wait().await, Some(ExecStatus::Exited(0)));
    assert!(
        harness::read(exec_out).contains("0::/\n"),
        "exec in the same cgroup"
    );
    cgroup.freeze(true).await.unwrap();
    cgroup.freeze(false).await.unwrap();
    cgroup.kill().unwrap();
    assert_eq!(harness::wait(&pidfd), 137);
    assert!(
        harness::read(err).contains("not permitted"),
        "a disk was read"
    );
    cgroup.remove().await.unwrap();
    assert!(!placement.mount.join(&placement.path).exists());
}

async fn limits_hold(host: Host) {
    let Some(placement) = cgroup2(&host) else {
        return;
    };
    let on = placement.mount.join("cgroup.subtree_control");
    let on = std::fs::read_to_string(on).unwrap();
    if !(on.contains("memory") && on.contains("pids") && on.contains("cpu")) {
        println!("skipped: no controllers here: {on:?}");
        return;
    }
    let mut options = shell("dd if=/dev/zero of=/dev/null bs=100M count=1; echo $?; (true)");
    options.limits = Limits {
        memory: Some(32 << 20),
        memory_swap: Some(32 << 20),
        pids: Some(2),
        nano_cpus: Some(500_000_000),
        cpu_shares: Some(512),
        ..Limits::default()
    };
    let root = host.root();
    let (mut request, out, _err) = host.request(&options, Rootfs::Directory(root));
    request.cgroup = Some(placement);
    let created = host.client.create(request).await.unwrap();
    let pidfd = created.pidfd.try_clone().unwrap();
    let cgroup = created.start().await.unwrap().unwrap();
    harness::wait(&pidfd);
    assert_eq!(harness::read(out), "137\n", "killed for its memory");
    let usage = cgroup.usage().unwrap();
    assert_eq!((usage.oom_kills, usage.memory_max), (1, Some(32 << 20)));
    let file = |name: &str| std::fs::read_to_string(cgroup.path().join(name)).unwrap();
    assert_eq!(file("pids.max"), "2\n");
    assert_eq!(file("cpu.max"), "50000 100000\n");
    assert_eq!(file("memory.swap.max"), "0\n");
    cgroup.remove().await.unwrap();
}

/// A cgroup2 mount of the test's own, with its cgroup; `None`, said aloud, where there can be none.
pub fn cgroup2(host: &Host) -> Option<Placement> {
    let mount = host.directory.join("cgroup");
    std::fs::create_dir(&mount).unwrap();
    if let Err(error) = harness::mount("cgroup2", &mount) {
        println!("skipped: this machine mounts no cgroup2: {error}");
        return None;
    }
    let path = format!(
        "skeg-test-{}-{}",
        std::process::id(),
        host.directory.display()
    );
    let path = path.replace('/', "-");
    Some(Placement {
        mount,
        path: path.into(),
    })
}

async fn a_failed_start_leaves_no_cgroup(host: Host) {
    let Some(placement) = cgroup2(&host) else {
        return;
    };
    let options = Options {
        command: Some(vec!["no-such-program".into()]),
        ..shell("")
    };
    let root = host.root();
    let (mut request, ..) = host.request(&options, Rootfs::Directory(root.clone()));
    request.cgroup = Some(placement.clone());
    host.client.create(request).await.unwrap_err();
    let path = placement.mount.join(&placement.path);
    assert!(!path.exists());
    let (mut request, ..) = host.request(&shell("true"), Rootfs::Directory(root));
    request.cgroup = Some(placement);
    let created = host.client.create(request).await.unwrap();
    assert!(path.exists());
    created.cancel().await;
    assert!(!path.exists());
}

async fn many_starts_leave_no_descriptor_behind(host: Host) {
    while let Ok(Some(_)) = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {}
    let root = host.root();
    let count = || std::fs::read_dir("/proc/2/fd").unwrap().count();
    // One start first: then the zygote is surely past its own.
    let first = Rootfs::Directory(root.clone());
    host.run_on(&shell("true"), first).await.unwrap();
    let before = count();
    let began = std::time::Instant::now();
    for _ in 0..20 {
        let rootfs = Rootfs::Directory(root.clone());
        assert_eq!(host.run_on(&shell("exit 3"), rootfs).await.unwrap().code, 3);
    }
    println!("create to exit: {:?}", began.elapsed() / 20);
    assert_eq!(count(), before, "the zygote's descriptors");
    let left = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    assert!(matches!(left, Ok(None)), "{left:?}");
}
