//! Claims of rewards and their evidence: what is signed, by whom, about what.

use hanzo_attestation::{Digest256, Digest384};
use hanzo_pqc::Domain;
use hanzo_verifier::receipt::RECEIPT_BYTES_MAX;

use crate::codec::{Bounded, List, canonical, variants};
use crate::genesis::RewardKind;
use crate::network::{Address, MlDsaSignature, PublicKey};

/// Longest path from a leaf of a model to its weights root.
pub const WEIGHTS_PATH_MAX: usize = 32;

/// A reward that somebody asks for, with what it is paid against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// An answer that a customer pays for.
    Inference(InferenceClaim),
    /// GPU-seconds of one epoch of a lease.
    Compute(ComputeClaim),
    /// A model that was resident in one epoch.
    Hosting(HostingClaim),
    /// A registered model that customers use.
    Registration(RegistrationClaim),
    /// Bytes that somebody signed for.
    Data(DataClaim),
}
variants!(Claim, "1 to 5", {
    1 => Inference(InferenceClaim), 2 => Compute(ComputeClaim), 3 => Hosting(HostingClaim),
    4 => Registration(RegistrationClaim), 5 => Data(DataClaim),
});

impl Claim {
    /// What kind of work it is for.
    pub fn kind(&self) -> RewardKind {
        match self {
            Self::Inference(_) => RewardKind::InferenceServing,
            Self::Compute(_) => RewardKind::ComputeProvision,
            Self::Hosting(_) => RewardKind::ModelHosting,
            Self::Registration(_) => RewardKind::ModelRegistration,
            Self::Data(_) => RewardKind::DataSharing,
        }
    }
}

/// A guest's receipt, and the customer's word that it is worth a fee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InferenceClaim {
    /// A signed receipt (`verifier/RECEIPT.md`), the canonical bytes.
    pub receipt: Bounded<RECEIPT_BYTES_MAX>,
    /// Base units that the customer pays.
    pub fee: u128,
    /// Of the customer.
    pub customer: PublicKey,
    /// What the customer signed.
    pub payment: Payment,
}
canonical!(InferenceClaim {
    receipt,
    fee,
    customer,
    payment,
});

/// How a customer pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payment {
    /// After the answer, out of the account: a signature over [`PaymentTerms`].
    CoSigned(CoSigned),
    /// Before it, out of a voucher: a signature over [`VoucherNote`].
    Prepaid(Prepaid),
}
variants!(Payment, "1 (co-signed) or 2 (prepaid)", { 1 => CoSigned(CoSigned), 2 => Prepaid(Prepaid) });

/// A customer's signature under one receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoSigned {
    /// Over [`PaymentTerms`].
    pub signature: MlDsaSignature,
}
canonical!(CoSigned { signature });

/// A note that a customer gave in advance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepaid {
    /// Which voucher.
    pub voucher: Digest256,
    /// The most that it may have paid in all, this claim included.
    pub cumulative: u128,
    /// Over [`VoucherNote`].
    pub signature: MlDsaSignature,
}
canonical!(Prepaid {
    voucher,
    cumulative,
    signature,
});

/// "This answer of that miner is worth this fee": signed under [`Domain::Payment`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaymentTerms {
    /// Who is paid.
    pub miner: Address,
    /// Digest of the receipt.
    pub receipt: Digest384,
    /// Base units.
    pub fee: u128,
}
canonical!(PaymentTerms { miner, receipt, fee });

/// "So much of this voucher is earned, whatever for": signed under [`Domain::VoucherNote`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoucherNote {
    /// Which voucher.
    pub voucher: Digest256,
    /// Base units in all, from its first on.
    pub cumulative: u128,
}
canonical!(VoucherNote { voucher, cumulative });

/// Both signatures of a boot's receipt keys, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootSignature {
    /// ML-DSA-65 or -87.
    pub ml_dsa: Bounded<4627>,
    /// Ed25519.
    pub ed25519: [u8; 64],
}
canonical!(BootSignature { ml_dsa, ed25519 });

/// GPU-seconds of one finished epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComputeClaim {
    /// Which lease.
    pub lease: Digest256,
    /// Which epoch: the one before this block's.
    pub epoch: u64,
    /// Digest of the GPUs' evidence, as the boot checked it.
    pub gpu_evidence: Digest384,
    /// Of the lease's boot, over [`Heartbeat`].
    pub heartbeat: BootSignature,
    /// Of the lessee.
    pub lessee: PublicKey,
    /// Seconds that the lessee accepts, from the lease's first on.
    pub seconds: u64,
    /// Over [`LeaseNote`].
    pub signature: MlDsaSignature,
}
canonical!(ComputeClaim {
    lease,
    epoch,
    gpu_evidence,
    heartbeat,
    lessee,
    seconds,
    signature,
});

/// "I am here, with these GPUs": signed by a boot under [`Domain::Heartbeat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// Which lease.
    pub lease: Digest256,
    /// Which epoch.
    pub epoch: u64,
    /// The epoch's beacon.
    pub beacon: Digest256,
    /// Digest of the GPUs' evidence.
    pub gpu_evidence: Digest384,
}
canonical!(Heartbeat {
    lease,
    epoch,
    beacon,
    gpu_evidence,
});

/// "So many seconds of this lease were mine": signed under [`Domain::LeaseNote`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseNote {
    /// Which lease.
    pub lease: Digest256,
    /// Seconds in all, from its first on.
    pub seconds: u64,
}
canonical!(LeaseNote { lease, seconds });

/// A model that was loaded through one finished epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostingClaim {
    /// Which boot.
    pub keyset: Digest384,
    /// Which model.
    pub root: Digest256,
    /// Which epoch: the one before this block's.
    pub epoch: u64,
    /// Hash of the leaf that [`challenge`] chose.
    pub leaf: Digest256,
    /// From the leaf to the root, lowest first.
    pub path: List<Digest256, WEIGHTS_PATH_MAX>,
    /// SHA-256(beacon || leaf data), of the leaf as it lies in memory.
    pub answer: Digest256,
    /// Over [`Residency`].
    pub signature: BootSignature,
}
canonical!(HostingClaim {
    keyset,
    root,
    epoch,
    leaf,
    path,
    answer,
    signature,
});

/// "This is what lies there": signed by a boot under [`Domain::Residency`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Residency {
    /// Which model.
    pub root: Digest256,
    /// Which epoch.
    pub epoch: u64,
    /// The epoch's beacon.
    pub beacon: Digest256,
    /// Number of the leaf.
    pub index: u64,
    /// Its hash.
    pub leaf: Digest256,
    /// SHA-256(beacon || leaf data).
    pub answer: Digest256,
}
canonical!(Residency {
    root,
    epoch,
    beacon,
    index,
    leaf,
    answer,
});

/// Which leaf of `leaves` a boot must show in the epoch of `beacon`: the first 16 bytes of a hash, modulo `leaves` (at most 2^64, so
/// that no leaf is likelier than another by more than 2^-64).
pub fn challenge(beacon: &Digest256, keyset: &Digest384, root: &Digest256, leaves: u64) -> u64 {
    let hash = hanzo_attestation::merkle::leaf_hash(&[&beacon.0, &keyset.0, &root.0]);
    let (first, _) = hash.0.split_at(16);
    let number = first.iter().fold(0_u128, |n, byte| (n << 8) | u128::from(*byte));
    number.checked_rem(u128::from(leaves)).unwrap_or(0) as u64
}

/// The reward for having registered a model, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrationClaim {
    /// Which model.
    pub root: Digest256,
}
canonical!(RegistrationClaim { root });

/// Bytes that a recipient signed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataClaim {
    /// Of the recipient, who pays.
    pub recipient: PublicKey,
    /// What was delivered.
    pub delivery: Delivery,
    /// Over [`Delivery`].
    pub signature: MlDsaSignature,
}
canonical!(DataClaim {
    recipient,
    delivery,
    signature,
});

/// "I have got this": signed by the recipient under [`Domain::Delivery`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Who gave.
    pub provider: Address,
    /// The recipient's number for deliveries of this provider, each once.
    pub seq: u64,
    /// Root over the chunks.
    pub chunk_root: Digest256,
    /// How many bytes.
    pub bytes: u64,
    /// Base units that the recipient pays.
    pub fee: u128,
}
canonical!(Delivery {
    provider,
    seq,
    chunk_root,
    bytes,
    fee,
});

/// "This keyset's evidence was verified; that miner earns with it": signed by a registrar under [`Domain::Endorsement`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndorsedBoot {
    /// Who earns.
    pub miner: Address,
    /// Which boot of the miner.
    pub incarnation: u64,
    /// Digest of the keyset.
    pub keyset: Digest384,
}
canonical!(EndorsedBoot {
    miner,
    incarnation,
    keyset,
});

/// Every statement's domain, in one place for those who sign.
pub const DOMAINS: [Domain; 7] = [
    Domain::Payment,
    Domain::VoucherNote,
    Domain::LeaseNote,
    Domain::Delivery,
    Domain::Heartbeat,
    Domain::Residency,
    Domain::Endorsement,
];
