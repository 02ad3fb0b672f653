//! What the image tells its first process. Measured with the archive that holds it; nothing in it comes from the host.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Longest plan in bytes.
pub const PLAN_BYTES_MAX: usize = 16 * 1024;
/// Most modules of one image.
const MODULES_MAX: usize = 64;
/// Longest name of a module, as the kernel bounds it (`MODULE_NAME_LEN`), less its NUL.
const MODULE_NAME_BYTES_MAX: usize = 55;
/// Longest name of a network interface (`IFNAMSIZ`), less its NUL.
const INTERFACE_BYTES_MAX: usize = 15;

/// Which image this is. They differ in the archive and on the command line, hence in every measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// No shell, no tools, no way out: the one that production policies accept.
    Core,
    /// As `core`, and the configuration may list names outside that the guest reaches.
    Connected,
    /// A shell on the console, for development; names outside too.
    Debug,
}

impl Profile {
    /// As it stands on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Connected => "connected",
            Self::Debug => "debug",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the image's one program is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The guest agent, which answers inference.
    #[default]
    Agent,
    /// A node of the AI chain, and no agent beside it.
    Node,
}

impl Role {
    /// True for the role of images that name none.
    pub fn is_agent(&self) -> bool {
        *self == Self::Agent
    }
}

/// How the one network interface gets its address. The image decides; a static address is the default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NetworkPlan {
    /// From this plan.
    Static(Network),
    /// From whoever answers (`dhcp.rs` says what is taken).
    Dhcp(Dhcp),
}

impl From<Network> for NetworkPlan {
    fn from(network: Network) -> Self {
        Self::Static(network)
    }
}

impl NetworkPlan {
    /// The interface's name.
    pub fn interface(&self) -> &str {
        match self {
            Self::Static(network) => &network.interface,
            Self::Dhcp(dhcp) => &dhcp.interface,
        }
    }
}

/// An interface whose address a DHCP server gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dhcp {
    /// Its name, such as `eth0`.
    pub interface: String,
    /// Always true: so that a plan which forgot its address is malformed.
    pub dhcp: bool,
}

/// An interface with a measured address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Its name, such as `eth0`.
    pub interface: String,
    /// The machine's address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix in bits: 8 to 30.
    pub prefix: u8,
    /// Where packets for other networks go; none is sent there without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
}

/// The plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitPlan {
    /// Format version: 1.
    pub version: u32,
    /// Which image this is; the command line says the same.
    pub profile: Profile,
    /// What it runs; an agent unless it is said.
    #[serde(default, skip_serializing_if = "Role::is_agent")]
    pub role: Role,
    /// True if the archive holds an inference engine.
    pub engine: bool,
    /// Where the agent serves, or the node answers RPC.
    pub listen: SocketAddr,
    /// The AF_VSOCK port where it serves besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vsock_port: Option<u32>,
    /// Where the agent takes sealed messages without TLS, for relays; nowhere unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<SocketAddr>,
    /// Where the key broker is reached; who it is, the configuration decides. A node of the chain has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kbs: Option<SocketAddr>,
    /// Where the host's egress broker is: `IP:PORT`, or `vsock:PORT` at the host. Never in profile `core`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<String>,
    /// Modules in the order in which they are loaded, each after those it needs.
    pub modules: Vec<String>,
    /// The network.
    pub network: NetworkPlan,
}

/// Why a text is no plan.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// Longer than 16 KiB; nothing was parsed.
    #[error("init.toml: {got} bytes, at most 16384 are accepted")]
    TooLarge {
        /// What came.
        got: usize,
    },
    /// Not UTF-8, not TOML, an unknown or missing key, or a value of the wrong type.
    #[error("init.toml: {0}")]
    Toml(String),
    /// A value out of its range.
    #[error("init.toml: {field}: expected {expected}, got {got}")]
    Value {
        /// The key at fault.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
}

impl PlanError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "init.plan.too_large",
            Self::Toml(_) => "init.plan.malformed",
            Self::Value { .. } => "init.plan.value",
        }
    }
}

impl InitPlan {
    /// Reads and range-checks a plan.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn parse(text: &[u8]) -> Result<Self, PlanError> {
        if text.len() > PLAN_BYTES_MAX {
            return Err(PlanError::TooLarge { got: text.len() });
        }
        let text = std::str::from_utf8(text).map_err(|e| PlanError::Toml(format!("not UTF-8: {e}")))?;
        let plan: Self = toml::from_str(text).map_err(|e| PlanError::Toml(e.message().to_owned()))?;
        plan.check()?;
        Ok(plan)
    }

    /// The text of a plan, always the same for the same plan.
    ///
    /// # Errors
    /// [`PlanError`] if [`InitPlan::parse`] would refuse it.
    pub fn to_text(&self) -> Result<String, PlanError> {
        self.check()?;
        toml::to_string(self).map_err(|e| PlanError::Toml(e.to_string()))
    }

    /// An agent has a broker; a node has nothing that is an agent's.
    fn check_role(&self) -> Result<(), PlanError> {
        let wrong = |field, expected, got: String| Err(PlanError::Value { field, expected, got });
        match (self.role, self.kbs) {
            (Role::Agent, None) => wrong("kbs", "where an agent reaches its broker", "none".into()),
            (Role::Agent, Some(kbs)) if kbs.port() == 0 => wrong("kbs", "a port other than 0", kbs.to_string()),
            (Role::Agent, Some(_)) => Ok(()),
            (Role::Node, Some(kbs)) => wrong("kbs", "none in role node", kbs.to_string()),
            (Role::Node, None) if self.engine => wrong("engine", "false in role node", "true".into()),
            (Role::Node, None) => {
                let agents = [
                    ("vsock_port", self.vsock_port.map(|port| port.to_string())),
                    ("sealed", self.sealed.map(|at| at.to_string())),
                    ("egress", self.egress.clone()),
                ];
                let there = agents.into_iter().find_map(|(field, got)| Some((field, got?)));
                there.map_or(Ok(()), |(field, got)| wrong(field, "none in role node", got))
            }
        }
    }

    fn check(&self) -> Result<(), PlanError> {
        let range = |ok: bool, field, expected, got: String| {
            if ok {
                Ok(())
            } else {
                Err(PlanError::Value { field, expected, got })
            }
        };
        range(self.version == 1, "version", "1", self.version.to_string())?;
        range(
            self.listen.port() != 0,
            "listen",
            "a port other than 0",
            self.listen.to_string(),
        )?;
        // Below 1024 and the last one have meanings of their own.
        range(
            self.vsock_port.is_none_or(|port| (1024..u32::MAX).contains(&port)),
            "vsock_port",
            "1024 to 4294967294",
            self.vsock_port.unwrap_or_default().to_string(),
        )?;
        range(
            self.sealed
                .is_none_or(|sealed| sealed.port() != 0 && sealed.port() != self.listen.port()),
            "sealed",
            "a port other than 0 and than that of `listen`",
            self.sealed.map(|sealed| sealed.to_string()).unwrap_or_default(),
        )?;
        self.check_role()?;
        if let Some(egress) = &self.egress {
            range(
                self.profile != Profile::Core,
                "egress",
                "none in profile core",
                egress.clone(),
            )?;
            range(
                is_broker(egress),
                "egress",
                "IP:PORT or vsock:PORT",
                format!("{egress:?}"),
            )?;
        }
        range(
            self.modules.len() <= MODULES_MAX,
            "modules",
            "at most 64",
            self.modules.len().to_string(),
        )?;
        for (at, module) in self.modules.iter().enumerate() {
            let earlier = self.modules.iter().take(at);
            range(
                is_module_name(module),
                "modules",
                "names of [a-z0-9_-]",
                format!("{module:?}"),
            )?;
            range(
                !earlier.into_iter().any(|m| m == module),
                "modules",
                "each name once",
                format!("{module} twice"),
            )?;
        }
        range(
            is_interface(self.network.interface()),
            "network.interface",
            "1 to 15 of [a-z0-9], other than lo",
            format!("{:?}", self.network.interface()),
        )?;
        let net = match &self.network {
            NetworkPlan::Static(net) => net,
            NetworkPlan::Dhcp(dhcp) => return range(dhcp.dhcp, "network.dhcp", "true", dhcp.dhcp.to_string()),
        };
        range(
            (8..=30).contains(&net.prefix),
            "network.prefix",
            "8 to 30",
            net.prefix.to_string(),
        )?;
        range(
            is_host(net.address, net.prefix),
            "network.address",
            "a host's address of the network",
            net.address.to_string(),
        )?;
        if let Some(gateway) = net.gateway {
            let near = network_of(gateway, net.prefix) == network_of(net.address, net.prefix);
            range(
                near && gateway != net.address && is_host(gateway, net.prefix),
                "network.gateway",
                "another host's address of the network",
                gateway.to_string(),
            )?;
        }
        Ok(())
    }
}

/// True for what may stand in a path as `<name>.ko`.
pub fn is_module_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MODULE_NAME_BYTES_MAX
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// Ports of AF_VSOCK as for `vsock_port`.
fn is_broker(text: &str) -> bool {
    match text.strip_prefix("vsock:") {
        Some(port) => port.parse().is_ok_and(|port| (1024..u32::MAX).contains(&port)),
        None => text.parse::<SocketAddr>().is_ok_and(|at| at.port() != 0),
    }
}

fn is_interface(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    !name.is_empty() && name.len() <= INTERFACE_BYTES_MAX && plain && name != "lo"
}

fn host_bits(prefix: u8) -> u32 {
    u32::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

pub(crate) fn network_of(address: Ipv4Addr, prefix: u8) -> u32 {
    u32::from(address) & !host_bits(prefix)
}

pub(crate) fn is_host(address: Ipv4Addr, prefix: u8) -> bool {
    let host = u32::from(address) & host_bits(prefix);
    let usual = !address.is_loopback() && !address.is_multicast() && !address.is_unspecified();
    usual && host != 0 && host != host_bits(prefix)
}
