//! The configuration of an image whose one program is a node of the AI chain: an observer, or a validator that votes. It lies where an
//! agent's does, and its SHA-256 stands on the measured command line.

mod validator;

use std::net::{IpAddr, SocketAddr};

use hanzo_attestation::Digest256;
use serde::Deserialize;

use crate::plan::{NetworkPlan, network_of};

pub use validator::{ACCOUNT_KEY_BYTES, AccountKey, NodeKbs, NodePeer, Validating};

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
/// A node without keys.
const OBSERVER: &str = "observer";
/// A node with an account and a vote.
const VALIDATOR: &str = "validator";

/// A node of the chain: what both kinds have, and what its own kind has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Number of the network.
    pub network: u64,
    /// Digest of the genesis: what makes the chain this one.
    pub genesis: Digest256,
    /// Where RPC is answered.
    pub rpc: SocketAddr,
    /// Names besides its own by which RPC may be asked, `name:port`.
    pub rpc_hosts: Vec<String>,
    /// What it is.
    pub role: NodeRole,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeRole {
    /// It holds no key: it follows these, 1 to 16, asked in turn, checks what they say by certificates, and answers RPC.
    Observer(Vec<Followed>),
    /// It votes.
    Validator(Box<Validating>),
}

impl NodeRole {
    /// As the configuration names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Observer(_) => OBSERVER,
            Self::Validator(_) => VALIDATOR,
        }
    }
}

/// The text, before its role says which members it may have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    version: u32,
    role: String,
    network: u64,
    genesis: Digest256,
    rpc: SocketAddr,
    #[serde(default)]
    rpc_hosts: Vec<String>,
    follow: Option<Vec<Followed>>,
    listen: Option<SocketAddr>,
    address: Option<String>,
    required_tier: Option<u8>,
    policy: Option<String>,
    tpm_roots: Option<Vec<String>>,
    tpm_keys: Option<Vec<Digest256>>,
    simulator_root: Option<String>,
    snapshot_behind: Option<u64>,
    bond: Option<String>,
    account: Option<AccountKey>,
    kbs: Option<NodeKbs>,
    peer: Option<Vec<NodePeer>>,
}

/// A node that is followed. Nothing it says is believed without a certificate of the committee.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Followed {
    /// Where its RPC answers. Numeric: a guest asks no name server.
    pub address: SocketAddr,
    /// The name under which it is asked (HTTP `Host`), if not its address.
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
    /// A member that its role does not have, or one that is missing.
    #[error("node's configuration: {field}: {} for role {role:?}", if *.missing { "needed" } else { "no member" })]
    Member {
        /// The role that it says.
        role: &'static str,
        /// The member.
        field: &'static str,
        /// True if the role needs it.
        missing: bool,
    },
    /// The configuration of another kind of node than this program runs here.
    #[error("node's configuration: role: expected {expected:?} here, got {got:?}{remedy}")]
    Role {
        /// What is run here.
        expected: &'static str,
        /// What it says.
        got: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}

impl NodeConfigError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "node.config.too_large",
            Self::Toml(_) => "node.config.malformed",
            Self::Value { .. } => "node.config.value",
            Self::Member { .. } => "node.config.member",
            Self::Role { .. } => "node.config.role",
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
        let table: Table = toml::from_str(text).map_err(|e| NodeConfigError::Toml(e.message().to_owned()))?;
        table.check()
    }

    /// Whom an observer follows.
    ///
    /// # Errors
    /// [`NodeConfigError::Role`] for a validator's configuration.
    pub fn observer(&self) -> Result<&[Followed], NodeConfigError> {
        match &self.role {
            NodeRole::Observer(follow) => Ok(follow),
            NodeRole::Validator(_) => Err(NodeConfigError::Role {
                expected: OBSERVER,
                got: VALIDATOR,
                remedy: ": a validator starts with --vote, and with its account's key",
            }),
        }
    }

    /// What a validator has beside the rest.
    ///
    /// # Errors
    /// [`NodeConfigError::Role`] for an observer's configuration.
    pub fn validator(&self) -> Result<&Validating, NodeConfigError> {
        match &self.role {
            NodeRole::Validator(validating) => Ok(validating),
            NodeRole::Observer(_) => Err(NodeConfigError::Role {
                expected: VALIDATOR,
                got: OBSERVER,
                remedy: ": an observer starts with --observe, and without a key",
            }),
        }
    }

    /// Whom it connects to: those that an observer follows; a validator's peers and its key broker.
    pub fn outward(&self) -> Vec<SocketAddr> {
        match &self.role {
            NodeRole::Observer(follow) => follow.iter().map(|followed| followed.address).collect(),
            NodeRole::Validator(it) => {
                let peers = it.peers.iter().map(|peer| peer.address);
                peers.chain([it.kbs.address]).collect()
            }
        }
    }

    /// One of [`Self::outward`] to which this network leads nowhere. A leased address is believed to lead everywhere in IPv4.
    pub fn beyond(&self, network: &NetworkPlan) -> Option<SocketAddr> {
        let leads = |at: &SocketAddr| match (at.ip(), network) {
            (IpAddr::V6(_), _) => false,
            (IpAddr::V4(_), NetworkPlan::Dhcp(_)) => true,
            (IpAddr::V4(ip), NetworkPlan::Static(own)) => {
                own.gateway.is_some() || network_of(ip, own.prefix) == network_of(own.address, own.prefix)
            }
        };
        self.outward().into_iter().find(|at| !leads(at))
    }
}

fn range(ok: bool, field: &'static str, expected: &'static str, got: String) -> Result<(), NodeConfigError> {
    match ok {
        true => Ok(()),
        false => Err(NodeConfigError::Value { field, expected, got }),
    }
}

impl Table {
    fn check(mut self) -> Result<NodeConfig, NodeConfigError> {
        range(self.version == 1, "version", "1", self.version.to_string())?;
        let names = self.rpc_hosts.len();
        range(names <= HOSTS_MAX, "rpc_hosts", "at most 16", names.to_string())?;
        let odd = self.rpc_hosts.iter().find(|host| !is_host(host));
        range(odd.is_none(), "rpc_hosts", NAME, format!("{odd:?}"))?;
        let role = match self.role.as_str() {
            OBSERVER => NodeRole::Observer(self.observer()?),
            VALIDATOR => NodeRole::Validator(Box::new(self.validator()?)),
            other => {
                return Err(NodeConfigError::Value {
                    field: "role",
                    expected: "observer or validator",
                    got: format!("{:?}", other.chars().take(40).collect::<String>()),
                });
            }
        };
        Ok(NodeConfig {
            network: self.network,
            genesis: self.genesis,
            rpc: self.rpc,
            rpc_hosts: self.rpc_hosts,
            role,
        })
    }

    fn observer(&mut self) -> Result<Vec<Followed>, NodeConfigError> {
        if let Some(field) = self.of_a_validator() {
            let (role, missing) = (OBSERVER, false);
            return Err(NodeConfigError::Member { role, field, missing });
        }
        let follow = self.follow.take().unwrap_or_default();
        let count = follow.len();
        range(
            (1..=FOLLOW_MAX).contains(&count),
            "follow",
            "1 to 16 nodes",
            count.to_string(),
        )?;
        let addresses = follow.iter().map(|followed| followed.address);
        each_once("follow.address", addresses)?;
        for host in follow.iter().filter_map(|followed| followed.host.as_ref()) {
            range(is_host(host), "follow.host", NAME, format!("{host:?}"))?;
        }
        Ok(follow)
    }
}

/// Addresses that can be connected to, each once.
fn each_once(field: &'static str, addresses: impl Iterator<Item = SocketAddr>) -> Result<(), NodeConfigError> {
    let mut before = Vec::new();
    for address in addresses {
        range(address.port() != 0, field, "a port other than 0", address.to_string())?;
        let twice = before.contains(&address);
        range(!twice, field, "each address once", format!("{address} twice"))?;
        before.push(address);
    }
    Ok(())
}

const NAME: &str = "name or name:port of [a-zA-Z0-9.:[]-], at most 259 bytes";

/// What may stand in a header's line, and in nothing else of a request.
fn is_host(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    !text.is_empty() && text.len() <= HOST_BYTES_MAX && text.bytes().all(plain)
}
