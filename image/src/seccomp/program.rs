//! Instructions of a filter (seccomp(2), classic BPF), put together piece by piece.
//!
//! Jumps never leave their piece, so a list of any length fits into their 8 bits.

/// Offsets into the kernel's `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The lower half of an argument.
const ARGUMENT: [u32; 4] = [16, 24, 32, 40];

const LOAD: u16 = 0x20;
const RETURN: u16 = 0x06;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
const JUMP_IF_ANY_BIT: u16 = 0x45;

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const ERROR: u32 = 0x0005_0000;

/// `MS_NOSUID`, `MS_NODEV`, `MS_NOEXEC` of mount(2), and their like of fsmount(2).
const TAME: [u32; 3] = [0x2, 0x4, 0x8];
/// What is no new mount: `MS_REMOUNT`, `MS_BIND`, `MS_MOVE` and how it spreads.
const OTHER_MOUNTS: u32 = 0x20 | 0x1000 | 0x2000 | 0x1e_0000;

/// `BPF_PROG_LOAD`, `BPF_PROG_ATTACH` of bpf(2).
const TO_CGROUPS: [u32; 2] = [5, 8];

/// `AUDIT_ARCH_I386`.
const I386: u32 = 0x4000_0003;
/// Calls of the x32 kind have this bit, and the kernel has none of them.
const X32: u32 = 0x4000_0000;

#[derive(Debug, Clone, Copy)]
struct Instruction {
    code: u16,
    yes: u8,
    no: u8,
    operand: u32,
}

/// A filter that is being written.
#[derive(Debug, Default)]
pub(super) struct Program(Vec<Instruction>);

fn error(errno: libc::c_int) -> u32 {
    ERROR | errno.unsigned_abs()
}

impl Program {
    /// Programs of another architecture end: their numbers mean something else.
    pub(super) fn native_only(&mut self) {
        self.load(ARCHITECTURE);
        self.jump(JUMP_IF_EQUAL, formats::seccomp::X86_64, 1, 0);
        self.give(KILL);
        self.load(NUMBER);
    }

    /// 32-bit programs go on, but for these calls; those of other architectures end.
    pub(super) fn foreign(&mut self, refused: &[u32]) {
        self.load(ARCHITECTURE);
        let body = 3 + 2 * refused.len();
        self.jump(JUMP_IF_EQUAL, formats::seccomp::X86_64, clamp(body + 1), 0);
        self.jump(JUMP_IF_EQUAL, I386, 1, 0);
        self.give(KILL);
        self.load(NUMBER);
        for number in refused {
            self.jump(JUMP_IF_EQUAL, *number, 0, 1);
            self.give(error(libc::EPERM));
        }
        self.give(ALLOW);
        self.load(NUMBER);
    }

    /// What is not for x86_64 is another filter's business; goes on with the call's number.
    pub(super) fn native(&mut self) {
        self.load(ARCHITECTURE);
        self.jump(JUMP_IF_EQUAL, formats::seccomp::X86_64, 1, 0);
        self.give(ALLOW);
        self.load(NUMBER);
    }

    /// Calls that this table does not know yet, and those of the x32 kind: not there.
    pub(super) fn newer_is_absent(&mut self, newest: u32) {
        self.newer(newest, error(libc::ENOSYS));
    }

    /// The flags of clone3 lie in memory, where a filter does not see: it is not there, and the C library
    /// falls back to clone.
    pub(super) fn clone3_is_absent(&mut self) {
        self.clone3(error(libc::ENOSYS));
    }

    /// What an older filter has answered already.
    pub(super) fn absent_is_answered(&mut self, newest: u32) {
        self.newer(newest, ALLOW);
        self.clone3(ALLOW);
    }

    fn newer(&mut self, newest: u32, answer: u32) {
        debug_assert!(newest < X32);
        self.jump(JUMP_IF_GREATER, newest, 0, 1);
        self.give(answer);
    }

    fn clone3(&mut self, answer: u32) {
        self.jump(JUMP_IF_EQUAL, number(libc::SYS_clone3), 0, 1);
        self.give(answer);
    }

    /// Sockets of these families only.
    pub(super) fn families(&mut self, families: &[u32]) {
        for call in [libc::SYS_socket, libc::SYS_socketpair] {
            let body = 3 + families.len();
            self.jump(JUMP_IF_EQUAL, number(call), 0, clamp(body));
            self.load(ARGUMENT[0]);
            for (at, family) in families.iter().enumerate() {
                self.jump(JUMP_IF_EQUAL, *family, clamp(families.len() - at), 0);
            }
            self.give(error(libc::EAFNOSUPPORT));
            self.load(NUMBER);
        }
    }

    /// No namespace of these kinds is made or entered, where clone3 is not there.
    pub(super) fn namespaces(&mut self, forbidden: u32) {
        for call in [libc::SYS_clone, libc::SYS_unshare] {
            self.jump(JUMP_IF_EQUAL, number(call), 0, 4);
            self.load(ARGUMENT[0]);
            self.jump(JUMP_IF_ANY_BIT, forbidden, 0, 1);
            self.give(error(libc::EPERM));
            self.load(NUMBER);
        }
        self.jump(JUMP_IF_EQUAL, number(libc::SYS_setns), 0, 5);
        self.load(ARGUMENT[1]);
        // No kind named: whatever the descriptor is.
        self.jump(JUMP_IF_EQUAL, 0, 1, 0);
        self.jump(JUMP_IF_ANY_BIT, forbidden, 0, 1);
        self.give(error(libc::EPERM));
        self.load(NUMBER);
    }

    /// Whoever may mount at all makes new mounts only, without devices, programs and set-user-ids.
    /// Else the right to mount would be that to undo its own view, and to open any device.
    pub(super) fn mounts(&mut self) {
        self.only_with(libc::SYS_mount, ARGUMENT[3], OTHER_MOUNTS, &TAME);
        self.only_with(libc::SYS_fsmount, ARGUMENT[2], 0, &TAME);
    }

    /// Whoever may load kernel programs attaches them to its cgroups, and not to tracepoints and functions,
    /// where they would write into any process.
    pub(super) fn kernel_programs(&mut self) {
        let body = 3 + TO_CGROUPS.len();
        self.jump(JUMP_IF_EQUAL, number(libc::SYS_bpf), 0, clamp(body));
        self.load(ARGUMENT[0]);
        for (at, command) in TO_CGROUPS.iter().enumerate() {
            self.jump(JUMP_IF_EQUAL, *command, clamp(TO_CGROUPS.len() - at), 0);
        }
        self.give(error(libc::EPERM));
        self.load(NUMBER);
    }

    /// Limits of its own: the right to raise them is one to set those of PID 1, too.
    pub(super) fn own_limits(&mut self) {
        self.jump(JUMP_IF_EQUAL, number(libc::SYS_prlimit64), 0, 4);
        self.load(ARGUMENT[0]);
        self.jump(JUMP_IF_EQUAL, 0, 1, 0);
        self.give(error(libc::EPERM));
        self.load(NUMBER);
    }

    fn only_with(&mut self, call: libc::c_long, argument: u32, without: u32, with: &[u32]) {
        self.jump(JUMP_IF_EQUAL, number(call), 0, clamp(4 + 2 * with.len()));
        self.load(argument);
        self.jump(JUMP_IF_ANY_BIT, without, 0, 1);
        self.give(error(libc::EPERM));
        for bit in with {
            self.jump(JUMP_IF_ANY_BIT, *bit, 1, 0);
            self.give(error(libc::EPERM));
        }
        self.load(NUMBER);
    }

    /// The end: these and no others.
    pub(super) fn permit(&mut self, calls: Vec<u32>) {
        self.ranges(calls, ALLOW);
        self.give(error(libc::EPERM));
    }

    /// The end: all but these.
    pub(super) fn refuse(&mut self, calls: Vec<u32>) {
        self.ranges(calls, error(libc::EPERM));
        self.allow();
    }

    /// The end: all.
    pub(super) fn allow(&mut self) {
        self.give(ALLOW);
    }

    /// The bytes, as the kernel's `struct sock_filter`s.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let one = |i: &Instruction| {
            let [a, b] = i.code.to_le_bytes();
            let [c, d, e, f] = i.operand.to_le_bytes();
            [a, b, i.yes, i.no, c, d, e, f]
        };
        self.0.iter().flat_map(one).collect()
    }

    /// Neighbours share their comparisons.
    fn ranges(&mut self, mut calls: Vec<u32>, answer: u32) {
        calls.sort_unstable();
        calls.dedup();
        for range in calls.chunk_by(|a, b| a + 1 == *b) {
            let (first, last) = (range[0], range[range.len() - 1]);
            self.jump(JUMP_IF_GREATER_OR_EQUAL, first, 0, 2);
            self.jump(JUMP_IF_GREATER, last, 1, 0);
            self.give(answer);
        }
    }

    fn load(&mut self, offset: u32) {
        self.push(LOAD, offset, 0, 0);
    }

    fn give(&mut self, answer: u32) {
        self.push(RETURN, answer, 0, 0);
    }

    fn jump(&mut self, code: u16, operand: u32, yes: u8, no: u8) {
        self.push(code, operand, yes, no);
    }

    fn push(&mut self, code: u16, operand: u32, yes: u8, no: u8) {
        self.0.push(Instruction {
            code,
            yes,
            no,
            operand,
        });
    }
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

/// A piece is short by construction; the tests run every one.
fn clamp(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}
