//! Why something was not signed.

use hanzo_pqc::PqcError;

use crate::freshness::FreshnessError;
use crate::history::HistoryError;
use crate::interchange::InterchangeError;

/// Why the guard refused. The state is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another content was signed for the same place.
    #[error(
        "{kind}: {place} already has another content: signing this one as well would be a double signature; ask for the one that was signed"
    )]
    Conflict {
        /// Kind of the request.
        kind: &'static str,
        /// What is taken.
        place: Place,
    },
    /// The view was given up.
    #[error("finalize: {place} was nullified: a view is nullified or finalized, never both")]
    Nullified {
        /// Which view.
        place: Place,
    },
    /// The view was finalized.
    #[error("nullify: {place} was finalized: a view is nullified or finalized, never both")]
    Finalized {
        /// Which view.
        place: Place,
    },
    /// At or below what is settled.
    #[error(
        "{kind}: {place} is at or below the floor {floor}: what was signed there is forgotten, so nothing is signed there any more"
    )]
    BelowFloor {
        /// Kind of the request.
        kind: &'static str,
        /// What was asked.
        place: Place,
        /// Where the floor is.
        floor: Place,
    },
    /// A later incarnation has a key already.
    #[error("{kind}: incarnation {got} of this validator: {newest} was signed already; expected a greater one")]
    OldIncarnation {
        /// Kind of the request.
        kind: &'static str,
        /// What was asked.
        got: u64,
        /// What was signed.
        newest: u64,
    },
    /// The teleport was claimed with other terms.
    #[error(
        "teleport claim: this teleport was claimed with another contract, token, recipient or amount; only its block and validator set may change, with a later claim epoch"
    )]
    OtherTerms,
    /// Too much is remembered.
    #[error("the guard remembers {limit} places already: raise the floor of what is settled")]
    Full {
        /// Most places.
        limit: usize,
    },
}

impl Refusal {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "signer.conflict",
            Self::Nullified { .. } => "signer.nullified",
            Self::Finalized { .. } => "signer.finalized",
            Self::BelowFloor { .. } => "signer.below_floor",
            Self::OldIncarnation { .. } => "signer.incarnation",
            Self::OtherTerms => "signer.terms",
            Self::Full { .. } => "signer.full",
        }
    }
}

/// What a signature is for, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A view of an epoch.
    View {
        /// Epoch.
        epoch: u64,
        /// View.
        view: u64,
    },
    /// A sequence number.
    Number(u64),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::View { epoch, view } => write!(f, "view {view} of epoch {epoch}"),
            Self::Number(number) => write!(f, "number {number}"),
        }
    }
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The guard.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Bytes that are none of ours.
    #[error("{what}: {got} bytes that are not its canonical form: check version, kind and length of what was sent")]
    Malformed {
        /// What they should be.
        what: &'static str,
        /// How many came.
        got: usize,
    },
    /// The key has another role.
    #[error("{kind}: signed by keys of role {expected}, this key has role {got}: send it to the right signer")]
    Role {
        /// Kind of the request.
        kind: &'static str,
        /// Role of the kind.
        expected: &'static str,
        /// Role of the key.
        got: &'static str,
    },
    /// The request is for another chain.
    #[error("{kind}: network {got_id} with genesis {got}, this key signs for {expected_id} with genesis {expected}")]
    Network {
        /// Kind of the request.
        kind: &'static str,
        /// Number of the key's network.
        expected_id: u64,
        /// Genesis of the key's network, hex.
        expected: String,
        /// Number asked for.
        got_id: u64,
        /// Genesis asked for, hex.
        got: String,
    },
    /// The request names another key as the one that signs.
    #[error("possession: the request names key {got}, this key is {expected}")]
    OtherKey {
        /// Digest of this key, hex.
        expected: String,
        /// Digest asked for, hex.
        got: String,
    },
    /// Journal and key, role or network do not belong together.
    #[error("journal: its {what} is not this signer's: it belongs to another key; give each signer its own journal")]
    OtherJournal {
        /// What differs.
        what: &'static str,
    },
    /// The journal ends before the head that the freshness source holds.
    #[error(
        "journal: {local} records, the newest head counts {fenced}: it was rolled back, truncated or lost. Put the newest copy back; there is no way to sign without it"
    )]
    Older {
        /// Records here.
        local: u64,
        /// Records of the newest head.
        fenced: u64,
    },
    /// The journal is another one.
    #[error("journal: record {at} is not the one that the newest head counts: it is a clone's, or was changed")]
    Diverged {
        /// Which record.
        at: u64,
    },
    /// The journal begins with a checkpoint that the newest head does not count.
    #[error(
        "journal: it begins with a checkpoint of the records {at} to {end}, the newest head counts {fenced}: that compaction never took effect, or somebody made it up. Put the journal of {fenced} records back"
    )]
    Unfenced {
        /// First record of the checkpoint.
        at: u64,
        /// Its last.
        end: u64,
        /// Records of the newest head.
        fenced: u64,
    },
    /// A record within the newest head cannot be read.
    #[error("journal: record {at}: {rule}: it was changed after it was written. Put the newest copy back")]
    Corrupt {
        /// Which record.
        at: u64,
        /// What is wrong.
        rule: &'static str,
    },
    /// The journal cannot take more.
    #[error(
        "journal: {got} bytes, the limit is {limit}: raise the floor of what is settled and compact the journal, or rotate this key"
    )]
    JournalFull {
        /// Bytes with the next record.
        got: u64,
        /// Most bytes.
        limit: u64,
    },
    /// A key is enrolled once.
    #[error(
        "the freshness source holds a head of {fenced} records for this key: it is enrolled already. Open its journal; never begin a second one"
    )]
    Enrolled {
        /// Records of the head.
        fenced: u64,
    },
    /// The medium.
    #[error("journal: {0}: nothing is signed until it can be read and written")]
    Storage(#[from] std::io::Error),
    /// Something went wrong half way, so that what is stored is not known.
    #[error("an earlier request ended half way ({cause}): open the signer again, which reads what is stored")]
    Halted {
        /// Code of the first error.
        cause: &'static str,
    },
    /// Freshness.
    #[error(transparent)]
    Freshness(#[from] FreshnessError),
    /// Cryptography.
    #[error(transparent)]
    Crypto(#[from] PqcError),
    /// A signature that does not verify.
    #[error("{kind}: {source}")]
    Signature {
        /// Kind of the request.
        kind: &'static str,
        /// What is wrong.
        source: PqcError,
    },
    /// An interchange file.
    #[error(transparent)]
    Interchange(#[from] InterchangeError),
    /// A history that cannot be taken.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A registration of a consensus key.
    #[error(
        "validator registration: incarnation {got}, expected {expected}: each boot's key has the next number, once"
    )]
    Incarnation {
        /// The next one.
        expected: u64,
        /// What came.
        got: u64,
    },
}

impl SignerError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(e) => e.code(),
            Self::Malformed { .. } => "signer.malformed",
            Self::Role { .. } => "signer.role",
            Self::Network { .. } => "signer.network",
            Self::OtherKey { .. } => "signer.other_key",
            Self::OtherJournal { .. } => "signer.journal.other",
            Self::Older { .. } => "signer.journal.older",
            Self::Diverged { .. } => "signer.journal.diverged",
            Self::Unfenced { .. } => "signer.journal.unfenced",
            Self::Corrupt { .. } => "signer.journal.corrupt",
            Self::JournalFull { .. } => "signer.journal.full",
            Self::Enrolled { .. } => "signer.enrolled",
            Self::Storage(_) => "signer.journal.storage",
            Self::Halted { .. } => "signer.halted",
            Self::Freshness(e) => e.code(),
            Self::Crypto(e) => e.code(),
            Self::Signature { .. } => "signer.signature",
            Self::Interchange(e) => e.code(),
            Self::History(e) => e.code(),
            Self::Incarnation { .. } => "signer.registration",
        }
    }
}
