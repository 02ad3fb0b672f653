//! How the key of a later boot gets onto the chain: other validators, which appraised its evidence when the link was made, endorse it;
//! the validator puts their words into a transaction of its own.
//!
//! # Layout
//! On channel [`CHANNEL`]: `0` asks the peer to endorse the key of this very link. The answer is `1 || incarnation u64 || registrar
//! u16 || tier u8 || simulated u8 || signature 3309`.

use std::collections::BTreeMap;

use hanzo_attestation::Digest256;
use hanzo_chain_links::{Greeting, Peer};
use hanzo_ledger::{
    Action, Address, Canonical, DecodeError, EndorsedKey, Endorsement, List, MlDsaSignature, NewKey, Reader,
    RegisterValidator, RotateConsensusKey, SignedTx, State, Tx, message,
};
use hanzo_pqc::Domain;
use hanzo_pqc::dsa::{MlDsa65, VerifyingKey};
use hanzo_signer::{MiningWallet, Statement};

use crate::boot::{Account, ConsensusKey, ledger_key, signer_network};

/// The channel.
pub const CHANNEL: u64 = 2;
/// Longest message in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1 + 8 + 2 + 1 + 1 + 3309;
/// Blocks that a rotation may wait.
const EXPIRES_AFTER: u64 = 10_000;

/// A registrar's word about the key of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Of the key.
    pub incarnation: u64,
    /// Place in the genesis' list.
    pub registrar: u16,
    /// What it appraised the evidence at.
    pub tier: u8,
    /// Whether the evidence is a simulator's.
    pub simulated: bool,
    /// Over [`EndorsedKey`].
    pub signature: MlDsaSignature,
}

/// A message of this channel.
pub enum Message {
    /// Asks.
    Ask,
    /// Answers.
    Word(Box<Word>),
}

impl Canonical for Message {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ask => out.push(0),
            Self::Word(word) => {
                out.push(1);
                word.incarnation.write(out);
                word.registrar.write(out);
                word.tier.write(out);
                word.simulated.write(out);
                word.signature.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
        match u8::read(from, what)? {
            0 => Ok(Self::Ask),
            1 => Ok(Self::Word(Box::new(Word {
                incarnation: Canonical::read(from, "word.incarnation")?,
                registrar: Canonical::read(from, "word.registrar")?,
                tier: Canonical::read(from, "word.tier")?,
                simulated: Canonical::read(from, "word.simulated")?,
                signature: Canonical::read(from, "word.signature")?,
            }))),
            got => Err(DecodeError::Tag {
                what: "endorsement",
                expected: "0 or 1",
                got,
            }),
        }
    }
}

fn endorsed(greeting: &Greeting, tier: u8, simulated: bool) -> EndorsedKey {
    EndorsedKey {
        validator: greeting.keys.validator,
        incarnation: greeting.keys.incarnation,
        key: greeting.keys.key_digest(),
        evidence: Digest256::of(&greeting.evidence),
        tier,
        simulated,
    }
}

/// This registrar's word about the key of a peer's link; none if this wallet is no registrar's, or the key is not the validator's next.
pub fn endorse(registrar: &MiningWallet, state: &State, peer: &Peer) -> Option<Word> {
    let key = ledger_key(registrar.public()).ok()?;
    let place = state.genesis().registrars.iter().position(|held| *held == key)?;
    let keys = &peer.greeting.keys;
    // Of a candidate the chain has none: its link is there because this registrar's operator names it.
    let registered = state.validator(&keys.validator).map_or(0, |held| held.incarnation);
    if registered.checked_add(1) != Some(keys.incarnation) || state.consensus_key(&keys.key_digest()).is_some() {
        return None;
    }
    let word = endorsed(&peer.greeting, peer.appraised.tier, peer.appraised.simulated);
    let statement = Statement::ValidatorEndorsement {
        validator: word.validator.0,
        incarnation: word.incarnation,
        key: word.key.0,
        evidence: word.evidence.0,
        tier: word.tier,
        simulated: word.simulated,
    };
    let signature = registrar
        .sign_statement(&signer_network(state.network()), &statement)
        .ok()?;
    Some(Word {
        incarnation: word.incarnation,
        registrar: u16::try_from(place).ok()?,
        tier: word.tier,
        simulated: word.simulated,
        signature: hanzo_ledger::Fixed::new(&signature)?,
    })
}

/// Words about this boot's key until there are enough, then the transaction.
#[derive(Default)]
pub struct Rotation {
    /// By what they say; then by registrar.
    words: BTreeMap<(u8, bool), BTreeMap<u16, MlDsaSignature>>,
    made: Option<SignedTx>,
}

impl Rotation {
    /// Keeps a word that verifies.
    pub fn hear(&mut self, state: &State, greeting: &Greeting, word: &Word) -> bool {
        let registrars = &state.genesis().registrars;
        let Some(key) = registrars.get(usize::from(word.registrar)) else {
            return false;
        };
        let said = message(state.network(), &endorsed(greeting, word.tier, word.simulated));
        let bytes = Domain::ValidatorEndorsement.signed_bytes(&said);
        let good = word.incarnation == greeting.keys.incarnation
            && VerifyingKey::<MlDsa65>::from_bytes(key)
                .and_then(|key| key.verify(&bytes, &word.signature))
                .is_ok();
        if good {
            let same = self.words.entry((word.tier, word.simulated)).or_default();
            same.insert(word.registrar, word.signature.clone());
        }
        good
    }

    /// The transaction, once enough registrars said the same. It stays the same one until the account's nonce moves on. `bond`: for an
    /// account that is no validator yet.
    pub fn transaction(
        &mut self,
        state: &State,
        greeting: &Greeting,
        key: (&MlDsaSignature, u64),
        bond: Option<u128>,
        account: &Account,
    ) -> Option<SignedTx> {
        let nonce = state.account(&account.address()).nonce;
        if self.made.as_ref().is_some_and(|tx| tx.tx.nonce >= nonce) {
            return self.made.clone();
        }
        let threshold = usize::from(state.genesis().threshold);
        let ((tier, simulated), words) = self.words.iter().find(|(_, words)| words.len() >= threshold)?;
        let endorsements = words.iter().map(|(registrar, signature)| Endorsement {
            registrar: *registrar,
            signature: signature.clone(),
        });
        let (possession, incarnation) = key;
        let new = NewKey {
            incarnation,
            key: greeting.keys.consensus.clone(),
            evidence: Digest256::of(&greeting.evidence),
            tier: *tier,
            simulated: *simulated,
            possession: possession.clone(),
            endorsements: List::new(endorsements.collect())?,
        };
        let tx = Tx {
            network: *state.network(),
            sender: account.public().clone(),
            nonce,
            fee: 0,
            expires: state.head().height.saturating_add(EXPIRES_AFTER),
            action: match bond {
                Some(bond) => Action::RegisterValidator(RegisterValidator { bond, key: new }),
                None => Action::RotateConsensusKey(RotateConsensusKey {
                    owner: greeting.owner.clone(),
                    key: new,
                    signature: greeting.signature.clone(),
                }),
            },
        };
        self.made = account.transaction(tx);
        self.made.clone()
    }
}

/// Whether the chain has this boot's key, still waits for it, or has gone past it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// The chain has it.
    Done,
    /// It is the next one.
    Next,
    /// The chain has another key of this incarnation or a later one; this is the number that the next must have.
    Past {
        /// Of the next key.
        next: u64,
    },
    /// This incarnation comes after one that the chain never saw; this is the number that the next must have.
    Early {
        /// Of the next key.
        next: u64,
    },
    /// The account is no validator.
    Nobody,
}

/// Where this boot's key stands in a state.
pub fn registration(state: &State, greeting: &Greeting) -> Registration {
    let keys = &greeting.keys;
    let Some(validator) = state.validator(&keys.validator) else {
        return match keys.incarnation {
            ..=1 => Registration::Nobody,
            _ => Registration::Early { next: 1 },
        };
    };
    let next = validator.incarnation.saturating_add(1);
    match keys.incarnation.cmp(&next) {
        _ if validator.key == keys.key_digest() => Registration::Done,
        std::cmp::Ordering::Equal => Registration::Next,
        std::cmp::Ordering::Less => Registration::Past { next },
        std::cmp::Ordering::Greater => Registration::Early { next },
    }
}

/// What an account that is no validator puts at stake to become one, `bond` or the genesis' least; none while it has too little.
pub fn stake(state: &State, account: &Address, bond: Option<u128>) -> Option<u128> {
    let least = state.genesis().params.stake_min;
    let wanted = bond.unwrap_or(least).max(least);
    let bonded = state.stake(account).bonded;
    let missing = wanted.saturating_sub(bonded);
    (state.account(account).balance >= missing).then_some(missing)
}

/// What a boot's key needs for a rotation; none of a key that a genesis names.
pub fn of(key: &ConsensusKey) -> Option<(MlDsaSignature, u64)> {
    key.possession.clone().map(|possession| (possession, key.incarnation))
}
