//! The launcher of a node of the AI chain, in an image that is one: `/init node-sandbox … -- PROGRAM ARGUMENTS`.
//!
//! The steps are an engine's, and all of them are taken or there is no node; what differs is what a node may do: it reads its
//! configuration and the genesis, keeps files in one directory, and speaks TCP: it binds the ports that it answers on and calls those of
//! its peers or of those that it follows. Ports are Landlock's (ABI 4); the network itself is the machine's.
//!
//! For a validator ([`--vote`](Arguments::vote)) the launcher first gets the key of its account from the broker ([`crate::account`]). The
//! key goes through a pipe to the program that this process becomes, as its `--account-fd`; no other process ever has it. The validator
//! sees the device of this machine's evidence as well ([`super::evidence`]), and never the broker.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, PipeReader, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use clap::Parser;
use hanzo_device::namespace::{Shown, empty_root, leave_mounts, show};
use hanzo_device::{Attester, Endorsements, Surroundings, detect};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::thread::CapabilitySet;

use super::evidence::Source;
use super::{EXIT_REFUSED, SandboxError, identity, limits, syscalls};
use crate::account::{Patience, granted};
use crate::error::GuestError;

/// Begins the line that says why there is no node.
const MARK: &str = "hanzo-validator: node-sandbox: ";
/// Begins lines that say how it goes.
const NOTE: &str = "node-sandbox: ";
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
/// And a validator: which configuration was measured.
const COMMAND_LINE: &str = "/proc/cmdline";

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
    /// A port that it answers on.
    #[arg(long, required = true)]
    bind: Vec<u16>,
    /// A port that it may call.
    #[arg(long)]
    connect: Vec<u16>,
    /// A validator's measured configuration: its account's key is asked for, and this machine's evidence device is the node's too.
    #[arg(long)]
    vote: Option<PathBuf>,
    /// The device of this kind is the node's too. With `--vote` the machine says which.
    #[arg(long, conflicts_with = "vote")]
    evidence: Option<Source>,
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
    let error = match become_node(&arguments) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    eprintln!("{MARK}{error} [{}]", error.code());
    ExitCode::from(EXIT_REFUSED)
}

/// Why this process did not become a node: the guest's errors, each under its own code.
fn become_node(arguments: &Arguments) -> Result<std::convert::Infallible, GuestError> {
    let program = arguments.node.first().map(PathBuf::from).unwrap_or_default();
    let (key, evidence) = match &arguments.vote {
        Some(config) => {
            let (key, source) = released(config)?;
            (Some(key), Some(source))
        }
        None => (None, arguments.evidence),
    };
    confine(arguments, &program, evidence)?;
    let mut node = Command::new(&program);
    node.args(arguments.node.get(1..).unwrap_or_default()).env_clear();
    if let Some(key) = &key {
        // The one descriptor that is handed on.
        rustix::io::fcntl_setfd(key, rustix::io::FdFlags::empty())
            .map_err(|error| kernel("the key's pipe")(error.into()))?;
        node.arg("--account-fd").arg(key.as_raw_fd().to_string());
    }
    let source = node.exec();
    Err(SandboxError::Exec { program, source }.into())
}

fn kernel(what: &'static str) -> impl FnOnce(io::Error) -> GuestError {
    move |source| GuestError::Kernel { what, source }
}

/// The account's key in a pipe that ends after it, and how this machine's evidence is made. Every other copy is overwritten before this
/// returns, and the threads that served the exchange have ended.
fn released(config: &Path) -> Result<(PipeReader, Source), GuestError> {
    hanzo_device::harden_process()?;
    crate::hide_panic_messages();
    let attester: Arc<dyn Attester> = Arc::from(detect(Surroundings::host(Endorsements::default()))?);
    let source = Source::of(attester.kind())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(kernel("a runtime"))?;
    let tell = &mut |line: String| eprintln!("{NOTE}{line}");
    let opened = runtime.block_on(granted(config, attester, Patience::default(), tell))?;
    drop(runtime);
    let grant = &opened.grant;
    let (key, version, tier) = (&grant.key_id, grant.key_version, grant.tier);
    eprintln!("{NOTE}key {key} of the account granted, version {version}, tier {tier}");
    let (reader, mut writer) = io::pipe().map_err(kernel("the key's pipe"))?;
    writer
        .write_all(opened.dek.expose())
        .map_err(kernel("the key's pipe"))?;
    Ok((reader, source))
}

fn confine(arguments: &Arguments, program: &Path, evidence: Option<Source>) -> Result<(), SandboxError> {
    limits::set(limits::measured_memory()?)?;
    leave_mounts().map_err(namespace("own mounts"))?;
    own_directory(&arguments.state, arguments.uid)?;
    let mut entries = vec![(program.to_owned(), Shown::Programs)];
    entries.extend(arguments.read.iter().map(|path| (path.clone(), Shown::Readable)));
    entries.push((arguments.state.clone(), Shown::Writable));
    let system = SYSTEM.iter().filter(|(path, _)| Path::new(path).exists());
    entries.extend(system.map(|(path, how)| (PathBuf::from(path), *how)));
    let mut kept = CapabilitySet::empty();
    if let Some(source) = evidence {
        source.hand_over(arguments.uid)?;
        entries.extend(source.entries());
        kept = source.capabilities();
    }
    enter(&arguments.root, &entries)?;
    limits::of_own_user()?;
    identity::become_user_with(arguments.uid, arguments.uid, kept)?;
    identity::drop_privileges_but(kept)?;
    restrict(&entries, arguments, evidence.is_some())?;
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

fn restrict(entries: &[(PathBuf, Shown)], arguments: &Arguments, votes: bool) -> Result<(), SandboxError> {
    let landlock = |got: String| SandboxError::Landlock { got };
    let status = rules(entries, arguments, votes).map_err(|error| landlock(error.to_string()))?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err(landlock("not enforced by this kernel".into())),
        _ if !status.no_new_privs => Err(landlock("without no_new_privs".into())),
        _ => Ok(()),
    }
}

/// Files as their root shows them; TCP ports, which are required too. Who votes keeps directories (the engine's journal, entries of reports)
/// and reads the kernel's command line.
fn rules(
    entries: &[(PathBuf, Shown)],
    arguments: &Arguments,
    votes: bool,
) -> Result<landlock::RestrictionStatus, Box<dyn std::error::Error>> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V3))?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?;
    for port in &arguments.bind {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::BindTcp))?;
    }
    for port in &arguments.connect {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    let own = OWN_PROC.iter().chain(votes.then_some(&COMMAND_LINE));
    let own = own.map(|path| (PathBuf::from(path), Shown::Readable));
    let shown = entries.iter().filter(|(path, _)| path != Path::new("/proc")).cloned();
    for (path, how) in shown.chain(own).filter(|(path, _)| path.exists()) {
        let mut rights = rights(how, path.is_dir());
        if votes && how == Shown::Writable {
            rights |= AccessFs::MakeDir | AccessFs::RemoveDir;
        }
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
