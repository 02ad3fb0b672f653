//! Who gets a data key: release policies, the decision, and the wrap that carries it out.
//!
//! [`authorize`] is the only way to a [`ReleaseGrant`], and [`release`] the only use of one. The decision is made at the
//! moment of release, from the evidence itself: roots, collateral, policy, clock and use counts are those of that
//! moment, however long ago the guest attested. The caller counts and records it in the transaction that releases.
//!
//! It never does I/O and reads no clock. It never gives a reason to a guest: a [`Refusal`] has a code for the peer and
//! all failed rules for the log.
//!
//! # Does not establish
//! That the counts it was given are the newest; that is the store's part.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod authorize;
mod budget;
mod claims;
mod hierarchy;
mod limits;
mod policy;
mod refusal;
mod rehearse;
mod release;
mod rules;
mod tenant;
mod vault;

pub use authorize::{Ask, Moment, Recipient, ReleaseGrant, Stored, Uses, authorize};
pub use budget::Budget;
pub use claims::Proof;
pub use hierarchy::{Root, RootPurpose, TenantKek, WRAPPED_KEK_BYTES, object_key};
pub use limits::{KEK_SEALS_MAX, Limits, check_kek_seals};
pub use policy::{
    GRANT_LIFETIME_S_MAX, IMAGE_VERSIONS_MAX, KeyPolicy, KeyPolicyError, POLICY_BYTES_MAX, StoredPolicy, Wrap,
};
pub use refusal::Refusal;
pub use rehearse::{Evidence, Finding, Rehearsal, Rehearsed, rehearse};
pub use release::{ReleaseError, Unsigned, release, release_jwe, sign_each, wrap};
pub use rules::{ImageVersion, ImageVersionSource};
pub use tenant::{REFERENCE_BYTES_MAX, REFERENCE_NAMES_MAX, ReferenceError, TenantPolicy, check_reference};
pub use vault::{
    GpuCcVault, GpuTeeIoVault, KeyPurpose, Place, PqcVault, SECRET_BYTES_MAX, TierClass, Vault, VaultError,
    shredded_secret, tenant_of, vault_for,
};
