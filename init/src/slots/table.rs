//! The slots: what PID 1 knows of each registered container, until the engine releases it.
//!
//! Pure, over any kind of descriptor `F`. All room is reserved at the start: registering, reaping and
//! releasing allocate nothing.

use formats::registration::{ErrorCode, Exit, Id, MAX_STDIO, SLOTS, Slot};

/// A registered container with its descriptors, which are dropped with it and never before.
#[derive(Debug)]
pub struct Taken<F> {
    /// What the engine sees.
    pub slot: Slot,
    /// Names the process for good.
    pub pidfd: F,
    /// Stdio ends, in the engine's order.
    pub stdio: [Option<F>; MAX_STDIO],
}

/// All slots.
#[derive(Debug)]
pub struct Table<F> {
    slots: Vec<Option<Taken<F>>>,
}

impl<F> Default for Table<F> {
    fn default() -> Self {
        Self {
            slots: Vec::with_capacity(SLOTS),
        }
    }
}

impl<F> Table<F> {
    /// Whether this container could be registered; the number is the slot's that it would get.
    ///
    /// # Errors
    /// [`ErrorCode::Exists`] or [`ErrorCode::Full`].
    pub fn room_for(&self, id: Id) -> Result<usize, ErrorCode> {
        if self.find(id).is_some() {
            return Err(ErrorCode::Exists);
        }
        match self.slots.iter().position(Option::is_none) {
            Some(free) => Ok(free),
            None if self.slots.len() < SLOTS => Ok(self.slots.len()),
            None => Err(ErrorCode::Full),
        }
    }

    /// Puts a container into a slot and returns its number.
    ///
    /// # Errors
    /// As [`Table::room_for`], or [`ErrorCode::Exists`] when another slot holds this running process,
    /// whose exit only one of the two would ever hear of; then nothing has changed, and the descriptors are closed.
    pub fn register(&mut self, taken: Taken<F>) -> Result<usize, ErrorCode> {
        let index = self.room_for(taken.slot.id)?;
        if self.running(taken.slot.pid).is_some() {
            return Err(ErrorCode::Exists);
        }
        match self.slots.get_mut(index) {
            Some(slot) => *slot = Some(taken),
            None => self.slots.push(Some(taken)),
        }
        Ok(index)
    }

    /// Records that this process was reaped; the slot's number if it is a container's.
    pub fn exited(&mut self, pid: u32, exit: Exit) -> Option<usize> {
        let index = self.running(pid)?;
        if let Some(Some(taken)) = self.slots.get_mut(index) {
            taken.slot.exit = Some(exit);
        }
        Some(index)
    }

    /// Frees the slot of a container that has exited: its number, and what it held.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] or [`ErrorCode::Running`].
    pub fn release(&mut self, id: Id) -> Result<(usize, Taken<F>), ErrorCode> {
        let index = self.find(id).ok_or(ErrorCode::NotFound)?;
        if self
            .get(index)
            .is_some_and(|taken| taken.slot.exit.is_none())
        {
            return Err(ErrorCode::Running);
        }
        let taken = self.slots.get_mut(index).and_then(Option::take);
        taken.map(|taken| (index, taken)).ok_or(ErrorCode::NotFound)
    }

    /// What is in a slot.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Taken<F>> {
        self.slots.get(index)?.as_ref()
    }

    /// The first taken slot at or after this number.
    #[must_use]
    pub fn next_taken(&self, from: usize) -> Option<usize> {
        (from..self.slots.len()).find(|index| self.slots[*index].is_some())
    }

    /// How many slots are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    fn running(&self, pid: u32) -> Option<usize> {
        let runs = |slot: &Slot| slot.pid == pid && slot.exit.is_none();
        self.slots
            .iter()
            .position(|s| s.as_ref().is_some_and(|t| runs(&t.slot)))
    }

    fn find(&self, id: Id) -> Option<usize> {
        self.slots
            .iter()
            .position(|s| s.as_ref().is_some_and(|t| t.slot.id == id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::registration::ExitKind;
    use proptest::prelude::*;

    fn taken(name: &str, pid: u32) -> Taken<u32> {
        let id = Id::new(name).unwrap();
        let slot = Slot {
            id,
            pid,
            start_ticks: 1,
            exit: None,
        };
        Taken {
            slot,
            pidfd: pid,
            stdio: [Some(1), Some(2), None, None],
        }
    }

    fn exit(code: u8) -> Exit {
        Exit {
            kind: ExitKind::Exited(code),
            at_ns: 5,
        }
    }

    #[test]
    fn an_exit_waits_with_its_descriptors_until_it_is_released() {
        let mut table = Table::default();
        let web = Id::new("web").unwrap();
        assert_eq!(table.register(taken("web", 7)), Ok(0));
        assert_eq!(table.release(web).unwrap_err(), ErrorCode::Running);
        assert_eq!(table.exited(8, exit(0)), None);
        assert_eq!(table.exited(7, exit(3)), Some(0));
        assert_eq!(table.get(0).unwrap().slot.exit, Some(exit(3)));
        let (index, held) = table.release(web).unwrap();
        assert_eq!((index, held.stdio), (0, [Some(1), Some(2), None, None]));
        assert_eq!(table.release(web).unwrap_err(), ErrorCode::NotFound);
    }

    #[test]
    fn a_reused_pid_does_not_overwrite_the_record_of_its_predecessor() {
        let mut table = Table::default();
        table.register(taken("old", 7)).unwrap();
        table.exited(7, exit(1));
        table.register(taken("new", 7)).unwrap();
        assert_eq!(table.exited(7, exit(2)), Some(1));
        assert_eq!(table.get(0).unwrap().slot.exit, Some(exit(1)));
    }

    #[test]
    fn a_process_has_one_slot_only() {
        let mut table = Table::default();
        table.register(taken("web", 7)).unwrap();
        assert_eq!(table.register(taken("again", 7)), Err(ErrorCode::Exists));
        table.exited(7, exit(1));
        assert_eq!(table.register(taken("again", 7)), Ok(1));
    }

    #[test]
    fn every_slot_can_be_taken_and_then_a_start_is_refused() {
        let mut table = Table::default();
        for i in 0..SLOTS {
            let pid = u32::try_from(i).unwrap() + 2;
            assert_eq!(table.register(taken(&format!("c{i}"), pid)), Ok(i));
        }
        assert_eq!(table.register(taken("more", 1)), Err(ErrorCode::Full));
        table.exited(9, exit(0));
        table.release(Id::new("c7").unwrap()).unwrap();
        assert_eq!(table.register(taken("more", 1)), Ok(7));
        assert_eq!(table.register(taken("more", 2)), Err(ErrorCode::Exists));
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_was_registered_and_not_released(
            steps in prop::collection::vec((0u8..3, 0u32..8), 0..60)
        ) {
            let mut table = Table::default();
            let mut model = std::collections::BTreeMap::new();
            for (what, n) in steps {
                let id = Id::new(&n.to_string()).unwrap();
                match what {
                    0 => {
                        let fresh = !model.contains_key(&n);
                        prop_assert_eq!(table.register(taken(&n.to_string(), n)).is_ok(), fresh);
                        model.entry(n).or_insert(false);
                    }
                    1 => {
                        let running = model.get(&n) == Some(&false);
                        prop_assert_eq!(table.exited(n, exit(0)).is_some(), running);
                        if running { model.insert(n, true); }
                    }
                    _ => {
                        let done = model.get(&n) == Some(&true);
                        prop_assert_eq!(table.release(id).is_ok(), done);
                        if done { model.remove(&n); }
                    }
                }
                prop_assert_eq!(table.taken(), model.len());
            }
        }
    }
}
