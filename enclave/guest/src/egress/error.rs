//! Why a name outside was not reached.

use std::io;

use hanzo_attestation::UnixTime;
use hanzo_attestation::config::HostName;

/// What the host's broker says when it opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The operator's own list has no such name and port.
    NotListed,
    /// The name has no address, or none that the operator lets it connect to.
    Unresolved,
    /// Nobody takes the connection there.
    Unreachable,
    /// Too many connections.
    Busy,
    /// It took too long.
    Timeout,
    /// It does not understand the request.
    Malformed,
}

impl Refusal {
    const ALL: [Self; 6] = [
        Self::NotListed,
        Self::Unresolved,
        Self::Unreachable,
        Self::Busy,
        Self::Timeout,
        Self::Malformed,
    ];

    /// The word in the broker's answer.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotListed => "not-listed",
            Self::Unresolved => "unresolved",
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
        }
    }

    pub(super) fn of(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.word().as_bytes() == word)
    }
}

/// Errors of [`super::Egress`]. Names and ports in them are those of the configuration; nothing that a server sent is.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The configuration names nobody outside: the capability is off.
    #[error("egress: {host}:{port}: this guest reaches nobody outside: its configuration lists no name")]
    Off {
        /// What was asked for.
        host: HostName,
        /// And where.
        port: u16,
    },
    /// The configuration lists others.
    #[error("egress: {host}:{port}: the configuration does not list this name and port for this use")]
    NotListed {
        /// What was asked for.
        host: HostName,
        /// And where.
        port: u16,
    },
    /// Names are listed, and nobody could reach them.
    #[error(
        "egress: the configuration lists {names} names, and no egress broker was given: start the guest with --egress"
    )]
    NoBroker {
        /// How many.
        names: usize,
    },
    /// A root is no certificate.
    #[error("egress: {host}: roots: expected DER certificates, got something else: {source}")]
    Roots {
        /// Whose.
        host: HostName,
        /// What TLS said.
        source: rustls::Error,
    },
    /// As many connections are open as may be.
    #[error("egress: {host}:{port}: {limit} connections are open already")]
    Busy {
        /// Where to.
        host: HostName,
        /// And where.
        port: u16,
        /// The bound.
        limit: usize,
    },
    /// The host's broker cannot be reached, or broke off before its answer.
    #[error("egress broker {at}: {what}: {source}; does the host run hanzo-egress there?")]
    Broker {
        /// Where.
        at: String,
        /// Doing what.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// It took too long.
    #[error("egress: {host}:{port}: {what}: nothing within {limit_ms} ms")]
    Timeout {
        /// Where to.
        host: HostName,
        /// And where.
        port: u16,
        /// Doing what.
        what: &'static str,
        /// The bound.
        limit_ms: u128,
    },
    /// The broker does not speak its protocol.
    #[error("egress broker {at}: its answer is not one of hanzo-egress/1")]
    Answer {
        /// Where.
        at: String,
    },
    /// It said no.
    #[error("egress: {host}:{port}: the host's broker refused: {}", why.word())]
    Refused {
        /// Where to.
        host: HostName,
        /// And where.
        port: u16,
        /// Its reason.
        why: Refusal,
    },
    /// Whoever answers has a certificate for another name: the host connected elsewhere, or this is not the name's server.
    #[error("egress: {host}: TLS: the certificate is for another name: the host led this connection elsewhere")]
    TlsName {
        /// Whose certificate was expected.
        host: HostName,
    },
    /// Whoever answers has a certificate of another authority.
    #[error(
        "egress: {host}: TLS: the certificate does not chain to a root of the configuration: the host led this connection elsewhere, or the server changed its authority"
    )]
    TlsIssuer {
        /// Whose certificate was expected.
        host: HostName,
    },
    /// The certificate was not valid at the broker's signed time.
    #[error("egress: {host}: TLS: the certificate is valid from second {} to {}, and it is second {}", not_before.0, not_after.0, now.0)]
    TlsTime {
        /// Whose.
        host: HostName,
        /// First second, of the whole chain.
        not_before: UnixTime,
        /// Last second, of the whole chain.
        not_after: UnixTime,
        /// The guest's clock.
        now: UnixTime,
    },
    /// No TLS 1.3 over X25519MLKEM768, a signature that does not verify, a connection that broke off.
    #[error("egress: {host}: TLS: {detail}")]
    Tls {
        /// With whom.
        host: HostName,
        /// What is wrong.
        detail: String,
    },
}

impl EgressError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Off { .. } => "egress.off",
            Self::NotListed { .. } => "egress.not_listed",
            Self::NoBroker { .. } => "egress.no_broker",
            Self::Roots { .. } => "egress.roots",
            Self::Busy { .. } => "egress.busy",
            Self::Broker { .. } => "egress.broker",
            Self::Timeout { .. } => "egress.timeout",
            Self::Answer { .. } => "egress.answer",
            Self::Refused { why, .. } => match why {
                Refusal::NotListed => "egress.refused.not_listed",
                Refusal::Unresolved => "egress.refused.unresolved",
                Refusal::Unreachable => "egress.refused.unreachable",
                Refusal::Busy => "egress.refused.busy",
                Refusal::Timeout => "egress.refused.timeout",
                Refusal::Malformed => "egress.refused.malformed",
            },
            Self::TlsName { .. } => "egress.tls.name",
            Self::TlsIssuer { .. } => "egress.tls.issuer",
            Self::TlsTime { .. } => "egress.tls.time",
            Self::Tls { .. } => "egress.tls",
        }
    }

    /// True if another name for the same use may be tried: nobody was there. Whoever was there and is somebody else ends the
    /// attempt.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Timeout { .. })
    }
}
