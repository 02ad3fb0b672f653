//! One decision about a key: what it rests on, the decision itself, and its record.
//!
//! To decide takes a hundred times as long as to record, and the store has one writing turn. So a decision is made outside
//! it, on what the store said a moment before ([`Ground`]). The transaction that records it finds out whether that is what
//! the store says ([`known`]): if anything is otherwise by then (a newer version, another policy, a revocation, a moved or
//! destroyed KEK, newer collateral, another second on the clock), nothing of it counts, and it is made anew on what is
//! there now. What grants to others change in between, the budget of uses, is asked for once more in that transaction.
//!
//! So every grant is decided on exactly the state that its transaction commits over, and a reply comes out of here only
//! with that commit.

mod known;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use hanzo_attestation::name::KeyId;
use hanzo_attestation::{Digest384, UnixTime};
use hanzo_kbs_protocol::encode_nonce;
use hanzo_store::Tx;
use hanzo_vault::{
    Ask, Budget, ImageVersion, KeyPolicy, KeyPurpose, Moment, REFERENCE_BYTES_MAX, Refusal, Stored, StoredPolicy,
    TenantPolicy, Uses, authorize,
};

use crate::KbsError;
use crate::admin::{about_image, raise_image};
use crate::audit::{self, Line};
use crate::broker::{Broker, Denied, now, runtime};
use crate::head::Head;
use crate::live::Live;
use crate::policies::Policies;
use crate::release::{self, Reply};
use crate::releases;
use crate::sessions::Attested;
use crate::tenant;
use crate::vault::SealedSecret;
pub(crate) use known::KnownKeys;

/// How often a decision is made outside the writing turn before it is made inside.
const TRIES: u32 = 3;

/// What a decision's transaction leaves: the reply or the refusal, and the audit's new head and line.
pub(crate) type Decided = (Result<Vec<u8>, Refusal>, Head, String);

/// What the store says of a key, apart from earlier grants.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ground {
    version: u64,
    policy: Arc<StoredPolicy>,
    /// What its tenant put over all its keys.
    tenant: Option<TenantPolicy>,
    /// The release that its policy names.
    release: releases::OfKey,
    revoked: bool,
    sealed: SealedSecret,
    /// The wrapped KEK that the secret is sealed under.
    kek: Option<Vec<u8>>,
    /// The tenant's newest KEK version.
    newest_kek: u64,
    /// How long all that is, about.
    bytes: usize,
}

/// Everything a decision rests on.
struct Basis<'a> {
    key_id: &'a KeyId,
    attested: &'a Attested,
    live: Arc<Live>,
    now: UnixTime,
    ground: Option<Arc<Ground>>,
    uses: Uses,
}

/// A decision that nobody knows of yet, with its reply, signed or not. It grants nothing before it is recorded.
struct Prepared<R> {
    line: Line,
    outcome: Result<Grant<R>, Refusal>,
}

/// A reply, and what has to hold when it is recorded.
struct Grant<R> {
    reply: R,
    budget: Budget,
    image: Option<ImageVersion>,
}

/// Why a transaction that should record a decision is undone.
#[derive(Debug)]
enum Undone {
    /// The wrapping key has a grant already.
    Repeated,
    Failed(Denied),
}

impl<E: Into<Denied>> From<E> for Undone {
    fn from(e: E) -> Self {
        Self::Failed(e.into())
    }
}

/// A request among several.
enum Stage {
    Undecided(Undecided),
    Decided(Box<Result<Decided, Denied>>),
}

struct Undecided {
    /// Whether what the store probably says may do.
    may_guess: bool,
}

impl From<Undecided> for Stage {
    fn from(undecided: Undecided) -> Self {
        Self::Undecided(undecided)
    }
}

impl Broker {
    /// Decides, counts, records and wraps; everything is on the disk when this returns.
    #[cfg(test)]
    pub(crate) fn decide(&self, key_id: &KeyId, attested: &Attested) -> Result<Decided, Denied> {
        self.decide_one(key_id, attested, true)
    }

    /// Decides several, each by itself, which are recorded in one turn. What would not be the same when it is recorded is
    /// decided anew, together again: with every second on the clock that is all of a turn.
    pub(crate) fn decide_each(&self, asked: &[(&KeyId, &Attested)]) -> Vec<Result<Decided, Denied>> {
        let mut each: Vec<_> = asked.iter().map(|_| Undecided { may_guess: true }.into()).collect();
        for _ in 0..TRIES {
            if !self.decide_together(asked, &mut each) {
                break;
            }
        }
        let asked = asked.iter().zip(each);
        let decided = asked.map(|((key_id, attested), at)| match at {
            Stage::Decided(decided) => *decided,
            Stage::Undecided(Undecided { may_guess }) => self.decide_one(key_id, attested, may_guess),
        });
        decided.collect()
    }

    /// One turn for all that are undecided; whether any still is.
    fn decide_together(&self, asked: &[(&KeyId, &Attested)], each: &mut [Stage]) -> bool {
        let (mut places, mut bases, mut prepared) = (Vec::new(), Vec::new(), Vec::new());
        for ((key_id, attested), at) in asked.iter().zip(each) {
            let Stage::Undecided(Undecided { may_guess }) = at else {
                continue;
            };
            match self.prepare_on_newest(key_id, attested, may_guess) {
                Ok((basis, decision)) => {
                    bases.push(basis);
                    prepared.push(decision);
                    places.push(at);
                }
                Err(e) => *at = Stage::Decided(Box::new(Err(e))),
            }
        }
        // If they cannot be signed together, each is decided by itself and is told why.
        let Ok(signed) = self.sign(prepared) else {
            return false;
        };
        let records = bases
            .into_iter()
            .zip(signed)
            .map(|(basis, signed)| move |tx: &Tx<'_>| self.record_if_unchanged(tx, &basis, signed));
        let mut is_left = false;
        for (at, recorded) in places.into_iter().zip(self.db.write_each(records)) {
            match recorded {
                Ok(Some(decided)) => *at = Stage::Decided(Box::new(Ok(decided))),
                Ok(None) => is_left = true,
                Err(Undone::Repeated) => {
                    *at = Undecided { may_guess: false }.into();
                    is_left = true;
                }
                Err(Undone::Failed(e)) => {
                    self.known.clear();
                    *at = Stage::Decided(Box::new(Err(e)));
                }
            }
        }
        is_left
    }

    fn decide_one(&self, key_id: &KeyId, attested: &Attested, mut may_guess: bool) -> Result<Decided, Denied> {
        for _ in 0..TRIES {
            let (basis, prepared) = self.prepare_on_newest(key_id, attested, &mut may_guess)?;
            let signed = self.sign_one(prepared)?;
            match self.db.write(|tx| self.record_if_unchanged(tx, &basis, signed)) {
                Ok(Some(decided)) => return Ok(decided),
                Ok(None) => {}
                Err(Undone::Repeated) => may_guess = false,
                Err(Undone::Failed(e)) => {
                    self.known.clear();
                    return Err(e);
                }
            }
        }
        let decided = self.db.write(|tx| {
            let basis = self.read_basis(tx, key_id, attested)?;
            let signed = self.sign_one(self.prepare(&basis)?)?;
            self.record_decision(tx, audit::newest(tx)?, &basis, basis.uses, signed)
        });
        decided.map_err(|e| {
            self.known.clear();
            match e {
                Undone::Failed(e) => e,
                Undone::Repeated => KbsError::Stored { what: "a grant" }.into(),
            }
        })
    }

    /// A decision on what the store probably says, or else on what it says.
    fn prepare_on_newest<'a>(
        &self,
        key_id: &'a KeyId,
        attested: &'a Attested,
        may_guess: &mut bool,
    ) -> Result<(Basis<'a>, Prepared<Reply>), Denied> {
        if let Some((ground, uses)) = may_guess.then(|| self.known.guess(key_id)).flatten() {
            let basis = self.basis(key_id, attested, Some(ground), uses);
            match self.prepare(&basis) {
                Ok(prepared) if prepared.outcome.is_ok() => return Ok((basis, prepared)),
                // What was guessed may be outdated, and does not say who was granted the key; the store does.
                _ => *may_guess = false,
            }
        }
        let basis = self.db.read(|tx| self.read_basis(tx, key_id, attested))?;
        let prepared = self.prepare(&basis)?;
        Ok((basis, prepared))
    }

    fn read_basis<'a>(&self, tx: &Tx<'_>, key_id: &'a KeyId, attested: &'a Attested) -> Result<Basis<'a>, Denied> {
        let (ground, uses) = ground(tx, &self.policies, key_id, &attested.body.wrap_key.recipient())?;
        Ok(self.basis(key_id, attested, ground, uses))
    }

    fn basis<'a>(
        &self,
        key_id: &'a KeyId,
        attested: &'a Attested,
        ground: Option<Arc<Ground>>,
        uses: Uses,
    ) -> Basis<'a> {
        Basis {
            key_id,
            attested,
            live: self.lives.now(),
            now: now(),
            ground,
            uses,
        }
    }

    /// The decision, and for a grant its reply without the signature. Writes nothing.
    fn prepare(&self, basis: &Basis<'_>) -> Result<Prepared<Reply>, Denied> {
        let (key_id, body) = (basis.key_id, &basis.attested.body);
        let mut line = Line::of("refuse", body.wrap_key.recipient(), basis.now.0);
        line.key_id = key_id.to_string();
        line.evidence = Some(body.evidence_digest);
        let Some(ground) = &basis.ground else {
            let unknown = Refusal::Unknown { key_id: key_id.clone() };
            return Ok(refuse(line, unknown));
        };
        line.key_version = ground.version;
        line.policy = Some(ground.policy.digest());
        let text = encode_nonce(&basis.attested.nonce);
        let verified = self.verified.find(&basis.attested.nonce, &basis.live, basis.now);
        let ask = Ask {
            key_id,
            nonce: basis.attested.nonce,
            runtime: runtime(&text, basis.attested),
            recipient: release::recipient(&body.wrap_key),
            evidence: &body.evidence,
            verified: verified.as_deref(),
        };
        let stored = Stored {
            tenant: ground.tenant.as_ref(),
            release: ground.release.as_ref().map(Result::as_ref),
            version: ground.version,
            policy: &ground.policy,
            revoked: ground.revoked,
        };
        let moment = Moment {
            anchors: &basis.live.anchors,
            collateral: &basis.live.collateral,
            now: basis.now,
        };
        let decision = match authorize(ask, &stored, basis.uses, &moment) {
            Ok(decision) => decision,
            Err(refusal) => return Ok(refuse(line, refusal)),
        };
        line.action = "grant".into();
        line.simulated = Some(decision.grant().simulated);
        line.tier = Some(decision.grant().tier);
        let (image, budget) = (decision.image(), decision.budget().clone());
        line.about = image.map(|image| about_image(image.number));
        let kek = ground
            .kek
            .as_deref()
            .ok_or(KbsError::Stored { what: "a tenant's KEK" })?;
        let place = (key_id, ground.version);
        let secret = self.vaults.open_under(kek, place, &ground.policy, &ground.sealed)?;
        match release::carry_out(decision, &secret, &body.wrap_key, &self.identity.signer)? {
            Some(reply) => Ok(Prepared {
                line,
                outcome: Ok(Grant { reply, budget, image }),
            }),
            None => {
                line.about = None;
                Ok(refuse(line, Refusal::NotADataKey { key_id: key_id.clone() }))
            }
        }
    }

    /// Signs the grants among decisions, with one signature where it may cover several.
    fn sign(&self, prepared: Vec<Prepared<Reply>>) -> Result<Vec<Prepared<Vec<u8>>>, Denied> {
        let mut replies = Vec::with_capacity(prepared.len());
        let unsigned: Vec<_> = prepared
            .into_iter()
            .map(|Prepared { line, outcome }| Prepared {
                line,
                outcome: outcome.map(|Grant { reply, budget, image }| {
                    replies.push(reply);
                    let reply = ();
                    Grant { reply, budget, image }
                }),
            })
            .collect();
        let mut bodies = release::sign(replies, &self.identity.signer)?.into_iter();
        let signed = unsigned.into_iter().map(|Prepared { line, outcome }| {
            let outcome = match outcome {
                Ok(Grant {
                    reply: (),
                    budget,
                    image,
                }) => {
                    let reply = bodies.next().ok_or(KbsError::Stored { what: "a reply" })?;
                    Ok(Grant { reply, budget, image })
                }
                Err(refusal) => Err(refusal),
            };
            Ok(Prepared { line, outcome })
        });
        signed.collect()
    }

    fn sign_one(&self, prepared: Prepared<Reply>) -> Result<Prepared<Vec<u8>>, Denied> {
        let signed = self.sign(vec![prepared])?.pop();
        Ok(signed.ok_or(KbsError::Stored { what: "a reply" })?)
    }

    /// Records a decision in the writing turn; `None`, and nothing is written, if it would not be the same now.
    fn record_if_unchanged(
        &self,
        tx: &Tx<'_>,
        basis: &Basis<'_>,
        prepared: Prepared<Vec<u8>>,
    ) -> Result<Option<Decided>, Undone> {
        let place = audit::newest(tx)?;
        self.known.at(place.head());
        let known = basis.ground.as_ref().and_then(|g| self.known.uses(basis.key_id, g));
        // Where no use is left, the store says whether it is for that or because the guest had the key before.
        let known = known.filter(|uses| prepared.outcome.as_ref().is_ok_and(|g| g.budget.check(*uses).is_ok()));
        let uses = match known {
            Some(uses) => uses,
            None => {
                let recipient = basis.attested.body.wrap_key.recipient();
                let (ground, uses) = ground(tx, &self.policies, basis.key_id, &recipient)?;
                match &ground {
                    Some(ground) => self.known.learn(basis.key_id, ground, uses),
                    None => self.known.forget(basis.key_id),
                }
                if ground != basis.ground {
                    return Ok(None);
                }
                uses
            }
        };
        // A grant asks its budget once more; a refusal may be one for earlier grants that were undone.
        let same_uses = (uses.count, uses.newest_image) == (basis.uses.count, basis.uses.newest_image);
        let outdated = prepared.outcome.is_err() && !same_uses;
        if outdated || now() != basis.now || !self.lives.is_current(&basis.live) {
            return Ok(None);
        }
        self.record_decision(tx, place, basis, uses, prepared).map(Some)
    }

    fn record_decision(
        &self,
        tx: &Tx<'_>,
        mut place: audit::Place,
        basis: &Basis<'_>,
        uses: Uses,
        prepared: Prepared<Vec<u8>>,
    ) -> Result<Decided, Undone> {
        let Prepared { line, outcome } = match prepared {
            // Others may have been granted the key since it was decided.
            Prepared {
                line,
                outcome: Ok(grant),
            } => match grant.budget.check(uses) {
                Ok(()) => Prepared {
                    line,
                    outcome: Ok(grant),
                },
                Err(refusal) => refuse(line, refusal),
            },
            refused => refused,
        };
        let grant = match outcome {
            Ok(grant) => grant,
            Err(refusal) => {
                let before = place.head();
                let (head, text) = audit::append_after(tx, place, line)?;
                self.known.recorded(before, head);
                return Ok((Err(refusal), head, text));
            }
        };
        let ground = basis.ground.as_ref().ok_or(KbsError::Stored { what: "a key" })?;
        let is_old = ground.sealed.kek_version != ground.newest_kek;
        if is_old {
            let policy: &KeyPolicy = &ground.policy;
            let key = (basis.key_id, ground.version);
            self.vaults
                .reseal(tx, key, (policy, policy), &ground.sealed, basis.now.0)?;
            // It may have had a line of its own.
            place = audit::newest(tx)?;
        }
        if let Some(image) = grant.image {
            raise_image(tx, basis.key_id, image.number)?;
        }
        let (recipient, before) = (line.party, place.head());
        let (head, text) = audit::append_after(tx, place, line)?;
        let inserted = tx.execute(
            "INSERT INTO grants (key_id, key_version, recipient, audit_seq) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            &[
                basis.key_id.to_string().into(),
                (ground.version as i64).into(),
                recipient.as_bytes().into(),
                (head.seq as i64).into(),
            ],
        )?;
        if inserted != 1 {
            return Err(Undone::Repeated);
        }
        self.known.granted(basis.key_id, grant.image.map(|image| image.number));
        if is_old {
            self.known.forget(basis.key_id);
        }
        self.known.recorded(before, head);
        Ok((Ok(grant.reply), head, text))
    }
}

/// The newest version of a key with all that a decision about it rests on, and what was granted before.
fn ground(
    tx: &Tx<'_>,
    policies: &Policies,
    key_id: &KeyId,
    recipient: &Digest384,
) -> Result<(Option<Arc<Ground>>, Uses), KbsError> {
    let row = tx.query_opt(
        "SELECT key_version, policy, revoked, purpose, kek_version, sealed_dek,
            (SELECT wrapped FROM keks WHERE keks.tenant = keys.tenant AND keks.kek_version = keys.kek_version),
            (SELECT coalesce(max(kek_version), 0) FROM keks WHERE keks.tenant = keys.tenant),
            (SELECT count(*) FROM grants WHERE grants.key_id = keys.key_id AND grants.key_version = keys.key_version),
            (SELECT count(*) FROM grants WHERE grants.key_id = keys.key_id AND grants.key_version = keys.key_version
                AND recipient = ?2),
            (SELECT newest FROM image_floors WHERE image_floors.key_id = keys.key_id)
         FROM keys WHERE key_id = ?1 ORDER BY key_version DESC LIMIT 1",
        &[key_id.to_string().into(), recipient.as_bytes().into()],
    )?;
    let Some(row) = row else {
        let none = Uses {
            count: 0,
            includes_recipient: false,
            newest_image: None,
        };
        return Ok((None, none));
    };
    let tenant = tenant::policy(tx, key_id.repository())?;
    let text = row.text(1)?;
    let (sealed, kek) = (row.blob(5)?, row.opt_blob(6)?);
    let tenant_bytes = tenant.as_ref().map_or(0, |t| t.rego.len() + REFERENCE_BYTES_MAX);
    let policy = policies.read(text)?;
    let release = releases::of_key(tx, key_id.repository(), &policy)?;
    let release_bytes = release.as_ref().map_or(0, |_| 2 * text.len());
    let ground = Ground {
        version: row.unsigned(0)?,
        policy,
        tenant,
        release,
        revoked: row.flag(2)?,
        sealed: SealedSecret {
            purpose: KeyPurpose::parse(row.text(3)?)?,
            kek_version: row.unsigned(4)?,
            bytes: sealed.to_vec(),
        },
        kek: kek.map(<[u8]>::to_vec),
        newest_kek: row.unsigned(7)?,
        bytes: text.len() + sealed.len() + tenant_bytes + release_bytes + 1024,
    };
    let uses = Uses {
        count: row.unsigned(8)?,
        includes_recipient: row.integer(9)? > 0,
        newest_image: row.opt_integer(10)?.map(|_| row.unsigned(10)).transpose()?,
    };
    Ok((Some(Arc::new(ground)), uses))
}

fn refuse<R>(mut line: Line, refusal: Refusal) -> Prepared<R> {
    line.action = "refuse".into();
    line.about = None;
    line.code = refusal.code().into();
    (line.simulated, line.tier) = (refusal.simulated(), refusal.tier());
    line.failed = refusal.failed_rules().into_iter().map(str::to_owned).collect();
    Prepared {
        line,
        outcome: Err(refusal),
    }
}
