//! The filters as the kernel would run them: each instruction is interpreted.

use super::*;

const X86_64: u32 = formats::seccomp::X86_64;
const I386: u32 = 0x4000_0003;
const ALLOWED: u32 = 0x7fff_0000;
const KILLED: u32 = 0x8000_0000;

fn refused(errno: libc::c_int) -> u32 {
    0x0005_0000 | errno.unsigned_abs()
}

fn service(lines: &str) -> Service {
    let text = format!("[Service]\nExecStart=/x\n{lines}\n");
    formats::service::parse("a.service", &text).unwrap()
}

fn filter(lines: &str) -> Vec<Filter> {
    let file = compile(&service(lines)).unwrap().unwrap();
    formats::seccomp::decode(&file).unwrap()
}

fn run(filters: &[Filter], arch: u32, number: libc::c_long, arguments: [u32; 4]) -> u32 {
    answer(filters, arch, number, arguments).0
}

/// What the kernel answers to a call, and whether it tells: the newest filter first, an older one where
/// its answer weighs more (seccomp(2)).
fn answer(filters: &[Filter], arch: u32, number: libc::c_long, arguments: [u32; 4]) -> (u32, bool) {
    let weight = |answer: u32| (answer & 0xffff_0000).cast_signed();
    let answers = filters.iter().rev().map(|filter| {
        let answer = one(&filter.instructions, arch, number, arguments);
        (answer, filter.is_told && answer != ALLOWED)
    });
    let first_of_heaviest = |held: (u32, bool), next: (u32, bool)| {
        if weight(next.0) < weight(held.0) {
            next
        } else {
            held
        }
    };
    answers.reduce(first_of_heaviest).unwrap()
}

/// The answer of one filter; panics on an instruction that the kernel would refuse.
fn one(filter: &[u8], arch: u32, number: libc::c_long, arguments: [u32; 4]) -> u32 {
    let all: Vec<[u8; 8]> = filter.as_chunks::<8>().0.to_vec();
    let (mut at, mut held) = (0, 0u32);
    loop {
        let [a, b, yes, no, c, d, e, f] = all[at];
        let (code, operand) = (u16::from_le_bytes([a, b]), u32::from_le_bytes([c, d, e, f]));
        at += 1;
        let jump = match code {
            0x20 => {
                held = match operand {
                    0 => u32::try_from(number).unwrap(),
                    4 => arch,
                    16 => arguments[0],
                    24 => arguments[1],
                    32 => arguments[2],
                    40 => arguments[3],
                    _ => panic!("loads from {operand}"),
                };
                continue;
            }
            0x06 => return operand,
            0x15 => held == operand,
            0x25 => held > operand,
            0x35 => held >= operand,
            0x45 => held & operand != 0,
            _ => panic!("instruction {code:#x}"),
        };
        at += usize::from(if jump { yes } else { no });
    }
}

fn native(filter: &[Filter], number: libc::c_long) -> u32 {
    run(filter, X86_64, number, [0; 4])
}

#[test]
fn what_is_listed_passes_and_nothing_else() {
    let filter = filter("SystemCallFilter=@program @files\nSystemCallFilter=setns");
    for number in 0..=462 {
        let mut listed = calls::GROUPS[..2].iter().flat_map(|(_, calls)| *calls);
        let is_listed = listed.any(|(_, n)| *n == number) || number == libc::SYS_setns;
        let expected = match number {
            libc::SYS_clone3 => refused(libc::ENOSYS),
            _ if is_listed => ALLOWED,
            _ => refused(libc::EPERM),
        };
        assert_eq!(native(&filter, number), expected, "call {number}");
    }
    assert_eq!(
        native(&filter, 463),
        refused(libc::ENOSYS),
        "newer than this"
    );
    assert_eq!(native(&filter, 0x4000_0000), refused(libc::ENOSYS), "x32");
    assert_eq!(run(&filter, I386, 3, [0, 0, 0, 0]), KILLED);
}

#[test]
fn what_is_refused_is_told_and_what_is_not_there_is_not() {
    let told = |filters: &[Filter], number| answer(filters, X86_64, number, [0; 4]);
    for lines in [
        "SystemCallFilter=@program @files",
        "SystemCallFilter=@program\nRestrictNamespaces=yes\nRestrictAddressFamilies=AF_UNIX",
    ] {
        let filter = filter(lines);
        let (refused, absent) = (refused(libc::EPERM), refused(libc::ENOSYS));
        assert_eq!(told(&filter, libc::SYS_reboot), (refused, true));
        for number in [libc::SYS_clone3, 463, 0x4000_0000] {
            assert_eq!(told(&filter, number), (absent, false), "{number}");
        }
        assert_eq!(told(&filter, libc::SYS_read), (ALLOWED, false));
    }
    // Containers have it, too.
    let zygote = filter("SystemCallFilter=~@module");
    let refused = refused(libc::EPERM);
    assert_eq!(told(&zygote, libc::SYS_init_module), (refused, false));
}

#[test]
fn what_is_refused_is_refused_to_32_bit_programs_too_and_the_rest_passes() {
    let filter = filter("SystemCallFilter=~@module @hardware");
    assert_eq!(native(&filter, libc::SYS_init_module), refused(libc::EPERM));
    assert_eq!(
        native(&filter, libc::SYS_kexec_file_load),
        refused(libc::EPERM)
    );
    assert_eq!(native(&filter, libc::SYS_mount), ALLOWED);
    assert_eq!(native(&filter, libc::SYS_clone3), ALLOWED);
    // init_module, iopl; then read and 128's neighbour.
    for (number, expected) in [(128, refused(libc::EPERM)), (110, refused(libc::EPERM))] {
        assert_eq!(
            run(&filter, I386, number, [0, 0, 0, 0]),
            expected,
            "{number}"
        );
    }
    for number in [3, 127, 174] {
        assert_eq!(
            run(&filter, I386, number, [0, 0, 0, 0]),
            ALLOWED,
            "{number}"
        );
    }
    assert_eq!(run(&filter, 0xc000_00b7, 3, [0, 0, 0, 0]), KILLED);
}

#[test]
fn sockets_are_of_the_named_families() {
    let filter = filter("RestrictAddressFamilies=AF_UNIX AF_NETLINK");
    let socket = |family| run(&filter, X86_64, libc::SYS_socket, [family, 0, 0, 0]);
    assert_eq!((socket(1), socket(16)), (ALLOWED, ALLOWED));
    for family in [0, 2, 10, 17, 40] {
        assert_eq!(socket(family), refused(libc::EAFNOSUPPORT), "{family}");
    }
    assert_eq!(native(&filter, libc::SYS_mount), ALLOWED);
}

#[test]
fn namespaces_are_of_the_named_kinds() {
    let filter = filter("RestrictNamespaces=net");
    let (net, mnt) = (0x4000_0000, 0x0002_0000);
    for call in [libc::SYS_clone, libc::SYS_unshare] {
        assert_eq!(run(&filter, X86_64, call, [net, 0, 0, 0]), ALLOWED);
        assert_eq!(
            run(&filter, X86_64, call, [net | mnt, 0, 0, 0]),
            refused(libc::EPERM)
        );
        assert_eq!(run(&filter, X86_64, call, [0x11, 0, 0, 0]), ALLOWED);
    }
    let setns = |kind| run(&filter, X86_64, libc::SYS_setns, [7, kind, 0, 0]);
    assert_eq!(setns(net), ALLOWED);
    assert_eq!(
        (setns(mnt), setns(0)),
        (refused(libc::EPERM), refused(libc::EPERM))
    );
    assert_eq!(native(&filter, libc::SYS_clone3), refused(libc::ENOSYS));
}

#[test]
fn families_and_namespaces_hold_beside_a_list() {
    let filter = filter(
        "SystemCallFilter=@program @network\nRestrictAddressFamilies=AF_UNIX\nRestrictNamespaces=yes",
    );
    let call = |number, argument| run(&filter, X86_64, number, [argument, 0, 0, 0]);
    assert_eq!(call(libc::SYS_socket, 1), ALLOWED);
    assert_eq!(call(libc::SYS_socket, 2), refused(libc::EAFNOSUPPORT));
    assert_eq!(call(libc::SYS_clone, 0x11), ALLOWED);
    assert_eq!(call(libc::SYS_clone, 0x1000_0000), refused(libc::EPERM));
    assert_eq!(
        call(libc::SYS_unshare, 0),
        refused(libc::EPERM),
        "not listed"
    );
}

#[test]
fn who_may_mount_makes_new_mounts_without_devices_or_programs() {
    let filter = filter("SystemCallFilter=mount fsmount");
    let mount = |flags| run(&filter, X86_64, libc::SYS_mount, [0, 0, 0, flags]);
    let fsmount = |attributes| run(&filter, X86_64, libc::SYS_fsmount, [0, 0, attributes, 0]);
    let eperm = refused(libc::EPERM);
    assert_eq!(mount(0x2 | 0x4 | 0x8), ALLOWED);
    assert_eq!(mount(0x1 | 0x2 | 0x4 | 0x8), ALLOWED);
    for flags in [0, 0x2 | 0x4, 0x2 | 0x8, 0x4 | 0x8] {
        assert_eq!(mount(flags), eperm, "{flags:#x}");
    }
    for other in [0x20, 0x1000, 0x2000, 1 << 17, 1 << 18, 1 << 19, 1 << 20] {
        assert_eq!(mount(0xe | other), eperm, "{other:#x}");
    }
    assert_eq!((fsmount(0xf), fsmount(0xe)), (ALLOWED, ALLOWED));
    for attributes in [0, 0x1, 0x6, 0xa, 0xc] {
        assert_eq!(fsmount(attributes), eperm, "{attributes:#x}");
    }
}

#[test]
fn kernel_programs_are_for_cgroups_alone() {
    let filter = filter("SystemCallFilter=bpf read");
    let bpf = |command| run(&filter, X86_64, libc::SYS_bpf, [command, 0, 0, 0]);
    assert_eq!((bpf(5), bpf(8)), (ALLOWED, ALLOWED));
    // Maps, test runs, raw tracepoints, links.
    for command in [0, 1, 10, 13, 17, 28, 33] {
        assert_eq!(bpf(command), refused(libc::EPERM), "{command}");
    }
    assert_eq!(native(&filter, libc::SYS_read), ALLOWED);
}

#[test]
fn limits_are_changed_of_the_daemon_itself_alone() {
    let filter = filter("SystemCallFilter=@program");
    let prlimit = |pid| run(&filter, X86_64, libc::SYS_prlimit64, [pid, 7, 0, 0]);
    assert_eq!((prlimit(0), prlimit(1)), (ALLOWED, refused(libc::EPERM)));
}

#[test]
fn a_word_that_is_not_known_fails_the_build_by_name() {
    for (lines, problem) in [
        ("SystemCallFilter=@programs", "found \"@programs\""),
        ("SystemCallFilter=~mount", "32-bit"),
        ("RestrictAddressFamilies=AF_FLY", "AF_FLY"),
        ("RestrictNamespaces=network", "network"),
    ] {
        let error = compile(&service(lines)).unwrap_err().to_string();
        assert!(error.contains(problem), "{lines}: {error}");
    }
}

#[test]
fn a_service_that_asks_for_no_filter_gets_none() {
    assert_eq!(compile(&service("")), Ok(None));
}
