//! The degraded states: what is missing or broken while the host goes on.
//!
//! Pure: a set of named sentences. Nothing here is an error that stops anything.

use formats::status::Degraded;

/// More states than a host can have; a bound, should a name be made up per event.
const MOST: usize = 64;

/// The set, in the order in which states appeared.
#[derive(Debug, Default)]
pub struct DegradedSet {
    states: Vec<Degraded>,
}

impl DegradedSet {
    /// Adds or replaces a state; true when it is new or its text has changed.
    pub fn add(&mut self, name: &str, text: &str) -> bool {
        if let Some(known) = self.states.iter_mut().find(|state| state.name == name) {
            let changed = known.text != text;
            text.clone_into(&mut known.text);
            return changed;
        }
        let room = self.states.len() < MOST;
        if room {
            self.states.push(Degraded {
                name: name.to_owned(),
                text: text.to_owned(),
            });
        }
        room
    }

    /// Removes a state; true when it was there.
    pub fn clear(&mut self, name: &str) -> bool {
        let before = self.states.len();
        self.states.retain(|state| state.name != name);
        self.states.len() != before
    }

    /// All states.
    #[must_use]
    pub fn states(&self) -> &[Degraded] {
        &self.states
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_there_once_and_goes_when_it_is_cleared() {
        let mut set = DegradedSet::default();
        assert!(set.add("state-missing", "a"));
        assert!(!set.add("state-missing", "a"));
        assert!(set.add("state-missing", "b"));
        assert_eq!(set.states().len(), 1);
        assert!(set.clear("state-missing"));
        assert!(!set.clear("state-missing"));
    }
}
