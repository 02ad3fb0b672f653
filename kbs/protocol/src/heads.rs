//! The broker as fence of guests' stores: one live writer per store, whose head only moves forward.
//!
//! # Layout
//! `POST /hanzo/v1/heads/<store>`; a store is named after its data key. Bodies and replies are canonical JSON.
//! An attested session acquires the lease. The reply names head, fencing token and time, is signed by the broker (domain
//! `hanzo/store-head/v1`), answers the request's nonce, and carries a lease key sealed to the session's wrapping key. From
//! then on requests and replies are authenticated with that key, and need no session:
//! `mac = HKDF-SHA-384(key, info = SHA-256("hanzo/store-head/v1") || JCS(message))`, 32 bytes.
//!
//! # Establishes
//! A guest whose store is older than the head it gets here was given an old store. Of two guests on one store, one has the
//! token that counts.

use hanzo_attestation::keyset::SignaturePair;
use hanzo_attestation::name::KeyId;
use hanzo_attestation::{Digest256, Digest384, Nonce, jcs};
use hanzo_pqc::hpke::{self, KemSuite, PrivateKey, PublicKey};
use hanzo_pqc::sign::{Signature, SigningKeys, VerifyingKeys};
use hanzo_pqc::{Domain, PqcError, kdf};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::recipient;

/// Where the heads are; a store's name (repository/type/tag) follows.
pub const HEADS_PATH: &str = "/hanzo/v1/heads/";
/// Longest request or reply in bytes.
pub const HEADS_BYTES_MAX: usize = 32 * 1024;
/// Longest lease in seconds.
pub const LEASE_S_MAX: u64 = 600;

/// How large a store's log is, and its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreHead {
    /// RFC 6962 root.
    pub root: Digest256,
    /// Number of entries.
    pub size: u64,
}

impl StoreHead {
    /// Of a store that was never written.
    pub fn empty() -> Self {
        Self {
            root: Digest256::of(b""),
            size: 0,
        }
    }
}

/// What a guest asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "do", rename_all = "kebab-case")]
pub enum HeadAction {
    /// To be the one writer for `lease_s` seconds.
    Acquire {
        /// 1 to [`LEASE_S_MAX`].
        lease_s: u64,
    },
    /// To move the head from `old`, which must be where it is, to the larger `new`. It extends the lease.
    Advance {
        /// From now.
        lease_s: u64,
        /// Where the head shall be.
        new: StoreHead,
        /// Where the guest knows it to be.
        old: StoreHead,
        /// Of the lease.
        token: u64,
    },
    /// To stay the writer.
    Renew {
        /// From now.
        lease_s: u64,
        /// Of the lease.
        token: u64,
    },
    /// To make place for another writer.
    Release {
        /// Of the lease.
        token: u64,
    },
}

/// What is authenticated of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadAsk {
    /// What.
    pub action: HeadAction,
    /// Drawn by the guest; the reply answers it.
    pub nonce: Nonce,
    /// Which store.
    pub store: KeyId,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadRequest {
    /// What.
    pub ask: HeadAsk,
    /// With the lease key; null for `acquire`, which a session authenticates.
    pub mac: Option<Digest256>,
}

/// Where a store stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadState {
    /// The head.
    pub head: StoreHead,
    /// Seconds that the lease has left; 0 once it is released.
    pub lease_s: u64,
    /// The request's.
    pub nonce: Nonce,
    /// Which store.
    pub store: KeyId,
    /// Of the lease. Each lease has a larger one.
    pub token: u64,
}

/// The reply to everything but `acquire`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadReply {
    /// With the lease key.
    pub mac: Digest256,
    /// Where the store stands now.
    pub state: HeadState,
}

/// What the broker signs of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// HPKE ciphertext of the lease key, hex.
    pub ciphertext: String,
    /// HPKE encapsulation, hex.
    pub enc: String,
    /// SHA-384 of the wrapping key that it is sealed to.
    pub recipient: Digest384,
    /// Where the store stands.
    pub state: HeadState,
}

/// The reply to `acquire`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseReply {
    /// What.
    pub lease: Lease,
    /// By the broker that the guest's configuration pins.
    pub signature: SignaturePair,
}

/// Why a message about a head was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HeadError {
    /// No message of this protocol.
    #[error(transparent)]
    Malformed(#[from] jcs::JcsError),
    /// Outside its bounds.
    #[error("head: {member}: expected {expected}, got {got}")]
    Range {
        /// Which member.
        member: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: u64,
    },
    /// Signature, seal or key.
    #[error("head: {0}")]
    Crypto(#[from] PqcError),
    /// Not written by who holds the lease key.
    #[error("head: mac: not that of the lease key: the message is another's, or was changed")]
    Mac,
    /// The reply is about something else than was asked.
    #[error("head: {member}: the reply is not the answer to this request")]
    Other {
        /// Which member tells.
        member: &'static str,
    },
}

impl HeadError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "head.malformed",
            Self::Range { .. } => "head.range",
            Self::Crypto(e) => e.code(),
            Self::Mac => "head.mac",
            Self::Other { .. } => "head.other",
        }
    }
}

/// Authenticates what is said under a lease. Neither `Clone` nor `Debug`; wiped when dropped.
pub struct LeaseKey(Zeroizing<[u8; 32]>);

impl LeaseKey {
    /// The key of one lease of one store: derived by the broker from a secret of its own, so that it stores none.
    ///
    /// # Errors
    /// [`HeadError::Crypto`].
    pub fn derive(secret: &[u8], store: &KeyId, token: u64, writer: &Digest384) -> Result<Self, HeadError> {
        let about = format!("{store} {token} {writer}");
        let mut key = Zeroizing::new([0; 32]);
        kdf::hkdf_sha384(
            b"",
            secret,
            &Domain::StoreHead.signed_bytes(about.as_bytes()),
            key.as_mut(),
        )?;
        Ok(Self(key))
    }

    fn mac<T: Serialize>(&self, message: &T) -> Result<Digest256, HeadError> {
        let bytes = Domain::StoreHead.signed_bytes(&jcs::to_vec("head", message)?);
        let mut mac = [0; 32];
        kdf::hkdf_sha384(b"", self.0.as_ref(), &bytes, &mut mac)?;
        Ok(Digest256(mac))
    }

    fn check<T: Serialize>(&self, message: &T, mac: &Digest256) -> Result<(), HeadError> {
        let expected = self.mac(message)?;
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected.0, &mac.0).map_err(|_| HeadError::Mac)
    }

    /// Whether the holder of this key asked.
    ///
    /// # Errors
    /// [`HeadError::Mac`].
    pub fn check_request(&self, request: &HeadRequest) -> Result<(), HeadError> {
        self.check(&request.ask, request.mac.as_ref().ok_or(HeadError::Mac)?)
    }

    /// The broker's reply.
    ///
    /// # Errors
    /// [`HeadError::Crypto`].
    pub fn reply(&self, state: HeadState) -> Result<HeadReply, HeadError> {
        Ok(HeadReply {
            mac: self.mac(&state)?,
            state,
        })
    }
}

impl HeadRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// [`HeadError::Malformed`], [`HeadError::Range`].
    pub fn parse(bytes: &[u8]) -> Result<Self, HeadError> {
        let request: Self = jcs::from_slice("head request", bytes, HEADS_BYTES_MAX)?;
        match &request.ask.action {
            HeadAction::Acquire { lease_s }
            | HeadAction::Renew { lease_s, .. }
            | HeadAction::Advance { lease_s, .. }
                if !(1..=LEASE_S_MAX).contains(lease_s) =>
            {
                Err(HeadError::Range {
                    member: "lease_s",
                    expected: "1 to 600",
                    got: *lease_s,
                })
            }
            _ => Ok(request),
        }
    }
}

fn lease_info(suite: KemSuite, store: &KeyId, token: u64) -> Vec<u8> {
    hpke::info(
        Domain::StoreHead,
        suite,
        &[store.to_string().as_bytes(), &token.to_be_bytes()],
    )
}

impl LeaseReply {
    /// Seals the lease key to the writer's wrapping key and signs.
    ///
    /// # Errors
    /// [`HeadError::Crypto`].
    pub fn seal(state: HeadState, key: &LeaseKey, writer: &PublicKey, broker: &SigningKeys) -> Result<Self, HeadError> {
        let info = lease_info(writer.suite(), &state.store, state.token);
        let sealed = hpke::seal(writer, &info, &jcs::to_vec("head", &state)?, key.0.as_ref())?;
        let lease = Lease {
            ciphertext: hex::encode(&sealed.ciphertext),
            enc: hex::encode(&sealed.enc),
            recipient: recipient(writer),
            state,
        };
        let signature = broker.sign(Domain::StoreHead, &jcs::to_vec("head", &lease)?)?;
        Ok(Self {
            lease,
            signature: SignaturePair {
                ed25519: signature.ed25519_hex(),
                ml_dsa: signature.ml_dsa_hex(),
            },
        })
    }
}

/// The guest's side: a lease that it holds.
pub struct HeldLease {
    key: LeaseKey,
    state: HeadState,
}

impl HeldLease {
    /// Body of the request for a lease, to be sent within an attested session.
    ///
    /// # Errors
    /// [`HeadError::Malformed`], never for values of these types.
    pub fn acquire_body(store: &KeyId, lease_s: u64, nonce: Nonce) -> Result<Vec<u8>, HeadError> {
        let ask = HeadAsk {
            action: HeadAction::Acquire { lease_s },
            nonce,
            store: store.clone(),
        };
        Ok(jcs::to_vec("head request", &HeadRequest { ask, mac: None })?)
    }

    /// Takes the lease that the pinned broker gave in answer to that request.
    ///
    /// # Errors
    /// [`HeadError`]; nothing of the reply counts then.
    pub fn open(
        reply: &[u8],
        store: &KeyId,
        nonce: &Nonce,
        own: &PrivateKey,
        broker: &VerifyingKeys,
    ) -> Result<Self, HeadError> {
        let LeaseReply { lease, signature } = jcs::from_slice("lease", reply, HEADS_BYTES_MAX)?;
        let signature = Signature::from_hex(&signature.ml_dsa, &signature.ed25519)?;
        broker.verify(Domain::StoreHead, &jcs::to_vec("head", &lease)?, &signature)?;
        for (member, same) in [
            ("store", lease.state.store == *store),
            ("nonce", lease.state.nonce == *nonce),
            ("recipient", lease.recipient == recipient(own.public_key())),
        ] {
            if !same {
                return Err(HeadError::Other { member });
            }
        }
        let bytes = |what, text: &str| hex::decode(text).map_err(|_| HeadError::Crypto(PqcError::Hex { what }));
        let info = lease_info(own.suite(), store, lease.state.token);
        let aad = jcs::to_vec("head", &lease.state)?;
        let (enc, ciphertext) = (bytes("enc", &lease.enc)?, bytes("ciphertext", &lease.ciphertext)?);
        let opened = hpke::open(own, &enc, &info, &aad, &ciphertext)?;
        let key = <[u8; 32]>::try_from(opened.as_slice()).map_err(|_| HeadError::Other { member: "ciphertext" })?;
        Ok(Self {
            key: LeaseKey(Zeroizing::new(key)),
            state: lease.state,
        })
    }

    /// Where the store stands as the broker says. A store whose own head is another was put back, or written elsewhere.
    pub fn state(&self) -> &HeadState {
        &self.state
    }

    /// Body of a request to move the head.
    ///
    /// # Errors
    /// [`HeadError::Crypto`].
    pub fn advance_body(&self, new: StoreHead, lease_s: u64, nonce: Nonce) -> Result<Vec<u8>, HeadError> {
        let (old, token) = (self.state.head, self.state.token);
        self.body(
            HeadAction::Advance {
                lease_s,
                new,
                old,
                token,
            },
            nonce,
        )
    }

    /// Body of a request to stay the writer.
    ///
    /// # Errors
    /// [`HeadError::Crypto`].
    pub fn renew_body(&self, lease_s: u64, nonce: Nonce) -> Result<Vec<u8>, HeadError> {
        let token = self.state.token;
        self.body(HeadAction::Renew { lease_s, token }, nonce)
    }

    /// Body of a request to make place.
    ///
    /// # Errors
    /// [`HeadError::Crypto`].
    pub fn release_body(&self, nonce: Nonce) -> Result<Vec<u8>, HeadError> {
        let token = self.state.token;
        self.body(HeadAction::Release { token }, nonce)
    }

    fn body(&self, action: HeadAction, nonce: Nonce) -> Result<Vec<u8>, HeadError> {
        let store = self.state.store.clone();
        let ask = HeadAsk { action, nonce, store };
        let mac = Some(self.key.mac(&ask)?);
        Ok(jcs::to_vec("head request", &HeadRequest { ask, mac })?)
    }

    /// Takes the reply to a request with that nonce; where the store stands now.
    ///
    /// # Errors
    /// [`HeadError`]; the lease stays as it was.
    pub fn answered(&mut self, reply: &[u8], nonce: &Nonce) -> Result<&HeadState, HeadError> {
        let reply: HeadReply = jcs::from_slice("head reply", reply, HEADS_BYTES_MAX)?;
        self.key.check(&reply.state, &reply.mac)?;
        for (member, same) in [
            ("nonce", reply.state.nonce == *nonce),
            ("store", reply.state.store == self.state.store),
            ("token", reply.state.token == self.state.token),
            ("head", reply.state.head.size >= self.state.head.size),
        ] {
            if !same {
                return Err(HeadError::Other { member });
            }
        }
        self.state = reply.state;
        Ok(&self.state)
    }
}
