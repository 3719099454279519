//! Calls of the client, one a line, run in their order on one machine.
//!
//! `@` stands for the image. A word in single quotes may have spaces.

use anyhow::Result;
use qemu_tests::fixtures::docker::Docker;

/// What a call must come to: its words, its exit status, and what its output has in it.
struct Call(&'static str, i32, &'static [&'static str]);

/// A text that is the whole output begins with `=`; one that must not be in it with `!`.
const CALLS: &[Call] = &[
    Call(
        "version --format '{{.Server.Os}} {{.Server.APIVersion}}'",
        0,
        &["=linux 1.47"],
    ),
    Call(
        "info --format '{{.OSType}} {{.CgroupVersion}}'",
        0,
        &["=linux 2"],
    ),
    Call("ps", 0, &["CONTAINER ID"]),
    Call(
        "run --rm no-such.invalid/image true",
        125,
        &["Unable to find image"],
    ),
    Call("pull -q @", 0, &["tools"]),
    Call("run --rm @ true", 0, &["="]),
    Call("run --rm @ false", 1, &["="]),
    Call("run --rm @ sh -c 'exit 42'", 42, &[]),
    Call("run --rm @ echo hello", 0, &["=hello"]),
    Call("run --rm @ no-such-program", 127, &["no-such-program"]),
    Call("run --rm @ /etc", 126, &[]),
    Call("run --rm -e A=b -e C=d @ sh -c 'echo $A$C'", 0, &["=bd"]),
    Call("run --rm -w /data @ pwd", 0, &["=/data"]),
    Call("run --rm -u 65534 @ id -u", 0, &["=65534"]),
    Call("run --rm -u nobody @ id -un", 0, &["=nobody"]),
    Call("run --rm --group-add 7 @ id -G", 0, &["7"]),
    Call("run --rm -h harbour @ hostname", 0, &["=harbour"]),
    Call(
        "run --rm --entrypoint echo @ first second",
        0,
        &["=first second"],
    ),
    Call("run --rm --read-only @ touch /x", 1, &["Read-only"]),
    Call("run --rm --tmpfs /t:size=1m @ df -k /t", 0, &["1024"]),
    Call("run --rm --shm-size 8m @ df -k /dev/shm", 0, &["8192"]),
    Call(
        "run --rm --memory 32m @ cat /sys/fs/cgroup/memory.max",
        0,
        &["=33554432"],
    ),
    Call(
        "run --rm --cpus 0.5 @ cat /sys/fs/cgroup/cpu.max",
        0,
        &["=50000 100000"],
    ),
    Call(
        "run --rm --pids-limit 50 @ cat /sys/fs/cgroup/pids.max",
        0,
        &["=50"],
    ),
    Call(
        "run --rm --ulimit nofile=33:44 @ sh -c 'ulimit -Sn; ulimit -Hn'",
        0,
        &["=33\n44"],
    ),
    Call(
        "run --rm --cap-drop ALL @ grep CapEff /proc/self/status",
        0,
        &["0000000000000000"],
    ),
    Call(
        "run --rm --cap-add NET_ADMIN @ ip link set lo mtu 1400",
        0,
        &[],
    ),
    Call("run --rm @ ip link set lo mtu 1400", 2, &[]),
    Call(
        "run --rm --security-opt no-new-privileges @ grep NoNewPrivs /proc/self/status",
        0,
        &["1"],
    ),
    Call(
        "run --rm --sysctl net.core.somaxconn=99 @ cat /proc/sys/net/core/somaxconn",
        0,
        &["=99"],
    ),
    Call(
        "run --rm --add-host db:10.9.8.7 @ cat /etc/hosts",
        0,
        &["10.9.8.7\tdb"],
    ),
    Call(
        "run --rm --dns 9.9.9.9 @ cat /etc/resolv.conf",
        0,
        &["nameserver 9.9.9.9"],
    ),
    Call("run --rm --network none @ ip -o link", 0, &["lo", "!eth0"]),
    Call(
        "run --rm --network host @ cat /proc/net/route",
        0,
        &["eth0"],
    ),
    Call(
        "run --rm -v keep:/data @ sh -c 'echo kept > /data/f'",
        0,
        &[],
    ),
    Call("run --rm -v keep:/data:ro @ cat /data/f", 0, &["=kept"]),
    Call(
        "run --rm -v keep:/data:ro @ touch /data/g",
        1,
        &["Read-only"],
    ),
    Call(
        "run --rm --mount type=tmpfs,target=/m @ sh -c 'mount | grep /m'",
        0,
        &["tmpfs"],
    ),
    Call(
        "run --rm --privileged @ true",
        125,
        &["HostConfig.Privileged is not supported by Skeg"],
    ),
    Call("run --rm --pid host @ true", 125, &["PidMode"]),
    Call("run --rm --ipc host @ true", 125, &["IpcMode"]),
    Call("run --rm --gpus all @ true", 125, &["DeviceRequests"]),
    Call(
        "run --rm --log-driver syslog @ true",
        125,
        &["log driver 'syslog'"],
    ),
    Call("create --name made --label tier=back @ sleep 1000", 0, &[]),
    Call(
        "ps -a --filter name=made --format '{{.Names}} {{.Status}}'",
        0,
        &["=made Created"],
    ),
    Call("create --name made @ true", 1, &["Conflict", "made"]),
    Call("start made", 0, &["=made"]),
    Call("start made", 0, &["=made"]),
    Call("ps --format '{{.Names}} {{.State}}'", 0, &["=made running"]),
    Call("ps -q --filter label=tier=front", 0, &["="]),
    Call(
        "ps --filter label=tier=back --format '{{.Names}}'",
        0,
        &["=made"],
    ),
    Call("ps --filter status=exited -q", 0, &["="]),
    Call(
        "inspect --format '{{.State.Status}} {{.Path}} {{.Args}}' made",
        0,
        &["=running sleep [1000]"],
    ),
    Call(
        "inspect --format '{{.HostConfig.NetworkMode}} {{.Config.Labels.tier}}' made",
        0,
        &["=bridge back"],
    ),
    Call("inspect no-such", 1, &["No such object: no-such"]),
    Call("top made", 0, &["PID", "sleep 1000"]),
    Call("top made -o pid,comm", 0, &["COMM", "sleep"]),
    Call(
        "stats --no-stream --format '{{.Name}} {{.PIDs}}' made",
        0,
        &["=made 1"],
    ),
    Call("exec made echo inside", 0, &["=inside"]),
    Call("exec made sh -c 'exit 5'", 5, &[]),
    Call(
        "exec -e X=y -w /tmp -u nobody made sh -c 'echo $X; pwd; id -un'",
        0,
        &["=y\n/tmp\nnobody"],
    ),
    Call("exec made no-such-program", 127, &["no-such-program"]),
    Call("exec -d made touch /tmp/done", 0, &["="]),
    Call("exec no-such true", 1, &["No such container"]),
    Call("pause made", 0, &["=made"]),
    Call("ps --format '{{.State}}'", 0, &["=paused"]),
    Call("exec made true", 1, &["is paused"]),
    Call("pause made", 1, &["already paused"]),
    Call("unpause made", 0, &["=made"]),
    Call("rename made other", 0, &["="]),
    Call("exec other echo same", 0, &["=same"]),
    Call("exec made true", 1, &["No such container"]),
    Call("create --name made @ true", 0, &[]),
    Call("rename other made", 1, &["is already in use by container"]),
    Call("rm made", 0, &[]),
    Call("rename other other", 1, &["same name"]),
    Call("rename other made", 0, &["="]),
    Call("inspect --format '{{.Name}}' made", 0, &["=/made"]),
    Call(
        "update --memory 64m --memory-swap 64m --pids-limit 77 --cpus 0.25 made",
        0,
        &["made"],
    ),
    Call(
        "exec made cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max",
        0,
        &["=67108864\n77\n25000 100000"],
    ),
    Call(
        "inspect --format '{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}' made",
        0,
        &["=67108864 77"],
    ),
    Call("update --memory 128m made", 1, &["memoryswap"]),
    Call("update --restart always made", 0, &["made"]),
    Call(
        "inspect --format '{{.HostConfig.RestartPolicy.Name}}' made",
        0,
        &["=always"],
    ),
    Call("update --restart no made", 0, &["made"]),
    Call("update --blkio-weight 100 made", 1, &["BlkioWeight"]),
    Call("rm made", 1, &["stop the container before removing"]),
    Call("kill -s USR1 no-such", 1, &["No such container"]),
    Call("restart -t 0 made", 0, &["=made"]),
    Call("stop -t 0 made", 0, &["=made"]),
    Call(
        "inspect --format '{{.State.Status}} {{.State.ExitCode}}' made",
        0,
        &["=exited 137"],
    ),
    Call("wait made", 0, &["=137"]),
    Call("exec made true", 1, &["is not running"]),
    Call("kill made", 1, &["is not running"]),
    Call("start -a made-not", 1, &["No such container"]),
    Call("rm made", 0, &["=made"]),
    Call("rm made", 1, &["No such container"]),
    Call("run -d --name polite -v p:/data @ polite", 0, &[]),
    Call("stop polite", 0, &["=polite"]),
    Call("logs polite", 0, &["ready", "got SIGTERM"]),
    Call("wait polite", 0, &["=7"]),
    // Health checks.
    Call(
        "run -d --name well --health-cmd 'echo >> /tmp/ran; test ! -f /tmp/sick' --health-interval 500ms --health-retries 2 @ sleep 1000",
        0,
        &[],
    ),
    Call(
        "inspect --format '{{.Config.Healthcheck.Test}} {{.Config.Healthcheck.Retries}}' well",
        0,
        &["=[CMD-SHELL echo >> /tmp/ran; test ! -f /tmp/sick] 2"],
    ),
    // As the second check begins, the first has been judged.
    Call(
        "exec well sh -c 'until [ $(wc -l < /tmp/ran) -ge 2 ]; do sleep 0.2; done'",
        0,
        &[],
    ),
    Call(
        "ps --filter health=healthy --format '{{.Names}}'",
        0,
        &["=well"],
    ),
    Call(
        "ps --filter name=well --format '{{.Status}}'",
        0,
        &["(healthy)"],
    ),
    Call(
        "exec well sh -c 'touch /tmp/sick; n=$(wc -l < /tmp/ran); until [ $(wc -l < /tmp/ran) -ge $((n + 4)) ]; do sleep 0.2; done'",
        0,
        &[],
    ),
    Call(
        "inspect --format '{{.State.Health.Status}} {{(index .State.Health.Log 4).ExitCode}}' well",
        0,
        &["=unhealthy 1"],
    ),
    Call(
        "events --since 1h --until 0s --filter event=health_status --filter container=well --format '{{.Action}}'",
        0,
        &["=health_status: healthy\nhealth_status: unhealthy"],
    ),
    Call("rm -f well", 0, &[]),
    Call(
        "run -d --name hung --health-cmd 'echo >> /tmp/ran; echo so far; sleep 1000 & sleep 1000' --health-interval 300ms --health-timeout 5s --health-retries 1 @ sleep 999",
        0,
        &[],
    ),
    Call(
        "exec hung sh -c 'until [ $(wc -l < /tmp/ran) -ge 5 ]; do sleep 0.2; done'",
        0,
        &[],
    ),
    Call(
        "inspect --format '{{.State.Health.Status}} {{(index .State.Health.Log 0).Output}}' hung",
        0,
        &["unhealthy so far", "Health check exceeded timeout (5s)"],
    ),
    // Four checks have hung by now, of three processes each; the fifth is at it.
    Call(
        "exec hung sh -c 'test $(ps | grep -c \"[s]leep 1000\") -le 4'",
        0,
        &[],
    ),
    Call("rm -f hung", 0, &[]),
    Call("create --name off --no-healthcheck @ true", 0, &[]),
    Call("inspect --format '{{.State.Health}}' off", 0, &["=<nil>"]),
    Call("rm off", 0, &[]),
    Call(
        "create --health-cmd true --health-interval 1us @ true",
        1,
        &["cannot be less than 1ms"],
    ),
    Call("run -d --name shot --stop-signal INT @ sleep 1000", 0, &[]),
    Call("kill shot", 0, &["=shot"]),
    Call("inspect --format '{{.State.ExitCode}}' shot", 0, &["=137"]),
    Call("run -d --name again --restart on-failure:2 @ false", 0, &[]),
    Call("wait again", 0, &["=1"]),
    Call("run -d --name web -p 8099:80 @ httpd -f -p 80", 0, &[]),
    Call("port web", 0, &["80/tcp -> 0.0.0.0:8099"]),
    Call(
        "ps --filter name=web --format '{{.Ports}}'",
        0,
        &["0.0.0.0:8099->80/tcp"],
    ),
    Call("rm -f web", 0, &["=web"]),
    Call(
        "container prune -f --filter label=none",
        0,
        &["Total reclaimed space: 0B"],
    ),
    Call("container prune -f", 0, &["Deleted Containers"]),
    Call("ps -aq", 0, &["="]),
    Call(
        "events --since 1h --until 0s --filter event=die --filter container=polite --format '{{.Actor.Attributes.exitCode}}'",
        0,
        &["=7"],
    ),
];

/// Runs the table; what came otherwise, one line a call.
pub fn run(docker: &Docker, image: &str) -> Result<Vec<String>> {
    let mut failed = Vec::new();
    for Call(line, code, wanted) in CALLS {
        let words = words(line, image);
        let said = docker.say(&words)?;
        let both = format!("{}{}", said.out, said.err);
        let is_there = |wanted: &&str| match wanted.split_at_checked(1) {
            Some(("=", whole)) => said.out.trim_end() == whole,
            Some(("!", absent)) => !both.contains(absent),
            _ => both.contains(*wanted),
        };
        if said.code != *code || !wanted.iter().all(is_there) {
            failed.push(format!(
                "docker {line}\n    wanted {code} {wanted:?}, got {} {:?} {:?}",
                said.code, said.out, said.err
            ));
        }
    }
    println!("{} calls, {} failed", CALLS.len(), failed.len());
    Ok(failed)
}

fn words(line: &str, image: &str) -> Vec<String> {
    let quoted = line.split('\'').enumerate();
    let mut words = Vec::new();
    for (at, part) in quoted {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(|w| match w {
                "@" => image.to_owned(),
                word => word.to_owned(),
            }));
        }
    }
    words
}
