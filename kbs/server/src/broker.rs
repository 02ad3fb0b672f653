//! The broker's state and its one way to release a key.

use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use hanzo_attestation::binding::RcarRuntime;
use hanzo_attestation::name::KeyId;
use hanzo_attestation::{Digest384, UnixTime};
use hanzo_kbs_protocol::{AttestBody, SessionBindingError, SessionEvidence, WireError, encode_nonce};
use hanzo_policy::{AppraisalPolicy, PrivacyTier};
use hanzo_root::{RootConfig, Surroundings};
use hanzo_store::{Store, StoreError, StoreMode, Tx};
use hanzo_vault::{KeyPolicy, KeyPurpose, Refusal, ReleaseError, Root, RootPurpose, tenant_of};
use hanzo_verifier::{VerifyError, verify_rcar_with};
use tokio::runtime::Handle;

use crate::audit::{self, Exported, Line};
use crate::coco::CocoConfig;
use crate::decision::KnownKeys;
use crate::fence::Fences;
use crate::head::Head;
use crate::identity::Identity;
use crate::live::{Live, Lives};
use crate::metrics::{Metrics, count};
use crate::policies::Policies;
use crate::sessions::Attested;
use crate::token::{Proven, TokenKey};
use crate::vault::{Rotations, SealedSecret, Vaults, check_limits};
use crate::verified::Verified;
use crate::{KbsConfig, KbsError, database};

/// A head is signed after so many decisions, and whenever somebody asks.
const HEAD_EVERY: u64 = 256;

/// Everything that outlives a request.
pub(crate) struct Broker {
    pub(crate) db: Store,
    pub(crate) identity: Identity,
    pub(crate) vaults: Vaults,
    pub(crate) rotations: Rotations,
    pub(crate) coco: CocoConfig,
    /// What resources are made under whose client sends no policy.
    pub(crate) resource_policy: Option<KeyPolicy>,
    pub(crate) tokens: TokenKey,
    pub(crate) lives: Lives,
    behind: OnceLock<Behind>,
    pub(crate) policies: Policies,
    pub(crate) known: KnownKeys,
    pub(crate) verified: Verified,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) head: Arc<Fences>,
    /// Where the root came from.
    pub(crate) root: RootConfig,
    /// False: the store is a file.
    pub(crate) is_database: bool,
}

/// Where heads are signed that no reply waits for.
pub(crate) struct Behind {
    broker: Weak<Broker>,
    runtime: Handle,
}

impl Behind {
    fn sign(&self) {
        let Some(broker) = self.broker.upgrade() else { return };
        self.runtime.spawn_blocking(move || {
            if let Err(e) = broker.signed_head() {
                tracing::error!(target: "hanzo_kbs", code = e.code(), "no head of the audit log was signed: {e}");
            }
        });
    }
}

/// Why there is no key in the reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denied {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(transparent)]
    Broker(#[from] KbsError),
}

/// Why a session did not attest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAttested {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Evidence(#[from] VerifyError),
    #[error(transparent)]
    Session(#[from] SessionBindingError),
    #[error(transparent)]
    Broker(#[from] KbsError),
}

impl From<StoreError> for Denied {
    fn from(e: StoreError) -> Self {
        Self::Broker(e.into())
    }
}

/// A key's newest version.
pub(crate) struct KeyRow {
    pub(crate) version: u64,
    pub(crate) policy: KeyPolicy,
    pub(crate) revoked: bool,
    pub(crate) sealed: SealedSecret,
}

impl Broker {
    /// Opens the store, replays the audit chain and compares it with the head kept outside.
    pub(crate) fn open(config: &KbsConfig, mode: StoreMode) -> Result<Self, KbsError> {
        let broker = Self::open_without_head(config, mode)?;
        let fences = broker.head.read()?;
        let at: Vec<_> = fences.iter().filter_map(|(_, head)| head.map(|h| h.seq)).collect();
        let chain = broker.db.read(|tx| audit::replay(tx, &at))?;
        for (place, head) in fences {
            match head {
                None if chain.newest > 0 => {
                    return Err(KbsError::File {
                        what: "head file",
                        path: place.into(),
                        detail: format!(
                            "there is none and the store has {} decisions: restore it, or accept the store as it is with `hanzo-kbs accept-head`",
                            chain.newest
                        ),
                    });
                }
                Some(head) if chain.hashes.get(&head.seq) != Some(&head.hash) => {
                    return Err(KbsError::RolledBack {
                        path: place.into(),
                        expected: head.seq,
                        got: chain.newest,
                    });
                }
                _ => {}
            }
        }
        broker.write_head()?;
        if config.postgres_url().is_some() {
            broker.watch();
        }
        Ok(broker)
    }

    /// As [`Broker::open`] without the comparison: for `accept-head`.
    pub(crate) fn open_without_head(config: &KbsConfig, mode: StoreMode) -> Result<Self, KbsError> {
        let root = config.root.provider(&Surroundings::of_process()).load()?;
        let broker = Self::rooted(config, mode, root)?;
        // A configuration names it: whoever made it was done.
        database::finish(config, &broker.db)?;
        Ok(broker)
    }

    /// As [`Broker::open_without_head`] under a root that is at hand: for `init`, which asks for a passphrase once.
    pub(crate) fn rooted(config: &KbsConfig, mode: StoreMode, root: Root) -> Result<Self, KbsError> {
        let db = database::open(config, &root.derive(RootPurpose::Store)?, mode)?;
        let identity = Identity::load_or_create(&db)?;
        let tokens = TokenKey::of(&identity)?;
        if config.coco.sample_tee && mode != StoreMode::Simulated {
            return Err(KbsError::Config {
                path: config.store.clone(),
                detail: "coco.sample_tee: expected false: this store holds keys that protect something".into(),
            });
        }
        let head = Arc::new(Fences::new(config, &identity)?);
        Ok(Self {
            db,
            identity,
            vaults: Vaults::new(root),
            rotations: Rotations::default(),
            coco: config.coco.clone(),
            resource_policy: config.coco.load_policy()?,
            tokens,
            lives: Lives::new(Live::load(config)?),
            behind: OnceLock::new(),
            policies: Policies::default(),
            known: KnownKeys::default(),
            verified: Verified::default(),
            metrics: Arc::default(),
            head,
            root: config.root.clone(),
            is_database: config.postgres_url().is_some(),
        })
    }

    /// Has every transaction find the newest decision first: another database may have taken this one's place, at a failover
    /// for one. A file has no one else in its place while it is open.
    fn watch(&self) {
        let (fences, place) = (Arc::clone(&self.head), self.db.place().to_owned());
        self.db.guard(Box::new(move |tx| fences.check(tx, &place)));
    }

    /// From now on the heads of the audit log are signed behind the replies, on the runtime that serves.
    pub(crate) fn sign_behind(self: &Arc<Self>) {
        let (broker, runtime) = (Arc::downgrade(self), Handle::current());
        let _ = self.behind.set(Behind { broker, runtime });
    }

    /// Writes the newest head to its file.
    pub(crate) fn write_head(&self) -> Result<(), KbsError> {
        match self.db.read(audit::head)? {
            Some(head) => Ok(self.head.advance(head)?),
            None => Ok(()),
        }
    }

    pub(crate) fn simulated(&self) -> bool {
        self.db.mode() == StoreMode::Simulated
    }

    /// Reads an `attest` body, with the cache's certificates where the evidence came without its own.
    pub(crate) fn read_attest(&self, bytes: &[u8]) -> Result<AttestBody, WireError> {
        AttestBody::parse_with(bytes, &|name| self.lives.now().certificates.get(name).cloned())
    }

    /// Checks a session's evidence: genuine, and made for this session. Which keys it is good for is decided later.
    pub(crate) fn attest(&self, attested: &Attested) -> Result<Proven, NotAttested> {
        let (body, text) = (&attested.body, encode_nonce(&attested.nonce));
        let runtime = runtime(&text, attested);
        match &body.evidence {
            SessionEvidence::Sample(_) if !self.takes_samples() => Err(WireError::Sample.into()),
            SessionEvidence::Sample(sample) => {
                sample.check(&runtime)?;
                Ok(Proven::Sample)
            }
            SessionEvidence::Signed { raw, .. } => {
                let live = self.lives.now();
                let policy = AppraisalPolicy::closed(PrivacyTier::Open);
                let with = (&live.anchors, &live.collateral, &policy);
                let result = verify_rcar_with(raw.as_ref().clone(), &runtime, with, now())?;
                body.check_claims(result.bound().claims())?;
                Ok(Proven::Signed {
                    result: Arc::new(result),
                    under: live,
                })
            }
        }
    }

    /// Whether the sample TEE is let in: by an explicit switch, and never beside keys that protect something.
    pub(crate) fn takes_samples(&self) -> bool {
        self.coco.sample_tee && self.simulated()
    }

    /// Decides, counts, records and wraps; everything is on the disk when this returns.
    pub(crate) fn release_each(&self, asked: &[(&KeyId, &Attested)]) -> Vec<Result<Vec<u8>, Denied>> {
        let decided = self.decide_each(asked);
        let heads = decided.iter().flatten().map(|(_, head, _)| *head);
        if let Some(newest) = heads.max_by_key(|head| head.seq) {
            // One write for all of them. If it fails, each tries again below and is told itself.
            let _ = self.advance_head(newest);
        }
        let released = decided.into_iter().map(|decided| {
            let (outcome, head, line) = decided?;
            self.record(head, &line)?;
            count(match outcome {
                Ok(_) => &self.metrics.granted,
                Err(_) => &self.metrics.refused,
            });
            Ok(outcome?)
        });
        released.collect()
    }

    /// The newest head of the audit log, signed; every fence holds what it counts.
    pub(crate) fn signed_head(&self) -> Result<String, KbsError> {
        let (head, note) = self.db.write(|tx| audit::signed_head(tx, &self.identity))?;
        if let Some(head) = head {
            self.head.advance(head)?;
        }
        Ok(note)
    }

    /// Writes the audit log as files.
    pub(crate) fn export(&self, dir: &Path, progress: impl FnMut(u64, u64)) -> Result<Exported, KbsError> {
        let note = self.signed_head()?;
        self.db.read(|tx| audit::export(tx, &note, dir, progress))
    }

    /// Takes the store as it is, and says so in the audit chain: what every fence held, and what the store has.
    pub(crate) fn accept(&self) -> Result<(), KbsError> {
        let mut told = Vec::new();
        for fence in self.head.read_each() {
            told.push(match fence {
                (place, Ok(Some(head))) => format!("{place}: {}", head.seq),
                (place, Ok(None)) => format!("{place}: nothing"),
                (place, Err(e)) => format!("{place}: {}", e.code()),
            });
        }
        let chain = self.db.read(|tx| audit::replay(tx, &[]))?;
        let (head, line) = self.db.write(|tx| {
            let mut line = Line::of("accept-head", Digest384([0; 48]), now().0);
            line.about = Some(format!("fences: {}; store: {}", told.join(", "), chain.newest));
            audit::append(tx, line)
        })?;
        self.record(head, &line)
    }

    /// After a commit: the head outside, then the log.
    pub(crate) fn record(&self, head: Head, line: &str) -> Result<(), KbsError> {
        self.advance_head(head)?;
        if head.seq.is_multiple_of(HEAD_EVERY) {
            // Signed heads among the lines tell where a log was rewritten that somebody had the store's key to rewrite.
            match self.behind.get() {
                Some(behind) => behind.sign(),
                None => self.signed_head().map(drop)?,
            }
        }
        tracing::info!(target: "hanzo_kbs::audit", decision = line);
        Ok(())
    }

    /// A stored secret, opened.
    #[cfg(test)]
    pub(crate) fn open_secret(
        &self,
        tx: &Tx<'_>,
        key_id: &KeyId,
        key: &KeyRow,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, KbsError> {
        self.vaults.open(tx, (key_id, key.version), &key.policy, &key.sealed)
    }

    /// Seals a secret and stores it as a version of a key.
    pub(crate) fn put_secret(
        &self,
        tx: &Tx<'_>,
        (key_id, version): (&KeyId, u64),
        purpose: KeyPurpose,
        policy: &KeyPolicy,
        secret: &[u8],
        time: u64,
    ) -> Result<(), KbsError> {
        check_limits(policy)?;
        let sealed = self.vaults.seal(tx, (key_id, version), purpose, policy, secret, time)?;
        let text = String::from_utf8_lossy(&policy.canonical()?).into_owned();
        tx.execute(
            "INSERT INTO keys (key_id, key_version, policy, allow_simulated, tenant, purpose, kek_version, sealed_dek)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            &[
                key_id.to_string().into(),
                (version as i64).into(),
                (&text).into(),
                i64::from(policy.allow_simulated).into(),
                tenant_of(key_id).as_str().into(),
                sealed.purpose.name().into(),
                (sealed.kek_version as i64).into(),
                sealed.bytes.as_slice().into(),
            ],
        )?;
        Ok(())
    }

    /// After a commit: the head outside.
    pub(crate) fn advance_head(&self, head: Head) -> Result<(), KbsError> {
        self.known.newest_is(head);
        Ok(self.head.advance(head)?)
    }
}

/// The newest version of a key.
pub(crate) fn newest(tx: &Tx<'_>, key_id: &KeyId) -> Result<Option<KeyRow>, KbsError> {
    let row = tx.query_opt(
        "SELECT key_version, policy, revoked, purpose, kek_version, sealed_dek FROM keys WHERE key_id = ?1 ORDER BY key_version DESC LIMIT 1",
        &[key_id.to_string().into()],
    )?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(KeyRow {
        version: row.unsigned(0)?,
        policy: KeyPolicy::parse(row.text(1)?.as_bytes()).map_err(|_| KbsError::Stored { what: "a key policy" })?,
        revoked: row.flag(2)?,
        sealed: SealedSecret {
            purpose: KeyPurpose::parse(row.text(3)?)?,
            kek_version: row.unsigned(4)?,
            bytes: row.blob(5)?.to_vec(),
        },
    }))
}

pub(crate) fn runtime<'a>(nonce: &'a str, attested: &'a Attested) -> RcarRuntime<'a> {
    RcarRuntime {
        additional_evidence: &attested.body.additional_evidence,
        nonce,
        tee_pubkey: &attested.body.tee_pubkey,
    }
}

/// The broker's clock.
pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixTime(since.map_or(0, |d| d.as_secs()))
}
