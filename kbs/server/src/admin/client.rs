//! The key owner's side of an admin request.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hanzo_attestation::jcs::{self, JcsError};
use hanzo_attestation::keyset::SignaturePair;
use hanzo_attestation::name::KeyId;
use hanzo_attestation::{Digest384, Nonce};
use hanzo_pqc::sign::SigningKeys;
use hanzo_pqc::{Dek, Domain, PqcError, hpke, random};
use hanzo_vault::KeyPolicy;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{ADMIN_PATH, ADMIN_PURPOSE, Action, AdminReply, AdminRequest, SignedRequest};
use super::{import_aad, import_info, kbs_digest};
use crate::KbsIdentity;
use crate::broker::now;
use crate::identity::{pinned, signer_digest};

const REPLY_BYTES_MAX: usize = 64 * 1024;
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
            Self::Jcs(_) => "kbs.internal",
            Self::Crypto(e) => e.code(),
        }
    }
}

/// Puts a new key (`version` 1) or its next version. When this returns `Ok`, it is on the broker's disk.
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

/// Gives the newest version of a key another policy.
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

async fn send(address: SocketAddr, body: Vec<u8>) -> Result<AdminReply, AdminError> {
    let unreachable = |detail: String| AdminError::Unreachable { address, detail };
    let exchange = tokio::time::timeout(TIMEOUT, post(address, body)).await;
    let (status, reply) = exchange
        .map_err(|_| unreachable("no answer in 30 s".into()))?
        .map_err(|e| unreachable(e.to_string()))?;
    if status == hyper::StatusCode::OK {
        return jcs::from_slice("admin reply", &reply, REPLY_BYTES_MAX).map_err(AdminError::Answer);
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

type PostError = Box<dyn std::error::Error + Send + Sync>;

async fn post(address: SocketAddr, body: Vec<u8>) -> Result<(hyper::StatusCode, Bytes), PostError> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = hyper::Request::post(ADMIN_PATH)
        .header(hyper::header::HOST, address.to_string())
        .header(hyper::header::CONTENT_TYPE, "application/json")
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
