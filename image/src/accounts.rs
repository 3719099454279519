//! The users of the host's daemons: a table beside the recipe, in the words of sysusers.d(5), made
//! into the image's `passwd` and `group`.
//!
//! Pure. Every number stands in the table: none is given out here.

use std::fmt::Write as _;

/// Why the table cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("accounts:{line}: {problem}")]
pub struct AccountError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

/// Both files.
#[derive(Debug, PartialEq, Eq)]
pub struct Accounts {
    /// In passwd(5) format.
    pub passwd: String,
    /// In group(5) format.
    pub group: String,
}

/// Nobody logs in: there is neither a password nor a shell.
const NOBODY: &str = "/:/usr/bin/false";

/// Reads the table.
///
/// # Errors
/// The first line that is no user or group, or whose name or number was there before.
pub fn parse(text: &str) -> Result<Accounts, AccountError> {
    let mut accounts = Accounts {
        passwd: format!("root:x:0:0:root:{NOBODY}\n"),
        group: "root:x:0:\n".to_owned(),
    };
    let mut taken = vec![("root".to_owned(), 0)];
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        add(&mut accounts, &mut taken, line).map_err(|problem| AccountError {
            line: index + 1,
            problem,
        })?;
    }
    Ok(accounts)
}

fn add(accounts: &mut Accounts, taken: &mut Vec<(String, u32)>, line: &str) -> Result<(), String> {
    let (head, what) = match line.split_once('"') {
        Some((head, rest)) => (head, rest.strip_suffix('"')),
        None => (line, Some("")),
    };
    let words: Vec<_> = head.split_whitespace().collect();
    let ([kind @ ("u" | "g"), name, number], Some(what)) = (&words[..], what) else {
        return Err(format!(
            "expected u NAME UID \"WHAT\" or g NAME GID, found \"{line}\""
        ));
    };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !name.bytes().all(plain) || what.contains(':') {
        return Err(format!(
            "expected a name of a-z, 0-9 and -, and no colon, found \"{line}\""
        ));
    }
    let id: u32 = match number.parse() {
        Ok(id) if (1..65_534).contains(&id) => id,
        _ => {
            return Err(format!(
                "expected a number from 1 to 65533, found \"{number}\""
            ));
        }
    };
    if taken.iter().any(|(n, i)| n == name || *i == id) {
        return Err(format!("{name} or {id} is there already"));
    }
    taken.push(((*name).to_owned(), id));
    if *kind == "u" {
        let _ = writeln!(accounts.passwd, "{name}:x:{id}:{id}:{what}:{NOBODY}");
    }
    let _ = writeln!(accounts.group, "{name}:x:{id}:");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = include_str!("../accounts");

    #[test]
    fn every_user_that_a_service_or_a_program_names_is_in_the_table() {
        let accounts = parse(OURS).unwrap();
        let user = |name| formats::accounts::user(&accounts.passwd, name);
        assert_eq!(user("skeg-net"), Some((64_901, 64_901)));
        assert_eq!(user(formats::accounts::ENGINE), Some((64_902, 64_902)));
        let group = formats::accounts::group(&accounts.group, formats::accounts::API_GROUP);
        assert_eq!(group, Some(64_900));
    }

    #[test]
    fn a_line_becomes_an_entry_of_both_files() {
        let accounts = parse("u a 7 \"An a\"\ng b 8\n").unwrap();
        let end = "a:x:7:7:An a:/:/usr/bin/false\n";
        assert!(accounts.passwd.ends_with(end), "{}", accounts.passwd);
        assert_eq!(accounts.group, "root:x:0:\na:x:7:\nb:x:8:\n");
    }

    #[test]
    fn what_is_odd_or_there_already_is_refused_by_line() {
        for (text, problem) in [
            ("u a\n", "accounts:1: expected u NAME UID"),
            ("g a 1\nu b 1\n", "accounts:2: b or 1 is there already"),
            ("u root 9\n", "root or 9"),
            ("g a 65534\n", "from 1 to 65533"),
            ("u a:b 5\n", "no colon"),
            ("m a b\n", "expected u NAME"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
