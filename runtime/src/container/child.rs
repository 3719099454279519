//! The child's side of a start: executes a plan's operations, one after the other, up to the exec.
//!
//! It decides nothing, logs nothing, and never returns: it becomes the program, or reports and exits.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};
use sys::clone3::Cloned;

mod wait;

use super::devices::{self, Node};
use super::failure::{Doing, Failure};
use super::mutant::{Defence, lacks};
use super::namespaces::Namespace;
use super::operation::Operation;
use super::terminal::{self, Terminal};
use super::{fault, masks, mounts, namespaces, process, rootfs, seccomp, user};
use crate::zygote::wire;
pub(crate) use wait::Start;
use wait::{accept, created, go, told};

/// What a child says on its status pipe, one JSON line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The namespaces are made: the parent's hooks may run, and then go on.
    Made,
    /// The descriptor of its seccomp filter's notifications, for the parent to take.
    Listener(i32),
    /// Set up, and waiting for the start. The pipe's end, by close-on-exec, is the exec.
    Ready,
    /// Nobody let it start: the child has exited, and its program never ran.
    Unstarted,
    /// The step that failed; the child has exited.
    Failed(Failure),
    /// How a process in a container ended.
    Exited(crate::zygote::ExecStatus),
}

/// What a child is given: everything else is in the plan.
pub(crate) struct Child {
    /// Standard input, output and error; empty with a terminal.
    pub stdio: Vec<OwnedFd>,
    /// Where reports go.
    pub status: OwnedFd,
    /// Where the byte comes from.
    pub start: Option<Start>,
    /// Where the parent says that it has done its part, one line each time.
    pub go: Option<OwnedFd>,
    /// The plan's trees.
    pub trees: Vec<Option<OwnedFd>>,
    /// How many descriptors after the standard ones stay open over the exec.
    pub kept: u32,
    /// The container to which an exec'ed process belongs, and what of it is joined: here, in its cgroup,
    /// since a delegated cgroup namespace (`nsdelegate`) cannot be entered from outside. Its pid namespace
    /// is for the next child only.
    pub container: Option<(OwnedFd, Vec<Namespace>)>,
    /// Where the process is handed over that goes on after [`Operation::Descend`].
    pub descent: Option<OwnedFd>,
    /// Where the terminal's master goes.
    pub console: Option<OwnedFd>,
    /// The program's environment, to which `HOME` is added when it is missing.
    pub env: Vec<String>,
}

/// What the operations build on each other.
#[derive(Default)]
struct State {
    root: Option<OwnedFd>,
    pivoted: bool,
    procfs: Option<OwnedFd>,
    terminal: Option<Terminal>,
    listener: Option<OwnedFd>,
    has_terminal: bool,
    program: String,
    /// The container's state as hooks get it.
    hook_state: String,
}

/// Executes the operations; does not come back.
pub(crate) fn run(operations: &[Operation], mut child: Child) -> ! {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        prepare(&mut child)?;
        let mut state = State::default();
        let mut numbered = operations.iter().enumerate();
        numbered.try_for_each(|(number, operation)| {
            fault::at(number)?;
            state.execute(operation, &mut child)
        })
    }));
    let failure = match outcome {
        Ok(Ok(())) => Failure::refused("execve", "", "the plan has none"),
        Ok(Err(failure)) => failure,
        Err(_) => Failure::refused("set-up", "", "a defect of the runtime: it panicked"),
    };
    report(&child.status, &Report::Failed(failure));
    sys::child::exit_now(127)
}

/// Writes one report; nobody left to read it is no reason to stop.
pub(crate) fn report(status: &OwnedFd, report: &Report) {
    let Ok(mut line) = serde_json::to_vec(report) else {
        return;
    };
    line.push(b'\n');
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        match rustix::io::write(status, rest) {
            Ok(count) => rest = &rest[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

fn prepare(child: &mut Child) -> Result<(), Failure> {
    sys::child::default_signals();
    if let Some((container, joined)) = child.container.take() {
        namespaces::join_process(container.as_fd(), &joined)?;
    }
    // What the parent had open is closed now, not at the exec: a lock or a pipe's end that is held by
    // a process that waits would make others wait, too.
    let mut own: Vec<BorrowedFd<'_>> = vec![child.status.as_fd()];
    own.extend(child.stdio.iter().map(AsFd::as_fd));
    own.extend(child.trees.iter().flatten().map(AsFd::as_fd));
    let ends = child.go.iter().chain(&child.console).chain(&child.descent);
    own.extend(ends.map(AsFd::as_fd));
    own.extend(child.start.iter().map(Start::descriptor));
    if !lacks(Defence::Descriptors) {
        sys::child::close_all_but(3 + child.kept, &own).doing("close_range", "")?;
    }
    sys::child::close_on_exec_from(3 + child.kept).doing("close_range", "")?;
    for (stream, standard) in child.stdio.drain(..).zip(0..3) {
        sys::child::as_standard(stream.as_fd(), standard).doing("dup2", standard.to_string())?;
    }
    // The operations give exact modes.
    rustix::process::umask(rustix::fs::Mode::empty());
    Ok(())
}

impl State {
    fn root(&mut self) -> Result<&OwnedFd, Failure> {
        if self.root.is_none() {
            let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
            let root =
                rustix::fs::open("/", flags, rustix::fs::Mode::empty()).doing("open", "/")?;
            self.root = Some(root);
        }
        self.root
            .as_ref()
            .ok_or_else(|| Failure::refused("open", "/", "no root"))
    }

    fn procfs(&mut self) -> Result<&OwnedFd, Failure> {
        if self.procfs.is_none() {
            self.procfs = Some(process::private_procfs()?);
        }
        self.procfs
            .as_ref()
            .ok_or_else(|| Failure::refused("fsmount", "proc", "no procfs"))
    }

    fn execute(&mut self, operation: &Operation, child: &mut Child) -> Result<(), Failure> {
        match operation {
            Operation::Setns { namespace, path } => namespaces::join(*namespace, path),
            Operation::Unshare { namespace } => namespaces::unshare(*namespace),
            Operation::AwaitMaps => go(child).map(drop),
            Operation::BecomeRoot { keep_groups } => user::become_root(*keep_groups),
            Operation::Personality { domain } => {
                sys::sched::set_personality(*domain).doing("personality", "")
            }
            Operation::Setsid => rustix::process::setsid().map(drop).doing("setsid", ""),
            Operation::SessionKeyring => {
                // Without keys in the kernel, or none left for root, there is nothing to share.
                let _ = sys::child::join_new_session_keyring();
                Ok(())
            }
            Operation::OomScoreAdj { value } => {
                let path = "self/oom_score_adj";
                let procfs = self.procfs()?.as_fd();
                process::write_procfs(procfs, path, &value.to_string())
            }
            Operation::RootPropagation { propagation } => {
                rootfs::set_root_propagation(*propagation)
            }
            Operation::Overlay {
                lower,
                upper,
                work,
                at,
            } => {
                self.root = Some(rootfs::overlay_root(lower, upper, work, at)?);
                Ok(())
            }
            Operation::BindRoot { source } => {
                self.root = Some(rootfs::bind_root(source)?);
                Ok(())
            }
            Operation::AttachRoot { tree, source } => {
                self.root = Some(rootfs::place_root(child.tree(*tree, source)?, source)?);
                Ok(())
            }
            Operation::Mount {
                fstype,
                source,
                target,
                attributes,
                data,
                copy_up,
            } => {
                let new = mounts::New {
                    fstype,
                    source,
                    data,
                    copy_up: *copy_up,
                };
                mounts::mount(self.root()?.as_fd(), &new, target, attributes)
            }
            Operation::Remount { target, attributes } => {
                mounts::remount(self.root()?.as_fd(), target, attributes)
            }
            Operation::Attach {
                tree,
                source,
                target,
            } => {
                let tree = child.tree(*tree, source)?;
                mounts::attach_inside(self.root()?.as_fd(), tree.as_fd(), target)
            }
            Operation::Bind {
                source,
                target,
                recursive,
                attributes,
            } => mounts::bind(self.root()?.as_fd(), source, target, *recursive, attributes),
            Operation::Mknod {
                path,
                kind,
                major,
                minor,
                mode,
                uid,
                gid,
            } => {
                let node = Node {
                    path,
                    kind: *kind,
                    major: *major,
                    minor: *minor,
                    mode: *mode,
                    uid: *uid,
                    gid: *gid,
                };
                devices::mknod(self.root()?.as_fd(), &node)
            }
            Operation::Symlink { target, link } => {
                devices::symlink(self.root()?.as_fd(), target, link)
            }
            Operation::Terminal { rows, columns } => self.open_terminal(*rows, *columns, child),
            Operation::AwaitHooks => {
                report(&child.status, &Report::Made);
                self.hook_state = go(child)?;
                Ok(())
            }
            Operation::Hooks { hooks } => {
                hooks.iter().try_for_each(|hook| hook.run(&self.hook_state))
            }
            Operation::MaskPath { path } => masks::mask(self.root()?.as_fd(), path),
            Operation::ReadonlyPath { path } => masks::make_readonly(self.root()?.as_fd(), path),
            Operation::PivotRoot => {
                rootfs::pivot_into(self.root()?.as_fd())?;
                self.pivoted = true;
                Ok(())
            }
            Operation::MoveRoot => {
                rootfs::move_into(self.root()?.as_fd())?;
                self.pivoted = true;
                Ok(())
            }
            Operation::FinalPropagation {
                propagation,
                recursive,
            } => rootfs::set_final_propagation(self.root()?.as_fd(), *propagation, *recursive),
            Operation::ReadonlyRoot => rootfs::make_readonly(self.root()?.as_fd()),
            Operation::Sysctl { key, value } => {
                process::write_procfs(self.procfs()?.as_fd(), &process::sysctl_path(key), value)
            }
            Operation::Sethostname { name } => {
                rustix::system::sethostname(name.as_bytes()).doing("sethostname", name)
            }
            Operation::Setdomainname { name } => {
                rustix::system::setdomainname(name.as_bytes()).doing("setdomainname", name)
            }
            Operation::Setrlimit {
                resource,
                soft,
                hard,
            } => process::set_limit(resource, *soft, *hard),
            Operation::Scheduler {
                policy,
                flags,
                nice,
                priority,
                runtime,
                deadline,
                period,
            } => sys::sched::set_scheduling(&sys::sched::Scheduling {
                policy: *policy,
                flags: *flags,
                nice: *nice,
                priority: *priority,
                runtime: *runtime,
                deadline: *deadline,
                period: *period,
            })
            .doing("sched_setattr", policy.to_string()),
            Operation::IoPriority { class, level } => {
                sys::sched::set_io_priority(*class, *level).doing("ioprio_set", class.to_string())
            }
            Operation::Label { module, label } => {
                process::set_label(self.procfs()?.as_fd(), module, label)
            }
            Operation::MakeCwd { path } => process::make_directory(self.root()?.as_fd(), path),
            Operation::NoNewPrivs => {
                rustix::thread::set_no_new_privs(true).doing("prctl no_new_privs", "")
            }
            Operation::Credentials { user, capabilities } => {
                self.take_credentials(user, capabilities, child)
            }
            Operation::Umask { mask } => {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(*mask));
                Ok(())
            }
            Operation::Chdir { path } => process::change_directory(path),
            Operation::FindProgram { name } => {
                self.program = process::find_program(name, &child.env)?;
                Ok(())
            }
            Operation::AwaitStart => self.await_start(child),
            Operation::Descend => self.descend(child),
            Operation::Seccomp {
                filter,
                flags,
                listener,
            } => {
                self.listener = seccomp::load(filter, *flags, *listener)?;
                if let Some(listener) = &self.listener {
                    let number = std::os::fd::AsRawFd::as_raw_fd(listener);
                    report(&child.status, &Report::Listener(number));
                    go(child)?;
                    self.listener = None;
                }
                Ok(())
            }
            Operation::Execve { args } => self.execve(args, child),
        }
    }

    fn open_terminal(&mut self, rows: u16, columns: u16, child: &mut Child) -> Result<(), Failure> {
        let fresh = !self.pivoted && self.root.is_some();
        let root = self.root()?.as_fd();
        let terminal = terminal::open(root, rows, columns)?;
        if fresh {
            terminal::mount_console(root, &terminal)?;
        }
        terminal::become_streams(&terminal)?;
        if child.descent.is_none() {
            terminal::control()?;
        }
        self.has_terminal = true;
        if let Some(console) = child.console.take() {
            wire::send(console.as_fd(), b"console", &[terminal.master.as_fd()])
                .doing("sendmsg", "console")?;
        }
        self.terminal = Some(terminal);
        Ok(())
    }

    fn take_credentials(
        &mut self,
        choice: &user::UserChoice,
        capabilities: &super::capabilities::Sets,
        child: &mut Child,
    ) -> Result<(), Failure> {
        let passwd = process::read_in_root("/etc/passwd")?;
        let group = match choice.name {
            Some(_) => process::read_in_root("/etc/group")?,
            None => String::new(),
        };
        let user = choice.resolve(&passwd, &group)?;
        match self.terminal.take() {
            Some(terminal) => terminal::give_to(&terminal, user.uid)?,
            None => process::own_standard_streams(user.uid),
        }
        if !child
            .env
            .iter()
            .any(|variable| variable.starts_with("HOME="))
        {
            child.env.push(format!("HOME={}", user.home));
        }
        user::become_user(&user, capabilities)
    }

    fn await_start(&mut self, child: &mut Child) -> Result<(), Failure> {
        // Descriptors that lead out of the root must not outlive the wait.
        self.root = None;
        self.procfs = None;
        let Some(start) = child.start.take() else {
            return Ok(());
        };
        child.go = None;
        if !self.hook_state.is_empty() {
            self.hook_state = created(&self.hook_state);
        }
        report(&child.status, &Report::Ready);
        match start {
            // The engine has gone. PID 1 may hold the other end of the status pipe: the next engine reads this.
            Start::Pipe(pipe) if !told(&pipe) => {
                report(&child.status, &Report::Unstarted);
                sys::child::exit_now(0)
            }
            Start::Pipe(_) => {}
            // Whoever connects says so, and reads on the connection what comes of it.
            Start::Socket(socket) => loop {
                let connection = accept(&socket).doing("accept", "start")?;
                if told(&connection) {
                    child.status = connection;
                    break;
                }
            },
        }
        Ok(())
    }

    /// What led out of the container is closed before anybody in there can see this process.
    fn descend(&mut self, child: &mut Child) -> Result<(), Failure> {
        self.root = None;
        self.procfs = None;
        self.terminal = None;
        let Some(descent) = child.descent.take() else {
            return Ok(());
        };
        match sys::clone3::sibling().doing("clone", "")? {
            Cloned::Parent { pid, pidfd } => {
                let sent = wire::send(descent.as_fd(), &pid.to_ne_bytes(), &[pidfd.as_fd()]);
                sys::child::exit_now(sent.is_err().into())
            }
            Cloned::Child => {
                drop(descent);
                rustix::process::setsid().map(drop).doing("setsid", "")?;
                if self.has_terminal {
                    terminal::control()?;
                }
                Ok(())
            }
        }
    }

    fn execve(&mut self, args: &[String], child: &Child) -> Result<(), Failure> {
        let program = self.program.as_str();
        let text = |text: &str| {
            CString::new(text)
                .map_err(|_| Failure::refused("execve", program, "a NUL in its texts"))
        };
        let path = text(program)?;
        let args: Vec<CString> = args.iter().map(|arg| text(arg)).collect::<Result<_, _>>()?;
        let env: Vec<CString> = child
            .env
            .iter()
            .map(|variable| text(variable))
            .collect::<Result<_, _>>()?;
        match nix::unistd::execve(&path, &args, &env) {
            Ok(never) => match never {},
            Err(error) => Err(Failure::kernel(
                "execve",
                program,
                std::io::Error::from_raw_os_error(error as i32),
            )),
        }
    }
}

impl Child {
    fn tree(&mut self, index: usize, source: &str) -> Result<OwnedFd, Failure> {
        let tree = self.trees.get_mut(index).and_then(Option::take);
        tree.ok_or_else(|| Failure::refused("attach", source, "the tree was not prepared"))
    }
}
