//! The launcher of a node of the AI chain, in an image that is one: `/init node-sandbox … -- PROGRAM ARGUMENTS`.
//!
//! The steps are an engine's, and all of them are taken or there is no node; what differs is what a node may do: it reads its
//! configuration and the genesis, keeps files in one directory, and speaks TCP: it binds one port and calls those of the nodes that it
//! follows. Ports are Landlock's (ABI 4); the network itself is the machine's.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use hanzo_device::namespace::{Shown, empty_root, leave_mounts, show};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::{EXIT_REFUSED, SandboxError, identity, limits, syscalls};

const MARK: &str = "hanzo-validator: node-sandbox: ";
/// What a Rust program and its C libraries look at, and nothing else of the machine.
const SYSTEM: &[(&str, Shown)] = &[
    ("/proc", Shown::Readable),
    ("/sys/devices/system/cpu", Shown::Readable),
    ("/dev/null", Shown::Device),
    ("/dev/random", Shown::Device),
    ("/dev/urandom", Shown::Device),
];
/// Of `/proc`, what may be opened.
const OWN_PROC: &[&str] = &["/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat"];

/// What the launcher is told: by the first process, out of measured files. None of it is secret.
#[derive(Parser)]
struct Arguments {
    /// User and group of the node.
    #[arg(long)]
    uid: u32,
    /// An empty directory on which the node's root is put together.
    #[arg(long)]
    root: PathBuf,
    /// The one directory in which it may keep files.
    #[arg(long)]
    state: PathBuf,
    /// A file that it may read.
    #[arg(long)]
    read: Vec<PathBuf>,
    /// The port that it answers on.
    #[arg(long)]
    bind: u16,
    /// A port that it may call.
    #[arg(long)]
    connect: Vec<u16>,
    /// The node and its arguments.
    #[arg(last = true, required = true)]
    node: Vec<String>,
}

/// Confines this process and becomes the node. It returns only on failure, after one line on stderr.
pub fn launch_node(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let named = std::iter::once(hanzo_init::NODE_SANDBOX.to_owned()).chain(arguments);
    let arguments = match Arguments::try_parse_from(named) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{MARK}{}", error.kind());
            return ExitCode::from(EXIT_REFUSED);
        }
    };
    let error = become_node(&arguments);
    eprintln!("{MARK}{error} [{}]", error.code());
    ExitCode::from(EXIT_REFUSED)
}

fn become_node(arguments: &Arguments) -> SandboxError {
    let program = arguments.node.first().map(PathBuf::from).unwrap_or_default();
    if let Err(error) = confine(arguments, &program) {
        return error;
    }
    let source = Command::new(&program)
        .args(arguments.node.get(1..).unwrap_or_default())
        .env_clear()
        .exec();
    SandboxError::Exec { program, source }
}

fn confine(arguments: &Arguments, program: &Path) -> Result<(), SandboxError> {
    limits::set(limits::measured_memory()?)?;
    leave_mounts().map_err(namespace("own mounts"))?;
    own_directory(&arguments.state, arguments.uid)?;
    let mut entries = vec![(program.to_owned(), Shown::Programs)];
    entries.extend(arguments.read.iter().map(|path| (path.clone(), Shown::Readable)));
    entries.push((arguments.state.clone(), Shown::Writable));
    let system = SYSTEM.iter().filter(|(path, _)| Path::new(path).exists());
    entries.extend(system.map(|(path, how)| (PathBuf::from(path), *how)));
    enter(&arguments.root, &entries)?;
    limits::of_own_user()?;
    identity::become_user(arguments.uid, arguments.uid)?;
    identity::drop_privileges()?;
    restrict(&entries, arguments)?;
    hanzo_device::keep_standard_descriptors_alone()?;
    syscalls::restrict(syscalls::May::SpeakTcp)
}

fn own_directory(dir: &Path, uid: u32) -> Result<(), SandboxError> {
    let failed = |source| SandboxError::Path {
        path: dir.to_owned(),
        source,
    };
    chown(dir, Some(uid), Some(uid)).map_err(failed)?;
    fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(failed)
}

fn enter(root: &Path, entries: &[(PathBuf, Shown)]) -> Result<(), SandboxError> {
    empty_root(root).map_err(namespace("own root"))?;
    for (from, how) in entries {
        let to = root.join(from.strip_prefix("/").unwrap_or(from));
        place_for(from, &to)
            .and_then(|()| show(from, &to, *how))
            .map_err(namespace(&from.display().to_string()))?;
    }
    rustix::process::chroot(root).map_err(|e| namespace("own root")(e.into()))?;
    std::env::set_current_dir("/").map_err(namespace("own root"))
}

/// Something of the same kind to mount on.
fn place_for(from: &Path, to: &Path) -> io::Result<()> {
    let is_dir = from.is_dir();
    if let Some(dir) = if is_dir { Some(to) } else { to.parent() } {
        DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    }
    if !is_dir {
        File::create(to)?;
    }
    Ok(())
}

fn restrict(entries: &[(PathBuf, Shown)], arguments: &Arguments) -> Result<(), SandboxError> {
    let landlock = |got: String| SandboxError::Landlock { got };
    let status = rules(entries, arguments).map_err(|error| landlock(error.to_string()))?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err(landlock("not enforced by this kernel".into())),
        _ if !status.no_new_privs => Err(landlock("without no_new_privs".into())),
        _ => Ok(()),
    }
}

/// Files as their root shows them; TCP ports, which are required too.
fn rules(
    entries: &[(PathBuf, Shown)],
    arguments: &Arguments,
) -> Result<landlock::RestrictionStatus, Box<dyn std::error::Error>> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V3))?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .add_rule(NetPort::new(arguments.bind, AccessNet::BindTcp))?;
    for port in &arguments.connect {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    let own = OWN_PROC.iter().map(|path| (PathBuf::from(path), Shown::Readable));
    let shown = entries.iter().filter(|(path, _)| path != Path::new("/proc")).cloned();
    for (path, how) in shown.chain(own).filter(|(path, _)| path.exists()) {
        let rights = rights(how, path.is_dir());
        ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(&path)?, rights))?;
    }
    Ok(ruleset.restrict_self()?)
}

fn rights(how: Shown, is_dir: bool) -> BitFlags<AccessFs> {
    let rights = match how {
        Shown::Readable => AccessFs::ReadFile | AccessFs::ReadDir,
        Shown::Programs => AccessFs::ReadFile | AccessFs::Execute,
        Shown::Writable => {
            AccessFs::ReadFile
                | AccessFs::ReadDir
                | AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::MakeReg
                | AccessFs::RemoveFile
        }
        Shown::Device => AccessFs::ReadFile | AccessFs::WriteFile,
    };
    match is_dir {
        true => rights,
        false => rights & AccessFs::from_file(ABI::V3),
    }
}

fn namespace(what: &str) -> impl Fn(io::Error) -> SandboxError + use<> {
    let what = what.to_owned();
    move |source| SandboxError::Namespace {
        what: what.clone(),
        source,
    }
}
