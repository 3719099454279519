//! The cgroup's device rules: which devices may be opened or made, compiled to an eBPF program.
//!
//! An allow list: what no rule allows is refused by the kernel, node or not. Nothing is attached here.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

/// What every container may open or make: all nodes may be made, these may be opened.
const ALLOWED: [(char, Option<i64>, Option<i64>, &str); 11] = [
    ('c', None, None, "m"),
    ('b', None, None, "m"),
    ('c', Some(1), Some(3), "rwm"),
    ('c', Some(1), Some(5), "rwm"),
    ('c', Some(1), Some(7), "rwm"),
    ('c', Some(1), Some(8), "rwm"),
    ('c', Some(1), Some(9), "rwm"),
    ('c', Some(5), Some(0), "rwm"),
    ('c', Some(5), Some(2), "rwm"),
    ('c', Some(136), None, "rwm"),
    ('c', Some(5), Some(1), "rwm"),
];

/// The default rules: everything is refused but what every container needs.
#[must_use]
pub fn default_rules() -> Vec<LinuxDeviceCgroup> {
    let mut rules = vec![rule(false, LinuxDeviceType::A, None, None, "rwm")];
    for (kind, major, minor, access) in ALLOWED {
        let kind = if kind == 'b' {
            LinuxDeviceType::B
        } else {
            LinuxDeviceType::C
        };
        rules.push(rule(true, kind, major, minor, access));
    }
    rules
}

/// One rule.
#[must_use]
pub fn rule(
    allow: bool,
    kind: LinuxDeviceType,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow)
        .set_typ(Some(kind))
        .set_major(major)
        .set_minor(minor)
        .set_access(Some(access.into()));
    rule
}

/// Compiles rules, of which the last that matches counts, to a program for
/// [`sys::device_filter::attach`]; without any rule only the default devices are allowed.
#[must_use]
pub fn compile(rules: &[LinuxDeviceCgroup]) -> Vec<u64> {
    // r1 = struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }, where access_type
    // is (BPF_DEVCG_ACC_* << 16) | BPF_DEVCG_DEV_*.
    let mut program = vec![
        bpf(0x61, 2, 1, 0, 0),      // r2 = access_type
        bpf(0xbc, 3, 2, 0, 0),      // w3 = w2
        bpf(0x54, 2, 0, 0, 0xffff), // w2 &= 0xffff: the device's type
        bpf(0x74, 3, 0, 0, 16),     // w3 >>= 16: the access
        bpf(0x61, 4, 1, 4, 0),      // r4 = major
        bpf(0x61, 5, 1, 8, 0),      // r5 = minor
    ];
    for rule in rules.iter().rev() {
        let compiled = compile_rule(rule);
        let always = compiled.len() == verdict(false).len();
        program.extend(compiled);
        if always {
            // What follows is never reached, and the verifier refuses such instructions.
            return program;
        }
    }
    program.extend(verdict(false));
    program
}

fn verdict(allow: bool) -> [u64; 2] {
    [bpf(0xb4, 0, 0, 0, allow.into()), bpf(0x95, 0, 0, 0, 0)]
}

fn compile_rule(rule: &LinuxDeviceCgroup) -> Vec<u64> {
    let mut tests = Vec::new();
    let kind = match rule.typ() {
        Some(LinuxDeviceType::B) => Some(1),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(2),
        _ => None,
    };
    let same = |register, value: i64| bpf(0x56, register, 0, 0, value as i32); // if w != value
    tests.extend(kind.map(|kind| same(2, kind)));
    let access = access_bits(rule.access().as_deref().unwrap_or("rwm"));
    if access != 7 {
        // Allowed only when all that is asked is in the rule; denied when any of it is.
        if rule.allow() {
            tests.push(bpf(0xbc, 1, 3, 0, 0)); // w1 = w3
            tests.push(bpf(0x54, 1, 0, 0, !access & 7)); // w1 &= what the rule lacks
            tests.push(bpf(0x56, 1, 0, 0, 0)); // if w1 != 0
        } else {
            tests.push(bpf(0xbc, 1, 3, 0, 0));
            tests.push(bpf(0x54, 1, 0, 0, access));
            tests.push(bpf(0x16, 1, 0, 0, 0)); // if w1 == 0
        }
    }
    let number = |value: Option<i64>| value.filter(|value| *value >= 0);
    tests.extend(number(rule.major()).map(|major| same(4, major)));
    tests.extend(number(rule.minor()).map(|minor| same(5, minor)));
    // Each conditional jump goes past the verdict.
    let length = tests.len();
    for (at, instruction) in tests.iter_mut().enumerate() {
        if matches!(*instruction & 0xff, 0x56 | 0x16) {
            let offset = (length - at - 1 + 2) as u64;
            *instruction |= offset << 16;
        }
    }
    tests.extend(verdict(rule.allow()));
    tests
}

fn access_bits(access: &str) -> i32 {
    access.chars().fold(0, |bits, letter| {
        bits | match letter {
            'm' => 1,
            'r' => 2,
            'w' => 4,
            _ => 0,
        }
    })
}

/// One `struct bpf_insn`: code, destination and source register, offset, immediate.
fn bpf(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    let [o0, o1] = offset.to_le_bytes();
    let [i0, i1, i2, i3] = immediate.to_le_bytes();
    u64::from_le_bytes([code, source << 4 | destination, o0, o1, i0, i1, i2, i3])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would, for the few instructions that are used.
    fn run(program: &[u64], kind: i64, access: i64, major: i64, minor: i64) -> bool {
        let mut r = [0i64; 11];
        let context = [access << 16 | kind, major, minor];
        let mut at = 0;
        loop {
            let b = program[at].to_le_bytes();
            let (d, s) = ((b[1] & 15) as usize, (b[1] >> 4) as usize);
            let offset = i16::from_le_bytes([b[2], b[3]]) as isize;
            let immediate = i64::from(i32::from_le_bytes([b[4], b[5], b[6], b[7]]));
            let mut jump = false;
            match b[0] {
                0x61 => r[d] = context[offset as usize / 4],
                0xbc => r[d] = r[s],
                0x54 => r[d] &= immediate,
                0x74 => r[d] >>= immediate,
                0xb4 => r[d] = immediate,
                0x56 => jump = r[d] != immediate,
                0x16 => jump = r[d] == immediate,
                0x95 => return r[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
            at = at.wrapping_add_signed(if jump { offset + 1 } else { 1 });
        }
    }

    const CHAR: i64 = 2;
    const BLOCK: i64 = 1;

    #[test]
    fn null_may_be_opened_and_a_disk_may_only_be_made() {
        let program = compile(&default_rules());
        assert!(run(&program, CHAR, 6, 1, 3));
        assert!(run(&program, BLOCK, 1, 254, 0));
        assert!(!run(&program, BLOCK, 2, 254, 0));
        assert!(!run(&program, BLOCK, 3, 254, 0));
        assert!(!run(&program, CHAR, 2, 1, 1), "/dev/mem");
        assert!(run(&program, CHAR, 6, 136, 7), "a pty");
    }

    #[test]
    fn the_last_rule_that_matches_counts() {
        let mut rules = default_rules();
        rules.push(rule(true, LinuxDeviceType::C, Some(10), Some(229), "rw"));
        assert!(run(&compile(&rules), CHAR, 6, 10, 229));
        assert!(!run(&compile(&rules), CHAR, 6, 10, 228));
        rules.push(rule(false, LinuxDeviceType::A, None, None, "w"));
        assert!(!run(&compile(&rules), CHAR, 6, 10, 229));
        assert!(run(&compile(&rules), CHAR, 2, 10, 229));
    }

    #[test]
    fn no_rule_allows_nothing() {
        assert!(!run(&compile(&[]), CHAR, 2, 1, 3));
    }
}
