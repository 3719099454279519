//! seccomp: a spec's filter compiled to BPF before the clone, and loaded as bytes just before the exec.
//!
//! Nothing is compiled in a child. What libseccomp does not know by name is an error, unless the
//! name is one of the newer system calls that stand here by number.

use std::collections::HashMap;
use std::io::{Read, Seek};
use std::sync::{Mutex, PoisonError};

use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};

use super::failure::{Doing, Failure};

/// System calls that are younger than Debian 12's libseccomp; one number on all architectures.
const NEWER: [(&str, i32); 23] = [
    ("process_mrelease", 448),
    ("futex_waitv", 449),
    ("set_mempolicy_home_node", 450),
    ("cachestat", 451),
    ("fchmodat2", 452),
    ("map_shadow_stack", 453),
    ("futex_wake", 454),
    ("futex_wait", 455),
    ("futex_requeue", 456),
    ("statmount", 457),
    ("listmount", 458),
    ("lsm_get_self_attr", 459),
    ("lsm_set_self_attr", 460),
    ("lsm_list_modules", 461),
    ("mseal", 462),
    ("setxattrat", 463),
    ("getxattrat", 464),
    ("listxattrat", 465),
    ("removexattrat", 466),
    ("open_tree_attr", 467),
    ("file_getattr", 468),
    ("file_setattr", 469),
    ("listns", 470),
];

/// The newest system call that a profile can name; younger ones are answered by `ENOSYS`, which
/// C libraries expect from a kernel that does not have them yet.
const NEWEST: u32 = 470;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The kernel's `struct sock_filter`s in hexadecimal.
    pub program: String,
    /// Flags of seccomp(2).
    pub flags: u32,
    /// Whether somebody must take its notifications.
    pub listener: bool,
}

/// Compiles a filter, or finds it compiled already. `None`: it lets everything through.
///
/// # Errors
/// The field that is not understood or not supported.
pub fn compile(spec: &LinuxSeccomp) -> Result<Option<Filter>, String> {
    static COMPILED: Mutex<Option<HashMap<String, Filter>>> = Mutex::new(None);
    let has_rules = spec
        .syscalls()
        .as_ref()
        .is_some_and(|rules| !rules.is_empty());
    let unheard = spec.listener_path().is_none();
    if spec.default_action() == LinuxSeccompAction::ScmpActAllow && !has_rules && unheard {
        return Ok(None);
    }
    let key = serde_json::to_string(spec).map_err(|error| format!("linux.seccomp: {error}"))?;
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let compiled = compiled.get_or_insert_with(HashMap::new);
    if let Some(filter) = compiled.get(&key) {
        return Ok(Some(filter.clone()));
    }
    let filter = compile_new(spec)?;
    // A host has a handful of profiles; a client that makes up ever new ones shall not fill memory.
    if compiled.len() >= 64 {
        compiled.clear();
    }
    compiled.insert(key, filter.clone());
    Ok(Some(filter))
}

fn compile_new(spec: &LinuxSeccomp) -> Result<Filter, String> {
    let notifies = |rule: &LinuxSyscall| rule.action() == LinuxSeccompAction::ScmpActNotify;
    let listener = spec.listener_path().is_some();
    if !listener && spec.syscalls().iter().flatten().any(notifies) {
        return Err("linux.seccomp: SCMP_ACT_NOTIFY needs a listenerPath".into());
    }
    if spec.default_action() == LinuxSeccompAction::ScmpActNotify {
        return Err(
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY would stop the start itself".into(),
        );
    }
    let default = action(spec.default_action(), spec.default_errno_ret())?;
    let mut context = ScmpFilterContext::new(default).map_err(said)?;
    context.set_ctl_nnp(false).map_err(said)?;
    // A sorted tree of the numbers instead of a list: a call costs a handful of comparisons.
    context.set_ctl_optimize(2).map_err(said)?;
    let rules = spec.syscalls().as_deref().unwrap_or_default();
    // By number only the native architecture can be given rules, so these come before the others.
    for rule in rules {
        add(&mut context, rule, default, true)?;
    }
    for arch in spec.architectures().iter().flatten() {
        context.add_arch(architecture(*arch)?).map_err(said)?;
    }
    for rule in rules {
        add(&mut context, rule, default, false)?;
    }
    let mut program = exported(&context)?;
    if matches!(default, ScmpAction::Errno(_)) {
        let mut with_enosys = enosys_for_newer();
        with_enosys.append(&mut program);
        program = with_enosys;
    }
    if program.len() / 8 > 4096 {
        return Err(format!(
            "linux.seccomp: {} instructions, the kernel takes 4096",
            program.len() / 8
        ));
    }
    Ok(Filter {
        program: program.iter().map(|byte| format!("{byte:02x}")).collect(),
        flags: flags(spec, listener)?,
        listener,
    })
}

/// libseccomp writes programs to files only: to one in memory.
fn exported(context: &ScmpFilterContext) -> Result<Vec<u8>, String> {
    let io = |error: std::io::Error| format!("linux.seccomp: memory file: {error}");
    let memory = rustix::fs::memfd_create("filter", rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = std::fs::File::from(memory.map_err(|errno| io(errno.into()))?);
    context.export_bpf(&file).map_err(said)?;
    file.rewind().map_err(io)?;
    let mut program = Vec::new();
    file.read_to_end(&mut program).map_err(io)?;
    Ok(program)
}

fn said(error: libseccomp::error::SeccompError) -> String {
    format!("linux.seccomp: libseccomp: {error}")
}

fn add(
    context: &mut ScmpFilterContext,
    rule: &LinuxSyscall,
    default: ScmpAction,
    newer: bool,
) -> Result<(), String> {
    let action = action(rule.action(), rule.errno_ret())?;
    if action == default {
        return Ok(());
    }
    for name in rule.names() {
        let by_name = ScmpSyscall::from_name(name).ok();
        let by_number = NEWER.iter().find(|(known, _)| known == name);
        let syscall = match (by_name, by_number) {
            (Some(syscall), _) if !newer => syscall,
            (None, Some((_, number))) if newer => ScmpSyscall::from_raw_syscall(*number),
            // Other runtimes pass over names that their libseccomp does not know; so do profiles
            // written for several architectures expect.
            _ => continue,
        };
        for comparators in comparisons(rule.args().as_deref().unwrap_or_default()) {
            context
                .add_rule_conditional(action, syscall, &comparators)
                .map_err(|error| format!("linux.seccomp: {name}: libseccomp: {error}"))?;
        }
    }
    Ok(())
}

/// The conditions of one rule, all of which must hold; two on the same argument are alternatives.
fn comparisons(args: &[LinuxSeccompArg]) -> Vec<Vec<ScmpArgCompare>> {
    let mut indices: Vec<usize> = args.iter().map(LinuxSeccompArg::index).collect();
    indices.sort_unstable();
    let repeated = indices.windows(2).any(|pair| pair[0] == pair[1]);
    let all = args.iter().map(comparison);
    if repeated {
        all.map(|one| vec![one]).collect()
    } else {
        vec![all.collect()]
    }
}

fn comparison(arg: &LinuxSeccompArg) -> ScmpArgCompare {
    let value = arg.value();
    let (op, datum) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, value),
        LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, value),
        LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, value),
        LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, value),
        LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, value),
        LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, value),
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            let datum = arg.value_two().unwrap_or_default();
            (ScmpCompareOp::MaskedEqual(value), datum)
        }
    };
    ScmpArgCompare::new(u32::try_from(arg.index()).unwrap_or(u32::MAX), op, datum)
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<ScmpAction, String> {
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            ScmpAction::KillThread
        }
        LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
        LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
        LinuxSeccompAction::ScmpActErrno => {
            let errno = errno.unwrap_or(EPERM);
            ScmpAction::Errno(i32::try_from(errno).unwrap_or(i32::from(u16::MAX)))
        }
        LinuxSeccompAction::ScmpActTrace => {
            let value = errno.unwrap_or(EPERM);
            ScmpAction::Trace(u16::try_from(value).unwrap_or(u16::MAX))
        }
        LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
        LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
        LinuxSeccompAction::ScmpActNotify => ScmpAction::Notify,
    })
}

fn architecture(arch: Arch) -> Result<ScmpArch, String> {
    Ok(match arch {
        Arch::ScmpArchNative => ScmpArch::Native,
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchArm => ScmpArch::Arm,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        Arch::ScmpArchMips => ScmpArch::Mips,
        Arch::ScmpArchMips64 => ScmpArch::Mips64,
        Arch::ScmpArchMips64n32 => ScmpArch::Mips64N32,
        Arch::ScmpArchMipsel => ScmpArch::Mipsel,
        Arch::ScmpArchMipsel64 => ScmpArch::Mipsel64,
        Arch::ScmpArchMipsel64n32 => ScmpArch::Mipsel64N32,
        Arch::ScmpArchPpc => ScmpArch::Ppc,
        Arch::ScmpArchPpc64 => ScmpArch::Ppc64,
        Arch::ScmpArchPpc64le => ScmpArch::Ppc64Le,
        Arch::ScmpArchS390 => ScmpArch::S390,
        Arch::ScmpArchS390x => ScmpArch::S390X,
        Arch::ScmpArchRiscv64 => ScmpArch::Riscv64,
        Arch::ScmpArchParisc => ScmpArch::Parisc,
        Arch::ScmpArchParisc64 => ScmpArch::Parisc64,
        Arch::ScmpArchLoongarch64 => ScmpArch::Loongarch64,
        Arch::ScmpArchM68k => ScmpArch::M68k,
        other => {
            return Err(format!(
                "linux.seccomp.architectures: {other} is not supported"
            ));
        }
    })
}

fn flags(spec: &LinuxSeccomp, listener: bool) -> Result<u32, String> {
    spec.flags().iter().flatten().try_fold(0, |flags, flag| {
        Ok(flags
            | match flag {
                LinuxSeccompFilterFlag::SeccompFilterFlagLog => 1 << 1,
                LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => 1 << 2,
                // One thread: nothing to synchronize.
                LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
                // Without a listener nobody waits, and the kernel refuses the flag.
                LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv if !listener => 0,
                LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 1 << 5,
            })
    })
}

/// `if number > NEWEST and it is no x32 number: ENOSYS`, in front of the filter proper. Numbers are
/// shared by all architectures up here.
fn enosys_for_newer() -> Vec<u8> {
    const LOAD_NUMBER: (u16, u8, u8, u32) = (0x20, 0, 0, 0);
    let instructions: [(u16, u8, u8, u32); 4] = [
        LOAD_NUMBER,
        (0x25, 0, 2, NEWEST),               // jgt: else past the return
        (0x35, 1, 0, 0x4000_0000),          // jge: x32, past the return
        (0x06, 0, 0, 0x0005_0000 | ENOSYS), // SECCOMP_RET_ERRNO
    ];
    let mut bytes = Vec::new();
    for (code, jt, jf, k) in instructions {
        bytes.extend(code.to_ne_bytes());
        bytes.extend([jt, jf]);
        bytes.extend(k.to_ne_bytes());
    }
    bytes
}

/// Loads a compiled filter into this process; with `listener`, returns where its notifications arrive.
pub(crate) fn load(
    program: &str,
    flags: u32,
    listener: bool,
) -> Result<Option<std::os::fd::OwnedFd>, Failure> {
    let digits = program.as_bytes().chunks_exact(2);
    let bytes: Option<Vec<u8>> = digits
        .map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect();
    let bytes = bytes.ok_or_else(|| Failure::refused("seccomp", "", "expected hexadecimal"))?;
    if listener {
        let fd = sys::child::load_notifying_seccomp_filter(&bytes, flags);
        return fd.map(Some).doing("seccomp", "");
    }
    sys::child::load_seccomp_filter(&bytes, flags).doing("seccomp", "")?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::capabilities::Set;
    use crate::container::seccomp_profile;

    /// Runs a filter as the kernel would, for the instructions that libseccomp makes.
    fn verdict(filter: &Filter, arch: u32, number: u32, args: [u64; 6]) -> u32 {
        let bytes: Vec<u8> = (0..filter.program.len() / 2)
            .map(|i| u8::from_str_radix(&filter.program[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        let mut data = Vec::new();
        data.extend(number.to_le_bytes());
        data.extend(arch.to_le_bytes());
        data.extend([0; 8]);
        for arg in args {
            data.extend(arg.to_le_bytes());
        }
        let (mut at, mut a) = (0usize, 0u32);
        loop {
            let i = &bytes[at * 8..at * 8 + 8];
            let code = u16::from_le_bytes([i[0], i[1]]);
            let k = u32::from_le_bytes([i[4], i[5], i[6], i[7]]);
            let mut jump = |condition: bool| at += usize::from(if condition { i[2] } else { i[3] });
            match code {
                0x20 => {
                    let k = k as usize;
                    a = u32::from_le_bytes(data[k..k + 4].try_into().unwrap());
                }
                0x54 => a &= k,
                0x05 => at += k as usize,
                0x15 => jump(a == k),
                0x25 => jump(a > k),
                0x35 => jump(a >= k),
                0x45 => jump(a & k != 0),
                0x06 => return k,
                other => panic!("instruction {other:#x}"),
            }
            at += 1;
        }
    }

    const X86_64: u32 = 0xc000_003e;
    const I386: u32 = 0x4000_0003;
    const ALLOW: u32 = 0x7fff_0000;
    const REFUSE: u32 = 0x0005_0001;
    const UNKNOWN: u32 = 0x0005_0026;

    fn docker() -> Filter {
        let capabilities = crate::container::capabilities::DOCKER
            .iter()
            .fold(0, |bits, name| bits | Set::named(name).unwrap().0);
        compile(&seccomp_profile::docker(Set(capabilities)))
            .unwrap()
            .unwrap()
    }

    #[test]
    fn the_default_profile_lets_through_what_programs_use_and_refuses_the_rest() {
        let filter = docker();
        let native = |number| verdict(&filter, X86_64, number, [0; 6]);
        for allowed in [0, 1, 59, 231, 257, 435 - 435, 437, 439] {
            assert_eq!(native(allowed), ALLOW, "system call {allowed}");
        }
        // mount, umount2, keyctl, bpf, add_key, reboot, init_module, unshare, setns, io_uring_setup,
        // open_by_handle_at, userfaultfd, perf_event_open, kexec_load
        for refused in [
            165, 166, 250, 321, 248, 169, 175, 272, 308, 425, 304, 323, 298, 246,
        ] {
            assert_eq!(native(refused), REFUSE, "system call {refused}");
        }
        assert_eq!(
            native(435),
            UNKNOWN,
            "clone3 must look absent, so that clone is used"
        );
    }

    #[test]
    fn clone_makes_no_namespace_and_vsock_no_socket() {
        let filter = docker();
        let clone = |flags| verdict(&filter, X86_64, 56, [flags, 0, 0, 0, 0, 0]);
        assert_eq!(clone(0x11), ALLOW);
        assert_eq!(clone(0x1000_0000), REFUSE, "CLONE_NEWUSER");
        let socket = |family| verdict(&filter, X86_64, 41, [family, 0, 0, 0, 0, 0]);
        assert_eq!(socket(2), ALLOW);
        assert_eq!(socket(40), REFUSE);
        let personality = |value| verdict(&filter, X86_64, 135, [value, 0, 0, 0, 0, 0]);
        assert_eq!(personality(0xffff_ffff), ALLOW);
        assert_eq!(personality(0x0040_0000), REFUSE, "READ_IMPLIES_EXEC");
    }

    #[test]
    fn thirty_two_bit_programs_are_filtered_too() {
        let filter = docker();
        let i386 = |number| verdict(&filter, I386, number, [0; 6]);
        assert_eq!(i386(4), ALLOW, "write");
        assert_eq!(i386(21), REFUSE, "mount");
        assert_eq!(i386(288), REFUSE, "keyctl");
    }

    #[test]
    fn calls_younger_than_the_profile_look_absent() {
        let filter = docker();
        assert_eq!(verdict(&filter, X86_64, 452, [0; 6]), ALLOW, "fchmodat2");
        assert_eq!(verdict(&filter, X86_64, NEWEST + 1, [0; 6]), UNKNOWN);
    }

    #[test]
    fn a_capability_brings_its_calls() {
        let admin = Set::named("SYS_ADMIN").unwrap();
        let filter = compile(&seccomp_profile::docker(admin)).unwrap().unwrap();
        assert_eq!(verdict(&filter, X86_64, 165, [0; 6]), ALLOW, "mount");
        assert_eq!(verdict(&filter, X86_64, 435, [0; 6]), ALLOW, "clone3");
        assert_eq!(verdict(&filter, X86_64, 169, [0; 6]), REFUSE, "reboot");
    }

    #[test]
    fn a_profile_that_allows_everything_is_no_filter() {
        let mut spec = LinuxSeccomp::default();
        spec.set_default_action(LinuxSeccompAction::ScmpActAllow);
        assert_eq!(compile(&spec).unwrap(), None);
    }
}
