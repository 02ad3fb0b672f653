//! Why a release was refused.

use hanzo_attestation::evidence::Class;
use hanzo_attestation::jcs::JcsError;
use hanzo_attestation::name::Name;
use hanzo_log::LogError;
use hanzo_pqc::PqcError;

/// Why a release was refused, grouped by whose fault.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReleaseError {
    /// Not the format's JSON.
    #[error("{what}: {detail}")]
    Malformed {
        /// Which document.
        what: &'static str,
        /// Which member, or which byte.
        detail: String,
        /// The code: `release.too_large`, `release.malformed` or `release.not_canonical`.
        code: &'static str,
    },
    /// A value out of its range.
    #[error("release: {field}: expected {expected}, got {got}")]
    Value {
        /// The member at fault.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// A public key that is none.
    #[error("release key {name}: {source}")]
    Key {
        /// Whose.
        name: Name,
        /// Why not.
        source: PqcError,
    },
    /// The head, or the proof that leads to it.
    #[error("release log: {0}")]
    Log(#[from] LogError),
    /// One key signed twice.
    #[error("release {version}: signatures: expected each key once, got key {key} twice")]
    Repeated {
        /// Of the manifest.
        version: u64,
        /// The name that the policy gives the key; its id where it has none.
        key: String,
    },
    /// A pinned key's signature does not verify.
    #[error("release {version}: key {key}: {source}")]
    Signature {
        /// Of the manifest.
        version: u64,
        /// The key's name.
        key: Name,
        /// Which half failed.
        source: PqcError,
    },
    /// Too few of the pinned keys signed.
    #[error(
        "release {version}: signatures: expected {required} of the pinned release keys, got {got}{}",
        others(*.foreign)
    )]
    Quorum {
        /// Of the manifest.
        version: u64,
        /// The threshold.
        required: u8,
        /// Pinned keys that signed.
        got: usize,
        /// Signatures of keys that are not pinned, which were not looked at.
        foreign: usize,
    },
    /// The chain from the pinned keys to the ones that signed is broken.
    #[error("release {version}: rotation: {what}")]
    Rotation {
        /// Of the manifest at fault.
        version: u64,
        /// Which rule it breaks.
        what: &'static str,
    },
    /// A manifest of another line.
    #[error("release: name: expected {expected}, got {got}")]
    Line {
        /// The policy's.
        expected: Name,
        /// The manifest's.
        got: Name,
    },
    /// Made in the future.
    #[error("release {version}: issued_at: {issued_at}, now is {now}")]
    NotYet {
        /// Of the manifest.
        version: u64,
        /// Its first second.
        issued_at: u64,
        /// The reader's clock.
        now: u64,
    },
    /// Past its end.
    #[error("release {version}: not_after: {not_after}, now is {now}")]
    Expired {
        /// Of the manifest.
        version: u64,
        /// Its last second.
        not_after: u64,
        /// The reader's clock.
        now: u64,
    },
    /// The log's head is too old: what was withdrawn since does not show.
    #[error("release log: head: signed at {time}, at most {max_age_s} s old is accepted, now is {now}")]
    Stale {
        /// When the log signed it.
        time: u64,
        /// The policy's bound.
        max_age_s: u64,
        /// The reader's clock.
        now: u64,
    },
    /// The log's head was signed in the future.
    #[error("release log: head: signed at {time}, now is {now}")]
    Future {
        /// When the log says that it signed it.
        time: u64,
        /// The reader's clock.
        now: u64,
    },
    /// Older than the policy's minimum.
    #[error("release: version: expected {minimum} or more, got {got}")]
    TooOld {
        /// The policy's minimum.
        minimum: u64,
        /// The manifest's.
        got: u64,
    },
    /// Older than one that was taken before.
    #[error("release: version: expected {seen} or more, which was seen before, got {got}")]
    RolledBack {
        /// The newest that was taken.
        seen: u64,
        /// The manifest's.
        got: u64,
    },
    /// Another manifest under a version that was taken before.
    #[error("release {version}: another manifest of this version was seen before")]
    Forked {
        /// Of both.
        version: u64,
    },
    /// It does not follow on the one that was taken before.
    #[error("release {version}: minimum_previous_version: {minimum}, the last that was seen is {seen}")]
    Gap {
        /// Of the manifest.
        version: u64,
        /// What it may follow on.
        minimum: u64,
        /// The newest that was taken.
        seen: u64,
    },
    /// The guest can do what no image of this release may.
    #[error("release {version}: capabilities: the release allows no {got}")]
    Capability {
        /// Of the manifest.
        version: u64,
        /// The first one outside the bound.
        got: Name,
    },
    /// The policy asks for a release and there is none that was verified under it.
    #[error("release: expected a manifest of {expected}, verified under this policy, got none")]
    Missing {
        /// The policy's line.
        expected: Name,
    },
}

fn others(foreign: usize) -> String {
    match foreign {
        0 => String::new(),
        n => format!(" (and {n} of keys that are not pinned)"),
    }
}

impl ReleaseError {
    pub(super) fn of_json(what: &'static str, e: &JcsError) -> Self {
        let code = match e {
            JcsError::TooLarge { .. } => "release.too_large",
            JcsError::Shape { .. } => "release.malformed",
            JcsError::NotCanonical { .. } => "release.not_canonical",
        };
        Self::Malformed {
            what,
            detail: e.to_string(),
            code,
        }
    }

    /// Stable dotted code. Of the log's head and proofs: the code of `hanzo-log`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { code, .. } => code,
            Self::Value { .. } => "release.value",
            Self::Key { .. } => "release.key",
            Self::Log(e) => e.code(),
            Self::Repeated { .. } => "release.signature.repeated",
            Self::Signature { .. } => "release.signature.invalid",
            Self::Quorum { .. } => "release.quorum",
            Self::Rotation { .. } => "release.rotation",
            Self::Line { .. } => "release.name",
            Self::NotYet { .. } => "release.not_yet",
            Self::Expired { .. } => "release.expired",
            Self::Stale { .. } => "release.head.stale",
            Self::Future { .. } => "release.head.future",
            Self::TooOld { .. } => "release.version.too_old",
            Self::RolledBack { .. } => "release.version.rolled_back",
            Self::Forked { .. } => "release.version.forked",
            Self::Gap { .. } => "release.version.gap",
            Self::Capability { .. } => "release.capability",
            Self::Missing { .. } => "release.missing",
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        match self {
            Self::Malformed { .. } | Self::Value { .. } | Self::Key { .. } => Class::Malformed,
            Self::Log(LogError::Note { .. } | LogError::NoteTooLarge { .. } | LogError::Checkpoint { .. }) => {
                Class::Malformed
            }
            Self::Log(_)
            | Self::Repeated { .. }
            | Self::Signature { .. }
            | Self::Quorum { .. }
            | Self::Rotation { .. }
            | Self::Forked { .. } => Class::NotAuthentic,
            Self::NotYet { .. } | Self::Expired { .. } | Self::Stale { .. } | Self::Future { .. } => Class::Unbound,
            Self::Line { .. }
            | Self::TooOld { .. }
            | Self::RolledBack { .. }
            | Self::Gap { .. }
            | Self::Capability { .. }
            | Self::Missing { .. } => Class::Refused,
        }
    }

    /// What a person can do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "give the release bundle (release.json) of the line that the policy names",
            Self::Line { .. } => "give the bundle of the line that the policy names, or the policy of this line",
            Self::Quorum { .. } => "have more holders of the pinned release keys sign, or pin the keys that signed",
            Self::Rotation { .. } => "give a bundle with every manifest that handed over to new keys, oldest first",
            Self::Stale { .. } => "fetch the bundle again: the log signs its head anew (`hanzo-image release refresh`)",
            Self::Expired { .. } => "install and give a newer release",
            Self::NotYet { .. } | Self::Future { .. } => "compare this machine's clock with the time",
            Self::TooOld { .. } | Self::RolledBack { .. } => "install and give the newest release",
            Self::Gap { .. } => "take the releases between first, in their order",
            Self::Forked { .. } => "keep both bundles: together they prove that the release keys were misused",
            Self::Capability { .. } => "do not use this guest: it can do more than its release says",
            Self::Malformed { .. } | Self::Value { .. } => "fetch the bundle again; see policy/RELEASE.md",
            Self::Key { .. } => "take the key from its holder again",
            Self::Repeated { .. } | Self::Signature { .. } | Self::Log(_) => {
                "do not use this release: somebody on the way changed it, or it is not from whom it says"
            }
        }
    }
}
