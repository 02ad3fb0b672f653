//! Why the machine was switched off before, or after, its agent ran. One reason, no secrets.

use std::path::PathBuf;

use hanzo_attestation::config::ConfigError;
use hanzo_device::DeviceError;

use crate::dhcp::DhcpError;
use crate::node::NodeConfigError;
use crate::plan::PlanError;

/// Errors of the first process.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A file system of the kernel's could not be mounted.
    #[error("mount {kind} on {at}: {source}")]
    Mount {
        /// Its type.
        kind: &'static str,
        /// Where.
        at: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A file of the image or of the kernel.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A file of the image is longer than its kind may be.
    #[error("{path}: more than {bytes_max} bytes")]
    TooLong {
        /// Which.
        path: PathBuf,
        /// What is accepted.
        bytes_max: usize,
    },
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The command line, as far as it names the configuration.
    #[error(transparent)]
    CommandLine(#[from] DeviceError),
    /// The command line and the plan are of different images.
    #[error("command line: expected exactly one hanzo.profile={expected}, as the image says; got {got}")]
    Profile {
        /// What the plan says.
        expected: &'static str,
        /// What the command line says.
        got: String,
    },
    /// Profile `core` has no way out.
    #[error(
        "profile core: expected a configuration that lists no names outside, got {names}; build the image with --profile connected"
    )]
    Egress {
        /// How many.
        names: usize,
    },
    /// The configuration is not the measured one.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration of a node of the chain.
    #[error(transparent)]
    Node(#[from] NodeConfigError),
    /// The plan and the node's configuration say different addresses.
    #[error("init.toml: listen: expected the configuration's rpc, {expected}, got {got}")]
    Listen {
        /// What the configuration says.
        expected: std::net::SocketAddr,
        /// What the plan says.
        got: std::net::SocketAddr,
    },
    /// A module was refused.
    #[error("module {module}: {source}")]
    Module {
        /// Which.
        module: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Two disks claim to hold one pack.
    #[error("disk: serial {serial}: expected one disk, got {first} and {second}; attach each pack once")]
    Disk {
        /// What both say.
        serial: String,
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// The network.
    #[error("network: {what}: {source}")]
    Network {
        /// Which step.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// No address from a DHCP server, or no longer.
    #[error("network: DHCP: {0}")]
    Dhcp(#[from] DhcpError),
    /// The kernel took a setting and shows another.
    #[error("lockdown: {path}: expected {expected}, got {got:?}")]
    Lockdown {
        /// Which setting.
        path: &'static str,
        /// What was asked for.
        expected: &'static str,
        /// What it shows.
        got: String,
    },
    /// The agent, or the node, did not start.
    #[error("{what}: {source}")]
    Spawn {
        /// Which.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The agent, or the node, ended. Its own reason stands above on the console.
    #[error("{what}: ended with {how}")]
    Ended {
        /// Which.
        what: &'static str,
        /// Its exit code or signal.
        how: String,
    },
}

impl InitError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Mount { .. } => "init.mount",
            Self::File { .. } => "init.file",
            Self::TooLong { .. } => "init.too_long",
            Self::Plan(e) => e.code(),
            Self::CommandLine(e) => e.code(),
            Self::Profile { .. } => "init.profile",
            Self::Egress { .. } => "init.egress",
            Self::Config(e) => e.code(),
            Self::Node(e) => e.code(),
            Self::Listen { .. } => "init.listen",
            Self::Module { .. } => "init.module",
            Self::Disk { .. } => "init.disk",
            Self::Network { .. } => "init.network",
            Self::Dhcp(e) => e.code(),
            Self::Lockdown { .. } => "init.lockdown",
            Self::Spawn { .. } => "init.agent.spawn",
            Self::Ended { .. } => "init.agent.ended",
        }
    }
}
