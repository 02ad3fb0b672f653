//! What the kernel no longer does once the modules are in: load more of them, be debugged, dump, or read its own memory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::InitError;

/// Settings below `/proc/sys`, each with the value it must show afterwards. All exist in the kernels that images pin;
/// one that does not is another kernel, and stops the boot.
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
    // A kernel that has shown a fault is not trusted with keys any longer.
    ("kernel/panic_on_oops", "1"),
];

/// Applies [`SETTINGS`] below `sysctl` (`/proc/sys`) and requires the lockdown of `securityfs`
/// (`/sys/kernel/security`) to be `confidentiality`.
///
/// # Errors
/// [`InitError::File`] if a setting is missing or refused, [`InitError::Lockdown`] if it shows another value afterwards.
pub fn lock_down(sysctl: &Path, securityfs: &Path) -> Result<(), InitError> {
    for (name, value) in SETTINGS {
        let path = sysctl.join(name);
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
    confidentiality(&securityfs.join("lockdown"))
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
