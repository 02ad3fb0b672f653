//! What can be asked of a signer: a closed list of kinds, each of one role and one network.
//!
//! # Layout
//! Every field has a fixed width and is big endian; nothing may follow.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | kind ([`Kind`]) |
//! | 1 | kind of the network ([`NetworkKind`]) |
//! | 8 | number of the network |
//! | 32 | digest of its genesis |
//! | … | fields of the kind, in the order of its struct |
//!
//! What is signed is `SHA-256(domain string of the kind) || these bytes`.

use hanzo_pqc::Domain;

use crate::SignerError;
use crate::codec::{Cursor, sha256};

const VERSION: u8 = 1;

/// What a key is for. A key has one role and signs no other role's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Votes of a validator.
    Consensus,
    /// Receipts for mining work.
    Receipt,
    /// Transactions of an account.
    Wallet,
    /// Messages to and from other chains.
    Bridge,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Consensus, Self::Receipt, Self::Wallet, Self::Bridge];

    /// The byte that stands for it in journals.
    pub const fn tag(self) -> u8 {
        match self {
            Self::Consensus => 1,
            Self::Receipt => 2,
            Self::Wallet => 3,
            Self::Bridge => 4,
        }
    }

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Receipt => "receipt",
            Self::Wallet => "wallet",
            Self::Bridge => "bridge",
        }
    }
}

/// What sort of chain a number names: 36963 alone is an AI chain's network and an EVM's chain id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NetworkKind {
    /// The AI chain.
    AiChain,
    /// An EVM chain.
    Evm,
}

impl NetworkKind {
    const fn tag(self) -> u8 {
        match self {
            Self::AiChain => 1,
            Self::Evm => 2,
        }
    }

    fn from_tag(tag: u8) -> Option<Self> {
        [Self::AiChain, Self::Evm].into_iter().find(|kind| kind.tag() == tag)
    }
}

/// Which chain. Three parts, so that no fork, testnet or EVM of the same number is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    /// What sort of chain.
    pub kind: NetworkKind,
    /// Its number.
    pub id: u64,
    /// Digest of its genesis.
    pub genesis: [u8; 32],
}

impl Network {
    /// An AI chain: 36963 is the mainnet, 36964 the testnet.
    pub const fn ai_chain(id: u64, genesis: [u8; 32]) -> Self {
        let kind = NetworkKind::AiChain;
        Self { kind, id, genesis }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.kind.tag()];
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&self.genesis);
        out
    }

    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        let kind = NetworkKind::from_tag(cursor.u8()?)?;
        let (id, genesis) = (cursor.u64()?, cursor.array()?);
        Some(Self { kind, id, genesis })
    }
}

/// A proposal that is notarized or finalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Vote {
    /// Epoch of the validator set.
    pub epoch: u64,
    /// View within the epoch.
    pub view: u64,
    /// View of the parent.
    pub parent: u64,
    /// Digest of the block.
    pub payload: [u8; 32],
}

/// The claim that releases on another chain what was escrowed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Number of the EVM chain.
    pub chain_id: u64,
    /// Contract there.
    pub contract: [u8; 20],
    /// Which teleport.
    pub teleport_id: [u8; 32],
    /// Token there.
    pub token: [u8; 20],
    /// Who gets it there.
    pub recipient: [u8; 20],
    /// Base units.
    pub amount: u128,
    /// Height of the finalized block here.
    pub height: u64,
    /// Digest of that block.
    pub block: [u8; 32],
    /// Who signs: digest of the validator set.
    pub validator_set: [u8; 32],
    /// Epoch of the claim; a later set signs the same terms again under a later epoch.
    pub claim_epoch: u64,
}

/// An event that was seen, finalized, on another chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Observed {
    /// Number of the EVM chain.
    pub chain_id: u64,
    /// Contract there.
    pub contract: [u8; 20],
    /// Nonce of the burn: the replay key.
    pub burn_nonce: u64,
    /// Block of the event.
    pub block: [u8; 32],
    /// Place of the event in the block.
    pub log_index: u32,
    /// Which teleport.
    pub teleport_id: [u8; 32],
}

/// The fields of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// First round of a view.
    Notarize(Vote),
    /// Give a view up.
    Nullify {
        /// Epoch of the validator set.
        epoch: u64,
        /// View within the epoch.
        view: u64,
    },
    /// Second round of a view.
    Finalize(Vote),
    /// This consensus key belongs to that validator in that incarnation.
    Possession {
        /// The validator's account.
        validator: [u8; 32],
        /// Strictly increasing.
        incarnation: u64,
        /// [`crate::PublicKey::digest`] of the key that signs.
        key: [u8; 32],
    },
    /// A receipt for work.
    MiningReceipt {
        /// Strictly increasing for each key.
        seq: u64,
        /// Account that is paid.
        miner: [u8; 32],
        /// Digest of the receipt's canonical bytes.
        body: [u8; 32],
    },
    /// A transaction of the account that belongs to this key.
    Transaction {
        /// The account's.
        nonce: u64,
        /// Digest of the transaction's canonical bytes.
        body: [u8; 32],
    },
    /// A validator's owner gives it a consensus key.
    RotateKey {
        /// The validator's account.
        validator: [u8; 32],
        /// Strictly increasing.
        incarnation: u64,
        /// [`crate::PublicKey::digest`] of the consensus key.
        key: [u8; 32],
        /// Digest of the attestation evidence.
        evidence: [u8; 32],
    },
    /// Release elsewhere.
    TeleportClaim(Claim),
    /// Seen elsewhere.
    EvmObserved(Observed),
}

/// The closed list of kinds, with their domain strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// [`Subject::Notarize`].
    Notarize,
    /// [`Subject::Nullify`].
    Nullify,
    /// [`Subject::Finalize`].
    Finalize,
    /// [`Subject::Possession`].
    Possession,
    /// [`Subject::MiningReceipt`].
    MiningReceipt,
    /// [`Subject::Transaction`].
    Transaction,
    /// [`Subject::RotateKey`].
    RotateKey,
    /// [`Subject::TeleportClaim`].
    TeleportClaim,
    /// [`Subject::EvmObserved`].
    EvmObserved,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Notarize,
        Self::Nullify,
        Self::Finalize,
        Self::Possession,
        Self::MiningReceipt,
        Self::Transaction,
        Self::RotateKey,
        Self::TeleportClaim,
        Self::EvmObserved,
    ];

    /// The byte that stands for it.
    pub const fn tag(self) -> u8 {
        match self {
            Self::Notarize => 1,
            Self::Nullify => 2,
            Self::Finalize => 3,
            Self::Possession => 4,
            Self::MiningReceipt => 16,
            Self::Transaction => 32,
            Self::RotateKey => 33,
            Self::TeleportClaim => 48,
            Self::EvmObserved => 49,
        }
    }

    /// Whose keys sign it.
    pub const fn role(self) -> Role {
        match self {
            Self::Notarize | Self::Nullify | Self::Finalize | Self::Possession => Role::Consensus,
            Self::MiningReceipt => Role::Receipt,
            Self::Transaction | Self::RotateKey => Role::Wallet,
            Self::TeleportClaim | Self::EvmObserved => Role::Bridge,
        }
    }

    /// The domain string.
    pub const fn domain(self) -> &'static str {
        match self {
            Self::Notarize => Domain::ChainNotarize.as_str(),
            Self::Nullify => Domain::ChainNullify.as_str(),
            Self::Finalize => Domain::ChainFinalize.as_str(),
            Self::Possession => Domain::ChainPossession.as_str(),
            Self::MiningReceipt => "hanzo/signed-mining-receipt/v1",
            Self::Transaction => Domain::Transaction.as_str(),
            Self::RotateKey => Domain::RotateKey.as_str(),
            Self::TeleportClaim => "hanzo/teleport-claim/v1",
            Self::EvmObserved => "hanzo/evm-observed/v1",
        }
    }

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Notarize => "notarize",
            Self::Nullify => "nullify",
            Self::Finalize => "finalize",
            Self::Possession => "possession",
            Self::MiningReceipt => "mining receipt",
            Self::Transaction => "transaction",
            Self::RotateKey => "rotate key",
            Self::TeleportClaim => "teleport claim",
            Self::EvmObserved => "evm observed",
        }
    }
}

/// One request: a network and what is said on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignRequest {
    /// Which chain.
    pub network: Network,
    /// What.
    pub subject: Subject,
}

impl SignRequest {
    /// Longest encoding in bytes.
    pub const BYTES_MAX: usize = 512;

    /// A notarization.
    pub const fn notarize(network: Network, vote: Vote) -> Self {
        let subject = Subject::Notarize(vote);
        Self { network, subject }
    }

    /// A nullification.
    pub const fn nullify(network: Network, epoch: u64, view: u64) -> Self {
        let subject = Subject::Nullify { epoch, view };
        Self { network, subject }
    }

    /// A finalization.
    pub const fn finalize(network: Network, vote: Vote) -> Self {
        let subject = Subject::Finalize(vote);
        Self { network, subject }
    }

    /// The kind.
    pub const fn kind(&self) -> Kind {
        match self.subject {
            Subject::Notarize(_) => Kind::Notarize,
            Subject::Nullify { .. } => Kind::Nullify,
            Subject::Finalize(_) => Kind::Finalize,
            Subject::Possession { .. } => Kind::Possession,
            Subject::MiningReceipt { .. } => Kind::MiningReceipt,
            Subject::Transaction { .. } => Kind::Transaction,
            Subject::RotateKey { .. } => Kind::RotateKey,
            Subject::TeleportClaim(_) => Kind::TeleportClaim,
            Subject::EvmObserved(_) => Kind::EvmObserved,
        }
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.kind().tag()];
        out.extend_from_slice(&self.network.encode());
        match &self.subject {
            Subject::Notarize(vote) | Subject::Finalize(vote) => {
                for number in [vote.epoch, vote.view, vote.parent] {
                    out.extend_from_slice(&number.to_be_bytes());
                }
                out.extend_from_slice(&vote.payload);
            }
            Subject::Nullify { epoch, view } => {
                out.extend_from_slice(&epoch.to_be_bytes());
                out.extend_from_slice(&view.to_be_bytes());
            }
            Subject::Possession {
                validator,
                incarnation,
                key,
            } => {
                out.extend_from_slice(validator);
                out.extend_from_slice(&incarnation.to_be_bytes());
                out.extend_from_slice(key);
            }
            Subject::MiningReceipt { seq, miner, body } => {
                out.extend_from_slice(&seq.to_be_bytes());
                out.extend_from_slice(miner);
                out.extend_from_slice(body);
            }
            Subject::Transaction { nonce, body } => {
                out.extend_from_slice(&nonce.to_be_bytes());
                out.extend_from_slice(body);
            }
            Subject::RotateKey {
                validator,
                incarnation,
                key,
                evidence,
            } => {
                out.extend_from_slice(validator);
                out.extend_from_slice(&incarnation.to_be_bytes());
                out.extend_from_slice(key);
                out.extend_from_slice(evidence);
            }
            Subject::TeleportClaim(claim) => claim.encode(&mut out),
            Subject::EvmObserved(seen) => seen.encode(&mut out),
        }
        out
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// [`SignerError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SignerError> {
        Self::read(bytes).ok_or(SignerError::Malformed {
            what: "sign request",
            got: bytes.len(),
        })
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut c = Cursor::new(bytes);
        if c.u8()? != VERSION {
            return None;
        }
        let tag = c.u8()?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.tag() == tag)?;
        let network = Network::read(&mut c)?;
        let vote = |c: &mut Cursor<'_>| {
            Some(Vote {
                epoch: c.u64()?,
                view: c.u64()?,
                parent: c.u64()?,
                payload: c.array()?,
            })
        };
        let subject = match kind {
            Kind::Notarize => Subject::Notarize(vote(&mut c)?),
            Kind::Finalize => Subject::Finalize(vote(&mut c)?),
            Kind::Nullify => Subject::Nullify {
                epoch: c.u64()?,
                view: c.u64()?,
            },
            Kind::Possession => Subject::Possession {
                validator: c.array()?,
                incarnation: c.u64()?,
                key: c.array()?,
            },
            Kind::MiningReceipt => Subject::MiningReceipt {
                seq: c.u64()?,
                miner: c.array()?,
                body: c.array()?,
            },
            Kind::Transaction => Subject::Transaction {
                nonce: c.u64()?,
                body: c.array()?,
            },
            Kind::RotateKey => Subject::RotateKey {
                validator: c.array()?,
                incarnation: c.u64()?,
                key: c.array()?,
                evidence: c.array()?,
            },
            Kind::TeleportClaim => Subject::TeleportClaim(Claim::read(&mut c)?),
            Kind::EvmObserved => Subject::EvmObserved(Observed::read(&mut c)?),
        };
        c.done(Self { network, subject })
    }

    /// SHA-256 over the domain's digest and the canonical bytes: what tells two requests apart.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&[&sha256(&[self.kind().domain().as_bytes()]), &self.encode()])
    }
}

impl Claim {
    fn encode(&self, out: &mut Vec<u8>) {
        self.encode_terms(out);
        out.extend_from_slice(&self.height.to_be_bytes());
        out.extend_from_slice(&self.block);
        out.extend_from_slice(&self.validator_set);
        out.extend_from_slice(&self.claim_epoch.to_be_bytes());
    }

    /// What no later claim of this teleport may change.
    fn encode_terms(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.chain_id.to_be_bytes());
        out.extend_from_slice(&self.contract);
        out.extend_from_slice(&self.teleport_id);
        out.extend_from_slice(&self.token);
        out.extend_from_slice(&self.recipient);
        out.extend_from_slice(&self.amount.to_be_bytes());
    }

    pub(crate) fn terms(&self) -> [u8; 32] {
        let mut out = Vec::new();
        self.encode_terms(&mut out);
        sha256(&[&out])
    }

    fn read(c: &mut Cursor<'_>) -> Option<Self> {
        Some(Self {
            chain_id: c.u64()?,
            contract: c.array()?,
            teleport_id: c.array()?,
            token: c.array()?,
            recipient: c.array()?,
            amount: c.u128()?,
            height: c.u64()?,
            block: c.array()?,
            validator_set: c.array()?,
            claim_epoch: c.u64()?,
        })
    }
}

impl Observed {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.chain_id.to_be_bytes());
        out.extend_from_slice(&self.contract);
        out.extend_from_slice(&self.burn_nonce.to_be_bytes());
        out.extend_from_slice(&self.block);
        out.extend_from_slice(&self.log_index.to_be_bytes());
        out.extend_from_slice(&self.teleport_id);
    }

    fn read(c: &mut Cursor<'_>) -> Option<Self> {
        Some(Self {
            chain_id: c.u64()?,
            contract: c.array()?,
            burn_nonce: c.u64()?,
            block: c.array()?,
            log_index: c.u32()?,
            teleport_id: c.array()?,
        })
    }
}
