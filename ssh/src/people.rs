//! Who may log in: the files of keys that the host's configuration made, and the groups.
//!
//! It reads once, when the daemon starts: `/etc` does not change while a host runs.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::{fs, io};

use formats::accounts::API_GROUP;
use russh::keys::PublicKey;

use crate::grant::{self, Grant};

/// The user that every such host has; it may use the engine without being named a member.
pub const CORE: &str = "core";
/// Longest file of keys, in bytes, and most users.
const LONGEST: u64 = 256 * 1024;
const MOST: usize = 1024;

/// Users with keys.
#[derive(Debug, Default)]
pub struct People {
    users: BTreeMap<String, User>,
}

#[derive(Debug)]
struct User {
    grants: Vec<Grant>,
    is_admin: bool,
}

/// Somebody who logged in, and by which key.
#[derive(Debug, Clone)]
pub struct Person {
    /// The name that was given.
    pub name: String,
    /// The engine is theirs: all commands, Docker's API. Others may only look at the host.
    pub is_admin: bool,
    /// The key's limits.
    pub grant: Grant,
}

impl People {
    /// Reads the folder of keys, a file for each user, and group(5). The second value is what was
    /// left out, a sentence each.
    ///
    /// # Errors
    /// When the folder is there and cannot be read.
    pub fn read(folder: &Path, group: &Path) -> io::Result<(Self, Vec<String>)> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
            Err(e) => return Err(e),
        };
        let group = fs::read_to_string(group).unwrap_or_default();
        let (mut people, mut problems) = (Self::default(), Vec::new());
        for entry in entries.take(MOST) {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if entry.metadata()?.len() > LONGEST {
                problems.push(format!("{name}: more than {LONGEST} bytes of keys"));
                continue;
            }
            let text = fs::read_to_string(entry.path())?;
            people.add(&name, &text, is_member(&group, &name), &mut problems);
        }
        Ok((people, problems))
    }

    fn add(&mut self, name: &str, keys: &str, is_admin: bool, problems: &mut Vec<String>) {
        let mut grants = Vec::new();
        for (number, line) in (1..).zip(keys.lines()) {
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            match grant::parse(line) {
                Ok(grant) => grants.push(grant),
                Err(problem) => problems.push(format!("key {number} of {name}: {problem}")),
            }
        }
        if !grants.is_empty() {
            self.users
                .insert(name.to_owned(), User { grants, is_admin });
        }
    }

    /// Whether nobody may log in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Users with keys, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(String::as_str)
    }

    /// Whom this key makes of somebody who calls from there.
    #[must_use]
    pub fn find(&self, name: &str, key: &PublicKey, from: IpAddr) -> Option<Person> {
        let user = self.users.get(name)?;
        let fits = |grant: &&Grant| {
            grant.key.key_data() == key.key_data()
                && (grant.from.is_empty() || grant.from.iter().any(|n| n.contains(from)))
        };
        Some(Person {
            name: name.to_owned(),
            is_admin: user.is_admin,
            grant: user.grants.iter().find(fits)?.clone(),
        })
    }
}

/// `core`, root, and the members of the group that may use the engine.
fn is_member(group: &str, name: &str) -> bool {
    let mut lines = group.lines().map(|line| line.split(':'));
    let members = lines.find_map(|mut fields| {
        (fields.next() == Some(API_GROUP)).then(|| fields.nth(2).unwrap_or_default())
    });
    [CORE, "root"].contains(&name)
        || members.is_some_and(|all| all.split(',').any(|member| member == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    fn people(files: &[(&str, &str)], group: &str) -> (People, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        fs::create_dir(&keys).unwrap();
        for (name, text) in files {
            fs::write(keys.join(name), text).unwrap();
        }
        let groups = folder.path().join("group");
        fs::write(&groups, group).unwrap();
        People::read(&keys, &groups).unwrap()
    }

    #[test]
    fn core_and_members_have_the_engine_and_others_look() {
        let files = [("core", KEY), ("ann", KEY), ("bob", KEY)];
        let (people, problems) = people(&files, "root:x:0:\nskeg:x:64900:ann,joe\n");
        assert_eq!(problems, [""; 0]);
        let key = PublicKey::from_openssh(KEY).unwrap();
        let from = IpAddr::from([192, 0, 2, 1]);
        let is_admin = |name| people.find(name, &key, from).map(|p| p.is_admin);
        assert_eq!(is_admin("core"), Some(true));
        assert_eq!(is_admin("ann"), Some(true));
        assert_eq!(is_admin("bob"), Some(false));
        assert!(is_admin("joe").is_none());
    }

    #[test]
    fn a_bad_line_is_named_and_the_others_hold() {
        let text = format!("# mine\n\nnonsense\nfrom=\"192.0.2.0/24\" {KEY}\n");
        let (people, problems) = people(&[("core", &text), ("eve", "x y\n")], "");
        assert_eq!(problems.len(), 2);
        assert!(problems.iter().any(|p| p.starts_with("key 3 of core: ")));
        assert_eq!(people.names().collect::<Vec<_>>(), ["core"]);
        let key = PublicKey::from_openssh(KEY).unwrap();
        let from = |last| people.find("core", &key, IpAddr::from([192, 0, last, 1]));
        assert!(from(2).is_some() && from(3).is_none());
    }

    #[test]
    fn a_host_without_keys_has_nobody() {
        let (people, _) =
            People::read(Path::new("/nonexistent/keys"), Path::new("/nonexistent")).unwrap();
        assert!(people.is_empty());
    }
}
