//! The store's edge: what etcd does to a client, and what the middle is told of it.
//!
//! The engines' and agents' reactions stand in the simulator; here is that the real thing tells them.

use crate::etcd_server::Etcd;
use fleet::etcd::{Config, Event, Health, Seen, Store};
use fleet::store::{Change, Compare, Item, LeaseId, Reply, Request, Txn, Watched, Write};
use formats::fleet::Key;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

struct Client {
    store: Store,
    events: UnboundedReceiver<Event>,
    next: u64,
}

impl Client {
    fn of(etcd: &Etcd) -> Self {
        Self::remembering(etcd, Seen::default())
    }

    fn remembering(etcd: &Etcd, seen: Seen) -> Self {
        let config = Config::plain(&etcd.endpoints());
        let (store, events) = Store::new(&config, seen).unwrap();
        Self {
            store,
            events,
            next: 0,
        }
    }

    async fn event(&mut self) -> Event {
        let event = tokio::time::timeout(Duration::from_secs(40), self.events.recv()).await;
        event.expect("an event within 40 s").expect("a store")
    }

    /// Asks and waits; what a watch tells meanwhile is passed over.
    async fn ask(&mut self, request: Request) -> Reply {
        self.next += 1;
        self.store.ask(self.next, request);
        loop {
            match self.event().await {
                Event::Reply(number, reply) if number == self.next => return reply,
                Event::Stop(why) => panic!("{why}"),
                _ => {}
            }
        }
    }

    /// Asks until it is known to be done or not.
    async fn insist(&mut self, request: Request) -> Reply {
        for _ in 0..20 {
            let reply = self.ask(request.clone()).await;
            if reply != Reply::Unknown {
                return reply;
            }
        }
        panic!("{:?}", self.store.health())
    }

    async fn read(&mut self) -> (i64, Vec<Item>) {
        match self.insist(Request::Read(vec![String::new()])).await {
            Reply::Read { revision, items } => (revision, items),
            other => panic!("{other:?}"),
        }
    }

    async fn lease(&mut self, seconds: u64) -> LeaseId {
        match self
            .insist(Request::Grant(Duration::from_secs(seconds)))
            .await
        {
            Reply::Granted(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    async fn put(&mut self, unit: &str, lease: Option<LeaseId>) -> Reply {
        let txn = Txn {
            when: vec![],
            then: vec![write(unit, b"x", lease)],
        };
        self.insist(Request::Txn(txn)).await
    }

    async fn watched(&mut self) -> Watched {
        loop {
            if let Event::Watched(_, watched) = self.event().await {
                return watched;
            }
        }
    }

    fn watch(&mut self, from: i64) {
        self.next += 1;
        self.store
            .ask(self.next, Request::Watch(vec![String::new()], from));
    }

    fn health(&self) -> Health {
        self.store.health()
    }
}

fn key(unit: &str) -> Key {
    Key::Unit(unit.parse().unwrap())
}

fn write(unit: &str, value: &[u8], lease: Option<LeaseId>) -> Write {
    Write::Put {
        key: key(unit),
        value: value.to_vec(),
        lease,
    }
}

fn done(reply: &Reply) -> bool {
    matches!(reply, Reply::Txn { done: true, .. })
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(test)
}

#[test]
fn a_transaction_is_done_whole_or_not_at_all_and_a_watch_tells_it_in_order() {
    let etcd = Etcd::start(1, &[]);
    run(async {
        let mut client = Client::of(&etcd);
        let (revision, items) = client.read().await;
        assert!(items.is_empty());
        client.watch(revision + 1);
        let both = |at| Txn {
            when: vec![Compare::Created(key("a.service"), at)],
            then: vec![
                write("a.service", b"1", None),
                write("b.service", b"2", None),
            ],
        };
        assert!(done(&client.insist(Request::Txn(both(0))).await));
        assert!(!done(&client.insist(Request::Txn(both(0))).await));
        let (now, items) = client.read().await;
        let keys: Vec<&str> = items.iter().map(|item| item.key.as_str()).collect();
        assert_eq!(keys, ["units/a.service", "units/b.service"]);
        assert_eq!((items[0].created, items[0].modified), (now, now));
        // A new one from the same revision: what was told before was passed over above.
        client.watch(revision + 1);
        let told = client.watched().await;
        assert_eq!(
            told,
            Watched::Changes(now, items.into_iter().map(Change::Put).collect())
        );
    });
}

#[test]
fn a_reading_has_every_key_however_many_there_are() {
    let etcd = Etcd::start(1, &[]);
    run(async {
        let mut client = Client::of(&etcd);
        for batch in 0..8 {
            let unit = |n| write(&format!("u{batch}-{n}.service"), &[b'x'; 100], None);
            let then = (0..60).map(unit).collect();
            assert!(done(
                &client
                    .insist(Request::Txn(Txn { when: vec![], then }))
                    .await
            ));
        }
        assert_eq!(client.read().await.1.len(), 480);
    });
}

#[test]
fn what_a_lease_holds_goes_with_it_and_nothing_is_written_with_a_dead_one() {
    let etcd = Etcd::start(1, &[]);
    run(async {
        let mut client = Client::of(&etcd);
        let lease = client.lease(2).await;
        assert!(done(&client.put("a.service", Some(lease)).await));
        assert_eq!(
            client.ask(Request::KeepAlive(lease)).await,
            Reply::KeptAlive
        );
        let (revision, _) = client.read().await;
        client.watch(revision + 1);
        let gone = client.watched().await;
        let Watched::Changes(_, changes) = gone else {
            panic!("{gone:?}")
        };
        assert!(matches!(&changes[..], [Change::Deleted { key, .. }] if key == "units/a.service"));
        assert_eq!(
            client.ask(Request::KeepAlive(lease)).await,
            Reply::NoSuchLease
        );
        assert!(!done(&client.put("b.service", Some(lease)).await));
        assert!(client.read().await.1.is_empty());
    });
}

#[test]
fn a_watch_from_a_compacted_revision_ends_so_that_all_is_read_again() {
    let etcd = Etcd::start(1, &[]);
    run(async {
        let mut client = Client::of(&etcd);
        for _ in 0..5 {
            client.put("a.service", None).await;
        }
        let (revision, _) = client.read().await;
        raw(&etcd).await.compact(revision, None).await.unwrap();
        client.watch(revision - 3);
        assert_eq!(client.watched().await, Watched::Ended);
        client.watch(revision + 1);
        client.put("b.service", None).await;
        client.watch(revision + 1);
        assert!(matches!(client.watched().await, Watched::Changes(..)));
    });
}

#[test]
fn a_full_etcd_is_told_in_words_and_used_again_when_it_has_space() {
    let etcd = Etcd::start(1, &["--quota-backend-bytes", "16000000"]);
    run(async {
        let mut client = Client::of(&etcd);
        let big = Txn {
            when: vec![],
            then: vec![write("a.service", &vec![b'x'; 250_000], None)],
        };
        let trouble = until_full(&mut client, &big).await;
        assert!(trouble.contains("alarm disarm"), "{trouble}");
        let (revision, items) = client.read().await;
        assert_eq!(items.len(), 1, "what is there can be read");
        let mut raw = raw(&etcd).await;
        let physical = etcd_client::CompactionOptions::new().with_physical();
        raw.compact(revision, Some(physical)).await.unwrap();
        raw.defragment().await.unwrap();
        disarm(&mut raw).await;
        assert!(done(&client.put("b.service", None).await));
        assert_eq!(client.health().trouble, None);
    });
}

/// Writes until etcd says that it is full; its words. It counts its file only when it commits, each
/// 100 ms, and a fast machine writes many times its quota in that time: so this ends by time.
async fn until_full(client: &mut Client, txn: &Txn) -> String {
    let start = Instant::now();
    let (mut done, mut unknown) = (0, 0);
    loop {
        match client.ask(Request::Txn(txn.clone())).await {
            Reply::Unknown => unknown += 1,
            _ => done += 1,
        }
        let trouble = client.health().trouble;
        if let Some(trouble) = trouble.as_ref().filter(|t| t.contains("NOSPACE")) {
            return trouble.clone();
        }
        let seen = format!("{done} writes done, {unknown} unknown, {trouble:?}");
        assert!(
            done < 100 || start.elapsed() < Duration::from_secs(20),
            "the quota is not kept: {seen}"
        );
        assert!(unknown < 20, "no answer: {seen}");
    }
}

#[test]
fn a_restored_backup_stops_the_client_now_and_after_its_restart() {
    let mut etcd = Etcd::start(1, &[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seen.json");
    run(async {
        let mut client = Client::remembering(&etcd, Seen::load(file.clone()));
        for _ in 0..20 {
            client.put("a.service", None).await;
        }
        etcd.kill(0);
        etcd.wipe(0);
        etcd.spawn(0);
        etcd.wait_well();
        let why = stopped(&mut client).await;
        assert!(
            why.contains("a backup was restored") && why.contains("seen.json"),
            "{why}"
        );
        let mut again = Client::remembering(&etcd, Seen::load(file.clone()));
        assert!(stopped(&mut again).await.contains("a backup was restored"));
        std::fs::remove_file(&file).unwrap();
        let mut accepted = Client::remembering(&etcd, Seen::load(file.clone()));
        assert!(accepted.read().await.1.is_empty());
    });
}

async fn stopped(client: &mut Client) -> String {
    loop {
        client.store.ask(7, Request::Read(vec![String::new()]));
        loop {
            match client.event().await {
                Event::Stop(why) => return why,
                Event::Reply(7, _) => break,
                _ => {}
            }
        }
    }
}

#[test]
fn of_three_members_any_one_may_die_or_hang_and_the_watch_tells_that_it_ended() {
    let mut etcd = Etcd::start(3, &[]);
    run(async {
        let mut client = Client::of(&etcd);
        client.put("a.service", None).await;
        for number in 0..3 {
            let (revision, _) = client.read().await;
            let endpoint = client.health().endpoint;
            let in_use = etcd
                .endpoints()
                .iter()
                .position(|e| *e == endpoint)
                .unwrap();
            client.watch(revision + 1);
            if number == 1 {
                etcd.signal(in_use, "STOP");
            } else {
                etcd.kill(in_use);
            }
            let name = format!("b{number}.service");
            let lease = client.lease(60).await;
            assert_ne!(client.health().endpoint, endpoint);
            assert!(done(&client.put(&name, Some(lease)).await));
            client.watch(revision + 1);
            assert!(matches!(client.watched().await, Watched::Changes(..)));
            if number == 1 {
                etcd.signal(in_use, "CONT");
            } else {
                etcd.spawn(in_use);
            }
            etcd.wait_well();
        }
        assert_eq!(client.read().await.1.len(), 4);
    });
}

async fn raw(etcd: &Etcd) -> etcd_client::Client {
    etcd_client::Client::connect(etcd.endpoints(), None)
        .await
        .unwrap()
}

/// As `etcdctl alarm disarm` does: by member.
async fn disarm(raw: &mut etcd_client::Client) {
    use etcd_client::{AlarmAction, AlarmOptions, AlarmType};
    let kind = AlarmType::Nospace;
    let alarms = raw.alarm(AlarmAction::Get, kind, None).await.unwrap();
    for alarm in alarms.alarms() {
        let mut options = AlarmOptions::new();
        options.with_member(alarm.member_id());
        raw.alarm(AlarmAction::Deactivate, kind, Some(options))
            .await
            .unwrap();
    }
}
