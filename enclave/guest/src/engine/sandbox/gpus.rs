//! The process that asks CUDA for the GPUs (`crate::probe`): it loads NVIDIA's library and confines itself first.
//!
//! What the library needs beyond an engine's is known from those who ran CUDA under Landlock and seccomp (driver 570 and 580; NVIDIA's OpenShell
//! issues #1486, #1696 and pull request #710, nono's pull request #673): the device nodes with their `ioctl`, `/proc/driver/nvidia*`, `memfd_create`, and writing the names
//! of its threads to `/proc/self/task/*/comm`; without any one of these `cuInit` answers 304. Shared anonymous memory is taken to be needed too.

use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::process::Resource;

use super::{SandboxError, identity, limits, syscalls};

/// Where libraries are; on a person's machine the driver's may be in any of them.
const LIBRARIES: &[&str] = &[
    "/lib",
    "/lib64",
    "/usr",
    "/opt",
    "/nix/store",
    "/run/opengl-driver",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
];
/// What else is read.
const READABLE: &[&str] = &[
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/devices",
    "/proc/modules",
    "/proc/version",
    "/proc/filesystems",
    "/proc/sys/vm",
    "/proc/driver/nvidia",
    "/proc/driver/nvidia-uvm",
    "/sys/bus/pci",
    "/sys/class",
    "/sys/devices",
    "/sys/module",
    "/etc/nvidia",
];
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];
/// Threads' names; with them what a process may write of itself there.
const OWN_THREADS: &str = "/proc/self/task";
/// Nodes in `/dev` of which NVIDIA's begin so; some are directories.
const NVIDIA: &str = "nvidia";
const NODES_MAX: usize = 1024;

/// An anonymous file (`memfd_create`) holds at most so many bytes. No other can be written.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Processor seconds: more than its parent waits, should that end.
const CPU_SECONDS_MAX: u64 = 600;

/// Who must be confined how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confining {
    /// All of it, and as this user where one is given, which needs root.
    Guest { user: Option<u32> },
    /// As far as this kernel's Landlock goes; what it lacks is said. seccomp is not spared.
    Person,
}

/// Confines this process, of one thread, for good: no network, no other process or program, nothing written but names of its own threads, at most
/// `memory_bytes` of private memory; of devices NVIDIA's. `libraries` are further directories of libraries.
///
/// Returns what could not be had, for a person.
pub(crate) fn confine(
    confining: Confining,
    memory_bytes: u64,
    libraries: &[PathBuf],
) -> Result<Option<String>, SandboxError> {
    limits::limit("RLIMIT_CORE", Resource::Core, 0)?;
    limits::limit("RLIMIT_DATA", Resource::Data, memory_bytes)?;
    limits::limit("RLIMIT_FSIZE", Resource::Fsize, FILE_BYTES_MAX)?;
    limits::limit("RLIMIT_NOFILE", Resource::Nofile, limits::DESCRIPTORS_MAX)?;
    limits::limit("RLIMIT_CPU", Resource::Cpu, CPU_SECONDS_MAX)?;
    limits::first_to_end()?;
    if let Confining::Guest { user: Some(user) } = confining {
        identity::become_user(user, user)?;
    }
    identity::drop_privileges()?;
    let lacking = match (landlock(confining, libraries), confining) {
        (Ok(()), _) => None,
        (Err(error), Confining::Person) => Some(error.to_string()),
        (Err(error), Confining::Guest { .. }) => return Err(error),
    };
    syscalls::restrict(syscalls::May::AskGpus)?;
    Ok(lacking)
}

fn landlock(confining: Confining, libraries: &[PathBuf]) -> Result<(), SandboxError> {
    let refused = |got: String| SandboxError::Landlock { got };
    let status = rules(confining, libraries).map_err(|error| refused(error.to_string()))?;
    match status {
        RulesetStatus::NotEnforced => Err(refused("not enforced by this kernel".into())),
        _ => Ok(()),
    }
}

fn rules(confining: Confining, libraries: &[PathBuf]) -> Result<RulesetStatus, Box<dyn std::error::Error>> {
    let required = match confining {
        Confining::Guest { .. } => CompatLevel::HardRequirement,
        Confining::Person => CompatLevel::BestEffort,
    };
    let mut ruleset = Ruleset::default()
        .set_compatibility(required)
        .handle_access(AccessFs::from_all(ABI::V3))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let mut allow = |path: &Path, rights: BitFlags<AccessFs>| -> Result<(), Box<dyn std::error::Error>> {
        let Ok(found) = fs::metadata(path) else { return Ok(()) };
        let rights = if found.is_dir() {
            rights
        } else {
            rights & AccessFs::from_file(ABI::V5)
        };
        let rule = PathBeneath::new(PathFd::new(path)?, rights);
        (&mut ruleset).add_rule(rule)?;
        Ok(())
    };
    for path in LIBRARIES.iter().chain(READABLE) {
        allow(Path::new(path), read)?;
    }
    for path in libraries {
        allow(path, read)?;
    }
    for path in DEVICES {
        allow(Path::new(path), AccessFs::ReadFile | AccessFs::WriteFile)?;
    }
    for node in nodes()? {
        allow(&node, device | AccessFs::ReadDir)?;
    }
    allow(Path::new(OWN_THREADS), read | AccessFs::WriteFile)?;
    Ok(ruleset.restrict_self()?.ruleset)
}

/// `/dev/nvidia0`, `nvidiactl`, `nvidia-uvm`, `nvidia-caps/` and whatever else is NVIDIA's.
fn nodes() -> std::io::Result<Vec<PathBuf>> {
    let mut nodes = Vec::new();
    for entry in fs::read_dir("/dev")?.take(NODES_MAX) {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(NVIDIA) {
            nodes.push(entry.path());
        }
    }
    Ok(nodes)
}
