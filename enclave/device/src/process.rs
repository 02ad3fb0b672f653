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
