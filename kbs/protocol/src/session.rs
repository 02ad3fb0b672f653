//! The guest's side of one exchange, without any I/O.

use hanzo_attestation::binding::RcarRuntime;
use hanzo_attestation::bundle::{CpuEvidence, DeviceEvidence};
use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::statement::EvidenceRequest;
use hanzo_attestation::{Digest384, Nonce, UnixTime};
use hanzo_pqc::hpke::{self, PrivateKey, PublicKey};
use hanzo_pqc::sign::VerifyingKeys;
use hanzo_pqc::{Dek, PqcError};
use kbs_types::Tee;
use serde_json::{Value, json};

use crate::wire::read_challenge;
use crate::{
    GRANT_PURPOSE, Grant, GrantError, PROTOCOL_VERSION, SessionError, WireError, WrapKey, WrappedDek, recipient,
    wrap_info,
};

/// One RCAR exchange: `auth`, `attest`, then any number of keys.
///
/// A broker gives one grant per key, version and recipient. After a lost reply start again with a *new* wrapping key.
///
/// ```
/// use hanzo_kbs_protocol::GuestSession;
/// use hanzo_pqc::hpke::{KemSuite, PrivateKey};
///
/// # fn main() -> Result<(), hanzo_pqc::PqcError> {
/// let key = PrivateKey::generate(KemSuite::Xwing)?;
/// let session = GuestSession::new(key.public_key());
/// assert!(session.auth_body().starts_with(b"{"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct GuestSession {
    tee: Tee,
    tee_pubkey: Value,
    recipient: Digest384,
    nonce: Option<Nonce>,
}

/// What the guest asked for and is prepared to accept.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The key.
    pub key_id: &'a KeyId,
    /// Weights root (64 hex digits) or store id.
    pub subject: &'a Name,
    /// Lowest tier that the configuration accepts.
    pub min_tier: u8,
}

/// A data key that the pinned broker granted to this guest in answer to this session's challenge.
pub struct OpenedGrant {
    /// The key.
    pub dek: Dek,
    /// What was decided about it.
    pub grant: Grant,
}

impl std::fmt::Debug for OpenedGrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenedGrant")
            .field("grant", &self.grant)
            .finish_non_exhaustive()
    }
}

impl OpenedGrant {
    /// Refuses a key older than one that this guest has already seen.
    ///
    /// # Errors
    /// [`GrantError::Version`].
    pub fn at_least_version(self, seen: u64) -> Result<Self, GrantError> {
        let got = self.grant.key_version;
        if got < seen {
            return Err(GrantError::Version { seen, got });
        }
        Ok(self)
    }
}

impl GuestSession {
    /// Starts a session of an SEV-SNP guest for a wrapping key that is used for nothing else.
    pub fn new(wrapping_key: &PublicKey) -> Self {
        Self::for_tee(wrapping_key, Tee::Snp)
    }

    /// As [`GuestSession::new`] for a guest on `tee`: snp, tdx, tpm, az-snp-vtpm or az-tdx-vtpm.
    pub fn for_tee(wrapping_key: &PublicKey, tee: Tee) -> Self {
        Self {
            tee,
            tee_pubkey: WrapKey::new(wrapping_key.clone()).to_value(),
            recipient: recipient(wrapping_key),
            nonce: None,
        }
    }

    /// As [`GuestSession::for_tee`], by the name of the evidence ([`CpuEvidence::kind`]).
    ///
    /// # Errors
    /// [`WireError::Unsupported`] for any other name.
    pub fn for_kind(wrapping_key: &PublicKey, kind: &str) -> Result<Self, WireError> {
        let tees = [Tee::Snp, Tee::Tdx, Tee::Tpm, Tee::AzSnpVtpm, Tee::AzTdxVtpm];
        let tee = tees.into_iter().find(|tee| tee.to_string() == kind);
        let tee = tee.ok_or(WireError::Unsupported {
            member: "tee",
            expected: "snp, tdx, tpm, az-snp-vtpm or az-tdx-vtpm",
        })?;
        Ok(Self::for_tee(wrapping_key, tee))
    }

    /// Body of the `POST` to [`crate::AUTH_PATH`].
    pub fn auth_body(&self) -> Vec<u8> {
        let extra = json!({"supported-hash-algorithms": ["sha384"]});
        json!({"version": PROTOCOL_VERSION, "tee": self.tee, "extra-params": extra})
            .to_string()
            .into_bytes()
    }

    /// [`GuestSession::attest_body_with_devices`] of a guest that has none.
    ///
    /// # Errors
    /// As there.
    pub fn attest_body<E>(
        &mut self,
        challenge: &[u8],
        evidence: impl FnOnce(&EvidenceRequest) -> Result<CpuEvidence, E>,
    ) -> Result<Vec<u8>, SessionError<E>> {
        self.attest_body_with_devices(challenge, |_| Ok(Vec::new()), evidence)
    }

    /// Body of the `POST` to [`crate::ATTEST_PATH`], made from the reply to `auth`. `devices` asks every GPU and switch for
    /// evidence over the nonce that it gets; `evidence` asks the processor for evidence over the request, which commits to
    /// what the devices answered.
    ///
    /// # Errors
    /// [`SessionError`]; [`SessionError::Kind`] for evidence of another TEE than the session was opened for.
    pub fn attest_body_with_devices<E>(
        &mut self,
        challenge: &[u8],
        devices: impl FnOnce(&[u8; 32]) -> Result<Vec<DeviceEvidence>, E>,
        evidence: impl FnOnce(&EvidenceRequest) -> Result<CpuEvidence, E>,
    ) -> Result<Vec<u8>, SessionError<E>> {
        let (text, nonce) = read_challenge(challenge)?;
        let alone = RcarRuntime {
            additional_evidence: "",
            nonce: &text,
            tee_pubkey: &self.tee_pubkey,
        };
        let devices = devices(&alone.device_nonce()?).map_err(SessionError::Evidence)?;
        let additional = additional_evidence(&devices);
        let runtime = RcarRuntime {
            additional_evidence: &additional,
            ..alone
        };
        let cpu = evidence(&runtime.request()?).map_err(SessionError::Evidence)?;
        let got = cpu.kind();
        if got != self.tee.to_string() {
            return Err(SessionError::Kind {
                expected: self.tee,
                got,
            });
        }
        // Brokers of the first version read SNP evidence without its kind.
        let primary = match &cpu {
            CpuEvidence::Snp(snp) => json!(snp),
            other => json!(other),
        };
        self.nonce = Some(nonce);
        let body = json!({
            "init-data": null,
            "runtime-data": {"nonce": text, "tee-pubkey": self.tee_pubkey},
            "tee-evidence": {"primary_evidence": primary, "additional_evidence": additional},
        });
        Ok(body.to_string().into_bytes())
    }

    /// Opens the reply to a resource request.
    ///
    /// `sent_at` and `now` are the guest's clock when it asked and now; the broker's clock may differ from `sent_at` by
    /// at most `max_lifetime_s`, and a grant is opened no later than that after it was made, whatever it says itself.
    ///
    /// # Establishes
    /// The holder of both pinned keys wrapped this key, and granted it, in this version, for this subject, to this wrapping key, in
    /// answer to this session's challenge.
    ///
    /// # Does not establish
    /// That the broker's state is its newest; see [`OpenedGrant::at_least_version`].
    ///
    /// # Errors
    /// [`GrantError`]; the wrap is opened only after everything else was checked.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is a separate fact of the caller; a struct would only rename them"
    )]
    pub fn open_wrapped(
        &self,
        reply: &[u8],
        wrapping_key: &PrivateKey,
        pinned: &VerifyingKeys,
        expected: Expected<'_>,
        sent_at: UnixTime,
        now: UnixTime,
        max_lifetime_s: u64,
    ) -> Result<OpenedGrant, GrantError> {
        let wrapped = WrappedDek::parse(reply)?;
        let grant = &wrapped.grant;
        wrapped.verify_signature(pinned)?;
        self.check_addressee(grant, wrapping_key)?;
        check_wanted(grant, expected)?;
        check_times(grant, sent_at, now, max_lifetime_s)?;

        let public = wrapping_key.public_key();
        if wrapped.suite != public.suite().name() {
            return Err(GrantError::Suite);
        }
        let not_hex = |what| GrantError::Wrap(PqcError::Hex { what });
        let enc = hex::decode(&wrapped.enc).map_err(|_| not_hex("enc"))?;
        let ciphertext = hex::decode(&wrapped.ciphertext).map_err(|_| not_hex("ciphertext"))?;
        let info = wrap_info(public.suite(), grant);
        let aad = grant.digest()?;
        let key = hpke::open(wrapping_key, &enc, &info, aad.as_bytes(), &ciphertext).map_err(GrantError::Wrap)?;
        Ok(OpenedGrant {
            dek: Dek::from_slice(&key).map_err(GrantError::Wrap)?,
            grant: wrapped.grant,
        })
    }

    fn check_addressee(&self, grant: &Grant, wrapping_key: &PrivateKey) -> Result<(), GrantError> {
        if grant.purpose != GRANT_PURPOSE {
            return Err(GrantError::Purpose);
        }
        if grant.nonce != self.nonce.ok_or(GrantError::NoChallenge)? {
            return Err(GrantError::Nonce);
        }
        if grant.recipient != self.recipient || grant.recipient != recipient(wrapping_key.public_key()) {
            return Err(GrantError::Recipient);
        }
        Ok(())
    }
}

/// RCAR's string of additional evidence; empty without devices.
fn additional_evidence(devices: &[DeviceEvidence]) -> String {
    if devices.is_empty() {
        return String::new();
    }
    let list: Vec<_> = devices
        .iter()
        .map(|device| {
            json!({
                "arch": device.arch.to_ascii_uppercase(),
                "certificate": device.certificates,
                "evidence": device.report,
            })
        })
        .collect();
    json!({"nvidia": {"device_evidence_list": list}}).to_string()
}

fn check_wanted(grant: &Grant, expected: Expected<'_>) -> Result<(), GrantError> {
    if grant.key_id != *expected.key_id {
        return Err(GrantError::KeyId {
            expected: expected.key_id.to_string(),
            got: grant.key_id.to_string(),
        });
    }
    if grant.subject != *expected.subject {
        return Err(GrantError::Subject {
            expected: expected.subject.to_string(),
            got: grant.subject.to_string(),
        });
    }
    if grant.tier < expected.min_tier || grant.tier > 4 {
        return Err(GrantError::Tier {
            required: expected.min_tier,
            got: grant.tier,
        });
    }
    if grant.key_version == 0 {
        return Err(GrantError::Version { seen: 1, got: 0 });
    }
    Ok(())
}

fn check_times(grant: &Grant, sent_at: UnixTime, now: UnixTime, limit_s: u64) -> Result<(), GrantError> {
    if grant.kbs_time.abs_diff(sent_at.0) > limit_s {
        return Err(GrantError::Clock {
            kbs_time: UnixTime(grant.kbs_time),
            sent_at,
            limit_s,
        });
    }
    let not_after = grant.not_after.min(grant.kbs_time.saturating_add(limit_s));
    let too_slow = now.0.saturating_sub(sent_at.0) > limit_s;
    if now.0 > not_after || too_slow || grant.not_after < grant.kbs_time {
        return Err(GrantError::Expired {
            not_after: UnixTime(not_after),
            now,
        });
    }
    Ok(())
}
