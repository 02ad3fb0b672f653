//! What a person decides about an image. Everything else follows from the pinned inputs.

use std::net::SocketAddr;

use hanzo_attestation::Digest256;
use hanzo_attestation::config::Config;
use hanzo_init::{InitPlan, NetworkPlan, NodeConfig, NodeRole, Profile, Role};

use crate::error::ImageError;

/// Modules of every image, in the order in which they are asked for.
///
/// Network; disks of packs; confidential-guest evidence through configfs; `gcm(aes)` and its hash, which SNP's driver asks
/// the kernel for by name (no `depends=` says so, and nothing in a guest loads modules on demand); the driver of each TEE;
/// the watchdog of QEMU's machines.
pub const MODULES: &[&str] = &[
    "virtio_net",
    "virtio_blk",
    "configfs",
    "tsm",
    "gcm",
    "ghash-generic",
    "sev-guest",
    "tdx-guest",
    "i6300esb",
];

/// What the kernel is told in every image, in this order. Measured.
///
/// Nothing is printed but faults; a panic resets at once; lockdown and signed modules from the first instruction; no
/// firmware table of the host's is taken for ACPI code beyond what the machine needs to be found; the timer's interrupt is
/// not tried out, because an emulated machine that is starved of its processor fails that (under KVM kernels leave it out
/// by themselves).
const ALWAYS: &str =
    "console=ttyS0 quiet panic=-1 lockdown=confidentiality module.sig_enforce=1 acpi_no_static_ssdt no_timer_check";

/// Longest command line (`COMMAND_LINE_SIZE` on x86 less its NUL).
const COMMAND_LINE_BYTES_MAX: usize = 2047;

/// The decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// With or without a shell, with or without a way out.
    pub profile: Profile,
    /// What the image runs.
    role: Role,
    /// The configuration of the guest, or of the node, checked.
    config: String,
    /// Where a validator takes links.
    links: Option<SocketAddr>,
    /// Where the agent serves, or the node answers RPC.
    pub listen: SocketAddr,
    /// Where the broker is reached; a node's is in its configuration, if it has one.
    pub kbs: Option<SocketAddr>,
    /// The machine's network.
    pub network: NetworkPlan,
    /// The AF_VSOCK port where the agent serves besides; none unless set. Debian's kernel has no driver for it in the image.
    pub vsock_port: Option<u32>,
    /// Where the agent takes sealed messages without TLS; nowhere unless set.
    pub sealed: Option<SocketAddr>,
    /// Where the host's egress broker is, `IP:PORT` or `vsock:PORT`; nowhere unless set, and never in profile `core`.
    pub egress: Option<String>,
}

impl Recipe {
    /// Checks the configuration as the guest will.
    ///
    /// # Errors
    /// [`ImageError::Config`]; [`ImageError::Inputs`] for one that lists names outside, in profile `core`.
    pub fn new(
        profile: Profile,
        config: String,
        listen: SocketAddr,
        kbs: SocketAddr,
        network: impl Into<NetworkPlan>,
    ) -> Result<Self, ImageError> {
        let names = Config::parse(config.as_bytes())?.egress.len();
        if profile == Profile::Core && names > 0 {
            return Err(ImageError::Inputs {
                what: "--profile core".into(),
                expected: "a configuration that lists no names outside; --profile connected takes one",
                got: format!("{names} names"),
            });
        }
        Ok(Self {
            profile,
            role: Role::Agent,
            config,
            links: None,
            listen,
            kbs: Some(kbs),
            network: network.into(),
            vsock_port: None,
            sealed: None,
            egress: None,
        })
    }

    /// An image whose one program is a node of the AI chain: its configuration is the node's, and RPC is where that says.
    ///
    /// # Errors
    /// [`ImageError::Node`]; [`ImageError::Inputs`] for a profile with names outside, and for a node that is followed, a peer or a key
    /// broker where the image's network leads nowhere.
    pub fn node(profile: Profile, config: String, network: impl Into<NetworkPlan>) -> Result<Self, ImageError> {
        let node = NodeConfig::parse(config.as_bytes())?;
        let network = network.into();
        if profile == Profile::Connected {
            return Err(ImageError::Inputs {
                what: "--profile connected".into(),
                expected: "core or debug: a node of the chain asks no names outside",
                got: "connected".into(),
            });
        }
        let (what, links) = match &node.role {
            NodeRole::Observer(_) => ("follow.address", None),
            NodeRole::Validator(it) => ("peer.address, kbs.address", Some(it.listen)),
        };
        if let Some(wrong) = links.filter(|at| at.port() == 0 || at.port() == node.rpc.port()) {
            return Err(ImageError::Inputs {
                what: "listen".into(),
                expected: "a port other than 0 and than that of `rpc`",
                got: wrong.to_string(),
            });
        }
        if let Some(beyond) = node.beyond(&network) {
            return Err(ImageError::Inputs {
                what: what.into(),
                expected: "an IPv4 address in the image's own network, or a gateway that leads to it",
                got: beyond.to_string(),
            });
        }
        Ok(Self {
            profile,
            role: Role::Node,
            config,
            links,
            listen: node.rpc,
            kbs: None,
            network,
            vsock_port: None,
            sealed: None,
            egress: None,
        })
    }

    /// What the image runs.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Where a validator takes links.
    pub fn links(&self) -> Option<SocketAddr> {
        self.links
    }

    /// The configuration's text.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// The plan for the first process.
    pub fn plan(&self, modules: Vec<String>, engine: bool) -> InitPlan {
        InitPlan {
            version: 1,
            profile: self.profile,
            role: self.role,
            engine,
            listen: self.listen,
            vsock_port: self.vsock_port,
            sealed: self.sealed,
            kbs: self.kbs,
            egress: self.egress.clone(),
            modules,
            network: self.network.clone(),
        }
    }

    /// The command line.
    ///
    /// # Errors
    /// [`ImageError::CommandLine`].
    pub fn command_line(&self) -> Result<String, ImageError> {
        let digest = Digest256::of(self.config.as_bytes());
        let line = format!("{ALWAYS} hanzo.profile={} hanzo.config={digest}", self.profile);
        if line.len() > COMMAND_LINE_BYTES_MAX {
            return Err(ImageError::CommandLine { got: line.len() });
        }
        Ok(line)
    }
}
