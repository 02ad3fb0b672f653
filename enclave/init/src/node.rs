//! The configuration of an image whose one program is a node of the AI chain. It lies where an agent's does, and its SHA-256 stands on
//! the measured command line.

use std::net::{IpAddr, SocketAddr};

use hanzo_attestation::Digest256;
use serde::{Deserialize, Serialize};

use crate::plan::{NetworkPlan, network_of};

/// Longest configuration in bytes.
pub const NODE_CONFIG_BYTES_MAX: usize = 64 * 1024;
/// Longest genesis in bytes, as the ledger bounds it.
pub const GENESIS_BYTES_MAX: usize = 1 << 20;
/// Most nodes that one follows.
const FOLLOW_MAX: usize = 16;
/// Most names by which RPC may be asked.
const HOSTS_MAX: usize = 16;
/// Longest name in bytes: a DNS name, a colon, a port.
const HOST_BYTES_MAX: usize = 253 + 6;
/// What a node may be.
const OBSERVER: &str = "observer";

/// A node of the chain that holds no key: it follows others, checks what they say by certificates, and answers RPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Format version: 1.
    pub version: u32,
    /// `observer`.
    pub role: String,
    /// Number of the network.
    pub network: u64,
    /// Digest of the genesis: what makes the chain this one.
    pub genesis: Digest256,
    /// Where RPC is answered.
    pub rpc: SocketAddr,
    /// Names besides its own by which RPC may be asked, `name:port`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rpc_hosts: Vec<String>,
    /// Whose final blocks are taken: 1 to 16, asked in turn.
    #[serde(default)]
    pub follow: Vec<Followed>,
}

/// A node that is followed. Nothing it says is believed without a certificate of the committee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Followed {
    /// Where its RPC answers. Numeric: a guest asks no name server.
    pub address: SocketAddr,
    /// The name under which it is asked (HTTP `Host`), if not its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

impl Followed {
    /// What stands in `Host`.
    pub fn host(&self) -> String {
        self.host.clone().unwrap_or_else(|| self.address.to_string())
    }
}

/// Why a text is no node's configuration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NodeConfigError {
    /// Longer than 64 KiB; nothing was parsed.
    #[error("node's configuration: {got} bytes, at most 65536 are accepted")]
    TooLarge {
        /// What came.
        got: usize,
    },
    /// Not UTF-8, not TOML, an unknown or missing key, or a value of the wrong type.
    #[error("node's configuration: {0}")]
    Toml(String),
    /// A value out of its range.
    #[error("node's configuration: {field}: expected {expected}, got {got}")]
    Value {
        /// The key at fault.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
}

impl NodeConfigError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "node.config.too_large",
            Self::Toml(_) => "node.config.malformed",
            Self::Value { .. } => "node.config.value",
        }
    }
}

impl NodeConfig {
    /// Reads and range-checks a configuration.
    ///
    /// # Errors
    /// [`NodeConfigError`].
    pub fn parse(text: &[u8]) -> Result<Self, NodeConfigError> {
        if text.len() > NODE_CONFIG_BYTES_MAX {
            return Err(NodeConfigError::TooLarge { got: text.len() });
        }
        let text = std::str::from_utf8(text).map_err(|e| NodeConfigError::Toml(format!("not UTF-8: {e}")))?;
        let config: Self = toml::from_str(text).map_err(|e| NodeConfigError::Toml(e.message().to_owned()))?;
        config.check()?;
        Ok(config)
    }

    /// A node to follow to which this network leads nowhere. A leased address is believed to lead everywhere in IPv4.
    pub fn beyond(&self, network: &NetworkPlan) -> Option<SocketAddr> {
        let leads = |at: &SocketAddr| match (at.ip(), network) {
            (IpAddr::V6(_), _) => false,
            (IpAddr::V4(_), NetworkPlan::Dhcp(_)) => true,
            (IpAddr::V4(ip), NetworkPlan::Static(own)) => {
                own.gateway.is_some() || network_of(ip, own.prefix) == network_of(own.address, own.prefix)
            }
        };
        let mut all = self.follow.iter().map(|followed| followed.address);
        all.find(|at| !leads(at))
    }

    fn check(&self) -> Result<(), NodeConfigError> {
        let range = |ok: bool, field, expected, got: String| match ok {
            true => Ok(()),
            false => Err(NodeConfigError::Value { field, expected, got }),
        };
        range(self.version == 1, "version", "1", self.version.to_string())?;
        range(
            self.role == OBSERVER,
            "role",
            "observer: a validator that votes runs as a process, since its account's key has no way into a guest",
            format!("{:?}", self.role.chars().take(40).collect::<String>()),
        )?;
        let count = self.follow.len();
        range(
            (1..=FOLLOW_MAX).contains(&count),
            "follow",
            "1 to 16 nodes",
            count.to_string(),
        )?;
        for (at, followed) in self.follow.iter().enumerate() {
            let address = followed.address;
            range(
                address.port() != 0,
                "follow.address",
                "a port other than 0",
                address.to_string(),
            )?;
            let twice = self.follow.iter().take(at).any(|other| other.address == address);
            range(
                !twice,
                "follow.address",
                "each address once",
                format!("{address} twice"),
            )?;
            if let Some(host) = &followed.host {
                range(is_host(host), "follow.host", NAME, format!("{host:?}"))?;
            }
        }
        let names = self.rpc_hosts.len();
        range(names <= HOSTS_MAX, "rpc_hosts", "at most 16", names.to_string())?;
        let odd = self.rpc_hosts.iter().find(|host| !is_host(host));
        range(odd.is_none(), "rpc_hosts", NAME, format!("{odd:?}"))
    }
}

const NAME: &str = "name or name:port of [a-zA-Z0-9.:[]-], at most 259 bytes";

/// What may stand in a header's line, and in nothing else of a request.
fn is_host(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    !text.is_empty() && text.len() <= HOST_BYTES_MAX && text.bytes().all(plain)
}
