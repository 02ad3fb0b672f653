//! What went into an image and what came out, by digest: canonical JSON beside the image's files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;

use hanzo_attestation::jcs;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_init::{NetworkPlan, Profile, Role};
use serde::{Deserialize, Serialize};

use crate::error::ImageError;
use crate::inputs::Package;
use crate::kernel::OwnKernel;
use crate::recipe::Recipe;

/// The manifest's file name.
pub const FILE: &str = "manifest.json";
/// What `format` says.
pub const FORMAT: &str = "hanzo.image.v1";
/// Longest manifest in bytes: it holds a configuration of at most 64 KiB.
const BYTES_MAX: usize = 512 * 1024;

/// Size and digests of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256.
    pub sha256: Digest256,
    /// SHA-384.
    pub sha384: Digest384,
}

impl Measured {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.len() as u64,
            sha256: Digest256::of(bytes),
            sha384: Digest384::of(bytes),
        }
    }
}

/// The decisions, as they were made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decisions {
    /// Which profile.
    pub profile: Profile,
    /// What the image runs; an agent unless it is said.
    #[serde(default, skip_serializing_if = "Role::is_agent")]
    pub role: Role,
    /// The configuration's text.
    pub config: String,
    /// Where the agent serves, or the node answers RPC.
    pub listen: SocketAddr,
    /// Where the broker is reached; a node has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kbs: Option<SocketAddr>,
    /// The network.
    pub network: NetworkPlan,
    /// The AF_VSOCK port, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vsock_port: Option<u32>,
    /// Where sealed messages are taken, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<SocketAddr>,
    /// Where the host's egress broker is, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<String>,
}

/// Everything that went in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingredients {
    /// Debian packages by part: `kernel` unless it is our own, `firmware`, in the debug profile `shell`.
    pub packages: BTreeMap<String, Package>,
    /// The kernel that was built from source; then no package is the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_kernel: Option<OwnKernel>,
    /// The static guest.
    pub guest: Measured,
    /// The engine; absent in an image without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Measured>,
    /// The node of the AI chain; absent in an image with an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Measured>,
    /// The genesis of its chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genesis: Option<Measured>,
    /// Modules in the order in which they are loaded.
    pub modules: Vec<String>,
    /// Which zstd wrote the archive, and at which level: both decide its bytes.
    pub zstd: String,
}

/// The manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// The decisions.
    pub recipe: Decisions,
    /// What went in.
    pub inputs: Ingredients,
    /// What came out, by file name. The archive also as it is before compression, under `initrd.cpio`.
    pub outputs: BTreeMap<String, Measured>,
}

impl Manifest {
    /// Canonical JSON (RFC 8785).
    ///
    /// # Errors
    /// [`ImageError::Jcs`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, ImageError> {
        Ok(jcs::to_vec("image manifest", self)?)
    }

    /// Reads an image's manifest. Says nothing about the files beside it.
    ///
    /// # Errors
    /// [`ImageError::Io`], [`ImageError::TooLarge`], [`ImageError::Manifest`].
    pub fn read(image: &Path) -> Result<Self, ImageError> {
        let path = image.join(FILE);
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(ImageError::io(&path))?;
        file.take(BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(ImageError::io(&path))?;
        let wrong = |what: String| ImageError::Manifest {
            path: path.clone(),
            what,
        };
        let manifest: Self = jcs::from_slice("image manifest", &bytes, BYTES_MAX).map_err(|e| wrong(e.to_string()))?;
        if manifest.format != FORMAT {
            return Err(wrong(format!("format: expected {FORMAT}, got {:?}", manifest.format)));
        }
        Ok(manifest)
    }

    /// The recipe, checked again.
    ///
    /// # Errors
    /// [`ImageError::Config`], [`ImageError::Node`]; [`ImageError::Manifest`] for a node whose RPC is elsewhere than its configuration
    /// says.
    pub fn recipe(&self) -> Result<Recipe, ImageError> {
        let Decisions {
            profile,
            role,
            config,
            listen,
            kbs,
            network,
            vsock_port,
            sealed,
            egress,
        } = self.recipe.clone();
        let wrong = |what: &str| ImageError::Manifest {
            path: FILE.into(),
            what: format!("recipe: {what}"),
        };
        let mut recipe = match (role, kbs) {
            (Role::Agent, Some(kbs)) => Recipe::new(profile, config, listen, kbs, network)?,
            (Role::Agent, None) => return Err(wrong("kbs: expected where an agent reaches its broker, got none")),
            (Role::Node, None) => Recipe::node(profile, config, network)?,
            (Role::Node, Some(_)) => return Err(wrong("kbs: expected none for a node of the chain, got one")),
        };
        if recipe.listen != listen {
            return Err(wrong(
                "listen: expected where the node's configuration says that RPC is answered",
            ));
        }
        recipe.vsock_port = vsock_port;
        recipe.sealed = sealed;
        recipe.egress = egress;
        Ok(recipe)
    }
}
