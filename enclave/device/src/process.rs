//! A process whose memory stays its own.

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

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{dumpable_behavior, getrlimit};

    #[test]
    fn a_hardened_process_leaves_no_dump() {
        harden_process().unwrap();
        assert!(matches!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable));
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        assert!(rustix::thread::no_new_privs().unwrap());
    }
}
