//! Namespaces of one process, and a root that holds what was put into it and nothing else.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Gives the calling thread, and whatever it becomes by `exec`, its own mounts and network. The new network has one
/// interface, loopback, and that is down.
///
/// # Errors
/// What the kernel said; `EPERM` without `CAP_SYS_ADMIN`.
pub fn leave_namespaces() -> io::Result<()> {
    unshare(libc::CLONE_NEWNS | libc::CLONE_NEWNET)
}

/// As [`leave_namespaces`], for mounts alone: the network stays the machine's.
///
/// # Errors
/// As [`leave_namespaces`].
pub fn leave_mounts() -> io::Result<()> {
    unshare(libc::CLONE_NEWNS)
}

/// `spaces` hold mounts.
fn unshare(spaces: libc::c_int) -> io::Result<()> {
    #[allow(
        unsafe_code,
        reason = "no safe wrapper of this system call exists in the workspace's feature set"
    )]
    // SAFETY: the call takes one integer. Without CLONE_FILES no descriptor table is split; std keeps no state that depends on
    // the namespaces named here.
    let outcome = unsafe { libc::unshare(spaces) };
    outcome_of(outcome)?;
    // From here on no mount made here is seen outside.
    change(None, Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE, None)
}

/// Mounts an empty root of at most 1 MiB on `at`, for [`show`] to fill.
///
/// # Errors
/// What the kernel said.
pub fn empty_root(at: &Path) -> io::Result<()> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    change(Some("tmpfs"), at, Some("tmpfs"), flags, Some("mode=0755,size=1m"))
}

/// What a process may do with something that [`show`] put into its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Read files and directories.
    Readable,
    /// Read them and run programs from them.
    Programs,
    /// Create entries.
    Writable,
    /// Read and write a device.
    Device,
}

/// Puts `from`, a file or directory, on `to`, which exists and is of the same kind. Never with set-uid bits.
///
/// # Errors
/// What the kernel said.
pub fn show(from: &Path, to: &Path, how: Shown) -> io::Result<()> {
    change_from(from, to, libc::MS_BIND)?;
    let mut flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_NOSUID;
    if how != Shown::Device {
        flags |= libc::MS_NODEV;
    }
    if how != Shown::Programs {
        flags |= libc::MS_NOEXEC;
    }
    if how != Shown::Writable {
        flags |= libc::MS_RDONLY;
    }
    change(None, to, None, flags, None)
}

fn change_from(from: &Path, to: &Path, flags: libc::c_ulong) -> io::Result<()> {
    raw(Some(path(from)?), path(to)?, None, flags, None)
}

fn change(
    source: Option<&str>,
    at: &Path,
    kind: Option<&str>,
    flags: libc::c_ulong,
    options: Option<&str>,
) -> io::Result<()> {
    let text = |text: Option<&str>| text.map(CString::new).transpose().map_err(|_| invalid());
    raw(text(source)?, path(at)?, text(kind)?, flags, text(options)?)
}

fn raw(
    source: Option<CString>,
    at: CString,
    kind: Option<CString>,
    flags: libc::c_ulong,
    options: Option<CString>,
) -> io::Result<()> {
    let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
    #[allow(
        unsafe_code,
        reason = "no safe wrapper of this system call exists in the workspace's feature set"
    )]
    // SAFETY: each pointer is null, which the call allows for all but the second, or a NUL-terminated string that lives until
    // the call returns; the kernel copies them.
    let outcome = unsafe {
        libc::mount(
            pointer(&source),
            at.as_ptr(),
            pointer(&kind),
            flags,
            pointer(&options).cast(),
        )
    };
    outcome_of(outcome)
}

fn path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| invalid())
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidInput.into()
}

fn outcome_of(returned: libc::c_int) -> io::Result<()> {
    if returned == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_exist_is_not_shown() {
        let missing = Path::new("/nonexistent-mount-point");
        assert!(show(missing, missing, Shown::Readable).is_err());
        assert!(empty_root(missing).is_err());
        let with_nul = show(Path::new("a\0b"), missing, Shown::Readable).unwrap_err();
        assert_eq!(with_nul.kind(), io::ErrorKind::InvalidInput);
    }
}
