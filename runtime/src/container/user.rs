//! The user of a process: looked up in the container's own `/etc/passwd` and `/etc/group`, and taken on.
//!
//! The host's user database is never asked, and no C library function resolves a name.

use std::fmt;

use rustix::process::{Gid, Uid};
use serde::{Deserialize, Serialize};

use super::capabilities::{self, Sets};
use super::failure::{Doing, Failure};
use super::mutant::{Defence, lacks};

/// Who a process is to be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UserChoice {
    /// `user[:group]` as Docker takes it, each a name or a number; looked up in the container.
    pub name: Option<String>,
    /// The user's number, when there is no name.
    pub uid: u32,
    /// The group's number, when there is no name.
    pub gid: u32,
    /// Supplementary groups over those that `/etc/group` gives.
    pub groups: Vec<u32>,
    /// The groups of whoever starts it stay, and no others are set.
    #[serde(default)]
    pub keep_groups: bool,
}

impl fmt::Display for UserChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}"),
            None => write!(f, "{}:{}", self.uid, self.gid),
        }
    }
}

/// Who a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home directory, `/` when unknown.
    pub home: String,
    /// The groups that there are stay.
    pub keep_groups: bool,
}

impl UserChoice {
    /// The user, from the texts of the container's passwd(5) and group(5); both may be empty.
    ///
    /// # Errors
    /// The name that is in neither, or a number that is none.
    pub fn resolve(&self, passwd: &str, group: &str) -> Result<User, Failure> {
        let user = self.look_up(passwd, group)?;
        for (what, number) in [("user", user.uid), ("group", user.gid)] {
            if number == UNCHANGED {
                let reason = "to the kernel this number means that nothing is changed";
                return Err(Failure::refused(what, number.to_string(), reason));
            }
        }
        Ok(user)
    }

    fn look_up(&self, passwd: &str, group: &str) -> Result<User, Failure> {
        let Some(name) = self.name.as_deref().filter(|name| !name.is_empty()) else {
            let entry = accounts(passwd).find(|account| account.uid == self.uid);
            return Ok(User {
                uid: self.uid,
                gid: self.gid,
                groups: self.groups.clone(),
                home: entry.map_or_else(|| "/".into(), |account| account.home.into()),
                keep_groups: self.keep_groups,
            });
        };
        let (user, wanted_group) = match name.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
            None => (name, None),
        };
        let account = accounts(passwd).find(|account| account.name == user);
        let number = user.parse().ok();
        let account = account.or_else(|| accounts(passwd).find(|a| Some(a.uid) == number));
        let uid = account.as_ref().map(|account| account.uid).or(number);
        let uid = uid.ok_or_else(|| unknown("user", user, "/etc/passwd"))?;
        let mut resolved = User {
            uid,
            gid: account.as_ref().map_or(0, |account| account.gid),
            groups: self.groups.clone(),
            home: account
                .as_ref()
                .map_or_else(|| "/".into(), |account| account.home.into()),
            keep_groups: self.keep_groups,
        };
        match wanted_group {
            Some(wanted) => resolved.gid = group_number(group, wanted)?,
            None => {
                let member = account.as_ref().map_or("", |account| account.name);
                resolved.groups.extend(memberships(group, member));
            }
        }
        resolved.groups.sort_unstable();
        resolved.groups.dedup();
        Ok(resolved)
    }
}

fn unknown(what: &str, name: &str, file: &str) -> Failure {
    let reason =
        format!("{what} is not in the container's {file}, and no number from 0 to 4294967294");
    Failure::refused("user", name, reason)
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// passwd(5): `name:password:uid:gid:gecos:home:shell`; malformed lines are no accounts.
fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).filter(|home| !home.is_empty()).unwrap_or("/");
        Some(Account {
            name,
            uid,
            gid,
            home,
        })
    })
}

/// group(5): `name:password:gid:member,member`.
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or("")))
    })
}

fn group_number(group: &str, wanted: &str) -> Result<u32, Failure> {
    let named = groups(group).find(|(name, ..)| *name == wanted);
    named
        .map(|(_, gid, _)| gid)
        .or_else(|| wanted.parse().ok())
        .ok_or_else(|| unknown("group", wanted, "/etc/group"))
}

fn memberships<'a>(group: &'a str, user: &'a str) -> impl Iterator<Item = u32> + 'a {
    groups(group)
        .filter(move |(.., members)| !user.is_empty() && members.split(',').any(|m| m == user))
        .map(|(_, gid, _)| gid)
}

/// With this number setresuid(2) and setresgid(2) succeed, and root stays root.
const UNCHANGED: u32 = u32::MAX;

/// Becomes user and group 0 of a user namespace that has just got its maps; capabilities stay.
pub(crate) fn become_root(keep_groups: bool) -> Result<(), Failure> {
    if !keep_groups {
        set_groups(&[])?;
    }
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    rustix::thread::set_thread_res_gid(gid, gid, gid).doing("setresgid", "0")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).doing("setresuid", "0")
}

/// A user namespace may deny setgroups(2) for good; then nothing but no groups can be asked for.
fn set_groups(groups: &[Gid]) -> Result<(), Failure> {
    match rustix::thread::set_thread_groups(groups) {
        Err(rustix::io::Errno::PERM) if groups.is_empty() => Ok(()),
        done => done.doing("setgroups", ""),
    }
}

/// Becomes `user` with these capabilities: bounding set, groups, group, user, the other sets.
pub(crate) fn become_user(user: &User, sets: &Sets) -> Result<(), Failure> {
    if lacks(Defence::Capabilities) {
        return Ok(());
    }
    capabilities::limit_bounding(sets.bounding)?;
    rustix::thread::set_keep_capabilities(true).doing("prctl keepcaps", "")?;
    let groups: Vec<Gid> = user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    if !user.keep_groups {
        set_groups(&groups)?;
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid).doing("setresgid", user.gid.to_string())?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).doing("setresuid", user.uid.to_string())?;
    rustix::thread::set_keep_capabilities(false).doing("prctl keepcaps", "")?;
    capabilities::set(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nwww:x:33:34:web:/var/www:/bin/sh\n\
        7:x:70:70::/seven:\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nlog:x:4:syslog,www\ntape:x:26:www\n";

    fn resolve(name: &str) -> Result<User, Failure> {
        let choice = UserChoice {
            name: Some(name.into()),
            ..UserChoice::default()
        };
        choice.resolve(PASSWD, GROUP)
    }

    #[test]
    fn a_name_brings_its_groups_and_home() {
        let user = resolve("www").unwrap();
        assert_eq!((user.uid, user.gid), (33, 34));
        assert_eq!(user.groups, [4, 26]);
        assert_eq!(user.home, "/var/www");
    }

    #[test]
    fn a_number_is_looked_up_too_and_need_not_be_there() {
        assert_eq!(resolve("33").unwrap().gid, 34);
        let user = resolve("1000").unwrap();
        assert_eq!((user.uid, user.gid, user.home.as_str()), (1000, 0, "/"));
    }

    #[test]
    fn a_name_made_of_digits_is_a_name_first() {
        assert_eq!(resolve("7").unwrap().uid, 70);
    }

    #[test]
    fn a_group_given_by_hand_is_the_only_one() {
        let user = resolve("www:log").unwrap();
        assert_eq!((user.gid, user.groups.len()), (4, 0));
        assert_eq!(resolve("www:99").unwrap().gid, 99);
    }

    #[test]
    fn unknown_names_are_refused_and_named() {
        let error = resolve("nobody-here").unwrap_err();
        assert!(error.to_string().contains("user nobody-here"), "{error}");
        let error = resolve("www:nogroup").unwrap_err();
        assert!(error.to_string().contains("/etc/group"), "{error}");
    }
}
