//! The order in which modules load: each after all that it depends on.
//!
//! Pure: asks a [`Catalogue`] and never looks at a file.

use std::collections::BTreeSet;

use super::ModuleError;

/// What is known about modules.
pub trait Catalogue {
    /// Whether the kernel has it built in.
    fn is_builtin(&self, name: &str) -> bool;
    /// What a module depends on, `None` when there is no such module.
    ///
    /// # Errors
    /// When the module cannot be read.
    fn depends(&mut self, name: &str) -> Result<Option<Vec<String>>, ModuleError>;
}

/// The name by which the kernel knows the module at a path.
#[must_use]
pub fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.split(".ko").next().unwrap_or(file);
    name.replace('-', "_")
}

/// All modules to load for the wanted ones, dependencies first, each once.
///
/// # Errors
/// When one is neither a module nor built in.
pub fn order(wanted: &[&str], catalogue: &mut impl Catalogue) -> Result<Vec<String>, ModuleError> {
    let mut walk = Walk {
        catalogue,
        seen: BTreeSet::new(),
        order: Vec::new(),
    };
    for name in wanted {
        walk.visit(&name_of(name), "the recipe")?;
    }
    Ok(walk.order)
}

struct Walk<'a, C> {
    catalogue: &'a mut C,
    seen: BTreeSet<String>,
    order: Vec<String>,
}

impl<C: Catalogue> Walk<'_, C> {
    fn visit(&mut self, name: &str, wanted_by: &str) -> Result<(), ModuleError> {
        if self.catalogue.is_builtin(name) || !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let depends = self.catalogue.depends(name)?;
        let depends = depends.ok_or_else(|| ModuleError::Unknown {
            name: name.to_owned(),
            wanted_by: wanted_by.to_owned(),
        })?;
        for dependency in depends {
            self.visit(&name_of(&dependency), name)?;
        }
        self.order.push(name.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(&'static [(&'static str, &'static [&'static str])]);

    impl Catalogue for Fake {
        fn is_builtin(&self, name: &str) -> bool {
            name == "ext4"
        }

        fn depends(&mut self, name: &str) -> Result<Option<Vec<String>>, ModuleError> {
            let found = self.0.iter().find(|(known, _)| *known == name);
            Ok(found.map(|(_, list)| list.iter().map(|&d| d.to_owned()).collect()))
        }
    }

    const BRIDGE: Fake = Fake(&[("bridge", &["stp", "llc"]), ("stp", &["llc"]), ("llc", &[])]);

    #[test]
    fn dependencies_load_first_and_once_and_built_in_ones_not_at_all() {
        let order = order(&["ext4", "bridge", "stp"], &mut { BRIDGE }).unwrap();
        assert_eq!(order, ["llc", "stp", "bridge"]);
    }

    #[test]
    fn a_missing_module_is_named_with_the_one_that_needs_it() {
        let mut fake = Fake(&[("veth", &["gone-one"])]);
        let error = order(&["veth"], &mut fake).unwrap_err();
        let expected = "kernel module gone_one (for veth): the kernel has none of that name";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn file_names_and_kernel_names_are_the_same_module() {
        assert_eq!(
            name_of("kernel/drivers/char/hw_random/virtio-rng.ko.xz"),
            "virtio_rng"
        );
    }
}
