//! Why a token was refused.

use hanzo_attestation::evidence::Class;

/// Why a foreign EAR was refused, or ours could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EarError {
    /// Longer than any token.
    #[error("EAR: {got} bytes, at most {most} are accepted")]
    TooLarge {
        /// Its length.
        got: usize,
        /// The bound.
        most: usize,
    },
    /// Not three parts of base64url.
    #[error("EAR: expected a compact JWS of three parts in base64url without padding")]
    Form,
    /// The header or the claims are not JSON of the shape, or name a member twice.
    #[error("EAR: {part}: {detail}")]
    Shape {
        /// `header` or `claims`.
        part: &'static str,
        /// Which member; never input bytes.
        detail: String,
    },
    /// An algorithm that is never accepted.
    #[error(
        "EAR: header: alg: expected ES256, ES384 or ML-DSA-65, got another: unsigned and MACed tokens prove nothing"
    )]
    Algorithm,
    /// No configured key is for the token's algorithm.
    #[error(
        "EAR: header: alg: {alg}: expected an algorithm that a configured key is for; keys in the token do not count"
    )]
    NoKey {
        /// The token's.
        alg: &'static str,
    },
    /// A header that must be understood and is not.
    #[error("EAR: header: {member}: expected none: this verifier understands no extension of JWS")]
    Extension {
        /// `crit` or `b64`.
        member: &'static str,
    },
    /// No configured key signed it.
    #[error("EAR: signature: no configured key signed this token")]
    Signature,
    /// A profile that is not on the list.
    #[error("EAR: eat_profile: expected one of the configured profiles, got another")]
    Profile,
    /// An issuer that is not the configured one.
    #[error("EAR: iss: expected the configured issuer, got another or none")]
    Issuer,
    /// For somebody else.
    #[error("EAR: aud: expected the configured audience, got another")]
    Audience,
    /// Its time is over.
    #[error("EAR: counts until {until}, now is {now}")]
    Expired {
        /// Last second.
        until: u64,
        /// The caller's clock.
        now: u64,
    },
    /// Its time has not begun.
    #[error("EAR: counts from {from}, now is {now}: compare the clocks")]
    NotYetValid {
        /// First second.
        from: u64,
        /// The caller's clock.
        now: u64,
    },
    /// Better words than values.
    #[error("EAR: submods.{submod}: ear.status is better than the worst value of its own trustworthiness vector")]
    Status {
        /// The submodule's name, if it is a plain one.
        submod: String,
    },
    /// A key that cannot be read.
    #[error("EAR key: {0}")]
    Key(&'static str),
    /// The caller's signer answered something that is no signature of the algorithm.
    #[error("EAR: signature: expected {expected} bytes for {alg}, got {got}")]
    SignatureLength {
        /// The algorithm.
        alg: &'static str,
        /// Of the algorithm.
        expected: usize,
        /// What came.
        got: usize,
    },
}

impl EarError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "ear.too_large",
            Self::Form => "ear.form",
            Self::Shape { part: "header", .. } => "ear.header",
            Self::Shape { .. } => "ear.claims",
            Self::Algorithm => "ear.alg",
            Self::NoKey { .. } => "ear.no_key",
            Self::Extension { .. } => "ear.extension",
            Self::Signature => "ear.signature",
            Self::Profile => "ear.profile",
            Self::Issuer => "ear.issuer",
            Self::Audience => "ear.audience",
            Self::Expired { .. } => "ear.expired",
            Self::NotYetValid { .. } => "ear.not_yet_valid",
            Self::Status { .. } => "ear.status",
            Self::Key(_) => "ear.key",
            Self::SignatureLength { .. } => "ear.signature_length",
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        match self {
            Self::TooLarge { .. }
            | Self::Form
            | Self::Shape { .. }
            | Self::Extension { .. }
            | Self::Key(_)
            | Self::SignatureLength { .. }
            | Self::Status { .. } => Class::Malformed,
            Self::Algorithm | Self::NoKey { .. } | Self::Signature => Class::NotAuthentic,
            Self::Profile | Self::Issuer | Self::Audience | Self::Expired { .. } | Self::NotYetValid { .. } => {
                Class::Unbound
            }
        }
    }
}
