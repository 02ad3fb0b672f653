//! An address from a DHCP server (RFC 2131), if the measured plan asks for one.
//!
//! Whoever answers is the host, or somebody the host lets answer. Taken are an address, its mask, one router and the lease's
//! length; each is range-checked. Everything else that an answer holds is skipped unread: no name servers, no host name, no
//! routes (option 121), no time servers, no boot file, no vendor options. What is taken decides only where packets go, which
//! the host decides anyway; it configures nothing else.
//!
//! Bounded: at most [`TRIES`] rounds, each with its own deadline, and at most [`ANSWERS_MAX`] packets read in a round.

mod exchange;
mod message;
mod port;

use std::net::Ipv4Addr;
use std::time::Duration;

pub use exchange::{ANSWERS_MAX, TRIES, Wire, acquire, renew};
pub use message::{Answer, Kind, PACKET_BYTES_MAX, parse};
pub use port::Port;

use crate::plan::{is_host, network_of};

/// Shortest lease that is accepted: shorter ones are renewed more often than a machine should have to.
pub const LEASE_S_MIN: u32 = 60;
/// Longest that is believed; a longer one is renewed as if it were this long.
pub const LEASE_S_MAX: u32 = 24 * 3600;

/// What a server gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The machine's address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix in bits: 8 to 30.
    pub prefix: u8,
    /// Where packets for other networks go.
    pub gateway: Option<Ipv4Addr>,
    /// How long the address may be used.
    pub time: Duration,
    /// Who gave it.
    pub server: Ipv4Addr,
}

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub enum DhcpError {
    /// Nobody gave a usable answer in time.
    #[error("no usable answer in {TRIES} tries; the last unusable one: {last}")]
    NoAnswer {
        /// What was wrong with the last answer to us, if there was one.
        last: String,
    },
    /// The packet is no answer to us, or is cut, or says something twice.
    #[error("{field}: expected {expected}, got {got}")]
    Malformed {
        /// Which field or option.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: u64,
    },
    /// A value that no machine should take.
    #[error("{field}: expected {expected}, got {got}")]
    Value {
        /// Which option.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// The server took the address back.
    #[error("the server refused the address")]
    Refused,
    /// A socket.
    #[error("{what}: {source}")]
    Socket {
        /// Which step.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl DhcpError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoAnswer { .. } => "init.dhcp.no_answer",
            Self::Malformed { .. } => "init.dhcp.malformed",
            Self::Value { .. } => "init.dhcp.value",
            Self::Refused => "init.dhcp.refused",
            Self::Socket { .. } => "init.dhcp.socket",
        }
    }
}

impl Lease {
    /// Range-checks what an answer says.
    ///
    /// # Errors
    /// [`DhcpError::Value`], [`DhcpError::Malformed`] if an option is missing.
    pub fn of(answer: &Answer) -> Result<Self, DhcpError> {
        let missing = |field| DhcpError::Malformed {
            field,
            expected: "the option once",
            got: 0,
        };
        let mask = u32::from(answer.mask.ok_or_else(|| missing("subnet mask (1)"))?);
        let time_s = answer.lease_s.ok_or_else(|| missing("lease time (51)"))?;
        let server = answer.server.ok_or_else(|| missing("server identifier (54)"))?;
        let value = |ok: bool, field, expected, got: String| {
            if ok {
                Ok(())
            } else {
                Err(DhcpError::Value { field, expected, got })
            }
        };
        let prefix = mask.leading_ones() as u8;
        value(
            mask.count_ones() == mask.leading_ones() && (8..=30).contains(&prefix),
            "subnet mask (1)",
            "a network of 8 to 30 bits",
            Ipv4Addr::from(mask).to_string(),
        )?;
        let address = answer.address;
        value(
            is_host(address, prefix),
            "yiaddr",
            "a host's address of the network",
            address.to_string(),
        )?;
        if let Some(gateway) = answer.router {
            let near = network_of(gateway, prefix) == network_of(address, prefix);
            value(
                near && gateway != address && is_host(gateway, prefix),
                "router (3)",
                "another host's address of the network",
                gateway.to_string(),
            )?;
        }
        value(
            time_s >= LEASE_S_MIN,
            "lease time (51)",
            "at least 60 s",
            time_s.to_string(),
        )?;
        Ok(Self {
            address,
            prefix,
            gateway: answer.router,
            time: Duration::from_secs(time_s.min(LEASE_S_MAX).into()),
            server,
        })
    }
}
