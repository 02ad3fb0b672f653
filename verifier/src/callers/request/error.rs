//! Why a signed request was refused.

/// Why a signed request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not of the one form that is taken.
    #[error("signed request: expected {what} (enclave/inference/ACCESS.md, RFC 9421)")]
    Form {
        /// What is taken.
        what: &'static str,
    },
    /// Not one signature of each of the caller's keys.
    #[error("signed request: expected one signature of each key that the table has for this caller, and no other")]
    Keys,
    /// A signature that does not verify.
    #[error(
        "signed request: the {alg} signature does not verify over method, path, query, content-digest and hanzo-keyset as they arrived"
    )]
    Signature {
        /// Which.
        alg: &'static str,
    },
    /// No caller's, whatever is wrong with it.
    #[error(
        "signed request: no caller of the table has this keyid and keys whose signatures over method, path, query, content-digest and hanzo-keyset as they arrived these are; compare keyid and keys with what the operator has"
    )]
    Nobody,
    /// For another guest, or an earlier boot of this one.
    #[error("signed request: hanzo-keyset names another keyset than this guest's; attest it again and sign anew")]
    Keyset,
    /// Too old, or from the future.
    #[error(
        "signed request: created {created}, the guest's clock says {now}: expected at most 120 s before and 30 s after; set your clock and sign anew"
    )]
    Time {
        /// What it says.
        created: u64,
        /// The guest's clock.
        now: u64,
    },
    /// It came before.
    #[error("signed request: its nonce was used before; draw another for every request and sign anew")]
    Replayed,
    /// The body is another.
    #[error("signed request: content-digest is not that of the body that came")]
    Digest,
    /// A key is none.
    #[error("request key: {what}")]
    Key {
        /// What is expected.
        what: &'static str,
    },
}

impl RequestError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Form { .. } => "request.form",
            Self::Keys => "request.keys",
            Self::Signature { .. } => "request.signature",
            Self::Nobody => "request.nobody",
            Self::Keyset => "request.keyset",
            Self::Time { .. } => "request.time",
            Self::Replayed => "request.replayed",
            Self::Digest => "request.digest",
            Self::Key { .. } => "request.key",
        }
    }
}
