//! What one guest sent to its broker, decided on again: by the broker's own decision, under other policies.

use hanzo_attestation::evidence::{Anchors, Claims, Collateral};
use hanzo_attestation::name::KeyId;
use hanzo_attestation::tpm::TpmClaims;
use hanzo_attestation::{Digest256, Digest384, RawEvidence, UnixTime};
use hanzo_kbs_protocol::{ATTEST_PATH, AttestBody, TeeKey, decode_nonce};
use hanzo_measured_boot::event::Platform;
use hanzo_measured_boot::replay::Replay;
use hanzo_vault::{Ask, KeyPolicy, Moment, Recipient, Stored, StoredPolicy, Uses, authorize};

use crate::relay::Seen;
use crate::setting::STORE_KEY;

/// How a decision ends: the tier of the grant, or every rule that failed.
pub type Decision = Result<u8, Vec<&'static str>>;

pub struct Captured(AttestBody);

impl Captured {
    /// Each evidence that was sent, in order.
    pub fn all(seen: &Seen) -> Vec<Self> {
        let bodies = seen.bodies(ATTEST_PATH);
        bodies
            .iter()
            .map(|body| Self(AttestBody::parse(body).unwrap()))
            .collect()
    }

    /// What the broker's audit calls it.
    pub fn digest(&self) -> Digest384 {
        self.0.evidence_digest
    }

    fn raw(&self) -> RawEvidence {
        self.0.evidence.signed().unwrap().clone()
    }

    /// The quote's claims, for who pins `ak`.
    pub fn claims(&self, ak: Digest256) -> TpmClaims {
        let anchors = Anchors::vendor().with_tpm_ak(ak);
        let parsed = self.raw().parse().unwrap();
        let authentic = parsed
            .authenticate(&anchors, &Collateral::default(), UnixTime(1))
            .unwrap();
        match authentic.claims() {
            Claims::Tpm(claims) => (**claims).clone(),
            other => panic!("expected a TPM's evidence, got {other:?}"),
        }
    }

    /// The event log, which must be one to believe.
    pub fn replay(&self) -> Replay {
        let RawEvidence::Tpm(tpm) = self.raw() else {
            panic!("expected a TPM's evidence");
        };
        Replay::strict(&tpm.event_log.unwrap().0, Platform::Tpm).unwrap()
    }

    /// What a broker that pins `ak` answers to this evidence under `policy`.
    pub fn decide(&self, ak: Digest256, policy: &KeyPolicy) -> Decision {
        let key_id = KeyId::new(STORE_KEY).unwrap();
        let TeeKey::Hpke(wrap_key) = &self.0.wrap_key else {
            panic!("expected our own guest's key");
        };
        let ask = Ask {
            key_id: &key_id,
            nonce: decode_nonce(&self.0.nonce).unwrap(),
            runtime: self.0.runtime(),
            recipient: Recipient::Hpke(wrap_key),
            evidence: &self.0.evidence,
            verified: None,
        };
        let policy = StoredPolicy::of(policy.clone()).unwrap();
        let stored = Stored {
            version: 1,
            policy: &policy,
            revoked: false,
            tenant: None,
            release: None,
        };
        let uses = Uses {
            count: 0,
            includes_recipient: false,
            newest_image: None,
        };
        let moment = Moment {
            anchors: &Anchors::vendor().with_tpm_ak(ak),
            collateral: &Collateral::default(),
            now: UnixTime(1_800_000_000),
        };
        match authorize(ask, &stored, uses, &moment) {
            Ok(grant) => Ok(grant.grant().tier),
            Err(refusal) => Err(refusal.failed_rules()),
        }
    }
}
