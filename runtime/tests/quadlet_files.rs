//! A table of Quadlet files, good and bad: what a good one becomes, and where and how a bad one is told.
//!
//! Good ones are shown by parts of the unit as the engine has it; a bad one by line and message.

use std::path::Path;

use runtime::unit::Unit;

/// File, text, name of the service, what the unit has.
const GOOD: &[(&str, &str, &str, &[&str])] = &[
    (
        "web.container",
        "[Container]\nImage=r/web\nSecret=db\nSecret=tls,target=/etc/tls.key,uid=1000,mode=0440\n",
        "web.service",
        &[
            "SecretSpec { name: \"db\", target: \"/run/secrets/db\", uid: 0, gid: 0, mode: 256 }",
            "target: \"/etc/tls.key\", uid: 1000, gid: 0, mode: 288",
        ],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nHealthCmd=curl -f http://localhost || exit 1\nHealthInterval=1m30s\nHealthRetries=2\nHealthOnFailure=kill\n",
        "web.service",
        &[
            "test: Some([\"curl -f http://localhost || exit 1\"]), shell: true",
            "interval_ms: Some(90000)",
            "retries: Some(2)",
            "at_once: true",
            "on_failure: Kill",
        ],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nHealthCmd=[\"/check\", \"a b\"]\nHealthStartupCmd=/up\nHealthStartupRetries=9\nHealthStartupSuccess=2\nHealthInterval=disable\n",
        "web.service",
        &[
            "test: Some([\"/check\", \"a b\"]), shell: false",
            "interval_ms: Some(18446744073709551615)",
            "test: [\"/up\"], shell: true",
            "retries: 9, success: 2",
        ],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nHealthCmd=none\n",
        "web.service",
        &["test: Some([])"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nNotify=healthy\nHealthCmd=/check\n[Service]\nTimeoutStartSec=7s\n",
        "web.service",
        &["ready: Some(Ready { by: Healthy, timeout_ms: Some(7000) })"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nNotify=true\n[Service]\nTimeoutStartSec=infinity\n",
        "web.service",
        &["ready: Some(Ready { by: Notify, timeout_ms: None })"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nNotify=false\n",
        "web.service",
        &["ready: None", "health: None"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web:1\n",
        "web.service",
        &[
            "image: \"r/web:1\"",
            "name: Some(\"systemd-web\")",
            "oneshot: false",
        ],
    ),
    (
        "web.container",
        "# a comment\n[Container]\n; another\nImage=r/web\n",
        "web.service",
        &["image: \"r/web\""],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nExec=/bin/sh -c \"echo a b\"\n",
        "web.service",
        &["command: [\"/bin/sh\", \"-c\", \"echo a b\"]"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nExec=serve \\\n  --port 80 \\\n  --verbose\n",
        "web.service",
        &["command: [\"serve\", \"--port\", \"80\", \"--verbose\"]"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nEntrypoint=[\"/a\", \"b\"]\n",
        "web.service",
        &["entrypoint: Some([\"/a\", \"b\"])"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nContainerName=mine\n",
        "web.service",
        &["name: Some(\"mine\")"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nEnvironment=A=1 B=\"x y\"\n",
        "web.service",
        &["env: [\"A=1\", \"B=x y\"]"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nEnvironment=A=1\nEnvironment=\n",
        "web.service",
        &["env: []"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nEnvironmentFile=/etc/web.env\n",
        "web.service",
        &["env_files: [\"/etc/web.env\"]"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nPublishPort=127.0.0.1:8080:80/tcp\n",
        "web.service",
        &["host_port: 8080", "127.0.0.1"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nVolume=/srv:/data:ro\n",
        "web.service",
        &["Bind(\"/srv\")", "read_only: true"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nVolume=data.volume:/data\n",
        "web.service",
        &[
            "requires: {\"data-volume.service\"}",
            "after: {\"data-volume.service\"}",
            "Volume(\"systemd-data\")",
        ],
    ),
    (
        "web.container",
        "[Container]\nImage=app.image\n",
        "web.service",
        &["requires: {\"app-image.service\"}"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nNetwork=back.network\n",
        "web.service",
        &[
            "requires: {\"back-network.service\"}",
            "network: \"systemd-back\"",
        ],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nNetwork=a\nNetwork=b:alias=x,ip=10.1.2.3\n",
        "web.service",
        &["network: \"a\"", "aliases: [\"x\"], ip: Some(10.1.2.3)"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nNetwork=a\nNetworkAlias=www\nIP=10.1.2.3\n",
        "web.service",
        &["aliases: [\"www\"], ip: Some(10.1.2.3)"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nNetwork=host\n",
        "web.service",
        &["network: Host"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nNetwork=a\nNetwork=\nNetwork=none\n",
        "web.service",
        &["network: None", "networks: []"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nUser=33\nGroup=34\n",
        "web.service",
        &["user: Some(\"33:34\")"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nReadOnly=yes\nReadOnlyTmpfs=no\n",
        "web.service",
        &["read_only: true", "read_only_tmpfs: false"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nDropCapability=all\nAddCapability=CAP_NET_BIND_SERVICE\n",
        "web.service",
        &["cap_drop: [\"ALL\"]", "cap_add: [\"NET_BIND_SERVICE\"]"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nMemory=64m\nPidsLimit=20\nShmSize=1m\n",
        "web.service",
        &["memory: Some(67108864)", "pids_limit: Some(20)"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nStopSignal=SIGINT\nStopTimeout=3\n",
        "web.service",
        &["stop_signal: Some(2)", "stop_timeout: Some(3)"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nPull=newer\n",
        "web.service",
        &["pull: Newer"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nExposeHostPort=80\n",
        "web.service",
        &["ports: []"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\n[Service]\nRestart=always\nRestartSec=2s\n",
        "web.service",
        &["restart: Always", "restart_delay_ms: Some(2000)"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\n[Service]\nTimeoutStartSec=1min 30s\nTimeoutStopSec=7\n",
        "web.service",
        &["start_timeout: Some(90s)", "stop_timeout: Some(7)"],
    ),
    (
        "job.container",
        "[Container]\nImage=r/job\n[Service]\nType=oneshot\nRemainAfterExit=yes\n",
        "job.service",
        &["oneshot: true", "remains: true", "start_timeout: None"],
    ),
    (
        "job.container",
        "[Container]\nImage=r/job\n[Service]\nType=oneshot\nTimeoutStartSec=60\n",
        "job.service",
        &["oneshot: true", "start_timeout: Some(60s)"],
    ),
    (
        "web.container",
        "[Unit]\nDescription=The web\nDocumentation=man:web(1)\n[Container]\nImage=r/web\n",
        "web.service",
        &["description: \"The web\""],
    ),
    (
        "web.container",
        "[Unit]\nAfter=db.container data.volume\nRequires=db.service\n[Container]\nImage=r/web\n",
        "web.service",
        &[
            "after: {\"data-volume.service\", \"db.service\"}",
            "requires: {\"db.service\"}",
        ],
    ),
    (
        "web.container",
        "[Unit]\nBindsTo=db.container\nPartOf=app.service\n[Container]\nImage=r/web\n",
        "web.service",
        &["binds_to: {\"db.service\"}", "part_of: {\"app.service\"}"],
    ),
    (
        "web.container",
        "[Unit]\nConflicts=old.container\nRequisite=db.service\n[Container]\nImage=r/web\n",
        "web.service",
        &[
            "conflicts: {\"old.service\"}",
            "requisite: {\"db.service\"}",
        ],
    ),
    (
        "web.container",
        "[Unit]\nConditionPathExists=!/etc/off\n[Container]\nImage=r/web\n",
        "web.service",
        &["test: Exists, path: \"/etc/off\", negated: true, any: false, assert: false"],
    ),
    (
        "web.container",
        "[Unit]\nConditionFileNotEmpty=|/a\nAssertPathExists=/b\n[Container]\nImage=r/web\n",
        "web.service",
        &["any: true", "assert: true"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\n[Install]\nWantedBy=multi-user.target\n",
        "web.service",
        &["wanted_by: {\"multi-user.target\"}"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\n[Install]\nRequiredBy=app.service\n",
        "web.service",
        &["required_by: {\"app.service\"}"],
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\n[X-Fleet]\nGlobal=yes\n",
        "web.service",
        &["image: \"r/web\""],
    ),
    (
        "web.container",
        "[Quadlet]\nDefaultDependencies=false\n[Container]\nImage=r/web\n",
        "web.service",
        &["image: \"r/web\""],
    ),
    (
        "web@a.container",
        "[Container]\nImage=r/web\nHostName=%i-%p\nExec=100%%\n",
        "web@a.service",
        &[
            "name: Some(\"systemd-web_a\")",
            "hostname: Some(\"a-web\")",
            "command: [\"100%\"]",
        ],
    ),
    (
        "web@.container",
        "[Container]\nImage=r/web\n[Install]\nDefaultInstance=a\n",
        "web@.service",
        &["default_instance: Some(\"a\")"],
    ),
    (
        "data.volume",
        "[Volume]\n",
        "data-volume.service",
        &["Volume { name: \"systemd-data\" }", "oneshot: true"],
    ),
    (
        "data.volume",
        "[Volume]\nVolumeName=mine\n[Install]\nWantedBy=default.target\n",
        "data-volume.service",
        &["Volume { name: \"mine\" }"],
    ),
    (
        "app.image",
        "[Image]\nImage=r/app:2\nPolicy=always\n",
        "app-image.service",
        &["image: \"r/app:2\", policy: Always"],
    ),
    (
        "back.network",
        "[Network]\n",
        "back-network.service",
        &["name: \"systemd-back\"", "subnet: None"],
    ),
    (
        "back.network",
        "[Network]\nNetworkName=back\nSubnet=10.99.0.0/24\nGateway=10.99.0.1\nIPRange=10.99.0.128/25\nInternal=true\n",
        "back-network.service",
        &[
            "name: \"back\"",
            "gateway: Some(10.99.0.1)",
            "internal: true",
        ],
    ),
    (
        "back.network",
        "[Network]\nDriver=bridge\nIPAMDriver=host-local\nOptions=mtu=1400\nLabel=a=b\n",
        "back-network.service",
        &["options: {\"mtu\": \"1400\"}", "labels: {\"a\": \"b\"}"],
    ),
    (
        "job.timer",
        "[Timer]\nOnCalendar=daily\nPersistent=true\n[Install]\nWantedBy=timers.target\n",
        "job.timer",
        &[
            "unit: \"job.service\"",
            "persistent: true",
            "wanted_by: {\"timers.target\"}",
        ],
    ),
    (
        "job.timer",
        "[Timer]\nOnBootSec=5min\nOnUnitActiveSec=1h\nUnit=other.container\n",
        "job.timer",
        &[
            "unit: \"other.service\"",
            "boot: [300s]",
            "unit_active: [3600s]",
        ],
    ),
    (
        "job.timer",
        "[Timer]\nOnCalendar=Mon..Fri *-*-* 08:00:00\nRandomizedDelaySec=30s\n",
        "job.timer",
        &["delay: 30s"],
    ),
];

/// File, text, line of the mistake, what is said of it.
const BAD: &[(&str, &str, usize, &str)] = &[
    (
        "web.container",
        "[Container]\nImage=r/web\nSecret=db,type=env,target=DB\n",
        3,
        "Secret: type=env would show it",
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nSecret=../shadow\n",
        3,
        "Secret: ",
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nHealthOnFailure=panic\n",
        3,
        "HealthOnFailure: expected none, kill, restart or stop, found 'panic'",
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nHealthCmd=[\"CMD\"]\n",
        3,
        "HealthCmd: expected a command, found an empty array",
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nHealthRetries=often\n",
        3,
        "HealthRetries: expected a number, found 'often'",
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nHealthStartupRetries=3\n",
        0,
        "HealthStartupCmd= is missing",
    ),
    (
        "web.container",
        "[Container]\nImage=r/web\nNotify=perhaps\n",
        3,
        "Notify: expected yes, no or healthy, found 'perhaps'",
    ),
    (
        "job.container",
        "[Container]\nImage=r/web\nNotify=yes\n[Service]\nType=oneshot\n",
        0,
        "Notify: a unit of Type=oneshot is ready when it has ended",
    ),
    ("web.container", "[Container]\n", 0, "Image= is missing"),
    (
        "web.container",
        "[Container]\nImge=r/web\nImage=x\n",
        2,
        "unknown key 'Imge' in [Container], did you mean 'Image'?",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nPublshPort=1:2\n",
        3,
        "unknown key 'PublshPort' in [Container], did you mean 'PublishPort'?",
    ),
    (
        "web.container",
        "[Container]\nImage=x\n[Servce]\nRestart=no\n",
        4,
        "unknown section [Servce], did you mean 'Service'?",
    ),
    (
        "web.container",
        "[Container]\nImage=x\n[Unit]\nAftre=a.service\n",
        4,
        "unknown key 'Aftre' in [Unit], did you mean 'After'?",
    ),
    (
        "web.container",
        "[Container]\nImage=x\n[Service]\nRestrat=no\n",
        4,
        "unknown key 'Restrat' in [Service], did you mean 'Restart'?",
    ),
    (
        "web.container",
        "[Container]\nImage=x\n[Install]\nWantBy=default.target\n",
        4,
        "unknown key 'WantBy' in [Install], did you mean 'WantedBy'?",
    ),
    (
        "web.container",
        "Image=x\n[Container]\nImage=x\n",
        1,
        "'Image' stands before the first [Section]",
    ),
    (
        "web.container",
        "[Container\nImage=x\n",
        1,
        "expected [Section], found '[Container'",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nReadOnly\n",
        3,
        "expected Key=Value, found 'ReadOnly'",
    ),
    (
        "web.container",
        "[Container]\nImage=x\n[Volume]\nVolumeName=a\n",
        4,
        "section [Volume] does not belong in a .container file",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nPod=a.pod\n",
        3,
        "Pod is not supported yet",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nPodmanArgs=--cpus=2\n",
        3,
        "PodmanArgs is podman's own and has no meaning on this host",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nMemory=lots\n",
        3,
        "Memory: expected a size",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nPublishPort=99999:80\n",
        3,
        "PublishPort: ",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nVolume=data\n",
        3,
        "Volume: ",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nVolume=/a:relative\n",
        3,
        "Volume: ",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nEnvironment=\"A=1\n",
        3,
        "Environment: expected a closing \"",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nHostName=%q\n",
        3,
        "specifier '%q' is not supported",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nUlimit=nofile\n",
        3,
        "Ulimit: ",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nAddCapability=CAP_FLY\n",
        3,
        "AddCapability: ",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nStopSignal=SIGNOPE\n",
        3,
        "StopSignal: ",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nReadOnly=perhaps\n",
        3,
        "ReadOnly: ",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nNetwork=host\nNetwork=back\n",
        4,
        "Network: 'back' does not go with other networks",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nNetwork=back:mac=00\n",
        3,
        "Network: expected ip=ADDRESS or alias=NAME, found 'mac=00'",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nNetwork=host:ip=10.0.0.1\n",
        3,
        "Network: options need a network of its own",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nNetworkAlias=www\n",
        0,
        "NetworkAlias: needs a network with names: write Network=NAME",
    ),
    (
        "web.container",
        "[Container]\nImage=x\nIP=10.0.0.1\n",
        0,
        "IP: needs one Network=NAME, whose address it is",
    ),
    (
        "web.container",
        "[Container]\nImage=x\n[Service]\nType=forking\n",
        4,
        "Type: expected notify, exec, simple or oneshot, found 'forking'",
    ),
    (
        "web.container",
        "[Container]\nImage=x\n[Service]\nRestart=sometimes\n",
        4,
        "Restart: expected no, always or on-failure, found 'sometimes'",
    ),
    (
        "web.container",
        "[Container]\nImage=x\n[Service]\nTimeoutStartSec=soon\n",
        4,
        "TimeoutStartSec: expected a time",
    ),
    (
        "web.container",
        "[Container]\nImage=x\n[Service]\nExecStartPre=/bin/true\n",
        4,
        "ExecStartPre runs a program of the host",
    ),
    (
        "web.container",
        "[Container]\nImage=x\n[Service]\nMemoryMax=1G\n",
        4,
        "MemoryMax belongs to a systemd service; write Memory= in [Container]",
    ),
    (
        "web.container",
        "[Unit]\nConditionPathExists=etc/a\n[Container]\nImage=x\n",
        2,
        "ConditionPathExists: ",
    ),
    (
        "web.container",
        "[Container]\nImage=x\n[Install]\nWantedBy=graphical.target\n",
        4,
        "WantedBy: 'graphical.target' is never reached here",
    ),
    (
        "web.container",
        "[Container]\nImage=x\n[Install]\nDefaultInstance=a\n",
        4,
        "DefaultInstance: only a template (NAME@) has instances",
    ),
    (
        "web.container",
        "[Container]\nImage=x\n[Install]\nAlias=www.service\n",
        4,
        "Alias is not supported yet",
    ),
    (
        "we b.container",
        "[Container]\nImage=x\n",
        0,
        "expected a unit name",
    ),
    (
        "data.volume",
        "[Volume]\nDriver=nfs\n",
        2,
        "Driver is not supported yet",
    ),
    (
        "data.volume",
        "[Volume]\nName=a\n",
        2,
        "unknown key 'Name' in [Volume]",
    ),
    ("app.image", "[Image]\n", 0, "Image= is missing"),
    (
        "app.image",
        "[Image]\nImage=x\nPolicy=later\n",
        3,
        "Policy: ",
    ),
    (
        "app.image",
        "[Image]\nImage=x\nTLSVerify=false\n",
        3,
        "TLSVerify is not read here: write insecure = true in registries.conf",
    ),
    (
        "back.network",
        "[Network]\nDriver=macvlan\n",
        2,
        "Driver: expected bridge, found 'macvlan'",
    ),
    (
        "back.network",
        "[Network]\nSubnet=10.0.0.0\n",
        2,
        "Subnet: expected an IPv4 network",
    ),
    (
        "back.network",
        "[Network]\nSubnet=10.0.0.0/24\nSubnet=10.0.1.0/24\n",
        3,
        "Subnet: a network has one subnet here",
    ),
    (
        "back.network",
        "[Network]\nIPv6=true\n",
        2,
        "IPv6: networks have IPv4 only",
    ),
    (
        "back.network",
        "[Network]\nOptions=isolate=true\n",
        2,
        "Options: option 'isolate' is not supported, only mtu is",
    ),
    (
        "back.network",
        "[Network]\nSubnt=10.0.0.0/24\n",
        2,
        "unknown key 'Subnt' in [Network], did you mean 'Subnet'?",
    ),
    (
        "job.timer",
        "[Timer]\n",
        0,
        "a time is missing, e.g. OnCalendar=",
    ),
    (
        "job.timer",
        "[Timer]\nOnCalendar=sometimes\n",
        2,
        "OnCalendar: expected a time",
    ),
    (
        "job.timer",
        "[Timer]\nOnCalendar=08:00 Europe/Berlin\n",
        2,
        "OnCalendar: time zone 'Europe/Berlin' is not supported",
    ),
    (
        "job.timer",
        "[Timer]\nOnBotSec=5\n",
        2,
        "unknown key 'OnBotSec' in [Timer], did you mean 'OnBootSec'?",
    ),
    (
        "job.timer",
        "[Timer]\nOnBootSec=5\nUnit=other.timer\n",
        3,
        "Unit: expected a unit that is no timer",
    ),
    (
        "job.timer",
        "[Timer]\nOnBootSec=5\n[Service]\nType=oneshot\n",
        4,
        "section [Service] does not belong in a .timer file",
    ),
    (
        "job.timer",
        "[Timer]\nOnBootSec=5\nWakeSystem=yes\n",
        3,
        "WakeSystem is not supported: a host is not suspended",
    ),
    (
        "app.pod",
        "[Pod]\n",
        0,
        "expected a .container, .volume, .image, .network or .timer file, found '.pod': pods are not supported",
    ),
    (
        "app.kube",
        "[Kube]\nYaml=a.yaml\n",
        0,
        "expected a .container, .volume, .image, .network or .timer file, found '.kube': Kubernetes",
    ),
    (
        "app.build",
        "[Build]\nFile=Containerfile\n",
        0,
        "expected a .container, .volume, .image, .network or .timer file, found '.build': this host builds no images",
    ),
];

#[test]
fn each_good_file_becomes_the_unit_that_it_describes() {
    for (file, text, service, parts) in GOOD {
        let unit = Unit::parse(Path::new(file), text);
        let unit = unit.unwrap_or_else(|e| panic!("{file}:\n{text}\n{e}"));
        assert_eq!(unit.name, *service, "{text}");
        let shown = format!("{unit:?}");
        for part in *parts {
            assert!(
                shown.contains(part),
                "{file}:\n{text}\nexpected {part} in {shown}"
            );
        }
    }
}

#[test]
fn each_bad_file_is_told_with_its_line_and_the_key() {
    for (file, text, line, message) in BAD {
        let Err(error) = Unit::parse(Path::new(file), text) else {
            panic!("{file} is taken:\n{text}");
        };
        let found = error.problems.iter();
        let mut found = found.filter(|p| p.line == *line && p.message.starts_with(message));
        assert!(
            found.next().is_some(),
            "{file}:\n{text}\nexpected {line}: {message}\n{error}"
        );
        let place = match line {
            0 => format!("{file}: "),
            line => format!("{file}:{line}: "),
        };
        assert!(error.to_string().contains(&place), "{error}");
    }
}
