//! What an account's owner says beside transactions, to those who bring it to the ledger: a closed list, each kind under a domain of
//! its own. None of them moves anything by itself, and none may be said once only: the ledger counts what it is brought.

use hanzo_pqc::{Domain, PqcError};

use crate::request::Network;
use crate::wallet::{MiningWallet, WalletError};

/// A word about a payment, a lease, a delivery or somebody's evidence. `enclave/ledger/SPEC.md` has the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement {
    /// A customer: this answer of that miner is worth this fee.
    Payment {
        /// Account that is paid.
        miner: [u8; 32],
        /// SHA-384 of the receipt.
        receipt: [u8; 48],
        /// Base units.
        fee: u128,
    },
    /// A customer: so much of this voucher is earned.
    VoucherNote {
        /// Which.
        voucher: [u8; 32],
        /// Base units in all.
        cumulative: u128,
    },
    /// A lessee: so many seconds of this lease were mine.
    LeaseNote {
        /// Which.
        lease: [u8; 32],
        /// Seconds in all.
        seconds: u64,
    },
    /// A recipient: I have got this.
    Delivery {
        /// Who gave.
        provider: [u8; 32],
        /// The recipient's number for deliveries of this provider.
        seq: u64,
        /// Root over the chunks.
        chunk_root: [u8; 32],
        /// How many bytes.
        bytes: u64,
        /// Base units.
        fee: u128,
    },
    /// A registrar: this boot's evidence was verified, that miner earns with it.
    Endorsement {
        /// Who earns.
        miner: [u8; 32],
        /// Which boot of the miner.
        incarnation: u64,
        /// SHA-384 of the keyset.
        keyset: [u8; 48],
    },
    /// A registrar: this evidence was verified and names that consensus key.
    ValidatorEndorsement {
        /// Whose key.
        validator: [u8; 32],
        /// Which of the validator's.
        incarnation: u64,
        /// Digest of the key.
        key: [u8; 32],
        /// SHA-256 of the evidence.
        evidence: [u8; 32],
        /// What it was appraised at.
        tier: u8,
        /// Whether it is a simulator's.
        simulated: bool,
    },
}

impl Statement {
    /// What it is signed under.
    pub const fn domain(&self) -> Domain {
        match self {
            Self::Payment { .. } => Domain::Payment,
            Self::VoucherNote { .. } => Domain::VoucherNote,
            Self::LeaseNote { .. } => Domain::LeaseNote,
            Self::Delivery { .. } => Domain::Delivery,
            Self::Endorsement { .. } => Domain::Endorsement,
            Self::ValidatorEndorsement { .. } => Domain::ValidatorEndorsement,
        }
    }

    /// What is signed after the domain.
    ///
    /// # Layout
    /// Network 41, then the fields in the order of the variant, big endian at full width; a boolean is 0 or 1.
    pub fn encode(&self, network: &Network) -> Vec<u8> {
        let mut out = network.encode();
        match self {
            Self::Payment { miner, receipt, fee } => {
                out.extend_from_slice(miner);
                out.extend_from_slice(receipt);
                out.extend_from_slice(&fee.to_be_bytes());
            }
            Self::VoucherNote { voucher, cumulative } => {
                out.extend_from_slice(voucher);
                out.extend_from_slice(&cumulative.to_be_bytes());
            }
            Self::LeaseNote { lease, seconds } => {
                out.extend_from_slice(lease);
                out.extend_from_slice(&seconds.to_be_bytes());
            }
            Self::Delivery {
                provider,
                seq,
                chunk_root,
                bytes,
                fee,
            } => {
                out.extend_from_slice(provider);
                out.extend_from_slice(&seq.to_be_bytes());
                out.extend_from_slice(chunk_root);
                out.extend_from_slice(&bytes.to_be_bytes());
                out.extend_from_slice(&fee.to_be_bytes());
            }
            Self::Endorsement {
                miner,
                incarnation,
                keyset,
            } => {
                out.extend_from_slice(miner);
                out.extend_from_slice(&incarnation.to_be_bytes());
                out.extend_from_slice(keyset);
            }
            Self::ValidatorEndorsement {
                validator,
                incarnation,
                key,
                evidence,
                tier,
                simulated,
            } => {
                out.extend_from_slice(validator);
                out.extend_from_slice(&incarnation.to_be_bytes());
                out.extend_from_slice(key);
                out.extend_from_slice(evidence);
                out.push(*tier);
                out.push(u8::from(*simulated));
            }
        }
        out
    }
}

impl MiningWallet {
    /// Signs one of a closed list of statements for one network.
    ///
    /// # Errors
    /// [`WalletError::Crypto`] if the random generator fails.
    pub fn sign_statement(&self, network: &Network, statement: &Statement) -> Result<Vec<u8>, WalletError> {
        let signed: Result<Vec<u8>, PqcError> = self
            .signer_key()
            .sign(statement.domain().as_str(), &statement.encode(network));
        Ok(signed?)
    }
}
