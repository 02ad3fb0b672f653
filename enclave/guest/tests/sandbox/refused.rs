//! Each attempt without the sandbox and within it.

use std::collections::BTreeMap;

use crate::{Place, UID, is_root, not_run, outcomes, python_is_here, text};

const HOSTILE: &str = include_str!("hostile.py");

/// What an engine that starts a server may besides, and what it may not either.
#[test]
fn an_engine_with_a_server_starts_it_and_calls_it_and_neither_leaves_its_group() {
    if !python_is_here() {
        return;
    }
    const SCRIPT: &str = r#"
import os, socket, ctypes
def attempt(name, what):
    try:
        what()
        print(name, "done")
    except OSError as error:
        print(name, __import__("errno").errorcode[error.errno])
def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
def clone(flags):
    libc = ctypes.CDLL(None, use_errno=True)
    child = libc.syscall(56, flags | 17, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    if child < 0:
        raise OSError(ctypes.get_errno(), "clone")
    os.waitpid(child, 0)
attempt("fork", fork)
attempt("user_namespace", lambda: clone(0x10000000))
attempt("unix_connect", lambda: socket.socket(socket.AF_UNIX).connect("/nowhere"))
attempt("inet", lambda: socket.socket(socket.AF_INET))
attempt("group", lambda: os.setpgid(0, 0))
attempt("session", os.setsid)
"#;
    let place = Place::new();
    let with = |server: bool| {
        let mut words = place.launcher(false);
        let end = words.pop().unwrap();
        if server {
            words.extend(["--server", "/usr/bin/env"].map(str::to_owned));
        }
        words.push(end);
        let output = place.python(words, SCRIPT);
        (text(&output.stdout), text(&output.stderr))
    };
    let (told, said) = with(true);
    let expected = "fork done\nuser_namespace EPERM\nunix_connect ENOENT\ninet EPERM\ngroup EPERM\nsession EPERM\n";
    assert_eq!(told, expected, "{said}");
    let (told, said) = with(false);
    assert!(
        told.starts_with("fork EPERM\nuser_namespace EPERM\nunix_connect EPERM\ninet EPERM\n"),
        "{told}{said}"
    );
}

/// What an engine needs.
const NEEDED: &[&str] = &[
    "read_weights",
    "list_model",
    "own_status",
    "null",
    "urandom",
    "memory_within_bound",
    "thread",
    "socket_pair",
    "listen",
];

/// Refused by Landlock alone, and in a root of its own.
const FILES: &[(&str, &str, &str)] = &[
    ("write_weights", "EACCES", "EACCES"),
    ("create_in_model", "EACCES", "EROFS"),
    ("remove_weights", "ENOENT", "EROFS"),
    ("create_beside_socket", "EACCES", "EACCES"),
    ("other_device", "EACCES", "ENOENT"),
    ("passwd", "EACCES", "ENOENT"),
    ("list_root", "EACCES", "EACCES"),
    ("first_process", "EACCES", "EACCES"),
    ("parent", "EACCES", "EACCES"),
    ("kernel_settings", "EACCES", "EACCES"),
    ("exec", "EACCES", "ENOENT"),
];

/// Refused by seccomp or a limit, whoever asks.
const CALLS: &[(&str, &str)] = &[
    ("chmod_weights", "EPERM"),
    ("inet", "EPERM"),
    ("inet6_datagram", "EPERM"),
    ("netlink", "EPERM"),
    ("packet", "EPERM"),
    ("unix_datagram", "EPERM"),
    ("unix_connect", "EPERM"),
    ("memory_beyond_bound", "ENOMEM"),
    ("shared_memory", "EPERM"),
    ("memfd", "EPERM"),
    ("fork", "EPERM"),
    ("ptrace", "EPERM"),
    ("process_vm_readv", "EPERM"),
    ("pidfd_open", "EPERM"),
    ("mount", "EPERM"),
    ("unshare", "EPERM"),
    ("bpf", "EPERM"),
    ("io_uring", "EPERM"),
    ("keyctl", "EPERM"),
    ("userfaultfd", "EPERM"),
    ("kexec", "EPERM"),
    ("module", "EPERM"),
    ("perf", "EPERM"),
    ("reboot", "EPERM"),
    ("clock", "EPERM"),
    ("clone3", "ENOSYS"),
    ("x32_ptrace", "EPERM"),
];

fn hostile(whole: bool) -> BTreeMap<String, String> {
    let place = Place::new();
    let output = place.python(place.launcher(whole), HOSTILE);
    let seen = outcomes(&output);
    assert!(seen.contains_key("exec"), "it did not end: {}", text(&output.stderr));
    seen
}

fn assert_confined(seen: &BTreeMap<String, String>) {
    for name in NEEDED {
        assert_eq!(seen[*name], "OK", "{name} is needed");
    }
    for (name, errno) in CALLS {
        assert_eq!(seen[*name], *errno, "{name}");
    }
    // Absent here, or present and refused: never open.
    for name in ["tpm", "tpm_resource_manager"] {
        assert!(
            ["ENOENT", "EACCES"].contains(&seen[name].as_str()),
            "{name}: {}",
            seen[name]
        );
    }
    let state = [
        ("core_limit", "0"),
        ("descriptors", "3"),
        ("oom_score_adj", "1000"),
        // Nothing of the guest's, and what makes the C library overwrite freed memory.
        (
            "environment",
            "GLIBC_TUNABLES=glibc.malloc.perturb=255:glibc.malloc.tcache_count=0",
        ),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("CapEff", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
    ];
    for (name, value) in state {
        assert_eq!(seen[name], value, "{name}");
    }
}

#[test]
fn without_privileges_files_calls_and_memory_are_refused() {
    if !python_is_here() {
        return;
    }
    let seen = hostile(false);
    assert_confined(&seen);
    for (name, errno, _) in FILES {
        assert_eq!(seen[*name], *errno, "{name}");
    }
}

#[test]
fn as_root_it_has_a_user_a_root_and_no_capability_besides() {
    if !python_is_here() {
        return;
    }
    if !is_root() {
        return not_run("only root can give an engine a user of its own");
    }
    let seen = hostile(true);
    assert_confined(&seen);
    for (name, _, errno) in FILES {
        assert_eq!(seen[*name], *errno, "{name}");
    }
    let user = vec![UID.to_string(); 4].join(",");
    let state = [
        ("Uid", user.as_str()),
        ("Gid", user.as_str()),
        ("Groups", "none"),
        ("CapBnd", "0000000000000000"),
    ];
    for (name, value) in state {
        assert_eq!(seen[name], value, "{name}");
    }
}

/// The same program, nothing withheld: what is refused above is refused by the sandbox and by nothing else.
#[test]
fn outside_the_sandbox_the_same_attempts_end_otherwise() {
    if !python_is_here() {
        return;
    }
    let place = Place::new();
    let seen = outcomes(&place.python(vec!["/usr/bin/env".into()], HOSTILE));
    for name in NEEDED {
        assert_eq!(seen[*name], "OK", "{name}");
    }
    let open = [
        "write_weights",
        "create_in_model",
        "create_beside_socket",
        "other_device",
        "passwd",
        "list_root",
    ];
    let calls = [
        "chmod_weights",
        "inet",
        "inet6_datagram",
        "unix_datagram",
        "memory_beyond_bound",
        "shared_memory",
        "fork",
    ];
    for name in open.iter().chain(&calls) {
        assert_eq!(seen[*name], "OK", "{name}");
    }
    assert!(!seen.contains_key("exec"), "/bin/true ran");
    assert_eq!(seen["ptrace"], "ESRCH");
    assert_eq!(seen["unix_connect"], "ENOENT");
    if is_root() {
        for (name, errno) in CALLS {
            assert_ne!(seen[*name], *errno, "{name} is refused to root too: it shows nothing");
        }
    }
}
