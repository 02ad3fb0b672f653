//! Transactions: what one account asks for, once.

use hanzo_attestation::{Digest256, Digest384};

use crate::claim::Claim;
use crate::codec::{Bounded, Canonical, DecodeError, List, Reader, canonical, variants};
use crate::entry::KEYSET_BYTES_MAX;
use crate::network::{Address, MlDsaSignature, Network, PublicKey};
use crate::validator::{NewKey, SignedVote};

/// Longest signed transaction in bytes.
pub const TX_BYTES_MAX: usize = 320 * 1024;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Pay somebody.
    Transfer(Transfer),
    /// Set money aside for a miner.
    OpenVoucher(OpenVoucher),
    /// Get the rest of it back.
    CloseVoucher(Close),
    /// Earn with a boot.
    RegisterBoot(RegisterBoot),
    /// Register a model.
    RegisterModel(RegisterModel),
    /// Take a model back, and its deposit.
    RetireModel(Close),
    /// Rent GPUs.
    OpenLease(OpenLease),
    /// Get the rest of the money back.
    CloseLease(Close),
    /// Put money at stake.
    Bond(Amount),
    /// Begin to take it back.
    Unbond(Amount),
    /// Take it back.
    Withdraw(Nothing),
    /// Ask for a reward.
    Claim(Claim),
    /// Become a validator.
    RegisterValidator(RegisterValidator),
    /// Give a validator a new consensus key.
    RotateConsensusKey(RotateConsensusKey),
    /// Vote no more, and begin to take the stake back.
    LeaveValidators(Nothing),
    /// Show two votes of one key that conflict.
    ReportConflict(ReportConflict),
}
variants!(Action, "1 to 16", {
    1 => Transfer(Transfer), 2 => OpenVoucher(OpenVoucher), 3 => CloseVoucher(Close), 4 => RegisterBoot(RegisterBoot),
    5 => RegisterModel(RegisterModel), 6 => RetireModel(Close), 7 => OpenLease(OpenLease), 8 => CloseLease(Close),
    9 => Bond(Amount), 10 => Unbond(Amount), 11 => Withdraw(Nothing), 12 => Claim(Claim),
    13 => RegisterValidator(RegisterValidator), 14 => RotateConsensusKey(RotateConsensusKey), 15 => LeaveValidators(Nothing),
    16 => ReportConflict(ReportConflict),
});

impl Action {
    /// Whether it needs no fee: what comes with evidence that few can make.
    pub(crate) fn free(&self) -> bool {
        matches!(
            self,
            Self::Claim(_)
                | Self::RegisterBoot(_)
                | Self::RegisterValidator(_)
                | Self::RotateConsensusKey(_)
                | Self::ReportConflict(_)
        )
    }
}

/// Pay somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Whom.
    pub to: Address,
    /// Base units, not 0.
    pub amount: u128,
}
canonical!(Transfer { to, amount });

/// Set money aside for a miner. Its id is [`Tx::id_of`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenVoucher {
    /// For whom.
    pub miner: Address,
    /// Base units, not 0.
    pub amount: u128,
    /// The last block that it pays in.
    pub expires: u64,
}
canonical!(OpenVoucher { miner, amount, expires });

/// Close what has this id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// Of a voucher or lease; the weights root of a model.
    pub id: Digest256,
}
canonical!(Close { id });

/// Earn with a boot whose evidence the registrars verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterBoot {
    /// Strictly above the one before.
    pub incarnation: u64,
    /// JCS of the keyset.
    pub keyset: Bounded<KEYSET_BYTES_MAX>,
    /// By registrar, ascending.
    pub endorsements: List<Endorsement, 64>,
}
canonical!(RegisterBoot {
    incarnation,
    keyset,
    endorsements,
});

/// A registrar's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endorsement {
    /// Place in the genesis' list.
    pub registrar: u16,
    /// Over [`crate::claim::EndorsedBoot`] or [`crate::EndorsedKey`].
    pub signature: MlDsaSignature,
}
canonical!(Endorsement { registrar, signature });

/// Become a validator: the sender's account is its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterValidator {
    /// Base units to put at stake with it; may be 0 if enough is there.
    pub bond: u128,
    /// Its first key, or the first after it left.
    pub key: NewKey,
}
canonical!(RegisterValidator { bond, key });

/// Give a validator a new key. Anybody may send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotateConsensusKey {
    /// Of the validator's account.
    pub owner: PublicKey,
    /// The key.
    pub key: NewKey,
    /// The owner's, over [`NewKey::rotation_message`].
    pub signature: MlDsaSignature,
}
canonical!(RotateConsensusKey { owner, key, signature });

/// Two votes of one key that its signer may not both cast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportConflict {
    /// The key.
    pub key: PublicKey,
    /// One.
    pub first: SignedVote,
    /// The other.
    pub second: SignedVote,
}
canonical!(ReportConflict { key, first, second });

/// Register a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisterModel {
    /// Its weights root; unique.
    pub root: Digest256,
    /// SHA-256 of its licence text.
    pub licence: Digest256,
    /// Bytes of all files.
    pub bytes: u64,
    /// Leaves under the root.
    pub leaves: u64,
}
canonical!(RegisterModel {
    root,
    licence,
    bytes,
    leaves,
});

/// Rent GPUs. Its id is [`Tx::id_of`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenLease {
    /// Of which boot.
    pub keyset: Digest384,
    /// How many, not 0.
    pub gpus: u16,
    /// Base units for one GPU and second, not 0.
    pub price: u128,
    /// Most seconds, not 0; they are paid in advance.
    pub seconds: u64,
    /// The last block that it pays in.
    pub expires: u64,
}
canonical!(OpenLease {
    keyset,
    gpus,
    price,
    seconds,
    expires,
});

/// Base units, not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// How much.
    pub amount: u128,
}
canonical!(Amount { amount });

/// No further terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nothing {}
canonical!(Nothing {});

/// A transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tx {
    /// On which chain.
    pub network: Network,
    /// Whose: the account is the key's [`Address`].
    pub sender: PublicKey,
    /// The account's: 0, 1, 2 … without gaps.
    pub nonce: u64,
    /// Base units for the treasury.
    pub fee: u128,
    /// The last block that it may stand in.
    pub expires: u64,
    /// What.
    pub action: Action,
}

impl Canonical for Tx {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        self.network.write(out);
        self.sender.write(out);
        self.nonce.write(out);
        self.fee.write(out);
        self.expires.write(out);
        self.action.write(out);
    }

    fn read(from: &mut Reader<'_>, _what: &'static str) -> Result<Self, DecodeError> {
        match u8::read(from, "Tx.version")? {
            VERSION => Ok(Self {
                network: Canonical::read(from, "Tx.network.kind")?,
                sender: Canonical::read(from, "Tx.sender")?,
                nonce: Canonical::read(from, "Tx.nonce")?,
                fee: Canonical::read(from, "Tx.fee")?,
                expires: Canonical::read(from, "Tx.expires")?,
                action: Canonical::read(from, "Tx.action")?,
            }),
            got => Err(DecodeError::Tag {
                what: "Tx.version",
                expected: "1",
                got,
            }),
        }
    }
}

/// Format of transactions, and of what their senders sign.
const VERSION: u8 = 1;
/// Tag of transactions among what a signer signs (`enclave/signer`).
const SIGN_KIND: u8 = 32;

impl Tx {
    /// SHA-256 of the canonical bytes.
    pub fn digest(&self) -> Digest256 {
        Digest256::of(&self.to_bytes())
    }

    /// What the sender signs under [`hanzo_pqc::Domain::Transaction`]: the signer's request of kind `Transaction`.
    ///
    /// # Layout
    /// `1 || 32 || network (kind u8, id u64, genesis 32 bytes) || nonce u64 || digest 32 bytes`
    pub fn message(&self) -> Vec<u8> {
        let mut out = vec![VERSION, SIGN_KIND];
        self.network.write(&mut out);
        self.nonce.write(&mut out);
        self.digest().write(&mut out);
        out
    }

    /// The id of what the transaction `nonce` of `sender` opens.
    pub fn id_of(sender: &Address, nonce: u64) -> Digest256 {
        hanzo_attestation::merkle::leaf_hash(&[&sender.0, &nonce.to_be_bytes()])
    }
}

/// A transaction with its sender's signature, not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTx {
    /// What.
    pub tx: Tx,
    /// Over [`Tx::message`].
    pub signature: MlDsaSignature,
}
canonical!(SignedTx { tx, signature });

impl SignedTx {
    /// Reads one transaction and nothing after it; checks no signature.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_bytes("transaction", bytes, TX_BYTES_MAX)
    }
}
