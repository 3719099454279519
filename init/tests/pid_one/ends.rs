//! A role: ten thousand containers end, and the exit code of each is told.
//!
//! It keeps no exit code of its own: what it expects follows from a container's number.

use crate::client::Client;
use crate::roles::{Container, id, register};
use formats::registration::{ExitKind, Reply, Request};
use std::path::Path;
use std::time::Duration;

/// Ten thousand containers, a hundred at a time, each with an exit code of its own. Every tenth hundred ends
/// while nobody listens, and is told by the list.
pub fn play(folder: &Path) {
    let client = Client::connect(folder);
    for batch in 0..100u32 {
        let unheard = batch % 10 == 9;
        let listener = Client::connect(folder);
        if !unheard {
            assert_eq!(listener.ask(Request::Subscribe, &[]), Reply::Ok { slot: 0 });
        }
        let code = |n: u32| u8::try_from((batch * 7 + n) % 256).unwrap();
        let name = |n: u32| format!("c{batch}-{n}");
        let mut containers: Vec<Container> = (0..100).map(|n| Container::new(code(n))).collect();
        for (n, container) in (0..).zip(&containers) {
            let reply = register(&client, &name(n), container, &[]);
            assert!(matches!(reply, Reply::Ok { .. }), "{reply:?}");
        }
        containers.iter_mut().for_each(Container::end);
        let ended: Vec<formats::registration::Slot> = if unheard {
            loop {
                let slots = client.list().into_iter().map(|(slot, _)| slot);
                let slots: Vec<_> = slots.filter(|slot| slot.exit.is_some()).collect();
                if slots.len() == 100 {
                    break slots;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        } else {
            let exit = |_| match listener.receive().0 {
                Reply::Exit(slot) => slot,
                other => panic!("expected an exit, found {other:?}"),
            };
            (0..100).map(exit).collect()
        };
        for (n, container) in (0..).zip(&containers) {
            let slot = ended.iter().find(|slot| slot.id == id(&name(n))).unwrap();
            let kind = slot.exit.unwrap().kind;
            assert_eq!((slot.pid, kind), (container.pid, ExitKind::Exited(code(n))));
            let released = client.ask(Request::Release { id: slot.id }, &[]);
            assert!(matches!(released, Reply::Ok { .. }), "{released:?}");
        }
    }
    assert_eq!(client.list().len(), 0);
}
