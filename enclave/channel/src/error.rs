//! Why a channel was not made or not proved.

/// Errors of this crate. None of them carries key material or peer bytes.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The boot's TLS key or certificate could not be made.
    #[error("TLS identity: {0}")]
    Identity(&'static str),
    /// Evidence that no certificate can carry.
    #[error(transparent)]
    Evidence(hanzo_attestation::ratls::RatlsError),
    /// rustls refused the configuration.
    #[error("TLS configuration: {0}")]
    Config(rustls::Error),
    /// The handshake did not end in time.
    #[error("TLS handshake: not finished within {limit_ms} ms")]
    HandshakeTimeout {
        /// The bound.
        limit_ms: u128,
    },
    /// The handshake failed; usually a client without X25519MLKEM768.
    #[error("TLS handshake: {0} (TLS 1.3 with X25519MLKEM768 is required)")]
    Handshake(std::io::Error),
    /// The connection gives no exporter secret or has another group.
    #[error("TLS connection: {0}")]
    Exporter(&'static str),
    /// The proof request is not of its format.
    #[error("channel proof: enc: expected {expected} bytes in lower-case hex, got {got} characters or other digits")]
    ProofRequest {
        /// Length of an X-Wing encapsulation.
        expected: usize,
        /// Characters that came.
        got: usize,
    },
    /// The encapsulation was refused by the KEM.
    #[error("channel proof: the encapsulated key was refused")]
    Encapsulation,
    /// The keyset's channel key is unusable.
    #[error("channel proof: channel_key: expected an x-wing public key, got another suite or malformed bytes")]
    ChannelKey,
    /// The peer's proof is not the expected one.
    #[error(
        "channel proof: the answer does not match this connection and this keyset: the connection does not end in the guest whose keyset was verified"
    )]
    ProofMismatch,
}

impl ChannelError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Identity(_) => "channel.identity",
            Self::Evidence(e) => e.code(),
            Self::Config(_) => "channel.config",
            Self::HandshakeTimeout { .. } => "channel.handshake_timeout",
            Self::Handshake(_) => "channel.handshake",
            Self::Exporter(_) => "channel.exporter",
            Self::ProofRequest { .. } => "channel.proof_request",
            Self::Encapsulation => "channel.encapsulation",
            Self::ChannelKey => "channel.key",
            Self::ProofMismatch => "channel.proof_mismatch",
        }
    }
}
