//! A client that has only the genesis: follows the committees from one epoch to the next, and sees what stands in a final state.

use hanzo_attestation::Digest256;
use hanzo_attestation::merkle::{inclusion_path, leaf_hash, root_from_path};
use hanzo_ledger::claim::Claim;
use hanzo_ledger::{
    Account, Action, Address, BLOCK_TXS_MAX, Block, Bounded, Canonical, DecodeError, Genesis, Header, InferencePay,
    Key, List, Network, NotProven, Proof, Reader, Reject, SignedTx, State, Value, key_digest,
};

use crate::certificate::{FinalHeader, FinalityCertificate, FinalityError, verify_finality};
use crate::set::{SetError, VALIDATOR_SET_BYTES_MAX, Validator, ValidatorSet};

const VERSION: u8 = 1;
/// Longest light proof in bytes.
pub const LIGHT_PROOF_BYTES_MAX: usize = 32 << 20;
/// Most epochs that one proof leads through; `--save-set` and the like go on from there.
pub const HANDOVERS_MAX: usize = 256;
/// Most headers from a shown block to the certified one.
pub const HEADERS_MAX: usize = 1024;
/// Most hashes from a transaction to its block's root.
const PATH_MAX: usize = BLOCK_TXS_MAX.ilog2() as usize;

/// How a client gets from the committee of one epoch to that of the next.
///
/// # Layout
/// Certificate, proof of the state's entry of the next committee, the next validator set (its bytes as [`ValidatorSet::to_bytes`],
/// after a u32 length).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// Of a block of the earlier epoch.
    pub certificate: FinalityCertificate,
    /// Of [`Key::Committee`] in the state after that block.
    pub proof: Proof,
    /// The committee with its keys: a [`ValidatorSet`].
    pub next: Bounded<VALIDATOR_SET_BYTES_MAX>,
}

impl Canonical for Handover {
    fn write(&self, out: &mut Vec<u8>) {
        self.certificate.write(out);
        self.proof.write(out);
        self.next.write(out);
    }

    fn read(from: &mut Reader<'_>, _what: &'static str) -> Result<Self, DecodeError> {
        Ok(Self {
            certificate: Canonical::read(from, "Handover.certificate")?,
            proof: Canonical::read(from, "Handover.proof")?,
            next: Canonical::read(from, "Handover.next")?,
        })
    }
}

/// The committee that a state names for `epoch`; `None` unless that is its own epoch or the next, or if it names nobody.
///
/// # Errors
/// As [`ValidatorSet::new`].
pub fn committee_of(state: &State, epoch: u64) -> Result<Option<ValidatorSet>, SetError> {
    let Some(committee) = state.committee(epoch).filter(|c| !c.members.is_empty()) else {
        return Ok(None);
    };
    let each = committee.members.iter().map(|member| {
        let key = state.consensus_key(&member.key)?;
        Some(Validator {
            id: member.validator,
            key: key.public.clone(),
        })
    });
    match each.collect::<Option<Vec<_>>>() {
        Some(members) => ValidatorSet::new(epoch, members).map(Some),
        None => Ok(None),
    }
}

impl Handover {
    /// To the epoch after `state`'s, which must be that after the certified block; `None` otherwise, or if it names nobody.
    ///
    /// # Errors
    /// As [`ValidatorSet::new`].
    pub fn of(certificate: FinalityCertificate, state: &State) -> Result<Option<Self>, SetError> {
        let epoch = state.head().beacon.epoch.saturating_add(1);
        if certificate.header.state_root != state.root() {
            return Ok(None);
        }
        let next = committee_of(state, epoch)?.and_then(|set| Bounded::new(set.to_bytes()));
        Ok(next.map(|next| Self {
            certificate,
            proof: state.prove(&Key::Committee(epoch)),
            next,
        }))
    }
}

impl Inclusion {
    /// Of the transaction `index` of `block`; `None` if it has fewer.
    pub fn of(block: &Block, index: usize) -> Option<Self> {
        let leaves: Vec<_> = block.txs.iter().map(|tx| leaf_hash(&[&tx.to_bytes()])).collect();
        Some(Self {
            index: index as u64,
            count: leaves.len() as u64,
            path: List::new(inclusion_path(&leaves, index)?)?,
            tx: block.txs.get(index)?.clone(),
        })
    }
}

/// A transaction's place in its block.
///
/// # Layout
/// Index u64, count u64, path (u16 count, 32 bytes each, lowest first), signed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inclusion {
    /// From 0.
    pub index: u64,
    /// Transactions in the block.
    pub count: u64,
    /// RFC 6962, lowest first.
    pub path: List<Digest256, PATH_MAX>,
    /// The transaction.
    pub tx: SignedTx,
}

impl Canonical for Inclusion {
    fn write(&self, out: &mut Vec<u8>) {
        self.index.write(out);
        self.count.write(out);
        self.path.write(out);
        self.tx.write(out);
    }

    fn read(from: &mut Reader<'_>, _what: &'static str) -> Result<Self, DecodeError> {
        Ok(Self {
            index: Canonical::read(from, "Inclusion.index")?,
            count: Canonical::read(from, "Inclusion.count")?,
            path: Canonical::read(from, "Inclusion.path")?,
            tx: Canonical::read(from, "Inclusion.tx")?,
        })
    }
}

/// What a light proof shows of its block.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one in a proof, and entries are what is mostly shown"
)]
pub enum Subject {
    /// That it is final.
    Block,
    /// An entry of the state after it, or that there is none.
    Entry(Proof),
    /// A transaction in it.
    Transaction(Box<Inclusion>),
}

/// Everything that a client needs besides what it trusts. Nobody checked it yet.
///
/// # Layout
/// Version 1; handovers (u16 count, oldest first); certificate; headers (u16 count) from the shown block to the certified one's parent,
/// none if the certified block is shown; then 0, or 1 and a state proof, or 2 and an inclusion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LightProof {
    /// From the client's committee to the certificate's.
    pub handovers: List<Handover, HANDOVERS_MAX>,
    /// That a block is final.
    pub certificate: FinalityCertificate,
    /// From the shown block to the certified one's parent.
    pub headers: List<Header, HEADERS_MAX>,
    /// What is shown.
    pub subject: Subject,
}

impl Canonical for LightProof {
    fn write(&self, out: &mut Vec<u8>) {
        VERSION.write(out);
        self.handovers.write(out);
        self.certificate.write(out);
        self.headers.write(out);
        match &self.subject {
            Subject::Block => 0_u8.write(out),
            Subject::Entry(proof) => {
                1_u8.write(out);
                proof.write(out);
            }
            Subject::Transaction(inclusion) => {
                2_u8.write(out);
                inclusion.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>, _what: &'static str) -> Result<Self, DecodeError> {
        let tag = |what, expected, got| DecodeError::Tag { what, expected, got };
        let version = u8::read(from, "LightProof.version")?;
        if version != VERSION {
            return Err(tag("LightProof.version", "1", version));
        }
        Ok(Self {
            handovers: Canonical::read(from, "LightProof.handovers")?,
            certificate: Canonical::read(from, "LightProof.certificate")?,
            headers: Canonical::read(from, "LightProof.headers")?,
            subject: match u8::read(from, "LightProof.subject")? {
                0 => Subject::Block,
                1 => Subject::Entry(Canonical::read(from, "LightProof.entry")?),
                2 => Subject::Transaction(Box::new(Canonical::read(from, "LightProof.transaction")?)),
                got => {
                    let expected = "0 (block), 1 (entry) or 2 (transaction)";
                    return Err(tag("LightProof.subject", expected, got));
                }
            },
        })
    }
}

impl LightProof {
    /// Reads one light proof and nothing after it.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_bytes("light proof", bytes, LIGHT_PROOF_BYTES_MAX)
    }
}

/// Why a light client does not believe a proof.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LightError {
    /// The bytes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A block.
    #[error(transparent)]
    Finality(#[from] FinalityError),
    /// A validator set.
    #[error(transparent)]
    Set(#[from] SetError),
    /// A certificate of an epoch whose committee is not known.
    #[error(
        "light client: epoch: the certificate is of {got}, committees are known up to {known}: bring the handovers between them, or a newer set"
    )]
    Epoch {
        /// The newest that is known.
        known: u64,
        /// The certificate's.
        got: u64,
    },
    /// A handover that does not lead to the next epoch.
    #[error(
        "light client: handover: expected the committee of epoch {expected}, got {got}: handovers go from epoch to epoch"
    )]
    Step {
        /// The next.
        expected: u64,
        /// The handover's.
        got: u64,
    },
    /// A state proof.
    #[error(transparent)]
    NotProven(#[from] NotProven),
    /// A state that names nobody for an epoch.
    #[error("light client: handover: the state names nobody for epoch {epoch}: the chain ends there")]
    Nobody {
        /// Which epoch.
        epoch: u64,
    },
    /// Another committee than the state names.
    #[error("light client: handover: the set of epoch {epoch} is not the committee that the final state names")]
    Members {
        /// Which epoch.
        epoch: u64,
    },
    /// A proof of something else than what is asked for.
    #[error("light client: proof: expected one that shows {expected}, got one that shows {got}")]
    Subject {
        /// Asked for.
        expected: &'static str,
        /// There.
        got: &'static str,
    },
    /// A transaction that is not in the block.
    #[error("light client: transaction: its path does not lead to the block's tx_root {expected}")]
    Inclusion {
        /// Of the final header.
        expected: Digest256,
    },
    /// A transaction that pays no answer.
    #[error("light client: transaction: expected a claim for an answer, got another one")]
    NotAClaim,
    /// A claim for another receipt.
    #[error("light client: receipt: the block pays receipt {got}, not {expected}")]
    Receipt {
        /// SHA-256 of the caller's.
        expected: Digest256,
        /// Of the claim's.
        got: Digest256,
    },
    /// Terms that cannot be counted with.
    #[error(transparent)]
    Terms(#[from] Reject),
}

impl LightError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Decode(e) => e.code(),
            Self::Finality(e) => e.code(),
            Self::Set(e) => e.code(),
            Self::Epoch { .. } => "chain.light.epoch",
            Self::Step { .. } => "chain.light.step",
            Self::NotProven(_) => "chain.light.not_proven",
            Self::Nobody { .. } => "chain.light.nobody",
            Self::Members { .. } => "chain.light.members",
            Self::Subject { .. } => "chain.light.subject",
            Self::Inclusion { .. } => "chain.light.inclusion",
            Self::NotAClaim => "chain.light.not_a_claim",
            Self::Receipt { .. } => "chain.light.receipt",
            Self::Terms(e) => e.code(),
        }
    }
}

/// What an answer earned, in a final block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaidAnswer {
    /// Who was paid.
    pub miner: Address,
    /// Who paid.
    pub customer: Address,
    /// What the customer paid, what of it went back to the pool, and the reward; base units.
    pub pay: InferencePay,
    /// SHA-256 of the transaction.
    pub tx: Digest256,
}

/// A client that trusts one committee, and those that follow from it.
#[derive(Debug, Clone)]
pub struct LightClient {
    network: Network,
    /// Of successive epochs; never empty.
    sets: Vec<ValidatorSet>,
}

impl LightClient {
    /// Of a genesis, which names the committee of its first two epochs.
    ///
    /// # Errors
    /// [`LightError::Set`].
    pub fn of_genesis(genesis: &Genesis) -> Result<Self, LightError> {
        let members = || {
            let each = genesis.validators.iter();
            each.map(|first| Validator {
                id: first.owner,
                key: first.key.clone(),
            })
        };
        let set = |epoch| ValidatorSet::new(epoch, members().collect());
        Ok(Self {
            network: genesis.network(),
            sets: vec![set(0)?, set(1)?],
        })
    }

    /// Of a state that the caller knows to be the chain's: the committees of its epoch and of the next.
    ///
    /// # Errors
    /// [`LightError::Set`]; [`LightError::Nobody`] if it names nobody for its own epoch.
    pub fn of_state(state: &State) -> Result<Self, LightError> {
        let epoch = state.genesis().params.epoch_of(state.head().height);
        let mut sets = vec![committee_of(state, epoch)?.ok_or(LightError::Nobody { epoch })?];
        sets.extend(committee_of(state, epoch.saturating_add(1))?);
        let network = *state.network();
        Ok(Self { network, sets })
    }

    /// Which chain.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Of a set that the caller knows to be the chain's.
    pub fn of_set(network: Network, set: ValidatorSet) -> Self {
        let sets = vec![set];
        Self { network, sets }
    }

    /// The committee of the newest epoch that is known.
    pub fn newest(&self) -> Option<&ValidatorSet> {
        self.sets.last()
    }

    /// Whether a block is final.
    ///
    /// # Errors
    /// [`LightError::Epoch`], [`LightError::Finality`].
    pub fn finality(&self, certificate: &FinalityCertificate) -> Result<FinalHeader, LightError> {
        let got = certificate.epoch;
        let set = self.sets.iter().find(|set| set.epoch() == got);
        let known = self.newest().map_or(0, ValidatorSet::epoch);
        let set = set.ok_or(LightError::Epoch { known, got })?;
        Ok(verify_finality(&self.network, set, certificate)?)
    }

    /// Goes on to the next epoch.
    ///
    /// # Establishes
    /// A final state names exactly the members of the new set, with these keys, for the epoch after the newest known.
    ///
    /// # Errors
    /// [`LightError`]; what was known stays.
    pub fn follow(&mut self, handover: &Handover) -> Result<(), LightError> {
        let block = self.finality(&handover.certificate)?;
        let next = ValidatorSet::parse(&handover.next)?;
        let epoch = next.epoch();
        let expected = self.newest().map_or(0, ValidatorSet::epoch).saturating_add(1);
        if epoch != expected {
            return Err(LightError::Step { expected, got: epoch });
        }
        let value = handover
            .proof
            .verify(&block.header().state_root, &Key::Committee(epoch))?;
        let Some(Value::Committee(committee)) = value else {
            return Err(LightError::Nobody { epoch });
        };
        if committee.members.is_empty() {
            return Err(LightError::Nobody { epoch });
        }
        let named = |v: &Validator| {
            let mut members = committee.members.iter();
            members.any(|m| m.validator == v.id && m.key == key_digest(&v.key))
        };
        let set = next.validators();
        // Accounts are in a set once, so that equal numbers and each one named are all of them.
        if set.len() != committee.members.len() || !set.iter().all(named) {
            return Err(LightError::Members { epoch });
        }
        self.sets.push(next);
        Ok(())
    }

    /// The block that a proof shows, after all its handovers.
    ///
    /// # Errors
    /// [`LightError`].
    pub fn block(&mut self, proof: &LightProof) -> Result<FinalHeader, LightError> {
        for handover in proof.handovers.iter() {
            self.follow(handover)?;
        }
        Ok(self.finality(&proof.certificate)?.ancestor(&proof.headers)?)
    }

    /// What an account has in the state after a final block; an account that is not there has nothing.
    ///
    /// # Errors
    /// [`LightError`].
    pub fn account(&mut self, proof: &LightProof, account: &Address) -> Result<(FinalHeader, Account), LightError> {
        let Subject::Entry(entry) = &proof.subject else {
            return Err(proof.shows_no("an entry of the state"));
        };
        let block = self.block(proof)?;
        let value = entry.verify(&block.header().state_root, &Key::Account(*account))?;
        let account = match value {
            Some(Value::Account(account)) => *account,
            _ => Account::default(),
        };
        Ok((block, account))
    }

    /// What the answer of `receipt` (the canonical bytes of a signed receipt) earned in a final block.
    ///
    /// # Establishes
    /// A final block holds the claim for exactly these bytes; a block holds a claim only if it was paid, once. The amounts are those
    /// of the genesis' rules.
    ///
    /// # Errors
    /// [`LightError`].
    pub fn reward(
        &mut self,
        proof: &LightProof,
        genesis: &Genesis,
        receipt: &[u8],
    ) -> Result<(FinalHeader, PaidAnswer), LightError> {
        let Subject::Transaction(inclusion) = &proof.subject else {
            return Err(proof.shows_no("a transaction"));
        };
        let block = self.block(proof)?;
        let (tx, expected) = (&inclusion.tx, block.header().tx_root);
        let leaf = leaf_hash(&[&tx.to_bytes()]);
        let root = root_from_path(leaf, inclusion.index, inclusion.count, &inclusion.path);
        if root != Some(expected) {
            return Err(LightError::Inclusion { expected });
        }
        let Action::Claim(Claim::Inference(claim)) = &tx.tx.action else {
            return Err(LightError::NotAClaim);
        };
        if *claim.receipt != *receipt {
            return Err(LightError::Receipt {
                expected: Digest256::of(receipt),
                got: Digest256::of(&claim.receipt),
            });
        }
        let paid = PaidAnswer {
            miner: Address::of(&tx.tx.sender),
            customer: Address::of(&claim.customer),
            pay: genesis.params.inference_pay(claim)?,
            tx: tx.tx.digest(),
        };
        Ok((block, paid))
    }
}

impl LightProof {
    fn shows_no(&self, expected: &'static str) -> LightError {
        let got = match &self.subject {
            Subject::Block => "a block alone",
            Subject::Entry(_) => "an entry of the state",
            Subject::Transaction(_) => "a transaction",
        };
        LightError::Subject { expected, got }
    }
}
