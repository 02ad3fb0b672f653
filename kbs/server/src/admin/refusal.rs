//! Why an admin request was not carried out.

use hanzo_attestation::jcs::JcsError;
use hanzo_attestation::name::{KeyId, Name};
use hanzo_pqc::PqcError;
use hanzo_store::StoreError;
use hanzo_vault::{KeyPolicyError, VaultError};

use crate::KbsError;
use crate::releases::Checked;
use crate::tenant::DocumentError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminRefusal {
    #[error(transparent)]
    Malformed(#[from] JcsError),
    #[error("admin: not a key of this broker's configuration")]
    NotPinned,
    #[error("admin: {0}")]
    Signature(PqcError),
    #[error("admin: purpose or kbs: the request was made for another broker or purpose")]
    Elsewhere,
    #[error("admin: issued_at is {issued_at}, the broker's clock says {now}: at most 300 s apart are accepted")]
    Stale { issued_at: u64, now: u64 },
    #[error("admin: this nonce was used: the request was replayed")]
    Replayed,
    #[error("admin {admin}: {action} for tenant {tenant}: none of the key's roles allows it")]
    NotAllowed {
        admin: String,
        action: &'static str,
        tenant: String,
    },
    #[error(
        "key {key_id}: key_version: expected {expected}, got {got}: another request came first, or the key does not exist"
    )]
    Version { key_id: KeyId, expected: u64, got: u64 },
    #[error(transparent)]
    Policy(#[from] KeyPolicyError),
    #[error(
        "key policy: allow_simulated: this broker's store is a production one and holds no keys for simulated guests"
    )]
    SimulatedKey,
    #[error("sealed key: {0}: it was sealed to another broker, key, version or policy")]
    Sealed(PqcError),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("key policy: {0}")]
    Limit(#[from] VaultError),
    #[error("tenant {tenant}: it has no key encryption key: it never had a secret, or was destroyed")]
    NoTenant { tenant: Name },
    #[error("tenant {tenant}: its KEK is being rotated: wait for its end")]
    Rotating { tenant: Name },
    #[error("there is no key {key_id}")]
    UnknownKey { key_id: KeyId },
    #[error("proposal: there is none of this id: the id is SHA-384 of the request that was proposed")]
    NoProposal,
    #[error("proposal: it was approved before")]
    ProposalDone,
    #[error("proposal: it expired at {expires_at}, the broker's clock says {now}: propose it again")]
    ProposalExpired { expires_at: u64, now: u64 },
    #[error("proposal: the key's policy or version changed since: propose it again")]
    ProposalOutdated,
    #[error("proposal: whoever proposed it must not approve it: a second admin key is needed")]
    SameAdmin,
    #[error("proposal: whoever proposed it may not do so any more")]
    ProposerGone,
    #[error("proposals: {open} wait for approval, no more are taken: approve some, or wait until they expire")]
    TooManyProposals { open: u64 },
    #[error(transparent)]
    Broker(#[from] KbsError),
}

impl From<Checked> for AdminRefusal {
    fn from(e: Checked) -> Self {
        match e {
            Checked::Document(e) => Self::Document(e),
            Checked::Broker(e) => Self::Broker(e),
        }
    }
}

impl From<StoreError> for AdminRefusal {
    fn from(e: StoreError) -> Self {
        Self::Broker(e.into())
    }
}

impl AdminRefusal {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "kbs.admin.malformed",
            Self::NotPinned => "kbs.admin.not_pinned",
            Self::Signature(_) => "kbs.admin.signature",
            Self::Elsewhere => "kbs.admin.elsewhere",
            Self::Stale { .. } => "kbs.admin.stale",
            Self::Replayed => "kbs.admin.replayed",
            Self::NotAllowed { .. } => "kbs.admin.role",
            Self::Version { .. } => "kbs.admin.version",
            Self::Policy(e) => e.code(),
            Self::SimulatedKey => "store.simulated_key",
            Self::Sealed(_) => "kbs.admin.sealed",
            Self::Document(e) => e.code(),
            Self::Limit(e) => e.code(),
            Self::NoTenant { .. } => "kbs.tenant.none",
            Self::Rotating { .. } => "kbs.rotation.running",
            Self::UnknownKey { .. } => "kbs.key.unknown",
            Self::NoProposal => "kbs.proposal.unknown",
            Self::ProposalDone => "kbs.proposal.done",
            Self::ProposalExpired { .. } => "kbs.proposal.expired",
            Self::ProposalOutdated => "kbs.proposal.outdated",
            Self::SameAdmin => "kbs.proposal.same_admin",
            Self::ProposerGone => "kbs.proposal.proposer",
            Self::TooManyProposals { .. } => "kbs.proposal.full",
            Self::Broker(_) => "kbs.internal",
        }
    }

    /// Whether the peer proved that it is an admin before this happened: only then it is told more than the code.
    pub(crate) fn to_admin(&self) -> bool {
        !matches!(
            self,
            Self::Malformed(_) | Self::NotPinned | Self::Signature(_) | Self::Broker(_)
        )
    }

    /// Whether the refusal is a decision about what an admin wanted, and has its line in the audit chain. What anybody can
    /// send again, who once saw an admin's request, has none: it would fill the chain.
    pub(crate) fn is_decision(&self) -> bool {
        self.to_admin() && !matches!(self, Self::Elsewhere | Self::Stale { .. } | Self::Replayed)
    }
}
