//! A process whose memory stays its own.

use std::os::fd::{FromRawFd as _, OwnedFd};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::error::DeviceError;

/// Forbids core dumps, `ptrace` by others of the same uid, and gaining privileges through `exec`.
///
/// Call it first thing in `main`, before any secret exists. It is not undone for children that `exec`: those start
/// dumpable again, without the right to gain privileges.
///
/// # Errors
/// [`DeviceError::Process`]; the caller stops.
pub fn harden_process() -> Result<(), DeviceError> {
    let failed = |what| move |e: rustix::io::Errno| DeviceError::Process { what, source: e.into() };
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed("PR_SET_DUMPABLE"))?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(failed("RLIMIT_CORE"))?;
    rustix::thread::set_no_new_privs(true).map_err(failed("PR_SET_NO_NEW_PRIVS"))
}

/// Lets `exec` close every descriptor but standard input, output and error, whoever opened it and however.
///
/// # Errors
/// [`DeviceError::Process`]; the caller stops.
pub fn keep_standard_descriptors_alone() -> Result<(), DeviceError> {
    #[allow(
        unsafe_code,
        reason = "no safe wrapper of this system call exists in the workspace's feature set"
    )]
    // SAFETY: the call takes three integers. It closes nothing now: it marks descriptors, and whoever owns one does not notice.
    let outcome = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) };
    if outcome == 0 {
        return Ok(());
    }
    Err(DeviceError::Process {
        what: "close_range",
        source: std::io::Error::last_os_error(),
    })
}

/// The descriptor of this number, which whoever started this process left to it: it is closed when the answer is dropped.
///
/// Call it before anything else of this process owns descriptors of such numbers, and once for each.
///
/// # Errors
/// [`DeviceError::Process`] for standard input, output and error, and for a number that is no open descriptor.
pub fn inherited_descriptor(number: i32) -> Result<OwnedFd, DeviceError> {
    let what = "an inherited descriptor, 3 or above";
    let none = || DeviceError::Process {
        what,
        source: rustix::io::Errno::BADF.into(),
    };
    let open = std::path::Path::new("/proc/self/fd").join(number.to_string());
    if number < 3 || std::fs::symlink_metadata(open).is_err() {
        return Err(none());
    }
    #[allow(unsafe_code, reason = "a number becomes an owned descriptor in no other way")]
    // SAFETY: the number is an open descriptor, as the kernel just said. It came with the start of the process: nothing in this process
    // owns it, as the caller calls this first and once.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    Ok(owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{dumpable_behavior, getrlimit};

    #[test]
    fn a_descriptor_is_taken_once_and_standard_ones_never() {
        use std::io::Read as _;
        use std::os::fd::IntoRawFd as _;
        let (reader, mut writer) = std::io::pipe().unwrap();
        let number = reader.into_raw_fd();
        std::io::Write::write_all(&mut writer, b"key").unwrap();
        drop(writer);
        let mut got = Vec::new();
        let taken = std::fs::File::from(inherited_descriptor(number).unwrap()).read_to_end(&mut got);
        assert_eq!((taken.unwrap(), got.as_slice()), (3, &b"key"[..]));
        for number in [-1, 0, 2, 1 << 20] {
            assert_eq!(inherited_descriptor(number).unwrap_err().code(), "device.process");
        }
    }

    #[test]
    fn a_hardened_process_leaves_no_dump() {
        harden_process().unwrap();
        assert!(matches!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable));
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        assert!(rustix::thread::no_new_privs().unwrap());
    }
}
