//! Changes of keys: what is valid, what needs a second admin, and carrying it out.

use hanzo_attestation::Digest384;
use hanzo_pqc::{Dek, PqcError, hpke};
use hanzo_store::Tx;
use hanzo_vault::{KeyPolicy, KeyPurpose};

use super::document::DocumentChange;
use super::{Action, AdminRefusal, AdminRequest, import_aad, import_info};
use crate::broker::{Broker, KeyRow, newest, now};
use crate::vault::check_limits;

/// A change that is valid now.
pub(crate) struct Change {
    key: Option<KeyRow>,
    /// The new policy's canonical text.
    text: Option<String>,
    /// A change of a tenant's document, which is about no key.
    document: Option<DocumentChange>,
}

impl Change {
    /// Checks the version, the policy, and that it may follow the one that is there.
    pub(crate) fn of(broker: &Broker, tx: &Tx<'_>, request: &AdminRequest) -> Result<Self, AdminRefusal> {
        let (key_id, got) = request.action.changes().ok_or(AdminRefusal::Elsewhere)?;
        if let Action::SetDocument { text, .. } = &request.action {
            return Ok(Self {
                key: None,
                text: None,
                document: Some(DocumentChange::of(tx, key_id, got, text, now())?),
            });
        }
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
        let mut text = None;
        if let Some(policy) = request.action.policy() {
            policy.check()?;
            policy.check_for(key_id)?;
            check_limits(policy)?;
            if let Some(key) = &key {
                policy.may_follow(&key.policy)?;
            }
            if policy.allow_simulated && !broker.simulated() {
                return Err(AdminRefusal::SimulatedKey);
            }
            text = Some(String::from_utf8_lossy(&policy.canonical()?).into_owned());
        }
        Ok(Self {
            key,
            text,
            document: None,
        })
    }

    /// What the change was compared with, if it lets through what was refused before: another policy that does not only
    /// narrow. A key that is new widens nothing.
    pub(crate) fn widens(&self, request: &AdminRequest) -> Result<Option<Digest384>, AdminRefusal> {
        if let Some(document) = &self.document {
            return Ok(document.widens());
        }
        match (request.action.policy(), &self.key) {
            (Some(policy), Some(key)) if !policy.only_narrows(&key.policy) => Ok(Some(key.policy.digest()?)),
            _ => Ok(None),
        }
    }

    /// True if the policy that the proposal was compared with is still there.
    pub(crate) fn is_from(&self, base: &Digest384) -> Result<bool, AdminRefusal> {
        if let Some(document) = &self.document {
            return Ok(document.base() == *base);
        }
        match &self.key {
            Some(key) => Ok(key.policy.digest()? == *base),
            None => Ok(false),
        }
    }

    /// Carries it out.
    pub(crate) fn carry_out(self, broker: &Broker, tx: &Tx<'_>, request: &AdminRequest) -> Result<(), AdminRefusal> {
        if let Some(document) = self.document {
            return document.carry_out(tx);
        }
        let (key_id, got) = request.action.changes().ok_or(AdminRefusal::Elsewhere)?;
        let (id, version) = (key_id.to_string().into(), (got as i64).into());
        match (&request.action, self.text) {
            (
                Action::PutKey {
                    ciphertext,
                    enc,
                    policy,
                    ..
                },
                Some(_),
            ) => {
                let dek = open_import(broker, request, (enc, ciphertext), policy)?;
                broker.put_secret(tx, (key_id, got), KeyPurpose::DataKey, policy, dek.expose(), now().0)?;
            }
            (Action::SetPolicy { policy, .. }, Some(text)) => {
                if let Some(key) = &self.key {
                    // Another tier may mean another vault.
                    let (place, policies) = ((key_id, got), (&key.policy, policy));
                    broker.vaults.reseal(tx, place, policies, &key.sealed, now().0)?;
                }
                tx.execute(
                    "UPDATE keys SET policy = ?3 WHERE key_id = ?1 AND key_version = ?2",
                    &[id, version, text.into()],
                )?;
            }
            _ => {
                tx.execute(
                    "UPDATE keys SET revoked = 1 WHERE key_id = ?1 AND key_version = ?2",
                    &[id, version],
                )?;
            }
        }
        Ok(())
    }
}

/// Opens the sealed key of a request. A proposal's is opened when it is made, so that nobody approves what cannot be opened.
pub(crate) fn open_import(
    broker: &Broker,
    request: &AdminRequest,
    (enc, ciphertext): (&str, &str),
    policy: &KeyPolicy,
) -> Result<Dek, AdminRefusal> {
    let import = &broker.identity.import;
    let (key_id, version) = request.action.changes().ok_or(AdminRefusal::Elsewhere)?;
    let not_hex = |what| move |_| AdminRefusal::Sealed(PqcError::Hex { what });
    let enc = hex::decode(enc).map_err(not_hex("enc"))?;
    let ciphertext = hex::decode(ciphertext).map_err(not_hex("ciphertext"))?;
    let info = import_info(import.suite(), key_id, version, policy)?;
    let aad = import_aad(&request.admin, &request.kbs, &request.nonce);
    let bytes = hpke::open(import, &enc, &info, &aad, &ciphertext).map_err(AdminRefusal::Sealed)?;
    Dek::from_slice(&bytes).map_err(AdminRefusal::Sealed)
}
