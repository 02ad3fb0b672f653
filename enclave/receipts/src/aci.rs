//! Receipts in the format of ACI gateways, beside ours and for the same answers (verifier/RECEIPT.md, "ACI receipts").
//!
//! They are made after ours is durable, by keys that sign nothing else, and of answers that were handed over whole: one that was cut or
//! failed has none. They are kept in memory, for [`KEPT_S`] seconds and at most [`KEPT_MAX`] of them, each sealed under a key that follows
//! from its owner's secret: bare hashes of prompts lie open nowhere in the guest.
//!
//! # Does not establish
//! What ours do: these have no number and no place in the log, and one classical signature.

mod shelf;

use std::sync::Arc;

use hanzo_attestation::digest::Hasher256;
use hanzo_attestation::jcs::{self, JcsError};
use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_pqc::sign::ForeignSigningKey;
use hanzo_pqc::{PqcError, aead};
use hanzo_verifier::aci::{
    API_VERSION, AciDigest, AciError, AciEvent, AciHanzo, AciKey, AciKeyset, AciKeysetDraft, AciReceipt, AciTlsKey,
};
use hanzo_verifier::receipt::ReceiptId;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::Owner;
pub use shelf::{AciShelf, KEPT_MAX, KEPT_S};
use shelf::{Entry, Holder};

/// How the keyset names the key of receipts.
const RECEIPT_KEY: &str = "receipt";
/// How it names the key of signed texts, and of what kind: readers of `aci/1` pass over kinds that they do not know.
const TEXT_KEY: (&str, &str) = ("text", "ed25519-signed-text");
/// What stands before the text that a simulated guest signs, so that it is none of a real one.
const SIMULATED: &str = "simulated:";
/// The id that a caller may ask with: the receipt's own, or the answer's, which is that after one of these.
const ANSWER_PREFIXES: [&str; 4] = ["chatcmpl-", "cmpl-", "resp_", "msg_"];

/// Why there is no ACI receipt. Ours is not touched by it.
#[derive(Debug, thiserror::Error)]
pub enum AciViewError {
    /// A key or the cipher failed.
    #[error("aci: {0}")]
    Crypto(#[from] PqcError),
    /// A document could not be written.
    #[error(transparent)]
    Document(#[from] AciError),
    /// A document could not be written in canonical form.
    #[error("aci: {0}")]
    Jcs(#[from] JcsError),
}

impl AciViewError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Crypto(_) => "aci.keys",
            Self::Document(e) => e.code(),
            Self::Jcs(_) => "aci.malformed",
        }
    }
}

/// The keys and the keyset of this view, which go with one keyset of ours.
pub struct AciView {
    receipts: ForeignSigningKey,
    texts: ForeignSigningKey,
    keyset: Vec<u8>,
    digest: Digest256,
    simulated: bool,
    shelf: Arc<AciShelf>,
}

/// An answer on its way, whose bytes are hashed as they leave.
pub struct AciPending {
    id: ReceiptId,
    owner: [u8; 32],
    holder: Holder,
    key: Zeroizing<[u8; 32]>,
    request: Digest256,
    response: Hasher256,
}

/// How it ended.
pub struct AciEnd<'a> {
    /// Which model, as the caller named it.
    pub model: &'a str,
    /// The route's path.
    pub endpoint: &'static str,
    /// The answer's own id.
    pub chat_id: Option<String>,
    /// Unix seconds, of the guest's clock.
    pub served_at: u64,
}

/// What is kept for the owner, as it is served.
#[derive(Clone, PartialEq, Eq)]
pub struct AciKept {
    /// The receipt with its signature, in JCS form.
    pub receipt: Vec<u8>,
    /// The signed text of older clients: `signature`, `signing_address`, `signing_algo`, `text` and, where it is so, `simulated`.
    pub signature: Vec<u8>,
}

#[derive(Serialize)]
struct SignedText<'a> {
    signature: String,
    signing_address: String,
    signing_algo: &'static str,
    simulated: bool,
    text: &'a str,
}

impl AciPending {
    /// Takes the next bytes of the answer, framing included.
    pub fn sent(&mut self, bytes: &[u8]) {
        self.response.update(bytes);
    }
}

impl AciView {
    /// Makes the view that goes with `keyset`, whose digest is `digest`, out of two seeds drawn for it alone.
    ///
    /// # Errors
    /// [`AciViewError`], never for keysets that were sealed.
    pub fn open(
        seeds: [&[u8; 32]; 2],
        keyset: &Keyset,
        digest: Digest384,
        shelf: Arc<AciShelf>,
    ) -> Result<Self, AciViewError> {
        let [receipts, texts] = seeds;
        let (receipts, texts) = (
            ForeignSigningKey::from_seed(receipts)?,
            ForeignSigningKey::from_seed(texts)?,
        );
        let simulated = keyset.simulated;
        let named = |key_id: &str, algo: &str, key: &ForeignSigningKey| AciKey {
            algo: algo.into(),
            key_id: key_id.into(),
            public_key: hex::encode(key.public_key()),
        };
        let draft = AciKeysetDraft {
            e2ee_public_keys: Vec::new(),
            hanzo: Some(AciHanzo {
                keyset_digest: digest,
                simulated,
                tier: keyset.tier,
            }),
            not_after: keyset.not_after,
            receipt_signing_keys: vec![
                named(RECEIPT_KEY, "ed25519", &receipts),
                named(TEXT_KEY.0, TEXT_KEY.1, &texts),
            ],
            subject: match simulated {
                true => format!("hanzo-simulated-guest:{digest}"),
                false => format!("hanzo-guest:{digest}"),
            },
            tls_public_keys: vec![AciTlsKey {
                domain: None,
                spki_sha256: keyset.tls_spki_sha256,
            }],
        };
        let keyset = draft.canonical()?;
        Ok(Self {
            digest: AciKeyset::from_json(&keyset)?.digest(),
            receipts,
            texts,
            keyset,
            simulated,
            shelf,
        })
    }

    /// The keyset, in JCS form.
    pub fn keyset(&self) -> &[u8] {
        &self.keyset
    }

    /// SHA-256 of it.
    pub fn keyset_digest(&self) -> Digest256 {
        self.digest
    }

    /// Whether this guest's processor is simulated.
    pub fn simulated(&self) -> bool {
        self.simulated
    }

    /// Starts with the exact bytes of a request; `id` is our receipt's. `caller` is whose places among what is kept it takes; the owner's
    /// where callers need not say who they are.
    ///
    /// # Errors
    /// [`AciViewError::Crypto`].
    pub fn begin(
        &self,
        id: ReceiptId,
        owner: &Owner,
        caller: Option<&Name>,
        request: &[u8],
    ) -> Result<AciPending, AciViewError> {
        let digest = owner.digest().0;
        Ok(AciPending {
            id,
            owner: digest,
            holder: caller.map_or(Holder::Owner(digest), |caller| Holder::Caller(caller.clone())),
            key: owner.aci_key(&id)?,
            request: Digest256::of(request),
            response: Hasher256::default(),
        })
    }

    /// Signs the receipt of an answer that was given whole, and keeps it for its owner. Ours must be durable.
    ///
    /// # Errors
    /// [`AciViewError`]; then nothing is kept.
    pub fn issue(&self, pending: AciPending, end: AciEnd<'_>) -> Result<(), AciViewError> {
        let response = AciDigest(pending.response.finish());
        let request = AciDigest(pending.request);
        let receipt = AciReceipt {
            api_version: API_VERSION.into(),
            chat_id: end.chat_id,
            endpoint: end.endpoint.into(),
            event_log: vec![
                AciEvent::Received { body_hash: request },
                // The very bytes go to no other service: inference is inside this guest.
                AciEvent::Returned { body_hash: response },
            ],
            key_id: RECEIPT_KEY.into(),
            method: "POST".into(),
            model: Some(end.model.to_owned()),
            receipt_id: pending.id.to_string(),
            served_at: end.served_at,
            simulated: Some(self.simulated),
            workload_keyset_digest: AciDigest(self.digest),
        };
        let document = receipt.signed(&self.receipts.sign(&receipt.signing_input()?)?)?;
        let prefix = if self.simulated { SIMULATED } else { "" };
        let text = Zeroizing::new(format!("{prefix}{}:{}:{}", end.model, request.0, response.0));
        let signature = jcs::to_vec(
            "signed text",
            &SignedText {
                signature: hex::encode(self.texts.sign(text.as_bytes())?),
                signing_address: hex::encode(self.texts.public_key()),
                signing_algo: "ed25519",
                simulated: self.simulated,
                text: &text,
            },
        )?;
        let mut sealed = (document.len() as u64).to_be_bytes().to_vec();
        sealed.extend_from_slice(&document);
        sealed.extend_from_slice(&signature);
        aead::seal_in_place(&*pending.key, &[0; 12], &pending.id.0, &mut sealed)?;
        self.shelf.put(
            pending.id,
            Entry {
                owner: pending.owner,
                holder: pending.holder,
                sealed,
                at: end.served_at,
            },
        );
        Ok(())
    }

    /// Takes back what was issued for an answer whose end did not reach the connection after all.
    pub fn withdraw(&self, id: &ReceiptId) {
        self.shelf.remove(id);
    }

    /// What is kept under `id`, the receipt's or the answer's own, for its owner; `None` alike if there is none, if it is too old and if
    /// `owner` is another.
    pub fn fetch(&self, id: &str, owner: &Owner, now: u64) -> Option<AciKept> {
        let own = ANSWER_PREFIXES.iter().find_map(|prefix| id.strip_prefix(prefix));
        let id = ReceiptId::from_hex(own.unwrap_or(id))?;
        let (stored, mut plain) = self.shelf.get(&id, now)?;
        if !owner.is(&stored) {
            return None;
        }
        aead::open_in_place(&*owner.aci_key(&id).ok()?, &[0; 12], &id.0, &mut plain).ok()?;
        let (len, rest) = plain.split_first_chunk::<8>()?;
        let len = usize::try_from(u64::from_be_bytes(*len)).ok()?;
        let (receipt, signature) = rest.split_at_checked(len)?;
        Some(AciKept {
            receipt: receipt.to_vec(),
            signature: signature.to_vec(),
        })
    }
}
