//! What the proxy is told to do: a TOML file with unknown keys refused and every bound checked (`SPEC.md` lists the keys).

mod file;
mod file_discover;
mod network;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use network::Network;

use crate::address::Address;
use crate::error::ProxyError;
use crate::metrics::MetricsAddress;
use crate::proxy_protocol::Version;

/// A longer file is not read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Everything, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Threads, each with an accept loop of its own.
    pub workers: usize,
    /// How long open connections may go on after the stop signal.
    pub drain: Duration,
    /// Where to serve metrics, if anywhere.
    pub metrics: Option<MetricsAddress>,
    /// Where a successor of this process asks for the listening sockets, if anywhere.
    pub handover: Option<PathBuf>,
    /// What is logged.
    pub log: Log,
    /// Bounds on what clients take.
    pub limits: Limits,
    /// Where clients come in; at least one.
    pub listeners: Vec<Listen>,
    /// Groups of guests, by name; at least one.
    pub pools: BTreeMap<String, Pool>,
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Log {
    /// One JSON object a line instead of text.
    pub json: bool,
    /// A line per connection.
    pub connections: bool,
    /// Clients' addresses in these lines.
    pub addresses: bool,
}

/// Bounds on what clients take. A client is an IPv4 address, an IPv6 /64 or a context identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at a time.
    pub connections_max: usize,
    /// Connections accepted in a second.
    pub connections_per_s: u32,
    /// Connections of one client open at a time.
    pub client_connections_max: u32,
    /// Connections of one client accepted in a second.
    pub client_connections_per_s: u32,
    /// A connection on which the client sends nothing for this long from its start is closed.
    pub first_bytes: Duration,
    /// A connection on which nothing moves for this long is closed.
    pub idle: Duration,
    /// A connection whose one side takes nothing of what is there for it for this long is closed.
    pub stall: Duration,
    /// A connection whose client has closed its half, and on which nothing moves for this long, is closed.
    pub half_closed: Duration,
}

/// When the guest is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dial {
    /// As soon as the client is there.
    AtOnce,
    /// Once the client has sent something. A silent client costs the guest nothing.
    AfterFirstBytes,
}

/// Where clients come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Where.
    pub address: Address,
    /// When the guest is dialled.
    pub dial: Dial,
    /// Peers that must send a PROXY header; nobody else's is read.
    pub proxy_header_from: Vec<Network>,
    /// Which pool.
    pub route: Route,
}

/// Which pool takes the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// This one.
    Pool(String),
    /// By the server name of the ClientHello.
    ServerName {
        /// Whole names.
        names: BTreeMap<String, String>,
        /// `*.NAME`, without the star and its dot: one more label on the left.
        below: BTreeMap<String, String>,
        /// For names that are not listed; refused if absent.
        unknown: Option<String>,
        /// For clients that name none; refused if absent.
        nameless: Option<String>,
    },
}

/// How a guest is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest open connections.
    LeastOutstanding,
    /// The same one for the same client, as long as it is there (rendezvous hashing).
    Rendezvous,
}

/// A group of guests that stand in for each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Where they are; 1 to 64, or none where `discover` says it.
    pub guests: Vec<Address>,
    /// Who says where they are, if they are not listed.
    pub discover: Option<Discover>,
    /// How one is chosen.
    pub balance: Balance,
    /// Connections open to one guest at a time.
    pub guest_connections_max: u32,
    /// Clients that may wait for a guest with a free place.
    pub queue_max: u32,
    /// A client without a guest after this long is closed.
    pub deadline: Duration,
    /// How long one guest may take to accept.
    pub connect: Duration,
    /// The PROXY header that guests are sent, if any.
    pub send_header: Option<Version>,
    /// Regular connection attempts, if any.
    pub health: Option<Health>,
    /// When to leave a guest alone.
    pub breaker: Breaker,
}

/// Who says where the guests are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discover {
    /// Who is asked.
    pub source: Source,
    /// How long the last guests that were named are used after the source fails or names nobody.
    pub keep: Duration,
}

/// Who is asked where the guests are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The DNS.
    Dns(Dns),
    /// A discoverer at this Unix socket (`hanzo-discover`).
    Socket(PathBuf),
}

/// A name of the DNS that says where the guests are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// The whole name, in lower case, without a final dot; search lists are not used.
    pub name: String,
    /// The guests' port, at every address of the name. Without one the name is a service: its SRV records name hosts and ports.
    pub port: Option<u16>,
    /// Who answers; if none, the name servers of `/etc/resolv.conf` as it is then.
    pub servers: Vec<SocketAddr>,
    /// Records that live shorter are asked for again after this long.
    pub interval_min: Duration,
    /// Records that live longer are asked for again after this long.
    pub interval_max: Duration,
}

/// Regular connection attempts to every guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// From one to the next.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// Failures in a row that take a guest out.
    pub fall: u32,
    /// Successes in a row that bring it back.
    pub rise: u32,
}

/// When to leave a guest alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// Failed connection attempts in a row.
    pub failures: u32,
    /// For how long; one client then tries it for all.
    pub open: Duration,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ProxyError::ConfigRead`], [`ProxyError::ConfigSyntax`] or [`ProxyError::ConfigValue`].
    pub fn load(path: &Path) -> Result<Self, ProxyError> {
        let read = |source| ProxyError::ConfigRead {
            path: path.display().to_string(),
            source,
        };
        let bytes = std::fs::metadata(path).map_err(read)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(ProxyError::value(
                "the file",
                "at most 1048576 bytes",
                format!("{bytes} bytes"),
            ));
        }
        Self::parse(&std::fs::read_to_string(path).map_err(read)?)
    }

    /// Checks a text.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        let file: file::File = toml::from_str(text).map_err(|e| ProxyError::ConfigSyntax {
            text: e.to_string().trim_end().to_owned(),
        })?;
        file.check()
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
