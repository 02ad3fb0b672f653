//! Why a message or a grant was refused.

use hanzo_attestation::{UnixTime, jcs::JcsError};
use hanzo_pqc::PqcError;

/// A message that is not of the protocol, or asks for what this version does not do.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Longer than the message may be; nothing was parsed.
    #[error("{what}: {got} bytes, at most {limit} are accepted")]
    TooLarge {
        /// The message.
        what: &'static str,
        /// Its bound in bytes.
        limit: usize,
        /// What came.
        got: usize,
    },
    /// Not JSON of the message's shape.
    #[error("{what}: {detail}")]
    Shape {
        /// The message.
        what: &'static str,
        /// Line and column; never input bytes.
        detail: String,
    },
    /// Another protocol version.
    #[error("KBS Client Protocol Version Mismatch: expected =0.4.0; use a client of that version")]
    Version,
    /// Evidence of another kind.
    #[error("tee: expected snp, got {got}: this broker releases keys to SEV-SNP guests alone")]
    Tee {
        /// What the guest named.
        got: kbs_types::Tee,
    },
    /// A classical wrapping key.
    #[error(
        "tee-pubkey: kty {kty} is classical: keys are released to AKP keys with alg hanzo-hpke-x-wing or hanzo-hpke-mlkem1024-p384 alone; use a guest that makes one"
    )]
    Classical {
        /// Its kind.
        kty: &'static str,
    },
    /// An AKP key of another algorithm, encoding or length.
    #[error("tee-pubkey: {what}: expected alg hanzo-hpke-x-wing or hanzo-hpke-mlkem1024-p384 and its public key")]
    WrapKey {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A nonce that is not 32 bytes of standard base64.
    #[error("nonce: expected standard base64 of 32 bytes (44 characters)")]
    Nonce,
    /// A member that this version cannot honour, so it does not ignore it.
    #[error("{member}: expected {expected}; this version cannot honour anything else")]
    Unsupported {
        /// The member.
        member: &'static str,
        /// What is accepted.
        expected: &'static str,
    },
}

impl WireError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "kbs.body.too_large",
            Self::Shape { .. } => "kbs.body.malformed",
            Self::Version => "kbs.protocol.version",
            Self::Tee { .. } => "kbs.tee.unsupported",
            Self::Classical { .. } => "kbs.wrap.classical",
            Self::WrapKey { .. } => "kbs.wrap.key",
            Self::Nonce => "kbs.nonce.malformed",
            Self::Unsupported { .. } => "kbs.unsupported",
        }
    }
}

/// Why a guest could not answer a challenge.
#[derive(Debug, thiserror::Error)]
pub enum SessionError<E> {
    /// The broker's message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The runtime data has no canonical form.
    #[error(transparent)]
    Jcs(#[from] JcsError),
    /// The processor's evidence could not be had.
    #[error("evidence: {0}")]
    Evidence(E),
    /// Evidence of a kind for which the session was not opened.
    #[error(
        "evidence: expected snp, got {got}: this version asks brokers for keys with SEV-SNP evidence alone; run the guest on SEV-SNP"
    )]
    Kind {
        /// What the attester made.
        got: &'static str,
    },
}

/// Why a wrapped key was not opened.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// Not a wrapped key of this format.
    #[error("wrapped key: {0}: was the reply made by a broker of this version?")]
    Malformed(#[from] JcsError),
    /// The signer is not the one that the configuration pins.
    #[error(
        "grant: grant and wrapped key are not signed together by the broker that this guest's configuration pins ({0}): a foreign broker, a reply changed on its way, or the broker's signing key changed; nothing was opened"
    )]
    NotPinned(PqcError),
    /// Made for another purpose.
    #[error("grant: purpose: expected hanzo.grant.v1")]
    Purpose,
    /// Made for another wrapping key.
    #[error("grant: recipient is not this guest's wrapping key: the grant was made for another guest or boot")]
    Recipient,
    /// Answers another challenge.
    #[error("grant: nonce is not this session's: an old grant was replayed")]
    Nonce,
    /// No challenge was answered yet.
    #[error("grant: came before this session answered a challenge")]
    NoChallenge,
    /// Too old.
    #[error("grant: expired at {not_after:?}, now is {now:?}: ask for a new grant")]
    Expired {
        /// Its last second.
        not_after: UnixTime,
        /// The guest's clock.
        now: UnixTime,
    },
    /// The two clocks disagree.
    #[error(
        "grant: kbs_time is {kbs_time:?}, the request was sent at {sent_at:?}, at most {limit_s} s apart are accepted: set the clock of the guest's host or of the broker"
    )]
    Clock {
        /// The broker's clock.
        kbs_time: UnixTime,
        /// The guest's clock when it asked.
        sent_at: UnixTime,
        /// The configured bound.
        limit_s: u64,
    },
    /// For another model or store.
    #[error("grant: subject: expected {expected}, got {got}: the broker's key policy names another model or store")]
    Subject {
        /// The weights root or store id wanted.
        expected: String,
        /// In the grant.
        got: String,
    },
    /// Another key.
    #[error("grant: key_id: expected {expected}, got {got}")]
    KeyId {
        /// What was asked for.
        expected: String,
        /// In the grant.
        got: String,
    },
    /// An older version of the key than the guest has seen.
    #[error("grant: key_version is {got}, this guest has seen {seen}: the broker went back to an older state")]
    Version {
        /// Newest seen.
        seen: u64,
        /// In the grant.
        got: u64,
    },
    /// The broker appraised less than the configuration requires.
    #[error("grant: tier is {got}, this guest's configuration requires {required}")]
    Tier {
        /// By the configuration.
        required: u8,
        /// In the grant.
        got: u8,
    },
    /// The wrap uses another suite than the guest's key.
    #[error("wrapped key: suite: expected the suite of this guest's wrapping key")]
    Suite,
    /// The wrap does not open, or is no key.
    #[error("wrapped key: {0}: the broker wrapped it for another grant or guest")]
    Wrap(PqcError),
}

impl GrantError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "grant.malformed",
            Self::NotPinned(_) => "kbs.not_pinned",
            Self::Purpose => "grant.purpose",
            Self::Recipient => "grant.recipient",
            Self::Nonce | Self::NoChallenge => "grant.nonce",
            Self::Expired { .. } => "grant.expired",
            Self::Clock { .. } => "grant.clock",
            Self::Subject { .. } => "grant.subject",
            Self::KeyId { .. } => "grant.key_id",
            Self::Version { .. } => "grant.version",
            Self::Tier { .. } => "grant.tier",
            Self::Suite => "grant.suite",
            Self::Wrap(_) => "grant.wrap",
        }
    }
}
