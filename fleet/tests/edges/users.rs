//! etcd's users and roles: what a machine's credential can do, asked of etcd itself.
//!
//! The API stands in `security.rs`.

use crate::cluster::{Cluster, id};
use etcd_client::{Client, ConnectOptions, Error, GetOptions, PutOptions, WatchOptions};
use std::collections::BTreeMap;

const PREFIX: &str = "/skeg/fleet/";

async fn client(c: &Cluster, user: &str) -> Client {
    let password = std::fs::read_to_string(c.path("passwords").join(user)).expect("a password");
    let options = ConnectOptions::new().with_user(user, password.trim());
    let client = Client::connect(c.etcd.endpoints(), Some(options)).await;
    client.expect("etcd takes the password")
}

/// All that is stored, with its revisions.
async fn all(root: &mut Client) -> BTreeMap<String, i64> {
    let options = GetOptions::new().with_prefix();
    let found = root.get(PREFIX, Some(options)).await.unwrap();
    let pair = |kv: &etcd_client::KeyValue| (kv.key_str().unwrap().to_owned(), kv.mod_revision());
    found.kvs().iter().map(pair).collect()
}

fn denied<T: std::fmt::Debug>(what: &str, answer: Result<T, Error>) {
    let error = answer.expect_err(what).to_string();
    assert!(error.contains("permission denied"), "{what}: {error}");
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(test)
}

#[test]
fn a_machine_reads_and_writes_its_own_keys_and_no_others() {
    let c = Cluster::guarded(1, 1, 2);
    c.run("a.service", &format!("MachineID={}", id(1)));
    assert_eq!(c.one("a.service"), 1, "a fleet works with such users");
    let (own, other) = (id(0), id(1));
    let key = |rest: String| format!("{PREFIX}{rest}");
    run(async {
        let mut root = client(&c, "root").await;
        let mut machine = client(&c, &format!("skeg-machine-{own}")).await;
        let before = all(&mut root).await;
        assert!(before.len() >= 7, "{before:?}");
        for read in [
            format!("placed/{other}/a.service"),
            format!("status/{other}/a.service"),
            "units/a.service".to_owned(),
            format!("machines/{other}"),
            String::new(),
        ] {
            let whole = GetOptions::new().with_prefix();
            denied(&read, machine.get(key(read.clone()), Some(whole)).await);
        }
        for write in [
            format!("status/{other}/a.service"),
            format!("alive/{other}"),
            format!("machines/{other}"),
            format!("placed/{other}/a.service"),
            format!("placed/{own}/mine.service"),
            format!("drain/{other}"),
            "units/a.service".to_owned(),
            "engine/leader".to_owned(),
            "engine/brake".to_owned(),
            "something".to_owned(),
        ] {
            denied(&write, machine.put(key(write.clone()), "x", None).await);
            denied(&write, machine.delete(key(write.clone()), None).await);
        }
        let alive = root.get(key(format!("alive/{other}")), None).await.unwrap();
        let lease = alive.kvs()[0].lease();
        denied(
            "another's lease is ended",
            machine.lease_revoke(lease).await,
        );
        let bound = PutOptions::new().with_lease(lease);
        let status = key(format!("status/{own}/b.service"));
        denied(
            "a key is bound to another's lease",
            machine.put(status.clone(), "x", Some(bound)).await,
        );
        let placed = key(format!("placed/{other}/"));
        let whole = WatchOptions::new().with_prefix();
        let watch = machine.watch(placed, Some(whole)).await;
        let refused = match watch {
            Err(_) => true,
            Ok(mut stream) => match stream.message().await {
                Ok(Some(told)) => told.canceled(),
                _ => true,
            },
        };
        assert!(refused, "another's placements are watched");
        denied("a user is made", machine.user_add("evil", "x", None).await);
        assert_eq!(all(&mut root).await, before, "nothing is stored");
        machine
            .put(status.clone(), "{}", None)
            .await
            .expect("its own status");
        machine.delete(status, None).await.expect("its own status");
    });
}

#[test]
fn a_machine_that_is_added_later_joins_a_cluster_with_users() {
    let mut c = Cluster::guarded(1, 1, 1);
    c.add_machine();
    c.init(2);
    c.start_agent(1);
    c.until("it is there", |c| c.live() == 2);
    c.run("g.service", "Global=true");
    c.until("both run it", |c| c.on("g.service").len() == 2);
}
