//! Why there is no image. Every error names the file, what was expected of it, and what to do.

use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_attestation::config::ConfigError;
use hanzo_attestation::jcs::JcsError;
use hanzo_init::{NodeConfigError, PlanError};

use crate::firmware::Tee;
use crate::release::ReleaseToolError;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The kernel refused a file operation.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The disk is full.
    #[error(
        "{path}: no space left on the device: free some or choose another output directory; nothing was left behind"
    )]
    NoSpace {
        /// What was being written.
        path: PathBuf,
    },
    /// Longer than its kind may be.
    #[error("{path}: {got} bytes, at most {bytes_max} are accepted")]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// What came.
        got: u64,
        /// What is accepted.
        bytes_max: u64,
    },
    /// The list of pinned inputs.
    #[error("inputs: {what}: expected {expected}, got {got}")]
    Inputs {
        /// Which key.
        what: String,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// The description of a profile.
    #[error("profile: {what}: expected {expected}, got {got}")]
    Profile {
        /// Which key.
        what: String,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// A profile that is described and cannot be made yet.
    #[error(
        "profile {profile} is described and not built in this version: {why}. Profiles that are built: core, connected, debug"
    )]
    ProfileNotBuilt {
        /// Which.
        profile: &'static str,
        /// What is missing.
        why: String,
    },
    /// A pinned package is not in the directory of packages.
    #[error(
        "{dir}: {file} is not there: put the package with SHA-256 {sha256} there, or leave --packages out to fetch it"
    )]
    PackageMissing {
        /// Where it was looked for.
        dir: PathBuf,
        /// Its file name.
        file: String,
        /// Which bytes are wanted.
        sha256: Digest256,
    },
    /// Debian's archive no longer has it, or it is not reachable.
    #[error(
        "{package} {release} could not be fetched from {suite}: {said}. Debian removes old versions: take the file from where you keep the inputs of this image (--packages DIR), or pin a newer version, which makes another image"
    )]
    PackageGone {
        /// Which package.
        package: String,
        /// Which version.
        release: String,
        /// Of which suite.
        suite: String,
        /// apt's last line.
        said: String,
    },
    /// A package is not the pinned one.
    #[error(
        "{path}: SHA-256: expected {expected}, got {got}: this is another file under the pinned name; it was not opened"
    )]
    PackageDigest {
        /// Which file.
        path: PathBuf,
        /// The pinned digest.
        expected: Digest256,
        /// What came.
        got: Digest256,
    },
    /// Firmware that is not the pinned one.
    #[error(
        "{path}: SHA-256: expected {expected} (firmware pins, {tee}), got {got}: this file is neither launched nor measured; build the pinned one with image/firmware/build {tee}, or pin this one, which makes other launch digests"
    )]
    FirmwarePin {
        /// Which file.
        path: PathBuf,
        /// For which processor.
        tee: Tee,
        /// The pinned digest.
        expected: String,
        /// What came.
        got: Digest256,
    },
    /// A file of which no measurement can be told, in the words of the measured-boot crate.
    #[error("{path}: {text}; {help}")]
    Measured {
        /// Which file.
        path: PathBuf,
        /// That crate's code.
        code: &'static str,
        /// What and where.
        text: String,
        /// What to do.
        help: &'static str,
    },
    /// The host cannot launch such a guest.
    #[error("this host: {what}: expected {expected}, got {got}; {remedy}")]
    Host {
        /// What was looked at.
        what: String,
        /// What a launch needs.
        expected: &'static str,
        /// What is there.
        got: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Options that do not fit together.
    #[error("{what}: expected {expected}, got {got}")]
    Launch {
        /// Which option.
        what: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// The kernel that is built from source is not there.
    #[error(
        "{path}: no kernel there: build it (image/kernel/build; SHA-256 {sha256}), or take Debian's (--kernel debian)"
    )]
    KernelMissing {
        /// Where it was looked for.
        path: PathBuf,
        /// Which bytes are wanted.
        sha256: Digest256,
    },
    /// A program this step needs is not installed, or too old.
    #[error("{program}: {why}; {remedy}")]
    Tool {
        /// Which program.
        program: &'static str,
        /// What is wrong.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A file is not of its format.
    #[error("{file}: offset {offset}: expected {expected}, got {got}")]
    Malformed {
        /// Which file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What the format says.
        expected: &'static str,
        /// What is there.
        got: String,
    },
    /// A package lacks a file that the image needs.
    #[error("{package}: no file {wanted} in it")]
    NotInPackage {
        /// Which package.
        package: String,
        /// Which file.
        wanted: String,
    },
    /// A module needs one that the kernel package does not have.
    #[error("module {module} (needed by {needed_by}) is neither in {package} nor built into its kernel")]
    ModuleMissing {
        /// Which.
        module: String,
        /// By whom.
        needed_by: String,
        /// Where it was looked for.
        package: String,
    },
    /// A program for the image is not one that runs in it.
    #[error("{path}: expected {expected}, got {got}; {remedy}")]
    Program {
        /// Which file.
        path: PathBuf,
        /// What runs there.
        expected: &'static str,
        /// What this is.
        got: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The plan for the first process.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The configuration of a node of the AI chain.
    #[error(transparent)]
    Node(#[from] NodeConfigError),
    /// The manifest could not be written canonically.
    #[error("manifest: {0}")]
    Jcs(#[from] JcsError),
    /// A release could not be made, or does not count.
    #[error(transparent)]
    Release(#[from] ReleaseToolError),
    /// The lock file of the programs.
    #[error("{what}: expected a Cargo.lock of version 4 whose packages have names, versions and checksums")]
    Lock {
        /// What is wrong.
        what: String,
    },
    /// A manifest is not of this format.
    #[error("{path}: {what}")]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The command line is longer than kernels take.
    #[error("command line: {got} bytes, the kernel takes at most 2047")]
    CommandLine {
        /// What came.
        got: usize,
    },
    /// There is something at the output's place.
    #[error("{path} exists: images are never overwritten; remove it or choose another directory")]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// Two images differ.
    #[error("{file}: {how}")]
    Different {
        /// Which file.
        file: String,
        /// Where and how.
        how: String,
    },
    /// What a boot measures cannot be told, or is not what was told.
    #[error("measured boot: {what}")]
    Prediction {
        /// Why, or which registers and what made them differ.
        what: String,
    },
    /// The machine did not get as far as it should.
    #[error("boot: {how}; the console is in {console}")]
    Boot {
        /// What happened.
        how: String,
        /// Where its last words are.
        console: PathBuf,
    },
}

impl ImageError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "image.io",
            Self::NoSpace { .. } => "image.no_space",
            Self::TooLarge { .. } => "image.too_large",
            Self::Inputs { .. } => "image.inputs",
            Self::Profile { .. } => "image.profile",
            Self::ProfileNotBuilt { .. } => "image.profile.not_built",
            Self::PackageMissing { .. } => "image.package.missing",
            Self::PackageGone { .. } => "image.package.gone",
            Self::PackageDigest { .. } => "image.package.digest",
            Self::FirmwarePin { .. } => "image.firmware.pin",
            Self::Measured { code, .. } => code,
            Self::Host { .. } => "image.host",
            Self::Launch { .. } => "image.launch",
            Self::KernelMissing { .. } => "image.kernel.missing",
            Self::Tool { .. } => "image.tool",
            Self::Malformed { .. } => "image.malformed",
            Self::NotInPackage { .. } => "image.package.incomplete",
            Self::ModuleMissing { .. } => "image.module.missing",
            Self::Program { .. } => "image.program",
            Self::Config(e) => e.code(),
            Self::Plan(e) => e.code(),
            Self::Node(e) => e.code(),
            Self::Jcs(_) => "internal.jcs",
            Self::Release(e) => e.code(),
            Self::Lock { .. } => "image.lock",
            Self::Manifest { .. } => "image.manifest",
            Self::CommandLine { .. } => "image.command_line",
            Self::Exists { .. } => "image.exists",
            Self::Different { .. } => "image.different",
            Self::Prediction { .. } => "image.prediction",
            Self::Boot { .. } => "image.boot",
        }
    }

    /// Exit code of `hanzo-image`: 10 malformed or wrong inputs, 20 images or registers that
    /// differ, 30 a boot that failed, 1 the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Release(e) => e.exit_code(),
            Self::Lock { .. }
            | Self::Inputs { .. }
            | Self::Profile { .. }
            | Self::ProfileNotBuilt { .. }
            | Self::PackageDigest { .. }
            | Self::FirmwarePin { .. }
            | Self::Measured { .. }
            | Self::Malformed { .. }
            | Self::NotInPackage { .. }
            | Self::ModuleMissing { .. }
            | Self::Program { .. }
            | Self::Config(_)
            | Self::Plan(_)
            | Self::Node(_)
            | Self::Manifest { .. }
            | Self::CommandLine { .. } => 10,
            Self::Different { .. } | Self::Prediction { .. } => 20,
            Self::Boot { .. } => 30,
            _ => 1,
        }
    }

    /// A file operation that failed; a full disk is told apart.
    pub fn io(path: &Path) -> impl Fn(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::NoSpace { path: path.clone() },
            _ => Self::Io {
                path: path.clone(),
                source,
            },
        }
    }
}
