//! The plan's promises.

use super::super::operation::Operation;
use super::*;
use crate::container::defaults::{self, Bind, Namespace as Choice, Options};
use std::path::PathBuf;

fn overlay() -> Rootfs {
    Rootfs::Overlay {
        lower: vec!["/layers/2".into(), "/layers/1".into()],
        upper: "/c/upper".into(),
        work: "/c/work".into(),
        at: "/c/root".into(),
    }
}

fn in_cgroup() -> Around {
    Around {
        in_cgroup: true,
        ..Around::default()
    }
}

fn plan(options: &Options) -> Result<Plan, String> {
    let spec = defaults::spec(None, options).unwrap();
    Plan::create(&spec, &overlay(), &in_cgroup())
}

fn options() -> Options {
    Options {
        command: Some(vec!["serve".into()]),
        ..Options::default()
    }
}

#[test]
fn the_default_plan_is_this_one() {
    let volume = Bind {
        source: "/srv/www".into(),
        target: "/www".into(),
        read_only: true,
        options: Vec::new(),
    };
    let options = Options {
        hostname: Some("web".into()),
        binds: vec![volume],
        read_only: true,
        ..options()
    };
    let printed = plan(&options).unwrap().to_string();
    let (head, filter) = printed.split_once("seccomp ").unwrap();
    assert_eq!(head, include_str!("../default.plan"));
    assert!(
        filter.ends_with(" instructions\nexecve [\"serve\"]\n"),
        "{filter}"
    );
}

#[test]
fn without_no_new_privs_the_filter_is_loaded_while_root_may() {
    let options = Options {
        no_new_privileges: false,
        ..options()
    };
    let operations = plan(&options).unwrap().operations;
    let at = |found: fn(&Operation) -> bool| operations.iter().position(found).unwrap();
    let filter = at(|operation| matches!(operation, Operation::Seccomp { .. }));
    let credentials = at(|operation| matches!(operation, Operation::Credentials { .. }));
    assert!(filter < credentials);
}

#[test]
fn a_plan_survives_the_wire() {
    let plan = plan(&options()).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let mut spec = defaults::spec(None, &options()).unwrap();
    spec.set_hooks(Some(oci_spec::runtime::Hooks::default()));
    let refused = Plan::create(&spec, &overlay(), &in_cgroup());
    assert_eq!(refused.unwrap_err(), "hooks is not supported yet");
    let shared = Options {
        pid: Choice::Path("/proc/7/ns/pid".into()),
        ..options()
    };
    assert!(plan(&shared).unwrap_err().contains("joining pid"));
}

#[test]
fn relative_paths_are_refused_with_their_field() {
    let relative = Options {
        working_dir: Some("srv".into()),
        ..options()
    };
    let operations = plan(&relative).unwrap().operations;
    let path = "/srv".to_owned();
    assert!(
        operations.contains(&Operation::Chdir { path }),
        "taken from /"
    );
    let mut spec = defaults::spec(None, &options()).unwrap();
    let mut process = spec.process().clone().unwrap();
    process.set_cwd(PathBuf::from("srv"));
    spec.set_process(Some(process));
    let error = Plan::create(&spec, &overlay(), &in_cgroup()).unwrap_err();
    assert!(error.starts_with("process.cwd: \"srv\""), "{error}");
}

#[test]
fn nothing_is_mounted_over_the_root() {
    for target in ["/", "/..", "/a/../"] {
        let options = Options {
            tmpfs: vec![(target.into(), String::new())],
            ..options()
        };
        let error = plan(&options).unwrap_err();
        assert!(error.ends_with("is the root itself"), "{error}");
    }
}

#[test]
fn a_kernel_parameter_of_a_namespace_that_is_joined_is_refused() {
    let mut options = options();
    options.network = Choice::Path("/proc/1/ns/net".into());
    let key = "net.ipv4.ip_forward".to_owned();
    options.sysctls.insert(key, "1".into());
    let error = plan(&options).unwrap_err();
    assert!(error.contains("namespace of its own"), "{error}");
}

#[test]
fn a_network_of_another_is_joined_and_the_host_s_is_kept() {
    let joined = Options {
        network: Choice::Path("/proc/7/ns/net".into()),
        ..options()
    };
    let joined = plan(&joined).unwrap();
    assert!(!joined.namespaces.contains(&Namespace::Net));
    assert!(joined.to_string().contains("setns net /proc/7/ns/net\n"));
    let host = Options {
        network: Choice::Host,
        ..options()
    };
    assert!(!plan(&host).unwrap().to_string().contains("net "));
}
