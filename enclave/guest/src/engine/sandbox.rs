//! What an engine process may touch, set by the guest before the engine's program runs.
//!
//! The guest does not start an engine; it starts itself as `hanzo-guest engine-sandbox … -- PROGRAM ARGUMENTS`
//! ([`launch`]), which gives up everything in this order and then becomes the engine:
//! 1. limits: no core dump, a bound on memory, no locked memory; first to die when memory runs out;
//! 2. mounts and network of its own; a root that holds the program, the model and its adapter (read-only), the directory of its socket, and a
//!    few system files;
//! 3. a user and group of its own, no supplementary groups, no capability, no new privileges;
//! 4. Landlock: the same files and rights once more, which holds without step 2 as well;
//! 5. seccomp and no descriptor but the standard ones: no socket but a Unix stream socket that listens, no other process, nothing that changes the kernel.
//!
//! Steps 2 and 3 need root, which a guest in its machine is. [`Isolation::Whole`] fails without them;
//! [`Isolation::AsFarAsPossible`] says so and goes on: that is for development on the simulated TEE. Steps 1, 4 and 5 are
//! taken always, and a kernel that cannot take one of them gets no engine.
//!
//! An engine that starts a server beside it (`--server`) may also start processes, in its own namespaces, and call Unix sockets;
//! it gives up both for itself or for the server (`hanzo-engine-process`, `isolation`). Neither leaves its process group, by which
//! both are ended. The bound on memory holds for each of the two.
//!
//! # Does not establish
//! Anything about GPUs: no GPU device is shown to an engine. The list of system calls is a deny list; files are an allow list.

mod arguments;
mod evidence;
mod files;
pub(crate) mod gpus;
mod identity;
pub(super) mod limits;
mod node;
mod syscalls;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Parser as _;

use self::arguments::Arguments;
use self::files::Tree;

pub use self::limits::spare_this_process;
pub use self::node::launch_node;

/// The first argument that makes `hanzo-guest` the launcher.
pub const SUBCOMMAND: &str = "engine-sandbox";
/// Exit status of a launcher that did not become an engine (EX_CONFIG).
pub const EXIT_REFUSED: u8 = 78;
/// Begins every line of the launcher's.
pub(super) const MARK: &str = "engine-sandbox: ";
/// Begins a line about a step that was not taken.
pub(super) const NOT_APPLIED: &str = "engine-sandbox: NOT APPLIED: ";
/// The first engine's user; each engine has its own, and the group of the model whose files it reads.
const FIRST_UID: u32 = 61_000;

/// How much must hold before an engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// All of it. The guest of an image knows nothing else.
    Whole,
    /// All that this user may ask of this kernel: at least limits, Landlock and seccomp. What is left out is logged.
    AsFarAsPossible,
}

/// How the guest confines engines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSandbox {
    /// The program that becomes the launcher, and its first arguments.
    pub launcher: Vec<String>,
    /// What must hold.
    pub isolation: Isolation,
}

impl EngineSandbox {
    /// This very program as its own launcher, everything required.
    pub fn own_program() -> Self {
        Self {
            launcher: ["/proc/self/exe", SUBCOMMAND].map(str::to_owned).to_vec(),
            isolation: Isolation::Whole,
        }
    }

    /// The arguments before the engine's own.
    pub(super) fn command(&self, job: &super::EngineJob, memory_bytes: u64) -> Vec<String> {
        let mut command = self.launcher.clone();
        let mut option = |name: &str, value: String| command.extend([name.to_owned(), value]);
        option("--model-dir", job.model_dir.display().to_string());
        option("--socket", job.socket.display().to_string());
        option("--memory-bytes", memory_bytes.to_string());
        if let Some(adapter) = &job.adapter {
            option("--adapter-dir", adapter.dir.display().to_string());
        }
        if let Some(server) = &job.server {
            option("--server", server.program.display().to_string());
            for path in &server.files {
                option("--server-file", path.display().to_string());
            }
        }
        if is_root() {
            option("--uid", (FIRST_UID + u32::from(job.index)).to_string());
            option("--gid", (FIRST_UID + u32::from(job.group)).to_string());
            option("--root", job.root.display().to_string());
        }
        if self.isolation == Isolation::Whole {
            command.push("--whole".into());
        }
        command.push("--".into());
        command
    }
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Why a process did not become an engine, or may not.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Only root has a user of its own to give.
    #[error("no user of its own for the engine: --uid and --root are missing; the guest must run as root")]
    NoIdentity,
    /// A limit.
    #[error("{what}: {source}")]
    Limit {
        /// Which.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Descriptors of the guest's that are open in the launcher.
    #[error(transparent)]
    Descriptors(#[from] hanzo_device::DeviceError),
    /// Namespaces or the engine's root.
    #[error("{what}: {source}; it needs CAP_SYS_ADMIN")]
    Namespace {
        /// Which step.
        what: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// User, group, capabilities.
    #[error("{what}: {source}")]
    Identity {
        /// Which step.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A file that the engine needs.
    #[error("{path}: {source}")]
    Path {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The kernel has no Landlock, or an old one.
    #[error(
        "Landlock is {got}; expected ABI 3 or later, enforced (Linux 6.2, CONFIG_SECURITY_LANDLOCK=y and `landlock` in lsm=)"
    )]
    Landlock {
        /// What the kernel offers.
        got: String,
    },
    /// Evidence whose devices a node could not be shown.
    #[error("evidence of kind {got:?}: expected a TPM's, SEV-SNP's or TDX's")]
    Evidence {
        /// What this machine makes.
        got: &'static str,
    },
    /// The filter did not load.
    #[error("seccomp: {got}; expected the filter to load (CONFIG_SECCOMP_FILTER=y)")]
    Seccomp {
        /// The reason.
        got: String,
    },
    /// The program did not start.
    #[error("{program}: {source}")]
    Exec {
        /// Which.
        program: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl SandboxError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoIdentity => "sandbox.no_identity",
            Self::Limit { .. } => "sandbox.limit",
            Self::Descriptors(e) => e.code(),
            Self::Namespace { .. } => "sandbox.namespace",
            Self::Identity { .. } => "sandbox.identity",
            Self::Path { .. } => "sandbox.path",
            Self::Landlock { .. } => "sandbox.landlock",
            Self::Evidence { .. } => "sandbox.evidence",
            Self::Seccomp { .. } => "sandbox.seccomp",
            Self::Exec { .. } => "sandbox.exec",
        }
    }
}

/// Confines this process and becomes the engine. `arguments` are those after [`SUBCOMMAND`]. It returns only on failure,
/// after one line on stderr.
pub fn launch(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let named = std::iter::once(SUBCOMMAND.to_owned()).chain(arguments);
    let arguments = match Arguments::try_parse_from(named) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{MARK}{}", error.kind());
            return ExitCode::from(EXIT_REFUSED);
        }
    };
    let error = become_engine(&arguments);
    eprintln!("{MARK}{error} [{}]", error.code());
    ExitCode::from(EXIT_REFUSED)
}

/// Freed memory is filled with a byte; caches of small pieces, which are not, are off (glibc manual, section 38.2).
const OVERWRITE_FREED: &str = "glibc.malloc.perturb=255:glibc.malloc.tcache_count=0";

fn become_engine(arguments: &Arguments) -> SandboxError {
    let program = match confine(arguments) {
        Ok(program) => program,
        Err(error) => return error,
    };
    let source = Command::new(&program)
        .args(arguments.engine_arguments())
        .env_clear()
        // Libraries in C and C++ (llama.cpp) free texts as they are: the C library overwrites them.
        .env("GLIBC_TUNABLES", OVERWRITE_FREED)
        .exec();
    SandboxError::Exec { program, source }
}

fn confine(arguments: &Arguments) -> Result<PathBuf, SandboxError> {
    let tree = Tree::of(arguments)?;
    limits::set(arguments.memory_bytes)?;
    match (arguments.uid, &arguments.root) {
        (Some(uid), Some(root)) => match files::own_namespaces() {
            Ok(()) => {
                let gid = arguments.gid.unwrap_or(uid);
                tree.hand_over(uid, gid)?;
                tree.enter(root)?;
                limits::of_own_user()?;
                identity::become_user(uid, gid)?;
            }
            Err(error) if arguments.whole => return Err(error),
            Err(error) => eprintln!("{NOT_APPLIED}own user, mounts and network: {error}"),
        },
        _ if arguments.whole => return Err(SandboxError::NoIdentity),
        _ => eprintln!(
            "{NOT_APPLIED}own user, mounts and network: {}",
            SandboxError::NoIdentity
        ),
    }
    identity::drop_privileges()?;
    tree.restrict()?;
    hanzo_device::keep_standard_descriptors_alone()?;
    syscalls::restrict(match arguments.server {
        Some(_) => syscalls::May::StartAServer,
        None => syscalls::May::Answer,
    })?;
    Ok(tree.program)
}
