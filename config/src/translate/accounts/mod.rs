//! `passwd`: users and groups become passwd(5), group(5), shadow(5), and a file of keys for each user.
//!
//! A user keeps its number for as long as configurations name it; no home folder is made.

mod ids;
mod keys;

use super::Host;
use super::owner::Names;
use crate::json::Node;
use crate::problem::Findings;
use crate::tree::{Entry, Tree};
use formats::accounts::API_GROUP;
use ids::Ids;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Groups that other hosts have; nothing here is theirs.
const ELSEWHERE: [&str; 6] = ["wheel", "sudo", "adm", "systemd-journal", "docker", "users"];
/// The group of users that have none of their own.
const USERS: u32 = 100;

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    node: &'a Node,
}

/// Adds the accounts to the tree; returns all names that owners may have.
pub fn translate(config: &Node, host: &Host, tree: &mut Tree, findings: &mut Findings) -> Names {
    let mut names = known(host);
    let Some(passwd) = config.get("passwd") else {
        return names;
    };
    let mut gids = Ids::new(&host.earlier_group, &host.image_group);
    gids.reserve(asked(passwd, "groups", "gid"));
    let groups = groups(passwd, &mut gids, findings);
    let mut uids = Ids::new(&host.earlier_passwd, &host.image_passwd);
    uids.reserve(asked(passwd, "users", "uid"));
    let mut own: BTreeMap<&str, u32> = groups.into_iter().collect();
    let users = users(passwd, (&mut uids, &mut gids), &mut own, findings);
    let members = members(passwd, &users, &own, findings);
    for user in &users {
        names.users.insert(user.name.to_owned(), user.uid);
    }
    for (name, gid) in &own {
        names.groups.insert((*name).to_owned(), *gid);
    }
    if !users.is_empty() || !own.is_empty() {
        write(&users, &own, &members, tree, findings);
    }
    names
}

/// Root, and what the image has.
fn known(host: &Host) -> Names {
    let number = |text: &str| -> BTreeMap<String, u32> {
        let lines = text.lines().filter_map(|line| {
            let mut fields = line.split(':');
            Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
        });
        lines.collect()
    };
    let mut names = Names {
        users: number(&host.image_passwd),
        groups: number(&host.image_group),
    };
    names.users.insert("root".to_owned(), 0);
    names.groups.insert("root".to_owned(), 0);
    names
}

fn asked<'a>(
    passwd: &'a Node,
    list: &'a str,
    number: &'a str,
) -> impl Iterator<Item = (&'a str, i64)> {
    passwd
        .list(list)
        .filter_map(move |node| Some((node.text("name")?, node.number(number)?)))
}

fn is_wanted(node: &Node) -> bool {
    node.flag("shouldExist") != Some(false)
}

fn groups<'a>(passwd: &'a Node, gids: &mut Ids, findings: &mut Findings) -> Vec<(&'a str, u32)> {
    let mut made = Vec::new();
    for (index, node) in passwd.list("groups").enumerate() {
        let field = format!("passwd.groups[{index}]");
        let name = name(node, &field, findings);
        if !is_wanted(node) {
            continue;
        }
        let system = node.flag("system") == Some(true);
        match gids.give(name, node.number("gid"), system) {
            Ok(gid) => made.push((name, gid)),
            Err(text) => findings.error(node.at, &format!("{field}.gid"), text),
        }
    }
    made
}

fn users<'a>(
    passwd: &'a Node,
    (uids, gids): (&mut Ids, &mut Ids),
    groups: &mut BTreeMap<&'a str, u32>,
    findings: &mut Findings,
) -> Vec<Account<'a>> {
    let mut made = Vec::new();
    for (index, node) in passwd.list("users").enumerate() {
        let field = format!("passwd.users[{index}]");
        let name = name(node, &field, findings);
        if !is_wanted(node) {
            continue;
        }
        fields(node, &field, findings);
        if name == "root" {
            made.push(Account {
                name,
                uid: 0,
                gid: 0,
                node,
            });
            continue;
        }
        let system = node.flag("system") == Some(true);
        let uid = match uids.give(name, node.number("uid"), system) {
            Ok(uid) => uid,
            Err(text) => {
                findings.error(node.at, &format!("{field}.uid"), text);
                continue;
            }
        };
        let gid = match node.text("primaryGroup").filter(|name| !name.is_empty()) {
            Some(group) => groups.get(group).copied().unwrap_or_else(|| {
                let text = format!("no group {group:?}: declare it in passwd.groups");
                findings.error(node.at, &format!("{field}.primaryGroup"), text);
                USERS
            }),
            None if node.flag("noUserGroup") == Some(true) => USERS,
            None => match groups.get(name) {
                Some(gid) => *gid,
                None => gids.beside(name, uid),
            },
        };
        if gid != USERS && node.text("primaryGroup").is_none() {
            groups.insert(name, gid);
        }
        made.push(Account {
            name,
            uid,
            gid,
            node,
        });
    }
    made
}

fn name<'a>(node: &'a Node, field: &str, findings: &mut Findings) -> &'a str {
    let name = node.text("name").unwrap_or_default();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b);
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let field = format!("{field}.name");
    if !begins || name.len() > 32 || !name.bytes().all(plain) {
        let text = "expected 1 to 32 of a-z, 0-9, _, - and ., a letter or _ first";
        findings.error(node.at, &field, text);
    } else if name == API_GROUP || name.starts_with("skeg-") {
        findings.error(node.at, &field, "is an account of the host's own");
    }
    name
}

/// Values that come to stand between colons.
fn fields(node: &Node, field: &str, findings: &mut Findings) {
    for key in ["gecos", "homeDir", "passwordHash"] {
        let Some(value) = node.get(key) else { continue };
        let text = value.as_text().unwrap_or_default();
        let field = format!("{field}.{key}");
        // Never the value: it may be a secret.
        if text.chars().any(|c| c == ':' || c.is_control()) {
            findings.error(value.at, &field, "has a colon or a control character");
        } else if key == "homeDir" && !text.is_empty() && !text.starts_with('/') {
            findings.error(value.at, &field, "expected an absolute path");
        } else if key == "passwordHash" && !is_hash(text) {
            let text = "expected a hash of crypt(3), like $y$… or $6$…, or ! for none";
            findings.error(value.at, &field, text);
        }
    }
    keys::check(node, field, findings);
}

fn is_hash(text: &str) -> bool {
    let locked = ["", "!", "!!", "*"].contains(&text);
    let crypt = text.trim_start_matches('!');
    locked || (crypt.starts_with('$') && crypt.matches('$').count() >= 3)
}

/// Supplementary members of each group.
fn members<'a>(
    passwd: &'a Node,
    users: &[Account<'a>],
    groups: &BTreeMap<&'a str, u32>,
    findings: &mut Findings,
) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for user in users {
        let index = passwd
            .list("users")
            .position(|node| node.at == user.node.at);
        let field = format!("passwd.users[{}].groups", index.unwrap_or_default());
        for group in user.node.list("groups") {
            let name = group.as_text().unwrap_or_default();
            if groups.contains_key(name) || name == API_GROUP {
                members.entry(name).or_default().insert(user.name);
            } else if ELSEWHERE.contains(&name) {
                let text = format!(
                    "has no effect: this host has no group {name}; the one that may use the engine is {API_GROUP}"
                );
                findings.note(group.at, &field, text);
            } else {
                let text = format!("no group {name:?}: declare it in passwd.groups");
                findings.error(group.at, &field, text);
            }
        }
    }
    members
}

fn write(
    users: &[Account<'_>],
    groups: &BTreeMap<&str, u32>,
    members: &BTreeMap<&str, BTreeSet<&str>>,
    tree: &mut Tree,
    findings: &Findings,
) {
    if !findings.errors.is_empty() {
        return;
    }
    let mut passwd = String::new();
    let mut shadow = String::new();
    if !users.iter().any(|user| user.name == "root") {
        passwd += "root:x:0:0::/:/bin/false\n";
    }
    for user in users {
        let (name, uid, gid) = (user.name, user.uid, user.gid);
        let gecos = user.node.text("gecos").unwrap_or_default();
        let home = user.node.text("homeDir").filter(|home| !home.is_empty());
        let _ = writeln!(
            passwd,
            "{name}:x:{uid}:{gid}:{gecos}:{}:/bin/false",
            home.unwrap_or("/")
        );
        let hash = user
            .node
            .text("passwordHash")
            .filter(|hash| !hash.is_empty());
        let _ = writeln!(shadow, "{name}:{}:::::::", hash.unwrap_or("!"));
        keys::write(user.node, name, tree);
    }
    let mut group = String::from("root:x:0:\n");
    let line = |name: &str, gid: u32| {
        let names = members.get(name).into_iter().flatten().copied();
        format!("{name}:x:{gid}:{}\n", names.collect::<Vec<_>>().join(","))
    };
    for (name, gid) in groups.iter().filter(|(name, _)| **name != "root") {
        group += &line(name, *gid);
    }
    if members.contains_key(API_GROUP) {
        group += &line(API_GROUP, ids::API_GID);
    }
    tree.add("/etc/passwd", Entry::file(passwd, 0o644));
    tree.add("/etc/group", Entry::file(group, 0o644));
    tree.add("/etc/shadow", Entry::file(shadow, 0o600));
}
