//! Who a validator says it is, and what has to hold before that is believed.

use std::fmt;

use hanzo_attestation::jcs;
use hanzo_attestation::keyset::KemKey;
use hanzo_attestation::{Digest256, UnixTime};
use hanzo_chain::ValidatorKey;
use hanzo_chain_types::{EVIDENCE_BYTES_MAX, ValidatorKeys};
use hanzo_channel::{ChannelKey, TlsIdentity};
use hanzo_ledger::{Address, Bounded, Canonical, DecodeError, Fixed, MlDsaSignature, Network, PublicKey, Reader};
use hanzo_pqc::hpke::KemSuite;
use hanzo_pqc::random;
use hanzo_signer::{
    Network as SignerNetwork, PublicKey as SignerPublicKey, SecurityLevel, SignRequest, Subject, verify,
};
use zeroize::Zeroizing;

use crate::error::LinkError;
use crate::evidence::{Appraised, Appraiser, Attester};

/// Longest greeting in bytes.
pub(crate) const GREETING_BYTES_MAX: usize = 1 + 4096 + 1952 + 2 * 3309 + 4 + EVIDENCE_BYTES_MAX;
const VERSION: u8 = 2;
/// How far a key's number may be ahead of the chain's: boots whose keys the chain never got to see are counted too.
const AHEAD_MAX: u64 = 16;
/// The number of a key that is no consensus key: of a boot that reads the chain to learn the number of its key.
pub const LOOKING: u64 = 0;

/// What a validator says of itself at the start of a connection. It is public: whoever holds a copy is not its validator.
///
/// # Layout
/// Version 2, [`ValidatorKeys`], the account's key 1952, the owner's signature 3309 (the signer's request `RotateKey` over validator,
/// incarnation, digest of the consensus key, SHA-256 of the evidence), the consensus key's 3309 (`Possession`), evidence (u32 length; JCS
/// of the `cpu` member of a bundle).
#[derive(Clone, PartialEq, Eq)]
pub struct Greeting {
    /// What the evidence proves.
    pub keys: ValidatorKeys,
    /// Key of the account.
    pub owner: PublicKey,
    /// Gives the validator this key with this evidence.
    pub signature: MlDsaSignature,
    /// The consensus key's own word that it is this validator's with this number.
    pub possession: MlDsaSignature,
    /// Over the keys.
    pub evidence: Bounded<EVIDENCE_BYTES_MAX>,
}

impl fmt::Debug for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Greeting({} {})", self.keys.validator, self.keys.incarnation)
    }
}

impl Canonical for Greeting {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        self.keys.write(out);
        self.owner.write(out);
        self.signature.write(out);
        self.possession.write(out);
        self.evidence.write(out);
    }

    fn read(from: &mut Reader<'_>, _what: &'static str) -> Result<Self, DecodeError> {
        match u8::read(from, "Greeting.version")? {
            VERSION => Ok(Self {
                keys: Canonical::read(from, "Greeting.keys")?,
                owner: Canonical::read(from, "Greeting.owner")?,
                signature: Canonical::read(from, "Greeting.signature")?,
                possession: Canonical::read(from, "Greeting.possession")?,
                evidence: Canonical::read(from, "Greeting.evidence")?,
            }),
            got => Err(DecodeError::Tag {
                what: "Greeting.version",
                expected: "2",
                got,
            }),
        }
    }
}

/// The key that the chain has of a validator; incarnation 0 and zeros for a candidate, which it does not have yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// Its incarnation.
    pub incarnation: u64,
    /// [`hanzo_ledger::key_digest`] of it.
    pub key: Digest256,
}

/// What a peer is held against.
pub struct Admission<'a> {
    /// The chain.
    pub network: &'a Network,
    /// This validator.
    pub me: &'a Address,
    /// Who was dialled; none on the accepting side.
    pub dialled: Option<&'a Address>,
    /// What the chain has of an account; none for one that is no validator.
    pub registered: &'a (dyn Fn(&Address) -> Option<Registered> + Sync),
    /// Judges evidence.
    pub appraiser: &'a dyn Appraiser,
    /// Whether the network's rules allow simulated evidence.
    pub simulated: bool,
    /// Lowest tier by the network's rules.
    pub tier_min: u8,
    /// Whether this boot only reads the chain: its state may be of long ago, so that others' numbers may be any later ones.
    pub looks: bool,
    /// When.
    pub now: UnixTime,
}

impl Admission<'_> {
    /// What evidence is worth by the appraiser and the network's rules.
    ///
    /// # Errors
    /// [`LinkError::Evidence`], [`LinkError::Simulated`], [`LinkError::Tier`].
    pub(crate) fn evidence(&self, evidence: &[u8], keys: &ValidatorKeys) -> Result<Appraised, LinkError> {
        let appraised = self.appraiser.appraise(evidence, keys, self.now)?;
        if appraised.simulated && !self.simulated {
            return Err(LinkError::Simulated);
        }
        if appraised.tier < self.tier_min {
            let (expected, got) = (self.tier_min, appraised.tier);
            return Err(LinkError::Tier { expected, got });
        }
        Ok(appraised)
    }
}

/// A peer whose greeting was judged. Its connection has still to prove itself: [`crate::handshake`].
#[derive(Debug, Clone)]
pub struct Peer {
    /// What it said.
    pub greeting: Greeting,
    /// What its evidence is worth.
    pub appraised: Appraised,
    /// Its consensus key, as the engine knows it.
    pub key: ValidatorKey,
}

impl Peer {
    /// Its account.
    pub fn account(&self) -> Address {
        self.greeting.keys.validator
    }

    pub(crate) fn channel_key(&self) -> KemKey {
        KemKey {
            public_key: self.greeting.keys.channel.iter().map(|b| format!("{b:02x}")).collect(),
            suite: KemSuite::Xwing.name().to_owned(),
        }
    }
}

pub(crate) fn rotation(keys: &ValidatorKeys, evidence: &[u8]) -> SignRequest {
    let subject = Subject::RotateKey {
        validator: keys.validator.0,
        incarnation: keys.incarnation,
        key: keys.key_digest().0,
        evidence: Digest256::of(evidence).0,
    };
    let network = SignerNetwork::ai_chain(keys.network.id, keys.network.genesis.0);
    SignRequest { network, subject }
}

/// What a consensus key signs of its validator.
pub(crate) fn possession(keys: &ValidatorKeys) -> SignRequest {
    let subject = Subject::Possession {
        validator: keys.validator.0,
        incarnation: keys.incarnation,
        key: keys.key_digest().0,
    };
    let network = SignerNetwork::ai_chain(keys.network.id, keys.network.genesis.0);
    SignRequest { network, subject }
}

impl Greeting {
    /// Judges it.
    ///
    /// # Establishes
    /// The boot whose keys these are is genuine by the caller's policy and belongs to a validator of this chain, or to a candidate that
    /// this validator names itself: with the key that the chain has, with a later one, or with one that only reads the chain
    /// ([`LOOKING`]); the account's owner signed for it, and the consensus key for the account.
    ///
    /// # Does not establish
    /// That whoever sent it holds these keys.
    ///
    /// # Errors
    /// [`LinkError`], the first that applies.
    pub fn judge(self, by: &Admission<'_>) -> Result<Peer, LinkError> {
        let keys = &self.keys;
        let account = keys.validator;
        if keys.network != *by.network {
            return Err(LinkError::Network {
                expected: by.network.to_string(),
                got: keys.network.to_string(),
            });
        }
        if account == *by.me {
            return Err(LinkError::Itself(account));
        }
        if let Some(expected) = by.dialled.filter(|dialled| **dialled != account) {
            let (expected, got) = (*expected, account);
            return Err(LinkError::OtherAccount { expected, got });
        }
        let registered = (by.registered)(&account).ok_or(LinkError::Stranger(account))?;
        let got = keys.key_digest();
        match keys.incarnation.checked_sub(registered.incarnation) {
            _ if keys.incarnation == LOOKING => {}
            Some(0) if got == registered.key => {}
            Some(0) => {
                return Err(LinkError::OtherKey {
                    account,
                    incarnation: keys.incarnation,
                    expected: registered.key,
                    got,
                });
            }
            Some(1..=AHEAD_MAX) => {}
            Some(_) if by.looks => {}
            _ => {
                return Err(LinkError::Incarnation {
                    account,
                    registered: registered.incarnation,
                    got: keys.incarnation,
                });
            }
        }
        let owner = |why| LinkError::Owner { account, why };
        if Address::of(&self.owner) != account {
            return Err(owner("the key is not the account's"));
        }
        SignerPublicKey::from_bytes(SecurityLevel::MlDsa65, &self.owner)
            .map_err(|_| owner("the key is no ML-DSA-65 key"))
            .and_then(|key| {
                verify(&key, &rotation(keys, &self.evidence), &self.signature).map_err(|_| owner("it does not verify"))
            })?;
        let held = SignerPublicKey::from_bytes(SecurityLevel::MlDsa65, &keys.consensus)
            .is_ok_and(|key| verify(&key, &possession(keys), &self.possession).is_ok());
        if !held {
            return Err(LinkError::Possession(account));
        }
        let appraised = by.evidence(&self.evidence, keys)?;
        let key = ValidatorKey::new(&keys.consensus).ok_or(LinkError::Stranger(account))?;
        Ok(Peer {
            greeting: self,
            appraised,
            key,
        })
    }
}

/// This validator on its links, for one boot and one chain.
pub struct Identity {
    pub(crate) greeting: Greeting,
    pub(crate) written: Vec<u8>,
    pub(crate) channel: ChannelKey,
    pub(crate) tls: TlsIdentity,
}

impl Identity {
    /// Draws the keys of the links and lets the machine attest them together with the consensus key, whose signature of the signer's
    /// request `Possession` is given with it. `sign` asks the account's signer for the given request.
    ///
    /// # Errors
    /// [`LinkError::Evidence`], [`LinkError::Owner`], [`LinkError::Channel`].
    pub fn attest(
        network: Network,
        owner: PublicKey,
        incarnation: u64,
        (consensus, possession): (PublicKey, MlDsaSignature),
        attester: &dyn Attester,
        sign: &mut dyn FnMut(&SignRequest) -> Option<Vec<u8>>,
    ) -> Result<Self, LinkError> {
        let validator = Address::of(&owner);
        let refused = |code, why: &dyn fmt::Display| LinkError::Evidence {
            code,
            why: why.to_string(),
        };
        let unsigned = |why| LinkError::Owner {
            account: validator,
            why,
        };
        let seed = || {
            let mut seed = Zeroizing::new([0; 32]);
            random::fill(seed.as_mut_slice()).map_err(|e| refused("links.random", &e))?;
            Ok::<_, LinkError>(seed)
        };
        let channel = ChannelKey::from_seed(&*seed()?)?;
        let tls = TlsIdentity::from_seed(&*seed()?)?;
        let public = decode_hex(&channel.public().public_key).and_then(|bytes| Fixed::new(&bytes));
        let keys = ValidatorKeys {
            network,
            validator,
            incarnation,
            consensus,
            channel: public.ok_or_else(|| refused("links.channel_key", &"no X-Wing key"))?,
        };
        let request = keys
            .statement()
            .request()
            .map_err(|e| refused("links.evidence.statement", &e))?;
        let cpu = attester
            .evidence(&request)
            .map_err(|e| refused("links.evidence.attester", &e))?;
        let evidence = jcs::to_vec("evidence", &cpu).map_err(|e| refused("links.evidence.json", &e))?;
        let signature = sign(&rotation(&keys, &evidence)).ok_or(unsigned("the account's signer refused it"))?;
        let greeting = Greeting {
            keys,
            owner,
            signature: Fixed::new(&signature).ok_or(unsigned("it is no ML-DSA-65 signature"))?,
            possession,
            evidence: Bounded::new(evidence)
                .ok_or_else(|| refused("links.evidence.too_long", &"the machine's evidence is too long"))?,
        };
        Ok(Self {
            written: greeting.to_bytes(),
            greeting,
            channel,
            tls,
        })
    }

    /// What peers are told.
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: &u8| char::from(*c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some(digit(high)? << 4 | digit(low)?);
    if rest.is_empty() {
        pairs.iter().map(byte).collect()
    } else {
        None
    }
}
