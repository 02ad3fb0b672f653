//! What the kernel may not be asked for.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::IsolationError;

/// x86-64 kernels may offer the x32 calls under the same architecture value; their numbers carry this bit.
const X32: i64 = 0x4000_0000;

/// Refused whatever the arguments.
const DENIED: &[i64] = &[
    // Reaching anybody else. Sockets passed in stay usable; new ones cannot be addressed.
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    // Becoming another program.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_fork,
    libc::SYS_vfork,
    // Other processes' memory, descriptors and signals.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    // io_uring carries socket calls past this filter.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // File systems and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_mknod,
    libc::SYS_mknodat,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_acct,
    // The kernel itself.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_personality,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    // Clocks and identity.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
];

/// Of [`DENIED`], what a server needs: to listen, and to be started.
const OF_A_SERVER: &[i64] = &[libc::SYS_bind, libc::SYS_listen, libc::SYS_execve];
/// Leaving the process group, by which it is ended.
const LEAVING: &[i64] = &[libc::SYS_setsid, libc::SYS_setpgid];

/// What a process does in the sandbox.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Answers on a socket that it holds.
    Engine,
    /// The same, and calls a server over a Unix socket.
    Caller,
    /// Becomes another program once, and listens.
    Server,
}

pub(super) fn restrict(part: Part) -> Result<(), IsolationError> {
    let failed = |error: &dyn std::fmt::Display| IsolationError::Seccomp { got: error.to_string() };
    let program = program(part).map_err(|error| failed(&error))?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| failed(&error))?;
    let absent = absent().map_err(|error| failed(&error))?;
    seccompiler::apply_filter_all_threads(&absent).map_err(|error| failed(&error))
}

fn program(part: Part) -> Result<BpfProgram, seccompiler::BackendError> {
    let arg0 = |len, op, value| {
        SeccompCondition::new(0, len, op, value).and_then(|condition| SeccompRule::new(vec![condition]))
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let allowed: &[i64] = match part {
        Part::Engine => &[],
        Part::Caller => &[libc::SYS_connect],
        Part::Server => OF_A_SERVER,
    };
    let leaving = if part == Part::Server { LEAVING } else { &[] };
    for call in DENIED.iter().chain(leaving).filter(|call| !allowed.contains(call)) {
        rules.insert(*call, vec![]);
        rules.insert(*call | X32, vec![]);
    }
    // x32's own numbers (ptrace, execve, process_vm_* and others have a second one there).
    for call in 512..=547 {
        rules.insert(call | X32, vec![]);
    }
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        let foreign = || arg0(SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, libc::AF_UNIX as u64);
        rules.insert(call, vec![foreign()?]);
        rules.insert(call | X32, vec![foreign()?]);
    }
    // clone for threads alone.
    let thread = libc::CLONE_THREAD as u64;
    let process = || arg0(SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), 0);
    rules.insert(libc::SYS_clone, vec![process()?]);
    rules.insert(libc::SYS_clone | X32, vec![process()?]);
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, denied, TargetArch::x86_64)?.try_into()
}

/// clone3 passes its flags in memory, where a filter cannot look. Without it the C library falls back to clone.
fn absent() -> Result<BpfProgram, seccompiler::BackendError> {
    let rules = [libc::SYS_clone3, libc::SYS_clone3 | X32]
        .map(|call| (call, vec![]))
        .into();
    let absent = SeccompAction::Errno(libc::ENOSYS as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, absent, TargetArch::x86_64)?.try_into()
}
