//! The keys of one boot: the account's signer, the registrar's wallet, and a consensus key that is written nowhere.

use std::sync::{Arc, Mutex, PoisonError};

use hanzo_attestation::Digest256;
use hanzo_chain::{GuardedSigner, VoteSigner};
use hanzo_chain_links::LOOKING;
use hanzo_chain_types::ValidatorKeys;
use hanzo_ledger::{Address, Fixed, MlDsaSignature, Network, PublicKey, SignedTx, Tx};
use hanzo_signer::ephemeral;
use hanzo_signer::interchange::Interchange;
use hanzo_signer::{
    FreshnessError, FreshnessSource, Head, MiningWallet, Network as SignerNetwork, Role, SecurityLevel, SignRequest,
    Signer, SignerError, SignerKey, Subject, Volatile,
};
use zeroize::Zeroizing;

use crate::error::NodeError;

fn failed(error: SignerError) -> NodeError {
    NodeError::part("signer", error.code(), error)
}

/// A network as the signer names it.
pub fn signer_network(network: &Network) -> SignerNetwork {
    SignerNetwork::ai_chain(network.id, network.genesis.0)
}

/// An ML-DSA-65 key as the ledger has it.
///
/// # Errors
/// [`NodeError::Part`] for a key of another level.
pub fn ledger_key(key: &hanzo_signer::PublicKey) -> Result<PublicKey, NodeError> {
    let fixed = (key.level() == SecurityLevel::MlDsa65)
        .then(|| Fixed::new(key.as_bytes()))
        .flatten();
    fixed.ok_or_else(|| {
        let text = format!("expected ML-DSA-65, got {}: make the wallet again", key.level());
        NodeError::part("wallet", "node.wallet.level", text)
    })
}

/// The head of a journal that ends with the process, as its key's use does: of a key that this process drew, or of an account's, whose
/// nonces and incarnations the chain itself counts.
pub struct OfThisBoot(Head);

impl FreshnessSource for OfThisBoot {
    fn newest(&mut self) -> Result<Head, FreshnessError> {
        Ok(self.0)
    }

    fn advance(&mut self, from: Head, to: Head) -> Result<(), FreshnessError> {
        if from != self.0 {
            return Err(FreshnessError::Moved {
                via: "this boot",
                held: self.0.count,
                from: from.count,
            });
        }
        self.0 = to;
        Ok(())
    }
}

/// The validator's account: signs its transactions and the statement that gives it a consensus key.
///
/// Its journal lives as long as the process: what must not go back, nonces and incarnations, the chain itself counts.
pub struct Account {
    signer: Mutex<Signer<Volatile, OfThisBoot>>,
    public: PublicKey,
    network: Network,
}

impl Account {
    /// Of a wallet, on one chain.
    ///
    /// # Errors
    /// [`NodeError::Part`].
    pub fn open(wallet: MiningWallet, network: Network) -> Result<Self, NodeError> {
        let public = ledger_key(wallet.public())?;
        let key = wallet.into_key();
        let on = signer_network(&network);
        let signer = Signer::create(Role::Wallet, on, key, Volatile, OfThisBoot(Head::EMPTY)).map_err(failed)?;
        Ok(Self {
            signer: Mutex::new(signer),
            public,
            network,
        })
    }

    /// The account's key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The account.
    pub fn address(&self) -> Address {
        Address::of(&self.public)
    }

    /// Signs a request, or says in the log why not.
    pub fn sign(&self, request: &SignRequest) -> Option<Vec<u8>> {
        let mut signer = self.signer.lock().unwrap_or_else(PoisonError::into_inner);
        match signer.sign(request) {
            Ok(signature) => Some(signature.to_vec()),
            Err(error) => {
                tracing::warn!(code = error.code(), "the account did not sign: {error}");
                None
            }
        }
    }

    /// Signs a transaction of its own.
    pub fn transaction(&self, tx: Tx) -> Option<SignedTx> {
        let subject = Subject::Transaction {
            nonce: tx.nonce,
            body: tx.digest().0,
        };
        let network = signer_network(&self.network);
        let signature = self.sign(&SignRequest { network, subject })?;
        let signature = Fixed::new(&signature)?;
        Some(SignedTx { tx, signature })
    }
}

/// The seed of a consensus key that its process may leave behind ([`crate::kept`]).
pub type Seed = Zeroizing<[u8; 32]>;

/// A consensus key of this boot.
pub struct ConsensusKey {
    /// Its incarnation.
    pub incarnation: u64,
    /// The public half.
    pub public: PublicKey,
    /// Of the key itself, over the signer's request `Possession`; none of a key that a genesis names.
    pub possession: Option<MlDsaSignature>,
    /// Of the key itself, over the same request, for links: whatever the chain has of it.
    pub proof: MlDsaSignature,
    /// Casts its votes.
    pub signer: Arc<dyn VoteSigner>,
    /// Of a key under simulated evidence alone.
    pub seed: Option<Seed>,
}

/// A key whose seed is known here.
fn seeded() -> Result<(SignerKey, Seed), NodeError> {
    let failed = |e: hanzo_pqc::PqcError| NodeError::part("signer", e.code(), e);
    let mut seed = Zeroizing::new([0; 32]);
    hanzo_pqc::random::fill(seed.as_mut_slice()).map_err(failed)?;
    let key = SignerKey::from_seed(SecurityLevel::MlDsa65, &seed).map_err(failed)?;
    Ok((key, seed))
}

fn votes_of(on: SignerNetwork, key: SignerKey) -> Result<Signer<Volatile, OfThisBoot>, NodeError> {
    Signer::create(Role::Consensus, on, key, Volatile, OfThisBoot(Head::EMPTY)).map_err(failed)
}

/// The key's own word that it is `validator`'s with this number.
fn prove(
    signer: &mut Signer<Volatile, OfThisBoot>,
    network: SignerNetwork,
    validator: &Address,
    incarnation: u64,
) -> Result<MlDsaSignature, NodeError> {
    let subject = Subject::Possession {
        validator: validator.0,
        incarnation,
        key: signer.public().digest(),
    };
    let signed = signer.sign(&SignRequest { network, subject }).map_err(failed)?;
    Fixed::new(&signed).ok_or_else(|| NodeError::part("signer", "node.wallet.level", "expected an ML-DSA-65 signature"))
}

impl ConsensusKey {
    /// The key of an earlier process that left it behind, with the votes that it cast.
    ///
    /// # Errors
    /// [`NodeError::Part`] for votes of another key or chain.
    pub fn again(
        network: &Network,
        validator: &Address,
        seed: Seed,
        incarnation: u64,
        votes: &Interchange,
    ) -> Result<Self, NodeError> {
        let key = SignerKey::from_seed(SecurityLevel::MlDsa65, &seed);
        let key = key.map_err(|e| NodeError::part("signer", e.code(), e))?;
        let public = ledger_key(key.public())?;
        let on = signer_network(network);
        let mut signer = votes_of(on, key)?;
        signer.import(votes).map_err(failed)?;
        Ok(Self {
            incarnation,
            public,
            possession: None,
            proof: prove(&mut signer, on, validator, incarnation)?,
            signer: Arc::new(GuardedSigner::new(signer)),
            seed: Some(seed),
        })
    }
}

impl ConsensusKey {
    /// The key of a boot that only reads the chain. It never votes and never gets onto the chain: there its number is none.
    ///
    /// # Errors
    /// [`NodeError::Part`] if the random generator fails.
    pub fn looking(network: &Network, validator: &Address) -> Result<Self, NodeError> {
        WaitingKey::draw(false)?.of(network, validator, LOOKING)
    }
}

/// A key that waits for a genesis: the chain that it will sign for does not exist yet.
pub struct WaitingKey(SignerKey, Option<Seed>);

impl WaitingKey {
    /// Draws it; `keep`: so that its process can leave it behind.
    ///
    /// # Errors
    /// [`NodeError::Part`] if the random generator fails.
    pub fn draw(keep: bool) -> Result<Self, NodeError> {
        if keep {
            let (key, seed) = seeded()?;
            return Ok(Self(key, Some(seed)));
        }
        let drawn = SignerKey::generate(SecurityLevel::MlDsa65);
        drawn
            .map(|key| Self(key, None))
            .map_err(|e| NodeError::part("signer", e.code(), e))
    }

    /// The public half.
    ///
    /// # Errors
    /// Never for a key of its level.
    pub fn public(&self) -> Result<PublicKey, NodeError> {
        ledger_key(self.0.public())
    }

    /// Enrols it on the chain whose genesis names it.
    ///
    /// # Errors
    /// [`NodeError::Part`].
    pub fn enrol(self, network: &Network, validator: &Address) -> Result<ConsensusKey, NodeError> {
        self.of(network, validator, 1)
    }

    fn of(self, network: &Network, validator: &Address, incarnation: u64) -> Result<ConsensusKey, NodeError> {
        let public = self.public()?;
        let on = signer_network(network);
        let mut signer = votes_of(on, self.0)?;
        Ok(ConsensusKey {
            incarnation,
            public,
            possession: None,
            proof: prove(&mut signer, on, validator, incarnation)?,
            signer: Arc::new(GuardedSigner::new(signer)),
            seed: self.1,
        })
    }
}

/// Draws the key of a later boot; `keep`: so that its process can leave it behind.
///
/// # Errors
/// [`NodeError::Part`].
pub fn draw(network: &Network, validator: &Address, incarnation: u64, keep: bool) -> Result<ConsensusKey, NodeError> {
    let on = signer_network(network);
    if keep {
        let (key, seed) = seeded()?;
        let public = ledger_key(key.public())?;
        let mut signer = votes_of(on, key)?;
        let proof = prove(&mut signer, on, validator, incarnation)?;
        return Ok(ConsensusKey {
            incarnation,
            public,
            possession: Some(proof.clone()),
            proof,
            signer: Arc::new(GuardedSigner::new(signer)),
            seed: Some(seed),
        });
    }
    let (signer, registration) =
        ephemeral::boot(on, validator.0, incarnation, SecurityLevel::MlDsa65).map_err(failed)?;
    let proof = Fixed::new(&registration.possession);
    let proof =
        proof.ok_or_else(|| NodeError::part("signer", "node.wallet.level", "expected an ML-DSA-65 signature"))?;
    Ok(ConsensusKey {
        incarnation,
        public: ledger_key(&registration.key)?,
        possession: Some(MlDsaSignature::clone(&proof)),
        proof,
        signer: Arc::new(GuardedSigner::new(signer)),
        seed: None,
    })
}

/// The name of a boot's files in the engine's storage: none is read by a boot with another key.
pub fn partition(keys: &ValidatorKeys) -> String {
    let digest: Digest256 = keys.key_digest();
    let name: String = digest.to_string().chars().take(16).collect();
    format!("v{}-{name}", keys.incarnation)
}
