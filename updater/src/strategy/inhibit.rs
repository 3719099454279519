//! Inhibitors: files in `/run/skeg/inhibit`, whose presence keeps the host from going down by itself.
//!
//! A person's `skeg update reboot` is not kept by them. A boot begins without any.

use std::fs;
use std::io::Read;
use std::path::Path;

/// No more of a file is shown, in bytes.
const LONGEST: u64 = 200;

/// The first of them, with what it says, for people.
#[must_use]
pub fn first(folder: &Path) -> Option<String> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = files
        .filter_map(|file| file.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    let name = names.first()?;
    let mut text = Vec::new();
    if let Ok(file) = fs::File::open(folder.join(name)) {
        // What cannot be read inhibits all the same.
        let _ = file.take(LONGEST).read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text);
    let text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    Some(match text.is_empty() {
        true => format!("inhibited by {name}"),
        false => format!("inhibited by {name}: {text}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_inhibits_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(first(folder.path()), None);
        assert_eq!(first(&folder.path().join("none")), None);
        fs::write(folder.path().join("backup"), "until \x1b[2Jtwo\n").unwrap();
        fs::write(folder.path().join("other"), "").unwrap();
        assert_eq!(
            first(folder.path()).unwrap(),
            "inhibited by backup: until [2Jtwo"
        );
        fs::remove_file(folder.path().join("backup")).unwrap();
        assert_eq!(first(folder.path()).unwrap(), "inhibited by other");
    }
}
