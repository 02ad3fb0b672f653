//! The key owner's side of an admin request.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hanzo_attestation::jcs::{self, JcsError};
use hanzo_attestation::keyset::SignaturePair;
use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::{Digest256, Digest384, Nonce};
use hanzo_pqc::sign::SigningKeys;
use hanzo_pqc::{Dek, Domain, PqcError, hpke, random};
use hanzo_vault::KeyPolicy;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use super::{ADMIN_PATH, ADMIN_PURPOSE, Action, AdminReply, AdminRequest, SignedRequest};
use super::{AuditLines, KeyDetail, KeyList, PendingList, ROTATIONS_PATH, RotationStatus};
use super::{import_aad, import_info, kbs_digest};
use crate::broker::now;
use crate::http::LOG_HEAD_PATH;
use crate::identity::{pinned, signer_digest};
use crate::{BrokerStatus, KbsError, KbsIdentity, Shredded};

const REPLY_BYTES_MAX: usize = 16 << 20;
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why an admin request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The broker cannot be reached, or hung up. It may or may not have carried the request out.
    #[error("broker {address}: {detail}: is `hanzo-kbs serve` running there?")]
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        detail: String,
    },
    /// The broker refused.
    #[error("broker refused: {code}: {detail}")]
    Refused {
        /// Its code.
        code: String,
        /// Its text.
        detail: String,
    },
    /// Not an answer of this protocol.
    #[error("broker's answer: {0}")]
    Answer(JcsError),
    /// The broker shows another request than the id names.
    #[error("broker's answer: proposal {id}: the request shown has another digest: do not approve it")]
    Proposal {
        /// What the broker calls it.
        id: Digest384,
    },
    /// The broker's log is not what was signed.
    #[error("broker's audit log: {0}")]
    Audit(#[from] hanzo_log::audit::AuditError),
    /// What came could not be written.
    #[error(transparent)]
    Local(#[from] KbsError),
    /// A document has no canonical form.
    #[error(transparent)]
    Jcs(#[from] JcsError),
    /// A primitive failed, or the broker's import key is no key.
    #[error(transparent)]
    Crypto(#[from] PqcError),
}

impl AdminError {
    /// Stable dotted code; the broker's own where it refused.
    pub fn code(&self) -> &str {
        match self {
            Self::Unreachable { .. } => "kbs.unreachable",
            Self::Refused { code, .. } => code,
            Self::Answer(_) => "kbs.answer",
            Self::Proposal { .. } => "kbs.answer.proposal",
            Self::Audit(e) => e.code(),
            Self::Local(e) => e.code(),
            Self::Jcs(_) => "kbs.internal",
            Self::Crypto(e) => e.code(),
        }
    }
}

/// Puts a new key (`version` 1) or its next version. When this returns `Ok`, it is on the broker's disk; whether it counts
/// already says [`AdminReply::proposal`].
///
/// # Errors
/// [`AdminError`].
pub async fn put_key(
    address: SocketAddr,
    broker: &KbsIdentity,
    admin: &SigningKeys,
    key_id: &KeyId,
    version: u64,
    dek: &Dek,
    policy: &KeyPolicy,
) -> Result<AdminReply, AdminError> {
    let head = Header::new(broker, admin)?;
    let import = broker.import_public_key()?;
    let info = import_info(import.suite(), key_id, version, policy)?;
    let aad = import_aad(&head.admin, &head.kbs, &head.nonce);
    let sealed = hpke::seal(&import, &info, &aad, dek.expose())?;
    let action = Action::PutKey {
        ciphertext: hex::encode(&sealed.ciphertext),
        enc: hex::encode(&sealed.enc),
        key_id: key_id.clone(),
        key_version: version,
        policy: policy.clone(),
    };
    send(address, head.sign(admin, action)?).await
}

/// Puts the next version of a tenant's document: `<tenant>/coco/resource-policy` (a Rego module over all the tenant's keys) or
/// `<tenant>/coco/reference-values` (what that module finds as `data.reference`), or a release bundle for
/// `<tenant>/release/<line>`. See [`AdminReply::proposal`].
///
/// # Errors
/// [`AdminError`].
pub async fn set_document(
    address: SocketAddr,
    broker: &KbsIdentity,
    admin: &SigningKeys,
    document: &KeyId,
    version: u64,
    text: &str,
) -> Result<AdminReply, AdminError> {
    let action = Action::SetDocument {
        key_id: document.clone(),
        key_version: version,
        text: text.to_owned(),
    };
    send(address, Header::new(broker, admin)?.sign(admin, action)?).await
}

/// Gives the newest version of a key another policy. One that lets through what was refused before waits for a second
/// admin, unless the broker's configuration says otherwise: see [`AdminReply::proposal`].
///
/// # Errors
/// [`AdminError`].
pub async fn set_policy(
    address: SocketAddr,
    broker: &KbsIdentity,
    admin: &SigningKeys,
    key_id: &KeyId,
    version: u64,
    policy: &KeyPolicy,
) -> Result<AdminReply, AdminError> {
    let action = Action::SetPolicy {
        key_id: key_id.clone(),
        key_version: version,
        policy: policy.clone(),
    };
    send(address, Header::new(broker, admin)?.sign(admin, action)?).await
}

/// Ends all releases of the newest version of a key. Guests that have it keep it until they end.
///
/// # Errors
/// [`AdminError`].
pub async fn revoke(
    address: SocketAddr,
    broker: &KbsIdentity,
    admin: &SigningKeys,
    key_id: &KeyId,
    version: u64,
) -> Result<AdminReply, AdminError> {
    let action = Action::Revoke {
        key_id: key_id.clone(),
        key_version: version,
    };
    send(address, Header::new(broker, admin)?.sign(admin, action)?).await
}

/// Carries out what another admin proposed, by its id: SHA-384 of the request that [`pending`] shows.
///
/// # Errors
/// [`AdminError`].
pub async fn approve(
    address: SocketAddr,
    broker: &KbsIdentity,
    admin: &SigningKeys,
    proposal: Digest384,
) -> Result<AdminReply, AdminError> {
    ask(address, broker, admin, Action::Approve { proposal }).await
}

/// Makes a new version of a tenant's KEK and moves its secrets to it. The broker goes on meanwhile: [`rotation`] tells how far
/// it is, under [`AdminReply::rotation`].
///
/// # Errors
/// [`AdminError`].
pub async fn rotate_kek(
    address: SocketAddr,
    broker: &KbsIdentity,
    admin: &SigningKeys,
    tenant: &Name,
) -> Result<AdminReply, AdminError> {
    let tenant = tenant.clone();
    ask(address, broker, admin, Action::RotateKek { tenant }).await
}

/// How a rotation stands.
///
/// # Errors
/// [`AdminError`].
pub async fn rotation(address: SocketAddr, id: Nonce) -> Result<RotationStatus, AdminError> {
    get(address, &format!("{ROTATIONS_PATH}{id}")).await
}

/// Destroys a tenant's keys, or one version of one key, for ever.
///
/// # Errors
/// [`AdminError`].
pub async fn shred(
    address: SocketAddr,
    broker: &KbsIdentity,
    admin: &SigningKeys,
    what: &Shredded,
) -> Result<AdminReply, AdminError> {
    let action = match what.clone() {
        Shredded::Tenant(tenant) => Action::ShredTenant { tenant },
        Shredded::Key(key_id, key_version) => Action::ShredKey { key_id, key_version },
    };
    ask(address, broker, admin, action).await
}

/// Sets the head of a guest's store to what the guest has, and ends every lease of it: after the guest's disk, or the broker's
/// store, was put back.
///
/// # Errors
/// [`AdminError`].
pub async fn accept_store_head(
    address: SocketAddr,
    broker: &KbsIdentity,
    admin: &SigningKeys,
    store: &KeyId,
    (size, root): (u64, Digest256),
) -> Result<AdminReply, AdminError> {
    let key_id = store.clone();
    ask(address, broker, admin, Action::AcceptStoreHead { key_id, root, size }).await
}

/// How the broker and its parts stand.
///
/// # Errors
/// [`AdminError`].
pub async fn status(
    address: SocketAddr,
    broker: &KbsIdentity,
    admin: &SigningKeys,
) -> Result<BrokerStatus, AdminError> {
    ask(address, broker, admin, Action::Status {}).await
}

/// The keys that this admin may read.
///
/// # Errors
/// [`AdminError`].
pub async fn list_keys(address: SocketAddr, broker: &KbsIdentity, admin: &SigningKeys) -> Result<KeyList, AdminError> {
    ask(address, broker, admin, Action::ListKeys {}).await
}

/// One key's policy and counts.
///
/// # Errors
/// [`AdminError`].
pub async fn get_policy(
    address: SocketAddr,
    broker: &KbsIdentity,
    admin: &SigningKeys,
    key_id: &KeyId,
) -> Result<KeyDetail, AdminError> {
    let key_id = key_id.clone();
    ask(address, broker, admin, Action::GetPolicy { key_id }).await
}

/// The proposals that wait and that this admin may read.
///
/// # Errors
/// [`AdminError`]; [`AdminError::Proposal`] if an id is not that of the request shown with it.
pub async fn pending(
    address: SocketAddr,
    broker: &KbsIdentity,
    admin: &SigningKeys,
) -> Result<PendingList, AdminError> {
    let list: PendingList = ask(address, broker, admin, Action::Pending {}).await?;
    match list
        .proposals
        .iter()
        .find(|p| Digest384::of(p.request.as_bytes()) != p.id)
    {
        Some(other) => Err(AdminError::Proposal { id: other.id }),
        None => Ok(list),
    }
}

/// Lines of the audit chain after number `after`.
///
/// # Errors
/// [`AdminError`].
pub async fn audit_lines(
    address: SocketAddr,
    broker: &KbsIdentity,
    admin: &SigningKeys,
    after: u64,
) -> Result<AuditLines, AdminError> {
    ask(address, broker, admin, Action::AuditRead { after }).await
}

/// The newest signed head of the audit log. Nothing of it is verified.
pub(crate) async fn log_head(address: SocketAddr) -> Result<String, AdminError> {
    let reply = whole(address, hyper::Request::get(LOG_HEAD_PATH), Vec::new()).await?;
    let unreadable = |detail: String| AdminError::Unreachable { address, detail };
    String::from_utf8(reply.to_vec()).map_err(|e| unreadable(e.to_string()))
}

async fn ask<T: DeserializeOwned + Serialize>(
    address: SocketAddr,
    broker: &KbsIdentity,
    admin: &SigningKeys,
    action: Action,
) -> Result<T, AdminError> {
    send(address, Header::new(broker, admin)?.sign(admin, action)?).await
}

struct Header {
    admin: Digest384,
    kbs: Digest384,
    nonce: Nonce,
}

impl Header {
    fn new(broker: &KbsIdentity, admin: &SigningKeys) -> Result<Self, AdminError> {
        let mut nonce = [0; 32];
        random::fill(&mut nonce)?;
        Ok(Self {
            admin: signer_digest(&pinned(admin.verifying_keys()))?,
            kbs: kbs_digest(&broker.import_key)?,
            nonce: Nonce(nonce),
        })
    }

    fn sign(self, admin: &SigningKeys, action: Action) -> Result<Vec<u8>, AdminError> {
        let request = AdminRequest {
            action,
            admin: self.admin,
            issued_at: now().0,
            kbs: self.kbs,
            nonce: self.nonce,
            purpose: ADMIN_PURPOSE.to_owned(),
        };
        let signature = admin.sign(Domain::Admin, &jcs::to_vec("admin request", &request)?)?;
        let signed = SignedRequest {
            request,
            signature: SignaturePair {
                ed25519: signature.ed25519_hex(),
                ml_dsa: signature.ml_dsa_hex(),
            },
        };
        Ok(jcs::to_vec("admin request", &signed)?)
    }
}

async fn send<T: DeserializeOwned + Serialize>(address: SocketAddr, body: Vec<u8>) -> Result<T, AdminError> {
    let request = hyper::Request::post(ADMIN_PATH).header(hyper::header::CONTENT_TYPE, "application/json");
    answer(address, request, body).await
}

async fn get<T: DeserializeOwned + Serialize>(address: SocketAddr, path: &str) -> Result<T, AdminError> {
    answer(address, hyper::Request::get(path), Vec::new()).await
}

async fn answer<T: DeserializeOwned + Serialize>(
    address: SocketAddr,
    request: hyper::http::request::Builder,
    body: Vec<u8>,
) -> Result<T, AdminError> {
    let reply = whole(address, request, body).await?;
    jcs::from_slice("admin reply", &reply, REPLY_BYTES_MAX).map_err(AdminError::Answer)
}

/// The body of an answer that is no refusal.
async fn whole(
    address: SocketAddr,
    request: hyper::http::request::Builder,
    body: Vec<u8>,
) -> Result<Bytes, AdminError> {
    let unreachable = |detail: String| AdminError::Unreachable { address, detail };
    let exchange = tokio::time::timeout(TIMEOUT, exchange(address, request, body)).await;
    let (status, reply) = exchange
        .map_err(|_| unreachable("no answer in 30 s".into()))?
        .map_err(|e| unreachable(e.to_string()))?;
    if matches!(status, hyper::StatusCode::OK | hyper::StatusCode::ACCEPTED) {
        return Ok(reply);
    }
    let error: serde_json::Value = serde_json::from_slice(&reply).unwrap_or_default();
    let text = |member: &str| {
        error
            .get(member)
            .and_then(|v| v.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    Err(AdminError::Refused {
        code: text("code"),
        detail: text("detail"),
    })
}

type ExchangeError = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(
    address: SocketAddr,
    request: hyper::http::request::Builder,
    body: Vec<u8>,
) -> Result<(hyper::StatusCode, Bytes), ExchangeError> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = request
        .header(hyper::header::HOST, address.to_string())
        .body(Full::new(Bytes::from(body)))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let reply = Limited::new(response.into_body(), REPLY_BYTES_MAX)
        .collect()
        .await?
        .to_bytes();
    driver.abort();
    Ok((status, reply))
}
