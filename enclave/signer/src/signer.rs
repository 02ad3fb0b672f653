//! One key, its guard, its journal and the source that knows the newest head of that journal.

use std::sync::Arc;

use crate::error::SignerError;
use crate::freshness::{FreshnessError, FreshnessSource, Head};
use crate::guard::{Decision, Floor, SigningGuard};
use crate::interchange::{Interchange, VoteHistory};
use crate::journal::{Journal, Record};
use crate::key::{PublicKey, SignerKey};
use crate::request::{Network, Role, SignRequest, Subject};
use crate::storage::Storage;

/// Signs requests of one role on one network. Its key cannot be taken out.
///
/// ```compile_fail,E0599
/// fn raw(signer: &mut hanzo_signer::Signer<hanzo_signer::Volatile, hanzo_signer::freshness::Ephemeral>) {
///     let _ = signer.sign_bytes(b"bytes");
/// }
/// ```
pub struct Signer<S, F> {
    key: SignerKey,
    role: Role,
    network: Network,
    guard: SigningGuard,
    journal: Journal<S>,
    freshness: F,
    halted: Option<&'static str>,
}

impl<S: Storage, F: FreshnessSource> Signer<S, F> {
    /// Enrols a key: begins its journal on empty storage. Once for each key.
    ///
    /// # Errors
    /// [`SignerError::Enrolled`] if the source holds a head for this key; [`SignerError::Freshness`]; [`SignerError::Storage`].
    pub fn create(
        role: Role,
        network: Network,
        key: SignerKey,
        storage: S,
        mut freshness: F,
    ) -> Result<Self, SignerError> {
        let newest = freshness.newest()?;
        if newest != Head::EMPTY {
            return Err(SignerError::Enrolled { fenced: newest.count });
        }
        let owner = Record::owner(role, &network, key.public());
        let mut journal = Journal::begin(storage);
        let head = journal.append(&[owner])?;
        freshness.advance(newest, head)?;
        let guard = SigningGuard::new();
        Ok(Self {
            key,
            role,
            network,
            guard,
            journal,
            freshness,
            halted: None,
        })
    }

    /// Opens the journal of an enrolled key.
    ///
    /// # Establishes
    /// Everything that was ever answered for with this key is in the guard.
    ///
    /// # Errors
    /// [`FreshnessError::Missing`] if the source holds no head; as the source and the journal refuse.
    pub fn open(
        role: Role,
        network: Network,
        key: SignerKey,
        storage: S,
        mut freshness: F,
    ) -> Result<Self, SignerError> {
        let newest = freshness.newest()?;
        if newest == Head::EMPTY {
            return Err(FreshnessError::Missing { via: "freshness" }.into());
        }
        let owner = Record::owner(role, &network, key.public());
        let mut guard = SigningGuard::new();
        let journal = Journal::open(storage, newest, &owner, &mut guard)?;
        let mut signer = Self {
            key,
            role,
            network,
            guard,
            journal,
            freshness,
            halted: None,
        };
        // Records that a crash left beyond the newest head: they are in the guard, so they count from now on.
        if signer.journal.head() != newest {
            signer.freshness.advance(newest, signer.journal.head())?;
        }
        Ok(signer)
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        self.key.public()
    }

    /// What the key is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Which chain it signs for.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// What was signed.
    pub fn guard(&self) -> &SigningGuard {
        &self.guard
    }

    /// Where the journal stands.
    pub fn head(&self) -> Head {
        self.journal.head()
    }

    /// Signs a request, or returns the signature that it got before.
    ///
    /// The intent is recorded and synced, then the signature is made, recorded and synced, then the freshness source takes the new
    /// head, and then the signature leaves.
    ///
    /// # Errors
    /// [`SignerError::Refused`] by the guard; [`SignerError::Role`], [`SignerError::Network`], [`SignerError::OtherKey`]. Nothing
    /// changed then. After any other error the signer is halted: open it again.
    pub fn sign(&mut self, request: &SignRequest) -> Result<Arc<[u8]>, SignerError> {
        self.is_mine(request)?;
        let decision = match self.guard.decide(request)? {
            Decision::Replay(signature) => match verify(self.key.public(), request, &signature) {
                Ok(()) => return Ok(signature),
                // It was made here, so the record was changed by whoever holds the file, beyond the newest head.
                Err(_) => {
                    return self.halting(|_| {
                        Err(SignerError::Corrupt {
                            at: 0,
                            rule: "a stored signature does not verify",
                        })
                    });
                }
            },
            decision => decision,
        };
        self.halting(|signer| signer.record_and_sign(request, decision))
    }

    fn record_and_sign(&mut self, request: &SignRequest, decision: Decision) -> Result<Arc<[u8]>, SignerError> {
        let from = self.journal.head();
        // A content without signature may be another signer's: its intent is recorded as ours.
        if decision == Decision::Sign || decision == Decision::Resume {
            self.journal.append(&[Record::Intent(Box::new(*request))])?;
            self.guard.record(request)?;
        }
        let signature: Arc<[u8]> = self.key.sign(request.kind().domain(), &request.encode())?.into();
        let record = Record::Signature {
            request: request.digest(),
            signature: Arc::clone(&signature),
        };
        let to = self.journal.append(&[record])?;
        self.freshness.advance(from, to)?;
        self.guard.keep(request, Arc::clone(&signature))?;
        Ok(signature)
    }

    /// Forgets what is settled, and signs nothing there any more. A journal that has grown far beyond what is still remembered is
    /// compacted ([`Signer::compact`]), so its length is bounded by what stands above the floors.
    ///
    /// # Errors
    /// As [`Signer::sign`].
    pub fn raise(&mut self, floor: Floor) -> Result<(), SignerError> {
        self.ready()?;
        self.halting(|signer| signer.append(&[Record::Floor(floor)]))?;
        self.guard.raise(floor);
        let signature_bytes = self.key.public().level().signature_len();
        match self.journal.has_grown(&self.guard, signature_bytes) {
            true => self.compact(),
            false => Ok(()),
        }
    }

    /// Writes the journal anew: one checkpoint, and what is still remembered. The guard stays as it is.
    ///
    /// The new journal is written beside the old one and synced; the freshness source takes its head, which counts on from the old
    /// one's; then it takes the old one's place. So the source says at every moment which of the two is the journal, and the old
    /// one is refused from then on, as any older one.
    ///
    /// # Errors
    /// [`SignerError::JournalFull`] if what is remembered is too much, and nothing changed then; as [`Signer::sign`].
    pub fn compact(&mut self) -> Result<(), SignerError> {
        self.ready()?;
        let owner = Record::owner(self.role, &self.network, self.key.public());
        let from = self.journal.head();
        let staged = self.journal.stage(&owner, &self.guard);
        let staged = match staged {
            Err(full @ SignerError::JournalFull { .. }) => return Err(full),
            staged => self.halting(|_| staged)?,
        };
        self.halting(|signer| {
            signer.freshness.advance(from, staged.head)?;
            signer.journal.adopt(&staged)
        })
    }

    /// How many bytes the journal has.
    pub fn journal_bytes(&self) -> u64 {
        self.journal.bytes()
    }

    /// Takes the votes that another signer cast with this key, from an interchange file: views for slots, digests for signing
    /// roots. All of it or nothing.
    ///
    /// # Errors
    /// [`SignerError::History`] for another network, votes that conflict with each other or with ours; as [`Signer::sign`].
    pub fn import(&mut self, file: &Interchange) -> Result<(), SignerError> {
        self.ready()?;
        if self.role != Role::Consensus {
            return Err(SignerError::Role {
                kind: "interchange file",
                expected: Role::Consensus.name(),
                got: self.role.name(),
            });
        }
        let votes = VoteHistory::read(file, &self.network, &self.key.public().interchange_id())?;
        let mut guard = self.guard.clone();
        votes.apply(&mut guard)?;
        self.halting(|signer| signer.append(&votes.records()))?;
        self.guard = guard;
        Ok(())
    }

    /// The votes of this key, as an interchange file. Stop the signer before its key signs elsewhere.
    ///
    /// # Errors
    /// [`SignerError::Role`] for a key that does not vote; [`SignerError::History`] for views beyond what the format can say.
    pub fn export(&self) -> Result<Interchange, SignerError> {
        self.ready()?;
        if self.role != Role::Consensus {
            return Err(SignerError::Role {
                kind: "interchange file",
                expected: Role::Consensus.name(),
                got: self.role.name(),
            });
        }
        Ok(VoteHistory::of(&self.guard)?.write(&self.network, self.key.public().interchange_id()))
    }

    fn append(&mut self, records: &[Record]) -> Result<(), SignerError> {
        let from = self.journal.head();
        let to = self.journal.append(records)?;
        if to != from {
            self.freshness.advance(from, to)?;
        }
        Ok(())
    }

    fn ready(&self) -> Result<(), SignerError> {
        match self.halted {
            Some(cause) => Err(SignerError::Halted { cause }),
            None => Ok(()),
        }
    }

    fn is_mine(&self, request: &SignRequest) -> Result<(), SignerError> {
        self.ready()?;
        let kind = request.kind();
        if kind.role() != self.role {
            return Err(SignerError::Role {
                kind: kind.name(),
                expected: kind.role().name(),
                got: self.role.name(),
            });
        }
        if request.network != self.network {
            return Err(SignerError::Network {
                kind: kind.name(),
                expected_id: self.network.id,
                expected: hex::encode(self.network.genesis),
                got_id: request.network.id,
                got: hex::encode(request.network.genesis),
            });
        }
        match request.subject {
            Subject::Possession { key, .. } if key != self.key.public().digest() => Err(SignerError::OtherKey {
                expected: hex::encode(self.key.public().digest()),
                got: hex::encode(key),
            }),
            _ => Ok(()),
        }
    }

    /// Runs what leaves the signer in an unknown state if it fails.
    fn halting<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, SignerError>) -> Result<T, SignerError> {
        let done = step(self);
        if let Err(error) = &done {
            self.halted = Some(error.code());
        }
        done
    }
}

/// Whether `signature` is `key`'s over `request`.
///
/// # Establishes
/// The holder of the key signed exactly this request: its kind, its network, every field.
///
/// # Errors
/// [`SignerError::Signature`].
pub fn verify(key: &PublicKey, request: &SignRequest, signature: &[u8]) -> Result<(), SignerError> {
    key.verify(request.kind().domain(), &request.encode(), signature)
        .map_err(|source| SignerError::Signature {
            kind: request.kind().name(),
            source,
        })
}
