//! What a kernel module says about itself in its `.modinfo` section: `key=value`, zero-terminated.
//!
//! Reads only what decides about loading.

use object::{Object, ObjectSection};

/// Names of the modules that must be loaded before this one.
///
/// # Errors
/// When the bytes are no kernel module.
pub fn depends(module: &[u8]) -> Result<Vec<String>, String> {
    let object = object::File::parse(module).map_err(|error| error.to_string())?;
    let section = object.section_by_name(".modinfo");
    let section = section.ok_or("expected a section .modinfo")?;
    let data = section.data().map_err(|error| error.to_string())?;
    Ok(parse(data))
}

fn parse(modinfo: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(modinfo);
    let mut names: Vec<String> = Vec::new();
    for entry in text.split('\0') {
        if let Some(list) = entry.strip_prefix("depends=") {
            names.extend(list.split(',').filter(|n| !n.is_empty()).map(str::to_owned));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_the_names_in_depends() {
        let section = b"license=GPL\0depends=stp,llc\0alias=x\0";
        assert_eq!(parse(section), ["stp", "llc"]);
        assert_eq!(parse(b"depends=\0"), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_module_is_refused() {
        assert!(depends(b"not an object").is_err());
    }
}
