//! What the kernel no longer does once the modules are in: load more of them, be debugged, dump, or read its own memory.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::InitError;

/// Settings below `/proc/sys`, each with the value it must show afterwards. One that does not exist stops the boot, unless
/// the kernel was built without what it governs ([`BUILT_OUT`]).
pub const SETTINGS: &[(&str, &str)] = &[
    // No code enters the kernel from here on, neither as a module nor as another kernel.
    ("kernel/modules_disabled", "1"),
    ("kernel/kexec_load_disabled", "1"),
    // No process reads another's memory, for root either; this cannot be taken back.
    ("kernel/yama/ptrace_scope", "3"),
    ("kernel/unprivileged_bpf_disabled", "1"),
    ("kernel/perf_event_paranoid", "3"),
    // The console is the host's: it commands nothing, and learns neither addresses nor the kernel's log.
    ("kernel/sysrq", "0"),
    ("kernel/dmesg_restrict", "1"),
    ("kernel/kptr_restrict", "2"),
    ("kernel/printk", "1"),
    // Dumps: none of privileged processes, and the size limit of 0 counts only for files, so no pipe may be set.
    ("fs/suid_dumpable", "0"),
    ("kernel/core_pattern", "core"),
    // Nothing opens a connection but `connect`, and to nothing but TCP: what a node's rules about ports do not cover.
    ("net/ipv4/tcp_fastopen", "0"),
    ("net/mptcp/enabled", "0"),
    // A kernel that has shown a fault is not trusted with keys any longer.
    ("kernel/panic_on_oops", "1"),
];

/// What a kernel may be built without, by setting: a second file that every kernel with it has. Both are missing, or the
/// kernel is another than images pin.
pub const BUILT_OUT: &[(&str, &str)] = &[
    ("kernel/modules_disabled", "proc/modules"),
    ("kernel/kexec_load_disabled", "sys/kernel/kexec_loaded"),
    ("kernel/unprivileged_bpf_disabled", "sys/fs/bpf"),
    ("kernel/sysrq", "proc/sysrq-trigger"),
    ("kernel/core_pattern", "proc/self/coredump_filter"),
    ("net/mptcp/enabled", "proc/sys/net/mptcp/add_addr_timeout"),
];

/// Applies [`SETTINGS`] below `proc/sys` of `root` (`/`) and requires the lockdown in `sys/kernel/security` to be
/// `confidentiality`.
///
/// # Errors
/// [`InitError::File`] if a setting is missing or refused, [`InitError::Lockdown`] if it shows another value afterwards.
pub fn lock_down(root: &Path) -> Result<(), InitError> {
    for (name, value) in SETTINGS {
        let path = root.join("proc/sys").join(name);
        if is_built_out(root, name, &path) {
            continue;
        }
        write(&path, value)?;
        let shown = read(&path)?;
        // printk shows four numbers, the first of which is the level that was set.
        if shown.split_ascii_whitespace().next() != Some(value) {
            return Err(InitError::Lockdown {
                path: name,
                expected: value,
                got: shown,
            });
        }
    }
    confidentiality(&root.join("sys/kernel/security/lockdown"))
}

fn is_built_out(root: &Path, name: &str, path: &Path) -> bool {
    let gone = |path: &Path| fs::symlink_metadata(path).is_err_and(|e| e.kind() == ErrorKind::NotFound);
    let second = BUILT_OUT.iter().find(|(setting, _)| *setting == name);
    second.is_some_and(|(_, file)| gone(path) && gone(&root.join(file)))
}

const CONFIDENTIALITY: &str = "[confidentiality]";

/// The command line asks for it from the first instruction on; here it is required, and asked for if it was not.
fn confidentiality(path: &Path) -> Result<(), InitError> {
    if read(path)?.contains(CONFIDENTIALITY) {
        return Ok(());
    }
    write(path, "confidentiality")?;
    let shown = read(path)?;
    if shown.contains(CONFIDENTIALITY) {
        return Ok(());
    }
    Err(InitError::Lockdown {
        path: "lockdown",
        expected: CONFIDENTIALITY,
        got: shown,
    })
}

fn read(path: &Path) -> Result<String, InitError> {
    let text = fs::read_to_string(path).map_err(failed(path))?;
    Ok(text.trim_end().to_owned())
}

fn write(path: &Path, value: &str) -> Result<(), InitError> {
    // Never created: a setting that does not exist is an error.
    let file = fs::OpenOptions::new().write(true).open(path).map_err(failed(path))?;
    std::io::Write::write_all(&mut &file, value.as_bytes()).map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> InitError {
    let path: PathBuf = path.to_owned();
    move |source| InitError::File {
        path: path.clone(),
        source,
    }
}
