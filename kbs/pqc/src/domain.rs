//! Domain strings: what a signature or a sealed key is for. One key signs many formats without confusing them.

use aws_lc_rs::digest;

/// What is being signed or sealed. Closed: a new format adds a variant here, never a string elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Domain {
    /// A KBS's grant of a data key to a guest.
    Grant,
    /// The root over several such grants, which one signature covers.
    Grants,
    /// A receipt for one answered request.
    Receipt,
    /// An administrator's request, to a guest or a KBS.
    Admin,
    /// A release manifest.
    ReleaseManifest,
    /// A model manifest.
    ModelManifest,
    /// The head of a receipt log.
    LogHead,
    /// One line of a KBS's audit log.
    Audit,
    /// HPKE `info` of a data key wrapped for a guest.
    DekWrap,
    /// HPKE `info` of a data key uploaded to a KBS.
    KeyImport,
    /// A KBS's lease of a store's head to its one writer, and what both then say about it.
    StoreHead,
    /// The table of a guest's callers.
    Callers,
    /// A transaction of the ledger: what `enclave/signer` signs for wallets.
    Transaction,
    /// A validator's first vote for a block: what `enclave/signer` signs.
    ChainNotarize,
    /// A validator's vote to give a view up.
    ChainNullify,
    /// A validator's second vote for a block.
    ChainFinalize,
    /// A customer's word that an answer is worth a fee.
    Payment,
    /// A customer's word that so much of a voucher is earned.
    VoucherNote,
    /// A lessee's word that so many seconds were had.
    LeaseNote,
    /// A recipient's word that bytes came.
    Delivery,
    /// A boot's word that its GPUs are there.
    Heartbeat,
    /// A boot's word about the weights in its memory.
    Residency,
    /// A registrar's word that a boot's evidence was verified.
    Endorsement,
    /// A consensus key's word that it is a validator's.
    ChainPossession,
    /// A validator's owner gives it a consensus key.
    RotateKey,
    /// A registrar's word that the evidence for a consensus key was verified.
    ValidatorEndorsement,
}

impl Domain {
    /// Every domain.
    pub const ALL: [Domain; 26] = [
        Domain::Grant,
        Domain::Grants,
        Domain::Receipt,
        Domain::Admin,
        Domain::ReleaseManifest,
        Domain::ModelManifest,
        Domain::LogHead,
        Domain::Audit,
        Domain::DekWrap,
        Domain::KeyImport,
        Domain::StoreHead,
        Domain::Callers,
        Domain::Transaction,
        Domain::ChainNotarize,
        Domain::ChainNullify,
        Domain::ChainFinalize,
        Domain::Payment,
        Domain::VoucherNote,
        Domain::LeaseNote,
        Domain::Delivery,
        Domain::Heartbeat,
        Domain::Residency,
        Domain::Endorsement,
        Domain::ChainPossession,
        Domain::RotateKey,
        Domain::ValidatorEndorsement,
    ];

    /// The domain string, `hanzo/<what>/v1`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Domain::Grant => "hanzo/grant/v1",
            Domain::Grants => "hanzo/grants/v1",
            Domain::Receipt => "hanzo/receipt/v1",
            Domain::Admin => "hanzo/admin/v1",
            Domain::ReleaseManifest => "hanzo/release-manifest/v1",
            Domain::ModelManifest => "hanzo/model-manifest/v1",
            Domain::LogHead => "hanzo/log-head/v1",
            Domain::Audit => "hanzo/audit/v1",
            Domain::DekWrap => "hanzo/dek-wrap/v1",
            Domain::KeyImport => "hanzo/key-import/v1",
            Domain::StoreHead => "hanzo/store-head/v1",
            Domain::Callers => "hanzo/callers/v1",
            Domain::Transaction => "hanzo/signed-transaction/v1",
            Domain::ChainNotarize => "hanzo/chain-notarize/v1",
            Domain::ChainNullify => "hanzo/chain-nullify/v1",
            Domain::ChainFinalize => "hanzo/chain-finalize/v1",
            Domain::Payment => "hanzo/payment/v1",
            Domain::VoucherNote => "hanzo/voucher-note/v1",
            Domain::LeaseNote => "hanzo/lease-note/v1",
            Domain::Delivery => "hanzo/delivery/v1",
            Domain::Heartbeat => "hanzo/heartbeat/v1",
            Domain::Residency => "hanzo/residency/v1",
            Domain::Endorsement => "hanzo/endorsement/v1",
            Domain::ChainPossession => "hanzo/chain-possession/v1",
            Domain::RotateKey => "hanzo/rotate-consensus-key/v1",
            Domain::ValidatorEndorsement => "hanzo/validator-endorsement/v1",
        }
    }

    /// The bytes both signature algorithms sign: `SHA-256(domain string) || message`.
    pub fn signed_bytes(self, message: &[u8]) -> Vec<u8> {
        let prefix = digest::digest(&digest::SHA256, self.as_str().as_bytes());
        let mut bytes = Vec::with_capacity(prefix.as_ref().len() + message.len());
        bytes.extend_from_slice(prefix.as_ref());
        bytes.extend_from_slice(message);
        bytes
    }
}
