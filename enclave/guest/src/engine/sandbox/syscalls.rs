//! What an engine may not ask of the kernel. Refused calls fail with EPERM.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::SandboxError;

/// x86-64 kernels may offer the x32 calls under the same architecture value; their numbers carry this bit.
const X32: i64 = 0x4000_0000;
/// The type's bits of `socket(2)`'s second argument; flags lie above them.
const SOCKET_TYPE: u64 = 0xf;

/// Refused whatever the arguments.
const DENIED: &[i64] = &[
    // An engine is called and calls nobody.
    libc::SYS_connect,
    // One process: threads, but no child (`clone` is judged by its flags).
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_execveat,
    // Other processes' memory, descriptors and signals.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    // io_uring carries calls past this filter.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Memory that RLIMIT_DATA does not count (shared anonymous maps are judged by their flags).
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
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
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_chown,
    libc::SYS_fchown,
    libc::SYS_lchown,
    libc::SYS_fchownat,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_fanotify_init,
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
    libc::SYS_vhangup,
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
    libc::SYS_capset,
];

/// Leaving the process group.
const LEAVING: &[i64] = &[libc::SYS_setsid, libc::SYS_setpgid];
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// What the filter leaves to a process besides computing and answering on a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    /// Nothing.
    Answer,
    /// Start processes, though in no namespaces of their own, and call Unix sockets; nobody leaves the process group.
    StartAServer,
    /// Answer and call over TCP.
    SpeakTcp,
    /// Ask NVIDIA's driver: no socket but pairs, no other program; anonymous files and shared memory, which the library needs.
    AskGpus,
}

/// `exec` stays possible: the launcher needs it, and Landlock leaves it the engine's own program and system libraries.
///
pub(super) fn restrict(may: May) -> Result<(), SandboxError> {
    let failed = |error: &dyn std::fmt::Display| SandboxError::Seccomp { got: error.to_string() };
    for program in [denied(may).map_err(|e| failed(&e))?, absent().map_err(|e| failed(&e))?] {
        seccompiler::apply_filter(&program).map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn denied(may: May) -> Result<BpfProgram, BackendError> {
    let one = |argument, op, value| {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)?;
        SeccompRule::new(vec![condition])
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let (allowed, further): (&[i64], &[i64]) = match may {
        May::Answer => (&[], &[]),
        May::AskGpus => (&[libc::SYS_memfd_create], &[libc::SYS_execve, libc::SYS_socket]),
        May::StartAServer => (&[libc::SYS_connect], LEAVING),
        May::SpeakTcp => (&[libc::SYS_connect], &[]),
    };
    for call in DENIED.iter().chain(further).filter(|call| !allowed.contains(call)) {
        rules.insert(*call, vec![]);
        rules.insert(*call | X32, vec![]);
    }
    // x32's own numbers (ptrace, execve, process_vm_* and others have a second one there).
    for call in 512..=547 {
        rules.insert(call | X32, vec![]);
    }
    // Streams alone, Unix ones unless TCP is spoken: no datagram, which could be sent without `connect`.
    let judged: &[i64] = match may {
        May::AskGpus => &[libc::SYS_socketpair],
        _ => &[libc::SYS_socket, libc::SYS_socketpair],
    };
    for call in judged.iter().copied() {
        for number in [call, call | X32] {
            let mut refused = vec![match may {
                May::Answer | May::StartAServer | May::AskGpus => one(0, SeccompCmpOp::Ne, libc::AF_UNIX as u64)?,
                May::SpeakTcp => SeccompRule::new(
                    [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6]
                        .map(|family| {
                            SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family as u64)
                        })
                        .into_iter()
                        .collect::<Result<_, _>>()?,
                )?,
            }];
            for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET] {
                refused.push(one(1, SeccompCmpOp::MaskedEq(SOCKET_TYPE), kind as u64)?);
            }
            rules.insert(number, refused);
        }
    }
    // Landlock's rules about ports are about TCP that binds and connects: not about MPTCP, which speaks to plain TCP as well, nor about data
    // that opens a connection (https://github.com/landlock-lsm/linux/issues/54 and /41).
    if may == May::SpeakTcp {
        for number in [libc::SYS_socket, libc::SYS_socket | X32] {
            let other = [0, libc::IPPROTO_TCP]
                .map(|protocol| SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, protocol as u64))
                .into_iter()
                .collect::<Result<_, _>>()?;
            rules.entry(number).or_default().push(SeccompRule::new(other)?);
        }
        let fast = libc::MSG_FASTOPEN as u64;
        for (call, flags) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)] {
            for number in [call, call | X32] {
                rules.insert(number, vec![one(flags, SeccompCmpOp::MaskedEq(fast), fast)?]);
            }
        }
    }
    let shared_anonymous = (libc::MAP_SHARED | libc::MAP_ANONYMOUS) as u64;
    for number in [libc::SYS_mmap, libc::SYS_mmap | X32] {
        if may == May::AskGpus {
            continue;
        }
        rules.insert(
            number,
            vec![one(3, SeccompCmpOp::MaskedEq(shared_anonymous), shared_anonymous)?],
        );
    }
    // clone for threads alone, or for anything but namespaces.
    for number in [libc::SYS_clone, libc::SYS_clone | X32] {
        let mut refused = Vec::new();
        if may == May::StartAServer {
            for namespace in NAMESPACES.map(|flag| flag as u64) {
                refused.push(one(0, SeccompCmpOp::MaskedEq(namespace), namespace)?);
            }
        } else {
            refused.push(one(0, SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64), 0)?);
        }
        rules.insert(number, refused);
    }
    // No input pushed into a terminal that we might share.
    for number in [libc::SYS_ioctl, libc::SYS_ioctl | X32] {
        rules.insert(number, vec![one(1, SeccompCmpOp::Eq, libc::TIOCSTI)?]);
    }
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, denied, TargetArch::x86_64)?.try_into()
}

/// clone3 passes its flags in memory, where a filter cannot look. Without it the C library falls back to clone.
fn absent() -> Result<BpfProgram, BackendError> {
    let rules = [libc::SYS_clone3, libc::SYS_clone3 | X32]
        .map(|call| (call, vec![]))
        .into();
    let absent = SeccompAction::Errno(libc::ENOSYS as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, absent, TargetArch::x86_64)?.try_into()
}
