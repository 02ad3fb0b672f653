//! Why a token was refused.

/// Why a token was refused. No text quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Whatever is wrong before its signature counts: form, length, issuer, key, algorithm, signature.
    #[error(
        "no issuer of this guest's table of callers signed it with a key that the table pins (EdDSA, ES256 or RS256, at most 8192 bytes); fetch another, or ask the operator whether the provider changed its keys"
    )]
    NotAuthentic,
    /// Signed for something else.
    #[error("it is no ID token or access token: expected typ JWT or at+jwt, and no `events`; send one of those")]
    Kind,
    /// It counts for the holder of a further key alone.
    #[error("it is bound to a key (`cnf`), which this guest cannot ask for; have a bearer token issued")]
    Bound,
    /// For somebody else.
    #[error("aud: expected {expected:?} among the audiences; have the token issued for this audience")]
    Audience {
        /// What the table names.
        expected: String,
    },
    /// A time that is none.
    #[error("{name}: expected whole seconds since 1970; have a token issued that says when it ends")]
    Time {
        /// Which member.
        name: &'static str,
    },
    /// Its time is over.
    #[error("exp: it counted until {exp}, the guest's clock says {now}; fetch another")]
    Over {
        /// The first second too late.
        exp: u64,
        /// The guest's clock.
        now: u64,
    },
    /// It counts for longer than the table allows.
    #[error("exp: expected at most {expected} s from now, got {got}; have tokens issued for a shorter time")]
    TooLong {
        /// Seconds.
        expected: u64,
        /// Seconds.
        got: u64,
    },
    /// Its time has not begun.
    #[error("{name}: {at} is more than 60 s after the guest's clock, {now}; try again then")]
    Early {
        /// Which member.
        name: &'static str,
        /// What it says.
        at: u64,
        /// The guest's clock.
        now: u64,
    },
    /// Its claims are no caller's.
    #[error("it is genuine, and no caller of the table is known by its claims; ask the operator to add one")]
    Nobody,
    /// Its claims are those of more than one caller.
    #[error("it is genuine, and fits more than one caller of the table; tell the operator")]
    Several,
}

impl TokenError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAuthentic => "token.not_authentic",
            Self::Kind => "token.kind",
            Self::Bound => "token.bound",
            Self::Audience { .. } => "token.audience",
            Self::Time { .. } => "token.time",
            Self::Over { .. } => "token.over",
            Self::TooLong { .. } => "token.too_long",
            Self::Early { .. } => "token.early",
            Self::Nobody => "token.nobody",
            Self::Several => "token.several",
        }
    }
}
