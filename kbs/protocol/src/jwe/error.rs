//! Why a JWE was not made or not opened.

use hanzo_pqc::PqcError;

/// Why a JWE was not made or not opened. No text contains secret bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JweError {
    /// A secret that is empty or too long.
    #[error("secret: {got} bytes, 1 to 65536 can be encrypted")]
    Secret {
        /// Its length.
        got: usize,
    },
    /// Not a JWE of the expected form.
    #[error("JWE: {what}: was the reply made by a broker of this protocol version?")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// For another algorithm than the key's.
    #[error("JWE: alg or enc: expected that of this key and A256GCM, got another")]
    Algorithm,
    /// The key encryption does not open.
    #[error("JWE: encrypted_key: does not open with this key: it was encrypted to another")]
    Open,
    /// A primitive of `hanzo-pqc` refused.
    #[error("JWE: {0}")]
    Crypto(#[from] PqcError),
    /// The backend failed where no input can make it fail.
    #[error("JWE: {what}: the cryptographic backend failed; this is a fault of the machine, stop and do not retry")]
    Backend {
        /// The operation.
        what: &'static str,
    },
}

impl JweError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Secret { .. } => "jwe.secret",
            Self::Malformed { .. } => "jwe.malformed",
            Self::Algorithm => "jwe.algorithm",
            Self::Open => "jwe.open",
            Self::Crypto(e) => e.code(),
            Self::Backend { .. } => "jwe.backend",
        }
    }
}
