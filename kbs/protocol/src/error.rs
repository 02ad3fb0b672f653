//! Why a message or a grant was refused.

use hanzo_attestation::foreign::ForeignError;
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
    #[error(
        "tee: expected snp, tdx, az-snp-vtpm, az-tdx-vtpm or tpm, got {got}: this broker verifies no evidence of it"
    )]
    Tee {
        /// What the guest named.
        got: kbs_types::Tee,
    },
    /// The sample TEE, which proves nothing, where the configuration does not switch it on.
    #[error(
        "tee: sample proves nothing, and this broker's configuration does not accept it: run the guest on a real TEE"
    )]
    Sample,
    /// A JWK that secrets cannot be encrypted to.
    #[error(
        "tee-pubkey: {what}: expected EC (P-256 or P-521, ECDH-ES+A256KW), RSA (2048 bits or more, RSA-OAEP-256), or AKP (ML-KEM-768+A192KW, hanzo-hpke-x-wing or hanzo-hpke-mlkem1024-p384)"
    )]
    Jwk {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Evidence in a form that is not read.
    #[error("primary_evidence: {0}")]
    Evidence(ForeignError),
    /// SNP evidence without the certificate of its chip, and none at hand.
    #[error(
        "primary_evidence: no VCEK certificate came along, and the broker has none: {why}: send it in cert_chain, or fetch it once with `hanzo-verify fetch` into the directory that `collateral_dir` of the broker's configuration names"
    )]
    NoVcek {
        /// Why there is none.
        why: String,
    },
    /// Init-data that cannot be honoured.
    #[error("init-data: {what}: expected {expected}; this version cannot honour anything else")]
    InitData {
        /// Which part of it.
        what: &'static str,
        /// What is accepted.
        expected: &'static str,
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
            Self::Sample => "kbs.tee.sample",
            Self::Jwk { .. } => "kbs.wrap.jwk",
            Self::Evidence(e) => e.code(),
            Self::NoVcek { .. } => "kbs.snp.no_vcek",
            Self::InitData { .. } => "kbs.init_data",
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
    #[error("evidence: the session was opened for {expected}, the attester made {got}: open another session")]
    Kind {
        /// What the session was opened for.
        expected: kbs_types::Tee,
        /// What the attester made.
        got: &'static str,
    },
}

/// Why authentic evidence does not belong to what was sent beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionBindingError {
    /// The init-data is not what the machine was started with.
    #[error(
        "init-data: its digest is not in {field} of the evidence: the machine was started with other init-data, or none"
    )]
    InitData {
        /// Where it should be.
        field: &'static str,
    },
    /// The paravisor's user-data is not what the vTPM signed.
    #[error("az-vtpm evidence: user-data: expected the quote's extraData padded with zeros, got another value")]
    UserData,
    /// Sample evidence for another session.
    #[error(
        "sample evidence: report_data: expected the SHA-384 over this session's nonce, key and additional evidence"
    )]
    Sample,
}

impl SessionBindingError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InitData { .. } => "binding.init_data",
            Self::UserData => "binding.user_data",
            Self::Sample => "binding.sample",
        }
    }
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
    /// No signature over several grants can cover this one.
    #[error(
        "grant: among: expected {expected}, got place {index} of {size} with a path of {path} hashes: the reply was changed on its way, or the broker is of another version"
    )]
    Among {
        /// What would be accepted.
        expected: &'static str,
        /// The place that it says.
        index: u64,
        /// The number of grants that it says.
        size: u64,
        /// Its path's length.
        path: usize,
    },
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
            Self::Among { .. } => "grant.among",
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
