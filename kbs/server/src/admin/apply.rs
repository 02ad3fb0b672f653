//! The broker's side of an admin request.

use hanzo_attestation::jcs::{self, JcsError};
use hanzo_attestation::name::KeyId;
use hanzo_pqc::sign::Signature;
use hanzo_pqc::{Dek, Domain, PqcError, hpke};
use hanzo_store::{StoreError, Tx};
use hanzo_vault::{KeyPolicy, KeyPolicyError, KeyPurpose, VaultError};

use super::{ADMIN_BYTES_MAX, ADMIN_PURPOSE, ADMIN_WINDOW_S, Action, AdminReply, AdminRequest, SignedRequest};
use super::{import_aad, import_info, kbs_digest};
use crate::KbsError;
use crate::audit::{self, Line};
use crate::broker::{Broker, newest, now};
use crate::vault::check_limits;

/// Why an admin request was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminRefusal {
    #[error(transparent)]
    Malformed(#[from] JcsError),
    #[error("admin: not a key of this broker's configuration")]
    NotPinned,
    #[error("admin: {0}")]
    Signature(PqcError),
    #[error("admin: purpose or kbs: the request was made for another broker or purpose")]
    Elsewhere,
    #[error("admin: issued_at is {issued_at}, the broker's clock says {now}: at most 300 s apart are accepted")]
    Stale { issued_at: u64, now: u64 },
    #[error("admin: this nonce was used: the request was replayed")]
    Replayed,
    #[error(
        "key {key_id}: key_version: expected {expected}, got {got}: another request came first, or the key does not exist"
    )]
    Version { key_id: KeyId, expected: u64, got: u64 },
    #[error(transparent)]
    Policy(#[from] KeyPolicyError),
    #[error(
        "key policy: allow_simulated: this broker's store is a production one and holds no keys for simulated guests"
    )]
    SimulatedKey,
    #[error("sealed key: {0}: it was sealed to another broker, key, version or policy")]
    Sealed(PqcError),
    #[error("key policy: {0}")]
    Limit(#[from] VaultError),
    #[error(transparent)]
    Broker(#[from] KbsError),
}

impl From<StoreError> for AdminRefusal {
    fn from(e: StoreError) -> Self {
        Self::Broker(e.into())
    }
}

impl AdminRefusal {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "kbs.admin.malformed",
            Self::NotPinned => "kbs.admin.not_pinned",
            Self::Signature(_) => "kbs.admin.signature",
            Self::Elsewhere => "kbs.admin.elsewhere",
            Self::Stale { .. } => "kbs.admin.stale",
            Self::Replayed => "kbs.admin.replayed",
            Self::Version { .. } => "kbs.admin.version",
            Self::Policy(e) => e.code(),
            Self::SimulatedKey => "store.simulated_key",
            Self::Sealed(_) => "kbs.admin.sealed",
            Self::Limit(e) => e.code(),
            Self::Broker(_) => "kbs.internal",
        }
    }

    /// Whether the peer proved that it is an admin before this happened: only then it is told more than the code.
    pub(crate) fn to_admin(&self) -> bool {
        !matches!(
            self,
            Self::Malformed(_) | Self::NotPinned | Self::Signature(_) | Self::Broker(_)
        )
    }
}

/// Carries a signed request out; it is on the disk when this returns.
pub(crate) fn apply(broker: &Broker, body: &[u8]) -> Result<AdminReply, AdminRefusal> {
    let signed: SignedRequest = jcs::from_slice("admin request", body, ADMIN_BYTES_MAX)?;
    let request = &signed.request;
    let live = broker.lives.now();
    let admin = live.admins.iter().find(|(digest, _)| *digest == request.admin);
    let (_, keys) = admin.ok_or(AdminRefusal::NotPinned)?;
    Signature::from_hex(&signed.signature.ml_dsa, &signed.signature.ed25519)
        .and_then(|signature| keys.verify(Domain::Admin, &jcs_of(request)?, &signature))
        .map_err(AdminRefusal::Signature)?;
    let this_broker = kbs_digest(&broker.identity.public(broker.simulated()).import_key)?;
    if request.purpose != ADMIN_PURPOSE || request.kbs != this_broker {
        return Err(AdminRefusal::Elsewhere);
    }
    let now = now().0;
    if request.issued_at.abs_diff(now) > ADMIN_WINDOW_S {
        return Err(AdminRefusal::Stale {
            issued_at: request.issued_at,
            now,
        });
    }
    let (key_id, key_version) = request.action.key();
    let (head, line) = broker.db.write(|tx| {
        take_nonce(tx, request)?;
        change(broker, tx, request)?;
        let mut line = Line::of(request.action.name(), request.admin, now);
        line.key_id = key_id.to_string();
        line.key_version = key_version;
        line.nonce = Some(request.nonce);
        line.policy = request.action.policy().map(KeyPolicy::digest).transpose()?;
        Ok::<_, AdminRefusal>(audit::append(tx, line)?)
    })?;
    broker.record(head, &line)?;
    Ok(AdminReply {
        key_id: key_id.clone(),
        key_version,
    })
}

fn jcs_of(request: &AdminRequest) -> Result<Vec<u8>, PqcError> {
    jcs::to_vec("admin request", request).map_err(|_| PqcError::Backend { what: "canonical JSON" })
}

/// Nonces are kept for ever: a clock that steps back makes no old request new.
fn take_nonce(tx: &Tx<'_>, request: &AdminRequest) -> Result<(), AdminRefusal> {
    let taken = tx.execute(
        "INSERT INTO admin_nonces (nonce, issued_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        &[request.nonce.as_bytes().into(), (request.issued_at as i64).into()],
    )?;
    match taken {
        1 => Ok(()),
        _ => Err(AdminRefusal::Replayed),
    }
}

fn change(broker: &Broker, tx: &Tx<'_>, request: &AdminRequest) -> Result<(), AdminRefusal> {
    let (key_id, got) = request.action.key();
    let key = newest(tx, key_id)?;
    let current = key.as_ref().map_or(0, |k| k.version);
    let expected = match request.action {
        Action::PutKey { .. } => current + 1,
        _ => current,
    };
    if got != expected || got == 0 {
        return Err(AdminRefusal::Version {
            key_id: key_id.clone(),
            expected,
            got,
        });
    }
    let check = |policy: &KeyPolicy| -> Result<String, AdminRefusal> {
        policy.check()?;
        policy.check_for(key_id)?;
        check_limits(policy)?;
        if let Some(key) = &key {
            policy.may_follow(&key.policy)?;
        }
        if policy.allow_simulated && !broker.simulated() {
            return Err(AdminRefusal::SimulatedKey);
        }
        Ok(String::from_utf8_lossy(&policy.canonical()?).into_owned())
    };
    let (id, version) = (key_id.to_string().into(), (got as i64).into());
    match &request.action {
        Action::PutKey {
            ciphertext,
            enc,
            policy,
            ..
        } => {
            check(policy)?;
            let dek = open_import(broker, request, (enc, ciphertext), policy)?;
            let purpose = KeyPurpose::DataKey;
            broker.put_secret(tx, (key_id, got), purpose, policy, dek.expose(), now().0)?;
        }
        Action::SetPolicy { policy, .. } => {
            let text = check(policy)?;
            if let Some(key) = &key {
                // Another tier may mean another vault.
                let (place, policies) = ((key_id, got), (&key.policy, policy));
                broker.vaults.reseal(tx, place, policies, &key.sealed, now().0)?;
            }
            tx.execute(
                "UPDATE keys SET policy = ?3 WHERE key_id = ?1 AND key_version = ?2",
                &[id, version, text.into()],
            )?;
        }
        Action::Revoke { .. } => {
            tx.execute(
                "UPDATE keys SET revoked = 1 WHERE key_id = ?1 AND key_version = ?2",
                &[id, version],
            )?;
        }
    }
    Ok(())
}

fn open_import(
    broker: &Broker,
    request: &AdminRequest,
    (enc, ciphertext): (&str, &str),
    policy: &KeyPolicy,
) -> Result<Dek, AdminRefusal> {
    let import = &broker.identity.import;
    let (key_id, version) = request.action.key();
    let not_hex = |what| move |_| AdminRefusal::Sealed(PqcError::Hex { what });
    let enc = hex::decode(enc).map_err(not_hex("enc"))?;
    let ciphertext = hex::decode(ciphertext).map_err(not_hex("ciphertext"))?;
    let info = import_info(import.suite(), key_id, version, policy)?;
    let aad = import_aad(&request.admin, &request.kbs, &request.nonce);
    let bytes = hpke::open(import, &enc, &info, &aad, &ciphertext).map_err(AdminRefusal::Sealed)?;
    Dek::from_slice(&bytes).map_err(AdminRefusal::Sealed)
}
