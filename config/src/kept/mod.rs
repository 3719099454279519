//! The accepted configuration on STATE: generations, of which one is current.
//!
//! A generation is written whole, then made current by one rename; a cut leaves the old one.

mod generation;
mod place;

pub use generation::{Accepted, accept, accepted, appended};
pub use place::{lay_over, put_absent};

use std::path::PathBuf;

/// Where things are; tests put them elsewhere.
#[derive(Debug, Clone)]
pub struct Places {
    /// The folder of generations, on STATE.
    pub generations: PathBuf,
    /// What `/etc` and `/var` are below.
    pub root: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        let current = std::path::Path::new(formats::paths::CONFIG);
        Self {
            generations: current.parent().unwrap_or(current).to_owned(),
            root: "/".into(),
        }
    }
}
