//! What is still to be sent to one client: a reply, a list in progress, exits.
//!
//! Pure and of fixed size: a client that does not read costs no memory and loses nothing, since
//! exits are bits that point at slots.

use super::table::Table;
use formats::registration::{Reply, SLOTS};

const WORDS: usize = SLOTS.div_ceil(64);

/// One client's outbox.
#[derive(Debug, Clone)]
pub struct Outbox {
    reply: Option<Reply>,
    list_from: Option<usize>,
    subscribed: bool,
    exits: [u64; WORDS],
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            reply: None,
            list_from: None,
            subscribed: false,
            exits: [0; WORDS],
        }
    }
}

/// A message that is due; [`Outbox::sent`] takes it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// What to send.
    pub reply: Reply,
    /// The slot whose stdio descriptors go with it.
    pub stdio_of: Option<usize>,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Reply,
    Exit(usize),
    List(Option<usize>),
}

impl Outbox {
    /// Owes the client this reply. It reads no further request before it was sent.
    pub fn owe(&mut self, reply: Reply) {
        self.reply = Some(reply);
    }

    /// Starts a list of all taken slots.
    pub fn list(&mut self) {
        self.list_from = Some(0);
    }

    /// From now on exits are sent.
    pub fn subscribe(&mut self) {
        self.subscribed = true;
    }

    /// A container has exited.
    pub fn exited(&mut self, slot: usize) {
        if let Some(word) = self.exits.get_mut(slot / 64).filter(|_| self.subscribed) {
            *word |= 1 << (slot % 64);
        }
    }

    /// A slot was freed: nothing about it is due any more.
    pub fn released(&mut self, slot: usize) {
        if let Some(word) = self.exits.get_mut(slot / 64) {
            *word &= !(1 << (slot % 64));
        }
    }

    /// Whether the next request may be read.
    #[must_use]
    pub fn may_read(&self) -> bool {
        self.reply.is_none() && self.list_from.is_none()
    }

    /// The next message, if any is due.
    #[must_use]
    pub fn due<F>(&self, table: &Table<F>) -> Option<Due> {
        if let Some(reply) = self.reply {
            return Some(Due {
                reply,
                stdio_of: None,
                place: Place::Reply,
            });
        }
        if let Some((index, slot)) = self
            .first_exit()
            .and_then(|i| Some((i, table.get(i)?.slot)))
        {
            let reply = Reply::Exit(slot);
            return Some(Due {
                reply,
                stdio_of: None,
                place: Place::Exit(index),
            });
        }
        let next = table.next_taken(self.list_from?);
        let entry = next.and_then(|index| Some(Reply::Entry(table.get(index)?.slot)));
        let reply = entry.unwrap_or(Reply::End);
        Some(Due {
            reply,
            stdio_of: next,
            place: Place::List(next),
        })
    }

    /// The message was sent.
    pub fn sent(&mut self, due: &Due) {
        match due.place {
            Place::Reply => self.reply = None,
            Place::Exit(slot) => self.released(slot),
            Place::List(next) => self.list_from = next.map(|index| index + 1),
        }
    }

    fn first_exit(&self) -> Option<usize> {
        let word = self.exits.iter().position(|word| *word != 0)?;
        Some(word * 64 + self.exits[word].trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Taken;
    use super::*;
    use formats::registration::{Exit, ExitKind, Id, Slot};

    fn table(count: u32) -> Table<u32> {
        let mut table = Table::default();
        for pid in 0..count {
            let id = Id::new(&format!("c{pid}")).unwrap();
            let slot = Slot {
                id,
                pid,
                start_ticks: 0,
                exit: None,
            };
            table
                .register(Taken {
                    slot,
                    pidfd: 0,
                    stdio: [None; 4],
                })
                .unwrap();
        }
        table
    }

    fn drain(outbox: &mut Outbox, table: &Table<u32>) -> Vec<Reply> {
        std::iter::from_fn(|| {
            let due = outbox.due(table)?;
            outbox.sent(&due);
            Some(due.reply)
        })
        .collect()
    }

    fn end(table: &mut Table<u32>, pid: u32) -> usize {
        let exit = Exit {
            kind: ExitKind::Exited(0),
            at_ns: 0,
        };
        table.exited(pid, exit).unwrap()
    }

    #[test]
    fn a_list_is_every_taken_slot_then_the_end() {
        let table = table(3);
        let mut outbox = Outbox::default();
        outbox.list();
        assert!(!outbox.may_read());
        let sent = drain(&mut outbox, &table);
        assert_eq!(sent.len(), 4);
        assert_eq!(sent[3], Reply::End);
        assert!(outbox.may_read());
    }

    #[test]
    fn an_exit_that_could_not_be_sent_stays_due_and_is_sent_once() {
        let mut table = table(100);
        let mut outbox = Outbox::default();
        outbox.exited(end(&mut table, 1));
        assert_eq!(drain(&mut outbox, &table), []);
        outbox.subscribe();
        for pid in [70, 99] {
            outbox.exited(end(&mut table, pid));
        }
        assert_eq!(outbox.due(&table), outbox.due(&table));
        assert_eq!(drain(&mut outbox, &table).len(), 2);
        assert_eq!(outbox.due(&table), None);
    }

    #[test]
    fn a_released_slot_is_not_reported_under_its_next_owner() {
        let mut table = table(2);
        let mut outbox = Outbox::default();
        outbox.subscribe();
        let slot = end(&mut table, 1);
        outbox.exited(slot);
        table.release(Id::new("c1").unwrap()).unwrap();
        outbox.released(slot);
        assert_eq!(outbox.due(&table), None);
    }
}
