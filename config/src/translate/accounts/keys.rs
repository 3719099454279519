//! SSH keys of users: what sshd(8) calls authorized_keys, a file for each user.
//!
//! Refuses what is no public key, so that nobody is locked out by a typing error, or lets a private
//! one lie about.

use crate::json::Node;
use crate::problem::Findings;
use crate::tree::{Entry, Tree};
use data_encoding::BASE64;
use formats::paths;

/// Types of keys that a key may begin with.
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Checks each key; never repeats one, since a private key may stand there by mistake.
pub fn check(user: &Node, field: &str, findings: &mut Findings) {
    for (index, key) in user.list("sshAuthorizedKeys").enumerate() {
        let field = format!("{field}.sshAuthorizedKeys[{index}]");
        let text = key.as_text().unwrap_or_default().trim();
        if text.contains("PRIVATE KEY") {
            findings.error(
                key.at,
                &field,
                "is a private key: write the public one, the file *.pub",
            );
        } else if text.chars().any(char::is_control) {
            findings.error(key.at, &field, "has more than one line");
        } else if !is_key(text) {
            let text = "expected a public key like \"ssh-ed25519 AAAA… NAME\"";
            findings.error(key.at, &field, text);
        }
    }
}

/// `[OPTIONS] TYPE BASE64 [COMMENT]`, where the base64 begins with the type's name.
fn is_key(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(2).any(|pair| {
        let bytes = BASE64.decode(pair[1].as_bytes()).unwrap_or_default();
        let kind = pair[0].as_bytes();
        let length = u32::try_from(kind.len()).unwrap_or_default().to_be_bytes();
        let mut begins = length.to_vec();
        begins.extend(kind);
        TYPES.contains(&pair[0]) && bytes.starts_with(&begins) && bytes.len() > begins.len() + 32
    })
}

/// Writes the user's keys, if it has some.
pub fn write(user: &Node, name: &str, tree: &mut Tree) {
    let keys: Vec<&str> = user
        .list("sshAuthorizedKeys")
        .filter_map(|key| key.as_text().map(str::trim))
        .collect();
    if !keys.is_empty() {
        let path = format!("{}/{name}", paths::AUTHORIZED_KEYS);
        tree.add(&path, Entry::file(keys.join("\n") + "\n", 0o644));
    }
}
