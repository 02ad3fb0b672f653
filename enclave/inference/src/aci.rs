//! The same answers in the format of ACI gateways, where the configuration asks for it (verifier/RECEIPT.md, "ACI receipts").
//!
//! The report says which keys sign, for anybody. What they signed is for the caller whose answer it was: whoever sends its `hanzo-owner`, or, where
//! callers have to say who they are, the credential that it asked with.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hanzo_attestation::Nonce;
use hanzo_attestation::name::Name;
use hanzo_receipts::{AciEnd, AciKept, AciPending, AciView, DisclosedReceipt, Endpoint, Owner, Pending, ReceiptId};

use crate::access::Asking;
use crate::answer;
use crate::error::ApiError;
use crate::routes::AnswerFloor;
use crate::state::ServingState;

/// Makes the report that answers one challenge, or the one that answers none.
pub type AciReport =
    Arc<dyn Fn(Option<Nonce>) -> Pin<Box<dyn Future<Output = Result<Bytes, AciReportError>> + Send>> + Send + Sync>;

/// Why there is no report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AciReportError {
    /// As many callers wait for one as may wait.
    #[error("as many challenges wait for the security processor as may wait; try again in a second")]
    Busy,
    /// The processor gave none.
    #[error("the security processor gave no evidence ({code}); the guest's log says why")]
    Evidence {
        /// Code of its error.
        code: &'static str,
    },
}

/// What the ACI view of a guest is served with.
#[derive(Clone)]
pub struct AciServing {
    /// Signs and keeps its receipts.
    pub view: Arc<AciView>,
    /// Makes its reports.
    pub report: AciReport,
}

/// `hanzo-receipt-id` under the name that ACI gives it.
const RECEIPT_ID: HeaderName = HeaderName::from_static("x-receipt-id");
const VERSION: HeaderName = HeaderName::from_static("x-aci-version");
const KEYSET_DIGEST: HeaderName = HeaderName::from_static("x-aci-keyset-digest");

/// Longer than any report with its processor's certificates, and than any receipt.
const RECEIPT_FLOOR_BYTES: usize = 4 << 10;

const OFF: ApiError = ApiError::NotFound("this guest has no ACI view: its configuration does not say aci = \"on\"");
const UNKNOWN: ApiError =
    ApiError::NotFound("there is no such ACI receipt for this caller; they are kept for 20 minutes, of whole answers");

/// What an answer is committed to in, as its bytes leave: our receipt and, beside it, that of ACI.
pub(crate) struct Committing {
    receipt: Pending,
    aci: Option<AciPending>,
}

/// What is left to do once ours is durable.
pub(crate) struct Beside(Option<AciPending>);

/// Which answer it was.
pub(crate) struct Answered<'a> {
    pub(crate) model: &'a str,
    pub(crate) endpoint: Endpoint,
    pub(crate) id: ReceiptId,
}

impl Committing {
    /// Starts both. Without an owner there is nobody to give the second to.
    pub(crate) fn begin(
        state: &ServingState,
        receipt: Pending,
        owner: Option<&Owner>,
        caller: Option<&Name>,
        request: &[u8],
    ) -> Result<Self, ApiError> {
        let aci = match (&state.aci, owner) {
            (Some(aci), Some(owner)) => Some(
                aci.view
                    .begin(receipt.id(), owner, caller, request)
                    .map_err(|e| ApiError::Receipt { code: e.code() })?,
            ),
            _ => None,
        };
        Ok(Self { receipt, aci })
    }

    pub(crate) fn id(&self) -> ReceiptId {
        self.receipt.id()
    }

    /// Commits to the next bytes.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        self.receipt.sent(bytes);
        if let Some(aci) = &mut self.aci {
            aci.sent(bytes);
        }
    }

    pub(crate) fn parts(self) -> (Pending, Beside) {
        (self.receipt, Beside(self.aci))
    }
}

/// Ours, durable, and what stands beside it.
pub(crate) type Receipted = (DisclosedReceipt, Beside);

impl Beside {
    /// Of the bytes that ours does not cover and that of ACI does: everything to the end of the answer.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        if let Some(aci) = &mut self.0 {
            aci.sent(bytes);
        }
    }

    /// Signs and keeps it, for an answer that is whole. A failure is logged and costs the caller this one alone.
    pub(crate) fn issue(self, state: &ServingState, answered: Answered<'_>) {
        let (Some(pending), Some(aci)) = (self.0, &state.aci) else {
            return;
        };
        let end = AciEnd {
            model: answered.model,
            endpoint: path(answered.endpoint),
            chat_id: chat_id(answered.endpoint, answered.id),
            served_at: (state.clock)().0,
        };
        if let Err(e) = aci.view.issue(pending, end) {
            tracing::error!(code = e.code(), "no ACI receipt");
        }
    }
}

/// Takes back the receipt of an answer whose end nobody took.
pub(crate) fn withdraw(state: &ServingState, id: &ReceiptId) {
    if let Some(aci) = &state.aci {
        aci.view.withdraw(id);
    }
}

fn path(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Chat => "/v1/chat/completions",
        Endpoint::Completions => "/v1/completions",
        Endpoint::Embeddings => "/v1/embeddings",
        Endpoint::Messages => "/v1/messages",
        Endpoint::Responses => "/v1/responses",
    }
}

/// The answer's own id, as its dialect writes it.
fn chat_id(endpoint: Endpoint, id: ReceiptId) -> Option<String> {
    let prefix = match endpoint {
        Endpoint::Chat => "chatcmpl-",
        Endpoint::Completions => "cmpl-",
        Endpoint::Messages => "msg_",
        Endpoint::Responses => "resp_",
        Endpoint::Embeddings => return None,
    };
    Some(format!("{prefix}{id}"))
}

/// Whose an answer is to this view: `hanzo-owner`, else the key or token that was let in.
pub(crate) fn owner(state: &ServingState, headers: &HeaderMap) -> Result<Option<Owner>, ApiError> {
    if state.aci.is_none() {
        return Ok(None);
    }
    if let Some(owner) = answer::owner(headers)? {
        return Ok(Some(owner));
    }
    let credential = state.access.credential(headers);
    Ok(credential.and_then(|credential| Owner::from_credential(credential).ok()))
}

/// Says what speaks: on every answer, and the receipt's id where there is one.
pub(crate) fn name(state: &ServingState, headers: &mut HeaderMap) {
    let Some(aci) = &state.aci else { return };
    headers.insert(VERSION, HeaderValue::from_static(hanzo_verifier::aci::API_VERSION));
    if let Ok(digest) = HeaderValue::from_str(&format!("sha256:{}", aci.view.keyset_digest())) {
        headers.insert(KEYSET_DIGEST, digest);
    }
    if let Some(id) = headers.get(answer::RECEIPT_HEADER).cloned() {
        headers.insert(RECEIPT_ID, id);
    }
}

/// `GET /v1/aci/attestation`.
pub(crate) async fn attestation(
    State(state): State<ServingState>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let aci = state.aci.as_ref().ok_or(OFF)?;
    let nonce = match query.as_deref() {
        None | Some("") => None,
        Some(query) => {
            Some(
                query
                    .strip_prefix("nonce=")
                    .and_then(Nonce::from_hex)
                    .ok_or_else(|| ApiError::Invalid {
                        param: "nonce".into(),
                        expected: "nothing, or nonce= and 64 lower-case hex digits",
                        got: "another query".into(),
                    })?,
            )
        }
    };
    let report = (aci.report)(nonce).await.map_err(ApiError::AciReport)?;
    Ok(document(report))
}

/// `GET /v1/aci/receipts/{id}`.
pub(crate) async fn receipt(
    State(state): State<ServingState>,
    Path(id): Path<String>,
    asking: Asking,
) -> impl IntoResponse {
    let kept = kept(&state, &id, &asking).map(|kept| document(kept.receipt.into()));
    (AnswerFloor::extension(RECEIPT_FLOOR_BYTES), kept)
}

/// `GET /v1/signature/{chat_id}`: text and signature as older clients ask for them. `model` in the query is read by nobody.
pub(crate) async fn signature(
    State(state): State<ServingState>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    asking: Asking,
) -> impl IntoResponse {
    let signed = kept(&state, &id, &asking).and_then(|kept| {
        let query = query.unwrap_or_default();
        let algorithms = query.split('&').filter_map(|pair| pair.strip_prefix("signing_algo="));
        match algorithms.into_iter().all(|algorithm| algorithm == "ed25519") {
            true => Ok(document(kept.signature.into())),
            false => Err(ApiError::Invalid {
                param: "signing_algo".into(),
                expected: "ed25519, the one this guest signs with, or nothing",
                got: "another one".into(),
            }),
        }
    });
    (AnswerFloor::extension(RECEIPT_FLOOR_BYTES), signed)
}

/// What is kept for whoever asks. Whatever is wrong with id or owner, the answer is the same.
fn kept(state: &ServingState, id: &str, asking: &Asking) -> Result<AciKept, ApiError> {
    state.who(asking)?;
    let aci = state.aci.as_ref().ok_or(OFF)?;
    let owner = owner(state, &asking.headers).ok().flatten().ok_or(UNKNOWN)?;
    aci.view.fetch(id, &owner, (state.clock)().0).ok_or(UNKNOWN)
}

fn document(bytes: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}
