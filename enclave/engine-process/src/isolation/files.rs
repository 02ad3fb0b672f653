//! What may be opened.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::IsolationError;

/// Read by the C library, the allocator and thread pools to size themselves. All without content of anybody's.
const SYSTEM: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/self",
    "/proc/sys/vm",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/dev/null",
    // A static program finds no getrandom(2) by name and waits on the first of these before it reads the second.
    "/dev/random",
    "/dev/urandom",
];

pub(super) fn restrict(readable: &[&Path]) -> Result<(), IsolationError> {
    let status = rules(readable).map_err(|error| IsolationError::Landlock { got: error.to_string() })?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err(IsolationError::Landlock {
            got: "not enforced by this kernel".into(),
        }),
        _ if !status.no_new_privs => Err(IsolationError::Landlock {
            got: "without no_new_privs".into(),
        }),
        _ => Ok(()),
    }
}

fn rules(readable: &[&Path]) -> Result<RestrictionStatus, Box<dyn std::error::Error>> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    // Required: every file right of ABI 3. Wanted where the kernel knows them: later file rights, TCP, and no signals or
    // abstract sockets to the outside. seccomp covers the network either way.
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V3))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?;
    for path in readable {
        ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(path)?, read))?;
    }
    for path in SYSTEM {
        // Absent ones (no cgroup file system, say) are simply not readable.
        if let Ok(fd) = PathFd::new(path) {
            let access = if Path::new(path).is_dir() {
                read
            } else {
                AccessFs::ReadFile.into()
            };
            ruleset = ruleset.add_rule(PathBeneath::new(fd, access))?;
        }
    }
    Ok(ruleset.restrict_self()?)
}
