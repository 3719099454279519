use proptest::prelude::*;

use super::*;
use crate::engine::options::{DeviceSpec, MountSource, NetworkMode, RestartPolicy};
use crate::unit::keys::{SECTIONS, section_keys};

fn read(text: &str) -> Result<Unit, Vec<Problem>> {
    parse(
        Path::new("/etc/containers/systemd/web.container"),
        text,
        &[],
    )
}

fn options(text: &str) -> ContainerOptions {
    match read(text).unwrap().kind {
        Kind::Container(options) => *options,
        other => panic!("{other:?}"),
    }
}

fn problems(text: &str) -> Vec<(usize, String)> {
    let problems = read(text).unwrap_err();
    problems.into_iter().map(|p| (p.line, p.message)).collect()
}

#[test]
fn a_whole_unit_is_understood() {
    let text = r#"
[Unit]
Description=The %N page
After=db.container network-online.target
Requires=db.service

[Container]
Image=10.0.2.2:5000/web:1
Exec=/bin/httpd -f \
  -p "8 0"
Environment=A=1 "B=two words"
Environment=C=3
PublishPort=8080:80
Volume=data:/data:Z
Volume=/etc/x:/x:ro
Volume=cache.volume:/cache
User=33
Group=34
ReadOnly=yes
DropCapability=all
AddCapability=CAP_NET_BIND_SERVICE
Memory=64M
StopSignal=SIGQUIT
Network=host
Label=a=b "c=d e"

[Service]
Restart=on-failure
RestartSec=2
TimeoutStopSec=7

[Install]
WantedBy=multi-user.target default.target
"#;
    let unit = read(text).unwrap();
    assert_eq!(unit.name, "web.service");
    assert_eq!(unit.description, "The web page");
    assert!(unit.after.contains("db.service") && unit.after.contains("cache-volume.service"));
    assert!(unit.requires.contains("cache-volume.service"));
    assert!(unit.starts_at_boot());
    let o = options(text);
    assert_eq!(o.name.as_deref(), Some("systemd-web"));
    assert_eq!(o.command, ["/bin/httpd", "-f", "-p", "8 0"]);
    assert_eq!(o.env, ["A=1", "B=two words", "C=3"]);
    assert_eq!(o.ports[0].host_port, 8080);
    assert_eq!(
        o.mounts[2].source,
        MountSource::Volume("systemd-cache".into())
    );
    assert_eq!(o.user.as_deref(), Some("33:34"));
    assert_eq!(o.cap_drop, ["ALL"]);
    assert_eq!(o.cap_add, ["NET_BIND_SERVICE"]);
    assert_eq!(o.network, NetworkMode::Host);
    assert_eq!(o.labels["c"], "d e");
    assert_eq!(o.stop_timeout, Some(7));
    assert_eq!(o.restart, RestartPolicy::OnFailure { max: None });
    assert_eq!(o.restart_delay_ms, Some(2000));
}

#[test]
fn a_device_is_taken_as_quadlet_writes_it() {
    let o = options(
        "[Container]\nImage=x\nAddDevice=/dev/kmsg\nAddDevice=-/dev/fuse:rw\nAddDevice=/dev/sda:/dev/xvda:r\n",
    );
    let parts = |d: &'_ DeviceSpec| {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let paths = (text(&d.host), text(&d.container));
        (paths.0, paths.1, d.access.clone(), d.optional)
    };
    let found: Vec<_> = o.devices.iter().map(parts).collect();
    let wanted = |host: &str, container: &str, access: &str, optional| {
        (host.into(), container.into(), access.into(), optional)
    };
    assert_eq!(
        found,
        [
            wanted("/dev/kmsg", "/dev/kmsg", "rwm", false),
            wanted("/dev/fuse", "/dev/fuse", "rw", true),
            wanted("/dev/sda", "/dev/xvda", "r", false),
        ]
    );
    let wrong = problems("[Container]\nImage=x\nAddDevice=kmsg\n");
    assert!(wrong[0].1.contains("absolute path"), "{wrong:?}");
}

#[test]
fn an_empty_assignment_resets_a_list() {
    let o = options("[Container]\nImage=x\nEnvironment=A=1\nEnvironment=\nEnvironment=B=2\n");
    assert_eq!(o.env, ["B=2"]);
    let o = options("[Container]\nImage=x\nVolume=a:/a\nVolume=\n");
    assert_eq!(o.mounts, []);
}

#[test]
fn each_mistake_is_told_with_its_line() {
    let text = "[Container]\nImage=x\nPublshPort=1:2\nMemory=lots\n[Servce]\nRestart=no\nFoo=1\n";
    let told = problems(text);
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(
        told[0],
        (
            3,
            "unknown key 'PublshPort' in [Container], did you mean 'PublishPort'?".into()
        )
    );
    assert_eq!(told[1].0, 4);
    assert!(told[1].1.starts_with("Memory: expected a size"), "{told:?}");
    assert_eq!(
        told[2],
        (
            6,
            "unknown section [Servce], did you mean 'Service'?".into()
        )
    );
}

#[test]
fn a_unit_without_an_image_is_refused() {
    assert_eq!(problems("[Container]\n"), [(0, "Image= is missing".into())]);
}

#[test]
fn a_section_of_another_kind_of_file_is_refused() {
    let told = problems("[Container]\nImage=x\n[Pod]\nA=1\n[Volume]\nVolumeName=x\n");
    for (_, told) in &told {
        assert!(told.contains("does not belong"), "{told:?}");
    }
}

#[test]
fn sections_for_others_are_left_alone() {
    assert!(read("[Container]\nImage=x\n[X-Fleet]\nMachineOf=a\n").is_ok());
}

#[test]
fn volumes_and_images_are_units_too() {
    let volume = parse(Path::new("data.volume"), "[Volume]\n", &[]).unwrap();
    assert_eq!(volume.name, "data-volume.service");
    assert_eq!(
        volume.kind,
        Kind::Volume {
            name: "systemd-data".into()
        }
    );
    let image = parse(Path::new("web.image"), "[Image]\nImage=r/x:1\n", &[]).unwrap();
    assert_eq!(image.name, "web-image.service");
    assert!(parse(Path::new("x.pod"), "[Pod]\n", &[]).is_err());
}

#[test]
fn every_key_that_the_table_calls_done_is_handled() {
    for section in SECTIONS {
        for (key, support) in section_keys(section).unwrap() {
            if *support != Support::Done {
                continue;
            }
            let path = match section {
                "Volume" => "u.volume",
                "Image" => "u.image",
                "Timer" => "u.timer",
                "Network" => "u.network",
                _ => "u.container",
            };
            let text = format!("[{section}]\n{key}=probe\n");
            let told = parse(Path::new(path), &text, &[]).err().unwrap_or_default();
            let unhandled = told
                .iter()
                .any(|p| p.message.ends_with("not supported yet"));
            assert!(!unhandled, "{section} {key}: {told:?}");
        }
    }
}

#[test]
fn what_would_be_done_differently_or_not_at_all_is_refused_by_name() {
    let whole = |section: &str, line: &str| {
        problems(&format!("[Container]\nImage=x\n[{section}]\n{line}\n"))
    };
    for (section, line) in [
        ("Service", "Restart=on-abnormal"),
        ("Service", "Restart=on-watchdog"),
        ("Install", "WantedBy=network.target"),
        ("Install", "DefaultInstance=a"),
        ("Install", "RequiredBy=graphical.target"),
        ("Install", "Also=other.service"),
        ("Container", "Mount=type=volume,source=a.volume,target=/a"),
    ] {
        let told = whole(section, line);
        let key = line.split('=').next().unwrap();
        assert!(
            told.iter()
                .any(|(at, text)| *at == 4 && text.starts_with(key)),
            "{line}: {told:?}"
        );
    }
    let local = options("[Container]\nImage=x\nTimezone=local\n");
    assert!(local.env.is_empty(), "{:?}", local.env);
}

#[test]
fn keys_after_a_broken_section_head_are_not_taken_for_the_one_before() {
    let told = problems("[Container]\nImage=x\n[Service\nRestart=always\n");
    let lines: Vec<_> = told.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [3, 4], "{told:?}");
    assert!(told[1].1.contains("before the first"), "{told:?}");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(
        lines in prop::collection::vec(("[A-Za-z]{1,12}", "(\\PC|[%\"\\\\: =,/.-])*"), 0..12),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 12)
    ) {
        let known = section_keys("Container").unwrap();
        let mut text = String::from("[Container]\n");
        for (i, (key, value)) in lines.iter().enumerate() {
            let key = if i % 3 == 0 { key.as_str() } else { known[picks[i].index(known.len())].0 };
            text.push_str(&format!("{key}={value}\n"));
        }
        let _ = read(&text);
    }
}
