//! The files of an engine: one list, enforced by its root and by Landlock.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use hanzo_device::namespace::{Shown, empty_root, leave_namespaces, show};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::SandboxError;
use super::arguments::Arguments;

/// Read by C libraries, allocators and thread pools to size themselves. `/proc` is that of the process alone.
const SYSTEM: &[(&str, Shown)] = &[
    ("/proc", Shown::Readable),
    ("/sys/devices/system/cpu", Shown::Readable),
    ("/dev/null", Shown::Device),
    // A static program finds no getrandom(2) by name and waits on the first of these before it reads the second.
    ("/dev/random", Shown::Device),
    ("/dev/urandom", Shown::Device),
];
/// Of `/proc`, what may be opened.
const OWN_PROC: &[&str] = &[
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/vm/overcommit_memory",
];
/// Engines with shared libraries: those of the system. An image has none of these.
const LIBRARIES: &[&str] = &["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"];
/// Deepest directory of a model. Packs hold flat directories today; a loop of mounts must not hold us.
const DEPTH_MAX: usize = 16;

/// What an engine sees.
pub(super) struct Tree {
    pub(super) program: PathBuf,
    entries: Vec<(PathBuf, Shown)>,
    /// The model's directory, and the adapter's.
    readable: Vec<PathBuf>,
    socket_dir: PathBuf,
}

impl Tree {
    pub(super) fn of(arguments: &Arguments) -> Result<Self, SandboxError> {
        let program = real(&arguments.program())?;
        let readable = std::iter::once(&arguments.model_dir).chain(&arguments.adapter_dir);
        let readable: Vec<PathBuf> = readable.map(|path| real(path)).collect::<Result<_, _>>()?;
        let socket_dir = real(arguments.socket.parent().unwrap_or(Path::new("/")))?;
        let mut entries = vec![
            (program.clone(), Shown::Programs),
            (socket_dir.clone(), Shown::Writable),
        ];
        entries.extend(readable.iter().map(|path| (path.clone(), Shown::Readable)));
        let server = arguments.server.iter().chain(&arguments.server_files);
        let mut server: Vec<PathBuf> = server.map(|path| real(path)).collect::<Result<_, _>>()?;
        // What lies deeper first: a shown directory is read-only, so nothing can be put into it after.
        server.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
        entries.extend(server.into_iter().map(|path| (path, Shown::Programs)));
        let there = |path: &&str| Path::new(path).exists();
        entries.extend(
            LIBRARIES
                .iter()
                .copied()
                .filter(there)
                .map(|p| (p.into(), Shown::Programs)),
        );
        let system = SYSTEM.iter().copied().filter(|(path, _)| Path::new(path).exists());
        entries.extend(system.map(|(path, how)| (path.into(), how)));
        Ok(Self {
            program,
            entries,
            readable,
            socket_dir,
        })
    }

    /// Puts the entries together below `root` and makes it the root. Call [`own_namespaces`] first.
    pub(super) fn enter(&self, root: &Path) -> Result<(), SandboxError> {
        empty_root(root).map_err(failed("own root"))?;
        for (from, how) in &self.entries {
            let to = root.join(from.strip_prefix("/").unwrap_or(from));
            place_for(from, &to)
                .and_then(|()| show(from, &to, *how))
                .map_err(failed(&from.display().to_string()))?;
        }
        rustix::process::chroot(root).map_err(|e| failed("own root")(e.into()))?;
        std::env::set_current_dir("/").map_err(failed("own root"))
    }

    /// The files of model and adapter stay root's, readable by the engine's group; the socket's directory becomes the engine's.
    pub(super) fn hand_over(&self, uid: u32, gid: u32) -> Result<(), SandboxError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SandboxError::Path { path, source }
        };
        chown(&self.socket_dir, Some(uid), Some(gid)).map_err(failed(&self.socket_dir))?;
        let mut given = self.readable.iter();
        given.try_for_each(|path| readable_by(path, gid, DEPTH_MAX).map_err(failed(path)))
    }

    /// The same list by Landlock.
    pub(super) fn restrict(&self) -> Result<(), SandboxError> {
        let status = self
            .rules()
            .map_err(|error| SandboxError::Landlock { got: error.to_string() })?;
        let got = match status.ruleset {
            RulesetStatus::NotEnforced => "not enforced by this kernel",
            _ if !status.no_new_privs => "without no_new_privs",
            _ => return Ok(()),
        };
        Err(SandboxError::Landlock { got: got.into() })
    }

    fn rules(&self) -> Result<RestrictionStatus, Box<dyn std::error::Error>> {
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
        for (path, how) in &self.entries {
            if path != Path::new("/proc") {
                let rights = rights(*how, path.is_dir());
                ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(path)?, rights))?;
            }
        }
        for path in OWN_PROC.iter().map(Path::new).filter(|path| path.exists()) {
            let rights = rights(Shown::Readable, path.is_dir());
            ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(path)?, rights))?;
        }
        Ok(ruleset.restrict_self()?)
    }
}

/// Mounts and network of our own, or nothing is changed.
pub(super) fn own_namespaces() -> Result<(), SandboxError> {
    leave_namespaces().map_err(failed("own mounts and network"))
}

fn failed(what: &str) -> impl Fn(io::Error) -> SandboxError + use<> {
    let what = what.to_owned();
    move |source| SandboxError::Namespace {
        what: what.clone(),
        source,
    }
}

fn rights(how: Shown, is_dir: bool) -> BitFlags<AccessFs> {
    let rights = match how {
        Shown::Readable => AccessFs::ReadFile | AccessFs::ReadDir,
        Shown::Programs => AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute,
        Shown::Writable => AccessFs::MakeSock.into(),
        Shown::Device => AccessFs::ReadFile | AccessFs::WriteFile,
    };
    if is_dir {
        rights
    } else {
        rights & AccessFs::from_file(ABI::V3)
    }
}

fn real(path: &Path) -> Result<PathBuf, SandboxError> {
    fs::canonicalize(path).map_err(|source| SandboxError::Path {
        path: path.to_owned(),
        source,
    })
}

/// Something of the same kind to mount on.
fn place_for(from: &Path, to: &Path) -> io::Result<()> {
    let dir = if from.is_dir() { Some(to) } else { to.parent() };
    if let Some(dir) = dir {
        DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    }
    if !from.is_dir() {
        File::create(to)?;
    }
    Ok(())
}

fn readable_by(path: &Path, gid: u32, depth: usize) -> io::Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_dir() && depth > 0 {
        chown(path, None, Some(gid))?;
        fs::set_permissions(path, Permissions::from_mode(0o750))?;
        fs::read_dir(path)?.try_for_each(|entry| readable_by(&entry?.path(), gid, depth - 1))
    } else if kind.is_file() {
        chown(path, None, Some(gid))?;
        fs::set_permissions(path, Permissions::from_mode(0o440))
    } else {
        Err(io::Error::other("a model holds files and directories alone"))
    }
}
