//! No memory of this process leaves it by way of the kernel.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::KbsError;

/// Ends core dumps of this process and its children (RLIMIT_CORE = 0), and its being dumped, traced or read through `/proc` by
/// others of its user (PR_SET_DUMPABLE = 0). First thing in a program that will hold a root.
///
/// # Errors
/// [`KbsError::Harden`]: the program must not go on.
pub fn harden_process() -> Result<(), KbsError> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let fail = |what| {
        move |e: rustix::io::Errno| KbsError::Harden {
            what,
            detail: e.to_string(),
        }
    };
    setrlimit(Resource::Core, none).map_err(fail("RLIMIT_CORE"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(fail("PR_SET_DUMPABLE"))
}
