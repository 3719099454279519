//! Users and groups of the host's daemons, and how they are found in passwd(5) and group(5).
//!
//! Pure. A static program must not ask the C library: it would want modules that are not there.

/// The user of the engine, who alone but root may have PID 1 hold containers and the zygote make them.
pub const ENGINE: &str = "skeg-engine";
/// The user of the updater, who may have PID 1 reboot.
pub const UPDATER: &str = "skeg-update";
/// The group whose members may use the engine's API, which is as much as to be root.
pub const API_GROUP: &str = "skeg";

/// The user's id and its own group, from passwd(5); a number is taken as it is, with that group.
#[must_use]
pub fn user(passwd: &str, name: &str) -> Option<(u32, u32)> {
    if let Ok(number) = name.parse() {
        return Some((number, number));
    }
    let fields = entry(passwd, name)?;
    let mut fields = fields.skip(1);
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some((uid, gid))
}

/// The group's id, from group(5); a number is taken as it is.
#[must_use]
pub fn group(group: &str, name: &str) -> Option<u32> {
    match name.parse() {
        Ok(number) => Some(number),
        Err(_) => entry(group, name)?.nth(1)?.parse().ok(),
    }
}

/// The fields after the name.
fn entry<'a>(text: &'a str, name: &str) -> Option<impl Iterator<Item = &'a str>> {
    text.lines().find_map(|line| {
        let (found, rest) = line.split_once(':')?;
        (found == name).then(|| rest.split(':'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_strangers_are_told_apart() {
        let passwd = "root:x:0:0:root:/:/bin/false\nnet:x:101:102::/:/bin/false\nbad:x\n";
        assert_eq!(user(passwd, "net"), Some((101, 102)));
        assert_eq!(user(passwd, "7"), Some((7, 7)));
        assert_eq!(user(passwd, "bad"), None);
        assert_eq!(user(passwd, "ne"), None);
        assert_eq!(group("net:x:102:\n", "net"), Some(102));
        assert_eq!(group("net:x:102:\n", "nett"), None);
    }
}
