//! What an image for users must not contain: a shell, a C library, or the tests' way in.
//!
//! Looks at a tree and returns findings; never decides what to do about them.

use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};

use super::{Content, Tree};

/// Program names that would let somebody type commands.
const SHELLS: &[&str] = &[
    "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "sh", "tcsh", "toybox", "zsh",
];
/// The virtio-serial port of the test channel.
const TEST_PORT: &[u8] = b"skeg.test";
/// How services that only the profile `test` has begin.
const TEST_SERVICES: &str = "usr/lib/skeg/services/bad-";
/// Paths that only the profile `test` has.
const TEST_PATHS: &[&str] = &["usr/lib/skeg/agent", "usr/lib/skeg/services/agent.service"];

/// Everything in the tree that a user's image must not have, one sentence each; empty is good.
#[must_use]
pub fn findings(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, entry) in tree.iter() {
        let name = path.rsplit('/').next().unwrap_or(path);
        if SHELLS.contains(&name) {
            found.push(format!("/{path} is a shell"));
        }
        if is_library(name) {
            found.push(format!("/{path} is part of a C library"));
        }
        if TEST_PATHS.contains(&path) {
            found.push(format!("/{path} is the tests' agent"));
        }
        if path.starts_with(TEST_SERVICES) {
            found.push(format!("/{path} is a service of the tests"));
        }
        if let Content::File(bytes) = &entry.content {
            found.extend(in_file(path, bytes));
        }
    }
    found
}

fn is_library(name: &str) -> bool {
    let shared = name.starts_with("lib") && (name.ends_with(".so") || name.contains(".so."));
    shared || name.starts_with("ld-linux") || name.starts_with("ld-musl")
}

fn in_file(path: &str, bytes: &[u8]) -> Option<String> {
    if let Some(loader) = loader_of(bytes) {
        return Some(format!("/{path} is not static: it asks for {loader}"));
    }
    if bytes.starts_with(b"#!") {
        return Some(format!("/{path} is a script"));
    }
    bytes
        .windows(TEST_PORT.len())
        .any(|window| window == TEST_PORT)
        .then(|| format!("/{path} knows the port of the test channel"))
}

/// The dynamic loader that a program asks for.
fn loader_of(bytes: &[u8]) -> Option<String> {
    let header = elf::FileHeader64::<object::Endianness>::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, bytes).ok()?;
    let interp = segments
        .iter()
        .find_map(|segment| segment.interpreter(endian, bytes).ok().flatten())?;
    Some(String::from_utf8_lossy(interp).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(path: &str, bytes: &[u8]) -> Vec<String> {
        let mut tree = Tree::default();
        tree.file(path, 0o755, bytes.to_vec()).unwrap();
        findings(&tree)
    }

    #[test]
    fn an_image_of_static_programs_is_fine() {
        assert_eq!(with("/init", b"\x7fELF"), Vec::<String>::new());
    }

    #[test]
    fn shells_libraries_scripts_and_the_test_channel_are_found() {
        assert_eq!(with("/bin/sh", b""), ["/bin/sh is a shell"]);
        assert_eq!(
            with("/lib/libc.so.6", b""),
            ["/lib/libc.so.6 is part of a C library"]
        );
        assert_eq!(with("/x", b"#!/bin/true"), ["/x is a script"]);
        let port = with("/x", b"open skeg.test now");
        assert_eq!(port, ["/x knows the port of the test channel"]);
    }

    #[test]
    fn a_dynamic_program_is_found() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(with("/x", &own)[0].starts_with("/x is not static: it asks for /lib"));
    }
}
