//! Why a request was not sent, or its answer not believed.

use std::time::Duration;

use hanzo_attestation::evidence::Class;
use hanzo_attestation::padding::Padding;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_policy::PrivacyTier;
use hanzo_verifier::VerifyError;

use crate::state::StateError;

/// Every way a call can fail. No byte of the request has left unless [`ClientError::may_have_left`] says so.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not of the form `host:port`.
    #[error("endpoint: expected host:port or https://host:port, got {got:?}")]
    Endpoint {
        /// What came.
        got: String,
    },
    /// Nobody answers there.
    #[error("endpoint {endpoint}: {detail}: is the guest (or its proxy) running and reachable from here?")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// The system's words.
        detail: String,
    },
    /// The HTTP proxy does not let the connection through.
    #[error("proxy {proxy}: {got}: expected `200` to CONNECT; ask whoever runs the proxy, or unset HTTPS_PROXY")]
    Proxy {
        /// Which.
        proxy: String,
        /// Its answer.
        got: String,
    },
    /// The peer was too slow before the channel was proven.
    #[error("endpoint {endpoint}: {step} took longer than {}: the guest or the path to it is stalled", seconds(.after))]
    Timeout {
        /// Where.
        endpoint: String,
        /// `connect`, `TLS handshake`, `attestation`, `channel proof`, `answer`.
        step: &'static str,
        /// The bound.
        after: Duration,
    },
    /// The handshake failed.
    #[error("TLS: {detail}: expected a guest that speaks TLS 1.3 with X25519MLKEM768")]
    Tls {
        /// rustls' words.
        detail: String,
    },
    /// Another version or group came out of the handshake.
    #[error("TLS: expected TLS 1.3 with X25519MLKEM768, the handshake ended with something else")]
    TlsGroup,
    /// The leaf certificate cannot be read.
    #[error("TLS: expected one X.509 leaf certificate whose key can be read")]
    TlsCertificate,
    /// The peer's TLS key is not the guest's.
    #[error(
        "channel: tls_spki_sha256: the attested keyset says {expected}, this connection's certificate has {got}: somebody between you and the guest ends TLS with a key of their own"
    )]
    SpkiMismatch {
        /// In the keyset.
        expected: Digest256,
        /// Of the connection.
        got: Digest256,
    },
    /// The peer could not prove that this very connection ends in the guest.
    #[error(
        "channel: the proof does not match this connection and keyset {keyset_digest}: the connection is relayed or ends in another guest"
    )]
    ProofMismatch {
        /// What the connection should have proven.
        keyset_digest: Digest384,
    },
    /// The peer answered the proof with something else.
    #[error("channel: proof: expected 200 with a 32-byte proof, got {got}")]
    ProofAnswer {
        /// Which.
        got: String,
    },
    /// The keyset's channel key cannot be used.
    #[error("channel: keyset.channel_key: expected an X-Wing public key of 1216 bytes in lower-case hex")]
    ChannelKey,
    /// The peer gives no bundle: an error, or the connection broke.
    #[error("attestation: expected 200 with a bundle, got {got}")]
    AttestationAnswer {
        /// Which.
        got: String,
    },
    /// The bundle was refused; nothing was sent.
    #[error(transparent)]
    Attestation(#[from] VerifyError),
    /// A guest of another reference took over.
    #[error(
        "attestation: this session was started against reference {pinned:?}, the guest now matches {got:?}: restart the client to accept the change"
    )]
    ReferenceChanged {
        /// The first one's name.
        pinned: String,
        /// The new one's name.
        got: String,
    },
    /// The random source failed.
    #[error("random: the system's random source failed; nothing was sent")]
    Random,
    /// All connections are in use.
    #[error("channel: all {limit} connections are busy: try again, or raise connections_max")]
    Busy {
        /// How many there may be.
        limit: usize,
    },
    /// Request and answer broke off after the request may have left.
    #[error("channel: the exchange broke off: {detail}: it was not sent again, because part of it may have arrived")]
    Exchange {
        /// What happened.
        detail: String,
    },
    /// The guest stopped sending.
    #[error("channel: nothing came from the guest for {}", seconds(.after))]
    Stalled {
        /// The bound.
        after: Duration,
    },
    /// The answer is longer than this client holds.
    #[error("channel: the answer is longer than {limit} bytes")]
    AnswerTooLarge {
        /// The bound.
        limit: usize,
    },
    /// The stream went on after its receipt.
    #[error("receipt: the guest sent more of the answer after its receipt: what came then is covered by nothing")]
    AfterReceipt,
    /// The stream holds a comment that only this client writes.
    #[error("receipt: the guest's stream says how its own receipt came out: only the client may say that")]
    ForgedStatus,
    /// The request cannot be written as HTTP.
    #[error("request: {detail}")]
    Request {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The attested guest takes no sealed messages from this client.
    #[error(
        "sealed message: the guest's keyset has no OHTTP key for X-Wing: use the attested channel, or another guest"
    )]
    NoSealedKey,
    /// Whoever carries the message says that the guest's key does not open it.
    #[error(
        "sealed message: the gateway says that the key of the verified keyset does not open it: the guest may have started again, or the path lies; it was not asked again, because a lying path may have handed it over: ask again if that does no harm"
    )]
    SealedKey,
    /// No relay has such an address.
    #[error("relay: expected http://host:port/path or https://host/path, got {got:?}")]
    RelayUrl {
        /// What came.
        got: String,
    },
    /// The relay does not prove its name to this machine.
    #[error("relay: TLS: {detail}: expected a certificate that this machine's authorities vouch for")]
    RelayTls {
        /// rustls' words.
        detail: String,
    },
    /// The request asks for a higher tier than the guest has.
    #[error("request: minimum tier {asked}, the attested guest has tier {got}: ask for less, or another guest")]
    TierTooLow {
        /// What the request asks for.
        asked: PrivacyTier,
        /// What the verdict says.
        got: PrivacyTier,
    },
    /// The answer is padded less than was asked for.
    #[error(
        "padding: asked for {asked}, the answer has {got}: this guest does not pad; take --padding off, or another guest"
    )]
    NotPadded {
        /// What was asked for.
        asked: Padding,
        /// What came.
        got: Padding,
    },
    /// The gateway's answer is no sealed answer.
    #[error("sealed message: expected 200 and message/ohttp-chunked-res, got {got}: nothing of it is believed")]
    SealedAnswer {
        /// Status and code.
        got: String,
    },
    /// The message cannot be sealed, or its answer does not open or was cut.
    #[error("sealed message: {0}")]
    Sealed(#[from] hanzo_sealed::SealedError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
}

impl ClientError {
    /// Stable dotted code; refused bundles keep the code of the rule that refused them.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Endpoint { .. } => "endpoint.malformed",
            Self::Unreachable { .. } => "endpoint.unreachable",
            Self::Proxy { .. } => "endpoint.proxy",
            Self::Timeout { .. } => "endpoint.timeout",
            Self::Tls { .. } => "tls.handshake",
            Self::TlsGroup => "tls.group",
            Self::TlsCertificate => "tls.certificate",
            Self::SpkiMismatch { .. } => "channel.spki_mismatch",
            Self::ProofMismatch { .. } => "channel.proof_mismatch",
            Self::ProofAnswer { .. } => "channel.proof_answer",
            Self::ChannelKey => "channel.key",
            Self::AttestationAnswer { .. } => "attestation.answer",
            Self::Attestation(e) => e.code(),
            Self::ReferenceChanged { .. } => "attestation.reference_changed",
            Self::Random => "random.failed",
            Self::Busy { .. } => "channel.busy",
            Self::Exchange { .. } => "channel.exchange",
            Self::Stalled { .. } => "channel.stalled",
            Self::AnswerTooLarge { .. } => "channel.answer_too_large",
            Self::AfterReceipt => "receipt.not_last",
            Self::ForgedStatus => "receipt.forged_status",
            Self::Request { .. } => "request.malformed",
            Self::NoSealedKey => "sealed.no_key",
            Self::SealedKey => "sealed.key",
            Self::RelayUrl { .. } => "sealed.relay",
            Self::RelayTls { .. } => "sealed.relay_tls",
            Self::TierTooLow { .. } => "request.tier",
            Self::NotPadded { .. } => "padding.not_followed",
            Self::SealedAnswer { .. } => "sealed.answer",
            Self::Sealed(e) => e.code(),
            Self::State(e) => e.code(),
        }
    }

    /// True if bytes of the request may have left: to a guest that was attested over a connection that was proven.
    pub fn may_have_left(&self) -> bool {
        matches!(
            self,
            Self::Exchange { .. }
                | Self::Stalled { .. }
                | Self::AnswerTooLarge { .. }
                | Self::AfterReceipt
                | Self::ForgedStatus
                | Self::SealedKey
                | Self::NotPadded { .. }
                | Self::SealedAnswer { .. }
                | Self::Sealed(_)
        )
    }

    /// Whose fault; `None` for usage and I/O.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Attestation(e) => Some(e.class()),
            Self::Tls { .. } | Self::TlsGroup | Self::TlsCertificate => Some(Class::NotAuthentic),
            Self::SpkiMismatch { .. } | Self::ProofMismatch { .. } | Self::AfterReceipt | Self::ForgedStatus => {
                Some(Class::Unbound)
            }
            Self::ProofAnswer { .. } | Self::ChannelKey => Some(Class::Malformed),
            Self::ReferenceChanged { .. } | Self::TierTooLow { .. } => Some(Class::Refused),
            _ => None,
        }
    }

    /// 1 usage or I/O, 10 malformed, 20 not authentic, 30 stale or unbound, 40 refused by policy.
    pub fn exit_code(&self) -> u8 {
        match self.class() {
            None => 1,
            Some(Class::Malformed) => 10,
            Some(Class::NotAuthentic) => 20,
            Some(Class::Unbound) => 30,
            Some(Class::Refused) => 40,
        }
    }
}

fn seconds(d: &Duration) -> String {
    format!("{} s", d.as_secs_f32())
}
